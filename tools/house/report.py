"""Lay out the figures of a house as tables, and hold those that have a target to it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tools.house.calls import Calls
from tools.house.graphs import circles, longest_chain, only
from tools.house.rooms import MOST_LINES, MOST_PARAMETERS, Room, length, middle, share
from tools.house.source import House

ORDER = ("spec", "graph", "adapters", "providers", "compiler", "runtime", "app", "command", "testing")
INSIDE = ("compiler", "runtime")
"""The rooms whose folders are looked at: the engine."""

Entered = Mapping[str, Sequence[str]] | str


class Target(NamedTuple):
    """A figure, and the most that it may be; no figure where it could not be had."""

    name: str
    figure: float | None
    most: int

    @property
    def is_met(self) -> bool:
        """Whether there is a figure, and it is not too large."""
        return self.figure is not None and self.figure <= self.most


class Web(NamedTuple):
    """Who leads to whom in a house: by imports, and by calls that no import shows as well."""

    imports: dict[str, set[str]]
    typed: dict[str, set[str]]
    by_settings: dict[str, set[str]]
    by_records: dict[str, set[str]]


def web(house: House, calls: Calls) -> Web:
    """Find out who leads to whom."""
    imports, handed = house.imports(), calls.set_ones()
    set_ones, all_ones = calls.edges(handed), calls.edges(handed + calls.recorded())
    return Web(
        imports,
        house.imports(types=True),
        {name: each | set_ones.get(name, set()) for name, each in imports.items()},
        {name: each | all_ones.get(name, set()) for name, each in imports.items()},
    )


def targets(house: House, found: Web, entered: Entered) -> list[Target]:
    """Compare what has a target with it."""
    rooms = {name: Room(house.within(name)) for name in INSIDE}
    groups = circles(found.by_records)
    scattered = [group for group in groups if len({house.modules[name].folder for name in group}) > 1]
    sizes = {name: len(modules) for name, modules, _ in folders_of(house)}
    flat = [name for name in sizes if is_flat(house, name)]
    before = "modules entered before the first task"
    return [
        Target("longest chain of imports", len(longest_chain(found.imports)), 18),
        Target("modules in the largest circle of calls", max(map(len, groups), default=0), 8),
        Target("circles of calls that go through several folders", len(scattered), 0),
        *(
            [Target(before, None, 25)]
            if isinstance(entered, str)
            else [Target(f"{before}, {way}", len(files), 25) for way, files in entered.items()]
        ),
        Target("lines of compiler and runtime", sum(room.lines for room in rooms.values()), 11_500),
        *(Target(f"parameters that are Any in {name}, %", round(room.any_share, 1), 6) for name, room in rooms.items()),
        Target("modules in a folder there", max((sizes[name] for name in sizes.keys() - flat), default=0), 8),
        Target(
            "modules in one of the two, where it has no folders", max((sizes[name] for name in flat), default=0), 12
        ),
    ]


def folders_of(house: House) -> list[tuple[str, list[str], int]]:
    """List the folders of compiler and runtime: the short names of their modules, and the lines of these."""
    found = []
    for room in INSIDE:
        within = house.within(room)
        for folder in dict.fromkeys(each.folder for each in within):
            here = [each for each in within if each.folder == folder and not each.is_package]
            found.append((folder, [each.name.rpartition(".")[2] for each in here], sum(each.lines for each in here)))
    return found


def is_flat(house: House, folder: str) -> bool:
    """Whether this is a room that has no folders."""
    return folder.count(".") == 1 and {each.folder for each in house.within(folder.partition(".")[2])} == {folder}


def report(house: House, entered: Entered) -> tuple[str, list[Target]]:
    """Return all tables as text, and the figures that have a target."""
    calls = Calls(house)
    found = web(house, calls)
    judged = targets(house, found, entered)
    parts = [
        *about_rooms(house),
        *about_folders(house, found),
        *about_imports(house, found),
        *about_calls(calls, found),
        *about_runs(entered),
        *about_targets(judged),
    ]
    return "\n\n".join(parts), judged


def about_rooms(house: House) -> Iterator[str]:
    """Show the sizes of each room, and what is too long in it."""
    names = sorted(house.rooms(), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    rooms = {name: Room(house.within(name)) for name in names}
    in_rooms = {each.name for room in rooms.values() for each in room.modules}
    rooms["(front)"] = Room([each for name, each in house.modules.items() if name not in in_rooms])
    rooms["all"] = Room(list(house.modules.values()))
    titles = (
        "room",
        "modules",
        "lines",
        "module median/p90/max",
        "function median/p95/max",
        f"over {MOST_LINES} lines",
        f"over {MOST_PARAMETERS} params",
        "classes",
        "public/private",
        "comments, docstring lines per 100 of code",
        "params Any",
    )
    yield "ROOMS\n" + table(titles, [row(name, room) for name, room in rooms.items()])
    yield block(f"Functions over {MOST_LINES} lines", rooms["all"].long_functions)
    classes = Counter(
        {
            f"{name}.{node.name}": length(node)
            for name, module in house.modules.items()
            for node in module.nodes
            if isinstance(node, ast.ClassDef)
        }
    )
    yield block("Longest classes", most(classes))


def row(name: str, room: Room) -> list[str]:
    """Lay out one room."""
    sizes, lengths = room.sizes, room.lengths
    some, of_all = room.any_parameters
    comments, docs = room.words
    return [
        name,
        f"{len(sizes)}",
        f"{room.lines:,}",
        f"{middle(sizes)} / {share(sizes, 0.9)} / {max(sizes, default=0)}",
        f"{middle(lengths)} / {share(lengths, 0.95)} / {max(lengths, default=0)}",
        f"{sum(lines > MOST_LINES for lines in lengths)}",
        f"{room.wide}",
        f"{room.classes}",
        f"{room.named(private=False)} / {room.named(private=True)}",
        f"{comments:.1f}, {docs:.1f}",
        f"{room.any_share:.0f} % ({some} of {of_all})",
    ]


def about_folders(house: House, found: Web) -> Iterator[str]:
    """Show the folders of the engine, and the floors of each room."""
    rows = [[name, f"{len(names)}", f"{lines:,}", " ".join(names)] for name, names, lines in folders_of(house)]
    yield "FOLDERS of compiler and runtime\n" + table(("folder", "modules", "lines", "names"), rows)
    doors = {name for name, each in house.modules.items() if each.is_package}
    floors = []
    for room in house.rooms():
        inside = only(found.imports, [each.name for each in house.within(room)])
        floors.append([room, f"{len(longest_chain(inside, uncounted=doors))}"])
    yield "FLOORS: modules on the longest way in a room, each __init__ not counted\n" + table(
        ("room", "floors"), floors
    )


def about_imports(house: House, found: Web) -> Iterator[str]:
    """Show the longest chain of imports, circles, and what stands out."""
    chain = longest_chain(found.imports)
    yield block(f"LONGEST CHAIN OF IMPORTS: {len(chain)} modules", [" > ".join(chain)])
    yield block("CIRCLES OF IMPORTS", [" ".join(group) for group in circles(found.imports)])
    yield block("Circles of imports, those for types too", [" ".join(group) for group in circles(found.typed)])
    readers = Counter(target for each in found.imports.values() for target in each)
    yield block("Most imported", most(readers))
    yield block("Import most", most(Counter({name: len(each) for name, each in found.imports.items()})))


def about_calls(calls: Calls, found: Web) -> Iterator[str]:
    """Show what is set from elsewhere, and the circles that calls by way of it make."""
    yield block("ATTRIBUTES SET FROM ANOTHER MODULE", [str(each) for each in calls.settings])
    for title, graph in (
        ("CIRCLES OF CALLS, by attributes set from another module", found.by_settings),
        ("CIRCLES OF CALLS, by functions given to a new object too", found.by_records),
    ):
        yield block(title, [f"{len(group)} modules: {' '.join(group)}" for group in circles(graph)])


def about_runs(entered: Entered) -> Iterator[str]:
    """Show the modules that a run enters before its first task."""
    title = "MODULES ENTERED BEFORE THE FIRST TASK of add(one(), one())"
    if isinstance(entered, str):
        yield block(title, [f"not measured: {entered}"])
    else:
        yield block(title, [f"{way}: {len(files)} modules: {' '.join(files)}" for way, files in entered.items()])


def about_targets(judged: Sequence[Target]) -> Iterator[str]:
    """Show each figure that has a target beside it."""
    rows = []
    for name, figure, at_most in judged:
        verdict = "" if Target(name, figure, at_most).is_met else "missed"
        rows.append([name, "?" if figure is None else f"{figure:,}", f"<= {at_most:,}", verdict])
    yield "TARGETS\n" + table(("figure", "now", "target", "verdict"), rows)


def most(found: Counter[str]) -> list[str]:
    """Show the five largest, in a line."""
    return [", ".join(f"{name} {count}" for name, count in found.most_common(5))]


def block(title: str, lines: Sequence[str]) -> str:
    """Lay out lines below a title."""
    return "\n".join([title, *(f"  {line}" for line in lines or ["none"])])


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns."""
    widths = [max(len(each[i]) for each in (titles, *rows)) for i in range(len(titles))]
    widths[-1] = len(titles[-1])
    lines = [" | ".join(cell.ljust(n) for cell, n in zip(each, widths, strict=True)) for each in (titles, *rows)]
    rule = "|" + "|".join("-" * (n + 2) for n in widths) + "|"
    return "\n".join([f"| {lines[0]} |", rule, *(f"| {line} |" for line in lines[1:])])
