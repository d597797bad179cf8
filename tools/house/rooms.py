"""The figures of one room: sizes of its modules and functions, classes, names, words, parameters."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from tools.house.source import FEW_LINES, Function, Module

MOST_LINES = 50
MOST_PARAMETERS = 6
LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@dataclass(frozen=True)
class Room:
    """What is counted in some modules, `__init__.py` of folders among them."""

    modules: Sequence[Module]

    @property
    def sizes(self) -> list[int]:
        """The lines of each module that one reads."""
        return sorted(each.lines for each in self.modules if not each.is_package or each.lines >= FEW_LINES)

    @property
    def lines(self) -> int:
        """All lines, blank ones too."""
        return sum(each.lines for each in self.modules)

    @cached_property
    def functions(self) -> list[tuple[Module, Function]]:
        """All functions: methods, inner ones, overloads."""
        return [(each, node) for each in self.modules for node in each.nodes if isinstance(node, Function)]

    @property
    def lengths(self) -> list[int]:
        """The lines of each function, from its `def` on."""
        return sorted(length(node) for _, node in self.functions)

    @property
    def long_functions(self) -> list[str]:
        """Functions that are longer than they should be, as lines to print."""
        found = [(length(node), module, node) for module, node in self.functions if length(node) > MOST_LINES]
        return [f"{module.name}:{node.lineno} {node.name}, {lines} lines" for lines, module, node in found]

    @property
    def wide(self) -> int:
        """How many functions have too many parameters, `self` among them."""
        return sum(len(parameters(node)) > MOST_PARAMETERS for _, node in self.functions)

    @property
    def classes(self) -> int:
        """How many classes there are, at any depth."""
        return sum(isinstance(node, ast.ClassDef) for each in self.modules for node in each.nodes)

    def named(self, private: bool) -> int:
        """Count the functions and classes at the top of modules whose names are private, or those that are not."""
        tops = [node for each in self.modules for node in each.tree.body if isinstance(node, Function | ast.ClassDef)]
        return sum(node.name.startswith("_") == private for node in tops)

    @property
    def any_parameters(self) -> tuple[int, int]:
        """How many parameters are annotated `Any` and nothing else, of how many annotated ones; *args do not count."""
        found = [each.annotation for _, node in self.functions for each in parameters(node) if each.annotation]
        return sum(ast.unparse(each) in ("Any", "typing.Any") for each in found), len(found)

    @property
    def any_share(self) -> float:
        """The share of parameters that are annotated `Any`, in percent."""
        some, of_all = self.any_parameters
        return 100 * some / of_all if of_all else 0.0

    @property
    def words(self) -> tuple[float, float]:
        """Comments, and lines of docstrings, for 100 lines that hold code or docstrings."""
        found = [count_words(each) for each in self.modules]
        comments, docs, lines = (sum(each[i] for each in found) for i in range(3))
        return (100 * comments / lines, 100 * docs / lines) if lines else (0.0, 0.0)


def middle(values: Sequence[int]) -> int:
    """Give the median, the lower half of what lies between two."""
    return int(median(values)) if values else 0


def share(values: Sequence[int], part: float) -> int:
    """Give the value below which this part of the sorted values lies."""
    return values[min(len(values) - 1, int(len(values) * part))] if values else 0


def length(node: Function | ast.ClassDef) -> int:
    """Count the lines of a function or class without its decorators."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def parameters(node: Function) -> list[ast.arg]:
    """List the parameters that have a name of their own."""
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def count_words(module: Module) -> tuple[int, int, int]:
    """Count the comments, also those behind code, the lines of docstrings, and the lines of code and docstrings."""
    comments, lines = 0, set[int]()
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            comments += 1
        elif token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    documented = (each for each in module.nodes if isinstance(each, Function | ast.ClassDef | ast.Module))
    docs = [each.body[0] for each in documented if ast.get_docstring(each) is not None]
    return comments, sum((each.end_lineno or each.lineno) - each.lineno + 1 for each in docs), len(lines)
