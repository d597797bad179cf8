"""What is wrong with loops and routes before anything runs."""

import re
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from tests.workflows import Way, every_way


@cs.task
def first(*inputs: Any) -> Any:
    return cs.Jump("to_second")


@cs.task
def second(*inputs: Any) -> Any:
    return cs.Jump("to_first")


@cs.task
def between(x: Any) -> Any:
    return x


def machine(a: Any, b: Any) -> Any:
    """Bind two states so that each leads to the other; return the first."""
    cs.bind(a, cs.select_jump({"to_second": b, "exit": None}))
    cs.bind(b, cs.select_jump({"to_first": a, "exit": None}))
    return a


DEPENDENCIES: dict[str, Callable[[Any, Any], Any]] = {
    "data": lambda node, other: node(other),
    "a container": lambda node, other: node([{"deep": (other,)}]),
    "another node": lambda node, other: node(between(between(other))),
    "a condition": lambda node, other: node().run_if(other),
    "a condition's input": lambda node, other: node().run_if(between(other)),
    "order": lambda node, other: node().after(other),
    "order further up": lambda node, other: node(between(1).after(other)),
    "a route": lambda node, other: node(cs.Router(cs.Param("key", "a"), {"a": other, "b": 1})),
    "a default route": lambda node, other: node(cs.Router("x", {"b": 1}, default=other)),
    "a route far up": lambda node, other: node(between(cs.Router("a", {"a": between([other])}))),
    "a selector": lambda node, other: node(cs.Router(other, {"a": 1})),
    "an otherwise": lambda node, other: node().run_if(True, otherwise=other),
    "the otherwise of an input": lambda node, other: node(between(1).run_if(True, otherwise=other)),
    "a map": lambda node, other: node(between.map(x=[other])),
}


@every_way
@pytest.mark.parametrize("how", DEPENDENCIES)
def test_a_state_must_not_wait_for_a_state_of_its_own_loop(way: Way, how: str) -> None:
    a = first()
    b = DEPENDENCIES[how](second, a)
    machine(a, b)
    with pytest.raises(cs.StaticGraphError) as caught:
        way.run(a)
    assert way.events == []
    text = str(caught.value)
    assert re.search(r"second \(declared at .*test_loop_checks\.py:\d+\) is a state of the loop of first", text)
    needs, jumps = re.findall(r"^  (?:needs|jumps):  (.*)$", text, re.MULTILINE)
    assert needs.startswith("first -> ")
    assert needs.endswith(" -> second")
    assert jumps == "first =[to_second]=> second"
    assert "cs.Jump(key, data={...})" in text
    with pytest.raises(cs.StaticGraphError):
        way.run([b, 1])


@every_way
@pytest.mark.parametrize("how", DEPENDENCIES)
def test_whichever_state_the_loop_begins_with(way: Way, how: str) -> None:
    b = second()
    a = DEPENDENCIES[how](first, b)
    machine(a, b)
    with pytest.raises(cs.StaticGraphError, match=r"needs:  second -> (.* -> )?first"):
        way.run(a)


@every_way
def test_states_of_one_loop_that_do_not_lead_to_each_other(way: Way) -> None:
    a, b = first(), second()
    c = between(b)
    cs.bind(a, cs.select_jump({"to_second": b, "to_third": c}))
    cs.bind(b, cs.select_jump({"exit": None}))
    cs.bind(c, cs.select_jump({"exit": None}))
    with pytest.raises(cs.StaticGraphError, match=r"needs:  second -> between"):
        way.run(a)


@every_way
def test_mapped_results_are_states_too(way: Way) -> None:
    a = between.map(x=[1])
    b = second(a)
    cs.bind(a, cs.select_jump({"to_second": b}))
    cs.bind(b, cs.select_jump({"to_first": a}))
    with pytest.raises(cs.StaticGraphError, match=r"needs:  between -> second"):
        way.run(a)


@every_way
def test_a_loop_may_depend_on_another_loop(way: Way) -> None:
    @cs.task
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 5 else n

    one = step(0)
    two = step(one)
    for state in (one, two):
        cs.bind(state, cs.select_jump({"again": state}))
    assert way.run(two) == 5


@every_way
def test_a_state_that_only_leads_to_a_loop_may_depend_on_it(way: Way) -> None:
    """`start` is no state of the loop of `looped`, which never leads back to it."""

    @cs.task
    def start() -> Any:
        return cs.Jump("on")

    @cs.task
    def looped(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 5 else n

    @cs.task
    def reader(x: int) -> int:
        return x

    loop = looped(0)
    cs.bind(loop, cs.select_jump({"again": loop}))
    begin = start()
    cs.bind(begin, cs.select_jump({"on": reader(loop)}))
    assert way.run(begin) == 5


@every_way
def test_a_long_chain_of_states_and_inputs_is_checked(way: Way) -> None:
    nodes = [first()]
    value: Any = between(0)
    for _ in range(3000):
        value = between(value)
    nodes += [second(value) for _ in range(3000)]
    for state, following in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        cs.bind(state, cs.select_jump({"to_second": following, "to_first": following, "exit": None}))
    nodes[-1].after(nodes[0])
    with pytest.raises(cs.StaticGraphError, match="needs:  first -> second"):
        way.run(nodes[0])


# --- cycles


def drawn(error: pytest.ExceptionInfo[cs.CycleError]) -> list[str]:
    return re.findall(r"^  (?:└> |   )(\w+)", str(error.value), re.MULTILINE)


@every_way
def test_a_cycle_by_order_is_drawn(way: Way) -> None:
    a = between(1).named("a")
    b = between(a).named("b")
    a.after(b)
    with pytest.raises(cs.CycleError, match=r"b \(declared at .*test_loop_checks\.py:\d+\)") as caught:
        way.run(b)
    assert way.events == []
    assert drawn(caught)[0] == drawn(caught)[-1]
    assert set(drawn(caught)) == {"a", "b"}
    assert "cs.bind and cs.Jump" in str(caught.value)


@every_way
@pytest.mark.parametrize("how", ["condition", "order", "otherwise", "route of the otherwise"])
@pytest.mark.parametrize("target", ["a", "router", "b", "both"])
def test_a_cycle_through_a_route_is_drawn(way: Way, how: str, target: str) -> None:
    a = between(1).named("a")
    router = cs.Router(cs.Param("key", "x"), {"a": a, "x": 1})
    b = between(router).named("b")
    if how == "condition":
        a.run_if(b)
    elif how == "order":
        a.after(b)
    elif how == "otherwise":
        a.run_if(True, otherwise=b)
    else:
        a.run_if(True, otherwise=cs.Router("x", {"b": b}, default=1))
    targets: dict[str, Any] = {"a": a, "router": router, "b": b, "both": [a, b]}
    with pytest.raises(cs.CycleError) as caught:
        way.run(targets[target])
    assert way.events == []
    assert drawn(caught)[0] == drawn(caught)[-1]
    assert {"a", "b", "router"} <= set(drawn(caught))


@every_way
def test_a_cycle_through_an_otherwise_is_drawn(way: Way) -> None:
    a = between(1).named("a")
    b = between(a).named("b")
    a.run_if(False, otherwise=b)
    for target in (a, b, [b]):
        with pytest.raises(cs.CycleError) as caught:
            way.run(target)
        assert set(drawn(caught)) == {"a", "b"}
    itself = between(1).named("itself")
    itself.run_if(False, otherwise=itself)
    with pytest.raises(cs.CycleError):
        way.run(itself)


@every_way
def test_a_cycle_in_what_only_a_jump_leads_to_is_drawn(way: Way) -> None:
    a = between(1).named("a")
    b = between(cs.Router("x", {"a": a, "x": 1})).named("b")
    a.run_if(b)
    start = first()
    cs.bind(start, cs.select_jump({"to_second": b}))
    with pytest.raises(cs.CycleError) as caught:
        way.run(start)
    assert {"a", "b", "router"} <= set(drawn(caught))


@every_way
def test_routes_that_share_nodes_are_no_cycle(way: Way) -> None:
    shared = between(1)
    one = cs.Router("a", {"a": between(shared), "b": shared})
    two = cs.Router("b", {"a": one, "b": between(one)}, default=shared)
    assert way.run([two, between(two).run_if(shared, otherwise=one)]) == [1, 1]


@every_way
def test_many_routers_over_each_other(way: Way) -> None:
    value: Any = between(0)
    for _ in range(2000):
        value = cs.Router("a", {"a": value, "b": value})
    assert way.run(value) == 0
