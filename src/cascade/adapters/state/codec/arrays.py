"""Arrays of numpy, tables of pandas and polars: in their own binary forms, never with a pickle inside.

No library is imported to write, nor to read: who has such a value has its library.
"""

from __future__ import annotations

import io
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from cascade.adapters.state.codec.names import NotNamed, library
from cascade.errors import StateError

__all__ = ["READERS", "form", "is_known"]

Form = Callable[[Any], Any]
Piece = Callable[[bytes], int]
"""Keeps bytes beside the text; gives their number."""


@lru_cache(maxsize=1024)
def is_known(cls: type) -> bool:
    """Say whether the objects of a class may have a form here."""
    return _kind(cls) != ""


@lru_cache(maxsize=1024)
def _kind(cls: type) -> str:
    root = cls.__module__.partition(".")[0]
    if root not in ("numpy", "pandas", "polars") or root not in sys.modules:
        return ""
    module = vars(sys.modules[root])
    names = ("ndarray", "generic") if root == "numpy" else ("DataFrame", "Series")
    for name in names:
        found = module.get(name)
        if found is cls or (name == "generic" and isinstance(found, type) and issubclass(cls, found)):
            return f"{root}.{name}"
    return ""


def form(value: Any, part: Form, piece: Piece) -> Any:
    """Return the tree of an array or a table; NotNamed for one that holds Python objects, or more than is known here.

    Args:
        part: gives the tree of what it holds besides, as names.
    """
    cls: Any = type(value)
    return WRITERS[_kind(cls)](value, part, piece)


# --- numpy


def _of_array(value: Any, part: Form, piece: Piece) -> Any:
    if value.dtype.hasobject or value.dtype.metadata:
        raise NotNamed("ndarray")
    file = io.BytesIO()
    sys.modules["numpy"].save(file, value, allow_pickle=False)
    return {"~array": piece(file.getvalue())}


def _of_scalar(value: Any, part: Form, piece: Piece) -> Any:
    dtype = value.dtype
    if dtype.hasobject or dtype.names or dtype.metadata or dtype.type is not type(value) or not dtype.itemsize:
        raise NotNamed("generic")
    if sys.modules["numpy"].dtype(dtype.str).type is not type(value):
        raise NotNamed("generic")
    return {"~scalar": [dtype.str, b64encode(value.tobytes()).decode()]}


def _array(body: Any, read: Form, pieces: Sequence[memoryview], allow: Sequence[str]) -> Any:
    numpy: Any = library("numpy", allow)
    found = numpy.load(io.BytesIO(pieces[body]), allow_pickle=False)
    if type(found) is not numpy.ndarray:
        raise StateError("a recorded array is damaged")
    return found


def _scalar(body: Any, read: Form, pieces: Sequence[memoryview], allow: Sequence[str]) -> Any:
    numpy: Any = library("numpy", allow)
    spelled, data = body
    dtype = numpy.dtype(str(spelled))
    if dtype.hasobject:
        raise StateError("a recorded number of numpy is damaged")
    return numpy.frombuffer(b64decode(data, validate=True), dtype=dtype, count=1)[0]


# --- pandas


def _of_column(values: Any, part: Form, piece: Piece) -> Any:
    """Return the tree of a column or of the labels of an index, by what numpy or JSON makes of it."""
    dtype = values.dtype
    if isinstance(dtype, sys.modules["numpy"].dtype):
        return _of_array(values.to_numpy(), part, piece)
    if type(dtype).__name__ == "StringDtype" and dtype.storage == "python":
        missing = "NA" if dtype.na_value is sys.modules["pandas"].NA else "nan"
        return {"text": [each if isinstance(each, str) else None for each in values], "missing": missing}
    raise NotNamed(str(dtype))


def _of_index(index: Any, part: Form, piece: Piece) -> Any:
    kind = type(index).__name__
    tree = {"kind": kind, "name": part(index.name)}
    if kind == "RangeIndex":
        return tree | {"range": [index.start, index.stop, index.step]}
    if kind not in ("Index", "DatetimeIndex", "TimedeltaIndex") or type(index) is not getattr(
        sys.modules["pandas"], kind, None
    ):
        raise NotNamed(kind)
    return tree | {"values": _of_column(index, part, piece), "freq": getattr(index, "freqstr", None)}


def _of_series(value: Any, part: Form, piece: Piece) -> Any:
    _check_flags(value)
    held = {"name": part(value.name), "index": _of_index(value.index, part, piece), "attrs": part(dict(value.attrs))}
    return {"~series": held | {"values": _of_column(value, part, piece)}}


def _of_frame(value: Any, part: Form, piece: Piece) -> Any:
    _check_flags(value)
    held = {
        "columns": _of_index(value.columns, part, piece),
        "index": _of_index(value.index, part, piece),
        "attrs": part(dict(value.attrs)),
    }
    numpy = sys.modules["numpy"]
    dtypes = set(value.dtypes)
    if len(dtypes) == 1 and isinstance(next(iter(dtypes)), numpy.dtype):
        return {"~frame": held | {"block": _of_array(value.to_numpy(), part, piece)}}
    return {"~frame": held | {"each": [_of_column(each, part, piece) for _, each in value.items()]}}


def _check_flags(value: Any) -> None:
    if not value.flags.allows_duplicate_labels:
        raise NotNamed("flags")


def _column(tree: Any, read: Form, pandas: Any) -> Any:
    if "text" not in tree:
        return read(tree)
    missing = pandas.NA if tree["missing"] == "NA" else float("nan")
    return pandas.array(tree["text"], dtype=pandas.StringDtype("python", na_value=missing))


def _index(tree: Any, read: Form, pandas: Any) -> Any:
    name = read(tree["name"])
    if tree["kind"] == "RangeIndex":
        return pandas.RangeIndex(*tree["range"], name=name)
    if tree["kind"] not in ("Index", "DatetimeIndex", "TimedeltaIndex"):
        raise StateError("a recorded table is damaged")
    more = {"freq": tree["freq"]} if tree["freq"] else {}
    return getattr(pandas, tree["kind"])(_column(tree["values"], read, pandas), name=name, **more)


def _series(body: Any, read: Form, pieces: Sequence[memoryview], allow: Sequence[str]) -> Any:
    pandas: Any = library("pandas", allow)
    values = _column(body["values"], read, pandas)
    found = pandas.Series(values, index=_index(body["index"], read, pandas), name=read(body["name"]))
    found.attrs = read(body["attrs"])
    return found


def _frame(body: Any, read: Form, pieces: Sequence[memoryview], allow: Sequence[str]) -> Any:
    pandas: Any = library("pandas", allow)
    index = _index(body["index"], read, pandas)
    if "block" in body:
        found = pandas.DataFrame(read(body["block"]), index=index)
    else:
        columns = {at: _column(each, read, pandas) for at, each in enumerate(body["each"])}
        found = pandas.DataFrame(columns, index=index)
    found.columns = _index(body["columns"], read, pandas)
    found.attrs = read(body["attrs"])
    return found


# --- polars


def _of_polars(value: Any, part: Form, piece: Piece) -> Any:
    polars: Any = sys.modules["polars"]
    is_series = type(value) is polars.Series
    table = value.to_frame() if is_series else value
    if any(dtype == polars.Object for dtype in table.dtypes):
        raise NotNamed("Object")
    file = io.BytesIO()
    table.write_ipc(file, compression="uncompressed")
    return {"~polars": ["Series" if is_series else "DataFrame", piece(file.getvalue())]}


def _polars(body: Any, read: Form, pieces: Sequence[memoryview], allow: Sequence[str]) -> Any:
    polars: Any = library("polars", allow)
    kind, number = body
    table = polars.read_ipc(io.BytesIO(pieces[number]))
    return table.to_series(0) if kind == "Series" else table


WRITERS: dict[str, Callable[[Any, Form, Piece], Any]] = {
    "numpy.ndarray": _of_array,
    "numpy.generic": _of_scalar,
    "pandas.DataFrame": _of_frame,
    "pandas.Series": _of_series,
    "polars.DataFrame": _of_polars,
    "polars.Series": _of_polars,
}
READERS: dict[str, Callable[[Any, Form, Sequence[memoryview], Sequence[str]], Any]] = {
    "~array": _array,
    "~scalar": _scalar,
    "~frame": _frame,
    "~series": _series,
    "~polars": _polars,
}
"""By tag: gives the value of a tree, by what reads its parts, the pieces beside it, and what may be imported."""
