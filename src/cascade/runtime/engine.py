"""The engine: runs targets, any number of them at once, on the event loop that calls it."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from functools import cached_property, partial
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, Unpack, overload

from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.compiler.lowering.lower import open_to_tail_calls
from cascade.runtime.admission.admission import Admission
from cascade.runtime.compiled.root import run_piece
from cascade.runtime.controls import Controls
from cascade.runtime.durable import How
from cascade.runtime.event_loop.ticker import Ticker
from cascade.runtime.events.bus import MessageBus
from cascade.runtime.execution.compiled_start import (
    finish_compiled,
    finish_item,
    items_begin,
    start_compiled,
    start_item,
)
from cascade.runtime.execution.follower import Follower
from cascade.runtime.execution.map import run_map
from cascade.runtime.execution.target import run_root
from cascade.runtime.execution.task import invoke, perform
from cascade.runtime.forks import engines
from cascade.runtime.frames.frame import Activation
from cascade.runtime.frames.scope import to_the_end
from cascade.runtime.maps.pipes import await_inputs
from cascade.runtime.maps.sinks import ResultSink, completed
from cascade.runtime.page.shown import Shown
from cascade.runtime.plans.inputs import check_known, fill, told
from cascade.runtime.plans.plan import Plan, prepare
from cascade.runtime.policies.cache import Caches
from cascade.runtime.policies.hooks import tell_of_run
from cascade.runtime.queue.enqueue import Queue
from cascade.runtime.resources.for_calls import call_with_own
from cascade.runtime.resources.lifecycle import checked
from cascade.runtime.resources.pool import ResourcePool
from cascade.runtime.run.operations import Operations
from cascade.runtime.run.state import RunState
from cascade.runtime.run_scope import Run, RunScope, loop_for_start
from cascade.runtime.shutdown import TEARDOWN_FAILED, Shutdown
from cascade.runtime.signals import Signals
from cascade.runtime.streams.lazily import attempt_streamed, may_begin, streamed
from cascade.spec.blueprint import Blueprint
from cascade.spec.caching import store_from
from cascade.spec.connecting import resource_of
from cascade.spec.events import RunStarted
from cascade.spec.keywords import explains_options, no_option
from cascade.spec.lazy import Lazy, LazyResult, MappedResult, R
from cascade.spec.notes import note_more, note_others, spelled
from cascade.spec.policies import Hook, Hooks, hooks_from, seconds_from
from cascade.spec.protocols import Executor, Solver, may_run_inline
from cascade.spec.resource import Resource
from cascade.spec.run_options import Durability, OnChange, RunOptions
from cascade.spec.tracing import RunTrace, Tracing, everywhere

if TYPE_CHECKING:
    from datetime import timedelta

    from cascade.spec.budgets import Budget

__all__ = ["Engine", "Run"]

V = TypeVar("V")
Tier = Literal["auto", "interpret", "compile"]
Container: TypeAlias = list[Any] | tuple[Any, ...] | dict[Any, Any] | Blueprint
Params: TypeAlias = Mapping[str, Any] | None
Prepared: TypeAlias = tuple[
    Plan,
    list[Any],
    Mapping[str, Any],
    dict[str, Resource],
    dict[str, str | None],
    How | None,
    Hooks | None,
    "Budget | None",
]
"""What is known of a run beforehand: its plan, constants, parameters, resources, what the environment gave, how it is
recorded, who is told of its outcome, and what it may spend."""
OPTIONS = ("params", "use_vm", *RunOptions.__annotations__)
_numbers = itertools.count(1)

OPERATIONS: Operations[RunState] = Operations(
    perform=perform,
    call=invoke,
    piece=run_piece,
    loop=Follower,
    start_compiled=start_compiled,
    finish_compiled=finish_compiled,
    items_begin=items_begin,
    start_item=start_item,
    finish_item=finish_item,
    map=run_map,
    map_inputs=await_inputs,
    streamed=streamed,
    attempt_streamed=attempt_streamed,
    stream_inputs=may_begin,
    resources=partial(ResourcePool, "run"),
    call_with_own=call_with_own,
)


class Engine(Controls, Queue, Shown, Signals, Shutdown):
    """Runs lazy results.

    Args:
        solver: orders the nodes; by default topologically.
        executor: carries out calls; by default in this process.
        bus: where events are published.
        system_resources: capacities by name, for `with_constraints`; names without one are unlimited.
        state_backend: where runs are recorded, so that they go on after a crash: the path of a SQLite file, a URL or a
            store object; by default nowhere.
        durability: "each": a step is on the disk before anything reads its value; "group": 10 ms after its end; "exit":
            at the end of the run.
        keep: how many recorded runs stay once they have ended (`keep=1000`), or for how long (a `timedelta`); what is
            older is forgotten where a run begins or ends. By default all stay.
        connector: carries messages for `cs.recv`; tasks find it as the resource `connector`. From its first run on,
            until it is closed, the engine also takes pauses and limits from it.
        control: whether other processes of the same user may steer the engine from its first run on, until it is
            closed: `cascade ps`, `status`, `watch`, `pause`, `resume`, `set-limit`, `clear-limit`, `cancel`, `signal`.
        cache_backend: where `cs.cached()` without a store keeps results: the path of a folder or a store object; by
            default the memory of this engine.
        tier: "auto" interprets, and turns what is used often into Python functions; "compile" does so at once;
            "interpret" never. It changes nothing but speed.
        thread_grace: how long a cancelled run waits for a running thread, in seconds.

    One event loop at a time; a new loop after the old one ended is fine.
    """

    tracing: Tracing | None = None
    """What gives its runs spans (`cs.instrument`)."""

    @explains_options("Engine")
    def __init__(
        self,
        solver: Solver | None = None,
        executor: Executor | None = None,
        bus: MessageBus | None = None,
        *,
        system_resources: Mapping[str, float] | None = None,
        state_backend: Any = None,
        durability: Durability = "group",
        keep: int | timedelta | None = None,
        connector: Any = None,
        control: bool = False,
        cache_backend: Any = None,
        tier: Tier = "auto",
        thread_grace: float = 1.0,
    ) -> None:
        super().__init__()
        if tier not in ("auto", "interpret", "compile"):
            raise ValueError(f'tier is "auto", "interpret" or "compile", not {tier!r}')
        if not thread_grace >= 0:
            raise ValueError(f"thread_grace is 0 seconds or more, not {thread_grace!r}")
        self.solver: Solver | None = None if type(solver) is NativeSolver else solver
        self.executor: Executor = LocalExecutor() if executor is None else executor
        self.runs_inline: bool = executor is None or may_run_inline(executor)
        self.bus: MessageBus = MessageBus() if bus is None else bus
        self._cache_backend = None if cache_backend is None else store_from(cache_backend, "Engine(cache_backend=...)")
        self.system_resources: Mapping[str, float] = system_resources or {}
        self.admitting: Admission | None = None
        if system_resources:
            _ = self.admission  # which refuses those that are none
        if state_backend is not None:
            from cascade.runtime.journal.recorder import recorder_from

            self.recorder: Any = recorder_from(state_backend, durability, keep)
        elif keep is not None:
            raise ValueError('keep= is for runs that are recorded: cs.Engine(state_backend="runs.db", keep=1000)')
        self.tier = tier
        self.thread_grace = thread_grace
        self.ticker: Ticker = Ticker()
        self.resources: dict[str, Resource] = {}
        if connector is not None:
            self.register(resource_of(connector, "Engine(connector=...)"))
        if connector is not None or control:
            self._steer(connector, control)
        self.blueprints: dict[str, Blueprint] = {}
        if self.recorder is not None:
            self.recorder.blueprints = self.blueprints
        engines.add(self)

    @cached_property
    def caches(self) -> Caches:
        """The stores of results, and which keys have a call on its way."""
        return Caches(self._cache_backend)

    def open_door(self) -> None:
        """Let other processes of the same user steer the engine from now on, until it is closed (see `control`)."""
        if self.steering is None:
            self._steer(None, False)
        self.steering.open()

    def _steer(self, connector: Any, is_open: bool) -> None:
        from cascade.runtime.steering.steering import Steering

        self.steering: Any = Steering(self, connector, is_open)

    @property
    def is_direct(self) -> bool:
        """Whether calls are carried out without asking `execute`, as the executor is the engine's own."""
        return type(self.executor).execute is LocalExecutor.execute

    # --- what is known beforehand

    def register(self, resource: Resource) -> None:
        """Provide a resource to all runs, by its name; it also stands in for an injected one of the same name."""
        self.resources[checked(resource).name] = resource

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
        self, target: Lazy[R], params: Params = None, use_vm: bool = False, **options: Unpack[RunOptions]
    ) -> R: ...
    @overload
    async def run(
        self, target: Container, params: Params = None, use_vm: bool = False, **options: Unpack[RunOptions]
    ) -> Any: ...
    @overload
    async def run(self, target: V, params: Params = None, use_vm: bool = False, **options: Unpack[RunOptions]) -> V: ...
    async def run(
        self,
        target: Any,
        params: Mapping[str, Any] | None = None,
        use_vm: bool = False,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        budget: Mapping[str, float] | None = None,
        resources: Iterable[Resource] = (),
        durability: Durability | None = None,
        on_change: OnChange = "keep",
        park: bool | float = False,
        on_failure: Hook = None,
        on_success: Hook = None,
        **unknown: Any,
    ) -> Any:
        """Run a target and return its value.

        Args:
            target: a lazy or mapped result, a Blueprint, or a list, tuple or dict of those and of plain
                values (the same container comes back). A plain value gives itself.
            params: values for the parameters of the graph.
            use_vm: changes nothing; results never depend on how a graph is carried out.
            run_id: by default a fresh one.
            timeout: how many seconds the run may take, without its teardown; by default any number.
            budget: the steps (attempts of calls) and the cost (`cs.current().spend`) that all of it may spend, as a
                dict, `{"steps": 100, "cost": 5}`; by default any number.
            resources: resources for this run alone.
            durability: how this run is recorded; by default as the engine says.
            on_change: what becomes of recorded steps whose task has other code now: "keep" their values, with a
                warning; "rerun" them and all that reads them; "error". "adapt" keeps their values, and where the graph
                is another one those of all nodes that still match, and runs the rest.
            park: whether the run gives up its process where it does nothing but wait (`cs.wait`, `cs.wait_signal`, the
                delay of a retry) for 5 seconds or more, or for so many: `cs.Parked` comes back, and a server
                (`cascade serve`) goes on with it. For that its target has a name, as for `enqueue`.
            on_failure, on_success: a function, sync (in a thread) or async, that is called with the `cs.Outcome` of the
                run if it fails, or if it succeeds; not if it is cancelled. What it raises is a RunWarning.

        With a `state_backend`, a run whose `run_id` is known goes on where it was: what is recorded is not run again.

        Raises:
            Exception: whatever a task raised, with a note that says which node it was.
            RunBusyError: a run of that id is going on.
            RunChangedError: a recorded run had another graph.
            StateError: the run cannot be recorded.
            TimeoutError: the run took longer than its timeout; the message says what was running.
            BudgetError: it has spent all of its budget; the message says who spent what.
            asyncio.CancelledError: it was cancelled.
            DependencyMissingError: the target was skipped and has nothing to give.
            StaticGraphError, ParameterError, ConstraintError: before anything runs.
        """
        if unknown:
            raise no_option("engine.run", unknown, OPTIONS, "cs.run")
        is_plain = self.recorder is None and durability is None and on_change == "keep"
        how = None if is_plain else self._how(run_id, durability, on_change)
        if park is not False:
            how = self._how_parked(how, target, park)
        hooks = hooks_from("engine.run", on_failure, on_success) if on_failure or on_success else None
        prepared = self._prepared(target, params, timeout, resources, how, hooks, budget)
        if prepared is None:
            return target
        run_scope = RunScope(self._name(run_id), timeout)
        if (
            how is not None
            or hooks is not None
            or budget is not None
            or not (prepared[0].is_plain and self.runs_inline)
        ):
            return await self._in_a_task(run_scope, self._execute, prepared, run_scope)
        try:
            return await self._execute(prepared, run_scope)
        finally:
            if run_scope.cancels:
                await run_scope.forgive()

    @overload
    def start(
        self, target: Lazy[R], params: Params = None, use_vm: bool = False, **options: Unpack[RunOptions]
    ) -> Run[R]: ...
    @overload
    def start(
        self, target: Container, params: Params = None, use_vm: bool = False, **options: Unpack[RunOptions]
    ) -> Run[Any]: ...
    @overload
    def start(
        self, target: V, params: Params = None, use_vm: bool = False, **options: Unpack[RunOptions]
    ) -> Run[V]: ...
    def start(
        self,
        target: Any,
        params: Mapping[str, Any] | None = None,
        use_vm: bool = False,
        *,
        run_id: str | None = None,
        timeout: float | None = None,
        budget: Mapping[str, float] | None = None,
        resources: Iterable[Resource] = (),
        durability: Durability | None = None,
        on_change: OnChange = "keep",
        park: bool | float = False,
        on_failure: Hook = None,
        on_success: Hook = None,
        **unknown: Any,
    ) -> Run[Any]:
        """Start a run and return at once; takes what `run` takes. What is wrong beforehand is raised here."""
        if unknown:
            raise no_option("engine.start", unknown, OPTIONS, "cs.run")
        how = self._how(run_id, durability, on_change)
        if park is not False:
            how = self._how_parked(how, target, park)
        hooks = hooks_from("engine.start", on_failure, on_success) if on_failure or on_success else None
        prepared = self._prepared(target, params, timeout, resources, how, hooks, budget)
        return self._start(target, self._name(run_id), prepared, timeout=timeout)

    def as_completed(
        self,
        mapped: LazyResult[list[R]],
        params: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        resources: Iterable[Resource] = (),
    ) -> AsyncGenerator[R, None]:
        """Run a map and give its results as they come: `async for result in engine.as_completed(f.map(x=xs))`.

        Of a generator task it gives the items, as `stream` does.

        They are not kept: at most a `window` of items (1,000, unless the map says otherwise) are read and not done, or
        done and not taken. What fails comes out of the iteration, after the results that were there before. Closing
        the iterator cancels the run; `async with contextlib.aclosing(...)` does so on every way out.

        Args:
            mapped: what `task.map(...)` returned, or a call of a generator task.
            params: as in `run`.
            run_id: as in `run`.
            resources: as in `run`.

        Raises:
            TypeError: `mapped` is neither.
        """
        if not isinstance(mapped, MappedResult) and not _gives_items(mapped):
            raise TypeError(f"engine.as_completed takes what task.map(...) returns, not {mapped!r}; engine.run runs it")
        return self._in_parts(mapped, params, run_id, resources)

    def stream(
        self,
        target: LazyResult[list[R]],
        params: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        resources: Iterable[Resource] = (),
    ) -> AsyncGenerator[R, None]:
        """Run a generator task and give its items as they come: `async for item in engine.stream(tokens("hello"))`.

        They are not kept: the generator is at most 64 items ahead of what was taken. What fails comes out of the
        iteration, after the items that were there before. Closing the iterator cancels the run, and the generator is
        closed; `async with contextlib.aclosing(...)` does so on every way out.

        Args:
            target: what a call of a generator task returned.
            params, run_id, resources: as in `run`.

        Raises:
            TypeError: `target` is of no generator task.
        """
        if not _gives_items(target):
            raise TypeError(
                f"engine.stream takes the lazy result of a generator task (its function yields), not {target!r}; "
                "engine.as_completed gives the results of a map, and engine.run a value"
            )
        return self._in_parts(target, params, run_id, resources)

    def _in_parts(
        self,
        target: LazyResult[list[R]],
        params: Mapping[str, Any] | None,
        run_id: str | None,
        resources: Iterable[Resource],
    ) -> AsyncGenerator[R, None]:
        given, how = tuple(resources), self._how(run_id)
        self._prepared(target, params, None, given, how)

        def start(result_sink: ResultSink) -> Run[Any]:
            prepared = self._prepared(target, params, None, given, how)
            return self._start(target, self._name(run_id), prepared, result_sink)

        return completed(start, target)

    def _start(
        self,
        target: Any,
        name: str,
        prepared: Prepared | None,
        result_sink: ResultSink | None = None,
        timeout: float | None = None,
    ) -> Run[Any]:
        loop = loop_for_start()
        run_scope = self._active[name] = RunScope(name, timeout)
        work = _itself(target) if prepared is None else self._execute(prepared, run_scope, result_sink)
        task = loop.create_task(work)
        run_scope.move(task)
        run_scope.caller = None
        task.add_done_callback(lambda _: self._ended(run_scope))  # it may be cancelled before it begins
        if result_sink is not None:
            self._result_sinks[task] = result_sink
            task.add_done_callback(self._result_sinks.pop)
        return Run(run_scope, task, self.bus)

    def _prepared(
        self,
        target: Any,
        params: Params,
        timeout: float | None,
        resources: Iterable[Resource],
        how: How | None,
        hooks: Hooks | None = None,
        budget: Mapping[str, float] | None = None,
    ) -> Prepared | None:
        if timeout is not None:
            seconds_from(timeout, "the timeout of a run")
        allowed: Budget | None = None
        if budget is not None:
            from cascade.spec.budgets import budget_of_run

            allowed = budget_of_run(budget)
        plan = prepare(target, self.solver)
        given = {} if params is None else params
        if plan is not None and self.admitting is not None:
            self.admitting.capacities.check(plan.blueprint)
        if given:
            known = set(plan.params) if plan is not None else set()
            for blueprint in self.blueprints.values():
                known |= {needed.name for needed in blueprint.graph.inputs.values()}
            check_known(known, given)
        provided = self.resources
        for resource in resources:
            provided = {**provided, checked(resource).name: resource}
        if plan is None:
            return None
        graph, variables = plan.blueprint.graph, dict[str, str | None]()
        constants = fill(graph, given, variables) if graph.inputs and how is None else graph.constants
        return plan, constants, given, provided, variables, how, hooks, allowed

    def _reaches_budgets(self) -> bool:
        """Say whether a tail call may lead to somebody with a budget."""
        return any(each.is_budgeted for each in self.blueprints.values())

    def _name(self, run_id: str | None) -> str:
        if self.recorder is not None:
            return str(self.recorder.name(run_id, self._active))
        name = f"run-{os.getpid():x}-{next(_numbers)}" if run_id is None else run_id
        if name in self._active:
            raise ValueError(f"a run named {name!r} is going on already; give each run_id to one run at a time")
        return name

    async def _begun(self, trace: RunTrace | None, *of_run: Any) -> Any:
        """Ask the store for a run; end its span where it does not begin."""
        begun = None
        try:
            begun = await self.recorder.begin(*of_run, trace)
            return begun
        finally:
            if trace is not None and (begun is None or begun.journal is None):
                failed = sys.exc_info()[1]
                trace.end(
                    "Failed" if begun is None else "Succeeded", 0.0, None if failed is None else spelled(failed), 0
                )

    async def _execute(self, prepared: Prepared, run_scope: RunScope, result_sink: ResultSink | None = None) -> Any:
        plan, constants, params, known, variables, how, hooks, budget = prepared
        blueprint, run_id = plan.blueprint, run_scope.name
        if self.steering is not None:
            await self.steering.begin()
        resumed, recorded = False, 0
        run: RunState
        tracing = self.tracing or everywhere.tracing
        trace = None if tracing is None else tracing.trace(run_id, plan.targets)
        has_budgets = blueprint.is_budgeted or budget is not None or (self.blueprints and self._reaches_budgets())
        if how is None:
            kind, operations = (RunState if tracing is None else tracing.plain), OPERATIONS
            if has_budgets:
                from cascade.runtime.budgets.budgeted_run import budgeted

                kind, operations = budgeted(kind, OPERATIONS)
            run = kind(self, operations, run_scope, blueprint, params, known, variables)
            if trace is not None:
                trace.begin(None, 1)
        else:
            begun = await self._begun(trace, run_scope, how, plan, params, variables, self.bus)
            if begun.journal is None:
                return begun.value
            constants, params, resumed, recorded = begun.constants, begun.params, begun.is_resumed, begun.recorded
            inputs = blueprint, params, known, variables
            kind = None if tracing is None else tracing.recorded
            run = self.recorder.state_of(
                begun.journal, self, OPERATIONS, run_scope, *inputs, kind=kind, has_budgets=has_budgets
            )
        if tracing is not None and trace is not None:
            run.traced_by(trace, tracing.choice())
        if plan.has_secrets:
            run.keep_secrets(blueprint.graph, constants)
        run.result_sink = result_sink
        activation = Activation(blueprint, constants, None)
        self._active[run_id] = run_scope
        run_scope.begin(run)
        try:
            if run.governed:
                self.admission.attend()
            if self.bus.wants(RunStarted):
                shown = told(blueprint, self.blueprints.values(), params, constants)
                self.bus.publish(
                    RunStarted(
                        run_id=run_id, target_tasks=plan.targets, params=shown, resumed=resumed, recorded=recorded
                    )
                )
                run.look()  # whoever heard that may listen from here on
            run_scope.began = start = perf_counter()
            root = run_root(run, activation)
            if budget is not None:
                from cascade.runtime.budgets.spending import spent_by_run

                root = spent_by_run(run, budget, root)
            value, error, others = await root
            if run_scope.seconds is not None:
                error = run_scope.settle(error)
            if run_scope.runs:
                await to_the_end(run_scope.empty(), self.thread_grace)
            failure = None if run.is_idle else await self._torn_down(run, error)
            if failure is not None:
                if error is None:
                    error = failure
                elif not isinstance(failure, asyncio.CancelledError):
                    note_more(error, TEARDOWN_FAILED + spelled(failure))
            if others:
                note_others(error, others)
            if how is not None:
                error, _ = await to_the_end(self.recorder.end(run, value, error), inf)
            if run.parked is not None:
                value = run.parked
            elif hooks is not None:
                await tell_of_run(run, hooks, plan.targets, perf_counter() - start, value, error)
            run.ended(perf_counter() - start, error, others)
            if self.bus.has_channels:
                await self.bus.settle(run_id)
        finally:
            self._ended(run_scope)
            if trace is not None:
                trace.end("Cancelled", 0.0, None, 0)  # if it has not, as its event loop was left behind
            run.let_go(activation)
            run_scope.leave()
        try:
            if error is not None:
                raise error
            return value
        finally:
            del value, error, failure, others, run, run_scope  # tracebacks lead here, also of errors in the value


def _gives_items(target: Any) -> bool:
    """Say whether a target is a call of a generator task."""
    return target.__class__ is LazyResult and target.task.yields


async def _itself(value: Any) -> Any:
    return value
