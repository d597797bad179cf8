"""Burr: actions over an immutable state, and transitions between them."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from burr.core import ApplicationBuilder, Condition, State, action

from observatory import work
from observatory.peers import kit
from observatory.peers.kit import HEAVY, Peer, Work, dag, heavy_expected


@action(reads=["value"], writes=["value"])
def link(state: State) -> State:
    return state.update(value=kit.link(state["value"]))


@action(reads=["n", "total", "value"], writes=["n", "total", "value"])
def step(state: State) -> State:
    n, total = kit.step(state["n"], state["total"], state["value"])
    return state.update(n=n, total=total, value=0)


@action(reads=["total"], writes=[])
def done(state: State) -> State:
    return state


def heavy() -> Work:
    n = 500
    names = [f"link{number}" for number in range(work.CHAIN)]
    again = Condition(["n"], lambda state: state["n"] > 0)

    def build() -> Callable[[], int]:
        def run() -> int:
            application = (
                ApplicationBuilder()
                .with_actions(**dict.fromkeys(names, link), step=step, done=done)
                .with_transitions(
                    *zip(names, [*names[1:], "step"], strict=True), ("step", names[0], again), ("step", "done")
                )
                .with_state(n=n, total=0, value=0)
                .with_entrypoint(names[0])
                .build()
            )
            return application.run(halt_after=["done"])[2]["total"]

        return run

    return Work(
        "actions and transitions, one back on a condition, built for each run, run(halt_after=)",
        "burr.apache.org/concepts/transitions/",
        build,
        n * HEAVY,
        heavy_expected(n),
    )


def node(number: int, inputs: tuple[int, ...]) -> Any:
    """Return an action that reads what it needs from the state and writes a key of its own."""
    key, keys = f"v{number}", [f"v{each}" for each in inputs]

    @action(reads=keys, writes=[key])
    def call(state: State) -> State:
        return state.update(**{key: work.combine(*[state[each] for each in keys]) if keys else work.combine(number)})

    return call


def layered() -> Work:
    graph = dag()
    names = [f"n{number}" for number in range(len(graph.inputs))]

    def build() -> Callable[[], list[int]]:
        actions = {f"n{number}": node(number, inputs) for number, inputs in enumerate(graph.inputs)}

        def run() -> list[int]:
            application = (
                ApplicationBuilder()
                .with_actions(**actions)
                .with_transitions(*pairwise(names))
                .with_state()
                .with_entrypoint(names[0])
                .build()
            )
            values = application.run(halt_after=[names[-1]])[2]
            return [values[f"v{number}"] for number in graph.sinks]

        return run

    return Work(
        "an action a node with a state key of its own, one after the other, run(halt_after=)",
        "burr.apache.org/concepts/actions/",
        build,
        len(graph.inputs),
        graph.expected,
        "a Burr application is a state machine, not a graph of data: the nodes are its states, in topological order; "
        "each copies the state, which grows",
    )


PEER = Peer(
    "Burr",
    "apache-burr",
    heavy,
    layered,
    "keeps an immutable state and checks what each action reads and writes; calls hooks around each step, and could "
    "stop, save or trace there",
)
