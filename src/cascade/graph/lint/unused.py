"""Parameters that no task looks at.

Seen are: parameters of the graph that only go to arguments which the functions never read, and, in the files
that the graph was declared in, `name = cs.Param(...)` whose name is never read there.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

from cascade.graph.lint.finding import Finding, found
from cascade.graph.lint.source import file_tree, plain_function
from cascade.spec.graph import Graph
from cascade.spec.inputs import Input, Param
from cascade.spec.operations import CALLN, MAP

__all__ = ["check_inputs_of", "check_names"]

LOOKS_AROUND = frozenset({"locals", "vars", "eval", "exec"})


def check_inputs_of(graph: Graph) -> Iterator[Finding]:
    """Look at the parameters of a graph."""
    readers: dict[int, list[tuple[int, str, str]]] = {slot: [] for slot in graph.inputs}
    if graph.root < 0:
        readers.pop(-1 - graph.root, None)
    for edge in graph.edges():
        for reference in (edge.source, edge.target):
            if reference < 0 and -1 - reference in readers:
                readers[-1 - reference].append((edge.target, edge.kind, edge.name))
    for slot, edges in readers.items():
        given = graph.inputs[slot]
        if not isinstance(given, Param):
            continue
        if edges and all(kind == "data" and not _looks_at(graph, i, name) for i, kind, name in edges):
            names = ", ".join(sorted({repr(graph.name(i)) for i, _, _ in edges}))
            yield found(
                "unused-parameter",
                f"nobody uses the parameter {given.name!r}: {names} takes it and never looks at it",
                given.declared,
            )


def _looks_at(graph: Graph, i: int, name: str) -> bool:
    """Say whether a node may look at an argument."""
    if i < 0 or (graph.kinds[i] > CALLN and graph.kinds[i] != MAP):
        return True
    node = graph.nodes[i]
    func = plain_function(node.task.func)
    if func is None or func is not node.task.func:
        return True
    code = func.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if name not in names or LOOKS_AROUND & set(code.co_names):
        return True
    first = graph.references(i)[0] if graph.references(i) else None
    gate = graph.gates.get(i)
    if gate is not None and gate.condition is not None and first is not None and first < 0:
        return True  # it may be passed on in the place of what is skipped
    return name in code.co_cellvars or _reads(code, name)


def _reads(code: CodeType, name: str) -> bool:
    """Say whether a function loads a variable of its own."""
    import dis

    return any(
        instruction.argval == name or (isinstance(instruction.argval, tuple) and name in instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_CLOSURE", "STORE_FAST_LOAD", "DELETE_FAST"))
    )


def check_names(files: Iterable[str], known: set[str]) -> Iterator[Finding]:
    """Look at the parameters that are declared in these files and have a name that is never read there.

    Args:
        known: the names of the parameters that the graph has.
    """
    for file in sorted(files):
        tree = file_tree(file)
        for line, variable, name in _never_read(tree) if tree is not None else ():
            if name not in known and not _read_elsewhere(file, variable):
                yield found(
                    "unused-parameter",
                    f"nobody uses the parameter {name!r}: {variable} is never read; pass it to a task, or leave it out",
                    f"{file}:{line}",
                )


@lru_cache(maxsize=256)
def _never_read(tree: ast.Module) -> list[tuple[int, str, str]]:
    """Return each `variable = cs.Param("name")` whose variable is never read: (line, variable, name)."""
    doors = _doors(tree)
    if not doors:
        return []
    nodes = list(ast.walk(tree))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    read |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    read |= set(_exported(tree))
    declared = []
    for node in nodes:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not isinstance(node.value, ast.Call):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        name = _param_name(node.value, doors)
        only = targets[0] if len(targets) == 1 else None
        if name is not None and isinstance(only, ast.Name) and only.id not in read:
            declared.append((node.lineno, only.id, name))
    return declared


def _exported(tree: ast.Module) -> Iterator[str]:
    """Return the names in `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            for each in ast.walk(node.value):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield each.value


def _doors(tree: ast.Module) -> set[str]:
    """Return how this file spells cs.Param."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {f"{alias.asname or alias.name}.Param" for alias in node.names if alias.name == "cascade"}
        elif isinstance(node, ast.ImportFrom) and node.module == "cascade":
            found |= {alias.asname or alias.name for alias in node.names if alias.name == "Param"}
    return found


def _param_name(call: ast.Call, doors: set[str]) -> str | None:
    if ast.unparse(call.func) not in doors:
        return None
    first = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "name"), None)
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _read_elsewhere(file: str, name: str) -> bool:
    """Say whether some graph has read the parameter that a module of this file has under this name."""
    modules: list[Any] = [each for each in list(sys.modules.values()) if getattr(each, "__file__", None) == file]
    return any(isinstance(given, Input) and given.plan is not None for given in (vars(m).get(name) for m in modules))
