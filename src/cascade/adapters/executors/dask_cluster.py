"""A connection to a Dask cluster: the calls that are out there, and what is heard of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from copy import copy
from typing import Any
from uuid import uuid4

from cascade.adapters.executors import crossing
from cascade.adapters.executors.batches import Batches, Item
from cascade.adapters.executors.remote import carry_out_calls, versions
from cascade.errors import ClusterError, WorkerLostError
from cascade.spec.events import RunWarning
from cascade.spec.notes import spelled
from cascade.spec.protocols import CallNode

__all__ = ["WAY", "Cluster", "described"]

LARGE = 1 << 20
"""A message of more bytes than that goes to a worker by itself, and not in the graph that the scheduler reads."""
MOST_DEATHS = 3
"""A call that may not have begun on the workers that have died is given to another one, until there were so many."""
LOOKS = 1.0
"""So many seconds are between two looks at the workers of a cluster; for more than a hundred, more."""
NEARLY = 0.7
"""A worker that died had so much of its memory limit: it was probably killed for that."""
WAY = crossing.Way(
    "runs on a cluster",
    "on its worker",
    'give it mode="inline", which keeps it here',
    "; have {module!r} installed on the workers, or send it there by client.upload_file(...)",
)


def described(node: CallNode) -> str:
    """Return which task it is, for errors."""
    return f"task {node.name!r} (declared at {node.declared})"


class Job:
    """One Dask task: a batch of calls of one function."""

    __slots__ = ("follower", "future", "items", "key", "payload", "worker")

    def __init__(self, items: list[Item], payload: bytes) -> None:
        self.items = items
        self.payload: Any = payload
        self.key = f"{items[0].node.name}-{uuid4().hex}"
        self.future: Any = None
        self.worker: str | None = None
        """The worker that has begun it."""
        self.follower: Any = None


class Cluster:
    """A connection to a cluster, on one event loop, and the calls that are out there."""

    def __init__(
        self, client: Any, own: Any, address: str, seconds: float, resources: Mapping[str, Mapping[str, float]]
    ) -> None:
        self.client = client
        self.own = own
        self.address = address
        self.loop = asyncio.get_running_loop()
        self.seconds = seconds
        self.resources = resources
        self.batches = Batches(self.send, self.threads, seconds)
        self.jobs: dict[str, Job] = {}
        self.topic = f"cascade-{uuid4().hex}"
        self._tasks: set[asyncio.Task[Any]] = set()
        self._done: list[Job] = []
        self._fetching: list[Job] = []
        self._gatherer: asyncio.Task[None] | None = None
        self.is_closing = False
        self.workers: dict[str, Any] = {}
        """What is known of the workers, by their addresses."""
        client.subscribe_topic(self.topic, self._hear)
        client.subscribe_topic("all", self._hear_all)
        self.start(self._keep_looking())

    async def look(self) -> None:
        """Look at which workers there are, and what they use."""
        self.workers = (await self.client.scheduler.identity(n_workers=-1))["workers"]

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(max(LOOKS, LOOKS * len(self.workers) / 100))
            with suppress(OSError):
                await self.look()

    def threads(self) -> int:
        """Return how many calls the cluster can make at once, as far as is known."""
        return max(sum(int(each["nthreads"]) for each in self.workers.values()), 1)

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
            job.follower = self.start(self._follow(job))

    def _packed(self, items: list[Item]) -> list[Job]:
        try:
            return [Job(items, crossing.pack_calls(items[0].node.func, items))]
        except Exception as error:
            if len(items) > 1:
                return [job for item in items for job in self._packed([item])]
            (item,) = items
            item.fail(crossing.refused(described(item.node), item.node.func, item.args, item.kwargs, error, WAY))
            self.batches.back(item, 0, 0.0)
            return []

    async def _follow(self, job: Job) -> None:
        """Hand a job to the cluster, and wait until it is done there."""
        from distributed import wait

        payload = job.payload
        try:
            if len(payload) > LARGE:
                payload = await self.client.scatter(payload, hash=False)
            level = logging.getLogger().getEffectiveLevel()
            job.future = self.client.submit(
                *(_call_there, self.topic, versions(), payload, self.seconds, level),
                key=job.key,
                pure=False,
                resources=self.resources.get(job.items[0].node.name),
            )
            with self.client.as_current():
                await wait(job.future)
        except asyncio.CancelledError:  # also that of Dask, of a future that nobody wants or nobody answers for
            if job.key in self.jobs and not self.is_closing:
                self._broken(job)
            return
        except Exception as error:
            if type(error).__name__ == "FuturesCancelledError":
                self._broken(job)
                return
            self._settle_all(job, ClusterError(f"{self._of(job)} cannot be handed to {self.address}: {spelled(error)}"))
            return
        if job.future.status == "finished":
            self._done.append(job)
            self._begin_gathering()
        elif job.future.status == "error":
            self._failed(job, await job.future.exception())
        else:
            self._broken(job)

    def _begin_gathering(self) -> None:
        if self._gatherer is None and self._done:
            self._gatherer = self.start(self._gather())

    async def _gather(self) -> None:
        """Fetch the outcomes of jobs: of all those in one message that are done meanwhile."""
        while jobs := [job for job in self._done if job.key in self.jobs]:
            self._done, self._fetching = [], jobs
            try:
                outcomes = await self.client.gather([job.future for job in jobs])
            except (Exception, asyncio.CancelledError) as error:  # also that of Dask
                if self._gatherer is not asyncio.current_task():
                    raise
                for job in jobs:
                    if len(jobs) == 1:
                        self._failed(job, error)
                    else:
                        self.start(self._gather_one(job))
                continue
            for job, outcome in zip(jobs, outcomes, strict=True):
                self._settle(job, *outcome)
        self._done, self._fetching, self._gatherer = [], [], None

    async def _gather_one(self, job: Job) -> None:
        if job.key in self.jobs:
            try:
                self._settle(job, *await self.client.gather(job.future))
            except Exception as error:
                self._failed(job, error)

    def _gather_again(self) -> None:
        """Begin to fetch anew: a worker that died would be waited for."""
        gatherer, self._gatherer = self._gatherer, None
        if gatherer is not None:
            gatherer.cancel()
            self._done = [*self._fetching, *self._done]
            self._begin_gathering()

    # --- back

    def _settle(self, job: Job, kind: str, found: Any, seconds: float) -> None:
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

    def _broken(self, job: Job) -> None:
        self._settle_all(
            job,
            ClusterError(
                f"the Dask cluster at {self.address} has gone away while {self._of(job)} was there: "
                "its scheduler ended, or cannot be reached any more"
            ),
        )

    def _failed(self, job: Job, error: BaseException | None) -> None:
        """Take in that Dask itself could not have a job done."""
        if type(error).__name__ == "KilledWorker":
            self._lost(job, str(getattr(getattr(error, "last_worker", None), "address", "?")), True)
            return
        if isinstance(error, asyncio.CancelledError):
            self._broken(job)
            return
        text = spelled(error) if error is not None else "unknown"
        self._settle_all(
            job,
            ClusterError(
                f"{self._of(job)} cannot run on the Dask cluster at {self.address} ({text}); the scheduler and all "
                "workers need what is installed here: pip install cascade-py[dask]"
            ),
        )

    def _lost(self, job: Job, worker: str, is_known: bool) -> None:
        """Take in that the worker of a job has died."""
        if self.jobs.pop(job.key, None) is None:
            return
        job.follower.cancel()
        had_ended = job.future is not None and job.future.status == "finished"
        if job.future is not None:
            job.future.release()
        self.batches.back(job.items[0], 0, 0.0)
        items = [item for item in job.items if not item.is_off]
        again: list[Item] = []
        for item in items:
            item.deaths += len(items) == 1
            if len(items) > 1 or had_ended or (not is_known and item.deaths < MOST_DEATHS):
                again.append(item)
            else:
                item.fail(
                    WorkerLostError(f"the worker {worker} that ran {described(item.node)} died: {self._cause(worker)}")
                )
        self._alone(again)

    def _cause(self, worker: str) -> str:
        known = self.workers.get(worker) or {}
        limit, used = known.get("memory_limit") or 0, known.get("metrics", {}).get("memory", 0)
        if limit and used > limit * NEARLY:
            return (
                f"it had {used / 2**20:,.0f} of the {limit / 2**20:,.0f} MiB that it may have, and was probably killed "
                "for that; give workers more memory, fewer threads, or the task smaller pieces"
            )
        return (
            "something in it ended the process, or the system or its nanny killed it (for want of memory, for example"
            + (f": it may have {limit / 2**20:,.0f} MiB)" if limit else ")")
        )

    # --- what is heard

    def _hear(self, event: Any) -> None:
        """Take in a word of a job."""
        word = event[1]
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
        if "log" in word:
            record = logging.makeLogRecord(word["log"])
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
        elif item.is_off or item.place is None:
            return
        elif "progress" in word:
            item.place.report(*word["progress"])
        elif item.place.pulse is not None:
            item.place.pulse.beat(is_prompt=False)

    def _hear_all(self, event: Any) -> None:
        """Take in what happens to workers."""
        word = event[1]
        if word.get("action") != "remove-worker":
            return
        worker, there = word["worker"], set(word.get("processing-tasks") or ())
        for job in [*self.jobs.values()]:
            if job.worker == worker:
                self._lost(job, worker, True)
            elif job.worker is None and job.key in there:
                self._lost(job, worker, False)
        self._gather_again()

    # --- the end

    def withdraw(self, item: Item, inside: Any) -> None:
        """Take a call back, or leave it behind on its worker: Dask cannot stop a running function."""
        item.is_off = True
        job = item.job
        if job is None or job.key not in self.jobs or not all(each.is_off or each.future.done() for each in job.items):
            return
        del self.jobs[job.key]
        job.follower.cancel()
        self.batches.back(job.items[0], 0, 0.0)
        if job.future is not None:
            job.future.release()
        if job.worker is not None and inside is not None and inside.run is not None:
            message = (
                f"{described(item.node)} was cancelled when it had begun on the worker {job.worker}, which cannot "
                "stop it: it goes on there alone, and its result will be dropped"
            )
            inside.run.bus.publish(RunWarning(run_id=inside.name, code="ThreadAbandoned", message=message))

    async def close(self) -> None:
        """Take back what is still out, and close the connection."""
        self.is_closing, self._gatherer = True, None
        self.batches.close()
        for job in self.jobs.values():
            self._fail(job.items, ClusterError("the executor was closed"))
        self.jobs.clear()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for topic in (self.topic, "all"):  # or the scheduler tells a client that has left of its leaving
            self.client.unsubscribe_topic(topic)
        await self.client.close()
        if self.own is not None:
            await self.own.close()


# --- on the worker


def _call_there(topic: str, expected: tuple[str, str], payload: bytes, seconds: float, level: int) -> Any:
    """Make the calls of a job."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def say(word: dict[str, Any]) -> None:
        worker.log_event(topic, {"key": key, **word})

    def is_wanted() -> bool:
        known = worker.state.tasks.get(key)
        return known is not None and known.state in ("executing", "long-running")

    return carry_out_calls(expected, payload, seconds, level, say, is_wanted)
