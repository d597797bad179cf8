"""SQL by SQLAlchemy 2: `cs.sql("select ... where id = :id", db, {"id": 1})`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from cascade.providers.extras import missing
from cascade.providers.statements import bound, spelled
from cascade.spec.policies import seconds_from
from cascade.spec.resource import inject, resource
from cascade.spec.shown import without_passwords
from cascade.spec.task import Task, task

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

__all__ = ["Rows", "sql", "sql_engines"]

P = ParamSpec("P")
R = TypeVar("R")
GRACE = 2.0
"""Seconds that a statement that was broken off has to end."""
MOST_AT_ONCE = 15
"""So many statements of a run are carried out at once, as many as SQLAlchemy's pool has connections."""
AGAIN = 0.01
"""Seconds between two words to the database to break a statement off."""


class Rows(list[dict[str, Any]]):
    """The rows of a result, each a dict by column; `rowcount` says how many a change concerned, or a query gave."""

    rowcount: int = -1

    @classmethod
    def of(cls, done: Any, query: str) -> Rows:
        """Return what a statement gave. Raises ValueError if a dict could not hold all of a row."""
        rows = cls()
        if done.returns_rows:
            names = list(done.keys())
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(
                    f"cs.sql gives rows as dicts, and this result has more than one column called "
                    f"{' and '.join(map(repr, twice))}: name them apart (select a.id as a_id, b.id as b_id); "
                    f"nothing was changed: {query[:200]}"
                )
            rows.extend(dict(zip(names, each, strict=True)) for each in done)
        rows.rowcount = done.rowcount if done.rowcount >= 0 or not done.returns_rows else len(rows)
        return rows


class Engines:
    """The database engines of a run by URL: connections are used again, and closed with the run."""

    def __init__(self) -> None:
        import asyncio

        self.room = asyncio.Semaphore(MOST_AT_ONCE)
        self._engines: dict[str, Engine] = {}
        self._lock = threading.Lock()

    def of(self, db: Any) -> Engine:
        """Return the engine of a URL."""
        try:
            from sqlalchemy import create_engine
            from sqlalchemy.engine import Engine, make_url
            from sqlalchemy.exc import ArgumentError, NoSuchModuleError
            from sqlalchemy.pool import NullPool
        except ImportError as error:
            raise missing("cs.sql", "sqlalchemy", "sql") from error

        if isinstance(db, Engine):
            return db
        try:
            url = make_url(db)
        except ArgumentError as error:
            raise ValueError(
                f"cs.sql takes a database as a URL, such as sqlite:///file.db or postgresql://host/name: "
                f"{without_passwords(str(error))}"
            ) from None
        key = url.render_as_string(hide_password=False)
        with self._lock:
            if key not in self._engines:
                options: dict[str, Any] = {}
                try:
                    if url.drivername in ("postgres", "postgresql"):
                        url = url.set(drivername="postgresql+psycopg")
                    if url.get_backend_name() == "sqlite":
                        options["poolclass"] = NullPool  # to open a file is cheap, and nothing stays open
                    self._engines[key] = create_engine(url, **options)
                except (ArgumentError, NoSuchModuleError) as error:
                    raise ValueError(f"cs.sql cannot use the database {url!r}: {error}") from None
                except ModuleNotFoundError as error:
                    extra = "postgres" if url.get_backend_name() == "postgresql" else None
                    if extra is None:
                        raise
                    raise missing(f"cs.sql with {url.drivername}", error.name or "psycopg", extra) from error
            return self._engines[key]

    def close(self) -> None:
        """Close all connections."""
        for engine in self._engines.values():
            engine.dispose()


@resource(name="sql_engines", scope="run")
def sql_engines() -> Iterator[Engines]:
    """The database engines of a run."""
    engines = Engines()
    try:
        yield engines
    finally:
        engines.close()


def _typed(func: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, R]:
    """Make a task of a coroutine function; `task` has overloads, among which Any in a signature leaves no choice."""
    made: Task[P, R] = task(func)
    return made


@_typed
async def sql(
    query: str,
    db: object,
    params: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None,
    *,
    timeout: float | None = None,
    engines: Any = inject(sql_engines),
) -> Rows:
    """Run one statement in a transaction of its own, and return its rows.

    It is committed when it has succeeded, else rolled back. When the node is cancelled or its time is up, the
    database is told to break the statement off.

    Args:
        query: SQL with `:name` where values go. Values are always bound, never put into the text; a `:name` in quotes
            or in a comment is text like any other.
        db: a URL (`sqlite:///file.db`, `postgresql://user@host/name`), or a `sqlalchemy.Engine` of your own.
        params: the values by name; a list of such runs the statement for each, an empty one for none.
        timeout: seconds; by default as long as it takes.
        engines: what keeps the connections; by default the resource `sql_engines` of the run.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database refuses the statement or cannot be reached; values are missing.
        TypeError, ValueError: what was given is no query, database or parameters; two columns have one name.
        TimeoutError: its time was up.
    """
    import asyncio

    seconds = None if timeout is None else seconds_from(timeout, "cs.sql(timeout=...)")
    _check(query, params)
    try:
        async with asyncio.timeout(seconds) as clock, engines.room:
            return await _carried_out(_Call(query, db, params, engines))
    except TimeoutError:
        if clock.expired():
            raise TimeoutError(f"the statement took longer than {seconds} seconds: {query[:200]}") from None
        raise


async def _carried_out(call: _Call) -> Rows:
    """Have a thread carry a statement out; cancelled, tell the database to stop."""
    import asyncio

    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(_Threads(), call.run)
    try:
        await asyncio.wait({ended})
    except asyncio.CancelledError:
        threading.Thread(target=call.break_off, name="cascade-sql", daemon=True).start()  # it may take a connection
        until = loop.time() + GRACE
        while not ended.done() and (left := until - loop.time()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait({ended}, timeout=left)
        if not ended.cancel():
            ended.exception()  # it was to be expected
        raise
    return ended.result()


class _Threads(Executor):
    """Carries out each call in a thread of its own, which the end of the process does not wait for."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            future.set_running_or_notify_cancel()
            try:
                value = call(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(value)

        threading.Thread(target=work, name="cascade-sql", daemon=True).start()
        return future


def _check(query: Any, params: Any) -> None:
    if not isinstance(query, str) or not query.strip():
        raise TypeError(f"cs.sql takes a statement as a str, not {query!r}")
    many = params if isinstance(params, (list, tuple)) else [params or {}]
    if not all(isinstance(each, Mapping) for each in many):
        raise TypeError(
            "cs.sql takes its params as a dict by name, or a list of such: "
            f'cs.sql("... where id = :id", db, {{"id": 1}}), not {params!r}'
        )


class _Call:
    """A statement that a thread carries out, and that can be broken off from another."""

    def __init__(self, query: str, db: Any, params: Any, engines: Engines) -> None:
        self._query, self._db, self._params, self._engines = query, db, params, engines
        self._lock = threading.Lock()
        self._connection: Any = None
        self._done = threading.Event()
        self._broken_off = False

    def run(self) -> Rows:
        """Carry the statement out."""
        try:
            return self._work()
        finally:
            self._done.set()

    def _work(self) -> Rows:
        engine = self._engines.of(self._db)
        from sqlalchemy import text

        values = bound(self._params)
        if isinstance(values, list) and not values:
            rows = Rows()
            rows.rowcount = 0
            return rows
        with engine.connect() as connection:
            try:
                with self._lock:
                    if self._broken_off:
                        return Rows()
                    self._connection = connection.connection.driver_connection
                with connection.begin():
                    done = connection.execute(text(spelled(self._query, engine.dialect.name)), values)
                    rows = Rows.of(done, self._query)
                    with self._lock:
                        self._connection = None  # a commit is not broken off: it would leave open what it did
                        if self._broken_off:
                            connection.rollback()
                            return Rows()
                return rows
            finally:
                with self._lock:
                    self._connection = None

    def break_off(self) -> None:
        """Tell the database to stop until the call has ended: before the statement has begun, it would not hear."""
        self._broken_off = True
        until = monotonic() + GRACE
        while not self._done.wait(AGAIN) and monotonic() < until:
            with self._lock:
                for word in ("interrupt", "cancel_safe", "cancel"):  # each driver has its own
                    stop = getattr(self._connection, word, None)
                    if stop is not None:
                        with suppress(Exception):
                            stop()
                        break
