"""Tail calls: a task that calls itself, or hands control to another graph, in constant memory."""

import asyncio
import gc
import sys
from typing import Any

import pytest

import cascade as cs
from tests.workflows import Body, Way, every_body, every_way, in_loop, inline, notes_of

# --- to the task itself


@every_way
@every_body
def test_a_tail_call_calls_the_task_again(way: Way, body: Body) -> None:
    @body
    def gcd(a: int, b: int) -> Any:
        return a if b == 0 else cs.TailCall(args=[b, a % b])

    assert way.run(gcd(1071, 462)) == 21
    assert way.run(gcd(b=462, a=1071)) == 21
    assert way.run(gcd(832040, 1346269)) == 1


@every_way
@every_body
@pytest.mark.parametrize("value", [None, 0, "", [], False], ids=repr)
def test_a_plain_return_ends_it(way: Way, body: Body, value: Any) -> None:
    @body
    def step(n: int) -> Any:
        return cs.TailCall([n - 1]) if n else value

    assert way.run([step(40), step(0)]) == [value, value]


@every_way
@every_body
def test_arguments_that_are_not_given_keep_their_value(way: Way, body: Body) -> None:
    @body
    def step(n: int, kept: str, total: int = 100, *, mark: str = "m") -> Any:
        if n == 0:
            return kept, total, mark
        if n == 20:
            return cs.TailCall([n - 1], {"kept": "changed", "mark": "new"})
        return cs.TailCall(kwargs={"n": n - 1, "total": total + n})

    assert way.run(step(40, "first")) == ("changed", 100 + sum(range(41)) - 20, "new")
    assert way.run(step(3, kept="k", mark="given")) == ("k", 106, "given")


@every_way
@every_body
def test_a_tail_call_without_arguments_repeats_the_call(way: Way, body: Body) -> None:
    left = [40]

    @body
    def step(a: int, *, b: int) -> Any:
        left[0] -= 1
        return cs.TailCall() if left[0] else (a, b)

    assert way.run(step(1, b=2)) == (1, 2)


@every_way
@every_body
def test_all_kinds_of_parameters(way: Way, body: Body) -> None:
    @body
    def only(n: int, m: int = 5, /) -> Any:
        return cs.TailCall([n + 1]) if n < 30 else (n, m)

    @body
    def keyword(*, n: int) -> Any:
        return cs.TailCall(kwargs={"n": n + 1}) if n < 30 else n

    @body
    def many(*numbers: int) -> Any:
        return cs.TailCall([numbers[0] + 1]) if numbers[0] < 30 else numbers

    @body
    def named(**given: int) -> Any:
        return cs.TailCall(kwargs={"n": given["n"] + 1, "new": 1}) if given["n"] < 30 else given

    assert way.run([only(0), only(0, 6), keyword(n=0), many(0, 7), named(n=0, kept=2)]) == [
        (30, 5),
        (30, 6),
        30,
        (30, 7),
        {"n": 30, "kept": 2, "new": 1},
    ]


@every_way
def test_more_arguments_than_the_first_call_had(way: Way) -> None:
    @inline
    def step(n: int, a: int = 1, b: int = 2) -> Any:
        return cs.TailCall([n + 1, a + 1], {"b": b + 1}) if n < 30 else (n, a, b)

    assert way.run(step(0)) == (30, 31, 32)


@every_way
def test_methods(way: Way) -> None:
    class Counter:
        def __init__(self, by: int) -> None:
            self.by = by

        @cs.task
        def count(self, n: int) -> Any:
            return cs.TailCall([n + self.by]) if n < 60 else (self.by, n)

        @cs.task
        def wrong(self, n: int) -> Any:
            return cs.TailCall(kwargs={"self": 5})

    assert way.run([Counter(1).count(0), Counter(7).count(n=0)]) == [(1, 60), (7, 63)]
    with pytest.raises(TypeError, match=r"'wrong'.*'self'"):
        way.run(Counter(1).wrong(0))


@every_way
@every_body
def test_an_unknown_keyword_names_the_task(way: Way, body: Body) -> None:
    @body
    def step(count: int) -> Any:
        return cs.TailCall(kwargs={"count": count + 1} if count < 30 else {"cuont": 1})

    with pytest.raises(TypeError, match=r"'step' \(declared at .*'cuont'.*did you mean 'count'\?") as caught:
        way.run(step(0))
    assert any("iteration 30" in note for note in notes_of(caught.value))


@every_way
def test_an_argument_that_is_given_twice(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.TailCall([1], {"n": 2})

    with pytest.raises(TypeError, match=r"'step'.*gives 'n' twice"):
        way.run(step(0))


@every_way
def test_too_many_arguments(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.TailCall([1, 2, 3])

    with pytest.raises(TypeError) as caught:
        way.run(step(0))
    assert any("step#1" in note for note in notes_of(caught.value))


@every_way
def test_the_declared_inputs_are_resolved_once_and_first(way: Way) -> None:
    calls: list[str] = []

    @inline
    def feed(name: str) -> str:
        calls.append(name)
        return name

    @inline
    def step(n: int, a: Any, b: Any) -> Any:
        calls.append("step")
        return cs.TailCall(kwargs={"n": n + 1}) if n < 30 else (a, b)

    assert way.run(step(0, feed("a"), [feed("b")])) == ("a", ["b"])
    assert calls == ["a", "b", *["step"] * 31]


@every_way
def test_the_condition_is_looked_at_once(way: Way) -> None:
    calls: list[str] = []

    @inline
    def condition() -> bool:
        calls.append("condition")
        return True

    @inline
    def step(n: int) -> Any:
        return cs.TailCall([n - 1]) if n else "done"

    assert way.run(step(30).run_if(condition())) == "done"
    assert calls == ["condition"]


@every_way
def test_tail_calls_in_a_loop_and_jumps_after_them(way: Way) -> None:
    seen = []

    @inline
    def step(n: int, phase: str = "jump") -> Any:
        seen.append((n, phase))
        if n >= 60:
            return "done"
        if n % 20 == 19:
            return cs.Jump("again", n + 1)
        return cs.TailCall(kwargs={"n": n + 1, "phase": "tail"})

    bound = step(0)
    cs.bind(bound, cs.select_jump({"again": bound}))
    assert way.run(bound) == "done"
    assert seen == [(n, "tail" if n % 20 else "jump") for n in range(61)]


@every_way
def test_tail_calls_of_what_feeds_a_loop(way: Way) -> None:
    @inline
    def feed(n: int) -> Any:
        return cs.TailCall([n + 1]) if n < 5 else n

    @inline
    def step(n: int, fed: int) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 30 else fed

    bound = step(0, feed(0))
    cs.bind(bound, cs.select_jump({"again": bound}))
    assert way.run(bound) == 5


@every_way
def test_subclasses_and_one_object_again_and_again(way: Way) -> None:
    class Call(cs.TailCall):
        pass

    left = [60]
    call, other = Call(kwargs={"n": 1}), cs.TailCall(kwargs={"n": 2})

    @inline
    def step(n: int) -> Any:
        left[0] -= 1
        return (call if left[0] % 3 else other) if left[0] else n

    assert way.run(step(0)) == 1
    assert (call.args, call.kwargs) == ((), {"n": 1})


# --- policies and errors


@every_way
@every_body
def test_each_call_has_its_retries(way: Way, body: Body) -> None:
    attempts: list[int] = []

    @body
    def step(n: int) -> Any:
        attempts.append(n)
        if attempts.count(n) < 2:
            raise ValueError(n)
        return cs.TailCall([n + 1]) if n < 20 else "done"

    assert way.run(step(0).with_retry(2)) == "done"
    assert attempts == [n for n in range(21) for _ in range(2)]


@every_way
def test_constraints_are_held_for_each_call(way: Way) -> None:
    running, most = [0], [0]

    @cs.task
    async def step(n: int) -> Any:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0)
        running[0] -= 1
        return cs.TailCall([n + 1]) if n < 20 else n

    async def main() -> Any:
        async with cs.Engine(system_resources={"slot": 1}, tier=way.tier) as engine:
            return await engine.run([step(n).with_constraints(slot=1) for n in range(3)])

    assert in_loop(main) == [20, 20, 20]
    assert most == [1]


@every_way
@every_body
@pytest.mark.parametrize("entry", [0, 1, 40])
def test_the_note_says_which_call_failed(way: Way, body: Body, entry: int) -> None:
    @body
    def step(n: int) -> Any:
        if n == entry:
            raise ArithmeticError("mine") from KeyError("cause")
        return cs.TailCall(kwargs={"n": n + 1})

    with pytest.raises(ArithmeticError) as caught:
        way.run(step(0))
    assert isinstance(caught.value.__cause__, KeyError)
    (note,) = notes_of(caught.value)
    assert note.startswith(f"in task step#1 (declared at {__file__}:")
    assert note.endswith(f"iteration {entry}, attempt 1")


@every_way
def test_a_jump_after_tail_calls_of_an_unbound_task(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.TailCall([n + 1]) if n < 30 else cs.Jump("out")

    with pytest.raises(cs.JumpError, match="not bound"):
        way.run(step(0))


@every_way
@every_body
def test_each_call_has_events_of_its_own(way: Way, body: Body) -> None:
    @body
    def step(n: int) -> Any:
        return cs.TailCall([n + 1]) if n < 30 else n

    assert way.run(step(0)) == 30
    if way.watched:
        assert way.started() == [("step#1", n) for n in range(31)]
        assert way.finished() == way.started()


# --- to other graphs


@every_way
@every_body
def test_control_goes_to_another_graph_and_does_not_come_back(way: Way, body: Body) -> None:
    calls: list[Any] = []

    @body
    def start(n: int) -> Any:
        calls.append("start")
        return cs.TailCall(kwargs={"total": n * 100}, target_blueprint_id="end")

    @body
    def end(total: int, unit: str, extra: str = "declared there") -> Any:
        calls.append("end")
        return total, unit, extra

    @inline
    def unit() -> str:
        return "m"

    assert way.run([start(3), start(4)], blueprints={"end": end(0, unit())}) == [
        (300, "m", "declared there"),
        (400, "m", "declared there"),
    ]
    assert sorted(calls) == ["end", "end", "start", "start"]


@every_way
@every_body
def test_two_graphs_that_call_each_other(way: Way, body: Body) -> None:
    @body
    def even(n: int) -> Any:
        return cs.TailCall([n - 1], target_blueprint_id="odd") if n else "even"

    @body
    def odd(n: int) -> Any:
        return cs.TailCall([n - 1], target_blueprint_id="even") if n else "odd"

    blueprints = {"even": even(0), "odd": odd(0)}
    for n in (0, 1, 50, 51):
        assert way.run(even(n), blueprints=blueprints) == ("odd" if n % 2 else "even")


@every_way
def test_what_is_pure_in_the_other_graph_runs_once_a_run(way: Way) -> None:
    calls: list[str] = []

    @cs.task(pure=True, mode="inline")
    def unit(name: str) -> str:
        calls.append(name)
        return name

    @inline
    def rate() -> int:
        calls.append("rate")
        return 2

    @inline
    def step(n: int, unit: str, rate: int) -> Any:
        return cs.TailCall([n - 1], target_blueprint_id="step") if n else (unit, rate)

    for _ in range(2):
        assert way.run(step(0, "km", 1), blueprints={"step": step(30, unit("m"), rate())}) == ("km", 1)
        assert way.run(step(30, "km", 1), blueprints={"step": step(0, unit("m"), rate())}) == ("m", 2)
        assert calls == ["m", *["rate"] * 30]
        calls.clear()


@every_way
def test_a_graph_that_calls_itself_by_its_id(way: Way) -> None:
    @inline
    def feed() -> int:
        return 1

    @inline
    def step(n: int, by: int) -> Any:
        return cs.TailCall([n + by], target_blueprint_id="step") if n < 40 else n

    target = step(0, feed())
    assert way.run(target, blueprints={"step": target}) == 40


@every_way
def test_a_loop_that_goes_on_in_another_graph(way: Way) -> None:
    @inline
    def step(n: int, by: int) -> Any:
        if n >= 100:
            return n, by
        if n == 30:
            return cs.TailCall([31], target_blueprint_id="twice")
        return cs.Jump("again", {"n": n + by})

    def looped(by: Any) -> Any:
        bound = step(0, by)
        return cs.bind(bound, cs.select_jump({"again": bound}))

    once, twice = looped(inline(lambda: 1)()), looped(inline(lambda: 2)())
    assert way.run(once, blueprints={"twice": twice}) == (101, 2)
    assert way.run(once, blueprints={"twice": once}) == (100, 1)


@every_way
def test_an_unknown_id_lists_the_known_ones(way: Way) -> None:
    @inline
    def step() -> Any:
        return cs.TailCall(target_blueprint_id="nowhere")

    with pytest.raises(cs.JumpError, match=r"'step' \(declared at .*'nowhere'.*registered are: 'a', 'b'"):
        way.run(step(), blueprints={"a": step(), "b": step()})
    with pytest.raises(cs.JumpError, match="registered are: none"):
        way.run(step())


@every_way
def test_arguments_that_the_other_graph_does_not_take(way: Way) -> None:
    @inline
    def step(**given: Any) -> Any:
        return cs.TailCall(kwargs=given, target_blueprint_id="end")

    end = inline(lambda total: total)
    with pytest.raises(TypeError, match=r"blueprint 'end'.*'totla'.*did you mean 'total'"):
        way.run(step(totla=1), blueprints={"end": end(0)})
    with pytest.raises(TypeError, match="takes no arguments"):
        way.run(step(total=1), blueprints={"end": [end(0)]})


@every_way
def test_any_target_can_be_registered(way: Way) -> None:
    @inline
    def step() -> Any:
        return cs.TailCall(target_blueprint_id="end")

    value = inline(lambda x: x)
    for target, expected in (
        ([value(1), value(2)], [1, 2]),
        (cs.Router("a", {"a": value(3)}), 3),
        (value.map(x=[1, 2]), [1, 2]),
        (cs.Param("p", 5), 5),
        (cs.compile(value(6)).blueprint, 6),
    ):
        assert way.run(step(), blueprints={"end": target}) == expected


@every_way
def test_the_other_graph_takes_its_parameters_from_the_run(way: Way) -> None:
    @inline
    def step() -> Any:
        return cs.TailCall(target_blueprint_id="end")

    end = inline(lambda p: p)(cs.Param("p", 5))
    assert way.run(step(), blueprints={"end": end}) == 5
    assert way.run(step(), {"p": "6"}, blueprints={"end": end}) == 6
    needed = inline(lambda p: p)(cs.Param("needed"))
    with pytest.raises(cs.ParameterError, match="'needed'"):
        way.run(step(), blueprints={"end": needed})


@every_way
def test_another_graph_whose_target_is_skipped(way: Way) -> None:
    @inline
    def step() -> Any:
        return cs.TailCall(target_blueprint_id="end")

    value = inline(lambda x: x)
    assert way.run(step(), blueprints={"end": value(1).run_if(False, otherwise=2)}) == 2
    assert way.run(step(), blueprints={"end": value(value(1)).run_if(False)}) == 1
    for target in (step(), value(step()).run_if(True, otherwise=0)):
        with pytest.raises(cs.DependencyMissingError, match="ConditionFalse"):
            way.run(target, blueprints={"end": value(1).run_if(False)})


@every_way
@pytest.mark.parametrize("where", ["input", "before", "pure", "itself"])
def test_what_fails_in_the_other_graph_ends_the_run(way: Way, where: str) -> None:
    @cs.task(pure=True)
    async def fail(x: int = 0) -> int:
        await asyncio.sleep(0)
        raise LookupError("there")

    @cs.task
    async def hang() -> None:
        await asyncio.Event().wait()

    @inline
    def step() -> Any:
        return cs.TailCall(target_blueprint_id="end")

    @inline
    def end(x: Any = 0, y: Any = 0) -> Any:
        return cs.Jump("x")

    target = {
        "input": end(fail(inline(lambda: 0)())),
        "before": end().after(fail()),
        "pure": end(fail(1)),
        "itself": fail(),
    }
    if where == "pure":
        cs.bind(target[where], cs.select_jump({"x": None}))
    with pytest.raises(LookupError, match="there") as caught:
        way.run([step(), hang()], blueprints={"end": target[where]})
    assert any("fail#1" in note for note in notes_of(caught.value))


@every_way
def test_the_limit_goes_along(way: Way) -> None:
    @inline
    def ping(n: int) -> Any:
        return cs.TailCall([n + 1], target_blueprint_id="pong")

    @inline
    def pong(n: int) -> Any:
        return cs.TailCall([n + 1], target_blueprint_id="ping")

    limited = cs.bind(ping(0), cs.select_jump({"x": None}), max_iterations=7)
    with pytest.raises(cs.JumpError, match="max_iterations=7") as caught:
        way.run(limited, blueprints={"ping": limited, "pong": pong(0)})
    assert any("iteration 6," in note for note in notes_of(caught.value))


@every_way
def test_use_vm_changes_nothing(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.TailCall([n + 1]) if n < 30 else cs.TailCall([n], target_blueprint_id="end")

    for use_vm in (False, True):
        assert way.run(step(0), blueprints={"end": inline(lambda n: n * 2)(0)}, use_vm=use_vm) == 60


# --- memory


@every_way
@pytest.mark.parametrize("kind", ["itself", "mutual", "names"])
def test_memory_does_not_grow_over_50_000_calls(way: Way, kind: str) -> None:
    first, last = 10_000, 50_000
    readings: list[int] = []

    def look(n: int) -> None:
        if n % 1000 == 0:
            way.events.clear()
        if n in (first, last):
            gc.collect()
            readings.append(sys.getallocatedblocks())

    @inline
    def itself(n: int, total: int = 0) -> Any:
        look(n)
        return cs.TailCall(kwargs={"n": n + 1, "total": total + n}) if n < last else total

    @inline
    def mutual(n: int) -> Any:
        look(n)
        return cs.TailCall([n + 1], target_blueprint_id="mutual") if n < last else n

    @inline
    def names(n: int = 0, **rest: int) -> Any:
        look(n)
        return cs.TailCall([n + 1], {"rest": n}) if n < last else n

    target = {"itself": itself(0), "mutual": mutual(0), "names": names()}[kind]
    way.run(target, blueprints={"mutual": mutual(0)})
    assert readings[1] - readings[0] < 500
