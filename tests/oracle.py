"""What a program means, by a second reading: an evaluator that shares but the declarations with the engine.

It recurses, does one thing after the other, and looks up everything again each time: what is evaluated in a frame
is kept in a dict, a loop is a `while`, each further entry of a loop gets a frame of its own. Failures do not end
it: what waits for a failed node is blocked and all else goes on, so that it knows every node that may fail first.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import CoroutineType
from typing import Any, Final

from cascade.errors import DependencyMissingError, JumpError, RouterError
from cascade.spec.blueprint import TailCall
from cascade.spec.compose import SubflowResult
from cascade.spec.control import Jump, Router, Value
from cascade.spec.inputs import Input, Param
from cascade.spec.lazy import Lazy, LazyResult, MappedResult
from cascade.spec.resource import Inject, Resource
from cascade.spec.signal import UNSET

__all__ = ["Failure", "Report", "TooLong", "Unspecified", "evaluate", "parameters"]


class Unspecified(Exception):
    """The program depends on an order that is not promised, so there is no one answer."""


class TooLong(Exception):
    """The program makes more calls than a test wants to wait for."""


class _Nothing:
    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
"""What a reader gets from a skipped node that has nothing to give."""
HOLE: Final = _Nothing()
"""In the place of an item that failed."""

Causes = frozenset[tuple[str, int]]
Slots = dict[Any, Any]
"""The arguments of a call: by name, by ("*", place) or by ("**", name)."""


@dataclass(frozen=True)
class Failure:
    """A node that may be the first to fail, and the calls that must have been made before."""

    error: BaseException
    causes: Causes


@dataclass
class Report:
    """What a run does: its value or what it may fail of, the calls by label, the skips by label and reason."""

    value: Any = None
    missing: bool = False
    failures: list[Failure] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    skips: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Outcome:
    """What became of a node: what readers get, what conditions and selectors get, and whether it ran."""

    value: Any
    strict: Any
    ran: bool = True
    causes: Causes = frozenset()
    blocked: bool = False
    items: list[Any] | None = None
    """Of a map that failed: what may have flowed into other maps before."""

    def because(self, causes: Causes) -> Outcome:
        return replace(self, causes=self.causes | causes)


def plain(value: Any, causes: Causes = frozenset()) -> Outcome:
    return Outcome(value, value, True, causes)


def blocked(causes: Causes = frozenset()) -> Outcome:
    return Outcome(NOTHING, NOTHING, False, causes, True)


def joined(outcomes: Iterable[Outcome]) -> Causes:
    return frozenset().union(*(each.causes for each in outcomes))


def evaluate(
    target: Any,
    params: Mapping[str, Any] | None = None,
    *,
    most_calls: int = 500,
    blueprints: Mapping[str, Any] | None = None,
) -> Report:
    """Say what a run of `target` does, with `blueprints` to which tail calls may lead.

    Raises:
        Unspecified: the answer depends on timing.
        TooLong: it makes more than `most_calls` calls.
    """
    machine = _Machine(most_calls, {key: (_World(params or {}), one) for key, one in (blueprints or {}).items()})
    outcome = machine.run(_World(params or {}), target)
    report = machine.report
    report.value = outcome.value
    if not outcome.blocked and outcome.value is NOTHING:
        report.value, report.missing = None, True
        report.failures.append(Failure(DependencyMissingError("nothing"), outcome.causes))
    return report


# --- reading declarations


def items_of(value: Any) -> list[Any] | None:
    """List what a container holds; None for all else."""
    if type(value) is dict:
        return list(value.values())
    if type(value) in (list, tuple) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return list(value)
    return None


def lazies(value: Any) -> Iterator[Any]:
    """Find the lazy values in an argument."""
    if isinstance(value, Lazy):
        yield value
    for item in items_of(value) or ():
        yield from lazies(item)


def rebuilt(container: Any, values: list[Any]) -> Any:
    """Make a container of the same type."""
    if type(container) is dict:
        return dict(zip(container, values, strict=True))
    if type(container) is list:
        return values
    return tuple(values) if type(container) is tuple else type(container)(*values)


def setting(lazy: LazyResult[Any], name: str) -> Any:
    """Read one setting of a lazy result."""
    return None if lazy.config is None else getattr(lazy.config, name)


def gate_part(lazy: LazyResult[Any], name: str) -> Any:
    """Read its condition or its `otherwise`; UNSET if there is none."""
    return UNSET if lazy.config is None else getattr(lazy.config, name)


signature = lru_cache(maxsize=512)(inspect.signature)


def predecessors(lazy: LazyResult[Any]) -> tuple[Lazy, ...]:
    return setting(lazy, "after") or ()


def label_of(lazy: LazyResult[Any]) -> str:
    name: str = setting(lazy, "label") or lazy.task.name
    return name


def slots_of(lazy: LazyResult[Any]) -> Slots:
    """Return the declared arguments, in the order of the signature."""
    if isinstance(lazy, SubflowResult):
        return dict(lazy.kwargs or {})
    return spread(lazy.task.func, lazy.args, lazy.kwargs or {})


def spread(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Slots:
    bound = signature(func).bind_partial(*args, **kwargs)
    kinds = bound.signature.parameters
    slots: Slots = {}
    for name in kinds:
        if name not in bound.arguments:
            continue
        value = bound.arguments[name]
        if kinds[name].kind is inspect.Parameter.VAR_POSITIONAL:
            slots.update({("*", at): item for at, item in enumerate(value)})
        elif kinds[name].kind is inspect.Parameter.VAR_KEYWORD:
            slots.update({("**", word): item for word, item in value.items()})
        else:
            slots[name] = value
    return slots


def gathered(func: Any, slots: Slots) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what `spread` was given."""
    positional, named = [], {}
    for name, parameter in signature(func).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            positional += [slots[slot] for slot in sorted(slot for slot in slots if slot[0] == "*")]
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            named.update({slot[1]: value for slot, value in slots.items() if slot[0] == "**"})
        elif name in slots:
            named[name] = slots[name]
        elif isinstance(parameter.default, Inject):
            named[name] = supplied(parameter.default)
    return tuple(positional), named


def supplied(value: Any) -> Any:
    """Return what an argument becomes for the call: the resources of tests give the name of their scope."""
    return value.target.scope if isinstance(value, Inject) and isinstance(value.target, Resource) else value


def slot_named(func: Any, name: Any) -> Any:
    """Return the slot of an argument given by name."""
    kinds = inspect.Parameter
    parameters = signature(func).parameters
    if name in parameters and parameters[name].kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY):
        return name
    if any(each.kind is kinds.VAR_KEYWORD for each in parameters.values()):
        return "**", name
    raise JumpError(f"no argument {name!r}")


def first_slot(func: Any) -> Any:
    """Return the slot of the first argument."""
    for name, parameter in signature(func).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return "*", 0
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            return name
    raise JumpError("it takes no argument")


def data_of(lazy: Lazy) -> list[Any]:
    """List what a lazy value reads for certain."""
    if isinstance(lazy, Router):
        return [lazy.selector]
    return list(slots_of(lazy).values()) if isinstance(lazy, LazyResult) else []


def certain_of(lazy: Lazy, *, after: bool) -> list[Any]:
    """List what must be there before a node decides: data, condition, order."""
    found = data_of(lazy)
    if isinstance(lazy, LazyResult):
        found.append(gate_part(lazy, "condition"))
        found += predecessors(lazy) if after else ()
    return found


def perhaps_of(lazy: Lazy) -> list[Any]:
    """List what a node may ask for."""
    if isinstance(lazy, Router):
        return [*lazy.routes.values(), lazy.default]
    return [gate_part(lazy, "otherwise")] if isinstance(lazy, LazyResult) else []


def parameters(target: Any) -> set[str]:
    """Name the parameters of the graph of a target."""
    found, seen, stack = set(), set(), list(lazies(target))
    while stack:
        lazy = stack.pop()
        if lazy in seen:
            continue
        seen.add(lazy)
        if isinstance(lazy, Param):
            found.add(lazy.name)
        selector = setting(lazy, "selector") if isinstance(lazy, LazyResult) else None
        routes = list(selector.routes.values()) if selector is not None else []
        for value in (*certain_of(lazy, after=True), *perhaps_of(lazy), *routes):
            stack += lazies(value)
    return found


# --- worlds and frames


class _World:
    """One execution of a graph: its parameters, its pure nodes, its root frame."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self.twins: dict[Any, Lazy] = {}
        self.keys: dict[Lazy, Lazy] = {}
        self.root = _Frame(self, None)

    def one(self, lazy: Any) -> Any:
        """Return the node that a lazy value is: equal pure calls are one."""
        if type(lazy) is not LazyResult or not lazy.task.pure:
            return lazy
        if lazy not in self.keys:
            self.keys[lazy] = self.twins.setdefault(self._key(lazy), lazy)
        return self.keys[lazy]

    def _key(self, lazy: LazyResult[Any]) -> Any:
        settings = [setting(lazy, name) for name in ("retry", "constraints", "label", "max_iterations")]
        marks = [bool(setting(lazy, name)) for name in ("passes_first", "none_if_skipped")]
        parts = {"?": gate_part(lazy, "condition"), ":": gate_part(lazy, "otherwise"), "<": list(predecessors(lazy))}
        slots = [(slot, self._spelled(value)) for slot, value in slots_of(lazy).items()]
        gate = [(slot, self._spelled(value)) for slot, value in parts.items()]
        return id(lazy.task), *slots, *gate, *settings, *marks, id(setting(lazy, "selector"))

    def _spelled(self, value: Any) -> Any:
        if isinstance(value, Lazy):
            return "node", id(self.one(value))
        if isinstance(value, Value):
            return self._spelled(value.value)
        if type(value) in (list, tuple, dict):
            listed = value.items() if type(value) is dict else value
            return type(value), *[self._spelled(item) for item in listed]
        if type(value) is float:
            return float, value.hex() if value == value else id(value)
        if value is None or type(value) in (bool, int, str, bytes, complex):
            return type(value), value
        return "object", id(value)

    def hoisted(self, lazy: Lazy) -> bool:
        """Say whether a node runs at most once a run, whatever loops read it."""
        if type(lazy) is not LazyResult or not lazy.task.pure or setting(lazy, "selector") is not None:
            return False
        needs = [*data_of(lazy), gate_part(lazy, "condition"), gate_part(lazy, "otherwise")]
        return all(isinstance(each, Input) or self.hoisted(each) for value in needs for each in lazies(value))

    def given(self, needed: Input) -> Any:
        """Return the value of a parameter; the environment of tests has nothing for the others."""
        if isinstance(needed, Param) and needed.name in self.params:
            return needed.convert(self.params[needed.name])
        return needed.default

    def reach(self, values: Iterable[Any], *, after: bool, perhaps: bool, through: bool) -> set[Lazy]:
        """Return the nodes that `values` lead to; `through` says whether to look behind nodes that run once a run."""
        found: set[Lazy] = set()
        stack = [lazy for value in values for lazy in lazies(value)]
        while stack:
            lazy = self.one(stack.pop())
            if lazy in found:
                continue
            found.add(lazy)
            if not through and self.hoisted(lazy):
                continue
            for value in (*certain_of(lazy, after=after), *(perhaps_of(lazy) if perhaps else ())):
                stack += lazies(value)
        return found


class _Frame:
    """What is known in one execution of the root graph, or in one entry of a loop."""

    def __init__(self, world: _World, parent: _Frame | None, state: Any = None, overridden: Iterable[Any] = ()) -> None:
        self.world = world
        self.parent = parent
        self.outcomes: dict[Lazy, Outcome] = {}
        if parent is None:
            return
        if isinstance(state, LazyResult) and not isinstance(state, SubflowResult):
            left = [value for slot, value in slots_of(state).items() if slot not in overridden]
            wanted = [*left, gate_part(state, "condition")]
            maybe = [*wanted, gate_part(state, "otherwise")]
        else:
            wanted = maybe = [state]
        self.certain = world.reach(wanted, after=False, perhaps=False, through=False)
        self.maybe = world.reach(maybe, after=False, perhaps=True, through=False)
        self.feeds = world.reach([state], after=False, perhaps=True, through=False)

    def pruned(self, target: Any = None) -> Iterator[str]:
        """Name the tasks that only unselected routes and unused `otherwise`s would have needed."""
        if self.parent is None:
            needed = self.world.reach([target], after=True, perhaps=True, through=True)
        else:
            needed = {lazy for lazy in self.maybe if not self.world.hoisted(lazy)}
        for lazy in needed:
            if type(lazy) is LazyResult and lazy not in self.outcomes:
                yield label_of(lazy)


@dataclass
class _Loop:
    """A task on its way through its jumps and tail calls."""

    home: Any
    frame: _Frame
    at: Any
    slots: Slots
    causes: Causes
    item: Slots | None = None
    count: int = 1
    limit: float = float("inf")
    """The least `max_iterations` of the states entered so far."""


# --- evaluating


class _Machine:
    def __init__(self, most_calls: int, blueprints: dict[str, tuple[_World, Any]]) -> None:
        self.report = Report()
        self.blueprints = blueprints
        self.calls = 0
        self.most_calls = most_calls

    def run(self, world: _World, target: Any) -> Outcome:
        """Evaluate a target in the root frame of a world."""
        outcome = self.read(target, world.root, asked=True)
        if not outcome.blocked:
            for label in world.root.pruned(target):
                self.skip(label, "Pruned")
        return outcome

    def skip(self, label: str, reason: str) -> None:
        self.report.skips[label, reason] += 1

    def failed(self, error: BaseException, causes: Causes) -> Outcome:
        self.report.failures.append(Failure(error, causes))
        return blocked(causes)

    def read(self, value: Any, frame: _Frame, *, asked: bool = False) -> Outcome:
        """Read an argument: a plain value, a lazy one, or a container of those."""
        if isinstance(value, Lazy):
            outcome = self.node(value, frame)
            if asked and isinstance(value, LazyResult) and setting(value, "none_if_skipped"):
                return plain(None, outcome.causes) if outcome.value is NOTHING and not outcome.blocked else outcome
            return outcome
        if isinstance(value, Value):
            return plain(value.value)
        items = items_of(value)
        if items is None or not any(True for _ in lazies(value)):
            return plain(value)
        outcomes = [self.read(item, frame, asked=asked) for item in items]
        causes = joined(outcomes)
        if any(each.blocked for each in outcomes):
            return blocked(causes)
        if any(each.value is NOTHING for each in outcomes):
            return Outcome(NOTHING, NOTHING, False, causes)
        return plain(rebuilt(value, [each.value for each in outcomes]), causes)

    def node(self, lazy: Any, frame: _Frame) -> Outcome:
        """Evaluate a node in a frame, once."""
        world = frame.world
        lazy = world.one(lazy)
        if isinstance(lazy, Input):
            return plain(world.given(lazy))
        if frame is not world.root and world.hoisted(lazy):
            frame = world.root
        if lazy not in frame.outcomes:
            if isinstance(lazy, Router):
                frame.outcomes[lazy] = self.route(lazy, frame)
            else:
                frame.outcomes[lazy] = self.result(lazy, frame)
        return frame.outcomes[lazy]

    def route(self, router: Router, frame: _Frame) -> Outcome:
        selector = self.read(router.selector, frame)
        if selector.blocked:
            return selector
        if selector.strict is NOTHING:
            return Outcome(NOTHING, NOTHING, False, selector.causes)
        try:
            route = router.routes.get(selector.strict, router.default)
        except TypeError:  # a key that cannot be hashed
            route = router.default
        if route is UNSET:
            return self.failed(RouterError(f"no route {selector.strict!r}"), selector.causes)
        return self.read(route, frame).because(selector.causes)

    def result(self, lazy: LazyResult[Any], frame: _Frame) -> Outcome:
        """Evaluate a call, a map or a sub-flow, and its loop if there is one."""
        inputs = {slot: self.read(value, frame) for slot, value in slots_of(lazy).items()}
        reason, causes = self.decide(lazy, frame, inputs)
        if reason == "Blocked" and not (flows_into(lazy, inputs) and self.comes_after(lazy, frame)):
            return blocked(causes)
        if reason not in (None, "Blocked"):
            return self.skipped(lazy, frame, reason, inputs, causes)
        values = {slot: each.value if each.items is None else each.items for slot, each in inputs.items()}
        if isinstance(lazy, SubflowResult):
            return self.run(_World(values), lazy.target).because(causes)
        if isinstance(lazy, MappedResult):
            return self.map(lazy, frame, values, causes)
        return self.call_and_follow(_Loop(lazy, frame, lazy, values, causes))

    def decide(self, lazy: Any, frame: _Frame, inputs: Mapping[Any, Outcome]) -> tuple[str | None, Causes]:
        """Return why a node does not run: a reason, "Blocked", or None if it does."""
        condition = gate_part(lazy, "condition")
        gate = None if condition is UNSET else self.read(condition, frame)
        if frame.parent is None:
            for each in predecessors(lazy):
                self.node(each, frame)
        causes = joined([*inputs.values(), *([gate] if gate is not None else [])])
        if any(each.blocked for each in inputs.values()) or (gate is not None and gate.blocked):
            return "Blocked", causes
        if gate is not None:
            if gate.strict is NOTHING:
                return "UpstreamSkipped_Condition", causes
            try:
                if not gate.strict:
                    return "ConditionFalse", causes
            except Exception as error:
                return "Blocked", self.failed(error, causes).causes
        for each in predecessors(lazy):
            before = self.before(each, frame)
            causes |= before.causes
            if before.blocked:
                return "Blocked", causes
            if not before.ran:
                return "UpstreamSkipped_Sequence", causes
        if any(each.value is NOTHING for each in inputs.values()):
            return "UpstreamSkipped_Data", causes
        return None, causes

    def comes_after(self, lazy: LazyResult[Any], frame: _Frame) -> bool:
        """Say whether all has run that a node is to come after."""
        found = [self.before(each, frame) for each in predecessors(lazy)]
        return all(each.ran and not each.blocked for each in found)

    def before(self, lazy: Lazy, frame: _Frame) -> Outcome:
        """Evaluate an `.after` predecessor where it counts: in this entry if that runs it, else around the loop."""
        lazy = frame.world.one(lazy)
        if frame.parent is None or lazy in frame.certain or frame.world.hoisted(lazy):
            return self.node(lazy, frame)
        if lazy in frame.maybe:
            raise Unspecified("whether the entry runs the predecessor may be known only later")
        around = frame.parent
        while around.parent is not None and lazy not in around.feeds:
            around = around.parent
        return self.node(lazy, around)

    def skipped(
        self,
        lazy: Any,
        frame: _Frame,
        reason: str,
        inputs: Mapping[Any, Outcome],
        causes: Causes,
        ran: bool = False,
    ) -> Outcome:
        """Say that a node is skipped, and return what its readers get."""
        if type(lazy) is LazyResult:
            self.skip(label_of(lazy), reason)
        otherwise = gate_part(lazy, "otherwise")
        if otherwise is not UNSET:
            instead = self.read(otherwise, frame)
            return Outcome(instead.value, instead.strict, ran, causes | instead.causes, instead.blocked)
        value: Any = NOTHING
        declared = slots_of(lazy)
        if declared and not isinstance(lazy, SubflowResult):
            first = next(iter(declared))
            if first in inputs and (setting(lazy, "passes_first") or isinstance(declared[first], Lazy)):
                value = inputs[first].value
        return Outcome(value, NOTHING, ran, causes)

    # --- calls

    def call(self, lazy: Any, slots: Slots, causes: Causes) -> tuple[Any, Outcome | None, Causes]:
        """Call a task as often as its retries ask for: its value, or the outcome of its failure."""
        task = lazy.task
        args, kwargs = gathered(task.func, {slot: supplied(value) for slot, value in slots.items()})
        self.calls += 1
        if self.calls > self.most_calls:
            raise TooLong(f"more than {self.most_calls} calls")
        label = label_of(lazy)
        causes |= {(label, self.calls)}
        self.report.runs[label] += 1
        retry = setting(lazy, "retry") or task.retry
        for left in reversed(range(1 if retry is None else retry.max_attempts)):
            try:
                value = task.func(*args, **kwargs)
                if task.yields:
                    value = gone_through(value)
                return (stepped(value) if isinstance(value, CoroutineType) else value), None, causes
            except Exception as error:
                if not left:
                    return None, self.failed(error, causes), causes
        raise AssertionError

    def map(self, lazy: MappedResult[Any], frame: _Frame, values: Slots, causes: Causes) -> Outcome:
        try:
            inputs = [listed(values[name]) for name in lazy.each]
            if len({len(each) for each in inputs}) > 1:
                raise ValueError("the inputs differ in length")
        except Exception as error:
            return self.failed(error, causes)
        outcomes = []
        flowing = any(True for name in lazy.each for each in lazies(slots_of(lazy)[name]))
        before: Causes = frozenset() if flowing else causes  # an item does not wait for those before another
        for items in zip(*inputs, strict=True):
            slots = {**values, **dict(zip(lazy.each, items, strict=True))}
            if any(item is HOLE for item in items):
                outcomes.append(blocked())
            else:
                outcomes.append(self.call_and_follow(_Loop(lazy, frame, lazy, slots, before, item=slots)))
        causes |= joined(outcomes)
        if any(each.blocked for each in outcomes):
            return replace(blocked(causes), items=[HOLE if each.blocked else each.value for each in outcomes])
        if any(each.value is NOTHING for each in outcomes):
            return Outcome(NOTHING, NOTHING, True, causes)
        return plain([each.value for each in outcomes], causes)

    # --- loops

    def call_and_follow(self, loop: _Loop) -> Outcome:
        """Call the task of a loop's first state, and go where its signals lead."""
        home = loop.frame.world
        loop.limit = setting(loop.at, "max_iterations") or loop.limit
        value, failure, loop.causes = self.call(loop.at, loop.slots, loop.causes)
        if failure is not None:
            return failure
        while True:
            if not isinstance(value, (Jump, TailCall)):
                return plain(value, loop.causes)
            try:
                step = self.tail(loop, value) if isinstance(value, TailCall) else self.jump(loop, value)
            except JumpError as error:
                return self.failed(error, loop.causes)
            if isinstance(step, Outcome):
                if step.value is NOTHING and not step.blocked and loop.frame.world is not home:
                    return self.failed(DependencyMissingError("nothing"), step.causes)
                return step
            value = step()

    def counted(self, loop: _Loop, lazy: Any) -> None:
        loop.count += 1
        loop.limit = min(loop.limit, setting(lazy, "max_iterations") or loop.limit)
        if loop.count > loop.limit:
            raise JumpError(f"more than {loop.limit} entries")

    def tail(self, loop: _Loop, tail: TailCall) -> Outcome | Callable[[], Any]:
        if tail.target_blueprint_id is not None:
            if tail.target_blueprint_id not in self.blueprints:
                raise JumpError(f"no blueprint {tail.target_blueprint_id!r}")
            world, target = self.blueprints[tail.target_blueprint_id]
            loop.frame = world.root
            overrides = spread(target.task.func, tail.args, {})
            overrides |= {slot_named(target.task.func, name): value for name, value in tail.kwargs.items()}
            return self.enter(loop, target, overrides, called=True)
        func = loop.at.task.func
        for slot, value in spread(func, tail.args, {}).items():
            loop.slots = {**loop.slots, slot: value}
        for name, value in tail.kwargs.items():
            loop.slots = {**loop.slots, slot_named(func, name): value}
        self.counted(loop, loop.at)
        return self.call_again(loop, None)

    def call_again(self, loop: _Loop, frame: _Frame | None) -> Outcome | Callable[[], Any]:
        value, failure, loop.causes = self.call(loop.at, loop.slots, loop.causes)
        if failure is not None:
            return failure
        self.over(frame)
        return lambda: value

    def over(self, frame: _Frame | None) -> None:
        """Say at the end of an entry what it did not need."""
        if frame is not None:
            for label in frame.pruned():
                self.skip(label, "Pruned")

    def jump(self, loop: _Loop, jump: Jump) -> Outcome | Callable[[], Any]:
        """Follow a jump: the outcome of the loop, or what gives the next value."""
        selector = setting(loop.at, "selector")
        if selector is None:
            raise JumpError("it is not bound")
        if jump.target_key not in selector.routes:
            raise JumpError(f"no route {jump.target_key!r}")
        target = selector.routes[jump.target_key]
        data = jump.data
        if target is None:
            return plain(data.value if isinstance(data, Value) else data, loop.causes)
        target = loop.frame.world.one(target)
        if isinstance(target, Input) or not isinstance(target, LazyResult) or isinstance(target, SubflowResult):
            if data is not None:
                raise JumpError("it takes no arguments")
            return self.leave(loop, target)
        overrides = overrides_of(target.task.func, data)
        if loop.item is not None and target is loop.home:
            self.counted(loop, target)
            loop.at, loop.slots = target, {**loop.item, **overrides}
            return self.call_again(loop, None)
        return self.enter(loop, target, overrides)

    def leave(self, loop: _Loop, target: Any) -> Outcome:
        """Leave a loop by way of something that takes no arguments."""
        frame = _Frame(loop.frame.world, loop.frame, target)
        outcome = self.node(target, frame).because(loop.causes)
        if not outcome.blocked:
            self.over(frame)
        return replace(outcome, ran=True)

    def enter(self, loop: _Loop, target: Any, overrides: Slots, called: bool = False) -> Outcome | Callable[[], Any]:
        """Enter a state, or leave by way of an unbound or mapped result."""
        world = loop.frame.world
        if not overrides and world.hoisted(target):  # it runs once a run
            return Outcome(
                *((each := self.node(target, world.root)).value, each.strict, True), loop.causes | each.causes
            )
        if called or (setting(target, "selector") is not None and not isinstance(target, MappedResult)):
            self.counted(loop, target)
        frame = _Frame(world, loop.frame, target, overrides)
        declared = {slot: value for slot, value in slots_of(target).items() if slot not in overrides}
        inputs = {slot: self.read(value, frame) for slot, value in declared.items()}
        reason, causes = self.decide(target, frame, inputs)
        loop.causes |= causes
        if reason == "Blocked":
            return blocked(loop.causes)
        if reason is not None:
            outcome = self.skipped(target, frame, reason, inputs, loop.causes, ran=True)
            if not outcome.blocked:
                self.over(frame)
            return outcome
        slots = {slot: each.value for slot, each in inputs.items()} | overrides
        if isinstance(target, MappedResult):
            outcome = self.map(target, frame, slots, loop.causes)
            if not outcome.blocked:
                self.over(frame)
            return outcome
        loop.at, loop.slots = target, slots
        return self.call_again(loop, frame)


def overrides_of(func: Any, data: Any) -> Slots:
    """Return the arguments that the data of a jump gives."""
    if data is None:
        return {}
    if isinstance(data, Value):
        return {first_slot(func): data.value}
    if isinstance(data, Lazy):
        raise JumpError("a lazy result as data")
    if isinstance(data, dict):
        return {slot_named(func, name): value for name, value in data.items()}
    return {first_slot(func): data}


def flows_into(lazy: Any, inputs: Mapping[Any, Outcome]) -> bool:
    """Say whether items of maps that failed may have come to a map that waits for nothing else."""
    if not isinstance(lazy, MappedResult) or gate_part(lazy, "condition") is not UNSET:
        return False
    stopped = {slot: each for slot, each in inputs.items() if each.blocked}
    return all(slot in lazy.each and each.items is not None for slot, each in stopped.items())


def listed(value: Any) -> list[Any]:
    """Return the items of a map's input."""
    if isinstance(value, (str, bytes)):
        raise TypeError("a str is no list of items")
    return list(value)


def gone_through(items: Any) -> Any:
    """Return the list of what a generator gives; of an async one, what is to be awaited for it."""

    async def later() -> list[Any]:
        return [item async for item in items]

    return later() if isinstance(items, AsyncGenerator) else list(items)


def stepped(coroutine: Any) -> Any:
    """Run a coroutine that waits for nothing but its next turn."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as ended:
            return ended.value
