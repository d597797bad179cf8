"""What the benchmarks rest on: how pairs become a verdict, the graph that is drawn, and the READMEs' tables."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from observatory import readme, work
from observatory.benchmarks.harness import Line, Pairs, calls, duration, figure, pace, speed, wall_time
from tests.helpers import ROOT


def test_a_ratio_is_the_median_of_the_ratios_of_pairs() -> None:
    found = Pairs(ours=[1.0, 2.0, 4.0], baseline=[1.0, 1.0, 3.0])
    line = speed("x", found, 1, "s", least=0.75)
    assert (line.ratio, line.low, line.high, line.passed) == (0.75, 0.5, 1.0, True)
    assert speed("x", found, 1, "s", least=0.76).passed is False
    assert speed("x", found, 1, "s").passed is None


def test_a_budget_of_time_is_missed_from_above() -> None:
    found = Pairs(ours=[1.2, 1.2], baseline=[1.0, 1.0])
    assert wall_time("x", found, "s", 1.15).passed is False
    assert wall_time("x", found, "s", 1.25).passed is True
    assert figure("x", 9.0, "MB", most=10).passed is True
    assert figure("x", 11.0, "MB", most=10).passed is False


def test_a_duration_is_judged_at_the_pace_of_the_machine_that_its_budget_is_for() -> None:
    line = duration("x", [2e-6, 4e-6, 9e-6], [1.0, 2.0, 3.0], "us", most=2.0)
    assert (line.ours, line.judged, line.budget, line.passed) == (4.0, 2.0, "<= 2 us (2)", True)
    assert duration("x", [2e-6, 4e-6, 9e-6], [1.0, 1.9, 3.0], "us", most=2.0).passed is False
    assert pace() > 0


def twice(x: int, times: int = 2) -> int:
    return x * times


async def outer(x: int) -> int:
    await asyncio.sleep(0)
    return await asyncio.to_thread(twice, twice(twice(x)))


def test_calls_are_counted_in_whatever_thread_they_happen() -> None:
    codes = twice.__code__, outer.__code__

    async def count() -> list[int]:
        return await calls(lambda: outer(1), twice, outer)

    assert asyncio.run(count()) == [3, 1]
    assert (twice.__code__, outer.__code__) == codes
    assert asyncio.run(outer(1)) == 8


def test_the_layered_graph_is_the_same_each_time_and_all_of_it_is_needed() -> None:
    graph = work.layered(1_000, layers=10)
    assert graph == work.layered(1_000, layers=10)
    assert {len(inputs) for inputs in graph[:100]} == {0}
    assert {len(inputs) for inputs in graph[100:]} == {2, 3}
    needed, left = set[int](), work.sinks(graph)
    while left:
        node = left.pop()
        if node not in needed:
            needed.add(node)
            left.extend(graph[node])
    assert needed == set(range(1_000))


def test_a_table_takes_the_place_of_the_one_before_and_the_readmes_have_its_lines(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    block = "<!-- output of: {} -->\n```\nold\n```\n<!-- end of output -->\n"
    page = tmp_path / readme.FIGURES
    page.write_text(f"above\n{block.format('make bench')}between\n{block.format('make x')}below\n", encoding="utf-8")
    for name in readme.READMES:
        (tmp_path / name).write_text(f"above\n{readme.BEGIN}old\n{readme.END}\nbelow\n", encoding="utf-8")
    readme.put("make x", "new\\1\n", tmp_path)
    text = page.read_text(encoding="utf-8")
    new = block.format("make x").replace("old", "new\\1")
    assert text == f"above\n{block.format('make bench')}between\n{new}below\n"
    row = "one node, warm            12.5    0.333 us      0.030  0.018  0.048 <= 10 us (8.58)   pass"
    readme.put("make bench", f"CPython 3, load 0.7\n{row}\nanother row  1  2 us  3\n", tmp_path)
    for name in readme.READMES:
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert re.search(r"^a run of one node +12.5 +0.333  us +0.03$", text, re.M)
        assert "another" not in text
    with pytest.raises(ValueError, match="0 blocks"):
        readme.put("make y", "new", tmp_path)


def test_the_readmes_have_the_lines_that_the_page_of_figures_gives() -> None:
    page = (ROOT / readme.FIGURES).read_text(encoding="utf-8")
    assert all(page.count(f"<!-- output of: {command} -->") == 1 for command in ("make bench", "make bench-peers"))
    lines = readme.brief(page)
    assert len(lines.splitlines()) <= 12
    assert all(words in lines for words in readme.ROWS.values())
    for name in readme.READMES:
        assert f"{readme.BEGIN}```\n{lines}\n```\n{readme.END}" in (ROOT / name).read_text(encoding="utf-8")


def test_a_row_runs_in_a_process_of_its_own_and_the_exit_code_is_its_verdict(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "observatory.benchmarks", "flow-fresh", "--processes", "1", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    record = json.loads(file.read_text(encoding="utf-8"))
    lines = [Line(**line) for line in record["lines"]]
    assert [line.name for line in lines] == ["flow of 22 nodes, built afresh and run"]
    assert lines[0].ours > 0
    assert done.returncode == (0 if lines[0].passed else 1)
    assert record["printed"].strip() == done.stdout.strip()
