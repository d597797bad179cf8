"""What a target becomes, to be read."""

from __future__ import annotations

from typing import Any

from cascade.app.programs import blueprint_of
from cascade.compiler.explain import explained

__all__ = ["explain"]


def explain(target: Any) -> str:
    """Return the Python that a target becomes: the functions that are emitted when it runs often.

    Each line that calls a task ends with the task's name and where the call was declared. Calls that a function
    cannot have (they are under a policy, run in threads, or wait side by side) are named in comments with the
    reason. Of a loop that has not run yet it is guessed that each jump sends the first argument.

    Args:
        target: what `cs.run` takes.

    Raises:
        StaticGraphError, CycleError, ParameterError: what was declared cannot be run.
        TypeError: there is nothing to run.
    """
    blueprint = blueprint_of(target)
    if blueprint is None:
        raise TypeError(f"cs.explain takes a lazy result, or a container of them, not {target!r}")
    return explained(blueprint)
