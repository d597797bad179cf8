"""The Python that a program becomes, as text: what was emitted while it ran, or what is to be expected."""

from __future__ import annotations

from cascade.compiler.analysis.order import REASONS
from cascade.compiler.analysis.shapes import profiles_of
from cascade.compiler.code.source import comment
from cascade.compiler.code.source_writer import CannotEmit, Watch
from cascade.compiler.compiled_root import fuse
from cascade.compiler.emit.loop import emit_loop
from cascade.compiler.lowering.entry_plan import FIRST, entry_plan
from cascade.compiler.transition_profile import EXPECTED, Edge, EntryPoint
from cascade.errors import JumpError
from cascade.spec.blueprint import Blueprint
from cascade.spec.operations import CALLN

__all__ = ["explained"]

NOBODY: Watch = (False, False, False)


def explained(blueprint: Blueprint) -> str:
    """Return the functions that a program becomes, and why the rest is left to the scheduler."""
    parts: list[str] = []
    waiting = [("", blueprint)]
    while waiting:
        title, program = waiting.pop()
        parts += [*([title] if title else ()), *_root(program), *_loops(program)]
        for number, inner in sorted(program.subflows.items(), reverse=True):
            waiting.append((comment(f"the sub-flow at {program.graph.declared(number)}:"), inner))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _root(blueprint: Blueprint) -> list[str]:
    graph, block = blueprint.graph, blueprint.root
    if not block.strict:
        return [comment("nothing is called")]
    fused = fuse(blueprint, NOBODY, expecting=True)
    if fused.whole is not None:
        return [fused.whole.source]
    lines = []
    for i, why in sorted(fused.reasons.items()):
        if i < block.strict and block.kinds[i] not in (3, 7):
            said = f"{graph.name(i)} {graph.declared(i)}: {REASONS.get(why, why)}"
            lines.append(comment(said))
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [comment(f"... and {len(lines) - MOST_LINES} more")]
    return ["\n".join(lines), *(piece.source for piece in fused.pieces)]


MOST_LINES = 20


def _loops(blueprint: Blueprint) -> list[str]:
    """Return the loops that run, or those that are to be expected where none has run yet."""
    known = [one for profile in profiles_of(blueprint) for one in profile.made.items()]
    made = [hot.loop for (_, watch), hot in known if hot and watch == NOBODY]
    if made:
        return [loop.source for loop in dict.fromkeys(made)]
    found = []
    seen: set[int] = set()
    for number in sorted(blueprint.graph.jumps):
        if number in seen:
            continue
        entries, edges = _expected(blueprint, number)
        seen |= {entry.number for entry in entries}
        if not edges:
            continue
        try:
            found.append(emit_loop([blueprint] * len(entries), entries, edges, NOBODY).source)
        except CannotEmit as error:
            graph = blueprint.graph
            why = REASONS.get(str(error), str(error))
            found.append(comment(f"the loop of {graph.name(number)} {graph.declared(number)}: {why}"))
    return found


def _expected(blueprint: Blueprint, number: int) -> tuple[list[EntryPoint], list[Edge]]:
    """Return the states of a loop, each entered with data for its first argument, and the ways between them."""
    entries: dict[int, EntryPoint] = {}
    edges: list[Edge] = []
    stack = [number]
    seen: set[int] = set()
    while stack:
        source = stack.pop()
        if source in seen:
            continue
        seen.add(source)
        for key, target in blueprint.graph.jumps.get(source, {}).items():
            if target is None or target not in blueprint.graph.jumps:
                continue
            if target not in entries:
                entry = _entry(blueprint, target)
                if entry is None:
                    continue
                entries[target] = entry
                stack.append(target)
            entry = entries[target]
            updates: list[tuple[int, str | int | None]] = [(at, None) for at in entry.parameters]
            edges.append(Edge(source, entry, key, EXPECTED, None, updates))
    return list(entries.values()), [edge for edge in edges if edge.source in entries]


def _entry(blueprint: Blueprint, number: int) -> EntryPoint | None:
    block = blueprint.state(number)
    root = block.root
    form, gate = block.forms[root], block.gates.get(root)
    if form is None or block.kinds[root] > CALLN or form.task.needs or (gate is not None and gate.terms.is_policy):
        return None
    try:
        plan = entry_plan(blueprint, number, FIRST)
    except JumpError:
        plan = entry_plan(blueprint, number, ())
    return EntryPoint("state", block, root, plan, number, form)
