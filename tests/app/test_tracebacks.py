"""Tracebacks of `cs.run`: the users' frames, with notes, causes and parts, and no others."""

import asyncio
import traceback
from typing import Any

import pytest

import cascade as cs
from cascade.app.tracebacks import trim

every_mode = pytest.mark.parametrize("mode", ["inline", "blocking", "async"])


def fail(error: BaseException) -> None:
    raise error


def frames_of(error: BaseException | None) -> list[str]:
    assert error is not None
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def failing(mode: Any, error: BaseException) -> Any:
    if mode == "async":

        async def bad(x: int) -> None:
            await asyncio.sleep(0)
            fail(error)

        return cs.task(bad)

    def worse(x: int) -> None:
        fail(error)

    return cs.task(worse, mode=mode, name="bad")  # type: ignore[call-overload]


def caught_of(target: Any, **options: Any) -> BaseException:
    try:
        cs.run(target, **{"log_level": "SILENT", **options})
    except BaseException as error:
        return error
    raise AssertionError


@every_mode
@pytest.mark.parametrize("kind", ["call", "map", "subflow", "retry"])
def test_it_has_the_frames_of_the_task_alone(mode: str, kind: str) -> None:
    task = failing(mode, ValueError("bad"))
    target: Any = {
        "call": task(1),
        "map": task.map(x=[1]),
        "subflow": cs.subflow(task(1)),
        "retry": task(1).with_retry(2),
    }[kind]
    error = caught_of(target)
    name = "bad" if mode == "async" else "worse"
    assert frames_of(error)[0] == "caught_of"
    assert frames_of(error)[-2:] == [name, "fail"]
    assert {*frames_of(error)} == {"caught_of", name, "fail"}
    assert any("in task bad#1" in note for note in error.__notes__)
    whole = caught_of(failing(mode, ValueError("bad"))(1), log_level="DEBUG")
    assert len(frames_of(whole)) > 5


def test_so_have_causes_and_the_parts_of_groups() -> None:
    def inside() -> None:
        cs.run(failing("inline", ValueError("cause"))(1), log_level="SILENT")

    @cs.task
    async def group() -> None:
        (failed,) = await asyncio.gather(part(), return_exceptions=True)
        assert isinstance(failed, KeyError)
        raise ExceptionGroup("group", [failed])

    async def part() -> None:
        try:
            await asyncio.to_thread(inside)
        except ValueError as error:
            raise KeyError("part") from error

    error = caught_of(group())
    assert isinstance(error, ExceptionGroup)
    (one,) = error.exceptions
    assert frames_of(one) == ["part"]
    assert frames_of(one.__cause__)[-2:] == ["worse", "fail"]
    assert "inside" in frames_of(one.__cause__)


def test_what_cascade_raises_ends_where_it_was_called() -> None:
    for target in (cs.task(abs)(cs.Param("n", type=int)), cs.shell("exit 3")):
        assert frames_of(caught_of(target)) == ["caught_of"]


def test_an_error_whose_notes_raise_comes_out_as_it_is() -> None:
    class Odd(Exception):
        @property
        def __notes__(self) -> list[str]:  # type: ignore[override]
            raise RuntimeError("no notes")

    error = Odd("as it is")  # without a frame of the user's, as one that came from another process
    trim(error)
    assert error.args == ("as it is",)
    assert caught_of(failing("inline", error)(1)) is error


def test_an_error_that_lets_nothing_be_set_comes_out_as_it_is() -> None:
    class Frozen(Exception):
        def __setattr__(self, name: str, value: Any) -> None:
            raise TypeError(name)

    assert isinstance(caught_of(failing("inline", Frozen())(1)), Frozen)


@every_mode
def test_what_ends_the_process_is_told_with_its_task(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(caught_of(failing(mode, SystemExit(3))(1), log_level="INFO"), SystemExit)
    assert "s: SystemExit: 3 (in task bad#1 (declared at " in capsys.readouterr().err
