"""Maps whose items fail: raised, collected, skipped, and how many may."""

import asyncio
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import MessageBus
from cascade.runtime.events import RunFinished, RunWarning, TaskExecutionFinished, TaskRetrying
from cascade.testing import SpySubscriber
from tests.runtime.test_maps import every_mode, task_of
from tests.workflows import Tier, Way, every_tier, every_way, inline, run


def odd_only(x: Any, y: Any = 0) -> Any:
    if x % 2 == 0:
        raise ValueError(f"{x} is even")
    return x * 10 + y


def split(results: list[Any]) -> tuple[list[Any], list[int]]:
    """Return the values among results, and the numbers of the items that failed."""
    values = [each for each in results if not isinstance(each, cs.Failed)]
    return values, [each.index for each in results if isinstance(each, cs.Failed)]


class TestCollecting:
    @every_tier
    @every_mode
    @pytest.mark.parametrize("concurrency", [None, 1, 3])
    def test_puts_a_record_in_the_place_of_each_failed_item(
        self, tier: Tier, mode: Any, concurrency: int | None
    ) -> None:
        mapped = task_of(odd_only, mode).map(x=range(200), concurrency=concurrency, on_error="collect")
        results = run(mapped, tier=tier)
        assert len(results) == 200
        for x, result in enumerate(results):
            if x % 2:
                assert result == 10 * x
            else:
                assert (result.index, result.arguments) == (x, {"x": x})
                assert (type(result.error), str(result.error)) == (ValueError, f"{x} is even")
                (note,) = result.error.__notes__
                assert f"#1[{x}] (declared at " in note

    @every_way
    def test_records_all_arguments_of_the_call(self, way: Way) -> None:
        @cs.task(mode="inline")
        def check(x: int, k: int, *, limit: int, start: int = 0) -> int:
            assert x < limit
            return x

        (good, bad) = way.run(check.partial(k=5, limit=2).map(x=[1, 2], on_error="collect"))
        assert good == 1
        assert bad.arguments == {"x": 2, "k": 5, "limit": 2}
        assert repr(bad).startswith("Failed(AssertionError(")

    def test_it_is_shown_in_brief(self) -> None:
        arguments = {"a": "y" * 5000, "url": "http://me:secret@host/" + "z" * 300, **{str(n): n for n in range(20)}}
        shown = repr(cs.Failed(ValueError("x" * 2000), 0, arguments))
        assert len(shown) < 900
        assert "secret" not in shown
        assert "and 14 more" in shown
        assert repr(cs.Failed(ValueError("x"), 3, {"a": 1})) == "Failed(ValueError('x'), index=3, arguments={'a': 1})"

    @every_tier
    def test_a_method_has_no_self_among_them(self, tier: Tier) -> None:
        class Shop:
            @cs.task
            def price(self, item: str) -> int:
                raise KeyError(item)

        (failed,) = run(Shop().price.map(item=["tea"], on_error="collect"), tier=tier)
        assert failed.arguments == {"item": "tea"}

    @every_mode
    def test_its_traceback_begins_in_the_task(self, mode: Any) -> None:
        (failed,) = run(task_of(odd_only, mode).map(x=[2], on_error="collect").with_timeout(60))
        found = traceback.extract_tb(failed.error.__traceback__)
        ours = Path(cs.__file__).parent
        assert not [each.filename for each in found if Path(each.filename).is_relative_to(ours)]
        assert found[-1].name == "odd_only"

    def test_a_record_pickles(self) -> None:
        (failed,) = run(inline(odd_only).map(x=[2], on_error="collect"))
        copy = pickle.loads(pickle.dumps(failed))
        assert (type(copy.error), copy.index, copy.arguments) == (ValueError, 0, {"x": 2})

    @every_tier
    @every_mode
    def test_comes_after_all_attempts(self, tier: Tier, mode: Any) -> None:
        spy = SpySubscriber(bus := MessageBus())
        mapped = task_of(odd_only, mode).map(x=[1, 2], on_error="collect").with_retry(3)
        assert split(run(mapped, tier=tier, bus=bus)) == ([10], [1])
        assert [event.attempt for event in spy.events_of_type(TaskRetrying)] == [1, 2]
        finished = spy.events_of_type(TaskExecutionFinished)
        assert sorted((event.task_id[-3:], event.status) for event in finished) == [
            ("[0]", "Succeeded"),
            ("[1]", "Failed"),
        ]
        assert [event.status for event in spy.events_of_type(RunFinished)] == ["Succeeded"]

    @every_way
    def test_holds_for_the_loop_of_an_item(self, way: Way) -> None:
        @cs.task(mode="inline")
        def down(n: int) -> Any:
            if n == 13:
                raise ValueError("unlucky")
            return cs.Jump("again", n - 1) if n % 10 else cs.Jump("out", n)

        mapped = down.map(n=[9, 18, 13, 25], on_error="collect")
        cs.bind(mapped, cs.select_jump({"again": mapped, "out": None}))
        values, failed = split(results := way.run(mapped))
        assert (values, failed) == ([0, 20], [1, 2])
        assert results[1].arguments == {"n": 18}
        assert "iteration 5" in results[1].error.__notes__[0]

    @every_way
    def test_a_jump_that_leads_nowhere_is_a_failure_of_the_item(self, way: Way) -> None:
        jump = inline(lambda x: cs.Jump("nowhere") if x == 1 else x)
        values, failed = split(results := way.run(jump.map(x=[0, 1, 2], on_error="collect")))
        assert (values, failed) == ([0, 2], [1])
        assert isinstance(results[1].error, cs.JumpError)

    @every_tier
    def test_a_cancelled_error_uncalled_for_is_one_too(self, tier: Tier) -> None:
        @cs.task
        async def gives_up(x: int) -> int:
            await asyncio.sleep(0)
            if x:
                raise asyncio.CancelledError
            return x

        values, failed = split(run(gives_up.map(x=[0, 1], on_error="collect"), tier=tier))
        assert (values, failed) == ([0], [1])

    @every_tier
    def test_an_interrupt_is_not_collected(self, tier: Tier) -> None:
        def stop(x: int) -> None:
            raise SystemExit(3)

        with pytest.raises(SystemExit):
            run(inline(stop).map(x=[1], on_error="collect"), tier=tier)

    @every_tier
    def test_an_input_that_fails_is_no_item(self, tier: Tier) -> None:
        def numbers() -> Any:
            yield 1
            raise ConnectionError("lost")

        with pytest.raises(ConnectionError, match="lost"):
            run(inline(odd_only).map(x=numbers(), on_error="collect"), tier=tier)

    @every_tier
    def test_with_a_constraint_that_fits_one_item(self, tier: Tier) -> None:
        mapped = inline(odd_only).map(x=range(20), on_error="collect").with_constraints(gpu=1)
        values, failed = split(run(mapped, tier=tier, system_resources={"gpu": 1}))
        assert len(values) == len(failed) == 10


class TestSkipping:
    @every_tier
    @every_mode
    def test_leaves_failed_items_out(self, tier: Tier, mode: Any) -> None:
        mapped = task_of(odd_only, mode).map(x=range(100), on_error="skip")
        assert run(mapped, tier=tier) == [10 * x for x in range(1, 100, 2)]

    @every_way
    def test_all_of_them_too(self, way: Way) -> None:
        assert way.run(inline(odd_only).map(x=[2, 4], on_error="skip")) == []

    @every_tier
    def test_is_told_in_a_warning(self, tier: Tier) -> None:
        spy = SpySubscriber(bus := MessageBus())
        assert run(inline(odd_only).map(x=[1, 2, 4], on_error="skip"), tier=tier, bus=bus) == [10]
        (warning,) = spy.events_of_type(RunWarning)
        assert warning.code == "ItemsSkipped"
        assert warning.message.startswith("2 of the 3 items of the map odd_only#1 (declared at ")
        run(inline(odd_only).map(x=[1, 3], on_error="skip"), tier=tier, bus=bus)
        assert len(spy.events_of_type(RunWarning)) == 1


class TestMaxErrors:
    @every_tier
    @every_mode
    @pytest.mark.parametrize("on_error", ["collect", "skip"])
    @pytest.mark.parametrize(("most", "fails"), [(0, True), (4, True), (5, False), (0.4, True), (0.5, False)])
    def test_is_how_many_items_may_fail(self, tier: Tier, mode: Any, on_error: Any, most: float, fails: bool) -> None:
        mapped = task_of(odd_only, mode).map(x=range(10), on_error=on_error, max_errors=most)
        if not fails:
            assert split(run(mapped, tier=tier))[0] == [10, 30, 50, 70, 90]
            return
        with pytest.raises(ValueError, match="is even") as caught:
            run(mapped, tier=tier)
        assert any(f"max_errors={most} does not allow" in note for note in caught.value.__notes__)

    @every_tier
    def test_ends_the_map_at_once(self, tier: Tier) -> None:
        calls: list[int] = []

        def fails(x: int) -> None:
            calls.append(x)
            raise ValueError("never")

        with pytest.raises(ValueError, match="never"):
            run(inline(fails).map(x=range(100), on_error="skip", max_errors=0.1), tier=tier)
        assert calls == list(range(11))

    @every_tier
    @pytest.mark.parametrize(("most", "fails"), [(0.5, False), (0.4, True)])
    def test_a_share_of_a_stream_is_looked_at_when_it_has_ended(self, tier: Tier, most: float, fails: bool) -> None:
        calls: list[int] = []

        def half(x: int) -> int:
            calls.append(x)
            return int(odd_only(x))

        mapped = inline(half).map(x=iter(range(100)), on_error="skip", max_errors=most)
        if fails:
            with pytest.raises(ValueError, match="is even"):
                run(mapped, tier=tier)
        else:
            assert len(run(mapped, tier=tier)) == 50
        assert calls == list(range(100))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"on_error": "ignore"}, 'on_error is "raise", "collect" or "skip", not \'ignore\''),
        ({"on_error": "collect", "max_errors": -1}, "max_errors is how many items may fail"),
        ({"on_error": "collect", "max_errors": 1.0}, "max_errors is how many items may fail"),
        ({"on_error": "collect", "max_errors": True}, "max_errors is how many items may fail"),
        ({"on_error": "collect", "max_errors": "2"}, "max_errors is how many items may fail"),
        ({"max_errors": 2}, 'max_errors=2 needs on_error="collect" or on_error="skip"'),
        ({"window": 0}, "window is 1 or more, not 0"),
        ({"window": [1, 2]}, "window is 1 or more"),
        ({"concurrency": True}, "concurrency is 1 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, Any], reason: str) -> None:
    for declare in (inline(odd_only), inline(odd_only).partial(y=1)):
        with pytest.raises(ValueError, match=f"map of 'odd_only': {reason}"):
            declare.map(x=[1], **options)
