"""Keys see all content, of arguments and of what code reaches, or say what they cannot see."""

import asyncio
import io
import json
import logging
import os
import queue
import random
import sqlite3
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
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
        "import itertools\nids = itertools.count()\ndef f(x): return next(ids)",
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
    "a weak dict": weakref.WeakValueDictionary,
    "the environment": lambda: os.environ,
    "a mark": object,
    "an entropy": random.SystemRandom,
    "a generator": keyed.generated,
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


def test_a_global_nested_too_deep_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(cs.CacheError, match="nested too deep"):
        key_as_global(value)


NAMED = {"a module", "a logger", "the environment", "a semaphore", "a weak dict", "a lazy value"}
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
