"""The waits of a recorded run: when they end, and the messages that they take.

When a wait ends is recorded before it begins, as a time of the system's clock: a run that goes on later waits what is
left. Messages are in the store, whoever has sent them; one is taken by a commit that says which step has it, before its
value is read, so that the same step gets the same message when the run goes on, and no other step does.

Who sends in this process tells the run at once. What others send is seen by the thread that writes, which looks once a
second, and only while somebody waits.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from cascade.adapters.state.codec import decode
from cascade.runtime.frames.call import Call
from cascade.runtime.run.awaiters import whereabouts
from cascade.spec.clocks import now, sleep_until
from cascade.spec.mailbox import Mailbox, Wanted, late
from cascade.spec.signal import UNSET
from cascade.spec.state import SignalRecord

__all__ = ["Inbox"]

END = "$"
"""Behind the key of a step that waits: when it is to end, or that its time was over."""
WAITS, OVER, ENDED = "waits", "over", "ended"


class Inbox(Mailbox):
    """The messages to a recorded run, as far as it knows them; and the ends of its waits."""

    __slots__ = ("after", "is_told", "journal", "loop", "taken")

    def __init__(self, journal: Any) -> None:
        super().__init__()
        self.journal = journal
        self.after = 0
        """The number of the last message that it knows."""
        self.taken: dict[str, SignalRecord] = {}
        """The last message of each step that has taken one in an earlier start."""
        self.loop = asyncio.get_running_loop()

    async def sleep(self, seconds: float | None, until: float | None = None) -> None:
        """Wait in the step that asks until its end, which is committed before."""
        end, _ = await self._end_of(_step(), seconds, until)
        with self.journal.waiting(end):
            await sleep_until(end)

    async def _end_of(self, call: Call, seconds: float | None, until: float | None = None) -> tuple[float, bool]:
        journal = self.journal
        record = journal.noted(call, END)
        if record is not None and record.kind != ENDED:
            return record.ended, record.kind == OVER
        end = until if seconds is None else now() + seconds
        await self._note(call, WAITS, end)
        return float(end or 0.0), False

    async def _note(self, call: Call, kind: str, end: float | None) -> None:
        self.journal.note(call, END, kind, float(end or 0.0))
        await self.journal.writer.committed()

    async def take(self, wanted: Wanted) -> Any:
        """Wait for a message; return what it is read as, or the default.

        Raises:
            TimeoutError: none came in time.
        """
        call = _step()
        taker, end, is_over = self.journal.keys.lasting(call), None, False
        await self.look_now()
        mine = self.taken.pop(taker, None)
        if mine is not None:  # an attempt before this one has taken it, or an earlier start of the run
            try:
                return self._read(wanted, mine)
            except Exception:
                mine = None  # what cannot be read made the step fail, which is tried again with another
        if wanted.seconds is not None:
            end, is_over = await self._end_of(call, wanted.seconds)
            if is_over:
                return late(wanted)
        message = await self._next(wanted.name, end)
        if message is None:
            await self._note(call, ENDED if wanted.default is UNSET else OVER, end)
            return late(wanted)
        self.journal.taken.append((message.number, taker))
        self.taken[taker] = message
        await self.journal.writer.committed()
        value = self._read(wanted, message)
        del self.taken[taker]
        return value

    def _read(self, wanted: Wanted, message: SignalRecord) -> Any:
        return wanted.read(decode(message.value, allow=self.journal.allow))

    async def _next(self, name: str, end: float | None) -> Any:
        """Wait for a message; look once more when the time is over, for what came at the last moment."""
        writer, run_id = self.journal.writer, self.journal.run_id
        writer.watch(run_id, self.look)
        try:
            with self.journal.waiting(end, name):
                found = await self.next(name, None if end is None else lambda: end - now())
            if found is None:
                await self.look_now()
                found = await self.next(name, lambda: 0.0)
        finally:
            if not self.waiting:
                writer.unwatch(run_id)
        return None if found is None else found[1]

    # --- what is in the store

    def look(self) -> None:
        """Look for new messages; on the thread that writes."""
        found = self.journal.writer.backend.signals(self.journal.run_id, self.after)
        if found:
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self.learn, found)

    async def look_now(self) -> None:
        """Look for new messages, and know them."""
        writer, after = self.journal.writer, self.after
        self.learn(await writer.ask(lambda: writer.backend.signals(self.journal.run_id, after)))

    def tell(self) -> None:
        """Have the store asked soon, as somebody in this process has sent something; from any thread."""
        self.journal.writer.soon(self.look)

    def learn(self, found: list[SignalRecord]) -> None:
        """Take note of messages, and hand them out."""
        for message in found:
            if message.number <= self.after:
                continue
            self.after = message.number
            if message.taken_by:
                self.taken[message.taken_by] = message
            else:
                self.kept.append((message.name, message))
        self.hand_out()

    def put_back(self, message: Any) -> None:
        """Keep a message again that was handed to somebody who waits no more: where it was."""
        self.kept.append(message)
        self.kept.sort(key=lambda one: one[1].number)
        self.hand_out()


def _step() -> Call:
    """Return the call of the task that waits here."""
    place = whereabouts()
    assert place is not None
    return place.call
