"""The work that the benchmarks and the peers do: a layered random graph, and what it must come to.

Imports the standard library alone, so that it can be read from the environment of any engine.
"""

import random

__all__ = ["CHAIN", "combine", "layered", "layered_values", "sinks"]

CHAIN = 21  # calls in a row that feed the step of the heavy loop: 22 nodes an iteration


def combine(a: int, b: int = 0, c: int = 0) -> int:
    """Do next to nothing with one to three inputs; the values stay small."""
    return (a + 2 * b + 3 * c + 1) % 1_000_003


def layered(nodes: int = 10_000, layers: int = 100, seed: int = 7) -> list[tuple[int, ...]]:
    """Return the predecessors of each node: none in the first layer, else two or three of the layer before."""
    draw = random.Random(seed)
    width = nodes // layers
    found: list[tuple[int, ...]] = [()] * width
    for node in range(width, nodes):
        begin = node // width * width
        found.append(tuple(draw.sample(range(begin - width, begin), draw.choice((2, 3)))))
    return found


def sinks(graph: list[tuple[int, ...]]) -> list[int]:
    """Return the nodes that no other node needs: asking for these runs every node."""
    needed = {node for inputs in graph for node in inputs}
    return [node for node in range(len(graph)) if node not in needed]


def layered_values(graph: list[tuple[int, ...]]) -> list[int]:
    """Return what each node gives: a node without predecessors is given its own number."""
    values: list[int] = []
    for node, inputs in enumerate(graph):
        values.append(combine(*[values[each] for each in inputs]) if inputs else combine(node))
    return values
