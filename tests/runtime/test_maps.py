"""Maps: one call for each item, results in the order of the items."""

import asyncio
import collections
import contextlib
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskExecutionStarted, TaskSkipped
from cascade.testing import SpySubscriber
from tests.workflows import Tier, every_tier, in_loop, run

MODES: list[Any] = ["inline", "blocking", "compute", "auto", "async"]
every_mode = pytest.mark.parametrize("mode", MODES)


def task_of(func: Callable[..., Any], mode: Any) -> Any:
    """Make a task that runs in a mode; "async" makes an async one."""
    if mode != "async":
        return cs.task(mode=mode)(func)

    async def call(x: Any, y: Any = 0) -> Any:
        await asyncio.sleep(0)
        return func(x, y)

    return cs.task(call)


def combine(x: Any, y: Any = 0) -> Any:
    return x * 10 + y


@cs.task(mode="inline")
def inc(x: int) -> int:
    return x + 1


@cs.task(mode="inline")
def add(a: int, b: int = 0, *, c: int = 0) -> int:
    return a + b + c


@cs.task(mode="inline")
def same(x: Any) -> Any:
    return x


untyped: Any = add


class Numbers:
    """Can be iterated any number of times and has no length."""

    def __iter__(self) -> Iterator[int]:
        return iter([1, 2, 3])


class Rows:
    """Has a length and items, and no `__iter__`."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, at: int) -> int:
        if at > 2:
            raise IndexError(at)
        return at + 1


class AsyncNumbers:
    """Can be iterated asynchronously any number of times."""

    async def __aiter__(self) -> AsyncIterator[int]:
        for n in (1, 2, 3):
            await asyncio.sleep(0)
            yield n


class TestResults:
    @every_tier
    @every_mode
    @pytest.mark.parametrize("count", [0, 1, 2, 1000])
    def test_come_in_the_order_of_the_items(self, tier: Tier, mode: Any, count: int) -> None:
        task = task_of(combine, mode)
        assert run(task.map(x=range(count)), tier=tier) == [10 * n for n in range(count)]
        both = task.map(x=list(range(count)), y=range(count))
        assert run(both, tier=tier) == [11 * n for n in range(count)]

    @every_tier
    def test_whichever_ends_first(self, tier: Tier) -> None:
        ends = [asyncio.Event() for _ in range(4)]
        ends[3].set()

        @cs.task
        async def wait(n: int) -> int:
            await ends[n].wait()
            if n:
                ends[n - 1].set()
            return n

        assert run(wait.map(n=[0, 1, 2, 3]), tier=tier) == [0, 1, 2, 3]

    @every_tier
    @every_mode
    def test_are_made_by_one_call_for_each_item(self, tier: Tier, mode: Any) -> None:
        calls: collections.Counter[int] = collections.Counter()
        lock = threading.Lock()

        def count(x: int, y: int = 0) -> None:
            with lock:
                calls[x] += 1

        run(task_of(count, mode).map(x=range(300)), tier=tier)
        assert calls == dict.fromkeys(range(300), 1)

    @every_tier
    def test_of_a_million_items(self, tier: Tier) -> None:
        assert run(inc.map(x=range(1_000_000)), tier=tier) == list(range(1, 1_000_001))

    @every_tier
    def test_can_be_read_by_others(self, tier: Tier) -> None:
        mapped = inc.map(x=[1, 2])
        assert run(add.map(a=mapped, b=inc.map(x=mapped)), tier=tier) == [5, 7]
        assert run([same(mapped), same([mapped, 1]), mapped], tier=tier) == [[2, 3], [[2, 3], 1], [2, 3]]


class Special(cs.Jump):
    """A Jump of a class of its own."""


class TestOddResults:
    """Among many plain results in one block."""

    @every_tier
    @pytest.mark.parametrize("kinds", [2, 3, 100])
    def test_classes_may_change_from_item_to_item(self, tier: Tier, kinds: int) -> None:
        values: list[Any] = [None, 1, "a", 2.5, [1], {"b": 2}, (), True, b"c", 3j]
        items = [values[n % min(kinds, len(values))] for n in range(5000)]
        assert run(same.map(x=items), tier=tier) == items
        pair = cs.task(mode="inline")(lambda x, y: (x, y) if y % 2 else x)
        expected = [(x, y) if y % 2 else x for y, x in enumerate(items)]
        assert run(pair.map(x=items, y=range(5000)), tier=tier) == expected
        assert run(pair.partial(y=0).map(x=items), tier=tier) == items
        assert run(pair.partial(x=5).map(y=range(3)), tier=tier) == [5, (5, 1), 5]

    @every_tier
    def test_a_coroutine_is_awaited(self, tier: Tier) -> None:
        async def later(x: int) -> int:
            await asyncio.sleep(0)
            return -x

        task = cs.task(mode="inline")(lambda x: later(x) if x % 100 == 7 else x)
        assert run(task.map(x=range(1000)), tier=tier) == [-x if x % 100 == 7 else x for x in range(1000)]

    @every_tier
    def test_a_coroutine_is_closed_when_a_later_item_fails(self, tier: Tier) -> None:
        async def later(x: int) -> None:
            raise AssertionError("never begun")

        task = cs.task(mode="inline")(lambda x: later(x) if x == 70 else 1 // (80 - x))
        with pytest.raises(ZeroDivisionError) as caught:
            run(task.map(x=range(1000)), tier=tier)
        assert "#1[80]" in caught.value.__notes__[0]

    @every_tier
    def test_a_tail_call_goes_on_for_its_item(self, tier: Tier) -> None:
        task = cs.task(mode="inline")(lambda x: cs.TailCall(kwargs={"x": x - 1}) if x % 50 == 49 else x)
        assert run(task.map(x=range(500)), tier=tier) == [x - 1 if x % 50 == 49 else x for x in range(500)]

    @every_tier
    @pytest.mark.parametrize("jump", [cs.Jump, Special])
    def test_a_jump_without_a_selector_is_an_error_of_its_item(self, tier: Tier, jump: Any) -> None:
        task = cs.task(mode="inline")(lambda x: jump("on") if x == 333 else x)
        with pytest.raises(cs.JumpError, match="not bound to a selector") as caught:
            run(task.map(x=range(1000)), tier=tier)
        assert "#1[333]" in caught.value.__notes__[0]

    @every_tier
    def test_a_list_that_shrinks_meanwhile_is_an_error(self, tier: Tier) -> None:
        items = list(range(10_000))

        def shrink(x: int) -> int:
            items.clear()
            return x

        with pytest.raises(RuntimeError, match="the list changed its size while it was mapped over"):
            run(cs.task(mode="inline")(shrink).map(x=items), tier=tier)

    @every_tier
    def test_what_is_added_while_a_list_is_mapped_over_is_not_in_it(self, tier: Tier) -> None:
        items = list(range(100_000))

        async def add() -> None:
            while len(items) < 100_100:
                await asyncio.sleep(0)
                items.extend(range(10))

        def slow(x: int) -> int:
            if x in (70, 30_000):
                time.sleep(0.03)  # so that `add` has a turn
            return x

        mapped = cs.task(mode="inline")(slow).map(x=items)
        result, _ = run([mapped, cs.task(add)()], tier=tier)
        assert result == list(range(100_000))

    @every_tier
    @pytest.mark.parametrize("first", [0, 500])
    def test_a_list_that_its_own_map_lets_grow_is_not_gone_through_for_ever(self, tier: Tier, first: int) -> None:
        items = list(range(1_000))

        def grow(x: int) -> int:
            if x >= first:
                items.append(x)
            return x

        outcome: Any = None
        with contextlib.suppress(RuntimeError):  # unless a tick came first, it is noticed when it is too late
            outcome = run(cs.task(mode="inline")(grow).map(x=items), tier=tier)
        assert outcome == list(range(1_000)) or (first and outcome is None)
        assert len(items) < 10_000_000


class TestInputs:
    @every_tier
    @pytest.mark.parametrize(
        "make",
        [
            lambda: [1, 2, 3],
            lambda: (1, 2, 3),
            lambda: range(1, 4),
            lambda: {1: "a", 2: "b", 3: "c"},
            lambda: collections.deque([1, 2, 3]),
            lambda: bytearray([1, 2, 3]),
            lambda: Rows(),
            lambda: Numbers(),
            lambda: iter([1, 2, 3]),
            lambda: (n for n in (1, 2, 3)),
            lambda: map(int, "123"),
            lambda: AsyncNumbers(),
            lambda: AsyncNumbers().__aiter__(),
            lambda: same([1, 2, 3]),
            lambda: same(Numbers()),
            lambda: same(AsyncNumbers()),
            lambda: inc.map(x=[0, 1, 2]),
            lambda: [inc(0), 2, inc(2)],
            lambda: (inc(0), inc(1), inc(2)),
            lambda: cs.Router(1, {1: same([1, 2, 3])}),
            lambda: cs.Param("p", default=[1, 2, 3]),
        ],
    )
    def test_are_any_iterable_or_a_lazy_result_of_one(self, tier: Tier, make: Callable[[], Any]) -> None:
        assert run(inc.map(x=make()), tier=tier) == [2, 3, 4]
        assert run(add.map(a=make(), b=[10, 20, 30]), tier=tier) == [11, 22, 33]

    @every_tier
    def test_a_set_is_an_iterable_too(self, tier: Tier) -> None:
        assert sorted(run(inc.map(x={1, 2, 3}), tier=tier)) == [2, 3, 4]

    @every_tier
    def test_a_list_is_read_when_the_map_runs(self, tier: Tier) -> None:
        values = [1]
        mapped = inc.map(x=values)
        assert run(mapped, tier=tier) == [2]
        values.append(2)
        assert run(mapped, tier=tier) == [2, 3]

    def test_of_other_lengths_are_a_value_error_that_names_them(self) -> None:
        with pytest.raises(ValueError, match="the inputs differ in length: a has 2, b has 3") as caught:
            add.map(a=[1, 2], b=(1, 2, 3))
        assert f"map of 'add' ({__file__}:" in str(caught.value)

    @every_tier
    @pytest.mark.parametrize(
        ("a", "b"),
        [
            (lambda: same([1, 2]), lambda: [1, 2, 3]),
            (lambda: iter([1, 2]), lambda: [1, 2, 3]),
            (lambda: iter([1, 2]), lambda: iter([1, 2, 3])),
            (lambda: same(iter([1, 2])), lambda: iter([1, 2, 3])),
            (lambda: AsyncNumbers(), lambda: [1]),
            (lambda: same([]), lambda: same([1])),
        ],
    )
    def test_so_are_those_whose_length_only_the_run_can_tell(
        self, tier: Tier, a: Callable[[], Any], b: Callable[[], Any]
    ) -> None:
        with pytest.raises(ValueError, match=r"the inputs differ in length: a has \d( or more)?, b has \d") as caught:
            run(add.map(a=a(), b=b()), tier=tier)
        assert caught.value.__notes__[0].startswith("in task add#1 ")

    @pytest.mark.parametrize("scalar", [3, 1.5, None, True, "text", b"bytes", object()])
    def test_a_scalar_or_a_str_is_a_type_error_that_suggests_partial(self, scalar: Any) -> None:
        with pytest.raises(TypeError, match=r"add\.partial\(b=\.\.\.\)\.map\(\.\.\.\)"):
            add.map(a=[1, 2], b=scalar)

    @every_tier
    @pytest.mark.parametrize("scalar", [3, None, "text"])
    def test_so_is_a_lazy_result_of_one_when_the_map_runs(self, tier: Tier, scalar: Any) -> None:
        with pytest.raises(TypeError, match=r"add\.partial\(b=\.\.\.\)\.map\(\.\.\.\)"):
            run(add.map(a=[1], b=same(scalar)), tier=tier)

    def test_a_task_that_is_not_called_is_a_type_error(self) -> None:
        with pytest.raises(TypeError, match="the task itself; did you mean to call it"):
            add.map(a=inc)

    @pytest.mark.parametrize(
        ("call", "reason"),
        [
            (lambda: add.map(), "needs at least one iterable"),
            (lambda: add.map(z=[1]), "has no parameter 'z'; it has: a, b, c"),
            (lambda: add.map(b=[1]), "missing a required argument: 'a'"),
            (lambda: untyped.map([1]), r"takes its iterables by name: add\.map\(a="),
            (lambda: add.partial(z=1), "has no parameter 'z'; it has: a, b, c"),
            (lambda: add.partial(a=1).map(z=[1]), "has no parameter 'z'"),
            (lambda: add.partial(a=inc), r"did you mean inc\(\)\?"),
        ],
    )
    def test_a_call_of_the_wrong_shape_is_a_type_error_at_once(self, call: Callable[[], Any], reason: str) -> None:
        with pytest.raises(TypeError, match=reason):
            call()

    @every_tier
    def test_a_lazy_result_in_a_set_is_an_error_of_the_graph(self, tier: Tier) -> None:
        with pytest.raises(cs.StaticGraphError, match="a lazy result is in a set"):
            run(inc.map(x={inc(1)}), tier=tier)

    @every_tier
    def test_an_input_that_raises_is_a_failure_of_the_map(self, tier: Tier) -> None:
        def broken() -> Iterator[int]:
            yield 1
            raise ConnectionError("lost")

        with pytest.raises(ConnectionError, match="lost") as caught:
            run(inc.map(x=broken()), tier=tier)
        assert caught.value.__notes__[0].startswith("in task inc#1 ")


class TestIterators:
    @every_tier
    @pytest.mark.parametrize("make", [lambda: iter([1, 2, 3]), lambda: AsyncNumbers().__aiter__()])
    def test_are_spent_by_the_first_run_and_the_second_says_so(self, tier: Tier, make: Callable[[], Any]) -> None:
        mapped = inc.map(x=make())
        assert run(mapped, tier=tier) == [2, 3, 4]
        with pytest.raises(ValueError, match="the iterator given as x= was spent by an earlier run; give a list"):
            run(mapped, tier=tier)

    @every_tier
    def test_several_are_spent_together(self, tier: Tier) -> None:
        mapped = add.map(a=iter([1, 2]), b=iter([10, 20]), c=[100, 200])
        assert run(mapped, tier=tier) == [111, 222]
        with pytest.raises(ValueError, match="was spent by an earlier run"):
            run(mapped, tier=tier)

    @every_tier
    def test_what_can_be_iterated_again_is_not_spent(self, tier: Tier) -> None:
        for values in (Numbers(), AsyncNumbers(), range(1, 4), [1, 2, 3]):
            mapped = inc.map(x=values)
            assert [run(mapped, tier=tier) for _ in range(2)] == [[2, 3, 4]] * 2

    @every_tier
    def test_one_that_a_task_gives_is_new_in_each_run(self, tier: Tier) -> None:
        mapped = inc.map(x=cs.task(mode="inline")(lambda: iter([1, 2]))())
        assert [run(mapped, tier=tier) for _ in range(2)] == [[2, 3]] * 2

    @every_tier
    def test_one_is_not_touched_by_a_run_that_skips_the_map(self, tier: Tier) -> None:
        mapped = inc.map(x=iter([1, 2])).run_if(cs.Param("on", type=bool), otherwise=[])
        assert run(mapped, {"on": False}, tier=tier) == []
        assert run(mapped, {"on": True}, tier=tier) == [2, 3]


class TestPartial:
    @every_tier
    def test_keeps_values_the_same_for_all_calls(self, tier: Tier) -> None:
        assert run(add.partial(b=10).map(a=[1, 2]), tier=tier) == [11, 12]
        assert run(add.partial(b=10).partial(c=100).map(a=[1, 2]), tier=tier) == [111, 112]
        assert run(add.partial(a=1, b=2, c=3).partial(b=4).map(c=[10]), tier=tier) == [15]

    @every_tier
    def test_takes_what_an_argument_may_be(self, tier: Tier) -> None:
        values = [inc(0), [inc(1), 5], "text", cs.Value([1]), None]
        results = [run(cs.task(lambda x, y: (x, y)).partial(y=value).map(x=[1]), tier=tier) for value in values]
        assert results == [[(1, 1)], [(1, [2, 5])], [(1, "text")], [(1, [1])], [(1, None)]]

    @every_tier
    def test_a_lazy_value_runs_once(self, tier: Tier) -> None:
        calls = []

        @cs.task
        def load() -> int:
            calls.append(1)
            return 10

        assert run(add.partial(b=load()).map(a=range(100)), tier=tier) == list(range(10, 110))
        assert calls == [1]

    @every_tier
    def test_can_be_called_as_well(self, tier: Tier) -> None:
        assert run(add.partial(b=10)(1), tier=tier) == 11
        assert run(add.partial(b=10)(1, b=20), tier=tier) == 21

    @every_tier
    def test_a_value_is_replaced_by_what_is_mapped(self, tier: Tier) -> None:
        assert run(add.partial(a=1, b=10).map(b=[1, 2]), tier=tier) == [2, 3]


class Meter:
    """Counts how many calls run at once."""

    def __init__(self) -> None:
        self.running = self.most = 0

    async def __call__(self, x: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(random.Random(x).randint(1, 5)):
            await asyncio.sleep(0)
        self.running -= 1
        return x


class TestConcurrency:
    @every_tier
    @pytest.mark.parametrize("limit", [1, 2, 7, 100])
    def test_is_how_many_items_may_run_at_once(self, tier: Tier, limit: int) -> None:
        meter = Meter()
        assert run(cs.task(meter).map(x=range(30), concurrency=limit), tier=tier) == list(range(30))
        assert meter.most == min(limit, 30)

    @every_tier
    def test_holds_for_threads(self, tier: Tier) -> None:
        lock, together = threading.Lock(), threading.Barrier(2)
        running: list[int] = []
        most = []

        @cs.task(mode="blocking")
        def meet(x: int) -> int:
            with lock:
                running.append(x)
                most.append(len(running))
            together.wait(timeout=30)
            with lock:
                running.remove(x)
            return x

        assert run(meet.map(x=range(8), concurrency=2), tier=tier) == list(range(8))
        assert max(most) == 2

    @every_tier
    def test_without_it_all_items_may_run_at_once(self, tier: Tier) -> None:
        begun = []
        everybody = asyncio.Event()

        @cs.task
        async def meet(x: int) -> int:
            begun.append(x)
            if len(begun) == 500:
                everybody.set()
            await everybody.wait()
            return x

        assert run(meet.map(x=range(500)), tier=tier) == list(range(500))

    @every_tier
    def test_in_threads_as_many_as_the_pool(self, tier: Tier) -> None:
        together = threading.Barrier(64)
        meet = cs.task(mode="blocking")(lambda x: together.wait(timeout=30) >= 0)
        assert run(meet.map(x=range(128)), tier=tier) == [True] * 128

    @every_tier
    def test_is_for_each_map(self, tier: Tier) -> None:
        together = asyncio.Barrier(2)

        @cs.task
        async def meet(x: int) -> int:
            await together.wait()
            return x

        assert run([meet.map(x=[1, 2], concurrency=1), meet.map(x=[3, 4], concurrency=1)], tier=tier) == [
            [1, 2],
            [3, 4],
        ]

    @pytest.mark.parametrize("limit", [0, -1, 1.5, "2"])
    def test_is_one_or_more(self, limit: Any) -> None:
        with pytest.raises(ValueError, match="concurrency is 1 or more"):
            inc.map(x=[1], concurrency=limit)

    @every_tier
    def test_raise_is_the_error_policy_unless_told_otherwise(self, tier: Tier) -> None:
        for mapped in (inc.map(x=[1, "x"]), inc.map(x=[1, "x"], on_error="raise")):
            with pytest.raises(TypeError):
                run(mapped, tier=tier)


class TestGates:
    @every_tier
    def test_run_if_is_for_the_whole_map(self, tier: Tier) -> None:
        spy = SpySubscriber(bus := MessageBus())
        assert run(inc.map(x=[1, 2]).run_if(False, otherwise="off"), tier=tier, bus=bus) == "off"
        assert run(inc.map(x=[1, 2]).run_if(same(1)), tier=tier) == [2, 3]
        assert spy.events_of_type(TaskExecutionStarted) == []
        assert spy.events_of_type(TaskSkipped) == []

    @every_tier
    def test_after_is_for_the_whole_map(self, tier: Tier) -> None:
        lines: list[Any] = []

        @cs.task
        async def note(x: Any) -> None:
            await asyncio.sleep(0)
            lines.append(x)

        first = note.map(x=[1, 2, 3])
        second = note.map(x=["a", "b"]).after(first)
        run(note("end").after(second), tier=tier)
        assert set(lines[:3]) == {1, 2, 3}
        assert set(lines[3:5]) == {"a", "b"}
        assert lines[5:] == ["end"]

    @every_tier
    def test_a_name_is_for_the_whole_map(self, tier: Tier) -> None:
        spy = SpySubscriber(bus := MessageBus())
        run(inc.map(x=[1, 2]).named("both"), tier=tier, bus=bus)
        assert {(event.task_id, event.task_name) for event in spy.events_of_type(TaskExecutionStarted)} == {
            ("both#1[0]", "inc"),
            ("both#1[1]", "inc"),
        }

    @every_tier
    def test_a_skipped_input_skips_the_map_or_passes_through(self, tier: Tier) -> None:
        off = same([1, 2]).run_if(False)
        with pytest.raises(cs.DependencyMissingError):
            run(inc.map(x=off), tier=tier)
        assert run(inc.map(x=same([1, 2]).run_if(False, otherwise=[5])), tier=tier) == [6]

    @every_tier
    def test_the_last_of_a_sequence_may_be_a_map(self, tier: Tier) -> None:
        assert run(cs.sequence([inc(1), inc.map(x=[1]).run_if(False)]), tier=tier) is None


class TestPolicies:
    @every_tier
    @every_mode
    def test_retry_is_for_each_item(self, tier: Tier, mode: Any) -> None:
        calls: collections.Counter[int] = collections.Counter()

        def shaky(x: int, y: int = 0) -> int:
            calls[x] += 1
            if calls[x] < x:
                raise ConnectionError
            return x

        mapped = task_of(shaky, mode).map(x=[1, 2, 3]).with_retry(3)
        assert run(mapped, tier=tier) == [1, 2, 3]
        assert calls == {1: 1, 2: 2, 3: 3}

    @every_tier
    @pytest.mark.parametrize("concurrency", [None, 1, 3])
    def test_a_constraint_that_fits_one_item_at_a_time_finishes(self, tier: Tier, concurrency: int | None) -> None:
        meter = Meter()
        mapped = cs.task(meter).map(x=range(20), concurrency=concurrency).with_constraints(gpu=2)
        assert run(mapped, tier=tier, system_resources={"gpu": 3}) == list(range(20))
        assert meter.most == 1

    @every_tier
    @every_mode
    def test_so_does_one_in_any_mode_and_with_retries(self, tier: Tier, mode: Any) -> None:
        failed: set[int] = set()

        def shaky(x: int, y: int = 0) -> int:
            if x not in failed:
                failed.add(x)
                raise ConnectionError
            return x

        mapped = task_of(shaky, mode).map(x=range(10)).with_constraints(gpu=1).with_retry(2)
        assert run([mapped, inc.map(x=mapped).with_constraints(gpu=1)], tier=tier, system_resources={"gpu": 1}) == [
            list(range(10)),
            list(range(1, 11)),
        ]

    @every_tier
    def test_constraints_are_for_each_item(self, tier: Tier) -> None:
        meter = Meter()
        mapped = cs.task(meter).map(x=range(30)).with_constraints(gpu=1)
        assert run(mapped, tier=tier, system_resources={"gpu": 4}) == list(range(30))
        assert meter.most == 4


class TestFailures:
    @every_tier
    @every_mode
    @pytest.mark.parametrize("at", [0, 1, 70, 299])
    def test_name_the_item(self, tier: Tier, mode: Any, at: int) -> None:
        def fails(x: int, y: int = 0) -> int:
            if x == at:
                raise ValueError(f"item {x}")
            return x

        with pytest.raises(ValueError, match=f"item {at}") as caught:
            run(task_of(fails, mode).map(x=range(300)), tier=tier)
        (note,) = [note for note in caught.value.__notes__ if note.startswith("in task ")]
        assert f"#1[{at}] (declared at {__file__}:" in note

    @every_tier
    def test_end_the_other_items(self, tier: Tier) -> None:
        begun, ended = [], []
        everybody = asyncio.Event()

        @cs.task
        async def item(x: int) -> None:
            begun.append(x)
            if len(begun) == 10:
                everybody.set()
            try:
                await everybody.wait()
                if x != 3:
                    await asyncio.Event().wait()
            finally:
                ended.append(x)
            raise ValueError("third")

        with pytest.raises(ValueError, match="third"):
            run(item.map(x=range(10)), tier=tier)
        assert sorted(ended) == list(range(10))

    @every_tier
    def test_with_a_concurrency_start_no_further_items(self, tier: Tier) -> None:
        begun = []

        @cs.task
        async def item(x: int) -> None:
            begun.append(x)
            await asyncio.sleep(0)
            raise ValueError("first")

        with pytest.raises(ValueError, match="first"):
            run(item.map(x=range(100), concurrency=1), tier=tier)
        assert begun == [0]


@every_tier
def test_one_mapped_result_in_many_runs_at_once(tier: Tier) -> None:
    mapped = cs.task(Meter()).map(x=cs.Param("values", type=list))

    async def main() -> Any:
        async with Engine(tier=tier) as engine:
            return await asyncio.gather(*(engine.run(mapped, {"values": list(range(n))}) for n in range(5)))

    assert in_loop(main) == [list(range(n)) for n in range(5)]
