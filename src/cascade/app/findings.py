"""Looking for mistakes before a run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from cascade.app.programs import blueprint_of
from cascade.errors import CascadeError
from cascade.graph.lint.effects import check_task
from cascade.graph.lint.finding import CODES, Finding, found
from cascade.graph.lint.fitting import Types
from cascade.graph.lint.given import check_given, check_names_of_capacities
from cascade.graph.lint.unused import check_inputs_of, check_names
from cascade.graph.lint.ways import check_loops_of
from cascade.graph.nest import Nest, nest_of
from cascade.spec.events import StaticAnalysisWarning
from cascade.spec.graph import Graph
from cascade.spec.lazy import Lazy, LazyResult
from cascade.spec.operations import CALLN, MAP
from cascade.spec.resource import Inject, Resource
from cascade.spec.task import Task

__all__ = ["CODES", "Finding", "check"]

PLACE = re.compile(r"declared at (.+?:\d+)\)?")


def check(target: Any, *, resources: Iterable[Resource] = (), engine: Any = None, bus: Any = None) -> list[Finding]:
    """Look for mistakes in a graph and in the functions of its tasks; nothing runs.

    Args:
        target: what `cs.run` takes.
        resources: what the run will be given; a resource that is asked for by name and is neither there nor
            declared in a module of the tasks is a finding.
        engine: the engine that it will run on, for the resources registered there, and its capacities.
        bus: a `MessageBus` that gets each finding as a `StaticAnalysisWarning`.

    Returns:
        The findings, sorted by place; each has a code, a severity, a message, file, line and task. A graph that
        cannot be built at all is one finding, with the code "graph".

    Raises:
        TypeError: the target is a task that was not called.
    """
    findings = sorted(set(_look(target, resources, engine)), key=lambda each: (each.file, each.line, each.code))
    for each in findings if bus is not None else ():
        bus.publish(StaticAnalysisWarning(warning_code=each.code, message=str(each)))
    return findings


def _look(target: Any, resources: Iterable[Resource], engine: Any) -> Iterator[Finding]:
    try:
        blueprint = blueprint_of(target)
    except CascadeError as error:
        place = PLACE.search(str(error))
        yield found("graph", f"{type(error).__name__}: {error}", place[1] if place else "")
        return
    if blueprint is None:
        return
    nest = nest_of(blueprint)
    tasks = _tasks(nest)
    for task in tasks:
        yield from check_task(task)
    provided = {each.name for each in resources} | set(getattr(engine, "resources", {}))
    yield from _missing(nest, tasks, provided)
    gives: dict[tuple[int, int], Any] = {}
    for at in range(len(nest.graphs) - 1, -1, -1):
        graph = nest.graphs[at]
        yield from check_loops_of(graph)
        yield from check_inputs_of(graph)
        yield from check_given(graph)
        if engine is not None:
            yield from check_names_of_capacities(graph, engine.admission.capacities.whole)
        types = Types(graph, {i: kind for (around, i), kind in gives.items() if around == at})
        yield from types.check()
        if at:
            gives[nest.owners[at]] = types.of(graph.root)
    known = {given.name for graph in nest.graphs for given in graph.inputs.values()}
    yield from check_names(_files(nest, tasks), known)


def _tasks(nest: Nest) -> list[Task[..., Any]]:
    """Return the tasks of all graphs, each once."""
    tasks: dict[int, Task[..., Any]] = {}
    for graph in nest.graphs:
        for i, kind in enumerate(graph.kinds):
            if kind <= CALLN or kind == MAP:
                task = graph.nodes[i].task
                tasks.setdefault(id(task), task)
    return list(tasks.values())


def _files(nest: Nest, tasks: list[Task[..., Any]]) -> set[str]:
    """Return the files that the graphs and their tasks were declared in, those of installed packages left out."""
    files = {node.code.co_filename for graph in nest.graphs for node in graph.nodes if isinstance(node, Lazy)}
    files |= {task.declared.rpartition(":")[0] for task in tasks}
    return {file for file in files if file and "site-packages" not in file and "dist-packages" not in file}


def _missing(nest: Nest, tasks: list[Task[..., Any]], provided: set[str]) -> Iterator[Finding]:
    """Find resources that are asked for by name and that nobody provides."""
    asked: list[tuple[str, str, str]] = []
    waiting: list[tuple[Any, str, str]] = []
    for task in tasks:
        waiting += [(needed, task.declared, task.name) for needed in task.needs.values()]
    for graph in nest.graphs:
        waiting += _injected(graph)
    seen: set[int] = set()
    for needed, declared, name in waiting:
        if isinstance(needed.target, str):
            asked.append((needed.target, declared, name))
        elif id(needed.target) not in seen:
            seen.add(id(needed.target))
            waiting += [(inner, needed.target.declared, name) for inner in needed.target.needs.values()]
    if not asked:
        return
    modules = {task.__module__ for task in tasks}
    for module in modules:
        for value in list(vars(sys.modules[module]).values()) if module in sys.modules else ():
            if isinstance(value, Resource):
                provided.add(value.name)
    for name, declared, task_name in asked:
        if name not in provided:
            yield found(
                "missing-resource",
                f"task {task_name!r} needs the resource {name!r}, and nobody provides it: declare it with "
                "@cs.resource and give it to the run (resources=[...]) or to engine.register",
                declared,
                task_name,
            )


def _injected(graph: Graph) -> list[tuple[Inject, str, str]]:
    listed = []
    for i, gate in graph.gates.items():
        node = graph.nodes[i]
        if gate.terms.injects and isinstance(node, LazyResult):
            for value in (*node.args, *(node.kwargs or {}).values()):
                if isinstance(value, Inject):
                    listed.append((value, graph.declared(i), graph.name(i)))
    return listed
