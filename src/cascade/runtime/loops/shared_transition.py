"""Transitions by shape: what one loop has learned of its jumps to itself, for others that differ in literals alone.

Ten thousand agents that are declared as ten thousand loops have one shape, and so have the items of a map that jump to
themselves, in this run and in the next. What the first of them learns is kept by that shape, with the task, from its
first jump on: for the others neither a block is lowered nor an edge learned, and as their uses are counted together,
they are soon an emitted loop, of which each may turn but twice. Nor need they have ended a call first: they may all be
in their first one.

A loop that does anything else (a jump to another state, a tail call; other arguments than those that the first jump
gave; that of a state, data by names) has this learned by the profile of its own blueprint, and from then on all that
it does: an emitted loop is made of edges of one profile. The same holds for what turns inside of another loop that may
take it in.
"""

from __future__ import annotations

from typing import Any

from cascade.compiler.analysis.shapes import item_shape, keep, kept, leaf_shape
from cascade.compiler.lowering.entry_plan import FIRST, entry_plan
from cascade.compiler.transition_profile import Edge, TransitionProfile, profile_of
from cascade.runtime.frames.frame import PENDING, Activation
from cascade.runtime.loops.learning import HERE, item_edge, item_source, state_entry
from cascade.runtime.loops.position import LoopPosition
from cascade.runtime.loops.transition import Transition
from cascade.runtime.shortcuts import off
from cascade.spec.blueprint import Blueprint
from cascade.spec.control import Jump, Value
from cascade.spec.lazy import Lazy
from cascade.spec.operations import CALL1

__all__ = ["known_transition", "literals"]


def known_transition(follower: LoopPosition, jump: Jump) -> Transition | None:
    """Return the transition for jumps of a loop to itself like this one, as it was learned by whatever loop."""
    number, activation, form = follower.number, follower.activation, follower.form
    try:
        if follower.routes is None or follower.routes.get(jump.target_key) != number:
            return None
    except TypeError:  # such a key names no route
        return None
    if activation is not follower.home.activation or "shared transitions" in off:
        return None
    item = follower.item
    if item is not None and number != follower.home_number:
        return None
    blueprint = activation.blueprint
    own = profile_of(blueprint)
    source = number if item is None else item_source(follower)
    if source in own.edges:
        for edge in own.edges[source]:
            if edge.takes(jump):
                made: Transition | None = follower.make_transition(edge, own, _template(follower, edge))
                return made
        return None
    if follower.home.loop is not None and not form.is_async:
        return None
    shape = leaf_shape(blueprint, number) if item is None else item_shape(blueprint, number)
    if shape is None:
        return None
    profile: TransitionProfile | None = kept(form, shape)
    if profile is None:
        profile = TransitionProfile(blueprint.graph.nodes[number].code)
        keep(form, shape, profile)
    for edge in profile.edges.get(HERE, ()):
        if edge.takes(jump):
            break
    else:
        learned = _learned(follower, profile, jump)
        if learned is None:
            return None
        edge = learned
    made = follower.make_transition(edge, profile, _template(follower, edge))
    return made


def _template(follower: LoopPosition, edge: Edge) -> list[Any]:
    """Return the registers with which an entry along an edge begins."""
    if follower.item is not None:
        return list(follower.item[0])
    activation = follower.activation
    if edge.entry.is_shared:
        return [PENDING] * edge.entry.plan.size + literals(activation, follower.number)
    return activation.template(edge.entry.plan, edge.entry.block)


def _learned(follower: LoopPosition, profile: TransitionProfile, jump: Jump) -> Edge | None:
    """Return the edge for more jumps like this of all loops of a shape, learned of one of them."""
    if follower.item is None:
        edge = _state_edge(profile, follower.activation.blueprint, follower.number, jump)
    elif jump.data is None or isinstance(jump.data, (Value, Lazy)):
        return None
    else:
        key = tuple(jump.data) if isinstance(jump.data, dict) else FIRST
        edge = item_edge(follower, jump, key, profile, HERE)
    if edge is None or any(_places(other) != _places(edge) for other in profile.edges.get(HERE, ())):
        return None  # what a jump does not give begins as it was declared, and all of these have one entry
    edge.entry.is_shared = True
    return profile.learn(jump, edge)


def _places(edge: Edge) -> set[int]:
    return {at for at, _ in edge.updates}


def _state_edge(profile: TransitionProfile, blueprint: Blueprint, number: int, jump: Jump) -> Edge | None:
    if jump.data is None or isinstance(jump.data, (dict, Value, Lazy)):
        return None
    entry_plan(blueprint, number, FIRST)
    entry = next(iter(profile.entries.values()), None) or state_entry(profile, blueprint, None, HERE, number, FIRST)
    if entry is None:
        return None
    entry.source = HERE
    updates: list[Any] = [(entry.plan.first_override, None)]
    return Edge(HERE, entry, jump.target_key, jump.data.__class__, None, updates)


def literals(activation: Activation, number: int) -> list[Any]:
    """Return the arguments that a state is declared with, as they stand behind the registers of its block."""
    constants, graph = activation.constants, activation.blueprint.graph
    if graph.kinds[number] == CALL1:
        return [constants[-1 - graph.places[number]]]
    return [constants[-1 - at] for at in reversed(dict.fromkeys(graph.references(number)))]
