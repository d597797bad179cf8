"""Engines that other processes of the user steer at a door: what may be asked, also of a busy loop; when it closes."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.doors.client import Asker, doors
from cascade.adapters.doors.sockets import reach
from cascade.app import run as app_run
from cascade.errors import ConnectorError, StateError
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import RunWarning
from tests.doors import ask, ask_now, folder
from tests.helpers import run_python
from tests.runtime.limits_log import arrives
from tests.runtime.test_forks import in_child
from tests.workflows import Tier, every_tier, in_loop, turns

__all__ = ["folder"]

pytestmark = [
    pytest.mark.usefixtures("folder"),
    pytest.mark.skipif(os.name != "posix", reason="doors of POSIX systems"),
]


@cs.task
def double(x: int) -> int:
    return 2 * x


class TestRequests:
    @every_tier
    def test_a_pause_and_limits_hold_until_they_are_taken_away(self, tier: Tier) -> None:
        async def main() -> None:
            async with Engine(control=True, tier=tier) as engine:
                assert await engine.run(double(1)) == 2
                assert await ask("pause") == {"runs": 0}
                run = engine.start(double(2))
                await turns(20)
                assert run.status == "Running"
                assert await ask("resume") == {"runs": 1}
                assert await run == 4
                await ask("pause", scope="task:x", ttl=60)
                await ask("set_limit", scope="task:d*", concurrency=2, rate="30/m", burst=3)
                found = [(each.scope, each.kind, each.value, each.burst) for each in engine.limits()]
                assert found == [
                    *(("task:d*", "concurrency", 2, None), ("task:d*", "rate", 0.5, 3), ("task:x", "pause", None, None))
                ]
                assert [each["kind"] for each in (await ask("status"))["limits"]] == ["concurrency", "rate", "pause"]
                await ask("clear_limit", scope="task:d*")
                assert [each.kind for each in engine.limits()] == ["pause"]

        in_loop(main)

    def test_how_it_is(self) -> None:
        async def main() -> None:
            async with Engine(control=True) as engine:
                await engine.run(double(1))
                told = await ask("status")
                assert (told["pid"], told["runs"], told["limits"], told["busy"]) == (os.getpid(), [], [], False)
                assert told["folder"] == os.getcwd()
                engine.pause("task:double")
                name = "deploy"
                run = engine.start([double(cs.wait_signal("go")), double.map(x=range(5))], run_id=name)
                await arrives(lambda: engine.admission.waiting().total() > 0)
                told = await ask("status", run=name)
                (shown,) = told["runs"]
                assert (shown["id"], shown["targets"]) == (name, ["double", "double"])
                assert shown["seconds"] > 0
                assert shown["progress"]["running"] == ["wait_signal#1"]
                assert told["waiting"] == [{"reason": "paused (task:double)", "calls": 5}]
                assert await ask("signal", run=name, name="go", value=4) is None
                await ask("resume", scope="task:double")
                assert await run == [8, [0, 2, 4, 6, 8]]

        in_loop(main)

    def test_a_run_is_ended_and_others_go_on(self) -> None:
        async def main() -> None:
            async with Engine(control=True) as engine:
                runs = [engine.start(cs.wait(100), run_id=name) for name in "ab"]
                await turns()
                await ask("cancel", run="a")
                with pytest.raises(asyncio.CancelledError):
                    await runs[0]
                assert runs[1].status == "Running"
                runs[1].cancel()

        in_loop(main)

    def test_the_end_of_a_run_is_waited_for(self) -> None:
        @cs.task
        async def fail() -> None:
            await asyncio.sleep(0.05)
            raise ValueError("no more")

        async def main() -> None:
            async with Engine(control=True) as engine:
                told: list[Any] = []
                for target in (cs.wait(0.05), fail(), cs.wait(100)):
                    run = engine.start(target, run_id="r")
                    await arrives(lambda: len(doors()) == 1)
                    with Asker(doors()[0]) as asker:
                        asker.send("end_of", run="r")
                        with pytest.raises(TimeoutError):
                            await asyncio.to_thread(asker.answer, 0.01)
                        if len(told) == 2:
                            run.cancel()
                        told.append(await asyncio.to_thread(asker.answer))
                    await asyncio.wait({run._task})
                assert [each["status"] for each in told] == ["Succeeded", "Failed", "Cancelled"]
                assert told[1]["error"] == "ValueError: no more"

        in_loop(main)

    def test_what_makes_no_sense_says_why_and_changes_nothing(self) -> None:
        bad: list[tuple[dict[str, Any], type[Exception], str]] = [
            ({"do": "pause", "scope": "fetch"}, cs.ConstraintError, '"task:fetch"'),
            ({"do": "pause", "scope": ["global"]}, cs.ConstraintError, "scope"),
            ({"do": "pause", "scope": "task:" + "x" * 5000}, cs.ConstraintError, "at most 1,000 letters"),
            ({"do": "pause", "ttl": -1}, cs.ConstraintError, "ttl"),
            ({"do": "pause", "ttl": 10**400}, cs.ConstraintError, "ttl"),
            ({"do": "set_limit"}, cs.ConstraintError, "a concurrency, a rate, or both"),
            ({"do": "set_limit", "concurrency": 0}, cs.ConstraintError, "whole number"),
            ({"do": "set_limit", "concurrency": 10**30}, cs.ConstraintError, "at most"),
            ({"do": "set_limit", "rate": {"a": 1}}, cs.ConstraintError, "rate"),
            ({"do": "set_limit", "rate": "1/s", "burst": "x"}, cs.ConstraintError, "burst"),
            ({"do": "cancel", "run": "nobody"}, StateError, r"no run 'nobody' is going on .*'known'"),
            ({"do": "cancel", "run": ["known"]}, StateError, "no run"),
            ({"do": "cancel"}, StateError, "no run None"),
            ({"do": "status", "run": "nobody"}, StateError, "no run"),
            ({"do": "signal", "run": "nobody", "name": "x"}, StateError, "no run"),
            ({"do": "signal", "run": "known", "name": ""}, ConnectorError, "name of a message"),
            ({"do": "signal", "run": "known", "name": 5}, ConnectorError, "name of a message"),
            ({"do": "signal", "run": "known", "name": "x", "id": 5}, ConnectorError, "its id a text"),
            ({"do": "__class__"}, ConnectorError, "cannot be asked for '__class__'"),
            ({"do": ["pause"]}, ConnectorError, "cannot be asked for"),
            ({}, ConnectorError, "cannot be asked for None"),
        ]

        async def main() -> None:
            async with Engine(control=True) as engine:
                run = engine.start(cs.wait_signal("x"), run_id="known")
                await turns()
                for request, kind, why in bad:
                    with pytest.raises(kind, match=why):
                        await ask(request.pop("do", None), **request)
                assert engine.limits() == []
                await ask("signal", run="known", name="x", value={"a": [1, None]})
                assert await run == {"a": [1, None]}

        in_loop(main)

    def test_a_message_is_data_and_nothing_of_it_is_evaluated(self) -> None:
        """Text that other formats would carry out comes as the text that it is."""
        texts = ["__import__('os').abort()", "!!python/object/apply:os.abort []", "cos\nabort\n(tR.", "{{ 7 * 7 }}"]

        async def main() -> None:
            async with Engine(control=True) as engine:
                for text in texts:
                    run = engine.start(cs.wait_signal("x"), run_id="r")
                    await turns()
                    await ask("signal", run="r", name="x", value=text)
                    assert await run == text

        in_loop(main)
        for name in ("client", "folder", "lines", "sockets"):
            code = Path(sys.modules[f"cascade.adapters.doors.{name}"].__file__ or "").read_text(encoding="utf-8")
            assert not any(word in code for word in ("pickle", "eval(", "exec(", "import_module", "yaml"))

    def test_a_recorded_run_gets_its_message_too(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with Engine(control=True, state_backend=tmp_path / "runs.db") as engine:
                run = engine.start(cs.wait_signal("x"), run_id="r")
                await arrives(lambda: engine._active["r"].run is not None)
                await ask("signal", run="r", name="x", value=[1], id="once")
                assert await run == [1]

        in_loop(main)


class TestWhileTheLoopIsBusy:
    @every_tier
    def test_a_hot_loop_is_paused_looked_at_and_ended(self, tier: Tier) -> None:
        counted = [0]

        @cs.task(name="count")
        def count(n: int) -> Any:
            counted[0] = n
            return cs.Jump("again", n + 1)

        step = count(0)
        cs.bind(step, cs.select_jump({"again": step}))
        said: list[Any] = []

        def steer() -> None:
            while not doors() or not counted[0]:
                time.sleep(0.005)
            said.append(ask_now("status"))
            ask_now("pause", scope="task:count")
            before = -1
            while before != counted[0]:  # it stands still
                before = counted[0]
                time.sleep(0.1)
            time.sleep(0.1)
            said.append(counted[0] - before)
            ask_now("resume", scope="task:count")
            while counted[0] == before:
                time.sleep(0.005)
            ask_now("cancel", run="hot")

        async def main() -> None:
            async with Engine(control=True, tier=tier) as engine:
                thread = threading.Thread(target=steer)
                thread.start()
                with pytest.raises(asyncio.CancelledError):
                    await engine.run(step, run_id="hot")
                await asyncio.to_thread(thread.join)

        in_loop(main)
        assert said[0]["busy"] is False
        assert said[0]["runs"][0]["id"] == "hot"
        assert said[1] == 0

    def test_calls_that_wait_by_the_thousand_are_counted_and_started(self) -> None:
        @cs.task
        async def nap(x: int) -> int:
            return x

        async def main() -> None:
            async with Engine(control=True) as engine:
                engine.pause()
                runs = [engine.start(nap(x), run_id=f"r{x}") for x in range(3_000)]
                await arrives(lambda: len(doors()) == 1)
                told = await ask("status")
                assert told["waiting"] == [{"reason": "paused (global)", "calls": 3_000}]
                assert len(told["runs"]) + told["more_runs"] == 3_000
                await ask("resume")
                assert sum([await run for run in runs]) == sum(range(3_000))

        in_loop(main)

    def test_code_that_holds_the_thread_does_not_keep_a_pause_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cascade.runtime.steering.door.PATIENCE", 0.1)
        said: list[Any] = []

        def steer(holds: threading.Event) -> None:
            said.extend([ask_now("status"), ask_now("pause", ttl=60), ask_now("status")])
            try:
                ask_now("signal", run="r", name="x")
            except ConnectorError as error:
                said.append(str(error))
            holds.set()

        async def main() -> None:
            async with Engine(control=True) as engine:
                run = engine.start(cs.wait_signal("x"), run_id="r")
                await turns()
                free = threading.Event()
                thread = threading.Thread(target=steer, args=(free,))
                thread.start()
                free.wait()  # as a task that blocks does
                assert [limit.kind for limit in engine.limits()] == ["pause"]
                thread.join()
                engine.resume()
                assert await run is None  # the message came, late

        in_loop(main)
        assert [each["busy"] for each in (said[0], said[2])] == [True, True]
        assert said[2]["limits"][0]["kind"] == "pause"
        assert "some code holds its thread" in said[3]


class TestOpeningAndClosing:
    def test_it_opens_with_the_first_run_and_closes_with_the_engine(self, folder: Path) -> None:
        async def main() -> None:
            engine = Engine(control=True)
            assert doors() == []
            assert await engine.run(double(1)) == 2
            assert len(doors()) == 1
            await engine.aclose()
            assert doors() == []
            assert await engine.run(double(1)) == 2  # an engine that was closed can be used again, and so can its door
            assert len(doors()) == 1
            await engine.aclose()

        in_loop(main)
        assert os.listdir(folder) == []

    def test_it_stays_open_while_the_engine_waits_for_runs(self) -> None:
        async def main() -> None:
            async with Engine(control=True) as engine:
                await engine.run(double(1))
                engine.pause()
                run = engine.start(double(1))
                await turns()
                threading.Timer(0.02, ask_now, ["resume"]).start()
            assert await run == 2

        in_loop(main)

    def test_an_engine_that_is_dropped_closes_it(self) -> None:
        engine = Engine(control=True)
        assert asyncio.run(engine.run(double(1))) == 2
        assert len(doors()) == 1
        del engine
        gc.collect()
        assert doors() == []

    def test_two_engines_have_two(self) -> None:
        async def main() -> None:
            async with Engine(control=True) as one, Engine(control=True) as other:
                await one.run(double(1))
                await other.run(double(1))
                assert len(doors()) == 2

        in_loop(main)

    def test_without_being_asked_an_engine_has_none(self) -> None:
        async def main() -> None:
            async with Engine() as engine:
                await engine.run(double(1))
                assert doors() == []
                engine.open_door()
                assert len(doors()) == 1
            assert doors() == []

        in_loop(main)

    def test_a_run_of_a_script_has_one_once_it_has_lasted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(app_run, "DOOR_AFTER", 0.01)
        found: list[int] = []

        @cs.task
        async def look(seconds: float) -> None:
            await asyncio.sleep(seconds)
            found.append(len(doors()))

        cs.run(look(0), log_level="SILENT")
        cs.run(look(0.1), log_level="SILENT")
        cs.run(look(0.1), log_level="SILENT", control=False)
        monkeypatch.setenv("CASCADE_CONTROL", "0")
        cs.run(look(0.1), log_level="SILENT")
        assert found == [0, 1, 0, 0]
        assert doors() == []
        assert app_run.DOOR_AFTER == 0.01

    def test_a_short_run_of_a_script_pays_nothing(self) -> None:
        code = "import sys, cascade as cs; cs.run(cs.wait(0), log_level='SILENT'); "
        code += "print([name for name in sys.modules if 'steering' in name or 'doors' in name])"
        assert run_python(code) == "[]\n"

    def test_a_folder_that_is_not_safe_is_an_error_where_a_door_was_asked_for(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.symlink_to(tmp_path)
        with pytest.raises(ConnectorError, match="not safe: it is a link"):
            Engine(control=True)
        warnings: list[str] = []

        async def main() -> None:
            bus = MessageBus()
            bus.subscribe(RunWarning, lambda event: warnings.append(f"{event.code} {event.message}"))
            async with Engine(bus=bus) as engine:
                engine.open_door()
                assert await engine.run(double(1)) == 2

        in_loop(main)
        assert len(warnings) == 1
        assert "NoControl no other process can steer this run" in warnings[0]

    def test_where_there_can_be_no_socket_a_run_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(app_run, "DOOR_AFTER", 0.0)

        def refuse(*_: object) -> None:
            raise PermissionError("no sockets here")

        monkeypatch.setattr("cascade.runtime.steering.door.Entrance", refuse)
        assert cs.run(cs.sequence([cs.wait(0.02), cs.format("x")]), log_level="SILENT") == "x"


SCRIPT = """
import sys, time
import cascade as cs

@cs.task
async def forever():
    print("up", flush=True)
    await cs.wait.func(60)

@cs.task
def held():
    time.sleep(60)

cs.run([forever()] if sys.argv[1] == "waits" else [forever(), held()], log_level="SILENT")
"""


def started(how: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    code = SCRIPT.replace("cs.run(", "from cascade.app import run; run.DOOR_AFTER = 0.01\ncs.run(")
    running = subprocess.Popen([sys.executable, "-c", code, how], stdout=subprocess.PIPE, env=environment)
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    while not doors():
        assert running.poll() is None
        time.sleep(0.01)
    return running


class TestProcesses:
    @pytest.mark.parametrize(
        ("signals", "code"), [([signal.SIGINT], -2), ([signal.SIGTERM], 143), ([signal.SIGINT] * 2, -2)]
    )
    def test_a_signal_ends_the_run_and_takes_the_socket_away(self, folder: Path, signals: list[int], code: int) -> None:
        running = started("waits")
        with running:
            for signum in signals:
                running.send_signal(signum)
            assert running.wait(30) == code
        assert os.listdir(folder) == []

    def test_what_a_killed_process_leaves_is_no_obstacle(self, folder: Path) -> None:
        with started("waits") as running:
            running.kill()
        assert len(os.listdir(folder)) == 1
        assert doors() == []
        assert os.listdir(folder) == []

    def test_another_process_pauses_it_and_ends_it(self) -> None:
        with started("waits") as running:
            (path,) = doors()
            with Asker(path) as asker, Asker(path) as waiting:
                told = asker.ask("status")
                assert told["pid"] == running.pid
                waiting.send("end_of", run=told["runs"][0]["id"])
                asker.ask("pause")
                assert [limit["kind"] for limit in asker.ask("status")["limits"]] == ["pause"]
                asker.ask("cancel", run=told["runs"][0]["id"])
                assert waiting.answer(30)["status"] == "Cancelled"
            assert running.wait(30) == 1
        assert doors() == []

    def test_a_forked_child_leaves_the_door_to_its_parent(self) -> None:
        async def main() -> None:
            async with Engine(control=True) as engine:
                await engine.run(double(1))
                (path,) = doors()
                raw, _ = reach(path)

                def child() -> None:
                    door = engine.steering.door
                    assert door.is_closed
                    assert door._entrance.socket.fileno() == door._wake.fileno() == -1
                    engine.steering.shut()

                assert in_child(child) == 0
                assert doors() == [path]
                with raw:
                    raw.sendall(b'{"v": 1, "do": "status"}\n')
                    assert json.loads(raw.makefile("rb").readline())["ok"] is True
                child_of_its_own = in_child(lambda: _runs_in_child(engine, path))
                assert child_of_its_own == 0
                assert doors() == [path]

        in_loop(main)
        assert doors() == []


def _runs_in_child(engine: Engine, path: str) -> None:
    """In a child: the engine has a door of its own once it runs something."""
    assert engine.steering.door.is_closed

    async def main() -> None:
        await engine.run(double(1))
        (mine,) = [each for each in os.listdir(os.path.dirname(path)) if each != os.path.basename(path)]
        assert mine.startswith(f"{os.getpid()}-")
        await engine.aclose()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
