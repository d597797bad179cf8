"""A store that is asked again while it fails in a way that may pass: the one place where that is done.

What fails for good is a StateError, and comes out at once. All else (a lock, a full disk, an I/O error, a connection
that was lost) is tried again for 20 seconds, less than a lease; then it is a StateError, too. A question may have been
carried out though its answer got lost, so each is made such that asking again does no harm: a commit has its number, a
message an id, and who finds that a run was taken looks whether it was taken by this very start (each writes parameters
that no other one does).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, sleep
from typing import TypeVar

from cascade.errors import RunBusyError, StateError
from cascade.spec.notes import spelled
from cascade.spec.state import Claimed, Commit, Owner, RunRecord, SignalRecord, StateBackend, StepRecord, Wanted

__all__ = ["PatientBackend"]

T = TypeVar("T")
PATIENCE = 20.0
"""So long a store that fails is tried again."""
PAUSES = (0.01, 1.0)
"""How long one waits before it is asked again, at first and at the most."""


class PatientBackend:
    """Asks a store again when it fails in a way that may pass; else as that does.

    Args:
        backend: the store.
    """

    def __init__(self, backend: StateBackend) -> None:
        self.backend = backend
        self.began: float | None = None
        """Since when it has not answered; None: nothing is asked."""
        self.failure: StateError | None = None
        """What it was given up with the last time."""

    def __repr__(self) -> str:
        return f"PatientBackend({self.backend!r})"

    @property
    def _place(self) -> str:
        """Where the store is, if it is in a file."""
        path = getattr(self.backend, "path", None)
        return f" in {path}" if isinstance(path, str) else ""

    def _ask(self, question: Callable[[], T]) -> T:
        self.began = began = monotonic()
        pause, longest = PAUSES
        try:
            while True:
                try:
                    return question()
                except StateError:
                    raise
                except Exception as error:
                    if monotonic() + pause - began > PATIENCE:
                        self.failure = StateError(
                            f"the store of runs{self._place} failed for {PATIENCE:g} seconds: {spelled(error)}; what "
                            "was not committed by then is not recorded. Runs that were going on are Running there, "
                            "without an owner: start them again with their run_id when the store works"
                        )
                        raise self.failure from error
                sleep(pause)
                pause = min(2 * pause, longest)
        finally:
            self.began = None

    def open(self) -> None:
        """Be ready."""
        self._ask(self.backend.open)

    def close(self) -> None:
        """Let go of everything."""
        self.backend.close()

    def find(self, run_id: str) -> RunRecord | None:
        """Return what is known of a run, None if nothing is."""
        return self._ask(lambda: self.backend.find(run_id))

    def create(self, record: RunRecord) -> bool:
        """Keep a new run; False if there is one of that id that somebody else has made."""
        if self._ask(lambda: self.backend.create(record)):
            return True
        found = self.find(record.run_id)
        return found is not None and found.epoch <= 1 and found.params == record.params

    def take(self, run_id: str, epoch: int, owner: Owner, params: bytes, fingerprint: bytes) -> RunRecord:
        """Make a run that is not alive ours; return it.

        Raises:
            RunBusyError: its owner is alive, or it was taken since it was looked at.
            StateError: there is no such run.
        """
        try:
            return self._ask(lambda: self.backend.take(run_id, epoch, owner, params, fingerprint))
        except RunBusyError:
            found = self.find(run_id)
            if found is None or (found.epoch, found.params) != (epoch + 1, params):
                raise
            return found

    def enqueue(self, record: RunRecord, dedupe: str | None = None) -> RunRecord:
        """Put a run into its queue; return what is known of it then, or the unfinished one of the same `dedupe`."""
        return self._ask(lambda: self.backend.enqueue(record, dedupe))

    def claim(self, wanted: Wanted) -> Claimed:
        """Reserve runs for a server; what it does not hear of, because the answer got lost, it is given later."""
        return self._ask(lambda: self.backend.claim(wanted))

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        """Make all commits durable; return the ids of the runs that had another epoch."""
        return self._ask(lambda: self.backend.commit(commits))

    def beat(self, runs: Iterable[tuple[str, int]]) -> list[str]:
        """Give a sign of life for runs; return the ids of those that had another epoch."""
        several = [*runs]
        return self._ask(lambda: self.backend.beat(several))

    def steps(self, run_id: str) -> list[StepRecord]:
        """Return all steps of a run, in the order in which they were first written."""
        return self._ask(lambda: [*self.backend.steps(run_id)])

    def send(self, run_id: str, name: str, value: bytes, id: str | None) -> None:
        """Keep a message for a run; one with an `id` that is there already counts once.

        Raises:
            StateError: there is no such run, it has ended, or it has too many messages that nobody took.
        """
        told = os.urandom(16).hex() if id is None else id  # else one whose answer got lost would count twice
        self._ask(lambda: self.backend.send(run_id, name, value, told))

    def signals(self, run_id: str, after: int = 0) -> list[SignalRecord]:
        """Return the messages to a run with numbers above `after`, in order."""
        return self._ask(lambda: self.backend.signals(run_id, after))

    def runs(
        self, status: str | None = None, target: str | None = None, since: float | None = None, limit: int | None = None
    ) -> list[RunRecord]:
        """Return the runs that there are, the latest first, without their params and fingerprints."""
        return self._ask(lambda: self.backend.runs(status, target, since, limit))

    def forget(self, run_id: str, epoch: int | None = None) -> bool:
        """Drop all that is kept of a run that is not alive, and has this epoch; False if there was none.

        Raises:
            RunBusyError: it is alive.
        """
        is_there = self.find(run_id) is not None  # else one whose answer got lost would be none
        return self._ask(lambda: self.backend.forget(run_id, epoch)) or is_there

    def now(self) -> float:
        """Return the store's time, in seconds since 1970."""
        return self.backend.now()
