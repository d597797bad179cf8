"""Lazy values in containers beside plain lists, tuples and dicts: resolved or refused, and never lost in silence."""

import collections
import dataclasses
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from tests.workflows import Tier, every_tier, run


@cs.task
def inc(x: int) -> int:
    return x + 1


@cs.task
def same(x: Any) -> Any:
    return x


class Words(list[Any]):
    """A subclass that reads its items in a way of its own."""

    def __iter__(self) -> Any:
        raise AssertionError


class Named(dict[str, Any]):
    pass


class Ordered(OrderedDict[str, Any]):
    pass


class Pair(tuple[Any, ...]):
    __slots__ = ()


class Several(set[Any]):
    pass


@dataclasses.dataclass
class Box:
    item: Any


def grouped(value: Any) -> Any:
    found = defaultdict(list, {"a": [value]})
    found["b"].append(1)
    return found


RESOLVED: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda x: OrderedDict(z=x, a=1), OrderedDict(z=2, a=1)),
    (grouped, {"a": [2], "b": [1]}),
    (lambda x: Counter(a=x), Counter(a=2)),
    (lambda x: deque([0, x], 3), deque([0, 2], 3)),
    (lambda x: deque([OrderedDict(a=[x])]), deque([OrderedDict(a=[2])])),
    (lambda x: {"k": (deque([x]),)}, {"k": (deque([2]),)}),
]
REFUSED: list[Callable[[Any], Any]] = [
    lambda x: Words([1, x]),
    lambda x: Named(a=x),
    lambda x: Named(a=[{"b": x}]),
    lambda x: Ordered(a=x),
    lambda x: Pair([x]),
    lambda x: Several([x]),
    lambda x: collections.UserList([x]),
    lambda x: collections.UserDict(a=x),
    lambda x: collections.ChainMap({"a": x}),
    lambda x: types.MappingProxyType({"a": x}),
    lambda x: types.SimpleNamespace(a=x),
    lambda x: {"a": x}.values(),
    lambda x: OrderedDict(a=x).items(),
    lambda x: Box(x),
    lambda x: Box(deque([x])),
]


class TestResolved:
    @every_tier
    @pytest.mark.parametrize(("make", "value"), RESOLVED)
    def test_those_of_collections_are_made_anew(self, tier: Tier, make: Callable[[Any], Any], value: Any) -> None:
        for target in (make(inc(1)), same(make(inc(1))), cs.subflow(same(cs.Param("p")), {"p": make(inc(1))})):
            for _ in range(2):
                found = run(target, tier=tier)
                assert found == value
                assert type(found) is type(make(1))
        read: Any = cs.from_json(cs.to_json(same(make(inc(1)))), allow=[__name__])
        assert run(read, tier=tier) == value
        assert "inc" in cs.to_lisp(make(inc(1)))

    @every_tier
    def test_as_they_were_made(self, tier: Tier) -> None:
        for most in (None, 1, 2):  # the same graph but for this
            found = run(same(deque([inc(1)], most)), tier=tier)
            assert (found.maxlen, list(found)) == (most, [2])
        for factory in (None, list, lambda: 7):
            found = run([defaultdict(factory, a=inc(1))], tier=tier)[0]
            assert found.default_factory is factory
        assert list(run(OrderedDict([("z", inc(1)), ("a", 0)]), tier=tier)) == ["z", "a"]

    @every_tier
    def test_one_kept_plan_is_not_taken_for_another(self, tier: Tier) -> None:
        lazy = inc(1)
        for most in (None, 3, 4, None):
            assert run(deque([lazy], most), tier=tier).maxlen == most

    @every_tier
    def test_in_maps_loops_and_routes(self, tier: Tier) -> None:
        assert run(same.map(x=deque([inc(1), inc(2)])), tier=tier) == [2, 3]
        assert run(same.map(x=[OrderedDict(a=inc(1))]), tier=tier) == [OrderedDict(a=2)]
        assert run(cs.Router(1, {1: deque([inc(1)])}), tier=tier) == deque([2])
        assert run(same(1).run_if(same(False), otherwise=RESOLVED[2][0](inc(1))), tier=tier) == Counter(a=2)
        skipped = deque([inc(1).run_if(same(False))])
        with pytest.raises(cs.DependencyMissingError):
            run(skipped, tier=tier)

    def test_the_keys_hold_none(self) -> None:
        with pytest.raises(cs.StaticGraphError, match="key of a dict"):
            run(same(OrderedDict({inc(1): 1})))

    @every_tier
    @pytest.mark.parametrize("make", [make for make, _ in RESOLVED] + REFUSED)
    def test_without_lazy_values_they_are_that_very_object(self, tier: Tier, make: Callable[[Any], Any]) -> None:
        value = make(1)
        assert run(same(value), tier=tier) is value
        assert run([value, inc(1)], tier=tier)[0] is value


class TestRefused:
    @pytest.mark.parametrize("make", REFUSED)
    def test_at_the_call_or_as_the_target(self, make: Callable[[Any], Any]) -> None:
        lazy = inc(1)
        value = make(lazy)
        for use, who in (
            (lambda: same(value), r"task 'same' \(.*test_held.py:\d+\)"),
            (lambda: same(x=value), r"task 'same' \(.*\)"),
            (lambda: cs.subflow(value), "cs.subflow"),
            (lambda: cs.subflow(same(1), {"p": value}), "the parameter 'p' of cs.subflow"),
            (lambda: run(value), "cs.run"),
        ):
            with pytest.raises(TypeError, match=f"^{who} is given a {type(value).__name__} with .*inc.*test_held.py"):
                use()

    @pytest.mark.parametrize("make", REFUSED)
    def test_in_containers(self, make: Callable[[Any], Any]) -> None:
        value = make(inc(1))
        for target in ([value], same([value]), same({"a": (value,)}), same.map(x=[value])):
            with pytest.raises(cs.StaticGraphError, match="would never get its value"):
                run(target)

    def test_a_generator_as_the_target(self) -> None:
        for target in ((inc(i) for i in range(2)), map(inc, [1])):
            with pytest.raises(TypeError, match=r"nothing would read: cs.run\(list\(...\)\)"):
                run(target)

    def test_in_views_that_are_mapped_over(self) -> None:
        with pytest.raises(TypeError, match=r"map of 'same' \(.*\): x= is given a dict_values with"):
            same.map(x={"a": inc(1)}.values())

    @every_tier
    @pytest.mark.parametrize("make", [lambda x: x, *REFUSED, lambda x: [x], lambda x: {"a": x}])
    def test_in_streams_of_items(self, tier: Tier, make: Callable[[Any], Any]) -> None:
        async def later() -> Any:
            for i in range(3):
                yield make(inc(i))

        for items in ((make(inc(i)) for i in range(3)), later()):
            with pytest.raises(TypeError, match=r"an item of x= in the map of 'same' \(.*test_held.py:\d+\) is .*inc"):
                run(same.map(x=items), tier=tier)

    @every_tier
    def test_streams_of_values_pass(self, tier: Tier) -> None:
        items = [Box(1), Words([1]), [1], {"a": 1}, 1, types.SimpleNamespace(a=1)]
        assert run(same.map(x=iter(items)), tier=tier) == items

    @pytest.mark.parametrize("make", [*REFUSED, *(make for make, _ in RESOLVED), lambda x: {"c": {"deep": [x]}}])
    def test_in_params(self, make: Callable[[Any], Any]) -> None:
        for value in (make(inc(1)), {"x": make(inc(1))}):
            with pytest.raises(cs.ParameterError, match=r"parameter 'p' .*test_held.py.* which has no value yet"):
                run(same(cs.Param("p")), params={"p": value})

    def test_the_self_of_a_method_may_hold_some(self) -> None:
        class Own(Words):
            @cs.task
            def take(self, values: Any) -> Any:
                return values

        assert run(Own([inc(1)]).take([inc(2)])) == [3]
