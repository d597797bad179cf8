"""Pipes: results of a map that go to the next one item by item, before the whole map is done.

A map that is about to wait looks at who waits for it. If that is a map that could begin, were the results there,
it begins now and is fed. When nothing has to wait, nothing of this happens: the list is handed over when it is done.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from cascade.runtime.frames.frame import NOTHING, PENDING, Frame, order_frame
from cascade.runtime.frames.gates import gate_reason
from cascade.runtime.maps.sources import Batch, Source
from cascade.runtime.run.state import RunState
from cascade.spec.blueprint import Block
from cascade.spec.iterables import refuse_lengths
from cascade.spec.marks import SKIPPED
from cascade.spec.operations import MAP
from cascade.spec.task import Task

__all__ = ["Pipe", "PipeSource", "Readers", "await_inputs", "givers_of"]


class Giver(Protocol):
    """What a pipe, and the map behind it, ask of the map that gives."""

    results: list[Any] | None
    source: Source
    window: int | None

    def flow_out(self) -> Pipe:
        """Return a pipe that has the results so far, and will have the others."""

    def limit_reading(self, window: int) -> None:
        """Read only so far ahead, unless it was said how far."""


class Pipe:
    """What one map hands to another: results with the numbers of their items, in any order.

    Of a map that skips items, in the order of the items, because only then is known which number each has.
    """

    __slots__ = (
        "arrived",
        "at",
        "chunks",
        "closed",
        "count",
        "drained",
        "early",
        "giver",
        "halves",
        "is_fed",
        "next",
        "rank",
        "skips",
    )

    def __init__(self, giver: Giver, drained: Callable[[], None], skips: bool, is_fed: bool) -> None:
        self.giver = giver
        self.drained = drained
        """Tells the giver that results were taken."""
        self.arrived: Callable[[], None] | None = None
        """Tells the taker that there is something new."""
        self.chunks: deque[tuple[int, list[Any]]] = deque()
        self.at = 0
        """How much of the first chunk was taken."""
        self.count = 0
        self.halves = 0
        """How many were taken that wait for what another map gives for the same item.

        They hold the giver back: givers that read in order come to the same items, so none waits for ever. One that is
        fed itself has an order of its own, and is not held back.
        """
        self.closed = False
        self.skips = skips
        self.is_fed = is_fed
        """The giver has its items from a pipe itself, in any order: what is early must not make it wait."""
        self.early: dict[int, Any] = {}
        self.next = self.rank = 0

    @property
    def waiting(self) -> int:
        """How many results nobody took yet."""
        return self.count if self.is_fed else self.count + len(self.early) + self.halves

    def put(self, first: int, values: list[Any]) -> None:
        """Take results; of a map that skips items, hold back those that are early."""
        if self.skips:
            self.early.update(enumerate(values, first))
            first, values = self.rank, []
            while self.next in self.early:
                value = self.early.pop(self.next)
                self.next += 1
                if value is not SKIPPED:
                    values.append(value)
            self.rank += len(values)
        if values:
            self.chunks.append((first, values))
            self.count += len(values)
            self.tell()

    def take(self, most: int) -> tuple[int, list[Any]]:
        """Take up to `most` results; there are some."""
        first, values = self.chunks[0]
        at = self.at
        if at or len(values) > most:
            self.at += most
            taken = values[at : at + most]
        else:
            taken = values
        if at + len(taken) == len(values):
            self.chunks.popleft()
            self.at = 0
        self.count -= len(taken)
        self.drained()
        return first + at, taken

    def close(self) -> None:
        """Say that there is nothing more to come."""
        self.closed = True
        self.tell()

    def tell(self) -> None:
        """Wake the taker."""
        if self.arrived is not None:
            self.arrived()


class PipeSource(Source):
    """Items made of the results of maps that are under way, beside lists that are there.

    Args:
        wait: waits until it is told by `wake` and a condition holds.
    """

    __slots__ = ("complete", "lists", "names", "parts", "pipes", "task", "total", "wait")

    def __init__(
        self,
        task: Task[..., Any],
        values: dict[str, Any],
        pipes: dict[str, Pipe],
        wait: Callable[[Callable[[], bool]], Awaitable[None]],
        wake: Callable[[], None],
    ) -> None:
        self.task = task
        self.names = tuple(values)
        self.pipes = pipes
        self.lists = {name: list(value) for name, value in values.items() if name not in pipes}
        self.wait = wait
        self.parts: dict[int, dict[str, Any]] = {}
        """Where several maps flow in: what is there of each item."""
        self.complete: deque[int] = deque()
        """The numbers of the items of which all parts are there."""
        self.total = dict.fromkeys(pipes, 0)
        for pipe in pipes.values():
            pipe.arrived = wake
        sizes = {None if pipe.skips else pipe.giver.source.count for pipe in pipes.values()}
        sizes |= {len(values) for values in self.lists.values()}
        super().__init__(sizes.pop() if len(sizes) == 1 else None)

    def is_there(self) -> bool:
        """Say whether there is something to read, or nothing will come any more."""
        pipes = self.pipes.values()
        if self.complete or any(pipe.chunks for pipe in pipes) or all(pipe.closed for pipe in pipes):
            return True
        return len(pipes) > 1 and self.is_uneven()

    async def read(self, most: int) -> Batch | None:
        """Wait for results, and return items made of them."""
        while True:
            await self.wait(self.is_there)
            if len(self.pipes) == 1:
                batch = self.read_one(most)
            else:
                batch = self.read_several(most)
            if batch is not None:
                return batch
            if len(self.pipes) > 1 and self.is_uneven():
                self.check(True)
            if all(pipe.closed and not pipe.chunks for pipe in self.pipes.values()):
                self.check(True)
                return None

    def is_uneven(self) -> bool:
        """Say whether one pipe has ended and another has more, which would wait for its other half for ever."""
        ended = [self.total[name] for name, pipe in self.pipes.items() if pipe.closed and not pipe.chunks]
        return bool(ended) and max(self.total.values()) > min(ended)

    def read_one(self, most: int) -> Batch | None:
        """Take results of the one map that flows in."""
        ((name, pipe),) = self.pipes.items()
        if not pipe.chunks:
            return None
        first, values = pipe.take(most)
        self.total[name] = max(self.total[name], first + len(values))
        self.check()
        end = first + len(values)
        columns = [values if each == name else self.lists[each][first:end] for each in self.names]
        return Batch(first, columns, 0, len(values))

    def read_several(self, most: int) -> Batch | None:
        """Take all that has come, and return up to `most` items that are complete."""
        for name, pipe in self.pipes.items():
            while pipe.chunks:
                first, values = pipe.take(pipe.count)
                self.total[name] = max(self.total[name], first + len(values))
                pipe.halves += len(values)
                for index, value in enumerate(values, first):
                    part = self.parts.setdefault(index, {})
                    part[name] = value
                    if len(part) == len(self.pipes):
                        self.complete.append(index)
        self.check()
        if not self.complete:
            return None
        index = self.complete.popleft()
        part = self.parts.pop(index)
        for pipe in self.pipes.values():
            pipe.halves -= 1
            pipe.drained()
        row = [part[each] if each in part else self.lists[each][index] for each in self.names]
        return Batch(index, [[value] for value in row], 0, 1)

    def check(self, at_end: bool = False) -> None:
        """Raise ValueError if the inputs are seen to differ in length."""
        sizes: dict[str, object] = {name: len(values) for name, values in self.lists.items()}
        most = max(self.total.values())
        if not at_end and all(most <= len(values) for values in self.lists.values()):
            return
        closed = {name: pipe.closed and not pipe.chunks for name, pipe in self.pipes.items()}
        lengths = {name: total if closed[name] else f"{total} or more" for name, total in self.total.items()}
        if not at_end or len({*sizes.values(), *lengths.values()}) > 1:
            refuse_lengths(self.task, {name: {**sizes, **lengths}[name] for name in self.names})


def inputs_of(frame: Frame, j: int) -> list[tuple[str, int, bool]]:
    """Return the inputs of map `j`: name, register, and whether they are results of a map that may flow in.

    They may not where the loop of an item may end with nothing, which would make the whole map nothing.
    """
    block, blueprint = frame.block, frame.activation.blueprint
    node = blueprint.graph.nodes[block.source(j)]
    found = []
    for name, at in zip(("",) * len(node.args) + tuple(node.kwargs), block.references(j), strict=True):
        is_map = at >= 0 and block.ops[at] == MAP  # below zero stand constants
        gate = block.gates.get(at)
        may_lack = gate is not None and gate.terms.selector is not None and blueprint.skips
        found.append((name, at, name in node.each and is_map and not may_lack))
    return found


def givers_of(under_way: dict[tuple[Frame, int], Any], frame: Frame, j: int) -> dict[str, Giver] | None:
    """Return the maps under way that map `j` can begin with, by name; None: they do not give all that it lacks."""
    each = frame.activation.blueprint.graph.nodes[frame.block.source(j)].each
    found: dict[str, Giver] = {}
    for name, at, may_flow in inputs_of(frame, j):
        value = frame.regs[at]
        if value is NOTHING:
            return None
        if value is PENDING:
            giver = under_way.get((frame, at))
            if not may_flow or giver is None or giver.results is None:
                return None
            found[name] = giver
        elif name in each and (not hasattr(value, "__len__") or isinstance(value, (str, bytes))):
            return None
    return found if _is_open(frame, j) else None


def await_inputs(run: RunState, frame: Frame, j: int, work: list[Any]) -> bool:
    """Park map `j`, which lacks inputs, or have maps under way flow into it; say whether it can begin.

    It waits last for what may flow: maps offer their results only when they have new ones, and those may be waiting for
    what this one does. So whatever comes last, the map is looked at then; and where several may flow, it waits for one
    that is not under way yet (one that ends before it has offered anything looks for who waits for the others).
    """
    waiter = (frame, j)
    pending = [(at, may_flow) for _, at, may_flow in inputs_of(frame, j) if frame.regs[at] is PENDING]
    others = [at for at, may_flow in pending if not may_flow]
    if not others:
        gate = frame.block.gates.get(j)
        if gate is not None and gate_reason(frame, j, gate, work, waiter) is PENDING:
            return False
        givers = givers_of(run.under_way, frame, j)
        if givers is not None:
            run.pipes[waiter] = {name: giver.flow_out() for name, giver in givers.items()}
            return True
        late = [at for at, _ in pending if (frame, at) not in run.under_way]
        others = late or [at for at, _ in pending]
    frame.park(others[-1], waiter)
    return False


def _is_open(frame: Frame, j: int) -> bool:
    """Say whether it is known already that the gate of instruction `j` lets it run."""
    gate = frame.block.gates.get(j)
    if gate is None:
        return True
    if gate.condition is not None and frame.regs[gate.condition] is PENDING:
        return False
    for number in gate.after:
        place, register, _ = order_frame(frame, number)
        if place.regs[register] is PENDING:
            return False
    if any(frame.regs[reference] is PENDING for _, reference in gate.amounts):
        return False
    return gate_reason(frame, j, gate, [], None) is None


class Readers:
    """How often each register of a block is read, and by which maps."""

    __slots__ = ("by_maps", "by_streams", "counts")

    def __init__(self, block: Block) -> None:
        self.counts: Counter[int | None] = Counter([block.root, block.root])  # the root is read from outside
        self.by_maps: dict[int, list[int]] = {}
        self.by_streams: dict[int, dict[int, int]] | None = None
        """Which calls read a register as a stream, and how often; found when it is first asked for."""
        for j in range(len(block)):
            references = block.references(j)
            self.counts.update(references)
            if block.ops[j] == MAP:
                for at in dict.fromkeys(references):
                    self.by_maps.setdefault(at, []).append(j)
        for router in block.routes.values():
            self.counts.update([*router.routes.values(), router.default])
        for gate in block.gates.values():
            self.counts.update((gate.condition, gate.otherwise))
