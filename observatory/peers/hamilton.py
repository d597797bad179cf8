"""Hamilton: functions whose parameters name what they need, run by a driver."""

import sys
from collections.abc import Callable
from itertools import count
from typing import Any

from hamilton import ad_hoc_utils, driver
from hamilton.function_modifiers import parameterize, source, value

from observatory import work
from observatory.peers import kit
from observatory.peers.kit import HEAVY, Peer, Work, dag, heavy_expected

sys.setrecursionlimit(100_000)  # it walks a graph by recursion
PAGE = "hamilton.apache.org/reference/decorators/parameterize/ and .../reference/drivers/Driver/"


MODULES = count()


def built(*functions: Any) -> driver.Driver:
    module = ad_hoc_utils.create_temporary_module(*functions, module_name=f"functions{next(MODULES)}")
    return driver.Builder().with_modules(module).build()


def heavy() -> Work:
    n = 500

    def build() -> Callable[[], int]:
        def link(value: int) -> int:
            return kit.link(value)

        def step(n: int, total: int, fed: int) -> tuple:
            return kit.step(n, total, fed)

        links = {f"link{i}": {"value": source(f"link{i - 1}") if i else value(0)} for i in range(work.CHAIN)}
        last = {"after": {"n": source("left"), "total": source("sum"), "fed": source(f"link{work.CHAIN - 1}")}}
        flow = built(parameterize(**links)(link), parameterize(**last)(step))

        def run() -> int:
            left, total = n, 0
            while left:
                left, total = flow.execute(["after"], inputs={"left": left, "sum": total})["after"]
            return total

        return run

    return Work(
        "functions with @parameterize, execute()",
        PAGE,
        build,
        n * HEAVY,
        heavy_expected(n),
        "no loops: the graph of 22 nodes is executed again and again",
    )


def layered() -> Work:
    graph = dag()

    def build() -> Callable[[], list[int]]:
        def one(a: int) -> int:
            return work.combine(a)

        def two(a: int, b: int) -> int:
            return work.combine(a, b)

        def three(a: int, b: int, c: int) -> int:
            return work.combine(a, b, c)

        nodes: dict[int, dict[str, Any]] = {1: {}, 2: {}, 3: {}}
        for number, inputs in enumerate(graph.inputs):
            given = {name: source(f"n{each}") for name, each in zip("abc", inputs, strict=False)} or {
                "a": value(number)
            }
            nodes[len(given)][f"n{number}"] = given
        functions = [parameterize(**nodes[takes])(call) for takes, call in enumerate((one, two, three), 1)]
        flow = built(*functions)
        names = [f"n{number}" for number in graph.sinks]

        def run() -> list[int]:
            values = flow.execute(names)
            return [values[name] for name in names]

        return run

    return Work("functions with @parameterize, execute()", PAGE, build, len(graph.inputs), graph.expected)


PEER = Peer(
    "Hamilton",
    "apache-hamilton",
    heavy,
    layered,
    "checks the types of edges when a graph is built and of inputs when it runs; calls adapters around each graph "
    "and node; knows the lineage of each value",
)
