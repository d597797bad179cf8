"""The messages of a recorded run: a run that goes on after a crash loses none, doubles none, and mixes up no order.

What is sent and what is received is recorded in the order in which it happens, among the values of steps. So whatever
has been committed is a beginning of that: a step whose value is there has its messages there, and none is received that
was not sent. A message is known by the step that has sent it and its number there; a step that runs again (in a later
start, or another attempt) sends nothing that it has sent before, and receives first what it had received.

Once both the step that has sent a message and the one that has received it are recorded, nobody will ask for it, and it
is dropped. Steps of code that belongs to no call, such as that outside of the run, have no second time.
"""

from __future__ import annotations

from collections import defaultdict, deque
from time import time
from types import CodeType
from typing import Any

from cascade.adapters.state.codec import decode
from cascade.errors import StateError
from cascade.runtime.channels.recorded import RecordedChannel
from cascade.runtime.run.awaiters import whereabouts
from cascade.spec.lines import Home
from cascade.spec.signal import UNSET
from cascade.spec.state import StepRecord

__all__ = ["Letter", "Letters", "Talk"]

SENT, TAKEN, CLOSED = "sent", "taken", "closed"
BY, TO = ">", "<"
"""In the keys of messages, behind the step that has sent them; of receipts, behind the step that has received."""


class Letter:
    """A message of a recorded run, on its way or received."""

    __slots__ = ("data", "is_final", "is_settled", "key", "receipt", "value")

    def __init__(self, value: Any, data: bytes, key: str = "") -> None:
        self.value = value
        """What was sent; UNSET: it has to be read from `data`."""
        self.data = data
        self.key = key
        self.receipt = ""
        """The key of the record that it was received by; "": it was not."""
        self.is_final = False
        """Whether the step that has sent it will not run again."""
        self.is_settled = False
        """Whether that which has received it will not."""


class Talk:
    """What one step has sent and received."""

    __slots__ = ("attempt", "before", "given", "home", "iteration", "key", "known", "read", "sent", "taken")

    def __init__(self, key: str) -> None:
        self.key = key
        self.home = ""
        """The key of the call or loop that it is a part of."""
        self.iteration = 0
        self.attempt = 0
        self.known: list[str] = []
        """Of all that it has sent, in this attempt or before, the channels; of what it has closed, too."""
        self.before = self.sent = 0
        """How much of that it had sent when this attempt began, and how much of it it has sent again."""
        self.given: list[Letter] = []
        """The messages that it has sent."""
        self.taken: dict[str, list[Letter]] = {}
        """What it has received, by channel."""
        self.read: dict[str, int] = {}
        """How many of these in this attempt."""

    def begin(self, attempt: int) -> None:
        """Begin another attempt."""
        self.attempt, self.before, self.sent, self.read = attempt, len(self.known), 0, {}

    def sends_again(self, what: str) -> bool:
        """Say whether what is sent now was sent before."""
        if self.sent < self.before and self.known[self.sent] == what:
            self.sent += 1
            return True
        return False


class Letters:
    """What is known of all messages of a recorded run that matter still."""

    def __init__(self, journal: Any, named: dict[str, Any]) -> None:
        self.journal = journal
        """What the run is recorded in (`Journal`)."""
        self.named = named
        """The channels that were asked for."""
        self.talks: dict[str, Talk] = {}
        self.homes: defaultdict[str, dict[int, Talk]] = defaultdict(dict)
        """The steps that have not ended, by the call or loop that each is a part of, and the entry."""
        self.waiting: defaultdict[str, list[Letter]] = defaultdict(list)
        """Of channels that nobody has asked for in this start: the messages in them."""
        self.closed: set[str] = set()
        self.count = 0
        """How many messages and receipts there were."""
        self.outside = Talk(f"~{journal.epoch}")
        """What is done by code that belongs to no call."""
        self._restore()

    def channel(self, home: Home, name: str, declared: tuple[CodeType, int]) -> RecordedChannel:
        """Return a channel that is asked for the first time in this start, with what was left in it."""
        letters = self.waiting.pop(name, None)
        return RecordedChannel(home, name, declared, self, deque(letters) if letters else None, name in self.closed)

    # --- what steps do

    def talk(self) -> Talk:
        """Return what the step that this code is in has sent and received."""
        place = whereabouts()
        if place is None or place.run.journal is not self.journal:
            return self.outside
        call, keys = place.call, self.journal.keys
        key = keys.lasting(call)
        found = self.talks.get(key)
        if found is None:
            found = self.talks[key] = Talk(key)
        if not found.home:
            found.home, found.iteration = keys.of(call.home()), call.iteration
            self.homes[found.home][found.iteration] = found
        if found.attempt != place.attempt:
            found.begin(place.attempt)
        return found

    def letter(self, channel: str, message: Any) -> Letter:
        """Return a message as it is now.

        Raises:
            StateError: it cannot be recorded.
        """
        try:
            return Letter(message, self.journal.writer.encode(message))
        except StateError as error:
            raise StateError(
                f"what is sent to channel {channel!r} is to be recorded: {error}; send plain data"
            ) from None

    def sent(self, talk: Talk, channel: str, letter: Letter) -> None:
        """Record that a message was sent."""
        letter.key = self._sends(talk, channel)
        if talk is self.outside:
            letter.is_final = True
        else:
            talk.given.append(letter)
        self._put(letter.key, SENT, letter.data, channel)

    def closes(self, talk: Talk, channel: str) -> None:
        """Record that a channel was closed."""
        self._put(self._sends(talk, CLOSED + channel), CLOSED, b"", channel)

    def taken_before(self, talk: Talk, channel: str) -> Any:
        """Return the next message that a step has received from a channel before; UNSET: there is none left."""
        letters, at = talk.taken.get(channel, ()), talk.read.get(channel, 0)
        if at >= len(letters):
            return UNSET
        talk.read[channel] = at + 1
        return self._decoded(channel, letters[at])

    def took(self, talk: Talk, channel: str, letter: Letter) -> Any:
        """Record that a message was received; return what it is."""
        value = self._decoded(channel, letter) if letter.value is UNSET else letter.value
        self.count += 1
        letter.value, letter.receipt = UNSET, f"{talk.key}{TO}{self.count}"
        self._put(letter.receipt, TAKEN, self.journal.writer.encode(letter.key), channel)
        talk.taken.setdefault(channel, []).append(letter)
        talk.read[channel] = talk.read.get(channel, 0) + 1
        return value

    def keeps(self, talk: Talk) -> None:
        """Take note that a message that was received will not be given back."""
        if talk is self.outside:
            self._end(talk)
            talk.taken, talk.read = {}, {}

    def gave_back(self, talk: Talk, channel: str, letter: Letter) -> None:
        """Take back that a message was received."""
        self.journal.dropped.append(letter.receipt)
        letter.receipt = ""
        talk.taken[channel].remove(letter)
        talk.read[channel] -= 1
        self._put_back(channel, letter)

    # --- what is over

    def over(self, home: str, entries: int | None = None) -> None:
        """Take note that a call or loop is recorded, or so many entries of a loop: these steps will not run again."""
        talks = self.homes.get(home)
        if talks is None:
            return
        for iteration in [*talks]:
            if entries is None or iteration < entries:
                self._end(talks.pop(iteration))
        if not talks:
            del self.homes[home]

    def _end(self, talk: Talk) -> None:
        """Let go of what a step has sent and received; what it had received before and not any more, is given back."""
        self.talks.pop(talk.key, None)
        for letter in talk.given:
            letter.is_final = True
            if letter.is_settled:
                self._drop(letter)
        for channel, letters in talk.taken.items():
            read = talk.read.get(channel, 0)
            for letter in letters[:read]:
                letter.is_settled, letter.data = True, b""
                if letter.is_final:
                    self._drop(letter)
            for letter in reversed(letters[read:]):
                self.journal.dropped.append(letter.receipt)
                letter.receipt = ""
                self._put_back(channel, letter)

    def _put_back(self, channel: str, letter: Letter) -> None:
        """Keep a message again that somebody was given and has no use for: in front of the others."""
        line = self.named.get(channel)
        if line is None:
            self.waiting[channel].insert(0, letter)
        else:
            line.put_back(letter)

    def _drop(self, letter: Letter) -> None:
        self.journal.dropped += (letter.key, letter.receipt)

    # --- what is recorded

    def _sends(self, talk: Talk, what: str) -> str:
        """Return the key of what a step sends, or closes, now."""
        self.count += 1
        if talk is self.outside:
            return f"{talk.key}{BY}{self.count}"
        talk.known.append(what)
        return f"{talk.key}{BY}{len(talk.known)}"

    def _put(self, key: str, kind: str, data: bytes, channel: str) -> None:
        now = time()
        self.journal.steps.append(StepRecord(key, -1, kind, data, "", self.count, now, now, "", channel))
        if not self.journal.is_silent:
            self.journal.writer.touch()

    def _decoded(self, channel: str, letter: Letter) -> Any:
        try:
            return decode(letter.data, allow=self.journal.allow)
        except StateError as error:
            raise StateError(f"a recorded message of channel {channel!r} cannot be read: {error}") from None

    def _restore(self) -> None:
        """Find out what earlier starts have sent and received."""
        records = [each for each in self.journal.records.values() if each.kind in (SENT, TAKEN, CLOSED)]
        found: dict[str, tuple[str, Letter]] = {}
        for record in sorted(records, key=lambda each: each.attempt):  # in which they were made
            self.count, channel = record.attempt, record.preview
            if record.kind == TAKEN:
                self._restore_receipt(record, found)
                continue
            talk = self._talk_of(record.key.rpartition(BY)[0])
            talk.known.append(channel if record.kind == SENT else CLOSED + channel)
            if record.kind == SENT:
                letter = Letter(UNSET, record.value, record.key)
                found[record.key] = channel, letter
                talk.given.append(letter)
            else:
                self.closed.add(channel)
        for channel, letter in found.values():
            if not letter.receipt:
                self.waiting[channel].append(letter)
        for talk in [*self.talks.values()]:
            if self._is_over(talk.key):
                talk.read = {channel: len(letters) for channel, letters in talk.taken.items()}
                self._end(talk)

    def _restore_receipt(self, record: StepRecord, found: dict[str, tuple[str, Letter]]) -> None:
        key = decode(record.value)
        if key not in found:  # the step that had sent it is to run anew
            return
        channel, letter = found[key]
        letter.receipt = record.key
        self._talk_of(record.key.rpartition(TO)[0]).taken.setdefault(channel, []).append(letter)

    def _talk_of(self, key: str) -> Talk:
        found = self.talks.get(key)
        if found is None:
            found = self.talks[key] = Talk(key)
        return found

    def _is_over(self, key: str) -> bool:
        """Say whether a step of an earlier start will not run again, as far as its own key tells."""
        if key.startswith("~"):
            return True
        step, _, iteration = key.rpartition("@")
        return bool(self.journal.is_done(step, int(iteration)))
