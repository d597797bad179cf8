"""The readable form of a Blueprint: one line an instruction."""

from __future__ import annotations

from typing import Any

from cascade.spec.operations import IMPORT, OPERATIONS, OPTIONAL, PACK, ROUTE
from cascade.spec.regions import MANAGED_REGION, regions

__all__ = ["around", "listing"]


def listing(blueprint: Any) -> str:
    """Return the whole blueprint as text.

    `%3` is a register, `$1` a constant or input; instructions marked `?` run only when they are asked for.
    """
    lines = [f"blueprint of {_wanted(blueprint)}", "root:", *block_lines(blueprint, blueprint.root)]
    lines += _region_line(blueprint.root)
    for number, block in sorted(blueprint.all_states().items()):
        lines.append(f"state {number} ({blueprint.graph.name(number)}):")
        lines += [*block_lines(blueprint, block), *_region_line(block)]
    for number, inner in sorted(blueprint.subflows.items()):
        lines.append(f"subflow {number}:")
        lines += ["  " + line for line in listing(inner).splitlines()]
    return "\n".join(lines)


def around(blueprint: Any, block: Any, i: int, width: int = 2) -> str:
    """Return the lines around instruction `i`, which an arrow marks."""
    lines = block_lines(blueprint, block)
    first = max(0, i - width)
    return "\n".join(("->" if at == i else "  ") + lines[at] for at in range(first, min(len(lines), i + width + 1)))


def _wanted(blueprint: Any) -> str:
    root = blueprint.graph.root
    return "an input" if root < 0 else f"{blueprint.graph.name(root)} (%{root})"


def block_lines(blueprint: Any, block: Any) -> list[str]:
    """Return one line for each instruction of a block."""
    return [_line(blueprint, block, i) for i in range(len(block))]


def _region_line(block: Any) -> list[str]:
    """Say which instructions run side by side."""
    groups: dict[int, list[int]] = {}
    for i, region in enumerate(regions(block)):
        if region != MANAGED_REGION:
            groups.setdefault(region, []).append(i)
    if len(groups) < 2:
        return []
    shown = [
        " ".join(f"%{i}" for i in members[:8]) + (" ..." if len(members) > 8 else "") for members in groups.values()
    ]
    return ["  side by side: " + " | ".join(shown)]


def _line(blueprint: Any, block: Any, i: int) -> str:
    number = block.source(i)
    graph = blueprint.graph
    op = block.ops[i]
    word = OPERATIONS[op] if op < len(OPERATIONS) else f"operation {op}"
    asked = " " if block.origin is not None or i < block.strict else "?"
    text = f"{asked} %{i} = {word} {_name(graph, number)}{_operands(blueprint, block, i, number)}"
    text += _gate(block, i) + _jumps(blueprint, block, i)
    declared = graph.declared(number) if number < len(graph) else ""
    return f"{text}  # {declared}" if declared else text


def _name(graph: Any, number: int) -> str:
    return graph.name(number) if number < len(graph) else f"node {number}"


def spelled(reference: int) -> str:
    """Return a reference as text."""
    return f"%{reference}" if reference >= 0 else f"${-1 - reference}"


def _operands(blueprint: Any, block: Any, i: int, number: int) -> str:
    if block.ops[i] == IMPORT:
        return f" of root %{block.places[i]}"
    try:
        references = block.references(i)
        names = blueprint.graph.argument_names(number) if block.kinds[i] not in (PACK, ROUTE, OPTIONAL) else []
    except IndexError:
        return "(?)"
    if len(names) == len(references):
        inside = ", ".join(f"{name}={spelled(at)}" for name, at in zip(names, references, strict=True))
    else:
        inside = ", ".join(map(spelled, references))
    routes = block.routes.get(i)
    if routes is not None:
        shown = [f"{key!r}: {spelled(at)}" for key, at in routes.routes.items()]
        shown += [f"default: {spelled(routes.default)}"] if routes.default is not None else []
        inside += " -> {" + ", ".join(shown) + "}"
    return f"({inside})"


def _gate(block: Any, i: int) -> str:
    gate = block.gates.get(i)
    if gate is None:
        return ""
    text = ""
    if gate.condition is not None:
        text += f" if {spelled(gate.condition)}"
    if gate.otherwise is not None:
        text += f" else {spelled(gate.otherwise)}"
    elif gate.first is not None:
        text += f" else pass {spelled(gate.first)}"
    if gate.after:
        text += " after " + ", ".join(f"node {number}" for number in gate.after)
    if gate.terms.retry is not None:
        text += f" retry {gate.terms.retry.max_attempts}"
    if gate.terms.cache is not None:
        text += " cached"
    if gate.terms.timeout is not None:
        text += f" timeout {gate.terms.timeout:g}"
    if gate.terms.heartbeat is not None:
        text += f" heartbeat {gate.terms.heartbeat:g}"
    if gate.terms.budget is not None:
        text += f" budget {gate.terms.budget}"
    if gate.terms.hooks is not None:
        text += " hooked"
    if gate.terms.constraints is not None:
        held = [f"{name}={amount}" for name, amount in gate.terms.constraints.amounts.items()]
        held += [f"{name}={spelled(at)}" for name, at in gate.amounts]
        text += " holding " + ", ".join(held)
    return text


def _jumps(blueprint: Any, block: Any, i: int) -> str:
    routes = block.jumps.get(i)
    if routes is None:
        return ""
    shown = []
    for key, target in routes.items():
        if target is None:
            where = "out"
        elif target < 0:
            where = spelled(target)
        else:
            where = f"{'state' if target in blueprint.graph.jumps else 'exit'} {target}"
        shown.append(f"{key!r}: {where}")
    return " jumps {" + ", ".join(shown) + "}"
