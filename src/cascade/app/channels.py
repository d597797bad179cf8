"""Channels, as tasks ask for them."""

from __future__ import annotations

import builtins
from _thread import get_ident
from asyncio import _get_running_loop
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from sys import _getframe
from typing import Any, TypeVar, overload

from cascade.adapters.executors import crossing
from cascade.errors import ChannelError, StateError
from cascade.runtime.channels.registry import channels_of
from cascade.runtime.journal.kinds import is_kept
from cascade.runtime.run.awaiters import whereabouts
from cascade.spec.channels import Channel, Topic
from cascade.spec.inside import present
from cascade.spec.signal import UNSET

__all__ = ["channel"]

T = TypeVar("T")
ASYNC = CO_COROUTINE | CO_ASYNC_GENERATOR


@overload
def channel(name: str, *, type: builtins.type[T], capacity: int | None = None, readers: None = None) -> Channel[T]: ...
@overload
def channel(name: str, *, type: builtins.type[T], capacity: int | None = None, readers: int) -> Topic[T]: ...
@overload
def channel(name: str, *, type: Any = UNSET, capacity: int | None = None, readers: None = None) -> Channel[Any]: ...
@overload
def channel(name: str, *, type: Any = UNSET, capacity: int | None = None, readers: int) -> Topic[Any]: ...
def channel(
    name: str, *, type: Any = UNSET, capacity: int | None = None, readers: int | None = None
) -> Channel[Any] | Topic[Any]:
    """Return the channel of this name of the run that an async task is in; it is made when it is first asked for.

    Tasks that go on at the same time talk by it: `await channel.send(x)`, `await channel.receive()`, `async for x in
    channel`. What one of them leaves out of type and capacity another may say.

    Args:
        name: what those call it who use it.
        type: what messages are: a class, or a union of classes; by default anything.
        capacity: how many messages are kept that nobody has received, 1 or more; who sends more waits. By default 100.
        readers: each message goes to each reader, and nothing is sent before so many are there (`channel.reader()`);
            0: to those that are. By default each message is received once.

    Raises:
        ChannelError: it is called outside of a run, or in a task that is not async; or the channel was declared
            otherwise.
        StateError: it is to be a topic, the run is recorded, and so is what the task gives.
    """
    scope: Any = present.get()
    frame = _getframe(1)
    try:  # agents ask for one with each message
        channels = scope.channels
        found: Channel[Any] | Topic[Any] = channels.named[name]
        if (
            channels.thread == get_ident()
            and frame.f_code.co_flags & ASYNC
            and readers == found.least
            and (type is UNSET or type is found.kind)
            and (capacity is None or capacity == found.asked)
            and (readers is None or scope.run.journal is None)
            and scope.run is not None
        ):
            return found
    except (AttributeError, KeyError, TypeError):
        pass
    if scope is None or scope.run is None or _get_running_loop() is not scope.loop:
        raise _elsewhere(name)
    if (readers is not None and scope.run.journal is not None) or not frame.f_code.co_flags & ASYNC:
        _check_task(name, readers)
    _check_arguments(name, capacity, readers)
    return channels_of(scope).declare(name, type, capacity, readers, frame)


def _elsewhere(name: str) -> ChannelError:
    if crossing.carried is not None:
        where = "in a process of its own, where no run goes on"
    elif present.get() is None:
        where = "outside of a run"
    else:
        where = "in another thread than that of the run's event loop, or after the run"
    return ChannelError(
        f"cs.channel({name!r}) is called {where}: channels are for the async tasks of a run; ask for it in an "
        "`async def` task, while that goes on"
    )


def _check_task(name: str, readers: int | None) -> None:
    """Raise an error if the task that this is called in is one that cannot use channels."""
    place = whereabouts()
    if place is None:
        return
    run, call = place.run, place.call
    task = getattr(call.activation.blueprint.graph.nodes[call.number], "task", None)
    if task is None:
        return
    if not task.is_async:
        raise ChannelError(
            f"cs.channel({name!r}) is called in {run.described(call)}, which is not async: whoever waits in a channel "
            "must not hold a thread, so make the task an `async def`"
        )
    if run.journal is not None and readers is not None and is_kept(task):
        raise StateError(
            f"cs.channel({name!r}, readers={readers}) is called in {run.described(call)}, whose value is recorded, and "
            "what is sent to a topic is not: a run that goes on after a crash would wait for some that were read "
            "already. Send to a channel for each reader (cs.channel without readers=), give the task record=False, or "
            "run it on an engine without a state_backend"
        )


def _check_arguments(name: object, capacity: object, readers: object) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"cs.channel takes a name, a text that is not empty, not {name!r}")
    for what, given, least in (("capacity", capacity, 1), ("readers", readers, 0)):
        if given is not None and (not isinstance(given, int) or isinstance(given, bool)):
            raise TypeError(f"cs.channel({name!r}, {what}=...) takes a whole number, not {given!r}")
        if given is not None and given < least:
            raise ValueError(f"cs.channel({name!r}, {what}=...) takes {least} or more, not {given}")
