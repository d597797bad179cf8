"""What an engine is asked by messages of its connector: how it is, to end a run, to pass a message on."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cascade.errors import CascadeError, ConnectorError
from cascade.runtime.steering.door import Answer, answered
from cascade.spec.asking import ANSWERS, read_question
from cascade.spec.protocols import Connector
from cascade.spec.topics import Message

__all__ = ["Questions"]

MOST_AT_ONCE = 20
"""So many questions are answered at the same time; more are left without an answer."""
PATIENCE = 4.0
"""Seconds that an answer may take."""


class Questions:
    """Answers on `cascade/answers/{asker}` what is asked on `cascade/ask`."""

    def __init__(self, answer: Answer, connector: Connector, warn: Callable[[str, str], None]) -> None:
        """Keep who answers, and where.

        Args:
            warn: is told a code and a message of what makes no sense.
        """
        self._answer = answer
        self._connector: Any = connector
        self._warn = warn
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._at_work: set[asyncio.Task[None]] = set()

    def take(self, message: Message) -> None:
        """Begin to answer a message."""
        if message.retained or len(self._at_work) >= MOST_AT_ONCE:
            return
        try:
            question = read_question(message.value)
        except ConnectorError as error:
            self._warn("QuestionIgnored", f"a message of {message.topic} is ignored: {error}")
            return
        if question.engine in (None, self._name):
            task = asyncio.get_running_loop().create_task(self._reply(question.asker, question.request))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def _reply(self, asker: str, request: dict[str, Any]) -> None:
        told: dict[str, Any] = {"engine": self._name}
        try:
            told |= {"ok": True, "value": await answered(self._answer, request, PATIENCE)}
        except CascadeError as error:
            told |= {"ok": False, "error": str(error)}
        with suppress(Exception):  # who asked hears nothing, and says so
            await self._connector.publish(f"{ANSWERS}/{asker}", told, qos=1)
