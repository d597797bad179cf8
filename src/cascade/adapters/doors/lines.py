"""What is said at doors: JSON, one object a line, and nothing that is not JSON."""

from __future__ import annotations

import json
from typing import Any

from cascade.errors import ConnectorError

__all__ = ["LONGEST", "VERSION", "line_from", "object_from", "split"]

VERSION = 1
LONGEST = 1 << 20
"""Bytes of a line."""


def line_from(said: dict[str, Any]) -> bytes:
    """Return an object as a line.

    Raises:
        ConnectorError: it has what JSON has not.
    """
    try:
        return json.dumps(said, separators=(",", ":")).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ConnectorError(f"what is said at a door is JSON, which this is not: {error}") from None


def object_from(line: bytes) -> dict[str, Any]:
    """Return what a line says.

    Raises:
        ConnectorError: it is no JSON object, or of a version that is not spoken here.
    """
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise ConnectorError("a line that is no JSON came by a door") from None
    if not isinstance(said, dict):
        raise ConnectorError("a line that is no JSON object came by a door")
    if said.get("v") != VERSION:
        version = repr(said.get("v"))[:20]
        raise ConnectorError(f"version {VERSION} is spoken here, not {version}; both ends need the same Cascade")
    return said


def split(buffer: bytearray) -> bytes | None:
    """Take the first whole line out of a buffer; None: there is none yet.

    Raises:
        ConnectorError: it is too long.
    """
    at = buffer.find(b"\n")
    if at > LONGEST or (at < 0 and len(buffer) > LONGEST):
        raise ConnectorError(f"a line at a door has at most {LONGEST:,} bytes")
    if at < 0:
        return None
    line = bytes(buffer[:at])
    del buffer[: at + 1]
    return line
