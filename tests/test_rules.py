"""Every test that docs/rules.md names for a rule is there."""

import ast
import functools
import re

from tests.helpers import ROOT

RULES = ROOT / "docs" / "rules.md"
SECTIONS = [
    *("1. Declaring", "2. Running", "3. Loops", "4. Skipping"),
    *("5. Policies (what is built)", "6. Events", "7. Errors and endings"),
    "8. Tools (what is built)",
    "9. Providers",
    "10. Runs that last (what is built)",
    "11. Runs that are steered (what is built)",
    "12. Tasks that stream (what is built)",
    "13. Channels",
    "14. Budgets",
    "15. The web page (what is built)",
]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::([\w:.]+)`")


@functools.cache
def names_in(path: str) -> frozenset[str]:
    """Return the functions of a test module, those of a class as `Class::function`."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name, body=body):
                functions = [each for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
                found |= {f"{name}::{each.name}" for each in functions}
    return frozenset(found)


def rows() -> list[tuple[str, str]]:
    """Return (rule, what holds it) for each row of each table."""
    lines = RULES.read_text(encoding="utf-8").splitlines()
    cells = [line.strip("|").split(" | ") for line in lines if line.startswith("| ") and line != "| rule | test |"]
    assert all(len(row) == 2 for row in cells), [row for row in cells if len(row) != 2]
    return [(rule.strip(), test.strip()) for rule, test in cells]


def test_every_test_that_is_named_exists() -> None:
    named = {(path, name.replace(".", "::")) for path, name in NAMED.findall(RULES.read_text(encoding="utf-8"))}
    assert named
    assert sorted(f"{path}::{name}" for path, name in named if not (ROOT / path).exists()) == []
    assert sorted(f"{path}::{name}" for path, name in named if name not in names_in(path)) == []


def test_every_rule_has_a_test_or_is_not_built() -> None:
    assert [rule for rule, test in rows() if not NAMED.search(test) and not test.startswith("not built")] == []


def test_each_part_of_the_contract_has_its_section() -> None:
    assert re.findall(r"^## (\d.+)$", RULES.read_text(encoding="utf-8"), re.M) == SECTIONS
