"""What the engine asks of whoever traces its runs, and who is asked for all engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cascade.spec.events import RunEnd, Status, TaskSite

__all__ = ["CallSpan", "Everywhere", "RunTrace", "SpanChoice", "Tracing", "everywhere"]


class CallSpan:
    """The span of one call of a task, as far as there is one."""

    __slots__ = ("attempts", "context", "failures", "site", "span", "token")

    site: TaskSite
    """What it is the span of."""

    def __init__(self, span: Any = None, token: Any = None, context: Any = None) -> None:
        self.span: Any = span
        """None: it has none yet; one that is slow or fails gets one when it ends."""
        self.token: Any = token
        """What takes it away from where it is the current one."""
        self.context: Any = context
        """What links of others refer to it by."""
        self.attempts: int = 1
        self.failures: list[tuple[int, dict[str, Any]]] | None = None
        """Of a call without a span yet: when attempts failed (ns), and the attributes of the events."""


class RunTrace(Protocol):
    """The trace of one start of a run. What is about calls may raise what the SDK does; `failed` tells of it."""

    measures: bool
    """Whether somebody takes measures of calls."""

    def begin(self, earlier: str | None, start: int) -> str:
        """Begin the span of the run, as a child of `earlier` (a traceparent) if it goes on; return its traceparent.

        Args:
            earlier: of the span of its first start, as that was recorded.
            start: which start it is.
        """

    def open(self, site: TaskSite, iteration: int, inputs: Sequence[Any]) -> CallSpan:
        """Begin the span of a call, which is the current one from now on; `inputs` are the contexts of others."""

    def failed_attempt(self, call: CallSpan | None, attempt: int, delay: float, error: str) -> None:
        """Note that an attempt failed (of a sub-flow: None), and that another follows."""

    def close(self, call: CallSpan, status: Status, error: str | None, traceback: str | None) -> None:
        """End the span of a call."""

    def open_late(self, call: CallSpan, site: TaskSite, iteration: int, seconds: float) -> None:
        """Make the span of a call that ends now, after so many seconds."""

    def measure(self, name: str, status: Status, seconds: float) -> None:
        """Count a call, and how long it took."""

    def measure_wait(self, name: str, seconds: float) -> None:
        """Count a call that a limit or a constraint held back, and for how long."""

    def measure_retry(self, name: str) -> None:
        """Count an attempt that failed and that another follows."""

    def measure_skip(self, name: str, reason: str) -> None:
        """Count a call that was not made."""

    def failed(self, error: Exception) -> None:
        """Log what one of these raised."""

    def carrier(self) -> dict[str, str]:
        """Return the current context in the form in which it crosses into other processes."""

    def end(self, status: RunEnd, seconds: float, error: str | None, left_out: int) -> None:
        """End the span of the run, once; `left_out` calls had none."""


class SpanChoice(Protocol):
    """Says which calls of one run have a span."""

    left_out: int
    """How many have none."""

    def takes(self, node: object) -> bool:
        """Say whether the next call of a node has a span from its beginning."""

    def takes_late(self, node: object, failed: bool, seconds: float) -> bool:
        """Say whether a call without one gets a span now that it has ended."""


class Tracing(Protocol):
    """What makes the traces of runs."""

    plain: Any
    """The class of the state of a run that is traced."""
    recorded: Any
    """The class of the state of a recorded run that is traced."""

    def trace(self, run_id: str, targets: tuple[str, ...]) -> RunTrace:
        """Return the trace of a start of a run, which has not begun."""

    def choice(self) -> SpanChoice:
        """Return what says which calls of a run have a span."""


class Everywhere:
    """Who traces the runs of all engines that nobody else traces."""

    __slots__ = ("tracing",)

    def __init__(self) -> None:
        self.tracing: Tracing | None = None


everywhere = Everywhere()
