"""Waiting for subscribers: for those that are slow, and for handlers that wait for runs themselves."""

import asyncio
from typing import Any

import pytest

from cascade.runtime.events.bus import MessageBus
from cascade.spec.events import Event, RunFinished, TaskEvent
from tests.runtime.bus_parts import BUFFER, Gate, ended, in_loop, publish, started
from tests.workflows import turns

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
