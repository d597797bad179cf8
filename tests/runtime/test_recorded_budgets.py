"""Budgets in runs that are recorded: what was spent is spent, also when the run goes on in another process."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from tests.workflows import Tier, every_tier, in_loop

broken: list[int] = []
"""Agents fail when they come to these numbers, once each."""


@pytest.fixture
def store(tmp_path: Path) -> str:
    broken.clear()
    return str(tmp_path / "kept" / "runs.db")


def go_on(target: Any, store: str | None, tier: Tier = "auto", durability: Any = "group", **options: Any) -> Any:
    """Start the same run, or have it go on; without a store, start it by itself."""
    kept: Any = {} if store is None else {"state_backend": store, "durability": durability}

    async def main() -> Any:
        async with Engine(tier=tier, **kept) as engine:
            return await engine.run(target, run_id="r", **options)

    return in_loop(main)


def accounts(store: str) -> int:
    """Return how many records there are of what agents have spent."""
    with closing(sqlite3.connect(store)) as db:
        return int(db.execute("SELECT count(*) FROM steps WHERE kind = 'accounted'").fetchone()[0])


def breaks(number: int) -> None:
    if number in broken:
        broken.remove(number)
        raise OSError(f"broken at {number}")


@cs.task
async def thinks(thoughts: int = 0, most: int = 100) -> Any:
    cs.current().spend(3)
    breaks(thoughts)
    return cs.Jump("more", {"thoughts": thoughts + 1}) if thoughts < most else thoughts


@cs.task
def works(number: int) -> int:
    cs.current().spend(1)
    breaks(number)
    return number


def agent(most: int = 100, **budget: Any) -> Any:
    state = thinks(0, most)
    return cs.bind(state, cs.select_jump({"more": state})).with_budget(**budget)


@every_tier
@pytest.mark.parametrize("durability", ["group", "each", "exit"])
def test_they_mean_what_they_mean_in_other_runs(store: str, tier: Tier, durability: Any) -> None:
    inner = cs.subflow(works(works(1)))
    for make in (
        lambda: agent(4, cost=100, steps=10),
        lambda: agent(cost=20),
        lambda: agent(steps=7),
        lambda: works.map(number=range(5)).with_budget(cost=1),
        lambda: inner.with_budget(steps=2),
        lambda: inner.with_budget(cost=1),
    ):
        found: list[Any] = []
        for kept in (None, f"{store}-{len(found)}"):
            try:
                found.append(go_on(make(), kept, tier, durability))
            except cs.BudgetError as error:
                found.append(str(error))
            Path(f"{store}-0").unlink(missing_ok=True)
        assert found[0] == found[1]


@every_tier
def test_what_a_loop_has_spent_is_spent_when_the_run_goes_on(store: str, tier: Tier) -> None:
    broken.extend([2, 4])
    for at in (2, 4):
        with pytest.raises(OSError, match=f"broken at {at}"):
            go_on(agent(cost=30, steps=100), store, tier)
    with pytest.raises(cs.BudgetError, match=r"budget of a cost of 30; spent so far: 11 steps and a cost of 33, by t"):
        go_on(agent(cost=30, steps=100), store, tier)  # of which two entries were called twice


def test_steps_count_over_all_starts(store: str) -> None:
    broken.extend([7] * 3)
    target = works(7).with_retry(2, delay=0).with_budget(steps=3)
    with pytest.raises(OSError, match="broken at 7"):
        go_on(target, store)
    with pytest.raises(cs.BudgetError, match="budget of 3 steps; spent so far: 3 steps and a cost of 3"):
        go_on(target, store)
    with pytest.raises(cs.BudgetError, match="budget of 3 steps"):
        go_on(target, store)
    assert go_on(works(7).with_retry(2, delay=0).with_budget(steps=4), None) == 7


def test_running_time_counts_over_all_starts(store: str) -> None:
    @cs.task
    async def takes() -> None:
        await asyncio.sleep(0.05)
        raise OSError("broken")

    errors = []
    for _ in range(3):
        with pytest.raises((OSError, cs.BudgetError)) as caught:
            go_on(takes().with_budget(seconds=0.12), store)
        errors.append(type(caught.value))
    assert errors[-1] is cs.BudgetError


def test_each_item_goes_on_with_its_own(store: str) -> None:
    broken.append(3)
    target = works.map(number=range(5), concurrency=1).with_budget(steps=2, cost=2)
    with pytest.raises(OSError, match="broken at 3"):
        go_on(target, store)
    assert accounts(store) == 1
    assert go_on(target, store) == [0, 1, 2, 3, 4]
    assert accounts(store) == 0


def test_a_subflow_goes_on_with_what_its_steps_have_spent(store: str) -> None:
    broken.append(2)
    target = cs.subflow([works(1), works(2).after(works(1))]).with_budget(cost=3)
    with pytest.raises(OSError, match="broken at 2"):
        go_on(target, store)
    with pytest.raises(cs.BudgetError, match="a cost of 4"):
        go_on(cs.subflow([works(1), works(2).after(works(1))]).with_budget(cost=3), store)


def test_a_whole_run_goes_on_with_what_it_has_spent(store: str) -> None:
    broken.append(2)
    first = works(1)
    target = [first, works(2).after(first)]
    with pytest.raises(OSError, match="broken at 2"):
        go_on(target, store, budget={"cost": 5, "steps": 3})
    assert go_on(target, store, budget={"cost": 5, "steps": 3}) == [1, 2]


def test_a_whole_run_that_has_spent_all_goes_on_with_more(store: str) -> None:
    broken.append(2)
    first = works(1)
    target = [first, works(2).after(first)]
    with pytest.raises(OSError, match="broken at 2"):
        go_on(target, store, budget={"steps": 2})
    with pytest.raises(cs.BudgetError, match="run 'r' has used up its budget of 2 steps"):
        go_on(target, store, budget={"steps": 2})
    assert go_on(target, store, budget={"steps": 3}) == [1, 2]


def test_agents_that_talk_have_budgets(store: str) -> None:
    @cs.task
    async def asks() -> int:
        await cs.channel("questions").send(1)
        cs.current().spend(2)
        answer = await cs.channel("answers").receive()
        breaks(9)
        return int(answer)

    @cs.task
    async def answers() -> None:
        await cs.channel("answers").send(41 + await cs.channel("questions").receive())

    broken.append(9)
    target = [asks().with_budget(cost=4), answers()]
    with pytest.raises(OSError, match="broken at 9"):
        go_on(target, store)
    assert go_on(target, store) == [42, None]
