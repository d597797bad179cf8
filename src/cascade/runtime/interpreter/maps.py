"""Maps in the pass: a short function is called for the few items of a list where nothing has to be waited for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import PENDING, Frame
from cascade.runtime.frames.started import MapStarted
from cascade.runtime.interpreter.results import is_signal
from cascade.spec.layout import order_of
from cascade.spec.lazy import MappedResult
from cascade.spec.placement import CallForm
from cascade.spec.readable import readable

if TYPE_CHECKING:
    from cascade.runtime.run.state import RunState

__all__ = ["map_in_pass"]

MOST_ITEMS = 64
"""A map of more items is put aside at once: it has quicker ways, and gives the event loop its turns."""


def _at_item(known: Mapping[str, Any]) -> tuple[Any, Call]:
    """Say which item's call a pass is at, by how many it has made."""
    return known["run"], Call(known["frame"], known["i"], f"[{len(known['made'])}]")


@readable("run", "frame", "i", "made", place=_at_item)
def map_in_pass(run: RunState, frame: Frame, i: int, values: list[Any]) -> Any:
    """Return the results of a map whose function is short; PENDING if it has not begun.

    Or what it has so far (`MapStarted`), if the event loop needs a turn, or some results are more than values.

    Raises:
        NodeFailure: an item failed.
    """
    node: MappedResult[Any] = frame.activation.blueprint.graph.nodes[frame.block.source(i)]
    task, each = node.task, node.each
    if task.needs or node.errors.on_error != "raise" or run.result_sink is not None:
        return PENDING
    first = values[: len(node.args)]
    given = dict(zip(node.kwargs or (), values[len(first) :], strict=True))
    columns = [given.pop(name) for name in each]
    size = -1
    for column in columns:
        if column.__class__ is not list and column.__class__ is not tuple:
            return PENDING
        if size not in (-1, len(column)):
            return PENDING
        size = len(column)
    order, names = order_of(task, len(first), (*each, *given))
    form: CallForm = task.form_of(names)
    function = form.inline
    if size > MOST_ITEMS or function is None:
        return PENDING
    is_plain = not given and order == each
    ticker, seen, made, odd = run.ticker, form.seen, list[Any](), False
    try:
        for items in zip(*[column[:] for column in columns], strict=True):
            if is_plain:
                value = function(*first, *items)
            else:
                found = {**given, **dict(zip(each, items, strict=True))}
                value = function(*first, *[found.pop(name) for name in order], **found)
            if value.__class__ is not seen:
                if is_signal(value):
                    odd = True
                else:
                    seen = form.seen = value.__class__
            made.append(value)
            if ticker.due:
                break
    except BaseException as error:
        MapStarted(made).close()
        raise run.failure_at(Call(frame, i, f"[{len(made)}]"), error) from None
    return MapStarted(made, len(made) == size) if odd or len(made) < size else made
