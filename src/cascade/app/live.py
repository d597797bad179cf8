"""The live display of a run on a terminal; needs rich."""

from __future__ import annotations

import sys
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live as RichLive
from rich.text import Text

from cascade.app.standing import Report, loops, spelled_time
from cascade.app.words import say
from cascade.app.writing import is_terminal
from cascade.spec import terminal

__all__ = ["Live", "drawn"]

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
SLOW = 5.0
"""Seconds from which on a running node is shown in another color."""
MOST_ROWS = 6
BAR = 24

_showing: list[Live] = []


class Live:
    """A few lines at the bottom of the terminal, which are gone when the run has ended."""

    def __init__(self, console: Console | None = None) -> None:
        self._turn = 0
        self._live: RichLive | None = None
        if _showing:
            return  # a run inside a run: one display is enough
        self._live = RichLive(
            console=console or Console(stderr=True, soft_wrap=True),  # what programs print is not wrapped anew
            auto_refresh=False,
            transient=True,
            redirect_stdout=is_terminal(sys.stdout),  # else it goes to a file or a pipe, which is none of our business
        )
        _showing.append(self)
        terminal.drawn.append(self)

    def show(self, report: Report) -> None:
        """Show how far a run has come."""
        with terminal.drawing() as free:
            if self._live is not None and free:
                self._turn += 1
                self._live.start()  # anew, when it has given way
                self._live.update(drawn(report, self._turn, self._live.console.width), refresh=True)

    def give_way(self) -> None:
        """Take the display away until it is shown again."""
        if self._live is not None:
            self._live.stop()

    def stop(self) -> None:
        """Take the display away."""
        if self._live is not None:
            with terminal.drawing():
                live, self._live = self._live, None
                _showing.remove(self)
                terminal.drawn.remove(self)
                live.stop()


def drawn(report: Report, turn: int, width: int) -> Text:
    """Return the lines of the display."""
    sight = report.sight
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{SPINNER[turn % len(SPINNER)]} ", "cyan")
    nodes = f"  {say('nodes', done=f'{sight.done:,}', total=f'{sight.total:,}')}" if sight.total > 1 else ""
    taken = f"  {spelled_time(report.seconds)}"
    text.append(_shortened(report.names, max(12, width - cell_len(nodes + taken) - 3)), "bold")
    text.append(nodes)
    text.append(taken, "dim")
    rows: list[tuple[str, str, Any]] = []
    for name, count in loops(sight):
        rows.append(("↻", name, _loop(count, report.rates.get(name))))
    for each in sight.maps[:MOST_ROWS]:
        rows.append(("≡", each.id, _map(each, report.rates.get(each.id), width)))
    for name, seconds in report.running[:MOST_ROWS]:
        rows.append(("▸", name, Text(spelled_time(seconds), "yellow" if seconds >= SLOW else "dim")))
    widest = min(max((cell_len(name) for _, name, _ in rows), default=0), max(12, width // 2))
    for mark, name, rest in rows:
        label = Text(_shortened(name, widest))
        label.truncate(widest, overflow="ellipsis", pad=True)
        text.append(f"\n  {mark} ", "cyan")
        text.append_text(label)
        text.append("  ")
        text.append_text(rest)
    more = len(report.running) - MOST_ROWS
    if more > 0:
        text.append(f"\n    {say('more_running', count=f'{more:,}')}", "dim")
    for note in report.notes:
        text.append(f"\n    {note}", "yellow")
    return text


def _shortened(name: str, width: int) -> str:
    """Leave out the middle of a name that is too long: what tells it from others is often at its end."""
    if cell_len(name) <= width:
        return name
    return f"{name[: width // 2]}…{name[-(width - width // 2 - 1) :]}"


def _rate(text: Text, rate: float | None) -> Text:
    if rate:
        text.append(f"  {say('rate', rate=f'{rate:,.0f}')}", "dim")
    return text


def _loop(count: int, rate: float | None) -> Text:
    return _rate(Text(say("entries", count=f"{count:,}")), rate)


def _map(seen: Any, rate: float | None, width: int) -> Text:
    text = Text()
    bar = BAR if width >= 72 else BAR // 3
    if seen.total:
        full = bar * min(seen.done, seen.total) // seen.total
        text.append("━" * full, "green")
        text.append("━" * (bar - full), "dim")
        text.append(f"  {seen.done:,}/{seen.total:,}")
    else:
        text.append(say("items", count=f"{seen.done:,}"))
    if seen.failed:  # before the rate, which is cut off first on a narrow terminal
        text.append(f"  {say('items_failed', count=f'{seen.failed:,}')}", "bold red")
    return _rate(text, rate)
