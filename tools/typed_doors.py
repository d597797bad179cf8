"""See whether all that users can reach has types: what the public doors export, and what that in turn shows.

`pyright --verifytypes` looks at every module of a package. So it is given a package that consists of the public names
alone; of Cascade's own rooms it then looks at what these names lead to.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

DOORS = (
    "cascade",
    "cascade.adapters.caching",
    "cascade.adapters.executors.local",
    "cascade.adapters.solvers.csp",
    "cascade.adapters.solvers.native",
    "cascade.errors",
    "cascade.runtime",
    "cascade.runtime.events",
    "cascade.spec.blueprint",
    "cascade.spec.protocols",
    "cascade.testing",
)
ROOT = Path(__file__).parents[1]


def write_package(folder: Path, doors: Sequence[str]) -> None:
    """Write a typed package that exports each public name under a name of its own."""
    lines, names = [], []
    for door in doors:
        for name in importlib.import_module(door).__all__:
            names.append(f"{door.replace('.', '_')}__{name}")
            lines.append(f"from {door} import {name} as {names[-1]}")
    folder.mkdir()
    (folder / "py.typed").touch()
    (folder / "__init__.py").write_text("\n".join([*lines, f"__all__ = {names!r}", ""]), encoding="utf-8")


def missing_types(doors: Sequence[str] = DOORS) -> tuple[list[str], int]:
    """Return what has no certain type, as lines to print, and how many names were looked at."""
    with tempfile.TemporaryDirectory() as folder:
        write_package(Path(folder, "cascade_doors"), doors)
        path = os.pathsep.join([folder, str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-m", "pyright", "--verifytypes", "cascade_doors", "--outputjson"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if not done.stdout.startswith("{"):
        raise SystemExit(f"pyright did not answer:\n{done.stdout}{done.stderr}")
    report = json.loads(done.stdout)["typeCompleteness"]
    lines = []
    for symbol in report["symbols"]:
        if not symbol["isTypeKnown"]:
            for found in symbol["diagnostics"] or [{"message": "its type is not known"}]:
                place = f"{found['file']}:{found['range']['start']['line'] + 1}: " if "range" in found else ""
                lines.append(f"{place}{symbol['name']}: {found['message']}")
    return lines, len(report["symbols"])


if __name__ == "__main__":
    found, count = missing_types()
    print(*found, sep="\n", end="\n" if found else "")
    if found or count < 500:
        sys.exit(f"{len(found)} of {count} names that users can reach have no certain type")
    print(f"Success: all {count} names that users can reach have types")
