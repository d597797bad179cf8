"""Async handlers: called one event after the other, in whatever loop there is."""

import asyncio
import gc
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial

import pytest

from cascade.runtime.events.bus import MessageBus
from cascade.spec.events import Event
from tests.runtime.bus_parts import Gate, ended, in_loop, publish, started
from tests.workflows import turns


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
