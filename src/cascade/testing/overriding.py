"""Putting a resource in the place of another for the time of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cascade.runtime.engine import Engine
from cascade.spec.contexts import contextmanager
from cascade.spec.resource import GENERATOR, Resource

__all__ = ["override_resource"]


@contextmanager
def override_resource(engine: Engine, name: str, provider: Any) -> Iterator[None]:
    """Let every task that asks for the resource `name` get another one instead, inside a `with` block.

    Args:
        provider: a resource, a generator function that yields once, or any other value, which is given as it is.
    """
    if isinstance(provider, Resource):
        stand_in = Resource(provider.func, name, provider.scope, provider.is_async)
    else:
        func, is_async = _provider(provider)
        stand_in = Resource(func, name, "run", is_async)
    before = engine.resources.get(name)
    engine.resources = {**engine.resources, name: stand_in}
    try:
        yield
    finally:
        after = dict(engine.resources)
        if before is None:
            after.pop(name, None)
        else:
            after[name] = before
        engine.resources = after


def _provider(provider: Any) -> tuple[Callable[..., Any], bool]:
    flags = getattr(getattr(provider, "__code__", None), "co_flags", 0)
    if flags & 0x200 or flags & GENERATOR:
        return provider, bool(flags & 0x200)

    def given() -> Iterator[Any]:
        yield provider

    return given, False
