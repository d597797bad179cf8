"""The commands for runs that are recorded: to look at them, go on with them, fork and drop them; needs typer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cascade.app.words import say
from cascade.app.writing import tell
from cascade.command.misuse import Misuse
from cascade.command.parts import Json, State, check_choice, print_line, telling

__all__ = ["add_recorded"]

Resume = Callable[[str, str, list[str], dict[str, Any]], None]
"""Runs FILE:TARGET, by a name that the run has it by, with NAME=VALUE pairs and the options of a run."""

STATUSES = ["Enqueued", "Running", "Parked", "Succeeded", "Failed", "Cancelled"]
AS_IT_IS = {"ignore_unknown_options": True}
"""So that a value may begin with a hyphen."""

Run = Annotated[str, typer.Argument(metavar="RUN", help=say("h_run_of"))]


def add_recorded(app: typer.Typer, resume: Resume) -> None:
    """Add the commands; what they need of stores is loaded when one is carried out.

    Args:
        resume: runs a program.
    """
    _add_looks(app)
    _add_resume(app, resume)

    @app.command("fork-run", help=say("h_fork_run"), epilog=say("h_exit"))
    def fork_run(
        run: Run,
        step: Annotated[str, typer.Argument(metavar="STEP", help=say("h_step"))],
        state: State = None,
    ) -> None:
        from cascade.command.stores import find_run, go_on, opened
        from cascade.runtime.journal.recorder import Recorder

        with telling(), opened(state) as backend:
            record = find_run(backend, run)
            new = Recorder(backend, "group").forked(run, step, {}, time.time())
            print_line(new)
            tell(go_on(new, record.target, state or "") + "\n")

    @app.command("forget", help=say("h_forget"), epilog=say("h_exit"))
    def forget(run: Run, state: State = None) -> None:
        from cascade.command.stores import find_run, opened

        with telling(), opened(state) as backend:
            find_run(backend, run)
            backend.forget(run)
            tell(say("forgotten", name=run) + "\n")

    @app.command("signal", help=say("h_signal"), epilog=say("h_exit"), context_settings=AS_IT_IS)
    def signal(
        run: Run,
        name: Annotated[str, typer.Argument(metavar="NAME", help=say("h_signal_name"))],
        value: Annotated[str, typer.Argument(metavar="VALUE", help=say("h_signal_value"))],
        id: Annotated[str | None, typer.Option("--id", metavar="ID", help=say("h_signal_id"))] = None,
        state: State = None,
        mqtt: Annotated[str | None, typer.Option("--mqtt", metavar="HOST[:PORT]", help=say("h_mqtt"))] = None,
    ) -> None:
        from cascade.adapters.state.codec import encode
        from cascade.command.stores import find_run, opened

        with telling():
            if not name:
                raise Misuse(say("empty_name"))
            if mqtt is not None or not state:
                from cascade.command.steering import send_signal

                send_signal(run, name, _json_or_text(value), id, mqtt)
                tell(say("sent", name=name, run=run) + "\n")
                return
        with telling(), opened(state) as backend:
            find_run(backend, run)
            backend.send(run, name, encode(_json_or_text(value)), id)
            tell(say("sent", name=name, run=run) + "\n")


def _json_or_text(given: str) -> Any:
    try:
        return json.loads(given)
    except ValueError:
        return given


def _add_looks(app: typer.Typer) -> None:
    @app.command("runs", help=say("h_runs"), epilog=say("h_exit"))
    def runs(
        status: Annotated[str | None, typer.Option(metavar="STATUS", help=say("h_status"))] = None,
        limit: Annotated[int, typer.Option(min=1, metavar="N", help=say("h_limit"))] = 50,
        as_json: Json = False,
        state: State = None,
    ) -> None:
        from cascade.command.listing import run_to_dict, runs_table
        from cascade.command.stores import opened

        with telling():
            wanted = None if status is None else status.capitalize()
            if wanted is not None:
                check_choice("--status", wanted, STATUSES)
            with opened(state) as backend:
                found, now = backend.runs(status=wanted, limit=limit + 1), backend.now()
            shown, is_more = found[:limit], len(found) > limit
            if as_json:
                listed = [run_to_dict(each, now) for each in shown]
                print_line(json.dumps({"version": 1, "runs": listed, "more": is_more}, indent=2))
            elif not shown:
                tell(say("no_runs") + "\n")
            else:
                print_line("\n".join(runs_table(shown, now)))
                if is_more:
                    tell(say("more_runs", limit=limit) + "\n")

    @app.command("history", help=say("h_history"), epilog=say("h_exit"))
    def history(run: Run, as_json: Json = False, state: State = None) -> None:
        from cascade.command.listing import folded, run_to_dict, runs_table, step_to_dict, steps_table
        from cascade.command.stores import find_run, opened

        with telling():
            with opened(state) as backend:
                record, now = find_run(backend, run), backend.now()
                steps = folded(backend.steps(run))
            if as_json:
                listed = [step_to_dict(each) for each in steps]
                print_line(json.dumps({"version": 1, "run": run_to_dict(record, now), "steps": listed}, indent=2))
                return
            print_line(
                "\n".join([*runs_table([record], now), "", *(steps_table(steps) if steps else [say("no_steps")])])
            )


def _add_resume(app: typer.Typer, resume: Resume) -> None:
    @app.command("resume-run", help=say("h_resume_run"), epilog=say("h_exit"))
    def resume_run(
        run: Run,
        file: Annotated[str | None, typer.Argument(metavar="FILE:TARGET", help=say("h_resume_file"))] = None,
        param: Annotated[
            list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help=say("h_resume_param"))
        ] = None,
        as_json: Json = False,
        log_level: Annotated[str, typer.Option(metavar="LEVEL", help=say("h_log_level"))] = "INFO",
        log_format: Annotated[str, typer.Option(metavar="FORMAT", help=say("h_log_format"))] = "human",
        timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help=say("h_timeout"))] = None,
        state: State = None,
        on_change: Annotated[str | None, typer.Option(metavar="WAY", help=say("h_on_change"))] = None,
        durability: Annotated[str | None, typer.Option(metavar="LEVEL", help=say("h_durability"))] = None,
    ) -> None:
        with telling():
            spelled, called = _program_of(run, file, state)
            options: dict[str, Any] = {
                **{"as_json": as_json, "log_level": log_level, "log_format": log_format, "timeout": timeout},
                **{"state": state, "run_id": run, "on_change": on_change, "durability": durability},
            }
            resume(spelled, called, param or [], options)


def _program_of(run_id: str, given: str | None, state: str | None) -> tuple[str, str]:
    """Return FILE:TARGET of a recorded run, and what the run calls it, if it has a name.

    It is what was given, or what a store names that is ours alone to write.

    A store that others may write to could name any file: code is never taken from there.
    """
    from cascade.adapters.state.sqlite import SqliteBackend
    from cascade.command.stores import find_run, opened

    with opened(state) as backend:  # which raises StateError for a file that others may write to
        record = find_run(backend, run_id)
        if record.status == "Succeeded":
            tell(say("has_succeeded", name=run_id) + "\n")
        if given is not None:
            return given, record.target
        if not record.target:
            raise Misuse(say("run_without_name", name=run_id))
        if not isinstance(backend.backend, SqliteBackend):
            raise Misuse(say("run_elsewhere", name=run_id, target=record.target))
        file = record.target.rpartition(":")[0]
        if file.endswith(".py") and not os.path.exists(file):
            raise Misuse(say("run_moved", name=run_id, file=file))
    return record.target, record.target
