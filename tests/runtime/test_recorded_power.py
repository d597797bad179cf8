"""Files as a loss of power leaves them: of what was not waited for, any part may be there or not.

A store looks at its files around each commit. What SQLite had the disk confirm by then is kept as it is: the log after
a commit with `synchronous = FULL`, the log and the file after a checkpoint. Of the rest each sector is taken as it was
before or after, and the log may end anywhere. (So the disk is believed where it confirms, and SQLite where it says what
it waits for: for the log before it copies it into the file, for the file before it begins the log anew, and for the
head of the log before what follows it.)

That test takes only what Python can see, on any Linux. The other one has every write and every wait for the disk noted
as the system call is made, so nothing is believed of SQLite (`tests/adapters/state/cuts.py`); it takes a C compiler.

`CASCADE_CUTS=500 pytest tests/runtime/test_recorded_power.py` cuts more often.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cascade.adapters.state import SqliteBackend, rules
from cascade.adapters.state.codec import decode
from cascade.runtime.journal import writer
from tests.adapters.state.cuts import Disk, Inode, lay_out, library, operations, watched
from tests.runtime import kills
from tests.runtime.test_recorded_kills import names_in, recorded
from tests.workflows import AGAIN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its programs read their log by /proc")

CUTS = int(os.environ.get("CASCADE_CUTS", "0")) or (2 if AGAIN else 8)
SEED = int(os.environ.get("CASCADE_SEED", "0"))
SECTOR = 512
HEAD = 32
"""So many bytes of a log of SQLite are its head."""


class Files(NamedTuple):
    """The bytes of a store and of its log."""

    store: bytes
    log: bytes


class Cut(NamedTuple):
    """What a loss of power has left, and which bodies were committed before with "each"."""

    files: Files
    kept: set[str]


class Watched(SqliteBackend):
    """A store that has its power cut at some of its commits."""

    def __init__(self, path: Path, durability: Any, seed: int) -> None:
        super().__init__(path, durability)
        self.draw = random.Random(seed)
        self.cuts: list[Cut] = []
        self.confirmed = Files(b"", b"")
        self.names: set[str] = set()
        self.is_confirmed = False

    def open(self) -> None:
        super().open()
        assert self._db is not None
        self._db.execute("PRAGMA wal_autocheckpoint = 8")  # else it takes 4 MB until the log is begun anew
        self.is_confirmed = self._db.execute("PRAGMA synchronous").fetchone() == (2,)
        self.confirmed = self.files()

    def files(self) -> Files:
        log = Path(f"{self.path}-wal")
        return Files(Path(self.path).read_bytes(), log.read_bytes() if log.exists() else b"")

    def commit(self, commits: Any) -> list[str]:
        return self.cut_at(super().commit, commits)

    def commit_now(self, commits: Any) -> list[str]:
        return self.cut_at(super().commit_now, commits)

    def cut_at(self, commit: Callable[[Any], list[str]], commits: Any) -> list[str]:
        before = self.files()
        lost = commit(commits)
        after = self.files()
        is_copied = after.store != before.store
        if self.draw.random() < 0.3:
            if is_copied and self.draw.random() < 0.7:
                files = Files(self.mixed(before.store, after.store), after.log)
            else:
                files = Files(before.store, self.mixed_log(self.confirmed.log, after.log))
            self.cuts.append(Cut(files, {*self.names}))
        self.names.update(name for one in commits for step in one.steps if step.kind in ("value", "loop")
                          for name in names_in(decode(step.value)))  # fmt: skip
        if is_copied or self.is_confirmed:
            self.confirmed = after
        if self.is_confirmed and self.draw.random() < 0.1:
            self.cuts.append(Cut(after, {*self.names}))
        return lost

    def mixed_log(self, before: bytes, after: bytes) -> bytes:
        mixed = self.mixed(before, after)
        return after[:HEAD] + mixed[HEAD:] if before[:HEAD] != after[:HEAD] else mixed

    def mixed(self, before: bytes, after: bytes) -> bytes:
        """Return some sectors as they were before, and some as they were after, mostly from the front."""
        end = self.draw.choice([len(after), self.draw.randint(min(len(before), len(after)), len(after))])
        share, out = self.draw.choice([0.5, 0.95, 1.0]), bytearray(before.ljust(end, b"\0"))
        for at in range(0, end, SECTOR):
            if self.draw.random() < share:
                out[at : at + SECTOR] = after[at : at + SECTOR]
        return bytes(out[: max(end, len(before))])


def lines_of(log: Path) -> list[str]:
    return log.read_text().splitlines()


def test_a_run_goes_on_from_what_a_loss_of_power_leaves(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(rules, "is_alive", lambda *_: False)
    monkeypatch.setattr(writer, "LOOK", 0.002)
    log = tmp_path / "log"
    monkeypatch.setattr(kills, "log", os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    cuts, seed, fewer = 0, SEED, 0
    while cuts < CUTS:
        seed += 1
        plain = kills.start_here(seed, None)
        durability = ("each", "group")[seed % 2]
        store = Watched(tmp_path / "kept" / f"{seed}.db", durability, seed)
        early: list[Any] = []

        def read(given: Any, store: Watched = store, early: list[Any] = early) -> None:
            early.extend(set(names_in(given)) - store.names)

        if durability == "each":
            monkeypatch.setattr(kills, "read", read)
        assert kills.start_here(seed, store, durability) == plain
        monkeypatch.setattr(kills, "read", None)
        assert not early, (seed, "read before it was committed", early)
        for at, cut in enumerate(store.cuts):
            where = f"program {seed}, {durability}, cut {at}"
            path = tmp_path / "cut" / f"{seed}.{at}.db"
            path.parent.mkdir(mode=0o700, exist_ok=True)
            for name, data in ((path, cut.files.store), (Path(f"{path}-wal"), cut.files.log)):
                name.write_bytes(data)
                name.chmod(0o600)
            kept = recorded(path)
            fewer += not cut.kept <= kept
            before = len(lines_of(log))
            assert kills.start_here(seed, path, durability) == plain, where
            again = {line.split()[1] for line in lines_of(log)[before:]}
            assert not kept & again, (where, kept & again)
            if durability == "each":
                assert not cut.kept & again, (where, cut.kept & again)
            cuts += 1
    os.close(kills.log)
    assert fewer or CUTS < 100, "some cuts are to lose something"


def test_a_run_goes_on_from_what_was_confirmed_by_system_calls(tmp_path: Path, monkeypatch: Any) -> None:
    made, draw, cuts, seed = library(tmp_path), random.Random(SEED), 0, SEED
    monkeypatch.setattr(rules, "is_alive", lambda *_: False)
    monkeypatch.setattr(writer, "LOOK", 0.002)
    log = tmp_path / "log"
    monkeypatch.setattr(kills, "log", os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    while cuts < CUTS:
        seed += 1
        durability = ("each", "group")[seed % 2]
        folder = tmp_path / f"{seed}"
        folder.mkdir(mode=0o700)
        command = [
            "-m",
            "tests.runtime.powered",
            str(seed),
            str(folder / "runs.db"),
            durability,
            str(tmp_path / "there"),
        ]
        ended = watched(made, folder, tmp_path / "operations", command)
        assert ended.returncode == 0, ended.stderr
        plain, done = json.loads(ended.stdout), operations(tmp_path / "operations", folder)
        assert any(one.kind == "S" and one.name == "runs.db-wal" for one in done)
        for _ in range(4):
            cuts += 1
            disk, moment = Disk({}), draw.randint(1, len(done))
            for one in done[:moment]:
                disk.do(one)
            marks = disk.names.pop("marks", Inode()).now.decode()
            committed = {name for line in marks.splitlines() for name in json.loads(line)}
            path = tmp_path / f"{seed}.{cuts}" / "runs.db"
            lay_out(path.parent, {name: data for name, data in disk.left(draw).items() if name != "marks"})
            kept, before = recorded(path), len(lines_of(log))
            where = f"program {seed}, {durability}, cut behind operation {moment} of {len(done)}"
            assert kills.start_here(seed, path, durability) == plain, where
            again = {line.split()[1] for line in lines_of(log)[before:]}
            assert not kept & again, (where, kept & again)
            if durability == "each":
                assert not committed & again, (where, committed & again)
    os.close(kills.log)
