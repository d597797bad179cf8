"""Conway's rule on a whole grid at once, by numpy; and what a generation of agents is, held against it."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Code", "Golden", "Grid", "judged", "next_generation"]

Grid = NDArray[np.uint8]
"""Rows x columns: 1 where there is life, else 0; or the code of each cell."""


class Code(IntEnum):
    """What a cell reported, and whether that is right. A wrong step comes before drift."""

    DEAD = 0
    ALIVE = 1
    ALIVE_BY_A_WRONG_STEP = 2
    DEAD_BY_A_WRONG_STEP = 3
    ALIVE_BY_DRIFT = 4
    """Right by the generation before, which was not right itself."""
    DEAD_BY_DRIFT = 5


def next_generation(grid: Grid) -> Grid:
    """Return the generation that follows, on a grid that wraps around."""
    around = np.zeros_like(grid)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if down or right:
                around += np.roll(grid, (down, right), (0, 1))
    found: Grid = ((around == 3) | ((grid == 1) & (around == 2))).astype(np.uint8)
    return found


def judged(reported: Grid, by_step: Grid, by_seed: Grid) -> Grid:
    """Return the code of each cell.

    Args:
        reported: what the cells say.
        by_step: what follows from what they said of the generation before.
        by_seed: what follows from the very first generation.
    """
    codes = reported.copy()
    drifted = reported != by_seed
    codes[drifted] = np.where(reported[drifted] == 1, Code.ALIVE_BY_DRIFT, Code.DEAD_BY_DRIFT)
    wrong = reported != by_step
    codes[wrong] = np.where(reported[wrong] == 1, Code.ALIVE_BY_A_WRONG_STEP, Code.DEAD_BY_A_WRONG_STEP)
    return codes


class Golden:
    """The whole run as it should be, one generation after the other, next to what was reported."""

    def __init__(self, seed: Grid) -> None:
        self._seed = seed
        self._reported: Grid | None = None
        """The generation before, as it was reported."""
        self._right = seed
        self.generation: int = -1
        self.wrong_steps: int = 0
        """Cells that did not follow from the generation before, of all generations."""
        self.drifted: int = 0
        """Cells that are not what they should be by the first generation, of all generations."""

    def judge(self, reported: Grid) -> Grid:
        """Judge the next generation; return the code of each cell."""
        self.generation += 1
        if self._reported is None:
            by_step = self._seed
        else:
            by_step = next_generation(self._reported)
            self._right = next_generation(self._right)
        self._reported = reported
        self.wrong_steps += int(np.count_nonzero(reported != by_step))
        self.drifted += int(np.count_nonzero(reported != self._right))
        return judged(reported, by_step, self._right)
