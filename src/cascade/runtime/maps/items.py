"""Items: one map on its way, from its source to wherever its results go."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import groupby
from types import CoroutineType
from typing import Any

from cascade.runtime.frame import NOTHING, PENDING, Frame
from cascade.runtime.loops import follow
from cascade.runtime.maps.blocks import Caller
from cascade.runtime.maps.flows import Flow, Flows, flowing, is_sole_reader
from cascade.runtime.maps.outlet import SKIPPED, Outlet, Sink
from cascade.runtime.maps.sources import Batch, Source, source_of
from cascade.runtime.run import RunState
from cascade.runtime.schedule import drive
from cascade.runtime.scope import NodeFailure, Scope
from cascade.runtime.signals import is_signal
from cascade.runtime.spot import Spot
from cascade.spec.events import RunWarning
from cascade.spec.graph import Gate
from cascade.spec.layout import order_of
from cascade.spec.lazy import MappedResult
from cascade.spec.outcomes import Failed
from cascade.spec.placement import CallForm

__all__ = ["run_map"]

FIRST_BLOCK = 64
LARGEST_BLOCK = 1 << 12
"""Copies of so many items still fit into the processor's nearer caches."""
DEFAULT_WINDOW = 1000
FEWEST_AHEAD = 64
"""With a concurrency, so many items of a list are at least taken in hand before they can start."""


async def run_map(run: RunState, frame: Frame, i: int, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call the task of map `i` for each item; return the list of results.

    Args:
        args: what goes by position to every call (the receiver of a method).
        kwargs: by name, what is the same for every call and what is iterated; PENDING where the results of another
            map flow in.
    """
    items = _Items(run, frame, i, args, kwargs)
    try:
        items.open({name: kwargs[name] for name in items.node.each})
    except Exception as error:
        raise run.failure_at(Spot(frame, i), error) from None
    return await items.run_all()


class _Items:
    __slots__ = (
        *("again", "ahead", "args", "caller", "done", "failed", "form", "frame", "gate", "has_outlet", "i", "is_fed", "lacks"),
        *("last", "limit", "node", "order", "queue", "read", "results", "room", "run", "same", "scope", "sinks"),
        *("source", "told", "window", "workers"),
    )

    def __init__(self, run: RunState, frame: Frame, i: int, args: Any, kwargs: dict[str, Any]) -> None:
        block = frame.block
        node: MappedResult[Any] = frame.world.blueprint.graph.nodes[block.source(i)]
        self.run, self.frame, self.i, self.node = run, frame, i, node
        self.args = tuple(args)
        self.same = {name: value for name, value in kwargs.items() if name not in node.each}
        self.order, named = order_of(node.task, len(self.args), (*node.each, *self.same))
        self.form: CallForm = node.task.form_of(named)
        self.gate: Gate | None = block.gates.get(i)
        self.caller = Caller(self.args, self.order, node.each, self.same)
        self.scope = Scope()
        self.source: Source
        self.results: list[Any] | None = []
        """None once they go somewhere else and nobody asks for the list."""
        self.sinks: list[Sink] = []
        self.has_outlet = False
        """Somebody iterates over the results: those before a failure are wanted, too."""
        self.is_fed = False
        """The items come from other maps."""
        self.limit = node.concurrency
        self.window: int | None = node.window
        self.read = self.done = self.workers = 0
        """How many items were read, how many are done, how many coroutines take items from the queue."""
        self.queue: deque[tuple[int, tuple[Any, ...]]] = deque()
        self.room: asyncio.Future[None] | None = None
        """What the host waits for, and what it waits to be true."""
        self.told: Callable[[], bool] = self.has_room
        self.failed = 0
        self.last: NodeFailure | None = None
        self.again: bool | None = None
        self.lacks = False
        """Some item has nothing to give."""

    def open(self, values: dict[str, Any]) -> None:
        """Find out where the items come from and where the results go."""
        run, node, place = self.run, self.node, (self.frame, self.i)
        outlet: Outlet | None = run.outlet
        if outlet is not None and outlet.node is node and self.frame is self.frame.world.root:
            outlet.drained = self.tell
            self.has_outlet = True
            self.sinks.append(outlet)
            self.results = None
            self.limit_reading()
        flows: dict[str, Flow] | None = run.flows.pop(place, None) if run.flows else None
        if flows is None:
            self.source = source_of(node, values, node.kwargs or {}, run.ticker)
            if self.source.count is None:
                self.limit_reading()
            return
        self.is_fed = True
        self.source = Flows(node.task, values, flows, self.wait_for, self.tell)
        for flow in flows.values():
            if flow.giver.window is not None:
                self.limit_reading()
            elif self.window is not None and flow.giver.results is None:
                flow.giver.limit_reading(self.window)

    def limit_reading(self, window: int = DEFAULT_WINDOW) -> None:
        """Read only so far ahead, unless it was said how far."""
        if self.window is None:
            self.window = window if self.limit is None else 2 * self.limit

    async def run_all(self) -> Any:
        run, place = self.run, (self.frame, self.i)
        self.scope.begin(run)
        run.under_way[place] = self
        try:
            await self.spread()
            await self.scope.join()
            self.check_errors(True)
            for sink in self.sinks:
                if isinstance(sink, Flow):
                    sink.close()
        except BaseException as error:
            ending = await self.scope.close(error)
            await self.close(ending)
            if ending is error:
                raise
            raise ending from None
        finally:
            del run.under_way[place]
        if self.lacks:
            return NOTHING
        if self.failed and self.node.errors.on_error == "skip":
            self.warn()
            return [value for value in self.results or () if value is not SKIPPED]
        return self.results or []

    async def close(self, error: BaseException) -> None:
        """Close the source after an error."""
        try:
            await self.source.close(self.run.engine.thread_grace)
        except Exception as other:
            noted = error.error if isinstance(error, NodeFailure) else error
            noted.add_note(f"besides, an input of a map failed when it was closed: {type(other).__name__}: {other}")

    # --- from the source

    async def spread(self) -> None:
        """Go through the items: in place while calls are short and nothing has to be waited for."""
        run, form, source = self.run, self.form, self.source
        gate = self.gate
        policy = form.task.needs or (gate is not None and (gate.is_policy or gate.selector is not None))
        in_place = run.inline and not policy
        measures = in_place and run.direct and form.inline is None and form.task.mode == "auto" and not form.is_async
        if source.count is None:
            self.offer()
        size = 1 if measures else FIRST_BLOCK
        while True:
            room = self.room_left()
            if room <= 0:
                self.offer()
                await self.wait_for(self.has_room)
                room = self.room_left()
            try:
                batch = await source.read(min(size, room))
            except Exception as error:
                raise run.failure_at(Spot(self.frame, self.i), error) from None
            if batch is None:
                return
            count = batch.end - batch.at
            self.read += count
            if in_place and form.inline is not None:
                await self.call_in_place(batch)
            elif count:
                await self.start_all(batch)
            if measures and count:
                measures = False
                if not form.profile.measured:
                    self.offer()
                    await run.wait_for_measure(form.profile)
            if run.ticker.due:
                self.offer()
                await run.turn()
            size = min(size * 4, LARGEST_BLOCK)

    def room_left(self) -> int:
        """Return how many more items may be read."""
        window = self.window
        if window is None:
            if self.limit is None:
                return LARGEST_BLOCK
            window = max(2 * self.limit, FEWEST_AHEAD)
        return window - self.pending()

    def pending(self) -> int:
        """Return how many items were read and are not done, or done and not taken."""
        pending = self.read - self.done
        if self.results is None:
            for sink in self.sinks:
                pending += sink.waiting
        return pending

    def has_room(self) -> bool:
        """Say whether it pays to read more: not before half the queue is empty, or half of what waits is taken."""
        room = self.room_left()
        if self.read == self.done or self.queue:
            return room > 0 and room >= self.pending()
        return room > 0

    async def wait_for(self, is_there: Callable[[], bool]) -> None:
        """Wait until something is true that `tell` says may have changed."""
        self.told = is_there
        try:
            await self.scope.wait_until(is_there, self.ask)
        finally:
            self.room = None

    def ask(self, waiter: asyncio.Future[None]) -> None:
        self.room = waiter

    def tell(self) -> None:
        """Wake the host if what it waits for is true now."""
        room = self.room
        if room is not None and not room.done() and self.told():
            room.set_result(None)

    # --- calls in place

    async def call_in_place(self, batch: Batch) -> None:
        """Call for a batch of items, block by block; what cannot be called in place any more is started."""
        run, form, ticker = self.run, self.form, self.run.ticker
        ticker.begin()
        while batch.at < batch.end:
            if form.inline is None:
                await self.start_all(batch)
                return
            if run.observed or self.caller.places is None or self.node.errors.on_error != "raise":
                self.call_each(batch)
            else:
                self.call_block(batch)
            if ticker.due:
                ticker.caught(form)
                self.offer()
                await run.turn()
                ticker.begin()

    def call_block(self, batch: Batch) -> None:
        """Call for the items of a batch, until a tick ends it."""
        caller, ticker = self.caller, self.run.ticker
        at, end = batch.at, batch.end
        slices = [column[at:end] for column in batch.columns]
        first = slices[0]
        turn: list[Any] = first if first.__class__ is list else list(first)
        if len(turn) < end - at:
            error = RuntimeError("the list changed its size while it was mapped over")
            raise self.run.failure_at(Spot(self.frame, self.i), error)
        ticker.turn = turn
        waiting: Any = iter(turn)
        out: list[Any] | None = [] if self.has_outlet else None
        try:
            values = caller.call(self.form.inline, waiting, slices[1:], out)
        except BaseException as error:
            for signal in caller.signals:
                if signal.__class__ is CoroutineType:
                    signal.close()  # what a function returned, and nobody will await
            if out:
                self.deliver(batch.first + at, [value for value in out if not is_signal(value)])
            spot = Spot(self.frame, self.i, f"[{batch.first + at + waiting.__reduce__()[2] - 1}]")
            raise self.run.failure_at(spot, error) from None
        finally:
            ticker.turn = None
        batch.at += len(values)
        if not caller.signals:
            self.deliver(batch.first + at, values)
            return
        for position, value in enumerate(values, at):
            if is_signal(value):
                arguments = tuple(column[position] for column in batch.columns)
                self.scope.start(self.perform, batch.first + position, arguments, value)
            else:
                self.deliver(batch.first + position, [value])

    def call_each(self, batch: Batch) -> None:
        """Call for the items of a batch one by one, until a tick."""
        run, form, call = self.run, self.form, self.form.inline
        assert call is not None
        begun, out = batch.first + batch.at, []
        try:
            while batch.at < batch.end and not (run.ticker.due and out):
                index = batch.first + batch.at
                values = tuple([column[batch.at] for column in batch.columns])
                batch.at += 1
                args, kwargs = self.arguments(values)
                try:
                    if run.observed:
                        value = run.observe_call(Spot(self.frame, self.i, f"[{index}]"), call, args, kwargs)
                    else:
                        value = call(*args, **kwargs)
                except BaseException as error:
                    failure = run.failure_at(Spot(self.frame, self.i, f"[{index}]"), error)
                    value = self.failure(index, values, failure)
                if value.__class__ is not form.seen:
                    if is_signal(value):
                        self.deliver(begun, out)
                        begun, out = index + 1, []
                        self.scope.start(self.perform, index, values, value)
                        continue
                    form.seen = value.__class__
                out.append(value)
        finally:
            if out:
                self.deliver(begun, out)

    def arguments(self, values: tuple[Any, ...]) -> tuple[Any, dict[str, Any]]:
        """Return the arguments of one item, by position where the function allows it."""
        named = dict(zip(self.node.each, values, strict=True))
        named.update(self.same)
        args = (*self.args, *[named.pop(name) for name in self.order])
        return args, named

    # --- calls that take time

    async def start_all(self, batch: Batch) -> None:
        """Start the items of a batch, or queue them where only so many may run at once."""
        run, first, limit = self.run, batch.first, self.limit
        self.make_places(first + batch.end)
        while batch.at < batch.end:
            index = first + batch.at
            values = tuple([column[batch.at] for column in batch.columns])
            batch.at += 1
            if limit is None:
                self.scope.start(self.perform, index, values)
            else:
                self.queue.append((index, values))
                if self.workers < limit:
                    self.workers += 1
                    self.scope.start(self.work, self.queue)
            if run.ticker.due:
                self.offer()
                await run.turn()

    def make_places(self, count: int) -> None:
        """Have a place for the results of so many items."""
        results = self.results
        if results is not None and len(results) < count:
            results.extend([NOTHING] * (count - len(results)))

    async def work(self, queue: deque[tuple[int, tuple[Any, ...]]]) -> None:
        """One of as many as may run at once: take the next item until there is none."""
        while queue:
            await self.perform(*queue.popleft())
        self.workers -= 1

    async def perform(self, index: int, values: tuple[Any, ...], begun: Any = NOTHING) -> None:
        """Carry out one item, with its loop if it is bound."""
        run, form, gate = self.run, self.form, self.gate
        args, kwargs = self.arguments(values)
        spot = Spot(self.frame, self.i, f"[{index}]")
        suffix = spot.suffix
        copy = spot.copy(run.names)
        if (gate is not None and gate.selector is not None) or copy.items.get(suffix):
            if begun is NOTHING or not run.observed:
                spot.enter(copy)
            else:  # it was counted when it was begun
                spot.enter_more(copy, 0)
                spot.entered = True
        value = begun
        try:
            if begun is NOTHING:
                value = await run.invoke(run, spot, form, args, kwargs, gate)
            if is_signal(value):
                value = await follow(run, spot, value, form, args, kwargs, gate, (args, kwargs))
        except NodeFailure as failure:
            value = self.failure(index, values, failure)
        if copy.items and not self.runs_again():
            copy.items.pop(suffix, None)
        if value is NOTHING:
            self.lacks = True
            self.done += 1
        else:
            self.deliver(index, [value])
        if self.frame.waiters:
            self.offer()
        if self.room is not None:
            self.tell()

    def runs_again(self) -> bool:
        """Say whether a loop may run this map again, so that entries of its items have to be counted on."""
        if self.again is None:
            blueprint, number = self.frame.world.blueprint, self.frame.block.source(self.i)
            blocks = blueprint.all_states().items()
            jumps = blueprint.graph.jumps.items()
            self.again = (
                self.frame.loop is not None
                or any(at != number and number in (block.local or ()) for at, block in blocks)
                or any(at != number and number in routes.values() for at, routes in jumps)  # a way out of their loops
            )
        return self.again

    # --- results

    def deliver(self, first: int, values: list[Any]) -> None:
        """Hand on the results of items that follow each other."""
        self.done += len(values)
        results = self.results
        if results is not None:
            end = first + len(values)
            if first == len(results):
                results += values
            elif end - first == 1 and end <= len(results):
                results[first] = values[0]
            else:
                self.make_places(end)
                results[first:end] = values
        for sink in self.sinks:
            sink.put(first, values)

    def failure(self, index: int, values: tuple[Any, ...], failure: NodeFailure) -> Any:
        """Return what stands for an item that failed; raise if the map fails with it."""
        errors, error = self.node.errors, failure.error
        if errors.on_error == "raise" or not isinstance(error, (Exception, asyncio.CancelledError)):
            raise failure
        for other in failure.others:
            error.add_note(f"besides, another node failed: {type(other).__name__}: {other}")
        self.failed += 1
        self.last = failure
        self.check_errors(False)
        if errors.on_error == "skip":
            return SKIPPED
        return Failed(error, index, {**self.same, **dict(zip(self.node.each, values, strict=True))})

    def check_errors(self, at_end: bool) -> None:
        """Raise the last failure if more items failed than may."""
        last, errors = self.last, self.node.errors
        if last is None or errors.most is None:
            return
        allowed = errors.allowed(self.read if at_end else self.source.count)
        if allowed is not None and self.failed > allowed:
            last.error.add_note(
                f"it was the {self.failed}. item to fail of {self.described()}, which max_errors={errors.most} does "
                "not allow"
            )
            raise last

    def described(self) -> str:
        return f"the map {self.run.described(Spot(self.frame, self.i))}"

    def warn(self) -> None:
        """Say that items were left out."""
        if self.run.bus.wants(RunWarning):
            message = f"{self.failed} of the {self.read} items of {self.described()} failed and were left out"
            self.run.bus.publish(RunWarning(run_id=self.run.id, code="ItemsSkipped", message=message))

    # --- the next map

    def offer(self) -> None:
        """Let maps begin that wait for this one and nothing else."""
        frame = self.frame
        waiting = frame.waiters.get(self.i) if frame.waiters else None
        if not waiting or (self.gate is not None and self.gate.selector is not None and self.may_lack()):
            return
        for waiter in [*waiting]:
            if waiter.__class__ is not tuple or waiter[0] is not frame:
                continue
            found = flowing(self.run.under_way, frame, waiter[1])
            if found is not None:
                waiting.remove(waiter)
                frame.looked.pop(waiter[1], None)
                under_way = self.run.under_way
                self.run.flows[waiter] = {name: under_way[frame, at].flow_out() for name, at in found.items()}
                frame.scope.start(drive, self.run, *waiter, PENDING)
        if not waiting:
            del frame.waiters[self.i]

    def may_lack(self) -> bool:
        return self.frame.world.blueprint.skips

    def flow_out(self) -> Flow:
        """Return a flow that has the results so far, and will have the others."""
        flow = Flow(self, self.tell, self.node.errors.on_error == "skip", self.is_fed)
        results = self.results
        assert results is not None
        self.sinks.append(flow)
        first = 0
        for is_missing, values in groupby(results, key=_is_missing):
            found = list(values)
            if not is_missing:
                flow.put(first, found)
            first += len(found)
        if is_sole_reader(self.run.readers, self.frame.block, self.i):
            self.results = None
        return flow


def _is_missing(value: Any) -> bool:
    return value is NOTHING
