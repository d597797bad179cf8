"""Emitting straight code: calls without a loop become one Python function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container

from cascade.compiler.analysis.order import in_order
from cascade.compiler.code.emitted import StraightCode, finished
from cascade.compiler.code.source_writer import REST, SourceWriter, Watch
from cascade.compiler.emit.block import BlockEmitter
from cascade.compiler.emit.dispatch import LONGER
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.operations import MAP

__all__ = ["write_straight_code"]


def write_straight_code(
    blueprint: Blueprint,
    block: Block,
    steps: list[int],
    certain: Container[int],
    outputs: list[int],
    watch: Watch,
    title: str,
) -> Callable[[], StraightCode]:
    """Write a function that carries out `steps`, which need nothing but to be called, one after the other.

    What is returned compiles it, which takes as long again.

    Args:
        outputs: the registers whose values it returns: the value of one alone, or a tuple.
        title: what to call it.

    Raises:
        CannotEmit: these instructions cannot be one function.
    """
    writer = SourceWriter(watch, loops=False)
    emitter = BlockEmitter(writer, blueprint, block, certain, LONGER)
    read = {at for i in steps for at in emitter.reads(i)}
    late = [at for at in read if at >= 0 and at not in certain]
    is_async = any(_is_async(block, i) for i in (*steps, *late))
    if is_async:
        steps = in_order(block, steps, certain)
    emitter.pause = REST if is_async else ""
    emitter.rests = is_async
    maps = any(block.ops[i] == MAP for i in (*steps, *late))
    emitter.turn_over = "ticker.due" if is_async else "ticker.urgent"
    emitter.wish([*steps, *late])
    own = set(steps)
    inputs = sorted(
        (at for at in read if at < 0 or (at in certain and at not in own)), key=lambda at: (at >= 0, abs(at))
    )
    for i in (*steps, *late):
        writer.function(block.forms[i])
    name = writer.namer.name(title)
    parameters = []
    for at in inputs:
        emitter.local[at] = writer.namer.name(emitter.base(at))
        if at >= 0:
            writer.deopt_log.append(("set", at, emitter.local[at]))
        parameters.append(emitter.local[at])
    parameters += writer.listeners
    if is_async:
        parameters += ["ticker", "look"]
    elif maps:
        parameters.append("ticker")
    writer.head(name, parameters, is_async)
    writer.unpack()
    emitter.write(steps, outputs)
    if outputs and emitter.may_lack(outputs[-1]):
        test = f"if {emitter.local[outputs[-1]]} is {writer.mark('NOTHING')}: {writer.deoptimize()}"
        writer.line(1, test, "", emitter.place(-1))
    emitter.pruned()
    shared = [at for at in emitter.shared if at not in outputs]
    outputs = [*outputs, *shared]
    returned = [emitter.local.get(at) or emitter.shared[at] for at in outputs]
    writer.line(1, f"return {', '.join(returned)}")

    def make() -> StraightCode:
        made = finished(StraightCode, writer, name, is_async)
        made.inputs, made.outputs, made.steps = inputs, outputs, steps
        made.has_maps, made.unfit, made.reads = maps, Counter(), None
        return made

    return make


def _is_async(block: Block, i: int) -> bool:
    form = block.forms[i]
    return form is not None and form.is_async
