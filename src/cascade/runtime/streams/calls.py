"""Calls that stream: those of generators, and those whose tasks read a generator while it goes on.

A reader waits for what it needs like any call; but for a stream only until its generator has begun. So it begins, if
all else is there, when the generator does, and its argument is a cursor on the output. Where it comes later, or where
the list is there already, it goes through the list: it cannot tell, and nothing else of the engine knows of streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import NOTHING, PENDING, Frame
from cascade.runtime.frames.gates import gate_reason
from cascade.runtime.maps.pipes import Readers
from cascade.runtime.run.state import RunState
from cascade.runtime.streams.generation import generated
from cascade.runtime.streams.output import Cursor, Output
from cascade.spec.blueprint import Block
from cascade.spec.gate import Gate
from cascade.spec.operations import MANAGED
from cascade.spec.placement import CallForm
from cascade.spec.streams import Stream

__all__ = ["attempt_streamed", "carry_out_streamed", "may_begin"]


Make = Callable[..., Awaitable[Any]]
Start = Callable[..., Coroutine[Any, Any, None]]


class StreamedCall(Protocol):
    """What is asked of a call that gives or reads a stream."""

    run: RunState
    call: Call
    form: CallForm
    gate: Gate
    count: int
    """Which attempt it is at."""
    output: Output | None
    """Where the items of a generator go, if somebody reads them one by one."""


async def carry_out_streamed(managed: StreamedCall, work: Coroutine[Any, Any, Any]) -> Any:
    """Make a call that gives or reads a stream, which `work` does under all its policies; return its value."""
    output = managed.output = _open_output(managed) if managed.form.task.yields else None
    if output is None:
        return await work
    is_whole = False
    try:
        value = await work
        is_whole = True
        return value
    finally:
        managed.run.flows.pop((output.frame, output.i), None)
        output.end(is_whole)


def attempt_streamed(
    managed: StreamedCall, args: Sequence[Any], kwargs: dict[str, Any], make: Make, start: Start
) -> Awaitable[Any]:
    """Make one attempt of a call that gives or reads a stream.

    Args:
        make: makes a call that is neither, given its arguments.
        start: carries out an instruction of a frame, and what it makes possible.
    """
    if managed.form.task.streams:
        return _read(managed, args, kwargs, make, start)
    return _make(managed, args, kwargs, make, start)


def _make(
    managed: StreamedCall, args: Sequence[Any], kwargs: dict[str, Any], make: Make, start: Start
) -> Awaitable[Any]:
    run, call, form, task = managed.run, managed.call, managed.form, managed.form.task
    if task.yields:
        output: Output | None = managed.output
        if output is not None:
            run.flows[call.frame, call.register] = output
            output.begin()
            _begin_readers(run, output, start)
        return generated(run, call, form, args, kwargs, managed.output, managed.count)
    if task.is_async or not run.direct:
        return make(args, kwargs)
    return run.in_thread(call, "", partial(form.func, *args, **kwargs), mode="reading")


async def _read(managed: StreamedCall, args: Sequence[Any], kwargs: dict[str, Any], make: Make, start: Start) -> Any:
    """Make one attempt of a call with streams among its arguments."""
    run, call, form, block = managed.run, managed.call, managed.form, managed.call.frame.block
    references = block.references(call.register)
    opened: list[Cursor] = []
    if any(value is PENDING for value in (*args, *kwargs.values())):
        regs, wanted = call.frame.regs, [at for at, is_stream in _arguments(block, call.register, form) if is_stream]
        while any(regs[at] is PENDING and (call.frame, at) not in run.flows for at in wanted):
            await asyncio.sleep(0)  # it has just ended, and its list is about to be there

    def stream(value: Any, at: int) -> Any:
        if value is PENDING and call.frame.regs[references[at]] is PENDING:
            output: Output = run.flows[call.frame, references[at]]
            opened.append(output.open(call, managed.gate.terms.retry is not None))
            return opened[-1]
        if value is PENDING:  # it has ended meanwhile
            value = call.frame.regs[references[at]]
        return value if isinstance(value, Stream) or value is None else Stream(value)

    names, streams = form.task.shape.names, form.task.streams
    is_gone = False
    try:
        places = (*names[: len(args)],) + ("",) * (len(args) - len(names))
        args = [stream(value, at) if places[at] in streams else value for at, value in enumerate(args)]
        first = len(references) - len(form.names)
        kwargs = {
            name: stream(value, first + form.names.index(name) if name in form.names else -1)
            if name in streams
            else value
            for name, value in kwargs.items()
        }
        value = await _make(managed, args, kwargs, make, start)
        is_gone = True
        return value
    finally:
        for cursor in opened:
            cursor.output.close(cursor, is_gone)


# --- who reads


def _readers_of(run: RunState, block: Block) -> tuple[Readers, dict[int, dict[int, int]]]:
    """Return who reads the registers of a block, and who as a stream: register -> instruction -> how often."""
    readers: Readers | None = run.readers.get(block)
    if readers is None:
        readers = run.readers[block] = Readers(block)
    if readers.by_streams is None:
        readers.by_streams = {}
        for j in range(len(block)):
            form = block.forms[j]
            if form is not None and form.task.streams and block.ops[j] == MANAGED:
                for at, is_stream in _arguments(block, j, form):
                    if is_stream:
                        times = readers.by_streams.setdefault(at, {})
                        times[j] = times.get(j, 0) + 1
    return readers, readers.by_streams


def _arguments(block: Block, j: int, form: CallForm) -> list[tuple[int, bool]]:
    """Return the references of a call, and whether each is for a stream."""
    references, shape = block.references(j), form.task.shape
    placed = len(references) - len(form.names)
    names = (*shape.names[:placed], *("" for _ in range(placed - len(shape.names))), *form.names)
    return [(at, name in form.task.streams) for at, name in zip(references, names, strict=True)]


def _open_output(managed: StreamedCall) -> Output | None:
    """Return where the items of a generator go, if anybody reads them one by one."""
    run, call = managed.run, managed.call
    frame, i = call.frame, call.register
    block, blueprint = frame.block, frame.activation.blueprint
    if block.ops[i] != MANAGED or call.number != block.source(i) or call.activation is not frame.activation:
        return None
    counted, by_streams = _readers_of(run, block)
    readers = by_streams.get(i, {})
    sink = run.result_sink
    if sink is not None and (sink.node is not blueprint.graph.nodes[call.number] or frame is not frame.activation.root):
        sink = None
    if not readers and sink is None:
        return None
    gate = managed.gate
    others = counted.counts[i] - sum(readers.values()) - (2 if sink is not None and i == block.root else 0)
    others += sum(each.first == i or any(at == i for _, at in each.amounts) for each in block.gates.values())
    is_kept = gate.terms.cache is not None or gate.terms.hooks is not None or run.journal is not None
    is_listed = others > 0 or is_kept or bool(blueprint.graph.jumps or blueprint.hoisted)
    output = Output(run, frame, i, set(readers), is_listed)
    if sink is not None:
        output.sink = sink
    return output


# --- who waits to read


def may_begin(run: RunState, frame: Frame, j: int, work: list[Any]) -> bool:
    """Park a reader that lacks inputs, or say that it can begin: all but streams that have begun are there."""
    block = frame.block
    form = block.forms[j]
    assert form is not None
    waiter = frame, j
    pending = [(at, is_stream) for at, is_stream in _arguments(block, j, form) if frame.regs[at] is PENDING]
    others = [at for at, is_stream in pending if not is_stream]
    if not others:
        gate = block.gates.get(j)
        reason = None if gate is None else gate_reason(frame, j, gate, work, waiter)
        if reason is PENDING:
            return False
        late = [at for at, _ in pending if (frame, at) not in run.flows]
        if reason is None and not late and _is_to_stream(run, frame, j):
            return True
        others = late or [at for at, _ in pending]
    frame.park(others[-1], waiter)
    return False


def _is_to_stream(run: RunState, frame: Frame, j: int) -> bool:
    """Say whether a reader is called for certain: no input was skipped, no cache or journal may have its value."""
    if any(value is NOTHING for value in frame.values(j)):
        return False
    gate = frame.block.gates.get(j)
    return (gate is None or gate.terms.cache is None) and (run.journal is None or not run.journal.is_asked)


def _begin_readers(run: RunState, output: Output, start: Start) -> None:
    """Let the readers begin that wait for a generator, which has begun, and for nothing else."""
    frame, i = output.frame, output.i
    waiting = frame.waiters.get(i, ())
    for waiter in [
        each for each in waiting if each.__class__ is tuple and each[0] is frame and each[1] in output.readers
    ]:
        frame.waiters[i].remove(waiter)
        if may_begin(run, frame, waiter[1], []):
            frame.scope.start(start, run, frame, waiter[1], PENDING)
    if not frame.waiters.get(i, True):
        del frame.waiters[i]
