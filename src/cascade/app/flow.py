"""Compiled flows: a target made ready once, to be awaited many times."""

from __future__ import annotations

from typing import Any, Generic, overload

from cascade.compiler.explain import explained
from cascade.runtime.engine import Container, Engine
from cascade.runtime.plans.plan import prepare
from cascade.spec.blueprint import Blueprint
from cascade.spec.lazy import Lazy, R

__all__ = ["Flow", "compile"]


class Flow(Generic[R]):
    """A target with its blueprint; await it with its parameters: `await flow(n=3)`."""

    def __init__(self, target: Any, blueprint: Blueprint, engine: Engine) -> None:
        self.target: Any = target
        self.blueprint: Blueprint = blueprint
        self._engine = engine

    async def __call__(self, /, **params: Any) -> R:
        """Run the flow with these parameters; what `engine.run` raises comes out."""
        result: R = await self._engine.run(self.target, params)
        return result

    @property
    def source(self) -> str:
        """The Python that the flow becomes; see `cs.explain`."""
        return explained(self.blueprint)


@overload
def compile(target: Lazy[R], *, engine: Engine | None = None) -> Flow[R]: ...
@overload
def compile(target: Container, *, engine: Engine | None = None) -> Flow[Any]: ...
def compile(target: Any, *, engine: Engine | None = None) -> Flow[Any]:
    """Make a target ready to be run often: `flow = cs.compile(target)`, then `await flow(**params)`.

    Args:
        engine: runs the flow; by default one of its own.

    Raises:
        StaticGraphError, CycleError, ParameterError: what was declared cannot be run.
        TypeError: there is nothing to run.
    """
    engine = Engine() if engine is None else engine
    plan = prepare(target, engine.solver)
    if plan is None:
        raise TypeError(f"cs.compile takes a lazy result, or a container of them, not {target!r}")
    return Flow(target, plan.blueprint, engine)
