"""Fast paths: which there are, and a switch for tests and measurements that takes them out.

Each does what another way does as well, which is the meaning: `docs/fast-paths.md` says which way that is, which test
holds the two together and how much the path is worth. Whether a path is taken is asked where a run, a loop or a map
begins, or where code is emitted, never for a call; so what has begun, and what was compiled already, goes on as it is.
(An option of the engine would be one that nobody should use.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

__all__ = ["FAST_PATHS", "FastPath", "off", "without"]

FastPath = Literal[
    "calls in the pass",
    "plain awaits",
    "tickets in the driver",
    "compiled flows",
    "shared flows",
    "pieces",
    "short entries",
    "compiled loops",
    "inner loops",
    "tail transitions",
    "shared transitions",
    "compiled starts",
    "comprehensions",
    "maps in the pass",
    "maps in flows",
    "subflows in code",
    "resources at hand",
    "own resources in the pass",
    "room at hand",
    "results at hand",
]
FAST_PATHS: tuple[FastPath, ...] = get_args(FastPath)

off: set[FastPath] = set()
"""The paths that are not taken, in the whole process."""


@contextmanager
def without(*names: FastPath) -> Iterator[None]:
    """Take paths out for a while; what runs meanwhile should be declared meanwhile."""
    before = off.copy()
    off.update(names)
    try:
        yield
    finally:
        off.clear()
        off.update(before)
