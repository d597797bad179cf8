"""Regions: which instructions of a block wait for the same things, and so can be carried out as one stretch.

Instructions that take time (coroutines, threads, loops, maps, policies) are *managed*: each stands alone. The
others share a region if they wait for the same managed results. Different regions run side by side: a region
starts as soon as its own managed results are there, so a stretch is never a barrier.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from cascade.spec.operations import CALLN, GATED, IMPORT, NESTED, OPTIONAL, PACK, ROUTE

__all__ = ["MANAGED_REGION", "is_managed", "regions"]

MANAGED_REGION = -1
_PLAIN = frozenset({*range(CALLN + 1), PACK, ROUTE, OPTIONAL, GATED, IMPORT, NESTED})


def regions(block: Any, more: Container[int] = (), less: Container[int] = ()) -> list[int]:
    """Return the region of each instruction, numbered from 0 in order of appearance; managed ones have -1.

    Args:
        more: instructions to be treated as managed, besides those that take time.
        less: instructions that are not, although others of their kind are.

    What an instruction waits for is the union of what its inputs wait for. Equal unions are one object, and a
    union of the same is made once and at once, so this is linear for the graphs that people write.
    """
    alone = [i in more or (i not in less and is_managed(block, i)) for i in range(len(block))]
    sets: dict[frozenset[int], int] = {frozenset(): 0}
    members: list[frozenset[int]] = [frozenset()]
    unions: dict[tuple[int, ...], int] = {}
    waits: list[int] = []
    for i in range(len(block)):
        others: dict[int, None] = {}
        for at in _inputs(block, i):
            if 0 <= at < i:
                others[_intern(sets, members, frozenset({at})) if alone[at] else waits[at]] = None
        others.pop(0, None)
        if len(others) < 2:
            total = next(iter(others), 0)
        else:
            key = tuple(others)
            known = unions.get(key)
            if known is None:
                known = unions[key] = _intern(sets, members, frozenset().union(*[members[one] for one in others]))
            total = known
        waits.append(total)
    numbers: dict[int, int] = {}
    return [MANAGED_REGION if alone[i] else numbers.setdefault(waits[i], len(numbers)) for i in range(len(block))]


def _intern(sets: dict[frozenset[int], int], members: list[frozenset[int]], wanted: frozenset[int]) -> int:
    found = sets.get(wanted)
    if found is None:
        found = sets[wanted] = len(members)
        members.append(wanted)
    return found


def _inputs(block: Any, i: int) -> list[int]:
    inputs = [] if block.ops[i] == IMPORT else list(block.references(i))
    gate = block.gates.get(i)
    if gate is not None:
        inputs += [gate.condition] if gate.condition is not None else []
        inputs += [at for _, at in gate.amounts]
        local = block.local
        inputs += [number if local is None else local.get(number, -1) for number in gate.after]
    return inputs


def is_managed(block: Any, i: int) -> bool:
    """Say whether an instruction takes time of its own."""
    if block.ops[i] not in _PLAIN:
        return True
    form = block.forms[i]
    return form is not None and (form.is_async or form.task.mode in ("blocking", "compute"))
