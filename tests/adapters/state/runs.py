"""Runs, steps and owners as the tests of stores write them."""

from __future__ import annotations

from cascade.spec.state import Commit, Owner, RunRecord, StepRecord

__all__ = ["ELSEWHERE", "commit", "run", "step"]

ELSEWHERE = Owner("another boot", "another namespace", 7, "1", "far")
"""A process that cannot be seen from here."""


def run(run_id: str = "run", owner: Owner | None = ELSEWHERE, at: float = 1000.0) -> RunRecord:
    return RunRecord(run_id, "Running", "flows.py:main", b"params", b"graph", at, at, owner=owner)


def step(key: str, value: bytes = b"j11", kind: str = "value") -> StepRecord:
    return StepRecord(key, -1, kind, value, "task", 1, 1.0, 2.0, "", "1")


def commit(number: int, *steps: StepRecord, epoch: int = 1, run_id: str = "run") -> Commit:
    return Commit(run_id, epoch, number, steps)
