"""Classes whose objects are recorded by the tests."""

from __future__ import annotations

import enum
from collections import namedtuple
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import pydantic

T = TypeVar("T")


@dataclass
class Point:
    x: Any
    y: Any = 0
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.made.append("made")

    @cached_property
    def total(self) -> Any:
        return self.x + self.y


@dataclass(frozen=True, slots=True)
class Slotted:
    a: Any
    b: Any = None


@dataclass(slots=True)
class Base:
    a: Any


@dataclass(slots=True)
class Derived(Base):
    b: Any


@dataclass
class Box(Generic[T]):
    held: T


@dataclass
class Own:
    """Pickles in a way of its own."""

    a: Any

    def __reduce__(self) -> Any:
        return Own, (self.a,)


@dataclass
class Failure(Exception):
    code: int


class Pair(NamedTuple):
    left: Any
    right: Any = None


Old = namedtuple("Old", "a b")


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"
    CRIMSON = 1


class Level(enum.IntEnum):
    LOW = 1


class Way(enum.Flag):
    IN = 1
    OUT = 2


class Text(str):
    pass


class Model(pydantic.BaseModel):
    name: str
    tags: list[str] = []
    child: Model | None = None
    _hidden: int = 3


class Loose(pydantic.BaseModel, extra="allow"):
    a: int = 1


class Plain:
    def __init__(self, a: Any) -> None:
        self.a = a

    def __eq__(self, other: object) -> bool:
        return type(other) is Plain and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]


class Missing:
    """A constant that is known by its name."""

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = Missing()


def double(value: int) -> int:
    return value * 2
