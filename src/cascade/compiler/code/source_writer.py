"""Lines of emitted code: their text, the values that they name, and what is known at each of them.

While lines are written, a log is kept of which local variable holds which register and where branches begin and end.
So wherever a function is left, the line and its local variables tell what the interpreter needs to go on.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from time import perf_counter, time
from types import CoroutineType
from typing import Any, NamedTuple

from cascade.compiler.code.source import Namer
from cascade.spec.events import TaskExecutionFinished, TaskExecutionStarted, TaskSkipped
from cascade.spec.marks import NOTHING, PENDING
from cascade.spec.placement import CallForm
from cascade.spec.signal import Signal

__all__ = [
    "REST",
    "CannotEmit",
    "FrameState",
    "Deoptimize",
    "DeoptLog",
    "DeoptPoint",
    "Watch",
    "SourceWriter",
    "UnfitMap",
    "frame_state",
    "odd",
    "way_of",
]

Watch = tuple[bool, bool, bool]
"""Whether somebody wants to know of each start, of each end and of each skip of a call."""

REST = "if ticker.due: await look()"
"""Where the event loop may need a turn."""
DEEPEST = 24
"""So deep may branches lie in each other; CPython allows 99 indents."""

TELLERS = {"Started": "tell_started", "Finished": "tell_finished", "Skipped": "tell_skipped"}
MARKS: dict[str, Any] = {"NOTHING": NOTHING, "PENDING": PENDING}
PUBLISHING: dict[str, Any] = {
    "Started": TaskExecutionStarted,
    "Finished": TaskExecutionFinished,
    "Skipped": TaskSkipped,
    "new": tuple.__new__,
    "time": time,
    "clock": perf_counter,
}
RESERVED = ("NOTHING", "PENDING", "look", "odd", "signals", "deoptimize", "ticker", "waiting", "way", "way_of")
IN_LOOPS = ("Jump", "TailCall", "args", "data", "given", "here", "i", "j", "len", "result", "same", "state", "turn")
WATCHED = ("first", "iteration", "sites", "start", "tell_finished", "tell_skipped", "tell_started")


class Deoptimize(BaseException):
    """Raised in emitted code, to have the interpreter go on from here. It never reaches a user."""


class UnfitMap(Deoptimize):
    """Raised before the first call of a map over something that cannot be gone through in place."""


class CannotEmit(Exception):
    """These instructions cannot become one function; says why, in words of `compiler.analysis.order.REASONS`."""


class DeoptPoint:
    """Where a line of emitted code is: which entry, which register, and whether its call is over."""

    __slots__ = ("around", "at", "deopt_log", "entry", "is_call", "is_over", "passed", "register")

    def __init__(
        self,
        entry: int,
        register: int,
        is_over: bool,
        deopt_log: DeoptLog,
        is_call: bool = False,
        around: DeoptPoint | None = None,
    ) -> None:
        self.entry = entry
        self.register = register
        self.is_over = is_over
        self.is_call = is_call
        """Whether the line is the call itself, whose beginning has been told where somebody wants to know."""
        self.deopt_log = deopt_log
        self.at = len(deopt_log)
        """How much of the log of local variables had been written."""
        self.around = around
        """In a sub-flow that stands among the calls around it: where that is."""
        self.passed: list[str] | None = None
        """If the line looks for a jump's key, which other values lack: the variables passed to the call."""

    @property
    def way(self) -> list[DeoptPoint]:
        """The places of the sub-flows that it is in, outer ones first, and this one."""
        found = [self]
        while (around := found[0].around) is not None:
            found.insert(0, around)
        return found


class SourceWriter:
    """The lines of one function, the values that they name, and what is known at each of them."""

    def __init__(self, watch: Watch, loops: bool) -> None:
        self.watch = watch
        self.namer = Namer()
        self.names: dict[str, Any] = {}
        self.text: list[str] = []
        self.places: dict[int, DeoptPoint] = {}
        self.deopt_log: DeoptLog = []
        """What local variables come to hold, and where branches begin and end; see `frame_state`."""
        self.around: DeoptPoint | None = None
        """Where the sub-flow is whose lines are being written; its registers have a log of their own."""
        self.sites: dict[tuple[int, int], int] = {}
        """The number of each (entry, register) that events come from."""
        self.now = "first"
        """The iteration of the events, as text."""
        self.forms: list[CallForm] = []
        self.guards: dict[str, Any] = {}
        """What coroutine functions compare results with, by name: classes, and keys of jumps."""
        self.is_sure = True
        """Each call had been made before, so the class of its result is known."""
        self.inner: dict[tuple[int, int], dict[int, str]] = {}
        """For each loop inside, by (entry, register): the variables of the arguments that its jumps give."""
        self.taken: dict[tuple[int, int, str | int | None], str] = {}
        """What calls take that the run has at hand, by (entry, register, argument), and the parameter for it.

        None in the place of an argument stands for what says whether there is room for the call.
        """
        self._taken: dict[object, str] = {}
        self._head: tuple[str, list[str]] = "", []
        self._values: dict[int, str] = {}
        self._sites: list[str] = []
        self._unpacked = 0
        self._guards: dict[int, str] = {}
        self._looks: dict[CallForm, _ResultLook] = {}
        for reserved in (*RESERVED, *(IN_LOOPS if loops else ()), *((*WATCHED, *PUBLISHING) if any(watch) else ())):
            self.namer.name(reserved)
        if loops:
            self._values[id(len)] = "len"

    def head(self, name: str, parameters: list[str], is_async: bool) -> None:
        """Begin the function; what its calls take is added to its parameters, before `look`, once it is known."""
        self._head = f"{'async ' if is_async else ''}def {name}", parameters
        self.line(0, "")

    def take(self, where: tuple[int, int, str | int | None], same: object, wish: str) -> str:
        """Return the parameter for something that a call takes; one for all that take the `same`."""
        name = self._taken.get(same)
        if name is None:
            name = self._taken[same] = self.taken[where] = self.namer.name(wish)
        return name

    @property
    def listeners(self) -> list[str]:
        """The parameters for what is published."""
        told = [name for name, is_wanted in zip(TELLERS.values(), self.watch, strict=True) if is_wanted]
        return [*told, "first", "sites"] if told else []

    def unpack(self) -> None:
        """Leave a line for what puts the sites of events into variables of their own, once they are known."""
        if any(self.watch):
            self._unpacked = len(self.text)
            self.line(1, "pass")

    def place(self, entry: int, register: int, is_over: bool = False, is_call: bool = False) -> DeoptPoint:
        """Return where the next line is."""
        return DeoptPoint(entry, register, is_over, self.deopt_log, is_call, self.around)

    def finish(self) -> str:
        """Return the source."""
        begins, parameters = self._head
        at = len(parameters) - (parameters[-1:] == ["look"])
        self.text[0] = f"{begins}({', '.join([*parameters[:at], *self.taken.values(), *parameters[at:]])}):"
        if self.sites:
            self.text[self._unpacked] = f"    {''.join(f'{name}, ' for name in self._sites)}= sites"
        return "\n".join(self.text) + "\n"

    def line(self, depth: int, text: str, said: str = "", place: DeoptPoint | None = None) -> None:
        """Add a line; `said` is its comment."""
        if depth > DEEPEST:
            raise CannotEmit("nesting")
        line = "    " * depth + text
        self.text.append(f"{line:<72}  {said}".rstrip() if said else line)
        if place is not None:
            self.places[len(self.text)] = place

    def value(self, value: Any, wish: str) -> str:
        """Return the name by which the code refers to a value."""
        name = self._values.get(id(value))
        if name is None:
            name = self._values[id(value)] = self.namer.name(wish)
            self.names[name] = value
        return name

    def mark(self, name: str) -> str:
        """Return the name of a value that has the same name everywhere."""
        self.names[name] = MARKS[name] if name in MARKS else PUBLISHING[name]
        return name

    def call(self, depth: int, place: DeoptPoint, where: tuple[int, int], call: str, said: str) -> None:
        """Add a call, and around it what is published of it."""
        started, finished, _ = self.watch
        if started:
            self.publish(depth, "Started", where, "")
        if finished:
            self.line(depth, f"start = {self.mark('clock')}()")
        self.line(depth, call, said, self.place(place.entry, place.register, is_call=True))
        if finished:
            self.publish(depth, "Finished", where, ', "Succeeded", clock() - start, None, None')

    def skipped(self, depth: int, where: tuple[int, int], why: str) -> None:
        """Add that a call is skipped."""
        self.publish(depth, "Skipped", where, f', "{why}"')

    def publish(self, depth: int, event: str, where: tuple[int, int], more: str) -> None:
        """Add the publishing of an event."""
        if where not in self.sites:
            self.sites[where] = len(self._sites)
            self._sites.append(self.namer.name(f"site_{len(self._sites)}"))
        site = self._sites[self.sites[where]]
        made = f"{self.mark('new')}({self.mark(event)}, ({site}, {self.mark('time')}(), {self.now}{more}))"
        self.line(depth, f"{TELLERS[event]}({made})")

    def called(self, form: CallForm, placed: list[str], named: Iterable[tuple[str, str]] = ()) -> str:
        """Return the text of a call."""
        self.forms.append(form)
        return f"{'await ' if form.is_async else ''}{self.passed(self.function(form), placed, named)}"

    def passed(self, function: str, placed: list[str], named: Iterable[tuple[str, str]]) -> str:
        """Return the text of a call of something that has a name."""
        passed = list(placed)
        for name, local in named:
            passed.append(f"{name}={local}" if is_word(name) else f"**{{{self.value(name, f'name_{name}')}: {local}}}")
        return f"{function}({', '.join(passed)})"

    def function(self, form: CallForm | None) -> str:
        """Return the name by which the code calls a task's function."""
        return "" if form is None else self.value(form.func, form.task.name)

    def looked_at(self, depth: int, local: str, form: CallForm, place: DeoptPoint, rests: bool) -> None:
        """Add the look at a result that tells signals from values.

        Args:
            rests: the event loop may have a turn behind it.
        """
        if form.seen is None:
            self.is_sure = False
            known = self._looks.setdefault(form, _ResultLook(form))
            look = self.value(known, f"odd_{form.task.name}")
            self.line(depth, f"{look}({local})", "", place)
            if rests:
                self.line(depth, REST, "", place)
        elif rests:
            self.line(
                depth,
                f"if {local}.__class__ is not {self.guard(form.seen, form.seen.__name__)}: await look({local})",
                "",
                place,
            )
        else:
            self.look()
            seen = self.guard(form.seen, form.seen.__name__) if form.is_async else self.cls(form.seen)
            self.line(depth, f"if {local}.__class__ is not {seen}: odd({local})", "", place)

    def look(self) -> str:
        """Return the name of what looks closely at a result."""
        self.names["odd"] = odd
        return "odd"

    def cls(self, cls: type) -> str:
        """Return the name by which the code refers to a class."""
        return self.value(cls, cls.__name__)

    def guard(self, value: Any, wish: str) -> str:
        """Return the name by which the code refers to a class, or a key, as long as no turn is due."""
        name = self._guards.get(id(value))
        if name is None:
            name = self._guards[id(value)] = self.namer.name(wish)
            self.guards[name] = value
        return name

    def deoptimize(self) -> str:
        """Return what leaves the emitted code, as text."""
        self.names["deoptimize"] = deoptimize
        return "deoptimize()"


DeoptLog = list[tuple[str, int, str]]


class FrameState(NamedTuple):
    """What is known of the registers at a place in emitted code."""

    values: dict[int, Any]
    reasons: dict[int, str]
    """Why instructions among them were skipped."""
    done: set[int]
    """What has run, also where nobody needs its value any more."""


def frame_state(deopt_log: DeoptLog, end: int, values: dict[str, Any]) -> FrameState:
    """Return what registers hold after so much of a log; `values` are the local variables."""
    found: dict[int, str] = {}
    flags: dict[int, str] = {}
    begun: dict[int, str] = {}
    before: list[tuple[dict[int, str], ...]] = []
    done: dict[int, str] = {}
    for what, register, name in deopt_log[:end]:
        if what == "set":
            found[register] = done[register] = name
        elif what == "flag":
            flags[register] = name
        elif what == "skip":
            begun[register] = name
        elif what == "drop":
            found.pop(register, None)
        elif what == "open":
            before.append((found, done, begun))
            found, done, begun = dict(found), dict(done), dict(begun)
        else:
            found, done, begun = before.pop()
    registers = {at: values[name] for at, name in found.items() if values.get(name, PENDING) is not PENDING}
    reasons = {at: "UpstreamSkipped_Data" for at, value in registers.items() if value is NOTHING}
    reasons |= {at: values[name] for at, name in flags.items() if at in done and values.get(name) is not None}
    reasons |= {at: values[name] for at, name in begun.items() if at not in done}  # what stands in is to be seen
    return FrameState(registers, reasons, {at for at in done if at not in found or at in registers})


class _ResultLook:
    """Looks at the result of a call that nobody had seen a result of."""

    __slots__ = ("form",)

    def __init__(self, form: CallForm) -> None:
        self.form = form

    def __call__(self, value: Any) -> None:
        odd(value)
        self.form.seen = value.__class__


def odd(value: object) -> None:
    """Leave if a result is more than a value: a signal, or something to await."""
    if isinstance(value, (Signal, CoroutineType)):
        raise Deoptimize


def deoptimize() -> None:
    """Leave."""
    raise Deoptimize


def way_of(ways: dict[Any, int], key: Any) -> int:
    """Return the number of a route; -1 if there is none of that key."""
    try:
        return ways.get(key, -1)
    except TypeError:  # a key that cannot be hashed names no route
        return -1


def is_word(name: str) -> bool:
    """Say whether a keyword can stand in a call as it is: `f(**{...})` takes names that are no identifiers."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
