"""A loop that records where it is, so that it can go on there.

Where a loop is, is what its next entry needs: the signal that the last one returned, the node that returned it, and
how many entries there were. One record holds that, which each entry replaces. All that an entry reads beside is
recorded as steps of their own, or computed anew from the declaration; so nothing of the entries before is kept, and a
loop that turns for days takes the space of one entry.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from types import CoroutineType
from typing import Any

from cascade.compiler.transition_profile import Edge, EntryPoint, Source, TransitionProfile
from cascade.errors import StateError
from cascade.runtime.event_loop.ticker import TICK
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import PENDING
from cascade.runtime.journal.kinds import ENTRY, LEFT_OUT, LOOP, POSITION, VALUE, checkpoint_of, is_kept
from cascade.runtime.loops.position import LoopPosition
from cascade.runtime.loops.transition import Transition
from cascade.runtime.run.state import RunState
from cascade.spec.control import Jump, TailCall, Value
from cascade.spec.operations import CALLN, IMPORT, PACK
from cascade.spec.placement import CallForm
from cascade.spec.resource import Inject
from cascade.spec.state import StepRecord

__all__ = ["RecordedLoop", "entries_before"]


PLAIN = frozenset({type(None), bool, int, float, str, bytes})
"""The classes of data that nobody can change in place: it may be recorded when the entry that has it is left."""


class RecordedTransition(Transition):
    """A short way on in a recorded loop: taken only where an emitted loop is all that happens until the next turn.

    Where the loop is then, is recorded at each turn of the event loop; the entries in between are superseded, and so
    never written. That holds where nothing else is recorded of an entry. One that awaits for longer than a turn takes
    is recorded while it does.
    """

    __slots__ = ("is_asked", "is_committed", "timer")
    is_asked: bool
    """Whether the loop was bound with checkpoint="turn"."""
    is_committed: bool
    """Whether the loop may turn once before where it is must be committed again, with "each"."""
    timer: asyncio.TimerHandle | None
    """Ends a turn of an emitted coroutine."""

    def enter(self, signal: Jump | TailCall) -> Any:
        """Enter the state in the emitted loop, or leave it to the follower, which records each entry."""
        follower = self.follower
        if not (follower.run.compiles_loops and self.is_hot() and self.is_apart(signal) and self.may_turn()):
            self.signal = signal
            return PENDING
        if signal is not follower.kept:
            follower.record(signal)
        if not self.hot.loop.is_async:
            return self.run_hot(signal)
        self.signal, self.is_waiting = signal, True
        return PENDING

    def begin_hot(self) -> CoroutineType[Any, Any, Any]:
        """Return the emitted loop as a coroutine, which is left when a turn is over."""
        work: CoroutineType[Any, Any, Any] = super().begin_hot()
        self.timer = asyncio.get_running_loop().call_later(TICK, self.end_turn, work)
        return work

    def end_turn(self, work: CoroutineType[Any, Any, Any]) -> None:
        """Have an emitted coroutine left behind the call that it awaits, and record which entry that is of."""
        values = {} if work.cr_frame is None else dict(work.cr_frame.f_locals)
        if values.get("i"):
            self.keep_entered(values.get("here") or 0, values, -values["i"])
        self.guards.is_retired = True
        self.guards.invalidate()

    def left(self, signal: Jump | TailCall | None, outcome: tuple[Any, Any, Any, Any]) -> Any:
        """Take over from the emitted loop, and record where it was left: before the next entry the run may be over."""
        self.end_timer()
        result = super().left(signal, outcome)
        if self.follower.leads_on(result):
            self.follower.record(result)
        return result

    def end_timer(self) -> None:
        """Have nobody end a turn that is over."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def may_turn(self) -> bool:
        """Say whether nobody waits for the disk: with "each" every other entry is left to the follower, which does."""
        self.is_committed = not (self.follower.run.journal.waits and self.is_committed)
        return self.is_committed

    def is_apart(self, signal: Jump | TailCall) -> bool:
        """Say whether nothing of an entry is recorded but where the loop is, and that can be told when it is left."""
        hot = self.hot
        if hot.loop.inner or not all(each.is_jump or each.is_repeat for each in hot.loop.edges):
            return False
        return (self.is_asked or self.is_fixed(signal)) and not any(records_more(each) for each in hot.entries)

    def is_fixed(self, signal: Jump | TailCall) -> bool:
        """Say whether nobody can change in place what an entry is given."""
        if isinstance(signal, TailCall):
            return all(each.__class__ in PLAIN for each in (*self.follower.args, *signal.args, *signal.kwargs.values()))
        data = signal.data
        return all(each.__class__ in PLAIN for each in (data.values() if data.__class__ is dict else (data,)))

    def caught(self, error: BaseException) -> Any:
        """Take over where something was raised, and record by which jump that entry was entered."""
        self.end_timer()
        _, values = self.hot.loop.where(error)
        before = self.follower.count
        try:
            return super().caught(error)
        finally:
            if values.get("i") and self.follower.count > before:  # else that jump is recorded
                self.keep_entered(values.get("here") or 0, values, 1)

    def keep_entered(self, k: int, values: dict[str, Any], counted: int) -> None:
        """Record how entry `k` of the loop was entered, if what it was given is still as it was then."""
        hot, follower, entry = self.hot, self.follower, self.hot.entries[k]
        first = 1 + (len(hot.entries) > 1) + hot.loop.offsets[k]
        names = hot.loop.function.__code__.co_varnames[first : first + len(entry.parameters)]
        given, args = [values[name] for name in names], follower.args
        for edge in (each for edges in self.loop_profile.edges.values() for each in edges if each.entry is entry):
            data = {how: given[register - entry.plan.first_override] for register, how in edge.updates}
            signal: Jump | TailCall = TailCall()
            if edge.is_jump:
                signal = Jump(edge.key, data.get(None) if edge.names is None else data)
                if signal.data.__class__ is not edge.cls:
                    continue
            else:
                follower.args = given  # of which the call gives none anew
            if self.is_fixed(signal):
                follower.record(signal, counted, None if entry.is_shared else edge.source)
            follower.args = args
            return


def records_more(entry: EntryPoint) -> bool:
    """Say whether more of an entry is recorded than that it was begun."""
    block, gate = entry.block, entry.block.gates.get(entry.register)
    if entry.kind != "state":
        return False
    if block.lazies or (gate is not None and gate.condition is not None):
        return True
    return any(
        op not in (IMPORT, PACK) and (form is None or block.kinds[i] > CALLN or i in block.gates or is_kept(form.task))
        for i, op, form, _ in entry.plan.steps
    )


class RecordedLoop(LoopPosition):
    """What following a loop does differently where the run is recorded; see `recorded_run.recording`."""

    __slots__ = ("first", "kept")
    run: Any

    def __init__(self, run: RunState, call: Call, value: Any, form: CallForm, args: Any, *more: Any) -> None:
        super().__init__(run, call, value, form, args, *more)
        self.first: list[Any] = [*args]
        """The arguments of the first entry by position: what is still one of them is known where the loop goes on."""
        self.kept: Any = None
        """The signal that was recorded last."""

    def make_transition(self, edge: Edge, profile: TransitionProfile, template: list[Any]) -> Transition | None:
        """Return a short way on, if not each entry is to be recorded, or to be committed before the next one."""
        checkpoint = checkpoint_of(self.instance)
        if checkpoint == "entry" or (self.run.journal.waits and checkpoint is None):
            return None
        made = RecordedTransition(self, edge, profile, template)
        made.is_asked, made.is_committed, made.timer = checkpoint == "turn", False, None
        return made

    def leads_on(self, result: object) -> bool:
        """Say whether a result leads to another entry."""
        if not isinstance(result, Jump):
            return isinstance(result, TailCall)
        try:
            return self.routes is not None and self.routes.get(result.target_key) is not None
        except TypeError:  # such a key names no route
            return False

    def record(self, signal: Jump | TailCall, entered: int = 0, source: Source | None = None) -> None:
        """Record the signal that is followed next, and who has returned it; or one whose entry is counted already.

        Args:
            source: what the edge that it went along leads on from, if that is not where the loop is.
        """
        number = self.number
        if source is not None:
            number = source if isinstance(source, int) else source[0] if isinstance(source[0], int) else source[1]
        position: dict[str, Any] = {
            "number": self.run.journal.keys.number(self.activation.key, number),
            "blueprint": None if self.activation is self.home.activation else self.activation.key,
            "count": self.count - entered,
            "limit": self.limit,
            "entries": self.call.had(self.instance) - entered,
            "signal": _spelled(signal),
        }
        if isinstance(signal, TailCall) and signal.target_blueprint_id is None:
            position["args"] = [self._argument(at, value) for at, value in enumerate(self.args)]
            position["kwargs"] = {name: self._argument(-1, value) for name, value in self.kwargs.items()}
        home = Call(self.home, self.call.register, self.call.suffix.removeprefix(self.home.suffix))
        self.run.journal.keep_position(self.call, home, position)
        self.kept = signal

    def stand(self, position: dict[str, Any]) -> None:
        """Be where the loop was when an earlier start recorded it."""
        blueprint = position["blueprint"]
        home = self.home.activation
        activation = home if blueprint is None else self.run.activation_of(blueprint, self.form)
        self.count, self.limit = position["count"], position["limit"]
        self.value = _signal(position["signal"])
        number = self.run.journal.keys.node(activation.key, position["number"])
        self.come_to(activation, number)
        block, register = self.block_at(number)
        form = block.forms[register]
        assert form is not None
        self.form, self.gate = form, block.gates.get(register)
        self.routes = activation.blueprint.graph.jumps.get(number)
        if "args" in position:
            self.args = [self._given(value) for value in position["args"]]
            self.kwargs = {name: self._given(value) for name, value in position["kwargs"].items()}

    def _argument(self, at: int, value: Any) -> Any:
        """Return what stands for an argument of the last entry: the declared one, a resource, or a value."""
        if 0 <= at < len(self.first) and value is self.first[at]:
            return "declared", at
        if isinstance(value, Inject):
            return "resource", value.name
        return "value", value

    def _given(self, recorded: tuple[str, Any]) -> Any:
        kind, value = recorded
        return self.first[value] if kind == "declared" else self._resource(value) if kind == "resource" else value

    def _resource(self, name: str) -> Inject:
        """Return what asks for a resource, as it was declared where the loop is."""
        asked = (*self.form.task.needs.values(), *self.activation.constants, *self.home.activation.constants)
        return next((one for one in asked if isinstance(one, Inject) and one.name == name), Inject(name))


def entries_before(steps: Mapping[str, StepRecord], number: int, at: str) -> dict[str, StepRecord]:
    """Return what is recorded of the loop of a node before an entry, and of that what its call does not give."""
    name, _, entry = at.partition("@")
    loop, count = f"{number}{POSITION}", int(entry) if entry.isdecimal() else -1
    if f"{loop}@0" not in steps or (count and f"{loop}@{count - 1}" not in steps):
        raise StateError(
            f"{at!r} asks for an entry of a loop that is not kept: all are, of a loop that was bound by "
            f"cs.bind(..., history=True); else fork at the loop: {name!r}"
        )
    inside = re.compile(rf"{number}>[^>]*")
    entered = re.compile(rf'{number}>("(\\.|[^"\\])*"/)?[0-9]+!')
    found = {}
    for step in steps.values():
        key, _, mark = step.key.rpartition("@")
        is_signal = key == loop
        if step.kind != ENTRY or int(mark) > count or not (is_signal or inside.fullmatch(key)):
            continue
        if int(mark) == count and (is_signal or entered.match(key)):
            continue  # it is of the call itself that is to run again
        found[step.key] = step
        if int(mark) == (count - 1 if is_signal else count):
            kind = LOOP if is_signal else VALUE if step.value else LEFT_OUT
            found[key] = step._replace(key=key, kind=kind, task_id=step.task_id.rpartition("@")[0])
    return found


def _spelled(signal: Jump | TailCall) -> list[Any]:
    if isinstance(signal, Jump):
        data = signal.data
        return ["jump", signal.target_key, isinstance(data, Value), data.value if isinstance(data, Value) else data]
    return ["call", list(signal.args), signal.kwargs, signal.target_blueprint_id]


def _signal(spelled: list[Any]) -> Jump | TailCall:
    if spelled[0] == "jump":
        _, key, is_wrapped, data = spelled
        return Jump(key, Value(data) if is_wrapped else data)
    _, args, kwargs, blueprint_id = spelled
    return TailCall(args, kwargs, blueprint_id)
