"""What the modules that carry out instructions ask of each other.

An instruction may be a loop, a loop runs instructions, and so do items of maps and sub-flows: such modules cannot all
import each other. Those that stand below call the others by this record, which `engine.py` makes once and each run
carries; whatever else a module calls, it imports. (The alternatives: attributes of a class that another module sets,
which no type checker follows and no import shows; or one module of three thousand lines.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from cascade.compiler.code.emitted import Guards, StraightCode
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import Frame
from cascade.spec.gate import Gate
from cascade.spec.placement import CallForm

__all__ = ["Operations"]

R = TypeVar("R")
"""The state of a run; it carries the record, which therefore cannot import it."""
Arguments = dict[str, Any]
Later = Coroutine[Any, Any, Any]


class Operations(NamedTuple, Generic[R]):
    """The record. Each field is a function or class of the module that its comment names."""

    # execution.task
    perform: Callable[[R, Frame, int, Any], Later]
    """Carry out an instruction that was put aside; give its value, or the `loop` that it begins."""
    call: Callable[[R, Call, CallForm, Any, Arguments, Gate | None], Later]
    """Make one call, under its policies."""

    # compiled.root
    piece: Callable[[R, Frame, StraightCode, list[Any], list[Any]], None]
    """Run straight code between managed calls."""

    # execution.follower, execution.compiled_start
    loop: Callable[[R, Call, Any, CallForm, Any, Arguments, Gate | None, Any], Any]
    """Make what follows a loop from the signal that a call returned: a class, whose objects `drive` knows by it."""
    start_compiled: Callable[[R, Frame, int, CallForm, Any], tuple[Later, Guards, Any] | None]
    """Begin the emitted loop of a state with its first call, or go on with how it was left; give what is known, too."""
    finish_compiled: Callable[[R, Frame, int, Any, Any, BaseException | None], Any]
    """Take over from it; give its value, or the `loop` that goes on."""
    items_begin: Callable[[Any], Any]
    """Say what is known of the loops that the items of a map are; None: they cannot begin as emitted code."""
    start_item: Callable[[Any, tuple[Any, ...], Any, Any], tuple[Later, Guards, Any] | None]
    """Begin the emitted loop of an item with its first call, or go on with how it was left; give what is known, too."""
    finish_item: Callable[[Any, tuple[Any, ...], Call, Any, Any, BaseException | None], Any]
    """Take over from it; give its value, or the `loop` that goes on."""

    # execution.map
    map: Callable[[R, Frame, int, Any, Arguments, Any], Later]
    """Call a task for each item."""

    # maps.pipes
    map_inputs: Callable[[R, Frame, int, list[Any]], bool]
    """Park a map that lacks inputs, or have maps under way flow into it; say whether it can begin."""

    # streams.calls
    streamed: Callable[[Any, Later], Later]
    """Make a call that gives or reads items one by one, under its policies."""
    attempt_streamed: Callable[[Any, Any, Arguments, Any, Any], Awaitable[Any]]
    """Make one attempt of it."""
    stream_inputs: Callable[[R, Frame, int, list[Any]], bool]
    """Park a reader of streams that lacks inputs, or say that it can begin."""

    # resources.pool
    resources: Callable[[R], Any]
    """Make what gives the tasks of a run their resources."""

    # resources.for_calls
    call_with_own: Callable[[R, Callable[..., Any], Iterable[Any], Arguments], Any]
    """Call in place, with resources that are set up and torn down there for this call alone."""

    # journal.recorded_run
    item: Callable[[Any, Call, Any, Arguments, Any], Later] | None = None
    """Carry out an item of a map and record its value; None where the run is not recorded."""
