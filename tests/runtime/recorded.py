"""Tasks that say what was called, runs of them with a store, and failures that are mended before the next start."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.runtime import Engine
from tests.workflows import Tier

calls: list[Any] = []
leaving: list[Any] = []
broken: list[str] = []
"""Tasks fail while this is not empty."""


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Have nothing called and nothing broken."""
    calls.clear()
    broken.clear()


@cs.task
def load(name: str) -> dict[str, int]:
    calls.append(("load", name))
    return {"n": len(name)}


@cs.task
async def parse(data: dict[str, int]) -> int:
    calls.append(("parse", data["n"]))
    await asyncio.sleep(0)
    return data["n"] * 10


@cs.task
def publish(n: int) -> str:
    calls.append(("publish", n))
    if broken:
        raise ValueError("the printer is on fire")
    return f"{n} pages"


@cs.task
def count(n: int, total: int = 0) -> cs.Jump:
    calls.append(("count", n))
    if broken and n == 3:
        raise ValueError("tired")
    return cs.Jump("again", {"n": n - 1, "total": total + n}) if n else cs.Jump("out", total)


@cs.task
def climb_down(n: int) -> cs.Jump:
    calls.append(("down", n))
    if broken and n == 1:
        raise ValueError("tired")
    return cs.Jump("on", n)


@cs.task
def count_to(n: int, pages: int) -> cs.Jump:
    calls.append(("to", n))
    return cs.Jump("on", n - 1) if n else cs.Jump("out", pages)


@cs.task
def turn(n: int, way: str) -> cs.Jump:
    calls.append(n)
    if broken and n == 100:
        raise ValueError("tired")
    if leaving:
        leaving.pop().cancel()
        time.sleep(0.02)  # so that the event loop is to have a turn
    return cs.Jump("again", n - 1) if n else cs.Jump("out", way)


@cs.task
def climb(n: int, top: int) -> Any:
    calls.append(("climb", n))
    if broken and n == 3:
        raise ValueError("tired")
    return cs.TailCall([n + 1]) if n < top else n


@cs.task
def square(x: int) -> int:
    calls.append(("square", x))
    if broken and x == 2:
        raise ValueError("tired")
    return x * x


def report(name: str = "abc") -> Any:
    return publish(parse(load(name)))


def loop(n: int = 5) -> Any:
    state = count(n)
    return cs.bind(state, cs.select_jump({"again": state, "out": None}))


def run(target: Any, store: Any, params: Any = None, run_id: str = "r", tier: Tier = "auto", **options: Any) -> Any:
    async def main() -> Any:
        engine_options = {name: options.pop(name) for name in ("bus", "durability") if name in options}
        async with Engine(state_backend=store, tier=tier, **engine_options) as engine:
            return await engine.run(target, params, run_id=run_id, **options)

    return asyncio.run(main())


def fail(target: Any, store: Any, **options: Any) -> None:
    """Start a run that fails, as something is broken, and mend that."""
    broken.append("x")
    with pytest.raises(ValueError, match=r"tired|fire"):
        run(target, store, **options)
    broken.clear()
    calls.clear()


@pytest.fixture(params=["memory", "file"])
def store(request: Any, tmp_path: Path) -> Any:
    return MemoryBackend() if request.param == "memory" else tmp_path / "kept" / "runs.db"
