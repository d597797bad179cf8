"""The bus brings each event to all who want it, and never changes a run."""

import asyncio
import logging
import threading
from functools import partial
from typing import Any, assert_type

import pytest

from cascade.runtime.events.bus import MessageBus, Stream, Subscription
from cascade.spec.events import (
    Event,
    ResourceAcquired,
    RunEvent,
    RunFinished,
    RunStarted,
    TaskEvent,
    TaskExecutionStarted,
    TaskSkipped,
)
from tests.helpers import run_python
from tests.runtime.bus_parts import ended, finished, publish, started

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
    code = "import sys, cascade.runtime.events.bus as b\nbus = b.MessageBus()\nbus.subscribe(b.Event, id)\n"
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
