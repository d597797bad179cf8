"""Loops compose: a bound result is a value like any other, and an item of a bound map is a loop of its own."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from tests.workflows import Body, Way, every_body, every_way, inline, notes_of


def loop(step: Any, **options: Any) -> Any:
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}), **options)


@inline
def count(n: int, until: int = 40) -> Any:
    return cs.Jump("again", {"n": n + 1}) if n < until else n


@inline
def join(*values: Any, **named: Any) -> Any:
    return (*values, named) if named else values


# --- as a value


@every_way
@every_body
def test_a_loop_feeds_other_tasks(way: Way, body: Body) -> None:
    @body
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 40 else cs.Jump("exit", n * 2)

    bound = loop(step(0))
    assert way.run(join(bound, [bound, {"deep": bound}], last=bound)) == (80, [80, {"deep": 80}], {"last": 80})


@every_way
def test_a_loop_feeds_a_loop(way: Way) -> None:
    first = loop(count(0, 30))
    second = loop(count(first, 60))
    third = loop(count(0, second))
    assert way.run([third, second, first]) == [60, 60, 30]


@every_way
def test_a_loop_in_a_route(way: Way) -> None:
    calls = []

    @inline
    def step(n: int, name: str) -> Any:
        calls.append(name)
        return cs.Jump("again", {"n": n + 1}) if n < 30 else name

    def router(key: Any) -> Any:
        return cs.Router(key, {"a": loop(step(0, "a")), "b": loop(step(0, "b"))}, default=loop(step(0, "c")))

    for key in ("a", "b", "c"):
        calls.clear()
        assert way.run(join(router(key))) == (key,)
        assert calls == [key] * 31


@every_way
def test_a_loop_as_a_selector_a_condition_and_an_otherwise(way: Way) -> None:
    assert way.run(cs.Router(loop(count(0, 30)), {30: "thirty"})) == "thirty"
    assert way.run(join(1).run_if(loop(count(-40, 0)), otherwise=loop(count(0)))) == 40
    assert way.run(join(1).run_if(loop(count(0)))) == (1,)


@every_way
def test_a_loop_with_a_condition_of_its_own(way: Way) -> None:
    assert way.run(loop(count(0).run_if(False, otherwise="none"))) == "none"
    assert way.run(loop(count(join(1)).run_if(False))) == (1,)


@every_way
def test_a_loop_before_and_after_others(way: Way) -> None:
    order: list[Any] = []

    @inline
    def note(name: str, n: int = 0) -> Any:
        order.append(name)
        return cs.Jump("again", {"n": n + 1}) if name == "loop" and n < 30 else name

    first = note("first")
    looped = loop(note("loop").after(first))
    assert way.run(note("last").after(looped)) == "last"
    assert order == ["first", *["loop"] * 31, "last"]


@every_way
def test_a_loop_among_the_items_of_a_map(way: Way) -> None:
    assert way.run(join.partial(last=1).map(first=[loop(count(0, n)) for n in (3, 30, 40)])) == [
        ({"last": 1, "first": n},) for n in (3, 30, 40)
    ]


@every_way
def test_a_loop_that_gives_the_list_to_map_over(way: Way) -> None:
    @inline
    def collect(found: tuple[int, ...]) -> Any:
        return cs.Jump("again", {"found": (*found, len(found))}) if len(found) < 30 else found

    assert way.run(cs.task(lambda x: x * 2).map(x=loop(collect(())))) == [*range(0, 60, 2)]


@every_way
def test_a_loop_in_a_pipeline_and_a_sequence(way: Way) -> None:
    looped: list[Any] = []

    def counted(value: Any) -> Any:
        looped.append(loop(count(value)))
        return looped[-1]

    assert way.run(cs.pipeline(5, [counted, join])) == (40,)
    assert way.run(cs.sequence([join(1), loop(count(0)), join(2)])) == (2,)


@every_way
def test_a_loop_in_a_subflow(way: Way) -> None:
    inner = loop(count(0, cs.Param("until", 0)))
    assert way.run([cs.subflow(inner, {"until": n}) for n in (0, 3, 40)]) == [0, 3, 40]


@every_way
def test_a_subflow_that_loops_in_each_entry(way: Way) -> None:
    calls = []

    @inline
    def inner(n: int) -> Any:
        calls.append(n)
        return cs.Jump("again", n + 1) if n < 20 else n

    @inline
    def step(n: int, inner: int) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 20 else (n, inner)

    assert way.run(loop(step(0, cs.subflow(loop(inner(cs.Param("from", 0))), {"from": 18})))) == (20, 20)
    assert calls == [18, 19, 20] * 21


# --- in other loops


@every_way
@every_body
def test_a_loop_in_a_loop_starts_again_in_each_entry(way: Way, body: Body) -> None:
    calls: list[Any] = []

    @body
    def inner(n: int) -> Any:
        calls.append(n)
        return cs.Jump("again", n + 1) if n < 3 else ("inner", n)

    @body
    def outer(n: int, value: Any) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 20 else (n, value)

    assert way.run(loop(outer(0, loop(inner(0))))) == (20, ("inner", 3))
    assert calls == [0, 1, 2, 3] * 21


@every_way
def test_loops_three_deep(way: Way) -> None:
    calls = [0, 0, 0]

    def level(depth: int, until: int) -> Any:
        @inline
        def step(n: int, below: Any = None) -> Any:
            calls[depth] += 1
            return cs.Jump("again", {"n": n + 1}) if n < until else (n, below)

        return step

    innermost = loop(level(2, 4)(0))
    middle = loop(level(1, 5)(0, innermost))
    assert way.run(loop(level(0, 6)(0, middle))) == (6, (5, (4, None)))
    assert calls == [7, 7 * 6, 7 * 6 * 5]


@every_way
def test_an_inner_loop_that_is_overridden_does_not_run(way: Way) -> None:
    calls = []

    @inline
    def inner(n: int) -> Any:
        calls.append(n)
        return cs.Jump("again", n + 1) if n < 3 else n

    @inline
    def outer(n: int, value: Any) -> Any:
        return cs.Jump("again", {"n": n + 1, "value": "sent"}) if n < 30 else value

    assert way.run(loop(outer(0, loop(inner(0))))) == "sent"
    assert calls == [0, 1, 2, 3]


@every_way
def test_two_inner_loops_side_by_side(way: Way) -> None:
    @cs.task
    async def inner(n: int, until: int) -> Any:
        await asyncio.sleep(0)
        return cs.Jump("again", n + 1) if n < until else n

    @inline
    def outer(n: int, a: int, b: int) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 20 else (a, b)

    assert way.run(loop(outer(0, loop(inner(0, 3)), loop(inner(0, 5))))) == (3, 5)


@every_way
def test_an_inner_machine_in_an_outer_machine(way: Way) -> None:
    @inline
    def tick(n: int) -> Any:
        return cs.Jump("tock", n + 1)

    @inline
    def tock(n: int) -> Any:
        return cs.Jump("tick", n + 1) if n < 9 else n

    @inline
    def left(total: int, inner: int) -> Any:
        return cs.Jump("right", {"total": total + inner})

    @inline
    def right(total: int, inner: int) -> Any:
        return cs.Jump("left", {"total": total + inner}) if total < 200 else total

    clock = {"tick": tick(0), "tock": tock(0)}
    for state in clock.values():
        cs.bind(state, cs.select_jump(clock))
    sides = {"left": left(0, clock["tick"]), "right": right(0, clock["tock"])}
    for state in sides.values():
        cs.bind(state, cs.select_jump(sides))
    # left adds 9, right adds 10 (its clock starts at the other hand), until right is entered with 200 or more
    assert way.run(sides["left"]) == 218


@every_way
def test_an_error_in_an_inner_loop(way: Way) -> None:
    turns = iter(range(1000))

    @inline
    def inner(n: int) -> Any:
        if next(turns) == 50:
            raise ArithmeticError("inner")
        return cs.Jump("again", n + 1) if n < 3 else n

    @inline
    def outer(n: int, value: Any) -> Any:
        return cs.Jump("again", {"n": n + 1})

    with pytest.raises(ArithmeticError, match="inner") as caught:
        way.run(loop(outer(0, loop(inner(0)))))
    assert len(notes_of(caught.value)) == 1
    assert "inner#1" in notes_of(caught.value)[0]
    assert "iteration 50," in notes_of(caught.value)[0]


@every_way
def test_inner_limits_hold_for_each_start(way: Way) -> None:
    @inline
    def outer(n: int, value: Any) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 30 else value

    assert way.run(loop(outer(0, loop(count(0, 3), max_iterations=4)))) == 3
    with pytest.raises(cs.JumpError, match="max_iterations=3"):
        way.run(loop(outer(0, loop(count(0, 3), max_iterations=3))))


@every_way
def test_ten_thousand_nested_entries(way: Way) -> None:
    total = [0]

    @inline
    def inner(n: int) -> Any:
        total[0] += 1
        return cs.Jump("again", n + 1) if n < 99 else n

    @inline
    def outer(n: int, value: Any) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 99 else n

    assert way.run(loop(outer(0, loop(inner(0))))) == 99
    assert total == [10_000]


# --- bound maps


@every_way
@every_body
def test_each_item_of_a_bound_map_loops(way: Way, body: Body) -> None:
    @body
    def step(n: int, until: int, entries: int = 1) -> Any:
        return cs.Jump("again", {"n": n + 1, "entries": entries + 1}) if n < until else (n, entries)

    mapped = loop(step.partial(until=40).map(n=[40, 0, 39, 10]))
    assert way.run(mapped) == [(40, 1), (40, 41), (40, 2), (40, 31)]
    assert way.run(join(mapped, mapped)) == ([(40, 1), (40, 41), (40, 2), (40, 31)],) * 2


@every_way
@every_body
def test_an_entry_of_an_item_starts_from_its_declared_arguments(way: Way, body: Body) -> None:
    seen: list[Any] = []

    @body
    def step(x: int, y: int, n: int = 0) -> Any:
        seen.append((x, y, n))
        return cs.Jump("again", {"n": n + 1} if n % 2 else {"n": n + 1, "y": -1}) if n < 30 else x

    assert way.run(loop(step.map(x=[1, 2], y=[10, 20]))) == [1, 2]
    for x, y in ((1, 10), (2, 20)):
        expected = [(x, -1 if n % 2 else y, n) for n in range(31)]
        assert [one for one in seen if one[0] == x] == expected


@every_way
def test_the_inputs_of_a_mapped_result_are_read_once(way: Way) -> None:
    calls = []

    @inline
    def numbers() -> list[int]:
        calls.append("numbers")
        return [1, 2]

    @inline
    def fixed() -> int:
        calls.append("fixed")
        return 5

    @inline
    def step(x: int, fixed: int, n: int = 0) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 30 else x * fixed

    assert way.run(loop(step.partial(fixed=fixed()).map(x=numbers()))) == [5, 10]
    assert sorted(calls) == ["fixed", "numbers"]


@every_way
@pytest.mark.parametrize("data", [5, {"x": 5}, None, cs.Value(5)], ids=str)
def test_data_for_an_item(way: Way, data: Any) -> None:
    left = [60]

    @inline
    def step(x: int, y: int) -> Any:
        left[0] -= 1
        return cs.Jump("again", data) if left[0] > 0 else (x, y)

    x = 1 if data is None else 5
    assert way.run(loop(step.map(x=[1], y=[2]))) == [(x, 2)]


@every_way
def test_an_item_is_told_of_a_wrong_name(way: Way) -> None:
    @inline
    def step(count: int) -> Any:
        return cs.Jump("again", {"count": count + 1} if count < 30 else {"cuont": 1})

    with pytest.raises(cs.JumpError, match=r"'cuont' to step.*did you mean 'count'") as caught:
        way.run(loop(step.map(count=[0])))
    assert any("step#1[0]" in note and "iteration 30" in note for note in notes_of(caught.value))


@every_way
def test_bound_maps_of_several_tasks(way: Way) -> None:
    def stepping(by: int) -> Any:
        @inline
        def step(n: int) -> Any:
            return cs.Jump("again", n + by) if n < 100 else (by, n)

        return loop(step.map(n=[1, 2]))

    assert way.run([stepping(1), stepping(2), stepping(3)]) == [
        [(1, 100), (1, 100)],
        [(2, 101), (2, 100)],
        [(3, 100), (3, 101)],
    ]


@every_way
def test_a_bound_map_in_a_loop_with_arguments_of_the_same_names(way: Way) -> None:
    @inline
    def item(x: int, item: int) -> Any:
        return cs.Jump("again", {"item": item, "x": x + 1}) if x < 30 else x

    @inline
    def step(x: int, item: int, items: Any) -> Any:
        return cs.Jump("again", {"item": item + 1, "x": x}) if item < 30 else (x, item, items)

    assert way.run(loop(step(1, 2, loop(item.map(x=[1, 2], item=[3, 4]))))) == (1, 30, [30, 30])


@every_way
@pytest.mark.parametrize("concurrency", [1, 2, None])
def test_items_loop_side_by_side_as_many_as_may(way: Way, concurrency: int | None) -> None:
    running, most = [0], [0]

    @cs.task
    async def step(n: int) -> Any:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0)
        running[0] -= 1
        return cs.Jump("again", n + 1) if n < 20 else n

    assert way.run(loop(step.map(n=[0, 1, 2, 3, 4], concurrency=concurrency))) == [20] * 5
    assert most[0] == (concurrency or 5)


@every_way
def test_an_empty_bound_map(way: Way) -> None:
    assert way.run(loop(count.map(n=[]))) == []


@every_way
def test_many_items(way: Way) -> None:
    assert way.run(loop(count.partial(until=30).map(n=[*range(300)]))) == [max(n, 30) for n in range(300)]


@every_way
def test_methods_as_items(way: Way) -> None:
    class Adder:
        def __init__(self, by: int) -> None:
            self.by = by

        @cs.task
        def add(self, n: int) -> Any:
            return cs.Jump("again", n + self.by) if n < 40 else (self.by, n)

    assert way.run([loop(Adder(by).add.map(n=[0, 1])) for by in (1, 3)]) == [[(1, 40), (1, 40)], [(3, 42), (3, 40)]]


@every_way
def test_max_iterations_counts_each_item_by_itself(way: Way) -> None:
    assert way.run(loop(count.map(n=[36, 37, 40]), max_iterations=5)) == [40] * 3
    with pytest.raises(cs.JumpError, match="max_iterations=4"):
        way.run(loop(count.map(n=[36, 37, 40]), max_iterations=4))


@every_way
def test_items_that_make_tail_calls(way: Way) -> None:
    @inline
    def step(n: int, until: int) -> Any:
        return cs.TailCall(kwargs={"n": n + 1}) if n < until else (n, until)

    assert way.run(step.map(n=[0, 10, 50], until=[40, 41, 42])) == [(40, 40), (41, 41), (50, 42)]


@every_way
def test_items_retry_in_each_entry(way: Way) -> None:
    attempts: list[Any] = []

    @inline
    def step(n: int) -> Any:
        attempts.append(n)
        if attempts.count(n) < 2:
            raise ValueError(n)
        return cs.Jump("again", n + 1) if n % 20 else n

    assert way.run(loop(step.map(n=[1, 21]).with_retry(2))) == [20, 40]
    assert all(attempts.count(n) == 2 for n in attempts)


@every_way
def test_an_error_in_an_item_says_which_item_and_entry(way: Way) -> None:
    @inline
    def step(n: int, bad: int) -> Any:
        if n == bad:
            raise ArithmeticError("item")
        return cs.Jump("again", n + 1) if n < 40 else n

    with pytest.raises(ArithmeticError) as caught:
        way.run(loop(step.map(n=[0, 0, 0], bad=[-1, 25, -1])))
    assert "step#1[1]" in notes_of(caught.value)[0]
    assert "iteration 25," in notes_of(caught.value)[0]


# --- machines of items


@every_way
@every_body
def test_items_go_through_other_states_and_come_back(way: Way, body: Body) -> None:
    seen: list[Any] = []

    @body
    def item(x: int, n: int = 0) -> Any:
        seen.append((x, n))
        return cs.Jump("rest", {"n": n + 1, "x": x}) if n < 20 else x * 100

    @body
    def rest(n: int, x: int) -> Any:
        return cs.Jump("work", {"n": n})

    mapped, state = item.map(x=[1, 2, 3]), rest(0, 0)
    routes = cs.select_jump({"work": mapped, "rest": state})
    cs.bind(mapped, routes)
    cs.bind(state, routes)
    assert way.run(mapped) == [100, 200, 300]
    for x in (1, 2, 3):
        assert [one for one in seen if one[0] == x] == [(x, n) for n in range(21)]


@every_way
def test_a_state_of_items_has_inputs_of_its_own(way: Way) -> None:
    fed = []

    @inline
    def feed() -> str:
        fed.append("fed")
        return "fed"

    @inline
    def item(x: int, n: int = 0) -> Any:
        return cs.Jump("rest", n + 1) if n < 3 else x

    @inline
    def rest(n: int, value: str) -> Any:
        return cs.Jump("work", {"n": n})

    mapped, state = item.map(x=[1, 2]), rest(0, feed())
    routes = cs.select_jump({"work": mapped, "rest": state})
    cs.bind(mapped, routes)
    cs.bind(state, routes)
    assert way.run(mapped) == [1, 2]
    assert len(fed) == 6


@every_way
def test_elsewhere_a_route_to_a_mapped_result_is_an_exit_with_the_list(way: Way) -> None:
    @inline
    def item(x: int) -> Any:
        return cs.Jump("again", x + 1) if x < 40 else x

    @inline
    def start() -> Any:
        return cs.Jump("items")

    mapped, first = loop(item.map(x=[0, 50])), start()
    cs.bind(first, cs.select_jump({"items": mapped}))
    assert way.run(first) == [40, 50]

    @inline
    def elsewhere(x: int) -> Any:
        return cs.Jump("items", {"x": [x, 45]} if x else None)

    other = elsewhere.map(x=[0, 39])
    cs.bind(other, cs.select_jump({"items": mapped}))
    assert way.run(other) == [[40, 50], [40, 45]]


@every_way
def test_an_item_whose_loop_has_nothing_leaves_the_map_with_nothing(way: Way) -> None:
    @inline
    def item(x: int) -> Any:
        return cs.Jump("gone") if x == 2 else x

    mapped = item.map(x=[1, 2, 3])
    cs.bind(mapped, cs.select_jump({"gone": join(1).run_if(False)}))
    assert way.run(join(mapped).run_if(True, otherwise="nothing")) == "nothing"
    with pytest.raises(cs.DependencyMissingError):
        way.run(mapped)


@every_way
def test_a_bound_map_in_each_entry_of_a_loop(way: Way) -> None:
    @inline
    def outer(n: int, items: Any) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 20 else items

    assert way.run(loop(outer(0, loop(count.partial(until=5).map(n=[0, 3, 5]))))) == [5, 5, 5]


@every_way
def test_cancelling_items_in_the_middle(way: Way) -> None:
    @cs.task
    async def step(n: int) -> Any:
        await asyncio.sleep(0)
        if n == 120:
            raise LookupError("one of them")
        return cs.Jump("again", n + 1)

    with pytest.raises(LookupError, match="one of them"):
        way.run(loop(step.map(n=[100, -(10**9), 0])))
