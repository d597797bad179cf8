"""Dask: a graph as a dict of calls, given to the scheduler of one thread."""

from collections.abc import Callable
from typing import Any

import dask

from observatory import work
from observatory.peers import kit
from observatory.peers.kit import HEAVY, Peer, Work, dag, heavy_expected

PAGE = "docs.dask.org/en/stable/custom-graphs.html and .../scheduling.html, 'Single thread'"


def heavy() -> Work:
    n = 100

    def build() -> Callable[[], int]:
        graph: dict[str, Any] = {"link0": (kit.link,)}
        for number in range(1, work.CHAIN):
            graph[f"link{number}"] = (kit.link, f"link{number - 1}")

        def run() -> int:
            left, total = n, 0
            while left:
                graph["after"] = (kit.step, left, total, f"link{work.CHAIN - 1}")
                left, total = dask.get(graph, "after")
            return total

        return run

    return Work(
        "a dict of tuples, dask.get (one thread)",
        PAGE,
        build,
        n * HEAVY,
        heavy_expected(n),
        "no loops: the graph of 22 nodes is given to the scheduler again and again",
    )


def layered() -> Work:
    graph = dag()
    wanted = [f"n{number}" for number in graph.sinks]

    def build() -> Callable[[], list[int]]:
        calls: dict[str, Any] = {}
        for number, inputs in enumerate(graph.inputs):
            calls[f"n{number}"] = (work.combine, *([f"n{each}" for each in inputs] or [number]))
        return lambda: list(dask.get(calls, wanted))

    return Work("a dict of tuples, dask.get (one thread)", PAGE, build, len(graph.inputs), graph.expected)


PEER = Peer(
    "Dask",
    "dask",
    heavy,
    layered,
    "orders each graph anew so that results can be let go early; tells callbacks of each task; the same graph runs on "
    "threads, processes or a cluster",
)
