"""Lanes: the short way for a jump that is like the last one, which nearly every jump of a long loop is.

A lane that has been used for a while runs as an emitted loop, and interprets only what that hands back.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from cascade.compiler.emit import ODD, HotLoop, emit_jump_loop, emit_tail_loop
from cascade.compiler.entry import FIRST, Key
from cascade.runtime.copies import Copy
from cascade.runtime.frame import PENDING
from cascade.runtime.interpret import Ready, sweep
from cascade.runtime.schedule import complete
from cascade.runtime.signals import plain_result
from cascade.runtime.spot import Spot
from cascade.runtime.tail import merge_tail
from cascade.runtime.ticker import MOST_NUMBERS
from cascade.spec.blueprint import EntryPlan, TailCall
from cascade.spec.control import Jump, Value
from cascade.spec.placement import CallForm, placements

__all__ = ["Lane", "TailLane", "item_lane", "state_lane"]

ENDLESS = range(1 << 62)
ITEM = object()
"""Marks the plans of items of maps among those of a block."""


class Lane:
    """The short way back into one state: same key, same arguments given, a state that is a plain call."""

    __slots__ = (
        *("args", "block", "cls", "follower", "form", "frame", "hot", "hot_jump", "key", "names", "nodes"),
        *("placed_at", "plan", "register", "sites", "size", "template", "updates", "watch"),
    )

    def __init__(
        self,
        follower: Any,
        jump: Jump,
        key: Key,
        where: tuple[Any, int],
        plan: EntryPlan,
        frame: Any,
        template: list[Any],
        updates: list[int],
    ) -> None:
        self.follower = follower
        self.key = jump.target_key
        self.cls = jump.data.__class__
        self.names = key if isinstance(jump.data, dict) else None
        self.block, register = where
        self.register = register
        self.form: CallForm = self.block.forms[register]
        self.plan = plan
        self.frame = frame
        self.template = template
        self.updates = updates
        """The registers that the data of a jump is put into."""
        self.hot: Any = None
        self.hot_jump: Jump | None = None
        """The jump that an emitted coroutine is to go on from."""
        self.size = 16
        self.placed_at = -1
        self.watch = (False, False)
        self.nodes: list[Copy] | None = None
        self.sites: list[Any] | None = None
        self.args: tuple[Any, ...] = ()
        """What must be completed before the state's own call; empty: nothing."""

    def takes(self, jump: Jump) -> bool:
        """Say whether a jump is like the one that the lane was made for."""
        data = jump.data
        return (
            jump.target_key is self.key
            and data.__class__ is self.cls
            and (self.names is None or tuple(data) == self.names)
        )

    def enter(self, jump: Jump) -> Any:
        """Enter the state; return what it returns, or PENDING if `finish` must wait for something."""
        run = self.follower.run
        if run.compiles and self.is_hot():
            if self.hot.is_async:
                self.hot_jump = jump
                return PENDING
            return self.run_hot(jump)
        return self.interpret(jump)

    def registers(self, jump: Jump) -> list[Any]:
        """Return fresh registers, with the data of a jump in its place."""
        regs = self.template.copy()
        if self.names is not None:
            for register, value in zip(self.updates, jump.data.values(), strict=True):
                regs[register] = value
        elif self.updates:
            regs[self.updates[0]] = jump.data
        return regs

    def interpret(self, jump: Jump) -> Any:
        """Enter the state instruction by instruction."""
        follower, plan, frame = self.follower, self.plan, self.frame
        run = follower.run
        follower.count += 1
        iteration = follower.spot.enter(follower.copy)
        regs = self.registers(jump)
        if plan.steps:
            frame.iteration, frame.regs = iteration, regs
            ready: list[Ready] = []
            agenda: list[Any] = [(frame, iter(plan.steps))]
            run.ticker.ticks = 0
            outcome = sweep(run, agenda, ready)
            if outcome is not None or ready or any(regs[at] is PENDING for at in plan.wanted):
                self.args = (agenda, ready, outcome)
                return PENDING
        args = follower.args = [regs[reference] for reference in plan.placed]
        inline = self.form.inline
        if inline is None or run.observed or not run.inline:
            return PENDING
        return inline(*args)

    async def finish(self) -> Any:
        """Wait for what `enter` could not do at once; return what the state returned, or PENDING again."""
        follower, form = self.follower, self.form
        run = follower.run
        if self.hot_jump is not None:
            jump, self.hot_jump = self.hot_jump, None
            return await self.await_hot(jump)
        if self.args:
            agenda, ready, outcome = self.args
            self.args = ()
            await complete(run, self.frame, agenda, ready, outcome, self.plan.wanted)
            regs = self.frame.regs
            follower.args = [regs[reference] for reference in self.plan.placed]
        if form.is_async and run.direct and not run.observed:
            return await form.func(*follower.args)
        return await run.invoke(run, follower.spot, form, follower.args, {}, None)

    # --- the emitted loop

    def is_hot(self) -> bool:
        """Say whether the emitted loop can take this entry; emit it when the lane has been used enough."""
        run = self.follower.run
        if not run.direct or (run.bus.previews is not None and any(run.watch)):
            return False
        if run.governed and run.governs(self.form, *(step[2] for step in self.plan.steps if step[2] is not None)):
            return False
        if self.watch != run.watch:
            self.watch, self.hot, self.placed_at = run.watch, None, -1
        if self.hot is None:
            self.plan.uses += 1
            if self.plan.uses <= run.patience_to_compile or (self.form.inline is None and not self.form.is_async):
                return False
            mark = (self.key, self.cls, self.watch)
            hot = self.plan.hot.get(mark)
            if hot is None:
                hot = self.plan.hot[mark] = self.emit() or False
            self.hot = hot
        if self.hot is False:
            return False
        if self.placed_at != placements[0]:
            if any(form.inline is None and not form.is_async for form in self.hot.forms):
                return False
            self.placed_at = placements[0]
        return not (any(self.watch) and any(copy.entries or copy.items for copy in self.copies()))

    def copies(self) -> list[Copy]:
        """Return the copies of the nodes before the state; where one has looped itself, its entries are counted."""
        if self.nodes is None:
            names = self.follower.run.names
            self.nodes = [Spot(self.frame, step[0]).copy(names) for step in self.plan.steps]
        return self.nodes

    def emit(self) -> HotLoop | None:
        """Return the emitted loop for this lane, if there can be one."""
        names = self.names or (None,) * len(self.updates)
        updates = list(zip(self.updates, names, strict=True))
        graph = self.follower.world.blueprint.graph
        return emit_jump_loop(graph, self.block, self.register, self.plan, self.key, updates, self.cls, self.watch)

    def parameters(self, jump: Jump) -> list[Any]:
        """Return what the emitted loop is called with behind its turn."""
        regs, plan = self.registers(jump), self.plan
        values = regs[plan.first_override : plan.size] + [regs[at] for at in self.hot.constants]
        if any(self.watch):
            follower = self.follower
            values += [follower.run.bus.publish, follower.spot.had(follower.copy), self.watched_sites()]
        return values

    def watched_sites(self) -> list[Any]:
        """Return where the events of each step come from, the state's own last."""
        follower = self.follower
        if self.sites is None:
            suffix = "" if self.frame is None else self.frame.suffix
            self.sites = [copy.site_of(suffix) for copy in self.copies()]
            self.sites.append(follower.spot.copy(follower.run.names).site_of(follower.spot.suffix))
        return self.sites

    def run_hot(self, jump: Jump) -> Any:
        """Run the emitted loop for one turn at the most; return what the state returned last, or PENDING."""
        follower, hot = self.follower, self.hot
        ticker = follower.run.ticker
        self.size = min(self.size * 4, MOST_NUMBERS)
        values = self.parameters(jump)
        try:
            outcome = hot.function(ticker.numbers(self.size), *values)
        except BaseException as error:
            attribute(follower, hot, error, self.plan, self.frame)
            raise
        finally:
            ticker.turn = None
        return self.left(jump, outcome)

    async def await_hot(self, jump: Jump) -> Any:
        """Do the same with an emitted coroutine."""
        follower, hot = self.follower, self.hot
        ticker = follower.run.ticker
        ticker.begin()
        values = self.parameters(jump)
        try:
            outcome = await hot.function(ENDLESS, ticker, *values)
        except asyncio.CancelledError as error:
            status = "Cancelled" if follower.run.is_cancelled() else "Failed"
            attribute(follower, hot, error, self.plan, self.frame, status)
            raise
        except BaseException as error:
            attribute(follower, hot, error, self.plan, self.frame)
            raise
        value = self.left(jump, outcome)
        return await self.finish() if value is PENDING else value

    def left(self, jump: Jump, outcome: tuple[Any, Any, Any]) -> Any:
        """Take over from the emitted loop where it was left."""
        i, result, args = outcome
        if i is None:  # the turn was over before it began
            return jump
        counted(self.follower, self.hot, i)
        if self.frame is not None:
            self.frame.iteration = self.follower.spot.iteration
        if result is ODD:
            return self.resume(*args)
        if args is not None:
            self.follower.args = list(args)
        return result

    def resume(self, step: int, found: dict[str, Any]) -> Any:
        """Go on by interpreting, behind an instruction that returned something to be looked at."""
        plan, frame, run = self.plan, self.frame, self.follower.run
        regs = frame.regs = self.template.copy()
        for name, register in self.hot.locals[step].items():
            regs[register] = found[name]
        i, op, form, _ = plan.steps[step]
        value, regs[i] = regs[i], PENDING
        ready: list[Ready] = []
        agenda: list[Any] = [(frame, iter(plan.steps[step + 1 :]))]
        try:
            value = plain_result(run, frame, i, op, form, value, ready)
        except BaseException as error:
            raise run.failure_at(Spot(frame, i), error) from None
        if value is not PENDING:
            regs[i] = value
        self.args = (agenda, ready, sweep(run, agenda, ready))
        return PENDING


def state_lane(follower: Any, jump: Jump, target: int, key: Key) -> Lane | None:
    """Return a lane for more jumps like this one, which has just entered a state, if the state allows it."""
    if target < 0 or jump.data.__class__ is Value:
        return None
    block = follower.world.blueprint.state(target)
    plan = block.plans.get(key)
    if plan is None or not plan.is_bare:
        return None
    if follower.routes is None or follower.routes.get(jump.target_key) != target:
        return None  # the same key leads elsewhere from here
    updates = list(range(plan.first_override, plan.size))
    template = follower.world.template(plan, block)
    return Lane(follower, jump, key, (block, block.root), plan, follower.frames[plan], template, updates)


def item_lane(follower: Any, jump: Jump, key: Key) -> Lane | None:
    """Return the same for a jump back into an item of a map, whose arguments are all there."""
    declared, named = follower.item
    block, register, gate = follower.home.block, follower.spot.register, follower.gate
    form = block.forms[register]
    if named or form.task.needs or jump.data.__class__ is Value:
        return None
    if gate is not None and gate.is_policy:
        return None
    if key is FIRST:
        updates = [1 if gate is not None and gate.receiver else 0]
    else:
        positions = form.task.shape.positions if form.task.shape is not None else {}
        updates = [positions.get(name, len(declared)) for name in key]
    if any(at >= len(declared) for at in updates):
        return None
    plan = block.plans.get((ITEM, register, *key))
    if plan is None:
        count = len(declared)
        plan = block.plans[ITEM, register, *key] = EntryPlan([], list(range(count)), {}, 0, count, [])
    return Lane(follower, jump, key, (block, register), plan, None, list(declared), updates)


class TailLane:
    """The short way for tail calls of a task to itself that give the same arguments each time."""

    __slots__ = ("count", "follower", "form", "gate", "hot", "names", "size", "uses")

    def __init__(self, follower: Any, call: TailCall) -> None:
        self.follower = follower
        self.form: CallForm = follower.form
        self.gate = follower.gate
        self.count = len(follower.args)
        self.names = tuple(call.kwargs)
        self.hot: Any = None
        self.uses = 0
        self.size = 16

    def takes(self, call: TailCall) -> bool:
        """Say whether the emitted loop can take a call; emit it when there were enough like it."""
        follower = self.follower
        run, gate = follower.run, self.gate
        if run.observed or not run.direct or self.form.inline is None or follower.form is not self.form:
            return False
        if follower.gate is not gate or len(follower.args) != self.count or follower.limit is not None:
            return False  # another node of the same task, or a loop whose entries are numbered
        if call.args or call.target_blueprint_id is not None or follower.kwargs or tuple(call.kwargs) != self.names:
            return False
        if self.hot is None:
            self.uses += 1
            if self.uses <= run.patience_to_compile:
                return False
            self.hot = False
            if not self.form.task.needs and not (gate is not None and gate.is_policy):
                self.hot = emit_tail_loop(self.form, len(follower.args), self.names) or False
        return self.hot is not False

    def run_hot(self, call: TailCall) -> Any:
        """Run the emitted loop for one turn at the most; return what the task returned last."""
        follower, hot = self.follower, self.hot
        ticker = follower.run.ticker
        receiver = 1 if self.gate is not None and self.gate.receiver else 0
        values, _ = merge_tail(self.form, follower.args, {}, call, receiver)
        self.size = min(self.size * 4, MOST_NUMBERS)
        try:
            i, result, args = hot.function(ticker.numbers(self.size), *values)
        except BaseException as error:
            attribute(follower, hot, error, None, None)
            raise
        finally:
            ticker.turn = None
        if i is None:
            return call
        counted(follower, hot, i)
        follower.args = list(args)
        return result


def counted(follower: Any, hot: HotLoop, i: int) -> None:
    """Count the entries that an emitted loop has had, of which the last was its `i`-th, from 0."""
    follower.count += i + 1
    follower.spot.enter_more(follower.copy, i + 1)
    ticker = follower.run.ticker
    if ticker.ticks >= 2 and not hot.is_async:  # a call held the loop: each function has to prove itself again
        for form in hot.forms:
            if form.task.mode == "auto":
                form.profile.demote()
        ticker.ticks = 0


def attribute(
    follower: Any, hot: HotLoop, error: BaseException, plan: EntryPlan | None, frame: Any, status: str = "Failed"
) -> None:
    """Count the entries up to an error, and raise the failure of an instruction before the state if that raised."""
    step, i, start = hot.step_of(error)
    run, spot = follower.run, follower.spot
    spot.enter_more(follower.copy, i + 1)
    is_state = plan is None or step >= len(plan.steps)
    if frame is not None:
        frame.iteration = spot.iteration
    at = spot if is_state or plan is None else Spot(frame, plan.steps[step][0])
    if start is not None:
        run.publish_finished(at, status, perf_counter() - start, error, None)
    if not is_state and status == "Failed":
        raise run.failure_at(at, error) from None
