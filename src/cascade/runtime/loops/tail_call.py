"""Tail calls: which arguments the next call has."""

from __future__ import annotations

from typing import Any

from cascade.compiler.lowering.entry_plan import WHOLE_DICT, override
from cascade.errors import JumpError
from cascade.spec.control import TailCall
from cascade.spec.placement import CallForm

__all__ = ["merge_tail"]


def merge_tail(
    form: CallForm, args: Any, kwargs: dict[str, Any], call: TailCall, receiver: int
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of the next call: those given now, and for the others those of the last call.

    Raises:
        TypeError: an argument that the task does not take.
    """
    placed = list(args)
    shape = form.task.shape
    if call.args:
        if shape is not None and kwargs:  # what went by name before goes by position now
            taken = shape.names[: receiver + len(call.args)]
            kwargs = {name: value for name, value in kwargs.items() if name not in taken}
        placed[receiver : receiver + len(call.args)] = call.args
    given = call.kwargs
    if not given:
        return placed, kwargs
    positions = shape.positions if shape is not None else {}
    count = len(placed)
    for name, value in given.items():
        at = positions.get(name, count)
        if not receiver <= at < count or (call.args and at < receiver + len(call.args)):
            break
        placed[at] = value
    else:
        return placed, kwargs
    task = form.task
    placed, named = placed[:count], dict(kwargs)
    for name, value in given.items():
        at = positions.get(name, -1)
        if call.args and receiver <= at < receiver + len(call.args):
            raise TypeError(f"a TailCall of task {task.name!r} (declared at {task.declared}) gives {name!r} twice")
        try:
            override(lambda: "it", form, placed, named, name, value, receiver)
        except JumpError as error:
            what = str(error).removeprefix("a Jump gives the argument ").removesuffix(WHOLE_DICT)
            what = what.replace(" to it, which has no such argument", ", which it does not take", 1)
            raise TypeError(
                f"a TailCall of task {task.name!r} (declared at {task.declared}) gives it the argument {what}"
            ) from None
    return placed, named
