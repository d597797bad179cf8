"""Retries: a failing call is made again, under one Started and one Finished event."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import (
    ResourceAcquired,
    ResourceReleased,
    TaskBlocked,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
)
from cascade.spec.policies import Retry
from cascade.testing import SpySubscriber
from tests.workflows import Tier, every_tier, in_loop, run

MODES = ["inline", "blocking", "auto", "async"]
every_mode = pytest.mark.parametrize("mode", MODES)


class Flaky:
    """Fails so many times, then gives its argument; made into a task of any mode."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def call(self, value: Any = "done") -> Any:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError(f"attempt {self.calls}")
        return value

    def task(self, mode: Any = "inline", **options: Any) -> Any:
        if mode != "async":
            return cs.task(mode=mode, name="flaky", **options)(lambda value="done": self.call(value))

        @cs.task(name="flaky", **options)
        async def flaky(value: Any = "done") -> Any:
            await asyncio.sleep(0)
            return self.call(value)

        return flaky


@every_mode
@every_tier
def test_a_failing_call_is_made_again(mode: str, tier: Tier) -> None:
    flaky = Flaky(2)
    assert run(flaky.task(mode)(7).with_retry(max_attempts=3), tier=tier) == 7
    assert flaky.calls == 3


@every_mode
@every_tier
def test_max_attempts_counts_the_first_call_too(mode: str, tier: Tier) -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionError, match="attempt 3") as caught:
        run(flaky.task(mode)().with_retry(max_attempts=3), tier=tier)
    assert flaky.calls == 3
    (note,) = caught.value.__notes__
    assert note.startswith("in task flaky#1 (declared at ")
    assert note.endswith("iteration 0, attempt 3")


def test_without_arguments_there_are_three_attempts() -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionError):
        run(flaky.task()().with_retry())
    assert flaky.calls == 3


def test_one_attempt_is_no_retry() -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionError):
        run(flaky.task(retry=5)().with_retry(1))
    assert flaky.calls == 1


@pytest.mark.parametrize("retry", [2, {"max_attempts": 2}, {"max_attempts": 2, "delay": 0.0}])
def test_a_task_has_a_retry_for_all_its_calls(retry: Any) -> None:
    flaky = Flaky(1)
    assert run(flaky.task(retry=retry)()) == "done"
    assert flaky.calls == 2


def test_a_node_replaces_the_retry_of_its_task() -> None:
    flaky = Flaky(3)
    assert run(flaky.task(retry=2)().with_retry(4)) == "done"


def test_a_second_with_retry_replaces_the_first() -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionError):
        run(flaky.task()().with_retry(5).with_retry(2))
    assert flaky.calls == 2


def test_a_retry_given_after_a_run_counts_from_the_next() -> None:
    flaky = Flaky(2)
    target = flaky.task()()
    with pytest.raises(ConnectionError):
        run(target)
    assert run(target.with_retry(2)) == "done"
    assert flaky.calls == 3


@every_tier
def test_one_started_and_one_finished_event_and_one_retrying_for_each_retry(tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    run(Flaky(2).task()().with_retry(5), tier=tier, bus=bus)
    events = spy.events_of_type(TaskEvent)
    kinds = [TaskExecutionStarted, TaskRetrying, TaskRetrying, TaskExecutionFinished]
    assert [type(event) for event in events] == kinds
    assert {event.task_id for event in events} == {"flaky#1"}
    assert len({event.event_id for event in events}) == 4
    retries = spy.events_of_type(TaskRetrying)
    assert [(event.attempt, event.max_attempts, event.delay, event.error) for event in retries] == [
        (1, 5, 0.0, "ConnectionError: attempt 1"),
        (2, 5, 0.0, "ConnectionError: attempt 2"),
    ]
    (finished,) = spy.events_of_type(TaskExecutionFinished)
    assert (finished.status, finished.error) == ("Succeeded", None)


@every_tier
def test_the_last_failure_has_no_retrying_event(tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    with pytest.raises(ConnectionError):
        run(Flaky(9).task()().with_retry(2), tier=tier, bus=bus)
    kinds = [type(event) for event in spy.events_of_type(TaskEvent)]
    assert kinds == [TaskExecutionStarted, TaskRetrying, TaskExecutionFinished]
    (finished,) = spy.events_of_type(TaskExecutionFinished)
    assert (finished.status, finished.error) == ("Failed", "ConnectionError: attempt 2")


@every_tier
def test_each_item_of_a_map_has_its_own_attempts(tier: Tier) -> None:
    calls: dict[int, int] = {}

    @cs.task
    def item(x: int) -> int:
        calls[x] = calls.get(x, 0) + 1
        if calls[x] <= x:
            raise ConnectionError(x)
        return x

    bus = MessageBus()
    spy = SpySubscriber(bus)
    assert run(item.map(x=[0, 1, 2]).with_retry(3), tier=tier, bus=bus) == [0, 1, 2]
    assert calls == {0: 1, 1: 2, 2: 3}
    retries = [(event.task_id, event.attempt) for event in spy.events_of_type(TaskRetrying)]
    assert sorted(retries) == [("item#1[1]", 1), ("item#1[2]", 1), ("item#1[2]", 2)]


@every_tier
def test_each_entry_of_a_loop_has_its_own_attempts(tier: Tier) -> None:
    calls = 0

    @cs.task
    def step(n: int) -> cs.Jump:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise ConnectionError(n)
        return cs.Jump("again" if n else "exit", n - 1)

    looping = step(2).with_retry(2)
    cs.bind(looping, cs.select_jump({"again": looping, "exit": None}))
    bus = MessageBus()
    spy = SpySubscriber(bus)
    assert run(looping, tier=tier, bus=bus) == -1
    assert calls == 6
    assert [(event.iteration, event.attempt) for event in spy.events_of_type(TaskRetrying)] == [(0, 1), (1, 1), (2, 1)]


@every_tier
def test_each_tail_call_has_its_own_attempts(tier: Tier) -> None:
    calls: list[int] = []

    @cs.task(retry=2)
    def step(n: int) -> Any:
        calls.append(n)
        if calls.count(n) == 1:
            raise ConnectionError(n)
        return cs.TailCall(args=[n - 1]) if n else "done"

    assert run(step(2), tier=tier) == "done"
    assert calls == [2, 2, 1, 1, 0, 0]


def test_only_exceptions_are_retried() -> None:
    for error in (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
        calls: list[int] = []

        @cs.task(mode="inline", retry=3)
        def end(error: Any = error, calls: Any = calls) -> None:
            calls.append(1)
            raise error

        with pytest.raises(error):
            asyncio.run(Engine().run(end()))
        assert calls == [1]


@pytest.mark.parametrize(
    ("options", "delays"),
    [
        ({"delay": 2.0}, [2, 2, 2, 2]),
        ({"delay": 2.0, "backoff": 3.0}, [2, 6, 18, 54]),
        ({"delay": 2.0, "backoff": 3.0, "max_delay": 10}, [2, 6, 10, 10]),
        ({"delay": 2.0, "jitter": 8.0}, [6, 6, 6, 6]),
        ({"delay": 2.0, "jitter": 8.0, "max_delay": 5.0}, [5, 5, 5, 5]),
        ({"jitter": 1.0, "backoff": 7.0}, [0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_the_waits(options: Any, delays: list[float]) -> None:
    given = {"delay": 0.0, "backoff": 1.0, "jitter": 0.0, "max_delay": None} | options
    policy = Retry(5, **given)
    assert [policy.wait_after(attempt, 0.5) for attempt in (1, 2, 3, 4)] == delays


def test_a_backoff_may_grow_beyond_all_numbers() -> None:
    policy = Retry(10_000, 1.0, 10.0, 0.0, 60.0)
    assert policy.wait_after(9_999, 0.0) == 60.0


@every_tier
def test_other_nodes_run_while_one_waits_to_be_made_again(tier: Tier) -> None:
    flaky = Flaky(1)
    released = []

    @cs.task
    def other() -> str:
        released.append(flaky.calls)
        return "other"

    async def main() -> Any:
        async with Engine(tier=tier) as engine:
            waiting = asyncio.Event()
            engine.bus.subscribe(TaskRetrying, lambda event: waiting.set())
            run = engine.start([flaky.task()().with_retry(2, delay=3600), other()])
            await waiting.wait()
            while not released:
                await asyncio.sleep(0)
            assert run.status == "Running"
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)
    assert flaky.calls == 1


@every_tier
def test_constraints_are_not_held_while_waiting_to_be_made_again(tier: Tier) -> None:
    """The second call gets the only seat while the first waits for an hour."""
    flaky = Flaky(1)

    @cs.task(mode="inline")
    def other() -> str:
        return "other"

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            waiting = asyncio.Event()
            engine.bus.subscribe(TaskRetrying, lambda event: waiting.set())
            run = engine.start(flaky.task()().with_retry(2, delay=3600).with_constraints(seat=1))
            await waiting.wait()
            assert await engine.run(other().with_constraints(seat=1)) == "other"
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)


@every_tier
def test_resources_are_not_held_while_waiting_to_be_made_again(tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)

    @cs.resource(scope="task")
    def thing() -> Any:
        yield "thing"

    calls = []

    @cs.task
    def use(it: str = cs.inject(thing)) -> str:
        calls.append(it)
        if len(calls) < 3:
            raise ConnectionError
        return it

    assert run(use().with_retry(3), tier=tier, bus=bus) == "thing"
    kinds = [type(event) for event in spy.events if isinstance(event, ResourceAcquired | ResourceReleased | TaskEvent)]
    one = [ResourceAcquired, ResourceReleased]
    assert kinds == [TaskExecutionStarted, *one, TaskRetrying, *one, TaskRetrying, *one, TaskExecutionFinished]


@every_tier
def test_a_retry_waits_for_its_constraints_again(tier: Tier) -> None:
    """By then another call has the seat."""
    order: list[str] = []
    flaky = Flaky(1)

    @cs.task(mode="inline")
    def first() -> Any:
        order.append("first")
        return flaky.call()

    @cs.task
    async def second() -> None:
        order.append("second")
        await asyncio.sleep(0)
        order.append("second ends")

    bus = MessageBus()
    spy = SpySubscriber(bus)
    target = [first().with_retry(2).with_constraints(seat=1), second().with_constraints(seat=1)]
    assert run(target, tier=tier, bus=bus, system_resources={"seat": 1}) == ["done", None]
    assert order == ["first", "second", "second ends", "first"]
    assert [event.task_name for event in spy.events_of_type(TaskBlocked)] == ["second", "first"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"max_attempts": 2.0}, "max_attempts"),
        ({"delay": -1}, "delay"),
        ({"backoff": -1.0}, "backoff"),
        ({"jitter": float("nan")}, "jitter"),
        ({"max_delay": -0.1}, "max_delay"),
        ({"delay": "1"}, "delay"),
        ({"backoff": True}, "backoff"),
    ],
)
def test_amounts_that_make_no_sense_are_refused_where_they_are_given(options: Any, word: str) -> None:
    task = Flaky(0).task()
    with pytest.raises(ValueError, match=word):
        task().with_retry(**options)
    with pytest.raises(ValueError, match=word):
        cs.task(retry=options)(len)


def test_an_unknown_option_of_a_retry_is_refused() -> None:
    with pytest.raises(TypeError, match=r"retry has no option 'attempts'; write max_attempts=3"):
        cs.task(retry={"attempts": 3})


# --- filters


def is_busy(error: Exception) -> bool:
    return "busy" in str(error)


def failing(*errors: BaseException) -> tuple[Any, list[BaseException]]:
    """Return a task that raises these one after the other and then succeeds, and what is left of them."""
    left = list(errors)

    @cs.task(mode="inline", name="failing")
    def fail() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return fail, left


FILTERS: list[tuple[dict[str, Any], BaseException, bool]] = [
    ({}, ValueError(), True),
    ({"on": OSError}, ConnectionError(), True),
    ({"on": OSError}, ValueError(), False),
    ({"on": (OSError, ValueError)}, ValueError(), True),
    ({"on": (OSError, ValueError)}, TypeError(), False),
    ({"on": ()}, ValueError(), False),
    ({"on": is_busy}, ValueError("busy"), True),
    ({"on": is_busy}, ValueError("broken"), False),
    ({"give_up": ValueError}, ValueError(), False),
    ({"give_up": ValueError}, TypeError(), True),
    ({"give_up": (ValueError, TypeError)}, TypeError(), False),
    ({"give_up": is_busy}, ValueError("busy"), False),
    ({"give_up": is_busy}, ValueError("broken"), True),
    ({"on": OSError, "give_up": FileNotFoundError}, FileNotFoundError(), False),
    ({"on": OSError, "give_up": FileNotFoundError}, PermissionError(), True),
    ({"on": is_busy, "give_up": ValueError}, ValueError("busy"), False),
    ({"on": TimeoutError}, TimeoutError(), True),
    ({"on": ExceptionGroup}, ExceptionGroup("", [ValueError()]), True),
]


@pytest.mark.parametrize("way", ["node", "task"])
@every_tier
@pytest.mark.parametrize(("filters", "error", "again"), FILTERS)
def test_filters_say_which_failures_are_tried_again(
    filters: dict[str, Any], error: BaseException, again: bool, tier: Tier, way: str
) -> None:
    error = type(error)(*error.args)
    fail, left = failing(error)
    if way == "node":
        target = fail().with_retry(**filters)
    else:
        target = cs.task(mode="inline", retry=filters)(fail.func)()
    if again:
        assert run(target, tier=tier) == "done"
    else:
        with pytest.raises(type(error)) as caught:
            run(target, tier=tier)
        assert caught.value is error
        assert caught.value.__notes__[-1].endswith("attempt 1")
    assert left == []


def test_a_filter_is_asked_before_each_further_attempt_and_not_after_the_last() -> None:
    asked: list[str] = []

    def note(error: Exception) -> bool:
        asked.append(str(error))
        return True

    fail, _ = failing(*[ValueError(str(n)) for n in range(9)])
    with pytest.raises(ValueError, match="2"):
        run(fail().with_retry(3, on=note))
    assert asked == ["0", "1"]


@pytest.mark.parametrize("option", ["on", "give_up"])
@every_tier
def test_a_filter_that_raises_fails_the_call_and_says_so(option: str, tier: Tier) -> None:
    def broken(error: Exception) -> bool:
        raise LookupError("no idea")

    fail, left = failing(ValueError("first"), ValueError("second"))
    bus = MessageBus()
    spy = SpySubscriber(bus)
    with pytest.raises(LookupError, match="no idea") as caught:
        run(fail().with_retry(3, **{option: broken}), tier=tier, bus=bus)
    by, where = caught.value.__notes__
    assert by == f"raised by the filter {option}='broken' of a retry, asked about ValueError"
    assert where.startswith("in task failing#1 (declared at ")
    assert isinstance(caught.value.__context__, ValueError)
    assert len(left) == 1
    (finished,) = spy.events_of_type(TaskExecutionFinished)
    assert (finished.status, finished.error) == ("Failed", "LookupError: no idea")


@pytest.mark.parametrize("ending", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
@every_tier
def test_no_filter_is_asked_about_what_ends_things(ending: type[BaseException], tier: Tier) -> None:
    asked: list[BaseException] = []
    fail, left = failing(ending(), ending())
    with pytest.raises(ending):
        run(fail().with_retry(3, on=asked.append), tier=tier)
    assert (asked, len(left)) == ([], 1)


@pytest.mark.parametrize("option", ["on", "give_up"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (int, "takes exception classes in .*=, not <class 'int'>"),
        ((OSError, int), "takes exception classes in"),
        ("OSError", "an exception class, a tuple of them or a plain function of the error"),
        ([OSError], "a tuple of them"),
        ((OSError, is_busy), "a tuple of them"),
        (OSError(), "an exception class"),
        (asyncio.sleep, "a plain function"),
        (None, "an exception class"),
        (BaseException, "only an Exception is ever tried again"),
        (asyncio.CancelledError, "cannot have CancelledError in"),
        ((OSError, KeyboardInterrupt), "cannot have KeyboardInterrupt in"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_where_it_is_given(option: str, given: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Flaky(0).task()().with_retry(**{option: given})
    with pytest.raises(TypeError, match=words):
        cs.task(retry={option: given})


def test_pure_calls_under_other_filters_are_other_nodes() -> None:
    calls: list[int] = []

    @cs.task(mode="inline", pure=True)
    def note(x: int) -> int:
        calls.append(x)
        return x

    assert run([note(1).with_retry(on=OSError), note(1).with_retry(on=OSError)]) == [1, 1]
    assert calls == [1]
    assert run([note(2).with_retry(on=OSError), note(2).with_retry(on=ValueError)]) == [2, 2]
    assert calls == [1, 2, 2]
