"""Pictures as one HTML page that needs nothing else: it folds, and can show what a run did."""

from __future__ import annotations

import json
from base64 import b64encode
from importlib.resources import files
from time import localtime, strftime
from typing import Any
from zlib import compressobj

from cascade.graph.draw.looks import LOOKS, markers, stylesheet
from cascade.graph.draw.overlay import Overlay, Story, overlay_of
from cascade.graph.draw.picture import MOST_LETTERS as MOST_NAME
from cascade.graph.draw.picture import STYLES, Picture, clean, shape_id
from cascade.graph.draw.scene import path_of
from cascade.graph.draw.views import View, Views, laid_out
from cascade.spec.scalars import spelled as value_spelled

__all__ = ["page_data", "to_html"]

KINDS = tuple(kind for kind in LOOKS if kind != "fold")
LINES = tuple(STYLES)
STATUSES = ("", "Succeeded", "Failed", "Cancelled", "Skipped", "Running")
MOST_ERRORS = 500
MOST_LETTERS = 300
MOST_PLAIN = 2000
"""The data of a picture with more shapes is compressed."""


def to_html(picture: Picture, events: Any = None, about: str = "") -> str:
    """Return a page that draws the picture.

    Args:
        events: those of a finished run, whose states, durations and retries are laid over the shapes.
        about: what the run is called.
    """
    page = _file("page.html")
    data: Any = page_data(picture, events, about)
    if len(picture.shapes) > MOST_PLAIN:
        data = {"packed": _packed(_spelled(data))}
    parts = {"STYLE": stylesheet(), "HEADS": markers(), "PICTURE": _file("picture.js")}
    for name, text in parts.items():
        page = page.replace(f"@{name}@", text)
    return page.replace("@DATA@", _spelled(data).replace("<", "\\u003c"))


def _file(name: str) -> str:
    return files("cascade.graph.draw").joinpath(name).read_text(encoding="utf-8")


def _spelled(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def _packed(text: str) -> str:
    packing = compressobj(6, wbits=-15)
    return b64encode(packing.compress(text.encode("utf-8", "replace")) + packing.flush()).decode()


def page_data(picture: Picture, events: Any = None, about: str = "") -> dict[str, Any]:
    """Return what the page's script reads: leaves in the order of the folds, so that each fold is a range of them."""
    overlay = None if events is None else overlay_of(picture, events)
    stories = {} if overlay is None else {picture.shapes[at].id: story for at, story in overlay.stories.items()}
    laid = laid_out(
        picture,
        lambda shape: _told(stories.get(shape.id)),
        "0,000 nodes" if overlay is None else "0,000 nodes · 000 failed · 00.0 s",
    )
    shapes = [picture.shapes[at] for at in laid.order]
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
        "version": 2,
        "title": picture.title,
        "kinds": KINDS,
        "lineKinds": LINES,
        "most": MOST_NAME,
        "leaves": {
            "kind": "".join(chr(97 + KINDS.index(shape.kind)) for shape in shapes),
            "name": [names.number(clean(shape.label)) for shape in shapes],
            "site": [sites.number(clean(shape.note)) for shape in shapes],
        },
        "folds": _folds(laid),
        "lines": flat,
        "types": {kind: "\n".join(listed) for kind, listed in types.items()},
        "names": "\n".join(names.values),
        "sites": "\n".join(sites.values),
        "ids": [shape.id for shape in shapes] if len(shapes) <= MOST_PLAIN else None,
        "views": [_view(view, leaf_of) for view in laid.views],
        "run": None,
    }
    if overlay is not None:
        root = stories.get(shape_id(0, picture.nest.graphs[0].root))
        value = "" if root is None else _lines(root.result)
        data["run"] = {**_run(overlay, laid.order), "target": clean(about), "value": value}
    return data


def _view(view: View, leaf_of: dict[str, int]) -> list[Any]:
    """Return a view as [parent, fold, width, height, boxes, frames, lines]; a folded box is -1 - its view."""

    def code(id: str) -> int:
        return leaf_of[id] if id in leaf_of else -1 - int(id[1:])

    scene = view.scene
    boxes = [[code(item.id), *map(_short, (x, y, width, height))] for item, x, y, width, height in scene.boxes]
    frames = [[code(id), *map(_short, (x, y, width, height))] for id, _, x, y, width, height in scene.frames]
    lines = []
    for line in scene.lines:
        x, y = line.route.label or (0, 0)
        ends = [code(line.source), code(line.target), LINES.index(line.kind)]
        lines.append([*ends, line.label, _short(x), _short(y), path_of(line)])
    return [view.parent, view.fold, _short(scene.width), _short(scene.height), boxes, frames, lines]


def _short(value: float) -> float:
    return int(value) if value == int(value) else round(value, 1)


def _lines(text: str) -> str:
    """Return the beginning of a text, which may have several lines."""
    return "\n".join(map(clean, text[:MOST_LETTERS].split("\n")))


def _told(story: Story | None) -> str:
    """Return the second line of a node that ran: for how long, how often, with how many retries."""
    if story is None or not story.status:
        return ""
    parts = ["skipped" if story.status == "Skipped" else _time(story.seconds)]
    if story.times > 1:
        parts.append(f"{story.failed:,} of {story.times:,} failed" if story.failed else f"×{story.times:,}")
    if story.attempts:
        parts.append(f"{story.attempts:,} {'retries' if story.attempts > 1 else 'retry'}")
    return " · ".join(parts)


def _time(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


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


def _folds(laid: Views) -> list[list[Any]]:
    """Return the folds as [parent, kind, title, first leaf, leaf behind]."""
    return [
        [parent, one.kind, one.title, *range_]
        for parent, one, range_ in zip(laid.parents, laid.folds, laid.ranges, strict=True)
    ]


def _run(overlay: Overlay, order: list[int]) -> dict[str, Any]:
    leaf_of = {shape: leaf for leaf, shape in enumerate(order)}
    states = [0] * len(order)
    told: dict[int, str] = {}
    micros = [0] * len(order)
    more: dict[int, list[Any]] = {}
    """Of leaves with more to tell: [calls, retries, error, reason, items, failed calls, error of an attempt]."""
    errors = 0
    for shape, story in overlay.stories.items():
        leaf = leaf_of[shape]
        states[leaf] = STATUSES.index(story.status)
        micros[leaf] = round(story.seconds * 1e6)
        told[leaf] = _told(story)
        spelled = []
        for error in (story.error, story.passing, *(item.error for item in story.items)):
            spelled.append(_lines(error) if errors < MOST_ERRORS else "")
            errors += bool(error)
        own, passing, *of_items = spelled
        items = [
            [item.at, STATUSES.index(item.status), round(item.seconds * 1e6), *([said] if said else [])]
            for item, said in zip(story.items, of_items, strict=True)
        ]
        if story.times != 1 or story.attempts or own or story.reason or items or story.result:
            result = _lines(story.result) if len(order) <= MOST_PLAIN else ""
            more[leaf] = [story.times, story.attempts, own, story.reason, items, story.failed, passing, result]
    return {
        "id": overlay.run_id,
        "status": overlay.status,
        "seconds": round(overlay.seconds, 6),
        "error": _lines(overlay.error),
        "started": strftime("%Y-%m-%d %H:%M:%S", localtime(overlay.started)) if overlay.started else "",
        "params": [[name, _lines(value_spelled(value))] for name, value in overlay.params.items()],
        "elsewhere": overlay.elsewhere,
        "states": "".join(map(str, states)),
        "micros": micros,
        "more": more,
        "told": told,
    }
