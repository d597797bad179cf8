"""What nodes are called in events and errors: `name#number`, in each copy that loops make of them."""

from __future__ import annotations

from typing import Any

from cascade.runtime.copies import Copy
from cascade.runtime.frame import World
from cascade.spec.events import TaskSite
from cascade.spec.graph import Graph
from cascade.spec.operations import CALLN, MAP

__all__ = ["Names"]


class Names:
    """Numbers the nodes of one run by name.

    A node keeps its number in the first loop that runs it again; each further loop has a copy of its own.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._next: dict[str, int] = {}
        self._copies: dict[tuple[Any, int, Copy | None, bool], Copy] = {}
        self._owners: dict[tuple[Any, int, bool], tuple[Copy | None, Copy]] = {}
        self._numbers: dict[Any, list[int]] = {}

    def copy(self, world: World, number: int, loop: Copy | None, entered: bool = False) -> Copy:
        """Return the copy of node `number` that runs in `loop`; `entered` by a jump, or else for its value."""
        entered = entered and number in world.blueprint.graph.jumps
        key = (world.key, number, loop, entered)
        found = self._copies.get(key)
        if found is None:
            found = self._copies[key] = self._make(world, number, loop, entered)
        return found

    def copies(self) -> list[Copy]:
        """Return all copies that were asked for so far."""
        return list(self._copies.values())

    def _make(self, world: World, number: int, loop: Copy | None, entered: bool) -> Copy:
        owner = self._owners.get((world.key, number, entered))
        if owner is None:
            at = self._number(world, number)
            if (world.key, number, not entered) in self._owners:  # a state, and a loop of its own as well
                at = self._count(world.blueprint.graph.name(number), 1)
            found = self._fresh(world, number, at)
            self._owners[world.key, number, entered] = (loop, found)
            return found
        first_loop, found = owner
        if first_loop is None and loop is not None:
            self._owners[world.key, number, entered] = (loop, found)
            return found
        if loop is None:
            return found
        name = world.blueprint.graph.name(number)
        return self._fresh(world, number, self._count(name, 1))

    def _fresh(self, world: World, number: int, at: int) -> Copy:
        graph = world.blueprint.graph
        node = graph.nodes[number]
        label = graph.name(number)
        name = node.task.name if graph.kinds[number] in (*range(CALLN + 1), MAP) else label
        return Copy(TaskSite(self.run_id, f"{label}#{at}", name))

    def _number(self, world: World, number: int) -> int:
        numbers = self._numbers.get(world.key)
        if numbers is None:
            numbers = self._numbers[world.key] = self._number_all(world.blueprint.graph)
        return numbers[number]

    def _number_all(self, graph: Graph) -> list[int]:
        return [self._count(graph.name(i), 1) for i in range(len(graph))]

    def _count(self, name: str, step: int) -> int:
        count = self._next[name] = self._next.get(name, 0) + step
        return count
