"""Comprehensions: calls of a short function for all items of a list, or a block of them, in one comprehension each.

A tick takes the class away that it expects, so the next result is looked at closer. If all that is left is gone
through, the comprehension awaits the turn of the event loop where it stands. Else, and where it cannot go on behind a
turn, it ends: its iterator is set to the end.
"""

from __future__ import annotations

from types import CoroutineType
from typing import Any

from cascade.compiler.code.comprehension import maker, shape_of
from cascade.runtime.frames.call import Call, at_item
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.interpreter.results import is_signal
from cascade.runtime.maps.sources import Batch
from cascade.runtime.maps.state import MapState
from cascade.spec.readable import readable

__all__ = ["Comprehension"]

MOST_ODD = 64
"""After so many results of other classes than the last one's, a set of the classes is expected."""
PIECE = 1 << 17
"""Of results, to be copied: that takes about a millisecond."""


class Comprehension:
    """Calls for the items of a map in place, batch by batch."""

    __slots__ = (
        *(
            "batch",
            "column",
            "done",
            "expect",
            "is_ended",
            "is_mixed",
            "is_waiting",
            "keeps",
            "marked",
            "odds",
            "plain",
        ),
        *("same", "seen", "shape", "state", "waiting", "work"),
    )

    def __init__(self, state: MapState) -> None:
        self.state = state
        order, named, same = state.order, state.form.names, state.same
        self.shape = shape_of(len(state.args), state.node.each, order, named)
        self.same = [*state.args, *[same[name] for name in (*order, *named) if name in same]] if same else state.args
        self.seen: type | None = state.form.seen
        """The class that results had so far."""
        self.plain: set[Any] = {self.seen}
        """The classes that results had and that are no signals."""
        self.odds = 0
        """How many results of this batch were not of the class `seen`."""
        self.is_mixed = False
        self.keeps = state.has_result_sink
        """Somebody wants the results before a failure, too."""
        self.work, self.expect = maker(self.shape, False, self.keeps)()

    @readable("self", place=lambda known: known["self"].place())
    async def call(self, batch: Batch) -> tuple[list[Any], list[tuple[int, Any]]]:
        """Call for what is left of a batch, or a part of that.

        Returns the results, and what of them is more than a value, with its positions.

        Raises:
            NodeFailure: a call failed, or a list has another length than before.
        """
        state, ticker, at = self.state, self.state.run.ticker, batch.at
        self.batch, self.done = batch, state.done
        self.marked: list[tuple[int, Any]] = []
        self.is_ended = self.is_waiting = False
        if self.odds > MOST_ODD and not self.is_mixed:
            self.is_mixed = True
            self.work, self.expect = maker(self.shape, True, self.keeps)()
        self.odds = 0
        count = batch.end - at
        columns = batch.columns
        if not batch.is_all:
            columns = [column[at : batch.end] for column in columns]
            for column in columns:
                if len(column) < count:
                    raise state.resized()
        self.column = columns[0]
        iterators: list[Any] = [iter(column) for column in columns]
        self.waiting = iterators[0]
        if batch.is_all:
            for iterator in iterators:
                iterator.__setstate__(at)
        rows = zip(*iterators) if len(iterators) > 1 else self.waiting  # noqa: B905 -- set to the end, it stops all
        kept: list[Any] = []
        self.begin()
        try:
            values = await self.work(state.form.inline, rows, self.is_plain, self.turn, kept.append, self.same)
        except BaseException as error:
            for _, signal in self.marked:
                if signal.__class__ is CoroutineType:
                    signal.close()  # what a function returned, and nobody will await
            if kept:
                state.deliver(batch.first + at, [value for value in kept if not is_signal(value)])
            if self.is_waiting:
                raise
            raise self.failure(error) from None
        finally:
            ticker.turn = None
        if len(values) > count or (len(values) < count and not self.is_ended):
            raise state.resized()
        state.done, state.form.seen = self.done, self.seen
        marked = self.marked
        del self.batch, self.column, self.waiting, self.marked  # not to be held while others are waited for
        return kept or values, marked

    def begin(self) -> None:
        """Have the ticker take the expected class away, which it may have done before this is through."""
        ticker = self.state.run.ticker
        ticker.turn = self
        self.expect(self.plain if self.is_mixed else self.seen)
        if ticker.due and self.batch.is_all:  # a block ends soon enough
            self.clear()

    def clear(self) -> None:
        """Have the next result looked at closer; from any thread."""
        self.expect(() if self.is_mixed else None)

    def is_plain(self, value: Any) -> bool:
        """Look at a result that was not of the class expected, or behind a tick; say whether to go on at once."""
        if value.__class__ is not self.seen:
            self.odds += 1
            if is_signal(value):
                self.marked.append((self.called() - 1, value))
            else:
                self.seen = value.__class__
                self.plain.add(self.seen)
        self.expect(self.plain if self.is_mixed else self.seen)
        return not self.state.run.ticker.due and (self.is_mixed or self.odds <= MOST_ODD)

    async def turn(self) -> bool:
        """Give the event loop its turn, and end the comprehension if it cannot go on behind it."""
        state, run = self.state, self.state.run
        if self.may_wait():
            run.ticker.turn = None
            run.ticker.caught(state.form)
            state.form.seen = self.seen
            state.done = self.done + self.called()
            self.is_waiting = True  # what is raised now was not raised by a call
            await run.turn()
            self.is_waiting = False
            run.ticker.begin()
            if state.may_take_all(self.batch.at) and not run.governs(state.form):
                self.begin()
                return True
        self.is_ended = True
        self.waiting.__setstate__(len(self.column))
        return True

    def may_wait(self) -> bool:
        """Say whether nothing has to be done with the results so far: they are not within reach until it ends."""
        if not self.batch.is_all or self.marked or (self.odds > MOST_ODD and not self.is_mixed):
            return False
        is_long = len(self.state.results or ()) > PIECE and self.called() >= PIECE
        return not is_long and not self.state.takers()

    def called(self) -> int:
        """Return how many items of the batch were called for; to be asked while a call is looked at."""
        if self.column.__class__ is range:
            position: int = len(self.column) - self.waiting.__length_hint__()
        else:
            position = self.waiting.__reduce__()[2]
        return position - self.batch.at if self.batch.is_all else position

    def place(self) -> Any:
        """Return which item is being called for; None: none is."""
        try:
            called = 0 if self.is_waiting else self.called()
        except AttributeError:  # it has not come so far
            return None
        if not called:
            return None
        return at_item(self.state, self.batch.first + self.batch.at + called - 1)

    def failure(self, error: BaseException) -> NodeFailure:
        """Return the failure of the item whose call has raised something."""
        cause = error.__cause__
        if error.__class__ is RuntimeError and cause.__class__ is StopIteration:
            where = cause.__traceback__
            if where is not None and where.tb_frame.f_globals is self.work.__globals__:
                error = cause  # a coroutine makes the one of the other
        state, at = self.state, self.batch.first + self.batch.at + self.called() - 1
        return state.run.failure_at(Call(state.frame, state.i, f"[{at}]"), error)
