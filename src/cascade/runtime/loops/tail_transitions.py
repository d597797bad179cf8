"""Handovers: tail calls from one blueprint to another, or to the same by its id, that are like one before.

A run keeps what it learns of them to itself: in another run an id may stand for another blueprint.
So neither has anything to be looked at again while the loop goes on.
"""

from __future__ import annotations

from typing import Any

from cascade.compiler.lowering.entry_plan import Key, position
from cascade.compiler.transition_profile import Edge
from cascade.runtime.frames.frame import World
from cascade.runtime.loops.learning import machine_of, state_entry
from cascade.runtime.loops.transition import Lane
from cascade.spec.blueprint import TailCall
from cascade.spec.placement import CallForm

__all__ = ["handover_key", "learn_handover"]


def handover_key(call: TailCall) -> Key:
    """Return which arguments of its target a tail call to a blueprint gives."""
    return (*[position(at) for at in range(len(call.args))], *call.kwargs)


def learn_handover(follower: Any, call: TailCall, world: World, number: int) -> Lane | None:
    """Return a lane for more tail calls like this one, which has led from node `number` of `world` to where it is."""
    blueprint, target = follower.world.blueprint, follower.world.blueprint.graph.root
    if call.__class__ is not TailCall or call.args.__class__ not in (list, tuple) or call.kwargs.__class__ is not dict:
        return None
    key = handover_key(call)
    if target < 0 or (not key and target in blueprint.hoisted):  # a value, which there is once a run
        return None
    machine, blueprint_id = machine_of(follower)
    source = (world.key, number)
    entry = state_entry(machine, blueprint, blueprint_id, source, target, key)
    if entry is None or _takes_any(entry.form, call):
        return None
    count, names = len(call.args), tuple(call.kwargs)
    updates: list[Any] = list(zip(entry.parameters, (*range(count), *names), strict=True))
    made = Edge(source, entry, call.target_blueprint_id, call.args.__class__, names, updates, count)
    edge = machine.learn(call, made)
    if edge is None:
        return None
    template = follower.world.template(entry.plan, entry.block)
    return Lane(follower, edge, machine, follower.frames.get(entry.plan), template)


def _takes_any(form: CallForm, call: TailCall) -> bool:
    """Say whether several arguments are of names that the task does not know: it sees the order of those."""
    shape = form.task.shape
    if shape is None:
        return len(call.kwargs) > 1
    return sum(name not in shape.positions and name not in shape.keywords for name in call.kwargs) > 1
