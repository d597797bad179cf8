"""Capacities: what nodes hold while they run, given out first come first served."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping

from cascade.errors import ConstraintError
from cascade.spec.blueprint import Blueprint
from cascade.spec.graph import Graph

__all__ = ["Capacities"]


class Capacities:
    """The `system_resources` of an engine, and who waits for them.

    A need is granted whole or not at all. Who waits for a name holds back all that come later and want that
    name, so a large need is not starved by small ones; needs for other names pass.
    """

    def __init__(self, capacities: Mapping[str, float]) -> None:
        for name, amount in capacities.items():
            if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not amount >= 0:
                raise ConstraintError(
                    f"system_resources: the capacity of {name!r} is a number of 0 or more, not {amount!r}"
                )
        self.capacities = dict(capacities)
        self._free: dict[str, float] = dict(capacities)
        self._waiting: OrderedDict[asyncio.Future[None], dict[str, float]] = OrderedDict()

    def check(self, blueprint: Blueprint) -> None:
        """Raise ConstraintError for a node, in a sub-flow too, that needs more than there is."""
        waiting = [blueprint] if self.capacities else []
        while waiting:
            inner = waiting.pop()
            waiting += inner.subflows.values()
            for i, gate in inner.graph.gates.items():
                if gate.constraints is not None:
                    self._check_needs(inner.graph, i, gate.constraints.amounts)

    def _check_needs(self, graph: Graph, i: int, amounts: Mapping[str, float]) -> None:
        for name, amount in amounts.items():
            capacity = self.capacities.get(name)
            if capacity is not None and amount > capacity:
                raise ConstraintError(
                    f"{graph.name(i)} (declared at {graph.declared(i)}) needs {name}={amount}, but the engine has "
                    f"{capacity} of it: it could never run; lower the need or raise system_resources"
                )

    async def acquire(self, amounts: Mapping[str, float], blocked: Callable[[], None]) -> None:
        """Wait until all amounts are free, and take them. `blocked` is called once if there is a wait."""
        needed = {name: amount for name, amount in amounts.items() if name in self._free}
        held_back = any(name in waiting for waiting in self._waiting.values() for name in needed)
        if not held_back and self._fits(needed):
            self._take(needed)
            return
        blocked()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = needed
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(amounts)
            else:
                self._waiting.pop(turn, None)
                self._grant()
            raise

    def release(self, amounts: Mapping[str, float]) -> None:
        """Give amounts back, and grant what now fits."""
        for name, amount in amounts.items():
            if name in self._free:
                self._free[name] = self._round(name, self._free[name] + amount)
        self._grant()

    def _fits(self, needed: Mapping[str, float]) -> bool:
        return all(amount <= self._free[name] for name, amount in needed.items())

    def _take(self, needed: Mapping[str, float]) -> None:
        for name, amount in needed.items():
            self._free[name] = self._round(name, self._free[name] - amount)

    def _round(self, name: str, amount: float) -> float:
        """Keep sums of fractions from drifting: what is within rounding of a bound is the bound."""
        capacity = self.capacities[name]
        if abs(amount) <= 1e-9 * max(capacity, 1.0):
            return 0
        return capacity if abs(amount - capacity) <= 1e-9 * max(capacity, 1.0) else amount

    def _grant(self) -> None:
        passed: set[str] = set()
        granted = []
        for turn, needed in self._waiting.items():
            if turn.done():  # cancelled: it is about to leave, and would not come to take it
                continue
            if passed.isdisjoint(needed) and self._fits(needed):
                self._take(needed)
                granted.append(turn)
            else:
                passed.update(needed)
                if len(passed) == len(self._free):
                    break
        for turn in granted:
            del self._waiting[turn]
            turn.set_result(None)
