"""Programs that are run by the clock: which target has which schedule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, TypeVar

from cascade.adapters.schedules.cron import check_cron, zone_from
from cascade.adapters.schedules.schedule import Overlap, Schedule
from cascade.errors import StateError
from cascade.spec.blueprint import Blueprint
from cascade.spec.lazy import Lazy

__all__ = ["schedule", "schedule_of"]

T = TypeVar("T")
OVERLAPS = ("skip", "queue", "allow")


_declared: list[tuple[Any, Schedule]] = []


def schedule(
    *, cron: str, timezone: str | tzinfo = "UTC", catch_up: bool | int = False, overlap: Overlap = "skip"
) -> Callable[[T], T]:
    """Have a target run by the clock, in the servers of its file (`cascade serve`): `@cs.schedule(cron="0 6 * * *")`.

    It decorates what `cascade run` takes as a target: a function that returns a lazy result, or a lazy result itself,
    `cs.schedule(cron="0 6 * * *")(report)`. Both come back as they are. Each firing is a run of its own, of the id
    `file.py:name@time`, so that several servers of a store make one; parameters need defaults.

    Args:
        cron: minute, hour, day of the month, month, day of the week, as in the crontab of Debian.
        timezone: whose time that is. Where a change of clocks skips a time it is the next minute that exists, and where
            a time comes twice, it is the first one; a `*` for minute or hour goes through real time.
        catch_up: what becomes of times at which no server was there: False, the latest one is made up for if it was
            less than 60 seconds ago; True, all since the schedule was first seen, oldest first; a number, the latest
            so many.
        overlap: what becomes of a time while a run of an earlier one has not ended: "skip" it, "queue" it behind that,
            or "allow" both.

    Raises:
        TypeError, ValueError: an option is wrong.
        MissingExtraError: cronsim is not installed (`pip install cascade-py[cron]`).
    """
    zone = zone_from(timezone)
    if not isinstance(catch_up, int):
        raise TypeError(f"cs.schedule(catch_up=...) takes True, False, or how many firings, not {catch_up!r}")
    if catch_up < 0:
        raise ValueError(f"cs.schedule(catch_up=...) takes 0 or more firings, not {catch_up!r}")
    if overlap not in OVERLAPS:
        raise ValueError(f'cs.schedule(overlap=...) is "skip", "queue" or "allow", not {overlap!r}')
    said = Schedule(check_cron(cron, zone), zone, catch_up, overlap)

    def decorate(target: T) -> T:
        is_maker = callable(target) and hasattr(target, "__code__")
        if not (is_maker or isinstance(getattr(target, "blueprint", target), (Lazy, Blueprint, list, tuple, dict))):
            raise TypeError(
                f"cs.schedule decorates what `cascade run` takes: a lazy result, or a function that returns one, not "
                f"{target!r:.100}; of a task say cs.schedule(...)(task())"
            )
        if schedule_of(target) is not None:
            raise StateError(f"{target!r:.100} has a schedule already")
        _declared.append((target, said))
        return target

    return decorate


def schedule_of(target: object) -> Schedule | None:
    """Return the schedule of a target, if it has one."""
    return next((said for one, said in _declared if one is target), None)
