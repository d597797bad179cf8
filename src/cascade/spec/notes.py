"""Notes on exceptions that are not ours: they leave as they came, but for a note, if they take one.

A class may refuse to be changed (a frozen dataclass), or may not even have a text. And one object may be raised
again and again (a constant of a module): then it has the notes of the last time, and not of all.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, SupportsIndex

from cascade.spec.shown import without_passwords

__all__ = [
    "log_failure",
    "message_of",
    "note_before",
    "note_more",
    "note_others",
    "note_place",
    "notes_of",
    "spelled",
    "traceback_of",
]

MOST_NOTES = 32
"""So many notes of ours are on one exception at the most."""
MOST_RAISES = 16
"""So often the same object is raised before the oldest half of its traceback is cut off."""
MOST_FRAMES = 2000
"""So long grows the traceback of an exception that takes no notes, on which nothing can be counted."""
DEEPEST = 1 << 30
WARNING = 30


class Note(str):
    """A note of ours, told from those of others by its class; copied or pickled it is plain text."""

    __slots__ = ("depth", "raises")

    depth: int
    """How many runs are around the one that it is of; each of them adds its own behind it."""
    raises: int
    """How often a node has failed of this object."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return str, (str(self),)


def note_place(error: BaseException, text: str, depth: int = 0) -> bool:
    """Note the node that an exception came out of; say whether it took the note.

    What was noted of it before goes, but for what runs inside of this node have noted on its way here.

    Args:
        depth: how many runs are around the one of the node.
    """
    try:
        notes = notes_of(error)
        ours = [each for each in notes if isinstance(each, Note)]
        last = max((at for at, each in enumerate(ours) if each.depth <= depth), default=-1)
        raises = 1
        if last >= 0:
            before = ours[: last + 1]
            raises += max(each.raises for each in before)
            error.__notes__[:] = [each for each in notes if not any(each is gone for gone in before)]
        is_taken = _add(error, text, depth, _shortened(error, raises))
    except Exception:  # whatever its class makes of being looked at or changed
        is_taken = False
    if not is_taken:
        if _length(error.__traceback__) > MOST_FRAMES:
            _cut(error.__traceback__, MOST_FRAMES // 2)
        _log(10, f"{type(error).__name__} takes no note: {text}")
    return is_taken


def note_more(error: BaseException, text: str, level: int = WARNING) -> None:
    """Add to what was noted of an exception; where it takes no note, the log has it instead."""
    _add_once(error, text, None, level)


def note_others(error: BaseException, others: Iterable[BaseException]) -> None:
    """Note on an error what other nodes raised at about the same time."""
    for other in others:
        note_more(error, f"besides, another node failed: {spelled(other)} ({'; '.join(notes_of(other))})")


def note_before(error: BaseException, text: str) -> None:
    """Note something of an exception on its way to the node that it will come out of."""
    _add_once(error, text, DEEPEST, WARNING)


def _add_once(error: BaseException, text: str, depth: int | None, level: int) -> None:
    try:
        ours = [each for each in notes_of(error) if isinstance(each, Note)]
        if text in ours:
            return
        if len(ours) >= MOST_NOTES:
            error.__notes__.remove(ours[0])
        if depth is None:
            depth = ours[-1].depth if ours else 0
        _add(error, text, depth, 0)
    except Exception:
        _log(level, f"{spelled(error)}, which takes no note: {text}")


def notes_of(error: BaseException) -> list[str]:
    """Return the notes on an exception, as far as there are any and they can be had."""
    try:
        notes = getattr(error, "__notes__", None)
    except Exception:
        return []
    return [each for each in notes if isinstance(each, str)] if isinstance(notes, list) else []


def spelled(error: BaseException) -> str:
    """Return an error as `Type: message`, also one whose own message cannot be had."""
    return f"{type(error).__name__}: {without_passwords(message_of(error))}"


def traceback_of(error: BaseException) -> str | None:
    """Return the whole traceback of an error as text; None if Python cannot make one of it."""
    import traceback

    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        return None


def log_failure(text: str, error: BaseException) -> None:
    """Log that something failed, with its traceback where Python can make one of it."""
    import logging

    is_whole = traceback_of(error) is not None
    text = text if is_whole else f"{text} {spelled(error)}"
    logging.getLogger("cascade").error("%s", text, exc_info=error if is_whole else None)


def message_of(error: BaseException) -> str:
    """Return the message of an error, or that it cannot be had."""
    try:
        return str(error)
    except Exception as other:
        return f"(its message cannot be had: {type(other).__name__})"


def _log(level: int, text: str) -> None:
    import logging

    logging.getLogger("cascade").log(level, "%s", text)


def _add(error: BaseException, text: str, depth: int, raises: int) -> bool:
    note = Note(text)
    note.depth, note.raises = depth, raises
    error.add_note(note)
    return True


def _shortened(error: BaseException, raises: int) -> int:
    """Cut off the older half of the traceback of an object that was raised often; return how often the rest was.

    Python puts each raise in front of those before, with all that their frames hold.
    """
    if raises < MOST_RAISES:
        return raises
    _cut(error.__traceback__, _length(error.__traceback__) // 2)
    return raises // 2


def _length(trace: TracebackType | None) -> int:
    length = 0
    while trace is not None:
        length, trace = length + 1, trace.tb_next
    return length


def _cut(trace: TracebackType | None, left: int) -> None:
    """Cut a traceback off after so many frames."""
    while trace is not None and left > 1:
        left, trace = left - 1, trace.tb_next
    if trace is not None:
        trace.tb_next = None
