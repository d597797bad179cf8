"""The run that a piece of code is a part of: what tasks, their threads and the executors see of it.

One context variable, set once a run: tasks see the context of what runs them, in threads too. It holds no state of
the run, which a context that is left over would keep alive, and nothing at all once the run has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context, ContextVar, Token
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["Inside", "depth_here", "inside_of", "waited_for"]

waited_for: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""The asyncio tasks that a thread of a task does nothing but wait for, and its job."""
_present: ContextVar[Inside | None] = ContextVar("cascade_inside", default=None)


class Inside:
    """What is known inside of one run, while it goes on."""

    __slots__ = ("_run", "_token", "around", "depth", "idle", "run_id", "runs")

    def __init__(self, run: Any, run_scope: Any) -> None:
        around = _present.get()
        if around is not None and around._run is None:  # it has ended
            around = None
        self.around: Inside | None = around
        """Of the run whose task has begun this one."""
        self._run: Any = run
        self.run_id: str = run.id
        self.depth: int = 1 if around is None else around.depth + 1
        """How many runs there are, from the outermost to this one."""
        self.runs: set[Any] = set()
        """The runs that its tasks have begun, but for what they have started as runs of their own."""
        self.idle: Any = None
        run.depth = self.depth - 1
        if around is not None and run_scope.caller is not None:
            around.runs.add(run_scope)
        self._token: Token[Inside | None] = _present.set(self)

    @property
    def engine(self) -> Any:
        """Whose run it is; None: it has ended."""
        run = self._run
        return None if run is None else run.engine

    @property
    def known(self) -> Mapping[str, Any]:
        """The resources that its tasks see."""
        run = self._run
        return {} if run is None else run.known

    @property
    def loop(self) -> Any:
        """The event loop that it runs on; None: it has ended."""
        run_scope = self.run_scope
        return None if run_scope is None else run_scope.loop

    @property
    def caller(self) -> Any:
        """The asyncio task that awaits the run; None: none does, that is known of."""
        run_scope = self.run_scope
        if run_scope is None:
            return None
        return run_scope.caller if run_scope.reader is None else run_scope.caller or run_scope.reader()

    @property
    def run_scope(self) -> Any:
        """What ends the run before its time; None: it has ended."""
        run = self._run
        return None if run is None else run.run_scope

    async def empty(self) -> None:
        """End the runs that are left over, and wait until they have ended."""
        import asyncio

        for run_scope in self.runs:
            run_scope.cancel()
        while self.runs:
            self.idle = asyncio.get_running_loop().create_future()
            await self.idle

    def end(self, run_scope: Any) -> None:
        """Let go of everything, as the run has ended."""
        around = self.around
        if around is not None:
            around.runs.discard(run_scope)
            if around.idle is not None and not around.idle.done():
                around.idle.get_loop().call_soon_threadsafe(_resolve, around.idle)
        self.around = self._run = None
        try:
            _present.reset(self._token)
        except ValueError:
            return  # it was closed from elsewhere


def inside_of(context: Context | None = None) -> Inside | None:
    """Return what is known of the run that this code is a part of; None: there is none, or it has ended.

    Args:
        context: look there, and not where this is called.
    """
    inside = _present.get() if context is None else context.get(_present)
    return None if inside is None or inside._run is None else inside


def depth_here() -> int:
    """Return how many runs this code is inside of."""
    inside = inside_of()
    return 0 if inside is None else inside.depth


def _resolve(future: Any) -> None:
    if not future.done():
        future.set_result(None)
