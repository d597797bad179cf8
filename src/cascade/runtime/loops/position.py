"""Where a loop is on its way: the state, the blueprint, how often it has been entered, how its last call was made."""

from __future__ import annotations

from types import CoroutineType
from typing import Any

from cascade.compiler.transition_profile import Entry
from cascade.errors import JumpError
from cascade.runtime.frames.call import Spot
from cascade.runtime.frames.frame import Frame, Skip, World
from cascade.runtime.frames.node_instance import Copy
from cascade.runtime.frames.scope import Scope
from cascade.runtime.loops.transition import Lane
from cascade.runtime.run.state import RunState
from cascade.spec.blueprint import Block, EntryPlan
from cascade.spec.graph import Gate
from cascade.spec.placement import CallForm

__all__ = ["Standing"]

MOST_FRAMES = 256
"""So many kinds of entries have a frame that serves again."""


class Standing:
    """The place of one loop, which moves from entry to entry."""

    __slots__ = (
        "_scope",
        "args",
        "copy",
        "count",
        "elsewhere",
        "ended",
        "error",
        "form",
        "frames",
        "gate",
        "home",
        "home_number",
        "item",
        "kwargs",
        "lanes",
        "limit",
        "number",
        "outcome",
        "rest",
        "routes",
        "run",
        "skip",
        "spot",
        "value",
        "within",
        "world",
    )

    def __init__(
        self,
        run: RunState,
        spot: Spot,
        value: Any,
        form: CallForm,
        args: Any,
        kwargs: dict[str, Any],
        gate: Gate | None,
        item: Any,
    ) -> None:
        self.run = run
        self.spot = spot
        self.value = value
        self.outcome: Any = None
        self.error: BaseException | None = None
        """How the loop ended that was begun with the first call; see `cascade.runtime.loops.shared_transition.dash`."""
        self.form, self.args, self.kwargs, self.gate = form, args, kwargs, gate
        self.item = item
        self.home = spot.frame
        self.within: Scope = spot.scope
        """What the whole loop ends with."""
        self.home_number = self.number = spot.number
        self.world: World = spot.world
        self.routes = self.world.blueprint.graph.jumps.get(spot.number)
        self.copy = spot.copy(run.names)
        self.count = 1
        self.limit: int | None = None if gate is None else gate.max_iterations
        """How many entries the loop may have: the least that a state it has entered allows."""
        self.skip: Skip | None = None
        self._scope: Scope | None = None
        self.frames: dict[EntryPlan, Frame] = {}
        self.lanes: dict[int, list[Lane]] = {}
        """The short ways on from each node of the blueprint where the loop is."""
        self.elsewhere: dict[World, dict[int, list[Lane]]] = {}
        """Those of the others where it was."""
        self.rest: Any = None
        """What is left of an entry that an emitted loop was left in."""
        self.ended = False
        if not spot.entered and not isinstance(value, CoroutineType):
            self.count_before()

    def let_go(self) -> None:
        """Let go of all values, and of the ways on, which lead back here, once the loop is over."""
        self.frames, self.lanes, self.elsewhere = {}, {}, {}
        self.args, self.kwargs, self.item = (), {}, None
        self.value = self.outcome = self.error = self.rest = None
        if self._scope is not None:
            self._scope.forget()

    def count_before(self) -> None:
        """Count what a node had before as its first entry, where a tail call makes a loop of it."""
        spot, copy = self.spot, self.copy
        before = spot.iteration
        spot.enter(copy)
        if spot.suffix:
            copy.items[spot.suffix] = max(copy.items[spot.suffix], before + 1)
        copy.entries = max(copy.entries, before + 1)

    @property
    def scope(self) -> Scope:
        """Of the frames of its entries, made when there is one."""
        if self._scope is None:
            self._scope = Scope(self.run, self.within)
        return self._scope

    def stand_at(self, entry: Entry) -> None:
        """Be where an entry is, after others have counted it."""
        world = self.world_at(entry)
        if entry.number != self.number or world is not self.world:
            self.number = entry.number
            self.go_to(world)
            same = world is self.home.world and entry.number == self.home_number
            self.spot.moved(world, entry.number, self.copy, self.copy if same else None)
            self.routes = self.world.blueprint.graph.jumps.get(entry.number)
        self.form, self.gate, self.kwargs = entry.form, entry.block.gates.get(entry.register), {}

    def world_at(self, entry: Entry) -> World:
        """Return the world that an entry is in."""
        return self.world if entry.blueprint_id is None else self.run.worlds[entry.blueprint_id]

    def go_to(self, world: World) -> None:
        """Be in a blueprint: the lanes are those between its nodes and away from them."""
        if world is not self.world:
            self.elsewhere[self.world] = self.lanes
            self.lanes = self.elsewhere.setdefault(world, {})
            self.world = world

    def around(self, world: World) -> Frame | None:
        """Return the frame around the loop, for entries in a world."""
        return self.home if world is self.home.world else world.root

    def copy_at(self, entry: Entry) -> Copy:
        """Return the copy of a state's own node."""
        world = self.world_at(entry)
        if world is self.home.world and entry.number == self.home_number:
            return self.copy
        return self.run.names.copy(world, entry.number, self.copy, True)

    def block_at(self, number: int) -> tuple[Block, int]:
        """Return the block that a node is in where the loop is, and its register there."""
        if self.world is self.home.world and number == self.home_number:
            return self.home.block, self.spot.register
        block = self.world.blueprint.state(number)
        return block, block.root

    def described(self) -> str:
        """Return the node where the loop began."""
        graph = self.home.world.blueprint.graph
        return f"{graph.name(self.home_number)} (declared at {graph.declared(self.home_number)})"

    def move(self, world: World, target: int, routes: Any, gate: Gate | None, called: bool = False) -> None:
        """Count an entry and go to its node; an exit does not count, but what a tail call leads to does."""
        spot = self.spot
        if routes is not None or called:
            self.count += 1
            if gate is not None and gate.max_iterations is not None:
                self.limit = min(gate.max_iterations, self.limit or gate.max_iterations)
            if self.limit is not None and self.count > self.limit:
                graph = world.blueprint.graph
                raise JumpError(
                    f"the loop of {graph.name(target)} (declared at {graph.declared(target)}) has had "
                    f"{self.limit} entries and would go on: max_iterations={self.limit} ends it here"
                )
        self.routes = routes
        spot.enter(self.copy)
        if target != self.number or world is not self.world:
            self.number = target
            self.go_to(world)
            same = world is self.home.world and target == self.home_number
            spot.moved(world, target, self.copy, self.copy if same else None)

    def frame_at(self, entry: Entry) -> Frame:
        """Return a frame for the middle of an entry."""
        return self.frame(entry.plan, self.world, entry.number, ())

    def frame(self, plan: EntryPlan, world: World, target: int, overrides: Any) -> Frame:
        """Return a frame for one entry; the last one by the same plan is over, so its frame serves again."""
        block = world.blueprint.state(target)
        regs = world.template(plan, block).copy()
        at = plan.first_override
        for value in overrides:
            regs[at] = value
            at += 1
        frame = self.frames.get(plan)
        if frame is None or frame.world is not world:
            if len(self.frames) >= MOST_FRAMES:
                self.frames.clear()
            frame = self.frames[plan] = Frame(world, block, regs, self.scope, self.around(world))
            frame.loop = self.copy
            frame.suffix = self.spot.suffix
        else:
            frame.regs = regs
        frame.iteration = self.spot.iteration
        if block.lazies:
            frame.skips = {}
            frame.waiters = {}
            frame.demanded = bytearray(len(block))
            for step in plan.steps:
                frame.demanded[step[0]] = 1
        return frame
