"""What an engine has to bring, and how its work is measured, in a process of the engine's own environment.

    python -m observatory.peers.kit ENGINE heavy|layered

prints one JSON object. Imports the standard library alone, besides the engine's module.
"""

import gc
import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from observatory import work

__all__ = ["HEAVY", "Dag", "Peer", "Work", "dag", "heavy_expected", "link", "measured", "step"]

HEAVY = work.CHAIN + 1  # nodes an iteration
PATIENCE = 20.0  # seconds; after that, nothing is measured again


@dataclass(frozen=True)
class Work:
    """One work: `build` puts it together and returns what runs it once; its result must equal `expected`."""

    idiom: str
    page: str
    build: Callable[[], Callable[[], Any]]
    nodes: int
    expected: Any
    note: str = ""  # where it is not the whole work, or not the same


@dataclass(frozen=True)
class Peer:
    """An engine: the two works in its own idiom, and what it does in that run that Cascade does not."""

    title: str
    package: str
    heavy: Callable[[], Work]
    layered: Callable[[], Work]
    more: str


@dataclass(frozen=True)
class Measured:
    """Nodes a second: built and run, and run alone."""

    once: float
    run: float
    nodes: int
    repeats: int
    idiom: str
    page: str
    note: str


# --- the works


def link(value: int = 0) -> int:
    """Be one of the calls in a row."""
    return value + 1


def step(n: int, total: int, fed: int) -> tuple[int, int]:
    """Return what is left to do, and the sum of what the chain has given."""
    return n - 1, total + fed


def heavy_expected(iterations: int) -> int:
    """Return the sum after so many iterations: it is right only if every link of every iteration was called."""
    return work.CHAIN * iterations


@dataclass(frozen=True)
class Dag:
    """The layered graph: who needs whom, which nodes nobody needs, and what these come to."""

    inputs: list[tuple[int, ...]]
    sinks: list[int]
    expected: list[int]


def dag(nodes: int = 10_000) -> Dag:
    inputs = work.layered(nodes)
    sinks, values = work.sinks(inputs), work.layered_values(inputs)
    return Dag(inputs, sinks, [values[node] for node in sinks])


# --- measuring


def seconds(run: Callable[[], Any], expected: Any) -> float:
    start = time.perf_counter()
    result = run()
    taken = time.perf_counter() - start
    assert result == expected, result
    return taken


def measured(job: Work) -> Measured:
    """Build, run and run again, up to eight times or until it has taken too long; return medians.

    The first time is to warm up and does not count, if there are others. Where it took too long for a second run,
    the first one counts.
    """
    began = time.perf_counter()
    once: list[float] = []
    runs: list[float] = []
    while len(once) < 8 and time.perf_counter() - began < PATIENCE:
        gc.collect()
        start = time.perf_counter()
        run = job.build()
        built = time.perf_counter() - start
        first = seconds(run, job.expected)
        once.append(built + first)
        runs.append(first if time.perf_counter() - began > PATIENCE else seconds(run, job.expected))
    if len(once) > 1:
        del once[0], runs[0]
    nodes = job.nodes
    return Measured(nodes / median(once), nodes / median(runs), nodes, len(once), job.idiom, job.page, job.note)


def main() -> None:
    """Measure one work of one engine."""
    engine, name = sys.argv[1:]
    peer: Peer = importlib.import_module(f"observatory.peers.{engine}").PEER
    found = measured(getattr(peer, name)())
    print(json.dumps({**asdict(found), "title": peer.title, "package": peer.package, "more": peer.more}))


if __name__ == "__main__":
    main()
