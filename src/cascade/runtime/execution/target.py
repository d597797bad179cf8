"""The target of a run: its root block is carried out, and gives a value or what it failed of."""

from __future__ import annotations

import asyncio
from typing import Any

from cascade.compiler.code.emitted import Chain
from cascade.compiler.compiled_root import Making
from cascade.errors import DependencyMissingError
from cascade.runtime.compiled.root import Deoptimized, compiled_for, run_chain, run_whole
from cascade.runtime.execution.scheduler import evaluate
from cascade.runtime.frames.frame import NOTHING, Activation, Frame, root_frame, steps_of
from cascade.runtime.frames.scope import Interrupted, NodeFailure
from cascade.runtime.interpreter.last_readers import count_reads, find_last_readers
from cascade.runtime.run.state import RunState
from cascade.runtime.shortcuts import off

__all__ = ["run_root"]


async def run_root(run: RunState, activation: Activation) -> tuple[Any, Any, list[BaseException]]:
    """Run the root block; return its value, or what it failed of and what else failed."""
    block = activation.blueprint.root
    try:
        if run.is_interrupted:
            run.run_scope.check()  # what it is inside of was to end before it began
        fused = compiled_for(run, activation) if block.strict else None
        while isinstance(fused, Making):
            await run.turn()
            fused = compiled_for(run, activation)
        whole = None if fused is None else fused.whole
        work: list[Any] = []
        deferred: list[Any] = []
        if whole is not None and whole.may_run() and not (run.governed and run.governs(*whole.forms)):
            frame = root_frame(activation, run.scope) if run.observed else None
            try:
                if isinstance(whole, Chain):
                    with run.bus.waiting_for(run.id):
                        value = await run_chain(run, activation, whole, frame)
                elif whole.is_async:
                    with run.bus.waiting_for(run.id):
                        value = await run_whole(run, activation, whole, frame)
                else:
                    value = await run_whole(run, activation, whole, frame)
                if run.run_scope.look():
                    raise asyncio.CancelledError
                return value, None, []
            except Deoptimized as left:
                frame, work, deferred = left.frame, left.work, left.deferred
            except NodeFailure as failure:
                if run.run_scope.look():
                    raise Interrupted([failure.error]) from None
                raise
        else:
            if block.moves is None:
                find_last_readers(activation.blueprint)
            frame = root_frame(activation, run.scope)
            steps: Any = None
            if fused is not None and fused.steps is not None and "pieces" not in off:
                frame.pieces, frame.watch, steps = fused.pieces, run.watch, iter(fused.steps)
                count_reads(frame)
            work = [(frame, steps or steps_of(block, activation.blueprint.order))]
        if block.strict:
            with run.bus.waiting_for(run.id):
                await evaluate(run, frame, work, deferred, [block.root])
        if run.run_scope.look():
            raise asyncio.CancelledError
        value = frame.regs[block.root]
        if run.observed:
            run.publish_pruned_root(frame)
        if value is NOTHING:
            return None, _missing(run, frame), []
        return value, None, []
    except NodeFailure as failure:
        return None, failure.error, failure.others
    except Interrupted as cancel:
        return None, asyncio.CancelledError(), cancel.others
    except BaseException as error:
        return None, error, []
    finally:
        value = None  # it may hold errors whose tracebacks lead here


def _missing(run: RunState, frame: Frame) -> DependencyMissingError:
    """Return the error for a target that gave nothing, with the way to the reason."""
    block = frame.block
    i, way = block.root, []
    while True:
        way.append(i)
        skip = frame.skips.get(i)
        below = [at for at in block.references(i) if at >= 0 and frame.regs[at] is NOTHING]
        if not below or (skip is not None and skip.reason != "UpstreamSkipped_Data"):
            break
        i = below[0]
    graph = frame.activation.blueprint.graph
    lines = [f"{graph.name(at)} (declared at {graph.declared(at)})" for at in way if graph.kinds[at] <= 2] or ["it"]
    reason = skip.reason if skip is not None else "skipped"
    return DependencyMissingError(
        f"the target has no value: {' needs '.join(lines)}, which was skipped ({reason}) and has nothing to give "
        "in its place; give it one with run_if(..., otherwise=...)"
    )
