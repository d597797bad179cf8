"""What events say of loops: task ids, the number of an entry, and ids that are never given twice."""

import asyncio
from typing import Any

import cascade as cs
from cascade.runtime.events import TaskRetrying
from tests.workflows import Body, Way, every_body, every_watched_way, inline


def loop(step: Any) -> Any:
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}))


def numbers(way: Way, task_id: str) -> list[int]:
    """The iterations in which a node began."""
    return [iteration for one, iteration in way.started() if one == task_id]


@inline
def value(x: Any = 0) -> Any:
    return x


@inline
def count(n: int, until: Any = 3, fed: Any = None) -> Any:
    return cs.Jump("again", {"n": n + 1}) if n < until else n


@every_watched_way
def test_outside_of_loops_the_iteration_is_0(way: Way) -> None:
    way.run([value(value(1)), value.map(x=[1, 2])])
    assert sorted(way.started()) == [("value#1", 0), ("value#2", 0), ("value#3[0]", 0), ("value#3[1]", 0)]


@every_watched_way
@every_body
def test_a_loop_and_what_feeds_it_count_its_entries_from_0(way: Way, body: Body) -> None:
    @body
    def feed(x: int) -> int:
        return x

    @body
    def step(n: int, fed: int) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 40 else n

    assert way.run(loop(step(0, feed(feed(1))))) == 40
    assert sorted({one for one, _ in way.started()}) == ["feed#1", "feed#2", "step#1"]
    for task_id in ("step#1", "feed#1", "feed#2"):
        assert numbers(way, task_id) == [*range(41)]
    assert sorted(way.finished()) == sorted(way.started())


@every_watched_way
def test_states_count_the_entries_of_the_loop_together(way: Way) -> None:
    @inline
    def ping(n: int) -> Any:
        return cs.Jump("pong", n + 1)

    @inline
    def pong(n: int, fed: Any) -> Any:
        return cs.Jump("ping", n + 1) if n < 39 else n

    states = {"ping": ping(0), "pong": pong(0, value())}
    for state in states.values():
        cs.bind(state, cs.select_jump(states))
    way.run(states["ping"])
    assert numbers(way, "ping#1") == [*range(0, 40, 2)]
    assert numbers(way, "pong#1") == [*range(1, 40, 2)]
    assert numbers(way, "value#1") == [*range(1, 40, 2)]


@every_watched_way
def test_the_innermost_loop_counts_and_the_outer_one_does_not_reset_it(way: Way) -> None:
    inner = loop(count(0, 3, value().named("inner feed")).named("inner"))
    outer = loop(count(0, 4, [inner, value().named("outer feed")]).named("outer"))
    way.run(outer)
    assert numbers(way, "outer#1") == [*range(5)]
    assert numbers(way, "outer feed#1") == [*range(5)]
    assert numbers(way, "inner#1") == [*range(20)]
    assert len({*numbers(way, "inner feed#1")}) == len(numbers(way, "inner feed#1"))


@every_watched_way
def test_a_node_that_two_loops_run_has_an_id_in_each(way: Way) -> None:
    shared = value().named("shared")
    way.run([loop(count(0, 3, shared).named("one")), loop(count(0, 5, shared).named("two"))])
    assert numbers(way, "one#1") == [*range(4)]
    assert numbers(way, "two#1") == [*range(6)]
    ids = {one for one, _ in way.started() if one.startswith("shared")}
    assert len(ids) == 2
    assert sorted(numbers(way, one) for one in ids) == [[0, 1, 2, 3], [1, 2, 3, 4, 5]]


@every_watched_way
def test_a_loop_that_two_loops_run_has_an_id_in_each(way: Way) -> None:
    inner = loop(count(0, 2).named("inner"))
    way.run([loop(count(0, 3, inner).named("one")), loop(count(0, 5, inner).named("two"))])
    ids = {one for one, _ in way.started() if one.startswith("inner")}
    assert len(ids) == 2
    assert sorted(numbers(way, one) for one in ids) == [[*range(12)], [*range(15)]]


@every_watched_way
def test_items_have_the_number_of_the_item_in_their_id(way: Way) -> None:
    way.run(loop(count.partial(until=30).map(n=[0, 29, 30])))
    assert numbers(way, "count#1[0]") == [*range(31)]
    assert numbers(way, "count#1[1]") == [0, 1]
    assert numbers(way, "count#1[2]") == [0]
    assert len(way.started()) == 34


@every_watched_way
def test_items_in_a_loop_are_counted_on(way: Way) -> None:
    way.run(loop(count(0, 3, loop(count.partial(until=2).map(n=[0, 2]).named("item"))).named("outer")))
    assert numbers(way, "outer#1") == [*range(4)]
    assert numbers(way, "item#1[0]") == [*range(12)]
    assert numbers(way, "item#1[1]") == [*range(4)]


@every_watched_way
def test_a_plain_map_in_a_loop_has_the_iteration_of_the_loop(way: Way) -> None:
    way.run(loop(count(0, 5, value.map(x=[1, 2]))))
    for item in (0, 1):
        assert numbers(way, f"value#1[{item}]") == [*range(6)]


@every_watched_way
def test_the_states_of_an_item_have_its_number(way: Way) -> None:
    @inline
    def item(x: int, n: int = 0) -> Any:
        return cs.Jump("rest", n) if n < x else x

    @inline
    def rest(n: int, fed: Any) -> Any:
        return cs.Jump("work", {"n": n + 1})

    mapped, state = item.map(x=[1, 3]), rest(0, value())
    routes = cs.select_jump({"work": mapped, "rest": state})
    cs.bind(mapped, routes)
    cs.bind(state, routes)
    way.run(mapped)
    assert numbers(way, "item#1[0]") == [0, 2]
    assert numbers(way, "rest#1[0]") == numbers(way, "value#1[0]") == [1]
    assert numbers(way, "item#1[1]") == [0, 2, 4, 6]
    assert numbers(way, "rest#1[1]") == numbers(way, "value#1[1]") == [1, 3, 5]


@every_watched_way
def test_tail_calls_are_entries(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.TailCall([n + 1]) if n < 30 else n

    way.run([step(0), step.map(n=[29, 28]), value(step(30))])
    assert numbers(way, "step#1") == [*range(31)]
    assert sorted(one for one in way.started() if one[0].startswith("step#2")) == [
        *[("step#2[0]", n) for n in range(2)],
        *[("step#2[1]", n) for n in range(3)],
    ]


@every_watched_way
@every_body
def test_tail_calls_in_what_feeds_a_loop_count_on(way: Way, body: Body) -> None:
    left = [0]

    @body
    def feed(n: int) -> Any:
        left[0] += 1
        return cs.TailCall([n + 1]) if n < left[0] % 3 else n

    way.run(loop(count(0, 30, feed(0))))
    assert numbers(way, "count#1") == [*range(31)]
    found = numbers(way, "feed#1")
    assert found[0] == 0
    assert found == sorted(set(found))


@every_watched_way
def test_tail_calls_in_a_map_that_a_loop_runs(way: Way) -> None:
    @inline
    def item(x: int) -> Any:
        return cs.TailCall([x - 1]) if x else "done"

    way.run(loop(count(0, 10, item.map(x=[0, 1, 5]))))
    for at, entries in enumerate((1, 2, 6)):
        found = numbers(way, f"item#1[{at}]")
        assert len(found) == 11 * entries
        assert found == sorted(set(found))


@every_watched_way
def test_another_graph_goes_on_with_the_count(way: Way) -> None:
    @inline
    def start(n: int) -> Any:
        return cs.TailCall([n + 1], target_blueprint_id="end")

    @inline
    def end(n: int, fed: Any) -> Any:
        return cs.TailCall([n + 1], target_blueprint_id="end") if n < 30 else n

    way.run([start(0), start(28)], blueprints={"end": end(0, value())})
    assert [one for one in way.started() if one[0].startswith("start")] == [("start#1", 0), ("start#2", 0)]
    ends = {one for one, _ in way.started() if one.startswith("end")}
    assert sorted(numbers(way, one) for one in ends) == [[1, 2], [*range(1, 31)]]


@every_watched_way
def test_subflows_have_ids_of_their_own(way: Way) -> None:
    inner = loop(count(0, cs.Param("until", 2)))
    way.run([cs.subflow(inner, {"until": n}) for n in (2, 3)])
    assert sorted({one for one, _ in way.started()}) == ["count#1", "count#2"]
    assert [numbers(way, "count#1"), numbers(way, "count#2")] == [[0, 1, 2], [0, 1, 2, 3]]


@every_watched_way
def test_a_subflow_in_a_loop_is_counted_on(way: Way) -> None:
    inner = cs.subflow(value(value(cs.Param("x", 1)).named("deep")))
    way.run(loop(count(0, 5, inner)))
    looped = cs.subflow(loop(count(0, 2).named("inner")))
    way.run(loop(count(0, 5, looped)))
    inners = [one for one in way.started() if one[0].startswith("inner")]
    assert len(inners) == len(set(inners)) == 18


@every_watched_way
def test_the_same_loop_twice_in_one_engine(way: Way) -> None:
    bound = loop(count(0, 30))
    seen = []

    async def main() -> None:
        async with way.engine() as engine:
            for _ in range(2):
                await engine.run(bound)
                seen.append(way.started())
                way.events.clear()

    asyncio.run(main())
    assert seen[0] == seen[1] == [("count#1", n) for n in range(31)]


@every_watched_way
def test_exits_are_counted_as_what_came_after_the_last_entry(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 20 else cs.Jump("out")

    end = value(value().named("feed")).named("end")
    bound = step(0)
    cs.bind(bound, cs.select_jump({"again": bound, "out": end}))
    way.run([bound, end])
    ends = sorted(one for one in way.started() if not one[0].startswith("step"))
    assert len(ends) == 4
    assert [iteration for _, iteration in ends] == [0, 21, 0, 21]


@every_watched_way
def test_retries_have_the_number_of_their_entry(way: Way) -> None:
    attempts: list[int] = []

    @inline
    def step(n: int) -> Any:
        attempts.append(n)
        if attempts.count(n) < 3:
            raise ValueError
        return cs.Jump("again", n + 1) if n < 20 else n

    way.run(loop(step(0).with_retry(3)))
    retries = [event for event in way.events if isinstance(event, TaskRetrying)]
    assert [event.iteration for event in retries] == [n for n in range(21) for _ in range(2)]
    assert numbers(way, "step#1") == [*range(21)]


# --- names


@every_watched_way
def test_a_label_takes_the_place_of_the_name_in_ids_alone(way: Way) -> None:
    way.run([value(1).named("label"), loop(count(0, 30).named("counter")), value.map(x=[1]).named("each")])
    assert {(event.task_id, event.task_name) for event in way.events} == {
        ("label#1", "value"),
        ("counter#1", "count"),
        ("each#1[0]", "value"),
    }


@every_watched_way
def test_nodes_are_numbered_by_name_in_the_order_in_which_they_run(way: Way) -> None:
    other = cs.task(mode="inline", name="other")(lambda *inputs: inputs)
    first = value("first")
    target = other(first, value(other(value("deep"))), [value("packed")], first)
    way.run(target)
    assert [one for one, _ in way.started()] == ["value#1", "value#2", "other#1", "value#3", "value#4", "other#2"]


@every_watched_way
def test_a_subflow_has_nodes_of_its_own(way: Way) -> None:
    calls = []

    @inline
    def shared() -> int:
        calls.append("shared")
        return len(calls)

    node = shared()
    assert sorted(way.run([node, cs.subflow(node), cs.subflow(value(node))])) == [1, 2, 3]
    assert sorted(one for one, _ in way.started()) == ["shared#1", "shared#2", "shared#3", "value#1"]
