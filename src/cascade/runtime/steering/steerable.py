"""An engine as those see it who steer it from outside."""

from __future__ import annotations

from typing import Any, Protocol

from cascade.runtime.admission.admission import Admission
from cascade.runtime.events.bus import MessageBus
from cascade.runtime.run_scope import RunScope
from cascade.runtime.watching.watch import Watch
from cascade.spec.limits import Kind, Limit

__all__ = ["Steerable"]


class Steerable(Protocol):
    """What steering needs of an engine."""

    bus: MessageBus
    admitting: Admission | None
    _active: dict[str, RunScope]

    @property
    def admission(self) -> Admission:
        """What lets calls start."""
        ...

    def put_limits(self, scope: str, values: dict[Kind, float], ttl: float | None, burst: int | None = ...) -> None:
        """Let limits of a scope stand."""

    def drop_limits(self, scope: str, *kinds: Kind) -> None:
        """Take limits of a scope away."""

    def pause(self, scope: str = ..., ttl: float | None = ...) -> None:
        """Hold a scope."""

    def resume(self, scope: str = ...) -> None:
        """Hold a scope no more."""

    def set_limit(
        self,
        scope: str,
        concurrency: int | None = ...,
        rate: str | float | None = ...,
        ttl: float | None = ...,
        *,
        burst: int | None = ...,
    ) -> None:
        """Limit a scope."""

    def clear_limit(self, scope: str) -> None:
        """Limit a scope no more."""

    def limits(self) -> list[Limit]:
        """Return what stands."""
        ...

    def cancel(self, run_id: str) -> bool:
        """End a run."""
        ...

    async def signal(self, run_id: str, name: str, value: Any = ..., id: str | None = ...) -> None:
        """Send a message to a run."""

    def watching(self) -> Watch:
        """Return what is known of the runs to those who look on."""
        ...
