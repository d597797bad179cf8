"""A solver that plans ahead: the order in which a graph finishes early within the capacities (extra: `csp`).

It gives the graph to OR-tools' CP-SAT as a scheduling problem: each call an interval, inputs before readers, and no
more of each capacity in use at once than there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import Any

from cascade.errors import ConstraintError, MissingExtraError
from cascade.spec.graph import Graph
from cascade.spec.lazy import LazyResult
from cascade.spec.operations import CALLN, MAP, SUBFLOW

__all__ = ["CSPSolver", "seconds_of"]

TAG = "seconds:"
RESOLUTION = 1_000
"""The longest estimate is planned in so many steps at the most; amounts likewise."""


def seconds_of(call: LazyResult[Any]) -> float:
    """Return how long a call is thought to take: its task's tag `seconds:<number>`, or else 1.

    Raises:
        ConstraintError: the tag holds no number of 0 or more.
    """
    for tag in call.task.tags:
        if isinstance(tag, str) and tag.startswith(TAG):
            try:
                value = float(tag[len(TAG) :])
            except ValueError:
                value = -1.0
            if 0 <= value < math.inf:
                return value
            raise ConstraintError(
                f"task {call.task.name!r} (declared at {call.task.declared}) has the tag {tag!r}; behind "
                f"{TAG!r} comes a number of seconds, such as 'seconds:2.5'"
            )
    return 1.0


class CSPSolver:
    """Orders a graph so that it finishes early within capacities.

    How long calls take is not known beforehand, so it goes by estimates. The order is a preference, as with every
    solver: among the calls that become ready together it says who comes first to ask for a share of the capacities. It
    keeps nothing idle for a call that is not ready, and who has been waiting longer is still served first.

    Args:
        system_resources: the capacities, as the engine has them.
        estimate: gives the seconds (0 or more) that a declared call takes; by default `seconds_of`: the tag
            `seconds:<number>` of its task, else 1. What is no call takes none; a map counts as one call.
        time_limit: seconds that the search may take; the best order found until then is used.
        workers: threads of the search. One, the default, finds the same order each time unless it runs out of time.

    Raises:
        ConstraintError: an option that makes no sense; when solving, a need beyond the capacity or a bad estimate.
        MissingExtraError: when solving without the packages of the extra `csp`.
    """

    def __init__(
        self,
        system_resources: Mapping[str, float],
        *,
        estimate: Callable[[LazyResult[Any]], float] = seconds_of,
        time_limit: float = 5.0,
        workers: int = 1,
    ) -> None:
        for name, amount in system_resources.items():
            if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not 0 <= amount < math.inf:
                raise ConstraintError(f"CSPSolver: the capacity of {name!r} is a number of 0 or more, not {amount!r}")
        if isinstance(time_limit, bool) or not isinstance(time_limit, (int, float)) or not 0 < time_limit < math.inf:
            raise ConstraintError(f"CSPSolver: time_limit is a number of seconds above zero, not {time_limit!r}")
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ConstraintError(f"CSPSolver: workers is a whole number of 1 or more, not {workers!r}")
        self.system_resources: dict[str, float] = dict(system_resources)
        self.estimate = estimate
        self.time_limit = time_limit
        self.workers = workers

    def solve(self, graph: Graph) -> Iterable[int] | None:
        """Return the nodes that run for certain in the order in which the best plan found starts them.

        None, for the graph's own order, if by the estimates an engine would be done later with any other.
        """
        strict = range(graph.strict)
        seconds = [self._seconds(graph, i) for i in strict]
        needs = [self._needs(graph, i) for i in strict]
        before = [_inputs(graph, i) for i in strict]
        if not any(needs):
            return None  # with room for everybody any order is as good
        lengths = _steps(seconds)
        rooms, amounts = _amounts(needs, self.system_resources)
        first = _at_once(lengths, amounts, before, rooms)
        found = _plan(lengths, amounts, before, rooms, first, self.time_limit, self.workers)
        tails = _tails(lengths, before)
        orders = [[*strict]]
        for starts in (first, found):
            # A node is numbered behind its inputs, so what starts at the same time stays in a possible order.
            rank = {i: (start, -tail, i) for i, (start, tail) in enumerate(zip(starts, tails, strict=True))}
            orders.append(_ordered(before, rank))
        best = min(reversed(orders), key=lambda order: _end(order, lengths, amounts, before, rooms))
        return None if best is orders[0] else best

    def _seconds(self, graph: Graph, i: int) -> float:
        if graph.kinds[i] > CALLN and graph.kinds[i] not in (MAP, SUBFLOW):
            return 0.0
        value = self.estimate(graph.nodes[i])
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise ConstraintError(
                f"the estimate for {graph.name(i)} (declared at {graph.declared(i)}) is {value!r}; it is a number of "
                "seconds of 0 or more"
            )
        return float(value)

    def _needs(self, graph: Graph, i: int) -> dict[str, float]:
        gate = graph.gates.get(i)
        if gate is None or gate.terms.constraints is None:
            return {}
        found = {}
        for name, amount in gate.terms.constraints.amounts.items():
            if name in self.system_resources:
                if amount > self.system_resources[name]:
                    raise ConstraintError(
                        f"{graph.name(i)} (declared at {graph.declared(i)}) needs {name}={amount}, but CSPSolver was "
                        f"told of {self.system_resources[name]}: it could never run; lower the need or raise it"
                    )
                found[name] = amount
        return found


def _inputs(graph: Graph, i: int) -> list[int]:
    """Return the nodes that must have run before node `i`, among those that run for certain."""
    found = list(graph.references(i))
    gate = graph.gates.get(i)
    if gate is not None:
        found += gate.after
        found += [at for _, at in gate.amounts]
        found += [gate.condition] if gate.condition is not None else []
    return [at for at in dict.fromkeys(found) if 0 <= at < graph.strict]


def _tails(lengths: list[int], before: list[list[int]]) -> list[int]:
    """Return for each node how long the longest way from its start to an end of the graph takes."""
    tails = list(lengths)
    for i in range(len(lengths) - 1, -1, -1):
        for at in before[i]:
            tails[at] = max(tails[at], lengths[at] + tails[i])
    return tails


def _plan(
    lengths: list[int],
    amounts: list[dict[str, int]],
    before: list[list[int]],
    rooms: dict[str, int],
    first: list[int],
    time_limit: float,
    workers: int,
) -> list[int]:
    """Return when each node starts in the best plan found, in steps."""
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise MissingExtraError("CSPSolver needs OR-tools; install it: pip install cascade-py[csp]") from error
    model: Any = cp_model.CpModel()
    horizon = sum(lengths)
    starts = [model.new_int_var(0, horizon, "") for _ in lengths]
    intervals = [model.new_fixed_size_interval_var(s, length, "") for s, length in zip(starts, lengths, strict=True)]
    for i, inputs in enumerate(before):
        for at in inputs:
            model.add(starts[i] >= starts[at] + lengths[at])
    for name, room in rooms.items():
        users = [i for i, amount in enumerate(amounts) if name in amount and lengths[i]]
        model.add_cumulative([intervals[i] for i in users], [amounts[i][name] for i in users], room)
    for start, at_first in zip(starts, first, strict=True):
        model.add_hint(start, at_first)
    end = model.new_int_var(0, horizon, "")
    for start, length in zip(starts, lengths, strict=True):
        model.add(end >= start + length)
    model.minimize(end)
    search: Any = cp_model.CpSolver()
    search.parameters.max_time_in_seconds = time_limit
    search.parameters.num_workers = workers
    search.parameters.random_seed = 1
    if search.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return first
    return [search.value(start) for start in starts]


def _steps(seconds: list[float]) -> list[int]:
    """Return lengths in whole steps: exactly, if they are whole numbers of seconds and not too many."""
    longest = max(seconds, default=0.0)
    if longest <= RESOLUTION and all(each.is_integer() for each in seconds):
        return [int(each) for each in seconds]
    step = longest / RESOLUTION
    return [math.ceil(each / step - 1e-9) for each in seconds]


def _amounts(
    needs: list[dict[str, float]], capacities: Mapping[str, float]
) -> tuple[dict[str, int], list[dict[str, int]]]:
    """Return capacities and needs in whole units: exactly, if they are whole numbers."""
    rooms: dict[str, int] = {}
    amounts: list[dict[str, int]] = [{} for _ in needs]
    for name in {name for need in needs for name in need}:
        given = [capacities[name], *(need[name] for need in needs if name in need)]
        scale = 1.0 if all(float(each).is_integer() for each in given) else RESOLUTION / capacities[name]
        rooms[name] = math.ceil(capacities[name] * scale - 1e-6)
        for need, amount in zip(needs, amounts, strict=True):
            if name in need:
                amount[name] = math.ceil(need[name] * scale - 1e-6)
    return rooms, amounts


def _at_once(
    lengths: list[int], amounts: list[dict[str, int]], before: list[list[int]], rooms: dict[str, int]
) -> list[int]:
    """Return when each node starts if each starts as soon as it can, those with most behind them first.

    It is where the search begins, so that little time gives a fair plan already.
    """
    tails = _tails(lengths, before)
    left, readers = _readers(before)
    ready = sorted((-tails[i], i) for i, count in enumerate(left) if not count)
    running: list[tuple[int, int]] = []
    free, starts, now = dict(rooms), [0] * len(lengths), 0
    while ready or running:
        waiting = []
        for rank, i in ready:
            if all(amount <= free[name] for name, amount in amounts[i].items()):
                starts[i] = now
                heappush(running, (now + lengths[i], i))
                for name, amount in amounts[i].items():
                    free[name] -= amount
            else:
                waiting.append((rank, i))
        ready, now = waiting, running[0][0]
        while running and running[0][0] == now:
            _, i = heappop(running)
            for name, amount in amounts[i].items():
                free[name] += amount
            for reader in readers[i]:
                left[reader] -= 1
                if not left[reader]:
                    ready.append((-tails[reader], reader))
        ready.sort()
    return starts


def _readers(before: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Return for each node how many inputs it has, and who reads it."""
    readers: list[list[int]] = [[] for _ in before]
    for i, inputs in enumerate(before):
        for at in inputs:
            readers[at].append(i)
    return [len(inputs) for inputs in before], readers


def _end(
    order: list[int],
    lengths: list[int],
    amounts: list[dict[str, int]],
    before: list[list[int]],
    rooms: dict[str, int],
) -> int:
    """Return when all is done if an engine goes by an order: who asks first is served first, for each capacity."""
    left, readers = _readers(before)
    free, now = dict(rooms), 0
    waiting = [i for i in order if not left[i]]
    running: list[tuple[int, int]] = []
    while waiting or running:
        held: set[str] = set()
        still = []
        for i in waiting:
            if held.isdisjoint(amounts[i]) and all(amount <= free[name] for name, amount in amounts[i].items()):
                heappush(running, (now + lengths[i], i))
                for name, amount in amounts[i].items():
                    free[name] -= amount
            else:
                held.update(amounts[i])
                still.append(i)
        waiting = still
        now, i = heappop(running)
        for name, amount in amounts[i].items():
            free[name] += amount
        for reader in readers[i]:
            left[reader] -= 1
            if not left[reader]:
                waiting.append(reader)
    return now


def _ordered(before: list[list[int]], rank: dict[int, tuple[int, int, int]]) -> list[int]:
    """Return all nodes by rank, none before its inputs."""
    left, readers = _readers(before)
    ready = [rank[i] for i, count in enumerate(left) if not count]
    heapify(ready)
    order = []
    while ready:
        i = heappop(ready)[2]
        order.append(i)
        for reader in readers[i]:
            left[reader] -= 1
            if not left[reader]:
                heappush(ready, rank[reader])
    return order
