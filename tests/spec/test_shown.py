"""What is masked and spelled out in text that is shown, and what is left alone."""

import pytest

from cascade.spec.shown import indented, one_line, without_passwords


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
        "http://me@host:80/x:y@z",
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
