"""What notebooks show of a value: small tables, pictures of what is lazy, how far a run has come."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["card", "drawn"]


def card(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a title and a table of names and texts as HTML."""
    from html import escape  # which programs outside of notebooks do not need

    cell = "text-align:left;vertical-align:top;white-space:pre-wrap"
    listed = "".join(
        f'<tr><td style="{cell};opacity:.65">{escape(name)}</td><td style="{cell}">{escape(text)}</td></tr>'
        for name, text in rows
    )
    return f"<div><b>{escape(title)}</b><table>{listed}</table></div>"


def drawn(target: Any) -> str | None:
    """Return the picture of a lazy value, or how far a run has come, as HTML; None where it cannot be drawn.

    What draws stands on a floor above; it is asked through the front door, where the program has come in by it.
    """
    door = sys.modules.get(__name__.partition(".")[0])
    visualize = getattr(door, "visualize", None)
    if visualize is None:
        return None
    found: str | None = sys.modules[visualize.__module__].in_notebook(target)
    return found
