"""The examples of the README and of every page in docs/ run, and print what the pages say they print."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, run_python

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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page: Path) -> None:
    run_python(RUN_PAGE, str(page))


def test_every_example_is_run() -> None:
    # A block of another indentation or spelling would be left out of the above without a word.
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.lower().count("```py") == text.count("\n```python\n"), page


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
