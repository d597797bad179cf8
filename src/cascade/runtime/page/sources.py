"""Who answers what the page asks: engines that are going on, here or in other processes, and a store for what was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from cascade.adapters.doors.client import Asker, doors
from cascade.errors import ConnectorError, StateError
from cascade.runtime.steering.door import Answer, answered

if TYPE_CHECKING:
    from cascade.runtime.page.history import History

__all__ = ["Engines", "OtherEngines", "OwnEngine", "Sources"]

STORE = "store"
"""What the store is called beside the names of engines."""
ASKED = ("status", "seen", "pause", "resume", "set_limit", "clear_limit", "cancel", "signal")
"""What the page may ask an engine for."""
PATIENCE = 4.0
"""Seconds that an engine of this process may take to answer."""
AT_ONCE = 200
"""So many runs of a list are given at once."""
ENDED = ("Succeeded", "Failed", "Cancelled")


class Engines(Protocol):
    """Engines that are going on."""

    async def names(self) -> list[str]:
        """Return what they are called."""
        ...

    async def ask(self, engine: str, do: str, args: dict[str, Any]) -> Any:
        """Ask one of them.

        Raises:
            CascadeError: it refuses, or there is none of that name.
        """
        ...

    def close(self) -> None:
        """Let go of them."""
        ...


class OwnEngine:
    """The engine that shows the page itself, asked without a socket."""

    def __init__(self, answer: Answer, name: str) -> None:
        """Keep who answers its requests, on this thread or later."""
        self._answer = answer
        self._name = name

    async def names(self) -> list[str]:
        """Return the name of the engine."""
        return [self._name]

    async def ask(self, engine: str, do: str, args: dict[str, Any]) -> Any:
        """Ask the engine, on this thread."""
        return await answered(self._answer, {**args, "do": do}, PATIENCE)

    def close(self) -> None:
        """Nothing is to be let go of."""


class OtherEngines:
    """The engines of this user's processes, asked at their doors."""

    def __init__(self) -> None:
        self._askers: dict[str, tuple[Asker, threading.Lock]] = {}

    async def names(self) -> list[str]:
        """Return the names of those whose doors are open."""
        return await asyncio.to_thread(self._names)

    def _names(self) -> list[str]:
        found = {path.rpartition("/")[2].rpartition("\\")[2].partition(".")[0]: path for path in doors()}
        for name in [name for name in self._askers if name not in found]:
            self._drop(name)
        for name, path in found.items():
            if name not in self._askers:
                with suppress(ConnectorError, OSError):  # it has just ended
                    self._askers[name] = Asker(path), threading.Lock()
        return [name for name in found if name in self._askers]

    async def ask(self, engine: str, do: str, args: dict[str, Any]) -> Any:
        """Ask one at its door."""
        return await asyncio.to_thread(self._ask, engine, do, args)

    def _ask(self, engine: str, do: str, args: dict[str, Any]) -> Any:
        known = self._askers.get(engine)
        if known is None and engine in self._names():
            known = self._askers.get(engine)
        if known is None:
            raise ConnectorError(f"no engine {engine!r} is going on")
        asker, lock = known
        try:
            with lock:
                return asker.ask(do, **args)
        except ConnectorError as error:
            if "closed its door" in str(error) or "does not answer" in str(error):
                self._drop(engine)
            raise

    def _drop(self, name: str) -> None:
        known = self._askers.pop(name, None)
        if known is not None:
            known[0].close()

    def close(self) -> None:
        """Leave all doors."""
        for name in [*self._askers]:
            self._drop(name)


class Sources:
    """All that the page asks goes through here."""

    def __init__(self, engines: Engines, history: History | None = None) -> None:
        self.engines = engines
        self.history = history

    async def ask(self, request: dict[str, Any]) -> Any:
        """Return what a request asks for.

        Raises:
            CascadeError: it is refused; the message says why.
        """
        do, engine = request.get("do"), request.get("engine")
        args = {name: value for name, value in request.items() if name not in ("do", "engine")}
        if do == "runs":
            return await self._runs(args)
        if do == "engines":
            return {"engines": await self._standing()}
        if do not in ASKED or not isinstance(engine, str):
            raise ConnectorError(f"the page cannot ask for {repr(do)[:40]}")
        if engine != STORE:
            return await self.engines.ask(engine, do, args)
        if self.history is None:
            raise StateError("there is no store here; --state URL names one")
        if do == "seen":
            return await asyncio.to_thread(self.history.tell, args)
        if do == "signal":
            return await asyncio.to_thread(self.history.send, args)
        raise StateError("a run of the store is not going on here: it can only be looked at, or sent a signal")

    async def _standing(self) -> list[dict[str, Any]]:
        found = []
        for name in await self.engines.names():
            with suppress(ConnectorError, StateError, OSError):
                found.append({"engine": name, **await self.engines.ask(name, "status", {})})
        return found

    async def _runs(self, args: dict[str, Any]) -> dict[str, Any]:
        """Return the runs that are known, those that go on first, then the latest."""
        status, text = args.get("status"), str(args.get("text") or "").casefold()
        live = [each for each in await self._live() if _is_wanted(each, status, text)]
        known = {each["run"] for each in live}
        kept: Sequence[dict[str, Any]] = ()
        more = False
        if self.history is not None:
            limit = min(int(args.get("limit") or AT_ONCE), 10_000)
            found = await asyncio.to_thread(self.history.runs, status, text, limit)
            kept, more = [each for each in found[:limit] if each["run"] not in known], len(found) > limit
        rows = sorted([*live, *kept], key=lambda each: (each["status"] in ENDED, -each["began"]))
        return {"runs": rows, "more": more, "has_store": self.history is not None}

    async def _live(self) -> list[dict[str, Any]]:
        found = []
        for name in await self.engines.names():
            with suppress(ConnectorError, StateError, OSError):
                told = await self.engines.ask(name, "seen", {"part": "runs"})
                found += [{"engine": name, **each} for each in told["runs"]]
        return found


def _is_wanted(run: dict[str, Any], status: object, text: str) -> bool:
    shown = f"{run['run']} {' '.join(run['targets'])} {run['error'] or ''}".casefold()
    return (not status or run["status"] == status) and text in shown
