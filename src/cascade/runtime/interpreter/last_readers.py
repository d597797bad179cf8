"""Last readers: the value of a register is let go when all that read it have values of their own.

Where each register is read once, as in a chain, its reader lets it go. Where instructions only read data, and none has
had to wait so far, they run in the order in which they stand: then it is known beforehand who is the last to read a
register. From the first one on that has to wait, readers count down instead how often each register is still to be
read, in a dict that the frame has for itself, so that it does not matter who reads first. So it is from the beginning
in pieces, in another order, and where conditions are read as well; what only a route, an `otherwise` or an entry of a
loop may ask for can come late there, so what that reads is kept.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain, compress, repeat
from math import inf

from cascade.runtime.frames.frame import NOTHING, PENDING, Frame
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.operations import CALL0, CALL1, CALLN, MOVE1, PACK

__all__ = ["count_reads", "find_last_readers", "release_reads", "release_reads_of", "read_from"]

MOVES = bytes(MOVE1 if op == CALL1 else op for op in range(256))
SINGLE = bytes(kind == CALL1 for kind in range(256))
SEVERAL = bytes(kind > CALL0 for kind in range(256))
"""For each kind: whether its operands are in the list of operands."""
OTHERS = bytes(kind not in (CALL0, CALLN) for kind in range(256))


def find_last_readers(blueprint: Blueprint) -> None:
    """Note in the root block who reads each register last, and which calls let go of what they read."""
    block = blueprint.root
    strict, root = block.strict, block.root
    block.reads = block.read_by = block.last = None
    block.moves = block.ops
    if (block.gates and block.is_gated) or block.routes or strict < len(block) or blueprint.hoisted:
        block.reads = 0, _reads_of_any(blueprint)
    else:
        kinds = block.kinds
        calls = kinds.count(CALL1)
        has_pack = root >= 0 and kinds[root] == PACK
        if calls + kinds.count(CALL0) + has_pack < strict or (has_pack and blueprint.graph.inputs):
            block.last = _last_reads(blueprint)
        elif has_pack:
            read = block.references(root)
            if calls + len(read) - len(blueprint.constants) != strict - 1:
                block.last = _last_reads(blueprint)  # some are read twice
            elif len(read) == strict - 1 and min(read, default=0) >= 0:
                return  # all are asked for
        if block.last is not None and blueprint.order is not None:
            block.reads, block.last = (0, _reads_of_calls(block, 0)), None
    block.moves = bytearray(block.ops[:strict].translate(MOVES) + block.ops[strict:])


def _last_reads(blueprint: Blueprint) -> list[int]:
    """Return for each register the last instruction that reads it, where nothing is read but data."""
    block, noted = blueprint.root, blueprint.graph.last
    size = len(block)
    last = noted[:size] + [-1] * (max(size - len(noted), 0) + len(blueprint.constants))
    others = block.kinds.translate(OTHERS)  # than those that `noted` is about
    i = others.find(1)
    while i >= 0:
        for at in block.references(i):
            if at >= 0 and last[at] < i:  # constants are kept: those who read them are not all noted
                last[at] = i
        i = others.find(1, i + 1)
    return last


def count_reads(frame: Frame, first: int = 0) -> dict[int, float] | None:
    """Count from now on how often registers are still to be read, as `first` waits, all before it having values."""
    block = frame.block
    if block.last is not None and (block.reads is None or block.reads[0] != first):
        block.reads = first, _reads_of_calls(block, first)
    frame.last, frame.left = None, None if block.reads is None else dict(block.reads[1])
    return frame.left


def _reads_of_calls(block: Block, first: int) -> dict[int, float]:
    """Count the reads where nothing is read but data, as a large graph does it in few steps."""
    kinds, places, operands = block.kinds[first:], block.places[first:], block.operands
    reads: Counter[int] = Counter(compress(places, kinds.translate(SINGLE)))
    several = list(compress(places, kinds.translate(SEVERAL)))
    if several:
        reads.update(operands[several[0] :])
    for length, count in Counter(map(operands.__getitem__, several)).items():
        reads[length] -= count  # the number of operands stands before them
    return reads  # type: ignore[return-value]


def _reads_of_any(blueprint: Blueprint) -> dict[int, float]:
    block, root = blueprint.root, blueprint.root.root
    strict = block.strict
    found = [_read_by(block, i) for i in range(strict)]
    block.read_by = {i: own for i, each in enumerate(found) if each and (own := [at for at in each if at >= 0])}
    reads: dict[int, float] = dict(Counter(chain.from_iterable(found)))
    late = [at for i in range(strict, len(block)) for at in (*block.needs(i), *block.late_needs(i))]
    reads.update(zip((*late, *blueprint.hoisted, root), repeat(inf)))
    return reads


def _read_by(block: Block, i: int) -> list[int]:
    """Return the registers that an instruction may read."""
    found = block.references(i)
    gate = block.gates.get(i)
    if gate is not None or i in block.routes:
        found = found + block.late_needs(i)
    if gate is not None:
        found += [at for _, at in gate.amounts]
        found += [at for at in (gate.condition, gate.first) if at is not None]
    return found


def read_from(block: Block, steps: list[int], inputs: list[int]) -> dict[int, int]:
    """Return how often some instructions read each of these registers."""
    known = {at for at in inputs if at >= 0}
    return dict(Counter(at for i in steps for at in _read_by(block, i) if at in known))


def release_reads_of(frame: Frame, reads: dict[int, int]) -> None:
    """Let go of what instructions that have their values now, and read this often, were the last to read."""
    left, regs = frame.left, frame.regs
    for at, count in reads.items():
        if left is not None:
            left[at] -= count
        if (left is None or not left[at]) and regs[at] is not NOTHING and regs[at] is not PENDING:
            regs[at] = None


def release_reads(frame: Frame, i: int) -> None:
    """Let go of what instruction `i`, which has its value now, was the last to read."""
    block, last, left, regs = frame.block, frame.last, frame.left, frame.regs
    if last is not None:
        for at in block.references(i):
            if last[at] == i and i != block.root:
                regs[at] = None
    elif left is None:
        if block.moves is not None and block.moves[i] == MOVE1:
            regs[block.places[i]] = None
    elif i < block.strict and i != block.root:  # with the target, all ends
        for at in block.references(i) if block.read_by is None else block.read_by.get(i, ()):
            left[at] = reads = left[at] - 1
            if not reads and regs[at] is not NOTHING and regs[at] is not PENDING:
                regs[at] = None
