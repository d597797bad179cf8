"""Dataflow scheduling: a node starts when its inputs are there, and nothing waits for anything else."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from cascade.runtime.frame import PENDING, Frame
from cascade.runtime.interpret import TURN, Ready, sweep
from cascade.runtime.run import RunState
from cascade.runtime.scope import Scope

__all__ = ["advance", "complete", "drive", "evaluate"]


async def advance(run: RunState, agenda: list[Any], mine: Scope) -> Ready | None:
    """Sweep until nothing more can run at once, and start what takes time.

    Returns one call of scope `mine` for the caller to go on with in place, which saves a task.
    """
    ready: list[Ready] = []
    run.ticker.begin()
    return await resume(run, agenda, ready, sweep(run, agenda, ready), mine)


async def resume(run: RunState, agenda: list[Any], ready: list[Ready], outcome: Any, mine: Scope) -> Ready | None:
    """Go on after a sweep that ended with `outcome`; see `advance`."""
    while outcome is not None:
        for call in ready:
            call[0].scope.start(drive, run, *call)
        ready.clear()
        if outcome is TURN:
            await run.turn()
        else:
            await run.wait_for_measure(outcome)
        run.ticker.begin()
        outcome = sweep(run, agenda, ready)
    first = None
    for call in ready:
        if first is None and call[0].scope is mine:
            first = call
        else:
            call[0].scope.start(drive, run, *call)
    return first


async def drive(run: RunState, frame: Frame, i: int, begun: Any) -> None:
    """Carry out a call that takes time, then what it makes possible."""
    scope = frame.scope
    perform = run.perform
    ticker = run.ticker
    while True:
        value = await perform(run, frame, i, begun)
        agenda = frame.settle(i, value)
        if ticker.due:
            await run.turn()
        if not agenda:
            return
        call = await advance(run, agenda, scope)
        if call is None:
            return
        frame, i, begun = call


async def evaluate(run: RunState, frame: Frame, agenda: list[Any], wanted: list[int]) -> None:
    """Carry out the agenda and wait until the `wanted` registers of `frame` have values.

    Raises:
        NodeFailure: a node failed; nothing that was started here is running any more.
    """
    ready: list[Ready] = []
    run.ticker.begin()
    outcome = sweep(run, agenda, ready)
    if outcome is not None or ready or frame.waiters:
        await complete(run, frame, agenda, ready, outcome, wanted)


async def complete(
    run: RunState, frame: Frame, agenda: list[Any], ready: list[Ready], outcome: Any, wanted: list[int]
) -> None:
    """Do for `evaluate` what its first sweep could not do at once."""
    scope, regs = frame.scope, frame.regs
    scope.host = asyncio.current_task()
    try:
        call = await resume(run, agenda, ready, outcome, scope)
        if call is not None:
            await drive(run, *call)
        for at in wanted:
            if regs[at] is PENDING:
                await scope.wait_until(partial(_is_there, regs, at), partial(frame.park, at))
        await scope.join()
    except BaseException as error:
        ending = await scope.close(error)
        if ending is error:
            raise
        raise ending from None


def _is_there(regs: list[Any], at: int) -> bool:
    return regs[at] is not PENDING
