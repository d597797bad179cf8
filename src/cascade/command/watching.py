"""`cascade watch`: looks at a run of another process until it ends."""

from __future__ import annotations

import json
import time
from typing import Any

from cascade.adapters.doors.client import Asker
from cascade.app.progress import Display, Lines, Progress, display_for
from cascade.app.standing import Report, spelled_time
from cascade.app.words import say
from cascade.app.writing import tell, write_out
from cascade.command.engines import Going, going, limits_lines, names_of, report_of, waiting_lines, with_run
from cascade.errors import CascadeError
from cascade.spec.shown import one_line

__all__ = ["watch"]

EVERY = 0.25
"""Seconds between two looks."""
LAST = 5.0
"""So many seconds the end of a run that is gone may take to come."""
LINE_EVERY = 2.0
"""Seconds between two lines, where there is no live display."""
AGAIN = 0.5
"""Seconds until it is looked again where nothing is going on yet."""


def watch(run_id: str | None, engine: str | None, as_json: bool) -> None:
    """Show how a run comes on until it ends; without an id the only one there is, and if there is none, the next.

    Raises:
        ConnectorError: there is no such run.
        Misuse: there are several runs, and none has been named.
    """
    is_told = False
    while True:
        with going(engine) as found:
            if run_id is not None or any(each.runs for each in found):
                _watch(*with_run(run_id, found), as_json)
                return
        if not is_told:
            tell(say("waits_for_run") + "\n")
            is_told = True
        time.sleep(AGAIN)


def _display(as_json: bool) -> Display:
    if as_json:
        return Lines(lambda report: write_out(json.dumps(report.to_dict()) + "\n"), 0.0, LINE_EVERY)
    display = display_for(lambda report: None, True)
    if isinstance(display, Lines):
        return Lines(lambda report: write_out(f"{report}\n"), 0.0, LINE_EVERY)
    return display


def _watch(each: Going, run: dict[str, Any], as_json: bool) -> None:
    display = _display(as_json)
    progress = Progress(display)
    progress.begin(run["seconds"])
    end: dict[str, Any] = {"status": None, "seconds": None, "error": None}
    try:
        with Asker(each.asker.path) as waiting:
            waiting.send("end_of", run=run["id"])
            display.show(_looked(run, each.told, progress))
            while True:
                try:
                    end = waiting.answer(EVERY)
                    break
                except TimeoutError:
                    try:
                        told = each.asker.ask("status", run=run["id"])
                    except CascadeError:  # it has ended in between, and how is on its way
                        end = waiting.answer(LAST)
                        break
                    display.show(_looked(told["runs"][0], told, progress))
    except (CascadeError, OSError):  # it has ended, or its process has
        pass
    finally:
        display.stop()
    _ended(run, end, as_json)


def _looked(run: dict[str, Any], told: dict[str, Any], progress: Progress) -> Report:
    busy = [say("loop_is_busy")] if told["busy"] else []
    return report_of(run, progress, [*limits_lines(told), *waiting_lines(told), *busy])


def _ended(run: dict[str, Any], end: dict[str, Any], as_json: bool) -> None:
    if as_json:
        write_out(json.dumps({"event": "RunFinished", "run_id": run["id"], **end}) + "\n")
        return
    status = end["status"]
    taken = "" if end["seconds"] is None else spelled_time(end["seconds"])
    if status == "Succeeded":
        text = say("succeeded", seconds=taken)
    elif status == "Cancelled":
        text = say("cancelled", seconds=taken)
    elif status == "Failed":
        text = say("failed", seconds=taken, error=one_line(str(end["error"])))
    else:
        text = say("is_gone")
    write_out(f"{one_line(run['id'])} ({names_of(run)}): {text}\n")
