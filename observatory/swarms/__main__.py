"""Run a swarm, watch it, record it, check it: `python -m observatory.swarms fireflies|life|check`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

from cascade.testing import VirtualClock
from observatory.swarms import fireflies, life
from observatory.swarms.picture import Colours, Picture
from observatory.swarms.recording import Recording
from observatory.swarms.show import Show

__all__ = ["main"]

BUILD = Path("build/observatory")
INTERRUPTED = 130
Options = fireflies.Options | life.Options
Outcome = fireflies.Outcome | life.Outcome


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    found = argparse.ArgumentParser(prog="python -m observatory.swarms", description=(__doc__ or "").split(":")[0])
    commands = found.add_subparsers(dest="command", required=True, metavar="fireflies | life | check")
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
    for each, side in ((swarm, usual.side), (grid, cells.side)):
        each.add_argument("--grid-side", type=int, default=side, help="side x side agents (%(default)s)")
        each.add_argument("--seed", type=int, default=1, help="what is drawn goes by it (%(default)s)")
        each.add_argument(
            "--visualize", action=argparse.BooleanOptionalAction, default=sys.stdout.isatty(), help="show a picture"
        )
        each.add_argument("--speed", type=float, default=1.0, help="of the picture (%(default)s)")
        each.add_argument("--real-time", action="store_true", help="go by the real clock, not by a virtual one")
        each.add_argument("--html", type=Path, metavar="FILE", help="write a recording")
    check = commands.add_parser("check", help="both without a picture, and the planted mistakes; with recordings")
    check.add_argument("--full", action="store_true", help="10,000 agents each, and 100 generations")
    check.add_argument("--grid-side", type=int, help="side x side agents")
    check.add_argument("--folder", type=Path, default=BUILD, help="of the recordings (%(default)s)")
    return found


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def recorder(options: Options) -> Recording:
    """Return an empty recording of a swarm."""
    agents = f"{options.side**2:,}"
    if isinstance(options, fireflies.Options):
        legend = {fireflies.SHADES - 1: "flashes", fireflies.SHADES // 2: "glows", 0: "waits"}
        about = f"{agents} agents that hear their eight neighbours, and find one beat."
        return Recording("Fireflies", fireflies.palette(), legend, about, "R, 0 to 1", glow=True)
    legend = {
        **{0: "dead", 1: "alive", 2: "alive by a wrong step", 3: "dead by a wrong step"},
        **{4: "alive by drift", 5: "dead by drift"},
    }
    about = f"{agents} agents, one a cell, held against a golden model."
    return Recording("Conway's life", life.palette(), legend, about, "alive, 0 to a half")


def run(options: Options, show: Show, real_time: bool = False) -> tuple[Outcome, float]:
    """Run a swarm; return what was seen, and the processor's seconds that it took."""
    start = time.process_time()
    carry_out = asyncio.run if real_time else VirtualClock().run
    outcome: Outcome
    if isinstance(options, fireflies.Options):
        outcome = carry_out(fireflies.run(options, show))
    else:
        outcome = carry_out(life.run(options, show))
    return outcome, time.process_time() - start


def told(outcome: Outcome, seconds: float) -> str:
    """Return what was seen, in a line."""
    agents = f"{outcome.options.side**2:,}"
    if isinstance(outcome, fireflies.Outcome):
        step = outcome.in_step_after
        when = "never in step" if step is None else f"in step after {step:.1f} periods"
        rest = f"{when}, {outcome.flashes:,} flashes, {8 * outcome.flashes:,} signals"
        return f"fireflies: {agents} agents, {rest}, {seconds:.1f} s of CPU"
    rest = f"{outcome.judged:,} cells judged, {outcome.wrong_steps:,} wrong steps, {outcome.drifted:,} drifted"
    return f"life: {agents} agents, {len(outcome.population) - 1} generations, {rest}, {seconds:.1f} s of CPU"


def palette_of(options: Options) -> Colours:
    """Return the colours of a swarm."""
    return fireflies.palette() if isinstance(options, fireflies.Options) else life.palette()


def watch(options: Options, given: argparse.Namespace) -> int:
    """Run one swarm as asked; return 1 if something is not as it should be."""
    recording = None if given.html is None else recorder(options)
    colours = palette_of(options)
    if given.visualize:
        with Picture() as picture:
            show = Show(colours, picture, recording, speed=given.speed)
            outcome, seconds = run(options, show, given.real_time)
    else:
        outcome, seconds = run(options, Show(colours, None, recording, say), given.real_time)
    say(told(outcome, seconds))
    for fault in outcome.faults:
        say(f"  {fault}")
    if recording is not None:
        recording.write(given.html)
        say(f"  {given.html}: {len(recording)} frames, {given.html.stat().st_size:,} bytes")
    return 1 if outcome.faults else 0


def check(given: argparse.Namespace) -> int:
    """Run both swarms and see that they do what they should, and that planted mistakes are found."""
    side = given.grid_side or (100 if given.full else 50)
    generations = 100 if given.full else 30
    failed = False
    swarms: dict[str, Options] = {
        "fireflies": fireflies.Options(side=side, after=5.0),
        "life": life.Options(side=side, generations=generations),
    }
    for name, options in swarms.items():
        recording = recorder(options)
        outcome, seconds = run(options, Show(palette_of(options), recording=recording))
        failed = bool(outcome.faults) or failed
        for line in (told(outcome, seconds), *(f"  {fault}" for fault in outcome.faults)):
            say(line)
        recording.write(file := given.folder / f"{name}.html")
        say(f"  {file}: {len(recording)} frames, {file.stat().st_size:,} bytes")
    return 0 if find_planted() and not failed else 1


def find_planted() -> bool:
    """Plant mistakes in small grids, and say whether each is found to be what it is."""
    options = life.Options(side=20, generations=10)
    wrong, _ = run(replace(options, plant="rule"), Show(life.palette()))
    lost, _ = run(replace(options, plant="message"), Show(life.palette()))
    assert isinstance(wrong, life.Outcome)
    found = wrong.wrong_steps == 1, any("lost" in fault for fault in lost.faults)
    for what, outcome, is_found in zip(("wrong rule", "lost message"), (wrong, lost), found, strict=True):
        say(f"life with a {what}: {'found' if is_found else 'NOT FOUND'}")
        for fault in outcome.faults:
            say(f"  {fault}")
    return all(found)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    given = parser().parse_args(arguments)
    try:
        if given.command == "check":
            return check(given)
        if given.command == "life":
            return watch(
                life.Options(given.grid_side, given.generations, given.pace, seed=given.seed, plant=given.plant), given
            )
        after = given.after if given.after is not None else 2 * given.period if given.visualize or given.html else 0.0
        return watch(
            fireflies.Options(
                given.grid_side, given.period, given.nudge, given.duration, after, given.decay_duty_cycle, given.seed
            ),
            given,
        )
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
