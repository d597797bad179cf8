"""Doubles of what an engine is made with."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from cascade.adapters.connectors.local import LocalConnector
from cascade.adapters.connectors.messages import Messages
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.spec.graph import Graph
from cascade.spec.protocols import CallNode, Executor, Solver
from cascade.spec.topics import Message, fits, topic_from

__all__ = ["MockConnector", "MockExecutor", "MockSolver", "SpyExecutor", "SpySolver"]


class SpySolver:
    """Solves as another solver does, and keeps the graphs that it was given in `graphs`."""

    def __init__(self, solver: Solver | None = None) -> None:
        self.graphs: list[Graph] = []
        self._solver = NativeSolver() if solver is None else solver

    def solve(self, graph: Graph) -> Iterable[int] | None:
        """Keep the graph and pass the question on."""
        self.graphs.append(graph)
        return self._solver.solve(graph)


class MockSolver:
    """Answers with a fixed order, or with what a function makes of the graph."""

    def __init__(self, order: Iterable[int] | Callable[[Graph], Iterable[int] | None] | None = None) -> None:
        self._order = order

    def solve(self, graph: Graph) -> Iterable[int] | None:
        """Return the order that the double was made with."""
        return self._order(graph) if callable(self._order) else self._order


class SpyExecutor:
    """Carries calls out as another executor does, and keeps (node, args, kwargs) of each in `calls`."""

    def __init__(self, executor: Executor | None = None) -> None:
        self.calls: list[tuple[CallNode, tuple[Any, ...], dict[str, Any]]] = []
        self._executor = LocalExecutor() if executor is None else executor

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Keep the call and pass it on."""
        self.calls.append((node, args, kwargs))
        return await self._executor.execute(node, args, kwargs)


class MockExecutor:
    """Calls nothing: answers each call with the value given for the task's name, or with a default.

    Args:
        results: by task name a value, or an exception to raise.
        default: for every other task.
    """

    def __init__(self, results: dict[str, Any] | None = None, default: Any = None) -> None:
        self.calls: list[tuple[CallNode, tuple[Any, ...], dict[str, Any]]] = []
        self._results = results or {}
        self._default = default

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return, or raise, what was given for the task."""
        self.calls.append((node, args, kwargs))
        result = self._results.get(node.name, self._default)
        if isinstance(result, BaseException):
            raise result
        return result


class MockConnector:
    """Brings messages that were given, and keeps (topic, message, retain) of each that is sent in `published`.

    What runs tell of themselves (`cascade/telemetry/...`) is passed on, and not kept.

    Args:
        messages: by topic, what arrives there, in order. Each message goes to one listener: the first who asks for
            it. Behind these come those that are published while somebody listens.
    """

    def __init__(self, messages: Mapping[str, Iterable[Any]] | None = None) -> None:
        self.published: list[tuple[str, Any, bool]] = []
        self._waiting = {topic_from(topic): deque(each) for topic, each in (messages or {}).items()}
        self._connector = LocalConnector()

    async def publish(self, topic: str, message: Any, *, qos: int = 0, retain: bool = False) -> None:
        """Keep a message, and pass it on to those who listen."""
        if not topic.startswith("cascade/telemetry/"):
            self.published.append((topic, message, retain))
        await self._connector.publish(topic, message, qos=qos, retain=retain)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[_Given]:
        """Listen to a topic or a pattern, for what was given and what is published."""
        async with self._connector.subscribe(topic) as messages:
            yield _Given(topic, self._waiting, messages)


class _Given:
    """What was given to a double for a topic or a pattern, and behind it what is published."""

    def __init__(self, pattern: str, waiting: Mapping[str, deque[Any]], messages: Messages) -> None:
        self._waiting = [(topic, each) for topic, each in waiting.items() if fits(pattern, topic)]
        self._messages = messages

    def __aiter__(self) -> _Given:
        return self

    async def __anext__(self) -> Any:
        for _, waiting in self._waiting:
            if waiting:
                return waiting.popleft()
        return await anext(self._messages)

    async def with_topics(self) -> AsyncIterator[Message]:
        """Go through the messages as they are, each with its topic."""
        for topic, waiting in self._waiting:
            while waiting:
                yield Message(topic, waiting.popleft())
        async for message in self._messages.with_topics():
            yield message
