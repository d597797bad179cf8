"""Signals to a process that runs something: what ends, what is said, and with which code."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.app.blocking import SIGNALS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send")

inline: Any = cs.task(mode="inline")

SETTING = """
import asyncio, os, signal, sys, time
import cascade as cs

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have had them ignored
for each in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, signal.SIG_DFL)

def say(word):
    print(word, flush=True)

@cs.resource
def thing():
    try:
        yield "thing"
    finally:
        say("torn down")

@cs.task
async def hold(it=cs.inject(thing)):
    await asyncio.Event().wait()

@cs.task
async def swallow():
    say("begun")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            say("swallowed")
"""
COMMAND = """
flow = [hold(), cs.shell("echo $$ > pid.new && mv pid.new pid && sleep 1000")]
"""
PROCESS = """
@cs.task(mode="process")
def stay():
    import os, time
    with open("pid.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename("pid.new", "pid")
    time.sleep(1000)

flow = [hold(), stay()]
"""
RUN = """
if __name__ == "__main__":
    cs.run(flow)
"""
COMMAND_LINE = """
if __name__ == "__main__":
    cs.cli(flow)
"""


def started(folder: Path, code: str, *command: str) -> "subprocess.Popen[str]":
    (folder / "flow.py").write_text(SETTING + code)
    command = command or (sys.executable, "flow.py")
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; one that nobody has reaped yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


class TestTheProcessIsEnded:
    def ended(
        self, process: "subprocess.Popen[str]", folder: Path, signum: int, group: bool = False
    ) -> tuple[int, Any]:
        """Send a signal once there is a child; return the code, and what was written."""
        with process:
            try:
                while not (folder / "pid").exists():
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.001)
                (os.killpg if group else os.kill)(process.pid, signum)
                said = process.communicate(timeout=50)
            finally:
                process.kill()
        assert is_gone(int((folder / "pid").read_text()))
        assert "Traceback" not in said[1]
        return process.returncode, said

    def test_what_runs_is_said_and_ended_first(self, tmp_path: Path) -> None:
        code, (out, err) = self.ended(started(tmp_path, COMMAND + RUN), tmp_path, signal.SIGTERM)
        assert (code, out) == (143, "torn down\n")
        assert "SIGTERM ends the run; these were running: hold#1 (declared at " in err
        assert "run cancelled after" in err

    def test_in_the_command_too(self, tmp_path: Path) -> None:
        command = (sys.executable, "-m", "cascade", "run", "flow.py", "--json")
        code, (out, err) = self.ended(started(tmp_path, COMMAND, *command), tmp_path, signal.SIGTERM)
        assert (code, out) == (143, 'torn down\n{"status": "Cancelled"}\n')
        assert "SIGTERM ends the run" in err

    def test_in_a_command_of_ones_own_too(self, tmp_path: Path) -> None:
        code, (out, _) = self.ended(started(tmp_path, COMMAND + COMMAND_LINE), tmp_path, signal.SIGHUP, group=True)
        assert (code, out) == (129, "torn down\n")

    def test_with_all_its_processes(self, tmp_path: Path) -> None:
        pytest.importorskip("loky")
        code, (out, err) = self.ended(started(tmp_path, PROCESS + RUN), tmp_path, signal.SIGHUP, group=True)
        assert (code, out) == (129, "torn down\n")
        assert "stay#1 (declared at " in err
        assert "leaked" not in err
        assert "died" not in err


class TestASecondSignal:
    def said(self, folder: Path, code: str, *signals: int) -> tuple[int, list[str], str]:
        """Send signals, one for each line that a script writes; return its code, those lines, and what it reports."""
        process = started(folder, code)
        lines = []
        with process:
            try:
                assert process.stdout is not None
                for signum in signals:
                    lines.append(process.stdout.readline().strip())
                    process.send_signal(signum)
                out, err = process.communicate(timeout=50)
            finally:
                process.kill()
        return process.returncode, lines + out.splitlines(), err

    def test_it_does_not_wait_for_what_swallows_the_first(self, tmp_path: Path) -> None:
        code, lines, err = self.said(tmp_path, "cs.run(swallow())", signal.SIGINT, signal.SIGINT)
        assert code in (-signal.SIGINT, 130)
        assert lines[:2] == ["begun", "swallowed"]
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert "Task was destroyed" not in err

    def test_nor_where_a_loop_runs_and_of_whatever_kind_it_is(self, tmp_path: Path) -> None:
        inside = "async def go(): cs.run(swallow())\nasyncio.run(go())"
        assert self.said(tmp_path, inside, signal.SIGTERM, signal.SIGINT)[0] == 143

    def test_what_holds_the_loop_is_broken_off_after_a_while(self, tmp_path: Path) -> None:
        spin = """
import cascade.app.blocking
cascade.app.blocking.PATIENCE = 0.01

@cs.task(mode="inline")
def spin(it):
    say("begun")
    try:
        while True:
            time.sleep(1000)
    finally:
        say("broken off")

@cs.task
async def use(it=cs.inject(thing)):
    return it

cs.run(spin(use()))
"""
        code, lines, err = self.said(tmp_path, spin, signal.SIGTERM)
        assert (code, lines) == (143, ["begun", "broken off", "torn down"])
        assert "these were running: spin#1 (declared at " in err


class TestHandlers:
    def test_only_those_of_python_are_replaced_and_for_the_run_alone(self) -> None:
        def own(signum: int, frame: object) -> None: ...

        handlers: list[Any] = [signal.default_int_handler, own, signal.SIG_IGN]  # in the order of SIGNALS
        before = [signal.signal(signum, handler) for signum, handler in zip(SIGNALS, handlers, strict=True)]
        seen = inline(lambda: [*map(signal.getsignal, SIGNALS)])
        nested = cs.task(mode="blocking")(lambda: cs.run(seen(), log_level="SILENT"))
        try:
            for target in (seen(), nested()):
                found = cs.run(target, log_level="SILENT")
                assert found[0] is not signal.default_int_handler
                assert found[1:] == [own, signal.SIG_IGN]
                assert [*map(signal.getsignal, SIGNALS)] == handlers
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            assert cs.run(seen(), log_level="SILENT")[1] is not signal.SIG_DFL
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        finally:
            for signum, handler in zip(SIGNALS, before, strict=True):
                signal.signal(signum, handler)

    def test_in_another_thread_none_is(self) -> None:
        seen = inline(lambda: [*map(signal.getsignal, SIGNALS)])
        before = [*map(signal.getsignal, SIGNALS)]
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(lambda: cs.run(seen(), log_level="SILENT")).result() == before

    def test_a_child_that_is_forked_meanwhile_ends_by_itself(self) -> None:
        @cs.task(mode="inline")
        def fork() -> int:
            pid = os.fork()
            if pid == 0:
                os.kill(os.getpid(), signal.SIGTERM)
                os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            assert cs.run(fork(), log_level="SILENT") == -signal.SIGTERM
        finally:
            signal.signal(signal.SIGTERM, before)
