"""Loops that are begun as emitted code, with their first call: nothing of them is made but what they run."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from cascade.compiler.analysis.shapes import kept, leaf_shape
from cascade.compiler.code.emitted import Guards, LinkedLoop
from cascade.compiler.transition_profile import ENDLESS, Edge, TransitionProfile
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import PENDING, Frame
from cascade.runtime.loops.shared_transition import HERE, literals
from cascade.runtime.loops.transition import Transition
from cascade.runtime.run.state import RunState
from cascade.runtime.shortcuts import off
from cascade.spec.control import Jump
from cascade.spec.placement import CallForm, arguments

__all__ = ["finish_compiled", "start_compiled"]

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
    if form.kept is None or not form.is_async or run.observed or not (run.compiles_loops and run.direct and run.inline):
        return None
    activation, number = frame.activation, frame.block.source(i)
    shape = None if form.names or "compiled starts" in off else leaf_shape(activation.blueprint, number)
    profile: TransitionProfile | None = None if shape is None else kept(form, shape)
    if profile is None:
        return None
    hot: Any = None
    for edge in profile.edges.get(HERE, ()):
        if edge.linked is not None and (outcome is None or edge.takes(outcome[2])):
            watch, version, hot = edge.linked
            break
    if hot is None or version != profile.version or watch != run.watch or not hot.loop.may_run():
        return None
    run.ticker.begin()
    guards = run.guarded(hot.loop)
    given = literals(activation, number)
    values, count = [given[-1]], 0
    if outcome is not None:
        values, count = [outcome[2].data], outcome[0] + 1
    for _, at in hot.loop.constants:
        values.append(given[at])
    return guards.function(range(count, ENDLESS), *values), guards, (edge, hot, profile)


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
    follower.count = 0
    edge, hot, profile = known
    template = [PENDING] * edge.entry.plan.size + literals(frame.activation, follower.number)
    transition = Transition(follower, edge, profile, template)
    transition.hot = hot
    follower.transitions[follower.number] = [transition]
    try:
        follower.value = transition.left(None, outcome) if error is None else transition.caught(error)
    except BaseException as failure:
        run.check_failed(call, failure)
        follower.let_go()
        raise
    return follower
