"""How a large picture folds: sub-flows, loops, and bands of layers, as a tree whose every part is small."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cascade.graph.draw.layout import rows_of
from cascade.graph.draw.picture import Line, Picture, Shape, cluster_of, shortened, title_of
from cascade.graph.nest import Nest
from cascade.spec.graph import Graph

__all__ = ["Fold", "fold"]

MOST = 70
"""More than so many items in one fold are folded further ..."""
WAYS = 12
"""... into about so many parts."""


class Fold:
    """A part of a picture that can be shown as one box. Its `items` are folds, and numbers of shapes."""

    __slots__ = ("items", "kind", "title")

    def __init__(self, title: str, kind: str, items: list[Any]) -> None:
        self.title = title
        self.kind = kind
        self.items = items


def fold(picture: Picture) -> Fold:
    """Return the whole picture as a fold."""
    nest = picture.nest
    count = len(nest.graphs)
    folds = [Fold(title_of(nest, at), "subflow" if at else "root", []) for at in range(count)]
    home: list[int] = [cluster_of(nest, shape) for shape in picture.shapes]
    number_of = {shape.id: at for at, shape in enumerate(picture.shapes)}
    for at, where in enumerate(home):
        folds[where].items.append(at)
    lines: list[list[Line]] = [[] for _ in range(count)]
    for line in picture.lines:
        lines[line.graph].append(line)
    for at in range(count - 1, -1, -1):
        whole = folds[at]
        whole.items += [folds[child] for child in _children(nest, at)]
        _fold_loops(whole, nest.graphs[at], at, picture.shapes)
        for part in (whole, *(item for item in whole.items if isinstance(item, Fold) and item.kind == "loop")):
            if len(part.items) > MOST:
                _fold_bands(part, picture, lines[at], number_of)
    return folds[0]


def _children(nest: Nest, at: int) -> list[int]:
    graph = nest.graphs[at]
    return [] if not nest.inner else [nest.inner[at, i] for i in range(len(graph)) if (at, i) in nest.inner]


# --- loops


def _fold_loops(whole: Fold, graph: Graph, at: int, shapes: list[Shape]) -> None:
    """Put the states of each loop, and what only they need, into a fold of their own."""
    if not graph.jumps:
        return
    loop = _loops(graph)
    bodies: dict[int, list[Any]] = {}
    rest: list[Any] = []
    for item in whole.items:
        owner = -1
        if isinstance(item, int) and shapes[item].graph == at:
            shape = shapes[item]
            if shape.kind == "end":
                owner = loop.get(int(shape.id.rpartition("x")[2]), -1)
            elif shape.number >= 0:
                owner = loop.get(shape.number, -1)
        if owner < 0:
            rest.append(item)
        else:
            bodies.setdefault(owner, []).append(item)
    for owner, items in bodies.items():
        if sum(shapes[item].kind != "end" for item in items) < 2:
            rest += items
        else:
            rest.append(Fold(f"loop of {shortened(graph.name(owner))}", "loop", items))
    whole.items = rest


def _loops(graph: Graph) -> dict[int, int]:
    """Return the first state of the loop that each node belongs to, for states and what only states need."""
    loop: dict[int, int] = {}
    joined: dict[int, list[int]] = {i: [] for i in graph.jumps}
    for i, routes in graph.jumps.items():
        for target in routes.values():
            if target is not None and target in joined:
                joined[i].append(target)
                joined[target].append(i)
    for i in sorted(graph.jumps):
        stack = [] if i in loop else [i]
        while stack:
            state = stack.pop()
            if state not in loop:
                loop[state] = i
                stack += joined[state]
    # Readers by data or condition have higher numbers than what they read: one look from behind is enough.
    inner = _certain_readers(graph)
    for i in range(len(graph) - 1, -1, -1):
        if i in loop or i == graph.root or i not in inner:
            continue
        owners = {loop.get(reader, -1) for reader in inner[i]}
        if len(owners) == 1 and -1 not in owners:
            loop[i] = owners.pop()
    return loop


def _certain_readers(graph: Graph) -> dict[int, list[int]]:
    """Return the readers of each node, -1 for one that is no reader by data or condition."""
    found: dict[int, list[int]] = {}
    for edge in graph.edges():
        if edge.kind == "jump":
            if edge.target not in graph.jumps:
                found.setdefault(edge.target, []).append(-1)
        else:
            found.setdefault(edge.source, []).append(edge.target if edge.kind in ("data", "condition") else -1)
    return found


# --- bands


def _fold_bands(whole: Fold, picture: Picture, lines: list[Line], number_of: dict[str, int]) -> None:
    """Fold the items of a large graph by layers, wide layers by name."""
    unit: dict[int, int] = {}
    for at, item in enumerate(whole.items):
        for shape in [item] if isinstance(item, int) else _shapes_in(item):
            unit[shape] = at
    pairs = []
    for line in lines:
        if line.kind == "jump":
            continue
        source, target = unit.get(number_of[line.source]), unit.get(number_of[line.target])
        if source is not None and target is not None and source != target:
            pairs.append((source, target))
    rows, _ = rows_of(len(whole.items), pairs)
    labels = [item.title if isinstance(item, Fold) else picture.shapes[item].label for item in whole.items]
    stack = [(whole, sorted(range(len(whole.items)), key=rows.__getitem__))]
    items = whole.items
    while stack:
        part, members = stack.pop()
        if len(members) <= MOST:
            part.items = [items[at] for at in members]
            continue
        part.items = []
        for title, inside in _parts(members, rows, labels):
            inner = Fold(title, "band", [])
            if len(inside) == 1:
                part.items.append(items[inside[0]])
                continue
            part.items.append(inner)
            stack.append((inner, inside))


def _shapes_in(part: Fold) -> list[int]:
    found = []
    stack: list[Any] = [part]
    while stack:
        item = stack.pop()
        if isinstance(item, Fold):
            stack += item.items
        else:
            found.append(item)
    return found


def _parts(members: list[int], rows: list[int], labels: list[str]) -> list[tuple[str, list[int]]]:
    """Cut into bands of layers; one layer, by name; one name, by number."""
    size = max(MOST // 2, -(-len(members) // WAYS))
    if rows[members[0]] != rows[members[-1]]:
        bands: list[list[int]] = [[]]
        for at in members:
            band = bands[-1]
            if band and rows[band[-1]] != rows[at] and len(band) >= size:
                bands.append(band := [])
            band.append(at)
        if len(bands) == 1:  # all but the last layer together are few
            first = next(at for at in range(len(members)) if rows[members[at]] == rows[members[-1]])
            bands = [members[:first], members[first:]]
        return [(f"{_title(band, labels)} · {_layers(band, rows)}", band) for band in bands]
    named: dict[str, list[int]] = {}
    for at in members:
        named.setdefault(labels[at], []).append(at)
    if 1 < len(named) <= WAYS:
        return list(named.items())
    pieces = range(0, len(members), size)
    return [
        (
            f"{_title(members[at : at + size], labels)} · {at + 1:,}–{min(at + size, len(members)):,}",
            members[at : at + size],
        )
        for at in pieces
    ]


def _layers(members: list[int], rows: list[int]) -> str:
    first, last = rows[members[0]] + 1, rows[members[-1]] + 1
    return f"layer {first:,}" if first == last else f"layers {first:,}–{last:,}"


def _title(members: list[int], labels: list[str]) -> str:
    """Name a band after what it holds most of."""
    common = Counter(labels[at] for at in members)
    if len(common) == 1:
        return labels[members[0]]
    if len(common) == len(members):
        return f"{shortened(labels[members[0]], 18)} … {shortened(labels[members[-1]], 18)}"
    shown = [shortened(name, 18) for name, _ in common.most_common(2)]
    return ", ".join(shown) + (" …" if len(common) > 2 else "")
