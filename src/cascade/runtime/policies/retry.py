"""Retries: a call that failed is tried again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import nullcontext
from typing import Any

from cascade.errors import BudgetError
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.policies.managed import ManagedCall, Work
from cascade.spec.clocks import now
from cascade.spec.notes import note_before, note_more
from cascade.spec.policies import Retry

__all__ = ["retried"]


async def retried(managed: ManagedCall, retry: Retry, work: Work) -> Any:
    """Make attempts until one succeeds, or fails for good."""
    run, call = managed.run, managed.call
    if run.journal is not None:
        await _go_on(managed, retry)
    while True:
        if run.journal is not None:
            run.journal.keep_attempt(call, managed.count, 0.0)
        try:
            attempted = managed.attempted
            if attempted is None or not attempted.has_failed:
                return await work(managed)
            managed.attempted = None
            return await attempted.end()
        except asyncio.CancelledError:
            if run.journal is not None and run.journal.is_parked:  # it did not fail, so it does not count
                run.journal.keep_attempt(call, managed.count - 1, 0.0)
            raise
        except BaseException as failure:
            if not _may_repeat(managed, retry, failure):
                if run.journal is not None and isinstance(_cause(failure), Exception):  # the next start begins anew
                    run.journal.keep_attempt(call, 0, 0.0)
                raise
            delay = retry.wait_after(managed.count, random.random())
            if run.journal is not None:
                run.journal.keep_attempt(call, managed.count, time.time() + delay)
            run.publish_retry(call, managed.count, retry.max_attempts, delay, _cause(failure))
        await _pause(managed, delay)
        managed.count += 1


async def _go_on(managed: ManagedCall, retry: Retry) -> None:
    """Count on where an earlier start of the run was, and wait what is left of its delay.

    An attempt that a crash cut off counts as begun; where it was the last there is one more, as nothing has failed.
    """
    begun, next_at = managed.run.journal.attempts(managed.call)
    if begun:
        managed.count = min(begun + 1, max(retry.max_attempts, 1))
        if (left := next_at - time.time()) > 0:
            await _pause(managed, min(left, retry.wait_after(begun, 1.0)))


async def _pause(managed: ManagedCall, seconds: float) -> None:
    """Wait until the next attempt; a run may be parked meanwhile."""
    journal = managed.run.journal
    with nullcontext() if journal is None else journal.waiting(now() + seconds):
        await asyncio.sleep(seconds)
    managed.call.scope.check()


def _may_repeat(managed: ManagedCall, retry: Retry, failure: BaseException) -> bool:
    """Say whether another attempt is to be made; note of a sub-flow's last one which it was."""
    call, error = managed.call, _cause(failure)
    if managed.has_given:
        note_before(error, "it is not tried again: others have read some of its items already")
        return False
    if managed.count < retry.max_attempts and not call.scope.is_ending() and _is_covered(retry, error):
        return True
    if managed.count > 1 and error is not failure:
        where = f"in the sub-flow {managed.run.described(call)}, attempt {managed.count}"
        note_more(error, where, logging.DEBUG)
    return False


def _is_covered(retry: Retry, error: BaseException) -> bool:
    """Say whether a call that failed of `error` is worth another attempt, if one is left.

    Only an Exception is: a CancelledError, KeyboardInterrupt or SystemExit is meant to end things. No other attempt
    gives back what was spent, so a BudgetError is not. What a filter raises comes out, with a note that says so.
    """
    if not isinstance(error, Exception) or isinstance(error, BudgetError):
        return False
    return _matches("on", retry.on, error) and not _matches("give_up", retry.give_up, error)


def _matches(name: str, given: Any, error: Exception) -> bool:
    if isinstance(given, (type, tuple)):
        return isinstance(error, given)
    try:
        return bool(given(error))
    except Exception as raised:
        words = f"raised by the filter {name}={getattr(given, '__name__', given)!r} of a retry"
        note_before(raised, f"{words}, asked about {type(error).__name__}")
        raise


def _cause(failure: BaseException) -> BaseException:
    return failure.error if isinstance(failure, NodeFailure) else failure
