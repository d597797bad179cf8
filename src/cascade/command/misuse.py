"""What the command refuses to do, and how errors of the user's code are shown."""

from __future__ import annotations

import traceback
from difflib import get_close_matches
from itertools import dropwhile

from cascade.app.tracebacks import is_ours, is_under
from cascade.app.translating import translated
from cascade.app.words import say
from cascade.app.writing import tell
from cascade.spec.notes import spelled

__all__ = ["FAILED", "INTERRUPTED", "MISUSED", "Misuse", "close_to", "user_traceback"]

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
"""Exit codes besides 0."""


class Misuse(Exception):
    """Wrong use of the command; `details` is a traceback of the user's code."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details

    def tell(self) -> None:
        """Write what is wrong to stderr."""
        tell(f"{self.details}{say('error')}: {translated(str(self), 'e')}\n")


def close_to(name: str, known: list[str], otherwise: str) -> str:
    """Return a question whether a known name was meant, or else `otherwise`."""
    close = get_close_matches(name, known, 3)
    return say("close", names=", ".join(close)) if close else otherwise


def user_traceback(error: BaseException) -> str:
    """Return the traceback of an error without the frames of Cascade and of what imports modules."""
    try:
        report = traceback.TracebackException.from_exception(error)
    except Exception:  # whatever its class makes of being looked at
        return f"{spelled(error)}\n"
    _clean(report, set())
    return "".join(report.format())


def _clean(report: traceback.TracebackException, seen: set[int]) -> None:
    if id(report) in seen:
        return
    seen.add(id(report))
    theirs: list[traceback.FrameSummary] = [frame for frame in report.stack if not is_ours(frame.filename)]
    theirs = [*dropwhile(lambda frame: is_under(frame.filename), theirs)]
    report.stack = traceback.StackSummary.from_list(theirs)
    for other in (report.__cause__, report.__context__, *(report.exceptions or ())):
        if other is not None:
            _clean(other, seen)
