"""Pauses and limits that come by messages of a connector."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.connectors.local import LocalConnector
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import ConnectorConnected, ConnectorDisconnected, ConnectorEvent, RunEvent, RunWarning
from cascade.spec.constraints import message_for, topic_for
from cascade.spec.topics import Message
from cascade.testing import MockConnector
from tests.adapters.connectors.test_local import Plain
from tests.runtime.limits_log import arrives
from tests.workflows import Tier, every_tier, in_loop, turns

PAUSE = topic_for("global", "pause"), message_for("global", "pause")


class Steered:
    """An engine on a connector, its warnings, and a task that notes its calls."""

    def __init__(self, connector: Any = None, tier: Tier = "auto") -> None:
        self.connector = LocalConnector() if connector is None else connector
        self.warnings: list[tuple[str, str]] = []
        bus = MessageBus()
        bus.subscribe(RunWarning, lambda event: self.warnings.append((event.code, event.message)))
        self.engine = Engine(connector=self.connector, bus=bus, tier=tier)
        self.called: list[int] = []

        @cs.task
        def work(x: int) -> int:
            self.called.append(x)
            return x

        self.work = work

    def standing(self) -> list[tuple[str, str, float | None]]:
        return [(limit.scope, limit.kind, limit.value) for limit in self.engine.limits()]

    async def sends(self, topic: str, message: Any, retain: bool = True) -> None:
        await self.connector.publish(topic, message, retain=retain)
        await turns()


@every_tier
@pytest.mark.parametrize("make", [LocalConnector, Plain])
def test_a_retained_pause_holds_from_the_first_task_on(make: Callable[[], Any], tier: Tier) -> None:
    async def main() -> None:
        steered = Steered(make(), tier)
        await steered.connector.publish(*PAUSE, retain=True)
        async with steered.engine as engine:
            runs = [engine.start(steered.work(x)) for x in (1, 2)]
            await arrives(lambda: bool(engine.limits()))
            await turns(20)
            assert steered.called == []
            await steered.connector.publish(topic_for("global", "pause"), {}, retain=True)
            if make is Plain:  # which does not say what was cleared
                engine.resume()
            assert [await run for run in runs] == [1, 2]

    in_loop(main)


@every_tier
def test_what_is_published_holds_while_a_run_goes_on(tier: Tier) -> None:
    async def main() -> None:
        steered = Steered(tier=tier)
        async with steered.engine as engine:
            assert await engine.run(steered.work(0)) == 0
            await steered.sends(*PAUSE)
            run = engine.start(steered.work(1))
            await turns(20)
            assert steered.called == [0]
            await steered.sends(topic_for("global", "pause"), None)
            assert await run == 1

    in_loop(main)


def test_the_last_write_wins_for_each_scope_and_type_and_types_do_not_push_each_other_out() -> None:
    async def main() -> None:
        steered = Steered()
        async with steered.engine as engine:
            await engine.run(steered.work(0))
            for count in (3, 4):
                topic = topic_for("task:a/b", "concurrency")
                await steered.sends(topic, message_for("task:a/b", "concurrency", count) | {"id": str(count)})
            await steered.sends(topic_for("task:a/b", "rate"), json.dumps(message_for("task:a/b", "rate", "30/m", 2)))
            await steered.sends(topic_for("task:a/b"), message_for("task:a/b", "pause"))
            assert steered.standing() == [
                *(("task:a/b", "concurrency", 4), ("task:a/b", "pause", None), ("task:a/b", "rate", 0.5))
            ]
            await steered.sends(topic_for("task:a/b", "rate"), {})
            assert [kind for _, kind, _ in steered.standing()] == ["concurrency", "pause"]
            await steered.sends(*PAUSE)
            await steered.sends(topic_for("task:a/b"), "")
            assert steered.standing() == [("global", "pause", None)]
            assert steered.warnings == []
            await steered.sends(PAUSE[0], {})
        later = Steered(steered.connector)  # is told what is retained: of each type for itself
        async with later.engine as engine:
            await engine.run(later.work(0))
            assert later.standing() == [("task:a/b", "concurrency", 4)]

    in_loop(main)


def test_a_limit_ends_when_it_expires() -> None:
    async def main() -> None:
        steered = Steered()
        async with steered.engine as engine:
            await engine.run(steered.work(0))
            await steered.sends(PAUSE[0], message_for("global", "pause", until=time.time() + 0.5))
            (limit,) = engine.limits()
            assert limit.expires_in is not None
            assert 0 < limit.expires_in <= 0.5
            assert await engine.run(steered.work(1)) == 1
            await steered.sends(*PAUSE)
            await steered.sends(PAUSE[0], message_for("global", "pause", until=time.time() - 1))
            assert engine.limits() == []

    in_loop(main)


def test_a_message_that_makes_no_sense_is_a_warning_and_nothing_more() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        def __hash__(self) -> int:
            raise RuntimeError

        def __repr__(self) -> str:
            raise RuntimeError

    bad: list[Any] = [
        "{",
        b"\xff",
        7,
        [1],
        {"scope": "global"},
        {"scope": "global", "type": "rate_limit"},
        "x" * 10_000,
    ]
    bad += [Odd(), {"scope": Odd(), "type": Odd()}, {"scope": "global", "type": "concurrency", "params": Odd()}]

    async def main() -> None:
        steered = Steered()
        async with steered.engine as engine:
            await engine.run(steered.work(0))
            for message in bad:
                await steered.sends("cascade/constraints/global", message, retain=False)
            await steered.sends("cascade/constraints/no/such/scope", {}, retain=False)
            assert await engine.run(steered.work(1)) == 1
            assert engine.limits() == []
            assert [code for code, _ in steered.warnings] == ["ConstraintIgnored"] * len(bad)
            assert all("cascade/constraints/global" in text and len(text) < 600 for _, text in steered.warnings)

    in_loop(main)


def test_only_so_many_limits_stand_by_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.runtime.steering.by_messages.MOST_STANDING", 3)

    async def main() -> None:
        steered = Steered()
        async with steered.engine as engine:
            await engine.run(steered.work(0))
            for n in range(5):
                await steered.sends(topic_for(f"task:t{n}", "pause"), message_for(f"task:t{n}", "pause"))
            await steered.sends(topic_for("task:t1"), {})
            await steered.sends(topic_for("task:t9", "pause"), message_for("task:t9", "pause"))
            assert [scope for scope, *_ in steered.standing()] == ["task:t0", "task:t2", "task:t9"]
            assert len(steered.warnings) == 2

    in_loop(main)


class Noted(LocalConnector):
    """Connects and disconnects, or fails to, and notes it."""

    def __init__(self, log: list[Any], error: Exception | None = None) -> None:
        super().__init__()
        self.log = log
        self.error = error

    async def connect(self) -> None:
        self.log.append("connect")
        if self.error is not None:
            raise self.error

    async def disconnect(self) -> None:
        self.log.append("disconnect")
        if self.error is not None:
            raise self.error


def test_it_is_connected_before_the_first_run_begins_and_disconnected_behind_the_last() -> None:
    log: list[Any] = []

    async def main() -> None:
        bus = MessageBus()
        for kind in (ConnectorEvent, RunEvent):
            bus.subscribe(kind, lambda event: log.append(type(event).__name__))
        async with Engine(bus=bus, connector=Noted(log)) as engine:
            await engine.run(cs.wait(0))
            await engine.run(cs.wait(0))

    in_loop(main)
    runs = ["RunStarted", "RunFinished"] * 2
    assert log == ["connect", "ConnectorConnected", *runs, "disconnect", "ConnectorDisconnected"]


def test_cs_run_takes_control_from_its_connector() -> None:
    connector = MockConnector({PAUSE[0]: [message_for("global", "pause", until=time.time() + 0.05)]})
    called: list[float] = []

    @cs.task
    def work() -> None:
        called.append(time.time())

    begun = time.time()
    cs.run(work(), connector=connector, log_level="SILENT")
    assert called[0] >= begun + 0.04


def test_a_connector_that_fails_is_a_warning_and_runs_go_on() -> None:
    log: list[Any] = []

    async def main() -> None:
        steered = Steered(Noted(log, OSError("no route to it")))
        async with steered.engine as engine:
            assert await engine.run(steered.work(1)) == 1
            await steered.sends(*PAUSE)
            assert await engine.run(steered.work(2)) == 2
        assert log == ["connect", "disconnect"]
        assert [code for code, _ in steered.warnings] == ["ConnectorFailed", "ConnectorFailed"]
        assert "no route to it" in steered.warnings[0][1]

    in_loop(main)


def test_a_connector_that_hangs_does_not_hold_runs_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.runtime.steering.by_messages.PATIENCE", 0.02)

    class Hanging(LocalConnector):
        async def connect(self) -> None:
            await asyncio.Event().wait()

        async def disconnect(self) -> None:
            await asyncio.Event().wait()

    async def main() -> None:
        steered = Steered(Hanging())
        async with steered.engine as engine:
            assert await engine.run(steered.work(1)) == 1
        assert [code for code, _ in steered.warnings] == ["ConnectorSlow", "ConnectorFailed"]

    in_loop(main)


def test_a_connector_that_ends_by_itself_is_told_of_once() -> None:
    told: list[str] = []

    class Ending(Plain):
        def subscribe(self, topic: str) -> Any:
            class Subscription:
                async def __aenter__(self) -> Any:
                    async def values() -> Any:
                        yield PAUSE[1]

                    return values()

                async def __aexit__(self, *error: Any) -> None: ...

            return Subscription()

    async def main() -> None:
        steered = Steered(Ending())
        steered.engine.bus.subscribe(ConnectorEvent, lambda event: told.append(type(event).__name__))
        async with steered.engine as engine:
            run = engine.start(steered.work(1))
            await arrives(lambda: len(told) == 2)
            assert [kind for _, kind, _ in steered.standing()] == ["pause"]
            engine.resume()
            assert await run == 1

    in_loop(main)
    assert told == [ConnectorConnected.__name__, ConnectorDisconnected.__name__]


def test_an_engine_that_is_not_closed_connects_anew_on_the_next_loop() -> None:
    steered = Steered()
    for x in (1, 2):
        assert asyncio.run(steered.engine.run(steered.work(x))) == x
    assert steered.connector.listeners("cascade/constraints/global") == 0


def test_an_empty_message_that_was_retained_elsewhere_clears_nothing() -> None:
    async def main() -> None:
        steered = Steered()
        async with steered.engine as engine:
            await engine.run(steered.work(0))
            engine.pause()
            engine.steering._messages.take(Message(topic_for("global"), {}, True))
            assert len(engine.limits()) == 1
            engine.steering._messages.take(Message(topic_for("global"), {}, False))
            assert engine.limits() == []

    in_loop(main)


def test_a_cancel_while_the_engine_disconnects_comes_behind_it() -> None:
    log: list[Any] = []
    slow = asyncio.Event()

    class Slow(Noted):
        async def disconnect(self) -> None:
            slow.set()
            await asyncio.sleep(0.01)
            log.append("disconnected")

    async def main() -> None:
        async def body() -> None:
            async with Engine(connector=Slow(log)) as engine:
                await engine.run(cs.wait(0))

        task = asyncio.ensure_future(body())
        await slow.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["connect", "disconnected"]

    in_loop(main)
