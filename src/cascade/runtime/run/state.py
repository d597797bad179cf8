"""The state of one run: what its parts ask of it, and what it says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial
from typing import Any

from cascade.compiler.code.emitted import EmittedCode, Guards
from cascade.errors import ConstraintError, JumpError
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.cancel_scope import CancelScope
from cascade.runtime.frames.frame import Activation, Frame, root_frame
from cascade.runtime.frames.scope import NodeFailure, Scope
from cascade.runtime.plans.inputs import fill
from cascade.runtime.run.operations import Operations
from cascade.runtime.run.reports import Reports
from cascade.runtime.shortcuts import off
from cascade.spec.blueprint import Block, Blueprint
from cascade.spec.events import (
    RunWarning,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskSkipped,
)
from cascade.spec.gate import Gate
from cascade.spec.operations import CALL1, CALLN, MOVE1
from cascade.spec.placement import CallForm, Profile
from cascade.spec.protocols import CallNode

__all__ = ["RunState"]

NOBODY = (False, False, False)
MOST_GUARDS = 64
NO_RESOURCES: Mapping[Any, tuple[str, Any, Any]] = {}
IN_PASS = CALL1, CALLN, MOVE1
"""What the interpreter carries out by a call in its own pass: one operation, all up to the second, and the third."""
NONE_IN_PASS = -1, -1, -1


class RunState(Reports):
    """One run of one engine."""

    journal: Any = None
    """What it is recorded in, if it is (`runtime.journal`)."""
    has_budgets = False
    """Somebody in it has a budget (`runtime.budgets`)."""
    keeps_in_pass = False
    """Short calls are made by `call_in_pass`, which records them."""
    __slots__ = (
        "_resources",
        "abandoned",
        "activations",
        "awaits",
        "blueprint",
        "bus",
        "choice",
        "compiles_flows",
        "compiles_loops",
        "context",
        "direct",
        "engine",
        "executor",
        "finds_results",
        "finds_room",
        "flows",
        "governed",
        "guards",
        "heard",
        "id",
        "in_pass",
        "inline",
        "is_interrupted",
        "known",
        "loop_profile",
        "lost",
        "maps_in_pass",
        "observed",
        "operations",
        "params",
        "passes",
        "patience",
        "patience_to_compile",
        "pipes",
        "readers",
        "result_sink",
        "run_scope",
        "scope",
        "secrets",
        "shares",
        "stall",
        "takes_tickets",
        "tells_begun",
        "ticker",
        "trace",
        "under_way",
        "variables",
        "waits",
        "watch",
    )

    def __init__(
        self,
        engine: Any,
        operations: Operations[RunState],
        run_scope: Any,
        blueprint: Blueprint,
        params: Mapping[str, Any],
        known: Mapping[str, Any],
        variables: dict[str, str | None],
    ) -> None:
        self.engine = engine
        self.operations = operations
        self.blueprint = blueprint
        self.run_scope = run_scope
        self.id: str = run_scope.name
        self.bus = engine.bus
        self.executor: Any = engine.executor
        self.inline = engine.runs_inline
        """Short functions may be called in place."""
        self.direct = engine.is_direct
        """The engine carries out the other calls, too, without asking `execute`."""
        self.tells_begun = bool(getattr(self.executor, "tells_begun", False))
        """Another executor, which is asked, says when a call begins."""
        self.compiles_flows = self.compiles_loops = engine.tier != "interpret"
        self.patience_to_compile = 0 if engine.tier == "compile" else 16
        """So often a loop is entered, or a root block run, before it becomes a function."""
        self.ticker = engine.ticker
        self.params = params
        self.variables = variables
        """What the run has found in the environment."""
        self.secrets: dict[str, None] = {}
        """Text that no event shows."""
        self.scope = Scope(self, run_scope)
        """Of the root frame, and of those of the blueprints that tail calls lead to."""
        self._names = None
        self.known = known
        self._resources: Any = None
        self.context: Context | None = None
        """What calls that had to wait see of the context variables of the run's caller."""
        self.activations: dict[str, Activation] = {}
        """The activations of the blueprints that tail calls led to, by the ids of these."""
        self.loop_profile: Any = None
        """What is known of the loops that tail calls make of them (`cascade.compiler.transition_profile`)."""
        self.stall: Profile | None = None
        self.patience = 4
        """How many more functions this run waits for whose first call turns out to be slow."""
        self.abandoned: list[tuple[Any, Any, asyncio.Future[None]]] = []
        """Calls that were left behind in their threads: whose they are, the job, a future for its end."""
        self.result_sink: Any = None
        """Where the results of the target go one by one, if somebody iterates over them."""
        self.under_way: dict[tuple[Frame, int], Any] = {}
        """The maps that are going on."""
        self.flows: dict[tuple[Frame, int], Any] = {}
        """The outputs of the generators that others read while they go on."""
        self.lost: dict[str, tuple[int, int, bool]] = {}
        """Of maps that went on without items that failed: how many did, of how many, and whether a warning says so."""
        self.passes: dict[int, list[Any]] = {}
        """The work of passes that were interrupted: there may be more in their frames that waits for what goes on."""
        self.pipes: dict[tuple[Frame, int], Any] = {}
        """For a map that was begun before its inputs are there: what flows into it."""
        self.shares: dict[Activation, Mapping[str, str]] = {}
        """Of the sub-flows under way that hold constraints, and those inside: what the capacities are called there."""
        self.unnoted = None
        self.readers: dict[Block, Any] = {}
        """How often the registers of a block are read; counted when that matters."""
        self.is_interrupted = False
        """Something of the run has been asked to end: scopes are to be asked from now on."""
        self.guards: set[Guards] = set()
        """Of the emitted coroutines that it has begun: taken away when something is to end."""
        self.observed = False
        """Each call is to be looked at: somebody listens to task events, or some limit stands."""
        self.governed = False
        """Some limit stands in the engine."""
        self.heard = False
        """Somebody listens to task events."""
        self.see()

    @property
    def resources(self) -> Any:
        """The resources that the tasks of the run see, made when one first asks."""
        if self._resources is None:
            self._resources = self.operations.resources(self)
        return self._resources

    @property
    def at_hand(self) -> Mapping[Any, tuple[str, Any, Any]]:
        """The resources that calls were given which others may be given as they are: name, resource and value."""
        return NO_RESOURCES if self._resources is None else self._resources.at_hand

    @property
    def is_idle(self) -> bool:
        """Whether there is no resource to tear down."""
        return self._resources is None or self._resources.is_idle

    # --- turns

    def look(self) -> None:
        """See whether somebody listens to task events, and whether some limit stands."""
        before = self.watch, self.governed
        self.see()
        if before != (self.watch, self.governed):  # all coroutines are to know, not only the one that comes here first
            self.ticker.retire()

    def see(self) -> None:
        """See who listens and whether some limit stands, without a word to code that expects what was so before."""
        bus = self.bus
        self.look_at_limits()
        self.watch = NOBODY
        if self.heard:
            self.watch = (bus.wants(TaskExecutionStarted), bus.wants(TaskExecutionFinished), bus.wants(TaskSkipped))

    def look_at_limits(self) -> None:
        """See whether some limit stands."""
        admission = self.engine.admitting
        self.governed = governed = admission is not None and admission.stands
        self.heard = heard = self.bus.is_watched
        self.observed = observed = governed or heard
        self.in_pass = IN_PASS if self.inline and not observed else NONE_IN_PASS
        self.awaits = self.direct and not observed  # coroutines, in the task that drives their call
        self.takes_tickets = self.direct and not heard
        self.finds_results = True  # what a cache keeps in memory is looked for in place
        self.maps_in_pass = self.inline and not observed
        self.finds_room = True  # calls under constraints are made in place, where nobody waits
        if off:
            self.leave_out()

    def look_at_each_call(self) -> None:
        """Have each call looked at, as if somebody listened."""
        self.heard = self.observed = True
        self.in_pass = NONE_IN_PASS
        self.awaits = self.takes_tickets = self.maps_in_pass = False

    def leave_out(self) -> None:
        """Do without the fast paths that a test has taken out."""
        self.in_pass = NONE_IN_PASS if "calls in the pass" in off else self.in_pass
        self.awaits &= "plain awaits" not in off
        self.takes_tickets &= "tickets in the driver" not in off
        self.maps_in_pass &= "maps in the pass" not in off
        self.finds_results &= "results at hand" not in off
        self.finds_room &= "room at hand" not in off
        self.compiles_flows &= "compiled flows" not in off
        self.compiles_loops &= "compiled loops" not in off

    def call_in_pass(self, frame: Frame, i: int, form: CallForm, values: list[Any]) -> Any:
        """Make a call that nothing but a journal looks at, and record it (`RecordedRun`)."""
        raise NotImplementedError

    def letters(self, named: dict[str, Any]) -> Any:
        """Return what records the messages of the run's channels, by name; None: they are not (`RecordedRun`)."""
        return None

    def governs(self, *forms: CallForm) -> bool:
        """Say whether a limit is for one of these calls, so that it cannot just be made."""
        return self.governed and any(self.engine.admission.governs(form.task.name) for form in forms)

    async def turn(self) -> None:
        """Give the event loop a turn, and batches, cancels and subscriptions their effect."""
        bus = self.bus
        bus.flush()
        if bus.congested:
            await bus.drain()
        self.ticker.rested()
        await self.ticker.rest()
        self.ticker.passed()
        self.ticker.begin()  # what goes on need not begin by itself, and relies on ticks that come
        self.look()
        if self.run_scope.look() or self.run_scope.is_ending():  # a task did not mind, or the run around is to end
            raise asyncio.CancelledError

    def stall_for(self, profile: Profile) -> None:
        """Ask the interpreter to wait for the first measure of a function, as long as that has paid off so far."""
        if self.patience > 0:
            self.stall = profile

    def take_stall(self) -> Profile | None:
        """Return what the interpreter should wait for."""
        stall, self.stall = self.stall, None
        return stall

    async def wait_for_measure(self, profile: Profile) -> None:
        """Wait until a function's first call is timed, or has been out for too long to be short."""
        await self.executor.measured(profile)
        if not profile.inline:
            self.patience -= 1

    def is_asked(self, error: BaseException, scope: CancelScope) -> bool:
        """Say whether what came out of work in a scope is a cancel that was asked for, and not a task's own."""
        if not isinstance(error, asyncio.CancelledError):
            return False
        if self.run_scope.look() or scope.is_ending():
            return True
        task = self.run_scope.task
        if self.run_scope.in_place or task is None or task.cancelling() <= self.run_scope.own:
            return False
        self.run_scope.asked = self.is_interrupted = True  # all tasks of the event loop are being cancelled
        return True

    def check_failed(self, call: Call, error: BaseException, attempt: int = 1) -> None:
        """Look at what came out of a call: a cancel that was asked for is no failure, and may go on as it is.

        Raises:
            NodeFailure: the call failed of it.
        """
        if not isinstance(error, NodeFailure) and not self.is_asked(error, call.scope):
            raise self.failure_at(call, error, attempt) from None

    def guarded(self, emitted: EmittedCode) -> Guards:
        """Return an emitted coroutine function, which looks around when something of the run is to end."""
        guards = emitted.guarded(self.ticker)
        if guards not in self.guards:
            if len(self.guards) >= MOST_GUARDS:
                self.guards = {one for one in self.guards if not one.is_retired}
            self.guards.add(guards)
        return guards

    def interrupt(self) -> None:
        """Have all code of the run look around as soon as it can: something has been asked to end."""
        self.is_interrupted = True
        for guards in self.guards:
            guards.is_retired = True
            guards.invalidate()
        self.guards.clear()
        self.ticker.tick()
        if self.run_scope.runs:
            self.run_scope.alarm()

    def frame_of(self, activation: Activation) -> Frame:
        """Return the root frame of an activation, made when it is first asked for."""
        return root_frame(activation, self.scope)

    def let_go(self, activation: Activation) -> None:
        """Let go of all that the run has computed, once it is over: no value waits for the cyclic collector."""
        activation.let_go()
        if self.activations:
            for each in self.activations.values():
                each.let_go()
            self.activations = {}
        if self.pipes:
            self.pipes = {}
        self._resources = self._resources if self.abandoned else None
        self.scope.run = None
        if self._names is not None:
            self._names.forget()

    # --- calls

    async def place(
        self, call: Call, form: CallForm, args: Any, kwargs: dict[str, Any], begun: Callable[[], None] | None = None
    ) -> Any:
        """Call a sync task where its function belongs, not in place if somebody is to hear when it has `begun`."""
        grace, abandon = self.engine.thread_grace, partial(self.abandon, call)
        return await self.executor.place(form, args, kwargs, grace, abandon, begun)

    async def in_thread(
        self,
        owner: object,
        what: str,
        func: Callable[..., Any],
        *args: Any,
        profile: Profile | None = None,
        mode: str = "blocking",
    ) -> Any:
        """Run a piece of a resource, `what`, or of a generator in a worker thread; its profile learns its time."""

        def abandon(job: object, ended: asyncio.Future[None]) -> None:
            self.abandon(owner, job, ended, what)

        threads, grace = self.engine.threads(), self.engine.thread_grace
        return await threads.in_thread(func, args, {}, mode, profile, grace, abandon)

    def abandon(self, owner: Any, job: object, ended: asyncio.Future[None], what: str = "") -> None:
        """Leave a call behind that does not end; what its `owner` uses is torn down when it does."""
        self.abandoned.append((owner, job, ended))
        self.engine.kept.host.leave(job, ended)
        if self.bus.wants(RunWarning):
            message = (
                f"{what or self.described(owner)} did not end within thread_grace={self.engine.thread_grace} seconds "
                "of being cancelled; its thread goes on alone, and its result will be dropped"
            )
            opened = [*(() if self._resources is None else self._resources.open_for(owner)), *self.engine.kept.names]
            if opened:
                message += f"; open until it ends, or the program does: {', '.join(opened)}"
            self.bus.publish(RunWarning(run_id=self.id, code="ThreadAbandoned", message=message))

    def call_node(self, call: Call, form: CallForm) -> CallNode:
        """Return what an executor is told of a call."""
        site = call.instance(self.names).site_of(call.suffix)
        task = form.task
        return CallNode(
            *(site.task_id, site.task_name, form.func, task.mode, form.is_async, task.declared),
            resources=task.resources,
        )

    def activation_of(self, blueprint_id: str, form: CallForm) -> Activation:
        """Return the activation of a registered blueprint; one for the run, however often a tail call leads there."""
        activation = self.activations.get(blueprint_id)
        if activation is None:
            blueprint = self.engine.blueprints.get(blueprint_id)
            if blueprint is None:
                known = ", ".join(map(repr, self.engine.blueprints)) or "none"
                raise JumpError(
                    f"task {form.task.name!r} (declared at {form.task.declared}) returned a TailCall to the blueprint "
                    f"{blueprint_id!r}, which is not registered; registered are: {known} (engine.register_blueprint)"
                )
            self.engine.admission.capacities.check(blueprint)
            constants = fill(blueprint.graph, self.params, self.variables)
            self.keep_secrets(blueprint.graph, constants)
            activation = self.activations[blueprint_id] = Activation(blueprint, constants, blueprint_id)
            self.names.reach(blueprint_id, blueprint)
            frame = root_frame(activation, self.scope)
            frame.demanded = bytearray(len(blueprint.root))
        return activation

    def has_left(self, *owners: Any) -> bool:
        """Say whether a call of one of these was left behind and may still be going on."""
        return any(left is owner for left, *_ in self.abandoned for owner in owners)

    def left_behind(self) -> list[tuple[Any, asyncio.Future[None]]]:
        """Return the jobs that were left behind, and a future for the end of each."""
        return [(job, end) for _, job, end in self.abandoned]

    def settled(self, call: Call, gate: Gate, regs: list[Any]) -> Gate:
        """Return a gate with the amounts of its constraints read.

        Raises:
            NodeFailure: one of them is none, or more than there is.
        """
        given = {name: regs[reference] for name, reference in gate.amounts}
        graph, inner = call.activation.blueprint.graph, call.activation.blueprint.subflows.get(call.number)
        amounts = (gate.terms.constraints.amounts if gate.terms.constraints else {}) | given
        try:
            capacities = self.engine.admission.capacities
            capacities.check_given(graph, call.number, given, capacities.held(self.shares.get(call.activation)))
            if inner is not None:
                capacities.check(inner, amounts)
        except ConstraintError as error:
            raise self.failure_at(call, error) from None
        return gate.holding(given)
