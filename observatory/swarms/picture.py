"""A picture in the terminal: a grid of coloured cells of two characters each, and a line of text below."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import termios
import time
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Colours", "Picture", "encoded", "shrunk"]

Colours = NDArray[np.uint8]
"""Red, green and blue of each cell: rows x columns x 3."""

MOST_A_SECOND = 60
ENTER = b"\x1b[?1049h\x1b[?25l\x1b[2J"  # the other screen, without a cursor, empty
LEAVE = b"\x1b[0m\x1b[?25h\x1b[?1049l"
LOCAL = 3  # the place of the flags for what is typed
ENDINGS = ("SIGTERM", "SIGHUP", "SIGQUIT")


def shrunk(colours: Colours, rows: int, columns: int) -> Colours:
    """Return a picture that has no more rows and columns: each cell the mean of a square of what was there."""
    high, wide = colours.shape[:2]
    by = max(1, -(-high // max(1, rows)), -(-wide // max(1, columns)))
    if by == 1:
        return colours
    down, right = -(-high // by), -(-wide // by)
    edges = ((0, down * by - high), (0, right * by - wide), (0, 0))
    squares = np.pad(colours, edges, mode="edge").reshape(down, by, right, by, 3)
    mean: Colours = squares.mean(axis=(1, 3)).round().astype(np.uint8)
    return mean


def encoded(colours: Colours, left: int = 0) -> bytes:
    """Return the bytes that paint a picture from the upper left corner, each run of equal cells by one colour."""
    packed = colours.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    lines = []
    for row in packed:
        begins = np.flatnonzero(np.concatenate(([True], row[1:] != row[:-1])))
        lengths = np.diff(np.append(begins, len(row)))
        runs = zip(row[begins].tolist(), lengths.tolist(), strict=True)
        cells = "".join(f"\x1b[48;2;{rgb >> 16};{rgb >> 8 & 255};{rgb & 255}m{'  ' * length}" for rgb, length in runs)
        lines.append(f"{' ' * left}{cells}\x1b[0m\x1b[K")
    return "\r\n".join(lines).encode()


class Picture:
    """The terminal while it shows a picture; whatever ends the program gives it back as it was.

        with Picture() as picture:
            picture.show(colours, "generation 7")

    Args:
        file: the terminal; by default where stdout goes.
    """

    def __init__(self, file: int | None = None) -> None:
        self._file = sys.stdout.fileno() if file is None else file
        self._before: dict[int, Any] = {}
        self._typed: list[Any] | None = None
        """How the terminal takes what is typed, when there is no picture."""
        self._is_on = False
        self._is_resized = False
        self._last = float("-inf")
        self.frames: int = 0
        self.seconds_a_frame: float = 0.0
        """What the last frame took to be painted."""

    @property
    def is_due(self) -> bool:
        """Say whether a frame would be shown now: 60 a second are, at the most."""
        return time.perf_counter() - self._last >= 1 / MOST_A_SECOND

    def show(self, colours: Colours, status: str) -> None:
        """Paint a frame, shrunk to the terminal if it is larger, with a line of text below it; one write."""
        start = self._last = time.perf_counter()
        columns, lines = os.get_terminal_size(self._file)
        cells = shrunk(colours, lines - 1, columns // 2)
        left = max(0, columns - 2 * cells.shape[1]) // 2
        above = max(0, lines - 1 - cells.shape[0]) // 2
        clear = b"\x1b[2J" if self._is_resized else b""
        self._is_resized = False
        text = status[: max(0, columns - 1)].center(columns - 1).rstrip().encode()
        self._write(
            b"\x1b[?2026h%b\x1b[%d;1H%b\r\n\x1b[38;2;150;160;190m%b\x1b[0m\x1b[J\x1b[?2026l"
            % (clear, above + 1, encoded(cells, left), text)
        )
        self.frames += 1
        self.seconds_a_frame = time.perf_counter() - start

    # --- coming and going

    def __enter__(self) -> Self:
        atexit.register(self._leave)
        for name in ENDINGS:
            self._on(name, self._end)
        self._on("SIGWINCH", self._resize)
        self._on("SIGTSTP", self._stop)
        self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()
        atexit.unregister(self._leave)

    def _on(self, name: str, handler: Any) -> None:
        number = getattr(signal, name, None)
        if number is not None:
            self._before[number] = signal.signal(number, handler)

    def _enter(self) -> None:
        if not self._is_on:
            self._is_on = True
            with suppress(termios.error):  # nobody types there
                self._typed = termios.tcgetattr(self._file)
                silent = [*self._typed]
                silent[LOCAL] &= ~termios.ECHO  # what is typed would stand in the picture
                termios.tcsetattr(self._file, termios.TCSANOW, silent)
            self._write(ENTER)

    def _leave(self) -> None:
        if self._is_on:
            self._is_on = False
            with suppress(termios.error):
                if self._typed is not None:
                    termios.tcsetattr(self._file, termios.TCSANOW, self._typed)
            self._write(LEAVE)

    def _resize(self, number: int, frame: FrameType | None) -> None:
        self._is_resized = True

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Give the terminal back, and end by the signal as if nobody had been there."""
        self._leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Give the terminal back while the program is stopped (Ctrl-Z)."""
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._is_resized = True
        self._enter()

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError:  # the terminal is gone, and with it who looked
            self._is_on = False
