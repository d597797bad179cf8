"""Where a loop is on its way: the state, the blueprint, how often it has been entered, how its last call was made."""

from __future__ import annotations

from collections.abc import Iterable
from types import CoroutineType
from typing import Any

from cascade.compiler.transition_profile import EntryPoint
from cascade.errors import JumpError
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import Activation, Frame, NodeInstance, Skip
from cascade.runtime.frames.scope import Scope
from cascade.runtime.run.state import RunState
from cascade.spec.blueprint import Block, EntryPlan
from cascade.spec.gate import Gate
from cascade.spec.placement import CallForm

__all__ = ["LoopPosition"]

MOST_FRAMES = 256
"""So many kinds of entries have a frame that serves again."""


class LoopPosition:
    """The place of one loop, which moves from entry to entry."""

    __slots__ = (
        "_scope",
        "activation",
        "args",
        "call",
        "count",
        "elsewhere",
        "ended",
        "form",
        "frames",
        "gate",
        "home",
        "home_number",
        "instance",
        "item",
        "kwargs",
        "limit",
        "number",
        "rest",
        "routes",
        "run",
        "skip",
        "transitions",
        "value",
        "within",
    )

    make_transition: Any
    """Makes a short way on, along an edge; None if there is none here. In the class that follows loops."""

    def __init__(
        self,
        run: RunState,
        call: Call,
        value: Any,
        form: CallForm,
        args: Any,
        kwargs: dict[str, Any],
        gate: Gate | None,
        item: tuple[Any, dict[str, Any]] | None,
    ) -> None:
        self.run = run
        self.call = call
        self.value = value
        self.form, self.args, self.kwargs, self.gate = form, args, kwargs, gate
        self.item: Any = item
        self.home = call.frame
        self.within: Scope = call.scope
        """What the whole loop ends with."""
        self.home_number = self.number = call.number
        self.activation: Activation = call.activation
        self.routes = self.activation.blueprint.graph.jumps.get(call.number)
        self.instance = call.instance(run.names)
        self.count = 1
        self.limit: int | None = None if gate is None else gate.terms.max_iterations
        """How many entries the loop may have: the least that a state it has entered allows."""
        self.skip: Skip | None = None
        self._scope: Scope | None = None
        self.frames: dict[EntryPlan, Frame] = {}
        self.transitions: dict[int, list[Any]] = {}
        """The short ways on from each node of the blueprint where the loop is."""
        self.elsewhere: dict[Activation, dict[int, list[Any]]] = {}
        """The short ways on in the other blueprints where the loop was."""
        self.rest: Any = None
        """What is left of an entry that an emitted loop was left in."""
        self.ended = False
        if not call.entered and not isinstance(value, CoroutineType):
            self.count_before()

    def let_go(self) -> None:
        """Let go of all values, and of the ways on, which lead back here, once the loop is over."""
        self.frames, self.transitions, self.elsewhere = {}, {}, {}
        self.args, self.kwargs, self.item = (), {}, None
        self.value = self.rest = None
        if self._scope is not None:
            self._scope.forget()

    def count_before(self) -> None:
        """Count what a node had before as its first entry, where a tail call makes a loop of it."""
        call, instance = self.call, self.instance
        before = call.iteration
        call.enter(instance)
        if call.suffix:
            instance.items[call.suffix] = max(instance.items[call.suffix], before + 1)
        instance.entries = max(instance.entries, before + 1)

    @property
    def scope(self) -> Scope:
        """Of the frames of its entries, made when there is one."""
        if self._scope is None:
            self._scope = Scope(self.run, self.within)
        return self._scope

    def stand_at(self, entry: EntryPoint) -> None:
        """Be where an entry is, after others have counted it."""
        if not entry.is_shared:
            activation = self.activation_at(entry)
            if entry.number != self.number or activation is not self.activation:
                self.come_to(activation, entry.number)
                self.routes = activation.blueprint.graph.jumps.get(entry.number)
        self.form, self.gate, self.kwargs = entry.form, entry.block.gates.get(entry.register), {}

    def activation_at(self, entry: EntryPoint) -> Activation:
        """Return the activation that an entry is in."""
        return self.activation if entry.blueprint_id is None else self.run.activations[entry.blueprint_id]

    def number_of(self, entry: EntryPoint) -> int:
        """Return the number of an entry's state; one that is kept by shape is that where the loop is."""
        return self.number if entry.is_shared else entry.number

    def come_to(self, activation: Activation, number: int) -> None:
        """Be at a node; the transitions are those between the nodes of its blueprint and away from them."""
        if number == self.number and activation is self.activation:
            return
        self.number = number
        if activation is not self.activation:
            self.elsewhere[self.activation] = self.transitions
            self.transitions = self.elsewhere.setdefault(activation, {})
            self.activation = activation
        same = activation is self.home.activation and number == self.home_number
        self.call.moved(activation, number, self.instance, self.instance if same else None)

    def around(self, activation: Activation) -> Frame | None:
        """Return the frame around the loop, for entries in an activation."""
        return self.home if activation is self.home.activation else activation.root

    def instance_at(self, entry: EntryPoint) -> NodeInstance:
        """Return the instance of a state's own node."""
        activation, number = self.activation_at(entry), self.number_of(entry)
        if activation is self.home.activation and number == self.home_number:
            return self.instance
        return self.run.names.instance(activation, number, self.instance, True)

    def block_at(self, number: int) -> tuple[Block, int]:
        """Return the block that a node is in where the loop is, and its register there."""
        if self.activation is self.home.activation and number == self.home_number:
            return self.home.block, self.call.register
        block = self.activation.blueprint.state(number)
        return block, block.root

    def described(self) -> str:
        """Return the node where the loop began."""
        graph = self.home.activation.blueprint.graph
        return f"{graph.name(self.home_number)} (declared at {graph.declared(self.home_number)})"

    def move(
        self,
        activation: Activation,
        target: int,
        routes: dict[Any, int | None] | None,
        gate: Gate | None,
        called: bool = False,
    ) -> None:
        """Count an entry and go to its node; an exit does not count, but what a tail call leads to does."""
        call = self.call
        if routes is not None or called:
            self.count += 1
            if gate is not None and gate.terms.max_iterations is not None:
                self.limit = min(gate.terms.max_iterations, self.limit or gate.terms.max_iterations)
            if self.limit is not None and self.count > self.limit:
                graph = activation.blueprint.graph
                raise JumpError(
                    f"the loop of {graph.name(target)} (declared at {graph.declared(target)}) has had "
                    f"{self.limit} entries and would go on: max_iterations={self.limit} ends it here"
                )
        self.routes = routes
        call.enter(self.instance)
        self.come_to(activation, target)

    def frame_at(self, entry: EntryPoint) -> Frame:
        """Return a frame for the middle of an entry."""
        return self.frame(entry.plan, self.activation, entry.number, ())

    def frame(self, plan: EntryPlan, activation: Activation, target: int, overrides: Iterable[Any]) -> Frame:
        """Return a frame for one entry; the last one by the same plan is over, so its frame serves again."""
        block = activation.blueprint.state(target)
        regs = activation.template(plan, block).copy()
        at = plan.first_override
        for value in overrides:
            regs[at] = value
            at += 1
        frame = self.frames.get(plan)
        if frame is None or frame.activation is not activation:
            if len(self.frames) >= MOST_FRAMES:
                self.frames.clear()
            frame = self.frames[plan] = Frame(activation, block, regs, self.scope, self.around(activation))
            frame.loop = self.instance
            frame.suffix = self.call.suffix
        else:
            frame.regs = regs
        frame.iteration = self.call.iteration
        if block.lazies:
            frame.skips = {}
            frame.waiters = {}
            frame.demanded = bytearray(len(block))
            for step in plan.steps:
                frame.demanded[step[0]] = 1
        return frame
