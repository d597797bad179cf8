"""What is given to a parameter: text is read as its type, an object passes or is refused."""

# ruff: noqa: UP006, UP007, UP045  (what people write)

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import sys
import typing
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict, Union

import annotated_types
import attrs
import numpy as np
import pydantic
import pytest

import cascade as cs
from cascade.runtime import Engine
from tests.helpers import run_python
from tests.workflows import Tier, every_tier, in_loop, run


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Crossed(enum.Enum):
    """The name of one is the value of the other."""

    A = "B"
    B = "A"


class Word(enum.StrEnum):
    GREEN = "light green"


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: int
    days: list[dt.date] = dataclasses.field(default_factory=list)
    next: "Point | None" = None
    scale: dataclasses.InitVar[float] = 1.0
    made: int = dataclasses.field(default=0, init=False)
    kind: typing.ClassVar[str] = "point"


@attrs.frozen
class Size:
    width: int
    _height: int = 1


class Pair(NamedTuple):
    a: int
    b: str = "b"


class Row(TypedDict):
    a: int
    day: NotRequired[dt.date]


class Rows(list[int]):
    pass


class Model(pydantic.BaseModel):
    a: int
    day: dt.date = dt.date(2020, 1, 1)


@pydantic.dataclasses.dataclass
class Checked:
    a: int


@dataclasses.dataclass
class Holder:
    model: Model
    more: list[Model] = dataclasses.field(default_factory=list)


UserId = NewType("UserId", int)
DAY, SECOND = dt.date(2024, 2, 29), dt.timedelta(seconds=1)
ID = uuid.UUID("12345678123456781234567812345678")


@cs.task
def same(x: Any) -> Any:
    return x


def given(param: cs.Param, value: Any) -> Any:
    """Return what a run with this value gives."""
    return run(same(param), {param.name: value})


def typed(hint: Any, value: Any) -> Any:
    return given(cs.Param("p", type=hint), value)


# Read without pydantic, and alike with it.
READ: list[tuple[Any, Any, Any]] = [
    (int, " 12 ", 12),
    (int, "2.0", 2),
    (int, 2.0, 2),
    (int, np.int64(3), 3),
    (int, Level.HIGH, Level.HIGH),
    (float, 1, 1.0),
    (float, "1e3", 1000.0),
    (float, np.float32(0.5), 0.5),
    (complex, "1+2j", 1 + 2j),
    (bool, "on", True),
    (bool, np.False_, False),
    (np.bool_, "no", np.False_),
    (bytes, "né", "né".encode()),
    (bytearray, "né", bytearray("né".encode())),
    (memoryview, "a", memoryview(b"a")),
    (range, "1:9:2", range(1, 9, 2)),
    (range, "5", range(5)),
    (range, range(3), range(3)),
    (str, Word.GREEN, Word.GREEN),
    (None.__class__, "none", None),
    (typing.Any, "3", "3"),
    (typing.Any, 3, 3),
    (object, "3", "3"),
    (dt.date, "2024-02-29", DAY),
    (dt.datetime, "2024-02-29T12:00:00Z", dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)),
    (dt.datetime, "2024-02-29", dt.datetime(2024, 2, 29)),
    (dt.time, "12:30", dt.time(12, 30)),
    (dt.timedelta, "1h30m", 5400 * SECOND),
    (dt.timedelta, "2 days, 1.5 hours", 178200 * SECOND),
    (dt.timedelta, "-250ms", -SECOND / 4),
    (dt.timedelta, "1w", 604800 * SECOND),
    (dt.timedelta, "PT1H30M", 5400 * SECOND),
    (dt.timedelta, "P1DT0.5S", 86400.5 * SECOND),
    (dt.timedelta, "P2W", 1209600 * SECOND),
    (dt.timedelta, "-PT5M", -300 * SECOND),
    (dt.timedelta, str(-3600 * SECOND), -3600 * SECOND),
    (dt.timedelta, str(86401.25 * SECOND), 86401.25 * SECOND),
    (pathlib.Path, "a/b", pathlib.Path("a/b")),
    (decimal.Decimal, "1.50", decimal.Decimal("1.50")),
    (decimal.Decimal, 2, decimal.Decimal(2)),
    (fractions.Fraction, "1/3", fractions.Fraction(1, 3)),
    (uuid.UUID, str(ID), ID),
    (ipaddress.IPv4Address, "127.0.0.1", ipaddress.IPv4Address("127.0.0.1")),
    (re.Pattern, "a+", re.compile("a+")),
    (Level, "2", Level.HIGH),
    (Level, "HIGH", Level.HIGH),
    (Level, 2, Level.HIGH),
    (Crossed, "A", Crossed.B),
    (Word, "light green", Word.GREEN),
    (Word, "GREEN", Word.GREEN),
    (Mode, "READ|WRITE", Mode.READ | Mode.WRITE),
    (Mode, "WRITE", Mode.WRITE),
    (Mode, "3", Mode.READ | Mode.WRITE),
    (Mode, 1, Mode.READ),
    (Literal["a", "b"], "a", "a"),
    (Literal[1, "1x", True], "1", 1),
    (Literal[False], "off", False),
    (Literal[Level.HIGH], "HIGH", Level.HIGH),
    (Optional[int], "3", 3),
    (Optional[int], None, None),
    (Optional[int], "none", None),
    (Optional[str], "none", "none"),
    (None | str, "null", "null"),
    (int | str, "3", 3),
    (int | str, "x", "x"),
    (Union[str, int], "3", "3"),
    (float | int, 3, 3),
    (int | float, "1.5", 1.5),
    (list[int] | None, "5", [5]),
    (dt.date | dt.timedelta, "1h", 3600 * SECOND),
    (list, "eve", ["eve"]),
    (list, "", [""]),
    (list, '["a", 1]', ["a", 1]),
    (list[str], "a,b", ["a,b"]),
    (list[int], ["1", 2, 3.0], [1, 2, 3]),
    (list[int], " [1, 2]", [1, 2]),
    (typing.List[int], "1", [1]),
    (list[list[int]], "[[1], [2, 3]]", [[1], [2, 3]]),
    (set, "a", {"a"}),
    (set[int], [1, "1"], {1}),
    (frozenset[int], "[1, 1]", frozenset({1})),
    (tuple, [1, 2], (1, 2)),
    (tuple[int, ...], "[1, 2]", (1, 2)),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (tuple[int, str], ("1", "a"), (1, "a")),
    (dict, '{"a": [1]}', {"a": [1]}),
    (dict[int, dt.date], '{"1": "2024-02-29"}', {1: DAY}),
    (Mapping[str, int], '{"a": "1"}', {"a": 1}),
    (Sequence[int], "1", [1]),
    (Sequence[int], (1, "2"), [1, 2]),
    (collections.deque, "ab", collections.deque(["ab"])),
    (collections.OrderedDict, '{"a": 1}', collections.OrderedDict(a=1)),
    (Rows, "[1, 2]", Rows([1, 2])),
    (UserId, "3", 3),
    (Annotated[int, "how many"], "3", 3),
    (Point, '{"x": "1", "days": ["2024-02-29"], "next": {"x": 2}}', Point(1, [DAY], Point(2))),
    (Point, {"x": 1, "scale": "2"}, Point(1)),
    (Size, '{"width": "1", "height": 2}', Size(1, 2)),
    (list[Point], '{"x": 1}', [Point(1)]),
    (Pair, '{"a": "1"}', Pair(1)),
    (Pair, "[1]", Pair(1)),
    (Row, '{"a": "1", "day": "2024-02-29"}', {"a": 1, "day": DAY}),
]
REFUSED: list[tuple[Any, Any, str]] = [
    (int, 2.7, "it is not whole"),
    (int, True, "as int$"),
    (int, "1e3", "invalid literal"),
    (int, float("nan"), "not whole"),
    (int, "", "invalid literal"),
    (float, True, "as float$"),
    (float, decimal.Decimal(1), "as float$"),
    (str, 3, "no text"),
    (str, None, "no text"),
    (bytes, 3, "as bytes$"),
    (bytearray, 3, "as bytearray"),
    (range, "a", r"as range \(write 5, 1:5 or 1:9:2\)$"),
    (range, 3, "as range$"),
    (dt.date, dt.datetime(2024, 2, 29), "as date$"),
    (dt.datetime, DAY, "as datetime$"),
    (dt.date, "tomorrow", "Invalid isoformat"),
    (dt.timedelta, "90", "write 1h30m"),
    (dt.timedelta, "1x", "write 1h30m"),
    (dt.timedelta, "P1M", "write 1h30m"),
    (dt.timedelta, 90, "as timedelta$"),
    (pathlib.Path, 3, "as Path$"),
    (decimal.Decimal, "x", "as Decimal$"),
    (decimal.Decimal, 1.5, "as Decimal$"),
    (uuid.UUID, "x", "badly formed"),
    (Level, "3", "take one of LOW, HIGH"),
    (Level, 3, "valid Level"),
    (Level, True, "take one of"),
    (Mode, "READ|RUN", "take one of READ, WRITE"),
    (Literal["a", 1], "b", "take one of 'a', 1"),
    (Literal[1], True, "take one of 1"),
    (int | None, "x", r"as Optional\[int\]|as int \| None"),
    (int | bool, 2.5, "as int: .*as bool: "),
    (list, ("a",), "as list$"),
    (list, {"a"}, "as list$"),
    (list, 3, "as list$"),
    (list, b"ab", "as list$"),
    (list, "[x", "no JSON"),
    (list[int], "1,2", r"item 0: .*write JSON"),
    (list[int], [1, "x"], "item 1: invalid literal"),
    (set[int], (1,), r"as set\[int\]$"),
    (tuple[int, str], "1", "2 items, not 1"),
    (dict, "x", "no JSON"),
    (dict, "[1]", "JSON like"),
    (dict, [1], "as dict$"),
    (dict[str, int], {"a": "x"}, "item 'a': invalid literal"),
    (Point, "x", "no JSON .*x, days, next, scale"),
    (Point, '{"days": []}', "Point needs 'x'"),
    (Point, '{"x": 1, "dayz": []}', "no 'dayz'; did you mean 'days'"),
    (Point, '{"x": 1, "next": {"x": "y"}}', "next: x: invalid literal"),
    (Point, 3, "as Point$"),
    (Pair, "[1, 2, 3]", "no Pair"),
    (Row, {"a": 1, "b": 2}, "Row has no 'b'"),
]


@pytest.fixture(params=[True, False], ids=["with pydantic", "without"])
def pydantic_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setitem(sys.modules, "pydantic", None)


@pytest.mark.usefixtures("pydantic_or_not")
def test_text_is_read_and_objects_pass() -> None:
    for hint, value, wanted in READ:
        found = typed(hint, value)
        assert (found, type(found)) == (wanted, type(wanted)), (hint, value)


@pytest.mark.usefixtures("pydantic_or_not")
def test_what_is_of_another_type_is_refused() -> None:
    for hint, value, message in REFUSED:
        with pytest.raises(cs.ParameterError, match=rf"parameter 'p' \(declared at .*\) cannot take .*{message}"):
            typed(hint, value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (list[int], [1]),
        (dict[str, int], {"a": 1}),
        (list[int] | None, [1]),
        (tuple[int, ...], (1, 2)),
        (Sequence[int], range(3)),
        (Point, Point(1)),
        (Model, Model(a=1)),
        (Row, {"a": 1}),
        (typing.Callable[[int], int], abs),
        (type, int),
        (typing.Iterable[int], iter([1])),
    ],
)
def test_what_is_of_the_type_passes_as_it_is(hint: Any, value: Any) -> None:
    given = cs.Param("p", type=hint)
    assert given.convert(value) is value


@every_tier
def test_what_has_no_type_passes_whatever_it_is(tier: Tier) -> None:
    for param in (cs.Param("p"), cs.Param("p", default=None)):
        values: list[Any] = [None, [1, 2], 2.7, True, "3", {"a": 1}]
        assert [run(same(param), {"p": value}, tier=tier) for value in values] == values


def test_none_passes_where_it_is_the_default() -> None:
    assert given(cs.Param("p", default=None, type=int), None) is None
    with pytest.raises(cs.ParameterError, match=r"cannot take None as int"):
        given(cs.Param("p", default=1), None)


def test_the_items_of_a_default_say_what_text_stands_for() -> None:
    sizes = cs.Param("p", default=[10.0, 20.0])
    assert given(sizes, "30") == [30.0]
    assert given(sizes, ["1", 2]) == [1.0, 2]
    assert given(cs.Param("p", default={True}), ["on", "off"]) == {True, False}
    assert given(cs.Param("p", default=("a", "b")), "1") == ("1",)
    assert given(cs.Param("p", default=[1, "a"]), "1") == ["1"]
    with pytest.raises(cs.ParameterError, match=r"item 0: could not convert"):
        given(sizes, "x")


@pytest.mark.parametrize("default", [Level.LOW, DAY, SECOND, pathlib.Path("a"), Point(1), Model(a=1), {"a": 1}, ID])
def test_a_default_says_the_type(default: Any) -> None:
    texts = {
        Level: "LOW",
        dt.date: str(DAY),
        dt.timedelta: "1s",
        Point: '{"x": 1}',
        Model: '{"a": 1}',
        dict: '{"a": 1}',
    }
    param = cs.Param("p", default=default)
    assert given(param, texts.get(type(default), str(default))) == default
    assert given(param, default) == default


def test_a_default_of_any_class_may_stand_for_others_of_it() -> None:
    one, other = np.arange(3), np.arange(4)
    assert given(cs.Param("p", default=one), other) is other
    assert given(cs.Param("p", default=abs), len) is len
    for value in ("x", [1]):
        with pytest.raises(cs.ParameterError, match=r"as ndarray"):
            given(cs.Param("p", default=one), value)


@every_tier
def test_a_lazy_value_is_no_value_of_a_parameter(tier: Tier) -> None:
    lazy = same(1)
    for param in (cs.Param("p"), cs.Param("p", default=1), cs.Param("p", type=list[int])):
        for value in (lazy, [1, lazy], {"a": lazy}, cs.Param("q"), same.map(x=[1])):
            with pytest.raises(cs.ParameterError, match=r"'p' .* has no value yet; .*cs.subflow"):
                run(same(param), {"p": value}, tier=tier)
    with pytest.raises(TypeError, match=r"the default of parameter 'p' is a plain value"):
        cs.Param("p", default=lazy)


@every_tier
def test_sub_flows_and_tail_calls_read_alike(tier: Tier) -> None:
    graph = same(cs.Param("p", type=list[int]))
    assert run(cs.subflow(graph, {"p": "1"}), tier=tier) == [1]
    assert run(cs.subflow(graph, {"p": same(["1"])}), tier=tier) == [1]
    with pytest.raises(cs.ParameterError, match=r"item 0"):
        run(cs.subflow(graph, {"p": same([2.5])}), tier=tier)
    leading = cs.task(mode="inline")(lambda: cs.TailCall(target_blueprint_id="it"))

    async def main(value: Any) -> Any:
        async with Engine(tier=tier) as engine:
            engine.register_blueprint("it", graph)
            return await engine.run(leading(), {"p": value})

    assert in_loop(lambda: main("[1, 2]")) == [1, 2]
    with pytest.raises(cs.ParameterError, match=r"item 0"):
        in_loop(lambda: main([2.5]))


def test_a_blueprint_among_targets_converts_once() -> None:
    flow = cs.compile(same(cs.Param("p", type=lambda text: text.split(","))))
    assert run([flow.blueprint, flow.blueprint], {"p": "a,b"}) == [["a", "b"], ["a", "b"]]


# --- by pydantic


BY_PYDANTIC: list[tuple[Any, Any, Any]] = [
    (Model, '{"a": "1", "day": "2024-02-29"}', Model(a=1, day=DAY)),
    (Model, {"a": 1}, Model(a=1)),
    (list[Model], '[{"a": 1}]', [Model(a=1)]),
    (Model | None, '{"a": 1}', Model(a=1)),
    (Checked, '{"a": 1}', Checked(a=1)),
    (Holder, '{"model": {"a": 1}, "more": [{"a": "2"}]}', Holder(Model(a=1), [Model(a=2)])),
    (Annotated[int, pydantic.Field(gt=3)], "5", 5),
    (Annotated[int, annotated_types.Gt(3)], 5.0, 5),
    (Annotated[list[int], annotated_types.Len(2)], "[1, 2]", [1, 2]),
    (Annotated[dt.timedelta, annotated_types.Gt(0 * SECOND)], "1h", 3600 * SECOND),
    (Annotated[int, pydantic.BeforeValidator(lambda text: text.strip("#"))], "#5", 5),
    (pydantic.Json, "[1]", [1]),
    (pydantic.AnyUrl, "http://a.b/", pydantic.AnyUrl("http://a.b/")),
]


def test_pydantic_reads_what_is_its_own() -> None:
    for hint, value, wanted in BY_PYDANTIC:
        assert typed(hint, value) == wanted, hint


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (Model, '{"b": 1}', "a: Field required"),
        (Model, "x", "valid dictionary"),
        (Model, 3, "valid dictionary"),
        (Annotated[int, pydantic.Field(gt=3)], "2", "as int: .*greater than 3"),
        (Annotated[int, pydantic.Field(gt=3)], True, "as int$"),
        (list[Model], [{"a": "x"}], "item 0: a: .*valid integer"),
    ],
)
def test_what_pydantic_finds_wrong_is_told(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(cs.ParameterError, match=f"cannot take .*{message}"):
        typed(hint, value)


@pytest.mark.parametrize("hint", [Annotated[int, annotated_types.Gt(3)], type[int], typing.TypeVar("T")])
def test_what_cannot_be_read_without_pydantic_is_told_at_once(hint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(TypeError, match=r"cs.Param\('p'\): .*pip install 'cascade-py\[pydantic\]'"):
        cs.Param("p", type=hint)


@pytest.mark.parametrize("hint", [3, "int", typing.Optional, object()])
def test_what_is_no_type_is_told_at_once(hint: Any) -> None:
    with pytest.raises(TypeError, match=r"cs.Param\('p'\): .*a function that converts"):
        cs.Param("p", type=hint)


def test_the_standard_cases_leave_pydantic_alone() -> None:
    run_python(
        "import sys, datetime, cascade as cs; "
        "cs.run(cs.task(lambda x: x)(cs.Param('x', type=list[datetime.date] | None)), {'x': '2024-02-29'},"
        " log_level='SILENT'); assert 'pydantic' not in sys.modules"
    )
