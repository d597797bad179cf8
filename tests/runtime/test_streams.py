"""Maps over streams, chained maps, and the results of a map one by one."""

import asyncio
import contextlib
import gc
import itertools
import random
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.event_loop.ticker import Ticker
from cascade.runtime.events import RunFinished, RunStarted, TaskExecutionStarted
from cascade.runtime.interpreter import interpreter
from cascade.testing import SpySubscriber
from tests.workflows import (
    Body,
    Tier,
    Way,
    awaited,
    blocking,
    every_body,
    every_tier,
    every_way,
    in_loop,
    inline,
    run,
    turns,
)


class Tap:
    """Gives numbers, and knows how many are read and not done."""

    def __init__(self, count: int, fails: bool = False) -> None:
        self.count = count
        self.fails = fails
        self.read = self.done = self.most = 0
        self.closed = False

    def note(self) -> None:
        self.read += 1
        self.most = max(self.most, self.read - self.done)

    def numbers(self) -> Iterator[int]:
        try:
            for n in range(self.count):
                self.note()
                yield n
            if self.fails:
                raise ConnectionError("lost")
        finally:
            self.closed = True

    async def async_numbers(self) -> AsyncIterator[int]:
        try:
            for n in range(self.count):
                await asyncio.sleep(0)
                self.note()
                yield n
            if self.fails:
                raise ConnectionError("lost")
        finally:
            await asyncio.sleep(0)
            self.closed = True

    def finish(self, n: int) -> int:
        self.done += 1
        return n * 10


KINDS = ["numbers", "async_numbers"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def stream(tap: Tap, kind: str) -> Any:
    return getattr(tap, kind)()


class TestWindows:
    @every_tier
    @every_kind
    @every_body
    @pytest.mark.parametrize(
        ("options", "most"),
        [
            ({}, 1000),
            ({"window": 1}, 1),
            ({"window": 7}, 7),
            ({"concurrency": 3}, 6),
            ({"concurrency": 3, "window": 2}, 2),
        ],
    )
    def test_no_more_items_than_the_window_are_read_ahead(
        self, tier: Tier, kind: str, body: Any, options: dict[str, Any], most: int
    ) -> None:
        tap = Tap(2500 if not options else 100)
        mapped = body(tap.finish).map(n=stream(tap, kind), **options)
        assert run(mapped, tier=tier) == [10 * n for n in range(tap.count)]
        assert tap.read == tap.done == tap.count
        assert tap.most <= most
        assert tap.closed

    @every_tier
    @every_kind
    def test_all_of_a_window_may_run_at_once(self, tier: Tier, kind: str) -> None:
        begun: list[int] = []
        everybody = asyncio.Event()

        @cs.task
        async def meet(n: int) -> int:
            begun.append(n)
            if len(begun) == 5:
                everybody.set()
            await everybody.wait()
            return n

        tap = Tap(20)
        assert run(meet.map(n=stream(tap, kind), window=5), tier=tier) == list(range(20))

    @every_tier
    @every_kind
    def test_an_item_starts_when_it_is_read(self, tier: Tier, kind: str) -> None:
        """The second item is made of the result of the first."""
        results: asyncio.Queue[int] = asyncio.Queue()

        async def numbers() -> AsyncIterator[int]:
            value = 1
            while value < 100:
                yield value
                value = await results.get()

        @cs.task
        async def double(n: int) -> int:
            await asyncio.sleep(0)
            results.put_nowait(2 * n)
            return 2 * n

        assert run(double.map(n=numbers()), tier=tier) == [2, 4, 8, 16, 32, 64, 128]

    @every_tier
    def test_a_window_holds_for_a_list_if_it_is_given(self, tier: Tier) -> None:
        running, most = 0, 0
        full = asyncio.Event()

        @cs.task
        async def count(n: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running == 4:
                full.set()
            await full.wait()
            await asyncio.sleep(0)
            running -= 1
            return n

        assert run(count.map(n=range(50), window=4), tier=tier) == list(range(50))
        assert most == 4

    @every_tier
    def test_streams_are_read_side_by_side(self, tier: Tier) -> None:
        one, two = Tap(30), Tap(30)
        add = inline(lambda a, b, c: (a, b, c))
        mapped = add.map(a=one.numbers(), b=two.async_numbers(), c=range(30))
        assert run(mapped, tier=tier) == [(n, n, n) for n in range(30)]

    @every_tier
    @pytest.mark.parametrize("other", [lambda: range(20), lambda: Tap(20).numbers(), lambda: Tap(20).async_numbers()])
    @every_kind
    def test_one_that_ends_early_is_a_value_error(self, tier: Tier, kind: str, other: Callable[[], Any]) -> None:
        tap = Tap(30)
        with pytest.raises(ValueError, match=r"the inputs differ in length: a has 21 or more, b has 20; give"):
            run(inline(lambda a, b: None).map(a=stream(tap, kind), b=other()), tier=tier)
        assert tap.closed

    @every_tier
    def test_an_endless_stream_with_other_work_beside_it(self, tier: Tier) -> None:
        """Neither keeps the other from its turns; the run is cancelled when enough was done."""

        async def main() -> None:
            done = asyncio.Event()

            def count(n: int) -> None:
                if n == 100_000:
                    done.set()

            async with Engine(tier=tier) as engine:
                run = engine.start(inline(count).map(n=itertools.count()))
                await done.wait()
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run

        in_loop(main)


class TestEndings:
    @every_tier
    @every_kind
    @every_body
    def test_a_stream_that_raises_fails_the_map(self, tier: Tier, kind: str, body: Any) -> None:
        tap = Tap(10, fails=True)
        with pytest.raises(ConnectionError, match="lost") as caught:
            run(body(tap.finish).map(n=stream(tap, kind)), tier=tier)
        assert caught.value.__notes__[0].startswith("in task finish#1 (declared at ")
        assert tap.closed

    @every_tier
    @every_kind
    @every_body
    def test_a_stream_is_closed_when_an_item_fails(self, tier: Tier, kind: str, body: Any) -> None:
        tap = Tap(10_000)

        def fails(n: int) -> int:
            if n == 5:
                raise ValueError("fifth")
            return tap.finish(n)

        with pytest.raises(ValueError, match="fifth"):
            run(body(fails).map(n=stream(tap, kind), window=10), tier=tier)
        assert tap.closed
        assert tap.read < 20

    @every_tier
    @every_kind
    def test_a_stream_is_closed_when_the_run_is_cancelled(self, tier: Tier, kind: str) -> None:
        tap, begun, ended = Tap(10_000), [], []

        async def main() -> None:
            @cs.task
            async def wait(n: int) -> None:
                begun.append(n)
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append(n)

            async with Engine(tier=tier) as engine:
                run = engine.start(wait.map(n=stream(tap, kind), window=10))
                while len(begun) < 10:
                    await asyncio.sleep(0)
                await turns(50)  # no more than a window begins
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run
                assert tap.closed
                assert sorted(ended) == list(range(10))

        in_loop(main)

    @every_tier
    def test_a_stream_that_waits_is_closed_when_the_run_is_cancelled(self, tier: Tier) -> None:
        closed = []

        async def never() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                closed.append(True)

        async def main() -> None:
            begun = asyncio.Event()
            async with Engine(tier=tier) as engine:
                run = engine.start(inline(lambda n: begun.set()).map(n=never()))
                await begun.wait()
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run
                assert closed == [True]

        in_loop(main)

    @every_tier
    def test_a_stream_that_fails_when_closed_is_noted(self, tier: Tier) -> None:
        def numbers() -> Iterator[int]:
            try:
                yield 1
                yield 2
            finally:
                raise OSError("stuck")

        with pytest.raises(ZeroDivisionError) as caught:
            run(awaited(lambda n: 1 // 0).map(n=numbers(), window=1), tier=tier)
        assert "besides, an input of a map failed when it was closed: OSError: stuck" in caught.value.__notes__

    @every_tier
    def test_a_stream_is_spent(self, tier: Tier) -> None:
        mapped = inline(lambda n: n).map(n=Tap(3).async_numbers())
        assert run(mapped, tier=tier) == [0, 1, 2]
        with pytest.raises(ValueError, match="was spent by an earlier run"):
            run(mapped, tier=tier)


class TestWindowsOfChains:
    """A stream is read no further than the windows allow, also before it is known who reads a map of it."""

    @every_tier
    @pytest.mark.parametrize(("options", "inside"), [({"window": 2}, False), ({"concurrency": 1}, True)])
    @pytest.mark.parametrize(
        "bodies",
        [[inline], [awaited], [inline, awaited], [awaited, blocking, awaited]],
        ids=lambda bodies: "-".join(body.__name__ for body in bodies),
    )
    def test_hold_where_the_pass_that_comes_to_the_readers_is_interrupted(
        self, bodies: list[Body], options: dict[str, Any], inside: bool, tier: Tier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on a busy machine: the event loop has a turn behind each map that is put aside, and a long one."""
        made, used, most = [0], [0], [0]
        monkeypatch.setattr(Ticker, "rest", lambda _: turns(1 if used[0] else 100))
        monkeypatch.setattr(interpreter, "MOST_DEFERRED", 1)

        def first(v: int) -> int:
            made[0] += 1
            most[0] = max(most[0], made[0] - used[0])
            return v

        def middle(v: int) -> int:
            return v

        @cs.task
        async def last(v: int) -> int:
            used[0] += 1
            return v

        chain: Any = bodies[0](first).map(v=iter(range(100)), **options)
        for task in [*(body(middle) for body in bodies[1:]), last]:
            chain = task.map(v=chain, **options)
        assert in_loop(lambda: closed(Engine(tier=tier), cs.subflow(chain) if inside else chain)) == [*range(100)]
        assert most[0] <= 2 * 2 * (len(bodies) + 1)

    @every_tier
    @pytest.mark.parametrize("body", [inline, awaited], ids=lambda body: body.__name__)
    @pytest.mark.parametrize("beside", [list, iter], ids=["a list", "a stream"])
    def test_hold_where_another_map_flows_in_that_has_nothing_to_give_yet(
        self, body: Body, beside: Any, tier: Tier
    ) -> None:
        made, most = [0], [0]

        @body
        def make(v: int) -> int:
            made[0] += 1
            return v

        @cs.task
        async def waits(v: int) -> int:
            await turns(0 if most[0] else 100)
            most[0] = most[0] or made[0]
            return v

        other = waits.map(v=beside(range(100)))
        both = inline(lambda v, w: v + w).map(v=make.map(v=iter(range(100)), window=2), w=other, window=2)
        assert in_loop(lambda: closed(Engine(tier=tier), both)) == [2 * n for n in range(100)]
        assert most[0] <= 2 * 2 * 2


async def closed(engine: Engine, target: Any) -> Any:
    async with engine:
        return await engine.run(target)


class TestWhenTheyBegin:
    """A map that others flow into begins when all else that it needs is there, whatever comes last."""

    @every_tier
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("pause", [0, 1, 20], ids=lambda pause: f"{pause}_turns")
    @pytest.mark.parametrize(
        "beside",
        [
            *("nothing", "an argument", "a list", "a map", "a late map", "a late stream", "a condition", "an order"),
            *("a whole map", "a late whole map", "all at once"),
        ],
    )
    def test_even_where_an_item_waits_for_what_it_does(
        self, beside: str, pause: int, reverse: bool, tier: Tier
    ) -> None:
        last = asyncio.Event()

        @cs.task
        async def slow(value: Any) -> Any:
            for _ in range(pause):
                await asyncio.sleep(0)
            return value

        @cs.task
        async def first(x: int) -> int:
            if x == 1:
                await last.wait()
            return x

        @cs.task
        async def second(x: int, y: int = 0, k: Any = None) -> int:
            if x == 3:
                last.set()
            return x

        flows = first.map(x=slow([1, 2, 3]) if beside == "a late stream" else [1, 2, 3])
        lists = {
            "a list": slow([1, 2, 3]),
            "a map": slow.map(value=[1, 2, 3]),
            "a late map": slow.map(value=slow([1, 2, 3])),
            "a late stream": slow.map(value=[1, 2, 3]),
            "all at once": slow.map(value=slow([1, 2, 3])),
        }
        fixed = {
            "an argument": slow(5),
            "a whole map": slow.map(value=[5]),
            "a late whole map": slow.map(value=slow([5])),
            "all at once": slow(5),
        }
        columns = {"x": flows, **({"y": lists[beside]} if beside in lists else {})}
        task = second.partial(k=fixed[beside]) if beside in fixed else second
        target = task.map(dict(sorted(columns.items(), reverse=reverse)))
        if beside in ("a condition", "all at once"):
            target = target.run_if(slow(True))
        if beside in ("an order", "all at once"):
            target = target.after(slow(None), slow.map(value=[1]))
        assert in_loop(lambda: asyncio.wait_for(closed(Engine(tier=tier), target), 20)) == [1, 2, 3]

    @every_tier
    def test_where_one_that_is_read_beside_ends_at_once(self, tier: Tier) -> None:
        """The map has waited for the other one, which has nothing new to offer; with ticks at any moment."""

        @cs.task
        async def later(value: Any) -> Any:
            return value

        async def main(draw: random.Random) -> Any:
            last = asyncio.Event()

            @cs.task
            async def first(x: int) -> int:
                if x == 1:
                    await last.wait()
                return x

            @cs.task
            async def second(x: int, y: int, k: int) -> int:
                if x == 3:
                    last.set()
                return x

            columns = {"y": later.map(value=later([1, 2, 3])), "x": first.map(x=[1, 2, 3])}
            target = second.partial(k=later(5)).map(columns).run_if(later(True))
            target = target.after(later(None), later.map(value=[1]))

            async def disturb(engine: Engine) -> None:
                while True:
                    if draw.random() < 0.5:
                        engine.ticker.tick()
                    await asyncio.sleep(0)

            async with Engine(tier=tier) as engine:
                disturbing = asyncio.create_task(disturb(engine))
                try:
                    return await engine.run(target)
                finally:
                    disturbing.cancel()

        for seed in range(12):
            assert asyncio.run(asyncio.wait_for(main(random.Random(seed)), 20)) == [1, 2, 3]


class TestChains:
    @every_tier
    @pytest.mark.parametrize("first", [inline, blocking, awaited, cs.task], ids=lambda body: body.__name__)
    @pytest.mark.parametrize("second", [inline, blocking, awaited, cs.task], ids=lambda body: body.__name__)
    @pytest.mark.parametrize("options", [{}, {"concurrency": 2}, {"window": 3}], ids=str)
    @pytest.mark.parametrize("make", [list, iter], ids=["list", "stream"])
    def test_give_what_they_give_one_after_the_other(
        self, tier: Tier, first: Any, second: Any, options: dict[str, Any], make: Any
    ) -> None:
        double = first(lambda x: 2 * x).map(x=make(range(200)), **options)
        assert run(second(lambda y: y + 1).map(y=double, **options), tier=tier) == [2 * n + 1 for n in range(200)]

    @every_tier
    def test_items_flow_without_waiting_for_the_whole_map_before(self, tier: Tier) -> None:
        """Item 0 of the first map waits for item 9 of the third."""
        last = asyncio.Event()

        @cs.task
        async def first(x: int) -> int:
            if x == 0:
                await last.wait()
            return x

        @cs.task
        async def third(x: int) -> int:
            if x == 9:
                last.set()
            return x

        second = inline(lambda x: x).map(x=first.map(x=range(10)))
        assert run(third.map(x=second), tier=tier) == list(range(10))

    @every_tier
    @pytest.mark.parametrize("beside", [lambda: [10, 20, 30], lambda: inline(lambda x: x * 10).map(x=[1, 2, 3])])
    def test_beside_a_list_they_flow_too(self, tier: Tier, beside: Callable[[], Any]) -> None:
        last = asyncio.Event()

        @cs.task
        async def first(x: int) -> int:
            if x == 1:
                await last.wait()
            return x

        @cs.task
        async def second(x: int, y: int, k: int) -> tuple[int, int, int]:
            if x == 3:
                last.set()
            return x, y, k

        mapped = second.partial(k=inline(lambda: 5)()).map(x=first.map(x=[1, 2, 3]), y=beside())
        assert run(mapped, tier=tier) == [(1, 10, 5), (2, 20, 5), (3, 30, 5)]

    @every_tier
    def test_two_maps_flow_into_one(self, tier: Tier) -> None:
        last = asyncio.Event()

        @cs.task
        async def slow(x: int, wait_for: int) -> int:
            if x == wait_for:
                await last.wait()
            await asyncio.sleep(0)
            return x

        @cs.task
        async def pair(a: int, b: int) -> tuple[int, int]:
            if a == 5:
                last.set()
            return a, b

        a = slow.partial(wait_for=0).map(x=range(6))
        b = slow.partial(wait_for=3).map(x=range(6))
        assert run(pair.map(a=a, b=b), tier=tier) == [(n, n) for n in range(6)]

    @every_tier
    @pytest.mark.parametrize("kind", KINDS)
    def test_two_streams_flow_into_one_item_by_item(self, kind: str, tier: Tier) -> None:
        """Neither is read further ahead than its window, whichever of them is slow."""
        taps = Tap(300), Tap(300)

        @cs.task
        async def step(x: int, slow: int) -> int:
            for _ in range(x % slow):
                await asyncio.sleep(0)
            return x

        @cs.task
        async def pair(a: int, b: int) -> int:
            await asyncio.sleep(0)
            assert a == b
            for tap in taps:
                tap.done += 1
            return a

        a = step.partial(slow=7).map(x=getattr(taps[0], kind)(), window=10)
        b = step.partial(slow=2).map(x=getattr(taps[1], kind)(), window=20)
        assert run(pair.map(a=a, b=b), tier=tier) == [*range(300)]
        window = 20  # of the map that they flow into, which has read both halves
        assert taps[0].most <= 10 + 2 * window
        assert taps[1].most <= 20 + 2 * window

    @every_tier
    def test_two_chains_of_streams_flow_into_one(self, tier: Tier) -> None:
        last = asyncio.Event()
        began: list[int] = []

        @cs.task
        async def first(x: int, late: int) -> int:
            if x % 10 == late:
                for _ in range(30):
                    await asyncio.sleep(0)
            return x

        @cs.task
        async def second(x: int, held: bool) -> int:
            if held and x == 99:
                await last.wait()
            return x

        @cs.task
        async def pair(a: int, b: int) -> tuple[int, int]:
            began.append(a)
            if len(began) == 50:
                last.set()  # so that the last of one chain waits for half of the pairs
            return a, b

        def chain(late: int, held: bool) -> Any:
            return second.partial(held=held).map(x=first.partial(late=late).map(x=iter(range(100)), window=10))

        assert run(pair.map(a=chain(0, False), b=chain(5, True)), tier=tier) == [(n, n) for n in range(100)]

    @every_tier
    def test_two_streams_of_other_lengths(self, tier: Tier) -> None:
        step = awaited(lambda x: x)
        for counts in [(30, 31), (31, 30), (0, 5), (100, 3)]:
            one, two = (step.map(x=iter(range(count)), window=4) for count in counts)
            with pytest.raises(ValueError, match=r"a has .*, b has"):
                run(cs.task(lambda a, b: a).map(a=one, b=two), tier=tier)

    @every_tier
    def test_one_map_flows_into_two_and_keeps_its_list_for_others(self, tier: Tier) -> None:
        first = awaited(lambda x: 2 * x).map(x=range(20))
        one, two = (awaited(lambda x: x + 1).map(x=first) for _ in range(2))
        assert run([one, two, first], tier=tier) == [
            [2 * n + 1 for n in range(20)],
            [2 * n + 1 for n in range(20)],
            [2 * n for n in range(20)],
        ]

    @every_tier
    def test_of_different_lengths_are_a_value_error(self, tier: Tier) -> None:
        add = inline(lambda a, b: a + b)
        with pytest.raises(ValueError, match=r"the inputs differ in length: a has .*, b has 5"):
            run(add.map(a=awaited(lambda x: x).map(x=range(3)), b=range(5)), tier=tier)
        with pytest.raises(ValueError, match=r"the inputs differ in length: a has .*, b has 2"):
            run(add.map(a=awaited(lambda x: x).map(x=range(3)), b=range(2)), tier=tier)
        first, second = awaited(lambda x: x), awaited(lambda x: x)
        with pytest.raises(ValueError, match=r"the inputs differ in length: a has 3, b has 4"):
            run(add.map(a=first.map(x=range(3)), b=second.map(x=range(4))), tier=tier)

    @every_tier
    @pytest.mark.parametrize("on_error", ["collect", "skip"])
    def test_what_fails_is_collected_or_skipped_on_the_way(self, tier: Tier, on_error: Any) -> None:
        @cs.task
        async def odd(x: int) -> int:
            for _ in range(10 - x):  # the last come first
                await asyncio.sleep(0)
            if x % 2 == 0:
                raise ValueError
            return x

        @cs.task
        async def show(x: Any) -> Any:
            await asyncio.sleep(0)
            return x.index if isinstance(x, cs.Failed) else f"value {x}"

        spy = SpySubscriber(bus := MessageBus())
        shown = run(show.map(x=odd.map(x=range(6), on_error=on_error)), tier=tier, bus=bus)
        begun = [e.task_id for e in spy.events_of_type(TaskExecutionStarted) if e.task_name == "show"]
        if on_error == "collect":
            assert shown == [0, "value 1", 2, "value 3", 4, "value 5"]
            assert sorted(begun) == [f"show#1[{n}]" for n in range(6)]
        else:
            assert shown == ["value 1", "value 3", "value 5"]
            assert sorted(begun) == [f"show#1[{n}]" for n in range(3)]

    @every_tier
    def test_a_failure_in_the_second_ends_the_first(self, tier: Tier) -> None:
        ended: list[int] = []

        @cs.task
        async def first(x: int) -> int:
            try:
                if x:
                    await asyncio.Event().wait()
            finally:
                ended.append(x)
            return x

        def fails(x: int) -> None:
            raise ValueError("second")

        tap = Tap(100)
        with pytest.raises(ValueError, match="second"):
            run(inline(fails).map(x=first.map(x=tap.numbers(), window=10)), tier=tier)
        assert sorted(ended) == list(range(10))
        assert tap.closed

    @every_tier
    def test_a_failure_in_the_first_ends_the_second(self, tier: Tier) -> None:
        ended: list[int] = []
        begun = asyncio.Event()

        @cs.task
        async def first(x: int) -> int:
            if x:
                await begun.wait()
                raise ValueError("first")
            return x

        @cs.task
        async def second(x: int) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(x)

        with pytest.raises(ValueError, match="first"):
            run(second.map(x=first.map(x=[0, 1])), tier=tier)
        assert ended == [0]

    @every_tier
    @pytest.mark.parametrize("on", [True, False])
    def test_a_condition_gates_the_second_map(self, tier: Tier, on: bool) -> None:
        seen: list[int] = []
        mapped = awaited(lambda item: seen.append(item)).map(item=awaited(lambda x: x).map(x=range(5)))
        untyped: Any = mapped
        untyped.run_if(awaited(lambda: on)(), otherwise="off")
        assert run(mapped, tier=tier) == ([None] * 5 if on else "off")
        assert sorted(seen) == (list(range(5)) if on else [])

    @every_tier
    def test_after_is_waited_for(self, tier: Tier) -> None:
        lines: list[Any] = []
        first = awaited(lambda x: x).map(x=range(5))
        before = awaited(lambda: lines.extend(["before"]))()
        run(awaited(lambda x: lines.extend([x])).map(x=first).after(before), tier=tier)
        assert lines[0] == "before"
        assert sorted(lines[1:]) == list(range(5))

    @every_tier
    def test_with_loops_and_constraints(self, tier: Tier) -> None:
        @cs.task
        async def down(n: int) -> Any:
            await asyncio.sleep(0)
            return cs.Jump("again", n - 1) if n % 10 else cs.Jump("out", n)

        looped = down.map(n=range(1, 60)).with_constraints(gpu=1)
        cs.bind(looped, cs.select_jump({"again": looped, "out": None}))
        after = awaited(lambda x: x + 1).map(x=looped).with_constraints(gpu=1)
        assert run(after, tier=tier, system_resources={"gpu": 1}) == [n // 10 * 10 + 1 for n in range(1, 60)]

    @every_tier
    def test_a_loop_runs_a_chain_again_each_time(self, tier: Tier) -> None:
        @cs.task
        async def step(n: int, values: list[int]) -> Any:
            return cs.Jump("again", n - 1) if n else cs.Jump("out", values)

        state = step(5, awaited(lambda x: x + 1).map(x=awaited(lambda x: 2 * x).map(x=range(4))))
        cs.bind(state, cs.select_jump({"again": state, "out": None}))
        assert run(state, tier=tier) == [1, 3, 5, 7]

    @every_tier
    def test_the_windows_of_a_chain_hold_a_stream_back(self, tier: Tier) -> None:
        tap = Tap(300)
        chain = awaited(lambda n: n).map(n=tap.numbers(), window=5)
        for _ in range(3):
            chain = awaited(lambda n: n).map(n=chain, window=5)
        assert run(awaited(tap.finish).map(n=chain, window=5), tier=tier) == [10 * n for n in range(300)]
        assert tap.most <= 25


async def collected(engine: Engine, mapped: Any, **options: Any) -> list[Any]:
    return [value async for value in engine.as_completed(mapped, **options)]


def complete(mapped: Any, tier: Tier, **options: Any) -> list[Any]:
    async def main() -> Any:
        async with Engine(tier=tier, **options) as engine:
            return await collected(engine, mapped)

    return list(in_loop(main))


class Live:
    """An object that counts how many of its kind there are."""

    alive: ClassVar["weakref.WeakSet[Live]"] = weakref.WeakSet()
    most = 0

    def __init__(self, n: int) -> None:
        self.n = n
        self.alive.add(self)
        Live.most = max(Live.most, len(self.alive))


class TestAsCompleted:
    @every_tier
    @every_body
    @pytest.mark.parametrize("make", [list, iter], ids=["list", "stream"])
    def test_yields_each_result_once(self, tier: Tier, body: Any, make: Any) -> None:
        for options in ({}, {"window": 3}, {"concurrency": 2}):
            results = complete(body(lambda x: 2 * x).map(x=make(range(300)), **options), tier)
            assert sorted(results) == [2 * n for n in range(300)]

    @every_tier
    def test_in_the_order_in_which_they_come(self, tier: Tier) -> None:
        ends = [asyncio.Event() for _ in range(4)]

        @cs.task
        async def wait(n: int) -> int:
            await ends[n].wait()
            return n

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                results = engine.as_completed(wait.map(n=range(4)))
                for n in (2, 0, 3, 1):
                    ends[n].set()
                    assert await anext(results) == n
                with pytest.raises(StopAsyncIteration):
                    await anext(results)

        in_loop(main)

    @every_tier
    @every_kind
    @every_body
    def test_the_reader_holds_the_stream_back(self, tier: Tier, kind: str, body: Any) -> None:
        tap = Tap(200)

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                async for value in engine.as_completed(body(lambda n: n).map(n=stream(tap, kind), window=10)):
                    await turns(3)
                    tap.finish(value)

        in_loop(main)
        assert tap.done == 200
        assert tap.most <= 11  # that which the reader has in hand is not taken back

    @every_tier
    @pytest.mark.parametrize("chained", [False, True])
    @pytest.mark.parametrize("body", [inline, awaited], ids=lambda body: body.__name__)
    def test_keeps_nothing(self, tier: Tier, body: Any, chained: bool) -> None:
        Live.most = 0
        mapped = body(Live).map(n=(n for n in range(3000)), window=20)
        if chained:
            mapped = body(lambda live: live).map(live=mapped, window=20)

        async def main() -> int:
            total = 0
            async with Engine(tier=tier) as engine:
                async for live in engine.as_completed(mapped):
                    total += live.n
            return total

        assert in_loop(main) == sum(range(3000))
        gc.collect()
        assert Live.most <= 90
        assert len(Live.alive) == 0

    @every_tier
    def test_a_long_list_is_held_back_as_well(self, tier: Tier) -> None:
        Live.most = 0

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                async for _ in engine.as_completed(inline(Live).map(n=range(20_000))):
                    pass

        in_loop(main)
        assert Live.most <= 2100

    @every_tier
    @every_kind
    def test_closing_ends_the_run(self, tier: Tier, kind: str) -> None:
        tap = Tap(1000)
        ended: list[Any] = []
        spy = SpySubscriber(bus := MessageBus())

        @cs.resource
        def database() -> Iterator[str]:
            try:
                yield "db"
            finally:
                ended.append("db")

        @cs.task
        async def query(n: int, db: Any = cs.inject(database)) -> int:
            await asyncio.sleep(0)
            if n > 3:
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append(n)
            return n

        async def main() -> None:
            async with Engine(tier=tier, bus=bus) as engine:
                async with contextlib.aclosing(
                    engine.as_completed(query.map(n=stream(tap, kind), window=8))
                ) as results:
                    assert await anext(results) in range(4)
                assert tap.closed
                assert ended[-1] == "db"
                assert ended.count("db") == 1

        in_loop(main)
        assert [event.status for event in spy.events_of_type(RunFinished)] == ["Cancelled"]

    @every_tier
    def test_a_reader_that_breaks_off_ends_the_run(self, tier: Tier) -> None:
        tap = Tap(100)
        spy = SpySubscriber(bus := MessageBus())

        async def main() -> None:
            async with Engine(tier=tier, bus=bus) as engine:
                async for _ in engine.as_completed(awaited(lambda n: n).map(n=tap.numbers(), window=2)):
                    break
                while not spy.events_of_type(RunFinished):
                    await asyncio.sleep(0)

        in_loop(main)
        assert tap.closed

    @every_tier
    def test_closing_the_engine_ends_what_its_reader_left_open(self, tier: Tier) -> None:
        tap = Tap(100)

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                results = engine.as_completed(awaited(lambda n: n).map(n=tap.numbers(), window=2))
                await anext(results)
            assert tap.closed
            await results.aclose()

        in_loop(main)

    @every_tier
    def test_closing_the_engine_waits_for_another_reader(self, tier: Tier) -> None:
        async def main() -> None:
            engine = Engine(tier=tier)
            reader = asyncio.create_task(collected(engine, awaited(lambda n: n).map(n=range(100), window=2)))
            await turns(5)
            await engine.aclose()
            assert sorted(await reader) == list(range(100))

        in_loop(main)

    @every_tier
    def test_a_reader_that_is_cancelled_ends_the_run(self, tier: Tier) -> None:
        ended = []

        @cs.task
        async def wait(n: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(n)

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                reader = asyncio.create_task(collected(engine, wait.map(n=range(5))))
                await turns(20)
                reader.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reader
                assert sorted(ended) == list(range(5))

        in_loop(main)

    @every_way
    def test_a_failure_comes_out_after_the_results_before_it(self, way: Way) -> None:
        def fails(n: int) -> int:
            if n == 5:
                raise ValueError("fifth")
            return n

        async def main() -> list[int]:
            found = []
            async with way.engine() as engine:
                results = engine.as_completed(inline(fails).map(n=range(10)))
                for _ in range(5):
                    found.append(await anext(results))
                with pytest.raises(ValueError, match="fifth") as caught:
                    await anext(results)
                assert "#1[5]" in caught.value.__notes__[0]
            return found

        assert in_loop(main) == [0, 1, 2, 3, 4]

    @every_tier
    def test_events_are_those_of_a_run(self, tier: Tier) -> None:
        spy = SpySubscriber(bus := MessageBus())

        async def main() -> None:
            async with Engine(tier=tier, bus=bus) as engine:
                assert await collected(engine, inline(lambda n: n).map(n=[1, 2]), run_id="mine") == [1, 2]

        in_loop(main)
        assert isinstance(spy.events[0], RunStarted)
        assert isinstance(spy.events[-1], RunFinished)
        assert spy.events[-1].status == "Succeeded"
        assert {event.run_id for event in spy.events} == {"mine"}

    @every_tier
    def test_takes_parameters_and_error_policies(self, tier: Tier) -> None:
        async def main() -> None:
            mapped = inline(lambda n: 10 // n).map(n=cs.Param("values", type=list), on_error="skip")
            async with Engine(tier=tier) as engine:
                assert await collected(engine, mapped, params={"values": [1, 0, 5]}) == [10, 2]
                with pytest.raises(cs.ParameterError):
                    engine.as_completed(mapped)

        in_loop(main)

    @every_tier
    def test_items_that_loop(self, tier: Tier) -> None:
        down = inline(lambda n: cs.Jump("again", n - 1) if n % 10 else cs.Jump("out", n))
        mapped = down.map(n=range(1, 30))
        cs.bind(mapped, cs.select_jump({"again": mapped, "out": None}))
        assert sorted(complete(mapped, tier)) == sorted(n // 10 * 10 for n in range(1, 30))

    @every_tier
    def test_a_map_that_is_skipped(self, tier: Tier) -> None:
        mapped = inline(lambda n: n).map(n=[1, 2])
        assert complete(mapped.run_if(False, otherwise=[7, 8]), tier) == [7, 8]
        with pytest.raises(cs.DependencyMissingError):
            complete(inline(lambda n: n).map(n=[1, 2]).run_if(False), tier)

    @every_tier
    def test_with_a_constraint_that_fits_one_item(self, tier: Tier) -> None:
        mapped = awaited(lambda n: n).map(n=iter(range(50)), window=5).with_constraints(gpu=1)
        assert sorted(complete(mapped, tier, system_resources={"gpu": 1})) == list(range(50))

    @every_tier
    @pytest.mark.parametrize("ending", ["end", "break", "failure", "left"])
    def test_nothing_of_it_stays_with_the_engine(self, tier: Tier, ending: str) -> None:
        def work(n: int) -> int:
            if ending == "failure" and n == 3:
                raise LookupError
            return n

        async def read(engine: Engine) -> None:
            results = engine.as_completed(awaited(work).map(n=range(9), window=2))
            async with contextlib.AsyncExitStack() as stack:
                if ending != "left":
                    await stack.enter_async_context(contextlib.aclosing(results))
                async for _ in results:
                    if ending in ("break", "left"):
                        break

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                for _ in range(3):
                    with pytest.raises(LookupError) if ending == "failure" else contextlib.nullcontext():
                        await read(engine)
                    await turns()
                    assert (engine._result_sinks, engine._active) == ({}, {})

        in_loop(main)

    @every_tier
    def test_many_at_once_on_one_engine(self, tier: Tier) -> None:
        mapped = awaited(lambda n: n).map(n=range(30))

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                found = await asyncio.gather(*(collected(engine, mapped) for _ in range(5)))
            assert [sorted(each) for each in found] == [list(range(30))] * 5

        in_loop(main)

    def test_of_what_is_no_map_is_a_type_error_at_once(self) -> None:
        for target in (inline(lambda: 1)(), [1, 2], inline(lambda: 1)):
            with pytest.raises(TypeError, match=r"engine.as_completed takes what task.map\(...\) returns"):
                Engine().as_completed(target)  # type: ignore[arg-type]
