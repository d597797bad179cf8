"""Reading files: `cs.read.text(path)`, `cs.read.bytes(path)`."""

from __future__ import annotations

import builtins
from os import PathLike
from pathlib import Path

from cascade.spec.task import task

__all__ = ["bytes", "text"]


@task(name="read.text", mode="blocking")
def text(path: str | PathLike[str], encoding: str = "utf-8") -> str:
    """Return what a file holds, as text; line ends are read as they stand.

    Raises:
        OSError: it is not there, or may not be read (FileNotFoundError, PermissionError, ...).
        UnicodeDecodeError: it is not in this encoding.
    """
    with open(path, encoding=encoding, newline="") as file:
        return file.read()


@task(name="read.bytes", mode="blocking")
def bytes(path: str | PathLike[str]) -> builtins.bytes:
    """Return what a file holds. Raises OSError (FileNotFoundError, PermissionError, ...)."""
    return Path(path).read_bytes()
