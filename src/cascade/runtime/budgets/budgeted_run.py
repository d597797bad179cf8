"""Runs in which somebody has a budget: each call is looked at, as if somebody listened, and counted.

As a recorded run is, so that a run without budgets pays nothing, in emitted code or anywhere else.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from cascade.runtime.budgets.account import accounts_here
from cascade.runtime.budgets.spending import who_is
from cascade.runtime.frames.call import Call
from cascade.runtime.run.operations import Operations
from cascade.runtime.run.state import RunState

__all__ = ["Budgeted", "budgeted"]

if TYPE_CHECKING:
    Base = RunState
else:
    Base = object


class Budgeted(Base):
    """What a run does for the budgets in it, be it traced or not."""

    __slots__ = ()
    has_budgets = True

    def look_at_limits(self) -> None:
        """See whether some limit stands; each call is to be looked at, whoever listens."""
        super().look_at_limits()
        self.compiles_flows = self.compiles_loops = False
        self.look_at_each_call()

    def publish_started(self, call: Call) -> None:
        """Count a step of the agents around a call, and say that it begins."""
        self.step(call)
        super().publish_started(call)

    def publish_retry(self, call: Call, attempt: int, most: int, delay: float, error: BaseException) -> None:
        """Count one more, and say that it follows."""
        if self.journal is not None:
            self.settle(call)
        self.step(call)
        super().publish_retry(call, attempt, most, delay, error)

    def publish_finished(
        self, call: Call, status: str, seconds: float, error: BaseException | None, value: Any
    ) -> None:
        """Say that a call has ended, and have recorded what was spent."""
        if self.journal is not None:
            self.settle(call)
        super().publish_finished(call, status, seconds, error, value)

    def settle(self, call: Call) -> None:
        """Have the agents around a call record what they have spent, as an attempt of it has ended."""
        who = who_is(self, call)
        for account in accounts_here():
            if account.run is self:
                account.settle(who)

    def step(self, call: Call) -> None:
        """Count a step of the agents around a call.

        Raises:
            BudgetError: one of them has no step left.
        """
        who = ""
        for account in accounts_here():
            if account.run is self:
                who = who or who_is(self, call)
                account.step(who)


@cache
def budgeted(kind: type[RunState], operations: Operations[RunState]) -> tuple[type[RunState], Operations[Any]]:
    """Return a kind of run in which budgets count, and operations that let them."""

    class BudgetedRun(Budgeted, kind):  # type: ignore[misc, valid-type]
        """The state of a run in which somebody has a budget."""

        __slots__ = ()

    class BudgetedLoop(operations.loop):  # type: ignore[misc, name-defined]
        """A loop of such a run, each entry of which is looked at."""

        __slots__ = ()

        def make_transition(self, *edge: Any) -> None:
            """Learn no short way on: it would be a way around the account."""

    return BudgetedRun, operations._replace(loop=BudgetedLoop)
