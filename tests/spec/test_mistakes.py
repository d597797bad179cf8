"""What is given in the place of a value by mistake is refused where it is given, with the line to write."""

import asyncio
import dataclasses
import types
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from tests.workflows import Tier, every_tier, in_loop, run


@cs.task
def same(x: Any, y: Any = None) -> Any:
    return x


@cs.task
def positive(x: int) -> bool:
    return x > 0


def plain() -> bool:
    return False


async def coroutine() -> bool:
    return False


@dataclasses.dataclass
class Box:
    item: Any
    more: Any = None

    @cs.task
    def take(self, y: Any = None) -> Any:
        return self.item


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    item: Any


def records() -> list[Callable[[Any], Any]]:
    """Ways to hide a value in a record."""
    ways: list[Callable[[Any], Any]] = [
        Box,
        Frozen,
        lambda lazy: Box(1, Frozen(lazy)),
        lambda lazy: Box([1, {"a": (2, lazy)}]),
    ]
    try:
        import pydantic

        class Model(pydantic.BaseModel):
            item: Any

        ways += [lambda lazy: Model(item=lazy), lambda lazy: Model.model_construct(item=lazy)]
    except ImportError:
        pass
    try:
        import attrs

        ways.append(attrs.make_class("Attrs", ["item"]))
    except ImportError:
        pass
    return ways


class TestRecords:
    @pytest.mark.parametrize("make", [lambda: same(1), lambda: cs.Param("p"), lambda: same.map(x=[1])])
    @pytest.mark.parametrize("hide", records())
    def test_a_lazy_value_in_one_is_refused_at_the_call(
        self, hide: Callable[[Any], Any], make: Callable[[], Any]
    ) -> None:
        lazy = make()
        record = hide(lazy)
        calls: list[Callable[[], Any]] = [
            lambda: same(record),
            lambda: same(1, record),
            lambda: same(x=record),
            lambda: same.partial(y=record),
            lambda: cs.subflow(same(cs.Param("x")), {"x": record}),
        ]
        for call in calls:
            with pytest.raises(TypeError) as caught:
                call()
            text, name = str(caught.value), type(record).__name__
            assert f"is given a {name} with {lazy!r} in it, as {name}.item" in text or f"{name}.more.item" in text
            assert f"make the {name} while running: cs.task({name})(...), with the lazy value as an argument" in text

    @pytest.mark.parametrize("hide", records()[:2])
    def test_in_a_container_it_is_an_error_of_the_graph(self, hide: Callable[[Any], Any]) -> None:
        lazy = same(1)
        for target in (
            same([hide(lazy)]),
            same({"a": (hide(1), hide(lazy))}),
            same.map(x=[1, hide(lazy)]),
            same(cs.Router(same("a"), {"a": hide(lazy)})),
            same(1).run_if(same(True), otherwise=hide(lazy)),
            [same(1), hide(lazy)],
        ):
            with pytest.raises(cs.StaticGraphError, match=r"\.item: only lists, tuples and dicts are searched"):
                cs.compile(target)

    @every_tier
    def test_one_without_is_a_value(self, tier: Tier) -> None:
        for value in (Box(1), Frozen([Box(2)]), Box, types.SimpleNamespace(item=1)):
            assert run(same(value), tier=tier) is value
        assert run(same([Box(3), same(4)]), tier=tier) == [Box(3), 4]
        assert run(cs.task(Box)(same(5)), tier=tier) == Box(5)

    @every_tier
    def test_the_self_of_a_method_may_hold_some(self, tier: Tier) -> None:
        box = Box(same(1))
        assert run(same(1).run_if(same(True).run_if(box is not None)), tier=tier) == 1
        assert box.take(2).args == (box, 2)
        assert box.take(y=2).args == (box, 2)

    def test_a_large_one_costs_little(self) -> None:
        class Counted(list[Any]):
            looks = 0

            def __getitem__(self, key: Any) -> Any:
                Counted.looks += 1
                return super().__getitem__(key)

        same(Box([Frozen(0)] * 100_000))
        same(Box(Counted([0] * 1000)))
        assert Counted.looks == 0


class TestConditionsAndSelectors:
    @pytest.mark.parametrize("given", [plain, lambda: False, positive, positive.partial(x=1), print, Box])
    def test_a_function_is_no_condition(self, given: Any) -> None:
        for misuse in (same(1).run_if, lambda given: cs.Router(given, {True: 1, False: 0})):
            with pytest.raises(TypeError) as caught:
                misuse(given)
            text = str(caught.value)
            assert ".run_if(" in text or "cs.Router(" in text
            if isinstance(given, type(positive)):
                assert f"is given the task 'positive' ({positive.declared}) itself: it was not called" in text
                assert "did you mean .run_if(positive(...))?" in text or "cs.Router(positive(...), ...)?" in text
            elif given is plain:
                assert f"is given the function 'plain' ({__file__}:" in text
                assert "it would never be called, and always count as true; make it a task and call that:" in text
                assert "(cs.task(plain)(...)" in text
            assert "itself: " in text

    def test_nor_is_a_coroutine_or_a_run(self) -> None:
        with pytest.raises(TypeError, match=r"the coroutine 'coroutine' \(.*\d+\) itself: nobody awaits"):
            same(1).run_if(coroutine())

        async def with_a_run() -> None:
            async with Engine() as engine:
                going = engine.start(same(True))
                with pytest.raises(TypeError, match=r"which is a run and not its value: value = await run"):
                    same(1).run_if(going)
                with pytest.raises(TypeError, match="a run and not its value"):
                    cs.Router(going, {True: 1})

        in_loop(with_a_run)

    @every_tier
    def test_values_are(self, tier: Tier) -> None:
        for truth in (True, 1, "yes", [0], object(), positive(1), cs.Param("p", default=True), cs.Router(1, {1: True})):
            assert run(same(1).run_if(truth, otherwise=2), tier=tier) == 1
        for truth in (False, 0, "", [], None, positive(0), 0.0):
            assert run(same(1).run_if(truth, otherwise=2), tier=tier) == 2
        assert run(same(cs.Router(int, {int: "whole", str: "text"})), tier=tier) == "whole"

    def test_a_task_that_was_not_called_is_no_route_and_no_otherwise(self) -> None:
        for misuse in (
            lambda: cs.Router("a", {"a": positive}),
            lambda: cs.Router("a", {"a": 1}, default=positive),
            lambda: same(1).run_if(True, otherwise=positive),
            lambda: cs.subflow(same(cs.Param("x")), {"x": positive}),
        ):
            with pytest.raises(TypeError, match=r"did you mean positive\(\)\? \(cs.Value\(positive\) passes"):
                misuse()
        assert run(same(cs.Router("a", {"a": cs.Value(positive)}))) is positive
        with pytest.raises(TypeError, match=r"takes lazy results, not .*did you mean positive\(\)\?"):
            same(1).after(positive)
        with pytest.raises(TypeError, match=r"takes lazy results, not .*did you mean positive\(\)\?"):
            cs.sequence([same(1), positive])


class TestRunsAndTargets:
    @pytest.mark.parametrize("value", [plain, lambda: 2, len, [].append, coroutine])
    def test_nor_is_a_function_or_a_coroutine(self, value: Any) -> None:
        ways: list[Callable[[Any], Any]] = [
            lambda it: cs.Router(1, {1: it}),
            lambda it: cs.Router(1, {2: 1}, default=it),
            lambda it: same(1).run_if(True, otherwise=it),
        ]
        for give in ways:
            with pytest.raises(TypeError, match=r"is given the function .* make it a task and call that: cs\.task\("):
                give(value)
            with pytest.raises(TypeError, match=r"is given the coroutine 'coroutine' .*, which nobody awaits; make"):
                give(coroutine())

    @every_tier
    def test_a_value_gives_a_function(self, tier: Tier) -> None:
        assert run(cs.Router(1, {1: cs.Value(plain)}), tier=tier) is plain
        assert run(same(1).run_if(False, otherwise=cs.Value(plain)), tier=tier) is plain
        assert run(cs.Router(1, {1: Box}), tier=tier) is Box

    def test_a_run_is_no_argument(self) -> None:
        async def misuse() -> None:
            async with Engine() as engine:
                going = engine.start(same(1))
                calls: list[Callable[[], Any]] = [
                    lambda: same(going),
                    lambda: same(1, going),
                    lambda: same(x=going),
                    lambda: cs.subflow(going),
                    lambda: cs.compile(same([going])),
                ]
                for call in calls:
                    with pytest.raises((TypeError, cs.StaticGraphError)) as caught:
                        call()
                    assert repr(going) in str(caught.value)
                    assert "value = await run" in str(caught.value)
                with pytest.raises(TypeError, match="which is going on already: value = await run"):
                    await engine.run(going)
                assert await going == 1

        in_loop(misuse)

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (
                lambda: plain,
                r"the function 'plain' \(.*\), which would not be called.*cs.run\(cs.task\(plain\)\(...\)\)",
            ),
            (lambda: Box(1).take.func, r"the function 'take'"),
            (lambda: coroutine, r"the function 'coroutine'"),
            (coroutine, r"the coroutine 'coroutine' \(.*\): it runs lazy results; make the function a task"),
            (lambda: positive, r"<Task 'positive', declared at .*> was not called.*did you mean positive\(\)\?"),
            (lambda: positive.partial(x=1), r"was not called.*did you mean positive\(\)\?"),
            (lambda: cs.compile(same(1)), r"is given a compiled flow: await it \(value = await flow\(n=1\)\)"),
        ],
    )
    def test_what_is_no_target(self, make: Callable[[], Any], words: str) -> None:
        with pytest.raises(TypeError, match=words):
            cs.run(make(), log_level="SILENT")
        with pytest.raises(TypeError, match=words):
            asyncio.run(cs.arun(make()))
        with pytest.raises(TypeError, match=words.replace("cs.run", "cs.subflow")):
            cs.subflow(make())

    def test_a_plain_value_is_one(self) -> None:
        values: list[Any] = [3, None, "text", [], {}, Box(1), Box]
        for value in values:
            assert cs.run(value, log_level="SILENT") is value
