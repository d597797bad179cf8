"""Print the house in numbers; with --check, fail where a figure misses its target."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.house.entered import entered
from tools.house.report import report
from tools.house.source import House

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print all tables, and return what to exit with."""
    parser = argparse.ArgumentParser(prog="house", description=__doc__)
    parser.add_argument("--src", type=Path, default=ROOT / "src", help="the folder that holds `cascade`, of any commit")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args(arguments)
    src = options.src.resolve()
    if not (src / "cascade").is_dir():
        parser.error(f"there is no folder `cascade` in {src}")
    text, judged = report(House(src / "cascade"), entered(src))
    print(text)
    return int(options.check and not all(each.is_met for each in judged))


if __name__ == "__main__":
    sys.exit(main())
