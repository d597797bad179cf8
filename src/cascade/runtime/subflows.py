"""Sub-flows: a blueprint that runs as one node of another, with parameters of its own."""

from __future__ import annotations

from typing import Any

from cascade.runtime.frame import Frame, World, root_frame, steps_of
from cascade.runtime.inputs import fill
from cascade.runtime.run import RunState
from cascade.runtime.schedule import evaluate
from cascade.runtime.scope import Scope
from cascade.runtime.spot import Spot

__all__ = ["run_subflow"]


async def run_subflow(run: RunState, around: Frame, i: int, values: list[Any]) -> Any:
    """Run the sub-flow that instruction `i` is; return what its target gives."""
    number = around.block.source(i)
    outer = around.world
    blueprint = outer.blueprint.subflows[number]
    node = outer.blueprint.graph.nodes[number]
    try:
        constants = fill(blueprint.graph, dict(zip(node.kwargs, values, strict=True)), run.variables)
    except BaseException as error:
        raise run.failure_at(Spot(around, i), error) from None
    world = World(blueprint, constants, (outer.key, number, around.loop))
    frame = root_frame(world, Scope())
    frame.loop, frame.iteration, frame.suffix = around.loop, around.iteration, around.suffix
    if blueprint.root.strict:
        await evaluate(run, frame, [(frame, steps_of(blueprint.root, blueprint.order))], [], [blueprint.root.root])
    if run.observed:
        run.publish_pruned_root(frame)
    value = frame.regs[blueprint.root.root]
    skip = frame.skips.get(blueprint.root.root)
    if skip is not None:
        around.skips[i] = skip
    return value
