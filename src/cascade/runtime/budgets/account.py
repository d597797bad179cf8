"""Accounts: what one agent has spent, and who in it.

An account is held while an attempt of its agent goes on, as what a call was let in with is (`run.deadlock.hold`): so
code finds the accounts around it by a context variable, in threads and in all that is begun from it, also where a call
has waited to be let in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

from cascade.errors import BudgetError
from cascade.runtime.frames.cancel_scope import CancelScope, EndableRun, TimedScope
from cascade.runtime.run.awaiters import held_here
from cascade.spec.budgets import Budget

__all__ = ["Account", "SpendingClock", "accounts_here", "pause", "resume"]

MOST_NAMED = 5
MOST_KEPT = 20
"""So many of those who have spent most are recorded."""


class Account:
    """What one agent has spent of its budget; a holder, as a ticket is."""

    __slots__ = (
        *("around", "begun", "budget", "clock", "cost", "is_one", "keep", "lock", "owner", "place", "run", "seconds"),
        *("spenders", "steps"),
    )

    def __init__(self, budget: Budget, owner: str, is_one: bool) -> None:
        self.budget = budget
        self.owner = owner
        """The agent, and where it was declared."""
        self.is_one = is_one
        """Whether it is a call or a loop, of which one task waits when it does."""
        self.steps = 0
        self.seconds = 0.0
        """Of the attempts that have ended."""
        self.cost = 0.0
        self.spenders: dict[str, tuple[int, float]] = {}
        """Steps and costs by the calls that they were spent in."""
        self.clock: SpendingClock | None = None
        """Of the attempt that goes on, if time counts."""
        self.begun: dict[str, tuple[int, float]] = {}
        """Of what was spent: steps and costs of attempts that have not ended, by the calls that they are of."""
        self.keep: Callable[[dict[str, Any]], None] | None = None
        """Records what was spent; None: the run is not recorded."""
        self.lock = Lock()  # threads of one agent may spend at once
        self.run: Any = None
        self.place: Any = None
        self.around: Any = None

    def is_at(self, _: object) -> bool:
        """Say that it is no call: nobody waits for it."""
        return False

    def step(self, who: str) -> None:
        """Count a step.

        Raises:
            BudgetError: it would be one too many.
        """
        most = self.budget.steps
        with self.lock:
            if most is not None and self.steps >= most:
                raise self.spent_all(f"{most:,} steps")
            self._add(who, 1, 0.0)

    def spend(self, amount: float, who: str) -> None:
        """Add a cost.

        Raises:
            BudgetError: that is more than there was.
        """
        most = self.budget.cost
        with self.lock:
            self._add(who, 0, amount)
            if most is not None and self.cost > most:
                raise self.spent_all(f"a cost of {most:g}")

    def _add(self, who: str, steps: int, cost: float) -> None:
        self.steps += steps
        self.cost += cost
        for spent in (self.spenders,) if self.keep is None else (self.spenders, self.begun):
            before = spent.get(who, (0, 0.0))
            spent[who] = before[0] + steps, before[1] + cost

    def settle(self, who: str) -> None:
        """Record what was spent, as an attempt of a call has ended: of others that have not, nothing is counted."""
        if self.keep is not None:
            with self.lock:
                self.begun.pop(who, None)
                self.keep(self._settled())

    def _settled(self) -> dict[str, Any]:
        begun = list(self.begun.values())
        spenders = sorted(self.spenders.items(), key=lambda one: (-one[1][1], -one[1][0], one[0]))[:MOST_KEPT]
        return {
            "steps": self.steps - sum([steps for steps, _ in begun]),
            "cost": self.cost - sum([cost for _, cost in begun]),
            "seconds": self.seconds + (0.0 if self.clock is None else self.clock.used),
            "spenders": [[who, *spent] for who, spent in spenders],
        }

    def restore(self, settled: dict[str, Any]) -> None:
        """Go on from what an earlier start has recorded."""
        self.steps, self.cost, self.seconds = int(settled["steps"]), float(settled["cost"]), float(settled["seconds"])
        self.spenders = {who: (int(steps), float(cost)) for who, steps, cost in settled["spenders"]}

    @property
    def left(self) -> float | None:
        """So many seconds may pass still; None: any number."""
        return None if self.budget.seconds is None else self.budget.seconds - self.seconds

    def spent_all(self, what: str) -> BudgetError:
        """Return the error for an agent that has used up its budget."""
        by_cost = what.startswith("a cost")
        spenders = sorted(self.spenders.items(), key=lambda one: (-one[1][by_cost], one[0]))
        told = [f"{who} {_told(*spent)}" for who, spent in spenders[:MOST_NAMED]]
        if len(spenders) > MOST_NAMED:
            told.append(f"{len(spenders) - MOST_NAMED} more")
        return BudgetError(
            f"{self.owner} has used up its budget of {what}; spent so far: {_told(self.steps, self.cost)}"
            + (f", by {', '.join(told)}" if told else "")
        )


def _told(steps: int, cost: float) -> str:
    parts = [f"{steps:,} step{'' if steps == 1 else 's'}"] if steps else []
    parts += [f"a cost of {cost:g}"] if cost else []
    return " and ".join(parts) or "nothing"


class SpendingClock(TimedScope):
    """The time that an attempt may take; it stands still while its call waits in a channel."""

    __slots__ = ("_since", "_waits")

    def __init__(self, run: EndableRun | None, around: CancelScope | None, seconds: float) -> None:
        TimedScope.__init__(self, run, around, seconds)
        self._waits = 0
        self._since = 0.0
        """When it came to stand still."""

    def pause(self) -> None:
        """Stand still until as many `resume`s."""
        self._waits += 1
        if self._waits == 1:
            self._since = self.loop.time()
            if self._handle is not None:
                self._handle.cancel()

    def resume(self) -> None:
        """Take one `pause` back."""
        self._waits -= 1
        if self._waits == 0 and self._started is not None and self.seconds is not None:
            self._started += self.loop.time() - self._since
            if not (self._is_over or self.expired):
                left = self.seconds - self.used
                self._handle = self.loop.call_later(max(left, 0.0), self._expire)

    @property
    def used(self) -> float:
        """How many seconds have passed."""
        if self._started is None:
            return 0.0
        return (self._since if self._waits else self.loop.time()) - self._started

    def is_past(self) -> bool:
        """Say whether the time is up, also for work that held the event loop, so that no timer came."""
        return self.expired or (self.seconds is not None and self.used >= self.seconds)


def accounts_here() -> Iterator[Account]:
    """Go through the accounts around this code, from the inside outwards."""
    held = held_here.get()
    while held is not None:
        if isinstance(held, Account):
            yield held
        held = held.around


def _clocks_here(run: object) -> Iterator[SpendingClock]:
    """Go through the clocks of calls and loops of a run that wait when this code does."""
    for account in accounts_here():
        if account.run is not run or not account.is_one:
            return
        if account.clock is not None:
            yield account.clock


def pause(run: object) -> None:
    """Have the clocks stand still of what waits when this code does."""
    for clock in _clocks_here(run):
        clock.pause()


def resume(run: object) -> None:
    """Have the clocks go on of what waits no more when this code does not."""
    for clock in _clocks_here(run):
        clock.resume()
