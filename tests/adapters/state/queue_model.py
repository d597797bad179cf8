"""What a queue means, in the plainest code: the model that stores are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

ENDS = ("Succeeded", "Failed", "Cancelled")


@dataclass
class Run:
    run_id: str
    target: str
    queue: str
    priority: int = 0
    is_due: bool = True
    dedupe: str | None = None
    status: str = "Enqueued"
    owner: str | None = None
    epoch: int = 0
    takeovers: int = 0


@dataclass
class Server:
    name: str
    is_alive: bool
    targets: tuple[str, ...]
    held: set[str] = field(default_factory=set)


@dataclass
class Model:
    """One queue, and runs of none."""

    queue: str
    servers: dict[str, Server]
    runs: list[Run] = field(default_factory=list)
    """As they came."""

    def find(self, run_id: str) -> Run | None:
        return next((run for run in self.runs if run.run_id == run_id), None)

    def enqueue(self, new: Run) -> Run:
        for run in self.runs:
            same = new.dedupe is not None and (run.dedupe, run.target) == (new.dedupe, new.target)
            if same and run.status not in ENDS:
                return run
        known = self.find(new.run_id)
        if known is None:
            self.runs.append(new)
            return new
        run = known
        if run.status in ("Failed", "Cancelled"):
            run.status, run.takeovers = "Enqueued", 0
            run.queue, run.priority, run.is_due, run.dedupe = new.queue, new.priority, new.is_due, new.dedupe
        return run

    def claim(self, server: Server, most: int, concurrency: int | None, is_thorough: bool) -> list[Run]:
        near = [run for run in self.runs if run.queue == self.queue] + [run for run in self.runs if not run.queue]
        left = [run for run in near if is_thorough and run.target in server.targets and self.is_left(run, server)]
        going = [run for run in near if run.queue and run.owner and run not in left]
        waiting = [
            run
            for run in near
            if run.status not in ENDS and not run.owner and run.is_due and run.target in server.targets
        ]
        back = [run for run in waiting if not run.queue and is_thorough]
        ready = sorted((run for run in waiting if run.queue), key=lambda run: -run.priority)
        room = most if concurrency is None else min(most, concurrency - len(going))
        found = [*left, *back, *ready][: max(0, room)]
        for run in found:
            run.takeovers += run.owner not in (None, server.name)
            run.status, run.owner, run.queue, run.is_due = "Enqueued", server.name, self.queue, True
        return found

    def is_left(self, run: Run, server: Server) -> bool:
        if run.owner is None:
            return False
        if run.owner == server.name:
            return run.status == "Enqueued" and run.run_id not in server.held
        return not self.servers[run.owner].is_alive

    def take(self, run: Run, name: str) -> None:
        run.status, run.owner, run.epoch, run.is_due = "Running", name, run.epoch + 1, True

    def end(self, run: Run, status: str | None) -> None:
        run.status, run.owner = status or "Running", None
