"""Running: targets, engines and their runs, and what comes out when a task raises or returns something odd."""

import asyncio
import functools
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import RunFinished, RunStarted, TaskExecutionFinished
from cascade.spec.blueprint import Blueprint
from cascade.testing import SpySubscriber
from tests.helpers import run_python
from tests.workflows import TIERS, Tier, every_tier, in_loop, run, turns

MODES: list[Any] = ["inline", "blocking", "compute", "auto", "async"]
every_mode = pytest.mark.parametrize("mode", MODES)


class Point(NamedTuple):
    x: Any
    y: Any


@cs.task
def inc(x: int) -> int:
    return x + 1


@cs.task
def add(a: int, b: int) -> int:
    return a + b


@cs.task
async def forever() -> None:
    await asyncio.Event().wait()


def task_of(func: Callable[..., Any], mode: Any) -> Any:
    """Make a task that runs in a mode; "async" makes an async one."""
    if mode != "async":
        return cs.task(mode=mode)(func)

    @functools.wraps(func)
    async def call(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return func(*args, **kwargs)

    return cs.task(call)


def cascade_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name in ("cascade-blocking", "cascade-compute")]


class TestTargets:
    @every_tier
    def test_a_lazy_result_a_mapped_one_and_a_blueprint(self, tier: Tier) -> None:
        assert run(inc(1), tier=tier) == 2
        assert run(inc.map(x=[1, 2]), tier=tier) == [2, 3]
        assert run(cs.compile(inc(cs.Param("n", type=int))).blueprint, {"n": 4}, tier=tier) == 5

    @every_tier
    def test_a_container_comes_back_as_the_same_container(self, tier: Tier) -> None:
        assert run([inc(1), inc.map(x=[1]), 3, "x"], tier=tier) == [2, [2], 3, "x"]
        assert run((inc(1), (inc(2), 5)), tier=tier) == (2, (3, 5))
        assert run({"a": inc(1), "b": {"c": [inc(2)]}}, tier=tier) == {"a": 2, "b": {"c": [3]}}
        result = run(Point(inc(1), 2), tier=tier)
        assert result == Point(2, 2)
        assert type(result) is Point

    @every_tier
    def test_blueprints_may_stand_among_the_targets(self, tier: Tier) -> None:
        blueprint = cs.compile(inc(cs.Param("n", default=1))).blueprint
        assert run([blueprint, inc(cs.Param("n", default=1))], {"n": 5}, tier=tier) == [6, 6]
        assert run({"a": blueprint}, tier=tier) == {"a": 2}
        assert run((blueprint, 1), tier=tier) == (2, 1)

    @every_tier
    @pytest.mark.parametrize("value", [[], (), {}, 3, None, "text", [1, {"a": 2}], {1, 2}, object()])
    def test_a_plain_value_gives_itself(self, tier: Tier, value: Any) -> None:
        assert run(value, tier=tier) == value

    @every_tier
    def test_routers_and_inputs_are_targets_too(self, tier: Tier) -> None:
        assert run(cs.Router(inc(0), {1: "one"}), tier=tier) == "one"
        assert run(cs.Param("n", default=1), tier=tier) == 1

    @every_tier
    def test_a_container_is_read_anew_for_each_run(self, tier: Tier) -> None:
        target = [inc(1)]
        assert run(target, tier=tier) == [2]
        target.append(inc(2))
        assert run(target, tier=tier) == [2, 3]

    @every_tier
    def test_use_vm_changes_nothing(self, tier: Tier) -> None:
        async def main() -> list[Any]:
            async with Engine(tier=tier) as engine:
                return [await engine.run(inc(1), None, use_vm) for use_vm in (False, True)]

        assert in_loop(main) == [2, 2]


class TestEngine:
    def test_has_a_tier(self) -> None:
        for tier in TIERS:
            assert Engine(tier=tier).tier == tier
        with pytest.raises(ValueError, match='tier is "auto", "interpret" or "compile", not \'fast\''):
            Engine(tier="fast")  # type: ignore[arg-type]

    def test_has_a_grace_for_threads(self) -> None:
        assert Engine().thread_grace == 1.0
        assert Engine(thread_grace=0).thread_grace == 0
        with pytest.raises(ValueError, match="thread_grace is 0 seconds or more"):
            Engine(thread_grace=-1)

    @every_tier
    def test_one_that_was_closed_begins_afresh(self, tier: Tier) -> None:
        log: list[str] = []

        @cs.resource(scope="engine")
        def kept() -> Iterator[int]:
            log.append("+")
            yield len(log)
            log.append("-")

        @cs.task(mode="blocking")
        def read(it: int = cs.inject(kept)) -> int:
            return it

        async def main() -> None:
            engine = Engine(tier=tier)
            assert [await engine.run(read()), await engine.run(read())] == [1, 1]
            await engine.aclose()
            assert await engine.run(read()) == 3
            await engine.aclose()
            await engine.aclose()

        in_loop(main)
        assert log == ["+", "-", "+", "-"]

    @every_tier
    def test_many_runs_at_once_are_fine(self, tier: Tier) -> None:
        opened = asyncio.Event()
        waiting = []

        @cs.task
        async def meet(n: int) -> int:
            waiting.append(n)
            if len(waiting) == 50:
                opened.set()
            await opened.wait()
            return n

        target = inc(meet(cs.Param("n", type=int)))  # one target, with all its runs in the middle at once

        async def main() -> Any:
            async with Engine(tier=tier) as engine:
                many = [engine.run(target, {"n": n}) for n in range(40)]
                others = [engine.run(inc(meet(n))) for n in range(40, 50)]
                return await asyncio.gather(*many, *others)

        assert in_loop(main) == list(range(1, 51))

    @every_tier
    def test_a_task_may_run_something_on_the_engine_that_runs_it(self, tier: Tier) -> None:
        async def main() -> Any:
            async with Engine(tier=tier) as engine:

                @cs.task
                async def outer(x: int) -> Any:
                    return await engine.run(inc(x))

                return await engine.run(inc(outer(1)))

        assert in_loop(main) == 3

    @every_tier
    def test_a_new_loop_after_the_old_one_ended_is_fine(self, tier: Tier) -> None:
        engine = Engine(tier=tier)
        blocking = cs.task(mode="blocking")(lambda x: x + 1)
        target = inc(blocking(1))
        for _ in range(3):
            assert asyncio.run(engine.run(target)) == 3
        in_loop(engine.aclose)

    @every_tier
    def test_one_that_was_closed_can_be_used_again(self, tier: Tier) -> None:
        blocking = cs.task(mode="blocking")(lambda x: x + 1)

        async def main() -> None:
            engine = Engine(tier=tier)
            for n in range(50):
                async with engine:
                    values = await engine.run([blocking(n), blocking(n), blocking(n)])
                    assert values == [n + 1] * 3

        in_loop(main)

    def test_closing_ends_its_threads(self) -> None:
        blocking, compute = cs.task(mode="blocking")(abs), cs.task(mode="compute")(abs)
        before = set(cascade_threads())
        mine: list[threading.Thread] = []

        async def main() -> None:
            async with Engine() as engine:
                await engine.run([blocking(-1), compute(-1), blocking(-2)])
                mine.extend(set(cascade_threads()) - before)

        in_loop(main)
        assert {thread.name for thread in mine} == {"cascade-blocking", "cascade-compute"}
        assert all(thread.daemon for thread in mine)
        for thread in mine:
            thread.join(timeout=30)
        assert not any(thread.is_alive() for thread in mine)

    @every_tier
    def test_closing_waits_for_its_runs(self, tier: Tier) -> None:
        begun, end = asyncio.Event(), asyncio.Event()
        done = []

        @cs.task
        async def slow(n: int) -> int:
            begun.set()
            await end.wait()
            done.append(n)
            return n

        async def main() -> None:
            engine = Engine(tier=tier)
            run = engine.start(slow(1))
            other = asyncio.create_task(engine.run(slow(2)))
            await begun.wait()
            closing = asyncio.create_task(engine.aclose())
            await turns()
            assert not closing.done()
            end.set()
            await closing
            assert sorted(done) == [1, 2]
            assert run.status == "Succeeded"
            assert [await run, await other] == [1, 2]

        in_loop(main)

    @every_tier
    def test_closing_waits_for_a_run_that_fails_without_raising(self, tier: Tier) -> None:
        @cs.task
        async def fails() -> None:
            await asyncio.sleep(0)
            raise ValueError("late")

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(fails())
            assert run.status == "Failed"
            with pytest.raises(ValueError, match="late"):
                await run

        in_loop(main)

    def test_closing_twice_is_fine(self) -> None:
        async def main() -> None:
            engine = Engine()
            await engine.run(inc(1))
            await engine.aclose()
            await engine.aclose()

        in_loop(main)

    @pytest.mark.parametrize("wrong", [3, lambda: None, "database"])
    def test_registers_resources_alone(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match=r"a resource is declared with @cs.resource"):
            Engine().register(wrong)

    @every_tier
    def test_a_registered_resource_is_found_by_name(self, tier: Tier) -> None:
        @cs.resource
        def database() -> Any:
            yield {"tea": 4}

        @cs.task
        def price(item: str, db: Any = cs.inject("database")) -> int:
            value: int = db[item]
            return value

        async def main() -> Any:
            async with Engine(tier=tier) as engine:
                engine.register(database)
                return await engine.run(price("tea"))

        assert in_loop(main) == 4

    @every_tier
    def test_a_registered_blueprint_is_where_a_tail_call_can_lead(self, tier: Tier) -> None:
        @cs.task
        def hop(x: int) -> cs.TailCall:
            return cs.TailCall([x], target_blueprint_id="there")

        async def main() -> list[Any]:
            async with Engine(tier=tier) as engine:
                made = engine.register_blueprint("there", inc(0))
                assert isinstance(made, Blueprint)
                first = await engine.run(hop(1))
                assert engine.register_blueprint("there", made) is made
                return [first, await engine.run(hop(2))]

        assert in_loop(main) == [2, 3]

    @pytest.mark.parametrize(("name", "target"), [("", inc(1)), (3, inc(1)), ("x", 3), ("x", [1])])
    def test_a_blueprint_has_a_name_and_something_to_run(self, name: Any, target: Any) -> None:
        with pytest.raises(TypeError):
            Engine().register_blueprint(name, target)


class TestRun:
    @every_tier
    def test_is_awaited_for_its_value(self, tier: Tier) -> None:
        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(inc(cs.Param("n", type=int)), {"n": 1}, run_id="mine")
                assert (run.id, run.status) == ("mine", "Running")
                assert await run == 2
                assert await run == 2
                assert run.status == "Succeeded"
                assert repr(run) == "<Run mine: Succeeded>"

        in_loop(main)

    @every_tier
    def test_of_a_plain_value_gives_it(self, tier: Tier) -> None:
        async def main() -> None:
            async with Engine(tier=tier) as engine:
                assert await engine.start([]) == []
                assert await engine.start(3) == 3

        in_loop(main)

    def test_has_an_id_of_its_own(self) -> None:
        spy = SpySubscriber(bus := MessageBus())

        async def main() -> None:
            async with Engine(bus=bus) as engine:
                runs = [engine.start(inc(1)) for _ in range(3)]
                for run in runs:
                    await run
                await engine.run(inc(1))
                await engine.run(inc(1), run_id="given")
                started = [event.run_id for event in spy.events_of_type(RunStarted)]
                assert started[:3] == [run.id for run in runs]
                assert len(set(started)) == 5
                assert started[-1] == "given"

        in_loop(main)

    @every_tier
    def test_an_id_is_given_to_one_run_at_a_time(self, tier: Tier) -> None:
        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(forever(), run_id="mine")
                with pytest.raises(ValueError, match="a run named 'mine' is going on already"):
                    engine.start(inc(1), run_id="mine")
                with pytest.raises(ValueError, match="a run named 'mine' is going on already"):
                    await engine.run(inc(1), run_id="mine")
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run
                assert await engine.start(inc(1), run_id="mine") == 2
                assert await engine.run(inc(1), run_id="mine") == 2

        in_loop(main)

    @every_tier
    def test_can_be_cancelled(self, tier: Tier) -> None:
        spy = SpySubscriber(bus := MessageBus())
        ended = []

        @cs.task
        async def patient(n: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(n)

        async def main() -> None:
            async with Engine(tier=tier, bus=bus) as engine:
                run = engine.start([patient(1), patient(2)])
                await turns()
                run.cancel()
                statuses: list[str] = [run.status]
                with pytest.raises(asyncio.CancelledError):
                    await run
                statuses.append(run.status)
                assert sorted(ended) == [1, 2]
                run.cancel()
                statuses.append(run.status)
                assert statuses == ["Running", "Cancelled", "Cancelled"]

        in_loop(main)
        assert [event.status for event in spy.events_of_type(RunFinished)] == ["Cancelled"]
        assert [event.status for event in spy.events_of_type(TaskExecutionFinished)] == ["Cancelled"] * 2

    @every_tier
    def test_can_be_cancelled_before_it_begins(self, tier: Tier) -> None:
        calls: list[int] = []

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(cs.task(calls.append)(1), run_id="mine")
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run
                assert run.status == "Cancelled"
                assert await engine.run(inc(1), run_id="mine") == 2

        in_loop(main)
        assert calls == []

    @every_tier
    def test_can_be_cancelled_from_any_thread(self, tier: Tier) -> None:
        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(forever())
                await turns()
                thread = threading.Thread(target=run.cancel)
                thread.start()
                with pytest.raises(asyncio.CancelledError):
                    await run
                thread.join()
                assert run.status == "Cancelled"

        in_loop(main)

    def test_cancelling_one_whose_loop_has_ended_does_nothing(self) -> None:
        async def main() -> cs.Run:
            async with Engine() as engine:
                run = engine.start(inc(1))
                await run
                return run

        run = in_loop(main)
        run.cancel()
        assert run.status == "Succeeded"

    @every_tier
    def test_that_has_ended_is_left_as_it_is(self, tier: Tier) -> None:
        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(inc(1))
                await run
                run.cancel()
                await turns()
                assert run.status == "Succeeded"
                assert await run == 2

        in_loop(main)

    @every_tier
    def test_that_failed_says_so(self, tier: Tier) -> None:
        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(inc("x"))
                with pytest.raises(TypeError):
                    await run
                assert run.status == "Failed"

        in_loop(main)

    def test_what_is_wrong_beforehand_is_raised_by_start(self) -> None:
        async def main() -> None:
            async with Engine() as engine:
                with pytest.raises(cs.ParameterError):
                    engine.start(inc(cs.Param("n")))
                with pytest.raises(TypeError, match="did you mean"):
                    engine.start(inc)

        in_loop(main)

    @every_tier
    def test_sees_the_context_variables_of_where_it_was_started(self, tier: Tier) -> None:
        user = ContextVar("user", default="nobody")
        who = cs.task(mode="inline")(lambda: user.get())

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                user.set("ada")
                run = engine.start(who())
                user.set("bob")
                assert [await run, await engine.run(who())] == ["ada", "bob"]

        in_loop(main)

    @every_tier
    def test_cancelling_who_awaits_engine_run_ends_the_run(self, tier: Tier) -> None:
        spy = SpySubscriber(bus := MessageBus())

        async def main() -> None:
            async with Engine(tier=tier, bus=bus) as engine:
                task = asyncio.create_task(engine.run(forever()))
                await turns()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert task.cancelled()

        in_loop(main)
        assert [event.status for event in spy.events_of_type(RunFinished)] == ["Cancelled"]


class TestWhatATaskRaises:
    @every_tier
    @every_mode
    def test_comes_out_as_it_is_with_a_note(self, tier: Tier, mode: Any) -> None:
        class Custom(Exception):
            pass

        error = Custom("why")

        def fails(x: int) -> None:
            raise error

        with pytest.raises(Custom) as caught:
            run(inc(task_of(fails, mode)(inc(1)).named("bad")), tier=tier)
        assert caught.value is error
        (note,) = error.__notes__
        assert note.startswith(f"in task bad#1 (declared at {__file__}:")
        assert note.endswith("iteration 0, attempt 1")

    @every_tier
    @every_mode
    @pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
    @pytest.mark.parametrize("wrap", [lambda task: task(), lambda task: task.map(n=[1])], ids=["call", "map"])
    def test_a_stop_iteration_comes_out_as_a_runtime_error(
        self, tier: Tier, mode: Any, kind: type[Exception], wrap: Callable[[Any], Any]
    ) -> None:
        error = kind("end")

        def stops(n: int = 0) -> None:
            raise error

        if mode == "async":

            async def stops_async(n: int = 0) -> None:
                raise error

            task: Any = cs.task(stops_async)
        else:
            task = cs.task(mode=mode)(stops)
        with pytest.raises(RuntimeError) as caught:
            run([wrap(task)], tier=tier)
        cause = caught.value.__cause__
        assert cause is error
        (note,) = caught.value.__notes__
        assert note.startswith("in task stops")
        assert f"(declared at {__file__}:" in note
        assert note.endswith("iteration 0, attempt 1")

    @every_tier
    @pytest.mark.parametrize("mode", ["inline", "blocking", "auto", "async"])
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_ends_the_run_as_cancelled_and_comes_out(
        self, tier: Tier, mode: Any, kind: type[BaseException]
    ) -> None:
        spy = SpySubscriber(bus := MessageBus())
        ended = []

        def fails() -> None:
            raise kind("bye")

        @cs.task
        async def beside() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(1)

        async def main() -> None:
            async with Engine(tier=tier, bus=bus) as engine:
                await engine.run([beside(), task_of(fails, mode)()])

        with pytest.raises(kind, match="bye"):
            asyncio.run(main())
        assert [event.status for event in spy.events_of_type(RunFinished)] == ["Cancelled"]
        assert ended in ([], [1])  # an inline one may end the run before the other began

    @every_tier
    @every_mode
    def test_a_cancelled_error_uncalled_for_is_a_failure_of_the_task(self, tier: Tier, mode: Any) -> None:
        spy = SpySubscriber(bus := MessageBus())

        def fails() -> None:
            raise asyncio.CancelledError("odd")

        async def main() -> None:
            async with Engine(tier=tier, bus=bus) as engine:
                with pytest.raises(asyncio.CancelledError, match="odd") as caught:
                    await engine.run([task_of(fails, mode)(), forever()])
                assert caught.value.__notes__[0].startswith("in task ")
                run = engine.start(task_of(fails, mode)())
                with pytest.raises(asyncio.CancelledError, match="odd"):
                    await run
                assert run.status == "Failed"
                assert await engine.run(inc(1)) == 2

        in_loop(main)
        finished = spy.events_of_type(RunFinished)
        assert [event.status for event in finished] == ["Failed", "Failed", "Succeeded"]
        assert [event.error for event in finished] == ["CancelledError: odd", "CancelledError: odd", None]

    @every_tier
    def test_a_failure_cancels_what_runs_beside_it(self, tier: Tier) -> None:
        ended = []
        begun = asyncio.Event()

        @cs.task
        async def patient() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(1)

        @cs.task
        async def fails() -> None:
            await begun.wait()
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            run([patient(), fails()], tier=tier)
        assert ended == [1]

    @every_tier
    def test_what_needs_a_failed_node_does_not_run(self, tier: Tier) -> None:
        calls: list[Any] = []
        with pytest.raises(TypeError):
            run(cs.task(calls.append)(inc("x")), tier=tier)
        assert calls == []


class TestWhatATaskReturns:
    @every_tier
    @every_mode
    @pytest.mark.parametrize(
        "make",
        [lambda: inc(1), lambda: inc.map(x=[1]), lambda: cs.Router(1, {1: 1}), lambda: cs.Param("p")],
        ids=["call", "map", "router", "param"],
    )
    def test_a_lazy_result_is_an_error_that_suggests_a_jump(
        self, tier: Tier, mode: Any, make: Callable[[], Any]
    ) -> None:
        with pytest.raises(cs.StaticGraphError, match=r"returned <.*return cs\.Jump\(\.\.\.\)") as caught:
            run(inc(task_of(lambda: make(), mode)()), tier=tier)
        assert caught.value.__notes__[0].startswith("in task ")

    @every_tier
    @every_mode
    @pytest.mark.parametrize("mapped", [False, True], ids=["calls", "map"])
    def test_so_is_one_after_many_plain_values(self, tier: Tier, mode: Any, mapped: bool) -> None:
        task = task_of(lambda n: inc(1) if n == 99 else n, mode)
        target = task.map(n=range(100)) if mapped else [task(n) for n in range(100)]
        with pytest.raises(cs.StaticGraphError, match=r"cs\.Jump"):
            run(target, tier=tier)

    @every_tier
    @every_mode
    def test_a_jump_from_an_unbound_task_is_an_error(self, tier: Tier, mode: Any) -> None:
        with pytest.raises(cs.JumpError, match="is not bound to a selector"):
            run(task_of(lambda: cs.Jump("again"), mode)(), tier=tier)

    @every_tier
    @pytest.mark.parametrize("mode", ["inline", "auto", "blocking"])
    def test_a_coroutine_of_a_sync_function_is_awaited(self, tier: Tier, mode: Any) -> None:
        async def work(x: int) -> int:
            await asyncio.sleep(0)
            return x + 1

        task: Any = cs.task(mode=mode)(lambda x: work(x))
        for _ in range(3):
            assert run(inc(task(1)), tier=tier) == 3
            assert run(task.map(x=[1, 2]), tier=tier) == [2, 3]

    @every_tier
    @pytest.mark.parametrize("value", [None, False, 0, "", [], {}, ValueError("v"), object()])
    def test_any_other_value_is_a_value(self, tier: Tier, value: Any) -> None:
        same = cs.task(mode="inline")(lambda x: x)
        assert run(same(cs.task(mode="inline")(lambda: value)()), tier=tier) is value


class TestDataflow:
    @every_tier
    def test_a_node_starts_when_its_own_inputs_are_there(self, tier: Tier) -> None:
        released = asyncio.Event()

        @cs.task
        async def slow() -> int:
            await released.wait()
            return 1

        @cs.task
        async def release(x: int) -> int:
            released.set()
            return x

        # What releases the slow node is behind two others; a barrier between layers would never end.
        assert run([slow(), release(inc(inc(1)))], tier=tier) == [1, 3]

    @every_tier
    def test_a_node_runs_at_most_once(self, tier: Tier) -> None:
        calls: list[int] = []

        @cs.task
        def once(x: int) -> int:
            calls.append(x)
            return x

        shared = once(1)
        target = [shared, add(shared, shared), cs.Router(1, {1: shared}), inc(shared).run_if(shared)]
        assert run(target, tier=tier) == [1, 2, 1, 2]
        assert calls == [1]

    @every_tier
    def test_an_intermediate_result_does_not_outlive_the_run(self, tier: Tier) -> None:
        class Big:
            pass

        held: list[weakref.ref[Big]] = []

        @cs.task
        def make() -> Big:
            big = Big()
            held.append(weakref.ref(big))
            return big

        target = cs.task(lambda big: type(big).__name__)(make())
        assert run(target, tier=tier) == "Big"
        gc.collect()
        assert held[0]() is None


@pytest.mark.parametrize("tier", TIERS)
def test_a_process_does_not_wait_for_threads(tier: Tier) -> None:
    code = f"""
import asyncio, threading
import cascade as cs
from cascade.runtime import Engine

never = threading.Event()

@cs.task(mode="blocking")
def stuck():
    begun.set()
    never.wait()

async def main():
    global begun
    begun = threading.Event()
    engine = Engine(tier={tier!r}, thread_grace=0)
    run = engine.start(stuck())
    await asyncio.get_running_loop().run_in_executor(None, begun.wait)
    run.cancel()
    try:
        await run
    except asyncio.CancelledError:
        print("left")

asyncio.run(main())
"""
    assert run_python(code) == "left\n"


def test_nothing_is_printed_by_an_engine() -> None:
    code = """
import asyncio
import cascade as cs
from cascade.runtime import Engine

async def main():
    async with Engine() as engine:
        await engine.run(cs.task(abs)(-1))
        try:
            await engine.run(cs.task(abs)("x"))
        except TypeError:
            pass

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
