"""Generator tasks: their value is the list of what they yield, and they are closed on every way out."""

import asyncio
import contextvars
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskExecutionStarted
from cascade.spec.protocols import CallNode
from tests.workflows import Tier, Way, every_tier, every_way, in_loop, notes_of, run, turns

Kind = Callable[[Callable[..., Any]], cs.Task[..., Any]]


def awaited(func: Callable[..., Any]) -> cs.Task[..., Any]:
    """Make a task of an async generator that gives the event loop a turn before each item."""

    @functools.wraps(func)
    async def generator(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for item in (items := func(*args, **kwargs)):
            try:
                await asyncio.sleep(0)
                yield item
            except BaseException:
                items.close()
                raise

    return cs.task(generator)


def inline(func: Callable[..., Any]) -> cs.Task[..., Any]:
    return cs.task(mode="inline")(func)


def blocking(func: Callable[..., Any]) -> cs.Task[..., Any]:
    return cs.task(mode="blocking")(func)


def compute(func: Callable[..., Any]) -> cs.Task[..., Any]:
    return cs.task(mode="compute")(func)


every_kind = pytest.mark.parametrize("kind", [awaited, inline, blocking, compute, cs.task], ids=lambda k: k.__name__)


def count(n: int) -> Iterator[int]:
    yield from range(n)


@cs.task(mode="inline")
def total(values: list[int]) -> int:
    return sum(values)


# --- the value


@every_way
@every_kind
def test_its_value_is_the_list_of_what_it_yields(kind: Kind, way: Way) -> None:
    numbers = kind(count)
    for _ in range(3):
        assert way.run(numbers(4)) == [0, 1, 2, 3]
        assert way.run([numbers(0), total(numbers(5)), total(numbers(1))]) == [[], 10, 0]


@every_tier
def test_whatever_can_be_called_and_yields(tier: Tier) -> None:
    class Box:
        def __init__(self, n: int) -> None:
            self.n = n

        @cs.task
        def each(self) -> Iterator[int]:
            yield from range(self.n)

        def __call__(self, n: int) -> Iterator[int]:
            yield from range(self.n + n)

    called = [cs.task(functools.partial(count, 2))(), Box(3).each(), cs.task(name="box")(Box(1))(1)]
    assert run(called, tier=tier) == [[0, 1], [0, 1, 2], [0, 1]]


@every_tier
@every_kind
def test_readers_of_every_kind(kind: Kind, tier: Tier) -> None:
    numbers = kind(count)
    three = numbers(3)
    assert run({"a": [three], "b": total(three)}, tier=tier) == {"a": [[0, 1, 2]], "b": 3}
    assert run(total.map(values=[numbers(2), numbers(3)]), tier=tier) == [1, 3]
    assert run(total.map(values=numbers.map(n=[1, 2, 3])), tier=tier) == [0, 1, 3]
    assert run(total(three).run_if(numbers(0), otherwise=-1), tier=tier) == -1  # an empty list is false
    assert run(total(three).run_if(numbers(1)), tier=tier) == 3
    assert run(numbers(3).run_if(cs.Param("go", default=False), otherwise=[7]), tier=tier) == [7]
    assert run(cs.subflow(total(numbers(cs.Param("n", type=int))), params={"n": 4}), tier=tier) == 6


@every_tier
@every_kind
def test_a_map_over_one_gives_a_list_of_lists(kind: Kind, tier: Tier) -> None:
    def few(n: int) -> Iterator[int]:
        yield n
        if n == 1:
            raise ValueError(n)
        yield -n

    numbers = kind(few)
    found = run(numbers.map(n=[0, 1, 2], on_error="collect", concurrency=2), tier=tier)
    assert (found[0], found[2]) == ([0, 0], [2, -2])
    assert isinstance(found[1], cs.Failed)
    assert run(numbers.map(n=range(5), on_error="skip"), tier=tier) == [[0, 0], [2, -2], [3, -3], [4, -4]]


@every_tier
@every_kind
def test_where_a_loop_reads_one_each_entry_goes_through_it_anew(kind: Kind, tier: Tier) -> None:
    begun = []

    def source(n: int) -> Iterator[int]:
        begun.append(n)
        yield from range(3)

    @cs.task(mode="inline")
    def step(values: list[int], n: int) -> Any:
        return cs.Jump("again", {"n": n - 1}) if n else (sum(values), len(begun))

    numbers = kind(source)
    for _ in range(3):
        begun.clear()
        entry = step(numbers(1), 40)
        cs.bind(entry, cs.select_jump({"again": entry, "exit": None}))
        assert run(entry, tier=tier) == (3, 41)


@every_tier
@every_kind
def test_a_state_of_a_loop_may_be_one(kind: Kind, tier: Tier) -> None:
    @cs.task(mode="inline")
    def first(n: int) -> Any:
        return cs.Jump("more", {"n": n - 1}) if n % 3 else cs.Jump("list", {"n": n})

    entry, last = first(5), kind(count)(2)
    routes = cs.select_jump({"more": entry, "list": last, "exit": None})
    cs.bind(entry, routes)
    cs.bind(last, routes)
    engine_runs = [run(entry, tier=tier) for _ in range(20)]
    assert engine_runs == [[0, 1, 2]] * 20


# --- what surrounds a call


@every_tier
@every_kind
def test_each_attempt_begins_a_new_list(kind: Kind, tier: Tier) -> None:
    attempts: list[int] = []

    def flaky() -> Iterator[int]:
        attempts.append(1)
        for i in range(3):
            if i == 2 and len(attempts) < 3:
                raise ConnectionError
            yield i

    numbers = kind(flaky)
    assert run(numbers().with_retry(max_attempts=3), tier=tier) == [0, 1, 2]
    assert len(attempts) == 3


@every_tier
@every_kind
def test_policies_hold_for_all_of_it(kind: Kind, tier: Tier) -> None:
    outcomes: list[Any] = []
    begun = []

    @cs.resource(scope="task")
    def connection() -> Iterator[str]:
        begun.append("open")
        yield "db"
        begun.append("closed")

    def rows(n: int, db: Any = cs.inject(connection)) -> Iterator[str]:
        for i in range(n):
            begun.append("row")
            yield f"{db}{i}"

    numbers = kind(rows)
    target = numbers(2).with_constraints(slots=1).with_hooks(on_success=outcomes.append).with_timeout(60)
    assert run([target, numbers(1).with_constraints(slots=1)], tier=tier, system_resources={"slots": 1}) == [
        *(["db0", "db1"], ["db0"]),
    ]
    assert begun[:4] == ["open", "row", "row", "closed"] or begun[:3] == ["open", "row", "closed"]
    assert [outcome.value for outcome in outcomes] == [["db0", "db1"]]


@every_tier
@every_kind
def test_a_kept_list_is_not_made_again(kind: Kind, tier: Tier) -> None:
    begun = []

    def source(n: int) -> Iterator[int]:
        begun.append(n)
        yield from range(n)

    numbers = kind(source)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(3):
                assert await engine.run(total(numbers(3).with_cache(cs.cached()))) == 3

    in_loop(main)
    assert begun == [3]


@every_way
@every_kind
def test_it_is_one_call_to_those_who_listen(kind: Kind, way: Way) -> None:
    way.run(total(kind(count)(3)))
    if way.watched:
        assert [name for name, _ in way.started()] == ["count#1", "total#1"]
        assert [name for name, _ in way.finished()] == ["count#1", "total#1"]


@every_kind
def test_a_limit_is_for_the_whole_of_it(kind: Kind) -> None:
    most = running = 0

    def source(n: int) -> Iterator[int]:
        nonlocal most, running
        running += 1
        most = max(most, running)
        yield from range(n)
        running -= 1

    numbers = kind(source)

    async def main() -> None:
        async with Engine() as engine:
            engine.set_limit("task:source", concurrency=1)
            assert await engine.run([numbers(2), numbers(3)]) == [[0, 1], [0, 1, 2]]

    in_loop(main)
    assert most == 1


@every_tier
@every_kind
def test_it_knows_where_it_is_and_sees_one_context(kind: Kind, tier: Tier) -> None:
    seen: contextvars.ContextVar[int] = contextvars.ContextVar("seen", default=-1)

    def source() -> Iterator[Any]:
        for i in range(3):
            yield cs.current().task_id, seen.get()
            seen.set(i)

    if kind is awaited:
        return  # what its inner generator sets, the wrapper sees: the same function, and one context anyway
    assert run(kind(source)(), tier=tier) == [("source#1", -1), ("source#1", 0), ("source#1", 1)]
    assert seen.get() == -1


def test_it_is_called_in_place_once_its_steps_are_known_to_be_short() -> None:
    threads = set()

    @cs.task
    def numbers() -> Iterator[int]:
        for i in range(20):
            threads.add(threading.current_thread())
            yield i

    async def main() -> None:
        async with Engine() as engine:
            for _ in range(200):
                threads.clear()
                await engine.run(numbers())
                if threads == {threading.current_thread()}:
                    return
        raise AssertionError("it always ran in a thread")

    in_loop(main)


@every_tier
def test_an_executor_of_ones_own_is_asked_once_for_all_of_it(tier: Tier) -> None:
    asked: list[CallNode] = []

    class Own(LocalExecutor):
        async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            asked.append(node)
            return await super().execute(node, args, kwargs)

    numbers, more = cs.task(name="numbers")(count), awaited(count)
    assert run([numbers(2), more(n=3)], tier=tier, executor=Own()) == [[0, 1], [0, 1, 2]]
    assert sorted(node.id for node in asked) == ["count#1", "numbers#1"]


def test_a_recorded_run_has_its_list(tmp_path: Path) -> None:
    begun = []
    fails = [True]

    @cs.task
    def numbers(n: int) -> Iterator[int]:
        begun.append(n)
        yield from range(n)

    @cs.task
    def use(values: list[int]) -> int:
        if fails:
            raise BrokenPipeError
        return sum(values)

    async def main() -> int:
        async with Engine(state_backend=str(tmp_path / "runs.db")) as engine:
            return await engine.run(use(numbers(4)), run_id="one")

    with pytest.raises(BrokenPipeError):
        in_loop(main)
    fails.clear()
    assert in_loop(main) == 6
    assert begun == [4]


# --- the ways out


class Noted:
    """A generator that notes that it is closed, and where it stays until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.closed: list[str] = []

    def stay(self) -> Iterator[int]:
        """Give one item after the other, and be closed."""
        try:
            while True:
                self.begun.set()
                self.release.wait(0.001)
                yield 1
        except GeneratorExit:
            self.closed.append("exit")
            raise
        finally:
            self.closed.append("finally")

    async def until_begun(self) -> None:
        while not self.begun.is_set():
            await asyncio.sleep(0)


@every_tier
@every_kind
@pytest.mark.parametrize("ending", ["cancel", "timeout of the run", "timeout", "sibling"])
def test_it_is_closed_when_it_is_ended(kind: Kind, ending: str, tier: Tier) -> None:
    noted = Noted()

    @cs.task
    async def fail() -> None:
        await noted.until_begun()
        raise KeyError(1)

    numbers = kind(noted.stay)()
    if ending == "timeout":
        numbers.with_timeout(0.05)
    target: Any = [numbers, fail()] if ending == "sibling" else numbers

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            started = engine.start(target, timeout=0.05 if ending == "timeout of the run" else None)
            await noted.until_begun()
            if ending == "cancel":
                started.cancel()
            await started

    with pytest.raises((asyncio.CancelledError, TimeoutError, KeyError)):
        in_loop(main)
    assert noted.closed == ["exit", "finally"]


@every_tier
@every_kind
def test_what_it_raises_is_the_failure_with_its_note(kind: Kind, tier: Tier) -> None:
    closed = []

    def broken() -> Iterator[int]:
        try:
            yield 1
            raise ValueError("no more")
        finally:
            closed.append(1)

    with pytest.raises(ValueError, match="no more") as caught:
        run(total(kind(broken)()), tier=tier)
    assert "broken#1" in notes_of(caught.value)[0]
    assert closed == [1]


@every_tier
@every_kind
def test_an_item_that_is_more_than_a_value_is_refused(kind: Kind, tier: Tier) -> None:
    closed = []

    def source(item: Any) -> Iterator[Any]:
        try:
            yield 1
            yield item()
        finally:
            closed.append(1)

    def later() -> Any:
        return asyncio.sleep(0)

    numbers = kind(source)
    for item in (lambda: cs.Jump("x"), lambda: total([1]), later):
        with pytest.raises(TypeError, match=r"task 'source' \(declared at .*\) yielded .*; a generator task yields"):
            run(numbers(cs.Value(item)), tier=tier)
    assert closed == [1, 1, 1]


def test_one_that_was_left_behind_is_closed_by_its_thread() -> None:
    noted = Noted()
    release = threading.Event()

    @cs.task(mode="blocking")
    def stuck() -> Iterator[int]:
        try:
            noted.begun.set()
            release.wait(30)
            yield 1
        finally:
            noted.closed.append("finally")

    async def main() -> None:
        async with Engine(thread_grace=0.01) as engine:
            started = engine.start(stuck())
            await noted.until_begun()
            started.cancel()
            with pytest.raises(asyncio.CancelledError):
                await started
            assert noted.closed == []
            release.set()
            while not noted.closed:
                await turns()

    in_loop(main)


# --- what is refused


def test_what_a_generator_task_cannot_be() -> None:
    with pytest.raises(ValueError, match=r'is a generator function, which mode="process" cannot run yet'):
        cs.task(mode="process")(count)

    def rows(n: int, resume_from: int = 0) -> Iterator[int]:
        yield from range(resume_from, n)

    with pytest.raises(NotImplementedError, match="takes resume_from"):
        cs.task(rows)


def test_events_of_its_attempts_are_those_of_any_call() -> None:
    bus, events = MessageBus(), list[Any]()
    bus.subscribe(TaskExecutionStarted, events.append)
    run(cs.task(count)(2), bus=bus)
    assert [event.task_id for event in events] == ["count#1"]
