"""Sub-flows that take time, or have policies of their own: a blueprint that runs as one node of another."""

from __future__ import annotations

import asyncio
from typing import Any

from cascade.runtime.admission.admission import UNGOVERNED
from cascade.runtime.execution.scheduler import complete, evaluate
from cascade.runtime.frames.call import Call, at_none
from cascade.runtime.frames.cancel_scope import CancelScope
from cascade.runtime.frames.frame import NOTHING, Frame, Skip, steps_of
from cascade.runtime.frames.started import SubflowStarted
from cascade.runtime.interpreter.subflows import close_subflow, given_constants, open_subflow
from cascade.runtime.policies.managed import ManagedCall
from cascade.runtime.policies.stack import carry_out
from cascade.runtime.run.state import RunState
from cascade.spec.gate import Gate
from cascade.spec.readable import readable

__all__ = ["run_once", "run_subflow"]


@readable(place=at_none)
async def run_subflow(run: RunState, around: Frame, i: int, values: list[Any], started: Any) -> Any:
    """Run the sub-flow that instruction `i` is, under its policies if it has some; return what its target gives.

    Args:
        started: what was begun of it in place, if it was.
    """
    if isinstance(started, SubflowStarted):
        value, skip = await _go_on(run, started)
    else:
        constants = given_constants(run, around, i, values)
        gate = around.block.gates.get(i)
        if gate is not None and gate.terms.is_policy:
            managed = ManagedSubflow(run, around, i, gate, constants)
            value, skip = await carry_out(managed), managed.skip
        else:
            value, skip = await run_once(run, around, i, constants)
    if skip is not None:
        around.skips[i] = skip
    return value


@readable(place=at_none)
async def _go_on(run: RunState, started: SubflowStarted) -> tuple[Any, Skip | None]:
    """Run a sub-flow that was begun in place to its end."""
    frame, work, deferred, outcome = started.taken()
    try:
        root = [frame.block.root]
        if outcome is SubflowStarted:
            await evaluate(run, frame, work, deferred, root)
        else:
            await complete(run, frame, work, deferred, outcome, root)
        return close_subflow(run, frame)
    finally:
        frame.activation.let_go()


@readable(place=at_none)
async def run_once(
    run: RunState,
    around: Frame,
    i: int,
    constants: list[Any],
    attempt: int = 1,
    share: dict[str, str] | None = None,
    within: CancelScope | None = None,
) -> tuple[Any, Skip | None]:
    """Run a sub-flow once; return its value, and why its target was skipped if it was.

    Args:
        attempt: the nodes of each further one are told apart from those before.
        share: what the capacities that it holds are called; None: those around it.
        within: what ends it; None: what ends those around it.
    """
    frame = open_subflow(run, around, i, constants, attempt, within)
    activation, block = frame.activation, frame.block
    inherited = run.shares.get(around.activation) if share is None and run.shares else share
    if inherited is not None:
        run.shares[activation] = inherited
    try:
        if block.strict:
            carry_out = evaluate if around.activation.nests else _apart
            steps = steps_of(block, activation.blueprint.order)
            await carry_out(run, frame, [(frame, steps)], [], [block.root])
        return close_subflow(run, frame)
    finally:
        if inherited is not None:
            del run.shares[activation]
        activation.let_go()


async def _apart(*args: Any) -> None:
    """Evaluate in a task of its own: coroutines that await each other may only be so many."""
    task = asyncio.get_running_loop().create_task(_outcome(*args))
    try:
        error = await task
    finally:
        del task
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback leads here


async def _outcome(*args: Any) -> BaseException | None:
    try:
        await evaluate(*args)
    except BaseException as error:
        return error
    return None


class ManagedSubflow(ManagedCall):
    """A call of a sub-flow under policies."""

    __slots__ = ("around", "constants", "skip")

    def __init__(self, run: RunState, around: Frame, i: int, gate: Gate, constants: list[Any]) -> None:
        call = Call(around, i)
        ManagedCall.__init__(self, run, call, run.settled(call, gate, around.regs) if gate.amounts else gate)
        self.around = around
        self.constants = constants
        self.skip: Skip | None = None
        """Why the target of the last attempt was skipped, if it was."""

    @property
    def name(self) -> str:
        return UNGOVERNED

    def keyed(self) -> tuple[Any, Any, dict[str, Any]]:
        from cascade.adapters.caching.graphs import GraphForm, params_of

        blueprint, number = self.around.activation.blueprint, self.call.number
        graph, inner = blueprint.graph, blueprint.subflows[number]
        form = GraphForm(graph.name(number), graph.declared(number), inner, self.run.variables)
        form.look()
        return form, (), params_of(inner.graph, self.constants)

    def is_kept(self, value: Any) -> bool:
        return self.skip is None and value is not NOTHING and super().is_kept(value)

    async def make(self) -> Any:
        """Run the sub-flow once; what is inside of it shares what it holds."""
        run, constraints = self.run, self.gate.terms.constraints
        share = None
        if constraints is not None:
            share = run.engine.admission.capacities.open_share(
                constraints.amounts, f"{run.described(self.call)} in {run.id}"
            )
        try:
            value, self.skip = await run_once(
                run, self.around, self.call.register, self.constants, self.count, share, self.deadline or self.clock
            )
        finally:
            if share is not None:
                run.engine.admission.capacities.close_share(share)
        return value
