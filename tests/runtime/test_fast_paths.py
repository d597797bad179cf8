"""Fast paths: without any one of them, and without all, programs mean the same; and docs/fast-paths.md lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from cascade.runtime.shortcuts import FAST_PATHS, FastPath, off, without
from tests.helpers import PACKAGE, ROOT
from tests.oracle import TooLong, Unspecified
from tests.strategies import Recipe, build, fixed_recipes, nested_recipes
from tests.test_agreement import EXAMPLES, compare, expected_of, observe
from tests.workflows import Tier

PAGE = (ROOT / "docs" / "fast-paths.md").read_text(encoding="utf-8")
EACH: list[tuple[FastPath, ...]] = [*((name,) for name in FAST_PATHS), FAST_PATHS]
PROGRAMS = EXAMPLES or 4


def programs(seed: int) -> Iterator[Recipe]:
    """Programs, loops within loops among them."""
    yield from fixed_recipes(PROGRAMS, seed, handing=True)
    yield from nested_recipes(PROGRAMS // 2, seed)


@pytest.mark.timeout(0 if EXAMPLES else 60)
@pytest.mark.parametrize("names", EACH, ids=lambda names: names[0] if len(names) == 1 else "all")
def test_without_it_programs_mean_the_same(names: tuple[FastPath, ...]) -> None:
    for at, recipe in enumerate(programs(seed=EACH.index(names))):
        try:
            report, bodies = expected_of(recipe)
        except (Unspecified, TooLong):
            continue
        tier: Tier = "compile" if at % 2 else "auto"
        for watched in (False, True):
            built = build(recipe)
            try:
                with without(*names):
                    compare(report, bodies, observe(built, tier, watched=watched), watched=watched)
            except AssertionError as error:
                error.add_note(f"without {names}, tier {tier}, watched {watched}: {recipe}")
                raise


def test_each_is_taken_again_afterwards() -> None:
    with without("comprehensions"):
        with without("comprehensions", "pieces"):
            assert off == {"comprehensions", "pieces"}
        assert off == {"comprehensions"}
    assert not off


def test_each_has_its_line_its_switch_and_its_row() -> None:
    assert re.findall(r"^\| `([\w ]+)` \|", PAGE, re.MULTILINE) == list(FAST_PATHS)
    code = [path.read_text(encoding="utf-8") for path in (PACKAGE / "runtime").rglob("*.py")]
    asked = "".join(code)
    assert [n for n in FAST_PATHS if len(re.findall(f'"{n}" (?:not )?in off', asked)) != 1] == []
    rows = (ROOT / "observatory" / "benchmarks" / "paths.py").read_text(encoding="utf-8")
    assert re.findall(r'^path\(\s*"([\w ]+)"', rows, re.MULTILINE) == list(FAST_PATHS)


def test_the_files_and_tests_that_the_page_names_exist() -> None:
    for path in re.findall(r"`((?:src|tests)/[\w/]+\.py)(?:::\w+)?`", PAGE):
        assert (ROOT / path).is_file(), path
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE):
        assert re.search(rf"def {name}\b", (ROOT / path).read_text(encoding="utf-8")), name
