"""Rows about runs that are recorded in a SQLite file, against rows that sqlite3 writes into the same folder."""

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, Pairs, calls, duration, figure, pace, pairs, row, speed, wall_time
from observatory.benchmarks.memory import resident

FOLDER = Path("build")
"""Where files are written: beside the sources, as a folder of temporary files may be one in memory."""
GROUP = 100
"""So many rows sqlite3 writes in one transaction, where steps are committed in groups."""


@cs.task
def add(x: int) -> int:
    return x + 1


@cs.task
def gather(values: list[int]) -> int:
    return sum(values)


def file_system() -> str:
    """Return the kind of file system that files are written to."""
    FOLDER.mkdir(exist_ok=True)
    place, best, kind = str(FOLDER.resolve()), "", "?"
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return kind
    for line in lines:
        _, point, found, *_ = line.split(" ")
        if (place + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, found
    return kind


class Raw:
    """A file of SQLite that rows are written to by hand."""

    def __init__(self, folder: str, synchronous: str) -> None:
        self.db = sqlite3.connect(os.path.join(folder, "raw.db"), isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(f"PRAGMA synchronous = {synchronous}")
        self.db.execute("CREATE TABLE steps (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
        self.turn = 0

    def write(self, count: int, group: int) -> float:
        """Write so many rows, each group in a transaction of its own; return the seconds."""
        self.turn += 1
        start = time.perf_counter()
        for at in range(0, count, group):
            rows = [(f"{self.turn}/{i}", b"%d" % i) for i in range(at, at + group)]
            self.db.execute("BEGIN IMMEDIATE")
            self.db.executemany("INSERT INTO steps VALUES (?, ?)", rows)
            self.db.execute("COMMIT")
        return time.perf_counter() - start


async def timed(engine: cs.Engine, target: Any, expected: Any, **how: Any) -> float:
    """Run a target under a name of its own; return the seconds."""
    start = time.perf_counter()
    result = await engine.run(target, **how)
    taken = time.perf_counter() - start
    assert result == expected
    return taken


def chain(length: int, first: Any = 0) -> Any:
    """Return a chain of so many steps."""
    for _ in range(length):
        first = add(first)
    return first


@row("recorded-each", processes=1)
async def each() -> list[Line]:
    """Chains whose every step is on the disk before the next one begins: one, and 100 side by side."""
    links, many, kind = 200, 100, file_system()
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        raw = Raw(folder, "FULL")
        one, side_by_side = chain(links), [chain(20, cs.Param(f"x{at}", default=0)) for at in range(many)]
        async with cs.Engine(state_backend=os.path.join(folder, "runs.db"), durability="each") as engine:
            found = await pairs(lambda: timed(engine, one, links), lambda: raw.write(links, 1), 7)
            expected = [20] * many
            beside = await pairs(lambda: timed(engine, side_by_side, expected), lambda: raw.write(links, 1), 5)
            assert await calls(engine.run(one), add.func) == [links]
    scaled = Pairs([taken * links / (20 * many) for taken in beside.ours], beside.baseline, beside.paces)
    return [
        speed(f'a chain, each step committed ("each", {kind})', found, links, "us a step", least=0.9),
        speed(f"100 chains side by side ({kind})", scaled, links, "us a step", least=5),
    ]


@row("recorded-group")
async def group() -> list[Line]:
    """Small steps that are committed in groups: the items of a map, a chain, and independent calls."""
    count, lines = 20_000, list[Line]()
    shapes: list[tuple[str, Any, Any]] = [
        ("the items of a map", add.map(x=list(range(count))), list(range(1, count + 1))),
        ("a chain", chain(count), count),
        ("calls that one reads", gather([add(at) for at in range(count)]), count * (count + 1) // 2),
    ]
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        raw = Raw(folder, "NORMAL")
        async with cs.Engine(state_backend=os.path.join(folder, "runs.db")) as engine:
            for name, target, expected in shapes:

                async def ours(target: Any = target, expected: Any = expected) -> float:
                    return await timed(engine, target, expected)

                found = await pairs(ours, lambda: raw.write(count, GROUP), 5)
                assert await calls(engine.run(target), add.func) == [count]
                lines.append(speed(f'recorded ("group"): {name}', found, count, "us a step", least=0.4))
    return lines


# --- a run that goes on

FAILING = {"fails": True}
moment = [0.0]


@cs.task
def last(values: list[int]) -> int:
    moment[0] = time.perf_counter()
    if FAILING["fails"]:
        raise ValueError
    return len(values)


@row("recorded-resume", processes=1)
async def resume() -> list[Line]:
    """A run with 100,000 recorded steps that goes on: until the first call that is not recorded."""
    count, taken, paces = 100_000, list[float](), list[float]()
    target = last(add.map(x=list(range(count))))
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        async with cs.Engine(state_backend=os.path.join(folder, "runs.db")) as engine:
            for _ in range(4):
                start = time.perf_counter()
                try:
                    await engine.run(target, run_id="one")
                except ValueError:
                    taken.append(moment[0] - start)
                    paces.append(pace())
    return [duration(f"{count:,} recorded steps, to the first new call", taken[1:], paces[1:], "s", 2)]


# --- loops


@cs.task
def turn(n: int) -> Any:
    return cs.Jump("exit", "done") if n <= 1 else cs.Jump("again", n - 1)


@cs.task
def turn_by_name(n: int, text: str) -> Any:
    return cs.Jump("exit", "done") if n <= 1 else cs.Jump("again", {"n": n - 1, "text": text})


def size_of(folder: str) -> int:
    return sum(os.stat(os.path.join(folder, name)).st_size for name in os.listdir(folder))


@row("recorded-loop", processes=1)
async def loop() -> list[Line]:
    """A loop of a million entries that record where it is, and one against the same without a store."""
    entries, step, state = 1_000_000, turn(1_000_000), turn_by_name(1_000_000, "x" * 1_000)
    looped = cs.bind(step, cs.select_jump({"again": step, "exit": None}))
    named = cs.bind(state, cs.select_jump({"again": state, "exit": None}), checkpoint="turn")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        async with cs.Engine(state_backend=os.path.join(folder, "runs.db")) as engine:
            taken = await timed(engine, looped, "done")
            size = size_of(folder)
        async with cs.Engine(state_backend=os.path.join(folder, "named.db")) as engine, cs.Engine() as plain:
            found = await pairs(lambda: timed(engine, named, "done"), lambda: timed(plain, named, "done"), 7)
    line = duration(f"a loop of {entries:,} recorded entries", [taken / entries], [pace()], "us an entry", 5)
    beside = f'... checkpoint="turn", an int and 1 kB of text, against no store ({entries:,} entries)'
    return [
        line,
        wall_time(beside, found, "s", most=1.1),
        figure("... the store and its log behind it", size / 1e6, "MB", most=10),
    ]


# --- runs that wait


@row("recorded-waiting", processes=1)
async def waiting() -> list[Line]:
    """A thousand recorded runs of one process that wait for a signal."""
    count, target = 1_000, cs.wait_signal("go")
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        async with cs.Engine(state_backend=os.path.join(folder, "runs.db")) as engine:

            async def waiting_for(names: Iterable[str]) -> dict[str, Any]:
                started = {name: engine.start(target, run_id=name) for name in names}
                await asyncio.sleep(3.0)  # until each has said to the store that it waits
                return started

            async def end(started: dict[str, Any]) -> None:
                for name in started:
                    await engine.signal(name, "go", 1)
                assert await asyncio.gather(*started.values()) == [1] * len(started)

            await end(await waiting_for(f"warm-{at}" for at in range(100)))
            before = resident()
            started = await waiting_for(f"run-{at}" for at in range(count))
            kept = (resident() - before) / count / 1e3
            await end(started)
    return [figure(f"each of {count:,} recorded runs that wait for a signal", kept, "kB", most=20)]
