"""Runs that are put into a queue: how they are named, checked, and what is kept of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.errors import ParameterError, StateError
from cascade.runtime.events import RunStarted
from cascade.spec.state import Commit, RunRecord
from cascade.testing import SpySubscriber

calls: list[Any] = []


@cs.task
def double(n: int) -> int:
    calls.append(n)
    if n == 13:
        raise ValueError("no luck")
    return 2 * n


@cs.task
def spell(text: str) -> str:
    return text


doubled = double(cs.Param("n", type=int))
compiled = cs.compile(doubled)
several = [doubled, double(1)]
secretive = double(cs.Param("key", type=int, secret=True))
environment = spell(cs.Env("CASCADE_NO_SUCH_VARIABLE"))
NAME = f"{__name__}:doubled"


@pytest.fixture
def store() -> MemoryBackend:
    calls.clear()
    return MemoryBackend()


async def enqueue(store: MemoryBackend, target: Any, *args: Any, **options: Any) -> RunRecord:
    async with cs.Engine(state_backend=store) as engine:
        engine.register_blueprint("known", double(cs.Param("n", type=int)))
        record = store.find(await engine.enqueue(target, *args, **options))
    assert record is not None
    return record


def enqueued(store: MemoryBackend, target: Any, *args: Any, **options: Any) -> RunRecord:
    return asyncio.run(enqueue(store, target, *args, **options))


def test_it_waits_and_whoever_starts_it_runs_it(store: MemoryBackend) -> None:
    record = enqueued(store, doubled, {"n": "4"})
    assert (record.status, record.owner, record.epoch, record.due) == ("Enqueued", None, 0, 0.0)
    assert (record.target, record.queue, record.priority) == (NAME, "default", 0)
    assert calls == []

    async def go_on() -> Any:
        async with cs.Engine(state_backend=store) as engine:
            spy = SpySubscriber(engine.bus)
            value = await engine.run(doubled, run_id=record.run_id)
            return value, [event.resumed for event in spy.events if isinstance(event, RunStarted)]

    assert asyncio.run(go_on()) == (8, [False])
    assert calls == [4]
    assert [each.status for each in store.runs()] == ["Succeeded"]


class TestNames:
    @pytest.mark.parametrize(
        ("target", "name"),
        [
            (doubled, NAME),
            (compiled, f"{__name__}:compiled"),
            (several, f"{__name__}:several"),
            ("known", "known"),
            ("flows.py:report", "flows.py:report"),
            ("/srv/app/flows.py:reports.daily", "/srv/app/flows.py:reports.daily"),
            ("myapp.flows:report", "myapp.flows:report"),
        ],
    )
    def test_what_another_process_can_find_has_a_name(self, store: MemoryBackend, target: Any, name: str) -> None:
        assert enqueued(store, target, {"n": 1} if target not in ("known",) else {"n": 2}).target == name

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            (double(1), r"and <.*> has no name: let it be a global of a file that `cascade serve` is given"),
            (len, "has no name"),
            (3, "has no name"),
            ("report", r"'report'\) names no program that a server could find: .* \(there are: 'known'\)"),
            ("flows-1:report", "names no program"),
            ("flows.py:", "names no program"),
            ("flows.py:a b", "names no program"),
            ("", "names no program"),
        ],
    )
    def test_all_else_is_refused_at_the_call(self, store: MemoryBackend, target: Any, said: str) -> None:
        with pytest.raises(StateError, match=said):
            enqueued(store, target)
        assert store.runs() == []

    def test_a_module_that_is_no_package_goes_by_its_file(
        self, store: MemoryBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = ModuleType("flows")
        module.__file__ = "/srv/app/flows.py"
        module.report = double(3)  # type: ignore[attr-defined]
        module._hidden = double(3)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "flows", module)
        assert enqueued(store, module.report).target == "flows.py:report"
        with pytest.raises(StateError, match="has no name"):
            enqueued(store, module._hidden)


class TestParameters:
    @pytest.mark.parametrize("target", [doubled, NAME, "known"])
    @pytest.mark.parametrize(
        ("params", "said"),
        [({}, "'n'"), ({"n": "four"}, "n"), ({"n": 1, "m": 2}, "no parameter 'm'")],
    )
    def test_they_are_checked_where_the_program_is_at_hand(
        self, store: MemoryBackend, target: Any, params: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ParameterError, match=said):
            enqueued(store, target, params)
        assert store.runs() == []

    def test_those_of_a_program_that_is_not_loaded_are_kept_as_they_are(self, store: MemoryBackend) -> None:
        assert b"anything" in enqueued(store, "elsewhere.py:report", {"m": "anything"}).params

    def test_a_secret_is_not_written(self, store: MemoryBackend) -> None:
        for target in (secretive, f"{__name__}:secretive"):
            with pytest.raises(StateError, match="secrets are never written: key; let the task read it where it runs"):
                enqueued(store, target, {"key": 12345})
        assert store.runs() == []

    def test_variables_are_read_where_it_runs(self, store: MemoryBackend) -> None:
        assert enqueued(store, environment).status == "Enqueued"

    def test_one_that_cannot_be_recorded_is_named(self, store: MemoryBackend) -> None:
        with pytest.raises(StateError, match="one of them cannot be: m"):
            enqueued(store, "elsewhere.py:report", {"m": lambda: 1})


class TestOptions:
    def test_they_are_kept(self, store: MemoryBackend) -> None:
        at = datetime.now(UTC) + timedelta(hours=1)
        record = enqueued(store, "a.py:b", run_id="run", queue="mail", priority=-3, not_before=at)
        assert (record.run_id, record.queue, record.priority) == ("run", "mail", -3)
        assert record.due == at.timestamp()

    @pytest.mark.parametrize(
        ("options", "error", "said"),
        [
            ({"queue": ""}, TypeError, "queue"),
            ({"priority": 1.5}, TypeError, "priority"),
            ({"priority": True}, TypeError, "priority"),
            ({"priority": 2**31}, ValueError, "at most 2,147,483,647"),
            ({"dedupe": ""}, TypeError, "dedupe"),
            ({"not_before": datetime(2026, 1, 1)}, TypeError, "with a time zone"),
            ({"not_before": 5}, TypeError, "with a time zone"),
            ({"run_id": ""}, TypeError, "run_id"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, store: MemoryBackend, options: dict[str, Any], error: type[Exception], said: str
    ) -> None:
        with pytest.raises(error, match=said):
            enqueued(store, "a.py:b", **options)
        assert store.runs() == []

    def test_without_a_store_it_says_so(self) -> None:
        with pytest.raises(StateError, match=r"give it a store: cs\.Engine\(state_backend="):
            asyncio.run(cs.Engine().enqueue("a.py:b"))

    def test_the_unfinished_one_of_its_kind_is_returned(self, store: MemoryBackend) -> None:
        first = enqueued(store, "a.py:b", dedupe="monday")
        assert enqueued(store, "a.py:b", dedupe="monday") == first
        assert enqueued(store, "a.py:c", dedupe="monday") != first
        store.take(first.run_id, 0, first.owner, b"", b"")  # type: ignore[arg-type]
        store.commit([Commit(first.run_id, 1, 1, status="Succeeded")])
        assert enqueued(store, "a.py:b", dedupe="monday").run_id != first.run_id


class TestKnownRuns:
    def test_one_that_waits_or_has_succeeded_stays(self, store: MemoryBackend) -> None:
        first = enqueued(store, doubled, {"n": 1}, run_id="run")
        assert enqueued(store, doubled, run_id="run", priority=5) == first
        cs.run(doubled, run_id="run", state_backend=store, log_level="SILENT")
        assert enqueued(store, doubled, run_id="run", priority=5).status == "Succeeded"

    def test_one_that_has_failed_goes_on(self, store: MemoryBackend) -> None:
        enqueued(store, doubled, {"n": 13}, run_id="run")
        with pytest.raises(ValueError, match="no luck"):
            cs.run(doubled, run_id="run", state_backend=store, log_level="SILENT")
        before = store.find("run")
        assert before is not None
        again = enqueued(store, doubled, run_id="run", priority=5)
        assert (again.status, again.priority, again.params) == ("Enqueued", 5, before.params)

    def test_other_parameters_or_another_program_are_refused(self, store: MemoryBackend) -> None:
        enqueued(store, doubled, {"n": 1}, run_id="run")
        with pytest.raises(ParameterError, match="run 'run' was begun with n=1, and is given n=2 now"):
            enqueued(store, doubled, {"n": 2}, run_id="run")
        with pytest.raises(StateError, match=rf"run 'run' is of '{NAME}', and is enqueued as 'a.py:b' now"):
            enqueued(store, "a.py:b", run_id="run")


def test_it_is_in_the_file_when_it_returns(tmp_path: Path) -> None:
    async def put() -> list[RunRecord]:
        async with (
            cs.Engine(state_backend=tmp_path / "runs.db") as engine,
            cs.Engine(state_backend=tmp_path / "runs.db") as other,
        ):
            await engine.enqueue("a.py:b", run_id="run")
            return await other.runs(status="Enqueued")

    assert [each.run_id for each in asyncio.run(put())] == ["run"]


@pytest.mark.parametrize("make", [lambda folder: MemoryBackend()])
def test_who_listens_is_woken(make: Callable[[Path], Any], tmp_path: Path) -> None:
    store, woken = make(tmp_path), []
    end = store.listen("default", lambda: woken.append(1))
    enqueued(store, "a.py:b")
    end()
    enqueued(store, "a.py:b")
    assert woken == [1]
