"""Programs that are run by the clock: when, over changes of clocks, restarts and times at which nobody was there."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.schedules.schedule import Schedule
from cascade.adapters.state import MemoryBackend
from cascade.app.schedules import schedule_of
from cascade.app.scheduling import Fired, Scheduling, firing_id, schedule_id
from cascade.app.serving import Server, ServerReporter, Serving
from cascade.errors import MissingExtraError, StateError
from cascade.runtime.journal.recorder import Recorder
from cascade.spec.state import Commit, Owner, RunRecord

pytest.importorskip("cronsim")

# Clocks change in 2026: Berlin and London on March 29 and October 25 at 01:00 UTC, New York on March 8 at 07:00 and on
# November 1 at 06:00 UTC, Lord Howe by half an hour on April 4 at 15:00 and October 3 at 15:30 UTC.
TABLE: list[tuple[str, str, str, list[str]]] = [
    ("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00", ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
    ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["10-25T00:30", "10-26T01:30", "10-27T01:30"]),
    ("0 6 * * *", "Europe/Berlin", "2026-03-28T00:00", ["03-28T05:00", "03-29T04:00", "03-30T04:00"]),
    ("0 6 * * *", "Europe/Berlin", "2026-10-24T00:00", ["10-24T04:00", "10-25T05:00", "10-26T05:00"]),
    ("*/15 * * * *", "Europe/Berlin", "2026-03-29T00:40", ["03-29T00:45", "03-29T01:00", "03-29T01:15"]),
    ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15", ["10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"]),
    ("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", ["03-29T01:00", "03-30T00:00", "03-30T01:00"]),
    ("0 2,3 * * *", "Europe/Berlin", "2026-10-24T12:00", ["10-25T00:00", "10-25T02:00", "10-26T01:00", "10-26T02:00"]),
    ("15 2 * * *", "America/New_York", "2026-03-07T12:00", ["03-08T07:00", "03-09T06:15", "03-10T06:15"]),
    ("45 1 * * *", "America/New_York", "2026-10-31T12:00", ["11-01T05:45", "11-02T06:45", "11-03T06:45"]),
    ("0 0 * * *", "America/New_York", "2026-03-07T00:00", ["03-07T05:00", "03-08T05:00", "03-09T04:00"]),
    ("0 0 1 * *", "America/New_York", "2026-10-15T00:00", ["11-01T04:00", "12-01T05:00", "2027-01-01T05:00"]),
    ("0 9 * * 1", "America/New_York", "2026-03-01T00:00", ["03-02T14:00", "03-09T13:00", "03-16T13:00"]),
    ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03T20:00", ["04-04T14:45", "04-05T15:15", "04-06T15:15"]),
    ("10 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["10-03T15:30", "10-04T15:10", "10-05T15:10"]),
    ("59 1 * * *", "Europe/London", "2026-03-28T12:00", ["03-29T01:00", "03-30T00:59", "03-31T00:59"]),
    ("30 1 * * 0", "Europe/London", "2026-10-18T12:00", ["10-25T00:30", "11-01T01:30", "11-08T01:30"]),
    ("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
    ("0 12 31 * *", "UTC", "2026-01-31T12:00", ["03-31T12:00", "05-31T12:00", "07-31T12:00"]),
    ("5-7/2 * * * *", "UTC", "2026-01-01T00:05", ["01-01T00:07", "01-01T01:05"]),
    ("30 5 * * *", "Asia/Kolkata", "2026-06-01T00:00", ["06-02T00:00", "06-03T00:00"]),
]
"""Expression, time zone, a time, and when it fires next, in UTC: 61 firings, worked out by hand."""
NAME = "flows.py:nightly"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text if len(text) == 16 else f"2026-{text}").replace(tzinfo=UTC)


def said(cron: str = "0 6 * * *", timezone: str = "UTC", **about: Any) -> Schedule:
    """Return a schedule as a target has it."""
    found = schedule_of(cs.schedule(cron=cron, timezone=timezone, **about)([cs.wait(1)]))
    assert found is not None
    return found


class Clocked(MemoryBackend):
    """A store whose clock is set by the test."""

    def __init__(self, time: str) -> None:
        super().__init__()
        self.time = at(time).timestamp()

    def now(self) -> float:
        return self.time

    def set(self, time: datetime) -> None:
        self.time = time.timestamp()


def server(store: MemoryBackend, schedule: Schedule) -> Scheduling:
    """Return what fires in a server that begins now."""
    made = Scheduling({NAME: schedule}, "default", store, lambda: b"params")
    made.keep()
    return made


def fired(store: MemoryBackend) -> list[str]:
    return [each.run_id for each in reversed(store.runs(target=NAME))]


def end(store: MemoryBackend, run_id: str, status: Any = "Succeeded") -> None:
    epoch = store.take(run_id, 0, GONE, b"", b"").epoch
    store.commit([Commit(run_id, epoch, 1, status=status)])


GONE = Owner("another boot", "", 1, "", "a host")


@pytest.mark.parametrize(("cron", "timezone", "start", "times"), TABLE, ids=lambda value: str(value)[:40])
def test_it_fires_at_these_times_on_one_of_several_servers_that_come_and_go(
    cron: str, timezone: str, start: str, times: list[str]
) -> None:
    store, schedule = Clocked(start), said(cron, timezone, overlap="allow")
    servers = [server(store, schedule), server(store, schedule)]
    for count, each in enumerate(map(at, times)):
        store.set(each - timedelta(seconds=1))
        assert [each for one in servers for each in one.fire(True)[0]] == []
        servers[count % 2] = server(store, schedule)  # it was started again
        store.set(each)
        told = [each for one in servers for each in one.fire(True)[0]]
        assert told == [Fired(firing_id(NAME, each), False)]
    assert fired(store) == [f"{NAME}@{at(each):%Y-%m-%dT%H:%MZ}" for each in times]
    for run_id in fired(store):
        found = store.find(run_id)
        assert found is not None
        assert (found.status, found.queue, found.params) == ("Enqueued", "default", b"params")


def test_the_table_has_sixty_firings() -> None:
    assert sum(len(times) for *_, times in TABLE) >= 60


class TestMissed:
    @pytest.mark.parametrize(("late", "count"), [(59, 1), (60, 0), (3600, 0)])
    def test_the_latest_is_made_up_for_within_a_minute(self, late: int, count: int) -> None:
        store, schedule = Clocked("2026-01-01T00:00"), said("0 6 * * *", overlap="allow")
        server(store, schedule)
        store.set(at("01-05T06:00") + timedelta(seconds=late))
        server(store, schedule).fire(True)
        assert fired(store) == [f"{NAME}@2026-01-05T06:00Z"][:count]
        store.set(at("01-06T06:00"))
        server(store, schedule).fire(True)
        assert fired(store)[count:] == [f"{NAME}@2026-01-06T06:00Z"], "it goes on"

    def test_all_since_it_was_first_seen_oldest_first(self) -> None:
        store, schedule = Clocked("2026-01-01T07:00"), said("0 6 * * *", catch_up=True, overlap="allow")
        server(store, schedule)
        store.set(at("01-05T05:00"))
        made = server(store, schedule)
        assert [each.run_id for each in made.fire(True)[0]] == [f"{NAME}@2026-01-{day:02}T06:00Z" for day in (2, 3, 4)]
        assert made.fire(True)[0] == []

    def test_so_many_of_the_latest(self) -> None:
        store, schedule = Clocked("2026-01-01T07:00"), said("0 6 * * *", catch_up=2, overlap="allow")
        server(store, schedule)
        store.set(at("02-01T05:00"))
        server(store, schedule).fire(True)
        assert fired(store) == [f"{NAME}@2026-01-{day}T06:00Z" for day in (30, 31)]

    def test_of_very_many_a_part_at_once(self) -> None:
        store, schedule = Clocked("2026-01-01T00:00"), said("* * * * *", catch_up=True, overlap="allow")
        made = server(store, schedule)
        store.set(at("01-02T16:40"))
        counts = [len(made.fire(True)[0]) for _ in range(4)]
        assert counts == [1000, 1000, 440, 0]
        assert len({*fired(store)}) == 40 * 60 + 40


class TestOverlap:
    def test_a_time_is_skipped_while_an_earlier_run_goes_on(self) -> None:
        store, schedule = Clocked("2026-01-01T00:00"), said("0 * * * *")
        made = server(store, schedule)
        store.set(at("01-01T01:00"))
        made.fire(False)
        store.set(at("01-01T02:00"))
        assert made.fire(False)[0] == [Fired(f"{NAME}@2026-01-01T02:00Z", True)]
        end(store, f"{NAME}@2026-01-01T01:00Z", "Failed")
        store.set(at("01-01T03:00"))
        made.fire(False)
        assert fired(store) == [f"{NAME}@2026-01-01T0{hour}:00Z" for hour in (1, 3)]

    def test_it_waits_for_an_earlier_run(self) -> None:
        store, schedule = Clocked("2026-01-01T00:00"), said("0 * * * *", overlap="queue", catch_up=True)
        made = server(store, schedule)
        store.set(at("01-01T03:30"))
        made.fire(False)
        for hour in (1, 2, 3):
            assert fired(store) == [f"{NAME}@2026-01-01T0{each}:00Z" for each in range(1, hour + 1)]
            made = server(store, schedule)
            store.time += 1
            assert made.fire(False)[0] == []
            end(store, f"{NAME}@2026-01-01T0{hour}:00Z")
            store.time += 1
            made.fire(False)
        assert made.fire(False)[1] == pytest.approx(1800, abs=10)

    def test_what_was_started_by_hand_is_none_of_it(self) -> None:
        store, schedule = Clocked("2026-01-01T00:00"), said("0 * * * *")
        store.create(RunRecord("by hand", "Enqueued", NAME, b"", b"", 1.0, 1.0, queue="default"))
        made = server(store, schedule)
        store.set(at("01-01T01:00"))
        assert [each.is_skipped for each in made.fire(False)[0]] == [False]


class TestFaults:
    @pytest.mark.parametrize("where", ["take", "commit"])
    def test_a_server_that_fails_in_between_fires_once_all_the_same(self, where: str) -> None:
        class Failing(Clocked):
            is_broken = False

            def take(self, *given: Any) -> Any:
                if self.is_broken and where == "take":
                    raise StateError("the disk is gone")
                return super().take(*given)

            def commit(self, *given: Any) -> Any:
                if self.is_broken and where == "commit":
                    raise StateError("the disk is gone")
                return super().commit(*given)

        store, schedule = Failing("2026-01-01T00:00"), said("0 * * * *")
        made = server(store, schedule)
        store.set(at("01-01T01:00"))
        store.is_broken = True
        with pytest.raises(StateError):
            made.fire(False)
        store.is_broken = False
        end(store, f"{NAME}@2026-01-01T01:00Z", "Failed")
        assert made.fire(True)[0] == []
        assert [each.status for each in store.runs(target=NAME)] == ["Failed"], "what has failed is not begun again"
        store.set(at("01-01T02:00"))
        assert len(made.fire(True)[0]) == 1

    def test_one_whose_server_is_gone_is_fired_by_another(self) -> None:
        store, schedule = Clocked("2026-01-01T00:00"), said("0 * * * *")
        server(store, schedule)
        store.take(schedule_id(NAME), 0, GONE, store.find(schedule_id(NAME)).params, b"")  # type: ignore[union-attr]
        store.set(at("01-01T01:00"))
        assert [each.is_skipped for each in server(store, schedule).fire(True)[0]] == [False]

    def test_other_times_hold_from_the_next_start_on(self) -> None:
        store = Clocked("2026-01-01T00:00")
        server(store, said("0 1 * * *"))
        made = server(store, said("0 2 * * *"))
        store.set(at("01-01T01:30"))
        assert made.fire(True)[0] == []
        store.set(at("01-01T02:00"))
        made.fire(True)
        assert fired(store) == [f"{NAME}@2026-01-01T02:00Z"]


calls: list[str] = []


@cs.task
def work(n: int = 3) -> int:
    calls.append("work")
    if n > 3:
        raise ValueError("no luck")
    return n


def test_a_server_carries_out_what_is_due_and_what_fails_is_not_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    calls.clear()
    store, schedule = Clocked("2026-01-01T00:59"), said("0 * * * *")
    programs = {NAME: work(cs.Param("n", default=4))}

    async def eventually(is_so: Callable[[], Any]) -> None:
        until = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < until
            await asyncio.sleep(0.005)

    async def serve() -> None:
        servers = []
        for _ in range(2):
            engine = cs.Engine(state_backend=Recorder(store, "group"))
            made = Server(engine, programs, Serving(), ServerReporter("INFO", "human"), {NAME: schedule})
            servers.append((made, asyncio.ensure_future(made.serve())))
        await eventually(lambda: store.find(schedule_id(NAME)))
        store.set(at("01-01T01:00"))
        await eventually(lambda: store.runs(status="Failed"))
        await asyncio.sleep(0.05)
        for made, _ in servers:
            made.end()
        await asyncio.gather(*[task for _, task in servers])

    asyncio.run(serve())
    assert calls == ["work"]
    (run,) = store.runs(target=NAME)
    assert (run.run_id, run.status) == (f"{NAME}@2026-01-01T01:00Z", "Failed")
    assert f"it is time for {NAME}@2026-01-01T01:00Z" in capsys.readouterr().err


class TestDeclaring:
    def test_what_it_decorates_stays_as_it_is(self) -> None:
        target = work(1)
        assert cs.schedule(cron="0 6 * * *", timezone="Europe/Berlin")(target) is target

        @cs.schedule(cron="*/5 * * * *", catch_up=3, overlap="queue")
        def made() -> cs.LazyResult[int]:
            return work(2)

        found = schedule_of(made)
        assert found is not None
        assert (found.cron, str(found.zone), found.catch_up, found.overlap) == ("*/5 * * * *", "UTC", 3, "queue")

    @pytest.mark.parametrize(
        ("about", "kind", "words"),
        [
            ({"cron": "0 6 * *"}, ValueError, "has 4 fields, and not five"),
            ({"cron": "61 6 * * *"}, ValueError, "is no cron expression: Bad minute"),
            ({"cron": "0 0 30 2 *"}, ValueError, "cron"),
            ({"cron": 6}, TypeError, "takes an expression of five fields"),
            ({"timezone": "Europe/Nowhere"}, ValueError, "there is no such time zone"),
            ({"timezone": 3}, TypeError, "takes a name, 'Europe/Berlin'"),
            ({"catch_up": "all"}, TypeError, "takes True, False, or how many"),
            ({"catch_up": -1}, ValueError, "takes 0 or more"),
            ({"overlap": "wait"}, ValueError, '"skip", "queue" or "allow"'),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, about: Any, kind: type[Exception], words: str) -> None:
        with pytest.raises(kind, match=words):
            cs.schedule(**{"cron": "0 6 * * *", **about})

    def test_a_task_and_a_second_schedule_are_refused(self) -> None:
        with pytest.raises(TypeError, match=r"of a task say cs.schedule\(\.\.\.\)\(task\(\)\)"):
            cs.schedule(cron="0 6 * * *")(work)
        target = cs.schedule(cron="0 6 * * *")(work(5))
        with pytest.raises(StateError, match="has a schedule already"):
            cs.schedule(cron="0 7 * * *")(target)

    def test_without_the_package_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "cronsim", None)
        with pytest.raises(MissingExtraError, match=r"pip install cascade-py\[cron\]"):
            cs.schedule(cron="0 6 * * *")
