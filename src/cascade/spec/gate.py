"""Gates: what holds for a node beyond its call: what it refers to, and the terms that it shares with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade.spec.caching import identity_of
from cascade.spec.policies import Constraints, Hooks, Retry
from cascade.spec.selector import JumpSelector

if TYPE_CHECKING:
    from cascade.spec.budgets import Budget

__all__ = ["Gate", "NO_TERMS", "Terms"]


class Terms:
    """What holds for all calls that were set alike: their policies, and what they are named. It never changes.

    Args:
        needs: some argument that may be left out stands for a resource.
    """

    __slots__ = (
        "asks",
        "budget",
        "cache",
        "constraints",
        "heartbeat",
        "hooks",
        "injects",
        "is_policy",
        "label",
        "max_iterations",
        "only_holds",
        "only_takes",
        "passes_first",
        "receiver",
        "retry",
        "selector",
        "streams",
        "timeout",
    )

    def __init__(
        self,
        *,
        retry: Retry | None = None,
        timeout: float | None = None,
        heartbeat: float | None = None,
        budget: Budget | None = None,
        constraints: Constraints | None = None,
        cache: Any = None,
        hooks: Hooks | None = None,
        streams: bool = False,
        needs: bool = False,
        injects: bool = False,
        label: str | None = None,
        receiver: bool = False,
        passes_first: bool = False,
        selector: JumpSelector | None = None,
        max_iterations: int | None = None,
    ) -> None:
        self.retry = retry
        self.timeout = timeout
        """Seconds for each attempt; None or infinity: no limit."""
        self.heartbeat = heartbeat
        """How many seconds an attempt may be silent; None: for ever."""
        self.budget = budget
        self.constraints = constraints
        self.cache = cache
        self.hooks = hooks
        self.streams = streams
        """The call gives or reads items one by one: its task is a generator function, or declares a `cs.Stream`."""
        self.injects = injects
        """An argument stands for a resource."""
        self.label = label
        self.receiver = receiver
        """The first argument is the `self` of a method."""
        self.passes_first = passes_first
        """A step of a pipeline: when skipped it gives its first argument, even a plain value."""
        self.selector = selector
        """Set if the node is bound; to what, the jumps of the graph say, as nodes with nothing else share a gate."""
        self.max_iterations = max_iterations
        self.asks = bool(needs or injects or constraints is not None or cache is not None)
        """A call first asks for what it takes (resources, places, results); if that is there, it is made in place."""
        is_watched = timeout is not None or heartbeat is not None or cache is not None or hooks is not None
        is_watched = is_watched or budget is not None
        self.is_policy = is_watched or streams or injects or retry is not None or constraints is not None
        """Each call needs more than to be made: by a retry, a timeout or whatever else stands here.

        Or to be gone through, where it is that of a generator.
        """
        self.only_takes = not (is_watched or streams or (constraints is not None and constraints.lazy))
        """A call is only to be made once what it takes is there, as long as it does not fail."""
        self.only_holds = not (is_watched or streams or injects or retry is not None)
        """A call that holds its constraints only needs to be made."""

    @property
    def only_tells(self) -> bool:
        """Whether they say no more than what the call is named, and that it is of a method."""
        return not self.is_policy and self.selector is None and self.max_iterations is None

    def holding(self, constraints: Constraints) -> Terms:
        """Return terms like these, with other constraints."""
        return Terms(
            retry=self.retry,
            timeout=self.timeout,
            heartbeat=self.heartbeat,
            budget=self.budget,
            constraints=constraints,
            cache=self.cache,
            hooks=self.hooks,
            streams=self.streams,
            injects=self.injects,
            label=self.label,
            receiver=self.receiver,
            passes_first=self.passes_first,
            selector=self.selector,
            max_iterations=self.max_iterations,
        )

    def key(self) -> tuple[Any, ...]:
        """What tells two from each other; the routes of a selector are told apart by the graph's jumps."""
        return (
            self.retry,
            self.timeout,
            self.heartbeat,
            self.budget,
            self.constraints,
            identity_of(self.cache),
            self.hooks,
            self.streams,
            self.injects,
            self.asks,
            self.label,
            self.receiver,
            self.selector is not None,
            self.max_iterations,
        )


NO_TERMS = Terms()


class Gate:
    """What holds for one node beyond its call; references where the declaration had lazy values.

    Nodes that have nothing but terms share one.
    """

    __slots__ = ("after", "amounts", "condition", "first", "is_shared", "otherwise", "terms")

    def __init__(self, terms: Terms = NO_TERMS) -> None:
        self.terms = terms
        self.condition: int | None = None
        self.otherwise: int | None = None
        self.after: tuple[int, ...] = ()
        self.first: int | None = None
        """What a reader gets when the node is skipped: the first argument, where that may stand in."""
        self.amounts: tuple[tuple[str, int], ...] = ()
        """The names and references of the constraints' lazy amounts."""
        self.is_shared = False
        """Whether it is that of all nodes of a graph that have nothing but a selector."""

    @property
    def is_own(self) -> bool:
        """Whether it is that of one node for certain: it refers to others."""
        return self.condition is not None or self.otherwise is not None or bool(self.after)

    @property
    def is_plain(self) -> bool:
        """Whether it says no more than that the node is bound to a selector."""
        terms = self.terms
        return not (self.is_own or terms.is_policy or terms.receiver or terms.max_iterations is not None)

    @property
    def only_tells(self) -> bool:
        """Whether it says no more than what the call is named, and that it is of a method."""
        return self.terms.only_tells and not self.is_own

    def copied(self) -> Gate:
        """Return a gate like this one."""
        found = Gate(self.terms)
        found.condition, found.otherwise, found.after = self.condition, self.otherwise, self.after
        found.first, found.amounts, found.is_shared = self.first, self.amounts, self.is_shared
        return found

    def holding(self, given: dict[str, float]) -> Gate:
        """Return a gate like this one, with these amounts in the place of lazy ones."""
        found, held = self.copied(), self.terms.constraints
        found.terms = self.terms.holding(Constraints({**(held.amounts if held else {}), **given}))
        found.amounts = ()
        return found

    def key(self) -> tuple[Any, ...]:
        """What tells two gates apart."""
        return (self.condition, self.otherwise, self.after, self.amounts, self.is_shared, *self.terms.key())
