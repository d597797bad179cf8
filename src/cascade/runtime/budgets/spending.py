"""Spending: one attempt of a call that has a budget, or goes on in a loop that has one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from cascade.runtime.budgets.account import Account, SpendingClock, accounts_here
from cascade.runtime.frames.call import Call
from cascade.runtime.run.deadlock import give_up, hold
from cascade.runtime.run.state import RunState
from cascade.spec.budgets import Budget
from cascade.spec.gate import Gate

__all__ = ["SpendingCall", "spent", "spent_by_run", "who_is"]

T = TypeVar("T")


class SpendingCall(Protocol):
    """What is asked of a call with a budget."""

    run: RunState
    call: Call
    gate: Gate
    clock: Any

    @property
    def place(self) -> tuple[RunState, Call] | None:
        """What goes on; None: a sub-flow, in which others do."""


S = TypeVar("S", bound=SpendingCall)


async def spent(managed: S, work: Callable[[S], Awaitable[Any]]) -> Any:
    """Do the work of one attempt, for as long as its budgets last.

    Raises:
        BudgetError: one of them is used up.
    """
    run, call = managed.run, managed.call
    accounts = _accounts(managed)
    if managed.place is not None:
        who = who_is(run, call)
        for account in accounts:
            account.step(who)
    clock = _clock(managed, accounts)
    for account in accounts:
        hold(account, run)
        account.clock = clock
    failure: BaseException | None = None
    try:
        value = await work(managed)
    except BaseException as error:
        failure = error
    try:
        for account in reversed(accounts):
            give_up(account)
            account.clock = None
        if clock is not None:
            clock.stop()
            clock.task = managed.clock = None
            late = None
            used = clock.used
            for account in accounts:
                account.seconds += used
                if account.left is not None and account.left <= 0:
                    late = account
            if clock.is_late(failure) and (late := late or _shortest(accounts)) is not None:
                raise _late(late, failure)
        if failure is not None:
            raise failure
    finally:
        failure = None  # the traceback leads here
        if run.journal is not None:
            who = who_is(run, call)
            for account in (*accounts, *[each for each in accounts_here() if each.run is run]):
                account.settle(who)
    return value


async def spent_by_run(run: RunState, budget: Budget, work: Coroutine[Any, Any, T]) -> T:
    """Do the work of a whole run, which has a budget of steps and costs."""
    account = Account(budget, f"run {run.id!r}", is_one=False)
    if run.journal is not None:
        run.journal.keep_account(account, None, 0)
    hold(account, run)
    try:
        return await work
    finally:
        give_up(account)


def who_is(run: RunState, call: Call) -> str:
    """Return what events call the node of a call."""
    return call.instance(run.names).site_of(call.suffix).task_id


def _accounts(managed: SpendingCall) -> list[Account]:
    """Return the accounts of the agents that an attempt is one of: of its loop, and its own."""
    run, call, budget = managed.run, managed.call, managed.gate.terms.budget
    known: dict[Any, Account] | None = call.accounts
    if known is None:
        known = call.accounts = {}
    if budget is not None and budget not in known:
        account = known[budget] = Account(budget, run.described(call), managed.place is not None)
        if run.journal is not None:
            run.journal.keep_account(account, call.home(), _first(call, budget))
    return list(known.values())


def _first(call: Call, budget: Budget) -> int:
    """Return what tells a budget from the others of a loop: the first state that has it."""
    gates = call.activation.blueprint.graph.gates.items()
    return min([number for number, gate in gates if gate.terms.budget == budget], default=call.number)


def _shortest(accounts: list[Account]) -> Account | None:
    timed = [account for account in accounts if account.left is not None]
    return min(timed, key=lambda account: account.left or 0.0, default=None)


def _clock(managed: SpendingCall, accounts: list[Account]) -> SpendingClock | None:
    """Begin the clock of an attempt, if time counts."""
    shortest = _shortest(accounts)
    if shortest is None or shortest.left is None:
        return None
    if shortest.left <= 0:
        raise _late(shortest, None)
    clock = managed.clock = SpendingClock(managed.run, managed.call.scope, shortest.left)
    clock.task = asyncio.current_task()
    clock.start()
    return clock


def _late(account: Account, failure: BaseException | None) -> BaseException:
    late = account.spent_all(f"{account.budget.seconds:g} s of running time")
    late.__cause__ = None if isinstance(failure, asyncio.CancelledError) else failure
    return late
