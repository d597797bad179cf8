"""Engines that show their page while a test looks at it: each on an event loop of its own, in a thread."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from cascade.runtime import Engine, Run

__all__ = ["Showing", "asked"]

T = TypeVar("T")


class Showing:
    """An engine that goes on, with its page at `url`; a context."""

    def __init__(self, port: int = 0, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="showing")
        self._thread.start()
        self.engine: Engine = self.call(self._made(options))
        self.url: str = self.call(self.engine.ui(port))
        self.address, _, self.token = self.url.partition("#token=")

    async def _made(self, options: dict[str, Any]) -> Engine:
        return Engine(**options)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry something out on the engine's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def start(self, target: Any, *args: Any, **options: Any) -> Run[Any]:
        """Start a run."""

        async def begin() -> Run[Any]:
            return self.engine.start(target, *args, **options)

        return self.call(begin())

    def end_of(self, run: Run[Any]) -> Any:
        """Wait for a run, and return its value or its error."""

        async def wait() -> Any:
            try:
                return await run
            except BaseException as error:
                return error

        return self.call(wait())

    def close(self) -> None:
        """End the engine and its page."""

        async def end() -> None:
            for run in [*self.engine._active]:
                self.engine.cancel(run)
            await self.engine.aclose()

        try:
            self.call(end())
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(10)
            self.loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def asked(address: str, path: str, said: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Ask a server as a program would: POST if something is said; give the status, what was answered, the headers."""
    data = None if said is None else json.dumps(said).encode()
    given = {"content-type": "application/json"} if data is not None else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(address + path, data=data, headers=given)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            status, body, got = answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        status, body, got = error.code, error.read(), error.headers
    told: Any = body.decode("utf-8", "replace")
    if "json" in got.get("content-type", ""):
        told = json.loads(told)
    return status, told, {name.lower(): value for name, value in got.items()}
