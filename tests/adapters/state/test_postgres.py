"""Runs kept in a PostgreSQL server that the tests start: what every store must do, and what a server may do to it."""

import asyncio
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import tables
from cascade.adapters.state.patient import PatientBackend
from cascade.adapters.state.postgres import PostgresBackend
from cascade.adapters.state.signed import SignedBackend
from cascade.errors import RunBusyError, StateError
from cascade.runtime.page.reading import outline_of, page_of
from cascade.spec.state import Commit, Owner, RunRecord, StepRecord, Wanted
from cascade.testing import STATE_CHECKS, check_state_backend
from tests.adapters.state.runs import commit, run, step
from tests.providers.postgres import Server, program
from tests.providers.servers import need

psycopg = need("psycopg")
THERE = Owner("another boot", "another namespace", 8, "1", "far")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if program("initdb") is None and os.environ.get("CASCADE_REQUIRE_ALL") != "1":
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    started = Server()
    try:
        started.start()
        yield started
    finally:
        started.remove()


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    """A store of the test's own: a schema."""
    name = f"store_{abs(hash(request.node.nodeid))}"
    return schema(server, name)


def schema(server: Server, name: str) -> str:
    with psycopg.connect(server.url, autocommit=True) as db:
        db.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
    return f"{server.url}&options=-csearch_path%3D{name}"


@pytest.fixture
def store(url: str) -> Iterator[PostgresBackend]:
    made = PostgresBackend(url)
    made.open()
    yield made
    made.close()


def ask(url: str, query: str) -> Any:
    with psycopg.connect(url, autocommit=True) as db:
        done = db.execute(query)
        return done.fetchall() if done.description else None


@pytest.mark.parametrize("check", STATE_CHECKS)
def test_it_does_what_a_store_must(server: Server, check: str) -> None:
    check_state_backend(lambda name: PostgresBackend(schema(server, f"{check}_{name}")), check)


class TestOpening:
    @pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg", "POSTGRESQL"])
    def test_it_is_found_by_each_scheme(self, url: str, scheme: str) -> None:
        store = PostgresBackend(url.replace("postgresql", scheme, 1))
        store.open()
        assert store.find("run") is None
        store.close()

    @pytest.mark.parametrize(
        ("place", "why"),
        [
            ("postgresql://me:hush@127.0.0.1:1/none", "is not reached: .*Connection refused; start the server"),
            ("postgresql://me@/none?host={home}", 'database "none" does not exist|role "me" does not exist'),
            ("postgresql://me@/none?hots={home}", "is no address of a store: .*hots"),
        ],
    )
    def test_what_is_not_there_is_told_at_once(self, server: Server, place: str, why: str) -> None:
        with pytest.raises(StateError, match=why) as caught:
            PatientBackend(PostgresBackend(place.format(home=server.home))).open()
        assert "hush" not in str(caught.value)

    def test_a_newer_schema_is_refused(self, url: str, store: PostgresBackend) -> None:
        ask(url, "UPDATE cascade_store SET version = 99")
        with pytest.raises(StateError, match=r"newer Cascade \(schema 99"):
            PostgresBackend(url).open()

    def test_a_store_without_queues_gets_them(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(tables, "VERSION", 1)
            first = PostgresBackend(url)
            first.open()
            first.close()
        store = PostgresBackend(url)
        store.open()
        assert store.enqueue(run(owner=None)._replace(status="Enqueued", queue="mail")).queue == "mail"
        assert ask(url, "SELECT version FROM cascade_store") == [(2,)]
        store.close()

    def test_several_make_the_tables_at_once(self, url: str) -> None:
        stores = [PostgresBackend(url) for _ in range(8)]
        failed: list[BaseException] = []

        def begin(store: PostgresBackend) -> None:
            try:
                store.open()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=begin, args=[store]) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert len({store.identity for store in stores}) == 1
        for store in stores:
            store.close()

    def test_without_psycopg_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
        with pytest.raises(ImportError, match=r"pip install cascade-py\[postgres\]"):
            PostgresBackend("postgresql://here")


class TestSeveralAtOnce:
    def race(self, url: str, act: Callable[[PostgresBackend, int], Any]) -> list[Any]:
        """Let eight stores do one thing at once; return what came of it, errors too."""
        stores = [PostgresBackend(url) for _ in range(8)]
        found: list[Any] = [None] * len(stores)
        ready = threading.Barrier(len(stores))

        def work(at: int) -> None:
            stores[at].open()
            ready.wait()
            try:
                found[at] = act(stores[at], at)
            except Exception as error:
                found[at] = error
            finally:
                stores[at].close()

        threads = [threading.Thread(target=work, args=[at]) for at in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def test_one_makes_a_run(self, url: str, store: PostgresBackend) -> None:
        assert sorted(self.race(url, lambda each, at: each.create(run()))) == [False] * 7 + [True]

    def test_one_takes_it(self, url: str, store: PostgresBackend) -> None:
        store.create(run(owner=None)._replace(status="Enqueued"))
        found = self.race(url, lambda each, at: each.take("run", 0, THERE, b"", b""))
        assert [type(each) for each in found if isinstance(each, Exception)] == [RunBusyError] * 7

    def test_messages_are_numbered_without_gaps(self, url: str, store: PostgresBackend) -> None:
        store.create(run())

        def work(each: PostgresBackend, at: int) -> None:
            for n in range(at, at + 20):
                each.send("run", f"m{at}", b"", f"{n}")

        assert self.race(url, work) == [None] * 8
        assert [each.number for each in store.signals("run")] == list(range(1, 28))

    def test_commits_of_many_runs_never_wait_for_each_other_in_a_circle(self, url: str, store: PostgresBackend) -> None:
        for at in range(10):
            store.create(run(f"r{at}"))

        def work(each: PostgresBackend, at: int) -> None:
            for number in range(20):
                names = sorted(range(10), key=lambda name: hash((name, at, number)))
                each.beat([(f"r{name}", 1) for name in names])
                each.commit([commit(number * 8 + at + 1, step(f"k{at}"), run_id=f"r{name}") for name in names])

        assert self.race(url, work) == [None] * 8


class TestQueues:
    def put(self, store: PostgresBackend, *run_ids: str) -> None:
        for run_id in run_ids:
            store.enqueue(run(run_id, owner=None)._replace(status="Enqueued", queue="mail"))

    def test_who_listens_is_woken_also_after_the_server_was_started_again(
        self, server: Server, url: str, store: PostgresBackend
    ) -> None:
        woken: queue.SimpleQueue[int] = queue.SimpleQueue()
        end = store.listen("mail", lambda: woken.put(1))
        assert woken.get(timeout=30), "as soon as it listens, as something may have come before"
        self.put(store, "a")
        assert woken.get(timeout=30)
        store.enqueue(run("b", owner=None)._replace(status="Enqueued", queue="another"))
        server.end()
        server.start()
        assert woken.get(timeout=30)
        patient = PatientBackend(store)
        patient.enqueue(run("c", owner=None)._replace(status="Enqueued", queue="mail"))
        assert woken.get(timeout=30)
        assert woken.empty()
        end()

    @pytest.mark.parametrize("concurrency", [None, 7])
    def test_servers_that_claim_at_once_get_each_run_once(
        self, url: str, store: PostgresBackend, concurrency: int | None
    ) -> None:
        self.put(store, *map(str, range(20)))
        wanted = Wanted("mail", ["flows.py:main"], THERE, 4, concurrency)

        def claim(each: PostgresBackend, at: int) -> list[str]:
            return [found.run_id for _ in range(3) for found in each.claim(wanted).runs]

        found = sorted((run_id for some in TestSeveralAtOnce().race(url, claim) for run_id in some), key=int)
        assert found == [str(each) for each in range(20 if concurrency is None else concurrency)]


class TestFaults:
    def test_a_connection_that_is_lost_is_made_anew(self, url: str, store: PostgresBackend) -> None:
        patient = PatientBackend(store)
        patient.create(run())
        for number in range(1, 4):
            store._db.execute("SET application_name = 'to be ended'")
            ask(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'to be ended'")
            assert patient.commit([commit(number, step(f"k{number}"))]) == []
        assert [each.key for each in patient.steps("run")] == ["k1", "k2", "k3"]

    def test_an_answer_that_is_lost_is_no_second_commit(self, url: str, store: PostgresBackend) -> None:
        store.create(run())
        store.commit([commit(1, step("a", b"j11"))])
        store.commit([commit(1, step("a", b"j12"), step("b"))])
        assert [(each.key, each.value) for each in store.steps("run")] == [("a", b"j11")]

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGQUIT])
    def test_a_server_that_is_started_again_goes_on(self, server: Server, store: PostgresBackend, how: int) -> None:
        patient = PatientBackend(store)
        patient.create(run())
        patient.commit([commit(1, step("a"))])
        server.end(how)
        again = threading.Timer(0.3, server.start)
        again.start()
        assert patient.commit([commit(2, step("b"))]) == []
        again.join()
        assert [each.key for each in patient.steps("run")] == ["a", "b"]

    def test_nothing_of_a_commit_that_fails_is_there(self, url: str, store: PostgresBackend) -> None:
        store.create(run())
        ask(url, "ALTER TABLE cascade_steps ADD CHECK (key <> 'bad')")
        with pytest.raises(StateError, match="cannot be used"):
            store.commit([commit(1, step("good"), step("bad"))])
        assert list(store.steps("run")) == []
        assert store.commit([commit(1, step("good"))]) == []

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    def test_a_fork_leaves_the_connection_to_its_parent(self, url: str, store: PostgresBackend) -> None:
        store.create(run())
        child = multiprocessing.get_context("fork").Process(target=_see, args=[store])
        child.start()
        child.join()
        assert child.exitcode == 0
        assert store.commit([commit(1, step("a"))]) == []
        assert [each.key for each in store.steps("run")] == ["a"]


def _see(store: PostgresBackend) -> None:
    assert store.find("run") is not None


class TestWhatIsKept:
    def test_keys_and_names_may_be_long(self, store: PostgresBackend) -> None:
        name = "x" * 100_000
        store.create(run(name))
        store.commit([commit(1, step(name), step(f"{name}y"), run_id=name)])
        store.send(name, name, b"", name)
        store.send(name, name, b"", name)
        assert [len(each.key) for each in store.steps(name)] == [100_000, 100_001]
        assert len(store.signals(name)) == 1

    def test_backslashes_and_nulls_come_back(self, store: PostgresBackend) -> None:
        names = ["\\", "\\0", "\x00", "a\\\x00b\\0", "\\\\0"]
        store.create(run())
        store.commit([commit(1, *[step(name) for name in names])])
        assert [each.key for each in store.steps("run")] == names

    def test_half_a_character_in_a_name_is_a_clear_error(self, store: PostgresBackend) -> None:
        with pytest.raises(StateError, match="half a character"):
            store.create(run("\ud800"))


class Plain:
    """What has no form but a pickle."""

    def __init__(self, x: int) -> None:
        self.x = x


class TestRuns:
    """Whole runs, by the URL alone."""

    def flow(self, calls: list[str], fails: list[int]) -> Any:
        @cs.task
        def first(x: int) -> Any:
            calls.append("first")
            return Plain(x) if x > 100 else x + 1

        @cs.task
        def second(given: Any) -> int:
            calls.append("second")
            if fails:
                raise OSError("no")
            return (given.x if isinstance(given, Plain) else given) * 2

        return second(first(cs.Param("x", type=int)))

    @pytest.mark.parametrize("durability", ["each", "group", "exit"])
    def test_a_run_goes_on_where_it_was(self, url: str, durability: Any) -> None:
        calls: list[str] = []
        fails = [1]
        target = self.flow(calls, fails)

        async def go() -> int:
            async with cs.Engine(state_backend=url, durability=durability) as engine:
                found: int = await engine.run(target, {"x": 20}, run_id="r")
                return found

        with pytest.raises(OSError, match="no"):
            asyncio.run(go())
        fails.clear()
        assert asyncio.run(go()) == 42
        assert asyncio.run(go()) == 42
        assert calls == ["first", "second", "second"]

    def test_a_pickle_needs_a_secret(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CASCADE_SECRET", raising=False)
        calls: list[str] = []
        target = self.flow(calls, [])

        async def go() -> int:
            async with cs.Engine(state_backend=url) as engine:
                found: int = await engine.run(target, {"x": 200}, run_id="r")
                return found

        with pytest.raises(StateError, match=r"first.*a Plain cannot be recorded.*set CASCADE_SECRET"):
            asyncio.run(go())
        monkeypatch.setenv("CASCADE_SECRET", "long and random")
        assert asyncio.run(go()) == 400
        assert calls == ["first", "first", "second"]

    def test_a_message_from_another_process_is_taken_once(self, url: str) -> None:
        async def waits() -> Any:
            async with cs.Engine(state_backend=url) as engine:
                run = engine.start(cs.wait_signal("go", type=int), run_id="r")
                await asyncio.sleep(0.05)
                other = cs.Engine(state_backend=url)
                while not any(each.run_id == "r" for each in await other.runs()):
                    await asyncio.sleep(0.01)
                await other.signal("r", "go", 7, id="once")
                await other.signal("r", "go", 8, id="once")
                await other.aclose()
                return await run

        assert asyncio.run(waits()) == 7


class OneByOne:
    """A store that can do no more than give all steps."""

    def __init__(self, store: PostgresBackend) -> None:
        self.steps = store.steps


class TestLooking:
    def steps(self) -> list[StepRecord]:
        def step(key: str, task_id: str, kind: str = "value", entry: int = -1, error: str = "") -> StepRecord:
            return StepRecord(key, entry, kind, b"large", task_id, 1 + (kind == "failed"), 1.0, 2.5, error, "shown")

        return [
            *(step(f"1[{at}]", f"double#1[{at}]") for at in range(150)),
            step("2", "double#10"),
            step("3", "a\\b\x00中文#1[x]", "failed", error="No \x00 luck"),
            step("4", "fails#1", "failed", error="no LUCK"),
            step("5", "late#1", "skipped"),
            *(step(f"6@{at}", "again#1", entry=at) for at in range(5)),
            step("7?", "open#1", "begun"),
            step("8?", "closed#1", "begun"),
            step("8", "closed#1"),
            step("9^", "loop#1", "place"),
            step("10", ""),
        ]

    def test_steps_in_pages_are_those_read_one_by_one(self, store: PostgresBackend) -> None:
        assert store.create(RunRecord("r", "Running", "", b"", b"{}", 1.0, 1.0, owner=THERE))
        store.commit([Commit("r", 1, 1, self.steps())])

        def rows(backend: Any, **wanted: Any) -> list[dict[str, Any]]:
            asked = {"after": 0, "limit": 1000, "status": None, "text": "", "node": None, "iteration": None} | wanted
            return [{**row, "number": None} for row in page_of(backend, "r", **asked)]

        wanted: list[dict[str, Any]] = [
            {},
            {"limit": 7},
            *({"status": status} for status in ("Succeeded", "Failed", "Skipped", "Running")),
            *({"node": node} for node in ("double#1", "double#10", "a\\b\x00中文#1", "none")),
            *({"text": text} for text in ("luck", "LUCK", "#1[14", "\\", "nothing like it")),
            {"iteration": 3},
            {"status": "Running", "limit": 1},
        ]
        for each in wanted:
            assert rows(store, **each) == rows(OneByOne(store), **each), each
        assert [row["task_id"] for row in rows(store, status="Running")] == ["open#1"]
        paged, after = [], 0
        while page := page_of(store, "r", after, 50, None, "", None, None):
            paged += page
            after = page[-1]["number"]
        assert [row["task_id"] for row in paged] == [row["task_id"] for row in rows(store)]

        ours, others = outline_of(store, "r"), outline_of(OneByOne(store), "r")  # type: ignore[arg-type]
        assert ours.counts() == others.counts()
        assert ours.total == others.total == 161
        shown = {node.name: node.to_dict("Running") for node in ours.nodes.values()}
        assert shown == {node.name: node.to_dict("Running") for node in others.nodes.values()}
        assert page_of(store, "none", 0, 10, None, "", None, None) == []
        assert outline_of(store, "none").total == 0

    def test_a_store_that_signs_is_read_in_pages_too(self, store: PostgresBackend) -> None:
        assert store.create(RunRecord("r", "Running", "", b"", b"{}", 1.0, 1.0, owner=THERE))
        store.commit([Commit("r", 1, 1, self.steps())])
        store.steps = None  # type: ignore[assignment,method-assign]
        assert len(page_of(SignedBackend(store, "secret"), "r", 0, 20, None, "", None, None)) == 20
        assert outline_of(SignedBackend(store, "secret"), "r").total == 161
