"""What `cs.run` says on stderr while it runs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from cascade.runtime.bus import MessageBus
from cascade.spec.events import (
    Event,
    RunFinished,
    RunStarted,
    RunWarning,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)

__all__ = ["Reporter"]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "SILENT")


class Reporter:
    """Writes events as lines: the run's start and end, retries and warnings; at DEBUG each task."""

    def __init__(self, level: str, form: str) -> None:
        if level not in LEVELS:
            raise ValueError(f"log_level is one of {', '.join(LEVELS)}, not {level!r}")
        if form not in ("human", "json"):
            raise ValueError(f'log_format is "human" or "json", not {form!r}')
        self._level = LEVELS.index(level)
        self._json = form == "json"

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

    def _write(self, level: str, event: Event, text: str) -> None:
        if self._json:
            record: dict[str, Any] = {"level": level, "event": type(event).__name__, **event.to_dict()}
            line = json.dumps(record, default=repr)
        else:
            clock = time.strftime("%H:%M:%S", time.localtime(event.timestamp))
            line = f"{clock} {level:<7} {text}"
        sys.stderr.write(line + "\n")

    def _started(self, event: RunStarted) -> None:
        with_params = f" with {', '.join(f'{k}={v!r}' for k, v in event.params.items())}" if event.params else ""
        names = event.target_tasks
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        self._write("INFO", event, f"run of {shown or 'nothing'} started{with_params}")

    def _finished(self, event: RunFinished) -> None:
        seconds = f"{event.duration:.3f} s"
        if event.status == "Succeeded":
            if self._level <= LEVELS.index("INFO"):
                self._write("INFO", event, f"run succeeded in {seconds}")
        elif event.status == "Cancelled":
            self._write("ERROR", event, f"run cancelled after {seconds}")
        else:
            self._write("ERROR", event, f"run failed after {seconds}: {event.error}")

    def _warning(self, event: RunWarning) -> None:
        self._write("WARNING", event, f"{event.code}: {event.message}")

    def _retrying(self, event: TaskRetrying) -> None:
        self._write(
            "INFO",
            event,
            f"{event.task_id} failed (attempt {event.attempt} of {event.max_attempts}): {event.error}; "
            f"again in {event.delay:g} s",
        )

    def _task_started(self, event: TaskExecutionStarted) -> None:
        self._write("DEBUG", event, f"{event.task_id} started{_entry(event.iteration)}")

    def _task_finished(self, event: TaskExecutionFinished) -> None:
        outcome = event.status.lower() + ("" if event.error is None else f": {event.error}")
        self._write("DEBUG", event, f"{event.task_id} {outcome} after {event.duration:.6f} s{_entry(event.iteration)}")

    def _skipped(self, event: TaskSkipped) -> None:
        self._write("DEBUG", event, f"{event.task_id} skipped: {event.reason}{_entry(event.iteration)}")


def _entry(iteration: int) -> str:
    return f" (iteration {iteration})" if iteration else ""
