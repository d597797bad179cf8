"""Settings of the whole suite."""

import gc
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast an example runs says more about the machine than about the code.
settings.register_profile("cascade", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cascade")

os.environ["CASCADE_LANG"] = "en"  # whatever the locale of who runs the tests
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in the background of a shell; what tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What says the same on each Python: type checkers, the site, what reads our own files or draws, what is long for its
# length's sake; also what a browser shows.
ONCE = {
    *("test_checkers.py", "test_docs.py", "test_docstrings.py", "test_draw.py", "test_floors.py", "test_generator.py"),
    *("test_house.py", "test_letters.py", "test_linear.py", "test_observatory.py", "test_pictures.py"),
    *("test_page.py", "test_planted.py", "test_rules.py", "test_site.py", "test_swarms.py"),
}
ONCE_NAMED = ("browser", "TestSize", "nothing_is_found_in_the_examples")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what need not run again on another Python: `CASCADE_AGAIN=1` says that this is one."""
    if os.environ.get("CASCADE_AGAIN") != "1":
        return
    again = [item for item in items if Path(item.path).name not in ONCE and not any(map(item.nodeid.count, ONCE_NAMED))]
    config.hook.pytest_deselected(items=list(set(items) - set(again)))
    items[:] = again


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep no bytecode from here on: a module that a test writes twice within a second would be the first one again."""
    sys.dont_write_bytecode = True


@pytest.fixture(scope="module", autouse=True)
def freeze_what_is_there() -> None:
    """Have the collector leave alone what is there by now: many tests collect, and look at what came since."""
    gc.collect()
    gc.freeze()
