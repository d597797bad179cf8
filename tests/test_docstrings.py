"""What an editor shows of a public name: a docstring, its first line a sentence that says what the name is for."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cascade.app.caching import CachedNode, CacheExplanation
from cascade.app.findings import Finding
from cascade.app.flow import Flow
from cascade.app.pictures import Drawing
from cascade.app.plans import DryRun, PlannedInput, PlannedNode
from cascade.runtime.events.bus import Stream, Subscription
from cascade.spec.compose import SubflowResult
from cascade.spec.lazy import MappedResult
from cascade.spec.limits import Limit
from cascade.spec.mapping import Partial
from cascade.spec.protocols import CallNode
from cascade.spec.resource import Resource
from cascade.spec.selector import JumpSelector
from tests.helpers import PACKAGE, ROOT, modules
from tools.typed_doors import DOORS

OWN = "cascade"

# What users get hold of without importing it.
GIVEN: tuple[type, ...] = (
    CacheExplanation,
    CachedNode,
    CallNode,
    Drawing,
    DryRun,
    Finding,
    Flow,
    JumpSelector,
    Limit,
    MappedResult,
    Partial,
)
GIVEN += (PlannedInput, PlannedNode, Resource, Stream, SubflowResult, Subscription)


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Give what a class and its bases of Cascade define that has a public name."""
    for each in cls.__mro__:
        if each.__module__.partition(".")[0] == OWN:
            for name, value in vars(each).items():
                is_ours = inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))
                if not name.startswith("_") and is_ours:
                    yield f"{each.__qualname__}.{name}", value


def public() -> dict[str, Any]:
    """Return all public names and their public members."""
    found: dict[str, Any] = {}
    for door in DOORS:
        module = importlib.import_module(door)
        found[door] = module
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                found[f"{door}.{name}"] = value
    for cls in [*GIVEN, *filter(inspect.isclass, found.values())]:
        found[f"{cls.__module__}.{cls.__qualname__}"] = cls
        found |= {f"{cls.__module__}.{name}": each for name, each in members(cls)}
    return found


PUBLIC = public()


def test_there_are_many() -> None:
    assert len(PUBLIC) > 150


@pytest.mark.parametrize("name", PUBLIC)
def test_its_docstring_begins_with_what_it_is_for(name: str) -> None:
    doc = inspect.getdoc(PUBLIC[name]) if not inspect.isclass(PUBLIC[name]) else PUBLIC[name].__doc__
    assert doc, f"{name} has no docstring"
    first = doc.strip().splitlines()[0]
    assert first[0].isupper() or first[0] in "`\"'", first
    assert first.rstrip().endswith((".", ":", "?", "`")), f"{name}: {first!r} is no sentence on one line"
    assert len(first.split()) >= 2, f"{name}: {first!r} says too little"


LEANS = re.compile(
    r"""(Say|Do)\ so\b
    | (?!How|Wh)[A-Z][a-z]+\ (so\ (?!deep|long|many|much|often)|the\ same\b|such\b|(it|its|them|they|those)\b)
    | (It|Its|Such|Their|Them|They|Those|The\ same|That\ (of|the))\b
    """,
    re.VERBOSE,
)
"""How a docstring begins that means nothing without what stands above it."""


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Give the docstrings of a module, those of its attributes too, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text.strip()


def test_docstrings_stand_alone() -> None:
    texts = [(name, line, text) for name, path in modules(PACKAGE).items() for line, text in docstrings(path)]
    assert len(texts) > 2000
    leaning = [f"{name}:{line}: {text.splitlines()[0]}" for name, line, text in texts if LEANS.match(text)]
    assert leaning == []


@pytest.mark.parametrize(
    "text",
    [
        "Say so.",
        "Do so in less time.",
        "Return the same for maps.",
        "Those of the others.",
        "Its text.",
        "Run it once.",
    ],
)
def test_docstrings_that_lean_on_others_are_found(text: str) -> None:
    assert LEANS.match(text)


@pytest.mark.parametrize("text", ["Say that it ends.", "So many calls are named.", "Return so many items.", "Items."])
def test_docstrings_that_stand_alone_are_not(text: str) -> None:
    assert not LEANS.match(text)


HARD = (
    "cascade.compiler.compiled_root",
    "cascade.runtime.admission.admission",
    "cascade.runtime.compiled.deoptimization",
    "cascade.runtime.compiled.root",
    "cascade.runtime.event_loop.ticker",
    "cascade.runtime.interpreter.interpreter",
    "cascade.runtime.execution.scheduler",
    "cascade.runtime.loops.transition",
    "cascade.runtime.execution.map",
)
"""The modules that are hard to read: each opens with what it does, why so, and at what price."""


@pytest.mark.parametrize("name", HARD)
def test_a_hard_module_opens_with_an_essay(name: str) -> None:
    essay = ast.get_docstring(ast.parse(modules(PACKAGE)[name].read_text(encoding="utf-8"))) or ""
    assert 10 <= len(essay.splitlines()) <= 30
    decisions = re.findall(r"docs/decisions/[\w-]+\.md", essay)
    assert decisions
    assert [each for each in decisions if not (ROOT / each).is_file()] == []
