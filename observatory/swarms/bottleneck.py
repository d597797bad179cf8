"""Many agents, few places: each rests and then wants to work, and no more work at once than a limit allows."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cascade as cs
from cascade.runtime.events import TaskBlocked
from observatory.swarms.picture import Colours
from observatory.swarms.recording import Recording
from observatory.swarms.show import Show

__all__ = ["Options", "Outcome", "State", "palette", "recording", "run"]

COLUMNS = 25
FULL = 0.99
"""So much of the places has to be taken while somebody waits for one."""
UNFAIR = 2
"""Nobody works more often than another by more than this."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a crowd is like; times in seconds."""

    agents: int = 500
    places: int = 20
    duration: float = 15.0
    seed: int = 1


class State(IntEnum):
    """What an agent does."""

    SLEEPING = 0
    BLOCKED = 1
    """It was told of as blocked."""
    RUNNING = 2
    GONE = 3


@dataclass(slots=True)
class Outcome:
    """What was seen of a crowd."""

    options: Options
    works: list[int] = field(default_factory=list)
    """How often each agent worked."""
    blocked: int = 0
    """How often one was told of as blocked."""
    most: int = 0
    """So many worked at once."""
    mean: float = 0.0
    """So many worked in the mean while somebody waited."""
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say it in a line."""
        return (
            f"bottleneck: {self.options.agents:,} agents, {sum(self.works):,} times work, {min(self.works)} to "
            f"{max(self.works)} each, blocked {self.blocked:,} times, {self.mean:.1f} of {self.options.places} places "
            "taken"
        )


class Crowd:
    """What all agents share."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.draw = random.Random(options.seed)
        size = -(-options.agents // COLUMNS) * COLUMNS
        self.states: NDArray[np.uint8] = np.full(size, State.GONE, np.uint8)
        self.works = [0] * options.agents
        self.running = 0
        self.most = 0
        self.blocked = 0
        self.is_over = False

    def told(self, event: TaskBlocked) -> None:
        """Hear that an agent is held back: its node is called "agent 17"."""
        self.blocked += 1
        self.states[int(event.task_id.split("#")[0].split()[1])] = State.BLOCKED

    def count(self, state: State) -> int:
        """Return how many are in a state."""
        return int(np.count_nonzero(self.states == state))


@cs.task
async def rest(me: int, crowd: Crowd) -> Any:
    """Sleep for a while, and want to work; the value is how often the agent did."""
    crowd.states[me] = State.SLEEPING
    await asyncio.sleep(crowd.draw.uniform(0.5, 1.5))
    if crowd.is_over:
        crowd.states[me] = State.GONE
        return crowd.works[me]
    return cs.Jump("work")


@cs.task
async def work(me: int, crowd: Crowd) -> Any:
    """Work for a while: the limit is for this task."""
    crowd.running += 1
    crowd.most = max(crowd.most, crowd.running)
    crowd.states[me] = State.RUNNING
    await asyncio.sleep(0.0 if crowd.is_over else crowd.draw.uniform(0.1, 0.3))
    crowd.running -= 1
    crowd.works[me] += not crowd.is_over
    return cs.Jump("rest")


async def watch(crowd: Crowd, outcome: Outcome, show: Show) -> None:
    """Look at the crowd until its time is up."""
    loop = asyncio.get_running_loop()
    start, looks, taken = loop.time(), 0, list[int]()
    while not crowd.is_over:
        looks += 1
        await asyncio.sleep(max(0.0, start + looks * show.pause - loop.time()))
        now = loop.time() - start
        sleeping, blocked, running = map(crowd.count, (State.SLEEPING, State.BLOCKED, State.RUNNING))
        if blocked:
            taken.append(running)
        text = f"{now:4.1f} s · {sleeping} sleep · {blocked} are blocked · {running} work · {sum(crowd.works):,} done"
        show.line(text)
        show.frame(crowd.states.reshape(-1, COLUMNS), text, blocked / crowd.options.agents)
        crowd.is_over = now >= crowd.options.duration - 1e-9
    outcome.mean = sum(taken) / len(taken) if taken else 0.0


async def run(options: Options, show: Show) -> Outcome:
    """Run a crowd to its end; what is not as it should be stands in `faults`."""
    crowd, outcome, agents = Crowd(options), Outcome(options), []
    for me in range(options.agents):
        resting, working = rest(me, cs.Value(crowd)), work(me, cs.Value(crowd)).named(f"agent {me}")
        ways = cs.select_jump({"work": working, "rest": resting})
        agents.append(cs.bind(resting, ways))
        cs.bind(working, ways)
    async with cs.Engine() as engine:
        engine.set_limit("task:work", concurrency=options.places)
        engine.bus.subscribe(TaskBlocked, crowd.told)
        watching = asyncio.create_task(watch(crowd, outcome, show))
        try:
            outcome.works = await engine.run(agents)
            await watching
        finally:
            watching.cancel()
    outcome.most, outcome.blocked = crowd.most, crowd.blocked
    judge(outcome)
    return outcome


def judge(outcome: Outcome) -> None:
    """Say what is wrong: a limit that is broken, that is not used, or that some pass more often than others."""
    places = outcome.options.places
    if outcome.most > places:
        outcome.faults.append(f"{outcome.most} worked at once, where {places} may.")
    if outcome.blocked and outcome.mean < FULL * places:
        outcome.faults.append(f"Only {outcome.mean:.1f} of {places} places were taken while somebody waited.")
    if max(outcome.works) - min(outcome.works) > UNFAIR:
        outcome.faults.append(f"One worked {min(outcome.works)} times, another one {max(outcome.works)} times.")


def palette() -> Colours:
    """Return the colour of each state: night blue, amber, green; and none."""
    return np.array([[32, 42, 78], [255, 170, 50], [70, 220, 130], [9, 11, 20]], np.uint8)


def recording(options: Options) -> Recording:
    """Return an empty recording of a crowd."""
    about = f"{options.agents:,} agents, of whom {options.places} may work at once."
    legend = {0: "sleeps", 1: "is blocked", 2: "works"}
    return Recording("The bottleneck", palette(), legend, about, "blocked, 0 to all")
