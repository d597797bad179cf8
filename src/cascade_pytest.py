"""The pytest plugin of Cascade: the fixtures `engine`, `virtual_clock` and `simulation`.

pytest loads it wherever Cascade is installed, so it stands outside of the package: importing it imports nothing of
Cascade, and a test that asks for none of the fixtures pays nothing. A fixture of the same name in a conftest.py or in
a test module takes the place of one here.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cascade.runtime.engine import Engine
    from cascade.testing import Simulation, VirtualClock

__all__ = ["engine", "simulation", "virtual_clock"]

TIERS = ("interpret", "compile", "auto")
MARK = "cascade_seeds"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what chooses the seeds of simulations."""
    group = parser.getgroup("cascade")
    group.addoption(
        "--cascade-seed", type=int, default=None, metavar="SEED", help="run tests of simulations with this seed alone"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", f"{MARK}(count, first=0): run a test of the fixture simulation with many seeds")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a marked test once for each seed."""
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None or "simulation" not in metafunc.fixturenames:
        return
    only = metafunc.config.getoption("--cascade-seed")
    seeds = range(*_bounds(*mark.args, **mark.kwargs)) if only is None else [only]
    metafunc.parametrize("simulation", seeds, indirect=True, ids=lambda seed: f"seed={seed}")


def _bounds(count: int, first: int = 0) -> tuple[int, int]:
    return first, first + count


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> Iterator[None]:
    """Run an async test that asks for a clock by that clock, whichever plugin runs the other async tests."""
    given, test = pyfuncitem.funcargs, pyfuncitem.obj
    clock = given.get("simulation") or given.get("virtual_clock")
    main = _coroutine_function(pyfuncitem, test) if _is_clock(clock) else None
    if main is None:
        yield
        return
    pyfuncitem.obj = lambda **arguments: clock.run(main(**arguments))
    try:
        yield
    finally:
        pyfuncitem.obj = test


def _is_clock(value: Any) -> bool:
    kit = sys.modules.get("cascade.testing")
    return kit is not None and isinstance(value, kit.VirtualClock)


def _coroutine_function(item: Any, test: Any) -> Any:
    """Return an async test as it was written; pytest-asyncio makes a plain function of it that runs it in a loop."""
    if type(item).__module__.startswith("pytest_asyncio"):
        test = getattr(test, "__wrapped__", test)
    return test if inspect.iscoroutinefunction(test) else None


@pytest.fixture(params=TIERS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine of the test's own; the test is run on each tier."""
    from cascade.adapters.executors.local import LocalExecutor
    from cascade.runtime.engine import Engine

    made = Engine(tier=request.param)
    yield made
    if isinstance(made.executor, LocalExecutor):  # what the test has left open
        made.executor.close()


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> Iterator[VirtualClock]:
    """A virtual clock: by it goes what a test runs, and an async test itself."""
    from cascade.testing import VirtualClock

    yield from _used(VirtualClock(), request)


@pytest.fixture
def simulation(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """A simulation: in it happens what a test runs, and an async test itself.

    Its seed is 0, or each of many with `@pytest.mark.cascade_seeds(200)`.
    """
    from cascade.testing import simulate

    only = request.config.getoption("--cascade-seed")
    yield from _used(simulate(getattr(request, "param", only or 0)), request)


def _used(clock: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield clock
    else:
        with clock:
            yield clock
