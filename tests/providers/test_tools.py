"""Providers are tasks like others: what looks at graphs, keeps results and writes graphs down takes them."""

from pathlib import Path
from typing import Any

import cascade as cs
from cascade.runtime import MessageBus
from cascade.runtime.events import TaskExecutionFinished
from tests.providers.servers import need
from tests.workflows import Tier, every_tier, run

for each in ("httpx", "jinja2", "sqlalchemy", "yaml"):
    need(each)


def everything(folder: Path) -> list[Any]:
    """A graph with providers of each kind that need nothing outside."""
    said = cs.shell(["echo", cs.Param("word", default="hi")])
    path = cs.write.text(folder / "a.yaml", cs.template("said: {{ it }}", it=said))
    found = cs.lookup(cs.load_yaml(path), "said")
    count = cs.sql("select length(:word) as n", "sqlite://", {"word": found}).after(cs.wait(0))
    return [found, cs.format("{0[0][n]}", count), cs.fs.exists(path)]


@every_tier
def test_they_run_together_on_every_tier(tmp_path: Path, tier: Tier) -> None:
    seen: list[str] = []
    bus = MessageBus()
    bus.subscribe(TaskExecutionFinished, lambda event: seen.append(event.task_id))
    assert run(everything(tmp_path), {"word": "hello"}, tier=tier, bus=bus) == ["hello", "5", True]
    names = ["format", "fs.exists", "load_yaml", "lookup", "shell", "sql", "template", "wait", "write.text"]
    assert sorted(seen) == [f"{name}#1" for name in names]


def test_checks_plans_and_pictures_take_them(tmp_path: Path) -> None:
    target = everything(tmp_path)
    assert cs.check(target) == []
    assert "shell" in str(cs.dry_run(target))
    assert "write.text" in cs.visualize(target, format="mermaid")
    assert "load_yaml" in cs.explain(target)


def test_a_graph_of_them_is_written_down_and_read_back() -> None:
    text = cs.to_json(cs.format("<{}>", cs.shell(["echo", cs.Param("word")])))
    again = cs.from_json(text, allow=["cascade.providers"])
    assert run(again, {"word": "hello"}) == "<hello>"
    web = cs.to_json(cs.http.get("http://localhost/"))
    assert cs.from_json(web, allow=["cascade.providers"]).task is cs.http.get


def test_results_are_kept(tmp_path: Path) -> None:
    step = cs.shell("echo x >> count; wc -l < count", cwd=tmp_path).with_cache(cs.cached(tmp_path / "cache"))
    assert [str(run(step)).strip() for _ in range(2)] == ["1", "1"]
