"""Items: a map goes through its items, from wherever they come to wherever their results go."""

from __future__ import annotations

from typing import Any

from cascade.runtime.frames.call import Spot
from cascade.runtime.frames.frame import NOTHING, PENDING, Frame
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.frames.started import Called, close
from cascade.runtime.maps.calls import call_in_place, start_all, take_over
from cascade.runtime.maps.pipes import Flow, Flows
from cascade.runtime.maps.sinks import SKIPPED, Outlet
from cascade.runtime.maps.sources import EVERYTHING, Columns, source_of
from cascade.runtime.maps.state import LARGEST_BLOCK, Items
from cascade.runtime.run.state import RunState
from cascade.spec.notes import note_more, spelled

__all__ = ["run_map"]

FIRST_BLOCK = 64


async def run_map(run: RunState, frame: Frame, i: int, args: Any, kwargs: dict[str, Any], begun: Any = PENDING) -> Any:
    """Call the task of map `i` for each item; return the list of results.

    Args:
        args: what goes by position to every call (the receiver of a method).
        kwargs: by name, what is the same for every call and what is iterated; PENDING where the results of another
            map flow in.
        begun: what emitted code was given for all items, if it has called for them already.
    """
    items = Items(run, frame, i, args, kwargs)
    try:
        _open(items, {name: kwargs[name] for name in items.node.each})
    except Exception as error:
        close(begun)
        raise run.failure_at(Spot(frame, i), error) from None
    try:
        return await _run_all(items, None if begun is PENDING else begun)
    finally:
        items.let_go()


def _open(items: Items, values: dict[str, Any]) -> None:
    """Find out where the items come from and where the results go."""
    run, node, place = items.run, items.node, (items.frame, items.i)
    outlet: Outlet | None = run.outlet
    if outlet is not None and outlet.node is node and items.frame is items.frame.world.root:
        outlet.drained, outlet.is_held_up = items.tell, items.is_held_up
        items.has_outlet = True
        items.sinks.append(outlet)
        items.results = None
        items.limit_reading()
    flows: dict[str, Flow] | None = run.flows.pop(place, None) if run.flows else None
    if flows is None:
        items.source = source_of(node, values, node.kwargs or {}, run.ticker)
        if items.source.count is None:
            items.limit_reading()
        return
    items.is_fed = True
    items.source = Flows(node.task, values, flows, items.wait_for, items.tell)
    for flow in flows.values():
        if flow.giver.window is not None:
            items.limit_reading()
        elif items.window is not None and flow.giver.results is None:
            flow.giver.limit_reading(items.window)


async def _run_all(items: Items, begun: Called | None) -> Any:
    run, place = items.run, (items.frame, items.i)
    items.scope.begin()
    run.under_way[place] = items
    try:
        if begun is None:
            await _spread(items)
        else:
            await take_over(items, begun.values)
        await items.scope.join()
        items.check_errors(True)
        for sink in items.sinks:
            if isinstance(sink, Flow):
                sink.close()
    except BaseException as error:
        ending = await items.scope.close(error)
        await _close(items, ending)
        try:
            if ending is error:
                raise
            raise ending from None
        finally:
            del ending  # its traceback leads here
    finally:
        del run.under_way[place]
        if items.failed:
            items.count_lost()
    if items.lacks:
        return NOTHING
    if items.failed and items.node.errors.on_error == "skip":
        items.warn()
        return [value for value in items.results or () if value is not SKIPPED]
    return items.results or []


async def _close(items: Items, error: BaseException) -> None:
    """Close the source after an error."""
    try:
        await items.source.close(items.run.engine.thread_grace)
    except Exception as other:
        noted = error.error if isinstance(error, NodeFailure) else error
        note_more(noted, f"besides, an input of a map failed when it was closed: {spelled(other)}")


async def _spread(items: Items) -> None:
    """Go through the items: in place while calls are short and nothing has to be waited for."""
    run, form, source = items.run, items.form, items.source
    gate = items.gate
    policy = form.task.needs or (gate is not None and (gate.is_policy or gate.selector is not None))
    in_place = run.inline and not policy
    measures = in_place and run.direct and form.inline is None and form.task.mode == "auto" and not form.is_async
    may_wait = not isinstance(source, Columns)
    size = 1 if measures else FIRST_BLOCK
    while True:
        room = items.room_left()
        if room <= 0:
            items.offer()
            await items.wait_for(items.has_room)
            room = items.room_left()
        if may_wait:
            items.offer()
        try:
            batch = await source.read(EVERYTHING if in_place and items.may_sweep(items.read) else min(size, room))
        except BaseException as error:
            if run.is_asked(error, items.scope):
                raise
            raise run.failure_at(Spot(items.frame, items.i), error) from None
        items.scope.check()  # the source may not have minded a cancel
        if batch is None:
            return
        count = batch.end - batch.at
        items.read += count
        if in_place and form.inline is not None and not run.governs(form):
            await call_in_place(items, batch)
        elif count:
            await start_all(items, batch)
            if items.may_block():
                await run.turn()  # so that it is seen how many have to wait
        if measures and count:
            measures = False
            if not form.profile.measured:
                items.offer()
                await run.wait_for_measure(form.profile)
        if run.ticker.due:
            items.offer()
            await run.turn()
        size = min(max(size * 4, FIRST_BLOCK), LARGEST_BLOCK)
