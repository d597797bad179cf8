"""What a store in PostgreSQL reads and writes of runs and steps, within transactions that others begin and end.

Text is kept with its null characters spelled out, as PostgreSQL keeps none; what may be long (the ids of runs and
messages, the keys of steps) is found by a digest, as an index takes no long text.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from cascade.adapters.state.rows import Pending
from cascade.adapters.state.rules import advances, owner_of
from cascade.errors import StateError
from cascade.spec.state import Owner, RunRecord, StepRecord

__all__ = [
    "ADD_SIGNAL",
    "AT_ONCE",
    "FIND_RUN",
    "INSERT_RUN",
    "LIMITS",
    "LIST_RUNS",
    "NOW",
    "PENDING",
    "READ_SIGNALS",
    "READ_STEPS",
    "SELECT_RUN",
    "TAKE_RUN",
    "WAITS",
    "digest_of",
    "escaped",
    "plain",
    "prepare",
    "record_of",
    "spelled_out",
    "time_of",
    "write",
]

VERSION = 2
AT_ONCE = 2000
"""So many steps are read by one statement."""
LIMITS = "SET statement_timeout = '15s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '15s'"

TABLES = (
    "CREATE TABLE IF NOT EXISTS cascade_store (version integer NOT NULL, id text NOT NULL)",
    """CREATE TABLE IF NOT EXISTS cascade_runs (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, digest bytea NOT NULL UNIQUE, run_id text NOT NULL,
        status text NOT NULL, target text NOT NULL, params bytea NOT NULL, fingerprint bytea NOT NULL,
        created double precision NOT NULL, updated double precision NOT NULL, beat double precision NOT NULL,
        epoch integer NOT NULL, takeovers integer NOT NULL, owner text, error text NOT NULL, traced text NOT NULL,
        committed integer NOT NULL DEFAULT 0
    ) WITH (fillfactor = 70)""",
    "CREATE INDEX IF NOT EXISTS cascade_runs_by_time ON cascade_runs (created)",
    """CREATE TABLE IF NOT EXISTS cascade_steps (
        run bigint NOT NULL REFERENCES cascade_runs ON DELETE CASCADE, digest bytea NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY, key text NOT NULL, entry bigint NOT NULL, kind text NOT NULL,
        value bytea NOT NULL, task_id text NOT NULL, attempt bigint NOT NULL, started double precision NOT NULL,
        ended double precision NOT NULL, error text NOT NULL, preview text NOT NULL, PRIMARY KEY (run, digest)
    )""",
    "CREATE INDEX IF NOT EXISTS cascade_steps_in_order ON cascade_steps (run, number)",
    """CREATE TABLE IF NOT EXISTS cascade_signals (
        run bigint NOT NULL REFERENCES cascade_runs ON DELETE CASCADE, number integer NOT NULL, name text NOT NULL,
        value bytea NOT NULL, taken_by text NOT NULL DEFAULT '', digest bytea, PRIMARY KEY (run, number)
    )""",
    "CREATE UNIQUE INDEX IF NOT EXISTS cascade_signals_by_id ON cascade_signals (run, digest) WHERE digest IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS cascade_signals_waiting ON cascade_signals (run) WHERE taken_by = ''",
)

WAITS = "owner IS NULL AND target <> '' AND status IN ('Enqueued', 'Parked', 'Running')"
"""Of a run that waits for a server; the indexes of queues have these alone."""
TO_QUEUES = (
    "ALTER TABLE cascade_runs ADD COLUMN IF NOT EXISTS queue text NOT NULL DEFAULT ''",
    "ALTER TABLE cascade_runs ADD COLUMN IF NOT EXISTS priority integer NOT NULL DEFAULT 0",
    "ALTER TABLE cascade_runs ADD COLUMN IF NOT EXISTS due double precision NOT NULL DEFAULT 0",
    "ALTER TABLE cascade_runs ADD COLUMN IF NOT EXISTS dedupe bytea",
    "CREATE INDEX IF NOT EXISTS cascade_runs_ready ON cascade_runs (md5(queue), priority DESC, number) "
    f"WHERE due = 0 AND {WAITS}",
    f"CREATE INDEX IF NOT EXISTS cascade_runs_due ON cascade_runs (md5(queue), due) WHERE due > 0 AND {WAITS}",
    "CREATE INDEX IF NOT EXISTS cascade_runs_owned ON cascade_runs (md5(queue)) WHERE owner IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS cascade_runs_by_dedupe ON cascade_runs (dedupe) WHERE dedupe IS NOT NULL",
)
"""What makes the second schema of the first, which has no queues."""

_STEP = StepRecord._fields
_TYPES = dict.fromkeys(_STEP, "text") | dict.fromkeys(("entry", "attempt"), "bigint")
_TYPES |= {"value": "bytea", "started": "float8", "ended": "float8"}
_TEXTS = tuple(at for at, name in enumerate(_STEP) if _TYPES[name] == "text")
_RUN = RunRecord._fields
TEXTS_OF_RUN = ("run_id", "target", "error", "traced", "queue")
_SHOWN = ", ".join("''::bytea" if name in ("params", "fingerprint") else name for name in _RUN)
NOW = "extract(epoch FROM clock_timestamp())::float8"
SELECT_RUN = f"SELECT {', '.join(_RUN)} FROM cascade_runs"
FIND_RUN = f"{SELECT_RUN} WHERE digest = %s"
LIST_RUNS = (
    f"SELECT {_SHOWN} FROM cascade_runs WHERE status = coalesce(%s, status) AND target = coalesce(%s, target) "
    "AND created >= coalesce(%s, created) ORDER BY created DESC, number DESC LIMIT %s"
)
INSERT_RUN = (
    f"INSERT INTO cascade_runs (digest, {', '.join(_RUN)}) VALUES (%s, {', '.join(['%s'] * len(_RUN))}) "
    "ON CONFLICT (digest) DO NOTHING"
)
TAKE_RUN = (
    "UPDATE cascade_runs SET status = %s, params = %s, fingerprint = %s, updated = %s, beat = %s, epoch = %s, "
    "takeovers = %s, owner = %s, error = %s, due = %s, committed = 0 WHERE digest = %s"
)
PENDING = (
    "SELECT run_id, number, epoch, committed FROM cascade_runs WHERE digest = ANY(%s) ORDER BY number FOR NO KEY UPDATE"
)
ADVANCE = (
    f"UPDATE cascade_runs SET committed = %s, beat = {NOW}, takeovers = CASE WHEN %s THEN 0 ELSE takeovers END "
    "WHERE number = %s"
)
END_RUN = (
    f"UPDATE cascade_runs SET status = %s, owner = CASE WHEN %s THEN NULL ELSE owner END, error = %s, updated = {NOW}, "
    "due = CASE WHEN EXISTS (SELECT 1 FROM cascade_signals WHERE run = cascade_runs.number AND number > %s::bigint) "
    "THEN 0 ELSE %s END WHERE number = %s"
)
DROP_STEPS = "DELETE FROM cascade_steps WHERE run = %s AND digest = ANY(%s)"
UPSERT_STEPS = (
    f"INSERT INTO cascade_steps (run, digest, {', '.join(_STEP)}) "
    f"SELECT run, digest, {', '.join(_STEP)} FROM unnest(%b::bigint[], %b::bytea[], "
    f"{', '.join(f'%b::{_TYPES[name]}[]' for name in _STEP)}) "
    f"WITH ORDINALITY AS given (run, digest, {', '.join(_STEP)}, at) ORDER BY at "
    f"ON CONFLICT (run, digest) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _STEP[1:])}"
)
READ_STEPS = (
    f"SELECT number, {', '.join(_STEP)} FROM cascade_steps WHERE run = %s AND number > %s "
    f"ORDER BY number LIMIT {AT_ONCE}"
)
ADD_SIGNAL = (
    "INSERT INTO cascade_signals (run, number, name, value, digest) "
    "SELECT %s, coalesce(max(number), 0) + 1, %s, %s, %s FROM cascade_signals WHERE run = %s"
)
READ_SIGNALS = (
    "SELECT number, name, value, taken_by FROM cascade_signals WHERE number > %s "
    "AND run = (SELECT number FROM cascade_runs WHERE digest = %s) ORDER BY number"
)


def prepare(db: Any, where: str) -> str:
    """Make what is not there of the tables; return what tells this store from others.

    Raises:
        StateError: they are of a newer schema.
    """
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(hashtext('cascade_store'))")  # several that begin at once
        for statement in TABLES:
            db.execute(f"SET LOCAL client_min_messages = warning; {statement}")
        found = db.execute("SELECT version, id FROM cascade_store").fetchone()
        if found is None:
            found = 1, os.urandom(16).hex()
            db.execute("INSERT INTO cascade_store (version, id) VALUES (%s, %s)", found)
        version, identity = found
        if version > VERSION:
            raise StateError(
                f"the store {where} was written by a newer Cascade (schema {version}, this one knows {VERSION}); "
                "use that one"
            )
        if version < VERSION:
            for statement in TO_QUEUES:
                db.execute(statement)
            db.execute("UPDATE cascade_store SET version = %s", (VERSION,))
    return str(identity)


def write(db: Any, runs: Sequence[Pending]) -> None:
    """Write all of several runs: first what is dropped, so that a step may come back."""
    for run in runs:
        if run.dropped:
            db.execute(DROP_STEPS, (run.number, [digest_of(key) for key in run.dropped]))
    steps = [(run.number, step) for run in runs for step in run.steps.values()]
    if steps:
        columns: list[list[Any]] = [list(column) for column in zip(*[step for _, step in steps], strict=True)]
        digests = [digest_of(key) for key in columns[0]]
        for at in _TEXTS:
            columns[at] = [escaped(text, _STEP[at] in ("error", "preview")) for text in columns[at]]
        db.execute(UPSERT_STEPS, ([number for number, _ in steps], digests, *columns))
    with db.cursor() as cursor:
        cursor.executemany(ADVANCE, [(run.committed, advances(run.steps.values()), run.number) for run in runs])
        if taken := [(escaped(key), run.number, number) for run in runs for number, key in run.taken]:
            cursor.executemany("UPDATE cascade_signals SET taken_by = %s WHERE run = %s AND number = %s", taken)
        for run in runs:
            if run.end is not None:
                status, is_free, error = run.end
                cursor.execute(END_RUN, (status, is_free, escaped(error, True), run.seen, run.due, run.number))


def record_of(row: Any) -> RunRecord | None:
    """Return the run of a row, None of none."""
    if row is None:
        return None
    record = RunRecord._make(row)
    found: dict[str, Any] = {name: plain(getattr(record, name)) for name in TEXTS_OF_RUN}
    owner = None if record.owner is None else owner_of(record)
    return record._replace(**found, owner=owner)


def spelled_out(value: Any) -> Any:
    """Return a field of a run as a column keeps it."""
    if isinstance(value, Owner):
        return json.dumps(value)
    return escaped(value) if isinstance(value, str) else value


def time_of(db: Any) -> float:
    """Return the server's time, in seconds since 1970."""
    found: float = db.execute(f"SELECT {NOW}").fetchone()[0]
    return found


def digest_of(text: str) -> bytes:
    """Return what a text is found by, 16 bytes however long it is."""
    return blake2b(text.encode(), digest_size=16).digest()


def escaped(text: str, is_shown: bool = False) -> str:
    """Return a text without null characters, which PostgreSQL does not keep; what people read may be changed more."""
    if is_shown and not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    if "\x00" in text or "\\" in text:
        return text.replace("\\", "\\\\").replace("\x00", "\\0")
    return text


def plain(text: str) -> str:
    """Return a text as it was before `escaped`."""
    return re.sub(r"\\([\\0])", lambda found: "\x00" if found[1] == "0" else "\\", text) if "\\" in text else text
