"""What the streams have given that maps of a recorded run read, so that each item gets its own value when that goes on.

A stream is read again from its start. With each item that it gives, what stands for its content is kept, before it is
called for; another one at that place is refused, unless nothing was recorded of that item. Under `on_change="adapt"`
items are known by their content instead, those of one content in order: each goes by the place that it was recorded at
(`StepKeys.items`), and one that is new by a place that none had. From then on that map's items are known by content.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from time import time
from typing import Any, NamedTuple

from cascade.errors import RunChangedError
from cascade.runtime.changes.fingerprint import content_of
from cascade.runtime.frames.call import Call
from cascade.runtime.journal.kinds import BEGUN, FAILED, Kept
from cascade.runtime.maps.sources import Batch
from cascade.spec.state import StepRecord

__all__ = ["Streams"]

GIVEN = "~"
"""Behind the key of an item that a stream gave: what that was. Behind that of a map: that its items go by content."""
HINT = "let it give the same items in the same order, or start the run under another run_id"
ADAPT = ', or start it with on_change="adapt": then items keep their values by what they are'


class Adapted(NamedTuple):
    """The items of one map that go by their content."""

    places: dict[str, deque[int]]
    """Where those of some content were recorded that were not given again yet."""
    known: dict[int, int]
    """What each item goes by that was given so far."""
    fresh: Iterator[int]


class Streams:
    """The streams that the maps of one run read.

    Args:
        journal: that of the run.
        adapts: another item than before is no error.
    """

    def __init__(self, journal: Any, adapts: bool) -> None:
        self.journal = journal
        self.adapts = adapts
        self._adapted: dict[str, Adapted] = {}

    def look_at_items(self, call: Call, entry: int, batch: Batch) -> None:
        """Record what a stream gives the map of a call, and see that it is what it gave before.

        Raises:
            RunChangedError: it is not, and something is recorded of that item.
        """
        journal = self.journal
        key, task_id, kept = journal.place(call)
        key += journal.keys.suffix(call)
        if kept is Kept.NOTHING:
            return
        adapted = self._begin(key, entry) if batch.first == 0 else self._adapted.get(key)
        for at in range(batch.at, batch.end):
            number = batch.first + at
            given = journal.masked(", ".join([content_of(column[at]) for column in batch.columns]))
            if adapted is not None:
                self._know(adapted, key, entry, number, given)
                continue
            before = self._given(key, number, entry)
            if before == given:
                continue
            if before is not None and self._is_begun(f"{key}[{number}]", entry):
                raise RunChangedError(
                    f"item {task_id}{call.suffix}[{number}] was {before}, and the stream that is mapped over gives "
                    f"{given} there now; {HINT}{ADAPT}"
                )
            self._keep(f"{key}[{number}]", entry, given)

    def look_at_end(self, call: Call, entry: int, count: int) -> None:
        """See that a stream that has given so many items has not given more before.

        Raises:
            RunChangedError: one that it does not give any more is recorded.
        """
        key, task_id, kept = self.journal.place(call)
        key += self.journal.keys.suffix(call)
        adapted = self._begin(key, entry) if count == 0 and kept is not Kept.NOTHING else self._adapted.pop(key, None)
        if adapted is not None:
            left = sorted(number for numbers in adapted.places.values() for number in numbers)
            if self.adapts:
                for number in left:
                    self._keep(f"{key}[{number}]", entry, "", "gone")
                return
        else:
            left = []
            while self._given(key, count, entry) is not None:
                left.append(count)
                count += 1
        for number in left:
            if self._is_begun(f"{key}[{number}]", entry):
                raise RunChangedError(
                    f"the stream that is mapped over ended before item {task_id}{call.suffix}[{number}], which is "
                    f"recorded; {HINT}{ADAPT}"
                )

    def _begin(self, key: str, entry: int) -> Adapted | None:
        """Look up what is known of the items of a map; None: they go by their places."""
        journal = self.journal
        mark = journal.records.get(key + GIVEN)
        if not self.adapts and (mark is None or mark.entry != entry):
            journal.keys.items.pop(key, None)
            return None
        numbers = sorted(
            int(found[1])
            for each, record in journal.records.items()
            if record.entry == entry and (found := re.fullmatch(rf"{re.escape(key)}\[([0-9]+)\]{GIVEN}", each))
        )
        adapted = Adapted({}, {}, iter(range(numbers[-1] + 1 if numbers else 0, 1 << 62)))
        for number in numbers:
            if (given := self._given(key, number, entry)) is not None:
                adapted.places.setdefault(given, deque()).append(number)
        if numbers and mark is None:
            self._keep(key, entry, "")
        self._adapted[key], journal.keys.items[key] = adapted, adapted.known
        return adapted

    def _know(self, adapted: Adapted, key: str, entry: int, number: int, given: str) -> None:
        """Find what an item goes by: what one of its content went by, or what none did."""
        places = adapted.places.get(given)
        if places:
            adapted.known[number] = places.popleft()
            return
        adapted.known[number] = next(adapted.fresh)
        self._keep(f"{key}[{adapted.known[number]}]", entry, given)

    def _given(self, key: str, number: int, entry: int) -> str | None:
        """Return what was given at a place; None: nothing that is known of."""
        record = self.journal.records.get(f"{key}[{number}]{GIVEN}")
        if record is None or record.entry != entry or record.kind == "gone":
            return None
        return str(record.value.decode("utf-8", "surrogatepass"))

    def _keep(self, item: str, entry: int, given: str, kind: str = "given") -> None:
        data, now = given.encode("utf-8", "surrogatepass"), time()
        self.journal.steps.append(StepRecord(item + GIVEN, entry, kind, data, "", 1, now, now, "", ""))
        if not self.journal.is_silent:
            self.journal.writer.touch()

    def _is_begun(self, item: str, entry: int) -> bool:
        """Say whether more is recorded of an item than what it was given and that it has failed."""
        return any(
            key.startswith(item) and record.entry in (entry, -1) and record.kind not in ("given", "gone", FAILED)
            for key, record in self.journal.records.items()
            if record.kind != BEGUN or record.attempt
        )
