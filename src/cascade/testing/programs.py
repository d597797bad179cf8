"""Programs that mean the same wherever their functions run: what `check_executor` compares executors by.

Each gives a target, or is an async function that does something with an engine and returns what came of it. They
share nothing but values: which attempt it is they ask `cs.current()`, as another process has variables of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

from cascade.app.current import current
from cascade.runtime.engine import Engine
from cascade.spec.compose import subflow
from cascade.spec.control import Jump, Router, TailCall, bind, select_jump
from cascade.spec.inputs import Param
from cascade.spec.outcomes import Failed
from cascade.spec.resource import inject, resource
from cascade.spec.streams import Stream
from cascade.spec.task import task

__all__ = ["PROGRAMS", "LostPage", "shown", "user"]

user: ContextVar[str] = ContextVar("user", default="nobody")
"""A context variable that a program sets before its run."""
PROGRAMS: dict[str, Callable[..., Any]] = {}
"""All programs, by name."""


class LostPage(Exception):
    """An error with more than a message: it takes other arguments than it keeps."""

    def __init__(self, page: int, *, title: str) -> None:
        super().__init__(f"page {page} of {title} is lost")
        self.page = page


def _program(func: Callable[..., Any]) -> Callable[..., Any]:
    PROGRAMS[func.__name__] = func
    return func


# --- what they call


@task
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@task
def total(numbers: list[int]) -> int:
    """Add the numbers of a list."""
    return sum(numbers)


@task
def keyed(first: str, /, *rest: str, sep: str, **more: str) -> str:
    """Take arguments in each way that there is."""
    return sep.join([first, *rest, *(f"{name}={value}" for name, value in more.items())])


@task
async def later(value: Any) -> Any:
    """Give a value a turn later."""
    await asyncio.sleep(0)
    return value


@task(mode="inline")
def at_once(value: Any) -> Any:
    """Give a value, on the event loop's thread."""
    return value


@task(mode="blocking")
def rest(seconds: float, value: Any = None) -> Any:
    """Wait, and give a value."""
    time.sleep(seconds)
    return value


@task(mode="compute")
def square(x: int) -> int:
    """Square a number."""
    return x * x


@task
def parse(text: str) -> int:
    """Read a number."""
    return int(text)


@task
def shaky(good: int) -> int:
    """Fail until it is at attempt number `good`."""
    attempt = current().attempt
    if attempt < good:
        raise ConnectionError(f"attempt {attempt}")
    return attempt


@task
def lose(page: int) -> None:
    """Raise an error of a class of its own."""
    raise LostPage(page, title="the book")


@task
def countdown(n: int) -> Any:
    """Jump until it is at nought."""
    return Jump("again", n - 1) if n else f"done at {current().iteration}"


@task
def gcd(a: int, b: int) -> Any:
    """Call itself until nothing is left."""
    return a if b == 0 else TailCall(args=[b, a % b])


@task
def green(log: tuple[str, ...]) -> Jump:
    """Jump to red."""
    return Jump("red", (*log, "green"))


@task
def red(log: tuple[str, ...]) -> Jump:
    """Jump to green, or out."""
    return Jump("off" if len(log) > 2 else "green", (*log, "red"))


@task
def letters(text: str) -> Iterator[str]:
    """Yield one letter after the other."""
    yield from text


@task
async def ticks(n: int) -> AsyncIterator[int]:
    """Yield numbers, each a turn later."""
    for number in range(n):
        await asyncio.sleep(0)
        yield number


@task
async def summed(numbers: Stream[int]) -> int:
    """Add up numbers as they come."""
    return sum([number async for number in numbers])


@task
def joined(parts: Stream[str]) -> str:
    """Join parts as they come."""
    return "-".join(parts)


@task
def where() -> tuple[Any, ...]:
    """Say which call it is."""
    here = current()
    here.progress(1, 2)
    return here.run_id, here.task_id, here.attempt, here.iteration, here.key


@task
def who() -> str:
    """Say what a context variable is."""
    return user.get()


@resource
def prices() -> Iterator[dict[str, int]]:
    """Provide a price list."""
    yield {"tea": 3}


@task
def price(item: str, known: dict[str, int] = inject(prices)) -> int:
    """Look up a price."""
    return known[item]


@task(heartbeat=20.0)
def alive(n: int) -> int:
    """Give signs of life."""
    me = current()
    for _ in range(n):
        me.heartbeat()
    return n


class Shop:
    """Has a method that is a task."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    @task
    def cost(self, amount: int) -> int:
        """Say what so much costs."""
        return self.factor * amount


# --- declaring


@_program
def one_call() -> Any:
    return add(1)


@_program
def a_chain() -> Any:
    return add(add(add(1), 2), 3)


@_program
def a_diamond() -> Any:
    first = add(1)
    return add(square(first), square(add(first)))


@_program
def several_targets() -> Any:
    return {"one": add(1), "two": [square(2), (square(3), "plain")]}


@_program
def arguments_of_every_kind() -> Any:
    return keyed("a", "b", sep="/", more=keyed("c", sep="", d="e"))


@_program
def containers_of_values() -> Any:
    return total([add(1), 5, square(2)])


@_program
def parameters() -> Any:
    return add(Param("a", type=int, default=20), Param("b", default=22))


@_program
def sync_beside_async() -> Any:
    return [later(square(3)), square(later(4)), at_once(add(1)), add(at_once(5))]


@_program
def closures_and_lambdas() -> Any:
    offset = 40

    def shift(x: int) -> int:
        return x + offset

    return [task(shift)(2), task(name="twice")(lambda x: [x] * 2)("x")]


@_program
def methods() -> Any:
    return Shop(3).cost(add(1))


@_program
def sub_flows() -> Any:
    inner = total([square(Param("n", type=int)), 1])
    return add(subflow(inner, {"n": add(2)}), subflow(inner, {"n": 5}))


@_program
def what_is_skipped() -> Any:
    return [add(square(3).run_if(at_once(False), otherwise=5)), add(add(1).run_if(False)), square(2).run_if(add(0))]


@_program
def routers() -> Any:
    return Router(selector=later("b"), routes={"a": square(2), "b": square(3)})


@_program
def order_without_data() -> Any:
    return [add(2).after(rest(0.001)), add(3)]


@_program
def large_values() -> Any:
    return task(len)(task(name="fill")(lambda n: b"x" * n)(3_000_000))


# --- loops


@_program
def a_loop() -> Any:
    step = countdown(5)
    bind(step, select_jump({"again": step}))
    return step


@_program
def tail_calls() -> Any:
    return gcd(270, 192)


@_program
def a_state_machine() -> Any:
    states: dict[str, Any] = {"green": green(()), "red": red(()), "off": None}
    lights = select_jump(states)
    bind(states["green"], lights)
    bind(states["red"], lights)
    return states["green"]


@_program
def items_that_loop() -> Any:
    each = countdown.map(n=[0, 1, 3])
    bind(each, select_jump({"again": each}))
    return each


# --- maps


@_program
def a_map() -> Any:
    return square.map(x=range(40))


@_program
def a_map_of_several_columns() -> Any:
    return add.map(a=[1, 2, 3], b=[10, 20, 30])


@_program
def a_map_with_something_fixed() -> Any:
    return add.partial(b=100).map(a=[1, 2, 3])


@_program
def maps_of_maps() -> Any:
    return total(square.map(x=add.map(a=later.map(value=[1, 2, 3]))))


@_program
def an_empty_map() -> Any:
    return square.map(x=at_once([]))


@_program
def a_map_with_a_concurrency() -> Any:
    return square.map(x=range(12), concurrency=3)


@_program
def a_map_over_a_stream() -> Any:
    return square.map(x=(n for n in range(12)), window=4)


@_program
def items_that_fail_are_collected() -> Any:
    return parse.map(text=["1", "two", "3"], on_error="collect")


@_program
def items_that_fail_are_left_out() -> Any:
    return parse.map(text=["1", "two", "3"], on_error="skip")


@_program
def an_item_fails_the_map() -> Any:
    return parse.map(text=["two"])


# --- policies


@_program
def a_retry_that_succeeds() -> Any:
    return shaky(3).with_retry(4, delay=0)


@_program
def a_retry_that_gives_up() -> Any:
    return shaky(9).with_retry(3, delay=0)


@_program
def a_retry_of_other_errors() -> Any:
    return shaky(9).with_retry(3, delay=0, on=ValueError)


@_program
def a_timeout() -> Any:
    return rest(0.3).with_timeout(0.05)


@_program
def in_time() -> Any:
    return rest(0.001, "in time").with_timeout(50)


@_program
def constraints() -> Any:
    return square.map(x=range(6)).with_constraints(slots=1)


@_program
def signs_of_life() -> Any:
    return alive(1000)


# --- resources


@_program
def resources() -> Any:
    return [price("tea"), price.map(item=["tea", "tea"])]


# --- failures


@_program
def a_failure() -> Any:
    return add(parse("two"))


@_program
def a_failure_of_an_own_class() -> Any:
    return lose(7)


# --- cancels


@_program
async def a_cancel(engine: Engine) -> Any:
    run = engine.start(rest(0.3), run_id="cancelled")
    await asyncio.sleep(0.05)
    run.cancel()
    await run


@_program
async def a_timeout_of_the_run(engine: Engine) -> Any:
    await engine.run(rest(0.3), timeout=0.05, run_id="late")


# --- streams


@_program
def generators() -> Any:
    return [letters("abc"), ticks(3), letters.map(text=["ab", ""])]


@_program
def streams() -> Any:
    return [summed(ticks(10)), joined(letters("abc"))]


# --- where a call is


@_program
def whereabouts() -> Any:
    return where()


@_program
async def context_variables(engine: Engine) -> Any:
    before = user.set("ada")
    try:
        return await engine.run([who(), who()], run_id="who")
    finally:
        user.reset(before)


def shown(value: Any) -> Any:
    """Return a result in a form that can be compared."""
    if isinstance(value, Failed):
        return ["Failed", value.index, value.arguments, type(value.error).__name__, str(value.error)]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(shown, value)]
    if isinstance(value, dict):
        return {key: shown(each) for key, each in value.items()}
    return value
