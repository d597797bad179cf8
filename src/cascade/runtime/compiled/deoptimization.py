"""Deoptimization: from a line of emitted code and its local variables to a frame that the interpreter goes on with.

Emitted code has neither a `try` nor a counter, and writes no result into a register: that is why it is quick. While
it is written, a log is kept of which local variable holds which register, which instructions a branch leaves out, and
which call a line makes (`compiler.code.source_writer`). Wherever the function is left, by an error of a call or
because it raises `Deoptimize` itself, the traceback has the line and the local variables, and the log tells what they
mean there (a `DeoptPoint`). `rebuild_frame` puts the values into the registers and returns what is still to be done.
No call is lost and none is made twice: what has returned is in a variable, and what was returned last, if it is no
plain value, is put aside.

A sub-flow in the middle is a frame of its own, and its registers have a log of their own: it goes on as a
`SubflowStarted`. A map or a loop in the middle of the function may have made some of its calls. What it has is handed
on as a `MapStarted` or `LoopStarted`, from which the map or the loop goes on in its own way.

The alternatives: to store each result in the frame as the interpreter does, which takes most of the gain; or to emit
an exit for each guard, as compilers for tracing do, which makes the functions several times as long to compile. The
price of the log is that it is kept as long as the function, and that a line of emitted code makes one call only
(docs/decisions/hot-loops.md, "Leaving in the middle").
"""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter
from types import CoroutineType
from typing import Any, TypeGuard

from cascade.compiler.code.emitted import EmittedCode
from cascade.compiler.code.source_writer import DeoptPoint
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import NOTHING, PENDING, Frame, Skip
from cascade.runtime.frames.started import Attempted, LoopStarted, MapStarted, Started, SubflowStarted
from cascade.runtime.interpreter.last_readers import count_reads
from cascade.runtime.interpreter.results import may_try_again, plain_result
from cascade.runtime.interpreter.subflows import open_subflow
from cascade.runtime.run.state import RunState
from cascade.spec.operations import FUSED, LOOP, MAP
from cascade.spec.placement import arguments

__all__ = ["call_at_point", "publish_end", "rebuild_frame", "tries_again"]


def call_at_point(run: RunState, frame: Frame, emitted: EmittedCode, place: DeoptPoint, values: dict[str, Any]) -> Call:
    """Return where in a run the call was that an error came from; `values` are the local variables."""
    for one, inner in pairwise(place.way):
        frame = _frame_inside(run, frame, emitted, one.register, inner, values)
        frame.activation.let_go()  # it names the call, and is not gone on with
    i = place.register
    op = frame.block.ops[i] if i >= 0 and place.is_call else FUSED
    if op == LOOP:
        call = Call(frame, i)
        call.enter_more(call.instance(run.names), values["j"] + 1)
        return call
    if op != MAP:
        return Call(frame, i)
    for signal in values["signals"]:
        if signal.__class__ is CoroutineType:
            signal.close()  # what a function returned, and nobody will await
    return Call(frame, i, f"[{values['waiting'].__reduce__()[2] - 1}]")


def tries_again(error: BaseException, frame: Frame, place: DeoptPoint) -> TypeGuard[Exception]:
    """Say whether what came out of a line is of a call that a retry policy is to look at."""
    blueprint, block = frame.activation.blueprint, frame.block
    *around, place = place.way
    for one in around:
        blueprint = blueprint.subflows[block.source(one.register)]
        block = blueprint.root
    return place.is_call and may_try_again(error, block, place.register)


def _frame_inside(
    run: RunState, frame: Frame, emitted: EmittedCode, i: int, place: DeoptPoint, values: dict[str, Any]
) -> Frame:
    """Return the frame of the sub-flow that instruction `i` is, with its parameters as they were at a place in it."""
    graph = frame.activation.blueprint.subflows[frame.block.source(i)].graph
    constants, found = graph.constants.copy(), emitted.frame_state(place, values).values
    for slot, given in graph.inputs.items():
        constants[slot] = found.get(-1 - slot, given.default)
    return open_subflow(run, frame, i, constants)


def _resumed(
    frame: Frame, emitted: EmittedCode, place: DeoptPoint, values: dict[str, Any], value: Any
) -> Started | None:
    """Return what was begun of a map or loop at a place, where `value` was there last; None: nothing was."""
    i = place.register
    if frame.block.ops[i] == MAP:
        return MapStarted(value)
    count = values["j"] + 1
    if not count:
        return None
    form = frame.block.forms[i]
    assert form is not None
    passed = frame.values(i)
    for at, name in emitted.inner[place.entry, i].items():
        passed[at] = values[name]
    return LoopStarted(value, count, *arguments(form, passed))


def rebuild_frame(
    run: RunState,
    frame: Frame,
    emitted: EmittedCode,
    place: DeoptPoint,
    values: dict[str, Any],
    steps: list[int],
    failed: Exception | None = None,
) -> tuple[list[Any], list[Any]]:
    """Put what a function has computed into registers; return the steps left to make and the calls put aside.

    Args:
        failed: what the first attempt of a call failed of that may be tried again.
    """
    *around, place = place.way
    if around:
        return _rebuild_around(run, frame, emitted, [*around, place], values, steps, failed)
    return _rebuild(run, frame, emitted, place, values, steps, failed)


def _rebuild_around(
    run: RunState,
    frame: Frame,
    emitted: EmittedCode,
    way: list[DeoptPoint],
    values: dict[str, Any],
    steps: list[int],
    failed: Exception | None,
) -> tuple[list[Any], list[Any]]:
    """Do for `rebuild_frame` what it takes to go on in a sub-flow: it has begun, and goes on to its end."""
    outer, place, *_ = way
    left, deferred = _rebuild(run, frame, emitted, outer, values, steps, None)
    i = outer.register
    inner = _frame_inside(run, frame, emitted, i, place, values)
    count_reads(inner)
    try:
        if len(way) > 2:
            inside = _rebuild_around(run, inner, emitted, way[1:], values, [*range(inner.block.strict)], failed)
        else:
            inside = _rebuild(run, inner, emitted, place, values, [*range(inner.block.strict)], failed)
    except BaseException:
        inner.activation.let_go()
        raise
    deferred.append((frame, i, SubflowStarted(inner, [(inner, iter(inside[0]))], inside[1], SubflowStarted)))
    if frame.demanded is not None:
        frame.demanded[i] = 1
    return [step for step in left if step[0] != i], deferred


def _rebuild(
    run: RunState,
    frame: Frame,
    emitted: EmittedCode,
    place: DeoptPoint,
    values: dict[str, Any],
    steps: list[int],
    failed: Exception | None,
) -> tuple[list[Any], list[Any]]:
    frame_state = emitted.frame_state(place, values)
    regs, block = frame.regs, frame.block
    aside = place.register if place.is_over else -1
    for at in frame_state.done:
        gone = NOTHING if at in frame_state.reasons else None  # nobody reads it
        regs[at] = frame_state.values.get(at, gone)
        if frame.demanded is not None and 0 <= at < len(block):
            frame.demanded[at] = 1
    for at, why in frame_state.reasons.items():
        skip = frame.skips[at] = Skip(why)
        gate = block.gates.get(at)
        if gate is not None and gate.otherwise is not None:
            skip.strict = regs[at]
    deferred: list[Any] = []
    if failed is not None:
        aside = place.register
        deferred.append((frame, aside, Attempted(failed)))
        if frame.demanded is not None:
            frame.demanded[aside] = 1  # it has begun, whoever asks for it
    elif aside >= 0:
        value, regs[aside] = regs[aside], PENDING
        if block.ops[aside] in (MAP, LOOP):
            started = _resumed(frame, emitted, place, values, value)
            if started is None:
                aside = -1
            else:
                deferred.append((frame, aside, started))
            return [frame.step(at) for at in steps if regs[at] is PENDING and at != aside], deferred
        form = block.forms[aside]
        assert form is not None
        try:
            value = plain_result(run, frame, aside, block.ops[aside], form, value, deferred)
        except BaseException as error:
            raise run.failure_at(Call(frame, aside), error) from None
        if value is not PENDING:
            regs[aside] = value
    return [frame.step(at) for at in steps if regs[at] is PENDING and at != aside], deferred


def publish_end(
    run: RunState, call: Call, place: DeoptPoint, values: dict[str, Any], error: BaseException, status: str
) -> None:
    """Say that a call in an emitted function failed, if its beginning was said."""
    start = values.get("start")
    if place.is_call and start is not None and run.watch[1]:
        run.publish_finished(call, status, perf_counter() - start, error, None)
