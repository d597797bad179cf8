"""Wide layers: the event loop keeps its turns, functions are timed by their first call, nobody waits for ever."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.event_loop import ticker
from tests.workflows import Tier, every_tier


def test_calls_that_wait_for_a_thread_go_in_place_once_the_function_is_known_to_be_short() -> None:
    calls = 0

    @cs.task
    def warming_up(x: int) -> int:
        nonlocal calls
        calls += 1
        if calls <= 64:  # fills the threads, so that the others queue for one
            time.sleep(0.02)
        return x

    async def main() -> None:
        async with Engine() as engine:
            target = [warming_up(i) for i in range(20_000)]
            assert await asyncio.wait_for(engine.run(target), 30) == list(range(20_000))

    asyncio.run(main())
    assert calls == 20_000


def test_a_new_function_is_timed_by_its_first_call_alone() -> None:
    elsewhere = 0

    @cs.task
    def short() -> int:
        nonlocal elsewhere
        elsewhere += threading.current_thread() is not threading.main_thread()
        return 1

    async def main() -> None:
        async with Engine() as engine:
            assert await engine.run([short() for _ in range(5_000)]) == [1] * 5_000

    asyncio.run(main())
    assert 1 <= elsewhere <= 100, "a busy machine may time a few calls more, but never the whole layer"


@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_a_wide_layer_of_calls_that_take_time_lets_others_run_meanwhile(kind: str) -> None:
    started = 0

    @cs.task
    async def waiting(x: int) -> int:
        nonlocal started
        started += 1
        return x

    @cs.task(mode="blocking")
    def blocking(x: int) -> int:
        nonlocal started
        started += 1
        return x

    task: Any = waiting if kind == "async" else blocking
    seen: list[int] = []

    async def beat() -> None:
        while started < 8_000:
            seen.append(started)
            await asyncio.sleep(0)

    async def main() -> None:
        async with Engine() as engine:
            beside = asyncio.create_task(beat())
            await engine.run([task(i) for i in range(8_000)])
            await beside

    asyncio.run(main())
    assert len({count for count in seen if 0 < count < 8_000}) >= 3


def test_an_error_out_of_a_script_has_nothing_of_the_engine_in_its_context() -> None:
    @cs.task
    def fails() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        cs.run(fails(), log_level="SILENT")
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@every_tier
def test_a_loop_of_awaits_that_never_wait_gives_turns_for_as_long_as_it_goes_on(
    tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticker, "IDLE_TICKS", 0)  # whoever relies on ticks must say so before the next one
    turns, enough, most = 0, 20, 50_000

    @cs.resource
    def thing() -> Iterator[str]:
        yield "thing"

    @cs.task
    async def pass_on(it: Any = cs.inject(thing)) -> Any:  # managed, so the loop is not emitted as a whole
        return it

    @cs.task(mode="inline")
    def spin(n: int, it: Any) -> Any:
        return n if turns >= enough or n == most else cs.Jump("again", {"n": n + 1})

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def main() -> int:
        counting = asyncio.create_task(count())
        step = spin(0, pass_on())
        async with Engine(tier=tier) as engine:
            entries: int = await engine.run(cs.bind(step, cs.select_jump({"again": step, "exit": None})))
        counting.cancel()
        return entries

    assert asyncio.run(main()) < most


def test_a_ticker_whose_thread_was_broken_off_at_its_start_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    began = threading.Thread.start

    def broken(self: threading.Thread) -> None:
        if self.name == "cascade-ticker":
            raise KeyboardInterrupt
        began(self)

    monkeypatch.setattr(ticker, "_thread", None)
    one = ticker.Ticker()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", broken)
        with pytest.raises(KeyboardInterrupt):
            one.begin()
    assert not one.armed
    one.begin()
    while not one.due:
        time.sleep(0.001)
