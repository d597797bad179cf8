"""Pauses: what they hold, what goes on, and that runs go their short ways again afterwards."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from tests.runtime.limits_log import Log, arrives
from tests.workflows import Body, Tier, every_body, every_tier, in_loop, turns


class TestPause:
    @every_tier
    @every_body
    def test_nothing_starts_until_it_ends(self, body: Body, tier: Tier) -> None:
        called: list[int] = []

        def work(x: int) -> None:
            called.append(x)

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                engine.pause()
                run = engine.start(body(work)(1))
                await turns(50)
                assert called == []
                engine.resume()
                await run
            assert called == [1]

        in_loop(main)

    @every_tier
    def test_what_runs_goes_on_and_what_comes_next_does_not(self, tier: Tier) -> None:
        log = Log()
        door = asyncio.Event()

        @cs.task
        async def first() -> str:
            log.called.append("first")
            await door.wait()
            log.called.append("over")
            return "first"

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(log.parse(log.fetch(first())))
                await arrives(lambda: log.called == ["first"])
                engine.pause()
                door.set()
                await turns(50)
                assert log.called == ["first", "over"]
                assert run.status == "Running"
                engine.resume()
                assert await run == "first"

        in_loop(main)

    @every_tier
    def test_a_pattern_pauses_the_tasks_whose_names_match(self, tier: Tier) -> None:
        log = Log()

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                engine.pause("task:f?tch*")
                run = engine.start([log.parse("parsed"), log.fetch("fetched"), log.parse("again")])
                await arrives(lambda: len(log.called) == 2)
                await turns(50)
                assert log.called == ["parsed", "again"]
                engine.resume("task:f?tch*")
                assert await run == ["parsed", "fetched", "again"]

        in_loop(main)

    def test_the_name_is_the_task_s_and_not_the_label_of_a_node(self) -> None:
        log = Log()

        async def main() -> None:
            async with Engine() as engine:
                engine.pause("task:label")
                assert await engine.run(log.parse(1).named("label")) == 1
                engine.pause("task:PARSE")
                assert await engine.run(log.parse(2)) == 2

        in_loop(main)

    @every_tier
    def test_each_pause_has_to_end(self, tier: Tier) -> None:
        log = Log()

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                engine.pause()
                engine.pause("task:parse")
                run = engine.start(log.parse(1))
                engine.resume()
                await turns(50)
                assert log.called == []
                engine.resume("task:parse")
                assert await run == 1

        in_loop(main)

    @every_tier
    @pytest.mark.parametrize("kind", ["map", "loop", "tail", "subflow", "item", "route", "retry", "blueprint"])
    def test_every_kind_of_call_is_held(self, kind: str, tier: Tier) -> None:
        called: list[int] = []

        @cs.task(mode="inline")
        def work(x: int = 0) -> int:
            called.append(x)
            return x

        @cs.task(mode="inline")
        def count(n: int) -> Any:
            called.append(n)
            if n == 3:
                engine.pause()
            return cs.Jump("again" if n < 9 else "exit", n + 1 if n < 9 else "done")

        @cs.task(mode="inline")
        def tail(n: int) -> Any:
            called.append(n)
            if n == 3:
                engine.pause()
            return cs.TailCall(kwargs={"n": n + 1}) if n < 9 else "done"

        @cs.task(mode="inline")
        def fail(n: int) -> str:
            called.append(n)
            if len(called) == 4:
                engine.pause()
            if len(called) < 10:
                raise ValueError
            return "done"

        @cs.task(mode="inline")
        def leave(n: int) -> Any:
            called.append(n)
            if len(called) == 4:
                engine.pause()
            return cs.TailCall(kwargs={"n": n + 1}, target_blueprint_id="leave") if n < 9 else "done"

        def bound(node: Any) -> Any:
            return cs.bind(node, cs.select_jump({"again": node, "exit": None}))

        @cs.task(mode="inline")
        def ends() -> Any:
            engine.pause()
            called.extend([0, 1, 2, 3])
            return list(range(4, 10))

        first = ends()
        target = {
            "map": work.map(x=first),
            "loop": bound(count(0)),
            "tail": tail(0),
            "subflow": cs.subflow(work.map(x=cs.Param("xs", type=list)), params={"xs": first}),
            "item": bound(count.map(n=[0])),
            "route": cs.Router("a", {"a": [work(x).after(first) for x in range(4, 10)]}),
            "retry": fail(0).with_retry(20),
            "blueprint": leave(0),
        }[kind]

        engine: Any = None

        async def main() -> None:
            nonlocal engine
            async with Engine(tier=tier) as engine:
                engine.register_blueprint("leave", leave(0))
                run = engine.start(target)
                await arrives(lambda: len(called) >= 4)
                await turns(50)
                if (kind, tier) != ("route", "compile"):  # there it is one step, of a few short calls
                    assert len(called) == 4
                engine.resume()
                await run
            assert len(called) == 10

        in_loop(main)

    @every_tier
    def test_a_long_compiled_loop_stops_and_goes_on_compiled(self, tier: Tier) -> None:
        """The pause comes from another thread, while the loop keeps the event loop's thread busy."""
        count = 0
        is_over = False

        @cs.task(mode="inline")
        def step(n: int) -> Any:
            nonlocal count
            count += 1
            return cs.Jump("exit" if is_over else "again", n + 1)

        @cs.task(mode="inline")
        def add(n: int) -> int:
            return n

        node = step(add(0))
        cs.bind(node, cs.select_jump({"again": node, "exit": None}))

        async def main() -> None:
            nonlocal is_over
            async with Engine(tier=tier) as engine:

                def control() -> int:
                    while count < 1000:
                        pass
                    engine.pause("task:step")
                    return count

                run = engine.start(node)
                await asyncio.get_running_loop().run_in_executor(None, control)
                await turns(50)
                stopped = count
                await turns(50)
                assert count == stopped
                engine.resume("task:step")
                await arrives(lambda: count > stopped + 10_000)
                is_over = True
                assert await run >= stopped + 10_000

        in_loop(main)

    @every_tier
    def test_a_map_of_short_calls_stops_and_goes_on(self, tier: Tier) -> None:
        called: list[int] = []

        @cs.task(mode="inline")
        def work(x: int) -> int:
            called.append(x)
            if x == 500:
                engine.pause("task:work")
            return x

        engine: Any = None

        async def main() -> None:
            nonlocal engine
            async with Engine(tier=tier) as engine:
                run = engine.start(work.map(x=range(5_000)))
                await arrives(lambda: len(called) > 500)
                await turns(50)
                stopped = len(called)
                assert stopped < 5_000
                await turns(50)
                assert len(called) == stopped
                engine.resume("task:work")
                assert len(await run) == 5_000

        in_loop(main)

    @every_tier
    def test_a_pause_holds_behind_the_next_await_of_each_of_many_loops_and_flows(self, tier: Tier) -> None:
        begun, limit, is_over = 0, 0, False
        engine: Any = None
        entries = [0] * 10

        async def work() -> None:
            nonlocal begun, limit
            begun += 1
            if not limit and min(entries) > 10:  # wherever the turns of the event loop have fallen
                engine.pause()
                limit = begun
            await asyncio.sleep(0)

        @cs.task
        async def step(n: int, at: int) -> Any:
            entries[at] = n
            await work()
            return cs.Jump("exit" if is_over else "again", n + 1)

        @cs.task
        async def increment(n: int) -> int:
            await work()
            return n + 1

        def loop(at: int) -> Any:
            first = step(0, at)
            return cs.bind(first, cs.select_jump({"again": first, "exit": None}))

        chain: Any = cs.Param("n", default=0)
        for _ in range(600):
            chain = increment(chain)

        async def main() -> None:
            nonlocal engine, is_over
            async with Engine(tier=tier) as engine:
                for _ in range(18):  # now the chain is known
                    assert await engine.run(chain) == 600
                loops = engine.start([loop(at) for at in range(10)])
                chains = [engine.start(chain) for _ in range(10)]
                await arrives(lambda: limit > 0)
                await turns(50)
                assert begun == limit
                is_over = True
                engine.resume()
                assert min(await loops) > 10
                assert [await run for run in chains] == [600] * 10

        in_loop(main)

    def test_a_paused_run_can_be_cancelled(self) -> None:
        log = Log()

        async def main() -> None:
            async with Engine() as engine:
                engine.pause()
                run = engine.start([log.fetch(1), log.parse(2)])
                await turns(20)
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run
                engine.resume()
                assert await engine.run(log.parse(3)) == 3

        in_loop(main)
