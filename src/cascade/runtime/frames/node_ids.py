"""What nodes are called in events and errors: `name#number`, and `name#number.7` for further instances in loops.

Two instances that may run at a time have two ids, and an id says only what the program says: the number of the node
among those of its name, and behind a point, for each loop around that made a further instance, where among all nodes
that loop begins. In a further attempt of a sub-flow, `~2` says which. Nothing depends on what came first, so ids are
the same on every tier, and whether or not somebody listens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.graph.joins import joins_of, targets_of
from cascade.graph.nest import nest_of
from cascade.runtime.frames.frame import Activation, Frame, NodeInstance
from cascade.spec.events import TaskSite
from cascade.spec.operations import CALLN, MAP

if TYPE_CHECKING:
    from cascade.spec.blueprint import Blueprint

__all__ = ["NodeIds"]


class SubflowKey:
    """The key of the activation of a sub-flow: one for all executions of it that are the same instance.

    A key is known by identity, and what is asked of it is found out once, so that neither takes longer far inside.
    """

    __slots__ = ("around", "attempt", "attempts", "declared", "is_outside", "loop", "number", "root")

    def __init__(
        self, around: Any, number: int, loop: NodeInstance | None, attempt: int, declared: SubflowKey | None
    ) -> None:
        self.around, self.number, self.loop, self.attempt = around, number, loop, attempt
        is_inner = around.__class__ is SubflowKey
        self.declared: Any = declared or self
        """The key without the loops that it is run in, and of its first attempt."""
        self.is_outside: bool = loop is None and _is_outside(around)
        self.root: Any = around.root if is_inner else around
        """The key of the program that it stands in."""
        self.attempts: str = (around.attempts if is_inner else "") + (f"~{attempt}" if attempt > 1 else "")
        """What tells its nodes from those of attempts before: `~2` in the second."""


class NodeIds:
    """Tells the instances of the nodes of one run from each other, and names them when somebody asks."""

    def __init__(self, run_id: str, start: int = 1) -> None:
        self.run_id = run_id
        self.start = start
        """Which start of the run this is, where it is recorded."""
        self._copies: dict[tuple[Any, int, NodeInstance | None, bool], NodeInstance] = {}
        self._own: Any = None
        self._entries: dict[int, int] = {}
        """How many entries loops of the run's own graph have had whose instances nobody has asked for."""
        self._waiting: list[tuple[Any, Blueprint]] = []
        self._places: dict[Any, tuple[int, list[int], list[str]]] = {}
        """Of each graph: how many nodes come before; of its own, which of its name each is, and what it is called."""
        self._subflow_keys: dict[tuple[Any, int, NodeInstance | None, int], SubflowKey] = {}
        self._count = 0
        self._last: dict[str, int] = {}

    def reach(self, key: object, blueprint: Blueprint) -> None:
        """Take in a program that the run comes to: its own (its key is None), then those that tail calls lead to."""
        self._waiting.append((key, blueprint))

    def instance(
        self, activation: Activation, number: int, loop: NodeInstance | None, entered: bool = False
    ) -> NodeInstance:
        """Return the instance of node `number` that runs in `loop`; `entered` by a jump, or else for its value."""
        key = (activation.key, number, loop, entered)
        found = self._copies.get(key)
        if found is None:
            made = self._make(activation, number, loop, entered)
            found = self._copies.setdefault(key, made)  # a thread may have made it meanwhile
            if found is not made:
                found.entries += made.entries if made.number == number and made.loop is loop else 0
        return found

    def subflow_key(self, around: object, number: int, loop: NodeInstance | None, attempt: int = 1) -> SubflowKey:
        """Return the key of a sub-flow that runs in an activation and a loop."""
        mark = (around, number, loop, attempt)
        found = self._subflow_keys.get(mark)
        if found is None:
            declared = _declared(around)
            is_declared = declared is around and loop is None and attempt == 1
            first = None if is_declared else self.subflow_key(declared, number, None)
            found = self._subflow_keys.setdefault(mark, SubflowKey(around, number, loop, attempt, first))
        return found

    def forget(self) -> None:
        """Let go of the activation of the run, once it is over."""
        self._own = None

    def entered(self, activation: Activation, number: int, count: int) -> None:
        """Count entries of a loop of the run's own graph, outside of all loops, without making an instance for it."""
        self._own = activation
        found = self._copies.get((None, number, None, False))
        if found is not None:
            found.entries += count
        else:
            self._entries[number] = self._entries.get(number, 0) + count

    def has_looped(self, frame: Frame, i: int, item: str = "") -> bool:
        """Say whether the instance of instruction `i` was a loop before (or `item` of it), so that its calls count."""
        if not self._copies and not self._entries:  # then nothing was
            return False
        suffix = frame.suffix + item
        if frame.loop is frame.activation.key is None and frame.block.origin is None and i not in self._entries:
            known = self._copies.get((None, i, None, False))
            return known is not None and known.has_looped(suffix)
        return self.instance(frame.activation, frame.block.source(i), frame.loop).has_looped(suffix)

    def instances(self) -> list[NodeInstance]:
        """Return all instances that were asked for so far."""
        for number in list(self._entries):
            self.instance(self._own, number, None)
        return list(dict.fromkeys(self._copies.values()))

    def _make(self, activation: Activation, number: int, loop: NodeInstance | None, entered: bool) -> NodeInstance:
        blueprint, key = activation.blueprint, activation.key
        if loop is not None and loop.loop is None and loop.key == key and _is_outside(key):
            if blueprint.joins is None:
                blueprint.joins = joins_of(blueprint.graph, blueprint.hoisted)
            joins = blueprint.joins.states if entered else blueprint.joins.values
            if joins.get(number) == loop.number:
                return self.instance(activation, number, None)
        instance = NodeInstance(self, key, blueprint.graph, number, loop, entered)
        if key is None and loop is None and not entered:
            instance.entries = self._entries.pop(number, 0)
        return instance

    def site(self, instance: NodeInstance) -> TaskSite:
        """Return what events say of an instance."""
        graph, number, key = instance.graph, instance.number, instance.key
        _, places, labels = self._place(key)
        label, place, kind = labels[number], places[number], graph.kinds[number]
        name = graph.nodes[number].task.name if kind <= CALLN or kind == MAP else label
        if key is None and instance.loop is None:  # most are
            return TaskSite(self.run_id, f"{label}#{place}", name, self.start)
        attempts = key.attempts if key.__class__ is SubflowKey else ""
        return TaskSite(self.run_id, f"{label}#{place}{self._path(instance)}{attempts}", name, self.start)

    def _path(self, instance: NodeInstance) -> str:
        """Return what tells an instance from the others of its node: the loops that it is in."""
        parts = []
        while (loop := instance.loop) is not None:
            if instance.key.__class__ is str and loop.key is loop.loop is None and loop.number == loop.graph.root:
                break  # a tail call of the run's target led here
            parts.append(f".{self._place(loop.key)[0] + loop.number + 1}{'.0' if _is_apart(instance, loop) else ''}")
            instance = loop
        else:
            if _root(instance.key) is not None:  # in the program that a tail call leads to, whatever led there
                parts.append(".0")
        return "".join(reversed(parts))

    def _place(self, key: object) -> tuple[int, list[int], list[str]]:
        if self._waiting:
            self.name_all()
        return self._places[_declared(key)]

    @property
    def are_all(self) -> bool:
        """Whether the nodes of all programs that the run has come to are numbered."""
        return not self._waiting

    def name_all(self) -> None:
        """Number the nodes of the programs that the run has come to since this was last asked."""
        for start, blueprint in self._waiting:
            nest = nest_of(blueprint)
            keys: list[Any] = []
            for graph, (around, number) in zip(nest.graphs, nest.owners, strict=True):
                keys.append(start if around < 0 else self.subflow_key(keys[around], number, None))
                names = [graph.name(i) for i in range(len(graph))]
                self._places[keys[-1]] = (self._count, [self._number(name) for name in names], names)
                self._count += len(graph)
        self._waiting.clear()

    def _number(self, name: str) -> int:
        number = self._last[name] = self._last.get(name, 0) + 1
        return number


def _is_outside(key: object) -> bool:
    """Say whether an activation is the run's own, or that of a sub-flow outside of all loops."""
    return key.is_outside if key.__class__ is SubflowKey else key is None


def _root(key: object) -> Any:
    return key.root if key.__class__ is SubflowKey else key


def _declared(key: object) -> Any:
    """Return the key of an activation without the loops that it is run in."""
    return key.declared if key.__class__ is SubflowKey else key


def _is_apart(instance: NodeInstance, loop: NodeInstance) -> bool:
    """Say whether a loop reads a node that its jumps may lead to as well, each time for an instance of its own."""
    start = loop.number if loop.key == instance.key else instance.graph.root if instance.key.__class__ is str else -1
    return not instance.entered and start >= 0 and instance.number in targets_of(instance.graph, start)
