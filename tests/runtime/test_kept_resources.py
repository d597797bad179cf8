"""Resources of scope "engine": set up once for all runs, torn down once, when the engine closes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.events import ResourceAcquired, ResourceReleased
from cascade.testing import SpyExecutor, SpySubscriber, override_resource
from tests.runtime.resource_log import Log, every_kind, fail, use
from tests.workflows import Tier, every_tier, in_loop, notes_of, turns


def closed(main: Callable[[Engine], Any], **options: Any) -> None:
    """Call `main` with an engine that closes behind it."""

    async def alone() -> None:
        async with Engine(**options) as engine:
            await main(engine)

    in_loop(alone)


@every_kind
@every_tier
def test_runs_share_one_that_is_torn_down_when_the_engine_closes(kind: str, tier: Tier) -> None:
    log = Log()
    db = log.resource("db", kind, "engine")

    async def main(engine: Engine) -> None:
        assert log == []
        for _ in range(2):
            assert await engine.run([use(cs.inject(db)), use(cs.inject(db))]) == [
                ["db"],
                ["db"],
            ]
        assert await asyncio.gather(*(engine.run(use(cs.inject(db))) for _ in range(3))) == [["db"]] * 3
        assert log == ["+db"]

    closed(main, tier=tier)
    assert log == ["+db", "-db"]


@every_kind
def test_runs_at_the_same_time_wait_for_one_set_up(kind: str) -> None:
    log = Log()
    db = log.resource("db", kind, "engine")

    async def main(engine: Engine) -> None:
        assert await asyncio.gather(*(engine.run(use(cs.inject(db))) for _ in range(10))) == [["db"]] * 10

    closed(main)
    assert log == ["+db", "-db"]


def test_nobody_needs_it_so_it_is_never_set_up() -> None:
    log = Log()

    async def main(engine: Engine) -> None:
        engine.register(log.resource("db", scope="engine"))
        assert await engine.run(use(1)) == [1]

    closed(main)
    assert log == []


@every_kind
def test_a_run_that_fails_leaves_it_as_it_is(kind: str) -> None:
    log = Log()
    db = log.resource("db", kind, "engine")

    async def main(engine: Engine) -> None:
        with pytest.raises(ValueError, match="the task's own"):
            await engine.run(fail(cs.inject(db)))
        run = engine.start(cs.task(asyncio.sleep)(1000, use(cs.inject(db))))
        await turns(20)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert await engine.run(use(cs.inject(db))) == ["db"]
        assert log == ["+db"]

    closed(main)
    assert log == ["+db", "-db"]


@every_kind
def test_what_ends_the_engine_is_thrown_in(kind: str) -> None:
    log = Log()
    db = log.resource("db", kind, "engine")

    async def main(engine: Engine) -> None:
        await engine.run(use(cs.inject(db)))
        raise LookupError("in the block")

    with pytest.raises(LookupError, match="in the block"):
        closed(main)
    assert log == ["+db", "!db LookupError", "-db"]
    log.clear()
    with pytest.raises(ValueError, match="the task's own"):
        cs.run(fail(cs.inject(db)), log_level="SILENT")
    assert log == ["+db", "!db ValueError", "-db"]


@every_kind
def test_one_that_fails_in_its_teardown(kind: str) -> None:
    log = Log()
    db = log.resource("db", kind, "engine", broken_in="teardown")
    other = log.resource("other", kind, "engine")

    async def main(engine: Engine) -> None:
        await engine.run(use(cs.inject(other), cs.inject(db)))

    with pytest.raises(OSError, match="db cannot end"):
        closed(main)
    assert log == ["+other", "+db", "-db", "-other"]

    async def broken(engine: Engine) -> None:
        await engine.run(use(cs.inject(db)))
        raise LookupError

    with pytest.raises(LookupError) as caught:
        closed(broken)
    assert notes_of(caught.value) == ["besides, a resource failed in its teardown: OSError: db cannot end"]

    async def alone() -> None:
        engine = Engine()
        await engine.run(use(cs.inject(db)))
        with pytest.raises(OSError, match="db cannot end"):
            await engine.aclose()
        await engine.aclose()

    in_loop(alone)
    with pytest.raises(OSError, match="db cannot end"):
        cs.run(use(cs.inject(db)), log_level="SILENT")


def test_one_that_fails_in_its_set_up_is_tried_again() -> None:
    log = Log()
    broken = True

    @cs.resource(scope="engine")
    def db() -> Iterator[str]:
        log.append("+db")
        if broken:
            raise OSError("not yet")
        yield "db"
        log.append("-db")

    async def main(engine: Engine) -> None:
        nonlocal broken
        with pytest.raises(OSError, match="not yet"):
            await engine.run(use(cs.inject(db)))
        broken = False
        assert await engine.run(use(cs.inject(db))) == ["db"]

    closed(main)
    assert log == ["+db", "+db", "-db"]


@every_kind
@pytest.mark.parametrize("inner_scope", ["engine", "task"])
def test_it_may_need_others_which_live_as_long(inner_scope: str, kind: str) -> None:
    log = Log()
    inner = log.resource("inner", "async", inner_scope)
    outer = log.resource("outer", kind, "engine", needs=cs.inject(inner))
    run_wide = log.resource("wide", kind, "run", needs=cs.inject(outer))

    async def main(engine: Engine) -> None:
        for _ in range(2):
            assert await engine.run(use(cs.inject(run_wide))) == ["wide(outer(inner))"]
        log.append("close")

    closed(main)
    assert log == ["+inner", "+outer", "+wide", "-wide", "+wide", "-wide", "close", "-outer", "-inner"]


def test_it_cannot_need_one_that_ends_with_a_run() -> None:
    log = Log()
    short = log.resource("short")
    with pytest.raises(TypeError, match=r'of the scope "engine" needs \'short\' of the scope "run", which ends before'):
        log.resource("long", scope="engine", needs=cs.inject(short))
    long = log.resource("long", scope="engine", needs=cs.inject("short"))

    async def main(engine: Engine) -> None:
        with pytest.raises(cs.ResourceNotFoundError, match="'short', which nobody provides"):
            await engine.run(use(cs.inject(long)), resources=[log.resource("short", scope="engine")])
        engine.register(short)
        with pytest.raises(cs.ResourceNotFoundError, match=r"needs resource 'short' .* which ends before it does"):
            await engine.run(use(cs.inject(long)))

    closed(main)
    assert log == []


def test_a_circle_is_drawn() -> None:
    log = Log()
    one = log.resource("one", scope="engine", needs=cs.inject("two"))

    async def main(engine: Engine) -> None:
        engine.register(log.resource("two", scope="engine", needs=cs.inject("one")))
        engine.register(one)
        with pytest.raises(cs.ResourceNotFoundError, match="one -> two -> one"):
            await engine.run(use(cs.inject(one)))

    closed(main)


def test_an_override_has_another_of_what_needs_it() -> None:
    log = Log()
    inner = log.resource("inner", scope="engine")
    outer = log.resource("outer", scope="engine", needs=cs.inject(inner))

    async def main(engine: Engine) -> None:
        assert await engine.run(use(cs.inject(outer))) == ["outer(inner)"]
        with override_resource(engine, "inner", "fake"):
            assert await engine.run(use(cs.inject(outer))) == ["outer(fake)"]
            assert await engine.run(use(cs.inject(inner))) == ["fake"]
        assert await engine.run(use(cs.inject(outer))) == ["outer(inner)"]
        assert await engine.run(use(cs.inject(outer)), resources=[log.resource("inner")]) == ["outer(inner)"]
        log.append("close")

    closed(main)
    assert log == ["+inner", "+outer", "+outer", "close", "-outer", "-outer", "-inner"]


def test_events_tell_of_the_run_that_set_it_up_and_of_no_run_in_the_end() -> None:
    log = Log()
    db = log.resource("db", scope="engine")

    async def alone() -> None:
        engine = Engine()
        spy = SpySubscriber(engine.bus)
        for name in ("first", "second"):
            await engine.run(use(cs.inject(db)), run_id=name)
        assert [event.run_id for event in spy.events_of_type(ResourceAcquired)] == ["first"]
        assert spy.events_of_type(ResourceReleased) == []
        await engine.aclose()
        assert [(each.resource_name, each.run_id) for each in spy.events_of_type(ResourceReleased)] == [("db", "")]

    in_loop(alone)


def test_a_set_up_that_nobody_waits_for_any_more_ends() -> None:
    log = Log()
    begun, release = threading.Event(), threading.Event()

    @cs.resource(scope="engine")
    async def slow() -> AsyncIterator[str]:
        log.append("+slow")
        begun.set()
        if not release.is_set():
            try:
                await asyncio.Event().wait()
            finally:
                log.append("cancelled")
        yield "slow"
        log.append("-slow")

    async def main(engine: Engine) -> None:
        one, two = engine.start(use(cs.inject(slow))), engine.start(use(cs.inject(slow)))
        while not begun.is_set():
            await asyncio.sleep(0)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        assert log == ["+slow"]
        two.cancel()
        with pytest.raises(asyncio.CancelledError):
            await two
        assert log == ["+slow", "cancelled"]
        release.set()
        assert await engine.run(use(cs.inject(slow))) == ["slow"]

    closed(main)
    assert log == ["+slow", "cancelled", "+slow", "-slow"]


def test_a_new_event_loop_keeps_what_is_not_bound_to_the_old_one() -> None:
    log = Log()
    plain = log.resource("plain", scope="engine")
    bound = log.resource("bound", "async", "engine")
    above = log.resource("above", "sync", "engine", needs=cs.inject(bound))
    engine = Engine()
    for _ in range(2):
        assert asyncio.run(engine.run(use(cs.inject(plain), cs.inject(above)))) == ["plain", "above(bound)"]
    asyncio.run(engine.aclose())
    # asyncio.run closes the async generators of its loop; what needed them is torn down when that is noticed
    assert [each for each in log if each[0] == "+"] == ["+plain", "+bound", "+above", "+bound", "+above"]
    assert log.count("-above") == log.count("-bound") == 2
    assert log.count("-plain") == 1


def test_with_another_executor() -> None:
    log = Log()
    db = log.resource("db", scope="engine")

    async def main(engine: Engine) -> None:
        assert await engine.run(use(cs.inject(db))) == ["db"]

    closed(main, executor=SpyExecutor())
    assert log == ["+db", "-db"]


def test_a_thread_left_behind_keeps_it_until_it_ends() -> None:
    log = Log()
    db = log.resource("db", scope="engine")
    begun, release = threading.Event(), threading.Event()

    @cs.task(mode="blocking")
    def slow(it: Any) -> None:
        begun.set()
        release.wait()
        log.append("slow ends")

    async def alone() -> None:
        engine = Engine(thread_grace=0.01)
        run = engine.start(slow(cs.inject(db)))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await engine.aclose()
        assert log == ["+db"]
        release.set()
        while "-db" not in log:
            await asyncio.sleep(0.001)

    in_loop(alone)
    assert log == ["+db", "slow ends", "-db"]


def test_closing_twice_and_running_again() -> None:
    log = Log()
    db = log.resource("db", scope="engine")

    async def alone() -> None:
        engine = Engine()
        for _ in range(2):
            assert await engine.run(use(cs.inject(db))) == ["db"]
            await engine.aclose()
            await engine.aclose()

    in_loop(alone)
    assert log == ["+db", "-db"] * 2


@every_tier
def test_it_is_found_by_name_and_shared_with_the_run_s_own(tier: Tier) -> None:
    log = Log()

    async def main(engine: Engine) -> None:
        engine.register(log.resource("pool", scope="engine"))
        session = log.resource("session", scope="task", needs=cs.inject("pool"))
        for _ in range(2):
            targets = [use(cs.inject("pool"), cs.inject(session)) for _ in range(2)]
            assert await engine.run(targets) == [["pool", "session(pool)"]] * 2

    closed(main, tier=tier)
    assert log.count("+pool") == log.count("-pool") == 1
    assert log.count("+session") == log.count("-session") == 4
