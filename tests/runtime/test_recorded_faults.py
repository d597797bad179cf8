"""Stores that fail while runs are recorded: for a while, for long, slowly, or after they have done what was asked.

`CASCADE_FAULTS=1000 pytest tests/runtime/test_recorded_faults.py` draws more of them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend, SqliteBackend, patient, schema
from cascade.adapters.state.codec import decode
from cascade.adapters.state.owner import this_process
from cascade.adapters.state.patient import PATIENCE, PatientBackend
from cascade.errors import RunBusyError, StateError
from cascade.runtime import Engine
from cascade.runtime.journal import writer
from cascade.spec.state import LEASE, StateBackend
from tests.adapters.state.runs import ELSEWHERE, commit, run, step
from tests.runtime import kills
from tests.runtime.test_recorded_kills import names_in
from tests.workflows import AGAIN

FAULTS = int(os.environ.get("CASCADE_FAULTS", "0")) or (4 if AGAIN else 12)
SEED = int(os.environ.get("CASCADE_SEED", "0"))
loop: Any = None
ASKED = ("open", "find", "create", "take", "commit", "commit_now", "beat", "steps", "send", "signals", "runs", "forget")


class Clock:
    """A clock that only goes on while somebody waits for a store."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        time.sleep(0)


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    clock = Clock()
    for module in (patient, writer):
        monkeypatch.setattr(module, "monotonic", clock)
    monkeypatch.setattr(patient, "sleep", clock.sleep)
    monkeypatch.setattr(writer, "LOOK", 0.001)
    return clock


class Faulty:
    """A store that fails at some of its calls, for so long by a clock.

    Args:
        faults: what goes wrong at which call: "fails", "full", "slow", or "loses" for what is done and not answered;
            and for how many seconds.
    """

    def __init__(self, store: StateBackend, clock: Clock, faults: dict[int, tuple[str, float]]) -> None:
        self.store = store
        self.clock = clock
        self.faults = faults
        self.count = 0
        self.until = 0.0
        self.how = "works"

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if name not in ASKED:
            return found

        def asked(*args: Any) -> Any:
            self.count += 1
            how, seconds = self.faults.pop(self.count, ("", 0.0))
            if how:
                self.how, self.until = how, self.clock.now + seconds
            if self.clock.now >= self.until:
                self.how = "works"
            if self.how == "fails":
                raise OSError(errno.EIO, "the disk does not answer")
            if self.how == "full":
                raise sqlite3.OperationalError("database or disk is full")
            if self.how == "slow":
                self.clock.sleep(0.15)
            answer = found(*args)
            if self.how == "loses":
                list(answer or ()) if name == "steps" else None
                raise ConnectionError("the connection was lost")
            return answer

        return asked


@cs.task
def one() -> int:
    return 1


def start_one(store: Any) -> int:
    async def main() -> int:
        async with Engine(state_backend=store) as engine:
            return await engine.run(one(), run_id="r")

    return asyncio.run(main())


def drawn(random: random.Random, most: int) -> dict[int, tuple[str, float]]:
    """Return faults at some of the first calls of a store."""
    return {
        random.randint(1, most): (random.choice(["fails", "full", "slow", "loses"]), random.choice([0.005, 3, 60]))
        for _ in range(random.randint(1, 3))
    }


def kept(store: Any) -> Any:
    """Return what is known of the run, and which bodies its records tell of."""
    if isinstance(store, SqliteBackend):
        store = SqliteBackend(store.path)
    store.open()
    try:
        return store.find("r"), {name for each in store.steps("r") if each.kind in ("value", "loop")
                                 for name in names_in(decode(each.value))}  # fmt: skip
    finally:
        store.close()


def log_of(path: Path) -> list[str]:
    return [line.split()[1] for line in path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log"
    kills.log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    yield path
    os.close(kills.log)
    kills.log = -1


def handed_back(store: Any, where: str) -> Any:
    """Wait until a run has no owner, as who had to leave it hands it back; return what is recorded of it then."""
    end = time.monotonic() + 30
    while True:
        found = kept(store)
        if found[0] is None or found[0].owner is None:
            return found
        assert time.monotonic() < end, (where, found[0])
        time.sleep(0.001)


@pytest.mark.skipif(sys.platform != "linux", reason="its programs read their log by /proc")
def test_a_run_ends_right_or_can_be_carried_on(clock: Clock, log: Path, tmp_path: Path) -> None:
    given_up = 0
    for seed in range(SEED + 1, SEED + 1 + FAULTS):
        draw = random.Random(seed)
        plain = kills.start_here(seed, None)
        store: Any = MemoryBackend() if draw.random() < 0.7 else SqliteBackend(tmp_path / "kept" / f"{seed}.db")
        faulty = Faulty(store, clock, drawn(draw, 15))
        durability = draw.choice(["each", "group", "exit"])
        where = f"program {seed}, {durability}, {store!r}, {faulty.faults}"
        value: Any = None
        for _ in range(5):
            committed, before, began = kept(store)[1], len(log_of(log)), clock.now
            try:
                value = kills.start_here(seed, faulty, durability)
            except StateError as error:
                if "failed for 20 seconds" not in str(error):
                    raise
                assert PATIENCE - 2 < clock.now - began < LEASE, where
                given_up += 1
                clock.now = faulty.until + 1  # now it works
                record = handed_back(store, where)[0]
                assert record is None or record.status in ("Running", "Succeeded"), where
            since = set(log_of(log)[before:])
            assert not committed & since, (where, "called again", committed & since)
            if value is not None:
                break
        assert value == plain, where
        record = kept(store)[0]
        assert (record.status, record.owner) == ("Succeeded", None), where
    assert given_up or FAULTS < 12


@pytest.fixture(params=["fails", "full", "loses"])
def failing(request: Any, clock: Clock) -> Callable[[], Faulty]:
    """Return what makes a store, in memory, that fails each time it is asked, once."""
    return lambda: Faulty(MemoryBackend(), clock, dict.fromkeys(range(1, 100, 2), (request.param, 0.005)))


def test_whatever_a_store_is_asked_it_is_asked_again(failing: Callable[[], Faulty]) -> None:
    faulty = failing()
    store, mine = PatientBackend(faulty), this_process()
    store.open()
    assert store.create(run(owner=mine))
    assert not store.create(run()._replace(params=b"of another start"))
    assert store.commit([commit(1, step("a"))]) == []
    assert store.beat([("run", 1), ("other", 1)]) == ["other"]
    store.send("run", "go", b"1", None)
    store.send("run", "go", b"2", "id")
    assert [each.value for each in store.signals("run")] == [b"1", b"2"]
    assert store.commit([commit(2)._replace(released=True)]) == []
    found = store.take("run", 1, mine, b"of this start", b"")
    assert (found.epoch, found.takeovers, found.owner) == (2, 0, mine)
    with pytest.raises(RunBusyError, match="going on in this process"):
        store.take("run", 2, mine, b"of another start", b"")
    assert [each.run_id for each in store.runs()] == ["run"]
    assert [each.key for each in store.steps("run")] == ["a"]
    assert store.commit([commit(1, epoch=2)._replace(status="Failed")]) == []
    assert store.forget("run")
    assert not store.forget("run")
    assert faulty.count > 25


def test_what_is_locked_for_a_while_comes_out_right(tmp_path: Path, clock: Clock, monkeypatch: Any) -> None:
    """The file is locked before each question, and free when it is asked for the second time."""
    monkeypatch.setattr(schema, "PATIENCE", 0.0)
    path = tmp_path / "kept" / "runs.db"
    assert start_one(path)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def free(seconds: float) -> None:
        clock.sleep(seconds)
        if other.in_transaction:
            other.execute("ROLLBACK")

    def lock() -> None:
        if not other.in_transaction:  # who only reads does not wait for it
            other.execute("BEGIN EXCLUSIVE")

    monkeypatch.setattr(patient, "sleep", free)

    async def main() -> None:
        async with Engine(state_backend=path) as engine:
            lock()
            name = await engine.fork("r", at="one#1")
            lock()
            await engine.signal(name, "go", 1)
            lock()
            assert await engine.run(one(), run_id=name)
            lock()
            assert [each.run_id for each in await engine.runs()] == [name, "r"]
            lock()
            assert len(await engine.history(name)) == 1
            lock()
            assert await engine.forget(name)

    asyncio.run(main())
    other.close()


def test_nothing_new_starts_while_a_commit_is_outstanding(clock: Clock) -> None:
    begun: list[str] = []
    behind: Any = None
    engine: Any = None

    class Slow(MemoryBackend):
        def commit(self, commits: Any) -> list[str]:
            if any(each.key == "0" for one in commits for each in one.steps):
                clock.sleep(0.2)  # from here on it is behind
                behind.set()
                end = time.monotonic() + 30
                while not engine.recorder.writer._waiting:  # the run waits for it
                    assert time.monotonic() < end
                    time.sleep(0.001)
                assert begun == ["first", "while it is written"]
            return super().commit(commits)

    @cs.task
    async def body(name: str, *given: Any) -> str:
        begun.append(name)
        await asyncio.sleep(0)
        if name == "while it is written":
            await behind.wait()
        return name

    class Told(asyncio.Event):
        def set(self) -> None:
            loop.call_soon_threadsafe(super().set)

    async def main() -> None:
        global loop
        nonlocal behind, engine
        loop, behind = asyncio.get_running_loop(), Told()
        engine = Engine(state_backend=Slow())
        async with asyncio.timeout(60), engine:
            await engine.run(body("new", body("while it is written", body("first"))), run_id="r")

    asyncio.run(main())
    assert begun == ["first", "while it is written", "new"]


def test_a_start_that_is_cancelled_takes_nothing_from_who_has_the_run() -> None:
    """Another process takes the run while this one is about to, and nobody waits for this one any more."""
    starting: Any = None

    class Overtaken(MemoryBackend):
        def take(self, run_id: str, epoch: int, *given: Any) -> Any:
            super().take(run_id, epoch, ELSEWHERE, b"of another start", b"")
            loop.call_soon_threadsafe(starting.cancel)
            return super().take(run_id, epoch, *given)

    async def main() -> None:
        global loop
        nonlocal starting
        loop = asyncio.get_running_loop()
        async with Engine(state_backend=store) as engine:
            new = await engine.fork("r", at="one#1")
            starting = asyncio.ensure_future(engine.run(one(), run_id=new))
            with pytest.raises(asyncio.CancelledError):
                await starting
        record = store.find(new)
        assert record is not None
        assert (record.owner, record.epoch) == (ELSEWHERE, 2)

    store = Overtaken()
    start_one(store)
    asyncio.run(main())


def test_an_engine_that_is_closed_while_its_store_fails_hands_back_its_run_and_can_be_used_again(clock: Clock) -> None:
    faulty = Faulty(MemoryBackend(), clock, {4: ("fails", 1000)})  # its first commit
    engine = Engine(state_backend=faulty)

    async def close_twice() -> None:
        with pytest.raises(StateError, match="failed for 20 seconds"):
            await engine.run(one(), run_id="r")
        await engine.aclose()
        with pytest.raises(StateError, match="failed for 20 seconds"):
            await engine.run(one(), run_id="other")
        await engine.aclose()

    async def go_on() -> int:
        async with engine:
            return await engine.run(one(), run_id="r")

    asyncio.run(close_twice())
    record = faulty.store.find("r")
    assert record is not None
    assert record.owner == this_process()
    clock.now = faulty.until + 1
    assert asyncio.run(go_on()) == 1
    thread = engine.recorder.writer._thread
    assert thread is None or not thread.is_alive()
