"""What steers an engine from outside: the messages of its connector, and its door."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import finalize

from cascade.errors import ConnectorError
from cascade.runtime.steering.steerable import Steerable
from cascade.spec.events import RunWarning
from cascade.spec.protocols import Connector

if TYPE_CHECKING:
    from cascade.runtime.steering.by_messages import MessageControl
    from cascade.runtime.steering.by_questions import Questions
    from cascade.runtime.steering.door import Door

__all__ = ["Steering"]


class Steering:
    """Begins with the first run of an engine, and ends with the engine; what is not used is not imported."""

    def __init__(self, engine: Steerable, connector: Connector | None = None, is_asked: bool = False) -> None:
        """Keep what is to be done.

        Args:
            is_asked: the door is to be open from the first run on, also in a forked child.

        Raises:
            ConnectorError: the folder for doors is not safe.
        """
        self._engine = engine
        self._is_asked = is_asked
        self.door: Door | None = None
        self._messages: MessageControl | None = None
        if connector is not None:
            from cascade.runtime.steering.by_messages import MessageControl

            def questions(warn: Callable[[str, str], None]) -> Questions:
                from cascade.runtime.steering.by_questions import Questions
                from cascade.runtime.steering.requests import Requests

                return Questions(Requests(engine).answer, connector, warn)

            self._messages = MessageControl(engine, connector, questions)
        if is_asked:
            from cascade.adapters.doors.folder import folder_of_doors

            folder_of_doors()

    async def begin(self) -> None:
        """Be open and connected before the first run begins."""
        if self._is_asked and (self.door is None or self.door.is_closed):
            self.open()
        if self._messages is not None:
            await self._messages.begin()

    def open(self) -> None:
        """Open the door, if there can be one; why there can be none is a warning, unless nobody has asked for one."""
        if self.door is not None and not self.door.is_closed:
            return
        from cascade.runtime.steering.door import Door
        from cascade.runtime.steering.requests import Requests

        try:
            self.door = door = Door(Requests(self._engine).answer)
        except (ConnectorError, OSError) as error:
            bus = self._engine.bus
            if (self._is_asked or isinstance(error, ConnectorError)) and bus.wants(RunWarning):
                bus.publish(RunWarning(code="NoControl", message=f"no other process can steer this run: {error}"))
        else:
            finalize(self._engine, door.close)  # if it is dropped, and at the end of the process

    def shut(self) -> None:
        """Close the door, if it is open; from any thread."""
        if self.door is not None:
            self.door.close()

    async def end(self) -> None:
        """Close the door, and disconnect."""
        self.shut()
        if self._messages is not None:
            await self._messages.end()
