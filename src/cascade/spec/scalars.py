"""How values of one word are read: numbers, truth, text, dates, durations, enumerations and the like.

Text becomes the value it spells. What is no text passes if it is of the type already, or stands for a value of it
without loss (2.0 is an int, 3 a float); everything else is refused.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = [
    "ANY",
    "SCALARS",
    "WORDS",
    "Reading",
    "Refused",
    "enumeration",
    "literal",
    "plain_class",
    "refuse",
    "spelled",
]

WORDS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
MOST_LETTERS = 200
WHOLE = re.compile(r"\s*([+-]?\d+)\.0*\s*")
UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001, "us": 0.000001}
NAMES = {
    **{"week": "w", "weeks": "w", "day": "d", "days": "d", "hour": "h", "hours": "h", "min": "m", "mins": "m"},
    **{"minute": "m", "minutes": "m", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "µs": "us"},
}
PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]+)[\s,]*")
ISO = re.compile(r"P(?:(\d+(?:[.,]\d+)?)W)?(?:(\d+(?:[.,]\d+)?)D)?(T(?:(\d+(?:[.,]\d+)?)H)?(?:(\d+(?:[.,]\d+)?)M)?"
                 r"(?:(\d+(?:[.,]\d+)?)S)?)?")  # fmt: skip
CLOCK = re.compile(r"(?:(-?\d+) days?,? )?(\d+):(\d\d):(\d\d(?:\.\d{1,6})?)")


class Refused(ValueError):
    """A value that is no value of a type; the message says why, and may be empty."""


class Reading:
    """How one type is read."""

    __slots__ = ("has", "many", "name", "read")

    def __init__(self, name: str, has: Callable[[Any], bool], read: Callable[[Any], Any], many: bool = False) -> None:
        self.name = name
        self.has = has
        """Whether a value passes as it is."""
        self.read = read
        """Returns the value; raises Refused, or whatever a constructor raises."""
        self.many = many
        """Whether it holds items that are read one by one."""


ANY = Reading("any", lambda value: True, lambda value: value)


def refuse(value: Any, name: str, why: str = "") -> NoReturn:
    """Raise Refused for a value that is not of the type of this name."""
    shown = repr(value)
    shown = shown if len(shown) <= MOST_LETTERS else f"{shown[: MOST_LETTERS - 1]}…"
    raise Refused(f"{shown} is no {name}{why}")


def spelled(hint: Any) -> str:
    """Return a type as it would be written, without what Annotated adds."""
    if typing.get_origin(hint) is typing.Annotated:
        return spelled(hint.__origin__)
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    known = typing.get_origin(hint) is None and getattr(hint, "__name__", None)
    return known if isinstance(known, str) else str(hint).replace("typing.", "")


# --- numbers and text


def _whole(value: Any) -> int:
    if isinstance(value, str):
        spelled = WHOLE.fullmatch(value)
        return int(spelled[1] if spelled else value)
    if _is_real(value):
        try:
            if value == (number := int(value)):
                return number
        except (ValueError, OverflowError):  # not a number, or infinite
            pass
        refuse(value, "int", ": it is not whole")
    refuse(value, "int")


def _real(value: Any) -> float:
    if isinstance(value, str) or _is_real(value):
        return float(value)
    refuse(value, "float")


def _complex(value: Any) -> complex:
    if isinstance(value, str) or _is_real(value):
        return complex(value)
    refuse(value, "complex")


def _is_real(value: Any) -> bool:
    """Say whether a value is a number, of numpy too; a bool is an int to Python, but not to a reader."""
    from numbers import Real

    return isinstance(value, Real) and not isinstance(value, bool)


def _truth(value: Any) -> bool:
    word = value.strip().lower() if isinstance(value, str) else ""
    if not word and (type(value) is int or type(value).__module__ == "numpy"):  # a bool of numpy is no bool
        word = str(value).lower()
    if word not in WORDS:
        raise Refused("write true, false, 1, 0, yes, no, on or off")
    return WORDS[word]


def _text(value: Any) -> str:
    refuse(value, "text")


def _range(value: Any) -> range:
    """Return the range that text spells as slices are: `5`, `1:5` or `1:9:2`."""
    if not isinstance(value, str):
        refuse(value, "range")
    try:
        return range(*map(int, value.split(":")))
    except (TypeError, ValueError):
        raise Refused("write 5, 1:5 or 1:9:2") from None


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else refuse(value, "bytes")


def _nothing(value: Any) -> None:
    if isinstance(value, str) and value.strip().lower() in ("none", "null"):
        return
    refuse(value, "None")


def _number_of(cls: Any) -> Callable[[Any], Any]:
    """Return what reads a Decimal or a Fraction: text, or an int."""

    def read(value: Any) -> Any:
        if isinstance(value, str) or type(value) is int:
            try:
                return cls(value)
            except ArithmeticError:
                pass
        refuse(value, cls.__name__)

    return read


# --- time


def _iso(cls: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        return cls.fromisoformat(value.strip()) if isinstance(value, str) else refuse(value, cls.__name__)

    return read


def _is_day(value: Any) -> bool:
    from datetime import date, datetime

    return isinstance(value, date) and not isinstance(value, datetime)  # the two do not compare with each other


def _duration(value: Any) -> Any:
    """Return the time that `1h30m`, `PT1H30M` or `1:30:00` is."""
    from datetime import timedelta

    text = value.strip() if isinstance(value, str) else refuse(value, "timedelta")
    sign, bare = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    iso = ISO.fullmatch(bare.upper())
    if iso and any(iso.groups()) and iso[3] != "T":
        parts = [float((part or "0").replace(",", ".")) for part in (iso[1], iso[2], iso[4], iso[5], iso[6])]
        return sign * timedelta(weeks=parts[0], days=parts[1], hours=parts[2], minutes=parts[3], seconds=parts[4])
    clock = CLOCK.fullmatch(text)  # as Python writes it: `-1 day, 23:00:00` is an hour below zero
    sign, clock = (1, clock) if clock else (sign, CLOCK.fullmatch(bare))
    if clock:
        days, hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        return sign * timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if re.fullmatch(rf"(?:{PART.pattern})+", bare.lower()):
        found = PART.findall(bare.lower())
        units = [NAMES.get(unit, unit) for _, unit in found]
        if all(unit in UNITS for unit in units):
            return sign * sum(
                (timedelta(seconds=float(count) * UNITS[unit]) for (count, _), unit in zip(found, units, strict=True)),
                timedelta(),
            )
    refuse(value, "duration", ": write 1h30m, 90s, 1:30:00 or PT1H30M")


# --- one of several


def enumeration(cls: Any) -> Reading:
    """Return how an enumeration is read: by value or name, flags as `A|B`."""
    from enum import Flag

    def one(value: Any) -> Any:
        if isinstance(value, str):
            try:
                return cls(value)
            except ValueError:
                word = value.strip()
                if word in cls.__members__:
                    return cls[word]
                for member in cls:
                    if str(member.value) == word:
                        return member
        elif not isinstance(value, bool) or any(member.value is value for member in cls):
            return cls(value)
        listed = ", ".join(cls.__members__)
        refuse(value, cls.__name__, f": take one of {listed}" if len(listed) < MOST_LETTERS else "")

    def several(value: Any) -> Any:
        if not isinstance(value, str):
            return one(value)
        text = value.strip().removeprefix(f"{cls.__name__}.")
        if re.fullmatch(r"\d+", text):
            return cls(int(text))
        found = cls(0)
        for word in text.split("|"):
            found |= one(word)
        return found

    return Reading(cls.__name__, lambda value: isinstance(value, cls), several if issubclass(cls, Flag) else one)


def literal(values: tuple[Any, ...], name: str) -> Reading:
    """Return how one of some values is read: by itself, or as text that spells it."""

    def has(value: Any) -> bool:
        return any(value.__class__ is each.__class__ and value == each for each in values)

    def read(value: Any) -> Any:
        if isinstance(value, str):
            if value in values:
                return value
            word = value.strip()
            for each in values:
                if each.__class__ is bool:
                    if WORDS.get(word.lower()) is each:
                        return each
                elif word == str(each) or word == getattr(each, "name", None) or (each is None and word == "null"):
                    return each
        raise Refused(f"take one of {', '.join(map(repr, values))}")

    return Reading(name, has, lambda value: value if has(value) else read(value))


# --- classes


def plain_class(cls: Any) -> Reading:
    """Return how a class that nothing is known of is read: it is called with text."""

    def has(value: Any) -> bool:
        try:
            return isinstance(value, cls)
        except TypeError:  # a protocol that cannot be asked at run time
            return not isinstance(value, str)

    def read(value: Any) -> Any:
        if has(value):
            return value
        return cls(value) if isinstance(value, str) else refuse(value, cls.__name__)

    return Reading(cls.__name__, has, read)


def _scalar(read: Callable[[Any], Any], has: Callable[[Any], bool] | None = None) -> Callable[[Any], Reading]:
    def reading(cls: Any) -> Reading:
        passes = has or (lambda value: isinstance(value, cls))
        return Reading(cls.__name__, passes, lambda value: value if passes(value) else read(value))

    return reading


def _pattern(cls: Any) -> Reading:
    return _scalar(lambda value: re.compile(value) if isinstance(value, str) else refuse(value, "pattern"))(cls)


SCALARS: dict[str, Callable[[Any], Reading]] = {
    "builtins.object": lambda cls: ANY,
    "builtins.int": _scalar(_whole, lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "builtins.float": _scalar(_real),
    "builtins.complex": _scalar(_complex),
    "builtins.bool": _scalar(_truth),
    "numpy.bool": lambda cls: _scalar(lambda value: cls(_truth(value)))(cls),
    "numpy.bool_": lambda cls: _scalar(lambda value: cls(_truth(value)))(cls),
    "builtins.str": _scalar(_text),
    "builtins.bytes": _scalar(_bytes),
    "builtins.bytearray": _scalar(lambda value: bytearray(_bytes(value))),
    "builtins.memoryview": _scalar(lambda value: memoryview(_bytes(value))),
    "builtins.range": _scalar(_range),
    "builtins.NoneType": _scalar(_nothing),
    "datetime.date": lambda cls: _scalar(_iso(cls), _is_day)(cls),
    "datetime.datetime": lambda cls: _scalar(_iso(cls))(cls),
    "datetime.time": lambda cls: _scalar(_iso(cls))(cls),
    "datetime.timedelta": _scalar(_duration),
    "decimal.Decimal": lambda cls: _scalar(_number_of(cls))(cls),
    "fractions.Fraction": lambda cls: _scalar(_number_of(cls))(cls),
    "re.Pattern": _pattern,
}
"""By module and name, how a class is read; a subclass of one is read by its own constructor."""
