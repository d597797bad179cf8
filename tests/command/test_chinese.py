"""Everything that the command says is said in Chinese as well: found by going through it all, not by a list."""

import ast
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.app.translating import translated
from cascade.command.main import _found
from tests.helpers import PACKAGE

pytest.importorskip("typer")

# Asks each command for its help and makes every mistake with its options that typer tells of.
ASK_ALL = r"""
import contextlib, io, json, sys
import typer
from cascade.command import speaking
from cascade.command.main import make_app

group = typer.main.get_command(make_app())
helps, told = {}, {}

def ask(*args):
    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written), contextlib.suppress(SystemExit):
        group.main(list(args), prog_name="cascade")
    return written.getvalue()

def tell(*args):
    told[" ".join(args)] = ask(*args)

ctx = group.make_context("cascade", ["ps"], resilient_parsing=True)
commands = {"": (group, ctx), **{name: (each, type(ctx)(each, parent=ctx)) for name, each in group.commands.items()}}
for name, (command, inside) in commands.items():
    if name:
        helps[name] = ask(name, "--help")
    for param in command.get_params(inside):
        record = param.get_help_record(inside)
        if record is not None:
            helps[f"{name} {record[0]}"] = speaking._help(record[1])
    if name in ("run", "dry-run"):
        name = f"{name} {sys.argv[1]}"  # options are read once the file is known
    words = name.split()
    tell(*words, "--no-such-option")
    if name:
        needed = [param.metavar or "x" for param in command.params if getattr(param, "required", False)]
        if needed:
            tell(*words)
        if not any(param.nargs == -1 for param in command.params):
            tell(*words, *(["x"] * 9))
    for param in command.params:
        option = next((each for each in param.opts if each.startswith("--")), None)
        if option is None:
            continue
        if getattr(param, "is_flag", False):
            tell(*words, f"{option}=x")
        else:
            tell(*words, option)
tell("no-such-command")
tell("servee")
for option in ("--limit=x", "--limit=0"):
    tell("runs", option)
tell("serve", "x", "--grace", "x")
helps["alone"] = ask()
print(json.dumps({"helps": helps, "told": told}))
"""
FLOW = "import cascade as cs\nflow = cs.task(lambda n: n)(cs.Param('n', type=int, description='多少'))\n"


def is_chinese(text: str) -> bool:
    return any("\u3400" < letter < "\ua000" for letter in text)


def test_help_and_wrong_options_of_every_command_are_chinese(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", ASK_ALL, str(tmp_path / "flow.py")],
        env=os.environ | {"CASCADE_LANG": "zh", "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    asked = json.loads(done.stdout)
    helps, told = asked["helps"], asked["told"]
    assert len(helps) > 100
    assert [name for name, text in helps.items() if not is_chinese(text)] == []
    english = (
        "Usage:",
        "Options:",
        "Arguments:",
        "Commands:",
        "[required]",
        "default:",
        "env var:",
        "Show this",
        "Exit codes",
    )
    assert [(name, word) for name, text in helps.items() for word in english if word in text] == []
    assert len(told) > 60
    last = {name: text.rstrip().rpartition("错误: ")[2] for name, text in told.items()}
    assert {name: text for name, text in last.items() if not is_chinese(text)} == {}
    assert [name for name, text in told.items() if "Usage:" in text or "Try " in text or "Error" in text] == []


# --- what others than the command say


def spelled(node: ast.expr) -> list[str]:
    """Return what an expression may make, with a word of no language for each value in it."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            given = [spelled(part) for part in parts]
            return ["".join(each) for each in itertools.product(*given)]
        case ast.FormattedValue(value=ast.IfExp() as inner):
            return spelled(inner)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            both = itertools.product(spelled(left), spelled(right))
            return ["".join(each) for each in both]
        case ast.IfExp(body=body, orelse=orelse):
            return [*spelled(body), *spelled(orelse)]
    return [f"⟨{ast.unparse(node)}⟩"]


def made(names: set[str], at: int, below: str = "", without: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Return what is given as argument `at` to functions of these names in the source, with its place."""
    for path in sorted((PACKAGE / below).rglob("*.py")):
        if path.name in without:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                for text in spelled(node.args[at]) if len(node.args) > at else ():
                    if re.search(r"\w", re.sub("⟨.*?⟩", "", text)):  # else all of it is made elsewhere
                        yield f"{path.name}:{node.lineno}", text


def test_each_finding_has_its_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_LANG", "zh")
    found = [*made({"found"}, 1, "graph/lint"), *made({"found"}, 1, "app")]
    assert len(found) > 14
    assert [(place, text) for place, text in found if not is_chinese(translated(text, "f"))] == []


USERS_ERRORS = {
    "ParameterError",
    "StaticGraphError",
    "CycleError",
    "RunBusyError",
    "RunChangedError",
    "MissingExtraError",
}


def test_each_error_that_users_cause_has_its_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_LANG", "zh")
    found = [*made(USERS_ERRORS, 0, without=("errors.py", "verify.py"))]
    assert len(found) > 30
    assert [(place, text) for place, text in found if not is_chinese(translated(text, "e"))] == []


def test_what_fills_the_gaps_is_chinese_too(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "parameter 'n' (declared at flow.py:3) cannot take 'x' as bool: write true, false, 1, 0, yes, no, on or off"
    assert translated(text, "e") == text
    monkeypatch.setenv("CASCADE_LANG", "zh")
    assert translated(text, "e") == (
        "参数 'n'（声明于 flow.py:3）不能把 'x' 当作 bool：请写 true、false、1、0、yes、no、on 或 off"
    )
    assert translated("what nobody knows", "e") == "what nobody knows"


def flow() -> Any:
    @cs.task
    def step(n: int) -> Any:
        return cs.Jump("nowhere")

    root = step(cs.Param("n", type=int)).with_retry(3).with_timeout(4)
    return cs.bind(root, cs.select_jump({"again": root, "end": None}))


def test_plans_and_findings_are_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    english = str(cs.dry_run(flow()))
    assert english.startswith("plan of step#1\n  with n: int (required)\nruns:\n")
    assert "[up to 3 attempts] [timeout 4 s]" in english
    monkeypatch.setenv("CASCADE_LANG", "zh")
    plan = cs.dry_run(flow())
    text = str(plan)
    assert text.startswith("step#1 的计划\n  输入 n: int（必填）\n运行：\n")
    assert "[最多 3 次尝试] [限时 4 秒]" in text
    assert "up to 3 attempts" in plan.to_json()  # for machines
    found = [_found(each) for each in cs.check(flow())]
    assert any("错误: 'step' 返回 cs.Jump('nowhere')，但它的选择器没有这条路由" in each for each in found)
    assert all(is_chinese(each) for each in found)
