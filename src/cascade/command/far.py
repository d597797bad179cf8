"""The engines that are asked over a broker of MQTT, in the place of those whose doors are on this machine."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cascade.app.words import say
from cascade.command.by_broker import SETTLING, with_broker
from cascade.command.engines import Going, going
from cascade.errors import ConnectorError, StateError
from cascade.spec.asking import ANSWERS, ASK
from cascade.spec.shown import one_line

__all__ = ["going_there"]

PATIENCE = 5.0
"""Seconds until an engine that does not answer is given up."""


class FarAsker:
    """The way to ask one engine over a broker."""

    def __init__(self, broker: str, name: str) -> None:
        self.path: str = broker
        self.name: str = name

    def ask(self, do: str, **args: Any) -> Any:
        """Return what the engine answers.

        Raises:
            StateError: it refuses; the message says why.
            ConnectorError: it does not answer, or there is no broker.
        """
        for answer in _answers(self.path, PATIENCE, 1, {"do": do, "engine": self.name, **args}):
            if answer.get("ok") is not True:
                raise StateError(one_line(str(answer.get("error"))))
            return answer.get("value")
        raise ConnectorError(say("no_answer", name=self.name))


@contextmanager
def going_there(broker: str | None, engine: str | None = None) -> Iterator[list[Going]]:
    """Give the engines that answer over a broker; without one, those of this machine.

    Raises:
        ConnectorError: there is no broker.
        Misuse: that is no name of a broker.
    """
    if broker is None:
        with going(engine) as found:
            yield found
        return
    answers = _answers(broker, SETTLING, None, {"do": "status"})
    told = [(str(each.get("engine")), each.get("value")) for each in answers if each.get("ok") is True]
    yield [
        Going(FarAsker(broker, name), value)
        for name, value in sorted(told, key=lambda one: one[0])
        if isinstance(value, dict) and engine in (None, name)
    ]


def _answers(broker: str, seconds: float, most: int | None, question: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask over a broker; return what was answered in so many seconds, or as soon as there were so many answers."""
    found: list[dict[str, Any]] = []
    asker = secrets.token_hex(8)

    async def ask(connector: Any) -> None:
        async with connector.subscribe(f"{ANSWERS}/{asker}") as messages:
            await connector.publish(ASK, {"asker": asker, **question}, qos=1)
            try:
                async with asyncio.timeout(seconds):
                    async for value in messages:
                        found.extend([value] if isinstance(value, dict) else [])
                        if most is not None and len(found) >= most:
                            return
            except TimeoutError:
                return

    with_broker(broker, ask)
    return found
