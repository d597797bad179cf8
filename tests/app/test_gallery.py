"""Twelve pictures in a real browser: no boxes or labels overlap, and no line goes through a box or a label."""

from __future__ import annotations

import json
import os
from html import escape
from pathlib import Path
from urllib.parse import unquote

import pytest

import cascade as cs
from tests import pictures
from tests.gallery import GALLERY
from tests.helpers import ROOT

LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")


def looked_at(bodies: list[str], folder: Path) -> dict[str, tuple[int, int, list[str]]]:
    """Return what a browser measures: of each picture, how many boxes and labels it has, and what is wrong."""
    page = f"<!doctype html><meta charset='utf-8'><script>{LOOK}</script><body>{''.join(bodies)}</body>"
    report: dict[str, tuple[int, int, list[str]]] = json.loads(unquote(pictures.shown(page, folder)["report"]))
    return report


PLANTED = """<svg data-name="planted" class="cascade-picture" viewBox="0 0 300 300">
<path class="line k-data" d="M50 40V200" data-source="a" data-target="c"/>
<text class="label k-data" x="50" y="85" data-from="b" data-to="c">over b</text>
<g class="box" data-id="a" data-kind="task"><rect class="body" x="20" y="10" width="60" height="30"/></g>
<g class="box" data-id="b" data-kind="task"><rect class="body" x="20" y="70" width="60" height="30"/></g>
<g class="box" data-id="c" data-kind="task"><rect class="body" x="20" y="200" width="60" height="30"/></g>
<g class="box" data-id="d" data-kind="task"><rect class="body" x="70" y="210" width="60" height="30"/></g></svg>"""


def test_nothing_lies_on_anything_in_a_drawing(tmp_path: Path) -> None:
    drawn = [
        str(cs.visualize(make(), "svg")).replace("<svg ", f'<svg data-name="{name}" ', 1)
        for name, make in GALLERY.items()
    ]
    report = looked_at([PLANTED, *drawn], tmp_path)
    assert report.pop("planted")[2] == [
        *("c over d", "label over b over b", "a to c goes through b", "a to c goes through label over b"),
    ]
    assert {name: wrong for name, (_, _, wrong) in report.items() if wrong} == {}
    assert list(report) == list(GALLERY)
    assert min(count for count, _, _ in report.values()) >= 5
    assert sum(count for _, count, _ in report.values()) > 80


def test_nothing_lies_on_anything_in_a_page(tmp_path: Path) -> None:
    drawn = [
        f'<iframe name="{name}" width="1200" height="800" srcdoc="{escape(cs.visualize(make(), "html"))}"></iframe>'
        for name, make in GALLERY.items()
    ]
    report = looked_at(drawn, tmp_path)
    assert {name: wrong for name, (_, _, wrong) in report.items() if wrong} == {}
    assert {name.partition("/")[0] for name in report} == set(GALLERY)
    assert max(count for count, _, _ in report.values()) <= 70
    assert sum(name.startswith("six-hundred/") for name in report) > 10


def test_the_picture_of_the_documentation_is_what_is_drawn() -> None:
    drawn = str(cs.visualize(GALLERY["release"](), "svg", title="release")).replace(f"{ROOT}/", "")
    kept = ROOT / "docs" / "assets" / "release.svg"
    if os.environ.get("CASCADE_DRAW"):
        kept.write_text(drawn, encoding="utf-8")
    assert kept.read_text(encoding="utf-8") == drawn, f"{kept}: CASCADE_DRAW=1 draws it anew"


@pytest.mark.parametrize("name", GALLERY)
def test_a_drawing_is_the_same_each_time(name: str) -> None:
    assert cs.visualize(GALLERY[name](), "svg") == cs.visualize(GALLERY[name](), "svg")
