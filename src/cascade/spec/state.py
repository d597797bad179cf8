"""What is kept of runs that outlive their process, and the protocol of the stores that keep it.

A store knows runs, the steps of each, and the messages that were sent to them. It looks into no value: `value`,
`params` and `fingerprint` are bytes that the journal encodes and decodes. All methods are called from one thread at a
time (that which writes for an engine), never from the event loop's but `commit_now`.

A store may have two methods besides: `commit_now`, which does what `commit` does and waits for nobody but the disk (or
raises, and may have done it), for the event loop's thread; and `strengthen`, which has it keep from now on what is
committed when the power fails.

A run belongs to the start that took it last, which its `epoch` counts. Each write says which start it is of, and the
store compares within the very transaction: what a start that has lost its run writes late is dropped, and said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

__all__ = [
    "OUTCOMES",
    "Claimed",
    "Commit",
    "Owner",
    "RunRecord",
    "RunStatus",
    "SignalRecord",
    "StateBackend",
    "StepRecord",
    "StepSum",
    "Wanted",
]

RunStatus = Literal["Enqueued", "Running", "Parked", "Succeeded", "Failed", "Cancelled"]
LEASE = 30.0
"""After so many seconds without a sign of life, a run whose owner cannot be asked about is free to be taken."""


class Owner(NamedTuple):
    """A process: its host's boot, its pid namespace, its pid, and when that process began."""

    boot: str
    namespace: str
    pid: int
    began: str
    host: str
    """For people; it decides nothing."""


class RunRecord(NamedTuple):
    """One run."""

    run_id: str
    status: RunStatus
    target: str
    """What another process finds the program by (`file:name` or the id of a blueprint); "" if it has no name."""
    params: bytes
    fingerprint: bytes
    """What its graph looked like when it was last started."""
    created: float
    """Seconds since 1970, by the store's clock, as all times here."""
    updated: float
    """When it was last started, or ended."""
    beat: float = 0.0
    """When its owner last gave a sign of life."""
    epoch: int = 0
    """How many starts it has had."""
    takeovers: int = 0
    """How many of these took it from an owner that was gone, since a step was last committed (one that is only "begun"
    does not count) or the run had ended."""
    owner: Owner | None = None
    error: str = ""
    """What it failed of."""
    traced: str = ""
    """The traceparent of its first start."""
    queue: str = ""
    """Where it was put for servers to take it from; "" if it was started by its own program."""
    priority: int = 0
    """The run with the highest one is taken first, of those that wait in its queue."""
    due: float = 0.0
    """No server takes it before that time; 0: it may be taken."""


class StepRecord(NamedTuple):
    """One step: a call of a task, an item of a map, or where a loop is. A later one of the same key replaces it."""

    key: str
    """Where in the graph it stands; nothing of the order in time."""
    entry: int
    """Which entry of the loop around it belongs to; -1 outside of loops. It is not read in another one."""
    kind: str
    """What the value is: "value", "failed", "skipped", "loop", "begun", ..."""
    value: bytes
    task_id: str
    attempt: int
    started: float
    ended: float
    error: str
    preview: str
    """For people: what the value looks like, in a line, without secrets."""


OUTCOMES = {"value": "Succeeded", "failed": "Failed", "left out": "Skipped", "skipped": "Skipped"}
"""What became of a step, by the kind of its record; of others, nothing has yet."""


class StepSum(NamedTuple):
    """Steps of one node and one kind together, for people."""

    node: str
    kind: str
    calls: int
    started: float
    """When the first one began."""
    ended: float
    """When the last one ended."""
    seconds: float
    entry: int
    """The last entry."""
    attempt: int
    """The most attempts."""
    error: str
    """One of their errors."""


class SignalRecord(NamedTuple):
    """A message that was sent to a run."""

    number: int
    """Counts the messages of a run, in the order in which they were committed, from 1."""
    name: str
    value: bytes
    taken_by: str
    """The key of the step that took it; "" as long as nobody has."""


class Commit(NamedTuple):
    """What one start of one run has to say: all of it becomes true at once, or none."""

    run_id: str
    epoch: int
    number: int
    """Counts the commits of a start, from 1: one whose number was there before is not made twice."""
    steps: Sequence[StepRecord] = ()
    dropped: Sequence[str] = ()
    """The keys of steps that nobody will ask for any more; they go before `steps` are written."""
    taken: Sequence[tuple[int, str]] = ()
    """Which messages were taken, by the keys of which steps."""
    status: RunStatus | None = None
    """What the run becomes; it has no owner any more where this is not Running."""
    released: bool = False
    """The run is handed back: Running, but without owner."""
    error: str = ""
    due: float = 0.0
    """Of a run that is Parked: no server takes it before that time, `inf` for never, unless it is sent a message."""
    seen: int | None = None
    """Of a run that is Parked and waits for messages: the last one that it knows of. If there are others, it is due."""


class Wanted(NamedTuple):
    """What a server asks a store for: runs to carry out."""

    queue: str
    targets: Sequence[str]
    """The names of what it can run; no other run is given to it."""
    owner: Owner
    most: int
    """So many runs at the most."""
    concurrency: int | None = None
    """So many runs of the queue may go on at once, over all servers; None: any number."""
    held: Collection[str] = ()
    """The ids of the runs that it was given and has not ended."""
    is_thorough: bool = False
    """Whether to look, too, for runs whose owner is gone, and for those of no queue that were handed back."""


class Claimed(NamedTuple):
    """What a store gives a server."""

    runs: list[RunRecord]
    """Claimed runs, as in the store: Enqueued, by an owner who is to `take` them at once."""
    wait: float | None
    """In so many seconds the next run of the queue is due; None: none waits for its time."""


class StateBackend(Protocol):
    """Keeps runs; see the module. What goes wrong in it for good is a StateError.

    Whatever else it raises is tried again, even if it was done and only the answer got lost.
    """

    def open(self) -> None:
        """Be ready; called before all else, by each engine that uses the store.

        Raises:
            StateError: it cannot be used: it is no store, of a newer schema, or open to others.
        """
        ...

    def close(self) -> None:
        """Let go of everything, once each engine that uses the store has called this, as its last call."""
        ...

    def find(self, run_id: str) -> RunRecord | None:
        """Return what is known of a run, None if nothing is."""
        ...

    def create(self, record: RunRecord) -> bool:
        """Keep a new run, with its owner and epoch 1 if it has one; False if there is one of that id already."""
        ...

    def take(self, run_id: str, epoch: int, owner: Owner, params: bytes, fingerprint: bytes) -> RunRecord:
        """Make a run that is not alive ours: Running, with the next epoch and what is given; return it.

        Args:
            epoch: the one that it had when it was looked at.

        Raises:
            RunBusyError: its owner is alive, or it was taken since it was looked at.
            StateError: there is no such run.
        """
        ...

    def enqueue(self, record: RunRecord, dedupe: str | None = None) -> RunRecord:
        """Put a run into its queue (Enqueued, without owner); return what is known of it then.

        A run of that id that is there stays as it is, unless it is Failed or Cancelled: that is Enqueued again, with
        the queue, the priority and the time of `record`, and keeps its steps, params and fingerprint.

        Args:
            dedupe: if a run of the same target that was enqueued with the same text has not ended, that is returned,
                and nothing is done.
        """
        ...

    def claim(self, wanted: Wanted) -> Claimed:
        """Reserve runs for a server: of the highest priority first, of these those that were first in the store.

        Before them come those whose owner is gone and those of no queue, if it asks for them. Runs that wait are
        Enqueued, Parked, or Running without owner; they have a target, and are due. One that is claimed is Enqueued
        and has the server as its owner, until that takes it; its epoch stays, so it can still be taken by whoever
        looked at it before. A run with an owner that is gone counts one more takeover. (`updated` moves along with
        `beat` there, so that what lies between them, the time that it ran, stays what it was.)
        """
        ...

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        """Make all commits durable in one transaction; return the ids of the runs that had another epoch.

        Nothing of those is written.
        """
        ...

    def beat(self, runs: Iterable[tuple[str, int]]) -> list[str]:
        """Give a sign of life for runs, each with its epoch; return the ids of those that had another one."""
        ...

    def steps(self, run_id: str) -> Iterable[StepRecord]:
        """Return all steps of a run, in the order in which they were first written."""
        ...

    def send(self, run_id: str, name: str, value: bytes, id: str | None) -> None:
        """Keep a message for a run; one with an `id` that is there already counts once. A Parked run is due then.

        Raises:
            StateError: there is no such run, it has ended, or it has 10,000 messages that nobody took.
        """
        ...

    def signals(self, run_id: str, after: int = 0) -> list[SignalRecord]:
        """Return the messages to a run with numbers above `after`, in order."""
        ...

    def runs(
        self, status: str | None = None, target: str | None = None, since: float | None = None, limit: int | None = None
    ) -> list[RunRecord]:
        """Return the runs that there are, the latest first, without their params and fingerprints.

        Args:
            since: those created at that time or later.
        """
        ...

    def forget(self, run_id: str, epoch: int | None = None) -> bool:
        """Drop all that is kept of a run that is not alive; False if there was none.

        Args:
            epoch: the one that it had when it was looked at; with another one it stays, as if there were none.

        Raises:
            RunBusyError: it is alive.
        """
        ...

    def now(self) -> float:
        """Return the store's time, in seconds since 1970."""
        ...
