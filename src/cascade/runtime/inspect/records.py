"""Records of `logging` for who writes or keeps them, with the step that they were made in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from cascade.runtime.frames.step_keys import about
from cascade.runtime.run.awaiters import whereabouts

__all__ = ["Records", "step_here"]

ABOUT = ("run_id", "task_id", "iteration", "attempt")


class Records(logging.Handler):
    """Writes each record that is made while the `with` block lasts; what is made in a task belongs to its step.

    Args:
        level: what is below is left out; what a logger lets through, its own level says.
        write: takes the level, the time (seconds since the epoch) and the fields of a line.
    """

    def __init__(self, level: int, write: Callable[[str, float, dict[str, Any]], None]) -> None:
        super().__init__(level)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            known, masked = step_here()
            fields: dict[str, Any] = {"logger": record.name, "message": masked(record.getMessage())}
            fields |= {name: getattr(record, name) for name in ABOUT if hasattr(record, name)} or known
            if record.exc_info:
                fields["exception"] = masked(logging.Formatter().formatException(record.exc_info))
            self._write(record.levelname, record.created, fields)
        except Exception:
            self.handleError(record)

    def __enter__(self) -> Records:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger().removeHandler(self)


def step_here() -> tuple[dict[str, Any], Callable[[str], str]]:
    """Return what is known of the call that this code is a part of, for a log, and what takes secrets out of a text."""
    place = whereabouts()
    if place is None:
        return {}, str
    known = about(place.run, place.call, place.attempt)
    return {name: getattr(known, name) for name in ("run_id", "task_id", "iteration", "attempt")}, place.run.masked
