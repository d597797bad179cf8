"""Inputs of a run: parameters and variables of the environment, filled in before anything starts."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from cascade.errors import ParameterError
from cascade.spec.graph import Graph
from cascade.spec.inputs import Env, Input, Param
from cascade.spec.signal import UNSET

__all__ = ["check_inputs", "check_known", "fill", "read_variables"]


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
        same_default = other.default is given.default or (
            other.default.__class__ is given.default.__class__ and bool(other.default == given.default)
        )
        if other.type is not given.type or not same_default:
            raise ParameterError(
                f"parameter {given.name!r} is declared twice, differently: at {other.declared} as {_spelled(other)} "
                f"and at {given.declared} as {_spelled(given)}; declare it once and use it in both places"
            )
    return found


def _spelled(param: Param) -> str:
    default = "" if param.default is UNSET else f" = {param.default!r}"
    return f"{getattr(param.type, '__name__', param.type)}{default}"


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


def fill(graph: Graph, given: Mapping[str, Any], variables: dict[str, str | None] | None = None) -> list[Any]:
    """Return the constants of a graph with its inputs filled in.

    Args:
        variables: what the run has found in the environment so far (None: not set), so that it reads each once.

    Raises:
        ParameterError: a required input is missing, or a value does not convert.
    """
    if not graph.inputs:
        return graph.constants
    constants = graph.constants.copy()
    for slot, needed in graph.inputs.items():
        constants[slot] = _value(needed, given, {} if variables is None else variables)
    return constants


def read_variables(graph: Graph, constants: list[Any]) -> dict[str, str | None]:
    """Return what a graph whose inputs are filled in has found in the environment; None: not set."""
    return {
        needed.name: None if constants[slot] is needed.default else constants[slot]
        for slot, needed in graph.inputs.items()
        if isinstance(needed, Env)
    }


def _value(needed: Input, given: Mapping[str, Any], variables: dict[str, str | None]) -> Any:
    if isinstance(needed, Param):
        if needed.name in given:
            return needed.convert(given[needed.name])
    elif (found := variables.setdefault(needed.name, os.environ.get(needed.name))) is not None:
        return found
    if needed.default is not UNSET:
        return needed.default
    if isinstance(needed, Param):
        listed = ", ".join(map(repr, given)) or "none"
        raise ParameterError(
            f"parameter {needed.name!r} (declared at {needed.declared}) is required and was not given "
            f"(given: {listed}); pass params={{{needed.name!r}: ...}} or declare a default"
        )
    raise ParameterError(
        f"the environment has no variable {needed.name!r} (declared at {needed.declared}); set it, or declare a default"
    )
