"""Reading pictures and forms back: what each says the edges are, and the programs that the tests draw with."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cascade.graph.draw.picture import clean
from cascade.graph.nest import Nest

__all__ = [
    "edges_of_dot",
    "edges_of_form",
    "edges_of_mermaid",
    "edges_of_page",
    "edges_of_svg",
    "engines_edges",
    "shown",
    "tool",
    "without_gates",
]

Edges = Counter[tuple[str, str, str, str]]
"""(source, target, kind, name); sources and targets as the pictures call them."""


def tool(*names: str) -> str:
    """Return the path of a program, or skip the test where it is missing (and nothing says that it must be there)."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    if os.environ.get("CASCADE_REQUIRE_ALL") == "1":
        raise AssertionError(f"{names[0]} is not installed, and CASCADE_REQUIRE_ALL=1 asks for it")
    pytest.skip(f"{names[0]} is not installed")


def engines_edges(nest: Nest, *, literals: bool = False) -> Edges:
    """Return the edges of the graphs that run, and the marks that pictures add, worked out from the graphs alone.

    Args:
        literals: those into containers that are written where they are read stay what they are; else they lead on.
    """
    edges: Edges = Counter()
    for at, graph in enumerate(nest.graphs):
        prefix = f"g{at}" if at else ""
        listed = list(graph.edges())
        readers = Counter(edge.target if edge.kind == "jump" else edge.source for edge in listed)
        one = {edge.source: edge for edge in listed if edge.kind == "data" and readers[edge.source] == 1}
        packs = () if literals else [i for i in one if i >= 0 and i != graph.root and graph.node(i).kind == "container"]

        def called(reference: int, prefix: str = prefix) -> str:
            return f"{prefix}n{reference}" if reference >= 0 else f"{prefix}p{-1 - reference}"

        for edge in listed:
            reader, way = edge.target, [edge.name]
            if edge.source in packs:
                continue
            while reader in packs:
                way.insert(0, one[reader].name)
                reader = one[reader].target
            name = edge.name if len(way) == 1 else ".".join(each for each in way if not each.isdecimal()) or way[0]
            edges[called(edge.source), called(reader), edge.kind, clean(name)] += 1
        for i, routes in graph.jumps.items():
            for key, target in routes.items():
                if target is None:
                    edges[called(i), f"{prefix}x{i}", "exit", clean(str(key))] += 1
        names: list[str] = []
        for i, gate in graph.gates.items():
            for name, amount in gate.terms.constraints.amounts.items() if gate.terms.constraints is not None else ():
                names += [name] if name not in names else []
                edges[f"{prefix}c{names.index(name)}", called(i), "constraint", f"{amount:g}"] += 1
        around, number = nest.owners[at]
        if around >= 0:
            outer = f"g{around}n{number}" if around else f"n{number}"
            edges[called(graph.root), outer, "result", ""] += 1
    return edges


def without_gates(edges: Edges) -> Edges:
    """Leave out what is no edge: the lines from what a router looks at to what runs for one of its ways alone."""
    return Counter({edge: count for edge, count in edges.items() if edge[2] != "gate"})


def edges_of_dot(text: str) -> Edges:
    """Read the edges of a DOT digraph."""
    quoted = r'"((?:[^"\\]|\\.)*)"'
    line = re.compile(rf"^  (\w+) -> (\w+) \[.*?kind=(\w+), name={quoted}, ")
    found = [match for match in map(line.match, text.splitlines()) if match]
    assert len(found) == text.count(" -> ")
    return Counter((m[1], m[2], m[3], re.sub(r"\\(.)", r"\1", m[4])) for m in found)


def edges_of_mermaid(text: str) -> Edges:
    """Read the links of a Mermaid flowchart; the comment before each `linkStyle` names their kind."""
    link = re.compile(r'^  (\w+) (?:-->|-\.->|==>)(?:\|"(.*)"\|)? (\w+)$')
    links = [match for match in map(link.match, text.splitlines()) if match]
    kinds = {
        int(number): kind
        for kind, numbers in re.findall(r"^  %% (\w+)\n  linkStyle ([\d,]+) ", text, re.M)
        for number in numbers.split(",")
    }
    assert sorted(kinds) == list(range(len(links)))
    spelled = [re.sub(r"#(\d+);", lambda code: chr(int(code[1])), match[2] or "") for match in links]
    return Counter((m[1], m[3], kinds[at], spelled[at]) for at, m in enumerate(links))


def edges_of_svg(text: str) -> Edges:
    """Read the lines of an SVG document."""
    paths = ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}path")
    lines = [path for path in paths if "data-source" in path.attrib]
    names = ("data-source", "data-target", "data-kind", "data-name")
    return Counter(tuple(line.attrib[name] for name in names) for line in lines)  # type: ignore[misc]


def edges_of_page(text: str) -> Edges:
    """Read the lines in the data of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    data = json.loads(found[1])
    types = [(kind, name) for kind, names in data["types"].items() for name in names.split("\n")]
    edges: Edges = Counter()
    target = 0
    lines = iter(data["lines"])
    for step, back, number in zip(lines, lines, lines, strict=True):
        target += step
        edges[data["ids"][target - back], data["ids"][target], *types[number]] += 1
    return edges


def edges_of_form(text: str, nest: Nest) -> Edges:
    """Read the edges of the JSON form. It has them by argument, key or setting; names come from the graph's tasks."""
    form = json.loads(text)
    edges: Edges = Counter()
    for at, graph in enumerate(form["graphs"]):
        prefix = f"g{at}" if at else ""
        slots = list(nest.graphs[at].inputs)

        def called(form: Any, prefix: str = prefix, slots: list[int] = slots) -> str | None:
            if isinstance(form, dict) and "$node" in form:
                return f"{prefix}n{form['$node']}"
            return f"{prefix}p{slots[form['$input']]}" if isinstance(form, dict) and "$input" in form else None

        def edge(form: Any, target: str, kind: str, name: str) -> None:
            source = called(form)
            if source is not None:
                edges[source, target, kind, clean(name)] += 1

        capacities: list[str] = []
        for i, node in enumerate(graph["nodes"]):
            me = f"{prefix}n{i}"
            names = nest.graphs[at].argument_names(i)
            given = [*node.get("args", ()), *node.get("kwargs", {}).values()]
            if node["kind"] == "container":
                given = node["items"]
                names = [str(key) for key in node.get("keys", range(len(given)))]
            for name, each in zip(names, given, strict=False):
                edge(each, me, "data", name)
            if node["kind"] == "optional":
                edge(node["of"], me, "data", "target")
            if node["kind"] == "router":
                edge(node["selector"], me, "selector", "")
                for key, way in node["routes"]:
                    edge(way, me, "route", str(key))
                edge(node.get("default"), me, "route", "default")
            edge(node.get("condition"), me, "condition", "run_if")
            edge(node.get("otherwise"), me, "otherwise", "otherwise")
            for each in node.get("after", ()):
                edge(each, me, "sequence", "next")
            for key, way in node.get("jumps", ()):
                target = f"{prefix}x{i}" if way is None else called(way["to"])
                assert target is not None
                edges[me, target, "exit" if way is None else "jump", clean(str(key))] += 1
            for name, amount in node.get("constraints", {}).items():
                edge(amount, me, "constraint", name)
                if not isinstance(amount, (int, float)):
                    continue
                capacities += [name] if name not in capacities else []
                edges[f"{prefix}c{capacities.index(name)}", me, "constraint", f"{amount:g}"] += 1
            if node["kind"] == "subflow":
                inner = node["graph"]
                root = form["graphs"][inner]["root"]
                inside = list(nest.graphs[inner].inputs)
                source = f"g{inner}n{root['$node']}" if "$node" in root else f"g{inner}p{inside[root['$input']]}"
                edges[source, me, "result", ""] += 1
    return edges


def shown(page: str, directory: Path, script: str = "") -> dict[str, str]:
    """Open a page in a headless browser, run a script in it, and return what it then says of itself."""
    path = directory / "page.html"
    path.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    browser = tool("chromium", "chromium-browser", "google-chrome")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory / 'profile'}"]
    done = subprocess.run(
        [*command, "--window-size=1300,900", "--dump-dom", str(path)], capture_output=True, timeout=55, check=False
    )
    found = re.search(r"<html([^>]*)>", done.stdout.decode())
    assert found, done.stderr.decode()
    return dict(re.findall(r'data-(\w+)="([^"]*)"', found[1]))


def written(directory: Path, texts: list[str], suffix: str) -> list[str]:
    """Write texts into files and return their paths."""
    paths = []
    for at, text in enumerate(texts):
        path = directory / f"{at}.{suffix}"
        path.write_text(text, encoding="utf-8")
        paths.append(str(path))
    return paths
