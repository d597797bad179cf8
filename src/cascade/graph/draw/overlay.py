"""What a finished run did, by shape: read off its events, to be laid over a picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from cascade.graph.draw.picture import Picture
from cascade.spec.events import (
    RunFinished,
    RunStarted,
    TaskBlocked,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)

__all__ = ["Overlay", "Story", "Watching", "finder", "overlay_of"]

ID = re.compile(r"(.*)#(\d+)(?:\.\d+)*(?:~\d+)*((?:\[\d+\])*)", re.DOTALL)
MOST_ITEMS = 50


class Story:
    """What happened to one shape."""

    __slots__ = (
        "attempts",
        "error",
        "failed",
        "items",
        "passing",
        "reason",
        "result",
        "seconds",
        "started",
        "status",
        "times",
    )

    def __init__(self) -> None:
        self.status = ""
        self.started = 0
        self.times = 0
        """How many calls of it have ended: entries of a loop, items of a map."""
        self.seconds = 0.0
        self.attempts = 0
        """How many attempts failed and were followed by another one."""
        self.failed = 0
        """How many of its calls have failed for good."""
        self.error = ""
        """The error of the first call that failed for good."""
        self.passing = ""
        """The error of the first attempt that was followed by another one."""
        self.reason = ""
        self.result = ""
        """The first letters of what the last call gave, if the events have them."""
        self.items: list[Item] = []
        """The failed items of a map and then the slowest."""


class Item(NamedTuple):
    """What happened to one item of a map."""

    at: str
    status: str
    seconds: float
    error: str

    def weight(self) -> tuple[bool, float]:
        """Return what the items are sorted by: failed ones first, then slow ones."""
        return self.status == "Succeeded", -self.seconds


class Overlay:
    """The stories of the shapes of one picture, and how the run as a whole went."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.status = "Running"
        self.seconds = 0.0
        self.error = ""
        self.started = 0.0
        """When it began, in seconds since the epoch; 0 if nobody has heard."""
        self.params: dict[str, Any] = {}
        self.stories: dict[int, Story] = {}
        self.elsewhere = 0
        """Events of nodes that no shape stands for."""


class Watching:
    """Takes in the events of a run as they come, and keeps no more of them than a picture shows.

    Args:
        run_id: of the run; by default the first that is heard of.
    """

    def __init__(self, picture: Picture, run_id: str = "") -> None:
        self._overlay = Overlay(run_id)
        self._picture = picture
        self._places = _Places(picture)

    def hear(self, event: Any) -> None:
        """Take in an event; those of other runs are not listened to."""
        overlay = self._overlay
        if not overlay.run_id and isinstance(event, (RunStarted, TaskEvent)):
            overlay.run_id = event.run_id
        if event.run_id != overlay.run_id:
            return
        if isinstance(event, RunStarted):
            overlay.started, overlay.params = event.timestamp, dict(event.params)
        elif isinstance(event, RunFinished):
            overlay.status, overlay.seconds, overlay.error = event.status, event.duration, event.error or ""
        elif isinstance(event, TaskEvent):
            found = ID.fullmatch(event.task_id)
            at = self._places.find(found[1], int(found[2])) if found else None
            if at is None:
                overlay.elsewhere += 1
                return
            story = overlay.stories.get(at)
            if story is None:
                story = overlay.stories[at] = Story()
            _tell(story, event, found[3] if found else "")

    def overlay(self) -> Overlay:
        """Return what has been told."""
        overlay = self._overlay
        begun = {self._picture.shapes[at].id for at, story in overlay.stories.items() if story.started}
        read = {line.source for line in self._picture.lines if line.kind == "data" and line.target in begun}
        for at, story in overlay.stories.items():
            if story.started > story.times and not story.status:
                story.status = "Running"
            story.items = sorted(story.items, key=Item.weight)[:MOST_ITEMS]
            went_on = overlay.status == "Succeeded" or self._picture.shapes[at].id in read
            if story.status == "Failed" and story.failed < story.times and went_on:
                story.status = "Succeeded"  # the run went on without the items that failed
        return overlay


def overlay_of(picture: Picture, events: Any) -> Overlay:
    """Return what these events tell of the picture's shapes.

    Args:
        events: events in the order in which they came, or what has them as its `events` (a SpySubscriber), or what has
            watched the run. Of several runs the last one counts.
    """
    if isinstance(events, Watching):
        return events.overlay()
    listed: list[Any] = list(_events(events))
    run_id = next((event.run_id for event in reversed(listed) if isinstance(event, (RunStarted, TaskEvent))), "")
    watching = Watching(picture, run_id)
    for event in listed:
        watching.hear(event)
    return watching.overlay()


def finder(picture: Picture) -> Callable[[str], str | None]:
    """Return what finds the id of the shape that the `task_id` of an event means; None for what is not drawn."""
    places = _Places(picture)

    def find(task_id: str) -> str | None:
        found = ID.fullmatch(task_id)
        at = places.find(found[1], int(found[2])) if found else None
        return None if at is None else picture.shapes[at].id

    return find


def _events(given: Any) -> Iterable[Any]:
    return getattr(given, "events", given)  # type: ignore[no-any-return]


def _tell(story: Story, event: TaskEvent, item: str) -> None:
    match event:
        case TaskExecutionStarted():
            story.started += 1
        case TaskExecutionFinished():
            story.times += 1
            story.seconds += event.duration
            story.result = event.result_preview or story.result
            if story.status not in ("Failed", "Cancelled"):
                story.status = event.status
            if event.status == "Failed":
                story.failed += 1
                story.error = story.error or event.error or ""
            if item:
                story.items.append(Item(item, event.status, event.duration, event.error or ""))
                if len(story.items) > MOST_ITEMS * 20:
                    story.items.sort(key=Item.weight)
                    del story.items[MOST_ITEMS:]
        case TaskSkipped():
            story.status = story.status or "Skipped"
            story.reason = event.reason
        case TaskRetrying():
            story.attempts += 1
            story.passing = story.passing or event.error or ""
        case TaskBlocked():
            story.reason = event.reason


class _Places:
    """Finds the shape that a task id means: nodes are numbered by name, those of the target's graph first."""

    def __init__(self, picture: Picture) -> None:
        shapes = {(shape.graph, shape.number): at for at, shape in enumerate(picture.shapes) if shape.number >= 0}
        self._known: dict[str, list[int | None]] = {}
        """The shapes by label, in the order of their numbers; None for what is not drawn."""
        for at, graph in enumerate(picture.nest.graphs):
            for i in range(len(graph)):
                self._known.setdefault(graph.name(i), []).append(shapes.get((at, i)))

    def find(self, label: str, number: int) -> int | None:
        """Return the shape of the node that is called `label#number`; None in a graph that a tail call led to."""
        known = self._known.get(label, ())
        return known[number - 1] if number <= len(known) else None
