"""Recorded runs as the page shows them: read in pages from the store, and nothing of them is decoded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from threading import Lock, Thread
from typing import Any

from cascade.adapters.state.codec import encode
from cascade.adapters.state.owner import is_alive
from cascade.adapters.state.rules import no_such_run
from cascade.adapters.state.sqlite import SqliteBackend
from cascade.errors import ConnectorError
from cascade.runtime.page.reading import Outline, outline_of, page_of
from cascade.runtime.watching.seen import node_of
from cascade.runtime.watching.time_line import time_line
from cascade.runtime.watching.told import MOST_NODES, MOST_ROWS, number_in, text_in
from cascade.spec.shown import one_line
from cascade.spec.state import RunRecord, StateBackend

__all__ = ["History"]

MOST_COMPARED = 100_000
MOST_ARGUMENTS = 50
MOST_OUTLINES = 20
"""So many runs are remembered of which the steps were counted."""


class History:
    """The runs of one store; safe in all threads."""

    def __init__(self, backend: StateBackend, state: str = "") -> None:
        """Open a store for looking at it; a file by connections of its own, so that nobody who records waits.

        Args:
            state: what it is called in commands that are told.

        Raises:
            StateError: it cannot be opened.
        """
        kept: Any = getattr(backend, "backend", backend)
        self._backend: StateBackend = SqliteBackend(kept.path) if isinstance(kept, SqliteBackend) else backend
        self._counting: StateBackend = SqliteBackend(kept.path) if isinstance(kept, SqliteBackend) else backend
        for each in (self._backend, self._counting):
            each.open()
        self._state = state
        self._lock = Lock()
        self._outlines: dict[tuple[str, float, int], Outline | None] = {}

    def close(self) -> None:
        """Let go of the store."""
        for each in (self._backend, self._counting):
            each.close()

    def runs(self, status: object, text: str, limit: int) -> list[dict[str, Any]]:
        """Return the latest runs that are wanted, one more than `limit` if there are more."""
        now = self._backend.now()
        wanted = status if isinstance(status, str) and status else None
        most = MOST_COMPARED if text else limit + 1
        found = []
        for record in self._backend.runs(status=wanted, limit=most):
            if text and text not in f"{record.run_id} {record.target} {record.error}".casefold():
                continue
            found.append(self._summary(record, now))
            if len(found) > limit:
                break
        return found

    def send(self, args: dict[str, Any]) -> dict[str, Any]:
        """Send a message to a run."""
        run_id, name = text_in(args, "run"), text_in(args, "name")
        if not run_id or not name:
            raise ConnectorError("a message has a run and a name")
        self._backend.send(run_id, name, encode(args.get("value")), None)
        return {"runs": 1}

    def tell(self, args: dict[str, Any]) -> dict[str, Any]:
        """Return a part of what is known of a run, as of one that is live."""
        run_id, part = args.get("run"), args.get("part")
        record = self._backend.find(run_id) if isinstance(run_id, str) else None
        if record is None:
            raise no_such_run(str(run_id)[:200])
        if part == "steps":
            return self._steps(record, args)
        if part == "logs":
            return {"rows": [], "more": False, "version": record.epoch}
        if part == "picture":
            return {"view": None, "states": {}, "above": [], "version": record.epoch}
        if part == "step":
            return {"arguments": self._arguments(record, args), "logs": [], "version": record.epoch}
        head = self._head(record)
        if part == "head":
            return head
        outline = self._outline(record)
        nodes = [] if outline is None else [each.to_dict(head["status"]) for each in outline.nodes.values()]
        if part == "nodes":
            more = max(0, len(nodes) - MOST_NODES)
            return {"nodes": nodes[:MOST_NODES], "more": more, "version": head["version"], "counting": outline is None}
        if part == "line":
            spans = {} if outline is None else outline.spans
            line = time_line(nodes, needs_in(record), spans)
            began, ended = record.created, None if head["status"] == "Running" else record.updated
            return {**line, "began": began, "ended": ended, "version": head["version"], "counting": outline is None}
        raise ConnectorError(f"of a run there is no {repr(part)[:40]}")

    def _summary(self, record: RunRecord, now: float) -> dict[str, Any]:
        going = record.owner if record.status == "Running" else None
        is_going = going is not None and is_alive(going, record.beat, now)
        status: str = record.status
        if status == "Running" and not is_going:
            status = "Handed back"
        end = now if is_going else max(record.updated, record.beat)
        return {
            "engine": "store",
            "run": record.run_id,
            "targets": [one_line(record.target)] if record.target else [],
            "status": status,
            "began": record.created,
            "seconds": round(max(0.0, (record.updated if record.status != "Running" else end) - record.created), 3),
            "error": record.error or None,
            "counts": None,
            "starts": record.epoch,
            "process": None if not is_going or going is None else f"{going.pid} @ {going.host}",
        }

    def _head(self, record: RunRecord) -> dict[str, Any]:
        outline = self._outline(record)
        summary = self._summary(record, self._backend.now())
        counts = None if outline is None else outline.counts()
        return {
            **summary,
            "counts": counts,
            "params": {},
            "resumed": record.epoch > 1,
            "recorded": 0,
            "steps": None if outline is None else outline.total,
            "kept": None if outline is None else outline.total,
            "logged": 0,
            "warnings": [],
            "signals": [],
            "state": self._state,
            "version": f"{record.updated}:{record.epoch}:{record.beat}:{outline is not None}",
        }

    def _steps(self, record: RunRecord, args: dict[str, Any]) -> dict[str, Any]:
        limit = min(number_in(args, "limit", 100), MOST_ROWS)
        iteration = None if args.get("iteration") is None else number_in(args, "iteration", 0)
        found = page_of(
            self._backend,
            record.run_id,
            number_in(args, "after", 0),
            limit + 1,
            text_in(args, "status"),
            text_in(args, "text") or "",
            text_in(args, "node"),
            iteration,
        )
        return {"rows": found[:limit], "more": len(found) > limit, "version": f"{record.updated}:{record.beat}"}

    def _arguments(self, record: RunRecord, args: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what the nodes gave that a step needs; which argument that was, a store does not tell."""
        node = node_of(text_in(args, "task_id") or "")
        found = []
        for source in list(needs_in(record).get(node, ()))[:MOST_ARGUMENTS]:
            rows = page_of(self._backend, record.run_id, 0, 1, "Succeeded", "", source, None)
            found.append({"name": "", "source": source, "preview": rows[0]["preview"] if rows else None})
        return found

    def _outline(self, record: RunRecord) -> Outline | None:
        """Return what the steps of a run are together, once another thread has counted them: they may be many."""
        is_over = record.status in ("Succeeded", "Failed", "Cancelled")
        key = record.run_id, record.updated if is_over else record.beat, record.epoch
        with self._lock:
            if key in self._outlines:
                return self._outlines[key]
            before = next((known for at, known in reversed(self._outlines.items()) if at[0] == record.run_id), None)
            self._outlines[key] = before
            while len(self._outlines) > MOST_OUTLINES:
                del self._outlines[next(iter(self._outlines))]

        def count() -> None:
            try:
                outline = outline_of(self._counting, record.run_id)
            except Exception:  # the store was closed
                outline = Outline()
            with self._lock:
                self._outlines[key] = outline

        counting = Thread(target=count, name="cascade-count", daemon=True)
        counting.start()
        counting.join(0.15)
        with self._lock:
            return self._outlines.get(key)


def needs_in(record: RunRecord) -> Mapping[str, Sequence[str]]:
    """Return what each node needs, as the fingerprint of a run has it: JSON, of which nothing is decoded further."""
    try:
        look = json.loads(record.fingerprint)
        names = [*look["reads"]]
        at = {name: number for number, name in enumerate(names)}
        return {
            name: [each for each in look["reads"][name] if at.get(each, len(names)) < at[name]]
            for name in islice(names, 100_000)
        }
    except (ValueError, KeyError, TypeError):
        return {}
