"""Twelve programs whose pictures are looked at: by tests in a browser, by people (`python -m tests.gallery FOLDER`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cascade as cs

__all__ = ["GALLERY"]


@cs.task
def step(*args: Any, **kwargs: Any) -> Any:
    return args


def machine(routes: list[dict[str, int | None]], names: list[str]) -> Any:
    """Return a loop of as many states, whose routes lead to them by number."""
    states = [step(at or cs.Param("question", default="?")).named(name) for at, name in enumerate(names)]
    for state, ways in zip(states, routes, strict=True):
        cs.bind(state, cs.select_jump({key: None if at is None else states[at] for key, at in ways.items()}))
    return states[0]


def haggle() -> Any:
    return machine([{"ask": 1, "take": None}, {"refuse": 0, "agree": None}], ["offer", "answer"])


@cs.task
def think(state: Any) -> Any:
    return cs.Jump("ask", state) if state else cs.Jump("act", state)


@cs.task
def ask(state: Any) -> Any:
    return cs.Jump("think", state)


@cs.task
def act(state: Any) -> Any:
    return cs.Jump("think", state) if state else cs.Jump("done", state)


def agent() -> Any:
    """Return three states that share one selector."""
    states = {"think": think(cs.Param("task", default="?")), "ask": ask(""), "act": act("")}
    selector = cs.select_jump({**states, "done": None})
    for state in states.values():
        cs.bind(state, selector)
    return states["think"]


def each_to_each() -> Any:
    """Return five states that share one selector, of whose code nobody can say by which keys they jump."""
    states = [step(at).named(f"state {at}") for at in range(5)]
    selector = cs.select_jump({**{f"to {at}": state for at, state in enumerate(states)}, "done": None})
    for state in states:
        cs.bind(state, selector)
    return states[0]


def order() -> Any:
    """Return nine states, each with a selector of its own."""
    names = ["received", "checked", "priced", "offered", "accepted", "packed", "shipped", "delivered", "returned"]
    routes: list[dict[str, int | None]] = [
        {"check": 1},
        {"ok": 2, "unclear": 0, "refuse": None},
        {"offer": 3},
        {"accept": 4, "haggle": 2, "silence": None},
        {"pack": 5},
        {"ship": 6, "missing": 4},
        {"arrived": 7, "lost": 5},
        {"keep": None, "return": 8},
        {"refund": None, "again": 5, "wait": 8},
    ]
    return machine(routes, names)


def loops_in_a_map() -> Any:
    items = step(cs.Param("pages", default=10)).named("list pages")
    read = step.map(page=items).named("read").with_retry(3)
    again = step(read).named("refine")
    cs.bind(again, cs.select_jump({"again": again, "enough": None}))
    return step(again, read).named("summary")


def routers() -> Any:
    kind = step(cs.Param("file", default="a.csv")).named("sniff")
    csv = step(step(cs.Param("file", default="a.csv")).named("read csv")).named("parse csv")
    json = step(cs.Param("file", default="a.csv")).named("read json")
    table = cs.Router(kind, {"csv": csv, "json": json}, default=step("?").named("guess"))
    size = step(table).named("measure")
    way = cs.Router(size, {"large": step(table).named("in parts"), "small": step(table).named("at once")})
    return step(way).named("report")


def release() -> Any:
    version = cs.Param("version", type=str)
    built = step(version).named("build")
    tested = step.map(suite=["unit", "browser", "load"], build=built).named("test")
    notes = step(version).named("write notes").after(built)
    approval = step(tested, notes).named("ask for approval")
    pushed = step(built, step(version).named("sign")).named("push")
    told = step(pushed).named("announce")
    return cs.Router(approval, {"yes": told, "no": step(notes).named("file away")})


def etl() -> Any:
    day = cs.Param("day", default="2026-11-28")
    database = cs.Env("DATABASE", default="sqlite://")
    orders, customers = step(day, database).named("extract orders"), step(database).named("extract customers")
    rates = step(day).named("fetch rates").with_retry(5)
    clean = step.map(row=orders).named("clean")
    joined = step(clean, customers, on="customer").named("join").with_constraints(memory=4)
    priced = step(joined, rates).named("price").with_constraints(memory=2)
    ok = step(priced).named("check")
    loaded = step(priced, database).named("load").run_if(ok, otherwise=step(day).named("load yesterday's"))
    return step([loaded, step(priced).named("sum"), 3], {"day": day, "rows": joined}).named("report").after(loaded)


def six_hundred() -> Any:
    row = [step(at).named(f"read {at}") for at in range(20)]
    for layer in range(29):
        row = [step(row[at], row[(at * 7 + layer) % 20]).named(f"mix {layer}") for at in range(20)]
    return step(*row).named("total")


def subflows() -> Any:
    raw = step(cs.Param("source", default="a")).named("fetch")
    inner = cs.subflow(step(step(cs.Param("rows", default=0)).named("parse")).named("validate"), {"rows": raw}).named(
        "clean"
    )
    twice = cs.subflow(step(cs.subflow(step(cs.Param("x", default=1)).named("deep"), {"x": 2})).named("around"))
    return step(inner, twice.named("nested"), raw).named("compare")


def long_names() -> Any:
    first = step(1).named("download_the_complete_archive_of_all_measurements_since_1994")
    second = step(first, correction_of_the_measured_values=first).named("a")
    third = step(first, x=second, a_rather_long_argument_name=first).named("WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW")
    cs.bind(third, cs.select_jump({"measure_everything_once_more": third, "this is quite enough for today": None}))
    return step(third, first, last=second).named("report")


def chinese() -> Any:
    city = cs.Param("城市", default="上海")
    weather = step(city).named("获取天气预报")
    rows = step.map(日期=weather).named("清洗数据")
    state = step(rows, 阈值=3).named("判断是否需要重新采集数据")
    cs.bind(state, cs.select_jump({"再试一次": state, "完成": None}))
    return step(
        cs.Router(weather, {"晴": step(city).named("户外活动"), "雨": step(rows).named("室内活动")}), state
    ).named("生成报告")


GALLERY: dict[str, Callable[[], Any]] = {
    "haggle": haggle,
    "agent": agent,
    "each-to-each": each_to_each,
    "order": order,
    "loops-in-a-map": loops_in_a_map,
    "routers": routers,
    "release": release,
    "etl": etl,
    "six-hundred": six_hundred,
    "subflows": subflows,
    "long-names": long_names,
    "chinese": chinese,
}


def main(folder: Path) -> None:
    """Write the pictures, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in GALLERY.items():
        (folder / f"{name}.svg").write_text(cs.visualize(make(), "svg"), encoding="utf-8")
        (folder / f"{name}.html").write_text(cs.visualize(make(), "html"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
