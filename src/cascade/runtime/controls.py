"""What may be asked of an engine while it runs: pauses and limits, from any thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade.errors import ConstraintError
from cascade.runtime.admission.admission import Admission
from cascade.runtime.event_loop.ticker import Ticker
from cascade.runtime.events.bus import MessageBus
from cascade.runtime.run_scope import RunScope, call_on
from cascade.spec.keywords import explains_options
from cascade.spec.limits import GLOBAL, Kind, Limit, burst_from, concurrency_from, rate_from, scope_from, ttl_from

__all__ = ["Controls"]


class Controls:
    """The methods of an engine that change its limits.

    A scope is `"global"`, for all tasks, or `"task:<pattern>"`, for those whose names match (`*`, `?`, `[...]`, with
    upper and lower case told apart). For each scope and kind of limit (pause, concurrency, rate) the last write wins.
    A call starts only when all scopes that it is in allow it; what runs goes on. May be called from any thread.
    """

    ticker: Ticker
    bus: MessageBus
    system_resources: Mapping[str, float]
    _active: dict[str, RunScope]
    admitting: Admission | None
    """What lets calls start; None: nothing has held one back so far."""
    steering: Any = None
    """What steers the engine from outside: its connector and its door; None: nothing does."""

    @property
    def admission(self) -> Admission:
        """What lets calls start, made when there is a capacity, a limit or a constraint."""
        if self.admitting is None:  # whichever thread comes first, all have the same
            made = Admission(self.system_resources, runs=self._active.values())
            self.admitting = self.__dict__.setdefault("_own", made)
        return self.admitting

    def pause(self, scope: str = GLOBAL, ttl: float | None = None) -> None:
        """Let no call of a scope start until `resume`.

        Args:
            ttl: seconds after which the pause ends by itself.

        Raises:
            ConstraintError: a scope or ttl that makes no sense.
        """
        self.put_limits(scope, {"pause": 0.0}, ttl)

    def resume(self, scope: str = GLOBAL) -> None:
        """End the pause of a scope, if there is one. Pauses of other scopes stay."""
        self.drop_limits(scope, "pause")

    @explains_options("engine.set_limit")
    def set_limit(
        self,
        scope: str,
        concurrency: int | None = None,
        rate: str | float | None = None,
        ttl: float | None = None,
        *,
        burst: int | None = None,
    ) -> None:
        """Limit the calls of a scope; what is not given stays as it is.

        Args:
            concurrency: so many at once, 1 or more.
            rate: "5/s", "30/m", "300/h", or a number a second. What is not used adds up; a new rate begins with that.
            ttl: seconds after which what is given here ends by itself.
            burst: to how many calls, which may then start at once, what is not used of the rate adds up; by default
                to what comes in one second, and at least to one.

        Raises:
            ConstraintError: a scope, number or rate that makes no sense, or neither concurrency nor rate.
        """
        values: dict[Kind, float] = {}
        if concurrency is not None:
            values["concurrency"] = concurrency_from(concurrency)
        if rate is not None:
            values["rate"] = rate_from(rate)
        most = burst_from(burst, rate)
        if not values:
            raise ConstraintError(
                f"set_limit({scope!r}) needs concurrency=... or rate=...; clear_limit takes both away"
            )
        self.put_limits(scope, values, ttl, most)

    def clear_limit(self, scope: str) -> None:
        """Take away the concurrency and the rate of a scope, if there are any. A pause stays."""
        self.drop_limits(scope, "concurrency", "rate")

    def limits(self) -> list[Limit]:
        """Return the limits that stand, by scope and kind."""
        return self.admission.limits.listed()

    def put_limits(self, scope: str, values: dict[Kind, float], ttl: float | None, burst: int | None = None) -> None:
        """Let limits of a scope stand, from any thread."""
        self.admission.limits.put(scope_from(scope), values, ttl_from(ttl), burst)
        self._tell()

    def drop_limits(self, scope: str, *kinds: Kind) -> None:
        """Take limits of a scope away, from any thread."""
        self.admission.limits.drop(scope_from(scope), *kinds)
        self._tell()

    def _tell(self) -> None:
        """Have the runs that are going on see what has changed."""
        runs = tuple(self._active.values())
        if runs:
            self.ticker.hurry()
        for loop in {run_scope.loop for run_scope in runs}:
            call_on(loop, self.admission.changed)
