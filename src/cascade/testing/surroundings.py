"""What stands in for the real world while a virtual clock is in use, and is put back afterwards.

The engine knows nothing of it and so pays nothing for it: what it takes from the world (worker threads and
processes, the clock of its limits and caches, the stamps of its events) is replaced where it comes in.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from time import monotonic
from typing import Any

from cascade.adapters.executors import processes
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.executors.workers import Workers
from cascade.app.progress import Progress
from cascade.runtime import controls
from cascade.runtime.admission import admission
from cascade.runtime.policies import cache
from cascade.runtime.run.state import RunState
from cascade.spec.contexts import contextmanager
from cascade.testing.dial import Dial
from cascade.testing.loop import VirtualLoop
from cascade.testing.stamps import Stamps

__all__ = ["Surroundings"]

Replaced = tuple[Any, str, Any]

_lock = threading.Lock()
_in_use: list[Surroundings] = []
"""The one whose stand-ins are in their places."""


class Surroundings:
    """The stand-ins of one clock: in use from the first `active` on until the last has ended."""

    def __init__(self, clock: Dial) -> None:
        self.clock = clock
        self.stamps = self.make_stamps()
        self._depth = 0
        self._before: list[Replaced] = []
        self._admissions: dict[Any, Any] = {}

    def make_stamps(self) -> Stamps:
        """Return what sets the times of events."""
        return Stamps(self.clock)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have the stand-ins in their places inside a `with` block.

        Raises:
            RuntimeError: those of another clock are.
        """
        with _lock:
            if _in_use and _in_use[0] is not self:
                raise RuntimeError("another virtual clock is in use; use one at a time in a process")
            if not self._depth:
                self._begin()
                _in_use.append(self)
            self._depth += 1
        try:
            yield
        finally:
            with _lock:
                self._depth -= 1
                if self._depth == 0:
                    _in_use.clear()
                    self._end()

    def _begin(self) -> None:
        found = self.stand_ins()
        self._before = [(owner, name, vars(owner)[name]) for owner, name, _ in found]
        for each in found:
            setattr(*each)

    def _end(self) -> None:
        while self._before:
            setattr(*self._before.pop())
        for each, clock in self._admissions.items():
            each.limits.clock = clock
        self._admissions.clear()
        self.stamps.end()

    def loop(self) -> VirtualLoop | None:
        """Return the loop of this clock that runs in this thread."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        return loop if isinstance(loop, VirtualLoop) and loop.clock is self.clock else None

    def stand_ins(self) -> list[Replaced]:
        """Return what is replaced: owner, name, and by what."""
        return [
            (Workers, "submit", self._in_thread(Workers.submit)),
            (processes.Processes, "call", self._in_process(processes.Processes.call)),
            (processes, "_until", self._while_held(processes._until)),
            (LocalExecutor, "measured", self._measured(LocalExecutor.measured)),
            (RunState, "abandon", self._abandon(RunState.abandon)),
            (RunState, "__init__", self._attended(RunState.__init__)),
            (controls, "Admission", self._admission),
            (cache, "clock", self.clock.time),
            (Progress, "_tick", self._unless_virtual(Progress._tick)),
        ]

    # --- threads and processes

    def _in_thread(self, usual: Callable[..., None]) -> Callable[..., None]:
        def submit(workers: Workers, job: Any) -> None:
            loop = self.loop()
            if loop is None:
                usual(workers, job)
            else:
                loop.begin(job, lambda job: usual(workers, job))

        return submit

    def _in_process(self, usual: Callable[..., Any]) -> Callable[..., Any]:
        async def call(
            pool: Any, name: str, declared: str, func: Any, args: Any, kwargs: dict[str, Any], begun: Any = None
        ) -> Any:
            work = usual(pool, name, declared, func, args, kwargs, begun)
            loop = self.loop()
            return await (work if loop is None else loop.elsewhere(work, func, args, kwargs))

        return call

    def _while_held(self, usual: Callable[..., Any]) -> Callable[..., Any]:
        async def until(*args: Any) -> None:
            loop = self.loop()
            with nullcontext() if loop is None else loop.holding():
                await usual(*args)

        return until

    def _measured(self, usual: Callable[..., Any]) -> Callable[..., Any]:
        async def measured(executor: LocalExecutor, profile: Any) -> None:
            if self.loop() is None:
                await usual(executor, profile)
            profile.measured = True  # to wait for a while would let time pass

        return measured

    def _abandon(self, usual: Callable[..., None]) -> Callable[..., None]:
        def abandon(run: RunState, owner: Any, job: Any, ended: Any, what: str = "") -> None:
            usual(run, owner, job, ended, what)
            loop = self.loop()
            if loop is not None:
                loop.let_go(job)

        return abandon

    # --- runs

    def _attended(self, usual: Callable[..., None]) -> Callable[..., None]:
        def begin(run: RunState, *args: Any) -> None:
            usual(run, *args)
            if self.loop() is not None:
                self.attend(run)
                run.look()

        return begin

    def attend(self, run: RunState) -> None:
        """Have a run that begins go by the clock."""
        self.stamps.follow(run.bus)
        limits = run.engine.admission.limits
        if limits.clock is monotonic:
            self._admissions[run.engine.admission] = monotonic
            since = monotonic() - self.clock.elapsed if limits.table else 0.0
            limits.clock = self.clock.steady if since == 0.0 else lambda: since + self.clock.elapsed
        if self.clock.faults is not None:
            run.executor = self.clock.faults.executor(run.executor)
            run.inline = run.direct = run.tells_begun = False

    def _unless_virtual(self, usual: Callable[[Any], None]) -> Callable[[Any], None]:
        """Leave out what is done at regular times for people to see: months would be full of it."""
        return lambda progress: usual(progress) if self.loop() is None else None

    def _admission(self, system_resources: Any, **options: Any) -> admission.Admission:
        """Make the admission of an engine, whose limits may be set before a loop runs."""
        return admission.Admission(system_resources, self.clock.steady, **options)
