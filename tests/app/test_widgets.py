"""The display of a run in a notebook, by stand-ins of the kernel and of ipywidgets."""

from __future__ import annotations

import importlib.machinery
import sys
from types import ModuleType
from typing import Any

import pytest

from cascade.app.progress import Lines, display_for
from cascade.app.standing import Report
from cascade.runtime.inspect.progress import MapProgress, RunProgress


class Html:
    """Stands in for the widget of ipywidgets."""

    def __init__(self) -> None:
        self.value = ""
        self.is_open = True

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Have a kernel run, and return what is displayed."""
    displayed: list[Any] = []

    class Kernel:
        @staticmethod
        def initialized() -> bool:
            return True

    stand_ins: dict[str, dict[str, Any]] = {
        "ipykernel": {},
        "ipykernel.kernelapp": {"IPKernelApp": Kernel},
        "ipywidgets": {"HTML": Html},
        "IPython": {},
        "IPython.display": {"display": displayed.append},
    }
    for name, attributes in stand_ins.items():
        module = ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    return displayed


def report(seconds: float) -> Report:
    maps = [MapProgress("fetch<b>#1", 3, 4, 60, 1)]
    sight = RunProgress(2, 5, {"loop#1": 1234}, maps, ["fetch#1[3]"])
    return Report("<i>total</i>", seconds, sight, {}, [("fetch#1[3]", 2.5)])


def test_a_notebook_shows_bars_and_takes_them_away(notebook: list[Any]) -> None:
    display = display_for(lambda report: None, True)
    display.show(report(0.1))
    assert notebook == []  # a run that short would only flicker
    display.show(report(1.5))
    [html] = notebook
    assert '<progress max="60" value="3"></progress>' in html.value
    for text in ("3/60", "1,234", "fetch#1[3]", "&lt;i&gt;total", "fetch&lt;b&gt;#1"):
        assert text in html.value
    assert html.is_open
    display.stop()
    assert not html.is_open


def test_json_and_other_programs_get_lines(notebook: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(display_for(lambda report: None, False), Lines)
    monkeypatch.delitem(sys.modules, "ipykernel.kernelapp")
    assert isinstance(display_for(lambda report: None, True), Lines)
