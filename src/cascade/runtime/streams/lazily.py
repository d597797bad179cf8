"""What the modules that carry out instructions ask of streams; it is imported when there is one."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade.runtime.frames.frame import Frame
    from cascade.runtime.run.state import RunState
    from cascade.runtime.streams.calls import Make, Start, StreamedCall

__all__ = ["attempt_streamed", "may_begin", "streamed"]


def streamed(managed: StreamedCall, work: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """Make a call that gives or reads a stream, which `work` does under its policies."""
    from cascade.runtime.streams.calls import carry_out_streamed

    return carry_out_streamed(managed, work)


def attempt_streamed(
    managed: StreamedCall, args: Sequence[Any], kwargs: dict[str, Any], make: Make, start: Start
) -> Awaitable[Any]:
    """Make one attempt of it."""
    from cascade.runtime.streams.calls import attempt_streamed

    return attempt_streamed(managed, args, kwargs, make, start)


def may_begin(run: RunState, frame: Frame, j: int, work: list[Any]) -> bool:
    """Park a reader of streams that lacks inputs, or say that it can begin."""
    from cascade.runtime.streams.calls import may_begin

    return may_begin(run, frame, j, work)
