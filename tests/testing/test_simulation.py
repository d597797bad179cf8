"""Simulations: what chance decides is drawn from the seed, and nothing else decides."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.events import RunStarted, TaskRetrying
from cascade.testing import Faults, Simulation, explore, simulate
from tests.helpers import run_python
from tests.oracle import TooLong, Unspecified
from tests.strategies import Each, Recipe, build, recipes
from tests.test_agreement import compare, expected_of, observe, thorough
from tests.workflows import TIERS, Body, Tier, every_body, every_tier, notes_of

MANY = """
import asyncio, random
import cascade as cs
from cascade.runtime import Engine
from cascade.testing import Faults, simulate

@cs.task
async def fetch(x):
    await asyncio.sleep(random.random())
    return {x, str(x)}

@cs.task(mode="blocking")
def count(given):
    return len(given)

@cs.task
def total(counts):
    return sum(counts)

@cs.task
def step(left, seen):
    return cs.Jump("again" if left else "exit", {"left": left - 1, "seen": [*seen, left]} if left else seen)

def flow():
    loop = step(4, [])
    cs.bind(loop, cs.select_jump({"again": loop, "exit": None}))
    counts = [count(fetch(x).with_retry(9, delay=5, jitter=0.5).with_timeout(0.9)) for x in range(5)]
    return [total(counts), loop, count.map(given=fetch.map(x=range(4), concurrency=2).with_retry(9))]

async def main(engine):
    engine.set_limit("task:count", rate="2/s", concurrency=2)
    return await asyncio.gather(*(engine.run(flow()) for _ in range(3)), return_exceptions=True)

def log(seed):
    faults = Faults().fail("fetch", OSError, chance=0.2).delay("count", 3, chance=0.3)
    with simulate(seed, faults=faults) as simulation:
        engine = Engine()
        simulation.run(main(engine))
    return simulation.log
"""


def many() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(MANY, "many.py", "exec"), names)
    return names


# --- the same seed


def test_the_same_seed_gives_the_same_log_byte_for_byte_a_hundred_times() -> None:
    log = many()["log"]
    first = log(7).encode()
    assert first.count(b"\n") > 100
    assert b'"TaskRetrying"' in first
    assert b'"TaskBlocked"' in first
    for _ in range(99):
        assert log(7).encode() == first


def test_it_gives_the_same_log_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = set()
    for hashes in ("1", "2"):  # the order of sets of strings
        monkeypatch.setenv("PYTHONHASHSEED", hashes)
        logs.add(run_python(MANY + "\nprint(log(7), end='')"))
    assert len(logs) == 1


def test_others_give_other_orders() -> None:
    log = many()["log"]
    assert len({log(seed) for seed in range(10)}) == 10


def test_what_functions_were_found_to_take_plays_no_part() -> None:
    """A function that is known to be short runs in place, outside of simulations."""

    @cs.task
    def short(x: int) -> int:
        return x

    def log() -> str:
        with simulate(3) as simulation:
            simulation.run([short(x) for x in range(5)])
        return simulation.log

    first = log()
    for _ in range(5):
        cs.run([short(x) for x in range(5)], log_level="SILENT")
    assert short.func(1) == 1
    assert log() == first


@every_tier
def test_cancelled_siblings_end_in_the_same_order(tier: Tier) -> None:
    """Sets of asyncio tasks have an order of their own in each process."""

    @cs.task
    async def wait(x: int) -> int:
        await asyncio.sleep(100 if x else 1)
        if not x:
            raise ValueError("first")
        return x

    def log() -> str:
        with simulate(1) as simulation, pytest.raises(ValueError, match="first"):
            simulation.run(Engine(tier=tier).run([wait(x) for x in range(20)]))
        return simulation.log

    assert len({log() for _ in range(10)}) == 1


def test_the_global_generator_is_seeded_and_put_back() -> None:
    random.seed(5)
    expected = [random.random() for _ in range(2)]
    random.seed(5)
    assert random.random() == expected[0]
    drawn = []
    for _ in range(2):
        with simulate(9):
            drawn.append(random.random())
    assert random.random() == expected[1]
    assert drawn[0] == drawn[1]


def test_ids_of_runs_and_events_are_counted() -> None:
    with simulate() as simulation:
        for _ in range(2):
            simulation.run(cs.task(lambda: 1)())
        with_name = Engine().run(cs.task(lambda: 1)(), run_id="mine")
        simulation.run(with_name)
    runs = [event.run_id for event in simulation.events if isinstance(event, RunStarted)]
    assert runs == ["run-1", "run-2", "mine"]
    ids = [(event.run_id, event.event_id) for event in simulation.events]
    assert len(set(ids)) == len(ids) == 12


# --- what is drawn


@every_body
@every_tier
def test_all_orders_of_what_is_ready_together(body: Body, tier: Tier) -> None:
    ends: Counter[tuple[int, ...]] = Counter()
    for seed in range(150):
        called: list[int] = []
        noted = body(called.append)
        with simulate(seed) as simulation:
            simulation.run(Engine(tier=tier).run([noted(x) for x in range(3)]))
        ends[tuple(called)] += 1
    assert len(ends) == 6
    assert min(ends.values()) >= 5


def test_tasks_of_ones_own_are_drawn_too() -> None:
    seen = set()

    async def main() -> None:
        order: list[int] = []

        async def work(x: int) -> None:
            order.append(x)

        async with asyncio.TaskGroup() as group:
            for x in range(3):
                group.create_task(work(x))
        seen.add(tuple(order))

    for seed in range(100):
        simulate(seed).run(main())
    assert len(seen) == 6


def test_callbacks_that_are_no_tasks_keep_their_order() -> None:
    async def main() -> None:
        called: list[int] = []
        loop = asyncio.get_running_loop()
        for x in range(20):
            loop.call_soon(called.append, x)
        await asyncio.sleep(1)
        assert called == list(range(20))

    for seed in range(20):
        simulate(seed).run(main())


def test_blocking_functions_may_have_loops_of_their_own() -> None:
    @cs.task(mode="blocking")
    def work() -> str:
        return asyncio.run(asyncio.sleep(5, "done"))

    with simulate() as simulation:
        assert simulation.run(work()) == "done"
    assert simulation.elapsed == 5


def test_processes_and_to_thread_happen_here() -> None:
    seen: list[int] = []

    @cs.task(mode="process")
    def work(x: int) -> int:
        seen.append(x)  # seen here, so it was no other process
        return x + 1

    async def failing() -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    with simulate() as simulation:
        assert simulation.run(work(1)) == 2
        simulation.run(failing())
    assert seen == [1]


def test_waits_of_equal_length_are_drawn_but_time_goes_on_in_order() -> None:
    async def main() -> None:
        ends: list[float] = []

        async def work(seconds: float) -> None:
            await asyncio.sleep(seconds)
            ends.append(seconds)

        await asyncio.gather(*(work(seconds) for seconds in (3, 1, 2, 1, 3)))
        assert ends == [1, 1, 2, 3, 3]

    for seed in range(20):
        simulate(seed).run(main())


# --- finding mistakes


def planted(order_matters: bool) -> Any:
    """A flow that forgets to say that it must look behind the payment."""
    account: dict[str, int] = {}

    @cs.task
    def open_account() -> str:
        account["balance"] = 0
        return "account"

    @cs.task
    async def pay(name: str) -> None:
        account["balance"] += 10

    @cs.task
    def balance(name: str) -> int:
        return account["balance"]

    opened = open_account()
    paid, looked = pay(opened), balance(opened)
    if not order_matters:
        looked.after(paid)
    return [paid, looked]


def test_a_planted_ordering_mistake_is_found_within_200_seeds() -> None:
    def check(simulation: Simulation) -> None:
        assert simulation.run(planted(order_matters=True)) == [None, 10]

    assert cs.run(planted(order_matters=True), log_level="SILENT") == [None, 10]
    with pytest.raises(AssertionError) as found:
        explore(check, seeds=200)
    [note] = notes_of(found.value)
    assert note.startswith("in simulate(seed=")
    seed = int(note.split("=")[1].split(")")[0])
    with pytest.raises(AssertionError), simulate(seed) as simulation:
        check(simulation)


def test_so_is_a_lost_update() -> None:
    async def check(simulation: Simulation) -> None:
        stock = {"tea": 0}

        @cs.task
        async def restock(x: int) -> None:
            before = stock["tea"]
            await asyncio.sleep(0)
            stock["tea"] = before + 1

        async with Engine() as engine:
            await engine.run([restock(x) for x in range(2)])
        assert stock["tea"] == 2

    with pytest.raises(AssertionError):
        explore(check, seeds=200)


def test_the_same_flow_with_its_order_passes() -> None:
    def check(simulation: Simulation) -> None:
        assert simulation.run(planted(order_matters=False)) == [None, 10]

    explore(check, seeds=200)


def test_faults_are_drawn_by_the_seed_and_anew_in_each() -> None:
    faults = Faults().fail("work", OSError, chance=0.5)

    @cs.task
    def work() -> None:
        pass

    def retries(seed: int) -> int:
        with simulate(seed, faults=faults) as simulation:
            simulation.run(work().with_retry(100, delay=1))
        return sum(isinstance(event, TaskRetrying) for event in simulation.events)

    counts = [retries(seed) for seed in range(30)]
    assert counts == [retries(seed) for seed in range(30)]
    assert len(set(counts)) > 2


def test_a_seed_is_a_number() -> None:
    with pytest.raises(TypeError, match="whole number"):
        simulate("7")  # type: ignore[arg-type]


@thorough
@given(recipe=recipes(), tier=st.sampled_from(TIERS), seed=st.integers(0, 1 << 32))
def test_random_programs_mean_the_same_in_any_order(recipe: Recipe, tier: Tier, seed: int) -> None:
    if any(isinstance(step, Each) and step.body.kind == "turning" for step in recipe.steps):
        return  # what its items give depends on their order
    try:
        report, bodies = expected_of(recipe)
    except (Unspecified, TooLong):
        return
    logs = []
    for _ in range(2):
        with simulate(seed) as simulation:
            seen = observe(build(recipe), tier)
        compare(report, bodies, seen, watched=True)
        logs.append(simulation.log)
    assert logs[0] == logs[1]
