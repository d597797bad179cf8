"""`cs.current()`: a task is told where it is, on every tier and wherever it runs; nothing is set before its call."""

import asyncio
import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.runtime.inspect.progress import progress_of
from cascade.spec.events import TaskExecutionStarted


def awaited(test: Callable[..., Any]) -> Callable[..., None]:
    """Make a test of a coroutine function."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


seen: list[tuple[str, int, int, str]] = []


def note() -> None:
    """What tasks call: a function of theirs, that is not a task."""
    here = cs.current()
    seen.append((here.task_id, here.iteration, here.attempt, here.key))


@cs.task(mode="inline")
def short(x: int) -> int:
    note()
    return x


@cs.task
def auto(x: int) -> int:
    note()
    return x


@cs.task(mode="blocking")
def blocking(x: int) -> int:
    note()
    return x


@cs.task(mode="compute")
def compute(x: int) -> int:
    note()
    return x


@cs.task
async def coroutine(x: int) -> int:
    note()
    await asyncio.sleep(0)
    note()
    return x


async def part() -> None:
    await asyncio.sleep(0)
    note()


@cs.task
async def gathering(x: int) -> int:
    await asyncio.gather(part(), asyncio.create_task(part()))
    async with asyncio.TaskGroup() as group:
        group.create_task(part())
    await asyncio.to_thread(int)
    return x


@cs.task(mode="inline")
def count(n: int, to: int = 30) -> Any:
    note()
    return cs.Jump("again", n + 1) if n < to else cs.Jump("out", n)


@cs.task
async def count_async(n: int) -> Any:
    note()
    return cs.Jump("again", n + 1) if n < 40 else cs.Jump("out", n)


@cs.task(mode="inline")
def ping(n: int, fed: int = 0) -> Any:
    note()
    return cs.Jump("pong", n + 1) if n < 36 else cs.Jump("out", n)


@cs.task(mode="inline")
def pong(n: int, fed: int = 0) -> Any:
    note()
    return cs.Jump("ping", {"n": n + 1})


@cs.task(mode="inline")
def tail(n: int) -> Any:
    note()
    return cs.TailCall((n + 1,)) if n < 40 else n


@cs.task(mode="inline")
def take(values: Any, n: int = 0) -> Any:
    note()
    return cs.Jump("again", {"n": n + 1}) if n < 25 else cs.Jump("out", n)


def looped(state: Any) -> Any:
    return cs.bind(state, cs.select_jump({"again": state, "out": None}))


def two_states() -> Any:
    fed = short(1)
    there, back = pong(0, fed=short(fed)), ping(0, fed=short(fed))
    selector = cs.select_jump({"pong": there, "ping": back, "out": None})
    cs.bind(there, selector)
    return cs.bind(back, selector)


def loop_in_loop() -> Any:
    return looped(take(looped(count(0, to=3))))


def map_in_loop() -> Any:
    return looped(take(short.map(x=[1, 2, 3])))


def sub_flow() -> Any:
    return cs.subflow(looped(take(short(cs.Param("x", type=int)))), params={"x": short(1)})


def tries(mode: str, bad: int = 2, in_all: bool = False) -> Any:
    left = [bad]

    @cs.task(mode=mode)  # type: ignore[call-overload,untyped-decorator,unused-ignore]
    def flaky(x: int) -> int:
        note()
        if left[0]:
            left[0] -= 1
            raise OSError
        left[0] = bad
        return x

    target = cs.subflow(flaky(1)) if in_all else flaky(1)
    return target.with_retry(max_attempts=bad + 1, delay=0)


PROGRAMS: dict[str, Callable[[], Any]] = {
    "chain": lambda: short(short(auto(short(1)))),
    "threads": lambda: [blocking(1), compute(2), blocking.map(x=[1, 2])],
    "coroutines": lambda: [coroutine(coroutine(1)), coroutine.map(x=[1, 2, 3])],
    "asyncio tasks": lambda: gathering(1),
    "loop": lambda: looped(count(0)),
    "loop of coroutines": lambda: looped(count_async(0)),
    "two states, fed": two_states,
    "tail calls": lambda: tail(0),
    "loop in a loop": loop_in_loop,
    "map in a loop": map_in_loop,
    "map": lambda: short.map(x=list(range(100))),
    "map in a flow": lambda: auto(short.map(x=[short(1), short(2), 3])),
    "map of a range": lambda: short.map(x=range(70)),
    "map of loops": lambda: cs.bind(
        mapped := count.map(n=[28, 29, 30]), cs.select_jump({"again": mapped, "out": None})
    ),
    "sub-flow": sub_flow,
    "retries in place": lambda: tries("inline"),
    "retries in threads": lambda: tries("blocking"),
    "retries of a sub-flow": lambda: tries("inline", 1, in_all=True),
}


async def places(tier: Any, program: str, times: int = 2, heard: bool = False) -> list[Any]:
    engine, found = cs.Engine(tier=tier), []
    if heard:
        engine.bus.subscribe(TaskExecutionStarted, lambda event: None)
    target = PROGRAMS[program]()
    for _ in range(times):
        seen.clear()
        await engine.run(target, run_id="one")
        found.append(sorted(seen))
    return found


@pytest.mark.parametrize("program", PROGRAMS)
@awaited
async def test_every_tier_tells_the_same(program: str) -> None:
    expected = (await places("interpret", program, 1))[0]
    assert expected
    for tier, heard in (("auto", False), ("compile", False), ("compile", True)):
        for found in await places(tier, program, heard=heard):
            assert found == expected, (tier, heard)
    seen.clear()
    await cs.Engine(state_backend="memory").run(PROGRAMS[program](), run_id="one")
    assert sorted(seen) == expected


@pytest.mark.parametrize("program", [name for name in PROGRAMS if name not in ("coroutines", "asyncio tasks")])
@awaited
async def test_it_is_what_events_say(program: str) -> None:
    engine, told = cs.Engine(), set()
    engine.bus.subscribe(TaskExecutionStarted, lambda event: told.add((event.task_id, event.iteration)))
    seen.clear()
    await engine.run(PROGRAMS[program]())
    await engine.bus.drain()
    assert {(task_id, iteration) for task_id, iteration, *_ in seen} == told


@pytest.mark.parametrize("program", PROGRAMS)
@awaited
async def test_keys_are_those_of_calls(program: str) -> None:
    """One for each call, for all attempts; but attempts of a sub-flow have their own."""
    (found,) = await places("auto", program, 1)
    by_key: dict[str, set[Any]] = {}
    for task_id, iteration, _, key in found:
        by_key.setdefault(key, set()).add((task_id, iteration))
    assert all(len(calls) == 1 for calls in by_key.values())
    assert len(by_key) == len({(task_id, iteration) for task_id, iteration, *_ in found})


@awaited
async def test_keys_stay_when_a_run_goes_on() -> None:
    """Wherever a loop was left: in its first state or another one, the step that is made again has its key."""
    broken: set[int] = set()
    keys: dict[int, set[str]] = {}

    def known(n: int) -> None:
        keys.setdefault(n, set()).add(cs.current().key)
        if n in broken:
            broken.remove(n)
            raise OSError("broken")

    @cs.task
    def there(n: int) -> Any:
        known(n)
        return cs.Jump(("back", "there", "there")[n % 3] if n < 11 else "out", {"n": n + 1})

    @cs.task
    def back(n: int) -> Any:
        known(n)
        return cs.Jump("there", {"n": n + 1})

    first, second = there(0), back(0)
    selector = cs.select_jump({"there": first, "back": second, "out": None})
    cs.bind(second, selector)
    target = cs.bind(first, selector)

    @cs.task
    def ending(n: Any) -> Any:
        return n

    for stops in ((), (0,), (1,), (2,), (3, 4), (0, 1, 2, 3, 4)):
        engine = cs.Engine(state_backend="memory")
        broken.update(stops)
        while broken:
            with pytest.raises(OSError, match="broken"):
                await engine.run(ending(target), run_id="one")
        await engine.run(ending(target), run_id="one")
    assert len(keys) > 2
    assert all(len(each) == 1 for each in keys.values())
    assert len(set.union(*keys.values())) == len(keys)


@awaited
async def test_attempts_are_counted() -> None:
    for mode in ("retries in place", "retries in threads"):
        (found,) = await places("auto", mode, 1)
        assert [attempt for _, _, attempt, _ in found] == [1, 2, 3]
        assert len({key for *_, key in found}) == 1
    (found,) = await places("auto", "retries of a sub-flow", 1)
    assert len({key for *_, key in found}) == 2


@awaited
async def test_a_key_is_of_the_run() -> None:
    engine, keys = cs.Engine(), []

    @cs.task
    def key() -> str:
        return cs.current().key

    for run_id in ("a", "a", "b", None, None):
        keys.append(await engine.run(key(), run_id=run_id))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    assert all(len(each) == 32 and each.isascii() for each in keys)


@awaited
async def test_the_logger_knows_the_call(caplog: pytest.LogCaptureFixture) -> None:
    @cs.task
    def speak(x: int) -> None:
        cs.current().logger.warning("here is %d", x, extra={"more": 1})

    await cs.Engine().run(speak.map(x=[7]), run_id="talk")
    (record,) = [record for record in caplog.records if record.getMessage() == "here is 7"]
    assert record.name == __name__
    known = vars(record)
    assert (known["run_id"], known["task_id"], known["iteration"], known["attempt"], known["more"]) == (
        *("talk", "speak#1[0]", 0, 1, 1),
    )
    assert record.levelno == logging.WARNING


@awaited
async def test_progress_is_kept_for_who_looks() -> None:
    engine, going = cs.Engine(), asyncio.Event()

    @cs.task
    async def slow(x: int) -> None:
        cs.current().progress(x)
        cs.current().progress(x, 10)
        going.set()
        await asyncio.Event().wait()

    run = engine.start(slow.map(x=[3]))
    await going.wait()
    state = engine._active[run.id].run
    assert progress_of(state, asyncio.get_running_loop()).reported == {"slow#1[0]": (3, 10)}
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@awaited
async def test_a_call_left_behind_still_knows() -> None:
    release, found = threading.Event(), []
    begun = threading.Event()

    @cs.task(mode="blocking")
    def stuck() -> None:
        begun.set()
        release.wait(10)
        found.append(cs.current().task_id)

    @cs.task
    async def other() -> None:
        while not begun.is_set():
            await asyncio.sleep(0)
        raise OSError

    engine = cs.Engine(thread_grace=0.01)
    waiting = engine.start([stuck().with_timeout(0.05).with_retry(max_attempts=1), stay()])
    while not engine._active[waiting.id].run or not engine._active[waiting.id].run.abandoned:
        await asyncio.sleep(0.001)
        if waiting.status != "Running":
            break
    release.set()
    with pytest.raises((TimeoutError, asyncio.CancelledError)):
        await waiting
    await engine.aclose()
    assert found in (["stuck#1"], [])


@cs.task
async def stay() -> None:
    await asyncio.sleep(0.2)


@awaited
async def test_outside_of_tasks_it_is_refused() -> None:
    with pytest.raises(RuntimeError, match="outside of any task"):
        cs.current()

    @cs.task
    async def starts() -> asyncio.Task[None]:
        async def alone() -> None:
            await asyncio.sleep(0)
            cs.current()

        return asyncio.create_task(alone())

    left = await cs.Engine().run(starts())
    with pytest.raises(RuntimeError, match="does not wait for"):
        await left


@cs.task(mode="process", retry=2)
def in_process(n: int) -> tuple[Any, ...]:
    here = cs.current()
    records: list[Any] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign, assignment]
    here.logger.logger.addHandler(handler)
    here.logger.warning("here")
    if here.attempt == 1:
        raise ValueError(f"not {n} yet")
    (record,) = records
    told = record.run_id, record.task_id, record.name
    here.progress(1)
    return here.run_id, here.task_id, here.attempt, here.iteration, here.key, told


@pytest.mark.parametrize("state_backend", [None, "memory"])
@awaited
async def test_in_processes_as_well(state_backend: Any) -> None:
    @cs.task
    def here() -> str:
        return cs.current().key

    async with cs.Engine(state_backend=state_backend) as engine:
        (found,), key = await engine.run([in_process.map(n=[7]), here()], run_id="r")
        name, logged = "in_process#1[0]", ("r", "in_process#1[0]", __name__)
        assert (*found[:4], found[5]) == ("r", name, 2, 0, logged)
        ((again,), _) = await engine.run([in_process.map(n=[7]), here()])
        assert len(found[4]) == len(key) == 32
        assert len({found[4], again[4], key}) == 3
