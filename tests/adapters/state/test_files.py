"""Which files a store is kept in, and which it leaves alone."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade.adapters.state import files, schema
from cascade.adapters.state.sqlite import SqliteBackend
from cascade.errors import StateError
from tests.adapters.state.runs import commit, run, step


def opened(path: Path) -> SqliteBackend:
    store = SqliteBackend(path)
    store.open()
    return store


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def used(path: Path) -> Path:
    """Give the file of a store with a run of 200 steps."""
    store = opened(path)
    store.create(run())
    store.commit([commit(1, *(step(f"k{at}", b"x" * 500) for at in range(200)))])
    store.close()
    return path


# --- who may write


def test_what_is_made_is_ours_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = opened(tmp_path / "a" / "b" / "runs.db")
        store.create(run())
    finally:
        os.umask(before)
    folder = tmp_path / "a" / "b"
    assert [mode(folder), mode(folder.parent)] == [0o700, 0o700]
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "runs.db": 0o600,
        "runs.db-wal": 0o600,
        "runs.db-shm": 0o600,
    }
    store.close()
    assert [path.name for path in folder.iterdir()] == ["runs.db"]


@pytest.mark.parametrize("bits", [0o020, 0o002])
@pytest.mark.parametrize("which", ["runs.db", "runs.db-wal", "runs.db-journal", "."])
def test_what_others_can_write_to_is_refused(used: Path, which: str, bits: int) -> None:
    place = used.parent / which
    if not place.exists():
        place.touch(0o600)
    place.chmod(mode(place) | bits)
    before = everything(used.parent)
    with pytest.raises(StateError, match=rf"run `chmod go-w {place}`"):
        opened(used)
    assert everything(used.parent) == before


def test_a_folder_that_is_meant_for_all_is_refused_and_left_so(used: Path) -> None:
    used.parent.chmod(0o1777)
    with pytest.raises(StateError, match=r"; put the file into a folder of its own$"):
        opened(used)


@pytest.mark.parametrize("read_only", ["runs.db", ""])
def test_where_nothing_can_be_written_is_told_at_once(
    used: Path, read_only: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = str(used.parent / read_only)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != closed and access(path, mode))  # root may all
    with pytest.raises(StateError, match=f"nothing can be written to {'it' if read_only else 'its folder'}"):
        opened(used)


def test_what_belongs_to_another_user_is_refused(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: used.stat().st_uid + 1)
    if used.stat().st_uid == 0:
        opened(used).close()  # of root, whom everybody has to trust
        os.chown(used, 12345, -1)
    with pytest.raises(StateError, match="another user"):
        opened(used)


def test_a_link_is_followed_to_a_file_that_is_looked_at(used: Path, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(used)
    opened(link).close()
    used.rename(folder / "runs.db")
    folder.chmod(0o777)
    link.unlink()
    link.symlink_to(folder / "runs.db")
    with pytest.raises(StateError, match=rf"chmod go-w {folder}"):
        opened(link)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is a folder"):
        opened(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be used"):
        opened(tmp_path / "file" / "runs.db")


# --- what is no store


def other_application(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE runs (a)")
    db.commit()
    db.close()


def newer_schema(path: Path) -> None:
    store = opened(path)
    store.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


NO_STORES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("hello " * 100), "no SQLite file"),
    "random": (lambda path: path.write_bytes(os.urandom(9000)), "no SQLite file"),
    "short": (lambda path: path.write_bytes(b"SQLite format 3\0"), "no SQLite file"),
    "zeros": (lambda path: path.write_bytes(bytes(4096)), "no SQLite file"),
    "other": (other_application, "of another application"),
    "newer": (newer_schema, "later version of Cascade .schema 99, this one knows"),
}


@pytest.mark.parametrize("kind", NO_STORES)
def test_a_file_that_is_no_store_is_refused_and_left_alone(kind: str, path: Path) -> None:
    make, why = NO_STORES[kind]
    make(path)
    path.chmod(0o600)
    before = everything(path.parent)
    with pytest.raises(StateError, match=why):
        opened(path)
    assert everything(path.parent) == before


@pytest.mark.parametrize("left", [0.9, 0.5, 0.05])
def test_a_truncated_file_is_refused_and_left_alone(used: Path, left: float) -> None:
    os.truncate(used, int(used.stat().st_size * left))
    before = everything(used.parent)
    with pytest.raises(StateError, match="cannot be used"):
        opened(used)
    assert everything(used.parent) == before


def test_a_file_that_was_overwritten_is_told_when_it_is_read(used: Path) -> None:
    pages = used.stat().st_size // 4096
    for page in range(1, pages):
        data = bytearray(used.read_bytes())
        data[page * 4096 : (page + 1) * 4096] = os.urandom(4096)
        damaged = used.with_name(f"damaged{page}.db")
        damaged.touch(0o600)
        damaged.write_bytes(data)
        try:
            store = opened(damaged)
            try:
                store.runs()
                found = list(store.steps("run"))
                store.commit([commit(2, *(step(f"k{at}", b"y") for at in range(0, 200, 3)))])
            finally:
                store.close()
        except StateError:
            continue
        assert page > 1 or not found  # of a page that nobody has read


def test_a_store_without_its_tables_is_refused(used: Path) -> None:
    db = sqlite3.connect(used)
    db.execute("DROP TABLE steps")
    db.close()
    with pytest.raises(StateError, match="has no table steps"):
        opened(used)


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch(0o600)
    store = opened(path)
    assert store.create(run())
    store.close()


# --- schemas


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a later version, which has a table more."""
    added = ("CREATE TABLE queues (name TEXT)", "ALTER TABLE runs ADD COLUMN added TEXT NOT NULL DEFAULT ''")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, added))


def version(path: Path) -> int:
    db = sqlite3.connect(path)
    (found,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return int(found)


def test_an_older_schema_is_brought_up(used: Path, later: None) -> None:
    assert version(used) == 2
    store = opened(used)
    assert len(list(store.steps("run"))) == 200
    store.close()
    assert version(used) == 3


def test_a_store_without_queues_gets_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        schema.connect(str(path), "group")[0].close()
    assert version(path) == 1
    store = opened(path)
    assert store.enqueue(run(owner=None)._replace(status="Enqueued", queue="mail")).queue == "mail"
    store.close()
    assert version(path) == 2


def test_a_migration_that_fails_changes_nothing(used: Path, later: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE more (a)", "NONSENSE")))
    with pytest.raises(StateError, match="cannot be used"):
        opened(used)
    assert version(used) == 2
    db = sqlite3.connect(used)
    assert ("queues",) not in db.execute("SELECT name FROM sqlite_schema").fetchall()
    db.close()


def test_a_store_is_refused_by_the_version_before(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", ())
    with pytest.raises(StateError, match="later version"):
        opened(used)


def test_many_may_make_one_file_at_once(path: Path) -> None:
    errors: list[BaseException] = []
    stores = [SqliteBackend(path) for _ in range(8)]

    def use(store: SqliteBackend, name: str) -> None:
        try:
            store.open()
            store.create(run(name))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(store, f"run{at}")) for at, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(stores[0].runs()) == 8
    for store in stores:
        store.close()
    assert [each.name for each in path.parent.iterdir()] == ["runs.db"]


# --- where it lies


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *(("/mnt/share/runs.db", "nfs4"), ("/mnt/share/inner/runs.db", "ext4"), ("/mnt/shared/runs.db", "ext4")),
        *(("/mnt/a b/runs.db", "fuse.sshfs"), ("/home/runs.db", "ext4"), ("/mnt/over/runs.db", "cifs")),
    ],
)
def test_network_file_systems_are_told(path: str, kind: str, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nserver:/x /mnt/share nfs4 rw 0 0\n/dev/sdb /mnt/share/inner ext4 rw 0 0\n"
        "me@host: /mnt/a\\040b fuse.sshfs rw 0 0\n/dev/sdc /mnt/over ext4 rw 0 0\n//s/x /mnt/over cifs rw 0 0\n"
    )
    if kind == "ext4":
        files.check_local(path, str(mounts))
        return
    with pytest.raises(StateError, match=rf"network file system \({kind}, mounted at /mnt/"):
        files.check_local(path, str(mounts))


def test_where_nothing_tells_of_mounts_nothing_is_refused(tmp_path: Path) -> None:
    files.check_local("/x/runs.db", str(tmp_path / "nothing"))


# --- taken away while in use


def test_a_file_that_is_deleted_or_replaced_in_use_is_told(used: Path) -> None:
    store = opened(used)
    used.rename(used.with_name("moved.db"))
    with pytest.raises(StateError, match="deleted or moved while it was in use"):
        store.commit([commit(2, step("a"))])
    other = opened(used)
    with pytest.raises(StateError, match="replaced by another file"):
        store.beat([("run", 1)])
    other.close()
    store.close()


def test_a_store_that_is_not_open_says_so(path: Path) -> None:
    store = SqliteBackend(path)
    for _ in range(2):
        with pytest.raises(StateError, match="is not open"):
            store.find("run")
        store.open()
        store.open()
        assert store.find("run") is None
        store.close()
        store.close()


def test_a_lock_that_is_held_passes(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "PATIENCE", 0.01)
    store = opened(used)
    other = sqlite3.connect(used, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):  # not a StateError: it is tried again
        store.commit([commit(2, step("a"))])
    other.execute("ROLLBACK")
    assert store.commit([commit(2, step("a"))]) == []
    other.close()
    store.close()


def test_a_full_disk_passes(used: Path) -> None:
    store = opened(used)
    db = store._db
    assert db is not None
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages + 1}")
    big = commit(2, *(step(f"big{at}", b"x" * 4000) for at in range(50)))
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.commit([big])
    assert len(list(store.steps("run"))) == 200
    db.execute("PRAGMA max_page_count = 1000000")
    assert store.commit([big]) == []
    assert len(list(store.steps("run"))) == 250
    store.close()


# --- forks

FORKED = """
import os, sys, warnings
from cascade.adapters.state.sqlite import SqliteBackend
from tests.adapters.state.runs import commit, run, step
warnings.simplefilter("ignore")
store = SqliteBackend(sys.argv[1])
store.open()
store.create(run())
with store._writing() as db:  # a fork in the middle of a transaction
    db.execute("UPDATE runs SET target = 'half'")
    before = id(store._db)
    pid = os.fork()
    if pid == 0:
        store.close()
        os.close(1)
        del db
        sys.exit(0)
    os.waitpid(pid, 0)
pid = os.fork()
if pid == 0:
    assert store.find("run").target == "half"
    store.commit([commit(1, step("child"))])
    assert id(store._db) != before
    store.close()
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
store.commit([commit(2, step("parent"))])
print([each.key for each in store.steps("run")], store.find("run").target)
store.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_has_a_connection_of_its_own(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKED, path], capture_output=True, text=True, check=False, timeout=30)
    assert (done.stdout, done.stderr) == ("['child', 'parent'] half\n", "")
    assert [each.name for each in path.parent.iterdir()] == ["runs.db"]


OTHER_PROCESS = """
import sys
from cascade.adapters.state.sqlite import SqliteBackend
from tests.adapters.state.runs import run

store = SqliteBackend(sys.argv[1])
store.open()
print(sorted(each.run_id for each in store.runs()))
store.create(run(sys.argv[2]))
store.close()
"""


def test_a_second_store_of_one_process_takes_no_locks_from_the_first(path: Path) -> None:
    """Else another process, the last as far as it sees, would take away the log that the first writes to."""

    def elsewhere(run_id: str) -> str:
        command = [sys.executable, "-c", OTHER_PROCESS, str(path), run_id]
        told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3])
        return told.stdout.strip()

    first = opened(path)
    first.create(run("one"))
    opened(path).close()  # which looks at the head of the file
    with pytest.raises(StateError, match="is no SQLite file"):
        opened(Path(__file__))
    assert elsewhere("two") == "['one']"
    first.create(run("three"))
    assert elsewhere("four") == "['one', 'three', 'two']"
    assert {each.run_id for each in first.runs()} == {"one", "two", "three", "four"}
    first.close()
    assert not Path(f"{path}-wal").exists()
