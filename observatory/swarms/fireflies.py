"""Fireflies that come to flash in step: each hears its eight neighbours and nothing else.

An agent is a jump loop. Its phase grows with time; at the end of its period it flashes, tells its neighbours and is
deaf for a while. Who hears a flash is nudged on. Mirollo and Strogatz (1990) show why such oscillators find one beat.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cascade as cs
from cascade.adapters.connectors.callbacks import listen
from cascade.adapters.connectors.local import LocalConnector
from observatory.swarms.mailbox import Mailbox, neighbours
from observatory.swarms.picture import Colours
from observatory.swarms.recording import Recording
from observatory.swarms.show import Show

__all__ = ["Monitor", "Options", "Outcome", "order", "palette", "recording", "run"]

TOPIC = "firefly/flash"
IN_STEP = 0.95
DEAF = 0.2  # of a period, after a flash
LOOKS_A_SECOND = 2
SHADES = 64


@dataclass(frozen=True, slots=True)
class Options:
    """What a swarm of fireflies is like; times in seconds."""

    side: int = 50
    """There are side x side agents."""
    period: float = 5.0
    nudge: float = 0.5
    """So far a flash of a neighbour moves the phase of an agent on."""
    duration: float = 50.0
    """It ends after this time, or when they flash in step."""
    after: float = 0.0
    """So long it goes on when they flash in step."""
    fade: float = 0.3
    """What part of a period a flash can be seen."""
    seed: int = 1


@dataclass(slots=True)
class Night:
    """What all fireflies of a run share."""

    options: Options
    connector: LocalConnector
    is_over: bool = False


class Firefly:
    """One agent."""

    __slots__ = ("deaf_to", "flashes", "heard", "hears", "id", "near", "night")

    def __init__(self, id: int, night: Night) -> None:
        self.id = id
        self.night = night
        self.hears: Mailbox[int] = Mailbox()
        self.near: tuple[Mailbox[int], ...] = ()
        self.flashes = 0
        self.heard = 0
        self.deaf_to = 0


def swarm_of(night: Night) -> list[Firefly]:
    """Return the agents of a grid that wraps around, each with the mailboxes of its neighbours."""
    side = night.options.side
    found = [Firefly(id, night) for id in range(side * side)]
    for each in found:
        each.near = tuple(found[at].hears for at in neighbours(each.id, side, side))
    return found


@cs.task
async def firefly(me: Firefly, phase: float) -> Any:
    """Wait for what comes next in the life of an agent, and jump to it; its value is how often it flashed."""
    night, period = me.night, me.night.options.period
    if night.is_over:
        return me.flashes
    if phase < DEAF * period:
        await asyncio.sleep(DEAF * period - phase)
        me.deaf_to += len(me.hears.take_nowait())
        return cs.Jump("on", {"phase": DEAF * period})
    if phase < period:
        clock = asyncio.get_running_loop().time
        start = clock()
        heard = await me.hears.take(period - phase)
        if heard:
            me.heard += len(heard)
            return cs.Jump("on", {"phase": phase + clock() - start + night.options.nudge * len(heard)})
        if night.is_over:
            return me.flashes
    me.flashes += 1
    night.connector.publish_nowait(TOPIC, {"agent_id": me.id, "phase": phase})
    for neighbour in me.near:
        neighbour.put(me.id)
    return cs.Jump("on", {"phase": first_phase(me)})


def first_phase(me: Firefly) -> float:
    """Draw where an agent begins anew after a flash.

    By its number and those of its flashes, not one after the other: which of two agents comes first at one moment is
    nobody's business, so that what a swarm does depends on its seed alone.
    """
    number = (me.night.options.seed * 1_000_003 + me.id) * 1_000_003 + me.flashes
    return random.Random(number).random() * 0.1


def order(phases: NDArray[np.float64]) -> float:
    """Return how much phases (of 1, NaN: none yet) agree: 0 not at all, 1 all are the same."""
    known = phases[~np.isnan(phases)]
    return float(abs(np.exp(2j * np.pi * known).sum()) / len(phases))


class Monitor:
    """Hears of each flash by the connector, and of nothing else."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.flashes: int = 0
        self.last: NDArray[np.float64] = np.full(options.side**2, np.nan)
        """When each agent flashed last."""

    def heard(self, topic: str, flash: dict[str, Any]) -> None:
        """Take down a flash."""
        self.flashes += 1
        self.last[flash["agent_id"]] = asyncio.get_running_loop().time()

    def order(self, now: float) -> float:
        """Return the order parameter at a time."""
        return order((now - self.last) / self.options.period % 1)

    def brightness(self, now: float) -> NDArray[np.uint8]:
        """Return how bright each agent is, as one of 64 shades: all at its flash, then less and less."""
        left = 1 - (now - self.last) / (self.options.fade * self.options.period)
        shades = np.nan_to_num(np.clip(left, 0, 1)) * (SHADES - 1)
        return shades.round().astype(np.uint8).reshape(self.options.side, self.options.side)


def palette() -> Colours:
    """Return the 64 shades: dark blue, orange, pale yellow."""
    stops = np.array([0.0, 0.12, 0.45, 0.8, 1.0])
    colours = np.array([[9, 12, 34], [38, 24, 58], [190, 84, 22], [255, 176, 60], [255, 246, 196]])
    at = np.linspace(0, 1, SHADES)
    found: Colours = np.stack([np.interp(at, stops, colours[:, i]) for i in range(3)], axis=1).round().astype(np.uint8)
    return found


@dataclass(slots=True)
class Outcome:
    """What was seen of a swarm."""

    options: Options
    flashes: int = 0
    heard: int = 0
    deaf_to: int = 0
    in_step_after: float | None = None
    """Periods until they flashed in step."""
    orders: list[float] = field(default_factory=list)
    """The order parameter, twice a second."""
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say it in a line."""
        step = self.in_step_after
        when = "never in step" if step is None else f"in step after {step:.1f} periods"
        agents = self.options.side**2
        return f"fireflies: {agents:,} agents, {when}, {self.flashes:,} flashes, {8 * self.flashes:,} signals"


def recording(options: Options) -> Recording:
    """Return an empty recording of a swarm."""
    about = f"{options.side**2:,} agents that hear their eight neighbours, and find one beat."
    legend = {SHADES - 1: "flashes", SHADES // 2: "glows", 0: "waits"}
    return Recording("Fireflies", palette(), legend, about, "R, 0 to 1", glow=True)


def is_in_step(orders: list[float], period: float) -> bool:
    """Say whether a swarm was in step all of its last period: at one moment it may seem so by chance."""
    looks = round(period * LOOKS_A_SECOND)
    return len(orders) >= looks and sum(orders[-looks:]) / looks >= IN_STEP


def bar(share: float, width: int) -> str:
    """Return a bar of so many characters."""
    return "█" * (full := round(share * width)) + "░" * (width - full)


async def watch(monitor: Monitor, night: Night, outcome: Outcome, show: Show) -> None:
    """Look at the swarm until it is in step or its time is up, and show what is seen."""
    options, loop = night.options, asyncio.get_running_loop()
    start, look = loop.time(), 0
    end = options.duration
    while not night.is_over:
        await asyncio.sleep(max(0.0, start + (look + 1) * show.pause - loop.time()))
        look += 1
        now = loop.time() - start
        found = monitor.order(loop.time())
        if now * LOOKS_A_SECOND >= len(outcome.orders) + 1 - 1e-9:
            outcome.orders.append(found)
            if outcome.in_step_after is None and is_in_step(outcome.orders, options.period):
                outcome.in_step_after = now / options.period
                end = min(end, now + options.after)
            show.line(f"{now:6.1f} s [{bar(found, 40)}] R = {found:.3f}")
        pulses = monitor.flashes // len(monitor.last)
        show.frame(
            monitor.brightness(loop.time()),
            f"{len(monitor.last):,} fireflies · period {options.period:g} s · nudge {options.nudge:g} · "
            f"R {found:.3f} {bar(found, 20)} · pulse {pulses} · {monitor.flashes:,} flashes",
            found,
        )
        night.is_over = now >= end - 1e-9


async def run(options: Options, show: Show) -> Outcome:
    """Run a swarm to its end; what is not as it should be stands in `faults`."""
    draw = random.Random(options.seed)
    connector = LocalConnector()
    night, monitor, outcome = Night(options, connector), Monitor(options), Outcome(options)
    swarm = swarm_of(night)
    phases = [draw.random() * options.period for _ in swarm]
    lives = firefly.map(me=swarm, phase=phases)
    cs.bind(lives, cs.select_jump({"on": lives}))
    listening = await listen(connector, TOPIC, monitor.heard)
    async with cs.Engine() as engine:
        watching = asyncio.create_task(watch(monitor, night, outcome, show))
        try:
            told: list[int] = await engine.run(lives)
            await watching
        finally:
            watching.cancel()
    await asyncio.sleep(0)  # the last flashes are on their way
    await listening.unsubscribe()
    judge(outcome, swarm, told, monitor.flashes)
    return outcome


def judge(outcome: Outcome, swarm: list[Firefly], told: list[int], noticed: int) -> None:
    """Hold what the agents say against each other and against what was noticed: nothing was lost or made up."""
    outcome.flashes = sum(told)
    outcome.heard = sum(each.heard for each in swarm)
    outcome.deaf_to = sum(each.deaf_to for each in swarm)
    left = sum(len(each.hears.take_nowait()) for each in swarm)
    found = outcome.heard + outcome.deaf_to + left
    if noticed != outcome.flashes:
        outcome.faults.append(f"The monitor was told of {noticed:,} of {outcome.flashes:,} flashes.")
    if found != 8 * outcome.flashes:
        outcome.faults.append(f"{8 * outcome.flashes:,} signals were sent, and {found:,} came.")
    if outcome.in_step_after is None:
        outcome.faults.append(
            f"In none of its periods was R {IN_STEP} in the mean, within {outcome.options.duration:g} s."
        )
