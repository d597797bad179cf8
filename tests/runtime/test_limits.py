"""Limits while an engine runs: pauses, concurrency and rates of scopes, from any thread."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.admission import Admission
from cascade.runtime.events import TaskBlocked, TaskExecutionStarted, TaskRetrying
from cascade.runtime.limits import Bucket
from cascade.spec.limits import Limit, rate_from
from cascade.testing import SpySubscriber
from tests.virtual import VirtualLoop, in_virtual_time
from tests.workflows import Body, Tier, every_body, every_tier, in_loop, turns


class Log:
    """Tasks that say when they are called."""

    def __init__(self) -> None:
        self.called: list[Any] = []

        @cs.task
        async def fetch(x: Any) -> Any:
            self.called.append(x)
            return x

        @cs.task(mode="inline")
        def parse(x: Any) -> Any:
            self.called.append(x)
            return x

        self.fetch = fetch
        self.parse = parse


async def arrives(condition: Callable[[], bool]) -> None:
    """Wait until something has come true."""
    while not condition():
        await asyncio.sleep(0)


def with_virtual_engine(main: Callable[[Engine, VirtualLoop], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Call `main` with an engine whose limits go by virtual time."""

    async def whole(loop: VirtualLoop) -> None:
        async with Engine(**options) as engine:
            engine.admission.limits.clock = loop.time
            await main(engine, loop)

    in_virtual_time(whole)


# --- pauses


class TestPause:
    @every_tier
    @every_body
    def test_nothing_starts_until_it_ends(self, body: Body, tier: Tier) -> None:
        called: list[int] = []

        def work(x: int) -> None:
            called.append(x)

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                engine.pause()
                run = engine.start(body(work)(1))
                await turns(50)
                assert called == []
                engine.resume()
                await run
            assert called == [1]

        in_loop(main)

    @every_tier
    def test_what_runs_goes_on_and_what_comes_next_does_not(self, tier: Tier) -> None:
        log = Log()
        door = asyncio.Event()

        @cs.task
        async def first() -> str:
            log.called.append("first")
            await door.wait()
            log.called.append("over")
            return "first"

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(log.parse(log.fetch(first())))
                await arrives(lambda: log.called == ["first"])
                engine.pause()
                door.set()
                await turns(50)
                assert log.called == ["first", "over"]
                assert run.status == "Running"
                engine.resume()
                assert await run == "first"

        in_loop(main)

    @every_tier
    def test_a_pattern_pauses_the_tasks_whose_names_match(self, tier: Tier) -> None:
        log = Log()

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                engine.pause("task:f?tch*")
                run = engine.start([log.parse("parsed"), log.fetch("fetched"), log.parse("again")])
                await arrives(lambda: len(log.called) == 2)
                await turns(50)
                assert log.called == ["parsed", "again"]
                engine.resume("task:f?tch*")
                assert await run == ["parsed", "fetched", "again"]

        in_loop(main)

    def test_the_name_is_the_task_s_and_not_the_label_of_a_node(self) -> None:
        log = Log()

        async def main() -> None:
            async with Engine() as engine:
                engine.pause("task:label")
                assert await engine.run(log.parse(1).named("label")) == 1
                engine.pause("task:PARSE")
                assert await engine.run(log.parse(2)) == 2

        in_loop(main)

    @every_tier
    def test_each_pause_has_to_end(self, tier: Tier) -> None:
        log = Log()

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                engine.pause()
                engine.pause("task:parse")
                run = engine.start(log.parse(1))
                engine.resume()
                await turns(50)
                assert log.called == []
                engine.resume("task:parse")
                assert await run == 1

        in_loop(main)

    @every_tier
    @pytest.mark.parametrize("kind", ["map", "loop", "tail", "subflow", "item", "route", "retry", "blueprint"])
    def test_every_kind_of_call_is_held(self, kind: str, tier: Tier) -> None:
        called: list[int] = []

        @cs.task(mode="inline")
        def work(x: int = 0) -> int:
            called.append(x)
            return x

        @cs.task(mode="inline")
        def count(n: int) -> Any:
            called.append(n)
            if n == 3:
                engine.pause()
            return cs.Jump("again" if n < 9 else "exit", n + 1 if n < 9 else "done")

        @cs.task(mode="inline")
        def tail(n: int) -> Any:
            called.append(n)
            if n == 3:
                engine.pause()
            return cs.TailCall(kwargs={"n": n + 1}) if n < 9 else "done"

        @cs.task(mode="inline")
        def fail(n: int) -> str:
            called.append(n)
            if len(called) == 4:
                engine.pause()
            if len(called) < 10:
                raise ValueError
            return "done"

        @cs.task(mode="inline")
        def leave(n: int) -> Any:
            called.append(n)
            if len(called) == 4:
                engine.pause()
            return cs.TailCall(kwargs={"n": n + 1}, target_blueprint_id="leave") if n < 9 else "done"

        def bound(node: Any) -> Any:
            return cs.bind(node, cs.select_jump({"again": node, "exit": None}))

        @cs.task(mode="inline")
        def ends() -> Any:
            engine.pause()
            called.extend([0, 1, 2, 3])
            return list(range(4, 10))

        first = ends()
        target = {
            "map": work.map(x=first),
            "loop": bound(count(0)),
            "tail": tail(0),
            "subflow": cs.subflow(work.map(x=cs.Param("xs", type=list)), params={"xs": first}),
            "item": bound(count.map(n=[0])),
            "route": cs.Router("a", {"a": [work(x).after(first) for x in range(4, 10)]}),
            "retry": fail(0).with_retry(20),
            "blueprint": leave(0),
        }[kind]

        engine: Any = None

        async def main() -> None:
            nonlocal engine
            async with Engine(tier=tier) as engine:
                engine.register_blueprint("leave", leave(0))
                run = engine.start(target)
                await arrives(lambda: len(called) >= 4)
                await turns(50)
                if (kind, tier) != ("route", "compile"):  # there it is one step, of a few short calls
                    assert len(called) == 4
                engine.resume()
                await run
            assert len(called) == 10

        in_loop(main)

    @every_tier
    def test_a_long_compiled_loop_stops_and_goes_on_compiled(self, tier: Tier) -> None:
        """The pause comes from another thread, while the loop keeps the event loop's thread busy."""
        count = 0
        is_over = False

        @cs.task(mode="inline")
        def step(n: int) -> Any:
            nonlocal count
            count += 1
            return cs.Jump("exit" if is_over else "again", n + 1)

        @cs.task(mode="inline")
        def add(n: int) -> int:
            return n

        node = step(add(0))
        cs.bind(node, cs.select_jump({"again": node, "exit": None}))

        async def main() -> None:
            nonlocal is_over
            async with Engine(tier=tier) as engine:

                def control() -> int:
                    while count < 1000:
                        pass
                    engine.pause("task:step")
                    return count

                run = engine.start(node)
                await asyncio.get_running_loop().run_in_executor(None, control)
                await turns(50)
                stopped = count
                await turns(50)
                assert count == stopped
                engine.resume("task:step")
                await arrives(lambda: count > stopped + 10_000)
                is_over = True
                assert await run >= stopped + 10_000

        in_loop(main)

    @every_tier
    def test_a_map_of_short_calls_stops_and_goes_on(self, tier: Tier) -> None:
        called: list[int] = []

        @cs.task(mode="inline")
        def work(x: int) -> int:
            called.append(x)
            if x == 500:
                engine.pause("task:work")
            return x

        engine: Any = None

        async def main() -> None:
            nonlocal engine
            async with Engine(tier=tier) as engine:
                run = engine.start(work.map(x=range(5_000)))
                await arrives(lambda: len(called) > 500)
                await turns(50)
                stopped = len(called)
                assert stopped < 5_000
                await turns(50)
                assert len(called) == stopped
                engine.resume("task:work")
                assert len(await run) == 5_000

        in_loop(main)

    def test_a_paused_run_can_be_cancelled(self) -> None:
        log = Log()

        async def main() -> None:
            async with Engine() as engine:
                engine.pause()
                run = engine.start([log.fetch(1), log.parse(2)])
                await turns(20)
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run
                engine.resume()
                assert await engine.run(log.parse(3)) == 3

        in_loop(main)


# --- concurrency


class TestConcurrency:
    @every_tier
    @every_body
    def test_no_more_run_at_once(self, body: Body, tier: Tier) -> None:
        inside = most = 0
        lock = threading.Lock()

        def work(x: int) -> int:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            with lock:
                inside -= 1
            return x

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                engine.set_limit("task:work", concurrency=1)
                assert await engine.run(body(work).map(x=range(30))) == [*range(30)]

        in_loop(main)
        assert most == 1

    @every_tier
    def test_raising_lowering_and_clearing_hold_at_once(self, tier: Tier) -> None:
        doors = [asyncio.Event() for _ in range(8)]
        inside: list[int] = []

        @cs.task
        async def work(x: int) -> int:
            inside.append(x)
            await doors[x].wait()
            inside.remove(x)
            return x

        async def main() -> None:
            async with Engine(tier=tier) as engine:

                async def holds(*expected: int) -> None:
                    await arrives(lambda: inside == [*expected])
                    await turns(20)
                    assert inside == [*expected]

                engine.set_limit("global", concurrency=1)
                run = engine.start([work(x) for x in range(8)])
                await holds(0)
                engine.set_limit("global", concurrency=3)
                await holds(0, 1, 2)
                engine.set_limit("global", concurrency=2)
                doors[0].set()
                await holds(1, 2)
                doors[1].set()
                await holds(2, 3)
                engine.clear_limit("global")
                await holds(2, 3, 4, 5, 6, 7)
                for door in doors:
                    door.set()
                assert await run == [*range(8)]

        in_loop(main)

    def test_a_new_limit_counts_the_calls_that_other_limits_let_in(self) -> None:
        door = asyncio.Event()
        inside: list[int] = []

        @cs.task
        async def work(x: int) -> None:
            inside.append(x)
            await door.wait()

        async def main() -> None:
            async with Engine() as engine:
                engine.set_limit("global", concurrency=2)
                run = engine.start([work(x) for x in range(4)])
                await arrives(lambda: inside == [0, 1])
                engine.set_limit("task:work", concurrency=3)
                engine.clear_limit("global")
                await arrives(lambda: len(inside) == 3)
                await turns(20)
                assert inside == [0, 1, 2]
                door.set()
                await run

        in_loop(main)

    def test_the_runs_of_an_engine_share_a_limit_and_engines_do_not(self) -> None:
        door = asyncio.Event()
        inside: list[str] = []

        @cs.task
        async def work(x: str) -> None:
            inside.append(x)
            await door.wait()

        async def main() -> None:
            async with Engine() as one, Engine() as other:
                one.set_limit("task:work", concurrency=1)
                runs = [one.start(work("one")), one.start(work("one")), other.start(work("other"))]
                await arrives(lambda: len(inside) == 2)
                await turns(20)
                assert sorted(inside) == ["one", "other"]
                door.set()
                for run in runs:
                    await run

        in_loop(main)

    def test_who_waits_for_a_limit_holds_no_constraint_back(self) -> None:
        """Calls of `slow` wait for each other, and not for the capacities that others can use meanwhile."""
        inside: list[str] = []
        doors: dict[str, asyncio.Event] = {}

        async def enter(name: str) -> None:
            inside.append(name)
            await doors.setdefault(name, asyncio.Event()).wait()
            inside.remove(name)

        slow, quick = cs.task(name="slow")(enter), cs.task(name="quick")(enter)

        async def main() -> None:
            async with Engine(system_resources={"gpu": 2}) as engine:
                engine.set_limit("task:slow", concurrency=1)
                names = [slow("a"), slow("b"), quick("c"), quick("d")]
                run = engine.start([node.with_constraints(gpu=1) for node in names])
                await arrives(lambda: inside == ["a", "c"])
                await turns(20)
                assert inside == ["a", "c"]
                doors["a"].set()
                await arrives(lambda: inside == ["c", "b"])
                doors["c"].set()
                await arrives(lambda: inside == ["b", "d"])
                doors["b"].set()
                doors["d"].set()
                await run

        in_loop(main)

    def test_a_place_is_not_held_while_waiting_to_retry(self) -> None:
        log: list[str] = []

        @cs.task
        async def work(x: str) -> str:
            log.append(x)
            if log.count("bad") == 1 and x == "bad":
                raise ValueError
            return x

        async def main(engine: Engine, loop: VirtualLoop) -> None:
            engine.set_limit("task:work", concurrency=1)
            await engine.run([work("bad").with_retry(2, delay=60), work("good")])
            assert log == ["bad", "good", "bad"]
            assert loop.time() == 1060

        with_virtual_engine(main)


# --- rates


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
        bucket = Bucket(5, 100.0)
        assert [bucket.tokens(now) for now in (100.0, 1_000.0)] == [5, 5]
        for _ in range(5):
            bucket.take(1_000.0)
        assert [bucket.tokens(now) for now in (1_000.0, 1_000.19, 1_000.2, 1_000.5, 1_002.0)] == [0, 0, 1, 2, 5]

    def test_at_least_one(self) -> None:
        bucket = Bucket(0.2, 100.0)
        assert bucket.tokens(100.0) == 1
        assert bucket.more_at(100.0) is None
        bucket.take(100.0)
        assert [bucket.tokens(now) for now in (104.9, 105.0, 1_000.0)] == [0, 1, 1]
        assert bucket.more_at(101.0) == 105.0

    @pytest.mark.parametrize("rate", [0.1, 1 / 3, 0.7, 3, 7, 997, 1e4, 1e6])
    def test_at_the_time_that_it_names_there_is_a_token(self, rate: float) -> None:
        now = 1e6
        bucket = Bucket(rate, now)
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
            (run,) = engine.admission.runs
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
            assert engine.admission.runs == set()

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
