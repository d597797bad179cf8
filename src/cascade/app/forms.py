"""Graphs as text: JSON that runs again, and Lisp to read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cascade.app.programs import blueprint_of, nest_for
from cascade.graph import lisp
from cascade.graph.nest import nest_of
from cascade.graph.revive import graphs_from_json
from cascade.graph.serialize import graphs_to_json, value_to_json

__all__ = ["from_json", "to_json", "to_lisp"]


def to_json(target: Any) -> str:
    """Return a graph as JSON text, to look at and to run again with `cs.from_json`.

    Functions are written by module and qualified name. What cannot be imported by that name (a lambda, a local
    function) can be looked at and not run again.

    Args:
        target: what `cs.run` takes.

    Raises:
        TypeError: JSON cannot carry a value; the message names the task and the argument.
        StaticGraphError, CycleError, ParameterError: what was declared cannot be run.
    """
    blueprint = blueprint_of(target)
    return value_to_json(target) if blueprint is None else graphs_to_json(nest_of(blueprint))


def from_json(text: str, allow: Iterable[str] = ()) -> Any:
    """Return the target that `cs.to_json` wrote; it runs with the same result.

    Args:
        allow: the modules that functions may be imported from; a package allows the modules in it. Importing a
            module runs it, and a run calls its functions: allow what you trust.

    Raises:
        ImportError: a function is in a module that is not allowed, or cannot be found.
        ValueError: the text is no graph, or one of a later version.
    """
    if isinstance(allow, str):
        raise TypeError(f"allow is a list of module names, not a str: cs.from_json(text, allow=[{allow!r}])")
    return graphs_from_json(text, frozenset(allow))


def to_lisp(target: Any) -> str:
    """Return a graph as an S-expression, shared nodes in a `let*`; to read, not to run again.

    Raises:
        TypeError: there is nothing lazy in the target.
        StaticGraphError, CycleError, ParameterError: what was declared cannot be run.
    """
    return lisp.to_lisp(nest_for(target, "cs.to_lisp"))
