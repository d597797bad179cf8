"""What programs become, as text: it reads like the Python that a careful person would have written."""

import asyncio
import re
from typing import Any

import pytest

import cascade as cs
from tests.workflows import TIERS, Tier, run


@cs.task(mode="inline")
def load(path: str) -> list[int]:
    return [len(path)]


@cs.task(mode="inline")
def is_big(rows: list[int]) -> bool:
    return len(rows) > 1


@cs.task(mode="inline")
def clean(rows: list[int]) -> list[int]:
    return rows


@cs.task(mode="inline")
def kind(rows: list[int]) -> str:
    return "csv"


@cs.task(mode="inline")
def as_csv(rows: list[int], sep: str) -> str:
    return sep.join(map(str, rows))


@cs.task(mode="inline")
def as_json(rows: list[int]) -> str:
    return str(rows)


@cs.task(mode="inline")
def report(table: str, title: str = "") -> str:
    return f"{title}: {table}"


def pipeline() -> Any:
    rows = load(cs.Param("path", "data"))
    rows = clean(rows).run_if(is_big(rows))
    table = cs.Router(kind(rows), {"csv": as_csv(rows, ";"), "json": as_json(rows)})
    return report(table, title="all")


def code(source: str) -> list[str]:
    """The lines without their comments."""
    return [line.split("  # ")[0].rstrip() for line in source.splitlines() if line.strip()]


def test_a_pipeline_with_a_router_and_a_condition() -> None:
    target = pipeline()
    assert run(target, {"path": "x"}, tier="compile") == "all: 1"
    assert code(cs.explain(target)) == [
        "def report_flow(path, title, sep):",
        "    rows = load(path)",
        "    if rows.__class__ is not list: odd(rows)",
        "    is_big_value = is_big(rows)",
        "    if is_big_value.__class__ is not bool: odd(is_big_value)",
        "    if not is_big_value:",
        "        rows_2 = rows",
        '        rows_2_skipped = "ConditionFalse"',
        "    else:",
        "        rows_2 = clean(rows)",
        "        odd_clean(rows_2)",
        "        rows_2_skipped = None",
        "    kind_value = kind(rows_2)",
        "    if kind_value.__class__ is not str: odd(kind_value)",
        "    del rows, is_big_value",
        "    if kind_value.__class__ is not str: deoptimize()",
        "    if kind_value == key_csv:",
        "        as_csv_value = as_csv(rows_2, sep)",
        "        if as_csv_value.__class__ is not str: odd(as_csv_value)",
        "        table = as_csv_value",
        "    elif kind_value == key_json:",
        "        as_json_value = as_json(rows_2)",
        "        odd_as_json(as_json_value)",
        "        table = as_json_value",
        "    else:",
        "        deoptimize()",
        "    report_value = report(table, title)",
        "    if report_value.__class__ is not str: odd(report_value)",
        "    return report_value",
    ]


@cs.task(mode="inline")
def think(seen: str, left: int) -> cs.Jump:
    return cs.Jump("act", {"thought": f"{seen}!", "left": left - 1}) if left else cs.Jump("done", seen)


@cs.task(mode="inline")
def tools() -> list[str]:
    return ["search"]


@cs.task(mode="inline")
def act(thought: str, left: int, known: list[str]) -> cs.Jump:
    return cs.Jump("check", {"answer": thought, "left": left})


@cs.task(mode="inline")
def check(answer: str, left: int) -> cs.Jump:
    return cs.Jump("think", {"seen": answer, "left": left})


def agent(left: int) -> Any:
    thinking, acting, checking = think("", left), act("", 0, tools()), check("", 0)
    cs.bind(thinking, cs.select_jump({"act": acting, "done": None}))
    cs.bind(acting, cs.select_jump({"check": checking}))
    cs.bind(checking, cs.select_jump({"think": thinking}))
    return thinking


@pytest.mark.parametrize("tier", TIERS)
def test_a_machine_of_three_states(tier: Tier) -> None:
    target = agent(200)
    assert run(target, tier=tier) == "!" * 200
    if tier == "interpret":
        return
    (source,) = [part for part in cs.explain(target).split("\n\n") if "_loop(" in part]
    lines = code(source)
    assert (
        lines[0] == f"def {lines[0].split('(')[0][4:]}(turn, state, thought, left, answer, left_2, seen, left_3):"
        or tier
    )
    assert "    for i in turn:" in lines
    assert "            result = act(thought, left, known)" in lines
    assert "            result = check(answer, left_2)" in lines
    assert sum(line.startswith("            state = ") for line in lines) == 3


def test_a_loop_that_has_not_run_is_guessed() -> None:
    source = cs.explain(agent(3))
    assert "think_loop(" in source or "act_loop(" in source
    assert "thought = result.data" in source
    assert source.startswith("# think ")
    assert "a loop, which is a function of its own" in source.splitlines()[0]


def test_what_is_left_to_the_scheduler_is_named_with_the_reason() -> None:
    @cs.task
    async def fetch(url: str) -> str:
        await asyncio.sleep(0)
        return url

    rows = [fetch("a"), fetch("b")]
    target = report(as_csv(clean(rows), ",").with_timeout(60))
    source = cs.explain(target)
    assert (
        len(re.findall(r"^# fetch .*test_explain.py:\d+: a coroutine beside which others may run$", source, re.M)) == 2
    )
    assert re.search(r"^# as_csv .*: each call is under a policy", source, re.M)


def test_a_flow_shows_its_source() -> None:
    flow = cs.compile(pipeline())
    assert flow.source == cs.explain(flow.target)


def test_there_is_nothing_to_explain_of_a_plain_value() -> None:
    with pytest.raises(TypeError, match=r"cs\.explain takes a lazy result"):
        cs.explain(3)
    with pytest.raises(TypeError, match="not called"):
        cs.explain(load)
