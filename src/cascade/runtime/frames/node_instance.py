"""Instances of nodes: the graph's own, and those that loops make."""

from __future__ import annotations

from typing import Any

from cascade.spec.events import TaskSite
from cascade.spec.graph import Graph

__all__ = ["NodeInstance"]


class NodeInstance:
    """One instance of a node: the one of the graph around, or that of a loop which runs it again.

    `entries` counts, for a node that is a loop, how many entries it has had in this run; `items` the same
    for each item of a map. `site` is what its events say of it, made when somebody asks.
    """

    __slots__ = ("entered", "entries", "graph", "items", "key", "loop", "names", "number", "site")

    site: TaskSite

    def __init__(
        self, names: Any, key: Any, graph: Graph, number: int, loop: NodeInstance | None, entered: bool
    ) -> None:
        self.names = names
        self.key = key
        """The key of its activation."""
        self.graph = graph
        self.number = number
        self.loop = loop
        """The loop that it is run by."""
        self.entered = entered
        """Whether jumps lead to it; else its value is read."""
        self.entries = 0
        self.items: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        if name != "site":
            raise AttributeError(name)
        self.site = self.names.site(self)
        return self.site

    def has_looped(self, suffix: str) -> bool:
        """Say whether the node (or the item that `suffix` names) was a loop before, so that its calls are counted."""
        return bool(self.items.get(suffix) if suffix else self.entries)

    def site_of(self, suffix: str) -> TaskSite:
        """Return the site of the item that `suffix` (`[17]`) names."""
        if not suffix:
            return self.site
        return TaskSite(self.site.run_id, self.site.task_id + suffix, self.site.task_name)
