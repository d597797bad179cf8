"""How a run stands, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cascade.app.words import say

if TYPE_CHECKING:
    from cascade.runtime.inspect.progress import MapProgress, RunProgress

__all__ = ["Report", "loops", "shortened", "spelled_time"]

MOST_NAMED = 5


class Report(NamedTuple):
    """What is shown of a run."""

    names: str
    seconds: float
    sight: RunProgress
    rates: dict[str, float]
    """Entries or items a second, by id."""
    running: list[tuple[str, float]]
    """Calls that are going on, and for how many seconds at the least; the longest first."""
    notes: tuple[str, ...] = ()
    """What else is to be said, a line each."""

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON has."""
        sight = self.sight
        return {
            "elapsed": round(self.seconds, 3),
            "done": sight.done,
            "total": sight.total,
            "loops": sight.loops,
            "maps": [each._asdict() for each in sight.maps],
            "rates": {name: round(rate, 1) for name, rate in self.rates.items()},
            "running": {name: round(seconds, 3) for name, seconds in self.running},
            **({"waiting": {name: [*what] for name, what in sight.waiting.items()}} if sight.waiting else {}),
            **({"notes": [*self.notes]} if self.notes else {}),
        }

    def __str__(self) -> str:
        sight = self.sight
        parts = [] if not sight.total else [say("nodes", done=f"{sight.done:,}", total=f"{sight.total:,}")]
        parts += [f"{name} {counted(say('entries', count=f'{n:,}'), self.rates.get(name))}" for name, n in loops(sight)]
        parts += [f"{each.id} {counted(_items(each), self.rates.get(each.id))}" for each in sight.maps[:MOST_NAMED]]
        if self.running:
            named = [f"{name} ({spelled_time(seconds)})" for name, seconds in self.running]
            parts.append(say("running", names=shortened(named)))
        if sight.waiting:
            parts.append(say("in_channels", what=shortened([_waits(*each) for each in sorted(sight.waiting.items())])))
        return say(
            "so_far",
            names=self.names,
            seconds=spelled_time(self.seconds),
            what="; ".join([*parts, *self.notes]) or "...",
        )


def _items(seen: MapProgress) -> str:
    text = say("items", count=f"{seen.done:,}" + ("" if seen.total is None else f"/{seen.total:,}"))
    return text + (f", {say('items_failed', count=f'{seen.failed:,}')}" if seen.failed else "")


def _waits(name: str, what: tuple[str, str]) -> str:
    doing, channel = what
    return say("waits_to_send" if doing == "send" else "waits_to_receive", name=name, channel=channel)


def counted(text: str, rate: float | None) -> str:
    """Return a counter with its rate."""
    return text if not rate else f"{text} ({say('rate', rate=f'{rate:,.0f}')})"


def loops(sight: RunProgress) -> list[tuple[str, int]]:
    """Return the loops with most entries."""
    return sorted(sight.loops.items(), key=lambda one: -one[1])[:MOST_NAMED]


def shortened(names: list[str]) -> str:
    """Return the first of some names, and how many more there are."""
    shown = ", ".join(names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return say("more", shown=shown, more=more) if more > 0 else shown


def spelled_time(seconds: float) -> str:
    """Spell a time: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 03 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
