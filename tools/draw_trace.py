"""Draw the trace of examples/etl.py as a time line: python tools/draw_trace.py docs/assets/trace.svg

A bar is a span, in its parent or behind it; a mark on a bar is an attempt that failed. What is drawn are the spans that
the exporter of the SDK was given, those of httpx among them.
"""

import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import cascade as cs

LEFT, WIDTH, ROW = 190, 560, 18
COLOURS = {"run": "#1d4ed8", "task": "#3b82f6", "other": "#94a3b8"}


def record() -> list[Any]:
    """Run the example, and return the spans that were exported."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    import etl
    import stand_ins

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    with cs.instrument(tracer_provider=provider), stand_ins.sales() as api, tempfile.TemporaryDirectory() as folder:
        cs.run(etl.flow(api, folder=Path(folder)), log_level="SILENT")
    HTTPXClientInstrumentor().uninstrument()
    return list(exporter.get_finished_spans())


def in_order(spans: list[Any]) -> list[tuple[int, Any]]:
    """Return spans as a tree reads: each behind its parent, with its depth."""
    known = {span.context.span_id for span in spans}
    children: dict[int, list[Any]] = {}
    for span in sorted(spans, key=lambda span: span.start_time):
        parent = span.parent.span_id if span.parent and span.parent.span_id in known else 0
        children.setdefault(parent, []).append(span)
    found: list[tuple[int, Any]] = []
    stack = [(0, span) for span in reversed(children.get(0, []))]
    while stack:
        depth, span = stack.pop()
        found.append((depth, span))
        stack += [(depth + 1, each) for each in reversed(children.get(span.context.span_id, []))]
    return found


def draw(spans: list[Any]) -> str:
    """Return a time line of spans as an SVG."""
    start = min(span.start_time for span in spans)
    length = max(span.end_time for span in spans) - start
    rows = in_order(spans)
    height = ROW * len(rows) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{height}" '
        'font-family="system-ui, Helvetica, Arial, sans-serif" font-size="11">',
        f'<rect width="100%" height="{height}" fill="#fff"/>',
    ]
    for number, (depth, span) in enumerate(rows):
        top, attributes = 8 + ROW * number, span.attributes or {}
        x = LEFT + WIDTH * (span.start_time - start) / length
        width = max(1.5, WIDTH * (span.end_time - span.start_time) / length)
        is_run = span.name.startswith("run ")
        kind = "run" if is_run else "task" if "cascade.task.id" in attributes else "other"
        name = escape(str(attributes.get("cascade.task.id", span.name)))
        said = f"{name}, {(span.end_time - span.start_time) / 1e6:.1f} ms"
        parts.append(f'<text x="{8 + 12 * depth}" y="{top + 11}" fill="#0f172a">{name}</text>')
        parts.append(
            f'<rect x="{x:.1f}" y="{top + 2}" width="{width:.1f}" height="{ROW - 6}" rx="2" '
            f'fill="{COLOURS[kind]}"><title>{said}</title></rect>'
        )
        for event in span.events:
            at = LEFT + WIDTH * (event.timestamp - start) / length
            parts.append(
                f'<path d="M{at:.1f} {top} l4 8 l-8 0 z" fill="#dc2626"><title>{escape(event.name)}</title></path>'
            )
    foot = height - 8
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = LEFT + WIDTH * share
        parts.append(f'<path d="M{x:.1f} 4 V{foot - 12}" stroke="#e2e8f0" stroke-width="0.7"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{foot}" text-anchor="middle" fill="#475569">{length * share / 1e6:.0f} ms</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(record()), encoding="utf-8")
