"""What is recorded comes back: the same value, of the same type."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.adapters.state.codec import decode, encode, preview
from cascade.errors import StateError
from tests.adapters.state import kept
from tests.adapters.state.kept import (
    MISSING,
    Base,
    Box,
    Color,
    Derived,
    Failure,
    Level,
    Loose,
    Model,
    Old,
    Own,
    Pair,
    Plain,
    Point,
    Slotted,
    Text,
    Way,
    double,
)

pd: Any = pytest.importorskip("pandas")


def same(one: Any, other: Any) -> bool:
    """Say whether two values are the same, in type and content and order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (set, frozenset)):
        return same(sorted(map(described, one)), sorted(map(described, other)))
    if isinstance(one, datetime | time):
        return one.isoformat() == other.isoformat() and one.fold == other.fold and same(one.tzinfo, other.tzinfo)
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and one.shape == other.shape) and same(one.tolist(), other.tolist())
    if isinstance(one, Slotted):
        return same([one.a, one.b], [other.a, other.b])
    if hasattr(one, "__dict__") and not isinstance(one, type):
        return same(one.__dict__, other.__dict__)
    return bool(one == other)


def described(value: Any) -> str:
    return f"{type(value)} {value!r}"


def there_and_back(value: Any, head: bytes | None = None) -> None:
    data = encode(value)
    assert head is None or data[:2] == head, data[:60]
    assert same(decode(data), value)


def numbered(value: Any) -> str:
    return type(value).__name__


# --- one by one

MOMENT = datetime(2026, 10, 25, 2, 30, 1, 5)
READABLE: list[Any] = [
    *(float("nan"), math.inf, -math.inf, 1 << 40_000, -(1 << 20_000), b"", b"\x00\xff", b"x" * 5000, ()),
    *((1, [2, (3,)]), {"~": 1}, {"~tuple": [1]}, {1: 2, (1, 2): "a", None: None}, {"a": {1: 2}}, {1, "a"}),
    *(frozenset({(1, 2)}), set(), frozenset(), MOMENT, MOMENT.replace(fold=1), MOMENT.astimezone(UTC)),
    *(MOMENT.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1), MOMENT.replace(tzinfo=timezone(timedelta(hours=-3)))),
    *(MOMENT.date(), MOMENT.time(), time(1, 2, 3, 4, timezone(timedelta(1, -1), "odd"), fold=1), date.min),
    *(timedelta(-1, 5, 7), timedelta.max, UTC, ZoneInfo("UTC"), UUID(int=5), Decimal("-0.00"), Decimal("NaN")),
    *(Decimal("sNaN12"), Decimal("1e9999"), Path("a/b"), Path(), PurePosixPath("/x/\udc80"), PureWindowsPath("C:\\x")),
    *(
        Point(1, [2]),
        Point({"a": Point(1)}),
        Slotted(1, (2,)),
        Derived(1, 2),
        Box(Box(Base(3))),
        Pair(1, Pair(2)),
        Old(1, 2),
    ),
    *(Color.BLUE, Color.CRIMSON, Level.LOW, Way.IN, Way.IN | Way.OUT, Way(0)),
    *(
        Model(name="a", tags=["b"], child=Model(name="c")),
        Loose.model_validate({"a": 2, "b": [Color.RED]}),
        {"m": [Model(name="x")]},
    ),
    *(np.float64(0.1), np.int8(-3), np.bool_(True), np.datetime64("2026-01-01", "s"), np.complex64(1j)),
]
BINARY: list[Any] = [
    *(np.arange(6).reshape(2, 3), np.array(5), np.zeros((0, 3), np.float32), np.asfortranarray(np.eye(3))),
    *(np.array(["a", "bb"]), np.array([1, 2], ">u2"), np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")])),
    *({"x": np.eye(2), "y": [np.arange(3), b"z" * 2000]}, (Point(np.ones(2)),), np.array(["2026"], "M8[D]")),
]
PICKLED: list[Any] = [
    *(OrderedDict(a=1), Counter("aab"), deque([1], 3), defaultdict(list, a=[1]), Text("a"), {Text("a"): 1}, 1 + 2j),
    *(bytearray(b"x"), range(3), slice(1, 2), SimpleNamespace(a=1), Plain([1]), Own(2), [Plain(Color.RED)]),
    *(double, Plain, Ellipsis, NotImplemented, np.array([{}, 1], object), ValueError),
    *([Plain(Way.IN | Way.OUT), Plain(Level.LOW)], Plain(Path("a")), Plain(MOMENT), MISSING, Plain(Model(name="q"))),
]


@pytest.mark.parametrize("value", READABLE, ids=numbered)
def test_what_has_a_readable_form_comes_back(value: Any) -> None:
    there_and_back(value, None if isinstance(value, bytes) else b"t1")
    there_and_back({"in": [value, 1]})
    keyed: dict[Any, Any]
    try:
        keyed = {(value, 2): value}
    except (TypeError, InvalidOperation):  # not every value has a hash
        keyed = {2: value}
    there_and_back(keyed)


@pytest.mark.parametrize("value", BINARY, ids=numbered)
def test_arrays_come_back_from_their_own_form(value: Any) -> None:
    there_and_back(value, b"b1")
    assert b"pickle" not in encode(value)


@pytest.mark.parametrize("value", PICKLED, ids=numbered)
def test_all_else_comes_back_from_a_pickle(value: Any) -> None:
    there_and_back(value, b"p1")
    there_and_back({"in": [value]})


def test_plain_values_are_json() -> None:
    value: Any = {"a": [1, -2.5, None, True, "é\ud800\n", {}], "~b": [], "c": {"~": 1, "d": -0.0, "e": 1 << 62}}
    assert (
        encode(value) == b'j1{"a":[1,-2.5,null,true,"\xc3\xa9\xed\xa0\x80\\n",{}],"~b":[],'
        b'"c":{"~":1,"d":-0.0,"e":4611686018427387904}}'
    )
    there_and_back(value)
    assert encode((1,)) == b't1{"~tuple":[1]}'


def test_a_surrogate_pair_of_two_halves_stays_two() -> None:
    there_and_back("\ud83d\ude00", b"j1")
    there_and_back(["\U0001f600", ("\ud83d\ude00",)])


def test_what_is_held_twice_comes_back_as_one() -> None:
    shared = [1]
    for value in ([shared, shared], {"a": shared, "b": {"c": shared}}, (shared, shared), Point(shared, shared)):
        found = decode(encode(value))
        assert encode(value)[:2] == b"p1"
        one, other = (
            (found["a"], found["b"]["c"])
            if isinstance(found, dict)
            else ((found.x, found.y) if isinstance(found, Point) else found)
        )
        assert one is other
    array = np.arange(3)
    one, other = decode(encode([array, array]))
    assert one is other
    loop: list[Any] = []
    loop.append(loop)
    found = decode(encode(loop))
    assert found[0] is found
    point = Point(1)
    point.y = point
    found = decode(encode(point))
    assert found.y is found
    there_and_back([(1, 2), (1, 2), "a", "a", Color.RED, Color.RED, Slotted(1), Slotted(1)], b"t1")


def test_an_object_is_made_anew_without_its_init() -> None:
    point = Point(1, 2)
    assert point.total == 3
    found = decode(encode(point))
    assert found.__dict__ == {"x": 1, "y": 2, "made": ["made"], "total": 3}
    model = Model(name="a")
    model._hidden = 7
    again = decode(encode(model))
    assert (again, again._hidden, again.model_fields_set) == (model, 7, {"name"})


def test_a_failure_keeps_what_it_says() -> None:
    for error in (ValueError("a", 1), Failure(3), StateError("no"), OSError(2, "gone", "x")):
        found = decode(encode(error))
        assert type(found) is type(error)
        assert (found.args, vars(found)) == (error.args, vars(error))


def test_tables_come_back_from_their_own_form() -> None:
    index = pd.date_range("2026-01-01", periods=3, freq="D", name="day")
    frames = [
        pd.DataFrame({"a": [1, 2, 3], "b": [1.5, None, 2], "c": ["x", None, "é"], "d": index}, index=index),
        *(pd.DataFrame(), pd.DataFrame({"a": []}), pd.DataFrame(np.eye(3), columns=[5, 6, 5])),
        *(
            pd.DataFrame({"a": [True]}, index=["r"]),
            pd.DataFrame({1: [1]}).set_axis(pd.Index([1], name=("n", 1)), axis=1),
        ),
    ]
    frames[1].attrs = {"from": Path("x")}
    for frame in frames:
        data = encode(frame)
        assert data[:2] in (b"b1", b"t1")
        pd.testing.assert_frame_equal(decode(data), frame)
        assert decode(data).attrs == frame.attrs
    for series in (
        pd.Series([1, 2], name="a"),
        pd.Series(["x", None]),
        pd.Series([1.0], index=pd.Index([7], name="k")),
    ):
        assert encode(series)[:2] in (b"b1", b"t1")
        pd.testing.assert_series_equal(decode(encode(series)), series)
    for other in (
        *(pd.DataFrame({"a": [{}, 1]}), pd.Series(["a"], dtype="category"), pd.Series([1, None], dtype="Int64")),
        pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)])),
    ):
        assert encode(other)[:2] == b"p1"
        assert repr(decode(encode(other))) == repr(other)
        assert type(decode(encode(other))) is type(other)


def test_polars_tables_come_back_from_their_own_form() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [MOMENT, None], "d": [[1], [2, 3]]})
    assert encode(frame)[:2] == b"b1"
    assert decode(encode(frame)).equals(frame)
    assert decode(encode(frame)).schema == frame.schema
    series = decode(encode(frame["b"]))
    assert (series.name, series.to_list()) == ("b", ["x", "y"])


# --- drawn

ATOMS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters()), st.binary(max_size=9)),
    *(st.datetimes(timezones=st.none() | st.timezones()), st.dates(), st.times(), st.timedeltas(), st.uuids()),
    *(st.decimals(), st.sampled_from([Color.RED, Level.LOW, Way.OUT, Path("x"), np.float32(1), 1 << 5000, "~"])),
)
HASHED = st.one_of(st.integers(), st.text(max_size=3), st.booleans(), st.tuples(st.text(max_size=2), st.integers()))
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        *(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(HASHED, inner, max_size=4),
        ),
        *(st.dictionaries(st.text("~a", max_size=2), inner, max_size=2), st.sets(HASHED, max_size=3)),
        *(st.builds(Point, inner, inner), st.builds(Slotted, inner), st.builds(Pair, inner, inner)),
        *(st.builds(Box, inner), inner.map(Plain), st.frozensets(HASHED, max_size=2)),
    ),
    max_leaves=12,
)


@settings(max_examples=80)
@given(VALUES)
def test_drawn_values_come_back(value: Any) -> None:
    there_and_back(value)


@settings(max_examples=50)
@given(VALUES, st.lists(st.text(min_size=1, max_size=3), max_size=2))
def test_a_preview_is_one_short_line_of_any_value(value: Any, secrets: list[str]) -> None:
    for told in (preview(value), preview(value, secrets)):
        assert len(told) <= 200
        assert "\n" not in told


@settings(max_examples=50)
@given(st.binary(max_size=80), st.sampled_from([b"j1", b"t1", b"b1", b"p1", b"s1", b""]))
def test_random_bytes_are_refused_or_read(data: bytes, head: bytes) -> None:
    with contextlib.suppress(StateError):
        decode(head + data)


@settings(max_examples=50)
@given(VALUES, st.integers(0, 1 << 20), st.integers(0, 255))
def test_damaged_values_are_refused_or_read(value: Any, at: int, byte: int) -> None:
    data = bytearray(encode(value))
    data[at % len(data)] = byte
    for damaged in (bytes(data), bytes(data[: at % len(data)])):
        with contextlib.suppress(StateError):
            decode(damaged)


# --- what is refused


def open_null() -> Any:
    return open(os.devnull)


@pytest.mark.parametrize(
    "make",
    [
        *(
            lambda: lambda: 1,
            threading.Lock,
            lambda: (each for each in "a"),
            lambda: iter([1]),
            lambda: sys,
            open_null,
        ),
        *(lambda: Local(), lambda: [1, {"a": (threading.Lock(),)}], lambda: Point(1).__repr__, lambda: os.system),
        *(lambda: subprocess.Popen, lambda: Plain(eval), lambda: [].append),
    ],
)
def test_what_cannot_be_recorded_is_told_at_once(make: Callable[[], Any]) -> None:
    value = make()
    with pytest.raises(StateError, match=r"cannot be recorded: ."):
        encode(value)
    if make is open_null:
        value.close()


def test_a_socket_cannot_be_recorded() -> None:
    with socket.socket() as one, pytest.raises(StateError, match="a socket cannot be recorded"):
        encode(one)


class Local:
    def __reduce__(self) -> Any:
        raise ValueError("not me")


class Planted:
    """Runs a command when its pickle is read."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    ("function", "args"),
    [
        *(
            (os.system, ("echo planted",)),
            (eval, ("1",)),
            (exec, ("1",)),
            (getattr, (Plain, "system")),
            (__import__, ("os",)),
        ),
        *((subprocess.Popen, (["true"],)), (pickle.loads, (b"N.",)), (open, (os.devnull,)), (print, ("planted",))),
        *((type, ("A", (), {})), (os.remove, ("nothing",)), (sys.exit, ()), (map, (os.system, ["true"]))),
    ],
)
def test_a_planted_pickle_calls_nothing(function: Any, args: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StateError, match="which records may not"):
        decode(b"p1" + pickle.dumps(Planted(function, *args)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "pickled",
    [
        *(b"cos\nsystem\n(S'true'\ntR.", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."),
        *(b"\x80\x04\x8c\x04json\x8c\x0bcodecs.open\x93.", b"\x80\x04\x8c\x07decimal\x8c\x09sys.exit.\x93."),
        *(b"P1\n.", b"cthis\ns\n.", b"(S'x'\nios\nsystem\n."),
    ],
)
def test_a_pickle_written_by_hand_calls_nothing(pickled: bytes) -> None:
    with pytest.raises(StateError):
        decode(b"p1" + pickled)


UNLOADED = "wsgiref.simple_server"


@pytest.mark.parametrize(
    "data",
    [
        *(f'{{"~{kind}":["{UNLOADED}:WSGIServer",{rest}]}}' for kind, rest in (("dataclass", "{}"), ("enum", '"A"'))),
        *(
            f'{{"~{kind}":["{UNLOADED}:WSGIServer",{rest}]}}'
            for kind, rest in (("namedtuple", "[],[]"), ("pydantic", "{}"))
        ),
        f'{{"~flag":["{UNLOADED}:WSGIServer",1]}}',
    ],
)
def test_a_class_of_a_module_that_is_not_loaded_is_refused(data: str) -> None:
    with pytest.raises(StateError, match="not loaded: import it before"):
        decode(b"t1" + data.encode())
    with pytest.raises(StateError, match="not loaded"):
        decode(b"p1" + f"c{UNLOADED}\nWSGIServer\n.".encode())
    assert UNLOADED not in sys.modules


def test_a_module_that_imports_on_demand_is_not_asked() -> None:
    lazy = ModuleType("lazy_library")
    lazy.__getattr__ = lambda name: pytest.fail("it was asked")  # type: ignore[method-assign]
    sys.modules["lazy_library"] = lazy
    try:
        with pytest.raises(StateError, match="there is none"):
            decode(b't1{"~dataclass":["lazy_library:Thing",{}]}')
    finally:
        del sys.modules["lazy_library"]


def test_a_module_may_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "allowed_models.py").write_text(
        "import dataclasses\n@dataclasses.dataclass\nclass Thing:\n    a: int\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    data = b't1{"~dataclass":["allowed_models:Thing",{"a":1}]}'
    for allow in ((), ("allowed",), ("allowed_models.inner",)):
        with pytest.raises(StateError, match="not loaded"):
            decode(data, allow=allow)
    assert decode(data, allow=["allowed_models"]).a == 1
    monkeypatch.delitem(sys.modules, "allowed_models")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        *(('{"~dataclass":["tests.adapters.state.kept:Plain",{"a":1}]}', "is none any more"),),
        *(('{"~dataclass":["tests.adapters.state.kept:double",{}]}', "is none any more"),),
        *(('{"~dataclass":["tests.adapters.state.kept:Own",{"a":1}]}', "is none any more"),),
        *(('{"~dataclass":["tests.adapters.state.kept:Failure",{"code":1}]}', "is none any more"),),
        *(('{"~dataclass":["subprocess:Popen",{}]}', "is none any more"),),
        *(('{"~dataclass":["tests.adapters.state.kept:sys",{}]}', "there is none"),),
        *(('{"~dataclass":["tests.adapters.state.test_values:os.system",{}]}', "the module os"),),
        *(('{"~dataclass":["tests.adapters.state.kept:Slotted",{}]}', "recorded without a,"),),
        *(('{"~pydantic":["tests.adapters.state.kept:Point",{}]}', "is none any more"),),
        *(('{"~namedtuple":["tests.adapters.state.kept:Point",["x"],[1]]}', "is none any more"),),
        *(('{"~namedtuple":["builtins:tuple",[],[]]}', "is none any more"),),
        *(('{"~namedtuple":["tests.adapters.state.kept:Pair",[],[]]}', "recorded without left,"),),
        *(('{"~enum":["tests.adapters.state.kept:Color","GREEN"]}', "there is none any more"),),
        *(('{"~enum":["tests.adapters.state.kept:Point","x"]}', "is none any more"),),
        *(('{"~new":1}', "does not know"),),
        *(('{"~path":["Popen","x"]}', "cannot be read"),),
        *(('{"~set":[[1]]}', "cannot be read"),),
        *(('{"~scalar":["O","AAAAAAAAAAA="]}', "damaged"),),
    ],
)
def test_a_record_that_is_not_of_its_kind_is_refused(data: str, why: str) -> None:
    with pytest.raises(StateError, match=why):
        decode(b"t1" + data.encode())


def test_what_is_deep_is_refused_without_a_crash() -> None:
    with pytest.raises(StateError):
        decode(b"t1" + b"[" * 100_000 + b"]" * 100_000)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(StateError):
        encode(deep)
    while deep:
        deep = deep[0]


def test_an_array_with_objects_inside_is_not_read() -> None:
    import io

    file = io.BytesIO()
    np.save(file, np.array([Planted(print, "planted")], object), allow_pickle=True)
    piece = file.getvalue()
    with pytest.raises(StateError, match="allow_pickle=False"):
        decode(b'b1[{"~array":0},[%d]]\n' % len(piece) + piece)


def test_another_version_is_refused() -> None:
    for data in (b"", b"j", b"j2{}", b"z1", b"j1{} ", b"b1[1,[2]]\nx", b"b1[1,[-1]]\n"):
        with pytest.raises(StateError):
            decode(data)


def test_a_class_that_has_changed_since() -> None:
    where = "tests.adapters.state.kept"
    point = decode(f't1{{"~dataclass":["{where}:Point",{{"x":1,"gone":2}}]}}'.encode())
    assert (point.x, point.y, point.made, point.gone) == (1, 0, [], 2)
    pair = decode(f't1{{"~namedtuple":["{where}:Pair",["gone","left"],[1,2]]}}'.encode())
    assert pair == Pair(2, None)
    model = decode(
        f't1{{"~pydantic":["{where}:Model",{{"__dict__":{{"name":"a"}},"__pydantic_extra__":null,'
        '"__pydantic_fields_set__":{"~set":["name"]},"__pydantic_private__":null}]}'.encode()
    )
    assert (model.name, model.tags, model.child) == ("a", [], None)


def test_where_nothing_may_be_pickled_it_says_what_to_do() -> None:
    assert encode({"a": [1, Color.RED]}, pickles=False) == encode({"a": [1, Color.RED]})
    with pytest.raises(StateError, match=r"a Plain cannot be recorded: it would be a pickle.*CASCADE_SECRET"):
        encode(Plain(5), pickles=False)
    with pytest.raises(StateError, match="is not read: nobody signed it"):
        decode(b"r1nobody signed it")


# --- previews


@pytest.mark.parametrize(
    ("value", "told"),
    [
        *(
            (1, "1"),
            (None, "None"),
            ("a'b", '"a\'b"'),
            ("a\nb", "'a\\nb'"),
            ([1, (2,), {3: {4}}], "[1, (2), {3: {4}}]"),
        ),
        *((Color.RED, "Color.RED"), (Point(1, 2), "Point(x=1, y=2, made=['made'])"), (np.eye(3), "<ndarray of 3 x 3>")),
        *((pd.DataFrame({"a": [1]}), "<DataFrame of 1 x 1>"), (Pair(1), "Pair(left=1, right=None)")),
        *(("http://me:secret@host/", "'http://me:***@host/'"), (1 << 5000, "<an int of 5001 bits>")),
    ],
)
def test_a_preview_shows_what_it_is(value: Any, told: str) -> None:
    assert preview(value) == told


def test_a_preview_shows_no_secret() -> None:
    secret = "to'k\nen"
    for value in (
        secret,
        [f"x{secret}y"],
        {secret: secret},
        Point(secret),
        Plain(secret),
        Pair(secret),
        secret.encode(),
    ):
        told = preview(value, [secret])
        assert "to'k" not in told
        assert "to\\'k" not in told
    assert preview("x" * 195 + "secret", ["secret"])[-7:] == "x***'"[-7:] or "s" not in preview(
        "x" * 195 + "secret", ["secret"]
    )
    assert "sec" not in preview([b"x" * 195 + b"secret"], ["secret"])
    assert preview(1234, ["1234"]) == "***"


@dataclass
class Discreet:
    name: str
    word: str

    def __repr__(self) -> str:
        return f"Discreet({self.name})"


@dataclass
class Half:
    name: str
    word: str = field(repr=False)


def test_a_preview_shows_no_more_than_an_object_says_of_itself() -> None:
    assert preview([Discreet("a", "word")]) == "[Discreet(a)]"
    assert preview([Half("a", "word")]) == "[Half(name='a')]"


class Loud:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_preview_is_had_of_anything() -> None:
    assert preview([Loud()]).startswith("[")
    loop: list[Any] = []
    loop.append(loop)
    assert len(preview(loop)) < 200
    assert len(preview(list(range(1_000_000)))) <= 200
    assert preview(deque(range(5000))) == "<deque of 5000>"
    assert len(preview("x" * 10_000_000)) <= 200
    assert preview({"a": {"b": {"c": {"d": {"e": 1}}}}}) == "{'a': {'b': {'c': {'d': {...}}}}}"
    assert kept.MISSING is MISSING
