"""Waiting: for some time, for a message to the run, or for one of a topic."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cascade.errors import ParameterError
from cascade.spec.inputs import MASK, Param
from cascade.spec.inside import inside_of
from cascade.spec.policies import seconds_from
from cascade.spec.protocols import Connector
from cascade.spec.resource import inject
from cascade.spec.signal import UNSET
from cascade.spec.task import task

__all__ = ["recv", "wait", "wait_signal"]


@task
async def wait(seconds: float | None = None, *, until: datetime | None = None) -> None:
    """Wait for so many seconds, or until a time; 0 seconds give others a turn.

    In a recorded run the end is recorded before the wait begins: a run that goes on later waits only what is left.

    Args:
        seconds: how long.
        until: when it ends, by the system's clock: a datetime with a time zone.

    Raises:
        ValueError: not a finite number of 0 or more.
        TypeError: a time without a time zone, or neither or both are given.
    """
    import asyncio

    if (seconds is None) == (until is None):
        raise TypeError("cs.wait takes either seconds, cs.wait(5), or a time, cs.wait(until=...)")
    if until is not None and (not hasattr(until, "utcoffset") or until.utcoffset() is None):
        raise TypeError(
            f"cs.wait(until=...) takes a datetime with a time zone (datetime.now(timezone.utc)), not {until!r}"
        )
    if seconds is not None and (
        not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 <= seconds < float("inf")
    ):
        raise ValueError(f"cs.wait takes a number of seconds, 0 or more, not {seconds!r}")
    end = None if until is None else until.timestamp()
    inside = inside_of()
    journal = None if inside is None else inside.run.journal
    if journal is not None and seconds != 0:
        await journal.inbox().sleep(seconds, end)
    elif end is None:
        await asyncio.sleep(seconds or 0)
    else:
        from cascade.spec.clocks import sleep_until

        await sleep_until(end)


@task
async def wait_signal(name: str, *, type: Any = None, timeout: float | None = None, default: Any = UNSET) -> Any:
    """Wait for a message to the run, which `engine.signal(run_id, name, value)` sends, and return its value.

    One that came before is there already. Each is taken once, in the order in which they came. In a recorded run it is
    recorded who has taken it before its value is read, so that a run that goes on gets the same one.

    Args:
        name: of the message.
        type: what the value is converted to, as that of a `cs.Param`; by default it is given as it came.
        timeout: seconds; by default as long as it takes. In a recorded run they go on while the run does not.
        default: what is given if none came in time; without it that is a TimeoutError.

    Raises:
        TimeoutError: none came in time.
        ParameterError: the value cannot be read as the type.
        RuntimeError: it is called outside of a run.
    """
    from cascade.spec.mailbox import Wanted, refuse_name
    from cascade.spec.reading import reading_of

    refuse_name(name, "cs.wait_signal")
    seconds = None if timeout is None else seconds_from(timeout, "cs.wait_signal(timeout=...)")
    seconds = None if seconds == float("inf") else seconds
    reading = None if type is None else reading_of(type)
    inside = inside_of()
    if inside is None:
        raise RuntimeError(
            "cs.wait_signal waits for a message to its run, and here is no run: it is called in a process"
        )

    def read(value: Any) -> Any:
        if reading is None:
            return value
        try:
            return reading.read(value)
        except Exception as error:
            raise ParameterError(
                f"run {inside.name!r} was sent a signal {name!r} that cannot be read as {reading.name}: "
                f"{MASK if Param.sounds_secret(name) else repr(value)}"
            ) from (None if Param.sounds_secret(name) else error)

    mailbox = inside.run.engine.mailbox(inside.name)
    return await mailbox.take(Wanted(name, read, seconds, default))


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
