"""Sub-flows: a blueprint that runs as one node of another, with parameters and policies of its own."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

from cascade.errors import ConstraintError
from cascade.runtime.admission.admission import UNGOVERNED
from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.frames.call import Call, at_none
from cascade.runtime.frames.cancel_scope import CancelScope
from cascade.runtime.frames.frame import NOTHING, Activation, Frame, Skip, root_frame, steps_of
from cascade.runtime.frames.scope import NodeFailure, Scope
from cascade.runtime.inputs import fill
from cascade.runtime.interpreter.last_readers import find_last_readers
from cascade.runtime.interpreter.scheduler import evaluate
from cascade.runtime.policies.cache import call_cached
from cascade.runtime.policies.timeout import Deadline, deadline_of
from cascade.runtime.run.deadlock import check_inner, give_up, hold
from cascade.runtime.run.state import RunState
from cascade.spec.graph import Gate
from cascade.spec.notes import note_more, spelled
from cascade.spec.readable import readable

__all__ = ["run_once", "run_subflow"]

DEEP = 16
"""Each time so many sub-flows stand in each other, one has a task of its own."""


@readable(place=at_none)
async def run_subflow(run: RunState, around: Frame, i: int, values: list[Any]) -> Any:
    """Run the sub-flow that instruction `i` is, under its policies if it has some; return what its target gives."""
    number = around.block.source(i)
    outer = around.activation
    blueprint = outer.blueprint.subflows[number]
    node = outer.blueprint.graph.nodes[number]
    try:
        given = dict(zip(node.kwargs, values, strict=True))
        constants = fill(blueprint.graph, given, run.variables, node.kwargs)
        run.keep_secrets(blueprint.graph, constants)
    except BaseException as error:
        raise run.failure_at(Call(around, i), error) from None
    gate = around.block.gates.get(i)
    if gate is not None and gate.is_policy:
        value, skip = await _SubflowAttempts(run, around, i, gate, constants).run_all()
    else:
        value, skip = await run_once(run, around, i, constants)
    if skip is not None:
        around.skips[i] = skip
    return value


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
    number = around.block.source(i)
    outer = around.activation
    blueprint = outer.blueprint.subflows[number]
    key = run.names.subflow_key(outer.key, number, around.loop, attempt)
    activation = Activation(blueprint, constants, key)
    activation.depth = outer.depth + 1
    inherited = run.shares.get(outer) if share is None and run.shares else share
    if inherited is not None:
        run.shares[activation] = inherited
    try:
        if blueprint.root.moves is None:
            find_last_readers(blueprint)
        frame = root_frame(activation, Scope(run, around.scope if within is None else within))
        frame.loop, frame.iteration, frame.suffix = around.loop, around.iteration, around.suffix
        root = blueprint.root.root
        if blueprint.root.strict:
            carry_out = _apart if activation.depth % DEEP == 0 else evaluate
            await carry_out(run, frame, [(frame, steps_of(blueprint.root, blueprint.order))], [], [root])
        if run.observed:
            run.publish_pruned_root(frame)
        return frame.regs[root], frame.skips.get(root)
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


class _SubflowSkipped(Exception):
    """What a sub-flow gave that is not kept: its target was skipped."""


class _SubflowAttempts:
    """One call of a sub-flow under policies."""

    def __init__(self, run: RunState, around: Frame, i: int, gate: Gate, constants: list[Any]) -> None:
        self.run = run
        self.around = around
        self.i = i
        self.call = Call(around, i)
        self.gate = run.settled(self.call, gate, around.regs) if gate.amounts else gate
        self.constants = constants
        self.was_lazy = bool(gate.amounts)
        self.count = 0

    async def run_all(self) -> tuple[Any, Skip | None]:
        """Take the value from the cache, or run until an attempt succeeds.

        Raises:
            NodeFailure: the last attempt failed.
        """
        try:
            if self.gate.cache is None:
                return await self.attempts()
            return await self.cached(), None
        except NodeFailure:
            raise
        except asyncio.CancelledError as error:
            if self.run.is_asked(error, self.call.scope):
                raise
            raise self.run.failure_at(self.call, error, self.count or 1) from None
        except BaseException as error:
            raise self.run.failure_at(self.call, error, self.count or 1) from None

    async def cached(self) -> Any:
        from cascade.adapters.caching.graphs import GraphForm, params_of

        run, blueprint = self.run, self.around.activation.blueprint
        inner, graph = blueprint.subflows[self.call.number], blueprint.graph
        form: Any = GraphForm(graph.name(self.call.number), graph.declared(self.call.number), inner, run.variables)
        form.look()

        async def work() -> Any:
            value, skip = await self.attempts()
            if value is NOTHING or skip is not None:
                raise _SubflowSkipped(value, skip)
            return value

        try:
            params = params_of(inner.graph, self.constants)
            return await call_cached(run, self.call, form, (), params, self.gate.cache, work)
        except _SubflowSkipped as skipped:
            value, skip = skipped.args
        if skip is not None:
            self.around.skips[self.i] = skip
        return value

    async def attempts(self) -> tuple[Any, Skip | None]:
        """Run until an attempt succeeds, or fails for good."""
        retry, run = self.gate.retry, self.run
        while True:
            self.call.scope.check()
            self.count += 1
            try:
                return await self.admitted()
            except NodeFailure as failure:
                again = retry is not None and self.count < retry.max_attempts and retry.covers(failure.error)
                again = again and not self.call.scope.is_ending()
                if not again:
                    if self.count > 1:
                        where = f"in the sub-flow {run.described(self.call)}, attempt {self.count}"
                        note_more(failure.error, where, logging.DEBUG)
                    raise
                assert retry is not None
                delay = retry.wait_after(self.count, random.random())
                run.publish_retry(self.call, self.count, retry.max_attempts, delay, failure.error)
            await asyncio.sleep(delay)

    async def admitted(self) -> tuple[Any, Skip | None]:
        """Run one attempt while its constraints are held; what is inside shares them."""
        run, constraints = self.run, self.gate.constraints
        if constraints is None:
            return await self.in_time(None)
        admission, capacities, outer = run.admission, run.admission.capacities, run.shares.get(self.around.activation)
        amounts = {name: amount for name, amount in constraints.amounts.items() if name in capacities.whole}
        if self.was_lazy:
            try:
                capacities.check(self.around.activation.blueprint.subflows[self.call.number], amounts)
            except ConstraintError as error:
                raise run.failure_at(self.call, error, self.count) from None
        needed = capacities.needed(amounts, outer)
        inside = outer is not None
        ticket = await admission.enter(UNGOVERNED, needed, self.blocked, inside)
        ticket.place = self.call
        hold(ticket, run)
        try:
            self.call.scope.check()  # while it waited
            share = capacities.open_share(amounts, f"{run.described(self.call)} in {run.id}")
            try:
                return await self.in_time(share)
            finally:
                capacities.close_share(share)
        finally:
            give_up(ticket)
            admission.leave(UNGOVERNED, needed)

    def blocked(self, ticket: Ticket) -> None:
        """Say that it has to wait, if it ever can be let in."""
        check_inner(self.run, self.call, ticket)
        self.run.publish_blocked(self.call, ticket)

    async def in_time(self, share: dict[str, str] | None) -> tuple[Any, Skip | None]:
        """Run one attempt, for as long as its timeout allows."""
        deadline = deadline_of(self.run, self.around.scope, self.gate)
        if deadline is None:
            return await run_once(self.run, self.around, self.i, self.constants, self.count, share)
        deadline.start()
        failure: BaseException | None = None
        value: tuple[Any, Skip | None] = NOTHING, None
        try:
            value = await run_once(self.run, self.around, self.i, self.constants, self.count, share, deadline)
        except BaseException as error:
            failure = error
        try:
            if deadline.settle(failure):
                raise self.late(deadline, failure) from None
            if failure is not None:
                raise failure
        finally:
            failure = None  # its traceback leads here
        return value

    def late(self, deadline: Deadline, failure: BaseException | None) -> NodeFailure:
        """Return the failure of an attempt that was too late, and ended with `failure` or without."""
        late = deadline.error(self.run.described(self.call))
        if isinstance(failure, NodeFailure):
            late.__cause__ = failure.error
        for other in getattr(failure, "others", []):
            note_more(late, f"besides, a node failed as it was cancelled: {spelled(other)}")
        return self.run.failure_at(self.call, late, self.count)
