"""Functions whose frames others read declare the names that are read."""

import sys
from typing import Any

import pytest

from cascade.spec.readable import locals_of, place_in, readable
from tests.helpers import PACKAGE

OTHERS = {
    "spec/readable.py": "the reader itself",
    "compiler/code/emitted.py": "functions that were emitted, with the names that the emitter gave",
    "runtime/inspect/progress.py": "the same, of a loop",
    "runtime/journal/recorded_loop.py": "the same: which entry a loop is at, and what it was given",
    "runtime/run/active_calls.py": "the same: how far a loop has counted",
    "runtime/run/awaiters.py": "functions of the standard library",
}


def test_a_name_that_the_function_does_not_have_is_refused_where_it_is_declared() -> None:
    def drive(run: Any) -> Any:
        call = run
        return call

    with pytest.raises(NameError, match=r"drive has no local variable 'place', which others read"):
        readable("run", "call", "place")(drive)


def test_what_a_closure_shares_is_a_local_variable_too() -> None:
    def drive(run: Any) -> Any:
        call = run
        return lambda: call

    assert readable("run", "call")(drive) is drive


def test_only_what_is_declared_and_has_a_value_is_read() -> None:
    @readable("run", "later")
    def drive(run: Any) -> dict[str, Any]:
        secret = found = locals_of(sys._getframe())
        later = secret
        assert later is not None
        return found

    assert drive(1) == {"run": 1}
    assert locals_of(sys._getframe()) == {}


def test_a_frame_is_where_its_function_says_once_it_has_come_so_far() -> None:
    @readable("run", "call", place=lambda known: (known["run"], known["call"]))
    def drive(run: Any) -> list[Any]:
        found = [place_in(sys._getframe(), "outside")]
        call = "here"
        return [*found, call and place_in(sys._getframe(), "outside")]

    assert drive(1) == [None, (1, "here")]
    assert place_in(sys._getframe(), "outside") == "outside"


def test_frames_are_read_by_no_other_way() -> None:
    reading = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "f_locals" in path.read_text()}
    assert reading == set(OTHERS)
