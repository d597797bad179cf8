"""Results kept in memory."""

from __future__ import annotations

import copy
from typing import Any

from cascade.spec.caching import CacheEntry, CacheKey

__all__ = ["MemoryStore"]

FIXED = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis)})
MOST_TOLD = 64


class MemoryStore:
    """Keeps results in memory, as copies: what a reader does to its value harms nobody else.

    What cannot be copied (a connection, a lock) is kept as it is and shared.

    Args:
        max_entries: beyond so many, the one not used for longest is let go; by default none is.
    """

    is_at_hand = True
    """Whether a look takes no time, so that it is made between two calls."""

    def __init__(self, max_entries: int | None = None) -> None:
        if max_entries is not None and (not isinstance(max_entries, int) or max_entries < 1):
            raise ValueError(f"MemoryStore needs max_entries of 1 or more, not {max_entries!r}")
        self._max_entries = max_entries
        self._entries: dict[tuple[str, str], CacheEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, key: CacheKey) -> CacheEntry | None:
        """Return what is kept under a key, its value as a copy."""
        mark = (key.task, key.digest)
        entry = self._entries.get(mark)
        if entry is None:
            return None
        if self._max_entries is not None:
            self._entries[mark] = self._entries.pop(mark)
        return entry if entry.value.__class__ in FIXED else entry._replace(value=_copied(entry.value))

    def save(self, key: CacheKey, entry: CacheEntry) -> None:
        """Keep an entry, its value as a copy."""
        self._entries[key.task, key.digest] = entry._replace(value=_copied(entry.value))
        if self._max_entries is not None and len(self._entries) > self._max_entries:
            del self._entries[next(iter(self._entries))]

    def history(self, task: str) -> list[CacheEntry]:
        """Return the newest entries of a task, without their values."""
        found = [entry._replace(value=None) for (name, _), entry in self._entries.items() if name == task]
        return sorted(found, key=lambda entry: -entry.saved)[:MOST_TOLD]

    def clear(self) -> None:
        """Let go of everything."""
        self._entries.clear()


def _copied(value: Any) -> Any:
    if value.__class__ in FIXED:
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever its own way of being copied raises
        return value
