"""What is drawn is what runs: edges read back from every format are those of the engine's graphs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.errors import CascadeError
from cascade.graph.draw.dot import to_dot
from cascade.graph.draw.html import to_html
from cascade.graph.draw.layout import Box, arrange
from cascade.graph.draw.mermaid import to_mermaid
from cascade.graph.draw.picture import Picture, picture_of
from cascade.graph.draw.scene import scene_of, whole_of
from cascade.graph.draw.svg import to_svg
from cascade.graph.nest import Nest, nest_of
from cascade.graph.serialize import graphs_to_json
from cascade.runtime import Engine
from cascade.runtime.plans.plan import prepare
from tests import pictures
from tests.strategies import build, fixed_recipes

GRAPHS = 200


@cs.task
def step(*args: Any, **kwargs: Any) -> Any:
    return args


def nest_from(target: Any) -> Nest:
    """Return the graphs that an engine runs for a target."""
    plan = prepare(target, Engine().solver)
    assert plan is not None
    return nest_of(plan.blueprint)


def random_nests() -> Iterator[Nest]:
    count = 0
    for recipe in fixed_recipes(4 * GRAPHS, seed=5):
        try:
            nest = nest_from(build(recipe).target)
        except CascadeError:
            continue
        yield nest
        count += 1
        if count == GRAPHS:
            return
    raise AssertionError(f"only {count} of the programs can be built")


@pytest.fixture(scope="module")
def nests() -> list[Nest]:
    return list(random_nests())


def test_the_random_graphs_have_every_kind_of_edge(nests: list[Nest]) -> None:
    kinds = {kind for nest in nests for _, _, kind, _ in pictures.engines_edges(nest)}
    assert kinds == {
        *("data", "condition", "otherwise", "sequence", "selector", "route", "jump", "exit", "constraint", "result"),
    }


def test_the_edges_of_dot_are_those_of_the_engine(nests: list[Nest]) -> None:
    for nest in nests:
        found = pictures.edges_of_dot(to_dot(picture_of(nest)))
        assert pictures.without_gates(found) == pictures.engines_edges(nest)


def test_the_edges_of_mermaid_are_those_of_the_engine(nests: list[Nest]) -> None:
    for nest in nests:
        found = pictures.edges_of_mermaid(to_mermaid(picture_of(nest)))
        assert pictures.without_gates(found) == pictures.engines_edges(nest)


def test_the_edges_of_svg_are_those_of_the_engine(nests: list[Nest]) -> None:
    for nest in nests:
        found = pictures.edges_of_svg(to_svg(picture_of(nest)))
        assert pictures.without_gates(found) == pictures.engines_edges(nest)


def test_the_edges_of_a_page_are_those_of_the_engine(nests: list[Nest]) -> None:
    for nest in nests:
        found = pictures.edges_of_page(to_html(picture_of(nest)))
        assert pictures.without_gates(found) == pictures.engines_edges(nest)


def test_the_edges_of_json_are_those_of_the_engine(nests: list[Nest]) -> None:
    for nest in nests:
        assert pictures.edges_of_form(graphs_to_json(nest), nest) == pictures.engines_edges(nest, literals=True)


def test_graphviz_takes_every_graph(nests: list[Nest], tmp_path: Path) -> None:
    for path in pictures.written(tmp_path, [to_dot(picture_of(nest)) for nest in nests], "dot"):
        assert graphviz(path, "plain").endswith("stop\n")  # each by itself: of many at once, 2.43 crashes


def graphviz(path: str, format: str) -> str:
    """Return what Graphviz makes of a file; it must not complain."""
    command = [pictures.tool("dot"), f"-T{format}", path]
    done = subprocess.run(command, capture_output=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def test_graphviz_draws_a_graph_with_everything(tmp_path: Path) -> None:
    [path] = pictures.written(tmp_path, [to_dot(everything())], "dot")
    assert graphviz(path, "svg").count('class="edge"') == len(everything().lines)


# --- styles


def everything() -> Picture:
    """Return a picture that has every shape and every kind of line."""
    n = cs.Param("n", default=3)
    items = step.map(a=step(n)).with_constraints(gpu=1)
    inner = cs.subflow(step(cs.Param("limit", 1)), {"limit": items})
    router = cs.Router(step(n), {"a": step(1), "b": inner}, default=step(2))
    loop = step(cs.Env("HOME", default=""))
    cs.bind(loop, cs.select_jump({"again": loop, "done": None}))
    last = step(router, [loop]).run_if(step(n), otherwise=step(3)).after(items).named("last")
    return picture_of(nest_from([last, cs.sequence([step(4), step(5)])]))


STYLES = {
    "data": "style=solid",
    "condition": 'style=dashed, color="#9ca3af"',
    "constraint": 'style=dotted, color="#9333ea"',
    "sequence": 'style=dashed, color="#4b5563"',
    "selector": 'style=dashed, color="#2563eb"',
    "route": 'style=dashed, color="#ea7a0c"',
    "jump": 'style=bold, color="#1d4ed8"',
    "exit": 'style=bold, color="#1d4ed8"',
}
NAMES = {"condition": {"run_if"}, "sequence": {"next"}, "jump": {"again"}, "exit": {"done"}}


@pytest.mark.parametrize("kind", STYLES)
def test_lines_have_the_style_of_their_kind(kind: str) -> None:
    lines = [line for line in to_dot(everything()).splitlines() if f"kind={kind}," in line]
    assert lines
    assert all(STYLES[kind] in line for line in lines)
    drawn = {line.name for line in everything().lines if line.kind == kind}
    assert drawn == NAMES.get(kind, drawn)


def test_shapes_are_those_of_their_kind() -> None:
    text = to_dot(everything())
    for kind, shape in {"task": "box", "map": "hexagon", "param": "ellipse", "end": "doublecircle"}.items():
        one = next(shape for shape in everything().shapes if shape.kind == kind)
        [line] = [line for line in text.splitlines() if line.startswith(f"  {one.id} [")]
        assert f"shape={shape}" in line
    assert {shape.kind for shape in everything().shapes} == {
        *("task", "map", "param", "router", "container", "optional", "subflow", "capacity", "end"),
    }


def test_a_way_out_leads_to_an_end_mark() -> None:
    kinds = {shape.id: shape.kind for shape in everything().shapes}
    assert {kinds[line.target] for line in everything().lines if line.kind == "exit"} == {"end"}


# --- names that are no words


AWFUL = [
    '"',
    "\\",
    "\\n",
    "\n",
    "<b>&amp;",
    "|x|",
    "]]",
    "#quot;",
    "%%",
    "ключ",
    "\x00",
    "\ud800",
    "end",
    "-->",
    "x" * 500,
]


@pytest.mark.parametrize("name", AWFUL)
def test_any_name_can_be_drawn(name: str, tmp_path: Path) -> None:
    loop = step({"k": step(1).named(name)}, cs.Param(name, default=1)).named(name)
    cs.bind(loop, cs.select_jump({name: loop, f"{name}out": None}))
    nest = nest_from(loop)
    picture = picture_of(nest)
    expected = pictures.engines_edges(nest)
    assert pictures.edges_of_dot(to_dot(picture)) == expected
    assert pictures.edges_of_mermaid(to_mermaid(picture)) == expected
    assert pictures.edges_of_svg(to_svg(picture)) == expected
    assert pictures.edges_of_page(to_html(picture)) == expected
    assert to_html(picture).count("<script") == 2


def test_graphviz_takes_any_name(tmp_path: Path) -> None:
    texts = [to_dot(picture_of(nest_from(step(step(1).named(name)).named(name)))) for name in AWFUL]
    for path in pictures.written(tmp_path, texts, "dot"):
        graphviz(path, "plain")


# --- size and depth


def test_a_long_chain_is_drawn_without_recursion() -> None:
    chain = step(0)
    for _ in range(20_000):
        chain = step(chain)
    picture = picture_of(nest_from(chain))
    for draw in (to_dot, to_mermaid, to_svg, to_html):
        assert draw(picture)


def test_subflows_in_subflows_are_drawn_without_recursion() -> None:
    inner: Any = step(0)
    for _ in range(1500):
        inner = cs.subflow(step(inner))
    nest = nest_from(inner)
    picture = picture_of(nest)
    assert len(nest.graphs) == 1501
    for draw in (to_dot, to_mermaid, to_svg, to_html):
        assert draw(picture)


# --- the layout


def test_lines_lead_downwards_and_boxes_do_not_overlap() -> None:
    boxes = [Box(60, 30) for _ in range(40)]
    lines = [(at // 3, at) for at in range(1, 40)] + [(0, 39), (1, 38)]
    layout = arrange(boxes, lines)
    for source, target in lines:
        assert layout.places[source][1] + 30 <= layout.places[target][1]
    for at, (x, y) in enumerate(layout.places):
        assert x - 30 + 1e-6 >= 0
        assert x + 30 <= layout.width + 1e-6
        assert all(abs(x - a) >= 60 - 1e-6 or abs(y - b) >= 30 for a, b in layout.places[:at])


def test_a_line_over_several_layers_passes_each_straight() -> None:
    layout = arrange([Box(60, 30)] * 4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    assert [len(bends) for bends in layout.bends] == [0, 0, 0, 4]  # into a layer and out of it


def test_the_states_of_a_machine_stand_below_each_other() -> None:
    first, second = step(1), step(2)  # side by side, the jump from one to the other would lie behind its box
    cs.bind(first, cs.select_jump({"on": second}))
    cs.bind(second, cs.select_jump({"back": first, "end": None}))
    drawn = to_svg(picture_of(nest_from(first)))
    places = re.findall(
        r'data-kind="task">.*?<rect class="body" x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', drawn
    )
    (upper, height), (lower, _) = (map(float, place) for place in places)
    assert upper + height < lower


def test_what_a_router_chooses_stands_below_what_it_looks_at() -> None:
    built = step(1).named("build")
    approval = step(built).named("ask")
    signed = step(2).named("sign")
    pushed = step(signed, built).named("push")
    picture = picture_of(nest_from(step(cs.Router(approval, {"yes": pushed, "no": None, "later": built}))))
    name = {shape.id: shape.label for shape in picture.shapes}
    gates = [(name[line.source], name[line.target], line.name) for line in picture.lines if line.kind == "gate"]
    assert gates == [("ask", "sign", "yes")]  # which `push` waits for; `build` runs whatever is chosen
    scene = scene_of(picture.lines, whole_of(picture))
    height = {item.label: y for item, _, y, *_ in scene.boxes}
    assert height["build"] < height["ask"] < height["sign"] < height["push"] < height["router"]
    told = {(line.kind, line.label) for line in scene.lines if line.kind in ("route", "gate")}
    assert told == {("gate", "yes"), ("route", ""), ("route", "later")}


def test_a_router_inside_of_a_way_chooses_below_both() -> None:
    kind, approval = step(1).named("kind"), step(2).named("ask")
    inner = cs.Router(kind, {"a": step(3).named("push"), "b": step(4).named("mail")})
    picture = picture_of(nest_from(step(kind, cs.Router(approval, {"yes": inner, "no": step(5).named("file")}))))
    name = {shape.id: shape.label for shape in picture.shapes}
    gates = {(name[line.source], name[line.target], line.name) for line in picture.lines if line.kind == "gate"}
    inside = {("kind", "push", "a"), ("kind", "mail", "b"), ("ask", "push", "yes"), ("ask", "mail", "yes")}
    assert gates == {*inside, ("ask", "file", "no")}


@cs.task
def chooses(x: Any) -> Any:
    return cs.Jump("again", x) if x else cs.Jump("done", x)


def test_keys_that_code_never_jumps_by_are_left_out() -> None:
    def names(task: Any) -> set[str]:
        first = task(1)
        cs.bind(first, cs.select_jump({"again": first, "other": first, "done": None, "stop": None}))
        return {line.name for line in picture_of(nest_from(first)).lines}

    assert names(chooses) == {"again", "done"}
    assert names(step) == {"again", "other", "done", "stop"}  # a Jump may come to it from elsewhere


def test_containers_that_are_written_where_they_are_read_are_no_boxes() -> None:
    a, b, twice = step(1).named("a"), step(2).named("b"), [step(3).named("c")]
    target = step([a, {"k": b, "deep": [b]}], by={"a": a}, twice=twice).named("end")
    picture = picture_of(nest_from([target, step(twice)]))
    name = {shape.id: shape.label for shape in picture.shapes}
    assert [label for label in name.values() if label in ("list", "dict")] == ["list", "list"]  # one is read twice
    lines = {(name[line.source], line.name) for line in picture.lines if name[line.target] == "end"}
    assert lines == {("a", "0"), ("b", "k"), ("b", "deep"), ("a", "by.a"), ("list", "twice")}


def test_a_drawing_has_a_title_and_dark_colours() -> None:
    drawn = to_svg(picture_of(nest_from(step(1).named("<report>"))))
    assert "<title>&lt;report&gt;</title>" in drawn
    assert "prefers-color-scheme:dark" in drawn
    assert "<title>Cascade</title>" in to_svg(picture_of(nest_from([step(1), step(2)])))


def test_nothing_can_be_laid_out() -> None:
    assert arrange([], []).places == []
