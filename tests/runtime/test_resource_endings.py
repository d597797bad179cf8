"""Resources are torn down once, in reverse order, in every outcome."""

import gc
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import MessageBus
from cascade.runtime.events import ResourceAcquired, ResourceEvent, ResourceReleased, RunFinished
from cascade.testing import SpySubscriber
from tests.runtime.resource_log import Log, every_kind, every_scope, fail, use
from tests.workflows import Tier, every_tier, run

# --- endings


@every_kind
@every_scope
@every_tier
def test_torn_down_in_reverse_after_success(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    asked = [cs.inject(log.resource(name, kind, scope)) for name in "abc"]
    assert run(use(*asked), tier=tier) == ["a", "b", "c"]
    assert log == ["+a", "+b", "+c", "-c", "-b", "-a"]


@every_kind
@every_scope
@every_tier
def test_a_failure_is_thrown_into_them_in_reverse(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    asked = [cs.inject(log.resource(name, kind, scope)) for name in "ab"]
    with pytest.raises(ValueError, match="the task's own") as caught:
        run(fail(*asked), tier=tier)
    assert log == ["+a", "+b", "!b ValueError", "-b", "!a ValueError", "-a"]
    (note,) = caught.value.__notes__
    assert note.startswith("in task fail#1 ")


@every_kind
@every_scope
@every_tier
def test_one_that_swallows_the_failure_does_not_change_the_run(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    asked = [cs.inject(log.resource(name, kind, scope, swallows=True)) for name in "ab"]
    with pytest.raises(ValueError, match="the task's own") as caught:
        run(fail(*asked), tier=tier)
    assert log == ["+a", "+b", "!b ValueError", "-b", "!a ValueError", "-a"]
    assert len(caught.value.__notes__) == 1


@every_kind
@every_scope
@every_tier
def test_a_failing_teardown_fails_what_had_succeeded(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    bus = MessageBus()
    spy = SpySubscriber(bus)
    names = [("a", ""), ("b", "teardown"), ("c", "")]
    asked = [cs.inject(log.resource(name, kind, scope, broken_in=broken)) for name, broken in names]
    with pytest.raises(OSError, match="b cannot end"):
        run(use(*asked), tier=tier, bus=bus)
    assert [word for word in log if word[0] != "!"] == ["+a", "+b", "+c", "-c", "-b", "-a"]
    (finished,) = spy.events_of_type(RunFinished)
    assert (finished.status, finished.error) == ("Failed", "OSError: b cannot end")


@every_kind
@every_scope
@every_tier
def test_a_failing_teardown_is_a_note_on_a_failure(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    asked = [cs.inject(log.resource(name, kind, scope, broken_in="teardown")) for name in "ab"]
    with pytest.raises(ValueError, match="the task's own") as caught:
        run(fail(*asked), tier=tier)
    assert log == ["+a", "+b", "!b ValueError", "-b", "!a ValueError", "-a"]
    assert "besides, a resource failed in its teardown: OSError: b cannot end" in caught.value.__notes__


@every_kind
@every_scope
@every_tier
def test_a_failing_set_up_fails_the_call_and_tears_down_what_was_there(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    bus = MessageBus()
    spy = SpySubscriber(bus)
    first = log.resource("first", kind, scope)
    broken = log.resource("broken", kind, scope, broken_in="set-up")
    with pytest.raises(OSError, match="broken cannot begin") as caught:
        run(use(cs.inject(first), cs.inject(broken)), tier=tier, bus=bus)
    assert log == ["+first", "+broken", "!first OSError", "-first"]
    assert any(note.startswith("in task use#1 (declared at ") for note in caught.value.__notes__)
    kinds = [(type(event), event.resource_name) for event in spy.events_of_type(ResourceEvent)]
    assert kinds == [(ResourceAcquired, "first"), (ResourceReleased, "first")]


@every_kind
@pytest.mark.parametrize("inner_scope", ["run", "task"])
@pytest.mark.parametrize("outer_scope", ["run", "task"])
def test_a_failing_set_up_tears_down_what_it_needed(kind: str, inner_scope: str, outer_scope: str) -> None:
    log = Log()
    inner = log.resource("inner", kind, inner_scope)
    outer = log.resource("outer", kind, outer_scope, needs=cs.inject(inner), broken_in="set-up")
    with pytest.raises(OSError, match="outer cannot begin"):
        run(use(cs.inject(outer)))
    assert log == ["+inner", "+outer", "!inner OSError", "-inner"]


@pytest.mark.parametrize("scope", ["run", "engine"])
@every_kind
def test_a_failing_set_up_that_several_wait_for_fails_with_one_note(kind: str, scope: str) -> None:
    broken = Log().resource("broken", kind, scope, broken_in="set-up")
    with pytest.raises(OSError, match="broken cannot begin") as caught:
        run([use(cs.inject(broken)) for _ in range(3)])
    (note,) = caught.value.__notes__
    assert note.startswith("in task use#1 ")


@every_kind
@every_tier
def test_a_retry_sets_up_again_what_failed_to_set_up(kind: str, tier: Tier) -> None:
    attempts = 0

    def flaky() -> Iterator[str]:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConnectionError
        yield "connected"

    async def flaky_async() -> AsyncIterator[str]:
        for value in flaky():
            yield value

    provided = cs.resource(name="db")(flaky if kind == "sync" else flaky_async)
    assert run(use(cs.inject(provided)).with_retry(3), tier=tier) == ["connected"]
    assert attempts == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@every_kind
@every_scope
@pytest.mark.parametrize("phase", ["set-up", "teardown"])
def test_an_end_of_the_process_in_a_resource_ends_the_run(error: Any, kind: str, scope: Any, phase: str) -> None:
    def ending() -> Iterator[None]:
        if phase == "set-up":
            raise error("bye")
        yield
        raise error("bye")

    async def async_ending() -> AsyncIterator[None]:
        if phase == "set-up":
            raise error("bye")
        yield
        raise error("bye")

    log = Log()
    bus = MessageBus()
    spy = SpySubscriber(bus)
    ends = cs.resource(name="ends", scope=scope)(ending if kind == "sync" else async_ending)
    with pytest.raises(error, match="bye"):
        run(use(cs.inject(log.resource("it", kind, scope)), cs.inject(ends)), bus=bus)
    assert [word for word in log if word[0] != "!"] == ["+it", "-it"]
    (finished,) = spy.events_of_type(RunFinished)
    assert finished.status == "Cancelled"


@every_kind
@every_scope
def test_a_teardown_may_reset_what_its_set_up_set(kind: str, scope: Any) -> None:
    """A context variable can be reset only in the context that it was set in."""
    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen: list[str] = []

    def setting() -> Iterator[None]:
        token = variable.set("set")
        try:
            yield
        finally:
            seen.append(variable.get())
            variable.reset(token)

    async def async_setting() -> AsyncIterator[None]:
        for _ in setting():
            yield

    run(use(cs.inject(cs.resource(name="it", scope=scope)(setting if kind == "sync" else async_setting))))
    assert seen == ["set"]


@every_kind
@every_scope
@every_tier
def test_a_generator_that_yields_twice(kind: str, scope: Any, tier: Tier) -> None:
    ends = []

    def twice() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ends.append("end")

    async def twice_async() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ends.append("end")

    two = cs.resource(name="two", scope=scope)(twice if kind == "sync" else twice_async)
    with pytest.raises(RuntimeError, match=r"resource 'two' \(declared at .*test_resource.*yielded twice; it yields"):
        run(use(cs.inject(two)), tier=tier)
    gc.collect()
    assert ends == ["end"]


@every_kind
@every_scope
@every_tier
def test_a_generator_that_never_yields(kind: str, scope: Any, tier: Tier) -> None:
    def never() -> Iterator[int]:
        if ():
            yield 1

    async def never_async() -> AsyncIterator[int]:
        if ():
            yield 1

    none = cs.resource(name="none", scope=scope)(never if kind == "sync" else never_async)
    with pytest.raises(RuntimeError, match=r"resource 'none' \(declared at .*test_resource.*ended without a yield"):
        run(use(cs.inject(none)), tier=tier)


# --- events


@every_kind
@every_scope
@every_tier
def test_each_set_up_and_teardown_is_an_event(kind: str, scope: str, tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    run(use(cs.inject(Log().resource("db", kind, scope))), tier=tier, bus=bus)
    words = [type(event).__name__ for event in spy.events]
    last = ["TaskExecutionFinished", "ResourceReleased"]
    first = ["RunStarted", "TaskExecutionStarted", "ResourceAcquired"]
    assert words == [*first, *(last if scope == "run" else last[::-1]), "RunFinished"]
    assert {event.resource_name for event in spy.events_of_type(ResourceEvent)} == {"db"}
    assert len({event.event_id for event in spy.events}) == len(words)
