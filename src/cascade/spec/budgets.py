"""Budgets: how much an agent may spend, be it a call, a loop, an item of a map or a sub-flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Budget", "budget_of", "budget_of_run", "check_cost"]


class Budget(NamedTuple):
    """What an agent may spend; None: as much as it likes."""

    steps: int | None = None
    """Attempts of calls; of a loop its entries, of a sub-flow those of the calls inside."""
    seconds: float | None = None
    """Time in which it runs."""
    cost: float | None = None
    """The sum of what `cs.current().spend(cost)` is given."""

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self._asdict().items() if value is not None)


def budget_of(steps: int | None, seconds: float | None, cost: float | None) -> Budget:
    """Return a budget.

    Raises:
        TypeError: nothing is given, or no numbers.
        ValueError: numbers that make no sense.
    """
    if steps is None and seconds is None and cost is None:
        raise TypeError("with_budget takes steps=, seconds= or cost=, at least one of them")
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool)):
        raise TypeError(f"with_budget(steps=...) takes a whole number, not {steps!r}")
    if steps is not None and steps < 1:
        raise ValueError(f"with_budget(steps=...) takes 1 or more, not {steps}")
    if cost is not None:
        check_cost(cost, "with_budget(cost=...)")
    if seconds is not None:
        check_cost(seconds, "with_budget(seconds=...)")
        if not seconds:
            raise ValueError("with_budget(seconds=...) takes a number of seconds above zero, not 0")
    return Budget(steps, seconds, cost)


def budget_of_run(given: object) -> Budget:
    """Return the budget of a whole run.

    Raises:
        TypeError, ValueError: it makes no sense.
    """
    if not isinstance(given, Mapping) or not given or not {*given} <= {"steps", "cost"}:
        raise TypeError(
            f'the budget of a run is a dict with "steps" and "cost", or one of them, not {given!r}; its seconds are '
            "timeout=..."
        )
    return budget_of(given.get("steps"), None, given.get("cost"))


def check_cost(cost: object, what: str) -> None:
    """See that a cost is a number of 0 or more.

    Raises:
        TypeError, ValueError: it is not.
    """
    if not isinstance(cost, (int, float)) or isinstance(cost, bool):
        raise TypeError(f"{what} takes a number, not {cost!r}")
    if not 0 <= cost < float("inf"):
        raise ValueError(f"{what} takes a finite number of 0 or more, not {cost!r}")
