"""Mailboxes against a plain model: whatever tasks send, receive, close and cancel at random, no message is lost.

`CASCADE_SEEDS=1000 pytest tests/runtime/test_mailbox_model.py` goes through as many programs, and
`CASCADE_MESSAGES=10000000` sends as many messages through mailboxes while memory is looked at.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import cascade as cs
from cascade.testing import simulate
from observatory.benchmarks.memory import resident
from tests.workflows import AGAIN, every_tier, run

SEEDS = int(os.environ.get("CASCADE_SEEDS", "0")) or (12 if AGAIN else 40)
MESSAGES = int(os.environ.get("CASCADE_MESSAGES", "0")) or 20_000
Message = tuple[int, int]


class Box:
    """The plain model of one channel: what was sent into it and what came out, as those say who did it."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.got: dict[str, list[Message]] = {}
        self.refused: list[Message] = []
        self.is_closed = False

    def check(self) -> None:
        """Check that all that was sent has come out once, in the order of its sender, and nothing else."""
        found = [message for messages in self.got.values() for message in messages]
        assert Counter(found) == Counter(self.sent)
        assert max(Counter(found).values(), default=1) == 1
        assert not {*self.refused} & {*found}
        for messages in self.got.values():
            for sender in {sender for sender, _ in messages}:
                mine = [number for each, number in messages if each == sender]
                assert mine == sorted(mine)


class Model:
    """A program drawn from a seed: actors that do at random what can be done with mailboxes."""

    def __init__(self, seed: int) -> None:
        draw = Random(seed)
        self.boxes = {f"box {k}": Box() for k in range(draw.randint(1, 3))}
        self.capacity = {name: draw.choice([1, 1, 2, 5]) for name in self.boxes}
        self.seeds = [draw.randrange(1 << 30) for _ in range(draw.randint(2, 6))]
        self.count = 0

    def target(self) -> Any:
        acts = cs.task(self.acts).map(number=range(len(self.seeds)))
        jumps = cs.task(self.jumps).map(number=[100, 101], left=[4, 9])
        cs.bind(jumps, cs.select_jump({"on": jumps}))
        return cs.task(self.drains)([acts, jumps])

    def channel(self, name: str) -> Any:
        return cs.channel(name, type=tuple, capacity=self.capacity[name])

    async def acts(self, number: int) -> None:
        draw = Random(self.seeds[number])
        for _ in range(draw.randint(5, 25)):
            name = draw.choice([*self.boxes])
            await self.choose(draw)(draw, number, name)

    def choose(self, draw: Random) -> Callable[[Random, int, str], Any]:
        ways: list[Callable[[Random, int, str], Any]] = [self.send, self.receive, self.rest, self.cancel, self.close]
        return draw.choices(ways, [10, 10, 3, 6, 0.4])[0]

    async def jumps(self, number: int, left: int) -> Any:
        """Does one thing in each entry of a loop."""
        draw = Random(1_000 * number + left)
        await self.choose(draw)(draw, number, draw.choice([*self.boxes]))
        return cs.Jump("on", {"left": left - 1}) if left else None

    async def within(self, draw: Random, work: Any) -> bool:
        """Wait for something for so long; say whether it came to its end."""
        try:
            async with asyncio.timeout(draw.choice([0, 0.5, 3.0, 20.0])):
                await work
        except (TimeoutError, cs.ChannelError):
            return False
        return True

    async def send(self, draw: Random, number: int, name: str) -> None:
        self.count += 1
        message = number, self.count
        was_closed = self.boxes[name].is_closed
        if await self.within(draw, self.channel(name).send(message)):
            assert not was_closed
            self.boxes[name].sent.append(message)
        else:
            self.boxes[name].refused.append(message)

    async def receive(self, draw: Random, number: int, name: str) -> None:
        async def takes() -> None:
            message = await self.channel(name).receive()
            self.boxes[name].got.setdefault(f"actor {number}", []).append(message)

        await self.within(draw, takes())

    async def rest(self, draw: Random, number: int, name: str) -> None:
        await asyncio.sleep(draw.choice([0, 0.1, 2.0]))

    async def close(self, draw: Random, number: int, name: str) -> None:
        self.channel(name).close()
        self.boxes[name].is_closed = True

    async def cancel(self, draw: Random, number: int, name: str) -> None:
        """Begin to send or to receive in a task of its own, and cancel that at some moment."""
        self.count += 1
        message, channel, box = (number, self.count), self.channel(name), self.boxes[name]
        sends = draw.random() < 0.5
        task = asyncio.create_task(channel.send(message) if sends else channel.receive())
        for _ in range(draw.randint(0, 4)):
            await asyncio.sleep(0)
        task.cancel()
        outcome: Any = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, (asyncio.CancelledError, cs.ChannelError))
            box.refused += [message] if sends else []
        elif sends:
            box.sent.append(message)
        else:
            box.got.setdefault(f"task {message[1]}", []).append(outcome)

    async def drains(self, after: Any) -> None:
        """Take what is left in all of them, once all others have ended."""
        for name, box in self.boxes.items():
            channel = self.channel(name)
            channel.close()
            box.got["drains"] = [message async for message in channel]

    def check(self) -> None:
        for box in self.boxes.values():
            box.check()


def test_no_program_loses_doubles_or_mixes_up_messages() -> None:
    talked = 0
    for seed in range(SEEDS):
        model = Model(seed)
        try:
            simulate(seed).run(model.target())
            model.check()
        except BaseException as error:
            error.add_note(f"the model of seed {seed}")
            raise
        talked += sum(len(box.sent) for box in model.boxes.values())
    assert talked > 5 * SEEDS


@every_tier
def test_memory_does_not_grow_with_messages(tier: Any) -> None:
    sizes: list[int] = []

    @cs.task
    async def passes(mine: str, other: str, left: int) -> Any:
        number = await cs.channel(mine, type=int).receive()
        await cs.channel(other, type=int).send(number + 1)
        if mine == "a" and left % (MESSAGES // 20) == 0:
            sizes.append(resident())
        return cs.Jump("on", {"left": left - 1}) if left > 1 else None

    @cs.task
    async def begins() -> None:
        await cs.channel("a", type=int).send(0)

    agents = passes.map(mine=["a", "b"], other=["b", "a"], left=[MESSAGES // 2] * 2)
    cs.bind(agents, cs.select_jump({"on": agents}))
    run([agents, begins()], tier=tier)
    assert len(sizes) == 10
    assert sizes[-1] - sizes[2] < 4_000_000
