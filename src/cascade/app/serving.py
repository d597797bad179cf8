"""A server: takes runs from a queue of a store, and carries them out.

It looks for runs when it is woken by who enqueues, when one of its own ends, when the next one is due, and once a
second: nobody tells it of a run that was handed back, or whose process is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any, NamedTuple

from cascade.adapters.schedules.schedule import Schedule
from cascade.adapters.state.owner import this_process
from cascade.app.report import LEVELS, Reporter, waits_of
from cascade.app.scheduling import Scheduling
from cascade.app.words import say
from cascade.errors import RunBusyError, StateError
from cascade.runtime.engine import Engine
from cascade.spec.events import RunFinished, RunParked, RunStarted, RunWarning, TaskRetrying
from cascade.spec.notes import spelled
from cascade.spec.parked import PARK_AFTER
from cascade.spec.run_options import OnChange
from cascade.spec.shown import one_line
from cascade.spec.state import Commit, RunRecord, Wanted

__all__ = ["Serving", "Server", "ServerReporter", "serve"]

LOOK = 1.0
"""So often a server looks for runs that nobody tells it of."""
PATIENCE = 5.0
"""So long behind its grace a server may take to hand back what it has; then its process ends as by kill -9."""


class Serving(NamedTuple):
    """How a server takes runs."""

    queue: str = "default"
    concurrency: int | None = None
    """So many of the queue may go on at once, over all servers."""
    slots: int = 100
    """So many may go on at once in this server."""
    grace: float = 5.0
    """So many seconds what goes on has to end, once the server is asked to."""
    on_change: OnChange = "keep"
    park_after: float = PARK_AFTER
    """A run that only waits gives its place to others, from waits of so many seconds on."""


class ServerReporter(Reporter):
    """Writes lines of runs that go on side by side, each with the id of its run."""

    def __init__(self, level: str, form: str) -> None:
        super().__init__(level, form)
        self.progress = None
        self.is_ending = False

    def tell(self, level: str, text: str, now: float, id: str) -> None:
        """Write a line that is of no event, if the level tells of it."""
        if self._level <= LEVELS.index(level):
            self._line(level, now, text, lambda: {"event": "Server", "id": id, "timestamp": now, "message": text})

    def _started(self, event: RunStarted) -> None:
        key = "serve_goes_on" if event.resumed else "serve_started"
        names = ", ".join(event.target_tasks[:3]) or say("nothing")
        text = say(key, name=one_line(event.run_id), names=names, recorded=event.recorded)
        self._write("INFO", event, text, "run.goes_on" if event.resumed else "run.started")

    def _finished(self, event: RunFinished) -> None:
        name, seconds = one_line(event.run_id), f"{event.duration:.3f} s"
        if event.status == "Succeeded":
            self._write("INFO", event, say("serve_succeeded", name=name, seconds=seconds), "run.finished_success")
        elif isinstance(event, RunParked):
            text = say("serve_parked", name=name, seconds=seconds, what=waits_of(event))
            self._write("INFO", event, text, "run.parked")
        elif event.status == "Cancelled":
            key = "serve_handed_back" if self.is_ending else "serve_cancelled"
            self._write("INFO", event, say(key, name=name, seconds=seconds), "run.cancelled")
        else:
            text = say("serve_failed", name=name, seconds=seconds, error=event.error)
            self._write("ERROR", event, text, "run.finished_failure")

    def _warning(self, event: RunWarning) -> None:
        self._write("WARNING", event, f"{one_line(event.run_id)}: {event.code}: {event.message}", "run.warning")

    def _retrying(self, event: TaskRetrying) -> None:
        text = say(
            "retrying",
            task=f"{one_line(event.run_id)}: {event.task_id}",
            attempt=event.attempt,
            most=event.max_attempts,
            error=event.error,
            delay=f"{event.delay:g}",
        )
        self._write("INFO", event, text, "task.retrying")


class Server:
    """Carries out the runs of one queue, with an engine of its own.

    Args:
        programs: what it can run, by all names that runs may have it by. Names in the store lead nowhere else.
        schedules: when it runs some of them by itself, by one name of each.
    """

    def __init__(
        self,
        engine: Engine,
        programs: Mapping[str, Any],
        how: Serving,
        reporter: ServerReporter,
        schedules: Mapping[str, Schedule] | None = None,
    ) -> None:
        self.engine = engine
        self.programs = programs
        self.how = how
        self.reporter = reporter
        self._kept = engine.recorder
        self._kept.park_after = how.park_after
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._begun: set[str] = set()
        """Of these the ones that have told of their start."""
        self._looked = self._fired = -LOOK
        self._scheduling: Scheduling | None = None
        if schedules:
            start = partial(self._kept.encoded_params, None, {}, {}, 0.0, None)
            self._scheduling = Scheduling(schedules, how.queue, self._kept.backend, start)
        self._woken = asyncio.Event()
        self._is_ending = self._is_hurried = False
        engine.bus.subscribe(RunStarted, lambda event: self._begun.add(event.run_id))

    def end(self, by: str = "") -> None:
        """Take nothing any more; asked again, wait for nothing either.

        Args:
            by: what asks for it, as people call it.
        """
        if not self._is_ending:
            grace = f"{self.how.grace:g}"
            self._tell("INFO", say("serve_ending", signal=by, count=len(self._runs), grace=grace), "server.ending")
        self._is_hurried = self._is_ending
        self._is_ending = self.reporter.is_ending = True
        self._woken.set()

    async def serve(self) -> None:
        """Carry out what is in the queue, until `end` is called; then hand back what does not end in time.

        Raises:
            StateError: the store cannot be used at all.
        """
        loop = asyncio.get_running_loop()
        wake = partial(_wake, loop, self._woken)
        listen: Any = getattr(self._kept.backend.backend, "listen", None)
        is_deaf = await self._kept.writer.ask(lambda: None if listen is None else listen(self.how.queue, wake))
        try:
            if self._scheduling is not None:
                await self._kept.writer.ask(self._scheduling.keep)
            while not self._is_ending:
                self._woken.clear()
                soon = None if self._scheduling is None else await self._fire(self._scheduling)
                await self._rest(min((each for each in (soon, await self._look()) if each is not None), default=None))
            await self._finish()
        finally:
            if is_deaf is not None:
                await loop.run_in_executor(None, is_deaf)
            await self.engine.aclose()

    async def _rest(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    async def _fire(self, scheduling: Scheduling) -> float:
        """Enqueue what is due by the clock; return how long to rest."""
        is_thorough = monotonic() - self._fired >= LOOK
        try:
            fired, wait = await self._kept.writer.ask(lambda: scheduling.fire(is_thorough))
        except StateError as error:
            self._tell("ERROR", say("serve_store_failed", error=error), "server.store_failed")
            return LOOK
        if is_thorough:
            self._fired = monotonic()
        for each in fired:
            key = "serve_skipped" if each.is_skipped else "serve_fired"
            self._tell("INFO", say(key, name=one_line(each.run_id)), "run.skipped" if each.is_skipped else "run.fired")
        return LOOK if wait is None else min(LOOK, max(0.0, wait))

    async def _look(self) -> float | None:
        """Begin what there is to do and is room for; return how long to rest, None: until a run ends."""
        room = self.how.slots - len(self._runs)
        if room <= 0:
            return None
        is_thorough = monotonic() - self._looked >= LOOK
        held = frozenset(self._runs)
        wanted = Wanted(self.how.queue, [*self.programs], this_process(), room, self.how.concurrency, held, is_thorough)
        try:
            claimed = await self._kept.writer.ask(lambda: self._kept.backend.claim(wanted))
        except StateError as error:
            self._tell("ERROR", say("serve_store_failed", error=error), "server.store_failed")
            return LOOK
        if is_thorough:
            self._looked = monotonic()
        for record in claimed.runs:
            self._begin(record)
        if len(claimed.runs) == room:
            return None
        return LOOK if claimed.wait is None else min(LOOK, max(0.0, claimed.wait))

    def _begin(self, record: RunRecord) -> None:
        task = asyncio.get_running_loop().create_task(self._carry_out(record))
        self._runs[record.run_id] = task

        def ended(_: object) -> None:
            del self._runs[record.run_id]
            self._begun.discard(record.run_id)
            self._woken.set()

        task.add_done_callback(ended)

    async def _carry_out(self, record: RunRecord) -> None:
        run_id = record.run_id
        try:
            program = self.programs[record.target]
            await self.engine.start(program, {}, run_id=run_id, on_change=self.how.on_change)
        except RunBusyError:  # who looked at it before has taken it
            return
        except asyncio.CancelledError:
            return
        except Exception as error:
            await self._refused(record, spelled(error))

    async def _refused(self, record: RunRecord, error: str) -> None:
        """See to a run that has failed: one that could not even begin is told of here, and fails in the store."""
        run_id = record.run_id
        if run_id in self._begun:
            return
        with suppress(StateError):  # if the store does not work, the run is given to a server again
            await self._kept.writer.ask(lambda: self._refuse(record, error))
        self._tell("ERROR", say("serve_refused", name=one_line(run_id), error=error), "run.refused")

    def _refuse(self, record: RunRecord, error: str) -> None:
        """Let a run that could not begin be Failed, if nobody else has begun it; on the writer's thread."""
        backend, ours = self._kept.backend, this_process()
        found = backend.find(record.run_id)
        if found is None or (found.status, found.owner, found.epoch) != ("Enqueued", ours, record.epoch):
            return
        taken = backend.take(record.run_id, found.epoch, ours, found.params, found.fingerprint)
        backend.commit([Commit(record.run_id, taken.epoch, 1, status="Failed", error=error)])

    async def _finish(self) -> None:
        """Wait for what goes on, as long as the grace lasts; closing the engine hands back the rest."""
        until = monotonic() + self.how.grace
        while self._runs and not self._is_hurried and (left := until - monotonic()) > 0:
            self._woken.clear()
            await self._rest(left)

    def _tell(self, level: str, text: str, id: str) -> None:
        from time import time

        self.reporter.tell(level, text, time(), id)


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(woken.set)


def serve(make: Callable[[], Server]) -> None:
    """Serve until Ctrl-C, SIGTERM or SIGHUP; one that is not over some time behind its grace ends as by kill -9.

    A signal that is ignored already (SIGHUP under nohup) stays so.

    Raises:
        StateError: the store cannot be used.
    """

    async def work() -> None:
        server, loop = make(), asyncio.get_running_loop()

        def signalled(signum: int, frame: FrameType | None) -> None:
            timer = threading.Timer(server.how.grace + PATIENCE, os._exit, [128 + signum])
            timer.daemon = True
            timer.start()
            name = "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
            loop.call_soon_threadsafe(server.end, name)

        names = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        heard = [each for each in names if signal.getsignal(each) is not signal.SIG_IGN]
        before = {each: signal.signal(each, signalled) for each in heard}
        try:
            await server.serve()
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    asyncio.run(work())
