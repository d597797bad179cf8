"""Calls that no import shows: functions that one module hands to a class of another, whose users then call them.

Two ways are followed. *Settings*: a module assigns to an attribute of another module's class or module, as in
`Run.drive = staticmethod(drive)`. *Records*: a module makes an object and gives it functions, `Kit(drive=drive)`.
Either way whoever reads the attribute leads to the module that defines the function. Which expressions stand for an
object of the class is judged by names: those that some annotation or construction gives to one, anywhere in the house.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from tools.house.source import Definition, Function, House

Kinds = tuple[type[ast.stmt], ...]
TABLES = (ast.Dict, ast.Tuple, ast.List)
FUNCTIONS: Kinds = (ast.FunctionDef, ast.AsyncFunctionDef)


class Setting(NamedTuple):
    """A module assigns to an attribute of what another module defines."""

    module: str
    line: int
    owner: Definition
    attribute: str
    value: ast.expr

    def __str__(self) -> str:
        owner = ".".join(part for part in self.owner if part)
        return f"{self.module}:{self.line} sets {owner}.{self.attribute}"


class Handing(NamedTuple):
    """Functions of these modules are what this attribute of that class holds."""

    owner: Definition
    attribute: str
    modules: set[str]


class Calls:
    """The calls in a house that go by attributes set from elsewhere."""

    def __init__(self, house: House) -> None:
        self.house = house

    @cached_property
    def settings(self) -> list[Setting]:
        """All assignments to attributes of classes and modules that stand in another module of the house."""
        return [found for module in self.house.modules for found in self.settings_in(module)]

    def settings_in(self, module: str) -> Iterator[Setting]:
        """Look for assignments in one module, inside of functions too."""
        for node, own in with_locals(self.house.modules[module].tree):
            for target, value in assigned(node):
                while isinstance(target, ast.Subscript):  # an entry of a table that is an attribute
                    target = target.value
                if isinstance(target, ast.Attribute) and ast.unparse(target).partition(".")[0] not in own:
                    owner = self.owner(module, target.value)
                    if owner and owner.module != module:
                        yield Setting(module, target.lineno, owner, target.attr, value)

    def owner(self, module: str, expression: ast.expr) -> Definition | None:
        """Say for which class or module of the house an expression stands, if it does."""
        name = self.house.dotted(module, expression)
        if name:
            return Definition(name)
        found = self.house.find(module, expression)
        return found if isinstance(self.house.node(found), ast.ClassDef) else None

    def functions(self, module: str, value: ast.expr) -> set[str]:
        """Name the modules that define the functions and classes in a value: plain ones, wrapped ones, in a table."""
        found = set()
        for node in ast.walk(value):
            if isinstance(node, ast.Name | ast.Attribute):
                place = self.house.find(module, node)
                if place and isinstance(self.house.node(place), Function | ast.ClassDef):
                    found.add(place.module)
        return found

    def set_ones(self) -> list[Handing]:
        """List what is handed over by settings."""
        found = (Handing(each.owner, each.attribute, self.functions(each.module, each.value)) for each in self.settings)
        return [each for each in found if each.modules]

    def recorded(self) -> list[Handing]:
        """List what is handed over when an object is made."""
        found = []
        for name, module in self.house.modules.items():
            for node in module.nodes:
                if isinstance(node, ast.Call):
                    owner = self.house.find(name, node.func)
                    made = self.house.node(owner)
                    if owner and isinstance(made, ast.ClassDef):
                        found += [
                            Handing(owner, field, modules)
                            for field, kinds, value in given(made, node)
                            if (modules := self.handed(name, value, kinds))
                        ]
        return found

    def handed(self, module: str, value: ast.expr, kinds: Kinds) -> set[str]:
        """Name the modules whose functions are handed over: as they are, wrapped, in a table, called by a lambda."""
        match value:
            case ast.Name() | ast.Attribute():
                place = self.house.find(module, value)
                match self.house.node(place):
                    case ast.Assign(value=table) | ast.AnnAssign(value=ast.expr() as table) if place:
                        return self.handed(place.module, table, kinds) if isinstance(table, TABLES) else set()
                    case made:
                        return {place.module} if place and isinstance(made, kinds) else set()
            case ast.Call(args=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Dict(values=parts):
                return set().union(*(self.handed(module, part, kinds) for part in parts))
            case ast.Lambda(body=body):
                return self.functions(module, body)
        return set()

    def edges(self, handed: list[Handing]) -> dict[str, set[str]]:
        """Lead from each module that reads what was handed over to those that define it."""
        found: dict[str, set[str]] = defaultdict(set)
        for owner, attribute, modules in handed:
            for reader in self.readers(owner, attribute):
                found[reader] |= modules - {reader}
        return found

    def readers(self, owner: Definition, attribute: str) -> set[str]:
        """Name the modules that read this attribute of something that is, by its name, of the class."""
        if not owner.name:
            inside = any(reads_name(node, attribute) for node in self.house.modules[owner.module].nodes)
            users = {name for name, of, _, expression in self.read[attribute] if self.owner(name, expression) == owner}
            return users | ({owner.module} if inside else set())
        family = self.family(owner)
        names = set().union(*(self.names[each] for each in family))
        found = set()
        for name, inside_of, told, expression in self.read[attribute]:
            last = last_name(expression)
            if last in ("self", "cls") and isinstance(expression, ast.Name):
                fits = inside_of in family
            elif isinstance(expression, ast.Name) and told.get(last):
                fits = bool(told[last] & family)
            else:
                fits = last in names or self.owner(name, expression) in family
            if fits:
                found.add(name)
        return found

    @cached_property
    def read(self) -> dict[str, list[tuple[str, Definition | None, dict[str, set[Definition]], ast.expr]]]:
        """For each attribute who reads it: the module, the class around, what parameters are said to be, of what."""
        found: dict[str, list[tuple[str, Definition | None, dict[str, set[Definition]], ast.expr]]] = defaultdict(list)

        def visit(name: str, node: ast.AST, inside: Definition | None, told: dict[str, set[Definition]]) -> None:
            if isinstance(node, ast.ClassDef):
                inside = Definition(name, node.name)
            elif isinstance(node, Function):
                told = told | {each.arg: self.said(name, each.annotation) for each in all_parameters(node)}
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found[node.attr].append((name, inside, told, node.value))
            for child in ast.iter_child_nodes(node):
                visit(name, child, inside, told)

        for name, module in self.house.modules.items():
            visit(name, module.tree, None, {})
        return found

    @cached_property
    def names(self) -> dict[Definition, set[str]]:
        """For each class the names that somewhere stand for an object of it."""
        found: dict[Definition, set[str]] = defaultdict(set)
        for name, module in self.house.modules.items():
            for node in module.nodes:
                match node:
                    case ast.arg(arg=known, annotation=annotation):
                        places = self.said(name, annotation)
                    case ast.AnnAssign(target=target, annotation=annotation):
                        known, places = last_name(target), self.said(name, annotation)
                    case ast.Assign(targets=[target], value=ast.Call(func=func)):
                        known, places = last_name(target), self.said(name, func)
                    case ast.FunctionDef(name=known, returns=annotation, decorator_list=[*_, ast.Name(id="property")]):
                        places = self.said(name, annotation)
                    case _:
                        continue
                for place in places if known not in ("", "self", "cls") else ():
                    found[place].add(known)
        return found

    def said(self, module: str, annotation: ast.expr | None) -> set[Definition]:
        """Name the classes of the house that an annotation speaks of."""
        if annotation is None:
            return set()
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = ast.parse(annotation.value, mode="eval").body
        parts = [node for node in ast.walk(annotation) if isinstance(node, ast.Name | ast.Attribute)]
        places = {self.house.find(module, part) for part in parts}
        return {place for place in places if place and isinstance(self.house.node(place), ast.ClassDef)}

    @cached_property
    def bases(self) -> dict[Definition, set[Definition]]:
        """For each class of the house its bases there."""
        return {
            Definition(name, node.name): {place for base in node.bases for place in self.said(name, base)}
            for name, module in self.house.modules.items()
            for node in module.defined.values()
            if isinstance(node, ast.ClassDef)
        }

    def family(self, owner: Definition) -> set[Definition]:
        """A class with all that it inherits from and all that inherit from it."""
        return {each for each in self.bases if owner in self.line(each) or each in self.line(owner)}

    def line(self, of: Definition) -> set[Definition]:
        """A class with all that it inherits from."""
        return {of}.union(*(self.line(base) for base in self.bases.get(of, ()) if base != of))


def with_locals(node: ast.AST, own: frozenset[str] = frozenset()) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """Walk through a tree; with each node come the names that the functions around it bind themselves."""
    yield node, own
    if isinstance(node, Function):
        stored = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        own = own | stored | {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
    for child in ast.iter_child_nodes(node):
        yield from with_locals(child, own)


def assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Give each target of an assignment, or of a `setattr` by name, with its value; tuples are taken apart."""
    match node:
        case ast.Assign(targets=targets, value=value):
            pairs: list[tuple[ast.expr, ast.expr]] = [(target, value) for target in targets]
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
            pairs = [(target, value)]
        case ast.Call(func=ast.Name(id="setattr"), args=[base, ast.Constant(value=str(name)), value]):
            pairs = [(ast.copy_location(ast.Attribute(base, name, ast.Store()), node), value)]
        case _:
            return
    for goal, what in pairs:
        if isinstance(goal, ast.Tuple) and isinstance(what, ast.Tuple) and len(goal.elts) == len(what.elts):
            yield from zip(goal.elts, what.elts, strict=True)
        elif isinstance(goal, ast.Tuple):
            yield from ((each, what) for each in goal.elts)
        else:
            yield goal, what


def given(made: ast.ClassDef, call: ast.Call) -> Iterator[tuple[str, Kinds, ast.expr]]:
    """Give what a call that makes an object hands over: the field or parameter that takes it, what counts there, it.

    A class counts where something is to be called, a function anywhere.
    """
    begins = [node for node in made.body if isinstance(node, Function) and node.name == "__init__"]
    fields: dict[str, ast.expr | None]
    if begins:
        fields = {each.arg: each.annotation for each in all_parameters(begins[0])[1:]}
    else:
        fields = {last_name(node.target): node.annotation for node in made.body if isinstance(node, ast.AnnAssign)}
    values = dict(zip(fields, call.args, strict=False)) | {each.arg: each.value for each in call.keywords if each.arg}
    for field, value in values.items():
        annotation = fields.get(field)
        called = annotation is not None and re.search(r"\b(Callable|type)\b", ast.unparse(annotation))
        yield field, (*FUNCTIONS, ast.ClassDef) if called else FUNCTIONS, value


def all_parameters(node: Function) -> list[ast.arg]:
    """List the parameters in the order in which they take values."""
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def last_name(expression: ast.AST) -> str:
    """Give the name by which one speaks of an expression: `run` for `run` and for `self.run`."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def reads_name(node: ast.AST, name: str) -> bool:
    """Whether it reads a plain name."""
    return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
