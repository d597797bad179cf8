"""The JSON log: events with the ids of their messages, and records of `logging` with the step that they are made in."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import cascade as cs

log = logging.getLogger("shop")


@pytest.fixture(autouse=True)
def lets_through() -> Iterator[None]:
    log.setLevel(logging.DEBUG)
    yield
    log.setLevel(logging.NOTSET)


def lines_of(capsys: pytest.CaptureFixture[str], target: Any, **options: Any) -> list[dict[str, Any]]:
    cs.run(target, log_format="json", **options)
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_each_line_has_the_id_of_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    fails = [True]

    @cs.task(retry=2)
    def flaky() -> int:
        if fails.pop():
            fails.append(False)
            raise OSError("busy")
        return 1

    target: Any = [flaky(), flaky().run_if(False, otherwise=0)]
    found = [line["id"] for line in lines_of(capsys, target, log_level="DEBUG")]
    assert (found[0], found[-1]) == ("run.started", "run.finished_success")
    assert sorted(found[1:-1]) == ["task.finished_success", "task.retrying", "task.skipped", "task.started"]
    target = cs.task(name="bad")(lambda x: 1 // x)(cs.Param("x", type=int))
    with pytest.raises(ZeroDivisionError):
        cs.run(target, {"x": 0}, log_format="json", log_level="DEBUG")
    ids = [json.loads(line)["id"] for line in capsys.readouterr().err.splitlines()]
    assert ids == ["run.started_with_params", "task.started", "task.finished_failure", "run.finished_failure"]


@pytest.mark.parametrize("mode", ["inline", "blocking", "async"])
def test_records_belong_to_their_step(capsys: pytest.CaptureFixture[str], mode: Any) -> None:
    def say(x: int) -> int:
        log.info("item %d", x)
        return x

    async def say_too(x: int) -> int:
        await asyncio.sleep(0)
        return say(x)

    task = cs.task(say_too) if mode == "async" else cs.task(mode=mode)(say)
    lines = lines_of(capsys, task.map(x=[1, 2]), run_id="r")
    records = {line["message"]: line for line in lines if line["id"] == "log"}
    assert set(records) == {"item 1", "item 2"}
    one = records["item 2"]
    assert one["task_id"].endswith("#1[1]")
    assert {
        "level": "INFO",
        "event": "Log",
        "logger": "shop",
        "run_id": "r",
        "iteration": 0,
        "attempt": 1,
    }.items() <= one.items()
    assert isinstance(one["timestamp"], float)


def test_the_logger_of_a_task_and_what_is_outside_of_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    @cs.task(retry=2)
    def work() -> int:
        cs.current().logger.warning("attempt %d", cs.current().attempt)
        if cs.current().attempt == 1:
            raise OSError("busy")
        return 1

    @cs.resource
    def thing() -> Iterator[int]:
        log.warning("outside")
        yield 1

    lines = lines_of(capsys, cs.task(name="use")(lambda x, y: x)(work(), cs.inject(thing)))
    records = {line["message"]: line for line in lines if line["id"] == "log"}
    assert records["attempt 2"]["attempt"] == 2
    assert records["attempt 1"]["task_id"] == "work#1"
    assert "outside" in records


def test_levels_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    @cs.task
    def work(password: str) -> None:
        log.debug("left out")
        try:
            raise OSError(f"refused {password}")
        except OSError:
            log.exception("it failed with %s", password)

    lines = lines_of(capsys, work(cs.Param("password", secret=True)), params={"password": "hunter2"})
    (record,) = [line for line in lines if line["id"] == "log"]
    assert record["level"] == "ERROR"
    assert record["message"] == "it failed with ***"
    assert "OSError: refused ***" in record["exception"]
    assert "hunter2" not in json.dumps(lines)


def test_the_handler_goes_with_the_run_and_other_forms_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    before = list(logging.getLogger().handlers)
    seen: list[Any] = []
    look = cs.task(name="look")(
        lambda: seen.append([each for each in logging.getLogger().handlers if each not in before])
    )
    cs.run(look(), log_format="json")
    cs.run(look())
    cs.run(look(), log_format="json", log_level="SILENT")
    assert [len(each) for each in seen] == [1, 0, 0]
    assert logging.getLogger().handlers == before
    with pytest.raises(ZeroDivisionError):
        cs.run(cs.task(name="bad")(lambda: 1 // 0)(), log_format="json")
    assert logging.getLogger().handlers == before
