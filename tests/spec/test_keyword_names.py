"""Arguments called as the engine's own functions call theirs: nothing of a user's is lost or refused for its name."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from tests.workflows import Tier, every_tier, run

NAMES = [
    *(
        "self",
        "cls",
        "args",
        "kwargs",
        "func",
        "task",
        "name",
        "value",
        "values",
        "text",
        "params",
        "target",
        "run",
        "x",
    ),
    *(
        "named",
        "iterables",
        "concurrency",
        "window",
        "on_error",
        "max_errors",
        "frame",
        "call",
        "item",
        "context",
        "error",
    ),
]
plain: Any = cs.task(name="plain")(lambda **given: given)
blocking: Any = cs.task(name="blocking", mode="blocking")(lambda **given: given)


@cs.task
async def later(**given: Any) -> dict[str, Any]:
    return given


@cs.task
def counting(**given: Any) -> Any:
    ((name, count),) = given.items()
    return cs.Jump("again", {name: count + 1}) if count < 3 else cs.TailCall((), {name: 9}) if count == 3 else given


def loop(name: str) -> Any:
    first = counting(**{name: 1})
    cs.bind(first, cs.select_jump({"again": first}))
    return first


@every_tier
@pytest.mark.parametrize("task", [plain, blocking, later], ids=lambda task: task.name)
def test_arguments_may_be_called_anything(task: Any, tier: Tier) -> None:
    seen = run(
        {
            name: [
                task(**{name: 1}),
                task(**{name: plain(a=1)}).with_retry(2).with_timeout(5),
                task.partial(**{name: 1}).partial(b=0)(b=2),
                task.map({name: [1, 2]}),
                task.partial(**{name: 1}).map({"b": [2]}, c=[3]),
                task(**{name: 1}).with_cache(cs.cached()),
            ]
            for name in NAMES
        },
        tier=tier,
    )
    for name in NAMES:
        one = {name: 1}
        both, three = {**one, "b": 2}, {**one, "b": 2, "c": 3}
        assert seen[name] == [one, {name: {"a": 1}}, both, [one, {name: 2}], [three], one]


@every_tier
def test_so_may_those_of_loops_sub_flows_parameters_and_texts(tier: Tier) -> None:
    for name in NAMES:
        flow = {
            "loop": loop(name),
            "subflow": cs.subflow(plain(a=cs.Param(name, type=int)), {name: 1}),
            "dict": cs.dict(**{name: 1}),
            "format": cs.format(f"{{{name}}}", **{name: 1}),
            "held": plain(a=1).with_constraints(**{name: 1}),
            "given": plain(a=cs.Param(name, type=int)),
        }
        assert run(flow, {name: 7}, tier=tier) == {
            "loop": {name: 9},
            "subflow": {"a": 1},
            "dict": {name: 1},
            "format": "1",
            "held": {"a": 1},
            "given": {"a": 7},
        }


def test_a_compiled_flow_takes_a_parameter_of_any_name() -> None:
    for name in NAMES:
        assert asyncio.run(cs.compile(plain(a=cs.Param(name, type=int)))(**{name: 3})) == {"a": 3}


@every_tier
def test_a_parameter_called_as_an_option_of_maps_is_mapped_by_a_dict(tier: Tier) -> None:
    both: Any = cs.task(lambda concurrency, x: (concurrency, x))
    assert run(both.map({"concurrency": [1, 2]}, x=[3, 4], concurrency=1), tier=tier) == [(1, 3), (2, 4)]
    options: dict[str, Any] = {"concurrency": [1, 2]}
    with pytest.raises(
        ValueError, match=r"to the parameter of this name items go in a dict: <lambda>\.map\(\{'concurrency'"
    ):
        both.map(**options, x=[3, 4])
    with pytest.raises(TypeError, match=r"map of '<lambda>' .* is given x twice: in a dict and by keyword"):
        both.map({"x": [1]}, x=[1])
    listed: Any = [1, 2]
    with pytest.raises(
        TypeError, match=r"takes its iterables by name: <lambda>\.map\(concurrency=\[1, 2\]\); it was given"
    ):
        both.map(listed)
