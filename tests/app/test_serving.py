"""A server in this process: which runs it takes, and what it does with them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend, SqliteBackend
from cascade.adapters.state.owner import this_process
from cascade.app.serving import Server, ServerReporter, Serving
from cascade.errors import StateError
from cascade.runtime.journal.recorder import Recorder
from cascade.spec.state import Claimed, RunRecord, StateBackend, Wanted

calls: list[Any] = []
released = False
going: set[int] = set()
most_going = 0


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global released, most_going
    calls.clear()
    going.clear()
    most_going = 0
    released = False


def release(is_so: bool = True) -> None:
    global released
    released = is_so


@cs.task
def first(n: int) -> int:
    calls.append(("first", n))
    return n


@cs.task
async def second(n: int) -> int:
    global most_going
    calls.append(("second", n))
    going.add(n)
    most_going = max(most_going, len(going))
    try:
        while n < 0 and not released:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.001)
        if n == 13:
            raise ValueError("no luck")
    finally:
        going.discard(n)
    return 2 * n


flow = second(first(cs.Param("n", type=int)))
other = second(first(cs.Param("n", type=int)))
USUAL = Serving()
PROGRAMS = {"flows.py:main": flow, "main": flow}


def server_of(store: StateBackend, how: Serving = USUAL, programs: Any = PROGRAMS, most: int = 5) -> Server:
    engine = cs.Engine(state_backend=Recorder(store, "group", most))
    return Server(engine, programs, how, ServerReporter("SILENT", "human"))


async def eventually(is_so: Callable[[], Any]) -> None:
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until
        await asyncio.sleep(0.005)


async def put(store: StateBackend, *numbers: int, target: Any = "flows.py:main", **options: Any) -> list[str]:
    async with cs.Engine(state_backend=store) as engine:
        return [await engine.enqueue(target, {"n": n}, **options) for n in numbers]


def statuses(store: StateBackend) -> list[str]:
    return sorted(each.status for each in store.runs())


def served(store: StateBackend, act: Any = None, is_over: Any = None, **about: Any) -> Server:
    """Serve a store until something is so; by default until nothing of it waits or goes on."""
    ended = is_over or (lambda: not {"Enqueued", "Running"} & {*statuses(store)})

    async def serve() -> Server:
        server = server_of(store, **about)
        task = asyncio.ensure_future(server.serve())
        if act is not None:
            await act()
        await eventually(ended)
        server.end()
        await task
        return server

    return asyncio.run(serve())


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateBackend]:
    made: StateBackend = MemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "runs.db")
    made.open()
    yield made
    made.close()


def test_what_is_enqueued_is_carried_out(store: StateBackend) -> None:
    served(store, lambda: put(store, 1, 2, 13))
    assert sorted(calls) == sorted((name, n) for name in ("first", "second") for n in (1, 2, 13))
    assert statuses(store) == ["Failed", "Succeeded", "Succeeded"]
    assert [each.error for each in store.runs(status="Failed")] == ["ValueError: no luck"]


def test_the_highest_priority_comes_first_and_then_the_oldest(store: StateBackend) -> None:
    async def several() -> None:
        for n, priority in ((1, 0), (2, 5), (3, -1), (4, 5)):
            await put(store, n, priority=priority)

    asyncio.run(several())
    served(store, how=Serving(slots=1))
    assert [n for name, n in calls if name == "first"] == [2, 4, 1, 3]


def test_nothing_begins_before_its_time(store: StateBackend) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.4)

    async def act() -> None:
        await put(store, 1, not_before=soon)
        await put(store, 2)
        await put(store, 3, not_before=soon + timedelta(hours=1))

    served(store, act, lambda: len(store.runs(status="Succeeded")) == 2)
    (run,) = [each for each in store.runs(status="Succeeded") if each.created < soon.timestamp() and each.due == 0.0][
        -1:
    ]
    assert [n for name, n in calls if name == "first"] == [2, 1]
    assert run.updated > 0
    assert statuses(store) == ["Enqueued", "Succeeded", "Succeeded"]


class TestWhatIsTaken:
    def test_what_was_handed_back_or_left_goes_on(self, store: StateBackend) -> None:
        async def begin() -> None:
            async with cs.Engine(state_backend=Recorder(store, "group", target="main")) as engine:
                engine.start(flow, {"n": -1}, run_id="handed back")
                engine.start(flow, {"n": -2}, run_id="left")
                await eventually(lambda: len(going) == 2)

        asyncio.run(begin())
        left = store.find("left")
        assert left is not None
        assert left.owner is None
        gone = this_process()._replace(began="long ago")
        store.take("left", left.epoch, gone, left.params, left.fingerprint)
        calls.clear()
        release()
        served(store)
        assert sorted(calls) == [("second", -2), ("second", -1)], "what is recorded is not run again"
        assert statuses(store) == ["Succeeded", "Succeeded"]

    def test_what_has_failed_or_was_cancelled_is_not(self, store: StateBackend) -> None:
        async def begin() -> None:
            async with cs.Engine(state_backend=Recorder(store, "group", target="main")) as engine:
                run = engine.start(flow, {"n": -1}, run_id="cancelled")
                await eventually(lambda: going)
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run
                with pytest.raises(ValueError, match="no luck"):
                    await engine.run(flow, {"n": 13}, run_id="failed")

        asyncio.run(begin())
        calls.clear()
        served(store, lambda: put(store, 1))
        assert {n for _, n in calls} == {1}
        assert statuses(store) == ["Cancelled", "Failed", "Succeeded"]

    def test_neither_is_what_is_of_another_queue_or_program(self, store: StateBackend, tmp_path: Path) -> None:
        evil = tmp_path / "evil.py"
        evil.write_text("raise SystemExit('it was loaded')")

        async def act() -> None:
            await put(store, 1, queue="another")
            await put(store, 2, target=f"{evil}:main")
            await put(store, 3)

        served(store, act, lambda: store.runs(status="Succeeded"))
        assert {n for _, n in calls} == {3}
        assert statuses(store) == ["Enqueued", "Enqueued", "Succeeded"]

    def test_nor_what_has_no_name_or_is_alive(self, store: StateBackend) -> None:
        async def both() -> None:
            async with (
                cs.Engine(state_backend=store) as engine,
                cs.Engine(state_backend=Recorder(store, "group", target="main")) as named,
            ):
                engine.start(flow, {"n": -1}, run_id="no name")
                named.start(flow, {"n": -2}, run_id="alive")
                await eventually(lambda: len(going) == 2)
                await engine.aclose()
                server = server_of(store)
                task = asyncio.ensure_future(server.serve())
                await put(store, 1)
                await eventually(lambda: store.runs(status="Succeeded"))
                await asyncio.sleep(0)
                server.end()
                await task
                assert [each.run_id for each in store.runs(status="Running") if each.owner is None] == ["no name"]

        asyncio.run(both())
        first = [n for name, n in calls if name == "first"]
        assert sorted(first[:2]) == [-2, -1], "the two were begun, in either order: each records by its own writer"
        assert first[2:] == [1]


waits = second(cs.sequence([first(cs.Param("n", type=int)), cs.wait_signal("go", type=int)]))
naps = second(cs.sequence([first(cs.Param("n", type=int)), cs.wait(0.3), first(cs.Param("n", type=int))]))


class TestParking:
    def test_runs_that_only_wait_give_their_place_to_others(self, store: StateBackend) -> None:
        async def act() -> None:
            await put(store, *range(1, 6))
            await eventually(lambda: statuses(store) == ["Parked"] * 5)
            assert {each.due for each in store.runs()} == {math.inf}
            async with cs.Engine(state_backend=store) as engine:
                for each in store.runs():
                    await engine.signal(each.run_id, "go", 10)

        how = Serving(slots=1, park_after=0.01)
        served(store, act, lambda: statuses(store) == ["Succeeded"] * 5, how=how, programs={"flows.py:main": waits})
        assert sorted(calls) == sorted([("first", n) for n in range(1, 6)] + [("second", 10)] * 5)

    def test_what_waits_for_a_time_comes_back_on_another_server(self, store: StateBackend) -> None:
        how, programs = Serving(park_after=0.05), {"flows.py:main": naps}
        served(store, lambda: put(store, 1, 2), lambda: statuses(store) == ["Parked"] * 2, how=how, programs=programs)
        served(store, None, lambda: statuses(store) == ["Succeeded"] * 2, how=how, programs=programs)
        assert sorted(calls) == sorted([("first", n) for n in (1, 1, 2, 2)] + [("second", 1), ("second", 2)])

    def test_what_was_parked_by_its_own_program_comes_back_too(self, store: StateBackend) -> None:
        async def begin() -> None:
            async with cs.Engine(state_backend=store) as engine:
                engine.register_blueprint("naps", naps)
                assert type(await engine.run(engine.blueprints["naps"], {"n": 3}, park=0.05)) is cs.Parked

        asyncio.run(begin())
        served(store, None, lambda: statuses(store) == ["Succeeded"], programs={"naps": naps})
        assert calls == [("first", 3), ("first", 3), ("second", 3)]

    def test_what_it_tells(self, store: StateBackend, capsys: pytest.CaptureFixture[str]) -> None:
        async def serve() -> None:
            engine = cs.Engine(state_backend=Recorder(store, "group"))
            reporter = ServerReporter("INFO", "human")
            reporter.attach(engine.bus)
            server = Server(engine, {"flows.py:main": waits}, Serving(park_after=0.01), reporter)
            task = asyncio.ensure_future(server.serve())
            await put(store, 1, run_id="run")
            await eventually(lambda: statuses(store) == ["Parked"])
            server.end()
            await task

        asyncio.run(serve())
        assert "run run parked after" in (told := capsys.readouterr().err)
        assert "until the signal go" in told


class TestLimits:
    def test_one_server_carries_out_so_many_at_once(self, store: StateBackend) -> None:
        async def act() -> None:
            await put(store, *range(-12, 0))
            await eventually(lambda: len(going) == 3)
            await asyncio.sleep(0)
            release()

        served(store, act, how=Serving(slots=3))
        assert most_going == 3

    def test_the_concurrency_of_a_queue_is_over_all_servers(self, store: StateBackend) -> None:
        async def serve() -> None:
            servers = [server_of(store, Serving(concurrency=2)) for _ in range(3)]
            tasks = [asyncio.ensure_future(each.serve()) for each in servers]
            await put(store, *range(-12, 0))
            await eventually(lambda: len(going) == 2)
            release()
            await eventually(lambda: len(store.runs(status="Succeeded")) == 12)
            for each in servers:
                each.end()
            await asyncio.gather(*tasks)

        asyncio.run(serve())
        assert most_going == 2
        assert len(calls) == 24


class TestEnd:
    def test_what_ends_in_time_ends_and_the_rest_is_handed_back(self, store: StateBackend) -> None:
        async def serve() -> None:
            server = server_of(store, Serving(grace=20))
            task = asyncio.ensure_future(server.serve())
            await put(store, -1)
            await eventually(lambda: going)
            server.end()
            await put(store, 5)
            release()
            await task

        asyncio.run(serve())
        assert statuses(store) == ["Enqueued", "Succeeded"]
        release(False)
        served(store, lambda: put(store, -2), lambda: going, how=Serving(grace=0.01))
        assert [(each.status, each.owner) for each in store.runs(status="Running")] == [("Running", None)]

    def test_asked_twice_it_does_not_wait(self, store: StateBackend) -> None:
        async def serve() -> None:
            server = server_of(store, Serving(grace=1000))
            task = asyncio.ensure_future(server.serve())
            await put(store, -1)
            await eventually(lambda: going)
            server.end()
            server.end()
            await task

        asyncio.run(serve())
        assert [(each.status, each.owner) for each in store.runs()] == [("Running", None)]


class TestRefused:
    def test_a_run_whose_program_is_another_one_now_fails_and_the_server_goes_on(self, store: StateBackend) -> None:
        async def begin() -> None:
            async with cs.Engine(state_backend=Recorder(store, "group", target="main")) as engine:
                engine.start(flow, {"n": -1}, run_id="changed")
                await eventually(lambda: going)

        asyncio.run(begin())
        changed = second(first(first(cs.Param("n", type=int))))
        served(store, lambda: put(store, 4), programs=dict.fromkeys(PROGRAMS, changed))
        assert statuses(store) == ["Failed", "Succeeded"]
        (failed,) = store.runs(status="Failed")
        assert "RunChangedError" in failed.error

    def test_wrong_parameters_fail_at_the_server(self, store: StateBackend) -> None:
        async def act() -> None:
            async with cs.Engine(state_backend=store) as engine:
                await engine.enqueue("flows.py:main", {"m": 1})

        served(store, act)
        assert [("ParameterError" in each.error, each.status) for each in store.runs()] == [(True, "Failed")]

    def test_a_run_that_ends_its_process_again_and_again_is_given_up(self, store: StateBackend) -> None:
        gone = this_process()._replace(began="long ago")
        asyncio.run(put(store, 1, run_id="poison"))
        found = store.find("poison")
        assert found is not None
        for epoch in range(4):
            store.take("poison", epoch, gone, found.params, b"")
        served(store, most=3)
        found = store.find("poison")
        assert found is not None
        assert (found.status, calls) == ("Failed", [])
        assert "was taken over 4 times without a new committed step" in found.error


def test_a_store_that_fails_for_a_while_is_asked_again() -> None:
    class Failing(MemoryBackend):
        failures = 1

        def claim(self, wanted: Wanted) -> Claimed:
            self.failures -= 1
            if self.failures == 0:
                raise StateError("the table is gone")
            return super().claim(wanted)

    store = Failing()
    served(store, lambda: put(store, 1))
    assert statuses(store) == ["Succeeded"]


def test_it_does_without_being_woken() -> None:
    class Mute(MemoryBackend):
        listen = None  # type: ignore[assignment]

    store = Mute()

    async def act() -> None:
        await asyncio.sleep(0.05)  # it has looked by now, and rests
        await put(store, 1)

    served(store, act)
    assert statuses(store) == ["Succeeded"]


def test_who_starts_a_claimed_run_itself_has_it(store: StateBackend) -> None:
    asyncio.run(put(store, 1, run_id="run"))

    class Slow(Server):
        async def _carry_out(self, record: RunRecord) -> None:
            async with cs.Engine(state_backend=store) as engine:
                assert await engine.run(flow, run_id=record.run_id) == 2
            await super()._carry_out(record)

    async def serve() -> None:
        server = Slow(
            cs.Engine(state_backend=Recorder(store, "group")), PROGRAMS, Serving(), ServerReporter("SILENT", "human")
        )
        task = asyncio.ensure_future(server.serve())
        await eventually(lambda: store.runs(status="Succeeded"))
        server.end()
        await task

    asyncio.run(serve())
    assert calls == [("first", 1), ("second", 1)]
