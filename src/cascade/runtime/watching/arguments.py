"""What a step was given: by name, from which node or parameter, and what that looks like."""

from __future__ import annotations

from typing import Any

from cascade.adapters.state.codec import preview
from cascade.graph.nest import names_in, nest_of
from cascade.runtime.watching.seen import SeenRun, node_of

__all__ = ["arguments_of"]

MOST = 50


def arguments_of(run: SeenRun, task_id: str, iteration: int) -> list[dict[str, Any]]:
    """Return the arguments of a step of the target's own graph; of others nothing is known."""
    if run.blueprint is None:
        return []
    graph, names = run.blueprint.graph, names_in(nest_of(run.blueprint))[0]
    node = node_of(task_id)
    if node not in names:
        return []
    i = names.index(node)
    found = []
    for name, reference in [*zip(graph.argument_names(i), graph.references(i), strict=False)][:MOST]:
        if reference >= 0:
            source = names[reference]
            found.append({"name": name, "source": source, "preview": _latest(run, source)})
            continue
        given = graph.inputs.get(-1 - reference)
        if given is None:
            found.append({"name": name, "source": None, "preview": preview(graph.constants[-1 - reference])})
        else:
            found.append({"name": name, "source": f"${given.name}", "preview": run.params.get(given.name)})
    return found


def _latest(run: SeenRun, node: str) -> str | None:
    """Return what the latest value of a node looks like, that was shown."""
    for step in reversed([*run.steps]):
        if step.task_id == node and step.preview is not None:
            return step.preview
    return None
