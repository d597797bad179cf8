"""Random programs that are edited between a crash and the start that goes on give what the edited program gives.

And what the edit does not reach is not called again.
`CASCADE_EXAMPLES=3000 pytest tests/test_adapting.py` looks longer.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest

import cascade as cs
from cascade.errors import CascadeError, StaticGraphError
from tests.oracle import TooLong, Unspecified, evaluate
from tests.strategies import (
    Box,
    Builder,
    Built,
    Call,
    Gate,
    Inner,
    InOrder,
    Machine,
    Recipe,
    Ref,
    State,
    Supplied,
    fixed_recipes,
    parts,
)
from tests.test_agreement import alike
from tests.test_resuming import BY_COUNT, Dying, Killed, start
from tests.workflows import AGAIN

EXAMPLES = int(os.environ.get("CASCADE_EXAMPLES", "0")) or (40 if AGAIN else 150)
EDITS = ("nothing", "a node behind a step", "a step less", "another argument", "the order", "a target more")


class Editing(Builder):
    """Builds the declarations of a recipe, edited at one step."""

    def __init__(self, recipe: Recipe, edit: str, at: int) -> None:
        super().__init__(recipe)
        self.edit, self.at = edit, at

    def made(self, at: int, step: Any) -> list[Any]:
        """Return what a step makes, or what stands in its place."""
        found = super().made(at, step)
        if at == self.at and isinstance(step, Call) and step.pure is None:
            if self.edit == "a node behind a step":
                found = [cs.task(name="inserted")(self.inserted)(found[0])]
            elif self.edit == "a step less":
                found = [next((self.value(arg) for arg in step.args if not isinstance(arg, Supplied)), 0)]
        return found

    def inserted(self, value: Any) -> Any:
        """Give what was given."""
        self.recorder.enter("inserted", {}, "")
        return value


def edited(recipe: Recipe, edit: str, random: Random) -> tuple[Recipe, int]:
    """Return a recipe with an edit, and the step that it is made at; -1: at the target."""
    calls = [at for at, step in enumerate(recipe.steps) if isinstance(step, Call) and step.pure is None]
    at = random.choice(calls) if calls else -1
    step: Any = recipe.steps[at]
    if edit == "another argument" and at >= 0:
        args = tuple(arg + 1 if type(arg) is int else arg for arg in step.args)
        changed = replace(step, args=args) if args != step.args else replace(step, kwargs=(), args=args[:1])
        return replace(recipe, steps=(*recipe.steps[:at], changed, *recipe.steps[at + 1 :])), at
    if edit == "a target more" and at >= 0:
        return replace(recipe, target=Box("list", (recipe.target, Ref(0)))), -1
    if edit == "the order" and isinstance(recipe.target, Box):
        return replace(recipe, target=replace(recipe.target, items=recipe.target.items[::-1])), -1
    return recipe, at


def needed(part: Any) -> Iterator[int]:
    """Find the places of what a part of a recipe needs, in whatever way."""
    yield from (ref.at for ref in parts(part))
    if isinstance(part, Gate):
        yield from part.after
    if isinstance(part, State):
        yield from (target for _, target in part.routes if isinstance(target, int))
    for each in part if isinstance(part, tuple) else fields(part) if is_dataclass(part) else ():
        yield from needed(each if isinstance(part, tuple) else getattr(part, each.name))


def reached(recipe: Recipe, at: int) -> set[int]:
    """Return the steps that an edit of one may reach: what needs it, and all in loops and sub-flows that do."""
    first = [0]
    for step in recipe.steps:
        first.append(first[-1] + (len(step.states) if isinstance(step, Machine) else 1))
    step_of = {place: i for i in range(len(recipe.steps)) for place in range(first[i], first[i + 1])}
    needs = [{step_of[place] for place in needed(step)} for step in recipe.steps]
    for step in recipe.steps:
        if isinstance(step, InOrder):  # its steps wait for each other
            for one, other in pairwise(step.steps):
                needs[step_of[other]].add(step_of[one])
    found, count = {at}, 0
    while count != len(found):
        count = len(found)
        found |= {i for i, some in enumerate(needs) if not found.isdisjoint(some)}
        for i in [*found]:
            if isinstance(recipe.steps[i], (Machine, Inner)):
                found |= below(needs, needs[i])
    return found


def below(needs: list[set[int]], some: set[int]) -> set[int]:
    """Return some steps with all that they need."""
    found, waiting = set[int](), [*some]
    while waiting:
        i = waiting.pop()
        if i not in found:
            found.add(i)
            waiting += needs[i]
    return found


def behind_a_kill(built: Built, store: Dying | None) -> Built:
    """Return declarations with a last call, which ends the process if there is a store that this is told."""

    def last(value: Any) -> Any:
        if store is not None:
            store.is_dead = True
            raise Killed
        return value

    return replace(built, target=cs.task(name="last")(last)(built.target))


@pytest.mark.timeout(60 if EXAMPLES <= 150 else 0)
def test_what_was_edited_goes_on_as_the_edited_program_does() -> None:
    compared, kept, open_ended = Counter[str](), 0, 0
    for number, recipe in enumerate(fixed_recipes(EXAMPLES, seed=11)):
        if any(word in repr(recipe) for word in BY_COUNT):
            continue
        random = Random(number)
        for edit in (EDITS[number % 6], EDITS[(number + 3 + number // 6 % 2) % 6]):
            where = f"program {number}, {edit}"
            changed, at = edited(recipe, edit, random)
            try:
                before = behind_a_kill(Builder(recipe).build(), None)
                if evaluate(before.target, before.params).failures:
                    continue
                after = behind_a_kill(Editing(changed, edit, at).build(), None)
                report = evaluate(after.target, after.params)
            except (Unspecified, TooLong, CascadeError, TypeError, ValueError, RecursionError):  # it cannot be built so
                continue
            whole, store = before.recorder.calls, Dying()
            before = behind_a_kill(Builder(recipe).build(), store)
            start(before, store, "each", "auto")
            store.revive()
            after = behind_a_kill(Editing(changed, edit, at).build(), None)
            value, error = start(after, store, "each", "auto", "adapt")
            if isinstance(error, StaticGraphError):  # the edited program is none
                continue
            if report.failures:
                assert error is not None, where
                assert any(alike(each.error, error) for each in report.failures), (where, error)
            else:
                assert error is None, (where, error)
                assert repr(value) == repr(report.value), where
            if before.recorder.calls != whole:  # the last call waited for less: what still went on begins again
                open_ended += 1
                continue
            again = {label for label in after.recorder.calls if before.recorder.calls[label] and label[0] != "p"}
            steps = reached(recipe, 0) if edit == "a target more" else set[int]()
            if edit == "the order":  # it decides in which of several loops one of them runs
                loops = [i for i, step in enumerate(recipe.steps) if isinstance(step, Machine)]
                steps = {each for i in loops for each in reached(recipe, i)} if len(loops) > 1 else set()
            elif at >= 0 and edit != "nothing":
                steps = reached(recipe, at)
                if edit == "a step less" and "InOrder" in repr(
                    recipe
                ):  # others may have to wait for what stands there now
                    continue
            assert {label for label in again if int(label.lstrip("nms").partition("_")[0]) not in steps} == set(), where
            kept += sum(label not in after.recorder.calls for label in before.recorder.calls)
            compared[edit] += 1
    assert min(compared[edit] for edit in EDITS) > EXAMPLES // 30, compared
    assert kept > EXAMPLES // 2
    assert open_ended < EXAMPLES // 20
