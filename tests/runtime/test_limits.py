"""Limits while an engine runs: which stand, changed from any thread, what is said of them, and bad input."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskBlocked, TaskExecutionStarted
from cascade.spec.limits import Limit, rate_from
from cascade.testing import SpySubscriber
from tests.runtime.limits_log import Log, arrives, with_virtual_engine
from tests.virtual import VirtualLoop
from tests.workflows import Tier, every_tier, in_loop, turns

# --- what stands


class TestStanding:
    def test_limits_are_listed(self) -> None:
        async def main(engine: Engine, loop: VirtualLoop) -> None:
            assert engine.limits() == []
            engine.set_limit("task:fetch*", concurrency=4, rate="30/m")
            engine.pause(ttl=10)
            await asyncio.sleep(4)
            assert engine.limits() == [
                Limit("global", "pause", None, 6.0),
                Limit("task:fetch*", "concurrency", 4, None),
                Limit("task:fetch*", "rate", 0.5, None),
            ]

        with_virtual_engine(main)

    def test_the_last_write_wins_for_each_scope_and_kind(self) -> None:
        engine = Engine()
        engine.set_limit("global", concurrency=4, rate=10, ttl=100)
        engine.set_limit("global", concurrency=2)
        engine.set_limit("task:*", concurrency=1)
        assert [(each.scope, each.kind, each.value, each.expires_in is None) for each in engine.limits()] == [
            ("global", "concurrency", 2, True),
            ("global", "rate", 10, False),
            ("task:*", "concurrency", 1, True),
        ]
        engine.clear_limit("global")
        assert [each.scope for each in engine.limits()] == ["task:*"]

    def test_resuming_leaves_limits_and_clearing_leaves_pauses(self) -> None:
        engine = Engine()
        engine.pause()
        engine.set_limit("global", concurrency=2)
        engine.resume()
        assert [each.kind for each in engine.limits()] == ["concurrency"]
        engine.pause()
        engine.clear_limit("global")
        assert [each.kind for each in engine.limits()] == ["pause"]

    def test_ending_what_does_not_stand_is_fine(self) -> None:
        engine = Engine()
        engine.resume()
        engine.clear_limit("task:nobody")
        assert engine.limits() == []

    @every_tier
    def test_a_limit_ends_by_itself_and_wakes_who_waits(self, tier: Tier) -> None:
        async def main(engine: Engine, loop: VirtualLoop) -> None:
            log = Log()
            engine.pause("task:parse", ttl=30)
            engine.set_limit("task:fetch", rate="1/h", ttl=20)
            assert await engine.run([log.parse(1), log.fetch(2), log.fetch(3)]) == [1, 2, 3]
            assert log.called == [2, 3, 1]
            assert loop.time() == 1030
            assert engine.limits() == []
            assert not engine.admission.stands

        with_virtual_engine(main, tier=tier)

    def test_one_set_while_nothing_runs_ends_all_the_same(self) -> None:
        async def main(engine: Engine, loop: VirtualLoop) -> None:
            log = Log()
            engine.pause(ttl=10)
            await asyncio.sleep(20)
            assert engine.limits() == []
            assert await engine.run(log.parse(1)) == 1
            assert loop.time() == 1020
            assert not engine.admission.stands

        with_virtual_engine(main)

    @every_tier
    def test_a_run_goes_its_short_ways_again_when_no_limit_stands(self, tier: Tier) -> None:
        seen = []

        @cs.task
        async def look() -> None:
            run = next(iter(engine._active.values())).run
            seen.append((run.governed, run.observed))

        @cs.task
        async def clear(x: Any) -> None:
            engine.clear_limit("task:nobody")

        engine: Any = None

        async def main() -> None:
            nonlocal engine
            async with Engine(tier=tier) as engine:
                engine.set_limit("task:nobody", concurrency=1)
                await engine.run(cs.sequence([look(), clear(1), look()]))

        in_loop(main)
        assert seen == [(True, True), (False, False)]

    def test_limits_hold_for_the_next_event_loop_too(self) -> None:
        log = Log()
        engine = Engine()
        engine.set_limit("global", concurrency=1)
        for _ in range(2):
            assert in_loop(lambda: engine.run(log.fetch.map(x=range(3)))) == [0, 1, 2]


# --- from other threads


@every_tier
def test_any_thread_may_change_limits(tier: Tier) -> None:
    log = Log()

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, engine.pause)
            run = engine.start(log.fetch.map(x=range(10)))
            await turns(50)
            assert log.called == []
            await loop.run_in_executor(None, lambda: engine.set_limit("task:fetch", concurrency=1))
            await loop.run_in_executor(None, engine.resume)
            assert await run == [*range(10)]
            assert [each.kind for each in engine.limits()] == ["concurrency"]

    in_loop(main)


def test_many_threads_at_once_lose_nothing() -> None:
    """Each thread sets and clears scopes of its own while calls run; in the end none stands, and all have run."""
    log = Log()

    async def main() -> None:
        async with Engine() as engine:

            def change(number: int) -> None:
                for _ in range(100):
                    engine.set_limit(f"task:fetch*{number}", concurrency=1)
                    engine.pause(f"task:parse*{number}")
                    engine.set_limit("global", concurrency=number + 1)
                    engine.resume(f"task:parse*{number}")
                    engine.clear_limit(f"task:fetch*{number}")

            loop = asyncio.get_running_loop()
            done = asyncio.gather(*[loop.run_in_executor(None, change, number) for number in range(4)])
            for _ in range(20):
                await engine.run([log.fetch.map(x=range(20)), log.parse.map(x=range(20))])
            await done
            await engine.run(log.fetch(1))
            assert [each.scope for each in engine.limits()] == ["global"]
            assert engine.admission._running == {}

    in_loop(main)


# --- events


@every_tier
def test_who_is_held_says_why_once_and_starts_later(tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    log = Log()
    door = asyncio.Event()

    @cs.task
    async def hold() -> None:
        await door.wait()

    async def main() -> None:
        async with Engine(bus=bus, tier=tier) as engine:
            engine.pause("task:parse")
            engine.set_limit("task:hold", concurrency=1)
            engine.set_limit("task:fetch", rate="1/h")
            run = engine.start([log.parse(1), hold(), hold(), log.fetch(1), log.fetch(2)])
            await arrives(lambda: len(spy.events_of_type(TaskBlocked)) == 3)
            assert sorted((e.task_name, e.reason) for e in spy.events_of_type(TaskBlocked)) == [
                ("fetch", "waits for the rate of 0.000277778 calls a second (task:fetch)"),
                ("hold", "waits for a place: concurrency=1 (task:hold)"),
                ("parse", "paused (task:parse)"),
            ]
            engine.resume("task:parse")
            engine.clear_limit("task:fetch")
            door.set()
            await run

    in_loop(main)
    blocked = [e.task_id for e in spy.events_of_type(TaskBlocked)]
    assert len(blocked) == 3
    started = [e.task_id for e in spy.events_of_type(TaskExecutionStarted)]
    assert len(started) == 5
    assert len({e.event_id for e in spy.events}) == len(spy.events)


# --- bad input


class TestBadInput:
    @pytest.mark.parametrize("scope", ["", "task", "task:", "task: ", "tasks:x", "Global", None, 3, "fetch", "run:x"])
    def test_an_unknown_scope(self, scope: Any) -> None:
        engine = Engine()
        for change in (
            engine.pause,
            engine.resume,
            engine.clear_limit,
            lambda scope: engine.set_limit(scope, concurrency=1),
        ):
            with pytest.raises(cs.ConstraintError, match='"global" or "task:<pattern>"'):
                change(scope)
        assert engine.limits() == []

    def test_a_bare_name_gets_a_hint(self) -> None:
        with pytest.raises(cs.ConstraintError, match='"task:fetch"'):
            Engine().pause("fetch")

    @pytest.mark.parametrize("rate", ["", "5", "5/", "/s", "5/d", "-5/s", "5 per second", "1e3/s", "nan/s", "5/s/s"])
    def test_a_rate_that_does_not_parse(self, rate: str) -> None:
        with pytest.raises(cs.ConstraintError, match=r"does not parse; write \"5/s\""):
            Engine().set_limit("global", rate=rate)

    @pytest.mark.parametrize("rate", [0, -1, 0.0, "0/s", "0.0/m", float("inf"), float("nan")])
    def test_a_rate_that_is_not_above_zero(self, rate: Any) -> None:
        with pytest.raises(cs.ConstraintError, match=r"above zero.*pause"):
            Engine().set_limit("global", rate=rate)

    @pytest.mark.parametrize("rate", [True, [], b"5/s", object()])
    def test_a_rate_that_is_none(self, rate: Any) -> None:
        with pytest.raises(cs.ConstraintError, match="a number of calls a second or a text"):
            Engine().set_limit("global", rate=rate)

    @pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, "2", float("inf")])
    def test_a_concurrency_that_is_none(self, concurrency: Any) -> None:
        engine = Engine()
        with pytest.raises(cs.ConstraintError, match=r"whole number of 1 or more, not .*pause"):
            engine.set_limit("global", concurrency=concurrency, rate=5)
        assert engine.limits() == []

    @pytest.mark.parametrize("ttl", [0, -1, "5", True, float("inf"), float("nan")])
    def test_a_ttl_that_is_none(self, ttl: Any) -> None:
        engine = Engine()
        with pytest.raises(cs.ConstraintError, match="ttl is a number of seconds above zero"):
            engine.pause(ttl=ttl)
        with pytest.raises(cs.ConstraintError, match="ttl is a number of seconds above zero"):
            engine.set_limit("global", concurrency=1, ttl=ttl)

    def test_a_limit_of_nothing(self) -> None:
        with pytest.raises(cs.ConstraintError, match=r"needs concurrency=\.\.\. or rate=\.\.\."):
            Engine().set_limit("global")

    @pytest.mark.parametrize(
        ("rate", "expected"),
        [("5/s", 5), ("30/m", 0.5), ("300/h", 1 / 12), (" 0.2 / s ", 0.2), (".5/s", 0.5), (3, 3), (0.25, 0.25)],
    )
    def test_rates_in_calls_a_second(self, rate: Any, expected: float) -> None:
        assert rate_from(rate) == pytest.approx(expected)
