"""The engine: runs targets, any number of them at once, on the event loop that calls it."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Mapping
from time import perf_counter
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar, overload
from weakref import WeakKeyDictionary

from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.compiler.lower import open_to_tail_calls
from cascade.runtime.admission import Admission
from cascade.runtime.bus import MessageBus
from cascade.runtime.caching import Caches
from cascade.runtime.controls import Controls
from cascade.runtime.ending import Ending
from cascade.runtime.flows import run_piece
from cascade.runtime.frame import World
from cascade.runtime.inputs import check_known, fill
from cascade.runtime.kept import Kept
from cascade.runtime.loops import Follower
from cascade.runtime.maps import Outlet, completed, run_map
from cascade.runtime.perform import invoke, perform
from cascade.runtime.prepare import Plan, prepare
from cascade.runtime.resources import Resources
from cascade.runtime.run import RunState
from cascade.runtime.schedule import drive
from cascade.runtime.scope import spelled, to_the_end
from cascade.runtime.sprints import dash, landed
from cascade.runtime.target import carry_out
from cascade.runtime.ticker import Ticker
from cascade.spec.blueprint import Blueprint
from cascade.spec.caching import store_from
from cascade.spec.connecting import resource_of
from cascade.spec.events import RunFinished, RunStarted
from cascade.spec.lazy import Lazy, MappedResult, R
from cascade.spec.policies import refuse_option, seconds_from
from cascade.spec.protocols import Executor, Solver
from cascade.spec.resource import Resource, described

__all__ = ["Engine", "Run"]

V = TypeVar("V")
Tier = Literal["auto", "interpret", "compile"]
Container: TypeAlias = list[Any] | tuple[Any, ...] | dict[Any, Any] | Blueprint
_default_solver = NativeSolver()
_numbers = itertools.count(1)
TEARDOWN_FAILED = "besides, a resource failed in its teardown: "

RunState.drive, RunState.perform, RunState.invoke = staticmethod(drive), staticmethod(perform), staticmethod(invoke)
RunState.run_map, RunState.run_piece = staticmethod(run_map), staticmethod(run_piece)
RunState.follower, RunState.make_resources = Follower, Resources
RunState.dash, RunState.landed = staticmethod(dash), staticmethod(landed)


class Run(Generic[R]):
    """A run that was started: await it for its result."""

    def __init__(self, run_id: str, task: asyncio.Task[R], engine: Engine) -> None:
        self.id: str = run_id
        self._task = task
        self._engine = engine
        self._loop = asyncio.get_running_loop()

    def __await__(self) -> Generator[Any, None, R]:
        with self._engine.bus.waiting_for(self.id):
            return (yield from self._task.__await__())

    @property
    def status(self) -> Literal["Running", "Succeeded", "Failed", "Cancelled"]:
        """How it is going, or how it ended."""
        task = self._task
        if not task.done():
            return "Running"
        if task.cancelled():  # asked for, or else a task of the run raised it
            return "Cancelled" if task.cancelling() else "Failed"
        error = task.exception()
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            return "Cancelled"
        return "Succeeded" if error is None else "Failed"

    def cancel(self) -> None:
        """End the run: what is running is cancelled, and awaiting the run raises CancelledError.

        May be called from any thread. A run that has ended is left as it is.
        """
        try:
            on_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            on_loop = False
        if on_loop:
            self._task.cancel()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self.status}>"


class Engine(Controls):
    """Runs lazy results.

    Args:
        solver: orders the nodes; by default topologically.
        executor: carries out calls; by default in this process.
        bus: where events are published.
        system_resources: capacities by name, for `with_constraints`; names without one are unlimited.
        connector: carries messages for `cs.recv`; tasks find it as the resource `connector`.
        cache_backend: where `cs.cached()` without a store keeps results: the path of a folder or a store object; by
            default the memory of this engine.
        tier: "auto" interprets, and turns what is used often into Python functions; "compile" does so at once;
            "interpret" never. It changes nothing but speed.
        thread_grace: how long a cancelled run waits for a running thread, in seconds.

    One event loop at a time; a new loop after the old one ended is fine.
    """

    def __init__(
        self,
        solver: Solver | None = None,
        executor: Executor | None = None,
        bus: MessageBus | None = None,
        *,
        system_resources: Mapping[str, float] | None = None,
        state_backend: Any = None,
        connector: Any = None,
        cache_backend: Any = None,
        tier: Tier = "auto",
        thread_grace: float = 1.0,
    ) -> None:
        if state_backend is not None:
            refuse_option("Engine(state_backend=...)")
        if tier not in ("auto", "interpret", "compile"):
            raise ValueError(f'tier is "auto", "interpret" or "compile", not {tier!r}')
        if not thread_grace >= 0:
            raise ValueError(f"thread_grace is 0 seconds or more, not {thread_grace!r}")
        self.solver: Solver = _default_solver if solver is None or type(solver) is NativeSolver else solver
        self.executor: Executor = LocalExecutor() if executor is None else executor
        self.runs_inline: bool = may_run_inline(self.executor)
        self.bus: MessageBus = MessageBus() if bus is None else bus
        self.caches: Caches = Caches(store_from(cache_backend, "Engine(cache_backend=...)"))
        self.admission: Admission = Admission(system_resources or {})
        self.tier = tier
        self.thread_grace = thread_grace
        self.ticker: Ticker = Ticker()
        self.resources: dict[str, Resource] = {}
        self.kept: Kept = Kept(self)
        if connector is not None:
            self.register(resource_of(connector, "Engine(connector=...)"))
        self.blueprints: dict[str, Blueprint] = {}
        self._active: dict[str, Ending] = {}
        self._ends: dict[str, asyncio.Future[None]] = {}
        """For active runs that somebody waits for: resolved when they have ended."""
        self._kept: set[asyncio.Task[Any]] = set()
        self._outlets: WeakKeyDictionary[asyncio.Task[Any], Outlet] = WeakKeyDictionary()
        """Of runs whose results somebody iterates over."""
        self._spare: LocalExecutor | None = None

    # --- what is known beforehand

    def register(self, resource: Resource) -> None:
        """Provide a resource to all runs, by its name; it also stands in for an injected one of the same name."""
        self.resources[_checked(resource).name] = resource

    def register_blueprint(self, blueprint_id: str, target: Any) -> Blueprint:
        """Let tail calls lead to a target (or a blueprint): `TailCall(..., target_blueprint_id=blueprint_id)`."""
        if not isinstance(blueprint_id, str) or not blueprint_id:
            raise TypeError(f"a blueprint is registered under a name that is not empty, not {blueprint_id!r}")
        plan = prepare(target, self.solver)
        if plan is None:
            raise TypeError(f"register_blueprint({blueprint_id!r}) takes a lazy result or a Blueprint, not {target!r}")
        open_to_tail_calls(plan.blueprint)
        self.blueprints[blueprint_id] = plan.blueprint
        return plan.blueprint

    # --- running

    @overload
    async def run(
        self,
        target: Lazy[R],
        params: Mapping[str, Any] | None = None,
        use_vm: bool = False,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        resources: Iterable[Resource] = (),
    ) -> R: ...
    @overload
    async def run(
        self,
        target: Container,
        params: Mapping[str, Any] | None = None,
        use_vm: bool = False,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        resources: Iterable[Resource] = (),
    ) -> Any: ...
    @overload
    async def run(
        self,
        target: V,
        params: Mapping[str, Any] | None = None,
        use_vm: bool = False,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        resources: Iterable[Resource] = (),
    ) -> V: ...
    async def run(
        self,
        target: Any,
        params: Mapping[str, Any] | None = None,
        use_vm: bool = False,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        resources: Iterable[Resource] = (),
    ) -> Any:
        """Run a target and return its value.

        Args:
            target: a lazy or mapped result, a Blueprint, or a list, tuple or dict of those and of plain
                values (the same container comes back). A plain value gives itself.
            params: values for the parameters of the graph.
            use_vm: changes nothing; results never depend on how a graph is carried out.
            run_id: by default a fresh one.
            timeout: how many seconds the run may take, without its teardown; by default any number.
            resources: resources for this run alone.

        Raises:
            Exception: whatever a task raised, with a note that says which node it was.
            TimeoutError: the run took longer than its timeout; the message says what was running.
            asyncio.CancelledError: it was cancelled.
            DependencyMissingError: the target was skipped and has nothing to give.
            StaticGraphError, ParameterError, ConstraintError: before anything runs.
        """
        plan, constants, given, known = self._prepared(target, params, timeout, resources)
        if plan is None:
            return target
        ending = Ending(self._name(run_id), timeout)
        try:
            return await self._execute(plan, constants, given, ending, known)
        finally:
            if ending.asked:
                await ending.forgive()

    @overload
    def start(
        self,
        target: Lazy[R],
        params: Mapping[str, Any] | None = None,
        use_vm: bool = False,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        resources: Iterable[Resource] = (),
    ) -> Run[R]: ...
    @overload
    def start(
        self,
        target: Container,
        params: Mapping[str, Any] | None = None,
        use_vm: bool = False,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        resources: Iterable[Resource] = (),
    ) -> Run[Any]: ...
    @overload
    def start(
        self,
        target: V,
        params: Mapping[str, Any] | None = None,
        use_vm: bool = False,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        resources: Iterable[Resource] = (),
    ) -> Run[V]: ...
    def start(
        self,
        target: Any,
        params: Mapping[str, Any] | None = None,
        use_vm: bool = False,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        resources: Iterable[Resource] = (),
    ) -> Run[Any]:
        """Start a run and return at once; takes what `run` takes. What is wrong beforehand is raised here."""
        prepared = self._prepared(target, params, timeout, resources)
        return self._start(target, self._name(run_id), prepared, timeout=timeout)

    def as_completed(
        self,
        mapped: MappedResult[R],
        params: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        resources: Iterable[Resource] = (),
    ) -> AsyncGenerator[R, None]:
        """Run a map and give its results as they come: `async for result in engine.as_completed(f.map(x=xs))`.

        They are not kept: at most a `window` of items (1,000, unless the map says otherwise) are read and not done, or
        done and not taken. What fails comes out of the iteration, after the results that were there before. Closing
        the iterator cancels the run; `async with contextlib.aclosing(...)` does so on every way out.

        Args:
            mapped: what `task.map(...)` returned.
            params: as in `run`.
            run_id: as in `run`.
            resources: as in `run`.

        Raises:
            TypeError: `mapped` is no mapped result.
        """
        if not isinstance(mapped, MappedResult):
            raise TypeError(f"engine.as_completed takes what task.map(...) returns, not {mapped!r}; engine.run runs it")
        given = tuple(resources)
        self._prepared(mapped, params, None, given)

        def start(outlet: Outlet) -> Run[Any]:
            return self._start(mapped, self._name(run_id), self._prepared(mapped, params, None, given), outlet)

        return completed(start, mapped)

    def _start(
        self, target: Any, name: str, prepared: Any, outlet: Outlet | None = None, timeout: float | None = None
    ) -> Run[Any]:
        loop = asyncio.get_running_loop()
        plan, constants, given, known = prepared
        ending = self._active[name] = Ending(name, timeout)
        work = _itself(target) if plan is None else self._execute(plan, constants, given, ending, known, outlet)
        task = ending.task = loop.create_task(work)
        if outlet is not None:
            self._outlets[task] = outlet
        task.add_done_callback(lambda _: self._ended(ending))  # it may be cancelled before it begins
        return Run(name, task, self)

    def _prepared(
        self,
        target: Any,
        params: Mapping[str, Any] | None,
        timeout: float | None,
        resources: Iterable[Resource],
    ) -> tuple[Plan | None, list[Any], Mapping[str, Any], dict[str, Resource]]:
        if timeout is not None:
            seconds_from(timeout, "the timeout of a run")
        plan = prepare(target, self.solver)
        given = {} if params is None else params
        if plan is not None:
            self.admission.capacities.check(plan.blueprint)
        if given:
            known = set(plan.params) if plan is not None else set()
            for blueprint in self.blueprints.values():
                known |= {needed.name for needed in blueprint.graph.inputs.values()}
            check_known(known, given)
        provided = self.resources
        for resource in resources:
            provided = {**provided, _checked(resource).name: resource}
        constants = [] if plan is None else fill(plan.blueprint.graph, given)
        return plan, constants, given, provided

    def _name(self, run_id: str | None) -> str:
        name = f"run-{os.getpid():x}-{next(_numbers)}" if run_id is None else run_id
        if name in self._active:
            raise ValueError(f"a run named {name!r} is going on already; give each run_id to one run at a time")
        return name

    async def _execute(
        self,
        plan: Plan,
        constants: list[Any],
        params: Mapping[str, Any],
        ending: Ending,
        known: Mapping[str, Resource],
        outlet: Outlet | None = None,
    ) -> Any:
        blueprint, run_id = plan.blueprint, ending.name
        run = RunState(self, run_id, params, known)
        run.names.reach(None, blueprint)
        run.outlet = outlet
        ending.task = asyncio.current_task()
        self._active[run_id] = ending
        try:
            if run.governed:
                self.admission.attend()
            if self.bus.wants(RunStarted):
                self.bus.publish(RunStarted(run_id=run_id, target_tasks=plan.targets, params=dict(params)))
            start = perf_counter()
            ending.begin(run)
            value, error, others = await carry_out(run, World(blueprint, constants, None))
            error = ending.settle(error)
            failure = await self._torn_down(run, error)
            if failure is not None:
                if error is None:
                    error = failure
                elif not isinstance(failure, asyncio.CancelledError):
                    error.add_note(TEARDOWN_FAILED + spelled(failure))
            for other in others:
                error.add_note(f"besides, another node failed: {spelled(other)} ({'; '.join(other.__notes__)})")
            self._publish_end(run, perf_counter() - start, error, others)
            await self.bus.settle(run_id)
        finally:
            self.admission.runs.discard(run)
            self._ended(ending)
        if error is not None:
            try:
                raise error
            finally:
                del error, failure, others
        return value

    async def _torn_down(self, run: RunState, error: BaseException | None) -> BaseException | None:
        if run.is_idle:
            return None
        try:
            failure, cancel = await to_the_end(run.release(error), self.thread_grace)
        except BaseException as other:
            return other
        if cancel is not None and failure is not None:
            cancel.add_note(TEARDOWN_FAILED + spelled(failure))
        return cancel or failure

    def _publish_end(
        self, run: RunState, seconds: float, error: BaseException | None, others: list[BaseException]
    ) -> None:
        bus = self.bus
        bus.flush()
        if not bus.wants(RunFinished):
            return
        status: Any = "Succeeded"
        if error is not None:
            asked = isinstance(error, asyncio.CancelledError) and run.is_cancelled()
            status = "Cancelled" if asked or isinstance(error, (KeyboardInterrupt, SystemExit)) else "Failed"
        named = None if error is None else "; ".join(map(spelled, [error, *others]))
        bus.publish(RunFinished(run_id=run.id, status=status, duration=seconds, error=named))

    def _ended(self, ending: Ending) -> None:
        run_id = ending.name
        ending.is_over = True
        if self._active.get(run_id) is ending:
            self._active.pop(run_id, None)
            if self._ends and (end := self._ends.pop(run_id, None)) is not None and not end.done():
                end.set_result(None)

    # --- ending

    def cancel(self, run_id: str) -> bool:
        """End a run by its id, as `Run.cancel` does; awaiting it raises CancelledError. From any thread.

        Returns False if no run of this id is going on: it may just have ended.
        """
        ending = self._active.get(run_id)
        if ending is None:
            return False
        ending.cancel()
        return True

    def spare_executor(self) -> LocalExecutor:
        """Return threads for resources where another executor carries out the tasks."""
        if self._spare is None:
            self._spare = LocalExecutor()
        return self._spare

    def keep(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something to its end that no run waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    async def aclose(self) -> None:
        """Wait for the runs that are going on, tear down resources of scope "engine", end worker threads and processes.

        A run whose results the caller iterated over (`as_completed`) and has not taken is cancelled.

        Raises:
            whatever a resource raised in its teardown, once all is closed.
        """
        failure = await self._close(None)
        if failure is not None:
            raise failure

    async def _close(self, error: BaseException | None) -> BaseException | None:
        """Close the engine because of an error or without one; return what a resource raised in its teardown."""
        here, loop = asyncio.current_task(), asyncio.get_running_loop()
        for task, outlet in [*self._outlets.items()]:
            if outlet.reader is here:  # nobody else will take the results that the run waits to be taken
                task.cancel()
        while names := [name for name, ending in self._active.items() if ending.task is not here]:
            end = self._ends.setdefault(names[0], loop.create_future())
            with self.bus.waiting_for(*names):
                await asyncio.wait({end})
        while self._kept:
            await asyncio.wait(self._kept)
        failure, cancel = await to_the_end(self.kept.close(error), self.thread_grace)
        for executor in (self.executor, self._spare):
            if isinstance(executor, LocalExecutor):
                await executor.aclose()
        if cancel is not None:
            if failure is not None:
                cancel.add_note(TEARDOWN_FAILED + spelled(failure))
            raise cancel
        return failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, where: object) -> None:
        failure = await self._close(error)
        if failure is not None:
            if error is None:
                raise failure
            error.add_note(TEARDOWN_FAILED + spelled(failure))


def may_run_inline(executor: Executor) -> bool:
    """Say whether calls may be made in place: if the class that defines `execute` says so itself."""
    for cls in type(executor).__mro__:
        if "execute" in cls.__dict__:
            return bool(cls.__dict__.get("runs_inline", False))
    return False


def _checked(resource: Resource) -> Resource:
    if not isinstance(resource, Resource):
        raise TypeError(
            f"a resource is declared with @cs.resource, which {described(resource)} is not; put it above its def"
        )
    return resource


async def _itself(value: Any) -> Any:
    return value
