"""A store as somebody else would write it: everything in one file of pickles, read and written as a whole."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cascade.adapters.state.owner import is_alive
from cascade.errors import RunBusyError, StateError
from cascade.spec.state import Claimed, Commit, Owner, RunRecord, SignalRecord, StepRecord, Wanted


class PickleFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> None:
        if not self.path.exists():
            self.path.write_bytes(pickle.dumps({}))

    def close(self) -> None: ...

    def now(self) -> float:
        return time.time()

    @contextmanager
    def kept(self) -> Iterator[dict[str, dict[str, Any]]]:
        kept = pickle.loads(self.path.read_bytes())
        yield kept
        self.path.with_suffix(".new").write_bytes(pickle.dumps(kept))
        os.replace(self.path.with_suffix(".new"), self.path)

    def find(self, run_id: str) -> RunRecord | None:
        with self.kept() as kept:
            return kept[run_id]["record"] if run_id in kept else None

    def free(self, record: RunRecord) -> None:
        if record.status == "Running" and record.owner and is_alive(record.owner, record.beat, self.now()):
            raise RunBusyError(f"{record.run_id} is alive")

    def create(self, record: RunRecord) -> bool:
        with self.kept() as kept:
            if is_new := record.run_id not in kept:
                if record.owner:
                    record = record._replace(epoch=1, beat=self.now())
                kept[record.run_id] = {"record": record, "number": 0, "steps": {}, "signals": [], "ids": set()}
        return is_new

    def take(self, run_id: str, epoch: int, owner: Owner, params: bytes, fingerprint: bytes) -> RunRecord:
        with self.kept() as kept:
            if run_id not in kept:
                raise StateError(f"no run {run_id}")
            old: RunRecord = kept[run_id]["record"]
            self.free(old)
            if old.epoch != epoch:
                raise RunBusyError(f"{run_id} was taken")
            over = old.takeovers + bool(old.owner and old.status == "Running")
            over = 0 if old.status in ("Succeeded", "Failed", "Cancelled") else over
            new = old._replace(status="Running", owner=owner, params=params, fingerprint=fingerprint, takeovers=over)
            new = new._replace(epoch=epoch + 1, error="", updated=self.now(), beat=self.now(), due=0.0)
            kept[run_id].update(record=new, number=0)
        return new

    def enqueue(self, record: RunRecord, dedupe: str | None = None) -> RunRecord:
        about: dict[str, Any] = {"number": 0, "steps": {}, "signals": [], "ids": set()}
        with self.kept() as kept:
            for run in kept.values():
                old = run["record"]
                same = dedupe is not None and (run.get("dedupe"), old.target) == (dedupe, record.target)
                if same and old.status in ("Enqueued", "Parked", "Running"):
                    return old  # type: ignore[no-any-return]
            if record.run_id in kept:
                about, old = kept[record.run_id], kept[record.run_id]["record"]
                if old.status not in ("Failed", "Cancelled"):
                    return old  # type: ignore[no-any-return]
                new = old._replace(status="Enqueued", error="", takeovers=0, updated=self.now())
                record = new._replace(queue=record.queue, priority=record.priority, due=record.due)
            kept[record.run_id] = {**about, "record": record, "dedupe": dedupe}
        return record

    def claim(self, wanted: Wanted) -> Claimed:
        now = self.now()
        with self.kept() as kept:
            known = [run["record"] for run in kept.values() if run["record"].target in wanted.targets]
            known = [each for each in known if each.queue == wanted.queue or not each.queue]
            first = [each for each in known if wanted.is_thorough and each.owner and self.is_left(each, wanted, now)]
            going = sum(each.owner is not None and each.queue != "" and each not in first for each in known)
            free = [each for each in known if not each.owner and each.status in ("Enqueued", "Parked", "Running")]
            free.sort(key=lambda each: (each.queue, -each.priority))
            free = [each for each in free if each.queue or wanted.is_thorough]
            room = min(wanted.most, (wanted.concurrency or going + wanted.most) - going)
            claimed = []
            for old in [*first, *(each for each in free if each.due <= now)][:room]:
                over = old.takeovers + (old.owner not in (None, wanted.owner))
                new = old._replace(status="Enqueued", owner=wanted.owner, takeovers=over, queue=wanted.queue, due=0.0)
                new = new._replace(beat=now, updated=now - (old.beat - old.updated if old.owner else 0.0))
                claimed.append(new)
                kept[new.run_id]["record"] = new
        dues = [each.due - now for each in free if each.due > now]
        return Claimed(claimed, min(dues, default=None))

    def is_left(self, record: RunRecord, wanted: Wanted, now: float) -> bool:
        assert record.owner
        if record.owner == wanted.owner:
            return record.status == "Enqueued" and record.run_id not in wanted.held
        return not is_alive(record.owner, record.beat, now)

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        lost = []
        with self.kept() as kept:
            for each in commits:
                run = kept.get(each.run_id)
                if run is None or run["record"].epoch != each.epoch:
                    lost.append(each.run_id)
                elif each.number > run["number"]:
                    self.add(run, each)
        return lost

    def add(self, run: dict[str, Any], commit: Commit) -> None:
        run["number"], record = commit.number, run["record"]._replace(beat=self.now())
        for key in commit.dropped:
            run["steps"].pop(key, None)
        run["steps"] |= {step.key: step for step in commit.steps}
        for number, key in commit.taken:
            run["signals"][number - 1] = run["signals"][number - 1]._replace(taken_by=key)
        if any(step.kind != "begun" for step in commit.steps):
            record = record._replace(takeovers=0)
        if commit.released or commit.status:
            record = record._replace(status=commit.status or "Running", owner=None, error=commit.error)
            has_more = commit.seen is not None and len(run["signals"]) > commit.seen
            record = record._replace(due=0.0 if has_more else commit.due)
        run["record"] = record._replace(updated=self.now())

    def beat(self, runs: Iterable[tuple[str, int]]) -> list[str]:
        return self.commit([Commit(run_id, epoch, 0) for run_id, epoch in runs])

    def steps(self, run_id: str) -> list[StepRecord]:
        with self.kept() as kept:
            return list(kept[run_id]["steps"].values()) if run_id in kept else []

    def send(self, run_id: str, name: str, value: bytes, id: str | None) -> None:
        with self.kept() as kept:
            run = kept.get(run_id)
            if run is None or run["record"].status in ("Succeeded", "Failed", "Cancelled"):
                raise StateError(f"{run_id} takes no messages")
            if id not in run["ids"]:
                run["signals"].append(SignalRecord(len(run["signals"]) + 1, name, value, ""))
                if run["record"].status == "Parked":
                    run["record"] = run["record"]._replace(due=0.0)
                run["ids"] |= {id} - {None}

    def signals(self, run_id: str, after: int = 0) -> list[SignalRecord]:
        with self.kept() as kept:
            return kept[run_id]["signals"][after:] if run_id in kept else []

    def runs(
        self, status: str | None = None, target: str | None = None, since: float | None = None, limit: int | None = None
    ) -> list[RunRecord]:
        with self.kept() as kept:
            found = [run["record"]._replace(params=b"", fingerprint=b"") for run in kept.values()]
        found = [each for each in found if status in (None, each.status) and target in (None, each.target)]
        return sorted((each for each in found if each.created >= (since or 0)), key=lambda each: -each.created)[:limit]

    def forget(self, run_id: str, epoch: int | None = None) -> bool:
        with self.kept() as kept:
            if run_id in kept:
                self.free(kept[run_id]["record"])
                if epoch not in (None, kept[run_id]["record"].epoch):
                    return False
            return kept.pop(run_id, None) is not None
