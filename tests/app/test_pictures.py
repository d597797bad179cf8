"""`cs.visualize`: formats, errors, notebooks, the page in a browser, and a run laid over it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import cascade as cs
from cascade.app.programs import nest_for
from cascade.graph.draw.folds import MOST, Fold, fold
from cascade.graph.draw.html import page_data
from cascade.graph.draw.overlay import overlay_of
from cascade.graph.draw.picture import picture_of
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskExecutionStarted
from cascade.testing import SpySubscriber
from tests import pictures

LARGE = 50_000


@cs.task
def first(x: Any = 0) -> Any:
    return x


@cs.task
def second(*args: Any) -> Any:
    return args


@cs.task
def count(n: int, fed: Any = None) -> Any:
    return cs.Jump("again", n - 1) if n else n


def chain(length: int) -> Any:
    node = first(0)
    for _ in range(length - 1):
        node = first(node)
    return node


def wide(width: int) -> Any:
    return second(*[first(at) for at in range(width - 1)])


def layered(size: int, width: int) -> Any:
    row = [first(at) for at in range(width)]
    for _ in range(size // width - 1):
        row = [second(row[at], row[(at * 7 + 3) % width]) for at in range(width)]
    return row


def spied(target: Any, **options: Any) -> SpySubscriber:
    """Run a target and return what was heard of it."""
    bus = MessageBus()
    spy = SpySubscriber(bus)

    async def main() -> None:
        async with Engine(bus=bus, **options) as engine:
            await engine.run(target)

    with contextlib.suppress(ValueError):
        asyncio.run(main())
    return spy


# --- formats


@pytest.mark.parametrize(
    ("format", "start"),
    [("dot", "digraph"), ("mermaid", "flowchart"), ("svg", "<svg"), ("html", "<!doctype html>")],
)
def test_the_formats(format: Any, start: str) -> None:
    assert cs.visualize(first(1), format).startswith(start)
    assert cs.visualize([first(1), cs.Param("n", default=1)], format).startswith(start)
    assert cs.visualize(cs.Param("n", default=1), format).startswith(start)


def test_a_title_can_be_given() -> None:
    assert ">of <b>mine</text>".replace("<b>", "&lt;b&gt;") in cs.visualize(first(1), "svg", title="of <b>mine")
    assert '"title":"mine"' in cs.visualize([first(1), first(2)], "html", title="mine")
    assert '"title":"first"' in cs.visualize(first(1), "html")


def test_dot_is_the_usual_format() -> None:
    assert cs.visualize(first(1)) == cs.visualize(first(1), "dot")


def test_blueprints_and_flows_can_be_drawn() -> None:
    target = second(first(1))
    flow = cs.compile(target)
    assert cs.visualize(flow) == cs.visualize(flow.blueprint) == cs.visualize(target)


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="draws dot, mermaid, svg, html, not 'png'"):
        cs.visualize(first(1), "png")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"cs\.visualize takes a lazy result"):
        cs.visualize(3)
    with pytest.raises(TypeError, match="was not called"):
        cs.visualize(first)
    with pytest.raises(ValueError, match='format="html"'):
        cs.visualize(first(1), "svg", events=[])


def test_drawing_does_not_spoil_the_plan_of_a_run() -> None:
    target = second(first(1))
    assert cs.run(target, log_level="SILENT") == (1,)
    kept = target.plan
    cs.visualize(target)
    assert target.plan is kept
    target.run_if(False, otherwise=3)
    assert "run_if" not in cs.visualize(target)
    target.run_if(first(True))
    assert "run_if" in cs.visualize(target)


def test_notebooks_show_the_picture() -> None:
    target = first(1)
    assert cs.visualize(target, "svg")._repr_mimebundle_()["image/svg+xml"].startswith("<svg")
    shown = cs.visualize(target, "html")._repr_mimebundle_()["text/html"]
    assert shown.startswith("<iframe")
    assert "&lt;!doctype html&gt;" in shown
    assert "text/vnd.mermaid" in cs.visualize(target, "mermaid")._repr_mimebundle_()
    assert cs.visualize(target)._repr_mimebundle_()["text/plain"].startswith("digraph")


# --- folding


def parts(whole: Fold) -> list[Fold]:
    found, stack = [], [whole]
    while stack:
        part = stack.pop()
        found.append(part)
        stack += [item for item in part.items if isinstance(item, Fold)]
    return found


def leaves(part: Fold) -> list[int]:
    return [item for each in parts(part) for item in each.items if not isinstance(item, Fold)]


@pytest.mark.parametrize("target", [chain(3000), wide(3000), layered(3000, 60)], ids=["chain", "wide", "layered"])
def test_a_large_graph_folds_into_small_parts(target: Any) -> None:
    picture = picture_of(nest_for(target, "a test"))
    whole = fold(picture)
    assert sorted(leaves(whole)) == list(range(len(picture.shapes)))
    assert max(len(part.items) for part in parts(whole)) <= MOST


@pytest.mark.parametrize("target", [chain(500), wide(500), layered(2000, 50)], ids=["chain", "wide", "layered"])
def test_folded_parts_wait_for_each_other_in_one_direction(target: Any) -> None:
    picture = picture_of(nest_for(target, "a test"))
    number_of = {shape.id: at for at, shape in enumerate(picture.shapes)}
    for part in parts(fold(picture)):
        owner = {
            leaf: at
            for at, item in enumerate(part.items)
            for leaf in (leaves(item) if isinstance(item, Fold) else [item])
        }
        needs: dict[int, set[int]] = {}
        for line in picture.lines:
            a, b = owner.get(number_of[line.source]), owner.get(number_of[line.target])
            if a is not None and b is not None and a != b:
                needs.setdefault(b, set()).add(a)
        done: set[int] = set()
        while len(done) < len(part.items):
            ready = {at for at in range(len(part.items)) if at not in done and needs.get(at, set()) <= done}
            assert ready, "parts wait for each other"
            done |= ready


def test_a_loop_folds_with_what_only_it_needs() -> None:
    step = count(second(first(1), cs.Param("n", default=1)))
    cs.bind(step, cs.select_jump({"again": step, "stop": None}))
    shared = first(step)
    picture = picture_of(nest_for([shared, second(shared)], "a test"))
    [loop] = [part for part in parts(fold(picture)) if part.kind == "loop"]
    assert sorted(picture.shapes[at].label for at in loop.items) == ["count", "first", "second"]


def test_a_subflow_folds_with_all_that_is_inside() -> None:
    inner = cs.subflow(second(first(1), cs.subflow(first(2))))
    picture = picture_of(nest_for(second(inner), "a test"))
    outer, nested = [part for part in parts(fold(picture)) if part.kind == "subflow"]
    assert sorted(picture.shapes[at].label for at in leaves(outer)) == [
        "first",
        "first",
        "second",
        "subflow",
        "subflow",
    ]
    assert sorted(picture.shapes[at].label for at in leaves(nested)) == ["first", "subflow"]


# --- a run laid over the page


def stories(target: Any, events: Any) -> dict[str, Any]:
    picture = picture_of(nest_for(target, "a test"))
    told = overlay_of(picture, events).stories
    return {picture.shapes[at].id: story for at, story in told.items()}


def test_states_retries_and_skips_are_laid_over() -> None:
    failures = [ValueError("not yet")]

    @cs.task
    def unsteady(x: Any) -> Any:
        if failures:
            raise failures.pop()
        return x

    step = count(3)
    cs.bind(step, cs.select_jump({"again": step}))
    target = second(unsteady(1).with_retry(2), first(2).run_if(False), first.map(x=[1, 2, 3]), step)
    spy = spied([first(9), target, cs.sequence([first(5)])])
    found = stories([first(9), target, cs.sequence([first(5)])], spy)
    by_status = {name: story.status for name, story in found.items()}
    assert by_status["n0"] == "Succeeded"
    unsteady_story, skipped, mapped, looped = (found[f"n{at}"] for at in (1, 2, 3, 4))
    assert (unsteady_story.status, unsteady_story.attempts) == ("Succeeded", 1)
    assert (unsteady_story.error, unsteady_story.failed) == ("", 0)
    assert "not yet" in unsteady_story.passing
    assert (skipped.status, skipped.reason) == ("Skipped", "ConditionFalse")
    assert (mapped.times, sorted(item.at for item in mapped.items)) == (3, ["[0]", "[1]", "[2]"])
    assert looped.times == 4


def test_a_failure_is_laid_over() -> None:
    @cs.task
    def fail() -> None:
        raise ValueError("no")

    target = second(first(1), fail())
    spy = spied(target)
    found = stories(target, spy.events)
    assert (found["n1"].status, found["n1"].error) == ("Failed", "ValueError: no")
    assert "n2" not in found
    data = page_data(picture_of(nest_for(target, "a test")), spy)
    assert data["run"]["status"] == "Failed"
    assert data["run"]["error"] == "ValueError: no"


def flaky(outcomes: dict[int, list[str]]) -> Any:
    """Return a task that fails of these errors, item by item and attempt by attempt, and then gives its item."""

    @cs.task
    def fetch(n: int) -> int:
        if outcomes.get(n):
            raise ValueError(outcomes[n].pop(0))
        return n

    return fetch


@pytest.mark.parametrize("on_error", ["collect", "skip"])
def test_the_failure_of_an_item_is_told_and_not_that_of_an_attempt(on_error: Any) -> None:
    mapped = flaky({0: ["reset"], 3: ["reset", "thirteen"]}).map(n=range(60), on_error=on_error).with_retry(2)
    target = second(mapped)
    spy = spied(target)
    story = stories(target, spy)["n0"]
    assert (story.status, story.failed, story.times, story.attempts) == ("Succeeded", 1, 60, 2)
    assert (story.error, story.passing) == ("ValueError: thirteen", "ValueError: reset")
    assert story.items[0][:2] == ("[3]", "Failed")
    assert [item.error for item in story.items if item.error] == ["ValueError: thirteen"]
    run = page_data(picture_of(nest_for(target, "a test")), spy)["run"]
    _, _, error, _, items, failed, passing, _ = run["more"][run["states"].index("1")]
    assert (error, failed, passing, items[0][0], items[0][3]) == (
        *("ValueError: thirteen", 1, "ValueError: reset"),
        *("[3]", "ValueError: thirteen"),
    )


def test_a_map_that_fails_its_run_has_failed() -> None:
    target = second(flaky({1: ["no"]}).map(n=[1, 2]))
    story = stories(target, spied(target))["n0"]
    assert (story.status, story.error) == ("Failed", "ValueError: no")


def test_nodes_of_subflows_are_told_apart() -> None:
    target = second(first(1), cs.subflow(second(first(2), first(3))), cs.subflow(first.map(x=[4, 5])), first(6))
    found = stories(target, spied(target, tier="interpret"))
    assert {name: story.times for name, story in found.items()} == {
        **{"n0": 1, "n3": 1, "n4": 1, "g1n0": 1, "g1n1": 1, "g1n2": 1, "g2n0": 2},
    }


def test_copies_of_a_node_are_counted_with_it() -> None:
    @cs.task
    def reading(n: int) -> int:
        return n

    fed = reading(1)
    left, right = count(2, fed), count(3, fed)  # two loops that each run `fed` again: a copy for one of them
    for step in (left, right):
        cs.bind(step, cs.select_jump({"again": step}))
    target = [left, right, second(fed)]
    spy = spied(target)
    ids = {event.task_id for event in spy.events_of_type(TaskExecutionStarted) if event.task_name == "reading"}
    assert len(ids) > 1
    assert stories(target, spy)["n0"].times == 1 + 2 + 3


def test_of_several_runs_the_last_one_counts() -> None:
    target = second(first(1))
    events = [*spied(target).events, *spied(target).events]
    assert {story.times for story in stories(target, events).values()} == {1}


def test_no_events_are_a_run_that_nobody_saw() -> None:
    data = page_data(picture_of(nest_for(first(1), "a test")), [])
    assert data["run"]["states"] == "0"


# --- the page


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = cs.visualize(layered(200, 10), "html")
    assert re.findall(r"""(?:src|href)\s*=|@import|url\((?!#)|https?://|fetch\(|import\(""", page) == []


@pytest.mark.parametrize("target", [chain(LARGE), wide(LARGE), layered(LARGE, 200)], ids=["chain", "wide", "layered"])
def test_the_page_of_a_large_graph_is_small(target: Any) -> None:
    assert len(cs.visualize(target, "html").encode()) < 2_000_000


def test_the_page_of_a_large_run_is_small() -> None:
    target = layered(LARGE, 200)
    assert len(cs.visualize(target, "html", events=spied(target)).encode()) < 2_000_000


@pytest.mark.parametrize("size", [10, 1000, LARGE])
def test_a_browser_draws_the_page_folded(size: int, tmp_path: Path) -> None:
    said = pictures.shown(cs.visualize(layered(size, max(2, size // 250)), "html"), tmp_path)
    assert 1 <= int(said["shown"]) <= 70
    assert said["drawn"].isdigit()


def test_a_browser_opens_and_closes_folds_and_finds_tasks(tmp_path: Path) -> None:
    step = count(second(first(1)))
    cs.bind(step, cs.select_jump({"again": step, "stop": None}))
    target = layered(2000, 40)
    page = cs.visualize(
        [*target, cs.subflow(second(first(2))), step, first.map(x=[1, 2])], "html", events=spied(target)
    )
    script = """
const leaves = new Set(), box = id => document.querySelector(`[data-id="${id}"]`), seen = [shown.length];
D.views.forEach((view, at) => {
  go(at); for (const [item] of [...view[4], ...view[5]]) if (item >= 0) leaves.add(item);
});
go(0); seen.push(leaves.size, Math.max(...D.views.map(view => view[4].length)));
box("f" + ~shown.find(item => item < 0)).dispatchEvent(new MouseEvent("click", {bubbles: true}));
seen.push(here, document.querySelectorAll("#way [data-view]").length);
document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape", bubbles: true})); seen.push(here);
const search = document.getElementById("search"); search.value = "count"; search.dispatchEvent(new Event("input"));
search.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
seen.push(document.querySelectorAll(".picked").length, document.querySelectorAll("#panel h2").length);
document.documentElement.dataset.report = seen.join(" ");
"""
    folded, leaves, most, inside, way, again, picked, told = map(
        int, pictures.shown(page, tmp_path, script)["report"].split()
    )
    assert max(folded, most) <= 70
    assert leaves == len(picture_of(nest_for(target, "a test")).shapes) + 7
    assert (inside > 0, way, again) == (True, 1, 0)
    assert (picked, told) == (1, 1)


def test_a_large_page_is_packed_and_unpacked(tmp_path: Path) -> None:
    page = cs.visualize([first(f"item {at}").named(f"读取 {at}") for at in range(2500)], "html")
    script = "document.documentElement.dataset.report = encodeURIComponent(names[2499] + Object.keys(D).length);"
    assert "读取" not in page
    assert unquote(pictures.shown(page, tmp_path, script)["report"]).startswith("读取 2499")


def test_the_data_of_a_page_is_json_that_no_tag_can_end() -> None:
    page = cs.visualize(first(1).named("</script><script>alert(1)</script>"), "html")
    assert page.count("</script>") == 2
    found = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert found
    assert "</script>" in json.loads(found[1])["names"]
