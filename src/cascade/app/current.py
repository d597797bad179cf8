"""Where a task is: its run, its node, its attempt. It is found when a task asks, and nothing is set before a call."""

from __future__ import annotations

import logging
import os
from collections.abc import MutableMapping
from hashlib import blake2b
from typing import Any
from uuid import uuid4

from cascade.runtime.journal.step_keys import StepKeys
from cascade.runtime.run.awaiters import whereabouts

__all__ = ["Current", "current"]

_process = uuid4().hex
"""What tells the runs of this process that were given no `run_id` from those of others."""


class Current:
    """The call of a task, as the task itself sees it; what `cs.current()` returns."""

    __slots__ = ("_instance", "_logger", "_module", "_step", "_suffix", "attempt", "iteration", "run_id", "task_id")

    def __init__(self, place: Any) -> None:
        run, call, attempt = place.run, place.call, place.attempt
        self._instance: Any = call.instance(run.names)
        self._suffix = call.suffix
        self.run_id: str = run.id
        """The id of the run."""
        self.task_id: str = self._instance.site_of(call.suffix).task_id
        """The id of the node, as events have it: `parse#2`, `parse#2[17]` for an item of a map."""
        self.attempt: int = attempt
        """Which attempt it is, from 1; under a retry policy there may be more."""
        self.iteration: int = call.iteration
        """Which entry of the loop around it, from 0, as events count them."""
        keys = StepKeys() if run.journal is None else run.journal.keys
        self._step: str = keys.lasting(call)
        task: Any = getattr(call.activation.blueprint.graph.nodes[call.number], "task", None)
        self._module: str = getattr(task.func, "__module__", None) or "cascade"
        self._logger: logging.LoggerAdapter[logging.Logger] | None = None

    @property
    def key(self) -> str:
        """What makes an effect outside happen once: 32 letters, the same in all attempts and when the run goes on.

        It is made of the run, the step and the entry of the loop; another attempt of a *sub-flow* makes new ones.
        """
        run = self.run_id
        if run.startswith(f"run-{os.getpid():x}-"):  # counted in each process: others have runs of that name
            run = f"{_process} {run}"
        return blake2b(f"{run}\0{self._step}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger of the task's module, whose records have `run_id`, `task_id`, `attempt` and `iteration`."""
        if self._logger is None:
            known = {name: getattr(self, name) for name in ("run_id", "task_id", "attempt", "iteration")}
            self._logger = _Logger(logging.getLogger(self._module), known)
        return self._logger

    def progress(self, done: float, total: float | None = None) -> None:
        """Say how far the call has come, for whoever looks at the run; only the last word is kept."""
        try:
            self._instance.reported[self._suffix] = done, total
        except AttributeError:
            self._instance.reported = {self._suffix: (done, total)}

    def heartbeat(self) -> None:
        """Not built yet.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "cs.current().heartbeat() is not built yet: give the task a timeout (`.with_timeout(seconds)`), or say "
            "how far it has come, with cs.current().progress(done, total)"
        )

    def __repr__(self) -> str:
        return f"<Current {self.task_id} of {self.run_id}, iteration {self.iteration}, attempt {self.attempt}>"


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """Adds to each record what is known of the call, beside what the task adds itself."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def current() -> Current:
    """Return which call of which run this code is a part of: to be called in a task, or in a function that it calls.

    In threads of tasks, too, and in asyncio tasks that a task waits for (`gather`, `TaskGroup`).

    Raises:
        RuntimeError: it is called from no task; or in a process of its own (`mode="process"`), where no run is known.
    """
    place = whereabouts()
    if place is None:
        raise RuntimeError(
            "cs.current() is called from outside of any task, or where a task cannot be told: in a process of its own "
            '(mode="process"), in a thread that the task has started, in an asyncio task that it does not wait for. '
            "Call it at the top of the task, and pass on what is needed of it"
        )
    return Current(place)
