"""Streams: what a task gives item by item, and what a task declares that takes it so."""

from __future__ import annotations

from typing import Any

__all__ = ["check_generator"]


def check_generator(task: Any) -> None:
    """Look at a task that is a generator function.

    Raises:
        ValueError: it is to run in a process of its own.
        NotImplementedError: it takes `resume_from`.
    """
    if task.mode == "process":
        raise ValueError(
            f'task {task.name!r} ({task.declared}) is a generator function, which mode="process" cannot run yet: leave '
            "the mode out, and it runs in a thread; or return a list"
        )
    if task.shape is not None and "resume_from" in (*task.shape.names, *task.shape.keywords):
        raise NotImplementedError(
            f"task {task.name!r} ({task.declared}) takes resume_from, to go on behind recorded items; that "
            "is not built yet: call the parameter something else, and a run that goes on calls the task anew"
        )
