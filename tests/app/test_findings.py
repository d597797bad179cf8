"""`cs.check`: every mistake is found at its line, and nothing where there is none."""

from __future__ import annotations

import asyncio
import importlib.util
import linecache
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

import cascade as cs
from cascade.app.findings import CODES, Finding
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import StaticAnalysisWarning
from cascade.testing import SpySubscriber
from tests import flows, mistakes
from tests.helpers import ROOT
from tests.strategies import build, fixed_recipes


def codes(target: Any, **options: Any) -> list[str]:
    return [finding.code for finding in cs.check(target, **options)]


# --- all at once


def test_every_mistake_of_a_file_is_found_at_its_line_and_nothing_else() -> None:
    file = mistakes.__file__
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    expected = {(at, code) for at, line in enumerate(lines, 1) for code in re.findall(r"# expect: ([\w-]+)", line)}
    findings = cs.check(mistakes.declare())
    assert {(finding.line, finding.code) for finding in findings} == expected
    assert {finding.file for finding in findings} == {file}
    assert {code for _, code in expected} == CODES.keys() - {"graph", "unknown-capacity"}
    assert len(expected) >= 10


def test_the_command_finds_the_same_in_a_file_that_it_is_given() -> None:
    lines = Path(mistakes.__file__).read_text(encoding="utf-8").splitlines()
    expected = [(at, code) for at, line in enumerate(lines, 1) for code in re.findall(r"# expect: ([\w-]+)", line)]
    command = [sys.executable, "-m", "cascade", "check", mistakes.__file__]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "CASCADE_LANG": "en"}
    )
    found = re.findall(r"^.*mistakes\.py:(\d+): \w+: .* \[([\w-]+)\]$", done.stdout, re.M)
    assert (done.returncode, [(int(line), code) for line, code in found]) == (1, expected), done.stderr


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_nothing_is_found_in_the_examples(path: Path) -> None:
    command = [sys.executable, "-m", "cascade", "check", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "CASCADE_LANG": "en"}
    )
    if done.returncode == 2 and " has nothing to run" in done.stderr:
        return  # it makes its targets of what it is given
    assert (done.returncode, done.stdout.startswith("no findings")) == (0, True), done.stdout + done.stderr


def test_nothing_is_found_in_random_programs() -> None:
    # Their bodies cannot be seen into, so what is found is what the graph alone says: routes to what a state reads.
    for recipe in fixed_recipes(150, seed=8):
        found = set(codes(build(recipe).target))
        assert found <= {"graph", "unbound-route", "exit-reads-loop", "gated-input"}


def test_a_finding_is_sorted_spelled_and_a_dict() -> None:
    findings = cs.check(mistakes.declare())
    assert [finding.line for finding in findings] == sorted(finding.line for finding in findings)
    blocking = next(finding for finding in findings if finding.code == "blocking-async")
    assert str(blocking).startswith(f"{mistakes.__file__}:25: warning: async task 'slow' calls time.sleep")
    assert str(blocking).endswith("[blocking-async]")
    assert blocking.to_dict()["task"] == "slow"
    assert Finding(**blocking.to_dict()) == blocking


def test_every_code_is_documented_with_its_severity() -> None:
    page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (\w+) \|", page, re.M))
    assert rows == {code: severity for code, (severity, _) in CODES.items()}


def test_findings_are_published() -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    findings = cs.check(mistakes.declare(), bus=bus)
    events = spy.events_of_type(StaticAnalysisWarning)
    assert [(event.warning_code, event.message) for event in events] == [(each.code, str(each)) for each in findings]


def test_a_plain_value_has_nothing_to_check() -> None:
    assert cs.check([1, 2]) == []


def test_a_graph_that_cannot_be_built_is_one_finding() -> None:
    @cs.task
    def f(x: Any) -> Any:
        return x

    first = f(1)
    first.after(f(first))
    [finding] = cs.check(first)
    assert (finding.code, finding.severity) == ("graph", "error")
    assert "CycleError" in finding.message
    assert finding.file == __file__
    with pytest.raises(TypeError, match="was not called"):
        cs.check(f)


def test_the_source_of_a_cell_that_is_no_plain_python_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["%matplotlib inline\n", "\n", "@cs.task\n", "async def f():\n", "    time.sleep(1)\n"]
    monkeypatch.setitem(linecache.cache, "<cell>", (1, None, lines, "<cell>"))
    names: dict[str, Any] = {"cs": cs, "time": time}
    exec(compile("\n" + "".join(lines[1:]), "<cell>", "exec"), names)
    [finding] = cs.check(names["f"]())
    assert (finding.code, finding.file, finding.line) == ("blocking-async", "<cell>", 5)


# --- tasks


def task_findings(func: Callable[..., Any], **options: Any) -> list[str]:
    task = cs.task(**options)(func)
    assert task.shape is not None
    needed = [0] * sum(name not in task.shape.defaults for name in task.shape.names)
    return codes(task(*needed))


async def sleeps() -> None:
    time.sleep(1)


async def runs_a_program() -> None:
    from subprocess import run as launch

    launch(["true"], check=False)


async def waits_for_a_program() -> None:
    subprocess.check_output(["true"])


async def asks() -> str:
    return input()


async def fetches() -> Any:
    import requests  # type: ignore[import-untyped,import-not-found,unused-ignore]

    return requests.get("http://localhost")


@pytest.mark.parametrize("func", [sleeps, runs_a_program, waits_for_a_program, asks, fetches])
def test_an_async_task_that_blocks(func: Any) -> None:
    assert task_findings(func) == ["blocking-async"]


async def sleeps_well() -> None:
    await asyncio.sleep(0)


async def sleeps_elsewhere() -> None:
    await asyncio.to_thread(time.sleep, 0)


async def sleeps_in_a_function_of_its_own() -> None:
    def work() -> None:
        time.sleep(0)

    await asyncio.to_thread(work)


async def has_a_time_of_its_own() -> None:
    class Clock:
        def sleep(self, seconds: float) -> None: ...

    time = Clock()
    time.sleep(1)


def sleeps_in_a_thread() -> None:
    time.sleep(0)


@pytest.mark.parametrize(
    "func", [sleeps_well, sleeps_elsewhere, sleeps_in_a_function_of_its_own, has_a_time_of_its_own, sleeps_in_a_thread]
)
def test_a_task_that_does_not_block(func: Any) -> None:
    assert task_findings(func) == []


jobs: queue.Queue[int] = queue.Queue()
lock = threading.Lock()
event = threading.Event()
settings = {"get": 1}


def takes_from_a_queue() -> int:
    return jobs.get()


def takes_from_its_argument(jobs: queue.Queue[int]) -> int:
    return jobs.get(timeout=3)


def takes_a_lock() -> None:
    lock.acquire()


def waits_for_an_event() -> None:
    event.wait()


def starts_a_loop() -> None:
    asyncio.run(asyncio.sleep(0))


WAITING = [takes_from_a_queue, takes_from_its_argument, takes_a_lock, waits_for_an_event, starts_a_loop]


@pytest.mark.parametrize("func", WAITING)
def test_an_auto_task_that_waits(func: Any) -> None:
    assert task_findings(func) == ["waiting-auto"]
    assert task_findings(func, mode="blocking") == []


def takes_what_is_there() -> int:
    return jobs.get_nowait() + jobs.get(False) + jobs.get(block=False)


def tries_a_lock() -> bool:
    return lock.acquire(blocking=False)


def holds_a_lock_for_a_moment() -> None:
    with lock:
        pass


def gets_from_a_dict(given: dict[str, int]) -> Any:
    return settings.get("get"), given.get("a"), "".join(["a"])


@pytest.mark.parametrize("func", [takes_what_is_there, tries_a_lock, holds_a_lock_for_a_moment, gets_from_a_dict])
def test_an_auto_task_that_does_not_wait(func: Any) -> None:
    assert task_findings(func) == []


total = 0


def counts() -> None:
    global total
    total += 1


def says() -> None:
    print("x")  # noqa: T201


def writes(path: str) -> None:
    with open(path, "w"):
        pass


def writes_a_path(path: Path) -> None:
    path.write_text("")


def marks(thing: Any) -> None:
    thing.seen = True


def changes(items: list[int]) -> None:
    items[0] += 1


IMPURE = [counts, says, writes, writes_a_path, marks, changes]


@pytest.mark.parametrize("func", IMPURE)
def test_a_pure_task_with_effects(func: Any) -> None:
    assert task_findings(func, pure=True) == ["impure"]
    assert task_findings(func) == []


def reads(path: str) -> str:
    own: dict[str, Any] = {}
    own["a"] = total
    with open(path) as file:
        return file.read()


def test_a_pure_task_without_effects() -> None:
    assert task_findings(reads, pure=True) == []


# --- loops


@cs.task
def stepping(n: int) -> Any:
    if n:
        return cs.Jump("again", n - 1)
    return cs.Jump("stop", n)


@cs.task
def helped(n: int) -> Any:
    return jump_or_not(n)


def jump_or_not(n: int) -> Any:
    return cs.Jump("again", n)


@cs.task
def falling(n: int) -> Any:
    if n:
        return cs.Jump("again", n - 1)


@cs.task
def forever(n: int) -> Any:
    while True:
        if n > 3:
            return cs.Jump("again", 0)
        n += 1


@cs.task
def by_variable(n: int) -> Any:
    way = cs.Jump("again", n) if n else cs.Jump("stop")
    return way


@cs.task
def raising(n: int) -> Any:
    if n:
        return cs.Jump("again", n - 1)
    raise ValueError(n)


@cs.task
def either(n: int) -> Any:
    return cs.Jump("again" if n else "stop", n)


def looped(task: Any, routes: Sequence[str] = ("again",), most: int | None = None) -> Any:
    step = task(3)
    cs.bind(step, cs.select_jump(dict.fromkeys(routes, step) | {"stop": None}), max_iterations=most)
    return step


@pytest.mark.parametrize("task", [stepping, helped, falling, by_variable, either])
def test_a_loop_with_an_exit(task: Any) -> None:
    assert codes(looped(task)) == []


@pytest.mark.parametrize("task", [forever, raising])
def test_a_loop_without_an_exit(task: Any) -> None:
    assert codes(looped(task)) == ["endless-loop"]
    assert codes(looped(task, most=3)) == []


def test_a_jump_to_no_route() -> None:
    step = stepping(3)
    cs.bind(step, cs.select_jump({"again": step}))
    [finding] = cs.check(step)
    assert (finding.code, finding.task) == ("unknown-route", "stepping")
    assert "cs.Jump('stop')" in finding.message
    assert "it has: 'again'" in finding.message


def test_a_state_that_a_helper_may_jump_to_is_not_called_unreachable() -> None:
    start, other = helped(1), stepping(2)
    ways = cs.select_jump({"other": other, "again": start, "stop": None})
    cs.bind(start, ways)
    cs.bind(other, ways)
    assert codes(start) == []


def test_a_state_that_is_read_as_a_value_is_entered() -> None:
    start, other = stepping(1), stepping(2)
    ways = cs.select_jump({"other": other, "again": start, "stop": None})
    cs.bind(start, ways)
    cs.bind(other, ways)
    assert codes(start) == ["unreachable-state"]
    assert codes([start, other]) == []


# --- types


def gives(kind: Any) -> Any:
    def f() -> Any: ...

    f.__annotations__ = {"return": kind}
    return cs.task(f)


def takes(kind: Any) -> Any:
    def f(x: Any) -> Any:
        return x

    f.__annotations__ = {"x": kind}
    return cs.task(f)


class Base: ...


class Derived(Base): ...


class Other: ...


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        *((int, str), (str, int), (list[int], list[str]), (list[int], dict[str, int]), (Base, Other), (None, int)),
        *((int | None, str), (int, str | bytes), (Literal["a"], int), (float, int), (tuple[int, ...], tuple[str, ...])),
        *((dict[str, int], dict[int, int]), (list[list[int]], list[list[str]]), (cs.Jump | int, str), (str, Callable)),
        (Iterator[int], list[int]),
    ],
)
def test_types_that_contradict(given: Any, wanted: Any) -> None:
    assert codes(takes(wanted)(gives(given)())) == ["type-mismatch"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        *(
            (int, int),
            (int, float),
            (bool, int),
            (Derived, Base),
            (Base, Derived),
            (Any, int),
            (int, Any),
            (int, object),
        ),
        *((list[int], list), (list[int], Sequence[int]), (int | str, str), (str, str | None), (None, int | None)),
        *((Literal[1], int), (list[Any], list[int]), (int | cs.Jump, int), (int, "Unknown")),
        *((dict[str, int], dict[str, float]), (str, Sequence[str]), (list[int], list[float]), (tuple[int, str], tuple)),
    ],
)
def test_types_that_may_fit(given: Any, wanted: Any) -> None:
    assert codes(takes(wanted)(gives(given)())) == []


def test_types_of_maps_routers_subflows_and_parameters() -> None:
    number, text = gives(int)(), takes(str)
    assert codes(text(takes(int).map(x=[number]))) == ["type-mismatch"]  # a list
    assert codes(takes(list)(takes(int).map(x=[number]))) == []
    assert codes(text.map(x=gives(list[int])())) == ["type-mismatch"]
    assert codes(text.map(x=gives(list[str])())) == []
    assert codes(text(cs.Router(number, {1: number, 2: gives(str)()}))) == []
    assert codes(text(cs.Router(number, {1: number, 2: gives(bytes)()}))) == ["type-mismatch"]
    assert codes(text(cs.subflow(number))) == ["type-mismatch"]
    assert codes(text(cs.Param("n", default=3))) == ["type-mismatch"]
    assert codes(text([number])) == ["type-mismatch"]
    assert codes(text(cs.Param("n"))) == []


# --- parameters and resources


def test_a_parameter_that_a_function_looks_at_only_inside_a_nested_one_is_used() -> None:
    @cs.task
    def nested(n: int) -> Any:
        return lambda: n

    @cs.task
    def around(n: int) -> Any:
        return locals()

    @cs.task
    def kept(**options: int) -> int:
        return 1

    for task in (nested, around):
        assert codes(task(cs.Param("n", default=1))) == []
    assert codes(kept(n=cs.Param("n", default=1))) == []


def test_a_parameter_that_one_of_two_tasks_looks_at_is_used() -> None:
    n = cs.Param("n", default=1)
    assert codes([mistakes.quiet(n), mistakes.count(n)]) == codes(mistakes.count(n))


@cs.task
def asking(database: Any = cs.inject("the database")) -> Any:
    return database


def test_a_resource_that_somebody_provides() -> None:
    @cs.resource(name="the database")
    def database() -> Iterator[int]:
        yield 1

    assert codes(asking()) == ["missing-resource"]
    assert codes(asking(), resources=[database]) == []
    engine = Engine()
    engine.register(database)
    assert codes(asking(), engine=engine) == []
    assert codes(asking(cs.inject("five"))) == ["missing-resource", "missing-resource"]
    assert codes(flows.give(cs.inject("five"))) == []  # its module has a resource of this name
