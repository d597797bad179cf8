"""Wide layers: the event loop keeps its turns, functions are timed by their first call, nobody waits for ever."""

import asyncio
import threading
import time
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine


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
        while started < 4_000:
            seen.append(started)
            await asyncio.sleep(0)

    async def main() -> None:
        async with Engine() as engine:
            beside = asyncio.create_task(beat())
            await engine.run([task(i) for i in range(4_000)])
            await beside

    asyncio.run(main())
    assert len({count for count in seen if 0 < count < 4_000}) >= 3


def test_an_error_out_of_a_script_has_nothing_of_the_engine_in_its_context() -> None:
    @cs.task
    def fails() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        cs.run(fails(), log_level="SILENT")
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
