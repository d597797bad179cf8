"""The standard streams of this process as the ends of a workflow."""

from __future__ import annotations

import sys

from cascade.spec.task import task

__all__ = ["prompt", "stdin", "stdout"]


@task(name="io.stdin", mode="blocking")
def stdin() -> str:
    """Read stdin to its end. A second call in a process finds nothing.

    Cancelled, the thread that reads is left behind: a read of a terminal or pipe cannot be broken off.
    """
    return sys.stdin.read()


@task(name="io.prompt", mode="blocking")
def prompt(question: str = "") -> str:
    """Ask a question on stderr and return the line that stdin answers, without its end.

    Live progress gives way meanwhile. Questions are asked one after the other. Cancelled, the thread that reads is left
    behind, as for `stdin`.

    Raises:
        EOFError: there is nobody to ask: the process has no stdin, or it is at its end.
    """
    from cascade.spec.terminal import alone

    with alone():
        if sys.stderr is not None:
            sys.stderr.write(question)
            sys.stderr.flush()
        line = "" if sys.stdin is None or sys.stdin.closed else sys.stdin.readline()
    if not line:
        raise EOFError(
            f"cs.io.prompt({question!r}) has nobody to ask: this process has no stdin, or it is at its end; "
            "where nobody sits, give the answer as a parameter (cs.Param)"
        )
    return line.rstrip("\r\n")


@task(name="io.stdout", mode="blocking")
def stdout(value: object, end: str = "\n") -> None:
    """Write `str(value)` and `end` to stdout, at once and flushed."""
    sys.stdout.write(f"{value}{end}")
    sys.stdout.flush()
