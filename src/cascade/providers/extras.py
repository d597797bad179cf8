"""What to say when the packages of an extra are not installed."""

from __future__ import annotations

from cascade.errors import MissingExtraError

__all__ = ["missing"]


def missing(what: str, package: str, extra: str) -> MissingExtraError:
    """Return the error for a provider that needs a package of an extra."""
    return MissingExtraError(
        f"{what} needs the package {package!r}, which is not installed: pip install cascade-py[{extra}]", name=package
    )
