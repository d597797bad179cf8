"""Tail calls between blueprints as emitted loops: what they look like, and that nothing but speed tells them apart."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.code.emitted import LoopCode
from cascade.compiler.emit.loop import emit_loop
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskExecutionStarted
from tests.workflows import Body, Way, awaited, every_tier, every_way, in_loop, inline, notes_of

Emissions = list[LoopCode]


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> Emissions:
    """The loops that are emitted, in order."""
    found: Emissions = []

    def emitting(*args: Any) -> LoopCode:
        found.append(emit_loop(*args))
        return found[-1]

    monkeypatch.setattr("cascade.runtime.loops.transition.emit_loop", emitting)
    return found


def pair(last: Any = None, body: Body = inline) -> tuple[Any, Any]:
    """Two tasks that count down in turn, from blueprint `even` to blueprint `odd` and back."""

    @body
    def even(n: int) -> Any:
        return cs.TailCall([n - 1], target_blueprint_id="odd") if n > 0 else last or "even"

    @body
    def odd(n: int) -> Any:
        return cs.TailCall([n - 1], target_blueprint_id="even") if n > 0 else last or "odd"

    return even, odd


def run(target: Any, tier: Any, **blueprints: Any) -> Any:
    async def main() -> Any:
        async with Engine(tier=tier) as engine:
            for name, blueprint in blueprints.items():
                engine.register_blueprint(name, blueprint)
            return await engine.run(target)

    return in_loop(main)


def test_two_blueprints_become_one_loop_with_a_state_for_each(emitted: Emissions) -> None:
    even, odd = pair()
    assert run(even(101), "auto", even=even(0), odd=odd(0)) == "odd"
    (loop,) = emitted
    lines = [line.split("  #")[0].rstrip() for line in loop.source.splitlines()]
    assert lines == [
        "def even_loop(turn, state, n, n_2):",
        "    i = here = result = None",
        "    for i in turn:",
        "        if state == 0:",
        "            here = 0",
        "            result = even(n)",
        "            if (",
        "                result.__class__ is not TailCall",
        "                or result.target_blueprint_id is not to_odd",
        "                or (args := result.args).__class__ is not list",
        "                or len(args) != 1",
        "                or result.kwargs",
        "            ):",
        "                return i, 0, result, (n,)",
        "            n_2 = args[0]",
        "            state = 1",
        "        else:",
        "            here = 1",
        "            result = odd_2(n_2)",
        "            if (",
        "                result.__class__ is not TailCall",
        "                or result.target_blueprint_id is not to_even",
        "                or (args := result.args).__class__ is not list",
        "                or len(args) != 1",
        "                or result.kwargs",
        "            ):",
        "                return i, 1, result, (n_2,)",
        "            n = args[0]",
        "            state = 0",
        "    return i, here, result, None",
    ]


def test_a_further_run_has_the_loop_at_once(emitted: Emissions) -> None:
    even, odd = pair()
    for engine in range(3):
        assert run(even(50 + engine), "auto", even=even(0), odd=odd(0)) == ("odd" if engine % 2 else "even")
    assert len(emitted) == 1


@every_tier
def test_every_call_is_made_once(tier: str, emitted: Emissions) -> None:
    calls: list[tuple[str, int]] = []

    @inline
    def feed() -> int:
        calls.append(("feed", 0))
        return 3

    @inline
    def even(n: int, fed: int, word: str = "word") -> Any:
        calls.append(("even", n))
        return cs.TailCall([n - 1], {"word": f"{n}"}, "odd") if n else (fed, word)

    @inline
    def odd(n: int, fed: int, word: str) -> Any:
        calls.append(("odd", n))
        assert word == str(n + 1)
        return cs.TailCall(kwargs={"n": n - 1}, target_blueprint_id="even") if n else (fed, word)

    assert run(even(30_001, 0), tier, even=even(0, feed()), odd=odd(0, 7, "")) == (7, "1")
    assert [n for word, n in calls if word != "feed"] == list(range(30_001, -1, -1))
    assert calls.count(("feed", 0)) == 15_000
    assert bool(emitted) == (tier != "interpret")


ODD: dict[str, Callable[[int], Any]] = {
    "a value": lambda n: ("value", n),
    "none": lambda n: None,
    "another shape": lambda n: cs.TailCall(kwargs={"n": n - 1}, target_blueprint_id="odd"),
    "a tuple": lambda n: cs.TailCall((n - 1,), target_blueprint_id="odd"),
    "nothing": lambda n: cs.TailCall(target_blueprint_id="end"),
    "a third blueprint": lambda n: cs.TailCall([n], target_blueprint_id="end"),
    "itself": lambda n: cs.TailCall([n - 2]),
    "its own id": lambda n: cs.TailCall([n - 2], target_blueprint_id="even"),
    "a made id": lambda n: cs.TailCall([n - 1], target_blueprint_id="".join(["o", "dd"])),
    "a subclass": lambda n: Handover([n - 1], target_blueprint_id="odd"),
    "a jump": lambda n: cs.Jump("way", n - 2),
    "an exit": lambda n: cs.Jump("out", n),
}


ENDS = {
    "a value": ("value", 940),
    "none": None,
    "nothing": ("end", 17),
    "a third blueprint": ("end", 940),
    "an exit": 940,
}
LEAPS = ("itself", "its own id", "a jump")


class Handover(cs.TailCall):
    """Another class of tail calls."""


@every_way
@pytest.mark.parametrize("how", ODD)
def test_what_is_not_like_before_is_interpreted(way: Way, how: str) -> None:
    calls: list[int] = []

    @inline
    def even(n: int) -> Any:
        calls.append(n)
        if n == 0:
            return "done"
        return ODD[how](n) if n % 100 == 40 else cs.TailCall([n - 1], target_blueprint_id="odd")

    @inline
    def odd(n: int) -> Any:
        calls.append(n)
        return cs.TailCall([n - 1], target_blueprint_id="even")

    def bound() -> Any:
        node = even(0)
        return cs.bind(node, cs.select_jump({"way": node, "out": None}))

    end = inline(lambda n: ("end", n))(17)
    expected: list[int] = []
    n = 1000
    while n >= 0 and not (how in ENDS and expected[-1:] == [940]):
        expected.append(n)
        n -= 2 if n % 100 == 40 and how in LEAPS else 1
    assert way.run(even(1000), blueprints={"even": bound(), "odd": odd(0), "end": end}) == ENDS.get(how, "done")
    assert calls == expected


@every_way
@pytest.mark.parametrize("end", [0, 1, 2, 3, 500, 501])
def test_the_note_says_which_call_failed(way: Way, end: int) -> None:
    @inline
    def fail(n: int) -> int:
        if n == end:
            raise ArithmeticError("there") from KeyError("cause")
        return n

    @inline
    def even(n: int, kept: int = 0) -> Any:
        return cs.TailCall([fail.func(n) + 1], target_blueprint_id="odd")

    @inline
    def odd(n: int, kept: int = 0) -> Any:
        return cs.TailCall([fail.func(n) + 1], target_blueprint_id="even")

    with pytest.raises(ArithmeticError, match="there") as caught:
        way.run(even(0), blueprints={"even": even(0), "odd": odd(0)})
    assert isinstance(caught.value.__cause__, KeyError)
    (note,) = notes_of(caught.value)
    name = "even#1" if end == 0 else "odd#1" if end % 2 else "even#2"
    assert note.startswith(f"in task {name} (declared at {__file__}:"), note
    assert note.endswith(f"iteration {end}, attempt 1")


@every_way
def test_the_note_says_which_input_failed(way: Way) -> None:
    calls = [0]

    @inline
    def feed() -> int:
        calls[0] += 1
        return 1 // (calls[0] - 77)

    @inline
    def step(n: int, fed: int = 0) -> Any:
        return cs.TailCall([n + 1], target_blueprint_id="step")

    with pytest.raises(ZeroDivisionError) as caught:
        way.run(step(0), blueprints={"step": step(0, feed())})
    (note,) = notes_of(caught.value)
    assert note.startswith("in task feed#1 (declared at ")
    assert note.endswith("iteration 77, attempt 1")


@every_way
def test_an_id_that_is_not_registered_after_many_calls(way: Way) -> None:
    even, odd = pair(cs.TailCall([1], target_blueprint_id="nowhere"))
    with pytest.raises(
        cs.JumpError, match="'nowhere', which is not registered; registered are: 'even', 'odd'"
    ) as caught:
        way.run(even(301), blueprints={"even": even(0), "odd": odd(0)})
    assert any("odd#1" in note and "iteration 301" in note for note in notes_of(caught.value))


@every_tier
def test_an_id_leads_where_it_was_registered_when_the_run_first_came_there(tier: Any) -> None:
    even, odd = pair()
    seen: list[Any] = []

    async def main() -> None:
        async with Engine(tier=tier) as engine, Engine(tier=tier) as other:
            for each in (engine, other):
                each.register_blueprint("even", even(0))
            engine.register_blueprint("odd", odd(0))
            other.register_blueprint("odd", inline(lambda n: ("other", n))(0))
            for _ in range(3):
                seen.append(await asyncio.gather(engine.run(even(200)), other.run(even(200)), engine.run(even(201))))
            engine.register_blueprint("odd", inline(lambda n: ("new", n))(0))
            seen.append(await engine.run(even(200)))

            @inline
            def swap(n: int) -> Any:
                if n == 100:
                    engine.register_blueprint("even", inline(lambda n: "not in this run")(0))
                return cs.TailCall([n - 1], target_blueprint_id="even") if n else "odd"

            engine.register_blueprint("odd", swap(0))
            seen.append([await engine.run(even(201)), await engine.run(even(201))])

    in_loop(main)
    assert seen[:3] == [["even", ("other", 199), "odd"]] * 3
    assert seen[3] == ("new", 199)
    assert seen[4] == ["odd", "not in this run"]


@every_way
def test_one_blueprint_under_two_ids(way: Way) -> None:
    @inline
    def step(n: int, word: str) -> Any:
        if n == 0:
            return word
        return cs.TailCall([n - 1], target_blueprint_id="b" if n % 3 else "a")

    same = step(0, "same")
    assert way.run(step(400, "first"), blueprints={"a": same, "b": same}) == "same"


@every_way
def test_each_blueprint_has_constants_and_parameters_of_its_own(way: Way) -> None:
    @inline
    def step(n: int, to: str, more: Any, seen: Any = ()) -> Any:
        return cs.TailCall([n - 1], {"seen": (*seen[-2:], (to, more))}, to) if n else seen

    p, q = cs.Param("p", 1), cs.Param("q", 2)
    blueprints = {"a": step(0, "b", [p, "x"]), "b": step(0, "c", [q, p]), "c": step(0, "a", {"k": 1})}
    for given in (5, 6):
        found = way.run(step(301, "a", "first", [p]), {"p": given}, blueprints=blueprints)
        assert found == (("b", [given, "x"]), ("c", [2, given]), ("a", {"k": 1}))


@every_way
def test_calls_to_itself_jumps_and_handovers_in_one_loop(way: Way) -> None:
    seen: list[int] = []

    @inline
    def first(n: int, by: int) -> Any:
        seen.append(n)
        if n % 7 == 3:
            return cs.TailCall([n - by])
        return cs.TailCall([n - by], target_blueprint_id="second") if n > 0 else "done"

    @inline
    def second(n: int) -> Any:
        seen.append(n)
        if n % 5 == 2:
            return cs.Jump("again", n - 1)
        return cs.TailCall([n - 1], target_blueprint_id="first") if n > 0 else "done"

    node = second(0)
    cs.bind(node, cs.select_jump({"again": node}))
    assert way.run(first(2_000, 1), blueprints={"first": first(0, 1), "second": node}) == "done"
    assert seen == list(range(2_000, -1, -1))


@every_way
def test_async_tasks(way: Way) -> None:
    even, odd = pair(body=awaited)
    plain, _ = pair()
    assert way.run([even(n) for n in (0, 201, 302)], blueprints={"even": even(0), "odd": odd(0)}) == [
        *("even", "odd", "even")
    ]
    assert way.run(even(401), blueprints={"even": plain(0), "odd": odd(0)}) == "odd"


@every_way
def test_items_of_maps_hand_over(way: Way) -> None:
    even, odd = pair()
    blueprints = {"even": even(0), "odd": odd(0)}
    assert way.run(even.map(n=[0, 1, 200, 301]), blueprints=blueprints) == ["even", "odd", "even", "odd"]
    feed = inline(lambda words: words)
    assert way.run(feed(odd.map(n=[300, 301])), blueprints=blueprints) == ["odd", "even"]


@every_way
def test_names_that_the_task_does_not_know_keep_their_order(way: Way) -> None:
    @inline
    def step(n: int, **rest: int) -> Any:
        if n == 0:
            return list(rest)
        named = {"x": 1, "y": 2} if n % 50 else {"y": 2, "x": 1}
        return cs.TailCall([n - 1], named, "step")

    assert way.run(step(300), blueprints={"step": step(0)}) == ["x", "y"]
    assert way.run(step(300), blueprints={"step": inline(lambda n, **rest: list(rest))(0)}) == ["y", "x"]


@every_way
@pytest.mark.parametrize("where", ["even", "odd"])
def test_policies_hold_for_each_call(way: Way, where: str) -> None:
    failed: set[int] = set()

    @inline
    def even(n: int, there: str = "even") -> Any:
        if there == where and n not in failed:
            failed.add(n)
            raise ValueError(n)
        return cs.TailCall([n - 1], target_blueprint_id="odd" if there == "even" else "even") if n else there

    blueprints = {"even": even(0, "even"), "odd": even(0, "odd")}
    blueprints[where].with_retry(2)
    assert way.run(even(60, "none"), blueprints=blueprints) == "odd"
    assert sorted(failed) == list(range(1 if where == "even" else 0, 60, 2))


@every_tier
def test_max_iterations_of_a_state_that_others_came_to_before(tier: str) -> None:
    calls: list[str] = []

    @inline
    def feed() -> int:
        return 1

    @inline
    def first(n: int, fed: int) -> Any:
        calls.append("first")
        return cs.Jump("second" if n % 200 == 0 else "first", n + 1)

    @inline
    def second(n: int, fed: int) -> Any:
        calls.append("second")
        return cs.Jump("second", n + 1)

    start, then = first(1, feed()), second(0, feed())
    selector = cs.select_jump({"first": start, "second": then})
    cs.bind(start, selector)
    cs.bind(then, selector, max_iterations=300)
    for _ in range(3):
        calls.clear()
        with pytest.raises(cs.JumpError, match="max_iterations=300"):
            run(start, tier)
        assert len(calls) == 300


@every_tier
def test_ids_of_events_are_the_same(tier: Any) -> None:
    even, odd = pair()
    bus = MessageBus()
    seen: list[Any] = []
    bus.subscribe(TaskEvent, seen.append)

    async def main() -> None:
        async with Engine(bus=bus, tier=tier) as engine:
            engine.register_blueprint("even", even(0))
            engine.register_blueprint("odd", odd(0))
            assert await engine.run(even(60)) == "even"

    in_loop(main)
    ids = [("even#1", 0), *[("even#2" if at % 2 == 0 else "odd#1", at) for at in range(1, 61)]]
    for kind in (TaskExecutionStarted, TaskExecutionFinished):
        assert [(event.task_id, event.iteration) for event in seen if isinstance(event, kind)] == ids


@every_tier
def test_somebody_who_comes_in_the_middle_hears_the_rest(tier: Any) -> None:
    bus = MessageBus()
    seen: list[Any] = []

    @inline
    def even(n: int) -> Any:
        if n == 5_000:
            bus.subscribe(TaskExecutionStarted, seen.append)
        return cs.TailCall([n - 1], target_blueprint_id="odd") if n else "even"

    odd = pair()[1]

    async def main() -> None:
        async with Engine(bus=bus, tier=tier) as engine:
            engine.register_blueprint("even", even(0))
            engine.register_blueprint("odd", odd(0))
            assert await engine.run(even(60_000)) == "even"

    in_loop(main)
    heard = [event.iteration for event in seen]
    assert heard == list(range(60_001 - len(heard), 60_001))


@every_tier
def test_a_cancel_in_the_middle(tier: Any) -> None:
    even, odd = pair()

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            engine.register_blueprint("even", even(0))
            engine.register_blueprint("odd", odd(0))
            begun = engine.start(even(100_000_000))
            await asyncio.sleep(0.05)
            begun.cancel()
            with pytest.raises(asyncio.CancelledError):
                await begun

    in_loop(main)


@every_way
def test_what_must_come_before_is_run_once(way: Way) -> None:
    calls: list[str] = []

    @inline
    def before() -> None:
        calls.append("before")

    @inline
    def even(n: int) -> Any:
        return cs.TailCall([n - 1], target_blueprint_id="odd") if n else calls

    odd = pair()[1]
    blueprints = {"even": even(0).after(before()), "odd": odd(0)}
    assert way.run(even(400), blueprints=blueprints) == ["before"]


@every_way
def test_resources(way: Way) -> None:
    made: list[str] = []

    @cs.resource(scope="task")
    def supply() -> Iterator[int]:
        made.append("made")
        yield len(made)

    @inline
    def even(n: int, given: Any) -> Any:
        return cs.TailCall([n - 1], target_blueprint_id="odd") if n else given

    odd = pair()[1]
    assert way.run(even(60, 0), blueprints={"even": even(0, cs.inject(supply)), "odd": odd(0)}) == 30


def test_a_run_that_is_over_is_let_go() -> None:
    class Big:
        pass

    even, odd = pair()

    @inline
    def step(n: int, big: Any) -> Any:
        return cs.TailCall([n - 1], target_blueprint_id="odd") if n else "even"

    big = Big()
    known = weakref.ref(big)
    assert run(even(100), "compile", even=step(0, cs.Value(big)), odd=odd(0)) == "even"
    del big
    gc.collect()
    assert known() is None
