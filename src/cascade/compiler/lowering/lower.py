"""Graph -> Blueprint: which instruction each node becomes, and the blocks of the states of loops."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import ref

from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.caching import Cached
from cascade.spec.compose import SubflowResult
from cascade.spec.control import Router
from cascade.spec.gate import Gate, Terms
from cascade.spec.graph import Graph, Routes
from cascade.spec.inputs import Input
from cascade.spec.lazy import LazyResult
from cascade.spec.operations import CALL0, CALLN, GATED, IMPORT, LOOP, MANAGED, NESTED, PACK, ROUTE, SUBFLOW
from cascade.spec.placement import CallForm

__all__ = ["lower", "open_to_tail_calls"]


def lower(graph: Graph, order: Iterable[int] | None = None, subflows: dict[int, Blueprint] | None = None) -> Blueprint:
    """Return the blueprint of `graph`.

    Args:
        order: the order in which a solver wants the strict nodes looked at; None: as they stand.
        subflows: the blueprints of the sub-flows, by their numbers.
    """
    inner = subflows or {}
    root = Block()
    root.kinds, root.forms, root.places = graph.kinds, graph.forms, graph.places
    root.operands, root.routes, root.jumps = graph.operands, graph.routes, graph.jumps
    root.gates = dict(graph.gates)
    root.root, root.strict = graph.root, graph.strict
    root.is_gated = False
    root.ops = bytearray(graph.kinds) if graph.gates or graph.routes else graph.kinds
    known: dict[tuple[Terms, CallForm | None, int], tuple[int, bool]] = {}  # nearly all nodes share some
    conditions = False
    for i, gate in graph.gates.items():
        terms, form, kind = gate.terms, graph.forms[i], graph.kinds[i]
        op, tells = known.get((terms, form, kind), (None, False))
        if op is None:
            needs = form is not None and bool(form.task.needs)
            op, tells = _operation(graph, i, terms), terms.only_tells and not needs
            if not needs:
                known[terms, form, kind] = op, tells
        if gate.condition is not None or gate.after:
            conditions = conditions or gate.condition is not None
            root.ops[i] = GATED if op <= CALLN else op
            root.is_gated = True
        elif not tells:
            root.ops[i] = op
            root.is_gated = True
    if inner:
        root.ops = bytearray(root.ops)
    for i, one in inner.items():
        if not one.skips and (i not in graph.gates or (graph.gates[i].is_plain and i not in graph.jumps)):
            root.ops[i] = NESTED
    skips = _mark_skippable(graph, root, inner, conditions)
    root.is_gated = root.is_gated or skips
    root.lazies = bool(len(graph) > graph.strict or graph.routes or root.is_gated or SUBFLOW in root.ops)
    blueprint = Blueprint(graph, root)
    blueprint.subflows = inner
    blueprint.skips = skips
    blueprint.is_budgeted = any(gate.terms.budget is not None for gate in graph.gates.values()) or any(
        one.is_budgeted for one in inner.values()
    )
    blueprint.order = order
    if graph.jumps:
        blueprint.hoisted = _hoisted(graph)
        blueprint.states = _States(blueprint)
    return blueprint


def open_to_tail_calls(blueprint: Blueprint) -> None:
    """Let tail calls enter a blueprint again and again: what is pure in it runs once a run, as where jumps do that."""
    if not blueprint.states and not blueprint.hoisted:
        blueprint.hoisted = _hoisted(blueprint.graph)
        blueprint.states = _States(blueprint)
        root = blueprint.root
        root.moves = root.last = root.reads = root.read_by = None  # what runs once a run is read late


def _operation(graph: Graph, i: int, terms: Terms) -> int:
    """Return what a node becomes by its terms alone, which may be those of many."""
    kind = graph.kinds[i]
    if kind > CALLN:
        return kind
    if terms.selector is not None:
        return LOOP
    form = graph.forms[i]
    assert form is not None
    needs = form.needs_behind(len(graph.references(i)) - len(form.names)) if form.task.needs else {}
    if terms.streams:
        return MANAGED
    if terms.cache is not None:  # a look at what is kept takes no time where that is at hand
        is_lazy = terms.constraints is not None and terms.constraints.lazy
        is_bare = needs == {} and not terms.injects and not is_lazy
        return GATED if terms.cache.__class__ is Cached and is_bare else MANAGED
    in_place = needs is not None and terms.only_takes and not form.is_async
    if not in_place and (terms.is_policy or needs != {}):
        return MANAGED
    return GATED if terms.asks else kind


def _mark_skippable(graph: Graph, root: Block, subflows: dict[int, Blueprint], conditions: bool) -> bool:
    """Say whether anything can be skipped.

    Calls that a skipped input may reach become gated, and get what stands in for them when they are skipped.
    """
    if not conditions and not any(inner.skips for inner in subflows.values()):
        return False
    maybe = bytearray(len(graph) + len(graph.constants))  # which are read from the back, and are there
    is_skipped = maybe.__getitem__
    ops, kinds, gates, jumps = root.ops, root.kinds, root.gates, graph.jumps
    if ops is kinds:
        ops = root.ops = bytearray(kinds)
    for i, op in enumerate(ops):
        gate = gates.get(i)
        # a state that a loop enters may be skipped; so of the items of a map
        skips = op in (ROUTE, SUBFLOW) or (gate is not None and gate.condition is not None) or i in jumps
        skips = skips or any(map(is_skipped, graph.references(i)))
        if gate is not None and not skips:
            skips = any(map(is_skipped, (*gate.after, *[at for _, at in gate.amounts])))
        if not skips:
            continue
        maybe[i] = 1
        if isinstance(graph.nodes[i], LazyResult):
            if gate is None or not gate.is_own:  # many nodes may share one
                gate = gates[i] = Gate() if gate is None else gate.copied()
            gate.first = _first(graph, i, gate.terms)
        if op <= CALLN:
            ops[i] = GATED
        elif op == NESTED:
            ops[i] = SUBFLOW
    return True


def _first(graph: Graph, i: int, terms: Terms) -> int | None:
    """The reference of the first argument of node `i`, if a reader may get that in place of a skipped result."""
    node = graph.nodes[i]
    references = graph.references(i)
    at = 1 if terms.receiver else 0
    if len(references) <= at or isinstance(node, SubflowResult):
        return None
    form = graph.forms[i]
    if form is not None and form.names and len(references) - len(form.names) <= at:
        shape = form.task.shape
        order = (*shape.names, *shape.keywords) if shape is not None else form.names
        named = sorted(form.names, key=lambda name: order.index(name) if name in order else len(order))
        reference = references[len(references) - len(form.names) + form.names.index(named[0])]
    else:
        reference = references[at]
    if terms.passes_first:
        return reference
    if reference < 0:
        return reference if -1 - reference in graph.inputs else None
    return reference if isinstance(graph.nodes[reference], (LazyResult, Router, Input)) else None


def _hoisted(graph: Graph) -> frozenset[int]:
    found: set[int] = set()
    for i in range(len(graph)):
        kind, form, gate = graph.kinds[i], graph.forms[i], graph.gates.get(i)
        if kind != PACK and not (kind <= CALLN and form is not None and form.task.pure and i not in graph.jumps):
            continue
        needs = graph.references(i)
        if gate is not None:
            needs = [*needs, *(at for at in (gate.condition, gate.otherwise) if at is not None)]
            needs += [at for _, at in gate.amounts]
        if all(at < 0 or at in found for at in needs):
            found.add(i)
    return frozenset(i for i in found if graph.kinds[i] != PACK)  # each reader has a container of its own


class _States(dict[int, Block]):
    """The blocks of the states of a blueprint, each lowered when it is first asked for."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = ref(blueprint)

    def __missing__(self, number: int) -> Block:
        blueprint = self._blueprint()
        assert blueprint is not None  # which holds this
        block = self[number] = _lower_state(blueprint, number)
        return block


def _lower_state(blueprint: Blueprint, number: int) -> Block:
    """Return the block of a state: registers for it and all that feeds it, but for what runs once a run."""
    graph, hoisted = blueprint.graph, blueprint.hoisted
    found = {number}
    stack = [number]
    while stack:
        i = stack.pop()
        if i in hoisted and i != number:
            continue
        for at in _feeds(graph, i):
            if at >= 0 and at not in found:
                found.add(at)
                stack.append(at)
    origin = sorted(found)
    return _relocate(blueprint, number, origin)


def _feeds(graph: Graph, i: int) -> list[int]:
    feeds = list(graph.references(i))
    router, gate = graph.routes.get(i), graph.gates.get(i)
    if router is not None:
        feeds += router.routes.values()
        if router.default is not None:
            feeds.append(router.default)
    if gate is not None:
        feeds += [at for at in (gate.condition, gate.otherwise) if at is not None]
        feeds += [at for _, at in gate.amounts]
    return feeds


class _Moves(dict[int, int]):
    """References of the graph -> references of a block; constants are numbered as they are met."""

    def __init__(self, origin: list[int]) -> None:
        super().__init__((number, at) for at, number in enumerate(origin))
        self.slots: list[int] = []

    def __missing__(self, reference: int) -> int:
        self.slots.append(-1 - reference)
        moved = self[reference] = -len(self.slots)
        return moved

    def maybe(self, reference: int | None) -> int | None:
        return None if reference is None else self[reference]


def _relocate(blueprint: Blueprint, number: int, origin: list[int]) -> Block:
    graph, root = blueprint.graph, blueprint.root
    moves = _Moves(origin)
    block = Block()
    block.origin, block.local = origin, dict(moves)
    for at, i in enumerate(origin):
        if i in blueprint.hoisted and i != number:
            block.ops.append(IMPORT)
            block.kinds.append(CALL0)
            block.forms.append(graph.forms[i])
            block.places.append(i)
            continue
        block.ops.append(root.ops[i])
        block.kinds.append(root.kinds[i])
        block.forms.append(root.forms[i])
        references = [moves[reference] for reference in root.references(i)]
        if root.kinds[i] == 0:
            block.places.append(references[0])
        else:
            block.places.append(len(block.operands))
            block.operands.append(len(references))
            block.operands.extend(references)
        gate, router = root.gates.get(i), root.routes.get(i)
        if gate is not None:
            block.gates[at] = _moved_gate(gate, moves)
        if router is not None:
            routes = {key: moves[reference] for key, reference in router.routes.items()}
            block.routes[at] = Routes(routes, moves.maybe(router.default))
        if i in graph.jumps:
            block.jumps[at] = graph.jumps[i]
    block.root = moves[number]
    block.strict = 0
    block.lazies = blueprint.skips or bool(block.routes) or any(gate.after for gate in block.gates.values())
    block.slots = moves.slots
    return block


def _moved_gate(gate: Gate, moves: _Moves) -> Gate:
    moved = gate.copied()
    moved.condition, moved.otherwise = moves.maybe(gate.condition), moves.maybe(gate.otherwise)
    moved.first = moves.maybe(gate.first)
    moved.amounts = tuple((name, moves[at]) for name, at in gate.amounts)
    return moved
