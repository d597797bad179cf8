"""Resources of a run that is cancelled, or fails, in the middle: set-ups and teardowns come to their ends."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine
from tests.runtime.resource_log import Log, every_kind, every_scope, use
from tests.workflows import Tier, every_tier, in_loop, run, turns


@every_kind
@every_scope
@every_tier
def test_a_cancel_is_thrown_into_them(kind: str, scope: str, tier: Tier) -> None:
    log = Log()

    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def stay(*things: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        async with Engine(tier=tier) as engine:
            asked = [cs.inject(log.resource(name, kind, scope)) for name in "ab"]
            run = engine.start(stay(*asked))
            await begun.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"

    in_loop(main)
    assert log == ["+a", "+b", "!b CancelledError", "-b", "!a CancelledError", "-a"]


@every_kind
@every_scope
@every_tier
def test_a_sibling_that_fails_tears_down_what_is_in_use(kind: str, scope: str, tier: Tier) -> None:
    log = Log()

    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def stay(*things: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        @cs.task
        async def fail_then() -> None:
            await begun.wait()
            raise ValueError("sibling")

        async with Engine(tier=tier) as engine:
            with pytest.raises(ValueError, match="sibling"):
                await engine.run([stay(cs.inject(log.resource("it", kind, scope))), fail_then()])

    in_loop(main)
    assert log == ["+it", "!it CancelledError" if scope == "task" else "!it ValueError", "-it"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@every_kind
@every_scope
def test_an_end_of_the_process_is_thrown_into_them(error: Any, kind: str, scope: str) -> None:
    log = Log()

    @cs.task(mode="inline")
    def end(it: Any) -> None:
        raise error

    with pytest.raises(error):
        run(end(cs.inject(log.resource("it", kind, scope))))
    assert log == ["+it", f"!it {error.__name__}", "-it"]


class Stuck:
    """A resource with a place where it stays until it is let on."""

    def __init__(self, kind: str, scope: str, stays_in: str) -> None:
        self.log: list[str] = []
        self.stays_in = stays_in
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.resource = cs.resource(name="stuck", scope=scope)(self.sync if kind == "sync" else self.asynchronous)  # type: ignore[call-overload]

    def stay(self, where: str) -> bool:
        if where == self.stays_in:
            self.entered.set()
            return True
        return False

    def sync(self) -> Iterator[str]:
        if self.stay("set-up"):
            self.go_on.wait()
        self.log.append("+")
        try:
            yield "stuck"
        finally:
            if self.stay("teardown"):
                self.go_on.wait()
            self.log.append("-")

    async def asynchronous(self) -> AsyncIterator[str]:
        if self.stay("set-up"):
            await self.wait()
        self.log.append("+")
        try:
            yield "stuck"
        finally:
            if self.stay("teardown"):
                await self.wait()
            self.log.append("-")

    async def wait(self) -> None:
        while not self.go_on.is_set():
            await asyncio.sleep(0)

    async def until_entered(self) -> None:
        while not self.entered.is_set():
            await asyncio.sleep(0)


@every_scope
@every_tier
def test_a_set_up_that_ends_after_the_cancel_is_torn_down(scope: str, tier: Tier) -> None:
    """In a thread it cannot be stopped, so it is waited for."""
    stuck = Stuck("sync", scope, "set-up")

    async def main() -> None:
        async with Engine(tier=tier, thread_grace=60) as engine:
            run = engine.start(use(cs.inject(stuck.resource)))
            await stuck.until_entered()
            run.cancel()
            await turns()
            assert run.status == "Running"
            stuck.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert stuck.log == ["+", "-"]

    in_loop(main)


@every_scope
@every_tier
def test_an_async_set_up_is_cancelled(scope: Any, tier: Tier) -> None:
    log = []

    @cs.resource(scope=scope)
    async def slow() -> AsyncIterator[None]:
        log.append("begun")
        try:
            await asyncio.Event().wait()
            yield
        finally:
            log.append("ended")

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            run = engine.start(use(cs.inject(slow)))
            while not log:
                await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)
    assert log == ["begun", "ended"]


@every_scope
@every_tier
@every_kind
def test_a_cancel_does_not_cut_a_teardown_short(kind: str, scope: str, tier: Tier) -> None:
    stuck = Stuck(kind, scope, "teardown")

    async def main() -> None:
        async with Engine(tier=tier, thread_grace=60) as engine:
            run = engine.start(use(cs.inject(stuck.resource)))
            await stuck.until_entered()
            run.cancel()
            await turns()
            run.cancel()
            await turns()
            assert stuck.log == ["+"]
            stuck.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"

    in_loop(main)
    assert stuck.log == ["+", "-"]


@every_kind
def test_a_failing_sibling_does_not_cut_a_teardown_short(kind: str) -> None:
    stuck = Stuck(kind, "task", "teardown")

    @cs.task
    async def fail_then() -> None:
        await stuck.until_entered()
        raise ValueError("sibling")

    async def main() -> None:
        async with Engine(thread_grace=60) as engine:
            run = engine.start([use(cs.inject(stuck.resource)), fail_then()])
            await stuck.until_entered()
            await turns()
            assert run.status == "Running"
            stuck.go_on.set()
            with pytest.raises(ValueError, match="sibling"):
                await run

    in_loop(main)
    assert stuck.log == ["+", "-"]


def test_a_cancel_while_tear_down_waits_for_a_thread_still_tears_down() -> None:
    """The one worker thread is busy with another run's call while a sync resource is to be torn down."""
    log = Log()
    release = threading.Event()
    begun = threading.Event()

    @cs.task(mode="blocking")
    def hold() -> None:
        begun.set()
        release.wait()

    async def main() -> None:
        async with Engine(executor=LocalExecutor(blocking_threads=1), thread_grace=60) as engine:

            @cs.task
            async def until_busy(it: Any) -> None:
                ready.set()
                await busy.wait()

            ready, busy = asyncio.Event(), asyncio.Event()
            run = engine.start(until_busy(cs.inject(log.resource("it"))))
            await ready.wait()
            engine.start(hold())
            while not begun.is_set():
                await asyncio.sleep(0)
            busy.set()
            await turns(3_000)  # the event loop's turn may come first
            run.cancel()
            await turns()
            release.set()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)
    assert log == ["+it", "-it"]
