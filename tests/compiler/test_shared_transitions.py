"""Loops of one shape: what the first of them learned is used by the others, and only where it holds for them."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.transition_profile import TransitionProfile
from cascade.runtime import engine as engine_module
from cascade.runtime.events import TaskExecutionStarted
from cascade.runtime.inspect.progress import progress_of, state_of
from cascade.runtime.loops.transition import Transition
from tests.workflows import in_loop

ASYNC = pytest.mark.parametrize("is_async", [False, True])


def alone(test: Any) -> Callable[..., None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(**given: Any) -> None:
        in_loop(lambda: test(**given))

    return run


def made(body: Any, is_async: bool) -> Any:
    """Return a task of `body`, which is a coroutine that has to wait in each call, or none."""
    if not is_async:
        return cs.task(mode="inline")(body)

    @functools.wraps(body)
    async def step(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return body(*args, **kwargs)

    return cs.task(step)


def loops(task: Any, starts: Any, routes: Any = None) -> list[Any]:
    """Declare one loop for each tuple of arguments, all in one line, as a program would."""
    found = []
    for args in starts:
        state = task(*args)
        cs.bind(state, cs.select_jump({"again": state, "exit": None} if routes is None else routes(state)))
        found.append(state)
    return found


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All that were entered, by a jump or with the first call."""
    found: list[Any] = []
    before, operations = Transition.values, engine_module.OPERATIONS

    def values(self: Transition, signal: Any) -> Any:
        if self.entry.is_shared:
            found.append(self.follower.number)
        return before(self, signal)

    def start_compiled(run: Any, frame: Any, i: int, form: Any, outcome: Any) -> Any:
        begun = operations.start_compiled(run, frame, i, form, outcome)
        if begun is not None:
            found.append(frame.block.source(i))
        return begun

    monkeypatch.setattr(Transition, "values", values)
    monkeypatch.setattr(engine_module, "OPERATIONS", operations._replace(start_compiled=start_compiled))
    return found


@ASYNC
@alone
async def test_loops_of_one_shape_learn_once(is_async: bool, shared: list[Any]) -> None:
    calls: list[tuple[int, int]] = []

    def body(n: int, agent: int) -> Any:
        calls.append((n, agent))
        return cs.Jump("exit", ("done", agent)) if n <= 1 else cs.Jump("again", n - 1)

    task = made(body, is_async)
    async with cs.Engine(tier="compile") as engine:
        await engine.run(loops(task, [(5, -1)]))
        calls.clear()
        result = await engine.run(loops(task, [(40 + k, k) for k in range(20)]))
    assert result == [("done", k) for k in range(20)]
    assert sorted(calls) == sorted((n, k) for k in range(20) for n in range(1, 41 + k))
    assert len(set(shared)) == 20


@ASYNC
@alone
async def test_of_many_short_loops_only_the_first_learn(is_async: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them goes on for so long that it would be worth a function of its own."""
    calls: list[tuple[int, int]] = []
    learned: list[int] = []

    def body(n: int, agent: int) -> Any:
        calls.append((n, agent))
        return cs.Jump("exit", agent) if n <= 1 else cs.Jump("again", n - 1)

    before = TransitionProfile.learn

    def learn(self: TransitionProfile, *args: Any) -> Any:
        learned.append(1)
        return before(self, *args)

    monkeypatch.setattr(TransitionProfile, "learn", learn)
    async with cs.Engine() as engine:
        result = await engine.run(loops(made(body, is_async), [(5, k) for k in range(200)]))
    assert result == list(range(200))
    assert sorted(calls) == sorted((n, k) for k in range(200) for n in range(1, 6))
    assert len(learned) == 1


@ASYNC
@alone
async def test_a_key_that_leads_elsewhere_is_not_taken_for_the_same(is_async: bool, shared: list[Any]) -> None:
    def body(n: int) -> Any:
        return cs.Jump("exit", n) if n <= 0 else cs.Jump("again", n - 1)

    def other(n: int) -> Any:
        return ("other", n)

    task, plain = made(body, is_async), cs.task(mode="inline")(other)
    async with cs.Engine(tier="compile") as engine:
        assert await engine.run(loops(task, [(9,)])) == [0]
        shared.clear()
        assert await engine.run(loops(task, [(9,)], lambda state: {"again": plain(0), "exit": None})) == [("other", 8)]
        assert await engine.run(loops(task, [(9,)], lambda state: {"again": None, "exit": None})) == [8]
        assert not shared
        assert await engine.run(loops(task, [(7,)])) == [0]
        assert shared


@ASYNC
@alone
async def test_what_the_first_did_not_do_is_learned_by_the_other(is_async: bool) -> None:
    def body(n: int, odd: bool) -> Any:
        if n <= 0:
            return cs.Jump("exit", odd)
        if odd and n % 5 == 0:
            return cs.Jump("back", {"n": n - 1})
        if odd and n % 7 == 0:
            return cs.TailCall(args=(n - 1,))
        return cs.Jump("again", n - 1)

    task = made(body, is_async)

    def routes(state: Any) -> Any:
        return {"again": state, "back": state, "exit": None}

    async with cs.Engine(tier="compile") as engine:
        assert await engine.run(loops(task, [(50, False)], routes)) == [False]
        expected = [True, False, True]
        assert await engine.run(loops(task, [(97, True), (30, False), (64, True)], routes)) == expected


@ASYNC
@alone
async def test_failures_say_which_iteration(is_async: bool) -> None:
    def body(n: int) -> Any:
        if n == 13:
            raise ValueError("thirteen")
        return cs.Jump("exit", n) if n <= 0 else cs.Jump("again", n - 1)

    task = made(body, is_async)
    async with cs.Engine(tier="compile") as engine:
        assert await engine.run(loops(task, [(9,)])) == [0]
        with pytest.raises(ValueError, match="thirteen") as caught:
            await engine.run(loops(task, [(33,)]))
    assert [note.split(",")[1] for note in caught.value.__notes__] == [" iteration 20"]


@alone
async def test_the_first_call_of_a_known_loop_may_end_or_fail_it(shared: list[Any]) -> None:
    def body(n: Any, start: int = 0) -> Any:
        if n == "fail":
            raise ValueError("at once")
        if n == "lost":
            return cs.Jump("nowhere", 1)
        if n == "tail":
            return cs.TailCall(args=(3,))
        if n == "odd":
            return cs.Jump("again", 3.5)
        if isinstance(n, str):
            return n.upper()
        return cs.Jump("exit", (n, start)) if n <= 0 else cs.Jump("again", n - 1)

    task = made(body, True)
    async with cs.Engine(tier="compile") as engine:
        assert await engine.run(loops(task, [(9, 1)])) == [(0, 1)]
        shared.clear()
        given = ["done", "tail", 0, "odd", 40]
        expected = ["DONE", (0, 2), (0, 2), (-0.5, 2), (0, 2)]
        assert await engine.run(loops(task, [(n, 2) for n in given])) == expected
        assert len(set(shared)) == len(given)
        for n, error, iteration in (("fail", ValueError, 0), ("lost", cs.JumpError, 0)):
            with pytest.raises(error) as caught:
                await engine.run(loops(task, [(n, 3)]))
            assert f"iteration {iteration}" in caught.value.__notes__[0]
    async with cs.Engine(tier="interpret") as engine:
        assert await engine.run(loops(task, [(n, 2) for n in given])) == expected
        for n, error, iteration in (("fail", ValueError, 0), ("lost", cs.JumpError, 0)):
            with pytest.raises(error) as caught:
                await engine.run(loops(task, [(n, 3)]))
            assert f"iteration {iteration}" in caught.value.__notes__[0]


@alone
async def test_arguments_by_name_reach_a_known_loop(shared: list[Any]) -> None:
    @cs.task
    async def task(n: int, agent: str = "", step: int = 1) -> Any:
        return cs.Jump("exit", (agent, step)) if n <= 0 else cs.Jump("again", n - step)

    def looped(**given: Any) -> Any:
        state = task(**given)
        cs.bind(state, cs.select_jump({"again": state, "exit": None}))
        return state

    async with cs.Engine(tier="compile") as engine:
        assert await engine.run(looped(step=2, n=20, agent="first")) == ("first", 2)
        shared.clear()
        targets = [looped(step=k, n=30, agent=f"number {k}") for k in range(1, 5)]
        assert await engine.run(targets) == [(f"number {k}", k) for k in range(1, 5)]
    assert len(set(shared)) == 4


@alone
async def test_a_known_loop_gives_the_event_loop_its_turns(shared: list[Any]) -> None:
    """It never waits, and so would go on for ever if nobody invalidated its guards."""
    stop = asyncio.Event()

    async def body(n: int) -> Any:
        return cs.Jump("exit", "stopped") if stop.is_set() or n == 5 else cs.Jump("again", n + 1)

    task = cs.task(body)
    async with cs.Engine(tier="compile") as engine:
        assert await engine.run(loops(task, [(0,)])) == ["stopped"]
        shared.clear()
        asyncio.get_running_loop().call_later(0.05, stop.set)
        assert await engine.run(loops(task, [(6,), (7,)])) == ["stopped"] * 2
    assert shared


@alone
async def test_a_turn_of_the_event_loop_does_not_end_a_known_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on as it was; its entries are counted over all turns, whichever way it ends."""
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
            return cs.Jump("exit", agent) if n <= 1 else cs.Jump("again", n - 1)

        task = cs.task(body)
        await engine.run(loops(task, [(9, -1)]))
        calls.clear()
        monkeypatch.setattr(Transition, "__init__", follow)
        assert await engine.run(loops(task, [(40 + k, k) for k in range(3)])) == [0, 1, 2]
        assert sorted(calls) == sorted((n, k) for k in range(3) for n in range(1, 41 + k))
        assert followed == []
        with pytest.raises(ValueError, match="in the end") as caught:
            await engine.run(loops(task, [(30, 3)]))
        assert "iteration 26" in caught.value.__notes__[0]


@alone
async def test_whoever_looks_sees_how_far_a_known_loop_has_come() -> None:
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
            return cs.Jump("exit", agent) if n <= 1 else cs.Jump("again", n - 1)

        task = cs.task(step)
        await engine.run(loops(task, [(9, -1)]))
        assert await engine.run(loops(task, [(100, 1), (20_000, 2)])) == [1, 2]
    (counts,) = seen
    assert [*counts] == ["step#2", "entered"]  # who looks runs, and is in no frame that waits
    assert abs(counts["step#2"] - counts["entered"]) <= 1


@ASYNC
@alone
async def test_limits_of_iterations_hold(is_async: bool, shared: list[Any]) -> None:
    def body(n: int) -> Any:
        return cs.Jump("exit", n) if n <= 0 else cs.Jump("again", n - 1)

    task = made(body, is_async)
    async with cs.Engine(tier="compile") as engine:
        assert await engine.run(loops(task, [(9,)])) == [0]
        shared.clear()
        state = task(50)
        cs.bind(state, cs.select_jump({"again": state, "exit": None}), max_iterations=20)
        with pytest.raises(cs.JumpError, match="20 entries"):
            await engine.run(state)
    assert not shared


@pytest.mark.parametrize("asks", ["hurry", "tick"])
@alone
async def test_a_subscriber_that_comes_hears_the_rest(asks: str) -> None:
    """The loop looks around when it is asked to, and in the turn that every tick brings."""
    heard: list[int] = []
    async with cs.Engine(tier="compile") as engine:

        async def body(n: int) -> Any:
            await asyncio.sleep(0)
            if n == 40:
                engine.bus.subscribe(TaskExecutionStarted, lambda event: heard.append(event.iteration))
                getattr(engine.ticker, asks)()  # what would come within 10 ms
            return cs.Jump("exit", n) if n <= 0 else cs.Jump("again", n - 1)

        task = cs.task(body)
        assert await engine.run(loops(task, [(9,)])) == [0]
        assert await engine.run(loops(task, [(60,)])) == [0]
    assert heard == list(range(21, 61))


@alone
async def test_cancelled_in_the_middle_all_of_them_end() -> None:
    running = resting = 0

    async def body(n: int) -> Any:
        nonlocal running, resting
        running += 1
        resting += n == 1
        try:
            await asyncio.sleep(3600 if n == 1 else 0)
        finally:
            running -= 1
        return cs.Jump("exit", n) if n <= 0 else cs.Jump("again", n - 1)

    task = cs.task(body)
    async with cs.Engine(tier="compile") as engine:
        assert await engine.run(loops(task, [(0,)])) == [0]
        resting = 0
        run = engine.start(loops(task, [(20 + k,) for k in range(10)]))
        while resting < 10:
            await asyncio.sleep(0)
        assert running == 10
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert running == 0
