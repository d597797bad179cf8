"""Spans and measures: what runs tell OpenTelemetry."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskExecutionFinished, TaskExecutionStarted
from cascade.testing import SpySubscriber
from tests.helpers import run_python
from tests.workflows import Tier, every_tier, in_loop, run


class Traces:
    """A provider of the SDK, and the spans that have ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, *names: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name in names]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def links(self, span: ReadableSpan) -> set[str]:
        """The ids of the tasks whose spans one has links to."""
        ids = {each.context.span_id: task_id(each) for each in self.spans if each.context is not None}
        return {ids[link.context.span_id] for link in span.links}


def task_id(span: ReadableSpan) -> str:
    return str((span.attributes or {}).get("cascade.task.id"))


def context_of(span: ReadableSpan) -> trace.SpanContext:
    found: trace.SpanContext | None = span.context
    assert found is not None
    return found


def is_inside(span: ReadableSpan, outer: ReadableSpan) -> bool:
    """Say whether one is a child of the other, in the same trace."""
    around = context_of(outer)
    return (
        span.parent is not None
        and span.parent.span_id == around.span_id
        and context_of(span).trace_id == around.trace_id
    )


@pytest.fixture
def traces() -> Iterator[Traces]:
    made = Traces()
    with cs.instrument(tracer_provider=made.provider):
        yield made


@cs.task
def add(x: int, y: int = 1) -> int:
    return x + y


@every_tier
def test_a_run_and_its_calls(traces: Traces, tier: Tier) -> None:
    one = add(1)
    assert run(add(one, y=add(one)), tier=tier) == 5
    whole, *calls = traces.spans
    assert whole.name == "run add"
    assert whole.parent is None
    assert [(span.name, task_id(span)) for span in calls] == [("add", "add#1"), ("add", "add#2"), ("add", "add#3")]
    assert all(is_inside(span, whole) for span in calls)
    assert [traces.links(span) for span in calls] == [set(), {"add#1"}, {"add#1", "add#2"}]
    assert dict(calls[0].attributes or {}) == {
        "cascade.task.id": "add#1",
        "cascade.task.name": "add",
        "cascade.task.iteration": 0,
        "cascade.task.attempt": 1,
    }
    assert {"cascade.run.targets": ("add",), "cascade.run.start": 1}.items() <= dict(whole.attributes or {}).items()
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_run_is_a_child_of_the_current_span(traces: Traces) -> None:
    async def main() -> None:
        async with Engine() as engine:
            with traces.tracer.start_as_current_span("request") as around:
                await engine.run(add(1))
                started = engine.start(add(2))
                assert trace.get_current_span() is around
            assert await started == 3

    in_loop(main)
    request = traces.one("request")
    assert all(is_inside(span, request) for span in traces.named("run add"))
    assert len(traces.named("run add")) == 2


def test_what_is_in_the_context_beside_stays(traces: Traces) -> None:
    @cs.task
    async def look() -> Any:
        return baggage.get_baggage("tenant")

    async def main() -> None:
        token = context.attach(baggage.set_baggage("tenant", "ada"))
        async with Engine() as engine:
            assert await engine.run(look()) == "ada"
        context.detach(token)

    in_loop(main)


@every_tier
def test_attempts_are_events_of_the_span(traces: Traces, tier: Tier) -> None:
    calls = []

    @cs.task(retry={"max_attempts": 3})
    def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise OSError(f"attempt {len(calls)}")
        return 1

    assert run(flaky(), tier=tier) == 1
    span = traces.one("flaky")
    found = [(event.name, dict(event.attributes or {})) for event in span.events]
    assert [(name, given["cascade.task.attempt"], given["exception.message"]) for name, given in found] == [
        ("attempt failed", 1, "attempt 1"),
        ("attempt failed", 2, "attempt 2"),
    ]
    assert (span.attributes or {})["cascade.task.attempt"] == 3
    assert span.status.is_unset


@every_tier
def test_a_failure_is_told_without_secrets(traces: Traces, tier: Tier) -> None:
    @cs.task
    def connect(password: str) -> None:
        raise ConnectionError(f"refused: {password}")

    with pytest.raises(ConnectionError):
        run(connect(cs.Param("password", secret=True)), {"password": "hunter2"}, tier=tier)
    for span in traces.spans:
        assert not span.status.is_ok
        assert span.status.description == "ConnectionError: refused: ***"
        (event,) = span.events
        assert (event.attributes or {})["exception.type"] == "ConnectionError"
        assert "hunter2" not in span.to_json()
    assert "in connect" in str(traces.one("connect").to_json())


def look_around(seen: list[int]) -> int:
    found = trace.get_current_span().get_span_context()
    seen.append(found.span_id)
    return found.span_id


@pytest.mark.parametrize("mode", ["inline", "auto", "blocking", "async", "process"])
@every_tier
def test_the_span_is_current_while_the_task_runs(traces: Traces, mode: Any, tier: Tier) -> None:
    if mode == "process":
        pytest.importorskip("loky")

    if mode == "async":

        @cs.task
        async def work(x: Any = None) -> int:
            await asyncio.sleep(0)
            found = look_around([])
            await asyncio.sleep(0)
            assert found == look_around([])
            return found

    else:
        work = cs.task(mode=mode, name="work")(lambda x=None: look_around([]))

    both = run([work(work()), add(1)], tier=tier)
    assert both[0] == context_of(traces.named("work")[1]).span_id


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        heard.append(self.headers.get("traceparent", ""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


heard: list[str] = []


@pytest.fixture
def server() -> Iterator[str]:
    heard.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/"
        listening.shutdown()
        thread.join()


def test_what_libraries_record_lies_inside(traces: Traces, server: str) -> None:
    @cs.task
    async def ask(url: str) -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(url)).status_code

    @cs.task(mode="blocking")
    def ask_in_thread(url: str) -> int:
        with httpx.Client(trust_env=False) as client:
            return client.get(url).status_code

    HTTPXClientInstrumentor().instrument(tracer_provider=traces.provider)
    try:
        assert run([ask(server), ask_in_thread(server), cs.http.get(server).named("get")])[:2] == [200, 200]
    finally:
        HTTPXClientInstrumentor().uninstrument()
    requests = traces.named("GET")
    assert len(requests) == 3
    calls = {span.name: span for span in traces.spans if span.name != "GET"}
    around = {span.parent.span_id: span for span in requests if span.parent is not None}
    for name in ("ask", "ask_in_thread"):
        assert is_inside(around[context_of(calls[name]).span_id], calls[name])
    assert {each.split("-")[1] for each in heard} == {f"{context_of(calls['ask']).trace_id:032x}"}


def test_what_reads_containers_routers_maps_and_subflows_has_links(traces: Traces) -> None:
    total = cs.task(name="total")(lambda *args: 0)
    low, high, inner = add(1).named("low"), add(2).named("high"), add(cs.Param("p", type=int)).named("inner")
    way = cs.task(name="way")(lambda: "low")()
    mapped = add.map(x=[1, 2, 3]).named("mapped")
    router = cs.Router(way, {"low": low, "high": high})
    run(total([low, {"h": high}], router, mapped, cs.subflow(inner, params={"p": high})))
    links = traces.links(traces.one("total"))
    assert {"low#1", "high#1", "way#1", "mapped#1[0]", "mapped#1[2]"} <= links


def test_an_item_has_a_link_to_the_item_that_it_was_made_of(traces: Traces) -> None:
    run(add.map(x=add.map(x=[1, 2, 3])))
    found = {task_id(span): traces.links(span) for span in traces.named("add")}
    assert found["add#2[1]"] == {"add#1[1]"}


def counting(n: int) -> Any:
    @cs.task
    def count(k: int) -> Any:
        return cs.Jump("again", k - 1) if k else "end"

    step = count(n)
    cs.bind(step, cs.select_jump({"again": step}))
    return step


@every_tier
def test_an_entry_of_a_loop_has_a_link_to_the_one_before(traces: Traces, tier: Tier) -> None:
    assert run(counting(2), tier=tier) == "end"
    spans = traces.named("count")
    assert [(span.attributes or {})["cascade.task.iteration"] for span in spans] == [0, 1, 2]
    for span, before in zip(spans[1:], spans, strict=False):
        (link,) = span.links
        assert link.context == before.context


@pytest.mark.parametrize(
    ("spans", "most", "fewest", "at_most"), [("all", 50, 50, 50), ("sampled", 50, 200, 400), ("slow", 50, 0, 0)]
)
@every_tier
def test_of_a_loop_and_of_a_map_only_so_many(spans: Any, most: int, fewest: int, at_most: int, tier: Tier) -> None:
    made, size = Traces(), 5000
    with cs.instrument(tracer_provider=made.provider, spans=spans, most=most, slow=30):
        assert run(counting(size), tier=tier) == "end"
        assert len(run(add.map(x=range(size)), tier=tier)) == size
    for name in ("count", "add"):
        assert fewest <= len(made.named(name)) <= at_most
        left = (made.one(f"run {name}").attributes or {})["cascade.spans.left_out"]
        assert left == size + (name == "count") - len(made.named(name))


def test_sampled_spans_grow_with_the_logarithm() -> None:
    from cascade.runtime.tracing.choice import Choice

    choice = Choice("sampled", 100, 0.1)
    taken = sum(choice.takes("loop") for _ in range(1_000_000))
    assert 700 < taken < 900
    assert choice.left_out == 1_000_000 - taken


def test_slow_calls_and_failures_alone() -> None:
    made = Traces()

    @cs.task(retry=2)
    async def nap(seconds: float) -> None:
        await asyncio.sleep(seconds)
        if seconds == 0.001:
            raise OSError("bad nap")

    with cs.instrument(tracer_provider=made.provider, spans="slow", slow=0.05):
        run(nap.map(seconds=[0, 0.06, 0.001, 0.002], on_error="collect"))
    found = {task_id(span): span for span in made.named("nap")}
    assert set(found) == {"nap#1[1]", "nap#1[2]"}
    slow, bad = found["nap#1[1]"], found["nap#1[2]"]
    assert slow.end_time is not None
    assert slow.start_time is not None
    assert slow.end_time - slow.start_time >= 0.05e9
    assert [event.name for event in bad.events] == ["attempt failed", "exception"]
    assert is_inside(bad, made.one("run nap"))


def test_a_failure_beyond_the_bound_has_a_span_even_so() -> None:
    made = Traces()
    with cs.instrument(tracer_provider=made.provider, most=2):
        run(cs.task(name="part")(lambda x: 1 // x).map(x=[1, 1, 1, 1, 0, 0, 0, 0], on_error="collect"))
    assert [task_id(span) for span in made.named("part")] == [f"part#1[{i}]" for i in (0, 1, 4, 5)]


def test_the_users_sampler_decides() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with cs.instrument(tracer_provider=provider):
        assert run(add(add(1))) == 3
    assert exporter.get_finished_spans() == ()


@every_tier
def test_a_cancelled_call_says_so(traces: Traces, tier: Tier) -> None:
    begun: list[asyncio.Event] = []

    @cs.task
    async def forever() -> None:
        begun[0].set()
        await asyncio.Event().wait()

    async def main() -> None:
        begun.append(asyncio.Event())
        async with Engine(tier=tier) as engine:
            going = engine.start(forever())
            await begun[0].wait()
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going

    in_loop(main)
    for span in traces.spans:
        assert (span.attributes or {})["cascade.status"] == "Cancelled"
        assert span.status.is_unset
    assert len(traces.spans) == 2


def test_a_run_inside_of_a_task_is_a_child_of_its_span(traces: Traces) -> None:
    @cs.task
    async def outer() -> int:
        return await cs.arun(add(1))

    assert run(outer()) == 2
    inner = traces.one("run add")
    assert is_inside(inner, traces.one("outer"))
    assert is_inside(traces.one("add"), inner)


def test_a_run_that_goes_on_goes_on_in_its_trace(traces: Traces, tmp_path: Path) -> None:
    broken = [True]

    @cs.task
    def finish(x: int) -> int:
        if broken:
            raise OSError("broken")
        return x

    def start() -> Any:
        async def main() -> Any:
            async with Engine(state_backend=str(tmp_path / "runs.db")) as engine:
                return await engine.run(finish(add(1)), run_id="r")

        return in_loop(main)

    with pytest.raises(OSError, match="broken"):
        start()
    broken.clear()
    with traces.tracer.start_as_current_span("request"):
        assert start() == 2
    assert start() == 2
    first, second = traces.named("run finish")
    assert first.parent is None
    assert is_inside(second, first)
    assert [(span.attributes or {})["cascade.run.start"] for span in (first, second)] == [1, 2]
    assert [link.context for link in second.links] == [traces.one("request").context]
    assert is_inside(traces.one("add"), first)
    assert is_inside(traces.named("finish")[1], second)


def test_a_run_that_is_refused_has_a_span_that_failed(traces: Traces, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Engine(state_backend=str(tmp_path / "runs.db")) as engine,
            Engine(state_backend=str(tmp_path / "runs.db")) as other,
        ):
            going = engine.start(cs.wait(30), run_id="r")
            await asyncio.sleep(0.05)
            with pytest.raises(cs.RunBusyError):
                await other.run(cs.wait(30), run_id="r")
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going

    in_loop(main)
    refused = next(span for span in traces.named("run wait") if span.status.description)
    assert str(refused.status.description).startswith("RunBusyError")


def points(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    data: Any = reader.get_metrics_data()
    found = [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
    return {metric.name: [(dict(point.attributes), point) for point in metric.data.data_points] for metric in found}


def test_measures() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    attempts = Counter[int]()

    @cs.task(retry=2)
    async def work(x: int) -> int:
        attempts[x] += 1
        await asyncio.sleep(0.01)
        if x == 2 or (x == 1 and attempts[x] == 1):
            raise OSError("busy")
        return x

    async def main() -> None:
        async with Engine(system_resources={"slot": 1}) as engine:
            with cs.instrument(engine, meter_provider=provider, tracer_provider=Traces().provider):
                await engine.run(work.map(x=[0, 1, 2], on_error="skip").with_constraints(slot=1))
                await engine.run(add(1).run_if(False, otherwise=0))
                with pytest.raises(OSError, match="busy"):
                    await engine.run(work(2))

    in_loop(main)
    found = points(reader)
    provider.shutdown()
    calls = {
        (given["cascade.task.name"], given["cascade.status"]): point.count
        for given, point in found["cascade.task.duration"]
    }
    assert calls == {("work", "Succeeded"): 2, ("work", "Failed"): 2}
    runs = {given["cascade.status"]: point.count for given, point in found["cascade.run.duration"]}
    assert runs == {"Succeeded": 2, "Failed": 1}
    assert [point.value for _, point in found["cascade.task.retries"]] == [3]
    ((given, skipped),) = found["cascade.task.skips"]
    assert (given["cascade.skip.reason"], skipped.value) == ("ConditionFalse", 1)
    ((_, waits),) = found["cascade.task.wait"]
    assert waits.count >= 2
    assert waits.sum >= 0.01


def test_one_engine_alone_and_until_it_is_taken_back() -> None:
    mine, others = Traces(), Traces()

    async def main() -> None:
        async with Engine() as engine, Engine() as other:
            own = cs.instrument(engine, mine.provider)
            everywhere = cs.instrument(tracer_provider=others.provider)
            await engine.run(add(1))
            await other.run(add(1))
            assert (len(mine.spans), len(others.spans)) == (2, 2)
            own.uninstrument()
            await engine.run(add(1))
            assert (len(mine.spans), len(others.spans)) == (2, 4)
            later = cs.instrument(tracer_provider=mine.provider)
            everywhere.uninstrument()  # another one has taken its place
            await other.run(add(1))
            assert (len(mine.spans), len(others.spans)) == (4, 4)
            later.uninstrument()
            await other.run(add(1))
            assert (len(mine.spans), len(others.spans)) == (4, 4)

    in_loop(main)


@every_tier
def test_subscribers_hear_the_same(traces: Traces, tier: Tier) -> None:
    def heard_of() -> list[tuple[str, str, int]]:
        bus = MessageBus()
        spy = SpySubscriber(bus)
        run([counting(3), add.map(x=[1, 2]), add(7)], tier=tier, bus=bus)
        kinds = (TaskExecutionStarted, TaskExecutionFinished)
        return sorted(
            (type(each).__name__, each.task_id, each.iteration) for each in spy.events if isinstance(each, kinds)
        )

    told = heard_of()
    assert len(traces.spans) == 8
    cs.instrument(tracer_provider=traces.provider).uninstrument()
    assert told == heard_of()


class Broken(SimpleSpanProcessor):
    def on_start(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no room for spans")


def test_what_the_users_processor_raises_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken(InMemorySpanExporter()))
    with cs.instrument(tracer_provider=provider), caplog.at_level(logging.ERROR, "cascade"):
        assert run(add(add(1))) == 3
        assert run(add.map(x=[1, 2])) == [2, 3]
    assert caplog.text.count("Telemetry failed") <= 2
    assert "no room for spans" in caplog.text


def test_without_it_nothing_is_imported() -> None:
    code = """
import sys
import cascade as cs
assert cs.run(cs.task(len)([1]), log_level="SILENT") == 1
assert not [name for name in sys.modules if name.startswith("opentelemetry") or ".tracing." in name]
"""
    run_python(code)


def test_without_the_package_it_says_what_to_install() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
import cascade as cs
try:
    cs.instrument()
except cs.MissingExtraError as error:
    assert "pip install cascade-py[otel]" in str(error), error
else:
    raise AssertionError
"""
    run_python(code)


def test_options_that_make_no_sense() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"spans": "some"}, "spans is one of 'all', 'slow', 'sampled', not 'some'"),
        ({"most": 0}, "most is a number of spans, 1 or more, not 0"),
        ({"slow": -1}, "slow is a number of seconds, 0 or more, not -1"),
    ]
    for options, said in refused:
        with pytest.raises(ValueError, match=said):
            cs.instrument(**options)
    with pytest.raises(TypeError, match="takes an engine"):
        cs.instrument(add)  # type: ignore[arg-type]
