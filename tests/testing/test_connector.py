"""A double of connectors: what it was given, and what was sent."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.spec.protocols import Connector
from cascade.testing import MockConnector


def test_what_was_given_comes_in_order_to_who_asks_first() -> None:
    connector: Connector = MockConnector({"topic": [1, 2, 3], "other": ["x"]})
    first = cs.recv("topic")
    second = cs.recv("topic").after(first)
    assert cs.run([first, second, cs.recv("other")], connector=connector) == [1, 2, "x"]
    assert cs.run(cs.recv("topic"), connector=connector) == 3
    with pytest.raises(TimeoutError, match="'topic'"):
        cs.run(cs.recv("topic", timeout=0.01), connector=connector)


def test_what_is_published_is_kept_and_heard() -> None:
    connector = MockConnector({"topic": ["given"]})

    async def main() -> list[Any]:
        heard: list[Any] = []
        async with connector.subscribe("topic") as messages:
            await connector.publish("topic", "sent")
            await connector.publish("elsewhere", 1, retain=True)
            async for message in messages:
                heard.append(message)
                if len(heard) == 2:
                    break
        return heard

    assert asyncio.run(main()) == ["given", "sent"]
    assert connector.published == [("topic", "sent", False), ("elsewhere", 1, True)]
