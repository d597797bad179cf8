"""Streams: tasks that read a generator task while it goes on, and callers who do."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import pytest

import cascade as cs
from cascade import Stream
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskYielded
from tests.runtime.test_generators import Kind, awaited, blocking, every_kind
from tests.workflows import Tier, Way, every_tier, every_way, in_loop, notes_of, run, turns

if TYPE_CHECKING:
    import cascade as laterly

AHEAD = 64


def count(n: int) -> Iterator[int]:
    yield from range(n)


@cs.task
async def total(numbers: cs.Stream[int]) -> int:
    return sum([number async for number in numbers])


@cs.task
def summed(numbers: cs.Stream[int]) -> int:
    return sum(numbers)


@cs.task(mode="inline")
def length(numbers: list[int]) -> int:
    return len(numbers)


@cs.task
async def double(numbers: cs.Stream[int]) -> AsyncIterator[int]:
    async for number in numbers:
        yield 2 * number


@cs.task
def triple(numbers: cs.Stream[int]) -> Iterator[int]:
    for number in numbers:
        yield 3 * number


@cs.task
async def first(numbers: cs.Stream[int], n: int) -> list[int]:
    found: list[int] = []
    async for number in numbers:
        found.append(number)
        if len(found) == n:
            break
    return found


@cs.task
def first_in_a_thread(numbers: cs.Stream[int], n: int) -> list[int]:
    return [number for _, number in zip(range(n), numbers, strict=False)]


every_reader = pytest.mark.parametrize("reader", [total, summed], ids=lambda task: task.name)
every_first = pytest.mark.parametrize("reader", [first, first_in_a_thread], ids=lambda task: task.name)


# --- what comes of it


@every_way
@every_reader
@every_kind
def test_a_reader_gets_what_the_list_has(kind: Kind, reader: cs.Task[..., int], way: Way) -> None:
    numbers = kind(count)
    assert way.run(reader(numbers(100))) == 4950
    source = numbers(70)
    assert way.run([reader(source), length(source), reader(double(source)), reader(numbers=triple(source))]) == [
        *(2415, 70, 4830, 7245),
    ]
    assert way.run(length(double(triple(double(numbers(200)))))) == 200


@every_tier
@every_kind
def test_streams_of_one_source_that_meet_again(kind: Kind, tier: Tier) -> None:
    @cs.task
    async def one_by_one(a: cs.Stream[int], b: cs.Stream[int]) -> list[int]:
        return [len([x async for x in a]), len([x async for x in b])]

    @cs.task
    def both(a: cs.Stream[int], b: cs.Stream[int]) -> list[int]:
        return [len(list(b)), len(list(a))]

    numbers = kind(count)
    source, other = numbers(300), numbers(301)
    targets = [
        one_by_one(source, double(double(source))),
        one_by_one(double(double(source)), source),
        both(triple(source), triple(source)),
        one_by_one(source, source),
        both(source, source),
        both(source, other),
        one_by_one(source, other),
    ]
    assert run(targets, tier=tier) == [[300, 300]] * 5 + [[301, 300], [300, 301]]


@cs.task
async def woven(a: cs.Stream[int], b: cs.Stream[int]) -> AsyncIterator[int]:
    async for number in a:
        yield number
        if number % 3 == 0:
            yield await anext(aiter(b), -1)


def weave(a: list[int], b: list[int]) -> list[int]:
    """Return what `woven` gives."""
    others = iter(b)
    return [each for number in a for each in ([number, next(others, -1)] if number % 3 == 0 else [number])]


@cs.task
def second_first(a: cs.Stream[int], b: cs.Stream[int]) -> list[list[int]]:
    later = list(b)
    return [list(a), later]


@every_tier
@pytest.mark.parametrize("seed", range(20))
def test_whatever_network_of_streams_comes_to_its_end_with_what_lists_give(seed: int, tier: Tier) -> None:
    draw = Random(seed)
    n = draw.choice([0, 1, 63, 64, 65, 130, 300])
    source: Any = draw.choice([awaited, blocking])(count)
    nodes: list[tuple[Any, list[int]]] = [(source(n), [*range(n)])]
    for _ in range(draw.randrange(2, 8)):
        (a, listed), (b, others) = draw.choice(nodes), draw.choice(nodes)
        made = {
            "double": (double(a), [2 * number for number in listed]),
            "triple": (triple(a), [3 * number for number in listed]),
            "woven": (woven(a, b), weave(listed, others)),
        }
        nodes.append(made[draw.choice(["double", "triple", "woven"])])
    targets, expected = [], list[Any]()
    for _ in range(3):
        (a, listed), (b, others) = draw.choice(nodes), draw.choice(nodes)
        targets += [second_first(a, b), draw.choice([total, summed])(a), first(b, 3)]
        expected += [[listed, others], sum(listed), others[:3]]
    assert run(targets, tier=tier) == expected


@every_tier
@every_reader
def test_a_stream_of_anything_else_goes_through_it(reader: cs.Task[..., int], tier: Tier) -> None:
    for values in ([1, 2], (1, 2), range(3), {1: 0, 2: 0}, cs.Stream([1, 2])):
        assert run(reader(values), tier=tier) == 3
    assert run(reader(cs.task(list)(range(3))), tier=tier) == 3
    for wrong in (3, "text", None):
        with pytest.raises((TypeError, AttributeError)):
            run(reader(wrong), tier=tier)


@every_tier
@every_kind
@every_reader
def test_where_the_list_comes_from_elsewhere(reader: cs.Task[..., int], kind: Kind, tier: Tier) -> None:
    numbers = kind(count)
    inner = cs.subflow(reader(cs.Param("numbers", type=list)), params={"numbers": numbers(4)})
    assert run(inner, tier=tier) == 6
    assert run(cs.subflow(reader(numbers(cs.Param("n", type=int))), params={"n": 4}), tier=tier) == 6
    assert run(reader.map(numbers=[numbers(2), numbers(3), [5]]), tier=tier) == [1, 3, 5]
    assert run(reader(numbers(3).run_if(False, otherwise=[5])), tier=tier) == 5
    assert run(reader(numbers(3)).run_if(False, otherwise=7), tier=tier) == 7
    assert run(reader(numbers(3)).run_if(length(numbers(1))), tier=tier) == 3
    assert run(reader(numbers(3)).after(length([])), tier=tier) == 3
    kept = cs.Router(cs.Param("key", default="a"), {"a": numbers(3), "b": numbers(4)})
    assert run(reader(kept), tier=tier) == 3


@every_tier
@every_kind
def test_in_a_loop_each_entry_reads_it_anew(kind: Kind, tier: Tier) -> None:
    @cs.task
    async def step(sums: int, n: int) -> Any:
        return cs.Jump("again", {"n": n - 1}) if n else sums

    @cs.task
    async def reads(numbers: cs.Stream[int], n: int) -> Any:
        found = [number async for number in numbers]
        return cs.Jump("again", {"n": n - 1}) if n else found

    numbers = kind(count)
    for entry in (step(total(numbers(3)), 20), reads(numbers(3), 20)):
        cs.bind(entry, cs.select_jump({"again": entry, "exit": None}))
    entry = step(total(numbers(3)), 20)
    cs.bind(entry, cs.select_jump({"again": entry, "exit": None}))
    assert run(entry, tier=tier) == 3
    other = reads(numbers(3), 20)
    cs.bind(other, cs.select_jump({"again": other, "exit": None}))
    assert run(other, tier=tier) == [0, 1, 2]


# --- while it goes on


@every_tier
def test_items_come_while_the_generator_goes_on(tier: Tier) -> None:
    log: list[str] = []
    had = asyncio.Event()

    @cs.task
    async def give() -> AsyncIterator[int]:
        for number in range(3):
            log.append(f"give {number}")
            yield number
            await had.wait()
            had.clear()

    @cs.task
    async def take(numbers: cs.Stream[int]) -> int:
        async for number in numbers:
            log.append(f"take {number}")
            had.set()
        return len(log)

    assert run(take(give()), tier=tier) == 6
    assert log == ["give 0", "take 0", "give 1", "take 1", "give 2", "take 2"]


@every_tier
@every_kind
def test_a_generator_is_only_so_far_ahead_of_its_reader(kind: Kind, tier: Tier) -> None:
    most = given = 0
    here, begun = threading.current_thread(), threading.Event()

    def give() -> Iterator[int]:
        nonlocal given
        while True:
            given += 1
            yield given
            while not begun.is_set() and threading.current_thread() is not here:
                time.sleep(0.001)

    @cs.task
    async def slow(numbers: cs.Stream[int]) -> int:
        nonlocal most
        done = 0
        async for _ in numbers:
            begun.set()
            await asyncio.sleep(0)
            most = max(most, given - done)
            done += 1
            if done == 300:
                return done
        return 0

    assert run(slow(kind(give)()), tier=tier) == 300
    assert most <= AHEAD + 5


@every_tier
@every_kind
@every_first
def test_it_is_closed_when_its_last_reader_has_gone(kind: Kind, reader: cs.Task[..., Any], tier: Tier) -> None:
    closed = []

    def endless() -> Iterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.append("closed")

    source = kind(endless)()
    assert run([reader(source, 3), first(source, 200)], tier=tier) == [[0, 1, 2], list(range(200))]
    assert closed == ["closed"]


@every_tier
@every_kind
def test_a_reader_that_cannot_begin_does_not_hold_it_back(kind: Kind, tier: Tier) -> None:
    numbers = kind(count)
    source = numbers(500).with_constraints(slot=1)
    target = [total(source).with_constraints(slot=1), summed(source).with_constraints(slot=1)]
    assert run(target, tier=tier, system_resources={"slot": 1}) == [124750, 124750]


class Item:
    """Something of which one can see how many there are."""


@every_kind
def test_without_a_list_reader_items_are_not_kept(kind: Kind) -> None:
    most, here, begun = 0, threading.current_thread(), threading.Event()

    def give(n: int) -> Iterator[Item]:
        yield Item()
        while not begun.is_set() and threading.current_thread() is not here:
            time.sleep(0.001)
        for _ in range(n - 1):
            yield Item()

    @cs.task
    async def look(items: cs.Stream[Item]) -> int:
        nonlocal most
        seen = 0
        async for _ in items:
            seen += 1
            begun.set()
            if seen % 100 == 0:
                most = max(most, sum(isinstance(one, Item) for one in gc.get_objects()))
        return seen

    assert run(look(kind(give)(1000))) == 1000
    assert most <= 2 * AHEAD + 40


# --- failures, attempts and ends


@every_tier
@every_kind
@every_reader
def test_its_failure_is_the_failure_of_the_run(kind: Kind, reader: cs.Task[..., Any], tier: Tier) -> None:
    def broken() -> Iterator[int]:
        yield from range(100)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more") as caught:
        run(reader(kind(broken)()), tier=tier)
    assert "broken#1" in notes_of(caught.value)[0]


@every_tier
@every_kind
@every_reader
def test_the_failure_of_a_reader_closes_it(kind: Kind, reader: cs.Task[..., Any], tier: Tier) -> None:
    closed = []

    def texts() -> Iterator[Any]:
        try:
            yield 1
            yield from ("text" for _ in range(100)) if reader is total else iter(lambda: "text", None)
        finally:
            closed.append(1)

    with pytest.raises(TypeError):
        run(reader(kind(texts)()), tier=tier)
    assert closed == [1]


@every_tier
@every_kind
def test_it_is_tried_again_only_before_anybody_has_read(kind: Kind, tier: Tier) -> None:
    attempts: list[int] = []

    def flaky(given: int) -> Iterator[int]:
        attempts.append(1)
        yield from range(given)
        if len(attempts) < 3:
            raise ConnectionError("lost")

    numbers = kind(flaky)
    assert run(total(numbers(0).with_retry(max_attempts=5)), tier=tier) == 0
    assert len(attempts) == 3
    attempts.clear()
    assert run(length(numbers(7).with_retry(max_attempts=5)), tier=tier) == 7  # a list begins anew
    attempts.clear()
    with pytest.raises(ConnectionError, match="lost") as caught:
        run(total(numbers(200).with_retry(max_attempts=5)), tier=tier)
    assert attempts == [1]
    assert any("it is not tried again: others have read some of its items" in note for note in notes_of(caught.value))


@every_tier
@every_kind
def test_another_attempt_of_a_reader_begins_at_the_start(kind: Kind, tier: Tier) -> None:
    attempts: list[int] = []

    @cs.task
    async def flaky(numbers: cs.Stream[int]) -> int:
        attempts.append(1)
        seen = 0
        async for number in numbers:
            assert number == seen
            seen += 1
            if len(attempts) < 3 and seen == 150 * len(attempts):
                raise ConnectionError
        return seen

    assert run(flaky(kind(count)(400)).with_retry(max_attempts=3), tier=tier) == 400
    assert len(attempts) == 3


@every_tier
@every_reader
@pytest.mark.parametrize("ending", ["cancel", "timeout", "timeout of the reader"])
def test_a_reader_that_waits_is_ended_at_once(reader: cs.Task[..., Any], ending: str, tier: Tier) -> None:
    begun = threading.Event()
    closed = []

    @cs.task
    async def stay() -> AsyncIterator[int]:
        try:
            yield 1
            begun.set()
            await asyncio.Event().wait()
        finally:
            closed.append(1)

    target = reader(stay())
    if ending == "timeout of the reader":
        target.with_timeout(0.05)

    async def main() -> None:
        async with Engine(tier=tier, thread_grace=60) as engine:
            started = engine.start(target, timeout=0.05 if ending == "timeout" else None)
            while not begun.is_set():
                await asyncio.sleep(0)
            await turns()
            if ending == "cancel":
                started.cancel()
            await started

    with pytest.raises((asyncio.CancelledError, TimeoutError)):
        in_loop(main)
    assert closed == [1]


# --- to the caller


@every_tier
@every_kind
def test_the_caller_gets_items_as_they_come(kind: Kind, tier: Tier) -> None:
    given = 0

    def give(n: int) -> Iterator[int]:
        nonlocal given
        for number in range(n):
            given += 1
            yield number

    numbers = kind(give)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            seen = 0
            async for number in engine.stream(numbers(cs.Param("n", type=int)), {"n": 300}):
                assert number == seen
                await asyncio.sleep(0)
                assert given - seen <= AHEAD + 5
                seen += 1
            assert seen == 300
            assert [number async for number in engine.stream(double(numbers(3)))] == [0, 2, 4]
            skipped = numbers(3).run_if(False, otherwise=[7])
            assert [number async for number in engine.stream(skipped)] == [7]
            assert [n async for n in engine.stream(numbers(3).with_cache(cs.cached()))] == [0, 1, 2]
            assert [n async for n in engine.stream(numbers(3).with_cache(cs.cached()))] == [0, 1, 2]

    in_loop(main)


@every_tier
@every_kind
def test_a_caller_who_leaves_closes_it(kind: Kind, tier: Tier) -> None:
    closed = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(1)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            async with contextlib.aclosing(engine.stream(kind(endless)())) as items:
                async for _ in items:
                    break
            assert closed == [1]

    in_loop(main)


@every_tier
@every_kind
def test_a_failure_comes_behind_the_items_before_it(kind: Kind, tier: Tier) -> None:
    def broken() -> Iterator[int]:
        yield from range(3)
        raise ValueError("no more")

    async def main() -> None:
        seen = []
        async with Engine(tier=tier) as engine:
            with pytest.raises(ValueError, match="no more"):  # noqa: PT012
                async for number in engine.stream(kind(broken)()):
                    seen.append(number)
        assert seen == [0, 1, 2]

    in_loop(main)


def test_only_a_generator_task_is_streamed_to_the_caller() -> None:
    async def main() -> None:
        async with Engine() as engine:
            for wrong in (length([1]), awaited(count).map(n=[1]), [1], cs.subflow(awaited(count)(1))):
                with pytest.raises(TypeError, match=r"engine\.stream takes the lazy result of a generator task"):
                    engine.stream(wrong)  # type: ignore[arg-type]

    in_loop(main)


@every_kind
def test_as_completed_gives_its_items(kind: Kind) -> None:
    async def main() -> None:
        async with Engine() as engine:
            assert [number async for number in engine.as_completed(kind(count)(3))] == [0, 1, 2]

    in_loop(main)


# --- events


@every_tier
@every_kind
def test_an_event_for_each_item(kind: Kind, tier: Tier) -> None:
    bus = MessageBus(previews=4)
    events: list[Any] = []
    bus.subscribe(TaskEvent, events.append)
    attempts: list[int] = []

    def flaky(n: int) -> Iterator[str]:
        attempts.append(n)
        for number in range(n):
            yield f"item {number}"
        if len(attempts) == 1:
            raise ConnectionError

    numbers = kind(flaky)
    assert run(length(numbers(2).with_retry(max_attempts=2)), tier=tier, bus=bus) == 2
    told = [(type(event).__name__, event.task_id) for event in events]
    assert told == [
        ("TaskExecutionStarted", "flaky#1"),
        *[("TaskYielded", "flaky#1")] * 2,
        ("TaskRetrying", "flaky#1"),
        *[("TaskYielded", "flaky#1")] * 2,
        ("TaskExecutionFinished", "flaky#1"),
        ("TaskExecutionStarted", "length#1"),
        ("TaskExecutionFinished", "length#1"),
    ]
    items = [event for event in events if isinstance(event, TaskYielded)]
    assert [(event.attempt, event.number, event.item_preview) for event in items] == [
        *[(1, 0, "'ite"), (1, 1, "'ite"), (2, 0, "'ite"), (2, 1, "'ite")],
    ]
    assert len({event.event_id for event in events}) == len(events)


@every_kind
def test_nothing_is_told_where_nobody_listens(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise AssertionError(args)

    monkeypatch.setattr("cascade.runtime.run.reports.Reports.publish_yield", fail)
    bus = MessageBus()
    bus.subscribe(TaskExecutionFinished, lambda event: None)
    assert run(total(kind(count)(3)), bus=bus) == 3


# --- what declares a stream


def test_how_a_stream_is_declared() -> None:
    def texts(a: cs.Stream[int], b: Stream, c: Stream[int] | None = None, d: laterly.Stream[int] = None) -> None:  # type: ignore[type-arg, assignment]
        """Whose annotations are text, as those of this module are."""

    def others(a: list[Stream[int]], b: Streams[int], c: Unknown, d: asyncio.Stream) -> Stream[int]:  # type: ignore # noqa: F821
        """None of which is one."""

    def evaluated(a: Any, b: Any, c: Any) -> None: ...

    evaluated.__annotations__ = {"a": Stream[int], "b": Stream, "c": Stream[int] | None, "return": Stream[int]}
    assert cs.task(texts).streams == {"a", "b", "c"}
    assert cs.task(others).streams == frozenset()
    assert cs.task(evaluated).streams == {"a", "b", "c"}


def test_a_sync_reader_needs_a_thread() -> None:
    def read(numbers: cs.Stream[int]) -> int:
        return sum(numbers)

    modes: list[Literal["inline", "process"]] = ["inline", "process"]
    for mode in modes:
        with pytest.raises(ValueError, match=r"reads a cs.Stream \(numbers\), for which it waits in a thread"):
            cs.task(mode=mode)(read)

    @cs.task
    async def wrong(numbers: cs.Stream[int]) -> int:
        return sum(numbers)

    with pytest.raises(RuntimeError, match="is read with `async for` in an async task"):
        run(wrong(awaited(count)(3)))


def test_in_a_unit_test_a_list_will_do() -> None:
    assert asyncio.run(total.func(cs.Stream([1, 2]))) == 3
    assert summed.func(cs.Stream([1, 2])) == 3

    async def items() -> AsyncIterator[int]:
        yield 4

    assert asyncio.run(total.func(cs.Stream(items()))) == 4
    with pytest.raises(RuntimeError, match="async items"):
        summed.func(cs.Stream(items()))
    for wrong in (3, "text"):
        with pytest.raises(TypeError, match="a Stream goes through the items of a list"):
            cs.Stream(wrong)  # type: ignore[arg-type]


@every_tier
@every_kind
def test_with_an_executor_of_ones_own(kind: Kind, tier: Tier) -> None:
    class Own(LocalExecutor):
        async def execute(self, node: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return await super().execute(node, args, kwargs)

    source = kind(count)(200)
    assert run([total(source), summed(source), summed(triple(source))], tier=tier, executor=Own()) == [
        *(19900, 19900, 59700),
    ]


@every_kind
def test_a_recorded_run_reads_what_is_recorded(kind: Kind, tmp_path: Path) -> None:
    begun: list[str] = []
    fails = [True]

    def source(n: int) -> Iterator[int]:
        begun.append("source")
        yield from range(n)

    @cs.task
    async def use(numbers: cs.Stream[int]) -> int:
        begun.append("use")
        found = [number async for number in numbers]
        if fails:
            await asyncio.sleep(0.05)
            raise BrokenPipeError
        return sum(found)

    numbers = kind(source)

    async def main() -> int:
        async with Engine(state_backend=str(tmp_path / "runs.db"), durability="each") as engine:
            return await engine.run(use(numbers(200)), run_id="one")

    with pytest.raises(BrokenPipeError):
        in_loop(main)
    fails.clear()
    assert in_loop(main) == 19900
    assert in_loop(main) == 19900
    assert sorted(begun) == ["source", "use", "use"]
