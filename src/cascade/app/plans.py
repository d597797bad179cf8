"""The plan of a run, without running it: what is called, in which order, with what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from cascade.app.programs import blueprint_of
from cascade.app.translating import translated
from cascade.app.words import say
from cascade.graph.nest import Nest, nest_of
from cascade.runtime.plans.inputs import check_known, fill
from cascade.spec.graph import Graph
from cascade.spec.inputs import MASK, Input, Param
from cascade.spec.lazy import MappedResult
from cascade.spec.notebook import card
from cascade.spec.operations import CALLN, MAP, OPTIONAL, PACK, ROUTE, SUBFLOW
from cascade.spec.scalars import spelled
from cascade.spec.shown import without_passwords
from cascade.spec.signal import UNSET

__all__ = ["DryRun", "PlannedInput", "PlannedNode", "dry_run"]

ALWAYS, CHOSEN, JUMPED = "always", "if chosen", "if jumped to"
MOST_LETTERS = 40
MOST_ROWS = 200
"""So many are shown in a notebook."""


class PlannedInput(NamedTuple):
    """One parameter or variable of the plan."""

    name: str
    kind: str
    """param or env"""
    type: str
    default: str | None
    """Spelled; None where one must be given."""
    value: str | None
    """What was given to `cs.dry_run`, spelled; never that of a variable."""
    description: str
    declared: str

    def __str__(self) -> str:
        text = f"{self.name}: {self.type}" if self.kind == "param" else f"${self.name}"
        text += "" if self.default is None else f" = {self.default}"
        if self.value is not None:
            text += say("p_given", value=self.value)
        text += say("p_required") if self.default is None and self.value is None else ""
        return f"{text}: {self.description}" if self.kind == "env" and self.description else text


class PlannedNode(NamedTuple):
    """One row of the plan."""

    id: str
    """As in events: `parse#3`, with the sub-flow that it is in before it: `subflow#1/parse#3`."""
    kind: str
    """task, map, router, container, subflow or optional"""
    runs: str
    """always; if chosen (a router or an `otherwise` asks for it); if jumped to"""
    arguments: dict[str, str]
    """By name, what is passed: an id, a parameter's name, or a value, spelled."""
    condition: str | None
    otherwise: str | None
    after: tuple[str, ...]
    routes: dict[str, str]
    """Of a router: the ways by key. Of a loop: where each key jumps to; `end` is the way out."""
    policies: tuple[str, ...]
    mode: str
    """Where a task runs: its mode, or async."""
    declared: str

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        text = f"{self.id}({inside})"
        if self.condition is not None:
            text += say("p_if", condition=self.condition)
        if self.otherwise is not None:
            text += say("p_else", otherwise=self.otherwise)
        if self.after:
            text += say("p_after", names=", ".join(self.after))
        if self.routes:
            text += f" -> {', '.join(f'{key}: {way}' for key, way in self.routes.items())}"
        return text + "".join(f" [{translated(policy, 'p')}]" for policy in self.policies)


class DryRun:
    """The plan of a run; print it, or take its `rows`, `inputs` and `to_dict()`."""

    def __init__(self, targets: list[str], inputs: list[PlannedInput], rows: list[PlannedNode]) -> None:
        self.targets = targets
        self.inputs = inputs
        self.rows = rows

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as what JSON has, with the version of this form."""
        return {
            "version": 1,
            "targets": self.targets,
            "inputs": [given._asdict() for given in self.inputs],
            "rows": [{**row._asdict(), "after": list(row.after), "policies": list(row.policies)} for row in self.rows],
        }

    def to_json(self) -> str:
        """Return the plan as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        lines = [say("p_plan", names=f"{', '.join(self.targets[:5])}{' ...' if len(self.targets) > 5 else ''}")]
        lines += [f"  {say('p_with', given=given)}" for given in self.inputs]
        titles = {ALWAYS: say("p_always"), CHOSEN: say("p_chosen"), JUMPED: say("p_jumped")}
        width = len(str(len(self.rows)))
        before = ""
        for number, row in enumerate(self.rows, 1):
            part = row.runs if "/" not in row.id else before  # sub-flows stand with what they are part of
            if part != before:
                lines.append(titles[part])
                before = part
            notes = [note for note in (row.mode, row.declared) if note]
            indent = "  " * (1 + row.id.count("/"))
            lines.append(f"{number:>{width + 2}}{indent}{row}" + (f"  # {', '.join(notes)}" if notes else ""))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [("with", str(given)) for given in self.inputs]
        rows += [
            (f"{row.id}", f"{str(row).removeprefix(row.id)}  {row.mode}".rstrip()) for row in self.rows[:MOST_ROWS]
        ]
        more = len(self.rows) - MOST_ROWS
        rows += [("...", f"and {more:,} more")] if more > 0 else []
        return card(f"plan of {', '.join(self.targets[:5])}", rows)

    def __repr__(self) -> str:
        return f"<DryRun of {', '.join(self.targets[:3])}: {len(self.rows)} rows; print it>"


def dry_run(target: Any, params: Mapping[str, Any] | None = None) -> DryRun:
    """Return the plan of a run in order, with what is bound to each argument; nothing runs.

    Args:
        target: what `cs.run` takes.
        params: values for the parameters, which are checked and shown.

    Raises:
        StaticGraphError, CycleError: what was declared cannot be run.
        ParameterError: `params` are given, and one is unknown, missing or does not convert.
    """
    blueprint = blueprint_of(target)
    if blueprint is None:
        return DryRun([_spelled(target)], [], [])
    nest = nest_of(blueprint)
    graph = blueprint.graph
    values: list[Any] = []
    if params is not None:
        check_known({given.name for given in graph.inputs.values() if isinstance(given, Param)}, params)
        values = fill(graph, params)
    inputs: dict[tuple[type, str], PlannedInput] = {}
    for slot, given in graph.inputs.items():
        value = values[slot] if values and isinstance(given, Param) and given.name in (params or {}) else UNSET
        inputs.setdefault((type(given), given.name), _planned(given, value))
    writer = _Planner(nest)
    return DryRun(writer.targets(), list(inputs.values()), writer.rows(blueprint.order))


def _planned(given: Input, value: Any) -> PlannedInput:
    mask = MASK if given.secret else None
    default = (
        None if given.default is UNSET else mask if mask and given.default is not None else _spelled(given.default)
    )
    shown = None if value is UNSET else mask or _spelled(value)
    if not isinstance(given, Param):
        return PlannedInput(given.name, "env", "str", default, None, given.description, given.declared)
    return PlannedInput(given.name, "param", spelled(given.type), default, shown, given.description, given.declared)


def _spelled(value: Any) -> str:
    text = without_passwords(repr(value))
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"


class _Planner:
    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        counts: dict[str, int] = {}
        self.ids: list[list[str]] = []
        for at, graph in enumerate(nest.graphs):
            around, number = nest.owners[at]
            prefix = f"{self.ids[around][number]}/" if around >= 0 else ""
            ids = []
            for i in range(len(graph)):
                name = graph.name(i)
                counts[name] = counts.get(name, 0) + 1
                ids.append(f"{prefix}{name}#{counts[name]}")
            self.ids.append(ids)

    def targets(self) -> list[str]:
        graph = self.nest.graphs[0]
        if graph.root >= 0 and graph.kinds[graph.root] == PACK:
            return [self.read(0, at) for at in graph.references(graph.root)]
        return [self.read(0, graph.root)]

    def rows(self, order: Any) -> list[PlannedNode]:
        """Return the rows of the first graph in its order, those of a sub-flow behind it."""
        found = []
        stack = list(reversed(self._numbers(0, order)))
        while stack:
            at, i = stack.pop()
            found.append(self.row(at, i))
            inner = self.nest.inner.get((at, i))
            if inner is not None:
                stack += reversed(self._numbers(inner, None))
        return found

    def _numbers(self, at: int, order: Any) -> list[tuple[int, int]]:
        graph = self.nest.graphs[at]
        first = range(graph.strict) if order is None else order
        return [(at, i) for i in (*first, *range(graph.strict, len(graph)))]

    def read(self, at: int, reference: int) -> str:
        graph = self.nest.graphs[at]
        if reference >= 0:
            return self.ids[at][reference]
        given = graph.inputs.get(-1 - reference)
        if given is None:
            return _spelled(graph.constants[-1 - reference])
        return given.name if isinstance(given, Param) else f"${given.name}"

    def row(self, at: int, i: int) -> PlannedNode:
        graph = self.nest.graphs[at]
        kind, gate = graph.kinds[i], graph.gates.get(i)
        references = graph.references(i)
        names = ["selector"] if kind == ROUTE else graph.argument_names(i)
        if kind == OPTIONAL:
            names = ["result"]
        secrets = self.nest.secrets(at, i)
        arguments = {
            name: MASK if name in secrets and graph.is_literal(each) else self.read(at, each)
            for name, each in zip(names, references, strict=True)
        }
        routes: dict[str, str] = {}
        if kind == ROUTE:
            ways = graph.routes[i]
            routes = {repr(key): self.read(at, way) for key, way in ways.routes.items()}
            routes |= {} if ways.default is None else {"default": self.read(at, ways.default)}
        for key, target in graph.jumps.get(i, {}).items():
            routes[repr(key)] = "end" if target is None else self.read(at, target)
        return PlannedNode(
            id=self.ids[at][i],
            kind=graph.node(i).kind,
            runs=ALWAYS if i < graph.strict else CHOSEN if i < graph.needed else JUMPED,
            arguments=arguments,
            condition=None if gate is None or gate.condition is None else self.read(at, gate.condition),
            otherwise=None if gate is None or gate.otherwise is None else self.read(at, gate.otherwise),
            after=() if gate is None else tuple(self.read(at, each) for each in gate.after),
            routes=routes,
            policies=self.policies(at, i),
            mode=_mode(graph, i),
            declared=graph.declared(i),
        )

    def policies(self, at: int, i: int) -> tuple[str, ...]:
        graph = self.nest.graphs[at]
        found = []
        gate, node = graph.gates.get(i), graph.nodes[i]
        if isinstance(node, MappedResult):
            found.append(f"for each {', '.join(node.each)}")
            if node.concurrency is not None:
                found.append(f"{node.concurrency} at once")
        if gate is not None:
            if gate.terms.retry is not None:
                found.append(f"up to {gate.terms.retry.max_attempts} attempts")
            if gate.terms.timeout is not None:
                found.append(f"timeout {gate.terms.timeout:g} s")
            if gate.terms.heartbeat is not None:
                found.append(f"heartbeat {gate.terms.heartbeat:g} s")
            if gate.terms.budget is not None:
                found.append(f"budget of {gate.terms.budget}")
            if gate.terms.hooks is not None:
                found.append(f"calls {', '.join(gate.terms.hooks.names())}")
            if gate.terms.constraints is not None:
                held = {name: f"{amount:g}" for name, amount in gate.terms.constraints.amounts.items()}
                held |= {name: self.read(at, amount) for name, amount in gate.amounts}  # lazy ones
                found.append("holds " + ", ".join(f"{name}={amount}" for name, amount in held.items()))
            if gate.terms.max_iterations is not None:
                found.append(f"at most {gate.terms.max_iterations} entries")
        if graph.kinds[i] not in (PACK, ROUTE, OPTIONAL, SUBFLOW):
            found += [f"resource {needed.name}" for needed in node.task.needs.values()]
        return tuple(found)


def _mode(graph: Graph, i: int) -> str:
    if graph.kinds[i] > CALLN and graph.kinds[i] != MAP:
        return ""
    task = graph.nodes[i].task
    return "async" if task.is_async else str(task.mode)
