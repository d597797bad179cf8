"""Lanes: the short way for a jump that is like the last one, which nearly every jump of a long loop is."""

from __future__ import annotations

from typing import Any

from cascade.compiler.emit import ODD, HotLoop, emit_jump_loop, emit_tail_loop
from cascade.compiler.entry import Key
from cascade.runtime.frame import PENDING
from cascade.runtime.interpret import Ready, sweep
from cascade.runtime.schedule import complete
from cascade.runtime.signals import plain_result
from cascade.runtime.spot import Spot
from cascade.runtime.tail import merge_tail
from cascade.runtime.ticker import MOST_NUMBERS
from cascade.spec.blueprint import EntryPlan, TailCall
from cascade.spec.control import Jump
from cascade.spec.placement import CallForm, placements

__all__ = ["Lane", "TailLane"]


class Lane:
    """The short way for a jump that is like the last one: same key, same arguments, a state that is a plain call."""

    __slots__ = (
        "args",
        "at",
        "block",
        "cls",
        "follower",
        "form",
        "frame",
        "hot",
        "key",
        "names",
        "placed_at",
        "plan",
        "size",
        "template",
        "uses",
    )

    def __init__(self, follower: Any, jump: Jump, block: Any, plan: EntryPlan, key: Key) -> None:
        self.follower = follower
        self.key = jump.target_key
        self.cls = jump.data.__class__
        self.names = key if isinstance(jump.data, dict) else None
        self.block = block
        self.plan = plan
        self.form: CallForm = block.forms[block.root]
        self.frame = follower.frames[plan]
        self.template = follower.world.template(plan, block)
        self.at = plan.first_override
        self.hot: Any = None
        self.uses = 0
        self.size = 16
        self.placed_at = -1
        self.args: tuple[Any, ...] = ()
        """What `feed` must complete first; empty: nothing."""

    def takes(self, jump: Jump) -> bool:
        """Say whether a jump is like the one that the lane was made for."""
        data = jump.data
        return (
            jump.target_key is self.key
            and data.__class__ is self.cls
            and (self.names is None or tuple(data) == self.names)
        )

    def enter(self, jump: Jump) -> Any:
        """Enter the state; return what it returns, or PENDING if that takes time: what feeds it, or its call."""
        follower, plan, frame = self.follower, self.plan, self.frame
        run, spot = follower.run, follower.spot
        if run.compiles and self.is_hot():
            return self.run_hot(jump)
        follower.count += 1
        frame.iteration = spot.enter(follower.copy)
        regs = frame.regs = self.template.copy()
        if self.names is not None:
            regs[self.at : self.at + len(self.names)] = jump.data.values()
        elif jump.data is not None:
            regs[self.at] = jump.data
        if plan.steps:
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

    # --- the emitted loop

    def is_hot(self) -> bool:
        """Say whether the emitted loop can take this entry; emit it when the lane has been used enough."""
        run = self.follower.run
        if run.observed or not run.inline:
            return False
        if self.hot is None:
            self.uses += 1
            if self.uses <= run.patience_to_compile or self.form.inline is None:
                return False
            hot = self.plan.hot.get((self.key, self.cls))
            if hot is None:
                blueprint = self.follower.world.blueprint
                hot = emit_jump_loop(blueprint, self.block, self.plan, self.key, self.names, self.cls) or False
                self.plan.hot[self.key, self.cls] = hot
            self.hot = hot
        if self.hot is False:
            return False
        if self.placed_at != placements[0]:
            if any(form.inline is None for form in self.hot.forms):
                return False
            self.placed_at = placements[0]
        return True

    def run_hot(self, jump: Jump) -> Any:
        """Run the emitted loop until it has to be left; return what the state returned last, or PENDING."""
        hot = self.hot
        if self.names is not None:
            values = [jump.data[name] for name in self.names]
        else:
            values = [] if jump.data is None else [jump.data]
        values += [self.template[at] for at in hot.constants]
        self.size = min(self.size * 4, MOST_NUMBERS)
        done, result, args = run_emitted(self.follower, hot, self.size, values, self.plan, self.frame)
        if not done:
            return jump
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

    async def feed(self) -> None:
        """Wait for what feeds the state."""
        agenda, ready, outcome = self.args
        self.args = ()
        await complete(self.follower.run, self.frame, agenda, ready, outcome, self.plan.wanted)
        regs = self.frame.regs
        self.follower.args = [regs[reference] for reference in self.plan.placed]


class TailLane:
    """The short way for tail calls of a task to itself that give the same arguments each time."""

    __slots__ = ("follower", "form", "hot", "names", "size", "uses")

    def __init__(self, follower: Any, call: TailCall) -> None:
        self.follower = follower
        self.form: CallForm = follower.form
        self.names = tuple(call.kwargs)
        self.hot: Any = None
        self.uses = 0
        self.size = 16

    def takes(self, call: TailCall) -> bool:
        """Say whether the emitted loop can take a call; emit it when there were enough like it."""
        follower = self.follower
        run, gate = follower.run, follower.gate
        if run.observed or not run.inline or self.form.inline is None or follower.form is not self.form:
            return False
        if call.args or call.target_blueprint_id is not None or follower.kwargs or tuple(call.kwargs) != self.names:
            return False
        if self.hot is None:
            self.uses += 1
            if self.uses <= run.patience_to_compile:
                return False
            self.hot = False
            if not self.form.task.needs and not (gate is not None and (gate.is_policy or gate.max_iterations)):
                self.hot = emit_tail_loop(self.form, len(follower.args), self.names) or False
        return self.hot is not False

    def run_hot(self, call: TailCall) -> Any:
        """Run the emitted loop until it has to be left; return what the task returned last."""
        follower = self.follower
        args, _ = merge_tail(self.form, follower.args, {}, call, 0)
        self.size = min(self.size * 4, MOST_NUMBERS)
        done, result, args = run_emitted(follower, self.hot, self.size, args, None, None)
        if not done:
            return call
        follower.args = list(args)
        return result


def run_emitted(
    follower: Any, hot: HotLoop, size: int, values: list[Any], plan: EntryPlan | None, frame: Any
) -> tuple[bool, Any, Any]:
    """Run an emitted loop for one turn at the most.

    Returns whether it had at least one iteration, what it left with, and the arguments of the last call.

    Raises:
        NodeFailure: an instruction before the state's own call raised; what that call raises comes out as it is.
    """
    run, spot = follower.run, follower.spot
    ticker = run.ticker
    try:
        i, result, args = hot.function(ticker.numbers(size), *values)
    except BaseException as error:
        step, i = hot.step_of(error)
        spot.enter_more(follower.copy, i + 1)
        if plan is not None and step < len(plan.steps):
            frame.iteration = spot.iteration
            raise run.failure_at(Spot(frame, plan.steps[step][0]), error) from None
        raise
    finally:
        ticker.turn = None
    if i is None:  # the turn was over before it began
        return False, None, None
    follower.count += i + 1
    spot.enter_more(follower.copy, i + 1)
    if ticker.ticks >= 2:  # a call held the loop: each function has to prove itself again
        for form in hot.forms:
            if form.task.mode == "auto":
                form.profile.demote()
        ticker.ticks = 0
    return True, result, args
