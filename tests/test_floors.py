"""The rooms of the package stand on floors, and imports only look down (CONTRIBUTING.md draws them).

Every import counts, at any depth: inside functions, under TYPE_CHECKING, relative ones, and those by name.
"""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers import PACKAGE, modules, write_package
from tools.house.calls import Calls
from tools.house.graphs import circles, longest_chain
from tools.house.report import web
from tools.house.source import House

FLOORS = (  # lowest first; the rooms of one floor do not know each other
    {"errors"},
    {"spec"},
    {"graph", "adapters", "providers"},
    {"compiler"},
    {"runtime"},
    {"app"},
    {"testing"},
    {"command"},
    {"__main__"},
)
FLOOR_OF = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}

# The same inside of the two rooms that have folders: a module that lies flat is a part by itself.
INSIDE: dict[str, tuple[set[str], ...]] = {
    "compiler": (
        {"transition_profile"},
        {"code", "lowering"},
        {"analysis"},
        {"emit"},
        {"compiled_root"},
        {"explain"},
    ),
    "runtime": (
        {"shortcuts"},
        {"admission", "event_loop", "events", "plans"},
        {"frames"},
        {"run"},
        {"budgets"},
        {"channels", "interpreter", "resources", "inspect"},
        {"compiled"},
        {"loops", "maps", "policies"},
        {"streams"},
        {"execution"},
        {"run_scope"},
        {"changes", "controls", "durable", "forks", "shutdown"},
        {"watching"},
        {"journal", "steering"},
        {"page", "queue", "signals", "tracing"},
        {"engine"},
    ),
}
MOST_IN_A_FOLDER = 8
MOST_IN_A_ROOM = 8
MOST_IN_A_CHAIN = 18

# The modules that adapt an optional third party, and the packages that each may import.
THIRD_PARTIES: dict[str, set[str]] = {
    "cascade.spec.lazy": {"typing_extensions"},  # for type checkers alone, which have it built in
    "cascade.app.live": {"rich"},
    "cascade.app.widgets": {"IPython", "ipywidgets"},
    "cascade.command.doctor": {"typer"},
    "cascade.command.main": {"typer"},
    "cascade.command.options": {"typer"},
    "cascade.command.page": {"typer"},
    "cascade.command.parts": {"typer"},
    "cascade.command.recorded": {"typer"},
    "cascade.command.running": {"typer"},
    "cascade.command.serving": {"typer"},
    "cascade.command.speaking": {"typer"},
    "cascade.command.starting": {"typer"},
    "cascade.command.steering": {"typer"},
    "cascade.adapters.connectors.mqtt": {"aiomqtt"},
    "cascade.adapters.caching.in_postgres": {"psycopg"},
    "cascade.adapters.caching.in_redis": {"redis"},
    "cascade.adapters.executors.by_value": {"cloudpickle"},
    "cascade.adapters.executors.dask": {"dask", "distributed"},
    "cascade.adapters.executors.dask_cluster": {"distributed"},
    "cascade.adapters.executors.processes": {"cloudpickle", "loky", "psutil"},
    "cascade.adapters.page.serving": {"starlette", "uvicorn"},
    "cascade.adapters.schedules.cron": {"cronsim"},
    "cascade.adapters.solvers.csp": {"ortools"},
    "cascade.adapters.state.postgres": {"psycopg"},
    "cascade.adapters.state.redis": {"redis"},
    "cascade.adapters.telemetry.otel": {"opentelemetry"},
    "cascade.providers.config": {"yaml"},
    "cascade.providers.http": {"httpx"},
    "cascade.providers.ipfs": {"httpx"},
    "cascade.providers.io.s3": {"aiobotocore", "botocore"},
    "cascade.providers.sql": {"sqlalchemy"},
    "cascade.providers.text": {"jinja2"},
    "cascade.spec.models": {"pydantic"},
}


class Import(NamedTuple):
    """One module reads another, at this line."""

    reader: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.reader}:{self.line} imports {self.target}"


def all_imports(package: Path) -> Iterator[Import]:
    known = modules(package)
    for reader, path in known.items():
        home = reader if path.name == "__init__.py" else reader.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in targets(node, home, known):
                yield Import(reader, target, getattr(node, "lineno", 0))


def targets(node: ast.AST, home: str, known: dict[str, Path]) -> set[str]:
    """Name the modules that a statement imports; `home` is the package that it stands in."""
    match node:
        case ast.Import(names=names):
            return {alias.name for alias in names}
        case ast.ImportFrom(module=module, names=names, level=level):
            base = resolve_name("." * level + (module or ""), home)
            inner = {f"{base}.{alias.name}" for alias in names}
            return {name if name in known else base for name in inner}
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return {resolve_name(name, home)}
    return set()


def room_of(module: str) -> str:
    """Name the room; the front door and what is outside the package have none."""
    return module.split(".")[1] if module.startswith("cascade.") else ""


def climbs(package: Path) -> list[str]:
    """List the imports that do not look down, and the modules that stand on no floor."""
    homeless = [name for name in modules(package) if room_of(name) not in {"", *FLOOR_OF}]
    found = [f"{name} stands on no floor" for name in homeless]
    for each in all_imports(package):
        reader, target = room_of(each.reader), room_of(each.target)
        if reader and each.target == "cascade":
            found.append(f"{each}, the front door")
        elif reader and target and reader != target and FLOOR_OF.get(target, 99) >= FLOOR_OF.get(reader, -1):
            found.append(f"{each}, which is not on a lower floor")
    return found


def part_of(module: str) -> str:
    """Name the folder of a room, or the module that lies flat in it; the room's own door is none."""
    return ".".join(module.split(".")[2:3])


def climbs_inside(package: Path, room: str) -> list[str]:
    """List the imports within a room that do not look down, and the parts that stand on no floor."""
    floor_of = {part: height for height, parts in enumerate(INSIDE[room]) for part in parts}
    found = []
    for name in modules(package):
        if room_of(name) == room and part_of(name) not in {"", *floor_of}:
            found.append(f"{name} stands on no floor")
    for each in all_imports(package):
        reader, target = part_of(each.reader), part_of(each.target)
        if room_of(each.reader) != room or room_of(each.target) != room or not reader or reader == target:
            continue
        if floor_of.get(target, 99) >= floor_of.get(reader, -1):
            found.append(f"{each}, which is not on a lower floor")
    return found


def crowded(package: Path, room: str) -> list[str]:
    """List the folders of a room that hold too many modules, and the room if too many lie flat in it."""
    home = package / room
    most = {home: MOST_IN_A_ROOM} | {path.parent: MOST_IN_A_FOLDER for path in home.rglob("*/__init__.py")}
    sizes = {folder: sum(path.name != "__init__.py" for path in folder.glob("*.py")) for folder in most}
    return [f"{folder.name} holds {size} modules" for folder, size in sizes.items() if size > most[folder]]


def outsiders(package: Path) -> list[str]:
    """List the imports of third parties where none are allowed."""
    allowed = {"cascade", *sys.stdlib_module_names}
    return [
        str(each)
        for each in all_imports(package)
        if each.target.partition(".")[0] not in allowed | THIRD_PARTIES.get(each.reader, set())
    ]


def circle(package: Path) -> list[str]:
    """Give one circle of modules that import each other, or nothing."""
    known = modules(package)
    reads: dict[str, set[str]] = {name: set() for name in known}
    for each in all_imports(package):
        if each.target in known:
            reads[each.reader].add(each.target)
    try:
        TopologicalSorter(reads).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports_only_look_down() -> None:
    assert climbs(PACKAGE) == []


@pytest.mark.parametrize("room", INSIDE)
def test_imports_only_look_down_inside_of_a_room(room: str) -> None:
    assert climbs_inside(PACKAGE, room) == []


@pytest.mark.parametrize("room", INSIDE)
def test_no_folder_is_crowded(room: str) -> None:
    assert crowded(PACKAGE, room) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(PACKAGE) == []


def test_only_the_standard_library_is_imported() -> None:
    assert outsiders(PACKAGE) == []


def test_nothing_is_called_behind_the_backs_of_imports_but_in_small_circles_that_are_in_one_folder() -> None:
    """What a module calls it imports, or is given: in `Operations` by the engine, or as an argument.

    So an instruction may be a loop that runs instructions: recursion that is real.
    """
    calls = Calls(House(PACKAGE))
    assert [str(each) for each in calls.settings] == []
    found = web(calls.house, calls)
    assert len(chain := longest_chain(found.imports)) <= MOST_IN_A_CHAIN, " > ".join(chain)
    for group in circles(found.by_records):
        assert len(group) <= MOST_IN_A_FOLDER, group
        assert len({calls.house.modules[name].folder for name in group}) == 1, group


# --- the rules themselves, on packages that break them


@pytest.mark.parametrize(
    "source",
    [
        "import cascade.runtime.engine",
        "from cascade.runtime import Engine",
        "from cascade import runtime",
        "from .. import runtime",
        "from ..runtime.engine import Engine",
        "def f():\n    from ..runtime import engine",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from cascade.runtime import Engine",
        "import importlib\ndef f():\n    importlib.import_module('cascade.runtime')",
        "from importlib import import_module\nimport_module('..runtime', __package__)",
        "from cascade.adapters import solvers",
        "import cascade",
        "import cascade as cs",
        "from cascade import task",
        "from .. import task",
        "from cascade import *",
        "from cascade.cellar import wine",
    ],
)
def test_an_import_that_does_not_look_down_is_found(tmp_path: Path, source: str) -> None:
    rooms = {"runtime/engine.py": "", "adapters/solvers.py": ""}
    package = write_package(tmp_path, {**rooms, "graph/build.py": source})
    assert len(climbs(package)) == 1
    assert climbs(package)[0].startswith("cascade.graph.build:")


@pytest.mark.parametrize(
    "source",
    [
        "from cascade.runtime.engine import Engine",
        "from cascade.runtime.execution.follower import Follower",
        "from cascade.runtime.execution import follower",
        "from ..execution import follower",
        "from cascade.runtime import engine",
        "from cascade.runtime.cellar import wine",
    ],
)
def test_an_import_that_does_not_look_down_inside_of_a_room_is_found(tmp_path: Path, source: str) -> None:
    parts = {"runtime/engine.py": "", "runtime/execution/follower.py": "", "runtime/frames/frame.py": source}
    package = write_package(tmp_path, parts)
    (found,) = climbs_inside(package, "runtime")
    assert found.startswith("cascade.runtime.frames.frame:")


def test_a_part_of_a_room_without_a_floor_is_found(tmp_path: Path) -> None:
    package = write_package(tmp_path, {"runtime/util.py": ""})
    assert climbs_inside(package, "runtime") == ["cascade.runtime.util stands on no floor"]


def test_a_crowded_folder_is_found(tmp_path: Path) -> None:
    package = write_package(tmp_path, {f"runtime/maps/m{at}.py": "" for at in range(9)})
    assert crowded(package, "runtime") == ["maps holds 9 modules"]
    package = write_package(tmp_path, {f"runtime/m{at}.py": "" for at in range(13)})
    assert "runtime holds 13 modules" in crowded(package, "runtime")


def test_a_module_without_a_floor_is_found(tmp_path: Path) -> None:
    assert climbs(write_package(tmp_path, {"util.py": ""})) == ["cascade.util stands on no floor"]


@pytest.mark.parametrize(
    "source",
    [
        "import cascade.spec.task",
        "from cascade import spec, errors",
        "from ..spec import Task",
        "from . import order",
        "from .order import sort",
        "import os.path, asyncio",
    ],
)
def test_an_import_that_looks_down_is_fine(tmp_path: Path, source: str) -> None:
    rooms = {"errors.py": "", "spec/task.py": "", "graph/order.py": ""}
    package = write_package(tmp_path, {**rooms, "graph/build.py": source})
    assert climbs(package) == outsiders(package) == circle(package) == []


@pytest.mark.parametrize("source", ["import attrs", "def f():\n    from numpy.linalg import norm"])
def test_a_third_party_is_found(tmp_path: Path, source: str) -> None:
    assert len(outsiders(write_package(tmp_path, {"spec/task.py": source}))) == 1


@pytest.mark.parametrize(
    "back",
    [
        "from .task import Task",
        "from cascade.spec import task",
        "import cascade.spec.task",
        "def f():\n    from .task import Task",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .task import Task",
    ],
)
def test_a_circle_is_found(tmp_path: Path, back: str) -> None:
    spec = {"spec/task.py": "from . import lazy", "spec/lazy.py": "from .jump import x", "spec/jump.py": back}
    package = write_package(tmp_path, spec)
    assert set(circle(package)) == {"cascade.spec.task", "cascade.spec.lazy", "cascade.spec.jump"}


def test_a_circle_through_a_room_and_its_own_module_is_found(tmp_path: Path) -> None:
    spec = {"spec/__init__.py": "from .task import Task", "spec/task.py": "from . import Lazy"}
    package = write_package(tmp_path, spec)
    assert set(circle(package)) == {"cascade.spec", "cascade.spec.task"}


@pytest.mark.parametrize(
    "source",
    [
        "from .state import RunState\nRunState.drive = print",
        "from .state import RunState\nRunState.a, RunState.drive = 1, print",
        "from .state import RunState\ndef install():\n    setattr(RunState, 'drive', print)",
        "from . import state\nstate.drive = print",
        "from cascade.runtime import state\nstate.RunState.table['drive'] = print",
    ],
)
def test_an_attribute_set_from_another_module_is_found(tmp_path: Path, source: str) -> None:
    rooms = {"runtime/state.py": "class RunState: ...\nRunState.own = 1", "runtime/engine.py": source}
    found = Calls(House(write_package(tmp_path, rooms))).settings
    assert {each.module for each in found} == {"cascade.runtime.engine"}
