"""Errors as they are: whatever the class of an exception allows, a run gives out the one that was raised."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import product
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.crossing import carry_out, pack_call, unpack_outcome
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import RunFinished
from cascade.spec.contexts import contextmanager
from cascade.spec.notes import MOST_RAISES, note_more, notes_of, spelled
from tests.runtime.test_failures import PLACES, failing, placed
from tests.workflows import Tier, every_tier, in_loop, run

TIERS: list[Tier] = ["interpret", "auto", "compile"]


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots(Exception):
    code: int


class NoAttributes(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set")


class NoNotes(Exception):
    def add_note(self, note: str) -> None:
        raise TypeError("no notes here")


class OddNotes(Exception):
    __notes__ = "not a list"  # type: ignore[assignment]


class FixedNotes(Exception):
    __notes__ = ("of the class",)  # type: ignore[assignment]


class Unreadable(Exception):
    def __getattribute__(self, name: str) -> Any:
        if name == "__notes__":
            raise RuntimeError("not for you")
        return super().__getattribute__(name)


class Untold(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        raise RuntimeError("no form")


class Incomparable(Exception):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    def __hash__(self) -> int:
        raise RuntimeError("not hashable")

    def __bool__(self) -> bool:
        raise RuntimeError("neither")


class Falsy(Exception):
    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


CLASSES: list[Callable[[], BaseException]] = [
    lambda: Frozen(404),
    lambda: FrozenSlots(code=404),
    lambda: NoAttributes("x"),
    lambda: NoNotes("x"),
    lambda: OddNotes("x"),
    lambda: FixedNotes("x"),
    lambda: Unreadable("x"),
    lambda: Untold("x"),
    lambda: Incomparable("x"),
    lambda: Falsy(),
    lambda: ExceptionGroup("several", [Frozen(1), Untold()]),
]
NAMES = [
    *("Frozen", "FrozenSlots", "NoAttributes", "NoNotes", "OddNotes", "FixedNotes"),
    *("Unreadable", "Untold", "Incomparable", "Falsy", "Group"),
]
every_class = pytest.mark.parametrize("make", CLASSES, ids=NAMES)
each = pytest.mark.parametrize(
    ("make", "tier"),
    [(make, tier) for at, make in enumerate(CLASSES) for tier in (TIERS if at == 0 else [TIERS[at % 3]])],
)
TAKES_NOTES = ("Untold", "Incomparable", "Falsy", "ExceptionGroup")


def raised_by(target: Any, tier: Tier, **options: Any) -> BaseException:
    """What a run on an engine of its own ended with. (Caught in the loop: asyncio's own runner asks for its repr.)"""

    async def main() -> BaseException | None:
        try:
            async with Engine(tier=tier, **options) as engine:
                await engine.run(target)
        except BaseException as error:
            return error
        return None

    error = in_loop(main)
    assert error is not None
    return error


@every_class
def test_it_comes_out_of_every_place(make: Callable[[], BaseException]) -> None:
    for at, (place, kind) in enumerate(product(PLACES, ("async", "inline", "blocking"))):
        for tier in TIERS if make is CLASSES[0] else [TIERS[at % 3]]:
            errors: list[BaseException] = []

            def fail(errors: list[BaseException] = errors) -> BaseException:
                errors.append(make())
                return errors[-1]

            target, task_id, _ = placed(failing(fail, kind), place)
            error = raised_by(target, tier)
            assert error is errors[0]
            told = [note for note in notes_of(error) if note.startswith(f"in task {task_id} (declared at ")]
            assert len(told) == (1 if type(error).__name__ in TAKES_NOTES else 0)


@each
def test_maps_collect_and_skip_it(make: Callable[[], BaseException], tier: Tier) -> None:
    for kind in ("async", "inline", "blocking"):
        task = failing(make, kind, 1)
        before, failed, after = run(task.map(n=[0, 1, 2], on_error="collect"), tier=tier)
        assert (before, after) == (0, 2)
        assert type(failed.error) is type(make())
        assert repr(failed).startswith("Failed(")
        assert run(task.map(n=[0, 1, 2], on_error="skip"), tier=tier) == [0, 2]
        assert type(raised_by(task.map(n=[1, 1], on_error="collect", max_errors=1), tier)) is type(make())


@each
def test_policies_take_it_as_it_is(make: Callable[[], BaseException], tier: Tier) -> None:
    errors: list[BaseException] = []

    @cs.task
    def fail() -> None:
        errors.append(make())
        raise errors[-1]

    asked: list[BaseException] = []

    def on(error: Exception) -> bool:
        asked.append(error)
        return True

    for target in (
        fail().with_retry(3, on=on),
        cs.subflow(fail()).with_retry(3, on=on),
        cs.subflow(fail().with_retry(3, on=on)),
    ):
        errors.clear()
        asked.clear()
        error = raised_by(target, tier)
        assert len(errors) == 3
        assert error is errors[2]
        assert [id(each) for each in asked] == [id(each) for each in errors[:2]]
    for target in (
        fail().with_timeout(5),
        fail().with_cache(cs.cached()),
        fail().with_constraints(gpu=1),
        cs.subflow(fail()).with_cache(cs.cached()).with_timeout(5),
    ):
        errors.clear()
        assert raised_by(target, tier) is errors[0]


@each
def test_it_comes_from_what_surrounds_a_call(make: Callable[[], BaseException], tier: Tier) -> None:
    errors: list[BaseException] = []

    def fail(*_: Any) -> Any:
        errors.append(make())
        raise errors[-1]

    class Odd:
        __bool__ = fail

    @cs.task
    def odd() -> Odd:
        return Odd()

    @cs.task
    def work(x: Any = None) -> Any:
        return x

    def items() -> Iterator[int]:
        yield 1
        fail()

    async def stream() -> AsyncIterator[int]:
        yield 1
        fail()

    @cs.task
    def broken() -> None:
        fail()

    for target in (
        work().run_if(odd()),
        work.map(x=items()),
        work.map(x=stream()),
        broken().with_retry(2, on=fail),
        cs.subflow(work().run_if(odd())),
    ):
        errors.clear()
        assert raised_by(target, tier) is errors[-1]


@each
@pytest.mark.parametrize("scope", ["run", "task", "engine"])
def test_it_comes_out_of_resources(make: Callable[[], BaseException], tier: Tier, scope: Any) -> None:
    errors: list[BaseException] = []

    def fail() -> None:
        errors.append(make())
        raise errors[-1]

    @cs.resource(scope=scope)
    def open_fails() -> Iterator[int]:
        fail()
        yield 1

    @cs.resource(scope=scope)
    async def close_fails() -> AsyncIterator[int]:
        yield 1
        fail()

    @cs.resource(scope=scope)
    def plain() -> Iterator[int]:
        yield 1

    @cs.resource(scope=scope)
    async def plain_async() -> AsyncIterator[int]:
        yield 1

    @cs.task
    def use(r: Any, broken: bool = False) -> Any:
        if broken:
            fail()
        return r

    for target in (
        use(cs.inject(open_fails)),
        use(cs.inject(close_fails)),
        use(cs.inject(plain), True),
        use(cs.inject(plain_async), True),
    ):
        errors.clear()
        assert raised_by(target, tier) is errors[0]


def test_a_failing_teardown_is_told_in_the_log_where_the_error_takes_no_note(caplog: pytest.LogCaptureFixture) -> None:
    @cs.resource(scope="task")
    def broken() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("cannot end")

    @cs.task
    def use(r: int) -> None:
        raise Frozen(1)

    assert raised_by(use(cs.inject(broken)), "auto") == Frozen(1)
    assert "besides, a resource failed in its teardown: OSError: cannot end" in caplog.text


@every_tier
def test_the_end_of_the_run_says_where_it_came_from(tier: Tier) -> None:
    bus, told = MessageBus(), []
    bus.subscribe(RunFinished, lambda event: told.append(event.error))
    for make, takes in ((lambda: Frozen(404), False), (lambda: ValueError("x"), True)):
        raised_by(failing(make, "inline")(0), tier, bus=bus)
        assert ("(in task broken#1 (declared at " in told[-1]) is not takes


def test_a_debug_log_has_the_note_that_was_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "cascade"):
        raised_by(failing(lambda: Frozen(1), "inline")(0), "auto")
    assert "Frozen takes no note: in task broken#1 (declared at " in caplog.text


@each
def test_it_comes_out_of_a_script_and_stays_with_a_handler(make: Callable[[], BaseException], tier: Tier) -> None:
    error = make()
    try:
        cs.run(failing(lambda: error, "inline")(0), log_level="SILENT")
    except BaseException as raised:
        found: BaseException | None = raised
    else:
        found = None
    assert found is error
    bus = MessageBus()

    def handler(event: Any) -> None:
        raise make()

    bus.subscribe(RunFinished, handler)
    assert run(failing(make, "inline")(1), tier=tier, bus=bus) == 1


def test_a_context_manager_leaves_what_passes_as_it_is() -> None:
    @contextmanager
    def around() -> Iterator[int]:
        yield 1

    for error in (*(make() for make in CLASSES), StopIteration(), StopAsyncIteration(), ValueError("x")):
        with pytest.raises(type(error)) as caught, around():
            raise error
        assert caught.value is error
        assert length_of(error) == 1
    with around():
        pass


def length_of(error: BaseException) -> int:
    length, trace = 0, error.__traceback__
    while trace is not None:
        length, trace = length + 1, trace.tb_next
    return length


# --- an object that is raised again and again

SHARED = ValueError("one for all")


@cs.task
def shared(n: int, error: BaseException) -> int:
    raise error


@cs.task
async def shared_async(n: int, error: BaseException) -> int:
    raise error


@every_tier
@pytest.mark.parametrize("task", [shared, shared_async])
def test_a_shared_error_has_the_notes_of_the_last_time(tier: Tier, task: Any) -> None:
    for make in (lambda: ValueError("one"), lambda: Frozen(1)):
        error: Any = make()
        error_task = task.partial(error=error).map(n=range(30), on_error="collect")
        targets = [
            error_task,
            task(1, error),
            cs.subflow(task(1, error)).with_retry(3),
            cs.subflow(task.partial(error=error).map(n=[1])),
            task(1, error).with_retry(5),
        ]
        lengths = []
        for _ in range(10):
            for target in targets:
                with contextlib.suppress(type(error)):
                    run(target, tier=tier)
            notes = notes_of(error)
            assert len(notes) <= 2
            lengths.append(length_of(error))
            seen, context = set(), error.__context__
            while context is not None:
                assert id(context) not in seen
                seen.add(id(context))
                context = context.__context__
            assert len(seen) <= 1
        assert max(lengths) <= max(2100 * isinstance(error, Frozen), MOST_RAISES * 30)
        if notes:
            assert notes[-1].startswith(f"in task {task.name}#1 (declared at ")


@every_tier
def test_a_shared_error_is_of_the_node_that_raised_it_last(tier: Tier) -> None:
    error = ValueError("shared")

    @cs.task(mode="inline")
    def maybe(n: int, at: int) -> int:
        if n == at:
            raise error
        return n + 1

    async def runs() -> None:
        async with Engine(tier=tier) as engine:
            where = cs.Param("at", type=int)
            chain = maybe(maybe(maybe(0, where), where), where)
            for _ in range(3):
                for at in (0, 1, 2):
                    with pytest.raises(ValueError, match="shared") as caught:
                        await engine.run(chain, {"at": at})
                    assert len(caught.value.__notes__) == 1
                    assert caught.value.__notes__[0].startswith(f"in task maybe#{at + 1} (declared at ")

    asyncio.run(runs())


def test_the_notes_of_others_stay() -> None:
    error = ValueError("noted")
    error.add_note("theirs")
    for _ in range(3):
        raised_by(shared(1, error), "auto")
        error.add_note("between")
    theirs = [note for note in error.__notes__ if not note.startswith("in task shared#1")]
    assert theirs == ["theirs", "between", "between", "between"]
    assert len(error.__notes__) == 5


def test_notes_of_ours_have_an_end() -> None:
    error = ValueError("x")
    for number in range(100):
        note_more(error, f"besides {number}")
        note_more(error, f"besides {number}")
    assert len(error.__notes__) == 32
    assert error.__notes__[-1] == "besides 99"
    assert spelled(Untold()) == "Untold: (its message cannot be had: RuntimeError)"


# --- out of a process


class TwoArguments(Exception):
    def __init__(self, first: int, *, second: int) -> None:
        super().__init__(f"{first} {second}")
        self.first, self.second = first, second


def far(which: int) -> None:
    makers: list[Callable[[], BaseException]] = [
        lambda: Frozen(404),
        lambda: Frozen(code=404),
        lambda: FrozenSlots(404),
        lambda: FrozenSlots(code=404),
        lambda: NoAttributes("x"),
        lambda: NoNotes("x"),
        lambda: OddNotes("x"),
        lambda: TwoArguments(1, second=2),
        lambda: ExceptionGroup("several", [Frozen(code=1), ExceptionGroup("inner", [TwoArguments(3, second=4)])]),
        lambda: Untold("x"),
    ]
    raise makers[which]()


def test_it_crosses_from_a_process() -> None:
    errors: list[Any] = []
    for which in range(10):
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            unpack_outcome("far", carry_out(pack_call("far", far, (which,), {})))
        errors.append(caught.value)
    assert [type(each) for each in errors] == [
        *(Frozen, Frozen, FrozenSlots, FrozenSlots, NoAttributes, NoNotes, OddNotes, TwoArguments),
        *(ExceptionGroup, Untold),
    ]
    assert [each.code for each in errors[:4]] == [404] * 4
    assert errors[4].args == ("x",)
    assert (errors[7].first, errors[7].second, str(errors[7])) == (1, 2, "1 2")
    group = errors[8]
    assert group.exceptions[0] == Frozen(1)
    assert group.exceptions[1].exceptions[0].second == 4
    for error in errors:
        assert type(error.__cause__).__name__ == "RemoteTraceback"
