"""Policies as plain data: what a node may ask of the engine beyond a call."""

from __future__ import annotations

from typing import Any, NoReturn

from cascade.errors import ConstraintError
from cascade.spec.signal import Signal

__all__ = ["Constraints", "Retry", "is_amount", "refuse_option", "retry_from"]


def refuse_option(name: str) -> NoReturn:
    """Raise for an option of the contract that does not exist yet, rather than ignore it."""
    raise NotImplementedError(f"{name} is not built yet")


class Retry:
    """How often a failing call is tried, and how long to wait in between (seconds)."""

    __slots__ = ("backoff", "delay", "jitter", "max_attempts", "max_delay")

    def __init__(self, max_attempts: int, delay: float, backoff: float, jitter: float, max_delay: float | None) -> None:
        if not isinstance(max_attempts, int) or isinstance(max_attempts, bool) or max_attempts < 1:
            raise ValueError(f"retry needs max_attempts of 1 or more (the first call counts), not {max_attempts!r}")
        for name, amount in (
            ("delay", delay),
            ("backoff", backoff),
            ("jitter", jitter),
            ("max_delay", max_delay),
        ):
            if amount is not None and not amount >= 0:
                raise ValueError(f"retry needs a {name} of 0 or more, not {amount!r}")
        self.max_attempts = max_attempts
        self.delay = delay
        self.backoff = backoff
        self.jitter = jitter
        self.max_delay = max_delay

    def _key(self) -> tuple[Any, ...]:
        return (self.max_attempts, self.delay, self.backoff, self.jitter, self.max_delay)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Retry) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Retry(max_attempts={self.max_attempts}, delay={self.delay}, backoff={self.backoff})"

    def wait_after(self, attempt: int, random: float) -> float:
        """Return the seconds to wait after the failed `attempt` (1, 2, ...); `random` is in [0, 1)."""
        try:
            wait = self.delay * self.backoff ** (attempt - 1)
        except OverflowError:
            wait = float("inf")
        wait += self.jitter * random
        return wait if self.max_delay is None else min(wait, self.max_delay)


def is_amount(amount: Any) -> bool:
    """Say whether this is an amount of a capacity: a number above zero."""
    return isinstance(amount, (int, float)) and not isinstance(amount, bool) and 0 < amount < float("inf")


class Constraints:
    """How much of each named capacity one call holds while it runs."""

    __slots__ = ("amounts", "lazy")

    def __init__(self, amounts: dict[str, Any]) -> None:
        self.amounts: dict[str, float] = {}
        """Those that are known."""
        self.lazy: dict[str, Any] = {}
        """Those that are lazy values, to be read before each call."""
        for name, amount in amounts.items():
            if isinstance(amount, Signal) and amount.is_lazy:
                self.lazy[name] = amount
            elif is_amount(amount):
                self.amounts[name] = amount
            else:
                raise ConstraintError(f"with_constraints({name}={amount!r}): an amount is a number above zero")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constraints) and (self.amounts, self.lazy) == (other.amounts, other.lazy)

    def __hash__(self) -> int:
        return hash((frozenset(self.amounts.items()), frozenset(self.lazy.items())))

    def __repr__(self) -> str:
        given = {**self.amounts, **self.lazy}
        return "Constraints(" + ", ".join(f"{name}={amount}" for name, amount in given.items()) + ")"


def retry_from(given: Any) -> Retry | None:
    """Return the policy for what `retry=` or `with_retry` was given: an int, a dict, a tuple, a policy or None."""
    if given is None or isinstance(given, Retry):
        return given
    if isinstance(given, dict):
        names = ("max_attempts", "delay", "backoff", "jitter", "max_delay", "on", "give_up")
        defaults: tuple[Any, ...] = (3, 0.0, 1.0, 0.0, None, Exception, ())
        unknown = given.keys() - set(names)
        if unknown:
            raise TypeError(f"retry takes {', '.join(names)}, not {', '.join(sorted(map(str, unknown)))}")
        given = tuple(given.get(name, default) for name, default in zip(names, defaults, strict=True))
    if not isinstance(given, tuple):
        return Retry(given, 0.0, 1.0, 0.0, None)
    attempts, delay, backoff, jitter, max_delay, on, give_up = given
    if on is not Exception:
        refuse_option("with_retry(on=...)")
    if give_up != ():
        refuse_option("with_retry(give_up=...)")
    return Retry(attempts, delay, backoff, jitter, max_delay)
