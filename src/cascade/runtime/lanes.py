"""Lanes: the short way for a jump that is like the last one, which nearly every jump of a long loop is."""

from __future__ import annotations

from typing import Any

from cascade.compiler.entry import Key
from cascade.runtime.frame import PENDING
from cascade.runtime.interpret import Ready, sweep
from cascade.runtime.schedule import complete
from cascade.spec.blueprint import EntryPlan
from cascade.spec.control import Jump
from cascade.spec.placement import CallForm

__all__ = ["Lane"]


class Lane:
    """The short way for a jump that is like the last one: same key, same arguments, a state that is a plain call."""

    __slots__ = ("args", "at", "block", "cls", "follower", "form", "frame", "key", "names", "plan", "template")

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

    async def feed(self) -> None:
        """Wait for what feeds the state."""
        agenda, ready, outcome = self.args
        self.args = ()
        await complete(self.follower.run, self.frame, agenda, ready, outcome, self.plan.wanted)
        regs = self.frame.regs
        self.follower.args = [regs[reference] for reference in self.plan.placed]
