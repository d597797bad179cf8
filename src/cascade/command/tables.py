"""Tables of text: columns as wide as what stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import east_asian_width

from cascade.app.words import say

__all__ = ["aligned", "titles"]


def titles(*names: str) -> tuple[str, ...]:
    """Return the titles of columns, in the language of the user."""
    return tuple(say(f"title_{name}") for name in names)


def aligned(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table, its titles first, as wide as what stands in it; the last column as it comes."""
    widths = [max(map(_width, column)) for column in zip(titles, *rows, strict=True)][:-1]
    return [
        "  ".join([*(_filled(cell, width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in (titles, *rows)
    ]


def _filled(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(1 + (east_asian_width(letter) in "WF") for letter in text)
