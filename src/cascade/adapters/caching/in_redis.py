"""Results kept in a Redis server; needs redis."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from cascade.adapters.caching.shared import SharedStore
from cascade.errors import MissingExtraError

__all__ = ["RedisStore"]


class RedisStore(SharedStore):
    """Keeps results in Redis, whatever its settings: what it forgets is made anew.

    Args:
        url: `redis://user:password@host:6379/0`, or `rediss://`; `?prefix=name` keeps several caches apart ("cascade"
            by default).
        lifetime: an entry that was kept so many seconds ago is forgotten; by default none is, but by the server.

    Raises:
        MissingExtraError: redis is not installed.
        ValueError: the lifetime is no number above 0.
    """

    def __init__(self, url: str, lifetime: float | None = None) -> None:
        super().__init__(url)
        if lifetime is not None and (isinstance(lifetime, bool) or not 0 < lifetime < float("inf")):
            raise ValueError(f"RedisStore takes a lifetime above 0 seconds, not {lifetime!r}")
        try:
            import redis
        except ImportError as error:
            raise MissingExtraError(
                "a cache in Redis needs the package 'redis', which is not installed: pip install cascade-py[redis]",
                name="redis",
            ) from error
        self._redis = redis
        self._milliseconds = None if lifetime is None else max(1, round(lifetime * 1000))
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query))
        self._prefix = given.pop("prefix", "cascade")
        place = urlunsplit(parts._replace(query=urlencode(given)))
        self._client: Any = redis.Redis.from_url(place, protocol=2, socket_connect_timeout=5.0, socket_timeout=15.0)

    def passing(self) -> tuple[type[Exception], ...]:
        """Return what is raised where the server is away, or fails."""
        return (self._redis.RedisError, OSError)

    def read(self, task: str, digest: str) -> tuple[float, str, bytes] | None:
        """Return an entry."""
        data = self._client.get(self._key(task, digest))
        if data is None:
            return None
        size, _, rest = data.partition(b":")
        saved, parts = json.loads(rest[: int(size)])
        return saved, parts, rest[int(size) :]

    def write(self, task: str, digest: str, saved: float, parts: str, value: bytes) -> None:
        """Keep an entry in place of any before."""
        head = json.dumps([saved, parts]).encode()
        told = f"{self._prefix}:cached:{task}"
        with self._client.pipeline() as pipe:
            pipe.set(self._key(task, digest), b"%d:%s%s" % (len(head), head, value), px=self._milliseconds)
            pipe.zadd(told, {json.dumps([digest, parts]): saved})
            pipe.zremrangebyrank(told, 0, -65)  # for explanations the newest are enough
            pipe.execute()

    def latest(self, task: str, most: int) -> list[tuple[str, float, str]]:
        """Return the newest entries of a task."""
        found = self._client.zrevrange(f"{self._prefix}:cached:{task}", 0, most - 1, withscores=True)
        return [(digest, saved, parts) for member, saved in found for digest, parts in [json.loads(member)]]

    def close(self) -> None:
        """Let go of the connections; they are made anew when they are needed."""
        self._client.close()

    def _key(self, task: str, digest: str) -> str:
        return f"{self._prefix}:cache:{task}:{digest}"
