"""What a request over HTTP carries: its one body, and files read from where they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

from cascade.spec.signal import UNSET

__all__ = ["Files", "content_of", "parts_of"]

Part: TypeAlias = (
    "bytes | str | PathLike[str] | tuple[str, bytes | str | PathLike[str]]"
    " | tuple[str, bytes | str | PathLike[str], str]"
)
Files: TypeAlias = "Mapping[str, Part | Sequence[Part]]"


async def parts_of(place: str, parts: dict[str, Any]) -> dict[str, Any]:
    """Return what httpx is given; files are read now, so that a retry sends them anew.

    Raises:
        ValueError: there is more than one body, and all but one would be lost.
        TypeError: a file is neither a path nor bytes.
        OSError: a file cannot be read.
    """
    given = {name: value for name, value in parts.items() if value is not None and value is not UNSET}
    if parts.get("json", UNSET) is None:
        given["json"] = None
    bodies = [name for name in ("json", "content", "data", "files") if name in given]
    if len(bodies) > 1 and bodies != ["data", "files"]:
        raise ValueError(
            f"{place}: a request has one body, and this has {' and '.join(bodies)}; data and files go together"
        )
    if "files" in given:
        given["files"] = [
            (field, await _file(place, field, part))
            for field, value in _items(place, given["files"])
            for part in (value if isinstance(value, list) else [value])
        ]
    if "json" in given and given["json"] is None:  # httpx takes it for none
        del given["json"]
        headers = {} if given.get("headers") is None else dict(given["headers"])
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
        given.update(content=b"null", headers=headers)
    return given


def _items(place: str, files: Any) -> Any:
    if isinstance(files, Mapping):
        return files.items()
    raise TypeError(f'{place}: files are a dict by field, such as {{"file": "report.pdf"}}, not {files!r}')


async def _file(place: str, field: str, part: Any) -> tuple[Any, ...]:
    import asyncio

    name, what, *kind = part if isinstance(part, tuple) and len(part) in (2, 3) else (None, part)
    if isinstance(what, (str, PathLike)):
        return name or os.path.basename(os.fspath(what)), await asyncio.to_thread(content_of, what), *kind
    if isinstance(what, (bytes, bytearray, memoryview)):
        return name or field, bytes(what), *kind
    raise TypeError(
        f"{place}: the file of {field!r} is a path, bytes or a tuple (name, path or bytes, type), "
        f"not {type(what).__name__}"
    )


def content_of(path: str | PathLike[str]) -> bytes:
    """Return what a file holds."""
    with open(path, "rb") as file:
        return file.read()
