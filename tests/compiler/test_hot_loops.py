"""Loops that became Python functions: what they look like, and that nothing but speed tells them from the others."""

import asyncio
import gc
import linecache
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.analysis.shapes import MOST_KEPT, profiles_of
from cascade.compiler.code.emitted import LoopCode
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskExecutionStarted

TIERS = ["interpret", "compile", "auto"]


@cs.task(mode="inline")
def noop(value: Any = None) -> Any:
    return "done"


@cs.task(mode="inline")
def countdown(n: int, chain: Any = None) -> cs.Jump:
    return cs.Jump("again", n - 1) if n > 0 else cs.Jump("exit", "done")


def loop(step: Any) -> Any:
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}))


def run(target: Any, tier: Any = "compile", **options: Any) -> Any:
    async def main() -> Any:
        async with Engine(tier=tier, **options) as engine:
            return await engine.run(target)

    return asyncio.run(main())


def hot_loops(target: Any) -> list[LoopCode]:
    """The loops that were emitted while `target` ran."""
    return [hot.loop for profile in profiles_of(target.plan.blueprint) for hot in profile.made.values() if hot]


def test_the_emitted_source_reads_like_hand_written_code() -> None:
    target = loop(countdown(3, noop(noop())))
    assert run(target) == "done"
    (hot,) = hot_loops(target)
    lines = [line.split("  #")[0].rstrip() for line in hot.source.splitlines()]
    assert lines == [
        "def countdown_loop(turn, n):",
        "    i = result = None",
        "    for i in turn:",
        "        value = noop()",
        "        if value.__class__ is not str: odd(value)",
        "        chain = noop(value)",
        "        if chain.__class__ is not str: odd(chain)",
        "        result = countdown(n, chain)",
        "        if result._cascade_key is not to_again or (data := result.data).__class__ is not int:",
        "            return i, 0, result, (n, chain)",
        "        n = data",
        "    return i, 0, result, None",
    ]
    assert hot.source.count("test_hot_loops.py:") == 3


def test_tier_interpret_emits_nothing_and_auto_waits_until_it_pays() -> None:
    short, long, never = loop(countdown(5)), loop(countdown(500)), loop(countdown(500))
    run(short, "auto")
    run(long, "auto")
    run(never, "interpret")
    assert [len(hot_loops(target)) for target in (short, long, never)] == [0, 1, 0]


@pytest.mark.parametrize("tier", TIERS)
def test_every_call_is_made_once(tier: str) -> None:
    calls = {"feed": 0, "step": 0}

    @cs.task(mode="inline")
    def feed() -> int:
        calls["feed"] += 1
        return 1

    @cs.task(mode="inline")
    def step(n: int, fed: int) -> cs.Jump:
        calls["step"] += fed
        return cs.Jump("again", {"n": n - 1}) if n else cs.Jump("exit", n)

    assert run(loop(step(40_000, feed())), tier) == 0
    assert calls == {"feed": 40_001, "step": 40_001}


@pytest.mark.parametrize("tier", TIERS)
def test_an_error_points_at_the_users_line_and_names_the_iteration(tier: str) -> None:
    @cs.task(mode="inline")
    def fragile(n: int) -> cs.Jump:
        if n == 30_000:
            raise LookupError("the reason")
        return cs.Jump("again", n - 1)

    with pytest.raises(LookupError, match="the reason") as caught:
        run(loop(fragile(100_000)), tier)
    assert "iteration 70000" in caught.value.__notes__[0]
    assert "fragile#1" in caught.value.__notes__[0]
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert last.line == 'raise LookupError("the reason")'
    shown = "".join(traceback.format_exception(caught.value))
    assert ("result = fragile(n)" in shown) == (tier != "interpret")


@pytest.mark.parametrize("tier", TIERS)
def test_an_error_in_what_feeds_the_state_names_that_node(tier: str) -> None:
    count = 0

    @cs.task(mode="inline")
    def feed(value: Any) -> Any:
        nonlocal count
        count += 1
        if count == 777:
            raise ValueError("feed")
        return value

    with pytest.raises(ValueError, match="feed") as caught:
        run(loop(countdown(1_000, feed(noop()))), tier)
    assert "in task feed#1" in caught.value.__notes__[0]
    assert "iteration 776" in caught.value.__notes__[0]


def at_call(number: int, make: Callable[[], Any], plain: Any = 0) -> Any:
    """A task that returns `plain`, but at its call `number` what `make` makes."""
    count = 0

    @cs.task(mode="inline", name="changing")
    def changing() -> Any:
        nonlocal count
        count += 1
        return make() if count == number else plain

    return changing


async def later() -> str:
    await asyncio.sleep(0)
    return "later"


@cs.task(mode="inline")
def collect(n: int, seen: Any, new: Any) -> cs.Jump:
    seen = [*seen, new] if new else seen
    return cs.Jump("again", {"n": n - 1, "seen": seen}) if n else cs.Jump("exit", seen)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("make", [lambda: "text", lambda: 2.5, lambda: [1], lambda: True])
def test_a_result_of_another_class_is_a_value_like_any_other(tier: str, make: Any) -> None:
    assert run(loop(collect(100, [], at_call(50, make)())), tier) == [make()]


@pytest.mark.parametrize("tier", TIERS)
def test_a_coroutine_returned_in_the_middle_is_awaited(tier: str) -> None:
    assert run(loop(collect(100, [], at_call(50, later)())), tier) == ["later"]


@pytest.mark.parametrize("tier", TIERS)
def test_a_tail_call_in_the_middle_calls_that_task_again(tier: str) -> None:
    assert run(loop(collect(100, [], at_call(50, cs.TailCall, 0)())), tier) == []
    assert run(loop(collect(100, [], at_call(50, cs.TailCall, 7)())), tier) == [7] * 101


@pytest.mark.parametrize("tier", TIERS)
def test_a_jump_or_a_lazy_result_in_the_middle_is_an_error_of_that_task(tier: str) -> None:
    with pytest.raises(cs.JumpError, match="'changing'") as jumped:
        run(loop(collect(100, [], at_call(50, lambda: cs.Jump("again"))())), tier)
    assert "iteration 49" in jumped.value.__notes__[0]
    with pytest.raises(cs.StaticGraphError, match="'changing'"):
        run(loop(collect(100, [], at_call(50, noop)())), tier)


class OwnJump(cs.Jump):
    """A subclass means what its base means."""


@pytest.mark.parametrize("tier", TIERS)
def test_jumps_of_subclasses_and_one_jump_returned_often(tier: str) -> None:
    kept = cs.Jump("again", 1)
    count = 0

    @cs.task(mode="inline")
    def step(n: int) -> Any:
        nonlocal count
        count += 1
        if count == 5_000:
            return OwnJump("exit", count)
        return OwnJump("again", n) if count % 1_000 == 0 else kept

    assert run(loop(step(0)), tier) == 5_000
    assert count == 5_000


@pytest.mark.parametrize("tier", TIERS)
def test_data_whose_kind_changes(tier: str) -> None:
    seen: list[Any] = []

    @cs.task(mode="inline")
    def step(n: int, extra: Any = "declared") -> Any:
        if not seen or seen[-1] != extra:
            seen.append(extra)
        if n == 300:
            return cs.Jump("again", {"n": 299, "extra": "given"})
        if n == 200:
            return cs.Jump("again", cs.Value(199))
        if n == 100:
            return cs.TailCall(kwargs={"n": 99})
        return cs.Jump("again", n - 1) if n else "plain"

    assert run(loop(step(400)), tier) == "plain"
    assert seen == ["declared", "given", "declared"]


@pytest.mark.parametrize("tier", TIERS)
def test_one_key_that_leads_elsewhere_from_each_state(tier: str) -> None:
    passed: list[str] = []

    @cs.task(mode="inline")
    def ping(n: int) -> cs.Jump:
        passed.append("ping")
        return cs.Jump("next", n - 1) if n else cs.Jump("exit", "ping")

    @cs.task(mode="inline")
    def pong(n: int) -> cs.Jump:
        passed.append("pong")
        return cs.Jump("next", n - 1) if n else cs.Jump("exit", "pong")

    one, two = ping(101), pong(0)
    cs.bind(one, cs.select_jump({"next": two, "exit": None}))
    cs.bind(two, cs.select_jump({"next": one, "exit": None}))
    assert run(one, tier) == "pong"
    assert passed == ["ping", "pong"] * 51


@pytest.mark.parametrize("tier", TIERS)
def test_tail_calls(tier: str) -> None:
    calls = 0

    @cs.task(mode="inline")
    def down(n: int, kept: str, total: int = 0) -> Any:
        nonlocal calls
        calls += 1
        if n == 500:
            return cs.TailCall([499], {"total": total + 1})
        return cs.TailCall(kwargs={"n": n - 1, "total": total + 1}) if n else (kept, total)

    assert run(down(20_000, "kept"), tier) == ("kept", 20_000)
    assert calls == 20_001


@pytest.mark.parametrize("tier", TIERS)
def test_an_error_in_a_tail_call_names_its_iteration(tier: str) -> None:
    @cs.task(mode="inline")
    def down(n: int) -> Any:
        return cs.TailCall(kwargs={"n": n - 1}) if n else 1 // n

    with pytest.raises(ZeroDivisionError) as caught:
        run(down(5_000), tier)
    assert "iteration 5000" in caught.value.__notes__[0]


@pytest.mark.parametrize("tier", TIERS)
def test_a_subscriber_that_comes_and_goes_sees_whole_iterations_in_order(tier: str) -> None:
    bus = MessageBus()
    seen: list[Any] = []
    handles: list[Any] = []
    calls = 0

    @cs.task(mode="inline")
    def step(n: int, fed: Any) -> cs.Jump:
        nonlocal calls
        calls += 1
        return cs.Jump("again", n - 1) if n else cs.Jump("exit", "done")

    async def main() -> Any:
        engine = Engine(tier=tier, bus=bus)  # type: ignore[arg-type]
        going = engine.start(loop(step(300_000, noop())))
        while calls < 20_000:
            await asyncio.sleep(0)
        handles.append(bus.subscribe(TaskExecutionStarted, seen.append))
        handles.append(bus.subscribe(TaskExecutionFinished, seen.append))
        while len(seen) < 2_000:
            await asyncio.sleep(0)
        for handle in handles:
            handle.unsubscribe()
        return await going

    assert asyncio.run(main()) == "done"
    assert calls == 300_001
    started = [event for event in seen if isinstance(event, TaskExecutionStarted) and event.task_name == "step"]
    iterations = [event.iteration for event in started]
    assert iterations == list(range(iterations[0], iterations[0] + len(iterations)))
    assert len({event.event_id for event in seen}) == len(seen)


@pytest.mark.parametrize("tier", TIERS)
def test_a_loop_without_an_end_can_be_cancelled(tier: str) -> None:
    calls = [0]

    @cs.task(mode="inline")
    def step(n: int) -> cs.Jump:
        calls[0] += 1
        return cs.Jump("again", n + 1)

    async def main() -> None:
        engine = Engine(tier=tier)  # type: ignore[arg-type]
        going = engine.start(loop(step(0)))
        while calls[0] < 10_000:
            await asyncio.sleep(0)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert going.status == "Cancelled"

    asyncio.run(main())
    ended_at = calls[0]
    assert ended_at >= 10_000
    assert calls[0] == ended_at


@pytest.mark.parametrize("tier", TIERS)
def test_others_have_their_turn_while_a_loop_runs(tier: str) -> None:
    turns = [0]
    stop = [False]

    @cs.task(mode="inline")
    def step(n: int) -> cs.Jump:
        return cs.Jump("exit", n) if stop[0] else cs.Jump("again", n + 1)

    async def other() -> None:
        while turns[0] < 20:
            turns[0] += 1
            await asyncio.sleep(0)
        stop[0] = True

    async def main() -> None:
        engine = Engine(tier=tier)  # type: ignore[arg-type]
        beside = asyncio.create_task(other())
        await engine.run(loop(step(0)))
        await beside

    asyncio.run(main())
    assert turns[0] == 20


@pytest.mark.parametrize("tier", ["compile", "auto"])
def test_a_function_that_turns_slow_holds_the_loop_for_one_call_and_then_runs_in_threads(tier: str) -> None:
    def held() -> int:
        """How many of the slow calls were made in place."""
        here: list[bool] = []

        @cs.task
        def step(n: int) -> cs.Jump:
            if n <= 2_000:
                here.append(threading.current_thread() is threading.main_thread())
                time.sleep(0.08)  # what it does to the loop is what this test is about
            return cs.Jump("again", n - 1) if n > 1_990 else cs.Jump("exit", "done")

        target = loop(step(3_000))
        assert run(target, tier) == "done"
        assert hot_loops(target), "it was hot before it turned slow"
        assert here == sorted(here, reverse=True), "once in threads it stays there"
        return here.count(True)

    # A machine that stands still for a moment can make the function look slow before it is, or starve the thread
    # that would notice it: hence more than one try.
    assert 1 in (held() for _ in range(5))


@pytest.mark.parametrize("tier", TIERS)
def test_an_async_state_is_awaited_in_place(tier: str) -> None:
    calls = 0

    @cs.task
    async def step(n: int, fed: Any) -> cs.Jump:
        nonlocal calls
        calls += 1
        if n % 100 == 0:
            await asyncio.sleep(0)
        return cs.Jump("again", {"n": n - 1}) if n else cs.Jump("exit", fed)

    target = loop(step(2_000, noop()))
    assert run(target, tier) == "done"
    assert calls == 2_001
    assert bool(hot_loops(target)) == (tier != "interpret")
    if tier == "compile":
        (hot,) = hot_loops(target)
        assert "    result = await step(n, fed)" in hot.source
        assert hot.source.startswith("async def step_loop(turn, n):")


@pytest.mark.parametrize("tier", TIERS)
def test_an_async_loop_that_never_waits_gives_turns_and_can_be_cancelled(tier: str) -> None:
    calls = [0]

    @cs.task
    async def step(n: int) -> cs.Jump:
        calls[0] += 1
        return cs.Jump("again", n + 1)

    async def main() -> None:
        going = Engine(tier=tier).start(loop(step(0)))  # type: ignore[arg-type]
        while calls[0] < 10_000:
            await asyncio.sleep(0)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    asyncio.run(main())


@pytest.mark.parametrize("tier", TIERS)
def test_an_error_in_an_async_loop_names_its_iteration(tier: str) -> None:
    @cs.task
    async def step(n: int) -> cs.Jump:
        if n == 5:
            raise LookupError("here")
        return cs.Jump("again", n - 1)

    with pytest.raises(LookupError) as caught:
        run(loop(step(1_005)), tier)
    assert "iteration 1000," in caught.value.__notes__[0]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("waits", [False, True])
def test_items_of_a_map_loop_each_on_its_own(tier: str, waits: bool) -> None:
    calls: dict[str, int] = {}

    def body(n: int, name: str) -> cs.Jump:
        calls[name] = calls.get(name, 0) + 1
        return cs.Jump("again", {"n": n - 1}) if n else cs.Jump("exit", name)

    async def body_async(n: int, name: str) -> cs.Jump:
        await asyncio.sleep(0)
        return body(n, name)

    step = cs.task(body_async) if waits else cs.task(mode="inline")(body)
    mapped = step.map(n=[100, 50, 200], name=["a", "b", "c"])
    cs.bind(mapped, cs.select_jump({"again": mapped, "exit": None}))
    assert run(mapped, tier) == ["a", "b", "c"]
    assert calls == {"a": 101, "b": 51, "c": 201}


@pytest.mark.parametrize("tier", TIERS)
def test_a_sync_function_that_returns_a_coroutine_is_awaited_in_a_loop(tier: str) -> None:
    async def later(n: int) -> cs.Jump:
        await asyncio.sleep(0)
        return cs.Jump("again", n - 1) if n else cs.Jump("exit", "done")

    @cs.task(mode="inline")
    def step(n: int) -> Any:
        return later(n)

    assert run(loop(step(100)), tier) == "done"


def story(target: Any, tier: str, *, fails: bool = False) -> list[tuple[Any, ...]]:
    """What is published of a run, but for times and ids of the run."""
    bus = MessageBus()
    told: list[tuple[Any, ...]] = []

    def tell(event: TaskEvent) -> None:
        detail = (event.status, event.error) if isinstance(event, TaskExecutionFinished) else ()
        told.append((type(event).__name__, event.task_id, event.task_name, event.iteration, *detail))

    bus.subscribe(TaskEvent, tell)
    if fails:
        with pytest.raises(ValueError, match="at 30"):
            run(target, tier, bus=bus)
    else:
        run(target, tier, bus=bus)
    return told


def test_an_observed_loop_tells_the_same_story_on_every_tier() -> None:
    def declare(fail_at: int = -1) -> Any:
        @cs.task(mode="inline")
        def feed(value: Any = None) -> Any:
            return value

        @cs.task(mode="inline")
        def step(n: int, fed: Any = None) -> cs.Jump:
            if n == fail_at:
                raise ValueError(f"at {n}")
            return cs.Jump("again", {"n": n - 1}) if n else cs.Jump("exit", "done")

        return loop(step(60, feed(feed())))

    plain = story(declare(), "interpret")
    assert len(plain) == 61 * 3 * 2
    assert story(declare(), "compile") == plain
    assert story(declare(), "auto") == plain
    failing = story(declare(30), "interpret", fails=True)
    assert failing[-1][-2:] == ("Failed", "ValueError: at 30")
    assert story(declare(30), "compile", fails=True) == failing


def test_an_observed_loop_is_emitted_with_what_it_publishes() -> None:
    target = loop(countdown(50, noop()))
    bus = MessageBus()
    bus.subscribe(TaskExecutionFinished, lambda event: None)
    run(target, bus=bus)
    (hot,) = hot_loops(target)
    assert hot.source.count("tell_finished(new(Finished,") == 2
    assert "Started" not in hot.source


def test_keywords_that_are_no_identifiers_stay_out_of_the_source() -> None:
    @cs.task(mode="inline")
    def feed(**words: int) -> int:
        return sum(words.values())

    @cs.task(mode="inline")
    def step(n: int, fed: int) -> cs.Jump:
        return cs.Jump("again", {"n": n - 1}) if n else cs.Jump("exit", fed)

    target = loop(step(50, feed(**{"a b": 1, "x=1); print(": 2, "class": 3})))
    assert run(target) == 6
    (hot,) = hot_loops(target)
    assert "fed = feed(**{name_a_b:" in hot.source
    assert "print(" not in hot.source
    assert run(loop(step(50, feed(plain=1)))) == 1


def test_names_that_users_choose_never_become_code() -> None:
    @cs.task(mode="inline", name="x'); import os #")
    def step(i: int, turn: Any = None, result: Any = None) -> cs.Jump:
        return cs.Jump("again", {"i": i - 1, "turn": turn}) if i else cs.Jump("exit", "done")

    @cs.task(mode="inline", name="lambda")
    def feed() -> int:
        return 1

    target = loop(step(50, "t", feed().named("label\nimport os")))
    assert run(target) == "done"
    (hot,) = hot_loops(target)
    assert "\nimport" not in hot.source
    code_only = "\n".join(line.split("  #")[0] for line in hot.source.splitlines())
    assert "import os" not in code_only
    assert "'" not in code_only


def test_the_text_is_there_for_debuggers_and_goes_with_the_task() -> None:
    @cs.task(mode="inline")
    def short(n: int) -> cs.Jump:
        return cs.Jump("again", n - 1) if n else cs.Jump("exit", "done")

    target = loop(short(50))
    run(target)
    (hot,) = hot_loops(target)
    filename = hot.function.__code__.co_filename
    assert filename.startswith("<cascade plan short_loop ")
    assert "".join(linecache.getlines(filename)) == hot.source
    del target, hot, short
    gc.collect()
    assert filename not in linecache.cache


def test_loops_of_one_shape_share_one_function() -> None:
    def declared(n: int, word: str) -> Any:
        return loop(collect(n, [], noop(word)))

    first, second = declared(50, "a"), declared(70, "b")
    other = loop(collect(50, [], noop(noop("a"))))
    for target in (first, second, other):
        run(target)
    (one,), (two,), (three,) = map(hot_loops, (first, second, other))
    assert one is two
    assert three is not one


def test_no_more_functions_are_kept_for_a_task_than_that() -> None:
    @cs.task(mode="inline")
    def step(n: int, fed: Any) -> cs.Jump:
        return cs.Jump("again", n - 1) if n else cs.Jump("exit", fed)

    for depth in range(MOST_KEPT + 20):
        fed: Any = 0
        for _ in range(depth):
            fed = noop(fed)
        run(loop(step(3, fed)))
    assert len(step.form.kept) == MOST_KEPT
