"""What a task returned: a plain value, or a signal that means something to the engine."""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

from cascade.errors import CascadeError, JumpError, StaticGraphError
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import NOTHING, PENDING, Frame
from cascade.runtime.frames.scope import NodeFailure
from cascade.runtime.frames.started import Attempted, Uncommitted
from cascade.runtime.interpreter.in_place import hold_place
from cascade.spec.control import Jump, TailCall
from cascade.spec.lazy import Lazy
from cascade.spec.signal import Signal

if TYPE_CHECKING:
    from cascade.runtime.run.state import RunState
    from cascade.spec.blueprint import Block
    from cascade.spec.placement import CallForm

__all__ = ["is_signal", "may_try_again", "plain_result", "refuse_jump", "refuse_lazy"]


def may_try_again(error: BaseException, block: Block, i: int) -> TypeGuard[Exception]:
    """Say whether what a call that was made in place failed of is for a retry policy to look at."""
    if not block.gates or not isinstance(error, Exception) or isinstance(error, NodeFailure):
        return False
    gate = block.gates.get(i)
    return gate is not None and gate.terms.retry is not None


def is_signal(value: object) -> bool:
    """Say whether a result needs more than to be kept."""
    return isinstance(value, (Signal, CoroutineType))


def plain_result(run: RunState, frame: Frame, i: int, op: int, form: CallForm, value: Any, deferred: list[Any]) -> Any:
    """Look closely at a result whose class differs from the last one's; return it if it is a plain value.

    A tail call, or a coroutine that a sync function returned, goes on beside the interpreter: PENDING. So does what is
    to be committed first.

    Raises:
        NodeFailure: of a JumpError for a Jump from a task that is not bound; of a StaticGraphError for a lazy result.
    """
    if value.__class__ is Uncommitted:
        value.put_aside(frame, i, deferred)
        return PENDING
    if not isinstance(value, (Signal, CoroutineType)):
        if value is not NOTHING:  # which is no result that others will be like
            form.seen = value.__class__
        return value
    try:
        if isinstance(value, Jump):
            refuse_jump(form, value)
        if isinstance(value, Lazy):
            refuse_lazy(form, value)
    except CascadeError as error:  # the call itself has not failed
        raise run.failure_at(Call(frame, i), error) from None
    if isinstance(value, (TailCall, CoroutineType)):
        gate = frame.block.gates.get(i)
        if isinstance(value, CoroutineType) and gate is not None and (gate.terms.retry or gate.terms.constraints):
            deferred.append((frame, i, Attempted(value, hold_place(run, frame, i, form, gate))))
        else:
            deferred.append((frame, i, value))
        return PENDING
    return value


def refuse_jump(form: CallForm, jump: Jump) -> NoReturn:
    """Raise for a Jump from a task that no selector leads."""
    name = form.task.name
    raise JumpError(
        f"task {name!r} (declared at {form.task.declared}) returned {jump!r} but is not bound to a selector; bind it:\n"
        f"  step = {name}(...)\n"
        f"  cs.bind(step, cs.select_jump({{{jump.target_key!r}: step, 'exit': None}}))"
    )


def refuse_lazy(form: CallForm, value: Lazy) -> NoReturn:
    """Raise for a task that declared something and returned it instead of a value."""
    called = f"{getattr(value, 'task', form.task).name}.func(...) "
    raise StaticGraphError(
        f"task {form.task.name!r} (declared at {form.task.declared}) returned {value!r}; a running task cannot add "
        f"to the graph: return a value ({called}calls a task's function at once), or return cs.Jump(...) from a bound "
        "task to go on elsewhere"
    )
