"""What leads the jumps of a bound task."""

from __future__ import annotations

from typing import Any

__all__ = ["JumpSelector"]


class JumpSelector:
    """The routes that a Jump can take: key to lazy result, or to None for the way out."""

    __slots__ = ("routes",)

    def __init__(self, routes: dict[Any, Any]) -> None:
        self.routes: dict[Any, Any] = routes

    def __repr__(self) -> str:
        return f"<selector with the routes {', '.join(map(repr, self.routes))}>"
