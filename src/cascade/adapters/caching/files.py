"""A file that is there is the value of the task that writes it."""

from __future__ import annotations

import os
from typing import Any

from cascade.spec.control import Value
from cascade.spec.protocols import CallNode

__all__ = ["FileExistenceCache"]


class FileExistenceCache:
    """A policy for a task that writes a file: while the file is there, its path is the value, and nothing runs.

    Args:
        path: the file; readers get it as it is given here, a str or a `pathlib.Path`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"FileExistenceCache takes the path of a file, not {path!r}")
        self.path = path

    async def check(self, node: CallNode, inputs: dict[str, Any]) -> Any:
        """Return the path if a file is there."""
        return Value(self.path) if os.path.isfile(self.path) else None

    async def save(self, node: CallNode, inputs: dict[str, Any], value: Any) -> None:
        """Keep nothing: the file is what is kept."""

    def __repr__(self) -> str:
        return f"FileExistenceCache({os.fspath(self.path)!r})"
