"""Waiting for time, and for messages over the connector of this process."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.connectors.local import LocalConnector
from cascade.runtime import Engine
from tests.workflows import Tier, every_tier, in_loop, run, turns


@every_tier
def test_wait_waits(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "sleep", sleep)
        assert asyncio.run(cs.wait.func(1.5)) is None
    assert slept == [1.5]
    assert run(cs.sequence([cs.wait(0.001), cs.format("then")]), tier=tier) == "then"


@pytest.mark.parametrize("seconds", [-1, "1", True, float("nan"), float("inf")])
def test_what_is_no_time_is_refused(seconds: object) -> None:
    with pytest.raises(ValueError, match=r"cs\.wait takes a number of seconds"):
        run(cs.wait(seconds))


def test_neither_seconds_nor_a_time_is_refused() -> None:
    with pytest.raises(TypeError, match=r"cs\.wait takes either seconds"):
        run(cs.wait(None))


def test_a_wait_can_be_cancelled() -> None:
    async def main() -> None:
        async with Engine() as engine:
            going = engine.start(cs.wait(1e6))
            await turns()
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going

    in_loop(main)


async def listening(connector: LocalConnector, topic: str, count: int = 1) -> None:
    """Wait until so many listen to a topic."""
    while connector.listeners(topic) < count:
        await asyncio.sleep(0)


@every_tier
@pytest.mark.parametrize("message", [{"ok": True}, None, 0])
def test_recv_gives_the_next_message_of_its_topic(message: Any, tier: Tier) -> None:
    connector = LocalConnector()

    async def main() -> None:
        async with Engine(tier=tier, connector=connector) as engine:
            await connector.publish("approvals", "before anybody listens")
            going = engine.start([cs.recv("approvals"), cs.recv(cs.format("{}s", "approval"), timeout=60)])
            await listening(connector, "approvals", 2)
            assert connector.publish_nowait("others", "not this") == 0
            assert await asyncio.to_thread(connector.publish_nowait, "approvals", message) == 2
            assert await going == [message, message]
        assert connector.listeners("approvals") == 0

    in_loop(main)


def test_a_retained_message_is_there_for_those_who_come_later() -> None:
    connector = LocalConnector()
    connector.publish_nowait("config", 1, retain=True)
    connector.publish_nowait("config", 2, retain=True)
    assert run(cs.recv("config"), connector=connector) == 2
    assert cs.run(cs.recv("config"), connector=connector, log_level="SILENT") == 2
    connector.publish_nowait("config", None, retain=True)
    with pytest.raises(TimeoutError):
        run(cs.recv("config", timeout=0.01), connector=connector)


@every_tier
def test_when_no_message_comes_in_time(tier: Tier) -> None:
    connector = LocalConnector()
    with pytest.raises(TimeoutError, match=r"no message of the topic 'x' came within 0\.05 seconds"):
        run(cs.recv("x", timeout=0.05), connector=connector, tier=tier)
    assert connector.listeners("x") == 0


@every_tier
def test_cancelled_in_the_middle_nobody_listens_any_more(tier: Tier) -> None:
    connector = LocalConnector()

    async def main() -> None:
        async with Engine(tier=tier, connector=connector) as engine:
            going = engine.start(cs.recv("x"))
            await listening(connector, "x")
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            assert connector.listeners("x") == 0

    in_loop(main)


def test_a_connector_that_is_closed_gives_no_message() -> None:
    class Closed:
        async def publish(self, topic: str, message: Any, *, retain: bool = False) -> None: ...

        def subscribe(self, topic: str) -> Any:
            import contextlib

            async def nothing() -> Any:
                for each in list[str]():
                    yield each

            return contextlib.nullcontext(nothing())

    with pytest.raises(ConnectionError, match="was closed before a message of the topic 'x' came"):
        run(cs.recv("x"), connector=Closed())


def test_without_a_connector_recv_says_what_is_missing() -> None:
    with pytest.raises(cs.ResourceNotFoundError, match=r"recv.*connector"):
        run(cs.recv("x"))


@pytest.mark.parametrize("wrong", [object(), LocalConnector, "mqtt://x"])
def test_what_is_no_connector_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"Engine\(connector=\.\.\.\) takes a connector"):
        Engine(connector=wrong)
    with pytest.raises(TypeError, match=r"cs\.run\(connector=\.\.\.\) takes a connector"):
        cs.run(cs.wait(0), connector=wrong)


@pytest.mark.parametrize("topic", ["", 7])
def test_what_is_no_topic_is_refused(topic: object) -> None:
    with pytest.raises(ValueError, match=r"cs\.recv takes the name of a topic"):
        run(cs.recv(topic), connector=LocalConnector())
