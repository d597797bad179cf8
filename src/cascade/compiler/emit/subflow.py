"""Sub-flows in emitted code: what they call stands among the calls around them, with variables of its own.

What becomes of `cs.subflow(clean(rows), {"rows": data})`, where the parameter has a type:

    rows = data
    if rows.__class__ is not list: rows = as_rows(rows)
    cleaned = clean(rows)

Registers of the sub-flow have a log of their own: where the function is left in it, the interpreter goes on in a frame
of it, and what is around is as it is behind any other call that goes on elsewhere.
"""

from __future__ import annotations

from cascade.compiler.analysis.inside import size_inside
from cascade.compiler.code.source import Namer
from cascade.compiler.code.source_writer import CannotEmit
from cascade.compiler.emit.block import BlockEmitter
from cascade.spec.inputs import Param

__all__ = ["write_subflow"]

AS_THEY_ARE = frozenset({int, str, float, bool})
"""Values of these classes are what a parameter of that type converts them to."""


def write_subflow(emitter: BlockEmitter, i: int) -> None:
    """Write a sub-flow.

    Raises:
        CannotEmit: it is large, somebody watches what it calls, or it does more than to call what is short.
    """
    block, writer = emitter.block, emitter.writer
    blueprint = emitter.blueprint.subflows[block.source(i)]
    if any(writer.watch) or not size_inside(blueprint):
        raise CannotEmit("sub-flow")
    inner = emitter.inside(blueprint)
    given, converted = _parameters(emitter, inner, i)
    name = emitter.take(i)
    around, log = writer.around, writer.deopt_log
    writer.around, writer.deopt_log = emitter.place(i), []
    for at, local in given.items():
        inner.local[at] = local
        writer.deopt_log.append(("set", at, local))
    for at, value in enumerate(blueprint.graph.constants):
        if at not in blueprint.graph.inputs:
            inner.local[-1 - at] = writer.value(value, "constant")
    inner.own = {blueprint.root.root: name}
    steps = range(blueprint.root.strict)
    inner.wish(steps)
    inner.write(list(steps), [blueprint.root.root])
    writer.around, writer.deopt_log = around, log
    emitter.leave_inside(inner)
    emitter.free([local for local in given.values() if local in converted])
    emitter.hold(i, name)


def _parameters(emitter: BlockEmitter, inner: BlockEmitter, i: int) -> tuple[dict[int, str], set[str]]:
    """Write what gives the parameters of a sub-flow their values.

    Returns the variable of each, by its reference, and those that are none of the calls around.
    """
    block, writer = emitter.block, emitter.writer
    sources = emitter.graph.nodes[block.source(i)].kwargs
    passed = dict(zip(sources, [emitter.local[at] for at in block.references(i)], strict=True))
    found: dict[int, str] = {}
    converted: set[str] = set()
    for at, given in inner.graph.inputs.items():
        if given.name not in passed:
            found[-1 - at] = writer.value(given.default, f"default_{given.name}")
            continue
        local = found[-1 - at] = passed[given.name]
        if sources.get(given.name) is given or not isinstance(given, Param):
            continue
        name = found[-1 - at] = emitter.variable(Namer.base(given.name))
        converted.add(name)
        convert = writer.value(given.convert, f"as_{given.name}")
        if given.type in AS_THEY_ARE and given.typed:
            writer.line(emitter.depth, f"{name} = {local}")
            test = f"if {name}.__class__ is not {writer.cls(given.type)}: "
            writer.line(emitter.depth, f"{test}{name} = {convert}({name})", "", emitter.place(i))
        else:
            writer.line(emitter.depth, f"{name} = {convert}({local})", "", emitter.place(i))
    return found, converted
