"""Limits of how many calls run at once."""

import asyncio
import threading

import cascade as cs
from cascade.runtime import Engine
from tests.runtime.limits_log import arrives, with_virtual_engine
from tests.virtual import VirtualLoop
from tests.workflows import Body, Tier, every_body, every_tier, in_loop, turns


class TestConcurrency:
    @every_tier
    @every_body
    def test_no_more_run_at_once(self, body: Body, tier: Tier) -> None:
        inside = most = 0
        lock = threading.Lock()

        def work(x: int) -> int:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            with lock:
                inside -= 1
            return x

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                engine.set_limit("task:work", concurrency=1)
                assert await engine.run(body(work).map(x=range(30))) == [*range(30)]

        in_loop(main)
        assert most == 1

    @every_tier
    def test_raising_lowering_and_clearing_hold_at_once(self, tier: Tier) -> None:
        doors = [asyncio.Event() for _ in range(8)]
        inside: list[int] = []

        @cs.task
        async def work(x: int) -> int:
            inside.append(x)
            await doors[x].wait()
            inside.remove(x)
            return x

        async def main() -> None:
            async with Engine(tier=tier) as engine:

                async def holds(*expected: int) -> None:
                    await arrives(lambda: inside == [*expected])
                    await turns(20)
                    assert inside == [*expected]

                engine.set_limit("global", concurrency=1)
                run = engine.start([work(x) for x in range(8)])
                await holds(0)
                engine.set_limit("global", concurrency=3)
                await holds(0, 1, 2)
                engine.set_limit("global", concurrency=2)
                doors[0].set()
                await holds(1, 2)
                doors[1].set()
                await holds(2, 3)
                engine.clear_limit("global")
                await holds(2, 3, 4, 5, 6, 7)
                for door in doors:
                    door.set()
                assert await run == [*range(8)]

        in_loop(main)

    def test_a_new_limit_counts_the_calls_that_other_limits_let_in(self) -> None:
        door = asyncio.Event()
        inside: list[int] = []

        @cs.task
        async def work(x: int) -> None:
            inside.append(x)
            await door.wait()

        async def main() -> None:
            async with Engine() as engine:
                engine.set_limit("global", concurrency=2)
                run = engine.start([work(x) for x in range(4)])
                await arrives(lambda: inside == [0, 1])
                engine.set_limit("task:work", concurrency=3)
                engine.clear_limit("global")
                await arrives(lambda: len(inside) == 3)
                await turns(20)
                assert inside == [0, 1, 2]
                door.set()
                await run

        in_loop(main)

    def test_the_runs_of_an_engine_share_a_limit_and_engines_do_not(self) -> None:
        door = asyncio.Event()
        inside: list[str] = []

        @cs.task
        async def work(x: str) -> None:
            inside.append(x)
            await door.wait()

        async def main() -> None:
            async with Engine() as one, Engine() as other:
                one.set_limit("task:work", concurrency=1)
                runs = [one.start(work("one")), one.start(work("one")), other.start(work("other"))]
                await arrives(lambda: len(inside) == 2)
                await turns(20)
                assert sorted(inside) == ["one", "other"]
                door.set()
                for run in runs:
                    await run

        in_loop(main)

    def test_who_waits_for_a_limit_holds_no_constraint_back(self) -> None:
        """Calls of `slow` wait for each other, and not for the capacities that others can use meanwhile."""
        inside: list[str] = []
        doors: dict[str, asyncio.Event] = {}

        async def enter(name: str) -> None:
            inside.append(name)
            await doors.setdefault(name, asyncio.Event()).wait()
            inside.remove(name)

        slow, quick = cs.task(name="slow")(enter), cs.task(name="quick")(enter)

        async def main() -> None:
            async with Engine(system_resources={"gpu": 2}) as engine:
                engine.set_limit("task:slow", concurrency=1)
                names = [slow("a"), slow("b"), quick("c"), quick("d")]
                run = engine.start([node.with_constraints(gpu=1) for node in names])
                await arrives(lambda: inside == ["a", "c"])
                await turns(20)
                assert inside == ["a", "c"]
                doors["a"].set()
                await arrives(lambda: inside == ["c", "b"])
                doors["c"].set()
                await arrives(lambda: inside == ["b", "d"])
                doors["b"].set()
                doors["d"].set()
                await run

        in_loop(main)

    def test_a_place_is_not_held_while_waiting_to_retry(self) -> None:
        log: list[str] = []

        @cs.task
        async def work(x: str) -> str:
            log.append(x)
            if log.count("bad") == 1 and x == "bad":
                raise ValueError
            return x

        async def main(engine: Engine, loop: VirtualLoop) -> None:
            engine.set_limit("task:work", concurrency=1)
            await engine.run([work("bad").with_retry(2, delay=60), work("good")])
            assert log == ["bad", "good", "bad"]
            assert loop.time() == 1060

        with_virtual_engine(main)
