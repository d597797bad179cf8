"""What the command refuses to do, and how errors of the user's code are shown."""

from __future__ import annotations

import os
import traceback
from difflib import get_close_matches
from itertools import dropwhile
from pathlib import Path

from cascade.app.words import say
from cascade.app.writing import tell
from cascade.spec.notes import spelled

__all__ = ["FAILED", "INTERRUPTED", "MISUSED", "Misuse", "close_to", "user_traceback"]

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
"""Exit codes besides 0."""

PACKAGE = str(Path(__file__).parent.parent) + os.sep
LIBRARY = str(Path(os.__file__).parent)


class Misuse(Exception):
    """Wrong use of the command; `details` is a traceback of the user's code."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details

    def tell(self) -> None:
        """Write what is wrong to stderr."""
        tell(f"{self.details}{say('error')}: {self}\n")


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
    theirs: list[traceback.FrameSummary] = [frame for frame in report.stack if not _is_ours(frame.filename)]
    report.stack = traceback.StackSummary.from_list([*dropwhile(_is_under, theirs)])
    for other in (report.__cause__, report.__context__, *(report.exceptions or ())):
        if other is not None:
            _clean(other, seen)


def _is_ours(file: str) -> bool:
    return file.startswith((PACKAGE, "<cascade", "<frozen importlib")) or file.startswith(f"{LIBRARY}{os.sep}importlib")


def _is_under(frame: traceback.FrameSummary) -> bool:
    """Say whether this is what runs the event loop, or a thread."""
    return frame.filename.startswith(
        tuple(f"{LIBRARY}{os.sep}{each}" for each in ("asyncio", "threading", "concurrent"))
    )
