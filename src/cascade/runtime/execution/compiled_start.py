"""Loops that are begun as emitted code, with their first call: nothing of them is made but what they run."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from cascade.compiler.analysis.shapes import item_shape, kept, leaf_shape
from cascade.compiler.code.emitted import Guards, LinkedLoop
from cascade.compiler.transition_profile import ENDLESS, Edge, TransitionProfile
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import PENDING, Frame
from cascade.runtime.loops.learning import HERE
from cascade.runtime.loops.shared_transition import literals
from cascade.runtime.loops.transition import Transition
from cascade.runtime.maps.state import MapState
from cascade.runtime.run.state import RunState
from cascade.runtime.shortcuts import off
from cascade.spec.control import Jump
from cascade.spec.placement import CallForm, arguments

__all__ = ["finish_compiled", "finish_item", "items_begin", "start_compiled", "start_item"]

PLAIN = frozenset({type(None), bool, int, float, str, bytes, tuple, list, dict})
"""The classes of most data that a loop ends with."""
Known = tuple[Edge, LinkedLoop, TransitionProfile]
"""What a loop begun with its first call goes on from when that is left."""


def start_compiled(
    run: RunState, frame: Frame, i: int, form: CallForm, outcome: Any = None
) -> tuple[Coroutine[Any, Any, Any], Guards, Known] | None:
    """Return the emitted loop, begun with the first call of a bound coroutine function, if one like it had it before.

    Or again, if it was left with an `outcome` for no more than the event loop's turn. While it runs there is nothing
    else of it: what a loop has besides is made when it ends. The caller must hold all that is returned until then.
    """
    if not _may_begin(run, form):
        return None
    activation, number = frame.activation, frame.block.source(i)
    shape = leaf_shape(activation.blueprint, number)
    profile: TransitionProfile | None = None if shape is None else kept(form, shape)
    known = None if profile is None else _linked(run, profile, outcome)
    if known is None:
        return None
    hot, given, count = known[1], literals(activation, number), 0
    values = [given[-1]]
    if outcome is not None:
        values, count = [outcome[2].data], outcome[0] + 1
    for _, at in hot.loop.constants:
        values.append(given[at])
    return _begun(run, known, count, values)


def _may_begin(run: RunState, form: CallForm) -> bool:
    """Say whether loops of a coroutine function may begin as emitted code at all."""
    if form.kept is None or not form.is_async or form.names or run.observed:
        return False
    return run.compiles_loops and run.direct and run.inline and "compiled starts" not in off


def _linked(run: RunState, profile: TransitionProfile, outcome: Any) -> Known | None:
    """Return the emitted loop that loops of a shape may begin with, or go on in."""
    for edge in profile.edges.get(HERE, ()):
        if edge.linked is not None and (outcome is None or edge.takes(outcome[2])):
            watch, version, hot = edge.linked
            if version == profile.version and watch == run.watch and hot.loop.may_run():
                return edge, hot, profile
            return None
    return None


def _begun(
    run: RunState, known: Known, count: int, values: Sequence[Any]
) -> tuple[Coroutine[Any, Any, Any], Guards, Known]:
    run.ticker.begin()
    guards = run.guarded(known[1].loop)
    return guards.function(range(count, ENDLESS), *values), guards, known


def finish_compiled(
    run: RunState, frame: Frame, i: int, known: Known, outcome: Any, error: BaseException | None
) -> Any:
    """Take over from a loop begun with its first call that ended with an outcome or an error.

    Return what the loop gives, or what follows it on.
    """
    if error is None and frame.loop is None and frame.activation.key is None:
        count, _, result, _ = outcome
        number = frame.block.source(i)
        routes = frame.activation.blueprint.graph.jumps[number]
        is_simple = result.__class__ is Jump and result.data.__class__ in PLAIN and result.target_key.__class__ is str
        if is_simple and routes.get(result.target_key, i) is None:  # a way out
            run.names.entered(frame.activation, number, count + 1)
            return result.data
    call = Call(frame, i)
    call.scope.check()  # the loop may not have minded a cancel
    call.entered = True  # as the entries are all counted by the transition
    form = frame.block.forms[i]
    assert form is not None
    args, kwargs = arguments(form, frame.values(i))
    follower = run.operations.loop(run, call, None, form, args, kwargs, frame.block.gates.get(i), None)
    template = [PENDING] * known[0].entry.plan.size + literals(frame.activation, follower.number)
    return _taken_over(follower, known, template, outcome, error)


def _taken_over(follower: Any, known: Known, template: list[Any], outcome: Any, error: BaseException | None) -> Any:
    """Have a follower go on from where the emitted loop was left, which it begins by."""
    follower.count = 0
    edge, hot, profile = known
    transition = Transition(follower, edge, profile, template)
    if transition.hot is not hot:  # another loop has linked one for others who listen since
        transition.watch, transition.hot = None, hot
    follower.transitions[follower.number] = [transition]
    try:
        follower.value = transition.left(None, outcome) if error is None else transition.caught(error)
    except BaseException as failure:
        follower.run.check_failed(follower.call, failure)
        follower.let_go()
        raise
    return follower


# --- items of maps


def items_begin(state: MapState) -> TransitionProfile | None:
    """Return what is known of the loops that the items of a map are, if they may begin as emitted code."""
    run, form = state.run, state.form
    if state.gate is None or form.task.needs or not _may_begin(run, form) or run.governs(form):
        return None
    frame = state.frame
    shape = item_shape(frame.activation.blueprint, frame.block.source(state.i))
    profile: TransitionProfile | None = None if shape is None else kept(form, shape)
    return profile if profile is not None and _linked(run, profile, None) is not None else None


def start_item(
    state: MapState, values: tuple[Any, ...], profile: TransitionProfile, outcome: Any
) -> tuple[Coroutine[Any, Any, Any], Guards, Known] | None:
    """Begin the emitted loop with the first call of an item, or again with how it was left; see `start_compiled`."""
    run = state.run
    if run.observed or not run.compiles_loops:
        return None
    known = _linked(run, profile, outcome)
    if known is None:
        return None
    given, count = list(state.arguments(values)[0]), 0
    if outcome is not None:
        _, _, jump, given = outcome
        given = list(given)
        for at, name in known[0].updates:
            given[at] = jump.data if name is None else jump.data[name]
        count = outcome[0] + 1
    return _begun(run, known, count, given)


def finish_item(
    state: MapState, values: tuple[Any, ...], call: Call, known: Known, outcome: Any, error: BaseException | None
) -> Any:
    """Take over from the emitted loop of an item; return its value, or what follows it on."""
    run = state.run
    call.entered = True  # as the entries are all counted at once
    if error is None or isinstance(error, AttributeError):
        count, value = _ended(state, known, outcome, error)
        if count is not None:
            call.enter_more(call.instance(run.names), count + 1)
            return value
    call.scope.check()  # the loop may not have minded a cancel
    args, kwargs = state.arguments(values)
    follower = run.operations.loop(run, call, None, state.form, args, kwargs, state.gate, (args, kwargs))
    return _taken_over(follower, known, list(args), outcome, error)


def _ended(state: MapState, known: Known, outcome: Any, error: BaseException | None) -> tuple[int | None, Any]:
    """Return in which entry a loop ended and with what, if that is plain: a way out, or a value that is no jump."""
    if error is None:
        count, _, result, _ = outcome
        if result.__class__ is not Jump or result.target_key.__class__ is not str:
            return None, None
        frame = state.frame
        routes = frame.activation.blueprint.graph.jumps[frame.block.source(state.i)]
        if routes.get(result.target_key, 0) is not None:
            return None, None
        value = result.data
    else:
        place, found = known[1].loop.where(error)
        if place is None or place.passed is None:
            return None, None
        count, value = found["i"], found["result"]
    return (count, value) if value.__class__ in PLAIN else (None, None)
