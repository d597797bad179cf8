"""Resources: set up when first needed, torn down once, in reverse order, in every outcome."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import ResourceAcquired, ResourceEvent, ResourceReleased, RunFinished, TaskExecutionStarted
from cascade.spec.resource import Resource
from cascade.testing import SpyExecutor, SpySubscriber
from tests.workflows import Tier, every_tier, in_loop, run, turns

KINDS = ["sync", "async"]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_scope = pytest.mark.parametrize("scope", ["run", "task"])


class Log(list[str]):
    """What happened to resources, and a maker of resources that write it down."""

    def resource(
        self,
        name: str,
        kind: str = "sync",
        scope: Any = "run",
        *,
        broken_in: str = "",
        swallows: bool = False,
        needs: Any = None,
    ) -> Resource:
        """Make a resource whose value is its name; `broken_in` is "set-up" or "teardown"."""

        def begin(needed: Any) -> str:
            self.append(f"+{name}")
            if broken_in == "set-up":
                raise OSError(f"{name} cannot begin")
            return name if needed is None else f"{name}({needed})"

        def caught(error: BaseException) -> None:
            self.append(f"!{name} {type(error).__name__}")

        def end() -> None:
            self.append(f"-{name}")
            if broken_in == "teardown":
                raise OSError(f"{name} cannot end")

        def thing(needed: Any = needs) -> Iterator[str]:
            value = begin(needed)
            try:
                yield value
            except BaseException as error:
                caught(error)
                if not swallows:
                    raise
            finally:
                end()

        async def async_thing(needed: Any = needs) -> AsyncIterator[str]:
            value = begin(needed)
            await asyncio.sleep(0)
            try:
                yield value
            except BaseException as error:
                await asyncio.sleep(0)
                caught(error)
                if not swallows:
                    raise
            finally:
                await asyncio.sleep(0)
                end()

        func: Callable[..., Any] = thing if kind == "sync" else async_thing
        return cs.resource(name=name, scope=scope)(func)


@cs.task
def use(*things: Any) -> Any:
    """Gives what it was given: the things themselves."""
    return list(things)


@cs.task
def fail(*things: Any) -> Any:
    raise ValueError("the task's own")


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


# --- endings


@every_kind
@every_scope
@every_tier
def test_torn_down_in_reverse_after_success(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    asked = [cs.inject(log.resource(name, kind, scope)) for name in "abc"]
    assert run(use(*asked), tier=tier) == ["a", "b", "c"]
    assert log == ["+a", "+b", "+c", "-c", "-b", "-a"]


@every_kind
@every_scope
@every_tier
def test_a_failure_is_thrown_into_them_in_reverse(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    asked = [cs.inject(log.resource(name, kind, scope)) for name in "ab"]
    with pytest.raises(ValueError, match="the task's own") as caught:
        run(fail(*asked), tier=tier)
    assert log == ["+a", "+b", "!b ValueError", "-b", "!a ValueError", "-a"]
    (note,) = caught.value.__notes__
    assert note.startswith("in task fail#1 ")


@every_kind
@every_scope
@every_tier
def test_one_that_swallows_the_failure_does_not_change_the_run(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    asked = [cs.inject(log.resource(name, kind, scope, swallows=True)) for name in "ab"]
    with pytest.raises(ValueError, match="the task's own") as caught:
        run(fail(*asked), tier=tier)
    assert log == ["+a", "+b", "!b ValueError", "-b", "!a ValueError", "-a"]
    assert len(caught.value.__notes__) == 1


@every_kind
@every_scope
@every_tier
def test_a_failing_teardown_fails_what_had_succeeded(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    bus = MessageBus()
    spy = SpySubscriber(bus)
    names = [("a", ""), ("b", "teardown"), ("c", "")]
    asked = [cs.inject(log.resource(name, kind, scope, broken_in=broken)) for name, broken in names]
    with pytest.raises(OSError, match="b cannot end"):
        run(use(*asked), tier=tier, bus=bus)
    assert [word for word in log if word[0] != "!"] == ["+a", "+b", "+c", "-c", "-b", "-a"]
    (finished,) = spy.events_of_type(RunFinished)
    assert (finished.status, finished.error) == ("Failed", "OSError: b cannot end")


@every_kind
@every_scope
@every_tier
def test_a_failing_teardown_is_a_note_on_a_failure(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    asked = [cs.inject(log.resource(name, kind, scope, broken_in="teardown")) for name in "ab"]
    with pytest.raises(ValueError, match="the task's own") as caught:
        run(fail(*asked), tier=tier)
    assert log == ["+a", "+b", "!b ValueError", "-b", "!a ValueError", "-a"]
    assert "besides, a resource failed in its teardown: OSError: b cannot end" in caught.value.__notes__


@every_kind
@every_scope
@every_tier
def test_a_failing_set_up_fails_the_call_and_tears_down_what_was_there(kind: str, scope: str, tier: Tier) -> None:
    log = Log()
    bus = MessageBus()
    spy = SpySubscriber(bus)
    first = log.resource("first", kind, scope)
    broken = log.resource("broken", kind, scope, broken_in="set-up")
    with pytest.raises(OSError, match="broken cannot begin") as caught:
        run(use(cs.inject(first), cs.inject(broken)), tier=tier, bus=bus)
    assert log == ["+first", "+broken", "!first OSError", "-first"]
    assert any(note.startswith("in task use#1 (declared at ") for note in caught.value.__notes__)
    kinds = [(type(event), event.resource_name) for event in spy.events_of_type(ResourceEvent)]
    assert kinds == [(ResourceAcquired, "first"), (ResourceReleased, "first")]


@every_kind
@pytest.mark.parametrize("inner_scope", ["run", "task"])
@pytest.mark.parametrize("outer_scope", ["run", "task"])
def test_a_failing_set_up_tears_down_what_it_needed(kind: str, inner_scope: str, outer_scope: str) -> None:
    log = Log()
    inner = log.resource("inner", kind, inner_scope)
    outer = log.resource("outer", kind, outer_scope, needs=cs.inject(inner), broken_in="set-up")
    with pytest.raises(OSError, match="outer cannot begin"):
        run(use(cs.inject(outer)))
    assert log == ["+inner", "+outer", "!inner OSError", "-inner"]


@every_kind
def test_a_failing_set_up_that_several_wait_for_fails_with_one_note(kind: str) -> None:
    broken = Log().resource("broken", kind, broken_in="set-up")
    with pytest.raises(OSError, match="broken cannot begin") as caught:
        run([use(cs.inject(broken)) for _ in range(3)])
    (note,) = caught.value.__notes__
    assert note.startswith("in task use#1 ")


@every_kind
@every_tier
def test_a_retry_sets_up_again_what_failed_to_set_up(kind: str, tier: Tier) -> None:
    attempts = 0

    def flaky() -> Iterator[str]:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ConnectionError
        yield "connected"

    async def flaky_async() -> AsyncIterator[str]:
        for value in flaky():
            yield value

    provided = cs.resource(name="db")(flaky if kind == "sync" else flaky_async)
    assert run(use(cs.inject(provided)).with_retry(3), tier=tier) == ["connected"]
    assert attempts == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@every_kind
@every_scope
@pytest.mark.parametrize("phase", ["set-up", "teardown"])
def test_an_end_of_the_process_in_a_resource_ends_the_run(error: Any, kind: str, scope: Any, phase: str) -> None:
    def ending() -> Iterator[None]:
        if phase == "set-up":
            raise error("bye")
        yield
        raise error("bye")

    async def async_ending() -> AsyncIterator[None]:
        if phase == "set-up":
            raise error("bye")
        yield
        raise error("bye")

    log = Log()
    bus = MessageBus()
    spy = SpySubscriber(bus)
    ends = cs.resource(name="ends", scope=scope)(ending if kind == "sync" else async_ending)
    with pytest.raises(error, match="bye"):
        run(use(cs.inject(log.resource("it", kind, scope)), cs.inject(ends)), bus=bus)
    assert [word for word in log if word[0] != "!"] == ["+it", "-it"]
    (finished,) = spy.events_of_type(RunFinished)
    assert finished.status == "Cancelled"


@every_kind
@every_scope
def test_a_teardown_may_reset_what_its_set_up_set(kind: str, scope: Any) -> None:
    """A context variable can be reset only in the context that it was set in."""
    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen: list[str] = []

    def setting() -> Iterator[None]:
        token = variable.set("set")
        try:
            yield
        finally:
            seen.append(variable.get())
            variable.reset(token)

    async def async_setting() -> AsyncIterator[None]:
        for _ in setting():
            yield

    run(use(cs.inject(cs.resource(name="it", scope=scope)(setting if kind == "sync" else async_setting))))
    assert seen == ["set"]


@every_kind
@every_scope
@every_tier
def test_a_generator_that_yields_twice(kind: str, scope: Any, tier: Tier) -> None:
    ends = []

    def twice() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ends.append("end")

    async def twice_async() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ends.append("end")

    two = cs.resource(name="two", scope=scope)(twice if kind == "sync" else twice_async)
    with pytest.raises(RuntimeError, match=r"resource 'two' \(declared at .*test_resources.*yielded twice; it yields"):
        run(use(cs.inject(two)), tier=tier)
    gc.collect()
    assert ends == ["end"]


@every_kind
@every_scope
@every_tier
def test_a_generator_that_never_yields(kind: str, scope: Any, tier: Tier) -> None:
    def never() -> Iterator[int]:
        if ():
            yield 1

    async def never_async() -> AsyncIterator[int]:
        if ():
            yield 1

    none = cs.resource(name="none", scope=scope)(never if kind == "sync" else never_async)
    with pytest.raises(RuntimeError, match=r"resource 'none' \(declared at .*test_resources.*ended without a yield"):
        run(use(cs.inject(none)), tier=tier)


@every_kind
@every_scope
@every_tier
def test_a_cancel_is_thrown_into_them(kind: str, scope: str, tier: Tier) -> None:
    log = Log()

    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def stay(*things: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        async with Engine(tier=tier) as engine:
            asked = [cs.inject(log.resource(name, kind, scope)) for name in "ab"]
            run = engine.start(stay(*asked))
            await begun.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"

    in_loop(main)
    assert log == ["+a", "+b", "!b CancelledError", "-b", "!a CancelledError", "-a"]


@every_kind
@every_scope
@every_tier
def test_a_sibling_that_fails_tears_down_what_is_in_use(kind: str, scope: str, tier: Tier) -> None:
    log = Log()

    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def stay(*things: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        @cs.task
        async def fail_then() -> None:
            await begun.wait()
            raise ValueError("sibling")

        async with Engine(tier=tier) as engine:
            with pytest.raises(ValueError, match="sibling"):
                await engine.run([stay(cs.inject(log.resource("it", kind, scope))), fail_then()])

    in_loop(main)
    assert log == ["+it", "!it CancelledError" if scope == "task" else "!it ValueError", "-it"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@every_kind
@every_scope
def test_an_end_of_the_process_is_thrown_into_them(error: Any, kind: str, scope: str) -> None:
    log = Log()

    @cs.task(mode="inline")
    def end(it: Any) -> None:
        raise error

    with pytest.raises(error):
        run(end(cs.inject(log.resource("it", kind, scope))))
    assert log == ["+it", f"!it {error.__name__}", "-it"]


class Stuck:
    """A resource with a place where it stays until it is let on."""

    def __init__(self, kind: str, scope: str, stays_in: str) -> None:
        self.log: list[str] = []
        self.stays_in = stays_in
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.resource = cs.resource(name="stuck", scope=scope)(self.sync if kind == "sync" else self.asynchronous)  # type: ignore[call-overload]

    def stay(self, where: str) -> bool:
        if where == self.stays_in:
            self.entered.set()
            return True
        return False

    def sync(self) -> Iterator[str]:
        if self.stay("set-up"):
            self.go_on.wait()
        self.log.append("+")
        try:
            yield "stuck"
        finally:
            if self.stay("teardown"):
                self.go_on.wait()
            self.log.append("-")

    async def asynchronous(self) -> AsyncIterator[str]:
        if self.stay("set-up"):
            await self.wait()
        self.log.append("+")
        try:
            yield "stuck"
        finally:
            if self.stay("teardown"):
                await self.wait()
            self.log.append("-")

    async def wait(self) -> None:
        while not self.go_on.is_set():
            await asyncio.sleep(0)

    async def until_entered(self) -> None:
        while not self.entered.is_set():
            await asyncio.sleep(0)


@every_scope
@every_tier
def test_a_set_up_that_ends_after_the_cancel_is_torn_down(scope: str, tier: Tier) -> None:
    """In a thread it cannot be stopped, so it is waited for."""
    stuck = Stuck("sync", scope, "set-up")

    async def main() -> None:
        async with Engine(tier=tier, thread_grace=60) as engine:
            run = engine.start(use(cs.inject(stuck.resource)))
            await stuck.until_entered()
            run.cancel()
            await turns()
            assert run.status == "Running"
            stuck.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert stuck.log == ["+", "-"]

    in_loop(main)


@every_scope
@every_tier
def test_an_async_set_up_is_cancelled(scope: Any, tier: Tier) -> None:
    log = []

    @cs.resource(scope=scope)
    async def slow() -> AsyncIterator[None]:
        log.append("begun")
        try:
            await asyncio.Event().wait()
            yield
        finally:
            log.append("ended")

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            run = engine.start(use(cs.inject(slow)))
            while not log:
                await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)
    assert log == ["begun", "ended"]


@every_scope
@every_tier
@every_kind
def test_a_cancel_does_not_cut_a_teardown_short(kind: str, scope: str, tier: Tier) -> None:
    stuck = Stuck(kind, scope, "teardown")

    async def main() -> None:
        async with Engine(tier=tier, thread_grace=60) as engine:
            run = engine.start(use(cs.inject(stuck.resource)))
            await stuck.until_entered()
            run.cancel()
            await turns()
            run.cancel()
            await turns()
            assert stuck.log == ["+"]
            stuck.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"

    in_loop(main)
    assert stuck.log == ["+", "-"]


@every_kind
def test_a_failing_sibling_does_not_cut_a_teardown_short(kind: str) -> None:
    stuck = Stuck(kind, "task", "teardown")

    @cs.task
    async def fail_then() -> None:
        await stuck.until_entered()
        raise ValueError("sibling")

    async def main() -> None:
        async with Engine(thread_grace=60) as engine:
            run = engine.start([use(cs.inject(stuck.resource)), fail_then()])
            await stuck.until_entered()
            await turns()
            assert run.status == "Running"
            stuck.go_on.set()
            with pytest.raises(ValueError, match="sibling"):
                await run

    in_loop(main)
    assert stuck.log == ["+", "-"]


def test_a_cancel_while_tear_down_waits_for_a_thread_still_tears_down() -> None:
    """The one worker thread is busy with another run's call while a sync resource is to be torn down."""
    log = Log()
    release = threading.Event()
    begun = threading.Event()

    @cs.task(mode="blocking")
    def hold() -> None:
        begun.set()
        release.wait()

    async def main() -> None:
        async with Engine(executor=LocalExecutor(blocking_threads=1), thread_grace=60) as engine:

            @cs.task
            async def then_busy(it: Any) -> None:
                engine.start(hold())
                while not begun.is_set():
                    await asyncio.sleep(0)
                left.set()

            left = asyncio.Event()
            run = engine.start(then_busy(cs.inject(log.resource("it"))))
            await left.wait()
            await turns()
            run.cancel()
            await turns()
            release.set()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)
    assert log == ["+it", "-it"]


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


# --- events


@every_kind
@every_scope
@every_tier
def test_each_set_up_and_teardown_is_an_event(kind: str, scope: str, tier: Tier) -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    run(use(cs.inject(Log().resource("db", kind, scope))), tier=tier, bus=bus)
    words = [type(event).__name__ for event in spy.events]
    last = ["TaskExecutionFinished", "ResourceReleased"]
    first = ["RunStarted", "TaskExecutionStarted", "ResourceAcquired"]
    assert words == [*first, *(last if scope == "run" else last[::-1]), "RunFinished"]
    assert {event.resource_name for event in spy.events_of_type(ResourceEvent)} == {"db"}
    assert len({event.event_id for event in spy.events}) == len(words)


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


# --- overriding


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
