"""`cascade ui`: the page for the engines of all processes of its user, and for what a store has."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.doors import folder
from tests.helpers import invoke_cascade
from tests.providers.servers import need
from tests.showing import asked

pytest.importorskip("typer")
need("starlette")
need("uvicorn")
pytestmark = [
    pytest.mark.usefixtures("folder"),
    pytest.mark.skipif(os.name != "posix", reason="doors of POSIX systems"),
]
__all__ = ["folder"]

FLOW = """
import asyncio
import cascade as cs

@cs.task
async def fetch(page):
    await asyncio.sleep(0.01)
    return page

flow = cs.sequence([fetch(1), cs.wait_signal("go", type=int)])
"""


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.delenv("CASCADE_STATE", raising=False)
    return invoke_cascade


class Asking:
    """What a browser that was let in may ask."""

    def __init__(self, url: str) -> None:
        self.address, _, token = url.strip().partition("#token=")
        self.origin = self.address.rstrip("/")
        _, _, headers = asked(self.address, "enter", {"token": token}, origin=self.origin)
        self.cookie = headers["set-cookie"].partition(";")[0]

    def __call__(self, done: str, **args: Any) -> Any:
        said = {"do": done, **args}
        _, told, _ = asked(self.address, "ask", said, origin=self.origin, cookie=self.cookie)
        assert told["ok"], told
        return told["value"]


@contextmanager
def cascade(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Carry a command out in another process, and end it with Ctrl-C."""
    command = [sys.executable, "-m", "cascade", *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)


def test_it_shows_runs_of_other_processes_and_steers_them(file: Callable[..., Path]) -> None:
    with cascade("ui") as ui:
        assert ui.stdout is not None
        ask = Asking(ui.stdout.readline())
        assert ask("runs") == {"runs": [], "more": False, "has_store": False}
        with cascade("run", f"{file(FLOW)}:flow") as running:
            while not (runs := ask("runs")["runs"]):
                time.sleep(0.05)
            (run,) = runs
            at = {"engine": run["engine"], "run": run["run"]}
            assert (run["status"], run["engine"].partition("-")[0]) == ("Running", str(running.pid))
            while not ask("engines")["engines"][0]["runs"][0]["progress"]["running"]:
                time.sleep(0.05)
            assert ask("seen", part="head", **at)["targets"] == run["targets"]
            ask("pause", engine=run["engine"], scope="global")
            assert ask("status", engine=run["engine"])["limits"][0]["kind"] == "pause"
            ask("resume", engine=run["engine"], scope="global")
            ask("signal", name="go", value=5, **at)
            assert running.stdout is not None
            assert running.stdout.readline().strip() == "5"
        while ask("engines")["engines"]:
            time.sleep(0.05)
    assert ui.returncode == 130


def test_it_shows_what_a_store_has(file: Callable[..., Path], tmp_path: Path) -> None:
    flow, state = file("import cascade as cs\n@cs.task\ndef one(): return 1\nflow = one()\n"), str(tmp_path / "runs.db")
    run = [sys.executable, "-m", "cascade", "run", f"{flow}:flow", "--state", state, "--run-id", "monday"]
    subprocess.run(run, check=True, capture_output=True)
    with cascade("ui", "--state", state) as ui:
        assert ui.stdout is not None
        ask = Asking(ui.stdout.readline())
        (known,) = ask("runs")["runs"]
        assert (known["run"], known["engine"], known["status"]) == ("monday", "store", "Succeeded")
        (step,) = ask("seen", engine="store", run="monday", part="steps")["rows"]
        assert (step["task_id"], step["preview"]) == ("one#1", "1")
        assert ask("seen", engine="store", run="monday", part="head")["state"] == state


def test_what_makes_no_sense_is_refused(invoke: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, said = invoke("ui", "--host", "0.0.0.0")
    assert code == 2
    assert "CASCADE_UI_TOKEN" in said
    code, _, said = invoke("ui", "--host", "0.0.0.0", "--token", "short")
    assert code == 1
    assert "16 letters" in said
    code, _, said = invoke("ui", "--state", tmp_path / "none.db")
    assert code == 2
    assert "none.db" in said


def test_it_speaks_chinese(invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_LANG", "zh")
    assert "令牌" in invoke("ui", "--host", "0.0.0.0")[2]
