"""What is going on in an event loop, found by looking: it costs a run nothing until somebody asks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

from cascade.runtime.compiled.root import run_piece, run_whole
from cascade.runtime.frames.call import Call
from cascade.runtime.interpreter.interpreter import run_ready
from cascade.runtime.interpreter.scheduler import drive
from cascade.runtime.loops.follower import Follower
from cascade.runtime.maps.calls import perform as perform_item
from cascade.runtime.maps.runner import run_map
from cascade.runtime.policies.attempts import _Attempts, invoke, perform
from cascade.runtime.policies.subflow import run_once, run_subflow
from cascade.runtime.run.state import RunState

__all__ = ["call_at", "calls_of", "call_in", "running_calls"]

Found = tuple[RunState, Call] | None
"""The call that a piece of running code is at; None: none of its own."""


def running_calls(loop: asyncio.AbstractEventLoop, here: FrameType | None = None) -> list[tuple[RunState, str]]:
    """Return the calls that are going on, as (run, description), each once.

    Args:
        loop: where to look, on its thread.
        here: where the thread itself is, for a call in place.
    """
    found: dict[tuple[str, str], tuple[RunState, str]] = {}
    for frames in (_stack(here), *(_awaits(task.get_coro()) for task in asyncio.all_tasks(loop))):
        at = _innermost(frames)
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
    found = _innermost(_stack(here))
    return None if found is None else found[0].described(found[1])


def call_in(task: asyncio.Task[Any]) -> Found:
    """Return the call of some run that an asyncio task is in; None: it is in none."""
    if task is asyncio.current_task():
        return _innermost(_stack(sys._getframe()))
    return _innermost(_awaits(task.get_coro()))


def _stack(frame: FrameType | None) -> Iterable[FrameType]:
    """Return the frames of running code, outermost first."""
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return reversed(frames)


def _awaits(coroutine: Any) -> Iterator[FrameType]:
    """Go through the frames of a coroutine that waits, outermost first."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None:
            yield frame
        coroutine = getattr(coroutine, "cr_await", None)


def _innermost(frames: Iterable[FrameType]) -> Found:
    found: Found = None
    around: dict[str, Any] = {}
    for frame in frames:
        if frame.f_code in (run_whole.__code__, run_piece.__code__):
            around = frame.f_locals
        elif around and frame.f_code is around["code"].function.__code__:
            found = _in_straight_code(around, frame.f_lineno)
        look = _KNOWN.get(frame.f_code)
        if look is not None:
            try:
                found = look(frame.f_locals)
            except KeyError:  # it has not come so far
                found = None
    return found


def _at_register(known: dict[str, Any]) -> Found:
    return None if known["i"] < 0 else (known["run"], Call(known["frame"], known["i"]))


def _in_straight_code(around: dict[str, Any], line: int | None) -> Found:
    """Return which call of an emitted function is going on, by its line."""
    run = around["run"]
    place = around["code"].places.get(line)
    if place is None or place.register < 0 or place.is_over:
        return None
    frame = around["frame"] or run.frame_of(around["activation"])
    return run, Call(frame, place.register)


def _at_call(known: dict[str, Any]) -> Found:
    return known["run"], known["call"]


def _attempts(known: dict[str, Any]) -> Found:
    attempts = known["self"]
    return None if attempts.started is None else (attempts.run, attempts.call)


_KNOWN: dict[Any, Callable[[dict[str, Any]], Found]] = {
    run_ready.__code__: _at_register,
    drive.__code__: _at_register,
    perform.__code__: _at_register,
    invoke.__code__: _at_call,
    Follower.follow.__code__: lambda known: (known["run"], known["self"].call),
    perform_item.__code__: _at_call,
    _Attempts.run_all.__code__: _attempts,
    run_map.__code__: lambda known: None,  # its items are tasks of their own
    run_subflow.__code__: lambda known: None,
    run_once.__code__: lambda known: None,
}
