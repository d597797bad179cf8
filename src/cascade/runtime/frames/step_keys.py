"""The keys of steps: where in the graph a call stands, whatever came first in time.

A key is the way to a node: the blueprint or the sub-flows that it is in, each with the loop that runs it, the node's
number in its own graph, and the items of maps around it. `4` is node 4 of the target's graph, `4[17]` its item 17;
`3>5!` the node 5 that the jumps of the loop at node 3 lead to, `3>5` node 5 as it feeds an entry of that loop;
`7/2` node 2 of the sub-flow that node 7 is, `7~2/2` the same in its second attempt; `3>"train"/0` node 0 of the
blueprint "train", to which a tail call of the loop at node 3 leads. Which entry of the loop a step belongs to is no
part of its key: it stands beside it, so that a later entry takes the place of the one before, and a loop needs
constant space.

Numbers are those of the graph that the run was begun with: where it goes on with another one (`on_change="adapt"`),
what matches goes by what it went by (`Numbering`).

(The ids of events and errors are for people. They number nodes of one name through all blueprints that a run has come
to, in the order in which it came to them, so they cannot be keys.)
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import uuid4

from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import NodeInstance
from cascade.runtime.frames.node_ids import SubflowKey
from cascade.spec.operations import MAP

__all__ = ["About", "Numbering", "StepKeys", "about", "number_of"]

_process = uuid4().hex
"""What tells the runs of this process that were given no `run_id` from those of others."""
LONGEST = 200
"""A way longer than that goes by its digest, behind the number of the node that it begins at: far inside of sub-flows
it would be longer than what is recorded."""


class About(NamedTuple):
    """What is known of a call, in a form that crosses into other processes."""

    run_id: str
    task_id: str
    attempt: int
    iteration: int
    step: str
    """What its key for the outside world is made of."""
    module: str
    """Where its function stands."""
    carrier: dict[str, str] | None = None
    """The trace that it belongs to."""


def about(run: Any, call: Call, attempt: int) -> About:
    """Return what is known of a call, on the thread of the event loop, or once the nodes of the run are named."""
    keys = StepKeys() if run.journal is None else run.journal.keys
    name = run.id
    if name.startswith(f"run-{os.getpid():x}-"):  # counted in each process: others have runs of that name
        name = f"{_process} {name}"
    task: Any = getattr(call.activation.blueprint.graph.nodes[call.number], "task", None)
    module = getattr(getattr(task, "func", None), "__module__", None) or "cascade"
    task_id = call.instance(run.names).site_of(call.suffix).task_id
    return About(run.id, task_id, attempt, call.iteration, f"{name}\0{keys.lasting(call)}", module, run.carrier())


class Numbering:
    """What nodes go by in keys, in the graph of a run and in those of its sub-flows, where that has been adapted.

    Args:
        keys: of each graph, in the order of its nodes; None: each goes by its own number.
        insides: what sub-flows go by on the way to what is inside of them, where that is not the same.
        inner: the graph of each sub-flow, by the graph around it and its number there.
    """

    def __init__(
        self,
        keys: Sequence[Sequence[int] | None],
        insides: Sequence[Mapping[int, int]],
        inner: Mapping[tuple[int, int], int],
    ) -> None:
        self.keys = keys
        self.insides = insides
        self.inner = inner
        self._nodes = [None if some is None else {key: i for i, key in enumerate(some)} for some in keys]
        self._outer = [{key: i for i, key in some.items()} for some in insides]

    def key(self, graph: int, number: int) -> int:
        """Return what a node goes by."""
        keys = self.keys[graph]
        return number if keys is None else keys[number]

    def inside(self, graph: int, number: int) -> int:
        """Return what a sub-flow goes by on the way to what is inside of it."""
        found = self.insides[graph].get(number)
        return self.key(graph, number) if found is None else found

    def node(self, graph: int, key: int) -> int | None:
        """Return the number of the node that goes by this; None: there is none any more."""
        nodes = self._nodes[graph]
        return key if nodes is None else nodes.get(key)

    def outer(self, graph: int, key: int) -> int | None:
        """Return the number of the sub-flow that goes by this on the way to what is inside; None: there is none."""
        found = self._outer[graph].get(key)
        if found is None:
            found = self.node(graph, key)
            found = None if found in self.insides[graph] else found
        return None if found is None or (graph, found) not in self.inner else found


class StepKeys:
    """The keys of the steps of one run; what they begin with is worked out once."""

    def __init__(self, numbering: Numbering | None = None) -> None:
        self._programs: dict[Any, str] = {}  # empty as long as nothing is in them: many runs only wait
        self._loops: dict[NodeInstance, str] = {}
        self._numbering = numbering
        self.items: dict[str, Mapping[int, int]] = {}
        """What the items of maps go by, by the keys of these, where they are known by their content."""
        self._graphs: dict[Any, int | None] = {}
        self.own: Sequence[int] | None = None if numbering is None else numbering.keys[0]
        """What the nodes of the run's own graph go by; None: each by its number."""

    def of(self, call: Call) -> str:
        """Return the key of a call."""
        return self.place(call) + self.suffix(call)

    def place(self, call: Call) -> str:
        """Return the key of a call without the items that it is in."""
        program = self.program(call.activation.key)
        number = self.number(call.activation.key, call.number)
        return _place(self.loop(call.loop), program, number, call.jumped)

    def suffix(self, call: Call) -> str:
        """Return what the items that a call is in go by: `[17]` is item 17, where that is known by its place."""
        return self._known(call) if self.items and call.suffix else call.suffix

    def _known(self, call: Call) -> str:
        """Return what items go by of which some are known by their content."""
        parts, found = [int(each) for each in re.findall(r"\[([0-9]+)\]", call.suffix)], ""
        maps, loop, key = [self.place(call)], call.loop, call.activation.key
        while True:
            if loop is None:
                if not isinstance(key, SubflowKey):
                    break
                loop, key = key.loop, key.around
                continue
            if loop.graph.kinds[loop.number] == MAP:
                number = self.number(loop.key, loop.number)
                maps.append(_place(self.loop(loop.loop), self.program(loop.key), number, loop.entered))
            key, loop = loop.key, loop.loop
        places = maps[::-1][: len(parts)] if len(maps) > len(parts) else maps[::-1]
        for place, part in zip(places, parts, strict=True):
            found += f"[{self.items.get(place + found, {}).get(part, part)}]"
        return found

    def number(self, key: object, number: int) -> int:
        """Return what a node of an activation goes by."""
        graph = None if self._numbering is None else self._graph(key)
        return number if graph is None or self._numbering is None else self._numbering.key(graph, number)

    def node(self, key: object, number: int) -> int:
        """Return the node of an activation that goes by a number that is recorded."""
        graph = None if self._numbering is None else self._graph(key)
        found = number if graph is None or self._numbering is None else self._numbering.node(graph, number)
        return number if found is None else found

    def _graph(self, key: object) -> int | None:
        """Return the graph of an activation; None: it is not part of the run's own program."""
        self._graphs.setdefault(None, 0)
        waiting = [key]
        while waiting:  # without recursion by how deep sub-flows are
            last = waiting[-1]
            if last in self._graphs:
                waiting.pop()
            elif not isinstance(last, SubflowKey) or self._numbering is None:
                self._graphs[last] = None
            elif last.around not in self._graphs:
                waiting.append(last.around)
            else:
                around = self._graphs[last.around]
                self._graphs[last] = None if around is None else self._numbering.inner[around, last.number]
        return self._graphs[key]

    def lasting(self, call: Call) -> str:
        """Return the key of a call and of the entry that it belongs to, wherever its loop was when the run went on."""
        if call.jumped and call.activation is call.frame.activation:
            home = Call(call.frame, call.register)
            home.suffix = call.suffix
            call, iteration = (home if home.number == call.number else call), call.iteration
        else:
            iteration = call.iteration
        return f"{self.of(call)}@{iteration}"

    def loop(self, instance: NodeInstance | None) -> str:
        """Return what the keys of all begin with that a loop runs."""
        if instance is None:
            return ""
        found = self._loops.get(instance)
        if found is None:
            around, program = self.loop(instance.loop), self.program(instance.key)
            place = _place(around, program, self.number(instance.key, instance.number), instance.entered)
            found = self._loops[instance] = _short(place + ">")
        return found

    def program(self, key: Any) -> str:
        """Return what the numbers of the nodes of an activation stand behind."""
        if key is None:
            return ""
        self._programs.setdefault(None, "")
        waiting = [key]
        while waiting:  # without recursion by how deep sub-flows are
            last = waiting[-1]
            if last in self._programs:
                waiting.pop()
            elif not isinstance(last, SubflowKey):
                self._programs[last] = json.dumps(last, ensure_ascii=False) + "/"
            elif last.around not in self._programs:
                waiting.append(last.around)
            else:
                tried = f"~{last.attempt}" if last.attempt > 1 else ""
                number, graph = last.number, None if self._numbering is None else self._graph(last.around)
                if graph is not None and self._numbering is not None:
                    number = self._numbering.inside(graph, number)
                place = f"{self.loop(last.loop)}{self._programs[last.around]}{number}{tried}/"
                self._programs[last] = _short(place)
        return self._programs[key]


def _place(loop: str, program: str, number: int, entered: bool) -> str:
    return f"{loop}{program}{number}{'!' if entered else ''}"


def _short(way: str) -> str:
    if len(way) <= LONGEST:
        return way
    return f"{number_of(way)}:{blake2b(way.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}{way[-1]}"


def number_of(key: str) -> int:
    """Return the node of the run's own graph that a step belongs to; -1 for what belongs to none."""
    found = re.match("[0-9]+", key)
    return int(found[0]) if found else -1
