"""The rows about clusters: calls and short items on two workers of this machine, against their own clients by hand."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, pairs, row, speed

CALLS = 500
ITEMS = 10_000
CHUNKS = (25, 50, 100, 200)
"""Of the items that one task does by hand, so many; the best of them is what ours is compared with."""


@cs.task
def after_ten_ms(n: int) -> int:
    time.sleep(0.01)
    return n + 1


@cs.task
def one(n: int) -> int:
    return n + 1


@cs.task
def millisecond(n: int) -> int:
    until = time.perf_counter() + 0.001
    while time.perf_counter() < until:
        pass
    return n + 1


def chunk_of(numbers: list[int]) -> list[int]:
    return [millisecond.func(n) for n in numbers]


Raw = Callable[[Callable[[Any], Any], list[Any]], Any]


@asynccontextmanager
async def on_dask() -> AsyncIterator[tuple[Any, Raw]]:
    """Two workers of Dask: our executor, and how a function is called by hand for each of several values."""
    from distributed import Client, LocalCluster

    from cascade.adapters.executors.dask import DaskExecutor

    async with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", asynchronous=True) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):

        async def raw(function: Any, values: list[Any]) -> Any:
            return await client.gather([client.submit(function, each, pure=False) for each in values])

        yield lambda: DaskExecutor(cluster.scheduler_address), raw


@asynccontextmanager
async def on_ray() -> AsyncIterator[tuple[Any, Raw]]:
    """Two workers of Ray, in the same way."""
    import asyncio

    import ray

    from cascade.adapters.executors.ray import RayExecutor

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    made: dict[Any, Any] = {}

    async def raw(function: Any, values: list[Any]) -> Any:
        remote = made.get(function) or made.setdefault(function, ray.remote(max_retries=0)(function))
        return await asyncio.gather(*[remote.remote(each) for each in values])

    try:
        yield RayExecutor, raw
    finally:
        ray.shutdown()


async def lines_on(kind: str, make: Any, raw: Raw) -> list[Line]:
    numbers, items = list(range(CALLS)), list(range(ITEMS))
    chunks = {size: [items[at : at + size] for at in range(0, ITEMS, size)] for size in CHUNKS}

    async def by_hand(function: Any, values: list[Any]) -> float:
        start = time.perf_counter()
        found = await raw(function, values)
        taken = time.perf_counter() - start
        assert len(found) == len(values)
        return taken

    async with cs.Engine(executor=make()) as engine:

        async def ours(task: Any, values: list[int]) -> float:
            start = time.perf_counter()
            found = await engine.run(task.map(n=values))
            taken = time.perf_counter() - start
            assert found == [n + 1 for n in values]
            return taken

        short = await pairs(lambda: ours(one, numbers), lambda: by_hand(one.func, numbers), 5)
        long = await pairs(lambda: ours(after_ten_ms, numbers), lambda: by_hand(after_ten_ms.func, numbers), 3)
        await ours(millisecond, items[:500])
        taken = {size: await by_hand(chunk_of, of) for size, of in chunks.items()}
        best = min(taken, key=lambda size: taken[size])
        batched = await pairs(lambda: ours(millisecond, items), lambda: by_hand(chunk_of, chunks[best]), 3)
    return [
        speed(f"{CALLS} short calls on {kind}, against submit and gather", short, CALLS, "us a call", least=0.8),
        speed(f"{CALLS} calls of 10 ms on {kind}", long, CALLS, "us a call", least=0.8),
        speed(f"{ITEMS:,} items of 1 ms on {kind}, against {best} a task", batched, ITEMS, "us an item", least=0.9),
    ]


@row("cluster-dask", processes=1)
async def dask() -> list[Line]:
    """Calls, and short items of a map, on two workers of Dask."""
    async with on_dask() as (make, raw):
        return await lines_on("Dask", make, raw)


@row("cluster-ray", processes=1)
async def ray() -> list[Line]:
    """Calls, and short items of a map, on two workers of Ray."""
    async with on_ray() as (make, raw):
        return await lines_on("Ray", make, raw)
