"""Which instructions may become one function, and in which order they stand there."""

from __future__ import annotations

from collections.abc import Container
from heapq import heapify, heappop, heappush

from cascade.compiler.code.source_writer import CannotEmit
from cascade.spec.blueprint import Block
from cascade.spec.operations import IMPORT

__all__ = ["REASONS", "in_order"]

REASONS = {
    "policy": "each call is under a policy (timeout, constraints, resources), which the scheduler sees to",
    "map": "a map that is long, has options or is watched, and goes through its items itself",
    "loop": "a loop, which is a function of its own",
    "sub-flow": "a sub-flow, which is a flow of its own",
    "late": "it may ask for others, or be skipped, while calls around it take time",
    "threads": "the function runs in threads",
    "side by side": "a coroutine beside which others may run",
    "strict": "a condition looks at a router or an order at something that may be skipped in several ways",
    "order": "a router may need what runs anyway, but later",
    "nesting": "routes lie in each other deeper than Python allows",
    "size": "one function would be too large",
}
"""Why instructions are left to the interpreter."""


def in_order(block: Block, steps: list[int], certain: Container[int]) -> list[int]:
    """Return steps in an order in which awaiting in place delays nothing: what does not wait comes first.

    Args:
        certain: the registers that get a value anyway; others only when they are asked for.

    Raises:
        CannotEmit: two coroutines could run side by side.
    """
    own = set(steps)
    waits = {i: _waits(block, i, certain) for i in steps}
    if not any(waits.values()):
        return steps
    needs: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    for i in steps:
        found = {at for at in _needs(block, i, certain) if at in own}
        needs[i] = len(found)
        for at in found:
            readers.setdefault(at, []).append(i)
    ready = [(waits[i], i) for i in steps if not needs[i]]
    heapify(ready)
    order: list[int] = []
    while ready:
        is_waiting, i = heappop(ready)
        if is_waiting and ready:
            raise CannotEmit("side by side")
        order.append(i)
        for at in readers.get(i, ()):
            needs[at] -= 1
            if not needs[at]:
                heappush(ready, (waits[at], at))
    if len(order) < len(steps):
        raise CannotEmit("order")
    return order


def _needs(block: Block, i: int, certain: Container[int]) -> set[int]:
    """Return what must run before an instruction, also for what it may ask for late."""
    direct = (*block.needs(i), *block.late_needs(i))
    found = {at for at in direct if at >= 0 and at in certain}
    stack = [at for at in direct if at >= 0 and at not in certain]
    seen = {i, *stack}
    while stack:
        at = stack.pop()
        for other in (*block.needs(at), *block.late_needs(at)):
            if other < 0 or other in seen:
                continue
            seen.add(other)
            if other in certain:
                found.add(other)
            else:
                stack.append(other)
    gate = block.gates.get(i)
    if gate is not None and block.local is not None:
        found |= {block.local[number] for number in gate.after if number in block.local}
    return found - {i}


def _waits(block: Block, i: int, certain: Container[int]) -> bool:
    """Say whether an instruction awaits something, itself or in what it may ask for late.

    Raises:
        CannotEmit: what it may ask for late could run side by side.
    """
    if not block.late_needs(i):
        form = block.forms[i]
        return form is not None and form.is_async and block.ops[i] != IMPORT
    count = 0
    stack = [i]
    seen = {i}
    while stack:
        at = stack.pop()
        form = block.forms[at]
        if form is not None and form.is_async and block.ops[at] != IMPORT:
            count += 1
        late = block.late_needs(at)
        for other in late if at == i else (*late, *block.needs(at)):
            if other >= 0 and other not in certain and other not in seen:
                seen.add(other)
                stack.append(other)
    if count > 1:
        raise CannotEmit("side by side")
    return count == 1
