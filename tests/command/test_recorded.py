"""Runs that the command records, and the commands for them."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend, SqliteBackend
from cascade.adapters.state.codec import decode, encode
from cascade.adapters.state.owner import this_process
from cascade.app.words import WORDS
from cascade.spec.state import Commit, RunRecord, RunStatus, StepRecord

pytest.importorskip("typer")

Write = Callable[..., Path]
Invoke = Callable[..., tuple[int, str, str]]

FLOW = """
import os
import time
from pathlib import Path

import cascade as cs

HERE = Path(__file__).parent


def log(line):
    with open(HERE / "log", "a") as file:
        file.write(line + "\\n")


@cs.task
def load(n: int) -> list[int]:
    log("load")
    return list(range(n))


@cs.task
def add(values: list[int]) -> int:
    log("add")
    return sum(values)


@cs.task(retry=2)
def publish(total: int) -> str:
    log("publish")
    while (HERE / "hold").exists():
        time.sleep(0.01)
    if (HERE / "broken").exists():
        raise ValueError("the printer is on fire")
    return f"{total} pages"


flow = publish(add(load(cs.Param("n", type=int))))
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name the store in the environment."""
    monkeypatch.setenv("CASCADE_LANG", "en")
    monkeypatch.setenv("CASCADE_STATE", str(tmp_path / "runs.db"))
    return tmp_path / "runs.db"


@pytest.fixture
def flow(file: Write, state: Path) -> Path:
    return file(FLOW)


def logged(flow: Path) -> list[str]:
    return (flow.parent / "log").read_text().split()


def fail(cascade: Invoke, flow: Path, *options: str) -> tuple[str, str]:
    """Start a run that fails, and mend what is broken; return what it printed."""
    (flow.parent / "broken").touch()
    code, out, err = cascade("run", flow, "--n", "4", *options)
    assert code == 1
    (flow.parent / "broken").unlink()
    (flow.parent / "log").unlink()
    return out, err


def keep(state: Path, *records: RunRecord, steps: tuple[StepRecord, ...] = ()) -> None:
    """Write runs as others have left them."""
    backend = SqliteBackend(state)
    backend.open()
    for record in records:
        assert backend.create(record)
        assert backend.commit([Commit(record.run_id, record.epoch, 1, steps)]) == []
    backend.close()


def a_run(run_id: str = "r", target: str = "", **changes: Any) -> RunRecord:
    now = time.time()
    record = RunRecord(run_id, "Running", target, b"no value", b"{}", now, now, epoch=1)
    return record._replace(**changes)


def runs(cascade: Invoke, *options: str) -> list[dict[str, Any]]:
    code, out, _ = cascade("runs", "--json", *options)
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)["runs"]
    return found


class TestRun:
    @pytest.mark.parametrize("durability", ["each", "group", "exit"])
    def test_it_is_recorded_with_the_name_of_its_target(self, cascade: Invoke, flow: Path, durability: str) -> None:
        options = ("--run-id", "r", "--durability", durability)
        assert cascade("run", flow, "--n", "4", *options)[:2] == (0, "6 pages\n")
        (run,) = runs(cascade)
        assert (run["run_id"], run["status"], run["target"]) == ("r", "Succeeded", f"{flow}:flow")
        assert (run["is_going_on"], run["starts"], run["error"]) == (False, 1, None)

    def test_one_that_has_succeeded_gives_its_value_again(self, cascade: Invoke, flow: Path) -> None:
        for _ in range(2):
            assert cascade("run", f"{flow}:flow", "--n", "4", "--run-id", "r")[1] == "6 pages\n"
        assert logged(flow) == ["load", "add", "publish"]

    def test_without_an_id_it_says_which_it_has_and_how_to_go_on(self, cascade: Invoke, flow: Path) -> None:
        _, err = fail(cascade, flow)
        name = runs(cascade)[0]["run_id"]
        assert err.splitlines()[0] == f"recorded as {name} in {flow.parent / 'runs.db'}"
        assert err.splitlines()[-1] == f"to go on with it: cascade resume-run {name}"
        assert cascade("resume-run", name)[1] == "6 pages\n"
        assert logged(flow) == ["publish"]

    def test_machines_are_told_no_more_than_before(self, cascade: Invoke, flow: Path) -> None:
        out, err = fail(cascade, flow, "--json", "--log-level", "SILENT")
        assert (json.loads(out)["status"], err) == ("Failed", "")
        _, err = fail(cascade, flow, "--log-format", "json")
        assert all(json.loads(line) for line in err.splitlines() if line.startswith("{"))
        assert "go on" not in err

    def test_the_store_may_be_an_option(
        self, cascade: Invoke, flow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CASCADE_STATE")
        other = f"sqlite:///{tmp_path / 'other.db'}"
        _, err = fail(cascade, flow, "--state", other, "--run-id", "r")
        assert err.splitlines()[-1] == f"to go on with it: cascade resume-run r --state {other}"
        assert cascade("runs", "--state", other)[1].count("Failed") == 1

    def test_without_a_store_nothing_is_recorded(
        self, cascade: Invoke, flow: Path, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CASCADE_STATE")
        assert cascade("run", flow, "--n", "4")[0] == 0
        assert not state.exists()

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--run-id", "r"], "--run-id is for runs that are recorded"),
            (["--on-change", "keep"], "--on-change is for runs that are recorded"),
            (["--durability", "each"], "--durability is for runs that are recorded"),
            (["--state", "x.db", "--run-id", ""], "--run-id is a text that is not empty"),
            (["--state", "x.db", "--on-change", "adept"], "--on-change is one of keep, rerun, adapt, error"),
            (["--state", "x.db", "--durability", "none"], "--durability is one of each, group, exit"),
            (["--state", "memory"], "a store in memory ends with this command"),
            (["--state", "ftp://here"], "there is no store for ftp://"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, cascade: Invoke, flow: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], expected: str
    ) -> None:
        monkeypatch.delenv("CASCADE_STATE")
        code, _, err = cascade("run", flow, "--n", "4", *options)
        assert (code, "Traceback" in err) == (2, False)
        assert expected in err
        assert not (flow.parent / "log").exists()

    def test_other_parameters_are_refused_without_a_traceback(self, cascade: Invoke, flow: Path) -> None:
        fail(cascade, flow, "--run-id", "r")
        code, out, err = cascade("run", flow, "--n", "5", "--run-id", "r")
        assert (code, out) == (1, "")
        assert err == (
            "error: run 'r' was begun with n='4', and is given n='5' now; leave it out to go on with what it was begun "
            "with, or start another run\n"
        )

    def test_changed_code_is_as_on_change_says(self, cascade: Invoke, flow: Path) -> None:
        fail(cascade, flow, "--run-id", "r")
        flow.write_text(FLOW.replace("sum(values)", "sum(values) + 1"))
        code, _, err = cascade("resume-run", "r", "--on-change", "error")
        assert code == 1
        assert err.startswith("error: the code of tasks of run 'r' has changed")
        assert cascade("resume-run", "r", "--on-change", "rerun")[1] == "7 pages\n"
        assert logged(flow) == ["add", "publish"]

    @pytest.mark.parametrize("command", ["run", "resume-run"])
    def test_a_changed_graph_is_as_on_change_says(self, cascade: Invoke, flow: Path, command: str) -> None:
        fail(cascade, flow, "--run-id", "r")
        more = "@cs.task\ndef more(values):\n    return [*values, 4]\n\n\nflow = publish(add(more(load("
        flow.write_text(FLOW.replace("flow = publish(add(load(", more).replace("type=int))))", "type=int)))))"))
        given = ["resume-run", "r"] if command == "resume-run" else ["run", flow, "--n", "4", "--run-id", "r"]
        code, _, err = cascade(*given)
        assert (code, "added: more#1" in err, 'on_change="adapt"' in err) == (1, True, True)
        code, out, err = cascade(*given, "--on-change", "adapt")
        assert (code, out) == (0, "10 pages\n")
        assert "1 of 4 nodes keep what is recorded of them; new or changed: more#1, add#1, publish#1" in err
        assert logged(flow) == ["add", "publish"]


class TestLooks:
    def test_runs_are_listed_the_latest_first(self, cascade: Invoke, flow: Path) -> None:
        fail(cascade, flow, "--run-id", "first")
        cascade("run", flow, "--n", "4", "--run-id", "second")
        titles, second, first, error = cascade("runs")[1].splitlines()
        assert titles.split() == ["RUN", "STATUS", "STARTED", "TOOK", "TARGET"]
        assert re.fullmatch(r"second  Succeeded  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \d.\d s  \S+:flow", second)
        assert first.startswith("first   Failed     ")
        assert error == "    ValueError: the printer is on fire"
        assert [run["run_id"] for run in runs(cascade, "--status", "failed")] == ["first"]
        code, out, err = cascade("runs", "--limit", "1")
        assert (code, len(out.splitlines()), err) == (0, 2, "... and more; --limit shows more than 1\n")
        assert json.loads(cascade("runs", "--limit", "1", "--json")[1])["more"] is True
        assert "--status is one of Enqueued" in cascade("runs", "--status", "done")[2]

    def test_history_leaves_out_what_was_begun_in_a_loop_that_has_ended(self, cascade: Invoke, state: Path) -> None:
        def step(key: str, task_id: str, entry: int, kind: str) -> StepRecord:
            return StepRecord(key, entry, kind, b"", task_id, 1, 1.0, 2.0, "", "")

        steps = (
            *(
                step("3", "turn#1", -1, "value"),
                step("3>5!?", "work#1", 7, "begun"),
                step("3>6?", "feed#1", 7, "begun"),
            ),
            *(step("4>5![1]?", "item#1[1]", 2, "begun"), step("4[1]", "more#1[1]", -1, "value")),
            *(step("4>5![2]?", "item#1[2]", 2, "begun"), step("8>9!?", "other#1", 1, "begun")),
        )
        keep(state, a_run(status="Failed"), steps=steps)
        shown = json.loads(cascade("history", "r", "--json")[1])["steps"]
        assert [each["task_id"] for each in shown] == ["turn#1", "more#1[1]", "item#1[2]", "other#1"]

    def test_history_shows_each_wait_and_each_condition_with_its_step(self, cascade: Invoke, state: Path) -> None:
        def step(key: str, task_id: str, kind: str) -> StepRecord:
            return StepRecord(key, -1, kind, b"", task_id, 1, 1.0, 2.0, "", "")

        told = [
            ("1&", "if#1", "true"),
            ("2$", "wait#1", "waits"),
            ("3$", "signal#1", "over"),
            ("4$", "wait#2", "waits"),
        ]
        told += [("1", "if#1", "value"), ("2", "wait#1", "value"), ("3", "signal#1", "value")]
        keep(state, a_run(status="Failed"), steps=tuple(step(*each) for each in told))
        shown = json.loads(cascade("history", "r", "--json")[1])["steps"]
        assert [(each["task_id"], each["status"]) for each in shown] == [
            ("if#1", "Succeeded"), ("wait#1", "Succeeded"), ("signal#1", "Succeeded"), ("wait#2", "Begun"),
        ]  # fmt: skip

    def test_history_shows_each_step_once(self, cascade: Invoke, flow: Path) -> None:
        fail(cascade, flow, "--run-id", "r")
        lines = cascade("history", "r")[1].splitlines()
        assert lines[0].split()[0] == "RUN"
        assert [line.split()[:3] for line in lines[5:]] == [
            ["load#1", "1", "Succeeded"],
            ["add#1", "1", "Succeeded"],
            ["publish#1", "2", "Failed"],
        ]
        assert [line.rsplit("  ", 1)[1] for line in lines[5:]] == [
            "[0, 1, 2, 3]",
            "6",
            "ValueError: the printer is on fire",
        ]
        record = json.loads(cascade("history", "r", "--json")[1])
        assert (record["version"], record["run"]["status"]) == (1, "Failed")
        assert [step["preview"] for step in record["steps"]] == ["[0, 1, 2, 3]", "6", None]
        assert record["steps"][2]["error"] == "ValueError: the printer is on fire"
        assert record["steps"][2]["ended"] >= record["steps"][2]["started"] > 0

    def test_no_value_is_decoded(self, cascade: Invoke, state: Path) -> None:
        step = StepRecord("0", -1, "value", b"no value at all", "load#1", 1, 0.0, 1.0, "", "<Secret\x1b[2J>")
        begun = step._replace(key="1?", kind="begun", task_id="add#1", attempt=3)
        keep(state, a_run(target="/x/flow.py:flow"), steps=(step, begun, step._replace(key="=", task_id="")))
        lines = cascade("history", "r")[1].splitlines()
        assert lines[2] == "    no process goes on with it; cascade resume-run does"
        assert lines[5].endswith(r"<Secret\x1b[2J>")
        assert lines[6].split()[:3] == ["add#1", "3", "Begun"]
        assert len(lines) == 7

    def test_a_run_that_is_alive_is_left_alone(self, cascade: Invoke, state: Path) -> None:
        keep(state, a_run(owner=this_process()))
        (run,) = runs(cascade)
        assert (run["is_going_on"], run["pid"]) == (True, os.getpid())
        assert len(cascade("runs")[1].splitlines()) == 2
        assert cascade("history", "r")[1].endswith("no steps are recorded yet\n")
        code, _, err = cascade("forget", "r")
        assert (code, err.startswith("error: run 'r' is going on in this process")) == (1, True)
        (later,) = runs(cascade)
        assert later == run | {"seconds": later["seconds"]}

    def test_a_run_without_a_name_waits_for_its_own_program(self, cascade: Invoke, state: Path) -> None:
        keep(state, a_run())
        assert "it names no program: it waits for its own" in cascade("runs")[1].splitlines()[2]
        assert runs(cascade)[0]["target"] is None

    def test_chinese(self, cascade: Invoke, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        keep(state, a_run())
        monkeypatch.setenv("CASCADE_LANG", "zh")
        titles, run, note = cascade("runs")[1].splitlines()
        assert titles.split() == ["运行", "状态", "开始", "用时", "目标"]
        assert run.startswith("r     已交还  ")  # a title of two letters is four columns wide
        assert "没有进程在执行" in note


def test_a_state_has_the_same_words_in_the_terminal_and_on_the_page() -> None:
    page = files("cascade.adapters.page").joinpath("static", "texts.js").read_text(encoding="utf-8")
    shown = {
        name.strip('"'): (en, zh) for name, en, zh in re.findall(r'^  ("?[\w ]+"?): \["(.*)", "(.*)"\],$', page, re.M)
    }
    states = {key.removeprefix("state_of_"): said for key, said in WORDS.items() if key.startswith("state_of_")}
    assert states.pop("Begun")
    assert {*states} == {*get_args(RunStatus), "Handed back", "Skipped"}
    assert {name: shown[name] for name in states} == states


class TestErrorsThatAreOfNoTask:
    """Each is told once, whether the run has begun or not, at each level that tells of it."""

    @pytest.mark.parametrize("how", [[], ["--log-level", "ERROR"], ["--log-level", "SILENT"], ["--log-format", "json"]])
    @pytest.mark.parametrize(
        ("old", "new", "options", "said"),
        [
            ("", "", ["--n", "5"], "and is given"),
            ("sum(values)", "sum(values) + 1", ["--on-change", "error"], "the code of tasks of run"),
            ("publish(add", "publish.with_options(name='print')(add", [], "with another graph"),
            ("raise Value", "return lambda: 1  # ", [], "return plain data"),
            ("    raise Value", "    os.unlink(HERE / 'runs.db')  # ", [], "was deleted or moved"),
        ],
        ids=["a parameter", "code", "a graph", "a value", "a store"],
    )
    def test_it_is_told_once(
        self, cascade: Invoke, flow: Path, old: str, new: str, options: list[str], said: str, how: list[str]
    ) -> None:
        fail(cascade, flow, "--run-id", "r")
        (flow.parent / "broken").touch()
        flow.write_text(FLOW.replace(old, new) if old else FLOW)
        code, out, err = cascade(
            "run", flow, *(options if "--n" in options else ["--n", "4", *options]), "--run-id", "r", *how
        )
        assert (code, out, "Traceback" in err) == (1, "", False)
        assert err.count(said) == 1, err


class TestMissing:
    @pytest.mark.parametrize(
        "command", [["history"], ["resume-run"], ["fork-run", "R", "load#1"], ["forget"], ["signal", "R", "go", "1"]]
    )
    def test_a_run_that_is_not_there(self, cascade: Invoke, state: Path, command: list[str]) -> None:
        keep(state, a_run("import-1"), a_run("import-2"))
        name, *rest = command
        code, _, err = cascade(name, "import-3", *rest[1:])
        assert code == 2
        assert err.startswith("error: there is no run 'import-3' in this store; did you mean import-")
        assert cascade(name, "x", *rest[1:])[2].endswith("; the latest are: import-2, import-1\n")

    @pytest.mark.parametrize(
        "command", [["runs"], ["history", "r"], ["resume-run", "r"], ["fork-run", "r", "s"], ["forget", "r"]]
    )
    def test_a_store_that_is_not_there(
        self, cascade: Invoke, state: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
    ) -> None:
        keep(state.with_name("runs2.db"))
        code, _, err = cascade(*command)
        assert (code, state.exists()) == (2, False)
        assert err == f"error: there is no store of runs {state}; did you mean runs2.db?\n"
        monkeypatch.setenv("CASCADE_STATE", "")
        code, _, err = cascade(*command)
        assert code == 2
        assert err.startswith("error: name the store of the runs: --state runs.db (a SQLite file), or put it into")

    def test_a_store_without_runs(self, cascade: Invoke, state: Path) -> None:
        keep(state)
        assert cascade("runs") == (0, "", "no runs there\n")
        assert runs(cascade) == []
        assert cascade("history", "r")[2] == "error: there is no run 'r' in this store; no runs there\n"

    def test_a_file_that_others_can_write_to(self, cascade: Invoke, flow: Path, state: Path) -> None:
        fail(cascade, flow, "--run-id", "r")
        state.chmod(0o666)
        for command in (["runs"], ["resume-run", "r"], ["run", flow, "--n", "4", "--run-id", "r"]):
            code, out, err = cascade(*command)
            assert (code, out) == (1, "")
            assert f"chmod go-w {state}" in err
        assert not (flow.parent / "log").exists()


class TestResume:
    def test_the_program_is_asked_for_where_the_run_has_no_name(self, cascade: Invoke, flow: Path, state: Path) -> None:
        keep(state, a_run())
        code, _, err = cascade("resume-run", "r")
        assert (code, "give it: cascade resume-run r FILE:TARGET" in err) == (2, True)

    def test_or_where_others_may_have_written_it(
        self, cascade: Invoke, flow: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Elsewhere:
            """A store that is no file."""

            def __init__(self) -> None:
                kept = MemoryBackend()
                kept.create(a_run(target=f"{flow}:flow"))
                for name in ("find", "runs", "open", "close", "now"):
                    setattr(self, name, getattr(kept, name))

        monkeypatch.setattr("cascade.command.stores.backend_from", lambda *_: Elsewhere())
        code, _, err = cascade("resume-run", "r", "--state", "elsewhere")
        assert (code, "code is only taken from a file of yours" in err) == (2, True)

    def test_a_program_that_is_given_is_taken(self, cascade: Invoke, flow: Path, file: Write) -> None:
        fail(cascade, flow, "--run-id", "r")
        moved = file(FLOW, "moved.py")
        flow.unlink()
        assert "there is no file" in cascade("resume-run", "r")[2]
        code, out, _ = cascade("resume-run", "r", f"{moved}:flow", "--json")
        assert (code, json.loads(out)) == (0, {"status": "Succeeded", "value": "6 pages"})
        assert logged(flow) == ["publish"]
        assert cascade("resume-run", "r", moved) == (
            0,
            "6 pages\n",
            "r has succeeded already; nothing runs, and its value is\n",
        )

    def test_secrets_are_given_anew(self, cascade: Invoke, file: Write, state: Path) -> None:
        path = file(FLOW.replace('cs.Param("n", type=int)', 'cs.Param("n", type=int, secret=True)'))
        fail(cascade, path, "--run-id", "r")
        code, _, err = cascade("resume-run", "r")
        assert (code, "parameter 'n'" in err) == (1, True)
        assert cascade("resume-run", "r", "-p", "n=4")[0] == 0
        assert "there is no parameter 'm'" in cascade("resume-run", "r", "-p", "m=4")[2]

    def test_a_file_that_was_moved(self, cascade: Invoke, flow: Path) -> None:
        assert cascade("run", flow, "--n", "4", "--run-id", "r")[0] == 0
        moved = flow.rename(flow.with_name("moved.py"))
        code, _, err = cascade("resume-run", "r")
        assert (code, "any more, from where run 'r' was started; say where it is now" in err) == (2, True)
        assert cascade("resume-run", "r", f"{moved}:flow")[:2] == (0, "6 pages\n")

    def test_a_fork_runs_what_needs_its_step(self, cascade: Invoke, flow: Path) -> None:
        assert cascade("run", flow, "--n", "4", "--run-id", "r")[0] == 0
        (flow.parent / "log").unlink()
        code, out, err = cascade("fork-run", "r", "add#1")
        assert (code, err) == (0, f"to go on with it: cascade resume-run {out}")
        assert cascade("resume-run", out.strip())[1] == "6 pages\n"
        assert logged(flow) == ["add", "publish"]
        code, _, err = cascade("fork-run", "r", "ad#1")
        assert (code, "its nodes are: load#1, add#1, publish#1" in err) == (1, True)

    def test_forgotten(self, cascade: Invoke, flow: Path) -> None:
        assert cascade("run", flow, "--n", "4", "--run-id", "r")[0] == 0
        assert cascade("forget", "r") == (0, "", "forgot r\n")
        assert runs(cascade) == []


class TestSignal:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [("1", 1), ("-1", -1), ('{"by": "me"}', {"by": "me"}), ("yes", "yes"), ('"1"', "1"), ("", "")],
    )
    def test_a_value_is_json_or_text(self, cascade: Invoke, state: Path, given: str, expected: Any) -> None:
        keep(state, a_run())
        assert cascade("signal", "r", "go", given) == (0, "", "sent go to r\n")
        backend = SqliteBackend(state)
        backend.open()
        (sent,) = backend.signals("r")
        assert (sent.name, decode(sent.value), encode(decode(sent.value))) == ("go", expected, sent.value)
        backend.close()

    def test_a_run_that_goes_on_takes_it(self, cascade: Invoke, state: Path) -> None:
        target = cs.wait_signal("go", type=int)

        async def leave() -> None:
            async with cs.Engine(state_backend=state) as engine:
                engine.start(target, run_id="r")
                while not await engine.runs():
                    pass

        asyncio.run(leave())
        assert cascade("signal", "r", "", "4")[0] == 2
        assert cascade("signal", "r", "go", "4")[0] == 0

        async def go_on() -> Any:
            async with cs.Engine(state_backend=state) as engine:
                return await engine.run(target, run_id="r")

        assert asyncio.run(go_on()) == 4

    def test_the_same_id_counts_once(self, cascade: Invoke, state: Path) -> None:
        keep(state, a_run())
        for _ in range(2):
            assert cascade("signal", "r", "go", "1", "--id", "x")[0] == 0
        backend = SqliteBackend(state)
        backend.open()
        assert len(backend.signals("r")) == 1
        backend.close()

    def test_to_a_run_that_has_ended(self, cascade: Invoke, state: Path) -> None:
        keep(state, a_run(status="Succeeded"))
        assert cascade("signal", "r", "go", "1") == (
            1,
            "",
            "error: run 'r' has ended (Succeeded), and takes no messages\n",
        )


broken = True


@cs.task
def publish(n: int) -> str:
    if broken:
        raise ValueError("the printer is on fire")
    return f"{n} pages"


def test_a_script_records_too_and_goes_on_by_itself(state: Path) -> None:
    global broken
    from typer.testing import CliRunner

    script = cs.create_cli(publish(cs.Param("n", type=int)))
    done = CliRunner().invoke(script, ["--n", "4", "--run-id", "r"])
    assert done.exit_code == 1
    assert done.stderr.endswith("to go on with it, start the program again with --run-id r\n")
    broken = False
    assert CliRunner().invoke(script, ["--n", "4", "--run-id", "r"]).stdout == "4 pages\n"
    backend = SqliteBackend(state)
    backend.open()
    record = backend.find("r")
    backend.close()
    assert record is not None
    assert (record.target, record.status, record.epoch) == ("", "Succeeded", 2)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9")
def test_a_run_that_was_killed_goes_on_where_it_was(cascade: Invoke, flow: Path) -> None:
    (flow.parent / "hold").touch()
    command = [sys.executable, "-m", "cascade", "run", str(flow), "--n", "4", "--run-id", "r", "--durability", "each"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            until = time.monotonic() + 50
            while not (flow.parent / "log").exists() or logged(flow) != ["load", "add", "publish"]:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            (alive,) = runs(cascade)
            assert (alive["status"], alive["is_going_on"], alive["pid"]) == ("Running", True, process.pid)
            assert [line.split()[0] for line in cascade("history", "r")[1].splitlines()[4:6]] == ["load#1", "add#1"]
            code, _, err = cascade("resume-run", "r")
            assert (code, err.startswith(f"error: run 'r' is going on in process {process.pid} on ")) == (1, True)
        finally:
            process.kill()  # SIGKILL, by its own pid
    (flow.parent / "hold").unlink()
    (flow.parent / "log").unlink()
    assert "no process goes on with it; cascade resume-run does" in cascade("runs")[1]
    code, out, err = cascade("resume-run", "r")
    assert (code, out) == (0, "6 pages\n"), err
    assert "INFO    run of publish goes on; steps recorded: 2\n" in err
    assert logged(flow) == ["publish"]
    assert runs(cascade)[0]["starts"] == 2
    steps = json.loads(cascade("history", "r", "--json")[1])["steps"]
    assert [(step["task_id"], step["status"]) for step in steps] == [
        ("load#1", "Succeeded"),
        ("add#1", "Succeeded"),
        ("publish#1", "Succeeded"),
    ]
