"""A connection to a Dask cluster, by an asynchronous client on our event loop."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any
from uuid import uuid4

from cascade.adapters.executors import crossing
from cascade.adapters.executors.cluster import Cluster, Job
from cascade.adapters.executors.remote import carry_out_calls, versions
from cascade.spec.notes import spelled

__all__ = ["DaskCluster"]

LARGE = 1 << 20
"""A message of more bytes than that goes to a worker by itself, and not in the graph that the scheduler reads."""
LOOKS = 1.0
"""So many seconds are between two looks at the workers of a cluster; for more than a hundred, more."""
NEARLY = 0.7
"""A worker that died had so much of its memory limit: it was probably killed for that."""


class DaskCluster(Cluster):
    """A connection to a Dask cluster.

    Args:
        client: an asynchronous client of our own.
        own: the cluster, if it was started here.
    """

    kind, extra = "Dask", "dask"
    way = crossing.Way(
        "runs on a cluster",
        "on its worker",
        'give it mode="inline", which keeps it here',
        "; have {module!r} installed on the workers, or send it there by client.upload_file(...)",
    )

    def __init__(self, client: Any, own: Any, address: str, seconds: float) -> None:
        super().__init__(address, seconds)
        self.client = client
        self.own = own
        self.topic = f"cascade-{uuid4().hex}"
        self._done: list[Job] = []
        self._fetching: list[Job] = []
        self._gatherer: asyncio.Task[None] | None = None
        self.workers: dict[str, Any] = {}
        """What is known of the workers, by their addresses."""
        client.subscribe_topic(self.topic, lambda event: self.hear(event[1]))
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

    async def follow(self, job: Job) -> None:
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
                resources=job.resources or None,
            )
            with self.client.as_current():
                await wait(job.future)
        except asyncio.CancelledError:  # also that of Dask, of a future that nobody wants or nobody answers for
            if job.key in self.jobs and not self.is_closing:
                self.broken(job)
            return
        except Exception as error:
            if type(error).__name__ == "FuturesCancelledError":
                self.broken(job)
                return
            self.unsent(job, spelled(error))
            return
        if job.future.status == "finished":
            self._done.append(job)
            self._begin_gathering()
        elif job.future.status == "error":
            self._failed(job, await job.future.exception())
        else:
            self.broken(job)

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
                self.settle(job, *outcome)
        self._done, self._fetching, self._gatherer = [], [], None

    async def _gather_one(self, job: Job) -> None:
        if job.key in self.jobs:
            try:
                self.settle(job, *await self.client.gather(job.future))
            except Exception as error:
                self._failed(job, error)

    def _gather_again(self) -> None:
        """Begin to fetch anew: a worker that died would be waited for."""
        gatherer, self._gatherer = self._gatherer, None
        if gatherer is not None:
            gatherer.cancel()
            self._done = [*self._fetching, *self._done]
            self._begin_gathering()

    def _failed(self, job: Job, error: BaseException | None) -> None:
        """Take in that Dask itself could not have a job done."""
        if type(error).__name__ == "KilledWorker":
            self._lost(job, str(getattr(getattr(error, "last_worker", None), "address", "?")), True)
            return
        if isinstance(error, asyncio.CancelledError):
            self.broken(job)
            return
        self.refused(job, spelled(error) if error is not None else "unknown")

    def _lost(self, job: Job, worker: str, is_known: bool) -> None:
        """Take in that the worker of a job has died."""
        had_ended = job.future is not None and job.future.status == "finished"
        if job.key in self.jobs and job.follower is not None:
            job.follower.cancel()
        if job.future is not None:
            job.future.release()
        self.lost(job, worker, is_known, had_ended)

    def cause(self, worker: str) -> str:
        """Return why a worker may have died."""
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

    def drop(self, job: Job) -> bool:
        """Take a job back; one that has begun goes on: Dask cannot stop a running function."""
        if job.future is not None:
            job.future.release()
        return job.worker is None

    async def close(self) -> None:
        """Take back what is still out, and close the connection."""
        self._gatherer = None
        await super().close()

    async def leave(self) -> None:
        """Close the connection, and end the cluster if it was started here."""
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
