"""Which nodes of a program are those of an earlier form of it: what matches computes the same, of the same.

Two nodes match if they are the same task with the same arguments, and all that they need matches in turn: by data,
condition, order and route, through all that their jumps lead to, and the loop that they run in. As loops lead back
this is bisimilarity, found by partition refinement (as by Hopcroft for automata): nodes are told apart by what they
say of themselves, then by how what they need is told apart, until nothing more is.

Where several are alike, those whose readers match are taken first, then the order decides. A node that matches reads
exactly what its match has read: of two equal calls each keeps its own value, so what was made of one of them is never
read beside the other's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

__all__ = ["HOME", "JUMP", "NEED", "Matched", "Outline", "match", "outline_of"]

NEED, JUMP, HOME = "\1", "\2", "\3"
"""In the text of a node, one for each node that it names: one that it needs, one that its jumps lead to, one whose loop
it runs in. No repr of a value has them."""


class Outline(NamedTuple):
    """A program, as far as its nodes are compared; they are counted through all of its graphs."""

    texts: list[str]
    needs: list[list[int]]
    """Of each node those that it names by a `NEED`."""
    others: list[list[int]]
    """Of each node those that it names by a `JUMP` or `HOME`."""
    graphs: list[range]
    """The nodes of each graph; those of sub-flows stand behind the one around them."""
    inner: dict[int, int]
    """The graphs of the nodes that are sub-flows."""
    roots: list[int]
    """What each graph gives; below zero, what is no node."""

    def order(self) -> Iterator[int]:
        """Give all nodes, each behind what it needs and what is inside of it."""
        done = bytearray(len(self.texts))
        for graph in reversed(self.graphs):
            for first in graph:
                stack = [first]
                while stack:
                    v = stack[-1]
                    left = [] if done[v] else [at for at in self.needs[v] if not done[at]]
                    if left:
                        stack += left
                    else:
                        stack.pop()
                        if not done[v]:
                            done[v] = 1
                            yield v


class Matched(NamedTuple):
    """What of a program is what of its earlier form, by the numbers in their outlines."""

    same: dict[int, int]
    inside: dict[int, int]
    """Sub-flows whose nodes may match, also where they do not match themselves."""


def outline_of(nodes: Iterable[Sequence[Any]], graphs: Iterable[Sequence[int]]) -> Outline:
    """Return the outline of a program.

    Args:
        nodes: the text of each node, and the numbers in its own graph of those that the marks in it stand for.
        graphs: of each graph how many nodes it has, the graph around it (-1: none), its number there, its root.
    """
    found = Outline([], [], [], [], {}, [])
    first = 0
    for size, around, number, root in graphs:
        if around >= 0:
            found.inner[found.graphs[around][number]] = len(found.graphs)
        found.graphs.append(range(first, first + size))
        found.roots.append(first + root if root >= 0 else -1)
        first += size
    places = (graph.start for graph in found.graphs for _ in graph)
    for start, (text, *named) in zip(places, nodes, strict=True):
        marks = [mark for mark in text if mark in (NEED, JUMP, HOME)]
        placed = [*zip(marks, [start + at for at in named], strict=True)]
        found.texts.append(text)
        found.needs.append([at for mark, at in placed if mark == NEED])
        found.others.append([at for mark, at in placed if mark != NEED])
    return found


class _Side(NamedTuple):
    """One of two programs that are compared."""

    outline: Outline
    kinds: list[int]
    """Of each node a number that is the same for those that compute the same, in both."""

    def named(self, v: int) -> list[int]:
        return [*self.outline.needs[v], *self.outline.others[v]]

    def inner(self, v: int) -> range:
        return self.outline.graphs[self.outline.inner[v]]


def match(old: Outline, new: Outline) -> Matched:
    """Find which nodes of a program are those of its earlier form."""
    before, now = map(_Side, (old, new), _kinds([old, new]))
    heights = _heights(new)
    matched = Matched({}, {})
    waiting = [(0, 0)]
    for one, other in waiting:
        order = sorted(new.graphs[other], key=heights.__getitem__, reverse=True)
        matched.same.update(_pairs(before, now, old.graphs[one], order))
        inner = [v for v in new.graphs[other] if v in new.inner]
        free = {u: None for u in old.graphs[one] if u in old.inner}
        for v in inner:
            free.pop(matched.same.get(v, -1), None)
        for v in inner:
            u = matched.same.get(v)
            if u is None:
                u = _alike(before, now, v, free, matched.same)
                free.pop(-1 if u is None else u, None)
            if u is not None:
                matched.inside[v] = u
                waiting.append((old.inner[u], new.inner[v]))
    return matched


def _alike(before: _Side, now: _Side, v: int, free: Iterable[int], same: dict[int, int]) -> int | None:
    """Return the sub-flow that was given what sub-flow `v` is given, and has most in common with it."""
    text, given = now.outline.texts[v], [same.get(at) for at in now.named(v)]
    found = [u for u in free if before.outline.texts[u] == text and before.named(u) == given]
    own = Counter(now.kinds[at] for at in now.inner(v))
    common = [(Counter(before.kinds[at] for at in before.inner(u)) & own).total() for u in found]
    return found[common.index(max(common))] if found else None


def _heights(outline: Outline) -> list[int]:
    """Return for each node how long the longest way down is, so that those that need it have more."""
    found = [0] * len(outline.texts)
    for v in outline.order():
        found[v] = 1 + max([found[at] for at in outline.needs[v]], default=0)
    return found


def _kinds(outlines: list[Outline]) -> list[list[int]]:
    """Return for the nodes of several programs what is one number for those that compute the same."""
    orders = [[*outline.order()] for outline in outlines]
    found, count = [[0] * len(outline.texts) for outline in outlines], 0
    while True:
        table: dict[Any, int] = {}
        for at, outline in enumerate(outlines):
            before, now = found[at], [0] * len(outline.texts)
            for v in orders[at]:
                inside = outline.inner.get(v)
                root = -1 if inside is None else outline.roots[inside]
                needs, others = [now[need] for need in outline.needs[v]], [before[other] for other in outline.others[v]]
                key = outline.texts[v], now[root] if root >= 0 else root, *needs, *others
                now[v] = table.setdefault(key, len(table))
            found[at] = now
        if len(table) == count or not any(any(outline.others) for outline in outlines):
            return found
        count = len(table)


def _pairs(before: _Side, now: _Side, olds: range, order: list[int]) -> dict[int, int]:
    """Return which nodes of one graph match those of another.

    Args:
        order: the nodes of the new one, those that need others before these.
    """
    like: dict[int, list[int]] = {}
    for u in reversed(olds):
        like.setdefault(before.kinds[u], []).append(u)  # the first is the last
    alone = Counter(now.kinds[v] for v in order)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for is_sure in (True, False):  # first what there is no other for, with what that needs
        for v in order:
            found = like.get(now.kinds[v], [])
            while found and found[-1] in taken:
                found.pop()
            if v not in pairs and found and not (is_sure and (len(found) > 1 or alone[now.kinds[v]] > 1)):
                pairs[v] = found[-1]
                taken.add(found[-1])
            if v in pairs:
                for need, u in zip(now.named(v), before.named(pairs[v]), strict=True):
                    if need not in pairs and u not in taken and now.kinds[need] == before.kinds[u]:
                        pairs[need] = u
                        taken.add(u)
    _leave_consistent(pairs, before, now)
    return pairs


def _leave_consistent(pairs: dict[int, int], before: _Side, now: _Side) -> None:
    """Take out what reads something else than its match has read."""
    readers: dict[int, list[int]] = {}
    for v in pairs:
        for need in now.named(v):
            readers.setdefault(need, []).append(v)
    waiting = [*pairs]
    while waiting:
        v = waiting.pop()
        if v in pairs and [pairs.get(need) for need in now.named(v)] != before.named(pairs[v]):
            del pairs[v]
            waiting += readers.get(v, [])
