"""Events in batches, and in streams that somebody iterates over."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cascade.runtime.events.bus import MessageBus, Stream
from cascade.spec.events import Event, RunEvent, RunFinished, TaskEvent, TaskExecutionStarted, TaskSkipped
from tests.runtime.bus_parts import ended, finished, in_loop, publish, started
from tests.workflows import turns

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
