"""pydantic-graph: a graph of typed async steps from the builder."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pydantic_graph import GraphBuilder, StepContext

from observatory import work
from observatory.peers import kit
from observatory.peers.kit import HEAVY, Peer, Work, dag, heavy_expected

PAGE = "pydantic.dev/docs/ai/graph/graph/"


@dataclass
class Loop:
    n: int
    total: int = 0


async def link(ctx: StepContext[Loop, None, int]) -> int:
    return kit.link(ctx.inputs)


async def step(ctx: StepContext[Loop, None, int]) -> int:
    state = ctx.state
    state.n, state.total = kit.step(state.n, state.total, ctx.inputs)
    return state.n


async def restart(ctx: StepContext[Loop, None, int]) -> int:
    return kit.link()


async def done(ctx: StepContext[Loop, None, int]) -> int:
    return ctx.state.total


def heavy() -> Work:
    n = 500

    def build() -> Callable[[], Any]:
        builder = GraphBuilder(state_type=Loop, input_type=int, output_type=int)
        first = builder.step(restart, node_id="link0")  # the first of the chain takes nothing
        links = [first, *(builder.step(link, node_id=f"link{number}") for number in range(1, work.CHAIN))]
        last, end = builder.step(step, node_id="step"), builder.step(done, node_id="done")
        choice = (
            builder.decision()
            .branch(builder.match(int, matches=lambda left: left > 0).to(first))
            .branch(builder.match(int, matches=lambda left: left == 0).to(end))
        )
        builder.add(
            builder.edge_from(builder.start_node).to(first),
            *(builder.edge_from(a).to(b) for a, b in zip(links, [*links[1:], last], strict=True)),
            builder.edge_from(last).to(choice),
            builder.edge_from(end).to(builder.end_node),
        )
        graph = builder.build()
        return lambda: asyncio.run(graph.run(state=Loop(n), inputs=0))

    return Work("GraphBuilder, steps and a decision, run()", PAGE, build, n * HEAVY, heavy_expected(n))


@dataclass
class Values:
    by_number: dict[int, int] = field(default_factory=dict)


def node(number: int, inputs: tuple[int, ...]) -> Any:
    """Return a step that reads what it needs from the state and puts its own value there."""

    async def call(ctx: StepContext[Values, None, None]) -> None:
        values = ctx.state.by_number
        values[number] = work.combine(*[values[each] for each in inputs]) if inputs else work.combine(number)

    return call


def layered() -> Work:
    graph = dag()

    def build() -> Callable[[], list[int]]:
        builder = GraphBuilder(state_type=Values)
        steps = [builder.step(node(number, inputs), node_id=f"n{number}") for number, inputs in enumerate(graph.inputs)]
        ends = [builder.start_node, *steps, builder.end_node]
        builder.add(*(builder.edge_from(a).to(b) for a, b in pairwise(ends)))
        built = builder.build()

        def run() -> list[int]:
            state = Values()
            asyncio.run(built.run(state=state))
            return [state.by_number[number] for number in graph.sinks]

        return run

    return Work(
        "GraphBuilder, a step a node with its value in the state, one after the other, run()",
        PAGE,
        build,
        len(graph.inputs),
        graph.expected,
        "an edge carries the value of one step, not those of two or three; so the steps are in topological order and "
        "read the state",
    )


PEER = Peer(
    "pydantic-graph",
    "pydantic-graph",
    heavy,
    layered,
    "starts an async task a step, with its fork and join bookkeeping; a run can be driven step by step; spans for "
    "tracing",
)
