"""Objects whose content has to be in a key: each function makes one from a value; those of unlike values differ.

`main` prints the key of each as an argument and as a global, for a test in another process.
"""

import abc
import argparse
import collections
import configparser
import contextvars
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import io
import json
import operator
import pathlib
import re
import string
import struct
import sys
import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import cascade as cs
from cascade.adapters.caching.keys import key_of

Make = Callable[[int], Any]


@dataclasses.dataclass
class Scaled:
    x: dataclasses.InitVar[int]
    name: str = "n"

    def __post_init__(self, x: int) -> None:
        self.y = x * 10


@dataclasses.dataclass
class Rows(list[int]):
    name: str = "n"


@dataclasses.dataclass
class Table(dict[str, int]):
    name: str = "n"


@dataclasses.dataclass
class Text(str):
    name: str = "n"


class Base:
    def __init__(self) -> None:
        self.hidden = 0


@dataclasses.dataclass
class OnPlain(Base):
    name: str = "n"


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    n: int


class BelowFrozen(Frozen):
    """Its objects have a dict, of which the way its base is pickled says nothing."""


class Place(pathlib.PurePosixPath):
    label = 0


class Slots:
    __slots__ = ("__private", "n")

    def __init__(self, n: int) -> None:
        self.n = 0
        self.__private = n


class SlotsAndDict(Slots):
    pass


class Plain:
    def __init__(self, n: int) -> None:
        self.n = n


class Reduced:
    def __init__(self, n: int) -> None:
        self.n = n
        self.lock = object()

    def __reduce__(self) -> Any:
        return Reduced, (self.n,)


class State:
    def __init__(self, n: int) -> None:
        self.n = n
        self.lock = object()

    def __getstate__(self) -> Any:
        return {"n": self.n}


class Counter(collections.Counter[str]):
    label = 0


class Default(collections.defaultdict[str, list[int]]):
    label = 0


class Deque(collections.deque[int]):
    label = 0


class Day(datetime.datetime):
    label = 0


class Amount(decimal.Decimal):
    label = 0


class Part(fractions.Fraction):
    label = 0


class Number(int):
    label = 0


class Words(str):
    label = 0


class Pair(NamedTuple):
    a: int
    b: int = 0


class Point(Pair):
    label = 0


class Measured(property):
    unit = 0


class Weekday(enum.Enum):
    MON = 1
    TUE = 2


class Power(enum.Flag):
    A = 1
    B = 2


class Planet(enum.Enum):
    EARTH = (1, 2)

    def __init__(self, mass: int, radius: int) -> None:
        self.mass = mass


class Wrapper:
    """A decorator that is a class."""

    def __init__(self, func: Callable[..., Any], n: int) -> None:
        functools.update_wrapper(self, func)
        self.func = func
        self.n = n

    def __call__(self, *args: Any) -> Any:
        return self.func(*args)


def with_attribute(value: Any, n: int, name: str = "label") -> Any:
    setattr(value, name, n)
    return value


def below_frozen(n: int) -> Any:
    made = BelowFrozen(0)
    object.__setattr__(made, "more", n)
    return made


def filled(rows: Any, n: int) -> Any:
    if isinstance(rows, dict):
        rows["n"] = n
    else:
        rows.append(n)
    return rows


def config(n: int) -> Any:
    parser = configparser.ConfigParser()
    parser.read_string(f"[a]\nn = {n}\n")
    return parser


def dispatched(n: int) -> Any:
    @functools.singledispatch
    def show(x: object) -> int:
        return 0

    show.register(int, two if n == 2 else one)
    return show


def one(x: object) -> int:
    return 1


def two(x: object) -> int:
    return 2


def generated() -> Iterator[int]:
    yield 1


def decorated(n: int) -> Any:
    def rated(x: int) -> int:
        return x

    return with_attribute(rated, n, "rate")


def caused(n: int) -> Any:
    error = ValueError("x")
    error.__cause__ = KeyError(n)
    return error


def noted(n: int) -> Any:
    error = ValueError("x")
    error.add_note(str(n))
    return error


STANDARD: dict[str, Make] = {
    "a dataclass with an InitVar": Scaled,
    "a dataclass over a list": lambda n: filled(Rows(), n),
    "a dataclass over a dict": lambda n: filled(Table(), n),
    "a dataclass over a str": lambda n: Text.__new__(Text, str(n)),
    "a dataclass over a plain class": lambda n: with_attribute(OnPlain(), n, "hidden"),
    "a dataclass with a new attribute": lambda n: with_attribute(OnPlain(), n, "more"),
    "a frozen dataclass with slots": Frozen,
    "a class below a dataclass with slots": below_frozen,
    "an object": Plain,
    "an object with slots": Slots,
    "an object with slots and a dict": lambda n: with_attribute(SlotsAndDict(0), n),
    "an object that reduces itself": Reduced,
    "an object with a state": State,
    "a Counter of one's own": lambda n: with_attribute(Counter("a"), n),
    "a defaultdict of one's own": lambda n: with_attribute(Default(list), n),
    "a deque of one's own": lambda n: with_attribute(Deque([1]), n),
    "a datetime of one's own": lambda n: with_attribute(Day(2020, 1, 1), n),
    "a Decimal of one's own": lambda n: with_attribute(Amount(1), n),
    "a Fraction of one's own": lambda n: with_attribute(Part(1, 2), n),
    "an int of one's own": lambda n: with_attribute(Number(1), n),
    "a str of one's own": lambda n: with_attribute(Words("a"), n),
    "a named tuple of one's own": lambda n: with_attribute(Point(1), n),
    "a property of one's own": lambda n: with_attribute(Measured(one), n, "unit"),
    "a named tuple": Pair,
    "an enum": Weekday,
    "a flag": Power,
    "an enum with an attribute": lambda n: with_attribute(Planet.EARTH, n, "note"),
    "a ChainMap": lambda n: collections.ChainMap({"a": 0}, {"n": n}),
    "a UserDict": lambda n: collections.UserDict(n=n),
    "a UserList": lambda n: collections.UserList([n]),
    "a UserString": lambda n: collections.UserString(str(n)),
    "a Namespace": lambda n: argparse.Namespace(n=n),
    "a SimpleNamespace": lambda n: types.SimpleNamespace(n=n),
    "a Template": lambda n: string.Template(f"$x {n}"),
    "a ConfigParser": config,
    "a BytesIO": lambda n: io.BytesIO(b"%d" % n),
    "a StringIO": lambda n: io.StringIO(str(n)),
    "a pattern": lambda n: re.compile(f"a{n}"),
    "a match": lambda n: re.match(f"a{n}", f"a{n}b"),
    "a Struct": lambda n: struct.Struct(f"{n}i"),
    "a hash": lambda n: hashlib.sha256(b"%d" % n),
    "a partial": lambda n: functools.partial(one, n),
    "a partial with an attribute": lambda n: with_attribute(functools.partial(one), n),
    "an itemgetter": operator.itemgetter,
    "keys of a dict": lambda n: {n: 1}.keys(),
    "values of a dict": lambda n: {1: n}.values(),
    "items of a dict": lambda n: {1: n}.items(),
    "a mapping proxy": lambda n: types.MappingProxyType({"n": n}),
    "a memoryview": lambda n: memoryview(b"%d" % n),
    "a bound method": lambda n: Plain.__repr__.__get__(Plain(n)),
    "a method of a list": lambda n: [n].count,
    "a singledispatch function": dispatched,
    "a function with an attribute": decorated,
    "a cached function with an attribute": lambda n: with_attribute(functools.lru_cache(one), n),
    "a decorator that is a class": lambda n: Wrapper(one, n),
    "a task": lambda n: cs.task(one if n == 1 else two),
    "a path of one's own": lambda n: with_attribute(Place("a"), n),
    "an error": ValueError,
    "an error with a cause": caused,
    "an error with a note": noted,
    "a date": lambda n: datetime.date(2020, 1, n),
    "a generic alias": lambda n: list[int] if n == 1 else list[str],
    "an annotated type": lambda n: Annotated[int, n],
}
"""What the standard library and plain classes give, both as arguments and where code reaches them."""

ONLY_REACHED: dict[str, Make] = {
    "a dataclass that is made": lambda n: dataclasses.make_dataclass("D", [("x", int, dataclasses.field(default=n))]),
    "an abstract class that is made": lambda n: abc.ABCMeta("A", (), {"n": n}),
    "a context variable": lambda n: contextvars.ContextVar("name", default=n),
    "a method that dispatches": lambda n: functools.singledispatchmethod(dispatched(n)),
    "a partial method": lambda n: functools.partialmethod(one, n),
}


def key_as_argument(value: Any) -> str:
    return key_of(cs.task(one), (value,), {}, cs.cached()).digest


def key_as_global(value: Any) -> str:
    names: dict[str, Any] = {"__name__": "made", "VALUE": value}
    exec("def f(x): return VALUE", names)
    return key_of(cs.task(names["f"]), (1,), {}, cs.cached()).digest


def others() -> dict[str, Make]:
    """Return what third parties give."""
    import httpx
    import jinja2
    import numpy as np
    import pydantic
    from typing_extensions import TypedDict

    class Field(np.ndarray[Any, Any]):
        pass

    class Grid(np.ma.MaskedArray[Any, Any]):
        pass

    def model(n: int, **options: Any) -> Any:
        return pydantic.create_model("M", x=(Annotated[int, pydantic.Field(ge=n)], 5), **options)

    def masked(n: int) -> Any:
        array = np.ma.array([1, n, 3], mask=[False, True, False])
        array.fill_value = 9
        return array

    def environment(n: int) -> Any:
        made = jinja2.Environment(autoescape=False)
        made.filters["f"] = one if n == 1 else two
        return made

    settings = model(0)
    return {
        "an array": lambda n: np.arange(n),
        "an array with an attribute": lambda n: with_attribute(np.arange(3).view(Field), n, "unit"),
        "a masked array": masked,
        "a masked array with an attribute": lambda n: with_attribute(np.ma.array([1]).view(Grid), n, "unit"),
        "a structured array": lambda n: np.array([(n, 1.0)], dtype=[("a", "i4"), ("b", "f8")]),
        "an array of objects": lambda n: np.array([Plain(n)], dtype=object),
        "an array of fields out of order": lambda n: np.zeros(
            1, np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0], "itemsize": 8 + n})
        ),
        "an array of texts": lambda n: np.array([str(n) * 40], dtype=np.dtypes.StringDType()),
        "a number of numpy": lambda n: np.float32(n),
        "a dtype": lambda n: np.dtype(f"S{n}"),
        "a polynomial": lambda n: np.poly1d([1, n]),
        "headers": lambda n: httpx.Headers({"a": str(n)}),
        "a URL": lambda n: httpx.URL(f"http://a/{n}"),
        "a template": lambda n: jinja2.Template(f"a {{{{ x }}}} {n}"),
        "a template of an environment": lambda n: environment(n).from_string("{{ x|f }}"),
        "an environment": environment,
        "an object of a model": lambda n: settings(x=n),
        "an object of a model that knows what was set": lambda n: settings() if n == 1 else settings(x=5),
        "a model": model,
        "an adapter": lambda n: pydantic.TypeAdapter(Annotated[int, pydantic.Field(gt=n)]),
        "an adapter of a typed dict": lambda n: pydantic.TypeAdapter(
            TypedDict("T", {"x": int if n == 1 else str})  # type: ignore[operator]
        ),
        "an adapter of a model": lambda n: pydantic.TypeAdapter(list[model(n)]),  # type: ignore[misc, arg-type]
    }


def keys() -> dict[str, list[str]]:
    """Return the keys of all, twice over from values made anew."""
    found: dict[str, list[str]] = {}
    for name, make in {**STANDARD, **others()}.items():
        found[f"{name}, as an argument"] = [key_as_argument(make(n)) for n in (1, 1, 2)]
        found[f"{name}, as a global"] = [key_as_global(make(n)) for n in (1, 1, 2)]
    for name, make in ONLY_REACHED.items():
        found[f"{name}, as a global"] = [key_as_global(make(n)) for n in (1, 1, 2)]
    return found


def main() -> None:
    sys.stdout.write(json.dumps(keys()))
