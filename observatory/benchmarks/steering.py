"""The row about steering: how long after another process has asked for a pause the last call starts."""

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from statistics import median
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, figure, row

PAUSES = 11
GAP = 0.3
"""Seconds between a pause and its end, and until the next one; of many waiting tasks more, as each is put in line."""
WAITING = 100_000
MOST = 50.0
"""Milliseconds."""
CLIENT = """
import json, sys, time
from cascade.adapters.doors.client import Asker, doors
while not (found := doors()):
    time.sleep(0.01)
told = []
for _ in range(int(sys.argv[1])):
    time.sleep(float(sys.argv[2]))
    begun = time.perf_counter()
    with Asker(found[0]) as asker:
        asker.ask("pause")
        answered = time.perf_counter()
        time.sleep(float(sys.argv[2]))
        asker.ask("resume")
    told.append([begun, answered])
print(json.dumps(told))
"""
"""Its clock is that of this process, too: the one of the system that only goes on."""

starts: list[float] = []


@cs.task
def spin(n: int) -> Any:
    starts.append(time.perf_counter())
    return cs.Jump("again", n + 1)


@cs.task
async def nap(x: int) -> int:
    starts.append(time.perf_counter())
    await asyncio.sleep(0.001)
    return x


def target_of(kind: str, engine: cs.Engine) -> Any:
    if kind == "loop":
        step = spin(0)
        return cs.bind(step, cs.select_jump({"again": step}))
    if kind == "map":
        return nap.map(x=iter(int, 1), concurrency=100)
    engine.set_limit("task:nap", concurrency=4)
    return [nap(x) for x in range(WAITING)]


async def measured(kind: str) -> tuple[list[float], list[float]]:
    """Return how long after each pause was asked for the last call began, and the answer came, in milliseconds."""
    starts.clear()
    with tempfile.TemporaryDirectory(prefix="cs-") as os.environ["XDG_RUNTIME_DIR"]:
        async with cs.Engine(control=True) as engine:
            run = engine.start(target_of(kind, engine))
            while len(starts) < 10:
                await asyncio.sleep(0.01)
            command = (sys.executable, "-c", CLIENT, str(PAUSES), str(GAP if kind != "wait" else 4 * GAP))
            client = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            told, _ = await client.communicate()
            run.cancel()
            await asyncio.wait({asyncio.ensure_future(_ended(run))})
    last, answered = [], []
    for begun, heard in json.loads(told):
        behind = [at for at in starts if begun <= at < begun + GAP]
        assert any(begun - 0.1 <= at < begun for at in starts), "nothing had started before"
        last.append(1e3 * (max(behind, default=begun) - begun))
        answered.append(1e3 * (heard - begun))
    return last, answered


async def _ended(run: Any) -> None:
    with suppress(asyncio.CancelledError):
        await run


@row("steering", processes=1)
async def steering() -> list[Line]:
    """A pause that another process asks for at the door of an engine, until the last call that starts."""
    lines = []
    for kind, name in (("loop", "a hot loop"), ("map", "a map of async tasks"), ("wait", f"{WAITING:,} waiting tasks")):
        last, answered = await measured(kind)
        lines.append(figure(f"pause to last start, {name}", median(last), "ms", most=MOST))
        lines.append(figure(f"the same, the worst of {PAUSES}, {name}", max(last), "ms"))
        lines.append(figure(f"pause to the answer, {name}", median(answered), "ms"))
    return lines
