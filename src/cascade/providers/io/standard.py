"""The standard streams of this process as the ends of a workflow."""

from __future__ import annotations

import sys

from cascade.spec.task import task

__all__ = ["stdin", "stdout"]


@task(name="io.stdin", mode="blocking")
def stdin() -> str:
    """Read stdin to its end. A second call in a process finds nothing.

    Cancelled, the thread that reads is left behind: a read of a terminal or pipe cannot be broken off.
    """
    return sys.stdin.read()


@task(name="io.stdout", mode="blocking")
def stdout(value: object, end: str = "\n") -> None:
    """Write `str(value)` and `end` to stdout, at once and flushed."""
    sys.stdout.write(f"{value}{end}")
    sys.stdout.flush()
