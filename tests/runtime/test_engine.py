"""The engine as such: its runs, their ids and states, its end, and one loop after the other."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any, assert_type

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine, MessageBus, Run
from cascade.runtime.events import RunFinished, RunStarted, TaskExecutionStarted
from cascade.testing import MockExecutor, MockSolver, SpyExecutor, SpySolver, SpySubscriber
from tests.helpers import run_python
from tests.workflows import Tier, every_tier, in_loop, run, turns


@cs.task
async def stay() -> None:
    await asyncio.Event().wait()


@cs.task(mode="inline")
def double(x: int) -> int:
    return 2 * x


@cs.task
def fail() -> None:
    raise ValueError("broken")


class Gate:
    """A task that waits until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside = 0

        @cs.task
        async def wait(x: int = 0) -> int:
            self.inside += 1
            await self.open.wait()
            return x

        self.wait = wait

    def open_soon(self) -> None:
        """Open it after some turns of the loop, in which others come to wait."""

        async def open_it() -> None:
            await turns()
            self.open.set()

        self.opener = asyncio.ensure_future(open_it())


# --- runs


def test_a_run_says_how_it_goes() -> None:
    async def main() -> None:
        async with Engine() as engine:
            gate = Gate()
            run = engine.start(gate.wait(3), run_id="mine")
            assert_type(run, Run[int])
            assert (run.id, run.status) == ("mine", "Running")
            assert repr(run) == "<Run mine: Running>"
            await turns()
            gate.open.set()
            assert await run == 3
            assert await run == 3
            assert (run.status, repr(run)) == ("Succeeded", "<Run mine: Succeeded>")
            failed = engine.start(fail())
            with pytest.raises(ValueError, match="broken"):
                await failed
            assert failed.status == "Failed"
            cancelled = engine.start(stay())
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert cancelled.status == "Cancelled"

    in_loop(main)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_run_that_ends_the_process_is_cancelled(error: type[BaseException]) -> None:
    runs: list[Run] = []

    @cs.task(mode="inline")
    def end() -> None:
        raise error

    async def main() -> None:
        runs.append(Engine().start(end()))
        await asyncio.Event().wait()

    with pytest.raises(error):
        asyncio.run(main())
    assert [run.status for run in runs] == ["Cancelled"]


def test_a_run_may_be_awaited_by_several() -> None:
    async def main() -> None:
        async with Engine() as engine:
            gate = Gate()
            run = engine.start(gate.wait(3))

            async def reader() -> Any:
                return await run

            readers = [asyncio.ensure_future(reader()) for _ in range(3)]
            await turns()
            gate.open.set()
            assert await asyncio.gather(*readers) == [3, 3, 3]

    in_loop(main)


def test_ids_are_fresh_or_given_and_one_is_for_one_run_at_a_time() -> None:
    async def main() -> None:
        async with Engine() as engine:
            spy = SpySubscriber(engine.bus)
            runs = [engine.start(double(1)) for _ in range(100)]
            assert len({run.id for run in runs}) == 100
            for run in runs:
                await run
            assert {event.run_id for event in spy.events_of_type(RunStarted)} == {run.id for run in runs}
            first = engine.start(double(1), run_id="one")
            for again in (engine.start, engine.run):
                with pytest.raises(ValueError, match="a run named 'one' is going on already"):
                    await again(double(2), run_id="one")
            assert await first == 2
            assert await engine.run(double(2), run_id="one") == 4
            cancelled = engine.start(double(1), run_id="two")
            cancelled.cancel()
            await turns()
            assert await engine.run(double(3), run_id="two") == 6

    in_loop(main)


@every_tier
def test_many_runs_at_once_of_many_targets_and_of_one(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            gate = Gate()
            shared = double(gate.wait(cs.Param("n", type=int)))
            own = [double(gate.wait(n)) for n in range(50)]
            tasks = [asyncio.ensure_future(engine.run(shared, {"n": n})) for n in range(50)]
            tasks += [asyncio.ensure_future(engine.run(target)) for target in own]
            while gate.inside < 100:
                await asyncio.sleep(0)
            gate.open.set()
            assert await asyncio.gather(*tasks) == [2 * n for n in range(50)] * 2

    in_loop(main)


def test_what_is_wrong_beforehand_is_raised_by_start_and_publishes_nothing() -> None:
    a, b = double(1), double(2)
    a.after(b)
    b.after(a)

    async def main() -> None:
        async with Engine(system_resources={"gpu": 1}) as engine:
            spy = SpySubscriber(engine.bus)
            wrong: list[tuple[Any, dict[str, Any], type[Exception]]] = [
                (a, {}, cs.CycleError),
                (double(cs.Param("n")), {}, cs.ParameterError),
                (double(cs.Param("n", type=int)), {"n": "x"}, cs.ParameterError),
                (double(cs.Param("n")), {"m": 1}, cs.ParameterError),
                (double(1).with_constraints(gpu=2), {}, cs.ConstraintError),
                (double, {}, TypeError),
                (double([{double(1)}]), {}, cs.StaticGraphError),
                (double(cs.Env("NO_SUCH_VARIABLE")), {}, cs.ParameterError),
            ]
            for target, params, error in wrong:
                with pytest.raises(error):
                    engine.start(target, params)
                with pytest.raises(error):
                    await engine.run(target, params)
            assert spy.events == []

    in_loop(main)


def test_a_plain_value_gives_itself_and_runs_nothing() -> None:
    async def main() -> None:
        async with Engine() as engine:
            spy = SpySubscriber(engine.bus)
            value = [1, {"a": 2}]
            assert await engine.run(value) is value
            started = engine.start(value)
            assert await started is value
            assert started.status == "Succeeded"
            assert spy.events == []

    in_loop(main)


def test_a_task_may_run_something_on_its_own_engine() -> None:
    async def main() -> None:
        async with Engine() as engine:

            @cs.task
            async def outer() -> Any:
                return await engine.run(double(3)), await engine.start(double(4))

            assert await engine.run(outer()) == (6, 8)

    in_loop(main)


@every_tier
@pytest.mark.parametrize("mode", ["inline", "blocking", "compute", "auto", "async"])
def test_a_task_sees_the_context_variables_of_the_caller(mode: Any, tier: Tier) -> None:
    variable: ContextVar[str] = ContextVar("variable")

    def get(x: int = 0) -> str:
        return variable.get()

    async def get_async(x: int = 0) -> str:
        return variable.get()

    look = cs.task(get_async) if mode == "async" else cs.task(mode=mode)(get)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for word in ("one", "two"):
                variable.set(word)
                expected = [word, [word, word], word]
                assert await engine.run([look(), look.map(x=[1, 2]), cs.subflow(look())]) == expected
                assert await engine.start([look(), look.map(x=[1, 2]), cs.subflow(look())]) == expected

    in_loop(main)


# --- its end


def test_leaving_the_engine_waits_for_its_runs() -> None:
    async def main() -> None:
        gate = Gate()
        async with Engine() as engine:
            at_once = engine.start(double(1))
            later = engine.start(gate.wait())
            gate.open_soon()
        assert (at_once.status, later.status) == ("Succeeded", "Succeeded")

    in_loop(main)


def test_closing_waits_for_runs_and_not_for_who_awaits_them() -> None:
    """Whoever ran something may well have more to do before it ends, such as waiting for the engine's end."""

    async def main() -> None:
        engine = Engine()
        closed = asyncio.Event()
        begun = asyncio.Event()

        @cs.task
        async def work() -> None:
            begun.set()
            await turns()

        async def user() -> None:
            await engine.run(work())
            await closed.wait()

        task = asyncio.ensure_future(user())
        await begun.wait()
        await asyncio.wait_for(engine.aclose(), 50)
        closed.set()
        await task

    in_loop(main)


def test_closing_waits_for_a_run_that_has_yet_to_begin_and_for_one_that_begins_meanwhile() -> None:
    async def main() -> None:
        engine = Engine()
        runs: list[Run] = []

        @cs.task
        async def start_another() -> None:
            await turns()
            runs.append(engine.start(double(5)))

        first = engine.start(start_another())
        await engine.aclose()
        assert [first.status, *(run.status for run in runs)] == ["Succeeded", "Succeeded"]
        cancelled = engine.start(double(1))
        cancelled.cancel()
        await asyncio.wait_for(engine.aclose(), 50)

    in_loop(main)


def test_several_may_close_an_engine_and_one_may_give_up() -> None:
    async def main() -> None:
        engine = Engine()
        gate = Gate()
        run = engine.start(gate.wait())
        closing = [asyncio.ensure_future(engine.aclose()) for _ in range(3)]
        await turns()
        closing[0].cancel()
        await turns()
        assert [task.done() for task in closing] == [True, False, False]
        gate.open.set()
        await asyncio.gather(*closing[1:])
        assert run.status == "Succeeded"

    in_loop(main)


@pytest.mark.parametrize("beside", [0, 1, 2])
def test_closing_an_engine_within_a_run_waits_for_the_others(beside: int) -> None:
    async def main() -> None:
        engine = Engine()
        gate = Gate()
        other = engine.start(gate.wait())

        @cs.task
        async def close() -> str:
            gate.open.set()
            await engine.aclose()
            return other.status

        # Beside others the call is an asyncio task of its own, which is no less a part of the run.
        assert (await engine.run([*[gate.wait() for _ in range(beside)], close()]))[-1] == "Succeeded"

    in_loop(main)


def test_a_failing_block_closes_the_engine_too() -> None:
    async def main() -> None:
        gate = Gate()
        runs: list[Run] = []

        async def fail_inside() -> None:
            async with Engine() as engine:
                runs.append(engine.start(gate.wait()))
                gate.open_soon()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail_inside()
        assert [run.status for run in runs] == ["Succeeded"]

    in_loop(main)


def test_the_threads_of_a_closed_engine_end() -> None:
    threads: set[threading.Thread] = set()

    @cs.task(mode="blocking")
    def note(x: int) -> None:
        threads.add(threading.current_thread())

    run([note.map(x=range(10)), cs.task(mode="compute")(threads.add)(threading.current_thread())])
    threads.discard(threading.main_thread())
    assert threads
    for thread in threads:
        assert thread.daemon
        thread.join(50)
        assert not thread.is_alive()


def test_an_engine_can_be_used_again_after_it_was_closed() -> None:
    async def main() -> None:
        engine = Engine()
        for _ in range(3):
            async with engine:
                assert await engine.run([double(1), cs.task(mode="blocking")(len)("abc")]) == [2, 3]

    in_loop(main)


# --- loops


@every_tier
def test_a_new_loop_after_the_old_one_ended(tier: Tier) -> None:
    engine = Engine(tier=tier, system_resources={"seat": 1})
    spy = SpySubscriber(engine.bus)
    count = 0

    @cs.resource
    async def thing() -> AsyncIterator[str]:
        yield "thing"

    @cs.task
    async def use(it: Any = cs.inject(thing)) -> Any:
        nonlocal count
        count += 1
        await asyncio.sleep(0)
        return it

    looping = double(1)
    cs.bind(looping, cs.select_jump({"exit": None}))
    target = [use().with_constraints(seat=1), use().with_constraints(seat=1), looping, cs.task(len)("ab")]
    for _ in range(5):
        assert asyncio.run(engine.run(target)) == ["thing", "thing", 2, 2]
    assert count == 10
    assert [event.status for event in spy.events_of_type(RunFinished)] == ["Succeeded"] * 5


def test_a_new_loop_after_one_that_ended_in_the_middle_of_runs() -> None:
    engine = Engine(system_resources={"seat": 1})

    @cs.task
    async def wait() -> None:
        await asyncio.Event().wait()

    async def leave() -> None:
        engine.start(wait().with_constraints(seat=1))
        engine.start(wait().with_constraints(seat=1))
        engine.start(wait(), run_id="mine")
        await turns()

    async def main() -> Any:
        async with engine:
            return await engine.run(
                [double(1).with_constraints(seat=1), cs.task(mode="blocking")(len)("abc")], run_id="mine"
            )

    asyncio.run(leave())
    assert in_loop(main) == [2, 3]


def test_neither_an_engine_nor_a_bus_needs_a_loop_to_be_made() -> None:
    engine = Engine(bus=MessageBus())
    engine.register_blueprint("it", double(1))
    with pytest.raises(RuntimeError, match=r"no running event loop here: call it in an `async def main\(\)"):
        engine.start(double(1))
    assert asyncio.run(engine.run(double(1))) == 2


def test_uvloop_is_not_needed() -> None:
    code = """
import sys
sys.modules["uvloop"] = None
import cascade as cs
assert cs.run(cs.task(len)("abc"), log_level="SILENT") == 3
print(type(sys.modules["asyncio"].new_event_loop()).__module__.partition(".")[0])
"""
    assert run_python(code).split() == ["asyncio"]


# --- what it is made with


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tier": "fast"}, "tier is"),
        ({"thread_grace": -1}, "thread_grace"),
        ({"thread_grace": float("nan")}, "thread_grace"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Engine(**options)


def test_an_unknown_attribute_is_a_plain_attribute_error() -> None:
    engine: Any = Engine()
    with pytest.raises(AttributeError, match="'Engine' object has no attribute 'stop'"):
        engine.stop()


@every_tier
def test_use_vm_changes_nothing(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            target = double(double(cs.Param("n", 1)))
            assert await engine.run(target, {"n": 2}, True) == await engine.run(target, {"n": 2}, use_vm=False) == 8
            assert await engine.start(target, {"n": 2}, True) == 8

    in_loop(main)


@every_tier
def test_another_executor_gets_every_node(tier: Tier) -> None:
    spy = SpyExecutor()

    @cs.task(mode="blocking")
    def step(n: int) -> cs.Jump:
        return cs.Jump("again" if n else "exit", n - 1)

    looping = step(3)
    cs.bind(looping, cs.select_jump({"again": looping, "exit": None}))
    assert run([double(1), double.map(x=[1, 2]), looping], tier=tier, executor=spy) == [2, [2, 4], -1]
    assert [node.id for node, _, _ in spy.calls].count("step#1") == 4
    assert len(spy.calls) == 7
    node, args, kwargs = next(call for call in spy.calls if call[0].id == "double#1")
    assert (node.name, node.mode, node.is_async, args, kwargs) == ("double", "inline", False, (1,), {})
    assert node.func is double.func
    assert node.declared.startswith(f"{__file__}:")


@every_tier
def test_a_subclass_that_overrides_execute_is_never_bypassed(tier: Tier) -> None:
    calls: list[str] = []

    class Noting(LocalExecutor):
        async def execute(self, node: Any, args: Any, kwargs: Any) -> Any:
            calls.append(node.name)
            return await super().execute(node, args, kwargs)

    class Plain(LocalExecutor):
        pass

    @cs.task(mode="inline")
    def step(n: int) -> cs.TailCall | str:
        return cs.TailCall(args=[n - 1]) if n else "done"

    assert run([double(1), step(100), double.map(x=range(10))], tier=tier, executor=Noting()) == [
        2,
        "done",
        [2 * x for x in range(10)],
    ]
    assert (calls.count("double"), calls.count("step")) == (11, 101)
    assert run(double(1), tier=tier, executor=Plain()) == 2


def test_doubles_stand_in_for_executor_and_solver() -> None:
    mock = MockExecutor({"double": 7, "fail": OSError("mocked")}, default="other")
    assert run([double(1), cs.task(len)("abc")], executor=mock) == [7, "other"]
    with pytest.raises(OSError, match="mocked"):
        run(fail(), executor=mock)
    assert [node.name for node, _, _ in mock.calls] == ["double", "len", "fail"]
    solver = SpySolver()
    assert run(double(double(1)), solver=solver) == 4
    (graph,) = solver.graphs
    assert len(graph) == 2
    assert run(double(double(1)), solver=MockSolver([1, 0])) == 4
    with pytest.raises(cs.StaticGraphError, match="MockSolver gave an order that is no permutation"):
        run(double(double(1)), solver=MockSolver([1, 1]))


def test_the_order_of_a_solver_is_a_preference() -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    target = [double(1).named("a"), double(2).named("b"), double(3).named("c")]
    run(target, bus=bus, solver=MockSolver(lambda graph: [3, 2, 1, 0]))
    assert [event.task_id for event in spy.events_of_type(TaskExecutionStarted)] == ["c#1", "b#1", "a#1"]
