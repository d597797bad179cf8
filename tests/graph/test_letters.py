"""Drawings in letters: what lines lead from and to, read off the letters, is what the graph has."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

import cascade as cs
from cascade.app.programs import nest_for
from cascade.graph.draw.picture import picture_of
from cascade.graph.draw.terminal import to_letters
from tests.graph.test_draw import random_nests

UP, DOWN, LEFT, RIGHT = (-1, 0), (1, 0), (0, -1), (0, 1)
WAYS = {
    "│": (UP, DOWN),
    "┆": (UP, DOWN),
    "─": (LEFT, RIGHT),
    "┄": (LEFT, RIGHT),
    "┘": (UP, LEFT),
    "┐": (LEFT, DOWN),
    "┤": (UP, LEFT, DOWN),
    "└": (UP, RIGHT),
    "┌": (RIGHT, DOWN),
    "├": (UP, RIGHT, DOWN),
    "┴": (UP, LEFT, RIGHT),
    "┬": (DOWN, LEFT, RIGHT),
    "┼": (UP, DOWN, LEFT, RIGHT),
}


@cs.task
def step(*args: Any, **kwargs: Any) -> Any:
    return args


def letters(target: Any, width: int = 1000) -> str | None:
    return to_letters(picture_of(nest_for(target, "a test")), width)


def edges_of(text: str) -> set[tuple[str, str]]:
    """Follow each arrow of a drawing upwards, past what crosses it, to the boxes that it comes from."""
    rows = text.split("\n")

    def at(row: int, column: int) -> str:
        return rows[row][column : column + 1]

    def name_in(row: int, column: int) -> str | None:
        """Return the name in a box around this place."""
        left, right = rows[row].rfind("│", 0, column + 1), rows[row].find("│", column)
        name = rows[row][left + 1 : right].strip() if 0 <= left < right else ""
        return name if re.fullmatch(r"t\d+|▢ list", name) else None

    found: set[tuple[str, str]] = set()
    for bottom, line in enumerate(rows):
        for column in (each.start() for each in re.finditer("▼", line)):
            target = name_in(bottom + 2, column)
            assert target is not None
            seen: set[tuple[int, int, tuple[int, int]]] = set()
            paths = [(bottom - 1, column, UP)]
            while paths:
                row, place, way = paths.pop()
                if (row, place, way) in seen:
                    continue
                seen.add((row, place, way))
                letter = at(row, place)
                source = name_in(row - 1, place) if way == UP and letter == "┬" else None
                if source is not None:
                    found.add((source, target))
                    continue
                back = (-way[0], -way[1])
                if way in (LEFT, RIGHT) and letter in "│┆":
                    onwards = [way]  # it passes under a line of another source
                else:
                    assert back in WAYS[letter], f"a line breaks off at {row}, {place}:\n{text}"
                    onwards = [each for each in WAYS[letter] if each != back]
                paths += [(row + down, place + right, (down, right)) for down, right in onwards if down <= 0]
    return found


@pytest.mark.parametrize("seed", range(100))
def test_the_lines_of_a_drawing_are_those_of_the_graph(seed: int) -> None:
    rng = random.Random(seed)
    nodes: list[Any] = []
    edges = set()
    for number in range(rng.randint(2, 14)):
        read = rng.sample(nodes, min(len(nodes), rng.randint(0, 3)))
        node = step(*read).named(f"t{number}")
        edges |= {(other.label, f"t{number}") for other in read}
        if nodes and rng.random() < 0.2:
            before = rng.choice(nodes)
            node.after(before)
            edges.add((before.label, f"t{number}"))
        nodes.append(node)
        edges.add((f"t{number}", "▢ list"))
    text = letters(nodes)
    assert text is not None
    assert edges_of(text) == edges


def test_every_shape_of_random_programs_is_in_their_drawing() -> None:
    drawn = 0
    for nest in random_nests():
        picture = picture_of(nest)
        text = to_letters(picture, 200)
        if text is not None:
            drawn += 1
            assert max(map(len, text.split("\n"))) <= 203  # names of arguments may stand out
            assert all(shape.label[:20] in text for shape in picture.shapes if shape.kind != "end")
    assert drawn > 100


def test_loops_say_where_they_lead() -> None:
    first, second = step(1).named("first"), step(2).named("second")
    ways = cs.select_jump({"again": first, "on": second, "exit": None})
    cs.bind(first, ways)
    cs.bind(second, ways)
    text = letters([first, second])
    assert text is not None
    assert "│ ↻ again " in text
    assert "│ ↻ on → second │" in text
    assert "│ ■ exit " in text


def test_what_is_wide_on_a_terminal_is_counted_so() -> None:
    text = letters(step(step().named("\u52a0\u8f7d")))
    assert text is not None
    assert "│ \u52a0\u8f7d │" in text


def test_what_does_not_fit_is_not_drawn() -> None:
    assert letters([step(n) for n in range(10)], 40) is None
    assert letters([step(n) for n in range(100)], 10_000) is None
