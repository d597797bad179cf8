"""What the checks of stores have in common: opening them, and the runs that they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cascade.spec.state import Owner, RunRecord, RunStatus, StateBackend

__all__ = ["GONE", "OTHER", "Make", "a_run", "refused", "store_of"]

Make = Callable[[str], StateBackend]
GONE = Owner("another boot", "another namespace", 1, "1", "elsewhere")
"""A process that nobody can look at: it is known by its beats alone."""
OTHER = Owner("another boot", "another namespace", 2, "2", "elsewhere")


@contextmanager
def store_of(make: Make, name: str = "store") -> Iterator[StateBackend]:
    """Give a store, open."""
    store = make(name)
    store.open()
    try:
        yield store
    finally:
        store.close()


def a_run(store: StateBackend, run_id: str = "run", owner: Owner | None = GONE) -> RunRecord:
    """Return a run: of an owner, or enqueued."""
    now = store.now()
    status: RunStatus = "Enqueued" if owner is None else "Running"
    about = ("flows.py:main", b"params", b"graph", now, now)
    return RunRecord(run_id, status, *about, owner=owner, traced="00-1-2-01")


def refused(call: Callable[[], object], error: type[Exception]) -> None:
    """Check that a call raises an error."""
    try:
        call()
    except error:
        return
    raise AssertionError(f"{error.__name__} was to be raised")
