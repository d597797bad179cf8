"""The page of one run: its picture, and over that what has happened, written to a file when the run has ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cascade.app.programs import nest_for
from cascade.app.words import say
from cascade.app.writing import tell
from cascade.graph.draw.html import to_html
from cascade.graph.draw.overlay import Watching
from cascade.graph.draw.picture import picture_of
from cascade.runtime.events.bus import MessageBus
from cascade.spec.events import RunFinished, RunStarted, TaskEvent
from cascade.spec.notes import spelled
from cascade.spec.shown import without_passwords

__all__ = ["PREVIEWS", "Recording"]

PREVIEWS = 300
"""So many letters of each result are shown."""


class Recording:
    """Watches a run, and writes what it saw.

    Args:
        path: of the file; one that is there is replaced.
        target: what will run.

    Raises:
        OSError: the file cannot be written.
        TypeError: nothing in the target is lazy; and what a run of it would raise at once.
    """

    def __init__(self, path: str | os.PathLike[str], target: Any) -> None:
        self._path = Path(path)
        self._picture = picture_of(nest_for(target, "cs.run(record=...)"))
        self._watching = Watching(self._picture)
        with self._path.open("a", encoding="utf-8"):  # to fail now, and not when all has been done
            pass

    def attach(self, bus: MessageBus) -> None:
        """Listen to what the page shows."""
        for kind in (RunStarted, TaskEvent, RunFinished):
            bus.subscribe(kind, self._watching.hear)

    def write(self) -> None:
        """Write the page; what fails in that is told, and is no failure of the run."""
        graph = self._picture.nest.graphs[0]
        file = os.path.basename(graph.declared(graph.root).rpartition(":")[0]) if graph.root >= 0 else ""
        name = " · ".join(part for part in (self._picture.title, file) if part)
        try:
            page = without_passwords(to_html(self._picture, self._watching, name))
            self._path.write_text(page, encoding="utf-8", errors="backslashreplace")
        except Exception as error:
            tell(say("cannot_write", file=str(self._path), error=spelled(error)) + "\n")
