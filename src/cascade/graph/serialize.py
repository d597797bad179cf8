"""Graph -> JSON: one object a node, in the order of the graph, so that numbers mean what they mean there.

    {"cascade": "graph", "version": 1, "tasks": [...], "sites": [...], "graphs": [{"inputs": [...], "nodes": [...],
     "root": ...}, ...]}

A reference is `{"$node": 3}` or `{"$input": 0}`; the first graph is the target's, the others are of sub-flows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cascade.graph.hints import encode_type
from cascade.graph.nest import Nest
from cascade.graph.values import Unwritable, encode, reference_of
from cascade.spec.control import Value
from cascade.spec.graph import Graph, Pack
from cascade.spec.inputs import Input, Param
from cascade.spec.lazy import LazyResult, MappedResult
from cascade.spec.operations import CALLN, MAP, OPTIONAL, PACK, ROUTE
from cascade.spec.policies import NO_CONFIG, SETTINGS
from cascade.spec.signal import UNSET
from cascade.spec.task import Task

__all__ = ["VERSION", "form_of", "graphs_to_json", "value_to_json"]

VERSION = 1
REFERENCES = frozenset({"constraints", "selector"})
"""Settings of a node that hold references."""
CONTAINERS: dict[type, str] = {list: "list", tuple: "tuple", dict: "dict"}


def graphs_to_json(nest: Nest) -> str:
    """Return the graphs as JSON text.

    Raises:
        TypeError: JSON cannot carry a value; the message names the task and the argument.
    """
    return _text(form_of(nest))


def value_to_json(value: Any) -> str:
    """Return a target that is a plain value as JSON text."""
    return _text({"cascade": "graph", "version": VERSION, "value": _value(value, lambda: "the target")})


def _text(form: Any) -> str:
    return json.dumps(form, indent=None, separators=(", ", ": "), allow_nan=False)


def form_of(nest: Nest) -> dict[str, Any]:
    """Return the graphs as what JSON has: dicts, lists and atoms."""
    return _Writer(nest).write()


def _value(value: Any, where: Callable[[], str]) -> Any:
    try:
        return encode(value)
    except Unwritable as reason:
        raise TypeError(f"cs.to_json: {where()} cannot be written: {reason}") from None


class _Writer:
    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        self.tasks: list[dict[str, Any]] = []
        self.task_numbers: dict[int, int] = {}
        self.sites: dict[str, int] = {}

    def write(self) -> dict[str, Any]:
        graphs = [self.graph(at, graph) for at, graph in enumerate(self.nest.graphs)]
        return {
            "cascade": "graph",
            "version": VERSION,
            "tasks": self.tasks,
            "sites": list(self.sites),
            "graphs": graphs,
        }

    def graph(self, at: int, graph: Graph) -> dict[str, Any]:
        places = {slot: number for number, slot in enumerate(graph.inputs)}
        inputs = [self.input(given) for given in graph.inputs.values()]
        nodes = [_Node(self, at, graph, places, i).write() for i in range(len(graph))]
        root = _Node(self, at, graph, places, -1).reference(graph.root, "the target")
        return {"inputs": inputs, "nodes": nodes, "root": root}

    def input(self, given: Input) -> dict[str, Any]:
        form: dict[str, Any] = {"kind": "param" if isinstance(given, Param) else "env", "name": given.name}
        if given.default is not UNSET and (not given.secret or given.default is None):  # else it has to be given
            form["default"] = _value(given.default, lambda: f"the default of {given!r}")
        if isinstance(given, Param):
            form["type"] = self.type(given)
            if form["type"] is None:
                form["described"] = repr(given.type)
            if not given.typed:
                form["untyped"] = True
        if given.secret or given.sounds_secret(given.name):
            form["secret"] = given.secret
        if given.description:
            form["description"] = given.description
        form["at"] = self.site(given.declared)
        return form

    def type(self, given: Param) -> Any:
        try:
            return encode_type(given.type)
        except Unwritable as reason:
            raise TypeError(f"cs.to_json: the type of {given!r} cannot be written: {reason}") from None

    def site(self, declared: str) -> int:
        return self.sites.setdefault(declared, len(self.sites))

    def task(self, task: Task[..., Any]) -> int:
        number = self.task_numbers.get(id(task))
        if number is None:
            number = self.task_numbers[id(task)] = len(self.tasks)
            form: dict[str, Any] = {"name": task.name, "function": reference_of(task)}
            if form["function"] is None:
                form["described"] = f"{task.__module__}:{task.__qualname__}"
            form["at"] = self.site(task.declared)
            for option, default in options_of(task).items():
                form[option] = _value(default, lambda: f"{option} of task {task.name!r} ({task.declared})")  # noqa: B023
            self.tasks.append(form)
        return number


def options_of(task: Task[..., Any]) -> dict[str, Any]:
    """Return the options of a task that are not the usual ones; its name stands for itself."""
    usual: dict[str, Any] = Task.__init__.__kwdefaults__ or {}
    given = {name: getattr(task, name) for name in usual if name != "name"}
    return {name: value for name, value in given.items() if value != usual[name]}


class _Node:
    """Writes one node."""

    def __init__(self, writer: _Writer, at: int, graph: Graph, places: dict[int, int], i: int) -> None:
        self.writer, self.at, self.graph, self.places, self.i = writer, at, graph, places, i

    def reference(self, reference: int, what: str, *, inside: bool = False) -> Any:
        """Write what a reference means; `inside` a container nothing is unwrapped when it is read."""
        if reference >= 0:
            return {"$node": reference}
        slot = -1 - reference
        if slot in self.places:
            return {"$input": self.places[slot]}
        value = self.graph.constants[slot]
        if not inside and isinstance(value, (Value, Task)):
            value = Value(value)
        return _value(value, lambda: f"{what} of {self.described()}" if self.i >= 0 else what)

    def described(self) -> str:
        return f"{self.graph.name(self.i)!r} (declared at {self.graph.declared(self.i)})"

    def write(self) -> dict[str, Any]:
        graph, i = self.graph, self.i
        kind, node = graph.kinds[i], graph.nodes[i]
        references = graph.references(i)
        form: dict[str, Any] = {"kind": graph.node(i).kind}
        if kind == PACK:
            return form | self.pack(node, references)
        if kind == OPTIONAL:
            return form | {"of": self.reference(references[0], "the target")}
        form["at"] = self.writer.site(graph.declared(i))
        if kind == ROUTE:
            return form | self.router(references)
        names = graph.argument_names(i)
        spelled = [
            self.reference(reference, f"the argument {name!r}")
            for name, reference in zip(names, references, strict=True)
        ]
        if kind <= CALLN or kind == MAP:
            form["task"] = self.writer.task(node.task)
            named = graph.forms[i].names if graph.forms[i] is not None else ()  # type: ignore[union-attr]
        else:
            form["graph"] = self.writer.nest.inner[self.at, i]
            self.check_secrets(names, references)
            named = tuple(node.kwargs or {})
        count = len(spelled) - len(named)
        form |= {"args": spelled[:count]} if count else {}
        form |= {"kwargs": dict(zip(named, spelled[count:], strict=True))} if named else {}
        if kind == MAP:
            form |= self.map_options(node)
        return form | self.settings(node)

    def check_secrets(self, names: list[str], references: list[int]) -> None:
        """Raise TypeError if a secret parameter of a sub-flow is a value that stands in the graph."""
        for name in self.writer.nest.secrets(self.at, self.i):
            if name in names and self.graph.is_literal(references[names.index(name)]):
                raise TypeError(
                    f"cs.to_json: the parameter {name!r} of {self.described()} is secret, and its value would stand in "
                    "the text; give the sub-flow a cs.Param or a cs.Env for it"
                )

    def pack(self, node: Pack, references: list[int]) -> dict[str, Any]:
        items = [
            self.reference(reference, f"item {at} of a container", inside=True)
            for at, reference in enumerate(references)
        ]
        name = CONTAINERS.get(node.type) if node.remake is None else node.type.__name__
        form: dict[str, Any] = {"type": name or {"$ref": reference_of(node.type)}, "items": items}
        if name is None and form["type"]["$ref"] is None:
            form["described"] = f"{node.type.__module__}:{node.type.__qualname__}"
        if node.remake is not None and node.remake.option is not None:
            form["option"] = _value(node.remake.option, lambda: f"what a {name} in a container was made with")
        if node.keys is not None:
            form["keys"] = [_value(key, lambda: "a key of a dict") for key in node.keys]
        return form

    def router(self, references: list[int]) -> dict[str, Any]:
        routes = self.graph.routes[self.i]
        form: dict[str, Any] = {
            "selector": self.reference(references[0], "the selector"),
            "routes": [
                [_value(key, lambda: f"a key of {self.described()}"), self.reference(at, f"the route {key!r}")]
                for key, at in routes.routes.items()
            ],
        }
        if routes.default is not None:
            form["default"] = self.reference(routes.default, "the default route")
        return form

    def map_options(self, node: MappedResult[Any]) -> dict[str, Any]:
        form: dict[str, Any] = {"each": list(node.each)}
        for name in MappedResult.__slots__:
            if name not in ("each", "spent") and getattr(node, name) is not None:
                form[name] = _value(getattr(node, name), lambda: f"{name} of {self.described()}")  # noqa: B023
        return form

    def settings(self, node: LazyResult[Any]) -> dict[str, Any]:
        """Write what was configured: references as the graph has them, everything else as values."""
        config = node.config
        if config is None:
            return {}
        gate = self.graph.gates[self.i]
        form: dict[str, Any] = {}
        for name in SETTINGS:
            value = getattr(config, name)
            if name not in REFERENCES and value != getattr(NO_CONFIG, name):
                form[name] = _value(value, lambda: f"{name} of {self.described()}")  # noqa: B023
        if gate.condition is not None:
            form["condition"] = self.reference(gate.condition, "the condition")
        if gate.otherwise is not None:
            form["otherwise"] = self.reference(gate.otherwise, "the otherwise")
        if gate.after:
            form["after"] = [{"$node": at} for at in gate.after]
        if config.constraints is not None:
            form["constraints"] = self.constraints(config.constraints)
        if self.i in self.graph.jumps:
            form["jumps"] = [
                [
                    _value(key, lambda: f"a key of the jumps of {self.described()}"),
                    None if at is None else {"to": self.reference(at, f"the route {key!r}")},
                ]
                for key, at in self.graph.jumps[self.i].items()
            ]
        return form

    def constraints(self, constraints: Any) -> dict[str, Any]:
        amounts = {name: encode(amount) for name, amount in constraints.amounts.items()}
        for name, lazy in getattr(constraints, "lazy", {}).items():
            amounts[name] = self.reference(self.graph.index[lazy], f"the amount of {name}")
        return amounts
