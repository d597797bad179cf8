"""Learning lanes: what was seen of a jump or tail call that was followed the long way, for more like it."""

from __future__ import annotations

from typing import Any

from cascade.compiler.lowering.entry_plan import FIRST, Key
from cascade.compiler.transition_profile import Edge, Entry, Machine, Source
from cascade.runtime.loops.transition import Lane
from cascade.spec.blueprint import Blueprint, EntryPlan, TailCall
from cascade.spec.control import Jump, Value
from cascade.spec.operations import CALLN

__all__ = ["learn_call", "learn_item", "learn_jump", "machine_of", "state_entry"]

ITEM, CALL = object(), object()
"""Mark the plans of items of maps, and of tasks that are called again, among those of a block."""


def learn_jump(follower: Any, jump: Jump, source: Source, target: int, key: Key) -> Lane | None:
    """Return a lane for more jumps like this one, which has just entered a state, if the state allows it."""
    if target < 0 or jump.data.__class__ is Value:
        return None
    machine, blueprint_id = machine_of(follower)
    entry = state_entry(machine, follower.world.blueprint, blueprint_id, source, target, key)
    if entry is None or (blueprint_id is not None and target not in follower.world.blueprint.graph.jumps):
        return None  # an exit does not count as an entry, but there a tail call may lead back from it
    plan = entry.plan
    names = key if isinstance(jump.data, dict) else None
    updates: list[Any] = list(zip(entry.parameters, names or (None,) * len(entry.parameters), strict=True))
    edge = machine.learn(jump, Edge(source, entry, jump.target_key, jump.data.__class__, names, updates))
    if edge is None:
        return None
    return Lane(follower, edge, machine, follower.frames.get(plan), follower.world.template(plan, entry.block))


def machine_of(follower: Any) -> tuple[Machine, str | None]:
    """Return what is known of the loops where a follower is, and the id of the blueprint that a tail call led to."""
    world = follower.world
    if world is follower.home.world:
        return world.blueprint.machine, None
    run = follower.run
    if run.machine is None:  # ids may lead elsewhere in another run
        run.machine = Machine()
    return run.machine, world.key


def state_entry(
    machine: Machine, blueprint: Blueprint, blueprint_id: str | None, source: Source, target: int, key: Key
) -> Entry | None:
    """Return the entry of a state that was just entered; None if an emitted loop cannot have it."""
    block = blueprint.state(target)
    root = block.root
    gate, plan, form = block.gates.get(root), block.plans.get(key), block.forms[root]
    if plan is None or form is None or block.kinds[root] > CALLN or form.task.needs or (gate and gate.is_policy):
        return None
    mark = plan if blueprint_id is None else (blueprint_id, plan)
    entry = machine.entries.get(mark)
    if entry is None and not machine.is_full(source):
        leads_on: Source = target if blueprint_id is None else (blueprint_id, target)
        entry = machine.entries[mark] = Entry("state", block, root, plan, leads_on, form, blueprint_id)
    return entry


def learn_item(follower: Any, jump: Jump, key: Key) -> Lane | None:
    """Return the same for a jump back into an item of a map, whose arguments are all there."""
    declared, named = follower.item
    block, register, gate = follower.home.block, follower.spot.register, follower.gate
    form = block.forms[register]
    if named or form.task.needs or jump.data.__class__ is Value or (gate is not None and gate.is_policy):
        return None
    if key is FIRST:
        places = [1 if gate is not None and gate.receiver else 0]
    else:
        positions = form.task.shape.positions if form.task.shape is not None else {}
        places = [positions.get(name, len(declared)) for name in key]
    if any(at >= len(declared) for at in places):
        return None
    names = key if isinstance(jump.data, dict) else None
    source = (block.source(register), len(declared))
    machine: Machine = follower.world.blueprint.machine
    entry = _arguments_entry(follower, machine, None, "item", (ITEM, source, *key), source)
    updates: list[Any] = list(zip(places, names or (None,) * len(places), strict=True))
    edge = machine.learn(jump, Edge(source, entry, jump.target_key, jump.data.__class__, names, updates))
    return None if edge is None else Lane(follower, edge, machine, None, list(declared))


def learn_call(follower: Any, call: TailCall, source: Source) -> Lane | None:
    """Return the same for tail calls of a task to itself that give the same arguments each time."""
    form, gate = follower.form, follower.gate
    shape, count = form.task.shape, len(follower.args)
    if call.__class__ is not TailCall or call.target_blueprint_id is not None or follower.kwargs:
        return None
    if shape is None or not shape.faithful or form.task.needs or (gate is not None and gate.is_policy):
        return None
    receiver = 1 if gate is not None and gate.receiver else 0
    if receiver + len(call.args) > count or call.args.__class__ not in (list, tuple):
        return None
    updates: list[Any] = [(receiver + at, at) for at in range(len(call.args))]
    for name in call.kwargs:
        at = shape.positions.get(name, count)
        if not receiver + len(call.args) <= at < count:
            return None
        updates.append((at, name))
    machine, blueprint_id = machine_of(follower)
    entry = _arguments_entry(follower, machine, blueprint_id, "call", (CALL, source, count), source)
    names = tuple(call.kwargs)
    edge = machine.learn(call, Edge(source, entry, None, call.args.__class__, names, updates, len(call.args)))
    return None if edge is None else Lane(follower, edge, machine, None, [])


def _arguments_entry(
    follower: Any, machine: Machine, blueprint_id: str | None, kind: Any, mark: Any, source: Source
) -> Entry:
    """Return an entry all of whose arguments are given."""
    entry = machine.entries.get(mark)
    if entry is None:
        if kind == "item":
            block, register = follower.home.block, follower.spot.register
            count = len(follower.item[0])
        else:
            block, register = follower.block_at(follower.number)
            count = len(follower.args)
        plan = EntryPlan([], list(range(count)), {}, 0, count, [])
        plan.is_bare = True
        entry = machine.entries[mark] = Entry(kind, block, register, plan, source, follower.form, blueprint_id)
    return entry
