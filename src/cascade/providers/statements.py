"""SQL as it was meant: which `:name` is a parameter, and values as a database takes them."""

from __future__ import annotations

import re
import sys
from typing import Any

__all__ = ["bound", "spelled"]

_QUOTED = r"""
    (?P<escaping> (?<!\w) [eE] ' (?: [^'\\] | \\. | '' )* ' )      # PostgreSQL's strings with escapes
  | ' (?: [^'{backslash}] {escape} | '' )* '
  | " (?: [^"{backslash}] {escape} | "" )* "
  | ` [^`]* `
  | -- [^\n]*
  | /\* .*? \*/
  | (?<![\w$]) (?P<tag> \$ (?: [^\W\d] \w* )? \$ ) .*? (?P=tag)     # PostgreSQL's dollar quotes
"""
_PLAIN = re.compile(_QUOTED.format(backslash="", escape=""), re.VERBOSE | re.DOTALL)
_ESCAPED = re.compile(_QUOTED.format(backslash=r"\\", escape=r"| \\."), re.VERBOSE | re.DOTALL)
"""What is quoted for MySQL, where a backslash escapes in every string."""
_NAME = re.compile(r"(?<![:\w\\]):(?=\w+(?![:\w]))")
"""What SQLAlchemy takes for a parameter."""


def spelled(query: str, dialect: str) -> str:
    """Return a statement as SQLAlchemy's `text` wants it: a `:name` in quotes or a comment escaped, for it is none."""
    quoted = _ESCAPED if dialect in ("mysql", "mariadb") else _PLAIN
    return quoted.sub(lambda found: _NAME.sub(r"\\:", found[0]), query)


def bound(params: Any) -> Any:
    """Return values by name as a database takes them: for one statement, or a list of such."""
    if isinstance(params, (list, tuple)):
        return [_values(each) for each in params]
    return _values(params or {})


def _values(given: Any) -> dict[str, Any]:
    numpy = sys.modules.get("numpy")
    if numpy is None:  # then none of its values are here
        return dict(given)
    return {name: _plain(name, value, numpy) for name, value in given.items()}


def _plain(name: str, value: Any, numpy: Any) -> Any:
    """Return a number of numpy as Python's: SQLite would take its bytes, without a word."""
    if isinstance(value, numpy.generic):
        if isinstance(value, numpy.floating):
            return float(value)
        found = value.item()
        if not isinstance(value, (numpy.datetime64, numpy.timedelta64)) or not isinstance(found, int):
            return found  # a time in nanoseconds has no counterpart, and would be a number
    elif not isinstance(value, numpy.ndarray):
        return value
    raise TypeError(
        f"cs.sql cannot bind {name!r}, which is a {type(value).__name__} of numpy ({value.dtype}): "
        "give what the column holds: a number, bytes, a datetime, ..."
    )
