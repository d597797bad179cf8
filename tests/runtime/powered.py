"""A program that is recorded and says in a file what is committed: `python -m tests.runtime.powered`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from cascade.adapters.state import SqliteBackend
from cascade.adapters.state.codec import decode
from cascade.runtime.journal import writer
from tests.runtime import kills
from tests.runtime.test_recorded_kills import names_in


class Marking(SqliteBackend):
    """A store that writes into the file `marks` beside it which bodies are committed, behind each commit."""

    def open(self) -> None:
        super().open()
        assert self._db is not None
        self._db.execute("PRAGMA wal_autocheckpoint = 8")  # else it takes 4 MB until the log is begun anew
        self.marks = os.open(os.path.join(os.path.dirname(self.path), "marks"), os.O_WRONLY | os.O_CREAT, 0o600)

    def commit(self, commits: Any) -> list[str]:
        lost = super().commit(commits)
        self.mark(commits)
        return lost

    def commit_now(self, commits: Any) -> list[str]:
        lost = super().commit_now(commits)
        self.mark(commits)
        return lost

    def mark(self, commits: Any) -> None:
        steps = [step for one in commits for step in one.steps if step.kind in ("value", "loop")]
        names = [name for step in steps for name in names_in(decode(step.value))]
        os.write(self.marks, f"{json.dumps(names)}\n".encode())


if __name__ == "__main__":
    _, seed, file, durability, log = sys.argv
    kills.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    writer.LOOK = 0.002
    store: Any = Marking(file, durability)  # type: ignore[arg-type]
    sys.stdout.write(json.dumps(kills.start_here(int(seed), store, durability)))
