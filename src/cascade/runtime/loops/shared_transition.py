"""Transitions by shape: what one state has learned of its jumps to itself, for others that differ in literals alone.

Ten thousand agents that are declared as ten thousand loops have one shape. What the first of them learns is kept by
that shape, with the task, from its first jump on: for the others neither a block is lowered nor an edge learned, and
as their uses are counted together, they are soon an emitted loop, of which each may turn but twice. Nor need they
have ended a call first: they may all be in their first one.

A state that does anything else (a jump to another state, data by names, a tail call) has this learned by the profile of
its own blueprint, and from then on all that it does: an emitted loop is made of edges of one profile. The same holds
for what turns inside of another loop that may take it in.
"""

from __future__ import annotations

from typing import Any

from cascade.compiler.analysis.shapes import keep, kept, leaf_shape
from cascade.compiler.lowering.entry_plan import FIRST, entry_plan
from cascade.compiler.transition_profile import Edge, TransitionProfile, profile_of
from cascade.runtime.frames.frame import PENDING, Activation
from cascade.runtime.loops.learning import state_entry
from cascade.runtime.loops.position import LoopPosition
from cascade.runtime.loops.transition import Transition
from cascade.runtime.shortcuts import off
from cascade.spec.blueprint import Blueprint
from cascade.spec.control import Jump, Value
from cascade.spec.lazy import Lazy
from cascade.spec.operations import CALL1

__all__ = ["HERE", "known_transition", "literals"]

HERE = -1
"""What edges lead on from in a profile that is kept by shape."""


def known_transition(follower: LoopPosition, jump: Jump) -> Transition | None:
    """Return the transition for jumps of a state to itself like this one, as it was learned by whatever loop."""
    number, activation, form = follower.number, follower.activation, follower.form
    try:
        if follower.routes is None or follower.routes.get(jump.target_key) != number:
            return None
    except TypeError:  # such a key names no route
        return None
    if activation is not follower.home.activation or follower.item is not None or "shared transitions" in off:
        return None
    blueprint = activation.blueprint
    own = profile_of(blueprint)
    if number in own.edges:
        for edge in own.edges[number]:
            if edge.takes(jump):
                made: Transition | None = follower.make_transition(
                    edge, own, activation.template(edge.entry.plan, edge.entry.block)
                )
                return made
        return None
    shape = None if follower.home.loop is not None and not form.is_async else leaf_shape(blueprint, number)
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
        learned = _learned(profile, blueprint, number, jump)
        if learned is None:
            return None
        edge = learned
    template = [PENDING] * edge.entry.plan.size + literals(activation, number)
    made = follower.make_transition(edge, profile, template)
    return made


def _learned(profile: TransitionProfile, blueprint: Blueprint, number: int, jump: Jump) -> Edge | None:
    """Return the edge for more jumps like this of all states of a shape, learned of one of them."""
    if jump.data is None or isinstance(jump.data, (dict, Value, Lazy)):
        return None
    entry_plan(blueprint, number, FIRST)
    entry = next(iter(profile.entries.values()), None) or state_entry(profile, blueprint, None, HERE, number, FIRST)
    if entry is None:
        return None
    entry.is_shared, entry.source = True, HERE
    updates: list[Any] = [(entry.plan.first_override, None)]
    return profile.learn(jump, Edge(HERE, entry, jump.target_key, jump.data.__class__, None, updates))


def literals(activation: Activation, number: int) -> list[Any]:
    """Return the arguments that a state is declared with, as they stand behind the registers of its block."""
    constants, graph = activation.constants, activation.blueprint.graph
    if graph.kinds[number] == CALL1:
        return [constants[-1 - graph.places[number]]]
    return [constants[-1 - at] for at in reversed(dict.fromkeys(graph.references(number)))]
