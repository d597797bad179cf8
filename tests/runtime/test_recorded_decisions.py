"""What a run has decided stays so when it goes on, also where what it decided by is not recorded.

Each program asks tasks that are not recorded, which answer otherwise in each start. The first start ends behind the
decision, by an error or as if its process was killed.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend
from cascade.runtime import Engine
from cascade.spec.state import Commit
from tests.workflows import TIERS, Tier

calls: list[Any] = []
starts = [0]


class Way(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


class Killed(BaseException):
    """What stands for the end of the process."""


class Dying(MemoryBackend):
    """A store that nothing reaches any more once the process is dead."""

    is_dead = False

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        return [] if self.is_dead else super().commit(commits)


store = Dying()
ending = ["fails"]


@cs.task
def first(name: str, *given: Any) -> str:
    calls.append(f"first {name}")
    return name


@cs.task
def breaks(name: str, *given: Any) -> str:
    """Ends the first start."""
    calls.append(f"breaks {name}")
    if starts[0] == 1:
        if ending[0] == "is killed":
            store.is_dead = True
            raise Killed
        raise ValueError("tired")
    return name


def answered(answers: Sequence[Any]) -> Any:
    return answers[min(starts[0], len(answers)) - 1]


@cs.task(record=False)
def unrecorded(*answers: Any) -> Any:
    return answered(answers)


@cs.task(pure=True)
def pure(*answers: Any) -> Any:
    return answered(answers)


@cs.task(record=False)
async def later(*answers: Any) -> Any:
    await asyncio.sleep(0)
    return answered(answers)


@cs.task(record=False)
def item(x: int) -> int:
    if answered([x == 1, x == 2]):
        raise OSError
    return x


Ask = Any


def router(ask: Ask) -> Any:
    return cs.Router(ask("left", "right"), {way: breaks(way, first(way)) for way in ("left", "right")})


def router_by(*keys: Any) -> Callable[[Ask], Any]:
    return lambda ask: cs.Router(
        ask(*keys), {key: breaks("left", first("left")) if key == keys[0] else first("right") for key in keys}
    )


def router_of_a_router(ask: Ask) -> Any:
    key = cs.Router("on", {"on": ask("left", "right")})
    return cs.Router(key, {way: breaks(way, first(way)) for way in ("left", "right")})


def router_of_a_sub_flow(ask: Ask) -> Any:
    key = cs.subflow(cs.Router("on", {"on": ask("left", "right")}))
    return cs.Router(key, {way: breaks(way, first(way)) for way in ("left", "right")})


def router_in_a_sub_flow(ask: Ask) -> Any:
    key: Any = cs.Param("key", type=str)
    inner = cs.Router(key, {way: breaks(way, first(way)) for way in ("left", "right")})
    return cs.subflow(inner, params={"key": ask("left", "right")})


def condition(yes: Any = True, no: Any = False) -> Callable[[Ask], Any]:
    return lambda ask: breaks("left", first("left")).run_if(ask(yes, no), otherwise="right")


def condition_against(yes: Any = True, no: Any = False) -> Callable[[Ask], Any]:
    return lambda ask: breaks(first("right").run_if(ask(no, yes), otherwise="left"))


def condition_of_a_router(ask: Ask) -> Any:
    return breaks("left").run_if(cs.Router("on", {"on": ask([1], [])}), otherwise="right")


def condition_of_a_sub_flow(ask: Ask) -> Any:
    return breaks("left").run_if(cs.subflow(cs.Router("on", {"on": ask([1], [])})), otherwise="right")


def condition_in_a_sub_flow(ask: Ask) -> Any:
    rows: Any = cs.Param("rows", type=list)
    return cs.subflow(breaks("left").run_if(rows, otherwise="right"), params={"rows": ask([1], [])})


def condition_of_a_sub_flow_call(ask: Ask) -> Any:
    inner = cs.subflow(breaks("left", first("left")))
    return inner.run_if(ask([1], []), otherwise="right")


def condition_of_a_map(ask: Ask) -> Any:
    mapped = breaks.map(name=["left"]).run_if(ask([1], []), otherwise=["right"])
    return cs.task(lambda found: found[0])(mapped)


def skip_further_on(ask: Ask) -> Any:
    skipped = first("right").run_if(ask([], [1]))
    return breaks(cs.Router("on", {"on": first("right", skipped).run_if(True, otherwise="left")}))


def condition_in_a_loop(ask: Ask) -> Any:
    @cs.task
    def turn(n: int, way: str) -> cs.Jump:
        calls.append(f"turn {n}")
        return cs.Jump("on", {"n": n - 1, "way": way}) if n else cs.Jump("out", way)

    state = turn(3, breaks("left", first("left")).run_if(ask([1], []), otherwise="right"))
    return cs.bind(state, cs.select_jump({"on": state, "out": None}))


def condition_of_a_state(ask: Ask) -> Any:
    @cs.task
    def other(n: int) -> cs.Jump:
        return cs.Jump("on", n - 1) if n else cs.Jump("out", breaks.func("left"))

    @cs.task
    def begins() -> cs.Jump:
        return cs.Jump("on", 3)

    step, state = begins(), other(9).run_if(ask([1], []), otherwise="right")
    cs.bind(state, cs.select_jump({"on": state, "out": None}))
    return cs.bind(step, cs.select_jump({"on": state}))


def amount(ask: Ask) -> Any:
    return breaks("left", first("left")).with_constraints(slot=ask(1, 3))


def jump_out(ask: Ask) -> Any:
    @cs.task(record=False)
    def turn(n: int) -> cs.Jump:
        calls.append(f"turn {n}")
        return (
            cs.Jump("out", "left") if n == answered([1, 0]) else cs.Jump("on", n - 1) if n else cs.Jump("out", "right")
        )

    state = turn(3)
    return breaks(cs.bind(state, cs.select_jump({"on": state, "out": None})))


def jump_on(ask: Ask) -> Any:
    @cs.task(record=False)
    def choose(n: int) -> cs.Jump:
        return cs.Jump(answered(["left", "right"]))

    @cs.task
    def way(name: str) -> Any:
        return breaks.func(name)

    state = choose(3)
    return cs.bind(state, cs.select_jump({"left": way("left"), "right": first("right")}))


def jump_of_an_item(ask: Ask) -> Any:
    @cs.task(record=False)
    def turn(n: int) -> cs.Jump:
        return (
            cs.Jump("out", "left") if n == answered([1, 0]) else cs.Jump("on", n - 1) if n else cs.Jump("out", "right")
        )

    mapped = turn.map(n=[3])
    cs.bind(mapped, cs.select_jump({"on": mapped, "out": None}))
    return breaks(cs.task(lambda found: found[0])(mapped))


def items_left_out(ask: Ask) -> Any:
    mapped = item.map(x=[1, 2, 3], on_error="skip")
    return breaks(cs.task(record=False)(lambda found: "left" if found[0] != 1 else "right")(mapped))


def router_by_what_stands_in(ask: Ask) -> Any:
    key = first("left").run_if(False, otherwise=ask("left", "right"))
    return cs.Router(key, {way: breaks(way, first(way)) for way in ("left", "right")})


PROGRAMS: dict[str, Callable[[Ask], Any]] = {
    "router": router,
    "router by an enum": router_by(Way.LEFT, Way.RIGHT),
    "router by a tuple": router_by((1, "a"), (2, "b")),
    "router by what stands in": router_by_what_stands_in,
    "router of a router": router_of_a_router,
    "router of a sub-flow": router_of_a_sub_flow,
    "router in a sub-flow": router_in_a_sub_flow,
    "condition": condition(),
    "condition of a list": condition([1], []),
    "condition of an object": condition(object(), None),
    "condition against": condition_against(),
    "condition against a list": condition_against([1], []),
    "condition of a router": condition_of_a_router,
    "condition of a sub-flow": condition_of_a_sub_flow,
    "condition in a sub-flow": condition_in_a_sub_flow,
    "condition of a sub-flow's call": condition_of_a_sub_flow_call,
    "condition of a map": condition_of_a_map,
    "condition in a loop": condition_in_a_loop,
    "condition of a state": condition_of_a_state,
    "skip further on": skip_further_on,
    "amount": amount,
    "jump out": jump_out,
    "jump on": jump_on,
    "jump of an item": jump_of_an_item,
    "items left out": items_left_out,
}


def start(make: Any, ask: Ask, tier: Tier, durability: Any) -> Any:
    async def main() -> Any:
        starts[0] += 1
        async with Engine(
            state_backend=store, tier=tier, durability=durability, system_resources={"slot": 2}
        ) as engine:
            return await engine.run(make(ask), run_id="r")

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global store
    store = Dying()
    calls.clear()
    starts[0] = 0


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("ask", [unrecorded, pure, later], ids=["unrecorded", "pure", "later"])
@pytest.mark.parametrize("end", ["fails", "is killed"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_was_decided_stays_so(program: str, end: str, ask: Ask, tier: Tier) -> None:
    ending[0], durability = end, "each" if end == "is killed" else "group"
    with pytest.raises((ValueError, Killed)):
        start(PROGRAMS[program], ask, tier, durability)
    store.is_dead = False
    for kept in store._kept.values():
        kept.record = kept.record._replace(owner=None)
    calls.append("again")
    assert start(PROGRAMS[program], ask, tier, durability) == "left"
    assert not any("right" in each for each in calls), calls
    again = calls[calls.index("again") :]
    assert "first left" not in again, again


def recorded() -> list[Any]:
    return [*store.steps("r")]


@pytest.mark.parametrize("durability", ["each", "group"])
def test_the_target_is_recorded_whatever_made_it(durability: Any) -> None:
    for _ in range(2):
        assert start(lambda ask: ask(["left"], ["right"]), unrecorded, "auto", durability) == ["left"]


@pytest.mark.parametrize("durability", ["each", "group"])
def test_of_a_condition_nothing_is_written_but_whether_it_holds(durability: Any) -> None:
    make = lambda ask: first("left").run_if(ask("tale-of-a-token"), otherwise="right")  # noqa: E731
    assert start(make, cs.task(record=False)(lambda said: said + "!"), "auto", durability) == "left"
    assert {step.kind for step in recorded() if step.key.endswith("&")} == {"true"}
    assert "tale-of-a-token!" not in repr(recorded())


def test_a_key_that_is_a_secret_is_not_written() -> None:
    token: Any = cs.Param("token", type=str, secret=True, default="a-token")
    make = lambda ask: cs.Router(cs.task(record=False)(lambda given: given)(token), {"a-token": first("left")})  # noqa: E731
    assert start(make, unrecorded, "auto", "group") == "left"
    assert "a-token" not in repr(recorded())


def test_what_cannot_be_recorded_decides_without_being_recorded() -> None:
    def key() -> None: ...

    @cs.task(record=False)
    def chosen() -> Any:
        return key

    @cs.task(record=False)
    def turn(n: int) -> cs.Jump:
        return cs.Jump("on", n - 1) if n else cs.Jump("out", lambda: "left")

    def make(ask: Ask) -> Any:
        state = turn(3)
        cs.bind(state, cs.select_jump({"on": state, "out": None}))
        return cs.task(lambda found, _: found())(state, cs.Router(chosen(), {key: first("left")}))

    assert start(make, unrecorded, "auto", "group") == "left"


def test_what_decides_nothing_is_not_recorded() -> None:
    assert start(lambda ask: first("left", ask("left", "right")), unrecorded, "auto", "group") == "left"
    assert not any("unrecorded" in step.task_id for step in recorded())
