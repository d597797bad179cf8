"""The interpreter: what the instructions of a Blueprint mean.

`run_ready` carries out, on the event loop's thread, all that can run now. The instructions stand in topological
order, so where functions are short and run in place the whole graph is one pass over arrays, and each input is there
when it is read. What takes time (coroutines, threads, policies, loops, maps) is put aside, for `scheduler.drive` to
carry out. An instruction whose input has no value yet is parked with that input, and run again when it has one.

Most schedulers count instead: how many inputs a node still lacks, and a queue of those that lack none. That needs
counts to be set up and lowered and a list of readers for each node, in graphs of which hardly a node ever waits. Here
only a node that really waits costs more. The price: it is parked with one input at a time, so one that lacks several
may be looked at several times. Routes and `otherwise`s need no rule of their own: who asks for a value that nobody
has begun parks with it, and adds it to the work (docs/decisions/registers-are-parked.md).

Plain calls are written out within `run_ready`, by how many values they take. A call costs about 45 ns and the pass
around it about 100, so one more Python call for each would be felt; `_special` has the rest, where nobody feels it.
Whether the result is a value is told by its class: if it is that of the last one, it is
(docs/decisions/hot-loops.md); else `results.plain_result` looks closer.

All other code that carries out instructions is a short way for some of them, and gives back to this module whatever
it was not written for. So a new operation begins here, and is right before it is quick.
"""

from __future__ import annotations

from typing import Any, Final

from cascade.errors import RouterError
from cascade.runtime.frames.call import Call, at_register
from cascade.runtime.frames.frame import NOTHING, PENDING, Frame, Skip, steps_of
from cascade.runtime.frames.gates import gate_reason, stand_in
from cascade.runtime.frames.started import Attempted, MapStarted, SubflowStarted, Uncommitted, close
from cascade.runtime.interpreter.in_place import call_in_place
from cascade.runtime.interpreter.last_readers import count_reads, release_reads
from cascade.runtime.interpreter.maps import map_in_pass
from cascade.runtime.interpreter.results import may_try_again, plain_result
from cascade.runtime.interpreter.subflows import close_subflow, given_constants, open_subflow
from cascade.runtime.run.state import RunState
from cascade.spec.gate import Gate
from cascade.spec.operations import (
    CALL0,
    CALL1,
    CALLN,
    FUSED,
    GATED,
    IMPORT,
    MANAGED,
    MAP,
    MOVE1,
    OPTIONAL,
    PACK,
    ROUTE,
    SUBFLOW,
)
from cascade.spec.placement import CallForm, arguments
from cascade.spec.readable import readable

__all__ = ["MAY_WAIT", "TURN", "Deferred", "run_ready"]

Deferred = tuple[Frame, int, Any]
"""A call put aside: its frame, its register, and what it returned if it was begun in place already; or MAY_WAIT."""
MAY_WAIT: Final = object()
"""In the place of what a call returned: a limit or a constraint may be for it, so it is to ask whether it may start."""
MOST_DEFERRED = 1024
"""So many calls that take time are started before the event loop has a turn."""
TURN: Final = object()
"""What `run_ready` returns when the event loop must have a turn before it goes on."""


@readable("run", "frame", "i", place=at_register)
def run_ready(run: RunState, work: list[Any], deferred: list[Deferred]) -> Any:
    """Carry out the steps of the work, the last entry first.

    Calls that take time are added to `deferred`. Returns None when no work is left, TURN when the event loop
    needs a turn first, or the form of a function whose first call should be timed first.

    Raises:
        NodeFailure: a task, or a condition's truth, raised.
    """
    ticker = run.ticker
    # Plain calls in place are told apart by these; where each call needs more (events, another executor), none is.
    call1, calls, move1 = run.in_pass
    while work:
        frame, steps = work[-1]
        regs, operands, waiters = frame.regs, frame.operands, frame.waiters
        last, left, lets_go = frame.last, frame.left, frame.block.moves is not None
        i = -1
        try:
            for i, op, form, at in steps:
                if op == call1:
                    value = regs[at]
                    if value is PENDING:
                        frame.park(at, (frame, i))
                    else:
                        call = form.inline
                        value = _call(run, frame, i, form, (value,), deferred) if call is None else call(value)
                elif op == move1:
                    value = regs[at]
                    if value is PENDING:
                        frame.park(at, (frame, i))
                    elif (call := form.inline) is None:
                        value = _call(run, frame, i, form, (value,), deferred)
                    else:
                        value = call(value)
                        if value.__class__ is form.seen:
                            if left is not None:
                                release_reads(frame, i)
                            elif last is None or last[at] == i:
                                regs[at] = None  # nobody else reads it
                elif op <= calls and (call := form.inline) is not None and not form.names:
                    if op == CALL0:
                        value = call()
                    elif i in frame.looked and _waits(frame, i, at):
                        value = PENDING
                    elif operands[at] == 2:  # the commonest number by far
                        at, other = operands[at + 1], operands[at + 2]
                        value, second = regs[at], regs[other]
                        if value is PENDING or second is PENDING:
                            _waits(frame, i, frame.block.places[i])
                            value = PENDING
                        else:
                            value = call(value, second)
                            second = None
                            if value.__class__ is form.seen:
                                if last is not None:
                                    if last[at] == i:
                                        regs[at] = None
                                    if last[other] == i:
                                        regs[other] = None
                                elif left is not None:
                                    release_reads(frame, i)
                    else:
                        references = operands[at + 1 : at + 1 + operands[at]]
                        values = [regs[reference] for reference in references]
                        for value in values:
                            if value is PENDING:
                                _waits(frame, i, at)
                                break
                        else:
                            value = call(*values)
                            values = []
                            if value.__class__ is form.seen:
                                if last is not None:
                                    for at in references:
                                        if last[at] == i:
                                            regs[at] = None
                                elif left is not None:
                                    release_reads(frame, i)
                else:
                    value = _special(run, frame, i, CALL1 if op == MOVE1 else op, form, at, work, deferred)
                    if value is PENDING:
                        if work[-1][1] is not steps:
                            break  # it asked for others, which come first
                    elif lets_go and (form is None or value.__class__ is form.seen):
                        release_reads(frame, i)
                if form is None:
                    if value is PENDING:
                        continue
                elif value.__class__ is not form.seen:
                    if value is not PENDING:
                        value = plain_result(run, frame, i, op, form, value, deferred)
                    if value is PENDING:
                        if last is not None:  # what follows need not end in the order in which it stands
                            last, left = None, count_reads(frame, i)
                        if run.stall is not None:
                            return run.take_stall()
                        if ticker.due or len(deferred) >= MOST_DEFERRED:
                            return TURN
                        continue
                    if lets_go:
                        release_reads(frame, i)
                regs[i] = value
                if waiters and i in waiters:
                    frame.wake(waiters.pop(i), work)
                    if work[-1][1] is not steps:
                        break
                if ticker.due:
                    ticker.caught(form)
                    return TURN
            else:
                work.pop()
        except BaseException as error:
            if may_try_again(error, frame.block, i) and frame.block.ops[i] <= CALLN:
                deferred.append((frame, i, Attempted(error)))
                continue
            for _, _, started in deferred:
                close(started)  # what a function returned, and nobody will await
            raise run.failure_at(Call(frame, i), error) from None
    return None


def _call(
    run: RunState, frame: Frame, i: int, form: CallForm, values: list[Any] | tuple[Any, ...], deferred: list[Deferred]
) -> Any:
    """Call in place if that is allowed, with events if somebody listens; else put the call aside."""
    if form.inline is None or not run.inline:
        deferred.append((frame, i, MAY_WAIT if run.governed else PENDING))
        if (
            not run.governed
            and not form.is_async
            and run.direct
            and not form.profile.measured
            and form.task.mode == "auto"
        ):
            run.stall_for(form.profile)
        return PENDING
    args, kwargs = arguments(form, values)
    if not run.observed:
        return form.inline(*args, **kwargs)
    if run.governed and run.governs(form):
        deferred.append((frame, i, MAY_WAIT))
        return PENDING
    return run.observe_call(Call(frame, i), form.inline, args, kwargs)


def _special(
    run: RunState,
    frame: Frame,
    i: int,
    op: int,
    form: Any,
    at: Any,
    work: list[Any],
    deferred: list[Deferred],
) -> Any:
    """Carry out an instruction that is more than a call; PENDING if it has to wait."""
    if op == IMPORT:
        return _import(frame, i, at, work)
    if op == FUSED:
        for reference in at.inputs:
            if frame.regs[reference] is PENDING:
                frame.park(reference, (frame, i))
                return PENDING
        run.operations.piece(run, frame, at, work, deferred)
        return PENDING
    if i in frame.looked and _waits(frame, i, at):
        return PENDING
    regs, block = frame.regs, frame.block
    references = block.references(i)
    values = [regs[reference] for reference in references]
    lacks = False
    for value in values:
        if value is PENDING:
            if op == MAP or (op == MANAGED and form.task.streams):
                inputs = run.operations.map_inputs if op == MAP else run.operations.stream_inputs
                if inputs(run, frame, i, work):
                    deferred.append((frame, i, PENDING))
            else:
                _waits(frame, i, at)
            return PENDING
        if value is NOTHING:
            lacks = True
    gate = block.gates.get(i)
    if gate is not None:
        if i in frame.skips:  # decided before; its `otherwise` is there now
            return stand_in(frame, frame.skips[i], gate, work, (frame, i))
        reason = gate_reason(frame, i, gate, work, (frame, i))
        if reason is PENDING:
            return PENDING
        if run.journal is not None and run.journal.has_decided():
            deferred.append((frame, i, Uncommitted(PENDING)))
            return PENDING
        if reason is None and lacks:
            reason = "UpstreamSkipped_Data"
        if reason is not None:
            skip = frame.skips[i] = Skip(reason)
            if run.observed and block.kinds[i] <= CALLN:
                run.publish_skip(Call(frame, i), reason)
            return stand_in(frame, skip, gate, work, (frame, i))
    elif op == OPTIONAL:
        if lacks:
            return None
        if references[0] in frame.skips:
            frame.skips[i] = frame.skips[references[0]]
        return values[0]
    elif lacks:
        frame.skips[i] = Skip("UpstreamSkipped_Data")
        return NOTHING
    if op == PACK:
        return frame.activation.blueprint.graph.nodes[block.source(i)].make(values)
    if op == ROUTE:
        return _route(frame, i, references[0], work)
    if run.keeps_in_pass and gate is None and op <= CALLN and form.inline is not None:
        return run.call_in_pass(frame, i, form, values)
    is_apart = False
    if run.journal is not None and run.journal.is_asked:
        value, is_apart = run.journal.of_register(frame, i)
        if value is not PENDING:
            return value
    may_be_here = form is not None and (form.inline is not None or (gate is not None and gate.terms.cache is not None))
    if not is_apart and (op <= CALLN or (op == GATED and may_be_here)):
        if gate is None or (gate.terms.retry is None and not gate.terms.asks):
            return _call(run, frame, i, form, values, deferred)
        if not run.observed and not run.governs(form):
            try:
                if not gate.terms.asks:
                    return _call(run, frame, i, form, values, deferred)
                if (value := call_in_place(run, frame, form, gate, values, not deferred)) is not PENDING:
                    return value
            except Exception as error:
                if gate.terms.retry is None:
                    raise
                deferred.append((frame, i, Attempted(error)))
                return PENDING
    if op == MAP and run.maps_in_pass and gate is None and i not in block.jumps:
        value = map_in_pass(run, frame, i, values)
        if value.__class__ is not MapStarted:
            if value is not PENDING:
                return value
        else:
            deferred.append((frame, i, value))
            return PENDING
    if block.kinds[i] == SUBFLOW:
        return _subflow(run, frame, i, gate, values, deferred)
    may_wait = op != MAP and (run.governed or (gate is not None and gate.terms.constraints is not None))
    deferred.append((frame, i, MAY_WAIT if may_wait else PENDING))
    return PENDING


def _subflow(
    run: RunState, around: Frame, i: int, gate: Gate | None, values: list[Any], deferred: list[Deferred]
) -> Any:
    """Carry out a sub-flow as far as that can be now; PENDING if more of it takes time."""
    if (gate is not None and gate.terms.is_policy) or run.shares or not around.activation.nests:
        deferred.append((around, i, PENDING))
        return PENDING
    frame = open_subflow(run, around, i, given_constants(run, around, i, values))
    activation = frame.activation
    work: list[Any] = [(frame, steps_of(frame.block, activation.blueprint.order))]
    inner: list[Deferred] = []
    try:
        outcome = run_ready(run, work, inner)
    except BaseException:
        activation.let_go()
        raise
    if outcome is not None or inner or frame.waiters:
        deferred.append((around, i, SubflowStarted(frame, work, inner, outcome)))
        return PENDING
    value, skip = close_subflow(run, frame)
    if skip is not None:
        around.skips[i] = skip
    return value


def _waits(frame: Frame, i: int, at: int) -> bool:
    """Park an instruction with an input that has no value yet, if there is one.

    The last such input, because what started last tends to end last; and those behind it have values from now
    on, so the next look begins there. A container of many results is thus looked at a few times, not once each.
    """
    regs = frame.regs
    kind = frame.block.kinds[i]
    if kind == CALL1:
        if regs[at] is PENDING:
            frame.park(at, (frame, i))
            return True
        return False
    if kind == CALL0:
        return False
    operands, looked = frame.operands, frame.looked
    place = looked.pop(i, at + operands[at]) if looked else at + operands[at]
    while place > at:
        reference = operands[place]
        if regs[reference] is PENDING:
            looked[i] = place
            frame.park(reference, (frame, i))
            return True
        place -= 1
    return False


def _import(frame: Frame, i: int, number: int, work: list[Any]) -> Any:
    """Take the value of a node that runs once a run, in the root frame."""
    root = frame.activation.root
    value = root.regs[number]
    if value is PENDING:
        root.park(number, (frame, i))
        root.demand(number, work)
        return PENDING
    skip = root.skips.get(number)
    if skip is not None:
        frame.skips[i] = skip
    return value


def _route(frame: Frame, i: int, selector: int, work: list[Any]) -> Any:
    key = frame.strictly(selector)
    if key is NOTHING:
        frame.skips[i] = Skip("UpstreamSkipped_Data")
        return NOTHING
    router = frame.block.routes[i]
    try:
        reference = router.routes.get(key, router.default)
    except TypeError:  # a key that cannot be hashed names no route
        reference = router.default
    if reference is None:
        node = frame.activation.blueprint.graph.nodes[frame.block.source(i)]
        known = ", ".join(map(repr, router.routes))
        given = frame.activation.blueprint.graph.inputs.get(-1 - selector)
        shown = key if given is None else given.shown(key)
        raise RouterError(
            f"the selector of the router declared at {node.declared} gave {shown!r}, which has no route; "
            f"the routes are: {known} (default=... would take any other key)"
        )
    value = frame.regs[reference]
    if value is PENDING:
        frame.park(reference, (frame, i))
        frame.demand(reference, work)
        return PENDING
    skip = frame.skips.get(reference) if reference >= 0 else None
    if skip is not None:
        frame.skips[i] = skip
    return value
