"""The price list: what each thing that people write costs a call, here and by hand.

*Once*: 20,000 nodes of one shape are declared, built and run. By hand they are objects that are put in order depth
first, and each is called as its shape asks for.

*In a loop*: a jump loop that has run before makes twenty calls of one shape in each iteration, beside the loop that one
would write.

Calls are by keyword, as most are; the rows that are about something else say so. All calls give one more than they
are given, so the last value says that all were made; of those that are plain functions the calls are counted, too.
"""

import asyncio
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cascade as cs
from observatory.benchmarks import tco_performance as tco
from observatory.benchmarks.harness import Line, calls, pairs, row, speed

NODES = 20_000
ITERATIONS = 500
LINKS = 20
PAIRS = 7
WRAP = 8


def plain(x: int = 0) -> int:
    return x + 1


def of_list(values: list[int]) -> int:
    return values[0] + 1


def of_dict(values: dict[str, int]) -> int:
    return values["x"] + 1


def of_three(values: list[int]) -> int:
    return values[0]


def with_step(x: int, step: int) -> int:
    return x + step


def wrapped(x: int) -> int:
    return (x + 1) % WRAP


async def awaited(x: int) -> int:
    return x + 1


class Counter:
    """What has a method."""

    def plain_up(self, x: int) -> int:
        return x + 1

    @cs.task
    def up(self, x: int) -> int:
        return x + 1


@cs.resource
def step_size() -> Any:
    yield 1


@cs.resource(scope="task")
def own_step_size() -> Any:
    yield 1


class Step:
    """A resource by hand."""

    def __enter__(self) -> int:
        return 1

    def __exit__(self, *_: object) -> None:
        return None


COUNTER = Counter()
inc, inc_of_list, inc_of_dict, inc_later = cs.task(plain), cs.task(of_list), cs.task(of_dict), cs.task(awaited)
inc_pure, inc_of_three, inc_wrapped = cs.task(plain, pure=True), cs.task(of_three), cs.task(wrapped)
inc_with = cs.task(lambda x, step=cs.inject(step_size): x + step, name="inc_with")
inc_with_own = cs.task(lambda x, step=cs.inject(own_step_size): x + step, name="inc_with_own")
GO, KEY = cs.Param("go", default=True), cs.Param("key", default="a")
INNER = inc(x=cs.Param("x", type=int))
CACHE = cs.cached()


class Node:
    """A call by hand: what it needs, and what it is given."""

    __slots__ = ("args", "func", "kwargs", "label", "needs", "value")

    def __init__(
        self, func: Any, needs: tuple[Any, ...], args: Any = (), kwargs: Any = None, label: Any = None
    ) -> None:
        self.func = func
        self.needs = needs
        self.args = args
        self.kwargs = kwargs
        self.label = label


def by_position(v: Any, label: Any = None) -> Node:
    return Node(plain, (v,), (v,), None, label)


def by_keyword(v: Any, func: Any = plain) -> Node:
    return Node(func, (v,), (), {"x": v})


ARGS = "node.func(*[a.value if a.__class__ is Node else a for a in node.args])"
KWARGS = "node.func(**{k: a.value if a.__class__ is Node else a for k, a in node.kwargs.items()})"


def in_lines(*lines: str) -> str:
    return "\n".join(lines)


TRY = in_lines(
    "for attempt in range(2):",
    "    try:",
    "        {}",
    "        break",
    "    except Exception:",
    "        if attempt == 1:",
    "            raise",
)


@dataclass(frozen=True)
class Shape:
    """One thing that people write, of one value: as a lazy result, as an object by hand, and in a loop by hand."""

    name: str
    declare: Callable[[Any], Any]
    object_of: Callable[[Any], Node] | None
    """None: it is not measured once."""
    call: str
    """How the object is called: lines that set `node.value`."""
    line: str
    """Lines that set `v`, in a loop; empty: it is not measured there."""
    before: str = ""
    """What is done before, by hand."""
    least: float | None = None


SHAPES = [
    Shape("by position", lambda v: inc(v), by_position, f"node.value = {ARGS}", "v = plain(v)"),
    Shape("by keyword", lambda v: inc(x=v), by_keyword, f"node.value = {KWARGS}", "v = plain(x=v)"),
    Shape(
        "a method",
        lambda v: COUNTER.up(x=v),
        lambda v: by_keyword(v, COUNTER.plain_up),
        f"node.value = {KWARGS}",
        "v = COUNTER.plain_up(x=v)",
    ),
    Shape(
        "a list argument",
        lambda v: inc_of_list(values=[v, 1]),
        lambda v: Node(of_list, (v,), (), {"values": [v, 1]}),
        "node.value = node.func(**{k: [e.value if e.__class__ is Node else e for e in a] "
        "for k, a in node.kwargs.items()})",
        "v = of_list(values=[v, 1])",
    ),
    Shape(
        "a dict argument",
        lambda v: inc_of_dict(values={"x": v, "y": 1}),
        lambda v: Node(of_dict, (v,), (), {"values": {"x": v, "y": 1}}),
        "node.value = node.func(**{k: {n: e.value if e.__class__ is Node else e for n, e in a.items()} "
        "for k, a in node.kwargs.items()})",
        'v = of_dict(values={"x": v, "y": 1})',
    ),
    Shape(
        "named",
        lambda v: inc(x=v).named("one more"),
        lambda v: Node(plain, (v,), (), {"x": v}, "one more"),
        f"node.value = {KWARGS}",
        "v = plain(x=v)",
    ),
    Shape(
        "run_if",
        lambda v: inc(x=v).run_if(GO),
        by_keyword,
        f"node.value = {KWARGS} if go else None",
        "if go: v = plain(x=v)",
        "go = params['go']",
    ),
    Shape(
        "a router before it",
        lambda v: inc(x=cs.Router(KEY, {"a": v, "b": 0})),
        lambda v: Node(plain, (v,), ({"a": v, "b": 0},)),
        "v = node.args[0][key]\nnode.value = node.func(x=v.value if v.__class__ is Node else v)",
        'v = plain(x=v if key == "a" else 0)',
        "key = params['key']",
    ),
    Shape(
        "after another",
        lambda v: inc(x=0).after(v) if isinstance(v, cs.LazyResult) else inc(x=v),
        lambda v: Node(plain, (v,), (), {"x": 0}),
        f"node.value = {KWARGS}",
        "",
    ),
    Shape(
        "a coroutine",
        lambda v: inc_later(x=v),
        lambda v: by_keyword(v, awaited),
        f"node.value = await {KWARGS}",
        "v = await awaited(x=v)",
    ),
    Shape(
        "retry that never fails",
        lambda v: inc(x=v).with_retry(2),
        by_keyword,
        TRY.format(f"node.value = {KWARGS}"),
        TRY.format("v = plain(x=v)"),
    ),
    Shape(
        "constraint, free",
        lambda v: inc(x=v).with_constraints(seat=1),
        by_keyword,
        f"async with seat: node.value = {KWARGS}",
        "async with seat: v = plain(x=v)",
    ),
    Shape(
        "timeout, in time",
        lambda v: inc(x=v).with_timeout(60),
        by_keyword,
        f"async with asyncio.timeout(60): node.value = {KWARGS}",
        "async with asyncio.timeout(60): v = plain(x=v)",
    ),
    Shape(
        "resource of the run",
        lambda v: inc_with(x=v),
        lambda v: by_keyword(v, with_step),
        f"node.value = {KWARGS.replace('**{', 'step=step, **{')}",
        "v = with_step(x=v, step=step)",
        "step = Step().__enter__()",
    ),
    Shape(
        "resource of the call",
        lambda v: inc_with_own(x=v),
        lambda v: by_keyword(v, with_step),
        f"with Step() as step: node.value = {KWARGS.replace('**{', 'step=step, **{')}",
        "with Step() as step: v = with_step(x=v, step=step)",
    ),
    Shape(
        "cache hit, in memory",
        lambda v: inc_wrapped(x=v).with_cache(CACHE),
        None,
        "",
        "v = kept_wrapped(x=v)",
    ),
    Shape(
        "sub-flow of one call",
        lambda v: cs.subflow(INNER, {"x": v}),
        by_keyword,
        f"node.value = {KWARGS}",
        "v = plain(x=v)",
    ),
    Shape(
        "map of three",
        lambda v: inc_of_three(values=inc.map(x=[v, 1, 2])),
        lambda v: Node(of_three, (v,), (v, 1, 2)),
        "node.value = node.func(values=[plain(x=a.value if a.__class__ is Node else a) for a in node.args])",
        "v = of_three(values=[plain(x=a) for a in (v, 1, 2)])",
    ),
    Shape(
        "pure",
        lambda v: inc_pure(x=v),
        by_keyword,
        in_lines(
            "key = (node.func, *((k, a.value if a.__class__ is Node else a) for k, a in node.kwargs.items()))",
            "if key not in memo: memo[key] = " + KWARGS,
            "node.value = memo[key]",
        ),
        "",
    ),
]

kept_wrapped = lru_cache(wrapped)


# --- by hand


def ordered(target: Node) -> list[Node]:
    """Return the nodes that the target needs, inputs first (`graphs.ordered`, for nodes that say what they need)."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack = [target]
    while stack:
        node = stack[-1]
        if node in seen:
            stack.pop()
            continue
        waits = False
        for value in node.needs:
            if value.__class__ is Node and value not in seen:
                stack.append(value)
                waits = True
        if not waits:
            seen.add(node)
            order.append(stack.pop())
    return order


def made(source: str, begins: str, ends: str) -> Callable[..., Any]:
    """Return a function of lines; a coroutine function if they wait."""
    lines = [begins, *("    " + line for line in source.splitlines()), *("    " + line for line in ends.splitlines())]
    found: dict[str, Any] = {}
    head = "async " if "await " in source or "async with" in source else ""
    exec(head + "\n".join(lines), globals(), found)
    return found["work"]


def indented(text: str, by: int) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())


def once_by_hand(shape: Shape) -> Callable[..., Any]:
    lines = [shape.before, "memo = {}", "for node in ordered(target):", indented(shape.call, 4)]
    return made("\n".join(lines), "def work(target, params, seat):", "return target.value")


def looped_by_hand(shape: Shape) -> Callable[..., Any]:
    body = "\n".join([shape.line] * LINKS)
    lines = [shape.before, "while True:", "    v = 0", indented(body, 4), "    jump = plain_step(n=n, value=v)"]
    lines += ["    if jump.target_key == 'exit': return jump.data", "    n = jump.data"]
    return made("\n".join(lines), "def work(n, params, seat):", "")


def plain_step(n: int, value: Any) -> Any:
    if n <= 1:
        return tco.OwnJump("exit", value)
    return tco.OwnJump("again", n - 1)


@cs.task
def step(n: int, value: Any) -> Any:
    if n <= 1:
        return cs.Jump("exit", value)
    return cs.Jump("again", n - 1)


# --- measuring

PARAMS = {"go": True, "key": "a"}


def engine_of() -> cs.Engine:
    return cs.Engine(system_resources={"seat": 4})


async def timed(work: Callable[[], Any], expected: Any) -> float:
    start = time.perf_counter()
    result = work()
    if inspect.isawaitable(result):
        result = await result
    taken = time.perf_counter() - start
    assert result == expected, (result, expected)
    return taken


def in_a_row(link: Callable[[Any], Any], n: int) -> Any:
    value: Any = 0
    for _ in range(n):
        value = link(value)
    return value


async def once(engine: cs.Engine, shape: Shape) -> Line:
    """Declare, build and run 20,000 nodes in a row."""
    work, object_of = once_by_hand(shape), shape.object_of
    assert object_of is not None
    expected = 1 if shape.name == "after another" else NODES

    async def ours() -> float:
        return await timed(lambda: engine.run(in_a_row(shape.declare, NODES)), expected)

    async def theirs() -> float:
        return await timed(lambda: work(in_a_row(object_of, NODES), PARAMS, asyncio.Semaphore(4)), expected)

    return speed(f"once, {shape.name}", await pairs(ours, theirs, PAIRS), NODES, "ns a node", shape.least)


def loop_of(shape: Shape) -> Any:
    target = step(n=ITERATIONS, value=in_a_row(shape.declare, LINKS))
    return cs.bind(target, cs.select_jump({"again": target, "exit": None}))


async def looped(engine: cs.Engine, shape: Shape) -> Line:
    """Run a loop whose iterations make twenty calls."""
    target, work = loop_of(shape), looped_by_hand(shape)
    expected = LINKS % WRAP if "cache" in shape.name else LINKS

    def by_hand() -> Any:
        return work(ITERATIONS, PARAMS, asyncio.Semaphore(4))

    async def ours() -> float:
        return await timed(lambda: engine.run(target), expected)

    async def theirs() -> float:
        return await timed(by_hand, expected)

    for _ in range(3):
        await ours()
    found = await pairs(ours, theirs, PAIRS)
    if shape.line.endswith("plain(x=v)"):
        assert await calls(engine.run(target), plain) == [LINKS * ITERATIONS]
        assert await calls(by_hand, plain) == [LINKS * ITERATIONS]
    return speed(f"in a loop, {shape.name}", found, LINKS * ITERATIONS, "ns a call", shape.least)


@row("prices", processes=1)
async def prices() -> list[Line]:
    """Everything that people write, once and in a loop."""
    lines = []
    async with engine_of() as engine:
        for shape in SHAPES:
            if shape.object_of is not None:
                lines.append(await once(engine, shape))
        for shape in SHAPES:
            if shape.line:
                lines.append(await looped(engine, shape))
    return lines
