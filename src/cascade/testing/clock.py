"""A clock that stands still while anything happens and jumps when nothing does: waits of days take no time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from cascade.app.run import arun
from cascade.spec.lazy import LazyResult
from cascade.testing.dial import START, Dial
from cascade.testing.faults import Faults
from cascade.testing.loop import VirtualLoop
from cascade.testing.surroundings import Surroundings

__all__ = ["VirtualClock"]

R = TypeVar("R")


class VirtualClock(Dial):
    """Time that passes at once, in order, whenever nothing is left to do.

        clock = VirtualClock()
        assert clock.run(main()) == "done"
        assert clock.elapsed == 30 * 86400

    Inside `with VirtualClock() as clock:` whatever makes an event loop of its own (`cs.run`, `asyncio.run`) does so in
    virtual time. What a run waits for goes by this clock: `asyncio.sleep`, retries, timeouts, rates, what limits and
    cached results have left to live; and so do the timestamps and durations of its events.

    While something really goes on (a worker thread or process, a child process, an open connection) the clock stands
    still, unless that takes as many real seconds as are left until the next timer: then that timer runs. Calls in
    threads thus take no virtual time, and one that hangs still meets its timeout.

    Args:
        start: what the clock says at first: seconds since the epoch, or an aware datetime.
        faults: what goes wrong in the runs.

    Raises:
        ValueError: a datetime without a time zone.
    """

    def __init__(self, start: float | datetime = START, *, faults: Faults | None = None) -> None:
        super().__init__(start, faults)
        self._surroundings = self._make_surroundings()
        self._entered: list[Any] = []

    def _make_surroundings(self) -> Surroundings:
        return Surroundings(self)

    # --- running

    @overload
    def run(self, main: Coroutine[Any, Any, R], params: None = None) -> R: ...
    @overload
    def run(self, main: LazyResult[R], params: Mapping[str, Any] | None = None) -> R: ...
    @overload
    def run(self, main: Any, params: Mapping[str, Any] | None = None) -> Any: ...
    def run(self, main: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Run a coroutine, or a target with its parameters, to its end; return its value.

        Raises:
            RuntimeError: nothing is left that could ever happen; says what waits. Or: another virtual clock is in use.
        """
        work: Coroutine[Any, Any, Any] = main if asyncio.iscoroutine(main) else arun(main, params)
        try:
            with self.active(), asyncio.Runner(loop_factory=self.new_loop) as runner:
                return runner.run(work)
        except BaseException as error:
            self._tell(error)
            raise
        finally:
            work.close()

    def _tell(self, error: BaseException) -> None:
        """Add to an error on its way out what one needs to know of the clock."""

    def new_loop(self) -> VirtualLoop:
        """Return a fresh event loop that goes by this clock, for `asyncio.Runner(loop_factory=...)` and the like."""
        return VirtualLoop(self)

    def held(self) -> AbstractContextManager[None]:
        """Keep the clock from jumping inside a `with` block: something goes on that it cannot see.

        That is so for threads of your own that come back with `call_soon_threadsafe`. On a virtual loop's thread only.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise RuntimeError("only a loop of a virtual clock can be held: use it inside of clock.run(...)")
        return loop.holding()

    def active(self) -> AbstractContextManager[None]:
        """Let what is run meanwhile go by this clock, where its event loop is one of this clock's.

        Raises:
            RuntimeError: another virtual clock is in use.
        """
        return self._surroundings.active()

    def __enter__(self) -> Self:
        active = self.active()
        active.__enter__()
        policy = asyncio.get_event_loop_policy()
        asyncio.set_event_loop_policy(_policy(self))
        self._entered.append((active, policy))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        active, policy = self._entered.pop()
        asyncio.set_event_loop_policy(policy)
        active.__exit__(kind, error, trace)
        if error is not None:
            self._tell(error)


def _policy(clock: VirtualClock) -> asyncio.AbstractEventLoopPolicy:
    """Return what makes the event loops of a program go by a clock."""

    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            return clock.new_loop()

    return Policy()
