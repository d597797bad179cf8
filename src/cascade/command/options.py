"""Turns the parameters of a target into options of a command; needs typer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cascade.app.programs import blueprint_of
from cascade.app.words import say
from cascade.command.misuse import INTERRUPTED, MISUSED, Misuse, close_to
from cascade.errors import ParameterError
from cascade.runtime.inputs import fill
from cascade.spec.inputs import Param
from cascade.spec.signal import UNSET

__all__ = ["SETTINGS", "add_command", "params_of"]

SETTINGS: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
"""Of every typer app here: plain help, and the user's own tracebacks."""

TAKEN = frozenset({"param", "json", "help", "log-level", "log-format", "timeout"})
SPELLED = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def params_of(target: Any) -> list[Param]:
    """Return the parameters of a target, each name once."""
    blueprint = blueprint_of(target)
    inputs = () if blueprint is None else blueprint.graph.inputs.values()
    found: dict[str, Param] = {}
    for given in inputs:
        if isinstance(given, Param):
            found.setdefault(given.name, given)
    return list(found.values())


def add_command(
    app: typer.Typer, name: str, target: Any, act: Callable[..., Any], own: list[inspect.Parameter], doc: str
) -> None:
    """Add a command with an option for each parameter of `target`; it calls `act(target, params, **own)`.

    Args:
        own: the options of the command itself.
    """
    known = params_of(target)
    options = {f"given_{at}": each for at, each in enumerate(known) if _option(each) is not None}
    signature = [
        *[
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(each))
            for key, each in options.items()
        ],
        inspect.Parameter(
            "param",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help=say("h_param"))
            ],
        ),
        *own,
    ]

    def command(**given: Any) -> None:
        try:
            params = _pairs(given.pop("param") or [])
            params |= {each.name: given.pop(key) for key, each in options.items() if given.get(key) is not None}
            own_values = {key: value for key, value in given.items() if key not in options}
            _check(target, known, params, is_run=act.__name__ == "run")
            act(target, _converted(known, params), **own_values)
        except Misuse as misuse:
            misuse.tell()
            raise typer.Exit(MISUSED) from None
        except KeyboardInterrupt:  # typer would exit with 1
            raise typer.Exit(INTERRUPTED) from None

    command.__doc__ = doc
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in signature}
    app.command(name, help=doc, epilog=say("h_exit"))(command)


def _option(param: Param) -> str | None:
    """Return the spelling of a parameter as an option; None where it takes --param."""
    name = param.name.replace("_", "-")
    return f"--{name}" if SPELLED.fullmatch(param.name) and name not in TAKEN and not name.startswith("no-") else None


def _annotation(param: Param) -> Any:
    spelled = _option(param)
    words = [param.description] if param.description else []
    if param.default is UNSET:
        words.append(f"[{say('required')}]")
    elif param.default is not None:
        words.append(
            f"[default: {str(param.default) if isinstance(param.default, (str, bool, int, float)) else '...'}]"
        )
    help = "  ".join(words)
    if param.type is bool:
        return Annotated[bool | None, typer.Option(f"{spelled}/--no-{spelled[2:] if spelled else ''}", help=help)]
    metavar = {int: "INTEGER", float: "FLOAT"}.get(param.type) or getattr(param.type, "__name__", "value").upper()
    return Annotated[str | None, typer.Option(spelled, help=help, metavar=metavar)]  # converted as `cs.run` does it


def _pairs(given: list[str]) -> dict[str, Any]:
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise Misuse(say("param_form", given=each))
        found[name] = value
    return found


def _converted(known: list[Param], params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with numbers as such: they are told of as what they are."""
    types = {each.name: each.type for each in known if each.type in (int, float)}
    return {name: types[name](value) if name in types else value for name, value in params.items()}


def _check(target: Any, known: list[Param], params: dict[str, Any], is_run: bool) -> None:
    """Refuse what `cs.run` would refuse about parameters, in the words of a command line."""
    names = [each.name for each in known]
    listed = say("the_params", names=", ".join(names)) if names else say("no_params")
    for name in params:
        if name not in names:
            raise Misuse(f"{say('no_param', name=name)}; {close_to(name, names, listed)}")
    missing = [each for each in known if each.default is UNSET and each.name not in params]
    if missing and is_run:
        told = ", ".join(_option(each) or f"--param {each.name}=..." for each in missing)
        raise Misuse(say("params_missing", names=told))
    blueprint = blueprint_of(target)
    if blueprint is not None and not missing:
        try:
            fill(blueprint.graph, params)
        except ParameterError as error:
            raise Misuse(str(error)) from None
