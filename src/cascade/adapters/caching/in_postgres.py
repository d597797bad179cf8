"""Results kept in a PostgreSQL database; needs psycopg."""

from __future__ import annotations

import contextlib
import re
import threading
from hashlib import blake2b
from typing import Any

from cascade.adapters.caching.shared import SharedStore
from cascade.errors import MissingExtraError

__all__ = ["PostgresStore"]

TABLE = (
    "SELECT pg_advisory_xact_lock(hashtext('cascade_cache'))",
    "SET LOCAL client_min_messages = warning",
    """CREATE TABLE IF NOT EXISTS cascade_cache (
        task bytea NOT NULL, digest text NOT NULL, saved double precision NOT NULL, parts text NOT NULL,
        value bytea NOT NULL, PRIMARY KEY (task, digest)
    )""",
    "CREATE INDEX IF NOT EXISTS cascade_cache_by_time ON cascade_cache (task, saved)",
)
READ = "SELECT saved, parts, value FROM cascade_cache WHERE task = %s AND digest = %s"
WRITE = (
    "INSERT INTO cascade_cache (task, digest, saved, parts, value) VALUES (%s, %s, %s, %s, %s) ON CONFLICT "
    "(task, digest) DO UPDATE SET saved = excluded.saved, parts = excluded.parts, value = excluded.value"
)
LATEST = "SELECT digest, saved, parts FROM cascade_cache WHERE task = %s ORDER BY saved DESC LIMIT %s"


class PostgresStore(SharedStore):
    """Keeps results in a table `cascade_cache`, which is made when it is first used. Nothing is ever removed from it.

    Args:
        url: as libpq takes it, `postgresql://user@host/database`.

    Raises:
        MissingExtraError: psycopg is not installed.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtraError(
                "a cache in PostgreSQL needs the package 'psycopg', which is not installed: "
                "pip install cascade-py[postgres]",
                name="psycopg",
            ) from error
        self._psycopg = psycopg
        self._place = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url, flags=re.I)
        self._db: Any = None
        self._lock = threading.Lock()

    def passing(self) -> tuple[type[Exception], ...]:
        """Return what is raised where the server is away, or fails."""
        return (self._psycopg.Error,)

    def read(self, task: str, digest: str) -> tuple[float, str, bytes] | None:
        """Return an entry."""
        found: tuple[float, str, bytes] | None = self._ask(READ, (_mark(task), digest)).fetchone()
        return found

    def write(self, task: str, digest: str, saved: float, parts: str, value: bytes) -> None:
        """Keep an entry in place of any before."""
        self._ask(WRITE, (_mark(task), digest, saved, parts, value))

    def latest(self, task: str, most: int) -> list[tuple[str, float, str]]:
        """Return the newest entries of a task."""
        found: list[tuple[str, float, str]] = self._ask(LATEST, (_mark(task), most)).fetchall()
        return found

    def _ask(self, query: str, values: tuple[Any, ...]) -> Any:
        """Ask over the one connection; once more, over a new one, where it was lost meanwhile."""
        with self._lock:
            if self._db is not None:
                try:
                    return self._db.execute(query, values)
                except self._psycopg.OperationalError:
                    if not self._db.broken:
                        raise
                    self._drop()
            return self._connected().execute(query, values)

    def _connected(self) -> Any:
        db = self._psycopg.connect(self._place, autocommit=True, application_name="cascade", connect_timeout=5)
        try:
            with db.transaction():
                for statement in TABLE:
                    db.execute(statement)
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _drop(self) -> None:
        db, self._db = self._db, None
        with contextlib.suppress(self._psycopg.Error):
            db.close()

    def close(self) -> None:
        """Let go of the connection; it is made anew when it is needed."""
        with self._lock:
            if self._db is not None:
                self._drop()

    def __del__(self) -> None:
        db = getattr(self, "_db", None)
        if db is not None:  # nobody is told when an engine needs its stores no more
            with contextlib.suppress(Exception):
                db.close()


def _mark(task: str) -> bytes:
    return blake2b(task.encode("utf-8", "surrogatepass"), digest_size=16).digest()
