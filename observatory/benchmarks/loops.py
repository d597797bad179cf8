"""Rows about loops that never wait: jump loops, light, heavy and with states, and tail calls."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import cascade as cs
from cascade import TailCall
from observatory.benchmarks import tco_performance as tco
from observatory.benchmarks.harness import Line, Pairs, calls, pairs, row, speed
from observatory.readme import ROOT

PAIRS = 15
HEAVY = tco.CHAIN + 1  # nodes an iteration


def by_hand_unrolled(n: int) -> str:
    """Do what `tco.heavy_by_hand` does with the chain written out, by position."""
    noop, step = tco.plain_noop, tco.plain_heavy_step
    while True:
        value = noop(noop(noop(noop(noop(noop(noop(noop(noop(noop(noop()))))))))))
        value = noop(noop(noop(noop(noop(noop(noop(noop(noop(noop(value))))))))))
        jump = step(n, value)
        if jump.target_key == "exit":
            return jump.data
        n = jump.data


def by_cascade(engine: cs.Engine, target: Any) -> Any:
    """Return what measures one run of a target that was declared before."""
    return lambda: tco.seconds(engine.run(target))


def by_hand(loop: Callable[[int], str], n: int) -> Callable[[], float]:
    return lambda: tco.seconds_by_hand(loop, n)


async def check_heavy(engine: cs.Engine, target: Any, n: int, loop: Callable[[int], str] = tco.heavy_by_hand) -> None:
    """See that both make 22 calls in each of n iterations."""
    expected = [tco.CHAIN * n, n]
    assert await calls(engine.run(target), tco.noop.func, tco.heavy_step.func) == expected
    assert await calls(lambda: loop(n), tco.plain_noop, tco.plain_heavy_step) == expected
    assert sum(expected) == HEAVY * n


async def warm(name: str, target: Any, task: Any, loop: Any, plain: Any, n: int, least: float | None) -> Line:
    """Compare a loop of one call an iteration that has run before, at the tier that an engine chooses."""
    async with cs.Engine() as engine:
        found = await pairs(by_cascade(engine, target), by_hand(loop, n), PAIRS)
        assert await calls(engine.run(target), task.func) == [n]
        assert await calls(lambda: loop(n), plain) == [n]
    return speed(f"{name}, warm", found, n, "ns an iteration", least)


@row("heavy")
async def heavy() -> list[Line]:
    """22 calls an iteration, against the loop as one would write it, and against it unrolled."""
    n = 10_000
    target = tco.heavy_loop(n)
    async with cs.Engine() as engine:
        found = await pairs(by_cascade(engine, target), by_hand(tco.heavy_by_hand, n), PAIRS)
        unrolled = await pairs(by_cascade(engine, target), by_hand(by_hand_unrolled, n), PAIRS)
        await check_heavy(engine, target, n)
        await check_heavy(engine, target, n, by_hand_unrolled)
    return [
        speed("heavy loop, warm", found, n * HEAVY, least=1.0),
        speed("heavy loop, warm, to the unrolled loop", unrolled, n * HEAVY),
    ]


@row("heavy-fresh")
async def heavy_fresh() -> list[Line]:
    """The same with tasks that nobody has called before, 5,000 iterations; declared and run once."""
    n = 5_000

    async def ours() -> float:
        made: dict[str, Any] = {}
        exec(SOURCE, made)  # new functions: nothing is known of them
        start = time.perf_counter()
        async with cs.Engine() as engine:
            noop, step = cs.task(made["noop"]), cs.task(made["step"])
            result = await engine.run(tco.heavy_loop(n, step, noop))
        taken = time.perf_counter() - start
        assert result == "done"
        return taken

    found = await pairs(ours, by_hand(tco.heavy_by_hand, n), PAIRS)
    return [speed("heavy loop, fresh tasks, once", found, n * HEAVY, least=0.5)]


SOURCE = """
from cascade import Jump
def noop(_dummy=None):
    return "done"
def step(n, _structure=None):
    if n <= 1:
        return Jump("exit", "done")
    return Jump("again", n - 1)
"""


@row("heavy-process", processes=1)
async def heavy_process() -> list[Line]:
    """The same, each pair in a process of its own: our time has the start of an event loop, and all is new."""
    found = Pairs()
    for turn in range(PAIRS):
        command = [sys.executable, "-c", FRESH_PROCESS, str(turn % 2)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        ours, baseline = json.loads(done.stdout)
        found.ours.append(ours)
        found.baseline.append(baseline)
    return [speed("heavy loop, fresh process, once", found, 5_000 * HEAVY, least=0.5)]


FRESH_PROCESS = """
import json, sys
from observatory.benchmarks import loops
print(json.dumps(loops.one_pair(5_000, ours_first=sys.argv[1] == "1")))
"""


def one_pair(n: int, ours_first: bool) -> tuple[float, float]:
    """Return the seconds that the heavy loop takes the first time in a process, and those by hand."""

    async def declared_and_run() -> str:
        async with cs.Engine() as engine:
            return await engine.run(tco.heavy_loop(n))

    def ours() -> float:
        start = time.perf_counter()
        result = asyncio.run(declared_and_run())
        taken = time.perf_counter() - start
        assert result == "done"
        return taken

    baseline = by_hand(tco.heavy_by_hand, n)
    if ours_first:
        taken = ours()
        return taken, baseline()
    theirs = baseline()
    return ours(), theirs


@row("heavy-interpreted", processes=1)
async def heavy_interpreted() -> list[Line]:
    """The interpreter alone."""
    n = 10_000
    target = tco.heavy_loop(n)
    async with cs.Engine(tier="interpret") as engine:
        found = await pairs(by_cascade(engine, target), by_hand(tco.heavy_by_hand, n), PAIRS)
        await check_heavy(engine, target, n)
    return [speed("heavy loop, warm, interpreted", found, n * HEAVY, least=0.2)]


@row("simple")
async def simple() -> list[Line]:
    """One call and one Jump an iteration."""
    n = 200_000
    return [await warm("jump loop", tco.simple_loop(n), tco.step, tco.simple_by_hand, tco.plain_step, n, 0.85)]


@row("tail")
async def tail() -> list[Line]:
    """One call and one TailCall an iteration."""
    n = 100_000
    return [await warm("TailCall loop", tco.tail_loop(n), tco.tail_step, tco.tail_by_hand, tco.plain_tail_step, n, 1.0)]


# --- two blueprints that call each other


class OwnHandover:
    """What `TailCall` is, by hand."""

    __slots__ = ("args", "kwargs", "target_blueprint_id")

    def __init__(self, args: Any = (), kwargs: Any = None, target_blueprint_id: Any = None) -> None:
        self.args = args
        self.kwargs = {} if kwargs is None else kwargs
        self.target_blueprint_id = target_blueprint_id


def plain_even(n: int) -> Any:
    if n <= 1:
        return "done"
    return OwnHandover([n - 1], target_blueprint_id="odd")


def plain_odd(n: int) -> Any:
    return OwnHandover([n - 1], target_blueprint_id="even")


@cs.task
def even(n: int) -> Any:
    if n <= 1:
        return "done"
    return TailCall([n - 1], target_blueprint_id="odd")


@cs.task
def odd(n: int) -> Any:
    return TailCall([n - 1], target_blueprint_id="even")


def mutual_by_hand(n: int) -> str:
    targets = {"even": plain_even, "odd": plain_odd}
    target, args = plain_even, [n]
    while True:
        result = target(*args)
        if result.__class__ is not OwnHandover:
            return result
        target, args = targets[result.target_blueprint_id], result.args


@row("mutual", processes=1)
async def mutual() -> list[Line]:
    """One call and one TailCall to the other blueprint an iteration."""
    n = 100_001
    target = even(n)
    async with cs.Engine() as engine:
        engine.register_blueprint("even", even(0))
        engine.register_blueprint("odd", odd(0))
        found = await pairs(by_cascade(engine, target), by_hand(mutual_by_hand, n), PAIRS)
        assert await calls(engine.run(target), even.func, odd.func) == [n // 2 + 1, n // 2]
        assert await calls(lambda: mutual_by_hand(n), plain_even, plain_odd) == [n // 2 + 1, n // 2]
    return [speed("TailCall loop of two blueprints, warm", found, n, "ns an iteration")]


# --- three states, one after the other


def plain_red(n: int) -> Any:
    return tco.OwnJump("green", n - 1)


def plain_green(n: int) -> Any:
    return tco.OwnJump("yellow", n - 1)


def plain_yellow(n: int) -> Any:
    if n <= 1:
        return tco.OwnJump("exit", "done")
    return tco.OwnJump("red", n - 1)


@cs.task
def red(n: int) -> Any:
    return cs.Jump("green", n - 1)


@cs.task
def green(n: int) -> Any:
    return cs.Jump("yellow", n - 1)


@cs.task
def yellow(n: int) -> Any:
    if n <= 1:
        return cs.Jump("exit", "done")
    return cs.Jump("red", n - 1)


def states(n: int) -> Any:
    """Declare the machine; it begins in red and makes n steps, n being a multiple of three."""
    first = red(n)
    routes = {"red": first, "green": green(0), "yellow": yellow(0), "exit": None}
    selector = cs.select_jump(routes)
    for state in (routes["red"], routes["green"], routes["yellow"]):
        cs.bind(state, selector)
    return first


def states_by_hand(n: int) -> str:
    state = "red"
    while True:
        if state == "red":
            jump = plain_red(n)
        elif state == "green":
            jump = plain_green(n)
        else:
            jump = plain_yellow(n)
        state = jump.target_key
        if state == "exit":
            return jump.data
        n = jump.data


ALARMS = 20


def plain_amber(n: int) -> Any:
    return tco.OwnJump("yellow" if n > 3 * ALARMS else "alarm", n - 1)


def plain_alarm(n: int) -> Any:
    if n <= 1:
        return tco.OwnJump("exit", "done")
    return tco.OwnJump("red", n - 1)


@cs.task
def amber(n: int) -> Any:
    return cs.Jump("yellow" if n > 3 * ALARMS else "alarm", n - 1)


@cs.task
def alarm(n: int) -> Any:
    return cs.Jump("red", n - 1) if n > 1 else cs.Jump("exit", "done")


def limited_states(n: int) -> Any:
    """Declare the machine with a state of a lesser limit than the others, in the place of yellow at the end."""
    first = red(n)
    routes = {"red": first, "green": amber(0), "yellow": yellow(0), "alarm": alarm(0), "exit": None}
    selector = cs.select_jump(routes)
    for key, state in routes.items():
        if state is not None:
            cs.bind(state, selector, max_iterations=2 * n if key == "alarm" else 4 * n)
    return first


def limited_by_hand(n: int) -> str:
    state, limit = "red", 4 * n
    for _ in range(limit):
        if state == "red":
            jump = plain_red(n)
        elif state == "green":
            jump = plain_amber(n)
        elif state == "yellow":
            jump = plain_yellow(n)
        else:
            jump = plain_alarm(n)
        state = jump.target_key
        if state == "exit":
            return jump.data
        n = jump.data
    raise RuntimeError(limit)


@row("states-limited", processes=1)
async def limited_machine() -> list[Line]:
    """Three states with a limit, and one with a lesser one that is entered at the end alone."""
    n = 99_999
    target = limited_states(n)
    async with cs.Engine() as engine:
        for _ in range(20):  # so often that the last state is as well known as the others
            await engine.run(target)
        found = await pairs(by_cascade(engine, target), by_hand(limited_by_hand, n), PAIRS)
        expected = [n // 3] * 2 + [n // 3 - ALARMS, ALARMS]
        assert await calls(engine.run(target), red.func, amber.func, yellow.func, alarm.func) == expected
        by_hand_of = plain_red, plain_amber, plain_yellow, plain_alarm
        assert await calls(lambda: limited_by_hand(n), *by_hand_of) == expected
    return [speed("state machine with a state of a lesser limit", found, n, "ns an iteration", least=0.6)]


@row("states", processes=1)
async def state_machine() -> list[Line]:
    """Three states that lead to each other."""
    n = 99_999
    target = states(n)
    async with cs.Engine() as engine:
        found = await pairs(by_cascade(engine, target), by_hand(states_by_hand, n), PAIRS)
        assert await calls(engine.run(target), red.func, green.func, yellow.func) == [n // 3] * 3
        assert await calls(lambda: states_by_hand(n), plain_red, plain_green, plain_yellow) == [n // 3] * 3
    return [speed("state machine of three states, warm", found, n, "ns an iteration")]
