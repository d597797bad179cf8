"""What was emitted: a function, and all that is needed to go on without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import ref

from cascade.compiler.code.source import make_function
from cascade.compiler.code.source_writer import (
    Deoptimize,
    DeoptPoint,
    FrameState,
    SourceWriter,
    frame_state,
    odd,
)
from cascade.spec.placement import placements

if TYPE_CHECKING:
    from cascade.compiler.transition_profile import Edge, EntryPoint

__all__ = ["Chain", "EmittedCode", "Guards", "LinkedLoop", "LoopCode", "StraightCode", "finished"]


class GuardsHolder(Protocol):
    """What is asked of a `cascade.runtime.event_loop.ticker.Ticker`."""

    guards: list[ref[Guards]]


class Guards:
    """A copy of an emitted function with guards of its own, for one event loop."""

    __slots__ = ("__weakref__", "classes", "function", "is_retired", "scope", "ticker")

    def __init__(self, function: Callable[..., Any], classes: dict[str, Any], ticker: GuardsHolder) -> None:
        assert isinstance(function, FunctionType)
        self.scope = {**function.__globals__, **classes}
        if "odd" in self.scope:
            self.scope["odd"] = partial(_odd, ref(self))
        self.function: Callable[..., Any] = FunctionType(function.__code__, self.scope, function.__name__)
        self.classes = classes
        """By the names that the function knows them by."""
        self.ticker = ticker
        self.is_retired = False
        """Whether they are taken away for good: whoever runs with them is to look around, and go on with others."""

    def invalidate(self) -> None:
        """Have the function look closer at its next result; from any thread."""
        self.scope.update(dict.fromkeys(self.classes))

    def validate(self) -> None:
        """Have the function expect again what it expected."""
        self.scope.update(self.classes)


def _odd(known: ref[Guards], value: Any) -> None:
    """Leave if a result is more than a value, or if whoever runs with these guards is to look around."""
    odd(value)
    guards = known()
    if guards is not None and guards.is_retired:
        raise Deoptimize


E = TypeVar("E", bound="EmittedCode")


class EmittedCode:
    """A function that was emitted, and what is needed to go on without it."""

    __slots__ = (
        *("forms", "function", "guards", "inner", "is_async", "is_sure", "known", "placed_at", "places"),
        *("sites", "source", "taken"),
    )

    def __init__(self, function: Callable[..., Any], source: str, writer: SourceWriter, is_async: bool) -> None:
        self.function = function
        self.source = source
        self.places = writer.places
        self.forms = list(dict.fromkeys(writer.forms))
        self.inner = writer.inner
        """The loops inside of it, by (entry, register)."""
        self.taken = list(writer.taken)
        """What its calls take, passed behind all else: by (entry, register, argument)."""
        self.is_sure = writer.is_sure
        """The class of each result was known; if not, it is by now, and the function is better emitted again."""
        self.is_async = is_async
        self.placed_at = -1
        self.known = writer.guards
        self.guards: Guards | None = None
        self.sites = list(writer.sites)
        """The (entry, register) that each site of events is."""

    def guarded(self, ticker: GuardsHolder) -> Guards:
        """Return the function with guards that this ticker takes away; who calls it must hold them meanwhile."""
        guards = self.guards
        if guards is None or guards.is_retired or guards.ticker is not ticker:
            guards = self.guards = Guards(self.function, self.known, ticker)
            ticker.guards.append(ref(guards))
        return guards

    def where(self, error: BaseException) -> tuple[DeoptPoint | None, dict[str, Any]]:
        """Return where an error came out of the function, and the local variables there.

        Both stand in the error's traceback.
        """
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is self.function.__code__:  # further in are those of earlier raises of it
                return self.places.get(trace.tb_lineno), dict(trace.tb_frame.f_locals)
            trace = trace.tb_next
        return None, {}

    def frame_state(self, place: DeoptPoint, values: dict[str, Any]) -> FrameState:
        """Return what is known of the registers at a place, whose local variables had these values."""
        return frame_state(place.deopt_log, place.at, values)

    def may_run(self) -> bool:
        """Say whether all its functions may be called in place now."""
        if self.placed_at != placements[0]:
            if not all(form.inline is not None or form.is_async for form in self.forms):
                return False
            self.placed_at = placements[0]
        return True


class StraightCode(EmittedCode):
    """Calls one after the other: from the values of `inputs` to those of `outputs`."""

    __slots__ = ("has_maps", "inputs", "outputs", "reads", "steps", "unfit")

    inputs: list[int]
    outputs: list[int]
    steps: list[int]
    has_maps: bool
    reads: dict[int, int] | None
    """How often its calls read each register of a frame, once that was asked for."""
    unfit: Counter[int]
    """How often it was left before a map that could not be gone through in place."""


class Chain:
    """Coroutine functions that are awaited one after the other, because one would take too long to compile."""

    __slots__ = ("forms", "has_maps", "is_sure", "last_read", "parts")

    is_async = True

    def __init__(self, parts: list[StraightCode]) -> None:
        self.parts = parts
        self.forms = list(dict.fromkeys(form for part in parts for form in part.forms))
        self.has_maps = any(part.has_maps for part in parts)
        self.is_sure = all(part.is_sure for part in parts)
        self.last_read: list[set[int]] = []
        """Of each part: the registers that no later one reads."""
        later: set[int] = set()
        for part in reversed(parts):
            read = {at for at in part.inputs if at >= 0}
            self.last_read.insert(0, read - later)
            later |= read

    @property
    def unfit(self) -> Counter[int]:
        """How often they were left before maps that could not be gone through in place."""
        return sum((part.unfit for part in self.parts), Counter())

    @property
    def source(self) -> str:
        """The text of all its functions."""
        return "\n".join(part.source for part in self.parts)

    def may_run(self) -> bool:
        """Say whether all their functions may be called in place now."""
        return all(part.may_run() for part in self.parts)


class LoopCode(EmittedCode):
    """A loop with all its states; loops of one shape share it."""

    __slots__ = ("after", "constants", "edges", "imports", "offsets", "width")

    edges: list[Edge]
    """Keeps their keys alive, which the code knows by identity."""
    offsets: list[int]
    """Where the arguments of each entry begin among those of the function."""
    width: int
    """How many arguments the entries have together."""
    constants: list[tuple[int, int]]
    """What is passed behind the arguments: (entry, reference of a constant)."""
    imports: list[tuple[int, int]]
    """What is passed behind those: (entry, register of what runs once a run)."""
    after: list[tuple[int, int, int]]
    """What runs around the loop, and must have run: (entry, register, which of those that it comes after)."""


def finished(kind: type[E], writer: SourceWriter, name: str, is_async: bool) -> E:
    """Return the function that a writer has the lines of."""
    writer.names |= writer.guards
    source = writer.finish()
    if any("deoptimize()" in line for line in writer.text):
        writer.deoptimize()
    return kind(make_function(name, source, writer.names), source, writer, is_async)


class LinkedLoop:
    """An emitted loop, and what its parts are in one program."""

    __slots__ = ("after", "entries", "imports", "is_leaf", "limit", "loop")

    def __init__(self, loop: LoopCode, entries: list[EntryPoint]) -> None:
        self.loop = loop
        self.entries = entries
        self.imports = [(entries[k], entries[k].block.places[at]) for k, at in loop.imports]
        """The nodes of root blocks whose values it takes."""
        self.after = [(entries[k], entries[k].block.gates[i].after[which]) for k, i, which in loop.after]
        """What must have run around it: (state, number)."""
        self.limit = min([entry.limit for entry in entries])
        """How many entries a loop may have that enters all of these states."""
        entry = entries[0]
        self.is_leaf = len(entries) == 1 and entry.kind != "call" and entry.plan.is_bare and not entry.plan.steps
        """Whether the loop is one state that nothing but literals feeds, or an item of a map."""
