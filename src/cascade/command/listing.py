"""Recorded runs and their steps as people and machines read them; no value is decoded for it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from cascade.app.standing import spelled_time
from cascade.app.words import say
from cascade.command.stores import is_going_on
from cascade.command.tables import aligned, titles
from cascade.spec.shown import one_line
from cascade.spec.state import OUTCOMES, RunRecord, StepRecord

__all__ = ["folded", "run_to_dict", "runs_table", "step_to_dict", "steps_table"]

BEGUN = "Begun"
"""What became of all else: an attempt was begun, or a loop is at an entry."""
BESIDES = "^?$&"
"""Ends the keys of what is kept besides the value of a step: where its loop is, which attempts were begun, when its
wait ends, whether its condition holds."""


# --- runs


def runs_table(records: Sequence[RunRecord], now: float) -> list[str]:
    """Return a line for each run, and what is to be said of it below."""
    rows = []
    for each in records:
        took = spelled_time(_took(each, now))
        rows.append((one_line(each.run_id), _state(each, now), _clock(each.created), took, _place(each.target)))
    first, *lines = aligned(titles("id", "status", "started", "took", "target"), rows)
    shown = [first]
    for record, line in zip(records, lines, strict=True):
        shown += [line, *(f"    {note}" for note in _notes(record, now))]
    return shown


def _state(record: RunRecord, now: float) -> str:
    """Return what the state of a run is called, on the page as well; it is kept as Running when it is handed back."""
    is_left = record.status == "Running" and not is_going_on(record, now)
    return say("state_of_Handed back" if is_left else f"state_of_{record.status}")


def _notes(record: RunRecord, now: float) -> list[str]:
    if record.error:
        return [one_line(record.error)]
    if record.status != "Running" or is_going_on(record, now):
        return []
    return [say("waits" if record.target else "waits_itself")]


def run_to_dict(record: RunRecord, now: float) -> dict[str, Any]:
    """Return what is told of a run in JSON."""
    owner = record.owner if is_going_on(record, now) else None
    return {
        "run_id": record.run_id,
        "status": record.status,
        "is_going_on": owner is not None,
        "target": record.target or None,
        "created": record.created,
        "updated": record.updated,
        "seconds": _took(record, now),
        "starts": record.epoch,
        "error": record.error or None,
        "pid": None if owner is None else owner.pid,
        "host": None if owner is None else owner.host,
    }


def _took(record: RunRecord, now: float) -> float:
    """Return the seconds from the first start of a run to its end, or to where it was last heard of."""
    end = now if is_going_on(record, now) else max(record.updated, record.beat)
    return max(0.0, round((record.updated if record.status != "Running" else end) - record.created, 3))


def _place(target: str) -> str:
    """Return the name of a target, its file as it is spelled from here."""
    file, colon, name = target.rpartition(":")
    here = os.getcwd() + os.sep
    return one_line(f"{file.removeprefix(here)}{colon}{name}")


# --- steps


def folded(steps: Iterable[StepRecord]) -> list[StepRecord]:
    """Return a record for each step: its value with its last attempt, or what is known of it before it has one.

    What was begun inside of a loop that has ended is left out: the value of the loop tells what became of it.
    """
    found: dict[tuple[str, int], StepRecord] = {}
    steps = [*steps]
    ended = {step.key for step in steps if step.kind in OUTCOMES}
    for step in steps:
        if not step.task_id or (step.kind not in OUTCOMES and not ended.isdisjoint(_loops_around(step.key))):
            continue
        at = step.key.rstrip(BESIDES), step.entry
        known = found.get(at)
        if known is None:
            found[at] = step
        else:
            kept = known if known.kind in OUTCOMES else step
            found[at] = kept._replace(
                attempt=max(known.attempt, step.attempt), started=min(known.started, step.started)
            )
    return list(found.values())


def _loops_around(key: str) -> Iterator[str]:
    """Give the keys of the loops that a step stands in, each with the items that the step is in, too."""
    way, bracket, items = key.rstrip(BESIDES).partition("[")
    for at, letter in enumerate(way):
        if letter == ">":
            yield way[:at] + bracket + items


def steps_table(steps: Sequence[StepRecord]) -> list[str]:
    """Return a line for each step."""
    rows = []
    for step in steps:
        entry = f" @{step.entry}" if step.entry >= 0 else ""
        status = OUTCOMES.get(step.kind, BEGUN)
        took = f"{max(0.0, step.ended - step.started):.3f} s" if step.kind in OUTCOMES else ""
        shown = one_line(step.error or step.preview)
        first = one_line(step.task_id) + entry, str(step.attempt), say(f"state_of_{status}")
        rows.append((*first, _clock(step.started), took, shown))
    return aligned(titles("step", "attempt", "status", "started", "took", "shown"), rows)


def step_to_dict(step: StepRecord) -> dict[str, Any]:
    """Return what is told of a step in JSON."""
    return {
        "task_id": step.task_id,
        "entry": step.entry if step.entry >= 0 else None,
        "attempt": step.attempt,
        "status": OUTCOMES.get(step.kind, BEGUN),
        "started": step.started,
        "ended": step.ended if step.kind in OUTCOMES else None,
        "error": step.error or None,
        "preview": step.preview or None,
    }


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
