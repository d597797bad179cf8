"""Pictures as SVG, laid out here: nothing else needs to be installed."""

from __future__ import annotations

import itertools
from collections import defaultdict
from xml.sax.saxutils import escape, quoteattr

from cascade.graph.draw.layout import Box, Layout, arrange, rows_of
from cascade.graph.draw.picture import STYLES, Line, Picture, Shape, clean, cluster_of, shortened, title_of

__all__ = ["LOOKS", "to_svg"]

LOOKS = {
    "task": ("#eff6ff", "#3b82f6"),
    "map": ("#ecfdf5", "#10b981"),
    "param": ("#fefce8", "#ca8a04"),
    "router": ("#fff7ed", "#ea7a0c"),
    "container": ("#f8fafc", "#94a3b8"),
    "optional": ("#f8fafc", "#94a3b8"),
    "subflow": ("#f5f3ff", "#7c3aed"),
    "capacity": ("#faf5ff", "#9333ea"),
    "end": ("#1d4ed8", "#1d4ed8"),
}
"""Fill and border of each kind of shape."""
MARGIN, PADDING, TITLE = 16.0, 16.0, 22.0
FONT = "font-family='system-ui, Helvetica, Arial, sans-serif'"
Place = tuple[float, float, float, float]
"""Centre x and y, width, height."""


def to_svg(picture: Picture) -> str:
    """Return the picture as an SVG document; lines bear `data-source`, `data-target`, `data-kind`, `data-name`."""
    drawing = _Drawing(picture)
    body = [*drawing.frames(), *drawing.drawn_lines(), *drawing.drawn_shapes()]
    width, height = drawing.size
    heads = [
        f'<marker id="a-{kind}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 .8 8 4 0 7.2Z" fill="{style.color}"/>'
        "</marker>"
        for kind, style in STYLES.items()
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" {FONT} font-size="12">\n'
        f"<defs>{''.join(heads)}</defs>\n" + "\n".join(body) + "\n</svg>\n"
    )


def box_of(shape: Shape) -> Box:
    """Return the size of a shape: as wide as its label needs."""
    if shape.kind == "end":
        return Box(18, 18)
    letters = sum(1.0 if ord(letter) < 0x1100 else 1.8 for letter in shortened(shape.label))
    around = {"param": 34, "map": 40, "router": 46, "subflow": 34}.get(shape.kind, 24)
    return Box(max(54.0, letters * 6.7 + around), 40 if shape.kind == "router" else 30)


class _Drawing:
    """The places of all shapes, found inside out: what a sub-flow needs is a box in the graph around it."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        nest = picture.nest
        count = len(nest.graphs)
        self.shapes: list[list[Shape]] = [[] for _ in range(count)]
        for shape in picture.shapes:
            self.shapes[cluster_of(nest, shape)].append(shape)
        self.lines: list[list[Line]] = [[] for _ in range(count)]
        for line in picture.lines:
            self.lines[line.graph].append(line)
        self.frame_of: dict[str, int] = {
            shape.id: at for at, shapes in enumerate(self.shapes) for shape in shapes if shape.graph != at
        }
        """The frame of each sub-flow."""
        self.children: list[list[int]] = [[] for _ in range(count)]
        for at, (around, _) in enumerate(nest.owners):
            if around >= 0:
                self.children[around].append(at)
        self.layouts: list[Layout] = [Layout([], [], [], 0, 0)] * count
        self.boxes: list[Box] = [Box(0, 0)] * count
        self.bent: dict[int, dict[int, list[tuple[float, float]]]] = {}
        """The waypoints of the lines that lead downwards, by graph and by number; the others go around."""
        for at in range(count - 1, -1, -1):
            self._arrange(at)
        self.places: dict[str, Place] = {}
        self.floors: dict[Place, float] = {}
        self.framed: dict[int, Place] = {}
        self._place_all()
        margin = 110.0 if any(line.kind == "jump" for line in picture.lines) else 0.0
        whole = self.layouts[0]
        self.size = (whole.width + 2 * MARGIN + margin, whole.height + 2 * MARGIN)

    def _arrange(self, at: int) -> None:
        items: dict[str, int] = {}
        boxes: list[Box] = []
        for shape in self.shapes[at]:
            items[shape.id] = len(boxes)
            boxes.append(box_of(shape))
        frames = {child: len(boxes) + place for place, child in enumerate(self.children[at])}
        boxes += [self.boxes[child] for child in self.children[at]]
        bound = {line.source for line in self.lines[at] if line.kind in ("jump", "exit")}
        down: dict[int, tuple[int, int]] = {}
        leaving: dict[int, tuple[int, int]] = {}
        for number, line in enumerate(self.lines[at]):
            inside = line.kind == "result"  # it ends at the sub-flow itself, in its own frame
            source = self._item(line.source, items, frames)
            target = items[line.target] if inside else self._item(line.target, items, frames)
            if line.kind != "jump":
                down[number] = (source, target)
            elif line.target not in bound or source < target:
                leaving[number] = (source, target)
        whole = down | leaving
        if rows_of(len(boxes), list(whole.values()))[1]:  # loops go on, and end, downwards where they can
            down = whole
        numbers, pairs = list(down), list(down.values())
        layout = self.layouts[at] = arrange(boxes, pairs)
        self.bent[at] = dict(zip(numbers, layout.bends, strict=True))
        title = len(title_of(self.picture.nest, at)) * 7.0
        width = max(layout.width, title) + 2 * PADDING
        self.boxes[at] = Box(width, layout.height + 2 * PADDING + TITLE)

    def _item(self, name: str, items: dict[str, int], frames: dict[int, int]) -> int:
        frame = self.frame_of.get(name)
        return frames[frame] if frame is not None and frame in frames else items[name]

    def _place_all(self) -> None:
        corners: dict[int, tuple[float, float]] = {0: (MARGIN, MARGIN)}
        for at, layout in enumerate(self.layouts):
            left, top = corners[at]
            count = len(self.shapes[at])
            for shape, (x, y), floor in zip(self.shapes[at], layout.places, layout.floors, strict=False):
                box = box_of(shape)
                place = self.places[shape.id] = (left + x, top + y, box.width, box.height)
                self.floors[place] = top + floor
            for number, child in enumerate(self.children[at], count):
                (x, y), box = layout.places[number], self.boxes[child]
                place = self.framed[child] = (left + x, top + y, box.width, box.height)
                self.floors[place] = top + layout.floors[number]
                slack = (box.width - 2 * PADDING - self.layouts[child].width) / 2
                corners[child] = (
                    left + x - box.width / 2 + PADDING + slack,
                    top + y - box.height / 2 + PADDING + TITLE,
                )
            self.bent[at] = {number: [(left + x, top + y) for x, y in bends] for number, bends in self.bent[at].items()}

    def frames(self) -> list[str]:
        """Draw the frames of the sub-flows, outer ones first."""
        out = []
        for at, (x, y, width, height) in sorted(self.framed.items()):
            left, top = x - width / 2, y - height / 2
            out.append(
                f'<g class="frame" data-graph="{at}"><rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{height:.1f}" rx="8" fill="#7c3aed" fill-opacity=".05" stroke="#c4b5fd"/>'
                f'<text x="{left + 10:.1f}" y="{top + 17:.1f}" fill="#6d28d9" font-size="11">'
                f"{escape(title_of(self.picture.nest, at))}</text></g>"
            )
        return out

    def _end(self, name: str, line: Line, target: bool) -> Place:
        """Return where a line begins or ends: at a shape, or at the frame of a sub-flow."""
        frame = self.frame_of.get(name)
        if frame is None or (line.kind == "result" and target):
            return self.places[name]
        return self.framed[frame]

    def drawn_lines(self) -> list[str]:
        """Draw the lines, their ends spread over the borders that they meet."""
        ends: list[tuple[Line, Place, Place, list[tuple[float, float]] | None]] = []
        leaving: dict[Place, list[int]] = defaultdict(list)
        coming: dict[Place, list[int]] = defaultdict(list)
        for at, lines in enumerate(self.lines):
            for number, line in enumerate(lines):
                source, target = self._end(line.source, line, False), self._end(line.target, line, True)
                bends = self.bent[at].get(number)
                if bends is not None:
                    leaving[source].append(len(ends))
                    coming[target].append(len(ends))
                ends.append((line, source, target, bends))
        starts: dict[int, float] = {}
        stops: dict[int, float] = {}
        for place, numbers in leaving.items():
            numbers.sort(key=lambda at: (ends[at][3] or [ends[at][2][:2]])[0][0])
            _spread(place, numbers, starts)
        for place, numbers in coming.items():
            numbers.sort(key=lambda at: (ends[at][3] or [ends[at][1][:2]])[-1][0])
            _spread(place, numbers, stops)
        out, labels = [], []
        for at, (line, source, target, bends) in enumerate(ends):
            if bends is None:
                path, spot = _beside(source, target)
            else:
                floor = self.floors[source]
                if floor - source[1] - source[3] / 2 > 20:
                    bends = [(starts[at], floor), *bends]
                turn = coming[target].index(at) % 2 if len(coming[target]) < 20 else 0
                path, spot = _curve((starts[at], source), bends, (stops[at], target), high=bool(turn))
            out.append(_path(line, path))
            if line.name:
                labels.append(_label(line, spot))
        return out + labels

    def drawn_shapes(self) -> list[str]:
        """Draw the shapes."""
        return [_shape(shape, self.places[shape.id]) for shapes in self.shapes for shape in shapes]


def _spread(place: Place, numbers: list[int], ports: dict[int, float]) -> None:
    x, _, width, _ = place
    step = min(22.0, width * 0.7 / len(numbers))
    for at, number in enumerate(numbers):
        ports[number] = x + (at - (len(numbers) - 1) / 2) * step


def _curve(
    start: tuple[float, Place], bends: list[tuple[float, float]], stop: tuple[float, Place], *, high: bool
) -> tuple[str, tuple[float, float]]:
    """Return the path of a line downwards, and where its name goes; `high` for every other one, to make room."""
    points = [(start[0], start[1][1] + start[1][3] / 2), *bends, (stop[0], stop[1][1] - stop[1][3] / 2)]
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        pull = (to_y - y) / 2
        path += f"C{x:.1f} {y + pull:.1f} {to_x:.1f} {to_y - pull:.1f} {to_x:.1f} {to_y:.1f}"
    (x, y), (to_x, to_y) = points[-2:]
    across, down = (0.3, 0.36) if high else (0.62, 0.6)
    return path, (x + (to_x - x) * across, y + (to_y - y) * down)


def _beside(source: Place, target: Place) -> tuple[str, tuple[float, float]]:
    """Return the path of a jump: around the right side."""
    x, y, to_x, to_y = source[0] + source[2] / 2, source[1], target[0] + target[2] / 2, target[1]
    if source == target:
        y, to_y = y - 7, to_y + 7
    bulge = max(x, to_x) + 34 + min(60.0, abs(to_y - y) * 0.12)
    path = f"M{x:.1f} {y:.1f}C{bulge:.1f} {y:.1f} {bulge:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
    return path, ((x + to_x + 6 * bulge) / 8 + 4, (y + to_y) / 2)


def _path(line: Line, path: str) -> str:
    style = STYLES[line.kind]
    dashes = f' stroke-dasharray="{style.dashes}"' if style.dashes else ""
    return (
        f'<path d="{path}" fill="none" stroke="{style.color}" stroke-width="{style.width:g}"{dashes} '
        f'marker-end="url(#a-{line.kind})" data-source="{line.source}" data-target="{line.target}" '
        f'data-kind="{line.kind}" data-name={quoteattr(clean(line.name))}/>'
    )


def _label(line: Line, spot: tuple[float, float]) -> str:
    return (
        f'<text x="{spot[0]:.1f}" y="{spot[1] + 3:.1f}" text-anchor="middle" font-size="10" '
        f'fill="{STYLES[line.kind].color}" stroke="#fff" stroke-width="3" paint-order="stroke">'
        f"{escape(shortened(line.name, 24))}</text>"
    )


def _shape(shape: Shape, place: Place) -> str:
    x, y, width, height = place
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    fill, border = LOOKS[shape.kind]
    paint = f'fill="{fill}" stroke="{border}" stroke-width="1.3"'
    if shape.kind == "end":
        drawn = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="#fff" stroke="{border}" stroke-width="1.5"/>'
        drawn += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}"/>'
    elif shape.kind == "param":
        drawn = f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{width / 2:.1f}" ry="{height / 2:.1f}" {paint}/>'
    elif shape.kind in ("map", "router"):
        cut = 12.0 if shape.kind == "map" else width / 2
        corners = [(left, y), (left + cut, top), (right - cut, top), (right, y), (right - cut, bottom)]
        corners.append((left + cut, bottom))
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)
        drawn = f'<polygon points="{points}" {paint}/>'
    else:
        round_ = {"task": 5, "capacity": 15}.get(shape.kind, 2)
        dashes = ' stroke-dasharray="4 3"' if shape.kind in ("optional", "capacity") else ""
        drawn = f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
        drawn += f'rx="{round_}" {paint}{dashes}/>'
    label = "" if shape.kind == "end" else escape(shortened(shape.label))
    note = escape(clean(f"{shape.kind} {shape.label}" + (f", declared at {shape.note}" if shape.note else "")))
    text = f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" fill="#0f172a">{label}</text>' if label else ""
    return f'<g class="node" data-id="{shape.id}" data-kind="{shape.kind}"><title>{note}</title>{drawn}{text}</g>'
