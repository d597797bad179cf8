"""The rows about stores that machines share: recorded steps in PostgreSQL, and two servers against one."""

import asyncio
import contextlib
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, figure, pairs, row, speed
from observatory.benchmarks.queues import server_of
from tests.providers.postgres import postgres, program

STEPS = 20_000
GROUP = 1000
"""So many rows psycopg writes in one transaction."""
RUNS = 200
SLOTS = 4
FLOW = """
import asyncio

import cascade as cs


@cs.task
async def wait(n: int) -> int:
    await asyncio.sleep(0.005)
    return n


noted = wait(cs.Param("n", type=int))
for _ in range(9):
    noted = wait(noted)
"""
"""Ten tasks one after the other, each of which waits for 5 ms."""
START = 20.0
"""So many seconds after the servers have begun all runs are due: they are enqueued by then, and the servers rest."""
TABLE = (
    "CREATE TABLE raw (run bigint, digest bytea, number bigint GENERATED ALWAYS AS IDENTITY, key text, entry bigint, "
    "kind text, value bytea, task_id text, attempt bigint, started float8, ended float8, error text, preview text, "
    "PRIMARY KEY (run, digest))"
)
INSERT = (
    "INSERT INTO raw (run, digest, key, entry, kind, value, task_id, attempt, started, ended, error, preview) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


@cs.task
def add(x: int) -> int:
    return x + 1


@cs.task
def total(values: list[int]) -> int:
    return sum(values)


def written(db: Any, turn: int) -> float:
    """Write rows like those of steps by hand; return the seconds."""
    start = time.perf_counter()
    for first in range(0, STEPS, GROUP):
        rows = [
            (turn, b"%016d" % n, f"1[{n}]", -1, "value", b"j1%d" % n, f"add#1[{n}]", 1, 1.0, 2.0, "", str(n))
            for n in range(first, first + GROUP)
        ]
        with db.transaction(), db.cursor() as cursor:
            cursor.executemany(INSERT, rows)
    return time.perf_counter() - start


@row("recorded-postgres", processes=1)
async def recorded_postgres() -> list[Line]:
    """A map of short calls, each a recorded step, in groups, beside `executemany` of rows that are the same."""
    if program("initdb") is None:
        return []
    import psycopg

    with postgres() as url, psycopg.connect(url, autocommit=True) as db:
        db.execute(TABLE)
        turns = iter(range(1, 1000))
        async with cs.Engine(state_backend=url) as engine:
            target = total(add.map(x=list(range(STEPS))))

            async def ours() -> float:
                start = time.perf_counter()
                assert await engine.run(target) == sum(range(1, STEPS + 1))
                return time.perf_counter() - start

            found = await pairs(ours, lambda: written(db, next(turns)), 5)
    line = speed("PostgreSQL, group, beside executemany", found, STEPS, "us a step", least=0.4)
    return [line, figure("steps a second", 1e6 / line.ours, "steps/s", least=20_000)]


async def served(url: str, servers: int) -> float:
    """Return how long so many servers take for the runs, from when they are due to the end of the last."""
    with contextlib.ExitStack() as stack:
        for _ in range(servers):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cs-")))
            stack.enter_context(server_of(folder, url, FLOW, "--slots", str(SLOTS)))
        due = datetime.now(UTC) + timedelta(seconds=START)
        async with cs.Engine(state_backend=url) as engine:
            for n in range(RUNS):
                await engine.enqueue("flows.py:noted", {"n": n}, run_id=f"{servers}-{n}", not_before=due)
            assert datetime.now(UTC) < due, "it took too long to enqueue them"
            while len(ended := await engine.runs(status="Succeeded")) < RUNS:
                await asyncio.sleep(0.05)
    return max(each.updated for each in ended) - due.timestamp()


@row("servers", processes=1)
async def servers() -> list[Line]:
    """Runs of tasks that wait for 5 ms, carried out by two servers of one PostgreSQL, against one server."""
    if program("initdb") is None:
        return []
    taken = []
    for count in (1, 2):
        with postgres() as url:
            taken.append(await served(url, count))
    return [
        figure("one server", RUNS / taken[0], "runs/s"),
        figure("two servers", RUNS / taken[1], "runs/s"),
        figure("two servers against one", taken[0] / taken[1], "times", least=1.7),
    ]
