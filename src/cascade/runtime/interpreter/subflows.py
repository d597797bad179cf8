"""Sub-flows: another blueprint with parameters of its own, in a frame and an activation of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cascade.runtime.frames.call import Call
from cascade.runtime.frames.cancel_scope import CancelScope
from cascade.runtime.frames.frame import Activation, Frame, Skip, root_frame
from cascade.runtime.frames.scope import Scope
from cascade.runtime.interpreter.last_readers import find_last_readers
from cascade.runtime.plans.inputs import fill

if TYPE_CHECKING:
    from cascade.runtime.run.state import RunState

__all__ = ["close_subflow", "given_constants", "open_subflow"]


def given_constants(run: RunState, around: Frame, i: int, values: Iterable[Any]) -> list[Any]:
    """Return the constants of the sub-flow that instruction `i` is, with its parameters filled in.

    Raises:
        NodeFailure: a parameter does not take its value.
    """
    number = around.block.source(i)
    outer = around.activation.blueprint
    graph, sources = outer.subflows[number].graph, outer.graph.nodes[number].kwargs
    try:
        constants = fill(graph, dict(zip(sources, values, strict=True)), run.variables, sources)
        run.keep_secrets(graph, constants)
    except BaseException as error:
        raise run.failure_at(Call(around, i), error) from None
    return constants


def open_subflow(
    run: RunState, around: Frame, i: int, constants: list[Any], attempt: int = 1, within: CancelScope | None = None
) -> Frame:
    """Return the root frame of the sub-flow that instruction `i` is.

    Args:
        attempt: the nodes of each further one are told apart from those before.
        within: what ends it; None: what ends those around it.
    """
    number = around.block.source(i)
    outer = around.activation
    blueprint = outer.blueprint.subflows[number]
    activation = Activation(blueprint, constants, run.names.subflow_key(outer.key, number, around.loop, attempt))
    activation.depth = outer.depth + 1
    if blueprint.root.moves is None:
        find_last_readers(blueprint)
    frame = root_frame(activation, Scope(run, around.scope if within is None else within))
    frame.loop, frame.iteration, frame.suffix = around.loop, around.iteration, around.suffix
    return frame


def close_subflow(run: RunState, frame: Frame) -> tuple[Any, Skip | None]:
    """Return what a sub-flow that is over gives, and why its target was skipped if it was."""
    root = frame.block.root
    if run.observed:
        run.publish_pruned_root(frame)
    found = frame.regs[root], frame.skips.get(root)
    frame.activation.let_go()
    return found
