"""Rows about channels and agents: messages, and what a hundred thousand who wait for one take."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, duration, figure, pace, pairs, row, speed
from observatory.benchmarks.memory import resident

MESSAGES = 100_000
RING = 1_000
ROUNDS = 200
AGENTS = 100_000
LATE = 1_000
"""So many messages are sent one after the other to see how long one takes."""
arrived = [0]
"""How many agents have begun to wait."""


@cs.task
async def sends(name: str, count: int) -> None:
    channel = cs.channel(name, type=int, capacity=100)
    for number in range(count):
        await channel.send(number)


@cs.task
async def receives(name: str, count: int) -> int:
    channel = cs.channel(name, type=int, capacity=100)
    return sum([await channel.receive() for _ in range(count)])


@cs.task
async def agent(at: int, size: int) -> int:
    """Pass on what comes, as often as it says, in a coroutine that goes on."""
    mine, other = cs.channel(f"agent {at}", type=int), cs.channel(f"agent {(at + 1) % size}", type=int)
    arrived[0] += 1
    passed = 0
    async for left in mine:
        passed += 1
        if not left:
            break
        await other.send(left - 1)
    return passed


@cs.task
async def jumping(at: int, size: int, passed: int) -> Any:
    """Do the same, an entry of a loop for each message."""
    left = await cs.channel(f"agent {at}").receive()
    if not left:
        return passed + 1
    await cs.channel(f"agent {(at + 1) % size}").send(left - 1)
    return cs.Jump("again", {"passed": passed + 1})


@cs.task
async def begins(size: int, rounds: int) -> None:
    for at in range(size):
        await cs.channel(f"agent {at}").send(rounds)


async def by_queues(senders: int, count: int) -> None:
    """Do what `sends` and `receives` do, with queues of asyncio and tasks by hand."""

    async def send(queue: asyncio.Queue[int]) -> None:
        for number in range(count):
            await queue.put(number)

    async def receive(queue: asyncio.Queue[int]) -> int:
        return sum([await queue.get() for _ in range(count)])

    queues: list[asyncio.Queue[int]] = [asyncio.Queue(100) for _ in range(senders)]
    await asyncio.gather(*map(send, queues), *map(receive, queues))


async def passes(queues: list[asyncio.Queue[int]], at: int) -> int:
    """Do what `agent` does, by hand."""
    mine, other = queues[at], queues[(at + 1) % len(queues)]
    passed = 0
    while True:
        left = await mine.get()
        passed += 1
        if not left:
            return passed
        await other.put(left - 1)


async def ring_by_hand(size: int, rounds: int) -> None:
    queues: list[asyncio.Queue[int]] = [asyncio.Queue(100) for _ in range(size)]
    tasks = [asyncio.create_task(passes(queues, at)) for at in range(size)]
    for queue in queues:
        await queue.put(rounds)
    assert await asyncio.gather(*tasks) == [rounds + 1] * size


def ring(size: int, is_jumping: bool = False) -> Any:
    """Return the agents of a ring, each an item of a map."""
    if not is_jumping:
        return agent.partial(size=size).map(at=range(size))
    agents = jumping.map(at=range(size), size=[size] * size, passed=[0] * size)
    return cs.bind(agents, cs.select_jump({"again": agents}))


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


@row("channels")
async def channels() -> list[Line]:
    """Messages from one task to another, one pair and a hundred."""
    lines = []
    async with cs.Engine() as engine:
        for senders in (1, 100):
            count = MESSAGES // senders
            names = [f"channel {at}" for at in range(senders)]

            async def ours(names: list[str] = names, count: int = count) -> float:
                return await timed(
                    lambda: engine.run(
                        [sends.partial(count=count).map(name=names), receives.partial(count=count).map(name=names)]
                    )
                )

            async def theirs(senders: int = senders, count: int = count) -> float:
                return await timed(lambda: by_queues(senders, count))

            found = await pairs(ours, theirs, 5)
            lines.append(speed(f"{senders} channels", found, MESSAGES, "ns a message", least=0.5))
    return lines


@row("agents")
async def agents() -> list[Line]:
    """A thousand agents in a ring, of which each passes on each message."""
    lines = []
    count = RING * (ROUNDS + 1)
    async with cs.Engine() as engine:
        for is_jumping, title in ((False, "that go on"), (True, "a jump a message")):

            async def ours(is_jumping: bool = is_jumping) -> float:
                return await timed(lambda: engine.run([ring(RING, is_jumping), begins(RING, ROUNDS)]))

            found = await pairs(ours, lambda: timed(lambda: ring_by_hand(RING, ROUNDS)), 5)
            least = 0.2 if is_jumping else 0.5
            lines.append(speed(f"{RING:,} agents {title}", found, count, "ns a message", least=least))
    return lines


async def many_by_hand(count: int) -> float:
    """Return the bytes that an agent by hand takes while it waits; in a process that has done nothing else."""
    gc.collect()
    before = resident()
    queues: list[asyncio.Queue[int]] = [asyncio.Queue(100) for _ in range(count)]
    tasks = [asyncio.create_task(passes(queues, at)) for at in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    taken = (resident() - before) / count
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return taken


@row("agents-100k", processes=1)
async def many() -> list[Line]:
    """A hundred thousand agents that wait: what they take, how they start and stop, and how long a message takes."""
    at, times = pace(), list[float]()
    async with cs.Engine() as engine:
        await engine.run([ring(10), begins(10, 1)])
        arrived[0] = 0
        gc.collect()
        before, start = resident(), time.perf_counter()
        run = engine.start([ring(AGENTS), echoes(), tells(times)], run_id="agents")
        while not times:
            await asyncio.sleep(0.01)
        started = times.pop(0) - start
        taken = (resident() - before) / AGENTS
        while len(times) < LATE:
            await asyncio.sleep(0.01)
        start = time.perf_counter()
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run
        stopped = time.perf_counter() - start
    command = [sys.executable, "-m", "observatory.benchmarks.channels", str(AGENTS)]
    by_hand = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    late = sorted(times)[LATE * 99 // 100]
    return [
        figure(f"{AGENTS:,} agents that wait", taken, "bytes each", most=5_000),
        figure("as many by hand", taken / by_hand, "times their bytes", most=1.5),
        duration("they start", [started], [at], "s"),
        duration("they stop", [stopped], [at], "s", most=2),
        duration("a message there and back among them, p99", [late], [at], "us"),
    ]


@cs.task
async def echoes() -> None:
    async for number in cs.channel("ping", type=int):
        await cs.channel("pong", type=int).send(number)


@cs.task
async def tells(times: list[float]) -> None:
    """Note when all agents wait, and then how long it takes until a message has come and gone among them."""
    while arrived[0] < AGENTS:
        await asyncio.sleep(0)
    times.append(time.perf_counter())
    ping, pong = cs.channel("ping", type=int), cs.channel("pong", type=int)
    for number in range(LATE):
        begun = time.perf_counter()
        await ping.send(number)
        await pong.receive()
        times.append(time.perf_counter() - begun)
    await asyncio.sleep(3600)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(many_by_hand(int(sys.argv[1])))}\n")
