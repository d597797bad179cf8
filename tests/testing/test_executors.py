"""Programs mean the same on every executor."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine
from cascade.spec.protocols import CallNode
from cascade.spec.streams import Stream
from cascade.testing import EXECUTOR_CHECKS, Faults, VirtualClock, check_executor
from cascade.testing.programs import add
from tests.workflows import run

every_program = pytest.mark.parametrize("program", EXECUTOR_CHECKS)
CONTEXT = "context_variables"
"""What does not cross into processes, as is said in docs/placement.md."""


class Threads(LocalExecutor):
    """Every sync function runs in a thread."""

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await super().execute(node._replace(mode="blocking"), args, kwargs)


class Processes:
    """Every sync function runs in a process, but for those that read streams."""

    shared = LocalExecutor(processes=2)

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        here = node.mode == "inline" or any(isinstance(value, Stream) for value in (*args, *kwargs.values()))
        return await self.shared.execute(node if here else node._replace(mode="process"), args, kwargs)


class Foreign:
    """An executor as somebody else would write it: it is nobody's subclass, says when calls begin, and is closed."""

    tells_begun = True
    closed = 0

    def __init__(self) -> None:
        self._threads = LocalExecutor(blocking_threads=2)
        self.begun: list[str] = []

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if node.is_async:
            return await node.func(*args, **kwargs)
        return await self._threads.in_thread(node.func, args, kwargs, begun=partial(self.begin, node))

    def begin(self, node: CallNode) -> None:
        if node.begun is not None:
            self.begun.append(node.name)
            node.begun()

    async def aclose(self) -> None:
        self.closed += 1
        await self._threads.aclose()


@pytest.fixture(scope="module", autouse=True)
def end_processes() -> Iterator[None]:
    yield
    Processes.shared.close()


class Busy:
    """An executor with calls that wait longer than they may take."""

    tells_begun = True

    def __init__(self) -> None:
        self.told: list[bool] = []

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        await asyncio.sleep(0.3)
        self.told.append(node.begun is not None)
        if node.begun is not None:
            node.begun()
        return node.func(*args, **kwargs)


class TestConformance:
    @every_program
    def test_in_this_process(self, program: str) -> None:
        check_executor(LocalExecutor, program)

    @every_program
    def test_in_threads(self, program: str) -> None:
        check_executor(Threads, program)

    @pytest.mark.parametrize("program", [program for program in EXECUTOR_CHECKS if program != CONTEXT])
    def test_in_processes(self, program: str) -> None:
        check_executor(Processes, program)

    @every_program
    def test_on_one_that_somebody_else_wrote(self, program: str) -> None:
        check_executor(Foreign, program)

    def test_one_that_differs_is_found(self) -> None:
        class Careless(Foreign):
            async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                found = await super().execute(node, args, kwargs)
                return found + 1 if node.name == "square" else found

        with pytest.raises(AssertionError, match="program 'a_map': result should be"):
            check_executor(Careless, "a_map")
        check_executor(Careless, "tail_calls")


class TestWhatIsAskedOfThem:
    def test_it_is_closed_with_its_engine(self) -> None:
        executor = Foreign()
        assert run(add(1), executor=executor) == 2
        assert executor.closed == 1

    def test_what_it_raises_then_comes_out_and_all_else_is_closed(self) -> None:
        class Broken(Foreign):
            async def aclose(self) -> None:
                await super().aclose()
                raise OSError("the cluster is gone")

        executor = Broken()
        with pytest.raises(OSError, match="the cluster is gone"):
            run(add(1), executor=executor)

    @pytest.mark.parametrize("mapped", [False, True], ids=["call", "map"])
    def test_the_clock_of_a_timeout_starts_when_it_says_that_the_function_begins(self, mapped: bool) -> None:
        executor = Busy()
        target = add.map(a=[1]).with_timeout(0.1) if mapped else [add(1).with_timeout(0.1)]
        assert run([target, add(2)], executor=executor) == [[2], 3]
        assert sorted(executor.told) == [False, True]

    def test_else_when_it_is_given_the_call(self) -> None:
        class Silent(Busy):
            tells_begun = False

        executor = Silent()
        with pytest.raises(TimeoutError, match=r"took longer than its timeout of 0\.1 s"):
            run(add(1).with_timeout(0.1), executor=executor)
        assert executor.told == []

    @pytest.mark.parametrize("executor", [None, Busy], ids=["own", "another"])
    def test_under_faults_clocks_start_when_the_call_does(self, executor: Any) -> None:
        clock = VirtualClock(faults=Faults().drop("add"))

        async def main() -> Any:
            async with Engine(executor=executor and executor()) as engine:
                return await engine.run(add(1).with_timeout(40))

        with pytest.raises(TimeoutError):
            clock.run(main())
        assert clock.elapsed == 40
