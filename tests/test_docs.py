"""The examples of the README and of every page in docs/ run, and print what the pages say they print."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cascade
from tests.helpers import ROOT, run_python
from tools import follow

PAGES = [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]

# Runs the ```python blocks of a page in order, in one namespace. A ```text block right below one is what it prints.
RUN_PAGE = r"""
import contextlib, io, pathlib, re, sys
path = pathlib.Path(sys.argv[1])
page = path.read_text(encoding="utf-8")
names = {"__name__": "__main__"}
for block in re.finditer(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", page, re.M | re.S):
    line = page.count("\n", 0, block.start(1))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * line + block[1], str(path), "exec"), names)
    if block[2] is not None:
        assert printed.getvalue() == block[2], f"{path}:{line} prints\n{printed.getvalue()}"
"""


# Files that a page has the reader type, and what the reader then types in a terminal, with all that it prints.
TYPED = re.compile(r'^```(?:python title="(?P<file>.+?)"|(?P<console>console))\n(?P<text>.*?)^```$', re.M | re.S)
HOME = "/home/you/cafe"  # where the reader of a page works


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page: Path) -> None:
    run_python(RUN_PAGE, str(page))


def test_every_example_is_run() -> None:
    # A block of another indentation or spelling would be left out of the above without a word.
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        files = re.findall(r'^```python title="(.+?)"$', text, re.M)
        assert text.lower().count("```py") == text.count("\n```python\n") + len(files), page
        assert all(re.search(rf"^\$ python {re.escape(file)}( |$)", text, re.M) for file in files), page


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "```console" in page.read_text(encoding="utf-8")],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_what_is_typed_into_a_terminal_gives_what_is_shown(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in TYPED.finditer(text):
        if file := block["file"]:
            (tmp_path / file).write_text(block["text"], encoding="utf-8")
            continue
        for shown in re.split(r"^(?=\$ )", block["text"], flags=re.M)[1:]:
            command, _, expected = shown.partition("\n")
            language = "zh" if page in CHINESE else "en"
            printed = in_a_terminal(command.removeprefix("$ "), tmp_path, language).replace(str(tmp_path), HOME)
            assert told(printed) == told(expected), f"{page.name}: {command}"
    for picture in re.findall(r"!\[.*?\]\((.+?\.svg)\)", text):
        drawn = (tmp_path / Path(picture).name).read_text(encoding="utf-8").replace(f"{tmp_path}/", "")
        kept = page.parent / picture
        if os.environ.get("CASCADE_DRAW"):
            kept.write_text(drawn, encoding="utf-8")
        assert kept.read_text(encoding="utf-8") == drawn, f"{kept}: CASCADE_DRAW=1 draws it anew"


CHINESE = sorted((ROOT / "docs" / "zh").rglob("*.md"))


def codes(page: Path) -> list[str]:
    """The code of a page as a program has it, without what is said in comments."""
    blocks = re.findall(r"^```python.*?\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return [ast.unparse(ast.parse(block)) for block in blocks]


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_chinese_page_follows_the_english_one(page: Path) -> None:
    assert follow.is_in_step(page), f"{page}: bring it up to date, or say that it is behind; see tools/follow.py"
    english = follow.english(page)
    if follow.notice(page) not in page.read_text(encoding="utf-8"):
        assert codes(page) == codes(english)
        for pattern in (r"^#+ ", r"^\| ", r"^- ", r"^```.*", r"^!\["):
            both = [re.findall(pattern, each.read_text(encoding="utf-8"), re.M) for each in (page, english)]
            assert both[0] == both[1], pattern


def test_a_page_that_does_not_follow_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "ROOT", tmp_path)
    monkeypatch.setattr(follow, "FOLDER", tmp_path / "docs" / "zh")
    (tmp_path / "docs" / "zh").mkdir(parents=True)
    english, page = tmp_path / "docs" / "a.md", tmp_path / "docs" / "zh" / "a.md"
    english.write_text("# A\n\nOne.\n", encoding="utf-8")
    page.write_text("# 甲\n\n一。\n", encoding="utf-8")
    assert not follow.is_in_step(page)
    follow.follow(page)
    assert follow.is_in_step(page)
    english.write_text("# A\n\nTwo.\n", encoding="utf-8")
    assert not follow.is_in_step(page)
    follow.follow(page, behind=True)
    assert follow.is_in_step(page)
    assert "[英文版](../a.md)" in page.read_text(encoding="utf-8")
    follow.follow(page)
    assert page.read_text(encoding="utf-8").endswith(" -->\n\n# 甲\n\n一。\n")


def in_a_terminal(command: str, folder: Path, language: str) -> str:
    """What a command writes, in the order in which it does."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(cascade.__file__).parents[1]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "error",
        "CASCADE_LANG": language,
        "COLUMNS": "100",
    }
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    ).stdout


def told(output: str) -> str:
    """Output with all clocks at one time, as no two runs have the same, and without what some shells say of a kill."""
    output = re.sub(r"^Killed.*\n", "", output, flags=re.M)
    return re.sub(r"\b\d+\.\d+ s\b", "0.0 s", re.sub(r"\b\d\d:\d\d:\d\d\b", "00:00:00", output))


@pytest.mark.parametrize(
    "command",
    [
        ["examples/quickstart.py"],
        ["observatory/benchmarks/tco_performance.py", "--iterations", "50", "--repeats", "2"],
    ],
    ids=lambda command: command[0],
)
def test_what_make_run_runs_does(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", *command], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert done.stderr == ""
