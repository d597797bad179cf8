"""Deoptimization points: where in a run a line of emitted code is, and what goes on from there."""

from __future__ import annotations

from types import CoroutineType
from typing import Any

from cascade.compiler.code.emitted import EmittedCode
from cascade.compiler.code.source_writer import DeoptPoint
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import Frame
from cascade.runtime.frames.started import LoopStarted, MapStarted, Started
from cascade.runtime.interpreter.interpreter import arguments
from cascade.runtime.run.state import RunState
from cascade.spec.operations import FUSED, LOOP, MAP

__all__ = ["call_at_point", "resume_operation"]


def call_at_point(run: RunState, frame: Frame, place: DeoptPoint, values: dict[str, Any]) -> Call:
    """Return where in a run the call was that an error came from; `values` are the local variables."""
    i = place.register
    op = frame.block.ops[i] if i >= 0 and place.is_call else FUSED
    if op == LOOP:
        call = Call(frame, i)
        call.enter_more(call.copy(run.names), values["j"] + 1)
        return call
    if op != MAP:
        return Call(frame, i)
    for signal in values["signals"]:
        if signal.__class__ is CoroutineType:
            signal.close()  # what a function returned, and nobody will await
    return Call(frame, i, f"[{values['waiting'].__reduce__()[2] - 1}]")


def resume_operation(
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
