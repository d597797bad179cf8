"""The one terminal of a process: what is drawn on it gives way while somebody is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Drawn", "alone", "drawing", "drawn"]


class Drawn(Protocol):
    """What is drawn on the terminal again and again."""

    def give_way(self) -> None:
        """Take away what is drawn, until it is drawn again."""


drawn: list[Drawn] = []
"""What is drawn now."""
_asking = threading.Lock()
_drawing = threading.Lock()


@contextmanager
def alone() -> Iterator[None]:
    """Have the terminal for oneself: nothing is drawn, and nobody else asks."""
    with _asking:
        with _drawing:
            for each in drawn:
                each.give_way()
        yield


@contextmanager
def drawing() -> Iterator[bool]:
    """Draw, if this is true: nobody is asked."""
    with _drawing:
        yield not _asking.locked()
