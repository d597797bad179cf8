"""What a graph looks like, so that a run that goes on can tell whether it is still the same, and what differs."""

from __future__ import annotations

import json
import sys
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

from cascade.adapters.caching.content import Encoder, name_of
from cascade.adapters.caching.keys import standing_for
from cascade.adapters.caching.reach import Reach
from cascade.graph.nest import nest_of
from cascade.spec.blueprint import Blueprint
from cascade.spec.graph import Graph, Pack
from cascade.spec.inputs import Param
from cascade.spec.lazy import MappedResult
from cascade.spec.signal import UNSET

__all__ = ["code_of", "content_of", "dependents", "differences", "encoded", "fingerprint_of", "names_of"]

SCHEMA = 1
FIXED = frozenset({type(None), type(UNSET), bool, int, float, str, bytes})
"""The classes of literals whose content is always the same."""
_looks: WeakKeyDictionary[Blueprint, tuple[dict[str, Any], dict[str, Any]]] = WeakKeyDictionary()
_texts: WeakKeyDictionary[Blueprint, str] = WeakKeyDictionary()
LONG = ("nodes", "reads", "tasks")
"""What a fingerprint has for each node."""
PYTHON = sys.implementation.cache_tag or sys.version


def fingerprint_of(blueprint: Blueprint) -> dict[str, Any]:
    """Return what a program looks like: its nodes by the names that people know, its tasks with their code.

    `nodes` has for each node (`parse#2`, in the order of the graph) what it is and what it reads; `reads` for those of
    the target's own graph which others they need, `tasks` which tasks they call; `code` for each task the digests of
    what it reaches; `vague` the nodes with a literal that has no content to see.
    """
    kept = _looks.get(blueprint)
    if kept is None:
        kept = _looked(blueprint)
        if all(value.__class__ in FIXED for graph in nest_of(blueprint).graphs for value in _literals(graph)):
            _looks[blueprint] = kept  # nobody can change what is in it
    look, tasks = kept
    return {**look, "code": {name: code_of(task) for name, task in tasks.items()}, "vague": [*look["vague"]]}


def names_of(blueprint: Blueprint) -> list[str]:
    """Return the names that people know the nodes of a program's own graph by, in its order."""
    kept = _looks.get(blueprint)
    return _named(blueprint.graph, {}) if kept is None else [*kept[0]["reads"]]


def _named(graph: Graph, counts: dict[str, int]) -> list[str]:
    names = []
    for i in range(len(graph)):
        label = graph.name(i)
        counts[label] = counts.get(label, 0) + 1
        names.append(f"{label}#{counts[label]}")
    return names


def _literals(graph: Graph) -> list[Any]:
    return [*graph.constants, *(given.default for given in graph.inputs.values() if isinstance(given, Param))]


def _looked(blueprint: Blueprint) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fingerprint of a program but for its code, and the tasks that have that."""
    found: dict[str, Any] = {}
    look: dict[str, Any] = {
        **{"schema": SCHEMA, "python": PYTHON, "root": blueprint.graph.root, "nodes": {}, "reads": {}, "tasks": {}},
        **{"code": {}, "vague": []},
    }
    counts: dict[str, int] = {}
    nest = nest_of(blueprint)
    owners: list[str] = []
    """For each graph the node of the target's own that it is inside of."""
    for at, graph in enumerate(nest.graphs):
        around, number = nest.owners[at]
        names = _named(graph, counts)
        if at == 0:
            own = names
            reads = look["reads"] = {name: [names[at] for at in _needs(graph, i)] for i, name in enumerate(names)}
            for i, routes in graph.jumps.items():  # a loop leads to what its jumps lead to
                for target in routes.values():
                    if target is not None and target >= 0:
                        reads[names[target]].append(names[i])
        owners.append("" if around < 0 else owners[around] or own[number])
        for i, name in enumerate(names):
            look["nodes"][name] = _node(graph, i, names, look["vague"])
            task = getattr(graph.nodes[i], "task", None)
            if task is not None:
                look["tasks"].setdefault(owners[at] or name, []).append(task.name)
                found.setdefault(task.name, task)
    return look, found


def dependents(look: dict[str, Any], first: set[str]) -> set[int]:
    """Return the numbers, in the target's own graph, of some nodes and of all that need them."""
    found = set(first)
    grown = True
    while grown:  # jumps lead back
        needing = {name for name, reads in look["reads"].items() if name not in found and not found.isdisjoint(reads)}
        found |= needing
        grown = bool(needing)
    return {i for i, name in enumerate(look["reads"]) if name in found}


def code_of(task: Any) -> dict[str, str]:
    """Return the digests of what a task's function reaches, by what each part is called; or its `version`."""
    if task.version is not None:
        return {"version": repr(task.version)}
    try:
        if task.reach is None or not task.reach.is_current():
            task.reach = Reach(task.func)
        return dict(task.reach.parts)
    except Exception:  # a function whose code cannot be read: that is no reason not to run it
        return {}


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in words which nodes were added, removed and changed; none if the graph is the same."""
    old, new = before["nodes"], now["nodes"]
    if list(old.items()) == list(new.items()) and before["root"] == now["root"]:
        return []
    found = [f"added: {name} ({_shown(new[name])})" for name in new if name not in old]
    found += [f"removed: {name} ({_shown(old[name])})" for name in old if name not in new]
    for name in new:
        if name in old and old[name] != new[name]:
            found.append(f"changed: {name} ({_shown(old[name])} -> {_shown(new[name])})")
    return found or ["the order in which nodes are declared"]


def _needs(graph: Graph, i: int) -> list[int]:
    """Return the nodes that node `i` may read, in whatever way."""
    found = graph.references(i)
    router, gate = graph.routes.get(i), graph.gates.get(i)
    if router is not None:
        found = [*found, *router.routes.values(), -1 if router.default is None else router.default]
    if gate is not None:
        others = (gate.condition, gate.otherwise)
        found = [*found, *gate.after, *(at for _, at in gate.amounts), *(at for at in others if at is not None)]
    return [at for at in found if at >= 0]


def _shown(node: str) -> str:
    return node if len(node) <= 120 else node[:117] + "..."


def _node(graph: Graph, i: int, names: list[str], vague: list[str]) -> str:
    def spelled(reference: int | None) -> str:
        if reference is None:
            return "-"
        if reference >= 0:
            return names[reference]
        slot = -1 - reference
        given = graph.inputs.get(slot)
        if given is not None:
            if isinstance(given, Param):
                default = "" if given.default is UNSET or given.secret else f"={content_of(given.default, None, vague)}"
                return f"param {given.name}{default}"
            return f"variable {given.name}"
        return content_of(graph.constants[slot], names[i], vague)

    node = graph.nodes[i]
    task = getattr(node, "task", None)
    if isinstance(node, Pack):
        what = name_of(node.type)
    else:
        what = graph.node(i).kind if task is None else task.name
    form = graph.forms[i]
    read = [spelled(at) for at in graph.references(i)]
    if form is not None and form.names and len(form.names) <= len(read):
        split = len(read) - len(form.names)
        read = read[:split] + [f"{name}={value}" for name, value in zip(form.names, read[split:], strict=True)]
    said = [f"{what}({', '.join(read)})"]
    router, gate = graph.routes.get(i), graph.gates.get(i)
    if router is not None:
        said.append("routes " + ", ".join(f"{key!r}: {spelled(at)}" for key, at in router.routes.items()))
        said.append(f"default {spelled(router.default)}")
    if gate is not None:
        if gate.condition is not None:
            said.append(f"if {spelled(gate.condition)} else {spelled(gate.otherwise)}")
        if gate.after:
            said.append("after " + ", ".join(spelled(at) for at in gate.after))
    jumps = graph.jumps.get(i)
    if jumps:
        said.append("jumps " + ", ".join(f"{key!r}: {spelled(at)}" for key, at in jumps.items()))
    if isinstance(node, MappedResult):
        said.append(f"each {', '.join(node.each)}")
    return "; ".join(said)


def content_of(value: Any, name: str | None = None, vague: list[str] | None = None) -> str:
    """Return what stands for a value: itself if it is short, a digest of its content, its type if it has none.

    Args:
        name: the node that it is a literal of, which is `vague` where it has no content.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        shown = repr(value)
        if len(shown) <= 40:
            return shown
    encoder = Encoder(standing_for)
    try:
        encoder.add(value)
        return f"{type(value).__name__}:{blake2b(bytes(encoder.out), digest_size=8).hexdigest()}"
    except Exception:
        if name is not None and vague is not None and name not in vague:
            vague.append(name)
        return name_of(type(value))


def encoded(fingerprint: dict[str, Any], blueprint: Blueprint) -> bytes:
    """Return the fingerprint of a program as a store keeps it; what is long of it is made once."""
    long = _texts.get(blueprint)
    if long is None:
        long = _text({name: fingerprint[name] for name in LONG})
        if blueprint in _looks:
            _texts[blueprint] = long
    short = _text({name: value for name, value in fingerprint.items() if name not in LONG})
    return f"{long[:-1]}, {short[1:]}".encode("utf-8", "surrogatepass")


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
