"""Files of IPFS, through the HTTP API of a Kubo daemon: `cs.ipfs.cat(cid)`, `cs.ipfs.add(data)`."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from os import PathLike
from typing import TYPE_CHECKING, Any

from cascade.providers.http import HttpResponse, http_client, send
from cascade.spec.resource import inject
from cascade.spec.shown import without_passwords
from cascade.spec.task import task

if TYPE_CHECKING:
    import httpx

__all__ = ["add", "cat"]

DAEMON = "http://127.0.0.1:5001"


@task(name="ipfs.cat")
async def cat(
    cid: str, *, api: str | None = None, timeout: float | None = 60.0, client: httpx.AsyncClient = inject(http_client)
) -> bytes:
    """Return what a file of IPFS holds.

    Args:
        cid: its content id, or a path such as `/ipfs/<cid>/name`.
        api: where the daemon answers; by default the environment variable IPFS_API, else `http://127.0.0.1:5001`.
        timeout: seconds for all of it; None: as long as it takes.
        client: an `httpx.AsyncClient`; by default that of the run.

    Raises:
        ValueError: no content id; the daemon refuses it.
        ConnectionError: the daemon cannot be reached, or broke off.
        TimeoutError: its time was up, as for content that nobody has.
    """
    if not isinstance(cid, str) or not cid.strip("/ "):
        raise ValueError(f"cs.ipfs.cat takes a content id, not {cid!r}")
    answer = await _ask(client, api, "cat", timeout, params={"arg": cid})
    return answer.body


@task(name="ipfs.add")
async def add(
    data: bytes | str | PathLike[str],
    *,
    api: str | None = None,
    timeout: float | None = 60.0,
    client: httpx.AsyncClient = inject(http_client),
) -> str:
    """Add a file to IPFS, pin it and return its content id.

    Args:
        data: a path (str or `pathlib.Path`), which means the file that it names; bytes are content as it is.
        api: where the daemon answers; as for `cat`.
        timeout: seconds for all of it.
        client: as for `cat`.

    Raises:
        TypeError: neither bytes nor a path; otherwise the errors of `cat`, and OSError for a path.
    """
    if not isinstance(data, (bytes, bytearray, memoryview, str, PathLike)):
        raise TypeError(f"cs.ipfs.add takes bytes or a path, not {type(data).__name__}")
    answer = await _ask(client, api, "add", timeout, files={"file": data})
    lines = answer.text().strip().splitlines()
    try:
        return str(json.loads(lines[-1])["Hash"])
    except (IndexError, ValueError, KeyError, TypeError):
        raise ConnectionError(
            f"{without_passwords(answer.url)} answered what is no content id: {answer.text()[:200]!r}"
        ) from None


async def _ask(
    client: httpx.AsyncClient, api: str | None, what: str, timeout: float | None, **parts: Any
) -> HttpResponse:
    base = (api or os.environ.get("IPFS_API") or DAEMON).rstrip("/")
    answer = await send(client, "POST", f"{base}/api/v0/{what}", timeout, False, **parts)
    if answer.ok:
        return answer
    base = without_passwords(base)
    said = answer.text()[:300]
    with suppress(ValueError, KeyError, TypeError):
        said = answer.json()["Message"]
    if answer.status == 500:  # Kubo's way to refuse what it was asked
        raise ValueError(f"the IPFS daemon at {base} refuses to {what}: {said}")
    raise ConnectionError(f"the IPFS daemon at {base} answered {answer.status} to {what}: {said}")
