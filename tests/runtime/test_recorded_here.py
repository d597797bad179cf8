"""Commits that the thread of the event loop makes by itself, as the disk is swift; and when it must not."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import SqliteBackend
from cascade.runtime import Engine
from cascade.runtime.journal import writer
from tests.adapters.state.runs import commit, run, step


@cs.task
def add(x: int) -> int:
    return x + 1


def gate(many: int) -> tuple[asyncio.Event, asyncio.Event, Any]:
    """Return what is set when so many runs have begun, what they wait for then, and the node that does."""
    begun, opened, waiting = asyncio.Event(), asyncio.Event(), list[int]()

    @cs.task(record=False)
    async def wait() -> int:
        waiting.append(1)
        if len(waiting) == many:
            begun.set()
        await opened.wait()
        return 0

    return begun, opened, wait()


def chain(length: int, target: Any = 0) -> Any:
    for _ in range(length):
        target = add(target)
    return target


class Seen(SqliteBackend):
    """Counts the commits of each thread."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "each")
        self.here: list[int] = []
        self.elsewhere: list[int] = []

    def _commit(self, db: Any, commits: Any) -> list[str]:
        is_here = threading.current_thread() is threading.main_thread()
        (self.here if is_here else self.elsewhere).append(sum(len(each.steps) for each in commits))
        return super()._commit(db, commits)


@pytest.mark.parametrize("swift", [0.0, 1000.0])
def test_a_swift_disk_is_waited_for_here_and_another_one_elsewhere(
    swift: float, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(writer, "SWIFT", swift)

    async def main() -> None:
        async with Engine(state_backend=store, durability="each") as engine:
            for name in "ab":
                assert await engine.run(chain(30), run_id=name) == 30

    store = Seen(tmp_path / "kept" / "runs.db")
    asyncio.run(main())
    assert sum(store.here) + sum(store.elsewhere) == 2 * 31
    assert sum(store.here) >= 30 if swift else not store.here


def test_what_ends_together_shares_a_commit(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(writer, "SWIFT", 1000.0)

    async def main() -> None:
        async with Engine(state_backend=store, durability="each") as engine:
            assert await engine.run(add(0), run_id="first") == 1
            begun, opened, first = gate(20)
            runs = [engine.start(chain(10, first), run_id=str(at)) for at in range(20)]
            await begun.wait()
            opened.set()
            assert await asyncio.gather(*runs) == [10] * 20

    store = Seen(tmp_path / "kept" / "runs.db")
    asyncio.run(main())
    assert max(store.here) > 5
    assert len(store.here) < 100


def test_many_steps_are_left_to_the_writer(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(writer, "SWIFT", 1000.0)

    async def main() -> None:
        async with Engine(state_backend=store, durability="each") as engine:
            assert await engine.run(add(0), run_id="first") == 1
            assert await engine.run(add.map(x=list(range(1000))), run_id="many") == list(range(1, 1001))

    store = Seen(tmp_path / "kept" / "runs.db")
    asyncio.run(main())
    assert max(store.here, default=0) <= writer.FEW
    assert sum(store.here) + sum(store.elsewhere) == 1003


def test_the_event_loop_never_waits_for_others_who_write(tmp_path: Path, monkeypatch: Any) -> None:
    """Another process writes, for longer than a step takes: the writer waits for it, and the event loop goes on."""
    monkeypatch.setattr(writer, "SWIFT", 1000.0)
    path = tmp_path / "kept" / "runs.db"

    async def main() -> None:
        async with Engine(state_backend=path, durability="each") as engine:
            assert await engine.run(chain(3), run_id="first") == 3
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                begun, opened, first = gate(1)
                going = asyncio.ensure_future(engine.run(chain(30, first), run_id="second"))
                await begun.wait()
                other.execute("BEGIN IMMEDIATE")
                opened.set()
                for _ in range(50):  # it is not held up, or this would never come to an end
                    await asyncio.sleep(0.001)
                assert not going.done()
                other.execute("ROLLBACK")
                assert await going == 30

    asyncio.run(asyncio.wait_for(main(), 30))


def test_whoever_waits_for_nobody_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "runs.db"
    store = SqliteBackend(path)
    with pytest.raises(BlockingIOError):
        store.commit_now([commit(1)])
    store.open()
    with closing(store), closing(sqlite3.connect(path, isolation_level=None)) as other:
        store.create(run())
        assert store.commit_now([commit(1, step("a"))]) == []
        assert store.commit_now([commit(1, step("a")), commit(1, step("b"), run_id="unknown")]) == ["unknown"]
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store.commit_now([commit(2, step("b"))])
        other.execute("ROLLBACK")
        with store._lock:
            found: list[BaseException] = []

            def ask() -> None:
                try:
                    store.commit_now([commit(2, step("b"))])
                except OSError as error:
                    found.append(error)

            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
        assert [getattr(error, "errno", None) for error in found] == [errno.EAGAIN]
        assert store.commit_now([commit(2, step("b"))]) == []
        assert [each.key for each in store.steps("run")] == ["a", "b"]
