"""The house in numbers, on small packages of which the numbers are known."""

from pathlib import Path

import pytest

from tests.helpers import PACKAGE, write_package
from tools.house import __main__ as front
from tools.house.calls import Calls
from tools.house.entered import entered
from tools.house.graphs import circles, longest_chain, only
from tools.house.report import Target, is_flat, report, web
from tools.house.rooms import Room
from tools.house.source import House


def write_house(folder: Path, sources: dict[str, str]) -> House:
    """Write a package named cascade that holds these modules, and read it."""
    return House(write_package(folder, sources))


def short(names: list[str]) -> list[str]:
    return [name.removeprefix("cascade.") for name in names]


CHAIN = {
    "app/run.py": "def f():\n    from cascade.runtime.inner import thing",
    "runtime/inner/__init__.py": "from .engine import thing",
    "runtime/inner/engine.py": "import cascade.runtime.bus\nthing = 1",
    "runtime/bus.py": "from cascade import errors\nfrom cascade.spec import task",
    "spec/task.py": "from .. import errors",
    "errors.py": "",
    "spec/far.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from cascade.app import run",
}


def test_the_longest_chain_counts_imports_at_any_depth_but_not_those_for_types(tmp_path: Path) -> None:
    house = write_house(tmp_path, CHAIN)
    chain = longest_chain(house.imports())
    assert short(chain) == ["app.run", "runtime.inner", "runtime.inner.engine", "runtime.bus", "spec.task", "errors"]
    assert short(longest_chain(house.imports(types=True)))[0] == "spec.far"


def test_floors_do_not_count_what_only_passes_names_on(tmp_path: Path) -> None:
    house = write_house(tmp_path, CHAIN | {"runtime/outer.py": "from .inner import thing"})
    inside = only(house.imports(), [each.name for each in house.within("runtime")])
    assert len(longest_chain(inside)) == 4  # with runtime.inner, which passes on
    doors = {name for name, each in house.modules.items() if each.is_package}
    assert short(longest_chain(inside, uncounted=doors)) == ["runtime.outer", "runtime.inner.engine", "runtime.bus"]


def test_a_circle_is_found_and_counts_in_a_chain_with_all_its_modules() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b", "e"}, "e": set(), "x": {"y"}, "y": {"x"}}
    assert circles(graph) == [["b", "c", "d"], ["x", "y"]]
    assert longest_chain(graph) == ["a", "b", "c", "d", "e"]


RUN = "class Run:\n    drive = None\n    def go(self):\n        return self.drive(self)\n"
STEP = "from .run import Run\n\ndef drive(run: Run): ...\n"
STRANGER = "class Car:\n    def go(self):\n        self.drive()\n\ndef f(car: Car):\n    car.drive()\n"
SET = [
    "from .run import Run\nfrom .step import drive\nRun.drive = staticmethod(drive)",
    "from .run import Run\nfrom .step import drive\nRun.drive, Run.x = drive, 1",
    "from .run import Run\nfrom . import step\nsetattr(Run, 'drive', step.drive)",
    "from . import run, step\nrun.Run.drive = step.drive",
    "from .run import Run\nfrom .passing import drive\ndef install():\n    Run.drive = {1: drive}",
]


@pytest.mark.parametrize("engine", SET)
def test_a_circle_of_calls_by_an_attribute_set_from_elsewhere_is_found(tmp_path: Path, engine: str) -> None:
    sources = {"run.py": RUN, "step.py": STEP, "car.py": STRANGER, "passing.py": "from .step import drive"}
    house = write_house(
        tmp_path, {f"runtime/{name}": text for name, text in sources.items()} | {"runtime/e.py": engine}
    )
    calls = Calls(house)
    line = engine[: engine.rindex("drive =" if "drive =" in engine else "Run")].count("\n") + 1
    assert f"cascade.runtime.e:{line} sets cascade.runtime.run.Run.drive" in map(str, calls.settings)
    found = web(house, calls)
    assert circles(found.imports) == []
    assert [short(each) for each in circles(found.by_settings)] == [["runtime.run", "runtime.step"]]


def test_a_module_that_calls_what_the_class_was_given_is_on_the_circle(tmp_path: Path) -> None:
    sources = {
        "run.py": "class Run:\n    drive = None\n",
        "step.py": "from .loops import follow\ndef drive(run): follow(run)",
        "loops.py": "from .run import Run\nclass Loop:\n    def __init__(self, run: Run): self.run = run\n"
        "def follow(run):\n    run.drive()\n",
        "engine.py": "from .run import Run\nfrom .step import drive\nRun.drive = drive",
    }
    house = write_house(tmp_path, {f"runtime/{name}": text for name, text in sources.items()})
    assert [short(each) for each in circles(web(house, Calls(house)).by_settings)] == [
        ["runtime.loops", "runtime.step"]
    ]


@pytest.mark.parametrize("value", ["drive", "partial(drive)", "lambda run: drive(run)", "Step", "(drive, 1)"])
def test_a_circle_of_calls_by_a_record_of_functions_is_found(tmp_path: Path, value: str) -> None:
    sources = {
        "kit.py": "class Kit(NamedTuple):\n    drive: Callable[..., Any]\n",
        "run.py": "from .kit import Kit\nclass Run:\n    def __init__(self, kit: Kit):\n        self.kit = kit\n"
        "    def go(self):\n        self.kit.drive()\n",
        "step.py": "from .run import Run\ndef drive(run: Run): ...\nclass Step: ...\n",
        "engine.py": f"from .kit import Kit\nfrom .run import Run\nfrom .step import Step, drive\nRun(Kit({value}))",
    }
    found = web(house := write_house(tmp_path, {f"runtime/{n}": text for n, text in sources.items()}), Calls(house))
    assert Calls(house).settings == []
    assert circles(found.by_settings) == []
    assert [short(each) for each in circles(found.by_records)] == [["runtime.run", "runtime.step"]]


def test_a_circle_of_calls_by_a_table_of_functions_is_found(tmp_path: Path) -> None:
    sources = {
        "kit.py": "class Kit:\n    def __init__(self, table: dict):\n        self.table = table\n"
        "    def go(self):\n        self.table[1](self)\n",
        "step.py": "from .kit import Kit\ndef drive(kit: Kit): ...\n",
        "tables.py": "from .step import drive\nTABLE = {1: drive}\n",
        "engine.py": "from .kit import Kit\nfrom .tables import TABLE\nKit(TABLE)",
    }
    found = web(house := write_house(tmp_path, {f"runtime/{n}": text for n, text in sources.items()}), Calls(house))
    assert [short(each) for each in circles(found.by_records)] == [["runtime.kit", "runtime.step"]]


def test_what_a_module_sets_of_its_own_and_of_objects_is_no_setting(tmp_path: Path) -> None:
    run = (
        "from . import car\nfrom .car import bus\nclass Run: ...\nRun.x = 1\ndef f(run: Run, car):\n"
        "    run.x = 2\n    bus.x = car.x = 3\n"
    )
    house = write_house(tmp_path, {"runtime/run.py": run, "runtime/car.py": "bus = object()"})
    assert Calls(house).settings == []


def test_a_room_is_counted(tmp_path: Path) -> None:
    long = "".join(f"    x = {i}\n" for i in range(50))
    source = (
        '"""One.\n\nTwo.\n"""\n\n# why\n\n\nclass A:\n    def f(self, a: Any, b: "int", c: Any | None, *args: Any):\n'
        f"        return 1  # so\n\n\ndef _g(a, b, c, d, e, f, *, g: Any):\n{long}"
    )
    room = Room(write_house(tmp_path, {"spec/a.py": source}).within("spec"))
    assert (room.sizes, room.lines, room.lengths) == ([64], 64, [2, 51])
    assert room.long_functions == ["cascade.spec.a:14 _g, 51 lines"]
    assert (room.wide, room.classes, room.named(private=False), room.named(private=True)) == (1, 1, 1, 1)
    assert (room.any_parameters, room.any_share) == ((2, 4), 50)
    assert room.words == (100 * 2 / 58, 100 * 4 / 58)


def test_a_door_counts_as_a_module_when_it_is_more_than_a_list_of_names(tmp_path: Path) -> None:
    house = write_house(tmp_path, {"spec/a.py": "x = 1\n"})
    assert Room(house.within("spec")).sizes == [1]
    (house.package / "spec" / "__init__.py").write_text("x = 1\n" * 10, encoding="utf-8")
    assert Room(House(house.package).within("spec")).sizes == [1, 10]


def sized(tmp_path: Path, sizes: dict[str, int]) -> House:
    modules = {f"{folder}/m{i}.py": "" for folder, size in sizes.items() for i in range(size)}
    return write_house(tmp_path, modules)


def test_a_folder_holds_fewer_modules_than_a_room_without_folders(tmp_path: Path) -> None:
    house = sized(tmp_path, {"compiler": 11, "runtime": 3, "runtime/maps": 9, "runtime/maps/deep": 2})
    assert (is_flat(house, "cascade.compiler"), is_flat(house, "cascade.runtime")) == (True, False)
    text, judged = report(house, {"cs.run": ["a.py"] * 26})
    figures = {each.name: (each.figure, each.is_met) for each in judged}
    assert figures["modules in a folder there"] == (9, False)
    assert figures["modules in one of the two, where it has no folders"] == (11, True)
    assert figures["modules entered before the first task, cs.run"] == (26, False)
    assert figures["longest chain of imports"] == (1, True)
    assert "| cascade.runtime.maps.deep | 2       | 0     | m0 m1 |" in text


def test_a_figure_that_could_not_be_had_misses_its_target() -> None:
    assert [Target("", figure, 6).is_met for figure in (6.0, 6.1, None)] == [True, False, False]


def test_only_a_check_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sized(tmp_path, {"compiler": 1, "runtime": 1})
    asked = ["--src", str(tmp_path)]
    monkeypatch.setattr(front, "entered", lambda src: {"cs.run": ["a.py"]})
    assert (front.main(asked), front.main([*asked, "--check"])) == (0, 0)
    monkeypatch.setattr(front, "entered", lambda src: "no module named x")
    assert (front.main(asked), front.main([*asked, "--check"])) == (0, 1)
    assert "not measured: no module named x" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        front.main(["--src", str(tmp_path / "nowhere")])


@pytest.mark.parametrize(("room", "most"), [("compiler", 4), ("runtime", 6)])
def test_any_stands_for_the_values_of_users_alone(room: str, most: int) -> None:
    share = Room(House(PACKAGE).within(room)).any_share
    assert share < most, f"{share:.1f} % of the parameters in {room} are Any; annotate what the engine itself passes"


def test_a_run_enters_modules_of_this_house() -> None:
    found = entered(PACKAGE.parent)
    assert isinstance(found, dict), found
    assert list(found) == ["cs.run", "engine.run, interpreted", "engine.run, compiled"]
    for files in found.values():
        assert "runtime/engine.py" in files
        assert all((PACKAGE / each).is_file() for each in files)
    assert set(found["cs.run"]) - set(found["engine.run, interpreted"]) >= {"app/run.py"}


def test_where_a_run_fails_the_reason_is_said(tmp_path: Path) -> None:
    write_house(tmp_path, {"errors.py": ""})
    assert entered(tmp_path) == "ModuleNotFoundError: No module named 'cascade.runtime'"
