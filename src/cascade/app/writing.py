"""Writes to the standard streams, whatever they are: missing, closed, or of an encoding that lacks some letters."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

__all__ = ["can_spell", "forgive", "is_terminal", "tell", "write_out"]

ESCAPED = "backslashreplace"
PLAIN = dict(
    zip(
        "─│┌┐└┘├┤┬┴┼╭╮╰╯━═║╌╎┄┆▼▲◀▶●○◇▢▣◌■≡↻←→⇠…▸",
        "-|+++++++++++++-=|-:-:v^<>*ooooo#=@<><.>",
        strict=True,
    )
)
"""What drawings are made of, for encodings without it."""


def tell(text: str) -> None:
    """Write to stderr, if there is one that can still be written to."""
    with suppress(OSError, ValueError):  # closed, at this end or at the other: that shall stop no workflow
        _write(sys.stderr, text)


def write_out(text: str) -> None:
    """Write to stdout, if there is one."""
    _write(sys.stdout, text)


def forgive() -> None:
    """Have stdout escape the letters that its encoding lacks, whoever writes them."""
    with suppress(AttributeError, ValueError, OSError):
        if sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors=ESCAPED)  # type: ignore[union-attr]  # or it has no such method


def _write(stream: Any, text: str) -> None:
    if stream is None:  # a program without a console
        return
    encoding = getattr(stream, "encoding", None)
    errors = getattr(stream, "errors", None) or "strict"
    if isinstance(encoding, str) and not can_spell(text, encoding, "strict" if errors == ESCAPED else errors):
        text = _spelled(text, encoding)
    stream.write(text)
    flush = getattr(stream, "flush", None)
    if flush is not None:
        flush()


def _spelled(text: str, encoding: str) -> str:
    """Return a text with an escape, or a letter like it, for each letter that an encoding lacks."""
    letters = {letter: PLAIN.get(letter) for letter in set(text) if not can_spell(letter, encoding)}
    plain = text.translate({ord(letter): like for letter, like in letters.items() if like is not None})
    return plain.encode(encoding, ESCAPED).decode(encoding)


def can_spell(text: str, encoding: str, errors: str = "strict") -> bool:
    """Say whether an encoding has all letters of a text."""
    try:
        text.encode(encoding, errors)
    except UnicodeEncodeError:
        return False
    return True


def is_terminal(stream: Any) -> bool:
    """Say whether a stream is a terminal; what does not know is none."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):  # there is none, it is closed, or it is no file
        return False
