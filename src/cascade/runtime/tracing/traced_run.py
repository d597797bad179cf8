"""A run that is traced: a run that is looked at call by call, whose calls have spans.

As a recorded run is: runs that somebody listens to have each call looked at already. The span of a call begins and
ends where its events are told, in the asyncio task that makes the call, so that it is the current one for whatever the
call does, in threads too. What traces is above nothing of this: `cascade.spec.tracing` says what is asked of it.
"""

from __future__ import annotations

from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any

from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import Frame
from cascade.runtime.journal.recorded_run import RecordedRun
from cascade.runtime.run.state import RunState
from cascade.spec.notes import spelled, traceback_of
from cascade.spec.operations import CALL1, CALLN, IMPORT, MAP
from cascade.spec.placement import CallForm, arguments
from cascade.spec.readable import readable
from cascade.spec.tracing import CallSpan, RunTrace, SpanChoice

if TYPE_CHECKING:
    from cascade.spec.events import RunEnd

__all__ = ["TracedRecordedRun", "TracedRun"]

MOST_LINKS = 16
"""So many spans one links to at most; of the items of a map, the first."""
if TYPE_CHECKING:
    Base = RunState
else:
    Base = object


class Traced(Base):
    """What a run does for its trace, be it recorded or not."""

    __slots__ = ()

    def traced_by(self, trace: RunTrace, choice: SpanChoice) -> None:
        """Begin the spans of calls."""
        self.trace, self.choice, self.waits = trace, choice, {}
        self.compiles_flows = self.compiles_loops = False  # what is emitted knows of no spans

    def carrier(self) -> dict[str, str] | None:
        """Return the trace of what runs here in the form in which it crosses into other processes."""
        return self.trace.carrier()

    def publish_started(self, call: Call) -> None:
        """Begin the span of a call, and say that it begins."""
        self.begin_span(call)
        super().publish_started(call)

    def begin_span(self, call: Call) -> None:
        """Begin the span of a call, if it is to have one."""
        instance = call.instance(self._names or self.names)
        site = instance.site_of(call.suffix) if call.suffix else instance.site
        try:
            if self.waits and (since := self.waits.pop(_key(call), None)) is not None:
                self.trace.measure_wait(site.task_name, perf_counter() - since)
            if self.choice.takes((id(instance.graph), call.number)):
                span = self.trace.open(site, call.iteration, _inputs(call))
                _keep(call, span.context)
            else:
                span = CallSpan()
        except Exception as error:
            span = CallSpan()
            self.trace.failed(error)
        call.span = span
        span.site = site

    def publish_finished(
        self, call: Call, status: str, seconds: float, error: BaseException | None, value: Any
    ) -> None:
        """End the span of a call, and say that it has ended."""
        self.end_span(call, status, seconds, error)
        super().publish_finished(call, status, seconds, error, value)

    def end_span(self, call: Call, status: Any, seconds: float, error: BaseException | None) -> None:
        """End the span of a call; one that has none gets one if it failed, or is slow and only such are asked for."""
        trace, span = self.trace, call.span
        try:
            if span.span is None and self.choice.takes_late(
                (id(call.activation.blueprint.graph), call.number), status == "Failed", seconds
            ):
                trace.open_late(span, span.site, call.iteration, seconds)
            if error is None:
                trace.close(span, status, None, None)
            else:
                if isinstance(error, GeneratorExit):  # the event loop was left behind: this may be anywhere
                    span.token = None
                trace.close(span, status, self.masked(spelled(error)), self.masked(traceback_of(error) or ""))
            if trace.measures:
                trace.measure(span.site.task_name, status, seconds)
        except Exception as failure:
            trace.failed(failure)

    def publish_retry(self, call: Call, attempt: int, most: int, delay: float, error: BaseException) -> None:
        """Note an attempt, and say that it failed and another follows."""
        try:
            self.trace.failed_attempt(getattr(call, "span", None), attempt, delay, self.masked(spelled(error)))
            self.trace.measure_retry(call.instance(self.names).site_of(call.suffix).task_name)
        except Exception as failure:
            self.trace.failed(failure)
        super().publish_retry(call, attempt, most, delay, error)

    def publish_skip(self, call: Call, reason: str) -> None:
        """Count a call that is not made, and say so."""
        try:
            self.trace.measure_skip(call.instance(self.names).site_of(call.suffix).task_name, reason)
        except Exception as failure:
            self.trace.failed(failure)
        super().publish_skip(call, reason)

    def publish_blocked(self, call: Call, held: Ticket | str) -> None:
        """Note since when a call is held back, and say so."""
        if not isinstance(held, str):  # else it has begun, and waits by itself
            self.waits.setdefault(_key(call), perf_counter())
        super().publish_blocked(call, held)

    def ended(self, seconds: float, error: BaseException | None, others: list[BaseException]) -> None:
        """End the span of the run, and say that it has ended."""
        ended: RunEnd = self.status_of(error)
        said = None if error is None else self.masked(spelled(error))
        self.trace.end(ended, seconds, said, self.choice.left_out)
        super().ended(seconds, error, others)


class TracedRun(Traced, RunState):
    """The state of a run with a trace."""

    __slots__ = ("keeps_in_pass",)

    def look_at_limits(self) -> None:
        """See whether some limit stands; each call is to be looked at, whoever listens."""
        super().look_at_limits()
        self.keeps_in_pass = self.inline and not self.observed
        self.look_at_each_call()

    @readable("self", "call", place=lambda known: (known["self"], known["call"]))
    def call_in_pass(self, frame: Frame, i: int, form: CallForm, values: list[Any]) -> Any:
        """Make a call that nobody looks at but a tracer, in as few steps as it takes."""
        function, call = form.inline, Call(frame, i)
        assert function is not None
        instance = call.instance(self._names or self.names)
        if instance.entries or instance.items:
            args, kwargs = arguments(form, values)
            return self.observe_call(call, function, args, kwargs)
        self.begin_span(call)
        start = perf_counter()
        try:
            if form.names:
                args, kwargs = arguments(form, values)
                value = function(*args, **kwargs)
            else:
                value = function(*values)
        except BaseException as error:
            self.end_span(call, "Failed", perf_counter() - start, error)
            raise
        self.end_span(call, "Succeeded", perf_counter() - start, None)
        return value


class TracedRecordedRun(Traced, RecordedRun):
    """The state of a run with a journal and a trace."""

    __slots__ = ()

    def look_at_limits(self) -> None:
        """See whether some limit stands; each call has more done around it than being recorded."""
        super().look_at_limits()
        self.tells, self.keeps_in_pass = True, False


def _key(call: Call) -> tuple[int, int, str]:
    return id(call.frame), call.register, call.suffix


def _keep(call: Call, context: Any) -> None:
    """Keep what refers to the span of a call for those who read its result."""
    frame = call.frame
    try:
        known = frame.spans
    except AttributeError:
        known = frame.spans = {}
    if call.suffix == frame.suffix:
        known[call.register] = context
    else:
        known.setdefault(call.register, {})[call.suffix[len(frame.suffix) :]] = context


def _inputs(call: Call) -> list[Any]:
    """Return the spans of what a call reads, or of the entry before if its loop has come round."""
    frame, register = call.frame, call.register
    spans = getattr(frame, "spans", None)
    if spans is None:
        return [] if call.jumped else _spans_of(frame, frame.block.references(register))
    item = call.suffix[len(frame.suffix) :] if call.suffix else ""
    before = spans.get(register)
    if item and before is not None:
        before = before.get(item)
    if before is not None:
        return [before]
    if call.jumped:
        return []
    block = frame.block
    if block.kinds[register] == CALL1:  # one input, most of the time one call
        known = spans.get(block.places[register])
        if known is not None and known.__class__ is not dict:
            return [known]
    return _spans_of(frame, block.references(register), item)


def _keeps_places(frame: Frame, at: int) -> bool:
    """Say whether a map gives a result for each of its items."""
    node: Any = frame.activation.blueprint.graph.nodes[frame.block.source(at)]
    return frame.block.kinds[at] == MAP and node.errors.on_error != "skip"


def _spans_of(frame: Frame, references: list[int], item: str = "") -> list[Any]:
    """Return the spans of what registers were computed by, the nearest to each; of a map, that of the same item."""
    found: list[Any] = []
    seen: set[int] = set()
    block, spans = frame.block, getattr(frame, "spans", None)
    stack = references[::-1] if len(references) > 1 else [*references]
    while stack and len(found) < MOST_LINKS:
        at = stack.pop()
        if at < 0 or at in seen:
            continue
        seen.add(at)
        known = None if spans is None else spans.get(at)
        if known is not None:
            if known.__class__ is not dict:
                found.append(known)
                continue
            own = known.get(item) if item and _keeps_places(frame, at) else None
            found += [*islice(known.values(), MOST_LINKS)] if own is None else [own]
        elif block.ops[at] == IMPORT:
            root = frame.activation.root
            found += _spans_of(root, [block.places[at]]) if root is not frame else []
        elif block.kinds[at] > CALLN and block.kinds[at] != MAP:
            stack += block.references(at)
            stack += [each for each in block.late_needs(at) if spans is not None and each in spans]
    return found[:MOST_LINKS]
