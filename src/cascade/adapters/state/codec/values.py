"""The form of a recorded value: JSON where that can be, what it names beside it, a pickle for all else.

The first two bytes say which, and of which version:

    j1  JSON that gives the very value back
    t1  JSON in which an object of one member with a name that begins with "~" stands for something else
    b1  such JSON, as [value, lengths] in one line, and pieces of so many bytes behind it, which it refers to by number
    p1  a pickle
    r1  why it is not read: a store that others can write to says so of a pickle that is not signed

The same value comes back, of the same type, and what was one list comes back as one: what JSON would make two of is
pickled as a whole.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from json import encoder
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from cascade.adapters.state.codec import arrays, classes
from cascade.adapters.state.codec.names import NotNamed
from cascade.adapters.state.codec.pickles import pickled, unpickled
from cascade.errors import StateError
from cascade.spec.notes import spelled

__all__ = ["decode", "encode", "unfit_part"]

WIDE = 1 << 63
LONGEST = 13_000
"""Numbers of so many bits have decimal digits in text; there is a limit to these."""
INLINE = 1024
"""Bytes beyond so many are kept beside the text."""


def encode(value: Any, *, pickles: bool = True) -> bytes:
    """Return the form of a value.

    Args:
        pickles: whether it may be a pickle.

    Raises:
        StateError: there is no form that gives it back.
    """
    cls = value.__class__
    if cls is int and -WIDE < value < WIDE:
        return b"j1%d" % value
    try:
        if _is_plain_atom(cls, value) or _is_plain(value, set()):
            return b"j1" + _text(value)
        writing = _Writing()
        text = _text(writing.form(value))
        if not writing.pieces:
            return b"t1" + text
        lengths = json.dumps([len(piece) for piece in writing.pieces]).encode()
        return b"".join((b"b1[", text, b",", lengths, b"]\n", *writing.pieces))
    except (NotNamed, RecursionError):
        pass
    try:
        data = pickled(value)
    except StateError as error:
        raise StateError(f"a {type(value).__qualname__} cannot be recorded: {error}") from error
    if not pickles:
        raise StateError(
            f"a {type(value).__qualname__} cannot be recorded: it would be a pickle, and in a store that others can "
            "write to these are signed: set CASCADE_SECRET to the same long random text in all processes that use it, "
            "or give plain data, dataclasses or pydantic models"
        )
    return b"p1" + data


def unfit_part(value: Any, path: str, *, pickles: bool = True) -> str:
    """Return which part of a value there is no form for, and what that is: `x['rows'][3], a function`.

    Args:
        path: what the value itself is called.
        pickles: whether it may be a pickle.
    """
    for _ in range(20):
        parts: Any = value.items() if isinstance(value, dict) else ()
        if isinstance(value, (list, tuple)):
            parts = enumerate(value)
        for at, part in parts:
            try:
                encode(part, pickles=pickles)
            except StateError:
                path, value = f"{path}[{at!r}]", part
                break
        else:
            break
    return f"{path}, a {type(value).__qualname__}"


def decode(data: bytes, *, allow: Sequence[str] = ()) -> Any:
    """Return the value of a form; nothing is imported for it but what is allowed.

    Args:
        allow: modules that may be imported where the value is of one of their classes.

    Raises:
        StateError: it is damaged, of a later version, not to be read, or names what is not there or may not be named.
    """
    try:
        return _decoded(data, allow)
    except StateError:
        raise
    except Exception as error:  # whatever damage leads to, and what classes raise of their own
        raise StateError(f"a recorded value cannot be read: {spelled(error)}") from error


def _decoded(data: bytes, allow: Sequence[str]) -> Any:
    head = data[:2]
    if head == b"j1":
        return _parsed(data[2:])
    if head == b"t1":
        return _Reading(allow, ()).value(_parsed(data[2:]))
    if head == b"b1":
        end = data.index(b"\n")
        tree, lengths = _parsed(data[2:end])
        pieces, at = [], end + 1
        for length in lengths:
            pieces.append(memoryview(data)[at : at + length])
            at += length
        if at != len(data) or any(length < 0 for length in lengths):
            raise StateError("a recorded value is damaged: it is not as long as it says")
        return _Reading(allow, pieces).value(tree)
    if head == b"p1":
        return unpickled(memoryview(data)[2:], allow)
    if head == b"r1":
        raise StateError(f"a recorded value is not read: {data[2:].decode(errors='replace')}")
    raise StateError(f"a recorded value is of a form that this version of Cascade does not know ({head!r})")


# --- plain JSON


def _is_plain(value: Any, seen: set[int]) -> bool:
    """Say whether JSON gives this very value back: its types, its order, and no list that it holds twice."""
    cls = type(value)
    if cls is dict:
        for key in value:
            if type(key) is not str or (key[:1] == "~" and len(value) == 1):
                return False
        items = value.values()
    elif cls is list:
        items = value
    else:
        return _is_plain_atom(cls, value)
    if id(value) in seen:
        return False
    seen.add(id(value))
    for item in items:
        cls = type(item)
        if cls is str or item is None or cls is bool or (cls is int and -WIDE < item < WIDE):
            continue
        if not (_is_plain(item, seen) if cls is list or cls is dict else _is_plain_atom(cls, item)):
            return False
    return True


def _is_plain_atom(cls: type, value: Any) -> bool:
    if cls is float:
        return bool(value - value == 0.0)  # neither NaN nor infinite
    if cls is int:
        return bool(-WIDE < value < WIDE)
    return cls is str or value is None or cls is bool


def _refuse(value: Any) -> Any:
    raise NotNamed(type(value).__name__)


def _maker() -> Callable[[Any], str]:
    """Return what makes JSON of a tree that has no circles; json's own function makes a new encoder at each call."""
    inside: Any = encoder
    try:
        one = inside.c_make_encoder(None, _refuse, inside.c_encode_basestring, None, ":", ",", False, False, False)
        if "".join(one({"a": ["\u00e9\ud800", 1.5, None]}, 0)) == '{"a":["\u00e9\ud800",1.5,null]}':
            return lambda tree: "".join(one(tree, 0))
    except Exception:  # another Python, whose json is made in another way
        pass
    return json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode


_dumped = _maker()
_raw_decode = json.JSONDecoder().raw_decode


def _text(tree: Any) -> bytes:
    return _dumped(tree).encode("utf-8", "surrogatepass")


def _parsed(data: bytes) -> Any:
    text = data.decode("utf-8", "surrogatepass")
    value, end = _raw_decode(text)
    if end != len(text):
        raise StateError("a recorded value is damaged: it goes on behind its end")
    return value


# --- what JSON does not know


class _Writing:
    """What was written of one value so far."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.seen: set[int] = set()

    def form(self, value: Any) -> Any:
        """Return the tree of a value; NotNamed for one that has none."""
        cls: Any = type(value)
        write = WRITERS.get(cls)
        if write is not None:
            return write(self, value)
        if cls in CONTAINERS or arrays.is_known(cls):
            self.once(value)
            return CONTAINERS[cls](self, value) if cls in CONTAINERS else arrays.form(value, self.form, self.piece)
        found = classes.content_writer(cls)
        if found is None:
            raise NotNamed(cls.__name__)
        content, can_change = found
        if can_change:
            self.once(value)
        return content(value, self.form)

    def once(self, value: Any) -> None:
        """Raise NotNamed for what is met again, and would come back as two."""
        if id(value) in self.seen:
            raise NotNamed("it is there twice")
        self.seen.add(id(value))

    def piece(self, data: bytes) -> int:
        """Keep bytes beside the text; return their number."""
        self.pieces.append(data)
        return len(self.pieces) - 1


def _of_int(writing: _Writing, value: int) -> Any:
    return value if value.bit_length() < LONGEST else {"~int": hex(value)}


def _of_float(writing: _Writing, value: float) -> Any:
    return value if value - value == 0.0 else {"~float": repr(value)}


def _of_bytes(writing: _Writing, value: bytes) -> Any:
    return {"~bytes": b64encode(value).decode() if len(value) <= INLINE else writing.piece(value)}


def _of_zone(value: Any) -> Any:
    """Return the tree of a time zone."""
    if value is None:
        return None
    if type(value) is timezone:
        offset, *name = value.__getinitargs__()  # type: ignore[attr-defined]
        return [offset.days, offset.seconds, offset.microseconds, *name]
    if type(value) is ZoneInfo and value.key is not None:
        return value.key
    raise NotNamed(type(value).__name__)


def _of_moment(tag: str) -> Callable[[_Writing, Any], Any]:
    def form(writing: _Writing, value: Any) -> Any:
        return {tag: [value.replace(tzinfo=None).isoformat(), value.fold, _of_zone(value.tzinfo)]}

    return form


def _of_dict(writing: _Writing, value: dict[Any, Any]) -> Any:
    form = writing.form
    if all(type(key) is str for key in value) and not (len(value) == 1 and next(iter(value)).startswith("~")):
        return {key: form(each) for key, each in value.items()}
    return {"~dict": [[form(key), form(each)] for key, each in value.items()]}


WRITERS: dict[type, Callable[[_Writing, Any], Any]] = {
    type(None): lambda writing, value: None,
    bool: lambda writing, value: value,
    int: _of_int,
    float: _of_float,
    str: lambda writing, value: value,
    bytes: _of_bytes,
    tuple: lambda writing, value: {"~tuple": [*map(writing.form, value)]},
    frozenset: lambda writing, value: {"~frozenset": [*map(writing.form, value)]},
    datetime: _of_moment("~datetime"),
    time: _of_moment("~time"),
    date: lambda writing, value: {"~date": value.isoformat()},
    timedelta: lambda writing, value: {"~timedelta": [value.days, value.seconds, value.microseconds]},
    timezone: lambda writing, value: {"~zone": _of_zone(value)},
    ZoneInfo: lambda writing, value: {"~zone": _of_zone(value)},
    UUID: lambda writing, value: {"~uuid": str(value)},
    Decimal: lambda writing, value: {"~decimal": str(value)},
}
PATHS: dict[str, type] = {cls.__name__: cls for cls in (PosixPath, WindowsPath, PurePosixPath, PureWindowsPath)}
for _path in PATHS.values():
    WRITERS[_path] = lambda writing, value: {"~path": [type(value).__name__, str(value)]}
CONTAINERS: dict[type, Callable[[_Writing, Any], Any]] = {
    list: lambda writing, value: [*map(writing.form, value)],
    set: lambda writing, value: {"~set": [*map(writing.form, value)]},
    dict: _of_dict,
}
"""Of what can change, and therefore must not be met twice."""


class _Reading:
    """What one value is read with."""

    def __init__(self, allow: Sequence[str], pieces: Sequence[memoryview]) -> None:
        self.allow = allow
        self.pieces = pieces

    def value(self, tree: Any) -> Any:
        """Return the value of a tree."""
        if type(tree) is list:
            return [*map(self.value, tree)]
        if type(tree) is not dict:
            return tree
        if len(tree) == 1:
            ((tag, body),) = tree.items()
            if tag[:1] == "~":
                return self._tagged(tag, body)
        return {key: self.value(each) for key, each in tree.items()}

    def _tagged(self, tag: str, body: Any) -> Any:
        read = READERS.get(tag)
        if read is not None:
            return read(self, body)
        content = classes.READERS.get(tag)
        if content is not None:
            return content(body, self.value, self.allow)
        table = arrays.READERS.get(tag)
        if table is not None:
            return table(body, self.value, self.pieces, self.allow)
        raise StateError(f"a recorded value holds a {tag[:40]}, which this version of Cascade does not know")


def _bytes(reading: _Reading, body: Any) -> bytes:
    return b64decode(body, validate=True) if isinstance(body, str) else bytes(reading.pieces[body])


def _zone(body: Any) -> Any:
    if body is None:
        return None
    if isinstance(body, str):
        return ZoneInfo(body)
    days, seconds, microseconds, *name = body
    return timezone(timedelta(days, seconds, microseconds), *name)


def _moment(cls: type[datetime] | type[time]) -> Callable[[_Reading, Any], Any]:
    def read(reading: _Reading, body: Any) -> Any:
        text, fold, zone = body
        return cls.fromisoformat(text).replace(tzinfo=_zone(zone), fold=fold)

    return read


def _path_of(reading: _Reading, body: Any) -> Any:
    name, text = body
    try:
        return PATHS[name](text)
    except NotImplementedError as error:  # of another system
        raise StateError(f"the record holds a {name}, which this system has not: {error}") from error


READERS: dict[str, Callable[[_Reading, Any], Any]] = {
    "~int": lambda reading, body: int(body, 16),
    "~float": lambda reading, body: float(body),
    "~bytes": _bytes,
    "~tuple": lambda reading, body: tuple(map(reading.value, body)),
    "~frozenset": lambda reading, body: frozenset(map(reading.value, body)),
    "~set": lambda reading, body: set(map(reading.value, body)),
    "~dict": lambda reading, body: {reading.value(key): reading.value(each) for key, each in body},
    "~datetime": _moment(datetime),
    "~time": _moment(time),
    "~date": lambda reading, body: date.fromisoformat(body),
    "~timedelta": lambda reading, body: timedelta(*body),
    "~zone": lambda reading, body: _zone(body),
    "~uuid": lambda reading, body: UUID(body),
    "~decimal": lambda reading, body: Decimal(body),
    "~path": _path_of,
}
