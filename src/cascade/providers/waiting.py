"""Waiting: for some time, or for a message."""

from __future__ import annotations

from typing import Any

from cascade.spec.policies import seconds_from
from cascade.spec.protocols import Connector
from cascade.spec.resource import inject
from cascade.spec.task import task

__all__ = ["recv", "wait"]


@task
async def wait(seconds: float) -> None:
    """Wait for so many seconds; 0 gives others a turn.

    Raises:
        ValueError: not a finite number of 0 or more.
    """
    import asyncio

    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 <= seconds < float("inf"):
        raise ValueError(f"cs.wait takes a number of seconds, 0 or more, not {seconds!r}")
    await asyncio.sleep(seconds)


@task
async def recv(topic: str, timeout: float | None = None, *, connector: Any = inject("connector")) -> Any:
    """Wait for the next message of a topic, and return it.

    A message that comes before this waits is not seen, unless it is retained.

    Args:
        topic: its name.
        timeout: seconds; by default as long as it takes.
        connector: where messages come from: by default the resource `connector` of the run or engine.

    Raises:
        TimeoutError: none came in time.
        ValueError: the topic is no name, or the timeout no number above zero.
        ResourceNotFoundError: the run has no connector.
    """
    import asyncio

    if not isinstance(topic, str) or not topic:
        raise ValueError(f"cs.recv takes the name of a topic, not {topic!r}")
    seconds = None if timeout is None else seconds_from(timeout, "cs.recv(timeout=...)")
    source: Connector = connector
    async with source.subscribe(topic) as messages:
        try:
            async with asyncio.timeout(seconds) as clock:
                async for message in messages:
                    return message
        except TimeoutError:
            if clock.expired():
                raise TimeoutError(f"no message of the topic {topic!r} came within {seconds} seconds") from None
            raise
    raise ConnectionError(f"the connector was closed before a message of the topic {topic!r} came")
