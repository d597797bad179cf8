"""Text as it may be shown: without the passwords of URLs, and without what moves a terminal's cursor or ends a line."""

from __future__ import annotations

import re

__all__ = ["indented", "one_line", "without_passwords"]

_PASSWORD = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@:\[\"'<>]*):"  # the scheme, and who
    r"(?!\d*[\"'<>])(?:[^\s/?#]*@"  # a password ends at the last @ of the authority
    r"|(?!\d*[/?#])[^\s@\"'<>]*@)"  # or it has a slash, as databases allow; a number before one is a port
)
_TOKEN = re.compile(r"(\bhttps?://)[^\s/?#@:\[\"'<>]+@", re.I)
"""Who asks for a page is often a token. (Of a database it is a name, which helps to understand an error.)"""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, further ends of lines, and what turns the direction of writing."""
_BUT_ENDS = re.compile(rf"(?!\n|\t){_CONTROLS.pattern}")


def without_passwords(text: str) -> str:
    """Return a text with `***` in the place of every password in a URL, and of a name without one in that of a page."""
    return _TOKEN.sub(r"\1***@", _PASSWORD.sub(r"\1:***@", text)) if "://" in text else text


def one_line(text: str) -> str:
    """Return a text with its control characters spelled out, `\\n` for the end of a line."""
    return text if text.isprintable() else _CONTROLS.sub(_spelled, text)


def indented(text: str, by: int) -> str:
    """Return a text whose further lines begin with blanks, so that none looks like a line of its own."""
    return text if text.isprintable() else _BUT_ENDS.sub(_spelled, text).replace("\n", "\n" + " " * by)


def _spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
