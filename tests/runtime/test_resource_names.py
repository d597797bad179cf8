"""Resources that are found by name, that are missing, and that are overridden."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import ResourceEvent, TaskExecutionStarted
from cascade.testing import SpySubscriber
from tests.runtime.resource_log import Log, every_kind, use
from tests.workflows import Tier, every_tier, in_loop, run

# --- found


@every_tier
def test_a_resource_is_injected_by_name_from_the_engine_or_the_run(tier: Tier) -> None:
    log = Log()

    @cs.task
    def ask(it: Any = cs.inject("db")) -> Any:
        return it

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            engine.register(log.resource("db"))
            assert await engine.run(ask()) == "db"
            assert await engine.run(use(cs.inject("db"))) == ["db"]
            other = cs.resource(name="db")(log.resource("another").func)
            assert await engine.run(ask(), resources=[other]) == "another"
            assert await engine.start(ask(), resources=[other]) == "another"
            assert await engine.run(ask()) == "db"

    in_loop(main)
    assert cs.run(ask(), resources=[log.resource("db")], log_level="SILENT") == "db"


def test_a_registered_resource_stands_in_for_an_injected_one_of_its_name() -> None:
    log = Log()
    db = log.resource("db")
    stand_in = cs.resource(name="db")(log.resource("other").func)

    async def main() -> None:
        async with Engine() as engine:
            assert await engine.run(use(cs.inject(db)), resources=[stand_in]) == ["other"]

    in_loop(main)


# --- missing


def test_a_resource_that_is_missing_starts_nothing() -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    with pytest.raises(cs.ResourceNotFoundError, match=r"use#1 \(declared at .*'db', which nobody provides"):
        run(use(cs.inject("db")), bus=bus)
    assert [type(event).__name__ for event in spy.events_of_type(ResourceEvent)] == []
    assert len(spy.events_of_type(TaskExecutionStarted)) <= 1


def test_a_missing_resource_that_is_nearly_named_so() -> None:
    async def main() -> None:
        async with Engine() as engine:
            engine.register(Log().resource("database"))
            engine.register(Log().resource("cache"))
            with pytest.raises(
                cs.ResourceNotFoundError, match=r"did you mean 'database'\? \(there are: cache, database"
            ):
                await engine.run(use(cs.inject("databse")))

    in_loop(main)


# --- overridden


@every_tier
def test_override_resource_for_the_time_of_a_with_block(tier: Tier) -> None:
    log = Log()
    db = log.resource("db")
    by_object, by_name = use(cs.inject(db)), use(cs.inject("db"))

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            with cs.override_resource(engine, "db", {"any": "value"}):
                assert await engine.run([by_object, by_name]) == [[{"any": "value"}]] * 2
            assert log == []
            assert await engine.run(by_object) == ["db"]
            with pytest.raises(cs.ResourceNotFoundError):
                await engine.run(by_name)
            engine.register(db)
            with cs.override_resource(engine, "db", None):
                assert await engine.run(by_name) == [None]
                with cs.override_resource(engine, "db", 2):
                    assert await engine.run(by_name) == [2]
                assert await engine.run(by_name) == [None]
            assert await engine.run(by_name) == ["db"]

    in_loop(main)


@every_kind
def test_override_resource_with_a_resource_or_a_generator(kind: str) -> None:
    log = Log()
    other = log.resource("other", kind, "task")

    async def main() -> None:
        async with Engine() as engine:
            for provider in (other, other.func):
                log.clear()
                with cs.override_resource(engine, "db", provider):
                    assert await engine.run(use(cs.inject("db"))) == ["other"]
                assert log == ["+other", "-other"]

    in_loop(main)


def test_override_resource_for_what_a_resource_needs() -> None:
    log = Log()
    outer = log.resource("outer", needs=cs.inject(log.resource("inner")))

    async def main() -> None:
        async with Engine() as engine:
            with cs.override_resource(engine, "inner", "fake"):
                assert await engine.run(use(cs.inject(outer))) == ["outer(fake)"]

    in_loop(main)


def test_override_resource_ends_when_the_block_fails_and_does_not_touch_runs_that_began() -> None:
    async def main() -> None:
        async with Engine() as engine:
            begun, go_on = asyncio.Event(), asyncio.Event()

            @cs.task
            async def wait() -> None:
                begun.set()
                await go_on.wait()

            async def fail_inside() -> Any:
                with cs.override_resource(engine, "db", 1):
                    runs.append(engine.start(use(cs.inject("db")).after(wait())))
                    await begun.wait()
                    raise ZeroDivisionError

            runs: list[Any] = []
            with pytest.raises(ZeroDivisionError):
                await fail_inside()
            (run,) = runs
            go_on.set()
            assert await run == [1]
            assert engine.resources == {}

    in_loop(main)
