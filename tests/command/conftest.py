"""The `cascade` command in this process, and files for it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Ran = tuple[int, str, str]


@pytest.fixture
def cascade() -> Callable[..., Ran]:
    """Run the command in this process; give its exit code, stdout and stderr."""

    def invoke(*arguments: object) -> Ran:
        from typer.testing import CliRunner

        from cascade.command.main import make_app

        known, path = set(sys.modules), list(sys.path)
        try:
            done = CliRunner().invoke(make_app(), [str(each) for each in arguments], prog_name="cascade")
        finally:
            sys.path[:] = path
            for name in set(sys.modules) - known:
                if "/pytest-" in str(getattr(sys.modules[name], "__file__", "")):
                    del sys.modules[name]
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    return invoke


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(source: str, name: str = "work_flow.py") -> Path:
        path = tmp_path / name
        path.write_text(source, encoding="utf-8")
        return path

    return write
