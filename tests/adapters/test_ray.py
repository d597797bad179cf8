"""Calls on the workers of a real Ray cluster, on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors import cluster as common
from cascade.adapters.executors.ray import RayExecutor
from cascade.runtime import Engine
from cascade.runtime.events import TaskRetrying
from cascade.testing import SpySubscriber, check_executor
from cascade.testing.programs import add, rest, square
from tests.workflows import AGAIN

if AGAIN:
    pytest.skip("the first Python has done so", allow_module_level=True)
if os.environ.get("CASCADE_REQUIRE_ALL") != "1":
    pytest.importorskip("ray", reason="the package ray is not installed")

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(240)]  # of a library that is not ours


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A node with two workers of one call each, to which this process is connected."""
    import ray

    ray.init("local", num_cpus=2, resources={"TPU": 1}, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def run(target: Any, seen: type[Any] | None = None, **options: Any) -> tuple[Any, list[Any]]:
    """Run a target on the cluster; return its value and the events that were asked for."""

    async def main() -> tuple[Any, list[Any]]:
        async with Engine(executor=RayExecutor(**options)) as engine:
            spy = SpySubscriber(engine.bus)
            value = await engine.run(target)
        return value, spy.events_of_type(seen) if seen else []

    return asyncio.run(main())


def value_of(target: Any, **options: Any) -> Any:
    return run(target, **options)[0]


@cs.task
def pid(n: int = 0) -> int:
    return os.getpid()


@cs.task
def die_at(bad: int, n: int) -> int:
    if n == bad:
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    return n


@cs.task
def die_at_first(folder: str) -> str:
    mark = Path(folder, "tried")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@cs.task
def say_pid(folder: str, n: int) -> None:
    Path(folder, f"{os.getpid()}").touch()
    time.sleep(60)


def test_programs_mean_the_same() -> None:
    check_executor(RayExecutor)


def test_functions_run_on_workers_and_what_stays_here() -> None:
    async def later() -> int:
        return os.getpid()

    def items() -> Iterator[int]:
        yield os.getpid()

    here = cs.task(mode="inline")(os.getpid)
    found = value_of([pid(), here(), cs.task(later)(), cs.task(items)()])
    assert found[0] != os.getpid()
    assert found[1:] == [os.getpid(), os.getpid(), [os.getpid()]]


def test_short_items_go_in_batches() -> None:
    def ray_task(n: int) -> str:
        import ray

        time.sleep(0.001)
        return str(ray.get_runtime_context().get_task_id())

    assert len(set(value_of(cs.task(ray_task).map(n=range(300))))) < 150
    assert len(set(value_of(cs.task(ray_task).map(n=range(20)), batch_seconds=0))) == 20


def test_what_a_task_needs_of_a_worker() -> None:
    train, never = (cs.task(name="train", resources=needs)(lambda n: n) for needs in ({"TPU": 1}, {"XPU": 1}))
    assert value_of(train.map(n=range(3))) == [0, 1, 2]

    async def main() -> None:
        async with Engine(executor=RayExecutor()) as engine:
            await engine.run(never(1), timeout=0.5)

    with pytest.raises(TimeoutError):
        asyncio.run(main())


class TestWhatComesAlong:
    def test_records_of_logs_and_progress(self, caplog: pytest.LogCaptureFixture) -> None:
        def work() -> int:
            me = cs.current()
            me.logger.info("half %s", "way", extra={"more": 1})
            me.progress(1, 2)
            return os.getpid()

        with caplog.at_level(logging.INFO):
            there = value_of(cs.task(work)())
        (record,) = (record for record in caplog.records if record.process == there)
        assert (record.getMessage(), record.levelname, record.__dict__["task_id"]) == ("half way", "INFO", "work#1")

    def test_a_script_on_workers_of_its_own_with_context_variables(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(SCRIPT)
        made = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=200)
        assert made.stdout == "['ada: 2', 'ada: 4'] 7\n", made.stderr


SCRIPT = """
import asyncio
from contextvars import ContextVar
import cascade as cs
from cascade.adapters.executors.ray import RayExecutor

user = ContextVar("user", default="nobody")
offset = 6

def twice(n):
    return 2 * n

@cs.task
def named(n: int) -> str:
    return f"{user.get()}: {twice(n)}"

@cs.task
def inner(n: int) -> int:
    return cs.run(cs.task(lambda x: x + offset)(n), log_level="SILENT")

async def main():
    user.set("ada")
    async with cs.Engine(executor=RayExecutor()) as engine:
        print(await engine.run(named.map(n=[1, 2])), await engine.run(inner(1)))

if __name__ == "__main__":
    asyncio.run(main())
"""


class TestWhatEnds:
    def test_what_runs_ends_with_its_worker(self, tmp_path: Path) -> None:
        def is_there(number: int) -> bool:
            try:
                os.kill(number, 0)
            except ProcessLookupError:
                return False
            return b"Z" not in Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2][:3]

        async def main() -> None:
            async with Engine(executor=RayExecutor()) as engine:
                going = engine.start(say_pid.partial(folder=str(tmp_path)).map(n=range(6)))
                while not [*tmp_path.iterdir()]:
                    await asyncio.sleep(0.01)
                going.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await going
                while any(is_there(int(each.name)) for each in tmp_path.iterdir()):
                    await asyncio.sleep(0.01)
                assert await engine.run(add(1)) == 2

        asyncio.run(main())

    def test_a_timeout_and_a_heartbeat_that_stops(self) -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"took longer than its timeout of 0\.3 s"):
            value_of(rest(100, 1).with_timeout(0.3))
        with pytest.raises(TimeoutError, match="gave no sign of life for its heartbeat"):
            value_of(cs.task(heartbeat=0.3)(lambda: time.sleep(100))())
        assert time.monotonic() - began < 100


class TestWhatGoesWrong:
    def test_a_worker_that_dies_is_an_error_that_names_the_call(self) -> None:
        with pytest.raises(cs.WorkerLostError) as caught:
            value_of(die_at(3, 3))
        assert f"that ran task 'die_at' (declared at {die_at.declared}) died: something in it" in str(caught.value)
        assert "iteration 0, attempt 1" in caught.value.__notes__[0]

    def test_which_retries_can_name(self, tmp_path: Path) -> None:
        target = die_at_first(str(tmp_path)).with_retry(2, delay=0, on=cs.WorkerLostError)
        value, retries = run(target, TaskRetrying)
        assert (value, [event.attempt for event in retries]) == ("done", [1])

    def test_of_a_batch_the_others_run_again(self) -> None:
        found = value_of(die_at.partial(bad=20).map(n=range(30), on_error="collect"))
        assert [at for at, each in enumerate(found) if isinstance(each, cs.Failed)] == [20]
        assert isinstance(found[20].error, cs.WorkerLostError)

    def test_what_does_not_pickle(self) -> None:
        with pytest.raises(TypeError, match=r"task 'str' .* runs on a cluster, and its argument .* does not pickle"):
            value_of(cs.task(str)(cs.Value(threading.Lock())))
        with pytest.raises(TypeError, match="runs on a cluster, and what it returned does not pickle"):
            value_of(cs.task(lambda: threading.Lock())())

    def test_a_module_that_is_missing_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "only_at_home.py").write_text("def double(x):\n    return 2 * x\n")
        monkeypatch.syspath_prepend(tmp_path)
        import only_at_home  # type: ignore[import-not-found]

        with pytest.raises(
            RuntimeError, match=r"have 'only_at_home' installed on the workers, or send it there by a run"
        ):
            value_of(cs.task(only_at_home.double).map(x=[1, 2]))

    def test_other_versions_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from cascade.adapters.executors import ray_cluster

        for module in (ray_cluster, common):
            monkeypatch.setattr(module, "versions", lambda: ("3.10", "0.0.1"))
        with pytest.raises(cs.ClusterError, match=r"here Python 3\.10 with Cascade 0\.0\.1; have the same"):
            value_of(add(1))

    def test_a_cluster_that_is_not_there(self) -> None:
        with pytest.raises(cs.ClusterError, match=r"the Ray cluster at 127\.0\.0\.1:1 cannot be reached \(Connection"):
            value_of(add(1), address="127.0.0.1:1")

    def test_what_makes_no_sense(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ValueError, match="RayExecutor needs batch_seconds of 0 or more, not -1"):
            RayExecutor(batch_seconds=-1)
        with pytest.raises(TypeError, match="takes the address of a cluster"):
            RayExecutor(3)  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(cs.MissingExtraError, match=r"pip install cascade-py\[ray\]"):
            value_of(add(1))


def test_a_recorded_run_is_recorded_here(tmp_path: Path) -> None:
    async def main() -> Any:
        async with Engine(executor=RayExecutor(), state_backend=tmp_path / "runs.db") as engine:
            return await engine.run([pid(), square.map(x=range(20))], run_id="sweep")

    first = asyncio.run(main())
    assert asyncio.run(main()) == first
