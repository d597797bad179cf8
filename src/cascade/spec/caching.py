"""Caches as plain data: what a node says of its cache, what a key is, and what a store keeps."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from datetime import timedelta

from cascade.spec.keywords import explains_options
from cascade.spec.shown import without_passwords

__all__ = [
    "CacheEntry",
    "CacheKey",
    "Cached",
    "Corrupt",
    "cache_from",
    "cached",
    "identity_of",
    "is_short",
    "mark_of",
    "store_from",
]


SERVERS = ("postgresql", "postgres", "redis", "rediss")
"""The servers that may keep results, by the schemes of their URLs."""


class Cached:
    """Keeps results by the content of what makes them; `cs.cached` makes one.

    `store` is None (the memory of the engine), the absolute path of a folder, the URL of a server, or a store object.
    """

    __slots__ = ("key", "store", "ttl", "version")

    def __init__(self, store: Any, ttl: float | None, key: Callable[..., Any] | None, version: Any) -> None:
        self.store: Any = store
        self.ttl: float | None = ttl
        self.key: Callable[..., Any] | None = key
        self.version: Any = version

    def _identity(self) -> tuple[Any, ...]:
        store = self.store if isinstance(self.store, str) else id(self.store)
        version = repr(self.version) if type(self.version) in (str, int, float, bool, type(None)) else id(self.version)
        return (store, self.ttl, id(self.key), version)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cached) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        given = [f"{name}={getattr(self, name)!r}" for name in ("store", "ttl", "key", "version")]
        return without_passwords(f"cached({', '.join(text for text in given if not text.endswith('=None'))})")


class CacheKey:
    """What a result is kept under: its task, a digest of all that makes it, and on request each part's own digest."""

    __slots__ = ("_parts", "digest", "task")

    def __init__(self, task: str, digest: str, parts: Callable[[], dict[str, str]]) -> None:
        self.task: str = task
        """`module:qualified name` of the task's function."""
        self.digest: str = digest
        self._parts = parts

    @property
    def parts(self) -> dict[str, str]:
        """The digest of each part of the key, by what the part is called: `argument 'x'`, `code of app:price`."""
        return self._parts()

    def __repr__(self) -> str:
        return f"<CacheKey of {self.task}: {self.digest}>"


PLAIN = frozenset({type(None), int, str, bytes})
LONGEST = 256


def mark_of(version: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what tells arguments apart as their content does, in less time; None if they are no plain values.

    (Neither are bools and floats: True is equal to 1, and 0.0 to -0.0.)
    """
    values = (version, *args, *kwargs.values()) if kwargs else (version, *args)
    for value in values:
        if type(value) not in PLAIN:  # whatever it pretends to be
            return None
    return (values, *kwargs) if kwargs else values


def is_short(mark: Any) -> bool:
    """Say whether a mark may be kept for long."""
    values = mark[0] if isinstance(mark[0], tuple) else mark
    return all(len(value) <= LONGEST for value in values if isinstance(value, (str, bytes)))


class CacheEntry(NamedTuple):
    """What a store keeps under a key."""

    value: Any
    saved: float
    """When it was kept (`time.time()`)."""
    parts: dict[str, str]
    """The parts of its key."""
    digest: str = ""


class Corrupt(NamedTuple):
    """What a store gives for an entry that is there and cannot be read; it is made anew then, with a warning."""

    reason: str


@explains_options("cs.cached")
def cached(
    store: Any = None, ttl: float | timedelta | None = None, key: Callable[..., Any] | None = None, version: Any = None
) -> Cached:
    """Return a cache policy: `task(x).with_cache(cs.cached())`, or `@cs.task(cache=cs.cached("folder"))`.

    A result is kept under the function's code, the helpers of your own that it reaches, and all arguments.

    Args:
        store: None keeps results in the memory of the engine; a path in that folder on disk (a relative one is
            that of the directory at this call), a URL in a server (`postgresql://...`, `redis://...`); else a store
            object (`cascade.spec.protocols.CacheStore`).
        ttl: a result older than this is made anew, in seconds or as a timedelta; by default none is ever too old.
        key: takes the arguments of a call and returns what stands for them in its key.
        version: a part of each key: change it to have everything made anew.

    Raises:
        TypeError, ValueError: an option that makes no sense.
    """
    if ttl is not None and hasattr(ttl, "total_seconds"):
        ttl = ttl.total_seconds()
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, (int, float))):
        raise TypeError(f"cs.cached takes a ttl in seconds or as a timedelta, not {ttl!r}")
    if ttl is not None and not ttl > 0:
        raise ValueError(f"cs.cached takes a ttl above 0 seconds, not {ttl!r}")
    if key is not None and not callable(key):
        raise TypeError(f"cs.cached takes as key a function of the task's arguments, not {key!r}")
    return Cached(store_from(store, "cs.cached"), ttl, key, version)


def store_from(store: Any, what: str) -> Any:
    """Return a store as a policy holds it: None, an absolute path, or the store object itself."""
    if store is None or (callable(getattr(store, "load", None)) and callable(getattr(store, "save", None))):
        return store
    if isinstance(store, (str, os.PathLike)):
        path = os.fspath(store)
        if isinstance(store, str) and (scheme := store.partition("://"))[1] and scheme[0].isalnum():
            if scheme[0] in SERVERS:
                return store
            raise ValueError(
                f"{what} takes the path of a folder, a URL of {', '.join(SERVERS)}, or a store; there is no cache for "
                f"{scheme[0]}://"
            )
        if isinstance(path, str) and path:
            return os.path.abspath(path)
    raise TypeError(f"{what} takes the path of a folder or a store (an object with load and save), not {store!r}")


def cache_from(policy: Any, what: str) -> Any:
    """Return what `with_cache` or `cache=` was given if it is a policy, or None.

    Raises:
        TypeError: it is none.
    """
    if policy is None or isinstance(policy, Cached):
        return policy
    if isinstance(policy, type) or not all(callable(getattr(policy, name, None)) for name in ("check", "save")):
        hint = ""
        if policy is cached or policy is True:
            hint = "; did you mean cs.cached()?"
        elif isinstance(policy, (str, os.PathLike)):
            hint = f"; did you mean cs.cached({os.fspath(policy)!r})?"
        elif isinstance(policy, type):
            hint = f"; did you mean {policy.__name__}(...)?"
        raise TypeError(
            f"{what} takes what cs.cached returns, or a policy with async methods check and save, not {policy!r}{hint}"
        )
    return policy


def identity_of(policy: Any) -> Any:
    """Return what tells two policies apart: their settings, or of a third party's the object."""
    return policy if policy is None or policy.__class__ is Cached else ("policy", id(policy))
