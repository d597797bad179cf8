"""Runs with a store that are started again: what runs, and what is taken from the record."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.errors import RunChangedError
from cascade.runtime import Engine
from tests.runtime.recorded import (
    broken,
    calls,
    climb,
    fail,
    leaving,
    load,
    loop,
    parse,
    publish,
    report,
    run,
    square,
    turn,
)
from tests.runtime.recorded import fresh as fresh
from tests.runtime.recorded import store as store
from tests.workflows import TIERS, Tier


class TestWhatRunsAgain:
    @pytest.mark.parametrize("tier", TIERS)
    @pytest.mark.parametrize("durability", ["each", "group", "exit"])
    def test_only_what_has_no_record(self, store: Any, tier: Tier, durability: Any) -> None:
        fail(report(), store, tier=tier, durability=durability)
        assert run(report(), store, tier=tier, durability=durability) == "30 pages"
        assert calls == [("publish", 30)]

    def test_nothing_of_what_has_succeeded(self, store: Any) -> None:
        assert run(report(), store) == run(report(), store) == "30 pages"
        assert len(calls) == 3

    def test_other_runs_have_steps_of_their_own(self, store: Any) -> None:
        run(report(), store)
        run(report(), store, run_id="other")
        assert len(calls) == 6

    @pytest.mark.parametrize("tier", TIERS)
    @pytest.mark.parametrize("durability", ["each", "group"])
    def test_a_loop_goes_on_at_its_entry(self, store: Any, tier: Tier, durability: Any) -> None:
        fail(loop(), store, tier=tier, durability=durability)
        assert run(loop(), store, tier=tier, durability=durability) == 15
        assert calls == [("count", n) for n in (3, 2, 1, 0)]

    @pytest.mark.parametrize("tier", TIERS)
    @pytest.mark.parametrize("durability", ["group", "exit"])
    def test_a_hot_loop_goes_on_at_its_entry(self, tier: Tier, durability: Any) -> None:
        step, store = turn(n=300, way="down"), MemoryBackend()
        target = cs.bind(step, cs.select_jump({"again": step, "out": None}), max_iterations=301)
        fail(target, store, tier=tier, durability=durability)

        async def left() -> None:
            async with Engine(state_backend=store, tier=tier, durability=durability) as engine:
                going = asyncio.ensure_future(engine.run(target, run_id="r"))
                leaving.append(going)
                with pytest.raises(asyncio.CancelledError):
                    await going

        asyncio.run(left())
        assert run(target, store, tier=tier, durability=durability) == "down"
        assert calls[calls.count(100) - 1 :] == [*range(100, -1, -1)]  # the one that was going on may run again

    @pytest.mark.parametrize("tier", TIERS)
    def test_a_tail_call_goes_on_with_its_arguments(self, store: Any, tier: Tier) -> None:
        fail(climb(0, 6), store, tier=tier)
        assert run(climb(0, 6), store, tier=tier) == 6
        assert calls == [("climb", n) for n in (3, 4, 5, 6)]

    @pytest.mark.parametrize("tier", TIERS)
    def test_a_map_calls_only_items_without_a_record(self, store: Any, tier: Tier) -> None:
        fail(square.map(x=[1, 3, 2]), store, tier=tier)
        assert run(square.map(x=[1, 3, 2]), store, tier=tier) == [1, 9, 4]
        assert calls == [("square", 2)]

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("durability", ["each", "group"])
    def test_a_stream_is_read_again_and_gives_what_it_gave(self, store: Any, durability: Any, is_async: bool) -> None:
        given: list[Any] = [1, 0, 2, 3]

        async def later() -> Any:
            for each in given:
                yield each

        def mapped() -> Any:
            return square.map(x=later() if is_async else iter(given), concurrency=1)

        fail(mapped(), store, durability=durability)  # at item 2
        given[0] = 5
        with pytest.raises(RunChangedError, match=r"item square#1\[0\] was 1, and the stream .* gives 5 there now"):
            run(mapped(), store, durability=durability)
        given[:] = [1]
        with pytest.raises(RunChangedError, match=r"ended before item square#1\[1\], which is recorded"):
            run(mapped(), store, durability=durability)
        assert calls == []
        given[:] = [1, 0, 4, 3]  # what has failed, or has not begun, may be another one
        assert run(mapped(), store, durability=durability) == [1, 0, 16, 9]
        assert calls == [("square", 4), ("square", 3)]

    def test_items_of_a_stream_count_by_content_or_type(self, store: Any) -> None:
        @cs.task
        def kind(thing: Any) -> str:
            if broken and thing == [2]:
                raise ValueError("tired")
            return type(thing).__name__

        fail(kind.map(thing=iter([object(), "x" * 100, [2]])), store)
        assert run(kind.map(thing=iter([object(), "x" * 100, [2]])), store, run_id="r") == ["object", "str", "list"]
        fail(kind.map(thing=iter([object(), "x" * 100, [2]])), store, run_id="s")
        with pytest.raises(RunChangedError, match=r"item kind#1\[1\] was str:\w+, and .* gives str:\w+"):
            run(kind.map(thing=iter([object(), "y" * 100, [2]])), store, run_id="s")
        with pytest.raises(RunChangedError, match=r"item kind#1\[0\] was builtins.object, and .* gives None"):
            run(kind.map(thing=iter([None, "x" * 100, [2]])), store, run_id="s")

    def test_items_that_a_map_lets_fail_are_recorded_as_that(self, store: Any) -> None:
        def target() -> Any:
            return publish(square.map(x=[1, 2, 3], on_error="skip"))

        fail(target(), store)
        assert run(target(), store) == "[1, 9] pages"
        assert calls == [("publish", [1, 9])]

    def test_the_steps_inside_of_a_sub_flow(self, store: Any) -> None:
        fail(cs.subflow(report()), store)
        assert run(cs.subflow(report()), store) == "30 pages"
        assert calls == [("publish", 30)]

    def test_concurrent_tail_calls_have_each_their_own(self, store: Any) -> None:
        """Ids in events number programs as a run comes to them; keys must not."""
        slow: dict[str, float] = {"a": 0.0, "b": 0.02}

        @cs.task
        async def hand(x: str) -> cs.TailCall:
            await asyncio.sleep(slow[x])
            return cs.TailCall([x], target_blueprint_id=x)

        @cs.task
        async def work(x: str) -> str:
            calls.append(x)
            if broken and x == "b":
                raise ValueError("tired")
            return x * 2

        async def main() -> Any:
            async with Engine(state_backend=store) as engine:
                for key in "ab":
                    engine.register_blueprint(key, work(cs.Param("x", default="?", type=str)))
                return await engine.run([hand("a"), hand("b")], run_id="r")

        broken.append("x")
        with pytest.raises(ValueError, match="tired"):
            asyncio.run(main())
        broken.clear()
        slow.update(a=0.02, b=0.0)
        assert asyncio.run(main()) == ["aa", "bb"]

    def test_a_value_is_read_as_it_was_when_its_step_ended(self, store: Any) -> None:
        @cs.task
        def spoil(data: dict[str, int]) -> int:
            data["n"] = 99
            return 1

        @cs.task
        def after(data: dict[str, int], _: int) -> int:
            if broken:
                raise ValueError("tired")
            return data["n"]

        def target() -> Any:
            data = load("abc")
            return after(data, spoil(data))

        fail(target(), store)
        assert run(target(), store) == 3

    def test_what_says_so_is_not_recorded(self, store: Any) -> None:
        again = load.with_options(record=False)
        fail(publish(parse(again("abc"))), store)
        run(publish(parse(again("abc"))), store)
        assert calls == [("load", "abc"), ("publish", 30)] or calls == [("publish", 30)]

    @pytest.mark.parametrize("tier", TIERS)
    @pytest.mark.parametrize("durability", ["group", "each"])
    def test_what_reads_what_is_not_recorded_keeps_its_value(self, durability: Any, tier: Any) -> None:
        """Whichever way what is computed again is called, and whichever way what was recorded would be."""
        called: list[str] = []
        broken = True

        def made(name: str, how: str, **options: Any) -> Any:
            def body(n: Any) -> Any:
                called.append(name)
                return n

            async def waits(n: Any) -> Any:
                called.append(name)
                await asyncio.sleep(0)
                return n

            mode: Any = "auto" if how == "async" else how
            return cs.task(name=name, mode=mode, **options)(waits if how == "async" else body)

        def last(values: Any) -> Any:
            if broken:
                raise ValueError("tired")
            return values

        def program() -> Any:
            found = []
            for first in ("async", "auto", "inline", "blocking"):
                for then in ("async", "auto", "inline", "blocking"):
                    again = made("again", first, record=False)
                    steps: list[Any] = [made(f"{first}, then {then} {at}", then) for at in range(6)]
                    loop = steps[3](again(3))
                    cs.bind(loop, cs.select_jump({"on": loop}))
                    found += [
                        *(steps[0](again(0)), steps[0](again(0)), steps[1](steps[1](again(1)))),
                        *(steps[2](again(2)).with_retry(2, delay=0), loop, cs.subflow(steps[4](again(4)))),
                        steps[5].map(n=[again(5), 6]),
                    ]
            return cs.task(last)(found)

        store = MemoryBackend()
        with pytest.raises(ValueError, match="tired"):
            run(program(), store, durability=durability, tier=tier)
        broken = False
        called.clear()
        run(program(), store, durability=durability, tier=tier)
        assert {*called} == {"again"}

    def test_a_retry_counts_on(self, store: Any) -> None:
        attempts: list[int] = []

        @cs.task
        async def flaky() -> str:
            attempts.append(len(attempts) + 1)
            if len(attempts) == 2:
                task = asyncio.current_task()
                assert task is not None
                raise KeyboardInterrupt
            raise ValueError("no")

        with pytest.raises(KeyboardInterrupt):
            run(flaky().with_retry(3, delay=0), store)
        with pytest.raises(ValueError, match="no") as caught:
            run(flaky().with_retry(3, delay=0), store)
        assert len(attempts) == 3
        assert "attempt 3" in caught.value.__notes__[0]


def test_results_one_by_one_are_given_again_by_the_next_start(store: Any) -> None:
    async def main() -> list[int]:
        async with Engine(state_backend=store) as engine:
            return [value async for value in engine.as_completed(square.map(x=[1, 3, 2]), run_id="r")]

    broken.append("x")
    with pytest.raises(ValueError, match="tired"):
        asyncio.run(main())
    broken.clear()
    calls.clear()
    assert sorted(asyncio.run(main())) == [1, 4, 9]
    assert calls == [("square", 2)]


def test_cs_run_records_and_goes_on(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL)
    options: Any = {"state_backend": tmp_path / "kept" / "runs.db", "run_id": "r", "log_level": "SILENT"}
    broken.append("x")
    with pytest.raises(ValueError, match="fire"):
        cs.run(report(), **options)
    broken.clear()
    calls.clear()
    assert cs.run(report(), **options) == "30 pages"
    assert calls == [("publish", 30)]


def test_runs_inside_of_tasks_are_recorded_where_they_have_an_id() -> None:
    @cs.task
    async def outer() -> list[Any]:
        return [await cs.arun(square(2)), await cs.current_engine().run(square(3), run_id="inner")]

    store = MemoryBackend()
    assert run(outer(), store) == [4, 9]
    assert sorted(store._kept) == ["inner", "r"]
