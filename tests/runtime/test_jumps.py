"""Jumps: where they lead, what their data overrides, and how a loop ends."""

import asyncio
import collections
import enum
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.events import RunFinished, TaskEvent, TaskExecutionFinished
from tests.workflows import Body, Way, every_body, every_way, in_loop, inline, notes_of


def loop(step: Any, **options: Any) -> Any:
    """Bind a step to itself, with a way out."""
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}), **options)


# --- the ways out


@every_way
@every_body
@pytest.mark.parametrize("value", [7, "x", {"a": 1}, [1], None, 0, "", False, ()], ids=repr)
def test_none_is_the_way_out_and_the_data_is_the_value(way: Way, body: Body, value: Any) -> None:
    @body
    def step(n: int) -> Any:
        return cs.Jump("again", n - 1) if n else cs.Jump("exit", value)

    assert way.run(loop(step(3))) == value


@every_way
@every_body
@pytest.mark.parametrize("value", [7, None, 0, "", False, {}, [], 0.0], ids=repr)
@pytest.mark.parametrize("entries", [0, 1, 40])
def test_a_plain_return_ends_the_loop_with_that_value(way: Way, body: Body, value: Any, entries: int) -> None:
    @body
    def step(n: int) -> Any:
        return cs.Jump("again", n - 1) if n else value

    result = way.run(loop(step(entries)))
    assert result == value
    assert type(result) is type(value)


@every_way
def test_a_bound_task_need_not_jump(way: Way) -> None:
    assert way.run(loop(cs.task(lambda: 5)())) == 5


@every_way
@pytest.mark.parametrize("value", [{"a": 1}, None, 5, cs.Value(3)], ids=repr)
def test_a_value_is_unwrapped_at_the_way_out(way: Way, value: Any) -> None:
    @inline
    def step(n: int) -> cs.Jump:
        return cs.Jump("again", n + 1) if n < 2 else cs.Jump("exit", cs.Value(value))

    assert way.run(loop(step(0))) is value


@every_way
def test_an_exit_without_data_gives_none(way: Way) -> None:
    step = loop(inline(lambda: cs.Jump("exit"))())
    assert way.run([step]) == [None]


@every_way
def test_a_jump_inside_a_value_is_a_value(way: Way) -> None:
    jump = cs.Jump("nowhere")
    assert way.run(loop(inline(lambda: [jump])())) == [jump]


# --- data


@every_way
@every_body
def test_a_dict_overrides_arguments_by_name(way: Way, body: Body) -> None:
    @body
    def step(a: int, b: int = 10, *, c: int = 100) -> Any:
        if a < 40:
            return cs.Jump("again", {"a": a + 1, "c": c + 1})
        return a, b, c

    assert way.run(loop(step(0, 20))) == (40, 20, 140)
    assert way.run(loop(step(a=0, b=20, c=7))) == (40, 20, 47)
    assert way.run(loop(step(0))) == (40, 10, 140)


class Sent(dict[str, Any]):
    pass


@every_way
@pytest.mark.parametrize("kind", [Sent, collections.OrderedDict, partial(collections.defaultdict, list)], ids=str)
def test_subclasses_of_dict_override_by_name_as_well(way: Way, kind: Callable[..., Any]) -> None:
    @inline
    def step(a: int, b: int) -> Any:
        return cs.Jump("again", kind({"b": b + 1, "a": a + 2})) if b < 40 else (a, b)

    assert way.run(loop(step(0, 0))) == (80, 40)


@every_way
def test_a_dict_may_name_other_arguments_each_time(way: Way) -> None:
    @inline
    def step(a: Any = 0, b: Any = 0, n: int = 0) -> Any:
        if n >= 60:
            return a, b, n
        sent: dict[str, Any] = {"n": n + 1}
        if n % 2:
            sent["a"] = n
        if n % 3 == 0:
            sent = {"b": n, **sent}
        return cs.Jump("again", sent)

    assert way.run(loop(step("A", "B"))) == (59, "B", 60)


@every_way
def test_the_same_names_in_another_order_are_the_same(way: Way) -> None:
    @inline
    def step(a: int, b: int) -> Any:
        if a >= 50:
            return a, b
        return cs.Jump("again", {"a": a + 1, "b": b + 2} if a % 2 else {"b": b + 2, "a": a + 1})

    assert way.run(loop(step(0, 0))) == (50, 100)


@every_way
@every_body
def test_another_value_overrides_the_first_argument(way: Way, body: Body) -> None:
    @body
    def step(a: Any, b: Any = "b") -> Any:
        return cs.Jump("again", a + 1) if a < 40 else (a, b)

    assert way.run(loop(step(0, "B"))) == (40, "B")
    assert way.run(loop(step(b="B", a=0))) == (40, "B")


@every_way
@pytest.mark.parametrize("falsy", [0, "", False, [], ()], ids=repr)
def test_falsy_data_overrides_too(way: Way, falsy: Any) -> None:
    @inline
    def step(a: Any) -> Any:
        return cs.Jump("again", falsy) if a == "first" else ("got", a)

    assert way.run(loop(step("first"))) == ("got", falsy)


@every_way
@every_body
def test_none_and_an_empty_dict_override_nothing(way: Way, body: Body) -> None:
    seen: list[Any] = []

    @body
    def step(a: str, b: str = "b") -> Any:
        seen.append((a, b))
        return cs.Jump("again", None if len(seen) % 2 else {}) if len(seen) < 40 else "done"

    assert way.run(loop(step("A", b="B"))) == "done"
    assert seen == [("A", "B")] * 40


@every_way
@every_body
@pytest.mark.parametrize("value", [{"b": 1}, None, cs.Value(1), 5], ids=repr)
def test_value_passes_anything_as_the_first_argument(way: Way, body: Body, value: Any) -> None:
    @body
    def step(a: Any, b: int = 0) -> Any:
        return cs.Jump("again", cs.Value(value)) if a == "first" else (a, b)

    assert way.run(loop(step("first", 9))) == (value, 9)


@every_way
def test_jump_after_jump_with_a_value(way: Way) -> None:
    @inline
    def step(state: dict[str, int]) -> Any:
        return cs.Jump("again", cs.Value({"n": state["n"] + 1})) if state["n"] < 50 else state

    assert way.run(loop(step({"n": 0}))) == {"n": 50}


@every_way
def test_an_override_beats_the_declaration_by_position_and_by_name(way: Way) -> None:
    @inline
    def step(a: Any, b: Any, *, c: Any) -> Any:
        return (a, b, c) if (a, b, c) == (1, 2, 3) else cs.Jump("again", {"a": 1, "b": 2, "c": 3})

    assert way.run(loop(step("A", "B", c="C"))) == (1, 2, 3)
    assert way.run(loop(step(c="C", b="B", a="A"))) == (1, 2, 3)


@every_way
def test_the_data_is_left_as_it_is(way: Way) -> None:
    sent: list[dict[str, Any]] = []

    @inline
    def step(a: int, b: list[int]) -> Any:
        if a == 30:
            return b
        sent.append({"a": a + 1, "b": b})
        return cs.Jump("again", sent[-1])

    numbers = [1]
    assert way.run(loop(step(0, numbers))) is numbers
    assert sent == [{"a": n + 1, "b": [1]} for n in range(30)]


@every_way
def test_one_jump_object_may_be_returned_again_and_again(way: Way) -> None:
    again, leave = cs.Jump("again", {"b": "sent"}), cs.Jump("exit", "left")
    left = [50]

    @inline
    def step(a: int, b: str = "declared") -> Any:
        left[0] -= 1
        assert b == ("declared" if left[0] == 49 else "sent")
        return again if left[0] else leave

    assert way.run(loop(step(1))) == "left"
    assert (again.target_key, again.data, leave.data) == ("again", {"b": "sent"}, "left")


@every_way
@every_body
def test_subclasses_of_jump_are_jumps(way: Way, body: Body) -> None:
    class Hop(cs.Jump):
        pass

    class Retreat(cs.Jump):
        def __init__(self, data: Any) -> None:
            super().__init__("exit", data)

    @body
    def step(n: int) -> Any:
        return (Hop if n % 3 else cs.Jump)("again", n - 1) if n else Retreat("out")

    assert way.run(loop(step(40))) == "out"


@every_way
@pytest.mark.parametrize("data", ["argument", "exit", "name"])
def test_a_lazy_result_as_data_is_an_error(way: Way, data: str) -> None:
    @inline
    def step(n: Any) -> cs.Jump:
        return cs.Jump("exit" if data == "exit" else "again", step(5))

    with pytest.raises(cs.JumpError, match=r"step.*cannot add\s+to the graph: send a value"):
        way.run(loop(step(1)))


# --- what tasks take


@every_way
@every_body
def test_positional_only_arguments(way: Way, body: Body) -> None:
    @body
    def step(n: int, m: int = 5, /) -> Any:
        return (n, m) if n >= 40 else cs.Jump("again", n + 1)

    assert way.run(loop(step(0))) == (40, 5)
    assert way.run(loop(step(0, 6))) == (40, 6)


@every_way
@every_body
@pytest.mark.parametrize("sent", [{"a": 1, "b": 2}, {"b": 2, "a": 1}], ids=str)
def test_positional_only_arguments_by_name(way: Way, body: Body, sent: dict[str, int]) -> None:
    @body
    def step(a: int = 0, b: int = 0, /) -> Any:
        return (a, b) if a else cs.Jump("again", sent)

    assert way.run(loop(step())) == (1, 2)
    assert way.run(loop(step(0, 0))) == (1, 2)


@every_way
@every_body
def test_keyword_only_arguments(way: Way, body: Body) -> None:
    @body
    def step(*, n: int, m: int = 0) -> Any:
        if n >= 40:
            return n, m
        return cs.Jump("again", n + 1) if n % 2 else cs.Jump("again", {"n": n + 1, "m": 7})

    assert way.run(loop(step(n=0))) == (40, 0)


@every_way
@every_body
def test_any_positional_arguments(way: Way, body: Body) -> None:
    @body
    def step(*numbers: int) -> Any:
        return numbers if numbers[0] >= 40 else cs.Jump("again", numbers[0] + 1)

    assert way.run(loop(step(0, 5, 6))) == (40, 5, 6)


@every_way
def test_the_first_of_any_arguments_need_not_have_been_given(way: Way) -> None:
    @inline
    def step(*numbers: int) -> Any:
        return numbers or cs.Jump("again", 3)

    assert way.run(loop(step())) == (3,)


@every_way
@every_body
def test_any_keyword_arguments(way: Way, body: Body) -> None:
    @body
    def step(**given: Any) -> Any:
        return cs.Jump("again", {"n": given["n"] + 1, "new": True}) if given["n"] < 40 else given

    assert way.run(loop(step(n=0, kept="k"))) == {"n": 40, "kept": "k", "new": True}


@every_way
def test_keyword_arguments_that_are_new_every_time_hold_for_one_entry(way: Way) -> None:
    @inline
    def step(**given: Any) -> Any:
        sent = [n for name, n in given.items() if name.startswith("k")]
        return cs.Jump("again", {f"k{sent[-1]}": sent[-1] + 1}) if sent[-1] < 600 else given

    assert way.run(loop(step(start=-1, k=0))) == {"start": -1, "k": 0, "k599": 600}


@every_way
@every_body
def test_defaults_that_were_not_given_can_be_overridden(way: Way, body: Body) -> None:
    @body
    def step(n: int = 0, m: str = "m") -> Any:
        return (n, m) if n >= 40 else cs.Jump("again", {"m": "sent", "n": n + 1})

    assert way.run(loop(step())) == (40, "sent")


@every_way
def test_a_default_returns_when_it_is_not_sent(way: Way) -> None:
    seen = []

    @inline
    def step(n: int = 0, m: str = "default") -> Any:
        seen.append(m)
        return cs.Jump("again", {"m": "sent", "n": 1} if n == 0 else {"n": n + 1}) if n < 3 else "done"

    assert way.run(loop(step())) == "done"
    assert seen == ["default", "sent", "default", "default"]


class Walker:
    def __init__(self, pace: int) -> None:
        self.pace = pace

    @cs.task
    def walk(self, at: int, until: int = 80) -> Any:
        if at >= until:
            return self.pace, at
        return cs.Jump("again", at + self.pace) if at % 4 else cs.Jump("again", {"at": at + self.pace})

    @cs.task
    async def stroll(self, at: int) -> Any:
        await asyncio.sleep(0)
        return (self.pace, at) if at >= 80 else cs.Jump("again", at + self.pace)


@every_way
def test_the_first_argument_of_a_method_is_the_one_after_self(way: Way) -> None:
    assert way.run([loop(Walker(2).walk(0)), loop(Walker(5).walk(at=0))]) == [(2, 80), (5, 80)]
    assert way.run([loop(Walker(2).stroll(0)), loop(Walker(5).stroll(at=0))]) == [(2, 80), (5, 80)]


@every_way
def test_self_cannot_be_sent(way: Way) -> None:
    class Wrong:
        @cs.task
        def step(self, n: int) -> cs.Jump:
            return cs.Jump("again", {"self": 1})

    with pytest.raises(cs.JumpError, match=r"'self'.*it takes: n"):
        way.run(loop(Wrong().step(0)))


@every_way
def test_builtins_take_data(way: Way) -> None:
    @inline
    def step(data: Any) -> cs.Jump:
        return cs.Jump("on", data)

    def leading_to(target: Any, data: Any) -> Any:
        source = step(cs.Value(data))
        return cs.bind(source, cs.select_jump({"on": target}))

    greatest = cs.task(max)  # type: ignore[arg-type]  # its overloads are too much for mypy
    assert way.run(leading_to(greatest(1, 2), 7)) == 7
    assert way.run(leading_to(cs.task(int)("5"), "12")) == 12
    assert way.run(leading_to(cs.task(sorted)([2, 1]), {"reverse": True})) == [2, 1]
    assert way.run(leading_to(cs.task([5, 6, 7].pop)(), 0)) == 5


@every_way
def test_data_for_a_task_that_takes_none(way: Way) -> None:
    with pytest.raises(cs.JumpError, match=r"carries data to <lambda>.*takes no argument"):
        way.run(loop(cs.task(lambda: cs.Jump("again", 5))()))


@every_way
def test_a_name_that_the_task_does_not_take(way: Way) -> None:
    @cs.task
    def step(count: int, total: int = 0) -> Any:
        return cs.Jump("again", {"count": count + 1} if count < 30 else {"cuont": 3})

    with pytest.raises(
        cs.JumpError,
        match=r"'cuont' to step.*test_jumps.py:\d+.*did you mean 'count'\?.*it takes: count, total",
    ) as caught:
        way.run(loop(step(0)))
    assert any("iteration 30" in note for note in notes_of(caught.value))


# --- keys


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


@every_way
@pytest.mark.parametrize("key", [0, "", None, (1, "a"), Colour.RED, frozenset({1}), 2.5, False], ids=repr)
def test_keys_are_any_hashable_values(way: Way, key: Any) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.Jump(key, n + 1) if n < 40 else n

    bound = step(0)
    cs.bind(bound, cs.select_jump({key: bound}))
    assert way.run(bound) == 40


@every_way
def test_keys_match_as_dict_keys_do(way: Way) -> None:
    equal = [1, True, 1.0, 1 + 0j]

    @inline
    def step(n: int) -> Any:
        return cs.Jump(equal[n % 4], n + 1) if n < 60 else cs.Jump(0.0, n)

    bound = step(0)
    cs.bind(bound, cs.select_jump({True: bound, False: None}))
    assert way.run(bound) == 60


@every_way
def test_equal_strings_that_are_other_objects_are_the_same_key(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.Jump("".join(["a", "gain"]), n + 1) if n < 60 else n

    assert way.run(loop(step(0))) == 60


@every_way
@every_body
@pytest.mark.parametrize("entries", [0, 1, 40])
def test_an_unknown_key_lists_the_keys(way: Way, body: Body, entries: int) -> None:
    @body
    def step(n: int) -> cs.Jump:
        return cs.Jump("again", n + 1) if n < entries else cs.Jump("agian")

    with pytest.raises(cs.JumpError, match=r"'step'.*no route 'agian'; the routes are: 'again', 'exit'") as caught:
        way.run(loop(step(0)))
    assert any(f"step#1 (declared at {__file__}:" in note for note in notes_of(caught.value))
    assert any(f"iteration {entries}," in note for note in notes_of(caught.value))


@every_way
@pytest.mark.parametrize("key", [[], {}, set()], ids=repr)
def test_a_key_that_cannot_be_hashed_is_unknown(way: Way, key: Any) -> None:
    with pytest.raises(cs.JumpError, match=r"the routes are: 'again', 'exit'"):
        way.run(loop(inline(lambda: cs.Jump(key))()))


@every_way
@every_body
def test_a_jump_from_an_unbound_task_shows_how_to_bind(way: Way, body: Body) -> None:
    @body
    def wander(n: int) -> cs.Jump:
        return cs.Jump("on", n)

    for target in (wander(1), cs.task(lambda x: x)(wander(1)), wander.map(n=[1, 2]), [wander(1).run_if(True)]):
        with pytest.raises(cs.JumpError, match=r"'wander' \(declared at .*\.py:\d+\).*not bound") as caught:
            way.run(target)
        assert "cs.bind(step, cs.select_jump({'on': step" in str(caught.value)


@every_way
def test_a_jump_from_an_unbound_task_inside_a_loop(way: Way) -> None:
    @inline
    def feed(n: int) -> Any:
        return cs.Jump("again") if next(turns) == 30 else n

    @inline
    def step(n: int, feed: Any) -> Any:
        return cs.Jump("again", n + 1)

    turns = iter(range(100))
    with pytest.raises(cs.JumpError, match=r"task 'feed'.*not bound") as caught:
        way.run(loop(step(0, feed(1))))
    assert any("feed#1" in note and "iteration 30" in note for note in notes_of(caught.value))


# --- how many


@every_way
@every_body
def test_max_iterations_counts_entries(way: Way, body: Body) -> None:
    @body
    def step(n: int) -> Any:
        return cs.Jump("again", n - 1) if n else "done"

    assert way.run(loop(step(4), max_iterations=5)) == "done"
    with pytest.raises(cs.JumpError, match=r"step \(declared at .*has had 5 entries.*max_iterations=5"):
        way.run(loop(step(5), max_iterations=5))


@every_way
def test_max_iterations_of_one(way: Way) -> None:
    step = inline(lambda n: cs.Jump("again", n))
    assert way.run(loop(inline(lambda: cs.Jump("exit", 3))(), max_iterations=1)) == 3
    with pytest.raises(cs.JumpError, match="max_iterations=1"):
        way.run(loop(step(1), max_iterations=1))


@every_way
def test_max_iterations_of_a_long_loop(way: Way) -> None:
    calls = []

    @inline
    def step(n: int) -> Any:
        calls.append(n)
        return cs.Jump("again", n + 1)

    with pytest.raises(cs.JumpError, match="has had 1000 entries"):
        way.run(loop(step(0), max_iterations=1000))
    assert calls == [*range(1000)]


@every_way
def test_tail_calls_count_towards_max_iterations(way: Way) -> None:
    calls = []

    @inline
    def step(n: int) -> Any:
        calls.append(n)
        return cs.TailCall(kwargs={"n": n + 1}) if n % 2 else cs.Jump("again", n + 1)

    with pytest.raises(cs.JumpError, match="has had 30 entries"):
        way.run(loop(step(0), max_iterations=30))
    assert calls == [*range(30)]


# --- classes of results


@every_way
def test_results_may_change_their_class(way: Way) -> None:
    values = [1, "a", None, 2.5, [], {}, (), b"", True, object]

    @inline
    def feed() -> Any:
        return values[len(seen) % len(values)]

    @inline
    def step(value: Any, n: int = 0) -> Any:
        seen.append(value)
        return cs.Jump("again", {"n": n + 1}) if n < 60 else value

    seen: list[Any] = []
    assert way.run(loop(step(feed()))) == values[60 % 10]
    assert seen == [values[n % 10] for n in range(61)]


@every_way
def test_a_lazy_result_returned_in_the_middle(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 20 else step(n)

    with pytest.raises(cs.StaticGraphError, match=r"'step'.*returned <LazyResult.*cs\.Jump") as caught:
        way.run(loop(step(0)))
    assert any("iteration 20" in note for note in notes_of(caught.value))


@every_way
def test_a_sync_task_may_return_a_coroutine_in_any_entry(way: Way) -> None:
    async def later(n: int) -> Any:
        await asyncio.sleep(0)
        return cs.Jump("again", n + 1) if n < 40 else n

    assert way.run(loop(inline(lambda n: later(n))(0))) == 40


# --- errors


@every_way
@every_body
@pytest.mark.parametrize("entry", [0, 1, 5, 40])
def test_the_note_says_which_entry_failed(way: Way, body: Body, entry: int) -> None:
    @body
    def step(n: int) -> cs.Jump:
        if n == entry:
            raise ValueError("mine")
        return cs.Jump("again", n + 1)

    with pytest.raises(ValueError, match="mine") as caught:
        way.run(loop(step(0)))
    (note,) = notes_of(caught.value)
    assert note.startswith(f"in task step#1 (declared at {__file__}:")
    assert note.endswith(f"iteration {entry}, attempt 1")


@every_way
@every_body
@pytest.mark.parametrize("entry", [0, 1, 5, 40])
def test_the_note_says_which_input_failed_in_which_entry(way: Way, body: Body, entry: int) -> None:
    calls = iter(range(100))

    @body
    def feed() -> int:
        if (n := next(calls)) == entry:
            raise KeyError(n)
        return n

    @body
    def step(value: int, n: int = 0) -> cs.Jump:
        return cs.Jump("again", {"n": n + 1})

    with pytest.raises(KeyError) as caught:
        way.run(loop(step(feed())))
    assert len(notes_of(caught.value)) == 1
    assert "in task feed#1" in notes_of(caught.value)[0]
    assert f"iteration {entry}," in notes_of(caught.value)[0]


@every_way
@every_body
@pytest.mark.parametrize("entry", [0, 1, 30])
def test_an_error_keeps_its_cause(way: Way, body: Body, entry: int) -> None:
    @body
    def step(n: int) -> cs.Jump:
        if n == entry:
            raise ValueError("mine") from KeyError("cause")
        return cs.Jump("again", n + 1)

    with pytest.raises(ValueError, match="mine") as caught:
        way.run(loop(step(0)))
    assert isinstance(caught.value.__cause__, KeyError)


@every_way
@every_body
@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
@pytest.mark.parametrize("entry", [0, 1, 30])
def test_what_cannot_cross_an_await_is_wrapped(way: Way, body: Body, error: type[BaseException], entry: int) -> None:
    @body
    def step(n: int) -> cs.Jump:
        if n == entry:
            raise error("gone")
        return cs.Jump("again", n + 1)

    with pytest.raises(RuntimeError) as caught:
        way.run(loop(step(0)))
    cause = caught.value.__cause__
    assert isinstance(cause, error)
    assert any(
        f"step#1 (declared at {__file__}:" in note and f"iteration {entry}," in note for note in caught.value.__notes__
    )


@every_way
@every_body
@pytest.mark.parametrize("entry", [0, 1, 30])
def test_a_cancelled_error_that_nobody_asked_for_is_a_failure(way: Way, body: Body, entry: int) -> None:
    @body
    def step(n: int) -> cs.Jump:
        if n == entry:
            raise asyncio.CancelledError("mine")
        return cs.Jump("again", n + 1)

    ends: list[RunFinished] = []

    async def main() -> None:
        async with way.engine() as engine:
            engine.bus.subscribe(RunFinished, ends.append)
            with pytest.raises(asyncio.CancelledError) as caught:
                await engine.run(loop(step(0)))
            assert f"iteration {entry}," in notes_of(caught.value)[0]

    in_loop(main)
    assert ends[0].status == "Failed"


@every_way
@every_body
def test_each_entry_has_its_retries(way: Way, body: Body) -> None:
    attempts: list[int] = []

    @body
    def step(n: int) -> Any:
        attempts.append(n)
        if attempts.count(n) < 3:
            raise ValueError(n)
        return cs.Jump("again", n + 1) if n < 20 else "done"

    assert way.run(loop(step(0).with_retry(3))) == "done"
    assert attempts == [n for n in range(21) for _ in range(3)]

    attempts.clear()
    with pytest.raises(ValueError, match="0") as caught:
        way.run(loop(step(0).with_retry(2)))
    assert notes_of(caught.value)[0].endswith("iteration 0, attempt 2")


# --- cancelling


@every_way
def test_an_async_loop_is_cancelled_where_it_is(way: Way) -> None:
    seen: list[Any] = []
    ends: list[RunFinished] = []
    reached = asyncio.Event()

    @cs.task
    async def step(n: int) -> cs.Jump:
        if n == 30:
            reached.set()
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("cleaned up")
        return cs.Jump("again", n + 1)

    async def main() -> None:
        async with way.engine() as engine:
            engine.bus.subscribe(RunFinished, ends.append)
            run = engine.start(loop(step(0)))
            await reached.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"

    in_loop(main)
    assert seen == ["cleaned up"]
    assert [end.status for end in ends] == ["Cancelled"]


@every_way
def test_a_loop_that_never_waits_can_be_cancelled(way: Way) -> None:
    runs: list[cs.Run] = []

    @inline
    def step(n: int) -> cs.Jump:
        if n == 1000:
            runs[0].cancel()
        return cs.Jump("again", n + 1)

    async def main() -> None:
        async with way.engine() as engine:
            runs.append(engine.start(loop(step(0))))
            with pytest.raises(asyncio.CancelledError):
                await runs[0]
            assert runs[0].status == "Cancelled"

    in_loop(main)


@every_way
def test_a_loop_that_blocks_threads_can_be_cancelled(way: Way) -> None:
    released, reached = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    @cs.task(mode="blocking")
    def step(n: int) -> cs.Jump:
        if n == 20:
            loops[0].call_soon_threadsafe(reached.set)
            released.wait(10)
        return cs.Jump("again", n + 1)

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        async with way.engine() as engine:
            run = engine.start(loop(step(0)))
            await reached.wait()
            run.cancel()
            released.set()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)


@every_way
def test_a_failure_elsewhere_ends_a_loop(way: Way) -> None:
    @cs.task
    async def step(n: int) -> cs.Jump:
        await asyncio.sleep(0)
        if n == 20:
            reached.set()
        return cs.Jump("again", n + 1)

    @cs.task
    async def fail() -> None:
        await reached.wait()
        raise LookupError("elsewhere")

    reached = asyncio.Event()
    with pytest.raises(LookupError, match="elsewhere"):
        way.run([loop(step(0)), fail()])


# --- declaring


def test_what_bind_and_select_jump_refuse() -> None:
    step = inline(lambda: 1)()
    with pytest.raises(TypeError, match="dict of routes"):
        cs.select_jump([step])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one route"):
        cs.select_jump({})
    with pytest.raises(TypeError, match=r"'a'.*None for the way out"):
        cs.select_jump({"a": 5})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="binds a lazy result"):
        cs.bind(5, cs.select_jump({"a": None}))  # type: ignore[type-var]
    with pytest.raises(TypeError, match=r"what cs\.select_jump returns"):
        cs.bind(step, {"a": None})  # type: ignore[arg-type]
    for wrong in (0, -1, 2.5):
        with pytest.raises(ValueError, match="1 or more"):
            cs.bind(step, cs.select_jump({"a": None}), max_iterations=wrong)  # type: ignore[arg-type]


@every_way
def test_binding_again_replaces_the_routes(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.Jump("go", n + 1) if n < 3 else n

    bound = step(0)
    cs.bind(bound, cs.select_jump({"go": None}))
    assert way.run(bound) == 1
    cs.bind(bound, cs.select_jump({"go": bound}))
    assert way.run(bound) == 3


@every_way
def test_a_selector_keeps_the_routes_it_was_made_with(way: Way) -> None:
    routes: dict[Any, Any] = {"go": None}
    bound = inline(lambda: cs.Jump("go", "out"))()
    cs.bind(bound, cs.select_jump(routes))
    routes["go"] = bound
    assert way.run(bound) == "out"


@every_way
def test_a_loop_can_be_run_many_times(way: Way) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 40 else n

    bound = loop(step(0))
    assert [way.run(bound) for _ in range(4)] == [40] * 4


@every_way
def test_one_loop_in_many_runs_at_once(way: Way) -> None:
    @cs.task
    async def step(n: int, until: int) -> Any:
        await asyncio.sleep(0)
        return cs.Jump("again", n + 1) if n < until else n

    bound = loop(step(0, cs.Param("until", 0)))

    async def main() -> list[Any]:
        async with way.engine() as engine:
            return await asyncio.gather(*(engine.run(bound, {"until": until}) for until in range(0, 60, 6)))

    assert in_loop(main) == [*range(0, 60, 6)]


@every_way
def test_who_subscribes_in_the_middle_changes_nothing(way: Way) -> None:
    heard: list[Any] = []

    async def main() -> Any:
        async with way.engine() as engine:

            @inline
            def step(n: int) -> Any:
                if n == 50:
                    engine.bus.subscribe(cs.Event, heard.append)
                return cs.Jump("again", n + 1) if n < 200 else n

            return await engine.run(loop(step(0)))

    assert in_loop(main) == 200
    assert isinstance(heard[-1], RunFinished)


@every_way
@every_body
@pytest.mark.parametrize("is_anew", [False, True], ids=["the same key", "a key made anew"])
@pytest.mark.parametrize("is_map", [False, True], ids=["a state", "items"])
def test_jumps_of_one_key_may_give_now_these_and_now_those(way: Way, body: Body, is_anew: bool, is_map: bool) -> None:
    def moved(a: int, b: int, c: int) -> dict[str, int]:
        kinds: list[dict[str, int]] = [
            *({"a": a + 1}, {"b": b + 1, "a": a + 1}, {"a": a + 1, "b": b + 2}),
            {"c": c + 1, "b": b, "a": a + 1},
        ]
        return kinds[a % 4]

    @body
    def step(a: int, b: int, c: int) -> Any:
        return cs.Jump("".join(["ag", "ain"]) if is_anew else "again", moved(a, b, c)) if a + b + c < 90 else (a, b, c)

    def by_hand(**declared: int) -> tuple[int, ...]:
        given = declared
        while sum(given.values()) < 90:
            given = {**declared, **moved(**given)}
        return tuple(given.values())

    expected = [by_hand(a=n, b=0, c=0) for n in range(4)]
    if is_map:
        assert way.run(loop(step.map(a=range(4), b=[0] * 4, c=[0] * 4))) == expected
    else:
        assert way.run([loop(step(n, 0, 0)) for n in range(4)]) == expected


@pytest.mark.parametrize(
    "kinds", [(TaskEvent,), (TaskExecutionFinished,), (TaskEvent, TaskExecutionFinished), (None, TaskEvent)]
)
@pytest.mark.parametrize("shape", ["a loop", "items of a map"])
@pytest.mark.parametrize("tier", ["auto", "compile"])
def test_who_comes_and_goes_while_loops_wait_changes_nothing(kinds: Any, shape: str, tier: Any) -> None:
    """What others of their shape have had emitted meanwhile, for who listens then, is not what these go on in."""
    entered: Counter[int] = Counter()

    async def main() -> None:
        gate = asyncio.Event()

        @cs.task
        async def step(n: int) -> Any:
            entered[n] += 1
            if n in (30_000, 30_010):
                await gate.wait()
            return cs.Jump("again", n - 1) if n else cs.Jump("exit", n)

        def looped(*numbers: int) -> Any:
            step_here: Any = step.map(n=numbers) if shape == "items of a map" else step(numbers[0])
            return loop(step_here)

        async with Engine(tier=tier) as engine:
            for _ in range(10):
                await engine.run(looped(90, 80))
            going = [engine.start(looped(30_020, 30_005)) for _ in range(2)]
            await asyncio.sleep(0.02)
            for kind in kinds:
                handle = engine.bus.subscribe(kind, lambda event: None) if kind is not None else None
                for _ in range(10):
                    await engine.run(looped(90, 80))
                if handle is not None and kind is not kinds[-1]:
                    handle.unsubscribe()
            entered.clear()
            gate.set()
            ends = await asyncio.gather(*going)
        assert ends == ([0, 0] if shape == "a loop" else [[0, 0], [0, 0]])
        assert {entered[n] for n in range(29_999)} == {2 if shape == "a loop" else 4}

    asyncio.run(main())


@every_way
def test_loops_that_are_skipped_give_each_its_own_first_argument(way: Way) -> None:
    """They share one gate where nothing but their selectors was set."""

    @inline
    def give(n: int) -> int:
        return n

    @inline
    def step(n: int, other: int) -> Any:
        raise AssertionError("its input was skipped")

    async def main() -> Any:
        async with way.engine() as engine:
            return await engine.run([loop(step(give(n), give(0).run_if(False))) for n in range(3)])

    assert in_loop(main) == [0, 1, 2]
