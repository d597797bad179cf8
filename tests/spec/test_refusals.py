"""A value that is not there yet refuses what would need it: each error names it, its place and the line to write."""

import asyncio
import copy
import inspect
import math
import operator
import sys
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from tests.workflows import Tier, every_tier, in_loop, run

WHOLE = sys.version_info >= (3, 12)
"""Before, only usual names have a message: a `__getattr__` would make reading all other attributes slower."""


@cs.task
def double(x: Any) -> Any:
    return 2 * x


KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "call": (lambda: double(1), "double(...)"),
    "map": (lambda: double.map(x=[1]), "double.map(...)"),
    "router": (lambda: cs.Router(1, {1: 2}), "cs.Router(...)"),
    "param": (lambda: cs.Param("p"), "cs.Param('p')"),
    "env": (lambda: cs.Env("E"), "cs.Env('E')"),
    "subflow": (lambda: cs.subflow(double(1)), "cs.subflow(...)"),
}

MISUSES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda lazy: lazy + 1, "cs.task(lambda x: x + 1)({it})"),
    (lambda lazy: 1 + lazy, "cs.task(lambda x: 1 + x)({it})"),
    (lambda lazy: operator.add([1], lazy), "cs.task(lambda x, y: y + x)({it}, ...)"),
    (lambda lazy: "a" + lazy, "cs.format('a{}', {it})"),
    (lambda lazy: lazy + ".txt", "cs.format('{}.txt', {it})"),
    (lambda lazy: 10 - lazy, "cs.task(lambda x: 10 - x)({it})"),
    (lambda lazy: lazy - lazy, "cs.task(lambda x, y: x - y)({it}, {it})"),
    (lambda lazy: lazy / object(), "cs.task(lambda x, y: x / y)({it}, ...)"),
    (lambda lazy: lazy @ lazy, "cs.task(lambda x, y: x @ y)({it}, {it})"),
    (lambda lazy: 2**lazy, "cs.task(lambda x: 2 ** x)({it})"),
    (lambda lazy: pow(lazy, 2, 5), "cs.task(lambda x: x ** 2)({it})"),
    (lambda lazy: divmod(lazy, 2), "cs.task(lambda x: divmod(x, 2))({it})"),
    (lambda lazy: lazy | {}, "cs.task(lambda x, y: x | y)({it}, ...)"),
    (operator.neg, "cs.task(lambda x: -x)({it})"),
    (operator.invert, "cs.task(lambda x: ~x)({it})"),
    (abs, "cs.task(lambda x: abs(x))({it})"),
    (lambda lazy: sum([lazy]), "cs.task(lambda x: 0 + x)({it})"),
    (int, "cs.task(int)({it})"),
    (float, "cs.task(float)({it})"),
    (complex, "cs.task(complex)({it})"),
    (bytes, "cs.task(bytes)({it})"),
    (round, "cs.task(round)({it})"),
    (lambda lazy: round(lazy, 2), "cs.task(round)({it})"),
    (math.floor, "cs.task(math.floor)({it})"),
    (reversed, "cs.task(reversed)({it})"),
    (range, "cs.task(int)({it})"),
    (lambda lazy: [1][lazy], "cs.task(int)({it})"),
    (lambda lazy: lazy["k"], "cs.task(lambda x: x['k'])({it})"),
    (lambda lazy: lazy < 3, "cs.task(lambda x: x < 3)({it})"),
    (lambda lazy: operator.setitem(lazy, 0, 1), "a task that returns it changed"),
    (lambda lazy: operator.delitem(lazy, 0), "a task that returns it changed"),
    (open, "cs.read.text({it})"),
    (format, 'cs.format("... {} ...", {it})'),
    (lambda lazy: f"out-{lazy}.txt", 'cs.format("... {} ...", {it})'),
    (lambda lazy: f"{lazy:.2f}", 'cs.format("... {:.2f} ...", {it})'),
    ("{}".format, 'cs.format("... {} ...", {it})'),
    (lambda lazy: lazy.__enter__(), "@cs.resource"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_which_it_is_where_it_was_declared_and_the_line_to_write(kind: str) -> None:
    make, spelled = KINDS[kind]
    for misuse, instead in MISUSES:
        lazy = make()
        with pytest.raises(TypeError) as caught:
            misuse(lazy)
        text = str(caught.value)
        assert text.startswith(f"{lazy!r} has no value before the graph runs, so it cannot be "), text
        assert f"declared at {__file__}:" in text
        assert instead.replace("{it}", spelled) in text, text


def test_it_cannot_be_awaited_entered_or_iterated_by_a_coroutine() -> None:
    async def awaits(lazy: Any) -> None:
        await lazy

    async def enters(lazy: Any) -> None:
        async with lazy:
            pass

    async def iterates(lazy: Any) -> None:
        async for _ in lazy:
            pass

    async def gathers(lazy: Any) -> None:
        await asyncio.gather(lazy)

    for misuse, instead in [
        (awaits, "run it: await cs.arun(double(...)), or await engine.run(double(...))"),
        (gathers, "await engine.run(double(...))"),
        (enters, "open it in a resource (@cs.resource), or in the task that needs it"),
        (iterates, "use `task.map(name=it)`"),
    ]:
        with pytest.raises(TypeError) as caught:
            asyncio.run(misuse(double(1)))
        assert instead in str(caught.value)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("upper", "take it in a task: cs.task(lambda x: x.upper)(double(...))"),
        ("append", "cs.task(lambda x: x.append)(double(...))"),
        ("status_code", "cs.task(lambda x: x.status_code)(double(...))"),
        ("result", "cs.run(double(...)) runs it and gives its value"),
        ("compute", "cs.run(double(...)) runs it and gives its value"),
        ("with_retries", "did you mean .with_retry?"),
        pytest.param(
            "my_own", "cs.task(lambda x: x.my_own)(double(...))", marks=pytest.mark.skipif(not WHOLE, reason="")
        ),
    ],
)
def test_an_attribute_of_the_value_says_how_to_take_it(name: str, instead: str) -> None:
    lazy = double(1)
    with pytest.raises(AttributeError) as caught:
        getattr(lazy, name)
    assert str(caught.value).startswith(f"{lazy!r} has no value before the graph runs, so it cannot be asked for its")
    assert instead in str(caught.value)
    assert not hasattr(lazy, name)
    assert getattr(lazy, name, 5) == 5
    assert name not in dir(lazy)


def test_what_protocols_ask_for_is_plainly_not_there() -> None:
    for lazy in (double(1), cs.Param("p"), cs.Router(1, {1: 2})):
        for name in ("__wrapped__", "_repr_svg_", "_ipython_canary_method_should_not_exist_", "__array__", "__dict__"):
            with pytest.raises(AttributeError, match=r"^'[A-Za-z]+' object has no attribute '_"):
                getattr(lazy, name)
        with pytest.raises(TypeError, match="does not pickle"):
            copy.copy(lazy)
        assert not callable(lazy)
        assert inspect.unwrap(lazy) is lazy  # type: ignore[arg-type]
        members = dict(inspect.getmembers(lazy))
        assert "declared" in members
        assert "upper" not in members
        assert str(lazy) == repr(lazy) == f"{lazy!r}" == "%s" % (lazy,)  # noqa: UP031
    unborn = object.__new__(cs.LazyResult)
    with pytest.raises(AttributeError, match=r"^'LazyResult' object has no attribute '(config|label)'$"):
        unborn.label  # noqa: B018


@every_tier
@pytest.mark.parametrize("mode", ["inline", "blocking", "async"])
def test_inside_a_task_that_runs_it_says_how_to_call_the_function(mode: Any, tier: Tier) -> None:
    def factorial(n: int) -> Any:
        return n * task(n - 1) if n else 1

    async def slowly(n: int) -> Any:
        return n * task(n - 1) if n else 1

    task: Any = cs.task(name="factorial")(slowly) if mode == "async" else cs.task(mode=mode)(factorial)
    for target in (task(3), task.map(n=[3])):
        with pytest.raises(TypeError) as caught:
            run(target, tier=tier)
        assert "<LazyResult of 'factorial', declared at" in str(caught.value)
        assert "cannot be an operand of `*`; inside a task that runs, factorial.func(...) calls" in str(caught.value)
        assert task.declared in str(caught.value)
        assert any("in task factorial#1" in note for note in caught.value.__notes__)


def test_a_run_is_not_its_value() -> None:
    async def misuse() -> None:
        async with Engine() as engine:
            going: Any = engine.start(double(1))
            for wrong in (lambda: going + 1, lambda: 2 * going, lambda: int(going), lambda: going[0], lambda: -going):
                with pytest.raises(TypeError) as caught:
                    wrong()
                assert str(caught.value).startswith(f"<Run {going.id}: Running> is a run and not its value, so it")
                assert str(caught.value).endswith("await it first: value = await run")
            with pytest.raises(AttributeError, match=r"is a run and not its value.* value = await run"):
                going.upper  # noqa: B018
            assert going
            assert f"{going}" == repr(going)
            assert await going == 2

    in_loop(misuse)


def test_a_run_is_awaited_on_its_own_loop() -> None:
    async def start(engine: Engine) -> Any:
        return engine.start(wait())

    @cs.task
    async def wait() -> None:
        await asyncio.Event().wait()

    async def elsewhere(going: Any) -> None:
        await going

    with asyncio.Runner() as runner, asyncio.Runner() as other:
        going = runner.run(start(Engine()))
        with pytest.raises(
            RuntimeError, match=r"<Run .*: Running> goes on on another event loop.*await it where it was"
        ):
            other.run(elsewhere(going))
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            runner.run(elsewhere(going))
        with pytest.raises(asyncio.CancelledError):
            other.run(elsewhere(going))  # it has ended, so there is nothing to wait for
