"""Budgets: what agents may spend, in steps, seconds and costs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import cascade as cs
from cascade.testing import VirtualClock
from tests.workflows import Tier, Way, every_tier, every_way, run


@cs.task
async def turn(count: int, most: int = 1000) -> Any:
    await asyncio.sleep(0)
    return cs.Jump("on", count + 1) if count < most else count


@cs.task
async def pays(cost: float) -> float:
    cs.current().spend(cost)
    return cost


def looped(target: Any) -> Any:
    cs.bind(target, cs.select_jump({"on": target}))
    return target


class TestSteps:
    @every_way
    def test_are_the_entries_of_a_loop(self, way: Way) -> None:
        assert way.run(looped(turn(1, 5).with_budget(steps=5))) == 5
        with pytest.raises(cs.BudgetError) as caught:
            way.run(looped(turn(1).with_budget(steps=5)))
        told = str(caught.value)
        assert told.startswith("turn#1 (declared at ")
        assert told.endswith(") has used up its budget of 5 steps; spent so far: 5 steps, by turn#1 5 steps")

    @every_tier
    def test_count_in_all_states_of_a_loop(self, tier: Tier) -> None:
        @cs.task
        async def ping(count: int) -> Any:
            return cs.Jump("pong", count + 1)

        @cs.task
        async def pong(count: int) -> Any:
            return cs.Jump("ping", count + 1) if count < 100 else count

        first, second = ping(0).with_budget(steps=7), pong(0)
        selector = cs.select_jump({"ping": first, "pong": second})
        cs.bind(first, selector)
        cs.bind(second, selector)
        with pytest.raises(cs.BudgetError, match="7 steps, by ping#1 4 steps, pong#1 3 steps"):
            run(first, tier=tier)

    @every_tier
    def test_are_the_calls_inside_of_a_subflow(self, tier: Tier) -> None:
        @cs.task
        def adds(x: int) -> int:
            return x + 1

        def inner(steps: int) -> Any:
            return cs.subflow(adds(adds(adds(adds(1))))).with_budget(steps=steps)

        assert run(inner(4), tier=tier) == 5
        with pytest.raises(cs.BudgetError, match=r"budget of 3 steps; .* by adds#\d+ 1 step"):
            run(inner(3), tier=tier)

    def test_attempts_count(self) -> None:
        tries = []

        @cs.task(retry=5)
        async def fails() -> None:
            tries.append(1)
            raise ValueError("no")

        with pytest.raises(cs.BudgetError, match=r"fails#1 .* 3 steps"):
            run(fails().with_budget(steps=3))
        assert len(tries) == 3
        with pytest.raises(cs.BudgetError):
            run(cs.subflow(fails()).with_budget(steps=2))
        assert len(tries) == 5


class TestCost:
    @every_way
    def test_is_what_is_spent(self, way: Way) -> None:
        assert way.run(pays(3).with_budget(cost=3)) == 3
        with pytest.raises(
            cs.BudgetError, match=r"pays#1 .* a cost of 3; spent so far: 1 step and a cost of 4, by pays#1"
        ):
            way.run(pays(4).with_budget(cost=3))

    def test_without_a_budget_nothing_happens(self) -> None:
        assert run(pays(4)) == 4

    @every_tier
    def test_siblings_have_budgets_of_their_own_and_go_on(self, tier: Tier) -> None:
        mapped = pays.map(cost=[1, 5, 2], on_error="collect").with_budget(cost=3)
        first, second, third = run(mapped, tier=tier)
        assert (first, third) == (1, 2)
        assert isinstance(second.error, cs.BudgetError)
        assert "pays#1[1]" in str(second.error)

    @every_tier
    def test_names_who_spent_what_in_a_subflow(self, tier: Tier) -> None:
        inner = cs.subflow([pays(1), pays(2), pays(4)]).with_budget(cost=6)
        with pytest.raises(cs.BudgetError) as caught:
            run(inner, tier=tier)
        assert "a cost of 6; spent so far: 3 steps and a cost of 7, by pays#3 1 step and a cost of 4, pays#2" in str(
            caught.value
        )

    def test_is_spent_in_threads_and_loops_and_maps(self) -> None:
        @cs.task(mode="blocking")
        def in_thread(cost: float) -> float:
            cs.current().spend(cost)
            return cost

        @cs.task
        async def agent(count: int) -> Any:
            cs.current().spend(1)
            return cs.Jump("on", count + 1) if count < 10 else count

        with pytest.raises(cs.BudgetError, match=r"a cost of 2\.5"):
            run(cs.subflow(in_thread.map(cost=[1, 1, 1])).with_budget(cost=2.5))
        found = run(looped(agent.map(count=[8, 5, 7], on_error="collect").with_budget(cost=4)))
        assert (found[0], found[2]) == (10, 10)
        assert "agent#1[1] 5 steps and a cost of 5" in str(found[1].error)

    @every_tier
    def test_of_a_whole_run(self, tier: Tier) -> None:
        target = [pays(cs.Param("n", type=float)), pays(2)]

        async def main(n: float, **budget: float) -> Any:
            async with cs.Engine(tier=tier) as engine:
                await engine.start(target, {"n": n}, budget=budget)
                return await engine.run(target, {"n": n}, budget=budget, run_id="whole")

        assert asyncio.run(main(3, cost=5, steps=2)) == [3, 2]
        told = r"run 'run-.*' has used up its budget of a cost of 5; spent so far: 2 steps and a cost of 6, by pays#1 1"
        with pytest.raises(cs.BudgetError, match=told):
            asyncio.run(main(4, cost=5))
        with pytest.raises(cs.BudgetError, match="1 steps"):
            asyncio.run(main(1, steps=1))
        with pytest.raises(cs.BudgetError):
            cs.run(target, {"n": 4}, budget={"cost": 5}, log_level="SILENT")
        with pytest.raises(cs.BudgetError):
            asyncio.run(cs.arun(target, {"n": 4}, budget={"cost": 5}))

    @pytest.mark.parametrize("budget", [{}, {"seconds": 3}, 5, {"steps": 0}])
    def test_of_a_run_that_makes_no_sense(self, budget: Any) -> None:
        with pytest.raises((TypeError, ValueError), match="budget"):
            cs.run(pays(1), budget=budget, log_level="SILENT")

    def test_is_never_tried_again(self) -> None:
        tries = []

        @cs.task(retry=5)
        async def spends() -> None:
            tries.append(1)
            cs.current().spend(2)

        with pytest.raises(cs.BudgetError):
            run(spends().with_budget(cost=1))
        with pytest.raises(cs.BudgetError):
            run(cs.subflow(spends()).with_budget(cost=1).with_retry(3))
        assert len(tries) == 2

    def test_failed_attempts_have_spent_too(self) -> None:
        @cs.task(retry=5)
        async def fails() -> None:
            cs.current().spend(2)
            raise ValueError("no")

        with pytest.raises(cs.BudgetError, match="a cost of 5; spent so far: 3 steps and a cost of 6"):
            run(fails().with_budget(cost=5))

    @pytest.mark.parametrize("cost", [-1, float("nan"), float("inf")])
    def test_makes_no_sense(self, cost: float) -> None:
        with pytest.raises(ValueError, match="spend"):
            run(pays(cost))
        with pytest.raises(TypeError, match="spend"):
            run(pays("1"))

    def test_in_a_process_it_is_refused(self) -> None:
        with pytest.raises(RuntimeError, match="in a process of its own"):
            run(pays_elsewhere())


@cs.task(mode="process")
def pays_elsewhere() -> None:
    cs.current().spend(1)


class TestSeconds:
    @every_tier
    def test_are_those_in_which_it_runs(self, tier: Tier) -> None:
        async def main() -> None:
            async with cs.Engine(tier=tier) as engine:
                await engine.run(sleeps(10).with_budget(seconds=5))

        with pytest.raises(cs.BudgetError, match=r"sleeps#1 .* 5 s of running time"):
            VirtualClock().run(main())

    def test_count_over_all_entries_of_a_loop(self) -> None:
        @cs.task
        async def naps(count: int) -> Any:
            await asyncio.sleep(2)
            return cs.Jump("on", count + 1) if count < 5 else count

        clock = VirtualClock()
        with pytest.raises(cs.BudgetError):
            clock.run(looped(naps(1).with_budget(seconds=7)))
        assert clock.elapsed == 7
        assert VirtualClock().run(looped(naps(1).with_budget(seconds=11))) == 5

    def test_waits_in_channels_and_between_attempts_do_not_count(self) -> None:
        @cs.task
        async def hears(count: int) -> Any:
            await asyncio.sleep(1)
            left = await cs.channel("x").receive()
            return cs.Jump("on", count + 1) if left else count

        @cs.task
        async def tells() -> None:
            for left in (2, 1, 0):
                await asyncio.sleep(100)
                await cs.channel("x").send(left)

        assert VirtualClock().run([looped(hears(1).with_budget(seconds=4)), tells()]) == [3, None]
        with pytest.raises(cs.BudgetError):
            VirtualClock().run([looped(hears(1).with_budget(seconds=2.5)), tells()])

        tries = []

        @cs.task(retry={"max_attempts": 3, "delay": 50})
        async def flaky() -> int:
            tries.append(1)
            await asyncio.sleep(1)
            if len(tries) < 3:
                raise ValueError("again")
            return 3

        assert VirtualClock().run(flaky().with_budget(seconds=4)) == 3

    def test_are_for_all_of_a_subflow(self) -> None:
        clock = VirtualClock()
        with pytest.raises(cs.BudgetError, match="6 s of running time"):
            clock.run(cs.subflow(cs.sequence([sleeps(5), sleeps(5)])).with_budget(seconds=6))
        assert clock.elapsed == 6

    def test_a_body_that_holds_the_event_loop_is_late_by_the_clock(self) -> None:
        @cs.task
        async def holds() -> None:
            time.sleep(0.05)

        with pytest.raises(cs.BudgetError):
            run(holds().with_budget(seconds=0.01))

    def test_a_timeout_ends_an_attempt_before(self) -> None:
        with pytest.raises(TimeoutError):
            VirtualClock().run(sleeps(10).with_budget(seconds=5).with_timeout(2))


@cs.task
async def sleeps(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


class TestDeclared:
    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({}, TypeError),
            ({"steps": 0}, ValueError),
            ({"steps": 1.5}, TypeError),
            ({"seconds": 0}, ValueError),
            ({"cost": -1}, ValueError),
            ({"cost": "1"}, TypeError),
            ({"max_steps": 3}, TypeError),
        ],
    )
    def test_what_makes_no_sense(self, options: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error, match="with_budget"):
            sleeps(1).with_budget(**options)

    def test_it_is_shown_and_written_down(self) -> None:
        target = sleeps(0).with_budget(steps=3, cost=2.5)
        assert "budget of steps 3, cost 2.5" in str(cs.dry_run(target))
        again = cs.from_json(cs.to_json(target), allow=["tests"])
        assert str(again.config.budget) == "steps 3, cost 2.5"
        assert run(again) == 0

    def test_a_run_without_one_knows_nothing_of_it(self) -> None:
        from tests.helpers import run_python

        run_python(
            "import sys, cascade as cs\n"
            "f = cs.task(lambda x: x + 1)\n"
            "assert cs.run(f(1), log_level='SILENT') == 2\n"
            "assert not [name for name in sys.modules if 'budget' in name or 'runtime.channels' in name]\n"
        )
