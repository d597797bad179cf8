"""Plain Python, as one would write it without an engine."""

from collections.abc import Callable
from graphlib import TopologicalSorter

from observatory import work
from observatory.peers.kit import HEAVY, Peer, Work, dag, heavy_expected, link, step


def heavy() -> Work:
    n = 100_000

    def loop() -> int:
        left, total = n, 0
        while left:
            value = link()
            for _ in range(work.CHAIN - 1):
                value = link(value=value)
            left, total = step(left, total, fed=value)
        return total

    return Work("a while loop", "", lambda: loop, n * HEAVY, heavy_expected(n))


def layered() -> Work:
    graph = dag()

    def build() -> Callable[[], list[int]]:
        predecessors = dict(enumerate(graph.inputs))
        order = list(TopologicalSorter(predecessors).static_order())

        def run() -> list[int]:
            values: dict[int, int] = {}
            for node in order:
                inputs = predecessors[node]
                values[node] = work.combine(*[values[each] for each in inputs]) if inputs else work.combine(node)
            return [values[node] for node in graph.sinks]

        return run

    return Work("graphlib.TopologicalSorter, and calls in its order", "", build, len(graph.inputs), graph.expected)


PEER = Peer("by hand", "", heavy, layered, "")
