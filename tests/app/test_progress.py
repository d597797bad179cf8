"""Progress: what is seen of a run from outside, when it is said, and how it is drawn."""

import asyncio
import contextlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.app import progress as progress_module
from cascade.app.progress import Lines, Progress
from cascade.app.standing import Report, spelled_time
from cascade.app.words import WORDS, language, say
from cascade.runtime.events import RunFinished, TaskRetrying
from cascade.runtime.events.bus import MessageBus
from cascade.runtime.inspect.progress import MapProgress, RunProgress


class Clock:
    """Goes on by `step` seconds each time it is read."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Display:
    """Keeps what it is to show, and opens a gate when enough was shown."""

    def __init__(self, enough: int = 1) -> None:
        self.reports: list[Report] = []
        self.enough = enough
        self.seen = asyncio.Event()
        self.stopped = 0

    def show(self, report: Report) -> None:
        self.reports.append(report)
        if len(self.reports) >= self.enough:
            self.seen.set()

    def stop(self) -> None:
        self.stopped += 1


def watched(declare: Any, enough: int = 1, step: float = 1.0, executor: Any = None) -> tuple[Any, Display, Progress]:
    """Run what `declare(display)` returns while a display watches."""

    async def main() -> tuple[Any, Display, Progress]:
        display = Display(enough)
        progress = Progress(display, Clock(step), 0.001)
        bus = MessageBus()
        bus.subscribe(RunFinished, lambda event: progress.last_look(event.run_id))
        async with cs.Engine(bus=bus, executor=executor) as engine:
            progress.watch(engine)
            try:
                return await engine.run(declare(display)), display, progress
            finally:
                progress.stop()

    return asyncio.run(main())


def test_nodes_are_counted_and_what_runs_is_named() -> None:
    @cs.task(mode="inline")
    def one() -> int:
        return 1

    def declare(display: Display) -> Any:
        @cs.task
        async def held(n: int) -> int:
            await display.seen.wait()
            return n

        @cs.task
        async def beside(n: int) -> int:
            await display.seen.wait()
            return n

        start = one()
        return [held(start), beside(start)]

    value, display, _ = watched(declare, enough=50)
    assert value == [1, 1]
    seen = display.reports[-1]
    assert (seen.sight.done, seen.sight.total) == (1, 3)
    assert [name for name, _ in seen.running] == ["beside#1", "held#1"]
    assert display.stopped


def test_a_loop_is_one_counter_with_a_rate() -> None:
    def declare(display: Display) -> Any:
        @cs.task(mode="inline")
        def spin(n: int) -> Any:
            return cs.Jump("exit", n) if display.seen.is_set() else cs.Jump("again", n + 1)

        step = spin(0)
        return cs.bind(step, cs.select_jump({"again": step, "exit": None}))

    value, display, progress = watched(declare, enough=3)
    counts = [report.sight.loops["spin#1"] for report in display.reports]
    assert counts == sorted(counts)
    assert 0 < counts[-1] <= value + 1
    assert display.reports[-1].rates["spin#1"] > 0
    assert progress.loops == {"spin#1": value + 1}  # at the end, not when it was last seen


def test_a_loop_that_waits_is_counted_where_it_counts_itself() -> None:
    def declare(display: Display) -> Any:
        @cs.task
        async def spin(n: int) -> Any:
            await asyncio.sleep(0)
            return cs.Jump("exit", n) if display.seen.is_set() else cs.Jump("again", n + 1)

        step = spin(0)
        return cs.bind(step, cs.select_jump({"again": step, "exit": None}))

    value, display, _ = watched(declare, enough=5)
    counts = [report.sight.loops.get("spin#1", 0) for report in display.reports]
    assert counts == sorted(counts)
    assert 16 < counts[-1] <= value + 1


def test_a_map_is_one_counter_with_its_failures() -> None:
    def declare(display: Display) -> Any:
        @cs.task
        async def item(x: int) -> int:
            if x == 0:
                raise ValueError("none")
            if x == 9:
                await display.seen.wait()
            return x

        return item.map(x=range(10), on_error="collect", concurrency=2)

    _, display, progress = watched(declare, enough=20)
    seen = display.reports[-1].sight.maps[0]
    assert (seen.id, seen.done, seen.total, seen.failed) == ("item#1", 9, 10, 1)
    assert progress.failed == {"item#1": 1}
    assert progress.slow.keys() == {"item#1[9]"}  # it stood still for seconds of this clock
    assert "items that failed: item#1 1 of 10" in progress.summary()
    assert progress.to_dict()["items_failed"] == {"item#1": 1}


class Run:
    """Stands in for a run that has ended."""

    id = "run"
    lost: ClassVar = {"f#1": (5, 40, True), "g#1": (2, 3, False)}


def test_the_end_of_a_run_tells_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes on is looked at now and then; what is told was true at the end."""
    now, sights = 0.0, [["one#1", "two#1"], ["one#1"], ["one#1"], ["one#1", "f#1[3]"], ["f#1[3]"], []]
    monkeypatch.setattr(progress_module, "state_of", lambda engine: Run)
    monkeypatch.setattr(progress_module, "progress_of", lambda run, loop: RunProgress(0, 0, {}, [], sights.pop(0)))

    async def main() -> Progress:
        nonlocal now
        progress = Progress(Display(), lambda: now)
        progress.watch(object())
        for _ in range(5):
            now += 0.5
            progress.report(Run)  # type: ignore[arg-type]
        assert not progress.last_look("another run")
        now += 0.25
        assert progress.last_look("run")
        return progress

    progress = asyncio.run(main())
    assert progress.slow == {"one#1": 2.25, "f#1[3]": 0.875}  # the other was seen once: it may have been a short one
    assert progress.summary() == [
        "slow: one#1 about 2.2 s, f#1[3] about 0.9 s",
        "items that failed: g#1 2 of 3",  # of the others a warning tells
    ]
    assert progress.to_dict()["items_failed"] == {"f#1": 5, "g#1": 2}


@pytest.mark.parametrize("mode", ["blocking", "compute", "process"])
def test_what_waits_for_a_thread_or_a_process_does_not_run(mode: Any, tmp_path: Path) -> None:
    if mode == "process":
        pytest.importorskip("loky")
    path = tmp_path / "go"

    def declare(display: Display) -> Any:
        item: Any = cs.task(name="item", mode=mode)(until)
        running = opening(display, path)
        return [item.map(n=range(4), path=[path] * 4), running]

    _, display, _ = watched(declare, enough=30, executor=LocalExecutor(1, 1, 1))
    seen = [name for report in display.reports for name in report.sight.running if name.startswith("item")]
    assert "item#1[0]" in seen
    assert all(len([name for name in each.sight.running if name != "opening#1"]) <= 1 for each in display.reports)


def until(n: int, path: Path) -> int:
    """Return when a file is there."""
    while not path.exists():
        time.sleep(0.001)
    return n


@cs.task
async def opening(display: Display, path: Path) -> None:
    while not any("item#1[0]" in report.sight.running for report in display.reports[-5:]):
        await asyncio.sleep(0.002)
    path.touch()


def test_nothing_is_told_of_a_short_run() -> None:
    def declare(display: Display) -> Any:
        @cs.task
        async def held() -> int:
            await display.seen.wait()
            return 1

        return held()

    _, _, progress = watched(declare, step=0.001)
    assert progress.summary() == []


def test_a_long_run_ends_with_what_was_worth_telling(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "SLOW", 0.0)

    @cs.task(mode="inline")
    def spin(n: int) -> Any:
        return cs.Jump("again" if n < 99 else "exit", n + 1)

    step = spin(0)
    target = cs.bind(step, cs.select_jump({"again": step, "exit": None}))
    assert cs.run(target) == 100
    assert "loops: spin#1 100 entries" in capsys.readouterr().err
    assert cs.run(target, log_format="json") == 100
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [record["event"] for record in records] == ["RunStarted", "Summary", "RunFinished"]
    assert records[1]["loops"] == {"spin#1": 100}


def test_lines_come_after_a_while_and_then_now_and_then() -> None:
    written: list[float] = []
    lines = Lines(lambda report: written.append(report.seconds), 10, 30)
    for seconds in range(1, 80):
        lines.show(Report("x", seconds, RunProgress(0, 0, {}, [], []), {}, []))
    assert written == [10, 40, 70]


SEEN = Report(
    "train",
    65.0,
    RunProgress(
        2, 3, {"step#1": 1234567}, [MapProgress("part#1", 20, 25, 100, 2), MapProgress("feed#1", 7, 9, None, 0)], []
    ),
    {"step#1": 50000.0, "part#1": 3.0},
    [(f"load#{n}", 7.0 - n) for n in range(1, 9)],
)


def test_a_report_is_one_line() -> None:
    assert str(SEEN) == (
        "train has run for 1 min 05 s: 2 of 3 nodes; step#1 1,234,567 entries (50,000/s); "
        "part#1 20/100 items, 2 failed (3/s); feed#1 7 items; "
        "running: load#1 (6.0 s), load#2 (5.0 s), load#3 (4.0 s), load#4 (3.0 s), load#5 (2.0 s) and 3 more"
    )
    assert json.loads(json.dumps(SEEN.to_dict()))["maps"][0]["failed"] == 2


def test_the_display_fits_the_terminal() -> None:
    pytest.importorskip("rich")
    from cascade.app.live import drawn

    lines = drawn(SEEN, 1, 80).plain.splitlines()
    assert lines[0].endswith("train  2 of 3 nodes  1 min 05 s")
    assert "step#1  1,234,567 entries  50,000/s" in lines[1]
    assert "━" * 24 + "  20/100" in lines[2]
    assert "2 failed" in lines[2]
    assert lines[-1].strip() == "and 2 more running"
    assert len(lines) == 1 + 1 + 2 + 6 + 1  # however many run
    long = SEEN._replace(names="a_name_that_is_far_too_long_for_this_terminal_1")
    first, *others = drawn(long, 1, 50).plain.splitlines()
    assert first == "⠙ a_name_tha…terminal_1  2 of 3 nodes  1 min 05 s"
    assert "━" * 8 + "  20/100" in others[1]
    assert all(len(line) <= 50 for line in (first, *others))


def test_times_are_spelled() -> None:
    assert [spelled_time(seconds) for seconds in (0.04, 9.96, 59.9, 61, 7380)] == [
        "0.0 s",
        "10.0 s",
        "59 s",
        "1 min 01 s",
        "2 h 03 min",
    ]


class Terminal(io.StringIO):
    """A stderr that says that it is a terminal."""

    @property
    def text(self) -> str:
        return self.getvalue()

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_without_rich_and_on_a_dumb_terminal_there_are_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(report: Report) -> None: ...

    with contextlib.redirect_stderr(terminal):
        assert isinstance(progress_module.display_for(write, False), Lines)
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(progress_module.display_for(write, True), Lines)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(progress_module, "find_spec", lambda name: None)
        assert isinstance(progress_module.display_for(write, True), Lines)


def test_a_short_run_draws_nothing(terminal: Terminal) -> None:
    @cs.task
    def one() -> int:
        return 1

    with contextlib.redirect_stderr(terminal):
        assert cs.run(one()) == 1
    assert "\x1b" not in terminal.text
    assert "run succeeded" in terminal.text


def test_a_run_that_lasts_is_drawn_and_leaves_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr(progress_module, "LIVE_AFTER", 0.0)

    @cs.task
    async def held() -> int:
        while "held#1" not in terminal.text:
            await asyncio.sleep(0)
        return 1

    with contextlib.redirect_stderr(terminal):
        assert cs.run(held()) == 1
    assert "▸" in terminal.text
    assert "\x1b[?25h" in terminal.text  # the cursor is back
    assert terminal.text.rstrip().splitlines()[-1].endswith("s")
    assert "run succeeded" in terminal.text.rpartition("\x1b")[2]


def test_progress_hears_no_task_events() -> None:
    """Retries are told of where they happen, so that whoever waits for them costs other tasks nothing."""
    bus = MessageBus()
    bus.subscribe(TaskRetrying, lambda event: None)
    assert not bus.is_watched


class TestLanguages:
    def test_each_message_has_both_with_the_same_gaps(self) -> None:
        import string

        for key, (english, chinese) in WORDS.items():
            gaps = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (english, chinese)]
            assert gaps[0] == gaps[1], key
            assert any(letter > "\u3400" for letter in chinese), key

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, "en"),
            ({"LANG": "zh_CN.UTF-8"}, "zh"),
            ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
            ({"LANG": "de_DE", "CASCADE_LANG": "zh"}, "zh"),
            ({"LANG": "zh_CN", "CASCADE_LANG": "en"}, "en"),
        ],
    )
    def test_it_is_that_of_the_locale_or_of_cascade_lang(
        self, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str
    ) -> None:
        for name in ("CASCADE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        assert language() == expected

    def test_a_run_is_told_of_in_chinese(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("CASCADE_LANG", "zh")

        @cs.task
        def fails() -> int:
            raise ValueError("no")

        with contextlib.suppress(ValueError):
            cs.run(fails())
        err = capsys.readouterr().err
        assert "开始运行 fails" in err
        assert "ValueError: no" in err
        assert say("interrupted") == "已中断"
        assert os.environ["CASCADE_LANG"] == "zh"
