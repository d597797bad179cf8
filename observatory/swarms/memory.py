"""Agents that go on and on: what the process takes must not grow with how long they have lived."""

from __future__ import annotations

import asyncio
import gc
import os
from dataclasses import dataclass, field
from typing import Any

import cascade as cs

__all__ = ["Options", "Outcome", "measure"]

SAMPLES = 20
WARM_UP = 5
"""Of the samples, these are not looked at."""
MOST = 50.0
"""More MB than that are a leak."""


@dataclass(frozen=True, slots=True)
class Options:
    """How many live for how long."""

    agents: int = 1_000
    generations: int = 100


@dataclass(slots=True)
class Outcome:
    """What was seen."""

    options: Options
    samples: list[float] = field(default_factory=list)
    """MB of the process, in the course of the run."""
    faults: list[str] = field(default_factory=list)

    @property
    def grown(self) -> float:
        """So many MB came at the most once all had begun."""
        return max(self.samples[WARM_UP:], default=0.0) - self.samples[WARM_UP] if self.samples[WARM_UP:] else 0.0

    def __str__(self) -> str:
        """Say it in a line."""
        now = f"{self.samples[-1]:.0f} MB" if self.samples else "nobody can say here how many MB"
        return (
            f"memory: {self.options.agents:,} agents, {self.options.generations:,} generations, {now}, "
            f"{self.grown:.1f} MB more than at first"
        )


def resident() -> float | None:
    """Return the MB of memory that this process has now, where that can be known."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
    except OSError:
        return None


def measure(options: Options) -> Outcome:
    """Let agents live, each a loop of its own, and look at the memory twenty times meanwhile."""
    outcome = Outcome(options)
    lived = 0
    every = max(1, options.agents * options.generations // SAMPLES)

    @cs.task
    async def live(generation: int) -> Any:
        nonlocal lived
        await asyncio.sleep(0)
        lived += 1
        if lived % every == 0 and (now := resident()) is not None:
            outcome.samples.append(now)
        return cs.Jump("on", generation + 1) if generation < options.generations else generation

    lives = live.map(generation=[1] * options.agents)
    cs.bind(lives, cs.select_jump({"on": lives}))
    gc.collect()
    told: list[int] = cs.run(lives, log_level="SILENT")
    if sum(told) != lived or lived != options.agents * options.generations:
        outcome.faults.append(f"{lived:,} generations were lived, not {options.agents * options.generations:,}.")
    if outcome.grown > MOST:
        outcome.faults.append(f"{outcome.grown:.1f} MB more are a leak.")
    return outcome
