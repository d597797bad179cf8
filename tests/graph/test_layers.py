"""The layout of pictures, on random graphs: no boxes or labels overlap, no line goes through one, all in the frame."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

import cascade as cs
from cascade.errors import CascadeError
from cascade.graph.draw.crossings import order_layers
from cascade.graph.draw.layers import Box, Link, lay_out
from cascade.graph.draw.picture import Picture, picture_of
from cascade.graph.draw.scene import Scene, scene_of, whole_of
from cascade.graph.draw.texts import text_width
from cascade.graph.draw.views import laid_out, views_of
from cascade.graph.nest import nest_of
from cascade.runtime import Engine
from cascade.runtime.plans.plan import prepare
from tests.gallery import GALLERY, six_hundred, step
from tests.strategies import build, fixed_recipes


def drawn(target: Any) -> Picture:
    plan = prepare(target, Engine().solver)
    assert plan is not None
    return picture_of(nest_of(plan.blueprint))


def random_pictures(count: int) -> Iterator[Picture]:
    for recipe in fixed_recipes(4 * count, seed=7):
        try:
            yield drawn(build(recipe).target)
        except CascadeError:
            continue
        count -= 1
        if not count:
            return


class Area(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Area) -> bool:
        across = self.left < other.right - 0.5 and other.left < self.right - 0.5
        return across and self.top < other.bottom - 0.5 and other.top < self.bottom - 0.5

    def holds(self, other: Area) -> bool:
        across = self.left - 0.5 <= other.left and other.right <= self.right + 0.5
        return across and self.top - 0.5 <= other.top and other.bottom <= self.bottom + 0.5


def around(x: float, y: float, width: float, height: float) -> Area:
    return Area(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def check(scene: Scene) -> None:
    """Hold what must be true of every picture. A piece of a line stays within the rectangle of its ends."""
    boxes = {item.id: around(*rest) for item, *rest in scene.boxes}
    frames = {frame.id: around(*frame[2:]) for frame in scene.frames}
    whole = Area(0, 0, scene.width, scene.height)
    labels = {}
    for line in scene.lines:
        if line.route.label is not None:
            labels[line.source, line.target, line.kind] = around(*line.route.label, text_width(line.label, 10), 12)
    solid: dict[Any, Area] = {**boxes, **labels}
    for name, area in (*boxes.items(), *frames.items(), *labels.items()):
        assert whole.holds(area), name
    listed = sorted(solid.items(), key=lambda each: each[1].top)
    for at, (name, area) in enumerate(listed):
        for other, under in listed[at + 1 :]:
            if under.top >= area.bottom:
                break
            assert not area.meets(under), (name, other)
        for other, frame in frames.items():
            assert frame.holds(area) or not frame.meets(area), (name, other)
    for line in scene.lines:
        points = line.route.points
        ends = {**frames, **boxes}
        for (x, y), id in ((points[0], line.source), (points[-1], line.target)):
            area = ends[id]
            assert area.left - 1 <= x <= area.right + 1, line
            assert area.top - 1 <= y <= area.bottom + 1, line
        if line.source == line.target:
            continue
        assert all(whole.holds(Area(x, y, x, y)) for x, y in points), line
        for (x, y), (to_x, to_y) in pairwise(points):
            piece = Area(min(x, to_x) - 0.6, min(y, to_y), max(x, to_x) + 0.6, max(y, to_y))
            for name, area in solid.items():
                is_own = name in (line.source, line.target) or (isinstance(name, tuple) and name[0] == line.source)
                assert is_own or not piece.meets(area), (line, name)


def test_random_programs_are_drawn_without_a_fault() -> None:
    for picture in random_pictures(150):
        check(scene_of(picture.lines, whole_of(picture)))
        for view in laid_out(picture).views:
            check(view.scene)


@pytest.mark.parametrize("name", GALLERY)
def test_the_gallery_is_drawn_without_a_fault(name: str) -> None:
    for view in laid_out(drawn(GALLERY[name]()), lambda shape: "12.3 ms · ×100").views:
        check(view.scene)


def test_a_large_picture_is_drawn_whole_without_a_fault() -> None:
    picture = drawn(six_hundred())
    check(scene_of(picture.lines, whole_of(picture)))


def test_wide_layers_are_broken_and_lines_go_around_what_stands_below() -> None:
    picture = drawn(step(*[step(at).named(f"read the part {at}") for at in range(60)]))
    scene = scene_of(picture.lines, whole_of(picture))
    check(scene)
    assert scene.width < 3000
    assert len({y for _, _, y, *_ in scene.boxes}) > 3


def test_random_graphs_with_cycles_of_firm_lines_are_laid_out() -> None:
    chance = random.Random(3)
    for _ in range(60):
        count = chance.randrange(1, 14)
        boxes = tuple(Box(chance.randrange(20, 200), 30) for _ in range(count))
        links = tuple(
            Link(
                chance.randrange(count),
                chance.randrange(count),
                20.0 * chance.randrange(3),
                13,
                loose=chance.random() < 0.5,
            )
            for _ in range(chance.randrange(30))
        )
        layout = lay_out(boxes, links)
        areas = [around(*place, *box[:2]) for place, box in zip(layout.places, boxes, strict=True)]
        for at, area in enumerate(areas):
            assert not any(area.meets(other) for other in areas[at + 1 :])
            assert Area(0, 0, layout.width, layout.height).holds(area)


def test_work_grows_with_the_graph_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def order(rows: list[list[int]], *near: Any) -> list[list[int]]:
        counts.append(sum(map(len, rows)))
        return order_layers(rows, *near)

    monkeypatch.setattr("cascade.graph.draw.layers.order_layers", order)
    for length in (200, 400):
        row: list[Any] = [step(at).named(f"{length} {at}") for at in range(4)]
        shared = cs.Param("shared", default=1)
        for layer in range(length // 4):
            row = [step(row[at], row[at - 1], shared).named(f"{length} {layer} {at}") for at in range(4)]
        picture = drawn(step(*row))
        scene_of(picture.lines, whole_of(picture))
    assert counts[1] < 2.2 * counts[0]  # a parameter that all read has one trunk


def test_views_are_plain_data() -> None:
    import json

    data = views_of(drawn(GALLERY["subflows"]()), notes=True)
    assert json.loads(json.dumps(data)) == data
    [view] = data["views"]
    ids = {each["id"] for each in (*view["boxes"], *view["frames"])}
    assert {each["source"] for each in view["lines"]} | {each["target"] for each in view["lines"]} <= ids
    assert [frame["label"] for frame in view["frames"]] == ["clean", "nested", "subflow"]
    assert data["title"] == "compare"


def test_a_large_picture_is_many_views_that_lead_into_each_other() -> None:
    data = views_of(drawn(six_hundred()))
    views = data["views"]
    shown = [box["id"] for view in views for box in view["boxes"] if box["kind"] != "fold"]
    assert len(shown) == len(set(shown)) == 601
    for number, view in enumerate(views):
        assert len(view["boxes"]) <= 70
        for box in view["boxes"]:
            if box["kind"] == "fold":
                assert views[box["view"]]["parent"] == number
                assert box["nodes"] == len(box["ids"]) > 1
