"""What `cs.run` says on stderr while it runs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from cascade.app.progress import Progress, display_for
from cascade.app.standing import Report
from cascade.app.words import say
from cascade.app.writing import tell
from cascade.runtime.events.bus import MessageBus
from cascade.spec.events import (
    ConnectorConnected,
    ConnectorDisconnected,
    ConnectorEvent,
    Event,
    RunFinished,
    RunParked,
    RunStarted,
    RunWarning,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.spec.shown import indented, one_line, without_passwords

__all__ = ["Reporter"]

CLOCK = len("12:00:00 WARNING ")
"""Further lines of a message are indented by so much, so that none looks like a line of the log."""
IDS = {
    "started": "run.started",
    "started_with": "run.started_with_params",
    "goes_on": "run.goes_on",
    "succeeded": "run.finished_success",
    "failed": "run.finished_failure",
    "parked": "run.parked",
    "cancelled": "run.cancelled",
}
ENDS = {"Succeeded": "task.finished_success", "Failed": "task.finished_failure", "Cancelled": "task.cancelled"}
"""What the messages of runs, and of the ends of tasks, are called in the JSON log."""
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "SILENT")


def waits_of(event: RunParked) -> str:
    """Return what a run waits for that was parked."""
    until = [] if event.until is None else [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.until))]
    return ", ".join([*until, *(say("a_signal", name=one_line(name)) for name in event.signals)])


class Reporter:
    """Writes lines: the run's start and end, progress, what was slow, retries, warnings; at DEBUG each task."""

    def __init__(self, level: str, form: str) -> None:
        if level not in LEVELS:
            raise ValueError(f"log_level is one of {', '.join(LEVELS)}, not {level!r}")
        if form not in ("human", "json"):
            raise ValueError(f'log_format is "human" or "json", not {form!r}')
        self._level = LEVELS.index(level)
        self._json = form == "json"
        self._run: str | None = None
        """The outermost run that is going on; those inside of its tasks are told of at DEBUG."""
        self.progress: Progress | None = None
        if self._level <= LEVELS.index("INFO"):
            self.progress = Progress(display_for(self._going_on, not self._json))

    def attach(self, bus: MessageBus) -> None:
        """Listen to what the level tells of; to nothing else, so that tasks that nobody asks about cost nothing."""
        if self._level <= LEVELS.index("INFO"):
            bus.subscribe(RunStarted, self._started)
            bus.subscribe(TaskRetrying, self._retrying)
        if self._level <= LEVELS.index("ERROR"):
            bus.subscribe(RunFinished, self._finished)
        if self._level <= LEVELS.index("WARNING"):
            bus.subscribe(RunWarning, self._warning)
        if self._level == LEVELS.index("DEBUG"):
            bus.subscribe(TaskExecutionStarted, self._task_started)
            bus.subscribe(TaskExecutionFinished, self._task_finished)
            bus.subscribe(TaskSkipped, self._skipped)
            bus.subscribe(ConnectorConnected, self._connected)
            bus.subscribe(ConnectorDisconnected, self._connected)

    def records(self) -> AbstractContextManager[object]:
        """Write records of `logging` as well while the `with` block lasts: in JSON, where they have their step."""
        if not self._json or self._level == LEVELS.index("SILENT"):
            return nullcontext()
        from cascade.runtime.inspect.records import Records

        return Records(getattr(logging, LEVELS[self._level]), self._record)

    def _record(self, level: str, timestamp: float, fields: dict[str, Any]) -> None:
        self._line(level, timestamp, "", lambda: {"event": "Log", "id": "log", "timestamp": timestamp, **fields})

    def _write(self, level: str, event: Event, text: str, id: str) -> None:
        self._line(level, event.timestamp, text, lambda: {"event": type(event).__name__, "id": id, **event.to_dict()})

    def _line(self, level: str, timestamp: float, text: str, record: Callable[[], dict[str, Any]]) -> None:
        if self._json:
            line = json.dumps({"level": level, **record()}, default=repr)
        else:
            clock = time.strftime("%H:%M:%S", time.localtime(timestamp))
            line = indented(f"{clock} {level:<7} {text}", CLOCK)
        line = without_passwords(line)
        tell(line + "\n")

    def _going_on(self, report: Report) -> None:
        now = time.time()
        self._line(
            "INFO",
            now,
            str(report),
            lambda: {"event": "Progress", "id": "run.progress", "timestamp": now, **report.to_dict()},
        )

    def _started(self, event: RunStarted) -> None:
        if self._run is not None and self._level > LEVELS.index("DEBUG"):  # inside of a task
            return
        self._run = self._run or event.run_id
        names = event.target_tasks
        shown = ", ".join(names[:3]) or say("nothing")
        if len(names) > 3:
            shown = say("more", shown=shown, more=len(names) - 3)
        if self.progress is not None:
            self.progress.names = shown
        params = ", ".join(f"{one_line(k)}={v!r}" for k, v in event.params.items())
        how = "goes_on" if event.resumed else "started_with" if params else "started"
        self._write("INFO", event, say(how, names=shown, params=params, recorded=event.recorded), IDS[how])

    def _finished(self, event: RunFinished) -> None:
        if self._run not in (None, event.run_id):
            if self._level == LEVELS.index("DEBUG"):
                self._ended(event, "DEBUG")
            return
        self._run = None
        if self.progress is not None and self.progress.last_look(event.run_id):
            self._summary(self.progress, event.timestamp)
        self._ended(event, "INFO" if event.status in ("Succeeded", "Parked") else "ERROR")

    def _ended(self, event: RunFinished, level: str) -> None:
        seconds = f"{event.duration:.3f} s"
        if event.status == "Succeeded":
            if self._level <= LEVELS.index(level):
                self._write(level, event, say("succeeded", seconds=seconds), IDS["succeeded"])
        elif isinstance(event, RunParked):
            if self._level <= LEVELS.index(level):
                self._write(level, event, say("parked", seconds=seconds, what=waits_of(event)), IDS["parked"])
        elif event.status == "Cancelled":
            asked = event.error is None or event.error.startswith("CancelledError")
            self._write(
                level,
                event,
                say("cancelled", seconds=seconds) + ("" if asked else f": {event.error}"),
                IDS["cancelled"],
            )
        else:
            self._write(level, event, say("failed", seconds=seconds, error=event.error), IDS["failed"])

    def _summary(self, progress: Progress, now: float) -> None:
        """Tell what was worth telling of a run that is over: in lines, or in one record."""
        lines = progress.summary()
        for text in lines[:1] if self._json else lines:
            self._line(
                "INFO",
                now,
                text,
                lambda: {"event": "Summary", "id": "run.summary", "timestamp": now, **progress.to_dict()},
            )

    def _warning(self, event: RunWarning) -> None:
        self._write("WARNING", event, f"{event.code}: {event.message}", "run.warning")

    def _retrying(self, event: TaskRetrying) -> None:
        text = say(
            "retrying",
            task=event.task_id,
            attempt=event.attempt,
            most=event.max_attempts,
            error=event.error,
            delay=f"{event.delay:g}",
        )
        self._write("INFO", event, text, "task.retrying")

    def _task_started(self, event: TaskExecutionStarted) -> None:
        self._write(
            "DEBUG", event, say("task_started", task=event.task_id, entry=_entry(event.iteration)), "task.started"
        )

    def _task_finished(self, event: TaskExecutionFinished) -> None:
        text = say(
            "task_finished",
            task=event.task_id,
            status=say(f"status_{event.status}"),
            error="" if event.error is None else f": {event.error}",
            seconds=f"{event.duration:.6f}",
            entry=_entry(event.iteration),
        )
        self._write("DEBUG", event, text, ENDS[event.status])

    def _connected(self, event: ConnectorEvent) -> None:
        word = "connected" if isinstance(event, ConnectorConnected) else "disconnected"
        self._write("DEBUG", event, say(word), f"connector.{word}")

    def _skipped(self, event: TaskSkipped) -> None:
        text = say("task_skipped", task=event.task_id, reason=event.reason, entry=_entry(event.iteration))
        self._write("DEBUG", event, text, "task.skipped")


def _entry(iteration: int) -> str:
    return say("iteration", number=iteration) if iteration else ""
