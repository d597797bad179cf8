"""The Blueprint: its text, its checker, its regions, and running one as a target."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.analysis.verify import verify
from cascade.runtime import Engine
from cascade.spec.blueprint import Blueprint
from cascade.spec.operations import IMPORT, LOOP, OPERATIONS
from cascade.spec.regions import MANAGED_REGION, regions


@cs.task
def source(x: int = 0) -> int:
    return x


@cs.task
def join(a: Any, b: Any) -> tuple[Any, Any]:
    return a, b


@cs.task
async def fetch(x: int) -> int:
    return x


@cs.task(pure=True)
def constant(x: int) -> int:
    return x


@cs.task
def step(n: int, extra: Any = None) -> Any:
    return cs.Jump("again", {"n": n - 1}) if n > 0 else cs.Jump("exit", "done")


def blueprint_of(target: Any) -> Blueprint:
    return cs.compile(target).blueprint


def everything() -> Any:
    """A target that has every instruction."""
    looped = step(2, join(constant(1), source(3)))
    cs.bind(looped, cs.select_jump({"again": looped, "exit": None, "other": source(8)}))
    gated = source(1).run_if(source(0), otherwise=source(5))
    routed = cs.Router(cs.Param("route", "a"), {"a": source(6), "b": 7})
    managed = source(2).with_retry(2).with_constraints(gpu=1).with_timeout(60)
    inner = [cs.subflow(join(cs.Param("p", 1), 2), {"p": source(4)}), cs.subflow(source(5)).with_timeout(60)]
    last = cs.sequence([source(0), source(1)])
    return [looped, join([gated], routed), managed, inner, source.map(x=[1, 2]), last]


def test_the_text_names_every_instruction_and_where_it_was_declared() -> None:
    text = str(blueprint_of(everything()))
    for word in set(OPERATIONS):
        assert f"= {word} " in text, f"{word}\n{text}"
    assert "jumps {'again': state" in text
    assert "'exit': out" in text
    assert "'other': exit" in text
    assert " if %" in text
    assert " else %" in text
    assert " after node" in text
    assert "retry 2 timeout 60 holding gpu=1" in text
    assert "test_blueprint.py:" in text
    assert "\n? %" in text


def test_a_sound_blueprint_passes_the_checker() -> None:
    verify(blueprint_of(everything()))


def test_a_state_block_imports_what_runs_once_a_run() -> None:
    blueprint = blueprint_of(everything())
    state = next(number for number in range(len(blueprint.root)) if blueprint.root.ops[number] == LOOP)
    assert IMPORT in blueprint.state(state).ops


def break_reference(blueprint: Blueprint) -> None:
    blueprint.root.places[1] = 99


def break_order(blueprint: Blueprint) -> None:
    blueprint.root.places[0] = 1


def break_operation(blueprint: Blueprint) -> None:
    blueprint.root.ops = bytearray(blueprint.root.ops)
    blueprint.root.ops[1] = 200


def break_form(blueprint: Blueprint) -> None:
    blueprint.root.forms[1] = None


def break_length(blueprint: Blueprint) -> None:
    blueprint.root.forms.pop()


def break_root(blueprint: Blueprint) -> None:
    blueprint.root.root = 50


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_reference, r"reads 99, which is neither a register nor a constant"),
        (break_order, r"reads %1, which comes later"),
        (break_operation, r"there is no operation 200"),
        (break_form, r"calls no task"),
        (break_length, r"2 instructions but 1 forms"),
        (break_root, r"asks for the register 50"),
    ],
)
def test_the_checker_names_what_is_wrong(damage: Any, message: str) -> None:
    blueprint = blueprint_of(source(source(1)))
    damage(blueprint)
    with pytest.raises(cs.StaticGraphError, match=message):
        verify(blueprint)


def test_the_checker_shows_what_is_around_a_fault() -> None:
    blueprint = blueprint_of(source(source(source(source(1)))))
    break_reference(blueprint)
    with pytest.raises(cs.StaticGraphError) as caught:
        verify(blueprint)
    shown = str(caught.value).splitlines()
    assert [line[:2] for line in shown[1:]] == ["  ", "->", "  ", "  "]
    assert "%1 = call source(x=%99)" in shown[2]


def test_instructions_that_wait_for_the_same_results_share_a_region() -> None:
    one, two = fetch(1), fetch(2)
    blueprint = blueprint_of([source(source(one)), join(one, two), source(two), source(0), join(two, one)])
    names = [blueprint.graph.name(i) for i in range(len(blueprint.root))]
    found = regions(blueprint.root)
    assert [found[i] for i, name in enumerate(names) if name == "fetch"] == [MANAGED_REGION, MANAGED_REGION]
    plain = [found[i] for i, name in enumerate(names) if name == "source"]
    joins = [found[i] for i, name in enumerate(names) if name == "join"]
    assert plain[0] == plain[1]
    assert len({plain[0], plain[2], plain[3], joins[0]}) == 4
    assert joins[0] == joins[1]
    assert "side by side: " in str(blueprint)


def test_regions_of_a_long_chain_are_found_without_recursion() -> None:
    node = source(0)
    for _ in range(20_000):
        node = source(node)
    assert set(regions(blueprint_of(node).root)) == {0}


def test_a_blueprint_is_a_target() -> None:
    async def main() -> None:
        engine = Engine(system_resources={"gpu": 1})
        target = join(source(cs.Param("x", 1)), 2)
        assert await engine.run(blueprint_of(target)) == (1, 2)
        assert await engine.run(blueprint_of(target), {"x": 5}) == (5, 2)
        assert await engine.run([blueprint_of(target), 3, source(4)], {"x": 6}) == [(6, 2), 3, 4]

    asyncio.run(main())


def test_graphs_of_one_shape_have_one_blueprint_text() -> None:
    def declare(x: int) -> Any:
        return join(source(x), source(x + 1))

    assert str(blueprint_of(declare(1))) == str(blueprint_of(declare(7)))
