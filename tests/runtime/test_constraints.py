"""Constraints: calls hold shares of named capacities, granted whole, first come first served."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import Event, TaskBlocked, TaskExecutionStarted
from cascade.runtime.limits import Capacities
from cascade.testing import SpySubscriber
from tests.workflows import Tier, every_tier, in_loop, run, turns


class Hall:
    """A task whose calls stay inside until they are let out, and what is known of them."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.most = 0
        self._doors: dict[str, asyncio.Event] = {}

        @cs.task
        async def enter(name: str) -> str:
            self.inside.append(name)
            self.most = max(self.most, len(self.inside))
            try:
                await self._doors.setdefault(name, asyncio.Event()).wait()
            finally:
                self.inside.remove(name)
            return name

        self.enter = enter

    async def let_out(self, name: str) -> None:
        self._doors.setdefault(name, asyncio.Event()).set()
        while name in self.inside:
            await asyncio.sleep(0)

    async def holds(self, *names: str) -> None:
        """Wait until these are inside, and see that no others come."""
        for _ in range(100_000):
            if self.inside == [*names]:
                break
            await asyncio.sleep(0)
        await turns()
        assert self.inside == [*names]


@every_tier
def test_no_more_run_at_once_than_fit(tier: Tier) -> None:
    hall = Hall()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 2}) as engine:
            names = ["a", "b", "c", "d"]
            run = engine.start([hall.enter(name).with_constraints(seat=1) for name in names])
            await hall.holds("a", "b")
            for name in names:
                await hall.let_out(name)
            assert await run == names

    in_loop(main)
    assert hall.most == 2


@every_tier
@pytest.mark.parametrize("mode", ["inline", "blocking", "auto"])
def test_a_map_whose_constraint_fits_one_item_at_a_time_finishes(mode: Any, tier: Tier) -> None:
    inside = most = 0

    @cs.task(mode=mode)
    def item(x: int) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        inside -= 1
        return x

    assert run(item.map(x=range(50)).with_constraints(seat=1), tier=tier, system_resources={"seat": 1}) == [*range(50)]
    assert most == 1


@every_tier
def test_each_item_of_a_map_holds_its_own_share(tier: Tier) -> None:
    hall = Hall()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 2}) as engine:
            run = engine.start(hall.enter.map(name=["a", "b", "c"]).with_constraints(seat=1))
            await hall.holds("a", "b")
            await hall.let_out("b")
            await hall.holds("a", "c")
            await hall.let_out("a")
            await hall.let_out("c")
            assert await run == ["a", "b", "c"]

    in_loop(main)


@every_tier
def test_a_task_has_constraints_for_all_its_calls_and_a_node_replaces_them(tier: Tier) -> None:
    @cs.task(constraints={"gpu": 3})
    def train() -> str:
        return "trained"

    with pytest.raises(cs.ConstraintError, match="gpu=3"):
        run(train(), tier=tier, system_resources={"gpu": 2})
    assert run(train().with_constraints(gpu=2), tier=tier, system_resources={"gpu": 2}) == "trained"


def test_a_second_with_constraints_replaces_the_first() -> None:
    target = cs.task(len)("abc").with_constraints(gpu=3).with_constraints(memory=1)
    assert run(target, system_resources={"gpu": 2, "memory": 2}) == 3


@every_tier
def test_who_waits_for_a_name_holds_back_who_comes_later_for_that_name_alone(tier: Tier) -> None:
    hall = Hall()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"gpu": 8, "memory": 4}) as engine:
            run = engine.start(
                [
                    hall.enter("first").with_constraints(gpu=6),
                    hall.enter("large").with_constraints(gpu=8),
                    hall.enter("small").with_constraints(gpu=1),
                    hall.enter("memory").with_constraints(memory=4),
                ]
            )
            await hall.holds("first", "memory")
            await hall.let_out("first")
            await hall.holds("memory", "large")
            await hall.let_out("large")
            await hall.holds("memory", "small")
            await hall.let_out("small")
            await hall.let_out("memory")
            assert await run == ["first", "large", "small", "memory"]

    in_loop(main)


@every_tier
def test_a_need_of_several_names_is_granted_whole_or_not_at_all(tier: Tier) -> None:
    """Two that each took one half and waited for the other's would wait for ever."""
    hall = Hall()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"left": 1, "right": 1}) as engine:
            run = engine.start(
                [
                    hall.enter("left").with_constraints(left=1),
                    hall.enter("one").with_constraints(left=1, right=1),
                    hall.enter("two").with_constraints(right=1, left=1),
                ]
            )
            await hall.holds("left")
            await hall.let_out("left")
            await hall.holds("one")
            await hall.let_out("one")
            await hall.holds("two")
            await hall.let_out("two")
            assert await run == ["left", "one", "two"]

    in_loop(main)


@every_tier
def test_names_without_a_capacity_are_unlimited(tier: Tier) -> None:
    hall = Hall()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"gpu": 1}) as engine:
            names = [str(number) for number in range(5)]
            run = engine.start([hall.enter(name).with_constraints(disk=1_000_000) for name in names])
            await hall.holds(*names)
            for name in names:
                await hall.let_out(name)
            await run

    in_loop(main)


@every_tier
def test_the_runs_of_an_engine_share_its_capacities(tier: Tier) -> None:
    hall = Hall()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            runs = [engine.start(hall.enter(name).with_constraints(seat=1)) for name in "abc"]
            for name in "abc":
                await hall.holds(name)
                await hall.let_out(name)
            assert [await run for run in runs] == ["a", "b", "c"]

    in_loop(main)


@every_tier
def test_each_entry_of_a_loop_holds_its_share_anew(tier: Tier) -> None:
    """Two loops with one seat for both go on in turns."""
    order: list[str] = []

    @cs.task
    async def step(name: str, n: int) -> cs.Jump:
        order.append(name)
        await asyncio.sleep(0)
        return cs.Jump("again" if n else "exit", {"n": n - 1} if n else name)

    def loop(name: str) -> Any:
        node = step(name, 2).with_constraints(seat=1)
        return cs.bind(node, cs.select_jump({"again": node, "exit": None}))

    assert run([loop("a"), loop("b")], tier=tier, system_resources={"seat": 1}) == ["a", "b"]
    assert order == ["a", "b"] * 3


@every_tier
def test_a_failing_call_gives_its_share_back(tier: Tier) -> None:
    @cs.task
    def fail() -> None:
        raise ValueError("broken")

    @cs.task
    def work() -> str:
        return "worked"

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            for _ in range(3):
                with pytest.raises(ValueError, match="broken"):
                    await engine.run(fail().with_constraints(seat=1))
            assert await engine.run(work().with_constraints(seat=1)) == "worked"

    in_loop(main)


@every_tier
def test_a_cancelled_call_gives_its_share_back_and_a_cancelled_wait_its_place(tier: Tier) -> None:
    hall = Hall()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 2}) as engine:
            holds = engine.start(hall.enter("holds").with_constraints(seat=1))
            waits = engine.start(hall.enter("waits").with_constraints(seat=2))
            late = engine.start(hall.enter("late").with_constraints(seat=1))
            await hall.holds("holds")
            waits.cancel()
            await hall.holds("holds", "late")
            holds.cancel()
            late.cancel()
            await asyncio.gather(holds, waits, late, return_exceptions=True)
            again = engine.start(hall.enter("again").with_constraints(seat=2))
            await hall.holds("again")
            await hall.let_out("again")
            assert await again == "again"

    in_loop(main)


def test_a_share_granted_to_a_wait_that_is_being_cancelled_is_not_lost() -> None:
    async def main() -> None:
        capacities = Capacities({"seat": 1})
        await capacities.acquire({"seat": 1}, lambda: None)
        waiting = asyncio.ensure_future(capacities.acquire({"seat": 1}, lambda: None))
        await turns()
        waiting.cancel()
        capacities.release({"seat": 1})
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(capacities.acquire({"seat": 1}, lambda: None), 30)

    in_loop(main)


def test_a_wait_that_is_cancelled_once_it_was_granted_gives_its_share_back() -> None:
    async def main() -> None:
        capacities = Capacities({"seat": 1})
        await capacities.acquire({"seat": 1}, lambda: None)
        waiting = asyncio.ensure_future(capacities.acquire({"seat": 1}, lambda: None))
        await turns()
        capacities.release({"seat": 1})
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(capacities.acquire({"seat": 1}, lambda: None), 30)

    in_loop(main)


def test_fractions_add_up() -> None:
    async def main() -> None:
        capacities = Capacities({"cpu": 1})
        for _ in range(100):
            for _ in range(10):
                await asyncio.wait_for(capacities.acquire({"cpu": 0.1}, lambda: None), 30)
            for _ in range(10):
                capacities.release({"cpu": 0.1})
        await asyncio.wait_for(capacities.acquire({"cpu": 1}, lambda: None), 30)

    in_loop(main)


@every_tier
def test_who_has_to_wait_says_so_once_and_starts_later(tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)

    @cs.task
    async def work() -> None:
        await asyncio.sleep(0)

    target = [work().with_constraints(gpu=2, memory_gb=1), work().with_constraints(gpu=1)]
    run(target, tier=tier, bus=bus, system_resources={"gpu": 2, "memory_gb": 8})
    (blocked,) = spy.events_of_type(TaskBlocked)
    assert (blocked.task_id, blocked.reason) == ("work#2", "waits for gpu=1")
    ids = [e.task_id for e in spy.events_of_type(Event) if isinstance(e, TaskBlocked | TaskExecutionStarted)]
    assert ids == ["work#1", "work#2", "work#2"]


@every_tier
def test_more_than_there_is_is_an_error_before_anything_runs(tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    called = []

    @cs.task
    def train(data: Any) -> None:
        called.append(data)

    target = train(train(1)).with_constraints(gpu=9)
    with pytest.raises(cs.ConstraintError) as caught:
        run(target, tier=tier, bus=bus, system_resources={"gpu": 8})
    message = str(caught.value)
    assert message.startswith(f"train (declared at {__file__}:")
    assert "needs gpu=9, but the engine has 8 of it: it could never run" in message
    assert "lower the need or raise system_resources" in message
    assert called == []
    assert spy.events == []


@every_tier
@pytest.mark.parametrize("where", ["route", "otherwise", "state", "map", "sub-flow", "inner"])
def test_more_than_there_is_is_found_wherever_it_is_declared(where: str, tier: Tier) -> None:
    @cs.task
    def work(x: int = 0) -> int:
        return x

    large = work().with_constraints(gpu=9)
    looping = work()
    cs.bind(looping, cs.select_jump({"large": large, "exit": None}))
    target = {
        "route": cs.Router("small", {"small": work(), "large": large}),
        "otherwise": work().run_if(True, otherwise=large),
        "state": looping,
        "map": work.map(x=[]).with_constraints(gpu=9),
        "sub-flow": cs.subflow(large),
        "inner": cs.subflow([1, cs.subflow(large)]),
    }[where]
    with pytest.raises(cs.ConstraintError, match="gpu=9"):
        run(target, tier=tier, system_resources={"gpu": 8})


def test_a_tail_call_to_a_blueprint_that_needs_more_than_there_is_does_not_wait_for_ever() -> None:
    @cs.task
    def large() -> None: ...

    @cs.task
    def leave() -> cs.TailCall:
        return cs.TailCall(target_blueprint_id="large")

    async def main() -> None:
        async with Engine(system_resources={"gpu": 8}) as engine:
            engine.register_blueprint("large", large().with_constraints(gpu=9))
            with pytest.raises(cs.ConstraintError, match=r"large.*gpu=9"):
                await engine.run(leave())

    in_loop(main)


@pytest.mark.parametrize("amount", [0, -1, float("inf"), float("nan"), "1", None, True])
def test_an_amount_is_a_number_above_zero(amount: Any) -> None:
    @cs.task
    def work() -> None: ...

    with pytest.raises(cs.ConstraintError, match=r"gpu=.*above zero"):
        work().with_constraints(gpu=amount)
    with pytest.raises(cs.ConstraintError, match=r"gpu=.*above zero"):
        cs.task(constraints={"gpu": amount})


@pytest.mark.parametrize("amount", [-1, float("nan"), "1", None, True])
def test_a_capacity_is_a_number(amount: Any) -> None:
    with pytest.raises(cs.ConstraintError, match=r"system_resources.*'gpu'"):
        Engine(system_resources={"gpu": amount})


def test_lazy_amounts_are_not_built_yet() -> None:
    @cs.task
    def work() -> int:
        return 1

    with pytest.raises(NotImplementedError, match="with_constraints with a lazy amount"):
        work().with_constraints(gpu=work())  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="with_constraints with a lazy amount"):
        work().with_constraints(gpu=cs.Param("gpu", 1))  # type: ignore[arg-type]


def test_what_changes_an_engine_while_it_runs_is_not_built_yet() -> None:
    engine = Engine()
    for name in ("pause", "resume", "set_limit", "clear_limit", "limits"):
        with pytest.raises(NotImplementedError, match=rf"engine\.{name} is not built yet"):
            getattr(engine, name)("global")
    for name in ("state_backend", "connector"):
        with pytest.raises(NotImplementedError, match=name):
            Engine(**{name: object()})  # type: ignore[arg-type]
