"""Resources for calls: what one call asks for is found, checked, given to it, and torn down if it is its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from types import CoroutineType
from typing import Any

from cascade.errors import ResourceNotFoundError
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.scope import to_the_end
from cascade.runtime.resources.lifecycle import Opened, at_once, described, find, set_up, tear_down
from cascade.runtime.resources.pool import asked_scope
from cascade.runtime.run.state import RunState
from cascade.runtime.shortcuts import off
from cascade.spec.notes import note_before, spelled
from cascade.spec.resource import Inject, Own, Resource

__all__ = ["call_with_own", "call_with_resources"]


async def call_with_resources(
    run: RunState, call: Call, wanted: list[Inject], work: Callable[[dict[Inject, Any]], Awaitable[Any]]
) -> Any:
    """Make one call with what it asks for; what is its own is torn down behind it.

    (No `asynccontextmanager`: that one sets the traceback of what passes, which not every exception allows.)

    Raises:
        ResourceNotFoundError: there is none of a name, or it can never be set up.
    """
    pool = run.resources
    own: list[Opened] = []
    found: dict[Inject, Any] = {}
    try:
        for inject in wanted:
            asker = run.described(call)
            resource = find(run.known, inject, asker)
            _check(run, resource, run.known)
            value = found[inject] = await pool.provide(run, inject, resource, asker, own)
            if "resources at hand" not in off:
                if _may_be_shared(resource):
                    pool.at_hand[inject] = inject.name, resource, value
                elif _may_be_in_pass(resource):
                    pool.at_hand[inject] = inject.name, resource, Own(resource)
        if own:
            pool.of_calls[id(call)] = own
        value = await work(found)
    except BaseException as error:
        if run.has_left(call, own):  # they are in use still
            pool.opened += own
        else:
            await _close(run, own, error)
        raise
    finally:
        pool.of_calls.pop(id(call), None)
    await _close(run, own, None)
    return value


def _may_be_shared(resource: Resource) -> bool:
    """Say whether calls behind the first of a run may be given what that one got, without asking for it again."""
    return resource.scope == "run" or (resource.scope == "engine" and not resource.needs)  # those may be overridden


def _may_be_in_pass(resource: Resource) -> bool:
    """Say whether a call's own may be set up and torn down in the pass, once that is known to be short."""
    is_alone = resource.scope == "task" and not (resource.needs or resource.is_async)
    return is_alone and "own resources in the pass" not in off


async def _close(run: RunState, own: list[Opened], error: BaseException | None) -> None:
    if not own:
        return
    if all(opened.is_here for opened in own):
        failure, cancel = await tear_down(run, own, error), None
    else:
        failure, cancel = await to_the_end(tear_down(run, own, error), run.engine.thread_grace)
    _settle(error, failure, cancel)


def call_with_own(run: RunState, func: Callable[..., Any], args: Iterable[Any], kwargs: dict[str, Any]) -> Any:
    """Call with resources of the call's own (`Own` in their places) that are short: all of it in place."""
    own: list[Opened] = []
    try:
        args = [_opened(run, value, own) if value.__class__ is Own else value for value in args]
        for name, value in kwargs.items():
            if value.__class__ is Own:
                kwargs[name] = _opened(run, value, own)
        value = func(*args, **kwargs)
    except BaseException as error:
        _settle(error, at_once(tear_down(run, own, error)), None)
        raise
    if value.__class__ is CoroutineType:
        return _finished(run, own, value)
    _settle(None, at_once(tear_down(run, own, None)), None)
    return value


def _opened(run: RunState, wanted: Own, own: list[Opened]) -> Any:
    for opened in own:
        if opened.resource is wanted.resource:
            return opened.value
    return at_once(set_up(run, wanted.resource, {}, own)).value


async def _finished(run: RunState, own: list[Opened], work: Coroutine[Any, Any, Any]) -> Any:
    """Await what a call returned, with its resources."""
    try:
        value = await work
    except BaseException as error:
        await _close(run, own, error)
        raise
    await _close(run, own, None)
    return value


def _settle(error: BaseException | None, failure: BaseException | None, cancel: BaseException | None) -> None:
    """Raise what a teardown failed of, or note it on what ended the call."""
    ending = cancel or error
    if failure is not None:
        if ending is None:
            raise failure
        note_before(ending, f"besides, a resource failed in its teardown: {spelled(failure)}")
    if cancel is not None:
        raise cancel


def _check(run: RunState, resource: Resource, known: Mapping[str, Resource], path: tuple[Resource, ...] = ()) -> None:
    """Raise ResourceNotFoundError if what a resource needs is not there, ends before it, or needs the resource."""
    if resource in path:
        drawn = " -> ".join(step.name for step in (*path[path.index(resource) :], resource))
        raise ResourceNotFoundError(
            f"{described(resource)} is one of those that need each other: {drawn}; none can be set up first"
        )
    checked = run.resources.checked
    if resource in checked:
        return
    if resource.scope == "engine":
        known = run.engine.resources
    for wanted in resource.needs.values():
        found = find(known, wanted, described(resource))
        if resource.scope == "engine" and asked_scope(wanted, found) == "run":
            raise ResourceNotFoundError(
                f'{described(resource)} has the scope "engine" and needs {described(found)} of the scope "run", which '
                f'ends before it does; give {found.name!r} the scope "engine", or "task" for one of its own'
            )
        _check(run, found, known, (*path, resource))
    checked.add(resource)
