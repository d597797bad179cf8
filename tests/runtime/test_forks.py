"""Engines of before a fork, in the child: they work there, and leave alone what is the parent's."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.runtime.events import RunFinished
from tests.workflows import Tier, every_tier, in_loop

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")

blocking: Any = cs.task(mode="blocking")
plain: Any = cs.task


def in_child(work: Callable[[], object]) -> int:
    """Do something in a forked child; return how that ended: 0 if all is well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where threads are, which is the matter here
        pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@every_tier
def test_an_engine_that_ran_before_works_in_the_child(tier: Tier) -> None:
    @cs.task(timeout=20)
    async def wait(x: int) -> int:
        await asyncio.sleep(0)
        return x

    echo = [blocking(lambda x: x), plain(lambda x: x), plain(mode="compute")(lambda x: x), wait]
    engine = cs.Engine(tier=tier)
    target: Any = [*(task(1) for task in echo), plain(lambda x: x).map(x=range(20))]
    asyncio.run(engine.run(target))

    def again() -> None:
        for _ in range(2):
            assert asyncio.run(engine.run(target)) == [1, 1, 1, 1, [*range(20)]]
        asyncio.run(engine.aclose())

    assert in_child(again) == 0
    asyncio.run(engine.run(target))
    assert in_child(lambda: in_child(again) == 0 or os._exit(2)) == 0
    asyncio.run(engine.aclose())


def test_so_does_one_that_is_busy(tmp_path: Path) -> None:
    """Its threads wait, a call holds all that there is of a constraint and of a limit, and a cache waits for it."""
    begun, release = threading.Event(), threading.Event()
    log = tmp_path / "log"

    def write(word: str) -> None:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{word} {'here' if os.getpid() == parent else 'there'}\n")

    @cs.resource(scope="engine")
    def kept() -> Any:
        write("up")
        yield os.getpid()
        write("down")

    @cs.resource(scope="engine")
    async def kept_on_a_loop() -> Any:
        yield os.getpid()
        write("down")

    @cs.task(mode="blocking", cache=cs.cached(key=lambda **_: 1))
    def hold(one: int = cs.inject(kept), other: int = cs.inject(kept_on_a_loop)) -> set[int]:
        if os.getpid() == parent:
            begun.set()
            release.wait(50)
        return {one, other}

    async def heard(event: cs.Event) -> None:
        write("heard")

    parent = os.getpid()
    engine = cs.Engine(system_resources={"gpu": 1})
    engine.set_limit("global", concurrency=1)
    engine.bus.subscribe(RunFinished, heard)
    target = hold().with_constraints(gpu=1)

    async def fork() -> None:
        run = engine.start(target)
        await asyncio.to_thread(begun.wait)
        forked = asyncio.to_thread(in_child, again)
        assert await forked == 0
        release.set()
        assert await run == {parent}
        await engine.aclose()

    def again() -> None:
        async def main() -> None:
            async with engine:
                assert await engine.run(target) == {os.getpid()}

        asyncio.run(main())

    in_loop(fork)
    told = log.read_text("utf-8").splitlines()
    assert [line for line in told if line.endswith(" there")] == ["up there", "heard there", "down there", "down there"]
    assert [line for line in told if line.endswith(" here")] == ["up here", "heard here", "down here", "down here"]


SERVER = """
import asyncio, multiprocessing, os, sys
import cascade as cs

@cs.resource(scope="engine")
def kept():
    print("up", me(), flush=True)
    try:
        yield os.getpid()
    finally:
        print("down", me(), flush=True)

@cs.task(mode="blocking")
def work(x, it=cs.inject(kept)):
    return x

@cs.task(mode="process")
def far(x):
    return x

def me():
    return "parent" if os.getpid() == parent else "child"

def serve():
    print(asyncio.run(engine.run([work(2), far(3)])), me(), flush=True)

parent = os.getpid()
engine = cs.Engine()
asyncio.run(engine.run([work(1), far(1)]))
process = multiprocessing.get_context("fork").Process(target=serve)
process.start()
process.join()
print(process.exitcode, flush=True)
if (pid := os.fork()) == 0:
    serve()
    sys.exit()
print(os.waitpid(pid, 0)[1], flush=True)
serve()
asyncio.run(engine.aclose())
"""


def test_workers_of_a_server_and_children_that_just_end(tmp_path: Path) -> None:
    pytest.importorskip("loky")
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=50, check=False)
    child = ["up child", "[2, 3] child"]
    said = [line for line in done.stdout.splitlines() if line != "down child"]  # if it is collected before the end
    assert said == ["up parent", *child, "0", *child, "0", "[2, 3] parent", "down parent"], done.stderr
