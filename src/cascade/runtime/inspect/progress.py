"""How far a run has come, found by looking at its counters: it costs the run nothing until somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import islice
from types import FrameType, MappingProxyType
from typing import Any, NamedTuple

from cascade.adapters.executors.local import QUEUES, LocalExecutor
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import PENDING, Frame, NodeInstance
from cascade.runtime.run.active_calls import awaits, innermost
from cascade.runtime.run.state import RunState
from cascade.spec.blueprint import Block
from cascade.spec.operations import CALLN, MAP, SUBFLOW
from cascade.spec.readable import locals_of

__all__ = ["MapProgress", "RunProgress", "progress_of", "state_of"]

MOST_TASKS = 200
"""So many asyncio tasks are looked into for the names of what is running."""
MOST_COUNTED = 10_000
"""Of more looping items than these the entries are not added up."""


class MapProgress(NamedTuple):
    """How far one map has come."""

    id: str
    done: int
    read: int
    """How many of its items were taken in hand."""
    total: int | None
    """None: a stream, which does not say."""
    failed: int


class RunProgress(NamedTuple):
    """How far a run has come."""

    done: int
    total: int
    """Nodes of the outermost graph that certainly run; 0: not known."""
    loops: dict[str, int]
    """Entries of each loop, by its id."""
    maps: list[MapProgress]
    running: list[str]
    """Ids of calls that are going on."""
    reported: Mapping[str, tuple[float, float | None]] = MappingProxyType({})
    """How far calls that are going on have said that they are (`cs.current().progress`): done, of how many."""
    waiting: Mapping[str, tuple[str, str]] = MappingProxyType({})
    """The calls among `running` that wait in a channel: to "receive" or to "send", and where."""


def state_of(engine: Any) -> RunState | None:
    """Return the run that an engine carries out, the first one of several."""
    states = (run_scope.run for run_scope in engine._active.values())
    return next((state for state in states if state is not None), None)


def progress_of(run: RunState, loop: asyncio.AbstractEventLoop) -> RunProgress:
    """Return how far a run has come; on its loop's thread, between two turns."""
    instances = run.names.instances()
    loops = {instance.site.task_id: count for instance in instances if (count := _entries(instance))}
    maps = [
        MapProgress(_id(run, Call(frame, i)), items.done, items.read, items.source.count, items.failed)
        for (frame, i), items in run.under_way.items()
    ]
    running: dict[str, None] = {}
    waiting: dict[str, tuple[str, str]] = {}
    nodes = (0, 0)
    for task in islice(asyncio.all_tasks(loop), MOST_TASKS):
        frames = list(awaits(task.get_coro()))
        found = innermost(frames)
        if found is not None and found[0] is run and not any(map(_is_queued, frames)):
            running[_id(run, found[1])] = None
            known = locals_of(frames[-1])
            if "doing" in known:  # `Receiving._next`, `Sending._wait_for_room`
                waiting[_id(run, found[1])] = known["doing"], known["line"].name
        for known in map(locals_of, frames):
            if known.get("run") is run:
                if "wanted" in known:  # `scheduler.evaluate`, of a root frame
                    nodes = _nodes(known["frame"]) if nodes == (0, 0) else nodes
                _add_hot(run, known, frames, loops)
    reported = {
        task_id: far
        for instance in instances
        for suffix, far in [*getattr(instance, "reported", {}).items()]
        if (task_id := instance.site_of(suffix).task_id) in running
    }
    return RunProgress(*nodes, loops, maps, sorted(running), reported, waiting)


def _is_queued(frame: FrameType) -> bool:
    """Say whether a call still waits for a thread or a process to take it up."""
    if frame.f_code is LocalExecutor.in_thread.__code__:
        job = locals_of(frame).get("job")
        return job is None or job.state == "waiting"
    return frame.f_code in QUEUES


def _id(run: RunState, call: Call) -> str:
    return call.instance(run.names).site_of(call.suffix).task_id


def _entries(instance: NodeInstance) -> int:
    count: int = instance.entries
    return count + sum(instance.items.values()) if len(instance.items) <= MOST_COUNTED else count


_known: dict[int, tuple[Block, list[int]]] = {}


def _nodes(frame: Frame) -> tuple[int, int]:
    """Return how many nodes of a root frame are done, and how many there are."""
    block = frame.block
    known = _known.get(id(block))
    if known is None or known[0] is not block:
        kinds = block.kinds
        at = [i for i in range(block.strict) if kinds[i] <= CALLN or kinds[i] in (MAP, SUBFLOW)]
        _known.clear()
        known = _known[id(block)] = block, at
    regs = frame.regs
    return sum([regs[i] is not PENDING for i in known[1]]), len(known[1])


def _add_hot(run: RunState, known: dict[str, Any], frames: list[FrameType], loops: dict[str, int]) -> None:
    """Add the entries that an emitted coroutine has not handed over yet: it counts them in its `i`."""
    hot: Any = getattr(known.get("transition"), "hot", None)  # `Follower.follow`
    if known.get("compiled") is not None:  # `scheduler.drive`, `map_items.perform_loop`
        hot = known["known"][1]
    elif known.get("outcome").__class__ is tuple:  # the same; it waits for the event loop's turn
        name = _id(run, Call(known["frame"], known["i"]))
        loops[name] = loops.get(name, 0) + known["outcome"][0] + 1
    for inner in frames if hot else ():
        if inner.f_code is hot.loop.function.__code__:
            name = (
                _id(run, Call(known["frame"], known["i"])) if "frame" in known else known["self"].instance.site.task_id
            )
            loops[name] = loops.get(name, 0) + (inner.f_locals.get("i") or 0)  # as every emitted loop does
