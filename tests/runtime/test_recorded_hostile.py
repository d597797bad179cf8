"""Stores whose every field somebody else may have written: clear errors, at once, and never code.

`CASCADE_HOSTILE=1 pytest tests/runtime/test_recorded_hostile.py` writes nine times as much into them.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import patient
from cascade.errors import CascadeError, StateError
from cascade.runtime import Engine
from tests.runtime.recorded import broken, loop, report, square
from tests.runtime.recorded import fresh as fresh
from tests.workflows import AGAIN

UNLOADED = "wsgiref.simple_server"


class Planted:
    """Says what was planted when its pickle is read."""

    def __reduce__(self) -> Any:
        return exec, ("import os; os.environ['CASCADE_PLANTED'] = 'yes'",)


SPARSE = 1 if os.environ.get("CASCADE_HOSTILE") else 27 if AGAIN else 9
"""Of so many things that may stand in a field one is tried."""
PICKLE = pickle.dumps(Planted())
DEEP = "[" * 200_000
TEXTS = [
    *("", "x", "\x1b[2J\x00", "null", "[]", "{}", '["a"]', "[1, 2, 3, 4, 5]", '["", "", 1, "", ""]', "0", "-1", DEEP),
    *("value", "loop", "Running", "Succeeded", "Parked", "0[0]", "/etc/passwd:flow", "https://x/flow.py:flow"),
]
FORMS = [
    *(
        b"p1" + PICKLE,
        PICKLE,
        b"p1",
        b"t1",
        b"j1",
        b"b1[",
        b"r1no",
        b"z9",
        b"\xff",
        b"j1[]",
        b"j1{}",
        b"t1{}",
        b"j1null",
    ),
    *(b"j1-1", b'j1"x"', b"j1" + DEEP.encode(), b't1{"~dataclass":["%s:WSGIServer",{}]}' % UNLOADED.encode()),
    b'j1{"params":{},"variables":{},"start":"","ran":"x"}',
    b'j1{"params":[],"variables":[],"start":"","ran":0}',
    b'j1{"entries":-1,"signal":["jump","again",{}]}',
    b'j1{"entries":"x","signal":[],"state":0}',
]
LOOKS = [b'{"schema":2}', b'{"schema":2,"nodes":[],"reads":[]}', b'{"schema":99}']
BLOBS = [*(text.encode() for text in TEXTS), *FORMS, *LOOKS]
NUMBERS = [0, -1, 1, 1 << 62, -(1 << 62)]
REALS = [0.0, -1e308, 1e308, float("inf"), float("-inf")]
HOSTILE: dict[str, list[Any]] = {"TEXT": TEXTS, "BLOB": BLOBS, "INTEGER": NUMBERS, "REAL": REALS}


def target() -> Any:
    given = cs.wait_signal("go", type=int, timeout=0.02, default=3)
    return [report(), loop(), square.map(x=[1, 3, 2]).with_retry(2, delay=0), cs.subflow(square(given))]


async def use(path: Path) -> None:
    """Look at the runs of a store in all ways, and go on with one."""
    async with Engine(state_backend=path) as engine:
        for look in (engine.runs, lambda: engine.history("r"), lambda: engine.fork("r", at="parse#1")):
            with suppress(CascadeError):
                await look()
        try:
            async with asyncio.timeout(20):
                await engine.run(target(), run_id="r", on_change="adapt")
        except CascadeError:
            pass
        except Exception as error:  # of a task that was given what its record says
            if not any(note.startswith("in ") for note in getattr(error, "__notes__", ())):
                raise
        with suppress(CascadeError):
            await engine.forget("r")


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: Any) -> Path:
    """A store with a run that has failed in its midst, and mostly has a message."""
    path = tmp_path / "runs.db"

    async def fail() -> None:
        async with Engine(state_backend=path) as engine:
            going = engine.start(target(), run_id="r")
            while not await engine.runs():
                await asyncio.sleep(0.001)
            with suppress(StateError):  # it has failed already
                await engine.signal("r", "go", 3)
            with pytest.raises(ValueError, match=r"tired|fire"):
                await going

    broken.append("x")
    asyncio.run(fail())
    broken.clear()
    monkeypatch.delenv("CASCADE_PLANTED", raising=False)

    def again(seconds: float) -> None:
        raise AssertionError("a store that is damaged is asked again")

    monkeypatch.setattr(patient, "sleep", again)
    return path


def columns(path: Path) -> list[tuple[str, str, str]]:
    """Return all columns of a store, each with its table and its type."""
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = [(table, *row[1:3]) for table in tables for row in db.execute(f"PRAGMA table_info({table})")]
        return [(str(table), str(name), str(kind)) for table, name, kind in found]


def test_whatever_stands_in_a_field_is_read_or_refused(recorded: Path, tmp_path: Path) -> None:
    failed = list[str]()
    for at, (table, column, kind) in enumerate(columns(recorded)):
        for turn, value in enumerate(HOSTILE[kind]):
            if (at + turn) % SPARSE:
                continue
            path = tmp_path / "hostile.db"
            shutil.copy(recorded, path)
            with closing(sqlite3.connect(path)) as db, db:
                row = f"(SELECT max(rowid) FROM {table})"  # where it must not stand in all of them
                db.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
                db.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = {row}", (value,))
            try:
                asyncio.run(use(path))
            except BaseException as error:
                failed.append(f"{table}.{column} = {value!r:.60}: {type(error).__name__}: {error!s:.150}")
            assert "CASCADE_PLANTED" not in os.environ, (table, column, value)
    assert failed == [], "\n".join(failed)


@pytest.mark.parametrize("name", ["runs.db", "runs.db-wal", "runs.db-shm", "runs.db-journal"])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(recorded: Path, name: str) -> None:
    place = recorded.with_name(name)
    place.unlink(missing_ok=True)
    os.mkfifo(place, 0o600)

    async def main() -> None:
        async with Engine(state_backend=recorded) as engine:
            await engine.runs()

    with pytest.raises(cs.StateError, match=rf"{name} is no plain file"):
        asyncio.run(main())
