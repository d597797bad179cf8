"""Declaring: what arguments may be, what a lazy result refuses, how one node is configured, and ways to compose."""

import asyncio
import pickle
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskExecutionStarted
from cascade.testing import SpySubscriber
from tests.workflows import Tier, every_tier, in_loop, run


class Held:
    item: Any


class Point(NamedTuple):
    x: Any
    y: Any


class Words(list[Any]):
    """A list of its own kind."""


@cs.task
def same(x: Any) -> Any:
    return x


@cs.task
def add(a: int, b: int) -> int:
    return a + b


@cs.task
def both(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


@cs.task
def inc(x: int) -> int:
    return x + 1


@cs.task
def fail() -> Any:
    raise AssertionError("this must not run")


lazily: Any = inc


class Log:
    """Tasks that note that they ran."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    @cs.task
    def note(self, word: Any, *needs: Any) -> Any:
        self.lines.append(word)
        return word


class TestArguments:
    @every_tier
    def test_lazy_values_of_every_kind_are_resolved(self, tier: Tier) -> None:
        router = cs.Router("b", {"a": fail(), "b": inc(10)})
        call = both(
            1, inc(1), inc.map(x=[1, 2]), router, cs.Param("p", default=5), k=inc(2), env=cs.Env("NO_ENV", None)
        )
        assert run(call, tier=tier) == ((1, 2, [2, 3], 11, 5), {"k": 3, "env": None})

    @every_tier
    def test_those_in_containers_are_resolved_in_place(self, tier: Tier) -> None:
        given = [inc(0), (inc(1), {"a": [inc(2), 7], "b": inc.map(x=[3])}), cs.Router(1, {1: inc(4)}), [], {}, ()]
        assert run(same(given), tier=tier) == [1, (2, {"a": [3, 7], "b": [4]}), 5, [], {}, ()]
        assert run(both(k=given), tier=tier)[1]["k"][:2] == [1, (2, {"a": [3, 7], "b": [4]})]

    @every_tier
    @pytest.mark.parametrize(
        ("given", "kind"),
        [([inc(0)], list), ((inc(0),), tuple), (Point(inc(0), 2), Point), ({"k": inc(0)}, dict)],
        ids=["list", "tuple", "namedtuple", "dict"],
    )
    def test_the_type_of_the_container_is_kept(self, tier: Tier, given: Any, kind: type) -> None:
        result: Any = run(same(given), tier=tier)
        assert type(result) is kind
        assert result == (Point(1, 2) if kind is Point else {"k": 1} if kind is dict else kind([1]))

    @every_tier
    def test_a_dict_keeps_its_keys_and_their_order(self, tier: Tier) -> None:
        result = run(same({"z": inc(0), 1: 2, None: inc(1), (1, 2): 3}), tier=tier)
        assert list(result.items()) == [("z", 1), (1, 2), (None, 2), ((1, 2), 3)]

    @every_tier
    def test_containers_are_read_at_any_depth(self, tier: Tier) -> None:
        deep: Any = inc(0)
        for _ in range(5000):
            deep = [deep]
        value = run(same(deep), tier=tier)
        for _ in range(5000):
            (value,) = value
        assert value == 1

    @every_tier
    def test_other_objects_are_values(self, tier: Tier) -> None:
        held = Held()
        held.item = inc(0)
        assert run(same(held), tier=tier) is held

    @every_tier
    def test_a_container_without_lazy_results_is_passed_as_that_very_object(self, tier: Tier) -> None:
        values: list[Any] = [[1, [2]], (1, 2), Point(1, 2), {"a": [1]}, {1, 2}, frozenset([3]), Words()]
        results = run([same(value) for value in values], tier=tier)
        assert [result is value for result, value in zip(results, values, strict=True)] == [True] * len(values)

    @every_tier
    def test_so_is_one_inside_a_container_that_has_some(self, tier: Tier) -> None:
        inner = [1, 2]
        assert run(same([inner, inc(0)]), tier=tier)[0] is inner

    @every_tier
    def test_a_container_without_lazy_results_is_read_when_the_task_runs(self, tier: Tier) -> None:
        values = [1]
        call = same(values)
        assert run(call, tier=tier) == [1]
        values.append(2)
        assert run(call, tier=tier) == [1, 2]

    @every_tier
    def test_a_container_with_lazy_results_is_read_when_the_graph_is_first_built(self, tier: Tier) -> None:
        values = [inc(0)]
        call = same(values)
        values.append(inc(1))
        assert run(call, tier=tier) == [1, 2]
        values.append(inc(2))
        assert run(call, tier=tier) == [1, 2]
        assert run([call], tier=tier) == [[1, 2]]

    @every_tier
    def test_a_container_with_lazy_results_is_made_anew_for_each_run(self, tier: Tier) -> None:
        @cs.task
        def take(values: list[int]) -> int:
            return values.pop()

        call = take([5, inc(0)])
        assert [run(call, tier=tier) for _ in range(3)] == [1, 1, 1]

    @every_tier
    @pytest.mark.parametrize("given", [{"set"}, {frozenset(["x"])}, {("x",)}], ids=["set", "nested", "tuple"])
    def test_a_set_of_plain_values_is_a_value(self, tier: Tier, given: set[Any]) -> None:
        assert run(same(given), tier=tier) is given

    @pytest.mark.parametrize(
        "hide",
        [
            lambda lazy: {lazy},
            lambda lazy: frozenset([lazy]),
            lambda lazy: [{lazy}],
            lambda lazy: {(1, lazy)},
            lambda lazy: {"a": {lazy}},
        ],
    )
    def test_a_lazy_result_in_a_set_is_an_error_of_the_graph(self, hide: Callable[[Any], Any]) -> None:
        call = same(hide(inc(0)))  # the call itself is fine
        with pytest.raises(cs.StaticGraphError, match="a lazy result is in a set"):
            cs.compile(call)

    @pytest.mark.parametrize("hide", [lambda lazy: {lazy: 1}, lambda lazy: [{(1, lazy): 2}]])
    def test_a_lazy_result_as_a_key_is_an_error_of_the_graph(self, hide: Callable[[Any], Any]) -> None:
        call = same(hide(inc(0)))
        with pytest.raises(cs.StaticGraphError, match="is the key of a dict"):
            cs.compile(call)

    def test_a_container_that_holds_itself_is_an_error_of_the_graph(self) -> None:
        straight: list[Any] = [inc(0)]
        straight.append(straight)
        around: dict[str, Any] = {"a": [1]}
        around["a"].append(around)
        for holder in (straight, around):
            call = same(holder)
            with pytest.raises(cs.StaticGraphError, match="holds itself"):
                cs.compile(call)

    @every_tier
    def test_one_container_twice_is_no_circle(self, tier: Tier) -> None:
        shared = [inc(0)]
        assert run(same([shared, shared, {"again": shared}]), tier=tier) == [[1], [1], {"again": [1]}]

    @every_tier
    def test_a_value_as_a_whole_argument_is_unwrapped(self, tier: Tier) -> None:
        values = (3, None, {"a": 1}, [1], lazy := inc(1), [lazy])
        args, _ = run(both(*[cs.Value(value) for value in values]), tier=tier)
        assert all(got is given for got, given in zip(args, values, strict=True))

    @every_tier
    def test_a_value_inside_a_container_stays_one(self, tier: Tier) -> None:
        value = cs.Value(3)
        assert run(same([value]), tier=tier) == [value]
        assert run(same([value, inc(0)]), tier=tier) == [value, 1]


class TestALazyResultHasNoValueYet:
    @pytest.mark.parametrize(
        ("misuse", "instead"),
        [
            (bool, r"`\.run_if\(\.\.\.\)` or cs\.Router"),
            (iter, r"`task\.map\(name=it\)`"),
            (len, "pass it to a task that takes its length"),
            (lambda lazy: lazy[0], "pass it to a task that takes the item out"),
            (lambda lazy: 1 in lazy, "pass it to a task that looks into it"),
            (lambda lazy: lazy < 1, "pass it to a task that compares"),
            (lambda lazy: lazy <= 1, "pass it to a task that compares"),
            (lambda lazy: lazy > lazy, "pass it to a task that compares"),
            (lambda lazy: lazy >= 1, "pass it to a task that compares"),
        ],
        ids=["bool", "iter", "len", "index", "in", "<", "<=", ">", ">="],
    )
    @pytest.mark.parametrize(
        "make",
        [
            lambda: inc(1),
            lambda: inc.map(x=[1]),
            lambda: cs.Router(1, {1: 2}),
            lambda: cs.Param("p"),
            lambda: cs.subflow(inc(1)),
        ],
        ids=["call", "map", "router", "param", "subflow"],
    )
    def test_it_says_what_to_do_instead(
        self, misuse: Callable[[Any], Any], instead: str, make: Callable[[], Any]
    ) -> None:
        with pytest.raises(TypeError, match=f"has no value before the graph runs, .*{instead}"):
            misuse(make())

    def test_it_is_equal_to_itself_alone(self) -> None:
        one, other = inc(1), inc(1)
        assert one == one
        assert one != other
        assert len({one, other, one}) == 2

    def test_its_repr_shows_the_task_and_where_it_was_declared(self) -> None:
        line = sys._getframe().f_lineno + 1
        lazy = inc(1)
        assert repr(lazy) == f"<LazyResult of 'inc', declared at {__file__}:{line}>"
        assert repr(lazy.named("first")) == f"<LazyResult of 'first', declared at {__file__}:{line}>"

    def test_it_does_not_pickle(self) -> None:
        for lazy in (inc(1), inc.map(x=[1]), cs.Param("p")):
            with pytest.raises(TypeError, match="does not pickle; build the graph where it runs"):
                pickle.dumps(lazy)


class TestConfiguringOneNode:
    def test_every_method_returns_the_node(self) -> None:
        lazy = inc(1)
        configured = (
            lazy.run_if(True),
            lazy.with_retry(2),
            lazy.with_constraints(gpu=1),
            lazy.after(inc(0)),
            lazy.named("n"),
        )
        assert all(each is lazy for each in configured)

    def test_what_is_set_on_one_is_not_set_on_another(self) -> None:
        def made(n: int) -> list[cs.LazyResult[int]]:
            return [inc(n).named("same").with_retry(2).with_constraints(gpu=1) for _ in range(n)]

        one, other, third = made(3)
        assert one.config is other.config  # they were set alike
        one.named("one").with_timeout(5).after(third)
        other.after(third)
        other.after(inc(7))
        assert (one.label, other.label, third.label) == ("one", "same", "same")
        found = [(each.config.timeout, len(each.config.after)) for each in (one, other, third) if each.config]
        assert found == [(5, 1), (None, 2), (None, 0)]
        assert made(1)[0].config is third.config
        labels = [inc(n).named(f"{n}").with_timeout(n + 1) for n in range(1_000)]  # not all are kept for later
        assert [each.label for each in labels] == [f"{n}" for n in range(1_000)]
        assert [each.config.timeout for each in labels if each.config] == [n + 1 for n in range(1_000)]

    def test_settings_that_differ_are_different(self) -> None:
        amounts = [inc(1).with_constraints(gpu=amount).config for amount in (1, 1.0, 2)]
        tries = [inc(1).with_retry(2, on=on).config for on in (OSError, ValueError, lambda error: True)]
        assert len({*map(id, amounts)}) == len({*map(id, tries)}) == 3

    @every_tier
    def test_all_who_hold_it_see_one_node(self, tier: Tier) -> None:
        log = Log()
        lazy = log.note("lazy")
        reader = same(lazy)
        lazy.run_if(False, otherwise="off")
        assert run([reader, lazy], tier=tier) == ["off", "off"]
        assert log.lines == []

    @every_tier
    def test_a_second_run_if_replaces_the_first_and_its_otherwise(self, tier: Tier) -> None:
        lazy = inc(1).run_if(False, otherwise="off").run_if(True)
        assert run(lazy, tier=tier) == 2
        lazy.run_if(False)
        with pytest.raises(cs.DependencyMissingError):
            run(lazy, tier=tier)

    @every_tier
    def test_a_second_retry_replaces_the_first(self, tier: Tier) -> None:
        calls = []

        @cs.task
        def fails() -> None:
            calls.append(1)
            raise ConnectionError

        with pytest.raises(ConnectionError):
            run(fails().with_retry(7).with_retry(max_attempts=2), tier=tier)
        assert len(calls) == 2

    @every_tier
    def test_second_constraints_replace_the_first(self, tier: Tier) -> None:
        lazy = inc(1).with_constraints(gpu=5, tpu=5).with_constraints(gpu=1)
        assert run(lazy, tier=tier, system_resources={"gpu": 1, "tpu": 1}) == 2

    def test_a_second_name_replaces_the_first(self) -> None:
        bus = MessageBus()
        spy = SpySubscriber(bus)
        run(inc(1).named("one").named("two"), bus=bus)
        assert {(event.task_id, event.task_name) for event in spy.events_of_type(TaskExecutionStarted)} == {
            ("two#1", "inc")
        }

    @every_tier
    def test_after_adds(self, tier: Tier) -> None:
        log = Log()
        first, second = log.note(1), log.note(2)
        assert run(log.note(3).after(first).after(second), tier=tier) == 3
        assert log.lines[-1] == 3
        assert sorted(log.lines) == [1, 2, 3]

    @every_tier
    def test_after_takes_several(self, tier: Tier) -> None:
        log = Log()
        target = log.note(3).after(log.note(1), log.note.map(word=["a", "b"]), cs.Router(True, {True: log.note(2)}))
        assert run(target, tier=tier) == 3
        assert log.lines[-1] == 3
        assert set(log.lines) == {1, 2, 3, "a", "b"}

    @every_tier
    def test_configuring_a_node_after_it_has_run_takes_effect_on_the_next_run(self, tier: Tier) -> None:
        log = Log()
        lazy = inc(1)
        reader = add(lazy, 10)
        container = {"r": reader}
        flow = cs.compile(reader, engine=Engine(tier=tier))

        async def seen() -> list[Any]:
            async with Engine(tier=tier) as engine:
                return [await engine.run(reader), await engine.run(container), await flow()]

        assert in_loop(seen) == [12, {"r": 12}, 12]
        lazy.run_if(False, otherwise=5)
        assert in_loop(seen) == [15, {"r": 15}, 15]
        lazy.run_if(True)
        lazy.after(log.note("before"))
        assert in_loop(seen) == [12, {"r": 12}, 12]
        assert log.lines == ["before"] * 3

    @every_tier
    def test_each_setting_takes_effect_after_a_run(self, tier: Tier) -> None:
        calls = []

        @cs.task
        def shaky() -> str:
            calls.append(1)
            if len(calls) in (2, 3):
                raise ConnectionError
            return "done"

        lazy = shaky()
        spy = SpySubscriber(bus := MessageBus())

        async def main() -> None:
            async with Engine(tier=tier, bus=bus, system_resources={"gpu": 1}) as engine:
                assert await engine.run(lazy) == "done"
                lazy.with_retry(3)
                assert await engine.run(lazy) == "done"
                lazy.named("steady")
                assert await engine.run(lazy) == "done"
                lazy.with_constraints(gpu=2)
                with pytest.raises(cs.ConstraintError):
                    await engine.run(lazy)

        in_loop(main)
        assert len(calls) == 5
        ids = [event.task_id for event in spy.events_of_type(TaskExecutionStarted)]
        assert ids == ["shaky#1", "shaky#1", "steady#1"]

    @every_tier
    def test_configuring_inside_a_subflow_takes_effect_too(self, tier: Tier) -> None:
        lazy = inc(1)
        whole = add(cs.subflow(same(lazy)), 10)
        assert run(whole, tier=tier) == 12
        lazy.run_if(False, otherwise=5)
        assert run(whole, tier=tier) == 15

    @every_tier
    def test_a_run_that_is_going_on_keeps_what_it_began_with(self, tier: Tier) -> None:
        lazy = inc(1)

        @cs.task(mode="inline")
        def configure() -> None:
            lazy.run_if(False, otherwise="off")

        target = [configure(), lazy.after(first := configure()), first]
        assert run(target, tier=tier)[1] == 2
        assert run(target, tier=tier)[1] == "off"

    @pytest.mark.parametrize("label", ["", None, 3])
    def test_a_name_is_a_string(self, label: Any) -> None:
        with pytest.raises(TypeError, match="takes a name that is not empty"):
            inc(1).named(label)

    @pytest.mark.parametrize("other", [1, inc, None])
    def test_after_takes_lazy_results(self, other: Any) -> None:
        with pytest.raises(TypeError, match="takes lazy results"):
            inc(1).after(other)

    @pytest.mark.parametrize("amount", [0, -1, True, "much", float("inf"), float("nan")])
    def test_a_constraint_is_a_number_above_zero(self, amount: Any) -> None:
        with pytest.raises(cs.ConstraintError, match="an amount is a number above zero"):
            inc(1).with_constraints(gpu=amount)

    @pytest.mark.parametrize("name", ["ui", "watch", "StateBackend"])
    def test_a_name_whose_work_is_not_built_is_not_exported(self, name: str) -> None:
        assert name not in cs.__all__
        with pytest.raises(AttributeError, match=name):
            getattr(cs, name)


class TestSequence:
    @every_tier
    def test_runs_its_steps_in_order_and_gives_the_last(self, tier: Tier) -> None:
        log = Log()
        steps = [log.note(word) for word in "abcde"]
        last = cs.sequence(reversed(steps))
        assert last is steps[0]
        assert run(last, tier=tier) == "a"
        assert log.lines == ["e", "d", "c", "b", "a"]

    def test_empty_it_is_a_value_error(self) -> None:
        with pytest.raises(ValueError, match="at least one step"):
            cs.sequence([])

    @pytest.mark.parametrize("wrong", [1, inc, cs.Param("p")])
    def test_takes_lazy_results_alone(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match="takes lazy results, not"):
            cs.sequence([inc(1), wrong])

    @every_tier
    def test_a_skipped_last_element_reads_as_none_for_a_run(self, tier: Tier) -> None:
        last = cs.sequence([inc(1), inc(2).run_if(False)])
        assert run(last, tier=tier) is None
        assert run([last, {"k": last}, inc(3)], tier=tier) == [None, {"k": None}, 4]

    @every_tier
    def test_so_does_a_last_element_whose_predecessor_was_skipped(self, tier: Tier) -> None:
        last = cs.sequence([inc(1).run_if(False), inc(2)])
        assert run(last, tier=tier) is None

    @every_tier
    def test_a_last_element_that_has_something_to_give_gives_it(self, tier: Tier) -> None:
        assert run(cs.sequence([inc(1), inc(2).run_if(False, otherwise="o")]), tier=tier) == "o"
        assert run(cs.sequence([inc(1), inc(inc(2)).run_if(False)]), tier=tier) == 3

    @every_tier
    def test_a_task_that_reads_a_skipped_last_element_is_skipped(self, tier: Tier) -> None:
        last = cs.sequence([inc(1), inc(2).run_if(False)])
        with pytest.raises(cs.DependencyMissingError):
            run(same([last]), tier=tier)

    @every_tier
    def test_maps_and_subflows_are_steps_too(self, tier: Tier) -> None:
        log = Log()
        target = cs.sequence([log.note.map(word=[1, 2]), cs.subflow(log.note(3)), log.note.map(word=[4])])
        assert run(target, tier=tier) == [4]
        assert set(log.lines[:2]) == {1, 2}
        assert log.lines[2:] == [3, 4]


class TestPipeline:
    @every_tier
    def test_is_h_of_g_of_f(self, tier: Tier) -> None:
        assert run(cs.pipeline("x", [cs.task(lambda x, n=n: x + n) for n in "fgh"]), tier=tier) == "xfgh"

    @every_tier
    def test_steps_are_tasks_or_functions_of_one_lazy_value(self, tier: Tier) -> None:
        steps: list[Callable[..., Any]] = [inc, lambda x: add(x, 10), lambda x: inc.map(x=same([x, x])), cs.task(sum)]
        assert run(cs.pipeline(1, steps), tier=tier) == 26

    @every_tier
    def test_the_initial_value_may_be_lazy(self, tier: Tier) -> None:
        assert run(cs.pipeline(inc(0), [inc, inc]), tier=tier) == 3
        assert run(cs.pipeline(cs.Param("n", default=4), iter([inc])), tier=tier) == 5

    @every_tier
    def test_without_steps_it_is_the_initial_value(self, tier: Tier) -> None:
        assert run(cs.pipeline(7, []), tier=tier) == 7

    def test_a_lazy_result_among_the_steps_is_a_type_error(self) -> None:
        with pytest.raises(TypeError, match="was the task called by mistake"):
            cs.pipeline(1, [inc, inc(1)])  # type: ignore[list-item]

    def test_what_cannot_be_called_is_a_type_error(self) -> None:
        with pytest.raises(TypeError, match=r"a step of cs.pipeline is a task or a function of one value, not 3"):
            cs.pipeline(1, [inc, 3])  # type: ignore[list-item]

    @every_tier
    def test_a_step_that_is_switched_off_gives_what_it_was_given(self, tier: Tier) -> None:
        def off(x: Any) -> Any:
            return inc(x).run_if(False)

        assert run(cs.pipeline(1, [off, lambda x: add(x, 10), off]), tier=tier) == 11


class TestRouter:
    def test_its_repr_shows_eight_of_its_keys(self) -> None:
        assert repr(cs.Router(1, {1: 2, "b": 3})).startswith("<Router over 1, 'b', declared at ")
        assert repr(cs.Router(1, dict.fromkeys(range(20)))).startswith(
            "<Router over 0, 1, 2, 3, 4, 5, 6, 7, and 12 more, "
        )

    @every_tier
    @pytest.mark.parametrize("key", ["a", "b", "c"])
    def test_only_the_selected_route_and_what_it_alone_needs_runs(self, tier: Tier, key: str) -> None:
        log = Log()
        shared = log.note("shared")
        routes = {
            "a": log.note("a", log.note("for a"), shared),
            "b": log.note("b", shared, log.note("for b", log.note("for b too"))),
        }
        router = cs.Router(log.note(key), routes, default=log.note("default"))
        chosen = {"a": ["a", "for a", "shared"], "b": ["b", "for b", "for b too", "shared"], "c": ["default"]}
        value = run(router, tier=tier)
        assert value == ("default" if key == "c" else key)
        assert sorted(log.lines) == sorted([key, *chosen[key]])

    @every_tier
    def test_a_route_that_is_ready_early_does_not_run(self, tier: Tier) -> None:
        log = Log()

        @cs.task
        async def choose() -> str:
            for _ in range(20):
                await asyncio.sleep(0)
            return "b"

        assert run(cs.Router(choose(), {"a": log.note("a"), "b": log.note("b")}), tier=tier) == "b"
        assert log.lines == ["b"]

    @every_tier
    def test_what_is_needed_elsewhere_runs_all_the_same(self, tier: Tier) -> None:
        log = Log()
        a, b = log.note("a"), log.note("b")
        assert run([cs.Router("b", {"a": a, "b": b}), a], tier=tier) == ["b", "a"]
        assert sorted(log.lines) == ["a", "b"]

    @every_tier
    def test_it_can_stand_wherever_a_lazy_result_can(self, tier: Tier) -> None:
        router = cs.Router(inc(0), {1: inc(10)})
        assert run(router, tier=tier) == 11
        assert run([router, {"k": router}], tier=tier) == [11, {"k": 11}]
        assert run(add(router, b=router), tier=tier) == 22
        assert run(cs.Router(router, {11: "eleven"}), tier=tier) == "eleven"
        assert run(cs.Router(0, {0: router}), tier=tier) == 11
        assert run(inc(1).run_if(router), tier=tier) == 2
        assert run(inc(1).run_if(False, otherwise=router), tier=tier) == 11
        assert run(inc.map(x=cs.Router(1, {1: [1, 2]})), tier=tier) == [2, 3]
        assert run(inc.map(x=[router, 1]), tier=tier) == [12, 2]
        assert run(inc(1).after(router), tier=tier) == 2
        assert run(cs.subflow(inc(cs.Param("n", type=int)), {"n": router}), tier=tier) == 12

    @every_tier
    def test_routes_may_be_values_and_containers(self, tier: Tier) -> None:
        routes = {"value": 3, "none": None, "container": [inc(0), {"k": inc(1)}], "map": inc.map(x=[5])}
        key = cs.Param("key")
        results = [run(cs.Router(key, routes), {"key": each}, tier=tier) for each in routes]
        assert results == [3, None, [1, {"k": 2}], [6]]

    @every_tier
    def test_an_unknown_key_is_an_error_that_lists_the_keys(self, tier: Tier) -> None:
        router = cs.Router(same("c"), {"a": fail(), "b": fail()})
        with pytest.raises(cs.RouterError, match=r"gave 'c', which has no route; the routes are: 'a', 'b'") as caught:
            run(router, tier=tier)
        assert f"declared at {__file__}:" in str(caught.value)

    @every_tier
    def test_unless_there_is_a_default(self, tier: Tier) -> None:
        assert run(cs.Router(same("c"), {"a": fail()}, default=inc(1)), tier=tier) == 2
        assert run(cs.Router(same("c"), {"a": fail()}, default=None), tier=tier) is None
        assert run(cs.Router(same("c"), {}, default="d"), tier=tier) == "d"

    @every_tier
    def test_keys_match_as_dict_keys_do(self, tier: Tier) -> None:
        routes = {1: "one", "1": "text", (1, 2): "pair", None: "none"}
        for key, value in ((1.0, "one"), (True, "one"), ("1", "text"), ((1, 2), "pair"), (None, "none")):
            assert run(cs.Router(same(key), routes), tier=tier) == value

    @every_tier
    def test_a_key_that_cannot_be_hashed_is_an_unknown_one(self, tier: Tier) -> None:
        with pytest.raises(cs.RouterError, match=r"gave \[1\]"):
            run(cs.Router(same([1]), {1: 1}), tier=tier)
        assert run(cs.Router(same([1]), {1: 1}, default=2), tier=tier) == 2

    def test_it_needs_a_dict_with_a_route(self) -> None:
        with pytest.raises(TypeError, match="takes a dict of routes"):
            cs.Router(inc(1), [1, 2])  # type: ignore[call-overload]
        with pytest.raises(cs.RouterError, match="at least one route"):
            cs.Router(inc(1), {})


class TestSubflow:
    @every_tier
    def test_is_one_node_with_parameters_of_its_own(self, tier: Tier) -> None:
        area = add(cs.Param("a", type=int), cs.Param("b", default=100))
        whole = both(cs.subflow(area, params={"a": 1}), cs.subflow(area, params={"a": inc(1), "b": "3"}))
        assert run(whole, tier=tier) == ((101, 5), {})

    @every_tier
    def test_its_parameters_are_not_those_of_the_run(self, tier: Tier) -> None:
        inner = same(cs.Param("n", default="inner"))
        whole = [cs.subflow(inner), same(cs.Param("n", default="outer"))]
        assert run(whole, {"n": "given"}, tier=tier) == ["inner", "given"]
        with pytest.raises(cs.ParameterError, match="there is no parameter 'n'"):
            run(cs.subflow(inner), {"n": "given"}, tier=tier)

    @every_tier
    def test_a_parameter_of_the_run_can_be_passed_on(self, tier: Tier) -> None:
        whole = cs.subflow(inc(cs.Param("n", type=int)), {"n": cs.Param("outer", type=int)})
        assert run(whole, {"outer": 4}, tier=tier) == 5

    @every_tier
    def test_its_target_may_be_what_a_run_takes(self, tier: Tier) -> None:
        param = cs.Param("n", default=1)
        assert run(cs.subflow(inc.map(x=[1, 2])), tier=tier) == [2, 3]
        assert run(cs.subflow({"a": inc(param), "b": [2]}), tier=tier) == {"a": 2, "b": [2]}
        assert run(cs.subflow(cs.subflow(inc(param), {"n": 3})), tier=tier) == 4
        assert run(cs.subflow(cs.compile(inc(param)).blueprint, {"n": 5}), tier=tier) == 6

    def test_a_missing_or_unknown_parameter_is_found_before_the_run(self) -> None:
        inner = same(cs.Param("needed"))
        with pytest.raises(cs.ParameterError, match="needs the parameter 'needed'"):
            cs.compile(cs.subflow(inner))
        with pytest.raises(cs.ParameterError, match="no parameter 'need'; did you mean 'needed'"):
            cs.compile(cs.subflow(inner, {"need": 1}))

    @every_tier
    def test_a_value_that_does_not_convert_is_a_parameter_error(self, tier: Tier) -> None:
        whole = cs.subflow(inc(cs.Param("n", type=int)), {"n": same("x")})
        with pytest.raises(cs.ParameterError, match=r"parameter 'n' .*cannot take 'x' as int"):
            run(whole, tier=tier)

    @pytest.mark.parametrize("target", [3, inc, None, [1, 2]])
    def test_its_target_is_lazy(self, target: Any) -> None:
        with pytest.raises((cs.StaticGraphError, TypeError)):
            cs.compile(cs.subflow(target))

    @every_tier
    def test_it_can_be_gated_and_named_as_a_whole(self, tier: Tier) -> None:
        log = Log()
        inner = log.note("inner")
        assert run(cs.subflow(inner).run_if(False, otherwise="off").named("part"), tier=tier) == "off"
        assert log.lines == []
        assert run(cs.subflow(inner).after(log.note("before")), tier=tier) == "inner"
        assert log.lines == ["before", "inner"]
