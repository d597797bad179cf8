"""What is masked and spelled out in text that is shown, and what is left alone."""

import pytest

import cascade as cs
from cascade.spec.shown import indented, one_line, without_passwords
from tests.workflows import run


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:s3cret@host/", "http://me:***@host/"),
        ("redis://:s3cret@host", "redis://:***@host"),
        ("postgresql+psycopg://me:s3/c:re?t@host/db", "postgresql+psycopg://me:***@host/db"),
        ("http://me:s3@cr@et@host:80/a@b", "http://me:***@host:80/a@b"),
        ("http://me:123@host", "http://me:***@host"),
        ("'http://me:a@b' and amqp://me:c@d, x", "'http://me:***@b' and amqp://me:***@d, x"),
        ("http://me:s3'cr\"et@host", "http://me:***@host"),
        ("https://ghp_1aB2@host/a.git", "https://***@host/a.git"),
    ],
)
def test_passwords_of_urls(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:8080/@scope/a@1",
        "http://host:80?to=a@b",
        "http://host:80#a@b",
        "http://[::1]:80/a@b",
        "postgresql://me@host:80/x:y@z",
        '{"url": "http://host:80","by":"a@b"}',
        "see http://host: or ask a@b",
        "no url: a:b@c",
    ],
)
def test_what_is_no_password(text: str) -> None:
    assert without_passwords(text) == text


def test_control_characters() -> None:
    assert one_line("a\r\n\x1b[31m\x9b\u2028 é 日 \\n") == "a\\r\\n\\x1b[31m\\x9b\\u2028 é 日 \\n"
    assert indented("a\n\tb\x1b", 2) == "a\n  \tb\\x1b"


def test_passwords_in_what_is_said_of_parameters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql://me:s3cret@host/db"
    show = cs.task(lambda db: db)
    number, default, other = cs.Param("db", type=int), cs.Param("db", default=url), cs.Param("db", default="x")
    for target, params in ((show(number), {"db": url}), ([show(default), show(other)], {})):
        with pytest.raises(cs.ParameterError) as caught:
            run(target, params)
        told = repr(caught.value) + repr(caught.value.__cause__)
        assert "s3cret" not in told
        assert "me:***@host" in told
    assert "s3cret" not in cs.to_lisp(show(default)) + str(cs.dry_run(show(default)))
    pytest.importorskip("typer")
    monkeypatch.setattr("sys.argv", ["flow.py", "--help"])
    with pytest.raises(SystemExit):
        cs.cli(show(default))
    out = capsys.readouterr().out
    assert "me:***@host" in out
    assert "s3cret" not in out
    assert run(show(default)) == url
