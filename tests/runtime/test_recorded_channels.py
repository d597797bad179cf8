"""Channels of runs that are recorded: a run that goes on has lost no message, and doubled none."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.runtime import Engine
from cascade.testing import simulate
from tests.workflows import Tier, every_tier, in_loop, run

every_durability = pytest.mark.parametrize("durability", ["group", "each", "exit"])


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "kept" / "runs.db")


broken: list[str] = []


@pytest.fixture(autouse=True)
def mended() -> None:
    broken.clear()


def go_on(target: Any, store: str, durability: Any = "group") -> Any:
    """Start the same run, or have it go on."""

    async def main() -> Any:
        async with Engine(state_backend=store, durability=durability) as engine:
            return await engine.run(target, run_id="r")

    return in_loop(main)


def kinds(store: str) -> list[tuple[str, str]]:
    """Return the keys and the kinds of what is kept of messages."""
    with closing(sqlite3.connect(store)) as db:
        return db.execute("SELECT key, kind FROM steps WHERE task_id = '' AND key NOT IN ('=', '+')").fetchall()


@cs.task
async def sends(name: str, count: int) -> int:
    channel = cs.channel(name, type=int, capacity=3)
    for number in range(count):
        await channel.send(number)
    channel.close()
    return count


@cs.task
async def gets(name: str) -> list[int]:
    return [number async for number in cs.channel(name, type=int)]


@cs.task
async def agent(number: int, size: int, heard: int = 0) -> Any:
    """Passes on what it hears, an entry of a loop each."""
    left = await cs.channel(f"agent {number}", type=int).receive()
    await cs.channel(f"agent {(number + 1) % size}", type=int).send(left - 1)
    return cs.Jump("again", {"heard": heard + 1}) if left >= size else heard + 1


@cs.task
async def begins(count: int) -> None:
    await cs.channel("agent 0", type=int).send(count)


def ring(size: int, count: int) -> list[Any]:
    agents = agent.map(number=range(size), size=[size] * size)
    return [cs.bind(agents, cs.select_jump({"again": agents})), begins(count)]


@cs.task
async def fails_behind(name: str, count: int) -> list[Any]:
    """Receives some messages, and fails then for as long as something is broken."""
    found = [await cs.channel(name).receive() for _ in range(count)]
    await cs.channel("seen").send(found)
    if broken:
        raise ValueError("broken")
    return found


@cs.task
async def gets_some(name: str, count: int) -> list[Any]:
    return [await cs.channel(name).receive() for _ in range(count)]


@every_tier
@every_durability
def test_a_recorded_run_gives_what_another_gives(store: str, tier: Tier, durability: Any) -> None:
    for target, expected in (([sends("x", 30), gets("x")], [30, [*range(30)]]), (ring(3, 17), [[6, 6, 6], None])):
        assert run(target, state_backend=store, tier=tier, durability=durability) == expected


@every_durability
def test_of_messages_that_were_sent_and_received_nothing_is_kept(store: str, durability: Any) -> None:
    run(ring(3, 40), state_backend=store, durability=durability)
    left = [kind for _, kind in kinds(store)]
    assert left.count("sent") == 1  # the last one, which nobody has received
    assert len(left) == 1


@every_durability
def test_what_runs_again_receives_what_it_had_received(store: str, durability: Any) -> None:
    @cs.task
    async def others() -> list[Any]:
        return [await cs.channel("x").receive() for _ in range(2)]

    target = [sends("x", 4), fails_behind("x", 2), others(), gets_some("seen", 1)]
    broken.append("it")
    with pytest.raises(ValueError, match="broken"):
        go_on(target, store, durability)
    broken.clear()
    _, first, other, (seen,) = go_on(target, store, durability)
    assert first == seen
    assert sorted(first + other) == [0, 1, 2, 3]
    assert kinds(store) == [("0@0>5", "closed")]


def test_so_does_another_attempt_and_it_sends_nothing_twice(store: str) -> None:
    attempts: list[Any] = []

    @cs.task
    async def tries() -> list[Any]:
        found = [await cs.channel("x").receive() for _ in range(2)]
        await cs.channel("y").send(found)
        attempts.append([*found])
        found.append("changed afterwards")
        if len(attempts) < 3:
            raise OSError("not yet")
        return found

    @cs.task
    async def gives() -> None:
        for number in range(3):
            await cs.channel("x").send([number])
        cs.channel("x").close()

    @cs.task
    async def counts(after: Any) -> list[Any]:
        cs.channel("y").close()
        return [each async for each in cs.channel("y")] + [each async for each in cs.channel("x")]

    tried = tries().with_retry(5, delay=0.001)
    _, _, left = run([gives(), tried, counts(tried)], state_backend=store)
    assert attempts == [[[0], [1]]] * 3
    assert left[0][:2] == [[0], [1]]
    assert left[1:] == [[2]]


def test_what_it_does_not_ask_for_again_goes_to_others(store: str) -> None:
    @cs.task
    async def greedy() -> int:
        count = 3 if broken else 1
        for _ in range(count):
            await cs.channel("x").receive()
        if broken:
            raise ValueError("broken")
        return count

    @cs.task
    async def others(after: int) -> list[int]:
        return [number async for number in cs.channel("x", type=int)]

    one = greedy()
    target = [sends("x", 5), one, others(one)]
    broken.append("it")
    with pytest.raises(ValueError, match="broken"):
        go_on(target, store)
    broken.clear()
    assert go_on(target, store) == [5, 1, [1, 2, 3, 4]]
    assert kinds(store) == [("0@0>6", "closed")]


def test_a_message_is_received_again_as_it_was_sent(store: str) -> None:
    @cs.task
    async def gives() -> None:
        message = {"n": 1}
        await cs.channel("x").send(message)
        message["n"] = 2

    @cs.task
    async def changes() -> dict[str, int]:
        message: dict[str, int] = await cs.channel("x").receive()
        message["n"] += 10
        if broken:
            raise ValueError("broken")
        return message

    broken.append("it")
    with pytest.raises(ValueError, match="broken"):
        go_on([gives(), changes()], store)
    broken.clear()
    assert go_on([gives(), changes()], store) == [None, {"n": 11}]


def test_steps_that_are_done_do_not_talk_again(store: str) -> None:
    calls: list[str] = []

    @cs.task
    async def gives() -> None:
        calls.append("gives")
        for number in range(3):
            await cs.channel("x").send(number)

    @cs.task
    async def fails(after: Any) -> list[int]:
        calls.append("fails")
        if broken:
            raise ValueError("broken")
        return [await cs.channel("x").receive() for _ in range(3)]

    broken.append("it")
    given = gives()
    with pytest.raises(ValueError, match="broken"):
        go_on(fails(given), store)
    broken.clear()
    assert go_on(fails(given), store) == [0, 1, 2]
    assert calls == ["gives", "fails", "fails"]
    assert kinds(store) == []


@pytest.mark.parametrize("record", [True, False])
def test_tasks_that_are_not_recorded_talk_as_well(store: str, record: bool) -> None:
    @cs.task(record=record)
    async def gives() -> None:
        for number in range(3):
            await cs.channel("x").send(number)

    target = [gives(), fails_behind("x", 3), gets_some("seen", 1)]
    broken.append("it")
    with pytest.raises(ValueError, match="broken"):
        go_on(target, store)
    broken.clear()
    assert go_on(target, store) == [None, [0, 1, 2], [[0, 1, 2]]]


def test_what_was_sent_from_outside_is_there_when_the_run_goes_on(store: str) -> None:
    known: list[Any] = []

    @cs.task
    async def listens() -> list[str]:
        inbox = cs.channel("inbox", type=str).open_outside()
        known.append(inbox)
        found = [await inbox.receive() for _ in range(2)]
        if broken:
            raise ValueError("broken")
        return [*found, await inbox.receive()]

    async def start(*messages: str) -> Any:
        known.clear()
        async with Engine(state_backend=store) as engine:
            going = engine.start(listens(), run_id="r")
            while not known:
                await asyncio.sleep(0)
            for message in messages:
                await known[0].send(message)
            return await going

    broken.append("it")
    with pytest.raises(ValueError, match="broken"):
        in_loop(lambda: start("a", "b"))
    broken.clear()
    assert in_loop(lambda: start("c")) == ["a", "b", "c"]


@every_durability
def test_a_cancel_while_it_waits_takes_nothing(store: str, durability: Any) -> None:
    @cs.task
    async def patient() -> list[Any]:
        channel, found = cs.channel("x", type=int), list[Any]()
        while len(found) < 20:
            try:
                async with asyncio.timeout(0.001):
                    found.append(await channel.receive())
            except TimeoutError:
                continue
        return found

    @cs.task
    async def slowly() -> None:
        for number in range(20):
            await asyncio.sleep(0.0004 * (number % 5))
            await cs.channel("x", type=int).send(number)

    found, _ = run([patient(), slowly()], state_backend=store, durability=durability)
    assert found == [*range(20)]


def test_what_cannot_be_recorded_cannot_be_sent(store: str) -> None:
    @cs.task
    async def gives() -> None:
        await cs.channel("x").send(asyncio.current_task())

    with pytest.raises(cs.StateError, match=r"what is sent to channel 'x' is to be recorded: .*; send plain data"):
        run(gives(), state_backend=store)


def test_a_topic_is_refused_where_the_step_is_recorded(store: str) -> None:
    @cs.task
    async def recorded() -> None:
        cs.channel("x", readers=1)

    @cs.task(record=False)
    async def not_recorded() -> list[int]:
        topic = cs.channel("x", type=int, readers=1)
        with topic.reader() as reader:
            await topic.send(1)
            return [await reader.receive()]

    with pytest.raises(cs.StateError, match=r"cs.channel\('x', readers=1\) is called in recorded#1 .* is not: a run"):
        run(recorded(), state_backend=store)
    assert run(not_recorded(), state_backend=store) == [1]


def test_a_circle_of_waits_is_found_in_a_recorded_run(store: str) -> None:
    @cs.task
    async def waits(mine: str, other: str) -> None:
        await cs.channel(other).receive()
        await cs.channel(mine).send("after you")

    with pytest.raises(cs.ChannelError, match="waits to receive from channel 'left'"):
        run([waits("left", "right"), waits("right", "left")], state_backend=store)


def test_the_history_shows_steps_and_no_messages(store: str) -> None:
    async def main() -> list[str]:
        async with Engine(state_backend=store) as engine:
            await engine.run([sends("x", 3), gets("x")], run_id="r")
            return [step.task_id for step in await engine.history("r")]

    assert sorted(asyncio.run(main())) == ["gets#1", "sends#1"]


@pytest.mark.parametrize("seed", range(5))
def test_what_goes_on_loses_nothing_in_any_order(seed: int) -> None:
    store = MemoryBackend()
    talking = [sends("x", 8), fails_behind("x", 3), gets_some("x", 5), gets_some("seen", 1)]

    async def main(simulation: Any) -> Any:
        with simulation.held():  # the store has a thread
            async with Engine(state_backend=store) as engine:
                return await engine.run([*talking, *ring(3, 12)], run_id="r")

    broken.append("it")
    simulation = simulate(seed)
    with pytest.raises(ValueError, match="broken"):
        simulation.run(main(simulation))
    broken.clear()
    simulation = simulate(seed + 100)
    _, first, rest, (seen,), agents, _ = simulation.run(main(simulation))
    assert seen == first
    assert sorted([*first, *rest]) == [*range(8)]
    assert rest == sorted(rest)
    assert sum(agents) == 13
