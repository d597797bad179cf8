"""Messages for a function, where a task that iterates over them would be too much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from cascade.spec.connecting import with_topics
from cascade.spec.notes import log_failure
from cascade.spec.protocols import Connector

__all__ = ["Listening", "listen"]


class Listening:
    """What `listen` returns, to end it."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def unsubscribe(self) -> None:
        """Call the function no more; a call that goes on is cancelled."""
        self._task.cancel()
        await asyncio.wait({self._task})


async def listen(connector: Connector, topic: str, callback: Callable[[str, Any], object]) -> Listening:
    """Call `callback(topic, message)` for each message of a topic or pattern, one after the other.

    It listens when this returns: `listening = await listen(connector, "cell/+/state", seen)`, and
    `await listening.unsubscribe()` ends it.

    Args:
        connector: where messages come from.
        topic: what to listen to.
        callback: a function or coroutine function; it is given the topic of the message itself. What it raises is
            logged, and changes nothing else.

    Raises:
        ValueError: the topic is neither a name nor a pattern.
    """
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with connector.subscribe(topic) as messages:
            if not begun.done():
                begun.set_result(None)
            async for message in with_topics(messages, topic):
                try:
                    result = callback(message.topic, message.value)
                    if isawaitable(result):
                        await result
                except Exception as error:
                    log_failure(
                        f"A callback for messages of {message.topic!r} failed; it goes on with the next.", error
                    )

    task = asyncio.get_running_loop().create_task(serve())
    task.add_done_callback(lambda done: _failed(begun, done))
    try:
        await begun
    except BaseException:
        task.cancel()
        raise
    return Listening(task)


def _failed(begun: asyncio.Future[None], task: asyncio.Task[None]) -> None:
    """Pass on why nobody listens, or log why nobody does any more."""
    error = None if task.cancelled() else task.exception()
    if error is None:
        if not begun.done():
            begun.cancel()
    elif begun.done():
        log_failure("A connector failed, and its callback is not called any more.", error)
    else:
        begun.set_exception(error)
