"""Outputs: the items of a generator task under way, and how far each of its readers has come.

All is kept in one list, of which the front is dropped when all that will read it has. A reader that has begun holds the
generator back when it is `AHEAD` items behind; one that has not begun does not, so that nothing waits for a limit that
what waits for it holds. Bounded buffers can make a graph without circles stand still: where two streams of one source
meet again, and one is read first. So who lags and is itself held up does not count while another reader of the same
output has nothing left (after Parks, "Bounded Scheduling of Process Networks", 1995, who lets a buffer grow only then).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import deque
from typing import Any

from cascade.adapters.executors.workers import job_here
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import PENDING, Frame
from cascade.runtime.maps.sinks import ResultSink
from cascade.runtime.run.state import RunState
from cascade.spec.streams import Stream

__all__ = ["AHEAD", "Cursor", "Output"]

AHEAD = 64
"""So many items a generator is ahead of its slowest reader that has begun, and no more."""
BATCH = 16
"""So many items a thread takes at once."""


class Output:
    """What one call of a generator task gives, in all its attempts.

    Args:
        readers: the instructions of the frame that read it as a stream.
        is_listed: whether somebody needs the whole list in the end.
    """

    __slots__ = (
        *("base", "count", "cursors", "frame", "given", "i", "is_listed", "is_over", "items", "loop", "readers"),
        *("room", "run", "sink", "told", "waiting"),
    )

    def __init__(self, run: RunState, frame: Frame, i: int, readers: set[int], is_listed: bool) -> None:
        self.run = run
        self.frame = frame
        self.i = i
        self.readers = readers
        """The readers that have not begun."""
        self.is_listed = is_listed
        self.items: list[Any] = []
        self.base = 0
        """The number of the first item that is kept."""
        self.count = 0
        """How many items there were."""
        self.cursors: list[Cursor] = []
        self.waiting: list[Cursor] = []
        """The cursors that have read all that there is."""
        self.sink: ResultSink | None = None
        self.given = 0
        """How many items the sink was given."""
        self.room: asyncio.Future[None] | None = None
        """What the generator waits for."""
        self.is_over = False
        self.told = False
        """Whether a thread has called for the loop's."""
        self.loop = asyncio.get_running_loop()

    # --- the side of the generator

    def put(self, item: Any) -> None:
        """Take an item, on whatever thread."""
        self.items.append(item)
        self.count += 1
        if self.waiting or self.sink is not None:
            if asyncio._get_running_loop() is self.loop:
                self.wake()
            elif not self.told:
                self.told = True
                self.loop.call_soon_threadsafe(self.wake)

    def has_room(self) -> bool:
        """Say whether another item may come now."""
        if self.sink is not None and self.sink.waiting + self.count - self.given >= AHEAD:
            return False
        late = [cursor for cursor in list(self.cursors) if self.count - cursor.done >= AHEAD]
        if not late:
            return True
        ahead = {cursor.place for cursor in list(self.cursors) if self.count - cursor.done < AHEAD}
        late = [cursor for cursor in late if cursor.place not in ahead]  # else it reads another of its own
        if not late:
            return True
        return any(cursor.has_all for cursor in list(self.waiting)) and all(cursor.is_held_up() for cursor in late)

    def is_unwanted(self) -> bool:
        """Say whether nobody will read further items."""
        return not (self.cursors or self.sink is not None or self.keeps_all())

    def keeps_all(self) -> bool:
        """Say whether somebody may read the items from the start: a list, who has not begun, or may begin again."""
        if self.is_listed or any(cursor.keeps for cursor in self.cursors):
            return True
        regs = self.frame.regs
        return any(regs[j] is PENDING for j in self.readers)

    def is_early(self) -> bool:
        """Say whether it is time for a turn of the event loop, as readers may be about to begin."""
        return self.count % AHEAD == 0 and bool(self.readers)

    async def wait_for_room(self) -> None:
        """Wait until another item may come, or is not wanted any more."""
        while not (self.has_room() or self.is_unwanted()):
            self.room = self.loop.create_future()
            for other in [*self.run.flows.values()]:
                if other is not self:
                    other.nudge()  # a reader of it is held up now
            try:
                if not self.room.done():
                    await self.room
            finally:
                self.room = None

    def nudge(self) -> None:
        """Have the generator look again whether there is room, if it waits for that."""
        room = self.room
        if room is not None and not room.done() and (self.has_room() or self.is_unwanted()):
            room.set_result(None)

    @property
    def has_given(self) -> bool:
        """Whether a reader has had an item."""
        return bool(self.base or self.given or any(cursor.taken for cursor in self.cursors))

    def begin(self) -> None:
        """Begin an attempt: nobody has had anything of the one before."""
        self.items, self.count = [], 0
        if self.sink is not None:
            self.sink.drained, self.sink.is_held_up = self.nudge, _never

    def value(self) -> list[Any]:
        """Return the list of all items, or an empty one if nobody will read it."""
        return self.items if self.keeps_all() else []

    def end(self, is_whole: bool) -> None:
        """Say that no item comes any more; if that is not for want of any, those who wait are let go."""
        self.is_over = True
        if is_whole:
            self.wake()
            return
        for cursor in self.cursors:
            cursor.cut()

    # --- the side of the readers

    def wake(self) -> None:
        """Have the readers look that wait for items; on the loop's thread."""
        self.told = False
        if self.sink is not None and self.given < self.count:
            new = self.items[self.given - self.base :]
            first, self.given = self.given, self.given + len(new)
            self.sink.put(first, new)
            self.trim()
        waiting, self.waiting = self.waiting, []
        for cursor in waiting:
            cursor.look()

    def open(self, call: Call, keeps: bool) -> Cursor:
        """Let a reader begin; if it `keeps`, it may read all from the start again."""
        self.readers.discard(call.register)
        cursor = Cursor(self, (call.frame, call.register), keeps)
        self.cursors.append(cursor)
        return cursor

    def close(self, cursor: Cursor, is_gone: bool) -> None:
        """Let a reader go; if it is not `is_gone`, it will come again."""
        if not is_gone:
            self.readers.add(cursor.place[1])
        if cursor in self.cursors:
            self.cursors.remove(cursor)
        if cursor in self.waiting:
            self.waiting.remove(cursor)
        self.trim()
        self.nudge()

    def trim(self) -> None:
        """Drop the items that nobody will read any more."""
        if self.keeps_all():
            return
        low = min((cursor.done for cursor in self.cursors), default=self.count)
        if self.sink is not None:
            low = min(low, self.given)
        if low - self.base >= BATCH:
            del self.items[: low - self.base]
            self.base = low


class Cursor(Stream[Any]):
    """How far one reader of an output has come; what its task is given."""

    def __init__(self, output: Output, place: tuple[Frame, int], keeps: bool) -> None:
        self.output = output
        self.place = place
        self.keeps = keeps
        self.done = 0
        """How many items the reader is done with, as far as is known."""
        self.taken = 0
        """How many it has taken."""
        self.is_cut = False
        self.batch: deque[Any] = deque()
        self.arrival: asyncio.Future[None] | None = None
        self.request: concurrent.futures.Future[list[Any]] | None = None

    @property
    def has_all(self) -> bool:
        """Whether it has taken all that there is."""
        return self.taken >= self.output.count

    def is_held_up(self) -> bool:
        """Say whether its call waits for another stream, or for the readers of its own."""
        flows: dict[Any, Output] = self.output.run.flows
        own = flows.get(self.place)
        if own is not None and own.room is not None:
            return True
        waiting = [cursor for flow in [*flows.values()] for cursor in list(flow.waiting)]
        return any(cursor.place == self.place and cursor.has_all for cursor in waiting)

    async def __anext__(self) -> Any:
        output = self.output
        while True:
            self.done = self.taken
            if self.taken < output.count and not self.is_cut:
                item = output.items[self.taken - output.base]
                self.taken += 1
                self._moved()
                return item
            if output.is_over and not self.is_cut:
                raise StopAsyncIteration
            self.arrival = output.loop.create_future()
            self._await()
            try:
                await self.arrival
            finally:
                self.arrival = None

    def __next__(self) -> Any:
        if not self.batch:
            request: concurrent.futures.Future[list[Any]] = concurrent.futures.Future()
            job = job_here()
            if job is not None:
                job.cut = self.cut
                self.is_cut |= job.is_cut
            self.output.loop.call_soon_threadsafe(self._take, request)
            self.batch.extend(request.result())
            if not self.batch:
                raise StopIteration
        return self.batch.popleft()

    def _take(self, request: concurrent.futures.Future[list[Any]]) -> None:
        """Give a thread what is there; on the loop's thread."""
        output, self.request = self.output, None
        self.done = self.taken
        self._moved()
        if self.is_cut:
            request.set_exception(asyncio.CancelledError())
        elif self.taken < output.count:
            at = self.taken - output.base
            found = output.items[at : at + BATCH]
            self.taken += len(found)
            request.set_result(found)
        elif output.is_over:
            request.set_result([])
        else:
            self.request = request
            self._await()

    def _moved(self) -> None:
        output = self.output
        if self.done - output.base >= 2 * BATCH:
            output.trim()
        if output.room is not None:
            output.nudge()

    def _await(self) -> None:
        """Wait for an item, or the end; it may have come just now, from a thread."""
        output = self.output
        if self not in output.waiting:
            output.waiting.append(self)
        for other in [*output.run.flows.values()]:
            if other.room is not None:
                other.nudge()  # this reader has nothing left, or waits here while it lags there
        if output.count > self.taken or (output.is_over and not self.is_cut):
            output.loop.call_soon(output.wake)

    def look(self) -> None:
        """Go on: there is an item, or the end."""
        if self.arrival is not None and not self.arrival.done():
            self.arrival.set_result(None)
        if self.request is not None:
            self._take(self.request)

    def cut(self) -> None:
        """Let a thread go that waits, as its call is being cancelled; a coroutine has a cancel of its own."""
        self.is_cut = True
        if self.request is not None:
            self._take(self.request)


def _never() -> bool:
    return False
