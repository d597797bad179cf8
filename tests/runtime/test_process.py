"""Calls in processes of their own: what crosses, what does not, and that nothing is left of a process."""

import asyncio
import contextlib
import gc
import math
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine
from cascade.runtime.events import RunFinished, TaskExecutionFinished, TaskExecutionStarted, TaskRetrying
from cascade.testing import SpyExecutor, SpySubscriber
from tests.clock import advance, in_still_loop
from tests.helpers import run_python
from tests.workflows import Tier, every_tier, in_loop, notes_of, run

psutil = pytest.importorskip("psutil")
pytest.importorskip("loky")
pytestmark = pytest.mark.timeout(120)

in_process: Any = cs.task(mode="process")


@cs.task(mode="process")
def by_name(x: int) -> tuple[str, int]:
    return __name__, x


class Point(NamedTuple):
    x: int
    y: int


class Strange(Exception):
    """Takes other arguments than it keeps, as many do."""

    def __init__(self, code: int, word: str) -> None:
        super().__init__(f"{word} ({code})")
        self.code = code


class Counter:
    def __init__(self, start: int) -> None:
        self.start = start

    @cs.task(mode="process")
    def plus(self, n: int) -> int:
        return self.start + n


def workers() -> list[Any]:
    """Return the worker processes of this one."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "popen_loky" in " ".join(child.cmdline()):
                found.append(child)
    return found


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; one that nobody has reaped yet has."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def until_gone(*pids: int) -> None:
    while not all(map(is_gone, pids)):
        await glance()


async def glance() -> None:
    """Let the others go on for a moment, on a loop whose clock may stand still."""
    time.sleep(0.001)
    await asyncio.sleep(0)


class Stay:
    """A task that writes its process's number to a file, starts a child that sleeps, and stays there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

        @cs.task(mode="process", name="stay")
        def stay(name: str) -> None:
            import os
            import subprocess
            import time

            child = subprocess.Popen(["sleep", "1000"])
            path = os.path.join(str(folder), name)
            with open(path + ".new", "w") as file:
                file.write(f"{os.getpid()} {child.pid}")
            os.rename(path + ".new", path)
            time.sleep(1000)

        self.task: Any = stay

    async def begun(self, name: str) -> list[int]:
        """Wait until a call has begun; return the numbers of its process and of the child of that."""
        while not (self.folder / name).exists():
            await glance()
        return [int(word) for word in (self.folder / name).read_text().split()]


@pytest.fixture
def stay(tmp_path: Path) -> Stay:
    return Stay(tmp_path)


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert workers() == []


class TestWhatCrosses:
    @every_tier
    def test_a_call_runs_in_another_process(self, tier: Tier) -> None:
        pid = in_process(os.getpid)
        assert run(pid(), tier=tier, executor=LocalExecutor(processes=1)) != os.getpid()

    @every_tier
    def test_results_are_as_anywhere_else(self, tier: Tier) -> None:
        double = in_process(lambda x: x * 2)
        late = in_process(lambda x, y=3, *, z: [x, y, z])
        chained = late(double(2), z=double(Point(1, 2)))
        executor = LocalExecutor(processes=1)
        assert run([chained, double.map(x=range(3))], tier=tier, executor=executor) == [
            [4, 3, (1, 2, 1, 2)],
            [0, 2, 4],
        ]

    def test_functions_of_every_kind(self) -> None:
        def outer(k: int) -> Any:
            return lambda x: x * k

        targets = [
            by_name(7),
            in_process(outer(3))(2),
            in_process(math.sqrt)(9.0),
            in_process(operator.itemgetter("a"))({"a": 1}),
            Counter(40).plus(2),
            in_process(Point)(1, 2),
        ]
        found = run(targets, executor=LocalExecutor(processes=1))
        assert found == [(__name__, 7), 6, 3.0, 1, 42, Point(1, 2)]
        assert type(found[-1]) is Point

    @every_tier
    def test_jumps_and_tail_calls(self, tier: Tier) -> None:
        step = in_process(lambda n: cs.Jump("again", n + 1) if n < 3 else n)(0)
        cs.bind(step, cs.select_jump({"again": step, "exit": None}))
        tail = in_process(lambda n: cs.TailCall([n + 1]) if n < 3 else "done")(0)
        assert run([step, tail], tier=tier, executor=LocalExecutor(processes=1)) == [3, "done"]

    @every_tier
    def test_at_most_so_many_processes_work(self, tier: Tier) -> None:
        async def main() -> None:
            async with Engine(tier=tier, executor=LocalExecutor(processes=2)) as engine:
                pid = in_process(lambda n: os.getpid())
                found = await engine.run(pid.map(n=range(12)))
                assert 1 <= len(set(found)) <= 2
                assert {worker.pid for worker in workers()} >= set(found)
                assert set(await engine.run(pid.map(n=range(4)))) <= {worker.pid for worker in workers()}
                assert len(workers()) <= 2

        in_loop(main)

    def test_context_variables_do_not(self) -> None:
        from contextvars import ContextVar

        user: ContextVar[str] = ContextVar("user", default="nobody")
        user.set("ada")
        name = "user"
        here = cs.task(mode="blocking")(lambda: user.get())
        there = in_process(lambda: [var.name for var in __import__("contextvars").copy_context() if var.name == name])
        assert run([here(), there()], executor=LocalExecutor(processes=1)) == ["ada", []]

    def test_events_are_as_anywhere_else(self) -> None:
        async def main() -> None:
            async with Engine(executor=LocalExecutor(processes=1)) as engine:
                spy = SpySubscriber(engine.bus)
                await engine.run(in_process(math.sqrt)(4.0))
                (started,) = spy.events_of_type(TaskExecutionStarted)
                (finished,) = spy.events_of_type(TaskExecutionFinished)
                assert started.task_id == finished.task_id == "sqrt#1"
                assert finished.status == "Succeeded"

        in_loop(main)

    def test_another_executor_may_pass_it_on(self) -> None:
        spy = SpyExecutor(local := LocalExecutor(processes=1))

        async def main() -> None:
            async with Engine(executor=spy) as engine:
                assert await engine.run(in_process(os.getpid)()) != os.getpid()
            await local.aclose()

        in_loop(main)
        assert [node.mode for node, _, _ in spy.calls] == ["process"]

    def test_what_stands_in_a_script_crosses_too(self, tmp_path: Path) -> None:
        """Without an `if __name__ == "__main__"`: the script does not run again in the process."""
        script = tmp_path / "script.py"
        script.write_text(SCRIPT)
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=100, check=False
        )
        assert done.stdout.splitlines() == ["begun", "5 True", "Broken ('it is', 3) True", "ended"], done.stderr

    def test_so_do_the_tasks_and_resources_that_it_refers_to(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(REFERRING)
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=100, check=False
        )
        assert done.stdout.splitlines() == [
            "by_function 2",
            "by_run 12",
            "itself 120",
            "each_other True",
            "method 9",
            "static 8",
            "decorated 2",
            "closure 8",
            "lambda 3",
            "as_value add_one 2",
            "namespace 2",
            "nested 2",
        ], done.stderr

    def test_a_directory_that_is_gone_does_not_keep_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert run(in_process(math.sqrt)(4), executor=LocalExecutor(processes=1)) == 2
        monkeypatch.chdir(tmp_path)
        assert run(in_process(os.getcwd)(), executor=LocalExecutor(processes=1)) == str(tmp_path)

    def test_nothing_is_said_of_a_directory_that_is_gone(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            f"import os, math\nos.mkdir({str(tmp_path / 'gone')!r})\nos.chdir({str(tmp_path / 'gone')!r})\n"
            f"os.rmdir(os.getcwd())\nimport cascade as cs\n"
            "print(cs.run(cs.task(math.sqrt, mode='process')(4), log_level='SILENT'))"
        )
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=50, check=False)
        assert (done.stdout, done.stderr) == ("2.0\n", "")


SCRIPT = """
import os
import cascade as cs

print("begun", flush=True)
OFFSET = 3

class Pair:
    def __init__(self, x):
        self.x = x

class Broken(Exception):
    pass

def helper(pair):
    return Pair(pair.x + OFFSET)

@cs.task(mode="process")
def work(pair):
    return helper(pair)

@cs.task(mode="process")
def fail():
    raise Broken("it is", OFFSET)

found = cs.run(work(Pair(2)), log_level="SILENT")
print(found.x, type(found) is Pair)
try:
    cs.run(fail(), log_level="SILENT")
except Broken as error:
    print(type(error).__name__, error.args, "in fail" in str(error.__cause__))
print("ended")
"""

REFERRING = """
import asyncio, functools
import cascade as cs
from cascade.adapters.executors.local import LocalExecutor

process = cs.task(mode="process")

@cs.resource
def ten():
    yield 10

@cs.task
def add_one(x):
    return x + 1

@cs.task(cache=cs.cached(), retry={"max_attempts": 2, "on": (OSError,)})
def add_ten(x, more=cs.inject(ten)):
    return x + more

@process
def by_function(x):
    return add_one.func(x)

@process
def by_run(x):
    return cs.run(add_ten(add_one(x)), log_level="SILENT")

@process
def itself(n):
    return 1 if n == 0 else n * itself.func(n - 1)

@process
def each_other(n):
    return n == 0 or other.func(n - 1)

@process
def other(n):
    return n != 0 and each_other.func(n - 1)

class Number:
    def __init__(self, value):
        self.value = value

    @process
    def method(self, n):
        return self.value + n + self.twice.func(self, n)

    @cs.task
    def twice(self, n):
        return 2 * n

    @staticmethod
    @process
    def static(n):
        return Number(1).twice.func(None, n)

def passing(func):
    @functools.wraps(func)
    def passed(*args):
        return func(*args)
    return passed

@process
@passing
def decorated(x):
    return add_one.func(x)

def closure(k):
    @cs.task
    def local(x):
        return x + k

    @process
    def work(x):
        return local.func(x) + cs.run(local.map(x=[x]), log_level="SILENT")[0]
    return work

@process
def as_value(given):
    return given, add_one

@process
def nested(x):
    return cs.run(by_function(x), log_level="SILENT")

namespace = {}
exec('''
import cascade as cs
@cs.task
def add_one(x): return x + 1
@cs.task(mode="process")
def work(x): return add_one.func(x)
''', namespace)

async def main():
    async with cs.Engine(executor=LocalExecutor(processes=1)) as engine:
        print("by_function", await engine.run(by_function(1)))
        print("by_run", await engine.run(by_run(1)))
        print("itself", await engine.run(itself(5)))
        print("each_other", await engine.run(each_other(4)))
        print("method", await engine.run(Number(3).method(2)))
        print("static", await engine.run(Number.static(4)))
        print("decorated", await engine.run(decorated(1)))
        print("closure", await engine.run(closure(3)(1)))
        print("lambda", await engine.run(process(lambda x: add_one.func(x))(2)))
        given, returned = await engine.run(as_value(cs.Value(add_one)))
        print("as_value", given.name, await engine.run(returned(1)))
        print("namespace", await engine.run(namespace["work"](1)))
        print("nested", await engine.run(nested(1)))

asyncio.run(main())
"""


class TestFailures:
    @every_tier
    def test_an_error_keeps_its_type_its_notes_and_its_attributes(self, tier: Tier) -> None:
        def fail() -> None:
            error = Strange(7, "odd")
            error.add_note("its own note")
            raise error

        with pytest.raises(Strange, match="odd") as caught:
            run(in_process(fail)(), tier=tier, executor=LocalExecutor(processes=1))
        assert (caught.value.args, caught.value.code) == (("odd (7)",), 7)
        own, where = notes_of(caught.value)
        assert own == "its own note"
        assert where.startswith("in task fail#1 (declared at ")
        there = str(caught.value.__cause__)
        assert f'{__file__}", line ' in there
        assert "raise error" in there

    def test_errors_of_every_kind(self) -> None:
        async def main() -> None:
            async with Engine(executor=LocalExecutor(processes=1)) as engine:
                for error in (
                    ValueError("plain", 1),
                    KeyError("k"),
                    FileNotFoundError(2, "gone", "here"),
                    ExceptionGroup("several", [ValueError(1), TypeError(2)]),
                    UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"),
                    MemoryError("full"),
                ):

                    def fail(error: Any = error) -> None:
                        raise error

                    with pytest.raises(type(error)) as caught:
                        await engine.run(in_process(fail)())
                    assert type(caught.value) is type(error)
                    assert str(caught.value) == str(error)

        in_loop(main)

    def test_an_error_that_does_not_pickle_is_described(self) -> None:
        def fail() -> None:
            error = Strange(1, "odd")
            error.lock = threading.Lock()  # type: ignore[attr-defined]
            raise error

        with pytest.raises(RuntimeError, match=r"^Strange: odd \(1\) \(it does not pickle, so this stands for it\)"):
            run(in_process(fail)(), executor=LocalExecutor(processes=1))

    def test_a_stop_iteration_comes_out_as_a_runtime_error(self) -> None:
        with pytest.raises(RuntimeError) as caught:
            run(in_process(lambda: next(iter(())))(), executor=LocalExecutor(processes=1))
        assert isinstance(caught.value.__cause__, StopIteration)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
    def test_what_ends_things_does_as_anywhere_else(self, error: type[BaseException]) -> None:
        async def main() -> None:
            async with Engine(executor=LocalExecutor(processes=1)) as engine:
                spy = SpySubscriber(engine.bus)

                def fail() -> None:
                    raise error

                try:
                    with pytest.raises(error):
                        await engine.run(in_process(fail)())
                finally:
                    (end,) = spy.events_of_type(RunFinished)
                    assert end.status == ("Failed" if error is asyncio.CancelledError else "Cancelled")

        in_loop(main)

    @pytest.mark.parametrize(
        ("call", "blamed"),
        [
            (lambda lock: in_process(lambda x, y=1: x)(lock), "its argument x"),
            (lambda lock: in_process(lambda x, y=1: x)(1, y=lock), "its argument y"),
            (lambda lock: in_process(lambda x, **more: x)(1, other=[lock]), "its argument other"),
            (lambda lock: in_process(lambda x: lock)(1), "its function"),
        ],
    )
    def test_what_does_not_pickle_is_named_before_anything_is_sent(self, call: Any, blamed: str) -> None:
        words = (
            rf"task '<lambda>' \(declared at .*test_process.py:\d+\) runs in a process of its own, and {blamed} does"
        )
        with pytest.raises(TypeError, match=words) as caught:
            run(call(threading.Lock()))
        assert notes_of(caught.value)[-1].startswith("in task <lambda>#1 (declared at ")

    def test_so_is_what_a_task_returned(self) -> None:
        async def main() -> None:
            async with Engine(executor=LocalExecutor(processes=1)) as engine:
                for result in (threading.Lock, lambda: cs.task(len)("abc"), lambda: (x for x in range(3))):
                    with pytest.raises(TypeError, match=r"task .* what it returned does not pickle, so it cannot come"):
                        await engine.run(in_process(result)())
                assert await engine.run(in_process(math.sqrt)(4.0)) == 2.0

        in_loop(main)

    def test_what_cannot_be_unpickled_where_it_arrives(self) -> None:
        here = os.getpid()

        class Homesick:
            def __init__(self, home: bool) -> None:
                self.home = home

            def __reduce__(self) -> Any:
                return arrive, (self.home,)

        def arrive(home: bool) -> int:
            if (os.getpid() == here) is not home:
                raise LookupError("this is not home")
            return 1

        async def main() -> None:
            async with Engine(executor=LocalExecutor(processes=1)) as engine:
                with pytest.raises(RuntimeError, match=r"the call of task .* could not be unpickled in its process"):
                    await engine.run(in_process(lambda x: x)(Homesick(home=True)))
                with pytest.raises(RuntimeError, match=r"what task .* returned or raised .* cannot be unpickled here"):
                    await engine.run(in_process(lambda: Homesick(home=False))())
                assert await engine.run(in_process(math.sqrt)(4.0)) == 2.0

        in_loop(main)

    @pytest.mark.parametrize("package", ["loky", "cloudpickle", "psutil"])
    def test_a_missing_package_says_what_to_install(self, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        words = rf"task 'sqrt' .* needs the package '{package}': pip install cascade-py\[process\]"
        with pytest.raises(cs.MissingExtraError, match=words):
            run(in_process(math.sqrt)(4.0))

    @pytest.mark.parametrize("name", ["blocking_threads", "compute_threads", "processes"])
    @pytest.mark.parametrize("number", [0, -1, 1.5])
    def test_a_number_of_workers_is_one_or_more(self, name: str, number: Any) -> None:
        with pytest.raises(ValueError, match=f"LocalExecutor needs {name} of 1 or more, not {number}"):
            LocalExecutor(**{name: number})


def die(how: str) -> Any:
    def dying() -> None:
        import os
        import signal

        if how == "exit":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)

    return in_process(dying)


class TestDeath:
    @pytest.mark.parametrize(("how", "said"), [("exit", r"EXIT\(3\)"), ("kill", r"SIGKILL\(-9\)")])
    @every_tier
    def test_it_is_an_error_that_names_the_task_and_the_next_run_works(self, how: str, said: str, tier: Tier) -> None:
        async def main() -> None:
            async with Engine(tier=tier, executor=LocalExecutor(processes=1)) as engine:
                words = rf"^the process that ran task 'dying' \(declared at .*:\d+\) died \({said}\)"
                with pytest.raises(BrokenProcessPool, match=words) as caught:
                    await engine.run(die(how)())
                assert notes_of(caught.value)[0].startswith("in task dying#1 (declared at ")
                assert await engine.run(in_process(math.sqrt)(4.0)) == 2.0

        in_loop(main)

    def test_the_call_beside_it_goes_on(self, tmp_path: Path) -> None:
        def wait(path: str) -> str:
            import os
            import time

            open(path + ".begun", "w").close()
            while not os.path.exists(path):
                time.sleep(0.001)
            return "there"

        async def main() -> None:
            path = tmp_path / "go"
            async with Engine(executor=LocalExecutor(processes=2)) as engine:
                beside = engine.start(in_process(wait)(str(path)))
                while not (tmp_path / "go.begun").exists():
                    await asyncio.sleep(0.001)
                with pytest.raises(BrokenProcessPool):
                    await engine.run(die("kill")())
                path.touch()
                assert await beside == "there"

        in_loop(main)

    def test_it_can_be_tried_again(self, tmp_path: Path) -> None:
        def second_time(path: str) -> str:
            import os

            if not os.path.exists(path):
                open(path, "w").close()
                os._exit(1)
            return "done"

        async def main() -> None:
            async with Engine(executor=LocalExecutor(processes=1)) as engine:
                spy = SpySubscriber(engine.bus)
                target = in_process(second_time)(str(tmp_path / "mark")).with_retry(2, on=BrokenProcessPool)
                assert await engine.run(target) == "done"
                (retry,) = spy.events_of_type(TaskRetrying)
                assert retry.error is not None
                assert retry.error.startswith("BrokenProcessPool: the process that ran task 'second_time'")

        in_loop(main)


class TestTheEnd:
    @pytest.mark.parametrize("way", ["run", "id", "timeout of the run", "timeout of the call"])
    @every_tier
    def test_the_process_and_what_it_has_started_are_killed(self, way: str, tier: Tier, stay: Stay) -> None:
        async def main() -> None:
            async with Engine(tier=tier, executor=LocalExecutor(processes=1)) as engine:
                target = stay.task("it")
                if way == "timeout of the call":
                    target.with_timeout(60)
                run = engine.start(target, run_id="it", timeout=60 if way == "timeout of the run" else None)
                pids = await stay.begun("it")
                assert not any(map(is_gone, pids))
                if way == "run":
                    run.cancel()
                elif way == "id":
                    assert engine.cancel("it") is True
                else:
                    await advance(60)
                with pytest.raises(TimeoutError if way.startswith("timeout") else asyncio.CancelledError):
                    await run
                assert workers() == []
                await until_gone(*pids)
                assert await engine.run(in_process(math.sqrt)(4.0)) == 2.0

        in_still_loop(main)

    def test_a_failure_elsewhere_kills_it_too(self, stay: Stay) -> None:
        async def main() -> None:
            @cs.task
            async def fail() -> None:
                await stay.begun("it")
                raise ValueError("elsewhere")

            async with Engine(executor=LocalExecutor(processes=1)) as engine:
                with pytest.raises(ValueError, match="elsewhere"):
                    await engine.run([stay.task("it"), fail()])
                await until_gone(*await stay.begun("it"))

        in_loop(main)

    def test_a_call_that_waits_for_a_process_can_be_cancelled(self, stay: Stay) -> None:
        async def main() -> None:
            async with Engine(executor=LocalExecutor(processes=1)) as engine:
                first = engine.start(stay.task("first"))
                await stay.begun("first")
                waiting = [engine.start(in_process(math.sqrt)(4.0)) for _ in range(3)]
                for _ in range(10):
                    await asyncio.sleep(0)
                waiting[0].cancel()
                waiting[2].cancel()
                first.cancel()
                assert await waiting[1] == 2.0
                for cancelled in (first, waiting[0], waiting[2]):
                    with pytest.raises(asyncio.CancelledError):
                        await cancelled
                assert await engine.run(in_process(math.sqrt)(9.0)) == 3.0

        in_loop(main)

    def test_the_start_of_a_process_does_not_count_as_time_of_the_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from cascade.adapters.executors import processes

        order: list[str] = []
        start, carry_out = processes._Worker.start, processes._Worker.carry_out

        async def noted_start(self: Any) -> None:
            await start(self)
            order.append("started")

        async def noted_call(self: Any, payload: bytes, place: Any) -> bytes:
            order.append("call")
            return await carry_out(self, payload, place)

        monkeypatch.setattr(processes._Worker, "start", noted_start)
        monkeypatch.setattr(processes._Worker, "carry_out", noted_call)

        async def main() -> None:
            pool = processes.Processes(1)
            assert await pool.call("sqrt", "here", math.sqrt, (4.0,), {}, lambda: order.append("begun")) == 2.0
            await pool.aclose()

        in_loop(main)
        assert order == ["started", "begun", "call"]

    def test_an_engine_that_closes_ends_its_processes(self) -> None:
        async def main() -> None:
            async with Engine(executor=LocalExecutor(processes=2)) as engine:
                pid = await engine.run(in_process(os.getpid)())
                assert not is_gone(pid)
            assert is_gone(pid)
            assert workers() == []
            assert await engine.run(in_process(math.sqrt)(4.0)) == 2.0  # it may be used again
            await engine.aclose()

        in_loop(main)

    def test_so_does_cs_run(self) -> None:
        pid = cs.run(in_process(os.getpid)(), log_level="SILENT")
        assert is_gone(pid)

    def test_an_executor_shared_by_engines_lets_calls_end_first(self, tmp_path: Path) -> None:
        def wait(path: str) -> str:
            import os
            import time

            open(path + ".begun", "w").close()
            while not os.path.exists(path):
                time.sleep(0.001)
            return "there"

        async def main() -> None:
            executor = LocalExecutor(processes=1)
            async with Engine(executor=executor) as one:
                waiting = one.start(in_process(wait)(str(tmp_path / "go")))
                while not (tmp_path / "go.begun").exists():
                    await asyncio.sleep(0.001)
                async with Engine(executor=executor):
                    pass
                (tmp_path / "go").touch()
                assert await waiting == "there"
                assert workers() == []

        in_loop(main)

    def test_the_resources_of_a_cancelled_call_are_torn_down_behind_it(self, stay: Stay) -> None:
        async def main() -> None:
            gone: list[bool] = []

            @cs.resource
            async def name() -> AsyncIterator[str]:
                try:
                    yield "it"
                finally:
                    gone.append(is_gone((await stay.begun("it"))[0]))

            async with Engine(executor=LocalExecutor(processes=1)) as engine:
                run = engine.start(stay.task(cs.inject(name)))
                await stay.begun("it")
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run
            assert gone == [True]

        in_loop(main)


FOREVER = """
import os, signal, sys
import cascade as cs

signal.signal(signal.SIGINT, signal.default_int_handler)

@cs.task(mode="process")
def forever(path):
    import os, time
    with open(path + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".new", path)
    time.sleep(1000)

try:
    cs.run(forever(sys.argv[1]))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a group of processes")
class TestTheProcessAround:
    def started(self, tmp_path: Path) -> tuple[Any, int]:
        """Start a script; return it, and the number of the process that its task runs in."""
        script, path = tmp_path / "forever.py", tmp_path / "pid"
        script.write_text(FOREVER)
        command = [sys.executable, "-W", "error", str(script), str(path)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        while not path.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        return process, int(path.read_text())

    def test_ctrl_c_reaches_all_of_them_and_ends_cleanly(self, tmp_path: Path) -> None:
        process, worker = self.started(tmp_path)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=50)
        assert (process.returncode, out) == (0, "interrupted\n"), err
        assert is_gone(worker)
        assert "Traceback" not in err
        assert "Interrupted: Ctrl-C ends the run; these were running: forever#1 (declared at " in err

    def test_a_process_whose_parent_was_killed_ends(self, tmp_path: Path) -> None:
        process, worker = self.started(tmp_path)
        process.kill()
        process.communicate(timeout=50)
        while not is_gone(worker):
            time.sleep(0.01)


def test_what_is_not_used_is_not_imported() -> None:
    found = run_python(
        "import sys, cascade as cs\n"
        "cs.run(cs.task(len)('abc'), log_level='SILENT')\n"
        "print([name for name in ('loky', 'cloudpickle', 'psutil', 'multiprocessing') if name in sys.modules])"
    )
    assert found == "[]\n"


def test_workers_that_start_side_by_side_leave_hangups_as_they_were() -> None:
    pid = cs.task(mode="process")(os.getpid)
    assert len({*run([pid(), pid(), pid()], executor=LocalExecutor(processes=3))}) > 1
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
