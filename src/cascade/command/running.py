"""The `run` of the command line: with which options, what it prints, and its exit codes; needs typer."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cascade.app.blocking import Ended
from cascade.app.flow import Flow
from cascade.app.run import run as run_target
from cascade.app.translating import translated
from cascade.app.words import say
from cascade.app.writing import tell
from cascade.command.misuse import FAILED, INTERRUPTED, Misuse, user_traceback
from cascade.command.parts import (
    CHANGES,
    DURABILITIES,
    FORMATS,
    LEVELS,
    Json,
    State,
    check_choice,
    own,
    print_line,
)
from cascade.errors import ParameterError, StateError
from cascade.spec.notes import message_of, notes_of
from cascade.spec.outcomes import Outcome

__all__ = ["RECORDING", "run_options", "running"]

RECORDING = ("run_id", "on_change", "durability")
"""The options that mean nothing where no run is recorded."""


def run_options() -> list[inspect.Parameter]:
    """Return the options that a run has besides its parameters."""
    return own(
        as_json=(Json, False),
        log_level=(Annotated[str, typer.Option(metavar="LEVEL", help=say("h_log_level"))], "INFO"),
        log_format=(Annotated[str, typer.Option(metavar="FORMAT", help=say("h_log_format"))], "human"),
        timeout=(Annotated[float | None, typer.Option(metavar="SECONDS", help=say("h_timeout"))], None),
        state=(State, None),
        run_id=(Annotated[str | None, typer.Option(metavar="ID", help=say("h_run_id"))], None),
        on_change=(Annotated[str | None, typer.Option(metavar="WAY", help=say("h_on_change"))], None),
        durability=(Annotated[str | None, typer.Option(metavar="LEVEL", help=say("h_durability"))], None),
        record=(Annotated[str | None, typer.Option(metavar="FILE", help=say("h_record"))], None),
    )


def _print_record(record: dict[str, Any]) -> None:
    print_line(json.dumps(record, default=repr))


def running(name: str) -> Callable[..., None]:
    """Return what runs a target; a run that is recorded keeps the name of its target, if that has one."""

    def run(
        target: Any,
        params: dict[str, Any],
        *,
        as_json: bool,
        log_level: str,
        log_format: str,
        timeout: float | None,
        state: str | None,
        record: str | None = None,
        **how: str | None,
    ) -> None:
        level = log_level.upper()
        for option, given, known in (("--log-level", level, LEVELS), ("--log-format", log_format, FORMATS)):
            check_choice(option, given, known)
        if timeout is not None and not timeout > 0:
            raise Misuse(say("more_than_0", given=f"{timeout:g}"))
        if record is not None:
            _check_writable(record)
        options: dict[str, Any] = {"timeout": timeout, "log_level": level, "log_format": log_format, "record": record}
        is_told = log_format == "human" and level != "SILENT"
        _carry_out(target, params, {**options, **_recorded(name, state, how, is_told and level != "ERROR")}, as_json)

    return run


def _check_writable(file: str) -> None:
    try:
        with open(file, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise Misuse(say("cannot_write", file=file, error=str(error.strerror))) from None


def _recorded(name: str, state: str | None, how: dict[str, str | None], is_told: bool) -> dict[str, Any]:
    """Return the options of a run that is recorded; none if it is not."""
    for option, known in (("on_change", CHANGES), ("durability", DURABILITIES)):
        given = how[option]
        if given is not None:
            check_choice(f"--{option.replace('_', '-')}", given, known)
    if not state:
        needing = [f"--{option.replace('_', '-')}" for option in RECORDING if how[option] is not None]
        if needing:
            raise Misuse(say("needs_state", option=needing[0]))
        return {}
    from cascade.command.stores import recorded  # what runs that nobody records do not load

    return recorded(state, name, how, is_told)


def _carry_out(target: Any, params: dict[str, Any], options: dict[str, Any], as_json: bool) -> None:
    """Run a target and print its value; exit with 1 if it fails, and as a shell says if a signal ends it."""
    going_on = options.pop("going_on", "")
    if isinstance(target, Flow):
        target = target.target
    told_of: list[object] = []  # what a run ended with is in its last line already

    async def note(outcome: Outcome) -> None:
        told_of.append(outcome.error)

    if options["log_level"] != "SILENT":
        options["on_failure"] = note
    try:
        value = run_target(target, params, **options)
    except (KeyboardInterrupt, Ended) as end:
        if as_json:
            _print_record({"status": "Cancelled"})
        tell(going_on)
        raise typer.Exit(end.status if isinstance(end, Ended) else INTERRUPTED) from None
    except asyncio.CancelledError:  # by its id, from outside
        if as_json:
            _print_record({"status": "Cancelled"})
        tell(going_on)
        raise typer.Exit(FAILED) from None
    except Exception as error:
        told = user_traceback(error)
        if as_json:
            spelled = {"type": type(error).__name__, "message": message_of(error), "notes": notes_of(error)}
            _print_record({"status": "Failed", "error": {**spelled, "traceback": told}})
        elif isinstance(error, (StateError, ParameterError)):  # nothing of the user's has raised it
            has_begun = error in told_of
            lines = [
                *([] if has_begun else [f"{say('error')}: {translated(message_of(error), 'e')}"]),
                *notes_of(error),
            ]
            tell("".join(f"{line}\n" for line in lines))
            going_on = going_on if has_begun else ""
        else:
            tell(told)
        tell(going_on)
        raise typer.Exit(FAILED) from None
    if as_json:
        _print_record({"status": "Succeeded", "value": value})
    elif value is not None:
        print_line(str(value))
