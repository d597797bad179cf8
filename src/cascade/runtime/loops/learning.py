"""Learning transitions: what was seen of a jump or tail call that was followed the long way, for more like it.

A run keeps to itself what it learns of tail calls to other blueprints, or to its own by id: in another run an id may
stand for another blueprint. So neither has anything to be looked at again while the loop goes on.
"""

from __future__ import annotations

from typing import Any

from cascade.compiler.lowering.entry_plan import FIRST, Key, position
from cascade.compiler.transition_profile import Edge, EntryPoint, Kind, Source, TransitionProfile, profile_of
from cascade.runtime.frames.frame import Activation
from cascade.runtime.loops.position import LoopPosition
from cascade.runtime.loops.transition import Transition
from cascade.spec.blueprint import Blueprint, EntryPlan
from cascade.spec.control import Jump, TailCall, Value
from cascade.spec.operations import CALLN
from cascade.spec.placement import CallForm

__all__ = [
    *("HERE", "item_edge", "item_source", "learn_call", "learn_item", "learn_jump", "learn_tail_transition"),
    *("profile_at", "state_entry", "tail_key"),
]

HERE = -1
"""What edges lead on from in a profile that is kept by shape."""
ITEM, CALL = object(), object()
"""Mark the plans of items of maps, and of tasks that are called again, among those of a block."""


def learn_jump(follower: LoopPosition, jump: Jump, source: Source, target: int, key: Key) -> Transition | None:
    """Return the transition for more jumps like this one, which has just entered a state, if the state allows it."""
    if target < 0 or jump.data.__class__ is Value:
        return None
    loop_profile, blueprint_id = profile_at(follower)
    entry = state_entry(loop_profile, follower.activation.blueprint, blueprint_id, source, target, key)
    if entry is None or (blueprint_id is not None and target not in follower.activation.blueprint.graph.jumps):
        return None  # an exit does not count as an entry, but there a tail call may lead back from it
    names = key if isinstance(jump.data, dict) else None
    updates: list[Any] = list(zip(entry.parameters, names or (None,) * len(entry.parameters), strict=True))
    edge = Edge(source, entry, jump.target_key, jump.data.__class__, names, updates)
    return _along(follower, jump, edge, loop_profile, follower.activation.template(entry.plan, entry.block))


def _along(
    follower: LoopPosition, signal: Jump | TailCall, edge: Edge, loop_profile: TransitionProfile, template: list[Any]
) -> Transition | None:
    known = loop_profile.learn(signal, edge)
    made: Transition | None = None if known is None else follower.make_transition(known, loop_profile, template)
    return made


def profile_at(follower: LoopPosition) -> tuple[TransitionProfile, str | None]:
    """Return what is known of the loops where a follower is, and the id of the blueprint that a tail call led to."""
    activation = follower.activation
    if activation is follower.home.activation:
        return profile_of(activation.blueprint), None
    run = follower.run
    if run.loop_profile is None:  # ids may lead elsewhere in another run
        run.loop_profile = TransitionProfile()
    return run.loop_profile, activation.key


def state_entry(
    loop_profile: TransitionProfile,
    blueprint: Blueprint,
    blueprint_id: str | None,
    source: Source,
    target: int,
    key: Key,
) -> EntryPoint | None:
    """Return the entry of a state that was just entered; None if an emitted loop cannot have it."""
    block = blueprint.state(target)
    root = block.root
    gate, plan, form = block.gates.get(root), block.plans.get(key), block.forms[root]
    if plan is None or form is None or block.kinds[root] > CALLN or form.task.needs or (gate and gate.terms.is_policy):
        return None
    mark = plan if blueprint_id is None else (blueprint_id, plan)
    entry = loop_profile.entries.get(mark)
    if entry is None and not loop_profile.is_full(source):
        leads_on: Source = target if blueprint_id is None else (blueprint_id, target)
        entry = loop_profile.entries[mark] = EntryPoint("state", block, root, plan, leads_on, form, blueprint_id)
    return entry


def learn_item(follower: LoopPosition, jump: Jump, key: Key) -> Transition | None:
    """Return a transition for a jump back into an item of a map, whose arguments are all there."""
    loop_profile = profile_of(follower.activation.blueprint)
    edge = item_edge(follower, jump, key, loop_profile, item_source(follower))
    return None if edge is None else _along(follower, jump, edge, loop_profile, list(follower.item[0]))


def item_source(follower: LoopPosition) -> Source:
    """Return what jumps of an item lead on from in the profile of its own blueprint."""
    return follower.home.block.source(follower.call.register), len(follower.item[0])


def item_edge(
    follower: LoopPosition, jump: Jump, key: Key, loop_profile: TransitionProfile, source: Source
) -> Edge | None:
    """Return the edge of a jump back into an item of a map; None if there can be none."""
    declared, named = follower.item
    block, register, gate = follower.home.block, follower.call.register, follower.gate
    form = block.forms[register]
    assert form is not None
    if named or form.task.needs or jump.data.__class__ is Value or (gate is not None and gate.terms.is_policy):
        return None
    if key is FIRST:
        places = [1 if gate is not None and gate.terms.receiver else 0]
    else:
        positions = form.task.shape.positions if form.task.shape is not None else {}
        places = [positions.get(name, len(declared)) for name in key]
    if any(at >= len(declared) for at in places):
        return None
    names = key if isinstance(jump.data, dict) else None
    mark = (ITEM, source) if source == HERE else (ITEM, source, *key)
    entry = _arguments_entry(follower, loop_profile, None, "item", mark, source)
    updates: list[Any] = list(zip(places, names or (None,) * len(places), strict=True))
    return Edge(source, entry, jump.target_key, jump.data.__class__, names, updates)


def learn_call(follower: LoopPosition, call: TailCall, source: Source) -> Transition | None:
    """Return a transition for tail calls of a task to itself that give the same arguments each time."""
    form, gate = follower.form, follower.gate
    shape, count = form.task.shape, len(follower.args)
    if call.__class__ is not TailCall or call.target_blueprint_id is not None or follower.kwargs:
        return None
    if shape is None or not shape.faithful or form.task.needs or (gate is not None and gate.terms.is_policy):
        return None
    receiver = 1 if gate is not None and gate.terms.receiver else 0
    if receiver + len(call.args) > count or call.args.__class__ not in (list, tuple):
        return None
    updates: list[Any] = [(receiver + at, at) for at in range(len(call.args))]
    for name in call.kwargs:
        at = shape.positions.get(name, count)
        if not receiver + len(call.args) <= at < count:
            return None
        updates.append((at, name))
    loop_profile, blueprint_id = profile_at(follower)
    entry = _arguments_entry(follower, loop_profile, blueprint_id, "call", (CALL, source, count), source)
    names = tuple(call.kwargs)
    edge = Edge(source, entry, None, call.args.__class__, names, updates, len(call.args))
    return _along(follower, call, edge, loop_profile, [])


def _arguments_entry(
    follower: LoopPosition,
    loop_profile: TransitionProfile,
    blueprint_id: str | None,
    kind: Kind,
    mark: tuple[Any, ...],
    source: Source,
) -> EntryPoint:
    """Return an entry all of whose arguments are given."""
    entry = loop_profile.entries.get(mark)
    if entry is None:
        if kind == "item":
            block, register = follower.home.block, follower.call.register
            count = len(follower.item[0])
        else:
            block, register = follower.block_at(follower.number)
            count = len(follower.args)
        plan = EntryPlan([], list(range(count)), {}, 0, count, [])
        plan.is_bare = True
        entry = loop_profile.entries[mark] = EntryPoint(
            kind, block, register, plan, source, follower.form, blueprint_id
        )
    return entry


def tail_key(call: TailCall) -> Key:
    """Return which arguments of its target a tail call to a blueprint gives."""
    return (*[position(at) for at in range(len(call.args))], *call.kwargs)


def learn_tail_transition(
    follower: LoopPosition, call: TailCall, activation: Activation, number: int
) -> Transition | None:
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
    edge = Edge(source, entry, call.target_blueprint_id, call.args.__class__, names, updates, count)
    return _along(follower, call, edge, loop_profile, follower.activation.template(entry.plan, entry.block))


def _takes_any(form: CallForm, call: TailCall) -> bool:
    """Say whether several arguments are of names that the task does not know: it sees the order of those."""
    shape = form.task.shape
    if shape is None:
        return len(call.kwargs) > 1
    return sum(name not in shape.positions and name not in shape.keywords for name in call.kwargs) > 1
