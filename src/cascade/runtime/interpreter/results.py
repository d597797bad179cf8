"""What a task returned: a plain value, or a signal that means something to the engine."""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn

from cascade.errors import JumpError, StaticGraphError
from cascade.runtime.frames.frame import PENDING, Frame
from cascade.runtime.frames.started import Attempted
from cascade.spec.control import Jump, TailCall
from cascade.spec.lazy import Lazy
from cascade.spec.operations import GATED
from cascade.spec.signal import Signal

if TYPE_CHECKING:
    from cascade.runtime.run.state import RunState
    from cascade.spec.placement import CallForm

__all__ = ["is_signal", "plain_result", "refuse_jump", "refuse_lazy"]


def is_signal(value: object) -> bool:
    """Say whether a result needs more than to be kept."""
    return isinstance(value, (Signal, CoroutineType))


def plain_result(run: RunState, frame: Frame, i: int, op: int, form: CallForm, value: Any, deferred: list[Any]) -> Any:
    """Look closely at a result whose class differs from the last one's; return it if it is a plain value.

    A tail call, or a coroutine that a sync function returned, goes on beside the interpreter: PENDING.

    Raises:
        JumpError: a Jump from a task that is not bound.
        StaticGraphError: a lazy result.
    """
    if not isinstance(value, (Signal, CoroutineType)):
        form.seen = value.__class__
        return value
    if isinstance(value, Jump):
        refuse_jump(form, value)
    if isinstance(value, Lazy):
        refuse_lazy(form, value)
    if isinstance(value, (TailCall, CoroutineType)):
        if isinstance(value, CoroutineType) and op == GATED and frame.block.gates[i].retry is not None:
            deferred.append((frame, i, Attempted(value)))
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
