"""The commands that look at engines that are going on, and steer them."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.doors.client import doors
from cascade.runtime import Engine
from tests.doors import folder
from tests.helpers import run_python

pytest.importorskip("typer")
pytestmark = [
    pytest.mark.usefixtures("folder"),
    pytest.mark.skipif(os.name != "posix", reason="doors of POSIX systems"),
]
__all__ = ["folder"]

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_LANG", "en")
    monkeypatch.delenv("CASCADE_STATE", raising=False)


@cs.task
async def fetch(x: int) -> int:
    await asyncio.sleep(0.001)
    return x


class Going:
    """An engine that goes on in another thread."""

    def __init__(self, targets: dict[str, Any]) -> None:
        self.engine: Any = None
        self.outcomes: dict[str, Any] = {}
        self._targets = targets
        self._loop: Any = None
        self._stop: Any = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(),))

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with Engine(control=True) as self.engine:
            runs = {name: self.engine.start(target, run_id=name) for name, target in self._targets.items()}
            while not runs and not self._stop.is_set():
                await self.engine.run(fetch(0))
                break
            for _ in range(20):
                await asyncio.sleep(0)
            self._up.set()
            await self._stop.wait()
            for name, run in runs.items():
                run.cancel()
                await asyncio.wait({run._task})
                self.outcomes[name] = None if run.status == "Cancelled" else run._task.result()

    def __enter__(self) -> Any:
        self._thread.start()
        self._up.wait()
        return self.engine

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


def until(check: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not check():
        assert time.monotonic() < end
        time.sleep(0.005)


def standing(engine: Engine) -> list[tuple[str, str, float | None]]:
    return [(limit.scope, limit.kind, limit.value) for limit in engine.limits()]


class TestSteering:
    def test_pause_resume_and_limits(self, cascade: Invoke) -> None:
        with Going({"night": cs.wait(100)}) as engine:
            name = engine.steering.door.name
            assert cascade("pause") == (0, "", f"{name}: global is paused; cascade resume global ends it\n")
            assert cascade("pause", "task:f*", "--ttl", "60")[0] == 0
            assert cascade("set-limit", "task:f*", "--concurrency", "2", "--rate", "30/m", "--burst", "4")[0] == 0
            assert cascade("set-limit", "global", "--rate", "7")[0] == 0
            assert standing(engine) == [
                *(("global", "pause", None), ("global", "rate", 7.0)),
                *(("task:f*", "concurrency", 2), ("task:f*", "pause", None), ("task:f*", "rate", 0.5)),
            ]
            code, told, _ = cascade("status")
            assert code == 0
            assert "  night: wait has run for " in told
            shown = ["global is paused", "global: 7/s", "task:f*: 2 at once", "task:f*: 30/m, 4 in a burst"]
            assert all(f"\n  {line}\n" in told + "\n" for line in shown)
            assert re.search(r"\n  task:f\* is paused, ends in \d+ s\n", told)
            assert cascade("resume") == (0, "", f"{name}: global is not paused any more\n")
            assert cascade("resume", "task:f*")[0] == 0
            assert cascade("clear-limit", "task:f*") == (0, "", f"{name}: task:f* is not limited any more\n")
            assert standing(engine) == [("global", "rate", 7.0)]

    def test_a_run_is_cancelled_and_sent_something(self, cascade: Invoke) -> None:
        going = Going({"a": cs.wait_signal("go"), "b": cs.wait(100)})
        with going:
            assert cascade("cancel", "b") == (0, "", "b is being cancelled\n")
            until(lambda: json.loads(cascade("ps", "--json")[1])["engines"][0]["runs"][0]["id"] == "a")
            assert cascade("signal", "a", "go", '{"by": "me"}') == (0, "", "sent go to a\n")
            until(lambda: not json.loads(cascade("ps", "--json")[1])["engines"][0]["runs"])
        assert going.outcomes == {"a": {"by": "me"}, "b": None}

    def test_several_engines(self, cascade: Invoke) -> None:
        with Going({"a": cs.wait(100)}) as one, Going({"b": cs.wait(100)}) as other:
            names = sorted(each.steering.door.name for each in (one, other))
            code, told, error = cascade("pause")
            assert (code, told) == (2, "")
            assert (
                error
                == f"error: several engines are going on: name one with --engine, or take --all: {', '.join(names)}\n"
            )
            assert cascade("pause", "--engine", one.steering.door.name)[0] == 0
            assert (len(one.limits()), len(other.limits())) == (1, 0)
            assert cascade("pause", "--all")[0] == 0
            assert len(other.limits()) == 1
            assert cascade("resume", "--engine", str(os.getpid()))[0] == 2
            assert cascade("cancel", "b")[0] == 0
            assert len(cascade("ps")[1].splitlines()) == 3
            assert cascade("status")[1].count("global is paused") == 2

    @pytest.mark.parametrize(
        ("command", "code", "why"),
        [
            (["pause", "fetch"], 1, 'for the tasks called so: "task:fetch"'),
            (["pause", "--ttl", "-1"], 1, "ttl is a number of seconds above zero"),
            (["set-limit", "global"], 2, "give --concurrency N, --rate RATE"),
            (["set-limit", "global", "--rate", "often"], 1, "does not parse"),
            (["set-limit", "global", "--concurrency", "0"], 1, "whole number of 1 or more"),
            (["set-limit", "global", "--concurrency", "1", "--burst", "2"], 1, "belongs to a rate"),
            (["cancel", "nigth"], 1, "no run 'nigth' is going on; did you mean night?"),
            (["signal", "nigth", "go", "1"], 1, "no run 'nigth' is going on; did you mean night?"),
            (["signal", "night", "", "1"], 2, "not empty"),
            (["watch", "nigth"], 1, "no run 'nigth' is going on; did you mean night?"),
            (["pause", "--engine", "1-2"], 1, "no engine 1-2 is going on; cascade ps lists"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )
    def test_what_makes_no_sense(self, command: list[str], code: int, why: str, cascade: Invoke) -> None:
        with Going({"night": cs.wait(100)}) as engine:
            given, told, error = cascade(*command)
            assert (given, told) == (code, "")
            assert why in error
            assert engine.limits() == []

    @pytest.mark.parametrize(
        "command",
        [["status"], ["pause"], ["cancel", "x"], ["signal", "x", "go", "1"], ["set-limit", "global", "--rate", "1"]],
    )
    def test_where_nothing_is_going_on(self, command: list[str], cascade: Invoke) -> None:
        code, told, error = cascade(*command)
        assert (code, told) == (1, "")
        assert "no engine is going on that can be steered" in error
        assert cascade("ps")[:2] == (0, "")
        assert json.loads(cascade("ps", "--json")[1]) == {"version": 1, "engines": []}

    def test_a_folder_that_is_not_safe(self, cascade: Invoke, folder: Path, tmp_path: Path) -> None:
        folder.symlink_to(tmp_path)
        for command in (["ps"], ["pause"], ["watch"]):
            code, told, error = cascade(*command)
            assert (code, told) == (1, "")
            assert "is not safe: it is a link to elsewhere; remove it" in error

    def test_it_speaks_chinese(self, cascade: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASCADE_LANG", "zh")
        with Going({"night": cs.wait(100)}):
            assert "已暂停" in cascade("pause")[2]
            assert "引擎" in cascade("ps")[1]
            assert "global 已暂停" in cascade("status")[1]


@contextmanager
def watching(*arguments: str) -> Iterator[Any]:
    """Have another process watch."""
    command = [sys.executable, "-W", "error", "-m", "cascade", "watch", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process


class TestLooking:
    def test_ps_lists_runs_and_engines_without_one(self, cascade: Invoke) -> None:
        targets = [fetch(1).named(f"n{n}") for n in range(5)]
        with Going({"night": [cs.wait(100), *targets]}) as one, Going({}) as other:
            code, told, error = cascade("ps")
            assert (code, error) == (0, "")
            titles, *lines = told.splitlines()
            assert titles.split() == ["ENGINE", "PROGRAM", "RUN", "TOOK", "TARGET"]
            rows = {line.split()[0]: line.split()[2:] for line in lines}
            assert rows[one.steering.door.name][0] == "night"
            assert rows[one.steering.door.name][3:] == ["wait,", "n0,", "n1", "and", "3", "more"]
            assert rows[other.steering.door.name] == ["-"]
            (first, second) = json.loads(cascade("ps", "--json")[1])["engines"]
            assert {len(first["runs"]), len(second["runs"])} == {0, 1}
            assert first["pid"] == os.getpid()

    def test_status_tells_who_waits_in_channels(self, cascade: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        @cs.task
        async def listen() -> None:
            await cs.channel("orders").receive()

        @cs.task
        async def offer() -> None:
            channel = cs.channel("full", capacity=1).open_outside()
            await channel.send(1)
            await channel.send(2)

        with Going({"a": [listen(), offer()]}):
            told = "waiting in channels: listen#1 to receive from 'orders', offer#1 to send to 'full'"
            assert told in cascade("status")[1]
            (run,) = json.loads(cascade("status", "--json")[1])["engines"][0]["runs"]
            assert run["progress"]["waiting"] == {"listen#1": ["receive", "orders"], "offer#1": ["send", "full"]}
            monkeypatch.setenv("CASCADE_LANG", "zh")
            assert "在通道中等待：listen#1 等待从 'orders' 接收, offer#1 等待向 'full' 发送" in cascade("status")[1]

    def test_status_tells_what_waits(self, cascade: Invoke) -> None:
        with Going({"r": cs.sequence([cs.wait(0.05), fetch.map(x=range(30))])}) as engine:
            engine.pause("task:fetch")
            until(lambda: "30 calls wait: paused (task:fetch)" in cascade("status")[1])
            assert "fetch#1 0/30 items" in cascade("status")[1]

    def test_what_engines_say_moves_no_cursor(self, cascade: Invoke) -> None:
        with Going({"evil\x1b[2J\nrun": cs.wait(100)}):
            for command in ("ps", "status"):
                told = cascade(command)[1]
                assert "evil" in told
                assert "\x1b" not in told

    def test_watch_shows_a_run_until_it_ends(self, cascade: Invoke) -> None:
        with Going({"r": cs.sequence([cs.wait_signal("go"), fetch(3)])}) as engine, watching("r") as seen:
            engine.pause("task:fetch")
            while "running: wait_signal#1" not in seen.stdout.readline():
                pass
            while "task:fetch is paused" not in seen.stdout.readline():
                pass
            assert cascade("signal", "r", "go", "1")[0] == 0
            assert cascade("resume", "task:fetch")[0] == 0
            *_, last = seen.stdout.read().splitlines()
            assert (seen.wait(30), seen.stderr.read()) == (0, "")
        assert re.fullmatch(r"r \(fetch\): run succeeded in [\d.]+ s", last)

    def test_watch_in_json_of_a_run_that_fails(self) -> None:
        @cs.task
        async def fail() -> None:
            await may_fail.wait()
            raise ValueError("no paper")

        may_fail = asyncio.Event()
        with suppressed(ValueError), Going({"r": fail()}) as engine, watching("--json") as seen:
            while not (first := json.loads(seen.stdout.readline()))["running"]:  # a busy machine, or it just begins
                pass
            until(lambda: len(engine.steering.door.callers) == 2)  # one asks how it is, one waits for the end
            engine._active["r"].loop.call_soon_threadsafe(may_fail.set)
            *_, last = map(json.loads, seen.stdout.read().splitlines())
            assert seen.wait(30) == 0
        assert first["running"].keys() == {"fail#1"}
        assert (last["event"], last["status"], last["error"]) == ("RunFinished", "Failed", "ValueError: no paper")

    def test_watch_asks_which_of_several(self, cascade: Invoke) -> None:
        with Going({"a": cs.wait(100), "b": cs.wait(100)}):
            assert cascade("watch") == (2, "", "error: several runs are going on; name one: a, b\n")

    def test_watch_waits_for_a_run_and_tells_of_a_process_that_is_gone(self) -> None:
        code = "import cascade as cs; from cascade.app import run; run.DOOR_AFTER = 0; "
        code += "cs.run(cs.wait(60), log_level='SILENT')"
        with watching() as seen:
            assert "no run is going on yet; waiting for one" in seen.stderr.readline()
            with subprocess.Popen([sys.executable, "-c", code]) as running:
                assert "wait has run for" in seen.stdout.readline()
                running.kill()
            assert seen.stdout.read().endswith("(wait): it has ended, or its process has\n")
            assert seen.wait(30) == 0

    def test_watch_is_live_on_a_terminal(self) -> None:
        pytest.importorskip("rich")
        ours, theirs = pty.openpty()
        with Going({"r": cs.wait_signal("go")}) as engine:
            engine.pause("task:x")
            environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
            command = [sys.executable, "-W", "error", "-m", "cascade", "watch", "r"]
            with subprocess.Popen(command, stderr=theirs, stdout=subprocess.PIPE, env=environment) as watching:
                os.close(theirs)
                seen = b""
                while b"is paused" not in seen:
                    seen += os.read(ours, 4096)
                asyncio.run_coroutine_threadsafe(engine.signal("r", "go", 1), engine._active["r"].loop).result()
                assert watching.stdout is not None
                assert b"r (wait_signal): run succeeded in" in watching.stdout.read()
                assert watching.wait(30) == 0
        os.close(ours)
        assert b"wait_signal#1" in seen


@contextmanager
def suppressed(*kinds: type[Exception]) -> Iterator[None]:
    """Let the thread of a failing run end as it likes."""
    hook = threading.excepthook
    threading.excepthook = lambda args: None if isinstance(args.exc_value, kinds) else hook(args)
    try:
        yield
    finally:
        threading.excepthook = hook


def test_a_run_of_the_command_is_steered_from_another(tmp_path: Path, cascade: Invoke) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text("import cascade as cs\n\nflow = cs.wait(60)\n", encoding="utf-8")
    command = [sys.executable, "-m", "cascade", "run", str(flow), "--log-level", "INFO"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        until(doors)
        (each,) = json.loads(cascade("ps", "--json")[1])["engines"]
        assert each["pid"] == running.pid
        assert cascade("cancel", each["runs"][0]["id"])[0] == 0
        assert running.wait(30) == 1
        assert running.stderr is not None
        told = running.stderr.read()
    assert "run cancelled after" in told
    assert "Traceback" not in told


def test_the_commands_load_what_they_need_when_they_need_it() -> None:
    code = "import sys; from cascade.command.main import make_app; make_app(); "
    code += "print([name for name in sys.modules if 'doors' in name or 'engines' in name])"
    assert run_python(code) == "[]\n"
