"""Each store does what every store must."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cascade.adapters.state.memory import MemoryBackend
from cascade.adapters.state.sqlite import SqliteBackend
from cascade.spec.state import StateBackend
from cascade.testing import STATE_CHECKS, check_state_backend
from tests.adapters.state.third_party import PickleFile

Make = Callable[[str], StateBackend]


def in_memory(folder: Path) -> Make:
    kept: dict[str, MemoryBackend] = {}
    return lambda name: kept.setdefault(name, MemoryBackend())


MAKERS: dict[str, Callable[[Path], Make]] = {
    "memory": in_memory,
    "sqlite": lambda folder: lambda name: SqliteBackend(folder / f"{name}.db"),
    "sqlite-each": lambda folder: lambda name: SqliteBackend(folder / f"{name}.db", "each"),
    "third-party": lambda folder: lambda name: PickleFile(folder / f"{name}.pickle"),
}


@pytest.mark.parametrize("check", STATE_CHECKS)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_store_does_what_it_must(kind: str, check: str, tmp_path: Path) -> None:
    check_state_backend(MAKERS[kind](tmp_path), check)


def test_a_store_that_writes_for_an_owner_of_the_past_is_found() -> None:
    class Careless(MemoryBackend):
        def beat(self, runs: object) -> list[str]:
            return []

    kept: dict[str, Careless] = {}
    with pytest.raises(AssertionError):
        check_state_backend(lambda name: kept.setdefault(name, Careless()), "fence_starts")
