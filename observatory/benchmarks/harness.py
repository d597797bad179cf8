"""What a row is, and how it measures: interleaved pairs with hand-written Python, in one process.

A *row* is a coroutine function that returns *lines*. A line compares what Cascade took with what its baseline
took, or is one figure with a budget of its own. A ratio is the median of the ratios of pairs, each pair measured
back to back: what disturbs a machine for longer than that disturbs both. What one process happens to get, such as
where its memory lies, disturbs all its pairs alike; so a short row is measured in several processes.

A figure whose budget is a time, and no ratio, is judged at the *pace* of the machine that budgets are for: beside each
measurement a loop by hand is timed, whose speed there is known.
"""

import gc
import inspect
import itertools
import os
import platform
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from types import FunctionType
from typing import Any

from observatory.benchmarks import tco_performance as tco

__all__ = [
    *(
        "REFERENCE",
        "ROWS",
        "Line",
        "Pairs",
        "Row",
        "beside",
        "calls",
        "duration",
        "figure",
        "load",
        "machine",
        "pace",
        "pairs",
    ),
    *("row", "speed", "wall_time"),
]

Measured = Callable[[], float | Awaitable[float]]
"""Does the work once, checks what came out, and returns the seconds that the work alone took."""

PROCESSES = 3  # for a row, unless it says otherwise
REFERENCE = 52e-9
"""The seconds that a call of the heavy loop by hand takes, at the most, where budgets in time are to hold."""
PACE_ITERATIONS = 400
_by_hand: Callable[[int], str] = tco.heavy_by_hand


@dataclass(frozen=True)
class Row:
    """What measures some lines, and in how many processes that is done; of these, the median counts."""

    measure: Callable[[], Awaitable[list["Line"]]]
    processes: int


ROWS: dict[str, Row] = {}


@dataclass(frozen=True)
class Line:
    """One line of the table. `passed` is None where there is no budget."""

    name: str
    unit: str
    ours: float
    baseline: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    budget: str = ""
    passed: bool | None = None
    judged: float = 0.0  # what the budget is about: the ratio, or our figure itself


@dataclass(frozen=True)
class Pairs:
    """Seconds, pair by pair."""

    ours: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)
    paces: list[float] = field(default_factory=list)
    """How many times slower than the one that budgets in time are for the machine was meanwhile."""

    def speeds(self) -> list[float]:
        """Return our share of the baseline's speed in each pair: 1 is as fast, 0.5 takes twice as long."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.baseline, strict=True)]

    async def add(self, ours: Measured, baseline: Measured) -> None:
        """Measure one more pair, the other one first each time."""
        turns = [(self.ours, ours), (self.baseline, baseline)]
        for kept, measured in turns if len(self.ours) % 2 else reversed(turns):
            gc.collect()  # nobody pays for what another left behind
            taken = measured()
            kept.append(await taken if inspect.isawaitable(taken) else taken)
            if kept is self.ours:
                self.paces.append(pace())


def row(name: str, processes: int = PROCESSES) -> Callable[[Any], Any]:
    """Register a row under a name; one that takes long, or whose verdict is clear, takes one process."""

    def register(measure: Any) -> Any:
        assert name not in ROWS, name
        ROWS[name] = Row(measure, processes)
        return measure

    return register


async def pairs(ours: Measured, baseline: Measured, count: int) -> Pairs:
    """Measure a pair that does not count, to warm up, and then `count` pairs."""
    await Pairs().add(ours, baseline)
    found = Pairs()
    for _ in range(count):
        await found.add(ours, baseline)
    return found


def speed(name: str, found: Pairs, count: int, unit: str = "ns a node", least: float | None = None) -> Line:
    """Return a line that asks for at least a share of the baseline's speed; `count` units were done each time."""
    scale = SCALES[unit.partition(" ")[0]] / count
    return _compared(name, found, found.speeds(), unit, scale, ">=", least)


def wall_time(name: str, found: Pairs, unit: str, most: float) -> Line:
    """Return a line that asks for at most so many times the baseline's time: its ratio is one of times."""
    return _compared(name, found, [1 / ratio for ratio in found.speeds()], unit, SCALES[unit], "<=", most)


def figure(name: str, ours: float, unit: str, *, most: float | None = None, least: float | None = None) -> Line:
    """Return a line whose budget is for our figure itself."""
    sign, bound = ("<=", most) if least is None else (">=", least)
    budget = "" if bound is None else f"{sign} {bound:g} {unit}"
    return Line(name, unit, ours, budget=budget, passed=_holds(ours, sign, bound), judged=ours)


def duration(name: str, taken: list[float], paces: list[float], unit: str, most: float | None = None) -> Line:
    """Return a line whose budget is a time: of seconds, each taken at some pace, the median at the pace of 1."""
    scale, short = SCALES[unit.partition(" ")[0]], unit.partition(" ")[0]
    judged = median(each / at for each, at in zip(taken, paces, strict=True)) * scale
    budget = "" if most is None else f"<= {most:g} {short} ({judged:.3g})"
    return Line(name, unit, median(taken) * scale, budget=budget, passed=_holds(judged, "<=", most), judged=judged)


def beside(line: Line, found: Pairs) -> Line:
    """Return a line with the speeds of pairs, for information."""
    ratios = found.speeds()
    baseline = median(found.baseline) * SCALES[line.unit.partition(" ")[0]]
    return replace(line, baseline=baseline, ratio=median(ratios), low=min(ratios), high=max(ratios))


def pace() -> float:
    """Return how many times slower this machine is, just now, than the one that budgets in time are for."""
    start = time.perf_counter()
    _by_hand(PACE_ITERATIONS)
    return (time.perf_counter() - start) / ((tco.CHAIN + 1) * PACE_ITERATIONS * REFERENCE)


async def calls(work: Awaitable[Any] | Callable[[], Any], *functions: Any) -> list[int]:
    """Do the work once, not timed, and return how often each function was called, in whatever thread.

    The functions stay the same objects, so what was learned of them and compiled for them is what runs: for the
    time being, their code is replaced by code that counts and calls a twin. They must not be closures.
    """
    counters: list[_Counter] = []
    try:
        counters += map(_Counter, functions)
        done = work() if callable(work) else work
        if inspect.isawaitable(done):
            await done
    finally:
        found = [counter.end() for counter in counters]
    return found


class _Counter:
    """Counts the calls of a function from now to its end."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.code = function.__code__
        self.count = itertools.count()  # `next` of it is atomic
        self.name = f"_counted_{id(self)}"
        twin = FunctionType(self.code, function.__globals__, function.__name__, function.__defaults__)
        function.__globals__[self.name] = self.counting(twin)
        made: dict[str, Any] = {}
        begin, wait = ("async def", "await ") if inspect.iscoroutinefunction(function) else ("def", "")
        exec(f"{begin} counted(*args, **kwargs): return {wait}{self.name}(*args, **kwargs)", made)
        function.__code__ = made["counted"].__code__

    def counting(self, twin: FunctionType) -> Callable[..., Any]:
        def count_and_call(*args: Any, **kwargs: Any) -> Any:
            next(self.count)
            return twin(*args, **kwargs)

        return count_and_call

    def end(self) -> int:
        self.function.__code__ = self.code
        del self.function.__globals__[self.name]
        return next(self.count)


def machine() -> str:
    """Say what the figures were measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {model}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"


def load() -> str:
    """Say how busy the machine is, and how fast: figures of a busy one are worth little."""
    ns = median(pace() for _ in range(100)) * REFERENCE * 1e9
    return f"load {os.getloadavg()[0]:.1f}, {ns:.0f} ns a call by hand"


SCALES = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}


def _compared(
    name: str, found: Pairs, ratios: list[float], unit: str, scale: float, sign: str, bound: float | None
) -> Line:
    ours, baseline = median(found.ours) * scale, median(found.baseline) * scale
    middle = median(ratios)
    budget = "" if bound is None else f"{sign} {bound:g}"
    passed = _holds(middle, sign, bound)
    return Line(name, unit, ours, baseline, middle, min(ratios), max(ratios), budget, passed, middle)


def _holds(value: float, sign: str, bound: float | None) -> bool | None:
    if bound is None:
        return None
    return value >= bound if sign == ">=" else value <= bound
