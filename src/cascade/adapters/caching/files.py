"""A file that is there is the value of the task that writes it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from cascade.spec.control import Value
from cascade.spec.protocols import CallNode

__all__ = ["FileExistenceCache"]

Place = str | os.PathLike[str]


class FileExistenceCache:
    """A policy for a task that writes a file: while the file is there, its path is the value, and nothing runs.

    Args:
        path: the file, a str or a `pathlib.Path`; or a function that returns it, which is called with the arguments of
            the task by name: `FileExistenceCache(lambda year: f"report-{year}.csv")`. One whose parameter is called
            `inputs` gets a dict of all of them. Readers get the path as it is given here.
    """

    def __init__(self, path: Place | Callable[..., Place]) -> None:
        if not isinstance(path, (str, os.PathLike)) and not callable(path):
            raise TypeError(
                f"FileExistenceCache takes the path of a file, or a function of the task's arguments, not {path!r}"
            )
        self.path: Place | Callable[..., Place] = path

    async def check(self, node: CallNode, inputs: dict[str, Any]) -> Any:
        """Return the path if a file is there."""
        path = self.path if isinstance(self.path, (str, os.PathLike)) else _made(self.path, inputs)
        return Value(path) if os.path.isfile(path) else None

    async def save(self, node: CallNode, inputs: dict[str, Any], value: Any) -> None:
        """Keep nothing: the file is what is kept."""

    def __repr__(self) -> str:
        path = os.fspath(self.path) if isinstance(self.path, os.PathLike) else self.path
        return f"FileExistenceCache({path!r})"


def _made(function: Callable[..., Place], inputs: dict[str, Any]) -> Place:
    """Return the path for the arguments of a call."""
    from inspect import signature

    if "inputs" in signature(function).parameters and "inputs" not in inputs:
        path = function(inputs=inputs)
    else:
        names = [*inputs]
        further = [at for at, name in enumerate(names) if name[:1] == "*" and name[:2] != "**"]
        placed = further[-1] + 1 if further else 0  # those by position come first
        named = {name.lstrip("*"): inputs[name] for name in names[placed:]}
        path = function(*(inputs[name] for name in names[:placed]), **named)
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"the function of a FileExistenceCache returned {path!r}, which is no path")
    return path
