"""An emitted loop in one program: the states, constants and nodes that its parts are there."""

from __future__ import annotations

from cascade.compiler.code.emitted import LoopCode
from cascade.compiler.transition_profile import EntryPoint

__all__ = ["ENDLESS", "LinkedLoop"]

ENDLESS = 1 << 62
"""The entries of a loop without a limit."""


class LinkedLoop:
    """An emitted loop, and what its parts are in one program."""

    __slots__ = ("after", "entries", "imports", "is_leaf", "limit", "loop", "slots")

    def __init__(self, loop: LoopCode, entries: list[EntryPoint]) -> None:
        self.loop = loop
        self.entries = entries
        self.slots: list[tuple[EntryPoint, int]] = []
        """The constants that the function takes, with an entry in whose blueprint they are."""
        for k, at in loop.constants:
            known = entries[k].block.slots
            self.slots.append((entries[k], -1 - at if known is None else known[-1 - at]))
        self.imports = [(entries[k], entries[k].block.places[at]) for k, at in loop.imports]
        """The nodes of root blocks whose values it takes."""
        self.after = [(entries[k], entries[k].block.gates[i].after[which]) for k, i, which in loop.after]
        """What must have run around it: (state, number)."""
        gates = [entry.block.gates.get(entry.register) for entry in entries]
        limits = [gate.max_iterations for gate in gates if gate is not None and gate.max_iterations is not None]
        self.limit: int = min(limits, default=ENDLESS)
        """How many entries a loop may have that enters all of these states."""
        entry = entries[0]
        self.is_leaf = len(entries) == 1 and entry.kind == "state" and entry.plan.is_bare and not entry.plan.steps
        """Whether the loop is one state that nothing but literals feeds."""
