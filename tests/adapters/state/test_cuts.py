"""Stores that are made, or brought to a newer schema, by a process that is killed or loses power at any operation."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.state import schema
from cascade.adapters.state.sqlite import SqliteBackend
from tests.adapters.state.cuts import Disk, files_of, lay_out, library, operations, watched
from tests.adapters.state.runs import commit, run, step

MOMENTS = int(os.environ.get("CASCADE_CUTS", "0")) or 8
STEPS = 200
ADDED = (
    "CREATE TABLE queues (name TEXT)",
    "ALTER TABLE runs ADD COLUMN added TEXT NOT NULL DEFAULT ''",
    "UPDATE steps SET value = CAST(value || value AS BLOB)",
    "CREATE INDEX steps_by_task ON steps (task_id)",
)
OPENS = f"""
import sys
from cascade.adapters.state import schema
from cascade.adapters.state.sqlite import SqliteBackend
if sys.argv[2] == "later":
    schema.MIGRATIONS = (*schema.MIGRATIONS, {ADDED!r})
store = SqliteBackend(sys.argv[1], "each")
store.open()
print("opened", flush=True)
store.close()
"""


def older(folder: Path, is_open: bool) -> dict[str, bytes]:
    """Make a store of this schema; one that is open still has its log beside it."""
    store = SqliteBackend(folder / "runs.db", "each")
    store.open()
    store.create(run())
    store.commit([commit(1, *(step(f"k{at}", b"x" * 500) for at in range(STEPS)))])
    if is_open:
        found = {name: data for name, data in files_of(folder).items() if not name.endswith("-shm")}
        store.close()
        return found
    store.close()
    return files_of(folder)


def check_migrates(file: Path, monkeypatch: Any) -> None:
    """Check that a store is all as it was before, or all as it is afterwards, and can be used by the later version."""
    db = sqlite3.connect(file)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    sizes = {len(value) for (value,) in db.execute("SELECT value FROM steps")}
    db.close()
    assert (version, "queues" in tables, "steps_by_task" in tables, sizes) in [
        (2, False, False, {500}),
        (3, True, True, {1000}),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ADDED))
        store = SqliteBackend(file)
        store.open()
        assert {len(each.value) for each in store.steps("run")} == {1000}
        assert len([*store.steps("run")]) == STEPS
        store.close()


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "with its log"])
def test_a_migration_that_is_killed_or_loses_power_is_made_whole_or_not(
    is_open: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    made, draw = library(tmp_path), random.Random(is_open)
    before = older(tmp_path / "first", is_open)

    def migrate(name: str, dies: int = 0) -> tuple[Path, Any]:
        folder = tmp_path / name
        lay_out(folder, before)
        command = ["-c", OPENS, str(folder / "runs.db"), "later"]
        return folder, watched(made, folder, tmp_path / f"{name}.log", command, dies)

    folder, ended = migrate("plain")
    assert ended.stdout == "opened\n", ended.stderr
    check_migrates(folder / "runs.db", monkeypatch)
    done = operations(tmp_path / "plain.log", folder)
    assert len(done) > 10
    for dies in draw.sample(range(1, len(done) + 1), min(MOMENTS, len(done))):
        folder, ended = migrate(f"killed-{dies}", dies)
        assert ended.returncode == -signal.SIGKILL
        check_migrates(folder / "runs.db", monkeypatch)
    for cut in range(4 * MOMENTS):
        disk = Disk(before)
        for one in done[: draw.randint(1, len(done))]:
            disk.do(one)
        folder = tmp_path / f"cut-{cut}"
        lay_out(folder, disk.left(draw))
        check_migrates(folder / "runs.db", monkeypatch)


def test_a_store_that_loses_power_while_it_is_made_is_whole_or_none(tmp_path: Path) -> None:
    made, draw, folder = library(tmp_path), random.Random(0), tmp_path / "plain"
    folder.mkdir(mode=0o700)
    ended = watched(made, folder, tmp_path / "log", ["-c", OPENS, str(folder / "runs.db"), "now"])
    assert ended.stdout == "opened\n", ended.stderr
    done = operations(tmp_path / "log", folder)
    for cut in range(4 * MOMENTS):
        disk = Disk({})
        for one in done[: draw.randint(1, len(done))]:
            disk.do(one)
        there = tmp_path / f"cut-{cut}"
        lay_out(there, disk.left(draw))
        store = SqliteBackend(there / "runs.db")
        store.open()
        assert store.create(run())
        store.close()
