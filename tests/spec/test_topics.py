"""Topics and patterns, and pauses and limits as messages."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade as cs
from cascade.spec.constraints import Change, clears, message_for, read, topic_for
from cascade.spec.limits import burst_from, concurrency_from, rate_from
from cascade.spec.topics import fits, is_empty, pattern_from, quality_from, topic_from


@pytest.mark.parametrize(
    ("pattern", "topic", "is_fit"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/B", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/+/c", "a//c", True),
        ("+", "a", True),
        ("+", "/a", False),
        ("+/+", "/a", True),
        ("#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("a/+/#", "a", False),
        ("a/+/#", "a/b", True),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
    ],
)
def test_a_pattern_is_for_topics_as_mqtt_has_it(pattern: str, topic: str, is_fit: bool) -> None:
    assert fits(pattern_from(pattern), topic_from(topic)) is is_fit


@pytest.mark.parametrize("pattern", ["", None, 1, "a\0b", "a+", "a/b+/c", "#/a", "a/#b", "x" * 65_536])
def test_what_is_no_pattern_is_refused(pattern: Any) -> None:
    with pytest.raises(ValueError, match=r"listened to|wildcard"):
        pattern_from(pattern)


@pytest.mark.parametrize("topic", ["", None, "a/+", "a/#", "#"])
def test_what_is_no_topic_is_refused(topic: Any) -> None:
    with pytest.raises(ValueError, match="topic"):
        topic_from(topic)


@pytest.mark.parametrize("qos", [-1, 3, True, "1", None])
def test_what_is_no_quality_is_refused(qos: Any) -> None:
    with pytest.raises(ValueError, match="qos is 0"):
        quality_from(qos)


def test_some_messages_say_nothing() -> None:
    nothing: list[Any] = [None, "", b"", {}]
    something: list[Any] = [0, False, [], (), 0.0, "x", {"a": None}]
    assert all(map(is_empty, nothing))
    assert not any(map(is_empty, something))


NOW = 1_000.0


def test_each_kind_has_its_topic_and_slashes_and_wildcards_are_quoted() -> None:
    assert topic_for("global", "pause") == "cascade/constraints/global/pause"
    assert topic_for("task:fetch*", "rate") == "cascade/constraints/task/fetch*/rate_limit"
    assert topic_for("task:a/b+c#d%e:f") == "cascade/constraints/task/a%2Fb%2Bc%23d%25e:f"
    with pytest.raises(cs.ConstraintError, match='"task:fetch"'):
        topic_for("fetch")


@pytest.mark.parametrize(
    ("args", "change"),
    [
        (("global", "pause"), Change("global", "pause", 0.0, None, None)),
        (("task:a/+", "concurrency", 3), Change("task:a/+", "concurrency", 3, None, None)),
        (("task:a", "rate", "30/m"), Change("task:a", "rate", 0.5, None, None)),
        (("task:a", "rate", 5, 1, NOW + 60), Change("task:a", "rate", 5.0, 1, 60.0)),
    ],
)
def test_what_is_sent_is_what_is_read(args: Any, change: Change) -> None:
    message = message_for(*args)
    assert set(message) == {"id", "scope", "type", "params", "expires_at"}
    for sent in (message, json.dumps(message), json.dumps(message).encode()):
        for topic in (topic_for(*args[:2]), topic_for(args[0]), "cascade/constraints/#"):
            assert read(topic, sent, NOW) == change


def test_one_that_has_expired_takes_the_limit_away() -> None:
    change = read(topic_for("global"), message_for("global", "pause", until=NOW), NOW)
    assert change is not None
    assert change.value is None


def test_the_older_spelling_of_a_topic_is_read() -> None:
    message = message_for("task:a:b/c", "pause")
    assert read("cascade/constraints/task/a/b/c", message, NOW) is not None
    assert clears("cascade/constraints/task/a/b/c", [("task:a:b/c", "pause"), ("task:a", "pause")]) == [
        ("task:a:b/c", "pause")
    ]


def test_an_empty_message_clears_one_kind_or_all() -> None:
    standing: Any = [("global", "pause"), ("global", "rate"), ("task:pause", "pause"), ("task:pause", "rate")]
    assert read(topic_for("global"), {}, NOW) is None
    assert read(topic_for("global"), b"", NOW) is None
    assert read(topic_for("global"), "{}", NOW) is None
    assert clears(topic_for("global"), standing) == standing[:2]
    assert clears(topic_for("global", "rate"), standing) == standing[1:2]
    assert clears(topic_for("task:pause"), standing) == standing[2:]
    assert clears(topic_for("task:pause", "pause"), standing) == standing[2:3]


BAD: list[tuple[Any, str]] = [
    ("{", "no JSON"),
    ("[" * 100_000, "no JSON"),
    (b"\xff", "no JSON"),
    ([1], "no JSON object"),
    (7, "no JSON object"),
    ({"scope": "global"}, "no type"),
    ({"id": 1}, "no scope and no type"),
    ({"scope": "global", "type": "stop"}, "its type is one of pause"),
    ({"scope": "global", "type": []}, "its type is one of pause"),
    ({"scope": "world", "type": "pause"}, "scope of a limit"),
    ({"scope": "task:" + "x" * 2000, "type": "pause"}, "at most 1,000 letters"),
    ({"scope": "task:other", "type": "pause"}, "another topic"),
    ({"scope": "global", "type": "concurrency"}, "concurrency is a whole number"),
    ({"scope": "global", "type": "concurrency", "params": [1]}, "params are a JSON object"),
    ({"scope": "global", "type": "concurrency", "params": {"limit": 10**400}}, "at most"),
    ({"scope": "global", "type": "rate_limit", "params": {"rate": "fast"}}, "does not parse"),
    ({"scope": "global", "type": "rate_limit", "params": {"rate": 5, "capacity": 0}}, "burst is a whole number"),
    ({"scope": "global", "type": "rate_limit", "params": {"rate": float("nan")}}, "above zero"),
    ({"scope": "global", "type": "pause", "expires_at": "soon"}, "expires_at"),
    ({"scope": "global", "type": "pause", "expires_at": float("inf")}, "expires_at"),
]


@pytest.mark.parametrize(("message", "why"), BAD, ids=[why for _, why in BAD])
def test_what_makes_no_sense_says_why(message: Any, why: str) -> None:
    with pytest.raises(cs.ConstraintError, match=why):
        read("cascade/constraints/global", message, NOW)


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["scope", "type", "params", "limit", "rate"]), inner)
    ),
)


@given(TREES, st.text(min_size=1))
def test_whatever_comes_is_read_or_refused(message: Any, topic: str) -> None:
    with suppress(cs.ConstraintError):
        read(topic, message, time.time())


@pytest.mark.parametrize("check", [concurrency_from, lambda count: burst_from(count, 1), rate_from])
def test_what_arithmetic_cannot_do_is_refused(check: Any) -> None:
    for count in (10**16, 10**400):
        with pytest.raises(cs.ConstraintError):
            check(count)


@pytest.mark.parametrize("rate", [5e-324, 1e-300, 1e300])
def test_so_are_rates_of_which_no_times_come(rate: float) -> None:
    with pytest.raises(cs.ConstraintError, match="calls a second"):
        rate_from(rate)
