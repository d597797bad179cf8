"""What a run says of itself: events, and the words that name a node."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from time import perf_counter, time
from typing import Any

from cascade.runtime.admission.ticket import Ticket
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.frame import Frame
from cascade.runtime.frames.node_ids import NodeIds
from cascade.runtime.frames.scope import NodeFailure, preview_of
from cascade.runtime.plans.inputs import texts_of
from cascade.spec.blueprint import Blueprint
from cascade.spec.events import (
    ResourceAcquired,
    ResourceReleased,
    RunEnd,
    RunFinished,
    RunParked,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
    TaskYielded,
)
from cascade.spec.graph import Graph
from cascade.spec.inputs import MASK
from cascade.spec.notes import note_place, spelled
from cascade.spec.operations import CALLN, IMPORT
from cascade.spec.parked import Parked
from cascade.spec.readable import readable
from cascade.spec.signal import uncrossable
from cascade.spec.tracing import RunTrace, SpanChoice

__all__ = ["Reports"]

_new = tuple.__new__


class Reports:
    """The methods of a run that say what happens; nothing is made that nobody listens to."""

    __slots__ = ("_names", "unnoted")

    id: str
    bus: Any
    run_scope: Any
    blueprint: Blueprint
    _names: NodeIds | None
    watch: tuple[bool, bool, bool]
    secrets: dict[str, None]
    trace: RunTrace
    """The trace of the run; it has none, and neither of the next two, if it is not traced."""
    parked: Parked | None = None
    """What the run gives, if it ends because it only waits."""
    choice: SpanChoice
    waits: dict[tuple[int, int, str], float]
    """Since when calls are held back."""
    unnoted: tuple[BaseException, str] | None
    """The last failure that took no note, and what the note would have said."""

    @property
    def names(self) -> NodeIds:
        """What the nodes of the run are called; most runs are over before somebody asks."""
        names = self._names
        if names is None:
            names = self._names = NodeIds(self.id)
            names.reach(None, self.blueprint)
        return names

    @property
    def is_named(self) -> bool:
        """Whether all nodes have names, so that a thread may ask for them as well."""
        return self._names is not None and self._names.are_all

    def keep_secrets(self, graph: Graph, constants: list[Any]) -> None:
        """Take note of the secrets among the inputs of a graph, which are filled in."""
        for slot, given in graph.inputs.items():
            if given.secret:
                self.secrets.update(dict.fromkeys(texts_of(constants[slot])))

    def masked(self, text: str) -> str:
        """Return text for an event without the secrets that are in it."""
        for secret in sorted(self.secrets, key=len, reverse=True) if self.secrets else ():
            text = text.replace(secret, MASK)
        return text

    def could_not_note(self, error: BaseException, place: str) -> None:
        """Keep for the event of the run's end where an error came from that takes no note."""
        self.unnoted = error, place

    def place_of(self, error: BaseException) -> str:
        """Return where an error came from that took no note, in brackets; it is let go of here."""
        (failed, place), self.unnoted = self.unnoted or (None, ""), None
        return f" ({place})" if failed is error else ""

    def described(self, call: Call) -> str:
        """Return the node of a call and where it was declared."""
        site = call.site(self.names)
        return f"{site.task_id} (declared at {call.activation.blueprint.graph.declared(call.number)})"

    def failure_at(self, call: Call, error: BaseException, attempt: int = 1) -> NodeFailure:
        """Return the failure of a node, its error with a note that says which it was, if it takes one."""
        if isinstance(error, NodeFailure):
            return error
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            wrapped = uncrossable(error)
            wrapped.__cause__ = error
            error = wrapped
        place = f"in task {self.described(call)}, iteration {call.iteration}, attempt {attempt}"
        if not note_place(error, place, self.run_scope.depth):
            self.could_not_note(error, place)
        return NodeFailure(error)

    # --- events

    @readable("self", "call", place=lambda known: (known["self"], known["call"]))
    def observe_call(self, call: Call, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call in place, with events around the call."""
        instance = call.instance(self.names)
        if instance.has_looped(call.suffix):
            call.enter(instance)
        self.publish_started(call)
        start = perf_counter()
        try:
            value = func(*args, **kwargs)
        except BaseException as error:
            self.publish_finished(call, "Failed", perf_counter() - start, error, None)
            raise
        self.publish_finished(call, "Succeeded", perf_counter() - start, None, value)
        return value

    def tellers(self) -> list[Callable[[Any], None]]:
        """Return what emitted code publishes with: of each kind of event that somebody wants."""
        kinds = (TaskExecutionStarted, TaskExecutionFinished, TaskSkipped)
        return [self.bus.teller(kind) for kind, is_wanted in zip(kinds, self.watch, strict=True) if is_wanted]

    def publish_started(self, call: Call) -> None:
        """Say that a call begins."""
        if self.bus.wants(TaskExecutionStarted):
            site = call.site(self.names)
            self.bus.publish(_new(TaskExecutionStarted, (site, time(), call.iteration)))

    def publish_finished(
        self, call: Call, status: str, seconds: float, error: BaseException | None, value: Any
    ) -> None:
        """Say that a call has ended, after all its attempts."""
        bus = self.bus
        if bus.wants(TaskExecutionFinished):
            site = call.site(self.names)
            spelled_out = None if error is None else self.masked(spelled(error))
            preview = (
                None if bus.previews is None or error is not None else preview_of(value, bus.previews, self.masked)
            )
            bus.publish(
                _new(TaskExecutionFinished, (site, time(), call.iteration, status, seconds, spelled_out, preview))
            )

    def status_of(self, error: BaseException | None) -> RunEnd:
        """Return how the run ends, with an error or without."""
        if error is None:
            return "Succeeded" if self.parked is None else "Parked"
        asked = isinstance(error, CancelledError) and self.run_scope.is_cancelled
        return "Cancelled" if asked or isinstance(error, (KeyboardInterrupt, SystemExit)) else "Failed"

    def traced_by(self, trace: RunTrace, choice: SpanChoice) -> None:
        """Begin the spans of calls (`TracedRun`)."""
        raise NotImplementedError

    def carrier(self) -> dict[str, str] | None:
        """Return the trace of what runs here, for another process; None: there is none."""
        return None

    def ended(self, seconds: float, error: BaseException | None, others: list[BaseException]) -> None:
        """Say that the run has ended, if anybody listens."""
        if self.bus.wants(RunFinished):
            self.publish_end(seconds, error, others)

    def publish_end(self, seconds: float, error: BaseException | None, others: list[BaseException]) -> None:
        """Say that the run has ended, with an error and those of other nodes or without."""
        status, parked = self.status_of(error), self.parked
        if parked is not None:
            until = None if parked.until is None else parked.until.timestamp()
            self.bus.publish(
                RunParked(run_id=self.id, status=status, duration=seconds, until=until, signals=parked.signals)
            )
            return
        named = None if error is None else self.masked("; ".join(map(spelled, [error, *others]))) + self.place_of(error)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):  # which task is at the end of its message
            named = f"{named} ({'; '.join(getattr(error, '__notes__', ['not of a task']))})"
        self.bus.publish(RunFinished(run_id=self.id, status=status, duration=seconds, error=named))

    def publish_skip(self, call: Call, reason: str) -> None:
        """Say that a node does not run, and why."""
        if self.bus.wants(TaskSkipped):
            site = call.site(self.names)
            self.bus.publish(_new(TaskSkipped, (site, time(), call.iteration, reason)))

    def publish_retry(self, call: Call, attempt: int, most: int, delay: float, error: BaseException) -> None:
        """Say that an attempt failed and another follows."""
        if self.bus.wants(TaskRetrying):
            site = call.site(self.names)
            self.bus.publish(
                _new(TaskRetrying, (site, time(), call.iteration, attempt, most, delay, self.masked(spelled(error))))
            )

    def publish_yield(self, call: Call, attempt: int, index: int, item: Any) -> None:
        """Say that a generator has given an item; who calls this has seen that somebody listens."""
        site, previews = call.site(self.names), self.bus.previews
        shown = None if previews is None else preview_of(item, previews, self.masked)
        self.bus.publish(_new(TaskYielded, (site, time(), call.iteration, attempt, index, shown)))

    def publish_blocked(self, call: Call, held: Ticket | str) -> None:
        """Say that a limit or a constraint holds a call back, or what else does."""
        if self.bus.wants(TaskBlocked):
            site = call.site(self.names)
            self.bus.publish(
                TaskBlocked(
                    run_id=self.id,
                    task_id=site.task_id,
                    task_name=site.task_name,
                    iteration=call.iteration,
                    reason=held if isinstance(held, str) else held.admission.reason(held),
                )
            )

    def publish_resource(self, name: str, acquired: bool) -> None:
        """Say that a resource was set up or torn down."""
        kind = ResourceAcquired if acquired else ResourceReleased
        if self.bus.wants(kind):
            self.bus.publish(kind(run_id=self.id, resource_name=name))

    def publish_pruned_root(self, frame: Frame) -> None:
        """Say of a root frame which nodes only unselected routes and unused `otherwise`s would have needed."""
        graph = frame.activation.blueprint.graph
        demanded = frame.demanded
        if demanded is not None and graph.needed > graph.strict:
            for i in range(graph.strict, graph.needed):
                if not demanded[i] and graph.kinds[i] <= CALLN:
                    self.publish_skip(Call(frame, i), "Pruned")

    def publish_pruned(self, frame: Frame, wanted: list[int]) -> None:
        """Say what was never asked for of the nodes that feed an entry of a loop."""
        demanded, block = frame.demanded, frame.block
        assert demanded is not None
        seen: set[int] = set()
        stack = [*wanted]
        gate = block.gates.get(block.root)
        if gate is not None and gate.otherwise is not None:
            stack.append(gate.otherwise)
        while stack:
            i = stack.pop()
            if i < 0 or i in seen:
                continue
            seen.add(i)
            stack += (*block.needs(i), *block.late_needs(i))
        for i in sorted(seen):
            if not demanded[i] and block.kinds[i] <= CALLN and block.ops[i] != IMPORT:
                self.publish_skip(Call(frame, i), "Pruned")
