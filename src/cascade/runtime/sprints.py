"""Sprints: the emitted loop of a state, at once, for other states that differ in their literals alone.

Ten thousand agents that are declared as ten thousand loops have one shape. The first of them learns its loop; for
the others, neither a block is lowered nor an edge learned unless they do what the first did not.
"""

from __future__ import annotations

from typing import Any

from cascade.compiler.machine import Edge
from cascade.compiler.shapes import kept, leaf_shape
from cascade.runtime.flows import settle
from cascade.runtime.frame import PENDING
from cascade.runtime.lanes import ENDLESS, Bound, Lane
from cascade.spec.control import Jump

__all__ = ["Sprint", "sprint"]

NO_REGISTERS: list[Any] = []


def sprint(follower: Any, jump: Jump) -> Sprint | None:
    """Return the short way for jumps like this one, if a state like this one has had it before."""
    run, number, graph = follower.run, follower.number, follower.world.blueprint.graph
    form = follower.form
    if form.kept is None or run.observed or not (run.compiles and run.direct and run.inline):
        return None
    blueprint = follower.world.blueprint
    if follower.item is not None or blueprint.skips:
        return None
    if follower.home.loop is not None and number not in blueprint.machine.edges:
        return None  # the loop around is to know how this one goes on
    try:
        leaf = leaf_shape(graph, number, jump.target_key, jump.data.__class__)
        known = None if leaf is None else kept(form, leaf)
    except TypeError:  # such a key names no route
        return None
    if known is None:
        return None
    edge, hot = known
    routes = follower.routes
    if routes is None or any(routes.get(edge.key, number + 1) != number for edge in hot.loop.edges):
        return None
    return Sprint(follower, edge, hot)


class Sprint(Lane):
    """A lane whose edge and loop were learned by another state."""

    __slots__ = ()

    def __init__(self, follower: Any, edge: Edge, hot: Bound) -> None:
        super().__init__(follower, edge, follower.world.blueprint.machine, None, NO_REGISTERS)
        self.hot = hot

    def takes(self, signal: Any) -> bool:
        """Say whether a jump goes along this edge, and its loop can still run."""
        return self.edge.takes(signal) and not self.follower.run.observed and bool(self.hot.loop.may_run())

    def enter(self, signal: Any) -> Any:
        """Enter the state; return what it returns, or PENDING if the loop is a coroutine."""
        if not self.hot.loop.is_async:
            return self.run_hot(signal)
        self.signal, self.is_waiting = signal, True
        return PENDING

    def left_to_go(self) -> int:
        """Return how many entries the loop may still have."""
        return ENDLESS

    def values(self, signal: Any) -> list[Any]:
        """Return what the emitted loop is called with behind its turn: the data, and the literals of this state."""
        world, constants = self.follower.world, self.hot.loop.constants
        if not constants:
            return [signal.data]
        slots = list(dict.fromkeys(world.blueprint.graph.references(self.follower.number)))
        return [signal.data, *[world.constants[-1 - slots[-1 - at]] for _, at in constants]]

    def counted(self, k: int, i: int) -> None:
        """Count the entries that the emitted loop has had, of which the last was its `i`-th, from 0."""
        follower = self.follower
        follower.kwargs = {}
        follower.count += i + 1
        follower.spot.enter_more(follower.copy, i + 1)
        settle(follower.run, self.hot.loop)
