"""OpenTelemetry: spans of runs and calls, and measures, by its API alone; the SDK is the user's.

What a sampler or a processor of the user's raises is logged once and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from time import time_ns
from typing import Any, TypeVar

from opentelemetry import context as contexts
from opentelemetry import metrics, trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Link, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from cascade.spec.events import TaskSite
from cascade.spec.notes import log_failure
from cascade.spec.tracing import CallSpan

__all__ = ["Telemetry", "carried"]

F = TypeVar("F", bound=Callable[..., Any])
SECONDS = 1_000_000_000
BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800, 7200)
"""Of the durations of calls and runs, in seconds."""
_SPAN = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, contexts.Context())))
"""The key of the current span in a context: what `set_span_in_context` would look up in each call."""
propagator = TraceContextTextMapPropagator()
failures: set[str] = set()


def told(what: str, error: Exception) -> None:
    """Log what the SDK raised, or what the user put into it, once for each kind."""
    kind = f"{what}: {type(error).__name__}"
    if kind not in failures:
        failures.add(kind)
        log_failure("Telemetry failed; runs go on, and this is not reported again.", error)


def harmless(function: F) -> F:
    """Let nothing out that the SDK raises."""

    @wraps(function)
    def guarded(self: Any, *args: Any) -> Any:
        try:
            return function(self, *args)
        except Exception as error:
            told(function.__name__, error)
            return ""

    return guarded  # type: ignore[return-value]


@contextmanager
def carried(carrier: dict[str, str]) -> Iterator[None]:
    """Make what another process sent the current context."""
    token = contexts.attach(extract(carrier))
    try:
        yield
    finally:
        contexts.detach(token)


class Telemetry:
    """The tracer and the instruments that runs share.

    Args:
        tracer_provider: of the user's SDK; None: the global one.
        meter_provider: of the user's SDK; None: the global one.
    """

    def __init__(self, tracer_provider: Any, meter_provider: Any, version: str) -> None:
        self._measures = meter_provider is not None
        self.tracer = trace.get_tracer("cascade", version, tracer_provider)
        meter = metrics.get_meter("cascade", version, meter_provider)
        made = meter.create_histogram
        options: dict[str, Any] = {"unit": "s", "explicit_bucket_boundaries_advisory": BUCKETS}
        self.runs = made("cascade.run.duration", description="How long runs take, by status", **options)
        self.calls = made("cascade.task.duration", description="How long calls take, by task and status", **options)
        self.waits = made("cascade.task.wait", description="How long limits hold calls back", **options)
        self.retries = meter.create_counter("cascade.task.retries", "{attempt}", "Failed attempts that others follow")
        self.skips = meter.create_counter("cascade.task.skips", "{call}", "Calls that were not made, by reason")
        self.labels: dict[tuple[str, str], dict[str, str]] = {}

    def measures(self) -> bool:
        """Say whether somebody takes measures: a provider was given, or the SDK has set the global one by now."""
        if not self._measures:
            self._measures = not type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics")
        return self._measures

    def run(self, run_id: str, targets: tuple[str, ...]) -> RunSpan:
        """Return the trace of a start of a run, which has not begun."""
        return RunSpan(self, run_id, targets)


class RunSpan:
    """The span of one start of a run, and those of its calls."""

    def __init__(self, telemetry: Telemetry, run_id: str, targets: tuple[str, ...]) -> None:
        self._telemetry = telemetry
        self._run_id = run_id
        self._targets = targets
        self._tracer = telemetry.tracer
        self._context = contexts.get_current()
        self._span: Any = trace.INVALID_SPAN
        self._token: Any = None
        self._is_open = False
        self.measures: bool = telemetry.measures()

    @harmless
    def begin(self, earlier: str | None, start: int) -> str:
        """Begin the span of the run, a child of the current one or of its first start's."""
        around = trace.get_current_span(self._context).get_span_context()
        links = []
        parent = self._context
        if earlier:
            parent = propagator.extract({"traceparent": earlier}, self._context)
            links = [Link(around)] if around.is_valid else []
        attributes: dict[str, Any] = {
            "cascade.run.id": self._run_id,
            "cascade.run.targets": self._targets,
            "cascade.run.start": start,
        }
        name = f"run {', '.join(self._targets[:3])}".strip()
        self._span = self._tracer.start_span(name, parent, attributes=attributes, links=links)
        self._context = trace.set_span_in_context(self._span, self._context)
        self._token = contexts.attach(self._context)
        self._is_open = True
        given: dict[str, str] = {}
        propagator.inject(given, self._context)
        return given.get("traceparent", "")

    def open(self, site: TaskSite, iteration: int, inputs: Sequence[Any]) -> CallSpan:
        """Begin the span of a call, and make it the current one."""
        span = self._tracer.start_span(
            site.task_name,
            self._context,
            attributes={
                "cascade.task.id": site.task_id,
                "cascade.task.name": site.task_name,
                "cascade.task.iteration": iteration,
                "cascade.task.attempt": 1,
            },
            links=[Link(each) for each in inputs] if inputs else None,
        )
        token = contexts.attach(contexts.set_value(_SPAN, span, self._context))
        return CallSpan(span, token, span.get_span_context())

    def failed_attempt(self, call: CallSpan | None, attempt: int, delay: float, error: str) -> None:
        """Note that an attempt failed, on the span of the call, or on that of the run."""
        kind, _, message = error.partition(": ")
        attributes = {
            "cascade.task.attempt": attempt,
            "cascade.retry.delay": delay,
            "exception.type": kind,
            "exception.message": message,
        }
        if call is None:
            self._span.add_event("attempt failed", attributes)
            return
        call.attempts = attempt + 1
        if call.span is None:
            call.failures = [*(call.failures or ()), (time_ns(), attributes)]
        else:
            call.span.add_event("attempt failed", attributes)

    def measure_retry(self, name: str) -> None:
        """Count an attempt that failed and that another follows."""
        self._telemetry.retries.add(1, {"cascade.task.name": name})

    def open_late(self, call: CallSpan, site: TaskSite, iteration: int, seconds: float) -> None:
        """Make the span of a call that ends now."""
        call.span = self._tracer.start_span(
            site.task_name,
            self._context,
            attributes={
                "cascade.task.id": site.task_id,
                "cascade.task.name": site.task_name,
                "cascade.task.iteration": iteration,
                "cascade.task.attempt": 1,
            },
            start_time=time_ns() - int(seconds * SECONDS),
        )
        for at, attributes in call.failures or ():
            call.span.add_event("attempt failed", attributes, at)

    def close(self, call: CallSpan, status: str, error: str | None, traceback: str | None) -> None:
        """End the span of a call."""
        if call.token is not None:
            contexts.detach(call.token)
        span = call.span
        if span is None:
            return
        if call.attempts > 1:
            span.set_attribute("cascade.task.attempt", call.attempts)
        if status == "Succeeded":
            span.end()
        else:
            _end(span, status, error, traceback)

    def measure(self, name: str, status: str, seconds: float) -> None:
        """Count a call, and how long it took."""
        labels = self._telemetry.labels.get((name, status))
        if labels is None:
            labels = {"cascade.task.name": name, "cascade.status": status}
            if len(self._telemetry.labels) < 10_000:
                self._telemetry.labels[name, status] = labels
        self._telemetry.calls.record(seconds, labels)

    def measure_wait(self, name: str, seconds: float) -> None:
        """Count a call that was held back, and for how long."""
        self._telemetry.waits.record(seconds, {"cascade.task.name": name})

    def measure_skip(self, name: str, reason: str) -> None:
        """Count a call that was not made."""
        self._telemetry.skips.add(1, {"cascade.task.name": name, "cascade.skip.reason": reason})

    def failed(self, error: Exception) -> None:
        """Log what one of these raised."""
        told("call", error)

    def carrier(self) -> dict[str, str]:
        """Return the current context in the form in which it crosses into other processes."""
        given: dict[str, str] = {}
        inject(given)
        return given

    @harmless
    def end(self, status: str, seconds: float, error: str | None, left_out: int) -> None:
        """End the span of the run, once."""
        if not self._is_open:
            return
        self._is_open = False
        contexts.detach(self._token)
        if left_out:
            self._span.set_attribute("cascade.spans.left_out", left_out)
        _end(self._span, status, error, None)
        self._telemetry.runs.record(seconds, {"cascade.status": status})


def _end(span: Any, status: str, error: str | None, traceback: str | None) -> None:
    if status == "Failed":
        kind, _, message = (error or "").partition(": ")
        found = {"exception.type": kind, "exception.message": message}
        span.add_event("exception", {**found, "exception.stacktrace": traceback} if traceback else found)
        span.set_status(Status(StatusCode.ERROR, error))
    elif status != "Succeeded":
        span.set_attribute("cascade.status", status)
    span.end()
