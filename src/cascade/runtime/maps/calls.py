"""Calls: the items of a map in place, block by block, or each in a coroutine of its own."""

from __future__ import annotations

from collections import deque
from types import CoroutineType
from typing import Any

from cascade.runtime.frames.call import Spot
from cascade.runtime.frames.frame import NOTHING
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.frames.started import Called
from cascade.runtime.interpreter.results import is_signal
from cascade.runtime.loops.follower import follow
from cascade.runtime.maps.comprehension import Sweep
from cascade.runtime.maps.sources import Batch
from cascade.runtime.maps.state import Items

__all__ = ["call_in_place", "perform", "start_all", "take_over"]

# --- calls in place


async def call_in_place(items: Items, batch: Batch) -> None:
    """Call for a batch of items, block by block; what cannot be called in place any more is started."""
    run, form, ticker = items.run, items.form, items.run.ticker
    while ticker.late:
        await run.turn()
    ticker.begin()
    while batch.at < batch.end:
        if batch.is_all and not items.may_sweep(batch.at) and items.source.give_back(batch):
            items.read -= batch.end - batch.at
            return
        if form.inline is None or run.governs(form):
            await start_all(items, batch)
            return
        if run.observed or items.caller.places is None or items.node.errors.on_error != "raise":
            call_each(items, batch)
        elif batch.is_all:
            await sweep(items, batch)
        else:
            call_block(items, batch)
        if ticker.due:
            ticker.caught(form)
            items.offer()
            await run.turn()
            ticker.begin()


async def sweep(items: Items, batch: Batch) -> None:
    """Call for the items of a batch, as far as that goes, and put the results where they belong."""
    sweep = Sweep(items, batch)
    batch.at += sweep.hand_on(await sweep.run())
    if batch.at > batch.end or (batch.at < batch.end and not sweep.is_ended):
        raise _resized(items)
    items.form.seen = items.caller.seen
    items.done -= len(sweep.marked)
    for position, signal in sweep.marked:
        items.scope.start(perform, items, position, (batch.columns[0][position],), signal)


def call_block(items: Items, batch: Batch) -> None:
    """Call for the items of a batch, until a tick ends it."""
    caller, ticker = items.caller, items.run.ticker
    at, end = batch.at, batch.end
    slices = [column[at:end] for column in batch.columns]
    first = slices[0]
    turn: list[Any] = first if first.__class__ is list else list(first)
    if len(turn) < end - at:
        raise _resized(items)
    ticker.turn = turn
    waiting: Any = iter(turn)
    out: list[Any] | None = [] if items.has_outlet else None
    try:
        values = caller.call(items.form.inline, waiting, slices[1:], out)
    except BaseException as error:
        for signal in caller.signals:
            if signal.__class__ is CoroutineType:
                signal.close()  # what a function returned, and nobody will await
        if out:
            items.deliver(batch.first + at, [value for value in out if not is_signal(value)])
        spot = Spot(items.frame, items.i, f"[{batch.first + at + waiting.__reduce__()[2] - 1}]")
        raise items.run.failure_at(spot, error) from None
    finally:
        ticker.turn = None
    batch.at += len(values)
    if caller.odds:
        items.form.seen = caller.seen
    if not caller.signals:
        items.deliver(batch.first + at, values)
        return
    deliver_mixed(items, batch, at, values)


async def take_over(items: Items, values: list[Any]) -> None:
    """Go on with a map whose function was called for all items, and returned signals among the values."""
    try:
        batch = await items.source.read(len(values))
        if batch is None or batch.end != len(values):
            raise _resized(items)
    except BaseException:
        Called(values).close()
        raise
    items.read += len(values)
    deliver_mixed(items, batch, 0, values)


def deliver_mixed(items: Items, batch: Batch, at: int, values: list[Any]) -> None:
    """Hand on the results of items from position `at` of a batch on; follow those that are more than values."""
    plain = 0
    for position, value in enumerate(values):
        if is_signal(value):
            if plain < position:
                items.deliver(batch.first + at + plain, values[plain:position])
            plain = position + 1
            arguments = tuple(column[at + position] for column in batch.columns)
            items.scope.start(perform, items, batch.first + at + position, arguments, value)
    if plain < len(values):
        items.deliver(batch.first + at + plain, values[plain:])


def _resized(items: Items) -> NodeFailure:
    error = RuntimeError("the list changed its size while it was mapped over")
    return items.run.failure_at(Spot(items.frame, items.i), error)


def call_each(items: Items, batch: Batch) -> None:
    """Call for the items of a batch one by one, until a tick."""
    run, form, call = items.run, items.form, items.form.inline
    assert call is not None
    begun = batch.first + batch.at
    out: list[Any] = []
    try:
        while batch.at < batch.end and not (run.ticker.due and out):
            index = batch.first + batch.at
            values = tuple([column[batch.at] for column in batch.columns])
            batch.at += 1
            args, kwargs = items.arguments(values)
            try:
                if run.observed:
                    value = run.observe_call(Spot(items.frame, items.i, f"[{index}]"), call, args, kwargs)
                else:
                    value = call(*args, **kwargs)
            except BaseException as error:
                spot = Spot(items.frame, items.i, f"[{index}]")
                value = items.failure(index, values, run.failure_at(spot, error))
            if value.__class__ is not form.seen:
                if is_signal(value):
                    items.deliver(begun, out)
                    begun, out = index + 1, []
                    items.scope.start(perform, items, index, values, value)
                    continue
                form.seen = value.__class__
            out.append(value)
    finally:
        if out:
            items.deliver(begun, out)
        out, value = [], None  # what failed keeps this frame


# --- calls that take time


async def start_all(items: Items, batch: Batch) -> None:
    """Start the items of a batch, or queue them where only so many may run at once."""
    run, first, limit = items.run, batch.first, items.limit
    items.make_places(first + batch.end)
    while batch.at < batch.end:
        index = first + batch.at
        values = tuple([column[batch.at] for column in batch.columns])
        batch.at += 1
        if limit is None:
            items.scope.start(perform, items, index, values)
            if run.ticker.due:
                items.offer()
                await run.turn()
        else:
            items.queue.append((index, values))
            if items.workers < limit:
                items.workers += 1
                items.scope.start(work, items, items.queue)


async def work(items: Items, queue: deque[tuple[int, tuple[Any, ...]]]) -> None:
    """One of as many as may run at once: take the next item until there is none."""
    while queue:
        items.scope.check()
        await perform(items, *queue.popleft())
    items.workers -= 1


async def perform(items: Items, index: int, values: tuple[Any, ...], begun: Any = NOTHING) -> None:
    """Carry out one item, with its loop if it is bound."""
    run, form, gate = items.run, items.form, items.gate
    args, kwargs = items.arguments(values)
    spot = Spot(items.frame, items.i, f"[{index}]", items.scope)
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
        value = items.failure(index, values, failure)
    if copy.items and not items.runs_again():
        copy.items.pop(suffix, None)
    if value is NOTHING:
        items.lacks = True
        items.done += 1
    else:
        items.deliver(index, [value])
        value = None  # what failed keeps this frame
    if items.frame.waiters:
        items.offer()
    if items.room is not None:
        items.tell()
