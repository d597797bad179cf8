"""The row about tracing: calls with spans of OpenTelemetry, beside the SDK's own cost of such a span."""

import time
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Link

import cascade as cs
from observatory.benchmarks.harness import Line, pairs, row, speed

CALLS = 2_000


class Counting(SpanProcessor):
    """Counts spans that end, in the place of an exporter."""

    def __init__(self) -> None:
        self.ended = 0

    def on_end(self, span: Any) -> None:
        self.ended += 1


@cs.task
def step(x: int) -> int:
    return x + 1


def by_hand(tracer: Any, n: int) -> int:
    """Make the calls one after the other, each in a span with the same attributes and a link to the one before."""
    value, links = 0, []
    with tracer.start_as_current_span("run step"):
        for number in range(1, n + 1):
            attributes = {
                "cascade.task.id": f"step#{number}",
                "cascade.task.name": "step",
                "cascade.task.iteration": 0,
                "cascade.task.attempt": 1,
            }
            with tracer.start_as_current_span("step", attributes=attributes, links=links) as span:
                value = step.func(value)
            links = [Link(span.get_span_context())]
    return value


@row("traced")
async def chain_traced() -> list[Line]:
    """A chain of 2,000 calls of a short function, each with a span."""
    counting = Counting()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(counting)
    tracer = provider.get_tracer("by hand")
    target: Any = 0
    for _ in range(CALLS):
        target = step(target)

    def counted(taken: float) -> float:
        assert counting.ended == CALLS + 1, counting.ended
        counting.ended = 0
        return taken

    def baseline() -> float:
        start = time.perf_counter()
        assert by_hand(tracer, CALLS) == CALLS
        return counted(time.perf_counter() - start)

    async with cs.Engine() as engine:
        with cs.instrument(engine, provider, most=CALLS):
            assert await engine.run(target) == CALLS
            counting.ended = 0

            async def ours() -> float:
                start = time.perf_counter()
                assert await engine.run(target) == CALLS
                return counted(time.perf_counter() - start)

            found = await pairs(ours, baseline, 9)
    return [speed("chain of calls, each with a span", found, CALLS, least=1 / 1.3)]
