"""What a worker of a cluster does with the calls that it is sent: one after the other, in a thread beside others."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from functools import cache
from time import monotonic, perf_counter
from typing import Any

from cascade.adapters.executors import crossing

__all__ = ["carry_out_calls", "versions"]

OFTEN = 0.05
"""So many seconds are between two words of how far a call has come, and between two signs of life."""
SLOW = 2
"""A batch that takes so many times as long as it was to take is ended early: the rest goes elsewhere."""

Say = Callable[[dict[str, Any]], None]


@cache
def versions() -> tuple[str, str]:
    """Return the versions that must be the same here and there: of Python, but for the last digit, and of Cascade."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("cascade-py")
    except PackageNotFoundError:
        own = "?"
    return f"{sys.version_info[0]}.{sys.version_info[1]}", own


def carry_out_calls(
    expected: tuple[str, str], payload: bytes, seconds: float, level: int, say: Say, is_wanted: Callable[[], bool]
) -> tuple[str, Any, float]:
    """Make packed calls of one function; return what became of them, and how long they took, in seconds.

    Args:
        expected: the versions of who has packed them.
        seconds: so long they should take.
        level: records of logs below it are not sent.
        say: sends a word to who waits for the calls.
        is_wanted: whether anybody still does.
    """
    if tuple(expected) != versions():
        return "versions", versions(), 0.0
    _listen(level)
    try:
        func, calls, contexts = crossing.loads(payload)
        if isinstance(func, crossing.Reference):
            func = func.resolve()
        variables = [crossing.loads(packed) for packed in contexts]
    except BaseException as error:
        return "arrival", crossing.failure("arrival", error), 0.0
    say({"begun": True})
    outcomes: list[bytes] = []
    began = perf_counter()
    for at, (args, kwargs, about, which) in enumerate(calls):
        if at and (perf_counter() - began > seconds * SLOW or not is_wanted()):
            break
        call = Call(at, about, say)
        outcomes.append(copy_context().run(_make, func, args, kwargs, call, variables[which]))
    return "done", outcomes, perf_counter() - began


def _make(func: Any, args: Any, kwargs: Any, call: Call, variables: list[tuple[ContextVar[Any], Any]]) -> bytes:
    for variable, value in variables:
        variable.set(value)
    crossing.here.set(call)
    try:
        return crossing.outcome_of(func, args, kwargs, call.about)
    finally:
        call.end()


class Call:
    """A call that a worker carries out, as `cs.current()` knows it there."""

    __slots__ = ("_beaten", "_late", "_number", "_said", "_say", "about")

    def __init__(self, number: int, about: Any, say: Say) -> None:
        self.about = about
        self._number = number
        self._say = say
        self._said = self._beaten = 0.0
        self._late: Any = None

    @property
    def pulse(self) -> Call:
        """What takes signs of life."""
        return self

    def say(self, word: dict[str, Any]) -> None:
        """Send a word that names the call."""
        self._say({"call": self._number, **word})

    def report(self, done: float, total: float | None) -> None:
        """Say how far the call has come, now and then; what is left out is said by the end."""
        now = monotonic()
        self._late = {"progress": [done, total]}
        if now - self._said >= OFTEN:
            self._said = now
            self.end()

    def beat(self) -> None:
        """Give a sign of life, now and then."""
        now = monotonic()
        if now - self._beaten >= OFTEN:
            self._beaten = now
            self.say({"beat": True})

    def end(self) -> None:
        """Say what has not been said."""
        late, self._late = self._late, None
        if late is not None:
            self.say(late)


class _Records(logging.Handler):
    """Sends the records of a call's logs to where its run is."""

    def emit(self, record: logging.LogRecord) -> None:
        call = crossing.here.get()
        if call is None:
            return
        known = {**record.__dict__, "msg": record.getMessage(), "args": None}
        if record.exc_info and not record.exc_text:
            known["exc_text"] = logging.Formatter().formatException(record.exc_info)
        call.say({"log": {name: value for name, value in known.items() if type(value) in PLAIN}})


PLAIN = (str, int, float, bool, type(None))
_records = _Records()


def _listen(level: int) -> None:
    root = logging.getLogger()
    if _records not in root.handlers:
        root.addHandler(_records)
    if root.level > level:
        root.setLevel(level)
