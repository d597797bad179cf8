"""Runs with a store: what is recorded, what runs again, what is refused."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.adapters.state.codec import decode
from cascade.errors import ParameterError, RunBusyError, RunChangedError, RunLostError, StateError
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import RunStarted, RunWarning, TaskExecutionStarted
from cascade.runtime.journal.journal import Journal
from cascade.runtime.journal.writer import Writer
from cascade.spec.state import Commit, Owner, RunRecord
from cascade.testing import SpySubscriber
from tests.workflows import TIERS, Tier

calls: list[Any] = []
leaving: list[Any] = []
broken = False


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global broken
    calls.clear()
    broken = False


@cs.task
def load(name: str) -> dict[str, int]:
    calls.append(("load", name))
    return {"n": len(name)}


@cs.task
async def parse(data: dict[str, int]) -> int:
    calls.append(("parse", data["n"]))
    await asyncio.sleep(0)
    return data["n"] * 10


@cs.task
def publish(n: int) -> str:
    calls.append(("publish", n))
    if broken:
        raise ValueError("the printer is on fire")
    return f"{n} pages"


@cs.task
def count(n: int, total: int = 0) -> cs.Jump:
    calls.append(("count", n))
    if broken and n == 3:
        raise ValueError("tired")
    return cs.Jump("again", {"n": n - 1, "total": total + n}) if n else cs.Jump("out", total)


@cs.task
def climb_down(n: int) -> cs.Jump:
    calls.append(("down", n))
    if broken and n == 1:
        raise ValueError("tired")
    return cs.Jump("on", n)


@cs.task
def count_to(n: int, pages: int) -> cs.Jump:
    calls.append(("to", n))
    return cs.Jump("on", n - 1) if n else cs.Jump("out", pages)


@cs.task
def turn(n: int, way: str) -> cs.Jump:
    calls.append(n)
    if broken and n == 100:
        raise ValueError("tired")
    if leaving:
        leaving.pop().cancel()
        time.sleep(0.02)  # so that the event loop is to have a turn
    return cs.Jump("again", n - 1) if n else cs.Jump("out", way)


@cs.task
def climb(n: int, top: int) -> Any:
    calls.append(("climb", n))
    if broken and n == 3:
        raise ValueError("tired")
    return cs.TailCall([n + 1]) if n < top else n


@cs.task
def square(x: int) -> int:
    calls.append(("square", x))
    if broken and x == 2:
        raise ValueError("tired")
    return x * x


def report(name: str = "abc") -> Any:
    return publish(parse(load(name)))


def loop(n: int = 5) -> Any:
    state = count(n)
    return cs.bind(state, cs.select_jump({"again": state, "out": None}))


def run(target: Any, store: Any, params: Any = None, run_id: str = "r", tier: Tier = "auto", **options: Any) -> Any:
    async def main() -> Any:
        engine_options = {name: options.pop(name) for name in ("bus", "durability") if name in options}
        async with Engine(state_backend=store, tier=tier, **engine_options) as engine:
            return await engine.run(target, params, run_id=run_id, **options)

    return asyncio.run(main())


def fail(target: Any, store: Any, **options: Any) -> None:
    """Start a run that fails, as something is broken, and mend that."""
    global broken
    broken = True
    with pytest.raises(ValueError, match=r"tired|fire"):
        run(target, store, **options)
    broken = False
    calls.clear()


@pytest.fixture(params=["memory", "file"])
def store(request: Any, tmp_path: Path) -> Any:
    return MemoryBackend() if request.param == "memory" else tmp_path / "kept" / "runs.db"


class TestWhatRunsAgain:
    @pytest.mark.parametrize("tier", TIERS)
    @pytest.mark.parametrize("durability", ["each", "group", "exit"])
    def test_only_what_has_no_record(self, store: Any, tier: Tier, durability: Any) -> None:
        fail(report(), store, tier=tier, durability=durability)
        assert run(report(), store, tier=tier, durability=durability) == "30 pages"
        assert calls == [("publish", 30)]

    def test_nothing_of_what_has_succeeded(self, store: Any) -> None:
        assert run(report(), store) == run(report(), store) == "30 pages"
        assert len(calls) == 3

    def test_other_runs_have_steps_of_their_own(self, store: Any) -> None:
        run(report(), store)
        run(report(), store, run_id="other")
        assert len(calls) == 6

    @pytest.mark.parametrize("tier", TIERS)
    @pytest.mark.parametrize("durability", ["each", "group"])
    def test_a_loop_goes_on_at_its_entry(self, store: Any, tier: Tier, durability: Any) -> None:
        fail(loop(), store, tier=tier, durability=durability)
        assert run(loop(), store, tier=tier, durability=durability) == 15
        assert calls == [("count", n) for n in (3, 2, 1, 0)]

    @pytest.mark.parametrize("tier", TIERS)
    @pytest.mark.parametrize("durability", ["group", "exit"])
    def test_a_hot_loop_goes_on_at_its_entry(self, tier: Tier, durability: Any) -> None:
        step, store = turn(n=300, way="down"), MemoryBackend()
        target = cs.bind(step, cs.select_jump({"again": step, "out": None}), max_iterations=301)
        fail(target, store, tier=tier, durability=durability)

        async def left() -> None:
            async with Engine(state_backend=store, tier=tier, durability=durability) as engine:
                going = asyncio.ensure_future(engine.run(target, run_id="r"))
                leaving.append(going)
                with pytest.raises(asyncio.CancelledError):
                    await going

        asyncio.run(left())
        assert run(target, store, tier=tier, durability=durability) == "down"
        assert calls[calls.count(100) - 1 :] == [*range(100, -1, -1)]  # the one that was going on may run again

    @pytest.mark.parametrize("tier", TIERS)
    def test_a_tail_call_goes_on_with_its_arguments(self, store: Any, tier: Tier) -> None:
        fail(climb(0, 6), store, tier=tier)
        assert run(climb(0, 6), store, tier=tier) == 6
        assert calls == [("climb", n) for n in (3, 4, 5, 6)]

    @pytest.mark.parametrize("tier", TIERS)
    def test_a_map_calls_only_items_without_a_record(self, store: Any, tier: Tier) -> None:
        fail(square.map(x=[1, 3, 2]), store, tier=tier)
        assert run(square.map(x=[1, 3, 2]), store, tier=tier) == [1, 9, 4]
        assert calls == [("square", 2)]

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("durability", ["each", "group"])
    def test_a_stream_is_read_again_and_gives_what_it_gave(self, store: Any, durability: Any, is_async: bool) -> None:
        given: list[Any] = [1, 0, 2, 3]

        async def later() -> Any:
            for each in given:
                yield each

        def mapped() -> Any:
            return square.map(x=later() if is_async else iter(given), concurrency=1)

        fail(mapped(), store, durability=durability)  # at item 2
        given[0] = 5
        with pytest.raises(RunChangedError, match=r"item square#1\[0\] was 1, and the stream .* gives 5 there now"):
            run(mapped(), store, durability=durability)
        given[:] = [1]
        with pytest.raises(RunChangedError, match=r"ended before item square#1\[1\], which is recorded"):
            run(mapped(), store, durability=durability)
        assert calls == []
        given[:] = [1, 0, 4, 3]  # what has failed, or has not begun, may be another one
        assert run(mapped(), store, durability=durability) == [1, 0, 16, 9]
        assert calls == [("square", 4), ("square", 3)]

    def test_items_of_a_stream_count_by_content_or_type(self, store: Any) -> None:
        @cs.task
        def kind(thing: Any) -> str:
            if broken and thing == [2]:
                raise ValueError("tired")
            return type(thing).__name__

        fail(kind.map(thing=iter([object(), "x" * 100, [2]])), store)
        assert run(kind.map(thing=iter([object(), "x" * 100, [2]])), store, run_id="r") == ["object", "str", "list"]
        fail(kind.map(thing=iter([object(), "x" * 100, [2]])), store, run_id="s")
        with pytest.raises(RunChangedError, match=r"item kind#1\[1\] was str:\w+, and .* gives str:\w+"):
            run(kind.map(thing=iter([object(), "y" * 100, [2]])), store, run_id="s")
        with pytest.raises(RunChangedError, match=r"item kind#1\[0\] was builtins.object, and .* gives None"):
            run(kind.map(thing=iter([None, "x" * 100, [2]])), store, run_id="s")

    def test_items_that_a_map_lets_fail_are_recorded_as_that(self, store: Any) -> None:
        def target() -> Any:
            return publish(square.map(x=[1, 2, 3], on_error="skip"))

        fail(target(), store)
        assert run(target(), store) == "[1, 9] pages"
        assert calls == [("publish", [1, 9])]

    def test_the_steps_inside_of_a_sub_flow(self, store: Any) -> None:
        fail(cs.subflow(report()), store)
        assert run(cs.subflow(report()), store) == "30 pages"
        assert calls == [("publish", 30)]

    def test_concurrent_tail_calls_have_each_their_own(self, store: Any) -> None:
        """Ids in events number programs as a run comes to them; keys must not."""
        slow: dict[str, float] = {"a": 0.0, "b": 0.02}

        @cs.task
        async def hand(x: str) -> cs.TailCall:
            await asyncio.sleep(slow[x])
            return cs.TailCall([x], target_blueprint_id=x)

        @cs.task
        async def work(x: str) -> str:
            calls.append(x)
            if broken and x == "b":
                raise ValueError("tired")
            return x * 2

        async def main() -> Any:
            async with Engine(state_backend=store) as engine:
                for key in "ab":
                    engine.register_blueprint(key, work(cs.Param("x", default="?", type=str)))
                return await engine.run([hand("a"), hand("b")], run_id="r")

        global broken
        broken = True
        with pytest.raises(ValueError, match="tired"):
            asyncio.run(main())
        broken = False
        slow.update(a=0.02, b=0.0)
        assert asyncio.run(main()) == ["aa", "bb"]

    def test_a_value_is_read_as_it_was_when_its_step_ended(self, store: Any) -> None:
        @cs.task
        def spoil(data: dict[str, int]) -> int:
            data["n"] = 99
            return 1

        @cs.task
        def after(data: dict[str, int], _: int) -> int:
            if broken:
                raise ValueError("tired")
            return data["n"]

        def target() -> Any:
            data = load("abc")
            return after(data, spoil(data))

        fail(target(), store)
        assert run(target(), store) == 3

    def test_what_says_so_is_not_recorded(self, store: Any) -> None:
        again = load.with_options(record=False)
        fail(publish(parse(again("abc"))), store)
        run(publish(parse(again("abc"))), store)
        assert calls == [("load", "abc"), ("publish", 30)] or calls == [("publish", 30)]

    @pytest.mark.parametrize("tier", TIERS)
    @pytest.mark.parametrize("durability", ["group", "each"])
    def test_what_reads_what_is_not_recorded_keeps_its_value(self, durability: Any, tier: Any) -> None:
        """Whichever way what is computed again is called, and whichever way what was recorded would be."""
        called: list[str] = []
        broken = True

        def made(name: str, how: str, **options: Any) -> Any:
            def body(n: Any) -> Any:
                called.append(name)
                return n

            async def waits(n: Any) -> Any:
                called.append(name)
                await asyncio.sleep(0)
                return n

            mode: Any = "auto" if how == "async" else how
            return cs.task(name=name, mode=mode, **options)(waits if how == "async" else body)

        def last(values: Any) -> Any:
            if broken:
                raise ValueError("tired")
            return values

        def program() -> Any:
            found = []
            for first in ("async", "auto", "inline", "blocking"):
                for then in ("async", "auto", "inline", "blocking"):
                    again = made("again", first, record=False)
                    steps: list[Any] = [made(f"{first}, then {then} {at}", then) for at in range(6)]
                    loop = steps[3](again(3))
                    cs.bind(loop, cs.select_jump({"on": loop}))
                    found += [
                        *(steps[0](again(0)), steps[0](again(0)), steps[1](steps[1](again(1)))),
                        *(steps[2](again(2)).with_retry(2, delay=0), loop, cs.subflow(steps[4](again(4)))),
                        steps[5].map(n=[again(5), 6]),
                    ]
            return cs.task(last)(found)

        store = MemoryBackend()
        with pytest.raises(ValueError, match="tired"):
            run(program(), store, durability=durability, tier=tier)
        broken = False
        called.clear()
        run(program(), store, durability=durability, tier=tier)
        assert {*called} == {"again"}

    def test_a_retry_counts_on(self, store: Any) -> None:
        attempts: list[int] = []

        @cs.task
        async def flaky() -> str:
            attempts.append(len(attempts) + 1)
            if len(attempts) == 2:
                task = asyncio.current_task()
                assert task is not None
                raise KeyboardInterrupt
            raise ValueError("no")

        with pytest.raises(KeyboardInterrupt):
            run(flaky().with_retry(3, delay=0), store)
        with pytest.raises(ValueError, match="no") as caught:
            run(flaky().with_retry(3, delay=0), store)
        assert len(attempts) == 3
        assert "attempt 3" in caught.value.__notes__[0]


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


class TestSecrets:
    SECRET = "cret-väl"
    token = cs.Param("token", secret=True)
    inner = cs.Param("t", secret=True)

    @pytest.mark.parametrize(
        "target",
        [
            token,
            cs.Env("RECORDED_API_KEY"),
            [token, load(token)],
            load(token).run_if(token),
            {"a": token, "b": load(cs.Env("RECORDED_API_KEY"))},
            cs.Router(cs.Value("a"), {"a": token, "b": cs.Value(1)}),
            cs.subflow([inner, load(inner)], params={"t": token}),
            load.map(name=[token, "x"]),
            cs.task(lambda t: cs.TailCall(target_blueprint_id="called"))(token),
            cs.task(lambda t: {}[t])(token),
        ],
        ids=str,
    )
    def test_no_secret_is_in_the_store(self, target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RECORDED_API_KEY", self.SECRET)
        store, values = MemoryBackend(), list[Any]()

        async def main() -> None:
            async with Engine(state_backend=store) as engine:
                engine.register_blueprint("called", load(self.token))
                for _ in range(2):
                    calls.clear()
                    with suppress(KeyError):  # whose message shows it
                        values.append(await engine.run(target, {"token": self.SECRET}, run_id="r"))

        asyncio.run(main())
        assert "cret-v" not in repr((store._kept["r"].record, store._kept["r"].steps))
        assert (values[1:], calls) == (values[:1], [])

    def test_another_secret_is_no_other_parameter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store, target = MemoryBackend(), [self.token, cs.Env("RECORDED_API_KEY"), load(self.token)]
        for at in "12":
            monkeypatch.setenv("RECORDED_API_KEY", f"key {at}")
            assert run(target, store, {"token": f"token {at}"}) == [f"token {at}", f"key {at}", {"n": 7}]
        assert calls == [("load", "token 1")]
        with pytest.raises(ParameterError, match=r"'token' .* is required and was not given"):
            run(target, store)


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


class TestLookingAtRuns:
    def test_history_and_forgetting(self, store: Any) -> None:
        fail(report(), store)

        async def main() -> None:
            async with Engine(state_backend=store) as engine:
                steps = await engine.history("r")
                assert [(step.task_id, step.kind) for step in steps] == [
                    ("load#1", "value"), ("parse#1", "value"), ("publish#1", "failed"),
                ]  # fmt: skip
                assert steps[0].preview == "{'n': 3}"
                assert "the printer is on fire" in steps[2].error
                assert await engine.forget("r")
                assert not await engine.forget("r")
                with pytest.raises(StateError, match="no recorded run"):
                    await engine.history("r")

        asyncio.run(main())

    def test_a_fork_runs_again_from_a_step_on(self, store: Any) -> None:
        run(report(), store)
        calls.clear()

        async def main() -> None:
            async with Engine(state_backend=store) as engine:
                new = await engine.fork("r", at="parse#1")
                assert await engine.run(report(), run_id=new) == "30 pages"
                assert calls == [("parse", 3), ("publish", 30)]
                with pytest.raises(StateError, match="no step 'sparse#1'; its nodes are: "):
                    await engine.fork("r", at="sparse#1")

        asyncio.run(main())

    @pytest.mark.parametrize("tier", TIERS)
    def test_all_entries_of_a_loop_with_history_are_kept(self, tier: Tier) -> None:
        def target(history: bool = True) -> Any:
            first, second = climb_down(3), count_to(0, parse(load("ab")))
            cs.bind(first, cs.select_jump({"on": second}), history=history)
            cs.bind(second, cs.select_jump({"on": first, "out": None}))
            return publish(first)

        async def main() -> None:
            async with Engine(state_backend=store, tier=tier) as engine:
                kept = {step.task_id: step.preview for step in await engine.history("r")}
                assert [kept[f"climb_down#1@{entry}"] for entry in range(7)] == ["3", "2", "2", "1", "1", "0", "0"]
                assert [kept[f"parse#1@{entry}"] for entry in (1, 3, 5, 7)] == ["20"] * 4
                for entry, first in ((0, ("down", 3)), (4, ("down", 1)), (5, ("to", 1)), (7, ("to", 0))):
                    new = await engine.fork("r", at=f"climb_down#1@{entry}")
                    calls.clear()
                    assert await engine.run(target(), run_id=new) == "20 pages"
                    assert calls[0] == first  # what feeds it is taken over
                    assert kept.keys() == {step.task_id for step in await engine.history(new)}
                for missing in ("climb_down#1@8", "climb_down#1@-1", "climb_down#1@", "parse#1@1"):
                    with pytest.raises(StateError, match=r"not kept: .*history=True"):
                        await engine.fork("r", at=missing)
                await engine.run(target(history=False), run_id="other")
                assert "@" not in repr(await engine.history("other"))
                with pytest.raises(StateError, match=r"fork at the loop: 'climb_down#1'"):
                    await engine.fork("other", at="climb_down#1@4")

        store = MemoryBackend()
        fail(target(), store, tier=tier)
        assert run(target(), store, tier=tier) == "20 pages"
        asyncio.run(main())

    def test_an_engine_without_a_store_says_so(self) -> None:
        async def main() -> None:
            async with Engine() as engine:
                with pytest.raises(StateError, match="state_backend"):
                    await engine.runs()
                with pytest.raises(LookupError, match="going on are: none"):
                    engine.attach("r")

        asyncio.run(main())


class TestKeeping:
    def test_so_many_finished_runs_stay(self, store: Any) -> None:
        async def main() -> None:
            async with Engine(state_backend=store, keep=2) as engine:
                for name in "abcd":
                    await engine.run(report(), run_id=name)
                assert [run.run_id for run in await engine.runs()] == ["d", "c"]
            async with Engine(state_backend=store, keep=0) as engine:
                calls.clear()
                assert await engine.run(report(), run_id="c") == "30 pages"
                assert (calls, await engine.runs()) == ([], [])

        asyncio.run(main())

    def test_so_long_finished_runs_stay(self, store: Any) -> None:
        async def main() -> None:
            for keep, left in ((timedelta(days=1), ["b", "a"]), (timedelta(), ["c"])):
                async with Engine(state_backend=store, keep=keep) as engine:
                    for name in left:
                        await engine.run(report(), run_id=name)
                    assert {"a", "b"}.isdisjoint(run.run_id for run in await engine.runs()) == (not keep)

        asyncio.run(main())

    def test_what_is_not_over_stays(self, store: Any) -> None:
        fail(report(), store, run_id="failed")

        async def main() -> None:
            async with Engine(state_backend=store) as engine:
                waiting = engine.start(cs.wait_signal("go", type=int), run_id="waiting")
                await engine.fork("failed", at="publish#1")  # known, and not begun
                while not await engine.runs(status="Running", limit=2):
                    await asyncio.sleep(0)
                async with Engine(state_backend=store, keep=0) as other:
                    await other.run(report(), run_id="done")
                    left = await other.runs()
                assert sorted(run.status for run in left) == ["Running", "Running"]
                assert "waiting" in [run.run_id for run in left]
                await engine.signal("waiting", "go", 1)
                assert await waiting == 1

        asyncio.run(main())

    def test_many_are_looked_at_seldom_and_forgotten_by_and_by(self) -> None:
        looks: list[int] = []

        class Seen(MemoryBackend):
            def runs(self, *wanted: Any, **more: Any) -> Any:
                found = super().runs(*wanted, **more)
                looks.append(len(found))
                return found

        store = Seen()
        for at in range(250):
            store.create(RunRecord(str(at), "Failed", "", b"", b"", float(at), float(at)))
        writer = Writer(store, 100)

        async def main() -> None:
            for _ in range(44):
                run: Any = Journal(f"run-{len(looks)}", 1, writer, {}, "group")
                writer.begin(run)
                await writer.ask(lambda: None)  # which is answered behind what was asked before
                writer.leave(run)
                await writer.ask(lambda: None)
            await writer.aclose()

        asyncio.run(main())
        assert looks[:3] == [250, 150, 100]
        assert len(looks) == 1 + 87 // 11
        assert sorted(int(run.run_id) for run in store.runs()) == list(range(150, 250))

    def test_a_run_that_is_forgotten_while_it_is_asked_for(self) -> None:
        class Forgetful(MemoryBackend):
            def steps(self, run_id: str) -> Any:
                return []

        store = Forgetful()
        run(report(), store)
        with pytest.raises(StateError, match="was forgotten at this very moment"):
            run(report(), store)

    @pytest.mark.parametrize(
        ("keep", "said"),
        [
            (30.0, "how many finished runs stay"),
            ("30d", "how many finished runs stay"),
            (True, "how many"),
            (-1, "0 or more"),
            (timedelta(-1), "0 or more"),
        ],
    )
    def test_what_is_neither_is_refused(self, keep: Any, said: str) -> None:
        with pytest.raises((TypeError, ValueError), match=said):
            Engine(state_backend="memory", keep=keep)
        with pytest.raises(ValueError, match="for runs that are recorded"):
            Engine(keep=keep)


def test_cs_run_records_and_goes_on(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL)
    options: Any = {"state_backend": tmp_path / "kept" / "runs.db", "run_id": "r", "log_level": "SILENT"}
    global broken
    broken = True
    with pytest.raises(ValueError, match="fire"):
        cs.run(report(), **options)
    broken = False
    calls.clear()
    assert cs.run(report(), **options) == "30 pages"
    assert calls == [("publish", 30)]


def test_commits_of_a_start_are_counted() -> None:
    seen: list[Commit] = []

    class Seen(MemoryBackend):
        def commit(self, commits: Any) -> list[str]:
            seen.extend(commits)
            return super().commit(commits)

    run(report(), Seen(), durability="each")
    assert [commit.number for commit in seen] == list(range(1, len(seen) + 1))


class Committed(MemoryBackend):
    """Knows the values that are committed."""

    def __init__(self) -> None:
        super().__init__()
        self.values: set[Any] = set()

    def commit(self, commits: Any) -> list[str]:
        lost = super().commit(commits)
        for commit in commits:
            self.values.update(repr(decode(step.value)) for step in commit.steps if step.kind == "value")
        return lost


@cs.task(record=False)
def the_last(values: list[int]) -> int:
    return values[-1]


GIVERS: dict[str, Callable[[Any, int], Any]] = {
    "a call": lambda task, x: task(x),
    "a chain": lambda task, x: task(task(x - 100)),
    "one by name": lambda task, x: task(x=x),
    "a sub-flow": lambda task, x: cs.subflow(task(x)),
    "an item": lambda task, x: the_last(task.map(x=[x - 1, x])),
    "a retry": lambda task, x: task(x).with_retry(2),
}
READERS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "arguments": lambda task, a, b: task(a, b),
    "one argument": lambda task, a, b: task(task(a), b),
    "names": lambda task, a, b: task(a=a, b=b),
    "a list": lambda task, a, b: task([a, b]),
    "a condition": lambda task, a, b: task(a).run_if(b),
    "an order": lambda task, a, b: task(a).after(b),
    "a route": lambda task, a, b: cs.Router(b, {}, default=task(a)),
    "a map": lambda task, a, b: task.map(a=[a, b]),
    "a sub-flow": lambda task, a, b: cs.subflow(task(a, b)),
}


class TestNothingReadsWhatIsNotCommitted:
    """With "each": whatever gives a value, and whatever reads it."""

    @pytest.mark.parametrize("tier", TIERS)
    @pytest.mark.parametrize("is_async", [False, True])
    def test_by_all_ways(self, tier: Tier, is_async: bool) -> None:
        early = list[Any]()
        for giver, give in GIVERS.items():
            for reader, read in READERS.items():
                store, given = Committed(), list[int]()

                def make(x: int, given: Any = given) -> int:
                    given.append(x + 100)
                    return x + 100

                async def make_later(x: int, given: Any = given) -> int:
                    await asyncio.sleep(0)
                    given.append(x + 100)
                    return x + 100

                def look(a: Any, b: Any = None, _at: Any = (giver, reader), _store: Any = store) -> int:
                    read = [*(a if isinstance(a, list) else [a]), *([] if b is None else [b])]
                    if _at[1] in ("a condition", "an order", "a route"):
                        read.append(102)
                    early.extend((_at, value) for value in read if repr(value) not in _store.values)
                    return -len(read)

                task = cs.task(make_later if is_async else make)
                target = read(cs.task(look), give(task, 1), give(task, 2))
                for _ in range(2):  # functions are known to be short by then
                    run(target, store, durability="each", tier=tier)
                    store._kept.clear()
                    store.values.clear()
                assert len(given) >= 4
        assert early == []


def test_runs_inside_of_tasks_are_recorded_where_they_have_an_id() -> None:
    @cs.task
    async def outer() -> list[Any]:
        return [await cs.arun(square(2)), await cs.current_engine().run(square(3), run_id="inner")]

    store = MemoryBackend()
    assert run(outer(), store) == [4, 9]
    assert sorted(store._kept) == ["inner", "r"]


def test_results_one_by_one_are_given_again_by_the_next_start(store: Any) -> None:
    async def main() -> list[int]:
        async with Engine(state_backend=store) as engine:
            return [value async for value in engine.as_completed(square.map(x=[1, 3, 2]), run_id="r")]

    global broken
    broken = True
    with pytest.raises(ValueError, match="tired"):
        asyncio.run(main())
    broken = False
    calls.clear()
    assert sorted(asyncio.run(main())) == [1, 4, 9]
    assert calls == [("square", 2)]


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
