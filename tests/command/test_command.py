"""The `cascade` command and command lines of scripts: what they print, where, and their exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.command import entry
from cascade.errors import MissingExtraError
from tests.helpers import ROOT

pytest.importorskip("typer")
from typer.testing import CliRunner

FLOW = """
import cascade as cs


@cs.task
def half(n: int) -> float:
    return n / 2


@cs.task
def add(x: float, y: int) -> float:
    return x + y


n = cs.Param("n", type=int, description="how [many]")
feed = half(n)
flow = add(feed, cs.Param("extra_amount", default=1)).run_if(cs.Param("really", default=True), otherwise=0.0)
"""

FAILING = """
import cascade as cs


@cs.task
def broken(n: int) -> int:
    return 1 // n


flow = broken(0)
"""

Ran = tuple[int, str, str]

TYPED = """\
import datetime, enum, pathlib
import cascade as cs


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@cs.task
def tell(ids, level, others, *rest):
    return " ".join([str(ids), level.name, *(str(each) for each in others if each is not None)])


flow = tell(
    cs.Param("id", type=list[int]),
    cs.Param("level", default=Level.LOW),
    [
        cs.Param("day", type=datetime.date | None, default=None),
        cs.Param("fast", type=bool, default=None),
        cs.Param("no_fast", default=None),
        cs.Param("a_b", default=None),
        cs.Param("a-b", default=None),
    ],
    cs.Param("pin", default="s3cret", secret=True),
    cs.Param("every", default=datetime.timedelta(hours=1)),
    cs.Param("folder", default=pathlib.Path("a/b")),
    cs.Env("CASCADE_TEST_PLACE", "here", "where to look"),
)
"""


Write = Callable[..., Path]
Invoke = Callable[..., Ran]


class TestRun:
    def test_each_parameter_is_an_option(self, cascade: Invoke, file: Write) -> None:
        code, out, err = cascade("run", file(FLOW), "--n", "4", "--extra-amount", "10")
        assert (code, out) == (0, "12.0\n")
        assert "run succeeded" in err

    def test_param_and_general_options_may_stand_before_the_file(self, cascade: Invoke, file: Write) -> None:
        before = ("--log-level", "silent", "-p", "n=4", "--param=extra_amount=2", "--json")
        assert cascade("run", *before, file(FLOW)) == (0, '{"status": "Succeeded", "value": 4.0}\n', "")

    def test_a_bool_is_a_flag(self, cascade: Invoke, file: Write) -> None:
        assert cascade("run", file(FLOW), "--n", "4", "--no-really")[1] == "0.0\n"

    def test_help_has_the_types_and_descriptions(self, cascade: Invoke, file: Write) -> None:
        code, out, _ = cascade("run", file(FLOW), "--help")
        assert code == 0
        for words in (
            "--n INTEGER",
            "how [many]",
            "[required]",
            "--extra-amount INTEGER",
            "[default: 1]",
            "--no-really",
        ):
            assert words in out
        assert "Exit codes: 0 ok" in out

    def test_help_without_a_file(self, cascade: Invoke) -> None:
        code, out, _ = cascade("run", "--help")
        assert code == 0
        assert "cascade run FILE[:TARGET]" in out

    def test_a_failed_workflow_shows_the_users_traceback_alone(self, cascade: Invoke, file: Write) -> None:
        path = file(FAILING)
        code, out, err = cascade("run", path)
        assert (code, out) == (1, "")
        lines = err.splitlines()
        at = lines.index("Traceback (most recent call last):")
        assert lines[at + 1] == f'  File "{path}", line 7, in broken'
        assert "in task broken#1 (declared at" in lines[-1]
        assert err.count("  File ") == 1

    def test_a_failed_workflow_in_json(self, cascade: Invoke, file: Write) -> None:
        code, out, err = cascade("run", file(FAILING), "--json", "--log-level", "SILENT")
        record = json.loads(out)
        assert (code, err, record["status"]) == (1, "", "Failed")
        assert record["error"]["type"] == "ZeroDivisionError"
        assert record["error"]["notes"][0].startswith("in task broken#1")

    def test_progress_in_json_lines(self, cascade: Invoke, file: Write) -> None:
        _, _, err = cascade("run", file(FLOW), "--n", "4", "--log-format", "json")
        assert [json.loads(line)["event"] for line in err.splitlines()] == ["RunStarted", "RunFinished"]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ([], "--n"),
            (["--n", "x"], "cannot take 'x' as int"),
            (["-p", "n=x"], "cannot take 'x' as int"),
            (["-p", "n"], "NAME=VALUE"),
            (["-p", "m=1", "--n", "1"], "there is no parameter 'm'; its parameters are: n, extra_amount, really"),
            (["-p", "extra_amont=1", "--n", "1"], "did you mean extra_amount?"),
            (["--extra-amont", "1"], "--extra-amount"),
            (["--n", "1", "--log-level", "LOUD"], "--log-level is one of DEBUG"),
            (["--n", "1", "--log-format", "xml"], "--log-format is one of human, json"),
            (["--n", "1", "--timeout", "0"], "more than 0 seconds"),
        ],
    )
    def test_wrong_use_exits_with_2(self, cascade: Invoke, file: Write, arguments: list[str], expected: str) -> None:
        code, out, err = cascade("run", file(FLOW), *arguments)
        assert (code, out) == (2, "")
        assert expected in err
        assert "Traceback" not in err

    def test_record_writes_a_page(self, cascade: Invoke, file: Write, tmp_path: Path) -> None:
        page = tmp_path / "run.html"
        assert cascade("run", file(FLOW), "--n", "6", "--record", str(page))[:2] == (0, "4.0\n")
        assert '"status":"Succeeded"' in page.read_text(encoding="utf-8")
        assert cascade("run", file(FAILING), "--record", str(page), "--log-level", "SILENT")[0] == 1
        assert "ZeroDivisionError" in page.read_text(encoding="utf-8")
        code, out, err = cascade("run", file(FLOW), "--n", "6", "--record", str(tmp_path / "no" / "run.html"))
        assert (code, out) == (2, "")
        assert "cannot be written" in err

    def test_a_parameter_before_the_file(self, cascade: Invoke, file: Write) -> None:
        code, _, err = cascade("run", "--n", "4", file(FLOW))
        assert code == 2
        assert "name the FILE first: cascade run FILE --n" in err

    def test_a_parameter_that_is_named_like_an_option_takes_param(self, cascade: Invoke, file: Write) -> None:
        source = FLOW.replace('"n"', '"json"')
        assert cascade("run", file(source), "-p", "json=4")[1] == "3.0\n"
        code, _, err = cascade("run", file(source))
        assert (code, err) == (2, "error: these parameters have no value: --param json=...\n")

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--id", "1", "--id", "2"], "[1, 2] LOW"),
            (["--id", "[1, 2]"], "[1, 2] LOW"),
            (["-p", "id=1", "-p", "id=2", "-p", "level=HIGH", "-p", "level=2"], "[1, 2] HIGH"),
            (["--id", "1", "--day", "2024-02-29", "--no-fast", "-p", "no_fast=x"], "[1] LOW 2024-02-29 False x"),
            (["--id", "1", "--a-b", "1", "-p", "a_b=2"], "[1] LOW 2 1"),
            (["--id", "1", "--pin", "hunter2"], "[1] LOW"),
        ],
    )
    def test_options_are_read_as_their_types(
        self, cascade: Invoke, file: Write, arguments: list[str], expected: str
    ) -> None:
        code, out, err = cascade("run", file(TYPED), *arguments)
        assert (code, out) == (0, f"{expected}\n")
        assert "hunter2" not in err

    def test_help_tells_what_options_take(self, cascade: Invoke, file: Write) -> None:
        out = " ".join(cascade("run", file(TYPED), "--help")[1].split())
        for words in (
            "--id INTEGER (may be given often, or as JSON) [required]",
            "--level [LOW|HIGH] [default: LOW]",
            "--day DATE ",
            "--pin STR [default: ***]",
            "--every TIMEDELTA [default: 1:00:00]",
            "--folder PATH [default: a/b]",
            "The only way to give no_fast, a_b.",
            "Reads from the environment: CASCADE_TEST_PLACE where to look [default: here]",
        ):
            assert words in out
        assert out.count("--a-b ") == 1

    def test_a_value_that_is_secret_is_not_told_when_it_is_wrong(self, cascade: Invoke, file: Write) -> None:
        source = TYPED.replace('"pin", default="s3cret"', '"pin", type=int, default=None')
        for name in ("run", "dry-run"):
            code, out, err = cascade(name, file(source), "--id", "1", "--pin", "hunter2")
            assert (code, "hunter2" in out + err, "'pin'" in err) == (2, False, True)
        plan = cascade("dry-run", file(TYPED), "--id", "1", "--pin", "hunter2", "--json")[1]
        assert "hunter2" not in plan
        assert "s3cret" not in plan + cascade("show", file(TYPED))[1] + cascade("show", file(TYPED), "--json")[1]


class TestTargets:
    TWO = FLOW + "other = half(3)\nmade = [half(1), 2]\n\n\ndef make():\n    return half(7)\n"

    def test_what_others_read_is_no_target_by_itself(self, cascade: Invoke, file: Write) -> None:
        assert cascade("run", file(FLOW.replace("flow =", "last =")), "--n", "2")[1] == "2.0\n"

    def test_the_usual_name_is_taken_of_several(self, cascade: Invoke, file: Write) -> None:
        assert cascade("run", file(self.TWO), "--n", "2")[1] == "2.0\n"

    def test_several_are_listed(self, cascade: Invoke, file: Write) -> None:
        path = file(self.TWO.replace("flow =", "last ="))
        code, _, err = cascade("run", path)
        assert code == 2
        assert [line.strip() for line in err.splitlines()[1:]] == [
            f"{path}:{name}" for name in ("last", "other", "made")
        ]

    @pytest.mark.parametrize(("name", "expected"), [("other", "1.5"), ("made", "[0.5, 2]"), ("make", "3.5")])
    def test_each_kind_can_be_named(self, cascade: Invoke, file: Write, name: str, expected: str) -> None:
        assert cascade("run", f"{file(self.TWO)}:{name}")[:2] == (0, f"{expected}\n")

    def test_a_compiled_flow_is_a_target(self, cascade: Invoke, file: Write) -> None:
        source = FLOW.replace("flow = ", "ready = ") + "flow = cs.compile(ready)\n"
        assert cascade("dry-run", f"{file(source)}:flow")[0] == 0
        assert cascade("run", file(source), "--n", "4")[1] == "3.0\n"

    def test_main_is_called_if_there_is_nothing_else(self, cascade: Invoke, file: Write) -> None:
        source = "import cascade as cs\nhalf = cs.task(lambda n: n / 2)\n\n\ndef main():\n    return half(5)\n"
        assert cascade("run", file(source))[1] == "2.5\n"

    def test_main_is_not_called_if_it_says_that_it_returns_nothing(self, cascade: Invoke, file: Write) -> None:
        code, out, err = cascade("check", file("def main() -> None:\n    print('it ran')\n"))
        assert (code, out) == (2, "")
        assert "has nothing to run" in err

    def test_a_module_by_its_name(self, cascade: Invoke, file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(file(FLOW, "by_its_name.py").parent)
        assert cascade("run", "by_its_name:flow", "--n", "4")[1] == "3.0\n"

    @pytest.mark.parametrize(
        ("spelled", "expected"),
        [
            ("{file}:flwo", "has no target 'flwo'; did you mean flow?"),
            ("{file}:zzz", "its targets are: feed, flow, other, made, make"),
            ("{file}:half", "'half' in {file} is a task; a target is what a call of it gives: write flow = half(...)"),
            ("{file}x", "there is no file {file}x; did you mean work_flow.py?"),
            ("{folder}", "is a folder"),
            ("no_such_module", "neither a file nor a module no_such_module"),
        ],
    )
    def test_what_is_not_there(self, cascade: Invoke, file: Write, spelled: str, expected: str) -> None:
        path = file(self.TWO)
        code, _, err = cascade("run", spelled.format(file=path, folder=path.parent))
        assert code == 2
        assert expected.format(file=path) in err

    def test_a_file_without_targets(self, cascade: Invoke, file: Write) -> None:
        code, _, err = cascade("show", file("x = 1\n"))
        assert code == 2
        assert "has nothing to run" in err
        code, _, err = cascade("run")
        assert (code, err) == (2, "error: name a file: cascade run FILE[:TARGET]\n")

    def test_what_needs_arguments_is_named(self, cascade: Invoke, file: Write) -> None:
        source = FLOW[: FLOW.index("n = cs.Param")]
        path = file(source)
        assert f"write flow = add(...) in {path}" in cascade("show", path)[2]
        path = file(source + "\n\ndef declare(n) -> cs.LazyResult[float]:\n    return half(n)\n\n\ndef other(n): ...\n")
        assert f"needs arguments (declare); write flow = declare(...) in {path}" in cascade("show", path)[2]

    @pytest.mark.parametrize("name", ["agent", "etl"])
    def test_the_examples_can_be_shown(self, cascade: Invoke, name: str) -> None:
        pytest.importorskip("httpx")
        code, out, err = cascade("show", ROOT / "examples" / f"{name}.py")
        assert code == 0, err
        assert {"agent": "think", "etl": "transform"}[name] in out

    def test_a_function_that_says_that_it_makes_a_target(self, cascade: Invoke, file: Write) -> None:
        source = FLOW[: FLOW.index("n = cs.Param")]
        made = "\n\ndef declare() -> cs.LazyResult[float]:\n    return half(4)\n\n\nasync def main():\n    ...\n"
        path = file(source + made)
        code, out, err = cascade("run", path)
        assert (code, out) == (0, "2.0\n"), err
        assert cascade("check", path)[0] == 0
        path = file(source + made + made.replace("declare", "other"), "two.py")
        code, _, err = cascade("run", path)
        assert code == 2
        assert f"{path}:declare\n  {path}:other" in err
        assert cascade("check", path)[1] == "no findings in declare, other\n"

    def test_a_file_that_calls_no_task(self, cascade: Invoke, file: Write) -> None:
        code, _, err = cascade("run", file("import cascade as cs\n\n\n@cs.task\ndef f(x=1):\n    return x\n"))
        assert code == 2
        assert "it has tasks (f), but keeps no result of calling one; write flow = f() in " in err

    def test_an_error_of_the_file_shows_its_own_traceback(self, cascade: Invoke, file: Write) -> None:
        path = file("def deep():\n    import no_such_thing\n\n\ndeep()\n")
        code, _, err = cascade("run", path)
        assert code == 2
        marks = set("~^ ")  # newer Pythons underline more
        assert [line for line in err.splitlines() if not set(line) <= marks] == [
            "Traceback (most recent call last):",
            f'  File "{path}", line 5, in <module>',
            "    deep()",
            f'  File "{path}", line 2, in deep',
            "    import no_such_thing",
            "ModuleNotFoundError: No module named 'no_such_thing'",
            f"error: {path} raised an error while it was imported",
        ]

    def test_an_error_of_a_function_that_makes_a_target(self, cascade: Invoke, file: Write) -> None:
        code, _, err = cascade("run", file("def main():\n    raise ValueError('no')\n"))
        assert code == 2
        assert "ValueError: no\n" in err
        assert "when it was called" in err


class TestLooking:
    def test_check_exits_with_1_for_errors_alone(self, cascade: Invoke, file: Write) -> None:
        assert cascade("check", file(FLOW))[0] == 0
        source = FLOW + (
            "\n\n@cs.task\ndef walk(n: int) -> 'int | cs.Jump':\n    return cs.Jump('agian', n)\n\n\n"
            "step = walk(1)\ncs.bind(step, cs.select_jump({'again': step, 'exit': None}))\n"
        )
        path = file(source, "wrong.py")
        code, out, err = cascade("check", path)
        assert code == 1
        assert f"{path}:22: error: " in out
        assert "errors: 1, warnings: " in err
        code, out, _ = cascade("check", path, "--json")
        record = json.loads(out)
        assert (code, record["version"], record["targets"]) == (1, 1, ["flow", "step"])
        assert "unknown-route" in [each["code"] for each in record["findings"]]

    def test_show_draws_on_the_terminal(self, cascade: Invoke, file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "100")
        code, out, _ = cascade("show", file(FLOW))
        assert code == 0
        assert "○ n: int (required)" in out
        assert "│ half │" in out
        assert "▼ run_if" in out
        monkeypatch.setenv("COLUMNS", "20")
        code, out, _ = cascade("show", file(FLOW))
        assert code == 0
        assert "○ n: int (required)" in out
        assert "● add#1   ← half#1, extra_amount  ? really : 0.0" in out

    @pytest.mark.parametrize(
        ("form", "begins"), [("dot", "digraph"), ("mermaid", "flowchart"), ("svg", "<svg"), ("html", "<!DOCTYPE html")]
    )
    def test_show_draws_every_picture(self, cascade: Invoke, file: Write, form: str, begins: str) -> None:
        assert cascade("show", file(FLOW), "-f", form)[1].lower().startswith(begins.lower())

    def test_show_writes_a_file(self, cascade: Invoke, file: Write, tmp_path: Path) -> None:
        code, out, err = cascade("show", file(FLOW), "--format", "svg", "--output", tmp_path / "x.svg")
        assert (code, out) == (0, "")
        assert "written to" in err
        assert (tmp_path / "x.svg").read_text(encoding="utf-8").startswith("<svg")
        code, _, err = cascade("show", file(FLOW), "--output", tmp_path / "none" / "x")
        assert code == 2
        assert "cannot be written" in err

    def test_show_knows_its_formats(self, cascade: Invoke, file: Write) -> None:
        code, _, err = cascade("show", file(FLOW), "-f", "png")
        assert code == 2
        assert "--format is one of terminal, dot" in err

    def test_json_of_show_explain_and_dry_run(self, cascade: Invoke, file: Write) -> None:
        path = file(FLOW)
        assert "version" in json.loads(cascade("show", path, "--json")[1])
        assert "half" in json.loads(cascade("explain", path, "--json")[1])["source"]
        plan = json.loads(cascade("dry-run", path, "--json", "--n", "3")[1])
        assert plan["inputs"][0]["value"] == "3"

    def test_explain_and_dry_run_are_read_by_people(self, cascade: Invoke, file: Write) -> None:
        path = file(FLOW)
        assert "half(" in cascade("explain", path)[1]
        assert cascade("explain", path)[1].startswith("# odd(x), odd_f(x): if x is no value (a Jump,")
        assert cascade("dry-run", path)[1].startswith("plan of add#1")
        assert cascade("dry-run", path, "-p", "n=x")[0] == 2


def test_messages_are_chinese_too(cascade: Invoke, file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_LANG", "zh")
    assert "没有目标" in cascade("run", f"{file(FLOW)}:flwo")[2]
    assert "运行工作流并打印结果" in cascade("run", "--help")[1]


class TestScripts:
    def test_create_cli_has_the_parameters_as_options(self) -> None:
        target = cs.task(lambda n: n + 1)(cs.Param("n", type=int))
        done = CliRunner().invoke(cs.create_cli(target), ["--n", "4", "--log-level", "SILENT"])
        assert (done.exit_code, done.stdout) == (0, "5\n")
        assert CliRunner().invoke(cs.create_cli(target), []).exit_code == 2

    def test_cli_takes_the_arguments_of_the_process_and_exits(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["x", "--n", "4"])
        with pytest.raises(SystemExit) as exit:
            cs.cli(cs.task(lambda n: n + 1)(cs.Param("n", type=int)))
        assert exit.value.code == 0
        assert capsys.readouterr().out == "5\n"


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "cascade.command.main")
    monkeypatch.delattr("cascade.command.main")
    with pytest.raises(MissingExtraError, match=r"pip install cascade-py\[cli\]"):
        cs.create_cli(1)
    with pytest.raises(SystemExit) as exit:
        entry.main()
    assert exit.value.code == 2
    assert "pip install cascade-py[cli]" in capsys.readouterr().err


# --- the real thing, in processes of its own

WAITING = """
import asyncio, signal, sys
import cascade as cs

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have had it ignored


@cs.task
async def forever() -> None:
    print("ready", flush=True)
    await asyncio.Event().wait()


flow = forever()
"""

HELD = """
import cascade as cs


@cs.task(mode="blocking")
def held(path: str) -> str:
    with open(path) as pipe:
        return pipe.read()


flow = held(cs.Param("path"))
"""


def started(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "cascade", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, lambda: SystemExit(130)])
def test_one_more_ctrl_c_at_the_end_is_130_as_well(raised: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def command(**options: Any) -> None:
        raise raised()

    monkeypatch.setattr("cascade.command.main.make_app", lambda: command)
    monkeypatch.setattr("cascade.command.main.script_app", lambda target: command)
    known = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as caught:
            entry.main()
        assert caught.value.code == 130
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, known)
    with pytest.raises(SystemExit) as caught:
        entry.cli(1)
    assert caught.value.code == 130
    assert signal.getsignal(signal.SIGINT) is known  # the program may go on


def test_ctrl_c_ends_with_130_and_says_what_was_running(file: Write) -> None:
    with started("run", file(WAITING)) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=50)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert "these were running: forever#1 (declared at" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("command", "code"), [(["--help"], 0), (["rnu"], 2)])
def test_python_m_cascade(command: list[str], code: int) -> None:
    with started(*command) as process:
        out, err = process.communicate()
    assert process.returncode == code
    assert "cascade [OPTIONS] COMMAND" in (out + err)


def test_the_shell_completes_files(file: Write) -> None:
    path = file(FLOW)
    asked = {"_CASCADE_COMPLETE": "complete_bash", "COMP_WORDS": f"cascade run {path.parent}/wo", "COMP_CWORD": "2"}
    with started(env={**os.environ, **asked}) as process:
        out, err = process.communicate()
    assert (out.split(), err) == ([str(path)], "")


def test_on_a_terminal_progress_is_live_and_goes_away(file: Write, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = file(HELD)
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover
        os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
        os.execv(sys.executable, [sys.executable, "-m", "cascade", "run", str(path), "--path", str(pipe)])
    seen = b""
    while "▸".encode() not in seen or b"held#1" not in seen:
        seen += os.read(terminal, 4096)
    pipe.write_text("all well", encoding="utf-8")  # the task waits for this
    while True:
        try:
            more = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        seen += more
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    last = seen.decode().rpartition("\x1b")[2]
    assert "run succeeded in" in last
    assert last.rstrip().endswith("all well")
