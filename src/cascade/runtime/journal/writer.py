"""The thread that writes for an engine: it gathers what its runs have to say, commits it, and gives signs of life.

A run appends a step to its own queue when the step ends and goes on; the writer takes what there is every 10 ms and
commits it for all runs in one transaction. That is what "group" means: a crash loses the last 10 ms, which are done
again. A run with durability "each" has its steps committed at once, and waits; steps of other calls and runs that end
while a commit is on its way share the next one, so a hundred chains side by side cost as many commits as one.

To hand a commit to this thread and back takes two changes of threads, as long as a swift disk does. So where the last
commit took less than 2 ms, and nobody has to be waited for but the disk, who waits for a commit makes it himself, on
the thread of the event loop (`_commit_here`). A disk that was slow once is waited for on this thread the next time.

The queue is a list, as to append, and to cut off what was read, are atomic: no lock is taken for a step, and the writer
needs no help of the event loop, which a body may be holding. Of several steps with one key in a commit only the last
is written; so a loop that turns faster than the disk costs the disk nothing.

A store that fails is tried again for 20 seconds (`PatientBackend`), and nothing new starts meanwhile (`is_behind`).
Then all runs end with a StateError. Their end is not in the store: they are handed back as soon as it works again, so
that they can be gone on with. (The alternative, a connection for each run, would have as many transactions, of which
SQLite makes one at a time.)
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from math import inf
from time import monotonic
from typing import Any, Protocol, TypeVar

from cascade.adapters.state.codec.values import encode
from cascade.adapters.state.patient import PatientBackend
from cascade.adapters.state.rules import forget_finished
from cascade.errors import RunLostError, StateError
from cascade.runtime.event_loop.futures import tell
from cascade.spec.state import Commit, RunStatus, StateBackend, StepRecord

__all__ = ["Recorded", "Writer"]

T = TypeVar("T")
GROUP = 0.01
"""A group is committed so many seconds after its first step ended."""
SWIFT, FEW = 0.002, 200
"""Of a disk that took less for the last commit, the next one is waited for on the thread of the event loop, if so few
steps are in it: to hand it to the writer and back would take about as long as the disk does."""
BEHIND = 0.1
"""A commit that takes longer than that holds back what would begin."""
LOOK = 0.8
"""So often messages are looked for, while somebody waits for one: they are seen within a second."""
BEAT = 5.0
"""So often a sign of life is given."""


class Recorded(Protocol):
    """What a writer knows of a run."""

    run_id: str
    epoch: int
    steps: list[StepRecord]
    taken: list[tuple[int, str]]
    dropped: list[str]

    def spent(self) -> StepRecord:
        """Return what is to be kept of how long it has run."""

    def lost(self, error: StateError) -> None:
        """End the run, from any thread: it cannot be recorded any more."""


class Writer:
    """Writes for all runs of one engine.

    Args:
        keep: how many runs that have ended are kept, or for how long; None: all.
    """

    def __init__(self, backend: StateBackend, keep: int | timedelta | None = None) -> None:
        self.backend = PatientBackend(backend)
        self.encode: Callable[[Any], bytes] = encode
        """Returns the form in which the store keeps a value."""
        self.may_pickle: bool = getattr(backend, "may_pickle", True)
        if not self.may_pickle:
            self.encode = partial(encode, pickles=False)
        self._keep = keep
        self._kept = 0
        """How many runs that had ended were left when some were forgotten the last time."""
        self._since = 0
        """How often a run has begun or ended since."""
        self._runs: dict[str, Recorded] = {}
        self._numbers: dict[str, int] = {}
        """Of each run, its last commit."""
        self._jobs: deque[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]] = deque()
        self._watched: dict[str, Callable[[], None]] = {}
        """Of the runs that wait for messages: what looks whether there are new ones."""
        self._waiting: list[asyncio.Future[Any]] = []
        """Who wants to know when all that was said so far is committed."""
        self._commit_now: Callable[[Sequence[Commit]], list[str]] | None = getattr(backend, "commit_now", None)
        """Commits without waiting for anybody but the disk, or raises."""
        self._took = inf
        """How many seconds the last commit took."""
        self._count = 0
        """How often the thread of an event loop has committed by itself."""
        self._unsure: list[Commit] = []
        """What may have been committed, as whoever tried to was told nothing: it is committed first of all."""
        self._left: deque[Callable[[StateBackend], Any]] = deque()
        """What hands back runs that had to be left while the store did not work."""
        self._wake = threading.Event()
        self._at_rest = threading.Event()
        """Set when all is committed that can be, while it closes."""
        self._lock = threading.Lock()
        """Held where the thread begins and ends."""
        self._turn = threading.Lock()
        """Held by who asks the store, and takes for that what runs have to say."""
        self.is_dirty = False
        self._is_urgent = False
        self._is_open = False
        self._is_closing = False
        self._thread: threading.Thread | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the store takes so long that nothing new is to start."""
        began = self.backend.began
        return began is not None and monotonic() - began > BEHIND

    # --- what runs ask for, on the thread of their event loop

    def begin(self, run: Recorded) -> None:
        """Write for a run from now on."""
        self._numbers[run.run_id] = 0
        self._runs[run.run_id] = run
        self.tidy()

    def leave(self, run: Recorded) -> None:
        """Write for a run no more."""
        if self._runs.get(run.run_id) is run:
            del self._runs[run.run_id]
            self._numbers.pop(run.run_id, None)
            self.tidy()

    def tidy(self) -> None:
        """Have the runs forgotten that are not kept, at the first run and whenever a tenth more may have ended."""
        if self._keep is not None:
            self._since += 1
            if self._since > self._kept // 10:
                self._since = 0
                self.soon(self._forget)

    def _forget(self) -> None:
        assert self._keep is not None
        self._kept = forget_finished(self.backend, self._keep)

    def hand_back(self, run_id: str, params: bytes) -> None:
        """Have a run handed back, if the start that has it wrote these parameters, as soon as the store works."""
        self._jobs.append((lambda: None, lambda value, error: self._left.append(partial(_release, run_id, params))))
        self._hurry()

    def watch(self, run_id: str, look: Callable[[], None]) -> None:
        """Look for messages to a run once a second, on the thread that writes."""
        if run_id not in self._watched:
            self._watched[run_id] = look
            self._start()
            self._wake.set()

    def unwatch(self, run_id: str) -> None:
        """Look for messages to a run no more."""
        self._watched.pop(run_id, None)

    def touch(self) -> None:
        """Have what was said committed, in a while."""
        if not self.is_dirty:
            self.is_dirty = True
            self._start()
            self._wake.set()

    async def committed(self) -> None:
        """Wait until all that was said so far is committed.

        Raises:
            StateError: the store failed.
        """
        if self._commit_now is not None and self._took < SWIFT:
            before = self._count
            await asyncio.sleep(0)  # what else can run now shares the commit
            if self._count != before or self._commit_here():
                return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._hurry()
        await future

    def _commit_here(self) -> bool:
        """Commit on the thread of the event loop, unless that may take long; say whether it is done."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._commit_now is None or not self._is_open or not self._has_few_steps():
                return False
            self._write(self._commit_now)
            self._count += 1
            return True
        except Exception:  # the writer's thread tries it again, and knows whom to tell
            self._took = inf
            return False
        finally:
            self._turn.release()

    def _has_few_steps(self) -> bool:
        runs = [*self._runs.values()]
        return not self._unsure and len(runs) <= FEW and sum([len(run.steps) for run in runs]) <= FEW

    async def ask(self, question: Callable[[], T]) -> T:
        """Ask the store something, on the writer's thread, behind what was said so far."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.append((question, lambda value, error: tell([future], value, error)))
        self._hurry()
        return await future

    def soon(self, question: Callable[[], Any]) -> None:
        """Ask the store something whose answer nobody waits for."""
        self._jobs.append((question, lambda value, error: None))
        self._hurry()

    def _hurry(self) -> None:
        self._is_urgent = True
        self._start()
        self._wake.set()

    async def aclose(self) -> None:
        """Commit what is left, and close the store; who has to hand back runs stays for that."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._is_closing = True
            self._wake.set()
            await asyncio.get_running_loop().run_in_executor(None, self._rest, thread)

    def _rest(self, thread: threading.Thread) -> None:
        self._at_rest.wait()
        if self._thread is None:
            thread.join()

    # --- the thread

    def _start(self) -> None:
        with self._lock:
            if self._at_rest.is_set():
                self._at_rest.clear()
                self._is_closing = False
            if self._thread is None or not self._thread.is_alive():  # it is not in a process that was forked
                self._turn = threading.Lock()
                self._thread = threading.Thread(target=self._work, name="cascade-journal", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        beaten = looked = monotonic()
        while True:
            self._wake.wait(LOOK if self._watched or self._left else BEAT if self._runs else None)
            self._wake.clear()
            if self.is_dirty and not (self._is_urgent or self._is_closing):
                self._wake.wait(GROUP)  # a group gathers; who waits for it cuts that short
                self._wake.clear()
            with self._turn:
                try:
                    if self.is_dirty or self._jobs or self._waiting:
                        self._open(self.backend)
                    self._hand_back()
                    self._write(self.backend.commit)
                    if self._runs and monotonic() - beaten > BEAT:
                        beaten = monotonic()
                        self._lose(self.backend.beat([(name, run.epoch) for name, run in [*self._runs.items()]]))
                    if self._watched and monotonic() - looked > LOOK:
                        for look in [*self._watched.values()]:
                            look()
                        looked = monotonic()
                    self._answer()
                    self._hand_back()
                except BaseException as error:
                    self._fail(error)
                if self._is_closing and self._may_end():
                    return

    def _open(self, backend: StateBackend) -> None:
        if not self._is_open:
            backend.open()
            self._is_open = True

    def _may_end(self) -> bool:
        """Close the store if there is nothing to do; say whether the thread ends."""
        with self._lock:
            if self.is_dirty or self._jobs or self._waiting:
                return False
            if not self._left:
                if self._is_open:
                    self._is_open = False
                    with suppress(Exception):  # all is committed
                        self.backend.close()
                self._thread = None
            self._at_rest.set()
            return self._thread is None

    def _write(self, commit: Callable[[Sequence[Commit]], list[str]]) -> None:
        """Commit what there is, and tell who waits for that."""
        self.is_dirty = self._is_urgent = False
        waiting, began = _taken(self._waiting), monotonic()
        self._unsure += [each for run in [*self._runs.values()] if (each := self._gathered(run)) is not None]
        try:
            if self._unsure:
                self._lose(commit(self._unsure))
                self._unsure, self._took = [], monotonic() - began
        except BaseException:
            self._waiting.extend(waiting)  # they are told once it is committed, or their runs know of it
            raise
        tell(waiting, None, None)

    def _gathered(self, run: Recorded) -> Commit | None:
        dropped = _taken(run.dropped)  # before the steps, which are what made it so that nobody asks for these
        steps = {step[0]: step for step in _taken(run.steps)}
        for key in dropped:
            steps.pop(key, None)
        taken = _taken(run.taken)
        if not steps and not taken and not dropped:
            return None
        return Commit(run.run_id, run.epoch, self._number(run.run_id), [*steps.values()], dropped, taken)

    def _number(self, run_id: str) -> int:
        number = self._numbers[run_id] = self._numbers.get(run_id, 0) + 1
        return number

    def finish(
        self, run: Recorded, status: RunStatus | None, error: str = "", due: float = 0.0, seen: int | None = None
    ) -> list[str]:
        """Commit the end of a run, or hand it back (no status), or park it; on the writer's thread, by `ask`.

        Returns its id if it was lost: then nothing of this is written.
        """
        last = self._gathered(run)
        if last is None:
            last = Commit(run.run_id, run.epoch, self._number(run.run_id))
        return self.backend.commit(
            [last._replace(status=status, released=status is None, error=error, due=due, seen=seen)]
        )

    def drop(self, run: Recorded, keys: Iterable[str], steps: Sequence[StepRecord]) -> None:
        """Commit that steps of a run do not count any more, and others; on the writer's thread, by `ask`."""
        self._lose(self.backend.commit([Commit(run.run_id, run.epoch, self._number(run.run_id), steps, [*keys])]))

    def _lose(self, lost: Iterable[str]) -> None:
        for name in lost:
            run = self._runs.pop(name, None)
            if run is not None:
                run.lost(
                    RunLostError(
                        f"run {name!r} was taken over by somebody else, as this process gave no sign of life for too "
                        "long (it was stopped, or its machine slept); nothing that it did since then is recorded"
                    )
                )

    def _answer(self) -> None:
        for _ in range(len(self._jobs)):
            question, answer = self._jobs.popleft()
            try:
                value = question()
            except BaseException as error:
                if error is self.backend.failure:  # of the store, not of who asked
                    self._jobs.appendleft((question, answer))
                    raise
                answer(None, error)
            else:
                answer(value, None)

    def _hand_back(self) -> None:
        """Hand back the runs that had to be left, if the store works."""
        while self._left:
            question = self._left[0]
            try:
                self._open(self.backend.backend)
                question(self.backend.backend)
            except StateError:
                pass  # it does not work for good
            except Exception:
                return
            self._left.popleft()

    def _fail(self, failure: BaseException) -> None:
        """End all runs: the store cannot be written."""
        error = failure if isinstance(failure, StateError) else StateError(f"the store of runs failed: {failure!r}")
        for name, run in [*self._runs.items()]:
            end = Commit(name, run.epoch, self._number(name), [run.spent()], released=True)
            self._left.append(partial(_commit, end))
            self.leave(run)
            run.lost(error)
        self._watched.clear()
        self._unsure, self._took = [], inf
        tell(_taken(self._waiting), None, error)
        for _ in range(len(self._jobs)):
            self._jobs.popleft()[1](None, error)


def _release(run_id: str, params: bytes, store: StateBackend) -> None:
    record = store.find(run_id)
    if record is not None and record.owner is not None and record.params == params:
        store.commit([Commit(run_id, record.epoch, 1, released=True)])


def _commit(end: Commit, store: StateBackend) -> None:
    store.commit([end])


def _taken(queue: list[Any]) -> list[Any]:
    """Take what is in a queue now; more may be added meanwhile."""
    found = queue[:]
    del queue[: len(found)]
    return found
