"""Transitions between blueprints: tail calls from one to another, or to itself by its id, like one before.

A run keeps what it learns of them to itself: in another run an id may stand for another blueprint.
So neither has anything to be looked at again while the loop goes on.
"""

from __future__ import annotations

from typing import Any

from cascade.compiler.lowering.entry_plan import Key, position
from cascade.compiler.transition_profile import Edge
from cascade.runtime.frames.frame import Activation
from cascade.runtime.loops.learning import profile_at, state_entry
from cascade.runtime.loops.transition import Transition
from cascade.spec.blueprint import TailCall
from cascade.spec.placement import CallForm

__all__ = ["tail_key", "learn_tail_transition"]


def tail_key(call: TailCall) -> Key:
    """Return which arguments of its target a tail call to a blueprint gives."""
    return (*[position(at) for at in range(len(call.args))], *call.kwargs)


def learn_tail_transition(follower: Any, call: TailCall, activation: Activation, number: int) -> Transition | None:
    """Return the transition for more tail calls like this, which led from node `number` of `activation` to here."""
    blueprint, target = follower.activation.blueprint, follower.activation.blueprint.graph.root
    if call.__class__ is not TailCall or call.args.__class__ not in (list, tuple) or call.kwargs.__class__ is not dict:
        return None
    key = tail_key(call)
    if target < 0 or (not key and target in blueprint.hoisted):  # a value, which there is once a run
        return None
    loop_profile, blueprint_id = profile_at(follower)
    source = (activation.key, number)
    entry = state_entry(loop_profile, blueprint, blueprint_id, source, target, key)
    if entry is None or _takes_any(entry.form, call):
        return None
    count, names = len(call.args), tuple(call.kwargs)
    updates: list[Any] = list(zip(entry.parameters, (*range(count), *names), strict=True))
    made = Edge(source, entry, call.target_blueprint_id, call.args.__class__, names, updates, count)
    edge = loop_profile.learn(call, made)
    if edge is None:
        return None
    template = follower.activation.template(entry.plan, entry.block)
    return Transition(follower, edge, loop_profile, follower.frames.get(entry.plan), template)


def _takes_any(form: CallForm, call: TailCall) -> bool:
    """Say whether several arguments are of names that the task does not know: it sees the order of those."""
    shape = form.task.shape
    if shape is None:
        return len(call.kwargs) > 1
    return sum(name not in shape.positions and name not in shape.keywords for name in call.kwargs) > 1
