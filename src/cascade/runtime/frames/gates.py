"""Gates: whether the condition of an instruction and what it comes after let it run, and what else stands in for it."""

from __future__ import annotations

from typing import Any

from cascade.runtime.frames.frame import NOTHING, PENDING, Frame, Parked, Skip, order_frame
from cascade.spec.gate import Gate

__all__ = ["gate_reason", "stand_in"]


def gate_reason(frame: Frame, i: int, gate: Gate, work: list[Any], waiter: Parked) -> Any:
    """Return why instruction `i` is skipped, None if nothing keeps it, or PENDING if that is not known yet.

    Then `waiter` is parked, and what must run first is in the work.
    """
    if gate.condition is not None:
        if frame.regs[gate.condition] is PENDING:
            frame.park(gate.condition, waiter)
            return PENDING
        value = frame.strictly(gate.condition)
        if value is NOTHING:
            return "UpstreamSkipped_Condition"
        journal = frame.scope.run.journal
        if not (value if journal is None else journal.truth(frame, i, gate.condition, value)):
            return "ConditionFalse"
    mark = ~waiter[1] if waiter.__class__ is tuple else None  # beside the mark of its inputs
    done = frame.looked.pop(mark, 0) if frame.looked else 0
    for at in range(done, len(gate.after)):
        place, register, ask = order_frame(frame, gate.after[at])
        if place.regs[register] is PENDING:
            if mark is not None:
                frame.looked[mark] = at  # those before have values from now on
            place.park(register, waiter)
            if ask:
                place.demand(register, work)
            return PENDING
        skip = place.skips.get(register)
        if skip is not None and not skip.ran:
            return "UpstreamSkipped_Sequence"
    for _, reference in gate.amounts:
        if frame.regs[reference] is PENDING:
            frame.park(reference, waiter)
            return PENDING
    if gate.amounts and any(frame.regs[reference] is NOTHING for _, reference in gate.amounts):
        return "UpstreamSkipped_Data"
    return None


def stand_in(frame: Frame, skip: Skip, gate: Gate, work: list[Any], waiter: Parked) -> Any:
    """Return what readers get for a skipped instruction: its `otherwise`, else its first argument, else NOTHING.

    PENDING if the `otherwise` must run first; then `waiter` is parked with it.
    """
    if gate.otherwise is not None:
        value = frame.regs[gate.otherwise]
        if value is PENDING:
            frame.park(gate.otherwise, waiter)
            frame.demand(gate.otherwise, work)
            return PENDING
        skip.strict = frame.strictly(gate.otherwise)
        return value
    return NOTHING if gate.first is None else frame.regs[gate.first]
