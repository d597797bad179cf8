"""Transitions of one shape: the emitted loop of a state, at once, for other states that differ in their literals alone.

Ten thousand agents that are declared as ten thousand loops have one shape. The first of them learns its loop; for
the others, neither a block is lowered nor an edge learned unless they do what the first did not.
"""

from __future__ import annotations

from typing import Any

from cascade.compiler.analysis.shapes import keep, kept, leaf_shape
from cascade.compiler.code.emitted import ENDLESS, LinkedLoop
from cascade.compiler.lowering.entry_plan import FIRST, entry_plan
from cascade.compiler.transition_profile import Edge, profile_of
from cascade.runtime.frames.frame import PENDING, Activation
from cascade.runtime.loops.learning import learn_jump
from cascade.runtime.loops.position import LoopPosition
from cascade.runtime.loops.transition import Transition
from cascade.runtime.shortcuts import off
from cascade.spec.control import Jump, TailCall

__all__ = ["PLAIN", "Known", "SharedTransition", "literals", "shared_transition"]

NO_REGISTERS: list[Any] = []
PLAIN = frozenset({type(None), bool, int, float, str, bytes, tuple, list, dict})
"""The classes of most data that a loop ends with."""


def shared_transition(follower: LoopPosition, jump: Jump) -> SharedTransition | None:
    """Return the short way for jumps like this one, if a state like this one has had it before.

    If many states like it have come here already, it is made at once: they may all be in their first call.
    """
    run, number, graph = follower.run, follower.number, follower.activation.blueprint.graph
    form = follower.form
    if run.observed or not (run.compiles_loops and run.direct and run.inline) or "shared transitions" in off:
        return None
    blueprint = follower.activation.blueprint
    if follower.item is not None or blueprint.skips:
        return None
    if follower.home.loop is not None and number not in profile_of(blueprint).edges:
        return None  # the loop around is to know how this one goes on
    try:
        leaf = leaf_shape(graph, number, jump.target_key, jump.data.__class__)
        known = None if leaf is None else kept(form, leaf)
    except TypeError:  # such a key names no route
        return None
    if leaf is not None and (known is None or known.__class__ is int):
        count = (known or 0) + 1
        keep(form, leaf, count)
        known = _learned_at_once(follower, jump, leaf) if count > run.patience_to_compile > 0 else None
    if known is None:
        return None
    edge, hot, _ = known
    routes = follower.routes
    if routes is None or any(routes.get(edge.key, -1) != number for edge in hot.loop.edges):
        return None
    return SharedTransition(follower, edge, hot)


def _learned_at_once(follower: LoopPosition, jump: Jump, leaf: tuple[Any, ...]) -> Known | None:
    """Return the loop of a state that has jumped to itself once."""
    number, routes = follower.number, follower.routes
    by_name = jump.data is None or isinstance(jump.data, dict)
    if by_name or jump.data.__class__ not in PLAIN or routes is None or routes.get(jump.target_key, -1) != number:
        return None
    entry_plan(follower.activation.blueprint, number, FIRST)
    transition = learn_jump(follower, jump, number, number, FIRST)
    if transition is None:
        return None
    transition.emit_now()
    known = kept(follower.form, leaf)
    return known if known.__class__ is tuple else None


Known = tuple[Edge, LinkedLoop, Any]
"""What one state learned for others: its edge, the loop, and the code object where it was declared."""


def literals(activation: Activation, number: int, hot: LinkedLoop) -> list[Any]:
    """Return the other arguments of a state, in the order in which its loop takes them."""
    constants = hot.loop.constants
    if not constants:
        return []
    slots = list(dict.fromkeys(activation.blueprint.graph.references(number)))
    return [activation.constants[-1 - slots[-1 - at]] for _, at in constants]


class SharedTransition(Transition):
    """A transition whose edge and loop were learned by another state."""

    __slots__ = ("ahead",)

    def __init__(self, follower: LoopPosition, edge: Edge, hot: LinkedLoop) -> None:
        super().__init__(follower, edge, profile_of(follower.activation.blueprint), None, NO_REGISTERS)
        self.hot = hot
        self.ahead = 0
        """How many of the loop's entries were counted before."""

    def takes(self, signal: Jump | TailCall) -> bool:
        """Say whether a jump goes along this edge, and its loop can still run."""
        return self.edge.takes(signal) and not self.follower.run.observed and bool(self.hot.loop.may_run())

    def enter(self, signal: Jump | TailCall) -> Any:
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
        return [signal.data, *literals(self.follower.activation, self.follower.number, self.hot)]

    def counted(self, k: int, i: int) -> None:
        """Count the entries that the emitted loop has had, of which the last was its `i`-th, from 0."""
        follower = self.follower
        count, self.ahead = i + 1 - self.ahead, 0
        follower.count += count
        if count:
            follower.kwargs = {}
            follower.call.enter_more(follower.copy, count)
        follower.run.ticker.caught_in(self.hot.loop.is_async, self.hot.loop.forms)
