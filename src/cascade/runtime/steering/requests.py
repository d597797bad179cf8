"""What an engine may be asked at its door: to hold back, to end a run, to pass something on, and how it is."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from math import inf
from time import perf_counter
from typing import Any
from weakref import ref

from cascade.errors import ConnectorError, ConstraintError, StateError
from cascade.runtime.admission.admission import Admission
from cascade.runtime.inspect.progress import RunProgress, progress_of
from cascade.runtime.plans.plan import target_names
from cascade.runtime.run_scope import RunScope
from cascade.runtime.steering.door import Later
from cascade.runtime.steering.steerable import Steerable
from cascade.runtime.watching.told import tell
from cascade.spec.events import RunFinished
from cascade.spec.limits import GLOBAL

__all__ = ["Requests"]

MOST_RUNS = 100
"""Runs that are told of at once."""
MOST_LOOKED_AT = 5
"""Runs whose progress is told: each look at one goes through the tasks of the event loop, which may be many."""
MOST_TOLD = 20
"""Loops, maps, running calls, targets and reasons of one run."""
LONGEST = 200
"""Letters of a name that somebody asks for."""


class Requests:
    """Answers what an engine is asked, on the thread of its door. It does not keep the engine alive."""

    def __init__(self, engine: Steerable) -> None:
        self._engine = ref(engine)
        self._began = time.time()

    def answer(self, request: dict[str, Any], later: Callable[[object], None]) -> object:
        """Return an answer, or `Later` for one that `later` is given.

        Raises:
            ConstraintError, StateError, ConnectorError: it is refused; the message says why.
        """
        engine = self._engine()
        if engine is None:
            raise ConnectorError("the engine is not there any more")
        scope, runs = request.get("scope", GLOBAL), len(engine._active)
        match request.get("do"):
            case "status":
                return self._status(engine, request.get("run"), later)
            case "pause":
                engine.pause(scope, request.get("ttl"))
            case "resume":
                engine.resume(scope)
            case "set_limit":
                wanted = {name: request.get(name) for name in ("concurrency", "rate", "ttl", "burst")}
                if wanted["concurrency"] is None and wanted["rate"] is None:
                    raise ConstraintError("a limit has a concurrency, a rate, or both")
                engine.set_limit(scope, **wanted)
            case "clear_limit":
                engine.clear_limit(scope)
            case "cancel":
                run_id = _going_on(engine, request.get("run")).name
                if not engine.cancel(run_id):
                    raise StateError(f"run {run_id!r} has just ended")
            case "end_of":
                return _end_of(engine, request.get("run"), later)
            case "signal":
                return self._signal(engine, request, later)
            case "seen":
                return tell(engine.watching(), request)
            case other:
                raise ConnectorError(f"an engine cannot be asked for {repr(other)[:40]}")
        return {"runs": runs}

    def _signal(self, engine: Steerable, request: dict[str, Any], later: Callable[[object], None]) -> object:
        run_scope = _going_on(engine, request.get("run"))
        name, id = request.get("name"), request.get("id")
        if not isinstance(name, str) or not name or not (id is None or isinstance(id, str)):
            raise ConnectorError("the name of a message is a text that is not empty, and its id a text")
        work = engine.signal(run_scope.name, name, request.get("value"), id)
        try:
            sent = asyncio.run_coroutine_threadsafe(work, run_scope.loop)
        except RuntimeError:  # the event loop is closed
            work.close()
            raise StateError(f"run {run_scope.name!r} has ended") from None
        sent.add_done_callback(lambda done: later(None if done.cancelled() else done.exception()))
        return Later()

    # --- how it is

    def _status(self, engine: Steerable, run_id: object, later: Callable[[object], None]) -> object:
        scopes = [*engine._active.values()] if run_id is None else [_going_on(engine, run_id)]
        told: dict[str, Any] = {
            "pid": os.getpid(),
            "program": os.path.basename(sys.argv[0] if sys.argv else ""),
            "folder": _folder(),
            "seconds": round(time.time() - self._began, 3),
            "runs": [_run(each) for each in scopes[:MOST_RUNS]],
            "more_runs": max(0, len(scopes) - MOST_RUNS),
            "limits": [limit._asdict() for limit in engine.limits()] if engine.admitting is not None else [],
            "waiting": [],
            "busy": bool(scopes),
        }
        if not scopes:
            return told

        def look() -> None:
            try:
                for shown, each in zip(told["runs"][:MOST_LOOKED_AT], scopes, strict=False):
                    shown["progress"] = _progress(each)
                later({**told, "waiting": _waiting(engine.admitting), "busy": False})
            except Exception:  # it has just ended
                later(told)

        try:
            scopes[0].loop.call_soon_threadsafe(look)
        except RuntimeError:
            return told
        return Later(told)


def _end_of(engine: Steerable, run_id: object, later: Callable[[object], None]) -> Later:
    """Wait for the end of a run, and tell what became of it."""
    name = _going_on(engine, run_id).name

    def ended(event: RunFinished) -> None:
        if event.run_id == name:
            subscription.unsubscribe()
            later({"status": event.status, "seconds": round(event.duration, 3), "error": event.error})

    subscription = engine.bus.subscribe(RunFinished, ended)
    if name not in engine._active:  # it has ended meanwhile
        later({"status": None, "seconds": None, "error": None})
    return Later(patience=inf)


def _going_on(engine: Steerable, run_id: object) -> RunScope:
    """Return a run by its id.

    Raises:
        StateError: no run of this id is going on.
    """
    active = engine._active
    found = active.get(run_id) if isinstance(run_id, str) else None
    if found is None:
        names = ", ".join(map(repr, islice(list(active), 5))) or "none"
        raise StateError(f"no run {repr(run_id)[:LONGEST]} is going on in this engine; going on are: {names}")
    return found


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _run(run_scope: RunScope) -> dict[str, Any]:
    run = run_scope.run
    targets = () if run is None else target_names(run.blueprint.graph)[: MOST_TOLD + 1]
    began = getattr(run_scope, "began", None)  # none: its first task could not begin yet
    seconds = 0.0 if began is None else perf_counter() - began
    return {"id": run_scope.name, "targets": [*targets], "seconds": round(seconds, 3), "progress": None}


def _progress(run_scope: RunScope) -> dict[str, Any] | None:
    """Return how far a run has come, on its event loop's thread."""
    run = run_scope.run
    if run is None or run_scope.loop is not asyncio.get_running_loop():
        return None
    sight: RunProgress = progress_of(run, run_scope.loop)
    loops = sorted(sight.loops.items(), key=lambda one: -one[1])[:MOST_TOLD]
    return {
        "done": sight.done,
        "total": sight.total,
        "loops": dict(loops),
        "maps": [each._asdict() for each in sight.maps[:MOST_TOLD]],
        "running": sight.running[:MOST_TOLD],
        "waiting": {name: [*what] for name, what in islice(sorted(sight.waiting.items()), MOST_TOLD)},
        "reported": {name: [*far] for name, far in islice(sight.reported.items(), MOST_TOLD)},
    }


def _waiting(admission: Admission | None) -> list[dict[str, Any]]:
    """Return how many calls wait for what, on the event loop's thread."""
    found: Counter[str] = Counter() if admission is None else admission.waiting()
    return [{"reason": reason, "calls": calls} for reason, calls in found.most_common(MOST_TOLD)]
