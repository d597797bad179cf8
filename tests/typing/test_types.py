"""What type checkers see: each promise is an `assert_type`, which mypy and pyright check; here each is run as well.

A wrong use stands with a `type: ignore`. Both checkers complain of one that is not needed, so a wrong use that is no
longer seen is a failure.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, Literal, assert_type

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.app.caching import CacheExplanation
from cascade.app.findings import Finding
from cascade.app.flow import Flow
from cascade.app.pictures import Drawing
from cascade.app.plans import DryRun
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import RunFinished, TaskEvent, TaskExecutionFinished, TaskSkipped
from cascade.runtime.events.bus import Stream, Subscription
from cascade.spec.blueprint import Blueprint
from cascade.spec.compose import SubflowResult
from cascade.spec.events import Event
from cascade.spec.lazy import MappedResult
from cascade.spec.limits import Limit
from cascade.spec.protocols import CallNode, Executor, Solver
from cascade.spec.resource import Resource
from cascade.spec.selector import JumpSelector
from cascade.spec.task import Partial
from cascade.testing import (
    MockExecutor,
    MockSolver,
    Simulation,
    SpyExecutor,
    SpySolver,
    SpySubscriber,
    VirtualClock,
    simulate,
)
from tests.workflows import in_loop


@cs.task
def parse(text: str, base: int = 10) -> int:
    return int(text, base)


@cs.task
def twice(x: int, /) -> int:
    return 2 * x


@cs.task
async def fetch(number: int) -> bytes:
    await asyncio.sleep(0)
    return bytes(number)


@cs.task(name="total", pure=True, mode="inline", retry=2, constraints={"gpu": 1}, tags=("a",))
def total(numbers: list[int]) -> float:
    return float(sum(numbers))


@cs.task(name="later")
async def later(number: int) -> list[str]:
    return ["x"] * number


@cs.task
def maybe(number: int) -> int | None:
    return number or None


def plainly(value: cs.LazyResult[int]) -> cs.LazyResult[int]:
    return twice(value)


def is_worth_it(error: Exception) -> bool:
    return "again" in str(error)


class Shop:
    @cs.task
    def price(self, amount: int) -> float:
        return amount * 1.5

    @cs.task
    async def order(self, amount: int) -> str:
        return f"{amount} pieces"


@cs.resource
def database() -> Iterator[dict[str, int]]:
    yield {}


@cs.resource(name="client", scope="task")
async def client() -> AsyncIterator[int]:
    yield 1


def test_a_call_gives_a_lazy_result_of_what_the_function_returns() -> None:
    assert_type(parse("1"), cs.LazyResult[int])
    assert_type(total([1]), cs.LazyResult[float])
    assert_type(maybe(1), cs.LazyResult[int | None])
    assert_type(cs.task(len)([1]), cs.LazyResult[int])
    assert_type(cs.task(lambda: 3)(), cs.LazyResult[int])


@cs.task
def numbers(n: int) -> Iterator[int]:
    yield n


@cs.task(name="letters")
async def letters(n: int) -> AsyncIterator[str]:
    yield str(n)


def test_a_call_of_an_async_task_gives_what_awaiting_would() -> None:
    assert_type(fetch(1), cs.LazyResult[bytes])
    assert_type(later(1), cs.LazyResult[list[str]])


def test_a_generator_gives_the_list_of_what_it_yields() -> None:
    assert_type(numbers(1), cs.LazyResult[list[int]])
    assert_type(letters(1), cs.LazyResult[list[str]])
    assert_type(Engine().stream(letters(1)), AsyncGenerator[str, None])
    assert_type(cs.Stream([1]), cs.Stream[int])


def test_a_channel_gives_what_was_declared() -> None:
    @cs.task
    async def talks() -> None:
        channel = cs.channel("x", type=int, capacity=3)
        assert_type(channel, cs.Channel[int])
        await channel.send(1)
        await channel.send(2)
        channel.close()
        assert_type(await channel.receive(), int)
        async for number in channel:
            assert_type(number, int)
        assert_type(cs.channel("y"), cs.Channel[Any])
        topic = cs.channel("z", type=str, readers=1)
        assert_type(topic, cs.Topic[str])
        with topic.reader() as reader:
            await topic.send("text")
            assert_type(await reader.receive(), str)

    cs.run(talks())


def test_a_method_gives_what_it_returns() -> None:
    assert_type(Shop().price(2), cs.LazyResult[float])
    assert_type(Shop().order(2), cs.LazyResult[str])
    assert_type(Shop().price.map(amount=[1]), MappedResult[float])


def test_a_task_keeps_parameters_and_result() -> None:
    assert_type(twice, cs.Task[[int], int])
    assert_type(twice.name, str)
    assert_type(twice.pure, bool)
    assert_type(twice.tags, tuple[str, ...])
    assert_type(twice.mode, Literal["auto", "inline", "blocking", "compute", "process"])


def test_arguments_of_a_call_may_be_lazy() -> None:
    text: cs.LazyResult[str] = cs.task(str)(1)
    assert_type(parse(text, base=cs.Param("base", default=10)), cs.LazyResult[int])
    assert_type(parse(cs.Router(1, {1: text})), cs.LazyResult[int])


def test_the_function_keeps_its_parameters() -> None:
    with pytest.raises(TypeError):
        parse.func()  # type: ignore[call-arg, misc]
    with pytest.raises(TypeError):
        parse.func(text=1)  # type: ignore[arg-type]
    parse.func("1", base=2)


def test_a_map_is_a_lazy_result_of_a_list() -> None:
    mapped = parse.map(text=["1", "2"], concurrency=2)
    assert_type(mapped, MappedResult[int])
    as_lazy: cs.LazyResult[list[int]] = mapped
    assert_type(parse.partial(base=2), Partial[int])
    assert_type(parse.partial(base=2).partial(base=3).map(text=["1"]), MappedResult[int])
    assert_type(parse.map(text=["1"], on_error="skip", max_errors=1), MappedResult[int])
    assert_type(parse.map(text=["1"], on_error="collect"), MappedResult[int | cs.Failed])
    assert_type(parse.partial(base=2).map(text=["1"], on_error="collect"), MappedResult[int | cs.Failed])
    assert_type(parse.partial(base=2)("1"), cs.LazyResult[int])
    assert as_lazy is mapped


def test_chaining_keeps_the_type() -> None:
    gate = parse("1")
    one = parse("1").run_if(gate, otherwise=0).with_retry(2).with_constraints(gpu=1).after(gate).named("n")
    assert_type(one, cs.LazyResult[int])
    assert_type(fetch.map(number=[1]).run_if(True).with_retry(2).after(gate).named("n"), MappedResult[bytes])


def test_binding_keeps_the_type() -> None:
    selector = cs.select_jump({"again": parse("1"), "exit": None})
    assert_type(selector, JumpSelector)
    assert_type(cs.bind(parse("1"), selector, max_iterations=3, history=True), cs.LazyResult[int])
    assert_type(cs.bind(parse("1"), selector, checkpoint="turn"), cs.LazyResult[int])
    assert_type(cs.bind(parse.map(text=["1"]), selector), MappedResult[int])


def test_composing() -> None:
    assert_type(cs.sequence([parse("1"), fetch(1)]), cs.LazyResult[Any])
    assert_type(cs.subflow(parse("1"), params={}), SubflowResult[int])
    assert_type(cs.Router(1, {1: 2}, default=3), cs.Router)
    assert_type(cs.Param("n", default=1, type=int, description=""), cs.Param)
    assert_type(cs.Env("HOME", default=None), cs.Env)
    piped = cs.pipeline("1", [parse, twice, plainly])
    assert cs.run(piped, log_level="SILENT") == 4


def test_a_run_gives_what_its_target_holds() -> None:
    assert_type(cs.run(parse("1"), log_level="SILENT"), int)
    assert_type(cs.run(fetch(1), {}, resources=[database], system_resources={"gpu": 1}, log_level="SILENT"), bytes)
    assert_type(cs.run(parse.map(text=["1"]), log_level="SILENT", log_format="json"), list[int])
    assert_type(cs.run([parse("1")], log_level="SILENT"), Any)


def test_so_do_arun_and_a_compiled_flow() -> None:
    async def main() -> None:
        assert_type(await cs.arun(parse("1")), int)
        assert_type(await cs.arun(parse.map(text=["1"]), {}, resources=[], system_resources={}), list[int])
        assert_type(await cs.arun({"a": parse("1")}), Any)
        flow = cs.compile(parse(cs.Param("text")))
        assert_type(flow, Flow[int])
        assert_type(await flow(text="1"), int)
        assert_type(flow.blueprint, Blueprint)
        assert_type(cs.compile([parse("1")]), Flow[Any])

    in_loop(main)


def test_an_engine_and_its_runs() -> None:
    async def main() -> None:
        async with Engine(bus=MessageBus(), system_resources={"gpu": 1}, tier="auto", thread_grace=0.5) as engine:
            assert_type(engine, Engine)
            run = engine.start(parse("1"), {}, run_id="mine")
            assert_type(run, cs.Run[int])
            assert_type(run.id, str)
            assert_type(run.status, Literal["Running", "Parked", "Succeeded", "Failed", "Cancelled"])
            await run
            assert_type(run.cancel(), None)
            assert_type(engine.register(database), None)
            assert_type(engine.register_blueprint("b", parse("1")), Blueprint)
            with cs.override_resource(engine, "database", {"a": 1}) as nothing:
                assert_type(nothing, None)

    in_loop(main)


def test_resources() -> None:
    assert_type(database, Resource[dict[str, int]])
    assert_type(client, Resource[int])
    wanted: dict[str, int] = cs.inject(database)  # it stands where the resource's own type is declared
    assert wanted is not None


class Mine:
    """Fits the protocol of executors without knowing of it."""

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return node.func(*args, **kwargs)


def test_what_plugs_in_fits_its_protocol() -> None:
    executors: list[Executor] = [LocalExecutor(), SpyExecutor(), MockExecutor(), Mine()]
    solvers: list[Solver] = [NativeSolver(), SpySolver(), MockSolver()]
    for executor in executors:
        for solver in solvers:
            assert_type(Engine(solver, executor), Engine)


@cs.task
def countdown(n: int) -> str | cs.Jump:
    return cs.Jump("again", n - 1) if n else "done"


@cs.task(name="tail")
async def tail(n: int) -> str | cs.TailCall:
    return cs.TailCall([n - 1]) if n else "done"


@cs.task
def leap(n: int) -> cs.Jump:
    return cs.Jump("exit", cs.Value(n))


def test_a_task_that_jumps_gives_what_its_loop_ends_with() -> None:
    assert_type(countdown(3), cs.LazyResult[str])
    assert_type(tail(3), cs.LazyResult[str])
    assert_type(tail.map(n=[3]), MappedResult[str])
    assert_type(leap(3), cs.LazyResult[Any])  # what it ends with comes from elsewhere
    step = countdown(3)
    loop = cs.bind(step, cs.select_jump({"again": step, "exit": None}))
    assert_type(cs.run(loop, log_level="SILENT"), str)
    jump = cs.Jump("again", {"n": 1})
    assert_type(jump.target_key, Any)
    assert_type(jump.data, Any)
    call = cs.TailCall([1], {"n": 2}, target_blueprint_id=None)
    assert_type(call.kwargs, dict[str, Any])
    assert_type(call.target_blueprint_id, str | None)


def test_a_router_gives_what_its_routes_give() -> None:
    router = cs.Router(parse("1"), {1: parse("2"), 2: twice(3)}, default=parse("4"))
    assert_type(router, cs.Router[int])
    assert_type(cs.run(router, log_level="SILENT"), int)
    assert_type(cs.Router(1, {1: 2, 2: parse("3")}), cs.Router[Any])


def test_a_lazy_result_of_less_stands_for_one_of_more() -> None:
    wide: cs.LazyResult[int | None] = parse("1")
    wider: cs.LazyResult[object] = wide
    assert wider is wide


def test_all_that_configures_a_node_keeps_its_type() -> None:
    one = parse("1").with_timeout(1.5).with_cache(cs.cached(ttl=60, version=2)).with_cache(None)
    assert_type(one, cs.LazyResult[int])
    assert_type(one.with_retry(2, delay=0.1, on=(ValueError, OSError), give_up=KeyError), cs.LazyResult[int])
    assert_type(one.with_retry(on=is_worth_it), cs.LazyResult[int])
    assert_type(one.label, str)
    assert_type(one.declared, str)
    mapped = fetch.map(number=[1]).with_timeout(2).with_constraints(gpu=1)
    assert_type(mapped, MappedResult[bytes])


def test_a_subflow_gives_what_its_graph_gives() -> None:
    assert_type(cs.subflow(parse(cs.Param("text")), {"text": "1"}), SubflowResult[int])
    assert_type(cs.subflow([parse("1")]), SubflowResult[Any])
    assert_type(cs.run(cs.subflow(parse("1")), log_level="SILENT"), int)


def test_parameters() -> None:
    assert_type(cs.Param("n", default=1).name, str)
    assert_type(cs.Param("n", type=int).convert("1"), Any)
    assert_type(cs.Env("HOME", default="").name, str)


def test_what_an_engine_gives() -> None:
    async def main() -> None:
        async with Engine(cache_backend=None) as engine:
            assert_type(await engine.run(parse("1")), int)
            assert_type(await engine.run(parse.map(text=["1"]), {}, timeout=5, resources=[database]), list[int])
            assert_type(await engine.run([parse("1")]), Any)
            run = engine.start(fetch(2))
            assert_type(run, cs.Run[bytes])
            assert_type(await run, bytes)
            assert_type(engine.start([parse("1")]), cs.Run[Any])
            async for each in engine.as_completed(parse.map(text=["1"])):
                assert_type(each, int)
            async for other in engine.as_completed(parse.map(text=["x"], on_error="collect")):
                assert_type(other, int | cs.Failed)
            assert_type(engine.cancel("mine"), bool)
            assert_type(engine.pause("task:fetch*", ttl=5), None)
            assert_type(engine.set_limit("global", concurrency=1, rate="5/s"), None)
            assert_type(engine.clear_limit("global"), None)
            assert_type(engine.resume("task:fetch*"), None)
            assert_type(engine.limits(), list[Limit])

    in_loop(main)


def test_events() -> None:
    async def main() -> None:
        bus = MessageBus(previews=10)
        seen: list[str] = []

        def on_finish(event: TaskExecutionFinished) -> None:
            assert_type(event.status, Literal["Succeeded", "Failed", "Cancelled"])
            assert_type(event.duration, float)
            assert_type(event.error, str | None)
            assert_type(event.result_preview, str | None)
            assert_type(event.iteration, int)
            seen.append(event.task_id)

        async def on_batch(events: list[TaskEvent]) -> None:
            seen.extend(event.task_name for event in events)

        assert_type(bus.subscribe(TaskExecutionFinished, on_finish), Subscription)
        subscription = bus.subscribe(TaskEvent, on_batch, batch=True)
        spy = SpySubscriber(bus)
        async with Engine(bus=bus) as engine:
            stream = bus.stream(cs.Event)
            assert_type(stream, Stream[cs.Event])
            run = engine.start(parse("1"))
            async for event in stream:
                assert_type(event, cs.Event)
                assert_type(event.timestamp, float)
                assert_type(event.to_dict(), dict[str, Any])
            await run
        subscription.unsubscribe()
        assert_type(spy.events, list[cs.Event])
        assert_type(spy.events_of_type(RunFinished), list[RunFinished])
        assert_type(spy.events_of_type(TaskSkipped), list[TaskSkipped])
        assert seen

    in_loop(main)


def test_what_looks_before_a_run() -> None:
    lazy = parse("1")
    assert_type(cs.explain(lazy), str)
    assert_type(cs.to_json(lazy), str)
    assert_type(cs.from_json(cs.to_json(cs.task(len)("a")), allow=["builtins"]), Any)
    assert_type(cs.to_lisp(lazy), str)
    assert_type(cs.check(lazy), list[Finding])
    assert_type(cs.dry_run(lazy), DryRun)
    assert_type(cs.explain_cache(lazy), CacheExplanation)
    assert_type(cs.visualize(lazy, "mermaid"), Drawing)


def test_errors_are_caught_by_their_kind() -> None:
    try:
        cs.run(parse(cs.Param("text")), log_level="SILENT")
    except cs.ParameterError as error:
        as_value: ValueError = error
        as_ours: cs.CascadeError = error
        assert str(as_value) == str(as_ours)
    failed = cs.run(parse.map(text=["x"], on_error="collect"), log_level="SILENT")[0]
    assert isinstance(failed, cs.Failed)
    assert_type(failed.error, BaseException)
    assert_type(failed.index, int)
    assert_type(failed.arguments, dict[str, Any])


def test_what_a_virtual_clock_runs_keeps_its_type() -> None:
    for clock in (VirtualClock(), simulate(seed=1)):
        assert_type(clock.run(parse("1")), int)
        assert_type(clock.run(asyncio.sleep(1, "done")), str)
        assert_type(clock.elapsed, float)
    with simulate(seed=1) as simulation:
        assert_type(simulation, Simulation)
        assert_type(simulation.events, list[Event])


def test_what_is_wrong_is_seen() -> None:
    """Each ignored line is an error to both checkers, who say so where an ignore is not needed."""
    with pytest.raises(ValueError, match="tier"):
        Engine(tier="fast")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        cs.bind(3, cs.select_jump({"a": None}))  # type: ignore[type-var]
    with pytest.raises(TypeError):
        parse("1").named(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        parse("1").after(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="log_level"):
        cs.run(parse("1"), log_level="LOUD")  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        cs.bind(parse("1"), {"again": None})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        cs.select_jump({"again": 3})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        cs.sequence([parse("1"), 3])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        cs.resource(len)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        MessageBus().subscribe(int, print)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="on_error"):
        parse.map(text=["1"], on_error="ignore")  # type: ignore[call-overload]


async def never_run(engine: Engine, bus: MessageBus) -> None:
    """Wrong uses that only a checker sees, or that would run for long."""
    number: str = cs.run(parse("1"))  # type: ignore[assignment]
    word: str = await engine.run(parse("1"))  # type: ignore[arg-type]
    other: str = await engine.start(parse("1"))  # type: ignore[arg-type]
    many: list[str] = await cs.arun(parse.map(text=["1"]))  # type: ignore[arg-type]
    looped: int = cs.run(countdown(3))  # type: ignore[assignment]
    flow: Flow[str] = cs.compile(parse("1"))  # type: ignore[arg-type]
    cs.compile(3)  # type: ignore[call-overload]
    narrow: cs.LazyResult[int] = maybe(1)  # type: ignore[assignment]
    connection: int = cs.inject(database)  # type: ignore[assignment]
    parse("1").with_timeout("soon")  # type: ignore[arg-type]
    parse("1").with_retry("twice")  # type: ignore[arg-type]
    parse("1").no_such_method()  # type: ignore[attr-defined]
    parse.func(1)  # type: ignore[arg-type]
    cs.task(name=3)  # type: ignore[call-overload]
    cs.task(mode="thread")  # type: ignore[call-overload]
    cs.Param(3)  # type: ignore[arg-type]
    cs.Jump()  # type: ignore[call-arg]
    cs.TailCall(kwargs=[1])  # type: ignore[arg-type]
    cs.visualize(parse("1"), "png")  # type: ignore[arg-type]
    engine.as_completed(parse("1"))  # type: ignore[arg-type]
    engine.register(parse("1"))  # type: ignore[arg-type]
    engine.set_limit("global", concurrency="many")  # type: ignore[arg-type]
    bus.subscribe(TaskSkipped, lambda event: event.duration)  # type: ignore[attr-defined]
    bus.subscribe(TaskSkipped, lambda event: event.reason, batch=True)  # type: ignore[call-overload]
    Engine(solver=MockExecutor())  # type: ignore[arg-type]
    Engine(executor=MockSolver())  # type: ignore[arg-type]
    RunFinished(status="Fine")  # type: ignore[arg-type]
    RunFinished().duration = 3.0  # type: ignore[misc]
    assert [number, word, other, many, looped, flow, narrow, connection]
