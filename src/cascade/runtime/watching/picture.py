"""The picture of a run that is seen: one view of it, with what has become of each box."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from cascade.errors import ConnectorError
from cascade.graph.draw.overlay import finder
from cascade.graph.draw.picture import picture_of
from cascade.graph.draw.views import views_of
from cascade.graph.nest import nest_of
from cascade.runtime.watching.seen import SeenNode, SeenRun
from cascade.spec.blueprint import Blueprint

__all__ = ["picture_in"]

WORST = ("Failed", "Running", "Waiting", "Cancelled", "Succeeded", "Skipped", "")
"""Of several states the one that a folded box shows: the first that it has."""
MOST_BOXES = 50_000
"""A program of more is not drawn."""


class _Drawn(NamedTuple):
    """A program laid out, and which node is which shape."""

    views: list[dict[str, Any]]
    shape_of: dict[str, str | None]
    find: Any


_drawn: WeakKeyDictionary[Blueprint, _Drawn | None] = WeakKeyDictionary()


def picture_in(run: SeenRun, number: int) -> dict[str, Any]:
    """Return a view of a run's program by its number, and what has become of each of its boxes.

    Raises:
        ConnectorError: there is no such view.
    """
    drawn = None if run.blueprint is None else _laid_out(run.blueprint)
    if drawn is None:
        return {"view": None, "states": {}, "above": [], "version": run.version}
    if number >= len(drawn.views):
        raise ConnectorError(f"the picture has {len(drawn.views)} views, and none with the number {number}")
    view = drawn.views[number]
    nodes: dict[str, list[SeenNode]] = {}
    for node in [*run.nodes.values()]:
        if node.name not in drawn.shape_of:
            drawn.shape_of[node.name] = drawn.find(node.name)
        shape = drawn.shape_of[node.name]
        if shape is not None:
            nodes.setdefault(shape, []).append(node)
    states = {}
    for box in (*view["boxes"], *view["frames"]):
        found = [node for shape in (*box.get("ids", ()), box["id"]) for node in nodes.get(shape, ())]
        if found:
            states[box["id"]] = _state(found, run.status)
    shown = {**view, "boxes": [{name: box[name] for name in box if name != "ids"} for box in view["boxes"]]}
    above = []
    at = view["parent"]
    while at >= 0:
        above.append({"view": at, "title": drawn.views[at]["title"]})
        at = drawn.views[at]["parent"]
    return {"view": shown, "states": states, "above": above[::-1], "version": run.version}


def _state(nodes: list[SeenNode], of_run: str) -> dict[str, Any]:
    status = min((node.status(of_run) for node in nodes), key=WORST.index)
    return {
        "status": status,
        "node": nodes[0].name,
        "calls": sum(node.started for node in nodes),
        "failed": sum(node.failed for node in nodes),
        "attempts": sum(node.attempts for node in nodes),
        "seconds": round(sum(node.seconds for node in nodes), 6),
        "error": next((node.error for node in nodes if node.error), "")[:300],
        "reason": next((node.reason for node in nodes if node.reason), "")[:300],
    }


def _laid_out(blueprint: Blueprint) -> _Drawn | None:
    if blueprint in _drawn:
        return _drawn[blueprint]
    nest = nest_of(blueprint)
    made = None
    if sum(map(len, nest.graphs)) <= MOST_BOXES:
        picture = picture_of(nest)
        made = _Drawn(views_of(picture, notes=True)["views"], {}, finder(picture))
    _drawn[blueprint] = made
    return made
