"""The commands that steer and watch engines over a broker of MQTT: what is retained there holds for later ones, too."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from cascade.app.words import say
from cascade.app.writing import write_out
from cascade.command.misuse import Misuse
from cascade.errors import ConnectorError, ConstraintError, MissingExtraError
from cascade.spec.constraints import ALL, Change, message_for, read, topic_for
from cascade.spec.limits import Kind, ttl_from
from cascade.spec.shown import one_line

__all__ = ["SETTLING", "clear", "let_stand", "standing", "watch_events", "with_broker"]

PATIENCE = 5.0
"""Seconds until a broker that does not answer is given up."""
SETTLING = 0.5
"""Seconds in which what is retained comes."""
TELEMETRY = "cascade/telemetry/+/+/+/events"


@asynccontextmanager
async def _connected(broker: str) -> AsyncIterator[Any]:
    host, colon, port = broker.rpartition(":")
    if not colon or broker.endswith("]"):
        host, port = broker, "1883"
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise Misuse(say("no_broker_name", given=broker))
    try:
        from cascade.adapters.connectors.mqtt import MqttConnector
    except MissingExtraError as error:
        raise Misuse(str(error)) from None
    connector = MqttConnector(host.strip("[]"), int(port), tells_status=False)
    try:
        try:
            async with asyncio.timeout(PATIENCE):
                await connector.connect()
        except TimeoutError:
            raise ConnectorError(say("no_broker", broker=one_line(broker))) from None
        yield connector
    finally:
        await connector.disconnect()


def let_stand(broker: str, scope: str, values: dict[Kind, Any], burst: int | None, ttl: float | None) -> None:
    """Publish that limits stand, for engines that listen now or later.

    Raises:
        ConstraintError: what `engine.pause` and `engine.set_limit` would refuse.
        ConnectorError: there is no broker.
        Misuse: that is no name of a broker.
    """
    seconds = ttl_from(ttl)
    until = None if seconds is None else time.time() + seconds
    if burst is not None and "rate" not in values:
        raise ConstraintError(f"burst={burst} belongs to a rate, which is to be given with it")
    messages = {
        topic_for(scope, kind): message_for(scope, kind, value, burst if kind == "rate" else None, until)
        for kind, value in values.items()
    }

    async def send(connector: Any) -> None:
        for topic, message in messages.items():
            await connector.publish(topic, message, qos=1, retain=True)

    with_broker(broker, send)


def clear(broker: str, scope: str, *kinds: Kind) -> None:
    """Publish that limits do not stand any more, and take away what is retained of them."""
    shared, topics = topic_for(scope), [topic_for(scope, kind) for kind in kinds]

    async def send(connector: Any) -> None:
        for topic, value in (await _retained(connector, shared)).items():
            change = _read(topic, value)
            if change is not None and change.kind in kinds:
                await connector.publish(shared, {}, qos=1, retain=True)
        for topic in topics:
            await connector.publish(topic, {}, qos=1, retain=True)

    with_broker(broker, send)


def standing(broker: str) -> list[dict[str, Any]]:
    """Return the limits that are retained, as engines tell theirs."""
    found: list[dict[str, Any]] = []

    async def look(connector: Any) -> None:
        for topic, value in (await _retained(connector, ALL)).items():
            change = _read(topic, value)
            if change is not None and change.value is not None:
                limit = {"scope": change.scope, "kind": change.kind, "value": change.value}
                found.append({**limit, "expires_in": change.ttl, "burst": change.burst})

    with_broker(broker, look)
    return sorted(found, key=lambda limit: (limit["scope"], limit["kind"]))


def watch_events(broker: str, as_json: bool, run_id: str | None = None) -> None:
    """Print what engines tell of their runs, or of one of them, until Ctrl-C."""

    async def listen(connector: Any) -> None:
        async with connector.subscribe(TELEMETRY) as messages:
            async for topic, value, _ in messages.with_topics():
                if run_id is not None and not (isinstance(value, dict) and value.get("run_id") == run_id):
                    continue
                write_out((json.dumps({"topic": topic, **value}) if as_json else _line(topic, value)) + "\n")

    with_broker(broker, listen)


def _line(topic: str, value: Any) -> str:
    body = value.get("body") if isinstance(value, dict) else None
    if not isinstance(body, dict):
        return one_line(f"{topic}: {value!r}"[:200])
    run_id = one_line(str(value.get("run_id", "")))
    if body.get("type") == "TaskStateEvent":
        error = f": {one_line(str(body['error']))}" if body.get("error") else ""
        taken = f" ({body['duration_ms']} ms)" if body.get("duration_ms") else ""
        return f"{run_id}  {one_line(str(body.get('task_id')))}  {one_line(str(body.get('state')))}{taken}{error}"
    return f"{run_id}  {one_line(str(body.get('event', body.get('type'))))}"


async def _retained(connector: Any, pattern: str) -> dict[str, Any]:
    async with connector.subscribe(pattern) as messages:
        await asyncio.sleep(SETTLING)
        return {message.topic: message.value for message in messages.ready() if message.retained}


def _read(topic: str, value: Any) -> Change | None:
    try:
        return read(topic, value, time.time())
    except ConstraintError:  # engines warn of it
        return None


def with_broker(broker: str, act: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    """Do something with a connector that has reached a broker.

    Raises:
        ConnectorError: there is no broker.
        Misuse: that is no name of a broker.
    """

    async def whole() -> None:
        async with _connected(broker) as connector:
            await act(connector)

    asyncio.run(whole())
