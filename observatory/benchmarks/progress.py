"""The row about progress: the heavy loop with a live display of how far it is, against the same without."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import cascade as cs
from observatory.benchmarks import tco_performance as tco
from observatory.benchmarks.harness import Line, pairs, row, wall_time

N = 700_000
"""So that a run lasts long enough to be shown live, and a pair no longer than it must: the longer, the less both have
of the same phase of the machine."""


class Terminal(io.StringIO):
    """What a display takes for a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def on_terminal() -> Iterator[Terminal]:
    known, kind = sys.stderr, os.environ.get("TERM")
    terminal = sys.stderr = Terminal()
    os.environ["TERM"] = "xterm"
    try:
        yield terminal
    finally:
        sys.stderr = known
        if kind is None:
            del os.environ["TERM"]
        else:
            os.environ["TERM"] = kind


@row("progress")
async def heavy_with_progress() -> list[Line]:
    """22 calls an iteration, `cs.run` at INFO on a terminal, against SILENT."""
    target = tco.heavy_loop(N)

    def shown() -> float:
        with on_terminal() as terminal:
            start = perf_counter()
            assert cs.run(target) == "done"
            taken = perf_counter() - start
        assert "heavy_step#1" in terminal.getvalue(), "the run was too short to be shown live"
        return taken

    def silent() -> float:
        start = perf_counter()
        assert cs.run(target, log_level="SILENT") == "done"
        return perf_counter() - start

    return [wall_time("heavy loop with progress, to without", await pairs(shown, silent, 21), "ms", 1.05)]
