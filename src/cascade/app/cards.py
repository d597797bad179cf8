"""How far a run has come, as a small table for notebooks."""

from __future__ import annotations

import asyncio
from typing import Any

from cascade.runtime.inspect.progress import RunProgress, progress_of
from cascade.runtime.run_scope import Run
from cascade.spec.notebook import card

__all__ = ["progress_card"]

MOST_ROWS = 10


def progress_card(run: Run[Any]) -> str:
    """Return how far a run has come as HTML; from another thread than its loop's, its status alone."""
    scope = run._run_scope
    try:
        is_here = asyncio.get_running_loop() is scope.loop
    except RuntimeError:
        is_here = False
    rows = _rows(progress_of(scope.run, scope.loop)) if is_here and scope.run is not None else []
    return card(f"Run {run.id}", [("status", run.status), *rows])


def _rows(seen: RunProgress) -> list[tuple[str, str]]:
    rows = [("nodes", f"{seen.done:,} of {seen.total:,}")] if seen.total else []
    rows += [(name, f"{count:,} entries") for name, count in [*seen.loops.items()][:MOST_ROWS]]
    for each in seen.maps[:MOST_ROWS]:
        of = "" if each.total is None else f" of {each.total:,}"
        rows.append((each.id, f"{each.done:,}{of} items" + (f", {each.failed:,} failed" if each.failed else "")))
    return rows + ([("running", ", ".join(seen.running[:MOST_ROWS]))] if seen.running else [])
