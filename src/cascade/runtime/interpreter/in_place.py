"""Calls made in place although they are under a policy: what they take is at hand, so nothing has to be waited for.

A resource of the run or the engine is set up by the first call that asks for it, which is managed
(`runtime.execution.task`); those behind it are given what that one got. Emitted code is given the same where it
begins, and asks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cascade.runtime.frames.frame import PENDING
from cascade.runtime.run.state import RunState
from cascade.spec.blueprint import Block
from cascade.spec.graph import Gate
from cascade.spec.placement import CallForm, arguments
from cascade.spec.resource import Inject

__all__ = ["call_in_place", "taken"]


def call_in_place(run: RunState, form: CallForm, gate: Gate, values: list[Any]) -> Any:
    """Call with what the call takes; PENDING if not all of that is at hand."""
    if form.inline is None or not run.inline:
        return PENDING
    if gate.injects:
        values = [_provided(run, value) if value.__class__ is Inject else value for value in values]
        if any(value is PENDING for value in values):
            return PENDING
    args, kwargs = arguments(form, values)
    if form.task.needs:
        for name, wanted in (form.needs_behind(len(args)) or {}).items():
            value = kwargs[name] = _provided(run, wanted)
            if value is PENDING:
                return PENDING
    return form.inline(*args, **kwargs)


def _provided(run: RunState, wanted: Inject) -> Any:
    """Return what a call is given for a resource, or PENDING if that is not there yet or not for any call."""
    found = run.at_hand.get(wanted)
    if found is None:
        return PENDING
    name, resource, value = found
    return value if run.known.get(name, resource) is resource else PENDING


def taken(
    run: RunState, block: Block, constants: list[Any], wanted: Iterable[tuple[int, str | int]]
) -> list[Any] | None:
    """Return what calls of a block take that emitted code is to make; None if not all of that is at hand.

    Args:
        wanted: their registers, and the names or places of arguments.
    """
    found = []
    for i, at in wanted:
        form = block.forms[i]
        assert form is not None
        value = _provided(run, form.task.needs[at] if isinstance(at, str) else dict(block.injected(i, constants))[at])
        if value is PENDING:
            return None
        found.append(value)
    return found
