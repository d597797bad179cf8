"""Turns the parameters of a target into options of a command; needs typer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cascade.app.programs import blueprint_of
from cascade.app.words import say
from cascade.command.misuse import INTERRUPTED, MISUSED, Misuse, close_to
from cascade.command.spelling import help_of, is_switch, metavar_of, spellings_of
from cascade.errors import ParameterError
from cascade.runtime.plans.inputs import fill
from cascade.spec.inputs import Env, Param
from cascade.spec.signal import UNSET

__all__ = ["SETTINGS", "add_command", "given_as_pairs", "params_of"]

SETTINGS: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
"""Of every typer app here: plain help, and the user's own tracebacks."""


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
    spellings = spellings_of(known)
    options = {f"given_{at}": each for at, each in enumerate(known) if each.name in spellings}
    signature = [
        *[
            inspect.Parameter(
                key,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=_annotation(each, spellings[each.name]),
            )
            for key, each in options.items()
        ],
        inspect.Parameter(
            "param",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[str] | None,
                typer.Option("--param", "-p", metavar="NAME=VALUE", help=_param_help(known, spellings)),
            ],
        ),
        *own,
    ]

    def command(**given: Any) -> None:
        try:
            params = _pairs(given.pop("param") or [], known)
            for key, each in options.items():
                value = given.pop(key)
                if value is not None and value != []:
                    params[each.name] = _one_or_all(value) if isinstance(value, list) else value
            _check(target, known, spellings, params, is_run=act.__name__ == "run")
            act(target, params, **given)
        except Misuse as misuse:
            misuse.tell()
            raise typer.Exit(MISUSED) from None
        except KeyboardInterrupt:  # typer would exit with 1
            raise typer.Exit(INTERRUPTED) from None

    command.__doc__ = doc
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in signature}
    app.command(name, help=doc + _variables_help(target), epilog=say("h_exit"))(command)


def _annotation(param: Param, option: str) -> Any:
    """Return what typer makes an option of; it gives text, which is converted as `cs.run` does it."""
    help = help_of(param)
    if is_switch(param.type):
        return Annotated[bool | None, typer.Option(f"{option}/--no-{option[2:]}", help=help)]
    if param.takes_many:
        return Annotated[list[str] | None, typer.Option(option, help=help, metavar=metavar_of(param.type))]
    return Annotated[str | None, typer.Option(option, help=help, metavar=metavar_of(param.type))]


def _param_help(known: list[Param], spellings: dict[str, str]) -> str:
    left = [each.name for each in known if each.name not in spellings]
    return say("h_param") + (f" {say('h_param_only', names=', '.join(left))}" if left else "")


def _variables_help(target: Any) -> str:
    """Return a list of the environment variables that a target reads."""
    blueprint = blueprint_of(target)
    inputs = () if blueprint is None else blueprint.graph.inputs.values()
    lines = {each.name: f"  {each.name}  {help_of(each)}".rstrip() for each in inputs if isinstance(each, Env)}
    return "\n\n\b\n" + "\n".join([say("h_variables"), *lines.values()]) if lines else ""


def _pairs(given: list[str], known: list[Param]) -> dict[str, Any]:
    """Return what --param says; given often for one name, the last one counts, or each is an item of a list."""
    found: dict[str, list[str]] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise Misuse(say("param_form", given=each))
        found.setdefault(name, []).append(value)
    many = {each.name for each in known if each.takes_many}
    return {name: _one_or_all(values) if name in many else values[-1] for name, values in found.items()}


def given_as_pairs(target: Any, given: list[str]) -> dict[str, Any]:
    """Return what --param says of the parameters of a target, if it has these; more of them may be recorded."""
    known = params_of(target)
    params = _pairs(given, known)
    _check(target, known, spellings_of(known), params, is_run=False)
    return params


def _one_or_all(values: list[str]) -> Any:
    """Return the only text, which may be JSON, or all as a list."""
    return values[0] if len(values) == 1 else values


def _check(target: Any, known: list[Param], spellings: dict[str, str], params: dict[str, Any], is_run: bool) -> None:
    """Refuse what `cs.run` would refuse about parameters, in the words of a command line."""
    names = [each.name for each in known]
    listed = say("the_params", names=", ".join(names)) if names else say("no_params")
    for name in params:
        if name not in names:
            raise Misuse(f"{say('no_param', name=name)}; {close_to(name, names, listed)}")
    missing = [each for each in known if each.default is UNSET and each.name not in params]
    if missing and is_run:
        told = ", ".join(spellings.get(each.name) or f"--param {each.name}=..." for each in missing)
        raise Misuse(say("params_missing", names=told))
    blueprint = blueprint_of(target)
    if blueprint is not None and not missing:
        try:
            fill(blueprint.graph, params)
        except ParameterError as error:
            raise Misuse(str(error)) from None
