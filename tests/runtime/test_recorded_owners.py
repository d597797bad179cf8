"""Whose a run is: processes that are alive, stopped, killed, or out of sight; and what they have started."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.state import SqliteBackend, owner
from cascade.errors import RunBusyError
from cascade.runtime import Engine
from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stops and kills processes")

HELD = """
import asyncio
import os
import sys
import time
import cascade as cs
from cascade.adapters.state import owner
from cascade.runtime.journal import writer


def say(*words):
    print(*words, flush=True)


@cs.task
async def step(n):
    if "HOLD" in os.environ and n == 1:
        say("begun", os.getpid())
        for _ in range(1000):
            await asyncio.sleep(0.01)
    return n


@cs.task
def total(*given):
    return sum(given)


def held():
    first = step(3)
    return total(first, step(1).after(first))


@cs.task(mode="process")
def in_a_process():
    with open("worker", "w") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(100)


def children():
    return [in_a_process(), cs.shell("sleep 100 & echo $! > inner; echo $$ > outer; wait")]


async def main():
    if os.environ.get("HOLD") == "elsewhere":
        owner._boot = lambda: "another boot"
        writer.BEAT = 0.02
    async with cs.Engine(state_backend=sys.argv[2]) as engine:
        try:
            say(await engine.run(globals()[sys.argv[1]](), run_id="r"))
        except cs.errors.StateError as error:
            say(type(error).__name__, error)


if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "held.py"
    file.write_text(HELD)
    return file


@contextmanager
def held(file: Path, hold: str, target: str = "held") -> Iterator[subprocess.Popen[str]]:
    """Start the program in a process, and end that at last."""
    env = {**os.environ, "HOLD": hold, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-W", "error", str(file), target, str(file.parent / "kept" / "runs.db")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True, cwd=file.parent
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def run(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location("held", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def main() -> Any:
        async with Engine(state_backend=file.parent / "kept" / "runs.db") as engine:
            return await engine.run(module.held(), run_id="r")

    return asyncio.run(main())


def stop(process: subprocess.Popen[str], file: Path) -> None:
    """Stop a process while it writes nothing: stopped within a transaction it would keep all others from writing."""
    with closing(sqlite3.connect(file.parent / "kept" / "runs.db", timeout=0, isolation_level=None)) as db:
        while True:
            os.kill(process.pid, signal.SIGSTOP)
            until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(process.pid, signal.SIGCONT)
            else:
                db.execute("ROLLBACK")
                return


def until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


def kept(file: Path) -> Any:
    store = SqliteBackend(file.parent / "kept" / "runs.db")
    store.open()
    try:
        return store.find("r"), [*store.steps("r")]
    finally:
        store.close()


def test_a_process_that_can_be_seen_is_judged_by_that(file: Path) -> None:
    with held(file, "here") as process:
        assert line_of(process) == f"begun {process.pid}"
        with pytest.raises(
            RunBusyError, match=rf"'r' is going on in process {process.pid} on .+, since 20\d\d-"
        ) as caught:
            run(file)
        stop(process, file)  # it does nothing, and is there
        with pytest.raises(RunBusyError, match=str(process.pid)):
            run(file)
        assert "if it is gone" not in str(caught.value)
        os.kill(process.pid, signal.SIGKILL)
        found = kept(file)[0].owner
        until(lambda: not owner.is_alive(found, time.time(), time.time()))
        assert not owner.is_alive(owner.this_process()._replace(began=found.began), time.time(), time.time())
        assert run(file) == 4


def test_a_stopped_process_whose_lease_was_taken_writes_nothing(file: Path, monkeypatch: Any) -> None:
    with held(file, "elsewhere") as process:
        assert line_of(process) == f"begun {process.pid}"
        with pytest.raises(RunBusyError, match=r"cannot be seen from here: if it is gone, the run is free in \d+ s"):
            run(file)
        beat = kept(file)[0].beat
        until(lambda: kept(file)[0].beat > beat)  # it gives signs of life
        stop(process, file)
        before = kept(file)[0]
        for module in ("owner", "rules"):
            monkeypatch.setattr(f"cascade.adapters.state.{module}.LEASE", 0.05)
        until(lambda: not owner.is_alive(before.owner, kept(file)[0].beat, time.time()))
        assert run(file) == 4
        after = kept(file)
        assert after[0].status == "Succeeded"
        os.kill(process.pid, signal.SIGCONT)
        assert line_of(process).startswith("RunLostError run 'r' was taken over by somebody else")
        assert process.wait() == 0
        assert kept(file) == after


def test_what_a_killed_process_has_started_ends(file: Path) -> None:
    with held(file, "no", "children") as process:
        names = ("worker", "inner", "outer")
        until(
            lambda: all(
                (file.parent / name).exists() and (file.parent / name).read_text()[-1:] == "\n" for name in names
            )
        )
        pids = [int((file.parent / name).read_text()) for name in names]
        assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        until(lambda: not any(is_there(pid) for pid in pids))


def is_there(pid: int) -> bool:
    """Say whether a process runs; one that nobody has asked for is gone as well."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
