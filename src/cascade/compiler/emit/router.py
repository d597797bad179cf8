"""Routers in emitted code: `if` ... `elif`, and in each branch the route and what it alone needs."""

from __future__ import annotations

from cascade.compiler.code.source_writer import CannotEmit, way_of
from cascade.compiler.emit.block import Body, Branch

__all__ = ["write_route"]

MOST_TESTS = 64
"""A router with more routes is left to the interpreter (`elif` nests, and CPython's compiler has an end)."""


def write_route(body: Body, i: int) -> None:
    """Write a router: the selected route, and what it alone needs, in its branch."""
    writer, router = body.writer, body.block.routes[i]
    (reference,) = body.block.references(i)
    if body.absent(reference) is not None:
        raise CannotEmit("strict")
    selector, name = body.local[reference], body.take(i)
    said = body.said(i)
    ways = list(router.routes.items())
    if any(body.may_lack(at) for at in body.block.late_needs(i)):
        writer.line(body.depth, f"{body.flag(i, name)} = None")
    tests: list[tuple[str, int]] = []
    if all(key is True or key is False for key, _ in ways):
        boolean = writer.cls(bool)
        writer.line(body.depth, f"if {selector}.__class__ is not {boolean}: {writer.stray()}", "", body.place(i))
        tests += [(selector if key else f"not {selector}", way) for key, way in ways]
    elif all(key.__class__ is str for key, _ in ways) and len(ways) <= MOST_TESTS:
        text = writer.cls(str)
        writer.line(body.depth, f"if {selector}.__class__ is not {text}: {writer.stray()}", "", body.place(i))
        tests += [(f"{selector} == {writer.value(key, f'key_{key}')}", way) for key, way in ways]
    else:
        numbers = writer.value({key: at for at, (key, _) in enumerate(ways)}, "ways")
        writer.names["way_of"] = way_of
        writer.line(body.depth, f"way = way_of({numbers}, {selector})", said, body.place(i))
        tests += [(f"way == {at}", way) for at, (_, way) in enumerate(ways)]
    if len(tests) > MOST_TESTS:
        raise CannotEmit("size")
    for at, (test, way) in enumerate(tests):
        writer.line(body.depth, f"{'elif' if at else 'if'} {test}:", "" if at else said, body.place(i))
        with Branch(body):
            _way(body, i, name, way)
    writer.line(body.depth, "else:")
    with Branch(body):
        if router.default is not None:
            _way(body, i, name, router.default)
        else:
            writer.line(body.depth, writer.stray(), "", body.place(i))
    body.hold(i, name)
    if i in body.flags:
        writer.log.append(("flag", i, body.flags[i]))


def _way(body: Body, i: int, name: str, reference: int) -> None:
    """Write one route."""
    body.demand(reference)
    body.writer.line(body.depth, f"{name} = {body.local[reference]}")
    if body.may_lack(reference):
        body.writer.line(body.depth, f"if {name} is {body.writer.mark('NOTHING')}:")
        body.writer.line(body.depth + 1, f'{body.flags[i]} = "UpstreamSkipped_Data"')
