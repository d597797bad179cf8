"""Timeouts of calls: what ends one attempt that takes too long."""

from __future__ import annotations

import asyncio
from typing import Any

from cascade.runtime.frames.cancel_scope import TimedScope
from cascade.runtime.policies.managed import ManagedCall, late
from cascade.spec.readable import readable

__all__ = ["in_time"]


@readable("deadline")
async def in_time(managed: ManagedCall, seconds: float) -> Any:
    """Make the call of one attempt, for as long as its timeout allows."""
    run, call, is_here = managed.run, managed.call, managed.is_here
    deadline = managed.deadline = TimedScope(run, managed.pulse or managed.clock or call.scope, seconds)
    deadline.task = asyncio.current_task()
    if is_here:
        deadline.start()  # else when a thread or process takes it up
    failure: BaseException | None = None
    try:
        value = await managed.make()
    except BaseException as error:
        failure = error
    try:
        deadline.stop()
        deadline.task = managed.deadline = None  # which may keep an error whose traceback leads here
        # What is not here may have ended in time, and have come to be heard late.
        if (is_here or deadline.expired) and deadline.is_late(failure):
            raise late(f"{run.described(call)} took longer than its timeout of {seconds:g} s", failure)
        if failure is not None:
            raise failure
    finally:
        failure = None  # the traceback leads here
    return value
