"""The calls of this process on a Ray cluster.

A job is one Ray task. Its outcome comes back as the value of that; what is to be known before (that it has begun, how
far it has come, signs of life, records of logs) goes through a mailbox, an actor of ours that needs no processor:
workers put words in, and this process, which has one for all its engines, asks it for them. A job that nobody waits
for is cancelled by force, which ends its worker: Ray starts another one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from cascade.adapters.executors import crossing
from cascade.adapters.executors.cluster import Cluster, Job
from cascade.adapters.executors.remote import carry_out_calls, versions
from cascade.spec.notes import spelled

__all__ = ["RayCluster"]

PATIENCE = 2.0
"""So many seconds the outcome of a job waits for its words."""
LOOKS = 1.0
"""So many seconds are between two looks at how many calls the cluster can make at once."""
OPTIONS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
"""What Ray has options of its own for; other resources go by their names."""
DEATHS = (
    *("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "LocalRayletDiedError"),
    *("ObjectLostError", "OwnerDiedError", "ObjectReconstructionFailedError", "NodePreempted"),
)
"""The errors of Ray that say that a worker has died, or what it gave is lost."""


class RayCluster(Cluster):
    """The calls of this process on a Ray cluster.

    Args:
        ray: the package.
        end: is called at the end, if Ray was started here.
    """

    kind, extra = "Ray", "ray"
    way = crossing.Way(
        "runs on a cluster",
        "on its worker",
        'give it mode="inline", which keeps it here',
        "; have {module!r} installed on the workers, or send it there by a runtime_env of ray.init",
    )

    def __init__(self, ray: Any, address: str, seconds: float, end: Callable[[Any], None] | None) -> None:
        super().__init__(address, seconds)
        self.ray = ray
        self._end = end
        self._threads = 1
        self._topic = uuid4().hex
        self._mailbox = _mailbox_of(ray)
        self._late: dict[str, asyncio.Semaphore] = {}
        """Of each job that is out, the words of it that have come."""
        self._was_memory = False
        """Ray has ended the last worker that died, for want of memory."""
        self._call = ray.remote(max_retries=0)(_call_there)
        self._versions = versions()
        self.start(self._listen())
        self.start(self._keep_looking())

    async def open(self) -> None:
        """Wait until the mailbox is there, and know how many calls the cluster can make at once."""
        await self._mailbox.open.remote()
        await self.look()

    async def look(self) -> None:
        """Look at how many calls the cluster can make at once."""
        found = await asyncio.to_thread(self.ray.cluster_resources)
        self._threads = max(int(found.get("CPU", 1)), 1)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOKS)
            with suppress(Exception):
                await self.look()

    def threads(self) -> int:
        """Return how many calls the cluster can make at once, as far as is known."""
        return self._threads

    async def follow(self, job: Job) -> None:
        """Hand a job to Ray, and wait for its outcome."""
        self._late[job.key] = asyncio.Semaphore(0)
        try:
            await self._follow(job)
        finally:
            del self._late[job.key]

    async def _follow(self, job: Job) -> None:
        error: BaseException
        level = logging.getLogger().getEffectiveLevel()
        try:
            call = self._call.options(**options_of(job.resources)) if job.resources else self._call
            hears_begun = job.items[0].node.begun is not None or self.batches.waits_for(job.items[0])
            job.future = call.remote(
                *(self._mailbox, self._topic, job.key, hears_begun, self._versions, job.payload, self.seconds, level)
            )
        except Exception as reason:
            self.unsent(job, spelled(reason))
            return
        try:
            *outcome, said = await job.future
            if said:
                await self._hear_all(job, said)
        except asyncio.CancelledError:
            raise
        except Exception as reason:
            error = reason
        else:
            self.settle(job, *outcome)
            return
        name = type(error).__name__
        if name in DEATHS:
            self._was_memory = name == "OutOfMemoryError"
            self.lost(job, job.worker or "of Ray", True)
        elif isinstance(error, self.ray.exceptions.RayTaskError):  # it did not come as far as the call
            self.refused(job, spelled(getattr(error, "cause", None) or error))
        else:
            self.broken(job)

    def cause(self, worker: str) -> str:
        """Return why a worker may have died."""
        if self._was_memory:
            return (
                "Ray ended it, as its machine was nearly out of memory; give tasks smaller pieces, have fewer of them "
                'at once on a machine (@cs.task(resources={"CPU": 2})), or say what they need ({"memory": 2 * 2**30})'
            )
        return "something in it ended the process, or the system killed it (for want of memory, for example)"

    # --- what is heard

    async def _listen(self) -> None:
        while True:
            try:
                words = await self._mailbox.take.remote(self._topic)
            except asyncio.CancelledError:
                raise
            except Exception:  # it is being started again, or Ray has gone: jobs say so
                await asyncio.sleep(LOOKS)
                continue
            for word in words:
                self.hear(word)
                waiter = self._late.get(word["key"])
                if waiter is not None:
                    waiter.release()

    async def _hear_all(self, job: Job, said: int) -> None:
        """Wait for the words of a job, which come another way than its outcome."""
        with suppress(TimeoutError):  # the mailbox has started again
            async with asyncio.timeout(PATIENCE):
                for _ in range(said):
                    await self._late[job.key].acquire()

    # --- the end

    def drop(self, job: Job) -> bool:
        """Take a job back: what has begun ends with its worker."""
        if job.future is not None:
            with suppress(Exception):
                self.ray.cancel(job.future, force=True)
        return True

    async def leave(self) -> None:
        """Close the connection, and end the cluster if it was started here."""
        with suppress(Exception):
            self._mailbox.close.remote(self._topic)
        if self._end is not None:
            await asyncio.to_thread(self._end, self.ray)


def options_of(resources: dict[str, float]) -> dict[str, Any]:
    """Return what Ray is told of what a call needs of a worker."""
    own = {OPTIONS[name]: amount for name, amount in resources.items() if name in OPTIONS}
    other = {name: amount for name, amount in resources.items() if name not in OPTIONS}
    return {**own, "resources": other} if other else own


_mailbox: tuple[Any, Any] = None, None
"""The connection of this process to Ray, and the mailbox there."""


def _mailbox_of(ray: Any) -> Any:
    """Return the mailbox of this process; it starts again when its node dies."""
    global _mailbox
    context = ray.get_runtime_context()
    mark = context.gcs_address, context.get_job_id()
    if _mailbox[0] != mark:
        _mailbox = mark, ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=1000)(Mailbox).remote()
    return _mailbox[1]


# --- there


class Mailbox:
    """Words of workers on their way, by the topics of who asks for them; in a process of its own there."""

    def __init__(self) -> None:
        self._words: dict[str, list[dict[str, Any]]] = {}
        self._come: dict[str, asyncio.Event] = {}

    async def open(self) -> None:
        """Say that it is there."""

    async def put(self, topic: str, word: dict[str, Any]) -> None:
        """Take a word; those that nobody has asked for yet are kept."""
        self._words.setdefault(topic, []).append(word)
        if topic in self._come:
            self._come[topic].set()

    async def take(self, topic: str) -> list[dict[str, Any]]:
        """Wait for words; return all that there are."""
        come = self._come.setdefault(topic, asyncio.Event())
        if not self._words.get(topic):
            await come.wait()
        come.clear()
        return self._words.pop(topic, [])

    async def close(self, topic: str) -> None:
        """Let go of a topic, and of who waits for it."""
        self._words.pop(topic, None)
        come = self._come.pop(topic, None)
        if come is not None:
            come.set()


def _call_there(
    mailbox: Any,
    topic: str,
    key: str,
    hears_begun: bool,
    expected: tuple[str, str],
    payload: bytes,
    seconds: float,
    level: int,
) -> Any:
    """Make the calls of a job; return what became of them, and how many words were said meanwhile."""
    said = 0

    def say(word: dict[str, Any]) -> None:
        nonlocal said
        if "begun" in word:
            if not hears_begun:
                return
            word = {**word, "worker": f"with pid {os.getpid()}"}
        said += 1
        mailbox.put.remote(topic, {"key": key, **word})

    outcome = carry_out_calls(expected, payload, seconds, level, say, lambda: True)
    return (*outcome, said)
