"""SQL on SQLite and on a PostgreSQL server that the tests start."""

import asyncio
import datetime
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import cascade as cs
from cascade.providers import sql as sql_module
from cascade.providers.sql import Rows
from cascade.providers.statements import bound, spelled
from cascade.runtime import Engine
from tests.providers.postgres import postgres, program
from tests.providers.servers import need
from tests.workflows import Tier, every_tier, in_loop, run

sqlalchemy = need("sqlalchemy")

FOREVER = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if program("initdb") is None and os.environ.get("CASCADE_REQUIRE_ALL") != "1":
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shop.db'}"
    url: str = request.getfixturevalue("server")
    run(cs.sql("drop table if exists goods", url))
    return url


@pytest.fixture
def goods(db: str) -> str:
    run(cs.sql("create table goods (id integer primary key, name text)", db))
    return db


def connected(server: str) -> list[str]:
    """Return what the other connections to a server are doing."""
    import psycopg

    query = "select query from pg_stat_activity where backend_type = 'client backend' and pid != pg_backend_pid()"
    with psycopg.connect(server) as connection:
        return [row[0] for row in connection.execute(query)]


def see_threads_end() -> None:
    """Wait until no thread of a statement is left."""
    for thread in threading.enumerate():
        if thread.name == "cascade-sql":
            thread.join(20)
            assert not thread.is_alive()


@every_tier
def test_rows_are_dicts_and_values_are_bound(goods: str, tier: Tier) -> None:
    name = "x'); drop table goods; --"
    put = cs.sql("insert into goods values (:id, :name)", goods, {"id": 1, "name": name})
    many = cs.sql("insert into goods values (:id, :name)", goods, [{"id": 2, "name": "b"}, {"id": 3, "name": None}])
    got = cs.sql("select * from goods where id <= :most order by id", goods, {"most": cs.Param("most", type=int)})
    put_rows, rows = run([put, got.after(many.after(put))], {"most": 2}, tier=tier)
    assert type(rows) is Rows
    assert rows == [{"id": 1, "name": name}, {"id": 2, "name": "b"}]
    assert (put_rows, put_rows.rowcount) == ([], 1)
    assert run(cs.sql("delete from goods", goods), tier=tier).rowcount == 3


@every_tier
def test_two_columns_of_one_name_are_refused_and_change_nothing(goods: str, tier: Tier) -> None:
    for query in ("select 1 as a, 2 as a", "select * from goods as x, goods as y"):
        with pytest.raises(ValueError, match=r"more than one column called 'a'|called 'id' and 'name'") as caught:
            run(cs.sql(query, goods), tier=tier)
        assert any("sql#1" in note for note in caught.value.__notes__)
    with pytest.raises(ValueError, match="nothing was changed"):
        run(cs.sql("insert into goods values (1, 'a') returning id, name as id", goods), tier=tier)
    assert run(cs.sql("select * from goods", goods), tier=tier) == []


QUOTED = [
    ("select ':x' as a", ":x"),
    ("select 'it''s :x' as a", "it's :x"),
    ("select ':y', :x as a -- isn't :z", "v"),
    ("/* ' :y */ select ':', :x as a", "v"),
    ("select '12:30 :30' as b, :x as a, ':y :x' as c", "v"),
    ('select a from (select :x as ":y", 7 as a) as t', 7),
    ("select '\\' as b, :x as a, ':y' as c", "v"),
]
FOR_POSTGRES = [
    ("select $$ it's :y $$ || :x as a", " it's :y v"),
    ("select $t$ :y $$ $t$ as b, :x as a", "v"),
    ("select E'it\\'s :y' as b, :x as a", "v"),
    ("select (array[1,2])[:n] as a, ':y'::text as b", 2),
]


def test_a_name_in_quotes_or_a_comment_is_no_parameter(db: str) -> None:
    for query, value in QUOTED + (FOR_POSTGRES if db.startswith("postgres") else []):
        cast = query.replace(":x as", "cast(:x as text) as") if db.startswith("postgres") else query
        (row,) = run(cs.sql(cast, db, {"x": "v", "n": 2}))
        assert row["a"] == value, query


def test_names_in_the_strings_of_mysql() -> None:
    query = "select 'it\\'s :x', :y"
    assert (spelled(query, "mysql"), spelled(query, "sqlite")) == ("select 'it\\'s \\:x', :y", query)


@every_tier
def test_no_params_in_a_list_run_the_statement_for_none(goods: str, tier: Tier) -> None:
    rows = run(cs.sql("insert into goods values (:id, 'a')", goods, []), tier=tier)
    assert (rows, rows.rowcount) == ([], 0)
    assert run(cs.sql("select * from goods", goods, {}), tier=tier) == []


def test_numbers_of_numpy_are_numbers(goods: str) -> None:
    numpy = need("numpy")
    run(cs.sql("insert into goods values (:id, :name)", goods, [{"id": numpy.int64(2), "name": numpy.str_("b")}]))
    assert run(cs.sql("select name from goods where id = :id", goods, {"id": numpy.uint8(2)})) == [{"name": "b"}]
    values = [numpy.float32(0.5), numpy.bool_(True), numpy.longdouble(2), numpy.bytes_(b"x"), b"y", 3]
    assert list(map(type, bound({str(i): value for i, value in enumerate(values)}).values())) == [
        float, bool, float, bytes, bytes, int,
    ]  # fmt: skip
    assert bound({"at": numpy.datetime64("2026-01-02T03:04")}) == {"at": datetime.datetime(2026, 1, 2, 3, 4)}
    for value in (numpy.arange(3), numpy.datetime64(1, "ns")):
        with pytest.raises(TypeError, match=r"cs\.sql cannot bind 'id'"):
            run(cs.sql("select :id as id", goods, {"id": value}))


def test_what_fails_is_rolled_back(goods: str) -> None:
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        run(cs.sql("insert into goods values (:id, 'a')", goods, [{"id": 1}, {"id": 1}]))
    assert run(cs.sql("select * from goods", goods)) == []


@every_tier
def test_wrong_sql_fails_with_the_place_of_the_call(db: str, tier: Tier) -> None:
    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
        run(cs.sql("selec 1", db), tier=tier)
    assert any("sql#1" in note and __file__ in note for note in caught.value.__notes__)


def test_a_value_that_is_missing(db: str) -> None:
    with pytest.raises(sqlalchemy.exc.StatementError, match="id"):
        run(cs.sql("select :id", db))


@pytest.mark.parametrize(
    ("query", "db", "params", "error"),
    [
        ("", "sqlite://", None, TypeError),
        (1, "sqlite://", None, TypeError),
        ("select 1", "sqlite://", (1, 2), TypeError),
        ("select 1", "sqlite://", "x", TypeError),
        ("select 1", "shop.db", None, ValueError),
        ("select 1", "nosuch://x/y", None, ValueError),
    ],
)
def test_bad_input_is_refused(query: object, db: object, params: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"cs\.sql"):
        run(cs.sql(query, db, params))


def test_a_password_is_in_no_message() -> None:
    with pytest.raises(ValueError, match=r"cs\.sql") as caught:
        run(cs.sql("select 1", "nosuch://me:secret@x/y"))
    assert "secret" not in str(caught.value)


def test_an_engine_of_your_own_stays_open(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(
        "sqlite://", poolclass=sqlalchemy.pool.StaticPool, connect_args={"check_same_thread": False}
    )
    try:
        run(cs.sql("create table t (x)", engine))
        assert run(cs.sql("select count(*) as n from t", engine)) == [{"n": 0}]
    finally:
        engine.dispose()


@every_tier
def test_when_its_time_is_up_the_statement_ends(tmp_path: Path, tier: Tier) -> None:
    with pytest.raises(TimeoutError, match=r"took longer than 0\.2 seconds: with recursive"):
        run(cs.sql(FOREVER, f"sqlite:///{tmp_path / 'x.db'}", timeout=0.2), tier=tier)
    see_threads_end()


@every_tier
def test_cancelled_in_the_middle_sqlite_stops_and_lets_go(tmp_path: Path, tier: Tier) -> None:
    path = tmp_path / "shop.db"
    db = f"sqlite:///{path}"
    run(cs.sql("create table t (x)", db))
    begun = threading.Event()
    own = sqlalchemy.create_engine(db, poolclass=sqlalchemy.pool.NullPool)

    def say() -> int:
        begun.set()
        return 1

    def connect(connection: sqlite3.Connection, _: object) -> None:
        connection.create_function("begun", 0, say)

    sqlalchemy.event.listen(own, "connect", connect)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            going = engine.start(cs.sql(f"insert into t select begun() union all select * from ({FOREVER})", own))
            assert await asyncio.to_thread(begun.wait, 20)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going

    in_loop(main)
    with sqlite3.connect(path, timeout=0) as connection:  # locked, if the transaction were still open
        connection.execute("insert into t values (7)")
        assert connection.execute("select x from t").fetchall() == [(7,)]
    connection.close()


def test_a_cancel_before_the_statement_begins_is_heard(tmp_path: Path) -> None:
    async def main() -> None:
        for turn in range(10):
            async with Engine() as engine:
                going = engine.start(cs.sql(FOREVER, f"sqlite:///{tmp_path / 'x.db'}"))
                for _ in range(turn):
                    await asyncio.sleep(0)
                going.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await going

    in_loop(main)
    see_threads_end()


@every_tier
def test_cancelled_in_the_middle_postgres_stops_and_the_connection_is_closed(server: str, tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            going = engine.start(cs.sql("select pg_sleep(1000)", server))
            while not any("pg_sleep" in each for each in await asyncio.to_thread(connected, server)):
                await asyncio.sleep(0)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going

    in_loop(main)
    while connected(server):  # the server notices a moment after the connection was closed
        pass


def test_when_its_time_is_up_postgres_stops(server: str) -> None:
    with pytest.raises(TimeoutError, match="took longer than"):
        run(cs.sql("select pg_sleep(1000)", server, timeout=0.3))
    while connected(server):
        pass


def test_a_run_uses_its_connections_again_and_closes_them(server: str) -> None:
    pid = "select pg_backend_pid() as pid"
    first = cs.sql(pid, server)
    second = cs.sql(pid, server).after(first)
    seen = run([first, second])
    assert seen[0] == seen[1]
    while connected(server):
        pass


def test_many_statements_at_once_take_turns(goods: str) -> None:
    count = cs.sql.partial(query="select :n as n", db=goods)
    rows = run(count.map(params=[{"n": str(n)} for n in range(60)]))
    assert [each[0]["n"] for each in rows] == [str(n) for n in range(60)]


def test_a_server_that_is_down(tmp_path: Path) -> None:
    with pytest.raises(sqlalchemy.exc.OperationalError, match="connection"):
        run(cs.sql("select 1", f"postgresql://me@/x?host={tmp_path}"))


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(sqlalchemy.exc.OperationalError, match="unable to open"):
        run(cs.sql("select 1", f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}"))


def test_a_statement_that_cannot_be_stopped_is_left_behind_and_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sql_module, "GRACE", 0.05)
    path = tmp_path / "shop.db"
    run(cs.sql("create table t (x)", f"sqlite:///{path}"))
    begun, released = threading.Event(), threading.Event()
    own = sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=sqlalchemy.pool.NullPool)

    def hang() -> int:
        begun.set()
        released.wait(20)
        return 1

    sqlalchemy.event.listen(own, "connect", lambda connection, _: connection.create_function("hang", 0, hang))

    async def main() -> None:
        async with Engine() as engine:
            going = engine.start(cs.sql("insert into t select hang()", own))
            assert await asyncio.to_thread(begun.wait, 20)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going

    in_loop(main)
    released.set()
    see_threads_end()
    assert run(cs.sql("select * from t", own)) == []
    assert caplog.records == []
