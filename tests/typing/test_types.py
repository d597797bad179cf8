"""What type checkers see: each promise is an `assert_type`, which mypy checks; here it is seen to run as well."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, assert_type

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.app.flow import Flow
from cascade.runtime import Engine, MessageBus
from cascade.spec.blueprint import Blueprint
from cascade.spec.compose import SubflowResult
from cascade.spec.events import Event
from cascade.spec.lazy import MappedResult
from cascade.spec.protocols import CallNode, Executor, Solver
from cascade.spec.resource import Resource
from cascade.spec.selector import JumpSelector
from cascade.spec.task import Partial
from cascade.testing import MockExecutor, MockSolver, Simulation, SpyExecutor, SpySolver, VirtualClock, simulate
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


def test_a_call_of_an_async_task_gives_what_awaiting_would() -> None:
    assert_type(fetch(1), cs.LazyResult[bytes])
    assert_type(later(1), cs.LazyResult[list[str]])


def test_a_method_gives_what_it_returns() -> None:
    assert_type(Shop().price(2), cs.LazyResult[float])
    assert_type(Shop().order(2), cs.LazyResult[str])
    assert_type(Shop().price.map(amount=[1]), MappedResult[float])


def test_a_task_keeps_parameters_and_result() -> None:
    assert_type(twice, cs.Task[[int], int])
    assert_type(cs.task(twice.func), cs.Task[[int], Any])
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
    assert_type(cs.bind(parse("1"), selector, max_iterations=3), cs.LazyResult[int])
    assert_type(cs.bind(parse.map(text=["1"]), selector), MappedResult[int])


def test_composing() -> None:
    assert_type(cs.sequence([parse("1"), fetch(1)]), cs.LazyResult[Any])
    assert_type(cs.subflow(parse("1"), params={}), SubflowResult)
    assert_type(cs.Router(1, {1: 2}, default=3), cs.Router)
    assert_type(cs.Param("n", default=1, type=int, description=""), cs.Param)
    assert_type(cs.Env("HOME", default=None), cs.Env)
    piped = cs.pipeline("1", [parse, twice, lambda value: twice(value)])
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
            assert_type(run, cs.Run)
            assert_type(run.id, str)
            assert_type(run.status, Literal["Running", "Succeeded", "Failed", "Cancelled"])
            await run
            assert_type(run.cancel(), None)
            assert_type(engine.register(database), None)
            assert_type(engine.register_blueprint("b", parse("1")), Blueprint)
            with cs.override_resource(engine, "database", {"a": 1}) as nothing:
                assert_type(nothing, None)

    in_loop(main)


def test_resources() -> None:
    assert_type(database, Resource)
    assert_type(client, Resource)
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


def test_what_a_virtual_clock_runs_keeps_its_type() -> None:
    for clock in (VirtualClock(), simulate(seed=1)):
        assert_type(clock.run(parse("1")), int)
        assert_type(clock.run(asyncio.sleep(1, "done")), str)
        assert_type(clock.elapsed, float)
    with simulate(seed=1) as simulation:
        assert_type(simulation, Simulation)
        assert_type(simulation.events, list[Event])


def test_what_is_wrong_is_seen() -> None:
    """Each line below is an error to a type checker; mypy says so where an ignore is not needed."""
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
