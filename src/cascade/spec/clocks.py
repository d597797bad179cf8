"""Times of the system's clock, which may be set meanwhile; under a virtual clock they are that clock's."""

from __future__ import annotations

import asyncio
import time
from typing import Any

__all__ = ["LOOK", "now", "sleep_until"]

LOOK = 60.0
"""So often a wait looks at the system's clock, in seconds."""


def now() -> float:
    """Return the seconds since 1970, as the event loop that runs here has them."""
    clock: Any = getattr(asyncio.get_running_loop(), "clock", None)
    return time.time() if clock is None else float(clock.time())


async def sleep_until(end: float) -> None:
    """Sleep until the system's clock says `end`, in seconds since 1970, also if it is set meanwhile."""
    while (left := end - now()) > 0:
        await asyncio.sleep(min(left, LOOK))
