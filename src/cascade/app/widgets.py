"""The live display of a run in a notebook; needs ipywidgets, which the user brings."""

from __future__ import annotations

from html import escape
from importlib import import_module
from typing import Any

from cascade.app.standing import Report, loops, spelled_time
from cascade.app.words import say

__all__ = ["Widget", "shown"]

MOST_ROWS = 8


class Widget:
    """A few lines below the cell, which are gone when the run has ended."""

    def __init__(self) -> None:
        self._html: Any = import_module("ipywidgets").HTML()
        import_module("IPython.display").display(self._html)

    def show(self, report: Report) -> None:
        """Show how far a run has come."""
        self._html.value = shown(report)

    def stop(self) -> None:
        """Take the display away."""
        self._html.close()


def shown(report: Report) -> str:
    """Return how a run stands as HTML."""
    sight = report.sight
    nodes = say("nodes", done=f"{sight.done:,}", total=f"{sight.total:,}") if sight.total > 1 else ""
    rows = [(name, "", say("entries", count=f"{count:,}")) for name, count in loops(sight)]
    for each in sight.maps[:MOST_ROWS]:
        bar = f'<progress max="{each.total}" value="{each.done}"></progress>' if each.total else ""
        told = f"{each.done:,}" + (f"/{each.total:,}" if each.total else "")
        rows.append((each.id, bar, f"{told} {say('items_failed', count=f'{each.failed:,}')}" if each.failed else told))
    rows += [(name, "", spelled_time(seconds)) for name, seconds in report.running[:MOST_ROWS]]
    rows += [("", "", note) for note in report.notes]
    cells = ((escape(name), bar, escape(told)) for name, bar, told in rows)
    listed = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in cells)
    head = f"<b>{escape(report.names)}</b> {escape(nodes)} {spelled_time(report.seconds)}"
    return f"<div>{head}<table>{listed}</table></div>"
