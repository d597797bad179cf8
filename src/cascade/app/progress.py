"""Progress of one run: looks at its counters now and then, between turns, and shows what it saw."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from time import monotonic
from typing import Any, Protocol

from cascade.app.standing import Report, shortened, spelled_time
from cascade.app.words import say
from cascade.app.writing import can_spell, is_terminal
from cascade.runtime.inspect.progress import RunProgress, progress_of, state_of
from cascade.runtime.run.state import RunState

__all__ = ["Display", "Lines", "Progress", "display_for"]

INTERVAL = 0.25
"""Seconds between two looks, at the least."""
SHARE = 50
"""A look that takes long is followed by a pause of so many times its length."""
DRAWN = "⠋━▸≡↻…"
"""Letters that a live display needs."""
LIVE_AFTER = 0.4
"""Seconds that a run must have lasted to be shown live: a shorter one would only flicker."""
FIRST_LINE, LINE_EVERY = 10.0, 30.0
"""Seconds, where there is no live display."""
SLOW = 1.0
"""What has been seen running for so many seconds is named at the end, ..."""
SHARE_OF_RUN = 0.1
"""... or for so much of a shorter run."""
MOST_KEPT = 200


class Display(Protocol):
    """Where reports go."""

    def show(self, report: Report) -> None:
        """Show how far a run has come."""

    def stop(self) -> None:
        """Show nothing any more."""


class Lines:
    """Gives a report to `write` now and then."""

    def __init__(self, write: Callable[[Report], None], first: float = FIRST_LINE, every: float = LINE_EVERY) -> None:
        self._write = write
        self._next = first
        self._every = every

    def show(self, report: Report) -> None:
        """Write the report if it is time."""
        if report.seconds >= self._next:
            self._next = report.seconds + self._every
            self._write(report)

    def stop(self) -> None:
        """Do nothing: what was written stays."""


def display_for(write: Callable[[Report], None], is_human: bool) -> Display:
    """Return a live display if stderr is a terminal that can have one, or in a notebook, else one that writes lines."""
    if (
        is_human
        and is_terminal(sys.stderr)
        and os.environ.get("TERM") != "dumb"
        and can_spell(DRAWN, getattr(sys.stderr, "encoding", None) or "utf-8")
        and find_spec("rich") is not None
    ):
        return _Later(_on_terminal)
    if is_human and _has_widgets():
        return _Later(_in_notebook)
    return Lines(write)


def _has_widgets() -> bool:
    """Say whether this is the kernel of a notebook that has ipywidgets."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and kernel.IPKernelApp.initialized() and find_spec("ipywidgets") is not None


def _on_terminal() -> Display:
    from cascade.app.live import Live

    return Live()


def _in_notebook() -> Display:
    from cascade.app.widgets import Widget

    return Widget()


class _Later:
    """A live display once it pays to have one: importing what draws it takes longer than most runs."""

    def __init__(self, make: Callable[[], Display]) -> None:
        self._make = make
        self._live: Display | None = None

    def show(self, report: Report) -> None:
        if self._live is None and report.seconds >= LIVE_AFTER:
            self._live = self._make()
        if self._live is not None:
            self._live.show(report)

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()


class Progress:
    """Looks at the run of an engine between its turns, by a timer of the event loop."""

    def __init__(self, display: Display, clock: Callable[[], float] = monotonic, interval: float = INTERVAL) -> None:
        self.names = ""
        self.loops: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.slow: dict[str, float] = {}
        self._display = display
        self._clock = clock
        self._interval = interval
        self._engine: Any = None
        self._loop: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None
        self._started = self._looked = 0.0
        self._counts: dict[str, int] = {}
        self._rates: dict[str, float] = {}
        self._since: dict[str, float] = {}
        """When each call that goes on began, as far as looking tells: half way between two looks."""
        self._first: dict[str, float] = {}
        """When each was seen for the first time."""
        self.collected: list[str] = []
        """The maps that give failures in the place of items, which no warning tells of."""

    def watch(self, engine: Any) -> None:
        """Begin to look at what an engine runs, on its loop's thread."""
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self.begin()
        self._timer = self._loop.call_later(self._interval, self._tick)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._display.stop()

    def last_look(self, run_id: str) -> bool:
        """Take the counters of a run that has ended, and stop; say whether it was the one looked at."""
        run = None if self._engine is None else state_of(self._engine)
        if run is None or run.id != run_id:
            return False
        if self._clock() - self._started >= SLOW:
            self.report(run)
            self._end(self._since, self._looked)
        self.failed = {name: failed for name, (failed, _, _) in run.lost.items()}
        lost = [(name, *each) for name, each in run.lost.items()]
        self.collected = [
            say("some_of", name=name, count=f"{n:,}", total=f"{of:,}") for name, n, of, is_told in lost if not is_told
        ]
        self.stop()
        return True

    def _tick(self) -> None:
        begun = monotonic()
        run = state_of(self._engine)
        report = None if run is None else self.report(run)
        pause = max(self._interval, SHARE * (monotonic() - begun))
        if report is not None:
            self._display.show(report)
        self._timer = self._loop.call_later(pause, self._tick)

    def report(self, run: RunState) -> Report:
        """Look at a run."""
        return self.take(progress_of(run, self._loop))

    def begin(self, ago: float = 0.0) -> None:
        """Say that what is looked at has begun so many seconds ago."""
        self._started = self._looked = self._clock() - ago

    def take(self, sight: RunProgress) -> Report:
        """Make a report of what was seen, and of what was seen before."""
        now = self._clock()
        self.loops = sight.loops
        self.failed.update({each.id: each.failed for each in sight.maps if each.failed})
        counts = {**sight.loops, **{each.id: each.done for each in sight.maps}}
        passed = now - self._looked
        if passed > 0:
            for name, count in counts.items():
                rate = (count - self._counts.get(name, 0)) / passed
                known = self._rates.get(name)
                self._rates[name] = rate if known is None else (known + rate) / 2
        between = (self._looked + now) / 2 if self._looked > self._started else self._started
        self._end({name: since for name, since in self._since.items() if name not in sight.running}, between)
        self._since = {name: self._since.get(name, between) for name in sight.running}
        self._first = {name: self._first.get(name, now) for name in sight.running}
        self._looked, self._counts = now, counts
        running = sorted(
            ((name, now - since) for name, since in self._since.items()), key=lambda one: (-one[1], one[0])
        )
        rates = {name: self._rates[name] for name in counts if name in self._rates}
        shown = [(name, seconds) for name, seconds in running if seconds >= SLOW or name.split("[")[0] not in counts]
        return Report(self.names, now - self._started, sight, rates, [one for one in shown if one[0] not in counts])

    def _end(self, since: dict[str, float], now: float) -> None:
        """Note how long calls took that have ended about now; one that was seen once may have been a short one."""
        for name, begun in since.items():
            if name not in self._counts and self._first[name] < self._looked:
                self.slow[name] = max(now - begun, self.slow.get(name, 0.0))
        if len(self.slow) > MOST_KEPT:
            self.slow = dict(sorted(self.slow.items(), key=lambda one: -one[1])[: MOST_KEPT // 2])

    def summary(self) -> list[str]:
        """Return what is worth telling of a run that has ended; of a short one only what it has lost."""
        taken = self._looked - self._started
        lost = [say("maps_failed", names=shortened(self.collected))] if self.collected else []
        if taken < SLOW:
            return lost
        found = []
        self.slow = {name: spent for name, spent in self.slow.items() if spent >= min(SLOW, taken * SHARE_OF_RUN)}
        if self.slow:
            slowest = sorted(self.slow.items(), key=lambda one: (-round(one[1], 1), one[0]))
            told = [say("about", name=name, time=spelled_time(spent)) for name, spent in slowest]
            found.append(say("slow", names=shortened(told)))
        if self.loops:
            most = sorted(self.loops.items(), key=lambda one: -one[1])
            told = [f"{name} {say('entries', count=f'{count:,}')}" for name, count in most]
            found.append(say("counted", names=shortened(told)))
        return found + lost

    def to_dict(self) -> dict[str, Any]:
        """Return what `summary` tells: seconds of slow calls, entries of loops, and items that failed, by id."""
        slow = {name: round(seconds, 3) for name, seconds in self.slow.items()}
        return {"slow": slow, "loops": self.loops, "items_failed": self.failed}
