"""Comprehensions: calls of a short function for all items of a list, in one comprehension.

Nothing is asked between two calls but whether a result has the class expected. A tick takes that class away, so the
next result is looked at closer, and the comprehension awaits the turn of the event loop where it stands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from types import CoroutineType
from typing import Any

from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import NOTHING
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.interpreter.results import is_signal
from cascade.runtime.maps.sources import Batch
from cascade.runtime.maps.state import MapState

__all__ = ["Comprehension"]

MOST_BEFORE = 1 << 12
PIECE = 1 << 17
"""Of results, to be copied: that takes about a millisecond."""


# `for value in (call(item),)` is an assignment (CPython 3.9 made it one), to a variable of the comprehension's own.
def _make_comprehension() -> tuple[Callable[..., Coroutine[Any, Any, list[Any]]], Callable[[type | None], None]]:
    """Return a comprehension, and what tells it which class of results it expects: None to have it look closer."""
    seen: type | None = None

    async def work(
        calls: Iterable[tuple[Callable[[Any], Any], Iterable[Any]]],
        is_plain: Callable[[Any], bool],
        turn: Callable[[], Awaitable[bool]],
    ) -> list[Any]:
        return [
            value
            for call, waiting in calls
            for item in waiting
            for value in (call(item),)
            if value.__class__ is seen or is_plain(value) or await turn()
        ]

    def expect(expected: type | None) -> None:
        nonlocal seen
        seen = expected

    return work, expect


def _itself(value: Any) -> Any:
    return value


def _few(state: MapState) -> list[Any]:
    results, seen = state.results, state.caller.seen
    if results and len(results) <= MOST_BEFORE and all(value.__class__ is seen for value in results):
        return results
    return []


class Comprehension:
    """Calls for what is left of a batch, unless it cannot go on behind a turn.

    The list that it makes begins with the few results that were there before: to put it behind them, when it is done,
    would hold the event loop for a second where there are many millions.
    """

    __slots__ = (
        *("at", "batch", "before", "done", "expect", "is_ended", "is_waiting", "items", "marked", "waiting", "work"),
    )

    def __init__(self, state: MapState, batch: Batch) -> None:
        self.items, self.batch = state, batch
        self.waiting: Any = iter(batch.columns[0])
        self.waiting.__setstate__(batch.at)
        self.at = batch.at
        self.before = _few(state)
        """The results that were there, if they are few and of the class expected."""
        self.done = state.done
        self.marked: list[tuple[int, Any]] = []
        """What was found that is more than a value, with the positions of its items."""
        self.is_waiting = False
        """The event loop has its turn: what is raised now was not raised by a call."""
        self.is_ended = False
        """Whether the comprehension has ended before its items did."""
        self.work, self.expect = _make_comprehension()

    async def run(self) -> list[Any]:
        """Return the results; the places of what is more than a value stay empty.

        Raises:
            NodeFailure: a call failed.
        """
        state, caller, ticker = self.items, self.items.caller, self.items.run.ticker
        self.begin()
        try:
            calls = (caller.bound(state.form.inline), self.waiting)
            values = await self.work(((_itself, self.before), calls), self.is_plain, self.turn)
        except BaseException as error:
            for _, signal in self.marked:
                if signal.__class__ is CoroutineType:
                    signal.close()  # what a function returned, and nobody will await
            if self.is_waiting:
                raise
            raise self.failure(error) from None
        finally:
            ticker.turn = None
        state.done = self.done
        for position, _ in self.marked:
            values[position - self.at + len(self.before)] = NOTHING
        return values

    def begin(self) -> None:
        """Have the ticker take the expected class away, which it may have done before this is through."""
        caller, ticker = self.items.caller, self.items.run.ticker
        caller.odds, caller.signals = 0, []
        ticker.turn = self
        self.expect(caller.seen)
        if ticker.due:
            self.expect(None)

    def clear(self) -> None:
        """Have the next result looked at closer; from any thread."""
        self.expect(None)

    def is_plain(self, value: Any) -> bool:
        """Look at a result that was not of the class expected, or behind a tick; say whether to go on at once."""
        caller = self.items.caller
        if value.__class__ is not caller.seen:
            caller.odd(value)
            if is_signal(value):
                self.marked.append((self.position() - 1, value))
        self.expect(caller.seen)
        return not self.items.run.ticker.due and caller.may_sweep

    async def turn(self) -> bool:
        """Give the event loop its turn, and end the comprehension if it cannot go on behind it."""
        state, run = self.items, self.items.run
        if not (self.marked or state.takers() or self.is_long()) and state.caller.may_sweep:
            run.ticker.turn = None
            run.ticker.caught(state.form)
            state.form.seen = state.caller.seen
            state.done = self.done + self.position() - self.at
            self.is_waiting = True
            await run.turn()
            self.is_waiting = False
            run.ticker.begin()
            if state.may_sweep(self.at) and not run.governs(state.form):
                self.begin()
                return True
        self.is_ended = True
        self.waiting.__setstate__(len(self.batch.columns[0]))
        return True

    def is_long(self) -> bool:
        """Say whether it holds as many results as are put behind others in one go."""
        return not self.before and bool(self.items.results) and self.position() - self.at >= PIECE

    def hand_on(self, values: list[Any]) -> int:
        """Put the results where they belong; return how many there are."""
        state, before = self.items, len(self.before)
        count = len(values) - before
        if before and state.results is self.before and not state.sinks:
            state.results = values
            state.done += count
        else:
            del values[:before]
            state.deliver(self.at, values)
        return count

    def position(self) -> int:
        """Return how many items were called for, with those before it; to be asked while a call is looked at."""
        column = self.batch.columns[0]
        if column.__class__ is range:
            return len(column) - int(self.waiting.__length_hint__())
        position: int = self.waiting.__reduce__()[2]
        return position

    def failure(self, error: BaseException) -> NodeFailure:
        """Return the failure of the item whose call has raised something."""
        cause = error.__cause__
        if error.__class__ is RuntimeError and cause.__class__ is StopIteration and _has_passed(cause):
            error = cause  # a coroutine makes the one of the other
        state = self.items
        return state.run.failure_at(Call(state.frame, state.i, f"[{self.position() - 1}]"), error)


def _has_passed(error: BaseException) -> bool:
    """Say whether an exception has come out of a comprehension."""
    return error.__traceback__ is not None and error.__traceback__.tb_frame.f_globals is globals()
