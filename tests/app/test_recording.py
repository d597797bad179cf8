"""`cs.run(record=...)`: the page of a run that has ended, however it did. And what notebooks show."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import cascade as cs
from cascade.testing import SpySubscriber
from tests import pictures


@cs.task
def fetch(n: int) -> int:
    if n == 13:
        raise ValueError("thirteen")
    return n * 2


@cs.task
def total(numbers: list[Any], title: str) -> str:
    return f"{title}: {sum(n for n in numbers if isinstance(n, int))}"


@cs.task
def fails(text: str) -> str:
    raise RuntimeError(f"no <b>luck</b> with {text}\nat all")


def run_in(page: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert found
    run: dict[str, Any] = json.loads(found[1])["run"]
    return run


def recorded(target: Any, path: Path, params: dict[str, Any] | None = None) -> dict[str, Any]:
    cs.run(target, params, record=path, log_level="SILENT")
    return run_in(path.read_text(encoding="utf-8"))


def report(errors: Any = "collect") -> Any:
    title = cs.Param("title", default="sum")
    return total(fetch.map(n=range(60), on_error=errors), title)


def test_a_page_tells_of_the_run(tmp_path: Path) -> None:
    run = recorded(report(), tmp_path / "run.html", {"title": "all"})
    assert run["status"] == "Succeeded"
    assert run["target"] == "total · test_recording.py"
    assert run["params"] == [["title", "all"]]
    assert run["value"] == f"'all: {sum(range(60)) * 2 - 26}'"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", run["started"])
    [told] = [text for text in run["told"].values() if "60" in text]
    assert told.endswith("· 1 of 60 failed")


def test_a_run_that_fails_leaves_its_page_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        recorded(fails(report()), tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text(encoding="utf-8")
    run = run_in(page)
    assert run["status"] == "Failed"
    assert "no <b>luck</b> with sum" in run["error"]
    assert run["error"].endswith("\nat all")
    assert sorted(run["states"]) == ["0", "1", "1", "2"]  # the map went on without its item
    assert "<b>luck" not in page


def test_a_browser_shows_what_the_run_failed_of(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        cs.run(fails(report()), {"title": "<i>"}, record=str(tmp_path / "run.html"), log_level="SILENT")
    script = """
const seen = [document.title, document.getElementById("panel").textContent];
document.querySelector("#panel [data-go]").click(); seen.push(document.getElementById("panel").textContent);
document.documentElement.dataset.report = encodeURIComponent(JSON.stringify(seen));
"""
    page = (tmp_path / "run.html").read_text(encoding="utf-8")
    title, of_run, of_node = json.loads(unquote(pictures.shown(page, tmp_path, script)["report"]))
    assert title == "fails · test_recording.py"
    for text in ("failed", "no <b>luck</b>", "title", "<i>", "1 of 60 failed", "thirteen"):
        assert text in of_run
    assert "ValueError: thirteen" in of_node
    assert "result" in of_node


def test_secrets_and_passwords_are_in_no_page(tmp_path: Path) -> None:
    key = cs.Param("key", type=str, secret=True)
    path = tmp_path / "run.html"
    cs.run(total([1], key), {"key": "hush-hush"}, record=path, log_level="SILENT")
    cs.run(total([1], "postgresql://me:pass-word@host/"), record=tmp_path / "other.html", log_level="SILENT")
    assert "hush-hush" not in path.read_text(encoding="utf-8")
    assert "pass-word" not in (tmp_path / "other.html").read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    called = []

    @cs.task
    def notes() -> None:
        called.append(1)

    with pytest.raises(FileNotFoundError):
        cs.run(notes(), record=tmp_path / "none" / "run.html", log_level="SILENT")
    assert called == []


def test_a_loop_is_kept_in_bounds(tmp_path: Path) -> None:
    @cs.task
    def down(n: int) -> Any:
        return cs.Jump("again", n - 1) if n else "done"

    loop = down(5000)
    cs.bind(loop, cs.select_jump({"again": loop}))
    run = recorded(loop, tmp_path / "run.html")
    assert any("×5,001" in text for text in run["told"].values())
    assert (tmp_path / "run.html").stat().st_size < 60_000


# --- notebooks


def test_a_notebook_shows_the_picture_of_what_is_lazy() -> None:
    def shown(target: Any) -> str:
        return str(target._repr_html_())

    assert shown(report()).startswith("<svg")
    assert shown(cs.Router(fetch(1), {1: fetch(2)})).startswith("<svg")
    assert shown(cs.Param("n", default=1)).startswith("<svg")
    assert shown(total([fetch(n) for n in range(100)], "many")).startswith("<iframe")
    first = fetch(1)
    second = fetch(first)
    first.after(second)
    assert second._repr_html_() is None  # which says no more than its repr


def test_a_notebook_shows_plans_failures_and_runs() -> None:
    plan = cs.dry_run(report())._repr_html_()
    assert "plan of total" in plan
    assert "fetch#1" in plan
    failed: Any
    [failed] = cs.run(fetch.map(n=[13], on_error="collect"), log_level="SILENT")
    assert "ValueError: thirteen" in failed._repr_html_()
    assert "Failed: item 0" in failed._repr_html_()

    async def main() -> tuple[Any, Any]:
        begun = asyncio.Event()

        @cs.task
        async def waits(x: int) -> None:
            begun.set()
            await asyncio.Event().wait()

        async with cs.Engine() as engine:
            run = engine.start(waits(fetch(1)), run_id="<mine>")
            await begun.wait()
            shown = run._repr_html_()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            return shown, run._repr_html_()

    going, ended = asyncio.run(main())
    assert "Run &lt;mine&gt;" in going
    assert "Running" in going
    assert "1 of 2" in going
    assert "waits#1" in going
    assert "Cancelled" in ended


def test_a_spy_hears_all_that_a_page_shows() -> None:
    async def main() -> Any:
        async with cs.Engine() as engine:
            spy = SpySubscriber(engine.bus)
            await engine.run(report(), {"title": "t"})
            return cs.visualize(report(), "html", events=spy)

    assert run_in(asyncio.run(main()))["params"] == [["title", "t"]]
