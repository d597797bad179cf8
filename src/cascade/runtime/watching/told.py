"""What those who look on may ask of runs that are seen, and what they are told, as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cascade.errors import ConnectorError, StateError
from cascade.runtime.watching.arguments import arguments_of
from cascade.runtime.watching.seen import SeenRun, node_of
from cascade.runtime.watching.signals import signals_of
from cascade.runtime.watching.time_line import needs_of, time_line
from cascade.runtime.watching.watch import Watch

__all__ = ["number_in", "tell", "text_in"]

MOST_ROWS = 300
MOST_NODES = 2_000
LONGEST = 500


def tell(watch: Watch, request: dict[str, Any]) -> dict[str, Any]:
    """Return the part of what is known that a request is for.

    Raises:
        StateError: nothing is known of the run.
        ConnectorError: there is no such part.
    """
    watch.look()
    part = request.get("part")
    if part == "runs":
        runs = [each.summary() for each in reversed([*watch.runs.values()])]
        return {"runs": runs, "level": watch.level}
    run = watch.run(request.get("run"))
    if run is None:
        raise StateError(f"nothing is known of a run {repr(request.get('run'))[:LONGEST]} in this engine")
    if part == "picture":
        return {**watch.draw(run, number_in(request, "view", 0)), "level": watch.level}
    made = PARTS.get(part) if isinstance(part, str) else None
    if made is None:
        raise ConnectorError(f"of a run there is {', '.join(PARTS)}, not {repr(part)[:40]}")
    return {**made(run, request), "level": watch.level}


def _head(run: SeenRun, request: dict[str, Any]) -> dict[str, Any]:
    """Tell of the run as a whole, and which messages it waits for now."""
    known = {} if run.blueprint is None else signals_of(run.blueprint)
    wanted = [each for node, each in known.items() if (seen := run.nodes.get(node)) and seen.waiting]
    return {**run.head(), "signals": wanted}


def _nodes(run: SeenRun, request: dict[str, Any]) -> dict[str, Any]:
    """Tell of the nodes, those that failed or go on first."""
    told = [each.to_dict(run.status) for each in [*run.nodes.values()]]
    told.sort(key=lambda each: FIRST.get(each["status"], 3))
    return {"nodes": told[:MOST_NODES], "more": max(0, len(told) - MOST_NODES), "version": run.version}


FIRST = {"Failed": 0, "Running": 1, "Waiting": 2}


def _steps(run: SeenRun, request: dict[str, Any]) -> dict[str, Any]:
    after, limit = number_in(request, "after", 0), number_in(request, "limit", 100)
    wanted = text_in(request, "status"), text_in(request, "text") or "", text_in(request, "node")
    iteration = None if request.get("iteration") is None else number_in(request, "iteration", 0)
    return run.page(after, min(limit, MOST_ROWS), *wanted, iteration)


def _logs(run: SeenRun, request: dict[str, Any]) -> dict[str, Any]:
    after, limit = number_in(request, "after", 0), number_in(request, "limit", 100)
    wanted = text_in(request, "level"), text_in(request, "text") or "", text_in(request, "task_id")
    return run.log_page(after, min(limit, MOST_ROWS), *wanted)


def _line(run: SeenRun, request: dict[str, Any]) -> dict[str, Any]:
    spans: dict[str, list[list[Any]]] = {}
    for step in [*run.pinned.values(), *run.steps]:
        if step.status not in ("Skipped", "Waiting"):
            spans.setdefault(node_of(step.task_id), []).append([step.started, step.ended, step.status])
    needs = {} if run.blueprint is None else needs_of(run.blueprint)
    nodes = [each.to_dict(run.status) for each in [*run.nodes.values()]]
    return {**time_line(nodes, needs, spans), "began": run.began, "ended": run.ended, "version": run.version}


def _step(run: SeenRun, request: dict[str, Any]) -> dict[str, Any]:
    """Tell of one step: what it was given, and what it logged."""
    task_id, iteration = text_in(request, "task_id") or "", number_in(request, "iteration", 0)
    logs = run.log_page(0, 100, None, "", task_id)["rows"]
    mine = [each for each in logs if each.get("iteration") in (None, iteration)]
    return {"arguments": arguments_of(run, task_id, iteration), "logs": mine, "version": run.version}


PARTS: dict[str, Callable[[SeenRun, dict[str, Any]], dict[str, Any]]] = {
    "head": _head,
    "nodes": _nodes,
    "step": _step,
    "steps": _steps,
    "logs": _logs,
    "line": _line,
}


def number_in(request: dict[str, Any], name: str, otherwise: int) -> int:
    """Return a whole number of a request, 0 or more.

    Raises:
        ConnectorError: it is none.
    """
    found = request.get(name, otherwise)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 53:
        raise ConnectorError(f"{name} is a whole number, 0 or more, not {repr(found)[:40]}")
    return found


def text_in(request: dict[str, Any], name: str) -> str | None:
    """Return a text of a request; None if there is none.

    Raises:
        ConnectorError: it is no text.
    """
    found = request.get(name)
    if found is not None and (not isinstance(found, str) or len(found) > LONGEST):
        raise ConnectorError(f"{name} is a text, not {repr(found)[:40]}")
    return found or None
