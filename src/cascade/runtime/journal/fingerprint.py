"""What a graph looks like, so that a run that goes on can tell whether it is still the same, and what differs."""

from __future__ import annotations

import json
import sys
from hashlib import blake2b
from typing import Any

from cascade.adapters.caching.content import Encoder, name_of
from cascade.adapters.caching.keys import standing_for
from cascade.adapters.caching.reach import Reach
from cascade.graph.nest import nest_of
from cascade.spec.blueprint import Blueprint
from cascade.spec.graph import Graph, Pack
from cascade.spec.inputs import Param
from cascade.spec.lazy import MappedResult
from cascade.spec.signal import UNSET

__all__ = ["code_of", "differences", "fingerprint_of"]

SCHEMA = 1
PYTHON = sys.implementation.cache_tag or sys.version


def fingerprint_of(blueprint: Blueprint) -> dict[str, Any]:
    """Return what a program looks like: its nodes by the names that people know, its tasks with their code.

    `nodes` has for each node (`parse#2`, in the order of the graph) what it is and what it reads; `code` for each task
    the digests of what it reaches; `vague` the nodes with a literal that has no content to see.
    """
    nodes: dict[str, str] = {}
    code: dict[str, dict[str, str]] = {}
    vague: list[str] = []
    counts: dict[str, int] = {}
    for graph in nest_of(blueprint).graphs:
        names = []
        for i in range(len(graph)):
            label = graph.name(i)
            counts[label] = counts.get(label, 0) + 1
            names.append(f"{label}#{counts[label]}")
        for i, name in enumerate(names):
            nodes[name] = _node(graph, i, names, vague)
            task = getattr(graph.nodes[i], "task", None)
            if task is not None and task.name not in code:
                code[task.name] = code_of(task)
    root = blueprint.graph.root
    return {"schema": SCHEMA, "python": PYTHON, "root": root, "nodes": nodes, "code": code, "vague": vague}


def code_of(task: Any) -> dict[str, str]:
    """Return the digests of what a task's function reaches, by what each part is called; its `version` in place of it."""
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
                default = "" if given.default is UNSET or given.secret else f"={_content(given.default, None, vague)}"
                return f"param {given.name}{default}"
            return f"variable {given.name}"
        return _content(graph.constants[slot], names[i], vague)

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


def _content(value: Any, name: str | None, vague: list[str]) -> str:
    """Return what stands for a literal: itself if it is short, a digest of its content, its type if it has none."""
    if value is None or isinstance(value, (bool, int, float, str)):
        shown = repr(value)
        if len(shown) <= 40:
            return shown
    encoder = Encoder(standing_for)
    try:
        encoder.add(value)
        return f"{type(value).__name__}:{blake2b(bytes(encoder.out), digest_size=8).hexdigest()}"
    except Exception:
        if name is not None and name not in vague:
            vague.append(name)
        return name_of(type(value))


def encoded(fingerprint: dict[str, Any]) -> bytes:
    """Return a fingerprint as a store keeps it."""
    return json.dumps(fingerprint, ensure_ascii=False).encode("utf-8", "surrogatepass")
