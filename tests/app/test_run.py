"""`cs.run`, `cs.arun` and `cs.compile`: in a script, inside a loop, interrupted, and what is said on stderr."""

import asyncio
import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.spec.blueprint import Blueprint
from tests.helpers import run_python
from tests.workflows import Tier, every_tier, in_loop, turns

user: ContextVar[str] = ContextVar("user", default="nobody")


@cs.task(mode="inline")
def inc(x: int) -> int:
    return x + 1


@cs.task(mode="inline")
def who() -> str:
    return user.get()


@cs.task
async def async_inc(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


@cs.task(mode="inline")
def fails() -> None:
    raise ValueError("no luck")


@cs.resource
def database() -> Iterator[dict[str, int]]:
    yield {"tea": 4}


@cs.task
def price(item: str, db: Any = cs.inject("database")) -> int:
    value: int = db[item]
    return value


def quiet(target: Any, *args: Any, **options: Any) -> Any:
    return cs.run(target, *args, log_level="SILENT", **options)


class TestRun:
    def test_gives_the_value(self) -> None:
        assert quiet(inc(async_inc(1))) == 3
        assert quiet([inc(1), {"k": async_inc.map(x=[1, 2])}]) == [2, {"k": [2, 3]}]
        assert quiet([]) == []
        assert quiet(3) == 3

    def test_takes_what_a_run_takes(self) -> None:
        assert quiet(inc(cs.Param("n", type=int)), {"n": "4"}) == 5
        assert quiet(inc(cs.Param("n", type=int)), params={"n": 4}) == 5
        assert quiet(price("tea"), resources=[database]) == 4
        assert quiet(inc(1).with_constraints(gpu=1), system_resources={"gpu": 1}) == 2
        with pytest.raises(cs.ConstraintError):
            quiet(inc(1).with_constraints(gpu=2), system_resources={"gpu": 1})
        with pytest.raises(cs.ResourceNotFoundError):
            quiet(price("tea"))

    def test_a_resource_in_resources_is_a_resource(self) -> None:
        with pytest.raises(TypeError, match=r"a resource is declared with @cs.resource"):
            quiet(inc(1), resources=[lambda: None])

    def test_raises_what_a_task_raised(self) -> None:
        with pytest.raises(ValueError, match="no luck") as caught:
            quiet(inc(fails()))
        assert caught.value.__notes__[0].startswith("in task fails#1 ")

    def test_sees_the_context_variables_of_its_caller(self) -> None:
        token = user.set("ada")
        try:
            assert quiet([who(), cs.task(mode="blocking")(who.func)()]) == ["ada", "ada"]
        finally:
            user.reset(token)

    def test_can_be_called_again_and_again(self) -> None:
        target = inc(cs.Param("n", type=int))
        assert [quiet(target, {"n": n}) for n in range(5)] == [1, 2, 3, 4, 5]

    def test_closes_its_engine(self) -> None:
        before = set(threading.enumerate())
        threads: list[threading.Thread] = []

        @cs.task(mode="blocking")
        def note() -> None:
            threads.append(threading.current_thread())

        quiet([note(), note()])
        assert not before & set(threads)
        for thread in threads:
            thread.join(timeout=30)
        assert not any(thread.is_alive() for thread in threads)

    def test_in_a_script_it_owns_the_loop(self) -> None:
        code = """
import asyncio
import cascade as cs

@cs.task
async def where():
    return asyncio.get_running_loop()

loop = cs.run(where(), log_level="SILENT")
assert loop.is_closed()
assert cs.run([where()], log_level="SILENT")[0] is not loop
print("fine")
"""
        assert run_python(code) == "fine\n"


class TestRunInsideALoop:
    def test_it_runs_in_a_loop_of_its_own_in_a_helper_thread(self) -> None:
        async def where() -> Any:
            await asyncio.sleep(0)
            return asyncio.get_running_loop(), threading.current_thread()

        async def main() -> None:
            loop, thread = quiet(cs.task(where)())
            assert loop is not asyncio.get_running_loop()
            assert loop.is_closed()
            assert thread is not threading.current_thread()
            assert not thread.is_alive()

        in_loop(main)

    def test_it_blocks_the_loop_until_it_is_done(self) -> None:
        ran: list[str] = []

        async def beside() -> None:
            ran.append("beside")

        @cs.task
        async def slow() -> str:
            await turns(50)
            ran.append("task")
            return "done"

        async def main() -> None:
            other = asyncio.create_task(beside())
            assert quiet(slow()) == "done"
            assert ran == ["task"]
            await other

        in_loop(main)

    def test_it_sees_a_copy_of_the_context_variables(self) -> None:
        @cs.task(mode="inline")
        def change() -> None:
            user.set("changed")

        async def main() -> None:
            user.set("ada")
            assert quiet(who()) == "ada"
            quiet(change())
            assert user.get() == "ada"

        in_loop(main)

    @pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
    def test_it_raises_what_a_task_raised(self, kind: type[BaseException]) -> None:
        @cs.task(mode="inline")
        def raises() -> None:
            raise kind("no luck")

        async def main() -> None:
            with pytest.raises(kind, match="no luck"):
                quiet(raises())
            assert quiet(inc(1)) == 2

        in_loop(main)

    def test_it_takes_the_same_options(self) -> None:
        async def main() -> None:
            assert quiet(inc(cs.Param("n", type=int)), {"n": 1}) == 2
            assert quiet(price("tea"), resources=[database]) == 4
            with pytest.raises(cs.ParameterError):
                quiet(inc(1), {"m": 1})

        in_loop(main)


SCRIPT = """
import asyncio, signal, sys
import cascade as cs

@cs.resource
def thing():
    try:
        yield "thing"
    finally:
        print("torn down", flush=True)

@cs.task
async def forever(it=cs.inject(thing)):
    print("begun", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("ended", flush=True)

def go():
    try:
        cs.run(forever())
    except KeyboardInterrupt:
        print("interrupted", flush=True)

async def inside():
    go()
    await asyncio.sleep(0)
    print("the loop goes on", flush=True)

async def left_alone():
    cs.run(forever())

signal.signal(signal.SIGINT, signal.default_int_handler)
"""
BUSY = """
import asyncio, signal, sys, threading
import cascade as cs

release = threading.Event()
running = []

@cs.task
async def forever(x):
    running.append(x)
    await asyncio.Event().wait()

@cs.task(mode="blocking")
def block():
    running.append("block")
    release.wait()

@cs.task
async def begin():
    while len(running) < 21:
        await asyncio.sleep(0)
    print("begun", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        release.set()

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    cs.run([forever.map(x=range(20)), block(), begin().named("last")], **options)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
SPINNING = """
import asyncio, signal, sys
import cascade as cs

@cs.task(mode="inline")
def spin(n):
    if n == 100:
        print("begun", flush=True)
    return cs.TailCall([n + 1])

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    cs.run(spin(0))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
class TestInterrupt:
    def interrupted(self, code: str) -> tuple[list[str], str]:
        """Run a script, send it SIGINT once it says that it has begun, and return what it says after that."""
        command = [sys.executable, "-W", "error", "-c", code]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "begun\n"
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=50)
            finally:
                process.kill()
        assert process.returncode == 0, err
        return out.splitlines(), err

    def test_in_a_script_it_cancels_the_run(self) -> None:
        lines, err = self.interrupted(SCRIPT + "go()")
        assert lines == ["ended", "torn down", "interrupted"]
        assert re.search(r"ERROR +run cancelled after \d", err)

    def test_where_a_loop_runs_it_cancels_the_run_too(self) -> None:
        lines, err = self.interrupted(SCRIPT + "asyncio.run(inside())")
        assert lines == ["ended", "torn down", "interrupted", "the loop goes on"]
        assert re.search(r"ERROR +run cancelled after \d", err)

    def test_it_says_what_was_running(self) -> None:
        lines, err = self.interrupted("options = {}" + BUSY)
        assert lines == ["interrupted"]
        assert [line.split()[1] for line in err.splitlines()] == ["INFO", "WARNING", "ERROR"]
        (said,) = [line for line in err.splitlines() if "WARNING" in line]
        _, _, listed = said.partition("Interrupted: Ctrl-C ends the run; these were running: ")
        names = [part.partition(" (declared at ")[0] for part in listed.split(", ")]
        assert names[:2] == ["block#1", "forever#1[0]"]
        assert len(names) == 10
        assert listed.endswith(" and 12 more")

    def test_it_says_so_where_a_loop_runs_too(self) -> None:
        _, err = self.interrupted(SCRIPT + "asyncio.run(inside())")
        assert "these were running: forever#1 (declared at <string>:" in err

    def test_silent_says_nothing(self) -> None:
        lines, err = self.interrupted("options = {'log_level': 'SILENT'}" + BUSY)
        assert (lines, err) == (["interrupted"], "")

    def test_it_names_a_call_on_the_loops_thread(self) -> None:
        _, err = self.interrupted(SPINNING)
        assert "these were running: spin#1 (declared at <string>:" in err

    def test_it_comes_out_of_the_loop_around(self) -> None:
        code = """
try:
    asyncio.run(left_alone())
except KeyboardInterrupt:
    print("all over", flush=True)
"""
        lines, _ = self.interrupted(SCRIPT + code)
        assert lines == ["ended", "torn down", "all over"]

    def test_it_ends_a_loop_that_never_waits(self) -> None:
        lines, err = self.interrupted(SPINNING)
        assert lines == ["interrupted"]
        assert re.search(r"ERROR +run cancelled after \d", err)


class TestWhatIsSaid:
    def said(self, capsys: pytest.CaptureFixture[str], target: Any, **options: Any) -> list[str]:
        with contextlib.suppress(Exception):
            cs.run(target, **options)
        captured = capsys.readouterr()
        assert captured.out == ""
        return captured.err.splitlines()

    def words(self, lines: list[str]) -> list[str]:
        """Leave out what differs from run to run: the clock, and how long it took."""
        assert all(re.match(r"\d\d:\d\d:\d\d [A-Z]+ +\S", line) for line in lines)
        return [re.sub(r"\d+\.\d+ s", "T s", " ".join(line.split()[1:])) for line in lines]

    @pytest.fixture
    def shaky(self) -> Any:
        failures = [ConnectionError("lost")]

        @cs.task(mode="inline")
        def shaky() -> str:
            if failures:
                raise failures.pop()
            return "done"

        return shaky().with_retry(2)

    def test_info_tells_of_the_run_and_of_retries(self, capsys: pytest.CaptureFixture[str], shaky: Any) -> None:
        expected = [
            "INFO run of shaky started",
            "INFO shaky#1 failed (attempt 1 of 2): ConnectionError: lost; again in 0 s",
            "INFO run succeeded in T s",
        ]
        assert self.words(self.said(capsys, shaky)) == expected

    def test_info_names_the_targets_and_the_parameters(self, capsys: pytest.CaptureFixture[str]) -> None:
        target = inc(cs.Param("n", type=int)).named("first")
        assert self.words(self.said(capsys, target, params={"n": "4"}))[0] == "INFO run of first started with n=4"
        steps = cs.sequence([cs.task(name="load")(lambda: 1)(), cs.task(name="tell")(lambda: 2)()])
        assert self.words(self.said(capsys, steps))[0] == "INFO run of tell started"
        many = [inc(n).named(f"t{n}") for n in range(5)]
        assert self.words(self.said(capsys, many))[0] == "INFO run of t0, t1, t2 and 2 more started"

    def test_a_failed_run_is_an_error_on_every_level_but_silent(self, capsys: pytest.CaptureFixture[str]) -> None:
        for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
            lines = self.words(self.said(capsys, fails(), log_level=level))
            assert lines[-1] == "ERROR run failed after T s: ValueError: no luck"
            assert level in ("DEBUG", "INFO") or len(lines) == 1

    def test_debug_tells_of_each_task(self, capsys: pytest.CaptureFixture[str]) -> None:
        step = cs.task(mode="inline")(lambda n: cs.TailCall([n - 1]) if n else "end")(1).named("step")
        target = [inc(1), inc(2).run_if(False, otherwise=0), step]
        lines = self.words(self.said(capsys, target, log_level="DEBUG"))
        assert [re.sub(r"\d+\.\d+", "T", line) for line in lines] == [
            "INFO run of inc, inc, step started",
            "DEBUG inc#1 started",
            "DEBUG inc#1 succeeded after T s",
            "DEBUG inc#2 skipped: ConditionFalse",
            "DEBUG step#1 started",
            "DEBUG step#1 succeeded after T s",
            "DEBUG step#1 started (iteration 1)",
            "DEBUG step#1 succeeded after T s (iteration 1)",
            "INFO run succeeded in T s",
        ]

    def test_items_that_were_collected_as_failures_are_told_of_a_short_run(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        odd = cs.task(lambda n: 1 // (n % 2))
        for _ in range(2):
            lines = self.words(self.said(capsys, [odd.map(n=range(15), on_error="collect").named("odd"), inc(1)]))
            assert lines[1:] == ["INFO items that failed: odd#1 8 of 15", "INFO run succeeded in T s"]
        assert len(self.said(capsys, odd.map(n=[1], on_error="collect"))) == 2  # nothing is lost, nothing told
        skipped = self.said(capsys, odd.map(n=range(15), on_error="skip"))
        assert [line.split()[1] for line in skipped] == ["INFO", "WARNING", "INFO"]
        assert self.said(capsys, odd.map(n=range(15), on_error="collect"), log_level="WARNING") == []
        records = self.said(capsys, odd.map(n=range(3), on_error="collect"), log_format="json")
        assert [json.loads(line).get("items_failed") for line in records] == [None, {"<lambda>#1": 2}, None]

    def test_names_and_messages_forge_no_lines(self, capsys: pytest.CaptureFixture[str]) -> None:
        forged = "a\n12:00:00 INFO forged\x1b[2J\u202e"
        task: Any = cs.task(name=forged)(lambda x: x)
        step = task(cs.Param(forged))
        spelled = "a\\n12:00:00 INFO forged\\x1b[2J\\u202e"
        for target in (step, step.named(forged), [step, task.map(x=[1])]):
            lines = self.words(self.said(capsys, target, params={forged: 1}, log_level="DEBUG"))
            assert lines[0].startswith(f"INFO run of {spelled}")
            assert all(each.isprintable() for each in lines)

        @cs.task
        def fails() -> None:
            raise ValueError(f"two\r\n{forged}")

        lines = self.said(capsys, fails().named(forged))
        assert [line[:17].strip() != "" for line in lines] == [True, True, False, False]
        assert lines[1].endswith("ValueError: two\\r")
        assert [line.strip() for line in lines[2:]] == ["a", "12:00:00 INFO forged\\x1b[2J\\u202e"]

    def test_passwords_of_urls_are_not_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        url = "postgresql://me:s3c/r@et@host/db"

        @cs.task
        def fails(db: str) -> None:
            raise ConnectionError(f"cannot reach {db}")

        for form in ("human", "json"):
            target = fails(cs.Param("db")).with_retry(2)
            said = "".join(self.said(capsys, target, params={"db": url}, log_level="DEBUG", log_format=form))
            assert "postgresql://me:***@host/db" in said
            assert "s3c" not in said

    def test_debug_tells_of_a_failed_task(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines = self.words(self.said(capsys, fails(), log_level="DEBUG"))
        assert re.sub(r"\d+\.\d+", "T", lines[-2]) == "DEBUG fails#1 failed: ValueError: no luck after T s"

    @pytest.mark.parametrize("level", ["WARNING", "ERROR", "SILENT"])
    def test_higher_levels_say_nothing_of_a_run_that_went_well(
        self, capsys: pytest.CaptureFixture[str], level: Any, shaky: Any
    ) -> None:
        assert self.said(capsys, shaky, log_level=level) == []

    def test_silent_says_nothing_at_all(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.said(capsys, fails(), log_level="SILENT") == []

    def test_json_is_one_object_a_line(self, capsys: pytest.CaptureFixture[str], shaky: Any) -> None:
        records = [json.loads(line) for line in self.said(capsys, shaky, log_level="DEBUG", log_format="json")]
        assert [(record["level"], record["event"]) for record in records] == [
            ("INFO", "RunStarted"),
            ("DEBUG", "TaskExecutionStarted"),
            ("INFO", "TaskRetrying"),
            ("DEBUG", "TaskExecutionFinished"),
            ("INFO", "RunFinished"),
        ]
        assert len({record["run_id"] for record in records}) == 1
        assert records[0]["target_tasks"] == ["shaky"]
        assert records[1]["task_id"] == "shaky#1"
        assert (records[2]["attempt"], records[2]["error"]) == (1, "ConnectionError: lost")
        assert records[-1]["status"] == "Succeeded"

    def test_json_can_hold_any_parameter(self, capsys: pytest.CaptureFixture[str]) -> None:
        target = cs.task(mode="inline")(str)(cs.Param("thing", type=object))
        (started, _) = self.said(capsys, target, params={"thing": {1, 2}.union}, log_format="json")
        assert "built-in method union" in json.loads(started)["params"]["thing"]

    def test_a_wrong_level_or_format_is_refused_before_anything_runs(self, capsys: pytest.CaptureFixture[str]) -> None:
        calls: list[int] = []
        target = cs.task(calls.append)(1)
        with pytest.raises(ValueError, match="log_level is one of DEBUG, INFO, WARNING, ERROR, SILENT, not 'LOUD'"):
            cs.run(target, log_level="LOUD")  # type: ignore[call-overload]
        with pytest.raises(ValueError, match='log_format is "human" or "json", not \'xml\''):
            cs.run(target, log_format="xml")  # type: ignore[call-overload]
        assert calls == []
        assert capsys.readouterr().err == ""

    def test_what_is_wrong_before_the_run_starts_is_raised_without_a_word(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.said(capsys, inc(cs.Param("n"))) == []

    def test_a_thread_that_does_not_end_is_a_warning(self, capfd: pytest.CaptureFixture[str]) -> None:
        code = """
import asyncio, threading
import cascade as cs

begun = threading.Event()

@cs.task(mode="blocking")
def stuck():
    begun.set()
    threading.Event().wait()

@cs.task
async def fails():
    while not begun.is_set():
        await asyncio.sleep(0)
    raise ValueError("no")

try:
    cs.run([stuck(), fails()], log_level="WARNING")
except ValueError:
    print("failed")
"""
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=50)
        assert (done.returncode, done.stdout) == (0, "failed\n")
        warning, error = self.words(done.stderr.splitlines())
        assert warning.startswith("WARNING ThreadAbandoned: stuck#1 (declared at <string>:")
        assert error == "ERROR run failed after T s: ValueError: no"


class TestArun:
    def test_runs_on_the_loop_that_is_running_and_is_silent(self, capsys: pytest.CaptureFixture[str]) -> None:
        @cs.task
        async def where() -> Any:
            return asyncio.get_running_loop()

        async def main() -> None:
            assert await cs.arun(where()) is asyncio.get_running_loop()
            with pytest.raises(ValueError, match="no luck"):
                await cs.arun(fails())

        in_loop(main)
        assert capsys.readouterr() == ("", "")

    def test_takes_what_run_takes(self) -> None:
        async def main() -> None:
            assert await cs.arun(inc(cs.Param("n", type=int)), {"n": 1}) == 2
            assert await cs.arun([inc(1), 3]) == [2, 3]
            assert await cs.arun([]) == []
            assert await cs.arun(price("tea"), resources=[database]) == 4
            with pytest.raises(cs.ConstraintError):
                await cs.arun(inc(1).with_constraints(gpu=2), system_resources={"gpu": 1})
            with pytest.raises(TypeError, match=r"did you mean inc\(\)\?"):
                await cs.arun(inc)

        in_loop(main)

    def test_many_at_once_are_fine(self) -> None:
        async def main() -> None:
            assert await asyncio.gather(*(cs.arun(async_inc(n)) for n in range(20))) == list(range(1, 21))

        in_loop(main)

    def test_an_engine_is_silent_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        async def main() -> None:
            async with Engine() as engine:
                await engine.run(inc(1))
                with pytest.raises(ValueError, match="no luck"):
                    await engine.start(fails())

        in_loop(main)
        assert capsys.readouterr() == ("", "")


class TestCompile:
    @every_tier
    def test_makes_a_flow_to_await_with_its_parameters(self, tier: Tier) -> None:
        async def main() -> None:
            async with Engine(tier=tier) as engine:
                flow = cs.compile(async_inc(inc(cs.Param("n", type=int))), engine=engine)
                assert [await flow(n=n) for n in range(3)] == [2, 3, 4]
                assert await asyncio.gather(*(flow(n=n) for n in range(10))) == list(range(2, 12))

        in_loop(main)

    def test_needs_no_engine(self) -> None:
        flow = cs.compile(inc(cs.Param("n", default=1)))
        for _ in range(2):  # in one loop after the other, too
            assert in_loop(flow) == 2

    @pytest.mark.parametrize(
        ("target", "value"),
        [
            (inc(1), 2),
            (inc.map(x=[1, 2]), [2, 3]),
            ([inc(1), {"k": inc(2)}], [2, {"k": 3}]),
            (cs.Router(1, {1: inc(1)}), 2),
            (cs.compile(inc(1)).blueprint, 2),
        ],
    )
    def test_takes_what_a_run_takes(self, target: Any, value: Any) -> None:
        assert in_loop(cs.compile(target)) == value

    def test_its_blueprint_is_what_an_engine_runs(self) -> None:
        flow = cs.compile(inc(cs.Param("n", default=1)))
        assert isinstance(flow.blueprint, Blueprint)
        assert quiet(flow.blueprint, {"n": 3}) == 4
        assert "inc" in str(flow.blueprint)

    def test_raises_what_a_run_would(self) -> None:
        flow = cs.compile(inc(cs.Param("n", type=int)))
        checks: list[tuple[dict[str, Any], str]] = [
            ({}, "is required"),
            ({"n": "x"}, "cannot take"),
            ({"m": 1}, "no parameter 'm'"),
        ]
        for params, words in checks:
            with pytest.raises(cs.ParameterError, match=words):
                in_loop(functools.partial(flow, **params))

    @pytest.mark.parametrize("target", [3, [], [1, 2], None])
    def test_a_target_without_lazy_results_is_refused(self, target: Any) -> None:
        with pytest.raises(TypeError, match=r"cs.compile takes a lazy result"):
            cs.compile(target)

    def test_an_uncalled_task_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"did you mean inc\(\)\?"):
            cs.compile(inc)  # type: ignore[call-overload]

    def test_errors_of_the_graph_come_at_once(self) -> None:
        one: Any = inc(1)
        one.after(one)
        broken: list[Callable[[], Any]] = [
            lambda: one,
            lambda: inc({inc(1)}),
            lambda: [cs.Param("n", default=1), cs.Param("n", default=2)],
        ]
        for make in broken:
            with pytest.raises((cs.StaticGraphError, cs.ParameterError)):
                cs.compile(make())

    def test_its_source_is_the_python_that_it_becomes(self) -> None:
        assert "def inc_flow(" in cs.compile(inc(1)).source
