"""Conway's life with an agent for each cell, and every cell of every generation held against a golden model.

A cell is a jump loop that knows nothing but what its eight neighbours tell it. Nothing makes all of them wait for the
end of a generation: a neighbour may be one generation ahead, and what it says is kept until it is wanted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

import cascade as cs
from observatory.swarms.golden import Code, Golden, Grid
from observatory.swarms.mailbox import Mailbox, neighbours
from observatory.swarms.picture import Colours
from observatory.swarms.recording import Recording
from observatory.swarms.show import Show

__all__ = ["Options", "Outcome", "Planted", "palette", "recording", "run", "seed_of"]

Planted = Literal["rule", "message"]
Heard = tuple[int, int]
"""A generation, and the state of a neighbour in it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a grid of cells is like."""

    side: int = 50
    """There are side x side cells."""
    generations: int = 100
    """So many follow the first one."""
    pace: float = 0.05
    """Seconds that a cell rests in each generation."""
    patience: float = 10.0
    """Seconds that a cell waits for a message; then it fails."""
    alive: float = 0.25
    """This part of the first generation."""
    seed: int = 1
    plant: Planted | None = None
    """A mistake to be found: a cell that goes by a wrong rule once, or a message that is lost."""
    plant_at: int = 5
    """The generation of the mistake."""


class Lossy:
    """The way to a mailbox on which the message of one generation is lost."""

    __slots__ = ("_loses", "_mailbox")

    def __init__(self, mailbox: Mailbox[Heard] | Lossy, loses: int) -> None:
        self._mailbox = mailbox
        self._loses = loses

    def put(self, message: Heard) -> None:
        """Pass a message on, or not."""
        if message[0] != self._loses:
            self._mailbox.put(message)


class Cell:
    """One agent."""

    __slots__ = ("board", "hears", "id", "near")

    def __init__(self, id: int, board: Board) -> None:
        self.id = id
        self.board = board
        self.hears: Mailbox[Heard] = Mailbox()
        self.near: tuple[Mailbox[Heard] | Lossy, ...] = ()


@cs.task
async def live(me: Cell, generation: int, state: int, early: tuple[Heard, ...]) -> Any:
    """Live through a generation, and jump to the next; the value is the state in the last one."""
    board, options = me.board, me.board.options
    if options.pace:
        await asyncio.sleep(options.pace)
    for neighbour in me.near:
        neighbour.put((generation, state))
    board.report(me.id, generation, state)
    if generation == options.generations:
        return state
    heard, later = await listen(me, generation, early)
    follows = int(heard == 3 or (heard == 2 and state == 1))
    if board.is_mistaken(me.id, generation):
        follows = 1 - follows
    return cs.Jump("on", {"generation": generation + 1, "state": follows, "early": later})


async def listen(me: Cell, generation: int, early: tuple[Heard, ...]) -> tuple[int, tuple[Heard, ...]]:
    """Wait for all neighbours' states in a generation; return how many live, and what was heard of the next one.

    Raises:
        TimeoutError: one says nothing.
    """
    alive = sum([state for _, state in early])
    missing, later = 8 - len(early), list[Heard]()
    while missing:
        heard = await me.hears.take(me.board.options.patience)
        if not heard:
            y, x = divmod(me.id, me.board.options.side)
            raise TimeoutError(
                f"the cell at ({x}, {y}) heard {8 - missing} of its 8 neighbours in generation {generation}, and no "
                f"more within {me.board.options.patience:g} seconds"
            )
        for each in heard:
            if each[0] == generation:
                missing -= 1
                alive += each[1]
            else:
                later.append(each)
    return alive, tuple(later)


@dataclass(slots=True)
class Outcome:
    """What was seen of a grid."""

    options: Options
    judged: int = 0
    """Cells of all generations that were held against the golden model."""
    wrong_steps: int = 0
    drifted: int = 0
    population: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say it in a line."""
        generations = max(0, len(self.population) - 1)
        return (
            f"life: {self.options.side**2:,} agents, {generations} generations, {self.judged:,} cells judged, "
            f"{self.wrong_steps:,} wrong steps, {self.drifted:,} drifted"
        )


def recording(options: Options) -> Recording:
    """Return an empty recording of a grid."""
    legend = {
        **{0: "dead", 1: "alive", 2: "alive by a wrong step", 3: "dead by a wrong step"},
        **{4: "alive by drift", 5: "dead by drift"},
    }
    about = f"{options.side**2:,} agents, one a cell, held against a golden model."
    return Recording("Conway's life", palette(), legend, about, "alive, 0 to a half")


class Board:
    """What all cells of a run share: where they report, and where each generation is judged when all have."""

    def __init__(self, options: Options, seed: Grid, show: Show) -> None:
        self.options = options
        self.show = show
        self.golden = Golden(seed)
        self.outcome = Outcome(options)
        self._reports: dict[int, tuple[Grid, list[int]]] = {}
        """By generation: what was reported, and by how many."""
        self.mistaken: int = options.side * (options.side // 2) + options.side // 2
        """The cell that a mistake is planted at: the one in the middle."""
        self._mistake = options.plant_at if options.plant == "rule" else None

    def is_mistaken(self, id: int, generation: int) -> bool:
        """Say whether a cell is to go by a wrong rule."""
        return self._mistake == generation + 1 and id == self.mistaken

    def report(self, id: int, generation: int, state: int) -> None:
        """Take down what a cell is; when all have told, judge the generation."""
        found = self._reports.get(generation)
        if found is None:
            side = self.options.side
            found = self._reports[generation] = np.zeros((side, side), np.uint8), [0]
        grid, count = found
        grid.flat[id] = state
        count[0] += 1
        if count[0] == grid.size:
            del self._reports[generation]
            self._judge(grid)

    def _judge(self, grid: Grid) -> None:
        golden, outcome = self.golden, self.outcome
        codes = golden.judge(grid)
        outcome.judged += grid.size
        outcome.wrong_steps, outcome.drifted = golden.wrong_steps, golden.drifted
        outcome.population.append(int(np.count_nonzero(grid)))
        wrong = int(np.count_nonzero(codes >= Code.ALIVE_BY_A_WRONG_STEP))
        share = outcome.population[-1] / grid.size
        state = "in step" if not wrong else f"{wrong:,} cells are wrong"
        text = (
            f"{grid.size:,} cells · generation {golden.generation} · {outcome.population[-1]:,} alive · {state} · "
            f"{golden.wrong_steps:,} wrong steps · {golden.drifted:,} drifted"
        )
        if golden.generation % 10 == 0 or wrong:
            self.show.line(text)
        self.show.frame(codes, text, min(1.0, 2 * share))


def seed_of(options: Options) -> Grid:
    """Return a first generation that is drawn by the seed."""
    draw = np.random.default_rng(options.seed)
    found: Grid = (draw.random((options.side, options.side)) < options.alive).astype(np.uint8)
    return found


def palette() -> Colours:
    """Return the colour of each code: dark grey, white, red, cyan, gold, violet."""
    return np.array(
        [[26, 28, 36], [236, 239, 244], [255, 59, 48], [0, 214, 230], [255, 196, 0], [164, 92, 255]], np.uint8
    )


def cells_of(board: Board) -> list[Cell]:
    """Return the agents of a grid that wraps around, each with the mailboxes of its neighbours."""
    side = board.options.side
    found = [Cell(id, board) for id in range(side * side)]
    for each in found:
        each.near = tuple(found[at].hears for at in neighbours(each.id, side, side))
    return found


def lose_a_message(cells: list[Cell], at: int, generation: int) -> None:
    """Have a neighbour of a cell talk past it in a generation."""
    side = cells[at].board.options.side
    speaker = cells[neighbours(at, side, side)[0]]
    speaker.near = tuple(Lossy(each, generation) if each is cells[at].hears else each for each in speaker.near)


async def run(options: Options, show: Show, seed: Grid | None = None) -> Outcome:
    """Run a grid to its end; what is not as it should be stands in `faults`."""
    first = seed_of(options) if seed is None else seed
    board = Board(options, first, show)
    cells = cells_of(board)
    if options.plant == "message":
        lose_a_message(cells, board.mistaken, options.plant_at)
    states = first.ravel().tolist()
    lives = live.map(me=cells, generation=[0] * len(cells), state=states, early=[()] * len(cells))
    cs.bind(lives, cs.select_jump({"on": lives}))
    outcome = board.outcome
    async with cs.Engine() as engine:
        try:
            last: list[int] = await engine.run(lives)
        except TimeoutError as error:
            outcome.faults.append(f"A message was lost: {error}.")
        else:
            if sum(last) != outcome.population[-1]:
                outcome.faults.append("The cells' last states are not those that they reported.")
    judge(outcome)
    return outcome


def judge(outcome: Outcome) -> None:
    """Say what is wrong with a run."""
    options = outcome.options
    expected = (options.generations + 1) * options.side**2
    if outcome.wrong_steps:
        outcome.faults.append(f"Cells that did not follow from the generation before: {outcome.wrong_steps:,}.")
    if outcome.drifted:
        outcome.faults.append(f"Cells that are not what they should be by the first generation: {outcome.drifted:,}.")
    if outcome.judged != expected:
        outcome.faults.append(f"{outcome.judged:,} of {expected:,} cells were judged.")
