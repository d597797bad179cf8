"""The store of runs that a command is given, the runs in it, and how one is recorded."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cascade.adapters.state.memory import MemoryBackend
from cascade.adapters.state.owner import is_alive
from cascade.adapters.state.patient import PatientBackend
from cascade.adapters.state.sqlite import SqliteBackend
from cascade.adapters.state.urls import backend_from
from cascade.app.words import say
from cascade.app.writing import tell
from cascade.command.misuse import Misuse, close_to
from cascade.runtime.journal.recorder import Recorder
from cascade.spec.run_options import Durability
from cascade.spec.shown import one_line, without_passwords
from cascade.spec.state import RunRecord, StateBackend

__all__ = ["MOST_NAMED", "VARIABLE", "find_run", "go_on", "is_going_on", "opened", "recorded", "store_of"]

VARIABLE = "CASCADE_STATE"
MOST_NAMED = 5
MOST_COMPARED = 10_000


def store_of(state: str | None, durability: Durability = "group") -> StateBackend:
    """Return the store that is meant; it is not opened yet.

    Raises:
        Misuse: none is given, or there is no store of the kind.
    """
    if not state:
        raise Misuse(say("no_state", variable=VARIABLE))
    try:
        backend = backend_from(state, "--state", durability)
    except (ValueError, NotImplementedError) as error:
        raise Misuse(str(error)) from None
    if isinstance(backend, MemoryBackend):
        raise Misuse(say("state_in_memory"))
    return backend


@contextmanager
def opened(state: str | None) -> Iterator[PatientBackend]:
    """Give a store that is there, open for a while."""
    backend = store_of(state)
    if isinstance(backend, SqliteBackend) and not os.path.exists(backend.path):  # to look at it shall not make it
        folder = Path(backend.path).parent
        known = sorted(each.name for each in folder.glob("*.db")) if folder.is_dir() else []
        hint = close_to(os.path.basename(backend.path), known, "")
        raise Misuse("; ".join(filter(None, [say("no_store", file=backend.path), hint])))
    patient = PatientBackend(backend)
    try:
        patient.open()
        yield patient
    finally:
        backend.close()


def find_run(backend: StateBackend, run_id: str) -> RunRecord:
    """Return what is known of a run.

    Raises:
        Misuse: there is none of that id.
    """
    record = backend.find(run_id)
    if record is not None:
        return record
    known = [one_line(each.run_id) for each in backend.runs(limit=MOST_COMPARED)]
    latest = say("latest_runs", names=", ".join(known[:MOST_NAMED])) if known else say("no_runs")
    raise Misuse(f"{say('no_run', name=run_id)}; {close_to(run_id, known, latest)}")


def is_going_on(record: RunRecord, now: float) -> bool:
    """Say whether a process is carrying out a run."""
    return record.status == "Running" and record.owner is not None and is_alive(record.owner, record.beat, now)


def recorded(state: str, target: str, how: dict[str, str | None], is_told: bool) -> dict[str, Any]:
    """Return the options of `cs.run` for a run that is recorded, and as `going_on` how to go on with it.

    Args:
        target: what the run keeps as the name of its program.
        how: the options of the command, by their names.
        is_told: whether people read what is told.
    """
    durability: Any = how["durability"] or "group"
    recorder = Recorder(store_of(state, durability), durability, target=target)
    run_id = how["run_id"]
    if run_id is None:
        run_id = recorder.name(None, {})
        if is_told:
            tell(say("recorded_as", name=run_id, state=without_passwords(state)) + "\n")
    elif not run_id:
        raise Misuse(say("empty_run_id"))
    return {
        "run_id": run_id,
        "on_change": how["on_change"] or "keep",
        "durability": durability,
        "state_backend": recorder,
        "going_on": go_on(run_id, target, state) + "\n" if is_told else "",
    }


def go_on(run_id: str, target: str, state: str) -> str:
    """Return what to type to go on with a run."""
    given = [] if os.environ.get(VARIABLE) == state else ["--state", without_passwords(state)]
    if not target:
        return say("go_on_itself", options=shlex.join(["--run-id", run_id, *given]))
    return say("go_on", command=shlex.join(["cascade", "resume-run", run_id, *given]))
