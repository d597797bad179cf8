"""The key of a sub-flow: the code of all its tasks, how they hang together, the literals, and its parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from cascade.adapters.caching.content import Encoder, Unkeyable, name_of
from cascade.adapters.caching.keys import refused, standing_for
from cascade.adapters.caching.reach import Reach, digest_of
from cascade.spec.blueprint import Blueprint
from cascade.spec.graph import Graph, Pack
from cascade.spec.inputs import Param
from cascade.spec.lazy import MappedResult
from cascade.spec.signal import UNSET

__all__ = ["GraphForm", "params_of"]


def params_of(graph: Graph, constants: list[Any]) -> dict[str, Any]:
    """Return the values of the parameters of a graph whose inputs are filled in."""
    return {each.name: constants[slot] for slot, each in graph.inputs.items() if isinstance(each, Param)}


class GraphForm:
    """What a cache is told of a sub-flow, in the place of a call and its task."""

    def __init__(self, name: str, declared: str, blueprint: Blueprint, variables: Mapping[str, str | None]) -> None:
        root = blueprint.graph.nodes[blueprint.graph.root] if len(blueprint.graph) else None
        task = getattr(root, "task", None)
        self.task = self
        self.name = name
        self.declared = declared
        self.cache_label = f"subflow of {name_of(task.func) if task is not None else name}"
        self.func = _no_function
        self.mode = "auto"
        self.is_async = False
        self.resources = None
        self.shape = None
        self.reach: Any = None
        self._blueprint = blueprint
        self._variables = variables

    def look(self) -> None:
        """Find out what the graph is made of.

        Raises:
            CacheError: a literal in it has no content that can be seen.
        """
        self.reach = _Reach(self, self._blueprint, self._variables)


class _Reach:
    """What a graph is made of: `parts` are digests by what each part is called, `digest` is one of them all."""

    def __init__(self, form: GraphForm, blueprint: Blueprint, variables: Mapping[str, str | None]) -> None:
        self.parts: dict[str, str] = {}
        self.keys: dict[Any, Any] = {}
        self.refusals: list[tuple[str, Unkeyable]] = []
        self._form = form
        self._variables = variables
        self._tasks: dict[int, int] = {}
        shape, literals = Encoder(standing_for), Encoder(standing_for)
        self._add_all(blueprint, shape, literals)
        self.parts["how the sub-flow is put together"] = digest_of(shape.out)
        self.parts["literal values in the sub-flow"] = digest_of(literals.out)
        listed = "\n".join(f"{name}\t{part}" for name, part in sorted(self.parts.items()))
        self.digest = blake2b(listed.encode("utf-8", "surrogatepass"), digest_size=20).digest()

    def is_current(self) -> bool:
        """Say that it is: it is made for one look."""
        return True

    def _add_all(self, blueprint: Blueprint, shape: Encoder, literals: Encoder) -> None:
        """Add a graph, and each sub-flow before what stands behind it, without recursion by their depth."""
        waiting: list[tuple[Any, Blueprint]] = [(None, blueprint)]
        while waiting:
            title, program = waiting.pop()
            if title is not None:
                shape.add(title)
            self._add(program, shape, literals)
            for number, inner in sorted(program.subflows.items(), reverse=True):
                waiting.append(([number, list(program.graph.nodes[number].kwargs or ())], inner))

    def _add(self, blueprint: Blueprint, shape: Encoder, literals: Encoder) -> None:
        graph = blueprint.graph
        forms = [None if form is None else form.names for form in graph.forms]
        shape.add([bytes(graph.kinds), graph.places, graph.operands, forms, graph.root, graph.strict, graph.needed])
        try:
            for slot, value in enumerate(graph.constants):
                if slot not in graph.inputs:
                    literals.add([slot, value])
            for slot, given in graph.inputs.items():
                shape.add([slot, given.name])
                if isinstance(given, Param):
                    literals.add([None if given.default is UNSET else (given.default,), given.type])
                else:
                    found = self._variables.get(given.name, os.environ.get(given.name))
                    self.parts[f"variable {given.name!r}"] = digest_of(repr((found, given.default)).encode())
            for i, node in enumerate(graph.nodes):
                shape.add(self._node(node))
                router, gate = graph.routes.get(i), graph.gates.get(i)
                if router is not None:
                    shape.add([list(router.routes.items()), router.default])
                if gate is not None:
                    shape.add([gate.condition, gate.otherwise, gate.after, gate.first, gate.terms.max_iterations])
            shape.add(list(graph.jumps.items()))
        except (Unkeyable, RecursionError) as error:
            raise refused(self._form, "a literal value in it", error) from None

    def _node(self, node: Any) -> list[Any]:
        """Return what there is to a node beside its inputs; note the code of its task."""
        if isinstance(node, Pack):
            option = [] if node.remake is None else [node.remake.option]
            return [name_of(node.type), None if node.keys is None else list(node.keys), *option]
        task = getattr(node, "task", None)
        if task is None:
            return []
        number = self._tasks.get(id(task))
        if number is None:
            number = self._tasks[id(task)] = len(self._tasks)
            if task.reach is None or not task.reach.is_current():
                task.reach = Reach(task.func)
            self.refusals += task.reach.refusals
            for name, digest in task.reach.parts.items():
                if self.parts.setdefault(name, digest) != digest:  # another function of the same name
                    self.parts[f"{name} ({number})"] = digest
        if isinstance(node, MappedResult):
            return [number, node.each, node.errors.on_error, node.errors.most]
        return [number]


def _no_function() -> None:
    """Stand for the function that a sub-flow has not."""
