"""Gates: what holds for a call besides its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cascade.spec.gate import Gate, Terms
from cascade.spec.lazy import LazyResult
from cascade.spec.policies import NO_CONFIG, Config, Constraints, OwnConfig, hooks_of
from cascade.spec.resource import Inject
from cascade.spec.signal import UNSET

__all__ = ["Gates", "constraints_of", "injects"]


class Gates:
    """Makes the gates of one graph; nodes that nothing but their terms holds for share one.

    Args:
        reference: returns the reference of a value.
        index: the numbers of the nodes.
    """

    def __init__(self, reference: Callable[[Any], int], index: Mapping[Any, Any]) -> None:
        self._reference = reference
        self._index = index
        self._bound: Gate | None = None
        self._known: dict[tuple[Config | None, Any], Gate] = {}

    def known(self, task: Any, settings: Config | None) -> Gate | None:
        """Return what holds for all calls of a task that were set alike; None: a call has more to it than that."""
        gate = self._known.get((settings, task))
        if gate is None:
            is_own = settings is not None and not settings.is_shared
            if is_own or task.pure or (task.constraints is not None and task.constraints.lazy):
                return None
            gate = self._known[settings, task] = Gate(_terms(task, settings, has_injected=False))
        return gate

    def of(self, node: LazyResult[Any], only_jumps: bool = False) -> Gate:
        """Return what holds for a node; it may be known that it only jumps."""
        task, config, reference = node.task, node.config, self._reference
        has_injected = not only_jumps and injects(node)
        is_shared = only_jumps or (config is not None and config.only_binds and task.is_plain and not has_injected)
        if is_shared and self._bound is not None:
            return self._bound
        own = config if isinstance(config, OwnConfig) else None
        gate = Gate(_terms(task, config.settings if isinstance(config, OwnConfig) else config, has_injected))
        if is_shared:
            self._bound, gate.is_shared = gate, True
        if gate.terms.constraints is not None:
            gate.amounts = tuple((name, reference(value)) for name, value in gate.terms.constraints.lazy.items())
        if own is not None:
            gate.condition = None if own.condition is UNSET else reference(own.condition)
            gate.otherwise = None if own.otherwise is UNSET else reference(own.otherwise)
            gate.after = tuple(at for at in map(self._index.__getitem__, own.after) if at >= 0)
        return gate


def _terms(task: Any, settings: Config | None, has_injected: bool) -> Terms:
    """Return what the task says of its calls, and what was set in its place."""
    given = NO_CONFIG if settings is None else settings
    return Terms(
        retry=given.retry or task.retry,
        timeout=given.timeout or task.timeout,
        heartbeat=task.heartbeat,
        budget=given.budget,
        constraints=task.constraints if given.constraints is None else given.constraints,
        cache=task.cache if given.cache is UNSET else given.cache,
        hooks=hooks_of(given.hooks, task.hooks),
        streams=task.yields or bool(task.streams),
        needs=bool(task.needs),
        injects=has_injected,
        label=given.label,
        receiver=given.receiver,
        passes_first=given.passes_first,
        selector=given.selector,
        max_iterations=given.max_iterations,
    )


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
