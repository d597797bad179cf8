"""What the outside world plugs in behind: a protocol for each kind of adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cascade.spec.caching import CacheEntry, CacheKey, Corrupt
from cascade.spec.graph import Graph

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ["CachePolicy", "CacheStore", "CallNode", "Connector", "Executor", "Solver", "may_run_inline"]


class Solver(Protocol):
    """Says in which order the nodes of a graph are looked at."""

    def solve(self, graph: Graph) -> Iterable[int] | None:
        """Return the numbers 0 to `graph.strict - 1` in any order, or None for the graph's own.

        The order is a preference, never a wall: a node starts when its inputs are there, and a node whose
        inputs are not there yet delays none after it.
        """
        ...


class CallNode(NamedTuple):
    """What an executor is told of the node whose call it carries out."""

    id: str
    name: str
    func: Any
    mode: str
    is_async: bool
    declared: str
    begun: Callable[[], None] | None = None
    """To be called, on the event loop's thread, when the function begins: it starts the clocks of a timeout and a
    heartbeat. Executors that say `tells_begun` are given it, with calls that have such a clock and may have to wait."""
    resources: Mapping[str, float] | None = None
    """What it needs of a worker of a cluster, by the cluster's names (`@cs.task(resources=...)`)."""


class Executor(Protocol):
    """Carries out calls of tasks.

    Two more may be there: `async aclose()`, which is awaited at the end of each engine that has the executor, and the
    attribute `tells_begun`, true where `node.begun` is called when a function begins. Without that the clock of a
    timeout starts when `execute` is called.
    """

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call `node.func` with these arguments and return what it returns; what it raises comes out."""
        ...


def may_run_inline(executor: Executor) -> bool:
    """Say whether calls may be made in place: if the class that defines `execute` says so itself."""
    for cls in type(executor).__mro__:
        if "execute" in cls.__dict__:
            return bool(cls.__dict__.get("runs_inline", False))
    return False


class CachePolicy(Protocol):
    """Decides for each call of a node whether there is a value for it already; `with_cache` takes one."""

    async def check(self, node: CallNode, inputs: dict[str, Any]) -> Any:
        """Return the value that there is for a call, or None if there is none.

        A value that is None itself is returned as `cs.Value(None)`; `cs.Value(x)` gives any x.

        Args:
            node: whose call it is.
            inputs: its arguments by name, defaults included; further positional ones as `*0`, `*1`, ...
        """
        ...

    async def save(self, node: CallNode, inputs: dict[str, Any], value: Any) -> None:
        """Keep what a call returned. A call that failed is not kept."""
        ...


class CacheStore(Protocol):
    """Keeps results for `cs.cached(store=...)`.

    The methods may be async too. Plain ones are called on the event loop's thread, unless the attribute
    `in_threads` is true: then in a worker thread, several at once.
    """

    def load(self, key: CacheKey) -> CacheEntry | Corrupt | None:
        """Return what is kept under a key, or None; `Corrupt` for what cannot be read."""
        ...

    def save(self, key: CacheKey, entry: CacheEntry) -> None:
        """Keep an entry in place of any before. Raises CacheError for a value that cannot be kept."""
        ...

    def history(self, task: str) -> list[CacheEntry]:
        """Return some of the entries of a task, the newest first, without their values; for explanations."""
        ...


class Connector(Protocol):
    """Carries messages by topic; `cs.recv` waits for one, and an engine takes pauses and limits from it.

    Two methods more may be there: `async connect()`, which is awaited before the first run of an engine begins, and
    `async disconnect()`, at its end. What a subscription gives may have `with_topics()`, an async iterator of
    `Message(topic, value, retained)`; without it patterns cannot tell which topic a message is of.
    """

    async def publish(self, topic: str, message: Any, *, qos: int = 0, retain: bool = False) -> None:
        """Send a message to those who listen to a topic; retained, also to those who come later.

        A retained message that is empty (`{}`, `""` or None) clears the one that is kept. `qos`: 0 at most once, 1 at
        least once, 2 exactly once.
        """
        ...

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """Listen to a topic: messages that come while the context is open are iterated over, in their order.

        In a pattern `+` is any one level (`cell/+/state`), `#` at the end all that follow (`cell/#`).
        """
        ...
