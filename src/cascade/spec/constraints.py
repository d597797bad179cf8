"""Pauses and limits as messages: what is published to have running engines hold back, and how one is read.

The topic is `cascade/constraints/{scope}/{type}`, with the colon of the scope as a slash:
`cascade/constraints/global/pause`, `cascade/constraints/task/fetch*/rate_limit`. Retained, it holds for engines that
start later, too; as there is one topic for each type, a limit does not push out a pause. Messages of all types are read
from `cascade/constraints/{scope}` as well.

    {"id": ..., "scope": "task:fetch*", "type": "pause", "params": {}, "expires_at": 1767225600.0}
    {"id": ..., "scope": "task:fetch*", "type": "concurrency", "params": {"limit": 4}, "expires_at": null}
    {"id": ..., "scope": "task:fetch*", "type": "rate_limit", "params": {"rate": "10/m", "capacity": 1}}

Nothing of a message is evaluated; one that makes no sense is a ConstraintError.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from cascade.errors import ConstraintError
from cascade.spec.limits import LARGEST, Kind, burst_from, concurrency_from, rate_from, scope_from
from cascade.spec.topics import is_empty

__all__ = ["ALL", "ROOT", "Change", "clears", "message_for", "read", "topic_for"]

ROOT = "cascade/constraints"
ALL = f"{ROOT}/#"
"""What an engine listens to."""
TYPES: dict[str, Kind] = {"pause": "pause", "concurrency": "concurrency", "rate_limit": "rate"}
KINDS: dict[Kind, str] = {kind: type for type, kind in TYPES.items()}
MOST_SHOWN = 100
_QUOTED = str.maketrans({each: f"%{ord(each):02X}" for each in "%/+#\0"})


class Change(NamedTuple):
    """What a message asks for: that a limit stands, or, with a value of None, that it does not."""

    scope: str
    kind: Kind
    value: float | None
    burst: int | None
    ttl: float | None
    """Seconds from now; None: it stays."""


def topic_for(scope: str, kind: Kind | None = None) -> str:
    """Return the topic of one kind of limit of a scope; without a kind, the one for all of them.

    Raises:
        ConstraintError: the scope is none.
    """
    start, colon, pattern = scope_from(scope).partition(":")
    levels = [ROOT, start, *([pattern.translate(_QUOTED)] if colon else []), *([] if kind is None else [KINDS[kind]])]
    return "/".join(levels)


def message_for(
    scope: str, kind: Kind, value: str | float | None = None, burst: int | None = None, until: float | None = None
) -> dict[str, Any]:
    """Return the message that has a limit stand.

    Args:
        value: calls at once, or a rate (a text or a number a second); none for a pause.
        until: seconds since the epoch; None: it stays.

    Raises:
        ConstraintError: what `engine.pause` and `engine.set_limit` would refuse.
    """
    params: dict[str, Any] = {}
    if kind == "concurrency":
        params = {"limit": concurrency_from(value)}
    elif kind == "rate":
        rate_from(value)
        most = burst_from(burst, value)
        params = {"rate": value, **({} if most is None else {"capacity": most})}
    type_ = KINDS[kind]
    return {"id": f"{type_}:{scope_from(scope)}", "scope": scope, "type": type_, "params": params, "expires_at": until}


def read(topic: str, message: Any, now: float) -> Change | None:
    """Return what a message asks for; None: it is empty, and `clears` says what that takes away.

    Args:
        topic: what it came by; a pattern if that is not known.
        message: a dict, or JSON as text or bytes.
        now: seconds since the epoch.

    Raises:
        ConstraintError: it makes no sense; the message says why.
    """
    try:
        body = json.loads(message) if isinstance(message, (str, bytes)) and message else message
    except (ValueError, RecursionError):
        raise ConstraintError(f"it is no JSON: {_shown(message)}") from None
    if is_empty(body):
        return None
    if not isinstance(body, dict):
        raise ConstraintError(f"it is no JSON object: {_shown(message)}")
    missing = [name for name in ("scope", "type") if name not in body]
    if missing:
        raise ConstraintError(f"it has no {' and no '.join(missing)}: {_shown(message)}")
    kind = TYPES.get(body["type"]) if isinstance(body["type"], str) else None
    if kind is None:
        raise ConstraintError(f"its type is one of {', '.join(TYPES)}, not {_shown(body['type'])}")
    scope = scope_from(body["scope"])
    if not topic.endswith("#") and topic not in _topics(scope, kind):
        raise ConstraintError(f"its scope is {_shown(scope)}, which has another topic: {topic_for(scope, kind)}")
    value, burst = _value_of(kind, {} if body.get("params") is None else body["params"])
    until = body.get("expires_at")
    if until is None:
        return Change(scope, kind, value, burst, None)
    if isinstance(until, bool) or not isinstance(until, (int, float)) or not -LARGEST <= until <= LARGEST:
        raise ConstraintError(f"its expires_at is a number of seconds since the epoch or null, not {_shown(until)}")
    return Change(scope, kind, value if until > now else None, burst, max(until - now, 1e-9))


def _value_of(kind: Kind, params: Any) -> tuple[float, int | None]:
    if not isinstance(params, dict):
        raise ConstraintError(f"its params are a JSON object, not {_shown(params)}")
    if kind == "pause":
        return 0.0, None
    if kind == "concurrency":
        return concurrency_from(params.get("limit")), None
    rate = params.get("rate")
    return rate_from(rate), burst_from(params.get("capacity"), rate)


def clears(topic: str, standing: Iterable[tuple[str, Kind]]) -> list[tuple[str, Kind]]:
    """Return which limits of those that stand an empty message takes away: that of its topic, or all of its scope."""
    return [(scope, kind) for scope, kind in standing if topic in _topics(scope, kind)]


def _topics(scope: str, kind: Kind) -> tuple[str, ...]:
    """Return the topics on which a limit is spoken of, also as programs spell them that quote nothing."""
    plain = f"{ROOT}/{scope.replace(':', '/')}"
    return topic_for(scope, kind), topic_for(scope), plain, f"{plain}/{KINDS[kind]}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."
