"""A picture as plain data: views that are small enough to look at, each laid out, one behind each folded box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cascade.graph.draw.folds import MOST, Fold, fold
from cascade.graph.draw.picture import Line, Picture, Shape
from cascade.graph.draw.scene import Ends, Item, Part, Scene, item_of, path_of, scene_of

__all__ = ["View", "Views", "laid_out", "views_of"]

NO_NODES = ("end", "capacity", "param")


class View(NamedTuple):
    """One part of a picture, laid out."""

    parent: int
    """The number of the view that shows it as a box; -1 for the first."""
    fold: int
    """Which fold it is."""
    title: str
    kind: str
    scene: Scene


class Views(NamedTuple):
    """All views of a picture: the first is what is shown at first."""

    views: list[View]
    folds: list[Fold]
    """The folds by number; a folded box has the id `f` and the number of its view."""
    parents: list[int]
    """By number of a fold: the one around it; -1 for the outermost."""
    view_of: list[int]
    """By number of a fold: the view that shows what is in it."""
    ranges: list[tuple[int, int]]
    """By number of a fold: where its shapes begin and end in `order`."""
    order: list[int]
    """The numbers of the shapes, those of each fold together."""


def views_of(picture: Picture, *, notes: bool = False) -> dict[str, Any]:
    """Return all that it takes to draw a picture, as what JSON can hold (`docs/pictures.md` has the fields).

    Args:
        notes: boxes have room for a second line, such as a state and a time.
    """
    laid = laid_out(picture, (lambda shape: "" if shape.kind in NO_NODES else "00.00 s · ×000") if notes else None)
    shapes = [picture.shapes[at] for at in laid.order]
    listed = []
    for view in laid.views:
        scene = view.scene
        boxes = []
        for item, x, y, width, height in scene.boxes:
            box: dict[str, Any] = {
                **{"id": item.id, "kind": item.kind, "label": item.label, "note": item.note},
                **{"x": round(x, 1), "y": round(y, 1), "w": round(width, 1), "h": round(height, 1)},
            }
            if item.kind == "fold":
                number = int(item.id[1:])
                first, last = laid.ranges[laid.views[number].fold]
                inside = shapes[first:last]
                count = sum(shape.kind not in NO_NODES for shape in inside)
                box |= {"view": number, "nodes": count, "ids": [shape.id for shape in inside]}
            boxes.append(box)
        listed.append(
            {
                **{"title": view.title, "kind": view.kind, "parent": view.parent},
                **{"width": round(scene.width, 1), "height": round(scene.height, 1), "boxes": boxes},
                "frames": [
                    {
                        **{"id": id, "kind": "subflow", "label": title},
                        **{"x": round(x, 1), "y": round(y, 1), "w": round(width, 1), "h": round(height, 1)},
                    }
                    for id, title, x, y, width, height in scene.frames
                ],
                "lines": [
                    {
                        **{"source": line.source, "target": line.target, "kind": line.kind, "names": line.names},
                        **{"label": line.label, "d": path_of(line)},
                        "points": [[round(x, 1), round(y, 1)] for x, y in line.route.points],
                        "lx": None if line.route.label is None else round(line.route.label[0], 1),
                        "ly": None if line.route.label is None else round(line.route.label[1], 1),
                    }
                    for line in scene.lines
                ],
            }
        )
    return {"version": 1, "title": picture.title, "views": listed}


def laid_out(picture: Picture, more: Callable[[Shape], str] | None = None, told: str = "0,000 nodes") -> Views:
    """Return the views of a picture.

    Args:
        more: the second line of a shape's box.
        told: a text as long as the second line of a folded box.
    """
    return _Viewing(picture, more or (lambda shape: ""), told).views()


class _Viewing:
    """The views of one picture, each fold being shown in one of them."""

    def __init__(self, picture: Picture, more: Callable[[Shape], str], told: str) -> None:
        self.picture = picture
        self.more = more
        self.told = told
        self.folds: list[Fold] = []
        self.parents: list[int] = []
        self.ranges: list[tuple[int, int]] = []
        self.order: list[int] = []
        self._number(fold(picture))
        self.children: list[list[int]] = [[] for _ in self.folds]
        for at, parent in enumerate(self.parents):
            if parent >= 0:
                self.children[parent].append(at)
        self.numbers = {shape.id: at for at, shape in enumerate(picture.shapes)}
        self.home = [-1] * len(picture.shapes)
        """The fold that each shape stands in."""
        for at, one in enumerate(self.folds):
            for item in one.items:
                if isinstance(item, int):
                    self.home[item] = at
        self.view_of = [-1] * len(self.folds)
        self.part_of = [-1] * len(self.folds)
        self.framed: dict[str, int] = {}
        """The folds of the sub-flows, by the id of their shape."""
        self.framing: dict[int, str] = {}
        nest = picture.nest
        for at, shape in enumerate(picture.shapes):
            if (shape.graph, shape.number) in nest.inner:
                inside = self.home[at]
                while self.folds[inside].kind != "subflow":
                    inside = self.parents[inside]
                self.framed[shape.id] = inside
                self.framing[inside] = shape.id

    def _number(self, whole: Fold) -> None:
        stack: list[tuple[Any, int]] = [(whole, -1)]
        while stack:
            item, parent = stack.pop()
            if item is None:
                self.ranges[parent] = (self.ranges[parent][0], len(self.order))
            elif isinstance(item, Fold):
                at = len(self.folds)
                self.folds.append(item)
                self.parents.append(parent)
                self.ranges.append((len(self.order), 0))
                stack.append((None, at))
                stack += [(inner, at) for inner in reversed(item.items)]
            else:
                self.order.append(item)

    def views(self) -> Views:
        """Lay out all views, the outermost first."""
        begun: list[tuple[int, int, list[int]]] = [(-1, 0, self._opened(0, 0))]
        for number, (_, _, opened) in enumerate(begun):
            for at in opened:
                for child in self.children[at]:
                    if self.view_of[child] < 0:
                        begun.append((number, child, self._opened(child, len(begun))))
        lines: list[list[Line]] = [[] for _ in begun]
        for line in self.picture.lines:
            lines[self._view_with(line)].append(line)
        found = []
        for number, (parent, at, opened) in enumerate(begun):
            ends = self._ends(number, opened, lines[number])
            title = self.picture.title if not number else self.folds[at].title
            found.append(View(parent, at, title, self.folds[at].kind, scene_of(lines[number], ends)))
        return Views(found, self.folds, self.parents, self.view_of, self.ranges, self.order)

    def _opened(self, start: int, view: int) -> list[int]:
        """Open folds from the outside in, as long as there is room, and return them."""
        count = len(self.folds[start].items)
        opened, queue = [start], [start]
        self.view_of[start] = view
        for at in queue:
            for child in self.children[at]:
                more = len(self.folds[child].items) - 1
                if count + more > MOST or self.folds[child].kind == "band":
                    continue
                count += more
                self.view_of[child] = view
                opened.append(child)
                queue.append(child)
        return opened

    def _view_with(self, line: Line) -> int:
        """Return the view that shows a line: that of the innermost fold around both ends."""
        a, b = (self.home[self.numbers[id]] for id in (line.source, line.target))
        while a != b:  # folds are numbered from the outside in
            if a > b:
                a = self.parents[a]
            else:
                b = self.parents[b]
        return self.view_of[a]

    def _ends(self, view: int, opened: list[int], lines: list[Line]) -> Ends:
        parts = [Part("", "", -1)]
        for at in opened:
            around = self.part_of[self.parents[at]] if at != opened[0] else 0
            if self.folds[at].kind == "subflow" and at != opened[0]:
                self.part_of[at] = len(parts)
                parts.append(Part(self.framing[at], self.folds[at].title, around))
            else:
                self.part_of[at] = around
            for item in self.folds[at].items:
                if isinstance(item, int):
                    shape = self.picture.shapes[item]
                    if not self._is_frame(shape.id, view, opened[0]):
                        parts[self.part_of[at]].items.append(item_of(shape, self.more(shape)))
            for child in self.children[at]:
                if self.view_of[child] != view:
                    parts[self.part_of[at]].items.append(self._folded(child))
        homes = {id: self._home(id, view, opened[0]) for line in lines for id in (line.source, line.target)}
        return Ends(parts, homes)

    def _is_frame(self, id: str, view: int, start: int) -> bool:
        """Say whether a shape is a sub-flow that a view draws as a frame."""
        inside = self.framed.get(id)
        return inside is not None and inside != start and self.view_of[inside] == view

    def _folded(self, at: int) -> Item:
        return Item(f"f{self.view_of[at]}", "fold", self.folds[at].title, "", self.told)

    def _home(self, id: str, view: int, start: int) -> tuple[int, str]:
        """Return the part and the box that stand for a shape in a view."""
        if self._is_frame(id, view, start):
            return self.part_of[self.parents[self.framed[id]]], id
        at = self.home[self.numbers[id]]
        if self.view_of[at] == view:
            return self.part_of[at], id
        while self.view_of[self.parents[at]] != view:
            at = self.parents[at]
        return self.part_of[self.parents[at]], f"f{self.view_of[at]}"
