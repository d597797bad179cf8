"""The rows about queues: how long after a run is enqueued, or due, its task starts in a server of another process."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from statistics import median

import cascade as cs
from cascade.adapters.state.codec import encode
from cascade.adapters.state.owner import this_process
from cascade.adapters.state.urls import backend_from
from cascade.spec.state import Commit, RunRecord
from observatory.benchmarks.harness import Line, figure, row
from tests.providers.postgres import postgres, program

RUNS = 51
GAP = 0.05
"""Seconds between two runs: the server rests by then."""
MOST = 20.0
"""Milliseconds."""
PARKED = 100_000
AT_ONCE = 1000
SOON = 6.0
"""So many seconds after the last was parked one is due; the server begins meanwhile."""
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
def server_of(folder: Path, url: str, flow: str = FLOW, *options: str) -> Iterator[None]:
    (folder / "flows.py").write_text(flow)
    command = [sys.executable, "-m", "cascade", "serve", "flows.py", "--state", url, *options]
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


def park(url: str, count: int, soon: float) -> float:
    """Have so many runs parked for ever, and one for a few seconds; return when that is due, in seconds since 1970."""
    store = backend_from(url, "url")
    store.open()
    owner = this_process()
    params = encode({"params": {"n": 1}, "variables": {}, "start": "", "ran": 0.0})
    due = 0.0
    for first in range(0, count, AT_ONCE):
        commits = []
        for n in range(first, min(first + AT_ONCE, count)):
            record = RunRecord(f"run {n}", "Running", "flows.py:noted", params, b"", 1.0, 1.0, owner=owner)
            store.create(record._replace(queue="default"))
            due = store.now() + soon if n == count - 1 else inf if n % 2 else store.now() + 86_400
            commits.append(Commit(record.run_id, 1, 1, status="Parked", due=due))
        store.commit(commits)
    store.close()
    return due


async def until_started(url: str) -> float:
    """Return how long after it was due the next one of many parked runs started, in seconds."""
    with tempfile.TemporaryDirectory(prefix="cs-") as name:
        due = park(url, PARKED, SOON)
        with server_of(Path(name), url):
            late = due - time.time()
            assert late > 0, "the server began too late to tell"
            async with cs.Engine(state_backend=url) as engine:
                while not (ended := await engine.runs(status="Succeeded")):
                    await asyncio.sleep(0.05)
                (step,) = [each for each in await engine.history(ended[0].run_id) if each.kind == "value"]
        return step.started - due


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


@row("parked", processes=1)
async def parked() -> list[Line]:
    """From the time of the next one of 100,000 parked runs until its task starts in a resting server."""
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        lines = [figure("due to start, SQLite", await until_started(f"sqlite:///{folder}/runs.db"), "s", most=1.0)]
    if program("initdb") is not None:
        with postgres() as url:
            lines.append(figure("due to start, PostgreSQL", await until_started(url), "s", most=1.0))
    return lines
