"""Tracebacks as users want to see them: without the frames of Cascade, and of what runs the event loop."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import dropwhile
from pathlib import Path
from types import TracebackType

from cascade.errors import CascadeError

__all__ = ["is_ours", "is_under", "trim"]

PACKAGE = str(Path(__file__).parent.parent) + os.sep
LIBRARY = str(Path(os.__file__).parent) + os.sep
UNDER = tuple(f"{LIBRARY}{each}" for each in ("asyncio", "threading", "concurrent"))


def is_ours(file: str) -> bool:
    """Say whether code is Cascade's, or what imports modules."""
    return file.startswith((PACKAGE, "<cascade", "<frozen importlib", f"{LIBRARY}importlib"))


def is_under(file: str) -> bool:
    """Say whether code runs the event loop, or a thread."""
    return file.startswith(UNDER)


def trim(error: BaseException) -> None:
    """Leave the users' frames in the traceback of an error, and of its causes and parts.

    One that came out of Cascade itself and is none of those that it raises on purpose keeps all of them.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        kept = [*dropwhile(lambda each: is_under(_file_of(each)), [e for e in _all(one) if not is_ours(_file_of(e))])]
        if kept or isinstance(one, (CascadeError, TimeoutError)) or "in task " in "".join(_notes(one)):
            with suppress(Exception):  # it may be of a class that lets nothing be set
                one.__traceback__ = _chained(kept)


def _all(error: BaseException) -> list[TracebackType]:
    found = []
    each = error.__traceback__
    while each is not None:
        found.append(each)
        each = each.tb_next
    return found


def _file_of(each: TracebackType) -> str:
    return each.tb_frame.f_code.co_filename


def _notes(error: BaseException) -> list[str]:
    try:
        found = getattr(error, "__notes__", None)
    except Exception:  # a property of a user's
        return []
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _chained(kept: list[TracebackType]) -> TracebackType | None:
    chain = None
    for each in reversed(kept):
        chain = TracebackType(chain, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return chain
