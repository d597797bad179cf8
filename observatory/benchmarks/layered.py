"""The row about a layered random graph that is declared, built and run once."""

import time
from graphlib import TopologicalSorter

import cascade as cs
from observatory import work
from observatory.benchmarks.harness import Line, calls, pairs, row, speed

GRAPH = work.layered()
SINKS = work.sinks(GRAPH)
VALUES = work.layered_values(GRAPH)
EXPECTED = [VALUES[node] for node in SINKS]


def plain_combine(a: int, b: int = 0, c: int = 0) -> int:
    return (a + 2 * b + 3 * c + 1) % 1_000_003


combine = cs.task(work.combine)


def declared() -> list[cs.LazyResult[int]]:
    """Declare every node, and return those that nothing else needs."""
    nodes: list[cs.LazyResult[int]] = []
    for number, inputs in enumerate(GRAPH):
        nodes.append(combine(*[nodes[each] for each in inputs]) if inputs else combine(number))
    return [nodes[number] for number in SINKS]


def by_hand() -> list[int]:
    """Declare who needs whom, order, call."""
    graph: dict[int, tuple[int, ...]] = {}
    for number, inputs in enumerate(GRAPH):
        graph[number] = inputs
    values: dict[int, int] = {}
    for number in TopologicalSorter(graph).static_order():
        inputs = graph[number]
        values[number] = plain_combine(*[values[each] for each in inputs]) if inputs else plain_combine(number)
    return [values[number] for number in SINKS]


@row("layered")
async def layered() -> list[Line]:
    """10,000 nodes in 100 layers, each of which needs two or three of the layer before."""
    assert len(GRAPH) == 10_000
    assert {len(inputs) for inputs in GRAPH} == {0, 2, 3}

    def baseline() -> float:
        start = time.perf_counter()
        result = by_hand()
        taken = time.perf_counter() - start
        assert result == EXPECTED
        return taken

    async with cs.Engine() as engine:

        async def ours() -> float:
            start = time.perf_counter()
            result = await engine.run(declared())
            taken = time.perf_counter() - start
            assert result == EXPECTED
            return taken

        found = await pairs(ours, baseline, 25)
        assert await calls(ours(), work.combine) == [len(GRAPH)]
        assert await calls(baseline, plain_combine) == [len(GRAPH)]
    return [speed("layered graph, 10,000 nodes, fan-in 2-3", found, len(GRAPH), least=0.5)]
