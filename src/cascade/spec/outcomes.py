"""Outcomes: what stands for an item of a map that failed, and what hooks are told of."""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

from cascade.spec.notebook import card
from cascade.spec.notes import notes_of, spelled
from cascade.spec.shown import without_passwords

__all__ = ["Failed", "MapErrors", "Outcome", "errors_from"]


MOST_LETTERS, MOST_SHOWN = 200, 8
"""So much of the error and of each argument is shown, and so many of these."""


class Failed:
    """In the results of a map with `on_error="collect"`: an item that failed, after all its attempts.

    Args:
        error: what the task raised, with the note that says which item it was.
        index: the item's number in its map, from 0.
        arguments: what the task was called with, by name; for an item that loops, what was declared for it.
    """

    __slots__ = ("arguments", "error", "index")

    def __init__(self, error: BaseException, index: int, arguments: dict[str, Any]) -> None:
        self.error: BaseException = error
        self.index: int = index
        self.arguments: dict[str, Any] = arguments

    def __repr__(self) -> str:
        try:
            error = _brief(self.error)
        except Exception:
            error = spelled(self.error)
        given = [f"{name!r}: {_brief(value)}" for name, value in islice(self.arguments.items(), MOST_SHOWN)]
        if len(self.arguments) > MOST_SHOWN:
            given.append(f"and {len(self.arguments) - MOST_SHOWN} more")
        return f"Failed({error}, index={self.index}, arguments={{{', '.join(given)}}})"

    def _repr_html_(self) -> str:
        given = [(name, _brief(value)) for name, value in islice(self.arguments.items(), MOST_SHOWN)]
        notes = [("", without_passwords(note)) for note in notes_of(self.error)[:MOST_SHOWN]]
        return card(f"Failed: item {self.index}", [("error", without_passwords(spelled(self.error))), *notes, *given])


class Outcome:
    """How a call of a task, a sub-flow or a run ended: what `on_failure=` and `on_success=` are called with.

    Args:
        run_id: the id of the run.
        task_id: the id of the node, as events have it (`parse#3`, `parse#3[17]` for an item); of a run None.
        name: the name of the task; of a run, those of the tasks that it was asked for.
        iteration: which entry of the loop around the node, from 0.
        attempts: how many attempts there were.
        duration: how long it took, with all attempts and what they waited for, in monotonic seconds.
        value: what it returned, if it succeeded.
        error: what it failed of, with its notes, or None.
    """

    __slots__ = ("attempts", "duration", "error", "iteration", "name", "run_id", "task_id", "value")

    def __init__(
        self,
        run_id: str,
        task_id: str | None,
        name: str,
        iteration: int = 0,
        attempts: int = 1,
        duration: float = 0.0,
        value: Any = None,
        error: BaseException | None = None,
    ) -> None:
        self.run_id: str = run_id
        self.task_id: str | None = task_id
        self.name: str = name
        self.iteration: int = iteration
        self.attempts: int = attempts
        self.duration: float = duration
        self.value: Any = value
        self.error: BaseException | None = error

    def __str__(self) -> str:
        what = f"run {self.run_id}" if self.task_id is None else f"{self.task_id} of run {self.run_id}"
        ended = "succeeded" if self.error is None else "failed"
        tried = f" and {self.attempts} attempts" if self.attempts > 1 else ""
        said = "" if self.error is None else f": {without_passwords(spelled(self.error))}"
        return f"{what} {ended} after {self.duration:.3f} s{tried}{said}"

    def __repr__(self) -> str:
        return f"<Outcome: {self}>"


def _brief(value: Any) -> str:
    text = without_passwords(repr(value))
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS // 2]}…{text[-MOST_LETTERS // 2 :]}"


class MapErrors(NamedTuple):
    """What a map does about items that fail.

    Args:
        on_error: "raise" fails the map with the first; "collect" puts a `Failed` in the item's place; "skip" leaves
            the item out.
        most: how many items may fail before the map does: a number, a share of all items (a float below 1), or
            None for any number.
    """

    on_error: str = "raise"
    most: float | None = None

    def allowed(self, count: int | None) -> float | None:
        """Return how many of `count` items may fail; None: any number, or not known before the end."""
        if not isinstance(self.most, float):
            return self.most
        return None if count is None else self.most * count


def errors_from(task_name: str, on_error: Any, max_errors: Any) -> MapErrors:
    """Check what `map(on_error=..., max_errors=...)` was given.

    Raises:
        ValueError: one of them makes no sense, or both together.
    """
    if on_error not in ("raise", "collect", "skip"):
        raise ValueError(f'map of {task_name!r}: on_error is "raise", "collect" or "skip", not {on_error!r}')
    if max_errors is None:
        return MapErrors(on_error)
    is_share = isinstance(max_errors, float) and 0 <= max_errors < 1
    is_count = isinstance(max_errors, int) and not isinstance(max_errors, bool) and max_errors >= 0
    if not is_share and not is_count:
        raise ValueError(
            f"map of {task_name!r}: max_errors is how many items may fail (0 or more), or a share of them (a float "
            f"from 0.0 to below 1.0), not {max_errors!r}"
        )
    if on_error == "raise":
        raise ValueError(
            f'map of {task_name!r}: max_errors={max_errors!r} needs on_error="collect" or on_error="skip"; with "raise"'
            "the first item that fails fails the map"
        )
    return MapErrors(on_error, max_errors)
