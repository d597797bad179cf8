"""What is going on in an event loop, found by looking: it costs a run nothing until somebody asks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import Frame
from cascade.spec.operations import LOOP, MAP
from cascade.spec.readable import locals_of, place_in

if TYPE_CHECKING:
    from cascade.runtime.run.state import RunState

__all__ = [
    *("Place", "awaits", "call_at", "call_in", "calls_of", "innermost", "place_here", "place_in_task", "running_calls"),
]

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


def call_in(task: asyncio.Task[Any], run: RunState | None = None) -> Found:
    """Return the call of some run, or of the one given, that an asyncio task is in; None: it is in none."""
    frames = [*_stack(sys._getframe(1))]  # without this one, which would be in a circle with them
    is_here = asyncio._get_running_loop() is task.get_loop() and task is asyncio.current_task()
    if not is_here:
        begun = (at for at, frame in enumerate(frames) if locals_of(frame).get("outer") is task)
        frames = frames[: next(begun, 0)]  # what it does is to begin another one
    return innermost(frames or awaits(task.get_coro()), run)


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


class Place:
    """What running code is at: a call, and which attempt of it."""

    __slots__ = ("attempt", "call", "pulse", "run")

    def __init__(self, run: RunState, call: Call, attempt: int, pulse: Any = None) -> None:
        self.run = run
        self.call = call
        self.attempt = attempt
        self.pulse = pulse
        """What ends the attempt when it gives no sign of life, if it has a heartbeat."""

    def report(self, done: float, total: float | None) -> None:
        """Take down how far the call has come, from whatever thread."""
        instance: Any = self.call.instance(self.run.names)
        try:
            instance.reported[self.call.suffix] = done, total
        except AttributeError:
            instance.reported = {self.call.suffix: (done, total)}


def innermost(frames: Iterable[FrameType], run: RunState | None = None) -> Found:
    """Return the call that running code is in, from its frames, outermost first."""
    place = place_of(frames, run)
    return None if place is None else (place.run, place.call)


def place_here() -> Place | None:
    """Return the call that the code of this thread is in; None: it is in none, as far as its own frames tell."""
    return place_of(_stack(sys._getframe(1)))


def place_in_task(task: asyncio.Task[Any]) -> Place | None:
    """Return the call that an asyncio task, which waits, is in."""
    return place_of(awaits(task.get_coro()))


def place_of(frames: Iterable[FrameType], run: RunState | None = None) -> Place | None:
    """Return the call and the attempt that running code is in, from its frames, outermost first.

    Args:
        run: whose calls to look for, and not for those of the runs inside of them.
    """
    found: Found = None
    own: Found = None
    around: dict[str, Any] = {}
    code = looped = managed = None
    for frame in frames:
        if code is not None and frame.f_code is code.function.__code__:
            found = _in_straight_code(around, frame)
        elif looped is not None and frame.f_code is looped.loop.function.__code__:
            found = _in_loop(around, looped, frame, found)
        known = locals_of(frame)
        if "code" in known:
            around, code, looped = known, known["code"], None
        elif "transition" in known or "compiled" in known:  # `Follower.follow`, or `scheduler.drive`
            compiled = known.get("compiled")
            looped = known["known"][1] if compiled is not None else getattr(known.get("transition"), "hot", None)
            around, code, looped = known, None, looped or None
        managed = known.get("managed", managed)
        found = place_in(frame, found)
        if found is not None and found[0] is run:
            own = found
    found = found if run is None else own
    if found is None:
        return None
    if managed is None or managed.call is not found[1]:
        return Place(*found, 1)
    return Place(*found, managed.count, managed.pulse)


def _in_straight_code(around: dict[str, Any], frame: FrameType) -> Found:
    """Return which call of an emitted function is going on, by its line."""
    run, point = around["run"], around["code"].places.get(frame.f_lineno)
    if point is None or point.register < 0 or point.is_over:
        return None
    within = around["frame"]
    if within is None:
        activation = around["activation"]
        within = Frame(activation, activation.blueprint.root, [], run.scope, None)
    return run, _at_point(run, within, point.register, frame)


def _in_loop(around: dict[str, Any], hot: Any, frame: FrameType, found: Found) -> Found:
    """Return which call of an emitted loop is going on: it counts its entries in `i`, as all of them do."""
    point = hot.loop.places.get(frame.f_lineno)
    if found is None or point is None or point.register < 0 or point.is_over:
        return found
    run, home = found
    entry, follower = hot.entries[point.entry], around.get("self")
    instance = home.instance(run.names) if follower is None else follower.instance
    iteration = home.had(instance) + (frame.f_locals.get("i") or 0)
    call = Call(home.frame, home.register)
    call.suffix, call.iteration = home.suffix, iteration
    if follower is None:  # a loop of one state, which is where it stands
        return run, call
    activation, number = follower.activation_at(entry), follower.number_of(entry)
    if point.register == entry.register:
        if activation is not home.frame.activation or number != follower.home_number:
            call.moved(activation, number, instance, None)
        return run, call
    within = Frame(activation, entry.block, [], follower.within, None)
    within.loop, within.iteration, within.suffix = instance, iteration, home.suffix
    return run, _at_point(run, within, point.register, frame)


def _at_point(run: RunState, within: Frame, register: int, frame: FrameType) -> Call:
    """Return the call of a register that a line of emitted code makes: of an item of a map, or an entry of a loop."""
    op = within.block.ops[register]
    if op == MAP:
        waiting = frame.f_locals.get("waiting")
        return Call(within, register, "" if waiting is None else f"[{waiting.__reduce__()[2] - 1}]")
    call = Call(within, register)
    if op == LOOP:
        call.iteration = call.had(call.instance(run.names)) + max(frame.f_locals.get("j", 0), 0)
    return call
