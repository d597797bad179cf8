"""Cancelling: wherever a run is, it ends, and nothing that can be stopped is left running."""

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine
from cascade.runtime.events import (
    RunFinished,
    RunStarted,
    RunWarning,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
)
from cascade.testing import SpySubscriber
from tests.helpers import run_python
from tests.workflows import Tier, every_tier, in_loop, turns

PLACES = [
    "async",
    "async that minds its end",
    "thread",
    "auto",
    "async loop",
    "inline loop",
    "tail calls",
    "thread loop",
    "feed of a loop",
    "map",
    "map with concurrency",
    "inline map",
    "map of loops",
    "loop around a map",
    "sub-flow",
    "retry wait",
    "constraints",
    "constraints of items",
    "async set-up",
    "sync set-up",
    "async task set-up",
    "iterable of a map",
]
every_place = pytest.mark.parametrize("place", PLACES)
WAYS = ["run", "task", "thread", "id", "id from a thread", "id of a run that is awaited"]
every_way = pytest.mark.parametrize("way", WAYS)


class Scene:
    """A target that comes to some place and stays there for ever, threads until `release` is set."""

    def __init__(self, place: str) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.ended = 0
        self.target = self._targets()[place]()

    async def until_begun(self) -> None:
        while not self.begun.is_set():
            await asyncio.sleep(0)

    def _targets(self) -> dict[str, Callable[[], Any]]:
        @cs.task
        async def stay(x: int = 0) -> None:
            self.begun.set()
            await asyncio.Event().wait()

        @cs.task
        async def stay_and_end(x: int = 0) -> None:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await turns(3)
                self.ended += 1

        def block(x: int = 0) -> None:
            self.begun.set()
            self.release.wait()

        @cs.task
        async def ping(x: int) -> cs.Jump:
            if x > 100:
                self.begun.set()
            await asyncio.sleep(0)
            return cs.Jump("again", x + 1)

        def spin(x: int) -> cs.Jump:
            if x > 1000:
                self.begun.set()
            return cs.Jump("again", x + 1)

        @cs.task(mode="inline")
        def tail(x: int) -> cs.TailCall:
            if x > 1000:
                self.begun.set()
            return cs.TailCall(args=[x + 1])

        @cs.task(mode="inline")
        def fed(x: Any, n: int) -> cs.Jump:
            return cs.Jump("again", {"n": n + 1})

        @cs.task(mode="inline")
        def count(x: int) -> int:
            if x > 1000:
                self.begun.set()
            return x

        def endless() -> Iterator[int]:
            x = 0
            while not self.release.is_set():
                yield (x := x + 1)

        async def endless_async() -> AsyncIterator[int]:
            for x in endless():
                if x > 1000:
                    self.begun.set()
                await asyncio.sleep(0)
                yield x

        @cs.task
        async def fail() -> None:
            self.begun.set()
            raise ConnectionError

        @cs.task
        async def use(it: Any) -> None: ...

        async def never() -> AsyncIterator[None]:
            self.begun.set()
            await asyncio.Event().wait()
            yield

        @cs.resource
        def blocked() -> Iterator[None]:
            block()
            yield

        def loop(target: Any) -> Any:
            return cs.bind(target, cs.select_jump({"again": target, "exit": None}))

        inline, threaded = cs.task(mode="inline")(spin), cs.task(mode="blocking")(spin)

        def around_a_map() -> Any:
            @cs.task
            async def step(n: int, items: Any) -> cs.Jump:
                return cs.Jump("again", {"n": n + 1})

            @cs.task
            async def item(x: int) -> int:
                if x:
                    self.begun.set()
                await asyncio.sleep(0)
                return x

            return loop(step(0, item.map(x=[1, 2])))

        return {
            "async": lambda: stay(),
            "async that minds its end": lambda: [stay_and_end(), stay_and_end(1)],
            "thread": lambda: cs.task(mode="blocking", name="block")(block)(),
            "auto": lambda: cs.task(name="block")(block)(),
            "async loop": lambda: loop(ping(0)),
            "inline loop": lambda: loop(inline(0)),
            "tail calls": lambda: tail(0),
            "thread loop": lambda: loop(threaded(0)),
            "feed of a loop": lambda: loop(fed(stay(), 0)),
            "map": lambda: stay.map(x=range(100)),
            "map with concurrency": lambda: stay.map(x=range(100), concurrency=3),
            "inline map": lambda: count.map(x=range(10_000_000)),
            "map of loops": lambda: loop(ping.map(x=[1, 2, 3])),
            "loop around a map": around_a_map,
            "sub-flow": lambda: cs.subflow([stay(), cs.subflow(stay())]),
            "retry wait": lambda: fail().with_retry(9, delay=3600),
            "constraints": lambda: [stay(n).with_constraints(seat=1) for n in range(3)],
            "constraints of items": lambda: stay.map(x=range(3)).with_constraints(seat=1),
            "async set-up": lambda: use(cs.inject(cs.resource(never))),
            "sync set-up": lambda: use(cs.inject(blocked)),
            "async task set-up": lambda: use(cs.inject(cs.resource(scope="task")(never))),
            "iterable of a map": lambda: use.map(it=endless_async()),
        }


async def cancel(engine: Engine, scene: Scene, way: str) -> None:
    """Run a scene until it stays where it stays, and cancel it in some way."""
    if way == "task":
        task = asyncio.ensure_future(engine.run(scene.target, run_id="it"))
        await scene.until_begun()
        task.cancel()
        scene.release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return
    if way == "id of a run that is awaited":
        await cancel_by_id(engine, scene)
        return
    run = engine.start(scene.target, run_id="it")
    await scene.until_begun()
    if way == "run":
        run.cancel()
    elif way == "id":
        assert engine.cancel("it") is True
    else:
        thread = threading.Thread(target=run.cancel if way == "thread" else lambda: engine.cancel("it"))
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0)
    scene.release.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert run.status == "Cancelled"


async def cancel_by_id(engine: Engine, scene: Scene) -> None:
    """Cancel a run that a task awaits in place: that task is not cancelled, and may go on."""
    went_on = False

    async def await_it() -> None:
        nonlocal went_on
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(asyncio.CancelledError):
            await engine.run(scene.target, run_id="it")
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        went_on = True

    task = asyncio.ensure_future(await_it())
    await scene.until_begun()
    assert engine.cancel("it") is True
    scene.release.set()
    await task
    assert went_on


@every_tier
@every_way
@every_place
def test_a_cancelled_run_ends_wherever_it_is(place: str, way: str, tier: Tier) -> None:
    scene = Scene(place)

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}, thread_grace=60) as engine:
            ends: list[RunFinished] = []
            engine.bus.subscribe(RunFinished, ends.append)
            await cancel(engine, scene, way)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            ((status, error),) = [(event.status, event.error) for event in ends]
            assert (status, error) == ("Cancelled", "CancelledError: ")
            assert await engine.run(cs.task(len)("abc").with_constraints(seat=1)) == 3

    in_loop(main)
    assert scene.ended == (2 if place == "async that minds its end" else 0)


@every_tier
@pytest.mark.parametrize("place", [place for place in PLACES if place not in ("inline map", "map with concurrency")])
def test_a_cancelled_run_ends_each_call_that_it_started(place: str, tier: Tier) -> None:
    scene = Scene(place)

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}, thread_grace=60) as engine:
            spy = SpySubscriber(engine.bus)
            await cancel(engine, scene, "run")
            begun = [(event.task_id, event.iteration) for event in spy.events_of_type(TaskExecutionStarted)]
            ended = [(event.task_id, event.iteration) for event in spy.events_of_type(TaskExecutionFinished)]
            if place == "retry wait":
                (end,) = spy.events_of_type(TaskExecutionFinished)
                assert end.error == "CancelledError: "
            assert sorted(begun) == sorted(ended)
            assert len(set(begun)) == len(begun)
            assert {event.status for event in spy.events_of_type(TaskExecutionFinished)} <= {"Succeeded", "Cancelled"}
            assert spy.events[-1] == spy.events_of_type(RunFinished)[0]

    in_loop(main)


@every_way
@every_place
def test_asyncio_has_nothing_to_warn_of(place: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its debug mode also raises for each call into the loop from a thread that is not the loop's."""
    scene = Scene(place)

    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 60
        async with Engine(system_resources={"seat": 1}, thread_grace=60) as engine:
            await cancel(engine, scene, way)

    with caplog.at_level(logging.DEBUG, "cascade"), caplog.at_level(logging.WARNING, "asyncio"):
        asyncio.run(main(), debug=True)
        gc.collect()
    assert [record.getMessage() for record in caplog.records] == []


# --- the ways


def stay_target() -> tuple[Any, asyncio.Event]:
    begun = asyncio.Event()

    @cs.task
    async def stay() -> None:
        begun.set()
        await asyncio.Event().wait()

    return stay(), begun


def test_a_run_cancelled_before_it_began_ends_without_an_event() -> None:
    async def main() -> None:
        async with Engine() as engine:
            spy = SpySubscriber(engine.bus)
            target, begun = stay_target()
            run = engine.start(target)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"
            assert not begun.is_set()
            assert spy.events == []

    in_loop(main)


def test_cancelling_by_an_id_that_no_run_has_says_so() -> None:
    async def main() -> None:
        async with Engine() as engine:
            assert engine.cancel("unknown") is False
            target, begun = stay_target()
            run = engine.start(target, run_id="it")
            assert engine.cancel("it") is True
            assert engine.cancel("it") is True
            with pytest.raises(asyncio.CancelledError):
                await run
            assert (run.status, begun.is_set()) == ("Cancelled", False)
            assert engine.cancel("it") is False
            assert await engine.run(cs.task(len)("abc"), run_id="it") == 3
            assert engine.cancel("it") is False

    in_loop(main)


def test_cancelling_by_id_leaves_other_runs_alone() -> None:
    async def main() -> None:
        async with Engine() as engine:
            targets = [stay_target() for _ in range(3)]
            runs = [engine.start(target, run_id=f"run {n}") for n, (target, _) in enumerate(targets)]
            for _, begun in targets:
                await begun.wait()
            assert engine.cancel("run 1")
            with pytest.raises(asyncio.CancelledError):
                await runs[1]
            assert [run.status for run in runs] == ["Running", "Cancelled", "Running"]
            for run in (runs[0], runs[2]):
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run

    in_loop(main)


@every_tier
def test_a_task_may_cancel_its_run_by_id_and_its_caller_goes_on(tier: Tier) -> None:
    """Nothing is awaited between the cancel and the end of the run."""

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            give_up = cs.task(mode="inline")(lambda: engine.cancel("it"))
            with pytest.raises(asyncio.CancelledError):
                await engine.run(give_up(), run_id="it")
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(0)
            assert await engine.run(cs.task(len)("abc")) == 3

    in_loop(main)


@every_tier
def test_a_cancel_of_the_awaiting_task_is_its_own_whatever_ends_the_run(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            target, begun = stay_target()
            task = asyncio.ensure_future(engine.run(target, run_id="it"))
            await begun.wait()
            task.cancel()
            assert engine.cancel("it") is True
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert task.cancelling() == 1

    in_loop(main)


def test_cancelling_by_id_after_the_loop_has_ended_is_nothing() -> None:
    engine = Engine()

    async def main() -> None:
        assert await engine.run(cs.task(len)("abc"), run_id="it") == 3

    asyncio.run(main())
    assert engine.cancel("it") is False


def test_cancelling_twice_or_after_the_end_changes_nothing() -> None:
    async def main() -> None:
        async with Engine() as engine:
            target, begun = stay_target()
            run = engine.start(target)
            await begun.wait()
            run.cancel()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            run.cancel()
            assert run.status == "Cancelled"
            done = engine.start(cs.task(len)("abc"))
            assert await done == 3
            done.cancel()
            await turns()
            assert (done.status, await done) == ("Succeeded", 3)

    in_loop(main)


def test_cancelling_after_the_loop_has_ended_is_nothing() -> None:
    async def main() -> Any:
        async with Engine() as engine:
            run = engine.start(cs.task(len)("abc"))
            await run
            return run

    run = in_loop(main)
    run.cancel()
    assert run.status == "Succeeded"


def test_a_task_may_cancel_the_run_that_it_is_in() -> None:
    async def main() -> None:
        async with Engine() as engine:
            runs: list[Any] = []

            @cs.task
            async def give_up() -> None:
                runs[0].cancel()
                await asyncio.Event().wait()

            @cs.task(mode="blocking")
            def give_up_in_a_thread() -> None:
                runs[0].cancel()

            @cs.task(mode="inline")
            def give_up_in_place(x: Any) -> None:
                runs[0].cancel()

            later = cs.task(mode="inline")(lambda x: x)
            for target in (give_up(), later(give_up_in_a_thread()), [later(give_up_in_place(give_up_in_a_thread()))]):
                runs[:] = [engine.start(target)]
                with pytest.raises(asyncio.CancelledError):
                    await runs[0]

    in_loop(main)


@every_tier
@pytest.mark.parametrize("place", ["in place", "beside"])
def test_a_run_begun_in_spite_of_a_cancel_is_a_run_like_others(place: str, tier: Tier) -> None:
    """As clean-up does: its own failures and cancels are told apart from the cancel before."""

    @cs.task
    async def fail(word: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(word) if word else asyncio.CancelledError

    @cs.task
    async def stay() -> str:
        await asyncio.Event().wait()
        return "never"

    async def clean_up(engine: Engine, waiting: asyncio.Event) -> list[Any]:
        beside = [stay()] if place == "beside" else []
        found: list[Any] = [await engine.run(cs.task(len)("abc"))]
        try:
            waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            found.append(await engine.run([cs.task(mode="blocking")(len)("abc"), cs.task(len)("abcd")]))
            for word in ("broken", ""):
                try:
                    await engine.run([*beside, fail(word)])
                except (ValueError, asyncio.CancelledError) as error:
                    found.append(type(error).__name__)
            try:
                await engine.run([*beside, stay()])
            except asyncio.CancelledError:
                found.append("cancelled")
        return found

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            waiting = asyncio.Event()
            task = asyncio.ensure_future(clean_up(engine, waiting))
            await waiting.wait()
            task.cancel()
            while len(spy.events_of_type(RunStarted)) < 5:
                await asyncio.sleep(0)
            await turns()
            task.cancel()
            assert await task == [3, [3, 4], "ValueError", "CancelledError", "cancelled"]
            ends = [event.status for event in spy.events_of_type(RunFinished)]
            assert ends == ["Succeeded", "Succeeded", "Failed", "Failed", "Cancelled"]

    in_loop(main)


@every_tier
def test_the_time_limits_of_asyncio_work(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            target, _ = stay_target()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await engine.run(target)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(engine.run(target), 0.001)

    in_loop(main)


def test_cancelling_who_awaits_a_run_cancels_the_run() -> None:
    async def main() -> None:
        async with Engine() as engine:
            target, begun = stay_target()
            run = engine.start(target)

            async def reader() -> None:
                await run

            task = asyncio.ensure_future(reader())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert run.status == "Cancelled"

    in_loop(main)


def test_one_cancelled_run_does_not_touch_the_others() -> None:
    async def main() -> None:
        async with Engine() as engine:
            go_on = asyncio.Event()

            @cs.task
            async def wait(x: int) -> int:
                await go_on.wait()
                return x

            target = wait(1)
            runs = [engine.start(target) for _ in range(3)]
            await turns()
            runs[1].cancel()
            await asyncio.wait({asyncio.ensure_future(wait_for_end(runs[1]))})
            assert [run.status for run in runs] == ["Running", "Cancelled", "Running"]
            go_on.set()
            assert [await runs[0], await runs[2]] == [1, 1]

    async def wait_for_end(run: Any) -> None:
        with pytest.raises(asyncio.CancelledError):
            await run

    in_loop(main)


@every_tier
def test_a_task_that_ends_well_in_spite_of_the_cancel_does_not_save_the_run(tier: Tier) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def stubborn(x: int) -> int:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await turns(3)
            return x

        async with Engine(tier=tier) as engine:
            for target in ([stubborn(1), stubborn(2)], stubborn.map(x=[1, 2])):
                begun.clear()
                run = engine.start(target)
                await begun.wait()
                await turns()
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run

    in_loop(main)


@every_tier
def test_what_a_task_raises_while_it_is_cancelled_is_a_note_on_the_cancel(tier: Tier) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def clumsy(x: int = 0) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise OSError("cannot end")

        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            for target in (clumsy(), [clumsy(), cs.task(len)("")], clumsy.map(x=[1]), cs.subflow([clumsy(), 1])):
                begun.clear()
                run = engine.start(target)
                await begun.wait()
                await turns()
                run.cancel()
                with pytest.raises(asyncio.CancelledError) as caught:
                    await run
                assert run.status == "Cancelled"
                (note,) = caught.value.__notes__
                assert note.startswith("besides, another node failed: OSError: cannot end (in task clumsy#1")
            ends = [(event.status, event.error) for event in spy.events_of_type(RunFinished)]
            assert ends == [("Cancelled", "CancelledError: ; OSError: cannot end")] * 4

    in_loop(main)


@every_tier
def test_a_cancel_is_no_attempt_to_be_made_again(tier: Tier) -> None:
    calls = []

    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def stay() -> None:
            calls.append(1)
            begun.set()
            await asyncio.Event().wait()

        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(stay().with_retry(5))
            await begun.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert spy.events_of_type(TaskRetrying) == []

    in_loop(main)
    assert calls == [1]


def test_who_waits_for_constraints_when_cancelled_never_started() -> None:
    scene = Scene("constraints")

    async def main() -> None:
        async with Engine(system_resources={"seat": 1}) as engine:
            spy = SpySubscriber(engine.bus)
            await cancel(engine, scene, "run")
            assert [event.task_id for event in spy.events_of_type(TaskBlocked)] == ["stay#2", "stay#3"]
            assert [event.task_id for event in spy.events_of_type(TaskExecutionStarted)] == ["stay#1"]

    in_loop(main)


# --- threads that do not end


class Stuck:
    """A call in a thread that stays until `release` is set, and what it does then."""

    def __init__(self, error: type[BaseException] | None = None) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.log: list[str] = []

        @cs.task(mode="blocking")
        def stuck(*things: Any) -> str:
            self.begun.set()
            self.release.wait()
            self.log.append("end")
            if error is not None:
                raise error("late")
            return "late"

        self.task = stuck

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await asyncio.sleep(0)

    def sync(self) -> Iterator[str]:
        self.log.append("+")
        try:
            yield "thing"
        finally:
            self.log.append("-")

    async def asynchronous(self) -> AsyncIterator[str]:
        self.log.append("+")
        try:
            yield "thing"
        finally:
            await asyncio.sleep(0)
            self.log.append("-")


@every_tier
@pytest.mark.parametrize("ending", ["cancel", "failure"])
@pytest.mark.parametrize("late", [None, ValueError, StopIteration, SystemExit])
def test_a_thread_that_does_not_end_is_abandoned_with_a_warning(late: Any, ending: str, tier: Tier) -> None:
    stuck = Stuck(late)

    @cs.task
    async def fail() -> None:
        await stuck.until(stuck.begun.is_set)
        raise LookupError("enough")

    async def main() -> None:
        async with Engine(tier=tier, thread_grace=0) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start([stuck.task(), fail()] if ending == "failure" else stuck.task())
            await stuck.until(stuck.begun.is_set)
            if ending == "cancel":
                run.cancel()
            with pytest.raises(LookupError if ending == "failure" else asyncio.CancelledError):
                await run
            (warning,) = spy.events_of_type(RunWarning)
            assert (warning.run_id, warning.code) == (run.id, "ThreadAbandoned")
            assert warning.message.startswith(f"stuck#1 (declared at {__file__}:")
            assert "did not end within thread_grace=0 seconds of being cancelled" in warning.message
            assert isinstance(spy.events[-1], RunFinished)
            seen = len(spy.events)
            stuck.release.set()
            await stuck.until(lambda: stuck.log)
            await turns()
            assert len(spy.events) == seen

    in_loop(main)


def test_a_thread_that_ends_in_time_is_not_abandoned() -> None:
    stuck = Stuck()

    async def main() -> None:
        async with Engine(thread_grace=60) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(stuck.task())
            await stuck.until(stuck.begun.is_set)
            run.cancel()
            await turns()
            assert run.status == "Running"
            stuck.release.set()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert stuck.log == ["end"]
            assert spy.events_of_type(RunWarning) == []
            (finished,) = spy.events_of_type(TaskExecutionFinished)
            assert finished.status == "Cancelled"

    in_loop(main)


def test_a_call_that_no_thread_has_begun_is_taken_back() -> None:
    stuck = Stuck()
    begun = []

    @cs.task(mode="blocking")
    def queued() -> None:
        begun.append("queued")

    async def main() -> None:
        async with Engine(executor=LocalExecutor(blocking_threads=1), thread_grace=0) as engine:
            spy = SpySubscriber(engine.bus)
            first = engine.start(stuck.task())
            await stuck.until(stuck.begun.is_set)
            second = engine.start(queued())
            await turns()
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            stuck.release.set()
            assert await first == "late"
            assert await engine.run(cs.task(mode="blocking")(len)("abc")) == 3
            assert spy.events_of_type(RunWarning) == []

    in_loop(main)
    assert begun == []


@every_tier
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("scope", ["run", "task"])
def test_what_an_abandoned_thread_uses_is_torn_down_when_it_ends(scope: Any, kind: str, tier: Tier) -> None:
    stuck = Stuck()
    thing = cs.resource(scope=scope)(stuck.sync if kind == "sync" else stuck.asynchronous)

    async def main() -> None:
        async with Engine(tier=tier, thread_grace=0) as engine:
            run = engine.start(stuck.task(cs.inject(thing)))
            await stuck.until(stuck.begun.is_set)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            await turns()
            assert stuck.log == ["+"]
            stuck.release.set()
            await stuck.until(lambda: len(stuck.log) == 3)

    in_loop(main)
    assert stuck.log == ["+", "end", "-"]


def test_an_engine_that_closes_does_not_wait_for_an_abandoned_thread() -> None:
    stuck = Stuck()

    async def main() -> None:
        async with Engine(thread_grace=0) as engine:
            run = engine.start(stuck.task(cs.inject(cs.resource(stuck.sync))))
            await stuck.until(stuck.begun.is_set)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        assert stuck.log == ["+"]

    in_loop(main)
    stuck.release.set()


def test_what_a_thread_uses_that_outlives_its_loop_is_torn_down_where_that_can_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck = Stuck()
    torn_down = threading.Event()

    @cs.resource
    def sync() -> Iterator[None]:
        try:
            yield
        finally:
            torn_down.set()

    @cs.resource
    async def asynchronous() -> AsyncIterator[None]:
        yield

    async def main() -> None:
        async with Engine(thread_grace=0) as engine:
            run = engine.start(stuck.task(cs.inject(sync), cs.inject(asynchronous)))
            await stuck.until(stuck.begun.is_set)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)
    with caplog.at_level(logging.WARNING, "cascade"):
        stuck.release.set()
        assert torn_down.wait(50)
    (record,) = caplog.records
    assert "'asynchronous' was not torn down: RuntimeError('its event loop has ended')" in record.getMessage()


@pytest.mark.parametrize("scope", ["run", "task"])
def test_a_set_up_that_outlives_its_run_is_torn_down_when_it_ends(scope: Any) -> None:
    begun, release = threading.Event(), threading.Event()
    log: list[str] = []

    @cs.resource(scope=scope)
    def slow() -> Iterator[None]:
        begun.set()
        release.wait()
        log.append("+")
        try:
            yield
        finally:
            log.append("-")

    @cs.task
    async def use(it: Any) -> None:
        log.append("used")

    async def main() -> None:
        async with Engine(thread_grace=0) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(use(cs.inject(slow)))
            while not begun.is_set():
                await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            (warning,) = spy.events_of_type(RunWarning)
            assert warning.message.startswith(f"resource 'slow' (declared at {__file__}:")
            release.set()
            while len(log) < 2:
                await asyncio.sleep(0)

    in_loop(main)
    assert log == ["+", "-"]


def test_a_teardown_that_does_not_end_is_left_behind_too() -> None:
    begun, release = threading.Event(), threading.Event()

    @cs.resource
    def slow() -> Iterator[None]:
        yield
        begun.set()
        release.wait()

    @cs.task
    async def use(it: Any) -> None: ...

    async def main() -> None:
        async with Engine(thread_grace=0) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(use(cs.inject(slow)))
            while not begun.is_set():
                await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            (warning,) = spy.events_of_type(RunWarning)
            assert warning.message.startswith("resource 'slow' (declared at ")

    in_loop(main)
    release.set()


def test_a_teardown_that_waits_for_ever_ends_with_the_grace() -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @cs.resource
        async def slow() -> AsyncIterator[None]:
            yield
            begun.set()
            await asyncio.Event().wait()

        @cs.task
        async def use(it: Any) -> None: ...

        async with Engine(thread_grace=0) as engine:
            run = engine.start(use(cs.inject(slow)))
            await begun.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"

    in_loop(main)


ABANDON = """
import asyncio, sys, threading
import cascade as cs

begun = threading.Event()

@cs.task(mode="blocking")
def stuck():
    begun.set()
    threading.Event().wait()

@cs.task
async def fail():
    while not begun.is_set():
        await asyncio.sleep(0)
    raise LookupError("enough")

async def main():
    async with cs.Engine(thread_grace=0) as engine:
        if sys.argv[1] == "cancel":
            run = engine.start(stuck())
            while not begun.is_set():
                await asyncio.sleep(0)
            run.cancel()
            await asyncio.wait({run._task})
        else:
            try:
                await engine.run([stuck(), fail()])
            except LookupError:
                pass
    print("main ended")

asyncio.run(main())
print("asyncio.run ended")
"""


@pytest.mark.parametrize("ending", ["cancel", "failure"])
def test_neither_asyncio_nor_the_process_waits_for_an_abandoned_thread(ending: str) -> None:
    assert run_python(ABANDON, ending).splitlines() == ["main ended", "asyncio.run ended"]


def test_a_process_may_end_with_an_engine_open_and_a_thread_at_work() -> None:
    code = """
import asyncio, threading
import cascade as cs

@cs.task(mode="blocking")
def stuck():
    begun.set()
    threading.Event().wait()

async def main():
    engine = cs.Engine(thread_grace=0)
    run = engine.start(stuck())
    while not begun.is_set():
        await asyncio.sleep(0)

begun = threading.Event()
asyncio.run(main())
print("ended")
"""
    assert run_python(code).split() == ["ended"]


# --- the threads themselves


def test_a_full_pool_has_room_for_the_next_loop_when_a_thread_of_the_last_one_ends() -> None:
    stuck = Stuck()
    engine = Engine(executor=LocalExecutor(blocking_threads=1), thread_grace=0)

    async def first() -> None:
        run = engine.start(stuck.task())
        await stuck.until(stuck.begun.is_set)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    async def second() -> int:
        run = engine.start(cs.task(lambda x: x)(3))
        await turns()
        assert run.status == "Running"
        stuck.release.set()
        return await asyncio.wait_for(run, 50)

    in_loop(first)
    assert in_loop(second) == 3


def test_a_call_that_was_taken_back_makes_room() -> None:
    """One waits for room, one that was in the queue is cancelled, and then the thread is free."""
    stuck = Stuck()

    async def main() -> None:
        async with Engine(executor=LocalExecutor(blocking_threads=1), thread_grace=0) as engine:
            holds = engine.start(stuck.task())
            await stuck.until(stuck.begun.is_set)
            queued = engine.start(cs.task(mode="blocking")(len)("abc"))
            waits = engine.start(cs.task(lambda x: x)(3))
            await turns()
            queued.cancel()
            await turns()
            stuck.release.set()
            assert await holds == "late"
            assert await waits == 3

    for _ in range(20):
        stuck = Stuck()
        in_loop(main)


def test_threads_that_were_told_to_end_take_what_comes_afterwards() -> None:
    async def main() -> None:
        engine = Engine()
        for _ in range(200):
            assert await engine.run(cs.task(mode="blocking")(len)("abc")) == 3
            await engine.aclose()

    in_loop(main)
