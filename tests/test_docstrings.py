"""What an editor shows of a public name: a docstring, its first line a sentence that says what the name is for."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from cascade.app.caching import CachedNode, CacheExplanation
from cascade.app.findings import Finding
from cascade.app.flow import Flow
from cascade.app.pictures import Drawing
from cascade.app.plans import DryRun, PlannedInput, PlannedNode
from cascade.runtime.bus import Stream, Subscription
from cascade.spec.compose import SubflowResult
from cascade.spec.lazy import MappedResult
from cascade.spec.limits import Limit
from cascade.spec.mapping import Partial
from cascade.spec.protocols import CallNode
from cascade.spec.resource import Resource
from cascade.spec.selector import JumpSelector
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
