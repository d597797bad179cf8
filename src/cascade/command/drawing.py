"""A listing of a workflow for the terminal: its nodes in order, each with what it reads."""

from __future__ import annotations

from cascade.app.plans import ALWAYS, DryRun, PlannedNode
from cascade.app.translating import translated
from cascade.app.words import say

__all__ = ["drawn", "inputs_of"]

MARKS = {"task": "●", "map": "≡", "router": "◇", "container": "▢", "subflow": "▣", "optional": "◌"}
MOST_ROWS = 200


def drawn(plan: DryRun) -> str:
    """Return the listing; of a large graph the first nodes."""
    shown = plan.rows[:MOST_ROWS]
    ids = {row.id for row in plan.rows}
    inputs = inputs_of(plan)
    width = min(max((len(row.id) + 2 * row.id.count("/") for row in shown), default=0), 40)
    lines = [*inputs, *([""] if inputs and shown else [])]
    names = {given.name for given in plan.inputs}
    for row in shown:
        lines += _rows(row, ids, names, width)
    if len(plan.rows) > MOST_ROWS:
        lines.append(say("drawn_more", count=f"{len(plan.rows) - MOST_ROWS:,}"))
    return "\n".join(lines)


def inputs_of(plan: DryRun) -> list[str]:
    """Return a line for each parameter."""
    return [f"○ {given}" for given in plan.inputs]


def _rows(row: PlannedNode, ids: set[str], inputs: set[str], width: int) -> list[str]:
    read = [value for value in row.arguments.values() if value in ids or value.lstrip("$") in inputs]
    parts = [f"← {', '.join(dict.fromkeys(read))}"] if read else []
    if row.after:
        parts.append(f"⇠ {', '.join(row.after)}")
    if row.condition is not None:
        parts.append(f"? {row.condition}" + ("" if row.otherwise is None else f" : {row.otherwise}"))
    if row.runs != ALWAYS:
        parts.append(f"({translated(row.runs, 'p')})")
    parts += [f"[{translated(policy, 'p')}]" for policy in row.policies]
    indent = "  " * row.id.count("/")
    head = f"{indent}{MARKS.get(row.kind, '●')} {row.id}"
    lines = [f"{head:<{width + 2}}  {'  '.join(parts)}".rstrip()]
    sign = "→" if row.kind == "router" else "↻"
    lines += [f"{indent}│   {sign if way != 'end' else '■'} {key}: {way}" for key, way in row.routes.items()]
    return lines
