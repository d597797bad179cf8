"""What a store in Redis keeps of runs, steps and messages: under which keys, and in which form.

A run is a hash of a few fields, what people read of it as JSON; its steps are another hash, and a sorted set says in
which order they came. Which runs wait for a server stands in a sorted set for each queue and target, whose members
begin with the number of the run, so that of equal scores the oldest is first.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, NamedTuple

from cascade.adapters.state.queues import waits
from cascade.adapters.state.rules import owner_of
from cascade.errors import StateError
from cascade.spec.state import RunRecord, SignalRecord, StepRecord

__all__ = [
    "FIELDS",
    "Found",
    "Keys",
    "digest_of",
    "member_of",
    "packed_signal",
    "packed_step",
    "signal_from",
    "step_from",
]

FIELDS = ("record", "params", "fingerprint", "number", "committed", "last", "dedupe")
_SHOWN = tuple(name for name in RunRecord._fields if name not in ("params", "fingerprint"))


class Found(NamedTuple):
    """A run as it stands in the store."""

    record: RunRecord
    number: int
    """Which run it is, of all that were ever made."""
    committed: int
    last: int
    """The number of its last step."""
    dedupe: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """What is written of it."""
        record = self.record
        shown = [getattr(record, name) for name in _SHOWN]
        found: dict[str, Any] = {"record": json.dumps(shown), "params": record.params}
        found |= {"fingerprint": record.fingerprint, "number": self.number, "committed": self.committed}
        return found | {"last": self.last, "dedupe": self.dedupe}

    @staticmethod
    def read(run_id: str, row: list[Any]) -> Found | None:
        """Return the run of a row of fields, None if there is none.

        Raises:
            StateError: what stands there is not what we write.
        """
        if row[0] is None:
            return None
        try:
            shown = dict(zip(_SHOWN, json.loads(row[0]), strict=True))
            record = RunRecord(**shown, params=row[1] or b"", fingerprint=row[2] or b"")
            number, committed, last = (int(each or 0) for each in row[3:6])
        except (TypeError, ValueError, RecursionError) as error:
            raise StateError(
                f"the record of run {run_id!r} cannot be read: it is damaged, or not written by Cascade ({error}); "
                "restore the store from a backup"
            ) from None
        if record.owner is not None:
            record = record._replace(owner=owner_of(record._replace(owner=json.dumps(record.owner))))  # type: ignore[arg-type]
        return Found(record, number, committed, last, row[6] or b"")


class Keys:
    """The keys of one store.

    Args:
        prefix: what all of them begin with.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.store = f"{prefix}:store"
        self.runs = f"{prefix}:runs"
        self.number = f"{prefix}:number"

    def run(self, run_id: str) -> str:
        """Return where a run is."""
        return f"{self.prefix}:run:{run_id}"

    def of(self, run_id: str, what: str) -> str:
        """Return where something of a run is: its "steps", their "order", its "signals", which are "taken", "ids"."""
        return f"{self.prefix}:{what}:{run_id}"

    def waiting(self, queue: str, target: str, is_due: bool) -> str:
        """Return where the runs are that wait for a server, or for their time."""
        return f"{self.prefix}:{'ready' if is_due else 'due'}:{len(queue)}:{queue}:{target}"

    def owned(self, queue: str) -> str:
        """Return where the ids of the runs of a queue are that have an owner."""
        return f"{self.prefix}:owned:{queue}"

    def channel(self, queue: str) -> str:
        """Return where servers of a queue listen."""
        return f"{self.prefix}:wake:{queue}"

    def same(self, digest: bytes) -> str:
        """Return where the ids of the runs are that were enqueued with the same text."""
        return f"{self.prefix}:same:{digest.hex()}"

    def write(self, pipe: Any, before: Found | None, after: Found) -> None:
        """Write a run, and where it is found: in its queue, or among those that have an owner."""
        fields = after.fields
        if before is not None and before.record.params is after.record.params:
            del fields["params"], fields["fingerprint"]
        pipe.hset(self.run(after.record.run_id), mapping=fields)
        self._leave(pipe, before, after)
        record = after.record
        if record.owner is not None:
            pipe.sadd(self.owned(record.queue), record.run_id)
        elif waits(record):
            score = -record.priority if record.due == 0.0 else record.due
            place = self.waiting(record.queue, record.target, record.due == 0.0)
            pipe.zadd(place, {member_of(after): score})

    def remove(self, pipe: Any, found: Found) -> None:
        """Remove all of a run."""
        record = found.record
        self._leave(pipe, found, None)
        parts = ("steps", "order", "signals", "taken", "ids")
        pipe.delete(self.run(record.run_id), *(self.of(record.run_id, part) for part in parts))
        pipe.zrem(self.runs, record.run_id)
        if found.dedupe:
            pipe.srem(self.same(found.dedupe), record.run_id)

    def _leave(self, pipe: Any, before: Found | None, after: Found | None) -> None:
        if before is None:
            return
        old, new = before.record, None if after is None else after.record
        if old.owner is not None:
            if new is None or new.owner is None or new.queue != old.queue:
                pipe.srem(self.owned(old.queue), old.run_id)
        elif waits(old):
            pipe.zrem(self.waiting(old.queue, old.target, old.due == 0.0), member_of(before))


def member_of(found: Found) -> str:
    """Return by what a run is in its queue: of those of equal scores the oldest is first."""
    return f"{found.number:016d}:{found.record.run_id}"


def packed_step(step: StepRecord) -> bytes:
    """Return a step as it is kept, without its key."""
    return _packed([step[1], step[2], *step[4:]], step.value)


def step_from(key: bytes, data: bytes) -> StepRecord:
    """Return a step as it was before `packed_step`."""
    (entry, kind, *rest), value = _unpacked(data)
    return StepRecord(key.decode(), entry, kind, value, *rest)


def packed_signal(name: str, value: bytes) -> bytes:
    """Return a message as it is kept."""
    return _packed([name], value)


def signal_from(number: int, data: bytes, taken: bytes | None) -> SignalRecord:
    """Return a message as it was before `packed_signal`."""
    (name,), value = _unpacked(data)
    return SignalRecord(number, name, value, "" if taken is None else taken.decode())


def digest_of(text: str) -> bytes:
    """Return what a text is found by."""
    return blake2b(text.encode(), digest_size=16).digest()


def _packed(about: list[Any], value: bytes) -> bytes:
    head = json.dumps(about).encode()
    return b"%d:%s%s" % (len(head), head, value)


def _unpacked(data: bytes) -> tuple[list[Any], bytes]:
    try:
        size, _, rest = data.partition(b":")
        return json.loads(rest[: int(size)]), rest[int(size) :]
    except (TypeError, ValueError, RecursionError):
        raise StateError("a record cannot be read: it is damaged, or not written by Cascade") from None
