"""The command `cascade serve` as processes: killed, stopped, and side by side on one store."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state.codec import decode, encode
from cascade.adapters.state.owner import this_process
from cascade.adapters.state.sqlite import SqliteBackend
from cascade.adapters.state.urls import backend_from
from cascade.spec.state import Commit, RunRecord
from tests.providers.postgres import postgres, program
from tests.providers.redis import Server as RedisServer

pytest.importorskip("typer")
pytestmark = pytest.mark.timeout(240)  # each test starts several processes

Write = Callable[..., Path]
Invoke = Callable[..., tuple[int, str, str]]

FLOW = """
import asyncio
import os
import time
from pathlib import Path

import cascade as cs

HERE = Path(__file__).parent


def log(line):
    with open(HERE / "log", "a") as file:
        file.write(f"{line} {os.getpid()}\\n")


@cs.task(record=True)
def load(n: int) -> int:
    log(f"load {n}")
    return n


@cs.task
async def wait(n: int) -> int:
    log(f"wait {n}")
    while (HERE / f"hold-{n}").exists():
        await asyncio.sleep(0.01)
    return n


@cs.task
def die(n: int) -> int:
    log(f"die {n}")
    os.kill(os.getpid(), 9)


main = wait(load(cs.Param("n", type=int)))
parks = wait(cs.sequence([load(cs.Param("n", type=int)), cs.wait_signal("go", type=int)]))
poison = die(load(cs.Param("n", type=int)))


def made() -> cs.LazyResult[int]:
    return load(7)


def unmarked():
    raise SystemExit("it was called")


engine = cs.Engine()
engine.register_blueprint("registered", load(8))
"""


class Place:
    """A folder with a program, a store, and servers of it."""

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        self.folder, self.url, self._stack = folder, url, stack
        self.file = folder / "served_flow.py"
        self.file.write_text(FLOW)
        self.store = backend_from(url, "url")
        self.store.open()
        stack.callback(self.store.close)

    def serve(self, *options: str) -> subprocess.Popen[str]:
        """Start a server, and wait until it serves."""
        command = [sys.executable, "-m", "cascade", "serve", self.file.name, "--state", self.url, *options]
        out = self.folder / f"out-{time.monotonic()}"
        server = subprocess.Popen(
            command,
            cwd=self.folder,
            stderr=self._stack.enter_context(out.open("w")),
            text=True,
            env={**os.environ, "CASCADE_LANG": "en"},
        )
        server.out = out  # type: ignore[attr-defined]
        self._stack.callback(server.wait)
        self._stack.callback(server.kill)
        self.until(lambda: "serving" in self.told(server) or server.poll() is not None)
        assert "serving" in self.told(server), self.told(server)
        return server

    def told(self, server: Any) -> str:
        return str(server.out.read_text())

    def until(self, is_so: Callable[[], Any]) -> Any:
        end = time.monotonic() + 100
        while not (found := is_so()):
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)
        return found

    def put(self, *numbers: int, target: str = "served_flow.py:main", **options: Any) -> None:
        async def put() -> None:
            async with cs.Engine(state_backend=self.url) as engine:
                for n in numbers:
                    await engine.enqueue(target, {"n": n} if n else {}, run_id=f"run-{target}-{n}", **options)

        asyncio.run(put())

    def log(self) -> list[str]:
        place = self.folder / "log"
        return [line.rpartition(" ")[0] for line in place.read_text().splitlines()] if place.exists() else []

    def pids(self) -> list[int]:
        return [int(line.rpartition(" ")[2]) for line in (self.folder / "log").read_text().splitlines()]

    def with_status(self, status: str) -> list[RunRecord]:
        return self.store.runs(status=status)

    def hold(self, n: int) -> None:
        (self.folder / f"hold-{n}").touch()

    def release(self, n: int) -> None:
        (self.folder / f"hold-{n}").unlink()


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield Place(tmp_path, f"sqlite:///{tmp_path}/runs.db", stack)
            return
        if request.param == "redis":
            pytest.importorskip("redis")
            if shutil.which("redis-server") is None and os.environ.get("CASCADE_REQUIRE_ALL") != "1":
                pytest.skip("Redis is not installed (apt-get install redis-server)")
            server = RedisServer()
            stack.callback(server.remove)
            server.start()
            yield Place(tmp_path, server.url, stack)
            return
        if program("initdb") is None and os.environ.get("CASCADE_REQUIRE_ALL") != "1":
            pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
        yield Place(tmp_path, stack.enter_context(postgres()), stack)


def end(server: subprocess.Popen[str], how: int = signal.SIGTERM) -> int:
    server.send_signal(how)
    return server.wait(30)


def test_of_two_servers_one_is_killed_and_the_other_goes_on(place: Place) -> None:
    place.hold(1)
    place.put(1)
    servers = {each.pid: each for each in (place.serve(), place.serve())}
    place.until(lambda: "wait 1" in place.log())
    killed = servers.pop(place.pids()[-1])
    end(killed, signal.SIGKILL)
    place.until(lambda: place.log().count("wait 1") == 2)
    place.release(1)
    place.until(lambda: place.with_status("Succeeded"))
    assert place.log() == ["load 1", "wait 1", "wait 1"], "what was recorded is not run again"
    (left,) = servers.values()
    place.put(2)
    place.until(lambda: len(place.with_status("Succeeded")) == 2)
    assert end(left, signal.SIGINT) == 0
    assert "run run-served_flow.py:main-1 of wait goes on; steps recorded: 1" in place.told(left)


def test_a_parked_run_outlives_its_server_and_a_message_from_anywhere_brings_it_back(place: Place) -> None:
    options = ("--park-after", "0.05")
    first = place.serve(*options)
    place.put(1, 2, target="served_flow.py:parks")
    place.until(lambda: len(place.with_status("Parked")) == 2)
    assert "parked after" in place.told(first)
    end(first, signal.SIGKILL)
    for run in place.with_status("Parked"):
        command = [sys.executable, "-m", "cascade", "signal", run.run_id, "go", "7", "--state", place.url]
        subprocess.run(command, check=True, capture_output=True)
    place.serve(*options)
    place.until(lambda: len(place.with_status("Succeeded")) == 2)
    assert sorted(place.log()) == ["load 1", "load 2", "wait 7", "wait 7"]


def test_a_file_with_a_schedule_is_fired_by_one_of_its_servers(tmp_path: Path) -> None:
    pytest.importorskip("cronsim")
    with ExitStack() as stack:
        place = Place(tmp_path, f"sqlite:///{tmp_path}/runs.db", stack)
        scheduled = '@cs.schedule(cron="* * * * *", catch_up=1)\ndef minutely():\n    return load(6)\n'
        place.file.write_text(f"{FLOW}\n\n{scheduled}")
        first = place.serve()
        name = "served_flow.py:minutely"
        kept = place.until(lambda: place.store.find(f"{name}@schedule"))
        assert end(first) == 0
        kept = place.store.find(kept.run_id)
        assert kept is not None
        since = datetime.fromtimestamp(place.store.now() - 300, UTC)  # as if no server had been there for a while
        said = encode({**decode(kept.params), "next": since.isoformat()})
        taken = place.store.take(kept.run_id, kept.epoch, this_process(), said, b"")
        place.store.commit([Commit(kept.run_id, taken.epoch, 1, status="Parked", due=since.timestamp())])
        servers = [place.serve(), place.serve()]
        place.until(lambda: place.with_status("Succeeded"))
        assert [end(each) for each in servers] == [0, 0]
        runs = place.with_status("Succeeded")
        assert place.log() == ["load 6"] * len(runs)
        assert all(each.run_id.startswith(f"{name}@20") for each in runs)
        assert "it is time for" in "".join(map(place.told, servers))


def test_sigterm_ends_what_can_end_and_hands_back_the_rest(place: Place) -> None:
    server = place.serve("--grace", "1.5")
    for n in (1, 2):
        place.hold(n)
    place.put(1, 2)
    place.until(lambda: {"wait 1", "wait 2"} <= {*place.log()})
    server.send_signal(signal.SIGTERM)
    place.until(lambda: "SIGTERM: nothing more is taken" in place.told(server))
    place.put(3)
    place.release(1)
    assert server.wait(30) == 0
    assert [each.run_id for each in place.with_status("Succeeded")] == ["run-served_flow.py:main-1"]
    assert [(each.run_id, each.owner) for each in place.with_status("Running")] == [("run-served_flow.py:main-2", None)]
    assert [each.run_id for each in place.with_status("Enqueued")] == ["run-served_flow.py:main-3"]
    assert place.log().count("load 2") == 1


def test_under_nohup_a_hangup_ends_nothing(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = Place(tmp_path, f"sqlite:///{tmp_path}/runs.db", stack)
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does for what it starts
        try:
            server = place.serve()
        finally:
            signal.signal(signal.SIGHUP, before)
        server.send_signal(signal.SIGHUP)
        place.put(2)
        place.until(lambda: place.with_status("Succeeded"))
        assert end(server) == 0
        assert "SIGHUP" not in place.told(server)


def test_a_run_that_kills_its_servers_is_given_up(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = Place(tmp_path, f"sqlite:///{tmp_path}/runs.db", stack)
        place.put(1, target="served_flow.py:poison")
        for _ in range(2):
            assert place.serve("--max-takeovers", "1", "--durability", "each").wait(30) == -signal.SIGKILL
        last = place.serve("--max-takeovers", "1")
        (failed,) = place.until(lambda: place.with_status("Failed"))
        assert "was taken over" in failed.error
        assert place.log().count("die 1") == 2
        assert end(last) == 0
        assert "cannot go on" in place.told(last)


def test_what_a_file_holds_is_served_by_its_names(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = Place(tmp_path, f"sqlite:///{tmp_path}/runs.db", stack)
        names = ("served_flow.py:made", f"{place.file}:made", "registered", "served_flow.py:unmarked")
        for name in names:
            place.put(0, target=name) if name != "registered" else None

        async def put() -> None:
            async with cs.Engine(state_backend=place.url) as engine:
                engine.register_blueprint("registered", cs.task(int)("8"))
                await engine.enqueue("registered")

        asyncio.run(put())
        server = place.serve()
        place.until(lambda: len(place.with_status("Succeeded")) == 3)
        assert place.log().count("load 7") == 2
        assert [each.target for each in place.with_status("Enqueued")] == ["served_flow.py:unmarked"]
        assert end(server) == 0


class TestMisuse:
    def test_a_file_without_targets(self, cascade: Invoke, file: Write, tmp_path: Path) -> None:
        code, _, told = cascade("serve", file("x = 1"), "--state", tmp_path / "runs.db")
        assert code == 2
        assert "has nothing to run" in told

    def test_no_store(self, cascade: Invoke, file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CASCADE_STATE", raising=False)
        code, _, told = cascade("serve", file(FLOW))
        assert code == 2
        assert "name the store of the runs" in told

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--on-change", "ask"], "--on-change"),
            (["--durability", "none"], "--durability"),
            (["--log-format", "xml"], "--log-format"),
            (["--log-level", "LOUD"], "--log-level"),
            (["--queue", ""], "a queue has a name that is not empty"),
            (["--concurrency", "0"], "--concurrency"),
            (["--slots", "0"], "--slots"),
        ],
    )
    def test_options_that_make_no_sense(
        self, cascade: Invoke, file: Write, tmp_path: Path, options: list[str], said: str
    ) -> None:
        code, _, told = cascade("serve", file(FLOW), "--state", tmp_path / "runs.db", *options)
        assert code == 2
        assert said in told

    def test_two_targets_of_one_name(self, cascade: Invoke, file: Write, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        files = [file(FLOW, "same_name.py"), file(FLOW, "other/same_name.py")]
        code, _, told = cascade("serve", *files, "--state", tmp_path / "runs.db")
        assert code == 2
        assert "two of the served files have a target called" in told

    def test_a_schedule_that_needs_parameters(self, cascade: Invoke, file: Write, tmp_path: Path) -> None:
        pytest.importorskip("cronsim")
        text = "\n\nneedy = cs.schedule(cron='0 6 * * *')(load(cs.Param('n', type=int)))\n"
        code, _, told = cascade("serve", file(FLOW + text, "needy_flow.py"), "--state", tmp_path / "runs.db")
        assert code == 2
        assert "needy_flow.py:needy is run by the clock" in told

    def test_a_store_that_cannot_be_used(self, cascade: Invoke, file: Write, tmp_path: Path) -> None:
        (tmp_path / "runs.db").write_text(
            "no store, but a text that is long enough to have a head of a hundred bytes" * 9
        )
        code, _, told = cascade("serve", file(FLOW), "--state", tmp_path / "runs.db")
        assert code == 1
        assert "is no SQLite file" in told


def test_servers_are_woken_over_a_file_and_dead_sockets_go(tmp_path: Path) -> None:
    store = SqliteBackend(tmp_path / ("d" * 90) / "runs.db")  # a path longer than that of a socket may be
    store.open()
    dead = Path(f"{store.path}-wake-1-1")
    code = f"import os, socket; os.chdir({str(dead.parent)!r}); "
    code += f"socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind({dead.name!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert dead.exists()
    woken: list[int] = []
    ends = [store.listen("default", lambda: woken.append(1)) for _ in range(2)]
    store.enqueue(RunRecord("run", "Enqueued", "a.py:b", b"", b"", 1.0, 1.0, queue="default"))
    until = time.monotonic() + 20
    while len(woken) < 2:
        assert time.monotonic() < until
        time.sleep(0.005)
    for each in ends:
        each()
    assert not [*dead.parent.glob("*-wake-*")]
    store.close()
