"""Where the command begins: it says what to install where typer is missing."""

from __future__ import annotations

import signal
import sys
from typing import Any

from cascade.app.translating import translated
from cascade.app.writing import forgive, tell
from cascade.command.misuse import INTERRUPTED, MISUSED
from cascade.errors import MissingExtraError

__all__ = ["cli", "create_cli", "main"]


def main() -> None:
    """Run the `cascade` command with the arguments of this process, and exit."""
    try:
        command: Any = _door().make_app()
    except MissingExtraError as error:
        tell(f"{translated(str(error), 'e')}\n")
        sys.exit(MISUSED)
    forgive()
    try:
        _carry_out(command, prog_name="cascade")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever presses Ctrl-C on and on gets the same exit code
        raise


def create_cli(target: Any) -> Any:
    """Return a command line that runs a target, with an option for each of its parameters: a `typer.Typer`.

    Args:
        target: what `cs.run` takes.

    Raises:
        MissingExtraError: the extra `cli` is not installed.
        StaticGraphError, CycleError: what was declared cannot be run.
    """
    return _door().script_app(target)


def cli(target: Any) -> None:
    """Run a target as the command line of a script asks for, print its value, and exit.

    The exit code is 0 if it went well, 1 if it failed, 2 for wrong options, 130 at Ctrl-C, 143 at SIGTERM, 129 at
    SIGHUP.

    Args:
        target: what `cs.run` takes.

    Raises:
        SystemExit: always.
        MissingExtraError: the extra `cli` is not installed.
    """
    command = create_cli(target)
    forgive()
    _carry_out(command)


def _carry_out(command: Any, **options: Any) -> None:
    """Run a command; one more Ctrl-C while the first is told of ends it as that does."""
    try:
        command(**options)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _door() -> Any:
    try:
        from cascade.command import main as door
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        raise MissingExtraError("the command line needs packages of an extra: pip install cascade-py[cli]") from error
    return door
