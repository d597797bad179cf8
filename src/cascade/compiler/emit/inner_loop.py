"""Loops inside of emitted loops: an inner `for`, for a state that jumps to itself with data of one kind.

What becomes of the loop of `count(100)` that feeds another one:

    n, j = start, -1
    for j in turn:
        counted = count(n)
        if counted.__class__ is not Jump or ... (data := counted.data).__class__ is not int: break
        n = data
    else: deoptimize()
    counted = end_of(counted, ends)
    count_loop.entries += j + 1

The inner loop goes over the numbers of the outer one, so it ends when the event loop should have a turn. Then, and
where a jump leads elsewhere, the interpreter takes over with what the last call returned.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any, NamedTuple

from cascade.compiler.code.source_writer import CannotEmit, SourceWriter, UnfitMap, Watch
from cascade.compiler.emit.block import BlockEmitter
from cascade.compiler.transition_profile import EXPECTED, Edge, EntryPoint, profile_of
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.control import Jump, Value
from cascade.spec.lazy import Lazy
from cascade.spec.operations import LOOP
from cascade.spec.signal import Signal

__all__ = ["InnerLoop", "edge_tests", "inner_loops", "write_loop"]


class InnerLoop(NamedTuple):
    """How a loop inside of another one goes on."""

    edge: Edge
    given: tuple[tuple[int, Any], ...]
    """Which arguments, among all of the call, a jump gives, and by which name in its data; None: they are it."""
    ends: tuple[tuple[Any, bool], ...]
    """The keys of its jumps, and whether they lead out of it."""

    def shape(self) -> tuple[Any, ...]:
        """Return what decides which lines are written for it."""
        edge = self.edge
        ends = tuple([(key.__class__, key, is_out) for key, is_out in self.ends])
        return id(edge.key), edge.by_value, edge.cls, self.given, ends


def inner_loops(blueprint: Blueprint, entries: list[EntryPoint], watch: Watch) -> dict[tuple[int, int], InnerLoop]:
    """Return the loops that may stand inside of an emitted one: by the number of the entry, and register."""
    found: dict[tuple[int, int], InnerLoop] = {}
    if any(watch) or blueprint.skips:
        return found
    for k, entry in enumerate(entries):
        for i in entry.steps if entry.blueprint_id is None else ():
            if entry.block.ops[i] == LOOP and i not in entry.loose:
                inner = _inner(blueprint, entry.block, i)
                if inner is not None:
                    found[k, i] = inner
    return found


def _inner(blueprint: Blueprint, block: Block, i: int) -> InnerLoop | None:
    number, form, gate = block.source(i), block.forms[i], block.gates[i]
    routes = block.jumps.get(i)
    if form is None or form.is_async or form.task.needs or routes is None or not gate.is_plain:
        return None
    if any(target is not None and target != number for target in routes.values()):
        return None
    edges = [edge for edge in profile_of(blueprint).edges.get(number, ()) if edge.is_jump]
    if not edges:
        return None
    edge = max(edges, key=lambda one: one.uses)
    entry, plan = edge.entry, edge.entry.plan
    if plan.steps or entry.number != number or entry.form is not form or tuple(plan.named) != form.names:
        return None
    first, again = block.references(i), [*plan.placed, *plan.named.values()]
    if len(first) != len(again):
        return None
    updates, given = dict(edge.updates), []
    for at, (one, other) in enumerate(zip(first, again, strict=True)):
        if other in updates:
            given.append((at, updates[other]))
        elif one >= 0 or other >= 0 or _slot(block, one) != _slot(entry.block, other):
            return None  # each entry has it made anew
    return InnerLoop(edge, tuple(given), tuple([(key, target is None) for key, target in routes.items()]))


def _slot(block: Block, reference: int) -> int:
    return -1 - reference if block.slots is None else block.slots[-1 - reference]


def write_loop(emitter: BlockEmitter, i: int) -> None:
    """Write a loop inside of another one.

    Raises:
        CannotEmit: not enough is known of it, or it does more than to jump to itself.
    """
    writer, inner = emitter.writer, emitter.inner.get(i)
    if inner is None:
        raise CannotEmit("loop")
    block, edge, depth = emitter.block, inner.edge, emitter.depth
    form = block.forms[i]
    assert form is not None
    passed = [emitter.local[at] for at in block.references(i)]
    given: dict[int, str] = {}
    for at, _ in inner.given:
        given[at] = writer.namer.name(emitter.base(block.references(i)[at]))
        writer.line(depth, f"{given[at]} = {passed[at]}")
        passed[at] = given[at]
    writer.line(depth, "j = -1")
    writer.line(depth, "for j in turn:")
    split = len(passed) - len(form.names)
    text = writer.called(form, passed[:split], zip(form.names, passed[split:], strict=True))
    name = emitter.take(i)
    writer.call(depth + 1, emitter.place(i), (emitter.entry, i), f"{name} = {text}", emitter.said(i))
    writer.line(depth + 1, f"if {' or '.join([no for _, no in edge_tests(writer, edge, name, writer.value)])}: break")
    for at, how in inner.given:
        data = "data" if how is None else f"data[{writer.value(how, f'name_{how}')}]"
        writer.line(depth + 1, f"{given[at]} = {data}")
    emitter.hold(i, name)
    writer.inner[emitter.entry, i] = given
    writer.line(depth, f"else: {writer.deoptimize()}", "", emitter.place(i, True))
    ends = writer.value(dict(inner.ends), f"ends_{form.task.name}")
    writer.line(depth, f"{name} = {writer.value(end_of, 'end_of')}({name}, {ends})", "", emitter.place(i, True))
    writer.line(depth, f"{emitter.instances[i]}.entries += j + 1")


def edge_tests(
    writer: SourceWriter, edge: Edge, result: str, guard: Callable[[Any, str], str], by_key: bool = False
) -> list[tuple[str, str]]:
    """Return the tests of whether a result goes along an edge, each with its opposite.

    Args:
        guard: names the key of the edge.
        by_key: the key of a jump tells that the result is one. What lacks it, raises AttributeError.
    """
    if edge.is_repeat:
        asked = _is(f"{result}.target_blueprint_id", "None")
    else:
        given = "_cascade_key" if by_key else "target_key" if edge.is_jump else "target_blueprint_id"
        key = guard(edge.key, f"to_{edge.key}" if edge.key.__class__ is str else "key")
        asked = _is(f"{result}.{given}", key)
        if edge.by_value:
            asked = f"same({result}.{given}, {key})", f"not same({result}.{given}, {key})"
    found = [asked] if by_key else [_is(f"{result}.__class__", "Jump" if edge.is_jump else "TailCall"), asked]
    if edge.cls is EXPECTED:
        return found
    held = "data"
    if not edge.is_jump:
        held = "given"
        if edge.count:
            found.append(_is(f"(args := {result}.args).__class__", writer.cls(edge.cls)))
            found.append((f"len(args) == {edge.count}", f"len(args) != {edge.count}"))
        else:
            found.append((f"not {result}.args", f"{result}.args"))
        if not edge.names:
            return [*found, (f"not {result}.kwargs", f"{result}.kwargs")]
        size = f"len(given := {result}.kwargs)"
    else:
        is_read = edge.updates or edge.names is not None
        data = f"(data := {result}.data)" if is_read else f"{result}.data"
        found.append(_is(f"{data}.__class__", writer.cls(edge.cls)))
        if edge.names is None:
            return found
        size = "len(data)"
    found.append((f"{size} == {len(edge.names)}", f"{size} != {len(edge.names)}"))
    words = [writer.value(name, f"name_{name}") for name in edge.names]
    return found + [(f"{word} in {held}", f"{word} not in {held}") for word in words]


def _is(left: str, right: str) -> tuple[str, str]:
    return f"{left} is {right}", f"{left} is not {right}"


def end_of(value: Any, ends: dict[Any, bool]) -> Any:
    """Return the value of a loop of what its last call returned; leave if it goes on, or that is more than a value."""
    if value.__class__ is Jump:
        try:
            if not ends[value.target_key]:
                raise UnfitMap
        except (KeyError, TypeError):
            raise UnfitMap from None
        value = value.data
    if isinstance(value, (Signal, CoroutineType, Lazy, Value)):
        raise UnfitMap
    return value
