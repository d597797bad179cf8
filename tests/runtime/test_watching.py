"""What is known of runs to those who look on: kept within bounds, without secrets, for as long as somebody looks."""

import asyncio
import logging
from typing import Any

import pytest

import cascade as cs
from cascade.errors import ConnectorError, StateError
from cascade.runtime import Engine, MessageBus
from cascade.runtime.watching import seen, watch
from cascade.runtime.watching.signals import form_of
from cascade.runtime.watching.time_line import critical_path
from cascade.runtime.watching.told import tell
from tests.workflows import Tier, every_tier


@cs.task
def double(x: int) -> int:
    return 2 * x


@cs.task
def add(x: int, y: int) -> int:
    return x + y


@cs.task
def again(n: int) -> Any:
    return cs.Jump("again", n - 1) if n else cs.Jump("done", "end")


@cs.task
def fails(word: str) -> None:
    raise ValueError(f"no {word} here")


class Looking:
    """An engine that somebody looks at."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.watch: watch.Watch = engine.watching()
        self.watch.look()

    def tell(self, part: str, run: str = "r", **args: Any) -> dict[str, Any]:
        return tell(self.watch, {"part": part, "run": run, **args})

    async def run(self, target: Any, params: dict[str, Any] | None = None, run_id: str = "r") -> Any:
        try:
            return await self.engine.run(target, params, run_id=run_id)
        except ValueError as error:
            return error


@every_tier
def test_steps_nodes_and_a_head_are_told(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            looking = Looking(engine)
            await looking.run(add(double(1), double(2)))
            head = looking.tell("head")
            assert (head["status"], head["steps"], head["counts"]["succeeded"]) == ("Succeeded", 3, 3)
            rows = looking.tell("steps")["rows"]
            assert [(row["task_id"], row["status"], row["preview"]) for row in rows] == [
                ("double#1", "Succeeded", "2"),
                ("double#2", "Succeeded", "4"),
                ("add#1", "Succeeded", "6"),
            ]
            assert [each["name"] for each in looking.tell("nodes")["nodes"]] == ["double#1", "double#2", "add#1"]
            given = looking.tell("step", task_id="add#1")["arguments"]
            assert given == [
                {"name": "x", "source": "double#1", "preview": "2"},
                {"name": "y", "source": "double#2", "preview": "4"},
            ]
            assert looking.tell("step", task_id="double#1")["arguments"] == [
                {"name": "x", "source": None, "preview": "1"}
            ]

    asyncio.run(main())


@every_tier
def test_a_failure_has_its_traceback_and_no_secret_is_in_anything(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            looking = Looking(engine)
            await looking.run(fails(cs.Param("word", type=str, secret=True)), {"word": "hunter2-hunter2"})
            (row,) = looking.tell("steps")["rows"]
            assert (row["status"], row["error"]) == ("Failed", "ValueError: no *** here")
            assert 'raise ValueError(f"no {word} here")' in row["traceback"]
            assert "cascade/runtime" not in row["traceback"]
            everything = [
                looking.tell(part, task_id="fails#1") for part in ("head", "nodes", "steps", "step", "logs", "line")
            ]
            assert "hunter2" not in repr(everything)
            assert looking.tell("head")["params"] == {"word": "'***'"}

    asyncio.run(main())


def test_a_loop_is_told_by_iteration() -> None:
    async def main() -> None:
        async with Engine() as engine:
            looking = Looking(engine)
            loop = again(5)
            cs.bind(loop, cs.select_jump({"again": loop, "done": None}))
            await looking.run(loop)
            (node,) = looking.tell("nodes")["nodes"]
            assert (node["started"], node["iteration"]) == (6, 5)
            (row,) = looking.tell("steps", iteration=3)["rows"]
            assert (row["task_id"], row["iteration"]) == ("again#1", 3)

    asyncio.run(main())


def test_steps_come_in_pages_and_are_filtered() -> None:
    async def main() -> None:
        async with Engine() as engine:
            looking = Looking(engine)
            await looking.run(double.map(x=range(250)))
            first = looking.tell("steps", limit=100)
            assert (len(first["rows"]), first["more"]) == (100, True)
            second = looking.tell("steps", limit=300, after=first["rows"][-1]["number"])
            assert (len(second["rows"]), second["more"]) == (150, False)
            assert len(looking.tell("steps", text="[24")["rows"]) == 11
            assert len(looking.tell("steps", node="double#1", limit=300)["rows"]) == 250
            assert looking.tell("steps", status="Failed")["rows"] == []

    asyncio.run(main())


def test_however_many_steps_there_are_the_latest_and_the_failed_are_kept_and_all_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seen, "MOST_STEPS", 100)
    monkeypatch.setattr(seen, "MOST_PINNED", 10)

    @cs.task
    def picky(x: int) -> int:
        if x < 20:
            raise ValueError(str(x))
        return x

    async def main() -> None:
        async with Engine() as engine:
            looking = Looking(engine)
            await looking.run(picky.map(x=range(1000), on_error="collect"))
            head = looking.tell("head")
            assert (head["steps"], head["kept"]) == (1000, 110)
            assert (head["counts"]["failed"], head["counts"]["succeeded"]) == (20, 980)
            rows = looking.tell("steps", limit=300)["rows"]
            assert [row["status"] for row in rows].count("Failed") == 10
            assert rows[-1]["task_id"] == "picky#1[999]"

    asyncio.run(main())


def test_what_waits_says_for_what() -> None:
    async def main() -> None:
        async with Engine() as engine:
            looking = Looking(engine)
            engine.pause("task:double")
            run = engine.start(add(double(1), cs.wait_signal("go", type=int)), run_id="r")
            while "r" not in looking.watch.runs or looking.tell("head")["counts"]["waiting"] != 2:
                await asyncio.sleep(0.001)
            waiting = {row["task_id"]: row["reason"] for row in looking.tell("steps", status="Waiting")["rows"]}
            assert waiting["wait_signal#1"] == "message go"
            assert "paused" in waiting["double#1"]
            assert looking.tell("head")["signals"] == [{"name": "go", "form": {"kind": "int"}}]
            engine.resume("task:double")
            await engine.signal("r", "go", 5)
            assert await run == 7
            head = looking.tell("head")
            assert (head["counts"]["waiting"], head["signals"]) == (0, [])

    asyncio.run(main())


def test_records_of_logging_belong_to_their_step() -> None:
    @cs.task
    def talks() -> None:
        logging.getLogger("mine").warning("<b>%s</b>", "hello")

    async def main() -> None:
        async with Engine() as engine:
            looking = Looking(engine)
            await looking.run(talks())
            (line,) = looking.tell("logs")["rows"]
            assert (line["message"], line["task_id"], line["level"]) == ("<b>hello</b>", "talks#1", "WARNING")
            assert looking.tell("step", task_id="talks#1")["logs"] == [line]
            assert looking.tell("logs", level="ERROR")["rows"] == []

    asyncio.run(main())


def test_when_nobody_looks_any_more_nothing_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LEASE", -1.0)

    async def main() -> None:
        bus = MessageBus()
        async with Engine(bus=bus) as engine:
            looking = Looking(engine)
            assert bus.previews == watch.PREVIEWS
            assert bus.is_watched
            await looking.run(double(1))
            assert not bus.is_watched
            assert (bus.previews, looking.watch.runs) == (None, {})
            assert logging.getLogger().handlers == before

    before = [*logging.getLogger().handlers]
    asyncio.run(main())


def few(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Allow so many calls, and half of them with their results, however much time goes by."""
    monkeypatch.setattr(watch, "EVERY", 1)
    monkeypatch.setattr(watch, "TOLD", (1e-9, at_once))
    monkeypatch.setattr(watch, "WITH_RESULTS", (1e-9, at_once // 2))


@every_tier
def test_a_run_that_tells_too_much_is_heard_less(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        bus = MessageBus()
        async with Engine(bus=bus, tier=tier) as engine:
            looking = Looking(engine)
            few(monkeypatch, 40)
            looking.watch._hear_no_calls()
            looking.watch._hear_calls()
            await looking.run(double.map(x=range(30)))
            assert (looking.watch.level, bus.previews) == (watch.CALLS, None)
            shown = [each["preview"] for each in looking.tell("steps")["rows"]]
            assert shown[:20] == [str(2 * x) for x in range(20)]
            assert not any(shown[21:])
            head = looking.tell("head")
            assert (head["level"], head["missed"]) == (watch.CALLS, False)
            await looking.run(double.map(x=range(30)), run_id="s")
            assert looking.watch.level == watch.COUNTS
            assert not bus.is_watched
            head = looking.tell("head", run="s")
            assert (head["missed"], head["counts"]["succeeded"], head["counts"]["running"]) == (True, 11, 0)
            assert {each["status"] for each in looking.tell("steps", run="s")["rows"]} == {"Succeeded"}

    asyncio.run(main())


def test_calls_are_listened_to_again_and_with_results_once_there_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        bus = MessageBus()
        async with Engine(bus=bus) as engine:
            looking = Looking(engine)
            looking.watch._hear_no_calls()
            looking.watch.look()
            assert looking.watch.level == watch.COUNTS
            monkeypatch.setattr(watch, "AGAIN", 0.0)
            looking.watch.look()
            assert (looking.watch.level, bus.previews) == (watch.CALLS, None)
            await looking.run(double.map(x=range(5)))
            assert looking.tell("head")["counts"]["succeeded"] == 5
            looking.watch._measured = 0, looking.watch._measured[1] - 1.0
            looking.watch.look()
            assert (looking.watch.level, bus.previews) == (watch.RESULTS, watch.PREVIEWS)

    asyncio.run(main())


def test_another_run_that_begins_is_listened_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Engine() as engine:
            looking = Looking(engine)
            looking.watch._hear_no_calls()
            await looking.run(double(1))
            head = looking.tell("head")
            assert (head["steps"], head["missed"]) == (0, True)
            monkeypatch.setattr(watch, "SOON", 0.0)
            await looking.run(double(1), run_id="s")
            head = looking.tell("head", run="s")
            assert (head["steps"], head["missed"]) == (1, False)

    asyncio.run(main())


def test_what_goes_on_while_nobody_listens_is_not_said_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was heard to begin may have ended; its end is told if somebody listens by then."""

    async def main() -> None:
        begun, free = asyncio.Event(), asyncio.Event()

        @cs.task
        async def holds() -> int:
            begun.set()
            await free.wait()
            return 1

        async with Engine() as engine:
            looking = Looking(engine)
            for hears_the_end in (False, True):
                run = engine.start(holds(), run_id=str(hears_the_end))
                await begun.wait()
                assert looking.tell("head", run=str(hears_the_end))["counts"]["running"] == 1
                looking.watch._hear_no_calls()
                assert looking.tell("head", run=str(hears_the_end))["counts"]["running"] == 0
                assert looking.tell("steps", run=str(hears_the_end))["rows"] == []
                if hears_the_end:
                    looking.watch._hear_calls()
                free.set()
                await run
                looking.watch.look()
                (node,) = looking.tell("nodes", run=str(hears_the_end))["nodes"]
                assert (node["started"], node["succeeded"], node["running"]) == (
                    (1, 1, 0) if hears_the_end else (0, 0, 0)
                )
                begun.clear()
                free.clear()
                looking.watch._hear_calls()

    asyncio.run(main())


def test_a_map_that_is_too_fast_is_counted_and_its_run_unharmed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Engine() as engine:
            looking = Looking(engine)
            few(monkeypatch, 100)
            monkeypatch.setattr(watch, "AGAIN", 1e9)
            looking.watch._hear_no_calls()
            looking.watch._hear_calls()
            assert len(await looking.run(double.map(x=range(2_000)))) == 2_000
            head = looking.tell("head")
            assert (head["status"], head["missed"]) == ("Succeeded", True)
            assert head["counts"]["running"] == 0
            assert 100 < head["counts"]["succeeded"] < 2_000

    asyncio.run(main())


def test_a_run_that_is_not_known_says_so() -> None:
    async def main() -> None:
        async with Engine() as engine:
            with pytest.raises(StateError, match="nothing is known of a run 'other'"):
                Looking(engine).tell("head", run="other")

    asyncio.run(main())


def test_the_critical_path_is_the_chain_that_ended_last() -> None:
    needs = {"a": [], "b": [], "list": ["a", "b"], "c": ["list"], "d": ["a"], "e": ["c", "d"]}
    assert critical_path(needs, {"a": 1, "b": 5, "c": 7, "d": 2, "e": 8}) == ["b", "c", "e"]
    assert critical_path(needs, {"a": 9, "b": 5, "c": 7, "d": 10}) == ["a", "d"]
    assert critical_path({}, {"a": 1}) == []
    assert critical_path(needs, {}) == []


def test_a_time_line_has_its_critical_path() -> None:
    async def main() -> None:
        async with Engine() as engine:
            looking = Looking(engine)
            await looking.run(add(double(1), double(2)))
            line = looking.tell("line")
            assert line["path"][-1] == "add#1"
            assert [row["name"] for row in line["rows"] if row["critical"]] == line["path"]
            assert all(row["spans"] for row in line["rows"])

    asyncio.run(main())


def test_each_type_of_message_has_its_form() -> None:
    import enum
    from typing import Literal

    class Color(enum.Enum):
        RED = 1

    assert form_of(bool) == {"kind": "bool"}
    assert form_of(str) == {"kind": "text"}
    assert form_of(Literal["a", "b"]) == {"kind": "choice", "choices": ["a", "b"]}
    assert form_of(Color) == {"kind": "choice", "choices": ["RED"]}
    assert form_of(list[int])["kind"] == "json"
    assert form_of(None) == {"kind": "json", "type": ""}


def test_the_picture_has_the_state_of_each_box() -> None:
    async def main() -> None:
        async with Engine() as engine:
            looking = Looking(engine)
            await looking.run(add(fails(double.map(x=range(10))), 1))
            told = looking.tell("picture")
            boxes = {box["label"]: told["states"].get(box["id"], {}) for box in told["view"]["boxes"]}
            assert (boxes["double"]["status"], boxes["double"]["calls"]) == ("Succeeded", 10)
            assert (boxes["fails"]["status"], boxes["fails"]["node"]) == ("Failed", "fails#1")
            assert boxes["add"] == {}
            with pytest.raises(ConnectorError, match="none with the number 7"):
                looking.tell("picture", view=7)

    asyncio.run(main())
