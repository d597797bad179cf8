"""Flows of other files as sub-flows: `cs.subflow("flow.py:name")`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cascade as cs
from tests.workflows import Tier, every_tier, run

FLOW = """
import cascade as cs

@cs.task
def area(width: int, height: int) -> int:
    return width * height

flow = area(cs.Param("width", type=int), cs.Param("height", default=2))
both = [flow, {"one": flow}]
compiled = cs.compile(flow)
number = 7

class Flows:
    inner = flow

def made():
    return area(1, 1)

def makes_none():
    return 7
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "flow.py").write_text(FLOW)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@every_tier
def test_a_flow_of_a_file_is_a_node(here: Path, tier: Tier) -> None:
    three = cs.task(lambda: 3)()
    node = cs.subflow("flow.py:flow", params={"width": three})
    assert run(node, tier=tier) == 6
    assert node.declared.startswith(__file__)
    assert run(cs.subflow(f"{here}/flow.py:both", {"width": 2}), tier=tier) == [4, {"one": 4}]
    assert run(cs.subflow("flow.py:compiled", {"width": 5, "height": 1}), tier=tier) == 5
    assert run(cs.subflow("flow.py:Flows.inner", {"width": 5}), tier=tier) == 10
    assert run(cs.subflow("flow.py:made"), tier=tier) == 1


def test_a_file_is_imported_once(here: Path) -> None:
    (here / "flow.py").write_text(FLOW + "\nwith open('count', 'a') as file:\n    file.write('x')\n")
    first, second = cs.subflow("flow.py:flow"), cs.subflow("./flow.py:flow")
    assert first.target is second.target
    assert (here / "count").read_text() == "x"


def test_a_file_that_the_program_has_imported_is_that_module() -> None:
    assert cs.subflow(f"{__file__}:own").target is own


own = cs.task(lambda: 1)()


@pytest.mark.parametrize(
    ("spelled", "error", "said"),
    [
        ("flow.py", ValueError, "file.py:name"),
        ("flow.py:", ValueError, "file.py:name"),
        ("flow.py:a b", ValueError, "file.py:name"),
        ("nowhere.py:flow", FileNotFoundError, "there is no file .*nowhere.py; paths begin at"),
        ("flow.py:flo", cs.StaticGraphError, "has no 'flo'; did you mean 'flow'"),
        ("flow.py:zzz", cs.StaticGraphError, "has no 'zzz'; it has both, "),
        ("flow.py:number", cs.StaticGraphError, "number is no flow but 7"),
        ("flow.py:makes_none", cs.StaticGraphError, "is no flow but 7"),
        ("flow.py:area", cs.StaticGraphError, "is no flow but <Task 'area'"),
        ("broken.py:flow", ZeroDivisionError, "division"),
        ("data.txt:flow", ValueError, "is no Python file"),
        ("self.py:flow", cs.StaticGraphError, "has no 'flow'"),
    ],
)
def test_what_is_no_flow_is_refused_where_it_is_named(
    here: Path, spelled: str, error: type[Exception], said: str
) -> None:
    (here / "broken.py").write_text("1 / 0\n")
    (here / "data.txt").write_text("")
    (here / "self.py").write_text("import cascade as cs\nflow = cs.subflow('self.py:flow')\n")
    with pytest.raises(error, match=said):
        cs.subflow(spelled)
