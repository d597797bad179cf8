"""Each way to say an edge costs the same for each edge, however many there are: steps are counted, not time."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.runtime.event_loop.ticker import Ticker

FEW, MANY = 20, 100
"""Five times as many edges may take five times the steps and a little, where a quadratic step would take 25."""


@cs.task
def one(x: Any = 0) -> Any:
    return x


@cs.task
def two(x: Any, y: Any) -> Any:
    return x


@cs.task(pure=True)
def pure(x: Any = 0) -> Any:
    return x


@cs.task
def many(*args: Any, **named: Any) -> int:
    return len(args) + len(named)


@cs.task
async def later(x: Any = 0) -> Any:
    await asyncio.sleep(0)
    return x


@cs.task
async def many_later(*args: Any) -> int:
    return len(args)


class Key(int):
    """A key of a route: each time that it is shown, hashed or compared is a step."""

    def __repr__(self) -> str:
        return f"k{int(self)}"

    def __hash__(self) -> int:
        return hash(int(self))

    def __eq__(self, other: object) -> bool:
        return self is other or int(self) == other


NOT_IN_JSON = {"by_routes_of_values"}
WAYS: dict[str, Callable[[int], Any]] = {}


def way(function: Callable[[int], Any]) -> Callable[[int], Any]:
    """Enter a graph of so many edges of one kind."""
    WAYS[function.__name__] = function
    return function


def ones(n: int, task: Any = one) -> list[Any]:
    return [task(i) for i in range(n)]


def chained(n: int, step: Callable[[Any, int], Any]) -> Any:
    value: Any = one(1)
    for i in range(n):
        value = step(value, i)
    return value


@way
def by_position(n: int) -> Any:
    return many(*ones(n))


@way
def by_position_in_a_row(n: int) -> Any:
    values = [one(0)]
    for _ in range(n):
        values.append(one(values[-1]))
    return many(*values)


@way
def by_keyword(n: int) -> Any:
    return many(**{f"k{i}": value for i, value in enumerate(ones(n))})


@way
def by_position_later(n: int) -> Any:
    return many(*ones(n, later))


@way
def by_position_all_later(n: int) -> Any:
    return many_later(*ones(n, later))


@way
def by_keyword_later(n: int) -> Any:
    return many(**{f"k{i}": value for i, value in enumerate(ones(n, later))})


@way
def in_a_list(n: int) -> Any:
    return one(ones(n))


@way
def in_a_list_later(n: int) -> Any:
    return one(ones(n, later))


@way
def in_a_dict(n: int) -> Any:
    return one(dict(enumerate(ones(n))))


@way
def in_nested_lists(n: int) -> Any:
    return one([[value] for value in ones(n)])


@way
def in_deep_lists(n: int) -> Any:
    value: Any = one(0)
    for _ in range(n):
        value = [value]
    return one(value)


@way
def as_targets(n: int) -> Any:
    return ones(n)


@way
def in_a_chain(n: int) -> Any:
    return chained(n, lambda value, i: one(value))


@way
def in_a_chain_later(n: int) -> Any:
    return chained(n, lambda value, i: later(value))


@way
def in_a_ladder(n: int) -> Any:
    return chained(n, lambda value, i: two(value, value))


@way
def to_many(n: int) -> Any:
    value = one(0)
    return many(*[one(value) for _ in range(n)])


@way
def to_many_later(n: int) -> Any:
    value = later(0)
    return many(value, *[one(value) for _ in range(n)], *[later(value) for _ in range(n)])


@way
def by_condition(n: int) -> Any:
    return chained(n, lambda value, i: one(1).run_if(value))


@way
def by_one_condition(n: int) -> Any:
    condition = one(1)
    return one([one(i).run_if(condition) for i in range(n)])


@way
def by_otherwise(n: int) -> Any:
    condition = one(0)
    return chained(n, lambda value, i: one(i).run_if(condition, otherwise=value))


@way
def after_all(n: int) -> Any:
    return one(0).after(*ones(n))


@way
def after_all_later(n: int) -> Any:
    return one(0).after(*ones(n, later))


@way
def after_each(n: int) -> Any:
    return chained(n, lambda value, i: one(i).after(value))


@way
def after_one_more(n: int) -> Any:
    return chained(n, lambda value, i: value.after(one(i)))


@way
def in_a_sequence(n: int) -> Any:
    return cs.sequence(ones(n))


@way
def in_a_pipeline(n: int) -> Any:
    return cs.pipeline(1, [one] * n)


@way
def by_routes(n: int) -> Any:
    return cs.Router(one(3), dict(enumerate(ones(n))))


@way
def by_routes_of_one_node(n: int) -> Any:
    return cs.Router(one(3), dict.fromkeys(range(n), one(1)), default=one(2))


@way
def by_routes_of_lists(n: int) -> Any:
    return cs.Router(3, {i: [one(i)] for i in range(n)})


@way
def by_routes_of_values(n: int) -> Any:
    return cs.Router(one(3), {i: object() if i % 2 else [i] for i in range(n)})


@way
def by_routers(n: int) -> Any:
    return chained(n, lambda value, i: one(cs.Router(one(1), {1: value, 2: one(i)})))


@way
def into_maps(n: int) -> Any:
    return one.map(x=ones(n, later))


@way
def from_map_to_map(n: int) -> Any:
    return chained(n // 4, lambda value, i: one.map(x=value if i else [1, 2]))


@way
def by_amounts(n: int) -> Any:
    return one([one(0).with_constraints(cpu=one(1)) for _ in range(n)])


@way
def into_a_subflow(n: int) -> Any:
    params: list[Any] = [cs.Param(f"p{i}") for i in range(n)]
    return cs.subflow(many(*params), {f"p{i}": value for i, value in enumerate(ones(n))})


@way
def by_subflows(n: int) -> Any:
    return one([cs.subflow(one(i)) for i in range(n)])


@way
def by_params(n: int) -> Any:
    return one([one(cs.Param(f"p{i}", default=1)) for i in range(n)])


@way
def by_variables(n: int) -> Any:
    return one([cs.Env(f"p{i}", default="1") for i in range(n)])


@way
def by_pure_calls(n: int) -> Any:
    return many(*[pure(pure(i)) for i in range(n)])


@way
def by_policies(n: int) -> Any:
    return chained(n, lambda value, i: one(value).with_retry(2))


@way
def by_jumps(n: int) -> Any:
    start = one(0)
    return cs.bind(start, cs.select_jump({**dict(enumerate(ones(n))), "x": None}))


@way
def by_a_ring_of_jumps(n: int) -> Any:
    before = cs.bind(one(0), cs.select_jump({"x": None}))
    states = [two(0, before) for _ in range(n)]
    for at, state in enumerate(states):
        cs.bind(state, cs.select_jump({"n": states[(at + 1) % n], "x": None}))
    return states[0]


@way
def by_jumps_down(n: int) -> Any:
    before = cs.bind(one(0), cs.select_jump({"x": None}))
    states = [two(0, before) for _ in range(n)]
    for state, lower in zip(states[1:], states, strict=False):
        cs.bind(state, cs.select_jump({"n": lower, "x": None}))
    return one(cs.bind(states[0], cs.select_jump({"x": None})) if n == 1 else states[1:])


@way
def by_loops_in_a_row(n: int) -> Any:
    start = one(0)
    return chained(n, lambda value, i: cs.bind(two(value, start), cs.select_jump({"x": None, "again": start})))


@way
def by_loops_of_two_states_in_a_row(n: int) -> Any:
    def step(value: Any, i: int) -> Any:
        first, second = one(value), one(i)
        cs.bind(first, cs.select_jump({"x": None, "next": second}))
        cs.bind(second, cs.select_jump({"x": None, "next": first}))
        return first

    return chained(n, step)


@way
def by_loops(n: int) -> Any:
    states = ones(n)
    return one([cs.bind(state, cs.select_jump({"again": state, "x": None})) for state in states])


def running(tier: Any) -> Callable[[Any], Any]:
    async def run(target: Any) -> Any:
        async with cs.Engine(tier=tier, system_resources={"cpu": 4}) as engine:
            return await engine.run(target)

    return lambda target: asyncio.run(run(target))


USES: dict[str, Callable[[Any], Any]] = {
    "interpret": running("interpret"),
    "compile": running("compile"),
    "visualize": cs.visualize,
    "to_lisp": cs.to_lisp,
    "check": cs.check,
    "dry_run": cs.dry_run,
    "json": lambda target: cs.from_json(cs.to_json(target), allow=[__name__]),
}


def steps(use: Callable[[Any], Any], target: Any) -> int:
    """Count the lines of Cascade, and of this file, that a use of a graph takes in the thread that asks."""
    count = 0

    def line(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return line

    def follow(frame: Any, event: str, arg: Any) -> Any:
        file = frame.f_code.co_filename
        return line if "cascade" in file or file == __file__ else None

    before = sys.gettrace()
    sys.settrace(follow)
    try:
        use(target)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("use", USES)
def test_each_edge_costs_the_same(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ticker, "tick", lambda ticker: None)  # else the steps depend on the time that they take
    ask = USES[use]
    for name, graph in WAYS.items():
        if use == "json" and name in NOT_IN_JSON:
            continue
        few, more = steps(ask, graph(FEW)), steps(ask, graph(MANY))
        assert more <= 7 * few, name


def routes(n: int) -> Any:
    return cs.Router(one(Key(3)), {Key(i): one(i) for i in range(n)}, default=[one(1), pure(2)])


def routes_below_routes(n: int) -> Any:
    inner = routes(n)
    return one(cs.Router(one(Key(3)), {Key(i): [inner] for i in range(n)}))


@pytest.mark.parametrize("use", [use for use in USES if use != "json"])  # which knows no keys of a class of their own
@pytest.mark.parametrize("graph", [routes, routes_below_routes])
def test_each_of_many_routes_costs_the_same(use: str, graph: Callable[[int], Any]) -> None:
    """A step for each route that shows all of the keys is seen where there are many of them."""
    ask = USES[use]
    few, more = steps(ask, graph(3 * FEW)), steps(ask, graph(3 * MANY))
    assert more <= 7 * few


def test_what_an_edge_of_after_takes_does_not_depend_on_those_there_are() -> None:
    node = one()
    node.after(one())
    assert node.config is not None
    known = node.config.after
    for _ in range(MANY):
        node.after(one())
    assert node.config.after is known  # not a copy for each
    assert len(known) == MANY + 1
