"""Where in a run a call happens: its node, its loop, its item; what its events and errors say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cascade.runtime.frames.frame import Activation, Frame, NodeInstance
from cascade.runtime.frames.scope import Scope
from cascade.spec.tracing import CallSpan

if TYPE_CHECKING:
    from cascade.runtime.frames.node_ids import NodeIds
    from cascade.spec.events import TaskSite

__all__ = ["Call", "at_call", "at_item", "at_none", "at_register"]


class Call:
    """One call's place: node `number` of `activation`, in the entry of `loop` that `iteration` counts.

    Made cheaply for each call that takes time; what costs more is looked up when somebody asks.
    """

    __slots__ = (
        "_instance",
        "_site",
        "accounts",
        "activation",
        "entered",
        "frame",
        "iteration",
        "jumped",
        "loop",
        "number",
        "register",
        "scope",
        "span",
        "suffix",
    )

    span: CallSpan
    """The span of the call, where the run is traced."""

    def __init__(self, frame: Frame, i: int, suffix: str = "", scope: Scope | None = None) -> None:
        self.frame = frame
        self.scope: Scope = frame.scope if scope is None else scope
        """What it is a child of, or in the host of."""
        self.register = i
        self.activation: Activation = frame.activation
        self.number = frame.block.source(i)
        self.loop = frame.loop
        self.iteration = frame.iteration
        self.suffix = frame.suffix + suffix
        self.jumped = False
        """Whether a jump led here."""
        self.entered = False
        """Whether this call was counted as an entry of the loop that its node is."""
        self._instance: NodeInstance | None = None
        self._site: TaskSite | None = None
        self.accounts: Any = None
        """What the agent has spent that this is, or whose loop this is in; None: it has no budget."""

    def is_same(self, other: Call) -> bool:
        """Say whether another one is of the same call."""
        return self is other or (
            self.activation is other.activation and self.number == other.number and self.suffix == other.suffix
        )

    def instance(self, names: NodeIds) -> NodeInstance:
        """Return the instance of the node that runs here."""
        if self._instance is None:
            self._instance = names.instance(self.activation, self.number, self.loop, self.jumped)
        return self._instance

    def site(self, names: NodeIds) -> TaskSite:
        """Return what is the same in all events of this call."""
        if self._site is None:
            self._site = self.instance(names).site_of(self.suffix)
        return self._site

    def enter(self, instance: NodeInstance) -> int:
        """Count an entry of the loop that `instance` is; return how many it had before in this run."""
        if self.suffix:
            count = instance.items.get(self.suffix, 0)
            instance.items[self.suffix] = count + 1
        else:
            count = instance.entries
            instance.entries = count + 1
        self.entered = True
        self.iteration = count
        return count

    def had(self, instance: NodeInstance) -> int:
        """Return how many entries the loop that `instance` is has had in this run."""
        return instance.items.get(self.suffix, 0) if self.suffix else instance.entries

    def enter_more(self, instance: NodeInstance, count: int) -> None:
        """Count `count` entries at once and stand at the last."""
        if self.suffix:
            first = instance.items.get(self.suffix, 0)
            instance.items[self.suffix] = first + count
        else:
            first = instance.entries
            instance.entries = first + count
        self.iteration = first + count - 1

    def home(self) -> Call:
        """Return the call that has begun the loop that this is an entry of; itself where it was not jumped to."""
        if not self.jumped:
            return self
        found = Call(self.frame, self.register)
        found.suffix = self.suffix
        return found

    def moved(self, activation: Activation, number: int, loop: NodeInstance, instance: NodeInstance | None) -> None:
        """Go on at another node of a loop, or at another entry of the same."""
        self.activation = activation
        self.number = number
        self.loop = loop
        self._instance = instance
        self._site = None
        self.jumped = True


def at_register(known: Mapping[str, Any]) -> tuple[Any, Call] | None:
    """Say where code is that goes through the registers of a frame; see `cascade.spec.readable`."""
    return None if known["i"] < 0 else (known["run"], Call(known["frame"], known["i"]))


def at_call(known: Mapping[str, Any]) -> tuple[Any, Call] | None:
    """Say where code is that makes one call."""
    return known["run"], known["call"]


def at_item(state: Any, index: int) -> tuple[Any, Call]:
    """Say where code is that calls for one item of a map."""
    return state.run, Call(state.frame, state.i, f"[{index}]")


def at_none(known: Mapping[str, Any]) -> tuple[Any, Call] | None:
    """Say where code is whose calls are in tasks of their own."""
    return None
