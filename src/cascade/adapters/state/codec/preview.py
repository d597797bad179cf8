"""What a value looks like in a line, for people: short whatever its size, and without secrets."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Collection
from typing import Any

from cascade.spec.shown import one_line, without_passwords

__all__ = ["preview"]

WIDTH = 200
MORE = "..."
WIDE = 1 << 63
MASK = "***"


def preview(value: Any, secrets: Collection[str] = ()) -> str:
    """Return what a value looks like, in one line of 200 characters at the most.

    Args:
        secrets: texts of which nothing is shown.
    """
    cls = type(value)
    if value is None or cls is bool or (cls is int and -WIDE < value < WIDE):
        return repr(value) if not secrets else _masked(repr(value), secrets)
    if not secrets and _is_short(value, 3):
        text = repr(value)
    else:
        parts = _Parts(secrets)
        try:
            parts.add(value, 4)
        except Exception:  # whatever a class raises of its own
            parts.text(f"<{cls.__name__}>")
        text = "".join(parts.found)
    text = without_passwords(one_line(text))
    return text if len(text) <= WIDTH else text[: WIDTH - len(MORE)] + MORE


def _is_short(value: Any, depth: int) -> bool:
    """Say whether Python's own spelling of a value will do: it holds little, and no objects."""
    cls = type(value)
    if cls is str:
        return len(value) < WIDTH
    if cls is float or value is None or cls is bool or (cls is int and -WIDE < value < WIDE):
        return True
    if (cls is not list and cls is not dict and cls is not tuple) or depth == 0 or len(value) > 8:
        return False
    for item in value:
        if not _is_short(item, depth - 1):
            return False
    return cls is not dict or all(_is_short(item, depth - 1) for item in value.values())


def _is_spelled_by_python(cls: type) -> bool:
    """Say whether the repr of a dataclass is the one that Python has made, and not one that leaves something out."""
    made = getattr(cls.__repr__, "__wrapped__", None)
    return getattr(getattr(made, "__code__", None), "co_filename", "") == "<string>"


def _masked(text: str, secrets: Collection[str]) -> str:
    """Return a text without the secrets, also where they stand in it as Python spells them."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, MASK).replace(repr(secret)[1:-1], MASK)
    return text


class _Parts:
    """The parts of the line so far, and how much more of it there may be."""

    def __init__(self, secrets: Collection[str]) -> None:
        self.found: list[str] = []
        self.left = WIDTH + 1
        self.secrets = secrets

    def text(self, text: str) -> None:
        """Add a text of ours."""
        self.found.append(text)
        self.left -= len(text)

    def foreign(self, text: str) -> None:
        """Add a text that may hold secrets; they go before it is cut off."""
        if self.secrets:
            text = _masked(text, self.secrets)
        self.text(text[: max(0, self.left)])

    def add(self, value: Any, depth: int) -> None:
        """Add a value, containers with what they hold, to a depth."""
        cls = type(value)
        if cls is str:
            if self.secrets:
                value = _masked(value, self.secrets)
            self.text(repr(value[: max(0, self.left)]))
        elif cls is bytes:
            hidden = [each.encode("utf-8", "surrogatepass") for each in self.secrets if each]
            shown = value[: self.left + max(map(len, hidden), default=0)]
            is_secret = any(each in shown for each in hidden)
            self.text(f"<{len(value)} bytes>" if is_secret else repr(shown[: max(0, self.left)]))
        elif cls is int and not -WIDE < value < WIDE:
            self.text(hex(value) if value.bit_length() < WIDTH else f"<an int of {value.bit_length()} bits>")
        elif cls in BRACKETS:
            self._many(value, *BRACKETS[cls], lambda item: self.add(item, depth - 1), depth)
        elif cls is dict:
            self._many(value.items(), "{", "}", lambda item: self._pair(item, depth - 1), depth)
        elif isinstance(value, enum.Enum):
            self.foreign(str(value) if type(value).__str__ is enum.Enum.__str__ else repr(value))
        elif dataclasses.is_dataclass(cls) and _is_spelled_by_python(cls):
            self._dataclass(value, depth)
        elif isinstance(shape := getattr(cls, "shape", None) and getattr(value, "shape", None), tuple) and shape:
            self.foreign(f"<{cls.__name__} of {' x '.join(map(str, shape))}>")
        else:
            self.foreign(repr(value))

    def _many(self, items: Any, opening: str, closing: str, add: Callable[[Any], None], depth: int) -> None:
        self.text(opening)
        for at, item in enumerate(items):
            if at:
                self.text(", ")
            if self.left <= 0 or depth <= 0:
                self.text(MORE)
                break
            add(item)
        self.text(closing)

    def _pair(self, item: tuple[Any, Any], depth: int) -> None:
        self.add(item[0], depth)
        self.text(": ")
        self.add(item[1], depth)

    def _dataclass(self, value: Any, depth: int) -> None:
        """Add a dataclass, without the fields that its own repr leaves out."""
        shown = [field.name for field in dataclasses.fields(value) if field.repr and hasattr(value, field.name)]

        def add(name: str) -> None:
            self.text(f"{name}=")
            self.add(getattr(value, name), depth - 1)

        self._many(shown, f"{type(value).__name__}(", ")", add, depth)


BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}
