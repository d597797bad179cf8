"""`cs.dry_run`: the plan in order, with bindings, and nothing runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

import cascade as cs
from cascade.app.plans import DryRun
from cascade.app.programs import nest_for
from cascade.errors import CascadeError
from cascade.runtime.events import TaskExecutionStarted
from tests.strategies import build, fixed_recipes
from tests.workflows import Way

ran: list[str] = []


@cs.task
def load(path: str, rows: int = 3) -> int:
    ran.append("load")
    return rows


@cs.task(mode="blocking")
def add(a: Any, b: Any) -> Any:
    return a


@cs.task
async def send(x: Any) -> Any:
    return x


def program() -> Any:
    rows = cs.Param("rows", default=3, description="how many")
    data = load(cs.Env("CASCADE_PATH", default="here"), rows)
    inner = cs.subflow(add(cs.Param("limit"), 1), {"limit": data})
    router = cs.Router(data, {1: load("a"), "x": inner}, default=None)
    step = add(data, 0)
    cs.bind(step, cs.select_jump({"again": step, "out": None, "leave": load("b")}), max_iterations=5)
    mapped = send.map(x=[1, 2], concurrency=1).with_retry(4)
    return [add(router, step).run_if(data, otherwise=load("c")).after(mapped).named("last"), mapped]


def rows(plan: DryRun) -> dict[str, Any]:
    return {row.id: row for row in plan.rows}


def test_nothing_runs() -> None:
    ran.clear()
    cs.dry_run(program(), {"rows": 4})
    assert ran == []


def test_the_plan_has_all_bindings() -> None:
    found = rows(cs.dry_run(program()))
    assert found["load#1"].arguments == {"path": "$CASCADE_PATH", "rows": "rows"}
    assert found["last#1"].arguments == {"a": "router#1", "b": "add#1"}
    assert (found["last#1"].condition, found["last#1"].otherwise) == ("load#1", "load#2")
    assert found["last#1"].after == ("send#1",)
    assert found["router#1"].routes == {"1": "load#3", "'x'": "subflow#1", "default": "None"}
    assert found["add#1"].routes == {"'again'": "add#1", "'out'": "end", "'leave'": "load#4"}
    assert found["add#1"].policies == ("at most 5 entries",)
    assert found["send#1"].policies == ("for each x", "1 at once", "up to 4 attempts")
    assert found["subflow#1/add#2"].arguments == {"a": "limit", "b": "1"}
    assert (found["send#1"].mode, found["add#1"].mode, found["load#1"].mode) == ("async", "blocking", "auto")


def test_the_plan_says_when_a_row_runs() -> None:
    when = {row.id: row.runs for row in cs.dry_run(program()).rows}
    assert when["load#1"] == "always"
    assert when["load#2"] == when["load#3"] == when["subflow#1"] == "if chosen"
    assert when["load#4"] == "if jumped to"


def test_inputs_are_listed_with_what_is_given() -> None:
    plan = cs.dry_run(program(), {"rows": "7"})
    given = {each.name: each for each in plan.inputs}
    assert (given["rows"].type, given["rows"].default, given["rows"].value) == ("int", "3", "7")
    assert given["rows"].description == "how many"
    assert (given["CASCADE_PATH"].kind, given["CASCADE_PATH"].value) == ("env", None)


def test_parameters_are_checked_when_they_are_given() -> None:
    assert "(required)" in str(cs.dry_run(load("x", cs.Param("n", type=int))))
    with pytest.raises(cs.ParameterError, match="did you mean 'rows'"):
        cs.dry_run(program(), {"row": 1})
    with pytest.raises(cs.ParameterError, match="cannot take 'x' as int"):
        cs.dry_run(program(), {"rows": "x"})
    with pytest.raises(cs.ParameterError, match="required"):
        cs.dry_run(load("x", cs.Param("n", type=int)), {})


def test_it_prints_and_is_json() -> None:
    plan = cs.dry_run(program())
    text = str(plan)
    assert text.startswith("plan of last#1, send#1\n  with $CASCADE_PATH = 'here'\n  with rows: int = 3\nruns:\n")
    assert "last#1(a=router#1, b=add#1) if load#1 else load#2 after send#1" in text
    assert text.index("runs:") < text.index("runs if a router") < text.index("runs if jumped to:")
    assert "test_plans.py" in text
    assert json.loads(plan.to_json()) == plan.to_dict()
    assert plan.to_dict()["version"] == 1
    assert repr(plan).startswith("<DryRun of last#1, send#1: ")


def test_a_plain_value_has_an_empty_plan() -> None:
    assert (cs.dry_run(3).targets, cs.dry_run(3).rows) == (["3"], [])


def test_the_order_is_that_of_the_inputs() -> None:
    plan = cs.dry_run(program())
    place = {row.id: at for at, row in enumerate(plan.rows)}
    for row in plan.rows:
        for read in row.arguments.values():
            if row.runs == "always" and read in place:
                assert place[read] < place[row.id]


def test_ids_are_those_of_events() -> None:
    way = Way("interpret", watched=True)
    target = [load(add(1, 2), 3), load("x"), add(load("y"), 1)]
    way.run(target)
    started = {event.task_id for event in way.events if isinstance(event, TaskExecutionStarted)}
    assert started == {row.id for row in cs.dry_run(target).rows if row.kind == "task"}


def test_random_programs_have_a_row_for_each_node() -> None:
    for recipe in fixed_recipes(60, seed=9):
        target = build(recipe).target
        try:
            nest = nest_for(target, "a test")
        except CascadeError:
            continue
        plan = cs.dry_run(target)
        assert len(plan.rows) == sum(map(len, nest.graphs)) == len({row.id for row in plan.rows})
        assert str(plan)
