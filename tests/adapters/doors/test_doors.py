"""Sockets of doors: who may come in, what is left of those that are gone, and what is spoken."""

import json
import os
import signal
import socket
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.doors import folder as folders
from cascade.adapters.doors import sockets
from cascade.adapters.doors.client import Asker, doors
from cascade.adapters.doors.folder import folder_of_doors
from cascade.adapters.doors.lines import LONGEST, line_from, object_from, split
from cascade.adapters.doors.sockets import Entrance, reach
from cascade.errors import ConnectorError
from cascade.runtime.steering.door import Door, Later
from tests.doors import folder

__all__ = ["folder"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="doors of POSIX systems")
NOBODY = 65534
as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become another user")


def echo(request: dict[str, Any], later: Callable[[object], None]) -> object:
    if request["do"] == "later":
        threading.Timer(0.01, later, ["it took a while"]).start()
        return Later()
    if request["do"] == "never":
        return Later(request.get("instead"))
    if request["do"] == "fail":
        raise RuntimeError("what only developers should see")
    return request


@pytest.fixture
def door(folder: Path) -> Iterator[Door]:
    made = Door(echo)
    yield made
    made.close()
    assert doors() == []


def as_nobody(act: Callable[[], str]) -> str:
    """Do something in a child of another user, and return what it says."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where threads are
        pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(write, act().encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


class TestFolder:
    def test_it_is_in_the_runtime_folder_of_the_user_and_closed_to_others(self, folder: Path) -> None:
        assert folder_of_doors(make=False) is None
        assert doors() == []
        assert folder_of_doors() == str(folder)
        assert mode(folder) == 0o700

    @pytest.mark.parametrize("given", [None, "", "relative", "/nowhere/at/all", "/" + "x" * 100])
    def test_without_one_it_is_beside_those_of_others(
        self, given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(folders, "ASIDE", str(tmp_path))
        real = folders.refusal
        monkeypatch.setattr(folders, "refusal", lambda path: "" if path.startswith("/run/") else real(path))
        if given is None:
            monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        else:
            monkeypatch.setenv("XDG_RUNTIME_DIR", given)
        found = folder_of_doors()
        assert found == f"{tmp_path}/cascade-{os.geteuid()}"
        assert mode(found) == 0o700

    def test_a_runtime_folder_that_others_may_use_is_none(self, folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.setattr(folders, "ASIDE", str(tmp_path))
        folder.parent.chmod(0o755)
        found = folder_of_doors()
        assert found is not None
        assert not found.startswith(str(folder.parent))

    def test_one_that_is_planted_is_refused(self, folder: Path, tmp_path: Path) -> None:
        def refused(why: str) -> None:
            for use in (folder_of_doors, doors, lambda: Entrance("x"), lambda: Door(echo)):
                with pytest.raises(ConnectorError, match=why):
                    use()

        folder.symlink_to(tmp_path)
        refused("a link to elsewhere")
        folder.unlink()
        folder.write_text("")
        refused("no folder")
        folder.unlink()
        folder.mkdir(mode=0o700)
        folder.chmod(0o770)
        refused("others may use it .mode 0770.")
        folder.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            refused(f"belongs to the user {NOBODY}")


class TestSockets:
    def test_only_its_user_may_use_one(self, door: Door, folder: Path) -> None:
        assert mode(door.path) == 0o600
        assert stat.S_ISSOCK(os.lstat(door.path).st_mode)
        assert os.listdir(folder) == [os.path.basename(door.path)]
        assert os.path.basename(door.path).startswith(f"{os.getpid()}-")

    def test_engines_do_not_take_the_sockets_of_others(self, door: Door) -> None:
        others = [Door(echo) for _ in range(3)]
        try:
            assert len(doors()) == 4
            for path in doors():
                with Asker(path) as asker:
                    assert asker.ask("hello")["do"] == "hello"
        finally:
            for other in others:
                other.close()

    def test_dead_ones_are_no_obstacle_and_are_taken_away(self, door: Door, folder: Path) -> None:
        dead = [folder / "999999999-abcdef.door.sock", folder / "1-abcdef.door.sock"]
        for path in dead:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        (folder / "notes.txt").write_text("")
        (folder / "1-abcdef.door.port").write_text("{")
        assert doors() == [door.path]
        assert sorted(os.listdir(folder)) == sorted([os.path.basename(door.path), "notes.txt", "1-abcdef.door.port"])

    def test_who_opens_one_takes_away_those_of_processes_that_are_gone(self, folder: Path) -> None:
        folder_of_doors()
        for name in ("999999999-abcdef.door.sock", "1-abcdef.door.sock"):
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(folder / name))
        door = Door(echo)
        assert sorted(os.listdir(folder)) == sorted(["1-abcdef.door.sock", os.path.basename(door.path)])
        door.close()

    @as_root
    def test_another_user_is_not_let_in(self, door: Door, folder: Path) -> None:
        def tried() -> str:
            with socket.socket(socket.AF_UNIX) as made:
                made.settimeout(20)
                try:
                    made.connect(door.path)
                    made.sendall(b'{"v": 1, "do": "hello"}\n')
                    return f"heard {made.recv(100)!r}"
                except OSError as error:
                    return type(error).__name__

        assert as_nobody(tried) == "PermissionError"
        for path, opened in ((folder.parent, 0o711), (folder, 0o711), (Path(door.path), 0o666)):
            path.chmod(opened)  # as if the folder did not keep others out
        assert as_nobody(tried) in ("heard b''", "ConnectionResetError", "BrokenPipeError")
        folder.chmod(0o700)
        folder.parent.chmod(0o700)
        with Asker(door.path) as asker:
            assert asker.ask("hello")["do"] == "hello"

    @as_root
    def test_nobody_asks_at_the_door_of_another_user(self, folder: Path) -> None:
        path = f"{folder.parent}/planted.door.sock"
        folder.parent.chmod(0o777)

        def planted() -> str:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path)
                made.listen()
                told.send(b"up")
                made.settimeout(20)
                made.accept()[0].close()
            return ""

        asked, told = socket.socketpair()
        with asked, told, ThreadPoolExecutor(1) as pool:
            done = pool.submit(as_nobody, planted)
            assert asked.recv(2) == b"up"
            with pytest.raises(ConnectorError, match=f"belongs to the user {NOBODY}"):
                Asker(path)
            assert done.result() == ""
        folder.parent.chmod(0o700)


class TestPorts:
    """Where there are no Unix sockets: a port of this machine, and a token that only the user can read."""

    @pytest.fixture
    def port(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
        monkeypatch.setattr(sockets, "has_unix_sockets", lambda: False)
        made = Door(echo)
        yield made
        made.close()
        assert doors() == []

    def test_who_knows_the_token_is_let_in(self, port: Door) -> None:
        assert mode(port.path) == 0o600
        assert doors() == [port.path]
        with Asker(port.path) as asker:
            assert asker.ask("hello", value=[1]) == {"v": 1, "do": "hello", "value": [1]}
        known = json.loads(Path(port.path).read_text(encoding="utf-8"))
        assert known["port"] > 0
        assert len(known["token"]) == 64

    def test_nobody_else_is(self, port: Door) -> None:
        known = json.loads(Path(port.path).read_text(encoding="utf-8"))
        with socket.create_connection(("127.0.0.1", known["port"]), timeout=20) as raw:
            file = raw.makefile("rwb")
            wrong: list[dict[str, Any]] = [{"do": "hello"}, {"do": "prove"}, {"do": "prove", "proof": known["token"]}]
            wrong += [{"do": "prove", "challenge": "x" * 1000}, {"do": "prove", "proof": "\ud800"}, {"do": "hello"}]
            answers = []
            for each in wrong:
                file.write(line_from({"v": 1, **each}))
                file.flush()
                answers.append(json.loads(file.readline()))
            assert [answer.get("ok", "proof" in answer) for answer in answers] == [
                False,
                False,
                False,
                True,
                False,
                False,
            ]
        Path(port.path).write_text(json.dumps({"port": known["port"], "token": "00" * 32}), encoding="utf-8")
        with pytest.raises(ConnectorError, match="not the door of an engine"):
            Asker(port.path)

    def test_what_took_the_port_of_a_door_that_is_gone_learns_nothing(self, folder: Path) -> None:
        made = folder_of_doors()
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            path = f"{made}/1-abcdef.door.port"
            Path(path).write_text(json.dumps({"port": stranger.getsockname()[1], "token": "ab" * 32}), encoding="utf-8")
            heard: list[bytes] = []

            def serve() -> None:
                connected, _ = stranger.accept()
                with connected:
                    heard.append(connected.recv(1000))
                    connected.sendall(b'{"v": 1, "ok": true, "proof": "guessed", "challenge": "x"}\n')
                    heard.append(connected.recv(1000))

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(ConnectorError, match="not the door of an engine"):
                Asker(path)
            thread.join()
        assert b"ab" * 8 not in heard[0]
        assert heard[1] == b""


def send_often(raw: socket.socket, said: bytes) -> None:
    raw.settimeout(3)
    for _ in range(300):
        raw.sendall(said)


class TestWhatIsSaid:
    def test_a_request_has_one_answer_and_they_come_in_order(self, door: Door) -> None:
        with Asker(door.path) as asker:
            assert asker.ask("later") == "it took a while"
            assert [asker.ask("n", n=n)["n"] for n in range(5)] == [*range(5)]
        raw, _ = reach(door.path)
        with raw:
            raw.sendall(b"".join(line_from({"v": 1, "do": do}) for do in ("later", "a", "later", "b")))
            file = raw.makefile("rb")
            answers = [json.loads(file.readline())["value"] for _ in range(4)]
        assert [each if isinstance(each, str) else each["do"] for each in answers] == [
            *("it took a while", "a", "it took a while", "b")
        ]

    def test_one_who_waits_for_the_event_loop_holds_nobody_up(self, door: Door, monkeypatch: Any) -> None:
        monkeypatch.setattr("cascade.runtime.steering.door.PATIENCE", 0.2)
        answers: list[Any] = []

        def wait(instead: object) -> None:
            with Asker(door.path) as slow:
                try:
                    answers.append(slow.ask("never", instead=instead))
                except ConnectorError as error:
                    answers.append(str(error))

        threads = [threading.Thread(target=wait, args=(instead,)) for instead in (None, "what is known")]
        for thread in threads:
            thread.start()
        with Asker(door.path) as asker:
            assert [asker.ask("n", n=n)["n"] for n in range(50)] == [*range(50)]
            asker.ask("never", instead=0)
        for thread in threads:
            thread.join()
        assert len(answers) == 2
        assert "what is known" in answers
        assert any("the event loop has not answered" in str(answer) for answer in answers)

    def test_what_fails_inside_is_told_by_its_kind_alone(self, door: Door) -> None:
        with Asker(door.path) as asker:
            with pytest.raises(ConnectorError, match=r"^it failed: RuntimeError$"):
                asker.ask("fail")
            assert asker.ask("then")["do"] == "then"

    def test_another_version_is_refused_with_both(self, door: Door) -> None:
        raw, _ = reach(door.path)
        with raw:
            raw.sendall(b'{"v": 2, "do": "hello"}\n')
            said = json.loads(raw.makefile("rb").readline())
        assert said["v"] == 1
        assert said["ok"] is False
        assert "version 1 is spoken here, not 2" in said["error"]

    @pytest.mark.parametrize(
        "line",
        [
            *(b"\n", b"\xff\n", b"null\n", b"[]\n", b"1\n", b"{\n", b"[" * 200_000 + b"\n", b'{"v":' * 50_000 + b"\n"),
            *(b'{"v": 1}\n', b'{"v": "1", "do": "hello"}\n', b'{"v": 1, "do": "prove"}\n', b'{"v": 1e999}\n'),
            b'{"v": 1, "do": "hello", "value": ' + b"9" * 5000 + b"}\n",
        ],
        ids=range(13),
    )
    def test_what_makes_no_sense_is_refused_and_the_next_is_answered(self, door: Door, line: bytes) -> None:
        raw, _ = reach(door.path)
        with raw:
            raw.sendall(line + b'{"v": 1, "do": "hello"}\n')
            file = raw.makefile("rb")
            assert json.loads(file.readline())["ok"] is False
            assert json.loads(file.readline())["value"]["do"] == "hello"

    def test_a_line_without_an_end_closes_the_connection(self, door: Door) -> None:
        raw, _ = reach(door.path)
        with raw, pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_often(raw, b"x" * (LONGEST // 8))

    def test_answers_that_nobody_reads_close_the_connection(self, door: Door) -> None:
        raw, _ = reach(door.path)
        line = line_from({"v": 1, "do": "big", "value": "x" * 100_000})
        with raw, pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)):
            send_often(raw, line)
        with Asker(door.path) as asker:
            assert asker.ask("hello")["do"] == "hello"

    def test_connections_that_say_nothing_keep_nobody_out(self, door: Door) -> None:
        silent = [reach(door.path)[0] for _ in range(150)]
        try:
            with Asker(door.path) as asker:
                assert asker.ask("hello")["do"] == "hello"
        finally:
            for each in silent:
                each.close()

    def test_who_leaves_in_the_middle_harms_nobody(self, door: Door) -> None:
        for do in (b'{"v": 1, "do": "later"}\n', b'{"v": 1', b'{"v": 1, "do": "a"}\n' * 50):
            for _ in range(5):
                raw, _ = reach(door.path)
                raw.sendall(do)
                raw.close()
        with Asker(door.path) as asker:
            assert asker.ask("later") == "it took a while"

    def test_a_door_that_closes_says_so(self, door: Door) -> None:
        with Asker(door.path) as asker:
            asker.ask("hello")
            door.close()
            with pytest.raises(ConnectorError, match=r"closed its door|cannot be asked"):
                asker.ask("hello")
        with pytest.raises(FileNotFoundError):
            reach(door.path)
        door.close()

    def test_what_json_has_not_is_not_said(self) -> None:
        with pytest.raises(ConnectorError, match="JSON"):
            line_from({"value": object()})
        assert object_from(line_from({"v": 1, "text": "é\ud800"})) == {"v": 1, "text": "é\ud800"}
        buffer = bytearray(b"a\nb")
        assert [split(buffer), split(buffer), bytes(buffer)] == [b"a", None, b"b"]
