"""Run a swarm, watch it, record it, check it: `python -m observatory.swarms fireflies|life|bottleneck|check`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade.testing import VirtualClock
from observatory.swarms import bottleneck, fireflies, life, memory
from observatory.swarms.picture import Colours, Picture
from observatory.swarms.recording import Recording
from observatory.swarms.show import Show

__all__ = ["main"]

BUILD = Path("build/observatory")
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    found = argparse.ArgumentParser(prog="python -m observatory.swarms", description=(__doc__ or "").split(":")[0])
    commands = found.add_subparsers(dest="command", required=True, metavar="fireflies | life | bottleneck | check")
    swarm = commands.add_parser("fireflies", help="oscillators that come to flash in step")
    usual = fireflies.Options()
    swarm.add_argument("--period", type=float, default=usual.period, help="seconds (%(default)s)")
    swarm.add_argument("--nudge", type=float, default=usual.nudge, help="what a flash adds to a phase (%(default)s)")
    swarm.add_argument("--duration", type=float, default=usual.duration, help="seconds, at the most (%(default)s)")
    swarm.add_argument("--after", type=float, help="seconds to go on when in step (0; with a picture, two periods)")
    swarm.add_argument("--decay-duty-cycle", type=float, default=usual.fade, help="part of a period that a flash glows")
    grid = commands.add_parser("life", help="Conway's life, held against a golden model")
    cells = life.Options()
    grid.add_argument("--generations", type=int, default=cells.generations, help="(%(default)s)")
    grid.add_argument("--pace", type=float, default=cells.pace, help="seconds a generation rests (%(default)s)")
    grid.add_argument("--plant", choices=["rule", "message"], help="a mistake that has to be found")
    limited = commands.add_parser("bottleneck", help="agents that wait for one of few places")
    jam = bottleneck.Options()
    limited.add_argument("--agents", type=int, default=jam.agents, help="(%(default)s)")
    limited.add_argument("--places", type=int, default=jam.places, help="that may work at once (%(default)s)")
    limited.add_argument("--duration", type=float, default=jam.duration, help="seconds (%(default)s)")
    for each in (swarm, grid):
        each.add_argument("--grid-side", type=int, default=usual.side, help="side x side agents (%(default)s)")
    for each in (swarm, grid, limited):
        each.add_argument("--seed", type=int, default=1, help="what is drawn goes by it (%(default)s)")
        each.add_argument(
            "--visualize", action=argparse.BooleanOptionalAction, default=sys.stdout.isatty(), help="show a picture"
        )
        each.add_argument("--speed", type=float, default=1.0, help="of the picture (%(default)s)")
        each.add_argument("--real-time", action="store_true", help="go by the real clock, not by a virtual one")
        each.add_argument("--html", type=Path, metavar="FILE", help="write a recording")
    check = commands.add_parser("check", help="all without a picture, and the planted mistakes; with recordings")
    check.add_argument("--full", action="store_true", help="10,000 agents each, and 100 generations")
    check.add_argument("--grid-side", type=int, help="side x side agents")
    check.add_argument("--folder", type=Path, default=BUILD, help="of the recordings (%(default)s)")
    return found


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


@dataclass(frozen=True, slots=True)
class Swarm:
    """What can be run and shown."""

    options: Any
    run: Callable[[Any, Show], Coroutine[Any, Any, Any]]
    palette: Callable[[], Colours]
    recording: Callable[[Any], Recording]

    def carry_out(self, show: Show, real_time: bool = False) -> tuple[Any, str]:
        """Run it; return what was seen, and that in a line."""
        start = time.process_time()
        work = self.run(self.options, show)
        outcome = asyncio.run(work) if real_time else VirtualClock().run(work)
        return outcome, f"{outcome}, {time.process_time() - start:.1f} s of CPU"


def swarm_of(options: Any) -> Swarm:
    """Return the swarm that options are of."""
    module: Any = {fireflies.Options: fireflies, life.Options: life, bottleneck.Options: bottleneck}[type(options)]
    return Swarm(options, module.run, module.palette, module.recording)


def tell(line: str, faults: list[str]) -> None:
    """Print what was seen, and what is wrong with it."""
    for text in (line, *(f"  {fault}" for fault in faults)):
        say(text)


def write(recording: Recording, path: Path) -> None:
    """Write a recording, and say so."""
    recording.write(path)
    say(f"  {path}: {len(recording)} frames, {path.stat().st_size:,} bytes")


def watch(options: Any, given: argparse.Namespace) -> int:
    """Run one swarm as asked; return 1 if something is not as it should be."""
    swarm = swarm_of(options)
    recording = None if given.html is None else swarm.recording(options)
    if given.visualize:
        with Picture() as picture:
            show = Show(swarm.palette(), picture, recording, speed=given.speed)
            outcome, line = swarm.carry_out(show, given.real_time)
    else:
        outcome, line = swarm.carry_out(Show(swarm.palette(), None, recording, say), given.real_time)
    tell(line, outcome.faults)
    if recording is not None:
        write(recording, given.html)
    return 1 if outcome.faults else 0


def check(given: argparse.Namespace) -> int:
    """Run all and see that they do what they should, and that planted mistakes are found."""
    side = given.grid_side or (100 if given.full else 50)
    swarms = {
        "fireflies": fireflies.Options(side=side, after=5.0),
        "life": life.Options(side=side, generations=100 if given.full else 30),
        "bottleneck": bottleneck.Options(),
    }
    faults: list[str] = []
    for name, options in swarms.items():
        swarm = swarm_of(options)
        recording = swarm.recording(options)
        outcome, line = swarm.carry_out(Show(swarm.palette(), recording=recording))
        tell(line, outcome.faults)
        write(recording, given.folder / f"{name}.html")
        faults += outcome.faults
    kept = memory.measure(memory.Options(generations=1_000 if given.full else 100))
    tell(str(kept), kept.faults)
    return 0 if find_planted() and not (faults or kept.faults) else 1


def find_planted() -> bool:
    """Plant mistakes in small grids, and say whether each is found to be what it is."""
    options = life.Options(side=20, generations=10)
    wrong, _ = swarm_of(replace(options, plant="rule")).carry_out(Show(life.palette()))
    lost, _ = swarm_of(replace(options, plant="message")).carry_out(Show(life.palette()))
    found = wrong.wrong_steps == 1, any("lost" in fault for fault in lost.faults)
    for what, outcome, is_found in zip(("wrong rule", "lost message"), (wrong, lost), found, strict=True):
        tell(f"life with a {what}: {'found' if is_found else 'NOT FOUND'}", outcome.faults)
    return all(found)


def options_of(given: argparse.Namespace) -> Any:
    """Return the options of the swarm that is asked for."""
    if given.command == "life":
        return life.Options(given.grid_side, given.generations, given.pace, seed=given.seed, plant=given.plant)
    if given.command == "bottleneck":
        return bottleneck.Options(given.agents, given.places, given.duration, given.seed)
    after = given.after if given.after is not None else 2 * given.period if given.visualize or given.html else 0.0
    fade = given.decay_duty_cycle
    return fireflies.Options(given.grid_side, given.period, given.nudge, given.duration, after, fade, given.seed)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    given = parser().parse_args(arguments)
    try:
        if given.command == "check":
            return check(given)
        return watch(options_of(given), given)
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
