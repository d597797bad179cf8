"""Keys see all content, of arguments and of what code reaches, or say what they cannot see."""

import asyncio
import collections
import csv
import functools
import io
import itertools
import json
import logging
import os
import queue
import random
import sqlite3
import sys
import threading
import types
import weakref
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.caching.keys import key_of
from cascade.spec.keys import FUNCTIONS
from tests.adapters import keyed
from tests.adapters.keyed import key_as_argument, key_as_global
from tests.helpers import ROOT, run_python

HERE = keyed.keys()


@pytest.mark.parametrize("name", HERE)
def test_unlike_content_has_unlike_keys_and_like_content_has_one(name: str) -> None:
    one, again, other = HERE[name]
    assert one == again
    assert one != other


def test_keys_are_the_same_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    code = "import sys; sys.path.insert(0, sys.argv[1]); from tests.adapters import keyed; keyed.main()"
    assert json.loads(run_python(code, str(ROOT))) == HERE


# --- what code reaches, by its source

PYDANTIC = """
import pydantic
from typing import Annotated, Any
def check(x): return x + {check}
class Settings(pydantic.BaseModel):
    rate: Annotated[{type}, pydantic.AfterValidator(check)] = pydantic.Field({default}, ge={least})
    items: list[int] = pydantic.Field(default_factory=lambda: [{made}])
    _hidden: int = {hidden}
made = pydantic.create_model("made", x=(int, {default}))
adapter = pydantic.TypeAdapter(dict[str, Annotated[int, pydantic.Field(lt={most})]])
class Below(Settings): pass
@pydantic.validate_call
def checked(x: Annotated[int, pydantic.Field(ge={least})]) -> int: return x
def settings(x): return Settings().rate
def below(x): return Below().rate
def given(x, model=Settings): return model().rate
def adapted(x): return adapter.validate_python(x)
def created(x): return made().x
def called(x): return checked(x)
"""
OPTIONS = {"check": 1, "type": "int", "default": 5, "least": 1, "made": 1, "hidden": 1, "most": 9}
PARTS = {"check": 2, "type": "float", "default": 6, "least": 2, "made": 2, "hidden": 2}


@pytest.mark.parametrize(
    ("function", "changes"),
    [
        *((name, {part: value}) for name in ("settings", "below", "given") for part, value in PARTS.items()),
        ("adapted", {"most": 8}),
        ("created", {"default": 6}),
        ("called", {"least": 2}),
    ],
)
def test_what_a_class_of_pydantic_is_made_of_counts(function: str, changes: dict[str, Any]) -> None:
    pytest.importorskip("pydantic")

    def key(**options: Any) -> str:
        names: dict[str, Any] = {"__name__": "made"}
        exec(PYDANTIC.format(**{**OPTIONS, **options}), names)
        return key_of(cs.task(names[function]), (1,), {}, cs.cached()).digest

    assert key() == key() != key(**changes)


def test_explanations_name_what_changed_of_a_model() -> None:
    pytest.importorskip("pydantic")

    def parts(rate: float) -> dict[str, str]:
        names: dict[str, Any] = {"__name__": "made"}
        exec(f"import pydantic\nclass Settings(pydantic.BaseModel):\n    rate: float = {rate}", names)
        exec("def tax(amount): return amount * Settings().rate", names)
        return key_of(cs.task(names["tax"]), (1,), {}, cs.cached()).parts

    before, after = parts(0.1), parts(0.2)
    assert "fields of made:Settings" in {name for name in before if before[name] != after[name]}


def key_of_source(source: str) -> str:
    names: dict[str, Any] = {"__name__": "made"}
    exec(source, names)
    return key_of(cs.task(names["f"]), (1,), {}, cs.cached()).digest


@pytest.mark.parametrize(
    "source",
    [
        "def f(x): return f.rate * x\nf.rate = {}",
        "import functools\ndef rated(g):\n    g.rate = {}\n    return g\n"
        "@rated\n@functools.cache\ndef h(x): return h.rate\ndef f(x): return h(x)",
        "import contextlib\n@contextlib.contextmanager\ndef h(x): yield h.rate\nh.rate = {}\ndef f(x): return h(x)",
        "import contextlib\n@contextlib.contextmanager\ndef h(x): yield h.rate\nh.rate = [{}]\ndef f(x): return h.rate",
        "import functools\n@functools.singledispatch\ndef h(x): return 0\nh.register(int, lambda x: {})\n"
        "def f(x): return h(x)",
        "import functools\nclass C:\n    @functools.singledispatchmethod\n    def h(self, x): return 0\n"
        "    @h.register\n    def _(self, x: int): return {}\ndef f(x): return C().h(x)",
        "class C:\n    __rate__ = {}\n    def h(self): return self.__rate__\ndef f(x): return C().h()",
        "class Call:\n    def __init__(self, g, n): self.__wrapped__, self.n = g, n\n"
        "    def __call__(self, x): return self.n\nh = Call(lambda x: x, {})\ndef f(x): return h(x)",
        "from typing import TypedDict, Annotated\nclass T(TypedDict):\n    x: Annotated[int, {}]\ndef f(x): return T",
        "import struct\nHEAD = struct.Struct('{}i')\ndef f(x): return HEAD.size",
        "KNOWN = {{{}: 1}}.keys()\ndef f(x): return x in KNOWN",
        "import contextvars\nV = contextvars.ContextVar('v', default={})\n\ndef f(x):\n    V.set(V.get() + x)",
        "class Ids:\n    def __init__(self, n): self.n = n\n    def __next__(self): self.at = 1; return self.n\n"
        "ids = Ids({})\ndef f(x): return next(ids)",
    ],
)
def test_an_edited_source_counts(source: str) -> None:
    assert key_of_source(source.format(1)) == key_of_source(source.format(1)) != key_of_source(source.format(2))


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    f.calls += 1\n    return x\nf.calls = 0",
        "def f(x):\n    f.seen[x] = 1\n    return x\nf.seen = {}",
        "def f(x):\n    if not hasattr(f, 'seen'): f.seen = []\n    f.seen.append(x)\n    return x",
        "class Call:\n    def __init__(self, g): self.__wrapped__, self.n = g, 0\n"
        "    def __call__(self, x):\n        self.n += 1\n        return x\n"
        "h = Call(lambda x: x)\ndef f(x): return h(x)",
        "class Ids:\n    n = 0\n    def __next__(self): self.n += 1; return self.n\n"
        "ids = Ids()\ndef f(x): return next(ids)",
        "import io\nOUT = io.StringIO()\ndef f(x):\n    OUT.write('a')\n    return x",
        "import io\nDATA = io.BytesIO(b'abc')\ndef f(x): return DATA.read(1)",
        "import contextvars\nV = contextvars.ContextVar('v', default=0)\n\ndef f(x): V.set(V.get() + x)",
        "import weakref\nKNOWN = weakref.WeakValueDictionary()\ndef f(x): KNOWN[x] = f",
        "import asyncio\nS = asyncio.Semaphore(3)\ndef f(x): S._value -= 1",
    ],
)
def test_what_code_changes_itself_does_not_count(source: str) -> None:
    names: dict[str, Any] = {"__name__": "made"}
    exec(source, names)
    task = cs.task(names["f"])
    before = key_of(task, (1,), {}, cs.cached()).digest
    for _ in range(2):
        names["f"](1)
        assert key_of(task, (1,), {}, cs.cached()).digest == before


def test_a_default_of_a_context_variable_counts_and_its_value_does_not() -> None:
    import contextvars

    variable = contextvars.ContextVar("variable", default=1)
    before = key_as_global(variable)
    variable.set(2)
    assert key_as_global(variable) == before


def test_an_attribute_put_on_a_function_later_counts() -> None:
    def helper(x: int) -> int:
        return x

    task = cs.task(lambda x: helper(x))
    before = key_of(task, (1,), {}, cs.cached()).digest
    helper.rate = 2  # type: ignore[attr-defined]
    assert key_of(task, (1,), {}, cs.cached()).digest != before


# --- services, and what has no content to see


class Client:
    """As a client of a library holds its settings, and connections."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = threading.Lock()
        self.used = 0


Client.__module__ = "threading"

SERVICES: dict[str, Callable[[], Any]] = {
    "a module": lambda: os,
    "a logger": lambda: logging.getLogger("x"),
    "a handler": logging.StreamHandler,
    "a lock": threading.Lock,
    "an event": threading.Event,
    "a pool": lambda: ThreadPoolExecutor(1),
    "a queue": queue.Queue,
    "a semaphore": lambda: asyncio.Semaphore(2),
    "a thread's own": threading.local,
    "the environment": lambda: os.environ,
    "a mark": object,
    "an entropy": random.SystemRandom,
    "a client": lambda: Client("a"),
    "a lazy value": lambda: cs.task(keyed.one)(cs.Param("x", default=1)),
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_code_reaches_counts_by_its_type(name: str) -> None:
    assert key_as_global(SERVICES[name]()) == key_as_global(SERVICES[name]())
    assert key_as_global([1, SERVICES[name]()]) != key_as_global([2, SERVICES[name]()])


def test_a_connection_and_a_file_that_code_reaches_count_by_their_type() -> None:
    connection = sqlite3.connect(":memory:")
    with open(os.devnull) as file:
        assert key_as_global(connection) != key_as_global(file)
    connection.close()


def test_a_lazy_value_that_code_reaches_counts_by_what_it_was_declared_as() -> None:
    def graph(n: int, k: int = 1) -> Any:
        return cs.task(keyed.one if k == 1 else keyed.two)(n)

    assert key_as_global(graph(1)) == key_as_global(graph(1)) != key_as_global(graph(2))
    assert key_as_global(graph(1)) != key_as_global(graph(1, 2))
    assert key_as_global(cs.Param("x", default=1)) != key_as_global(cs.Param("x", default=2))


def test_what_is_neither_content_nor_service_is_refused_where_code_reaches_it() -> None:
    packer = zlib.compressobj(1)

    @cs.task
    def pack(x: bytes) -> bytes:
        return packer.compress(x)

    for held in (packer, [packer], {"a": (1, packer)}, keyed.Plain(packer)):  # type: ignore[arg-type]
        with pytest.raises(cs.CacheError, match=r"cannot key made\.VALUE, which the task reaches: .*Compress"):
            key_as_global(held)
    with pytest.raises(cs.CacheError, match=r"task 'pack' .*'packer'.*Compress.*version=.*cs\.keys\.register"):
        key_of(pack, (b"a",), {}, cs.cached())
    assert key_of(pack, (b"a",), {}, cs.cached(version=1)).digest
    with pytest.raises(cs.CacheError, match=r"argument 'x'.*Compress"):
        key_as_argument(lambda: packer)
    flow = cs.subflow(pack(b"a"))
    with pytest.raises(cs.CacheError, match="Compress"):
        cs.run(flow.with_cache(cs.cached()), log_level="SILENT")


class Holder:
    def add(self) -> int:
        return 1


HOLDER = Holder()


class Weak(weakref.WeakKeyDictionary[Any, Any]):
    """A weak dict of one's own."""


async def streamed() -> AsyncIterator[int]:
    yield 1


KEPT = keyed.Plain(1)
HIDDEN: dict[str, Callable[[], Any]] = {
    "generator": keyed.generated,
    "async_generator": streamed,
    "list_iterator": lambda: iter([1]),
    "map": lambda: map(str, [1]),
    "enumerate": lambda: enumerate("a"),
    "cycle": lambda: itertools.cycle([1]),
    "count": lambda: itertools.count(1),
    "chain": lambda: itertools.chain([1], [2]),
    "_tee": lambda: itertools.tee([1])[0],
    "reader": lambda: csv.reader(["a,b"]),
    "WeakKeyDictionary": lambda: weakref.WeakKeyDictionary({KEPT: 1}),
    "WeakValueDictionary": lambda: weakref.WeakValueDictionary({1: KEPT}),
    "WeakSet": lambda: weakref.WeakSet([KEPT]),
    "Weak": lambda: Weak({KEPT: 1}),
    "ReferenceType": lambda: weakref.ref(KEPT),
    "WeakMethod": lambda: weakref.WeakMethod(HOLDER.add),
    "ProxyType": lambda: weakref.proxy(KEPT),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_hides_its_content_is_refused_wherever_it_is(name: str) -> None:
    value = HIDDEN[name]()
    for held in (value, [value], {"a": (1, value)}, keyed.Plain(value), functools.partial(keyed.one, value)):
        with pytest.raises(cs.CacheError, match=rf"made\.VALUE.*: a {name} .*version=.*cs\.keys\.register\(type"):
            key_as_global(held)
        with pytest.raises(cs.CacheError, match=rf"argument 'x': a {name} .*cs\.keys\.register\(type"):
            key_as_argument(held)


def test_what_hides_its_content_is_seen_by_what_was_registered_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in FUNCTIONS:
        monkeypatch.delitem(FUNCTIONS, key)
    monkeypatch.setitem(FUNCTIONS, weakref.WeakKeyDictionary, lambda rates: [rate for _, rate in rates.items()])
    one, two = (key_as_global(weakref.WeakKeyDictionary({KEPT: n})) for n in (1, 2))
    assert one == key_as_global(weakref.WeakKeyDictionary({KEPT: 1})) != two


def test_an_object_of_a_library_that_holds_something_weakly_is_a_service() -> None:
    client = Client("a")
    client.lock = weakref.WeakSet([KEPT])  # type: ignore[assignment]
    assert key_as_global(client) == key_as_global(Client("b"))


def test_what_is_gone_is_refused_as_well() -> None:
    proxy = weakref.proxy(Holder())
    with pytest.raises(cs.CacheError, match="a ProxyType"):
        key_as_argument(proxy)


WRAPPED = """
import wrapt
def rated(rate):
    @wrapt.decorator
    def around(wrapped, instance, args, kwargs): return wrapped(*args) * rate{body}
    return around
@wrapt.decorator(enabled={enabled})
def plain(wrapped, instance, args, kwargs): return wrapped(*args){body}
@rated({rate})
def one(x): return x + {own}
@plain
def two(x): return x
class Class:
    @plain
    def method(self, x): return x
    @rated({rate})
    @classmethod
    def made(cls, x): return x + {own}
class Proxy(wrapt.ObjectProxy):
    def __init__(self, wrapped, rate):
        super().__init__(wrapped)
        self._self_rate = rate
PROXY = Proxy([1], {rate})
def f_one(x): return one(x)
def f_two(x): return two(x)
def f_method(x): return Class().method(x)
def f_class(x): return Class.made(x)
def f_proxy(x): return PROXY._self_rate
f_itself = one
f_bound = Class().method
"""


@pytest.mark.parametrize(
    ("function", "changes"),
    [
        ("f_one", {"body": "+ 1"}),
        ("f_one", {"rate": 2}),
        ("f_one", {"own": 2}),
        ("f_two", {"body": "+ 1"}),
        ("f_two", {"enabled": "False"}),
        ("f_method", {"body": "+ 1"}),
        ("f_class", {"own": 2}),
        ("f_class", {"rate": 2}),
        ("f_proxy", {"rate": 2}),
        ("f_itself", {"rate": 2}),
        ("f_itself", {"own": 2}),
        ("f_bound", {"body": "+ 1"}),
    ],
)
def test_wrappers_of_wrapt_count_by_what_they_do_and_what_they_wrap(function: str, changes: dict[str, Any]) -> None:
    pytest.importorskip("wrapt")

    def key(**options: Any) -> str:
        names: dict[str, Any] = {"__name__": "made"}
        exec(WRAPPED.format(**{"body": "", "enabled": "True", "rate": 1, "own": 1, **options}), names)
        return key_of(cs.task(names[function]), (1,), {}, cs.cached()).digest

    assert key() == key() != key(**changes)


def test_a_proxy_as_an_argument_counts_by_what_it_is_for() -> None:
    wrapt = pytest.importorskip("wrapt")
    assert key_as_argument(wrapt.ObjectProxy([1])) == key_as_argument(wrapt.ObjectProxy([1]))
    assert key_as_argument(wrapt.ObjectProxy([1])) != key_as_argument(wrapt.ObjectProxy([2]))


@pytest.mark.parametrize(
    "source",
    [
        "from typing import get_type_hints, Annotated\nclass K: x: Annotated[int, {}]\n"
        "def f(x): return get_type_hints(K)",
        "from typing import Annotated\nclass K: x: Annotated[int, {}]\ndef f(x): return K.__annotations__",
        "from __future__ import annotations\nfrom typing import *\nRate = Annotated[int, {}]\nclass K: x: Rate\n"
        "def f(x): return get_type_hints(K)",
        "from dataclasses import *\nfrom typing import *\n@dataclass\nclass K: x: Literal[{}]\n"
        "def f(x): return fields(K)",
        "from typing import *\nclass K(NamedTuple): x: Literal[{}]\nclass L(K): pass\ndef f(x): return L",
        "from typing import *\ndef h(x: Literal[{}]): return x\ndef f(x): return get_type_hints(h)",
        "import inspect\nfrom typing import *\ndef h(x: Literal[{}]): return x\n"
        "def shown(g): return inspect.signature(g)\ndef f(x): return shown(h)",
    ],
)
def test_annotations_count_where_they_may_be_read(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    def key(n: int) -> str:
        module = types.ModuleType("made")
        monkeypatch.setitem(sys.modules, "made", module)
        exec(source.format(n), vars(module))
        return key_of(cs.task(vars(module)["f"]), (1,), {}, cs.cached()).digest

    assert key(1) == key(1) != key(2)


def test_annotations_of_all_kinds_have_keys() -> None:
    source = """
from __future__ import annotations
import typing, threading
from typing import *
from collections.abc import Callable as Call
T = TypeVar("T"); P = ParamSpec("P"); Ts = TypeVarTuple("Ts"); N = NewType("N", int)
class K(Generic[T, P]):
    a: ClassVar[int]; b: "list[K]"; c: Callable[P, T]; d: Callable[..., int]; e: Optional[Any]; f: N
    g: tuple[int, ...]; h: Literal["a"]; i: Annotated[threading.Lock, threading.Lock()]; j: type[Self]; k: Unpack[Ts]
    l: Final[int] = 1; m: Call[[int], None]; n: Missing; o: int | None; p: Concatenate[int, P]; q: P.args
class L:
    a: ClassVar[int]; c: Callable[P, T]; d: Callable[..., int]; e: Optional[Any]; f: N; r: "L | None"
    g: tuple[int, ...]; h: Literal["a"]; i: Annotated[threading.Lock, threading.Lock()]; j: type[K]
    k: tuple[Unpack[Ts]]
    m: Call[[int], None]; o: int | None; p: Callable[Concatenate[int, P], T]; s: Never; t: LiteralString
def f(x): return K, L
"""
    assert key_of_source(source) == key_of_source(source)


def test_a_global_nested_too_deep_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(cs.CacheError, match="nested too deep"):
        key_as_global(value)


NAMED = {"a module", "a logger", "the environment", "a semaphore", "a lazy value"}
"""Those that have content to see: a name, or items."""


@pytest.mark.parametrize("name", [*sorted(SERVICES.keys() - NAMED), "a closed buffer", "a context variable"])
def test_a_service_is_no_argument(name: str) -> None:
    if name == "a closed buffer":
        value: Any = io.BytesIO()
        value.close()
    elif name == "a context variable":
        value = keyed.ONLY_REACHED[name](1)
    else:
        value = SERVICES[name]()
    with pytest.raises(cs.CacheError, match=r"argument 'x': .*cs\.keys\.register"):
        key_as_argument(value)


def test_graphs_of_objects_of_libraries_are_written_once() -> None:
    class Link:
        def __init__(self, below: Any) -> None:
            self.left = self.right = below

    Link.__module__ = "threading"
    link: Any = None
    for _ in range(40):  # 2 ** 40 ways lead to the last
        link = Link(link)
    assert key_as_global(link) == key_as_global(link)


# --- what is registered


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(FUNCTIONS)
    yield
    FUNCTIONS.clear()
    FUNCTIONS.update(before)


class Model:
    def __init__(self, path: str) -> None:
        self.path = path
        self.handle = zlib.compressobj()


class Better(Model):
    pass


@pytest.mark.usefixtures("registry")
def test_a_registered_function_says_what_stands_for_an_object() -> None:
    with pytest.raises(cs.CacheError):
        key_as_argument(Model("a"))
    with pytest.raises(cs.CacheError):
        key_as_global(Model("a"))
    cs.keys.register(Model, lambda model: model.path)
    for key in (key_as_argument, key_as_global):
        assert key(Model("a")) == key(Model("a")) != key(Model("b"))
        assert key([Better("a")]) == key([Better("a")]) != key([Model("a")])
    cs.keys.register(Better, lambda model: 1)
    assert key_as_argument(Better("a")) == key_as_argument(Better("b"))


@pytest.mark.usefixtures("registry")
def test_what_was_registered_later_counts_for_what_was_seen_before() -> None:
    model = Model("a")
    task = cs.task(lambda x: model)
    cs.keys.register(Model, lambda model: model.path)
    before = key_of(task, (1,), {}, cs.cached()).digest
    model.path = "b"
    assert key_of(task, (1,), {}, cs.cached()).digest != before
    cs.keys.register(Model, lambda model: "c")
    assert key_of(task, (1,), {}, cs.cached()).digest not in (before, key_as_global(model))


@pytest.mark.usefixtures("registry")
def test_a_registered_function_that_fails_is_an_error_that_says_so() -> None:
    cs.keys.register(Model, lambda model: 1 / 0)
    with pytest.raises(cs.CacheError, match="what stands for a Model failed: ZeroDivisionError"):
        key_as_argument(Model("a"))
    cs.keys.register(Model, lambda model: threading.Lock())
    with pytest.raises(cs.CacheError, match="lock"):
        key_as_argument(Model("a"))


@pytest.mark.parametrize("given", [("a", len), (1, len), (dict, len), (object, len), (Model, 5), (Model, None)])
def test_what_cannot_be_registered_is_refused(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"cs\.keys\.register"):
        cs.keys.register(*given)


# --- runs


@dataclass
class Rows(list[int]):
    name: str = "n"


@pytest.mark.parametrize("tier", ["interpret", "auto", "compile"])
def test_no_item_of_a_map_gets_the_result_of_another(tier: Any) -> None:
    @cs.task(cache=cs.cached())
    def read(scaled: Any) -> Any:
        return scaled.y

    @cs.task(cache=cs.cached())
    def add(rows: Any) -> int:
        return sum(rows)

    rows = [keyed.filled(Rows(), n) for n in (1, 2)]
    flow = [read.map(scaled=[keyed.Scaled(1), keyed.Scaled(2)]), add.map(rows=rows)]
    engine_run = asyncio.run(_run(flow, tier))
    assert engine_run == [[10, 20], [1, 2]]


async def _run(flow: Any, tier: Any) -> Any:
    async with cs.Engine(tier=tier) as engine:
        return await engine.run(flow)


class SlottedBytes(io.BytesIO):
    __slots__ = ("unit",)


class SlottedText(io.StringIO):
    __slots__ = ("unit",)


class SlottedSpace(types.SimpleNamespace):
    __slots__ = ("unit",)


class SlottedDeque(collections.deque[int]):
    __slots__ = ("unit",)


@pytest.mark.parametrize("make", [SlottedBytes, SlottedText, SlottedSpace, SlottedDeque, "array", "masked", "scalar"])
def test_what_stands_in_slots_counts_whatever_the_class_is_made_from(make: Any) -> None:
    if isinstance(make, str):
        np = pytest.importorskip("numpy")
        bases = {"array": np.ndarray, "masked": np.ma.MaskedArray, "scalar": np.float64}
        cls: Any = type("Slotted", (bases[make],), {"__slots__": ("unit",), "__module__": __name__})
        make = {"array": lambda: np.ones(1).view(cls), "masked": lambda: np.ma.ones(1).view(cls)}.get(
            make, lambda: cls(1)
        )

    def having(unit: str) -> Any:
        value = make()
        value.unit = unit
        return value

    @cs.task(cache=cs.cached())
    def unit(x: Any) -> str:
        found: str = x.unit
        return found

    assert cs.run(unit.map(x=[having("m"), having("km"), having("m")]), log_level="SILENT") == ["m", "km", "m"]
