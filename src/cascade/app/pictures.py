"""Pictures of what will run, and of what ran."""

from __future__ import annotations

from html import escape
from typing import Any, Literal

from cascade.app.cards import progress_card
from cascade.app.programs import nest_for
from cascade.errors import CascadeError
from cascade.graph.draw.dot import to_dot
from cascade.graph.draw.folds import MOST
from cascade.graph.draw.html import to_html
from cascade.graph.draw.mermaid import to_mermaid
from cascade.graph.draw.picture import picture_of
from cascade.graph.draw.svg import to_svg
from cascade.graph.draw.terminal import to_letters
from cascade.runtime.run_scope import Run
from cascade.spec.keywords import explains_options

__all__ = ["Drawing", "in_letters", "in_notebook", "visualize"]

Format = Literal["dot", "mermaid", "svg", "html"]
FORMATS = ("dot", "mermaid", "svg", "html")


class Drawing(str):
    """The text of a picture; a notebook shows the picture itself."""

    kind: Format = "dot"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        text = str(self)
        if self.kind == "svg":
            return {"image/svg+xml": text, "text/plain": "<picture>"}
        if self.kind == "html":
            frame = f'<iframe style="width:100%;height:600px;border:0" srcdoc="{escape(text)}"></iframe>'
            return {"text/html": frame, "text/plain": "<picture>"}
        if self.kind == "mermaid":
            return {"text/vnd.mermaid": text, "text/plain": text}
        return {"text/plain": text}


@explains_options("cs.visualize")
def visualize(target: Any, format: Format = "dot", *, events: Any = None, title: str | None = None) -> Drawing:
    """Return a picture of what running `target` runs, as text.

    Args:
        target: what `cs.run` takes; a Blueprint; or a compiled flow.
        format: "dot" for Graphviz, "mermaid", "svg", or "html" for a page that folds and needs nothing else.
        events: of a finished run, to lay its states, durations and retries over the page: a list of events, or
            what has them as its `events`, such as a `SpySubscriber`. For "html" alone.
        title: what stands above the picture, in SVG and on the page; by default the name of the target, if it has one.

    Raises:
        ValueError: another format, or events with a format that cannot show them.
        TypeError: there is nothing to draw.
        StaticGraphError, CycleError, ParameterError: what was declared cannot be run.
    """
    if format not in FORMATS:
        raise ValueError(f"cs.visualize draws {', '.join(FORMATS)}, not {format!r}")
    if events is not None and format != "html":
        raise ValueError(
            f'events are laid over a page alone: cs.visualize(..., format="html", events=...), not {format!r}'
        )
    picture = picture_of(nest_for(target, "cs.visualize"), title)
    if format == "html":
        text = to_html(picture, events)
    else:
        text = {"dot": to_dot, "mermaid": to_mermaid, "svg": to_svg}[format](picture)
    drawing = Drawing(text)
    drawing.kind = format
    return drawing


def in_notebook(target: Any) -> str | None:
    """Return the picture of a target as HTML: as SVG, or as a page where it is large; None where there is none.

    Of a run it is how far that has come.
    """
    if isinstance(target, Run):
        return progress_card(target)
    try:
        picture = picture_of(nest_for(target, "cs.visualize"))
    except (CascadeError, TypeError, ValueError):
        return None
    if len(picture.shapes) <= MOST:
        return to_svg(picture)
    page = Drawing(to_html(picture))
    page.kind = "html"
    return page._repr_mimebundle_()["text/html"]


def in_letters(target: Any, width: int) -> str | None:
    """Return a picture in letters for a terminal of so many columns; None where it would not fit."""
    return to_letters(picture_of(nest_for(target, "cs.visualize")), width)
