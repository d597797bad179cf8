"""Finds the Chinese of a text that something else has made in English: by the template that it fits."""

from __future__ import annotations

import re
from functools import cache
from string import Formatter

from cascade.app.words import WORDS, language

__all__ = ["translated"]

MOST_LETTERS = 10_000
"""A longer text is left as it is: it is data."""


def translated(text: str, letters: str) -> str:
    """Return a text in the language of the user, if a template of these letters makes it; what fills its gaps, too.

    Args:
        text: in English; returned as it is, if that is the language, or if no template fits.
        letters: what the ids of the templates begin with: t (typer), f (findings), p (plans), e (errors).
    """
    return _chinese(text, letters) if language() == "zh" and len(text) <= MOST_LETTERS else text


def _chinese(text: str, letters: str) -> str:
    for key, pattern in _patterns(letters):
        found = pattern.fullmatch(text)
        if found is not None:
            gaps = {
                name: _chinese(given, letters) if given != text else given for name, given in found.groupdict().items()
            }
            return WORDS[key][1].format(**gaps)
    return text


@cache
def _patterns(letters: str) -> list[tuple[str, re.Pattern[str]]]:
    """Return the templates as patterns, those with the most words of their own first."""
    keys = [key for key in WORDS if key[1] == "_" and key[0] in letters]
    parts = {key: [*Formatter().parse(WORDS[key][0])] for key in keys}
    keys.sort(key=lambda key: -sum(len(plain) for plain, *_ in parts[key]))
    return [(key, _pattern([(plain, name) for plain, name, *_ in parts[key]])) for key in keys]


def _pattern(parts: list[tuple[str, str | None]]) -> re.Pattern[str]:
    """Return what fits a template; a gap that comes again has the same in it."""
    seen: set[str] = set()
    found = ""
    for plain, name in parts:
        found += re.escape(plain)
        if name is not None:
            found += f"(?P={name})" if name in seen else f"(?P<{name}>.*?)"
            seen.add(name)
    return re.compile(found, re.DOTALL)
