"""Identity: when two calls are one node."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import cascade as cs
from cascade.graph.build import build, target_of
from cascade.spec.selector import JumpSelector
from tests.workflows import Tier, every_tier, run


class Point(NamedTuple):
    x: Any
    y: Any


class Number(int):
    """An int of its own kind."""


@cs.task(pure=True)
def pure(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@cs.task(pure=True)
def take(a: Any, b: Any = 0, *, c: Any = 0) -> Any:
    return a, b, c


@cs.task
def plain(*args: Any) -> Any:
    return args


def nodes(target: Any, *tasks: cs.Task[..., Any]) -> int:
    """How many nodes of these tasks the graph of a target has."""
    graph = build(target_of(target))
    return sum(getattr(node, "task", None) in (tasks or (pure, take)) for node in graph.nodes)


NAN = math.nan
THING = object()
SHARED = plain()
TWICE = [1]

EQUAL: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
    (lambda: None, lambda: None),
    (lambda: True, lambda: True),
    (lambda: 10**30, lambda: 10**30),
    (lambda: "a" * 3, lambda: "aaa"),
    (lambda: bytes([1, 2]), lambda: b"\x01\x02"),
    (lambda: float("1.5"), lambda: 1.5),
    (lambda: 0.0, lambda: 0.0),
    (lambda: math.inf, lambda: float("inf")),
    (lambda: NAN, lambda: NAN),
    (lambda: complex(1, 2), lambda: 1 + 2j),
    (lambda: [1, "a", [2.0]], lambda: [1, "a", [2.0]]),
    (lambda: (1, (2,)), lambda: (1, (2,))),
    (lambda: {"a": [1], 2: (3,)}, lambda: {"a": [1], 2: (3,)}),
    (lambda: [], lambda: []),
    (lambda: THING, lambda: THING),
    (lambda: len, lambda: len),
    (lambda: SHARED, lambda: SHARED),
    (lambda: [SHARED], lambda: [SHARED]),
    (lambda: {"k": [SHARED, 1]}, lambda: {"k": [SHARED, 1]}),
    (lambda: pure(1), lambda: pure(1)),
    (lambda: [pure([1])], lambda: [pure([1])]),
    (lambda: cs.Value(3), lambda: 3),
    (lambda: cs.Value([1]), lambda: [1]),
    (lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}),
    (lambda: [TWICE, TWICE], lambda: [[1], [1]]),
    (lambda: {"a": SHARED, "b": [1]}, lambda: {"b": [1], "a": SHARED}),
]
OTHER: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
    (lambda: 1, lambda: True),
    (lambda: 1, lambda: 1.0),
    (lambda: 1.0, lambda: 1 + 0j),
    (lambda: 0, lambda: None),
    (lambda: 0, lambda: False),
    (lambda: "1", lambda: 1),
    (lambda: "a", lambda: b"a"),
    (lambda: 0.0, lambda: -0.0),
    (lambda: complex(0.0, 0.0), lambda: complex(0.0, -0.0)),
    (lambda: complex(-0.0, 0.0), lambda: complex(0.0, 0.0)),
    (lambda: float("nan"), lambda: float("nan")),
    (lambda: Number(1), lambda: 1),
    (lambda: Number(1), lambda: Number(1)),
    (lambda: [1], lambda: (1,)),
    (lambda: [1], lambda: [1.0]),
    (lambda: [1, 2], lambda: [[1, 2]]),
    (lambda: [[1], 2], lambda: [[1, 2]]),
    (lambda: {"a": 1}, lambda: {"a": True}),
    (lambda: {"a": 1}, lambda: {"b": 1}),
    (lambda: {1: "a"}, lambda: {True: "a"}),
    (lambda: {"a": 1}, lambda: [("a", 1)]),
    (lambda: Point(1, 2), lambda: Point(1, 2)),
    (lambda: {1}, lambda: {1}),
    (lambda: object(), lambda: object()),
    (lambda: plain(), lambda: plain()),
    (lambda: [plain()], lambda: [plain()]),
    (lambda: SHARED, lambda: [SHARED]),
    (lambda: SHARED, lambda: cs.Value(SHARED)),
    (lambda: [SHARED], lambda: (SHARED,)),
    (lambda: [SHARED, 1], lambda: [SHARED, True]),
    (lambda: Point(SHARED, 1), lambda: Point(SHARED, 1)),
    (lambda: [cs.Value(3)], lambda: [3]),
    (lambda: pure(1), lambda: pure(2)),
    (lambda: [pure], lambda: [take]),
    (lambda: cs.Param("n", default=1), lambda: cs.Param("n", default=1)),
]


class TestPureCalls:
    @pytest.mark.parametrize(("one", "same"), EQUAL)
    def test_with_equal_arguments_are_one_node(self, one: Callable[[], Any], same: Callable[[], Any]) -> None:
        first, second = take(one()), take(same())
        assert nodes([first, second], take) == 1
        assert nodes(plain(take(0, c=one()), [take(0, c=same())]), take) == 1

    @pytest.mark.parametrize(("one", "other"), OTHER)
    def test_with_other_arguments_are_two(self, one: Callable[[], Any], other: Callable[[], Any]) -> None:
        held = [one(), other()]  # alive together, so that identities differ
        assert nodes([take(held[0]), take(held[1])], take) == 2
        assert nodes([take(0, c=held[0]), take(0, c=held[1])], take) == 2

    def test_however_the_arguments_are_passed(self) -> None:
        assert nodes([take(1, 2), take(1, b=2), take(b=2, a=1)]) == 1
        assert nodes([take(1, 2, c=3), take(c=3, b=2, a=1)]) == 1
        assert nodes([pure(a=1, b=2), pure(b=2, a=1)]) == 1
        assert nodes([take(1, 2), take(2, 1)]) == 2
        assert nodes([take(1, b=2), take(1, c=2)]) == 2

    def test_of_two_tasks_are_two(self) -> None:
        def function(x: int) -> int:
            return x

        one, other = cs.task(pure=True)(function), cs.task(pure=True)(function)
        assert nodes([one(1), one(1)], one, other) == 1
        assert nodes([one(1), other(1)], one, other) == 2

    def test_of_methods_are_told_apart_by_self(self) -> None:
        class Shop:
            @cs.task(pure=True)
            def price(self, amount: int) -> int:
                return amount

        here, there = Shop(), Shop()
        assert nodes([here.price(1), here.price(1)], Shop.price) == 1
        assert nodes([here.price(1), there.price(1)], Shop.price) == 2

    @pytest.mark.parametrize(
        "configure",
        [
            lambda call: call.run_if(SHARED),
            lambda call: call.run_if(True, otherwise=[1, SHARED]),
            lambda call: call.with_retry(2, delay=1.0),
            lambda call: call.with_constraints(gpu=1),
            lambda call: call.after(SHARED),
            lambda call: call.named("n"),
        ],
    )
    def test_are_one_only_if_configured_alike(self, configure: Callable[[Any], Any]) -> None:
        assert nodes([configure(take(1)), configure(take(1))]) == 1
        assert nodes([configure(take(1)), take(1)]) == 2

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (lambda call: call.run_if(True), lambda call: call.run_if(1)),
            (lambda call: call.run_if(True), lambda call: call.run_if(True, otherwise=None)),
            (lambda call: call.with_retry(2), lambda call: call.with_retry(3)),
            (lambda call: call.with_constraints(gpu=1), lambda call: call.with_constraints(gpu=2)),
            (lambda call: call.with_constraints(gpu=1), lambda call: call.with_constraints(tpu=1)),
            (lambda call: call.after(SHARED), lambda call: call.after(plain())),
            (lambda call: call.named("n"), lambda call: call.named("m")),
        ],
    )
    def test_configured_differently_are_two(self, one: Callable[[Any], Any], other: Callable[[Any], Any]) -> None:
        assert nodes([one(take(1)), other(take(1))]) == 2

    def test_bound_alike_are_one(self) -> None:
        selector: JumpSelector = cs.select_jump({"exit": None})
        assert nodes([cs.bind(take(1), selector), cs.bind(take(1), selector)]) == 1
        assert nodes([cs.bind(take(1), selector), cs.bind(take(1), cs.select_jump({"exit": None}))]) == 2

    def test_merge_from_the_bottom_up(self) -> None:
        def tower(height: int) -> Any:
            call = take(1)
            for _ in range(height):
                call = take(call, [call])
            return call

        assert nodes([tower(30), tower(30), tower(31)]) == 32

    def test_merge_on_routes_as_an_otherwise_and_as_conditions(self) -> None:
        router = cs.Router("a", {"a": take(1), "b": take(1)}, default=take(1))
        gated = plain().run_if(take(1), otherwise=take(1)).after(take(1))
        assert nodes([router, gated, take(1)]) == 1

    @every_tier
    def test_run_once(self, tier: Tier) -> None:
        calls = []

        @cs.task(pure=True)
        def load(name: str) -> int:
            calls.append(name)
            return len(name)

        assert run([load("a"), [load("a"), load("bc")], plain(load("a"))], tier=tier) == [1, [1, 2], (1,)]
        assert sorted(calls) == ["a", "bc"]

    @every_tier
    def test_run_again_in_the_next_run(self, tier: Tier) -> None:
        calls = []

        @cs.task(pure=True)
        def load() -> None:
            calls.append(1)

        target = [load(), load()]
        run(target, tier=tier)
        run(target, tier=tier)
        assert calls == [1, 1]

    def test_with_an_argument_nested_to_any_depth(self) -> None:
        def deep() -> Any:
            value: Any = 1
            for _ in range(5000):
                value = [value]
            return value

        assert nodes([take(deep()), take(deep())]) == 1

    def test_with_an_argument_that_shares_its_parts_many_times_over(self) -> None:
        def wide() -> Any:
            value: Any = [SHARED]
            for _ in range(100):
                value = [value, value]
            return value

        assert nodes([take(wide()), take(wide())]) == 1


class TestOtherCalls:
    @every_tier
    def test_two_calls_are_two_nodes(self, tier: Tier) -> None:
        calls = []

        @cs.task
        def load(name: str) -> int:
            calls.append(name)
            return len(calls)

        assert sorted(run([load("a"), load("a")], tier=tier)) == [1, 2]
        assert calls == ["a", "a"]

    @every_tier
    def test_one_lazy_result_is_one_node_however_many_read_it(self, tier: Tier) -> None:
        calls = []

        @cs.task
        def load() -> int:
            calls.append(1)
            return 3

        one = load()
        assert run([one, [one, {"k": one}], plain(one, [one]), plain().after(one)], tier=tier)[1] == [3, {"k": 3}]
        assert calls == [1]

    def test_maps_of_a_pure_task_are_nodes_of_their_own(self) -> None:
        assert nodes([take.map(a=[1]), take.map(a=[1])]) == 2
