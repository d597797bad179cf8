"""A loop that records where it is, so that it can go on there.

Where a loop is, is what its next entry needs: the signal that the last one returned, the node that returned it, and
how many entries there were. One record holds that, which each entry replaces. All that an entry reads beside is
recorded as steps of their own, or computed anew from the declaration; so nothing of the entries before is kept, and a
loop that turns for days takes the space of one entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cascade.compiler.transition_profile import Edge, TransitionProfile
from cascade.errors import StateError
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import PENDING
from cascade.runtime.journal.kinds import ENTRY, LEFT_OUT, LOOP, POSITION, VALUE, has_history
from cascade.runtime.loops.position import LoopPosition
from cascade.runtime.loops.transition import Transition
from cascade.runtime.run.state import RunState
from cascade.spec.control import Jump, TailCall, Value
from cascade.spec.placement import CallForm
from cascade.spec.resource import Inject
from cascade.spec.state import StepRecord

__all__ = ["RecordedLoop", "entries_before"]


PLAIN = frozenset({type(None), bool, int, float, str, bytes})
"""The classes of data that nobody can change in place: it may be recorded when the entry that has it is left."""


class RecordedTransition(Transition):
    """A short way on in a recorded loop: taken only where an emitted loop is all that happens until the next turn.

    Where the loop is then, is recorded at each turn of the event loop; the entries in between are superseded, and so
    never written. That holds for a state that only literals feed, as the steps of others are records of their own.
    """

    def enter(self, signal: Jump | TailCall) -> Any:
        """Enter the state in the emitted loop, or leave it to the follower, which records each entry."""
        if not (self.follower.run.compiles_loops and self.is_hot() and self.is_apart()):
            self.signal = signal
            return PENDING
        self.follower.record(signal)
        result = self.run_hot(signal)
        if result.__class__ is Jump and self.follower.leads_on(result):
            self.follower.record(result)  # now, as the run may be handed back before the next entry
        return result

    def is_apart(self) -> bool:
        """Say whether nothing of an entry is recorded but where the loop is, and that can be told when it is left."""
        edges = self.loop_profile.edges.get(self.entry.source, ())
        is_plain = all(edge.is_jump and edge.names is None and edge.cls in PLAIN for edge in (self.edge, *edges))
        return is_plain and self.hot.is_leaf and not self.hot.loop.is_async

    def caught(self, error: BaseException) -> Any:
        """Take over where something was raised, and record by which jump that entry was entered."""
        _, values = self.hot.loop.where(error)
        before = self.follower.count
        try:
            return super().caught(error)
        finally:
            if values.get("i") and self.follower.count > before:  # else that jump is recorded
                names, first = self.hot.loop.function.__code__.co_varnames, self.entry.plan.first_override
                for edge in self.loop_profile.edges[self.entry.source]:
                    data = values[names[1 + edge.updates[0][0] - first]] if edge.updates else None
                    if edge.entry is self.entry and edge.cls is data.__class__:
                        self.follower.record(Jump(edge.key, data), 1)
                        break


class RecordedLoop(LoopPosition):
    """What following a loop does differently where the run is recorded; see `recorded_run.recording`."""

    __slots__ = ("first",)
    run: Any

    def __init__(self, run: RunState, call: Call, value: Any, form: CallForm, args: Any, *more: Any) -> None:
        super().__init__(run, call, value, form, args, *more)
        self.first: list[Any] = [*args]
        """The arguments of the first entry by position: what is still one of them is known where the loop goes on."""

    def make_transition(self, edge: Edge, profile: TransitionProfile, template: list[Any]) -> Transition | None:
        """Return a short way on, if not each entry is to be committed before the next one."""
        if self.run.journal.waits or has_history(self.instance):
            return None
        return RecordedTransition(self, edge, profile, template)

    def leads_on(self, jump: Jump) -> bool:
        """Say whether a jump leads to another entry."""
        return self.routes is not None and self.routes.get(jump.target_key) is not None

    def record(self, signal: Jump | TailCall, entered: int = 0) -> None:
        """Record the signal that is followed next, and who has returned it; or one whose entry is counted already."""
        position: dict[str, Any] = {
            "number": self.number,
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

    def stand(self, position: dict[str, Any]) -> None:
        """Be where the loop was when an earlier start recorded it."""
        blueprint = position["blueprint"]
        home = self.home.activation
        activation = home if blueprint is None else self.run.activation_of(blueprint, self.form)
        self.count, self.limit = position["count"], position["limit"]
        self.value = _signal(position["signal"])
        self.come_to(activation, position["number"])
        block, register = self.block_at(position["number"])
        form = block.forms[register]
        assert form is not None
        self.form, self.gate = form, block.gates.get(register)
        self.routes = activation.blueprint.graph.jumps.get(position["number"])
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
