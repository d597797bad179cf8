"""The bus brings each event to all who want it, and never changes a run."""

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from functools import partial
from typing import Any, assert_type

import pytest

from cascade.runtime.bus import MessageBus, Stream, Subscription
from cascade.spec.events import (
    Event,
    ResourceAcquired,
    RunEvent,
    RunFinished,
    RunStarted,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskSkipped,
)
from tests.helpers import run_python

BUFFER = 10_000


def started(number: int = 1, run_id: str = "r") -> TaskExecutionStarted:
    return TaskExecutionStarted(run_id=run_id, task_id=f"f#{number}")


def finished(number: int = 1, run_id: str = "r") -> TaskExecutionFinished:
    return TaskExecutionFinished(run_id=run_id, task_id=f"f#{number}")


def ended(run_id: str = "r") -> RunFinished:
    return RunFinished(run_id=run_id)


def publish(bus: MessageBus, *events: Event) -> None:
    for event in events:
        bus.publish(event)


class Gate:
    """An async handler that holds each event until it is opened, and notes what it has begun and done."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[Event] = []
        self.done: list[Event] = []

    async def __call__(self, event: Event) -> None:
        self.begun.append(event)
        await self.open.wait()
        self.done.append(event)


async def turns(count: int = 10) -> None:
    """Let everything run that can, and nothing that waits."""
    for _ in range(count):
        await asyncio.sleep(0)


# --- subscribing


def test_a_handler_gets_the_events_of_its_type_in_order() -> None:
    bus, got = MessageBus(), list[Event]()
    bus.subscribe(TaskExecutionStarted, got.append)
    one, two = started(1), started(2)
    publish(bus, one, finished(1), two, ended())
    assert got == [one, two]


@pytest.mark.parametrize(
    ("base", "count"), [(Event, 5), (TaskEvent, 2), (RunEvent, 2), (RunStarted, 1), (TaskSkipped, 0)]
)
def test_a_base_class_receives_its_subclasses(base: type[Event], count: int) -> None:
    bus, got = MessageBus(), list[Event]()
    bus.subscribe(base, got.append)
    publish(bus, RunStarted(), started(), finished(), ResourceAcquired(resource_name="db"), ended())
    assert len(got) == count


def test_a_class_of_a_users_own_goes_the_same_ways() -> None:
    class Progress(RunEvent):
        """A users' own event."""

    bus, got = MessageBus(), list[Event]()
    bus.subscribe(RunEvent, got.append)
    bus.publish(event := Progress(run_id="r"))
    assert got == [event]


def test_many_handlers_are_called_in_the_order_of_their_subscriptions() -> None:
    bus, got = MessageBus(), list[str]()
    for name in "abc":
        bus.subscribe(Event, partial(lambda name, event: got.append(name), name))
    bus.publish(started())
    assert got == ["a", "b", "c"]


def test_one_handler_may_subscribe_twice() -> None:
    bus, got = MessageBus(), list[Event]()
    first = bus.subscribe(TaskEvent, got.append)
    bus.subscribe(Event, got.append)
    bus.publish(started())
    assert len(got) == 2
    first.unsubscribe()
    bus.publish(started())
    assert len(got) == 3


def test_unsubscribing_ends_it() -> None:
    bus, got = MessageBus(), list[Event]()
    subscription = bus.subscribe(Event, got.append)
    assert isinstance(subscription, Subscription)
    bus.publish(started())
    subscription.unsubscribe()
    subscription.unsubscribe()
    bus.publish(started())
    assert len(got) == 1


def test_unsubscribing_counts_for_the_event_that_is_on_its_way() -> None:
    bus, got = MessageBus(), list[Event]()
    others = list[Subscription]()
    bus.subscribe(Event, lambda event: others[0].unsubscribe())
    others.append(bus.subscribe(Event, got.append))
    bus.publish(started())
    assert got == []


def test_a_handler_may_subscribe_another_from_the_next_event_on() -> None:
    bus, got = MessageBus(), list[Event]()

    def once(event: Event) -> None:
        first.unsubscribe()
        bus.subscribe(Event, got.append)

    first = bus.subscribe(Event, once)
    one, two = started(1), started(2)
    publish(bus, one, two)
    assert got == [two]


def test_handlers_may_come_and_go_from_any_thread() -> None:
    bus, stop = MessageBus(), threading.Event()
    got = list[Event]()

    def come_and_go() -> None:
        while not stop.is_set():
            bus.subscribe(TaskEvent, got.append).unsubscribe()

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    always = list[Event]()
    bus.subscribe(Event, always.append)
    for number in range(3000):
        bus.publish(started(number))
    stop.set()
    for thread in threads:
        thread.join()
    assert [event.task_id for event in always if isinstance(event, TaskEvent)] == [
        f"f#{number}" for number in range(3000)
    ]
    got.clear()
    bus.publish(started())
    assert got == []


@pytest.mark.parametrize("wrong", [int, "TaskEvent", None, TaskSkipped(task_id="f#1", reason="Pruned")])
def test_only_a_class_of_events_can_be_subscribed_to(wrong: Any) -> None:
    with pytest.raises(TypeError, match="a class of events, such as TaskEvent"):
        MessageBus().subscribe(wrong, print)
    with pytest.raises(TypeError, match="a class of events, such as TaskEvent"):
        MessageBus().stream(wrong)


def test_a_handler_must_be_callable() -> None:
    not_a_handler: Any = "print"
    with pytest.raises(TypeError, match="cannot be called"):
        MessageBus().subscribe(Event, not_a_handler)


def test_type_checkers_know_what_a_handler_gets() -> None:
    def one(event: TaskSkipped) -> None: ...
    def many(events: list[TaskSkipped]) -> None: ...
    async def later(event: TaskSkipped) -> None: ...

    bus = MessageBus()
    assert_type(bus.subscribe(TaskSkipped, one), Subscription)
    assert_type(bus.subscribe(TaskSkipped, many, batch=True), Subscription)
    assert_type(bus.subscribe(TaskSkipped, later), Subscription)
    assert_type(bus.stream(TaskSkipped), Stream[TaskSkipped])
    bus.subscribe(TaskSkipped, many)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [None, 0, 80])
def test_previews_are_for_those_who_ask(count: int | None) -> None:
    assert MessageBus(previews=count).previews == count
    assert MessageBus().previews is None


@pytest.mark.parametrize("count", [-1, True])
def test_previews_are_a_number(count: int) -> None:
    with pytest.raises(ValueError, match="number of characters"):
        MessageBus(previews=count)


# --- what the engine asks


def test_the_bus_knows_what_nobody_wants() -> None:
    bus = MessageBus()
    assert not bus.wants(TaskSkipped)
    subscription = bus.subscribe(TaskEvent, print)
    assert bus.wants(TaskSkipped)
    assert bus.wants(TaskExecutionStarted)
    assert not bus.wants(RunFinished)
    subscription.unsubscribe()
    assert not bus.wants(TaskSkipped)


def test_each_change_of_subscriptions_has_a_version() -> None:
    bus = MessageBus()
    versions = [bus.version]
    first = bus.subscribe(Event, print)
    versions.append(bus.version)
    second = bus.subscribe(Event, print, batch=True)
    versions.append(bus.version)
    stream = bus.stream(Event)
    versions.append(bus.version)
    for leave in (first.unsubscribe, second.unsubscribe, stream.__del__):
        leave()
        versions.append(bus.version)
    assert versions == sorted(set(versions))
    first.unsubscribe()
    assert bus.version == versions[-1]


def test_the_bus_costs_no_slow_import() -> None:
    code = "import sys, cascade.runtime.bus as b\nbus = b.MessageBus()\nbus.subscribe(b.Event, id)\n"
    code += "bus.publish(b.Event())\nprint(*sys.modules)"
    assert set(run_python(code).split()) & {"asyncio", "logging", "inspect", "dataclasses"} == set()


# --- a handler that raises


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError(), StopIteration(), RecursionError("deep")])
def test_a_failing_handler_is_reported_once_and_changes_nothing(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    bus, before, after = MessageBus(), list[Event](), list[Event]()
    calls = list[Event]()

    def fail(event: Event) -> None:
        calls.append(event)
        raise error

    bus.subscribe(Event, before.append)
    bus.subscribe(TaskEvent, fail)
    bus.subscribe(Event, after.append)
    publish(bus, started(1), started(2), started(3))
    assert len(before) == len(after) == len(calls) == 3
    [record] = caplog.records
    assert (record.name, record.levelno) == ("cascade", logging.ERROR)
    assert "fail" in record.getMessage()
    assert "TaskEvent" in record.getMessage()
    assert record.exc_info
    assert record.exc_info[1] is error


def test_each_subscription_reports_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: Event) -> None:
        raise ValueError

    bus = MessageBus()
    bus.subscribe(Event, fail)
    bus.subscribe(Event, fail)
    publish(bus, started(), started())
    assert len(caplog.records) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("batch", [False, True])
def test_an_end_of_the_process_is_not_swallowed(error: type[BaseException], batch: bool) -> None:
    def fail(event: object) -> None:
        raise error

    bus = MessageBus()
    if batch:
        bus.subscribe(Event, fail, batch=True)
    else:
        bus.subscribe(Event, fail)
    with pytest.raises(error):
        publish(bus, started(), ended())


# --- batches


def test_a_batch_comes_at_a_turn() -> None:
    bus, got = MessageBus(), list[list[TaskEvent]]()
    bus.subscribe(TaskEvent, got.append, batch=True)
    events = [started(1), finished(1), started(2)]
    publish(bus, *events)
    assert got == []
    bus.flush()
    assert got == [events]
    bus.flush()
    assert got == [events]
    bus.publish(events[0])
    bus.flush()
    assert got == [events, events[:1]]


@pytest.mark.parametrize("batch_type", [TaskEvent, Event])
def test_a_batch_comes_before_run_finished(batch_type: type[Event]) -> None:
    bus, got = MessageBus(), list[object]()
    bus.subscribe(RunFinished, got.append)
    bus.subscribe(batch_type, got.append, batch=True)
    one, end = started(), ended()
    publish(bus, one, end)
    assert got == ([[one], end] if batch_type is TaskEvent else [[one], end, [end]])


class TimedLoop(asyncio.SelectorEventLoop):
    """A loop that notes the delays that are asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []

    def call_later(self, delay: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        self.delays.append(delay)
        return super().call_later(delay, *args, **kwargs)


def test_a_batch_comes_after_ten_milliseconds_without_a_turn() -> None:
    async def main() -> None:
        bus, got, loop = MessageBus(), list[list[Event]](), asyncio.get_running_loop()
        assert isinstance(loop, TimedLoop)
        came = asyncio.Event()

        def handler(events: list[Event]) -> None:
            got.append(events)
            came.set()

        bus.subscribe(Event, handler, batch=True)
        for _ in range(2):
            came.clear()
            loop.delays.clear()
            publish(bus, started(1), started(2))
            await came.wait()
            assert loop.delays == [0.010]
        assert [len(events) for events in got] == [2, 2]

    with asyncio.Runner(loop_factory=TimedLoop) as runner:
        runner.run(main())


def test_a_turn_puts_the_timer_off() -> None:
    async def main() -> None:
        bus, loop = MessageBus(), asyncio.get_running_loop()
        assert isinstance(loop, TimedLoop)
        bus.subscribe(Event, list.__len__, batch=True)
        for _ in range(3):
            bus.publish(started())
            bus.flush()
        assert loop.delays == [0.010] * 3

    with asyncio.Runner(loop_factory=TimedLoop) as runner:
        runner.run(main())


def test_what_was_collected_outside_of_a_loop_comes_with_what_is_collected_inside() -> None:
    bus, got = MessageBus(), list[list[Event]]()

    async def main() -> None:
        came = asyncio.Event()
        bus.subscribe(Event, lambda event: came.set(), batch=True)
        bus.publish(started(2))
        await came.wait()

    bus.subscribe(Event, got.append, batch=True)
    bus.publish(started(1))
    asyncio.run(main())
    assert [len(events) for events in got] == [2]


def test_a_handler_may_keep_its_batch() -> None:
    bus, got = MessageBus(), list[list[Event]]()
    bus.subscribe(Event, got.append, batch=True)
    for number in range(3):
        bus.publish(started(number))
        bus.flush()
    assert [len(events) for events in got] == [1, 1, 1]


def test_a_batch_that_was_left_is_not_delivered() -> None:
    bus, got = MessageBus(), list[list[Event]]()
    subscription = bus.subscribe(Event, got.append, batch=True)
    bus.publish(started())
    subscription.unsubscribe()
    bus.flush()
    assert got == []


def test_a_failing_batch_handler_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail(events: list[Event]) -> None:
        raise ValueError

    bus, got = MessageBus(), list[list[Event]]()
    bus.subscribe(Event, fail, batch=True)
    bus.subscribe(Event, got.append, batch=True)
    for _ in range(2):
        bus.publish(started())
        bus.flush()
    assert len(got) == 2
    assert len(caplog.records) == 1


def test_an_event_published_by_a_batch_handler_comes_in_the_next_batch() -> None:
    bus, got = MessageBus(), list[list[Event]]()
    one, two = started(1), started(2)

    def handler(events: list[Event]) -> None:
        got.append(events)
        if len(got) == 1:
            bus.publish(two)

    bus.subscribe(Event, handler, batch=True)
    bus.publish(one)
    bus.flush()
    bus.flush()
    assert got == [[one], [two]]


# --- async handlers


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test in a loop of its own, and see that no task is left behind."""

    async def main() -> None:
        await test()
        await turns()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def run() -> None:
        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@in_loop
async def test_an_async_handler_gets_all_events_before_a_run_has_settled() -> None:
    bus, got = MessageBus(), list[Event]()

    async def handler(event: Event) -> None:
        await asyncio.sleep(0)
        got.append(event)

    bus.subscribe(Event, handler)
    events = [*map(started, range(100)), ended()]
    publish(bus, *events)
    assert got == []
    await bus.settle("r")
    assert got == events


@in_loop
async def test_the_calls_of_an_async_handler_come_one_after_the_other() -> None:
    bus, at_work, most = MessageBus(), 0, 0

    async def handler(event: Event) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await turns(3)
        at_work -= 1

    bus.subscribe(Event, handler)
    for number in range(10):
        bus.publish(started(number))
        await asyncio.sleep(0)
    await bus.settle()
    assert most == 1


@in_loop
async def test_two_async_handlers_do_not_wait_for_each_other() -> None:
    bus, slow, got = MessageBus(), Gate(), list[Event]()

    async def quick(event: Event) -> None:
        got.append(event)

    bus.subscribe(Event, slow)
    bus.subscribe(Event, quick)
    publish(bus, started(1), started(2))
    await turns()
    assert (len(slow.begun), len(slow.done), len(got)) == (1, 0, 2)
    slow.open.set()
    await bus.settle()
    assert len(slow.done) == 2


def async_handlers(got: list[Event]) -> list[Callable[[Event], object]]:
    async def function(event: Event) -> None:
        got.append(event)

    async def more(event: Event, other: int) -> None:
        got.append(event)

    class Owner:
        async def method(self, event: Event) -> None:
            got.append(event)

        async def __call__(self, event: Event) -> None:
            got.append(event)

    return [
        function,
        partial(more, other=1),
        Owner().method,
        Owner(),
        lambda event: function(event),
        lambda event: asyncio.ensure_future(function(event)),
    ]


@pytest.mark.parametrize("index", range(6))
def test_whatever_returns_an_awaitable_is_an_async_handler(index: int) -> None:
    async def main() -> None:
        bus, got = MessageBus(), list[Event]()
        bus.subscribe(Event, async_handlers(got)[index])
        publish(bus, started(1), started(2))
        await bus.settle()
        assert len(got) == 2

    asyncio.run(main())


@in_loop
async def test_what_else_a_handler_returns_is_ignored() -> None:
    bus = MessageBus()
    bus.subscribe(Event, lambda event: event)
    bus.subscribe(Event, lambda events: events, batch=True)
    bus.publish(started())
    await bus.settle()


@in_loop
async def test_an_async_handler_may_have_batches() -> None:
    bus, got = MessageBus(), list[int]()

    async def handler(events: list[Event]) -> None:
        await asyncio.sleep(0)
        got.append(len(events))

    bus.subscribe(Event, handler, batch=True)
    publish(bus, started(1), started(2))
    bus.flush()
    publish(bus, started(3), ended())
    await bus.settle()
    assert got == [2, 1, 1]


def test_a_failing_async_handler_is_reported_once_and_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        bus, calls = MessageBus(), list[Event]()

        async def fail(event: Event) -> None:
            calls.append(event)
            raise [ValueError, asyncio.CancelledError, StopAsyncIteration][len(calls) % 3]

        bus.subscribe(Event, fail)
        publish(bus, *map(started, range(6)))
        await bus.settle()
        assert len(calls) == 6

    asyncio.run(main())
    assert [record.name for record in caplog.records] == ["cascade"]
    assert "fail" in caplog.text


def test_an_async_handler_that_ends_the_process_does() -> None:
    async def fail(event: Event) -> None:
        raise SystemExit(3)

    async def main() -> None:
        bus = MessageBus()
        bus.subscribe(Event, fail)
        bus.publish(started())
        await bus.settle()

    with pytest.raises(SystemExit):
        asyncio.run(main())


@in_loop
async def test_unsubscribing_drops_what_is_buffered_and_lets_the_present_call_end() -> None:
    bus, gate = MessageBus(), Gate()
    subscription = bus.subscribe(Event, gate)
    publish(bus, *map(started, range(3)))
    await turns()
    subscription.unsubscribe()
    await bus.settle()
    assert (len(gate.begun), len(gate.done)) == (1, 0)
    gate.open.set()
    await turns()
    assert (len(gate.begun), len(gate.done)) == (1, 1)


@in_loop
async def test_unsubscribing_before_the_first_call_leaves_nothing_behind() -> None:
    bus, gate = MessageBus(), Gate()
    subscription = bus.subscribe(Event, gate)
    bus.publish(started())
    subscription.unsubscribe()
    await bus.settle()
    assert gate.begun == []


@in_loop
async def test_unsubscribing_in_another_thread_ends_the_wait_for_a_handler() -> None:
    bus, gate = MessageBus(), Gate()
    subscription = bus.subscribe(Event, gate)
    bus.publish(started())
    settling = asyncio.create_task(bus.settle())
    await turns()
    assert not settling.done()
    thread = threading.Thread(target=subscription.unsubscribe)
    thread.start()
    await settling
    thread.join()
    gate.open.set()


@in_loop
async def test_an_async_handler_sees_the_context_of_its_subscription() -> None:
    variable = ContextVar("variable", default="none")
    bus, got = MessageBus(), list[str]()

    async def handler(event: Event) -> None:
        got.append(variable.get())

    variable.set("subscriber")
    bus.subscribe(Event, handler)
    variable.set("publisher")
    bus.publish(started())
    await bus.settle()
    assert got == ["subscriber"]


@in_loop
async def test_handlers_that_never_suspend_leave_turns_to_the_loop() -> None:
    bus, done = MessageBus(), list[Event]()

    async def slow(event: Event) -> None:
        threading.Event().wait(0.002)
        done.append(event)

    bus.subscribe(Event, slow)
    publish(bus, *map(started, range(20)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < len(done) < 20
    await bus.settle()


def test_without_a_loop_an_async_handler_is_an_error() -> None:
    async def handler(event: Event) -> None: ...

    bus = MessageBus()
    bus.subscribe(Event, handler)
    with pytest.raises(RuntimeError, match=r"handler .*handler is async: publish where an event loop runs"):
        bus.publish(started())


def test_one_loop_after_the_other_may_use_a_bus() -> None:
    bus, got = MessageBus(), list[int]()

    async def handler(event: Event) -> None:
        await asyncio.sleep(0)
        got.append(id(asyncio.get_running_loop()))

    async def main() -> int:
        publish(bus, started(1), started(2))
        await bus.settle()
        return id(asyncio.get_running_loop())

    bus.subscribe(Event, handler)
    first, second = asyncio.Runner(), asyncio.Runner()  # both kept, so that their loops differ
    with first, second:
        loops = [first.run(main()), second.run(main())]
    assert got == [loops[0]] * 2 + [loops[1]] * 2


def test_a_loop_that_ends_early_leaves_the_rest_to_the_next() -> None:
    bus, got = MessageBus(), list[Event]()

    async def handler(event: Event) -> None:
        got.append(event)
        if len(got) == 1:
            await asyncio.Event().wait()

    async def leave() -> None:
        publish(bus, *map(started, range(3)))
        await turns()

    bus.subscribe(Event, handler)
    asyncio.run(leave())
    assert len(got) == 1
    asyncio.run(bus.settle())
    assert len(got) == 3


def test_a_loop_that_stands_still_does_not_hold_up_another() -> None:
    bus, got = MessageBus(), list[Event]()

    async def handler(event: Event) -> None:
        got.append(event)
        if len(got) == 1:
            await asyncio.sleep(0)

    async def leave() -> None:
        bus.publish(started(1))
        await asyncio.sleep(0)

    async def come() -> None:
        bus.publish(started(2))
        await bus.settle()

    bus.subscribe(Event, handler)
    with asyncio.Runner() as still:
        still.run(leave())
        asyncio.run(come())
        assert len(got) == 2
        still.run(turns())


@in_loop
async def test_a_cancelled_pump_is_followed_by_another() -> None:
    bus, got = MessageBus(), list[Event]()

    async def handler(event: Event) -> None:
        got.append(event)
        if len(got) == 1:
            task = asyncio.current_task()
            assert task
            task.cancel()
            await asyncio.sleep(0)

    bus.subscribe(Event, handler)
    publish(bus, *map(started, range(3)))
    await bus.settle()
    assert len(got) == 3


def test_eager_tasks_change_nothing() -> None:
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("there are no eager tasks before Python 3.12")

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        bus, gate = MessageBus(), Gate()
        bus.subscribe(Event, gate)
        publish(bus, started(1), started(2))
        assert gate.begun == []
        gate.open.set()
        await bus.settle()
        assert len(gate.done) == 2

    asyncio.run(main())


@in_loop
async def test_the_bus_keeps_a_handler_alive_that_is_at_work() -> None:
    bus, done = MessageBus(), list[Event]()
    futures = list[asyncio.Future[None]]()

    async def handler(event: Event) -> None:
        futures.append(future := asyncio.get_running_loop().create_future())
        await future
        done.append(event)

    bus.subscribe(Event, handler).unsubscribe()
    bus.subscribe(Event, handler)
    bus.publish(started())
    await turns()
    gc.collect()
    futures[0].set_result(None)
    await bus.settle()
    assert len(done) == 1


# --- slow subscribers


@in_loop
async def test_a_run_waits_for_an_async_handler_that_is_far_behind() -> None:
    bus, gate = MessageBus(), Gate()
    bus.subscribe(Event, gate)
    event = started()
    for _ in range(BUFFER):
        bus.publish(event)
    assert not bus.congested
    await bus.drain()
    bus.publish(event)
    assert bus.congested
    await bus.drain()
    assert len(gate.begun) == 1  # so 10,000 events wait
    bus.publish(event)
    assert bus.congested
    draining = asyncio.create_task(bus.drain())
    await turns()
    assert not draining.done()
    gate.open.set()
    await draining
    assert not bus.congested
    await bus.settle()
    assert len(gate.done) == BUFFER + 2


@in_loop
async def test_the_events_of_a_batch_count_one_by_one() -> None:
    bus, gate = MessageBus(), Gate()
    async_gate: Any = gate
    bus.subscribe(Event, async_gate, batch=True)
    bus.publish(started())
    bus.flush()
    await turns()
    for _ in range(BUFFER + 1):
        bus.publish(started())
    assert not bus.congested
    bus.flush()
    assert bus.congested
    gate.open.set()
    await bus.drain()
    assert not bus.congested
    await bus.settle()


@in_loop
async def test_a_run_waits_for_a_stream_that_is_far_behind() -> None:
    bus = MessageBus()
    stream = bus.stream(TaskEvent)
    for number in range(BUFFER + 1):
        bus.publish(started(number))
    assert bus.congested
    draining = asyncio.create_task(bus.drain())
    await turns()
    assert not draining.done()
    await anext(stream)
    await draining
    assert not bus.congested
    await stream.aclose()


@in_loop
async def test_leaving_ends_congestion() -> None:
    bus, gate = MessageBus(), Gate()
    subscription, stream = bus.subscribe(Event, gate), bus.stream(Event)
    for _ in range(BUFFER + 2):
        bus.publish(started())
    draining = asyncio.create_task(bus.drain())
    await turns()
    subscription.unsubscribe()
    await turns()
    assert not draining.done()
    await stream.aclose()
    await draining
    gate.open.set()


@in_loop
async def test_who_waits_can_be_cancelled() -> None:
    bus, gate = MessageBus(), Gate()
    bus.subscribe(Event, gate)
    bus.publish(started())
    settling = asyncio.create_task(bus.settle())
    await turns()
    settling.cancel()
    await turns()
    assert settling.cancelled()
    gate.open.set()
    await bus.settle()
    assert len(gate.done) == 1


@in_loop
async def test_settling_does_not_wait_for_what_comes_later() -> None:
    bus, handled = MessageBus(), list[Event]()

    async def endless(event: Event) -> None:
        handled.append(event)
        await asyncio.sleep(0)
        if len(handled) < 1000:
            bus.publish(event)

    subscription = bus.subscribe(Event, endless)
    bus.publish(started())
    await bus.settle()
    assert len(handled) < 10
    subscription.unsubscribe()


@in_loop
async def test_settling_delivers_batches_and_does_not_wait_for_streams() -> None:
    bus, got = MessageBus(), list[list[Event]]()
    stream = bus.stream(Event)
    bus.subscribe(Event, got.append, batch=True)
    bus.publish(started())
    await bus.settle()
    assert [len(events) for events in got] == [1]
    await stream.aclose()


# --- handlers that wait for runs


class FakeRun:
    """A run as the engine has it: it publishes, settles, and is awaited saying so."""

    def __init__(self, bus: MessageBus, run_id: str) -> None:
        self.bus = bus
        self.run_id = run_id
        self.task = asyncio.create_task(self.main())

    async def main(self) -> str:
        await asyncio.sleep(0)
        self.bus.publish(ended(self.run_id))
        await self.bus.settle(self.run_id)
        return self.run_id

    async def result(self) -> str:
        with self.bus.waiting_for(self.run_id):
            return await asyncio.shield(self.task)


@in_loop
async def test_a_handler_may_wait_for_the_run_that_it_hears_of() -> None:
    bus, got = MessageBus(), list[str]()

    async def handler(event: RunFinished) -> None:
        got.append(await run.result())

    bus.subscribe(RunFinished, handler)
    run = FakeRun(bus, "a")
    assert await run.result() == "a"
    await turns()
    assert got == ["a"]


@in_loop
async def test_a_handler_may_run_something_and_the_first_run_waits_for_that() -> None:
    bus, got = MessageBus(), list[str]()

    async def handler(event: RunFinished) -> None:
        if event.run_id == "a":
            got.append(await FakeRun(bus, "b").result())

    bus.subscribe(RunFinished, handler)
    assert await FakeRun(bus, "a").result() == "a"
    assert got == ["b"]


@in_loop
async def test_handlers_may_run_things_in_turn() -> None:
    bus, got = MessageBus(), list[str]()

    def follow(this: str, then: str) -> None:
        async def handler(event: RunFinished) -> None:
            if event.run_id == this:
                got.append(await FakeRun(bus, then).result())

        bus.subscribe(RunFinished, handler)

    follow("a", "b")
    follow("b", "c")
    follow("c", "d")
    await FakeRun(bus, "a").result()
    assert got == ["d", "c", "b"]


@in_loop
async def test_handlers_may_wait_for_the_runs_of_each_other() -> None:
    bus, got = MessageBus(), list[str]()

    def watch(this: str, other: str) -> None:
        async def handler(event: RunFinished) -> None:
            if event.run_id == this:
                got.append(await runs[other].result())

        bus.subscribe(RunFinished, handler)

    watch("a", "b")
    watch("b", "a")
    runs = {name: FakeRun(bus, name) for name in "ab"}
    await asyncio.gather(*(run.result() for run in runs.values()))
    await turns()
    assert sorted(got) == ["a", "b"]


@in_loop
async def test_a_handler_may_wait_for_all_runs() -> None:
    bus, done = MessageBus(), list[Event]()

    async def close(event: RunFinished) -> None:
        with bus.waiting_for(*runs):
            await asyncio.wait([run.task for run in runs.values()])
        done.append(event)

    bus.subscribe(RunFinished, close)
    runs = {name: FakeRun(bus, name) for name in "abc"}
    await asyncio.gather(*(run.result() for run in runs.values()))
    await turns()
    assert len(done) == 3


@pytest.mark.parametrize("run_id", [None, "r"])
def test_a_handler_may_settle_and_drain(run_id: str | None) -> None:
    async def main() -> None:
        bus, done = MessageBus(), list[Event]()

        async def handler(event: Event) -> None:
            if not done:
                for _ in range(BUFFER + 1):
                    bus.publish(started())
            await bus.drain(run_id)
            await bus.settle(run_id)
            await asyncio.create_task(bus.settle(run_id))
            done.append(event)
            if len(done) == 3:
                subscription.unsubscribe()

        subscription = bus.subscribe(Event, handler)
        publish(bus, started(), started(), started())
        await bus.settle(run_id)
        assert len(done) == 3

    asyncio.run(main())


@in_loop
async def test_a_run_that_a_handler_left_behind_waits_for_the_handler_like_any_other() -> None:
    bus, gate, tasks = MessageBus(), Gate(), list[asyncio.Task[None]]()

    async def handler(event: TaskEvent) -> None:
        if not tasks:
            tasks.append(asyncio.create_task(later()))
        else:
            await gate(event)

    async def later() -> None:
        await turns()
        bus.publish(started())
        await bus.settle()

    bus.subscribe(TaskEvent, handler)
    bus.publish(started())
    await bus.settle()
    await turns(30)
    assert len(gate.begun) == 1
    assert not tasks[0].done()
    gate.open.set()
    await tasks[0]


@in_loop
async def test_waiting_for_a_run_outside_of_handlers_is_nothing_special() -> None:
    bus = MessageBus()
    with bus.waiting_for("a"):
        await bus.settle("a")


# --- streams


async def collect(stream: AsyncIterator[Event] | Stream[Any]) -> list[Event]:
    return [event async for event in stream]


@in_loop
async def test_a_stream_ends_with_its_run() -> None:
    bus = MessageBus()
    events = [started(), finished(), ended()]
    stream = bus.stream(Event, "r")
    publish(bus, started(run_id="other"), *events[:2], ended("other"), events[2], started())
    assert await collect(stream) == events
    assert await collect(stream) == []


@in_loop
async def test_a_stream_of_other_events_ends_with_its_run_too() -> None:
    bus = MessageBus()
    stream = bus.stream(TaskEvent, run_id="r")
    publish(bus, one := started(), ended())
    assert await collect(stream) == [one]
    assert not bus.wants(RunFinished)


@in_loop
async def test_a_stream_of_all_runs_ends_with_the_first() -> None:
    bus = MessageBus()
    stream = bus.stream(Event)
    events = [started(run_id="a"), started(run_id="b"), ended("b")]
    publish(bus, *events, started(run_id="a"), ended("a"))
    assert await collect(stream) == events


@in_loop
async def test_a_stream_waits_for_events() -> None:
    bus = MessageBus()
    reading = asyncio.create_task(collect(bus.stream(TaskEvent)))
    await turns()
    for number in range(3):
        bus.publish(started(number))
        await turns(number)
    assert not reading.done()
    bus.publish(ended())
    assert len(await reading) == 3


@in_loop
async def test_leaving_a_stream_unsubscribes_it() -> None:
    bus = MessageBus()
    stream = bus.stream(TaskEvent)
    publish(bus, started(1), started(2))
    async for _ in stream:
        break
    assert not bus.wants(TaskExecutionStarted)
    assert await collect(stream) == []


@in_loop
async def test_an_error_in_the_body_leaves_a_stream() -> None:
    async def read() -> None:
        async for event in stream:
            raise ValueError(event.task_id)

    bus = MessageBus()
    stream = bus.stream(TaskEvent)
    bus.publish(started())
    with pytest.raises(ValueError, match="f#1"):
        await read()
    assert not bus.wants(TaskExecutionStarted)


@in_loop
async def test_a_cancelled_reader_leaves_its_stream() -> None:
    bus = MessageBus()
    reading = asyncio.create_task(collect(bus.stream(TaskEvent)))
    await turns()
    assert bus.wants(TaskSkipped)
    reading.cancel()
    await asyncio.wait([reading])
    del reading
    gc.collect()
    assert not bus.wants(TaskSkipped)


def test_a_stream_that_nobody_reads_is_left_when_it_is_dropped() -> None:
    bus = MessageBus()
    stream = bus.stream(TaskEvent)
    bus.publish(started())
    assert bus.wants(TaskSkipped)
    del stream
    assert not bus.wants(TaskSkipped)


def test_a_stream_may_be_dropped_while_the_bus_is_busy_with_subscriptions() -> None:
    bus = MessageBus()
    stream = bus.stream(TaskEvent)
    with bus._hub._lock:  # as when the garbage collector drops a stream within `subscribe`
        del stream
    bus.subscribe(RunEvent, print)
    assert not bus.wants(TaskSkipped)


@in_loop
async def test_closing_a_stream_ends_its_reader() -> None:
    bus = MessageBus()
    stream = bus.stream(TaskEvent)
    reading = asyncio.create_task(collect(stream))
    await turns()
    await stream.aclose()
    assert await reading == []


@in_loop
async def test_a_stream_begins_when_it_is_made() -> None:
    bus = MessageBus()
    stream = bus.stream(TaskEvent)
    publish(bus, one := started(1), two := started(2))
    assert await anext(stream) == one
    assert await anext(stream) == two
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
