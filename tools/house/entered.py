"""Which modules a plain run enters before its first task, seen by `sys.setprofile` in a process of its own.

Another flow has run before, so that nothing is imported any more. Declaring the flow and making the engine count.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROBE = """
import asyncio, json, os, sys

sys.path.insert(0, sys.argv[1])

import cascade as cs
from cascade.runtime.engine import Engine

HOME = os.path.dirname(cs.__file__)
assert os.path.samefile(HOME, os.path.join(sys.argv[1], "cascade")), HOME
files = []


def see(frame, event, argument):
    if event == "call" and frame.f_code.co_filename.startswith(HOME):
        files.append(os.path.relpath(frame.f_code.co_filename, HOME))


@cs.task
def one():
    sys.setprofile(None)
    return 1


@cs.task
def add(a, b):
    return a + b


def simple(target, look):
    look()
    return cs.run(target(), log_level="SILENT")


def by_engine(tier):
    async def run(target, look):
        look()
        async with Engine(tier=tier) as engine:
            return await engine.run(target())

    return lambda *given: asyncio.run(run(*given))


def plain():
    return add(one(), one())


def other():
    return add(one(), add(one(), one()))


def measure(run):
    assert run(other, lambda: None) == 3
    files.clear()
    assert run(plain, lambda: sys.setprofile(see)) == 2
    return sorted(set(files))


assert simple(plain, lambda: None) == 2
ways = {
    "cs.run": simple,
    "engine.run, interpreted": by_engine("interpret"),
    "engine.run, compiled": by_engine("compile"),
}
print(json.dumps({way: measure(run) for way, run in ways.items()}))
"""


def entered(src: Path) -> dict[str, list[str]] | str:
    """Give the files for each way to run, or what went wrong."""
    command = [sys.executable, "-P", "-W", "ignore", "-c", PROBE, str(src)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found
