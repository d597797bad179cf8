"""Hooks: what is called when a call, or a run, has failed or succeeded."""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import RunFinished, RunWarning, TaskExecutionFinished
from cascade.testing import SpySubscriber
from tests.workflows import Tier, every_tier, in_loop, run


class Told:
    """Two hooks that keep what they are told, sync or async."""

    def __init__(self) -> None:
        self.failures: list[cs.Outcome] = []
        self.successes: list[cs.Outcome] = []
        self.threads: set[int] = set()

    def failed(self, outcome: cs.Outcome) -> None:
        self.threads.add(threading.get_ident())
        self.failures.append(outcome)

    async def failed_too(self, outcome: cs.Outcome) -> None:
        await asyncio.sleep(0)
        self.failed(outcome)

    def succeeded(self, outcome: cs.Outcome) -> None:
        self.threads.add(threading.get_ident())
        self.successes.append(outcome)

    async def succeeded_too(self, outcome: cs.Outcome) -> None:
        await asyncio.sleep(0)
        self.succeeded(outcome)

    def hooks(self, is_async: bool) -> dict[str, Any]:
        if is_async:
            return {"on_failure": self.failed_too, "on_success": self.succeeded_too}
        return {"on_failure": self.failed, "on_success": self.succeeded}


every_kind = pytest.mark.parametrize("is_async", [False, True])


def make_task(mode: str, function: Callable[..., Any], **options: Any) -> Any:
    if mode != "async":
        return cs.task(mode=mode, name="work", **options)(function)  # type: ignore[call-overload]

    @cs.task(name="work", **options)
    async def work(*args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    return work


@pytest.mark.parametrize("mode", ["inline", "blocking", "auto", "async"])
@every_kind
@every_tier
def test_a_call_that_succeeds_and_one_that_fails(mode: str, is_async: bool, tier: Tier) -> None:
    told = Told()
    work = make_task(mode, lambda x: 1 // x, **told.hooks(is_async))
    assert run(work(1), tier=tier) == 1
    with pytest.raises(ZeroDivisionError):
        run(work(0), tier=tier)
    (good,), (bad,) = told.successes, told.failures
    assert (good.task_id, good.name, good.value, good.error, good.attempts) == ("work#1", "work", 1, None, 1)
    assert isinstance(bad.error, ZeroDivisionError)
    assert bad.value is None
    assert "in task work#1" in bad.error.__notes__[0]
    assert str(bad).startswith(f"work#1 of run {bad.run_id} failed after ")
    assert (threading.get_ident() in told.threads) == is_async


@every_tier
def test_after_the_last_attempt_alone(tier: Tier) -> None:
    told, calls = Told(), []

    def work(most: int) -> str:
        calls.append(most)
        if len(calls) < most:
            raise OSError("not yet")
        return "done"

    flaky = cs.task(retry=3, **told.hooks(False))(work)
    assert run(flaky(2), tier=tier) == "done"
    assert [each.attempts for each in told.successes] == [2]
    assert told.failures == []
    calls.clear()
    with pytest.raises(OSError, match="not yet"):
        run(flaky(9), tier=tier)
    assert [each.attempts for each in told.failures] == [3]


@every_tier
def test_a_call_says_more_than_its_task_and_may_take_away(tier: Tier) -> None:
    own, others = Told(), Told()
    work = cs.task(name="work", **own.hooks(False))(lambda x: x)
    assert run(work(1).with_hooks(on_success=others.succeeded), tier=tier) == 1
    assert (len(own.successes), len(others.successes)) == (0, 1)
    assert run(work(1).with_hooks(on_success=None), tier=tier) == 1
    assert run(work(1).with_hooks(on_failure=others.failed), tier=tier) == 1
    assert (len(own.successes), len(others.successes)) == (1, 1)
    assert run(work.with_options(on_success=others.succeeded)(1), tier=tier) == 1
    assert run(work.with_options(name="other")(1), tier=tier) == 1
    assert (len(own.successes), len(others.successes)) == (2, 2)


@every_tier
def test_each_item_of_a_map(tier: Tier) -> None:
    told = Told()
    work = cs.task(name="work")(lambda x: 6 // x)
    mapped = work.map(on_error="skip", x=[1, 0, 2]).with_hooks(**told.hooks(True))
    assert run(mapped, tier=tier) == [6, 3]
    assert {each.task_id for each in told.successes} == {"work#1[0]", "work#1[2]"}
    assert [each.task_id for each in told.failures] == ["work#1[1]"]


@every_tier
def test_each_entry_of_a_loop(tier: Tier) -> None:
    told = Told()

    @cs.task(on_success=told.succeeded_too)
    def count(n: int) -> Any:
        return cs.Jump("again", n - 1) if n else "end"

    step = count(2)
    cs.bind(step, cs.select_jump({"again": step}))
    assert run(step, tier=tier) == "end"
    assert [each.iteration for each in told.successes] == [0, 1, 2]
    assert told.successes[-1].value == "end"


@every_tier
def test_a_subflow_as_a_whole(tier: Tier) -> None:
    told = Told()
    work = cs.task(name="work")(lambda x: 1 // x)
    good = cs.subflow(work(work(1))).with_hooks(**told.hooks(False))
    assert run(good, tier=tier) == 1
    bad = cs.subflow(work(0)).with_retry(2).with_hooks(**told.hooks(False))
    with pytest.raises(ZeroDivisionError):
        run(bad, tier=tier)
    assert [(each.value, each.attempts) for each in told.successes] == [(1, 1)]
    assert [(type(each.error), each.attempts) for each in told.failures] == [(ZeroDivisionError, 2)]


def test_what_was_kept_is_no_call_and_a_key_that_fails_is_a_failure() -> None:
    told = Told()
    work = cs.task(name="work", cache=cs.cached(), **told.hooks(False))(lambda x: x)

    async def main() -> None:
        async with Engine() as engine:
            assert await engine.run(work([1])) == [1]
            assert await engine.run(work([1])) == [1]
            assert len(told.successes) == 1
            with pytest.raises(cs.CacheError):
                await engine.run(work(threading.Lock()))
            assert [type(each.error) for each in told.failures] == [cs.CacheError]

    in_loop(main)


@every_tier
def test_a_cancel_is_no_failure(tier: Tier) -> None:
    told = Told()
    begun: list[asyncio.Event] = []

    @cs.task(**told.hooks(True))
    async def forever() -> None:
        begun[0].set()
        await asyncio.Event().wait()

    async def main() -> None:
        begun.append(asyncio.Event())
        async with Engine(tier=tier) as engine:
            going = engine.start(forever(), **told.hooks(True))
            await begun[0].wait()
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going

    in_loop(main)
    assert told.failures == told.successes == []


def test_a_timeout_of_a_run_is_its_failure() -> None:
    told = Told()
    forever = cs.task(name="forever")(lambda: asyncio.Event().wait())

    async def main() -> None:
        async with Engine() as engine:
            with pytest.raises(TimeoutError):
                await engine.run(forever(), timeout=0.01, **told.hooks(True))

    in_loop(main)
    assert [type(each.error) for each in told.failures] == [TimeoutError]


def fail(outcome: cs.Outcome) -> None:
    raise KeyError("no hook")


async def fail_too(outcome: cs.Outcome) -> None:
    raise asyncio.CancelledError("no hook")


@pytest.mark.parametrize(("hook", "said"), [(fail, "KeyError"), (fail_too, "CancelledError")])
@every_tier
def test_what_a_hook_raises_is_a_warning_and_harms_nothing(hook: Any, said: str, tier: Tier) -> None:
    bus, work = MessageBus(), cs.task(name="work")(lambda x: 1 // x)
    spy = SpySubscriber(bus)
    assert run(work(1).with_hooks(on_success=hook), tier=tier, bus=bus) == 1
    with pytest.raises(ZeroDivisionError):
        run(work(0).with_hooks(on_failure=hook), tier=tier, bus=bus)
    warnings = spy.events_of_type(RunWarning)
    assert [each.code for each in warnings] == ["HookFailed"] * 2
    assert f"the hook on_failure={hook.__qualname__} of work#1 raised {said}" in warnings[1].message


def test_without_a_listener_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    work = cs.task(name="work", on_success=fail)(lambda: 1)
    with caplog.at_level(logging.ERROR, "cascade"):
        assert run(work()) == 1
    assert "The hook on_success=fail of work#1 failed" in caplog.text


@every_kind
def test_a_run_before_anybody_is_told_of_its_end(is_async: bool) -> None:
    told, ends = Told(), []
    work = cs.task(name="work")(lambda x: 1 // x)

    async def main() -> None:
        async with Engine() as engine:
            engine.bus.subscribe(RunFinished, lambda event: ends.append(len(told.successes) + len(told.failures)))
            assert await engine.run(work(1), **told.hooks(is_async)) == 1
            with pytest.raises(ZeroDivisionError):
                await engine.start([work(0), work(1)], run_id="mine", **told.hooks(is_async))

    in_loop(main)
    assert ends == [1, 2]
    (good,), (bad,) = told.successes, told.failures
    assert (good.task_id, good.name, good.value) == (None, "work", 1)
    assert (bad.run_id, bad.name, type(bad.error)) == ("mine", "work, work", ZeroDivisionError)
    assert str(bad).startswith("run mine failed after ")


def test_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    told = Told()
    work = cs.task(name="work")(lambda x: x)
    assert cs.run(work(3), **told.hooks(False)) == 3
    assert [each.value for each in told.successes] == [3]
    assert cs.run(work(3), on_success=fail) == 3
    assert "WARNING HookFailed: the hook on_success=fail of run" in capsys.readouterr().err


def test_a_run_inside_of_a_task() -> None:
    told = Told()
    inner = cs.task(name="inner")(lambda: 1)

    @cs.task
    async def outer() -> int:
        return await cs.arun(inner(), on_success=told.succeeded_too)

    assert run(outer()) == 1
    assert [each.name for each in told.successes] == ["inner"]


def test_a_failure_beside_leaves_a_hook_its_grace() -> None:
    done = []

    async def main() -> None:
        begun, failed = asyncio.Event(), asyncio.Event()

        async def slowly(outcome: cs.Outcome) -> None:
            begun.set()
            await failed.wait()
            await asyncio.sleep(0)
            done.append(outcome.name)

        async def other() -> None:
            await begun.wait()
            failed.set()
            raise OSError("beside")

        first = cs.task(name="first", on_success=slowly)(lambda: 1)
        async with Engine() as engine:
            with pytest.raises(OSError, match="beside"):
                await engine.run([first(), cs.task(other)()])

    in_loop(main)
    assert done == ["first"]


def test_recorded_steps_and_runs_are_told_of_once(tmp_path: Path) -> None:
    told, broken = Told(), [True]
    first = cs.task(name="first", **told.hooks(False))(lambda: 1)

    @cs.task(on_failure=told.failed)
    def second(x: int) -> int:
        if broken:
            raise OSError("broken")
        return x

    def start(**hooks: Any) -> Any:
        return run_recorded(second(first()), tmp_path / "runs.db", **hooks)

    with pytest.raises(OSError, match="broken"):
        start(on_failure=told.failed)
    assert [each.task_id for each in told.failures] == ["second#1", None]
    broken.clear()
    assert start(on_success=told.succeeded) == 1
    assert start(on_success=told.succeeded) == 1
    assert [each.task_id for each in told.successes] == ["first#1", None]


def run_recorded(target: Any, state: Path, **hooks: Any) -> Any:
    async def main() -> Any:
        async with Engine(state_backend=str(state)) as engine:
            return await engine.run(target, run_id="r", **hooks)

    return in_loop(main)


def test_events_are_those_of_the_call_alone() -> None:
    bus, told = MessageBus(), Told()
    spy = SpySubscriber(bus)
    work = cs.task(name="work", **told.hooks(True))(lambda: 1)
    assert run(work(), bus=bus) == 1
    assert len(spy.events_of_type(TaskExecutionFinished)) == 1


def test_what_is_no_hook_is_refused() -> None:
    work: Any = cs.task(name="work")(lambda: 1)
    with pytest.raises(TypeError, match=r"@cs\.task: on_failure= takes a function of the outcome, not 3"):
        cs.task(on_failure=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"is a task, whose calls run nothing: on_success=work\.func"):
        work().with_hooks(on_success=work)
    with pytest.raises(TypeError, match=r"cs\.task has no option 'on_error'; write on_failure=<"):
        cs.task(on_error=print)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"engine\.run: on_success= takes a function"):
        run_with(work(), on_success="x")


def run_with(target: Any, **options: Any) -> Any:
    async def main() -> Any:
        async with Engine() as engine:
            return await engine.run(target, **options)

    return in_loop(main)


def test_plans_and_files_say_so() -> None:
    work: Any = cs.task(name="work")(len)
    node = work([1]).with_hooks(on_failure=fail)
    assert "calls on_failure=fail" in str(cs.dry_run(node))
    form = cs.to_json(node)
    again = cs.from_json(form, allow=("builtins", fail.__module__))
    assert again.config.hooks.on_failure is fail
