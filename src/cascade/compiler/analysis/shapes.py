"""Shapes: what two graphs share that differ in their literals alone, and the functions kept for them.

A function is kept with the task of the call that it is about (the target of a flow, a state of a loop), under the
shape of what it carries out. So it goes when the task goes, and whoever declares the same again need not wait for
it to be written and compiled again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from cascade.compiler.analysis.inside import size_inside
from cascade.compiler.code.source_writer import Watch
from cascade.compiler.transition_profile import Edge, EntryPoint, Source, TransitionProfile, profile_of
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.graph import Graph, Pack
from cascade.spec.lazy import Lazy, LazyResult, MappedResult
from cascade.spec.mistakes import ATOMS
from cascade.spec.operations import CALL1, IMPORT, NESTED
from cascade.spec.placement import CallForm

__all__ = ["MOST_KEPT", "block_shape", "item_shape", "keep", "kept", "leaf_shape", "loop_shape", "profiles_of"]

MOST_KEPT = 32
"""So many functions are kept for one task."""


def kept(form: CallForm, shape: tuple[Any, ...]) -> Any:
    """Return what is kept for a shape, or None."""
    found = form.kept
    made = None if found is None else found.get(shape)
    if made is not None and found is not None:
        found.move_to_end(shape)
    return made


def keep(form: CallForm, shape: tuple[Any, ...], made: object) -> None:
    """Keep something for a shape; what was asked for longest ago has to go."""
    if form.kept is None:
        form.kept = OrderedDict()
    form.kept[shape] = made
    while len(form.kept) > MOST_KEPT:
        form.kept.popitem(last=False)


def block_shape(blueprint: Blueprint, block: Block) -> tuple[Any, ...]:
    """Return what decides which lines are written for a block."""
    graph = blueprint.graph
    numbers = range(len(graph)) if block.origin is None else block.origin
    return (
        bytes(block.ops),
        tuple(block.forms),
        tuple(block.places),
        tuple(block.operands),
        tuple([(i, gate.first, *gate.key(), *_injected(graph, block, i)) for i, gate in block.gates.items()]),
        tuple([(i, tuple(map(_exactly, r.routes.items())), r.default) for i, r in block.routes.items()]),
        tuple([_site(graph, i) for i in numbers]),
        tuple(
            [_subflow_shape(blueprint, number) for op, number in zip(block.ops, numbers, strict=True) if op == NESTED]
        ),
        block.root,
        block.strict,
        blueprint.skips,
    )


def _subflow_shape(blueprint: Blueprint, number: int) -> tuple[Any, ...]:
    """Return what decides which lines are written for a sub-flow that stands among the calls around it."""
    inner, sources = blueprint.subflows[number], blueprint.graph.nodes[number].kwargs
    if not size_inside(inner):
        return ()
    inputs = [(_Same(given), sources.get(given.name) is given) for given in inner.graph.inputs.values()]
    constants = [(each.__class__, each if each.__class__ in ATOMS else _Same(each)) for each in inner.constants]
    return block_shape(inner, inner.root), tuple(sources), tuple(inputs), tuple(constants)


def _injected(graph: Graph, block: Block, i: int) -> list[int]:
    return [at for at, _ in block.injected(i, graph.constants)]


def _exactly(item: tuple[Any, Any]) -> tuple[Any, ...]:
    return (item[0].__class__, *item)


def _site(graph: Graph, i: int) -> Any:
    node = graph.nodes[i]
    if isinstance(node, Pack):
        keys = None if node.keys is None else tuple([(key.__class__, key) for key in node.keys])
        return node.type, keys, node.remake
    if isinstance(node, MappedResult):
        options = (len(node.args), tuple(node.kwargs or ()), node.each, node.concurrency, node.window, node.errors)
        return (_Same(node.code), node.lasti, node.label, options)
    label = node.label if isinstance(node, LazyResult) else ""
    return (_Same(node.code), node.lasti, label) if isinstance(node, Lazy) else None


class _Same:
    """Something that is known by identity, such as a code object: to hash one can take as long as to run it."""

    __slots__ = ("thing",)

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)


def leaf_shape(blueprint: Blueprint, number: int) -> tuple[Any, ...] | None:
    """Return what a state has in common with others that differ from it in their literals alone.

    Of its routes, only those that lead back to it count. None where more than literals feed the state, or more than
    its selector is declared for it. The code object is in it by its id: what is kept by this must keep it alive.
    """
    graph = blueprint.graph
    node, gate, routes = graph.nodes[number], graph.gates.get(number), graph.jumps.get(number)
    if routes is None or gate is None or not (gate.is_shared or gate.is_plain) or blueprint.skips:
        return None
    if not isinstance(node, LazyResult):
        return None
    pattern: Any = 1
    if graph.kinds[number] == CALL1:
        if graph.places[number] >= 0:
            return None
    else:
        references = graph.references(number)
        if not references or max(references) >= 0:
            return None
        pattern = len(references)
        if pattern > 1 and len(slots := list(dict.fromkeys(references))) < pattern:
            pattern = tuple(map(slots.index, references))
    back: tuple[Any, ...] = ()
    for key in routes:
        if routes[key] == number:
            back += (key,)
    return id(node.code), node.lasti, node.label, pattern, back


def item_shape(blueprint: Blueprint, number: int) -> tuple[Any, ...] | None:
    """Return what items of a bound map have in common with those of other maps, whatever they go through.

    None where more than their selector is declared for them. For the code object holds what `leaf_shape` says.
    """
    graph = blueprint.graph
    node, gate, routes = graph.nodes[number], graph.gates.get(number), graph.jumps.get(number)
    if routes is None or gate is None or not (gate.is_shared or gate.is_plain) or not isinstance(node, MappedResult):
        return None
    back = tuple([key for key in routes if routes[key] == number])
    return id(node.code), node.lasti, node.label, len(node.args), node.each, tuple(node.kwargs or ()), back


def profiles_of(blueprint: Blueprint) -> list[TransitionProfile]:
    """Return what is known of the loops of a program: its own profile, and those that are kept by shape."""
    found = [profile_of(blueprint)]
    for number in blueprint.graph.jumps:
        form = blueprint.graph.forms[number]
        shape = leaf_shape(blueprint, number) or item_shape(blueprint, number)
        profile = None if form is None or shape is None else kept(form, shape)
        found += [] if profile is None else [profile]
    return list(dict.fromkeys(found))


def loop_shape(
    blueprints: list[Blueprint],
    entries: list[EntryPoint],
    edges: list[Edge],
    watch: Watch,
    inner: dict[Any, Any] | None = None,
) -> tuple[Any, ...]:
    """Return what decides which lines are written for a loop of these entries, which are in these blueprints."""
    numbers = {entry: k for k, entry in enumerate(entries)}
    sources: dict[Source, int] = {}
    slots: dict[Any, int] = {}
    imports: dict[Any, int] = {}
    shapes: list[Any] = []
    for blueprint, entry in zip(blueprints, entries, strict=True):
        block, plan = entry.block, entry.plan
        shapes.append(
            (
                entry.kind,
                entry.form,
                sources.setdefault(entry.source, len(sources)),
                block_shape(blueprint, block) if entry.kind == "state" else _site(blueprint.graph, entry.number),
                entry.register,
                entry.loose,
                tuple([step[0] for step in plan.steps]),
                tuple(plan.placed),
                tuple(plan.named.items()),
                plan.first_override,
                plan.size,
            )
        )
        if len(entries) > 1:
            known = [(entry.blueprint_id, slot) for slot in block.slots or ()]
            shapes.append(tuple([slots.setdefault(one, len(slots)) for one in known]))
        if entry.kind == "state" and blueprint.hoisted:
            once = [(entry.blueprint_id, at) for op, at in zip(block.ops, block.places, strict=True) if op == IMPORT]
            shapes.append(tuple([imports.setdefault(at, len(imports)) for at in once]))
    ways = [
        (
            sources[edge.source],
            numbers[edge.entry],
            edge.is_jump,
            edge.key if edge.by_value else id(edge.key),
            edge.by_value,
            edge.cls,
            edge.names,
            edge.count,
            tuple(edge.updates),
        )
        for edge in edges
    ]
    inside = [(where, one.shape()) for where, one in (inner or {}).items()]
    return (*shapes, *ways, *inside, watch)
