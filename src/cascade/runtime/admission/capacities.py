"""Capacities: how much of each named thing calls may hold at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cascade.errors import ConstraintError
from cascade.spec.blueprint import Blueprint
from cascade.spec.graph import Graph
from cascade.spec.policies import is_amount

__all__ = ["Capacities"]

ROUNDING = 1e-9
"""What shares of a capacity this close to each other count as equal: 1 - 0.9 is not quite 0.1."""


class Capacities:
    """The `system_resources` of an engine, and what of them is free."""

    def __init__(self, capacities: Mapping[str, float]) -> None:
        for name, amount in capacities.items():
            if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not amount >= 0:
                raise ConstraintError(
                    f"system_resources: the capacity of {name!r} is a number of 0 or more, not {amount!r}"
                )
        self.whole: dict[str, float] = dict(capacities)
        self.free: dict[str, float] = dict(capacities)

    def check(self, blueprint: Blueprint, held: Mapping[str, float] | None = None) -> None:
        """Raise ConstraintError for a node, in a sub-flow too, that is declared to need more than there is.

        Args:
            held: what a sub-flow around holds: of that the nodes inside have their shares.
        """
        waiting = [(blueprint, held)] if self.whole else []
        while waiting:
            inner, held = waiting.pop()
            for i, gate in inner.graph.gates.items():
                if gate.terms.constraints is not None:
                    for name, amount in gate.terms.constraints.amounts.items():
                        self._check_one(inner.graph, i, name, amount, held)
                    for name, _ in gate.amounts:
                        self._check_one(inner.graph, i, name, 0, held)
            for number, below in inner.subflows.items():
                around = inner.graph.gates.get(number)
                if around is None or around.terms.constraints is None:
                    waiting.append((below, held))
                else:  # of lazy amounts it is only known that there will be some
                    lazy = {name: float("inf") for name, _ in around.amounts}
                    waiting.append((below, around.terms.constraints.amounts | lazy))

    def _check_one(self, graph: Graph, i: int, name: str, amount: float, held: Mapping[str, float] | None) -> None:
        if amount > self.whole.get(name, amount):
            self._refuse(graph, i, name, amount)
        if held is not None and name in self.whole and (name not in held or amount > held[name]):
            has = f"only {name}={held[name]:g}" if name in held else f"no {name}"
            needs = f"{name}={amount}" if amount else name
            raise ConstraintError(
                f"{graph.name(i)} (declared at {graph.declared(i)}) needs {needs}, but the sub-flow around it holds "
                f"{has}: what is inside shares what the sub-flow holds; give the sub-flow with_constraints({name}=...) "
                "enough of it"
            )

    def check_given(self, graph: Graph, i: int, given: Mapping[str, Any], held: Mapping[str, float] | None) -> None:
        """Raise ConstraintError for amounts of node `i` that were lazy, if they are none or more than there is."""
        for name, amount in given.items():
            if not is_amount(amount):
                raise ConstraintError(
                    f"{graph.name(i)} (declared at {graph.declared(i)}) is to hold {name}={amount!r}, as its lazy "
                    "amount turned out; an amount is a number above zero"
                )
            self._check_one(graph, i, name, amount, held)

    def _refuse(self, graph: Graph, i: int, name: str, amount: float) -> None:
        raise ConstraintError(
            f"{graph.name(i)} (declared at {graph.declared(i)}) needs {name}={amount}, but the engine has "
            f"{self.whole[name]} of it: it could never run; lower the need or raise system_resources"
        )

    def open_share(self, amounts: Mapping[str, float], whose: str) -> dict[str, str]:
        """Make capacities of what a sub-flow holds, for the calls inside it; return what each name is called there."""
        share = {}
        for name, amount in amounts.items():
            if name in self.whole:
                inner = f"{name} of {whose}"
                while inner in self.whole:
                    inner += "'"
                share[name] = inner
                self.whole[inner] = self.free[inner] = amount
        return share

    def close_share(self, share: Mapping[str, str]) -> None:
        """Take the capacities of a share away."""
        for inner in share.values():
            del self.whole[inner], self.free[inner]

    def held(self, share: Mapping[str, str] | None) -> dict[str, float] | None:
        """Return how much a sub-flow holds of what."""
        return None if share is None else {name: self.whole[inner] for name, inner in share.items()}

    def needed(
        self, amounts: Mapping[str, float] | None, share: Mapping[str, str] | None = None
    ) -> Mapping[str, float]:
        """Return the amounts of what is limited, in a sub-flow of what it holds; names without a capacity are not."""
        if not amounts:
            return {}
        if share is not None:
            amounts = {share.get(name, name): amount for name, amount in amounts.items()}
        if amounts.keys() <= self.free.keys():
            return amounts
        return {name: amount for name, amount in amounts.items() if name in self.free}

    def fit(self, needed: Mapping[str, float], held_back: Collection[str] = ()) -> bool:
        """Say whether all of it is free, and none of it held back for somebody else."""
        free, whole = self.free, self.whole
        for name, amount in needed.items():
            if amount > free[name] + ROUNDING * whole[name] or name in held_back:
                return False
        return True

    def take(self, needed: Mapping[str, float]) -> None:
        """Take what is free."""
        for name, amount in needed.items():
            self.free[name] = self._round(name, self.free[name] - amount)

    def give_back(self, needed: Mapping[str, float]) -> None:
        """Give back what was taken."""
        for name, amount in needed.items():
            self.free[name] = self._round(name, self.free[name] + amount)

    def _round(self, name: str, amount: float) -> float:
        """Keep sums of fractions from drifting: what is within rounding of a bound is the bound."""
        whole = self.whole[name]
        if abs(amount) <= ROUNDING * whole:
            return 0
        return whole if abs(amount - whole) <= ROUNDING * whole else amount
