"""Loops that are begun as emitted code, with their first call: nothing of them is made but what they run."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from cascade.compiler.analysis.shapes import kept, leaf_sort
from cascade.compiler.code.emitted import ENDLESS, Guards
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import PENDING, Frame
from cascade.runtime.loops.shared_transition import PLAIN, Known, SharedTransition, literals
from cascade.runtime.run.state import RunState
from cascade.runtime.shortcuts import off
from cascade.spec.control import Jump
from cascade.spec.placement import CallForm, arguments

__all__ = ["finish_compiled", "resume_compiled", "start_compiled"]


def start_compiled(
    run: RunState, frame: Frame, i: int, form: CallForm
) -> tuple[Coroutine[Any, Any, Any], Guards, Known] | None:
    """Return the emitted loop, begun with the first call of a bound coroutine function, if one like it had it before.

    While it runs there is nothing else of it: what a loop has besides is made when it ends. The caller must hold all
    that is returned until then.
    """
    if form.kept is None or not form.is_async or run.observed or not (run.compiles_loops and run.direct and run.inline):
        return None
    if "compiled starts" in off:
        return None
    activation, number = frame.activation, frame.block.source(i)
    graph = activation.blueprint.graph
    sort = leaf_sort(graph, number)
    known: Known | None = None if sort is None or activation.blueprint.skips else kept(form, sort)
    if known is None:
        return None
    hot = known[1]
    if form.names or not hot.loop.may_run():
        return None
    routes = graph.jumps[number]
    for edge in hot.loop.edges:
        if routes.get(edge.key, -1) != number:
            return None
    run.ticker.begin()
    guards = run.guarded(hot.loop)
    first = activation.constants[-1 - graph.references(number)[0]]  # the argument that the data of a jump stands for
    return guards.function(range(ENDLESS), first, *literals(activation, number, hot)), guards, known


def resume_compiled(
    run: RunState, frame: Frame, i: int, known: Known, outcome: tuple[int, Any, Any, Any]
) -> tuple[Coroutine[Any, Any, Any] | None, Guards | None]:
    """Return the loop again, if it was left with an outcome for no more than the event loop's turn."""
    count, _, result, _ = outcome
    edge, hot, _ = known
    if run.observed or not hot.loop.may_run() or not edge.takes(result):
        return None, None
    run.ticker.begin()
    guards = run.guarded(hot.loop)
    more = literals(frame.activation, frame.block.source(i), hot)
    return guards.function(range(count + 1, ENDLESS), result.data, *more), guards


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
    call.enter(call.copy(run.names))
    form = frame.block.forms[i]
    assert form is not None
    args, kwargs = arguments(form, frame.values(i))
    follower = run.operations.loop(run, call, PENDING, form, args, kwargs, frame.block.gates.get(i), None)
    transition = SharedTransition(follower, known[0], known[1])
    transition.ahead = 1
    follower.transitions[follower.number] = [transition]
    follower.outcome, follower.error = outcome, error
    return follower
