"""The journal of one run: what it has recorded, found again by who runs the same program once more.

A step (a call, an item of a map, an entry of a loop) is known by its place in the graph. So nothing is replayed, and no
code has to be deterministic: a resumed run goes through the same instructions, and where one has a value in the
journal it gets that instead of being carried out. What was not recorded runs.

Three things are kept. A *value*, of what has ended. A *position*, of a loop that has not: the signal that its last
entry returned, the state that returned it, and how many entries there were; one record a loop, which each entry
replaces. And how many *attempts* a call has begun that may be tried again. A record within a loop says which entry it
is of, and is not read in another.

The alternative, to record what the scheduler does in the order in which it does it, is what engines do that replay
code: they need no graph, and forbid whatever could come in another order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from time import monotonic, time
from typing import Any

from cascade.adapters.state.codec import decode, preview
from cascade.errors import StateError
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import NOTHING, PENDING, Frame
from cascade.runtime.frames.node_ids import NodeIds
from cascade.runtime.frames.step_keys import Numbering, StepKeys
from cascade.runtime.journal.inbox import Inbox
from cascade.runtime.journal.kinds import (
    ACCOUNTED,
    BEGUN,
    DECIDED,
    ENTRY,
    FAILED,
    IF_FIT,
    IS_FALSE,
    IS_TRUE,
    LEFT_OUT,
    LOOP,
    OF_ITEMS,
    POSITION,
    VALUE,
    Kept,
    as_recorded,
    deciding,
    has_history,
    is_kept,
    kept_of,
)
from cascade.runtime.journal.writer import Writer
from cascade.runtime.maps.sources import Batch
from cascade.runtime.run.state import RunState
from cascade.spec.blueprint import Blueprint
from cascade.spec.graph import Graph
from cascade.spec.marks import SKIPPED
from cascade.spec.notes import spelled
from cascade.spec.operations import CALLN
from cascade.spec.state import StepRecord

__all__ = ["SPENT", "Journal"]

ATTEMPTS = "?"
"""Behind the key of a call that may be tried again: how many attempts it has begun."""
ACCOUNT = "%"
"""Behind the key of an agent with a budget, or by itself for a run: what it has spent."""
SPENT = "+"
"""The key of what says for how long a run has run, of all starts, to the end of the one that is its entry."""

_new = tuple.__new__


def _is_composed(call: Call) -> bool:
    """Say whether no task makes the value of a call, but the graph alone: of others, such as a secret."""
    blueprint, number = call.activation.blueprint, call.number
    return number in blueprint.subflows or getattr(blueprint.graph.nodes[number], "task", None) is None


class Journal:
    """What one start of a run reads and writes."""

    def __init__(
        self,
        run_id: str,
        epoch: int,
        writer: Writer,
        records: dict[str, StepRecord],
        durability: str,
        allow: tuple[str, ...] = (),
        numbering: Numbering | None = None,
        streams: Callable[[Any], Any] | None = None,
    ) -> None:
        self.run_id = run_id
        self.epoch = epoch
        self.writer = writer
        self.records = records
        """What earlier starts have recorded."""
        self.allow = allow
        self.waits = durability == "each"
        """Nobody reads a value before it is committed."""
        self.is_silent = durability == "exit"
        """Nothing is committed before the end."""
        self.is_quiet = self.is_silent or self.waits
        """The writer need not be told of a value: that is committed at the end, or by who waits for it."""
        self.is_asked = bool(records)
        """Each call is to ask for a value before it is made, or whether it is to be made apart."""
        self.keys = StepKeys(numbering)
        self.streams: Any = None if streams is None else streams(self)
        """What looks at the streams that maps read (`journal.streams`)."""
        self._places: dict[Any, tuple[str, str, Kept]] = {}
        self.deciding: Mapping[Graph, dict[int, Kept]] = {}
        """Of what is not recorded, what decides something; runs of one program share it."""
        self._has_decided = False
        self.steps: list[StepRecord] = []
        self.accounts: dict[str, StepRecord] = {}
        """What agents have spent that is not said yet: it is with what else comes of the attempt that has spent it."""
        self.agents: dict[str, list[str]] = {}
        """The keys of that, by the keys of the agents."""
        self.taken: list[tuple[int, str]] = []
        self.dropped: list[str] = []
        """The keys of what nobody will ask for, once all that was said before is committed."""
        self.letters: Any = None
        """The messages of its channels (`runtime.channels.letters`); None: nobody has asked for one."""
        self.ran = 0.0
        """For how many seconds the run ran when it was started before."""
        self._began = monotonic()
        self.error: StateError | None = None
        """Why it cannot be recorded any more."""
        self.end_run: Callable[[], None] = _nothing
        """Ends the run, from any thread."""
        self._inbox: Inbox | None = None
        self.park_after: float | None = None
        self.parking: Any = None
        """The waits of a run that may be parked (`inspect.parking`)."""
        self.names = NodeIds(run_id)
        self.own: list[str] = []
        """The ids of the nodes of the run's own graph, outside of all loops."""
        self.masked: Callable[[str], str] = str
        self.secrets: Collection[str] = ()
        """What no preview shows."""

    def place(self, call: Call) -> tuple[str, str, Kept]:
        """Return the key of a call, the id of its node, both without its item, and what of it is recorded.

        What it depends on is worked out once: of an item or an entry the rest is known.
        """
        activation, number = call.activation, call.number
        is_outside = activation.key is call.loop is None
        mark = number if is_outside else (activation.key, number, call.loop, call.jumped)
        found = self._places.get(mark)
        if found is None:
            kept = kept_of(activation.blueprint.graph, number, self._deciding(activation.blueprint))
            if is_outside:
                found = str(self.keys.number(None, number)), self.own[number], kept
            else:
                found = self.keys.place(call), call.instance(self.names).site.task_id, kept
            self._places[mark] = found
        return found

    def decides(self, frame: Frame, i: int) -> bool:
        """Say whether an instruction is recorded only for what is decided by its value."""
        return frame.block.source(i) in self._deciding(frame.activation.blueprint)

    def _deciding(self, blueprint: Blueprint) -> dict[int, Kept]:
        if blueprint.graph not in self.deciding:  # a tail call leads to it
            self.deciding = {**self.deciding, **deciding(blueprint)}
        return self.deciding[blueprint.graph]

    def lost(self, error: StateError) -> None:
        """End the run, from any thread: it cannot be recorded any more."""
        self.error = error
        self.end_run()

    def spent(self) -> StepRecord:
        """Return what is to be kept of how long the run has run; it is no step that gets it further."""
        return StepRecord(SPENT, self.epoch, BEGUN, b"", "", 1, 0.0, self.ran + monotonic() - self._began, "", "")

    def say_spent(self) -> None:
        """Say what the run and its agents have spent, at its end."""
        self._say(self.spent())

    # --- what was recorded

    def found(self, call: Call) -> Any:
        """Return the recorded value of a call, or PENDING."""
        records = self.records
        if not records:
            return PENDING
        record = records.get(self.place(call)[0] + self.keys.suffix(call))
        if record is None or record.entry != _entry(call):
            return PENDING
        if record.kind == VALUE:
            return self._value(record)
        return SKIPPED if record.kind == LEFT_OUT else PENDING

    def of_register(self, frame: Frame, i: int) -> tuple[Any, bool]:
        """Return the recorded value of an instruction, or PENDING; and whether it is to be carried out apart.

        What is in the middle of a loop goes on there.
        """
        return self.of_call(Call(frame, i))

    def of_call(self, call: Call) -> tuple[Any, bool]:
        """Return the recorded value of a call, or PENDING; and whether it is to be carried out apart."""
        value = self.found(call)
        return value, value is PENDING and self._current(call, POSITION) is not None

    def position(self, call: Call) -> dict[str, Any] | None:
        """Return where the loop is that a call has begun in an earlier start; None: it has not."""
        record = self._current(call, POSITION)
        return None if record is None else self._value(record)

    def entries_before(self, call: Call) -> int:
        """Return how many entries the loop of a node has had, in other entries of the loop around it."""
        record = self.records.get(self.keys.of(call) + POSITION) if self.records else None
        if record is None:
            return 0
        with as_recorded(f"where the loop of {record.task_id} was"):
            return int(self._value(record)["entries"])

    def attempts(self, call: Call) -> tuple[int, float]:
        """Return how many attempts of a call were begun, and when the next one may begin (seconds since 1970)."""
        record = self._current(call, ATTEMPTS)
        return (0, 0.0) if record is None or record.kind != BEGUN else (record.attempt, record.ended)

    def inbox(self) -> Inbox:
        """Return the waits of the run and the messages that it gets, made when the first is asked for."""
        if self._inbox is None:
            self._inbox = Inbox(self)
        return self._inbox

    def waiting(self, end: float | None, name: str | None = None) -> AbstractContextManager[None]:
        """Tell of the wait that the current task is in while the block lasts: until a time, or for a message."""
        return nullcontext() if self.parking is None else self.parking.wait(end, name)

    @property
    def is_parked(self) -> bool:
        """Whether the run ends here because it only waits."""
        return self.parking is not None and self.parking.parked is not None

    @property
    def due(self) -> tuple[float, int | None]:
        """When the parked run is due, 0 for at once; and the last message that it knows of, if it waits for some."""
        due: tuple[float, int | None] = self.parking.due(self._inbox)
        return due

    def noted(self, call: Call, what: str) -> StepRecord | None:
        """Return what was noted of a call, in this start or an earlier one."""
        return self._current(call, what)

    def note(self, call: Call, what: str, kind: str, at: float) -> None:
        """Note a time of a call, under its key and `what`."""
        record = self._put(call, what, kind, b"", "", time(), 1, at)
        self.records[record.key] = record

    def truth(self, frame: Frame, i: int, condition: int, value: Any) -> Any:
        """Return whether the condition of an instruction holds: as it was decided, where its value is not recorded."""
        if self._is_sure(frame, condition, value):
            return value
        call = Call(frame, i)
        record = self.noted(call, DECIDED)
        if record is not None:
            return record.kind == IS_TRUE
        self.note(call, DECIDED, IS_TRUE if value else IS_FALSE, time())
        self._has_decided = self.waits
        return value

    def has_decided(self) -> bool:
        """Say whether something was decided since this was asked that is to be committed before anybody acts on it."""
        found, self._has_decided = self._has_decided, False
        return found

    def _is_sure(self, frame: Frame, condition: int, value: Any) -> bool:
        """Say whether the value of a condition is the same in each start."""
        activation = frame.activation
        graph = activation.blueprint.graph
        if condition < 0:
            slots = frame.block.slots
            given = graph.inputs.get(-1 - condition if slots is None else slots[-1 - condition])
            return given is None or (activation.key is None and not given.secret)
        number = frame.block.source(condition)
        task = getattr(graph.nodes[number], "task", None)
        if task is None or number in activation.blueprint.subflows or condition in frame.skips:
            return False
        return is_kept(task) or value.__class__ is bool

    def is_done(self, key: str, iteration: int) -> bool:
        """Say whether an entry of a loop, or a call in one, was recorded by an earlier start, as its own key tells."""
        value, position = self.records.get(key), self.records.get(key + POSITION)
        if value is not None and value.kind in (VALUE, LEFT_OUT) and value.entry in (-1, iteration):
            return True
        return position is not None and int(self._value(position)["entries"]) > iteration

    def _current(self, call: Call, what: str) -> StepRecord | None:
        record = self.records.get(self.keys.of(call) + what) if self.records else None
        return record if record is not None and record.entry == _entry(call) else None

    def _value(self, record: StepRecord) -> Any:
        try:
            return decode(record.value, allow=self.allow)
        except StateError as error:
            raise StateError(f"the recorded value of step {record.task_id} cannot be read: {error}") from None

    # --- what is recorded

    def keep(self, call: Call, value: Any, started: float = 0.0) -> None:
        """Record what a call gave, as it is now.

        Raises:
            StateError: it cannot be recorded.
        """
        key, task_id, kept = self.place(call)
        suffix = call.suffix
        if value is NOTHING or kept is Kept.NOTHING or (kept in OF_ITEMS and not suffix):
            return
        if kept is Kept.TRUTH and value.__class__ is not bool:
            return
        if suffix:
            key, task_id = key + self.keys.suffix(call), task_id + suffix
        try:
            if self.secrets and (kept in IF_FIT or _is_composed(call)) and self.shows(self.writer.encode(value)):
                return
            if call.loop is not None and has_history(call.loop):
                self._put(
                    call, f"@{_entry(call)}", ENTRY, self.writer.encode(value), preview(value, self.secrets), started
                )
            self._keep(key, task_id, _entry(call), value, started)
            if self.letters is not None:
                self.letters.over(key)
            if key in self.agents:
                self.dropped += self.agents.pop(key)
        except StateError as error:
            if kept not in IF_FIT:
                raise self._unfit(call, error) from None

    def keep_plainly(self, frame: Frame, i: int, value: Any, started: float) -> None:
        """Record what a plain call gave that stands in the run's own graph, outside of all loops.

        Raises:
            StateError: it cannot be recorded.
        """
        number, numbers = frame.block.source(i), self.keys.own
        key = str(number if numbers is None else numbers[number])
        try:
            self._keep(key, self.own[number], -1, value, started)
        except StateError as error:
            raise self._unfit(Call(frame, i), error) from None

    def _keep(self, key: str, task_id: str, entry: int, value: Any, started: float) -> None:
        data, shown, now = self.writer.encode(value), preview(value, self.secrets), time()
        self._say(_new(StepRecord, (key, entry, VALUE, data, task_id, 1, started or now, now, "", shown)))
        if not self.is_quiet and not self.writer.is_dirty:
            self.writer.touch()

    def shows(self, data: bytes) -> bool:
        """Say whether a secret stands in an encoded value, which is not to be written then."""
        forms = (
            f for each in self.secrets for f in (each, *(json.dumps(each, ensure_ascii=a)[1:-1] for a in (False, True)))
        )
        return any(form.encode("utf-8", "surrogatepass") in data for form in forms)

    async def kept(self, run: RunState, call: Call, value: Any, started: float) -> None:
        """Record what a call gave, and wait until that is committed where readers are to wait.

        Raises:
            NodeFailure: it cannot be recorded.
        """
        try:
            self.keep(call, value, started)
        except StateError as error:
            raise run.failure_at(call, error) from None
        if self.waits:
            await self.writer.committed()

    def keep_outcome(self, call: Call, outcome: Any) -> None:
        """Record of an item that a map goes on without it; what cannot be recorded is called again."""
        if outcome is SKIPPED:
            self._put(call, "", LEFT_OUT, b"", "", 0.0)
            return
        with suppress(StateError):
            self._put(call, "", VALUE, self.writer.encode(outcome), preview(outcome, self.secrets), 0.0)

    def look_at_items(self, call: Call, batch: Batch) -> None:
        """Record what a stream gives the map of a call, and see that it is what it gave before.

        Raises:
            RunChangedError: it is not, and something is recorded of that item.
        """
        self.streams.look_at_items(call, _entry(call), batch)

    def look_at_end(self, call: Call, count: int) -> None:
        """See that a stream that has given so many items has not given more before.

        Raises:
            RunChangedError: one that it does not give any more is recorded.
        """
        self.streams.look_at_end(call, _entry(call), count)

    def keep_position(self, call: Call, home: Call, position: dict[str, Any]) -> None:
        """Record where the loop is that `home` has begun; `call` is that of its last entry."""
        data = self._encoded(call, position)
        if has_history(home.instance(self.names)):  # first, as the process may end before the next line
            shown = preview(position["signal"][-1 if position["signal"][0] == "jump" else 1], self.secrets)
            self._put(home, f"{POSITION}@{position['entries'] - 1}", ENTRY, data, shown, 0.0)
        self._put(home, POSITION, LOOP, data, "", 0.0)
        if self.letters is not None:
            self.letters.over(self.keys.of(home), position["entries"])

    def keep_attempt(self, call: Call, count: int, next_at: float) -> None:
        """Record that an attempt was begun, or that the next one may begin at a time."""
        self._put(call, ATTEMPTS, BEGUN, b"", "", 0.0, count, next_at)

    def keep_failure(self, call: Call, error: BaseException, attempt: int) -> None:
        """Record for people that a call has failed for good; it is called again by the next start."""
        if call.activation.blueprint.graph.kinds[call.number] <= CALLN or call.suffix:
            self._put(call, "", FAILED, b"", "", 0.0, attempt, None, self.masked(spelled(error)))

    def _encoded(self, call: Call, value: Any) -> bytes:
        try:
            return self.writer.encode(value)
        except StateError as error:
            raise self._unfit(call, error) from None

    def _unfit(self, call: Call, error: StateError) -> StateError:
        """Return what says that a value cannot be recorded."""
        graph = call.activation.blueprint.graph
        task_id = self.place(call)[1] + call.suffix
        return StateError(
            f"what task {task_id} (declared at {graph.declared(call.number)}) returned is to be recorded: "
            f"{error}; return plain data, or say @cs.task(record=False): then it is computed again where needed"
        )

    def _put(
        self,
        call: Call,
        what: str,
        kind: str,
        value: bytes,
        shown: str,
        started: float,
        attempt: int = 1,
        ended: float | None = None,
        error: str = "",
    ) -> StepRecord:
        now = time()
        if ended is None:
            ended = now
        if kind in (VALUE, LEFT_OUT) and has_history(call.loop):
            self._put(call, f"@{_entry(call)}", ENTRY, value, shown, started)
        key, task_id, _ = self.place(call)
        key, task_id = (
            key + self.keys.suffix(call) + what,
            task_id + call.suffix + (what.lstrip(POSITION) if kind == ENTRY else ""),
        )
        record = StepRecord(key, _entry(call), kind, value, task_id, attempt, started or now, ended, error, shown)
        self._say(record)
        if not self.is_silent:
            self.writer.touch()
        return record

    def _say(self, record: StepRecord) -> None:
        if self.accounts:
            accounts, self.accounts = self.accounts, {}
            self.steps += (*accounts.values(), record)
        else:
            self.steps.append(record)

    def keep_account(self, account: Any, home: Call | None, number: int) -> None:
        """Have an account go on from what is recorded of it, and recorded from now on.

        Args:
            home: the agent; None: the run.
            number: tells it from others of the same agent.
        """
        agent = "" if home is None else self.keys.of(home)
        key, entry = f"{agent}{ACCOUNT}{number}", -1 if home is None else _entry(home)
        record = self.records.get(key)
        if record is not None and record.entry == entry:
            with as_recorded(f"what {account.owner} has spent"):
                account.restore(decode(record.value))
        if home is not None:
            self.agents.setdefault(agent, []).append(key)

        def keep(settled: dict[str, Any]) -> None:
            now = time()
            data = self.writer.encode(settled)
            self.accounts[key] = StepRecord(key, entry, ACCOUNTED, data, "", 1, now, now, "", "")

        account.keep = keep


def _entry(call: Call) -> int:
    """Return which entry of the loop around it a call belongs to; -1 outside of loops."""
    return call.frame.iteration if call.loop is not None else -1


def _nothing() -> None:
    pass
