"""Listens to an engine while somebody looks on: what is heard is put aside at once, and looked at when it is asked for.

A run that is looked at shall lose little, and to be told of a call costs it some microseconds. So there is an allowance
of calls, which grows with time: where there are more, results are shown no more, and where there are far more, no
calls: then those who look count them (`progress`), which costs a run nothing, and now and then some are listened to.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from time import monotonic, perf_counter, time
from typing import TYPE_CHECKING, Any, TypeAlias

from cascade.runtime.events.bus import MessageBus, Subscription
from cascade.runtime.inspect.records import Records
from cascade.runtime.plans.plan import target_names
from cascade.runtime.watching.allowance import Allowance
from cascade.runtime.watching.seen import HEARD, MOST_TRACEBACKS, SeenRun
from cascade.runtime.watching.signals import waits_of
from cascade.spec.events import (
    Event,
    RunFinished,
    RunStarted,
    RunWarning,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.spec.shown import one_line, without_passwords

if TYPE_CHECKING:
    from cascade.runtime.run_scope import RunScope

__all__ = ["Watch"]

LEASE = 15.0
"""So many seconds after the last look nobody is looking any more."""
PREVIEWS = 200
"""Letters of a result."""
MOST_RUNS = 200
"""So many runs are kept that have ended."""
MOST_WAITING = 5_000
"""So many events wait to be looked at by who asks, before the run itself looks at them."""
TOLD = 10_000, 5_000
"""Of more calls a second, and more at once, calls are not told of any more."""
WITH_RESULTS = 1_000, 500
"""Of more calls a second, and more at once, results are not shown any more."""
FEW = 500
"""Of fewer calls a second, results are shown again."""
EVERY = 256
"""After so many calls it is seen whether there are too many."""
SOME = 512
"""So many calls are listened to when it is tried again."""
AGAIN = 2.0
"""Seconds until that."""
SOON = 0.5
"""Seconds until that where a run begins, which may be another kind of run."""
LONGEST_TRACEBACK = 20_000
PACKAGE = str(Path(__file__).parents[2])
Draw: TypeAlias = Callable[[SeenRun, int], dict[str, Any]]
RESULTS, CALLS, COUNTS = 2, 1, 0
"""What is heard of a run's calls."""


class Watch:
    """What is known of the runs of one engine to those who look on; safe in all threads."""

    def __init__(self, bus: MessageBus, active: Mapping[str, RunScope], draw: Draw) -> None:
        """Keep whom to listen to.

        Args:
            draw: gives a view of a run's picture by its number.
        """
        self.draw: Draw = draw
        self._bus = bus
        self._active = active
        self._inbox: deque[Event | list[SeenRun]] = deque()
        """What is to be looked at; a list is of the runs whose calls are not told of from here on."""
        self._lock = Lock()
        self._until = 0.0
        self._subscriptions: list[Subscription] = []
        self._calls: list[Subscription] = []
        self._records: Records | None = None
        self._added_previews = False
        self._unweighed = 0
        """So many calls have ended since it was last seen whether there are too many."""
        self._told = Allowance(*TOLD, 0.0)
        self._with_results = Allowance(*WITH_RESULTS, 0.0)
        self._deaf_since = 0.0
        self._measured = (0, 0.0)
        self._heard = 0
        self.keeps: bool = False
        """Whether it goes on though nobody looks, until it is stopped."""
        self.level: int = COUNTS
        self.runs: dict[str, SeenRun] = {}
        """By id, the oldest first."""

    # --- looking

    def look(self) -> None:
        """Listen, and go on for a while."""
        now = monotonic()
        self._until = now + LEASE
        if not self._subscriptions or (not self._calls and now - self._deaf_since > AGAIN):
            with self._lock:
                if not self._subscriptions:
                    self._begin()
                elif not self._calls:
                    self._hear_calls(CALLS)
        self.digest()

    def run(self, run_id: object) -> SeenRun | None:
        """Return what is known of a run."""
        return self.runs.get(run_id) if isinstance(run_id, str) else None

    def stop(self) -> None:
        """Listen no more, and forget what was heard."""
        with self._lock:
            for each in (*self._subscriptions, *self._calls):
                each.unsubscribe()
            self._subscriptions, self._calls, self.level = [], [], COUNTS
            self._without_previews()
            if self._records is not None:
                self._records.__exit__()
                self._records = None
            self._inbox.clear()
            self.runs.clear()

    def _begin(self) -> None:
        self._subscriptions = [
            self._bus.subscribe(RunStarted, self._run_started),
            self._bus.subscribe(RunFinished, self._inbox.append),
            self._bus.subscribe(RunWarning, self._inbox.append),
        ]
        self._records = Records(logging.NOTSET, self._logged)
        self._records.__enter__()
        for run_scope in [*self._active.values()]:
            self._meet(run_scope)
        self._hear_calls()

    def _hear_calls(self, level: int = RESULTS) -> None:
        """Listen to calls; if not with results, to some of them, to see whether there are fewer by now."""
        now = monotonic()
        self._told = Allowance(*TOLD, now, None if level == RESULTS else SOME)
        self._unweighed, self._measured = 0, (self._heard, now)
        put_aside = self._inbox.append
        handlers: dict[type[Event], Callable[[Any], object]] = {
            TaskExecutionStarted: put_aside,
            TaskExecutionFinished: self._finished,
            TaskSkipped: put_aside,
            TaskRetrying: put_aside,
            TaskBlocked: put_aside,
        }
        self.level = CALLS
        if level == RESULTS:
            self._show_results()
        self._calls = [self._bus.subscribe(kind, handler) for kind, handler in handlers.items()]

    def _hear_no_calls(self) -> None:
        with self._lock:
            for each in self._calls:
                each.unsubscribe()
            self._calls, self.level, self._deaf_since = [], COUNTS, monotonic()
            self._without_previews()
            self._inbox.append([each for each in self.runs.values() if each.ended is None])

    def _show_results(self) -> None:
        self._with_results = Allowance(*WITH_RESULTS, monotonic())
        self.level = RESULTS
        if self._bus.previews is None:
            self._bus.previews, self._added_previews = PREVIEWS, True

    def _without_previews(self) -> None:
        if self._added_previews:
            self._bus.previews, self._added_previews = None, False

    # --- hearing, on the event loop's thread

    def _finished(self, event: Event) -> None:
        self._inbox.append(event)
        if event[3] == "Failed":
            self._note_traceback(event)
        self._unweighed += 1
        if self._unweighed >= EVERY:
            self._weigh()

    def _weigh(self) -> None:
        """Hear less of runs that tell too much."""
        count, self._unweighed, now = self._unweighed, 0, monotonic()
        if now > self._until and not self.keeps:
            self.stop()
            return
        if self.level == RESULTS and not self._with_results.take(count, now):
            self.level = CALLS
            self._without_previews()
        if not self._told.take(count, now):
            self._hear_no_calls()
        if len(self._inbox) > MOST_WAITING:
            self.digest()

    def _run_started(self, event: RunStarted) -> None:
        if monotonic() > self._until and not self.keeps:
            self.stop()
            return
        is_deaf = not self._calls and monotonic() - self._deaf_since > SOON
        if is_deaf and not self._active_but(event.run_id):  # it may be another kind of run
            with self._lock:
                self._hear_calls()
        run_scope = self._active.get(event.run_id)
        if run_scope is not None:
            run = self._meet(run_scope)
            run.began, run.resumed, run.recorded = event.timestamp, event.resumed, event.recorded
            run.targets = list(event.target_tasks)
            run.missed = not self._calls
            run.params = {name: _shown(value) for name, value in [*event.params.items()][:100]}

    def _active_but(self, run_id: str) -> bool:
        return any(name != run_id for name in self._active)

    def _note_traceback(self, event: Event) -> None:
        site, run = event[0], self.runs.get(event[0][0])
        error = sys.exc_info()[1]
        if run is None or error is None or len(run.tracebacks) >= MOST_TRACEBACKS:
            return
        run_scope = self._active.get(site[0])
        state = None if run_scope is None else run_scope.run
        text = _traceback(error)
        text = without_passwords(text if state is None else state.masked(text))
        run.tracebacks[site[1], event[2]] = text[-LONGEST_TRACEBACK:]

    def _logged(self, level: str, at: float, fields: dict[str, Any]) -> None:
        run = self.runs.get(fields.get("run_id", ""))
        if run is not None:
            text = f"{fields['message']}\n{fields['exception']}" if "exception" in fields else fields["message"]
            known = {name: fields.get(name) for name in ("task_id", "iteration", "logger")}
            run.log({"level": level, "at": at, "message": without_passwords(text)[:LONGEST_TRACEBACK], **known})
            run.version += 1

    def _meet(self, run_scope: RunScope) -> SeenRun:
        """Begin to keep something of a run."""
        state = run_scope.run
        blueprint = None if state is None else state.blueprint
        began = getattr(run_scope, "began", None)
        since = 0.0 if began is None else perf_counter() - began
        targets = () if blueprint is None else target_names(blueprint.graph)
        waits = {} if blueprint is None else waits_of(blueprint)
        run = SeenRun(run_scope.name, targets, blueprint, time() - since, waits)
        self.runs.pop(run.run_id, None)
        self.runs[run.run_id] = run
        if len(self.runs) > MOST_RUNS:
            gone = next((name for name, each in self.runs.items() if each.ended is not None), None)
            if gone is not None:
                del self.runs[gone]
        return run

    # --- looking at what was put aside

    def digest(self) -> None:
        """Take note of what was put aside; by one thread at a time."""
        with self._lock:
            inbox, runs = self._inbox, self.runs
            for _ in range(len(inbox)):
                event = inbox.popleft()
                if isinstance(event, list):
                    for each in event:
                        each.lose()
                    continue
                run = runs.get(event.run_id)
                if run is None:
                    continue
                run.version += 1
                if type(event) in HEARD:
                    self._heard += 1
                    run.hear(event)
                elif isinstance(event, RunFinished):
                    run.end(event.status, event.timestamp, event.error)
                elif isinstance(event, RunWarning) and len(run.warnings) < 100:
                    run.warnings.append(f"{event.code}: {event.message}"[:2000])
            self._measure()

    def _measure(self) -> None:
        """Show results again where there is little to hear by now."""
        heard, since = self._measured
        now = monotonic()
        if self.level == CALLS and now - since >= 1.0:
            self._measured = self._heard, now
            if (self._heard - heard) / (now - since) < 2 * FEW:
                self._show_results()


def _traceback(error: BaseException) -> str:
    """Return the traceback of an error, without the frames of Cascade unless there are no others."""
    told = traceback.TracebackException.from_exception(error, compact=True)
    waiting: list[traceback.TracebackException | None] = [told]
    while waiting:
        one = waiting.pop()
        if one is not None:
            kept = [frame for frame in one.stack if not frame.filename.startswith((PACKAGE, "<cascade"))]
            one.stack = traceback.StackSummary.from_list(kept[-20:]) if kept else one.stack
            waiting += [one.__cause__, one.__context__]
    return "".join(told.format())


def _shown(value: object) -> str:
    try:
        return without_passwords(one_line(repr(value)))[:PREVIEWS]
    except Exception:  # whatever a class raises of its own
        return f"<{type(value).__name__}>"
