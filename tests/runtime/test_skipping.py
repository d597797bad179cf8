"""Skipping: what does not run, why, and what is read in its place."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from tests.workflows import Body, Tier, Way, every_body, every_tier, every_watched_way, every_way, inline, notes_of, run


@inline
def value(x: Any = "declared", y: Any = None) -> Any:
    return x


@inline
def reader(x: Any) -> Any:
    return ("read", x)


@inline
def add(x: Any, y: Any) -> Any:
    return x + y


@inline
def pair(x: Any, y: Any) -> Any:
    return x, y


def gone(x: Any = "gone") -> Any:
    """A node that is skipped and has nothing to give."""
    return value(x).run_if(False).named("gone")


def reasons(way: Way) -> dict[str, str]:
    return {task_id: reason for task_id, _, reason in way.skipped()}


class Calls(list[str]):
    """Notes which of its tasks ran."""

    def __call__(self, name: str, *inputs: Any, result: Any = None) -> Any:
        @cs.task(name=name, mode="inline")
        def noted(*inputs: Any) -> Any:
            self.append(name)
            return name if result is None else result

        return noted(*inputs)


# --- run_if


@every_way
@every_body
def test_run_if_takes_lazy_results_routers_params_and_plain_values(way: Way, body: Body) -> None:
    node = body(lambda x: x)
    truth = body(lambda x: x)
    yes: list[Any] = [
        truth(1),
        cs.Router("a", {"a": truth(2)}),
        cs.Param("p", True),
        True,
        "yes",
        [0],
        truth.map(x=[0]),
    ]
    no: list[Any] = [truth(0), cs.Router("a", {"a": truth("")}), cs.Param("p", False), False, None, [], truth.map(x=[])]
    for condition in yes:
        assert way.run(node(1).run_if(condition)) == 1
    for condition in no:
        assert way.run(node(1).run_if(condition, otherwise=2)) == 2
        if way.watched:
            assert [reason for *_, reason in way.skipped()] == ["ConditionFalse"]


@every_way
def test_a_container_as_a_condition_is_true_if_it_holds_something(way: Way) -> None:
    assert way.run(value(1).run_if([value(0)])) == 1


@every_way
def test_only_the_node_itself_is_gated(way: Way) -> None:
    calls = Calls()
    deep = calls("deep")
    node = calls("node", calls("input", deep), [calls("packed")]).run_if(False, otherwise="skipped")
    assert way.run(node) == "skipped"
    assert sorted(calls) == ["deep", "input", "packed"]


@every_way
def test_a_branch_is_kept_from_running_by_a_router(way: Way) -> None:
    calls = Calls()
    branch = calls("node", calls("input", calls("deep")))
    assert way.run(cs.Router(cs.Param("on", False), {True: branch, False: "off"})) == "off"
    assert calls == []
    if way.watched:
        assert reasons(way) == {"deep#1": "Pruned", "input#1": "Pruned", "node#1": "Pruned"}


class Shy:
    def __bool__(self) -> bool:
        raise ArithmeticError("no truth")


@every_way
@every_body
def test_a_truth_value_that_raises_is_the_failure_of_the_gated_node(way: Way, body: Body) -> None:
    node = body(lambda x: x)
    for condition in (Shy(), body(Shy)()):
        with pytest.raises(ArithmeticError, match="no truth") as caught:
            way.run(node(1).named("gated").run_if(condition, otherwise=2))
        assert "in task gated#1" in notes_of(caught.value)[0]


@every_way
def test_a_second_condition_replaces_the_first(way: Way) -> None:
    node = value(1).run_if(False, otherwise=2)
    assert way.run(node) == 2
    assert way.run(node.run_if(True)) == 1
    assert way.run(node.run_if(False, otherwise=3)) == 3


# --- otherwise


@every_way
@pytest.mark.parametrize("given", [None, 0, "", [], {}, "text"], ids=repr)
def test_readers_get_the_otherwise(way: Way, given: Any) -> None:
    node = value(value(1)).run_if(False, otherwise=given)
    assert way.run(node) == given
    assert way.run(reader(node)) == ("read", given)
    assert way.run([node, {"deep": (node,)}]) == [given, {"deep": (given,)}]
    assert way.run(reader([node])) == ("read", [given])
    assert way.run(cs.Router("a", {"a": node})) == given
    assert way.run(reader.map(x=[node])) == [("read", given)]


@every_way
@every_body
def test_a_lazy_otherwise_runs_only_then(way: Way, body: Body) -> None:
    calls: list[str] = []

    @body
    def fallback(x: Any) -> str:
        calls.append("fallback")
        return f"fallback {x}"

    @body
    def feed() -> str:
        calls.append("feed")
        return "fed"

    node = value(1).run_if(cs.Param("on", True), otherwise=fallback(feed()))
    assert way.run(reader(node)) == ("read", 1)
    assert calls == []
    if way.watched:
        assert sorted(reasons(way).values()) == ["Pruned", "Pruned"]
    assert way.run(reader(node), {"on": False}) == ("read", "fallback fed")
    assert calls == ["feed", "fallback"]


@every_way
def test_containers_routers_params_and_maps_as_otherwise(way: Way) -> None:
    def skipped(otherwise: Any) -> Any:
        return value(1).run_if(False, otherwise=otherwise)

    assert way.run(skipped([value(1), 2])) == [1, 2]
    assert way.run(skipped(cs.Router("a", {"a": value(3)}))) == 3
    assert way.run(skipped(cs.Param("p", 4))) == 4
    assert way.run(skipped(value.map(x=[1, 2]))) == [1, 2]
    assert way.run(skipped(cs.subflow(value(5)))) == 5


@every_way
def test_an_otherwise_that_is_skipped_gives_what_it_gives_to_any_reader(way: Way) -> None:
    def skipped(otherwise: Any) -> Any:
        return value(1).run_if(False, otherwise=otherwise)

    assert way.run(skipped(skipped("deep"))) == "deep"
    assert way.run(skipped(skipped(skipped(value(2))))) == 2
    assert way.run(skipped(value(value(3)).run_if(False))) == 3
    with pytest.raises(cs.DependencyMissingError):
        way.run(skipped(gone()))


@every_way
def test_an_otherwise_that_others_need_anyway_runs_once(way: Way) -> None:
    calls = Calls()
    shared = calls("shared")
    assert way.run([value(1).run_if(False, otherwise=shared), shared]) == ["shared", "shared"]
    assert calls == ["shared"]
    assert way.skipped() == [] or [reason for *_, reason in way.skipped()] == ["ConditionFalse"]


# --- what passes through


@every_way
def test_the_first_argument_passes_if_it_is_lazy(way: Way) -> None:
    def off(node: Any) -> Any:
        return node.run_if(False)

    inner = value(1)
    assert way.run(off(reader(inner))) == 1
    assert way.run(off(pair(inner, 2))) == 1
    assert way.run(off(pair(y=2, x=inner))) == 1
    assert way.run(off(reader(cs.Param("p", 3)))) == 3
    assert way.run(off(reader(cs.Env("CASCADE_TEST_UNSET", "4")))) == "4"
    assert way.run(off(reader(cs.Router("a", {"a": value(5)})))) == 5
    assert way.run(off(reader(value.map(x=[6])))) == [6]
    assert way.run(off(reader.map(x=value.map(x=[7])))) == [7]
    assert way.run(off(cs.task(len)(inner))) == 1


@every_way
@pytest.mark.parametrize("first", [1, None, [1], (), {"a": 1}, "text"], ids=repr)
def test_a_plain_first_argument_does_not_pass(way: Way, first: Any) -> None:
    with pytest.raises(cs.DependencyMissingError):
        way.run(pair(first, value(2)).run_if(False))


@every_way
def test_neither_do_containers_or_the_second_argument(way: Way) -> None:
    for node in (reader([value(1)]), pair(1, value(2)), reader({"a": value(1)}), value()):
        with pytest.raises(cs.DependencyMissingError):
            way.run(node.run_if(False))


@every_way
def test_the_first_argument_of_a_method_is_the_one_after_self(way: Way) -> None:
    class Holder:
        @cs.task
        def hold(self, x: Any, y: Any = None) -> Any:
            return "held"

    assert way.run(Holder().hold(value(1)).run_if(False)) == 1
    with pytest.raises(cs.DependencyMissingError):
        way.run(Holder().hold(1, value(2)).run_if(False))


@every_way
def test_passing_follows_skipped_nodes_upwards(way: Way) -> None:
    node = value("top")
    for _ in range(50):
        node = value(node, value()).run_if(False)
    assert way.run(node) == "top"
    assert way.run(reader(node)) == ("read", "top")
    bottom = value(value(gone()).run_if(False)).run_if(False)
    with pytest.raises(cs.DependencyMissingError):
        way.run(bottom)
    assert way.run(value(value(gone()).run_if(False, otherwise="middle")).run_if(False)) == "middle"


@every_way
def test_passing_reads_a_skipped_router_and_its_route(way: Way) -> None:
    router = cs.Router("a", {"a": value(value(1)).run_if(False)})
    assert way.run(value(router).run_if(False)) == 1


@every_way
def test_what_is_skipped_for_its_data_passes_too(way: Way) -> None:
    assert way.run(pair(value(1), gone())) == 1
    assert way.run(reader(pair(value(1), gone()))) == ("read", 1)
    with pytest.raises(cs.DependencyMissingError):
        way.run(pair(gone(), value(1)))


@every_way
def test_steps_of_a_pipeline_are_switched_off(way: Way) -> None:
    def off(task: Any) -> Any:
        return lambda x: task(x).run_if(False)

    assert way.run(cs.pipeline(1, [off(reader), reader, off(reader)])) == ("read", 1)
    assert way.run(cs.pipeline("initial", [off(reader)])) == "initial"
    assert way.run(cs.pipeline(None, [off(reader), off(reader)])) is None
    assert way.run(cs.pipeline(cs.Param("p", 2), [off(reader), reader])) == ("read", 2)


# --- nothing


@every_way
@every_body
def test_a_reader_of_nothing_is_skipped(way: Way, body: Body) -> None:
    calls: list[Any] = []
    node = body(lambda *inputs: calls.append(inputs))
    for target in (node(gone()), node(1, gone()), node([1, {"a": (gone(),)}]), node(node(gone()))):
        assert way.run([target.run_if(True, otherwise="nothing")]) == ["nothing"]
    assert calls == []


@every_way
def test_containers_routers_and_maps_of_nothing(way: Way) -> None:
    for target in (
        [1, gone()],
        (gone(),),
        {"a": [gone()]},
        cs.Router("a", {"a": gone()}),
        cs.Router(gone(), {"a": 1}, default=2),
        reader.map(x=[1, gone()]),
        value.map(x=[1]).run_if(False),
        cs.subflow(gone()),
    ):
        with pytest.raises(cs.DependencyMissingError):
            way.run(target)
        assert way.run(reader(target).run_if(True, otherwise="nothing")) == "nothing"


@every_way
def test_a_run_without_a_value_says_why(way: Way) -> None:
    with pytest.raises(
        cs.DependencyMissingError, match=r"value \(declared at .*test_skipping.py:\d+\).*ConditionFalse"
    ):
        way.run(value(1).run_if(False))
    with pytest.raises(cs.DependencyMissingError, match=r"reader .* needs gone .*ConditionFalse.*otherwise="):
        way.run(reader(gone()))
    with pytest.raises(cs.DependencyMissingError, match="UpstreamSkipped_Condition"):
        way.run(value(1).run_if(gone()))
    with pytest.raises(cs.DependencyMissingError, match="UpstreamSkipped_Sequence"):
        way.run(value(1).after(gone()))
    assert issubclass(cs.DependencyMissingError, LookupError)


@every_way
def test_items_of_a_run_that_have_nothing(way: Way) -> None:
    with pytest.raises(cs.DependencyMissingError):
        way.run([value(1), gone()])
    with pytest.raises(cs.DependencyMissingError):
        way.run({"a": value(1), "b": gone()})


# --- conditions and selectors


@every_way
def test_conditions_read_otherwise_but_nothing_passed_through(way: Way) -> None:
    passing = value(value(True)).run_if(False)
    given = value(value(False)).run_if(False, otherwise=True)
    assert way.run(passing) is True
    assert way.run(value(1).run_if(passing, otherwise="skipped")) == "skipped"
    if way.watched:
        assert [reason for *_, reason in way.skipped()] == ["ConditionFalse", "UpstreamSkipped_Condition"]
    assert way.run(value(1).run_if(given, otherwise="skipped")) == 1
    lazily = value(1).run_if(False, otherwise=value(True))
    assert way.run(value(1).run_if(lazily, otherwise="skipped")) == 1


@every_way
def test_selectors_read_otherwise_but_nothing_passed_through(way: Way) -> None:
    passing = value(value("a")).run_if(False)
    with pytest.raises(cs.DependencyMissingError):
        way.run(cs.Router(passing, {"a": 1}, default=2))
    assert way.run(cs.Router(value("b").run_if(False, otherwise="a"), {"a": 1})) == 1


@every_way
def test_an_otherwise_that_passed_something_through_gives_a_condition_nothing(way: Way) -> None:
    condition = value(1).run_if(False, otherwise=value(value(True)).run_if(False))
    assert way.run(condition) is True
    assert way.run(value(1).run_if(condition, otherwise="skipped")) == "skipped"


@every_way
def test_a_condition_that_reads_a_router_reads_what_it_chose(way: Way) -> None:
    def routed(node: Any) -> Any:
        return value(1).run_if(cs.Router("a", {"a": node}), otherwise="skipped")

    assert way.run(routed(value(True))) == 1
    assert way.run(routed(value(False))) == "skipped"
    assert way.run(routed(value(0).run_if(False, otherwise=True))) == 1
    assert way.run(routed(value(value(True)).run_if(False))) == "skipped"
    assert way.run(routed(cs.Router("b", {"b": value(value(True)).run_if(False)}))) == "skipped"


# --- order


@every_way
def test_after_looks_at_whether_the_predecessor_ran(way: Way) -> None:
    given = value(1).run_if(False, otherwise=True)
    passing = value(value(1)).run_if(False)
    for before in (given, passing, gone()):
        assert way.run(value(2).after(before).run_if(True, otherwise="skipped")) == "skipped"
    assert way.run(value(2).after(value(None), value(False))) == 2


@every_way
def test_after_maps_routers_and_subflows(way: Way) -> None:
    for ran in (value.map(x=[1]), cs.Router("a", {"a": value(1)}), cs.subflow(value(1)), cs.Param("p", 1)):
        assert way.run(value(2).after(ran)) == 2
    for skipped in (value.map(x=[1]).run_if(False), value.map(x=[gone()])):
        assert way.run(value(2).after(skipped).run_if(True, otherwise="skipped")) == "skipped"


@every_way
def test_a_sequence_stops_at_a_skipped_step(way: Way) -> None:
    calls = Calls()
    steps = [calls("a"), calls("b").run_if(False), calls("c"), calls("d")]
    assert way.run(cs.sequence(steps)) is None
    assert calls == ["a"]
    if way.watched:
        assert reasons(way) == {
            "b#1": "ConditionFalse",
            "c#1": "UpstreamSkipped_Sequence",
            "d#1": "UpstreamSkipped_Sequence",
        }


@every_way
def test_a_skipped_end_of_a_sequence_is_none_where_a_run_asks_for_it(way: Way) -> None:
    def ended(**options: Any) -> Any:
        return cs.sequence([value(1), value(2).run_if(False, **options)])

    assert way.run(ended()) is None
    assert way.run([ended(), {"a": ended()}]) == [None, {"a": None}]
    assert way.run(ended(otherwise=3)) == 3
    assert way.run(cs.sequence([value(1), reader(value(4)).run_if(False)])) == 4
    assert way.run(cs.sequence([value(1), value(5)])) == 5
    with pytest.raises(cs.DependencyMissingError):  # for other readers it is nothing
        way.run(reader(ended()))


# --- reasons


@every_watched_way
def test_the_first_reason_that_applies(way: Way) -> None:
    nothing = gone()

    def node() -> Any:
        return value(nothing).after(gone()).named("node")

    def found(target: Any) -> str:
        way.run([target])
        return reasons(way)["node#1"]

    assert found(node().run_if(False, otherwise=0)) == "ConditionFalse"
    assert found(node().run_if(gone(), otherwise=0)) == "UpstreamSkipped_Condition"
    assert found(node().run_if(True, otherwise=0)) == "UpstreamSkipped_Sequence"
    assert found(value(nothing).named("node").run_if(True, otherwise=0)) == "UpstreamSkipped_Data"
    assert found(cs.Router("b", {"a": node().run_if(False), "b": 1})) == "Pruned"
    assert found(value(1).run_if(True, otherwise=node().run_if(False))) == "Pruned"


@every_watched_way
def test_a_node_decides_when_all_its_inputs_are_there(way: Way) -> None:
    calls = Calls()

    @cs.task(mode="blocking")
    def slow() -> str:
        calls.append("slow")
        return "slow"

    assert way.run(pair(slow(), 2).run_if(False, otherwise=0)) == 0
    order = [(type(event).__name__, event.task_name) for event in way.events]
    assert order == [("TaskExecutionStarted", "slow"), ("TaskExecutionFinished", "slow"), ("TaskSkipped", "pair")]


@every_watched_way
def test_what_only_pruned_nodes_need_is_pruned(way: Way) -> None:
    calls = Calls()
    shared, alone = calls("shared"), calls("alone")
    route = calls("route", shared, alone)
    assert way.run([cs.Router("b", {"a": route, "b": 1}), shared]) == [1, "shared"]
    assert calls == ["shared"]
    assert reasons(way) == {"route#1": "Pruned", "alone#1": "Pruned"}


@every_watched_way
def test_one_skip_a_node(way: Way) -> None:
    skipped = value(1).run_if(False, otherwise=2)
    routers = [cs.Router("b", {"a": gone(), "b": skipped}) for _ in range(3)]
    assert way.run([reader(skipped), reader(skipped), [skipped], *routers]) == [("read", 2), ("read", 2), [2], 2, 2, 2]
    ids = [task_id for task_id, *_ in way.skipped()]
    assert len(ids) == len(set(ids)) == 4


@every_watched_way
def test_maps_routers_and_subflows_that_are_skipped_have_no_events(way: Way) -> None:
    nothing = gone()
    target = [
        value.map(x=[1]).run_if(False, otherwise=0),
        reader(cs.Router(nothing, {"a": 1})).run_if(True, otherwise=0),
        reader(cs.subflow(value(cs.Param("p", 1)), {"p": nothing})).run_if(True, otherwise=0),
        cs.Router("b", {"a": cs.Router("a", {"a": value.map(x=[1])}), "b": 1}),
    ]
    assert way.run(target) == [0, 0, 0, 1]
    assert sorted(reasons(way)) == ["gone#1", "reader#1", "reader#2"]


@every_watched_way
def test_nothing_is_pruned_in_a_run_that_failed(way: Way) -> None:
    @inline
    def fail() -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        way.run([cs.Router("b", {"a": value(1), "b": 1}), fail()])
    assert way.skipped() == []


@every_watched_way
def test_skips_are_told_once_an_iteration(way: Way) -> None:
    @inline
    def step(n: int, fed: Any, routed: Any) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 30 else "done"

    router = cs.Router("b", {"a": value(1).named("pruned"), "b": value(2)})
    fed = value(3).run_if(False, otherwise=value(4)).named("fed")
    bound = step(0, fed, router)
    cs.bind(bound, cs.select_jump({"again": bound}))
    assert way.run(bound) == "done"
    told = way.skipped()
    assert [one for one in told if one[0] == "fed#1"] == [("fed#1", n, "ConditionFalse") for n in range(31)]
    assert sorted(one for one in told if one[0] != "fed#1") == [("pruned#1", n, "Pruned") for n in range(31)]


@every_watched_way
def test_nothing_is_pruned_in_an_entry_that_failed(way: Way) -> None:
    @inline
    def step(n: int, routed: Any) -> Any:
        if n == 5:
            raise ArithmeticError
        return cs.Jump("again", {"n": n + 1})

    bound = step(0, cs.Router("b", {"a": value(1), "b": 2}))
    cs.bind(bound, cs.select_jump({"again": bound}))
    with pytest.raises(ArithmeticError):
        way.run(bound)
    assert way.skipped() == [("value#1", n, "Pruned") for n in range(1, 5)]


@every_way
def test_a_skipped_async_node_is_not_awaited(way: Way) -> None:
    @cs.task
    async def never() -> None:
        await asyncio.Event().wait()

    assert way.run([never().run_if(False, otherwise=1), cs.Router("b", {"a": never(), "b": 2})]) == [1, 2]


@every_way
def test_what_stands_in_for_a_call_is_there_where_only_a_subflow_is_skipped(way: Way) -> None:
    first = reader(5)
    passed = pair(first, cs.subflow(gone()))
    assert way.run([pair(passed, first), value(cs.subflow(passed)), reader(first)]) == [
        (("read", 5), ("read", 5)),
        ("read", 5),
        ("read", ("read", 5)),
    ]


class TestWhatComesAfterASkip:
    """A task that was skipped, a sub-flow, or an item that was left out, is called again: in another run, or later."""

    def graph(self, slow: Callable[[int], Any]) -> Any:
        """Values that are read in another order than they come in, each by several."""
        first, second = slow(1), slow(2)
        return [add(second, first), add(first, second), add(first, first), add(second, add(first, 10))]

    def skipped(self, node: Any) -> Any:
        """Return what reads a node that is skipped with nothing in its place."""
        return add(node.run_if(cs.Param("go", default=False)), 1).run_if(False, otherwise="skipped")

    @pytest.mark.parametrize("style", ["coroutine", "thread", "place"])
    @every_tier
    def test_of_a_task(self, style: str, tier: Tier) -> None:
        async def coroutine(x: int) -> int:
            await asyncio.sleep(0)
            return x

        def function(x: int) -> int:
            return x

        mode: Any = {"thread": "blocking", "place": "inline"}.get(style, "auto")
        slow = cs.task(coroutine) if style == "coroutine" else cs.task(mode=mode)(function)
        for _ in range(3):
            assert run(self.skipped(slow(5)), tier=tier) == "skipped"
            assert run(self.graph(slow), tier=tier) == [3, 3, 2, 13]
            assert run([self.skipped(slow(5)), self.graph(slow)], tier=tier) == ["skipped", [3, 3, 2, 13]]

    @every_tier
    def test_of_a_subflow(self, tier: Tier) -> None:
        @cs.task
        async def slow(x: int) -> int:
            await asyncio.sleep(0)
            return x

        def flow(x: int) -> Any:
            return cs.subflow(slow(cs.Param("x", type=int)), {"x": x})

        left = slow(cs.Param("x", type=int)).run_if(cs.Param("go", default=False))
        for _ in range(3):
            assert run(add(cs.subflow(left, {"x": 1}), 1).run_if(False, otherwise="skipped"), tier=tier) == "skipped"
            assert run(self.graph(flow), tier=tier) == [3, 3, 2, 13]

    @every_tier
    def test_of_an_item_that_was_left_out(self, tier: Tier) -> None:
        @cs.task
        async def slow(x: int) -> int:
            await asyncio.sleep(0)
            if x < 0:
                raise ValueError(x)
            return x

        for _ in range(3):
            assert run(slow.map(x=[-1, -2], on_error="skip"), tier=tier) == []
            assert run(self.graph(slow), tier=tier) == [3, 3, 2, 13]
