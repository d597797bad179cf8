"""Which instructions of a block may be skipped, and which of those may give their readers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade.spec.operations import CALLN, GATED, IMPORT, MAP, NESTED, OPTIONAL, PACK, ROUTE

if TYPE_CHECKING:
    from cascade.spec.blueprint import Block

__all__ = ["Skipping", "skipping"]

Skipping = tuple[frozenset[int], frozenset[int]]
"""The registers of what may be skipped, and of what may hold nothing."""


def skipping(block: Block) -> Skipping:
    """Return what may be skipped in a block, and what may hold nothing: the least that agrees with itself."""
    skips: set[int] = set()
    lacks: set[int] = set()
    size = -1
    while size != len(skips) + len(lacks):
        size = len(skips) + len(lacks)
        for i in range(len(block)):
            _look(block, i, skips, lacks)
    return frozenset(skips), frozenset(lacks)


def _look(block: Block, i: int, skips: set[int], lacks: set[int]) -> None:
    op = block.ops[i]
    if op == OPTIONAL:
        return
    if i in block.jumps:  # a state that it enters may be skipped
        skips.add(i)
        lacks.add(i)
        return
    if op not in (GATED, ROUTE, PACK, MAP, NESTED) and op > CALLN:
        skips.add(i)
        if op != IMPORT:
            lacks.add(i)
        return
    gate = block.gates.get(i)
    data_lacks = any(at in lacks for at in block.references(i))
    if op == ROUTE:
        router = block.routes[i]
        ways = [*router.routes.values(), *([] if router.default is None else [router.default])]
        if data_lacks or block.references(i)[0] in skips or any(way in skips for way in ways):
            skips.add(i)
        if data_lacks or block.references(i)[0] in skips or any(way in lacks for way in ways):
            lacks.add(i)
        return
    if gate is None:
        if data_lacks:
            skips.add(i)
            lacks.add(i)
        return
    local = block.local
    after = [number if local is None else local.get(number, -1) for number in gate.after]
    if data_lacks or gate.condition is not None or any(at in skips for at in after):
        skips.add(i)
        stand_in = gate.otherwise if gate.otherwise is not None else gate.first
        if stand_in is None or stand_in in lacks:
            lacks.add(i)
