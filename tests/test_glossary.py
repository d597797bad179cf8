"""docs/glossary.md has a line for each class of runtime and compiler, in its folder, and no other line.

And docs/design.md names files that are there.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator

from tests.helpers import PACKAGE, ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
ROOMS = ("runtime", "compiler")


def classes() -> Iterator[tuple[str, str]]:
    """Give each class, as (folder, name)."""
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            folder = path.parent.relative_to(PACKAGE).as_posix()
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    yield folder, node.name


def lines() -> Iterator[tuple[str, str]]:
    """Give each line of the glossary, as (heading, name)."""
    folder = ""
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            folder = line[3:]
        elif found := re.match(r"- `(\w+)` - \S", line):
            yield folder, found[1]
        else:
            assert not line.startswith("-"), f"not of the form - `Class` - sentence: {line}"


def test_each_class_has_a_line_and_each_line_has_a_class() -> None:
    assert sorted(lines()) == sorted(classes())


def test_no_two_classes_share_a_name() -> None:
    assert [name for name, count in Counter(name for _, name in classes()).items() if count > 1] == []


def test_each_folder_has_a_heading() -> None:
    headings = [line[3:] for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    assert headings == list(dict.fromkeys(headings))
    doors = (door for room in ROOMS for door in (PACKAGE / room).rglob("__init__.py"))
    assert set(headings) == {door.parent.relative_to(PACKAGE).as_posix() for door in doors}


def test_the_design_names_files_that_are_there_in_at_most_twelve_steps() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)`", text)
    assert [path for path in named if not (PACKAGE / path).is_file()] == []
    for life in ("run", "jump"):
        steps = re.findall(
            r"^(\d+)\. (.*)", text.partition(f"## The life of a {life}\n")[2].partition("\n## ")[0], re.M
        )
        assert [int(number) for number, _ in steps] == [*range(1, len(steps) + 1)]
        assert 0 < len(steps) <= 12
        assert all(re.match(r"`[\w/]+\.py`", step) for _, step in steps)
