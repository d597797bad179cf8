"""What calls take, in place and in emitted functions: a resource that is there already is a value like any other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.transition_profile import profile_of
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import (
    ResourceAcquired,
    ResourceReleased,
    TaskExecutionFinished,
    TaskExecutionStarted,
)
from cascade.testing import override_resource
from tests.workflows import Tier, every_tier, in_loop, inline, run, turns

SPELLINGS = ["default", "keyword", "place"]
every_spelling = pytest.mark.parametrize("spelling", SPELLINGS)
every_scope = pytest.mark.parametrize("scope", ["run", "engine", "task"])


class Steps:
    """A resource that counts how often it was set up and torn down, and tasks that add it."""

    def __init__(self, scope: Any, is_async: bool = False) -> None:
        self.up = self.down = 0

        def thing() -> Iterator[int]:
            self.up += 1
            yield 2
            self.down += 1

        async def async_thing() -> AsyncIterator[int]:
            self.up += 1
            yield 2
            self.down += 1

        self.resource = cs.resource(scope=scope, name="step")(async_thing if is_async else thing)

        def add(x: int, step: Any = cs.inject(self.resource)) -> int:
            return int(x + step)

        def plus(x: int, step: Any) -> int:
            return int(x + step)

        self.add, self.plus = inline(add), inline(plus)

    def declare(self, spelling: str, x: Any) -> Any:
        if spelling == "default":
            return self.add(x=x)
        if spelling == "keyword":
            return self.plus(x=x, step=cs.inject(self.resource))
        return self.plus(x, cs.inject(self.resource))

    def chain(self, spelling: str, n: int = 4) -> Any:
        value: Any = cs.Param("x", default=0)
        for _ in range(n):
            value = self.declare(spelling, value)
        return value


def loop(value: Any, n: int = 40) -> Any:
    def go_on(n: int, total: int) -> Any:
        return cs.Jump("again", {"n": n - 1}) if n > 1 else total

    step = inline(go_on)(n, value)
    return cs.bind(step, cs.select_jump({"again": step}))


def loops_of(target: Any) -> list[Any]:
    return [hot.loop for hot in profile_of(target.plan.blueprint).made.values() if hot]


@every_tier
@every_scope
@every_spelling
@pytest.mark.parametrize("is_async", [False, True])
def test_a_resource_is_set_up_as_often_as_its_scope_says(tier: Tier, scope: str, spelling: str, is_async: bool) -> None:
    steps = Steps(scope, is_async)
    chain, turning = steps.chain(spelling), loop(steps.chain(spelling))

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(3):
                assert await engine.run(chain) == 8
                assert await engine.run(turning) == 8
        assert steps.up == steps.down == {"run": 6, "engine": 1, "task": 3 * (4 + 4 * 40)}[scope]

    in_loop(main)
    if scope != "task" and tier != "interpret":
        (made,) = loops_of(turning)
        assert len(made.taken) == (1 if spelling == "default" else 4)  # one for all that ask by the same default


@every_tier
def test_loops_of_one_shape_have_each_what_is_theirs(tier: Tier) -> None:
    one, other = Steps("run"), Steps("run")
    other.resource.name = "other"

    def plus(x: int, step: Any, more: Any) -> int:
        return int(x + step + more)

    task = inline(plus)
    two, ten = cs.inject(one.resource), cs.inject("ten")

    @cs.resource(name="ten")
    def ten_of() -> Iterator[int]:
        yield 10

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            engine.register(ten_of)
            for given in ((two, two), (two, ten), (ten, two), (1, ten), (ten, ten), (1, 1)):
                expected = sum({id(two): 2, id(ten): 10}.get(id(each), 1) for each in given)
                assert await engine.run(loop(task(0, *given))) == expected

    in_loop(main)


@every_tier
def test_one_that_stands_in_for_another_is_taken_in_its_place(tier: Tier) -> None:
    steps = Steps("run")
    target = loop(steps.chain("default"))

    @cs.resource(name="step", scope="task")
    def own() -> Iterator[int]:
        yield 5

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            assert await engine.run(target) == 8
            with override_resource(engine, "step", 3):
                assert await engine.run(target) == 12
            assert await engine.run(target, resources=[own]) == 20
            assert await engine.run(target) == 8

    in_loop(main)


@every_tier
def test_what_is_skipped_takes_nothing_and_sets_nothing_up(tier: Tier) -> None:
    steps = Steps("run")
    target = loop(steps.add(x=inline(lambda: 1)()).run_if(inline(lambda: False)()))
    assert run(target, tier=tier) == 1
    assert steps.up == 0


@every_tier
def test_a_route_that_is_taken_late_sets_up_what_it_needs(tier: Tier) -> None:
    steps = Steps("run")

    def way(n: int) -> bool:
        return n < 5

    def go_on(n: int, total: int) -> Any:
        return cs.Jump("again", {"n": n - 1}) if n > 1 else total

    @cs.task(mode="inline")
    def count_down(n: int) -> Any:
        return cs.Jump("next", n - 1) if n > 1 else "end"

    step = inline(go_on)(40, cs.Router(inline(way)(cs.Param("n", default=1)), {True: steps.add(x=1), False: 7}))
    target = cs.bind(step, cs.select_jump({"again": step}))
    assert run(target, tier=tier) == 3
    assert run(target, {"n": 9}, tier=tier) == 7
    assert steps.up == 1


@every_tier
@every_scope
@pytest.mark.parametrize("failing", [1, 2, 7, 100])
def test_a_failure_names_its_call_and_everything_is_torn_down(tier: Tier, scope: str, failing: int) -> None:
    steps, calls = Steps(scope), []

    def add(x: int, step: Any = cs.inject(steps.resource)) -> int:
        calls.append(x)
        if len(calls) == failing:
            raise ValueError(f"call {failing}")
        return int(x + step)

    task = inline(add)
    target = loop(task(x=task(x=task(x=0))))
    with pytest.raises(ValueError, match=f"call {failing}") as caught:
        run(target, tier=tier)
    (note,) = caught.value.__notes__
    assert note.startswith(f"in task add#{(failing - 1) % 3 + 1} (declared at ")
    assert note.endswith(f", iteration {(failing - 1) // 3}, attempt 1")
    assert len(calls) == failing
    assert steps.up >= 1

    calls.clear()
    again = loop(task(x=task(x=task(x=0).with_retry(2)).with_retry(2)).with_retry(2))
    assert run(again, tier=tier) == 6
    assert len(calls) == 3 * 40 + 1


@every_tier
def test_a_function_may_give_a_signal_or_a_coroutine(tier: Tier) -> None:
    steps = Steps("run")

    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x

    def add(x: int, step: Any = cs.inject(steps.resource)) -> Any:
        return later(x + step) if x % 4 else x + step

    def count(n: int, step: Any = cs.inject(steps.resource)) -> Any:
        return cs.TailCall([n - step]) if n > 0 else n

    task = inline(add)
    assert run(loop(task(x=task(x=task(x=0)))), tier=tier) == 6
    assert run(loop(task(x=inline(count)(20))), tier=tier) == 2


@every_tier
def test_all_is_told_as_ever(tier: Tier) -> None:
    told: list[Any] = []
    bus = MessageBus()
    for kind in (TaskExecutionStarted, TaskExecutionFinished, ResourceAcquired, ResourceReleased):
        bus.subscribe(kind, lambda event: told.append((type(event).__name__, getattr(event, "task_id", ""))))
    steps = Steps("run")
    run(steps.chain("default", 3), tier=tier, bus=bus)
    calls = [(f"TaskExecution{what}", f"add#{n}") for n in (1, 2, 3) for what in ("Started", "Finished")]
    calls.insert(1, ("ResourceAcquired", ""))
    assert told == [*calls, ("ResourceReleased", "")]


# --- constraints


class Seats:
    """Tasks that hold one of the engine's seats, and how many were taken at a time."""

    def __init__(self) -> None:
        self.order: list[Any] = []
        self.inside = self.most = 0

        def plain(x: int) -> int:
            self.order.append(x)
            return x + 1

        async def slow(x: Any, turns: int) -> Any:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.order.append(x)
            for _ in range(turns):
                await asyncio.sleep(0)
            self.inside -= 1
            return x

        def given(x: Any, turns: int) -> Any:
            return slow(x, turns)

        self.plain, self.slow, self.given = inline(plain), cs.task(slow), inline(given)

    def chain(self, n: int = 4, **amounts: Any) -> Any:
        value: Any = cs.Param("x", default=0)
        for _ in range(n):
            value = self.plain(x=value).with_constraints(**(amounts or {"seat": 1}))
        return value


@every_tier
@pytest.mark.parametrize("amounts", [{}, {"seat": 1, "desk": 2}, {"nobody": 7}], ids=str)
def test_what_is_free_is_held_without_a_wait(tier: Tier, amounts: dict[str, int]) -> None:
    seats = Seats()
    chain, turning = seats.chain(**amounts), loop(seats.chain(**amounts))

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1, "desk": 2}) as engine:
            for _ in range(3):
                assert await engine.run(chain) == 4
                assert await engine.run(turning) == 4
            assert engine.admission.capacities.free == {"seat": 1, "desk": 2}

    in_loop(main)
    assert seats.order == [0, 1, 2, 3] * 3 * 41
    if tier != "interpret":
        assert len(loops_of(turning)[0].taken) == 1
    if tier == "compile":
        (fused,) = chain.plan.blueprint.root.fused.values()
        assert fused.whole is not None
        assert len(fused.whole.taken) == 1


@every_tier
def test_who_comes_first_is_served_first(tier: Tier) -> None:
    seats = Seats()
    firsts = [seats.slow(name, 3).with_constraints(seat=1) for name in "ab"]
    target = [*firsts, seats.plain(5).with_constraints(seat=1), seats.slow("c", 1).with_constraints(seat=1)]
    target.append(seats.plain(6).with_constraints(seat=1))

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            for _ in range(3):
                seats.order.clear()
                assert await engine.run(target) == ["a", "b", 6, "c", 7]
                assert seats.order == ["a", "b", 5, "c", 6]

    in_loop(main)
    assert seats.most == 1


@every_tier
def test_a_loop_waits_for_what_another_run_holds_and_takes_its_turn(tier: Tier) -> None:
    seats = Seats()
    turning, holding = loop(seats.chain(2), 60), [seats.slow(at, 5).with_constraints(seat=1) for at in range(4)]

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            for _ in range(3):
                others = engine.start(holding)
                await asyncio.sleep(0)
                assert await engine.run(turning) == 2
                assert await others == [0, 1, 2, 3]

    in_loop(main)
    assert seats.most == 1
    assert len(seats.order) == 3 * (4 + 2 * 60)


@every_tier
def test_a_coroutine_that_a_function_gives_holds_its_place(tier: Tier) -> None:
    seats = Seats()
    target = [task(at, 9).with_constraints(seat=1) for at, task in enumerate([seats.given, seats.slow] * 3)]
    turning = loop(seats.given(x=seats.given(x=0, turns=2).with_constraints(seat=1), turns=1).with_constraints(seat=1))

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            for _ in range(2):
                assert await engine.run(target) == list(range(6))
                others = engine.start(target)
                assert await engine.run(turning) == 0
                await others
            run = engine.start(target)
            await turns(4)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert engine.admission.capacities.free == {"seat": 1}

    in_loop(main)
    assert seats.most == 1


@every_tier
def test_a_failure_gives_back_what_it_held_and_is_tried_again(tier: Tier) -> None:
    failures: list[int] = []

    def shaky(x: int) -> int:
        failures.append(x)
        if len(failures) % 3 == 0:
            raise ValueError(f"call {len(failures)}")
        return x + 1

    def chain() -> Any:
        value: Any = 0
        for _ in range(4):
            value = inline(shaky)(x=value).with_constraints(seat=1).with_retry(2)
        return value

    chained, turning, failing = chain(), loop(chain()), loop(inline(shaky)(x=0).with_constraints(seat=1))

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            for _ in range(3):
                assert await engine.run(chained) == 4
                assert await engine.run(turning) == 4
            with pytest.raises(ValueError, match="call"):
                await engine.run(failing)
            assert engine.admission.capacities.free == {"seat": 1}

    in_loop(main)


@every_tier
def test_a_sub_flow_shares_what_it_holds(tier: Tier) -> None:
    seats = Seats()
    inner = cs.subflow(loop(seats.chain(2), 20), {"x": 0}).with_constraints(seat=1)

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            for _ in range(3):
                assert await engine.run([inner, seats.chain(2)]) == [2, 2]

    in_loop(main)


@every_tier
def test_a_limit_that_comes_under_way_is_kept(tier: Tier) -> None:
    seats = Seats()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            turning = loop(seats.chain(2), 40)
            assert await engine.run(turning) == 2
            engine.pause("task:plain")
            run = engine.start(turning)
            await turns(20)
            before = len(seats.order)
            await turns(20)
            assert len(seats.order) == before
            engine.resume("task:plain")
            assert await run == 2

    in_loop(main)


@every_tier
def test_a_condition_is_asked_once_and_what_is_skipped_needs_no_room(tier: Tier) -> None:
    seats, asked = Seats(), []

    class Doubt:
        def __bool__(self) -> bool:
            asked.append(self)
            return len(asked) % 2 == 0

    doubt = inline(lambda: Doubt())
    target = [seats.plain(x=doubtful).run_if(doubt()).with_constraints(seat=1) for doubtful in (1, 2)]

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            for at in range(3):
                with pytest.raises(cs.DependencyMissingError):
                    await engine.run(target)
                assert len(asked) == 2 * (at + 1)

    in_loop(main)


@every_tier
def test_calls_that_take_stand_among_coroutines(tier: Tier) -> None:
    seats, steps = Seats(), Steps("run")
    value: Any = 0
    for _ in range(3):
        value = steps.add(x=seats.plain(x=seats.slow(value, 1)).with_constraints(seat=1))
    flow, turning = seats.plain(x=seats.slow(seats.plain(x=0).with_constraints(seat=1), 1)), loop(value)

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            for _ in range(3):
                assert await engine.run(turning) == 9
                assert await engine.run(flow.with_constraints(seat=1)) == 2

    in_loop(main)
