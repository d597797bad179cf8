"""A store that others can write to, whose pickles are signed: none is read that was written, or put there, by another.

Most values have a readable form, which runs nothing when it is read. What has none is a pickle, and reading one can run
code. In a file, its owner says who wrote it; in a database whoever may write to the table could have. So each pickle is
signed, over the store, the run, the step and its own bytes: it is worth nothing in another place. The key is what
CASCADE_SECRET holds, in all processes that share the store. Without one nothing is pickled, and no pickle is read.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from cascade.spec.state import Claimed, Commit, Owner, RunRecord, SignalRecord, StateBackend, StepRecord, Wanted

__all__ = ["VARIABLE", "SharedBackend", "SignedBackend"]

VARIABLE = "CASCADE_SECRET"
PICKLE, SIGNED, REFUSED = b"p1", b"s1", b"r1"
SIZE = 32


class SharedBackend(StateBackend, Protocol):
    """A store that others can write to, which can be told from all others."""

    @property
    def identity(self) -> str:
        """A name that no other store has."""
        ...


class SignedBackend:
    """Does what the store inside does, and signs what is pickled.

    Args:
        backend: the store.
        secret: the key; by default what is in CASCADE_SECRET when it is made.
    """

    def __init__(self, backend: SharedBackend, secret: str | None = None) -> None:
        self.backend = backend
        self._secret = (os.environ.get(VARIABLE, "") if secret is None else secret).encode()
        self.may_pickle = bool(self._secret)
        """Whether a value may be recorded as a pickle."""

    def __repr__(self) -> str:
        return repr(self.backend)

    # --- signing

    def _sealed(self, data: bytes, *place: str) -> bytes:
        """Return a value as it is written: a pickle with its signature."""
        if data[:2] != PICKLE:
            return data
        return SIGNED + self._signature(data[2:], place) + data[2:]

    def _unsealed(self, data: bytes, *place: str) -> bytes:
        """Return a value as it was given to be written; what is not signed by us says so when it is read."""
        head = data[:2]
        if head == SIGNED and self._secret:
            pickle = data[2 + SIZE :]
            if hmac.compare_digest(data[2 : 2 + SIZE], self._signature(pickle, place)):
                return PICKLE + pickle
            return REFUSED + b"it is a pickle that is signed with another key, or was put in another place"
        if head == SIGNED:
            return REFUSED + f"it is a signed pickle, and {VARIABLE} is not set here".encode()
        if head == PICKLE:
            return REFUSED + b"it is a pickle that nobody has signed"
        return data

    def _signature(self, pickle: bytes, place: Sequence[str]) -> bytes:
        about = [b"cascade 1", *(part.encode("utf-8", "surrogatepass") for part in (self.backend.identity, *place))]
        whole = b"".join(b"%d:%s" % (len(part), part) for part in (*about, pickle))
        return hmac.digest(self._secret, whole, "sha256")

    def _record(self, record: RunRecord) -> RunRecord:
        return record._replace(params=self._unsealed(record.params, record.run_id, "params"))

    # --- what the store does

    def open(self) -> None:
        """Be ready."""
        self.backend.open()

    def strengthen(self) -> None:
        """Keep from now on what is committed when the power fails, where the store is not so by itself."""
        strengthen = getattr(self.backend, "strengthen", None)
        if strengthen is not None:
            strengthen()

    def close(self) -> None:
        """Let go of everything."""
        self.backend.close()

    def find(self, run_id: str) -> RunRecord | None:
        """Return what is known of a run, None if nothing is."""
        record = self.backend.find(run_id)
        return None if record is None else self._record(record)

    def create(self, record: RunRecord) -> bool:
        """Keep a new run; False if there is one of that id already."""
        return self.backend.create(record._replace(params=self._sealed(record.params, record.run_id, "params")))

    def take(self, run_id: str, epoch: int, owner: Owner, params: bytes, fingerprint: bytes) -> RunRecord:
        """Make a run that is not alive ours; return it."""
        sealed = self._sealed(params, run_id, "params")
        return self._record(self.backend.take(run_id, epoch, owner, sealed, fingerprint))

    def enqueue(self, record: RunRecord, dedupe: str | None = None) -> RunRecord:
        """Put a run into its queue; return what is known of it then, or the unfinished one of the same `dedupe`."""
        sealed = record._replace(params=self._sealed(record.params, record.run_id, "params"))
        return self._record(self.backend.enqueue(sealed, dedupe))

    def claim(self, wanted: Wanted) -> Claimed:
        """Reserve runs that wait for a server."""
        claimed = self.backend.claim(wanted)
        return claimed._replace(runs=[self._record(each) for each in claimed.runs])

    def listen(self, queue: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call something whenever a run may have been enqueued; return what ends that."""
        listen: Callable[[str, Callable[[], None]], Callable[[], None]] | None = getattr(self.backend, "listen", None)
        return (lambda: None) if listen is None else listen(queue, wake)

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        """Make all commits durable; return the ids of the runs that had another epoch."""
        return self.backend.commit([each._replace(steps=[*self._steps(each)]) for each in commits])

    def _steps(self, commit: Commit) -> Iterator[StepRecord]:
        for step in commit.steps:
            if step.value[:2] == PICKLE:
                step = step._replace(value=self._sealed(step.value, commit.run_id, "step", step.key))
            yield step

    def beat(self, runs: Iterable[tuple[str, int]]) -> list[str]:
        """Give a sign of life for runs; return the ids of those that had another epoch."""
        return self.backend.beat(runs)

    def steps(self, run_id: str) -> Iterator[StepRecord]:
        """Give all steps of a run, in the order in which they were first written."""
        for step in self.backend.steps(run_id):
            value = self._unsealed(step.value, run_id, "step", step.key)
            yield step if value is step.value else step._replace(value=value)

    def send(self, run_id: str, name: str, value: bytes, id: str | None) -> None:
        """Keep a message for a run."""
        self.backend.send(run_id, name, self._sealed(value, run_id, "message", name), id)

    def signals(self, run_id: str, after: int = 0) -> list[SignalRecord]:
        """Return the messages to a run with numbers above `after`, in order."""
        return [
            each._replace(value=self._unsealed(each.value, run_id, "message", each.name))
            for each in self.backend.signals(run_id, after)
        ]

    def runs(
        self, status: str | None = None, target: str | None = None, since: float | None = None, limit: int | None = None
    ) -> list[RunRecord]:
        """Return the runs that there are, the latest first, without their params and fingerprints."""
        return self.backend.runs(status, target, since, limit)

    def forget(self, run_id: str, epoch: int | None = None) -> bool:
        """Drop all that is kept of a run that is not alive; False if there was none."""
        return self.backend.forget(run_id, epoch)

    def now(self) -> float:
        """Return the store's time."""
        return self.backend.now()
