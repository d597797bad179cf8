"""What engines are asked by messages, and what they answer: as at their doors, by topics of a broker.

Who asks publishes on `cascade/ask` and listens to `cascade/answers/{asker}`, where each engine that is meant answers:

    {"asker": "6f2d...", "do": "status"}
    {"asker": "6f2d...", "do": "cancel", "engine": "host-4711-a3", "run": "run-1"}
    {"engine": "host-4711-a3", "ok": true, "value": {"runs": 1}}
    {"engine": "host-4711-a3", "ok": false, "error": "no run 'run-1' is going on in this engine; ..."}

Nothing of a message is evaluated; one that makes no sense is a ConnectorError.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from cascade.errors import ConnectorError

__all__ = ["ANSWERS", "ASK", "Question", "read_question"]

ASK = "cascade/ask"
ANSWERS = "cascade/answers"
ASKED = ("status", "cancel", "signal")
"""What an engine may be asked for; pauses and limits are messages of their own, which stay."""
MOST_SHOWN = 100


class Question(NamedTuple):
    """What somebody asks for."""

    asker: str
    """Ends the topic of the answer."""
    engine: str | None
    """Who is meant; None: all that hear it."""
    request: dict[str, Any]


def read_question(message: Any) -> Question:
    """Return what a message asks for.

    Args:
        message: a dict, or JSON as text or bytes.

    Raises:
        ConnectorError: it makes no sense; the message says why.
    """
    try:
        body = json.loads(message) if isinstance(message, (str, bytes)) else message
    except (ValueError, RecursionError):
        raise ConnectorError(f"it is no JSON: {_shown(message)}") from None
    if not isinstance(body, dict):
        raise ConnectorError(f"it is no JSON object: {_shown(body)}")
    asker, engine = body.get("asker"), body.get("engine")
    if not isinstance(asker, str) or not asker.isascii() or not asker.isalnum() or len(asker) > 64:
        raise ConnectorError(f"its asker is 1 to 64 letters and digits, not {_shown(asker)}")
    if body.get("do") not in ASKED:
        raise ConnectorError(f"an engine is asked for {', '.join(ASKED)}, not {_shown(body.get('do'))}")
    return Question(asker, engine if isinstance(engine, str) else None, body)


def _shown(value: Any) -> str:
    return repr(value)[:MOST_SHOWN]
