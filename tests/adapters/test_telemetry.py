"""Telemetry topics: what runs tell, as messages of a connector."""

import asyncio
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.connectors.local import LocalConnector
from cascade.adapters.telemetry import TelemetrySubscriber
from cascade.runtime import Engine
from cascade.runtime.events import RunFinished, RunWarning
from tests.workflows import Tier, every_tier, in_loop


class Kept(LocalConnector):
    """Keeps what is published; what `before` gives is awaited first."""

    def __init__(self, before: Callable[[], Any] | None = None) -> None:
        super().__init__()
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.before = before

    async def publish(self, topic: str, message: Any, **options: Any) -> None:
        if self.before is not None:
            await self.before()
        if topic.startswith("cascade/telemetry/"):
            self.messages.append((topic, message))
        await super().publish(topic, message, **options)

    def bodies(self) -> list[tuple[Any, ...]]:
        found = [message["body"] for _, message in self.messages]
        return [(body.get("task_id") or "run", body.get("state") or body["event"]) for body in found]


@cs.task
def half(x: int) -> float:
    return 1 / x


def engine_with(connector: Any, **options: Any) -> tuple[Engine, TelemetrySubscriber, list[RunWarning]]:
    engine = Engine(**options)
    warnings: list[RunWarning] = []
    engine.bus.subscribe(RunWarning, warnings.append)
    return engine, TelemetrySubscriber(engine.bus, connector), warnings


@every_tier
def test_the_messages_of_a_run(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CASCADE_ORG_ID", raising=False)
    monkeypatch.delenv("CASCADE_PROJECT_ID", raising=False)
    connector = Kept()

    async def main() -> None:
        engine, telemetry, _ = engine_with(connector, tier=tier)
        async with engine:
            await engine.run([half(1), half(2).run_if(False, otherwise=0)], run_id="r")
            assert connector.bodies()[-1] == ("run", "ENGINE_STOPPED")  # sent before the end of the run
            with pytest.raises(ZeroDivisionError):
                await engine.run(half(0), run_id="bad")
            await telemetry.shutdown()

    in_loop(main)
    assert connector.bodies() == [
        ("run", "ENGINE_STARTED"),
        ("half#1", "RUNNING"),
        ("half#1", "COMPLETED"),
        ("half#2", "SKIPPED"),
        ("run", "ENGINE_STOPPED"),
        ("run", "ENGINE_STARTED"),
        ("half#1", "RUNNING"),
        ("half#1", "FAILED"),
        ("run", "ENGINE_STOPPED"),
    ]
    topic, message = connector.messages[2]
    assert topic == "cascade/telemetry/local/default/r/events"
    assert list(message) == ["v", "ts", "run_id", "org_id", "project_id", "source", "body"]
    assert (message["v"], message["run_id"], message["org_id"], message["project_id"]) == (
        "1.0",
        "r",
        "local",
        "default",
    )
    assert message["source"] == f"{socket.gethostname()}-{os.getpid()}"
    assert datetime.fromisoformat(message["ts"]).tzinfo == UTC
    body = message["body"]
    assert list(body) == ["type", "task_id", "task_name", "state", "duration_ms", "error"]
    assert (body["type"], body["task_name"], body["error"]) == ("TaskStateEvent", "half", "")
    assert body["duration_ms"] >= 0
    assert connector.messages[0][1]["body"] == {"type": "LifecycleEvent", "event": "ENGINE_STARTED"}
    topic, message = connector.messages[7]
    assert topic.endswith("/bad/events")
    assert message["body"]["error"] == "ZeroDivisionError: division by zero"


def test_who_it_is_of_stands_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_ORG_ID", "acme")
    monkeypatch.setenv("CASCADE_PROJECT_ID", "sales")
    connector = Kept()

    async def main() -> None:
        engine, telemetry, _ = engine_with(connector)
        async with engine:
            await engine.run(half(1), run_id="r")
            await telemetry.shutdown()

    in_loop(main)
    assert {topic for topic, _ in connector.messages} == {"cascade/telemetry/acme/sales/r/events"}
    assert connector.messages[0][1]["org_id"] == "acme"


def test_what_is_held_back_is_blocked() -> None:
    connector = Kept()
    nap = cs.task(name="nap")(lambda x: asyncio.sleep(0.01))

    async def main() -> None:
        engine, telemetry, _ = engine_with(connector, system_resources={"slot": 1})
        async with engine:
            await engine.run([nap(1).with_constraints(slot=1), nap(2).with_constraints(slot=1)])
            await telemetry.shutdown()

    in_loop(main)
    assert ("nap#2", "BLOCKED") in connector.bodies()


def test_a_connector_that_hangs_slows_nothing_and_drops_are_told_once() -> None:
    connector = Kept(before=lambda: asyncio.Event().wait())
    ends: list[RunFinished] = []

    async def main() -> None:
        engine = Engine()
        warnings: list[RunWarning] = []
        engine.bus.subscribe(RunWarning, warnings.append)
        engine.bus.subscribe(RunFinished, ends.append)
        telemetry = TelemetrySubscriber(engine.bus, connector, most=5, patience=0.05)
        async with engine:
            for _ in range(3):
                assert len(await engine.run(half.map(x=range(1, 50)))) == 49
            await telemetry.shutdown()
        (warning,) = warnings
        assert warning.code == "TelemetryDropped"
        assert "5 messages wait for the connector" in warning.message
        assert telemetry.dropped == 3 * (2 * 49 + 2)

    in_loop(main)
    assert len(ends) == 3
    assert connector.messages == []


def test_a_connector_that_fails_harms_nothing() -> None:
    async def refuse() -> None:
        raise ConnectionError("no broker")

    connector = Kept(before=refuse)

    async def main() -> None:
        engine, telemetry, warnings = engine_with(connector)
        async with engine:
            assert await engine.run(half(2)) == 0.5
            assert await engine.run(half(2)) == 0.5
            await telemetry.shutdown()
        (warning,) = warnings
        assert "ConnectionError: no broker" in warning.message
        assert telemetry.dropped == 8

    in_loop(main)


def test_a_slow_connector_has_all_before_the_end_of_the_run() -> None:
    connector = Kept(before=lambda: asyncio.sleep(0.001))

    async def main() -> None:
        engine, telemetry, warnings = engine_with(connector)
        async with engine:
            await engine.run(half.map(x=range(1, 21)))
            assert len(connector.messages) == 42
            await telemetry.shutdown()
        assert warnings == []

    in_loop(main)


def test_a_bus_that_serves_one_loop_after_the_other() -> None:
    connector, engine = Kept(), Engine()
    TelemetrySubscriber(engine.bus, connector)

    async def main() -> None:
        assert await engine.run(half(2)) == 0.5

    asyncio.run(main())
    asyncio.run(main())
    assert len(connector.messages) == 8


def test_a_script_has_it_by_itself() -> None:
    connector = Kept()
    assert cs.run(half(2), connector=connector, run_id="r", log_level="SILENT") == 0.5
    assert connector.bodies() == [
        ("run", "ENGINE_STARTED"),
        ("half#1", "RUNNING"),
        ("half#1", "COMPLETED"),
        ("run", "ENGINE_STOPPED"),
    ]


def test_what_is_no_connector_is_refused() -> None:
    with pytest.raises(TypeError, match="takes a connector, which has a method publish, not 3"):
        TelemetrySubscriber(Engine().bus, 3)
