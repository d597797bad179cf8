"""State machines: routes that lead to different tasks, and what happens where a state is left or skipped."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from tests.workflows import Body, Tier, Way, every_body, every_tier, every_watched_way, every_way, inline, notes_of


@inline
def plain(value: Any = "declared", other: Any = "other") -> Any:
    return value, other


@inline
def leave(data: Any) -> cs.Jump:
    return cs.Jump("out", data)


def leaving(data: Any, target: Any) -> Any:
    """A loop that at once leads to `target` with this data."""
    return cs.bind(leave(cs.Value(data)), cs.select_jump({"out": target}))


# --- where routes lead


@every_way
@every_body
def test_routes_lead_to_different_tasks(way: Way, body: Body) -> None:
    @body
    def green(log: tuple[str, ...]) -> Any:
        return cs.Jump("next", (*log, "g"))

    @body
    def yellow(log: tuple[str, ...]) -> Any:
        return cs.Jump("next", (*log, "y"))

    @body
    def red(log: tuple[str, ...]) -> Any:
        return cs.Jump("next" if len(log) < 60 else "off", (*log, "r"))

    first, second, third = green(()), yellow(()), red(())
    cs.bind(first, cs.select_jump({"next": second}))
    cs.bind(second, cs.select_jump({"next": third}))
    cs.bind(third, cs.select_jump({"next": first, "off": None}))
    assert "".join(way.run(first)) == "gyr" * 21


@every_way
@every_body
def test_the_selector_of_the_task_that_jumps_rules(way: Way, body: Body) -> None:
    @body
    def a(n: int) -> Any:
        return cs.Jump("go", n + 1)

    @body
    def b(n: int) -> Any:
        return cs.Jump("go", n + 10)

    @body
    def c(n: int) -> Any:
        return cs.Jump("go", n + 100)

    first, second, third = a(0), b(0), c(0)
    cs.bind(first, cs.select_jump({"go": second}))
    cs.bind(second, cs.select_jump({"go": third}))
    cs.bind(third, cs.select_jump({"go": None}))
    assert way.run(first) == 111


@every_way
def test_a_key_leads_back_for_a_while_and_then_elsewhere(way: Way) -> None:
    @inline
    def count(n: int, until: int = 50) -> Any:
        return cs.Jump("go", n + 1) if n < until else cs.Jump("on", n)

    @inline
    def back(n: int) -> Any:
        return cs.Jump("go", n + 1) if n % 7 else cs.Jump("on", {"n": n, "until": n + 50})

    @inline
    def last(n: int, until: int) -> Any:
        return cs.Jump("on", n + until)

    first, second, third = count(0), back(0), last(0, 0)
    cs.bind(first, cs.select_jump({"go": first, "on": second}))
    cs.bind(second, cs.select_jump({"go": second, "on": third}))
    cs.bind(third, cs.select_jump({"on": None}))
    assert way.run(first) == 56 + 106


@every_way
def test_tasks_of_all_kinds_in_one_machine(way: Way) -> None:
    @cs.task(mode="blocking")
    def threaded(n: int) -> Any:
        return cs.Jump("async", n + 1)

    @cs.task
    async def awaiting(n: int) -> Any:
        await asyncio.sleep(0)
        return cs.Jump("inline", n + 1)

    @inline
    def placed(n: int) -> Any:
        return cs.Jump("auto", n + 1)

    @cs.task
    def automatic(n: int) -> Any:
        return cs.Jump("threaded", n + 1) if n < 60 else n

    states = {"threaded": threaded(0), "async": awaiting(0), "inline": placed(0), "auto": automatic(0)}
    for state in states.values():
        cs.bind(state, cs.select_jump(states))
    assert way.run(states["threaded"]) == 63
    assert way.run(states["auto"]) == 60


@every_way
def test_a_state_that_is_not_entered_never_runs(way: Way) -> None:
    calls: list[Any] = []

    @inline
    def other(n: int, feed: Any) -> Any:
        calls.append(n)

    @inline
    def feed() -> None:
        calls.append("feed")

    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n - 1) if n else cs.Jump("exit", "done")

    bound, unused = step(30), other(1, feed())
    cs.bind(bound, cs.select_jump({"again": bound, "exit": None, "unused": unused}))
    cs.bind(unused, cs.select_jump({"again": bound}))
    assert way.run(bound) == "done"
    assert calls == []
    assert way.skipped() == []


@every_way
@every_body
def test_a_state_entered_by_several_routes_with_different_overrides(way: Way, body: Body) -> None:
    seen: list[Any] = []

    @body
    def hub(a: Any = "A", b: Any = "B", *, c: Any = "C") -> Any:
        seen.append((a, b, c))
        return cs.Jump(len(seen) % 4)

    @body
    def by_name() -> Any:
        return cs.Jump("hub", {"b": 1, "c": 2})

    @body
    def by_place() -> Any:
        return cs.Jump("hub", "placed")

    @body
    def unchanged() -> Any:
        return cs.Jump("hub")

    @body
    def by_value() -> Any:
        return cs.Jump("hub", cs.Value(None)) if len(seen) < 60 else "done"

    center, spokes = hub(b="declared"), [by_name(), by_place(), unchanged(), by_value()]
    cs.bind(center, cs.select_jump({0: spokes[3], 1: spokes[0], 2: spokes[1], 3: spokes[2]}))
    for spoke in spokes:
        cs.bind(spoke, cs.select_jump({"hub": center}))
    assert way.run(center) == "done"
    expected = [("A", "declared", "C"), ("A", 1, 2), ("placed", "declared", "C"), ("A", "declared", "C")]
    assert seen[:4] == expected
    assert seen[4:8] == [(None, "declared", "C"), *expected[1:]]
    assert seen[8:] == seen[4:8] * 13


@every_way
def test_two_nodes_of_one_task_are_two_states(way: Way) -> None:
    @inline
    def step(n: int, name: str, bonus: int = 0) -> Any:
        return cs.Jump("same" if n % 20 else "other", n + 1 + bonus) if n < 200 else (n, name)

    first, second = step(0, "first"), step(0, "second", bonus=1)
    cs.bind(first, cs.select_jump({"same": first, "other": second}))
    cs.bind(second, cs.select_jump({"same": second, "other": first}))

    def expected() -> tuple[int, str]:
        n, at = 0, 0
        while n < 200:
            n, at = n + 1 + at, at if n % 20 else 1 - at
        return n, ("first", "second")[at]

    assert way.run(first) == expected()


@every_way
def test_tail_calls_of_two_nodes_of_one_task_keep_their_own_arguments(way: Way) -> None:
    @inline
    def step(n: int, name: str = "first") -> Any:
        if n == 50 and name == "first":
            return cs.Jump("other", 51)
        return cs.TailCall(kwargs={"n": n + 1}) if n < 120 else (n, name)

    first, second = step(0), step(0, "second")
    for state in (first, second):
        cs.bind(state, cs.select_jump({"other": second}))
    assert way.run(first) == (120, "second")


@every_way
def test_retries_hold_for_the_state_that_has_them(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        calls.append(n)
        if n in (80, 130) and calls.count(n) < 3:
            raise ValueError(n)
        if n == 50:
            return cs.Jump("second", 51)
        if n == 120:
            return cs.Jump("first", 121)
        return cs.TailCall(kwargs={"n": n + 1})

    calls: list[int] = []
    first, second = step(0), step(0).with_retry(3)
    for state in (first, second):
        cs.bind(state, cs.select_jump({"first": first, "second": second}))
    with pytest.raises(ValueError, match="130"):
        way.run(first)
    assert calls.count(80) == 3
    assert calls.count(130) == 1


# --- the limit


@every_way
def test_max_iterations_counts_all_states_together(way: Way) -> None:
    calls: list[str] = []

    @inline
    def ping() -> Any:
        calls.append("ping")
        return cs.Jump("on")

    @inline
    def pong() -> Any:
        calls.append("pong")
        return cs.Jump("on")

    for limited in (0, 1):
        states = [ping(), pong()]
        for at, state in enumerate(states):
            cs.bind(state, cs.select_jump({"on": states[1 - at]}), max_iterations=5 if at == limited else None)
        calls.clear()
        with pytest.raises(cs.JumpError, match="max_iterations=5"):
            way.run(states[0])
        assert calls == ["ping", "pong", "ping", "pong", "ping"]


@every_way
def test_a_limit_holds_in_states_that_have_none_themselves(way: Way) -> None:
    @inline
    def first() -> Any:
        return cs.Jump("on", 0)

    @inline
    def second(n: int) -> Any:
        return cs.Jump("on", n + 1) if n < 1000 else n

    start, rest = first(), second(0)
    cs.bind(start, cs.select_jump({"on": rest}), max_iterations=30)
    cs.bind(rest, cs.select_jump({"on": rest}))
    with pytest.raises(cs.JumpError, match="has had 30 entries"):
        way.run(start)
    assert way.run(rest) == 1000  # a loop of its own, which never enters the limited state


@every_way
@pytest.mark.parametrize("target", [plain(), plain.map(value=[1]), cs.Router("a", {"a": plain()}), cs.Param("p", 1)])
def test_an_exit_does_not_count_towards_max_iterations(way: Way, target: Any) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 4 else cs.Jump("out")

    bound = step(0)
    cs.bind(bound, cs.select_jump({"again": bound, "out": target}), max_iterations=5)
    way.run(bound)
    cs.bind(bound, cs.select_jump({"again": bound, "out": target}), max_iterations=4)
    with pytest.raises(cs.JumpError, match="max_iterations=4"):
        way.run(bound)


# --- exits


@every_way
@every_body
@pytest.mark.parametrize(
    ("data", "result"),
    [
        (None, ("V", "O")),
        (5, (5, "O")),
        ({"other": 6}, ("V", 6)),
        ({"other": 6, "value": 7}, (7, 6)),
        (cs.Value({"other": 6}), ({"other": 6}, "O")),
    ],
    ids=str,
)
def test_a_route_to_an_unbound_result_takes_data_as_its_arguments(way: Way, body: Body, data: Any, result: Any) -> None:
    task = body(lambda value, other: (value, other))
    assert way.run(leaving(data, task("V", "O"))) == result


@every_way
def test_an_exit_may_make_tail_calls_but_not_jump(way: Way) -> None:
    @inline
    def down(n: int) -> Any:
        return cs.TailCall(kwargs={"n": n - 1}) if n else "bottom"

    assert way.run(leaving(40, down(1))) == "bottom"
    with pytest.raises(cs.JumpError, match="not bound"):
        way.run(leaving(None, leave(cs.Value(1))))


@every_way
def test_exits_that_are_not_calls(way: Way) -> None:
    chosen = cs.Router(cs.Param("key", "a"), {"a": plain(1), "b": plain(2)}, default=3)
    assert way.run(leaving(None, chosen)) == (1, "other")
    assert way.run(leaving(None, chosen), {"key": "b"}) == (2, "other")
    assert way.run(leaving(None, chosen), {"key": "c"}) == 3
    assert way.run(leaving(None, cs.Param("p", 4))) == 4
    assert way.run(leaving(None, cs.Param("p", 4)), {"p": "5"}) == 5
    assert way.run(leaving(None, cs.subflow(plain(cs.Param("q", 0)), {"q": 6}))) == (6, "other")
    assert way.run(leaving(None, plain.map(value=[1, 2]))) == [(1, "other"), (2, "other")]
    assert way.run(leaving({"value": [3]}, plain.map(value=[1, 2]))) == [(3, "other")]
    for target in (chosen, cs.Param("p", 4), cs.subflow(plain())):
        with pytest.raises(cs.JumpError, match="takes no arguments"):
            way.run(leaving(1, target))


@every_way
def test_an_exit_that_is_another_loop_is_a_state(way: Way) -> None:
    @inline
    def down(n: int) -> Any:
        return cs.Jump("again", n - 1) if n else "bottom"

    bound = down(0)
    cs.bind(bound, cs.select_jump({"again": bound}))
    assert way.run(leaving(40, bound)) == "bottom"


@every_way
def test_a_step_may_depend_on_its_own_exit(way: Way) -> None:
    exit = plain(1, 2)

    @inline
    def step(value: Any, n: int = 0) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 30 else cs.Jump("out", {"other": (n, value)})

    bound = step(exit)
    cs.bind(bound, cs.select_jump({"again": bound, "out": exit}))
    assert way.run(bound) == (1, (30, (1, 2)))


@every_way
def test_the_node_that_others_read_is_also_an_exit(way: Way) -> None:
    calls = []

    @inline
    def shared(value: str = "declared") -> str:
        calls.append(value)
        return value

    node = shared()
    assert way.run([node, leaving("sent", node)]) == ["declared", "sent"]
    assert sorted(calls) == ["declared", "sent"]


# --- loops that share


@every_way
def test_a_state_read_by_two_others_is_one_loop(way: Way) -> None:
    calls = []

    @inline
    def step(n: int) -> Any:
        calls.append(n)
        return cs.Jump("again", n + 1) if n < 20 else n

    bound = step(0)
    cs.bind(bound, cs.select_jump({"again": bound}))
    assert way.run([plain(bound), plain(other=bound), bound]) == [(20, "other"), ("declared", 20), 20]
    assert calls == [*range(21)]


@every_way
@pytest.mark.parametrize("order", ["pq", "qp"])
def test_two_states_read_as_values_are_two_loops(way: Way, order: str) -> None:
    calls = []

    @inline
    def p(n: int) -> Any:
        calls.append(("p", n))
        return cs.Jump("on", n + 1) if n < 4 else n

    @inline
    def q(n: int) -> Any:
        calls.append(("q", n))
        return cs.Jump("on", n + 1) if n < 5 else n

    states = {"p": p(0), "q": q(0)}
    cs.bind(states["p"], cs.select_jump({"on": states["q"]}))
    cs.bind(states["q"], cs.select_jump({"on": states["p"]}))
    result = way.run([states[name] for name in order])
    assert result == [{"p": 4, "q": 5}[name] for name in order]
    assert sorted(calls) == sorted([("pq"[n % 2], n) for n in range(5)] + [("qp"[n % 2], n) for n in range(6)])


@every_watched_way
def test_two_loops_have_copies_of_what_they_both_enter(way: Way) -> None:
    @inline
    def p(n: int) -> Any:
        return cs.Jump("on", n + 1) if n < 3 else n

    first, second = p(0).named("p"), p(0).named("q")
    cs.bind(first, cs.select_jump({"on": second}))
    cs.bind(second, cs.select_jump({"on": first}))
    way.run([first, second])
    started = way.started()  # each loop in its order; where one gives others a turn, the other may go on in between
    assert [call for call in started if call[0] in ("p#1", "q#1.1")] == [
        ("p#1", 0),
        ("q#1.1", 1),
        ("p#1", 2),
        ("q#1.1", 3),
    ]
    assert [call for call in started if call[0] in ("q#1", "p#1.2")] == [
        ("q#1", 0),
        ("p#1.2", 1),
        ("q#1", 2),
        ("p#1.2", 3),
    ]


# --- states that are skipped


def machine(way: Way, state: Any, after: Any = None) -> Any:
    """Run a loop that jumps into `state`, and something after it."""
    start = leaving(None, state)
    return way.run([start, plain("ran").after(start)] if after is None else after(start))


@every_way
@pytest.mark.parametrize("bound", [False, True])
def test_a_state_that_is_skipped_ends_the_loop(way: Way, bound: bool) -> None:
    def state(node: Any) -> Any:
        return cs.bind(node, cs.select_jump({"x": None})) if bound else node

    ran = ("ran", "other")
    assert machine(way, state(plain().run_if(False, otherwise="instead"))) == ["instead", ran]
    assert machine(way, state(plain().run_if(False, otherwise=plain(1)))) == [(1, "other"), ran]
    assert machine(way, state(plain(plain(2)).run_if(False))) == [(2, "other"), ran]
    assert machine(way, state(plain(cs.Param("p", 3)).run_if(False))) == [3, ran]
    assert machine(way, state(plain(plain(4), 5).run_if(plain(6).run_if(False)))) == [(4, "other"), ran]
    with pytest.raises(cs.DependencyMissingError, match="ConditionFalse"):
        machine(way, state(plain(7).run_if(False)))
    with pytest.raises(cs.DependencyMissingError, match="UpstreamSkipped_Sequence"):
        machine(way, state(plain(7).after(plain().run_if(False))))
    with pytest.raises(cs.DependencyMissingError, match="UpstreamSkipped_Data"):
        machine(way, state(plain(7, other=plain().run_if(False))))


@every_way
def test_a_skipped_state_gives_nothing_to_readers_but_the_loop_has_run(way: Way) -> None:
    loop = leaving(None, plain(1).run_if(False))
    reader = plain(loop, 2).run_if(True, otherwise="no value")
    assert way.run([reader, plain("ran").after(loop)]) == ["no value", ("ran", "other")]


@every_way
def test_an_exit_to_a_router_with_a_skipped_route_has_run(way: Way) -> None:
    router = cs.Router("a", {"a": plain(1).run_if(False, otherwise="instead")})
    assert machine(way, router) == ["instead", ("ran", "other")]


@every_way
@pytest.mark.parametrize("twice", [False, True])
def test_a_first_argument_that_was_overridden_does_not_stand_in(way: Way, twice: bool) -> None:
    feed = plain(1)
    state = plain(feed, feed if twice else 2).run_if(False)
    assert way.run(leaving({"other": 5}, state)) == (1, "other")
    with pytest.raises(cs.DependencyMissingError):
        way.run(leaving({"value": 5}, state))
    with pytest.raises(cs.DependencyMissingError):
        way.run(leaving({"value": 5}, plain(other=feed, value=feed).run_if(False)))


@every_way
def test_conditions_read_the_otherwise_of_a_loop_but_nothing_passed_through(way: Way) -> None:
    given = leaving(None, plain(plain()).run_if(False, otherwise=True))
    passed = leaving(None, plain(plain()).run_if(False))
    assert way.run(plain(1).run_if(given)) == (1, "other")
    assert way.run(plain(1).run_if(passed, otherwise="skipped")) == "skipped"


@every_way
def test_the_condition_of_a_state_is_looked_at_in_each_entry(way: Way) -> None:
    answers = [True] * 30 + [False]
    left = iter(answers)

    @inline
    def condition() -> bool:
        return next(left)

    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1)

    bound = step(0).run_if(condition(), otherwise="stopped")
    cs.bind(bound, cs.select_jump({"again": bound}))
    assert way.run(bound) == "stopped"
    assert [*left] == []
    if way.watched:
        assert way.skipped() == [("step#1", 30, "ConditionFalse")]


@every_way
def test_a_condition_whose_truth_raises_in_an_entry(way: Way) -> None:
    class Odd:
        def __init__(self, n: int) -> None:
            self.n = n

        def __bool__(self) -> bool:
            if self.n == 20:
                raise ArithmeticError("no truth")
            return True

    left = iter(range(100))

    @inline
    def condition() -> Odd:
        return Odd(next(left))

    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1)

    bound = step(0).run_if(condition())
    cs.bind(bound, cs.select_jump({"again": bound}))
    with pytest.raises(ArithmeticError, match="no truth") as caught:
        way.run(bound)
    assert any("step#1" in note and "iteration 20" in note for note in notes_of(caught.value))


class TestALimitThatIsMetOnTheWay:
    """The least limit counts of the states that were entered, wherever that was."""

    def machine(self, start: int, once_at: int, limits: tuple[int | None, int | None]) -> Any:
        @inline
        def counting(n: int) -> Any:
            if n == once_at:
                return cs.Jump("other", n - 1)
            return cs.Jump("counting", n - 1) if n else cs.Jump("exit", "done")

        @inline
        def other(n: int) -> Any:
            return cs.Jump("counting", n - 1)

        first, second = counting(start), other(0)
        selector = cs.select_jump({"counting": first, "other": second, "exit": None})
        for state, most in zip((first, second), limits, strict=True):
            cs.bind(state, selector) if most is None else cs.bind(state, selector, max_iterations=most)
        return first

    @pytest.mark.parametrize("limits", [(None, 300), (2000, 300), (300, 2000), (None, None), (2000, None)])
    @pytest.mark.parametrize("once_at", [990, 400, 10, -1])
    @every_tier
    def test_on_every_tier_however_often_it_ran(
        self, limits: tuple[int | None, int | None], once_at: int, tier: Tier
    ) -> None:
        entered = [limits[0], limits[1] if once_at >= 0 else None]
        least = min((each for each in entered if each is not None), default=2000)
        target = self.machine(1000, once_at, limits)

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                for _ in range(12):
                    if least >= 1001:
                        assert await engine.run(target) == "done"
                        continue
                    with pytest.raises(cs.JumpError, match=f"max_iterations={least} ends it here"):
                        await engine.run(target)

        asyncio.run(main())
