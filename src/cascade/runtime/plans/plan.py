"""Targets -> plans: what a run needs to know before it starts, kept on the target for the next run."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

from cascade.compiler.lowering.lower import lower
from cascade.errors import CycleError, ParameterError, StaticGraphError
from cascade.graph.build import build, target_of
from cascade.runtime.plans.inputs import check_inputs, check_known
from cascade.runtime.shortcuts import off
from cascade.spec.blueprint import Blueprint
from cascade.spec.compose import SubflowResult, subflow
from cascade.spec.graph import Graph, Optional, Pack
from cascade.spec.inputs import Param
from cascade.spec.lazy import Lazy, configurations
from cascade.spec.mistakes import check_target
from cascade.spec.operations import LOOP, MANAGED, MAP, NESTED, SUBFLOW
from cascade.spec.signal import UNSET

if TYPE_CHECKING:
    from cascade.spec.protocols import Solver

__all__ = ["Plan", "prepare"]

MOST_PLAIN = 1000
"""Larger graphs are not looked through: a task is nothing beside them."""
LONG = frozenset([LOOP, MANAGED, MAP, NESTED, SUBFLOW])
"""What may await something that is no call."""


class Plan:
    """A blueprint, made for one target by one solver, and what is known of its parameters."""

    __slots__ = ("blueprint", "has_secrets", "is_plain", "params", "solver", "together", "version")

    def __init__(self, blueprint: Blueprint, solver: Solver | None, params: dict[str, Param]) -> None:
        self.blueprint = blueprint
        self.solver = solver
        self.version = configurations[0]
        self.params = params
        self.together: ContainerPlan | None = None
        """A container with the target of this plan in it."""
        self.has_secrets: bool = any(given.secret for given in blueprint.graph.inputs.values())
        block = blueprint.root
        self.is_plain: bool = (
            len(block) <= MOST_PLAIN
            and LONG.isdisjoint(block.ops)
            and not any(gate.terms.retry or gate.terms.asks for gate in block.gates.values())
            and not any(form is not None and form.is_async for form in block.forms)
        )
        """A run is nothing but some calls of functions that are not async: it never awaits what users wrote."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the nodes that a run asks for; made when somebody listens, as there may be many."""
        return target_names(self.blueprint.graph)


class ContainerPlan:
    """The plan of a container of targets, kept with the first lazy value in it."""

    __slots__ = ("pack", "plan")

    def __init__(self, pack: Pack, plan: Plan) -> None:
        self.pack = pack
        self.plan = plan


def target_names(graph: Graph) -> tuple[str, ...]:
    """Return the names of the nodes that a run of the graph asks for."""
    if graph.root < 0:
        return (graph.inputs[-1 - graph.root].name,)
    if not isinstance(graph.nodes[graph.root], Pack):
        return (_target_name(graph, graph.root),)
    return tuple(_target_name(graph, at) for at in graph.references(graph.root) if at >= 0)


def _target_name(graph: Graph, at: int) -> str:
    node = graph.nodes[at]
    return node.result.label if isinstance(node, Optional) else graph.name(at)  # the last of a sequence


def prepare(target: Any, solver: Solver | None) -> Plan | None:
    """Return the plan for a target, or None for a plain value, which gives itself.

    Raises:
        StaticGraphError, CycleError, ParameterError: what was declared cannot be run.
        TypeError: the target is a task that was not called.
    """
    kept = target.plan if isinstance(target, Lazy) else None
    if kept.__class__ is Plan and kept.version == configurations[0] and kept.solver is solver:
        return kept
    if isinstance(target, Blueprint):
        return Plan(target, solver, check_inputs(target.graph))
    asked = target_of(_without_blueprints(target))
    if not isinstance(asked, (Lazy, Pack)):
        check_target(target, "cs.run")
        return None
    if isinstance(asked, Pack):
        return _prepare_together(asked, solver)
    plan = _planned(_compile(asked, solver), solver)
    if isinstance(target, Lazy):
        _keep(target, plan)
    return plan


def _keep(target: Lazy, plan: Plan) -> None:
    plan.together = target.plan if target.plan.__class__ is ContainerPlan else None
    target.plan = plan


def _planned(blueprint: Blueprint, solver: Solver | None) -> Plan:
    return Plan(blueprint, solver, check_inputs(blueprint.graph) if blueprint.graph.inputs else {})


def _prepare_together(pack: Pack, solver: Solver | None) -> Plan:
    """Return the plan for a container of targets: the one kept with the first of them, if it is for the same."""
    first = _first(pack)
    own = first.plan
    known = own.together if own.__class__ is Plan else own
    if known.__class__ is ContainerPlan and _are_same(known.pack, pack):
        kept: Plan = known.plan
        if kept.version == configurations[0] and kept.solver is solver:
            return kept
    plan = _planned(_compile(pack, solver), solver)
    if own.__class__ is Plan:
        own.together = ContainerPlan(pack, plan)
    else:
        first.plan = ContainerPlan(pack, plan)
    return plan


def _first(pack: Pack) -> Any:
    """Return the first lazy value in a container, without recursion by its depth."""
    item: Any = pack
    while isinstance(item, Pack):
        item = next(each for each in item.items if isinstance(each, (Lazy, Pack)))  # a pack has one
    return item.result if isinstance(item, Optional) else item


def _are_same(one: Pack, other: Pack) -> bool:
    """Say whether two containers of targets ask for the same."""
    stack = [(one, other)]
    while stack:
        one, other = stack.pop()
        if one.type is not other.type or one.remake != other.remake or len(one.items) != len(other.items):
            return False
        if not all(map(is_, one.keys or (), other.keys or ())):
            return False
        for item, its in zip(one.items, other.items, strict=True):
            if isinstance(item, Pack) and isinstance(its, Pack):
                stack.append((item, its))
            elif isinstance(item, Optional) and isinstance(its, Optional):
                if item.result is not its.result:
                    return False
            elif item is not its:
                return False
    return True


def _compile(asked: Lazy | Pack, solver: Solver | None) -> Blueprint:
    """Build the target and the sub-flows inside it, then lower them, inner ones first, without recursion by depth."""
    whole = build(asked)
    if SUBFLOW not in whole.kinds:  # what follows costs a tenth of a run of one call
        return lower(whole, _order(whole, solver))
    made: list[tuple[Graph, dict[int, Blueprint | int], Any]] = [(whole, {}, None)]
    numbers: dict[Lazy, int] = {}
    """Where the graphs of sub-flows are among those: one for all that have the same target."""
    for graph, inner, _ in made:
        for i, node in enumerate(graph.nodes) if SUBFLOW in graph.kinds else ():
            if not isinstance(node, SubflowResult):
                continue
            target = node.target
            kept = target.plan if isinstance(target, Lazy) else None
            if isinstance(target, Blueprint):
                inner[i] = target
                _check_given(node, check_inputs(target.graph))
            elif kept.__class__ is Plan and kept.version == configurations[0] and kept.solver is solver:
                inner[i] = kept.blueprint
                _check_given(node, kept.params)
            else:
                number = numbers.get(target, len(made)) if isinstance(target, Lazy) else len(made)
                if number == len(made):
                    made.append((_built(node), {}, target))
                if isinstance(target, Lazy):
                    numbers[target] = number
                inner[i] = number
                _check_given(node, check_inputs(made[number][0]))
    return _lowered(made, solver)


def _lowered(made: list[tuple[Graph, dict[int, Blueprint | int], Any]], solver: Solver | None) -> Blueprint:
    """Lower graphs, each behind those of its sub-flows; a sub-flow's target keeps its plan, as that of a run does."""
    lowered: dict[int, Blueprint] = {}
    stack = [0]
    opened: set[int] = set()
    while stack:
        number = stack[-1]
        graph, inner, target = made[number]
        waiting = {at for at in inner.values() if isinstance(at, int) and at not in lowered}
        if waiting & opened:
            raise CycleError(f"the sub-flow of {target!r} stands in itself")
        if waiting:
            opened.add(number)
            stack += waiting
            continue
        opened.discard(stack.pop())
        if number in lowered:  # several wait for it
            continue
        subflows = {i: lowered[at] if isinstance(at, int) else at for i, at in inner.items()}
        blueprint = lowered[number] = lower(graph, _order(graph, solver), subflows)
        if "subflows in code" in off:
            blueprint.root.ops = blueprint.root.ops.replace(bytes([NESTED]), bytes([SUBFLOW]))
        if isinstance(target, Lazy):
            _keep(target, _planned(blueprint, solver))
    return lowered[0]


def _built(node: SubflowResult) -> Graph:
    asked = target_of(node.target)
    if not isinstance(asked, (Lazy, Pack)):
        raise StaticGraphError(f"{node!r}: the target of a sub-flow is a lazy result, not {node.target!r}")
    return build(asked)


def _check_given(node: SubflowResult, known: dict[str, Param]) -> None:
    """Raise ParameterError where a sub-flow is given what it does not know, or not what it needs."""
    given = node.kwargs or {}
    if not given.keys() <= known.keys():
        try:
            check_known(known, given)
        except ParameterError as error:
            raise ParameterError(f"{node!r}: {error}") from None
    for param in known.values():
        if param.default is UNSET and param.name not in given:
            raise ParameterError(
                f"{node!r} needs the parameter {param.name!r} (declared at {param.declared}); "
                f"give it: cs.subflow(..., params={{{param.name!r}: ...}})"
            )


def _order(graph: Graph, solver: Solver | None) -> list[int] | None:
    order = None if solver is None else solver.solve(graph)
    if order is not None:
        order = list(order)
        if sorted(order) != list(range(graph.strict)):
            raise StaticGraphError(
                f"the solver {type(solver).__name__} gave an order that is no permutation of the nodes 0 to "
                f"{graph.strict - 1}"
            )
    return order


def _without_blueprints(target: Any) -> Any:
    """Return a container of targets with blueprints made into sub-flows, which share the run's parameters."""
    if isinstance(target, dict):
        return {key: _as_lazy(value) for key, value in target.items()} if type(target) is dict else target
    if type(target) in (list, tuple) and any(issubclass(cls, Blueprint) for cls in set(map(type, target))):
        return type(target)(map(_as_lazy, target))
    return target


def _as_lazy(value: Any) -> Any:
    if not isinstance(value, Blueprint):
        return value
    params: dict[str, Any] = {}
    for given in value.graph.inputs.values():
        if isinstance(given, Param):
            params[given.name] = given
    return subflow(value, params)
