"""Channels of a recorded run: each message is recorded with the step that sends it, and with the one that takes it."""

from __future__ import annotations

from _thread import get_ident
from collections import deque
from types import CodeType
from typing import Any

from cascade.errors import ChannelError
from cascade.spec.channels import Channel
from cascade.spec.inside import present
from cascade.spec.lines import Home
from cascade.spec.signal import UNSET

__all__ = ["RecordedChannel"]


class RecordedChannel(Channel[Any]):
    """A channel whose messages are recorded; what is kept in it are letters."""

    __slots__ = ("letters",)

    def __init__(
        self,
        home: Home,
        name: str,
        declared: tuple[CodeType, int],
        letters: Any,
        left: deque[Any] | None,
        is_closed: bool,
    ) -> None:
        super().__init__(home, name, declared)
        self.letters = letters
        """The messages of the run (`Letters`)."""
        self._messages, self._is_closed = left, is_closed

    async def send(self, message: Any) -> None:
        """Send a message, as `Channel.send` does, but for one that this step has sent in another start or attempt."""
        if present.get() is not self._scope or get_ident() != self._thread:
            self._home.check_use(self)
        if self.classes is not None and not isinstance(message, self.classes):
            raise self._refused(message)
        letters = self.letters
        talk = letters.talk()
        if talk.sends_again(self.name):
            return
        if self._is_closed:
            raise ChannelError(f"{self.title} is closed: nothing can be sent any more")
        letter = letters.letter(self.name, message)
        if not self._offer(letter, 0):
            await self._wait_for_room()
            if self._is_closed:
                self._promised -= 1
                raise ChannelError(f"{self.title} was closed while this waited to send")
            self._offer(letter, 1)
        letters.sent(talk, self.name, letter)

    def close(self) -> None:
        """Let nothing be sent any more, as `Channel.close` does."""
        if present.get() is not self._scope or get_ident() != self._thread:
            self._home.check_use(self)
        talk = self.letters.talk()
        if not talk.sends_again(f"closed{self.name}"):
            super().close()
            self.letters.closes(talk, self.name)

    async def _next(self, is_iterated: bool) -> Any:
        if present.get() is not self._scope or get_ident() != self._thread:
            self._home.check_use(self)
        letters = self.letters
        talk = letters.talk()
        value = letters.taken_before(talk, self.name)
        if value is not UNSET:
            return value
        letter = await super()._next(is_iterated)
        value = letters.took(talk, self.name, letter)
        if letters.journal.waits:
            try:
                await letters.journal.writer.committed()
            except BaseException:
                letters.gave_back(talk, self.name, letter)
                raise
        letters.keeps(talk)
        return value

    def put_back(self, letter: Any) -> None:
        """Keep a message again that somebody was given and has no use for: in front of the others."""
        self._give_back(letter)
