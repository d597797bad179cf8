"""How tasks come by the connector of their run: as the resource `connector`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cascade.spec.resource import Resource

__all__ = ["resource_of"]


def resource_of(connector: Any, what: str) -> Resource:
    """Return a connector as the resource that `cs.inject("connector")` finds; `what` names the option.

    Raises:
        TypeError: it is no connector.
    """
    if isinstance(connector, type) or not all(
        callable(getattr(connector, name, None)) for name in ("publish", "subscribe")
    ):
        raise TypeError(
            f"{what} takes a connector (an object with the methods publish and subscribe, such as "
            f"cascade.adapters.connectors.local.LocalConnector()), not {connector!r}"
        )

    def provide() -> Iterator[Any]:
        yield connector

    return Resource(provide, "connector", "run", False)
