"""What a run needs to know is made once for a target, and for a container of targets that is asked for again."""

from __future__ import annotations

import asyncio
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.solvers.native import NativeSolver
from cascade.runtime.plans.plan import Plan, prepare
from tests.workflows import Tier, every_tier, run

Pair = namedtuple("Pair", "first second")
SOLVER = NativeSolver()


@cs.task(mode="inline")
def inc(x: int) -> int:
    return x + 1


def plan(target: Any) -> Plan:
    found = prepare(target, SOLVER)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "around",
    [
        lambda a, b: [a, b],
        lambda a, b: (a, b),
        lambda a, b: {"a": a, "b": b},
        lambda a, b: Pair(a, b),
        lambda a, b: {"both": [a, {"b": b}], "none": "of them"},
        lambda a, b: [[[["deep", a]]], 5, b],
    ],
)
def test_a_container_that_asks_for_the_same_has_the_same_plan(around: Callable[[Any, Any], Any]) -> None:
    one, other = inc(1), inc(cs.Param("x", type=int))
    known = plan(around(one, other))
    assert plan(around(one, other)) is known
    assert plan(around(other, one)) is not known
    assert plan(around(one, inc(2))) is not known


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda a: [a], lambda a: (a,)),
        (lambda a: [a], lambda a: [a, a]),
        (lambda a: [a, 1], lambda a: [a, True]),
        (lambda a: [a, 1.5], lambda a: [a, 2.5]),
        (lambda a: [a, [a]], lambda a: [a, [a, a]]),
        (lambda a: [a, [a]], lambda a: [a, a]),
        (lambda a: {"x": a}, lambda a: {"y": a}),
        (lambda a: {1: a}, lambda a: {True: a}),
        (lambda a: {"x": a, "y": 1}, lambda a: {"y": 1, "x": a}),
    ],
)
def test_containers_that_differ_have_plans_of_their_own(one: Callable[[Any], Any], other: Callable[[Any], Any]) -> None:
    lazy = inc(1)
    assert plan(one(lazy)) is not plan(other(lazy))
    for around in (one, other, one):
        found, given = run(around(lazy)), run(around(2))
        assert repr(found) == repr(given)


def test_a_result_and_a_container_with_it_have_a_plan_each() -> None:
    lazy = inc(1)
    together, alone = plan([lazy]), plan(lazy)
    assert plan([lazy]) is together is not alone
    assert plan(lazy) is alone


@every_tier
def test_a_list_that_was_changed_is_run_as_it_is_now(tier: Tier) -> None:
    target: list[Any] = [inc(1), [inc(2)]]
    assert run(target, tier=tier) == [2, [3]]
    target.append(inc(3))
    assert run(target, tier=tier) == [2, [3], 4]
    target[1].append(inc(4))
    assert run(target, tier=tier) == [2, [3, 5], 4]
    target[0] = 7
    assert run(target, tier=tier) == [7, [3, 5], 4]


@every_tier
def test_what_is_configured_later_is_seen_in_a_container(tier: Tier) -> None:
    lazy = inc(1)
    target = {"x": lazy, "y": inc(lazy)}
    assert run(target, tier=tier) == {"x": 2, "y": 3}
    lazy.run_if(False, otherwise=10)
    assert run(target, tier=tier) == {"x": 10, "y": 11}


def test_each_run_gives_a_container_of_its_own() -> None:
    target = [inc(1), inc(2)]
    first, second = run(target), run(target)
    assert first == second == [2, 3]
    assert first is not second


@pytest.mark.parametrize("first", [cs.Router(cs.Param("x"), {"a": inc(1)}), cs.Param("x"), inc.map(x=[1, 2])])
def test_whatever_lazy_value_comes_first(first: Any) -> None:
    known = plan([5, first, inc(1)])
    assert plan([5, first, inc(1)]) is not known
    lazy = inc(1)
    known = plan([5, first, lazy])
    assert plan([5, first, lazy]) is known
    assert plan(first) is not known
    assert plan([5, first, lazy]) is known


def test_a_solver_has_a_plan_of_its_own() -> None:
    target = [inc(1)]
    assert prepare(target, SOLVER) is not prepare(target, NativeSolver())


def test_a_compiled_flow_of_a_container_is_built_once_and_becomes_a_function() -> None:
    flow = cs.compile(
        {"x": inc(cs.Param("x", type=int)), "y": inc(inc(cs.Param("x", type=int)))}, engine=cs.Engine(tier="compile")
    )

    async def main() -> None:
        for x in range(3):
            assert await flow(x=x) == {"x": x + 1, "y": x + 2}

    asyncio.run(main())
    assert flow.blueprint.root.uses == 3
    [fused] = flow.blueprint.root.fused.values()
    assert fused.whole is not None
