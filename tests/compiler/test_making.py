"""Large flows are compiled piece by piece: what a piece is does not grow, and others have turns between them."""

import asyncio
import gc
import random
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.compiler import compiled_root as blocks
from cascade.compiler.code import emitted, source
from cascade.compiler.code.emitted import Chain
from cascade.compiler.compiled_root import MOST_CHAINED, FusedRoot
from cascade.compiler.emit.block import PIECE
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskEvent, TaskExecutionFinished
from cascade.runtime.run.active_calls import running_calls
from tests.workflows import in_loop, inline, run

FEW, MANY = 650, 1_300


@inline
def inc(x: int) -> int:
    return x + 1


@inline
def total(values: list[int]) -> int:
    return sum(values)


@cs.task
async def wait(x: int) -> int:
    return x + 1


def chain(n: int, task: Any = inc, value: Any = 0) -> Any:
    for _ in range(n):
        value = task(value)
    return value


def mixed(n: int) -> Any:
    """A chain that waits now and then, of calls that nothing else runs beside."""
    value: Any = 0
    for i in range(n):
        value = (inc if i % 3 else wait)(value)
    return value


FLOWS: dict[str, Callable[[int], Any]] = {
    "in a row": chain,
    "side by side": lambda n: total([inc(0) for _ in range(n)]),
    "coroutines in a row": lambda n: chain(n, wait),
    "coroutines in between": mixed,
    "coroutines side by side": lambda n: total([chain(9, inc, wait(-9)) for _ in range(n // 10)] * 10),
}


class Watched:
    """What was compiled: the size of each function, and the turn of the loop in which it came."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.turns: list[int] = []
        self.turn = 0
        self.fails = False
        make = source.make_function

        def made(*args: Any) -> Any:
            if self.fails:
                self.fails = False
                raise KeyboardInterrupt
            function = make(*args)
            self.sizes.append(len(function.__code__.co_code))
            self.turns.append(self.turn)
            return function

        patch.setattr(emitted, "make_function", made)

    async def count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)

    async def beside(self, work: Any) -> Any:
        """Await work, and count the turns of the loop meanwhile."""
        counting = asyncio.ensure_future(self.count())
        await asyncio.sleep(0)
        try:
            return await work
        finally:
            counting.cancel()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def fresh() -> Any:
    """Return a task that nothing is kept for, and that has been called."""

    @inline
    def add_one(x: int) -> int:
        return x + 1

    assert run(add_one(1)) == 2
    return add_one


def fresh_wait() -> Any:
    """Return such a coroutine function."""

    @cs.task
    async def add_one(x: int) -> int:
        return x + 1

    assert run(add_one(1)) == 2
    return add_one


def fused(target: Any) -> FusedRoot:
    [found] = target.plan.blueprint.root.fused.values()
    assert not target.plan.blueprint.root.making
    assert isinstance(found, FusedRoot)
    return found


@pytest.mark.parametrize("name", FLOWS)
def test_others_have_a_turn_between_pieces_that_do_not_grow(name: str, watched: Watched) -> None:
    async def main(target: Any) -> Any:
        async with Engine(tier="compile") as engine:
            return await watched.beside(engine.run(target))

    in_loop(lambda: main(FLOWS[name](20)))  # then the classes of the results are known
    most = []
    for size in (FEW, MANY):
        watched.sizes.clear()
        watched.turns.clear()
        assert in_loop(lambda: main(FLOWS[name](size))) == size  # noqa: B023
        at_once: Counter[int] = Counter()
        for turn, length in zip(watched.turns, watched.sizes, strict=True):
            at_once[turn] += length
        assert len(at_once) >= size // (2 * PIECE)
        most.append(max(at_once.values()))
    assert most[1] <= 1.2 * most[0]


@pytest.mark.parametrize("task", [fresh, fresh_wait])
def test_a_run_makes_a_function_and_is_interpreted_until_all_are_there(task: Any, watched: Watched) -> None:
    flow = cs.compile(chain(MANY, task(), cs.Param("n", type=int)))

    async def main() -> None:
        made = 0
        for n in range(40):
            assert await flow(n=n) == n + MANY
            assert len(watched.sizes) <= made + 2  # the last one is short
            made = len(watched.sizes)
            if n < 16:
                assert not made
        assert made >= 3

    in_loop(main)


def test_runs_at_once_make_each_piece_once(watched: Watched) -> None:
    target = chain(FEW, fresh())

    async def main() -> None:
        async with Engine(tier="compile") as engine:
            assert await asyncio.gather(*(engine.run(target) for _ in range(5))) == [FEW] * 5

    in_loop(main)
    assert len(watched.sizes) == len(fused(target).pieces) == 4


def test_a_run_that_ends_leaves_what_it_has_made_to_the_next(watched: Watched) -> None:
    target = chain(MANY, fresh_wait())

    async def main() -> None:
        async with Engine(tier="compile") as engine:
            first = engine.start(target)
            while len(watched.sizes) < 2:
                await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert target.plan.blueprint.root.making
            assert await engine.run(target) == MANY

    in_loop(main)
    assert len(watched.sizes) == -(-MANY // MOST_CHAINED)
    assert fused(target).whole is not None


def test_what_was_broken_off_is_begun_anew(watched: Watched) -> None:
    target = chain(FEW, fresh())
    watched.fails = True
    with pytest.raises(KeyboardInterrupt):
        run(target, tier="compile")
    assert run(target, tier="compile") == FEW
    assert len(fused(target).pieces) == 4


def test_who_begins_to_listen_meanwhile_is_told_of_all() -> None:
    target = chain(FEW, fresh_wait())
    seen: list[Any] = []

    async def main() -> None:
        bus = MessageBus()
        async with Engine(tier="compile", bus=bus) as engine:
            started = engine.start(target)
            while not target.plan.blueprint.root.making:
                await asyncio.sleep(0)
            bus.subscribe(TaskExecutionFinished, seen.append)
            assert await started == FEW

    in_loop(main)
    assert len(seen) == FEW
    assert len({event.event_id for event in seen}) == FEW


class Thing:
    pass


@pytest.mark.parametrize("at", [0, 100, 599, 600, 601, 649])
def test_a_chain_of_functions_may_be_left_anywhere(at: int) -> None:
    """Somebody begins to listen there: nothing is run again, and from the next function on all is told."""
    bus, calls = MessageBus(), 0
    seen: list[Any] = []
    engine: Engine

    @cs.task
    async def step(x: int) -> int:
        nonlocal calls
        calls += 1
        if x == at and calls > FEW:
            bus.subscribe(TaskEvent, seen.append)
            engine.set_limit("task:another", concurrency=1)  # has all that runs look around
        return x + 1

    async def main() -> None:
        nonlocal engine
        async with Engine(tier="compile", bus=bus) as engine:
            for _ in range(2):
                assert await engine.run(target) == FEW

    target = chain(FEW, step)
    in_loop(main)
    assert calls == 2 * FEW
    ended = [event for event in seen if isinstance(event, TaskExecutionFinished)]
    assert FEW - (at // MOST_CHAINED + 1) * MOST_CHAINED <= len(ended) <= FEW - at


@pytest.mark.parametrize("at", [0, 599, 600, 649])
def test_a_failure_in_a_chain_of_functions_names_its_call(at: int) -> None:
    @cs.task
    async def step(x: int) -> int:
        if x == at:
            raise ValueError("no")
        return x + 1

    with pytest.raises(ValueError, match="no") as caught:
        run(chain(FEW, step), tier="compile")
    assert "step" in caught.value.__notes__[0]


@pytest.mark.parametrize("at", [0, 599, 600, 649])
def test_it_is_seen_where_a_chain_of_functions_is(at: int) -> None:
    async def main() -> None:
        reached, go_on = asyncio.Event(), asyncio.Event()

        @cs.task
        async def step(x: int) -> int:
            if x == at:
                reached.set()
                await go_on.wait()
            return x + 1

        async with Engine(tier="compile") as engine:
            started = engine.start(chain(FEW, step))
            await reached.wait()
            (found,) = running_calls(asyncio.get_running_loop())
            go_on.set()
            assert await started == FEW
        assert found[1].startswith(f"step#{at + 1} ")

    in_loop(main)


def test_a_chain_of_functions_lets_values_go() -> None:
    alive: list[weakref.ref[Thing]] = []
    most = 0

    @cs.task
    async def step(x: Thing) -> Thing:
        nonlocal most
        most = max(most, sum(ref() is not None for ref in alive))
        made = Thing()
        alive.append(weakref.ref(made))
        return made

    gc.disable()
    try:
        for _ in range(2):
            alive.clear()
            run(chain(FEW, step, Thing()), tier="compile")
            assert most <= 4
            assert not any(ref() for ref in alive[:-1])
    finally:
        gc.enable()


def test_what_takes_very_many_values_is_interpreted() -> None:
    target = FLOWS["side by side"](MANY)
    assert run(target, tier="compile") == MANY
    assert "size" in fused(target).reasons.values()


def woven(numbers: random.Random, tasks: list[Any], length: int) -> Any:
    """Calls in a row, each of which takes some earlier ones as well."""
    values: list[Any] = [0]
    for _ in range(length):
        task = numbers.choice(tasks)
        values.append(task(values[-1], *numbers.choices(values, k=numbers.randrange(3))))
    return [values[-1], values[length // 2]]


@pytest.mark.parametrize("seed", range(10))
def test_a_chain_of_functions_means_what_the_interpreter_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "PIECE", 3)
    monkeypatch.setattr(blocks, "MOST_AT_ONCE", 3)
    monkeypatch.setattr(blocks, "MOST_CHAINED", 3)
    bus, calls, event_at = MessageBus(), 0, -1
    seen: list[Any] = []
    engine: Engine

    def called(values: tuple[int, ...]) -> int:
        nonlocal calls
        calls += 1
        if calls == event_at:
            bus.subscribe(TaskEvent, seen.append)
            engine.set_limit("task:another", concurrency=1)
        return hash((len(values), *values)) % 1_000

    @inline
    def plain(*values: int) -> int:
        return called(values)

    @cs.task
    async def later(*values: int) -> int:
        if sum(values) % 2:
            await asyncio.sleep(0)
        return called(values)

    numbers = random.Random(seed)
    target = woven(numbers, [plain, later, later], 20)
    expected = run(target)
    assert calls == 20

    async def main() -> None:
        nonlocal event_at, engine
        async with Engine(tier="compile", bus=bus) as engine:
            flow = cs.compile(target, engine=engine)
            for _ in range(3):
                assert await flow() == expected
            assert any(isinstance(one.whole, Chain) for one in flow.blueprint.root.fused.values())
            event_at = calls + numbers.randrange(1, 20)
            assert await flow() == expected
            assert len(seen) <= 40
            seen.clear()
            assert await flow() == expected  # all of it is told
        assert Counter(type(event).__name__ for event in seen) == {
            "TaskExecutionStarted": 20,
            "TaskExecutionFinished": 20,
        }

    in_loop(main)
    assert calls == 20 * 6
