"""Objects that pass for another (those of wrapt): what they stand for, and what they do to it."""

from __future__ import annotations

from typing import Any

from cascade.adapters.caching.libraries import hidden_by, is_service
from cascade.adapters.caching.refusals import Hidden, Service

__all__ = ["attributes_of_proxy", "is_proxy"]

OWN = "_self_"
"""How the attributes are called that a proxy of wrapt has for itself; all others are of what it stands for."""


def is_proxy(value: Any) -> bool:
    """Say whether an object claims to be of another class than it is."""
    try:
        return value.__class__ is not type(value)
    except Exception:  # what it stands for is gone, or is not there yet
        return True


def attributes_of_proxy(value: Any) -> dict[str, Any]:
    """Return what a proxy holds: what it wraps, and what it has for itself, such as the function around it.

    Raises:
        Service: it is a mock.
        Hidden: it does not say what it wraps, or it holds that weakly.
    """
    cls: Any = type(value)
    if why := hidden_by(cls):
        raise Hidden(why)
    if is_service(cls):
        raise Service(f"a {cls.__name__} is a service")
    try:
        held = {"__wrapped__": value.__wrapped__}
    except Exception:
        raise Hidden(f"a {cls.__name__} stands for what it does not show") from None
    names = {name for name in dir(cls) if name.startswith(OWN)}
    if hasattr(cls, "__self_dict__"):
        names.update(name for name in value.__self_dict__ if name.startswith(OWN))
    return held | {name: getattr(value, name) for name in sorted(names) if hasattr(value, name)}
