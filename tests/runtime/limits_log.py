"""What the tests of limits share: tasks that say when they are called, and an engine in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import cascade as cs
from cascade.runtime import Engine
from tests.virtual import VirtualLoop, in_virtual_time


class Log:
    """Tasks that say when they are called."""

    def __init__(self) -> None:
        self.called: list[Any] = []

        @cs.task
        async def fetch(x: Any) -> Any:
            self.called.append(x)
            return x

        @cs.task(mode="inline")
        def parse(x: Any) -> Any:
            self.called.append(x)
            return x

        self.fetch = fetch
        self.parse = parse


async def arrives(condition: Callable[[], bool]) -> None:
    """Wait until something has come true."""
    while not condition():
        await asyncio.sleep(0)


def with_virtual_engine(main: Callable[[Engine, VirtualLoop], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Call `main` with an engine whose limits go by virtual time."""

    async def whole(loop: VirtualLoop) -> None:
        async with Engine(**options) as engine:
            engine.admission.limits.clock = loop.time
            await main(engine, loop)

    in_virtual_time(whole)
