"""Items of maps that jump to themselves: what one of them learned is used by the others, and by the next run."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.transition_profile import TransitionProfile
from cascade.runtime import engine as engine_module
from cascade.runtime.events import TaskExecutionStarted
from cascade.runtime.inspect.progress import progress_of, state_of
from cascade.runtime.loops.transition import Transition
from tests.compiler.test_shared_transitions import ASYNC, alone


def made(body: Any, is_async: bool) -> Any:
    """Return a task of `body`, which is a coroutine that has to wait in each call, or none."""

    async def step(n: Any, agent: int) -> Any:
        await asyncio.sleep(0)
        return body(n, agent)

    return cs.task(step) if is_async else cs.task(mode="inline")(body)


def agents(task: Any, starts: Any, routes: Any = None) -> Any:
    """Declare one map whose items are loops, each with the arguments n and agent."""
    n, agent = zip(*starts, strict=True)
    items = task.map(n=list(n), agent=list(agent))
    return cs.bind(items, cs.select_jump({"again": items, "exit": None} if routes is None else routes(items)))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The items whose loop made their first call, or went on after a turn."""
    found: list[Any] = []
    operations = engine_module.OPERATIONS

    def start_item(state: Any, values: Any, profile: Any, outcome: Any) -> Any:
        made = operations.start_item(state, values, profile, outcome)
        if made is not None:
            found.append(values)
        return made

    monkeypatch.setattr(engine_module, "OPERATIONS", operations._replace(start_item=start_item))
    return found


def counts_down(n: int, agent: int) -> Any:
    return cs.Jump("exit", ("done", agent)) if n <= 1 else cs.Jump("again", {"n": n - 1})


@ASYNC
@alone
async def test_items_of_one_shape_learn_once(is_async: bool, monkeypatch: pytest.MonkeyPatch, begun: list[Any]) -> None:
    calls: list[tuple[int, int]] = []
    learned: list[int] = []
    before = TransitionProfile.learn

    def learn(self: TransitionProfile, *args: Any) -> Any:
        learned.append(1)
        return before(self, *args)

    def body(n: int, agent: int) -> Any:
        calls.append((n, agent))
        return counts_down(n, agent)

    monkeypatch.setattr(TransitionProfile, "learn", learn)
    task = made(body, is_async)
    async with cs.Engine(tier="compile") as engine:
        for _ in range(2):
            calls.clear()
            begun.clear()
            assert await engine.run(agents(task, [(3 + k, k) for k in range(60)])) == [("done", k) for k in range(60)]
            assert sorted(calls) == sorted((n, k) for k in range(60) for n in range(1, 4 + k))
    assert len(learned) == 1
    assert len(set(begun)) == (60 if is_async else 0)  # some of them again, after a turn


@pytest.mark.parametrize("tier", ["compile", "interpret"])
@alone
async def test_the_first_call_of_an_item_may_end_or_fail_it(tier: Any) -> None:
    def body(n: Any, agent: int) -> Any:
        match n:
            case "fail":
                raise ValueError("at once")
            case "none":
                return None
            case "missing":
                raise AttributeError("of mine")
            case "lost":
                return cs.Jump("nowhere", 1)
            case "first":
                return cs.Jump("again", 3)
            case "tail":
                return cs.TailCall(args=(3,))
            case "other":
                return cs.Jump("other", {"n": agent})
            case "set":
                return {1, agent}
        return counts_down(n, agent)

    @cs.task
    async def other(n: int) -> str:
        return f"elsewhere {n}"

    task = made(body, True)

    def routes(items: Any) -> Any:
        return {"again": items, "other": other(0), "exit": None}

    given = ["none", "tail", 0, "first", 40, "other", "set"]
    expected = [None, ("done", 2), ("done", 2), ("done", 2), ("done", 2), "elsewhere 2", {1, 2}]
    async with cs.Engine(tier=tier) as engine:
        assert await engine.run(agents(task, [(30, 1)] * 20, routes)) == [("done", 1)] * 20
        for _ in range(2):
            assert await engine.run(agents(task, [(n, 2) for n in given], routes)) == expected
        for n, error in (("fail", ValueError), ("missing", AttributeError), ("lost", cs.JumpError)):
            with pytest.raises(error) as caught:
                await engine.run(agents(task, [(50, 1), (n, 3)], routes))
            assert "[1]" in caught.value.__notes__[0]
            assert "iteration 0" in caught.value.__notes__[0]
        lenient = made(body, True).map(n=["fail", 5], agent=[1, 1], on_error="collect")
        cs.bind(lenient, cs.select_jump({"again": lenient, "exit": None}))
        failed, done = await engine.run(lenient)
        assert (failed.index, type(failed.error), done) == (0, ValueError, ("done", 1))


@pytest.mark.parametrize("tier", ["compile", "interpret"])
@alone
async def test_a_failure_says_which_item_and_iteration(tier: Any) -> None:
    def body(n: int, agent: int) -> Any:
        if agent == 7 and n == 13:
            raise ValueError("thirteen")
        return counts_down(n, agent)

    task = made(body, True)
    async with cs.Engine(tier=tier) as engine:
        await engine.run(agents(task, [(30, 1)] * 20))
        with pytest.raises(ValueError, match="thirteen") as caught:
            await engine.run(agents(task, [(3600, 1), (33, 7)]))
    assert "[1]" in caught.value.__notes__[0]
    assert "iteration 20" in caught.value.__notes__[0]


@alone
async def test_a_turn_of_the_event_loop_does_not_end_an_item(monkeypatch: pytest.MonkeyPatch, begun: list[Any]) -> None:
    calls: list[tuple[int, int]] = []
    followed: list[int] = []
    before = Transition.__init__

    def follow(self: Transition, follower: Any, *args: Any) -> None:
        followed.append(follower.number)
        before(self, follower, *args)

    async with cs.Engine(tier="compile") as engine:

        async def body(n: int, agent: int) -> Any:
            calls.append((n, agent))
            await asyncio.sleep(0)
            if agent >= 0 and n % 7 == 0:
                engine.ticker.tick()
            if agent == 3 and n == 4:
                raise ValueError("in the end")
            return cs.Jump("exit", agent) if n <= 1 else cs.Jump("again", {"n": n - 1})

        task = cs.task(body)
        await engine.run(agents(task, [(9, -1)] * 20))
        calls.clear()
        monkeypatch.setattr(Transition, "__init__", follow)
        assert await engine.run(agents(task, [(40 + k, k) for k in range(3)])) == [0, 1, 2]
        assert sorted(calls) == sorted((n, k) for k in range(3) for n in range(1, 41 + k))
        assert followed == []
        assert len(begun) > 3
        with pytest.raises(ValueError, match="in the end") as caught:
            await engine.run(agents(task, [(30, 3)]))
        assert "iteration 26" in caught.value.__notes__[0]


@alone
async def test_whoever_looks_sees_how_far_an_item_has_come() -> None:
    seen: list[dict[str, int]] = []
    entered = {1: 0, 2: 0, -1: 0}
    async with cs.Engine(tier="compile") as engine:
        engine.ticker.armed = True  # it counts as armed, so no tick comes but the one below

        async def step(n: int, agent: int) -> Any:
            entered[agent] += 1
            await asyncio.sleep(0)
            if n == 50 and agent == 1:
                engine.ticker.tick()
            if n == 20 and agent == 1:
                state = state_of(engine)
                assert state is not None
                seen.append({**progress_of(state, asyncio.get_running_loop()).loops, "entered": entered[2]})
            return cs.Jump("exit", agent) if n <= 1 else cs.Jump("again", {"n": n - 1})

        task = cs.task(step)
        await engine.run(agents(task, [(9, -1)] * 20))
        assert await engine.run(agents(task, [(100, 1), (20_000, 2)])) == [1, 2]
    (counts,) = seen
    entries = counts.pop("entered")
    assert list(counts) == ["step#1"]  # who looks runs, and is in no frame that waits
    assert abs(counts["step#1"] - entries) <= 1


@alone
async def test_a_subscriber_that_comes_hears_the_rest_of_an_item() -> None:
    heard: list[int] = []
    async with cs.Engine(tier="compile") as engine:

        async def body(n: int, agent: int) -> Any:
            await asyncio.sleep(0)
            if agent == 1 and n == 40:
                engine.bus.subscribe(TaskExecutionStarted, lambda event: heard.append(event.iteration))
                engine.ticker.hurry()
            return counts_down(n, agent)

        task = cs.task(body)
        await engine.run(agents(task, [(30, 0)] * 20))
        await engine.run(agents(task, [(60, 1)]))
    assert heard == list(range(21, 60))


@pytest.mark.parametrize("tier", ["compile", "interpret"])
@alone
async def test_entries_of_items_are_counted_on_where_a_loop_runs_the_map_again(tier: Any) -> None:
    heard: list[tuple[str, int]] = []

    @cs.task
    async def step(n: int, agent: int) -> Any:
        await asyncio.sleep(0)
        return cs.Jump("exit", agent) if n <= 1 else cs.Jump("again", {"n": n - 1})

    def twice(found: list[int], times: int) -> Any:
        return cs.Jump("more", {"times": times + 1}) if times < 1 else found

    async with cs.Engine(tier=tier) as engine:
        await engine.run(agents(step, [(30, 0)] * 20))
        items = agents(step, [(3, 5), (2, 6)])
        around = cs.task(twice)(items, 0)
        cs.bind(around, cs.select_jump({"more": around}))
        assert await engine.run(around) == [5, 6]
        items = agents(step, [(3, 5), (2, 6)])
        around = cs.task(twice)(items, 0)
        cs.bind(around, cs.select_jump({"more": around}))
        engine.bus.subscribe(TaskExecutionStarted, lambda event: heard.append((event.task_id, event.iteration)))
        assert await engine.run(around) == [5, 6]
    found = sorted(iteration for task_id, iteration in heard if task_id.endswith("[0]"))
    assert found == list(range(6))


@alone
async def test_cancelled_in_the_middle_all_items_end(begun: list[Any]) -> None:
    running = resting = 0

    async def body(n: int, agent: int) -> Any:
        nonlocal running, resting
        running += 1
        resting += n == 1
        try:
            await asyncio.sleep(3600 if n == 1 and agent else 0)
        finally:
            running -= 1
        return counts_down(n, agent)

    task = cs.task(body)
    async with cs.Engine(tier="compile") as engine:
        await engine.run(agents(task, [(30, 0)] * 20))
        resting = 0
        run = engine.start(agents(task, [(20 + k, 1) for k in range(10)]))
        while resting < 10:
            await asyncio.sleep(0)
        assert running == 10
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert running == 0
    assert begun


@alone
async def test_items_under_a_limit_do_not_begin_by_themselves(begun: list[Any]) -> None:
    task = made(counts_down, True)
    async with cs.Engine(tier="compile") as engine:
        await engine.run(agents(task, [(30, 0)] * 20))
        assert await engine.run(agents(task, [(5, k) for k in range(3)])) == [("done", k) for k in range(3)]
        assert len(set(begun)) == 3
        items = task.map(n=[9, 9], agent=[1, 2])
        cs.bind(items, cs.select_jump({"again": items, "exit": None}), max_iterations=5)
        with pytest.raises(cs.JumpError, match="5 entries"):
            await engine.run(items)
        few = task.map(n=[9] * 5, agent=range(5), concurrency=2)
        cs.bind(few, cs.select_jump({"again": few, "exit": None}))
        assert await engine.run(few) == [("done", k) for k in range(5)]
    assert len(set(begun)) == 3
