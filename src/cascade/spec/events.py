"""What happens in a run, as immutable records that are cheap enough to make for every node.

Making events is most of what watching a run costs, so an event is a tuple with names: compiled code makes one
with a single `tuple.__new__(cls, elements)`, and what can be derived is derived when it is read. The elements
come in this order:

    all but task events   (event_id, timestamp, run_id, *own fields)
    task events           (site, timestamp, iteration, *own fields)    site: the node's TaskSite

the own fields as `at=` says. Users call the class with keywords instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from os import urandom
from time import time
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, dataclass_transform

__all__ = [
    "ConnectorConnected",
    "ConnectorDisconnected",
    "ConnectorEvent",
    "Event",
    "ResourceAcquired",
    "ResourceEvent",
    "ResourceReleased",
    "RunEnd",
    "RunEvent",
    "RunFinished",
    "RunParked",
    "RunStarted",
    "RunWarning",
    "SkipReason",
    "StaticAnalysisWarning",
    "Status",
    "TaskBlocked",
    "TaskEvent",
    "TaskExecutionFinished",
    "TaskExecutionStarted",
    "TaskRetrying",
    "TaskSite",
    "TaskSkipped",
    "TaskYielded",
]

Status: TypeAlias = Literal["Succeeded", "Failed", "Cancelled"]
"""How a task ended."""

RunEnd: TypeAlias = Literal["Succeeded", "Failed", "Cancelled", "Parked"]
"""How a run ended; one that is Parked goes on later, in another process."""

SkipReason: TypeAlias = Literal[
    "Pruned",
    "ConditionFalse",
    "UpstreamSkipped_Condition",
    "UpstreamSkipped_Sequence",
    "UpstreamSkipped_Data",
    "CacheHit",
]
"""Why a task did not run."""


class TaskSite(NamedTuple):
    """Where task events come from: one node in one run. All its events share one of these."""

    run_id: str
    task_id: str
    task_name: str
    start: int = 1
    """Which start of the run, where that is recorded and goes on."""

    def item(self, index: int) -> TaskSite:
        """Return the site of one item, if the node is a map: `parse#3` becomes `parse#3[17]`."""
        return TaskSite(self.run_id, f"{self.task_id}[{index}]", self.task_name, self.start)


# --- how a class of events is declared

_REQUIRED: Any = object()


class _Field(property):
    """Reads one field of an event, and knows what the constructor makes of it.

    The field is the tuple's element `at`, or what `read` makes of the event. `store` is applied to what the
    constructor is given; with `init=False` it is given nothing.
    """

    def __init__(
        self,
        *,
        doc: str,
        at: int = -1,
        read: Callable[[Any], Any] | None = None,
        default: Any = _REQUIRED,
        default_factory: Callable[[], Any] | None = None,
        store: Callable[[Any], Any] | None = None,
        init: bool = True,
    ) -> None:
        super().__init__(read or itemgetter(at), doc=doc)
        self.at = at
        self.default = default
        self.default_factory = default_factory
        self.store = store
        self.init = init

    def value(self, given: dict[str, Any], name: str) -> Any:
        """Take the field's value out of the keywords given, or give its default."""
        if name in given:
            value = given.pop(name)
            return value if self.store is None else self.store(value)
        return self.default if self.default_factory is None else self.default_factory()


def _field(**options: Any) -> Any:
    """Declare a field, so that type checkers check calls of the constructor (PEP 681)."""
    return _Field(**options)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(_field,))
class _Record(tuple[Any, ...]):
    """A tuple with named fields, equal to none but its own kind."""

    __slots__ = ()
    _fields: ClassVar[dict[str, _Field]] = {}
    _stored: ClassVar[tuple[str, ...]] = ()  # names of the tuple's elements; "site" is not a field

    def __init_subclass__(cls) -> None:
        own = {name: field for name, field in vars(cls).items() if isinstance(field, _Field)}
        cls._fields = {**cls._fields, **own}
        places = {field.at: name for name, field in cls._fields.items()}
        cls._stored = tuple(places.get(at, "site") for at in range(max(places, default=-1) + 1))

    def __new__(cls, **given: Any) -> Self:
        values = {name: field.value(given, name) for name, field in cls._fields.items() if field.init}
        if given:
            unknown, known = ", ".join(given), ", ".join(values)
            raise TypeError(f"{cls.__name__} does not take {unknown}; it takes {known}")
        missing = [name for name, value in values.items() if value is _REQUIRED]
        if missing:
            raise TypeError(f"{cls.__name__} also needs {', '.join(missing)}")
        return tuple.__new__(cls, cls._elements(values))

    @classmethod
    def _elements(cls, values: dict[str, Any]) -> Iterable[Any]:
        return [values[name] for name in cls._stored]

    def to_dict(self) -> dict[str, Any]:
        """Return every field by name."""
        return {name: getattr(self, name) for name in self._fields}

    def __repr__(self) -> str:
        # What tells one event from the next comes first, then what all events have (the fields of Event).
        shown = [item for item in self.to_dict().items() if self._fields[item[0]].init]
        shown.sort(key=lambda item: item[0] in Event._fields)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown)})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # not of all elements: the parameters of a run may not be hashable
        return hash((type(self), self[:2]))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), tuple(self))


def _restore(cls: type[_Record], elements: tuple[Any, ...]) -> _Record:
    return tuple.__new__(cls, elements)


def _fresh_id() -> str:
    return urandom(8).hex()


# --- the events


class Event(_Record):
    """Something that happened."""

    __slots__ = ()
    event_id: str = _field(at=0, default_factory=_fresh_id, doc="Unique in its run.")
    timestamp: float = _field(at=1, default_factory=time, doc="When it happened, in seconds since the epoch.")
    run_id: str = _field(at=2, default="", doc="The run it happened in; empty outside of runs.")


class RunEvent(Event):
    """About a run as a whole."""

    __slots__ = ()


class RunStarted(RunEvent):
    """A run begins."""

    __slots__ = ()
    target_tasks: tuple[str, ...] = _field(at=3, default=(), store=tuple, doc="Names of the tasks asked for.")
    params: Mapping[str, Any] = _field(
        at=4,
        read=lambda event: MappingProxyType(event[4]),
        default_factory=dict,
        store=dict,
        doc="The parameters given, by name; read-only.",
    )
    resumed: bool = _field(at=5, default=False, doc="Whether it goes on where an earlier start of it was.")
    recorded: int = _field(at=6, default=0, doc="How many steps are recorded, and not run again.")

    def to_dict(self) -> dict[str, Any]:
        """Return every field by name, the parameters as a dict."""
        return {**super().to_dict(), "params": dict(self.params)}


class RunFinished(RunEvent):
    """A run ended; nothing of it is running any more."""

    __slots__ = ()
    status: RunEnd = _field(at=3, default="Succeeded", doc="How it ended.")
    duration: float = _field(at=4, default=0.0, doc="How long it took, in monotonic seconds.")
    error: str | None = _field(at=5, default=None, doc='What it failed of, as "Type: message", or None.')


class RunParked(RunFinished):
    """A run only waits, and nothing of it is in this process any more; it goes on in a server."""

    __slots__ = ()
    until: float | None = _field(at=6, default=None, doc="When its first wait ends, in seconds since 1970, or None.")
    signals: tuple[str, ...] = _field(at=7, default=(), store=tuple, doc="The names of signals that it waits for.")


class RunWarning(RunEvent):
    """Something about a run that its owner should know, though the run goes on."""

    __slots__ = ()
    code: str = _field(at=3, doc="The kind of warning, for programs.")
    message: str = _field(at=4, default="", doc="What happened, for people.")


class StaticAnalysisWarning(RunEvent):
    """A finding about the graph, made without running it."""

    __slots__ = ()
    warning_code: str = _field(at=3, doc="The kind of finding, for programs.")
    message: str = _field(at=4, default="", doc="What was found, for people.")


def _task_event_id(event: Any) -> str:
    site = event[0]
    return f"{type(event).__name__}:{site.task_id}:{event[2]}" + (f":start {site.start}" if site.start > 1 else "")


class TaskEvent(Event):
    """About one node; in a loop, about one entry of it; in a map, about one item of it.

    A node has at most one event of a type per iteration (of retries: per attempt): that is what its id says.
    """

    __slots__ = ()
    event_id: str = _field(read=_task_event_id, init=False, doc="Unique in its run; derived.")
    run_id: str = _field(read=lambda event: event[0].run_id, default="", doc="The run it happened in.")
    task_id: str = _field(read=lambda event: event[0].task_id, doc="`parse#3`; of an item, `parse#3[17]`.")
    task_name: str = _field(
        read=lambda event: event[0].task_name, default="", doc="The task's name; by default, as in task_id."
    )
    iteration: int = _field(at=2, default=0, doc="Earlier entries of the loop around it; 0 outside loops.")

    @classmethod
    def _elements(cls, values: dict[str, Any]) -> Iterable[Any]:
        task_id = values["task_id"]
        name = values["task_name"] or task_id.rpartition("#")[0] or task_id
        values["site"] = TaskSite(values["run_id"], task_id, name)
        return super()._elements(values)


class TaskExecutionStarted(TaskEvent):
    """A node begins to run: its inputs are there, and nothing holds it back."""

    __slots__ = ()


class TaskExecutionFinished(TaskEvent):
    """A node that had begun to run has ended."""

    __slots__ = ()
    status: Status = _field(at=3, default="Succeeded", doc="How it ended.")
    duration: float = _field(at=4, default=0.0, doc="How long it took with its retries, in monotonic seconds.")
    error: str | None = _field(at=5, default=None, doc='What it failed of, as "Type: message", or None.')
    result_preview: str | None = _field(
        at=6, default=None, doc="The first characters of its result, if the bus was asked for them, or None."
    )


class TaskSkipped(TaskEvent):
    """A node does not run, and why."""

    __slots__ = ()
    reason: SkipReason = _field(at=3, doc="The first reason that applies.")


class TaskRetrying(TaskEvent):
    """An attempt failed, and another one follows."""

    __slots__ = ()
    event_id: str = _field(
        read=lambda event: f"{_task_event_id(event)}:{event[3]}",
        init=False,
        doc="Unique in its run; derived.",
    )
    attempt: int = _field(at=3, doc="The attempt that failed; the first is 1.")
    max_attempts: int = _field(at=4, default=0, doc="How many attempts there are at most; 0 if not known.")
    delay: float = _field(at=5, default=0.0, doc="How long the next attempt is put off, in seconds.")
    error: str | None = _field(at=6, default=None, doc='What the attempt failed of, as "Type: message".')


class TaskYielded(TaskEvent):
    """A generator task has given an item."""

    __slots__ = ()
    event_id: str = _field(
        read=lambda event: f"{_task_event_id(event)}:{event[3]}:{event[4]}",
        init=False,
        doc="Unique in its run; derived.",
    )
    attempt: int = _field(at=3, doc="Which attempt gave it; the first is 1.")
    number: int = _field(at=4, doc="Which item of the attempt it is, from 0.")
    item_preview: str | None = _field(at=5, default=None, doc="Its first characters, if the bus has previews.")


class TaskBlocked(TaskEvent):
    """A node could run, but something holds it back for now: a pause, a limit, a constraint, a wait in a channel."""

    __slots__ = ()
    reason: str = _field(at=3, doc="What holds it back.")
    # A node may be held back any number of times, so its id cannot be derived.
    event_id: str = _field(at=4, default_factory=_fresh_id, doc="Unique in its run.")


class ResourceEvent(Event):
    """About a resource."""

    __slots__ = ()
    resource_name: str = _field(at=3, doc="The resource's name.")


class ResourceAcquired(ResourceEvent):
    """A resource was set up."""

    __slots__ = ()


class ResourceReleased(ResourceEvent):
    """A resource was torn down."""

    __slots__ = ()


class ConnectorEvent(Event):
    """About the connection to the outside world."""

    __slots__ = ()


class ConnectorConnected(ConnectorEvent):
    """The connector is connected."""

    __slots__ = ()


class ConnectorDisconnected(ConnectorEvent):
    """The connector is no longer connected."""

    __slots__ = ()
