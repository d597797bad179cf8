"""What the outside world plugs in behind: a protocol for each kind of adapter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from cascade.spec.graph import Graph

__all__ = ["CallNode", "Executor", "Solver"]


class Solver(Protocol):
    """Says in which order the nodes of a graph are looked at."""

    def solve(self, graph: Graph) -> Iterable[int] | None:
        """Return the numbers 0 to `graph.strict - 1` in any order, or None for the graph's own.

        The order is a preference, never a wall: a node starts when its inputs are there, and a node whose
        inputs are not there yet delays none after it.
        """
        ...


class CallNode(NamedTuple):
    """What an executor is told of the node whose call it carries out."""

    id: str
    name: str
    func: Any
    mode: str
    is_async: bool
    declared: str


class Executor(Protocol):
    """Carries out calls of tasks."""

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call `node.func` with these arguments and return what it returns; what it raises comes out."""
        ...
