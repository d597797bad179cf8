"""Pictures as one HTML page that needs nothing else: it folds, and can show what a run did."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from cascade.graph.draw.folds import Fold, fold
from cascade.graph.draw.overlay import Overlay, overlay_of
from cascade.graph.draw.picture import STYLES, Picture, clean
from cascade.graph.draw.svg import LOOKS

__all__ = ["to_html"]

KINDS = tuple(LOOKS)
STATUSES = ("", "Succeeded", "Failed", "Cancelled", "Skipped", "Running")
MOST_ERRORS = 500
MOST_LETTERS = 300


def to_html(picture: Picture, events: Any = None) -> str:
    """Return a page that draws the picture.

    Args:
        events: those of a finished run, whose states, durations and retries are laid over the shapes.
    """
    page = files("cascade.graph.draw").joinpath("page.html").read_text(encoding="utf-8")
    data = json.dumps(page_data(picture, events), separators=(",", ":"), ensure_ascii=False)
    return page.replace("@DATA@", data.replace("<", "\\u003c"))


def page_data(picture: Picture, events: Any = None) -> dict[str, Any]:
    """Return what the page's script reads: leaves in the order of the folds, so that each fold is a range of them."""
    order, folds = _flat(fold(picture))
    shapes = [picture.shapes[at] for at in order]
    leaf_of = {shape.id: leaf for leaf, shape in enumerate(shapes)}
    names, sites = _Table(), _Table()
    types: dict[str, list[str]] = {}
    number_of: dict[tuple[str, str], int] = {}
    for kind, name in sorted({(line.kind, clean(line.name)) for line in picture.lines}):
        number_of[kind, name] = len(number_of)
        types.setdefault(kind, []).append(name)
    lines = sorted(
        (leaf_of[line.target], leaf_of[line.source], number_of[line.kind, clean(line.name)]) for line in picture.lines
    )
    flat: list[int] = []
    before = 0
    for target, source, type_ in lines:
        flat += (target - before, target - source, type_)
        before = target
    data = {
        "version": 1,
        "kinds": KINDS,
        "looks": LOOKS,
        "styles": {kind: [style.color, style.dashes, style.width] for kind, style in STYLES.items()},
        "leaves": {
            "kind": "".join(chr(97 + KINDS.index(shape.kind)) for shape in shapes),
            "name": [names.number(clean(shape.label)) for shape in shapes],
            "site": [sites.number(clean(shape.note)) for shape in shapes],
        },
        "folds": folds,
        "lines": flat,
        "types": {kind: "\n".join(listed) for kind, listed in types.items()},
        "names": "\n".join(names.values),
        "sites": "\n".join(sites.values),
        "ids": [shape.id for shape in shapes] if len(shapes) <= 2000 else None,
        "run": None,
    }
    if events is not None:
        data["run"] = _run(overlay_of(picture, events), order)
    return data


class _Table:
    """Numbers values as they come."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, value: str) -> int:
        at = self._numbers.get(value)
        if at is None:
            at = self._numbers[value] = len(self.values)
            self.values.append(value)
        return at


def _flat(whole: Fold) -> tuple[list[int], list[list[Any]]]:
    """Return the shapes in the order of the tree, and the folds as [parent, kind, title, first leaf, leaf behind]."""
    order: list[int] = []
    folds: list[list[Any]] = []
    stack: list[tuple[Any, int]] = [(whole, -1)]
    while stack:
        item, parent = stack.pop()
        if item is None:
            folds[parent][4] = len(order)
        elif isinstance(item, Fold):
            at = len(folds)
            folds.append([parent, item.kind, item.title, len(order), 0])
            stack.append((None, at))
            stack += [(inner, at) for inner in reversed(item.items)]
        else:
            order.append(item)
    return order, folds


def _run(overlay: Overlay, order: list[int]) -> dict[str, Any]:
    leaf_of = {shape: leaf for leaf, shape in enumerate(order)}
    states = [0] * len(order)
    micros = [0] * len(order)
    more: dict[int, list[Any]] = {}
    """Of leaves with more to tell: [calls, retries, error, reason, items, failed calls, error of an attempt]."""
    errors = 0
    for shape, story in overlay.stories.items():
        leaf = leaf_of[shape]
        states[leaf] = STATUSES.index(story.status)
        micros[leaf] = round(story.seconds * 1e6)
        spelled = []
        for error in (story.error, story.passing, *(item.error for item in story.items)):
            spelled.append(clean(error[:MOST_LETTERS]) if errors < MOST_ERRORS else "")
            errors += bool(error)
        own, passing, *of_items = spelled
        items = [
            [item.at, STATUSES.index(item.status), round(item.seconds * 1e6), *([said] if said else [])]
            for item, said in zip(story.items, of_items, strict=True)
        ]
        if story.times != 1 or story.attempts or own or story.reason or items:
            more[leaf] = [story.times, story.attempts, own, story.reason, items, story.failed, passing]
    return {
        "id": overlay.run_id,
        "status": overlay.status,
        "seconds": round(overlay.seconds, 6),
        "error": clean(overlay.error[:MOST_LETTERS]),
        "elsewhere": overlay.elsewhere,
        "states": "".join(map(str, states)),
        "micros": micros,
        "more": more,
    }
