"""Which signals end what `cs.run` does, and how: as Ctrl-C does."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Ended", "Handling", "error_for"]

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Ctrl-C, a system that ends the process, a terminal that is closed (there is no such signal on Windows)."""


class Ended(SystemExit):
    """A signal has ended the run, and ends the process with the code that shells give for it."""

    def __init__(self, signum: int) -> None:
        self.status: int = 128 + signum
        super().__init__(self.status)


def error_for(signum: int) -> BaseException:
    """Return what a run ends with that a signal has ended."""
    return KeyboardInterrupt() if signum == signal.SIGINT else Ended(signum)


class Handling:
    """Lets signals call `handle`, for a while; not those that the program handles itself, or ignores.

    Only in the main thread, where Python calls handlers. A run inside of a run handles them first.
    """

    def __init__(self, handle: Callable[[int, FrameType | None], None]) -> None:
        self._handle = handle
        self._known: dict[int, Any] = {}
        self._process = os.getpid()

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                known = signal.getsignal(signum)
                if _is_usual(signum, known):
                    self._known[signum] = known
                    signal.signal(signum, self._signalled)

    def __exit__(self, *_: object) -> None:
        for signum, known in self._known.items():
            signal.signal(signum, known)

    def _signalled(self, signum: int, frame: FrameType | None) -> None:
        known = self._known[signum]
        if os.getpid() != self._process:  # in a child that was forked meanwhile it means what it did before
            signal.signal(signum, known)
            os.kill(os.getpid(), signum)
            return
        try:
            self._handle(signum, frame)
        finally:
            if _is_ours(known):
                known(signum, frame)


def _is_ours(known: Any) -> bool:
    return isinstance(getattr(known, "__self__", None), Handling)


def _is_usual(signum: int, known: Any) -> bool:
    """Say whether a handler is Python's own, or asyncio's, or that of a run around."""
    asyncios = isinstance(getattr(getattr(known, "func", None), "__self__", None), asyncio.Runner)
    usual = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
    return asyncios or known is usual or known == usual or _is_ours(known)
