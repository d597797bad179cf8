"""What is known of the loops of a program: in which ways their states are entered, learned while interpreting.

An *entry* is a way to run a state: which of its arguments come from outside, and what runs for the others. An
*edge* leads from a state to an entry: jumps with one key and data of one kind, or tail calls that give the same
arguments. The edges that were seen, and the entries that they lead to, are what a loop is emitted of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from cascade.spec.control import Jump, TailCall
from cascade.spec.operations import IMPORT

if TYPE_CHECKING:
    from types import CodeType

    from cascade.spec.blueprint import Block, Blueprint, EntryPlan
    from cascade.spec.placement import CallForm

__all__ = ["ENDLESS", "EXPECTED", "Edge", "EntryPoint", "Source", "TransitionProfile", "profile_of", "same"]


class EXPECTED:
    """In the place of the class of data that nobody has seen yet."""


Kind = Literal["state", "item", "call"]
Source = int | tuple[int, int] | tuple[str, int]
"""What edges lead on from: a state, by its number; items of a map, by its number and how many arguments they have.

A state of a blueprint that a tail call led to: by the blueprint's id and its number there.
"""
ENDLESS = 1 << 62
"""The entries of a loop without a limit."""
MOST_EDGES = 64
SOON = 16
MOST_MISSES = 8
"""So often in a row may a loop be left at a map or loop in an early iteration: that is slower than interpreting."""


class EntryPoint:
    """One way to run a state."""

    __slots__ = (
        *("block", "blueprint_id", "form", "is_shared", "kind", "loose", "misses"),
        *("number", "plan", "register", "source"),
    )

    def __init__(
        self,
        kind: Kind,
        block: Block,
        register: int,
        plan: EntryPlan,
        source: Source,
        form: CallForm,
        blueprint_id: str | None = None,
    ) -> None:
        self.kind: Kind = kind
        """A state with what feeds it, an item of a map, or a task that is called again with arguments at hand."""
        self.block = block
        self.register = register
        self.number = block.source(register)
        self.plan = plan
        self.form = form
        self.source = source
        """Whose edges lead on from here."""
        self.blueprint_id = blueprint_id
        """In which blueprint the state is, if it takes a tail call to come there; None: in that of the loop."""
        self.is_shared = False
        """Whether it stands for all states of its shape, of which `number` and `block` are those of one."""
        self.loose: frozenset[int] = frozenset()
        """Maps and loops before it that are left to the interpreter."""
        self.misses = 0
        """How often a loop was left at one of the others, soon after it had been entered."""

    def missed(self, register: int, i: int) -> bool:
        """Note that a loop was left at a map or loop in its `i`-th iteration; say whether that is loose from now on."""
        if i > SOON:
            self.misses = 0
            return False
        self.misses += 1
        if self.misses <= MOST_MISSES:
            return False
        self.misses, self.loose = 0, self.loose | {register}
        return True

    @property
    def limit(self) -> int:
        """How many entries a loop may have that has entered this state."""
        gate = self.block.gates.get(self.register)
        limit = None if gate is None else gate.terms.max_iterations
        return ENDLESS if limit is None else limit

    @property
    def parameters(self) -> range:
        """The registers that are given from outside."""
        return range(self.plan.first_override, self.plan.size)

    @property
    def steps(self) -> list[int]:
        """The registers of what runs before the state's own call."""
        return [step[0] for step in self.plan.steps if step[1] != IMPORT]

    @property
    def certain(self) -> set[int]:
        """The registers that get a value in each entry."""
        return {self.register, *self.parameters, *(step[0] for step in self.plan.steps)}


class Edge:
    """Jumps or tail calls that are alike, and where they lead.

    `updates` says which registers of the entry they give and from where: the data itself (None), an item of it
    by name, or a positional argument by number. The `key` of a tail call is the id of a blueprint, or None.
    """

    __slots__ = (
        *("by_value", "cls", "count", "entry", "is_jump", "is_repeat"),
        *("key", "linked", "names", "source", "updates", "uses"),
    )

    def __init__(
        self,
        source: Source,
        entry: EntryPoint,
        key: Any,
        cls: type,
        names: tuple[str, ...] | None,
        updates: list[tuple[int, str | int | None]],
        count: int = -1,
    ) -> None:
        self.source = source
        self.entry = entry
        self.is_jump = count < 0
        self.key = key
        self.by_value = False
        """The key is made anew each time, so it is compared and not only looked at."""
        self.is_repeat = count >= 0 and key is None
        """A task calls itself: what it is not given stays as it is."""
        self.cls = cls
        """Of the data of a jump, or of the positional arguments of a tail call."""
        self.names = names
        self.count = count
        """How many positional arguments a tail call gives."""
        self.updates = updates
        self.uses = 0
        self.linked: tuple[Any, int, Any] | None = None
        """For whom the loop of a state of literals was emitted last, at which version of the profile, and that loop."""

    def takes(self, signal: Jump | TailCall) -> bool:
        """Say whether a jump or tail call is one of these."""
        if not self.is_jump:
            return (
                signal.__class__ is TailCall
                and self.leads_to(signal.target_blueprint_id)
                and signal.args.__class__ is self.cls
                and len(signal.args) == self.count
                and tuple(signal.kwargs) == self.names
            )
        if signal.__class__ is not Jump or signal.data.__class__ is not self.cls:
            return False
        data: Any = signal.data
        key = signal.target_key
        return (key is self.key or self.leads_to(key)) and (self.names is None or tuple(data) == self.names)

    def leads_to(self, key: object) -> bool:
        """Say whether this is the key of the edge."""
        return key is self.key or (self.by_value and same(key, self.key))

    def is_like(self, other: Edge) -> bool:
        """Say whether another edge is the same but for its key being another object."""
        return (
            not self.by_value
            and same(self.key, other.key)
            and self.entry is other.entry
            and self.cls is other.cls
            and self.names == other.names
            and self.is_jump == other.is_jump
        )


def same(key: object, other: object) -> bool:
    """Say whether two keys are the same word."""
    return key.__class__ is str and other.__class__ is str and key == other


class TransitionProfile:
    """The edges that were seen so far: of one program, of all states of one shape, or of the tail calls of one run.

    What the shape names by its id, the profile keeps alive: `code`.
    """

    __slots__ = ("code", "edges", "entries", "made", "reasons", "version")

    def __init__(self, code: CodeType | None = None) -> None:
        self.code = code
        self.edges: dict[Source, list[Edge]] = {}
        self.entries: dict[Any, EntryPoint] = {}
        self.made: dict[Any, Any] = {}
        """The loops that were emitted, by their edges and by who watches; False: there can be none."""
        self.reasons: set[str] = set()
        """Why there can be none."""
        self.version = 0
        """Goes up when an edge has been seen so often that a loop should have it."""

    def is_full(self, source: Source) -> bool:
        """Say whether so many edges leave a state that no more are kept."""
        return len(self.edges.get(source, ())) >= MOST_EDGES

    def learn(self, signal: Jump | TailCall, edge: Edge) -> Edge | None:
        """Return the edge that a signal went along, `edge` if it is new; None if there are too many."""
        known = self.edges.setdefault(edge.source, [])
        for other in known:
            if other.takes(signal) and other.entry is edge.entry:
                return other
            if other.is_like(edge):
                other.by_value = True
                self.made.clear()
                self.version += 1
                return other
        if self.is_full(edge.source):
            return None
        known.append(edge)
        return edge

    def reached(self, entry: EntryPoint, least: int, limit: int) -> list[Edge]:
        """Return the edges that lead on from an entry, and on from there, as far as they were used so often.

        Args:
            limit: of the loop so far; a state with a lesser one is left out, as nobody would know that it was entered.
        """
        found: dict[Edge, None] = {}
        stack = [entry]
        seen = {entry}
        while stack:
            for edge in self.edges.get(stack.pop().source, ()):
                if edge.uses < least or edge.entry.limit < limit:
                    continue
                found[edge] = None
                if edge.entry not in seen:
                    seen.add(edge.entry)
                    stack.append(edge.entry)
        return list(found)


def profile_of(blueprint: Blueprint) -> TransitionProfile:
    """Return what is known of the loops of a blueprint."""
    if blueprint.loop_profile is None:
        blueprint.loop_profile = TransitionProfile()
    found: TransitionProfile = blueprint.loop_profile
    return found
