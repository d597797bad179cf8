"""Sub-flows among the calls around them: in the pass of the interpreter, and in emitted functions."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.analysis.inside import MOST_INSIDE
from cascade.compiler.analysis.shapes import profiles_of
from cascade.compiler.code.emitted import LoopCode
from cascade.compiler.compiled_root import FusedRoot
from cascade.errors import CycleError, JumpError, ParameterError, StaticGraphError
from cascade.runtime import Engine
from cascade.runtime.events import TaskEvent
from tests.workflows import TIERS, Tier, Way, every_tier, every_way, in_loop, inline, run


@inline
def plus(x: int, y: int = 1) -> int:
    return x + y


@inline
def both(left: Any, right: Any) -> Any:
    return left, right


@inline
def countdown(n: int, fed: Any) -> Any:
    return cs.Jump("again", n - 1) if n > 1 else cs.Jump("exit", fed)


@cs.task
async def later(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


@cs.task(pure=True, mode="inline")
def pure(x: int) -> int:
    return x + 1


@cs.resource
def step_size() -> Any:
    yield 1


@inline
def stepping(x: int, step: int = cs.inject(step_size)) -> int:
    return x + step


P, TYPED, KNOWN = cs.Param("p"), cs.Param("p", type=int), cs.Param("known", default=3)


def nested(depth: int) -> Any:
    flow: Any = plus(P)
    for _ in range(depth):
        flow = plus(cs.subflow(flow, {"p": plus(P)}))
    return flow


INNER: dict[str, Callable[[], Any]] = {
    "one call": lambda: plus(P),
    "a type": lambda: plus(TYPED),
    "a default": lambda: plus(P, KNOWN),
    "a container": lambda: both([plus(P), 1], {"k": plus(P, y=2)}),
    "a target of several": lambda: [plus(P), (plus(2),)],
    "a router": lambda: cs.Router(P, {1: plus(P), 2: plus(5)}, default=plus(7)),
    "others": lambda: nested(3),
    "a parameter alone": lambda: both(cs.subflow(plus(P), {"p": P}), P),
    "an order": lambda: plus(P).after(plus(2)),
    "a retry": lambda: plus(plus(P).with_retry(2)),
    "what is skipped": lambda: plus(P).run_if(plus(P, y=-1), otherwise=9),
    "a constraint": lambda: plus(plus(P).with_constraints(seat=1)),
    "a resource": lambda: plus(stepping(plus(P))),
    "a coroutine": lambda: later(plus(P)),
    "a map": lambda: plus.map(x=[P, 1]),
    "a list of its own": lambda: both([1, 2], P),
    "more than fits": lambda: [plus(P, y=at) for at in range(MOST_INSIDE)],
    "something pure": lambda: both(pure(P), pure(P)),
    "an environment": lambda: both(cs.Env("CASCADE_NOT_SET", default="none"), P),
}
IN_CODE = [*list(INNER)[: list(INNER).index("what is skipped")], "something pure"]


def flow(kind: str, value: Any) -> Any:
    inner = INNER[kind]()
    first = cs.subflow(inner, {"p": value})
    return both(first, cs.subflow(inner, {"p": 2}))


def looped(kind: str, n: int = 20) -> Any:
    step = countdown(n, flow(kind, plus(0)))
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}))


def fused(target: Any, *watch: bool) -> FusedRoot:
    found: FusedRoot = target.plan.blueprint.root.fused[watch or (False, False, False)]
    return found


def loops(target: Any) -> list[LoopCode]:
    profiles = profiles_of(target.plan.blueprint)
    return [hot.loop for profile in profiles for (_, watch), hot in profile.made.items() if hot and not any(watch)]


@every_way
@pytest.mark.parametrize("kind", INNER)
def test_it_gives_what_it_gives_alone(way: Way, kind: str) -> None:
    expected = tuple(run(INNER[kind](), {"p": value}, tier="interpret") for value in (1, 2))
    target, loop = flow(kind, plus(0)), looped(kind)
    assert [way.run(target) for _ in range(18 if way.tier == "auto" else 2)][-1] == expected
    assert way.run(loop) == expected
    if way.tier == "compile" and not way.watched:
        assert (fused(target).whole is not None) == (kind in IN_CODE), kind
        assert bool(loops(loop)) == (kind in IN_CODE)


@pytest.mark.parametrize("kind", ["one call", "others", "a router", "a retry", "a coroutine", "what is skipped"])
def test_its_nodes_have_the_same_ids_on_all_tiers(kind: str) -> None:
    def told(way: Way) -> list[Any]:
        way.run(looped(kind, 4))
        return sorted((type(e).__name__, e.task_id, e.iteration) for e in way.events if isinstance(e, TaskEvent))

    first, *others = [told(Way(tier, True)) for tier in TIERS]
    assert all(other == first for other in others)


class Failing:
    """Fails in one of its calls."""

    def __init__(self, at: int, error: Callable[[], Any]) -> None:
        self.at, self.error, self.count = at, error, 0

    def __call__(self, x: int) -> Any:
        self.count += 1
        return self.error() if self.count == self.at else x + 1


def fail() -> None:
    raise ValueError("down there")


async def awaited() -> int:
    return 70


def deep(task: Any, value: Any, retry: int = 1) -> Any:
    """A sub-flow in a sub-flow, with calls before and behind the one in the middle."""
    call = task(plus(P))
    inner = both(plus(call.with_retry(retry) if retry > 1 else call), plus(P))
    return both(plus(value), both(cs.subflow(cs.subflow(both(plus(P), inner), {"p": P}), {"p": value}), plus(4)))


def outcomes(tier: Tier, error: Callable[[], Any], at: int, retry: int = 1) -> list[Any]:
    """What comes of a flow and of a loop where a call inside of a sub-flow gives more than a value."""
    found: list[Any] = []
    for is_loop in (False, True):
        failing = Failing(at, error)
        task = cs.task(mode="inline", name="failing")(failing)
        target = deep(task, plus(0), retry)
        if is_loop:
            step = countdown(30, target)
            target = cs.bind(step, cs.select_jump({"again": step, "exit": None}))
        try:
            found.append(run([target, plus(1)], tier=tier))
        except Exception as raised:
            found.append((type(raised), str(raised).partition("0x")[0], getattr(raised, "__notes__", [])))
        found.append(failing.count)
    return found


@pytest.mark.parametrize("at", [1, 25])
@pytest.mark.parametrize(
    ("error", "kind"),
    [(fail, ValueError), (awaited, None), (lambda: cs.Jump("x"), JumpError), (lambda: plus(1), StaticGraphError)],
    ids=["error", "coroutine", "jump", "lazy"],
)
def test_what_a_call_inside_gives_means_the_same_on_all_tiers(error: Any, kind: Any, at: int) -> None:
    first, *others = [outcomes(tier, error, at) for tier in TIERS]
    assert all(other == first for other in others), (first, others)
    assert first[-1] == (at if kind else 30)
    if kind is not None:
        where = "iteration 24" if at == 25 else "iteration 0"
        assert first[2][0] is kind
        assert any("in task failing#1" in note and where in note for note in first[2][2]), first


@pytest.mark.parametrize("at", [1, 25])
def test_a_call_inside_is_tried_again(at: int) -> None:
    first, *others = [outcomes(tier, fail, at, 2) for tier in TIERS]
    assert all(other == first for other in others), (first, others)
    assert first[-1] == 31


@every_tier
def test_a_parameter_that_does_not_take_its_value(tier: Tier) -> None:
    given: list[Any] = [1, 2, 3, "4", 5, "six", 7]

    @inline
    def next_of(n: int) -> Any:
        return given[-n]

    @inline
    def step(n: int, fed: Any) -> Any:
        assert fed == int(given[-n]) + 1
        return cs.Jump("again", {"n": n - 1})

    state = step(len(given), 0)
    count = cs.Param("n", default=len(given))
    fed = cs.subflow(plus(TYPED), {"p": next_of(count)})
    assert run(both(fed, 0), {"n": 4}, tier=tier) == (5, 0)
    for _ in range(3):
        with pytest.raises(ParameterError, match="cannot take 'six' as int") as caught:
            run(both(fed, 0), {"n": 2}, tier=tier)
        assert any("in task subflow#1" in note for note in caught.value.__notes__)
    del state


@every_tier
def test_a_parameter_is_converted_once(tier: Tier) -> None:
    seen: list[Any] = []

    def convert(value: Any) -> Any:
        seen.append(value)
        return value * 10

    failing = Failing(3, fail)
    task = inline(lambda x: failing(x))
    target = both(cs.subflow(plus(task(cs.Param("q", type=convert)).with_retry(2)), {"q": plus(1)}), 0)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(5):
                assert await engine.run(target) == (22, 0)

    in_loop(main)
    assert seen == ["2" if isinstance(seen[0], str) else 2] * 5
    assert failing.count == 6


@every_tier
def test_a_secret_that_it_is_given_is_shown_to_nobody(tier: Tier) -> None:
    @inline
    def leak(token: str) -> None:
        raise ValueError(token)

    shown: list[str] = []
    target = cs.subflow(leak(cs.Param("token", secret=True)), {"token": inline(lambda: "hush-hush")()})

    async def main() -> None:
        bus = cs.MessageBus()
        bus.subscribe(TaskEvent, lambda event: shown.append(repr(event)))
        async with Engine(bus=bus, tier=tier) as engine:
            for _ in range(2):
                with pytest.raises(ValueError, match="hush"):
                    await engine.run(target)

    in_loop(main)
    assert shown
    assert not any("hush" in one for one in shown)


def test_one_that_stands_in_itself_is_refused() -> None:
    call = plus(1)
    call.after(cs.subflow(call))
    with pytest.raises(CycleError, match="stands in itself"):
        run(call)


def test_what_one_target_is_built_to_is_shared() -> None:
    inner = plus(P)
    subflows = [cs.subflow(inner, {"p": at}) for at in range(4)]
    assert run(subflows) == [1, 2, 3, 4]
    target = both(cs.subflow([inner]), cs.subflow(inner, {"p": 9}))
    with pytest.raises(ParameterError, match="needs the parameter 'p'"):
        run(target)
    again = both(*subflows[:2])
    assert run(again) == (1, 2)
    assert len(set(map(id, again.plan.blueprint.subflows.values()))) == 1
    inner.named("another")
    assert run(again) == (1, 2)
    assert "another" in cs.to_lisp(again)


@every_tier
@pytest.mark.parametrize("ends", ["well", "badly", "in a loop"])
def test_it_lets_go_of_what_it_was_given(tier: Tier, ends: str) -> None:
    class Token:
        pass

    tokens: list[weakref.ref[Token]] = []

    @inline
    def made(*_: Any) -> Token:
        token = Token()
        tokens.append(weakref.ref(token))
        return token

    @inline
    def taken(token: Token) -> int:
        if ends == "badly" and len(tokens) == 3:
            raise ValueError("taken")
        return 1

    fed = cs.subflow(plus(taken(cs.Param("t"))), {"t": made()})
    step = countdown(30, fed)
    target = cs.bind(step, cs.select_jump({"again": step, "exit": None})) if ends == "in a loop" else both(fed, 1)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(4):
                with suppress(ValueError):
                    await engine.run(target)
                left = [one for one in tokens if one() is not None]
                assert len(left) <= (ends == "badly")  # an error stays with asyncio until the next turn

    gc.disable()
    try:
        in_loop(main)
    finally:
        gc.enable()
