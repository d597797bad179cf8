"""The engines that are going on and can be steered: which are meant, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from cascade.adapters.doors.client import Asker, doors
from cascade.app.progress import Progress
from cascade.app.standing import Report, spelled_time
from cascade.app.words import say
from cascade.command.misuse import Misuse, close_to
from cascade.command.tables import aligned, titles
from cascade.errors import ConnectorError
from cascade.runtime.inspect.progress import MapProgress, RunProgress
from cascade.spec.shown import one_line

__all__ = ["Asking", "Going", "going", "limits_lines", "meant", "ps_table", "report_of", "status_lines", "with_run"]

MOST_NAMED = 5


class Asking(Protocol):
    """The way to ask an engine."""

    name: str
    path: str
    """Where it is asked: its socket, or a broker."""

    def ask(self, do: str, **args: Any) -> Any:
        """Return what it answers."""


class Going:
    """One engine that is going on: the way to ask it, and how it was a moment ago."""

    def __init__(self, asker: Asking, told: dict[str, Any]) -> None:
        self.asker = asker
        self.told = told

    @property
    def name(self) -> str:
        """What the engine is called: its pid, and something that tells it from others of its process."""
        return self.asker.name

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The runs that were going on."""
        return list(self.told["runs"])

    def to_dict(self) -> dict[str, Any]:
        """Return what is told of it in JSON."""
        return {"engine": self.name, **self.told}


@contextmanager
def going(engine: str | None = None) -> Iterator[list[Going]]:
    """Give the engines that are going on; of a name, those of it alone (a pid is for all of its process).

    Raises:
        ConnectorError: the folder of their sockets is not safe.
    """
    with ExitStack() as stack:
        found = []
        for path in doors():
            try:
                asker = stack.enter_context(Asker(path))
                if engine is None or engine in (asker.name, asker.name.partition("-")[0]):
                    found.append(Going(asker, asker.ask("status")))
            except (ConnectorError, OSError):  # it has just ended
                continue
        yield found


def meant(engine: str | None, found: Sequence[Going], *, all_of_them: bool = False) -> Sequence[Going]:
    """Return the engines that a command is for.

    Raises:
        ConnectorError: there is none.
        Misuse: there are several, and neither has one been named nor all of them.
    """
    if not found:
        raise ConnectorError(say("no_engines") if engine is None else say("no_engine", name=engine))
    if len(found) > 1 and not all_of_them:
        raise Misuse(say("many_engines", names=", ".join(each.name for each in found)))
    return found


def with_run(run_id: str | None, found: Sequence[Going]) -> tuple[Going, dict[str, Any]]:
    """Return the engine that a run belongs to, and what was told of the run; without an id, the only run there is.

    Raises:
        ConnectorError: there is no engine, or none has the run.
        Misuse: there are several, and none has been named.
    """
    if not found:
        raise ConnectorError(say("no_engines"))
    all_runs = [(each, run) for each in found for run in each.runs]
    known = [one_line(run["id"]) for _, run in all_runs]
    if run_id is None:
        if len(all_runs) > 1:
            raise Misuse(say("many_runs", names=", ".join(known[:MOST_NAMED])))
        if not all_runs:
            raise ConnectorError(say("no_runs_going_on"))
        return all_runs[0]
    for each, run in all_runs:
        if run["id"] == run_id:
            return each, run
    for each in found:  # one of more runs than are told of at once
        if each.told["more_runs"]:
            try:
                return each, each.asker.ask("status", run=run_id)["runs"][0]
            except Exception:
                continue
    otherwise = say("going_on", names=", ".join(known[:MOST_NAMED])) if known else say("no_runs_going_on")
    raise ConnectorError(f"{say('no_such_run', name=run_id)}; {close_to(run_id, known, otherwise)}")


# --- how they are shown


def ps_table(found: Sequence[Going]) -> list[str]:
    """Return a line for each run that is going on, and for each engine without one."""
    rows = []
    for each in found:
        told = each.told
        for run in told["runs"] or [None]:
            what = [] if run is None else [run["id"], spelled_time(run["seconds"]), names_of(run)]
            first = [each.name, one_line(told["program"])]
            rows.append(tuple(one_line(cell) for cell in [*first, *(what or ["-", "", ""])]))
        if told["more_runs"]:
            rows.append((each.name, "", say("and_more", count=f"{told['more_runs']:,}"), "", ""))
    return aligned(titles("engine", "program", "id", "took", "target"), rows)


def names_of(run: dict[str, Any]) -> str:
    """Return the targets of a run, or the first of them."""
    names = [one_line(name) for name in run["targets"]]
    shown = ", ".join(names[:3]) or say("nothing")
    return say("more", shown=shown, more=len(names) - 3) if len(names) > 3 else shown


def status_lines(each: Going) -> list[str]:
    """Return how an engine is: its runs, what holds calls back, and what is waiting for it."""
    told = each.told
    lines = [f"{each.name}  {one_line(told['program'])}  {one_line(told['folder'])}"]
    for run in told["runs"]:
        lines.append(f"  {one_line(run['id'])}: {report_of(run)}")
    if told["more_runs"]:
        lines.append("  " + say("and_more", count=f"{told['more_runs']:,}"))
    if not told["runs"]:
        lines.append(f"  {say('no_runs_going_on')}")
    lines += [f"  {line}" for line in (*limits_lines(told), *waiting_lines(told))]
    if told["busy"]:
        lines.append(f"  {say('loop_is_busy')}")
    return lines


def limits_lines(told: dict[str, Any]) -> list[str]:
    """Return a line for each pause and limit that stands."""
    lines = []
    for limit in told["limits"]:
        scope, kind = one_line(limit["scope"]), limit["kind"]
        if kind == "pause":
            text = say("stands_pause", scope=scope)
        elif kind == "concurrency":
            text = say("stands_concurrency", scope=scope, count=f"{limit['value']:g}")
        else:
            text = say("stands_rate", scope=scope, rate=_rate(limit["value"]))
            text += "" if limit["burst"] is None else f", {say('burst', count=limit['burst'])}"
        left = limit["expires_in"]
        lines.append(text if left is None else f"{text}, {say('ends_in', time=spelled_time(left))}")
    return lines


def _rate(value: float) -> str:
    """Spell a rate as one would type it."""
    for period, seconds in (("s", 1), ("m", 60), ("h", 3600)):
        if value * seconds >= 1:
            return f"{value * seconds:g}/{period}"
    return f"{value * 3600:g}/h"


def waiting_lines(told: dict[str, Any]) -> list[str]:
    """Return how many calls wait for what."""
    return [say("calls_wait", count=f"{each['calls']:,}", reason=one_line(each["reason"])) for each in told["waiting"]]


class _Nowhere:
    """Shows nothing."""

    def show(self, report: Report) -> None: ...

    def stop(self) -> None: ...


def sight_of(run: dict[str, Any]) -> RunProgress:
    """Return how far a run has come, as its engine told."""
    told = run["progress"]
    if told is None:
        return RunProgress(0, 0, {}, [], [])
    maps = [
        MapProgress(one_line(each["id"]), *(each[name] for name in MapProgress._fields[1:])) for each in told["maps"]
    ]
    loops = {one_line(name): count for name, count in told["loops"].items()}
    running = [one_line(name) for name in told["running"]]
    waiting = {one_line(name): (doing, one_line(channel)) for name, (doing, channel) in told.get("waiting", {}).items()}
    return RunProgress(told["done"], told["total"], loops, maps, running, waiting=waiting)


def report_of(run: dict[str, Any], progress: Progress | None = None, notes: Sequence[str] = ()) -> Report:
    """Return how a run stands; rates and times need what was seen before, which `progress` keeps."""
    if progress is None:
        progress = Progress(_Nowhere())
        progress.begin(run["seconds"])
    progress.names = names_of(run)
    return progress.take(sight_of(run))._replace(seconds=run["seconds"], notes=tuple(notes))
