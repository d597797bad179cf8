"""Failures: the user's own error comes out with a note, and nothing is left running."""

import asyncio
import linecache
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import Event, RunFinished, TaskEvent, TaskExecutionFinished, TaskExecutionStarted
from cascade.testing import SpyExecutor, SpySubscriber
from tests.workflows import Tier, every_tier, in_loop, run, turns

KINDS = ["async", "async at once", "inline", "blocking", "compute", "auto"]
every_kind = pytest.mark.parametrize("kind", KINDS)
PLACES = ["alone", "consumer", "loop", "tail", "item", "item of several", "loop of items", "sub-flow", "feed of a loop"]
every_place = pytest.mark.parametrize("place", PLACES)


class Odd(Exception):
    """Says that its type is kept: it can be made in one way only."""

    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(f"odd: {why}")
        self.code = code


def failing(error: Callable[[], BaseException], kind: str, at: int = 0) -> Any:
    """A task of some kind, called with a number: it raises at `at`, else gives the number back."""

    def work(n: int) -> int:
        if n == at:
            raise error()
        return n

    async def work_async(n: int) -> int:
        if kind == "async":
            await asyncio.sleep(0)
        return work(n)

    if kind.startswith("async"):
        return cs.task(name="broken")(work_async)
    mode: Any = kind
    return cs.task(name="broken", mode=mode)(work)


@cs.task(mode="inline")
def passes(x: Any) -> Any:
    return x


def jumping(task: Any) -> Any:
    """Make a task that counts down by jumps of one that is called with the count."""
    func = task.func
    if task.is_async:

        @cs.task(name=task.name)
        async def step(n: int) -> Any:
            return cs.Jump("again", await func(n) - 1)

        return step
    return cs.task(name=task.name, mode=task.mode)(lambda n: cs.Jump("again", func(n) - 1))


def tailing(task: Any) -> Any:
    func = task.func
    if task.is_async:

        @cs.task(name=task.name)
        async def step(n: int) -> Any:
            return cs.TailCall(args=[await func(n) - 1])

        return step
    return cs.task(name=task.name, mode=task.mode)(lambda n: cs.TailCall(args=[func(n) - 1]))


def bound(target: Any) -> Any:
    return cs.bind(target, cs.select_jump({"again": target, "exit": None}))


def placed(task: Any, place: str) -> tuple[Any, str, int]:
    """A target with a failing call somewhere in it, the id of the node that fails, and its iteration."""
    if place == "alone":
        return task(0), "broken#1", 0
    if place == "consumer":
        return passes(task(passes(0))), "broken#1", 0
    if place == "loop":
        return bound(jumping(task)(2)), "broken#1", 2
    if place == "tail":
        return tailing(task)(2), "broken#1", 2
    if place == "item":
        return task.map(n=[0]), "broken#1[0]", 0
    if place == "item of several":
        return task.map(n=[3, 2, 1, 0], concurrency=1), "broken#1[3]", 0
    if place == "loop of items":
        return bound(jumping(task).map(n=[3], concurrency=1)), "broken#1[0]", 3
    if place == "sub-flow":
        return cs.subflow([passes(1), cs.subflow(task(passes(0)))]), "broken#1", 0

    @cs.task(mode="inline")
    def step(n: int, fed: int) -> cs.Jump:
        return cs.Jump("again", {"n": n - 1})

    @cs.task(mode="inline")
    def source(counts: list[int]) -> int:
        counts[0] -= 1
        return counts[0]

    return bound(step(100, task(source([3])))), "broken#1", 2


# --- the error and its note


@every_tier
@every_kind
@every_place
def test_the_error_keeps_its_type_and_gains_a_note(place: str, kind: str, tier: Tier) -> None:
    errors: list[Odd] = []

    def make() -> Odd:
        errors.append(Odd(7, why="it is"))
        return errors[-1]

    target, task_id, iteration = placed(failing(make, kind), place)
    with pytest.raises(Odd, match="odd: it is") as caught:
        run(target, tier=tier)
    assert errors == [caught.value]
    (note,) = caught.value.__notes__
    first, _, rest = note.partition(" (declared at ")
    where, _, last = rest.partition("), ")
    assert first == f"in task {task_id}"
    file, _, line = where.rpartition(":")
    assert file == __file__
    assert "task" in linecache.getline(file, int(line))
    assert last == f"iteration {iteration}, attempt 1"


@every_tier
@every_kind
def test_the_note_is_the_same_with_a_subscriber_and_with_another_executor(kind: str, tier: Tier) -> None:
    for place in PLACES:
        target, task_id, iteration = placed(failing(lambda: Odd(1, why="so"), kind), place)
        notes = []
        bus = MessageBus()
        SpySubscriber(bus)
        for options in ({}, {"bus": bus}, {"executor": SpyExecutor()}):
            target, task_id, iteration = placed(failing(lambda: Odd(1, why="so"), kind), place)
            with pytest.raises(Odd) as caught:
                run(target, tier=tier, **options)
            notes.append("; ".join(caught.value.__notes__))
        assert len(set(notes)) == 1
        assert notes[0].startswith(f"in task {task_id} (declared at ")
        assert notes[0].endswith(f"iteration {iteration}, attempt 1")


@every_tier
@every_kind
def test_the_traceback_ends_at_the_users_line(kind: str, tier: Tier) -> None:
    with pytest.raises(Odd) as caught:
        run(failing(lambda: Odd(1, why="so"), kind)(0), tier=tier)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "raise error()"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@every_tier
@every_kind
@every_place
def test_a_stop_iteration_comes_out_as_a_runtime_error_caused_by_it(place: str, kind: str, tier: Tier) -> None:
    for error in (StopIteration, StopAsyncIteration):
        target, task_id, iteration = placed(failing(lambda error=error: error("enough"), kind), place)  # type: ignore[misc]
        with pytest.raises(RuntimeError) as caught:
            run(target, tier=tier)
        assert type(caught.value) is RuntimeError
        cause: BaseException | None = caught.value
        while type(cause) is RuntimeError:
            cause = cause.__cause__
        assert type(cause) is error
        (note,) = caught.value.__notes__
        assert note.startswith(f"in task {task_id} ")
        assert note.endswith(f"iteration {iteration}, attempt 1")


@every_tier
@every_kind
@every_place
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_end_of_the_process_ends_the_run_as_cancelled_and_comes_out(
    error: type[BaseException], place: str, kind: str, tier: Tier
) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    target, task_id, _ = placed(failing(lambda: error("bye"), kind), place)
    with pytest.raises(error, match="bye") as caught:
        run(target, tier=tier, bus=bus)
    (finished,) = spy.events_of_type(RunFinished)
    assert spy.events[-1] is finished
    assert finished.status == "Cancelled"
    assert finished.error is not None
    assert finished.error.startswith(f"{error.__name__}: bye (in task ")
    assert caught.value.__notes__[0].startswith(f"in task {task_id} ")


@every_tier
@every_kind
@every_place
def test_a_cancelled_error_that_nobody_asked_for_is_a_failure(place: str, kind: str, tier: Tier) -> None:
    target, task_id, iteration = placed(failing(lambda: asyncio.CancelledError("mine"), kind), place)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            started = engine.start(target)
            with pytest.raises(asyncio.CancelledError) as caught:
                await started
            assert started.status == "Failed"
            (finished,) = spy.events_of_type(RunFinished)
            assert (finished.status, finished.error) == ("Failed", "CancelledError: mine")
            failed = [event.task_id for event in spy.events_of_type(TaskExecutionFinished) if event.status == "Failed"]
            assert failed == [task_id]
            with pytest.raises(asyncio.CancelledError) as caught:
                await engine.run(placed(failing(lambda: asyncio.CancelledError("mine"), kind), place)[0])
            (note,) = caught.value.__notes__
            assert note.startswith(f"in task {task_id} ")
            assert note.endswith(f"iteration {iteration}, attempt 1")

    in_loop(main)


def test_a_group_of_errors_is_an_error_like_others() -> None:
    def make() -> BaseException:
        return ExceptionGroup("both", [ValueError(1), OSError(2)])

    with pytest.raises(ExceptionGroup, match="both") as caught:
        run(failing(make, "inline")(0))
    assert caught.value.__notes__[0].startswith("in task broken#1 ")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@every_tier
@every_kind
def test_an_error_without_words_comes_out_too(kind: str, tier: Tier) -> None:
    for options in ({}, {"bus": MessageBus()}):
        if options:
            SpySubscriber(options["bus"])
        with pytest.raises(Unprintable):
            run(failing(Unprintable, kind)(0), tier=tier, **options)  # type: ignore[arg-type]
        with pytest.raises(Unprintable):
            run(failing(Unprintable, kind)(0).with_retry(2), tier=tier, **options)  # type: ignore[arg-type]


# --- what else was running


@every_tier
def test_siblings_are_cancelled_once_and_may_take_long_to_clean_up(tier: Tier) -> None:
    """Longer than the task beside which they were started: its end must not cut them short."""
    begun: list[str] = []
    log: list[str] = []

    @cs.task
    async def quick() -> None:
        await asyncio.Event().wait()

    @cs.task
    async def tidy(name: str) -> None:
        begun.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            await turns(30)
            log.append(name)

    @cs.task
    async def fail() -> None:
        while len(begun) < 4:
            await asyncio.sleep(0)
        raise ValueError("enough")

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            with pytest.raises(ValueError, match="enough"):
                await engine.run([quick(), tidy("a"), tidy.map(name=["b", "c"]), cs.subflow(tidy("d")), fail()])
            assert sorted(log) == ["a", "b", "c", "d"]

    in_loop(main)


@every_tier
def test_siblings_are_cancelled_and_awaited(tier: Tier) -> None:
    log: list[str] = []

    async def main() -> None:
        begun = [asyncio.Event() for _ in range(3)]

        @cs.task
        async def sibling(at: int) -> None:
            begun[at].set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                log.append(f"cancel {at}")
                await turns(3)
                log.append(f"end {at}")
                raise

        @cs.task
        async def fail() -> None:
            for event in begun:
                await event.wait()
            raise ValueError("enough")

        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            with pytest.raises(ValueError, match="enough") as caught:
                await engine.run([sibling(0), sibling.map(at=[1]), cs.subflow(sibling(2)), fail()])
            assert sorted(log) == ["cancel 0", "cancel 1", "cancel 2", "end 0", "end 1", "end 2"]
            assert len(caught.value.__notes__) == 1
            ends = {event.task_id: event.status for event in spy.events_of_type(TaskExecutionFinished)}
            assert ends.pop("fail#1") == "Failed"
            assert list(ends.values()) == ["Cancelled"] * 3
            assert isinstance(spy.events[-1], RunFinished)

    in_loop(main)


@every_tier
def test_a_sibling_in_a_thread_is_waited_for(tier: Tier) -> None:
    begun, go_on = threading.Event(), threading.Event()
    log: list[str] = []

    @cs.task(mode="blocking")
    def sibling() -> None:
        begun.set()
        go_on.wait()
        log.append("end")

    async def main() -> None:
        @cs.task
        async def fail() -> None:
            while not begun.is_set():
                await asyncio.sleep(0)
            raise ValueError("enough")

        async with Engine(tier=tier, thread_grace=60) as engine:
            run = engine.start([sibling(), fail()])
            while not begun.is_set():
                await asyncio.sleep(0)
            await turns()
            assert run.status == "Running"
            go_on.set()
            with pytest.raises(ValueError, match="enough"):
                await run

    in_loop(main)
    assert log == ["end"]


@every_tier
def test_what_has_not_begun_does_not_begin(tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    fail = failing(lambda: ValueError("enough"), "inline")
    target = [fail(0), passes(fail(0)), passes(1)]
    with pytest.raises(ValueError, match="enough"):
        run(target, tier=tier, bus=bus)
    assert [event.task_id for event in spy.events_of_type(TaskExecutionStarted)] == ["broken#1"]


@every_tier
@pytest.mark.parametrize("kind", ["async", "blocking", "auto"])
def test_readers_of_what_failed_do_not_begin(kind: str, tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    with pytest.raises(ValueError, match="enough"):
        run(passes(failing(lambda: ValueError("enough"), kind)(0)), tier=tier, bus=bus)
    assert {event.task_name for event in spy.events_of_type(TaskEvent)} == {"broken"}


@every_tier
def test_a_sibling_that_does_not_mind_the_cancel_changes_nothing(tier: Tier) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def stubborn() -> str:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await turns(3)
            return "anyway"

        @cs.task
        async def fail() -> None:
            await begun.wait()
            raise ValueError("enough")

        async with Engine(tier=tier) as engine:
            for target in ([stubborn(), fail()], [passes(stubborn()), fail()], [cs.subflow(stubborn()), fail()]):
                begun.clear()
                with pytest.raises(ValueError, match="enough"):
                    await engine.run(target)

    in_loop(main)


# --- several at once


def several(count: int) -> Any:
    """A task whose calls all raise in the same turn of the loop."""
    ready: list[int] = []
    all_ready = asyncio.Event()

    @cs.task
    async def fails(n: int) -> None:
        ready.append(n)
        if len(ready) == count:
            all_ready.set()
        await all_ready.wait()
        raise LookupError(f"number {n}")

    return fails


@every_tier
@pytest.mark.parametrize("place", ["list", "map", "maps", "sub-flow"])
def test_the_first_of_several_is_raised_and_lists_the_others(place: str, tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            fails = several(3)
            target = {
                "list": [fails(1), fails(2), fails(3)],
                "map": fails.map(n=[1, 2, 3]),
                "maps": [fails.map(n=[1]), fails.map(n=[2, 3])],
                "sub-flow": [fails(1), cs.subflow([fails(2), fails(3)])],
            }[place]
            with pytest.raises(LookupError) as caught:
                await engine.run(target)
            messages = {"number 1", "number 2", "number 3"}
            first = str(caught.value)
            own, *others = caught.value.__notes__
            assert own.startswith("in task fails#")
            found = {first, *(note.split("LookupError: ")[1].split(" (")[0] for note in others)}
            assert found <= messages
            (finished,) = spy.events_of_type(RunFinished)
            failed = [event.error for event in spy.events_of_type(TaskExecutionFinished) if event.status == "Failed"]
            assert finished.error is not None
            assert sorted(finished.error.split("; ")) == sorted(str(error) for error in failed)
            assert len(others) == len(failed) - 1
            for note in others:
                assert note.startswith("besides, another node failed: LookupError: number ")
                assert f"(in task fails#{'1[' if place == 'map' else ''}" in note
                assert f"(declared at {__file__}:" in note

    in_loop(main)


@every_tier
def test_all_that_fail_in_one_turn_are_named(tier: Tier) -> None:
    """Those in threads end together; none of them can be cancelled any more."""
    barrier = threading.Barrier(3)

    @cs.task(mode="blocking")
    def fails(n: int) -> None:
        barrier.wait()
        raise LookupError(f"number {n}")

    async def main() -> None:
        async with Engine(tier=tier, thread_grace=60) as engine:
            spy = SpySubscriber(engine.bus)
            with pytest.raises(LookupError) as caught:
                await engine.run([fails(1), fails(2), fails(3)])
            named = "; ".join([str(caught.value), *caught.value.__notes__])
            failed = [e.error for e in spy.events_of_type(TaskExecutionFinished) if e.status == "Failed"]
            for error in failed:
                assert str(error).removeprefix("LookupError: ") in named

    in_loop(main)


@every_tier
def test_what_a_sibling_raises_while_it_is_cancelled_is_listed(tier: Tier) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def sibling() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise OSError("cannot end")

        @cs.task
        async def fail() -> None:
            await begun.wait()
            raise ValueError("enough")

        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            for target in ([sibling(), fail()], [fail(), sibling()], [fail(), cs.subflow([sibling(), passes(1)])]):
                begun.clear()
                with pytest.raises(ValueError, match="enough") as caught:
                    await engine.run(target)
                own, other = caught.value.__notes__
                assert own.startswith("in task fail#1 ")
                assert other.startswith("besides, another node failed: OSError: cannot end (in task sibling#1 ")
            errors = {event.error for event in spy.events_of_type(RunFinished)}
            assert errors == {"ValueError: enough; OSError: cannot end"}

    in_loop(main)


@every_tier
def test_one_error_raised_by_several_nodes_is_not_listed_beside_itself(tier: Tier) -> None:
    async def main() -> None:
        both = asyncio.Barrier(2)
        error = ValueError("shared")

        @cs.task
        async def fail() -> None:
            await both.wait()
            raise error

        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            with pytest.raises(ValueError, match="shared") as caught:
                await engine.run([fail(), fail()])
            assert caught.value is error
            assert not any("besides" in note for note in error.__notes__)
            (finished,) = spy.events_of_type(RunFinished)
            assert finished.error == "ValueError: shared"

    in_loop(main)


# --- events of failures


@every_tier
@every_kind
def test_a_failed_call_has_a_finished_event_with_its_error(kind: str, tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    with pytest.raises(ValueError, match="enough"):
        run(failing(lambda: ValueError("enough"), kind)(0), tier=tier, bus=bus)
    names = [type(event).__name__ for event in spy.events_of_type(Event)]
    assert names == ["RunStarted", "TaskExecutionStarted", "TaskExecutionFinished", "RunFinished"]
    (finished,) = spy.events_of_type(TaskExecutionFinished)
    assert (finished.status, finished.error, finished.result_preview) == ("Failed", "ValueError: enough", None)
    (ended,) = spy.events_of_type(RunFinished)
    assert (ended.status, ended.error) == ("Failed", "ValueError: enough")


# --- what is not a call


@every_tier
def test_an_iterable_that_fails_is_the_failure_of_its_map(tier: Tier) -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise OSError("no more numbers")

    async def async_numbers() -> AsyncIterator[int]:
        yield 1
        raise OSError("no more numbers")

    for source in (numbers, async_numbers):
        with pytest.raises(OSError, match="no more numbers") as caught:
            run(passes.map(x=source()), tier=tier)
        (note,) = caught.value.__notes__
        assert note.startswith(f"in task passes#1 (declared at {__file__}:")


@every_tier
def test_an_async_iterable_may_not_end_a_run_as_cancelled(tier: Tier) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    bus = MessageBus()
    spy = SpySubscriber(bus)
    with pytest.raises(asyncio.CancelledError):
        run([passes.map(x=numbers()), passes(1)], tier=tier, bus=bus)
    assert [event.status for event in spy.events_of_type(RunFinished)] == ["Failed"]


@every_tier
def test_a_truth_value_that_raises_is_the_failure_of_the_node_that_it_gates(tier: Tier) -> None:
    class Neither:
        def __bool__(self) -> bool:
            raise ValueError("neither")

    with pytest.raises(ValueError, match="neither") as caught:
        run(passes(1).named("gated").run_if(passes(Neither())), tier=tier)
    assert caught.value.__notes__[0].startswith("in task gated#1 ")


@every_tier
def test_a_run_can_fail_again_and_succeed_afterwards(tier: Tier) -> None:
    calls = 0

    @cs.task(mode="inline")
    def third_time_lucky() -> int:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ValueError(calls)
        return calls

    target = passes(third_time_lucky())
    for _ in range(2):
        with pytest.raises(ValueError, match=r"\d") as caught:
            run(target, tier=tier)
        assert len(caught.value.__notes__) == 1
    assert run(target, tier=tier) == 3
