"""Resources: who may ask for one, when it is set up, where it runs, and resources that need resources."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.testing import SpyExecutor
from tests.runtime.resource_log import KINDS, Log, every_kind, fail, use
from tests.workflows import Tier, every_tier, in_loop, run

# --- asking for one


@every_kind
@every_tier
def test_a_resource_is_injected_as_a_default(kind: str, tier: Tier) -> None:
    log = Log()
    db = log.resource("db", kind)

    @cs.task
    def ask(question: str, it: Any = cs.inject(db)) -> str:
        log.append("ask")
        return f"{question} {it}"

    assert run(ask("what"), tier=tier) == "what db"
    assert log == ["+db", "ask", "-db"]
    assert run(ask("what", "this"), tier=tier) == "what this"
    assert run(ask("what", it="that"), tier=tier) == "what that"
    assert log == ["+db", "ask", "-db", "ask", "ask"]


@every_tier
def test_a_resource_is_injected_as_an_argument(tier: Tier) -> None:
    log = Log()
    db = log.resource("db")

    @cs.task
    async def ask(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    given: Any = run(ask(1, cs.inject(db), it=cs.inject(db)), tier=tier)
    assert given == ((1, "db"), {"it": "db"})
    assert log == ["+db", "-db"]


def test_a_resource_is_injected_into_keyword_only_and_positional_only_parameters() -> None:
    db = Log().resource("db")

    @cs.task
    def keyword(*, it: Any = cs.inject(db)) -> Any:
        return it

    @cs.task
    def positional(x: int = 1, it: Any = cs.inject(db), /, other: int = 2) -> Any:
        return x, it, other

    assert run([keyword(), positional(), positional(3), positional(3, other=4)]) == [
        "db",
        (1, "db", 2),
        (3, "db", 2),
        (3, "db", 4),
    ]


def test_a_resource_is_injected_into_a_method() -> None:
    db = Log().resource("db")

    class Shop:
        @cs.task
        def price(self, item: str, it: Any = cs.inject(db)) -> str:
            return f"{item} from {it}"

    assert run(Shop().price("tea")) == "tea from db"


def test_a_resource_needs_no_registration() -> None:
    assert run(use(cs.inject(Log().resource("db")))) == ["db"]


@every_tier
def test_the_items_of_a_map_and_the_entries_of_a_loop_get_resources(tier: Tier) -> None:
    log = Log()
    db = log.resource("db")

    @cs.task
    def item(x: int, it: Any = cs.inject(db)) -> str:
        return f"{x} {it}"

    @cs.task
    def step(n: int, it: Any = cs.inject(db)) -> cs.Jump:
        return cs.Jump("again", n - 1) if n else cs.Jump("exit", it)

    looping = step(2)
    cs.bind(looping, cs.select_jump({"again": looping, "exit": None}))
    assert run([item.map(x=[1, 2]), looping], tier=tier) == [["1 db", "2 db"], "db"]
    assert run(item.partial(it=cs.inject(db)).map(x=[3]), tier=tier) == ["3 db"]
    assert log == ["+db", "-db"] * 2


@every_tier
def test_a_jump_may_send_another_value_in_the_place_of_a_resource(tier: Tier) -> None:
    db = Log().resource("db")

    @cs.task
    def step(it: Any = cs.inject(db), n: int = 0) -> Any:
        return cs.Jump("again", {"it": "sent", "n": 1}) if n == 0 else it

    looping = step()
    cs.bind(looping, cs.select_jump({"again": looping}))
    assert run(looping, tier=tier) == "sent"


# --- scopes


@every_kind
@every_tier
def test_scope_run_is_set_up_once_before_the_first_call_that_needs_it(kind: str, tier: Tier) -> None:
    log = Log()
    db = log.resource("db", kind)

    @cs.task(mode="inline")
    def note(word: str, *rest: Any) -> Any:
        log.append(word)
        return rest

    first = note("without")
    second = note("one", first, cs.inject(db))
    third = note("two", second, cs.inject(db))
    run(note("last", third), tier=tier)
    assert log == ["without", "+db", "one", "two", "last", "-db"]


@every_kind
@every_tier
def test_scope_run_is_set_up_once_for_calls_at_once(kind: str, tier: Tier) -> None:
    log = Log()
    db = log.resource("db", kind)
    assert run([use(cs.inject(db)) for _ in range(20)], tier=tier) == [["db"]] * 20
    assert log == ["+db", "-db"]


@every_kind
@every_tier
def test_scope_run_is_not_set_up_where_nothing_that_runs_needs_it(kind: str, tier: Tier) -> None:
    log = Log()
    db = log.resource("db", kind)
    target = cs.Router("plain", {"plain": use(1), "db": use(cs.inject(db))})
    assert run([target, use(2, cs.inject(db)).run_if(False, otherwise=3)], tier=tier) == [[1], 3]
    assert log == []


@every_tier
def test_each_run_has_its_own(tier: Tier) -> None:
    log = Log()
    db = log.resource("db")

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            engine.register(db)
            target = use(cs.inject("db"))
            both = await asyncio.gather(engine.run(target), engine.run(target))
            assert [*both] == [["db"], ["db"]]

    in_loop(main)
    assert sorted(log) == ["+db", "+db", "-db", "-db"]


@every_kind
@every_tier
def test_scope_task_is_set_up_for_each_call(kind: str, tier: Tier) -> None:
    log = Log()
    db = log.resource("db", kind, "task")

    @cs.task(mode="inline")
    def item(x: int, it: Any = cs.inject(db)) -> Any:
        log.append(str(x))
        return x

    @cs.task(mode="inline")
    def step(n: int, it: Any = cs.inject(db)) -> Any:
        log.append(f"entry {n}")
        return cs.Jump("again", n - 1) if n else n

    looping = step(1)
    cs.bind(looping, cs.select_jump({"again": looping}))
    assert run(item.map(x=[1, 2], concurrency=1), tier=tier) == [1, 2]
    assert log == ["+db", "1", "-db", "+db", "2", "-db"]
    log.clear()
    assert run(looping, tier=tier) == 0
    assert log == ["+db", "entry 1", "-db", "+db", "entry 0", "-db"]


@every_kind
@every_tier
def test_scope_task_is_set_up_for_each_attempt(kind: str, tier: Tier) -> None:
    log = Log()
    db = log.resource("db", kind, "task")
    with pytest.raises(ValueError, match="own"):
        run(fail(cs.inject(db)).with_retry(2), tier=tier)
    assert log == ["+db", "!db ValueError", "-db"] * 2


@every_tier
def test_the_same_resource_asked_for_twice_by_one_call(tier: Tier) -> None:
    log = Log()
    one = log.resource("one", scope="task")
    assert run(use(cs.inject(one), cs.inject(one)), tier=tier) == ["one", "one"]
    assert log == ["+one", "-one"]


def test_an_unknown_scope() -> None:
    with pytest.raises(ValueError, match="'module'"):
        cs.resource(scope="module")  # type: ignore[call-overload]


# --- resources that need resources


@every_tier
@pytest.mark.parametrize("inner_kind", KINDS)
@pytest.mark.parametrize("outer_kind", KINDS)
@pytest.mark.parametrize("inner_scope", ["run", "task"])
@pytest.mark.parametrize("outer_scope", ["run", "task"])
def test_resources_may_need_resources(
    inner_kind: str, outer_kind: str, inner_scope: str, outer_scope: str, tier: Tier
) -> None:
    log = Log()
    inner = log.resource("inner", inner_kind, inner_scope)
    outer = log.resource("outer", outer_kind, outer_scope, needs=cs.inject(inner))
    assert run(use(cs.inject(outer)), tier=tier) == ["outer(inner)"]
    assert log == ["+inner", "+outer", "-outer", "-inner"]


def test_a_resource_that_needs_one_by_name() -> None:
    log = Log()
    outer = log.resource("outer", needs=cs.inject("inner"))

    async def main() -> None:
        async with Engine() as engine:
            engine.register(log.resource("inner"))
            assert await engine.run(use(cs.inject(outer))) == ["outer(inner)"]
            with pytest.raises(cs.ResourceNotFoundError, match=r"resource 'outer' \(declared at .*asks for .*'middle'"):
                await engine.run(use(cs.inject(log.resource("outer", needs=cs.inject("middle")))))

    in_loop(main)


def test_what_two_resources_need_is_set_up_once() -> None:
    log = Log()
    base = log.resource("base")
    left = log.resource("left", needs=cs.inject(base))
    right = log.resource("right", "async", needs=cs.inject(base))
    run([use(cs.inject(left)), use(cs.inject(right))])
    assert log[0] == "+base"
    assert log[-1] == "-base"
    assert sorted(log[1:-1]) == ["+left", "+right", "-left", "-right"]


@pytest.mark.parametrize("first", [["a"], ["b"], ["a", "b"]])
@pytest.mark.parametrize("kind", KINDS)
def test_resources_that_need_each_other_are_an_error(first: list[str], kind: str) -> None:
    log = Log()
    a = log.resource("a", kind, needs=cs.inject("b"))
    b = log.resource("b", kind, needs=cs.inject("a"))

    async def main() -> None:
        async with Engine() as engine:
            engine.register(a)
            engine.register(b)
            with pytest.raises(cs.ResourceNotFoundError, match=r"need each other: [ab] -> [ab] -> [ab]"):
                await asyncio.wait_for(engine.run([use(cs.inject(name)) for name in first]), 30)

    in_loop(main)
    assert log == []


def test_a_resource_that_needs_itself_is_an_error() -> None:
    loop = Log().resource("loop", needs=cs.inject("loop"))
    with pytest.raises(cs.ResourceNotFoundError, match="need each other: loop -> loop"):
        cs.run(use(cs.inject(loop)), resources=[loop], log_level="SILENT")


# --- where they run


def test_sync_generators_run_in_threads_and_async_ones_on_the_loop() -> None:
    places: list[bool] = []
    here = threading.current_thread

    @cs.resource
    def sync() -> Iterator[None]:
        places.append(here() is threading.main_thread())
        yield
        places.append(here() is threading.main_thread())

    @cs.resource
    async def asynchronous() -> AsyncIterator[None]:
        places.append(here() is threading.main_thread())
        yield
        places.append(here() is threading.main_thread())

    run(use(cs.inject(sync), cs.inject(asynchronous)))
    assert places == [False, True, True, False]


def test_resources_work_with_another_executor() -> None:
    log = Log()
    spy = SpyExecutor()
    things = [cs.inject(log.resource("a")), cs.inject(log.resource("b", "async"))]
    assert run(use(*things), executor=spy) == ["a", "b"]
    assert log == ["+a", "+b", "-b", "-a"]
    ((_, args, _),) = spy.calls
    assert args == ("a", "b")


# --- declaring


def test_what_is_no_generator_is_refused_where_it_is_declared() -> None:
    def plain() -> int:
        return 1

    async def plain_async() -> int:
        return 1

    for func in (plain, plain_async, len):
        with pytest.raises(TypeError, match="a resource is a generator function that yields once"):
            cs.resource(func)  # type: ignore[arg-type]


def test_a_parameter_that_nobody_can_give_is_refused_where_it_is_declared() -> None:
    def needy(url: str) -> Iterator[str]:
        yield url

    with pytest.raises(TypeError, match=r"resource 'needy' .* has the parameter 'url', which nobody can give"):
        cs.resource(needy)

    def fine(url: str = "here") -> Iterator[str]:
        yield url

    assert run(use(cs.inject(cs.resource(fine)))) == ["here"]


@pytest.mark.parametrize("wrong", [1, None, len, use])
def test_only_resources_and_names_are_injected_and_only_resources_registered(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"cs.inject takes a resource or its name"):
        cs.inject(wrong)
    with pytest.raises(TypeError, match=r"declared with @cs.resource"):
        Engine().register(wrong)
    with pytest.raises(TypeError, match=r"declared with @cs.resource"):
        cs.run(use(1), resources=[wrong], log_level="SILENT")
