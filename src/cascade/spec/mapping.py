"""Declaring maps: one call for each item, some arguments the same for all."""

from __future__ import annotations

import sys
from typing import Any, Generic, Literal, TypeVar, overload

from cascade.spec.iterables import check_iterable, check_lengths
from cascade.spec.lazy import Config, Lazy, LazyResult, MappedResult, place
from cascade.spec.outcomes import Failed, MapErrors, errors_from

__all__ = ["OnError", "Partial", "declare_map"]

R = TypeVar("R")
OnError = Literal["raise", "collect", "skip"]

_frame = sys._getframe


class Partial(Generic[R]):
    """A task with some arguments fixed, to be mapped over others; `task.partial` makes one."""

    __slots__ = ("task", "values")

    def __init__(self, task: Any, values: dict[str, Any]) -> None:
        self.task = task
        self.values = values
        for name, value in values.items():
            check_name(task, name)
            if value.__class__ is task.__class__:
                task._refuse_task(value)

    @overload
    def map(
        self,
        *,
        concurrency: int | None = None,
        window: int | None = None,
        on_error: Literal["collect"],
        max_errors: float | None = None,
        **iterables: Any,
    ) -> MappedResult[R | Failed]: ...
    @overload
    def map(
        self,
        *,
        concurrency: int | None = None,
        window: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        max_errors: float | None = None,
        **iterables: Any,
    ) -> MappedResult[R]: ...
    def map(
        self,
        *,
        concurrency: int | None = None,
        window: int | None = None,
        on_error: OnError = "raise",
        max_errors: float | None = None,
        **iterables: Any,
    ) -> MappedResult[Any]:
        """Declare one call for each item, as `Task.map` does, with the fixed arguments added to each."""
        options = (concurrency, window, errors_from(self.task.name, on_error, max_errors))
        return declare_map(self.task, self.values, iterables, options, _frame(1))

    def partial(self, **values: Any) -> Partial[R]:
        """Fix more arguments."""
        return Partial(self.task, {**self.values, **values})

    def __call__(self, *args: Any, **kwargs: Any) -> LazyResult[R]:
        """Declare one call with the fixed arguments added."""
        lazy: LazyResult[R] = self.task(*args, **{**self.values, **kwargs})
        place(lazy, _frame(1))
        return lazy


def check_name(task: Any, name: str) -> None:
    """Raise TypeError if the task has no such parameter."""
    shape = task.shape
    if shape is not None and not shape.accepts(name):
        known = ", ".join((*shape.names[shape.only :], *shape.keywords)) or "none"
        raise TypeError(f"task {task.name!r} ({task.declared}) has no parameter {name!r}; it has: {known}")


def declare_map(
    task: Any,
    fixed: dict[str, Any],
    iterables: dict[str, Any],
    options: tuple[int | None, int | None, MapErrors],
    frame: Any,
) -> MappedResult[Any]:
    """Return the mapped result of a task; what is wrong with it is raised here."""
    concurrency, window, errors = options
    for option, amount in (("concurrency", concurrency), ("window", window)):
        if amount is not None and (not isinstance(amount, int) or isinstance(amount, bool) or amount < 1):
            raise ValueError(f"map of {task.name!r}: {option} is 1 or more, not {amount!r}")
    if not iterables:
        raise TypeError(f"map of {task.name!r} ({task.declared}) needs at least one iterable: {task.name}.map(x=[...])")
    lengths = {}
    for name, value in iterables.items():
        check_name(task, name)
        if not isinstance(value, Lazy):
            check_iterable(task, name, value)
            if hasattr(value, "__len__"):
                lengths[name] = len(value)
    check_lengths(task, lengths)
    arguments = {**fixed, **iterables}
    args = () if task.receiver is None else (task.receiver,)
    if task.shape is not None and not task.shape.takes(len(args), arguments):
        task._refuse(args, arguments)
    lazy: MappedResult[Any] = object.__new__(MappedResult)
    lazy.task = task.origin
    lazy.args = args
    lazy.kwargs = arguments
    lazy.each = tuple(iterables)
    lazy.concurrency = concurrency
    lazy.window = window
    lazy.errors = errors
    lazy.spent = False
    lazy.config = None
    place(lazy, frame)
    if task.receiver is not None:
        lazy.config = Config()
        lazy.config.receiver = True
    return lazy
