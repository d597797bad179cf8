"""The row about queues: how long after a run is enqueued its first task starts, in a server of another process."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import cascade as cs
from observatory.benchmarks.harness import Line, figure, row
from tests.providers.postgres import postgres, program

RUNS = 51
GAP = 0.05
"""Seconds between two runs: the server rests by then."""
MOST = 20.0
"""Milliseconds."""
FLOW = """
import time
from pathlib import Path

import cascade as cs


@cs.task
def note(n: int) -> float:
    at = time.perf_counter()
    with open(Path(__file__).parent / "starts", "a") as file:
        file.write(f"{n} {at}\\n")
    return at


noted = note(cs.Param("n", type=int))
"""
"""Its clock is that of this process, too: the one of the system that only goes on."""


@contextmanager
def server_of(folder: Path, url: str) -> Iterator[None]:
    (folder / "flows.py").write_text(FLOW)
    command = [sys.executable, "-m", "cascade", "serve", "flows.py", "--state", url]
    place = folder / "told"
    with place.open("w") as told:
        server = subprocess.Popen(command, cwd=folder, stderr=told)
    try:
        while "serving" not in place.read_text():
            assert server.poll() is None, place.read_text()
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()


async def measured(url: str) -> tuple[list[float], list[float]]:
    """Return how long after each `enqueue` was called, and had returned, its task began, in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="cs-") as name, server_of(Path(name), url):
        begun, returned = [], []
        async with cs.Engine(state_backend=url) as engine:
            for n in range(RUNS):
                await asyncio.sleep(GAP)
                begun.append(time.perf_counter())
                await engine.enqueue("flows.py:noted", {"n": n})
                returned.append(time.perf_counter())
            while len(await engine.runs(status="Succeeded")) < RUNS:
                await asyncio.sleep(0.05)
        lines = [line.split() for line in Path(name, "starts").read_text().splitlines()]
    starts = {int(n): float(at) for n, at in lines}
    assert len(lines) == len(starts) == RUNS
    called = [1e3 * (starts[n] - at) for n, at in enumerate(begun)]
    return called, [1e3 * (starts[n] - at) for n, at in enumerate(returned)]


async def lines_of(name: str, url: str) -> list[Line]:
    called, returned = await measured(url)
    return [
        figure(f"enqueue to start, {name}", median(called), "ms", most=MOST),
        figure(f"the same, the worst of {RUNS}, {name}", max(called), "ms"),
        figure(f"from the return of enqueue to start, {name}", median(returned), "ms"),
    ]


@row("enqueue", processes=1)
async def enqueue() -> list[Line]:
    """A run from the call of `engine.enqueue` until its first task begins in a resting server of another process."""
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        lines = await lines_of("SQLite", f"sqlite:///{folder}/runs.db")
    if program("initdb") is not None:
        with postgres() as url:
            lines += await lines_of("PostgreSQL", url)
    return lines
