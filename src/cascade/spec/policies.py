"""Policies as plain data: what a node may ask of the engine beyond a call, and what was set on each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

from cascade.errors import ConstraintError
from cascade.spec.keywords import no_option
from cascade.spec.signal import UNSET, Signal

__all__ = [
    *("METHOD", "NO_CONFIG", "SETTINGS", "Config", "OwnConfig"),
    *(
        "Constraints",
        "Hook",
        "Hooks",
        "Retry",
        "hooks_from",
        "hooks_of",
        "is_amount",
        "is_coroutine_function",
        "needs_from",
        "refuse_option",
    ),
    *("retry_from", "retry_of", "seconds_from"),
]

if TYPE_CHECKING:
    from cascade.spec.budgets import Budget
    from cascade.spec.outcomes import Outcome
    from cascade.spec.selector import JumpSelector

    Hook: TypeAlias = Callable[[Outcome], object] | None
    """What is called with an outcome; None: nothing is."""
else:  # what declares a call needs no words for errors
    Hook = Callable[[Any], object] | None


def refuse_option(name: str) -> NoReturn:
    """Raise for an option of the contract that does not exist yet, rather than ignore it."""
    raise NotImplementedError(f"{name} is not built yet")


class Retry:
    """How often a failing call is tried, how long to wait in between (seconds), and which failures are worth it.

    `on` and `give_up` are each an exception class, a tuple of them, or a function of the error that says yes or no.
    """

    __slots__ = ("backoff", "delay", "give_up", "jitter", "max_attempts", "max_delay", "on")

    def __init__(
        self,
        max_attempts: int = 3,
        delay: float = 0.0,
        backoff: float = 1.0,
        jitter: float = 0.0,
        max_delay: float | None = None,
        on: Any = Exception,
        give_up: Any = (),
    ) -> None:
        if not isinstance(max_attempts, int) or isinstance(max_attempts, bool) or max_attempts < 1:
            raise ValueError(f"retry needs max_attempts of 1 or more (the first call counts), not {max_attempts!r}")
        for name, amount in (
            ("delay", delay),
            ("backoff", backoff),
            ("jitter", jitter),
            ("max_delay", max_delay),
        ):
            if amount is not None and (not _is_number(amount) or not amount >= 0):
                raise ValueError(f"retry needs a {name} of 0 or more, not {amount!r}")
        self.max_attempts: int = max_attempts
        self.delay: float = delay
        self.backoff: float = backoff
        self.jitter: float = jitter
        self.max_delay: float | None = max_delay
        self.on: Any = _filter("on", on)
        self.give_up: Any = _filter("give_up", give_up)

    def _key(self) -> tuple[Any, ...]:
        return (self.max_attempts, self.delay, self.backoff, self.jitter, self.max_delay, self.on, self.give_up)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Retry) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key()[:5])

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


def retry_of(*options: Any) -> Retry:
    """Return a policy of these options, in order; without filters, the same one for all that ask for the same."""
    *amounts, on, give_up = options
    if on is Exception and give_up.__class__ is tuple and not give_up and {type(each) for each in amounts} <= _NUMBERS:
        return _known_retry(*amounts)
    return Retry(*options)


_known_retry = lru_cache(maxsize=128, typed=True)(Retry)
_NUMBERS = frozenset({int, float, type(None)})


def _filter(name: str, given: Any) -> Any:
    """Check a filter of errors and return it."""
    for one in given if isinstance(given, tuple) else (given,):
        if isinstance(one, type):
            if not issubclass(one, BaseException):
                raise TypeError(f"retry takes exception classes in {name}=, not {one!r}")
            if not issubclass(one, Exception):
                raise TypeError(
                    f"retry cannot have {one.__name__} in {name}=: only an Exception is ever tried again; a "
                    "CancelledError, KeyboardInterrupt or SystemExit ends the call"
                )
        elif one is not given or not callable(one) or is_coroutine_function(one):
            raise TypeError(
                f"retry takes an exception class, a tuple of them or a plain function of the error in {name}=, "
                f"not {given!r}"
            )
    return given


def is_coroutine_function(func: Any) -> bool:
    """Say whether a function, or an object that is called, is async."""
    code = getattr(func, "__code__", None) or getattr(getattr(type(func), "__call__", None), "__code__", None)  # noqa: B004
    return bool(getattr(code, "co_flags", 0) & 0x80)


def is_amount(amount: Any) -> bool:
    """Say whether this is an amount of a capacity: a number above zero."""
    return isinstance(amount, (int, float)) and not isinstance(amount, bool) and 0 < amount < float("inf")


class Constraints:
    """How much of each named capacity one call holds while it runs."""

    __slots__ = ("amounts", "lazy")

    def __init__(self, amounts: dict[str, Any]) -> None:
        self.amounts: dict[str, float] = {}
        """The amounts that are known."""
        self.lazy: dict[str, Any] = {}
        """The amounts that are lazy values, to be read before each call."""
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
        return "Constraints(" + ", ".join(f"{name}={amount!r}" for name, amount in given.items()) + ")"


def needs_from(resources: Any) -> dict[str, float] | None:
    """Return what `@cs.task(resources=...)` says that a call needs of a worker of a cluster."""
    if resources is None:
        return None
    if not isinstance(resources, Mapping):
        raise TypeError(f'@cs.task(resources={resources!r}): give names and amounts, as {{"GPU": 1}}')
    for name, amount in resources.items():
        if not isinstance(name, str) or not is_amount(amount):
            raise ValueError(f"@cs.task(resources={{{name!r}: {amount!r}}}): an amount is a number above zero")
    return dict(resources) or None


class Hooks:
    """What is called when a call, or a run, has failed or succeeded; UNSET where nothing was said."""

    __slots__ = ("on_failure", "on_success")

    def __init__(self, on_failure: Any = UNSET, on_success: Any = UNSET) -> None:
        self.on_failure: Any = on_failure
        self.on_success: Any = on_success

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hooks) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int, int]:
        return id(self.on_failure), id(self.on_success)

    def __repr__(self) -> str:
        return f"Hooks(on_failure={self.on_failure!r}, on_success={self.on_success!r})"

    def names(self) -> list[str]:
        """Return which of the two there are, each with what is called."""
        given = [(name, getattr(self, name)) for name in ("on_failure", "on_success")]
        return [f"{name}={getattr(hook, '__name__', repr(hook))}" for name, hook in given if hook]


def hooks_of(own: Hooks | None, others: Hooks | None) -> Hooks | None:
    """Return the hooks of a call: its own, where it says nothing those of its task; None: nothing is called."""
    told = [hooks for hooks in (own, others) if hooks is not None]
    if not told:
        return None
    given = []
    for name in ("on_failure", "on_success"):
        said = [getattr(hooks, name) for hooks in told if getattr(hooks, name) is not UNSET]
        given.append(said[0] if said else None)
    return Hooks(*given) if any(given) else None


def hooks_from(what: str, on_failure: Any, on_success: Any) -> Hooks | None:
    """Return the hooks that were given, or None if there are none; `what` names who was given them.

    Raises:
        TypeError: one of them is no function, or a task.
    """
    for name, hook in (("on_failure", on_failure), ("on_success", on_success)):
        if hook is UNSET or hook is None:
            continue
        if not callable(hook) or isinstance(hook, type):
            raise TypeError(f"{what}: {name}= takes a function of the outcome, not {hook!r}")
        if hasattr(hook, "origin") and hasattr(hook, "func"):
            raise TypeError(
                f"{what}: {name}= takes a function of the outcome, and {hook!r} is a task, whose calls run nothing: "
                f"{name}={hook.name}.func"
            )
    return None if on_failure is on_success is UNSET else Hooks(on_failure, on_success)


def retry_from(given: Any) -> Retry | None:
    """Return the policy for what `retry=` was given: an int, a dict, a tuple, a policy or None."""
    if given is None or isinstance(given, Retry):
        return given
    if isinstance(given, tuple):
        return Retry(*given)
    if not isinstance(given, dict):
        return Retry(given)
    names = ("max_attempts", "delay", "backoff", "jitter", "max_delay", "on", "give_up")
    unknown = {name: value for name, value in given.items() if name not in names}
    if unknown:
        raise no_option("retry", unknown, names, "with_retry")
    return Retry(**given)


def seconds_from(given: Any, what: str) -> float:
    """Return the seconds that a timeout was given as; infinity is no limit.

    Raises:
        ValueError: not a number above zero.
    """
    if not _is_number(given) or not given > 0:
        raise ValueError(f"{what} takes a number of seconds above zero, not {given!r}")
    return float(given)


def _is_number(given: Any) -> bool:
    return isinstance(given, (int, float)) and not isinstance(given, bool)


# --- what was set on a lazy result


class Config:
    """What was set on a lazy result beyond its call, and beyond what that is to other nodes (`OwnConfig`).

    Nodes that were set alike share one, as objects share a hidden class (Chambers, Ungar and Lee, 1989): each has the
    ones that it leads to by one setting more. So a policy on each of many nodes costs a look, and the graph looks at it
    once. What has lazy values, or an identity that must not be kept, belongs to one node.
    """

    __slots__ = (
        "_next",
        "budget",
        "cache",
        "checkpoint",
        "constraints",
        "history",
        "hooks",
        "is_shared",
        "label",
        "max_iterations",
        "none_if_skipped",
        "passes_first",
        "receiver",
        "retry",
        "selector",
        "timeout",
    )

    condition: Any = UNSET
    otherwise: Any = UNSET
    after: Sequence[Any] = ()

    def __init__(self) -> None:
        self.retry: Retry | None = None
        self.timeout: float | None = None
        self.budget: Budget | None = None
        self.constraints: Constraints | None = None
        self.cache: Any = UNSET
        self.hooks: Hooks | None = None
        self.label: str | None = None
        self.selector: JumpSelector | None = None
        self.max_iterations: int | None = None
        self.history: bool = False
        self.checkpoint: Literal["entry", "turn"] | None = None
        self.receiver: bool = False
        """The first argument is the `self` of a method."""
        self.passes_first: bool = False
        """A step of a pipeline: when skipped it gives its first argument, even a plain value."""
        self.none_if_skipped: bool = False
        """The last of a sequence: skipped, it reads as None where a run asks for it."""
        self.is_shared: bool = False
        """Whether all nodes that were set alike have this one, so that nothing of it ever changes."""
        self._next: dict[Any, Config] = {}

    def set(self, name: str, value: Any) -> Config:
        """Return the configuration with one setting more: this one, if it belongs to one node."""
        if not self.is_shared:
            setattr(self, name, value)
            return self
        key = _key(name, value)
        found = None if key is None else self._next.get(key)
        if found is None:
            found = Config()
            for slot in () if self is NO_CONFIG else SETTINGS:
                setattr(found, slot, getattr(self, slot))
            setattr(found, name, value)
            if key is not None:
                if len(self._next) >= MOST_NEXT:
                    oldest, *_ = list(self._next)
                    self._next.pop(oldest, None)  # who has it keeps it
                found.is_shared = True
                self._next[key] = found
        return found

    @property
    def only_binds(self) -> bool:
        """Whether a selector is all of what was set that a gate tells."""
        unset = self.cache is UNSET
        none = self.retry is None and self.timeout is None and self.constraints is None and self.label is None
        none = none and self.hooks is None and self.budget is None
        return unset and none and self.max_iterations is None and not self.receiver and self.selector is not None


class OwnConfig:
    """What was set on one lazy result that refers to others: a condition, what stands in, what goes before.

    All else is read as that of its `settings`.
    """

    __slots__ = ("after", "condition", "otherwise", "settings")

    def __init__(self, settings: Config) -> None:
        self.settings: Config = settings
        self.condition: Any = UNSET
        self.otherwise: Any = UNSET
        self.after: list[Any] = []

    def set(self, name: str, value: Any) -> OwnConfig:
        """Set something else beside."""
        self.settings = self.settings.set(name, value)
        return self

    only_binds = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.settings, name)


MOST_NEXT = 16
"""A configuration knows so many that it leads to: labels may be as many as nodes."""
PLAIN_SETTINGS = frozenset({"budget", "timeout", "label", "receiver", "passes_first", "none_if_skipped"})
SETTINGS = tuple(name for name in Config.__slots__ if name not in ("_next", "is_shared"))


def _key(name: str, value: Any) -> Any:
    """Return what tells a setting from others; None: it is no plain value, and is not to be kept."""
    if name == "constraints":
        return None if value.lazy else (name, *[(each, most.__class__, most) for each, most in value.amounts.items()])
    if name == "retry":
        plain = isinstance(value.on, (type, tuple)) and isinstance(value.give_up, (type, tuple))
        return (name, value) if plain else None
    return (name, value.__class__, value) if name in PLAIN_SETTINGS else None


NO_CONFIG = Config()
NO_CONFIG.is_shared = True
METHOD = NO_CONFIG.set("receiver", True)
