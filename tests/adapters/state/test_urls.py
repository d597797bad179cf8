"""Which store is meant by what is given."""

import os
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.state.memory import MemoryBackend
from cascade.adapters.state.signed import SignedBackend
from cascade.adapters.state.sqlite import SqliteBackend
from cascade.adapters.state.urls import backend_from
from tests.adapters.state.third_party import PickleFile
from tests.providers.servers import need


@pytest.mark.parametrize(
    ("given", "path"),
    [
        *(("runs.db", "runs.db"), ("a/b.db", "a/b.db"), ("/a/b", "/a/b"), (Path("memory"), "memory")),
        *(("sqlite:///runs.db", "runs.db"), ("sqlite:////a/b.db", "/a/b.db"), ("SQLite:///x", "x")),
        *(("a b?.db", "a b?.db"), ("C:/x.db", "C:/x.db")),
    ],
)  # fmt: skip
def test_a_path_is_a_file_of_sqlite(given: Any, path: str) -> None:
    store = backend_from(given, "state_backend", "each")
    assert isinstance(store, SqliteBackend)
    assert (store.path, store.durability) == (os.path.abspath(path), "each")
    assert not Path("runs.db").exists()


@pytest.mark.parametrize("given", ["memory", "memory://"])
def test_memory_is_a_word(given: str) -> None:
    assert isinstance(backend_from(given, "state_backend"), MemoryBackend)


def test_a_store_of_somebody_else_is_taken(tmp_path: Path) -> None:
    store = PickleFile(tmp_path / "x")
    assert backend_from(store, "state_backend") is store


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_database_of_postgresql_is_one_whose_pickles_are_signed(scheme: str) -> None:
    need("psycopg")
    store = backend_from(f"{scheme}://me:secret@host/db", "state_backend")
    assert isinstance(store, SignedBackend)
    assert repr(store) == "PostgresBackend('postgresql://me:***@host/db')"


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_server_of_redis_is_one_whose_pickles_are_signed(scheme: str) -> None:
    need("redis")
    store = backend_from(f"{scheme}://me:secret@host/0", "state_backend", "each")
    assert isinstance(store, SignedBackend)
    assert repr(store) == f"RedisBackend('{scheme}://me:***@host/0')"
    assert store.backend.durability == "each"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "error", "why"),
    [
        *(("mysql://me:secret@host/db", ValueError, "there is no store for mysql://"),),
        *(("sqlite://runs.db", ValueError, "a fourth slash"), ("sqlite:///x?mode=ro", ValueError, "nothing behind it")),
        *(("sqlite://", ValueError, "stands before a path"), ("", ValueError, "not ''")),
        *((":memory:", ValueError, "say memory"), ("memory://x", ValueError, "there is no store for memory://")),
        *((5, TypeError, "not int 5"), (MemoryBackend, TypeError, "which is a class")),
        *((None, TypeError, "not NoneType"), (open, TypeError, "has no open")),
    ],
)  # fmt: skip
def test_anything_else_is_told(given: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error) as caught:
        backend_from(given, "state_backend")
    told = str(caught.value)
    assert told.startswith("state_backend is a path (a SQLite file), 'sqlite:///runs.db'")
    assert "secret" not in told
    if given is not open:
        assert why in told


def test_what_is_missing_in_a_store_is_named() -> None:
    class Half:
        def open(self) -> None: ...

        def close(self) -> None: ...

    with pytest.raises(TypeError, match="which has no find, create, take, enqueue, claim, commit"):
        backend_from(Half(), "state_backend")


def test_durability_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="durability is 'group', 'each' or 'exit', not 'often'"):
        backend_from("x", "state_backend", "often")  # type: ignore[arg-type]
