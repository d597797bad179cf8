"""What every store of runs must do, as checks that call it: for who writes one."""

from __future__ import annotations

from collections.abc import Callable

from cascade.errors import RunBusyError, StateError
from cascade.spec.state import LEASE, Commit, RunStatus, StateBackend, StepRecord
from cascade.testing.queue_checks import QUEUE_CHECKS
from cascade.testing.store_parts import GONE, OTHER, Make, a_run, refused, store_of

__all__ = ["STATE_CHECKS", "check_state_backend"]


def check_state_backend(make: Make, only: str | None = None) -> None:
    """Check that a store does what an engine relies on; AssertionError says where it does not.

    Each check opens stores of its own, and closes them.

    Args:
        make: gives a store by a name, not opened yet: an empty one by a new name, and by a known name the one that was
            given before or another one that keeps the same runs, as another process would.
        only: the name of one check, of those in `STATE_CHECKS`.
    """
    for name, check in STATE_CHECKS.items():
        if only in (None, name):
            check(lambda part, name=name: make(f"{name}-{part}"))  # type: ignore[misc]


def _step(key: str, value: bytes = b"value", entry: int = -1, kind: str = "value") -> StepRecord:
    return StepRecord(key, entry, kind, value, "task", 1, 1.5, 2.25, "", "a value")


def _keys(store: StateBackend, run_id: str = "run") -> list[str]:
    return [step.key for step in store.steps(run_id)]


def _know_runs(make: Make) -> None:
    with store_of(make) as store:
        assert store.find("run") is None
        assert list(store.steps("run")) == []
        assert store.signals("run") == []
        record = a_run(store)
        assert store.create(record)
        assert not store.create(record._replace(target="another"))
        found = store.find("run")
        assert found is not None
        assert found.epoch == 1, "a run with an owner is in its first start"
        assert 0.0 <= store.now() - found.beat < LEASE
        assert found._replace(epoch=0, beat=0.0) == record
        assert store.create(a_run(store, "later", None))
        later = store.find("later")
        assert later is not None
        assert (later.epoch, later.owner) == (0, None)


def _outlive_a_connection(make: Make) -> None:
    with store_of(make) as store:
        store.create(a_run(store))
        store.commit([Commit("run", 1, 1, [_step("a")])])
        store.send("run", "go", b"1", "once")
    with store_of(make) as store:
        assert list(store.steps("run")) == [_step("a")]
        assert [(each.number, each.name, each.value, each.taken_by) for each in store.signals("run")] == [
            (1, "go", b"1", "")
        ]


def _keep_values(make: Make) -> None:
    values = [b"", b"\x00\xff" * 7, "日本".encode(), bytes(range(256)) * 5000, b"x" * (3 << 20)]
    with store_of(make) as store:
        store.create(a_run(store))
        steps = [_step(f"k{at}", value) for at, value in enumerate(values)]
        store.commit([Commit("run", 1, 1, steps)])
        assert list(store.steps("run")) == steps
        store.commit([Commit("run", 1, 2, [steps[4]._replace(value=b"short"), steps[0]._replace(value=values[4])])])
        found = {step.key: step.value for step in store.steps("run")}
        assert found == {"k0": values[4], "k1": values[1], "k2": values[2], "k3": values[3], "k4": b"short"}


def _keep_order(make: Make) -> None:
    with store_of(make) as store:
        store.create(a_run(store))
        store.commit([Commit("run", 1, 1, [_step("z"), _step("a")]), Commit("run", 1, 2, [_step("m"), _step("z")])])
        assert _keys(store) == ["z", "a", "m"]
        store.commit([Commit("run", 1, 3, [_step("a", b"new", 7)])])
        assert [(step.key, step.value, step.entry) for step in store.steps("run")][1] == ("a", b"new", 7)
        assert _keys(store) == ["z", "a", "m"], "a step that is replaced stays where it was"
        store.commit([Commit("run", 1, 4, [_step("z", b"again")], ["z", "never"])])
        assert _keys(store) == ["a", "m", "z"], "what is dropped goes first, and may come back in one commit"
        store.commit([Commit("run", 1, 5, [_step("b")], ["a"]), Commit("run", 1, 6, (), ["b", "m"])])
        assert _keys(store) == ["z"]
        many = [_step(f"many{at:05}") for at in range(1200)]
        store.commit([Commit("run", 1, 7, many)])
        assert _keys(store)[1:] == [step.key for step in many]


def _commit_once(make: Make) -> None:
    with store_of(make) as store:
        store.create(a_run(store))
        first = Commit("run", 1, 1, [_step("a", b"1")])
        assert store.commit([first]) == []
        second = Commit("run", 1, 2, [_step("b")])
        assert store.commit([first._replace(steps=[_step("a", b"2"), _step("x")]), second]) == []
        assert [(step.key, step.value) for step in store.steps("run")] == [("a", b"1"), ("b", b"value")]
        assert store.commit([]) == []


def _fence_starts(make: Make) -> None:
    with store_of(make) as store, store_of(make) as other:
        record = a_run(store)
        store.create(record)
        store.create(a_run(store, "another"))
        store.commit([Commit("run", 1, 1, [_step("a", b"1")], status="Running", released=True)])
        taken = other.take("run", 1, OTHER, b"new params", b"new graph")
        assert (taken.epoch, taken.owner, taken.status) == (2, OTHER, "Running")
        assert other.find("run") == taken
        late = Commit("run", 1, 2, [_step("a", b"late"), _step("b")], ["a"], status="Succeeded")
        assert store.commit([late, Commit("another", 1, 1, [_step("c")]), Commit("nobody", 1, 1)]) == ["run", "nobody"]
        assert list(store.steps("run")) == [_step("a", b"1")]
        assert _keys(store, "another") == ["c"], "the commits of others are made all the same"
        assert store.beat([("run", 1), ("another", 1), ("nobody", 1)]) == ["run", "nobody"]
        assert store.beat([("run", 2)]) == []
        found = store.find("run")
        assert found is not None
        assert (found.status, found.epoch, found.owner) == ("Running", 2, OTHER)
        assert other.commit([Commit("run", 2, 1, [_step("a", b"2")])]) == [], "each start counts its commits anew"
        assert list(store.steps("run")) == [_step("a", b"2")]


def _take_what_is_free(make: Make) -> None:
    with store_of(make) as store:
        refused(lambda: store.take("nobody", 0, GONE, b"", b""), StateError)
        store.create(a_run(store))
        refused(lambda: store.take("run", 1, OTHER, b"", b""), RunBusyError)
        refused(lambda: store.forget("run"), RunBusyError)
        ends: tuple[RunStatus, ...] = ("Succeeded", "Failed", "Cancelled")
        for number, end in enumerate(ends, 1):
            epoch = number * 2 - 1
            assert store.commit([Commit("run", epoch, 1, status=end, error="why")]) == []
            found = store.find("run")
            assert found is not None
            assert (found.status, found.owner, found.error) == (end, None, "why")
            refused(lambda epoch=epoch: store.take("run", epoch - 1, OTHER, b"", b""), RunBusyError)  # type: ignore[misc]
            assert store.take("run", epoch, OTHER, b"p", b"f").error == ""
            store.commit([Commit("run", epoch + 1, 1, released=True)])
            found = store.find("run")
            assert found is not None
            assert (found.status, found.owner, found.epoch) == ("Running", None, epoch + 1)
            assert store.take("run", epoch + 1, GONE, b"p", b"f").epoch == epoch + 2


def _send_messages(make: Make) -> None:
    with store_of(make) as store:
        refused(lambda: store.send("run", "go", b"", None), StateError)
        store.create(a_run(store))
        store.create(a_run(store, "another"))
        for name, value, id in (("go", b"1", "a"), ("stop", b"2", None), ("go", b"3", "a"), ("go", b"4", None)):
            store.send("run", name, value, id)
        store.send("another", "go", b"5", "a")
        assert [tuple(each) for each in store.signals("run")] == [
            (1, "go", b"1", ""),
            (2, "stop", b"2", ""),
            (3, "go", b"4", ""),
        ]
        store.commit([Commit("run", 1, 1, [_step("wait")], taken=[(1, "wait")])])
        store.send("run", "go", b"6", "a")
        assert [(each.number, each.taken_by) for each in store.signals("run")] == [(1, "wait"), (2, ""), (3, "")]
        assert [each.number for each in store.signals("run", 2)] == [3]
        store.commit([Commit("run", 0, 2, taken=[(2, "late")])])
        assert store.signals("run", 1)[0].taken_by == "", "who has lost the run takes no message"
        store.commit([Commit("run", 1, 2, status="Succeeded")])
        refused(lambda: store.send("run", "go", b"", None), StateError)


def _list_runs(make: Make) -> None:
    with store_of(make) as store:
        for at, target in enumerate(("f.py:a", "f.py:b", "f.py:a")):
            store.create(a_run(store, f"run{at}")._replace(target=target, created=100.0 + at))
        store.commit([Commit("run1", 1, 1, status="Succeeded")])
        assert [each.run_id for each in store.runs()] == ["run2", "run1", "run0"]
        assert {(each.params, each.fingerprint) for each in store.runs()} == {(b"", b"")}
        assert [each.run_id for each in store.runs(status="Running")] == ["run2", "run0"]
        assert [each.run_id for each in store.runs(target="f.py:b")] == ["run1"]
        assert [each.run_id for each in store.runs(since=101.0)] == ["run2", "run1"]
        assert [each.run_id for each in store.runs("Running", "f.py:a", limit=1)] == ["run2"]
        assert store.runs(limit=0) == []


def _forget_runs(make: Make) -> None:
    with store_of(make) as store:
        assert not store.forget("run")
        for run_id in ("run", "another"):
            store.create(a_run(store, run_id))
            store.send(run_id, "go", b"1", "a")
            store.commit([Commit(run_id, 1, 1, [_step("a", b"x" * (2 << 20))], status="Failed", error="no")])
        assert not store.forget("run", 2)
        assert store.forget("run", 1)
        assert store.find("run") is None
        assert (list(store.steps("run")), store.signals("run")) == ([], [])
        assert store.commit([Commit("run", 1, 2, [_step("a")])]) == ["run"]
        assert store.create(a_run(store))
        assert (list(store.steps("run")), store.signals("run")) == ([], [])
        assert [len(step.value) for step in store.steps("another")] == [2 << 20]


def _keep_any_text(make: Make) -> None:
    with store_of(make) as store:
        name = "run 'x' \"y\" 日本\n\x00/%"
        store.create(a_run(store, name))
        step = _step(f"key {name}")._replace(error=f"error {name}", preview="half a character \ud800")
        store.commit([Commit(name, 1, 1, [step])])
        store.send(name, f"signal {name}", b"", name)
        (found,) = store.steps(name)
        assert found._replace(preview="") == step._replace(preview="")
        assert store.signals(name)[0].name == f"signal {name}"
        store.commit([Commit(name, 1, 2, status="Failed", error=f"{name} \udfff")])
        record = store.find(name)
        assert record is not None
        assert record.error.startswith(name)


def _count_takeovers(make: Make) -> None:
    """Take a run from an owner that has ended: a process of this host whose pid was given again."""
    from cascade.adapters.state.owner import this_process

    ours = this_process()
    if not ours.boot:
        return
    dead = ours._replace(began="long ago")
    with store_of(make) as store:
        store.create(a_run(store, owner=dead))
        for epoch in (1, 2):
            assert store.take("run", epoch, dead, b"", b"").takeovers == epoch
        store.commit([Commit("run", 3, 1, [_step("a", kind="begun")])])
        assert store.take("run", 3, dead, b"", b"").takeovers == 3, "that a call has begun is no step forward"
        store.commit([Commit("run", 4, 1, [_step("a")])])
        assert store.take("run", 4, dead, b"", b"").takeovers == 1
        store.commit([Commit("run", 5, 1, released=True)])
        assert store.take("run", 5, dead, b"", b"").takeovers == 1, "what was handed back is not taken over"
        store.commit([Commit("run", 6, 1, status="Failed")])
        assert store.take("run", 6, ours, b"", b"").takeovers == 0, "who starts it again begins to count anew"
        refused(lambda: store.take("run", 7, ours, b"", b""), RunBusyError)


STATE_CHECKS: dict[str, Callable[[Make], None]] = {
    check.__name__[1:]: check
    for check in (
        _know_runs,
        _outlive_a_connection,
        _keep_values,
        _keep_order,
        _commit_once,
        _fence_starts,
        _take_what_is_free,
        _send_messages,
        _list_runs,
        _forget_runs,
        _keep_any_text,
        _count_takeovers,
    )
} | QUEUE_CHECKS
"""What `check_state_backend` checks, by name: tests may be made of each."""
