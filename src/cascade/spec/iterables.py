"""What a map may be given: something to iterate over, and as much of each as of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

__all__ = ["check_iterable", "check_lengths", "refuse_lengths"]


def check_iterable(task: Any, name: str, value: Any) -> None:
    """Raise TypeError for what cannot be mapped over: a scalar, a str, bytes, a task."""
    if isinstance(value, (str, bytes)) or not (
        hasattr(value, "__iter__") or hasattr(value, "__aiter__") or hasattr(value, "__getitem__")
    ):
        is_task = hasattr(value, "func") and hasattr(value, "origin")
        what = "the task itself; did you mean to call it?" if is_task else repr(value)
        raise TypeError(
            f"map of {task.name!r} ({task.declared}): {name}= takes something to iterate over, not {what} "
            f"(for a value that stays the same: {task.name}.partial({name}=...).map(...))"
        )


def check_lengths(task: Any, lengths: dict[str, int]) -> None:
    """Raise ValueError if the inputs of a map differ in length."""
    if len(set(lengths.values())) > 1:
        refuse_lengths(task, lengths)


def refuse_lengths(task: Any, lengths: Mapping[str, object]) -> NoReturn:
    """Raise ValueError for inputs of a map that differ in length."""
    listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
    raise ValueError(
        f"map of {task.name!r} ({task.declared}): the inputs differ in length: {listed}; give each as many "
        f"items (a value that stays the same: {task.name}.partial(...).map(...))"
    )
