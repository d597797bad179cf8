"""An event loop whose clock stands still until a test moves it on."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.workflows import turns

T = TypeVar("T")


class StillLoop(asyncio.SelectorEventLoop):
    """Timers run when `now` is set past them; what is ready runs as ever."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()

    def time(self) -> float:
        return self.now


def still_loop() -> StillLoop:
    """Return the loop that is running."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    return loop


async def advance(seconds: float) -> None:
    """Let time pass, and let everything run that can then."""
    still_loop().now += seconds
    await turns()


def in_still_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Call `main` in a loop whose clock stands still, and see that it leaves no asyncio task or timer behind."""

    async def alone() -> T:
        try:
            return await main()
        finally:
            await turns()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            scheduled: list[asyncio.TimerHandle] = getattr(asyncio.get_running_loop(), "_scheduled", [])
            assert [handle for handle in scheduled if not handle.cancelled()] == []

    with asyncio.Runner(loop_factory=StillLoop) as runner:
        return runner.run(alone())
