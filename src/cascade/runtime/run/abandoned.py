"""Abandoned: what stays open because a thread that was left behind may use it, until that ends or the program does."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["PATIENCE", "after"]

PATIENCE = 1.0
"""Seconds that the end of the program waits, in all, for threads that were left behind with something open."""

log = logging.getLogger("cascade")


class _Abandoned:
    """What is torn down when the last of some threads has ended; once, whoever comes first."""

    def __init__(self, count: int, names: Callable[[], list[str]], orphaned: Callable[[], None]) -> None:
        self.names = names
        self.orphaned = orphaned
        self.pid = os.getpid()
        self._count = count
        self._is_taken = False

    def take(self) -> bool:
        """Say whether the caller is the one that tears it down."""
        with _changed:
            is_first = not self._is_taken
            self._is_taken = True
        return is_first

    def one_less(self, then: Callable[[], None]) -> None:
        """Note the end of a thread; behind the last one, call `then`."""
        with _changed:
            self._count -= 1
            is_last = not self._count
        if not is_last or not self.take():
            return
        try:
            then()
        finally:
            with _changed:
                _left_open.pop(self, None)
                _changed.notify_all()


_left_open: dict[_Abandoned, None] = {}
"""In the order of their ends: what a run has, before what its engine keeps."""
_changed = threading.Condition()


def after(
    left: list[tuple[Any, asyncio.Future[None]]],
    names: Callable[[], list[str]],
    ended: Callable[[], None],
    orphaned: Callable[[], None],
) -> None:
    """Call `ended` when all calls that were left behind have ended, or `orphaned` if their event loop has before.

    At the end of the program, what is open is waited for a moment and then torn down, while they go on.

    Args:
        left: the jobs, and a future for the end of each.
        names: says what is open.
    """
    if not _left_open:
        atexit.unregister(_at_exit)
        atexit.register(_at_exit)  # now, to come before those of what was imported until here
    waiting = _Abandoned(len(left), names, orphaned)
    _left_open[waiting] = None
    for job, end in left:
        before = job.orphaned

        def orphan(before: Callable[[], None] = before) -> None:
            before()
            waiting.one_less(orphaned)

        job.orphaned = orphan
        end.add_done_callback(lambda _: waiting.one_less(ended))


def _at_exit() -> None:
    """Tear down what is open still: no thread outlives the program."""
    mine = [each for each in [*_left_open] if each.pid == os.getpid()]  # a fork has what is its parent's
    with _changed:
        _changed.wait_for(lambda: not any(each in _left_open and each.names() for each in mine), PATIENCE)
    for each in mine:
        names = each.names()
        if names and each.take():
            log.warning(
                "the program ends while a thread goes on that was left behind and may use what is torn down now: %s",
                ", ".join(names),
            )
            each.orphaned()
