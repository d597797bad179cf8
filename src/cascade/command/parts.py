"""What the commands have in common: their options, what they print, how they tell what went wrong; needs typer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from cascade.app.translating import translated
from cascade.app.words import say
from cascade.app.writing import tell, write_out
from cascade.command.misuse import FAILED, INTERRUPTED, MISUSED, Misuse
from cascade.errors import CascadeError

__all__ = [
    "CHANGES",
    "DURABILITIES",
    "FORMATS",
    "LEVELS",
    "Json",
    "State",
    "check_choice",
    "own",
    "print_line",
    "telling",
]

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "SILENT"]
FORMATS = ["human", "json"]
CHANGES = ["keep", "rerun", "adapt", "error"]
DURABILITIES = ["each", "group", "exit"]
"""What may be said of how a run is told of and recorded."""

Json = Annotated[bool, typer.Option("--json", help=say("h_json"))]
State = Annotated[str | None, typer.Option(metavar="URL", envvar="CASCADE_STATE", help=say("h_state"))]


def own(**annotations: tuple[Any, Any]) -> list[inspect.Parameter]:
    """Return the options of a command by their names: the annotation of each, and its default."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in annotations.items()
    ]


@contextmanager
def telling() -> Iterator[None]:
    """Turn what goes wrong into a message and an exit code."""
    try:
        yield
    except Misuse as misuse:
        misuse.tell()
        raise typer.Exit(MISUSED) from None
    except CascadeError as error:  # the graph cannot be built, or the store cannot be used
        tell(f"{say('error')}: {translated(str(error), 'e')}\n")
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        tell(f"{say('interrupted')}\n")
        raise typer.Exit(INTERRUPTED) from None


def check_choice(option: str, given: str, known: list[str]) -> None:
    """Refuse what is none of the known words."""
    if given not in known:
        raise Misuse(say("one_of", option=option, names=", ".join(known), given=given))


def print_line(text: str) -> None:
    """Print to stdout."""
    write_out(f"{text}\n")
