"""Events as runs publish them: which, in what order, with which ids, to whom."""

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from time import time
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus, Run
from cascade.runtime.events import (
    ConnectorEvent,
    Event,
    ResourceAcquired,
    ResourceReleased,
    RunEvent,
    RunFinished,
    RunStarted,
    RunWarning,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.testing import SpyExecutor, SpySubscriber
from tests.workflows import Tier, every_tier, in_loop, run, turns

BUFFER = 10_000


@cs.task(mode="inline")
def double(x: int) -> int:
    return 2 * x


@cs.task
async def slow(x: int) -> int:
    await asyncio.sleep(0)
    return x


@cs.task
async def stay() -> None:
    await asyncio.Event().wait()


@cs.task(mode="inline")
def countdown(n: int) -> cs.Jump:
    return cs.Jump("again" if n else "exit", n - 1)


def loop(n: int) -> Any:
    step = countdown(n)
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}))


def spied(target: Any, params: Any = None, *, previews: int | None = None, **options: Any) -> list[Event]:
    bus = MessageBus(previews=previews)
    spy = SpySubscriber(bus)
    run(target, params, bus=bus, **options)
    return spy.events


def told(events: list[Event]) -> list[str]:
    """Write task events as `+double#1`, `-double#1`; others by their type."""
    signs: dict[type, str] = {TaskExecutionStarted: "+", TaskExecutionFinished: "-"}
    return [
        signs.get(type(event), type(event).__name__ + " ") + event.task_id
        if isinstance(event, TaskEvent)
        else type(event).__name__
        for event in events
    ]


# --- which there are, and their order


@every_tier
def test_a_run_starts_its_tasks_run_and_it_finishes(tier: Tier) -> None:
    events = spied(double(double(cs.Param("n", 1))), {"n": 3}, tier=tier)
    assert told(events) == ["RunStarted", "+double#1", "-double#1", "+double#2", "-double#2", "RunFinished"]
    started, *tasks, finished = events
    assert isinstance(started, RunStarted)
    assert isinstance(finished, RunFinished)
    assert started.target_tasks == ("double",)
    assert dict(started.params) == {"n": 3}
    assert (finished.status, finished.error) == ("Succeeded", None)
    assert {event.run_id for event in events} == {started.run_id}
    assert all(isinstance(event, TaskEvent) and event.task_name == "double" and event.iteration == 0 for event in tasks)


@every_tier
@pytest.mark.parametrize("mode", ["inline", "blocking", "compute", "auto", "async"])
def test_the_start_of_a_call_comes_before_it_and_the_end_after_it(mode: Any, tier: Tier) -> None:
    log: list[str] = []

    def work(x: int) -> int:
        log.append(f"call {x}")
        return x

    async def work_async(x: int) -> int:
        return work(x)

    task = cs.task(work_async) if mode == "async" else cs.task(mode=mode)(work)
    bus = MessageBus()
    bus.subscribe(TaskEvent, lambda event: log.append(type(event).__name__[13:]))
    run(task(task(task(1))), tier=tier, bus=bus)
    assert log == ["Started", "call 1", "Finished"] * 3


def test_target_tasks_are_the_names_of_what_was_asked_for() -> None:
    for target, names in [
        (double(1), ("double",)),
        (double(1).named("label"), ("label",)),
        ([double(1), 5, {"a": slow(2)}], ("double", "dict")),
        (double.map(x=[1]), ("double",)),
        ((loop(1),), ("countdown",)),
        (cs.sequence([slow(1), double(1)]), ("double",)),
        ([cs.sequence([slow(1), double(1)]), slow(2)], ("double", "slow")),
    ]:
        started = spied(target)[0]
        assert isinstance(started, RunStarted)
        assert started.target_tasks == names


@every_tier
def test_an_error_found_before_the_run_starts_publishes_nothing(tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    for target, params in [(double(cs.Param("n")), {}), (double(1), {"n": 1}), (double, {})]:
        with pytest.raises((cs.ParameterError, TypeError)):
            run(target, params, tier=tier, bus=bus)
    assert spy.events == []


@every_tier
def test_maps_routers_parameters_and_sub_flows_have_no_events_of_their_own(tier: Tier) -> None:
    inner = cs.subflow(double(cs.Param("n", type=int)), {"n": double(1)})
    target = [double.map(x=[1]), cs.Router(cs.Param("key", "a"), {"a": inner, "b": double(9)})]
    events = spied(target, tier=tier)
    ids = {event.task_id for event in events if isinstance(event, TaskEvent)}
    assert ids == {"double#1[0]", "double#2", "double#3", "double#4"}
    skips = [(event.task_id, event.reason) for event in events if isinstance(event, TaskSkipped)]
    assert [reason for _, reason in skips] == ["Pruned"]


@every_tier
def test_items_of_a_map_have_the_ids_of_their_places(tier: Tier) -> None:
    events = spied(double.map(x=[5, 6, 7]), tier=tier)
    assert told(events)[1:-1] == [
        "+double#1[0]",
        "-double#1[0]",
        "+double#1[1]",
        "-double#1[1]",
        "+double#1[2]",
        "-double#1[2]",
    ]
    assert {event.task_name for event in events if isinstance(event, TaskEvent)} == {"double"}


@every_tier
@pytest.mark.parametrize("entries", [3, 100])
def test_each_entry_of_a_loop_has_its_own_events(entries: int, tier: Tier) -> None:
    events = [event for event in spied(loop(entries - 1), tier=tier) if isinstance(event, TaskEvent)]
    assert {event.task_id for event in events} == {"countdown#1"}
    assert [event.iteration for event in events] == [at for at in range(entries) for _ in "ab"]
    assert [type(event) for event in events] == [TaskExecutionStarted, TaskExecutionFinished] * entries


@every_tier
def test_an_outer_loop_does_not_reset_the_iterations_of_an_inner_one(tier: Tier) -> None:
    @cs.task(mode="inline")
    def outer(inner: int, n: int = 0) -> cs.Jump:
        return cs.Jump("again" if n < 2 else "exit", {"n": n + 1} if n < 2 else inner)

    around = outer(loop(1))
    cs.bind(around, cs.select_jump({"again": around, "exit": None}))
    events = [event for event in spied(around, tier=tier) if isinstance(event, TaskExecutionStarted)]
    assert [event.iteration for event in events if event.task_name == "outer"] == [0, 1, 2]
    assert [event.iteration for event in events if event.task_name == "countdown"] == [0, 1, 2, 3, 4, 5]


@every_tier
def test_a_label_is_in_the_id_and_the_name_stays(tier: Tier) -> None:
    events = spied([double(1).named("first"), double(2), double(3).named("first")], tier=tier)
    found = [(event.task_id, event.task_name) for event in events if isinstance(event, TaskExecutionStarted)]
    assert found == [("first#1", "double"), ("double#1", "double"), ("first#2", "double")]


@every_tier
def test_a_skip_is_the_only_event_of_its_node(tier: Tier) -> None:
    events = spied([double(1).run_if(False, otherwise=0), slow(2)], tier=tier)
    assert told(events)[1:-1] == ["TaskSkipped double#1", "+slow#1", "-slow#1"]


@every_tier
def test_every_id_is_unique_in_its_run(tier: Tier) -> None:
    @cs.resource(scope="task")
    def thing() -> Iterator[int]:
        yield 1

    attempts: dict[int, int] = {}

    @cs.task
    def flaky(x: int, it: Any = cs.inject(thing)) -> int:
        attempts[x] = attempts.get(x, 0) + 1
        if attempts[x] < 3:
            raise ConnectionError
        return x

    target = [
        flaky.map(x=range(5)).with_retry(3).with_constraints(seat=1),
        loop(50),
        cs.subflow([loop(5), double.map(x=[1, 2])]),
        double(1).run_if(False, otherwise=1),
        cs.Router("a", {"a": double(2), "b": double(3)}),
    ]
    events = spied(target, tier=tier, system_resources={"seat": 1})
    assert len({event.event_id for event in events}) == len(events)
    assert len(events) > 150
    for event in events:
        assert not isinstance(event, ConnectorEvent)


@every_tier
def test_times_are_of_the_clock_and_durations_of_a_monotonic_one(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    before = time()
    bus = MessageBus()
    spy = SpySubscriber(bus)
    run([double(1), slow(2), loop(50), double.map(x=[1, 2])], tier=tier, bus=bus)
    assert all(before <= event.timestamp <= time() for event in spy.events)
    ended = spy.events_of_type(TaskExecutionFinished)
    (finished,) = spy.events_of_type(RunFinished)
    assert all(0 <= event.duration <= finished.duration for event in ended)
    assert finished.duration > 0
    assert [event.timestamp for event in spy.events] == sorted(event.timestamp for event in spy.events)


@every_tier
def test_the_duration_of_a_call_includes_its_retries_and_waits(tier: Tier) -> None:
    calls = []

    @cs.task(mode="inline")
    def flaky() -> None:
        calls.append(1)
        if len(calls) < 2:
            raise ConnectionError

    events = spied(flaky().with_retry(2, delay=0.02), tier=tier)
    (finished,) = [event for event in events if isinstance(event, TaskExecutionFinished)]
    (retrying,) = [event for event in events if isinstance(event, TaskRetrying)]
    assert finished.duration >= 0.02
    assert retrying.delay == 0.02


# --- previews


@every_tier
@pytest.mark.parametrize("place", ["alone", "async", "thread", "map", "loop"])
def test_previews_are_the_first_characters_of_results_for_who_asks(place: str, tier: Tier) -> None:
    value = "a long result"
    give: Callable[..., str] = lambda x=0: value  # noqa: E731

    async def give_async(x: int = 0) -> str:
        return value

    inline = cs.task(mode="inline", name="give")(give)
    again = inline()
    cs.bind(again, cs.select_jump({"again": again}))
    target: Any = {
        "alone": inline(),
        "async": cs.task(give_async)(),
        "thread": cs.task(mode="blocking", name="give")(give)(),
        "map": inline.map(x=[1]),
        "loop": again,
    }[place]
    for previews, expected in [(None, None), (0, ""), (5, "'a lo"), (1000, "'a long result'")]:
        events = spied(target, previews=previews, tier=tier)
        assert [event.result_preview for event in events if isinstance(event, TaskExecutionFinished)] == [expected]


@every_tier
def test_results_are_not_shown_to_who_does_not_ask(tier: Tier) -> None:
    shown = []

    class Shy:
        def __repr__(self) -> str:
            shown.append(1)
            return "shy"

    async def main() -> None:  # asyncio.run would show what it returns, to itself
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            give = cs.task(mode="inline")(Shy)
            await engine.run([give(), slow(1), cs.task(mode="blocking")(Shy)()])
            assert spy.events

    in_loop(main)
    assert shown == []


@every_tier
@pytest.mark.parametrize("mode", ["inline", "blocking"])
def test_a_result_that_cannot_be_shown_does_not_fail_the_run(mode: Any, tier: Tier) -> None:
    class Unshowable:
        def __repr__(self) -> str:
            raise RuntimeError("not for your eyes")

    give = cs.task(mode=mode)(lambda: Unshowable())
    events = spied(give(), previews=80, tier=tier)
    (finished,) = [event for event in events if isinstance(event, TaskExecutionFinished)]
    assert finished.result_preview == "<Unshowable whose repr fails: RuntimeError>"


# --- who hears what


@every_tier
def test_a_base_class_receives_its_subclasses(tier: Tier) -> None:
    bus = MessageBus()
    got: dict[type[Event], list[Event]] = {kind: [] for kind in (Event, RunEvent, TaskEvent, RunFinished, RunWarning)}
    for kind, events in got.items():
        bus.subscribe(kind, events.append)
    run(double(1), tier=tier, bus=bus)
    assert {kind.__name__: told(events) for kind, events in got.items()} == {
        "Event": ["RunStarted", "+double#1", "-double#1", "RunFinished"],
        "RunEvent": ["RunStarted", "RunFinished"],
        "TaskEvent": ["+double#1", "-double#1"],
        "RunFinished": ["RunFinished"],
        "RunWarning": [],
    }


@every_tier
@pytest.mark.parametrize("kind", [TaskExecutionStarted, TaskExecutionFinished, TaskSkipped])
def test_a_subscriber_to_one_type_gets_that_alone(kind: type[TaskEvent], tier: Tier) -> None:
    bus = MessageBus()
    got: list[Event] = []
    bus.subscribe(kind, got.append)
    run([loop(60), double(1).run_if(False, otherwise=1), double.map(x=[1, 2]), slow(3)], tier=tier, bus=bus)
    assert {type(event) for event in got} == {kind}
    assert len(got) == (1 if kind is TaskSkipped else 64)


@every_tier
def test_unsubscribing_in_the_middle_of_a_run_ends_it(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            got: list[Event] = []

            def handler(event: TaskEvent) -> None:
                got.append(event)
                if len(got) == 101:
                    subscription.unsubscribe()

            subscription = engine.bus.subscribe(TaskEvent, handler)
            assert await engine.run([loop(500), slow(1), double(2)]) == [-1, 1, 4]
            assert len(got) == 101

    in_loop(main)


@every_tier
def test_subscribing_in_another_thread_in_the_middle_of_a_run(tier: Tier) -> None:
    """The loop goes on until somebody has heard of it."""
    heard = threading.Event()
    spinning = threading.Event()

    @cs.task(mode="inline")
    def spin(n: int) -> cs.Jump:
        spinning.set()
        return cs.Jump("exit" if heard.is_set() else "again", n + 1)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            got: list[TaskEvent] = []

            def subscribe() -> None:
                spinning.wait()
                engine.bus.subscribe(TaskEvent, handler)

            def handler(event: TaskEvent) -> None:
                got.append(event)
                heard.set()

            thread = threading.Thread(target=subscribe)
            thread.start()
            step = spin(0)
            total = await engine.run(cs.bind(step, cs.select_jump({"again": step, "exit": None})))
            thread.join()
            assert got
            iterations = [event.iteration for event in got if isinstance(event, TaskExecutionStarted)]
            assert iterations == [*range(iterations[0], total)]

    in_loop(main)


@every_tier
def test_unsubscribing_in_another_thread_in_the_middle_of_a_run(tier: Tier) -> None:
    spinning, left = threading.Event(), threading.Event()

    @cs.task(mode="inline")
    def spin(n: int) -> cs.Jump:
        if n == 200:
            spinning.set()
        return cs.Jump("exit" if left.is_set() else "again", n + 1)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            got: list[TaskEvent] = []
            subscription = engine.bus.subscribe(TaskEvent, got.append)

            def leave() -> None:
                spinning.wait()
                subscription.unsubscribe()
                left.set()

            thread = threading.Thread(target=leave)
            thread.start()
            step = spin(0)
            await engine.run(cs.bind(step, cs.select_jump({"again": step, "exit": None})))
            thread.join()
            iterations = [event.iteration for event in got if isinstance(event, TaskExecutionStarted)]
            assert iterations == [*range(len(iterations))]

    in_loop(main)


@every_tier
def test_several_runs_on_one_engine_are_told_apart(tier: Tier) -> None:
    target = [slow.map(x=range(3)), loop(20), double(1)]
    expected = sorted(told(spied(target, tier=tier)))

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            runs = [engine.start(target, run_id=f"run {n}") for n in range(5)]
            for each in runs:
                await each
            for each in runs:
                own = [event for event in spy.events if event.run_id == each.id]
                assert sorted(told(own)) == expected
                assert told(own)[0] == "RunStarted"
                assert told(own)[-1] == "RunFinished"
                assert len({event.event_id for event in own}) == len(own)

    in_loop(main)


@every_tier
def test_one_bus_for_several_engines(tier: Tier) -> None:
    async def main() -> None:
        bus = MessageBus()
        spy = SpySubscriber(bus)
        async with Engine(bus=bus, tier=tier) as one, Engine(bus=bus, tier=tier) as two:
            await asyncio.gather(one.run(slow(1)), two.run(slow(2)))
        assert len({event.run_id for event in spy.events}) == 2
        assert len(spy.events) == 8

    in_loop(main)


# --- batches


@every_tier
@pytest.mark.parametrize("kind", [TaskEvent, Event])
def test_batches_come_in_order_and_before_run_finished(kind: type[Event], tier: Tier) -> None:
    bus = MessageBus()
    batches: list[list[Event]] = []
    seen_at_end: list[int] = []
    bus.subscribe(RunFinished, lambda event: seen_at_end.append(sum(map(len, batches))))
    bus.subscribe(kind, batches.append, batch=True)
    spy = SpySubscriber(bus)
    run([loop(2000), slow(1), double.map(x=range(100))], tier=tier, bus=bus)
    expected = spy.events_of_type(kind)
    assert [event for batch in batches for event in batch] == expected
    assert all(batches)
    assert len(batches) < len(expected) / 10
    assert seen_at_end == [len(expected) - (1 if kind is Event else 0)]


@every_tier
def test_batches_come_at_the_turns_of_code_that_does_not_end(tier: Tier) -> None:
    """The loop ends once a batch with its events has come."""
    got: list[list[TaskEvent]] = []
    bus = MessageBus()
    bus.subscribe(TaskEvent, got.append, batch=True)

    @cs.task(mode="inline")
    def spin(n: int) -> cs.Jump:
        return cs.Jump("exit" if got else "again", n + 1)

    step = spin(0)
    assert run(cs.bind(step, cs.select_jump({"again": step, "exit": None})), tier=tier, bus=bus) > 0
    assert len(got) >= 1


def test_batches_come_while_nothing_happens() -> None:
    async def main() -> None:
        async with Engine() as engine:
            came = asyncio.Event()
            engine.bus.subscribe(RunStarted, lambda events: came.set(), batch=True)
            run = engine.start(stay())
            await came.wait()
            assert run.status == "Running"
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)


# --- async handlers


@every_tier
@pytest.mark.parametrize("batch", [False, True])
def test_an_async_handler_has_had_every_event_when_the_run_has_ended(batch: bool, tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            got: list[Any] = []
            inside = most = 0

            async def handler(event: Any) -> None:
                nonlocal inside, most
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                got.extend(event if batch else [event])
                inside -= 1

            spy = SpySubscriber(engine.bus)
            if batch:
                engine.bus.subscribe(Event, handler, batch=True)
            else:
                engine.bus.subscribe(Event, handler)
            await engine.run([loop(300), slow.map(x=range(10))])
            assert got == spy.events
            assert most == 1

    in_loop(main)


@every_tier
def test_an_async_handler_of_a_failing_or_cancelled_run_has_had_every_event(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            got: list[Event] = []

            async def handler(event: Event) -> None:
                await asyncio.sleep(0)
                got.append(event)

            spy = SpySubscriber(engine.bus)
            engine.bus.subscribe(Event, handler)

            @cs.task
            def fail() -> None:
                raise ValueError("broken")

            with pytest.raises(ValueError, match="broken"):
                await engine.run(fail())
            assert got == spy.events
            run = engine.start(stay())
            await turns()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert got == spy.events
            assert [event.status for event in spy.events_of_type(RunFinished)] == ["Failed", "Cancelled"]

    in_loop(main)


@every_tier
def test_an_async_handler_may_run_something_on_the_engine_that_it_hears_of(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            values: list[Any] = []

            async def handler(event: RunFinished) -> None:
                if len(values) < 3:
                    values.append(await engine.run(double(len(values))))
                else:
                    values.append("enough")

            engine.bus.subscribe(RunFinished, handler)
            assert await asyncio.wait_for(engine.run(slow(1)), 50) == 1
            await asyncio.wait_for(engine.aclose(), 50)
            while "enough" not in values:
                await asyncio.sleep(0)
            assert values[:3] == [0, 2, 4]

    in_loop(main)


@every_tier
def test_an_async_handler_may_wait_for_the_very_run_that_it_hears_of(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            runs: list[Run] = []
            values: list[Any] = []

            async def handler(event: RunStarted) -> None:
                values.append(await runs[0])

            engine.bus.subscribe(RunStarted, handler)
            runs.append(engine.start(slow(7)))
            await asyncio.wait_for(engine.aclose(), 50)
            await turns()
            assert values == [7]

    in_loop(main)


def test_an_async_handler_may_close_the_engine() -> None:
    async def main() -> None:
        engine = Engine()
        closed = asyncio.Event()

        async def handler(event: RunFinished) -> None:
            await engine.aclose()
            closed.set()

        engine.bus.subscribe(RunFinished, handler)
        assert await asyncio.wait_for(engine.run(slow(1)), 50) == 1
        await asyncio.wait_for(closed.wait(), 50)

    in_loop(main)


# --- streams


@every_tier
def test_a_stream_gives_the_events_of_a_run_until_it_ends(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            other = engine.start(slow.map(x=range(5)), run_id="other")
            stream = engine.bus.stream(Event, run_id="mine")
            run = engine.start([loop(50), slow(1)], run_id="mine")
            got = [event async for event in stream]
            assert got == [event for event in spy.events if event.run_id == "mine"]
            assert isinstance(got[-1], RunFinished)
            assert await run == [-1, 1]
            await other
            tasks = engine.bus.stream(TaskExecutionFinished)
            run = engine.start(slow(1))
            assert [event.task_id async for event in tasks] == ["slow#1"]
            await run

    in_loop(main)


@every_tier
def test_leaving_a_stream_leaves_the_run_alone(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            run = engine.start([loop(30_000), slow.map(x=range(100))])
            async for event in engine.bus.stream(TaskEvent):
                assert event.run_id == run.id
                break
            gc.collect()
            assert (await run)[0] == -1

    in_loop(main)


# --- back-pressure


@every_tier
@pytest.mark.parametrize("way", ["handler", "stream", "batch"])
@pytest.mark.parametrize("work", ["loop", "map", "async loop"])
def test_a_run_waits_for_who_is_ten_thousand_events_behind(work: str, way: str, tier: Tier) -> None:
    """It goes on only when the reader does, however long its loop."""
    made = 0

    @cs.task(mode="inline")
    def step(n: int) -> cs.Jump:
        nonlocal made
        made += 1
        return cs.Jump("again" if n else "exit", n - 1)

    @cs.task
    async def async_step(n: int) -> cs.Jump:
        nonlocal made
        made += 1
        return cs.Jump("again" if n else "exit", n - 1)

    @cs.task(mode="inline")
    def item(n: int) -> None:
        nonlocal made
        made += 1

    count = 400_000
    looping = async_step(count) if work == "async loop" else step(count)
    cs.bind(looping, cs.select_jump({"again": looping, "exit": None}))
    target: Any = item.map(n=range(count)) if work == "map" else looping

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            door = asyncio.Event()
            got = 0

            async def handler(event: Any) -> None:
                nonlocal got
                await door.wait()
                got += 1

            if way == "batch":
                engine.bus.subscribe(TaskExecutionStarted, handler, batch=True)
            elif way == "handler":
                engine.bus.subscribe(TaskExecutionStarted, handler)
            stream = engine.bus.stream(TaskExecutionStarted, run_id="it") if way == "stream" else None
            run = engine.start(target, run_id="it")
            while not engine.bus.congested:
                await asyncio.sleep(0)
            await turns(100)
            held = made
            await turns(1000)
            assert made == held
            assert BUFFER <= held < count
            run.cancel()
            door.set()
            if stream is not None:
                async for _ in stream:
                    got += 1
            with pytest.raises(asyncio.CancelledError):
                await run
            assert got

    in_loop(main)


def test_a_held_back_run_ends_when_its_reader_reads() -> None:
    async def main() -> None:
        async with Engine() as engine:
            stream = engine.bus.stream(TaskExecutionFinished, run_id="it")
            run = engine.start(double.map(x=range(50_000)), run_id="it")
            while not engine.bus.congested:
                await asyncio.sleep(0)
            assert run.status == "Running"
            count = 0
            async for _ in stream:
                count += 1
            assert count == 50_000
            assert len(await run) == 50_000

    in_loop(main)


# --- handlers that raise


@every_tier
@pytest.mark.parametrize("way", ["sync", "async", "batch", "async batch"])
def test_a_handler_that_raises_is_reported_once_and_never_changes_a_run(
    way: str, tier: Tier, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def handler(event: Any) -> None:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError("handler")

    async def async_handler(event: Any) -> None:
        handler(event)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            chosen = async_handler if "async" in way else handler
            if "batch" in way:
                engine.bus.subscribe(Event, chosen, batch=True)
            else:
                engine.bus.subscribe(Event, chosen)
            spy = SpySubscriber(engine.bus)
            for _ in range(3):
                assert await engine.run([loop(100), slow(1), double.map(x=[1, 2])]) == [-1, 1, [2, 4]]
            assert [event.status for event in spy.events_of_type(RunFinished)] == ["Succeeded"] * 3

    with caplog.at_level(logging.ERROR, "cascade"):
        in_loop(main)
    (record,) = caplog.records
    assert record.name == "cascade"
    assert "handler" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert calls >= 3


def test_a_handler_that_raises_does_not_keep_events_from_the_others() -> None:
    def broken(event: Event) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with Engine() as engine:
            before = SpySubscriber(engine.bus)
            engine.bus.subscribe(Event, broken)
            after = SpySubscriber(engine.bus)
            await engine.run(double(1))
            assert before.events == after.events
            assert len(after.events) == 4

    logging.getLogger("cascade").disabled = True
    try:
        in_loop(main)
    finally:
        logging.getLogger("cascade").disabled = False


# --- other events


@every_tier
def test_resources_are_told_of(tier: Tier) -> None:
    @cs.resource
    def thing() -> Iterator[int]:
        yield 1

    @cs.task
    def use(it: Any = cs.inject(thing)) -> Any:
        return it

    events = spied([use(), use()], tier=tier)
    kinds = [type(event) for event in events]
    assert kinds.count(ResourceAcquired) == kinds.count(ResourceReleased) == 1
    assert kinds.index(ResourceReleased) == len(kinds) - 2


@every_tier
def test_another_executor_changes_no_event(tier: Tier) -> None:
    target = [double(double(1)), slow.map(x=[1, 2]), loop(3), double(1).run_if(False, otherwise=1)]
    assert sorted(told(spied(target, tier=tier, executor=SpyExecutor()))) == sorted(told(spied(target, tier=tier)))


@every_tier
def test_what_is_published_is_the_same_on_every_tier_and_with_batches(tier: Tier) -> None:
    target = [loop(200), double(double(1)), cs.subflow(loop(3)), double.map(x=range(5))]
    plain = sorted(told(spied(target, tier="interpret")))
    assert sorted(told(spied(target, tier=tier))) == plain
    batched: list[Event] = []
    bus = MessageBus()
    bus.subscribe(Event, batched.extend, batch=True)
    run(target, tier=tier, bus=bus)
    assert sorted(told(batched)) == plain


@every_tier
def test_an_event_is_published_on_the_loops_thread(tier: Tier) -> None:
    threads = set()
    bus = MessageBus()
    bus.subscribe(Event, lambda event: threads.add(threading.current_thread()))
    run([cs.task(mode="blocking")(len)("abc"), slow(1), loop(50)], tier=tier, bus=bus)
    assert threads == {threading.main_thread()}
