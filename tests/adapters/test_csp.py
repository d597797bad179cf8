"""The solver that plans ahead: orders that finish early within the capacities."""

import asyncio
import random
import sys
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.solvers.csp import CSPSolver, seconds_of
from cascade.adapters.solvers.native import NativeSolver
from cascade.graph.build import build, target_of
from cascade.runtime import Engine
from cascade.spec.graph import Graph
from cascade.spec.protocols import Solver
from tests.virtual import VirtualLoop, in_virtual_time

pytest.importorskip("ortools")


def takes(seconds: float, name: str = "work") -> cs.Task[..., Any]:
    """Return a task that takes so long, and says so."""

    async def work(*inputs: Any) -> str:
        await asyncio.sleep(seconds)
        return name

    return cs.task(name=name, tags=[f"seconds:{seconds}"])(work)


def graph_of(target: Any) -> Graph:
    return build(target_of(target))


def makespan(target: Any, capacities: dict[str, float], solver: Solver) -> float:
    """Return how many seconds a run takes, in virtual time."""

    async def main(loop: VirtualLoop) -> float:
        start = loop.time()
        async with Engine(solver, system_resources=capacities) as engine:
            await engine.run(target)
        return loop.time() - start

    return in_virtual_time(main)


def long_last() -> tuple[Any, dict[str, float], float]:
    """Short ones first would leave the long one to run alone at the end."""
    return [takes(s)().with_constraints(cpu=1) for s in (1, 1, 1, 1, 4)], {"cpu": 2}, 4


def chain_first() -> tuple[Any, dict[str, float], float]:
    """The first of a chain has to begin at once, for the rest of it needs no share and takes long."""
    loose = [takes(2)().with_constraints(cpu=1) for _ in range(3)]
    return [*loose, takes(6)(takes(2)().with_constraints(cpu=1))], {"cpu": 1}, 8


def two_names() -> tuple[Any, dict[str, float], float]:
    """Those that want the GPU alone pair with those that want memory alone."""
    gpu = [takes(3)().with_constraints(gpu=1) for _ in range(2)]
    both = [takes(3)().with_constraints(gpu=1, memory=8) for _ in range(2)]
    memory = [takes(3)().with_constraints(memory=8) for _ in range(2)]
    return [*gpu, *both, *memory], {"gpu": 1, "memory": 8}, 12


def packing() -> tuple[Any, dict[str, float], float]:
    """Amounts of 3 + 1 and of 2 + 2 fill the four; 3 behind 2 would not."""
    return [takes(2)().with_constraints(cpu=n) for n in (2, 3, 2, 1)], {"cpu": 4}, 4


def fractions() -> tuple[Any, dict[str, float], float]:
    return [takes(1.5)().with_constraints(cpu=n) for n in (0.3, 0.9, 0.7, 0.1)], {"cpu": 1}, 3


CASES = [long_last, chain_first, two_names, packing, fractions]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_small_graphs_finish_as_early_as_can_be(case: Any) -> None:
    target, capacities, best = case()
    assert makespan(target, capacities, CSPSolver(capacities)) == pytest.approx(best)


@pytest.mark.parametrize("case", [long_last, chain_first, packing, fractions], ids=lambda case: case.__name__)
def test_the_native_order_would_take_longer(case: Any) -> None:
    target, capacities, best = case()
    assert makespan(target, capacities, NativeSolver()) > best + 0.5


def random_target(seed: int, count: int) -> Any:
    chance = random.Random(seed)
    nodes: list[Any] = []
    for _ in range(count):
        inputs = chance.sample(nodes, min(len(nodes), chance.randint(0, 3)))
        node = takes(chance.randint(0, 9))(*inputs)
        if chance.random() < 0.8:
            node = node.with_constraints(cpu=chance.randint(1, 4))
        if chance.random() < 0.2:
            node = node.with_constraints(gpu=1, cpu=1)
        if nodes and chance.random() < 0.1:
            node = node.after(chance.choice(nodes))
        if nodes and chance.random() < 0.1:
            node = node.run_if(chance.choice(nodes))
        nodes.append(node)
    return [*nodes]


CAPACITIES: dict[str, float] = {"cpu": 4, "gpu": 1}


@pytest.mark.parametrize("seed", range(20))
def test_no_node_comes_before_its_inputs(seed: int) -> None:
    graph = graph_of(random_target(seed, 25))
    order = CSPSolver(CAPACITIES, time_limit=0.5).solve(graph)
    order = list(range(graph.strict) if order is None else order)
    assert sorted(order) == [*range(graph.strict)]
    at = {i: place for place, i in enumerate(order)}
    for edge in graph.edges():
        if edge.source >= 0:
            assert at[edge.source] < at[edge.target], edge


def test_two_hundred_nodes_within_the_time_limit_and_no_later_than_native() -> None:
    target = random_target(1, 200)
    planned = makespan(target, CAPACITIES, CSPSolver(CAPACITIES, time_limit=3))
    assert planned <= makespan(target, CAPACITIES, NativeSolver())


def test_results_do_not_depend_on_it() -> None:
    async def main(loop: VirtualLoop) -> None:
        target = {"a": takes(1, "a")().with_constraints(cpu=1), "b": takes(2, "b")().with_constraints(cpu=1)}
        for solver in (CSPSolver({"cpu": 1}), NativeSolver()):
            async with Engine(solver, system_resources={"cpu": 1}) as engine:
                assert await engine.run(target) == {"a": "a", "b": "b"}

    in_virtual_time(main)


def test_routes_loops_maps_and_subflows_are_ordered_too() -> None:
    @cs.task(mode="inline")
    def step(n: int) -> cs.Jump:
        return cs.Jump("again" if n else "exit", n - 1 if n else "done")

    node = step(2).with_constraints(cpu=1)
    cs.bind(node, cs.select_jump({"again": node, "exit": None}))
    one = takes(1, "one")
    target = [
        node,
        cs.Router(one(), {"one": takes(1, "route")().with_constraints(cpu=1)}),
        cs.task(mode="inline")(lambda x: x).map(x=[1, 2]).with_constraints(cpu=1),
        cs.subflow(takes(1, "inner")().with_constraints(cpu=1)),
        one().with_constraints(cpu=cs.Param("cpu", 1)),
    ]

    async def main(loop: VirtualLoop) -> None:
        async with Engine(CSPSolver({"cpu": 1}), system_resources={"cpu": 1}) as engine:
            assert await engine.run(target) == ["done", "route", [1, 2], "inner", "one"]

    in_virtual_time(main)


def test_without_constraints_the_order_is_the_graph_s_own() -> None:
    assert CSPSolver({"cpu": 1}).solve(graph_of([takes(1)(), takes(2)()])) is None
    assert CSPSolver({"cpu": 1}).solve(graph_of([takes(1)().with_constraints(gpu=4)])) is None


def test_an_estimate_of_one_s_own() -> None:
    names = {"short": 1.0, "long": 5.0}

    async def noop() -> None: ...

    short, long = (cs.task(name=name)(noop) for name in names)
    graph = graph_of([*[short().with_constraints(cpu=1) for _ in range(5)], long().with_constraints(cpu=1)])
    order = CSPSolver({"cpu": 2}, estimate=lambda call: names[call.task.name]).solve(graph)
    assert order is not None
    assert 5 in [*order][:2]


class TestBadInput:
    def test_more_than_there_is(self) -> None:
        with pytest.raises(cs.ConstraintError, match=r"work \(declared at .*needs cpu=9, but CSPSolver was told of 4"):
            CSPSolver({"cpu": 4}).solve(graph_of([takes(1)().with_constraints(cpu=9)]))

    @pytest.mark.parametrize("capacity", [-1, "4", None, True, float("nan"), float("inf")])
    def test_a_capacity_that_is_none(self, capacity: Any) -> None:
        with pytest.raises(cs.ConstraintError, match="capacity of 'cpu'"):
            CSPSolver({"cpu": capacity})

    @pytest.mark.parametrize("limit", [0, -1, "5", True, float("inf")])
    def test_a_time_limit_that_is_none(self, limit: Any) -> None:
        with pytest.raises(cs.ConstraintError, match="time_limit is a number of seconds above zero"):
            CSPSolver({}, time_limit=limit)

    @pytest.mark.parametrize("workers", [0, 1.5, True])
    def test_workers_that_are_none(self, workers: Any) -> None:
        with pytest.raises(cs.ConstraintError, match="workers is a whole number of 1 or more"):
            CSPSolver({}, workers=workers)

    @pytest.mark.parametrize("tag", ["seconds:", "seconds:soon", "seconds:-1", "seconds:inf", "seconds:nan"])
    def test_a_tag_that_is_no_number(self, tag: str) -> None:
        call = cs.task(tags=[tag])(len)("abc")
        with pytest.raises(cs.ConstraintError, match=r"such as 'seconds:2\.5'"):
            seconds_of(call)

    @pytest.mark.parametrize("estimate", [-1, float("inf"), None, "1"])
    def test_an_estimate_that_is_none(self, estimate: Any) -> None:
        solver = CSPSolver({"cpu": 1}, estimate=lambda call: estimate)
        with pytest.raises(cs.ConstraintError, match=r"the estimate for work \(declared at"):
            solver.solve(graph_of(takes(1)().with_constraints(cpu=1)))

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
        with pytest.raises(cs.MissingExtraError, match=r"pip install cascade-py\[csp\]"):
            CSPSolver({"cpu": 1}).solve(graph_of(takes(1)().with_constraints(cpu=1)))
