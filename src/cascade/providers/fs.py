"""Looking at the file system: `cs.fs.exists(path)`."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from cascade.spec.task import task

__all__ = ["exists"]


@task(name="fs.exists", mode="blocking")
def exists(path: str | PathLike[str]) -> bool:
    """Say whether there is a file or directory of this path; a link to nowhere is none."""
    return Path(path).exists()
