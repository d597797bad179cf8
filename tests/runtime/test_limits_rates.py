"""Limits of how many calls start in a second, by virtual time."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.limits import TokenBucket
from cascade.runtime.events import TaskRetrying
from cascade.testing import SpySubscriber
from tests.runtime.limits_log import Log, arrives, with_virtual_engine
from tests.virtual import VirtualLoop, in_virtual_time
from tests.workflows import Tier, every_tier, turns


class TestRates:
    @every_tier
    @pytest.mark.parametrize(
        ("rate", "seconds"),
        [
            ("0.2/s", [0, 5, 10, 15]),
            ("30/m", [0, 2, 4, 6]),
            ("1800/h", [0, 2, 4, 6]),
            ("2/s", [0, 0, 0.5, 1.0]),
            (4, [0, 0, 0, 0, 0.25, 0.5]),
            (2.5, [0, 0, 0.2, 0.6]),
        ],
    )
    def test_calls_start_when_there_is_a_token(self, rate: Any, seconds: list[float], tier: Tier) -> None:
        starts: list[float] = []

        async def main(engine: Engine, loop: VirtualLoop) -> None:
            begin = loop.time()

            @cs.task(mode="inline")
            def work(x: int) -> None:
                starts.append(loop.time() - begin)

            engine.set_limit("task:work", rate=rate)
            await engine.run(work.map(x=range(len(seconds))))

        with_virtual_engine(main, tier=tier)
        assert starts == pytest.approx(seconds, abs=1e-6)

    @every_tier
    @pytest.mark.parametrize(
        ("rate", "burst", "seconds"),
        [("30/m", 3, [0, 0, 0, 2, 4]), (5, 1, [0, 0.2, 0.4]), ("1/h", 2, [0, 0, 3600]), (2, 2, [0, 0, 0.5, 1.0])],
    )
    def test_a_burst_may_start_at_once_and_then_it_is_the_rate(
        self, rate: Any, burst: int, seconds: list[float], tier: Tier
    ) -> None:
        starts: list[float] = []

        async def main(engine: Engine, loop: VirtualLoop) -> None:
            @cs.task(mode="inline")
            def work(x: int) -> None:
                starts.append(loop.time() - begin)

            engine.set_limit("task:work", rate=rate, burst=burst)
            assert [each.burst for each in engine.limits()] == [burst]
            for _ in range(2):  # an hour fills it again
                begin = loop.time()
                starts.clear()
                await engine.run(work.map(x=range(len(seconds))))
                assert starts == pytest.approx(seconds, abs=1e-6)
                await asyncio.sleep(10_000)

        with_virtual_engine(main, tier=tier)

    def test_a_burst_belongs_to_its_rate(self) -> None:
        async def main(engine: Engine, loop: VirtualLoop) -> None:
            log = Log()
            engine.set_limit("global", rate="1/h", burst=1)
            await engine.run(log.fetch(0))
            engine.set_limit("global", rate="1/h", burst=3)  # what is there is kept, and no more
            started = engine.start(log.fetch.map(x=[1, 2]))
            await asyncio.sleep(3_599)
            assert log.called == [0]
            engine.set_limit("global", concurrency=2)  # leaves the rate and its burst alone
            assert {each.kind: each.burst for each in engine.limits()} == {"concurrency": None, "rate": 3}
            await started
            engine.set_limit("global", rate="1/h")
            assert [each.burst for each in engine.limits()] == [None, None]
            for wrong in (
                {"burst": 2},
                {"rate": 1, "burst": 0},
                {"rate": 1, "burst": 1.5},
                {"concurrency": 1, "burst": 2},
            ):
                with pytest.raises(cs.ConstraintError, match="burst"):
                    engine.set_limit("global", **wrong)

        with_virtual_engine(main)

    def test_calls_let_in_that_have_not_begun_give_back_no_more_than_a_lower_rate_holds(self) -> None:
        async def main(loop: VirtualLoop) -> None:
            started = 0
            admission = Admission({}, loop.time)
            admission.limits.put("global", {"rate": 8.0, "pause": 0.0}, None)

            async def call() -> None:
                nonlocal started
                await admission.enter("work", {}, lambda ticket: None)
                started += 1
                admission.leave("work", {})

            calls = [asyncio.create_task(call()) for _ in range(4)]
            await turns()
            admission.limits.drop("global", "pause")
            admission.changed()  # they are let in now, and have not begun
            admission.limits.put("global", {"rate": 0.2}, None)
            await turns()
            assert started == 1
            await asyncio.sleep(5.1)
            assert started == 2
            for one in calls:
                one.cancel()
            await asyncio.wait(calls)

        in_virtual_time(main)

    @pytest.mark.parametrize(("rate", "seconds"), [(0.2, 10.01), (0.2, 1_000), (7, 100), (500, 10), (10_000, 10)])
    def test_in_the_long_run_it_is_the_rate(self, rate: float, seconds: float) -> None:
        """What the full bucket gave at first is left out."""
        started = 0

        async def main(loop: VirtualLoop) -> None:
            nonlocal started
            admission = Admission({}, loop.time)
            admission.limits.put("global", {"rate": rate}, None)
            full = max(1, int(rate))

            async def calls() -> None:
                nonlocal started
                while True:
                    await admission.enter("work", {}, lambda ticket: None)
                    admission.leave("work", {})
                    started += 1
                    await asyncio.sleep(0)

            workers = [asyncio.create_task(calls()) for _ in range(3)]
            await asyncio.sleep(0)
            await arrives(lambda: started == full)
            await asyncio.sleep(seconds)
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
            assert started - full == pytest.approx(rate * seconds, rel=0.02)

        in_virtual_time(main)

    def test_what_is_not_used_adds_up_for_a_second(self) -> None:
        starts: list[float] = []
        begin = 0.0

        async def main(engine: Engine, loop: VirtualLoop) -> None:
            nonlocal begin

            @cs.task
            async def work(x: int) -> None:
                starts.append(loop.time() - begin)

            engine.set_limit("global", rate=3)
            await engine.run(work.map(x=range(3)))
            await asyncio.sleep(100)
            begin = loop.time()
            starts.clear()
            await engine.run(work.map(x=range(4)))

        with_virtual_engine(main)
        assert starts == pytest.approx([0, 0, 0, 1 / 3])

    @every_tier
    def test_a_raised_rate_wakes_who_waits(self, tier: Tier) -> None:
        async def main(engine: Engine, loop: VirtualLoop) -> None:
            log = Log()
            engine.set_limit("global", rate="1/h")
            run = engine.start(log.fetch.map(x=range(3)))
            await asyncio.sleep(36)
            assert log.called == [0]
            engine.set_limit("global", rate="1/s")
            await run
            assert loop.time() == pytest.approx(1000 + 36 + 0.99 + 1)

        with_virtual_engine(main, tier=tier)

    def test_setting_a_rate_again_does_not_fill_its_bucket(self) -> None:
        async def main(engine: Engine, loop: VirtualLoop) -> None:
            log = Log()
            engine.set_limit("global", rate="1/s")
            await engine.run(log.fetch(1))
            engine.set_limit("global", rate="1/s")
            await engine.run(log.fetch(2))
            engine.set_limit("global", rate="1/m")
            await engine.run(log.fetch(3))
            assert loop.time() == 1061

        with_virtual_engine(main)

    @every_tier
    def test_each_attempt_takes_a_token(self, tier: Tier) -> None:
        starts = []

        async def main(engine: Engine, loop: VirtualLoop) -> None:
            @cs.task
            async def work() -> str:
                starts.append(loop.time())
                if len(starts) < 3:
                    raise ValueError
                return "done"

            spy = SpySubscriber(engine.bus)
            engine.set_limit("task:work", rate="0.5/s")
            assert await engine.run(work().with_retry(3)) == "done"
            assert [e.delay for e in spy.events_of_type(TaskRetrying)] == [0, 0]

        with_virtual_engine(main, tier=tier)
        assert starts == [1000, 1002, 1004]

    @every_tier
    def test_so_does_each_entry_of_a_loop_and_each_tail_call(self, tier: Tier) -> None:
        async def main(engine: Engine, loop: VirtualLoop) -> None:
            @cs.task(mode="inline")
            def step(n: int) -> Any:
                return cs.Jump("again" if n else "exit", n - 1)

            @cs.task(mode="inline")
            def tail(n: int) -> Any:
                return cs.TailCall(kwargs={"n": n - 1}) if n else "done"

            node = step(50)
            cs.bind(node, cs.select_jump({"again": node, "exit": None}))
            engine.set_limit("global", rate="1/s")
            await engine.run(node)
            assert loop.time() == 1050
            await engine.run(tail(50))
            assert loop.time() == 1101

        with_virtual_engine(main, tier=tier)

    def test_a_wait_that_is_cancelled_takes_no_token(self) -> None:
        async def main(loop: VirtualLoop) -> None:
            admission = Admission({"seat": 1}, loop.time)
            admission.limits.put("global", {"rate": 0.1}, None)
            assert admission.governs("work")
            bucket = admission._gauges_of("work")[1]
            assert bucket is not None
            seat = {"seat": 1.0}
            await admission.enter("work", seat, lambda ticket: None)
            await asyncio.sleep(20)
            waiting = asyncio.ensure_future(admission.enter("work", seat, lambda ticket: None))
            await asyncio.sleep(0)
            admission.leave("work", seat)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            await admission.enter("work", seat, lambda ticket: None)
            assert loop.time() == 1020

        in_virtual_time(main)

    def test_nobody_is_woken_for_a_full_bucket(self) -> None:
        async def main(loop: VirtualLoop) -> None:
            admission = Admission({"seat": 1}, loop.time)
            admission.limits.put("global", {"rate": 10.0}, None)
            await admission.enter("work", {"seat": 1.0}, lambda ticket: None)
            waiting = asyncio.ensure_future(admission.enter("work", {"seat": 1.0}, lambda ticket: None))
            await asyncio.sleep(1_000)
            assert admission._timer is None
            waiting.cancel()
            await asyncio.wait([waiting])

        in_virtual_time(main)


class TestBucket:
    def test_it_starts_full_and_holds_one_second_s_worth(self) -> None:
        bucket = TokenBucket(5, 100.0)
        assert [bucket.tokens(now) for now in (100.0, 1_000.0)] == [5, 5]
        for _ in range(5):
            bucket.take(1_000.0)
        assert [bucket.tokens(now) for now in (1_000.0, 1_000.19, 1_000.2, 1_000.5, 1_002.0)] == [0, 0, 1, 2, 5]

    def test_at_least_one(self) -> None:
        bucket = TokenBucket(0.2, 100.0)
        assert bucket.tokens(100.0) == 1
        assert bucket.more_at(100.0) is None
        bucket.take(100.0)
        assert [bucket.tokens(now) for now in (104.9, 105.0, 1_000.0)] == [0, 1, 1]
        assert bucket.more_at(101.0) == 105.0

    @pytest.mark.parametrize("rate", [0.1, 1 / 3, 0.7, 3, 7, 997, 1e4, 1e6])
    def test_at_the_time_that_it_names_there_is_a_token(self, rate: float) -> None:
        now = 1e6
        bucket = TokenBucket(rate, now)
        while bucket.tokens(now):
            bucket.take(now)
            if rate > 1e4:
                break
        for _ in range(200):
            if bucket.tokens(now):
                bucket.take(now)
            at = bucket.more_at(now)
            if at is None:
                break
            now = at
            assert bucket.tokens(now) >= 1
