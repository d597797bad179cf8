"""What a graph looks like, so that a run that goes on can tell whether it is still the same, and what differs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from cascade.adapters.caching.content import Encoder, name_of
from cascade.adapters.caching.keys import standing_for
from cascade.adapters.caching.reach import Reach
from cascade.adapters.state.codec import preview
from cascade.graph.joins import joins_of
from cascade.graph.matching import HOME, JUMP, NEED, outline_of
from cascade.graph.nest import nest_of
from cascade.spec.blueprint import Blueprint
from cascade.spec.graph import Graph, Pack
from cascade.spec.inputs import Param
from cascade.spec.lazy import MappedResult
from cascade.spec.operations import SUBFLOW
from cascade.spec.signal import UNSET

__all__ = [
    *("Look", "code_of", "content_of", "dependents", "differences", "encoded", "entered", "fingerprint_of", "names_of"),
    "owners_of",
]

Look: TypeAlias = dict[str, Any]
"""A fingerprint; see `fingerprint_of`."""
SCHEMA = 2
FIXED = frozenset({type(None), type(UNSET), bool, int, float, str, bytes})
"""The classes of literals whose content is always the same."""
_looks: WeakKeyDictionary[Blueprint, tuple[Look, dict[str, Any]]] = WeakKeyDictionary()
_texts: WeakKeyDictionary[Blueprint, str] = WeakKeyDictionary()
LONG = ("nodes", "graphs", "reads", "tasks", "shown")
"""What a fingerprint has for each node."""
LITERAL = re.compile(r"\w+:[0-9a-f]{16}")
"""What stands for a literal that is not short."""
PYTHON = sys.implementation.cache_tag or sys.version


def fingerprint_of(blueprint: Blueprint) -> Look:
    """Return what a program looks like: its nodes by the names that people know, its tasks with their code.

    `nodes` has for each node (`parse#2`, in the order of the graphs) what it is, with a mark for each node that this
    names, and the numbers of those; `graphs` for each graph how many nodes it has, which sub-flow it is (the graph
    around it, its number there) and what it gives (see `cascade.graph.matching`); `reads` for the nodes of the target's
    own graph which others they need, `tasks` which task each node calls; `code` for each task the digests of what it
    reaches; `vague` the nodes with a literal that has no content to see; `shown` what literals look like.
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


def _looked(blueprint: Blueprint) -> tuple[Look, dict[str, Any]]:
    """Return the fingerprint of a program but for its code, and the tasks that have that."""
    found: dict[str, Any] = {}
    look: Look = {
        **{"schema": SCHEMA, "python": PYTHON, "root": blueprint.graph.root, "nodes": {}, "graphs": []},
        **{"reads": {}, "tasks": {}, "code": {}, "vague": [], "shown": {}},
    }
    counts: dict[str, int] = {}
    nest = nest_of(blueprint)
    programs: list[Blueprint] = []
    for graph, (around, number) in zip(nest.graphs, nest.owners, strict=True):
        programs.append(blueprint if around < 0 else programs[around].subflows[number])
        names, homes = _named(graph, counts), _homes(programs[-1])
        if around < 0:
            look["reads"] = {
                name: [names[at] for at in _needs(graph, i, homes.get(i, ()))] for i, name in enumerate(names)
            }
        look["graphs"].append([len(graph), around, number, graph.root])
        for i, name in enumerate(names):
            look["nodes"][name] = _node(graph, i, name, homes.get(i, ()), look)
            task = getattr(graph.nodes[i], "task", None)
            if task is not None:
                look["tasks"][name] = task.name
                found.setdefault(task.name, task)
    return look, found


def _homes(blueprint: Blueprint) -> dict[int, list[int]]:
    """Return what begins the loops in which other loops run whose steps there have keys of their own."""
    found: dict[int, list[int]] = {}
    if blueprint.graph.jumps:
        for kind in joins_of(blueprint.graph, blueprint.hoisted):
            for i, home in kind.items():
                if i in blueprint.graph.jumps and i != home:
                    found.setdefault(i, []).append(home)
    return found


def owners_of(look: Look) -> dict[str, str]:
    """Return for each node the one of the target's own graph that it is, or is inside of."""
    names, found = iter(look["nodes"]), dict[str, str]()
    graphs: list[list[str]] = []
    for size, around, number, _ in look["graphs"]:
        graphs.append([next(names) for _ in range(size)])
        found.update((name, name if around < 0 else found[graphs[around][number]]) for name in graphs[-1])
    return found


def entered(look: Look, names: Iterable[str]) -> set[str]:
    """Return what nodes of these names there are, with all that jumps of theirs lead to."""
    outline, known = outline_of(look["nodes"].values(), look["graphs"]), [*look["nodes"]]
    places = {name: v for v, name in enumerate(known)}
    found, waiting = set[str](), [places[name] for name in names if name in places]
    while waiting:
        v = waiting.pop()
        if known[v] not in found:
            found.add(known[v])
            if JUMP in outline.texts[v]:
                waiting += outline.others[v]
    return found


def dependents(look: Look, first: set[str]) -> set[int]:
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


def differences(before: Look, now: Look) -> list[str]:
    """Return in words which nodes were added, removed and changed; none if the graph is the same."""
    parts = ("nodes", "graphs", "root")
    if [*before["nodes"]] == [*now["nodes"]] and all(before[part] == now[part] for part in parts):
        return []
    old, new = _spelled(before), _spelled(now)
    found = [f"added: {name} ({_shown(new[name])})" for name in new if name not in old]
    found += [f"removed: {name} ({_shown(old[name])})" for name in old if name not in new]
    for name in new:
        if name in old and old[name] != new[name]:
            found.append(f"changed: {name} ({_shown(old[name])} -> {_shown(new[name])})")
    return found or ["the order in which nodes are declared"]


def _spelled(look: Look) -> dict[str, str]:
    """Return what each node is, in words."""
    found, names, nodes = dict[str, str](), [*look["nodes"]], iter(look["nodes"].items())
    first = 0
    for size, *_ in look["graphs"]:
        for _ in range(size):
            name, (text, *named) = next(nodes)
            others = iter(named)
            said = re.sub(f"[{NEED}{JUMP}]", lambda _: names[first + next(others)], text.rstrip(HOME))  # noqa: B023
            found[name] = LITERAL.sub(lambda found: look["shown"].get(found[0], "") + found[0], said)
        first += size
    return found


def _needs(graph: Graph, i: int, homes: Iterable[int]) -> list[int]:
    """Return the nodes that node `i` may need, in whatever way.

    What begins a loop needs all that its jumps lead to; what begins one in it, under a key of its own, needs that.
    """
    found = [*graph.references(i), *graph.jumps.get(i, {}).values(), *homes]
    router, gate = graph.routes.get(i), graph.gates.get(i)
    if router is not None:
        found += [*router.routes.values(), router.default]
    if gate is not None:
        found += [gate.condition, gate.otherwise, *gate.after, *(at for _, at in gate.amounts)]
    return [at for at in found if at is not None and at >= 0]


def _shown(node: str) -> str:
    return node if len(node) <= 120 else node[:117] + "..."


def _node(graph: Graph, i: int, name: str, homes: Iterable[int], look: Look) -> list[Any]:
    """Return what a node is, and the numbers of the nodes that this names by marks."""
    named: list[int] = []

    def spelled(reference: int | None, mark: str = NEED) -> str:
        if reference is None:
            return "-"
        if reference >= 0:
            named.append(reference)
            return mark
        slot = -1 - reference
        given = graph.inputs.get(slot)
        if given is None:
            return _literal(graph.constants[slot], name, look)
        if isinstance(given, Param):
            default = "" if given.default is UNSET or given.secret else f"={_literal(given.default, None, look)}"
            return f"param {given.name}{default}"
        return f"variable {given.name}"

    node = graph.nodes[i]
    task = getattr(node, "task", None)
    if isinstance(node, Pack):
        what = name_of(node.type)
    else:
        what = graph.node(i).kind if task is None else task.name
    form = graph.forms[i]
    read = [spelled(at) for at in graph.references(i)]
    names = graph.argument_names(i) if graph.kinds[i] == SUBFLOW else () if form is None else form.names
    if names and len(names) <= len(read):
        split = len(read) - len(names)
        read = read[:split] + [f"{name}={value}" for name, value in zip(names, read[split:], strict=True)]
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
        said.append("jumps " + ", ".join(f"{key!r}: {spelled(at, JUMP)}" for key, at in jumps.items()))
    if isinstance(node, MappedResult):
        said.append(f"each {', '.join(node.each)}")
    return ["; ".join(said) + "".join(spelled(home, HOME) for home in homes), *named]


def _literal(value: Any, name: str | None, look: Look) -> str:
    """Return what stands for a literal. Its preview is kept beside, as that may differ where the content does not."""
    found = content_of(value, name, look["vague"])
    if LITERAL.fullmatch(found):
        shown = preview(value)
        look["shown"][found] = (shown if len(shown) <= 40 else shown[:37] + "...") + " "
    return found


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


def encoded(fingerprint: Look, blueprint: Blueprint) -> bytes:
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
