"""Prefect: tasks called one after the other in a flow, with the server that it starts by itself."""

import os
import tempfile
from collections.abc import Callable

HOME = tempfile.TemporaryDirectory(prefix="prefect-", ignore_cleanup_errors=True)
os.environ["PREFECT_HOME"] = HOME.name  # its database, for this process alone
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"

from prefect import flow, task  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402

from observatory import work  # noqa: E402
from observatory.peers import kit  # noqa: E402
from observatory.peers.kit import HEAVY, Peer, Work, dag, heavy_expected  # noqa: E402

PAGE = "docs.prefect.io/v3/how-to-guides/workflows/write-and-run and .../v3/concepts/tasks"
IDIOM = "@task functions called in a @flow, no cache, no stored results, no logs"

link = task(kit.link, cache_policy=NO_CACHE, persist_result=False)
step = task(kit.step, cache_policy=NO_CACHE, persist_result=False)
combine = task(work.combine, cache_policy=NO_CACHE, persist_result=False)


@flow
def loop(n: int) -> int:
    total = 0
    while n:
        value = link()
        for _ in range(work.CHAIN - 1):
            value = link(value)
        n, total = step(n, total, value)
    return total


def heavy() -> Work:
    n = 10
    return Work(IDIOM, PAGE, lambda: lambda: loop(n), n * HEAVY, heavy_expected(n), "")


def layered() -> Work:
    graph = dag(1_000)

    def build() -> Callable[[], list[int]]:
        @flow
        def run() -> list[int]:
            values: list[int] = []
            for number, inputs in enumerate(graph.inputs):
                values.append(combine(*[values[each] for each in inputs]) if inputs else combine(number))
            return [values[number] for number in graph.sinks]

        return run

    note = (
        "1,000 nodes, since 10,000 take minutes; a flow is plain Python, so the nodes are called in topological order"
    )
    return Work(IDIOM, PAGE, build, len(graph.inputs), graph.expected, note)


PEER = Peer(
    "Prefect",
    "prefect",
    heavy,
    layered,
    "records each task run and its states with a server, in SQLite, to be seen in its web page while it runs and "
    "afterwards",
)
