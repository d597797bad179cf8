"""A process that is killed in the middle leaves all of a commit or nothing, and a file that stays small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cascade.adapters.state.sqlite import SqliteBackend
from cascade.spec.state import StepRecord
from tests.adapters.state.runs import commit, run, step

WRITER = """
import os, sys
from cascade.adapters.state.owner import this_process
from cascade.adapters.state.sqlite import SqliteBackend
from tests.adapters.state.runs import commit, run, step
store = SqliteBackend(sys.argv[1], sys.argv[2])
store.open()
store.create(run("big", this_process()))
store.create(run("run", this_process()))
for number in range(1, 1_000_000):
    value = b"%d " % number
    big = commit(number, step("big", value * 200_000), run_id="big")  # in pieces
    store.commit([commit(number, *(step(f"k{at}", value) for at in range(50)), step(f"n{number}")), big])
    os.write(1, b"%9d\\n" % number)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is told in another way")
@pytest.mark.parametrize("durability", ["group", "each"])
def test_a_writer_that_is_killed_leaves_whole_commits(durability: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    told = 0
    for moment in (1, 2, 4):
        command = [sys.executable, "-c", WRITER, str(path), durability]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(moment)]
            process.kill()
            lines += process.stdout.readlines()
        told = max(int(line) for line in lines if line.endswith(b"\n"))
        store = SqliteBackend(path)
        store.open()
        steps = {each.key: each.value for each in store.steps("run")}
        numbers = {steps[f"k{at}"] for at in range(50)}
        (number,) = numbers
        (big,) = store.steps("big")
        count = len(steps) - 50
        assert count == int(number) >= told, "what was told was committed"
        assert big.value == number * 200_000
        record = store.find("run")
        assert record is not None
        for run_id in ("run", "big"):
            assert store.take(run_id, record.epoch, run().owner, b"", b"").epoch == record.epoch + 1  # type: ignore[arg-type]
        store.close()
        path.unlink()


def test_steps_that_replace_each_other_do_not_let_the_file_grow(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = SqliteBackend(path)
    store.open()
    store.create(run())
    most = 0
    for number in range(1, 81):
        turn: list[StepRecord] = [step(f"loop{at}", b"x" * (number % 7 * 300)) for at in range(20)]
        store.commit([commit(number, *turn, step("big", b"y" * (3 << 20 if number % 10 == 0 else number)))])
        most = max(most, sum(each.stat().st_size for each in tmp_path.iterdir()))
    assert most < 16 << 20
    store.commit([commit(81, step("big"))._replace(dropped=[f"loop{at}" for at in range(20)])])
    assert [each.key for each in store.steps("run")] == ["big"]
    store.close()
    assert path.stat().st_size < 10 << 20
