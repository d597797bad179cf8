"""Has typer speak the language of the user: its help, and what it says of wrong options; needs typer.

Typer makes its words in English, in another place in each version. So they are translated where they come out: in the
formatter of help, and in the exceptions that are shown. In English nothing is touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cascade.app.translating import translated
from cascade.app.words import language, say
from cascade.app.writing import tell

__all__ = ["Speaking"]

ClickException: Any = typer.BadParameter.__mro__[2]
"""What typer raises for wrong options; some versions bring click along, others have it inside."""
EXTRAS = re.compile(r"\[([^\[\]]*)\]$")
"""What typer adds to the help of an option: `[default: 50; x>=1]`."""


class _Command(TyperCommand):
    def make_context(self, *args: Any, **options: Any) -> Any:
        with _speaking():
            return super().make_context(*args, **options)

    def get_help(self, ctx: Any) -> str:
        _speak(ctx)
        return super().get_help(ctx)

    def get_usage(self, ctx: Any) -> str:
        _speak(ctx)
        return super().get_usage(ctx)


class _Group(TyperGroup):
    def make_context(self, *args: Any, **options: Any) -> Any:
        with _speaking():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _speaking():
            return super().invoke(ctx)

    def get_help(self, ctx: Any) -> str:
        _speak(ctx)
        return super().get_help(ctx)

    def get_usage(self, ctx: Any) -> str:
        _speak(ctx)
        return super().get_usage(ctx)


class Speaking(typer.Typer):
    """A typer app that speaks the language of the user."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=_Group, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Add a command, as typer does it."""
        return super().command(name, cls=_Command, **settings)


def _speak(ctx: Any) -> None:
    """Have the help of a context be made by a formatter that translates."""
    known = ctx.formatter_class
    if language() == "zh" and not hasattr(known, "speaks"):
        ctx.formatter_class = type("Formatter", (known,), {**_FORMATTER, "speaks": True})


def _write_usage(self: Any, prog: str, args: str = "", prefix: str | None = None) -> None:
    _super(self).write_usage(prog, args, say("usage") if prefix is None else prefix)


def _section(self: Any, name: str) -> Any:
    return _super(self).section(translated(name, "t"))


def _write_dl(self: Any, rows: Any, *args: Any, **options: Any) -> None:
    _super(self).write_dl([(first, _help(second)) for first, second in rows], *args, **options)


_FORMATTER = {"write_usage": _write_usage, "section": _section, "write_dl": _write_dl}


def _super(formatter: Any) -> Any:
    return super(type(formatter), formatter)


def _help(text: str) -> str:
    """Translate the help of an option that is typer's own, and what it adds to ours."""
    found = EXTRAS.search(text)
    if found is None:
        return translated(text, "t")
    inside = "; ".join(translated(each, "t") for each in found[1].split("; "))
    return f"{translated(text[: found.start()].rstrip(), 't')}  [{inside}]".lstrip()


@contextmanager
def _speaking() -> Iterator[None]:
    """Have what typer raises show itself in the language of the user."""
    try:
        yield
    except ClickException as error:
        if language() == "zh":
            error.show = partial(_show, error)
        raise


def _show(error: Any, file: Any = None) -> None:
    ctx = getattr(error, "ctx", None)
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        tell(f"{message}\n")
        return
    hint = ""
    if ctx is not None:
        hint = f"{ctx.get_usage()}\n"
        if ctx.command.get_help_option(ctx) is not None:
            hint += f"{say('try_help', command=f'{ctx.command_path} {ctx.help_option_names[0]}')}\n"
        hint += "\n"
    tell(f"{hint}{say('error')}: {translated(message, 't')}\n")
