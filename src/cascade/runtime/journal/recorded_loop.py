"""A loop that records where it is, so that it can go on there.

Where a loop is, is what its next entry needs: the signal that the last one returned, the node that returned it, and
how many entries there were. One record holds that, which each entry replaces. All that an entry reads beside is
recorded as steps of their own, or computed anew from the declaration; so nothing of the entries before is kept, and a
loop that turns for days takes the space of one entry.
"""

from __future__ import annotations

from types import CoroutineType
from typing import Any

from cascade.runtime.frames.call import Call
from cascade.runtime.interpreter.results import refuse_lazy
from cascade.runtime.loops.position import LoopPosition
from cascade.runtime.run.state import RunState
from cascade.spec.control import Jump, TailCall, Value
from cascade.spec.lazy import Lazy
from cascade.spec.placement import CallForm
from cascade.spec.readable import readable
from cascade.spec.resource import Inject

__all__ = ["RecordedLoop"]


class RecordedLoop(LoopPosition):
    """What following a loop does differently where the run is recorded; see `recorded_run.recording`."""

    __slots__ = ("first",)
    run: Any
    enter_slowly: Any
    """As in the class that follows loops; so is `end`."""
    end: Any

    def __init__(self, run: RunState, call: Call, value: Any, form: CallForm, args: Any, *more: Any) -> None:
        super().__init__(run, call, value, form, args, *more)
        self.first: list[Any] = [*args]
        """The arguments of the first entry by position: what is still one of them is known where the loop goes on."""

    @readable("run", "self", place=lambda known: (known["run"], known["self"].call))
    async def follow(self) -> Any:
        """Go where the signal leads until a plain value comes; return that."""
        run, value, within = self.run, self.value, self.within
        self.value = None
        try:
            within.check()
            while True:
                try:
                    if isinstance(value, (Jump, TailCall)):
                        self.record(value)
                        if run.journal.waits:
                            await run.journal.writer.committed()
                        value = await self.enter_slowly(value)
                        within.check()
                        if self.ended:
                            return self.end(value)
                    elif isinstance(value, CoroutineType):
                        value = await value
                        within.check()
                        if isinstance(value, TailCall) and not self.call.entered:
                            self.count_before()
                    elif isinstance(value, Lazy):
                        refuse_lazy(self.form, value)
                    else:
                        return self.end(value)
                except BaseException as error:
                    if isinstance(value, CoroutineType):
                        value.close()  # it was not begun, as the run is ending
                    run.check_failed(self.call, error)
                    raise
                if run.ticker.due and not isinstance(value, CoroutineType):
                    run.ticker.caught(self.form)
                    await run.turn()
        finally:
            self.let_go()

    def record(self, signal: Jump | TailCall) -> None:
        """Record the signal that is followed next, and who has returned it."""
        position: dict[str, Any] = {
            "number": self.number,
            "blueprint": None if self.activation is self.home.activation else self.activation.key,
            "count": self.count,
            "limit": self.limit,
            "entries": self.call.had(self.instance),
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
