"""What every store of runs must do as a queue, as checks that call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cascade.errors import RunBusyError
from cascade.spec.state import Claimed, Commit, Owner, RunRecord, StateBackend, StepRecord, Wanted
from cascade.testing.store_parts import GONE, OTHER, Make, a_run, refused, store_of

__all__ = ["QUEUE_CHECKS"]

TARGET = "flows.py:main"


def _enqueued(store: StateBackend, run_id: str, **about: Any) -> RunRecord:
    return a_run(store, run_id, None)._replace(fingerprint=b"", queue="mail", **about)


def _claim(store: StateBackend, owner: Owner, most: int = 10, **about: Any) -> Claimed:
    return store.claim(Wanted("mail", (TARGET, "another"), owner, most, **about))


def _ids(claimed: Claimed) -> list[str]:
    return [each.run_id for each in claimed.runs]


def _enqueue_runs(make: Make) -> None:
    with store_of(make) as store:
        given = _enqueued(store, "run", priority=3, due=5.0)
        assert store.enqueue(given) == given
        assert store.find("run") == given, "it waits in its queue, in no start, with no owner"
        assert store.enqueue(given._replace(params=b"other", queue="else")) == given, "one that is there stays"
        taken = store.take("run", 0, GONE, b"params", b"graph")
        assert (taken.epoch, taken.status, taken.queue, taken.priority, taken.due) == (1, "Running", "mail", 3, 0.0)
        assert store.enqueue(given).status == "Running"
        store.commit([Commit("run", 1, 1, [StepRecord("a", -1, "value", b"1", "a", 1, 1.0, 2.0, "", "")])])
        store.commit([Commit("run", 1, 2, status="Succeeded")])
        assert store.enqueue(given).status == "Succeeded"
        for number, end in enumerate(("Failed", "Cancelled"), 2):
            store.take("run", number - 1, OTHER, b"params", b"graph")
            store.commit([Commit("run", number, 1, status=end, error="why")])  # type: ignore[arg-type]
            again = store.enqueue(given._replace(queue="later", priority=number, params=b"other", fingerprint=b""))
            assert (again.status, again.error, again.takeovers, again.owner) == ("Enqueued", "", 0, None)
            assert (again.queue, again.priority, again.due) == ("later", number, 5.0)
            assert (again.params, again.fingerprint, again.epoch) == (b"params", b"graph", number)
            assert store.find("run") == again
        assert [step.key for step in store.steps("run")] == ["a"]


def _enqueue_one_of_each_kind(make: Make) -> None:
    with store_of(make) as store:
        first = store.enqueue(_enqueued(store, "first"), "same")
        assert store.enqueue(_enqueued(store, "second"), "same") == first
        assert store.find("second") is None
        assert store.enqueue(_enqueued(store, "third"), "other").run_id == "third"
        assert store.enqueue(_enqueued(store, "fourth")._replace(target="another"), "same").run_id == "fourth"
        store.take("first", 0, GONE, b"", b"")
        assert store.enqueue(_enqueued(store, "second"), "same").run_id == "first", "it has not ended"
        store.commit([Commit("first", 1, 1, status="Failed", error="why")])
        assert store.enqueue(_enqueued(store, "second"), "same").run_id == "second"
        assert store.enqueue(_enqueued(store, "first"), "same").run_id == "second"


def _claim_in_order(make: Make) -> None:
    with store_of(make) as store, store_of(make) as other:
        for at, priority in enumerate((0, 5, 0, 5, -1)):
            store.enqueue(_enqueued(store, f"run{at}", priority=priority))
        store.enqueue(_enqueued(store, "not here")._replace(queue="letters"))
        store.enqueue(_enqueued(store, "not ours")._replace(target="unknown"))
        store.enqueue(_enqueued(store, "not yet", due=store.now() + 1000))
        claimed = _claim(store, OTHER, 2)
        assert _ids(claimed) == ["run1", "run3"]
        assert claimed.wait is not None
        assert 900 < claimed.wait <= 1000
        found = store.find("run1")
        assert found is not None
        assert (found.status, found.owner, found.epoch) == ("Enqueued", OTHER, 0)
        assert claimed.runs[0] == found
        assert _ids(_claim(other, GONE, 2)) == ["run0", "run2"], "what is claimed is not given again"
        assert other.take("run0", 0, GONE, b"p", b"f").takeovers == 0
        assert _ids(_claim(store, OTHER)) == ["run4"]
        assert _ids(_claim(store, OTHER, is_thorough=True, held=["run1", "run3", "run4"])) == []
        assert _claim(store, OTHER)._replace(wait=None) == Claimed([], None)
        store.take("run1", 0, OTHER, b"p", b"f")
        store.commit([Commit("run1", 1, 1, released=True)])
        assert _ids(_claim(other, GONE)) == ["run1"], "what was handed back waits again"
        refused(lambda: store.take("run1", 0, OTHER, b"p", b"f"), RunBusyError)
        assert store.take("run1", 1, OTHER, b"p", b"f").epoch == 2, "who has looked at it may take it all the same"


def _claim_when_due(make: Make) -> None:
    with store_of(make) as store:
        store.enqueue(_enqueued(store, "later", due=store.now() - 10))
        store.enqueue(_enqueued(store, "sooner", due=store.now() - 20, priority=1))
        store.enqueue(_enqueued(store, "now"))
        claimed = _claim(store, OTHER)
        assert _ids(claimed) == ["sooner", "later", "now"]
        assert claimed.wait is None
        assert {each.due for each in claimed.runs} == {0.0}


def _claim_so_many(make: Make) -> None:
    with store_of(make) as store:
        for at in range(5):
            store.enqueue(_enqueued(store, f"run{at}"))
        store.create(a_run(store, "of its own program"))
        assert _ids(_claim(store, OTHER, concurrency=2)) == ["run0", "run1"]
        assert _ids(_claim(store, GONE, concurrency=2)) == []
        store.take("run0", 0, OTHER, b"", b"")
        assert _ids(_claim(store, GONE, concurrency=2)) == []
        store.commit([Commit("run0", 1, 1, status="Succeeded")])
        assert _ids(_claim(store, GONE, concurrency=2)) == ["run2"]
        assert _ids(_claim(store, GONE, concurrency=3)) == ["run3"]
        assert _ids(_claim(store, GONE, 0)) == []


def _claim_what_is_left(make: Make) -> None:
    """Claim runs of owners that have ended: processes of this host whose pids were given again."""
    from cascade.adapters.state.owner import this_process

    ours = this_process()
    if not ours.boot:
        return
    dead = ours._replace(began="long ago")
    with store_of(make) as store:
        store.create(a_run(store, "ran", dead)._replace(queue="mail", updated=store.now() - 100))
        store.create(a_run(store, "alone", dead))
        store.create(a_run(store, "no name", dead)._replace(target=""))
        store.create(a_run(store, "alive", OTHER)._replace(queue="mail"))
        store.create(a_run(store, "back", OTHER))
        store.commit([Commit("back", 1, 1, released=True)])
        store.enqueue(_enqueued(store, "claimed"))
        assert _ids(_claim(store, dead)) == ["claimed"]
        store.enqueue(_enqueued(store, "new", priority=9))
        assert _ids(_claim(store, ours, 1)) == ["new"]
        claimed = _claim(store, ours, concurrency=5, is_thorough=True, held=["new"])
        assert sorted(_ids(claimed)) == ["alone", "claimed", "ran"], "two of five go on: one is alive, one is new"
        ran = next(each for each in claimed.runs if each.run_id == "ran")
        assert (ran.status, ran.owner, ran.takeovers, ran.epoch) == ("Enqueued", ours, 1, 1)
        assert 99 < ran.beat - ran.updated < 130, "how long it ran can still be seen"
        assert store.take("ran", 1, ours, b"", b"").takeovers == 1
        assert _ids(_claim(store, ours, is_thorough=True, held=["new", *_ids(claimed)])) == ["back"]
        lost = _claim(store, ours, is_thorough=True, held=["new", "ran", "back"])
        assert sorted(_ids(lost)) == ["alone", "claimed"], "a claim whose answer got lost is given again"
        assert [each.takeovers for each in lost.runs] == [1, 1]


def _park(make: Make) -> None:
    """Let a run wait without an owner: until a time, or until it is sent a message."""
    from math import inf

    with store_of(make) as store:
        for name in ("soon", "later", "message", "unread", "read", "none"):
            store.create(a_run(store, name)._replace(queue="mail"))
        store.create(a_run(store, "of no queue"))
        store.create(a_run(store, "no name")._replace(target=""))
        for name in ("unread", "read", "none"):
            store.send(name, "go", b"1", None)
        now = store.now()
        step = StepRecord("a", -1, "value", b"1", "a", 1, 1.0, 2.0, "", "")
        for name, due, seen in (
            ("soon", now - 1, None),
            ("later", now + 1000, None),
            ("message", inf, 0),
            ("unread", inf, 0),
            ("read", inf, 1),
            ("none", inf, None),
            ("of no queue", now - 1, None),
            ("no name", now - 1, None),
        ):
            assert store.commit([Commit(name, 1, 1, [step], status="Parked", due=due, seen=seen)]) == []
        found = store.find("later")
        assert found is not None
        assert (found.status, found.owner, found.error, found.due) == ("Parked", None, "", now + 1000)
        assert [store.find(name).due for name in ("message", "read", "none")] == [inf] * 3  # type: ignore[union-attr]
        claimed = _claim(store, OTHER)
        assert sorted(_ids(claimed)) == ["soon", "unread"], "it was sent what it did not know of"
        assert claimed.wait is not None
        assert 900 < claimed.wait <= 1000
        assert _ids(_claim(store, OTHER, is_thorough=True, held=["soon", "unread"])) == ["of no queue"]
        store.send("message", "other", b"1", None)
        assert _ids(_claim(store, OTHER)) == ["message"]
        taken = store.take("later", 1, OTHER, b"p", b"f")
        assert (taken.status, taken.due, taken.takeovers, taken.epoch) == ("Running", 0.0, 0, 2)
        taken = store.take("read", 1, OTHER, b"p", b"f")
        assert (taken.status, taken.due) == ("Running", 0.0), "who starts it by its id need not wait"
        store.send("read", "go", b"1", None)
        store.commit([Commit("read", 2, 1, status="Parked", due=inf, seen=2)])
        assert store.commit([Commit("read", 1, 5, status="Parked")]) == ["read"]
        assert _ids(_claim(store, OTHER)) == []
        refused(lambda: store.take("read", 1, OTHER, b"p", b"f"), RunBusyError)
        assert store.forget("read")


QUEUE_CHECKS: dict[str, Callable[[Make], None]] = {
    check.__name__[1:]: check
    for check in (
        _enqueue_runs,
        _enqueue_one_of_each_kind,
        _claim_in_order,
        _claim_when_due,
        _claim_so_many,
        _claim_what_is_left,
        _park,
    )
}
"""What stores are checked for as queues, by name."""
