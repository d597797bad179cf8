"""Maps in emitted code: a comprehension, where a short function is called for each item of a list or tuple.

What becomes of `double.map(x=rows)`:

    if rows.__class__ is not list and rows.__class__ is not tuple or len(rows) > most: unfit()
    if not turn: deoptimize()
    waiting, signals = iter(rows[:]), []
    found = [one for item in waiting for one in (double(item),) if one.__class__ is int or odd_item(one, signals)]
    if signals: deoptimize()

As in the interpreter, a result that is more than a value does not keep the other items from being called; then the
interpreter takes over with all that was returned. Which item failed is read off the iterator.
"""

from __future__ import annotations

from types import CoroutineType
from typing import Any

from cascade.compiler.code.comprehension import comprehension
from cascade.compiler.code.source_writer import CannotEmit, UnfitMap
from cascade.compiler.emit.block import BlockEmitter
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.layout import order_of
from cascade.spec.lazy import MappedResult
from cascade.spec.placement import CallForm
from cascade.spec.signal import Signal

__all__ = ["MOST_ITEMS", "item_form", "write_map"]

MOST_ITEMS = 256
"""A map of more items is left to the interpreter, which gives the event loop its turns between them."""


def item_form(blueprint: Blueprint, block: Block, i: int) -> CallForm | None:
    """Return how map `i` calls its task, if each call needs nothing but to be made; else None."""
    node: MappedResult[Any] = blueprint.graph.nodes[block.source(i)]
    gate = block.gates.get(i)
    if gate is not None and not (gate.is_plain and gate.terms.selector is None and i not in block.jumps):
        return None
    if node.concurrency is not None or node.window is not None or node.errors.on_error != "raise":
        return None
    task = node.task
    if task.needs or task.is_async or task.mode not in ("auto", "inline"):
        return None
    return _passed(node)[1]


def _passed(node: MappedResult[Any]) -> tuple[tuple[str, ...], CallForm]:
    """Return the names of what goes by position behind the first arguments, and how the call is made."""
    same = [name for name in node.kwargs or () if name not in node.each]
    order, named = order_of(node.task, len(node.args), (*node.each, *same))
    return order, node.task.form_of(named)


def write_map(emitter: BlockEmitter, i: int) -> None:
    """Write a map.

    Raises:
        CannotEmit: its items need more than to be called, it may be skipped, or somebody watches them.
    """
    block, writer = emitter.block, emitter.writer
    form = item_form(emitter.blueprint, block, i)
    references = block.references(i)
    skipped = i in emitter.skips or any(emitter.may_lack(at) for at in references)
    if form is None or skipped or any(writer.watch) or i in emitter.loose:
        raise CannotEmit("map")
    node: MappedResult[Any] = emitter.graph.nodes[block.source(i)]
    order, _ = _passed(node)
    passed = [emitter.local[at] for at in references]
    first = passed[: len(node.args)]
    given = dict(zip(node.kwargs or (), passed[len(first) :], strict=True))
    lists = [given[name] for name in node.each]
    place, length = emitter.place(i), writer.value(len, "len")
    for at, each in enumerate(lists):
        kinds = f"{each}.__class__ is not {writer.cls(list)} and {each}.__class__ is not {writer.cls(tuple)}"
        size = f"{length}({each}) > {MOST_ITEMS}" if not at else f"{length}({each}) != {length}({lists[0]})"
        writer.line(emitter.depth, f"if {kinds} or {size}: {writer.value(unfit, 'unfit')}()", "", place)
    if emitter.turn_over:
        writer.line(emitter.depth, f"if {emitter.turn_over}: {writer.deoptimize()}", "", place)
    writer.line(emitter.depth, f"waiting, signals = {writer.value(iter, 'iter')}({lists[0]}[:]), []")
    given.update((name, writer.namer.name("item")) for name in node.each)
    items = ", ".join(given[name] for name in node.each)
    call = writer.called(form, [*first, *(given[name] for name in order)], [(name, given[name]) for name in form.names])
    one, source = writer.namer.name("one"), "waiting"
    if len(lists) > 1:
        source = f"{writer.value(zip, 'zip')}(waiting, {', '.join(f'{each}[:]' for each in lists[1:])})"
    if form.seen is None:
        writer.is_sure = False
        looked = f"{writer.value(_ItemLook(form), f'odd_{form.task.name}')}({one}, signals)"
    else:
        odd = writer.value(odd_item, "odd_item")
        looked = f"{one}.__class__ is {writer.cls(form.seen)} or {odd}({one}, signals)"
    name = emitter.take(i)
    text = f"{name} = {comprehension(call, f'for {items} in {source}', one, looked)}"
    writer.call(emitter.depth, place, (emitter.entry, i), text, emitter.said(i))
    emitter.hold(i, name)
    writer.line(emitter.depth, f"if signals: {writer.deoptimize()}", "", emitter.place(i, True))


class _ItemLook:
    """Looks at the results of a function that nobody had seen a result of."""

    __slots__ = ("form",)

    def __init__(self, form: CallForm) -> None:
        self.form = form

    def __call__(self, value: Any, signals: list[Any]) -> bool:
        if not isinstance(value, (Signal, CoroutineType)):
            self.form.seen = value.__class__
        return odd_item(value, signals)


def odd_item(value: Any, signals: list[Any]) -> bool:
    """Note the result of an item if it is more than a value; it is kept all the same."""
    if isinstance(value, (Signal, CoroutineType)):
        signals.append(value)
    return True


def unfit() -> None:
    """Leave before a map that cannot be gone through in place."""
    raise UnfitMap
