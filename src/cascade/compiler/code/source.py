"""The one place that makes code of text: emitted source -> function, known to `linecache` while it is in use.

Tracebacks and debuggers show the emitted lines, and each line ends with a comment that names the task and where
it was declared. (An idea of attrs, which registers its generated methods likewise.)
"""

from __future__ import annotations

import keyword
import linecache
import re
import weakref
from collections.abc import Callable
from hashlib import sha256
from typing import Any

__all__ = ["Namer", "comment", "make_function"]

_LONGEST_NAME = 40


def make_function(name: str, source: str, names: dict[str, Any]) -> Callable[..., Any]:
    """Return the function called `name` that `source` defines, with `names` as its globals.

    The text stays in `linecache` as long as the function lives; equal texts share one entry.
    """
    filename = f"<cascade plan {name} {sha256(source.encode()).hexdigest()[:12]}>"
    scope = {"__builtins__": {}, **names}
    exec(compile(source, filename, "exec"), scope)
    function: Callable[..., Any] = scope.pop(name)
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    _users[filename] = _users.get(filename, 0) + 1
    weakref.finalize(function, _forget, filename)
    return function


_users: dict[str, int] = {}


def _forget(filename: str) -> None:
    _users[filename] -= 1
    if not _users[filename]:
        del _users[filename]
        linecache.cache.pop(filename, None)


class Namer:
    """Gives out identifiers: made from what users named things, of a safe alphabet, each only once."""

    def __init__(self) -> None:
        self._taken: set[str] = {*keyword.kwlist, *keyword.softkwlist}
        self._counts: dict[str, int] = {}
        """The last number that was put behind each name."""

    @staticmethod
    def base(wish: str) -> str:
        """Return `wish` in the safe alphabet."""
        base = re.sub(r"\W", "_", wish, flags=re.ASCII)[:_LONGEST_NAME].strip("_") or "value"
        return f"v{base}" if base[0].isdigit() else base

    def name(self, wish: str) -> str:
        """Return an identifier like `wish` that nobody has yet."""
        base = self.base(wish)
        found, count = base, self._counts.get(base, 1)
        while found in self._taken:
            count += 1
            found = f"{base}_{count}"
        self._taken.add(found)
        self._counts[base] = count
        return found


def comment(text: str) -> str:
    """Return text as a comment that cannot end early, whatever it holds."""
    return "# " + "".join(c if c.isprintable() else "?" for c in text)
