"""Runs in which everything that chance decides is drawn from a seed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from cascade.runtime.engine import Engine
from cascade.runtime.event_loop.ticker import Ticker
from cascade.runtime.run.state import RunState
from cascade.spec.contexts import contextmanager
from cascade.spec.events import Event
from cascade.spec.notes import note_more
from cascade.spec.protocols import CallNode, Executor
from cascade.testing.clock import VirtualClock
from cascade.testing.dial import START
from cascade.testing.faults import Faults
from cascade.testing.shuffling import ShufflingLoop
from cascade.testing.stamps import Stamps
from cascade.testing.surroundings import Replaced, Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

__all__ = ["Simulation", "explore", "simulate"]

PACES = (0.0, 0.0, 0.3, 0.6, 0.9)
"""How probable it is that a task of one name lets others go first, again and again; drawn for each name."""


def simulate(seed: int = 0, *, start: float | datetime = START, faults: Faults | None = None) -> Simulation:
    """Return a simulation, for a `with` block or its `run`.

        with simulate(seed=7) as simulation:
            simulation.run(target)
        print(simulation.log)

    A simulation is a virtual clock in which the order of whatever may happen in any order is drawn from the seed: calls
    that are ready together, attempts, items of a map. Sync functions are called on the loop's thread, at moments that
    are drawn as well, as if each had a thread that the system may give the processor to late. The same seed gives the
    same run: results, order, events with their ids and times.

    The global generator of `random` is seeded as well, and put back afterwards. What a task finds out otherwise (the
    real time, the system's randomness, threads, processes and connections of its own) is not in the hands of the seed.

    Args:
        seed: any whole number.
        start: what the clock says at first: seconds since the epoch, or an aware datetime.
        faults: what goes wrong; counted and drawn anew, by this seed.
    """
    return Simulation(seed, start=start, faults=faults)


class Simulation(VirtualClock):
    """What `simulate` returns."""

    def __init__(self, seed: int = 0, *, start: float | datetime = START, faults: Faults | None = None) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError(f"a seed is a whole number, not {seed!r}")
        self.seed = seed
        self.events: list[Event] = []
        """What the runs published, in order."""
        self.random: random.Random = random.Random(seed)
        """Draws what happens; a test may draw from it too."""
        super().__init__(start, faults=faults)
        if faults is not None:
            faults.restart(seed)

    def _make_surroundings(self) -> Surroundings:
        return _Simulated(self)

    @property
    def log(self) -> str:
        """The events as text, one JSON object a line: byte for byte the same for the same seed."""
        return "".join(f"{json.dumps(_spelled(event), default=repr)}\n" for event in self.events)

    def new_loop(self) -> ShufflingLoop:
        """Return a fresh event loop that goes by this clock and in an order drawn from its seed."""
        return ShufflingLoop(self, self.random)

    def _tell(self, error: BaseException) -> None:
        note = f"in simulate(seed={self.seed}), which happens again with this seed"
        note_more(error, note)


def explore(
    check: Callable[[Simulation], Any], seeds: int = 200, *, first: int = 0, faults: Faults | None = None
) -> None:
    """Call a check in simulations of many seeds, until it fails in one.

    Args:
        check: called with each simulation, inside its `with` block; if it returns a coroutine, that is run.
        seeds: how many.
        first: the first of them.
        faults: what goes wrong in each.

    Raises:
        whatever the check raised, with a note that says the seed.
    """
    for seed in range(first, first + seeds):
        with simulate(seed, faults=faults) as simulation:
            found = check(simulation)
            if asyncio.iscoroutine(found):
                simulation.run(found)


def _spelled(event: Event) -> dict[str, Any]:
    return {"type": type(event).__name__, **event.to_dict()}


class _Simulated(Surroundings):
    """The surroundings of a simulation."""

    clock: Simulation

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._paces: dict[str, float] = {}
        self._tickers: list[tuple[Engine, Ticker]] = []

    def make_stamps(self) -> Stamps:
        numbers = count(1)
        return Stamps(self.clock, lambda: f"{next(numbers):016x}", self.clock.events.append)

    @contextmanager
    def active(self) -> Iterator[None]:
        with super().active():
            is_first = self._depth == 1
            before = random.getstate()
            if is_first:
                random.seed(self.clock.seed)
            try:
                yield
            finally:
                if is_first:
                    random.setstate(before)

    def stand_ins(self) -> list[Replaced]:
        return [*super().stand_ins(), (Engine, "_name", self._numbered(Engine._name))]

    def _numbered(self, usual: Callable[..., str]) -> Callable[..., str]:
        numbers = count(1)

        def name(engine: Engine, run_id: str | None) -> str:
            return usual(engine, f"run-{next(numbers)}" if run_id is None and self.loop() is not None else run_id)

        return name

    def attend(self, run: RunState) -> None:
        super().attend(run)
        run.inline = run.direct = run.tells_begun = (
            False  # what a function was found to take is not for the seed to say
        )
        run.executor = _Paced(self, run.executor)
        engine = run.engine
        if not isinstance(engine.ticker, _Untimed):
            self._tickers.append((engine, engine.ticker))
            engine.ticker = _Untimed()
        run.ticker = engine.ticker

    def _end(self) -> None:
        super()._end()
        while self._tickers:
            engine, ticker = self._tickers.pop()
            engine.ticker = ticker

    def is_late(self, name: str) -> bool:
        """Draw whether a call of a task lets others go first."""
        draw = self.clock.random
        pace = self._paces.get(name)
        if pace is None:
            pace = self._paces[name] = draw.choice(PACES)
        return draw.random() < pace


class _Untimed(Ticker):
    """A ticker that no thread looks after: code has a turn when it asks for one."""

    __slots__ = ()

    def begin(self) -> None:
        self.ticks = 0

    async def rest(self) -> None:
        await asyncio.sleep(0)


class _Paced:
    """Carries out calls as another executor does, some of them late."""

    def __init__(self, surroundings: _Simulated, executor: Executor) -> None:
        self._surroundings = surroundings
        self._executor = executor

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        while self._surroundings.is_late(node.name):
            await asyncio.sleep(0)
        return await self._executor.execute(node, args, kwargs)
