"""Context managers out of generators that leave the exceptions of others as they are.

Those of `contextlib` set the traceback of what passes through them, which not every class of exceptions allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ContextDecorator
from functools import wraps
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

__all__ = ["contextmanager"]

P = ParamSpec("P")
_set_traceback: Any = BaseException.__dict__["__traceback__"].__set__
T = TypeVar("T")


class _Context(AbstractContextManager[T], ContextDecorator, Generic[T]):
    def __init__(self, make: Callable[[], Iterator[T]]) -> None:
        self._make = make
        self._steps: Any = None

    def _recreate_cm(self) -> _Context[T]:
        return _Context(self._make)

    def __enter__(self) -> T:
        self._steps = self._make()
        value: T = next(self._steps)
        return value

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            next(self._steps, None)
            return
        try:
            self._steps.throw(error)
        except BaseException as raised:
            is_same = raised is error or (isinstance(error, StopIteration) and raised.__cause__ is error)
            if not is_same:
                raise
            _set_traceback(error, trace)


def contextmanager(steps: Callable[P, Iterator[T]]) -> Callable[P, _Context[T]]:
    """Make a context manager of a generator that yields once and lets pass what is raised there."""

    @wraps(steps)
    def make(*args: P.args, **kwargs: P.kwargs) -> _Context[T]:
        return _Context(lambda: steps(*args, **kwargs))

    return make
