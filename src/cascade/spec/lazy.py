"""Lazy results: what a call of a task gives, and how one is configured."""

from __future__ import annotations

from types import CodeType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self

from cascade.spec.caching import cache_from
from cascade.spec.keywords import explains_options
from cascade.spec.mistakes import check_choice, hint_for, refuse_code, refuse_uncalled
from cascade.spec.notebook import drawn
from cascade.spec.policies import NO_CONFIG, Config, Constraints, Hook, OwnConfig, hooks_from, retry_of, seconds_from
from cascade.spec.refusals import NoValue, is_running
from cascade.spec.shown import one_line
from cascade.spec.signal import UNSET, Signal, Unset

__all__ = [
    *("BUILT", "Lazy", "LazyResult", "MappedResult", "R", "R_co", "configurations"),
]

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # which type checkers have built in: it need not be installed

    from cascade.spec.outcomes import MapErrors

    R = TypeVar("R", default=Any)
    R_co = TypeVar("R_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    R = TypeVar("R")  # named without an argument, a generic class means Any of it
    R_co = TypeVar("R_co", covariant=True)

PLAIN = frozenset({bool, int, str, type(None)})

BUILT = True
"""What the `plan` of a lazy value holds once some graph has read it (a kept plan is true as well)."""

configurations = [0]
"""Counts the configurings of lazy values that a graph had read before: it tells old plans from new."""


class Lazy(NoValue, Signal, Generic[R_co]):
    """A value that a run will have: lazy results, mapped results, routers and inputs are all such."""

    __slots__ = ("__weakref__", "code", "lasti", "plan")

    code: CodeType
    lasti: int
    plan: Any
    is_lazy = True
    word = "a lazy value"

    @property
    def declared(self) -> str:
        """Where it was declared: `file:line`."""
        code, at = self.code, self.lasti
        lines = (line for start, end, line in code.co_lines() if start <= at < end and line is not None)
        return f"{code.co_filename}:{next(lines, code.co_firstlineno)}"

    def _spelled(self) -> str:
        return self.word

    def _why(self, what: str) -> str:
        return f"{self!r} has no value before the graph runs, so it cannot be {what}"

    def __format__(self, spec: str) -> str:
        field = f"{{:{spec}}}" if spec else "{}"
        self._refuse(
            "put into a text by an f-string or format()",
            f'make the text while running: cs.format("... {field} ...", {self._spelled()}) ({{x!r}} shows what x is)',
        )

    if not TYPE_CHECKING:  # which complains of it by itself

        def __await__(self) -> NoReturn:
            it = self._spelled()
            self._refuse("awaited", f"run it: await cs.arun({it}), or await engine.run({it})")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} is part of a graph and does not pickle; build the graph where it runs")

    def __repr__(self) -> str:
        return f"<{self.word}, declared at {self.declared}>"

    def _repr_html_(self) -> str | None:
        return drawn(self)


class LazyResult(Lazy[R_co]):
    """The result that one call of a task will have: a node of a graph.

    Calling a task makes one and runs nothing. The methods configure this very node and return it.
    Configuring a node that has run takes effect on the next run.
    """

    __slots__ = ("args", "config", "kwargs", "task")

    task: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any] | None
    config: Config | OwnConfig | None

    def __repr__(self) -> str:
        return f"<LazyResult of {self.label!r}, declared at {self.declared}>"

    def _spelled(self) -> str:
        return f"{self.task.name}(...)"

    def _instead(self, instead: str) -> str:
        if not is_running():
            return instead
        name = self.task.name
        return (
            f"inside a task that runs, {name}.func(...) calls the function of {name!r} ({self.task.declared}) at once; "
            "what was declared outside is passed to the task as an argument"
        )

    @property
    def label(self) -> str:
        """What this node is called: the label it was given, else its task's name."""
        config = self.config
        return config.label if config is not None and config.label is not None else self.task.name

    def run_if(self, condition: Any, *, otherwise: Any = UNSET) -> Self:
        """Run this node only if `condition` is true; skipped, it gives `otherwise` if that is given.

        Args:
            condition: a lazy value or a plain one. It gates this node alone: its inputs run all the same.
            otherwise: a value, or a lazy one that runs only when this node is skipped.

        Raises:
            TypeError: the condition is a function, or a task that was not called: it would always count as true.
        """
        if condition.__class__ not in PLAIN and not isinstance(condition, Lazy):
            check_choice(condition, f"{self!r}.run_if(...)", ".run_if({})")
        if otherwise is not UNSET:  # what shows a node takes longer than to declare it
            refuse_uncalled(otherwise, f"{self!r}.run_if(otherwise=...)")
            refuse_code(otherwise, f"{self!r}.run_if(otherwise=...)")
        config = self._own_config()
        config.condition, config.otherwise = condition, otherwise
        return self

    def after(self, *others: Lazy) -> Self:
        """Start only after these have run; skipped ones among them skip this node too. Calls add up."""
        for other in others:
            if not isinstance(other, Lazy):
                raise TypeError(f"{self!r}.after(...) takes lazy results, not {other!r}{hint_for(other)}")
        self._own_config().after += others
        return self

    def named(self, label: str) -> Self:
        """Call this node `label` in events, errors and drawings."""
        if not isinstance(label, str) or not label:
            raise TypeError(f"{self!r}.named(...) takes a name that is not empty, not {label!r}")
        return self._configure(label=one_line(label))

    @explains_options("with_retry")
    def with_retry(
        self,
        max_attempts: int = 3,
        delay: float = 0.0,
        backoff: float = 1.0,
        jitter: float = 0.0,
        max_delay: float | None = None,
        on: Any = Exception,
        give_up: Any = (),
    ) -> Self:
        """Try again when a call fails.

        Args:
            max_attempts: how many calls at the most, the first included.
            delay: seconds before the second call.
            backoff: what each further delay is multiplied with.
            jitter: up to so many seconds are added to each delay, at random.
            max_delay: no delay is longer than this, in seconds.
            on: which failures are worth another call: an exception class, a tuple of them, or a function of
                the error that says so. Only an Exception ever is.
            give_up: which of those are not, given in the same ways.

        Raises:
            ValueError: an amount that makes no sense.
            TypeError: a filter that is none of these.
        """
        return self._configure(retry=retry_of(max_attempts, delay, backoff, jitter, max_delay, on, give_up))

    @explains_options("with_timeout")
    def with_timeout(self, seconds: float) -> Self:
        """Let each attempt of a call take `seconds` at the most; then it fails with a TimeoutError.

        The clock starts when the call does. An async task is cancelled; of a thread, its result is dropped; a
        process is killed. `float("inf")` takes a task's own timeout away.

        Raises:
            ValueError: not a number above zero.
        """
        return self._configure(timeout=seconds_from(seconds, "with_timeout"))

    def with_cache(self, policy: Any) -> Self:
        """Keep the results of this node's calls, and take them from there when they are asked for again.

        Args:
            policy: what `cs.cached` returns, or another policy (`cascade.spec.protocols.CachePolicy`); None
                switches off the cache that the task has for its calls.

        Raises:
            TypeError: it is no policy.
        """
        return self._configure(cache=cache_from(policy, f"{self!r}.with_cache"))

    @explains_options("with_hooks")
    def with_hooks(self, *, on_failure: Hook | Unset = UNSET, on_success: Hook | Unset = UNSET) -> Self:
        """Call a function when a call of this node has failed for good, or has succeeded.

        Each is given a `cs.Outcome`, after the last attempt and before anything else goes on. A sync one is called in a
        thread, an async one on the event loop. What it raises is a RunWarning. A cancel is no failure, what was kept or
        recorded is no call. Of a map it is each item, of a loop each entry.

        Args:
            on_failure: called when all attempts have failed; None takes away what the task says.
            on_success: called with what was returned; None takes away what the task says.

        Raises:
            TypeError: it is no function, or a task.
        """
        return self._configure(hooks=hooks_from(f"{self!r}.with_hooks", on_failure, on_success))

    @explains_options("with_budget")
    def with_budget(self, *, steps: int | None = None, seconds: float | None = None, cost: float | None = None) -> Self:
        """Let an agent spend no more than this: the call, its loop, or all of a sub-flow. Of a map it is each item.

        What is spent counts over all entries of a loop and all attempts. Who has spent it all fails with a BudgetError,
        which says who in it has spent what, and is not tried again.

        Args:
            steps: attempts: of a call, of a loop its entries, of a sub-flow those of the calls inside.
            seconds: of running time; waits for a limit, and between attempts, do not count, nor does what a call or a
                loop waits in a channel.
            cost: the sum of what `cs.current().spend(cost)` is given.

        Raises:
            TypeError: nothing is given, or no numbers.
            ValueError: amounts that make no sense.
        """
        from cascade.spec.budgets import budget_of

        return self._configure(budget=budget_of(steps, seconds, cost))

    @explains_options("with_constraints")
    def with_constraints(self, /, **amounts: float | Lazy) -> Self:
        """Run each call only while so much of the engine's `system_resources` is free.

        Args:
            amounts: by name; a lazy one is read before the call.

        Raises:
            ConstraintError: an amount that is not a number above zero.
        """
        return self._configure(constraints=Constraints(amounts))

    def _configure(self, **settings: Any) -> Self:
        config = self.config or NO_CONFIG
        for name, value in settings.items():
            config = config.set(name, value)
        self.config = config
        if self.plan is not None:
            configurations[0] += 1
        return self

    def _own_config(self) -> OwnConfig:
        """Return what can be set on this node to refer to others."""
        config = self.config
        if not isinstance(config, OwnConfig):
            config = self.config = OwnConfig(config or NO_CONFIG)
        if self.plan is not None:
            configurations[0] += 1
        return config


class MappedResult(LazyResult[list[R]]):
    """The results that one call for each item will have, in the order of the items.

    `kwargs` holds all inputs by name; those in `each` are iterated side by side, the others are the
    same for every call. `run_if`, `after` and `named` are for the whole map; retry, cache and
    constraints apply to each call.
    """

    __slots__ = ("concurrency", "each", "errors", "spent", "window")

    each: tuple[str, ...]
    concurrency: int | None
    window: int | None
    errors: MapErrors
    spent: bool

    def __repr__(self) -> str:
        return f"<MappedResult of {self.label!r}, declared at {self.declared}>"

    def _spelled(self) -> str:
        return f"{self.task.name}.map(...)"


def place(lazy: Lazy, frame: Any) -> None:
    """Note on a new lazy value where it was declared: the instruction that `frame` is at."""
    lazy.code = frame.f_code
    lazy.lasti = frame.f_lasti
    lazy.plan = None
