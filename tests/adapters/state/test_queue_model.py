"""Queues against an independent model: the same runs are given to the same servers after each of many random changes.

`CASCADE_QUEUE_SEQUENCES=10000` runs all sequences; by default a part of them. A failing seed runs alone by
`CASCADE_QUEUE_SEED`.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.state.memory import MemoryBackend
from cascade.adapters.state.owner import this_process
from cascade.adapters.state.postgres import PostgresBackend
from cascade.adapters.state.redis import RedisBackend
from cascade.adapters.state.sqlite import SqliteBackend
from cascade.errors import RunBusyError
from cascade.spec.state import Commit, Owner, RunRecord, StateBackend, Wanted
from tests.adapters.state.queue_model import ENDS, Model, Run, Server
from tests.adapters.state.runs import ELSEWHERE
from tests.providers.postgres import Server as Database
from tests.providers.postgres import program
from tests.providers.redis import Server as RedisServer

SEQUENCES = int(os.environ.get("CASCADE_QUEUE_SEQUENCES", "400"))
STEPS = 30
OURS = this_process()
OWNERS: dict[str, Owner] = {"here": OURS, "far": ELSEWHERE, "dead": OURS._replace(began="long ago")}
"""Two servers that are alive, and one that is gone whatever it says."""
TARGETS = ("a.py:main", "b.py:main")


class Sequence:
    """One random sequence of changes, made to a store and to the model."""

    def __init__(self, seed: int, store: StateBackend) -> None:
        self.random, self.store, self.number = random.Random(seed), store, 0
        self.prefix = f"{seed}-"  # a database keeps those of all sequences
        self.queue = f"queue {seed}"
        self.targets = tuple(f"{self.prefix}{each}" for each in TARGETS)
        served = {"here": self.targets, "far": self.targets[:1], "dead": self.targets}
        self.servers = {name: Server(name, name != "dead", served[name]) for name in OWNERS}
        self.model = Model(self.queue, self.servers)
        self.log: list[str] = []

    def enqueue(self) -> None:
        self.number += 1
        known = [run.run_id for run in self.model.runs if run.target]  # what has no name is not enqueued
        run_id = self.random.choice(known) if known and self.random.random() < 0.3 else f"{self.prefix}{self.number}"
        old = self.model.find(run_id)
        target = old.target if old else self.random.choice(self.targets)
        is_due, dedupe = self.random.random() < 0.8, self.random.choice((None, None, "x", "y"))
        new = Run(run_id, target, self.queue, self.random.choice((0, 0, 1, -1)), is_due, dedupe)
        due = self.random.choice((0.0, self.store.now() - 5)) if is_due else self.store.now() + 1e6
        record = RunRecord(run_id, "Enqueued", target, b"p", b"", 1.0, 1.0, queue=self.queue, due=due)
        self.log.append(f"enqueue {new}")
        found = self.store.enqueue(record._replace(priority=new.priority), dedupe)
        assert found.run_id == self.model.enqueue(new).run_id, self.log

    def begin_alone(self) -> None:
        """Start a run by its own program, which is gone, or hands it back."""
        self.number += 1
        run = Run(f"{self.prefix}{self.number}", self.random.choice((*self.targets, "")), "", status="Running", epoch=1)
        record = RunRecord(run.run_id, "Running", run.target, b"p", b"g", 1.0, 1.0, owner=OWNERS["dead"])
        self.log.append(f"begin {run}")
        self.store.create(record)
        if self.random.random() < 0.5:
            self.store.commit([Commit(run.run_id, 1, 1, released=True)])
        else:
            run.owner = "dead"
        self.model.runs.append(run)

    def claim(self) -> None:
        server = self.random.choice([*self.servers.values()])
        most, concurrency = self.random.choice((0, 1, 2, 5)), self.random.choice((None, None, 1, 3))
        is_thorough = self.random.random() < 0.4
        wanted = Wanted(self.queue, server.targets, OWNERS[server.name], most, concurrency, server.held, is_thorough)
        self.log.append(f"claim {server.name} {most} {concurrency} {is_thorough}")
        claimed = self.store.claim(wanted)
        expected = self.model.claim(server, most, concurrency, is_thorough)
        assert [each.run_id for each in claimed.runs] == [each.run_id for each in expected], self.log
        later = [run for run in self.model.runs if not run.is_due and not run.owner and run.status not in ENDS]
        later = [run for run in later if run.target in server.targets and run.queue]
        assert (claimed.wait is None) is (not later), self.log
        if self.random.random() < 0.9:  # else the answer is lost
            server.held |= {each.run_id for each in claimed.runs}

    def take(self) -> None:
        if not self.model.runs:
            return
        run, name = self.random.choice(self.model.runs), self.random.choice([*OWNERS])
        is_busy = run.status == "Running" and run.owner in ("here", "far")
        self.log.append(f"take {run.run_id} {name}")
        try:
            self.store.take(run.run_id, run.epoch, OWNERS[name], b"p", b"g")
        except RunBusyError:
            assert is_busy, self.log
        else:
            assert not is_busy, self.log
            was = run.status, run.owner
            self.model.take(run, name)
            run.takeovers += was[0] == "Running" and was[1] is not None
            run.takeovers *= was[0] not in ENDS
            self.servers[name].held.add(run.run_id)

    def end(self) -> None:
        going = [run for run in self.model.runs if run.status == "Running" and run.owner]
        if going:
            run = self.random.choice(going)
            status: Any = self.random.choice((*ENDS, None))
            self.log.append(f"end {run.run_id} {status}")
            end = Commit(run.run_id, run.epoch, 1, status=status, released=status is None)
            assert self.store.commit([end]) == []
            self.model.end(run, status)
            for server in self.servers.values():
                server.held.discard(run.run_id)

    def park(self) -> None:
        going = [run for run in self.model.runs if run.status == "Running" and run.owner]
        if going:
            run, is_due = self.random.choice(going), self.random.random() < 0.4
            self.log.append(f"park {run.run_id} {is_due}")
            due = self.store.now() + (-5 if is_due else 1e6)
            assert self.store.commit([Commit(run.run_id, run.epoch, 1, status="Parked", due=due)]) == []
            self.model.end(run, "Parked")
            run.is_due = is_due
            for server in self.servers.values():
                server.held.discard(run.run_id)

    def send(self) -> None:
        waiting = [run for run in self.model.runs if run.status not in ENDS]
        if waiting:
            run = self.random.choice(waiting)
            self.log.append(f"send {run.run_id}")
            self.store.send(run.run_id, "go", b"1", None)
            run.is_due |= run.status == "Parked"

    def check(self) -> None:
        for run in self.model.runs:
            found = self.store.find(run.run_id)
            assert found is not None
            owner = None if run.owner is None else OWNERS[run.owner]
            real = (found.status, found.owner, found.epoch, found.takeovers, found.queue, found.due <= self.store.now())
            assert real == (run.status, owner, run.epoch, run.takeovers, run.queue, run.is_due), (run, self.log)

    def go(self) -> None:
        for _ in range(STEPS):
            acts = [self.enqueue, self.enqueue, self.claim, self.claim, self.take, self.end, self.begin_alone]
            self.random.choice([*acts, self.park, self.send])()
            self.check()


def seeds(part: int = 1) -> range:
    """Return the seeds of a store that is this much slower than others."""
    if "CASCADE_QUEUE_SEED" in os.environ:
        seed = int(os.environ["CASCADE_QUEUE_SEED"])
        return range(seed, seed + 1)
    return range(SEQUENCES // part)


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Callable[[], StateBackend], range]]:
    if request.param == "memory":
        yield MemoryBackend, seeds()
        return
    if request.param == "sqlite":
        kept: StateBackend = SqliteBackend(tmp_path / "runs.db")
        kept.open()
        yield lambda: kept, seeds(8)
        kept.close()
        return
    if request.param == "redis":
        pytest.importorskip("redis")
        if shutil.which("redis-server") is None and os.environ.get("CASCADE_REQUIRE_ALL") != "1":
            pytest.skip("Redis is not installed (apt-get install redis-server)")
        server = RedisServer(appendfsync="no")
        try:
            server.start()
            kept = RedisBackend(server.url)
            kept.open()
            yield lambda: kept, seeds(20)
            kept.close()
        finally:
            server.remove()
        return
    if program("initdb") is None and os.environ.get("CASCADE_REQUIRE_ALL") != "1":
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    database = Database()
    try:
        database.start()
        kept = PostgresBackend(database.url)
        kept.open()
        yield lambda: kept, seeds(40)
        kept.close()
    finally:
        database.remove()


def test_a_queue_gives_what_the_model_gives(store: tuple[Callable[[], StateBackend], range]) -> None:
    make, numbers = store
    for seed in numbers:
        Sequence(seed, make()).go()
