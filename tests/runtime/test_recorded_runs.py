"""Runs with a store: what is told and refused, and how they end."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.adapters.state.owner import this_process
from cascade.errors import ParameterError, RunBusyError, RunChangedError, RunLostError, StateError
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import RunStarted, RunWarning, TaskExecutionStarted
from cascade.spec.state import Commit, Owner, RunRecord
from cascade.testing import SpySubscriber
from tests.runtime.recorded import broken, calls, fail, load, parse, publish, report, run, square
from tests.runtime.recorded import fresh as fresh
from tests.runtime.recorded import store as store


class TestWhatIsToldAndRefused:
    def test_a_run_that_goes_on_says_so_and_has_no_events_of_recorded_steps(self, store: Any) -> None:
        fail(report(), store)
        bus = MessageBus()
        spy = SpySubscriber(bus)
        run(report(), store, bus=bus)
        (started,) = spy.events_of_type(RunStarted)
        assert (started.resumed, started.recorded) == (True, 2)
        assert [event.task_name for event in spy.events_of_type(TaskExecutionStarted)] == ["publish"]

    def test_ids_of_events_are_unique_over_all_starts(self, store: Any) -> None:
        bus = MessageBus()
        spy = SpySubscriber(bus)
        fail(report(), store, bus=bus)
        run(report(), store, bus=bus)
        ids = [event.event_id for event in spy.events]
        assert len(ids) == len(set(ids))

    def test_other_parameters(self, store: Any) -> None:
        def target() -> Any:
            return publish(parse(load(cs.Param("name", type=str))))

        fail(target(), store, params={"name": "abc"})
        with pytest.raises(ParameterError, match="begun with name='abc', and is given name='xyz'"):
            run(target(), store, {"name": "xyz"})
        assert run(target(), store) == "30 pages"

    def test_another_graph(self, store: Any) -> None:
        fail(report(), store)
        with pytest.raises(RunChangedError, match=r"(?s)added: square#1.*changed: publish#1"):
            run(publish(square(parse(load("abc")))), store)
        with pytest.raises(RunChangedError, match="changed: load#1"):
            run(report("abcd"), store)

    def test_other_code_of_a_recorded_step(self, store: Any) -> None:
        def target(answer: int) -> Any:
            names: dict[str, Any] = {"cs": cs, "calls": calls}
            exec(f"def first():\n    calls.append('first')\n    return {answer}\n", names)
            return publish(cs.task(names["first"])())

        fail(target(1), store)
        bus = MessageBus()
        spy = SpySubscriber(bus)
        with pytest.raises(RunChangedError, match="task 'first'"):
            run(target(2), store, on_change="error")
        assert run(target(2), store, bus=bus) == "1 pages"
        (warning,) = spy.events_of_type(RunWarning)
        assert warning.code == "CodeChanged"
        assert "task 'first'" in warning.message

    def test_other_code_that_is_to_run_again(self, store: Any) -> None:
        def target(answer: int) -> Any:
            names: dict[str, Any] = {"cs": cs, "calls": calls}
            exec(f"def first():\n    return {answer}\n", names)
            return publish(square(cs.task(names["first"])()))

        fail(target(3), store)
        assert run(target(4), store, on_change="rerun") == "16 pages"
        assert calls == [("square", 4), ("publish", 16)]

    def test_a_version_stands_for_the_code(self, store: Any) -> None:
        def target(answer: int) -> Any:
            names: dict[str, Any] = {}
            exec(f"def first():\n    return {answer}\n", names)
            return publish(cs.task(version=1)(names["first"])())

        fail(target(1), store)
        assert run(target(2), store, on_change="error") == "1 pages"

    def test_a_run_that_is_alive(self, store: Any) -> None:
        async def main() -> None:
            gate = asyncio.Event()

            waiting = []

            @cs.task
            async def wait() -> None:
                waiting.append(1)
                await gate.wait()

            async with Engine(state_backend=store) as engine, Engine(state_backend=store) as other:
                going = engine.start(wait(), run_id="r")
                while not waiting:
                    await asyncio.sleep(0.001)
                with pytest.raises(RunBusyError, match="in this very engine"):
                    await engine.run(wait(), run_id="r")
                with pytest.raises(RunBusyError, match="r"):
                    await other.run(wait(), run_id="r")
                assert engine.attach("r").id == "r"
                gate.set()
                await going

        asyncio.run(main())

    def test_a_value_that_cannot_be_recorded_fails_its_own_step(self, store: Any) -> None:
        @cs.task(retry=3)
        async def make() -> Any:
            calls.append("make")
            return lambda: 1

        with pytest.raises(StateError, match=r"task make#1 .*cannot be recorded.*record=False") as caught:
            run(make(), store)
        assert calls == ["make"]
        assert caught.value.__notes__

    def test_ways_that_are_none(self, store: Any) -> None:
        with pytest.raises(ValueError, match='on_change is "keep"'):
            run(report(), store, on_change="maybe")
        with pytest.raises(ValueError, match="durability is"):
            run(report(), store, durability="always")


class TestHowRunsEnd:
    def statuses(self, store: Any) -> dict[str, str]:
        async def main() -> dict[str, str]:
            async with Engine(state_backend=store) as engine:
                return {record.run_id: record.status for record in await engine.runs()}

        return asyncio.run(main())

    def test_the_end_is_in_the_store(self, store: Any) -> None:
        run(report(), store, run_id="good")
        fail(report(), store, run_id="bad")
        assert self.statuses(store) == {"good": "Succeeded", "bad": "Failed"}

    def test_what_is_cancelled_for_good_and_what_is_handed_back(self, store: Any) -> None:
        async def main() -> None:
            waiting = 0

            @cs.task
            async def wait() -> None:
                nonlocal waiting
                waiting += 1
                await asyncio.Event().wait()

            async with Engine(state_backend=store) as engine:
                cancelled = engine.start(wait(), run_id="cancelled")
                left = asyncio.ensure_future(engine.run(wait(), run_id="left"))
                engine.start(wait(), run_id="closed")
                while waiting < 3:
                    await asyncio.sleep(0.001)
                cancelled.cancel()
                left.cancel()
                await asyncio.gather(cancelled, left, return_exceptions=True)
                with pytest.raises(TimeoutError):
                    await engine.run(wait(), run_id="late", timeout=0.2)

        asyncio.run(main())
        found = self.statuses(store)
        assert found == {"cancelled": "Cancelled", "left": "Running", "closed": "Running", "late": "Failed"}

    def test_a_run_that_somebody_else_has_taken_is_lost(self) -> None:
        class Stolen(MemoryBackend):
            def commit(self, commits: Any) -> list[str]:
                return [each.run_id for each in commits]

        with pytest.raises(RunLostError, match="taken over"):
            run(report(), Stolen())

    def test_a_run_that_ends_while_another_start_looks_at_it_is_not_run_again(self) -> None:
        class Ending(MemoryBackend):
            ends = False

            def now(self) -> float:
                time = super().now()
                if self.ends:
                    self.ends = False
                    self.commit([Commit("run", 1, 99, status="Succeeded")])
                return time

        store = Ending()
        store.create(RunRecord("run", "Running", "", b"", b"", 1.0, 1.0, owner=this_process()))
        other = MemoryBackend()
        assert run(report(), other, run_id="run") == "30 pages"
        kept = other.find("run")
        assert kept is not None
        store._kept["run"].record = kept._replace(status="Running", owner=this_process(), beat=time.time())
        calls.clear()
        store.ends = True
        with pytest.raises(RunBusyError):
            run(report(), store, run_id="run")
        found = store.find("run")
        assert found is not None
        assert (found.status, found.epoch, calls) == ("Succeeded", 1, [])

    def test_a_store_that_fails_for_good_ends_the_run(self) -> None:
        class Broken(MemoryBackend):
            def commit(self, commits: Any) -> list[str]:
                raise StateError("the disk is gone")

        with pytest.raises(StateError, match="the disk is gone"):
            run(report(), Broken())

    def test_what_ends_its_process_each_time_is_given_up(self) -> None:
        store = MemoryBackend()
        fail(publish(1), store)
        for kept in store._kept.values():
            kept.record = kept.record._replace(status="Running", owner=None, takeovers=6)
        with pytest.raises(StateError, match=r"taken over \d times without a new committed step"):
            run(publish(1), store)


class TestTimeouts:
    def crash(self, store: MemoryBackend, seconds: float) -> None:
        """Have a store look as if the last start had crashed after so long."""
        kept = store._kept["r"]
        kept.steps.pop("+")
        owner = Owner("another boot", "", 1, "1", "")
        updated = float(int(time.time()) - 1_000_000)
        kept.record = kept.record._replace(status="Running", owner=owner, updated=updated, beat=updated + seconds)

    def test_the_time_of_all_starts_counts(self) -> None:
        store = MemoryBackend()
        fail(report(), store)
        assert 0 <= store._kept["r"].steps["+"].ended < 60
        self.crash(store, 100)
        for _ in range(2):  # a start that does not begin takes no time
            calls.clear()
            with pytest.raises(TimeoutError, match=r"ran for 100 s .* timeout of 99 s is for all its starts"):
                run(report(), store, timeout=99)
            assert calls == []
        fail(report(), store, timeout=1000)
        assert 100 <= store._kept["r"].steps["+"].ended < 160
        self.crash(store, 50)
        fail(report(), store, timeout=1000)
        assert 150 <= store._kept["r"].steps["+"].ended < 250
        assert run(report(), store, timeout=1000) == "30 pages"

    def test_what_is_left_is_the_timeout_of_a_start(self) -> None:
        store = MemoryBackend()

        @cs.task
        async def wait() -> None:
            if not broken:
                await asyncio.Event().wait()
            raise ValueError("tired")

        fail(wait(), store)
        self.crash(store, 1000)
        with pytest.raises(TimeoutError, match=r"its timeout of 1000\.05 s, and these were running: wait#1"):
            run(wait(), store, timeout=1000.05)
        assert store._kept["r"].steps["+"].ended >= 1000

    def test_a_fork_has_not_run(self) -> None:
        store = MemoryBackend()
        fail(report(), store)
        self.crash(store, 100)
        fail(report(), store)

        async def main() -> None:
            async with Engine(state_backend=store) as engine:
                new = await engine.fork("r", at="parse#1")
                assert await engine.run(report(), run_id=new, timeout=90) == "30 pages"

        asyncio.run(main())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": lambda: 0}, "a, a function"),
        ({"a": {"rows": [1, {"at": (2, lambda: 0)}]}, "b": 1}, r"a\['rows'\]\[1\]\['at'\]\[1\], a function"),
        ({"a": 1, "b": [threading.Lock()]}, r"b\[0\], a lock"),
    ],
)
def test_a_parameter_that_cannot_be_recorded_is_told_by_its_place_and_type(given: dict[str, Any], said: str) -> None:
    target = cs.task(len)([cs.Param("a", type=object), cs.Param("b", default=0, type=object)])
    with pytest.raises(StateError, match=f"parameters of a run are recorded, and one of them cannot be: {said} "):
        run(target, MemoryBackend(), given)


def test_an_engine_without_a_store_takes_no_way_to_record() -> None:
    with pytest.raises(ValueError, match="this engine records none"):
        run(report(), None, on_change="rerun")
    with pytest.raises(ValueError, match='"keep", "rerun", "adapt" or "error", not \'mend\''):
        run(report(), MemoryBackend(), on_change="mend")
