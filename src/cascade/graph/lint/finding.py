"""What a look at a graph finds."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

__all__ = ["CODES", "Finding", "Severity", "found"]

Severity = Literal["error", "warning"]

CODES: dict[str, tuple[Severity, str]] = {
    "graph": ("error", "the graph cannot be built"),
    "unreachable-state": ("warning", "a state of a loop that no state jumps to"),
    "endless-loop": ("warning", "a loop that no state leaves"),
    "unbound-route": ("warning", "a route to a result that is not bound and that the jumping step depends on"),
    "exit-reads-loop": ("warning", "an exit that depends on the loop that it is the way out of"),
    "unknown-route": ("error", "a Jump with a key that the selector does not have"),
    "unused-parameter": ("warning", "a parameter that no task looks at"),
    "type-mismatch": ("warning", "a task gives another type than its reader expects"),
    "blocking-async": ("warning", "an async task calls a function that blocks the event loop"),
    "waiting-auto": ("warning", "an auto task waits for something that another task may have to do"),
    "missing-resource": ("error", "a resource is injected by a name that nobody provides"),
    "lazy-text": ("error", "an argument holds the text of a lazy value in the place of its value"),
    "gated-input": ("warning", "an input of a node with a condition, which nothing else reads, runs all the same"),
    "unknown-capacity": ("warning", "a constraint on what the engine has no capacity of"),
    "impure": ("warning", "a pure task has side effects"),
}
"""Every code, with how bad it is and what it means."""


class Finding(NamedTuple):
    """One thing that looks wrong."""

    code: str
    severity: Severity
    message: str
    file: str
    line: int
    task: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return self._asdict()

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.file else ""
        return f"{where}{self.severity}: {self.message} [{self.code}]"


def found(code: str, message: str, declared: str, task: str = "") -> Finding:
    """Return a finding at a place spelled `file:line`."""
    file, _, line = declared.rpartition(":")
    if not line.isdigit():
        file, line = "", "0"
    return Finding(code, CODES[code][0], message, file, int(line), task)
