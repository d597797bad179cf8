"""The Blueprint: the one intermediate form of a program, which the interpreter defines the meaning of.

A *block* is a list of instructions over registers, one for each node, inputs before their readers. The
root block computes the target. A *state block* is entered by a jump or a tail call: it has registers of
its own for the state and for what feeds it, so each entry starts from the declaration.

Each instruction gives its register a value, at most once in a frame. Those below `strict` always run; the
others only when a route or an `otherwise` asks for them. References are as in the graph: register numbers
from the front, constants from the back (`-1 - slot`). What each instruction does is said in
`cascade.spec.operations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.spec.control import TailCall
from cascade.spec.listing import listing
from cascade.spec.operations import CALL0, CALL1
from cascade.spec.resource import Inject

if TYPE_CHECKING:
    from cascade.spec.gate import Gate
    from cascade.spec.graph import Graph, Routes
    from cascade.spec.placement import CallForm

__all__ = ["Block", "Blueprint", "EntryPlan", "TailCall"]


class EntryPlan:
    """How to enter a state when some of its arguments are overridden.

    `steps` are the instructions that must run before the state's own call, as (register, operation, form,
    place). `placed` and `named` are the references of its arguments; the values that override stand in the
    registers from `first_override` on.
    """

    __slots__ = (*("first_override", "is_bare", "keeps_first", "named", "placed", "size", "steps", "wanted"),)

    def __init__(
        self,
        steps: list[tuple[int, int, Any, int]],
        placed: list[int],
        named: dict[str, int],
        first_override: int,
        size: int,
        wanted: list[int],
    ) -> None:
        self.steps = steps
        self.placed = placed
        self.named = named
        self.first_override = first_override
        self.size = size
        self.wanted = wanted
        """The registers that must have values before the state's own call."""
        self.keeps_first = True
        """The first argument is as it was declared."""
        self.is_bare = False
        """The state is a call by position that nothing can skip and no policy governs."""


class Block:
    """Instructions over one set of registers, in parallel arrays; see the module for what each means."""

    __slots__ = (
        "forms",
        "fused",
        "gates",
        "is_gated",
        "jumps",
        "kinds",
        "last",
        "lazies",
        "local",
        "making",
        "moves",
        "operands",
        "ops",
        "origin",
        "places",
        "plans",
        "read_by",
        "reads",
        "root",
        "routes",
        "slots",
        "strict",
        "uses",
    )

    def __init__(self) -> None:
        self.ops: bytearray = bytearray()
        self.kinds: bytearray = bytearray()
        """What each node is apart from its gate: which tells how `places` reads."""
        self.forms: list[CallForm | None] = []
        self.places: list[int] = []
        self.operands: list[int] = []
        self.gates: dict[int, Gate] = {}
        self.is_gated: bool = True
        """Whether some gate says more than how a call is named, and that it is of a method."""
        self.routes: dict[int, Routes] = {}
        self.jumps: dict[int, dict[Any, int | None]] = {}
        """The routes of each bound node; targets are numbers of the graph."""
        self.root: int = 0
        self.strict: int = 0
        self.slots: list[int] | None = None
        """Which constants of the blueprint this block has, in order; None: all of them."""
        self.origin: list[int] | None = None
        """The number in the graph of each register; None: the same."""
        self.local: dict[int, int] | None = None
        """The register of each number of the graph; None: the same."""
        self.lazies: bool = False
        """Some instruction may be skipped or be asked for late."""
        self.plans: dict[Any, EntryPlan] = {}
        self.fused: dict[Any, Any] = {}
        """The block as emitted functions, by who watches."""
        self.making: dict[Any, Any] | None = None
        """What is being made of it piece by piece, by who watches."""
        self.uses: int = 0
        """How often it was run."""
        self.moves: bytearray | None = None
        """The operations, with MOVE1 among them, once that was asked for; see `runtime.interpreter.last_readers`."""
        self.read_by: dict[int, list[int]] | None = None
        """The registers that instructions read, where that is more than their references; None: it is not."""
        self.last: list[int] | None = None
        """The last instruction that reads each register, where only data is read, and not once, as in a chain."""
        self.reads: tuple[int, dict[int, float]] | None = None
        """From which instruction on it was counted how often each register is read, and how often."""

    def __len__(self) -> int:
        return len(self.ops)

    def references(self, i: int) -> list[int]:
        """Return the references of the data that instruction `i` reads."""
        kind = self.kinds[i]
        if kind == CALL1:
            return [self.places[i]]
        if kind == CALL0:
            return []
        place = self.places[i]
        return self.operands[place + 1 : place + 1 + self.operands[place]]

    def injected(self, i: int, constants: list[Any]) -> list[tuple[int, Inject]]:
        """Return the arguments of instruction `i` that ask for a resource, by their places."""
        gate = self.gates.get(i)
        if gate is None or not gate.terms.injects:
            return []
        slots = self.slots
        found = [(at, -1 - reference) for at, reference in enumerate(self.references(i)) if reference < 0]
        values = [(at, constants[slot if slots is None else slots[slot]]) for at, slot in found]
        return [(at, value) for at, value in values if value.__class__ is Inject]

    def needs(self, i: int) -> list[int]:
        """Return the references that instruction `i` needs for certain: data, condition, and order in a root block."""
        needs = self.references(i)
        gate = self.gates.get(i)
        if gate is not None and (gate.condition is not None or gate.after or gate.amounts):
            needs = list(needs)
            if gate.condition is not None:
                needs.append(gate.condition)
            needs += [at for _, at in gate.amounts]
            if self.origin is None:
                needs += gate.after
        return needs

    def late_needs(self, i: int) -> list[int]:
        """Return the references that instruction `i` may ask for once it runs: its routes, what stands in for it."""
        found: list[int] = []
        router, gate = self.routes.get(i), self.gates.get(i)
        if router is not None:
            found += router.routes.values()
            found += [] if router.default is None else [router.default]
        if gate is not None and gate.otherwise is not None:
            found.append(gate.otherwise)
        return found

    def source(self, i: int) -> int:
        """Return the number in the graph of register `i`."""
        return i if self.origin is None else self.origin[i]


class Blueprint:
    """A program: a root block, a state block for each state that can be entered, and the constants."""

    __slots__ = (
        "__weakref__",
        "constants",
        "graph",
        "hoisted",
        "is_budgeted",
        "joins",
        "loop_profile",
        "order",
        "root",
        "skips",
        "states",
        "subflows",
    )

    def __init__(self, graph: Graph, root: Block) -> None:
        self.graph: Graph = graph
        self.root: Block = root
        self.constants: list[Any] = graph.constants
        self.hoisted: frozenset[int] = frozenset()
        """Pure nodes of constants and inputs alone, which run at most once a run."""
        self.is_budgeted: bool = False
        """Whether anything in it has a budget."""
        self.skips: bool = False
        """Whether anything in it can be skipped."""
        self.states: dict[int, Block] = {}
        """The blocks of states, by their numbers; the compiler lowers each when it is first asked for."""
        self.subflows: dict[int, Blueprint] = {}
        self.order: Any = None
        """The order to look at the strict instructions in; None: as they stand."""
        self.loop_profile: Any = None
        """What is known of its loops (`cascade.compiler.transition_profile`)."""
        self.joins: Any = None
        """Which nodes are one copy in a loop and around it (`cascade.graph.joins`), once somebody needs it."""

    def state(self, number: int) -> Block:
        """Return the block of the state that node `number` of the graph is, lowered when first entered."""
        return self.states[number]

    def all_states(self) -> dict[int, Block]:
        """Return the blocks of all states that a jump can lead to."""
        for routes in self.graph.jumps.values():
            for target in routes.values():
                if target is not None and target >= 0:
                    self.state(target)
        return self.states

    def __repr__(self) -> str:
        return (
            f"<Blueprint of {self.graph.name(self.graph.root) if self.graph.root >= 0 else 'an input'}, "
            f"{len(self.root)} instructions>"
        )

    def __str__(self) -> str:
        return listing(self)
