"""What a row is, and how it measures: interleaved pairs with hand-written Python, in one process.

A *row* is a coroutine function that returns *lines*. A line compares what Cascade took with what its baseline
took, or is one figure with a budget of its own. A ratio is the median of the ratios of pairs, each pair measured
back to back: what disturbs a machine for longer than that disturbs both.
"""

import gc
import inspect
import platform
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["ROWS", "Line", "Pairs", "figure", "machine", "pairs", "row", "speed", "wall_time"]

Measured = Callable[[], float | Awaitable[float]]
"""Does the work once, checks what came out, and returns the seconds that the work alone took."""

ROWS: dict[str, Callable[[], Awaitable[list["Line"]]]] = {}


@dataclass(frozen=True)
class Line:
    """One line of the table. `passed` is None where the budget is for later, or there is none."""

    name: str
    unit: str
    ours: float
    baseline: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    budget: str = ""
    passed: bool | None = None


@dataclass(frozen=True)
class Pairs:
    """Seconds, pair by pair."""

    ours: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)

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


def row(name: str) -> Callable[[Any], Any]:
    """Register a row under a name."""

    def register(measure: Any) -> Any:
        assert name not in ROWS, name
        ROWS[name] = measure
        return measure

    return register


async def pairs(ours: Measured, baseline: Measured, count: int) -> Pairs:
    """Measure a pair that does not count, to warm up, and then `count` pairs."""
    await Pairs().add(ours, baseline)
    found = Pairs()
    for _ in range(count):
        await found.add(ours, baseline)
    return found


def speed(
    name: str, found: Pairs, count: int, unit: str = "ns a node", least: float | None = None, later: bool = False
) -> Line:
    """Return a line that asks for at least a share of the baseline's speed; `count` units were done each time."""
    ratios = found.speeds()
    passed = None if later or least is None else median(ratios) >= least
    return _compared(name, found, ratios, count, unit, ">=", least, passed, later)


def wall_time(name: str, found: Pairs, unit: str, most: float, later: bool = False) -> Line:
    """Return a line that asks for at most so many times the baseline's time."""
    ratios = [1 / ratio for ratio in found.speeds()]
    passed = None if later else median(ratios) <= most
    return _compared(name, found, ratios, 1, unit, "<=", most, passed, later)


def figure(
    name: str,
    ours: float,
    unit: str,
    most: float | None = None,
    later: bool = False,
    found: Pairs | None = None,
    least: float | None = None,
    baseline: float | None = None,
) -> Line:
    """Return a line whose budget is for our figure itself; the speeds of `found`, if given, are for information."""
    bound, sign = (most, "<=") if least is None else (least, ">=")
    passed = None
    if bound is not None and not later:
        passed = ours <= bound if least is None else ours >= bound
    ratios = found.speeds() if found is not None else []
    if found is not None:
        baseline = median(found.baseline) * SCALES[unit.partition(" ")[0]]
    spread = (median(ratios), min(ratios), max(ratios)) if ratios else (None, None, None)
    return Line(name, unit, ours, baseline, *spread, _budget(sign, bound, later, unit), passed)


def machine() -> str:
    """Say what the figures were measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{platform.python_implementation()} {platform.python_version()}, {model}, {time.strftime('%Y-%m-%d')}"


SCALES = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}


def _compared(
    name: str,
    found: Pairs,
    ratios: list[float],
    count: int,
    unit: str,
    sign: str,
    bound: float | None,
    passed: bool | None,
    later: bool,
) -> Line:
    scale = SCALES[unit.partition(" ")[0]] / count
    ours, baseline = median(found.ours) * scale, median(found.baseline) * scale
    budget = _budget(sign, bound, later)
    return Line(name, unit, ours, baseline, median(ratios), min(ratios), max(ratios), budget, passed)


def _budget(sign: str, bound: float | None, later: bool, unit: str = "") -> str:
    if bound is None:
        return ""
    return f"{sign} {bound:g}{' ' + unit if unit else ''}{' later' if later else ''}"
