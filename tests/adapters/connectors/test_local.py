"""The rules of a connector, held by each that is there: a kind of conformance suite."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cascade.adapters.connectors.callbacks import listen
from cascade.adapters.connectors.local import LocalConnector
from cascade.spec.connecting import with_topics
from cascade.spec.protocols import Connector
from cascade.testing import MockConnector
from tests.workflows import in_loop

MAKERS: list[Callable[[], Any]] = [LocalConnector, MockConnector]
every_connector = pytest.mark.parametrize("make", MAKERS)


async def heard(messages: Any, topic: str, count: int) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    async for message in with_topics(messages, topic):
        found.append((message.topic, message.value))
        if len(found) == count:
            break
    return found


@every_connector
def test_patterns_are_listened_to_and_a_message_knows_its_topic(make: Callable[[], Connector]) -> None:
    connector = make()

    async def main() -> None:
        async with connector.subscribe("cell/+/state") as states, connector.subscribe("cell/#") as all_of_it:
            await connector.publish("cell/1/state", 1)
            await connector.publish("cell/2/log", "x", qos=1)
            await connector.publish("cell/3/state", {"gen": 3}, qos=2)
            assert await heard(states, "cell/+/state", 2) == [("cell/1/state", 1), ("cell/3/state", {"gen": 3})]
            assert [await anext(all_of_it) for _ in range(3)] == [1, "x", {"gen": 3}]

    in_loop(main)


@every_connector
def test_what_is_retained_comes_through_patterns_in_the_order_in_which_it_was_written(
    make: Callable[[], Connector],
) -> None:
    connector = make()

    async def main() -> None:
        for topic in ("a/1", "a/2", "a/3", "a/1"):
            await connector.publish(topic, topic, retain=True)
        for empty, topic in ((None, "a/2"), ({}, "a/4"), ("", "a/5"), (b"", "a/6")):
            await connector.publish(topic, "kept", retain=True)
            await connector.publish(topic, empty, retain=True)
        async with connector.subscribe("a/+") as messages:
            await connector.publish("a/7", "now")
            found = [message async for message in _first(with_topics(messages, "a/+"), 3)]
        assert [(message.topic, message.retained) for message in found] == [
            ("a/3", True),
            ("a/1", True),
            ("a/7", False),
        ]

    in_loop(main)


async def _first(messages: Any, count: int) -> Any:
    async for message in messages:
        yield message
        count -= 1
        if not count:
            return


@every_connector
def test_what_makes_no_sense_is_refused(make: Callable[[], Connector]) -> None:
    connector = make()

    async def main() -> None:
        with pytest.raises(ValueError, match="wildcard"):
            await connector.publish("a/#", 1)
        with pytest.raises(ValueError, match="qos"):
            await connector.publish("a", 1, qos=7)
        with pytest.raises(ValueError, match="wildcard"):
            async with connector.subscribe("a/#/b"):
                pass

    in_loop(main)


def test_the_listeners_of_a_topic_are_those_who_hear_it() -> None:
    connector = LocalConnector()

    async def main() -> None:
        async with connector.subscribe("a/b"), connector.subscribe("a/+"), connector.subscribe("c"):
            assert [connector.listeners(topic) for topic in ("a/b", "a/x", "c", "d")] == [2, 1, 1, 0]
            assert connector.publish_nowait("a/b", 1) == 2
        assert connector.listeners("a/b") == 0

    in_loop(main)


def test_messages_come_from_any_thread_and_to_loops_that_have_ended_none_does() -> None:
    connector = LocalConnector()

    async def left() -> None:
        asyncio.get_running_loop().slow_callback_duration = 1
        await connector.subscribe("a/#").__aenter__()

    asyncio.run(left())

    async def main() -> None:
        async with connector.subscribe("a/#") as messages:
            threads = [threading.Thread(target=connector.publish_nowait, args=(f"a/{n}", n)) for n in range(20)]
            for thread in threads:
                thread.start()
            assert sorted([await anext(messages) for _ in threads]) == [*range(20)]

    in_loop(main)


class Plain:
    """A connector as somebody may have written it: values alone, no topics."""

    def __init__(self) -> None:
        self.local = LocalConnector()

    async def publish(self, topic: str, message: Any, *, qos: int = 0, retain: bool = False) -> None:
        await self.local.publish(topic, message, retain=retain)

    def subscribe(self, topic: str) -> Any:
        connector = self

        class Subscription:
            async def __aenter__(self) -> Any:
                self.inner = connector.local.subscribe(topic)
                messages = await self.inner.__aenter__()

                async def values() -> Any:
                    async for value in messages:
                        yield value

                self.values = values()
                return self.values

            async def __aexit__(self, *error: Any) -> None:
                await self.values.aclose()
                await self.inner.__aexit__(*error)

        return Subscription()


@pytest.mark.parametrize("make", [*MAKERS, Plain])
def test_a_callback_is_called_until_it_is_unsubscribed(
    make: Callable[[], Connector], caplog: pytest.LogCaptureFixture
) -> None:
    connector = make()

    async def main() -> None:
        seen: list[tuple[str, Any]] = []
        done = asyncio.Event()

        async def callback(topic: str, message: Any) -> None:
            seen.append((topic, message))
            if message == "bad":
                raise ValueError("the callback's own")
            if message == "last":
                done.set()

        listening = await listen(connector, "a/b", callback)
        for message in ("one", "bad", "last"):
            await connector.publish("a/b", message)
        await done.wait()
        await listening.unsubscribe()
        await connector.publish("a/b", "unheard")
        assert seen == [("a/b", "one"), ("a/b", "bad"), ("a/b", "last")]

    in_loop(main)
    assert "A callback for messages of 'a/b' failed" in caplog.text


def test_a_plain_function_may_be_a_callback_and_a_wrong_topic_is_refused() -> None:
    connector = LocalConnector()

    async def main() -> None:
        seen: list[str] = []
        done = asyncio.Event()

        def callback(topic: str, message: Any) -> None:
            seen.append(topic)
            done.set()

        listening = await listen(connector, "#", callback)
        await connector.publish("x/y", 1)
        await done.wait()
        await listening.unsubscribe()
        assert seen == ["x/y"]
        with pytest.raises(ValueError, match="wildcard"):
            await listen(connector, "a+", callback)

    in_loop(main)


def test_a_callback_whose_connector_fails_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Plain):
        def subscribe(self, topic: str) -> Any:
            class Subscription:
                async def __aenter__(self) -> Any:
                    async def values() -> Any:
                        await asyncio.sleep(0)
                        raise OSError("line is down")
                        yield

                    return values()

                async def __aexit__(self, *error: Any) -> None: ...

            return Subscription()

    async def main() -> None:
        listening = await listen(Failing(), "a", lambda topic, message: None)
        while not caplog.records:
            await asyncio.sleep(0)
        await listening.unsubscribe()

    in_loop(main)
    assert "A connector failed" in caplog.text
