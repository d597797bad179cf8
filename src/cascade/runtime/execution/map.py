"""The runner of a map goes through its items, from wherever they come to wherever their results go.

A map is a source of items (a list, columns, a stream, the results of another map), a way to call for them, and sinks
for the results (a list, a map that reads them, somebody who takes them one by one). `run_map` opens the source, then
goes on in rounds: it takes as many items as may be read now, calls for them the quickest way there is, and waits only
where it must.

A call of a short function costs about 50 ns, so nearly nothing has room beside it: no coroutine an item, no object,
no entry in a queue. Hence there are several ways, and the best that fits is taken, anew for each batch: a comprehension
over all that is left, which can wait where it stands, or over a block of it (both in `comprehension`), item by item in
place, or a child of the map's scope for each item that takes time (both in `map_items`). The last is the meaning; it is
also what is taken where a limit or a policy is for the calls.

The alternative is an asyncio task for each item, as `gather` makes: the price of a hundred short calls and more, and
objects for the garbage collector to visit. To collect results in a list with `append` instead of by a comprehension
was 9 to 14 % slower for a million items. The price of what is here: a comprehension gives its results only when it
ends, so it ends early where another map could begin with what is there (docs/decisions/blocks-of-items.md).
"""

from __future__ import annotations

import asyncio
from typing import Any

from cascade.errors import StateError
from cascade.runtime.execution.map_items import call_in_place, offer, resume_map, start_all
from cascade.runtime.frames.call import Call, at_none
from cascade.runtime.frames.frame import NOTHING, PENDING, Frame
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.frames.started import MapStarted, close
from cascade.runtime.maps.comprehension import Comprehension
from cascade.runtime.maps.pipes import Pipe, PipeSource
from cascade.runtime.maps.sinks import ResultSink
from cascade.runtime.maps.sources import EVERYTHING, Batch, ColumnSource, IteratorSource, source_of
from cascade.runtime.maps.state import LARGEST_BLOCK, MapState
from cascade.runtime.run.state import RunState
from cascade.spec.marks import SKIPPED
from cascade.spec.notes import note_more, spelled
from cascade.spec.readable import readable

__all__ = ["run_map"]

FIRST_BLOCK = 64


@readable(place=at_none)
async def run_map(
    run: RunState, frame: Frame, i: int, args: Any, kwargs: dict[str, Any], started: Any = PENDING
) -> Any:
    """Call the task of map `i` for each item; return the list of results.

    Args:
        args: what goes by position to every call (the receiver of a method).
        kwargs: by name, what is the same for every call and what is iterated; PENDING where the results of another
            map flow in.
        started: what was given for the first items, or all, where it was called for them already.
    """
    state = MapState(run, frame, i, args, kwargs)
    try:
        _open(state, {name: kwargs[name] for name in state.node.each})
    except Exception as error:
        close(started)
        raise run.failure_at(Call(frame, i), error) from None
    try:
        return await _run_all(state, None if started is PENDING else started)
    finally:
        state.let_go()


def _open(state: MapState, values: dict[str, Any]) -> None:
    """Find out where the items come from and where the results go."""
    run, node, place = state.run, state.node, (state.frame, state.i)
    result_sink: ResultSink | None = run.result_sink
    if result_sink is not None and result_sink.node is node and state.frame is state.frame.activation.root:
        result_sink.drained, result_sink.is_held_up = state.tell, state.is_held_up
        state.has_result_sink = True
        state.sinks.append(result_sink)
        state.results = None
        state.limit_reading()
    pipes: dict[str, Pipe] | None = run.pipes.pop(place, None) if run.pipes else None
    if pipes is None:
        state.source = source_of(node, values, node.kwargs or {}, run.ticker)
        if state.source.count is None:
            state.limit_reading()
        return
    state.is_fed = True
    state.source = PipeSource(node.task, values, pipes, state.wait_for, state.tell)
    for pipe in pipes.values():
        if pipe.giver.window is not None:
            state.limit_reading()
        elif state.window is not None and pipe.giver.results is None:
            pipe.giver.limit_reading(state.window)


async def _run_all(state: MapState, started: MapStarted | None) -> Any:
    run, place = state.run, (state.frame, state.i)
    state.scope.begin()
    run.under_way[place] = state
    try:
        if started is not None:
            await resume_map(state, started.values)
        if started is None or not started.is_all:
            await _spread(state)
        if state.done < state.read:
            offer(state)
        await state.scope.join()
        state.check_errors(True)
        if state.frame.waiters:
            offer(state, is_over=True)
        for sink in state.sinks:
            if isinstance(sink, Pipe):
                sink.close()
    except BaseException as error:
        ending = await state.scope.close(error)
        await _close(state, ending)
        try:
            if ending is error:
                raise
            raise ending from None
        finally:
            del ending  # its traceback leads here
    finally:
        del run.under_way[place]
        if state.failed:
            state.count_lost()
    if state.lacks:
        return NOTHING
    if state.failed and state.node.errors.on_error == "skip":
        state.warn()
        return [value for value in state.results or () if value is not SKIPPED]
    return state.results or []


def _look_at_items(state: MapState, batch: Batch | None) -> None:
    """Have a journal see whether a stream gives the items that it gave before."""
    call = Call(state.frame, state.i)
    try:
        if batch is None:
            state.run.journal.look_at_end(call, state.read)
        else:
            state.run.journal.look_at_items(call, batch)
    except StateError as error:
        raise state.run.failure_at(call, error) from None


async def _close(state: MapState, error: BaseException) -> None:
    """Close the source after an error."""
    try:
        await state.source.close(state.run.engine.thread_grace)
    except Exception as other:
        noted = error.error if isinstance(error, NodeFailure) else error
        note_more(noted, f"besides, an input of a map failed when it was closed: {spelled(other)}")


async def _spread(state: MapState) -> None:
    """Go through the items: in place while calls are short and nothing has to be waited for."""
    run, form, source = state.run, state.form, state.source
    gate = state.gate
    policy = form.task.needs or (gate is not None and (gate.terms.is_policy or gate.terms.selector is not None))
    in_place = run.inline and not policy
    measures = in_place and run.direct and form.inline is None and form.task.mode == "auto" and not form.is_async
    may_wait = is_alone = not isinstance(source, ColumnSource)
    comprehension = Comprehension(state)
    size = 1 if measures else FIRST_BLOCK
    while True:
        room = state.room_left()
        if room <= 0:
            offer(state)
            await state.wait_for(state.has_room)
            room = state.room_left()
        if may_wait:
            offer(state)
            if is_alone and state.read:
                is_alone = False
                if state.results is not None and state.is_read_by_maps():
                    await asyncio.sleep(0)  # what else flows into the map that reads this begins, and offers itself
                    continue
        try:
            batch = await source.read(EVERYTHING if in_place and state.may_take_all(state.read) else min(size, room))
        except BaseException as error:
            run.check_failed(Call(state.frame, state.i, "", state.scope), error)
            raise
        state.scope.check()  # the source may not have minded a cancel
        if run.journal is not None and isinstance(source, IteratorSource):
            _look_at_items(state, batch)
        if batch is None:
            return
        count = batch.end - batch.at
        state.read += count
        if in_place and form.inline is not None and not run.governs(form):
            await call_in_place(state, comprehension, batch)
        elif count:
            await start_all(state, batch)
            if state.may_block():
                await run.turn()  # so that it is seen how many have to wait
        if measures and count:
            measures = False
            if not form.profile.measured:
                offer(state)
                await run.wait_for_measure(form.profile)
        if run.ticker.due:
            offer(state)
            await run.turn()
        size = min(max(size * 4, FIRST_BLOCK), LARGEST_BLOCK)
