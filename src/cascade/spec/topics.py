"""The names of messages: levels between slashes. A pattern has `+` for one level and `#` for all that follow.

Source: MQTT 3.1.1, section 4.7.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Message", "fits", "is_empty", "pattern_from", "quality_from", "topic_from"]

LONGEST = 65_535
"""Bytes of a topic, as MQTT has it."""


class Message(NamedTuple):
    """One message with its topic."""

    topic: str
    """What the message was published on, also where a pattern was listened to."""
    value: Any
    retained: bool = False
    """Whether it was published before anybody listened."""


def fits(pattern: str, topic: str) -> bool:
    """Say whether a topic is one of those that a pattern is for; what begins with `$` needs it written."""
    if pattern == topic:
        return True
    if topic.startswith("$") and pattern[:1] in ("+", "#"):
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at == len(levels) or level not in ("+", levels[at]):
            return wanted[at:] == ["#"]
    return len(wanted) == len(levels)


def has_wildcards(pattern: str) -> bool:
    """Say whether a pattern may be for several topics."""
    return "+" in pattern or "#" in pattern


def topic_from(topic: Any) -> str:
    """Return the topic of a message, if it is one.

    Raises:
        ValueError: it is no text, is empty or too long, or has a wildcard.
    """
    _check(topic, "a topic")
    if has_wildcards(topic):
        raise ValueError(f"a message has one topic, and {topic!r} has a wildcard (+ or #), which is for listening")
    return str(topic)


def pattern_from(pattern: Any) -> str:
    """Return what is listened to, if it is a topic or a pattern.

    Raises:
        ValueError: it is no text, is empty or too long, or has a wildcard where none may be.
    """
    _check(pattern, "what is listened to")
    levels = pattern.split("/")
    for at, level in enumerate(levels):
        if (has_wildcards(level) and len(level) > 1) or (level == "#" and at < len(levels) - 1):
            raise ValueError(
                f"in {pattern!r} a wildcard is in the wrong place: + is one whole level (cell/+/state), "
                "# stands at the end alone (cell/#)"
            )
    return str(pattern)


def _check(name: Any, what: str) -> None:
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"{what} is a text that is not empty, such as orders/new, not {name!r}")
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST:
        raise ValueError(f"{what} has at most {LONGEST:,} bytes, and {name[:20]!r}... has more")


def quality_from(qos: Any) -> int:
    """Return a quality of service: 0 at most once, 1 at least once, 2 exactly once.

    Raises:
        ValueError: it is none.
    """
    if isinstance(qos, bool) or qos not in (0, 1, 2):
        raise ValueError(f"qos is 0 (at most once), 1 (at least once) or 2 (exactly once), not {qos!r}")
    return int(qos)


def is_empty(value: Any) -> bool:
    """Say whether a message says nothing: None, an empty text, empty bytes or an empty dict. Retained, it clears."""
    return value is None or (isinstance(value, (str, bytes, dict)) and not value)
