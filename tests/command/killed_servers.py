"""Servers of one store that are killed at random under a load that does not run dry; and what an outside log says then.

By hand, for five minutes, with a database that is started anew in the middle:

    .venv/bin/python -m tests.command.killed_servers --seconds 300 --servers 10
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import cascade as cs
from tests.providers.postgres import Server

STEPS = "abc"
FLOW = """
import asyncio
import os
from pathlib import Path

import cascade as cs

LOG = os.open(Path(__file__).parent / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def told(step: str, n: int) -> None:
    os.write(LOG, f"{step} {n}\\n".encode())


@cs.task(record=True)
def a(n: int) -> int:
    told("a", n)
    return n


@cs.task
async def b(n: int) -> int:
    told("b", n)
    await asyncio.sleep(n % 7 * 0.01)
    return n


@cs.task(record=True)
def c(n: int) -> int:
    told("c", n)
    return n


main = c(b(a(cs.Param("n", type=int))))
"""
WAITING = 60
"""So many runs wait in the queue all the time."""
PATIENCE = 120.0


class Found(NamedTuple):
    """What came of it."""

    runs: int
    kills: int
    repeated: int
    """Steps that were cut off and ran again."""


class Hunt:
    """Keeps servers going, kills some, and has them all have work."""

    def __init__(self, folder: Path, url: str, servers: int, seed: int) -> None:
        self.folder, self.url, self.count = folder, url, servers
        self.draw = random.Random(seed)
        self.kills = self.number = 0
        self.servers: list[subprocess.Popen[bytes]] = []
        (folder / "flows.py").write_text(FLOW)

    def start(self) -> None:
        options = ["--durability", "each", "--log-level", "ERROR", "--max-takeovers", "1000000", "--slots", "10"]
        command = [sys.executable, "-m", "cascade", "serve", "flows.py", "--state", self.url, *options]
        with (self.folder / "told").open("a") as told:
            self.servers.append(subprocess.Popen(command, cwd=self.folder, stderr=told))

    def keep(self) -> None:
        """Start those anew that have ended by themselves, as systemd does: they began while the database was away."""
        alive = [each for each in self.servers if each.poll() is None]
        ended, self.servers = len(self.servers) - len(alive), alive
        for _ in range(ended):
            self.start()

    def kill(self) -> None:
        server = self.servers.pop(self.draw.randrange(len(self.servers)))
        server.kill()
        server.wait()
        self.kills += 1

    def log(self) -> list[tuple[str, int]]:
        place = self.folder / "log"
        lines = place.read_text().splitlines() if place.exists() else []
        return [(line[0], int(line[2:])) for line in lines]

    async def fill(self, engine: cs.Engine) -> None:
        """Have so many runs wait."""
        waiting = len(await engine.runs(status="Enqueued"))
        for _ in range(max(0, WAITING - waiting)):
            await engine.enqueue("flows.py:main", {"n": self.number}, run_id=f"run-{self.number}")
            self.number += 1

    async def go(self, seconds: float, database: Server | None) -> Found:
        """Kill for so long, then let all end.

        Args:
            database: what is ended at once and started again in the middle.
        """
        for _ in range(self.count):
            self.start()
        began = time.monotonic()
        async with cs.Engine(state_backend=self.url) as engine:
            while (now := time.monotonic()) - began < seconds:
                await self.fill(engine)
                await asyncio.sleep(self.draw.random() * 0.5)
                if database is not None and now - began > seconds / 2:
                    database.end(signal.SIGQUIT)
                    database.start()
                    database = None
                self.keep()
                if {step for step, _ in self.log()} == {*STEPS}:  # they are at work
                    self.kill()
                    self.start()
            until = time.monotonic() + PATIENCE
            while any([await engine.runs(status=each) for each in ("Enqueued", "Running")]):
                assert time.monotonic() < until, (self.folder / "told").read_text()
                self.keep()
                await asyncio.sleep(0.1)
            return self.judged(await engine.runs())

    def judged(self, records: list[Any]) -> Found:
        """Check that each run was done, and that nothing ran again once what it gave was read."""
        assert Counter(each.status for each in records) == {"Succeeded": self.number}, "each is done, none is forgotten"
        lines = self.log()
        latest: dict[int, str] = {}
        for step, n in lines:
            assert step >= latest.get(n, "a"), f"step {step} of run {n} ran again behind step {latest[n]}"
            latest[n] = step
        assert latest == dict.fromkeys(range(self.number), "c")
        repeated = len(lines) - len(STEPS) * self.number
        assert 0 <= repeated <= self.kills * 10, "at most what a killed server had in hand runs again"
        return Found(self.number, self.kills, repeated)

    def end(self) -> None:
        for each in self.servers:
            each.kill()
            each.wait()


def hunt(seconds: float, servers: int, seed: int = 1, restarts: bool = True) -> Found:
    """Hunt on a PostgreSQL server of its own."""
    database = Server()
    try:
        database.start()
        with tempfile.TemporaryDirectory(prefix="cs-") as folder:
            hunted = Hunt(Path(folder), database.url, servers, seed)
            try:
                return asyncio.run(hunted.go(seconds, database if restarts else None))
            finally:
                hunted.end()
    finally:
        database.remove()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--servers", type=int, default=10)
    parser.add_argument("--seed", type=int, default=os.getpid())
    given = parser.parse_args()
    found = hunt(given.seconds, given.servers, given.seed)
    sys.stdout.write(f"{found.runs} runs, each done; {found.kills} kills, {found.repeated} steps ran again\n")
