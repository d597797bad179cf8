"""What a state of an emitted loop may return besides the Jump that everybody expects."""

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any, NoReturn
from unittest.mock import Mock

import pytest

import cascade as cs
from tests.workflows import Body, Tier, every_body, every_tier, in_loop


class LooksLikeOne:
    """No Jump, whatever it has."""

    target_key = "again"
    data = 1


class Refuses:
    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"nobody asks for {name}")


class Answers:
    def __getattr__(self, name: str) -> str:
        return "again"


class Turned(cs.Jump):
    """A Jump that says another key than it was made with."""

    @property
    def target_key(self) -> Any:
        return "exit"

    @target_key.setter
    def target_key(self, key: Any) -> None:
        pass


class Renamed(cs.Jump):
    """A Jump with a signature of its own."""

    def __init__(self, n: int) -> None:
        super().__init__("again", n)


ENDS: list[Callable[[], Any]] = [LooksLikeOne, Refuses, Answers, Mock, object, lambda: None, lambda: [1], lambda: cs]


def looped(step: Any) -> Any:
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}))


@every_tier
@every_body
@pytest.mark.parametrize("end", ENDS)
def test_what_is_no_jump_ends_a_loop_whatever_attributes_it_has(end: Any, body: Body, tier: Tier) -> None:
    ended, called = end(), []

    def step(n: int, m: int) -> Any:
        called.append((n, m))
        return cs.Jump("again", n - 1) if n else ended

    async def main() -> None:
        async with cs.Engine(tier=tier) as engine:
            for _ in range(3):
                called.clear()
                assert await engine.run(looped(body(step)(40, 7))) is ended
                assert called == [(n, 7) for n in range(40, -1, -1)]

    in_loop(main)


@every_tier
@every_body
def test_subclasses_of_jump_say_themselves_where_they_lead(body: Body, tier: Tier) -> None:
    def step(n: int) -> Any:
        if n % 3:
            return cs.Jump("again", n - 1)
        return Renamed(n - 1) if n else Turned("again", "done")

    async def main() -> None:
        async with cs.Engine(tier=tier) as engine:
            for _ in range(3):
                assert await engine.run(looped(body(step)(90))) == "done"

    in_loop(main)


@every_tier
def test_a_state_that_ends_without_a_jump_may_have_jumped_and_called_itself(tier: Tier) -> None:
    @cs.task(mode="inline")
    def step(n: int) -> Any:
        if n % 2:
            return cs.TailCall([n - 1])
        return cs.Jump("again", n - 1) if n else LooksLikeOne

    async def main() -> None:
        async with cs.Engine(tier=tier) as engine:
            assert await engine.run(looped(step(100))) is LooksLikeOne

    in_loop(main)


@every_tier
@pytest.mark.parametrize("key", [None, False, 1.0, (1, 2), "again"])
@every_body
def test_every_key_leads_on(key: Any, body: Body, tier: Tier) -> None:
    def step(n: int) -> Any:
        return cs.Jump(key, n - 1) if n else "done"

    async def main() -> None:
        async with cs.Engine(tier=tier) as engine:
            first = body(step)(60)
            assert await engine.run(cs.bind(first, cs.select_jump({key: first}))) == "done"

    in_loop(main)


@every_tier
def test_a_cancel_reaches_a_loop_of_awaits_that_never_wait(tier: Tier) -> None:
    @cs.task
    async def step(n: int) -> Any:
        return cs.Jump("again", n + 1)

    async def main() -> None:
        async with cs.Engine(tier=tier) as engine:
            run = engine.start(looped(step(0)))
            asyncio.get_running_loop().call_later(0.05, run.cancel)
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)


@pytest.mark.parametrize("jump", [cs.Jump("again", 3), Renamed(3)])
def test_jumps_can_be_copied_and_pickled(jump: cs.Jump) -> None:
    for other in (copy.copy(jump), pickle.loads(pickle.dumps(jump))):
        assert (type(other), other.target_key, other.data) == (type(jump), "again", 3)
