"""The row about a map of a million items."""

import time

import cascade as cs
from observatory.benchmarks.harness import Line, calls, pairs, row, speed

ITEMS = list(range(1_000_000))


def plain_body(x: int) -> int:
    return x + 1


@cs.task
def body(x: int) -> int:
    return x + 1


def check(result: list[int]) -> None:
    assert len(result) == len(ITEMS)
    assert result[0] == 1
    assert sum(result) == sum(ITEMS) + len(ITEMS)


@row("map-million")
async def map_million() -> list[Line]:
    """A million items, one call each, in place, against a list comprehension."""

    def baseline() -> float:
        start = time.perf_counter()
        result = [plain_body(x) for x in ITEMS]
        taken = time.perf_counter() - start
        check(result)
        return taken

    target = body.map(x=ITEMS)
    async with cs.Engine() as engine:

        async def ours() -> float:
            start = time.perf_counter()
            result = await engine.run(target)
            taken = time.perf_counter() - start
            check(result)
            return taken

        found = await pairs(ours, baseline, 11)
        assert await calls(ours(), body.func) == [len(ITEMS)]
        assert await calls(baseline, plain_body) == [len(ITEMS)]
    return [speed("map of 1,000,000 inline items", found, len(ITEMS), "ns an item", least=0.7)]
