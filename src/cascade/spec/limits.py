"""Limits of a running engine as plain data: for which tasks one holds, and how much it allows."""

from __future__ import annotations

import math
import re
from fnmatch import translate
from typing import Any, Literal, NamedTuple

from cascade.errors import ConstraintError

__all__ = [
    "GLOBAL",
    "LARGEST",
    "Kind",
    "Limit",
    "burst_from",
    "concurrency_from",
    "matcher",
    "rate_from",
    "scope_from",
    "ttl_from",
]

Kind = Literal["pause", "concurrency", "rate"]
GLOBAL = "global"
TASK = "task:"
LONGEST = 1_000
"""Letters of a scope."""
LARGEST = 10**15
"""Calls at once, in a burst or a second; a call in so many seconds. Beyond it times would be no numbers any more."""
_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_RATE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*/\s*([smh])\s*")


class Limit(NamedTuple):
    """One limit that stands: what `engine.limits()` gives."""

    scope: str
    """`"global"`, or `"task:<pattern>"`."""
    kind: Kind
    value: float | None
    """Calls at once ("concurrency") or calls a second ("rate"); None for a pause."""
    expires_in: float | None
    """Seconds until it ends by itself; None: it stays."""
    burst: int | None = None
    """Of a rate: how many calls may start at once, where that was said."""


def scope_from(scope: Any) -> str:
    """Return a scope as it was given, if it is one.

    Raises:
        ConstraintError: it is neither `global` nor `task:<pattern>`.
    """
    if isinstance(scope, str) and (scope == GLOBAL or (scope.startswith(TASK) and scope[len(TASK) :].strip())):
        if len(scope) > LONGEST:
            raise ConstraintError(f"a scope has at most {LONGEST:,} letters, and {scope[:20]!r}... has {len(scope):,}")
        return scope
    hint = f'; for the tasks called so: "task:{scope}"' if isinstance(scope, str) and scope.isidentifier() else ""
    raise ConstraintError(
        f'the scope of a limit is "global" or "task:<pattern>" (such as "task:fetch*"), not {scope!r}{hint}'
    )


def matcher(scope: str) -> re.Pattern[str]:
    """Return what matches the names of the tasks that a `task:` scope is for; upper and lower case differ."""
    return re.compile(translate(scope[len(TASK) :]))


def rate_from(rate: Any) -> float:
    """Return a rate in calls a second: "5/s", "30/m", "300/h", "0.2/s", or a number that is one already.

    Raises:
        ConstraintError: it does not parse, or is not above zero.
    """
    if isinstance(rate, str):
        found = _RATE.fullmatch(rate)
        if found is None:
            raise ConstraintError(
                f'the rate {rate!r} does not parse; write "5/s", "30/m" or "300/h", or give a number of calls a second'
            )
        value = float(found[1]) / _PERIODS[found[2]]
    elif _is_number(rate):
        value = float(min(rate, LARGEST + 1)) if isinstance(rate, int) else rate
    else:
        raise ConstraintError(f'a rate is a number of calls a second or a text such as "30/m", not {rate!r}')
    if not 0 < value < math.inf:
        raise ConstraintError(f"a rate is above zero, which {rate!r} is not; engine.pause(...) lets nothing start")
    if not 1 / LARGEST <= value <= LARGEST:
        raise ConstraintError(f"a rate is from {1 / LARGEST:g} to {LARGEST:g} calls a second, which {rate!r} is not")
    return value


def concurrency_from(concurrency: Any) -> int:
    """Return a number of calls at once.

    Raises:
        ConstraintError: it is no whole number of 1 or more.
    """
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ConstraintError(
            f"concurrency is a whole number of 1 or more, not {concurrency!r}; engine.pause(...) lets nothing start"
        )
    return _small(concurrency, "concurrency")


def burst_from(burst: Any, rate: Any) -> int | None:
    """Return how many calls of a rate may start at once; None: what comes in one second.

    Raises:
        ConstraintError: it is no whole number of 1 or more, or there is no rate.
    """
    if burst is None:
        return None
    if isinstance(burst, bool) or not isinstance(burst, int) or burst < 1:
        raise ConstraintError(f"burst is a whole number of 1 or more, the calls that may start at once, not {burst!r}")
    if rate is None:
        raise ConstraintError(f"burst={burst} belongs to a rate, which is to be given with it: rate=..., burst={burst}")
    return _small(burst, "burst")


def ttl_from(ttl: Any) -> float | None:
    """Return the seconds after which a limit ends by itself; None: it stays.

    Raises:
        ConstraintError: it is no number above zero.
    """
    if ttl is None:
        return None
    if not _is_number(ttl) or not 0 < ttl <= LARGEST:
        raise ConstraintError(f"ttl is a number of seconds above zero, or None for a limit that stays, not {ttl!r}")
    return float(ttl)


def _small(count: int, what: str) -> int:
    if count > LARGEST:
        raise ConstraintError(
            f"{what} is {LARGEST:g} at most, as if there were none; engine.clear_limit(...) takes it away"
        )
    return count


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
