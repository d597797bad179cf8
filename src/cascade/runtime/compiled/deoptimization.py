"""Places: where in a run a line of emitted code is."""

from __future__ import annotations

from types import CoroutineType
from typing import Any

from cascade.compiler.code.emitted import Emitted
from cascade.compiler.code.source_writer import Place
from cascade.runtime.frames.call import Spot
from cascade.runtime.frames.frame import Frame
from cascade.runtime.frames.started import Begun, Called, Entered
from cascade.runtime.interpreter.interpreter import arguments
from cascade.runtime.run.state import RunState
from cascade.spec.operations import FUSED, LOOP, MAP

__all__ = ["spot_of", "take_over"]


def spot_of(run: RunState, frame: Frame, place: Place, values: dict[str, Any]) -> Spot:
    """Return where in a run the call was that an error came from; `values` are the local variables."""
    i = place.register
    op = frame.block.ops[i] if i >= 0 and place.is_call else FUSED
    if op == LOOP:
        spot = Spot(frame, i)
        spot.enter_more(spot.copy(run.names), values["j"] + 1)
        return spot
    if op != MAP:
        return Spot(frame, i)
    for signal in values["signals"]:
        if signal.__class__ is CoroutineType:
            signal.close()  # what a function returned, and nobody will await
    return Spot(frame, i, f"[{values['waiting'].__reduce__()[2] - 1}]")


def take_over(frame: Frame, emitted: Emitted, place: Place, values: dict[str, Any], value: Any) -> Begun | None:
    """Return what was begun of a map or loop at a place, where `value` was there last; None: nothing was."""
    i = place.register
    if frame.block.ops[i] == MAP:
        return Called(value)
    count = values["j"] + 1
    if not count:
        return None
    form = frame.block.forms[i]
    assert form is not None
    passed = frame.values(i)
    for at, name in emitted.inner[place.entry, i].items():
        passed[at] = values[name]
    return Entered(value, count, *arguments(form, passed))
