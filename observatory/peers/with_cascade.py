"""Cascade itself, measured like the others."""

import asyncio
from collections.abc import Callable
from typing import Any

import cascade as cs
from observatory import work
from observatory.peers import kit
from observatory.peers.kit import HEAVY, Peer, Work, dag, heavy_expected

LOOP = asyncio.Runner()
ENGINE = cs.Engine()


def running(target: Any) -> Any:
    return LOOP.run(ENGINE.run(target))


link = cs.task(kit.link)


@cs.task
def step(n: int, total: int, fed: int) -> Any:
    n, total = kit.step(n, total, fed)
    return cs.Jump("again", {"n": n, "total": total}) if n else cs.Jump("exit", total)


def heavy() -> Work:
    n = 100_000

    def build() -> Callable[[], Any]:
        value = link()
        for _ in range(work.CHAIN - 1):
            value = link(value=value)
        first = step(n, 0, fed=value)
        cs.bind(first, cs.select_jump({"again": first, "exit": None}))
        return lambda: running(first)

    return Work("a jump loop", "docs/loops.md", build, n * HEAVY, heavy_expected(n))


combine = cs.task(work.combine)


def layered() -> Work:
    graph = dag()

    def build() -> Callable[[], Any]:
        nodes: list[cs.LazyResult[int]] = []
        for number, inputs in enumerate(graph.inputs):
            nodes.append(combine(*[nodes[each] for each in inputs]) if inputs else combine(number))
        target = [nodes[number] for number in graph.sinks]
        return lambda: running(target)

    return Work("tasks called with lazy results", "docs/declaring.md", build, len(graph.inputs), graph.expected)


PEER = Peer("Cascade", "", heavy, layered, "")
