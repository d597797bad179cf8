"""A recording to send around: one HTML file of bounded size that needs nothing from elsewhere."""

from __future__ import annotations

import base64
import html
import json
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observatory.swarms.picture import Colours

__all__ = ["Recording"]

MOST_FRAMES = 600
MOST_BYTES = 4_000_000
"""Of the frames, compressed."""
PAGE = Path(__file__).with_name("recording.html")


class Recording:
    """Frames that are kept; if they become too many, every other one is dropped, and half as many are added then.

    Args:
        title: stands above the picture.
        palette: the colour of each value that a cell can have.
        legend: what colours mean, as values and words.
        about: a sentence below the title.
        measure: what the curve below the picture is.
    """

    def __init__(
        self, title: str, palette: Colours, legend: dict[int, str], about: str, measure: str, glow: bool = False
    ) -> None:
        self._title = title
        self._about = about
        self._measure = measure
        self._palette = palette
        self._legend = legend
        self._glow = glow
        self._frames: list[tuple[NDArray[np.uint8], str, float]] = []
        self._every = 1
        self._seen = 0

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, cells: NDArray[np.uint8], status: str, value: float) -> None:
        """Keep a frame: the value of each cell, a line of text, and the height of the curve (0 to 1)."""
        if self._seen % self._every == 0:
            self._frames.append((cells.copy(), status, round(value, 4)))
            if len(self._frames) > MOST_FRAMES:
                self._thin()
        self._seen += 1

    def _thin(self) -> None:
        self._frames = self._frames[::2]
        self._every *= 2

    def _packed(self) -> bytes:
        """Return the frames, each as its difference from the one before, compressed."""
        frames = np.stack([cells for cells, _, _ in self._frames])
        frames[1:] = frames[1:] - frames[:-1]
        return zlib.compress(frames.tobytes(), 9)

    def page(self) -> str:
        """Return the page.

        Raises:
            ValueError: nothing was recorded.
        """
        if not self._frames:
            raise ValueError("there is no frame to be shown")
        packed = self._packed()
        while len(packed) > MOST_BYTES and len(self._frames) > 2:
            self._thin()
            packed = self._packed()
        rows, columns = self._frames[0][0].shape
        data = {
            "rows": rows,
            "columns": columns,
            "palette": self._palette.tolist(),
            "legend": self._legend,
            "glow": self._glow,
            "measure": self._measure,
            "status": [status for _, status, _ in self._frames],
            "values": [value for _, _, value in self._frames],
            "frames": base64.b64encode(packed).decode(),
        }
        values = {
            "TITLE": html.escape(self._title),
            "ABOUT": html.escape(self._about),
            "DATA": json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"),
        }
        page = PAGE.read_text(encoding="utf-8")
        for name, value in values.items():
            page = page.replace(f"%{name}%", value)
        return page

    def write(self, path: Path) -> None:
        """Write the page into a file, and make the folders that it is in."""
        page = self.page()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
