"""Retries: a call that failed is tried again."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.policies.managed import ManagedCall, Work
from cascade.spec.notes import note_more
from cascade.spec.policies import Retry

__all__ = ["retried"]


async def retried(managed: ManagedCall, retry: Retry, work: Work) -> Any:
    """Make attempts until one succeeds, or fails for good."""
    run, call = managed.run, managed.call
    while True:
        try:
            return await work(managed)
        except asyncio.CancelledError:
            raise
        except BaseException as failure:
            if not _may_repeat(managed, retry, failure):
                raise
            delay = retry.wait_after(managed.count, random.random())
            run.publish_retry(call, managed.count, retry.max_attempts, delay, _cause(failure))
        await asyncio.sleep(delay)
        call.scope.check()
        managed.count += 1


def _may_repeat(managed: ManagedCall, retry: Retry, failure: BaseException) -> bool:
    """Say whether another attempt is to be made; note of a sub-flow's last one which it was."""
    call, error = managed.call, _cause(failure)
    if managed.count < retry.max_attempts and not call.scope.is_ending() and retry.covers(error):
        return True
    if managed.count > 1 and error is not failure:
        where = f"in the sub-flow {managed.run.described(call)}, attempt {managed.count}"
        note_more(error, where, logging.DEBUG)
    return False


def _cause(failure: BaseException) -> BaseException:
    return failure.error if isinstance(failure, NodeFailure) else failure
