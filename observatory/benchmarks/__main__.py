"""Run rows, each in fresh processes, and print how they stand to their budgets."""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from observatory import readme
from observatory.benchmarks import (
    channels,
    clusters,
    contention,
    graphs,
    latency,
    layered,
    loops,
    maps,
    memory,
    observed,
    paths,
    policies,
    prices,
    progress,
    queues,
    recorded,
    servers,
    startup,
    steering,
    streams,
    traced,
    virtual,
    waiting,
    watched,
)
from observatory.benchmarks.harness import REFERENCE, ROWS, Line, load, machine

IN_ORDER = (
    loops,
    observed,
    watched,
    traced,
    progress,
    graphs,
    layered,
    waiting,
    maps,
    latency,
    steering,
    streams,
    channels,
    virtual,
    clusters,
    contention,
    policies,
    prices,
    recorded,
    servers,
    queues,
    startup,
    memory,
    paths,
)
MODULES = [each.__name__ for each in IN_ORDER]
NAMES = sorted(ROWS, key=lambda name: MODULES.index(ROWS[name].measure.__module__))
LAST = readme.ROOT / "build" / "benchmarks.json"
LIMIT = 600.0  # seconds for one row in one process
HEADINGS = ("work", "ours", "baseline", "unit", "ratio", "min", "max", "budget", "verdict")
WIDTHS = (42, 8, 8, 15, 6, 6, 6, 20, 7)
TO_LEFT = (True, False, False, True, False, False, False, True, True)
VERDICTS = {None: "-", True: "pass", False: "FAIL"}


def measured(name: str) -> list[Line]:
    """Measure a row in a process of its own."""
    command = [sys.executable, "-m", "observatory.benchmarks", "--here", name]
    try:
        done = subprocess.run(command, cwd=readme.ROOT, stdout=subprocess.PIPE, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return [Line(name, f"no end in {LIMIT:g} s", 0.0, passed=False)]
    if done.returncode:
        return [Line(name, "broke", 0.0, passed=False)]
    return [Line(**line) for line in json.loads(done.stdout.splitlines()[-1])]


def repeated(name: str, processes: int) -> list[Line]:
    """Measure a row in so many processes, one after the other; return the median of each of its lines."""
    found: dict[str, list[Line]] = {}
    for _ in range(processes):
        for line in measured(name):
            found.setdefault(line.name, []).append(line)
    broken = [each for lines in found.values() for each in lines if each.unit.startswith(("broke", "no end"))]
    return broken[:1] or [middle(lines) for lines in found.values()]


def middle(found: list[Line]) -> Line:
    """Return the median line, with the extremes of all."""
    found = sorted(found, key=lambda line: line.judged)
    lows = [line.low for line in found if line.low is not None]
    highs = [line.high for line in found if line.high is not None]
    return replace(found[len(found) // 2], low=min(lows, default=None), high=max(highs, default=None))


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def shown(line: Line) -> str:
    ratios = ["" if each is None else f"{each:.3f}" for each in (line.ratio, line.low, line.high)]
    cells = (line.name, number(line.ours), number(line.baseline), line.unit, *ratios, line.budget)
    return aligned((*cells, VERDICTS[line.passed]))


def aligned(cells: tuple[str, ...]) -> str:
    put = (
        cell.ljust(width) if to_left else cell.rjust(width)
        for cell, width, to_left in zip(cells, WIDTHS, TO_LEFT, strict=True)
    )
    return " ".join(put).rstrip()


def report(names: list[str], processes: int | None) -> tuple[list[Line], str]:
    """Measure the rows, printing each as it is known; return the lines, and what was printed."""
    lines: list[Line] = []
    printed: list[str] = []

    def say(text: str) -> None:
        print(text, flush=True)
        printed.append(text)

    say(f"{machine()}, {load()}")
    say("ratio: our share of the baseline's speed (where the budget is <= 1.15, our share of its time)")
    say(f"a budget in time is for {REFERENCE * 1e9:.0f} ns a call by hand; in brackets, our figure at that pace")
    say("")
    say(aligned(HEADINGS))
    for name in names:
        start = time.perf_counter()
        for line in repeated(name, processes or ROWS[name].processes):
            lines.append(line)
            say(shown(line))
        print(f"{time.perf_counter() - start:.0f} s for {name}", file=sys.stderr)
    missed = sum(line.passed is False for line in lines)
    budgeted = sum(line.passed is not None for line in lines)
    say("")
    say(f"{budgeted - missed} of {budgeted} budgets hold")
    return lines, "\n".join(printed)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m observatory.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"by default all: {', '.join(NAMES)}")
    parser.add_argument("--processes", type=int, metavar="N", help="measure each row in N processes; the median counts")
    parser.add_argument("--json", metavar="FILE", type=Path, default=None, help=f"write the lines there; all: {LAST}")
    parser.add_argument("--readme", action="store_true", help="measure nothing; put the last full table in the READMEs")
    parser.add_argument("--here", metavar="ROW", help="measure one row in this process and print it as JSON")
    given = parser.parse_args()
    unknown = [name for name in (*given.rows, *([given.here] if given.here else ())) if name not in ROWS]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; the rows are: {', '.join(NAMES)}")
    return given


def main() -> int:
    given = parsed()
    if given.here:
        print(json.dumps([asdict(line) for line in asyncio.run(ROWS[given.here].measure())]))
        return 0
    if given.readme:
        readme.put("make bench", json.loads((given.json or LAST).read_text(encoding="utf-8"))["printed"])
        return 0
    lines, printed = report(given.rows or NAMES, given.processes)
    file = given.json or (None if given.rows else LAST)
    if file:
        record = {"schema": 2, "machine": machine(), "lines": [asdict(line) for line in lines], "printed": printed}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 1 if any(line.passed is False for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
