"""pipefunc: functions whose parameters name what they need, in a pipeline."""

import sys
from collections.abc import Callable
from itertools import pairwise

from pipefunc import PipeFunc, Pipeline

from observatory import work
from observatory.peers import kit
from observatory.peers.kit import HEAVY, Peer, Work, dag, heavy_expected

sys.setrecursionlimit(100_000)  # it walks a graph by recursion


def heavy() -> Work:
    n = 500

    def build() -> Callable[[], int]:
        names = ["start", *(f"link{number}" for number in range(work.CHAIN))]
        links = [PipeFunc(kit.link, b, renames={"value": a}) for a, b in pairwise(names)]
        call = Pipeline([*links, PipeFunc(kit.step, "after", renames={"fed": names[-1]})]).func("after")

        def run() -> int:
            left, total = n, 0
            while left:
                left, total = call(n=left, total=total, start=0)
            return total

        return run

    return Work(
        "Pipeline of PipeFuncs, pipeline.func()",
        "pipefunc.readthedocs.io/en/latest/tutorial/",
        build,
        n * HEAVY,
        heavy_expected(n),
        "no loops: the graph of 22 nodes is called again and again",
    )


def one(a: int) -> int:
    return work.combine(a)


def two(a: int, b: int) -> int:
    return work.combine(a, b)


def three(a: int, b: int, c: int) -> int:
    return work.combine(a, b, c)


def layered() -> Work:
    graph = dag(1_000)

    def build() -> Callable[[], list[int]]:
        functions = []
        given = {}
        for number, inputs in enumerate(graph.inputs):
            names = [f"n{each}" for each in inputs] or [f"given{number}"]
            renames = dict(zip("abc", names, strict=False))
            functions.append(PipeFunc((one, two, three)[len(names) - 1], f"n{number}", renames=renames))
            if not inputs:
                given[names[0]] = number
        pipeline = Pipeline(functions)
        wanted = [f"n{number}" for number in graph.sinks]
        return lambda: list(pipeline.run(wanted, kwargs=given))

    return Work(
        "Pipeline of PipeFuncs, pipeline.run()",
        "pipefunc.readthedocs.io/en/latest/tutorial/",
        build,
        len(graph.inputs),
        graph.expected,
        "1,000 nodes: to put a pipeline together takes time that grows with the square of its functions",
    )


PEER = Peer(
    "pipefunc",
    "pipefunc",
    heavy,
    layered,
    "checks types between functions and consistent defaults when a pipeline is put together; keeps a snapshot of what "
    "failed; can map over arrays",
)
