"""Futures that a thread resolves for the event loops that wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

__all__ = ["tell"]


def tell(futures: Iterable[asyncio.Future[Any]], value: Any, error: BaseException | None) -> None:
    """Resolve futures: those of the event loop of this thread at once, all of another one by one message to it."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[Any]]] = {}
    for future in futures:
        loops.setdefault(future.get_loop(), []).append(future)
    own = asyncio._get_running_loop()
    for loop, waiting in loops.items():
        if loop is own:
            _resolve(waiting, value, error)
            continue
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, waiting, value, error)


def _resolve(futures: list[asyncio.Future[Any]], value: Any, error: BaseException | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
