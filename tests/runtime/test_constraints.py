"""Constraints: calls hold shares of named capacities, granted whole, first come first served."""

import asyncio
from itertools import count
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.capacities import Capacities
from cascade.runtime.events import TaskBlocked, TaskEvent, TaskExecutionFinished, TaskExecutionStarted
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


@every_tier
def test_a_map_fed_by_another_waits_for_an_amount_that_comes_later(tier: Tier) -> None:
    @cs.task
    async def item(x: int) -> int:
        await turns(1)
        return x

    @cs.task
    async def amount() -> int:
        await turns(20)
        return 1

    fed = item.map(x=item.map(x=range(20))).with_constraints(seat=amount())
    assert run(fed, tier=tier, system_resources={"seat": 2}) == [*range(20)]


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
def test_who_wants_less_than_the_one_before_starts_beside_it(tier: Tier) -> None:
    hall = Hall()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 3}) as engine:
            seats = {"a": 2, "b": 2, "c": 1, "d": 2}
            run = engine.start([hall.enter(name).with_constraints(seat=seat) for name, seat in seats.items()])
            await hall.holds("a")  # c came after b, for the same
            await hall.let_out("a")
            await hall.holds("b", "c")
            await hall.let_out("b")
            await hall.holds("c", "d")
            await hall.let_out("c")
            await hall.let_out("d")
            assert await run == [*seats]

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

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            engine.ticker.armed = (
                True  # it counts as armed, so no tick comes: one that waits for a turn stands in no line
            )
            assert await engine.run([loop("a"), loop("b")]) == ["a", "b"]

    in_loop(main)
    assert order == ["a", "b"] * 3


@every_tier
def test_the_entries_of_a_loop_in_a_loop_count_before_anybody_listens(tier: Tier) -> None:
    bus, calls = MessageBus(), count()
    events: list[TaskExecutionStarted] = []

    @cs.task
    async def inner(n: int) -> Any:
        await asyncio.sleep(0)
        if next(calls) == 5:  # the first entry of its second loop is over
            bus.subscribe(TaskExecutionStarted, events.append)
        return cs.TailCall([n - 1]) if n else "done"

    @cs.task
    async def outer(a: int, b: Any) -> Any:
        return cs.Jump("again", {"a": a - 1}) if a else b

    again = outer(5, inner(3).with_constraints(seat=1))
    cs.bind(again, cs.select_jump({"again": again}))
    assert run(again, tier=tier, bus=bus, system_resources={"seat": 1}) == "done"
    entries = [event.iteration for event in events if event.task_name == "inner"]
    assert entries[-1] == 23  # six loops of four


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


SEAT = {"seat": 1.0}


def ignore(ticket: object) -> None: ...


def test_a_share_granted_to_a_wait_that_is_being_cancelled_is_not_lost() -> None:
    async def main() -> None:
        admission = Admission({"seat": 1})
        await admission.enter("first", SEAT, ignore)
        waiting = asyncio.ensure_future(admission.enter("second", SEAT, ignore))
        await turns()
        waiting.cancel()
        admission.leave("first", SEAT)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(admission.enter("third", SEAT, ignore), 30)

    in_loop(main)


def test_a_wait_that_is_cancelled_once_it_was_granted_gives_its_share_back() -> None:
    async def main() -> None:
        admission = Admission({"seat": 1})
        await admission.enter("first", SEAT, ignore)
        waiting = asyncio.ensure_future(admission.enter("second", SEAT, ignore))
        await turns()
        admission.leave("first", SEAT)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(admission.enter("third", SEAT, ignore), 30)

    in_loop(main)


def test_a_wait_whose_event_loop_was_left_behind_holds_nobody_back() -> None:
    admission = Admission({"seat": 1})

    async def left() -> None:
        await admission.enter("first", SEAT, ignore)
        await admission.enter("second", SEAT, ignore)

    abandoned = asyncio.new_event_loop()
    task = abandoned.create_task(left())
    abandoned.run_until_complete(asyncio.sleep(0))
    abandoned.close()
    admission.leave("first", SEAT)

    async def main() -> None:
        await asyncio.wait_for(admission.enter("third", SEAT, ignore), 30)
        admission.leave("third", SEAT)

    in_loop(main)
    task.get_coro().close()
    assert admission.capacities.free == SEAT
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_fractions_add_up() -> None:
    capacities = Capacities({"cpu": 1})
    for _ in range(100):
        for _ in range(10):
            assert capacities.fit({"cpu": 0.1})
            capacities.take({"cpu": 0.1})
        assert not capacities.fit({"cpu": 0.1})
        for _ in range(10):
            capacities.give_back({"cpu": 0.1})
    assert capacities.fit({"cpu": 1})


@pytest.mark.parametrize("large", [0.9, 0.7, 0.4])
def test_fractions_that_make_a_whole_fit_together(large: float) -> None:
    """1 - 0.9 is a little less than 0.1."""
    capacities = Capacities({"cpu": 1})
    capacities.take({"cpu": large})
    rest = {0.9: 0.1, 0.7: 0.3, 0.4: 0.6}[large]
    assert capacities.fit({"cpu": rest})
    capacities.take({"cpu": rest})
    assert capacities.free == {"cpu": 0}


def test_small_shares_of_small_capacities_count() -> None:
    capacities = Capacities({"share": 1e-10})
    capacities.take({"share": 0.5e-10})
    assert not capacities.fit({"share": 1e-10})


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
    events = [e for e in spy.events_of_type(TaskEvent) if e.task_id == "work#2"]
    assert [type(e) for e in events] == [TaskBlocked, TaskExecutionStarted, TaskExecutionFinished]


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


class TestLazyAmounts:
    @every_tier
    def test_they_are_read_before_the_call(self, tier: Tier) -> None:
        hall = Hall()

        @cs.task
        async def amount() -> int:
            await asyncio.sleep(0)
            return 2

        async def main() -> None:
            async with Engine(tier=tier, system_resources={"seat": 3}) as engine:
                run = engine.start([hall.enter(name).with_constraints(seat=amount()) for name in "ab"])
                for _ in "ab":  # whose amount is there first goes first
                    while not hall.inside:
                        await asyncio.sleep(0)
                    await turns()
                    await hall.let_out(hall.inside[0])
                assert await run == ["a", "b"]
                assert hall.most == 1

        in_loop(main)

    @every_tier
    @pytest.mark.parametrize("kind", ["param", "router", "map", "default", "inner"])
    def test_any_lazy_value_may_be_one(self, kind: str, tier: Tier) -> None:
        @cs.task
        def two() -> int:
            return 2

        @cs.task
        def work(x: int = 1) -> int:
            return x

        target: Any = {
            "param": work().with_constraints(gpu=cs.Param("gpu", 2)),
            "router": work().with_constraints(gpu=cs.Router("a", {"a": two(), "b": 1})),
            "map": work.map(x=[1]).with_constraints(gpu=two()),
            "default": cs.task(constraints={"gpu": two()})(work.func)(),
            "inner": cs.subflow(work().with_constraints(gpu=cs.Param("gpu", type=int)), params={"gpu": two()}),
        }[kind]
        expected = [1] if kind == "map" else 1
        assert run(target, tier=tier, system_resources={"gpu": 2}) == expected
        with pytest.raises(cs.ConstraintError, match=r"work \(declared at .*needs gpu=2, but the engine has 1 of it"):
            run(target, tier=tier, system_resources={"gpu": 1})

    @every_tier
    @pytest.mark.parametrize("amount", [0, -1, float("inf"), float("nan"), "1", None, True])
    def test_what_is_no_amount_is_a_failure_of_the_task(self, amount: Any, tier: Tier) -> None:
        bus = MessageBus()
        spy = SpySubscriber(bus)

        @cs.task
        def given() -> Any:
            return amount

        @cs.task
        def work() -> None: ...

        with pytest.raises(cs.ConstraintError, match=r"work \(declared at .*gpu=.*above zero") as caught:
            run(work().with_constraints(gpu=given()), tier=tier, bus=bus, system_resources={"gpu": 1})
        assert "in task work#1" in caught.value.__notes__[0]
        assert [e.task_name for e in spy.events_of_type(TaskExecutionStarted)] == ["given"]

    @every_tier
    def test_they_are_no_less_checked_where_there_is_no_such_capacity(self, tier: Tier) -> None:
        with pytest.raises(cs.ConstraintError, match="disk=-1"):
            run(cs.task(len)("abc").with_constraints(disk=cs.Param("disk", -1)), tier=tier)

    @every_tier
    def test_each_entry_of_a_loop_has_its_own(self, tier: Tier) -> None:
        amounts = iter([1, 2, 3, 4])

        @cs.task
        def amount() -> int:
            return next(amounts)

        @cs.task
        def step(n: int) -> cs.Jump:
            return cs.Jump("again" if n else "exit", n - 1 if n else "done")

        node = step(2).with_constraints(seat=amount())
        assert run(cs.bind(node, cs.select_jump({"again": node, "exit": None})), tier=tier) == "done"
        assert next(amounts) == 4
        amounts = iter([1, 2, 3])
        with pytest.raises(cs.ConstraintError, match="seat=3") as caught:
            run(node, tier=tier, system_resources={"seat": 2})
        assert "iteration 2" in caught.value.__notes__[0]

    @every_tier
    def test_items_of_a_mapped_loop_hold_them_too(self, tier: Tier) -> None:
        inside = most = 0

        @cs.task
        async def step(n: int) -> cs.Jump:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            return cs.Jump("again" if n else "exit", n - 1 if n else "done")

        @cs.task
        def two() -> int:
            return 2

        node = step.map(n=[2, 2, 2]).with_constraints(seat=two())
        cs.bind(node, cs.select_jump({"again": node, "exit": None}))
        assert run(node, tier=tier, system_resources={"seat": 5}) == ["done"] * 3
        assert most == 2

    @every_tier
    def test_one_that_was_skipped_skips_the_call(self, tier: Tier) -> None:
        @cs.task
        def amount() -> int:
            return 1

        @cs.task
        def work() -> str:
            return "worked"

        skipped = work().with_constraints(gpu=amount().run_if(False))
        assert run({"a": work().after(skipped).run_if(True, otherwise=1)}, tier=tier) == {"a": 1}
        assert run(work().with_constraints(gpu=amount().run_if(False, otherwise=1)), tier=tier) == "worked"

    @every_tier
    def test_they_run_though_the_call_does_not(self, tier: Tier) -> None:
        called = []

        @cs.task
        def amount() -> int:
            called.append("amount")
            return -1

        @cs.task
        def work() -> None:
            called.append("work")

        assert run(work().with_constraints(gpu=amount()).run_if(False, otherwise="no"), tier=tier) == "no"
        assert called == ["amount"]

    def test_a_call_that_waits_for_itself_is_a_cycle(self) -> None:
        node = cs.task(len)("abc")
        with pytest.raises(cs.CycleError):
            run(node.with_constraints(gpu=node))

    def test_pure_calls_with_equal_ones_are_one_node(self) -> None:
        called = []

        @cs.task(pure=True)
        def amount(x: int) -> int:
            return x

        @cs.task(pure=True)
        def work() -> None:
            called.append("work")

        def node(x: int) -> Any:
            return work().with_constraints(gpu=amount(x))

        run([node(1), node(1)])
        assert len(called) == 1
        run([node(1), node(2)])
        assert len(called) == 3

    def test_the_graph_draws_them(self) -> None:
        @cs.task
        def amount() -> int:
            return 1

        graph = cs.compile(cs.task(len)("abc").with_constraints(gpu=amount())).blueprint.graph
        assert [(e.source, e.target, e.kind, e.name) for e in graph.edges()] == [(0, 1, "constraint", "gpu")]

    def test_a_jump_is_no_amount(self) -> None:
        with pytest.raises(cs.ConstraintError, match="above zero"):
            cs.task(len)("abc").with_constraints(gpu=cs.Jump("again"))  # type: ignore[arg-type]
