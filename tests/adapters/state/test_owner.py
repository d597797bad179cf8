"""Whose a run is, and when somebody else may take it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cascade.adapters.state import owner as owners
from cascade.adapters.state.memory import MemoryBackend
from cascade.adapters.state.owner import is_alive, this_process
from cascade.adapters.state.sqlite import SqliteBackend
from cascade.errors import RunBusyError
from cascade.spec.state import LEASE, Owner, StateBackend
from tests.adapters.state.runs import ELSEWHERE, commit, run, step

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
SAY = "from cascade.adapters.state.owner import this_process; print(*this_process(), sep='\\n', flush=True); input()"


def other_process() -> tuple[subprocess.Popen[str], Owner]:
    """Start a process, and return what it says that it is known by."""
    process = subprocess.Popen([sys.executable, "-c", SAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    boot, namespace, pid, began, host = (process.stdout.readline().strip() for _ in range(5))
    return process, Owner(boot, namespace, int(pid), began, host)


def test_this_process_is_alive_whatever_its_last_beat() -> None:
    ours = this_process()
    assert ours.pid == os.getpid()
    assert ours == this_process()
    if ours.boot:
        assert is_alive(ours, beat=0.0, now=1e9)


@ON_LINUX
def test_a_process_of_this_host_is_judged_at_once() -> None:
    process, owner = other_process()
    try:
        assert (owner.boot, owner.namespace) == (this_process().boot, this_process().namespace)
        assert is_alive(owner, beat=0.0, now=1e9)
        assert not is_alive(owner._replace(began="1"), beat=1e9, now=1e9), "its pid was given again"
        process.send_signal(signal.SIGSTOP)
        assert is_alive(owner, beat=0.0, now=1e9)
        process.kill()
        while (state := Path(f"/proc/{owner.pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z":
            assert state
        assert not is_alive(owner, beat=1e9, now=1e9), "it has ended, and nobody has asked for it yet"
    finally:
        process.kill()
        process.communicate()
    assert not is_alive(owner, beat=1e9, now=1e9)


@pytest.mark.parametrize("change", [{"boot": "another"}, {"namespace": "another"}, {"boot": "", "namespace": ""}])
def test_a_process_that_cannot_be_seen_is_judged_by_its_beat(change: dict[str, str]) -> None:
    owner = this_process()._replace(**change, pid=1)
    assert is_alive(owner, beat=100.0, now=100.0 + LEASE - 0.1)
    assert not is_alive(owner, beat=100.0, now=100.0 + LEASE)
    assert is_alive(owner, beat=100.0, now=50.0), "a clock that was put back ends no lease"


def test_a_process_that_is_hidden_is_judged_by_its_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "_began", lambda pid: "")
    assert is_alive(this_process(), beat=100.0, now=101.0)
    assert not is_alive(this_process(), beat=100.0, now=200.0)


@ON_LINUX
def test_the_command_tells_the_same_where_there_is_no_proc() -> None:
    process, owner = other_process()
    try:
        began = owners._by_command(owner.pid)
        if began == "":
            pytest.skip("there is no ps here")
        assert began is not None
        assert began.count(":") == 2
    finally:
        process.kill()
        process.communicate()
    assert owners._by_command(owner.pid) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_is_another_owner() -> None:
    code = (
        "import os; from cascade.adapters.state.owner import this_process as ours; one = ours(); pid = os.fork()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "else: print(one != ours() and ours().pid == os.getpid())"
    )
    assert subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True) == "True\n"


# --- two owners of one run


class Late:
    """The time of a store, as the tests put it."""

    def __init__(self) -> None:
        self.at = 5000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture(params=["memory", "sqlite"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[StateBackend, StateBackend, Late]]:
    """Give one store as two processes see it, and its clock."""
    one: StateBackend
    other: StateBackend
    if request.param == "memory":
        one = other = MemoryBackend()
    else:
        one, other = SqliteBackend(tmp_path / "runs.db"), SqliteBackend(tmp_path / "runs.db")
    late = Late()
    for store in (one, other):
        store.now = late  # type: ignore[method-assign]
        store.open()
    yield one, other, late
    for store in (one, other):
        store.close()


def test_an_owner_that_gave_no_sign_for_a_lease_has_lost_its_run(
    stores: tuple[StateBackend, StateBackend, Late],
) -> None:
    one, other, late = stores
    one.create(run())
    late.at += LEASE - 1
    with pytest.raises(RunBusyError, match=r"process 7 on far, since .*: if it is gone, the run is free in 1 s"):
        other.take("run", 1, this_process(), b"", b"")
    assert one.beat([("run", 1)]) == []
    late.at += LEASE - 1
    with pytest.raises(RunBusyError):
        other.take("run", 1, this_process(), b"", b"")
    one.commit([commit(1, step("a"))])  # a sign of life as well
    late.at += LEASE - 1
    with pytest.raises(RunBusyError):
        other.take("run", 1, this_process(), b"", b"")
    late.at += 1
    taken = other.take("run", 1, this_process(), b"", b"")
    assert (taken.epoch, taken.takeovers, taken.updated, taken.beat) == (2, 1, late.at, late.at)
    assert one.beat([("run", 1)]) == ["run"]
    assert one.commit([commit(2, step("late"))]) == ["run"]
    assert one.commit([commit(3, step("late"))._replace(status="Failed")]) == ["run"]
    assert [each.key for each in other.steps("run")] == ["a"]
    assert other.find("run") == taken


def test_a_run_of_this_process_is_busy_here_too(stores: tuple[StateBackend, StateBackend, Late]) -> None:
    one, other, late = stores
    one.create(run(owner=this_process()))
    late.at += 10 * LEASE
    if this_process().boot:
        with pytest.raises(RunBusyError, match=r"'run' is going on in this process, since .*; wait for it"):
            other.take("run", 1, this_process(), b"", b"")


@pytest.mark.parametrize("question", ["take", "forget"])
def test_who_may_not_write_needs_not_wait_for_one_who_writes(tmp_path: Path, question: str) -> None:
    """As where an owner was stopped in the middle of a transaction, which is not over until it goes on."""
    path = tmp_path / "kept" / "runs.db"
    store = SqliteBackend(path)
    store.open()
    with closing(store), closing(sqlite3.connect(path, isolation_level=None)) as stopped:
        store.create(run(owner=this_process()))
        stopped.execute("BEGIN IMMEDIATE")
        with pytest.raises(RunBusyError):
            store.take("run", 1, this_process(), b"", b"") if question == "take" else store.forget("run")


def test_a_message_is_taken_by_who_has_the_run(stores: tuple[StateBackend, StateBackend, Late]) -> None:
    one, other, late = stores
    one.create(run())
    other.send("run", "go", b"j11", None)
    late.at += LEASE
    other.take("run", 1, ELSEWHERE._replace(pid=8), b"", b"")
    assert one.commit([commit(1)._replace(taken=[(1, "wait")])]) == ["run"]
    assert other.signals("run")[0].taken_by == ""
