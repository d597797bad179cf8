"""The random programs reach what there is: every instruction, every reason to skip, every shape of loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cascade.adapters.solvers.native import NativeSolver
from cascade.runtime.plans.plan import prepare
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.operations import CALL0, CALL1, CALLN, OPERATIONS
from tests.oracle import TooLong, Unspecified
from tests.strategies import (
    HANDOVERS,
    Body,
    Box,
    Call,
    Each,
    Gate,
    Machine,
    Recipe,
    Ref,
    State,
    Supplied,
    build,
    fixed_recipes,
    parts,
)
from tests.test_agreement import expected_of

EXAMPLES = 400

REASONS = ("Pruned", "ConditionFalse", "UpstreamSkipped_Condition", "UpstreamSkipped_Sequence", "UpstreamSkipped_Data")
CALLS = {CALL0: "call of none", CALL1: "call of one", CALLN: "call of many"}


def instructions(blueprint: Blueprint) -> Iterator[str]:
    """Name the instructions of a blueprint, its states and its sub-flows."""
    blocks: list[Block] = [blueprint.root, *blueprint.all_states().values()]
    for block in blocks:
        for op in block.ops:
            yield CALLS.get(op, OPERATIONS[op])
    for inner in blueprint.subflows.values():
        yield from instructions(inner)


def shapes_of(recipe: Recipe) -> Iterator[str]:
    """Name the shapes of loops, and of what else is wanted, in a program."""
    machines: set[int] = set()
    maps: set[int] = set()
    at = 0
    for step in recipe.steps:
        if isinstance(step, Machine):
            yield from loop_shapes(step)
            fed = {part.at for state in step.states for part in parts((state.start, state.others, state.kwargs))}
            if fed & machines:
                yield "a loop feeds a state"
            if fed & maps:
                yield "a map feeds a state"
            machines |= set(range(at, at + len(step.states)))
        else:
            if isinstance(step, Call) and any(isinstance(value, Supplied) for value in step.args):
                yield "a resource"
            if isinstance(step, Call) and step.body.kind.startswith("turning"):
                yield step.body.kind
            if getattr(step, "gate", Gate()).timed:
                yield "a timeout"
            read = {part.at for part in parts(step)}
            if read & machines:
                yield f"a loop in a {type(step).__name__}"
            if isinstance(step, Each):
                maps.add(at)
        at += len(step.states) if isinstance(step, Machine) else 1


def loop_shapes(machine: Machine) -> Iterator[str]:
    yield f"{len(machine.states)} states"
    for state in machine.states:
        kinds = {type(target).__name__ for _, target in state.routes}
        if "int" in kinds:
            yield "an exit to an unbound result"
        if "NoneType" in kinds:
            yield "an exit to None"
        if not state.routes:
            yield "a tail loop"
        yield from state_shapes(state)


def state_shapes(state: State) -> Iterator[str]:
    for move in (*state.moves, state.end):
        yield f"data: {move.how}"
        yield f"made: {move.made}"
    if any(isinstance(value, Supplied) for value in state.others):
        yield "a resource in a loop"
    if state.each:
        yield "a bound map"
    if state.most is not None:
        yield "max_iterations"
    if state.gate.condition:
        yield "a condition on a state"
    if state.gate.after:
        yield "order on a state"
    if state.start == 40:
        yield "a long loop"


WANTED = (
    *(CALLS[op] for op in CALLS),
    *OPERATIONS[CALLN + 1 :],
    *REASONS,
    *(
        "1 states",
        "2 states",
        "3 states",
        "a loop feeds a state",
        "a map feeds a state",
        "a bound map",
        "a tail loop",
        "max_iterations",
    ),
    *("an exit to None", "an exit to an unbound result", "a condition on a state", "order on a state"),
    *(f"a loop in a {step}" for step in ("Call", "Choice", "Each", "Inner", "InOrder", "Pipe")),
    *(f"data: {how}" for how in ("named", "value", "both", "none", "wrapped", "subclass", "wrapped none")),
    *(f"data: {how}" for how in ("tail", "tail named", "tail both", "return", "other")),
    *("made: leap", "made: kept", "a resource", "a resource in a loop", "a timeout"),
    *("turning", "turning bit", "turning key"),
    *("a value", "nothing to give", "Boom", "JumpError", "RouterError", "a long loop"),
)


def count_all() -> Counter[str]:
    """Count, over a fixed set of programs, what each of them has or does."""
    counts: Counter[str] = Counter()

    for recipe in fixed_recipes(EXAMPLES):
        counts["programs"] += 1
        try:
            report, _ = expected_of(recipe)
        except Unspecified:
            counts["unspecified"] += 1
            continue
        except TooLong:
            counts["too long"] += 1
            continue
        plan = prepare(build(recipe).target, NativeSolver())
        found = set(shapes_of(recipe))
        if plan is not None:
            found |= set(instructions(plan.blueprint))
        found |= {reason for _, reason in report.skips}
        found |= {type(failure.error).__name__ for failure in report.failures}
        found.add("nothing to give" if report.missing else "a failure" if report.failures else "a value")
        if report.runs.total() >= 5:
            found.add("five calls or more")
        counts.update(found)
    return counts


def test_the_generator_reaches_everything() -> None:
    counts = count_all()
    table = "\n".join(f"{counts[name]:6} {name}" for name in sorted({*counts, *WANTED}))
    missed = [name for name in WANTED if not counts[name]]
    assert not missed, f"never: {', '.join(missed)}\n{table}"
    assert counts["unspecified"] + counts["too long"] < EXAMPLES // 10, table
    assert counts["a value"] > EXAMPLES // 2, table
    assert counts["five calls or more"] > EXAMPLES // 3, table


def test_the_generator_reaches_tail_calls_between_blueprints() -> None:
    found: Counter[str] = Counter()
    for recipe in fixed_recipes(EXAMPLES, handing=True):
        found[f"{len(recipe.blueprints)} blueprints"] += 1
        for step in (step for each in (recipe, *recipe.blueprints) for step in each.steps):
            found.update(shape for shape in (loop_shapes(step) if isinstance(step, Machine) else ()))
    wanted = (*(f"{count} blueprints" for count in range(4)), *(f"data: {how}" for how in HANDOVERS), "made: anew")
    assert all(found[each] > 10 for each in wanted), found


def test_a_recipe_makes_fresh_declarations_each_time() -> None:
    recipe = Recipe((Call(Body(), (1,), gate=Gate(condition=(True,))), Call(Body(), (Ref(0),))), Box("list", (Ref(1),)))
    one, other = build(recipe), build(recipe)
    assert one.pool[0] is not other.pool[0]
    assert one.pool[0].task is not other.pool[0].task
    assert repr(recipe) == (
        "Recipe(steps=(Call(body=Body(), args=(1,), gate=Gate(condition=(True,))), Call(body=Body(), "
        "args=(Ref(at=0),))), target=Box(kind='list', items=(Ref(at=1),)))"
    )
