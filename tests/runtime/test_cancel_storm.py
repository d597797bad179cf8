"""A run of every kind of work, cancelled at random moments: nothing that can be stopped outlives it.

CASCADE_STORM=50 cancels at fifty moments, and then also asks that nothing is alive 200 ms after each of them, which
a busy machine may not grant.
"""

import asyncio
import gc
import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine
from cascade.runtime.events import ResourceAcquired, ResourceReleased, RunFinished, RunWarning
from cascade.testing import SpySubscriber

psutil = pytest.importorskip("psutil")
pytest.importorskip("loky")

MOMENTS = int(os.environ.get("CASCADE_STORM", "0"))
LONGEST = 1.2
"""Seconds: by then every kind of work is under way on an idle machine."""
SOON = 0.2
ASYNC, THREADS, PROCESSES, SHELLS = 200, 20, 5, 5


class Storm:
    """The work, and what of it is alive."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.alive: Counter[str] = Counter()
        """How many calls and resources of each kind have begun and not ended."""
        self.opened: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()

    @contextmanager
    def counted(self, kind: str) -> Iterator[None]:
        with self.lock:
            self.alive[kind] += 1
        try:
            yield
        finally:
            with self.lock:
                self.alive[kind] -= 1

    @contextmanager
    def opened_and_closed(self, kind: str) -> Iterator[str]:
        with self.lock:
            self.opened[kind] += 1
        try:
            yield kind
        finally:
            with self.lock:
                self.closed[kind] += 1

    def resources(self) -> list[Any]:
        def sync(kind: str) -> Any:
            def opened() -> Iterator[str]:
                with self.opened_and_closed(kind):
                    yield kind

            return opened

        def coroutine(kind: str) -> Any:
            async def opened() -> AsyncIterator[str]:
                await asyncio.sleep(0)
                with self.opened_and_closed(kind):
                    yield kind
                    await asyncio.sleep(0)

            return opened

        return [
            cs.resource(name=f"{make.__name__} of a {scope}", scope=scope)(make(f"{make.__name__} of a {scope}"))
            for make in (sync, coroutine)
            for scope in ("run", "task")
        ]

    def target(self) -> list[Any]:
        resources = self.resources()

        def some() -> Any:
            return cs.inject(self.random.choice(resources))

        @cs.task
        async def steps(n: int, seconds: float, it: Any) -> Any:
            with self.counted("async"):
                await asyncio.sleep(seconds)
            return cs.TailCall([n - 1]) if n else it

        @cs.task
        async def minds_its_end(seconds: float, it: Any) -> None:
            with self.counted("async"):
                try:
                    await asyncio.sleep(seconds)
                finally:
                    await asyncio.sleep(0)

        @cs.task
        async def fails(seconds: float) -> None:
            await asyncio.sleep(seconds)
            raise ConnectionError

        @cs.task(mode="blocking")
        def block(it: Any) -> Any:
            with self.counted("thread"):
                time.sleep(0.01)
            return cs.TailCall()

        @cs.task(mode="process")
        def spin(n: int) -> None:
            import subprocess
            import time

            if n % 2:
                subprocess.run(["sleep", "1000"], check=False)
            time.sleep(1000)

        @cs.task
        async def shell(it: Any) -> None:
            with self.counted("shell"):
                child = await asyncio.create_subprocess_exec("sleep", "1000")
                try:
                    await child.wait()
                finally:
                    with suppress(ProcessLookupError):
                        child.kill()
                    await child.wait()

        kinds: list[Any] = [
            lambda: steps(1_000_000, self.random.random() / 20, some()),
            lambda: minds_its_end(1000, some()),
            lambda: fails(self.random.random() / 10).with_retry(1_000_000, delay=self.random.random() / 10),
            lambda: minds_its_end(self.random.random(), some()).with_timeout(0.3).with_retry(1_000_000),
            lambda: minds_its_end(1000, some()).with_constraints(seat=1),
        ]
        targets: list[Any] = [self.random.choice(kinds)() for _ in range(ASYNC - 50)]
        targets.append(minds_its_end.partial(it=some()).map(seconds=[self.random.random() * 4 for _ in range(50)]))
        targets += [block(some()) for _ in range(THREADS)]
        targets += [spin(n) for n in range(PROCESSES)]
        targets += [shell(some()) for _ in range(SHELLS)]
        self.random.shuffle(targets)
        return targets

    def living(self) -> list[str]:
        """Return what has not ended: calls, and processes but for those that look after the others."""
        with self.lock:
            found = [kind for kind, count in self.alive.items() for _ in range(count)]
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                words = " ".join(child.cmdline())
                looks_after = "resource_tracker" in words or "while read -r sign group" in words
                if child.status() != psutil.STATUS_ZOMBIE and not looks_after:
                    found.append(words)
        return found


async def cancelled(storm: Storm, engine: Engine, moment: float) -> list[str]:
    """Cancel a run at a moment; return what was alive a little later."""
    late: list[str] = []
    run = engine.start(storm.target(), run_id="storm")
    await asyncio.sleep(moment)
    look = threading.Timer(SOON, lambda: late.extend(storm.living()))
    look.start()
    how = storm.random.randrange(3)
    if how == 0:
        run.cancel()
    elif how == 1:
        engine.cancel("storm")
    else:
        threading.Thread(target=engine.cancel, args=("storm",)).start()
    with pytest.raises(asyncio.CancelledError):
        await run
    while look.is_alive() or storm.living() or storm.opened != storm.closed:
        await asyncio.sleep(0.001)
    return late


@pytest.mark.timeout(0 if MOMENTS else 120)
@pytest.mark.parametrize("seed", range(MOMENTS or 3))
def test_nothing_that_can_be_stopped_outlives_a_cancelled_run(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    storm = Storm(seed)
    moment = storm.random.random() * LONGEST
    tier: Any = ("interpret", "compile", "auto")[seed % 3]

    async def main() -> list[str]:
        asyncio.get_running_loop().slow_callback_duration = 60
        executor = LocalExecutor(processes=PROCESSES)
        async with Engine(executor=executor, tier=tier, system_resources={"seat": 10}, thread_grace=60) as engine:
            spy = SpySubscriber(engine.bus)
            late = await cancelled(storm, engine, moment)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert [event.status for event in spy.events_of_type(RunFinished)] == ["Cancelled"]
            assert spy.events_of_type(RunWarning) == []
            acquired = Counter(event.resource_name for event in spy.events_of_type(ResourceAcquired))
            assert acquired == Counter(event.resource_name for event in spy.events_of_type(ResourceReleased))
            assert await engine.run(cs.task(len)("abc").with_constraints(seat=10)) == 3
        return late

    with caplog.at_level(logging.DEBUG, "cascade"), caplog.at_level(logging.WARNING, "asyncio"):
        late = asyncio.run(main())
        gc.collect()
    assert [record.getMessage() for record in caplog.records] == []
    assert storm.opened == storm.closed
    assert all(storm.opened[f"{kind} of a run"] <= 1 for kind in ("sync", "coroutine"))
    logging.getLogger("tests").info("cancelled after %.3f s; alive %.1f s later: %s", moment, SOON, Counter(late))
    if MOMENTS:
        assert late == [], f"cancelled after {moment:.3f} s"
