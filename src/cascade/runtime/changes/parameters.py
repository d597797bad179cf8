"""The parameters of a recorded run: what is kept of them, and what a later start may give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cascade.adapters.state.codec import encode, unfit_part
from cascade.errors import ParameterError, StateError
from cascade.spec.blueprint import Blueprint
from cascade.spec.inputs import Env, Param

__all__ = ["merge", "recordable", "unfit"]


def recordable(
    blueprint: Blueprint | None,
    others: Iterable[Blueprint],
    given: Mapping[str, Any],
    variables: Mapping[str, str | None],
) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Return what is recorded of the parameters given, and of the environment: all but secrets.

    Args:
        blueprint: None: only its name is known here.
        others: where tail calls may lead to.
    """
    own = () if blueprint is None else blueprint.graph.inputs.values()
    called = [each for other in others for each in other.graph.inputs.values()]
    secret = {each.name for each in (*own, *called) if each.secret}
    environment = {each.name for each in own if isinstance(each, Env)} - secret
    params = {name: value for name, value in given.items() if name not in secret}
    return params, {name: value for name, value in variables.items() if name in environment}


def unfit(params: Mapping[str, Any], error: StateError, may_pickle: bool) -> StateError:
    """Return what says which of the parameters that are recorded cannot be."""
    parts = [
        unfit_part(value, name, pickles=may_pickle) for name, value in params.items() if not _fits(value, may_pickle)
    ]
    return StateError(
        f"the parameters of a run are recorded, and one of them cannot be: {', '.join(parts)} ({error}); give "
        "plain data"
    )


def _fits(value: object, pickles: bool) -> bool:
    try:
        encode(value, pickles=pickles)
    except StateError:
        return False
    return True


def merge(run_id: str, blueprint: Blueprint, recorded: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a run that goes on: those recorded, which what is given must agree with.

    Raises:
        ParameterError: it does not.
    """
    params = {each.name: each for each in blueprint.graph.inputs.values() if isinstance(each, Param)}
    for name, value in given.items():
        param = params.get(name)
        if param is not None and param.secret:
            continue
        if name in recorded:
            one, other = recorded[name], value
            if param is not None:
                one, other = param.convert(one), param.convert(other)
            if encode(one) != encode(other):
                raise ParameterError(
                    f"run {run_id!r} was begun with {name}={recorded[name]!r}, and is given {name}={value!r} now; "
                    "leave it out to go on with what it was begun with, or start another run"
                )
    return {**{name: value for name, value in given.items() if name not in recorded}, **recorded}
