"""Files and standard streams, on a real file system and in a real process."""

import asyncio
import io
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.spec import terminal
from tests.providers.servers import need
from tests.workflows import Tier, every_tier, in_loop, notes_of, run


@every_tier
def test_what_was_written_is_read(tmp_path: Path, tier: Tier) -> None:
    path = tmp_path / "new" / "a.txt"
    written = cs.write.text(path, cs.format("{} é\n", "line"))
    assert run(cs.read.text(written), tier=tier) == "line é\n"
    assert run(cs.read.bytes(cs.write.bytes(path, b"\x00\xff")), tier=tier) == b"\x00\xff"
    assert run(cs.read.text(cs.write.text(path, "é", encoding="latin-1"), encoding="latin-1"), tier=tier) == "é"
    for ends in ("a\r\nb", "\r\n", "a\rb\n\r", "\u2028\x85"):
        assert run(cs.read.text(cs.write.text(path, ends)), tier=tier) == ends
    assert os.listdir(path.parent) == ["a.txt"]


def test_whether_there_is_something(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    paths = [tmp_path, tmp_path / "nothing", tmp_path / "link"]
    assert run(cs.fs.exists.map(path=paths)) == [True, False, False]


def test_writing_keeps_permissions_and_links(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    run(cs.write.text(tmp_path / "link", "new"))
    assert (tmp_path / "link").is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    run(cs.write.text(tmp_path / "fresh", "x"))
    (tmp_path / "by_hand").touch()
    assert (tmp_path / "fresh").stat().st_mode == (tmp_path / "by_hand").stat().st_mode


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        run(cs.write.text(path, "new"))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@every_tier
def test_a_file_that_is_not_there(tmp_path: Path, tier: Tier) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        run(cs.read.text(tmp_path / "nothing"), tier=tier)
    assert any("read.text#1" in note and __file__ in note for note in notes_of(caught.value))
    with pytest.raises(IsADirectoryError):
        run(cs.read.bytes(tmp_path), tier=tier)


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cs\.write\.text writes a str, not bytes"):
        run(cs.write.text(tmp_path / "a", b"x"))
    with pytest.raises(TypeError, match=r"cs\.write\.bytes writes bytes, not str"):
        run(cs.write.bytes(tmp_path / "a", "x"))
    (tmp_path / "b").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        run(cs.read.text(tmp_path / "b"))
    assert not (tmp_path / "a").exists()


def test_a_call_without_its_arguments_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'text'"):
        cs.write.text("a")


def test_standard_streams_are_the_ends_of_a_process() -> None:
    code = "import cascade as cs; cs.run(cs.io.stdout(cs.task(str.upper)(cs.io.stdin()), end=''), log_level='SILENT')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], input="ab\nc\n", capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("AB\nC\n", "")


def test_a_read_of_stdin_that_is_cancelled_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    begun = threading.Event()

    class Standard:
        def read(self) -> str:
            begun.set()
            return os.read(reader, 1).decode()

    monkeypatch.setattr(sys, "stdin", Standard())

    async def main() -> None:
        async with Engine(thread_grace=0.01) as engine:
            going = engine.start(cs.io.stdin())
            assert await asyncio.to_thread(begun.wait, 20)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going

    in_loop(main)
    os.write(writer, b"x")
    os.close(writer)


@every_tier
def test_questions_are_asked_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tier: Tier
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("ada\r\n\nlast"))
    names = [cs.io.prompt("who? "), cs.io.prompt("and? "), cs.io.prompt()]
    assert run(cs.sequence(names), tier=tier) == "last"
    assert capsys.readouterr() == ("", "who? and? ")
    for stdin in (io.StringIO(""), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(EOFError, match=r"cs\.io\.prompt\('who\?'\) has nobody to ask: this process has no stdin"):
            run(cs.io.prompt("who?"), tier=tier)


def test_a_question_in_a_process_without_stdin() -> None:
    code = "import cascade as cs; cs.run(cs.io.prompt('who? '), log_level='SILENT')"
    for closing in ("< /dev/null", "<&-"):
        command = ["sh", "-c", f'"$0" -c "$1" {closing}', sys.executable, code]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert "EOFError: cs.io.prompt('who? ') has nobody to ask" in done.stderr


def test_a_display_gives_way_to_a_question_and_comes_back() -> None:
    need("rich")
    from rich.console import Console

    from cascade.app.live import Live
    from cascade.app.standing import Report
    from cascade.runtime.inspect.progress import RunProgress

    out = io.StringIO()
    live = Live(Console(file=out, force_terminal=True, width=80))
    report = Report("flow", 1.0, RunProgress(0, 1, {}, [], []), {}, [])
    live.show(report)
    assert "flow" in out.getvalue()
    with terminal.alone():
        out.truncate(out.seek(0))
        live.show(report)
        assert out.getvalue() == ""
    live.show(report)
    assert "flow" in out.getvalue()
    live.stop()
    assert terminal.drawn == []
