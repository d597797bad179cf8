"""Declaring maps: one call for each item, some arguments the same for all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, Generic, Literal, TypeVar, overload

from cascade.spec.iterables import check_iterable, check_lengths
from cascade.spec.keywords import hint_for_option
from cascade.spec.lazy import Lazy, LazyResult, MappedResult, R, place
from cascade.spec.mistakes import check_argument
from cascade.spec.outcomes import Failed, MapErrors, errors_from
from cascade.spec.policies import METHOD

__all__ = ["Mappable", "OnError", "Partial", "declare_map"]

OnError = Literal["raise", "collect", "skip"]

F = TypeVar("F", bound=Callable[..., Any])
MOST_SHOWN = 40

_frame = sys._getframe


class Mappable(Generic[R]):
    """What can be called for each item: a task, or one with some arguments fixed."""

    __slots__ = ()

    def _fixed(self) -> tuple[Any, dict[str, Any]]:
        """Return the task, and the arguments that stay the same."""
        raise NotImplementedError

    @overload
    def map(
        self,
        named: Mapping[str, Any] | None = None,
        /,
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
        named: Mapping[str, Any] | None = None,
        /,
        *,
        concurrency: int | None = None,
        window: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        max_errors: float | None = None,
        **iterables: Any,
    ) -> MappedResult[R]: ...
    def map(
        self,
        named: Mapping[str, Any] | None = None,
        /,
        *unnamed: Any,
        concurrency: int | None = None,
        window: int | None = None,
        on_error: OnError = "raise",
        max_errors: float | None = None,
        **iterables: Any,
    ) -> MappedResult[Any]:
        """Declare one call for each item: `f.map(x=[1, 2], y=[3, 4])` calls f(x=1, y=3) and f(x=2, y=4).

        What a `partial` has fixed is added to each call.

        Args:
            concurrency: how many calls may run at once; by default all.
            window: how many items may have been read and not be done; it holds for inputs without a length (such as
                generators), and for all if it is given. By default twice the concurrency, or 1,000.
            on_error: "raise": the first item that fails fails the map. "collect": a `cs.Failed` takes the place of
                a failed item. "skip": it is left out, so there are fewer results than items.
            max_errors: how many items may fail before the map does, or a share of them (a float below 1).
            iterables: for each parameter an iterable, a lazy result of one, or an async iterable.
            named: iterables by name in a dict, for parameters that are called as one of these options.

        Raises:
            TypeError: a scalar or a str is given; `partial` is for values that stay the same.
            ValueError: the inputs differ in length, or an option makes no sense.
        """
        task, fixed = self._fixed()
        if unnamed:
            raise without_names(task, "map", (named, *unnamed), fixed)
        if named is not None:
            iterables = {**named_from(task, named, iterables, fixed), **iterables}
        options = (concurrency, window, errors_from(task.name, on_error, max_errors))
        return declare_map(task, fixed, iterables, options, _frame(1))


def by_name(partial: F) -> F:
    """Have `partial` say how to give by name what it is given by position."""

    @wraps(partial)
    def explained(self: Any, /, *unnamed: Any, **values: Any) -> Any:
        if unnamed:
            task, fixed = self._fixed()
            raise without_names(task, "partial", unnamed, {**fixed, **values})
        return partial(self, **values)

    return explained  # type: ignore[return-value]


class Partial(Mappable[R]):
    """A task with some arguments fixed, to be mapped over others; `task.partial` makes one."""

    __slots__ = ("task", "values")

    def __init__(self, task: Any, values: dict[str, Any]) -> None:
        self.task: Any = task
        self.values: dict[str, Any] = values
        for name, value in values.items():
            check_name(task, name, value)
            task._check(value)

    def _fixed(self) -> tuple[Any, dict[str, Any]]:
        return self.task, self.values

    @by_name
    def partial(self, /, **values: Any) -> Partial[R]:
        """Fix more arguments."""
        return Partial(self.task, {**self.values, **values})

    def __call__(self, /, *args: Any, **kwargs: Any) -> LazyResult[R]:
        """Declare one call with the fixed arguments added."""
        lazy: LazyResult[R] = self.task(*args, **{**self.values, **kwargs})
        place(lazy, _frame(1))
        return lazy


def named_from(task: Any, named: Any, others: dict[str, Any], fixed: dict[str, Any]) -> Mapping[str, Any]:
    """Return the iterables that a map was given in a dict. Raises TypeError if it is none, or has what others has."""
    if not isinstance(named, Mapping):
        raise without_names(task, "map", (named,), {**others, **fixed})
    twice = ", ".join(sorted(named.keys() & others.keys()))
    if twice:
        raise TypeError(f"map of {task.name!r} ({task.declared}) is given {twice} twice: in a dict and by keyword")
    return named


def without_names(task: Any, method: str, values: tuple[Any, ...], others: Collection[str]) -> TypeError:
    """Return the error for arguments of `map` or `partial` that were given by position."""
    names = ["x"]
    if task.shape is not None:
        names = [name for name in (*task.shape.names[task.shape.only :], *task.shape.keywords) if name not in others]
    if task.receiver is not None:
        names = names[1:]
    texts = [text if len(text) <= MOST_SHOWN else "..." for text in map(repr, values)]
    line = ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=False)) or "x=..."
    what = "its iterables" if method == "map" else "what stays the same"
    return TypeError(
        f"{method} of {task.name!r} ({task.declared}) takes {what} by name: {task.name}.{method}({line}); "
        f"it was given {', '.join(texts)} without one"
    )


def check_name(task: Any, name: str, value: Any) -> None:
    """Raise TypeError if the task has no such parameter."""
    shape = task.shape
    if shape is not None and not shape.accepts(name):
        from difflib import get_close_matches

        known = ", ".join((*shape.names[shape.only :], *shape.keywords)) or "none"
        near = get_close_matches(name, [*shape.names[shape.only :], *shape.keywords], 1)
        hint = f"; did you mean {near[0]!r}?" if near else hint_for_option("map", name, value, ())
        raise TypeError(f"task {task.name!r} ({task.declared}) has no parameter {name!r}{hint}; it has: {known}")


def hint_for(task: Any, option: str) -> str:
    """Say how to give iterables to a parameter that is called as an option of maps, if the task has one."""
    shape = task.shape
    if shape is None or (option not in shape.positions and option not in shape.keywords):
        return ""
    return f"; to the parameter of this name items go in a dict: {task.name}.map({{{option!r}: [...]}})"


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
            raise ValueError(f"map of {task.name!r}: {option} is 1 or more, not {amount!r}{hint_for(task, option)}")
    if not iterables:
        raise TypeError(f"map of {task.name!r} ({task.declared}) needs at least one iterable: {task.name}.map(x=[...])")
    lengths = {}
    for name, value in iterables.items():
        check_name(task, name, value)
        if not isinstance(value, Lazy):
            check_iterable(task, name, value)
            check_argument(value, f"map of {task.name!r} ({task.declared}): {name}=")
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
        lazy.config = METHOD
    return lazy
