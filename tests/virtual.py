"""The virtual loop of `cascade.testing` at hand: waits of hours take no time, and are exact."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from cascade.testing import VirtualClock
from cascade.testing.loop import VirtualLoop as Loop

T = TypeVar("T")


class VirtualLoop(Loop):
    """A virtual event loop with a clock of its own, which begins at 1,000."""

    def __init__(self) -> None:
        clock = VirtualClock()
        clock.elapsed = 1_000.0
        super().__init__(clock)


def in_virtual_time(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Call `main` in a virtual loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(main(loop))
