"""Hooks: functions that are told of the outcome of a call, or of a run.

A hook is a part of what it is told of: that goes on when the hook has ended. A cancel that comes meanwhile leaves it
`thread_grace` seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeAlias

from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import NOTHING
from cascade.runtime.frames.scope import to_the_end
from cascade.runtime.policies.managed import ManagedCall, Work
from cascade.runtime.run.state import RunState
from cascade.spec.events import RunWarning
from cascade.spec.lazy import Lazy
from cascade.spec.notes import log_failure, spelled
from cascade.spec.outcomes import Outcome
from cascade.spec.policies import Hooks, is_coroutine_function

__all__ = ["hooked", "tell_of_run"]

Told: TypeAlias = Callable[[Outcome], object]


async def hooked(managed: ManagedCall, hooks: Hooks, work: Work) -> Any:
    """Do the work, which is all attempts, and tell what came of it."""
    run, call = managed.run, managed.call
    start = perf_counter()
    try:
        value = await work(managed)
    except BaseException as error:
        if _is_ending(error) or run.is_asked(error, call.scope):
            raise
        failure = run.failure_at(call, error, managed.count)
        if hooks.on_failure and not _is_ending(failure.error):
            await _call(run, "on_failure", hooks.on_failure, _outcome(managed, start, error=failure.error), call)
        raise failure from None
    if hooks.on_success and not managed.is_hit and value is not NOTHING and not isinstance(value, Lazy):
        cancel = await _call(run, "on_success", hooks.on_success, _outcome(managed, start, value=value), call)
        if cancel is not None:
            raise cancel
    return value


async def tell_of_run(
    run: RunState, hooks: Hooks, targets: tuple[str, ...], seconds: float, value: Any, error: BaseException | None
) -> None:
    """Tell what came of a run that is over, but for its event."""
    name, hook = ("on_success", hooks.on_success) if error is None else ("on_failure", hooks.on_failure)
    if not hook or run.status_of(error) == "Cancelled":
        return
    outcome = Outcome(run.id, None, ", ".join(targets), duration=seconds, value=value, error=error)
    await _call(run, name, hook, outcome, None)


def _is_ending(error: BaseException) -> bool:
    return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))


def _outcome(managed: ManagedCall, start: float, value: Any = None, error: BaseException | None = None) -> Outcome:
    run, call = managed.run, managed.call
    site = call.instance(run.names).site_of(call.suffix)
    seconds = perf_counter() - start
    return Outcome(run.id, site.task_id, site.task_name, call.iteration, managed.count, seconds, value, error)


async def _call(
    run: RunState, name: str, hook: Told, outcome: Outcome, owner: Call | None
) -> asyncio.CancelledError | None:
    """Call a hook to its end; return the cancel that came meanwhile. What it raises is told, and harms nothing."""
    what = f"{name}={getattr(hook, '__qualname__', hook)!s} of {outcome.task_id or f'run {outcome.run_id}'}"
    failure, cancel = await to_the_end(
        _outcome_of(run, hook, outcome, owner, f"the hook {what}"), run.engine.thread_grace
    )
    if failure is not None:
        if run.bus.wants(RunWarning):
            message = f"the hook {what} raised {run.masked(spelled(failure))}; nothing else came of it"
            run.bus.publish(RunWarning(run_id=run.id, code="HookFailed", message=message))
        else:
            log_failure(f"The hook {what} failed; nothing else came of it.", failure)
    return cancel


async def _outcome_of(
    run: RunState, hook: Told, outcome: Outcome, owner: Call | None, what: str
) -> BaseException | None:
    """Return what a hook raises, but for what ends the program, and for the end of its grace."""
    try:
        is_here = is_coroutine_function(hook)
        given = hook(outcome) if is_here else await run.in_thread(owner, what, hook, outcome)
        if isinstance(given, Awaitable):
            await given
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return error
    except Exception as error:
        return error
    return None
