"""Settings of the whole suite."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast an example runs says more about the machine than about the code.
settings.register_profile("cascade", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cascade")

os.environ["CASCADE_LANG"] = "en"  # whatever the locale of who runs the tests

# What says the same on each Python: type checkers, the site, what reads our own files; also what a browser shows.
ONCE = {"test_site.py", "test_checkers.py", "test_rules.py", "test_docstrings.py", "test_floors.py", "test_planted.py"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what need not run again on another Python: `CASCADE_AGAIN=1` says that this is one."""
    if os.environ.get("CASCADE_AGAIN") != "1":
        return
    once = [item for item in items if Path(item.path).name in ONCE or "browser" in item.name]
    config.hook.pytest_deselected(items=once)
    items[:] = [item for item in items if item not in set(once)]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the collector leave alone what is there by now: many tests collect, and look at what came since."""
    gc.collect()
    gc.freeze()
