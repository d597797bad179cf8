"""Standard streams of every kind: missing, closed, without what terminals have, or lacking letters."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.app.live import Live

named: Any = cs.task(name="one")
one = named(lambda: 41)


class Window:
    """A writer as programs with windows have it."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


class Odd(io.StringIO):
    def isatty(self) -> bool:
        raise OSError("no terminal, no file")


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def written(encoding: str, kind: Any = io.TextIOWrapper) -> Any:
    return kind(io.BytesIO(), encoding=encoding, newline="")


@pytest.mark.parametrize("form", ["human", "json"])
@pytest.mark.parametrize(
    "stream", [None, closed(), Window(), Odd(), written("ascii")], ids=lambda each: str(type(each))
)
def test_a_run_needs_no_stderr(stream: Any, form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert cs.run(one().named("日"), log_level="DEBUG", log_format=form) == 41
    if isinstance(stream, Window):
        assert "run succeeded" in stream.text or "RunFinished" in stream.text


def test_what_stderr_cannot_spell_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written("cp1252")
    monkeypatch.setattr(sys, "stderr", stream)
    cs.run(one().named("é日\udc80"))
    assert "run of \\xe9" not in repr(stream.buffer.getvalue().decode("cp1252"))
    assert b"run of \xe9\\u65e5\\udc80 started" in stream.buffer.getvalue()


@pytest.mark.parametrize(("encoding", "is_live"), [("utf-8", True), ("cp1252", False), ("ascii", False)])
def test_a_terminal_is_drawn_on_if_it_can_spell_that(
    encoding: str, is_live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    from cascade.app.progress import Lines, display_for

    monkeypatch.setattr(sys, "stderr", written(encoding, Terminal))
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(display_for(lambda report: None, True), Lines) is not is_live


def test_a_live_display_needs_no_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    Live().stop()


FLOW = """
import cascade as cs

one = cs.task(lambda: "é日─\\udc80", name="one")
two = cs.task(lambda x: x, name="two")
flow = two(one())
"""


class TestTheCommand:
    def cascade(self, monkeypatch: pytest.MonkeyPatch, encoding: str, *arguments: str) -> str:
        """Run the command in this process with a stdout of an encoding; return what it writes, read as that."""
        from cascade.command.entry import main

        out = written(encoding)
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", written(encoding))
        monkeypatch.setattr(sys, "argv", ["cascade", *arguments])
        with pytest.raises(SystemExit) as exit:
            main()
        assert not exit.value.code
        text: str = out.buffer.getvalue().decode(encoding)
        return text

    @pytest.fixture
    def flow(self, tmp_path: Path) -> str:
        pytest.importorskip("typer")
        path = tmp_path / "spelled.py"
        path.write_text(FLOW, encoding="utf-8")
        return str(path)

    @pytest.mark.parametrize(
        ("encoding", "value"),
        [
            ("utf-8", "é日─\\udc80"),
            ("cp1252", "é\\u65e5-\\udc80"),
            ("cp936", "é日─\\udc80"),
            ("ascii", "\\xe9\\u65e5-\\udc80"),
        ],
    )
    def test_it_spells_values_and_drawings_as_well_as_it_can(
        self, encoding: str, value: str, flow: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.cascade(monkeypatch, encoding, "run", flow) == f"{value}\n"
        drawn = self.cascade(monkeypatch, encoding, "show", flow).splitlines()
        assert len({len(line) for line in drawn if line.strip().endswith(("+", "|", "│", "╮", "╯"))}) == 1
        assert ("+-----+" in drawn) is (encoding in ("cp1252", "ascii"))
        for command in ("check", "explain", "dry-run"):
            assert self.cascade(monkeypatch, encoding, command, flow)
        monkeypatch.setattr("cascade.app.words.language", lambda: 1)
        assert self.cascade(monkeypatch, encoding, "run", "--help", flow)

    def test_it_needs_neither_stderr_nor_stdout(self, flow: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from cascade.command.entry import main

        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, None)
        monkeypatch.setattr(sys, "argv", ["cascade", "run", flow])
        with pytest.raises(SystemExit) as exit:
            main()
        assert not exit.value.code
