"""Routers in emitted code: `if` ... `elif`, and in each branch the route and what it alone needs."""

from __future__ import annotations

from cascade.compiler.code.source_writer import CannotEmit, way_of
from cascade.compiler.emit.block import BlockEmitter, Branch

__all__ = ["write_route"]

MOST_TESTS = 64
"""A router with more routes is left to the interpreter (`elif` nests, and CPython's compiler has an end)."""


def write_route(emitter: BlockEmitter, i: int) -> None:
    """Write a router: the selected route, and what it alone needs, in its branch."""
    writer, router = emitter.writer, emitter.block.routes[i]
    (reference,) = emitter.block.references(i)
    if emitter.absent(reference) is not None:
        raise CannotEmit("strict")
    selector, name = emitter.local[reference], emitter.take(i)
    said = emitter.said(i)
    ways = list(router.routes.items())
    if any(emitter.may_lack(at) for at in emitter.block.late_needs(i)):
        writer.line(emitter.depth, f"{emitter.flag(i, name)} = None")
    tests: list[tuple[str, int]] = []
    if all(key is True or key is False for key, _ in ways):
        boolean = writer.cls(bool)
        writer.line(
            emitter.depth, f"if {selector}.__class__ is not {boolean}: {writer.deoptimize()}", "", emitter.place(i)
        )
        tests += [(selector if key else f"not {selector}", way) for key, way in ways]
    elif all(key.__class__ is str for key, _ in ways) and len(ways) <= MOST_TESTS:
        text = writer.cls(str)
        writer.line(
            emitter.depth, f"if {selector}.__class__ is not {text}: {writer.deoptimize()}", "", emitter.place(i)
        )
        tests += [(f"{selector} == {writer.value(key, f'key_{key}')}", way) for key, way in ways]
    else:
        numbers = writer.value({key: at for at, (key, _) in enumerate(ways)}, "ways")
        writer.names["way_of"] = way_of
        writer.line(emitter.depth, f"way = way_of({numbers}, {selector})", said, emitter.place(i))
        tests += [(f"way == {at}", way) for at, (_, way) in enumerate(ways)]
    if len(tests) > MOST_TESTS:
        raise CannotEmit("size")
    for at, (test, way) in enumerate(tests):
        writer.line(emitter.depth, f"{'elif' if at else 'if'} {test}:", "" if at else said, emitter.place(i))
        with Branch(emitter):
            _way(emitter, i, name, way)
    writer.line(emitter.depth, "else:")
    with Branch(emitter):
        if router.default is not None:
            _way(emitter, i, name, router.default)
        else:
            writer.line(emitter.depth, writer.deoptimize(), "", emitter.place(i))
    emitter.hold(i, name)
    if i in emitter.flags:
        writer.deopt_log.append(("flag", i, emitter.flags[i]))


def _way(emitter: BlockEmitter, i: int, name: str, reference: int) -> None:
    """Write one route."""
    emitter.demand(reference)
    emitter.writer.line(emitter.depth, f"{name} = {emitter.local[reference]}")
    if emitter.may_lack(reference):
        emitter.writer.line(emitter.depth, f"if {name} is {emitter.writer.mark('NOTHING')}:")
        emitter.writer.line(emitter.depth + 1, f'{emitter.flags[i]} = "UpstreamSkipped_Data"')
