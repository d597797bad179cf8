"""Last readers: the value of a register is let go when all that read it have values of their own.

How often a register is read is known before it runs. Where each is read once, as in a chain, its reader lets it
go; elsewhere each reader counts down, in a dict that the frame has for itself. So it does not matter who reads first.
What only a route, an `otherwise` or an entry of a loop may ask for can come late: what that reads is kept.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain, compress, repeat
from math import inf

from cascade.runtime.frames.frame import NOTHING, PENDING, Frame
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.operations import CALL0, CALL1, MOVE1, PACK

__all__ = ["find_last_readers", "release_reads", "release_reads_of", "read_from"]

MOVES = bytes(MOVE1 if op == CALL1 else op for op in range(256))
SINGLE = bytes(kind == CALL1 for kind in range(256))
SEVERAL = bytes(kind > CALL0 for kind in range(256))
"""For each kind: whether its operands are in the list of operands."""


def find_last_readers(blueprint: Blueprint) -> None:
    """Note in the root block how often each register is read, and which calls let go of what they read."""
    block = blueprint.root
    strict, root = block.strict, block.root
    block.reads = block.read_by = None
    block.moves = block.ops
    if block.gates or block.routes or strict < len(block):
        block.reads = _reads_of_any(blueprint)
    else:
        kinds = block.kinds
        calls = kinds.count(CALL1)
        has_pack = root >= 0 and kinds[root] == PACK
        if calls + kinds.count(CALL0) + has_pack < strict or (has_pack and blueprint.graph.inputs):
            block.reads = _reads_of_calls(block)
        elif has_pack:
            read = block.references(root)
            if calls + len(read) - len(blueprint.constants) != strict - 1:
                block.reads = _reads_of_calls(block)  # some are read twice
            elif len(read) == strict - 1 and min(read, default=0) >= 0:
                return  # all are asked for
    block.moves = bytearray(block.ops[:strict].translate(MOVES) + block.ops[strict:])


def _reads_of_calls(block: Block) -> dict[int, float]:
    """Count the reads where nothing is read but data, as a large graph does it in few steps."""
    kinds, places, operands = block.kinds, block.places, block.operands
    reads: Counter[int] = Counter(compress(places, kinds.translate(SINGLE)))
    reads.update(operands)
    for length, count in Counter(map(operands.__getitem__, compress(places, kinds.translate(SEVERAL)))).items():
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
    block, left, regs = frame.block, frame.left, frame.regs
    if left is None:
        if block.moves is not None and block.moves[i] == MOVE1:
            regs[block.places[i]] = None
    elif i < block.strict and i != block.root:  # with the target, all ends
        for at in block.references(i) if block.read_by is None else block.read_by.get(i, ()):
            left[at] = reads = left[at] - 1
            if not reads and regs[at] is not NOTHING and regs[at] is not PENDING:
                regs[at] = None
