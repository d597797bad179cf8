"""Things that go wrong on purpose, by the name of a task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from cascade.spec.contexts import contextmanager
from cascade.spec.protocols import CallNode, Executor

if TYPE_CHECKING:
    from cascade.runtime.engine import Engine

__all__ = ["Fault", "Faults"]

Kind = Literal["fail", "delay", "drop", "answer"]


class Fault(NamedTuple):
    """What was done to one call."""

    task_id: str
    call: int
    """The how-maniest call that the rule was about, from 1."""
    kind: Kind


class _Rule(NamedTuple):
    pattern: str
    kind: Kind
    value: Any
    calls: frozenset[int] | None
    chance: float | None

    def is_for(self, node: CallNode) -> bool:
        label = node.id.partition("#")[0]
        return node.id == self.pattern or fnmatchcase(node.name, self.pattern) or fnmatchcase(label, self.pattern)


class Faults:
    """What goes wrong in the calls of tasks, each attempt of a retry being a call.

        faults = Faults().fail("charge", on=1).delay("fetch*", 30.0)
        with faults.on(engine):
            ...

    `task` is a pattern (`*`, `?`) for names of tasks or labels, or one id of an event (`parse#3[17]`). Calls are
    counted for each rule. `on` says which of them it is about: a number from 1, or several; by default all. With a
    `chance` between 0 and 1 it is drawn for each of those, by `seed`, or by that of a simulation. Of the rules that
    apply delays add up, and the first other one rules.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed: int = seed
        self.met: list[Fault] = []
        """What was done, in order."""
        self._rules: list[_Rule] = []
        self._random = Random(seed)
        self._counts: dict[_Rule, int] = {}

    # --- rules

    def fail(
        self,
        task: str,
        error: BaseException | type[BaseException] | None = None,
        *,
        on: int | Iterable[int] | None = None,
        chance: float | None = None,
    ) -> Self:
        """Let calls fail before they begin; by default of a RuntimeError."""
        is_error = isinstance(error, BaseException) or (isinstance(error, type) and issubclass(error, BaseException))
        if error is not None and not is_error:
            raise TypeError(f"Faults.fail({task!r}, ...) takes an exception or a class of them, not {error!r}")
        return self._add(task, "fail", error, on, chance)

    def delay(
        self, task: str, seconds: float, *, on: int | Iterable[int] | None = None, chance: float | None = None
    ) -> Self:
        """Let calls begin so many seconds late."""
        if not seconds >= 0:
            raise ValueError(f"Faults.delay({task!r}, ...) takes 0 seconds or more, not {seconds!r}")
        return self._add(task, "delay", seconds, on, chance)

    def drop(self, task: str, *, on: int | Iterable[int] | None = None, chance: float | None = None) -> Self:
        """Let calls neither begin nor end, as if a message was lost; a timeout or a cancel ends them."""
        return self._add(task, "drop", None, on, chance)

    def answer(
        self, task: str, value: Any, *, on: int | Iterable[int] | None = None, chance: float | None = None
    ) -> Self:
        """Let calls return a value at once, without being made."""
        return self._add(task, "answer", value, on, chance)

    def _add(self, task: str, kind: Kind, value: Any, on: int | Iterable[int] | None, chance: float | None) -> Self:
        if not isinstance(task, str) or not task:
            raise TypeError(f"a fault is for tasks by name, such as 'charge' or 'fetch*', not {task!r}")
        calls = None if on is None else frozenset([on] if isinstance(on, int) else on)
        if calls is not None and not all(isinstance(call, int) and call >= 1 for call in calls):
            raise ValueError(f"on={on!r}: calls are counted from 1")
        if chance is not None and not 0 <= chance <= 1:
            raise ValueError(f"a chance is between 0 and 1, not {chance!r}")
        self._rules.append(_Rule(task, kind, _Value(value), calls, chance))
        return self

    # --- what happens

    @contextmanager
    def on(self, engine: Engine) -> Iterator[Self]:
        """Let the runs that begin on an engine inside a `with` block meet the faults."""
        before = engine.executor, engine.runs_inline
        engine.executor, engine.runs_inline = self.executor(engine.executor), False
        try:
            yield self
        finally:
            engine.executor, engine.runs_inline = before

    def executor(self, executor: Executor) -> Executor:
        """Return an executor whose calls meet the faults, before another one carries them out."""
        return _Faulty(self, executor)

    def restart(self, seed: int | None = None) -> None:
        """Count and draw from the start again, by another seed if one is given."""
        self.seed = self.seed if seed is None else seed
        self._random = Random(self.seed)
        self._counts.clear()
        self.met.clear()

    async def meet(self, node: CallNode) -> _Value | None:
        """Do to a call what the rules say; return what it returns without being made, if so."""
        for rule in self._rules:
            if not rule.is_for(node):
                continue
            count = self._counts[rule] = self._counts.get(rule, 0) + 1
            if rule.calls is not None and count not in rule.calls:
                continue
            if rule.chance is not None and self._random.random() >= rule.chance:
                continue
            self.met.append(Fault(node.id, count, rule.kind))
            value = rule.value.value
            if rule.kind == "delay":
                await asyncio.sleep(value)
            elif rule.kind == "drop":
                await asyncio.get_running_loop().create_future()
            elif rule.kind == "answer":
                return _Value(value)
            elif value is None:
                raise RuntimeError(f"a fault was injected into call {count} of {node.id} (declared at {node.declared})")
            else:
                raise value
        return None


class _Value:
    """Any value, told apart from others by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class _Faulty:
    """Carries out calls as another executor does, unless a fault is met."""

    def __init__(self, faults: Faults, executor: Executor) -> None:
        self._faults = faults
        self._executor = executor

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = await self._faults.meet(node)
        return await self._executor.execute(node, args, kwargs) if found is None else found.value
