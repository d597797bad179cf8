"""The checker of Blueprints: names what is wrong and shows what is around it."""

from __future__ import annotations

from typing import NoReturn

from cascade.errors import StaticGraphError
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.listing import around
from cascade.spec.operations import CALL1, CALLN, GATED, IMPORT, LOOP, MANAGED, MAP, OPERATIONS, ROUTE, SUBFLOW

__all__ = ["verify"]


def verify(blueprint: Blueprint) -> None:
    """Check a blueprint, its states and its sub-flows.

    Raises:
        StaticGraphError: an instruction that cannot be carried out; the message shows it among its neighbours.
    """
    stack = [blueprint]
    while stack:
        one = stack.pop()
        _verify_block(one, one.root, "root", one.constants)
        for number, block in one.all_states().items():
            slots = block.slots or []
            if any(slot >= len(one.constants) for slot in slots):
                raise StaticGraphError(f"state {number} has a constant that the blueprint does not have")
            _verify_block(one, block, f"state {number}", slots)
        stack += one.subflows.values()


def _verify_block(blueprint: Blueprint, block: Block, where: str, constants: list[object] | list[int]) -> None:
    size = len(block)
    for name, array in (("kinds", block.kinds), ("forms", block.forms), ("places", block.places)):
        if len(array) != size:
            raise StaticGraphError(f"the {where} block has {size} instructions but {len(array)} {name}")
    if not -len(constants) <= block.root < size:
        raise StaticGraphError(f"the {where} block asks for the register {block.root}, which it does not have")
    for i in range(size):
        _Checked(blueprint, block, where, len(constants), i).check()


class _Checked:
    """One instruction under the checker's eye."""

    def __init__(self, blueprint: Blueprint, block: Block, where: str, constants: int, i: int) -> None:
        self.blueprint = blueprint
        self.block = block
        self.where = where
        self.constants = constants
        self.i = i

    def check(self) -> None:
        block, i = self.block, self.i
        op = block.ops[i]
        if op >= len(OPERATIONS):
            self.fail(f"there is no operation {op}")
        if op == IMPORT:
            if not 0 <= block.places[i] < len(self.blueprint.root):
                self.fail(f"it imports the node {block.places[i]}, which the root block does not have")
            return
        kind = block.kinds[i]
        if (op <= SUBFLOW or op == kind) and op != kind:
            self.fail(f"it is a {OPERATIONS[op]}, but its node is a {OPERATIONS[kind]}")
        if kind > CALL1 and not 0 <= block.places[i] <= len(block.operands):
            self.fail(f"its references are at {block.places[i]}, but there are {len(block.operands)}")
        for reference in block.references(i):
            self.reference(reference, "reads", before=True)
        if op in (*range(CALLN + 1), MAP, GATED, MANAGED, LOOP) and block.forms[i] is None:
            self.fail("it calls no task")
        if op == ROUTE and i not in block.routes:
            self.fail("it routes, but has no routes")
        if op == LOOP and i not in block.jumps:
            self.fail("it loops, but has no jumps")
        if kind == SUBFLOW and block.source(i) not in self.blueprint.subflows:
            self.fail("its sub-flow was not lowered")
        self.gate()
        self.routes()

    def gate(self) -> None:
        gate = self.block.gates.get(self.i)
        if gate is None:
            return
        if gate.condition is not None:
            self.reference(gate.condition, "is gated by", before=True)
        for _, at in gate.amounts:
            self.reference(at, "holds an amount of", before=True)
        if gate.otherwise is not None:
            self.reference(gate.otherwise, "falls back on")
        if gate.first is not None:
            self.reference(gate.first, "passes on", before=True)
        for number in gate.after:
            if not 0 <= number < len(self.blueprint.graph):
                self.fail(f"it comes after node {number}, which the graph does not have")

    def routes(self) -> None:
        router = self.block.routes.get(self.i)
        if router is not None:
            for reference in router.routes.values():
                self.reference(reference, "routes to")
            if router.default is not None:
                self.reference(router.default, "routes to")
        for target in self.block.jumps.get(self.i, {}).values():
            if target is not None and not -len(self.blueprint.constants) <= target < len(self.blueprint.graph):
                self.fail(f"it jumps to node {target}, which the graph does not have")

    def reference(self, reference: int, what: str, before: bool = False) -> None:
        if not -self.constants <= reference < len(self.block):
            self.fail(f"it {what} {reference}, which is neither a register nor a constant of this block")
        if before and reference >= self.i:
            self.fail(f"it {what} %{reference}, which comes later")

    def fail(self, reason: str) -> NoReturn:
        shown = around(self.blueprint, self.block, self.i)
        raise StaticGraphError(f"instruction %{self.i} of the {self.where} block is wrong: {reason}\n{shown}")
