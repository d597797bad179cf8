"""Ways to put lazy results together: in sequence, as a pipeline, as a graph within a graph."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, overload

from cascade.spec.keywords import explains_options
from cascade.spec.lazy import Lazy, LazyResult, R, R_co, place
from cascade.spec.mistakes import check_argument, check_target, hint_for, refuse_uncalled

__all__ = ["SubflowResult", "pipeline", "sequence", "subflow"]

PLAIN = frozenset({LazyResult, int, str, float, bool, type(None), bytes, complex})
"""Parameters of these types need no closer look."""


@explains_options("cs.sequence")
def sequence(steps: Iterable[LazyResult[Any]]) -> LazyResult[Any]:
    """Run lazy results one after the other: each gets `.after(previous)`; returns the last.

    Raises:
        ValueError: there are no steps.
        TypeError: a step is no lazy result.
    """
    listed = list(steps)
    if not listed:
        raise ValueError("cs.sequence needs at least one step")
    for step in listed:
        if not isinstance(step, LazyResult):
            raise TypeError(f"cs.sequence takes lazy results, not {step!r}{hint_for(step)}")
    for previous, step in pairwise(listed):
        step.after(previous)
    last = listed[-1]
    last._configure(none_if_skipped=True)
    return last


@explains_options("cs.pipeline")
def pipeline(initial: Any, steps: Iterable[Callable[..., Any]]) -> Any:
    """Return `h(g(f(initial)))` for the steps `[f, g, h]`: tasks, or functions of one lazy value.

    A step that is skipped gives what it was given.

    Raises:
        TypeError: a step is no callable, or is a lazy result (a task called by mistake).
    """
    value = initial
    for step in steps:
        if isinstance(step, Lazy):
            raise TypeError(f"a step of cs.pipeline is {step!r}; was the task called by mistake? Give the task itself")
        if not callable(step):
            raise TypeError(f"a step of cs.pipeline is a task or a function of one value, not {step!r}")
        value = step(value)
        if isinstance(value, LazyResult):
            value._configure(passes_first=True)
    return value


class SubflowResult(LazyResult[R_co]):
    """The value of a graph within a graph, with parameters of its own; `cs.subflow` makes one.

    `target` is what the inner graph computes; `kwargs` are the values of its parameters.

    Policies are for the sub-flow as a whole, beside those of the tasks inside: a retry runs all of it again, a timeout
    is for all that an attempt of it does, a cache keeps its value, and what constraints grant is shared by the
    tasks inside.
    """

    __slots__ = ("target",)

    target: Any

    def __repr__(self) -> str:
        target = self.target
        is_plain = isinstance(target, LazyResult) and not isinstance(target, SubflowResult)
        of = (
            repr(target) if is_plain else f"a {'sub-flow' if isinstance(target, LazyResult) else type(target).__name__}"
        )
        return f"<Subflow of {of}, declared at {self.declared}>"

    def _spelled(self) -> str:
        return "cs.subflow(...)"

    @property
    def label(self) -> str:
        """What this node is called."""
        config = self.config
        return config.label if config is not None and config.label is not None else "subflow"


@overload
def subflow(target: Lazy[R], params: dict[str, Any] | None = None) -> SubflowResult[R]: ...
@overload
def subflow(target: Any, params: dict[str, Any] | None = None) -> SubflowResult[Any]: ...
def subflow(target: Any, params: dict[str, Any] | None = None) -> SubflowResult[Any]:
    """Use a lazy graph as one node with its own parameters.

    Args:
        target: what `cs.run` takes; or `"file.py:name"` for a flow in a file (found from the current directory),
            which is imported now.
        params: values of its parameters, which may be lazy results of the graph around it.

    Raises:
        FileNotFoundError, StaticGraphError: there is no such file, or it has no such flow.
        TypeError: the params are no dict.
    """
    if isinstance(target, str):
        from cascade.spec.flowfile import flow_in

        target = flow_in(target)
    if params is not None and not isinstance(params, dict):
        raise TypeError(f"the params of cs.subflow are a dict, not {params!r}")
    check_target(target, "cs.subflow")
    for name, value in params.items() if params else ():
        if value.__class__ not in PLAIN:
            refuse_uncalled(value, f"the parameter {name!r} of cs.subflow")
            check_argument(value, f"the parameter {name!r} of cs.subflow")
    lazy: SubflowResult[Any] = object.__new__(SubflowResult)
    lazy.target = target
    lazy.task = _subflow_task()
    lazy.args = ()
    lazy.kwargs = dict(params) if params else {}
    lazy.config = None
    place(lazy, sys._getframe(1))
    return lazy


def _subflow_task() -> Any:
    """What a sub-flow has in the place of a task."""
    global _marker
    if _marker is None:
        from cascade.spec.task import Task

        _marker = Task(lambda **params: None, name="subflow", mode="inline")
    return _marker


_marker: Any = None
