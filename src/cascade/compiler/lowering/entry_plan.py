"""How a state is entered: which of its arguments come from a jump, and what must run for the others."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Final

from cascade.errors import JumpError
from cascade.spec.blueprint import Block, Blueprint, EntryPlan
from cascade.spec.operations import CALLN, MAP
from cascade.spec.placement import CallForm

__all__ = ["FIRST", "WHOLE_DICT", "Key", "entry_plan", "override", "position"]

Key = tuple[Any, ...]
"""Which arguments are overridden: by name, or by a `Position`."""


class Position:
    """Stands for the argument at a place among the positional ones."""

    __slots__ = ("at",)

    def __init__(self, at: int) -> None:
        self.at = at


POSITIONS: Final = [Position(at) for at in range(16)]
FIRST: Final = (Position(-1),)
"""The key of a plan whose one override is the first argument, whatever it is called."""
MOST_PLANS = 256


WHOLE_DICT = "; a dict gives arguments by name, and cs.Jump(key, cs.Value(data)) sends the dict itself as the first one"


def entry_plan(blueprint: Blueprint, number: int, key: Key) -> EntryPlan:
    """Return how to enter the state that node `number` is, with the arguments that `key` names overridden.

    Raises:
        JumpError: the task has no such argument.
    """
    block = blueprint.state(number)
    plan = block.plans.get(key)
    if plan is None:
        if len(block.plans) >= MOST_PLANS:
            block.plans.clear()
        plan = block.plans[key] = _make(blueprint, block, number, key)
    return plan


def _make(blueprint: Blueprint, block: Block, number: int, key: Key) -> EntryPlan:
    root = block.root
    form = block.forms[root]
    size = len(block)
    if form is None or block.kinds[root] not in (*range(CALLN + 1), MAP):
        if key:
            graph = blueprint.graph
            raise JumpError(
                f"a Jump to {graph.name(number)} (declared at {graph.declared(number)}) carries data, "
                f"but a {graph.node(number).kind} takes no arguments"
            )
        return EntryPlan(_steps(block, [root]), [], {}, size, size, [root])
    references = block.references(root)
    count = len(references) - len(form.names)
    placed, named = references[:count], dict(zip(form.names, references[count:], strict=True))
    gate = block.gates.get(root)
    receiver = 1 if gate is not None and gate.terms.receiver else 0
    if key is FIRST:
        _override_first(blueprint, number, form, placed, named, receiver, size)
        overrides = 1
    else:
        overrides = len(key)
        for at, name in sorted(enumerate(key), key=lambda one: _place(form, one[1])):
            override(lambda: _described(blueprint, number), form, placed, named, name, size + at, receiver)
    wanted = [at for at in (*placed, *named.values()) if 0 <= at < size] + _lead(block, root)
    plan = EntryPlan(_steps(block, wanted), placed, named, size, size + overrides, wanted)
    plan.keeps_first = gate is None or gate.first in _first_of(form, placed, named, receiver)
    plan.is_bare = not (
        named
        or block.lazies
        or block.kinds[root] == MAP
        or form.task.needs
        or (
            gate is not None
            and (gate.terms.is_policy or gate.terms.max_iterations is not None or gate.condition is not None)
        )
    )
    return plan


def _place(form: CallForm, name: str | Position) -> int:
    """Where an argument stands among those by position, so that they are given in that order."""
    if name.__class__ is Position:
        return int(name.at)
    names = () if form.task.shape is None else form.task.shape.names
    return names.index(name) if name in names else len(names)


def _first_of(form: CallForm, placed: list[Any], named: dict[str, Any], receiver: int) -> list[Any]:
    """Return the reference of the first argument, or nothing if there is none."""
    if len(placed) > receiver:
        return [placed[receiver]]
    shape = form.task.shape
    order = () if shape is None else (*shape.names, *shape.keywords)
    return [named[min(named, key=lambda name: order.index(name) if name in order else len(order))]] if named else []


def position(at: int) -> Position:
    """Return what stands for the positional argument at `at` in a key; one for each place."""
    while at >= len(POSITIONS):
        POSITIONS.append(Position(len(POSITIONS)))
    return POSITIONS[at]


def _described(blueprint: Blueprint, number: int) -> str:
    graph = blueprint.graph
    return f"{graph.name(number)} (declared at {graph.declared(number)})"


def _lead(block: Block, root: int) -> list[int]:
    gate = block.gates.get(root)
    if gate is None:
        return []
    reads = (
        [at for _, at in gate.amounts] if gate.condition is None else [gate.condition, *(at for _, at in gate.amounts)]
    )
    return [at for at in reads if at >= 0]


def _steps(block: Block, wanted: list[int]) -> list[tuple[int, int, Any, int]]:
    """Return the instructions that give the `wanted` registers, inputs first."""
    found: set[int] = set()
    stack = [at for at in wanted if at >= 0]
    while stack:
        i = stack.pop()
        if i in found:
            continue
        found.add(i)
        stack += [at for at in block.references(i) if at >= 0]
        stack += _lead(block, i)
    return [(i, block.ops[i], block.forms[i], block.places[i]) for i in sorted(found)]


def _override_first(
    blueprint: Blueprint,
    number: int,
    form: CallForm,
    placed: list[Any],
    named: dict[str, Any],
    at: int,
    value: int,
) -> None:
    shape = form.task.shape
    if at < len(placed):
        placed[at] = value
    elif shape is not None and len(shape.names) > at >= shape.only and (shape.names[at] in named or not shape.faithful):
        named[shape.names[at]] = value
    elif shape is None or shape.extra_positions or len(shape.names) > at:
        placed.append(value)
    elif shape.keywords:
        named[shape.keywords[0]] = value
    else:
        raise JumpError(f"a Jump carries data to {_described(blueprint, number)}, which takes no argument for it")


def override(
    described: Callable[[], str],
    form: CallForm,
    placed: list[Any],
    named: dict[str, Any],
    name: Any,
    value: Any,
    receiver: int = 0,
) -> None:
    """Put `value` where the call form passes the argument `name`, whether it was given before or not.

    Raises:
        JumpError: the task has no argument of this name.
    """
    shape = form.task.shape
    if name.__class__ is Position:
        at = name.at + receiver
        if at < len(placed):
            placed[at] = value
        elif shape is not None and at < len(shape.names) and shape.names[at] in named:
            named[shape.names[at]] = value
        else:
            placed.append(value)
        return
    if shape is None:
        named[name] = value
        return
    at = shape.names.index(name, receiver) if name in shape.names[receiver:] else -1
    if 0 <= at < len(placed):
        placed[at] = value
    elif at == len(placed) and (shape.faithful or at < shape.only) and name not in named:
        placed.append(value)
    elif at >= shape.only or name in shape.keywords or (at < 0 and shape.extra_keywords and isinstance(name, str)):
        named[name] = value
    else:
        known = [*shape.names[receiver:], *shape.keywords]
        near = difflib.get_close_matches(str(name), known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise JumpError(
            f"a Jump gives the argument {name!r} to {described()}, which has no such argument{hint} "
            f"(it takes: {', '.join(known) or 'none'}){WHOLE_DICT}"
        )
