"""In which order boxes stand within their layers, so that few lines cross: barycentres, then swaps of neighbours."""

from __future__ import annotations

from itertools import pairwise

__all__ = ["order_layers"]

SWEEPS = 12
FEW = 700
"""With so many cells or fewer neighbours are swapped as well."""
MANY = 6000
"""With more cells, crossings are not counted, and there are fewer sweeps."""

Neighbours = list[list[int]]


def order_layers(layers: list[list[int]], above: Neighbours, below: Neighbours) -> list[list[int]]:
    """Return the layers, each in the order in which the fewest crossings were seen."""
    count = sum(map(len, layers))
    place = [0] * len(above)
    layers = [list(layer) for layer in layers]
    for layer in layers:
        _number(layer, place)
    if count > MANY:
        for sweep in range(4):
            _sweep(layers, above if sweep % 2 == 0 else below, place, sweep % 2 == 0, ties=False)
        return layers
    best, fewest = [list(layer) for layer in layers], _crossings(layers, below, place)
    for sweep in range(SWEEPS):
        if sweep > 1 and not fewest:
            break
        down = sweep % 2 == 0
        _sweep(layers, above if down else below, place, down, ties=sweep % 4 > 1)
        if count <= FEW:
            _swap(layers, above, below, place)
        crossings = _crossings(layers, below, place)
        if crossings < fewest or (sweep < 2 and crossings == fewest):  # what has been sorted is more even
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _number(layer: list[int], place: list[int]) -> None:
    for at, cell in enumerate(layer):
        place[cell] = at


def _sweep(layers: list[list[int]], near: Neighbours, place: list[int], down: bool, *, ties: bool) -> None:
    """Sort each layer by where the neighbours in the layer before stand; `ties` are turned around."""
    for layer in layers if down else reversed(layers):
        if len(layer) < 2:
            continue
        keys = {
            cell: sum([place[each] for each in near[cell]]) / len(near[cell]) if near[cell] else float(place[cell])
            for cell in layer
        }
        if ties:
            layer.reverse()
        layer.sort(key=keys.__getitem__)
        _number(layer, place)


def _crossings(layers: list[list[int]], below: Neighbours, place: list[int]) -> int:
    """Count the crossings between all layers (Barth, Mutzel, Juenger: an accumulator tree)."""
    total = 0
    for upper, lower in pairwise(layers):
        size = len(lower)
        tree = [0] * (size + 1)
        seen = 0
        for cell in upper:
            ends = sorted([place[each] for each in below[cell]])
            for end in ends:  # those that were seen before and end further right
                at, left = end + 1, 0
                while at:
                    left += tree[at]
                    at &= at - 1
                total += seen - left
            for end in ends:
                at = end + 1
                while at <= size:
                    tree[at] += 1
                    at += at & -at
                seen += 1
    return total


def _swap(layers: list[list[int]], above: Neighbours, below: Neighbours, place: list[int]) -> None:
    """Swap neighbours as long as that saves crossings."""
    for _ in range(4):
        swapped = False
        for layer in layers:
            for at in range(len(layer) - 1):
                left, right = layer[at], layer[at + 1]
                saved = 0
                for near in (above, below):
                    here, there = [place[each] for each in near[left]], [place[each] for each in near[right]]
                    saved += sum((a > b) - (a < b) for a in here for b in there)
                if saved > 0:
                    layer[at], layer[at + 1] = right, left
                    place[left], place[right] = at + 1, at
                    swapped = True
        if not swapped:
            return
