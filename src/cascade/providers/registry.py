"""Finds providers by name: those that come with Cascade, then those of plugins."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from cascade.providers.extras import missing

__all__ = ["GROUP", "find", "names"]

GROUP = "cascade.providers"

HERE = {
    "dict": ("cascade.providers.text", "dict", ()),
    "format": ("cascade.providers.text", "format", ()),
    "fs": ("cascade.providers.fs", None, ()),
    "http": ("cascade.providers.http", None, ("httpx",)),
    "io": ("cascade.providers.io", None, ()),
    "ipfs": ("cascade.providers.ipfs", None, ("httpx",)),
    "load_yaml": ("cascade.providers.config", "load_yaml", ("yaml",)),
    "lookup": ("cascade.providers.config", "lookup", ()),
    "read": ("cascade.providers.read", None, ()),
    "recv": ("cascade.providers.waiting", "recv", ()),
    "shell": ("cascade.providers.shell", "shell", ()),
    "sql": ("cascade.providers.sql", "sql", ("sqlalchemy",)),
    "template": ("cascade.providers.text", "template", ("jinja2",)),
    "wait": ("cascade.providers.waiting", "wait", ()),
    "write": ("cascade.providers.write", None, ()),
}
"""By name: the module, what of it (None: the module itself), and the packages that it needs."""
EXTRAS = {"httpx": "http", "jinja2": "template", "sqlalchemy": "sql", "yaml": "yaml"}


def find(name: str) -> Any:
    """Return the provider of this name.

    Raises:
        AttributeError: there is none, or its plugin is broken (which is a RuntimeWarning as well).
        MissingExtraError: it needs packages that are not installed.
    """
    known = HERE.get(name)
    if known is not None:
        module, attribute, packages = known
        for package in packages:
            if find_spec(package) is None:
                raise missing(f"cs.{name}", package, EXTRAS[package])
        found = import_module(module)
        return found if attribute is None else getattr(found, attribute)
    if not name.startswith("_"):
        for plugin in _plugins(name):
            try:
                return plugin.load()
            except Exception as error:
                said = (
                    f"the provider {name!r} of the plugin {plugin.value!r} is broken: {type(error).__name__}: {error}"
                )
                warnings.warn(said, RuntimeWarning, stacklevel=3)
                raise AttributeError(f"module 'cascade' has no attribute {name!r}: {said}") from error
    raise AttributeError(f"module 'cascade' has no attribute {name!r}")


def names() -> list[str]:
    """Return the names of all providers, also of those whose packages are not installed; loads none."""
    return sorted({*HERE, *(plugin.name for plugin in _plugins())})


def _plugins(name: str | None = None) -> Iterable[Any]:
    from importlib.metadata import entry_points

    try:
        return entry_points(group=GROUP) if name is None else entry_points(group=GROUP, name=name)
    except Exception as error:  # the metadata of some package cannot be read
        warnings.warn(f"the plugins of {GROUP!r} cannot be listed: {error}", RuntimeWarning, stacklevel=4)
        return ()
