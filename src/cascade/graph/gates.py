"""Gates: what holds for a call besides its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cascade.spec.graph import Gate
from cascade.spec.lazy import Config, LazyResult
from cascade.spec.policies import Constraints, hooks_of
from cascade.spec.resource import Inject
from cascade.spec.signal import UNSET

__all__ = ["Gates", "constraints_of", "injects"]


class Gates:
    """Makes the gates of one graph; all nodes that only jump share one.

    Args:
        reference: returns the reference of a value.
        index: the numbers of the nodes.
    """

    def __init__(self, reference: Callable[[Any], int], index: Mapping[Any, Any]) -> None:
        self._reference = reference
        self._index = index
        self._bound: Gate | None = None
        self._known: dict[tuple[Config | None, Any], Gate] = {}

    def known(self, task: Any, config: Config | None) -> Gate | None:
        """Return what holds for all calls of a task that were set alike; None: a call has more to it than that."""
        gate = self._known.get((config, task))
        if gate is None:
            has_own = config is not None and not config.is_shared
            if has_own or task.pure or (task.constraints is not None and task.constraints.lazy):
                return None
            gate = self._known[config, task] = _gate(task, config)
        return gate

    def of(self, node: LazyResult[Any], only_jumps: bool = False) -> Gate:
        """Return what holds for a node; it may be known that it only jumps."""
        task, config, reference = node.task, node.config, self._reference
        is_shared = only_jumps or (config is not None and config.only_binds and task.is_plain and not injects(node))
        if is_shared and self._bound is not None:
            return self._bound
        gate = _gate(task, config)
        if is_shared:
            self._bound, gate.is_shared = gate, True
        if gate.constraints is not None:
            gate.amounts = tuple((name, reference(value)) for name, value in gate.constraints.lazy.items())
        gate.injects = injects(node)
        gate.asks = gate.asks or gate.injects
        if config is None:
            return gate
        gate.condition = None if config.condition is UNSET else reference(config.condition)
        gate.otherwise = None if config.otherwise is UNSET else reference(config.otherwise)
        gate.after = tuple(at for at in map(self._index.__getitem__, config.after) if at >= 0)
        gate.selector, gate.max_iterations = config.selector, config.max_iterations
        return gate


def _gate(task: Any, config: Config | None) -> Gate:
    """Return a gate of what refers to no other node: what the task says, and what was set in its place."""
    gate = Gate()
    gate.retry, gate.timeout, gate.cache, gate.constraints = task.retry, task.timeout, task.cache, task.constraints
    gate.streams = task.yields or bool(task.streams)
    gate.heartbeat = task.heartbeat
    gate.hooks = hooks_of(None if config is None else config.hooks, task.hooks)
    if config is not None:
        gate.retry = config.retry or gate.retry
        gate.timeout = config.timeout or gate.timeout
        gate.cache = gate.cache if config.cache is UNSET else config.cache
        gate.constraints = gate.constraints if config.constraints is None else config.constraints
        gate.budget = config.budget
        gate.label, gate.receiver = config.label, config.receiver
    gate.asks = bool(task.needs or gate.constraints is not None or gate.cache is not None)
    return gate


def injects(node: LazyResult[Any]) -> bool:
    """Say whether a resource is asked for among the arguments."""
    for value in node.args:
        if value.__class__ is Inject:
            return True
    return node.kwargs is not None and any(value.__class__ is Inject for value in node.kwargs.values())


def constraints_of(node: LazyResult[Any]) -> Constraints | None:
    """Return what a node asks for itself, or else for all calls of its task."""
    own = node.config.constraints if node.config is not None else None
    found: Constraints | None = node.task.constraints if own is None else own
    return found
