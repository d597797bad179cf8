"""Frames: the registers of a block while it runs, and what waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from cascade.spec.events import TaskSite
from cascade.spec.marks import NOTHING, PENDING
from cascade.spec.operations import FUSED

if TYPE_CHECKING:
    from cascade.runtime.frames.scope import Scope
    from cascade.spec.blueprint import Block, Blueprint, EntryPlan
    from cascade.spec.graph import Graph

__all__ = ["NOTHING", "PENDING", "Activation", "Frame", "NodeInstance", "Skip", "order_frame", "root_frame", "steps_of"]

Steps = Any
"""An iterator over (register, operation, form, place)."""
Parked: TypeAlias = "tuple[Frame, int] | asyncio.Future[None] | None"
"""What waits for a register: an instruction, or somebody who awaits it; None: nobody, who knows that it is there."""


DEEP = 16
"""Each time so many sub-flows stand in each other, one has a task of its own."""


class NodeInstance:
    """One instance of a node: the one of the graph around, or that of a loop which runs it again.

    `entries` counts, for a node that is a loop, how many entries it has had in this run; `items` the same
    for each item of a map. `site` is what its events say of it, made when somebody asks.
    """

    __slots__ = ("entered", "entries", "graph", "items", "key", "loop", "names", "number", "reported", "site")

    site: TaskSite
    reported: dict[str, tuple[float, float | None]]
    """How far its calls say that they are, by item (`cs.current().progress`); it has none before one says so."""

    def __init__(
        self, names: Any, key: object, graph: Graph, number: int, loop: NodeInstance | None, entered: bool
    ) -> None:
        self.names = names
        self.key = key
        """The key of its activation."""
        self.graph = graph
        self.number = number
        self.loop = loop
        """The loop that it is run by."""
        self.entered = entered
        """Whether jumps lead to it; else its value is read."""
        self.entries = 0
        self.items: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        if name != "site":
            raise AttributeError(name)
        self.site = self.names.site(self)
        return self.site

    def has_looped(self, suffix: str) -> bool:
        """Say whether the node (or the item that `suffix` names) was a loop before, so that its calls are counted."""
        return bool(self.items.get(suffix) if suffix else self.entries)

    def site_of(self, suffix: str) -> TaskSite:
        """Return the site of the item that `suffix` (`[17]`) names."""
        if not suffix:
            return self.site
        return TaskSite(self.site.run_id, self.site.task_id + suffix, self.site.task_name, self.site.start)


class Skip:
    """What is known of a skipped instruction, or of one that stands for it.

    `strict` is what conditions and selectors read: the `otherwise`, never a passed-through value. `ran` says
    that for `.after` it counts as run all the same.
    """

    __slots__ = ("ran", "reason", "strict")

    def __init__(self, reason: str, ran: bool = False) -> None:
        self.reason = reason
        self.strict: Any = NOTHING
        self.ran = ran


class Activation:
    """One execution of a blueprint: its constants with the inputs filled in, and its root frame."""

    __slots__ = ("blueprint", "constants", "depth", "has_root", "key", "root", "templates")

    def __init__(self, blueprint: Blueprint, constants: list[Any], key: object) -> None:
        self.blueprint = blueprint
        self.constants = constants
        self.depth = 0
        """How many sub-flows it is inside of."""
        self.key: Any = key
        """What tells the nodes of this activation from those of the others of the run."""
        self.templates: dict[EntryPlan, list[Any]] = {}
        self.has_root = False
        self.root: Frame

    @property
    def nests(self) -> bool:
        """Whether a sub-flow in it may be carried out where it is itself: coroutines and calls nest only so deep."""
        return (self.depth + 1) % DEEP != 0

    def fresh_registers(self) -> list[Any]:
        """Return registers for the root block."""
        regs = [PENDING] * len(self.blueprint.root)
        regs += reversed(self.constants)
        return regs

    def template(self, plan: EntryPlan, block: Block) -> list[Any]:
        """Return the registers with which each entry by `plan` begins."""
        found = self.templates.get(plan)
        if found is None:
            constants = self.constants
            slots = block.slots or []
            found = [PENDING] * plan.size + [constants[slot] for slot in reversed(slots)]
            if len(self.templates) >= 1024:
                self.templates.clear()
            self.templates[plan] = found
        return found

    def let_go(self) -> None:
        """Let go of all values, once nothing of it runs any more; nor is there a circle left with its frame."""
        if self.templates:
            self.templates = {}
        if self.has_root:
            root = self.root
            root.regs.clear()  # frames that ended may have it still
            root.skips = {}
            root.waiters = {}
            root.scope.forget()
            del self.root
            self.has_root = False


class Frame:
    """The registers of one block while it runs once."""

    __slots__ = (
        "activation",
        "block",
        "demanded",
        "iteration",
        "last",
        "left",
        "looked",
        "loop",
        "operands",
        "parent",
        "pieces",
        "regs",
        "scope",
        "skips",
        "spans",
        "suffix",
        "waiters",
        "watch",
    )

    spans: dict[int, Any]
    """By register, what refers to the span of the call that computed it, or of each item, if the run is traced."""

    def __init__(
        self, activation: Activation, block: Block, regs: list[Any], scope: Scope, parent: Frame | None
    ) -> None:
        self.activation = activation
        self.block = block
        self.regs = regs
        self.operands = block.operands
        self.scope = scope
        self.parent = parent
        """The frame around the loop that this is an entry of."""
        self.demanded: bytearray | None = None
        """Which instructions run or ran; None: exactly the steps of the plan."""
        self.waiters: dict[int, list[Any]] = {}
        """For a register without a value yet: (frame, register) of the instructions that wait, or futures."""
        self.skips: dict[int, Skip] = {}
        self.looked: dict[int | None, int] = {}
        """For a parked instruction of several inputs: the operand that it waits for, all behind it being there."""
        self.loop: NodeInstance | None = None
        """The innermost loop around."""
        self.iteration = 0
        self.last: list[int] | None = None
        """Who reads each register last, as long as nothing has had to wait (see `interpreter.last_readers`)."""
        self.left: dict[int, float] | None = None
        """How often registers are still to be read, else; neither: once, or nobody lets go of anything."""
        self.pieces: Any = ()
        """The straight code that instructions were made into; they count on behind the registers."""
        self.watch: Any = None
        """For whom they publish events."""
        self.suffix = ""
        """`[17]` inside item 17 of a map."""

    def park(self, register: int, waiter: Parked) -> None:
        """Let `waiter` be woken when the register has a value."""
        waiting = self.waiters.get(register)
        if waiting is None:
            self.waiters[register] = [waiter]
        else:
            waiting.append(waiter)

    def strictly(self, reference: int) -> Any:
        """Return what a condition or selector reads: never a passed-through value."""
        skip = self.skips.get(reference) if self.skips else None
        return self.regs[reference] if skip is None else skip.strict

    def values(self, i: int) -> list[Any]:
        """Return the values of the data that instruction `i` reads."""
        regs = self.regs
        return [regs[reference] for reference in self.block.references(i)]

    def step(self, i: int) -> tuple[int, int, Any, Any]:
        """Return instruction `i` as a step."""
        block = self.block
        if i >= len(block.places):
            return (i, FUSED, None, self.pieces[i - len(block.places)])
        return (i, (block.moves or block.ops)[i], block.forms[i], block.places[i])

    def demand(self, register: int, work: list[tuple[Frame, Steps]]) -> None:
        """Have an instruction run, and first all that it needs, unless it was asked for before."""
        demanded = self.demanded
        if demanded is None or demanded[register]:
            return
        block = self.block
        found = []
        stack = [register]
        demanded[register] = 1
        while stack:
            i = stack.pop()
            found.append(i)
            for at in block.needs(i):
                if at >= 0 and not demanded[at]:
                    demanded[at] = 1
                    stack.append(at)
        found.sort()
        work.append((self, iter([self.step(i) for i in found])))

    @staticmethod
    def wake(waiting: list[Any], work: list[tuple[Frame, Steps]]) -> None:
        """Add what waited to the work, so that it runs in the order in which it came."""
        for waiter in reversed(waiting):
            if waiter.__class__ is tuple:
                frame, i = waiter
                work.append((frame, iter((frame.step(i),))))
            elif not waiter.done():
                waiter.set_result(None)


def root_frame(activation: Activation, scope: Scope) -> Frame:
    """Make the root frame of an activation."""
    block = activation.blueprint.root
    frame = Frame(activation, block, activation.fresh_registers(), scope, None)
    frame.last = block.last
    if frame.last is None and block.reads is not None:
        frame.left = dict(block.reads[1])
    if block.lazies:
        frame.demanded = bytearray(len(block))
        frame.demanded[: block.strict] = b"\1" * block.strict
    activation.root, activation.has_root = frame, True
    return frame


def order_frame(frame: Frame, number: int) -> tuple[Frame, int, bool]:
    """Return where to look for an `.after` predecessor: a frame, its register, and whether it must be asked for.

    The entry's own frame if it runs there, else the nearest frame around the loop that has it.
    """
    block = frame.block
    register = number if block.local is None else block.local.get(number)
    if register is not None and (block.local is None or (frame.demanded is not None and frame.demanded[register])):
        return frame, register, block.local is None
    around = frame.parent
    while around is not None:
        block = around.block
        register = number if block.local is None else block.local.get(number)
        if register is not None:
            return around, register, True
        around = around.parent
    raise AssertionError(f"node {number} is in no frame around")


def steps_of(block: Block, order: Iterable[int] | None) -> Steps:
    """Return the steps of all strict instructions, in a solver's order."""
    ops = block.moves or block.ops
    if order is not None:
        return iter([(i, ops[i], block.forms[i], block.places[i]) for i in order])
    strict = block.strict
    return zip(range(strict), ops, block.forms, block.places, strict=False)
