"""An agent that lives for days: it watches a fare, asks you when it is in doubt, and books once.

    pip install 'cascade-py[cli]'
    export CASCADE_STATE=runs.db
    cascade run examples/long_lived_agent.py --run-id oslo --pause 2    # where a day lasts 2 seconds
    kill -9 PID                                                         # in another terminal; lines begin with the PID
    cascade resume-run oslo                                             # goes on where it was
    cascade signal oslo most 340                                        # when it asks, or before

Each state of it is an entry of a loop, and recorded: `look` asks a shop (again, if that is down), `think` asks a model,
which says what comes next, `rest` sleeps until the next day, `doubt` waits for your word, `book` pays. What goes along
from state to state has a bounded size, so has what is recorded, and it may go on for years.
"""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cascade as cs

FOLDER = Path("build/long_lived_agent")
KEPT = 5


@dataclass(frozen=True)
class Memory:
    """All that the agent knows."""

    most: int
    asked: int = sys.maxsize
    day: int = 1
    notes: tuple[str, ...] = ()

    def noting(self, note: str) -> "Memory":
        """Remember a note, and the last few before it."""
        print(f"[{os.getpid()}] {note}\n", end="", flush=True)
        return replace(self, notes=(*self.notes, note)[-KEPT:])


def shop(day: int) -> int:
    """Stand in for a shop on the web: fares of one week, and every third day it is down when it is first asked."""
    if day % 3 == 0 and cs.current().attempt == 1:
        raise ConnectionError("the shop is down")
    return [412, 398, 405, 377, 334, 351, 309][day % 7]


def model(memory: Memory, fare: int) -> Literal["rest", "doubt", "book"]:
    """Stand in for a language model, which would be given all notes here: three comparisons, no intelligence."""
    return "book" if fare <= memory.most else "doubt" if fare < min(memory.asked, memory.most * 1.1) else "rest"


@cs.task(retry={"max_attempts": 5, "delay": 0.2, "backoff": 2.0, "on": ConnectionError})
def look(memory: Memory) -> cs.Jump:
    fare = shop(memory.day)
    return cs.Jump("think", {"memory": memory.noting(f"day {memory.day}: {fare}"), "fare": fare})


@cs.task(retry={"max_attempts": 5, "delay": 0.2, "backoff": 2.0, "on": ConnectionError})
def think(memory: Memory, fare: int) -> cs.Jump:
    said = model(memory, fare)
    if said == "rest":
        return cs.Jump("rest", memory)
    if said == "doubt":
        memory = memory.noting(f"May it cost {fare}? cascade signal {cs.current().run_id} most {fare}")
    return cs.Jump(said, {"memory": memory, "fare": fare})


@cs.task
def rest(memory: Memory, slept: None) -> cs.Jump:
    return cs.Jump("look", replace(memory, day=memory.day + 1))


@cs.task
def doubt(memory: Memory, fare: int, most: int) -> cs.Jump:
    memory = replace(memory, most=most, asked=fare).noting(f"you say: at most {most}")
    return cs.Jump("think", {"memory": memory, "fare": fare})


@cs.task
def book(memory: Memory, fare: int) -> str:
    FOLDER.mkdir(parents=True, exist_ok=True)
    key = cs.current().key  # the same if this process dies here and another goes on
    try:
        with open(FOLDER / f"{key}.booking", "x") as booking:  # stands in for a shop that takes a key once
            booking.write(f"{fare}\n")
    except FileExistsError:
        return f"had booked for {fare}"
    return f"booked for {fare} on day {memory.day}, notes: {memory.notes}"


def agent() -> cs.LazyResult[str]:
    most = cs.Param("most", default=320, description="what the ticket may cost")
    pause = cs.Param("pause", default=24 * 3600.0, description="seconds from day to day")
    word = cs.wait_signal("most", type=int).with_retry(max_attempts=10, delay=0)  # one that is no number is passed over
    new = Memory(0)
    looking = look(cs.task(Memory)(most))
    states = {
        "look": looking,
        "think": think(new, 0),
        "rest": rest(new, cs.wait(pause)),
        "doubt": doubt(new, 0, word),
        "book": book(new, 0),
    }
    routes = cs.select_jump(states)
    for state in states.values():
        cs.bind(state, routes)
    return looking


if __name__ == "__main__":
    cs.cli(agent())
