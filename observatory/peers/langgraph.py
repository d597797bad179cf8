"""LangGraph: a state graph, compiled without a checkpointer, invoked synchronously."""

from collections.abc import Callable
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from observatory import work
from observatory.peers import kit
from observatory.peers.kit import HEAVY, Peer, Work, dag, heavy_expected

FOR_EVER = {"recursion_limit": 10**9}  # the default ends a run after so many steps


class Loop(TypedDict):
    n: int
    total: int
    value: int


def link(state: Loop) -> dict[str, int]:
    return {"value": kit.link(state["value"])}


def step(state: Loop) -> dict[str, int]:
    n, total = kit.step(state["n"], state["total"], state["value"])
    return {"n": n, "total": total, "value": 0}


def heavy() -> Work:
    n = 100
    names = [f"link{number}" for number in range(work.CHAIN)]

    def build() -> Callable[[], int]:
        builder = StateGraph(Loop)
        for name in names:
            builder.add_node(name, link)
        builder.add_node("step", step)
        builder.add_edge(START, names[0])
        for before, after in zip(names, [*names[1:], "step"], strict=True):
            builder.add_edge(before, after)
        builder.add_conditional_edges("step", lambda state: names[0] if state["n"] else END, [names[0], END])
        graph = builder.compile()
        return lambda: graph.invoke({"n": n, "total": 0, "value": 0}, FOR_EVER)["total"]

    return Work(
        "StateGraph, a conditional edge back, invoke()",
        "docs.langchain.com/oss/python/langgraph/use-graph-api, 'Create and control loops'",
        build,
        n * HEAVY,
        heavy_expected(n),
    )


def node(number: int, inputs: tuple[int, ...]) -> Callable[[Any], dict[str, int]]:
    """Return a node that reads what it needs from the state and writes a key of its own."""
    key, keys = f"v{number}", [f"v{each}" for each in inputs]

    def call(state: Any) -> dict[str, int]:
        return {key: work.combine(*[state[each] for each in keys]) if keys else work.combine(number)}

    return call


def layered() -> Work:
    graph = dag()

    def build() -> Callable[[], list[int]]:
        builder = StateGraph(TypedDict("Values", {f"v{number}": int for number in range(len(graph.inputs))}))
        for number, inputs in enumerate(graph.inputs):
            reads = TypedDict(f"Reads{number}", {f"v{each}": int for each in inputs})
            builder.add_node(f"n{number}", node(number, inputs), input_schema=reads)
            builder.add_edge([f"n{each}" for each in inputs] if inputs else START, f"n{number}")
        compiled = builder.compile()

        def run() -> list[int]:
            values = compiled.invoke({"v0": 0}, FOR_EVER)
            return [values[f"v{number}"] for number in graph.sinks]

        return run

    return Work(
        "StateGraph, a state key and an input schema a node, edges from lists of nodes, invoke()",
        "docs.langchain.com/oss/python/langgraph/use-graph-api, 'Create branches'",
        build,
        len(graph.inputs),
        graph.expected,
    )


PEER = Peer(
    "LangGraph",
    "langgraph",
    heavy,
    layered,
    "merges the writes of each step into typed channels, and could stop, stream or save after any step; "
    "gives each node a config and callbacks; runs nodes of a step in threads",
)
