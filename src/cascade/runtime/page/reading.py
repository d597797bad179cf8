"""Steps of recorded runs in pages, and all of them counted by node: by the store itself where it can, else one by one.

A run may have millions of steps, so a store that can look for some of them does: `some_steps` and `step_sums`, as those
in SQLite and PostgreSQL have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from cascade.runtime.watching.seen import COUNTED, SeenNode, node_of
from cascade.spec.state import OUTCOMES, StateBackend, StepRecord, StepSum

__all__ = ["Outline", "outline_of", "page_of"]

BESIDES = "^?"
"""Ends the keys of what is kept besides the value of a step."""
BEGUN = "begun"
SPANS = 3_000
"""So many steps, the first, are drawn one by one on a time line."""


class Outline:
    """All steps of a run together."""

    def __init__(self) -> None:
        self.nodes: dict[str, SeenNode] = {}
        self.spans: dict[str, list[list[Any]]] = {}
        self.total = 0

    def counts(self) -> dict[str, int]:
        """Return how many calls there are of each state."""
        return {name: sum(getattr(each, name) for each in self.nodes.values()) for name in COUNTED}

    def add(self, found: StepSum) -> None:
        """Count steps of one node and one kind."""
        node = self.nodes.setdefault(found.node, SeenNode(found.node))
        status = OUTCOMES.get(found.kind)
        self.total += found.calls
        node.started += found.calls
        node.first = found.started if node.first is None else min(node.first, found.started)
        node.iteration = max(node.iteration, found.entry)
        node.attempts += max(0, found.attempt - 1)
        node.error = node.error or found.error
        if status is None:
            node.running += found.calls
            return
        name = status.lower()
        setattr(node, name, getattr(node, name) + found.calls)
        node.seconds += found.seconds
        node.last = found.ended if node.last is None else max(node.last, found.ended)


def outline_of(backend: StateBackend, run_id: str) -> Outline:
    """Count the steps of a run by node."""
    outline = Outline()
    sums = getattr(_kept(backend), "step_sums", None)
    for each in _sums(backend.steps(run_id)) if sums is None else sums(run_id):
        outline.add(each)
    for row in page_of(backend, run_id, 0, SPANS, None, "", None, None):
        if row["status"] != "Skipped":
            spans = outline.spans.setdefault(node_of(row["task_id"]), [])
            spans.append([row["started"], row["ended"], row["status"]])
    return outline


def page_of(
    backend: StateBackend,
    run_id: str,
    after: int,
    limit: int,
    status: str | None,
    text: str,
    node: str | None,
    iteration: int | None,
) -> list[dict[str, Any]]:
    """Return so many steps that follow a number, those alone that are wanted."""
    kinds = [kind for kind, each in OUTCOMES.items() if status in (None, each)]
    if status in (None, "Running"):
        kinds.append(BEGUN)
    some: Any = getattr(_kept(backend), "some_steps", None)
    found: Iterable[tuple[int, StepRecord]]
    if some is not None:
        found = some(run_id, after, limit, kinds, text, node, iteration)
    else:
        numbered = enumerate(_without_begun(backend.steps(run_id)), 1)
        found = islice(
            (
                (number, step)
                for number, step in numbered
                if number > after
                and step.kind in kinds
                and (iteration is None or step.entry == iteration)
                and (node is None or node_of(step.task_id) == node)
                and (not text or text.casefold() in f"{step.task_id}\n{step.error}".casefold())
            ),
            limit,
        )
    return [_row(number, step) for number, step in found]


def _kept(backend: StateBackend) -> StateBackend:
    """Return the store inside of one that signs: what is shown here is not decoded."""
    inside: StateBackend = getattr(backend, "backend", backend)
    return inside


def _row(number: int, step: StepRecord) -> dict[str, Any]:
    status = OUTCOMES.get(step.kind, "Running")
    return {
        "number": number,
        "task_id": step.task_id,
        "iteration": max(0, step.entry),
        "status": status,
        "started": step.started,
        "ended": step.ended if step.kind in OUTCOMES else None,
        "attempt": step.attempt,
        "error": step.error,
        "preview": step.preview or None,
        "reason": "",
        "traceback": None,
    }


def _without_begun(steps: Iterable[StepRecord]) -> Iterator[StepRecord]:
    """Give the steps that have ended, and those begun that have not."""
    listed: Sequence[StepRecord] = [step for step in steps if step.task_id]
    ended = {step.key for step in listed if step.kind in OUTCOMES}
    for step in listed:
        if step.kind in OUTCOMES or (step.kind == BEGUN and step.key.rstrip(BESIDES) not in ended):
            yield step


def _sums(steps: Iterable[StepRecord]) -> Iterator[StepSum]:
    for step in _without_begun(steps):
        took = max(0.0, step.ended - step.started)
        yield StepSum(
            node_of(step.task_id), step.kind, 1, step.started, step.ended, took, step.entry, step.attempt, step.error
        )
