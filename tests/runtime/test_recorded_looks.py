"""Looking at runs of a store, forks of them, and how long they are kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.errors import StateError
from cascade.runtime import Engine
from cascade.runtime.journal.journal import Journal
from cascade.runtime.journal.writer import Writer
from cascade.spec.state import RunRecord
from tests.runtime.recorded import calls, climb_down, count_to, fail, load, parse, publish, report, run
from tests.runtime.recorded import fresh as fresh
from tests.runtime.recorded import store as store
from tests.workflows import TIERS, Tier


class TestLookingAtRuns:
    def test_history_and_forgetting(self, store: Any) -> None:
        fail(report(), store)

        async def main() -> None:
            async with Engine(state_backend=store) as engine:
                steps = await engine.history("r")
                assert [(step.task_id, step.kind) for step in steps] == [
                    ("load#1", "value"), ("parse#1", "value"), ("publish#1", "failed"),
                ]  # fmt: skip
                assert steps[0].preview == "{'n': 3}"
                assert "the printer is on fire" in steps[2].error
                assert await engine.forget("r")
                assert not await engine.forget("r")
                with pytest.raises(StateError, match="no recorded run"):
                    await engine.history("r")

        asyncio.run(main())

    def test_a_fork_runs_again_from_a_step_on(self, store: Any) -> None:
        run(report(), store)
        calls.clear()

        async def main() -> None:
            async with Engine(state_backend=store) as engine:
                new = await engine.fork("r", at="parse#1")
                assert await engine.run(report(), run_id=new) == "30 pages"
                assert calls == [("parse", 3), ("publish", 30)]
                with pytest.raises(StateError, match="no step 'sparse#1'; its nodes are: "):
                    await engine.fork("r", at="sparse#1")

        asyncio.run(main())

    @pytest.mark.parametrize("tier", TIERS)
    def test_all_entries_of_a_loop_with_history_are_kept(self, tier: Tier) -> None:
        def target(history: bool = True) -> Any:
            first, second = climb_down(3), count_to(0, parse(load("ab")))
            cs.bind(first, cs.select_jump({"on": second}), history=history)
            cs.bind(second, cs.select_jump({"on": first, "out": None}))
            return publish(first)

        async def main() -> None:
            async with Engine(state_backend=store, tier=tier) as engine:
                kept = {step.task_id: step.preview for step in await engine.history("r")}
                assert [kept[f"climb_down#1@{entry}"] for entry in range(7)] == ["3", "2", "2", "1", "1", "0", "0"]
                assert [kept[f"parse#1@{entry}"] for entry in (1, 3, 5, 7)] == ["20"] * 4
                for entry, first in ((0, ("down", 3)), (4, ("down", 1)), (5, ("to", 1)), (7, ("to", 0))):
                    new = await engine.fork("r", at=f"climb_down#1@{entry}")
                    calls.clear()
                    assert await engine.run(target(), run_id=new) == "20 pages"
                    assert calls[0] == first  # what feeds it is taken over
                    assert kept.keys() == {step.task_id for step in await engine.history(new)}
                for missing in ("climb_down#1@8", "climb_down#1@-1", "climb_down#1@", "parse#1@1"):
                    with pytest.raises(StateError, match=r"not kept: .*history=True"):
                        await engine.fork("r", at=missing)
                await engine.run(target(history=False), run_id="other")
                assert "@" not in repr(await engine.history("other"))
                with pytest.raises(StateError, match=r"fork at the loop: 'climb_down#1'"):
                    await engine.fork("other", at="climb_down#1@4")

        store = MemoryBackend()
        fail(target(), store, tier=tier)
        assert run(target(), store, tier=tier) == "20 pages"
        asyncio.run(main())

    def test_an_engine_without_a_store_says_so(self) -> None:
        async def main() -> None:
            async with Engine() as engine:
                with pytest.raises(StateError, match="state_backend"):
                    await engine.runs()
                with pytest.raises(LookupError, match="going on are: none"):
                    engine.attach("r")

        asyncio.run(main())


class TestKeeping:
    def test_so_many_finished_runs_stay(self, store: Any) -> None:
        async def main() -> None:
            async with Engine(state_backend=store, keep=2) as engine:
                for name in "abcd":
                    await engine.run(report(), run_id=name)
                assert [run.run_id for run in await engine.runs()] == ["d", "c"]
            async with Engine(state_backend=store, keep=0) as engine:
                calls.clear()
                assert await engine.run(report(), run_id="c") == "30 pages"
                assert (calls, await engine.runs()) == ([], [])

        asyncio.run(main())

    def test_so_long_finished_runs_stay(self, store: Any) -> None:
        async def main() -> None:
            for keep, left in ((timedelta(days=1), ["b", "a"]), (timedelta(), ["c"])):
                async with Engine(state_backend=store, keep=keep) as engine:
                    for name in left:
                        await engine.run(report(), run_id=name)
                    assert {"a", "b"}.isdisjoint(run.run_id for run in await engine.runs()) == (not keep)

        asyncio.run(main())

    def test_what_is_not_over_stays(self, store: Any) -> None:
        fail(report(), store, run_id="failed")

        async def main() -> None:
            async with Engine(state_backend=store) as engine:
                waiting = engine.start(cs.wait_signal("go", type=int), run_id="waiting")
                await engine.fork("failed", at="publish#1")  # known, and not begun
                while not await engine.runs(status="Running", limit=2):
                    await asyncio.sleep(0)
                async with Engine(state_backend=store, keep=0) as other:
                    await other.run(report(), run_id="done")
                    left = await other.runs()
                assert sorted(run.status for run in left) == ["Running", "Running"]
                assert "waiting" in [run.run_id for run in left]
                await engine.signal("waiting", "go", 1)
                assert await waiting == 1

        asyncio.run(main())

    def test_many_are_looked_at_seldom_and_forgotten_by_and_by(self) -> None:
        looks: list[int] = []

        class Seen(MemoryBackend):
            def runs(self, *wanted: Any, **more: Any) -> Any:
                found = super().runs(*wanted, **more)
                looks.append(len(found))
                return found

        store = Seen()
        for at in range(250):
            store.create(RunRecord(str(at), "Failed", "", b"", b"", float(at), float(at)))
        writer = Writer(store, 100)

        async def main() -> None:
            for _ in range(44):
                run: Any = Journal(f"run-{len(looks)}", 1, writer, {}, "group")
                writer.begin(run)
                await writer.ask(lambda: None)  # which is answered behind what was asked before
                writer.leave(run)
                await writer.ask(lambda: None)
            await writer.aclose()

        asyncio.run(main())
        assert looks[:3] == [250, 150, 100]
        assert len(looks) == 1 + 87 // 11
        assert sorted(int(run.run_id) for run in store.runs()) == list(range(150, 250))

    def test_a_run_that_is_forgotten_while_it_is_asked_for(self) -> None:
        class Forgetful(MemoryBackend):
            def steps(self, run_id: str) -> Any:
                return []

        store = Forgetful()
        run(report(), store)
        with pytest.raises(StateError, match="was forgotten at this very moment"):
            run(report(), store)

    @pytest.mark.parametrize(
        ("keep", "said"),
        [
            (30.0, "how many finished runs stay"),
            ("30d", "how many finished runs stay"),
            (True, "how many"),
            (-1, "0 or more"),
            (timedelta(-1), "0 or more"),
        ],
    )
    def test_what_is_neither_is_refused(self, keep: Any, said: str) -> None:
        with pytest.raises((TypeError, ValueError), match=said):
            Engine(state_backend="memory", keep=keep)
        with pytest.raises(ValueError, match="for runs that are recorded"):
            Engine(keep=keep)
