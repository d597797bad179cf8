"""`cascade new` and `cascade doctor`: a project that runs, and what is said of what is installed."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from cascade.app.words import WORDS
from cascade.command.doctor import NOT_FOR_USERS
from tests.helpers import ROOT

pytest.importorskip("typer")

Invoke = Callable[..., tuple[int, str, str]]
FILES = ["README.md", "flow.py", "test_flow.py"]


class TestNew:
    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_the_project_runs_and_its_tests_pass(
        self, cascade: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str
    ) -> None:
        monkeypatch.setenv("CASCADE_LANG", language)
        folder = tmp_path / "my orders"
        code, out, err = cascade("new", folder)
        assert (code, sorted(each.name for each in folder.iterdir())) == (0, FILES)
        assert f"cd '{folder}'" in out
        assert all(str(folder / each) in err for each in FILES)
        flow = folder / "flow.py"
        assert cascade("run", flow, "--log-level", "SILENT")[:2] == (0, "Accra, 31.0 °C\n")
        assert cascade("run", flow, "--cities", "Nuuk", "--cities", "Cusco")[:2] == (0, "Cusco, 12.5 °C\n")
        assert cascade("check", flow)[0] == 0
        if language != "en":  # the code is the same, and its tests take a while to begin
            return
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
            cwd=folder,
            env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "3 passed" in done.stdout
        for check in (["format", "--check"], ["check"]):
            subprocess.run(
                [sys.executable, "-m", "ruff", *check, "--isolated", "--line-length=120", "--no-cache", "."],
                cwd=folder,
                check=True,
            )

    def test_without_a_name_it_is_for_the_current_folder(
        self, cascade: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        code, out, _ = cascade("new")
        assert (code, sorted(each.name for each in tmp_path.iterdir())) == (0, FILES)
        assert "cd " not in out

    def test_nothing_is_overwritten(self, cascade: Invoke, tmp_path: Path) -> None:
        mine = tmp_path / "flow.py"
        mine.write_text("mine")
        code, _, err = cascade("new", tmp_path)
        assert (code, mine.read_text(), [*tmp_path.iterdir()]) == (2, "mine", [mine])
        assert f"{mine} would be overwritten; name a new folder" in err
        assert cascade("new", mine)[::2] == (2, f"error: {mine} is a file; name a folder\n")
        assert f"{mine / 'in'} cannot be written: Not a directory" in cascade("new", mine / "in")[2]


class TestDoctor:
    def test_each_extra_for_users_is_there_with_its_use_and_its_versions(self, cascade: Invoke) -> None:
        code, out, _ = cascade("doctor")
        assert code == 0
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        known = set(project["optional-dependencies"]) - set(NOT_FOR_USERS)
        rows = {line.split()[0]: line for line in out.partition("EXTRA")[2].splitlines()[1:] if line}
        assert known <= set(rows)
        assert [each for each in known if f"x_{each}" not in WORDS] == []
        assert f"typer {metadata.version('typer')}" in rows["cli"]
        assert rows["http"].endswith("cs.http: requests")

    def test_what_is_missing_old_or_damaged(self, cascade: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        known = {"typer": "0.16.1", "httpx": "0.9", "rich": None, "cascade-py": "0.1.0"}

        def version(name: str) -> str | None:
            if name not in known:
                raise metadata.PackageNotFoundError(name)
            return known[name]

        monkeypatch.setattr(metadata, "version", version)
        code, out, _ = cascade("doctor")
        rows = {line.split()[0]: line for line in out.partition("EXTRA")[2].splitlines() if line}
        assert code == 1
        assert "damaged" in rows["cli"]
        assert "too old" in rows["http"]
        assert "httpx 0.9 (>=0.28)" in rows["http"]
        assert "missing" in rows["sql"]
        assert "sqlalchemy (>=2)" in rows["sql"]
        assert "pip install 'cascade-py[cli]'" in rows["to"]
        code, out, _ = cascade("doctor", "--json")
        record = json.loads(out)
        assert (code, record["version"]) == (1, 1)
        assert record["extras"]["http"] == [{"name": "httpx", "needed": ">=0.28", "found": "0.9", "state": "old"}]

    def test_of_a_source_that_is_not_installed(self, cascade: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        def nothing(name: str) -> None:
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, "requires", nothing)
        monkeypatch.setattr(metadata, "version", nothing)
        monkeypatch.setenv("CASCADE_STATE", "postgresql://me:s3cret@host/runs")
        code, out, err = cascade("doctor")
        assert code == 0
        assert "pip install -e ." in err
        assert "s3cret" not in out
        assert "postgresql://me:***@host/runs" in out
