"""The `cascade serve` command; needs typer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cascade.app.serving import Server, ServerReporter, Serving, serve
from cascade.app.words import say
from cascade.command.misuse import Misuse
from cascade.command.parts import CHANGES, DURABILITIES, FORMATS, LEVELS, State, check_choice, telling
from cascade.spec.parked import PARK_AFTER
from cascade.spec.shown import without_passwords

__all__ = ["add_serving"]

Found = tuple[dict[str, Any], list[str], dict[str, Any], dict[str, Any]]
MOST_NAMED = 10


def add_serving(app: typer.Typer, find: Callable[[list[str]], Found]) -> None:
    """Add the command; what it needs of stores is loaded when it is carried out.

    Args:
        find: loads files, and returns what is in them: programs by name, names to show, blueprints by id, schedules.
    """

    @app.command("serve", help=say("h_serve"), epilog=say("h_serve_exit"))
    def serve_files(
        files: Annotated[list[str], typer.Argument(metavar="FILE[:TARGET]...", help=say("h_serve_files"))],
        queue: Annotated[str, typer.Option(metavar="NAME", help=say("h_queue"))] = "default",
        concurrency: Annotated[int | None, typer.Option(min=1, metavar="N", help=say("h_queue_concurrency"))] = None,
        slots: Annotated[int, typer.Option(min=1, metavar="N", help=say("h_slots"))] = 100,
        grace: Annotated[float, typer.Option(min=0, metavar="SECONDS", help=say("h_grace"))] = 5.0,
        park_after: Annotated[float, typer.Option(min=0, metavar="SECONDS", help=say("h_park_after"))] = PARK_AFTER,
        max_takeovers: Annotated[int, typer.Option(min=0, metavar="N", help=say("h_max_takeovers"))] = 5,
        on_change: Annotated[str, typer.Option(metavar="WAY", help=say("h_on_change"))] = "keep",
        durability: Annotated[str, typer.Option(metavar="LEVEL", help=say("h_durability"))] = "group",
        log_level: Annotated[str, typer.Option(metavar="LEVEL", help=say("h_log_level"))] = "INFO",
        log_format: Annotated[str, typer.Option(metavar="FORMAT", help=say("h_log_format"))] = "human",
        state: State = None,
    ) -> None:
        with telling():
            level, given = log_level.upper(), (on_change, durability, log_format)
            known = (("--on-change", CHANGES), ("--durability", DURABILITIES), ("--log-format", FORMATS))
            for (option, words), word in zip(known, given, strict=True):
                check_choice(option, word, words)
            check_choice("--log-level", level, LEVELS)
            if not queue:
                raise Misuse(say("empty_queue"))
            how: Any = Serving(queue, concurrency, slots, grace, on_change, park_after)  # type: ignore[arg-type]
            _serve(lambda: find(files), how, state, (durability, max_takeovers), ServerReporter(level, log_format))


def _serve(
    find: Callable[[], Found], how: Serving, state: str | None, kept: tuple[Any, int], reporter: ServerReporter
) -> None:
    from cascade.command.stores import store_of
    from cascade.runtime.engine import Engine
    from cascade.runtime.journal.recorder import Recorder

    durability, max_takeovers = kept
    store = store_of(state, durability)
    programs, names, blueprints, schedules = find()

    def make() -> Server:
        engine = Engine(state_backend=Recorder(store, durability, max_takeovers), control=True)
        engine.blueprints.update(blueprints)
        reporter.attach(engine.bus)
        shown = ", ".join(names[:MOST_NAMED])
        if len(names) > MOST_NAMED:
            shown = say("more", shown=shown, more=len(names) - MOST_NAMED)
        told = say("serving", names=shown, queue=how.queue, state=without_passwords(state or ""))
        reporter.tell("INFO", told, time.time(), "server.started")
        return Server(engine, programs, how, reporter, schedules)

    with reporter.records():
        serve(make)
    reporter.tell("INFO", say("served"), time.time(), "server.ended")
