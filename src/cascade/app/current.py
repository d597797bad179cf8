"""Where a task is: its run, its node, its attempt. It is found when a task asks, and nothing is set before a call."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from hashlib import blake2b
from typing import Any

from cascade.adapters.executors import crossing, words
from cascade.runtime.budgets.account import accounts_here
from cascade.runtime.frames.step_keys import About, about
from cascade.runtime.run.awaiters import whereabouts
from cascade.spec.budgets import check_cost

__all__ = ["Current", "current"]


class Current:
    """The call of a task, as the task itself sees it; what `cs.current()` returns."""

    __slots__ = ("_about", "_logger", "_number", "_place", "attempt", "iteration", "run_id", "task_id")

    def __init__(self, known: About, place: Any) -> None:
        self.run_id: str = known.run_id
        """The id of the run."""
        self.task_id: str = known.task_id
        """The id of the node, as events have it: `parse#2`, `parse#2[17]` for an item of a map."""
        self.attempt: int = known.attempt
        """Which attempt it is, from 1; under a retry policy there may be more."""
        self.iteration: int = known.iteration
        """Which entry of the loop around it, from 0, as events count them."""
        self._about = known
        self._place: Any = place
        self._number = words.number
        self._logger: logging.LoggerAdapter[logging.Logger] | None = None

    @property
    def key(self) -> str:
        """What makes an effect outside happen once: 32 letters, the same in all attempts and when the run goes on.

        It is made of the run, the step and the entry of the loop; another attempt of a *sub-flow* makes new ones.
        """
        return blake2b(self._about.step.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger of the task's module, whose records have `run_id`, `task_id`, `attempt` and `iteration`."""
        if self._logger is None:
            known = {name: getattr(self, name) for name in ("run_id", "task_id", "attempt", "iteration")}
            self._logger = _Logger(logging.getLogger(self._about.module), known)
        return self._logger

    def progress(self, done: float, total: float | None = None) -> None:
        """Say how far the call has come, for whoever looks at the run; only the last word is kept.

        From a process of its own (`mode="process"`) it is sent at most 20 times a second.
        """
        if self._place is None:
            words.report(self._number, done, total)
        else:
            self._place.report(done, total)

    def heartbeat(self) -> None:
        """Give a sign of life: a task with `@cs.task(heartbeat=seconds)` fails if it is silent for longer than that.

        It does nothing in a task without a heartbeat. To ask `cs.current()` takes much longer than this: keep what
        that gives where signs are given in a loop.
        """
        if self._place is None:
            words.beat(self._number)
        elif self._place.pulse is not None:
            self._place.pulse.beat()

    def spend(self, cost: float) -> None:
        """Spend from the budgets of the agents that this is a part of: `target.with_budget(cost=...)`.

        Where nobody has a budget it does nothing.

        Args:
            cost: what it costs, in whatever the budget counts: tokens, cents.

        Raises:
            BudgetError: that is more than there was. It is spent all the same.
            ValueError, TypeError: no number of 0 or more.
            RuntimeError: in a process of its own, which no budget reaches.
        """
        check_cost(cost, "cs.current().spend(cost)")
        if self._place is None:
            raise RuntimeError(
                f"{self.task_id} runs in a process of its own, and what is spent there is not passed on: return the "
                "cost, and spend it in an async task that reads it"
            )
        for account in accounts_here():
            account.spend(cost, self.task_id)

    def __repr__(self) -> str:
        return f"<Current {self.task_id} of {self.run_id}, iteration {self.iteration}, attempt {self.attempt}>"


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """Adds to each record what is known of the call, beside what the task adds itself."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def current() -> Current:
    """Return which call of which run this code is a part of: to be called in a task, or in a function that it calls.

    In threads of tasks, too, in processes (`mode="process"`), and in asyncio tasks that a task waits for (`gather`,
    `TaskGroup`).

    Raises:
        RuntimeError: it is called from no task.
    """
    place = whereabouts()
    if place is not None:
        return Current(about(place.run, place.call, place.attempt), place)
    call = crossing.here.get()
    if call is not None:
        return Current(About(*call.about), call)
    if crossing.carried is not None:
        return Current(About(*crossing.carried), None)
    raise RuntimeError(
        "cs.current() is called from outside of any task, or where a task cannot be told: in a thread that the task "
        "has started, in an asyncio task that it does not wait for. Call it at the top of the task, and pass on what "
        "is needed of it"
    )
