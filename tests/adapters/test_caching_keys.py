"""Keys of caches: what makes two calls the same, and what makes a result stale."""

import enum
import functools
import importlib
import math
import re
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.caching.keys import key_of
from cascade.spec.caching import Cached


def digest(task: Any, *args: Any, policy: Cached | None = None, **kwargs: Any) -> str:
    return key_of(task, args, kwargs, cs.cached() if policy is None else policy).digest


def changed(task: Any, change: Callable[[], object]) -> set[str]:
    """Return the parts of the key of `task(1)` that differ after a change."""
    before = key_of(task, (1,), {}, cs.cached()).parts
    change()
    after = key_of(task, (1,), {}, cs.cached()).parts
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@cs.task
def echo(x: Any = None, y: Any = 2) -> Any:
    return x, y


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: int
    y: Any = 0


DIFFERENT: list[Any] = [
    *(None, 1, 1.0, True, "1", b"1", bytearray(b"1"), 1 + 0j, 0.0, -0.0, 0, False, "", b"", (), [], {}, set()),
    *(frozenset(), [1, 2], (1, 2), [[1], 2], [1, [2]], ["12"], ["1", "2"], {1: 2}, {2: 1}, {1}, {"1"}, [None]),
    *({"a": 1}, {"a": 1.0}, {"a": True}, OrderedDict(a=1), math.nan, math.inf, Color.RED, Color.BLUE, Point(1)),
    *(Point(1, 2), Path("a"), Path("b"), "a", len, max, abs, int, str, range(3), range(4), slice(1), Ellipsis),
    *(re.compile("a"), re.compile("b"), functools.partial(max, 1), functools.partial(max, 2), 10**5000, -(10**5000)),
]


def test_arguments_that_differ_have_keys_that_differ() -> None:
    keys = [digest(echo, value) for value in DIFFERENT]
    assert len(set(keys)) == len(DIFFERENT)


def test_arguments_of_the_same_content_have_one_key() -> None:
    for make in (
        lambda: [1, {"a": (2.5, None)}],
        lambda: Point(1, [2]),
        lambda: {"z", "b", "c", 1},
        lambda: Path("a") / "b",
        lambda: float("nan"),
        lambda: lambda x: x + 1,
        lambda: OrderedDict(a=1, b=2),
    ):
        assert digest(echo, make()) == digest(echo, make())


def test_equal_dicts_are_one_whatever_their_order_and_ordered_ones_are_not() -> None:
    assert digest(echo, {"a": 1, "b": 2}) == digest(echo, {"b": 2, "a": 1})
    assert digest(echo, OrderedDict(a=1, b=2)) != digest(echo, OrderedDict(b=2, a=1))


def test_how_an_argument_is_passed_does_not_count() -> None:
    keys = {digest(echo, 1), digest(echo, x=1), digest(echo, 1, 2), digest(echo, y=2, x=1), digest(echo, 1, y=2)}
    assert len(keys) == 1


def test_names_of_further_arguments_count() -> None:
    @cs.task
    def many(x: int, /, *rest: int, **named: int) -> None: ...

    given: dict[str, Any] = {"*0": 2}
    keys = [
        digest(many, 1),
        digest(many, 1, 2),
        digest(many, 1, 2, 3),
        digest(many, 1, x=2),
        digest(many, 1, y=2),
        digest(many, *[1], **given),
    ]
    assert len(set(keys)) == len(keys)


def test_a_mutated_argument_is_another() -> None:
    value = [1]
    before = digest(echo, value)
    value.append(2)
    assert digest(echo, value) != before


def test_a_container_that_holds_itself_can_be_keyed() -> None:
    def knot() -> list[Any]:
        value: list[Any] = [1]
        value.append(value)
        return value

    assert digest(echo, knot()) == digest(echo, knot())
    assert digest(echo, knot()) != digest(echo, [1, [1]])


def test_a_service_of_a_library_that_is_reached_counts_by_its_type() -> None:
    event = threading.Event()
    assert changed(cs.task(lambda x: event.is_set()), event.set) == set()


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    "value",
    [threading.Lock(), generator(), iter([1]), object(), sys._getframe()],
    ids=lambda value: type(value).__name__,
)
def test_an_argument_without_content_is_an_error_that_names_it(value: Any) -> None:
    for held in (value, [value], {"k": (value,)}, Point(1, value)):
        with pytest.raises(cs.CacheError, match=r"task 'echo' .* cannot key argument 'y': .*key="):
            digest(echo, 1, held)


def test_a_value_nested_too_deep_is_an_error_that_names_it() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(cs.CacheError, match="argument 'x': it is nested too deep"):
        digest(echo, value)


class Array:
    """As much of an array of numpy as keys look at."""

    def __init__(self, data: bytes, shape: tuple[int, ...], descr: str) -> None:
        self.data, self.shape = data, shape
        self.dtype = type("dtype", (), {"descr": [("", descr)], "hasobject": False})()

    def tobytes(self) -> bytes:
        return self.data


Array.__module__ = "numpy"


def test_arrays_are_keyed_by_type_shape_and_bytes() -> None:
    arrays = [
        Array(b"\1\0\0\0", (4,), "|i1"),
        Array(b"\1\0\0\0", (2, 2), "|i1"),
        Array(b"\1\0\0\0", (1,), "<i4"),
        Array(b"\2\0\0\0", (4,), "|i1"),
    ]
    assert len({digest(echo, array) for array in arrays}) == 4
    assert digest(echo, arrays[0]) == digest(echo, Array(b"\1\0\0\0", (4,), "|i1"))


# --- the function


def test_constants_count_and_lines_do_not() -> None:
    def made(source: str) -> Any:
        names: dict[str, Any] = {"__name__": "made"}
        exec(source, names)
        return cs.task(names["f"])

    one = made("def f(x):\n    return x + 1\n")
    assert digest(made("\n\n# moved\ndef f(x):\n\n    return x + 1  # the same\n"), 1) == digest(one, 1)
    assert digest(made("def f(x):\n    return x + 2\n"), 1) != digest(one, 1)
    assert digest(made("def f(x):\n    return x + 1.0\n"), 1) != digest(one, 1)
    assert digest(made("def f(x):\n    return x + True\n"), 1) != digest(one, 1)
    assert digest(made("def f(x):\n    return (lambda: x + 1)()\n"), 1) != digest(one, 1)
    assert digest(made("def g(x):\n    return x + 1\nf = g\n"), 1) != digest(one, 1)  # renamed


def test_constants_inside_inner_functions_count() -> None:
    def make(source: str) -> Any:
        names: dict[str, Any] = {"__name__": "made"}
        exec(f"def f(x):\n    return [(lambda: {source})() for _ in range(2)]", names)
        return cs.task(names["f"])

    assert digest(make("1"), 1) == digest(make("1"), 1) != digest(make("2"), 1)
    assert digest(make("x in {'a', 'b'}"), 1) == digest(make("x in {'b', 'a'}"), 1)


def test_closures_count() -> None:
    def make(k: Any) -> Any:
        return cs.task(lambda x: x * k)

    assert digest(make(2), 1) == digest(make(2), 1) != digest(make(3), 1)
    assert digest(make([2]), 1) != digest(make([3]), 1)


def test_a_closure_variable_that_is_bound_anew_counts() -> None:
    k = 2
    task = cs.task(lambda x: x * k)

    def rebind() -> None:
        nonlocal k
        k = 3

    (part,) = changed(task, rebind)
    assert part.startswith("closure variable 'k' of ")


def test_a_closure_variable_that_changes_in_place_counts() -> None:
    rates = {"a": 1}
    assert len(changed(cs.task(lambda x: rates["a"] * x), lambda: rates.update(a=2))) == 1


def test_what_the_function_itself_changes_does_not_count() -> None:
    calls: list[int] = []
    counts = {"n": 0}
    total = 0

    @cs.task
    def f(x: int) -> int:
        nonlocal total
        calls.append(x)
        counts["n"] += 1
        total += 1
        return x

    assert changed(f, lambda: f.func(1)) == set()
    assert (calls, counts, total) == ([1], {"n": 1}, 1)


def test_defaults_count() -> None:
    def f(x: int, y: int = 2) -> int:
        return x + y

    def give_three() -> None:
        f.__defaults__ = (3,)

    (part,) = changed(cs.task(f), give_three)
    assert part.startswith("defaults of ")


def test_a_default_that_changes_in_place_counts() -> None:
    def f(x: int, seen: list[int] = []) -> list[int]:  # noqa: B006
        seen.append(x)
        return seen

    assert "argument 'seen'" in changed(cs.task(f), lambda: f(1))


def test_a_default_without_content_counts_by_its_type() -> None:
    def f(x: int, lock: Any = threading.Lock(), mark: Any = object()) -> int:  # noqa: B008
        return x

    assert digest(cs.task(f), 1) == digest(cs.task(f), 1)


def test_a_partial_counts_by_function_and_arguments() -> None:
    def f(k: int, x: int) -> int:
        return k * x

    keys = [digest(cs.task(functools.partial(f, k)), 1) for k in (1, 2, 1)]
    assert keys[0] == keys[2] != keys[1]


def test_a_builtin_and_a_class_can_have_a_cache() -> None:
    assert digest(cs.task(abs), 1) == digest(cs.task(abs), 1) != digest(cs.task(hash), 1)
    assert digest(cs.task(Point), 1) == digest(cs.task(Point), 1) != digest(cs.task(Point), 2)


# --- what it reaches


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Write a module and import it anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: set[str] = set()

    def write(name: str, source: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        names.add(name)
        return importlib.import_module(name)

    for name in names:
        sys.modules.pop(name, None)
    return write


FLOW = """
import cascade as cs
import {helpers}
from {helpers} import first
@cs.task
def f(x):
    return first(x) + {helpers}.second(x)
@cs.task
def g(x):
    import {helpers}
    from {helpers} import second
    return second(x)
"""


@pytest.mark.parametrize("edited", ["+ 1", "- 1", "* RATE", "RATE = 5", "return x - 3", "self.k + 4"])
def test_an_edited_helper_counts(written: Any, edited: str) -> None:
    source = (
        "RATE = 2\n"
        "class Scale:\n    k = 1\n    def by(self, x):\n        return self.k + 3\n"
        "def third(x):\n    return x - 2\n"
        "def first(x):\n    return third(x) + 0\n"
        "def second(x):\n    return Scale().by(x) + first(x) * RATE\n"
    )
    after = {
        "+ 1": ("+ 0", "+ 1"),
        "- 1": ("x - 2", "x - 1"),
        "* RATE": ("* RATE", "/ RATE"),
        "RATE = 5": ("RATE = 2", "RATE = 5"),
        "return x - 3": ("return x - 2", "return x - 3"),
        "self.k + 4": ("self.k + 3", "self.k + 4"),
    }[edited]
    keys = []
    for text in (source, "# moved\n" + source, source.replace(*after)):
        written("caching_helpers", text)
        flow = written("caching_flow", FLOW.format(helpers="caching_helpers"))
        keys.append((digest(flow.f, 1), digest(flow.g, 1)))
    assert keys[0] == keys[1]
    assert keys[0][0] != keys[2][0]
    assert keys[0][1] != keys[2][1]


def test_a_helper_replaced_while_the_program_runs_counts(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    helpers = written("caching_helpers", "RATE = 2\ndef first(x): return x\ndef second(x): return x * RATE\n")
    flow = written("caching_flow", FLOW.format(helpers="caching_helpers"))
    assert "caching_helpers.second" in changed(flow.f, lambda: setattr(helpers, "second", lambda x: x))
    assert changed(flow.g, lambda: setattr(helpers, "second", lambda x: -x))
    written("caching_helpers", "RATE = 2\ndef first(x): return x\ndef second(x): return x * RATE\n")
    flow = written("caching_flow", FLOW.format(helpers="caching_helpers"))
    helpers = sys.modules["caching_helpers"]
    assert changed(flow.f, lambda: setattr(helpers, "RATE", 3)) == {"caching_helpers.RATE"}


def test_two_helpers_that_change_places_count() -> None:
    names: dict[str, Any] = {"__name__": "made"}
    exec("def a(x): return 1\ndef b(x): return 2\ndef f(x): return a(x) - b(x)", names)
    task = cs.task(names["f"])
    assert changed(task, lambda: names.update(a=names["b"], b=names["a"])) == {"made.a", "made.b"}


def test_a_renamed_function(written: Any) -> None:
    one = digest(cs.task(written("caching_renamed", "def before(x): return x\n").before), 1)
    same = digest(cs.task(written("caching_renamed", "def before(x): return x\n").before), 1)
    other = digest(cs.task(written("caching_renamed", "def after(x): return x\n").after), 1)
    assert one == same != other


def test_one_name_in_two_modules(written: Any) -> None:
    one = written("caching_one", "def helper(x): return x\n\ndef f(x): return helper(x)\n")
    two = written("caching_two", "def helper(x): return -x\n\ndef f(x): return helper(x)\n")
    assert digest(cs.task(one.f), 1) != digest(cs.task(two.f), 1)


def test_helpers_that_call_each_other() -> None:
    def make(step: int) -> Any:
        names: dict[str, Any] = {"__name__": "made", "cs": cs}
        exec(
            "def even(n): return n == 0 or odd(n - 1)\n"
            f"def odd(n): return n != 0 and even(n - {step})\n"
            "@cs.task\ndef f(n): return even(n) if n else f.func(1)",
            names,
        )
        return names["f"]

    assert digest(make(1), 1) == digest(make(1), 1) != digest(make(2), 1)


def test_what_decorators_wrap_counts() -> None:
    def twice(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapper(*args: Any) -> Any:
            return func(*args) * 2

        return wrapper

    def make(k: int, decorate: Any) -> Any:
        names: dict[str, Any] = {"__name__": "made", "decorate": decorate}
        exec(f"@decorate\ndef helper(x): return x + {k}\ndef f(x): return helper(x)", names)
        return cs.task(names["f"]), cs.task(names["helper"]) if decorate is twice else None

    for decorate in (twice, functools.lru_cache, functools.cache, cs.task):
        for at in (0, 1) if decorate is twice else (0,):
            assert digest(make(1, decorate)[at], 1) == digest(make(1, decorate)[at], 1)
            assert digest(make(1, decorate)[at], 1) != digest(make(2, decorate)[at], 1)


def test_functions_in_a_table_count() -> None:
    def make(k: int) -> Any:
        names: dict[str, Any] = {"__name__": "made"}
        exec(f"TABLE = {{'a': lambda x: x + {k}}}\ndef f(x): return TABLE['a'](x)", names)
        return cs.task(names["f"])

    assert digest(make(1), 1) == digest(make(1), 1) != digest(make(2), 1)


def test_functions_of_the_standard_library_count_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    def f(x: Any) -> str:
        return json.dumps(x)

    parts = key_of(cs.task(f), (1,), {}, cs.cached()).parts
    assert not [name for name in parts if name.startswith("code of json")]


# --- methods


class Service:
    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.calls = 0

    @cs.task
    def scale(self, x: int) -> int:
        self._count()
        return x * self.rate

    def _count(self) -> None:
        self.calls += 1

    def raise_rate(self) -> None:
        self.rate += 1


def test_self_counts_by_content_but_for_what_the_method_changes() -> None:
    task, service = Service.scale, Service(2)
    before = digest(task, service, 1)
    task.func(service, 1)
    assert service.calls == 1
    assert digest(task, service, 1) == digest(task, Service(2), 1) == before
    assert digest(task, Service(3), 1) != before
    service.raise_rate()
    assert digest(task, service, 1) != before


def test_an_object_that_is_reached_counts_by_content_but_for_what_its_methods_change() -> None:
    def make(service: Service) -> Any:
        return cs.task(lambda x: service.scale.func(service, x) if x else service._count())

    service = Service(2)
    task = make(service)
    assert changed(task, lambda: task.func(0)) == set()
    assert digest(task, 1) != digest(make(Service(3)), 1)


# --- what the policy adds


def test_a_version_is_part_of_the_key() -> None:
    keys = [digest(echo, 1, policy=cs.cached(version=version)) for version in (None, 1, 2, "1", 1.0, True)]
    assert len(set(keys)) == 6


def test_a_key_function_stands_for_the_arguments() -> None:
    policy = cs.cached(key=lambda x, y=0: x)
    lock = threading.Lock()
    assert digest(echo, 1, lock, policy=policy) == digest(echo, 1, y=3, policy=policy)
    assert digest(echo, 1, policy=policy) != digest(echo, 2, policy=policy)
    for bad in (lambda x: 1 / 0, lambda: 1, lambda x: lock):
        with pytest.raises(cs.CacheError, match="task 'echo'"):
            digest(echo, 1, policy=cs.cached(key=bad))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ttl": 0}, ValueError),
        ({"ttl": -1}, ValueError),
        ({"ttl": math.nan}, ValueError),
        ({"ttl": "1"}, TypeError),
        ({"ttl": True}, TypeError),
        ({"key": "x"}, TypeError),
        ({"store": 5}, TypeError),
        ({"store": ""}, TypeError),
        ({"store": object()}, TypeError),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"cs\.cached"):
        cs.cached(**options)


def test_a_lifetime_may_be_a_timedelta() -> None:
    assert cs.cached(ttl=timedelta(minutes=1)).ttl == 60.0
    assert cs.cached(ttl=timedelta(minutes=1)) == cs.cached(ttl=60)
    with pytest.raises(ValueError, match="above 0 seconds"):
        cs.cached(ttl=timedelta(0))


def test_policies_are_equal_by_their_settings() -> None:
    assert cs.cached("a", ttl=1) == cs.cached(Path("a"), ttl=1)
    assert hash(cs.cached("a")) == hash(cs.cached("a"))
    assert cs.cached("a") != cs.cached("b")
    assert cs.cached(version=1) != cs.cached(version=True)
