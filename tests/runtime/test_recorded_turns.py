"""Loops that are recorded at each turn of the event loop only: what is written, and where they go on.

The tasks say where they run, as one that a busy machine holds up for long is no hot loop any more.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.adapters.state.codec import decode
from cascade.runtime import Engine
from cascade.runtime.journal.journal import Journal
from cascade.spec.state import Commit
from tests.helpers import ROOT
from tests.workflows import TIERS, Tier

COUNT, DIES = 90, 30
TEXT = "x" * 1000
seen: list[tuple[int, int]] = []
"""The entries that were begun: what is left, and which entry of its loop each is."""


class Killed(BaseException):
    """What stands for the end of the process."""


class Dying(MemoryBackend):
    """A store that nothing reaches any more once the process is dead."""

    dies_at: int | None = None
    is_dead = False

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        return [] if self.is_dead else super().commit(commits)

    def revive(self) -> None:
        self.is_dead, self.dies_at = False, None
        for kept in self._kept.values():
            kept.record = kept.record._replace(owner=None)


store = Dying()


def enter(n: int) -> None:
    if store.dies_at == n:
        store.is_dead = True
        raise Killed("tired")
    seen.append((n, cs.current().iteration))


@cs.task(mode="inline")
def one(n: int) -> cs.Jump:
    enter(n)
    return cs.Jump("on", n - 1) if n else cs.Jump("out", "end")


@cs.task(mode="inline")
def named(n: int, text: str) -> cs.Jump:
    enter(n)
    return cs.Jump("on", {"n": n - 1, "text": text}) if n else cs.Jump("out", text[:3])


@cs.task
async def waiting(n: int, text: str) -> cs.Jump:
    enter(n)
    if n % 50 == 0:
        await asyncio.sleep(0.001)
    return cs.Jump("on", {"n": n - 1, "text": text}) if n else cs.Jump("out", text[:3])


@cs.task(mode="inline")
def tail(n: int, text: str) -> Any:
    enter(n)
    return cs.TailCall([n - 1]) if n else text[:3]


@cs.task(mode="inline")
def ping(n: int, text: str) -> cs.Jump:
    enter(n)
    return cs.Jump("pong", {"count": n - 1, "text": text}) if n else cs.Jump("out", text[:3])


@cs.task(mode="inline")
def pong(text: str, count: int) -> cs.Jump:
    enter(count)
    return cs.Jump("on", {"text": text, "n": count - 1}) if count else cs.Jump("out", text[:3])


@cs.task(record=False, mode="inline")
def factor() -> int:
    return 1


@cs.task(mode="inline")
def stepping(n: int, text: str, by: int) -> cs.Jump:
    enter(n)
    return cs.Jump("on", {"n": n - by, "text": text}) if n else cs.Jump("out", text[:3])


@cs.task(mode="inline")
def listing(n: int, found: list[int] | None = None) -> cs.Jump:
    enter(n)
    found = found or []
    found.append(n)
    return cs.Jump("on", {"n": n - 1, "found": found}) if n else cs.Jump("out", found)


def bound(state: Any, **options: Any) -> Any:
    return cs.bind(state, cs.select_jump({"on": state, "out": None}), **options)


def two(**options: Any) -> Any:
    first, second = ping(COUNT, TEXT), pong(TEXT, 0)
    routes = cs.select_jump({"on": first, "pong": second, "out": None})
    cs.bind(second, routes)
    return cs.bind(first, routes, **options)


Make = Callable[..., Any]
SHAPES: dict[str, tuple[Make, Any]] = {
    "one value": (lambda **options: bound(one(COUNT), **options), "end"),
    "a dict": (lambda **options: bound(named(COUNT, TEXT), **options), "xxx"),
    "by name": (lambda **options: bound(named(n=COUNT, text=TEXT), **options), "xxx"),
    "two states": (two, "xxx"),
    "unrecorded steps": (lambda **options: bound(stepping(COUNT, TEXT, factor()), **options), "xxx"),
    "a coroutine": (lambda **options: bound(waiting(COUNT, TEXT), **options), "xxx"),
    "an item": (lambda **options: bound(named.partial(text=TEXT).map(n=[COUNT]), **options), ["xxx"]),
    "a list": (lambda **options: bound(listing(COUNT), **options), [*range(COUNT, -1, -1)]),
}


def run(target: Any, tier: Tier = "auto", durability: Any = "group") -> Any:
    async def main() -> Any:
        async with Engine(state_backend=store, tier=tier, durability=durability) as engine:
            return await engine.run(target, run_id="r")

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global store
    store = Dying()
    seen.clear()


def kill(target: Any, at: int = DIES, **how: Any) -> None:
    """Start a run whose process ends before an entry."""
    store.dies_at = at
    with pytest.raises(Killed):
        run(target, **how)
    store.revive()
    seen.clear()


def check_goes_on() -> None:
    """Check that entries were begun from one on that is not behind the last one, each with its number."""
    first, _ = seen[0]
    assert first >= DIES
    assert seen == [(n, COUNT - n) for n in range(first, -1, -1)]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("checkpoint", "durability"), [(None, "group"), ("turn", "group"), ("turn", "each")])
def test_what_was_killed_goes_on_to_the_same_end(shape: str, checkpoint: Any, durability: Any, tier: Tier) -> None:
    make, expected = SHAPES[shape]
    target = make(checkpoint=checkpoint, max_iterations=COUNT + 1)
    kill(target, tier=tier, durability=durability)
    assert run(target, tier, durability) == expected
    check_goes_on()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_failed_goes_on_at_its_entry(shape: str, tier: Tier, monkeypatch: Any) -> None:
    make, expected = SHAPES[shape]
    monkeypatch.setattr(sys.modules[__name__], "Killed", OSError)
    store.dies_at = DIES
    monkeypatch.setattr(Dying, "is_dead", property(lambda _: False, lambda *_: None))
    with pytest.raises(OSError, match="tired"):
        run(make(), tier)
    store.dies_at = None
    seen.clear()
    assert run(make(), tier) == expected
    assert seen[0] == (DIES, COUNT - DIES)
    check_goes_on()


@pytest.mark.parametrize("tier", TIERS)
def test_what_can_be_changed_in_place_goes_on_at_the_turn_if_it_failed(tier: Tier, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys.modules[__name__], "Killed", OSError)
    store.dies_at = DIES
    monkeypatch.setattr(Dying, "is_dead", property(lambda _: False, lambda *_: None))
    target = bound(listing(COUNT), checkpoint="turn")
    with pytest.raises(OSError, match="tired"):
        run(target, tier)
    store.dies_at = None
    seen.clear()
    assert run(target, tier) == [*range(COUNT, -1, -1)]
    check_goes_on()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("shape", ["a dict", "two states", "a coroutine", "an item"])
def test_max_iterations_goes_on(shape: str, tier: Tier) -> None:
    target = SHAPES[shape][0](max_iterations=COUNT - 20)
    kill(target, tier=tier)
    with pytest.raises(cs.JumpError, match="max_iterations=70"):
        run(target, tier)
    assert seen[-1] == (21, COUNT - 21)


@pytest.mark.parametrize("tier", TIERS)
def test_history_keeps_each_entry(tier: Tier) -> None:
    async def entries() -> list[str]:
        async with Engine(state_backend=store) as engine:
            return [step.task_id for step in await engine.history("r") if "@" in step.task_id]

    target = SHAPES["a dict"][0](history=True)
    kill(target, tier=tier)
    assert run(target, tier) == "xxx"
    assert asyncio.run(entries()) == [f"named#1@{entry}" for entry in range(COUNT)]
    check_goes_on()


@pytest.mark.parametrize("shape", SHAPES)
def test_one_entry_of_many_is_written(shape: str, monkeypatch: Any) -> None:
    kept, count = list[Any](), 600
    monkeypatch.setattr(sys.modules[__name__], "COUNT", count)
    keep = Journal.keep_position

    def counted(*args: Any) -> None:
        kept.append(args)
        keep(*args)

    monkeypatch.setattr(Journal, "keep_position", counted)
    for checkpoint in ("turn", "entry"):
        kept.clear()
        target = SHAPES[shape][0](checkpoint=checkpoint)
        run(target)
        store.revive()
        asyncio.run(Engine(state_backend=store).forget("r"))
        assert len(kept) == count if checkpoint == "entry" else len(kept) < count - 100, checkpoint


def test_an_entry_that_awaits_is_written_meanwhile() -> None:
    @cs.task
    async def step(n: int) -> cs.Jump:
        if n == 5:
            entered.set()
            await asyncio.Event().wait()
        return cs.Jump("on", n - 1) if n else cs.Jump("out", "end")

    async def main() -> None:
        async with Engine(state_backend=store) as engine:
            going = engine.start(bound(step(COUNT)), run_id="r")
            await entered.wait()
            while position() != COUNT - 5:
                await asyncio.sleep(0.005)
            assert going.status == "Running"

    def position() -> int:
        found = [decode(each.value)["count"] for each in store.steps("r") if each.kind == "loop"]
        return int(found[0]) if found else 0

    entered = asyncio.Event()
    asyncio.run(main())


PROGRAM = """
import os, signal, sys
import cascade as cs

@cs.task
def turning(n: int, text: str):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return cs.Jump("on", {"n": n + 1, "text": text}) if n < int(sys.argv[4]) else cs.Jump("out", [n, len(text)])

async def main(tier):
    state = turning(0, "x" * 1000)
    target = cs.bind(state, cs.select_jump({"on": state, "out": None}))
    async with cs.Engine(state_backend=sys.argv[1], tier=tier) as engine:
        return await engine.run(target, run_id=tier)

import asyncio
left = [int(sys.argv[3])]
print(asyncio.run(main(sys.argv[2])), -left[0])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is told in another way")
@pytest.mark.parametrize("tier", TIERS)
def test_a_process_that_is_killed_goes_on_to_the_same_end(tier: Tier, tmp_path: Path) -> None:
    def start(dies: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-c", PROGRAM, str(tmp_path / "kept" / "runs.db"), tier, str(dies), str(count)]
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
        )

    count = 5_000 if tier == "interpret" else 60_000
    dies = count - 1_000
    assert start(dies).returncode == -signal.SIGKILL
    ended = start(0)
    value, calls = ended.stdout.rsplit(" ", 1)
    assert value == f"[{count}, 1000]", ended.stderr
    assert 1_000 < int(calls) <= count + 1


def test_what_bind_refuses() -> None:
    state = one(1)
    routes = cs.select_jump({"on": state})
    with pytest.raises(ValueError, match='checkpoint is "entry" or "turn", not \'step\''):
        cs.bind(state, routes, checkpoint="step")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="leave out one of them"):
        cs.bind(state, routes, history=True, checkpoint="turn")
