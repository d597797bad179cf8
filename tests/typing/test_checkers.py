"""Both type checkers agree with tests/typing/test_types.py, and see types in all that users can reach."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.test_doors import PUBLIC_PATHS
from tools import typed_doors

pytestmark = pytest.mark.timeout(
    300
)  # where `make check` was not run before, they start cold, and read all that they meet


def need_pyright() -> None:
    """Skip the test where pyright is not installed and does not have to be."""
    if importlib.util.find_spec("pyright") is None:
        if os.environ.get("CASCADE_REQUIRE_ALL") == "1":
            raise AssertionError("pyright is not installed, and CASCADE_REQUIRE_ALL=1 asks for it")
        pytest.skip("pyright is not installed")


def complaints(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_mypy_sees_what_is_promised() -> None:
    assert complaints("mypy", "tests/typing/test_types.py") == ""


def test_pyright_sees_what_is_promised() -> None:
    need_pyright()
    assert complaints("pyright") == ""


def test_both_agree_with_what_the_documentation_says(tmp_path: Path) -> None:
    need_pyright()
    text = (ROOT / "docs" / "typing.md").read_text(encoding="utf-8")
    page = tmp_path / "page.py"
    page.write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)), encoding="utf-8")
    assert page.read_text(encoding="utf-8").count("assert_type(") > 10
    settings = {"include": ["page.py"], "extraPaths": [str(ROOT / "src")], "typeCheckingMode": "strict"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    assert complaints("mypy", str(page)) == ""
    assert complaints("pyright", "-p", str(tmp_path)) == ""


def test_all_that_users_can_reach_has_types() -> None:
    need_pyright()
    missing, count = typed_doors.missing_types()
    assert missing == []
    assert count > 1000


def test_what_has_no_type_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_pyright()
    door = tmp_path / "untyped_door"
    door.mkdir()
    (door / "py.typed").touch()
    (door / "__init__.py").write_text('__all__ = ["loose"]\ndef loose(a, b: int) -> int: ...\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    missing, _ = typed_doors.missing_types(("cascade.errors", "untyped_door"))
    assert any('parameter "a" is missing' in line for line in missing)


def test_every_public_path_is_looked_at() -> None:
    assert PUBLIC_PATHS.keys() <= set(typed_doors.DOORS)
