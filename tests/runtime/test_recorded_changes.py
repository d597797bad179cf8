"""Programs that are edited between a crash and the start that goes on: each edit does what the rules say."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.errors import ParameterError, RunChangedError
from cascade.runtime import Engine, MessageBus
from cascade.runtime.changes import fingerprint
from cascade.runtime.events import RunWarning
from cascade.testing import SpySubscriber

PROGRAM = """
import datetime
import os
import cascade as cs

FACTOR = 10
TABLE = {"a": list(range(50))}


def helper(x):
    return x * 2


@cs.task
def load(name, size=3):
    calls.append("load")
    return len(name) + size


@cs.task
def parse(n):
    calls.append("parse")
    return helper(n) * FACTOR


@cs.task
def clean(n):
    calls.append("clean")
    return n


@cs.task
def again(n, total=0):
    calls.append("again")
    if os.environ["BROKEN"] and n == 1:
        raise ValueError("tired")
    return cs.Jump("on", {"n": n - 1, "total": total + n}) if n else total


@cs.task
def look(table, at="a"):
    calls.append("look")
    return len(table[at])


@cs.task
def publish(a, b, c):
    calls.append("publish")
    return f"{a}-{b}-{c}"


def target():
    inner = cs.subflow(clean(look(TABLE)))
    parsed = parse(load(cs.Param("name", default="abc")))
    state = again(3).after(inner, parsed)
    cs.bind(state, cs.select_jump({"on": state}))
    return publish(parsed, state, inner)
"""
VALUE = "120-6-50"
"""What it gives. The first start fails in the third entry of its loop, when all but that and `publish` are recorded."""
LEFT = ["again", "again", "publish"]
"""What is called then, at the second start."""


class Edit(NamedTuple):
    """What is replaced in the program, and what the second start does."""

    replaced: dict[str, str]
    calls: list[str] = LEFT
    value: str = VALUE
    warned: str = ""
    """What a warning says; none: there is none."""
    refused: str = ""
    """What the error says instead."""
    options: Mapping[str, Any] = MappingProxyType({})
    error: type[Exception] = RunChangedError


EDITS = {
    "nothing": Edit({}),
    "a task that has not run": Edit({'f"{a}-{b}-{c}"': 'f"{a}+{b}+{c}"'}, value="120+6+50"),
    "the task that failed, in a loop": Edit({'raise ValueError("tired")': "return total + n"}, warned="task 'again' "),
    "comments and lines": Edit({"    return helper(n) * FACTOR": "    # doubled\n\n    return (helper(n) * FACTOR)"}),
    "a docstring": Edit({"def parse(n):": 'def parse(n):\n    """Parse."""'}, warned="task 'parse' "),
    "the order of functions": Edit(
        {"def helper(x):\n    return x * 2\n": "", "def target": "def helper(x):\n    return x * 2\n\n\ndef target"}
    ),
    "a recorded task": Edit({"* FACTOR": "* FACTOR + 1"}, warned="task 'parse' "),
    "what a recorded task calls": Edit({"x * 2": "x * 3"}, warned=r"task 'parse' \(.*helper"),
    "a global that it reads": Edit({"FACTOR = 10": "FACTOR = 11"}, warned=r"task 'parse' \(.*FACTOR"),
    "an argument with a default": Edit({"def parse(n)": "def parse(n, m=1)"}, warned="task 'parse' "),
    "a recorded task, which is refused": Edit(
        {"* FACTOR": "* FACTOR + 1"}, refused=r"task 'parse' \(.*keep.*rerun", options={"on_change": "error"}
    ),
    "a recorded task, which runs again": Edit(
        {"* FACTOR": "* FACTOR + 1"}, ["again"] * 4 + ["parse", "publish"], "121-6-50", options={"on_change": "rerun"}
    ),
    "the first task of a chain, which runs again": Edit(
        {"+ size": "+ size + 1"},
        ["again"] * 4 + ["load", "parse", "publish"],
        "140-6-50",
        options={"on_change": "rerun"},
    ),
    "a task in a sub-flow, which runs again": Edit(
        {"len(table[at])": "len(table[at]) + 1"},
        ["again"] * 4 + ["clean", "look", "publish"],
        "120-6-51",
        options={"on_change": "rerun"},
    ),
    "a loop's task, which runs again": Edit(
        {"total + n})": "total + 2 * n})"}, ["again"] * 4 + ["publish"], "120-12-50", options={"on_change": "rerun"}
    ),
    "a loop's task": Edit({"total + n})": "total + 2 * n})"}, value="120-7-50", warned="task 'again' "),
    "a task of another name": Edit(
        {"def parse(n)": "def scan(n)", "parsed = parse(": "parsed = scan("},
        refused="added: scan#1.*removed: parse#1.*changed: publish#1",
    ),
    "a function of another name": Edit(
        {"@cs.task\ndef parse(n)": '@cs.task(name="parse")\ndef scan(n)', "parsed = parse(": "parsed = scan("},
        warned="task 'parse' ",
    ),
    "an argument more": Edit(
        {'default="abc"))': 'default="abc"), 4)'}, refused=r"changed: load#1 .*load\(param name='abc'\) -> load\(.*4\)"
    ),
    "a node before": Edit(
        {"parse(load(cs.Param": "parse(clean(load(cs.Param", '"abc"))': '"abc")))'},
        refused=r"added: clean#2 .*changed: parse#1",
    ),
    "a node behind": Edit(
        {"return publish(": "return clean(publish(", "inner)\n": "inner))\n"}, refused="added: clean#2"
    ),
    "a node less": Edit({"parse(load(": "(load("}, refused="removed: parse#1.*changed: publish#1"),
    "a literal": Edit({"again(3)": "again(4)"}, refused=r"changed: again#1 \(again\(3\).* -> again\(4\)"),
    "the content of a literal": Edit({"range(50)": "range(49)"}, refused="changed: look#1 .*dict:"),
    "a literal that is a new one each time": Edit(
        {"again(3)": "again(3, datetime.datetime.now())"}, refused="changed: again#1 .*datetime.*cs.Param"
    ),
    "the order of declarations": Edit(
        {
            "    inner = cs.subflow(clean(look(TABLE)))\n": "",
            "    state = again(3)": "    inner = cs.subflow(clean(look(TABLE)))\n    state = again(3)",
        }
    ),
    "the order of arguments": Edit({"state, inner)": "inner, state)"}, refused="changed: publish#1"),
    "the default of a parameter": Edit({'default="abc"': 'default="abcd"'}, refused="changed: load#1 .*'abc'.*'abcd'"),
    "a parameter of another name": Edit({'"name", default': '"word", default'}, refused="param name.*param word"),
    "another value of a parameter": Edit(
        {},
        refused="begun with name='abc', and is given name='xyz'",
        options={"params": {"name": "xyz"}},
        error=ParameterError,
    ),
    "a route more": Edit({'{"on": state}': '{"on": state, "off": None}'}, refused="changed: again#1 .*jumps"),
    "a condition": Edit({'"abc")))\n': '"abc"))).run_if(True)\n'}, refused="changed: parse#1"),
    "policies": Edit({"@cs.task\ndef publish": '@cs.task(retry=3, timeout=9, tags=("x",))\ndef publish'}),
    "where a task is called": Edit({"@cs.task\ndef load": '@cs.task(mode="blocking")\ndef load'}),
    "that a task is not recorded": Edit({"@cs.task\ndef publish": "@cs.task(record=False)\ndef publish"}),
    "what a sub-flow is made of": Edit({"clean(look(TABLE))": "look(TABLE)"}, refused="removed: clean#1"),
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: Any) -> Iterator[None]:
    monkeypatch.setenv("BROKEN", "")
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("edited"):
            del sys.modules[name]


def program(folder: Path, replaced: dict[str, str], broken: bool, name: str = "edited") -> Any:
    """Return a module of the program, after an edit."""
    source = PROGRAM
    for old, new in replaced.items():
        assert source.count(old) == 1, (old, source.count(old))
        source = source.replace(old, new)
    file = folder / f"{name}_{broken}.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    module.calls = []
    os.environ["BROKEN"] = "1" if broken else ""
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run(module: Any, store: Any, params: Any = None, **options: Any) -> tuple[Any, list[str]]:
    """Start the run; return its value, and what its warnings said."""

    async def main() -> tuple[Any, list[str]]:
        bus = MessageBus()
        spy = SpySubscriber(bus)
        async with Engine(state_backend=store, bus=bus) as engine:
            value = await engine.run(module.target(), params, run_id="r", **options)
            return value, [f"{each.code}: {each.message}" for each in spy.events_of_type(RunWarning)]

    return asyncio.run(main())


def crashed(folder: Path, params: Any = None, **replaced: str) -> MemoryBackend:
    store = MemoryBackend()
    with pytest.raises(ValueError, match="tired"):
        run(program(folder, replaced, True), store, params)
    return store


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edit(edit: Edit, tmp_path: Path) -> None:
    store = crashed(tmp_path, {"name": "abc"} if "params" in edit.options else None)
    module = program(tmp_path, edit.replaced, False)
    if edit.refused:
        with pytest.raises(edit.error, match=f"(?s){edit.refused}"):
            run(module, store, **edit.options)
        assert module.calls == []
        return
    value, warnings = run(module, store, **edit.options)
    assert (value, sorted(module.calls)) == (edit.value, edit.calls)
    if edit.warned:
        (warning,) = warnings
        assert re.match(f"CodeChanged: the code of {edit.warned}", warning)
    else:
        assert warnings == []


def test_a_module_that_was_moved(tmp_path: Path) -> None:
    store = crashed(tmp_path)
    module = program(tmp_path, {}, False, "edited_and_moved")
    value, warnings = run(module, store)
    assert (value, module.calls) == (VALUE, LEFT)
    assert {warning.split()[5] for warning in warnings} == {"'load'", "'parse'", "'clean'", "'look'", "'again'"}


@pytest.mark.parametrize("replaced", [{}, {"* FACTOR": "* FACTOR + 1"}])
@pytest.mark.parametrize("how", ["keep", "error", "rerun"])
def test_another_python_compares_no_code(replaced: dict[str, str], how: str, tmp_path: Path, monkeypatch: Any) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(fingerprint, "PYTHON", "cpython-2")
        store = crashed(tmp_path)
    module = program(tmp_path, replaced, False)
    value, (warning,) = run(module, store, on_change=how)
    assert (value, module.calls) == (VALUE, LEFT)
    assert warning.startswith("CodeNotCompared: ")


def test_another_schema_of_keys_compares_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(fingerprint, "SCHEMA", 0)
        store = crashed(tmp_path)
    value, (warning,) = run(program(tmp_path, {"* FACTOR": "* FACTOR + 1"}, False), store)
    assert value == VALUE
    assert warning.startswith("CodeNotCompared: ")


def test_a_version_stands_for_the_code(tmp_path: Path) -> None:
    versioned = {"@cs.task\ndef parse": "@cs.task(version=1)\ndef parse"}
    store = crashed(tmp_path, **versioned)
    assert run(program(tmp_path, {**versioned, "* FACTOR": "* 1"}, False), store) == (VALUE, [])
    store = crashed(tmp_path, **versioned)
    later = {"@cs.task\ndef parse": "@cs.task(version=2)\ndef parse"}
    with pytest.raises(RunChangedError, match=r"task 'parse' \(version\)"):
        run(program(tmp_path, later, False), store, on_change="error")


def test_a_literal_without_content_counts_by_its_type(tmp_path: Path) -> None:
    store = MemoryBackend()
    vague = {"again(3)": "again(3, object())", "total + n}": "n + (total if type(total) is int else 0)}"}
    with pytest.raises(ValueError, match="tired"):
        run(program(tmp_path, vague, True), store)
    assert run(program(tmp_path, vague, False), store)[0] == VALUE
    other = {**vague, "again(3)": "again(3, [object()])"}
    with pytest.raises(RunChangedError, match=r"(?s)changed: again#1.*literal without content.*again#1"):
        run(program(tmp_path, other, False), store)


def test_a_literal_without_content_is_told_at_the_first_start(tmp_path: Path) -> None:
    vague = {"again(3)": "again(0, object())"}
    _, (warning,) = run(program(tmp_path, vague, False), MemoryBackend())
    assert warning.startswith("LiteralNotCompared: again#1 has a literal")


def test_what_has_succeeded_is_refused_with_another_graph(tmp_path: Path) -> None:
    store = MemoryBackend()
    run(program(tmp_path, {}, False), store)
    with pytest.raises(RunChangedError, match="changed: again#1"):
        run(program(tmp_path, {"again(3)": "again(4)"}, False), store)


def test_what_was_kept_can_be_run_again_later(tmp_path: Path) -> None:
    """Who reads the warning and does what it says gets what it says."""
    store = crashed(tmp_path)
    edit = {"* FACTOR": "* FACTOR + 1"}
    with pytest.raises(ValueError, match="tired"):
        run(program(tmp_path, edit, True), store)
    module = program(tmp_path, edit, False)
    value, warnings = run(module, store, on_change="rerun")
    assert (value, warnings) == ("121-6-50", [])
    assert "parse" in module.calls


@pytest.mark.parametrize("changed", ["first", "state", "feed", "way out", "inner", "none"])
def test_a_task_anywhere_in_a_loop_runs_again_with_the_loop(changed: str) -> None:
    """Whichever of its tasks has other code now: what the loop gave was made by that."""

    def program(is_changed: bool) -> tuple[Any, list[str]]:
        calls: list[str] = []

        def made(name: str, do: Any) -> Any:
            def body(n: int, more: int = 0) -> Any:
                calls.append(name)
                return do(n, more)

            return cs.task(name=name, version=1 + (is_changed and name == changed))(body)

        def last(n: int) -> int:
            if not is_changed:
                raise ValueError("tired")
            return n

        first = made("first", lambda n, more: cs.Jump("go", {"n": n}))
        inner = made("inner", lambda n, more: cs.Jump("again", {"n": n - 1}) if n else 10)
        state = made("state", lambda n, more: cs.Jump("out", {"n": n + more}))
        fed = inner(2)
        cs.bind(fed, cs.select_jump({"again": fed}))
        step = state(0, made("feed", lambda n, more: n)(fed))
        begun = first(1)
        out = made("way out", lambda n, more: n)(0)
        cs.bind(begun, cs.select_jump({"go": step}))
        cs.bind(step, cs.select_jump({"out": out}))
        return cs.task(last)(begun), calls

    store = MemoryBackend()
    target, expected = program(False)
    with pytest.raises(ValueError, match="tired"):
        cs.run(target, state_backend=store, run_id="r", log_level="SILENT")
    target, calls = program(True)
    assert cs.run(target, state_backend=store, run_id="r", log_level="SILENT", on_change="rerun") == 11
    assert calls == ([] if changed == "none" else expected)


def test_what_runs_again_does_so_once(tmp_path: Path) -> None:
    store = crashed(tmp_path)
    edit = {"* FACTOR": "* FACTOR + 1"}
    with pytest.raises(ValueError, match="tired"):
        run(program(tmp_path, edit, True), store, on_change="rerun")
    module = program(tmp_path, edit, False)
    assert run(module, store, on_change="rerun") == ("121-6-50", [])
    assert module.calls == LEFT


class Dying(MemoryBackend):
    """A store whose process ends at its first commit, or behind it."""

    commits = 0
    last = 0

    def commit(self, commits: Any) -> list[str]:
        self.commits += 1
        return super().commit(commits) if self.commits <= self.last else []


@pytest.mark.parametrize("last", [0, 1, 2])
@pytest.mark.parametrize("how", ["keep", "rerun"])
def test_a_crash_leaves_no_steps_that_others_were_made_of(last: int, how: str, tmp_path: Path) -> None:
    """What is to run again is gone before anything runs: also if the process ends before it is dropped."""
    store = crashed(tmp_path)
    edit = {"* FACTOR": "* FACTOR + 1"}
    dying = Dying()
    dying._kept, dying.last = store._kept, last
    with pytest.raises(ValueError, match="tired"):
        run(program(tmp_path, edit, True), dying, on_change="rerun")
    for kept in store._kept.values():
        kept.record = kept.record._replace(owner=None)
    assert run(program(tmp_path, edit, False), store, on_change=how) == ("121-6-50", [])


def test_nodes_far_inside_of_sub_flows_run_again() -> None:
    """Their keys are digests, which say all the same to which node of the run's own graph they belong."""
    calls: list[int] = []
    broken = True

    @cs.task
    def inside(n: int) -> int:
        calls.append(n)
        return n

    @cs.task
    def last(*given: int) -> int:
        if broken:
            raise ValueError("tired")
        return sum(given)

    def deep(n: int) -> Any:
        node: Any = inside(n)
        for _ in range(90):
            node = cs.subflow(node)
        return node

    async def main() -> None:
        nonlocal broken
        async with Engine(state_backend="memory") as engine:
            target = last(*[deep(n) for n in range(12)])
            with pytest.raises(ValueError, match="tired"):
                await engine.run(target, run_id="r")
            broken = False
            calls.clear()
            at = next(step.task_id for step in await engine.history("r") if step.preview == "7")
            assert at.startswith("inside#")
            new = await engine.fork("r", at="subflow#8")
            assert await engine.run(target, run_id=new) == sum(range(12))

    asyncio.run(main())
    assert calls == [7]
