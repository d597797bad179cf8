"""What was heard of one run while somebody looked on: counts of all, and of the latest steps what they did.

However many steps there are, what is kept of them is bounded: the latest, and those that failed or go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from time import time
from types import MappingProxyType
from typing import Any

from cascade.spec.blueprint import Blueprint
from cascade.spec.events import (
    Event,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)

__all__ = ["SeenNode", "SeenRun", "SeenStep", "node_of"]

MOST_STEPS = 20_000
"""So many steps of a run are kept that have ended well: the latest."""
MOST_PINNED = 5_000
"""So many are kept besides, that failed or go on."""
MOST_NODES = 5_000
MOST_LOGS = 5_000
MOST_TRACEBACKS = 200
LONGEST = 2_000
"""Letters of an error."""


def node_of(task_id: str) -> str:
    """Return the node that a step is of: `parse#3[17]` is one of `parse#3`."""
    while task_id.endswith("]"):
        task_id, bracket, _ = task_id.rpartition("[")
        if not bracket:
            break
    return task_id


class SeenStep:
    """One call of a node: of an item of a map, of an entry of a loop."""

    __slots__ = (
        "attempt",
        "ended",
        "error",
        "iteration",
        "node",
        "number",
        "preview",
        "reason",
        "started",
        "status",
        "task_id",
    )

    def __init__(self, number: int, task_id: str, iteration: int, started: float, node: SeenNode) -> None:
        self.number = number
        """Counts the steps of a run, from 1."""
        self.node = node
        self.task_id = task_id
        self.iteration = iteration
        self.status = "Running"
        self.started = started
        self.ended: float | None = None
        self.attempt = 1
        self.error = ""
        self.preview: str | None = None
        self.reason = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what is told of it in JSON."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "node"}


class SeenNode:
    """All calls of one node together."""

    __slots__ = (
        *("attempts", "cancelled", "error", "failed", "first", "iteration", "last", "name", "reason", "running"),
        *("seconds", "skipped", "started", "succeeded", "waiting"),
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.started = self.running = self.waiting = self.succeeded = self.failed = self.cancelled = self.skipped = 0
        self.attempts = 0
        """How many attempts failed and were followed by another one."""
        self.seconds = 0.0
        self.first: float | None = None
        self.last: float | None = None
        self.iteration = 0
        self.error = ""
        """Of the first call that failed for good."""
        self.reason = ""

    def status(self, of_run: str) -> str:
        """Return what stands for all its calls, in a run that is at `of_run`."""
        if of_run == "Running" and (self.running or self.waiting):
            return "Running" if self.running else "Waiting"
        if self.failed and not (of_run == "Succeeded" and self.succeeded):
            return "Failed"
        if self.running or self.waiting or self.cancelled:
            return "Cancelled"
        if self.succeeded:
            return "Succeeded"
        return "Skipped" if self.skipped else ""

    def to_dict(self, of_run: str) -> dict[str, Any]:
        """Return what is told of it in JSON."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return {**told, "seconds": round(self.seconds, 6), "status": self.status(of_run)}


class SeenRun:
    """One run: its nodes, its latest steps, what they logged."""

    def __init__(
        self,
        run_id: str,
        targets: Iterable[str],
        blueprint: Blueprint | None,
        began: float,
        waits: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.run_id = run_id
        self.targets = list(targets)
        self.blueprint = blueprint
        """What is carried out, to draw it; None where that is not known."""
        self.waits = waits
        """What nodes wait for that do nothing else, by their names."""
        self.began = began
        self.ended: float | None = None
        self.status = "Running"
        self.error = ""
        self.params: dict[str, str] = {}
        self.resumed = False
        self.recorded = 0
        self.nodes: dict[str, SeenNode] = {}
        self.steps: deque[SeenStep] = deque()
        self.pinned: dict[int, SeenStep] = {}
        self.open: dict[tuple[str, int], SeenStep] = {}
        """The steps that go on or wait, by id and iteration."""
        self.logs: deque[dict[str, Any]] = deque(maxlen=MOST_LOGS)
        self.logged = 0
        self.tracebacks: dict[tuple[str, int], str] = {}
        self.warnings: list[str] = []
        self.count = 0
        self.version = 0
        """Grows with all that is heard."""
        self.missed = False
        """Whether there were calls that were not told of, as there were too many."""

    # --- hearing

    def hear(self, event: Event) -> None:
        """Take note of an event of a task."""
        HEARD[type(event)](self, event)

    def _node(self, task_id: str) -> SeenNode:
        name = node_of(task_id)
        found = self.nodes.get(name)
        if found is None:
            if len(self.nodes) >= MOST_NODES:
                name = "…"
            found = self.nodes.setdefault(name, SeenNode(name))
        return found

    def _step(self, task_id: str, iteration: int, at: float) -> SeenStep:
        """Return the step that goes on, or one that is new."""
        return self.open.get((task_id, iteration)) or self._new(task_id, iteration, at)

    def _new(self, task_id: str, iteration: int, at: float) -> SeenStep:
        self.count += 1
        step = SeenStep(self.count, task_id, iteration, at, self._node(task_id))
        self.steps.append(step)
        if len(self.steps) > MOST_STEPS:
            self._drop()
        return step

    def _drop(self) -> None:
        """Let go of the oldest step, unless it is one that stays."""
        oldest = self.steps.popleft()
        if oldest.status in ("Failed", "Running", "Waiting"):
            self.pinned[oldest.number] = oldest
            if len(self.pinned) > MOST_PINNED:
                gone = next((number for number, each in self.pinned.items() if each.ended is not None), None)
                del self.pinned[next(iter(self.pinned)) if gone is None else gone]

    def _started(self, event: Event) -> None:
        site, at, iteration = event[:3]
        key = site[1], iteration
        step = self.open.get(key)
        if step is None:
            step = self.open[key] = self._new(*key, at)
        elif step.status == "Waiting":
            step.node.waiting -= 1
            step.started, step.status, step.reason = at, "Running", ""
        node = step.node
        node.reason = ""
        if self.waits and (waits := self.waits.get(node.name)) is not None:
            step.status, step.reason, node.reason = "Waiting", waits, waits
            node.waiting += 1
        else:
            node.running += 1
        node.started += 1
        if node.first is None:
            node.first = at
        if iteration > node.iteration:
            node.iteration = iteration

    def _finished(self, event: Event) -> None:
        site, at, iteration, status, seconds, error, shown = event[:7]
        key = site[1], iteration
        step = self.open.pop(key, None)
        if step is None:
            step = self._new(*key, at - seconds)
            node = step.node
            node.started += 1
            if node.first is None:
                node.first = step.started
        else:
            node = step.node
            if step.status == "Running":
                node.running -= 1
            else:
                node.waiting -= 1
            step.reason = node.reason = ""
        step.status, step.ended, step.preview = status, at, shown
        node.seconds += seconds
        node.last = at
        if status == "Succeeded":
            node.succeeded += 1
            if self.pinned:
                self.pinned.pop(step.number, None)
        else:
            step.error = (error or "")[:LONGEST]
            if status == "Failed":
                node.failed += 1
                node.error = node.error or step.error
            else:
                node.cancelled += 1

    def lose(self) -> None:
        """Take note that calls are not told of for a while: how those end that go on will not be known."""
        self.missed = True
        self._forget("Running")

    def _forget(self, *statuses: str) -> None:
        for key, step in [*self.open.items()]:
            if step.status in statuses:
                step.node.running -= step.status == "Running"
                step.node.waiting -= step.status == "Waiting"
                step.node.started -= 1
                self.pinned.pop(step.number, None)
                del self.open[key]
        self.steps = deque(each for each in self.steps if each.status not in statuses)

    def _skipped(self, event: Event) -> None:
        site, at, iteration, reason = event[:4]
        step = self._step(site[1], iteration, at)
        node = step.node
        step.status, step.ended, step.reason = "Skipped", at, reason
        node.skipped += 1
        node.reason = reason

    def _retrying(self, event: Event) -> None:
        site, at, iteration, attempt, _, _, error = event[:7]
        step = self._step(site[1], iteration, at)
        node = step.node
        step.attempt, step.error = attempt + 1, (error or "")[:LONGEST]
        node.attempts += 1

    def _blocked(self, event: Event) -> None:
        site, at, iteration, reason = event[:4]
        step = self.open.get((site[1], iteration))
        if step is None:
            step = self.open[site[1], iteration] = self._new(site[1], iteration, at)
            step.status = "Waiting"
            step.node.waiting += 1
        node = step.node
        step.reason = node.reason = reason

    def end(self, status: str, at: float, error: str | None) -> None:
        """Take note of the run's end."""
        self.status, self.ended, self.error = status, at, (error or "")[:LONGEST]
        if self.missed and status == "Succeeded":
            self._forget("Running", "Waiting")
        for step in self.open.values():
            step.status, step.ended = "Cancelled", at
        self.open.clear()

    def log(self, line: dict[str, Any]) -> None:
        """Keep a record of `logging`."""
        self.logged += 1
        self.logs.append({"number": self.logged, **line})

    # --- telling

    def summary(self) -> dict[str, Any]:
        """Return what a list of runs tells of it."""
        nodes = self.nodes.values()
        counts = {name: sum(getattr(each, name) for each in nodes) for name in COUNTED}
        end = time() if self.ended is None else self.ended
        return {
            "run": self.run_id,
            "targets": self.targets[:20],
            "status": self.status,
            "began": self.began,
            "seconds": round(end - self.began, 3),
            "error": self.error or None,
            "counts": counts,
            "version": self.version,
        }

    def head(self) -> dict[str, Any]:
        """Return what stands above a run's own page."""
        kept = len(self.steps) + len(self.pinned)
        return {
            **self.summary(),
            "params": self.params,
            "resumed": self.resumed,
            "recorded": self.recorded,
            "steps": self.count,
            "kept": kept,
            "logged": self.logged,
            "warnings": self.warnings[-20:],
            "missed": self.missed,
        }

    def page(
        self, after: int, limit: int, status: str | None, text: str, node: str | None, iteration: int | None
    ) -> dict[str, Any]:
        """Return steps that follow a number, those alone that are wanted."""
        text = text.casefold()
        listed = (*sorted(self.pinned.values(), key=lambda each: each.number), *self.steps)
        found = (
            each
            for each in listed
            if each.number > after
            and (status is None or each.status == status)
            and (iteration is None or each.iteration == iteration)
            and (node is None or node_of(each.task_id) == node)
            and (not text or text in each.task_id.casefold() or text in each.error.casefold())
        )
        rows = [each.to_dict() for each in islice(found, limit + 1)]
        for row in rows:
            row["traceback"] = self.tracebacks.get((row["task_id"], row["iteration"]))
        return {"rows": rows[:limit], "more": len(rows) > limit, "version": self.version}

    def log_page(self, after: int, limit: int, level: str | None, text: str, task_id: str | None) -> dict[str, Any]:
        """Return lines of the log that follow a number, those alone that are wanted."""
        text = text.casefold()
        found = (
            each
            for each in [*self.logs]
            if each["number"] > after
            and (level is None or each["level"] == level)
            and (task_id is None or each.get("task_id") == task_id)
            and (not text or text in each["message"].casefold())
        )
        rows = list(islice(found, limit + 1))
        return {"rows": rows[:limit], "more": len(rows) > limit, "version": self.version}


COUNTED = ("running", "waiting", "succeeded", "failed", "cancelled", "skipped", "attempts")
HEARD: dict[type[Event], Callable[[SeenRun, Event], None]] = {
    TaskExecutionStarted: SeenRun._started,
    TaskExecutionFinished: SeenRun._finished,
    TaskSkipped: SeenRun._skipped,
    TaskRetrying: SeenRun._retrying,
    TaskBlocked: SeenRun._blocked,
}
