"""What tests of doors share: a folder of their own, and questions asked in another thread."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.doors.client import Asker, doors


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a runtime folder that no other test sees; its path is short, as that of a socket has to be."""
    with tempfile.TemporaryDirectory(prefix="cs-") as made:
        monkeypatch.setenv("XDG_RUNTIME_DIR", made)
        yield Path(made, "cascade")


def ask_now(do: str, **args: Any) -> Any:
    """Ask the only door there is."""
    (path,) = doors()
    with Asker(path) as asker:
        return asker.ask(do, **args)


async def ask(do: str, **args: Any) -> Any:
    """Ask the only door there is, in another thread."""
    return await asyncio.to_thread(ask_now, do, **args)
