"""Threads that do not end: abandoned with a warning, and nothing waits for them."""

import asyncio
import inspect
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine
from cascade.runtime.events import RunFinished, RunWarning, TaskExecutionFinished
from cascade.testing import SpySubscriber
from tests.helpers import run_python
from tests.runtime.places import Stuck
from tests.workflows import Tier, every_tier, in_loop, turns


@every_tier
@pytest.mark.parametrize("ending", ["cancel", "failure"])
@pytest.mark.parametrize("late", [None, ValueError, StopIteration, SystemExit])
def test_a_thread_that_does_not_end_is_abandoned_with_a_warning(late: Any, ending: str, tier: Tier) -> None:
    stuck = Stuck(late)

    @cs.task
    async def fail() -> None:
        await stuck.until(stuck.begun.is_set)
        raise LookupError("enough")

    async def main() -> None:
        async with Engine(tier=tier, thread_grace=0) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start([stuck.task(), fail()] if ending == "failure" else stuck.task())
            await stuck.until(stuck.begun.is_set)
            if ending == "cancel":
                run.cancel()
            with pytest.raises(LookupError if ending == "failure" else asyncio.CancelledError):
                await run
            (warning,) = spy.events_of_type(RunWarning)
            assert (warning.run_id, warning.code) == (run.id, "ThreadAbandoned")
            assert warning.message.startswith(f"stuck#1 (declared at {__file__}:")
            assert "did not end within thread_grace=0 seconds of being cancelled" in warning.message
            assert isinstance(spy.events[-1], RunFinished)
            seen = len(spy.events)
            stuck.release.set()
            await stuck.until(lambda: stuck.log)
            await turns()
            assert len(spy.events) == seen

    in_loop(main)


def test_a_thread_that_ends_in_time_is_not_abandoned() -> None:
    stuck = Stuck()

    async def main() -> None:
        async with Engine(thread_grace=60) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(stuck.task())
            await stuck.until(stuck.begun.is_set)
            run.cancel()
            await turns()
            assert run.status == "Running"
            stuck.release.set()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert stuck.log == ["end"]
            assert spy.events_of_type(RunWarning) == []
            (finished,) = spy.events_of_type(TaskExecutionFinished)
            assert finished.status == "Cancelled"

    in_loop(main)


@pytest.mark.parametrize("comes", ["in time", "late"])
def test_a_coroutine_that_a_thread_gives_when_nobody_waits_any_more_is_closed(comes: str) -> None:
    begun, door, ended = threading.Event(), threading.Event(), threading.Event()

    async def later() -> None:
        raise AssertionError("nobody awaits it")

    given = later()

    @cs.task(mode="blocking")
    def give() -> Any:
        begun.set()
        door.wait(10)
        ended.set()
        return given

    async def main() -> None:
        async with Engine(thread_grace=5 if comes == "in time" else 0.01) as engine:
            run = engine.start(give())
            await asyncio.to_thread(begun.wait, 10)
            run.cancel()
            if comes == "in time":
                door.set()
            with pytest.raises(asyncio.CancelledError):
                await run
            door.set()
            await asyncio.to_thread(ended.wait, 10)
            while inspect.getcoroutinestate(given) != inspect.CORO_CLOSED:
                await asyncio.sleep(0.001)

    asyncio.run(main())


def test_a_call_that_no_thread_has_begun_is_taken_back() -> None:
    stuck = Stuck()
    begun = []

    @cs.task(mode="blocking")
    def queued() -> None:
        begun.append("queued")

    async def main() -> None:
        async with Engine(executor=LocalExecutor(blocking_threads=1), thread_grace=0) as engine:
            spy = SpySubscriber(engine.bus)
            first = engine.start(stuck.task())
            await stuck.until(stuck.begun.is_set)
            second = engine.start(queued())
            await turns()
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            stuck.release.set()
            assert await first == "late"
            assert await engine.run(cs.task(mode="blocking")(len)("abc")) == 3
            assert spy.events_of_type(RunWarning) == []

    in_loop(main)
    assert begun == []


@every_tier
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("scope", ["run", "task"])
def test_what_an_abandoned_thread_uses_is_torn_down_when_it_ends(scope: Any, kind: str, tier: Tier) -> None:
    stuck = Stuck()
    thing = cs.resource(scope=scope)(stuck.sync if kind == "sync" else stuck.asynchronous)

    async def main() -> None:
        async with Engine(tier=tier, thread_grace=0) as engine:
            run = engine.start(stuck.task(cs.inject(thing)))
            await stuck.until(stuck.begun.is_set)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            await turns()
            assert stuck.log == ["+"]
            stuck.release.set()
            await stuck.until(lambda: len(stuck.log) == 3)

    in_loop(main)
    assert stuck.log == ["+", "end", "-"]


def test_an_engine_that_closes_does_not_wait_for_an_abandoned_thread() -> None:
    stuck = Stuck()

    async def main() -> None:
        async with Engine(thread_grace=0) as engine:
            run = engine.start(stuck.task(cs.inject(cs.resource(stuck.sync))))
            await stuck.until(stuck.begun.is_set)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        assert stuck.log == ["+"]

    in_loop(main)
    stuck.release.set()


def test_what_a_thread_uses_that_outlives_its_loop_is_torn_down_where_that_can_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck = Stuck()
    torn_down = threading.Event()

    @cs.resource
    def sync() -> Iterator[None]:
        try:
            yield
        finally:
            torn_down.set()

    @cs.resource
    async def asynchronous() -> AsyncIterator[None]:
        yield

    async def main() -> None:
        async with Engine(thread_grace=0) as engine:
            run = engine.start(stuck.task(cs.inject(sync), cs.inject(asynchronous)))
            await stuck.until(stuck.begun.is_set)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)
    with caplog.at_level(logging.WARNING, "cascade"):
        stuck.release.set()
        assert torn_down.wait(50)
    (record,) = caplog.records
    assert "'asynchronous' was not torn down: RuntimeError: its event loop has ended" in record.getMessage()


@pytest.mark.parametrize("scope", ["run", "task"])
def test_a_set_up_that_outlives_its_run_is_torn_down_when_it_ends(scope: Any) -> None:
    begun, release = threading.Event(), threading.Event()
    log: list[str] = []

    @cs.resource(scope=scope)
    def slow() -> Iterator[None]:
        begun.set()
        release.wait()
        log.append("+")
        try:
            yield
        finally:
            log.append("-")

    @cs.task
    async def use(it: Any) -> None:
        log.append("used")

    async def main() -> None:
        async with Engine(thread_grace=0) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(use(cs.inject(slow)))
            while not begun.is_set():
                await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            (warning,) = spy.events_of_type(RunWarning)
            assert warning.message.startswith(f"resource 'slow' (declared at {__file__}:")
            release.set()
            while len(log) < 2:
                await asyncio.sleep(0)

    in_loop(main)
    assert log == ["+", "-"]


def test_a_teardown_that_does_not_end_is_left_behind_too() -> None:
    begun, release = threading.Event(), threading.Event()

    @cs.resource
    def slow() -> Iterator[None]:
        yield
        begun.set()
        release.wait()

    @cs.task
    async def use(it: Any) -> None: ...

    async def main() -> None:
        async with Engine(thread_grace=0) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(use(cs.inject(slow)))
            while not begun.is_set():
                await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            (warning,) = spy.events_of_type(RunWarning)
            assert warning.message.startswith("resource 'slow' (declared at ")

    in_loop(main)
    release.set()


def test_a_teardown_that_waits_for_ever_ends_with_the_grace() -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @cs.resource
        async def slow() -> AsyncIterator[None]:
            yield
            begun.set()
            await asyncio.Event().wait()

        @cs.task
        async def use(it: Any) -> None: ...

        async with Engine(thread_grace=0) as engine:
            run = engine.start(use(cs.inject(slow)))
            await begun.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"

    in_loop(main)


ABANDON = """
import asyncio, sys, threading
import cascade as cs

begun = threading.Event()

@cs.task(mode="blocking")
def stuck():
    begun.set()
    threading.Event().wait()

@cs.task
async def fail():
    while not begun.is_set():
        await asyncio.sleep(0)
    raise LookupError("enough")

async def main():
    async with cs.Engine(thread_grace=0) as engine:
        if sys.argv[1] == "cancel":
            run = engine.start(stuck())
            while not begun.is_set():
                await asyncio.sleep(0)
            run.cancel()
            await asyncio.wait({run._task})
        else:
            try:
                await engine.run([stuck(), fail()])
            except LookupError:
                pass
    print("main ended")

asyncio.run(main())
print("asyncio.run ended")
"""


@pytest.mark.parametrize("ending", ["cancel", "failure"])
def test_neither_asyncio_nor_the_process_waits_for_an_abandoned_thread(ending: str) -> None:
    assert run_python(ABANDON, ending).splitlines() == ["main ended", "asyncio.run ended"]


def test_a_process_may_end_with_an_engine_open_and_a_thread_at_work() -> None:
    code = """
import asyncio, threading
import cascade as cs

@cs.task(mode="blocking")
def stuck():
    begun.set()
    threading.Event().wait()

async def main():
    engine = cs.Engine(thread_grace=0)
    run = engine.start(stuck())
    while not begun.is_set():
        await asyncio.sleep(0)

begun = threading.Event()
asyncio.run(main())
print("ended")
"""
    assert run_python(code).split() == ["ended"]


def test_the_warning_names_what_stays_open() -> None:
    release = threading.Event()

    @cs.resource
    def thing() -> Iterator[int]:
        yield 1

    @cs.resource(scope="engine")
    def kept() -> Iterator[int]:
        yield 1

    @cs.resource(scope="task")
    def mine() -> Iterator[int]:
        yield 1

    @cs.task(mode="blocking", timeout=0.01)
    def stay(one: int = cs.inject(thing), two: int = cs.inject(kept), three: int = cs.inject(mine)) -> None:
        release.wait(50)

    async def main() -> None:
        async with Engine(thread_grace=0) as engine:
            told: list[str] = []
            engine.bus.subscribe(RunWarning, lambda event: told.append(event.message))
            with pytest.raises(TimeoutError):
                await engine.run(stay())
        (message,) = told
        assert message.endswith("; open until it ends, or the program does: mine, thing, kept")

    in_loop(main)
    release.set()


AT_EXIT = """
import asyncio, os, sys, threading
import cascade as cs
from cascade.runtime.run import abandoned

ending = sys.argv[1]
begun, release = threading.Event(), threading.Event()
abandoned.PATIENCE = 0.0 if ending == "stays" else 50.0
if ending == "ends":
    wait_for = abandoned._changed.wait_for

    def wait(*args):  # the end of the program has begun
        release.set()
        return wait_for(*args)

    abandoned._changed.wait_for = wait

def say(text):  # in one go, as two threads may speak at once
    os.write(1, f"{text}\\n".encode())

def closing(name, scope):
    @cs.resource(scope=scope)
    def resource():
        try:
            yield
        finally:
            say(f"close {name}")
    resource.name = name
    return cs.inject(resource)

@cs.resource
async def asynchronous():
    yield

@cs.task(mode="blocking")
def stuck(
    a=closing("mine", "task"), b=closing("thing", "run"), c=closing("kept", "engine"), d=cs.inject(asynchronous)
):
    begun.set()
    release.wait()
    say("end")

@cs.task
async def fail():
    while not begun.is_set():
        await asyncio.sleep(0)
    raise LookupError("enough")

async def main():
    async with cs.Engine(thread_grace=0) as engine:
        try:
            await engine.run([stuck(), fail()])
        except LookupError:
            pass

asyncio.run(main())
if hasattr(os, "fork") and (child := os.fork()):
    os.waitpid(child, 0)
    say("main ended")
"""


@pytest.mark.parametrize("ending", ["stays", "ends"])
def test_what_an_abandoned_thread_uses_is_torn_down_when_the_program_ends(ending: str) -> None:
    # The forked child, which ends first, tears nothing down.
    command = [sys.executable, "-c", AT_EXIT, ending]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    closed = ["close mine", "close thing", "close kept"]
    assert done.stdout.splitlines() == ["main ended", *(["end"] if ending == "ends" else []), *closed]
    told = done.stderr.splitlines()
    assert "resource 'asynchronous' was not torn down: RuntimeError: its event loop has ended" in told
    warnings = [
        set(line.rpartition(": ")[2].split(", "))
        for line in told
        if line.startswith("the program ends while a thread goes on")
    ]
    assert warnings == ([] if ending == "ends" else [{"asynchronous", "thing", "mine"}, {"kept"}])
