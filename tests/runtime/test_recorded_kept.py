"""What of a run is in the store, by when, and what never is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.adapters.state.codec import decode
from cascade.errors import ParameterError
from cascade.runtime import Engine
from cascade.spec.state import Commit
from tests.runtime.recorded import calls, load, report, run
from tests.runtime.recorded import fresh as fresh
from tests.runtime.recorded import store as store
from tests.workflows import TIERS, Tier


class TestSecrets:
    SECRET = "cret-väl"
    token = cs.Param("token", secret=True)
    inner = cs.Param("t", secret=True)

    @pytest.mark.parametrize(
        "target",
        [
            token,
            cs.Env("RECORDED_API_KEY"),
            [token, load(token)],
            load(token).run_if(token),
            {"a": token, "b": load(cs.Env("RECORDED_API_KEY"))},
            cs.Router(cs.Value("a"), {"a": token, "b": cs.Value(1)}),
            cs.subflow([inner, load(inner)], params={"t": token}),
            load.map(name=[token, "x"]),
            cs.task(lambda t: cs.TailCall(target_blueprint_id="called"))(token),
            cs.task(lambda t: {}[t])(token),
        ],
        ids=str,
    )
    def test_no_secret_is_in_the_store(self, target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RECORDED_API_KEY", self.SECRET)
        store, values = MemoryBackend(), list[Any]()

        async def main() -> None:
            async with Engine(state_backend=store) as engine:
                engine.register_blueprint("called", load(self.token))
                for _ in range(2):
                    calls.clear()
                    with suppress(KeyError):  # whose message shows it
                        values.append(await engine.run(target, {"token": self.SECRET}, run_id="r"))

        asyncio.run(main())
        assert "cret-v" not in repr((store._kept["r"].record, store._kept["r"].steps))
        assert (values[1:], calls) == (values[:1], [])

    def test_another_secret_is_no_other_parameter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store, target = MemoryBackend(), [self.token, cs.Env("RECORDED_API_KEY"), load(self.token)]
        for at in "12":
            monkeypatch.setenv("RECORDED_API_KEY", f"key {at}")
            assert run(target, store, {"token": f"token {at}"}) == [f"token {at}", f"key {at}", {"n": 7}]
        assert calls == [("load", "token 1")]
        with pytest.raises(ParameterError, match=r"'token' .* is required and was not given"):
            run(target, store)


def test_commits_of_a_start_are_counted() -> None:
    seen: list[Commit] = []

    class Seen(MemoryBackend):
        def commit(self, commits: Any) -> list[str]:
            seen.extend(commits)
            return super().commit(commits)

    run(report(), Seen(), durability="each")
    assert [commit.number for commit in seen] == list(range(1, len(seen) + 1))


class Committed(MemoryBackend):
    """Knows the values that are committed.

    Args:
        is_swift: whether the thread of the event loop may commit by itself.
    """

    def __init__(self, is_swift: bool) -> None:
        super().__init__()
        if is_swift:
            self.commit_now = self.commit
        self.values: set[Any] = set()

    def commit(self, commits: Any) -> list[str]:
        lost = super().commit(commits)
        for commit in commits:
            self.values.update(repr(decode(step.value)) for step in commit.steps if step.kind == "value")
        return lost


@cs.task(record=False)
def the_last(values: list[int]) -> int:
    return values[-1]


GIVERS: dict[str, Callable[[Any, int], Any]] = {
    "a call": lambda task, x: task(x),
    "a chain": lambda task, x: task(task(x - 100)),
    "one by name": lambda task, x: task(x=x),
    "a sub-flow": lambda task, x: cs.subflow(task(x)),
    "an item": lambda task, x: the_last(task.map(x=[x - 1, x])),
    "a retry": lambda task, x: task(x).with_retry(2),
}


READERS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "arguments": lambda task, a, b: task(a, b),
    "one argument": lambda task, a, b: task(task(a), b),
    "names": lambda task, a, b: task(a=a, b=b),
    "a list": lambda task, a, b: task([a, b]),
    "a condition": lambda task, a, b: task(a).run_if(b),
    "an order": lambda task, a, b: task(a).after(b),
    "a route": lambda task, a, b: cs.Router(b, {}, default=task(a)),
    "a map": lambda task, a, b: task.map(a=[a, b]),
    "a sub-flow": lambda task, a, b: cs.subflow(task(a, b)),
}


class TestNothingReadsWhatIsNotCommitted:
    """With "each": whatever gives a value, and whatever reads it."""

    @pytest.mark.parametrize("tier", TIERS)
    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("is_swift", [False, True], ids=["by the writer", "here"])
    def test_by_all_ways(self, tier: Tier, is_swift: bool, is_async: bool) -> None:
        early = list[Any]()
        for giver, give in GIVERS.items():
            for reader, read in READERS.items():
                store, given = Committed(is_swift), list[int]()

                def make(x: int, given: Any = given) -> int:
                    given.append(x + 100)
                    return x + 100

                async def make_later(x: int, given: Any = given) -> int:
                    await asyncio.sleep(0)
                    given.append(x + 100)
                    return x + 100

                def look(a: Any, b: Any = None, _at: Any = (giver, reader), _store: Any = store) -> int:
                    read = [*(a if isinstance(a, list) else [a]), *([] if b is None else [b])]
                    if _at[1] in ("a condition", "an order", "a route"):
                        read.append(102)
                    early.extend((_at, value) for value in read if repr(value) not in _store.values)
                    return -len(read)

                task = cs.task(make_later if is_async else make)
                target = read(cs.task(look), give(task, 1), give(task, 2))
                for _ in range(2):  # functions are known to be short by then
                    run(target, store, durability="each", tier=tier)
                    store._kept.clear()
                    store.values.clear()
                assert len(given) >= 4
        assert early == []
