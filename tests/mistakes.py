"""A workflow with a deliberate mistake of every kind; a comment on the line names the code of the finding."""

import queue
import time
from typing import Any

import cascade as cs

verbose = cs.Param("verbose", default=False)  # expect: unused-parameter
jobs: "queue.Queue[int]" = queue.Queue()


@cs.task
def count(n: int) -> int:
    return n


@cs.task
def shout(text: str) -> str:
    return text.upper()


@cs.task
async def slow(n: int) -> int:
    time.sleep(1)  # expect: blocking-async
    return n


@cs.task
def take() -> int:
    return jobs.get()  # expect: waiting-auto


@cs.task(pure=True)
def noted(items: list[int]) -> list[int]:
    items[0] = 3  # expect: impure
    return items


@cs.task  # expect: missing-resource
def query(database: Any = cs.inject("database")) -> int:
    return int(database.count())


@cs.task
def spin(n: int) -> cs.Jump:
    return cs.Jump("again", n + 1)


@cs.task
def walk(n: int) -> int | cs.Jump:
    if n > 3:
        return n
    if n == 2:
        return cs.Jump("agian", n)  # expect: unknown-route
    return cs.Jump("again", n)


@cs.task
def never(n: int) -> int:
    return n


@cs.task
def quiet(level: int) -> int:
    return 1


@cs.task
def show(value: int) -> int:
    return value


@cs.task
def pair(a: int, b: int) -> int:
    return a + b


def declare() -> list[cs.LazyResult[Any]]:
    """Return a target that has them all."""
    endless = spin(0)  # expect: endless-loop
    cs.bind(endless, cs.select_jump({"again": endless}))
    feed = count(1)
    walking = walk(feed)  # expect: unbound-route
    unused = never(0)  # expect: unreachable-state
    ways = cs.select_jump({"again": walking, "never": unused, "back": feed})
    cs.bind(walking, ways)
    cs.bind(unused, ways)
    leaving = walk(1)
    result = show(leaving)  # expect: exit-reads-loop
    cs.bind(leaving, cs.select_jump({"again": leaving, "agian": result}))
    level = cs.Param("level", default=1)  # expect: unused-parameter
    shouted = shout(count(1))  # expect: type-mismatch
    texted = shout(str(count(1)))  # expect: lazy-text
    hidden = count(2)  # expect: gated-input
    gated = pair(1, hidden).run_if(count(3), otherwise=0)
    return [endless, walking, leaving, shouted, texted, gated, slow(1), take(), noted([1]), query(), quiet(level)]
