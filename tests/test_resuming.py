"""Random programs that are killed at a random call and started again give what they give uninterrupted.

`CASCADE_EXAMPLES=3000 pytest tests/test_resuming.py` looks longer.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from typing import Any

import pytest

from cascade.adapters.state import MemoryBackend
from cascade.runtime import Engine
from cascade.spec.state import Commit
from tests.oracle import TooLong, Unspecified, evaluate
from tests.strategies import Built, Recipe, build, fixed_recipes
from tests.test_agreement import LONG_ENOUGH, alike
from tests.workflows import AGAIN, Tier

EXAMPLES = int(os.environ.get("CASCADE_EXAMPLES", "0")) or (40 if AGAIN else 120)
BY_COUNT = ("turning", "'first'")
"""Bodies whose value depends on how often they were called: another start calls less often."""


class Killed(BaseException):
    """What stands for the end of the process."""


class Dying(MemoryBackend):
    """A store that nothing reaches any more once the process is dead."""

    is_dead = False

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        return [] if self.is_dead else super().commit(commits)

    def revive(self) -> None:
        self.is_dead = False
        for kept in self._kept.values():
            kept.record = kept.record._replace(owner=None)


def start(
    built: Built, store: Dying, durability: Any, tier: Tier, on_change: Any = "keep"
) -> tuple[Any, BaseException | None]:
    """Run declarations on an engine of their own; return the value or the error."""

    async def main() -> tuple[Any, BaseException | None]:
        engine = Engine(state_backend=store, durability=durability, tier=tier, system_resources={"slot": 1})
        for key, blueprint in built.blueprints.items():
            engine.register_blueprint(key, blueprint)
        async with asyncio.timeout(LONG_ENOUGH), engine:
            try:
                return await engine.run(built.target, built.params, run_id="r", on_change=on_change), None
            except (Exception, Killed) as error:
                if isinstance(error, asyncio.CancelledError):
                    raise
                return None, error

    return asyncio.run(main())


def killed_at(recipe: Recipe, moment: int, store: Dying) -> Built:
    """Return declarations whose process ends at a call of a body."""
    built, calls = build(recipe), 0
    enter = built.recorder.enter

    def entering(*args: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == moment:
            store.is_dead = True
            raise Killed
        return enter(*args)

    built.recorder.enter = entering  # type: ignore[assignment, method-assign]
    return built


@pytest.mark.parametrize("durability", ["group", "each"])
def test_what_was_killed_goes_on_to_the_same_end(durability: str) -> None:
    compared = 0
    for at, recipe in enumerate(fixed_recipes(EXAMPLES, seed=3, handing=True)):
        if any(word in repr(recipe) for word in BY_COUNT):
            continue
        built = build(recipe)
        try:
            report = evaluate(built.target, built.params, blueprints=built.blueprints)
        except (Unspecified, TooLong):
            continue
        calls = built.recorder.calls.total()
        if not calls:
            continue
        store, moment = Dying(), random.Random(at).randint(1, calls)
        start(killed_at(recipe, moment, store), store, durability, "auto")
        store.revive()
        value, error = start(build(recipe), store, durability, "auto")
        where = f"program {at}, killed at call {moment} of {calls}"
        if report.failures:
            assert error is not None, where
            assert any(alike(each.error, error) for each in report.failures), (where, error)
        else:
            assert error is None, (where, error)
            assert repr(value) == repr(report.value), where
        compared += 1
    assert compared > EXAMPLES // 5
