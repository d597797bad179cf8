"""The source of functions, as syntax trees, and what the names in it mean."""

from __future__ import annotations

import ast
import builtins
import linecache
from collections.abc import Iterator
from functools import lru_cache
from types import FunctionType, MethodType, ModuleType
from typing import Any

__all__ = ["Source", "calls_in", "file_tree", "own_nodes", "source_of"]

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class Source:
    """One function with its syntax tree."""

    __slots__ = ("aliases", "func", "node")

    def __init__(self, func: FunctionType, node: FunctionNode) -> None:
        self.func = func
        self.node = node
        self.aliases: dict[str, str] = {}
        """What imports inside the function bring in: name to dotted name."""
        for each in own_nodes(node):
            if isinstance(each, ast.Import):
                for alias in each.names:
                    self.aliases[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(each, ast.ImportFrom) and each.module and not each.level:
                for alias in each.names:
                    self.aliases[alias.asname or alias.name] = f"{each.module}.{alias.name}"

    @property
    def file(self) -> str:
        """The file that it is written in."""
        return self.func.__code__.co_filename

    @property
    def parameters(self) -> set[str]:
        """The names of its parameters."""
        args = self.node.args
        listed = [*args.posonlyargs, *args.args, *args.kwonlyargs]
        return {arg.arg for arg in [*listed, *filter(None, (args.vararg, args.kwarg))]}

    def at(self, node: ast.AST) -> str:
        """Return `file:line` of a part of it."""
        return f"{self.file}:{getattr(node, 'lineno', 0)}"

    def local_names(self) -> set[str]:
        """Return the names that belong to the function itself."""
        code = self.func.__code__
        return {*code.co_varnames, *code.co_cellvars}

    def value(self, node: ast.AST) -> Any:
        """Return what a name or an attribute means outside the function's own variables, or None."""
        if isinstance(node, ast.Name):
            if node.id in self.local_names():
                return None
            return self._outer(node.id)
        if isinstance(node, ast.Attribute):
            base = self.value(node.value)
            if isinstance(base, (ModuleType, type)):
                return getattr(base, node.attr, None)
            holder = getattr(base, "__dict__", None)
            return holder.get(node.attr) if isinstance(holder, dict) else None
        return None

    def _outer(self, name: str) -> Any:
        code = self.func.__code__
        if name in code.co_freevars and self.func.__closure__ is not None:
            try:
                return self.func.__closure__[code.co_freevars.index(name)].cell_contents
            except ValueError:
                return None
        return self.func.__globals__.get(name, getattr(builtins, name, None))

    def dotted(self, node: ast.AST) -> str:
        """Return the full name of a function that is called: `time.sleep`, whatever it is called here."""
        parts: list[str] = []
        at = node
        while isinstance(at, ast.Attribute):
            parts.append(at.attr)
            at = at.value
        if not isinstance(at, ast.Name):
            return ""
        parts.reverse()
        if at.id in self.aliases:
            return ".".join([self.aliases[at.id], *parts])
        if at.id in self.local_names():
            return ""
        base = self._outer(at.id)
        if base is getattr(builtins, at.id, None):  # whatever stands there: some libraries replace print
            return ".".join([at.id, *parts])
        if isinstance(base, ModuleType):
            return ".".join([base.__name__, *parts])
        module, name = getattr(base, "__module__", None), getattr(base, "__qualname__", None)
        if isinstance(module, str) and isinstance(name, str):
            return ".".join([*(() if module == "builtins" else (module,)), name, *parts])
        return ""


def plain_function(func: Any) -> FunctionType | None:
    """Return the Python function that is written down somewhere, if there is one."""
    while True:
        if isinstance(func, MethodType):
            func = func.__func__
        elif hasattr(func, "__wrapped__"):
            func = func.__wrapped__
        elif hasattr(func, "func") and hasattr(func, "keywords"):
            func = func.func
        else:
            return func if isinstance(func, FunctionType) else None


def source_of(func: Any) -> Source | None:
    """Return a function's source, or None where there is none to see (builtins, lambdas, generated code)."""
    plain = plain_function(func)
    if plain is None or plain.__name__ == "<lambda>":
        return None
    code = plain.__code__
    tree = file_tree(code.co_filename)
    node = _alone(plain) if tree is None else _functions_of(tree).get((code.co_firstlineno, code.co_name))
    return None if node is None else Source(plain, node)


def _alone(func: FunctionType) -> FunctionNode | None:
    """Parse a function by itself, where what is around it is no plain Python (magic commands of a notebook)."""
    import inspect
    import textwrap

    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(func)))
    except (OSError, SyntaxError, TypeError, ValueError):
        return None
    ast.increment_lineno(tree, func.__code__.co_firstlineno - 1)
    node = tree.body[0] if tree.body else None
    fits = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == func.__name__
    return node if fits else None  # type: ignore[return-value]


@lru_cache(maxsize=256)
def _parsed(file: str, lines: tuple[str, ...]) -> ast.Module | None:
    try:
        return ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        return None


def file_tree(file: str) -> ast.Module | None:
    """Return the syntax tree of a file (or a notebook's cell), None where it cannot be read."""
    lines = tuple(linecache.getlines(file))
    return _parsed(file, lines) if lines else None


@lru_cache(maxsize=256)
def _functions_of(tree: ast.Module) -> dict[tuple[int, str], FunctionNode]:
    known: dict[tuple[int, str], FunctionNode] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            known[first, node.name] = node
    return known


def own_nodes(function: FunctionNode) -> Iterator[ast.AST]:
    """Go through what a function itself does: not the functions, classes and lambdas that it only defines."""
    stack: list[ast.AST] = list(reversed(function.body))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack += reversed(list(ast.iter_child_nodes(node)))


def calls_in(function: FunctionNode) -> Iterator[ast.Call]:
    """Go through the calls that a function itself makes."""
    return (node for node in own_nodes(function) if isinstance(node, ast.Call))
