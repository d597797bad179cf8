"""The times at which a cron expression fires; needs cronsim."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cascade.errors import MissingExtraError

__all__ = ["check_cron", "times_after", "zone_from"]


def check_cron(cron: object, zone: tzinfo) -> str:
    """Return a cron expression that there is a next time of.

    Raises:
        TypeError, ValueError: it is none, or fires never.
        MissingExtraError: cronsim is not installed.
    """
    if not isinstance(cron, str):
        raise TypeError(f"cs.schedule(cron=...) takes an expression of five fields, '0 6 * * *', not {cron!r}")
    if len(cron.split()) != 5:
        raise ValueError(
            f"cs.schedule(cron={cron!r}) has {len(cron.split())} fields, and not five: minute, hour, day of the month, "
            "month, day of the week; '0 6 * * *' is each day at six"
        )
    if next(times_after(cron, zone, datetime.now(UTC)), None) is None:
        raise ValueError(f"cs.schedule(cron={cron!r}) never fires: no such day comes in 50 years")
    return cron


def zone_from(timezone: object) -> tzinfo:
    """Return a time zone by its name, or as it is.

    Raises:
        TypeError, ValueError: it is none.
    """
    if isinstance(timezone, tzinfo):
        return timezone
    if not isinstance(timezone, str):
        raise TypeError(f"cs.schedule(timezone=...) takes a name, 'Europe/Berlin', or a tzinfo, not {timezone!r}")
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"cs.schedule(timezone={timezone!r}): there is no such time zone here; they are called 'UTC' or "
            "'Europe/Berlin', and a system without them has them by the package tzdata"
        ) from None


def times_after(cron: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Give the times at which an expression fires, in UTC, each later than the one before; those after a time.

    Clocks that change are as in the cron of Debian: an hour or minute that is given fires at the next minute that
    exists, if it is skipped, and once, if it comes twice; a `*` is of real time.

    Raises:
        ValueError: it is no expression.
        MissingExtraError: cronsim is not installed.
    """
    try:
        from cronsim import CronSim, CronSimError
    except ImportError as error:
        raise MissingExtraError(
            "cron expressions need the package 'cronsim', which is not installed: pip install cascade-py[cron]",
            name="cronsim",
        ) from error
    try:
        found = CronSim(cron, after.astimezone(zone))
    except CronSimError as error:
        raise ValueError(f"cs.schedule(cron={cron!r}) is no cron expression: {error}") from None
    last = after.astimezone(UTC)
    for each in found:
        time = each.astimezone(UTC)
        if time > last:
            yield time
            last = time
