"""Messages over a broker of MQTT: a real Mosquitto, which is killed and comes back."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.telemetry import TelemetrySubscriber
from cascade.errors import ConnectorError
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import ConnectorConnected, RunWarning
from cascade.spec.constraints import message_for, topic_for
from tests.helpers import invoke_cascade
from tests.workflows import in_loop

pytest.importorskip("aiomqtt")
from cascade.adapters.connectors.mqtt import MqttConnector

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
if MOSQUITTO is None and os.environ.get("CASCADE_REQUIRE_ALL") == "1":
    raise RuntimeError("there is no mosquitto, and CASCADE_REQUIRE_ALL=1 asks for it")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="there is no mosquitto")


class Broker:
    """A Mosquitto on a free port of this machine, which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
        self.process: Any = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                assert self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    made.start()
    yield made
    made.kill()


async def until(check: Any) -> None:
    while not check():
        await asyncio.sleep(0.01)


def test_messages_patterns_and_what_is_retained(broker: Broker) -> None:
    async def main() -> None:
        one, other = MqttConnector("127.0.0.1", broker.port), MqttConnector("127.0.0.1", broker.port, source="b")
        await one.connect()
        await one.publish("cell/1/state", {"gen": 1}, retain=True, qos=1)
        await one.publish("cell/2/state", 2, retain=True, qos=1)
        await one.publish("cell/2/state", {}, retain=True, qos=1)
        await other.connect()
        async with other.subscribe("cell/+/state") as some, other.subscribe("#") as every:
            assert await anext(some.with_topics()) == ("cell/1/state", {"gen": 1}, True)
            await one.publish("cell/3/state", [None, "é"])
            assert await anext(some.with_topics()) == ("cell/3/state", [None, "é"], False)
            found = [(await anext(every.with_topics())).topic for _ in range(4)]
            assert {"cell/1/state", "cell/3/state", other.status_topic} <= set(found)
        with pytest.raises(ConnectorError, match="JSON"):
            await one.publish("a", object())
        await one.disconnect()
        await other.disconnect()

    in_loop(main)


def test_it_connects_again_and_listens_again_when_the_broker_was_killed(broker: Broker) -> None:
    async def main() -> None:
        one, other = (
            MqttConnector("127.0.0.1", broker.port, source="a"),
            MqttConnector("127.0.0.1", broker.port, source="b"),
        )
        await one.connect()
        await other.connect()
        async with other.subscribe("news/#") as messages:
            await one.publish("news/1", 1, qos=1)
            assert await anext(messages) == 1
            await asyncio.to_thread(broker.kill)
            await until(lambda: not one._connected.is_set() and not other._connected.is_set())
            await one.publish("news/2", 2)  # waits for the broker, and holds nobody up
            await asyncio.to_thread(broker.start)
            await one._connected.wait()
            await other._connected.wait()
            await one.publish("news/3", 3, qos=1)
            while await anext(messages) != 3:  # the second one may have come before anybody listened again
                pass
        await one.disconnect()
        await other.disconnect()

    in_loop(main)


def test_who_ends_without_a_word_is_told_of(broker: Broker) -> None:
    async def main() -> None:
        one, other = (
            MqttConnector("127.0.0.1", broker.port, source="a"),
            MqttConnector("127.0.0.1", broker.port, source="b"),
        )
        await one.connect()
        await other.connect()
        async with other.subscribe("cascade/status/a") as messages:
            assert await anext(messages) == {"status": "online"}
            client: Any = one._client
            client._client.socket().shutdown(socket.SHUT_RDWR)
            assert await anext(messages) == {"status": "offline"}
            assert await anext(messages) == {"status": "online"}  # it has connected again
            await one.disconnect()
            assert await anext(messages) == {"status": "offline"}
        await other.disconnect()

    in_loop(main)


def test_a_retained_pause_holds_from_the_first_task_on_and_what_makes_no_sense_is_a_warning(broker: Broker) -> None:
    called: list[int] = []
    warnings: list[str] = []

    @cs.task
    def work(x: int) -> int:
        called.append(x)
        return x

    async def main() -> None:
        sender = MqttConnector("127.0.0.1", broker.port, source="sender")
        await sender.connect()
        await sender.publish(topic_for("task:work", "pause"), message_for("task:work", "pause"), qos=1, retain=True)
        bus = MessageBus()
        bus.subscribe(RunWarning, lambda event: warnings.append(event.code))
        async with Engine(connector=MqttConnector("127.0.0.1", broker.port), bus=bus) as engine:
            run = engine.start(work(1))
            await until(lambda: engine.admitting is not None and engine.admission.waiting().total() == 1)
            await sender.publish(topic_for("global"), ["no"], qos=1)
            await until(lambda: warnings)
            assert called == []
            await sender.publish(topic_for("task:work", "pause"), {}, qos=1, retain=True)
            assert await run == 1
        await sender.disconnect()
        assert warnings == ["ConstraintIgnored"]

    in_loop(main)


def test_the_commands_speak_over_a_broker(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("typer")
    monkeypatch.setenv("CASCADE_LANG", "en")
    where = f"127.0.0.1:{broker.port}"

    def cascade(*arguments: str) -> tuple[int, str, str]:
        return invoke_cascade(*arguments, "--mqtt", where)

    told = f"{where}: global is paused; cascade resume global --mqtt {where} ends it\n"
    assert cascade("pause") == (0, "", told)
    limits = "--concurrency", "2", "--rate", "30/m", "--burst", "3", "--ttl", "60"
    assert cascade("set-limit", "task:a/b", *limits)[0] == 0
    first, *rest = cascade("status")[1].splitlines()
    assert first == "global is paused"
    assert [line.split(", ends in")[0] for line in rest] == ["task:a/b: 2 at once", "task:a/b: 30/m, 3 in a burst"]

    async def main() -> list[str]:
        async with Engine(connector=MqttConnector("127.0.0.1", broker.port)) as engine:
            run = engine.start(cs.format("x"))
            await until(lambda: len(engine.limits()) == 3)
            kinds = [limit.kind for limit in engine.limits()]
            assert (await asyncio.to_thread(cascade, "resume"))[0] == 0
            assert (await asyncio.to_thread(cascade, "clear-limit", "task:a/b"))[0] == 0
            assert await run == "x"
            await until(lambda: engine.limits() == [])
            return [str(kind) for kind in kinds]

    assert in_loop(main) == ["pause", "concurrency", "rate"]
    assert cascade("status") == (0, "nothing is paused or limited\n", "")
    assert cascade("pause", "fetch")[0] == 1
    assert invoke_cascade("pause", "--mqtt", ":x")[0] == 2


def test_runs_of_two_engines_are_listed_answered_and_ended_over_a_broker(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("typer")
    monkeypatch.setenv("CASCADE_LANG", "en")
    where = f"127.0.0.1:{broker.port}"

    async def cascade(*arguments: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(invoke_cascade, *arguments, "--mqtt", where)

    async def main() -> None:
        assert await cascade("ps") == (
            0,
            "",
            "no engine answers there: one does that has a connector to this broker and a run that is going on\n",
        )
        connected: list[ConnectorConnected] = []
        bus = MessageBus()
        bus.subscribe(ConnectorConnected, connected.append)
        connectors = [MqttConnector("127.0.0.1", broker.port, source=each) for each in "ab"]
        first, second = (Engine(connector=each, bus=bus) for each in connectors)
        async with first, second:
            asked = first.start(cs.wait_signal("go"), run_id="asks")
            held = second.start(cs.wait(3600), run_id="holds")
            await until(lambda: len(first._active) == len(second._active) == 1)
            await until(lambda: len(connected) == 2)
            code, shown, _ = await cascade("ps")
            assert code == 0
            assert sorted(line.split()[2] for line in shown.splitlines()[1:]) == ["asks", "holds"]
            told = json.loads((await cascade("status", "--json"))[1])
            assert sorted(run["id"] for each in told["engines"] for run in each["runs"]) == ["asks", "holds"]
            assert len({each["engine"] for each in told["engines"]}) == 2

            code, _, error = await cascade("cancel", "hold")
            assert (code, "did you mean holds?" in error) == (1, True)
            assert await cascade("signal", "asks", "go", '{"x": 1}') == (0, "", "sent go to asks\n")
            assert await asked == {"x": 1}
            assert (await cascade("pause"))[0] == 0
            await until(lambda: first.limits() and second.limits())
            assert (await cascade("resume"))[0] == 0
            assert await cascade("cancel", "holds") == (0, "", "holds is being cancelled\n")
            with pytest.raises(asyncio.CancelledError):
                await held

    in_loop(main)


def test_a_run_goes_on_paused_and_is_steered_again_when_the_broker_was_killed_under_way(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stood goes on standing, what is told meanwhile is dropped and counted, and the run comes to its end."""
    pytest.importorskip("typer")
    monkeypatch.setattr("cascade.adapters.connectors.mqtt.MOST_UNSENT", 5)
    where = f"127.0.0.1:{broker.port}"
    calls: list[int] = []
    is_over = False

    @cs.task
    async def work(n: int) -> Any:
        calls.append(n)
        await asyncio.sleep(0.001)
        return cs.Jump("done", "worked") if is_over else cs.Jump("again", n + 1)

    @cs.task
    async def held(x: str) -> str:
        return x

    async def main() -> None:
        nonlocal is_over
        bus = MessageBus()
        connector = MqttConnector("127.0.0.1", broker.port)
        async with Engine(connector=connector, bus=bus) as engine:
            TelemetrySubscriber(bus, connector)
            assert (await asyncio.to_thread(invoke_cascade, "pause", "task:held", "--mqtt", where))[0] == 0
            loop = work(0)
            run = engine.start(held(cs.bind(loop, cs.select_jump({"again": loop, "done": None}))))
            await until(lambda: len(calls) > 20 and engine.limits())
            await asyncio.to_thread(broker.kill)
            await until(lambda: not connector._connected.is_set())
            since = len(calls)
            await until(lambda: len(calls) > since + 50 and connector.dropped > 0)
            assert [limit.scope for limit in engine.limits()] == ["task:held"]
            await asyncio.to_thread(broker.start)
            await connector._connected.wait()
            is_over = True
            assert len(engine._active) == 1
            assert (await asyncio.to_thread(invoke_cascade, "resume", "task:held", "--mqtt", where))[0] == 0
            assert await run == "worked"

    in_loop(main)


def test_questions_that_make_no_sense_are_warnings_and_change_nothing(broker: Broker) -> None:
    warnings: list[str] = []
    wrong = ["{", [1], {"do": "status"}, {"asker": "a/b", "do": "status"}, {"asker": "a", "do": "set_limit"}]

    async def main() -> None:
        bus = MessageBus()
        bus.subscribe(RunWarning, lambda event: warnings.append(event.code))
        connected: list[ConnectorConnected] = []
        bus.subscribe(ConnectorConnected, connected.append)
        other = MqttConnector("127.0.0.1", broker.port, tells_status=False)
        await other.connect()
        async with Engine(connector=MqttConnector("127.0.0.1", broker.port), bus=bus) as engine:
            run = engine.start(cs.wait_signal("go"), run_id="r")
            await until(lambda: engine._active and connected)
            async with other.subscribe("cascade/answers/a") as answers:
                for each in wrong:
                    await other.publish("cascade/ask", each, qos=1)
                await other.publish("cascade/ask", {"asker": "a", "do": "cancel", "run": "s"}, qos=1)
                refused = await anext(answers)
                await other.publish("cascade/ask", {"asker": "a", "do": "cancel", "engine": "b", "run": "r"}, qos=1)
                await other.publish("cascade/ask", {"asker": "a", "do": "signal", "run": "r", "name": "go"}, qos=1)
                assert (await anext(answers))["ok"] is True
            assert (refused["ok"], "no run 's' is going on" in refused["error"]) == (False, True)
            assert await run is None
        await other.disconnect()

    in_loop(main)
    assert warnings == ["QuestionIgnored"] * len(wrong)


def test_watch_prints_what_engines_tell(broker: Broker) -> None:
    pytest.importorskip("typer")
    command = [sys.executable, "-m", "cascade", "watch", "--mqtt", f"127.0.0.1:{broker.port}"]
    body = {"type": "TaskStateEvent", "task_id": "a#1", "state": "FAILED", "duration_ms": 5, "error": "no\x1b[2J paper"}

    async def main(watching: Any) -> str:
        sender = MqttConnector("127.0.0.1", broker.port, tells_status=False)
        await sender.connect()
        reading = asyncio.ensure_future(asyncio.to_thread(watching.stdout.readline))
        while not reading.done():  # until it listens
            await sender.publish("cascade/telemetry/local/default/r/events", {"run_id": "r", "body": body}, qos=1)
            await asyncio.sleep(0.05)
        await sender.disconnect()
        return str(await reading)

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        told = in_loop(lambda: main(watching))
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
    assert told.startswith("r  a#1  FAILED (5 ms): no")
    assert "\x1b" not in told


def test_a_broker_that_is_not_there_holds_runs_up_for_a_while_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.runtime.steering.by_messages.PATIENCE", 0.05)
    monkeypatch.setattr("cascade.adapters.connectors.mqtt.PATIENCE", 0.05)
    warnings: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async def main() -> None:
        bus = MessageBus()
        bus.subscribe(RunWarning, lambda event: warnings.append(event.code))
        connector = MqttConnector("127.0.0.1", port)
        async with Engine(connector=connector, bus=bus) as engine:
            assert await engine.run(cs.format("x")) == "x"
            with pytest.raises(ConnectorError, match="does not answer"):
                await connector.publish("a", 1, qos=1)

    in_loop(main)
    assert warnings == ["ConnectorSlow"]
