"""Channels: messages between the tasks of a run while they go on."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import time
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskBlocked
from cascade.runtime.inspect.progress import progress_of
from cascade.testing import VirtualClock, simulate
from tests.workflows import Tier, Way, every_tier, every_way, in_loop, run, turns


@cs.task
async def sends(name: str, count: int, capacity: int | None = None) -> int:
    channel = cs.channel(name, type=int, capacity=capacity)
    for number in range(count):
        await channel.send(number)
    channel.close()
    return count


@cs.task
async def gets(name: str) -> list[int]:
    return [number async for number in cs.channel(name, type=int)]


@cs.task
async def gets_some(name: str, count: int) -> list[Any]:
    channel = cs.channel(name)
    return [await channel.receive() for _ in range(count)]


class TestMessages:
    @every_way
    @pytest.mark.parametrize("capacity", [1, 3, None])
    def test_come_in_the_order_in_which_they_were_sent(self, way: Way, capacity: int | None) -> None:
        assert way.run([sends("x", 250, capacity), gets("x")]) == [250, [*range(250)]]

    @every_tier
    def test_each_goes_to_one_of_the_readers(self, tier: Tier) -> None:
        found = run([sends("x", 100), gets.map(name=["x"] * 7)], tier=tier)[1]
        assert Counter(number for numbers in found for number in numbers) == Counter(range(100))
        assert all(numbers == sorted(numbers) for numbers in found)

    @every_tier
    def test_loops_items_and_subflows_talk(self, tier: Tier) -> None:
        @cs.task
        async def relay(name: str, left: int) -> Any:
            number = await cs.channel(name).receive()
            await cs.channel("out").send(number + 1)
            return cs.Jump("on", {"left": left - 1}) if left > 1 else left

        loop = relay("in", 5)
        cs.bind(loop, cs.select_jump({"on": loop}))
        inner = cs.subflow([sends("in", 5)])
        assert run([loop, inner, gets_some("out", 5)], tier=tier)[2] == [1, 2, 3, 4, 5]

    def test_a_sender_waits_while_there_is_no_room(self) -> None:
        sent = []

        @cs.task
        async def ahead() -> None:
            for number in range(10):
                await cs.channel("x", capacity=3).send(number)
                sent.append(number)

        @cs.task
        async def behind() -> list[int]:
            seen = []
            channel = cs.channel("x")
            for _ in range(10):
                await turns(3)
                seen.append(len(sent) - await channel.receive())
            return seen

        _, seen = run([ahead(), behind()])
        assert max(seen) == 3 + 0
        assert min(seen) >= 0

    def test_closed_it_gives_what_is_left(self) -> None:
        @cs.task
        async def all_at_once() -> tuple[bool, list[int], str, str]:
            channel = cs.channel("x", type=int)
            for number in range(3):
                await channel.send(number)
            assert not channel.closed
            channel.close()
            channel.close()
            left = [number async for number in channel]
            with pytest.raises(cs.ChannelError) as sent:
                await channel.send(4)
            with pytest.raises(cs.ChannelError) as received:
                await channel.receive()
            return channel.closed, left, str(sent.value), str(received.value)

        assert run(all_at_once()) == (
            True,
            [0, 1, 2],
            "channel 'x' is closed: nothing can be sent any more",
            "channel 'x' is closed, and no message is left to be received",
        )

    def test_closing_ends_those_who_wait(self) -> None:
        @cs.task
        async def ended(doing: str) -> str:
            channel = cs.channel(doing, capacity=1)
            try:
                if doing == "send":
                    await channel.send(1)
                    await channel.send(2)
                elif doing == "receive":
                    await channel.receive()
                else:
                    return str([each async for each in channel])
            except cs.ChannelError as error:
                return str(error)
            return "went on"

        @cs.task
        async def closer() -> None:
            await turns()
            for doing in ("send", "receive", "iterate"):
                cs.channel(doing).close()

        found = run([ended.map(doing=["send", "receive", "receive", "iterate"]), closer()])[0]
        assert found == [
            "channel 'send' was closed while this waited to send",
            *["channel 'receive' is closed, and no message is left to be received"] * 2,
            "[]",
        ]


class TestTopics:
    @every_way
    def test_every_reader_gets_each_message(self, way: Way) -> None:
        @cs.task
        async def tells(count: int) -> None:
            topic = cs.channel("news", type=int, capacity=2, readers=3)
            for number in range(count):
                await topic.send(number)
            topic.close()

        @cs.task
        async def hears(late: int) -> list[int]:
            await turns(late)
            with cs.channel("news", type=int, readers=3).reader() as reader:
                found = []
                async for number in reader:
                    await turns(number % (late + 1))
                    found.append(number)
                return found

        assert way.run([tells(20), hears.map(late=[0, 1, 2])])[1] == [[*range(20)]] * 3

    def test_a_reader_that_has_left_holds_nobody_back(self) -> None:
        @cs.task
        async def tells() -> int:
            topic = cs.channel("news", capacity=1, readers=2)
            for number in range(5):
                await topic.send(number)
            topic.close()
            return 5

        @cs.task
        async def hears(count: int) -> list[int]:
            with cs.channel("news", readers=2).reader() as reader:
                return [await reader.receive() for _ in range(count)]

        assert run([tells(), hears(1), hears(5)]) == [5, [0], [0, 1, 2, 3, 4]]

    def test_without_a_number_of_readers_messages_go_to_those_that_are_there(self) -> None:
        @cs.task
        async def alone() -> list[int]:
            topic = cs.channel("news", type=int, readers=0)
            await topic.send(1)
            with topic.reader() as reader:
                await topic.send(2)
                topic.close()
                late = topic.reader()
                return [*[each async for each in reader], *[each async for each in late]]

        assert run(alone()) == [2]


class TestCancels:
    def test_a_cancelled_reader_loses_no_message(self) -> None:
        @cs.task
        async def cancelled() -> list[Any]:
            channel = cs.channel("x")
            other = asyncio.create_task(channel.receive())
            await turns()
            await channel.send("first")  # it is handed over, and the reader has not gone on
            await channel.send("second")
            other.cancel()
            await turns()
            assert other.cancelled()
            return [await channel.receive(), await channel.receive()]

        assert run(cancelled()) == ["first", "second"]

    def test_what_a_cancelled_reader_gives_back_goes_to_who_waits(self) -> None:
        @cs.task
        async def cancelled() -> Any:
            channel = cs.channel("x")
            one, two = asyncio.create_task(channel.receive()), asyncio.create_task(channel.receive())
            await turns()
            await channel.send("first")
            one.cancel()
            return await two

        assert run(cancelled()) == "first"

    def test_a_cancelled_sender_has_sent_nothing(self) -> None:
        @cs.task
        async def cancelled() -> list[Any]:
            channel = cs.channel("x", capacity=1)
            await channel.send(1)
            first, second = asyncio.create_task(channel.send("never")), asyncio.create_task(channel.send(2))
            await turns()
            assert await channel.receive() == 1  # a place is kept for the first
            first.cancel()
            await turns()
            assert first.cancelled()
            assert second.done()
            await turns()
            return [await channel.receive(), len(channel._messages or ())]

        assert run(cancelled()) == [2, 0]

    def test_a_timeout_of_a_wait_is_no_failure(self) -> None:
        @cs.task
        async def patient() -> str:
            try:
                async with asyncio.timeout(0.01):
                    await cs.channel("x").receive()
            except TimeoutError:
                return "late"
            return "in time"

        assert run(patient()) == "late"

    @every_tier
    def test_what_a_cancelled_reader_was_given_comes_before_what_was_sent_later(self, tier: Tier) -> None:
        @cs.task
        async def cancels() -> list[int]:
            channel = cs.channel("x", type=int)
            readers = [asyncio.create_task(channel.receive()) for _ in range(2)]
            await turns(2)
            await channel.send(1)
            await channel.send(2)
            readers[0].cancel()
            await asyncio.wait(readers)
            return [await readers[1], await channel.receive()]

        assert run(cancels(), tier=tier) == [1, 2]

    def test_many_who_leave_cost_little(self) -> None:
        @cs.task
        async def crowded(count: int) -> int:
            channel = cs.channel("x")
            waiting = [asyncio.create_task(channel.receive()) for _ in range(count)]
            await turns()
            Random(1).shuffle(waiting)
            for task in waiting[1:]:
                task.cancel()
            await turns()
            assert channel._later is None or len(channel._later.queue) <= 2
            await channel.send(7)
            found: int = await waiting[0]
            return found

        assert run(crowded(5_000)) == 7

    def test_nothing_of_a_run_is_kept(self) -> None:
        async def main() -> int:
            async with Engine() as engine:
                await engine.run([sends("x", 10, 2), gets("x")])
                gc.collect()
                before = len(gc.get_objects())
                for _ in range(20):
                    await engine.run([sends("x", 10, 2), gets("x")])
                gc.collect()
                return len(gc.get_objects()) - before

        assert in_loop(main) < 200


def network(seed: int) -> tuple[list[Any], list[Any], list[list[Any]]]:
    """Return a random network of senders and readers, with cancels and failures; what was sent, and who got what."""
    draw = Random(seed)
    sent: list[Any] = []
    got: list[list[Any]] = []
    capacity = draw.choice([1, 2, 5, None])
    places = draw.randrange(1, 4)

    @cs.task
    async def sender(who: int) -> None:
        mine = Random(seed * 1000 + who)
        for number in range(mine.randrange(20)):
            channel = cs.channel(f"c{mine.randrange(places)}", capacity=capacity)
            message = who, number, channel.name
            work = asyncio.create_task(channel.send(message))
            await turns(mine.randrange(3))
            if mine.random() < 0.3:
                work.cancel()
            try:
                await work
                sent.append(message)
            except asyncio.CancelledError:
                pass
            except cs.ChannelError:
                return
            if mine.random() < 0.05:
                raise ValueError("enough")

    @cs.task
    async def reader(who: int) -> None:
        mine = Random(seed * 2000 + who)
        found: list[Any] = []
        got.append(found)
        channel = cs.channel(f"c{who % places}", capacity=capacity)
        while True:
            work = asyncio.create_task(channel.receive())
            await turns(mine.randrange(3))
            if mine.random() < 0.3:
                work.cancel()
            try:
                found.append(await work)
            except asyncio.CancelledError:
                pass
            except cs.ChannelError:
                return

    @cs.task
    async def closer(senders: list[Any]) -> None:
        for place in range(places):
            cs.channel(f"c{place}").close()

    senders = sender.map(who=[*range(draw.randrange(1, 6))], on_error="collect")
    readers = reader.map(who=[*range(places * draw.randrange(1, 4))])
    return [senders, readers, closer(senders)], sent, got


def check_network(sent: list[Any], got: list[list[Any]]) -> None:
    """See that each message came to one reader, in the order of its sender."""
    assert Counter(message for found in got for message in found) == Counter(sent)
    for found in got:
        by_sender: dict[Any, list[int]] = {}
        for who, number, _ in found:
            by_sender.setdefault(who, []).append(number)
        assert all(numbers == sorted(numbers) for numbers in by_sender.values())


class TestNetworks:
    @every_tier
    @pytest.mark.parametrize("seed", range(12))
    def test_no_message_is_lost_or_doubled_whatever_is_cancelled(self, seed: int, tier: Tier) -> None:
        target, sent, got = network(seed)
        run(target, tier=tier)
        check_network(sent, got)

    def test_nor_in_whatever_order_things_happen(self) -> None:
        for seed in range(60):
            target, sent, got = network(seed)
            with simulate(seed) as simulation:
                simulation.run(target)
            check_network(sent, got)

    def test_the_order_of_messages_is_drawn_from_the_seed(self) -> None:
        def order(seed: int) -> list[int]:
            @cs.task
            async def one(number: int) -> None:
                await cs.channel("x", capacity=2).send(number)

            with simulate(seed) as simulation:
                found: list[int] = simulation.run([one.map(number=[*range(8)]), gets_some("x", 8)])[1]
            return found

        found = [order(seed) for seed in range(6)]
        assert found == [order(seed) for seed in range(6)]
        assert len({tuple(each) for each in found}) > 3
        assert all(sorted(each) == [*range(8)] for each in found)


@cs.task
async def reads(name: str) -> Any:
    return await cs.channel(name).receive()


class TestStandstill:
    """All wait for each other, which is found out by a clock that jumps."""

    def test_it_names_all(self) -> None:
        @cs.task
        async def asks(mine: str, other: str) -> None:
            await cs.channel(other).receive()
            await cs.channel(mine).send(1)

        @cs.task
        async def fills() -> None:
            for number in range(3):
                await cs.channel("full", capacity=2).send(number)

        with pytest.raises(cs.ChannelError) as caught:
            VirtualClock().run([asks("a", "b"), asks("b", "a"), fills(), reads.map(name=["c", "c"])])
        text = str(caught.value)
        assert text.startswith("in run 'run-")
        for part in (
            "asks#1 (declared at ",
            " waits to receive from channel 'b'; ",
            "fills#1 (declared at ",
            " waits to send to channel 'full'",
            "reads#1[0] ",
            "reads#1[1] ",
            "channel.open_outside()",
        ):
            assert part in text

    @every_tier
    def test_with_the_clock_of_the_world(self, tier: Tier) -> None:
        with pytest.raises(cs.ChannelError, match=r"reads#1 .* waits to receive from channel 'x'"):
            run(reads("x"), tier=tier)

    def test_in_subflows_and_loops_and_maps(self) -> None:
        @cs.task
        async def again(count: int) -> Any:
            await cs.channel("x").receive()
            return cs.Jump("on", count)

        loop = again(1)
        cs.bind(loop, cs.select_jump({"on": loop}))
        inner = cs.subflow([reads("a"), cs.subflow(reads("b")), loop])
        with pytest.raises(cs.ChannelError) as caught:
            VirtualClock().run([inner, reads.map(name=["c"] * 30)])
        assert "channel 'x'" in str(caught.value)
        assert "and 13 more" in str(caught.value)

    def test_an_error_may_be_handled(self) -> None:
        @cs.task
        async def handles() -> str:
            try:
                await cs.channel("x").receive()
            except cs.ChannelError:
                await cs.channel("y").send("help")
            return "went on"

        assert VirtualClock().run([handles(), reads("y")]) == ["went on", "help"]

    def test_where_failures_are_collected_all_fail(self) -> None:
        found = VirtualClock().run(reads.map(name=["x"] * 40, on_error="collect"))
        assert all(isinstance(each.error, cs.ChannelError) for each in found)

    def test_calls_that_wait_for_what_others_hold_are_counted(self) -> None:
        async def main() -> None:
            async with Engine() as engine:
                engine.set_limit("task:reads", concurrency=1)
                await engine.run(reads.map(name=["x"] * 4))

        with pytest.raises(cs.ChannelError, match="3 calls more wait to be let in"):
            VirtualClock().run(main())

    @pytest.mark.parametrize("way", ["sleep", "timer", "timeout", "event", "signal", "outside"])
    def test_whoever_may_be_woken_is_left_alone(self, way: str) -> None:
        async def main() -> Any:
            loop = asyncio.get_running_loop()
            event = asyncio.Event()
            known: list[Any] = []

            @cs.task
            async def waker() -> None:
                channel = cs.channel("x")
                if way == "sleep":
                    await asyncio.sleep(1000)
                elif way == "timer":
                    loop.call_later(1000, lambda: loop.create_task(channel.send(1)))
                    return
                elif way == "event":
                    await event.wait()
                elif way == "outside":
                    known.append(channel.open_outside())
                    return
                await channel.send(1)

            @cs.task
            async def late() -> Any:
                try:
                    async with asyncio.timeout(1000):
                        return await cs.channel("x").receive()
                except TimeoutError:
                    return 1

            @cs.task
            async def sent(_: Any) -> None:
                await cs.channel("x").send(1)

            target: Any = [late() if way == "timeout" else reads("x")]
            if way == "signal":
                target.append(sent(cs.wait_signal("go")))
            elif way != "timeout":
                target.append(waker())
            async with Engine() as engine:
                going = engine.start(target, run_id="r")
                await asyncio.sleep(1000)
                event.set()
                for channel in known:
                    await channel.send(1)
                if way == "signal":
                    await engine.signal("r", "go")
                return (await going)[0]

        assert VirtualClock().run(main()) == 1

    def test_a_thread_may_have_somebody_woken(self) -> None:
        @cs.task(mode="blocking")
        def in_thread() -> None:
            time.sleep(0.4)

        @cs.task
        async def sent(_: Any) -> None:
            await cs.channel("x").send(1)

        assert run([reads("x"), sent(in_thread())]) == [1, None]

    def test_who_takes_results_one_by_one_may_let_others_begin(self) -> None:
        @cs.task
        async def each(number: int) -> int:
            if number in (1, 2):
                await cs.channel("x").receive()
            elif number > 2:
                await cs.channel("x").send(number)
            return number

        async def main() -> list[int]:
            found = []
            async with Engine() as engine:
                mapped = each.map(number=iter(range(6)), window=3, concurrency=3)
                async for number in engine.as_completed(mapped):
                    await asyncio.sleep(1000)
                    found.append(number)
                    if len(found) == 4:
                        break
            return found

        assert sorted(VirtualClock().run(main()))[0] == 0

    def test_the_timeout_of_a_run_does_not_put_it_off(self) -> None:
        with pytest.raises(cs.ChannelError):
            VirtualClock().run(cs.arun(reads("x"), timeout=3600))


class TestSeen:
    def test_in_progress_and_by_events(self) -> None:
        bus, seen = MessageBus(), []
        bus.subscribe(TaskBlocked, lambda event: seen.append((event.task_id, event.reason)))

        async def main() -> Any:
            async with Engine(bus=bus) as engine:
                going = engine.start([reads("x"), sends("y", 2, 1)], run_id="r")
                await turns()
                (state,) = [scope.run for scope in engine._active.values()]
                sight = progress_of(state, asyncio.get_running_loop())
                going.cancel()
                await asyncio.wait({going._task})
                return sight

        sight = in_loop(main)
        assert sight.running == ["reads#1", "sends#1"]
        assert sight.waiting == {"reads#1": ("receive", "x"), "sends#1": ("send", "y")}
        assert sorted(seen) == [
            ("reads#1", "waits to receive from channel 'x'"),
            ("sends#1", "waits to send to channel 'y'"),
        ]


class TestRefused:
    def test_outside_of_a_run(self) -> None:
        with pytest.raises(cs.ChannelError, match=r"cs.channel\('x'\) is called outside of a run"):
            cs.channel("x")

    @pytest.mark.parametrize("mode", ["inline", "blocking"])
    def test_in_a_task_that_is_not_async(self, mode: Any) -> None:
        @cs.task(mode=mode)
        def asks() -> Any:
            return cs.channel("x")

        with pytest.raises(cs.ChannelError, match="async"):
            run(asks())

    def test_in_a_process(self) -> None:
        with pytest.raises(cs.ChannelError, match="in a process of its own"):
            run(asks_elsewhere())

    def test_in_another_run(self) -> None:
        known: list[Any] = []

        @cs.task
        async def inner() -> None:
            await known[0].send(1)

        @cs.task
        async def outer() -> None:
            known.append(cs.channel("x"))
            await cs.current_engine().run(inner(), run_id="inside")

        with pytest.raises(cs.ChannelError, match=r"channel 'x' belongs to run 'run-.* used in run 'inside'"):
            run(outer())

    def test_when_its_run_has_ended(self) -> None:
        known: list[Any] = []

        @cs.task
        async def gives() -> None:
            known.append(cs.channel("x"))

        async def main() -> None:
            async with Engine() as engine:
                await engine.run(gives(), run_id="r")
                await known[0].send(1)

        with pytest.raises(cs.ChannelError, match="belongs to run 'r', which has ended"):
            in_loop(main)

    def test_from_another_thread(self) -> None:
        @cs.task
        async def elsewhere() -> None:
            channel = cs.channel("x")
            await asyncio.to_thread(lambda: asyncio.run(channel.send(1)))

        with pytest.raises(cs.ChannelError, match=r"another thread .*run_coroutine_threadsafe"):
            run(elsewhere())

    def test_a_message_of_another_type(self) -> None:
        @cs.task
        async def wrong() -> None:
            await cs.channel("x", type=int).send("1")  # type: ignore[arg-type]

        told = r"channel 'x', declared at .*test_channels.py:\d+, is for .* type int.* a str: '1'"
        with pytest.raises(TypeError, match=told):
            run(wrong())

    @pytest.mark.parametrize(
        ("kind", "fits", "not_so"),
        [
            (int, [1, True], ["1", 1.5, None]),
            (float, [1, 1.5], ["1"]),
            (int | None, [1, None], ["1"]),
            (list[int], [[1]], [(1,)]),
            (Any, [1, "x", None], []),
            (object, [1], []),
            (None, [None], [0]),
        ],
    )
    def test_types(self, kind: Any, fits: list[Any], not_so: list[Any]) -> None:
        @cs.task
        async def tries() -> None:
            channel = cs.channel("x", type=kind)
            for value in fits:
                await channel.send(value)
            for value in not_so:
                with pytest.raises(TypeError):
                    await channel.send(value)

        run(tries())

    def test_a_name_that_is_declared_twice(self) -> None:
        @cs.task
        async def first() -> None:
            cs.channel("x", type=int, capacity=5)

        @cs.task
        async def second(options: dict[str, Any], _: Any) -> None:
            cs.channel("x", **options)

        for options in ({}, {"type": int}, {"capacity": 5}, {"type": int, "capacity": 5}):
            run(second(options, first()))
        for other, word in (
            ({"type": str}, "type=str"),
            ({"capacity": 6}, "capacity=6"),
            ({"readers": 1}, "readers=1"),
        ):
            with pytest.raises(cs.ChannelError, match=rf"channel 'x' is declared with .* and with {word} at .*py:\d+"):
                run(second(other, first()))

    def test_what_one_leaves_out_another_may_say(self) -> None:
        @cs.task
        async def both() -> tuple[int, int]:
            first = cs.channel("x")
            second = cs.channel("x", type=int, capacity=7)
            assert first is second
            with pytest.raises(TypeError):
                await first.send("x")
            return first.capacity, cs.channel("y").capacity

        assert run(both()) == (7, 100)

    @pytest.mark.parametrize(
        ("args", "kwargs", "error"),
        [
            (("",), {}, TypeError),
            ((3,), {}, TypeError),
            (("x",), {"capacity": 0}, ValueError),
            (("x",), {"capacity": "1"}, TypeError),
            (("x",), {"readers": -1}, ValueError),
            (("x",), {"type": "int"}, TypeError),
        ],
    )
    def test_arguments_that_make_no_sense(self, args: Any, kwargs: Any, error: type[Exception]) -> None:
        @cs.task
        async def asks() -> None:
            cs.channel(*args, **kwargs)

        with pytest.raises(error):
            run(asks())

    def test_it_cannot_leave_its_process(self) -> None:
        @cs.task
        async def gives() -> Any:
            return cs.channel("x")

        channel = run(gives())
        for work in (pickle.dumps, copy.deepcopy):
            with pytest.raises(cs.ChannelError, match="channel 'x' cannot be sent to another process"):
                work(channel)


@cs.task(mode="process")
def asks_elsewhere() -> None:
    cs.channel("x")


class TestOpenOutside:
    def test_code_outside_of_the_run_sends_and_receives(self) -> None:
        async def main() -> Any:
            loop = asyncio.get_running_loop()
            known: asyncio.Future[cs.Channel[str]] = loop.create_future()

            @cs.task
            async def echoes() -> list[str]:
                inbox = cs.channel("in", type=str).open_outside()
                known.set_result(inbox)
                return [text async for text in inbox]

            async with Engine() as engine:
                going = engine.start(echoes())
                inbox = await known
                await inbox.send("one")
                await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(inbox.send("two"), loop).result())
                inbox.close()
                return await going

        assert in_loop(main) == ["one", "two"]

    def test_generator_tasks_use_channels(self) -> None:
        @cs.task
        async def numbers() -> AsyncIterator[int]:
            async for number in cs.channel("x", type=int):
                yield number * 2

        assert run([sends("x", 3), numbers()]) == [3, [0, 2, 4]]
