"""The pytest plugin, in pytest runs of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import run_python

TASKS = """
import asyncio
import cascade as cs
import pytest

@cs.task
def add(x):
    return x + 1

@cs.task
async def nap(seconds):
    await asyncio.sleep(seconds)
    return seconds
"""


def run_tests(folder: Path, source: str, *arguments: str) -> tuple[dict[str, int], str]:
    """Run tests with the plugin in a process; return how many had which outcome, and what was printed."""
    (folder / "test_it.py").write_text(TASKS + source, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    options = ["-p", "cascade_pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "--strict-markers", "-v", "-rN"]
    command = [sys.executable, "-W", "error", "-m", "pytest", "--rootdir", str(folder), *options, *arguments]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=50, check=False)
    words = done.stdout.split()
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {outcome: words.count(outcome) for outcome in ("PASSED", "FAILED", "ERROR") if outcome in words}, done.stdout


def test_the_engine_runs_a_test_on_each_tier(tmp_path: Path) -> None:
    outcomes, shown = run_tests(
        tmp_path,
        """
def test_add(engine):
    assert asyncio.run(engine.run(add(1))) == 2
    print("tier:", engine.tier)
""",
        "-s",
    )
    assert outcomes == {"PASSED": 3}
    assert [shown.count(f"tier: {tier}\n") for tier in ("interpret", "compile", "auto")] == [1, 1, 1]


def test_a_virtual_clock_for_sync_and_async_tests(tmp_path: Path) -> None:
    outcomes, _ = run_tests(
        tmp_path,
        """
def test_sync(virtual_clock):
    assert cs.run(nap(86_400), log_level="SILENT") == 86_400
    assert virtual_clock.elapsed == 86_400

async def test_async(engine, virtual_clock):
    assert await engine.run(nap(add(86_400))) == 86_401
    assert virtual_clock.elapsed == 86_401

class TestMethods:
    async def test_async(self, virtual_clock):
        await asyncio.sleep(86_400)
        assert virtual_clock.elapsed == 86_400

@pytest.fixture
def three():
    return 3

@pytest.mark.parametrize("more", [4])
async def test_with_other_fixtures(virtual_clock, three, more):
    assert await cs.arun(nap(three)) + more == 7
""",
    )
    assert outcomes == {"PASSED": 6}


def test_a_simulation_with_one_seed_many_or_a_given_one(tmp_path: Path) -> None:
    source = """
def test_one(simulation):
    assert simulation.run(add(1)) == 2

@pytest.mark.cascade_seeds(5, first=10)
async def test_many(simulation):
    assert await cs.arun(add(1)) == 2
    assert simulation.seed != 12
    assert len(simulation.events) == 4
"""
    outcomes, shown = run_tests(tmp_path, source)
    assert outcomes == {"PASSED": 5, "FAILED": 1}
    assert "test_many[seed=12] FAILED" in shown
    assert "in simulate(seed=12)" in shown
    outcomes, shown = run_tests(tmp_path, source, "--cascade-seed=99")
    assert outcomes == {"PASSED": 2}
    assert "test_many[seed=99]" in shown


def test_fixtures_and_marks_of_ones_own_rule(tmp_path: Path) -> None:
    outcomes, _ = run_tests(
        tmp_path,
        """
@pytest.fixture
def engine():
    return "mine"

@pytest.fixture
def simulation():
    return None

@pytest.fixture
def virtual_clock():
    return None

def test_mine(engine, simulation, virtual_clock):
    assert (engine, simulation, virtual_clock) == ("mine", None, None)
""",
    )
    assert outcomes == {"PASSED": 1}


def test_a_test_that_asks_for_none_of_it_does_not_import_cascade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import sys\ndef test_plain():\n    assert not {'cascade', 'asyncio'} & {*sys.modules}\n", encoding="utf-8"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others that are installed here may import asyncio
    command = [sys.executable, "-m", "pytest", "-p", "cascade_pytest", "-p", "no:cacheprovider", "-q", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_cascade_does_not_need_pytest() -> None:
    run_python(
        "import asyncio, sys; sys.modules['pytest'] = None\n"
        "import cascade.testing as kit\n"
        "assert kit.VirtualClock().run(asyncio.sleep(86_400, 'done')) == 'done'"
    )
