"""What the caches of a target hold: hits, and of misses which part of the key changed. Nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from cascade.adapters.caching.graphs import GraphForm, params_of
from cascade.adapters.caching.keys import inputs_of, key_of
from cascade.app.blocking import block_on
from cascade.errors import CacheError
from cascade.runtime.engine import Engine
from cascade.runtime.frames.frame import Activation
from cascade.runtime.frames.node_ids import NodeIds
from cascade.runtime.plans.inputs import check_known, fill
from cascade.runtime.plans.plan import prepare
from cascade.runtime.policies import cache
from cascade.spec.caching import Cached, CacheEntry, CacheKey, Corrupt
from cascade.spec.control import Value
from cascade.spec.gate import Gate
from cascade.spec.operations import CALLN, MAP, OPTIONAL, PACK, ROUTE, SUBFLOW
from cascade.spec.placement import CallForm, arguments
from cascade.spec.protocols import CallNode
from cascade.spec.signal import Signal

__all__ = ["CacheExplanation", "CachedNode", "explain_cache"]

UNKNOWN: Final = object()


class CachedNode(NamedTuple):
    """What the cache of one node (or one item of a map) would say in a run now."""

    task_id: str
    declared: str
    status: Literal["hit", "miss", "skipped", "unknown"]
    """"unknown": its arguments come from a node that would have to run first."""
    changed: tuple[str, ...]
    """Of a miss: the parts of the key in which it differs from the entry that is most like it."""
    reason: str

    def __str__(self) -> str:
        return f"{self.task_id} (declared at {self.declared}): {self.status}: {self.reason}"


class CacheExplanation(tuple[CachedNode, ...]):
    """One `CachedNode` for each node with a cache, in the order of the graph; `str` gives one line for each."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no node has a cache"


def explain_cache(
    target: Any, params: Mapping[str, Any] | None = None, *, engine: Engine | None = None
) -> CacheExplanation:
    """Say for each node of a target that has a cache: a hit, or which part of its key changed.

    Runs no task. Of a loop, the first entry is looked at.

    Args:
        target: what `cs.run` takes.
        params: values for the parameters of the graph.
        engine: whose memory `cs.cached()` keeps results in; without one that memory is empty.

    Raises:
        CacheError: an argument cannot be keyed, or a cache fails.
    """
    engine = Engine() if engine is None else engine
    plan = prepare(target, engine.solver)
    if plan is None:
        return CacheExplanation()
    given = {} if params is None else params
    check_known(set(plan.params), given)
    activation = Activation(plan.blueprint, fill(plan.blueprint.graph, given), None)
    look = _Look(engine, activation)
    return block_on(look.all())


class _Look:
    """One look at all nodes, with the values that are known without running anything."""

    def __init__(self, engine: Engine, activation: Activation) -> None:
        self.engine = engine
        self.activation = activation
        self.graph = activation.blueprint.graph
        self.names = NodeIds("")
        self.names.reach(None, activation.blueprint)
        self.values: list[Any] = [UNKNOWN] * len(self.graph) + [*reversed(activation.constants)]
        self.found: dict[int, list[CachedNode]] = {}

    async def all(self) -> CacheExplanation:
        """Look until a pass finds nothing new: a route may be known before the router that chooses it, or after."""
        waiting = [*range(len(self.graph))]
        while True:
            left = [i for i in waiting if not await self.settle(i)]
            if len(left) == len(waiting):
                break
            waiting = left
        for i in waiting:
            gate = self.graph.gates.get(i)
            if gate is not None and gate.terms.cache is not None and i < self.graph.needed:
                self.found[i] = [self.node(i, "", "unknown", self.missing(i))]
        return CacheExplanation(each for i in sorted(self.found) for each in self.found[i])

    async def settle(self, i: int) -> bool:
        """Look at a node if all that it needs is known; say whether that was so."""
        graph, kind, gate = self.graph, self.graph.kinds[i], self.graph.gates.get(i)
        values = [self.values[at] for at in graph.references(i)]
        if any(value is UNKNOWN for value in values):
            return False
        if gate is not None and gate.condition is not None:
            condition = self.values[gate.condition]
            if condition is UNKNOWN:
                return False
            if not condition:
                if gate.terms.cache is not None:
                    self.found[i] = [self.node(i, "", "skipped", "its condition is false")]
                self.values[i] = UNKNOWN if gate.otherwise is None else self.values[gate.otherwise]
                return True
        if kind == PACK:
            self.values[i] = graph.nodes[i].make(values)
        elif kind == OPTIONAL:
            self.values[i] = values[0]
        elif kind == ROUTE:
            router = graph.routes[i]
            reference = router.routes.get(values[0], router.default)
            self.values[i] = UNKNOWN if reference is None else self.values[reference]
            return self.values[i] is not UNKNOWN
        elif gate is not None and gate.terms.cache is not None and (kind <= CALLN or kind in (MAP, SUBFLOW)):
            self.values[i] = await self.look(i, gate, values)
        return True

    async def look(self, i: int, gate: Gate, values: list[Any]) -> Any:
        """Look at what the cache has for a node; return its value if that is a hit."""
        form = self.graph.forms[i]
        assert form is not None
        if self.graph.kinds[i] == SUBFLOW:
            inner = self.activation.blueprint.subflows[i]
            graph_form: Any = GraphForm(self.graph.name(i), self.graph.declared(i), inner, {})
            graph_form.look()
            sources = self.graph.nodes[i].kwargs
            constants = fill(inner.graph, dict(zip(sources, values, strict=True)), None, sources)
            node, value = await self.call(i, "", gate, graph_form, (), params_of(inner.graph, constants))
            self.found[i] = [node]
            return value
        args, kwargs = arguments(form, values)
        if self.graph.kinds[i] != MAP:
            node, value = await self.call(i, "", gate, form, args, kwargs)
            self.found[i] = [node]
            return UNKNOWN if isinstance(value, Signal) else value
        each = self.graph.nodes[i].each
        if not all(hasattr(kwargs[name], "__getitem__") for name in each):
            self.found[i] = [self.node(i, "", "unknown", "its items come from an iterator, which a look would spend")]
            return UNKNOWN
        self.found[i], results = [], []
        for index, items in enumerate(zip(*(kwargs[name] for name in each), strict=True)):
            named = {**kwargs, **dict(zip(each, items, strict=True))}
            node, value = await self.call(i, f"[{index}]", gate, form, args, named)
            self.found[i].append(node)
            results.append(value)
        return UNKNOWN if any(value is UNKNOWN or isinstance(value, Signal) for value in results) else results

    async def call(
        self, i: int, suffix: str, gate: Gate, form: CallForm, args: Any, kwargs: dict[str, Any]
    ) -> tuple[CachedNode, Any]:
        task, policy = form.task, gate.terms.cache
        if policy.__class__ is not Cached:
            task_id = self.names.instance(self.activation, i, None).site_of(suffix).task_id
            node = CallNode(task_id, task.name, form.func, task.mode, form.is_async, task.declared)
            found = await _answer(policy.check(node, inputs_of(task, args, kwargs)))
            if found is None:
                return self.node(i, suffix, "miss", f"{type(policy).__name__} has nothing for it"), UNKNOWN
            value = found.value if found.__class__ is Value else found
            return self.node(i, suffix, "hit", f"{type(policy).__name__} has it"), value
        store = self.engine.caches.store(policy)
        key = key_of(task, args, kwargs, policy)
        try:
            entry = await _answer(store.load(key))
        except CacheError as error:
            return self.node(i, suffix, "miss", str(error)), UNKNOWN
        if isinstance(entry, CacheEntry):
            age = cache.clock() - entry.saved
            if policy.ttl is None or age < policy.ttl:
                return self.node(i, suffix, "hit", f"kept {age:.0f} s ago"), entry.value
            return self.node(i, suffix, "miss", f"kept {age:.0f} s ago, and its ttl is {policy.ttl:g} s"), UNKNOWN
        if isinstance(entry, Corrupt):
            return self.node(i, suffix, "miss", entry.reason), UNKNOWN
        history = await _answer(store.history(key.task)) if hasattr(store, "history") else []
        changed = _changed(key, history)
        reason = f"{', '.join(changed)} changed" if changed else f"nothing is kept of {key.task}"
        return self.node(i, suffix, "miss", reason, changed), UNKNOWN

    def missing(self, i: int) -> str:
        """Return what a node waits for that has no value without a run."""
        needs = [at for at in self.graph.references(i) if self.values[at] is UNKNOWN]
        gate = self.graph.gates[i]
        if not needs and gate.condition is not None:
            needs = [gate.condition]
        return f"it needs {self.graph.name(needs[0])}, which would have to run first"

    def node(self, i: int, suffix: str, status: Any, reason: str, changed: tuple[str, ...] = ()) -> CachedNode:
        task_id = self.names.instance(self.activation, i, None).site_of(suffix).task_id
        return CachedNode(task_id, self.graph.declared(i), status, changed, reason)


async def _answer(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value


def _changed(key: CacheKey, history: list[CacheEntry]) -> tuple[str, ...]:
    """Return the parts in which a key differs from the entry that is most like it."""
    parts = key.parts
    differences = [
        tuple(sorted(name for name in {**parts, **entry.parts} if parts.get(name) != entry.parts.get(name)))
        for entry in history
    ]
    return min(differences, key=len, default=())
