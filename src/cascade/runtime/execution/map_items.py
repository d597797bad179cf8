"""Calls: the items of a map in place, many in one comprehension or one by one, or each in a coroutine of its own."""

from __future__ import annotations

from collections import deque
from typing import Any

from cascade.compiler.transition_profile import TransitionProfile
from cascade.runtime.execution.scheduler import drive
from cascade.runtime.frames.call import Call, at_call, at_item
from cascade.runtime.frames.frame import NOTHING, PENDING
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.frames.started import MapStarted
from cascade.runtime.interpreter.results import is_signal
from cascade.runtime.maps.comprehension import Comprehension
from cascade.runtime.maps.sources import Batch, ColumnSource
from cascade.runtime.maps.state import MapState
from cascade.spec.readable import readable

__all__ = ["call_in_place", "offer", "perform", "start_all", "resume_map"]

# --- calls in place


async def call_in_place(state: MapState, comprehension: Comprehension, batch: Batch) -> None:
    """Call for a batch of items; what cannot be called in place any more is started."""
    run, form, ticker, source = state.run, state.form, state.run.ticker, state.source
    while ticker.late:
        await run.turn()
    ticker.begin()
    while batch.at < batch.end:
        if batch.is_all and isinstance(source, ColumnSource) and not state.may_take_all(batch.at):
            source.at = state.read = batch.at  # to be read in blocks
            return
        if form.inline is None or run.governs(form):
            await start_all(state, batch)
            return
        if state.one_by_one or run.observed or batch.end - batch.at == 1:
            call_each(state, batch)
        else:
            values, marked = await comprehension.call(batch)
            hand_on(state, batch, values, marked)
            del values
        if ticker.due:
            ticker.caught(form)
            offer(state)
            await run.turn()
            ticker.begin()


async def resume_map(state: MapState, values: list[Any]) -> None:
    """Go on with a map whose function was called for all items, and returned signals among the values."""
    try:
        batch = await state.source.read(len(values))
        if batch is None or batch.end != len(values):
            raise state.resized()
    except BaseException:
        MapStarted(values).close()
        raise
    state.read += len(values)
    hand_on(state, batch, values, [(at, value) for at, value in enumerate(values) if is_signal(value)])


def hand_on(state: MapState, batch: Batch, values: list[Any], marked: list[tuple[int, Any]]) -> None:
    """Hand on the results of the next items of a batch; follow those that are more than values."""
    at, first = batch.at, batch.first + batch.at
    batch.at += len(values)
    for position, _ in marked:
        values[position] = NOTHING
    state.deliver(first, values, len(marked))
    for position, signal in marked:
        arguments = tuple([column[at + position] for column in batch.columns])
        state.scope.start(perform, state, first + position, arguments, signal)


@readable("state", "index", place=lambda known: at_item(known["state"], known["index"]))
def call_each(state: MapState, batch: Batch) -> None:
    """Call for the items of a batch one by one, until a tick."""
    run, form, function = state.run, state.form, state.form.inline
    assert function is not None
    since = batch.first + batch.at
    out: list[Any] = []
    try:
        while batch.at < batch.end and not (run.ticker.due and out):
            index = batch.first + batch.at
            values = tuple([column[batch.at] for column in batch.columns])
            batch.at += 1
            args, kwargs = state.arguments(values)
            call = Call(state.frame, state.i, f"[{index}]") if run.observed else None
            if run.journal is not None and run.journal.is_asked:
                value, is_apart = run.journal.of_call(call)
                if value is not PENDING:
                    out.append(state.known(value))
                    continue
                if is_apart:
                    state.deliver(since, out)
                    since, out = index + 1, []
                    state.scope.start(perform, state, index, values)
                    continue
            try:
                value = function(*args, **kwargs) if call is None else run.observe_call(call, function, args, kwargs)
            except BaseException as error:
                call = call or Call(state.frame, state.i, f"[{index}]")
                value = state.failure(index, values, run.failure_at(call, error))
            if value.__class__ is not form.seen:
                if is_signal(value):
                    state.deliver(since, out)
                    since, out = index + 1, []
                    state.scope.start(perform, state, index, values, value)
                    continue
                form.seen = value.__class__
            out.append(value)
    finally:
        if out:
            state.deliver(since, out)
        out, value = [], None  # what failed keeps this frame


# --- calls that take time


async def start_all(state: MapState, batch: Batch) -> None:
    """Start the items of a batch, or queue them where only so many may run at once."""
    run, first, limit, profile = state.run, batch.first, state.limit, state.run.operations.items_begin(state)
    state.make_places(first + batch.end)
    while batch.at < batch.end:
        index = first + batch.at
        values = tuple([column[batch.at] for column in batch.columns])
        batch.at += 1
        if profile is not None and limit is None:
            state.scope.start(perform_loop, state, index, values, profile)
        elif limit is None:
            state.scope.start(perform, state, index, values)
            if run.ticker.due:
                offer(state)
                await run.turn()
        else:
            state.queue.append((index, values))
            if state.workers < limit:
                state.workers += 1
                state.scope.start(work, state, state.queue)


async def work(state: MapState, queue: deque[tuple[int, tuple[Any, ...]]]) -> None:
    """One of as many as may run at once: take the next item until there is none."""
    while queue:
        state.scope.check()
        await perform(state, *queue.popleft())
    state.workers -= 1


def offer(state: MapState, is_over: bool = False) -> None:
    """Let maps begin that wait for this one, or for another that they read beside, and nothing else."""
    run, frame = state.run, state.frame
    for j, at, givers in state.takers(is_over):
        waiting = frame.waiters[at]
        waiting.remove((frame, j))
        if not waiting:
            del frame.waiters[at]
        run.pipes[frame, j] = {name: giver.flow_out() for name, giver in givers.items()}
        frame.scope.start(drive, run, frame, j, PENDING)


@readable("run", "call", place=at_call)
async def perform(state: MapState, index: int, values: tuple[Any, ...], started: Any = NOTHING) -> None:
    """Carry out one item, with its loop if it is bound."""
    run, form, gate = state.run, state.form, state.gate
    args, kwargs = state.arguments(values)
    call = Call(state.frame, state.i, f"[{index}]", state.scope)
    suffix = call.suffix
    instance = call.instance(run.names)
    if (gate is not None and gate.terms.selector is not None) or instance.items.get(suffix):
        if started is NOTHING or not run.observed:
            call.enter(instance)
        else:  # it was counted when it was begun
            call.enter_more(instance, 0)
            call.entered = True
    value = started
    try:
        if (recorded := run.operations.item) is not None:
            value = await recorded(state, call, args, kwargs, started)
        elif started is NOTHING:
            value = await run.operations.call(run, call, form, args, kwargs, gate)
        if is_signal(value):
            loop = run.operations.loop(run, call, value, form, args, kwargs, gate, (args, kwargs))
            value = await loop.follow()
    except NodeFailure as failure:
        value = state.failure(index, values, failure)
    _end(state, index, call, value)
    value = None  # what failed keeps this frame


@readable(
    *("run", "frame", "i", "state", "index", "known", "compiled", "outcome"),
    place=lambda known: at_item(known["state"], known["index"]),
)
async def perform_loop(state: MapState, index: int, values: tuple[Any, ...], profile: TransitionProfile) -> None:
    """Carry out one item whose loop is known: nothing of it is made but what it runs, as long as that will do."""
    run, frame, i = state.run, state.frame, state.i
    begun = run.operations.start_item(state, values, profile, None)
    if begun is None:
        await perform(state, index, values)
        return
    outcome = failure = None
    compiled: Any
    guards: Any
    while begun is not None:
        (compiled, guards, known), begun = begun, None
        try:
            outcome = await compiled
        except BaseException as error:
            failure = error
        compiled = None
        if guards.is_retired:
            run.look()
        elif run.ticker.due and failure is None:
            await run.turn()
            begun = run.operations.start_item(state, values, profile, outcome)
    call = Call(frame, i, f"[{index}]", state.scope)
    try:
        value = run.operations.finish_item(state, values, call, known, outcome, failure)
        compiled = guards = outcome = failure = None
        if value.__class__ is run.operations.loop:
            value = await value.follow()
    except NodeFailure as other:
        value = state.failure(index, values, other)
    _end(state, index, call, value)
    value = None  # what failed keeps this frame


def _end(state: MapState, index: int, call: Call, value: Any) -> None:
    """Hand on what an item gave."""
    instance = call.instance(state.run.names)
    if instance.items and not state.runs_again():
        instance.items.pop(call.suffix, None)
    if value is NOTHING:
        state.lacks = True
        state.done += 1
    else:
        state.deliver(index, [value])
    if state.frame.waiters:
        offer(state)
    if state.room is not None:
        state.tell()
