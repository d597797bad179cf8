"""Runs that go on with another graph, by `on_change="adapt"`: what matches keeps its steps, the rest runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend, SqliteBackend
from cascade.errors import ParameterError, RunChangedError
from cascade.graph.matching import match, outline_of
from cascade.runtime import Engine
from tests.runtime.test_recorded_changes import EDITS, LEFT, Dying, crashed, program
from tests.runtime.test_recorded_changes import _clean as _clean
from tests.runtime.test_recorded_changes import run as run_module

AGAIN = ["again"] * 4
CALLS = {
    "a task of another name": [*AGAIN, "parse", "publish"],  # of the function `scan`, which says so
    "an argument more": [*AGAIN, "load", "parse", "publish"],
    "a node before": [*AGAIN, "clean", "parse", "publish"],
    "a node behind": ["again", "again", "clean", "publish"],
    "a node less": [*AGAIN, "publish"],
    "a literal": ["again", *AGAIN, "publish"],
    "the content of a literal": [*AGAIN, "clean", "look", "publish"],
    "the order of arguments": LEFT,
    "the default of a parameter": [*AGAIN, "load", "parse", "publish"],
    "a parameter of another name": [*AGAIN, "load", "parse", "publish"],
    "a route more": [*AGAIN, "publish"],
    "a condition": [*AGAIN, "parse", "publish"],
    "what a sub-flow is made of": [*AGAIN, "publish"],  # `look` inside of it is not called again
}
"""What the second start calls of a program whose loop waits for all but `publish`, after an edit of its graph."""


@pytest.mark.parametrize("name", [name for name in EDITS if name != "a literal that is a new one each time"])
def test_an_edit(name: str, tmp_path: Path) -> None:
    edit = EDITS[name]
    store = crashed(tmp_path, {"name": "abc"} if "params" in edit.options else None)
    module = program(tmp_path, edit.replaced, False)
    if edit.error is ParameterError:
        with pytest.raises(ParameterError, match=edit.refused):
            run_module(module, store, **{**edit.options, "on_change": "adapt"})
        return
    value, warnings = run_module(module, store, on_change="adapt")
    assert sorted(module.calls) == CALLS.get(name, LEFT)
    adapted = [warning for warning in warnings if warning.startswith("GraphAdapted")]
    assert len(adapted) == (name in CALLS)
    if name in CALLS:
        assert value == run_module(module, MemoryBackend())[0]
        module.calls.clear()
        assert run_module(module, store) == (value, [])  # it is the graph that is recorded now
        assert module.calls == []


class Program(NamedTuple):
    """Tasks that say what was called; what fails does so until it is told not to."""

    calls: list[str]
    broken: set[str]

    def task(self, name: str, do: Callable[..., Any] = lambda *given: [*given], **options: Any) -> Any:
        def body(*given: Any) -> Any:
            self.calls.append(name)
            if name in self.broken:
                raise ValueError("tired")
            return do(*given)

        return cs.task(name=name, **{"version": 1, **options})(body)

    def loop(self, turns: int, **options: Any) -> Any:
        """Return a loop whose entries count down, and say which is called."""

        @cs.task(name="step", version=1)
        def step(n: int) -> Any:
            self.calls.append(f"step {n}")
            if f"step {n}" in self.broken:
                raise ValueError("tired")
            return cs.Jump("on", {"n": n - 1}) if n else "done"

        state = step(turns)
        return cs.bind(state, cs.select_jump({"on": state}), **options)

    def run(self, target: Any, store: Any, **options: Any) -> Any:
        self.calls.clear()
        return cs.run(target, state_backend=store, run_id="r", log_level="SILENT", durability="each", **options)

    def fail(self, target: Any, store: Any, *broken: str, **options: Any) -> None:
        self.broken.update(broken)
        with pytest.raises(ValueError, match="tired"):
            self.run(target, store, **options)
        self.broken.clear()

    def adapt(self, target: Any, store: Any) -> Any:
        return self.run(target, store, on_change="adapt")


@pytest.fixture
def made() -> Program:
    return Program([], set())


@pytest.fixture(params=["memory", "file"])
def store(request: Any, tmp_path: Path) -> Any:
    return MemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "runs.db")


def counting() -> Callable[..., int]:
    """Return what gives another number each time."""
    counts = iter(range(100))
    return lambda *given: next(counts)


class TestEqualNodes:
    def test_they_keep_their_values_in_order(self, made: Program, store: Any) -> None:
        draw, last = made.task("draw", counting()), made.task("last")
        made.fail(last(draw(), draw(), draw()), store, "last")
        assert made.adapt(last("more", draw(), draw(), draw(), draw()), store) == ["more", 0, 1, 2, 3]
        assert made.calls == ["draw", "last"]

    @pytest.mark.parametrize("is_first", [True, False])
    def test_one_that_is_new_takes_no_value_from_what_reads_the_other(
        self, is_first: bool, made: Program, store: Any
    ) -> None:
        draw, use, last = made.task("draw", counting()), made.task("use", lambda n: n), made.task("last")
        made.fail(last(use(draw())), store, "last")
        new, kept = made.task("new", lambda n: n)(draw()), use(draw())
        assert made.adapt(last(new, kept) if is_first else last(kept, new), store) == ([1, 0] if is_first else [0, 1])
        assert sorted(made.calls) == ["draw", "last", "new"]

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_what_was_made_of_one_is_never_read_beside_the_other(
        self, order: tuple[int, int], made: Program, store: Any
    ) -> None:
        draw, use, last = made.task("draw", counting()), made.task("use", lambda n: n), made.task("last")
        drawn = [draw(), draw()]
        made.fail(last(drawn[0], drawn[1], use(drawn[1])), store, "last")
        drawn = [draw(), draw()]
        target = last(drawn[order[0]], drawn[order[1]], use(drawn[0]), "more")
        first, second, used, _ = made.adapt(target, store)
        assert used == (first if order[0] == 0 else second)
        assert "draw" not in made.calls

    def test_sharing_is_no_match_for_two(self, made: Program, store: Any) -> None:
        draw, one, other = made.task("draw", counting()), made.task("one", lambda n: n), made.task("other", lambda n: n)
        last = made.task("last")
        made.fail(last(one(draw()), other(draw())), store, "last")
        shared = draw()
        values = made.adapt(last(one(shared), other(shared)), store)
        assert values[0] == values[1]
        assert "draw" not in made.calls


class TestLoops:
    @staticmethod
    def nested(made: Program, turns: int, more: Any = 0) -> Any:
        """Return a loop in which another one runs, and each tells what it was entered with."""
        inner = made.task(
            "inner", lambda n, seen: cs.Jump("in", {"n": n - 1, "seen": [*seen, n]}) if n else [*seen, "inner"]
        )
        outer = made.task(
            "outer", lambda n, fed, seen, more: cs.Jump("out", {"n": n - 1, "seen": [*seen, fed]}) if n else seen
        )

        @cs.task(name="inner")
        def in_inner(n: int, seen: list[Any]) -> Any:
            return inner.func(n, seen)

        @cs.task(name="outer")
        def in_outer(n: int, fed: Any, seen: list[Any], more: Any) -> Any:
            return outer.func(n, fed, seen, more)

        begun = in_inner(2, [])
        cs.bind(begun, cs.select_jump({"in": begun}))
        loop = in_outer(turns, begun, [], more)
        cs.bind(loop, cs.select_jump({"out": loop}))
        return loop

    @pytest.mark.parametrize("turns", [2, 3])
    @pytest.mark.parametrize("more", [0, 1])
    def test_a_loop_keeps_where_it_is_if_nothing_in_it_changed(
        self, turns: int, more: int, made: Program, store: Any
    ) -> None:
        last = made.task("last")
        made.fail(last(self.nested(made, 2)), store, "last")
        expected = made.run(last("x", self.nested(made, turns, more)), MemoryBackend())
        fresh = [*made.calls]
        assert made.adapt(last("x", self.nested(made, turns, more)), store) == expected
        assert made.calls == (["last"] if (turns, more) == (2, 0) else fresh)

    def test_an_entry_in_the_middle(self, made: Program, store: Any) -> None:
        def target(*more: Any) -> Any:
            loop = made.loop(4, max_iterations=10)
            return made.task("last")(*more, loop)

        made.fail(target(), store, "step 2")
        assert made.adapt(target(made.task("new")()), store) == [[], "done"]
        assert [call for call in made.calls if call[0] == "s"] == ["step 2", "step 1", "step 0"]

    def test_a_node_that_is_in_no_loop_any_more_begins_anew(self, made: Program, store: Any) -> None:
        def program(is_in_loop: bool, broken: bool) -> Any:
            def turning(n: int) -> Any:
                made.calls.append(f"turning {n}")
                return cs.Jump("again", {"n": n - 1}) if n else "turned"

            def last(value: Any) -> Any:
                if broken:
                    raise ValueError("tired")
                return value

            state = cs.task(name="turning")(turning)(2)
            cs.bind(state, cs.select_jump({"again": state}))
            if not is_in_loop:
                return cs.task(name="last")(last)(state)
            head = made.task("head", lambda: cs.Jump("go", None))()
            cs.bind(head, cs.select_jump({"go": state}))
            return cs.task(name="last")(last)(head)

        made.fail(program(True, True), store)
        assert made.adapt(program(False, False), store) == "turned"


class TestWhatIsInside:
    def test_what_a_sub_flow_keeps_if_it_is_edited(self, made: Program, store: Any) -> None:
        one, two, new, last = (made.task(name) for name in ("one", "two", "new", "last"))
        made.fail(last(cs.subflow([two(one(cs.Param("x")), 2)], {"x": 7})), store, "last")
        target = last(cs.subflow([two(one(cs.Param("x")), 2), new(one(cs.Param("x")))], {"x": 7}))
        made.adapt(target, store)
        assert sorted(made.calls) == ["last", "new", "one"]
        made.run(target, store)
        assert made.calls == []

    def test_nothing_if_it_is_given_something_else(self, made: Program, store: Any) -> None:
        one, last = made.task("one"), made.task("last")
        made.fail(last(cs.subflow(one(cs.Param("x")), {"x": 7})), store, "last")
        assert made.adapt(last(cs.subflow(one(cs.Param("x")), {"x": 8})), store) == [[8]]

    def test_sub_flows_that_are_edited_match_by_what_they_have_in_common(self, made: Program, store: Any) -> None:
        one, two, three, last = (made.task(name) for name in ("one", "two", "three", "last"))
        made.fail(last(cs.subflow([one(), two()]), cs.subflow([three()])), store, "last")
        made.adapt(last(cs.subflow([three(), one("new")]), cs.subflow([one("new"), one(), two()])), store)
        assert sorted(made.calls) == ["last", "one", "one"]

    def test_far_inside(self, made: Program, store: Any) -> None:
        def deep(target: Any) -> Any:
            for _ in range(60):
                target = cs.subflow(target)
            return target

        one, two, last = made.task("one"), made.task("two"), made.task("last")
        made.fail(last(deep(one()), deep(one(2))), store, "last")
        assert made.adapt(last(deep(two(one())), deep(one(2))), store) == [[[]], [2]]
        assert made.calls == ["two", "last"]

    def test_a_loop_in_a_sub_flow_goes_on(self, made: Program, store: Any) -> None:
        def target(*more: Any) -> Any:
            loop = made.loop(4)
            return made.task("last")(*more, cs.subflow([*more, loop]))

        made.fail(target(), store, "step 2")
        assert made.adapt(target(made.task("new")()), store) == [[], [[], "done"]]
        assert [call for call in made.calls if call[0] == "s"] == ["step 2", "step 1", "step 0"]

    def test_the_items_of_a_map(self, made: Program, store: Any) -> None:
        def item(n: int) -> int:
            made.calls.append(f"item {n}")
            if n == 3 and broken:
                raise ValueError("tired")
            return n

        broken, each, last = {"x"}, cs.task(item), made.task("last")
        made.fail(last(each.map(n=[1, 2, 3])), store)
        broken.clear()
        assert made.adapt(last(made.task("new")(), each.map(n=[1, 2, 3])), store) == [[], [1, 2, 3]]
        assert sorted(made.calls) == ["item 3", "last", "new"]

    def test_where_tail_calls_to_another_blueprint_lead(self, made: Program) -> None:
        def target(*more: Any) -> Any:
            return made.task("last")(*more, made.task("first", lambda: cs.TailCall((), {}, "other"))())

        store, inside, first = MemoryBackend(), made.task("inside", lambda: "in"), made.task("end", lambda n: n)

        async def start(target: Any, how: Any) -> Any:
            made.calls.clear()
            async with Engine(state_backend=store) as engine:
                engine.register_blueprint("other", first(inside()))
                return await engine.run(target, run_id="r", on_change=how)

        made.broken.add("end")
        with pytest.raises(ValueError, match="tired"):
            asyncio.run(start(target(), "keep"))
        made.broken.clear()
        assert asyncio.run(start(target(made.task("new")()), "adapt")) == [[], "in"]
        assert sorted(made.calls) == ["end", "last", "new"]


class TestKeys:
    def test_the_key_for_the_world_outside_stays(self, made: Program, store: Any) -> None:
        keys: list[str] = []

        def pay(*given: Any) -> str:
            keys.append(cs.current().key)
            if len(keys) == 1:
                raise ValueError("the answer was lost")
            return "paid"

        paid = cs.task(name="pay")(pay)
        with pytest.raises(ValueError, match="lost"):
            made.run(made.task("last")(paid(30)), store)
        assert made.adapt(made.task("last")(made.task("new")(), paid(20), paid(30)), store) == [[], "paid", "paid"]
        assert len({*keys}) == 2
        assert keys.count(keys[0]) == 2

    def test_nothing_gets_the_key_of_what_is_gone(self, made: Program, store: Any) -> None:
        keys: list[str] = []
        key = cs.task(name="key")(lambda n: keys.append(cs.current().key))
        last = made.task("last")
        for n in (0, 1, 2, 0):
            made.fail(last(key(n)), store, "last", on_change="adapt")
        assert len({*keys}) == 4

    def test_a_wait_ends_when_it_was_to(self, made: Program, store: Any) -> None:
        def target(*more: Any) -> Any:
            return made.task("last")(*more, cs.wait_signal("yes", timeout=3600, default="no"))

        async def main() -> None:
            async with Engine(state_backend=store) as engine:
                engine.start(target(), run_id="r")
                while not await engine.runs(status="Running"):
                    await asyncio.sleep(0)
                await engine.signal("r", "yes", "yes")
                while not any(step.preview for step in await engine.history("r")):
                    await asyncio.sleep(0.01)
                made.broken.add("last")

        made.broken.add("last")
        asyncio.run(main())
        made.broken.clear()
        assert made.adapt(target(made.task("new")()), store) == [[], "yes"]


class TestStarts:
    @pytest.mark.parametrize("last", [0, 1, 2, 3])
    @pytest.mark.parametrize("how", ["keep", "adapt", "rerun"])
    def test_a_crash_in_the_middle_leaves_nothing_wrong(self, last: int, how: Any, made: Program) -> None:
        def target(is_edited: bool) -> Any:
            one, two, end = made.task("one", lambda n: n), made.task("two", lambda *given: [*given]), made.task("end")
            return end(two(one(5), one(2)), one(1), one(2)) if is_edited else end(one(1), two(one(2)), one(3))

        store, dying = MemoryBackend(), Dying()
        made.fail(target(False), store, "end")
        dying._kept, dying.last = store._kept, last
        made.fail(target(True), dying, "end", on_change="adapt")
        for kept in store._kept.values():
            kept.record = kept.record._replace(owner=None)
        assert made.run(target(True), store, on_change=how) == [[5, 2], 1, 2]
        assert made.calls.count("one") <= 2  # of 1 and 2 it is never called again

    def test_names_in_the_history_are_those_of_the_graph_now(self, made: Program, store: Any) -> None:
        one, last = made.task("one", lambda n: n), made.task("last")
        made.fail(last(one(1), one(2)), store, "last")
        made.adapt(last(one(0), one(1), one(4)), store)

        async def look() -> list[tuple[str, str]]:
            async with Engine(state_backend=store) as engine:
                return [(step.task_id, step.preview) for step in await engine.history("r") if step.kind == "value"]

        assert sorted(asyncio.run(look())) == [
            *[("last#1", "[0, 1, 4]"), ("one#1", "0"), ("one#2", "1"), ("one#3", "4")]
        ]

    def test_again_and_again(self, made: Program, store: Any) -> None:
        one, last = made.task("one", lambda n: n), made.task("last")
        made.fail(last(one(0)), store, "last")
        for n in range(1, 4):
            target = last(*[one(-each) for each in range(1, n)], *[one(each) for each in range(n + 1)])
            made.fail(target, store, "last", on_change="adapt")
            assert made.calls.count("one") == (2 if n > 1 else 1)

    def test_what_has_succeeded_goes_on_as_another_graph(self, made: Program, store: Any) -> None:
        one, last = made.task("one", lambda n: n), made.task("last")
        assert made.run(last(one(1)), store) == [1]
        with pytest.raises(RunChangedError, match=r"added: one#2.*(?s:.*)on_change=\"adapt\""):
            made.run(last(one(1), one(2)), store)
        assert made.adapt(last(one(1), one(2)), store) == [1, 2]
        assert made.calls == ["one", "last"]
        assert made.run(last(one(1), one(2)), store) == [1, 2]
        assert made.calls == []

    def test_forks_and_other_code_after_it(self, made: Program, store: Any) -> None:
        def one(version: int) -> Any:
            return made.task("one", lambda n: n + version, version=version)

        two, last = made.task("two"), made.task("last")
        made.fail(last(one(0)(1), two()), store, "last")

        def target(version: int) -> Any:
            return last(two(7), one(version)(1), two(), cs.subflow(one(version)(10)))

        assert made.adapt(target(0), store) == [[7], 1, [], 10]

        async def forked() -> Any:
            async with Engine(state_backend=store) as engine:
                new = await engine.fork("r", at="one#1")
                made.calls.clear()
                return await engine.run(target(0), run_id=new), [*made.calls]

        assert asyncio.run(forked()) == ([[7], 1, [], 10], ["one", "last"])
        made.fail(made.task("end")(target(0)), store, "end", on_change="adapt")
        assert made.run(made.task("end")(target(1)), store, on_change="rerun") == [[[7], 2, [], 11]]
        assert sorted(made.calls) == ["end", "last", "one", "one"]

    def test_a_parameter_that_the_graph_has_no_more(self, made: Program, store: Any) -> None:
        one, last = made.task("one"), made.task("last")
        made.fail(last(one(cs.Param("a"))), store, "last", params={"a": 1})
        assert made.adapt(last(one(2)), store) == [[2]]
        with pytest.raises(ParameterError, match="required"):
            made.adapt(last(one(cs.Param("b"))), store)


def test_entries_of_a_loop_that_keeps_all(made: Program, store: Any) -> None:
    @cs.task(name="halve")
    def halve(n: int) -> Any:
        made.calls.append(f"halve {n}")
        return cs.Jump("again", n // 2) if n % 2 == 0 else n

    def target(*more: Any) -> Any:
        step = halve(40)
        cs.bind(step, cs.select_jump({"again": step}), history=True)
        return made.task("last")(*more, step)

    made.fail(target(), store, "last")
    assert made.adapt(target(made.task("new")()), store) == [[], 5]

    async def main() -> Any:
        async with Engine(state_backend=store) as engine:
            new = await engine.fork("r", at="halve#1@2")
            made.calls.clear()
            return await engine.run(target(made.task("new")()), run_id=new)

    assert asyncio.run(main()) == [[], 5]
    assert made.calls == ["halve 10", "halve 5", "last"]


def test_long_chains_are_matched_fast() -> None:
    size = 20_000
    chain = [[f"f({chr(1)})", i - 1] if i else ["f()"] for i in range(size)]
    other = [*chain[: size // 2], *[[f"g({chr(1)})", i] for i in range(size // 2 - 1, size - 1)]]
    found = match(outline_of(chain, [[size, -1, -1, size - 1]]), outline_of(other, [[size, -1, -1, size - 1]]))
    assert found.same == {i: i for i in range(size // 2)}


class TestStreams:
    """Items of streams are known by what they are."""

    @pytest.mark.parametrize(
        ("now", "called"),
        [
            ("abc", ""),
            ("xabc", "x"),
            ("axbc", "x"),
            ("bc", ""),
            ("cba", ""),
            ("caxb", "x"),
            ("xyz", "xyz"),
            ("", ""),
            ("aabbcc", "abc"),
        ],
    )
    def test_each_keeps_its_value_wherever_it_stands(self, now: str, called: str, made: Program, store: Any) -> None:
        def target(items: str) -> Any:
            def item(x: str) -> str:
                made.calls.append(x)
                return f"{x}{x}"

            def last(values: list[str]) -> list[str]:
                if made.broken:
                    raise ValueError("tired")
                return values

            mapped = cs.task(name="item", version=1)(item).map(x=Again(iter, items))
            return cs.task(name="last", version=1)(last)(mapped)

        made.fail(target("abc"), store, "last")
        if now != "abc":
            with pytest.raises(RunChangedError, match='on_change="adapt"'):
                made.run(target(now), store)
        assert made.adapt(target(now), store) == [x * 2 for x in now]
        assert sorted(made.calls) == sorted(called)
        assert made.run(target(now), store) == [x * 2 for x in now]

    def test_later_starts_know_them_too(self, made: Program, store: Any) -> None:
        def target(items: str) -> Any:
            def item(x: str) -> tuple[str, str]:
                made.calls.append(x)
                return x, cs.current().key

            def last(values: list[Any]) -> list[Any]:
                if made.broken:
                    raise ValueError("tired")
                return values

            mapped = cs.task(name="item", version=1)(item).map(x=Again(iter, items))
            return cs.task(name="last", version=1)(last)(mapped)

        made.fail(target("abc"), store, "last")
        made.fail(target("xcab"), store, "last", on_change="adapt")
        assert made.calls == ["x"]
        made.fail(target("xcab"), store, "last")
        assert made.calls == []
        with pytest.raises(RunChangedError, match=r"ended before item item#1\[|was recorded"):
            made.run(target("xca"), store)
        made.fail(target("ybx"), store, "last", on_change="adapt")
        assert made.calls == ["y"]
        found = made.adapt(target("bbyx"), store)
        assert [x for x, _ in found] == ["b", "b", "y", "x"]
        assert made.calls == ["b"]
        assert len({key for _, key in found}) == 4

    def test_loops_of_items_go_on(self, made: Program, store: Any) -> None:
        broken = {"c"}

        def target(items: str) -> Any:
            def turn(x: str, n: int = 3) -> Any:
                made.calls.append(f"{x}{n}")
                if x in broken and n == 1:
                    raise ValueError("tired")
                return cs.Jump("on", {"x": x, "n": n - 1}) if n else x * 2

            turning: Any = cs.task(name="turn", version=1)(turn).map(x=Again(iter, items), concurrency=1)
            cs.bind(turning, cs.select_jump({"on": turning}))
            return turning

        with pytest.raises(ValueError, match="tired"):
            made.run(target("abc"), store)
        broken.clear()
        assert made.adapt(target("cxab"), store) == ["cc", "xx", "aa", "bb"]
        assert made.calls == ["c1", "c0", "x3", "x2", "x1", "x0"]


class Again:
    """What can be read again from its start, and has no length."""

    def __init__(self, make: Callable[[str], Any], items: str) -> None:
        self.make, self.items = make, items

    def __iter__(self) -> Any:
        return self.make(self.items)

    def __reduce__(self) -> Any:
        raise TypeError("it counts by its type")
