"""Instrumenting: spans and measures of runs by OpenTelemetry, for all engines or for one."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal, Self

from cascade.errors import MissingExtraError
from cascade.runtime.engine import Engine
from cascade.runtime.tracing.choice import Choice
from cascade.runtime.tracing.traced_run import TracedRecordedRun, TracedRun
from cascade.spec.tracing import RunTrace, everywhere

__all__ = ["Instrumentation", "Spans", "instrument"]

Spans = Literal["all", "slow", "sampled"]
WAYS = ("all", "slow", "sampled")


class Instrumentation:
    """What `cs.instrument` returns: it stands until `uninstrument()`, or until the `with` block ends."""

    plain: Any = TracedRun
    recorded: Any = TracedRecordedRun

    def __init__(self, engine: Engine | None, telemetry: Any, spans: Spans, most: int, slow: float) -> None:
        self._engine = engine
        self._telemetry = telemetry
        self._options = spans, most, slow

    def trace(self, run_id: str, targets: tuple[str, ...]) -> RunTrace:
        """Return the trace of a start of a run, which has not begun."""
        made: RunTrace = self._telemetry.run(run_id, targets)
        return made

    def choice(self) -> Choice:
        """Return what says which calls of a run have a span."""
        return Choice(*self._options)

    def uninstrument(self) -> None:
        """Give runs that begin from now on no spans any more; those that go on keep theirs."""
        if self._engine is None:
            if everywhere.tracing is self:
                everywhere.tracing = None
        elif self._engine.tracing is self:
            self._engine.tracing = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.uninstrument()


def instrument(
    engine: Engine | None = None,
    tracer_provider: Any = None,
    meter_provider: Any = None,
    *,
    spans: Spans = "all",
    most: int = 1000,
    slow: float = 0.1,
) -> Instrumentation:
    """Give each run and each call of a task a span of OpenTelemetry, and measure them; the extra `otel`.

    The span of a run is a child of the current one. That of a call is the current one while the call is made, so that
    what its libraries record lies inside of it, and has links to the spans of its inputs. Another call of this replaces
    an earlier one for the same engine.

    Args:
        engine: whose runs; by default those of all engines that were not given here themselves.
        tracer_provider: of the SDK; by default the global one.
        meter_provider: of the SDK; by default the global one.
        spans: "all" calls; "sampled" ones, ever fewer of a loop or a map once it had `most`; "slow" ones alone, which
            get their span when they end, and so have nothing inside.
        most: how many spans the calls of one node of a run have at the most (sampled ones: before they become fewer).
            A call that fails has one even so, up to as many more.
        slow: from how many seconds on a call is slow.

    Raises:
        MissingExtraError: opentelemetry-api is not installed.
        ValueError: an option that makes no sense.
    """
    if spans not in WAYS:
        raise ValueError(f"cs.instrument: spans is one of {', '.join(map(repr, WAYS))}, not {spans!r}")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"cs.instrument: most is a number of spans, 1 or more, not {most!r}")
    if not isinstance(slow, (int, float)) or not slow >= 0:
        raise ValueError(f"cs.instrument: slow is a number of seconds, 0 or more, not {slow!r}")
    if engine is not None and not isinstance(engine, Engine):
        raise TypeError(f"cs.instrument takes an engine, or none for all of them, not {engine!r}")
    try:
        from cascade.adapters.telemetry.otel import Telemetry
    except ImportError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise MissingExtraError(
            "cs.instrument needs the package 'opentelemetry-api', which is not installed: pip install cascade-py[otel]",
            name="opentelemetry",
        ) from None
    made = Instrumentation(engine, Telemetry(tracer_provider, meter_provider, _version()), spans, most, slow)
    if engine is None:
        everywhere.tracing = made
    else:
        engine.tracing = made
    return made


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cascade-py")
    except PackageNotFoundError:  # its folder alone is on the path
        return ""
