"""Trimming: keeps a folder of cached results below a size, letting go of those not used for longest."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from threading import Lock

__all__ = ["Trimmer"]

ENTRY = re.compile(r"[0-9a-f]{40}\.(json|pickle)")
LEFT = 0.9
"""Of the size that is allowed, so much is left by each trim: one in many savings pays for it."""


class Trimmer:
    """Keeps the entries below `path` within `most` bytes; used from any thread, beside other processes."""

    def __init__(self, path: str, most: int) -> None:
        self.path = path
        self.most = most
        self._size: int | None = None
        """What there is, as far as is known here; None: nobody has looked."""
        self._lock = Lock()

    def added(self, count: int) -> None:
        """Take note of an entry of `count` bytes; remove old ones if that is too much."""
        with self._lock:
            if self._size is not None:
                self._size += count
            if self._size is None or self._size > self.most:
                self._size = self._trim()

    def used(self, place: str) -> None:
        """Take note that an entry was used."""
        with contextlib.suppress(OSError):
            os.utime(place)

    def _trim(self) -> int:
        found = sorted(self._entries())
        size = sum(count for _, count, _ in found)
        if size <= self.most:
            return size
        for _, count, place in found:
            with contextlib.suppress(OSError):  # somebody else was faster
                os.unlink(place)
            size -= count
            if size <= self.most * LEFT:
                break
        return size

    def _entries(self) -> Iterator[tuple[int, int, str]]:
        """Yield when each entry was last used, its size, and where it is; nothing else is ever touched."""
        with contextlib.suppress(OSError), os.scandir(self.path) as folders:
            for folder in folders:
                with contextlib.suppress(OSError), os.scandir(folder.path) as files:
                    for each in files:
                        if ENTRY.fullmatch(each.name) and each.is_file(follow_symlinks=False):
                            with contextlib.suppress(OSError):
                                about = each.stat(follow_symlinks=False)
                                yield about.st_mtime_ns, about.st_size, each.path
