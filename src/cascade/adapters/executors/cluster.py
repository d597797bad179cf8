"""A connection to a cluster, whatever it is of: the calls that are out there, and what becomes of them.

Calls go in jobs, batches of one function (`batches`); a job goes out as one message, and what comes back is settled
here: each call gets its outcome, those that a batch has not come to are sent again, and those of a batch that has died
are sent once more, each alone, so that what is to blame is told apart. How a job is handed to Dask or Ray, and how
one hears of it, is in a class of its own for each of them.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from copy import copy
from typing import Any
from uuid import uuid4

from cascade.adapters.executors import crossing
from cascade.adapters.executors.batches import Batches, Item
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.executors.remote import versions
from cascade.errors import ClusterError, WorkerLostError
from cascade.spec.events import RunWarning
from cascade.spec.inside import inside_of
from cascade.spec.protocols import CallNode
from cascade.spec.streams import Stream

__all__ = ["Cluster", "ClusterExecutor", "Job", "described"]

MOST_DEATHS = 3
"""A call that may not have begun on the workers that have died is given to another one, until there were so many."""


def described(node: CallNode) -> str:
    """Return which task it is, for errors."""
    return f"task {node.name!r} (declared at {node.declared})"


class Job:
    """One task of the cluster: a batch of calls of one function."""

    __slots__ = ("follower", "future", "items", "key", "payload", "worker")

    def __init__(self, items: list[Item], payload: bytes) -> None:
        self.items = items
        self.payload: Any = payload
        self.key = f"{items[0].node.name}-{uuid4().hex}"
        self.future: Any = None
        """What the cluster gives for its outcome."""
        self.worker: str | None = None
        """The worker that has begun it."""
        self.follower: asyncio.Task[None] | None = None

    @property
    def resources(self) -> dict[str, float]:
        """What its calls need of a worker."""
        return dict(self.items[0].node.resources or {})


class Cluster(ABC):
    """A connection to a cluster, on one event loop, and the calls that are out there.

    Args:
        address: where it is, for people.
        seconds: so long a batch should take.
    """

    kind: str
    """Whose cluster it is."""
    extra: str
    """The extra that brings what it needs."""
    way: crossing.Way

    def __init__(self, address: str, seconds: float) -> None:
        self.address = address
        self.loop = asyncio.get_running_loop()
        self.seconds = seconds
        self.batches = Batches(self.send, self.threads, seconds)
        self.jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.is_closing = False

    @abstractmethod
    def threads(self) -> int:
        """Return how many calls the cluster can make at once, as far as is known."""

    @abstractmethod
    async def follow(self, job: Job) -> None:
        """Hand a job to the cluster, and see to it until it is settled."""

    @abstractmethod
    def drop(self, job: Job) -> bool:
        """Have a job taken back that nobody waits for; False: it was left behind, as it had begun."""

    @abstractmethod
    def cause(self, worker: str) -> str:
        """Return why a worker may have died."""

    @abstractmethod
    async def leave(self) -> None:
        """Close the connection, and end the cluster if it was started here."""

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Have something done that no call waits for."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- there

    def send(self, batches: list[list[Item]]) -> None:
        """Send batches of calls of one function."""
        for job in [job for items in batches for job in self._packed(items)]:
            self.jobs[job.key] = job
            for item in job.items:
                item.job = job
            job.follower = self.start(self.follow(job))

    def _packed(self, items: list[Item]) -> list[Job]:
        try:
            return [Job(items, crossing.pack_calls(items[0].node.func, items))]
        except Exception as error:
            if len(items) > 1:
                return [job for item in items for job in self._packed([item])]
            (item,) = items
            item.fail(crossing.refused(described(item.node), item.node.func, item.args, item.kwargs, error, self.way))
            self.batches.back(item, 0, 0.0)
            return []

    # --- back

    def settle(self, job: Job, kind: str, found: Any, seconds: float) -> None:
        """Give calls what became of them."""
        if self.jobs.pop(job.key, None) is None:
            return
        items = [item for item in job.items if not item.is_off]
        if kind == "versions":
            (python, own), (there, other) = versions(), found
            self.batches.back(job.items[0], 0, 0.0)
            self._fail(
                items,
                ClusterError(
                    f"{self._of(job)} cannot run on a worker of {self.address}: there is Python {there} with Cascade "
                    f"{other}, here Python {python} with Cascade {own}; have the same here and there"
                ),
            )
            return
        if kind == "arrival":
            self.batches.back(job.items[0], 0, 0.0)
            if len(items) == 1:
                items[0].give(found)
            else:
                self._alone(items)
            return
        self.batches.back(job.items[0], len(found), seconds)
        for item, outcome in zip(job.items, found, strict=False):
            item.give(outcome)
        for item in job.items[len(found) :]:
            if not item.is_off:
                self.batches.put(item)

    def _alone(self, items: Iterable[Item]) -> None:
        """Send calls again, each alone, so that those that are to blame are told apart."""
        for item in items:
            item.is_alone = True
            self.batches.put(item)

    def _fail(self, items: Iterable[Item], error: BaseException) -> None:
        for item in items:
            item.fail(copy(error))

    def _of(self, job: Job) -> str:
        return described(job.items[0].node)

    def _settle_all(self, job: Job, error: BaseException) -> None:
        if self.jobs.pop(job.key, None) is not None:
            self.batches.back(job.items[0], 0, 0.0)
            self._fail(job.items, error)

    def broken(self, job: Job) -> None:
        """Take in that the cluster does not answer for a job any more."""
        self._settle_all(
            job,
            ClusterError(
                f"the {self.kind} cluster at {self.address} has gone away while {self._of(job)} was there: "
                "its scheduler ended, or cannot be reached any more"
            ),
        )

    def refused(self, job: Job, text: str) -> None:
        """Take in that the cluster could not even call the function that carries out a job."""
        self._settle_all(
            job,
            ClusterError(
                f"{self._of(job)} cannot run on the {self.kind} cluster at {self.address} ({text}); the scheduler and "
                f"all workers need what is installed here: pip install cascade-py[{self.extra}]"
            ),
        )

    def unsent(self, job: Job, text: str) -> None:
        """Take in that a job could not be handed to the cluster."""
        self._settle_all(job, ClusterError(f"{self._of(job)} cannot be handed to {self.address}: {text}"))

    def lost(self, job: Job, worker: str, is_known: bool, had_ended: bool = False) -> None:
        """Take in that the worker of a job has died.

        Args:
            is_known: whether it had begun the job.
            had_ended: whether its outcome was there, and is lost.
        """
        if self.jobs.pop(job.key, None) is None:
            return
        self.batches.back(job.items[0], 0, 0.0)
        items = [item for item in job.items if not item.is_off]
        again: list[Item] = []
        for item in items:
            item.deaths += len(items) == 1
            if len(items) > 1 or had_ended or (not is_known and item.deaths < MOST_DEATHS):
                again.append(item)
            else:
                item.fail(
                    WorkerLostError(f"the worker {worker} that ran {described(item.node)} died: {self.cause(worker)}")
                )
        self._alone(again)

    # --- what is heard

    def hear(self, word: dict[str, Any]) -> None:
        """Take in a word of a job."""
        if "log" in word:
            record = logging.makeLogRecord(word["log"])
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
            return
        job = self.jobs.get(word["key"])
        if job is None:
            return
        if "begun" in word:
            job.worker = word["worker"]
            self.batches.begun(job.items[0])
            for item in job.items:
                if item.node.begun is not None and not item.is_off:
                    item.node.begun()
            return
        item = job.items[word["call"]]
        if item.is_off or item.place is None:
            return
        if "progress" in word:
            item.place.report(*word["progress"])
        elif item.place.pulse is not None:
            item.place.pulse.beat(is_prompt=False)

    # --- the end

    def withdraw(self, item: Item, inside: Any) -> None:
        """Take a call back, or leave it behind on its worker where the cluster cannot stop a running function."""
        item.is_off = True
        job = item.job
        if job is None or job.key not in self.jobs or not all(each.is_off or each.future.done() for each in job.items):
            return
        del self.jobs[job.key]
        if job.follower is not None:
            job.follower.cancel()
        self.batches.back(job.items[0], 0, 0.0)
        if not self.drop(job) and inside is not None and inside.run is not None:
            message = (
                f"{described(item.node)} was cancelled when it had begun on the worker {job.worker}, which cannot "
                "stop it: it goes on there alone, and its result will be dropped"
            )
            inside.run.bus.publish(RunWarning(run_id=inside.name, code="ThreadAbandoned", message=message))

    async def close(self) -> None:
        """Take back what is still out, and close the connection."""
        self.is_closing = True
        self.batches.close()
        for job in self.jobs.values():
            self._fail(job.items, ClusterError("the executor was closed"))
        self.jobs.clear()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.leave()


class ClusterExecutor(ABC):
    """What executors of clusters share: what stays here, and when the connection is made and closed."""

    tells_begun = True

    def __init__(self, batch_seconds: float) -> None:
        if not isinstance(batch_seconds, (int, float)) or not 0 <= batch_seconds < float("inf"):
            raise ValueError(f"{type(self).__name__} needs batch_seconds of 0 or more, not {batch_seconds!r}")
        self._seconds = float(batch_seconds)
        self._cluster: Cluster | None = None
        self._opening: asyncio.Task[Cluster] | None = None
        self._here = LocalExecutor()

    @abstractmethod
    async def _connect(self) -> Cluster:
        """Return a new connection to the cluster."""

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the node's function on a worker, or here where its task belongs here; return what it returns.

        Raises:
            ClusterError: the cluster cannot be reached, has gone away, or does not fit; WorkerLostError: a worker died.
            TypeError: the function, an argument or the result does not pickle.
        """
        if node.is_async:
            return await node.func(*args, **kwargs)
        if node.mode == "inline":
            return node.func(*args, **kwargs)
        if any(isinstance(value, Stream) for value in (*args, *kwargs.values())):
            return await self._here.in_thread(node.func, args, kwargs, "reading", begun=node.begun)
        cluster = self._cluster
        if cluster is None or cluster.loop is not asyncio.get_running_loop():
            cluster = await self._open()
        inside = inside_of()
        about, place = (None if inside is None else inside.about_here()) or (None, None)
        item = Item(node, args, kwargs, about, place, crossing.variables_here())
        cluster.batches.put(item)
        try:
            outcome = await item.future
        except asyncio.CancelledError:
            cluster.withdraw(item, inside)
            raise
        return crossing.unpack_outcome(described(node), outcome, cluster.way)

    async def _open(self) -> Cluster:
        """Connect, once for all calls that need it."""
        if self._opening is None or self._opening.get_loop() is not asyncio.get_running_loop():
            self._opening = asyncio.get_running_loop().create_task(self._connect())
        opening = self._opening
        try:
            self._cluster = await asyncio.shield(opening)
        except Exception:
            self._opening = None
            raise
        return self._cluster

    async def aclose(self) -> None:
        """Take leave of the cluster, and end it if it was started here. Calls made later connect again."""
        opening, self._opening, self._cluster = self._opening, None, None
        await self._here.aclose()
        if opening is not None and opening.get_loop() is asyncio.get_running_loop():
            with suppress(Exception):
                await (await opening).close()
