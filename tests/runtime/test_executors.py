"""Executors: where calls run in this process, and how another executor gets them."""

import asyncio
import collections
import functools
import gc
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors import local, workers
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine, MessageBus
from cascade.runtime.event_loop import ticker
from cascade.runtime.events import TaskEvent, TaskExecutionStarted
from cascade.spec import placement
from cascade.spec.placement import SHORT, Profile, profile_of
from cascade.spec.protocols import CallNode
from cascade.testing import MockExecutor, SpyExecutor, SpySubscriber
from tests.workflows import Tier, every_tier, in_loop, run

SYNC: list[Any] = ["inline", "blocking", "compute", "auto"]


class Clock:
    """Stands for the clock that times calls in threads; only `advance` moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time calls by a clock of our own, and wait for the first measure of a function as long as it takes.

    The ticker is not armed: a busy machine can make a short call in place look slow to it.
    """
    clock = Clock()
    monkeypatch.setattr(ticker, "_arm", lambda ticker: None)
    monkeypatch.setattr(workers, "perf_counter", clock)
    monkeypatch.setattr(local, "PATIENCE", 3600.0)
    return clock


def here() -> str:
    """Say where the caller runs: a kind of worker, or the thread of the test."""
    return threading.current_thread().name


LOOP = here()
BLOCKING, COMPUTE = "cascade-blocking", "cascade-compute"


def fresh(func: Callable[..., Any] = here) -> Callable[..., Any]:
    """Return a function of its own, of which nothing is known yet."""

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return call


class TestMode:
    @every_tier
    def test_inline_runs_on_the_loops_thread(self, tier: Tier) -> None:
        task = cs.task(mode="inline")(fresh())
        assert run([task(), task()], tier=tier) == [LOOP, LOOP]

    @every_tier
    @pytest.mark.parametrize(("mode", "name"), [("blocking", BLOCKING), ("compute", COMPUTE)])
    def test_blocking_and_compute_run_in_threads_of_their_kind(self, tier: Tier, mode: Any, name: str) -> None:
        task = cs.task(mode=mode)(fresh(lambda *args, **kwargs: here()))
        async_task = cs.task(mode=mode)(async_here)
        for _ in range(3):  # never promoted, however short
            assert run([task(), task.map(n=[1, 2]), task(n=1).with_retry(2)], tier=tier) == [name, [name] * 2, name]
        assert run(async_task(), tier=tier) == LOOP

    @every_tier
    @pytest.mark.parametrize(("mode", "option"), [("blocking", "blocking_threads"), ("compute", "compute_threads")])
    def test_at_most_so_many_threads_of_a_kind_are_used(self, tier: Tier, mode: Any, option: str) -> None:
        lock, together = threading.Lock(), threading.Barrier(2)
        running: list[int] = []
        most = []

        @cs.task(mode=mode)
        def meet(n: int) -> int:
            with lock:
                running.append(n)
                most.append(len(running))
            together.wait(timeout=30)
            with lock:
                running.remove(n)
            return n

        executor = LocalExecutor(**{option: 2})
        assert run(meet.map(n=range(8)), tier=tier, executor=executor) == list(range(8))
        assert max(most) == 2

    @every_tier
    def test_blocking_calls_do_not_take_the_threads_of_compute(self, tier: Tier) -> None:
        computed = threading.Event()

        @cs.task(mode="blocking")
        def wait() -> bool:
            return computed.wait(timeout=30)

        compute = cs.task(mode="compute")(computed.set)
        executor = LocalExecutor(blocking_threads=1, compute_threads=1)
        assert run([wait(), compute()], tier=tier, executor=executor) == [True, None]


async def async_here() -> str:
    await asyncio.sleep(0)
    return here()


class TestAuto:
    @every_tier
    def test_the_first_call_runs_in_a_thread_and_is_measured(self, tier: Tier, clock: Clock) -> None:
        func = fresh()
        assert not profile_of(func).measured
        assert run(cs.task(func)(), tier=tier) == BLOCKING
        assert profile_of(func).measured

    @every_tier
    def test_a_short_one_is_promoted_to_the_loops_thread(self, tier: Tier, clock: Clock) -> None:
        task = cs.task(fresh())
        assert [run(task(), tier=tier) for _ in range(3)] == [BLOCKING, LOOP, LOOP]

    @every_tier
    def test_a_slow_one_stays_in_threads(self, tier: Tier, clock: Clock) -> None:
        def slow() -> str:
            clock.advance(SHORT * 2)
            return here()

        task = cs.task(fresh(slow))
        assert [run(task(), tier=tier) for _ in range(4)] == [BLOCKING] * 4

    @every_tier
    def test_one_that_becomes_short_is_promoted(self, tier: Tier, clock: Clock) -> None:
        seconds = [1.0, 1.0, 0.0, 0.0]

        def warming_up() -> str:
            if seconds:
                clock.advance(seconds.pop(0))
            return here()

        task = cs.task(fresh(warming_up))
        assert [run(task(), tier=tier) for _ in range(4)] == [BLOCKING, BLOCKING, BLOCKING, LOOP]

    @every_tier
    @pytest.mark.parametrize("mapped", [False, True], ids=["calls", "map"])
    def test_the_others_wait_for_the_first_measure(self, tier: Tier, clock: Clock, mapped: bool) -> None:
        task = cs.task(fresh(lambda n: here()))
        target = task.map(n=range(20)) if mapped else [task(n) for n in range(20)]
        places = run(target, tier=tier)
        assert places == [BLOCKING] + [LOOP] * 19

    @every_tier
    @pytest.mark.parametrize("mapped", [False, True], ids=["calls", "map"])
    def test_but_not_for_ever(self, tier: Tier, mapped: bool) -> None:
        together = threading.Barrier(5)

        def meet(n: int) -> int:
            together.wait(timeout=30)
            return n

        task = cs.task(fresh(meet))
        target = task.map(n=range(5)) if mapped else [task(n) for n in range(5)]
        assert run(target, tier=tier) == [0, 1, 2, 3, 4]

    @every_tier
    def test_what_is_learned_belongs_to_the_function(self, tier: Tier, clock: Clock) -> None:
        func = fresh()
        assert run(cs.task(func)(), tier=tier) == BLOCKING
        assert run(cs.task(name="another")(func)(), tier=tier) == LOOP
        assert run(cs.task(fresh())(), tier=tier) == BLOCKING

    @every_tier
    def test_other_modes_do_not_depend_on_it(self, tier: Tier, clock: Clock) -> None:
        func = fresh()
        run(cs.task(func)(), tier=tier)
        assert run(cs.task(mode="blocking")(func)(), tier=tier) == BLOCKING

    @every_tier
    @pytest.mark.parametrize("mapped", [False, True], ids=["call", "map"])
    def test_a_call_that_holds_the_loop_is_sent_back_to_threads(self, tier: Tier, mapped: bool) -> None:
        engine = Engine(tier=tier)

        def slow(n: int) -> None:
            while engine.ticker.ticks < 2:
                pass

        task = cs.task(func := fresh(slow))
        profile_of(func).learn(0.0)
        assert task.form.inline is not None

        async def main() -> None:
            async with engine:
                await engine.run(task.map(n=[1]) if mapped else task(1))

        in_loop(main)
        assert task.form.inline is None
        assert profile_of(func).relapses == 1

    @every_tier
    @pytest.mark.parametrize("mapped", [False, True], ids=["call", "map"])
    def test_it_comes_back_after_a_probation_that_each_relapse_doubles(
        self, tier: Tier, clock: Clock, mapped: bool
    ) -> None:
        engine = Engine(tier=tier)
        hold: list[bool] = []

        def sometimes_slow(n: int) -> str:
            if hold:
                hold.clear()
                engine.ticker.ticks, engine.ticker.due = 2, True  # what the ticker does meanwhile
            return here()

        task = cs.task(fresh(sometimes_slow))

        async def places() -> list[str]:
            made: list[str] = []
            for n in range(4):
                made += await engine.run(task.map(n=[n]) if mapped else [task(n)])
            return made

        async def main() -> None:
            async with engine:
                assert await places() == [BLOCKING, LOOP, LOOP, LOOP]
                hold.append(True)
                assert await places() == [LOOP, BLOCKING, BLOCKING, LOOP]
                hold.append(True)
                assert await places() == [LOOP, BLOCKING, BLOCKING, BLOCKING]
                assert await places() == [BLOCKING, LOOP, LOOP, LOOP]

        in_loop(main)

    @every_tier
    def test_an_inline_call_that_holds_the_loop_stays_there(self, tier: Tier) -> None:
        engine = Engine(tier=tier)

        @cs.task(mode="inline")
        def slow() -> str:
            while engine.ticker.ticks < 3:
                pass
            return here()

        async def main() -> None:
            async with engine:
                assert [await engine.run([slow()]) for _ in range(2)] == [[LOOP], [LOOP]]

        in_loop(main)

    @every_tier
    def test_the_loop_gets_turns_while_calls_run_in_place(self, tier: Tier) -> None:
        stop: list[bool] = []

        @cs.task(mode="inline")
        def spin(n: int) -> Any:
            return n if stop else cs.TailCall([n + 1])

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(spin(0))
                await asyncio.sleep(0)
                stop.append(True)  # what runs in place would never end if nothing else had a turn
                assert await run >= 0

        in_loop(main)


class TestProfile:
    def test_each_relapse_doubles_the_probation(self) -> None:
        profile = Profile()
        profile.learn(0.0)
        for relapse in range(1, 6):
            assert profile.inline
            profile.demote()
            assert not profile.inline
            for _ in range((1 << relapse) - 1):
                profile.learn(SHORT)
                assert not profile.inline
            profile.learn(SHORT)

    def test_a_long_call_on_probation_starts_it_again(self) -> None:
        profile = Profile()
        profile.learn(0.0)
        profile.demote()
        for seconds in (0.0, SHORT * 2, 0.0):
            profile.learn(seconds)
            assert not profile.inline
        profile.learn(0.0)
        assert profile.inline

    def test_relapses_are_forgotten_after_a_good_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        monkeypatch.setattr(placement, "monotonic", clock)
        profile = Profile()
        profile.learn(0.0)
        profile.demote()
        profile.demote()  # it is not in place any more: nothing to send back
        assert profile.relapses == 1
        profile.learn(0.0)
        profile.learn(0.0)
        clock.advance(placement.GOOD_SECONDS * 2)
        profile.demote()
        assert profile.relapses == 1

    def test_goes_with_its_function(self) -> None:
        func = fresh()
        gc.collect()  # what other tests left goes now, and not in between
        before = len(placement._profiles)
        profile_of(func).learn(0.0)
        assert len(placement._profiles) == before + 1
        del func
        gc.collect()
        assert len(placement._profiles) <= before


user: ContextVar[str] = ContextVar("user", default="nobody")


class TestContextVariables:
    @every_tier
    @pytest.mark.parametrize("mode", [*SYNC, "async"])
    @pytest.mark.parametrize("mapped", [False, True], ids=["call", "map"])
    def test_a_task_sees_those_of_the_caller_of_run(self, tier: Tier, mode: Any, mapped: bool) -> None:
        async def async_who(n: int) -> str:
            await asyncio.sleep(0)
            return user.get()

        task: Any = cs.task(async_who) if mode == "async" else cs.task(mode=mode)(fresh(lambda n: user.get()))

        async def main() -> list[Any]:
            seen = []
            async with Engine(tier=tier) as engine:
                for name in ("ada", "bob"):
                    user.set(name)
                    seen += await engine.run(task.map(n=[1, 2]) if mapped else [task(1), task(2).with_retry(2)])
            return seen

        assert in_loop(main) == ["ada", "ada", "bob", "bob"]

    @every_tier
    def test_so_does_a_resource(self, tier: Tier) -> None:
        @cs.resource
        def sync_user() -> Iterator[str]:
            yield user.get()

        @cs.resource
        async def async_user() -> Any:
            yield user.get()

        @cs.task
        def both(one: str = cs.inject(sync_user), other: str = cs.inject(async_user)) -> tuple[str, str]:
            return one, other

        async def main() -> Any:
            user.set("ada")
            async with Engine(tier=tier) as engine:
                return await engine.run(both())

        assert in_loop(main) == ("ada", "ada")

    @every_tier
    def test_what_a_thread_sets_does_not_leak_to_the_caller(self, tier: Tier) -> None:
        @cs.task(mode="blocking")
        def setter() -> None:
            user.set("thread")

        async def main() -> str:
            user.set("ada")
            async with Engine(tier=tier) as engine:
                await engine.run(setter())
            return user.get()

        assert in_loop(main) == "ada"


class Tracing:
    """An executor that is nobody's subclass."""

    def __init__(self) -> None:
        self.nodes: list[CallNode] = []

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        assert type(args) is tuple
        assert type(kwargs) is dict
        self.nodes.append(node)
        result = node.func(*args, **kwargs)
        return await result if node.is_async else result


class Overriding(LocalExecutor):
    """A subclass that wants to see every call."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.names.append(node.name)
        return await super().execute(node, args, kwargs)


class Bypassed(Overriding):
    """A subclass that may be passed over where a call runs in place."""

    runs_inline = True

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await super().execute(node, args, kwargs)


class Plain(LocalExecutor):
    """A subclass that leaves `execute` as it is."""


class Heir(Bypassed):
    """It overrides nothing, so it is what it inherits."""


class Strict(Bypassed):
    """It overrides again and does not repeat what it may."""

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await super().execute(node, args, kwargs)


@cs.task(mode="inline")
def inc(x: int, by: int = 1) -> int:
    return x + by


@cs.task(mode="blocking")
def blocking_inc(x: int) -> int:
    return x + 1


@cs.task
def auto_inc(x: int) -> int:
    return x + 1


@cs.task
async def async_inc(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


class TestAnotherExecutor:
    @every_tier
    def test_gets_every_node_whatever_its_mode(self, tier: Tier) -> None:
        target = auto_inc(async_inc(blocking_inc(inc(0))))
        for _ in range(2):
            tracing = Tracing()
            assert run(target, tier=tier, executor=tracing) == 4
            assert [node.name for node in tracing.nodes] == ["inc", "blocking_inc", "async_inc", "auto_inc"]

    @every_tier
    def test_even_of_functions_that_were_promoted(self, tier: Tier, clock: Clock) -> None:
        task = cs.task(fresh(lambda x: x))
        assert run(task(1), tier=tier) == 1
        assert task.form.inline is not None
        tracing = Tracing()
        assert run([task(1), task.map(x=[1, 2])], tier=tier, executor=tracing) == [1, [1, 2]]
        assert len(tracing.nodes) == 3

    @every_tier
    def test_is_told_of_the_node(self, tier: Tier) -> None:
        spy = SpyExecutor()
        target = [inc(1, by=2).named("first"), async_inc.map(x=[4, 5]), inc(7)]
        assert run(target, tier=tier, executor=spy) == [3, [5, 6], 8]
        declared = inc.func.__code__.co_firstlineno
        first = next(call for call in spy.calls if call[0].id == "first#1")
        assert first[0] == CallNode("first#1", "inc", inc.func, "inline", False, f"{__file__}:{declared}")
        assert (first[1], first[2]) in (((1, 2), {}), ((1,), {"by": 2}))
        items = {(node.id, node.name, node.func, *args) for node, args, _ in spy.calls if node.is_async}
        assert items == {(f"async_inc#1[{at}]", "async_inc", async_inc.func, 4 + at) for at in (0, 1)}
        assert "inc#1" in {node.id for node, _, _ in spy.calls}

    @every_tier
    def test_gets_items_attempts_and_entries(self, tier: Tier) -> None:
        failures = [ConnectionError(), ConnectionError()]

        @cs.task
        def shaky() -> str:
            if failures:
                raise failures.pop()
            return "done"

        @cs.task
        def countdown(n: int) -> cs.Jump:
            return cs.Jump("again", n - 1) if n else cs.Jump("exit", "out")

        step = countdown(3)
        cs.bind(step, cs.select_jump({"again": step, "exit": None}))
        tail = cs.task(mode="inline")(lambda n: cs.TailCall([n - 1]) if n else "end")
        spy = SpyExecutor()
        target = [inc.map(x=range(5)), shaky().with_retry(3), step, tail(30).named("tail")]
        assert run(target, tier=tier, executor=spy) == [[1, 2, 3, 4, 5], "done", "out", "end"]
        counts = collections.Counter(node.id.split("#")[0] for node, _, _ in spy.calls)
        assert counts == {"inc": 5, "shaky": 3, "countdown": 4, "tail": 31}

    @every_tier
    def test_what_it_returns_is_the_result(self, tier: Tier) -> None:
        mock = MockExecutor({"inc": 40}, default=2)
        assert run([inc(1), async_inc(1), inc.map(x=[1])], tier=tier, executor=mock) == [40, 2, [40]]

    @every_tier
    def test_what_it_raises_comes_out_with_a_note(self, tier: Tier) -> None:
        error = ConnectionError("lost")
        with pytest.raises(ConnectionError) as caught:
            run(inc(inc(1)), tier=tier, executor=MockExecutor({"inc": error}))
        assert caught.value is error
        assert error.__notes__[0].startswith(f"in task inc#1 (declared at {__file__}:")

    @every_tier
    def test_events_are_the_same(self, tier: Tier) -> None:
        def events(executor: Any) -> list[tuple[Any, ...]]:
            spy = SpySubscriber(bus := MessageBus())
            assert run(inc(async_inc(blocking_inc(0))), tier=tier, bus=bus, executor=executor) == 3
            return [(type(event), event.task_id) for event in spy.events_of_type(TaskEvent)]

        assert events(Tracing()) == events(LocalExecutor())

    @every_tier
    def test_a_subclass_that_overrides_execute_is_never_bypassed(self, tier: Tier) -> None:
        for executor in (Overriding(), Strict()):
            assert run([inc(1), inc.map(x=[1, 2]), async_inc(1)], tier=tier, executor=executor) == [2, [2, 3], 2]
            assert sorted(executor.names) == ["async_inc", "inc", "inc", "inc"]

    @every_tier
    def test_unless_it_says_that_it_may_be(self, tier: Tier) -> None:
        for executor in (Bypassed(), Heir()):
            target = [inc(1), inc.map(x=[1, 2]), async_inc(1), blocking_inc(1)]
            assert run(target, tier=tier, executor=executor) == [2, [2, 3], 2, 2]
            assert sorted(executor.names) == ["async_inc", "blocking_inc"]

    @every_tier
    def test_a_subclass_that_leaves_execute_alone_is_like_its_parent(self, tier: Tier, clock: Clock) -> None:
        task = cs.task(fresh())
        assert [run(task(), tier=tier, executor=Plain()) for _ in range(2)] == [BLOCKING, LOOP]

    @every_tier
    def test_saying_so_holds_for_the_class_that_defines_execute(self, tier: Tier) -> None:
        class Later(Overriding):
            runs_inline = True  # Overriding defines `execute`, and it does not say so

        executor = Later()
        assert run(inc(1), tier=tier, executor=executor) == 2
        assert executor.names == ["inc"]

    @every_tier
    def test_local_execute_places_by_mode(self, tier: Tier) -> None:
        executor = Overriding()
        modes: list[Any] = ["inline", "blocking", "compute", "auto"]
        target = [cs.task(mode=mode)(fresh())() for mode in modes]
        assert run(target, tier=tier, executor=executor) == [LOOP, BLOCKING, COMPUTE, BLOCKING]

    @every_tier
    def test_a_call_in_another_executor_sees_the_context_variables(self, tier: Tier) -> None:
        async def main() -> Any:
            user.set("ada")
            async with Engine(tier=tier, executor=Overriding()) as engine:
                return await engine.run([cs.task(mode=mode)(fresh(lambda: user.get()))() for mode in SYNC])

        assert in_loop(main) == ["ada"] * 4

    @every_tier
    def test_results_do_not_depend_on_it(self, tier: Tier) -> None:
        def target() -> Any:
            base = inc(1)
            return [
                base,
                inc(base).run_if(False, otherwise=9),
                auto_inc.map(x=[base, 5]),
                cs.Router(2, {2: async_inc(base)}),
            ]

        expected = [2, 9, [3, 6], 3]
        for executor in (None, LocalExecutor(), Tracing(), Overriding(), Bypassed(), SpyExecutor()):
            assert run(target(), tier=tier, executor=executor) == expected

    def test_started_is_published_before_it_is_called(self) -> None:
        spy = SpySubscriber(bus := MessageBus())

        class Looking(Tracing):
            async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                assert [event.task_id for event in spy.events_of_type(TaskExecutionStarted)] == [node.id]
                return await super().execute(node, args, kwargs)

        assert run(inc(1), bus=bus, executor=Looking()) == 2
