"""Recorded runs on the page: read in pages, counted by node, and nothing of them decoded."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state.memory import MemoryBackend
from cascade.adapters.state.sqlite import SqliteBackend
from cascade.errors import StateError
from cascade.runtime import Engine
from cascade.runtime.page.history import History
from cascade.runtime.page.sources import OtherEngines, Sources
from cascade.spec.state import Commit, Owner, RunRecord, StepRecord


@cs.task
def double(x: int) -> int:
    return 2 * x


@cs.task
def add(x: Any, y: int) -> int:
    return int(y)


@cs.task
def fails(x: int) -> int:
    raise ValueError("no luck")


@cs.task
def again(n: int) -> Any:
    return cs.Jump("again", n - 1) if n else cs.Jump("done", "end")


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "runs.db")


def recorded(store: Any, target: Any, run_id: str) -> None:
    async def main() -> None:
        async with Engine(state_backend=store) as engine:
            with suppress(ValueError):
                await engine.run(target, run_id=run_id)

    asyncio.run(main())


def told(history: History, run: str, part: str, ready: Callable[[dict[str, Any]], Any] = bool, **args: Any) -> Any:
    """Return a part of a run, once it is as it is to be: what is counted is counted by another thread."""
    while not ready(found := history.tell({"run": run, "part": part, **args})):
        pass
    return found


def test_a_run_has_its_steps_its_nodes_and_its_time_line(store: Any) -> None:
    recorded(store, add(double.map(x=range(250)), double(1)), "r")
    history = History(store)
    try:
        (run,) = history.runs(None, "", 10)
        assert (run["run"], run["status"], run["engine"]) == ("r", "Succeeded", "store")
        head = told(history, "r", "head", lambda found: found["steps"])
        assert (head["steps"], head["counts"]["succeeded"]) == (252, 252)
        first = told(history, "r", "steps", limit=100)
        assert (len(first["rows"]), first["more"]) == (100, True)
        rest = told(history, "r", "steps", limit=300, after=first["rows"][-1]["number"])
        assert (len(rest["rows"]), rest["more"]) == (152, False)
        assert len({row["task_id"] for row in first["rows"] + rest["rows"]}) == 252
        nodes = {node["name"]: node["succeeded"] for node in told(history, "r", "nodes", lambda n: n["nodes"])["nodes"]}
        assert nodes == {"double#1": 250, "double#2": 1, "add#1": 1}
        assert len(told(history, "r", "steps", node="double#1", limit=300)["rows"]) == 250
        assert told(history, "r", "steps", text="#1[24")["rows"][0]["task_id"] == "double#1[24]"
        assert told(history, "r", "line")["path"][-1] == "add#1"
        sources = [each["source"] for each in told(history, "r", "step", task_id="add#1")["arguments"]]
        assert sources == ["double#1", "double#2"]
        with pytest.raises(StateError, match="other"):
            history.tell({"run": "other", "part": "head"})
    finally:
        history.close()


def test_failures_and_entries_of_loops_are_found(store: Any) -> None:
    loop = again(5)
    cs.bind(loop, cs.select_jump({"again": loop, "done": None}), history=True)
    recorded(store, fails(loop), "r")
    history = History(store)
    try:
        (failed,) = told(history, "r", "steps", status="Failed")["rows"]
        assert (failed["task_id"], failed["error"]) == ("fails#1", "ValueError: no luck")
        assert told(history, "r", "head")["error"] == "ValueError: no luck"
        assert [run["run"] for run in history.runs("Failed", "luck", 10)] == ["r"]
        assert history.runs("Succeeded", "", 10) == []
        assert history.runs(None, "nothing like it", 10) == []
    finally:
        history.close()


def test_a_run_that_nobody_carries_on_says_so_and_what_was_begun_is_listed(store: Any) -> None:
    store.open()
    gone = Owner("boot", "pids", 1, "then", "elsewhere")
    store.create(RunRecord("r", "Running", "flow.py:main", b"", b"{}", 1.0, 1.0, owner=gone))
    begun = StepRecord("1?", -1, "begun", b"", "double#1", 2, 1.0, 1.0, "", "")
    store.commit([Commit("r", 1, 1, [begun])])
    history = History(store)
    try:
        (run,) = history.runs(None, "", 10)
        assert run["status"] in ("Running", "Handed back")
        (row,) = told(history, "r", "steps", status="Running")["rows"]
        assert (row["task_id"], row["attempt"], row["ended"]) == ("double#1", 2, None)
        store.commit([Commit("r", 1, 2, [begun._replace(key="1", kind="value", preview="2")])])
        (row,) = told(history, "r", "steps")["rows"]
        assert (row["status"], row["preview"]) == ("Succeeded", "2")
    finally:
        history.close()
        store.close()


def test_nothing_is_decoded(tmp_path: Path) -> None:
    """What somebody has put into a store is shown by its preview; pickles are left alone."""

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    import pickle

    store = SqliteBackend(tmp_path / "runs.db")
    store.open()
    evil = pickle.dumps(Evil())
    store.create(RunRecord("r", "Succeeded", "", evil, evil, 1.0, 1.0))
    store.commit([Commit("r", 0, 1, [StepRecord("1", -1, "value", evil, "double#1", 1, 1.0, 2.0, "", "<b>shown</b>")])])
    history = History(store)
    try:
        for part in ("head", "nodes", "steps", "line", "logs"):
            told(history, "r", part)
        assert told(history, "r", "steps")["rows"][0]["preview"] == "<b>shown</b>"
        assert told(history, "r", "step", task_id="double#1")["arguments"] == []
        assert not (tmp_path / "made").exists()
    finally:
        history.close()
        store.close()


def test_a_run_of_the_store_is_sent_a_message_and_not_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteBackend(tmp_path / "runs.db")
        async with Engine(state_backend=store) as engine:
            run = engine.start(cs.wait_signal("go", type=int), run_id="r")
            while "r" not in [each.run_id for each in await engine.runs()]:
                await asyncio.sleep(0.01)
            history, engines = History(store), OtherEngines()
            sources = Sources(engines, history)
            try:
                with pytest.raises(StateError, match="only be looked at"):
                    await sources.ask({"do": "cancel", "engine": "store", "run": "r"})
                await sources.ask({"do": "signal", "engine": "store", "run": "r", "name": "go", "value": 7})
                assert await run == 7
            finally:
                history.close()
                engines.close()

    asyncio.run(main())
