"""Where a swarm can be seen: in the terminal, in a recording, in lines of text, or nowhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from observatory.swarms.picture import Colours, Picture
from observatory.swarms.recording import Recording

__all__ = ["Show"]


class Show:
    """What programs tell what is to be seen.

    Args:
        palette: the colour of each value that a cell can have.
        picture: the terminal.
        recording: what is kept.
        say: what lines are for; not while there is a picture.
        speed: seconds of the swarm's time for each real one, where there is a picture: it waits if it is ahead.
    """

    def __init__(
        self,
        palette: Colours,
        picture: Picture | None = None,
        recording: Recording | None = None,
        say: Callable[[str], None] | None = None,
        speed: float = 1.0,
    ) -> None:
        self._palette = palette
        self._picture = picture
        self._recording = recording
        self._say = say
        self._speed = speed
        self._start: tuple[float, float] | None = None
        self.pause: float = 0.5 if picture is None and recording is None else 1 / 12 if picture is None else 1 / 30
        """How long to wait from frame to frame, in the swarm's time."""

    @property
    def is_seen(self) -> bool:
        """Say whether frames are worth making."""
        return self._picture is not None or self._recording is not None

    def line(self, text: str) -> None:
        """Say how it stands."""
        if self._say is not None and self._picture is None:
            self._say(text)

    def frame(self, cells: NDArray[np.uint8], status: str, value: float) -> None:
        """Show a frame: the value of each cell, a line of text, and how well it goes (0 to 1)."""
        if self._recording is not None:
            self._recording.add(cells, status, value)
        if self._picture is not None:
            self._keep_time()
            if self._picture.is_due:
                self._picture.show(self._palette[cells], status)

    def _keep_time(self) -> None:
        """Wait until it is time for what happens now: a virtual clock would run ahead.

        It holds the thread. All that it holds up goes by the clock that is to wait.
        """
        now, real = asyncio.get_running_loop().time(), time.monotonic()
        if self._start is None:
            self._start = now, real
        ahead = (now - self._start[0]) / self._speed - (real - self._start[1])
        if ahead > 0:
            time.sleep(min(ahead, 1.0))
        else:
            self._start = now, real
