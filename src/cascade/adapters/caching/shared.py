"""Results kept where several hosts reach them: in PostgreSQL or Redis.

Whoever may write there could have put something there that runs code when it is read. So a value is kept in the form in
which runs record theirs, which runs nothing; what has no such form is a pickle, signed with what CASCADE_SECRET holds,
or is not kept at all. A server that does not answer costs nobody a run: what is looked for is made anew, with a
warning.
"""

from __future__ import annotations

import hmac
import json
import os
from abc import ABC, abstractmethod
from typing import Any

from cascade.adapters.state.codec import decode, encode
from cascade.errors import CacheError, StateError
from cascade.spec.caching import CacheEntry, CacheKey, Corrupt
from cascade.spec.notes import spelled
from cascade.spec.shown import without_passwords

__all__ = ["SharedStore"]

SECRET = "CASCADE_SECRET"
PICKLE, SIGNED, SIZE = b"p1", b"s1", 32
MOST_TOLD = 64


class SharedStore(ABC):
    """Keeps results in a server, for the processes of many hosts.

    Args:
        url: where it is.
    """

    in_threads = True

    def __init__(self, url: str) -> None:
        self.url: str = url
        self._secret = os.environ.get(SECRET, "").encode()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({without_passwords(self.url)!r})"

    @abstractmethod
    def read(self, task: str, digest: str) -> tuple[float, str, bytes] | None:
        """Return when an entry was kept, the parts of its key as JSON, and its value; None if there is none."""

    @abstractmethod
    def write(self, task: str, digest: str, saved: float, parts: str, value: bytes) -> None:
        """Keep an entry in place of any before."""

    @abstractmethod
    def latest(self, task: str, most: int) -> list[tuple[str, float, str]]:
        """Return the newest entries of a task: digest, when it was kept, and parts."""

    @abstractmethod
    def passing(self) -> tuple[type[Exception], ...]:
        """Return what is raised where the server is away, or fails."""

    def load(self, key: CacheKey) -> CacheEntry | Corrupt | None:
        """Read the entry of a key; `Corrupt` where the server is away, or what stands there is not ours."""
        try:
            found = self.read(key.task, key.digest)
        except self.passing() as error:
            return Corrupt(f"the cache {self!r} does not answer ({spelled(error)})")
        except (ValueError, TypeError, RecursionError) as error:
            return Corrupt(f"the entry {key.digest} of {self!r} is not ours ({error})")
        if found is None:
            return None
        saved, parts, data = found
        try:
            return CacheEntry(decode(self._unsealed(key, bytes(data))), saved, json.loads(parts), key.digest)
        except (StateError, ValueError, RecursionError) as error:
            return Corrupt(f"the entry {key.digest} of {self!r} cannot be read ({error})")

    def save(self, key: CacheKey, entry: CacheEntry) -> None:
        """Write an entry; where the server is away it is not kept.

        Raises:
            CacheError: the value cannot be kept.
        """
        try:
            data = encode(entry.value, pickles=bool(self._secret))
        except StateError as error:
            raise CacheError(f"what {key.task} returned cannot be kept in {self!r}: {error}") from error
        if data[:2] == PICKLE:
            data = SIGNED + self._signature(key, data[2:]) + data[2:]
        try:
            self.write(key.task, key.digest, entry.saved, json.dumps(entry.parts), data)
        except self.passing():
            return  # who looks for it is told

    def history(self, task: str) -> list[CacheEntry]:
        """Return the newest entries of a task, without their values."""
        try:
            found = self.latest(task, MOST_TOLD)
        except self.passing():
            return []
        return [CacheEntry(None, saved, json.loads(parts), digest) for digest, saved, parts in found]

    def _unsealed(self, key: CacheKey, data: bytes) -> bytes:
        """Return a value as it was encoded.

        Raises:
            StateError: it is a pickle that we have not signed for this key.
        """
        if data[:2] == PICKLE:
            raise StateError("it is a pickle that nobody has signed")
        if data[:2] != SIGNED:
            return data
        pickle = data[2 + SIZE :]
        if not self._secret or not hmac.compare_digest(data[2 : 2 + SIZE], self._signature(key, pickle)):
            raise StateError(f"it is a pickle that is signed with another key than what {SECRET} holds here")
        return PICKLE + pickle

    def _signature(self, key: CacheKey, pickle: bytes) -> bytes:
        about: list[Any] = [b"cascade cache 1", key.task.encode("utf-8", "surrogatepass"), key.digest.encode(), pickle]
        return hmac.digest(self._secret, b"".join(b"%d:%s" % (len(part), part) for part in about), "sha256")
