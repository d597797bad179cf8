"""What is going on in an event loop, found by looking: it costs a run nothing until somebody asks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from cascade.runtime.frames.call import Call
from cascade.spec.readable import locals_of, place_in

if TYPE_CHECKING:
    from cascade.runtime.run.state import RunState

__all__ = ["awaits", "call_at", "call_in", "calls_of", "innermost", "running_calls"]

Found: TypeAlias = "tuple[RunState, Call] | None"
"""The run and the call that running code is at; None: it is in none."""


def running_calls(loop: asyncio.AbstractEventLoop, here: FrameType | None = None) -> list[tuple[RunState, str]]:
    """Return the calls that are going on, as (run, description), each once.

    Args:
        loop: where to look, on its thread.
        here: where the thread itself is, for a call in place.
    """
    found: dict[tuple[str, str], tuple[RunState, str]] = {}
    for frames in (_stack(here), *(awaits(task.get_coro()) for task in asyncio.all_tasks(loop))):
        at = innermost(frames)
        if at is not None:
            run, call = at
            described = run.described(call)
            found[run.id, described] = run, described
    return sorted(found.values(), key=lambda one: one[1])


def calls_of(run: RunState) -> list[str]:
    """Return what is going on in one run."""
    return [described for owner, described in running_calls(asyncio.get_running_loop()) if owner is run]


def call_at(here: FrameType | None) -> str | None:
    """Return the call that a piece of running code is in, if it is in one."""
    found = innermost(_stack(here))
    return None if found is None else found[0].described(found[1])


def call_in(task: asyncio.Task[Any]) -> Found:
    """Return the call of some run that an asyncio task is in; None: it is in none."""
    frames = [*_stack(sys._getframe(1))]  # without this one, which would be in a circle with them
    if task is not asyncio.current_task():
        begun = (at for at, frame in enumerate(frames) if locals_of(frame).get("outer") is task)
        frames = frames[: next(begun, 0)]  # what it does is to begin another one
    return innermost(frames or awaits(task.get_coro()))


def _stack(frame: FrameType | None) -> Iterable[FrameType]:
    """Return the frames of running code, outermost first."""
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return reversed(frames)


def awaits(coroutine: object) -> Iterator[FrameType]:
    """Go through the frames of a coroutine that waits, outermost first."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None:
            yield frame
        coroutine = getattr(coroutine, "cr_await", None)


def innermost(frames: Iterable[FrameType]) -> Found:
    """Return the call that running code is in, from its frames, outermost first."""
    found: Found = None
    around: dict[str, Any] = {}
    for frame in frames:
        if around and frame.f_code is around["code"].function.__code__:
            found = _in_straight_code(around, frame.f_lineno)
        known = locals_of(frame)
        if "code" in known:
            around = known
        found = place_in(frame, found)
    return found


def _in_straight_code(around: dict[str, Any], line: int | None) -> Found:
    """Return which call of an emitted function is going on, by its line."""
    run = around["run"]
    place = around["code"].places.get(line)
    if place is None or place.register < 0 or place.is_over:
        return None
    frame = around["frame"] or run.frame_of(around["activation"])
    return run, Call(frame, place.register)
