"""The `cascade` command in this process, and files for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import invoke_cascade


@pytest.fixture
def cascade() -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process; give its exit code, stdout and stderr."""
    return invoke_cascade


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(source: str, name: str = "work_flow.py") -> Path:
        path = tmp_path / name
        path.write_text(source, encoding="utf-8")
        return path

    return write
