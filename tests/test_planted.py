"""Bugs planted into the engine, one at a time: comparing random programs with the oracle finds every one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cascade.compiler.emit import block, loop
from cascade.compiler.emit.dispatch import LONGER
from cascade.compiler.emit.router import write_route
from cascade.compiler.lowering import lower
from cascade.compiler.transition_profile import Edge
from cascade.graph import build as building
from cascade.graph.identity import PureCalls
from cascade.runtime.compiled import deoptimization, root
from cascade.runtime.execution import follower as following
from cascade.runtime.execution import map_items as calls
from cascade.runtime.frames import gates
from cascade.runtime.frames.frame import NOTHING, PENDING, Frame
from cascade.runtime.interpreter import interpreter
from cascade.runtime.loops import transition as transitions
from cascade.runtime.loops.transition import Transition
from cascade.runtime.plans.inputs import fill
from cascade.runtime.policies.managed import ManagedCall
from cascade.runtime.run.state import RunState
from cascade.spec.operations import ROUTE
from tests.strategies import fixed_recipe
from tests.test_agreement import check_agreement
from tests.workflows import TIERS, Tier

EXAMPLES = 500
"""How many programs there are for a bug to show itself in."""

Patch = pytest.MonkeyPatch


def shows(at: int, tiers: Sequence[Tier]) -> bool:
    """Whether a program does something else on a tier than it means."""
    try:
        check_agreement(fixed_recipe(at), tiers[at % len(tiers)])
    except AssertionError:
        return True
    return False


# --- the bugs


def passed_values_are_conditions(patch: Patch) -> None:
    """Conditions and selectors read passed-through values."""
    patch.setattr(Frame, "strictly", lambda frame, reference: frame.regs[reference])


def otherwise_is_ignored(patch: Patch) -> None:
    """Readers of a skipped node get its first argument, whatever its `otherwise`."""

    def stand_in(frame: Frame, skip: Any, gate: Any, work: Any, waiter: Any) -> Any:
        return NOTHING if gate.first is None else frame.regs[gate.first]

    patch.setattr(interpreter, "stand_in", stand_in)
    patch.setattr(following, "stand_in", stand_in)


def nothing_passes_through(patch: Patch) -> None:
    """A skipped node never gives its first argument."""
    patch.setattr(lower, "_first", lambda graph, i: None)


def skipped_counts_as_run(patch: Patch) -> None:
    """`.after` is content with a skipped predecessor."""
    plain = gates.gate_reason

    def gate_reason(*args: Any) -> Any:
        reason = plain(*args)
        return None if reason == "UpstreamSkipped_Sequence" else reason

    patch.setattr(interpreter, "gate_reason", gate_reason)
    patch.setattr(following, "gate_reason", gate_reason)


def conditions_hold_once(patch: Patch) -> None:
    """The condition of a state is looked at in its first entry alone."""

    async def skipped(*args: Any) -> tuple[bool, Any]:
        return False, None

    patch.setattr(following.Follower, "skipped", skipped)


def overrides_are_lost(patch: Patch) -> None:
    """What a Jump sends along never arrives."""
    plain = following.Follower.jump

    def jump(follower: Any, signal: Any) -> Any:
        target, key, values = plain(follower, signal)
        return (target, key, values) if target is None else (target, (), ())

    patch.setattr(following.Follower, "jump", jump)


def overrides_stay(patch: Patch) -> None:
    """An override holds for all further entries on the short way."""
    plain = Transition.registers
    kept: dict[Transition, list[Any]] = {}

    def registers(transition: Transition, jump: Any) -> list[Any]:
        return kept.setdefault(transition, plain(transition, jump)).copy()

    patch.setattr(Transition, "registers", registers)


def entries_share_what_feeds_them(patch: Patch) -> None:
    """A further entry reads the values of the graph around it instead of running its inputs again."""
    plain = lower._hoisted

    def hoisted(graph: Any) -> frozenset[int]:
        return plain(graph) | {i for i in range(graph.strict) if i not in graph.jumps}

    patch.setattr(lower, "_hoisted", hoisted)


def pure_nodes_run_again(patch: Patch) -> None:
    """Pure nodes of constants run in each entry."""
    patch.setattr(lower, "_hoisted", lambda graph: frozenset())


def pure_twins_are_two(patch: Patch) -> None:
    """Two equal pure calls both run."""
    plain = PureCalls.find

    def find(calls: PureCalls, node: Any, index: Any) -> None:
        plain(calls, node, index)

    patch.setattr(PureCalls, "find", find)


def all_routes_run(patch: Patch) -> None:
    """A router runs every route before it chooses."""
    plain = interpreter._route

    def route(frame: Frame, i: int, selector: int, work: list[Any]) -> Any:
        router = frame.block.routes[i]
        late = [at for at in router.routes.values() if at >= 0 and frame.demanded and not frame.demanded[at]]
        if not late:
            return plain(frame, i, selector, work)
        work.append((frame, iter((frame.step(i),))))
        for at in late:
            frame.demand(at, work)
        return PENDING

    patch.setattr(interpreter, "_route", route)


def pruning_is_not_told(patch: Patch) -> None:
    """Nobody hears of pruned nodes."""
    patch.setattr(RunState, "publish_pruned_root", lambda run, frame: None)


def pruning_in_entries_is_not_told(patch: Patch) -> None:
    """Nobody hears of nodes pruned in an entry of a loop."""
    patch.setattr(RunState, "publish_pruned", lambda run, frame, wanted: None)


def results_come_as_they_end(patch: Patch) -> None:
    """The results of a map are in the order in which its items ended."""
    plain = calls.perform
    ended: dict[Any, list[Any]] = {}

    async def perform(items: Any, index: int, values: Any, begun: Any = NOTHING) -> None:
        await plain(items, index, values, begun)
        order = ended.setdefault(items, [])
        if items.results is None:  # they flow on
            return
        order.append(items.results[index])
        if len(order) == len(items.results):
            items.results[:] = order

    patch.setattr(calls, "perform", perform)


def sequences_end_with_nothing(patch: Patch) -> None:
    """A skipped end of a sequence is nothing, not None."""
    patch.setattr(building, "_asked_for", lambda value: value)


def subflows_have_no_parameters(patch: Patch) -> None:
    """A sub-flow reads the defaults of its parameters."""
    patch.setattr("cascade.runtime.interpreter.subflows.fill", lambda graph, given, *others: fill(graph, {}, *others))


def one_entry_too_many(patch: Patch) -> None:
    """A loop has one entry more than `max_iterations` allows."""
    plain = following.Follower.__init__

    def begin(follower: Any, *args: Any) -> None:
        plain(follower, *args)
        follower.count = 0

    patch.setattr(following.Follower, "__init__", begin)


def one_attempt_too_few(patch: Patch) -> None:
    """A retry policy makes one attempt less."""
    plain = ManagedCall.__init__

    def begin(managed: ManagedCall, *args: Any) -> None:
        plain(managed, *args)
        managed.count = 2

    patch.setattr(ManagedCall, "__init__", begin)


def emitted_loops_trust_keys(patch: Patch) -> None:
    """An emitted loop takes every Jump for one along the edge that it knows."""
    plain = loop._LoopEmitter.tests

    def tests(writer: Any, edge: Any, by_key: bool) -> list[tuple[str, str]]:
        return [test for test in plain(writer, edge, False) if "target_key" not in test[0]]

    patch.setattr(loop._LoopEmitter, "tests", tests)


def emitted_loops_forget_data(patch: Patch) -> None:
    """An emitted loop does not take over what a Jump sends along."""

    def forget(edge: Edge, *args: Any, **options: Any) -> None:
        plain(edge, *args, **options)
        edge.updates = edge.updates[1:]

    plain = Edge.__init__
    patch.setattr(Edge, "__init__", forget)


def emitted_code_keeps_no_order(patch: Patch) -> None:
    """An emitted state calls what feeds it a second time where it was left in the middle."""
    plain = deoptimization.rebuild_frame

    def restore(run: Any, frame: Any, emitted: Any, place: Any, values: Any, steps: list[int]) -> Any:
        _, ready = plain(run, frame, emitted, place, values, steps)
        return [frame.step(at) for at in steps if at != place.register], ready

    patch.setattr(transitions, "rebuild_frame", restore)
    patch.setattr(root, "rebuild_frame", restore)


def emitted_routes_run_all(patch: Patch) -> None:
    """An emitted router takes the last route, whatever was selected."""
    plain = write_route

    def route(body: Any, i: int) -> None:
        routes = body.block.routes[i].routes
        last = list(routes.values())[-1]
        body.block.routes[i].routes = dict.fromkeys(routes, last)
        try:
            plain(body, i)
        finally:
            body.block.routes[i].routes = routes

    patch.setitem(LONGER, ROUTE, route)


def emitted_conditions_hold(patch: Patch) -> None:
    """An emitted call is made although it should be skipped."""
    patch.setattr(block.BlockEmitter, "gated", lambda body, i: body.call(i))


BUGS: dict[Callable[[Patch], None], int] = {
    passed_values_are_conditions: 37,
    otherwise_is_ignored: 21,
    nothing_passes_through: 17,
    skipped_counts_as_run: 48,
    conditions_hold_once: 12,
    overrides_are_lost: 1,
    overrides_stay: 1,
    entries_share_what_feeds_them: 1,
    pure_nodes_run_again: 17,
    pure_twins_are_two: 102,
    all_routes_run: 5,
    pruning_is_not_told: 5,
    pruning_in_entries_is_not_told: 19,
    results_come_as_they_end: 51,
    sequences_end_with_nothing: 96,
    subflows_have_no_parameters: 131,
    one_entry_too_many: 65,
    one_attempt_too_few: 10,
    emitted_loops_trust_keys: 56,
    emitted_loops_forget_data: 1,
    emitted_code_keeps_no_order: 10,
    emitted_routes_run_all: 19,
    emitted_conditions_hold: 24,
}
"""Each with the first of all programs that shows it, which is tried first: where programs are drawn otherwise than they
were, the search takes longer and finds another."""


@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    plant(monkeypatch)
    tiers: tuple[Tier, ...] = ("compile",) if plant.__name__.startswith("emitted") else TIERS
    found = shows(BUGS[plant], tiers) or any(shows(at, tiers) for at in range(EXAMPLES))
    assert found, f"not found in {EXAMPLES} programs: {plant.__doc__}"
