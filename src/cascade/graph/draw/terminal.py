"""Pictures of small graphs in letters, for terminals."""

from __future__ import annotations

import itertools
from functools import partial
from typing import NamedTuple
from unicodedata import combining, east_asian_width

from cascade.graph.draw.channels import Net, route
from cascade.graph.draw.layout import Box, arrange, rows_of
from cascade.graph.draw.picture import STYLES, Line, Picture, Shape, clean

__all__ = ["to_letters"]

CELL = 8.0
"""A letter's width in the units of the layout, whose gaps are made for pictures."""
MOST_SHAPES = 60
MOST_NAME = 30
MOST_LABEL = 14
MARKS = {
    "map": "≡ ",
    "router": "◇ ",
    "container": "▢ ",
    "optional": "◌ ",
    "subflow": "▣ ",
    "capacity": "◍ ",
}
UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
LETTERS = dict(zip(range(1, 16), "╵╷│╴┘┐┤╶└┌├─┴┬┼", strict=True))
DASHED = {UP | DOWN: "┆", LEFT | RIGHT: "┄"}


class _Port(NamedTuple):
    """Where a line comes from and what it says where it arrives."""

    source: int
    dashed: bool
    label: str


class _Drawing:
    """Lines and text by row and column."""

    def __init__(self) -> None:
        self.text: dict[tuple[int, int], str] = {}
        self.lines: dict[tuple[int, int], tuple[int, int, bool]] = {}
        """By place: which net it is, its directions, whether it is dashed."""

    def write(self, row: int, column: int, text: str) -> None:
        for letter in text:
            if combining(letter) and (row, column - 1) in self.text:
                self.text[row, column - 1] += letter
                continue
            self.text[row, column] = letter
            column += 1
            if _wide(letter):
                self.text[row, column] = ""
                column += 1

    def along(self, row: int, first: int, last: int, net: int, dashed: bool) -> None:
        for column in range(first, last + 1):
            ways = (LEFT if column > first else 0) | (RIGHT if column < last else 0)
            self.join(row, column, net, ways, dashed)

    def down(self, column: int, first: int, last: int, net: int, dashed: bool) -> None:
        """Draw a line that comes from above row `first` and goes on below row `last`."""
        for row in range(first, last + 1):
            self.join(row, column, net, UP | DOWN, dashed)

    def join(self, row: int, column: int, net: int, ways: int, dashed: bool) -> None:
        known = self.lines.get((row, column))
        if known is None:
            self.lines[row, column] = net, ways, dashed
        elif known[0] == net:
            self.lines[row, column] = net, known[1] | ways, dashed
        elif ways == UP | DOWN:  # one passes over another
            self.lines[row, column] = net, ways, dashed

    def __str__(self) -> str:
        rows: dict[int, dict[int, str]] = {}
        for (row, column), (_, ways, dashed) in self.lines.items():
            rows.setdefault(row, {})[column] = (DASHED.get(ways) if dashed else None) or LETTERS[ways]
        for (row, column), letter in self.text.items():
            rows.setdefault(row, {})[column] = letter
        out = []
        for row in range(max(rows, default=-1) + 1):
            letters = rows.get(row, {})
            out.append("".join(letters.get(column, " ") for column in range(max(letters, default=-1) + 1)).rstrip())
        return "\n".join(out)


def to_letters(picture: Picture, width: int) -> str | None:
    """Return a picture in letters, or None where it is too large for so many columns, or too tangled."""
    shapes = [shape for shape in picture.shapes if shape.kind != "end"]
    if not shapes or len(shapes) > MOST_SHAPES:
        return None
    at = {shape.id: i for i, shape in enumerate(shapes)}
    edges: dict[tuple[int, int], list[Line]] = {}
    jumps: dict[int, list[str]] = {}
    for line in picture.lines:
        if line.kind in ("jump", "exit"):
            mark, where = ("■", "") if line.kind == "exit" else ("↻", "")
            if line.kind == "jump" and line.source != line.target:
                where = f" → {_named(shapes[at[line.target]].label)}"
            jumps.setdefault(at[line.source], []).append(f"{mark} {_cut(line.name, MOST_LABEL)}{where}")
        else:
            edges.setdefault((at[line.source], at[line.target]), []).append(line)
    pairs = list(edges)
    rows, is_acyclic = rows_of(len(shapes), pairs)
    if not is_acyclic:
        return None
    return _Page(shapes, jumps, edges, pairs, rows).draw(width)


class _Page:
    """The places of one picture."""

    def __init__(
        self,
        shapes: list[Shape],
        jumps: dict[int, list[str]],
        edges: dict[tuple[int, int], list[Line]],
        pairs: list[tuple[int, int]],
        rows: list[int],
    ) -> None:
        self.shapes = shapes
        self.texts = [
            [MARKS.get(each.kind, "") + _named(each.label), *jumps.get(i, [])] for i, each in enumerate(shapes)
        ]
        self.arriving: list[list[_Port]] = [[] for _ in shapes]
        self.rows = list(rows)
        labels = [_label(edges[pair]) for pair in pairs]
        dashes = [all(STYLES[line.kind].dashes for line in edges[pair]) for pair in pairs]
        needed = [0] * len(shapes)
        for (_, target), label in zip(pairs, labels, strict=True):
            needed[target] += _width(label) + 3
        self.sizes = [max(max(map(_width, text)) + 4, needed[i] + 1, 7) for i, text in enumerate(self.texts)]
        layout = arrange([Box(size * CELL, 0.0) for size in self.sizes], pairs)
        self.columns = [round(x / CELL - size / 2) for (x, _), size in zip(layout.places, self.sizes, strict=True)]
        self.floors: dict[int, int] = {}
        """The last row of each box that was drawn."""
        self.points: dict[int, int] = {}
        """The column of each place where a line passes a layer; numbers go on from those of the shapes."""
        for pair, label, dashed, bends in zip(pairs, labels, dashes, layout.bends, strict=True):
            source = pair[0]
            for row, (x, _) in enumerate(bends, rows[source] + 1):
                point = len(self.rows)
                self.rows.append(row)
                self.points[point] = round(x / CELL)
                self.arriving.append([_Port(source, dashed, "")])
                source = point
            self.arriving[pair[1]].append(_Port(source, dashed, label))

    def draw(self, width: int) -> str | None:
        left = min([*self.columns, *self.points.values()])
        self.columns = [column - left for column in self.columns]
        self.points = {point: column - left for point, column in self.points.items()}
        if max(column + size for column, size in zip(self.columns, self.sizes, strict=True)) > width:
            return None
        layers: list[list[int]] = [[] for _ in range(max(self.rows) + 1)]
        for i, row in enumerate(self.rows):
            layers[row].append(i)
        drawing = _Drawing()
        top = self._layer(drawing, layers[0], 0, {})
        for upper, lower in itertools.pairwise(layers):
            ports = self._ports(lower)
            nets = self._nets(upper, ports)
            if nets is None:
                return None
            tracks = route(list(nets.values()), partial(self._shift, ports, lower))
            if tracks is None:
                return None
            self._channel(drawing, nets, top, tracks)
            top = self._arrive(drawing, lower, top + tracks, ports)
        return str(drawing)

    def _leaving(self, i: int, dashed: bool) -> int:
        """Return the column in which lines leave."""
        if i in self.points:
            return self.points[i]
        return self.columns[i] + self.sizes[i] // 2 + (2 if dashed else 0) - 1

    def _ports(self, lower: list[int]) -> dict[tuple[int, int], int]:
        """Return the column in which each line arrives: by what it arrives at and which of its lines it is."""
        ports = {}
        for i in lower:
            if i in self.points:
                ports[i, 0] = self.points[i]
                continue
            arriving = self.arriving[i] = sorted(
                self.arriving[i], key=lambda port: self._leaving(port.source, port.dashed)
            )
            most_inside = self.columns[i] + self.sizes[i] - 2
            free = self.sizes[i] - 1 - sum(_width(port.label) + 3 for port in arriving)
            column = self.columns[i] + 2 + max(0, free // 2)
            if len(arriving) == 1:
                straight = self._leaving(arriving[0].source, arriving[0].dashed)
                most = self.columns[i] + self.sizes[i] - _width(arriving[0].label)
                column = min(max(straight, self.columns[i] + 1), max(most, self.columns[i] + 1), most_inside)
            for n, port in enumerate(arriving):
                ports[i, n] = column
                column += _width(port.label) + 3
        return ports

    def _nets(self, upper: list[int], ports: dict[tuple[int, int], int]) -> dict[tuple[int, bool], Net] | None:
        nets: dict[tuple[int, bool], Net] = {}
        for (i, n), column in ports.items():
            port = self.arriving[i][n]
            key = port.source, port.dashed
            if port.source not in upper:
                return None
            nets.setdefault(key, Net(self._leaving(*key), port.dashed)).targets.append(column)
        return nets

    def _shift(self, ports: dict[tuple[int, int], int], lower: list[int], net: Net, column: int) -> bool:
        """Have a line arrive one column further right or left, if there is room."""
        key = next(key for key, known in ports.items() if known == column)
        i = key[0]
        for moved in (column - 1, column + 1):
            if moved in ports.values() or moved < 0:
                continue
            if i in self.points:
                if any(
                    self.columns[j] <= moved < self.columns[j] + self.sizes[j] for j in lower if j not in self.points
                ):
                    continue
                self.points[i] = moved
            elif not self.columns[i] < moved < self.columns[i] + self.sizes[i] - 1:
                continue
            ports[key] = moved
            net.targets[net.targets.index(column)] = moved
            return True
        return False

    def _channel(self, drawing: _Drawing, nets: dict[tuple[int, bool], Net], top: int, tracks: int) -> None:
        for number, ((source, dashed), net) in enumerate(nets.items()):
            if source not in self.points:
                drawing.text[self.floors[source], net.source] = "┬"
                drawing.down(net.source, self.floors[source] + 1, top - 1, number, dashed)
            if net.track is None:
                drawing.down(net.source, top, top + tracks - 1, number, dashed)
                continue
            row = top + net.track
            drawing.down(net.source, top, row - 1, number, dashed)
            drawing.along(row, *net.span(), number, dashed)
            drawing.join(row, net.source, number, UP, dashed)
            for column in net.targets:
                drawing.join(row, column, number, DOWN, dashed)
                drawing.down(column, row + 1, top + tracks - 1, number, dashed)

    def _arrive(self, drawing: _Drawing, lower: list[int], row: int, ports: dict[tuple[int, int], int]) -> int:
        for (i, n), column in ports.items():
            port = self.arriving[i][n]
            if i in self.points:
                drawing.down(column, row, row, -1 - i, port.dashed)
            else:
                drawing.write(row, column, f"▼ {port.label}".rstrip())
        return self._layer(drawing, lower, row + 1, ports)

    def _layer(self, drawing: _Drawing, layer: list[int], top: int, ports: dict[tuple[int, int], int]) -> int:
        """Draw the boxes of a layer; return the row below it."""
        boxes = [i for i in layer if i not in self.points]
        tall = max((len(self.texts[i]) for i in boxes), default=0) + 2 if boxes else 1
        for i in layer:
            if i in self.points:
                drawing.down(self.points[i], top, top + tall - 1, -1 - i, self.arriving[i][0].dashed)
        for i in boxes:
            column, size, texts = self.columns[i], self.sizes[i], self.texts[i]
            corners = "╭╮╰╯" if self.shapes[i].kind in ("param", "capacity") else "┌┐└┘"
            drawing.write(top, column, corners[0] + "─" * (size - 2) + corners[1])
            for n, text in enumerate(texts, 1):
                drawing.write(top + n, column, "│" + " " * (size - 2) + "│")
                drawing.write(top + n, column + (2 if n > 1 else (size - _width(text)) // 2), text)
            drawing.write(top + len(texts) + 1, column, corners[2] + "─" * (size - 2) + corners[3])
            self.floors[i] = top + len(texts) + 1
        return top + tall


def _label(lines: list[Line]) -> str:
    names = dict.fromkeys(line.name for line in lines if line.name)
    return _cut(clean(", ".join(names)), MOST_LABEL)


def _named(text: str) -> str:
    return _cut(clean(text), MOST_NAME)


def _cut(text: str, most: int) -> str:
    text = clean(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _wide(letter: str) -> bool:
    return east_asian_width(letter) in "WF"


def _width(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    return sum(0 if combining(letter) else 2 if _wide(letter) else 1 for letter in text)
