"""Read a package as data: its modules, what each imports, and where a name was defined."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef
Graph = Mapping[str, set[str]]
FEW_LINES = 10
"""A package's `__init__.py` with fewer lines is a list of names, and not a module that one reads."""


class Definition(NamedTuple):
    """Something that a module defines at its top level; without a name, the module itself."""

    module: str
    name: str = ""


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Whether it is the `__init__.py` of a folder."""
        return self.path.name == "__init__.py"

    @property
    def folder(self) -> str:
        """The package whose folder the file stands in."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def lines(self) -> int:
        """How many lines it has, of any kind."""
        return len(self.text.splitlines())

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of its tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def defined(self) -> dict[str, ast.stmt]:
        """What is defined at the top level: functions, classes, variables."""
        found: dict[str, ast.stmt] = {}
        for node in self.tree.body:
            if isinstance(node, Function | ast.ClassDef):
                found[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        found[target.id] = node
        return found


class House:
    """A package read once: its modules by name, and questions about their imports and names."""

    def __init__(self, package: Path) -> None:
        self.name = package.name
        self.modules: dict[str, Module] = {}
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            self.modules[name] = Module(name, path, text, ast.parse(text))
        self.package = package

    def rooms(self) -> list[str]:
        """Name the folders of the package, by their first module."""
        inside = [name.split(".")[1] for name, each in self.modules.items() if each.folder != self.name]
        return list(dict.fromkeys(inside))

    def within(self, folder: str) -> list[Module]:
        """List the modules of a folder and those below it, their `__init__.py` as well."""
        inside = f"{self.name}.{folder}"
        return [each for name, each in self.modules.items() if f"{name}.".startswith(f"{inside}.")]

    def imports(self, types: bool = False) -> dict[str, set[str]]:
        """Say for each module which others it imports, at any depth; those for types alone where that is asked for."""
        found: dict[str, set[str]] = {}
        for name, module in self.modules.items():
            statements = module.nodes if types else at_run_time(module.tree)
            targets = [self.origin(module, node, alias) for node in statements for alias in aliases(node)]
            found[name] = {target.module for target in targets if target} - {name}
        return found

    def origin(self, module: Module, node: ast.AST, alias: ast.alias) -> Definition | None:
        """Say what an alias of an import statement stands for, if that is in the house."""
        if isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), module.folder)
            if f"{base}.{alias.name}" in self.modules:
                return Definition(f"{base}.{alias.name}")
            return Definition(base, alias.name) if base in self.modules else None
        return Definition(alias.name) if alias.name in self.modules else None

    @cached_property
    def imported(self) -> dict[str, dict[str, Definition]]:
        """For each module, what the names that it imports stand for."""
        found: dict[str, dict[str, Definition]] = {}
        for name, module in self.modules.items():
            names = found[name] = {}
            for node in module.nodes:
                for alias in aliases(node):
                    origin = self.origin(module, node, alias)
                    if origin:
                        names[alias.asname or alias.name] = origin
        return found

    def find(self, module: str, expression: ast.AST) -> Definition | None:
        """Say where a name, or a name of an imported module, was defined; through modules that pass it on."""
        match expression:
            case ast.Name(id=name):
                return self.follow(Definition(module, name))
            case ast.Attribute(attr=attribute):
                base = self.dotted(module, expression.value)
                return self.follow(Definition(base, attribute)) if base else None
        return None

    def dotted(self, module: str, expression: ast.expr) -> str | None:
        """Name the module that an expression stands for, if it does."""
        parts: list[str] = []
        while isinstance(expression, ast.Attribute):
            parts.append(expression.attr)
            expression = expression.value
        if not isinstance(expression, ast.Name):
            return None
        found = self.imported[module].get(".".join([expression.id, *reversed(parts)]))
        return found.module if found and not found.name else None

    def follow(self, place: Definition) -> Definition | None:
        """Follow a name from module to module to the one that defines it."""
        for _ in self.modules:
            module, name = place
            if not name or name in self.modules[module].defined:
                return place
            if name not in self.imported[module]:
                return None
            place = self.imported[module][name]
        return None

    def node(self, place: Definition | None) -> ast.stmt | None:
        """Give what stands at a definition; nothing for a module."""
        return self.modules[place.module].defined.get(place.name) if place else None


def aliases(node: ast.AST) -> list[ast.alias]:
    """List the names of an import statement; nothing for anything else."""
    return node.names if isinstance(node, ast.Import | ast.ImportFrom) else []


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through all statements but those that are there for type checkers alone."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for statement in child.orelse:
                yield from at_run_time(statement)
        else:
            yield from at_run_time(child)
