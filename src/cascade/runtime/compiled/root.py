"""Running root blocks that were made functions, and going on by interpreting where they are left.

A block that has been used 16 times becomes one function, a chain of them, or straight code between the calls that
need the scheduler (`compiler.compiled_root`). It is kept with the block for each kind of watching: one that tells
events is another function than one that does not, so nobody pays for events that nobody hears. `compiled_for` decides
all that, and is asked once a run.

A function runs as long as everything is as it was when it was written. If it ends before its time, `rebuild_frame`
has made a frame of its line and local variables, and the run goes on in it: by `Deoptimized` where the whole block is
one function, at once where it is a piece. The frame itself is made only then, for in most runs nobody needs one.

Flows that are declared afresh for each request have a new block each time. Their code is found by shape, but only
where events are told: else the interpreter is through with them before the shape is known (22 nodes: 116 us, and 138
with the look; with events 420 and 341). The price of all this is memory for functions, one for each block and kind of
watching, and that the meaning of a flow stands in two places; the tests of agreement run each on all tiers
(docs/decisions/hot-loops.md).
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NoReturn

from cascade.compiler.analysis.shapes import block_shape, keep, kept
from cascade.compiler.code.emitted import Chain, Guards, StraightCode
from cascade.compiler.code.source_writer import Deoptimize, DeoptPoint, UnfitMap, odd
from cascade.compiler.compiled_root import FusedRoot, Making, fuse
from cascade.compiler.emit.block import PIECE
from cascade.runtime.compiled.deoptimization import call_at_point, publish_end, rebuild_frame, tries_again
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import NOTHING, PENDING, Activation, Frame
from cascade.runtime.interpreter.in_place import taken
from cascade.runtime.interpreter.last_readers import count_reads, find_last_readers, read_from, release_reads_of
from cascade.runtime.run.state import NOBODY, RunState
from cascade.runtime.shortcuts import off
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.placement import CallForm, placements
from cascade.spec.readable import readable

__all__ = ["Deoptimized", "compiled_for", "run_chain", "run_piece", "run_whole"]


class Deoptimized(Exception):
    """A function was left in the middle: `work` and `deferred` are what is still to be done in `frame`."""

    def __init__(self, frame: Frame, work: list[Any], deferred: list[Any]) -> None:
        self.frame = frame
        self.work = work
        self.deferred = deferred


def compiled_for(run: RunState, activation: Activation) -> FusedRoot | Making | None:
    """Return the root block as functions, made when it has been used enough; None: interpret it.

    A large one is not made at once: each run makes a piece of it, and is interpreted. On the tier that compiles
    everything a run is given what is being made, and comes again when the event loop has had a turn.
    """
    blueprint, patience = activation.blueprint, run.patience_to_compile
    block = blueprint.root
    block.uses += 1
    if not run.compiles_flows or blueprint.order is not None or not (run.direct and run.inline):
        return None
    if run.heard and run.bus.previews is not None:
        return None
    mark: Any = run.watch if run.result_sink is None else (*run.watch, "result_sink")
    fused: FusedRoot | None = block.fused.get(mark)
    if fused is None and block.uses == 1 and any(run.watch) and len(block) <= PIECE and "shared flows" not in off:
        fused = _kept_for_shape(run, blueprint, mark)
    if fused is None and block.uses <= patience:
        return None
    old = fused
    avoided: frozenset[int] = frozenset()
    if fused is not None and _is_out_of_date(block, fused):
        avoided, fused = fused.avoided, None
    if fused is not None and fused.has_maps and (unfit := fused.unfit()):
        avoided, fused = fused.avoided | unfit, None
    if fused is None or (block.making and mark in block.making):
        if run.result_sink is not None or "maps in flows" in off:
            avoided = frozenset(range(len(block)))  # its results are wanted one by one
        return _made(run, blueprint, mark, avoided) or old
    return fused


def _kept_for_shape(run: RunState, blueprint: Blueprint, mark: tuple[Any, ...]) -> FusedRoot | None:
    """Return the functions of a flow that is declared afresh for each run, once its shape has been seen enough.

    Only for runs that somebody listens to: without events the interpreter is through before the shape is known.
    """
    block = blueprint.root
    form = next((form for form in reversed(block.forms[: block.strict]) if form is not None), None)
    if form is None:
        return None
    shape = (block_shape(blueprint, block), mark)
    known = kept(form, shape) or 0
    if not isinstance(known, FusedRoot) and known < run.patience_to_compile:
        keep(form, shape, known + 1)
        return None
    if not isinstance(known, FusedRoot) or _is_out_of_date(block, known):
        known = fuse(blueprint, run.watch)
        keep(form, shape, known)
    block.fused[mark] = known
    return known


def _is_out_of_date(block: Block, fused: FusedRoot) -> bool:
    """Say whether more is known by now of the functions that a block calls than when it was made ready."""
    if fused.placed_at == placements[0] and fused.is_sure:
        return False
    fused.placed_at = placements[0]
    moved = any(_has_moved(block.forms[i], why) for i, why in fused.reasons.items())
    return moved or (not fused.is_sure and all(form.seen is not None for form in _forms(fused)))


def _made(
    run: RunState, blueprint: Blueprint, mark: tuple[Any, ...], avoided: frozenset[int]
) -> FusedRoot | Making | None:
    """Make one more piece of a root block; return it once it is all there."""
    block = blueprint.root
    if block.making is None:
        block.making = {}
    making: Making | None = block.making.get(mark)
    if making is None:
        making = block.making[mark] = Making(blueprint, run.watch, avoided)
    fused = making.go_on()
    if fused is not None:
        block.fused[mark] = fused
        block.making.pop(mark, None)
    return fused if fused is not None or run.patience_to_compile else making


def _has_moved(form: CallForm | None, why: str) -> bool:
    return why == "threads" and form is not None and form.inline is not None


def _forms(fused: FusedRoot) -> list[Any]:
    pieces = [fused.whole] if fused.whole is not None else fused.pieces
    return [form for piece in pieces for form in piece.forms]


def arguments(
    run: RunState,
    frame: Frame | None,
    activation: Activation,
    code: StraightCode,
    passed: dict[int, Any] | None = None,
) -> list[Any]:
    """Return what straight code is called with: from registers, from the constants, or from what is `passed` on."""
    if passed is not None:
        constants = activation.constants
        values = [passed[at] if at >= 0 else constants[-1 - at] for at in code.inputs]
    elif frame is not None:
        regs = frame.regs
        values = [regs[at] for at in code.inputs]
    else:
        constants = activation.constants
        values = [constants[-1 - at] for at in code.inputs]
    if run.watch is not NOBODY:
        assert frame is not None
        instances = [Call(frame, i).instance(run.names) for _, i in code.sites]
        values += [*run.tellers(), frame.iteration, [instance.site_of(frame.suffix) for instance in instances]]
    if code.is_async or code.has_maps:
        values.append(run.ticker)
    if code.taken:
        values += taken(run, activation, activation.blueprint.root, [(i, at) for _, i, at in code.taken]) or ()
    return values


def _begun(
    run: RunState,
    frame: Frame | None,
    activation: Activation,
    code: StraightCode,
    passed: dict[int, Any] | None = None,
) -> Coroutine[Any, Any, Any]:
    """Return the coroutine of straight code that awaits."""
    guards = run.guarded(code)
    values = arguments(run, frame, activation, code, passed)
    begun: Coroutine[Any, Any, Any] = guards.function(*values, _look(run, code, guards))
    return begun


def _look(run: RunState, code: StraightCode, guards: Guards) -> Any:
    watch, ticker = run.watch, run.ticker

    async def look(value: Any = None) -> None:
        """Leave if a value is a signal, or if a limit or a watcher came meanwhile; give the event loop its turn."""
        odd(value)
        if ticker.due:
            await run.turn()
        elif guards.is_retired:
            run.look()
        run.scope.check()
        if run.watch != watch or run.governs(*code.forms):
            raise Deoptimize

    return look


@readable("run", "activation", "code", "frame")
async def run_whole(run: RunState, activation: Activation, code: StraightCode, frame: Frame | None) -> Any:
    """Run a root block that is one function; return the value of its target.

    Args:
        frame: the root frame, where somebody watches; it is made when it is needed.

    Raises:
        Deoptimized: the function was left in the middle.
        NodeFailure: a task raised.
    """
    ticker = run.ticker
    ticker.begin()
    try:
        if code.is_async:
            value = await _begun(run, frame, activation, code)
        else:
            value = code.function(*arguments(run, frame, activation, code))
    except BaseException as error:
        if frame is None:
            frame = run.frame_of(activation)
        count_reads(frame)
        left = _caught(run, frame, code, error)
        del error
    else:
        if code.outputs[1:]:
            value = value[0]
        if ticker.due:
            run.ticker.caught_in(code.is_async, code.forms)
            await run.turn()
        return value
    assert frame is not None
    work, deferred = left
    raise Deoptimized(frame, [(frame, iter(work))], deferred)


@readable("run", "activation", "code", "frame")
async def run_chain(run: RunState, activation: Activation, chain: Chain, frame: Frame | None) -> Any:
    """Run a root block that is a chain of functions.

    What one leaves for others is handed on beside the root frame, which is as large as the block and made when it is
    needed.

    Raises:
        Deoptimized: a function was left in the middle.
        NodeFailure: a task raised.
    """
    watch, passed = run.watch, dict[int, Any]()
    run.ticker.begin()
    for number, code in enumerate(chain.parts):
        left: tuple[list[Any], list[Any]] | None = None
        if number and run.ticker.due:
            await run.turn()
        moved = code.placed_at != placements[0] and not code.may_run()
        if moved or run.watch != watch or (run.governed and run.governs(*code.forms)):
            frame = _frame_with(run, activation, frame, chain.parts[:number], passed)
            left = [frame.step(i) for i in sorted(code.steps)], []
        else:
            try:
                if code.is_async:
                    result = await _begun(run, frame, activation, code, passed)
                else:
                    result = code.function(*arguments(run, frame, activation, code, passed))
            except BaseException as error:
                frame = _frame_with(run, activation, frame, chain.parts[:number], passed)
                left = _caught(run, frame, code, error)
                del error
        if left is not None:
            assert frame is not None
            later = [frame.step(i) for other in chain.parts[number + 1 :] for i in sorted(other.steps)]
            raise Deoptimized(frame, [(frame, iter(left[0] + later))], left[1])
        if code.outputs[1:]:
            passed.update(zip(code.outputs, result, strict=True))
        else:
            passed[code.outputs[0]] = result
        for at in chain.last_read[number]:
            del passed[at]
        del result
    if run.ticker.due:
        await run.turn()
    return passed[activation.blueprint.root.root]


def _frame_with(
    run: RunState, activation: Activation, frame: Frame | None, done: list[StraightCode], passed: dict[int, Any]
) -> Frame:
    """Return the root frame as it is behind these functions; what they `passed` on is moved there."""
    if activation.blueprint.root.moves is None:
        find_last_readers(activation.blueprint)
    if frame is None:
        frame = run.frame_of(activation)
    block = frame.block
    count_reads(frame)
    for at, value in passed.items():
        frame.regs[at] = value
    passed.clear()
    for part in done:
        if part.reads is None:
            part.reads = read_from(block, part.steps, part.inputs)
        release_reads_of(frame, part.reads)
    return frame


@readable("run", "code", "frame")
def run_piece(run: RunState, frame: Frame, code: StraightCode, work: list[Any], deferred: list[Any]) -> None:
    """Run straight code between managed calls, and wake what waited for its results."""
    instances = [Call(frame, i).instance(run.names) for _, i in code.sites] if any(run.watch) else ()
    changed = run.watch != frame.watch or any(instance.entries or instance.items for instance in instances)
    skips = frame.activation.blueprint.skips and any(
        at in frame.skips or frame.regs[at] is NOTHING for at in code.inputs
    )
    if changed or skips or not code.may_run() or run.governs(*code.forms):
        work.append((frame, iter([frame.step(i) for i in sorted(code.steps)])))
        return
    try:
        result = code.function(*arguments(run, frame, frame.activation, code))
    except BaseException as error:
        steps, put_aside = _caught(run, frame, code, error)
        deferred += put_aside
        work.append((frame, iter(steps)))
        _wake(frame, code.steps, work)
        return
    outputs = code.outputs
    if run.ticker.due:
        run.ticker.caught_in(code.is_async, code.forms)
    results = (result,) if len(outputs) == 1 else result
    for at, value in zip(outputs, results, strict=True):
        frame.regs[at] = value
    if code.reads is None:
        code.reads = read_from(frame.block, code.steps, code.inputs)
    release_reads_of(frame, code.reads)
    _wake(frame, outputs, work)


def _wake(frame: Frame, registers: list[int], work: list[Any]) -> None:
    waiters = frame.waiters
    if waiters:
        for at in registers:
            if at in waiters and frame.regs[at] is not PENDING:
                frame.wake(waiters.pop(at), work)


def _caught(run: RunState, frame: Frame, code: StraightCode, error: BaseException) -> tuple[list[Any], list[Any]]:
    """Return the steps still to be made, and calls to be put aside, where straight code was left; raise what failed."""
    place, values = code.where(error)
    if place is not None and tries_again(error, frame, place):
        return rebuild_frame(run, frame, code, place, values, sorted(code.steps), error)
    if place is None or not isinstance(error, Deoptimize):
        try:
            _raise(run, frame, code, place, values, error)
        finally:
            del error, values  # the traceback leads here
    i = place.register
    if isinstance(error, UnfitMap):
        code.unfit[i] += 1
    return rebuild_frame(run, frame, code, place, values, sorted(code.steps))


def _raise(
    run: RunState,
    frame: Frame,
    code: StraightCode,
    place: DeoptPoint | None,
    values: dict[str, Any],
    error: BaseException,
) -> NoReturn:
    """Raise what came out of straight code, and say so."""
    try:
        if place is None:
            raise error
        if run.is_asked(error, frame.scope):
            publish_end(run, Call(frame, place.way[0].register), place, values, error, "Cancelled")
            raise error
        call = call_at_point(run, frame, code, place, values)
        publish_end(run, call, place, values, error, "Failed")
        raise run.failure_at(call, error) from None
    finally:
        del error, values
