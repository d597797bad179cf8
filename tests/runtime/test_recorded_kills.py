"""Processes that record a run in a file and are killed by SIGKILL, at random moments and in the midst of a commit.

`CASCADE_KILLS=300 pytest tests/runtime/test_recorded_kills.py` kills longer.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.state import SqliteBackend
from cascade.adapters.state.codec import decode
from cascade.providers.shell import ShellResult
from tests.helpers import ROOT
from tests.workflows import AGAIN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads its log by /proc, and kills by signals")

KILLS = int(os.environ.get("CASCADE_KILLS", "0")) or (8 if AGAIN else 24)
SEED = int(os.environ.get("CASCADE_SEED", "0"))


class Starter:
    """The process that forks those that are killed."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-W", "error", "-m", "tests.runtime.kills"]
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )

    def start(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    starter = Starter()
    yield starter
    starter.close()


def lines_of(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def names_in(value: Any) -> Iterator[str]:
    """Give who has computed a recorded value, and the entries of the loops that it has gone through."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from each if key == "by" else names_in(each)
    elif isinstance(value, (list, tuple)):
        if value and all(isinstance(each, str) and "@" in each for each in value):
            yield from value
        for each in value:
            yield from names_in(each)
    elif isinstance(value, ShellResult):
        yield value.stdout.strip()


def recorded(store: Path) -> set[str]:
    """Return the names of the bodies whose values are committed."""
    if not store.exists():
        return set()
    backend = SqliteBackend(store)
    backend.open()
    try:
        kept = [step for step in backend.steps("r") if step.kind in ("value", "loop")]
        return {name for step in kept for name in names_in(decode(step.value))}
    finally:
        backend.close()


def check_log(lines: list[str], plain: Counter[str], kills: int, where: str) -> None:
    """Check that nothing was called more often than once, and once more for each kill."""
    for line, count in Counter(lines).items():
        what, name = line.split()
        if what != "end" and "-" not in name:  # a name that has its process in it is another one in each start
            assert count <= plain[line] + kills, (where, line, count)


@pytest.mark.parametrize("what", ["in one process", "with worker processes and commands", "with channels"])
def test_what_is_killed_goes_on_to_the_same_end(starter: Starter, tmp_path: Path, what: str) -> None:
    apart, talks = what == "with worker processes and commands", what == "with channels"
    if apart:
        pytest.importorskip("loky")
    kills, seed, moments = 0, SEED, random.Random(SEED)
    while kills < (KILLS // 4 if apart else KILLS // 2 if talks else KILLS):
        seed += 1
        log = tmp_path / f"{seed}.plain"
        kind = {"seed": seed, "apart": apart, "talks": talks}
        plain = starter.start(**kind, store=None, log=str(log), durability="group")
        assert "value" in plain, (seed, plain)
        usual, once = plain["seconds"], Counter(lines_of(log))
        log, store = tmp_path / f"{seed}.log", tmp_path / "kept" / f"{seed}.db"
        durability = moments.choice(["group", "each"])
        order = {**kind, "store": str(store), "log": str(log), "durability": durability}
        died, ended, history = 0, dict[str, Any](), []
        for _ in range(moments.randint(2, 5)):
            way: dict[str, Any] = {"after": moments.uniform(0, 1.5 * usual)}
            if moments.random() < 0.6:
                way = {"at": moments.randint(1, 20 + sum(once.values()))}
            elif plain["messages"]:
                way["sends"] = [[moments.uniform(0, way["after"]), moments.randint(0, plain["messages"])]]
            committed, before = recorded(store), len(lines_of(log))
            ended = starter.start(**order, **way)
            history.append(way)
            where = f"program {seed}, {order['durability']}, killed {history}"
            since = {line.split()[1] for line in lines_of(log)[before:]}
            assert not committed & since, (where, "called again", committed & since)
            died += ended["killed"]
            if not ended["killed"]:
                break
        if ended["killed"]:
            committed, before = recorded(store), len(lines_of(log))
            ended = starter.start(**order)
            since = {line.split()[1] for line in lines_of(log)[before:]}
            assert not committed & since, (where, "called again", committed & since)
        assert ended.get("value") == plain["value"], (where, ended, plain)
        check_log(lines_of(log), once, died, where)
        kills += died
