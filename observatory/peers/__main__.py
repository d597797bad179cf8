"""Install each engine in an environment of its own, give all the same work, and print how fast they were."""

import argparse
import json
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from observatory import readme
from observatory.benchmarks.harness import load, machine

HERE = Path(__file__).parent
ENVIRONMENTS = readme.ROOT / ".venv-peers"
LAST = readme.ROOT / "build" / "peers.json"
OURS = ("by_hand", "with_cascade")
ENGINES = ("langgraph", "burr", "pydantic_graph", "hamilton", "pipefunc", "dask", "prefect")
WORKS = ("heavy", "layered")
LIMIT = 900.0  # seconds for one work of one engine, and for installing one

Found = dict[str, Any]


@dataclass
class Result:
    """What is known of one engine; `failed` says what kept it from its work."""

    engine: str
    version: str = ""
    works: dict[str, Found] = field(default_factory=dict)
    failed: str = ""

    @property
    def title(self) -> str:
        return next((found["title"] for found in self.works.values()), self.engine)


# --- installing and running


def reason(output: str) -> str:
    """Return the line that says why, without addresses."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no output"]
    errors = [line for line in lines if re.match(r"(ERROR|\w*Error)\b", line)]
    return re.sub(r"\w+://\S+", "...", (errors or lines)[-1])


def installed(engine: str) -> Path:
    """Return the Python of the engine's environment, which is made if need be.

    Raises:
        RuntimeError: it cannot be installed.
    """
    wanted = HERE / f"requirements-{engine}.txt"
    environment = ENVIRONMENTS / f"{engine}-{sys.version_info[0]}.{sys.version_info[1]}"
    python, stamp = environment / "bin" / "python", environment / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return python
    commands = [
        [sys.executable, "-m", "venv", "--clear", str(environment)],
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(wanted)],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
        if done.returncode:
            raise RuntimeError(f"not installed: {reason(done.stderr or done.stdout)}")
    stamp.write_text(wanted.read_text())
    return python


def version(python: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def worked(python: Path, engine: str, work: str) -> Found:
    """Measure one work in a process of the engine's environment.

    Raises:
        RuntimeError: it failed, or gave a wrong result.
    """
    environment = {**os.environ, "HAMILTON_TELEMETRY_ENABLED": "false", "BURR_TELEMETRY_ENABLED": "false"}
    if engine in OURS:
        environment["PYTHONPATH"] = str(readme.ROOT / "src")
    command = [python, "-m", "observatory.peers.kit", engine, work]
    done = subprocess.run(
        command, cwd=readme.ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{work} broke: {reason(done.stderr)}")
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def tried(engine: str) -> Result:
    result = Result(engine)
    try:
        python = Path(sys.executable) if engine in OURS else installed(engine)
        for work in WORKS:
            result.works[work] = worked(python, engine, work)
        package = result.works["heavy"]["package"]
        result.version = version(python, package) if package else ""
    except subprocess.TimeoutExpired:
        result.failed = f"no end in {LIMIT:g} s"
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        result.failed = str(error)
    return result


# --- printing

COLUMNS = (("heavy", "run"), ("layered", "once"), ("layered", "run"))
FILLED = textwrap.TextWrapper(
    108, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False, break_long_words=False
)
HEADINGS = """\
                          heavy loop            layered graph,        layered graph,
                          run                   built and run once    run alone
engine          version       nodes/s   slower      nodes/s   slower      nodes/s   slower"""


def times(value: float) -> str:
    return f"{value:,.0f}x" if value >= 10 else f"{value:.2f}x"


def line(result: Result, ours: Result | None) -> str:
    text = f"{result.title:<16}{result.version:<10}"
    if result.failed:
        return f"{text}{result.failed}"
    for work, measure in COLUMNS:
        rate = result.works[work][measure]
        slower = times(ours.works[work][measure] / rate) if ours and not ours.failed else ""
        star = "*" if result.works[work]["note"] else " "
        text += f"{rate:>11,.0f}{star}{slower:>9} "
    return text.rstrip()


def told(result: Result) -> list[str]:
    """Say how an engine did its work, where that is documented, and what it did besides."""
    said = []
    for title, work in (("heavy loop", "heavy"), ("graph", "layered")):
        found = result.works[work]
        note = f" * {found['note']}." if found["note"] else ""
        page = f" ({found['page']})" if found["page"] else ""
        said.append(f"{title}: {found['idiom']}{page}.{note}")
    more = result.works["heavy"]["more"]
    if more:
        said.append(f"does more: {more}.")
    return [result.title, *(line for each in said for line in FILLED.wrap(each))]


def report(engines: list[str]) -> tuple[list[Result], str]:
    printed: list[str] = []

    def say(text: str) -> None:
        print(text, flush=True)
        printed.append(text)

    say(f"{machine()}, {load()}")
    say("slower: how many times as long as Cascade; *: not the whole work or not the same, see below")
    say("")
    say(HEADINGS)
    results: dict[str, Result] = {}
    for engine in (*OURS, *engines):
        results[engine] = tried(engine)
        if engine == "with_cascade":
            say(line(results["by_hand"], results[engine]))
        if engine != "by_hand":
            say(line(results[engine], results.get("with_cascade")))
    say("")
    for result in results.values():
        if not result.failed:
            say("\n".join(told(result)))
    return list(results.values()), "\n".join(printed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m observatory.peers", description=__doc__)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"by default all: {', '.join(ENGINES)}")
    parser.add_argument("--json", metavar="FILE", type=Path, default=None, help=f"write the figures there; all: {LAST}")
    parser.add_argument("--readme", action="store_true", help="measure nothing; put the last full table in the READMEs")
    given = parser.parse_args()
    unknown = [name for name in given.engines if name not in ENGINES]
    if unknown:
        parser.error(f"no engine is called {', '.join(unknown)}; the engines are: {', '.join(ENGINES)}")
    if given.readme:
        readme.put("make bench-peers", json.loads((given.json or LAST).read_text(encoding="utf-8"))["printed"])
        return 0
    results, printed = report(given.engines or list(ENGINES))
    file = given.json or (None if given.engines else LAST)
    if file:
        found = [
            {"engine": each.engine, "version": each.version, "failed": each.failed, "works": each.works}
            for each in results
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        record = {"schema": 1, "machine": machine(), "engines": found, "printed": printed}
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 1 if any(each.failed for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
