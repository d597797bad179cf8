"""Inputs of a run: parameters and variables of the environment, filled in before anything starts."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_origin

from cascade.errors import ParameterError
from cascade.spec.inputs import MASK, PLAIN, Input, Param
from cascade.spec.signal import UNSET

if TYPE_CHECKING:
    from cascade.spec.blueprint import Blueprint
    from cascade.spec.graph import Graph

__all__ = ["check_given", "check_inputs", "check_known", "fill", "texts_of", "told"]


FEWEST_LETTERS = 4


def check_inputs(graph: Graph) -> dict[str, Param]:
    """Return the parameters of a graph by name.

    Raises:
        ParameterError: two declarations of one name differ.
    """
    found: dict[str, Param] = {}
    for given in graph.inputs.values():
        if not isinstance(given, Param):
            continue
        other = found.setdefault(given.name, given)
        if other is given:
            continue
        if not (_same_type(other, given) and _same(other.default, given.default)):
            raise ParameterError(
                f"parameter {given.name!r} is declared twice, differently: at {other.declared} as {_spelled(other)} "
                f"and at {given.declared} as {_spelled(given)}; declare it once and use it in both places"
            )
    return found


def _same_type(one: Param, other: Param) -> bool:
    if one.typed is not other.typed or one.secret is not other.secret:
        return False
    return one.type is other.type or ((not callable(one.type) or get_origin(one.type)) and one.type == other.type)


def _same(one: Any, other: Any) -> bool:
    """Say whether two defaults are the same, be they arrays or hold a NaN."""
    if one is other:
        return True
    if one.__class__ is not other.__class__:
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    try:
        equal = one == other
        if isinstance(equal, bool):
            return equal or (one != one and other != other)
        import pickle

        return pickle.dumps(one) == pickle.dumps(other)  # of an array, == is an array
    except Exception:  # what can be said of neither is told as two declarations
        return False


def _spelled(param: Param) -> str:
    from cascade.spec.scalars import spelled

    default = "" if param.default is UNSET else f" = {param.shown(param.default)!r}"
    secret = " (secret)" if param.secret else ""
    return f"{spelled(param.type) if param.typed else 'anything'}{default}{secret}"


def check_known(known: Iterable[str], given: Mapping[str, Any]) -> None:
    """Raise ParameterError for a given name that is no parameter."""
    names = frozenset(known)
    for name in given:
        if name not in names:
            listed = sorted(names)
            near = difflib.get_close_matches(str(name), listed, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ParameterError(
                f"there is no parameter {name!r}{hint} (the graph has: {', '.join(listed) or 'no parameters'})"
            )


def check_given(params: Iterable[Param], given: Mapping[str, Any]) -> None:
    """Raise ParameterError for a parameter that is missing, or is given a value that does not convert."""
    for param in params:
        _value(param, given, {})


def fill(
    graph: Graph,
    given: Mapping[str, Any],
    variables: dict[str, str | None] | None = None,
    sources: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Return the constants of a graph with its inputs filled in.

    Args:
        variables: what the run has found in the environment so far (None: not set), so that it reads each once.
        sources: what gives the values, where that is part of a graph: a parameter has converted its own already.

    Raises:
        ParameterError: a required input is missing, or a value does not convert.
    """
    if not graph.inputs:
        return graph.constants
    constants = graph.constants.copy()
    for slot, needed in graph.inputs.items():
        if sources is not None and sources.get(needed.name) is needed:
            constants[slot] = given[needed.name]
        else:
            constants[slot] = _value(needed, given, {} if variables is None else variables)
    return constants


def told(
    blueprint: Blueprint, others: Iterable[Blueprint], given: Mapping[str, Any], constants: list[Any]
) -> dict[str, Any]:
    """Return the parameters that a run was given as they may be told: converted, and secret ones masked.

    Args:
        blueprint: of the run, whose constants are filled in.
        others: those that tail calls may lead to.
    """
    shown = dict(given)
    if given:
        for slot, needed in blueprint.graph.inputs.items():
            if isinstance(needed, Param) and needed.name in given:
                shown[needed.name] = constants[slot]
        for graph in (blueprint.graph, *(each.graph for each in others)):
            for needed in graph.inputs.values():
                if needed.name in given and needed.secret:
                    shown[needed.name] = MASK
    return shown


def texts_of(secret: object) -> Iterator[str]:
    """Give what a secret looks like in text; what is shorter than four characters is in too much other text."""
    if isinstance(secret, dict):
        secret = list(secret.values())
    if isinstance(secret, (list, tuple, set, frozenset)):
        for item in secret:
            yield from texts_of(item)
        return
    plain = getattr(secret, "get_secret_value", None)  # of pydantic
    value = plain() if callable(plain) else secret
    if isinstance(value, (bytes, bytearray)):
        value = value.decode(errors="replace")
    if value is not None and not isinstance(value, bool):
        words = {str(value), repr(value).strip("'\"")}
        yield from (word for word in words if len(word) >= FEWEST_LETTERS)


def _value(needed: Input, given: Mapping[str, Any], variables: dict[str, str | None]) -> Any:
    if isinstance(needed, Param):
        if needed.name in given:
            return needed.convert(given[needed.name])
    elif (found := variables.setdefault(needed.name, os.environ.get(needed.name))) is not None:
        return found
    default = needed.default
    if default is not UNSET:
        return default if default.__class__ in PLAIN else needed.fresh_default()
    if isinstance(needed, Param):
        listed = ", ".join(map(repr, given)) or "none"
        raise ParameterError(
            f"parameter {needed.name!r} (declared at {needed.declared}) is required and was not given "
            f"(given: {listed}); pass params={{{needed.name!r}: ...}} or declare a default"
        )
    raise ParameterError(
        f"the environment has no variable {needed.name!r} (declared at {needed.declared}); set it, or declare a default"
    )
