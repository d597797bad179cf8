"""Calls on the workers of a real Dask cluster, on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.events import RunWarning, TaskRetrying
from cascade.testing import EXECUTOR_CHECKS, SpySubscriber, check_executor
from cascade.testing.programs import add, rest, square
from tests.workflows import AGAIN

if os.environ.get("CASCADE_REQUIRE_ALL") != "1" or AGAIN:
    pytest.importorskip("distributed", reason="the package distributed is not installed")
import dask
import distributed

from cascade.adapters.executors import cluster as common
from cascade.adapters.executors import dask_cluster as adapter
from cascade.adapters.executors.dask import DaskExecutor

once = pytest.mark.skipif(AGAIN, reason="the first Python has done so")
pytestmark = pytest.mark.filterwarnings("default")  # of libraries that are not ours


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A scheduler and two workers, processes of one thread each; one that dies is started again."""
    made = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    yield made
    made.close()


@pytest.fixture
def workers(cluster: Any) -> Iterator[Callable[[], list[int]]]:
    """Give the pids of the workers, and wait in the end until there are two again."""

    def pids() -> list[int]:
        return [each.pid for each in cluster.workers.values() if each.pid]

    yield pids
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=30)


def run(cluster: Any, target: Any, seen: type[Any] | None = None, **options: Any) -> tuple[Any, list[Any]]:
    """Run a target on the cluster; return its value and the events that were asked for."""

    async def main() -> tuple[Any, list[Any]]:
        async with Engine(executor=DaskExecutor(cluster, **options)) as engine:
            spy = SpySubscriber(engine.bus)
            value = await engine.run(target)
        return value, spy.events_of_type(seen) if seen else []

    return asyncio.run(main())


def value_of(cluster: Any, target: Any, **options: Any) -> Any:
    return run(cluster, target, **options)[0]


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
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@cs.task
def touch(path: str, seconds: float) -> None:
    Path(path).touch()
    time.sleep(seconds)


class Missing:
    """Its module is one that workers have not."""


@pytest.mark.parametrize("program", EXECUTOR_CHECKS[::5] if AGAIN else EXECUTOR_CHECKS)
def test_programs_mean_the_same(cluster: Any, program: str) -> None:
    check_executor(lambda: DaskExecutor(cluster), program)


class TestWhereCallsRun:
    def test_functions_on_workers_and_what_stays_here(self, cluster: Any, workers: Callable[[], list[int]]) -> None:
        async def later() -> int:
            return os.getpid()

        def items() -> Iterator[int]:
            yield os.getpid()

        here = cs.task(mode="inline")(os.getpid)
        found = value_of(cluster, [pid(), here(), cs.task(later)(), cs.task(items)()])
        assert found[0] in workers()
        assert found[1:] == [os.getpid(), os.getpid(), [os.getpid()]]

    def test_a_map_is_spread_and_short_items_go_in_batches(self, cluster: Any) -> None:
        def name_of_the_dask_task(n: int) -> tuple[int, str]:
            time.sleep(0.001)
            return n, str(distributed.get_worker().get_current_task())

        each = cs.task(name_of_the_dask_task)
        found = value_of(cluster, each.map(n=range(300)))
        assert [n for n, _ in found] == list(range(300))
        assert 2 < len({key for _, key in found}) < 150
        alone = value_of(cluster, each.map(n=range(20)), batch_seconds=0)
        assert len({key for _, key in alone}) == 20

    def test_a_slow_item_does_not_hold_its_batch(self, cluster: Any) -> None:
        def sleepy(n: int) -> int:
            time.sleep(0.5 if n == 50 else 0.001)
            return n

        assert value_of(cluster, cs.task(sleepy).map(n=range(200))) == list(range(200))

    def test_many_engines_one_after_the_other_and_at_once(self, cluster: Any) -> None:
        executor = DaskExecutor(cluster)

        async def main() -> list[Any]:
            async with Engine(executor=executor) as engine:
                return await asyncio.gather(*(engine.run(add(n)) for n in range(20)))

        assert asyncio.run(main()) == asyncio.run(main()) == list(range(1, 21))

    @pytest.mark.parametrize("kind", ["address", "client"])
    def test_what_it_may_be_given(self, cluster: Any, kind: str) -> None:
        if kind == "address":
            assert value_of(cluster.scheduler_address, add(1)) == 2
        else:
            with distributed.Client(cluster, set_as_default=False) as client:
                assert value_of(client, add(1)) == 2

    def test_what_a_task_needs_of_a_worker(self) -> None:
        made = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", processes=False, resources={"GPU": 1}
        )
        try:
            train, never = (cs.task(name="train", resources={name: 1})(lambda n: n) for name in ("GPU", "TPU"))
            assert value_of(made, train.map(n=range(5))) == [*range(5)]
            with pytest.raises(TimeoutError):
                asyncio.run(_in_time(made, never(1)))
        finally:
            made.close()

    def test_what_makes_no_sense(self) -> None:
        with pytest.raises(ValueError, match="batch_seconds of 0 or more, not -1"):
            DaskExecutor(batch_seconds=-1)


async def _in_time(cluster: Any, target: Any) -> Any:
    async with Engine(executor=DaskExecutor(cluster)) as engine:
        return await engine.run(target, timeout=0.5)


class TestWhatComesAlong:
    def test_records_of_logs_and_progress(self, cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
        def work() -> int:
            me = cs.current()
            me.logger.info("half %s", "way", extra={"more": 1})
            logging.getLogger("lib").error("odd")
            me.progress(1, 2)
            return os.getpid()

        with caplog.at_level(logging.INFO):
            there = value_of(cluster, cs.task(work)())
        first, second = (record for record in caplog.records if record.process == there)
        assert (first.getMessage(), first.levelname) == ("half way", "INFO")
        assert (first.__dict__["task_id"], first.__dict__["more"]) == ("work#1", 1)
        assert (second.name, second.getMessage()) == ("lib", "odd")

    @once
    def test_a_script_with_context_variables(self, cluster: Any, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(SCRIPT)
        made = subprocess.run(
            [sys.executable, script, cluster.scheduler_address], capture_output=True, text=True, timeout=50
        )
        assert made.stdout == "['ada: 2', 'ada: 4'] 7\n", made.stderr


SCRIPT = """
import asyncio, sys
from contextvars import ContextVar
import cascade as cs
from cascade.adapters.executors.dask import DaskExecutor

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
    async with cs.Engine(executor=DaskExecutor(sys.argv[1])) as engine:
        print(await engine.run(named.map(n=[1, 2])), await engine.run(inner(1)))

asyncio.run(main())
"""


class TestWhatEnds:
    def test_a_call_that_waits_is_taken_back_and_one_that_runs_is_named(self, cluster: Any, tmp_path: Path) -> None:
        async def main() -> list[RunWarning]:
            async with Engine(executor=DaskExecutor(cluster)) as engine:
                spy = SpySubscriber(engine.bus)
                going = engine.start(touch.map(path=[str(tmp_path / f"{n}") for n in range(8)], seconds=[0.7] * 8))
                while len(list(tmp_path.iterdir())) < 2:
                    await asyncio.sleep(0.01)
                going.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await going
                assert await engine.run(add(1)) == 2  # behind what was left
            return spy.events_of_type(RunWarning)

        left = [event for event in asyncio.run(main()) if event.code == "ThreadAbandoned"]
        assert 1 <= len(left) <= 2
        assert "was cancelled when it had begun on the worker tcp://127.0.0.1:" in left[0].message
        assert len(list(tmp_path.iterdir())) <= 4

    def test_a_cancelled_batch_does_not_go_on(self, cluster: Any, tmp_path: Path) -> None:
        def note(n: int) -> None:
            time.sleep(0.01)
            Path(tmp_path / f"{n}").touch()

        async def main() -> None:
            async with Engine(executor=DaskExecutor(cluster, batch_seconds=5)) as engine:
                going = engine.start(cs.task(note).map(n=range(1000)))
                while len(list(tmp_path.iterdir())) < 10:
                    await asyncio.sleep(0.01)
                going.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await going
                await asyncio.sleep(0.3)
                count = len(list(tmp_path.iterdir()))
                await asyncio.sleep(0.3)
                assert len(list(tmp_path.iterdir())) == count < 900

        asyncio.run(main())

    def test_the_time_in_the_queue_is_not_that_of_a_timeout(self, cluster: Any) -> None:
        assert value_of(cluster, [rest(0.4, n).with_timeout(1.0) for n in range(8)]) == list(range(8))

    def test_a_heartbeat_that_stops(self, cluster: Any) -> None:
        def hang() -> None:
            me = cs.current()
            for _ in range(5):
                time.sleep(0.1)
                me.heartbeat()
            time.sleep(1.5)

        began = time.monotonic()
        with pytest.raises(TimeoutError, match="gave no sign of life for its heartbeat"):
            value_of(cluster, cs.task(heartbeat=0.5)(hang)())
        assert time.monotonic() - began > 0.9


class TestWhatGoesWrong:
    def test_a_worker_that_dies_is_an_error_that_names_the_call(
        self, cluster: Any, workers: Callable[[], list[int]]
    ) -> None:
        with pytest.raises(cs.WorkerLostError) as caught:
            value_of(cluster, die_at(3, 3))
        assert str(caught.value).startswith("the worker tcp://127.0.0.1:")
        assert f"that ran task 'die_at' (declared at {die_at.declared}) died: something in it" in str(caught.value)
        assert "iteration 0, attempt 1" in caught.value.__notes__[0]

    def test_which_retries_can_name(self, cluster: Any, workers: Callable[[], list[int]], tmp_path: Path) -> None:
        target = die_at_first(str(tmp_path)).with_retry(2, delay=0, on=cs.WorkerLostError)
        value, retries = run(cluster, target, TaskRetrying)
        assert value == "done"
        assert [event.attempt for event in retries] == [1]

    @once
    def test_of_a_batch_the_others_run_again(self, cluster: Any, workers: Callable[[], list[int]]) -> None:
        found = value_of(cluster, die_at.partial(bad=20).map(n=range(30), on_error="collect"))
        assert [at for at, each in enumerate(found) if isinstance(each, cs.Failed)] == [20]
        assert isinstance(found[20].error, cs.WorkerLostError)
        assert found[:20] == list(range(20))

    def test_what_does_not_pickle(self, cluster: Any) -> None:
        lock = threading.Lock()
        with pytest.raises(TypeError, match=r"task 'str' .* runs on a cluster, and its argument .* does not pickle"):
            value_of(cluster, cs.task(str)(cs.Value(lock)))
        with pytest.raises(TypeError, match=r'its function does not pickle.*mode="inline", which keeps it here'):
            value_of(cluster, cs.task(lambda: lock.locked())())
        with pytest.raises(TypeError, match="runs on a cluster, and what it returned does not pickle"):
            value_of(cluster, cs.task(lambda: threading.Lock())())
        found = value_of(cluster, cs.task(name="shown")(lambda x: repr(x)).map(x=[lock, 1], on_error="collect"))
        assert (type(found[0].error), found[1]) == (TypeError, "1")

    def test_a_module_that_is_missing_there(
        self, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "only_here.py").write_text("def double(x):\n    return 2 * x\n")
        monkeypatch.syspath_prepend(tmp_path)
        import only_here  # type: ignore[import-not-found]

        with pytest.raises(RuntimeError) as caught:
            value_of(cluster, cs.task(only_here.double).map(x=[1, 2]))
        said = str(caught.value)
        assert "could not be unpickled on its worker (ModuleNotFoundError: No module named 'only_here')" in said
        assert "have 'only_here' installed on the workers, or send it there by client.upload_file(...)" in said

    def test_other_versions_there(self, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (adapter, common):
            monkeypatch.setattr(module, "versions", lambda: ("3.10", "0.0.1"))
        with pytest.raises(cs.ClusterError, match=r"here Python 3\.10 with Cascade 0\.0\.1; have the same"):
            value_of(cluster, add(1))

    def test_a_cluster_that_is_not_there(self) -> None:
        soon = dask.config.set({"distributed.comm.timeouts.connect": "300ms"})
        with soon, pytest.raises(cs.ClusterError, match=r"the Dask cluster at tcp://127\.0\.0\.1:1 cannot be reached"):
            value_of("tcp://127.0.0.1:1", [add(1), add(2)])

    @once
    def test_a_cluster_that_goes_away(self) -> None:
        async def main() -> None:
            command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
            command += ["--host", "127.0.0.1"]
            process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
            assert process.stderr is not None
            address = ""
            while not address:
                line = (await process.stderr.readline()).decode()
                if "Scheduler at:" in line:
                    address = line.split()[-1]
            async with Engine(executor=DaskExecutor(address)) as engine:
                going = engine.start(add(1))  # there are no workers, so it waits
                await asyncio.sleep(0.5)
                process.kill()
                with pytest.raises(cs.ClusterError, match="has gone away while task 'add'"):
                    await going
            await process.wait()

        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
            asyncio.run(main())

    @once
    def test_a_worker_that_is_killed_for_its_memory(self) -> None:
        def fill() -> int:
            kept = []
            for _ in range(40):
                kept.append(b"x" * (10 << 20))
                time.sleep(0.1)
            return len(kept)

        limited = distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0", memory_limit="400MiB"
        )
        try:
            with pytest.raises(cs.WorkerLostError, match=r"of the 400 MiB that it may have, and was probably killed"):
                value_of(limited, cs.task(fill)())
        finally:
            limited.close()

    def test_the_extra_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "distributed", None)
        with pytest.raises(cs.MissingExtraError, match=r"pip install cascade-py\[dask\]"):
            value_of(None, add(1))


def test_a_recorded_run_is_recorded_here(cluster: Any, tmp_path: Path) -> None:
    async def main() -> Any:
        async with Engine(executor=DaskExecutor(cluster), state_backend=tmp_path / "runs.db") as engine:
            return await engine.run([pid(), square.map(x=range(20))], run_id="sweep")

    first = asyncio.run(main())
    assert asyncio.run(main()) == first


@once
def test_it_starts_workers_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(
        "import asyncio, os, cascade as cs\n"
        "from cascade.adapters.executors.dask import DaskExecutor\n"
        "async def main():\n"
        "    async with cs.Engine(executor=DaskExecutor()) as engine:\n"
        "        print(await engine.run(cs.task(os.getpid)()) != os.getpid())\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    made = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=50)
    assert made.stdout == "True\n", made.stderr
