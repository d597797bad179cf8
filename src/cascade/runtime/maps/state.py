"""State: what is known of one map on its way, and what happens to its results."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import groupby
from operator import is_
from typing import Any

from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import NOTHING, Frame
from cascade.runtime.frames.scope import NodeFailure, Scope
from cascade.runtime.maps.pipes import Giver, Pipe, Readers, givers_of
from cascade.runtime.maps.sinks import ResultSink
from cascade.runtime.maps.sources import ColumnSource, Source
from cascade.runtime.run.state import RunState
from cascade.runtime.shortcuts import off
from cascade.spec.events import RunWarning
from cascade.spec.gate import Gate
from cascade.spec.layout import order_of
from cascade.spec.lazy import MappedResult
from cascade.spec.marks import SKIPPED
from cascade.spec.notes import note_more, spelled
from cascade.spec.operations import MAP
from cascade.spec.outcomes import Failed
from cascade.spec.placement import CallForm

__all__ = ["LARGEST_BLOCK", "MapState"]

ENGINE = ("cascade.runtime.", "cascade.adapters.executors.")
"""Of modules whose frames stand between a map and what the user wrote."""
LARGEST_BLOCK = 1 << 12
"""Copies of so many items still fit into the processor's nearer caches."""
DEFAULT_WINDOW = 1000
FEWEST_AHEAD = 64
"""With a concurrency, so many items of a list are at least taken in hand before they can start."""


class MapState:
    """One map that is under way."""

    __slots__ = (
        *(
            "again",
            "args",
            "blocked",
            "done",
            "failed",
            "form",
            "frame",
            "gate",
            "has_result_sink",
            "i",
            "one_by_one",
            "is_fed",
            "lacks",
        ),
        *("last", "limit", "node", "order", "queue", "read", "results", "room", "run", "same", "scope", "sinks"),
        *("source", "told", "window", "workers"),
    )

    def __init__(self, run: RunState, frame: Frame, i: int, args: Any, kwargs: dict[str, Any]) -> None:
        block = frame.block
        node: MappedResult[Any] = frame.activation.blueprint.graph.nodes[block.source(i)]
        self.run, self.frame, self.i, self.node = run, frame, i, node
        self.args = tuple(args)
        each = node.each
        self.same = {name: kwargs[name] for name in kwargs if name not in each} if len(kwargs) > len(each) else {}
        self.order, named = order_of(node.task, len(self.args), (*each, *self.same))
        self.form: CallForm = node.task.form_of(named)
        self.gate: Gate | None = block.gates.get(i)
        if self.gate is not None and self.gate.amounts:
            self.gate = run.settled(Call(frame, i), self.gate, frame.regs)
        self.one_by_one = node.errors.on_error != "raise" or "comprehensions" in off
        """Items are called for one by one."""
        self.scope = Scope(run, frame.scope)
        self.source: Source
        self.results: list[Any] | None = []
        """None once they go somewhere else and nobody asks for the list."""
        self.sinks: list[Pipe | ResultSink] = []
        self.has_result_sink = False
        """Somebody iterates over the results: those before a failure are wanted, too."""
        self.is_fed = False
        """The items come from other maps."""
        self.limit = node.concurrency
        self.window: int | None = node.window
        self.read = self.done = self.workers = 0
        """How many items were read, how many are done, how many coroutines take items from the queue."""
        self.blocked = 0
        """How many items wait for a limit or a constraint."""
        self.queue: deque[tuple[int, tuple[Any, ...]]] = deque()
        self.room: asyncio.Future[None] | None = None
        """What the host waits for, and what it waits to be true."""
        self.told: Callable[[], bool] | None = None
        self.failed = 0
        self.last: NodeFailure | None = None
        self.again: bool | None = None
        self.lacks = False
        """Some item has nothing to give."""

    # --- how far to read ahead

    def limit_reading(self, window: int = DEFAULT_WINDOW) -> None:
        """Read only so far ahead, unless it was said how far."""
        if self.window is None:
            self.window = window if self.limit is None else 2 * self.limit

    def room_left(self) -> int:
        """Return how many more items may be read."""
        window = self.window
        if window is None:
            if self.limit is None:
                return DEFAULT_WINDOW - self.blocked if self.may_block() else LARGEST_BLOCK
            window = max(2 * self.limit, FEWEST_AHEAD)
        return window - self.pending()

    def may_block(self) -> bool:
        """Say whether items may have to wait for a limit or a constraint: then only so many are begun to wait."""
        return self.run.governs(self.form) or (self.gate is not None and self.gate.terms.constraints is not None)

    def may_take_all(self, at: int) -> bool:
        """Say whether all items from `at` on may be called for in one go, and their results be appended."""
        free = self.window is None and self.limit is None and not self.sinks and not self.one_by_one
        if not free or self.results is None or len(self.results) != at or self.run.observed:
            return False
        source = self.source
        if not isinstance(source, ColumnSource):
            return False
        for column in source.columns:
            if len(column) != source.size:
                return False
        return self.form.inline is not None and self.form.seen is not None

    def block(self) -> None:
        """Note that an item waits for a limit or a constraint."""
        self.blocked += 1

    def unblock(self) -> None:
        """Note that it does not any more."""
        self.blocked -= 1
        self.tell()

    def is_held_up(self) -> bool:
        """Say whether all items that were begun wait for a limit or a constraint, and nothing else goes on."""
        begun = self.read - self.done - len(self.queue)
        return 0 < begun == self.blocked and len(self.run.under_way) == 1

    def pending(self) -> int:
        """Return how many items were read and are not done, or done and not taken."""
        pending = self.read - self.done
        if self.results is None:
            for sink in self.sinks:
                pending += sink.waiting
        elif self.run.passes and self.is_to_flow():
            return self.read
        return pending

    def is_to_flow(self) -> bool:
        """Say whether a map reads the results that the interrupted pass over the frame may not have come to yet."""
        passes = self.run.passes.values()
        return self.is_read_by_maps() and any(self.frame is frame for work in passes for frame, _ in work)

    def is_read_by_maps(self) -> bool:
        """Say whether a map reads the results."""
        return self.frame.block.ops.count(MAP) > 1 and self.i in self.readers().by_maps

    def readers(self) -> Readers:
        """Return who reads the registers of the block, counted once a run."""
        known, block = self.run.readers, self.frame.block
        found: Readers | None = known.get(block)
        if found is None:
            found = known[block] = Readers(block)
        return found

    def has_room(self) -> bool:
        """Say whether it pays to read more: not before half the queue is empty, or half of what waits is taken."""
        room = self.room_left()
        if self.blocked and self.window is None:
            return self.blocked <= DEFAULT_WINDOW // 2
        if self.read == self.done or self.queue:
            return room > 0 and room >= self.pending()
        return room > 0

    async def wait_for(self, is_there: Callable[[], bool]) -> None:
        """Wait until something is true that `tell` says may have changed."""
        self.told = is_there
        try:
            await self.scope.wait_until(is_there, self.ask)
        finally:
            self.room = self.told = None

    def ask(self, waiter: asyncio.Future[None]) -> None:
        """Note what the host waits for."""
        self.room = waiter

    def tell(self) -> None:
        """Wake the host if what it waits for is true now."""
        room = self.room
        if room is not None and not room.done() and self.told is not None and self.told():
            room.set_result(None)

    def arguments(self, values: tuple[Any, ...]) -> tuple[Any, dict[str, Any]]:
        """Return the arguments of one item, by position where the function allows it."""
        if self.order == self.node.each:
            return (*self.args, *values), self.same.copy()
        named = dict(zip(self.node.each, values, strict=True))
        named.update(self.same)
        args = (*self.args, *[named.pop(name) for name in self.order])
        return args, named

    def runs_again(self) -> bool:
        """Say whether a loop may run this map again, so that entries of its items have to be counted on."""
        if self.again is None:
            blueprint, number = self.frame.activation.blueprint, self.frame.block.source(self.i)
            blocks = blueprint.all_states().items()
            jumps = blueprint.graph.jumps.items()
            self.again = (
                self.frame.loop is not None
                or any(at != number and number in (block.local or ()) for at, block in blocks)
                or any(at != number and number in routes.values() for at, routes in jumps)  # a way out of their loops
            )
        return self.again

    # --- results

    def make_places(self, count: int) -> None:
        """Have a place for the results of so many items."""
        results = self.results
        if results is not None and len(results) < count:
            results.extend([NOTHING] * (count - len(results)))

    def deliver(self, first: int, values: list[Any], missing: int = 0) -> None:
        """Hand on the results of items that follow each other; so many of them are NOTHING, and still to come."""
        self.done += len(values) - missing
        results = self.results
        if results is not None:
            end = first + len(values)
            if first == len(results):
                if len(values) > first and not self.sinks:
                    values[:0], self.results = results, values  # to copy the shorter one is enough
                else:
                    results += values
            elif end - first == 1 and end <= len(results):
                results[first] = values[0]
            else:
                self.make_places(end)
                results[first:end] = values
        for sink in self.sinks:
            _put(sink, first, values) if missing else sink.put(first, values)

    def failure(self, index: int, values: tuple[Any, ...], failure: NodeFailure) -> Any:
        """Return what stands for an item that failed; raise if the map fails with it."""
        errors, error = self.node.errors, failure.error
        if errors.on_error == "raise" or not isinstance(error, (Exception, asyncio.CancelledError)):
            try:
                raise failure
            finally:
                del failure, error  # the traceback leads here
        for other in failure.others:
            note_more(error, f"besides, another node failed: {spelled(other)}")
        self.failed += 1
        self.last = failure
        self.check_errors(False)
        outcome: Any = SKIPPED
        if errors.on_error != "skip":
            _begin_in_the_task(error)
            outcome = Failed(error, index, {**self.same, **dict(zip(self.node.each, values, strict=True))})
        if self.run.journal is not None:
            self.run.journal.keep_outcome(Call(self.frame, self.i, f"[{index}]"), outcome)
        return outcome

    def known(self, value: Any) -> Any:
        """Return what an earlier start of the run has recorded of an item; count it if that has failed."""
        if value is SKIPPED or value.__class__ is Failed:
            self.failed += 1
        return value

    def check_errors(self, at_end: bool) -> None:
        """Raise the last failure if more items failed than may."""
        last, errors = self.last, self.node.errors
        if last is None or errors.most is None:
            return
        allowed = errors.allowed(self.read if at_end else self.source.count)
        if allowed is not None and self.failed > allowed:
            note_more(
                last.error,
                f"it was the {self.failed}. item to fail of {self.described()}, which max_errors={errors.most} does "
                "not allow",
            )
            raise last

    def described(self) -> str:
        """Return which map this is and where it was declared."""
        return f"the map {self.run.described(Call(self.frame, self.i))}"

    def resized(self) -> NodeFailure:
        """Return the failure of a map over a list that has another length than before."""
        error = RuntimeError("the list changed its size while it was mapped over")
        return self.run.failure_at(Call(self.frame, self.i), error)

    def count_lost(self) -> None:
        """Count the items that failed, for who looks when the run is over; a loop may have the same map again."""
        name = Call(self.frame, self.i).instance(self.run.names).site_of("").task_id
        failed, read, _ = self.run.lost.get(name, (0, 0, False))
        self.run.lost[name] = failed + self.failed, read + self.read, self.node.errors.on_error == "skip"

    def warn(self) -> None:
        """Say that items were left out."""
        if self.run.bus.wants(RunWarning):
            message = f"{self.failed} of the {self.read} items of {self.described()} failed and were left out"
            self.run.bus.publish(RunWarning(run_id=self.run.id, code="ItemsSkipped", message=message))

    def let_go(self) -> None:
        """Let go of all items and results, once the map is over and has given its list."""
        self.results = self.last = self.room = self.told = None
        self.sinks = []
        self.queue.clear()
        self.args, self.same = (), {}
        self.source = Source(self.source.count)
        self.scope.forget()

    # --- the next map

    def takers(self, is_over: bool = False) -> list[tuple[int, int, dict[str, Giver]]]:
        """Return the maps that wait and could begin: where they wait, and the maps under way that they need.

        Args:
            is_over: this map is done, so that who waits for it will be woken: only those that wait for another one.
        """
        frame, waiters = self.frame, self.frame.waiters
        if not waiters or self.results is None or not self.is_read_by_maps():
            return []
        found = []
        for j in self.readers().by_maps[self.i]:
            at = next((at for at in frame.block.references(j) if (frame, j) in waiters.get(at, ())), None)
            if (
                at is not None
                and not (is_over and at == self.i)
                and (givers := givers_of(self.run.under_way, frame, j)) is not None
            ):
                found.append((j, at, givers))
        return found

    def flow_out(self) -> Pipe:
        """Return a pipe that has the results so far, and will have the others."""
        pipe = Pipe(self, self.tell, self.node.errors.on_error == "skip", self.is_fed)
        results = self.results
        assert results is not None
        self.sinks.append(pipe)
        _put(pipe, 0, results)
        if self.readers().counts[self.i] == 1:
            self.results = None
        return pipe


def _put(sink: Pipe | ResultSink, first: int, values: list[Any]) -> None:
    """Put results into a sink, but for those that are still to come."""
    for is_missing, found in groupby(values, key=partial(is_, NOTHING)):
        several = list(found)
        if not is_missing:
            sink.put(first, several)
        first += len(several)


def _begin_in_the_task(error: BaseException) -> None:
    """Have a traceback that is kept begin in what the user wrote: the engine's frames hold what the map is at."""
    where = error.__traceback__
    while where is not None and where.tb_frame.f_globals.get("__name__", "").startswith(ENGINE):
        where = where.tb_next
    BaseException.with_traceback(error, where)  # a class of the user's may allow nothing else
