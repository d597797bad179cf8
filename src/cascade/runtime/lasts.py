"""Last readers: the value of a register is let go when all that read it have values of their own.

Who reads a register is known before it runs; whether they have run, their registers say. So nothing is counted at run
time: the last reader by number lets a value go that nobody else reads, and looks at the others where there are some.
What only a route, an `otherwise` or an entry of a loop may ask for can come late: what that reads is kept.
"""

from __future__ import annotations

from typing import Any

from cascade.runtime.frame import NOTHING, PENDING, Frame
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.operations import CALL0, CALL1, LAST1, MOVE1

__all__ = ["find_lasts", "let_go"]


def find_lasts(blueprint: Blueprint) -> None:
    """Note in the root block which instruction is the last to read each register, by number."""
    block = blueprint.root
    kinds, places, operands, strict, root = block.kinds, block.places, block.operands, block.strict, block.root
    single = [(at, i) for i, at in enumerate(places[:strict]) if at >= 0 and kinds[i] == CALL1]
    last = dict(single)
    readers: dict[int, list[int]] = {}
    if len(last) < len(single):
        last = {}
        for at, i in single:
            if at in last:
                _read(readers, last, at, i)
            last[at] = i
    for i in [i for i, kind in enumerate(kinds[:strict]) if kind > CALL0]:
        place = places[i]
        for at in operands[place + 1 : place + 1 + operands[place]] if i != root else ():
            if at >= 0:
                if at in last:
                    _read(readers, last, at, i)
                    last[at] = max(last[at], i)
                else:
                    last[at] = i
    for i in {*block.gates, *block.routes} if block.gates or block.routes else ():
        if i < strict:
            for at in _beside(block, i):
                if at in last:
                    _read(readers, last, at, i)
                    last[at] = max(last[at], i)
    for i in range(strict, len(block)):  # who knows when these run
        for at in (*block.needs(i), *block.late_needs(i)):
            last.pop(at, None)
    if last:  # with the target, all ends
        kept = {*blueprint.hoisted, *((root, *block.references(root)) if root >= 0 else ())}
        for at in kept & last.keys():
            del last[at]
    block.last, block.readers, block.dying = last, readers, {}
    block.moves = moves = bytearray(block.ops)
    dying = block.dying
    for at, i in last.items():
        if moves[i] == CALL1 and at not in readers:
            moves[i] = MOVE1
        elif i in dying:
            dying[i].append(at)
        else:
            dying[i] = [at]
            if moves[i] == CALL1:
                moves[i] = LAST1


def _read(readers: dict[int, list[int]], last: dict[int, int], at: int, i: int) -> None:
    known = readers.get(at)
    if known is None:
        readers[at] = [last[at], i]
    elif i not in known[-1:]:
        known.append(i)


def _beside(block: Block, i: int) -> list[int]:
    """Return the registers that an instruction may read beside its data."""
    gate = block.gates.get(i)
    found = block.late_needs(i)
    if gate is not None:
        found += [at for _, at in gate.amounts]
        found += [at for at in (gate.condition, gate.first) if at is not None]
    return found


def let_go(frame: Frame, i: int) -> None:
    """Let go of what instruction `i`, which has its value now, was the last to read."""
    block = frame.block
    found = block.dying.get(i)
    if found is not None:
        readers, regs = block.readers, frame.regs
        for at in found:
            if at in readers:
                _clear(frame, block, at, i)
            elif regs[at] is not NOTHING:
                regs[at] = None
    elif block.moves is not None and block.moves[i] == MOVE1:
        frame.regs[block.places[i]] = None


def _clear(frame: Frame, block: Block, at: int, i: int) -> None:
    regs = frame.regs
    for reader in reversed(block.readers[at]):
        if reader != i and regs[reader] is PENDING:
            frame.park(reader, Late(frame, at, reader))
            return
    if regs[at] is not NOTHING and regs[at] is not PENDING:
        regs[at] = None


class Late:
    """Waits, as a future would, until one more reader of a register has its value, and looks for the next."""

    __slots__ = ("at", "frame", "reader")

    def __init__(self, frame: Frame, at: int, reader: int) -> None:
        self.frame = frame
        self.at = at
        self.reader = reader

    def done(self) -> bool:
        """Say that it wants to hear of the reader's value."""
        return False

    def set_result(self, _: Any) -> None:
        """Look again."""
        if self.frame.regs:
            _clear(self.frame, self.frame.block, self.at, self.reader)
