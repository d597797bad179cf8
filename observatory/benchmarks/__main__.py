"""Run rows, each in a fresh process, and print how they stand to their budgets."""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from observatory.benchmarks import contention, graphs, loops, memory, startup, waiting  # noqa: F401  (they register their rows)
from observatory.benchmarks.harness import ROWS, Line, machine

ROOT = Path(__file__).parents[2]
LIMIT = 300.0  # seconds for one row
HEADINGS = ("", "ours", "baseline", "unit", "ratio", "min", "max", "budget", "pass")
WIDTHS = (38, 10, 10, 16, 7, 7, 7, 22, 5)


def measured(name: str) -> list[Line]:
    """Measure a row in a process of its own."""
    command = [sys.executable, "-m", "observatory.benchmarks", "--here", name]
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return [Line(name, f"no end in {LIMIT:g} s", 0.0, passed=False)]
    if done.returncode:
        return [Line(name, "failed", 0.0, passed=False)]
    return [Line(**line) for line in json.loads(done.stdout.splitlines()[-1])]


def repeated(name: str, runs: int) -> list[list[Line]]:
    """Measure a row several times; return what was found for each of its lines."""
    found: dict[str, list[Line]] = {}
    for _ in range(runs):
        for line in measured(name):
            found.setdefault(line.name, []).append(line)
    return list(found.values())


def middle(found: list[Line]) -> Line:
    """Return the median of several runs of a line, by what its budget is about."""
    of = [line.ours if line.ratio is None else line.ratio for line in found]
    broken = [line for line in found if line.unit.startswith(("failed", "no end"))]
    return broken[0] if broken else found[of.index(sorted(of)[len(of) // 2])]


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def shown(line: Line) -> str:
    ratios = ["" if each is None else f"{each:.3f}" for each in (line.ratio, line.low, line.high)]
    passed = {None: "-", True: "yes", False: "NO"}[line.passed]
    cells = (line.name, number(line.ours), number(line.baseline), line.unit, *ratios, line.budget, passed)
    return aligned(cells)


def aligned(cells: tuple[str, ...]) -> str:
    left = (True, False, False, True, False, False, False, True, True)
    put = (
        cell.ljust(width) if to_left else cell.rjust(width)
        for cell, width, to_left in zip(cells, WIDTHS, left, strict=True)
    )
    return " ".join(put).rstrip()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m observatory.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"by default all: {', '.join(ROWS)}")
    parser.add_argument("--runs", type=int, default=1, help="measure each row so often; the median counts")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the lines there too")
    parser.add_argument("--here", metavar="ROW", help="measure one row in this process and print it as JSON")
    given = parser.parse_args()
    unknown = [name for name in given.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; the rows are: {', '.join(ROWS)}")
    return given


def main() -> int:
    given = parsed()
    if given.here:
        print(json.dumps([asdict(line) for line in asyncio.run(ROWS[given.here]())]))
        return 0
    print(f"{machine()}; ratio: our share of the baseline's speed, unless the budget is a time's")
    print(aligned(HEADINGS))
    lines = []
    for name in given.rows or ROWS:
        start = time.perf_counter()
        for found in repeated(name, given.runs):
            lines.append(middle(found))
            print(shown(lines[-1]), flush=True)
        print(f"{time.perf_counter() - start:.0f} s for {name}", file=sys.stderr)
    if given.json:
        record = {"schema": 1, "machine": machine(), "runs": given.runs, "lines": [asdict(line) for line in lines]}
        given.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    missed = [line.name for line in lines if line.passed is False]
    if missed:
        print(f"Over budget: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
