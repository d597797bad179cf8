"""Copies of nodes: the graph's own, and those that loops make."""

from __future__ import annotations

from cascade.spec.events import TaskSite

__all__ = ["Copy"]


class Copy:
    """One copy of a node: the one of the graph around, or that of a loop which runs it again.

    `entries` counts, for a node that is a loop, how many entries it has had in this run; `items` the same
    for each item of a map.
    """

    __slots__ = ("entries", "items", "site")

    def __init__(self, site: TaskSite) -> None:
        self.site = site
        self.entries = 0
        self.items: dict[str, int] = {}

    def has_looped(self, suffix: str) -> bool:
        """Say whether the node (or the item that `suffix` names) was a loop before, so that its calls are counted."""
        return bool(self.items.get(suffix) if suffix else self.entries)

    def site_of(self, suffix: str) -> TaskSite:
        """Return the site of the item that `suffix` (`[17]`) names."""
        if not suffix:
            return self.site
        return TaskSite(self.site.run_id, self.site.task_id + suffix, self.site.task_name)
