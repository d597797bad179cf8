"""How wide a text is in a picture: an estimate by letter, for fonts as wide as DejaVu Sans."""

from __future__ import annotations

from functools import lru_cache
from unicodedata import combining, east_asian_width

__all__ = ["text_width"]

NARROW = frozenset("iIjl.,:;'|!()[]{}ftr \"`-/\\")
WIDE = frozenset("mwMW@%&—…")


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Return about how many pixels a line of text takes in letters of that size (pixels)."""
    return size * sum(map(_letter_width, text))


def _letter_width(letter: str) -> float:
    if letter in NARROW:
        return 0.42
    if letter in WIDE:
        return 1.0
    if letter.isascii():
        return 0.72 if letter.isupper() else 0.635
    if combining(letter):
        return 0.0
    return 1.06 if east_asian_width(letter) in "WF" else 0.8
