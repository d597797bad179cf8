"""Sub-flows that stand in each other, as deep as anybody likes."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.spec.events import TaskExecutionFinished
from tests.workflows import Body, Way, every_body, every_way

DEEP = 1_050
"""Deeper than coroutines of Python may await each other."""


def nested(target: Any, depth: int) -> Any:
    for _ in range(depth):
        target = cs.subflow(target)
    return target


@cs.task
def one(x: int = 0) -> int:
    return x + 1


@cs.task
async def endless() -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize("tier", ["interpret", "compile"])
def test_sub_flows_stand_in_each_other_by_the_thousand(tier: Any) -> None:
    flow: Any = one(cs.Param("x"))
    for _ in range(DEEP):
        flow = one(cs.subflow(flow, {"x": cs.Param("x", default=1)}))

    async def run() -> Any:
        async with cs.Engine(tier=tier) as engine:
            return await engine.run(flow)

    assert asyncio.run(run()) == DEEP + 2


def test_what_looks_at_deep_sub_flows_needs_no_recursion() -> None:
    flow = nested(one(), DEEP)
    assert "subflow" in cs.visualize(flow)
    assert "subflow" in cs.to_lisp(flow)
    assert repr(cs.from_json(cs.to_json(flow), allow=[__name__])).startswith("<Subflow of a sub-flow")
    assert not cs.check(flow)
    assert cs.dry_run(flow) is not None
    assert cs.explain(flow).count("the sub-flow at") == DEEP
    cached = nested(one().with_cache(cs.cached()), DEEP).with_cache(cs.cached())
    assert "miss" in str(cs.explain_cache(cached))


@every_way
@every_body
def test_errors_come_out_of_deep_sub_flows(way: Way, body: Body) -> None:
    @body
    def failing() -> None:
        raise ValueError("down there")

    with pytest.raises(ValueError, match="down there") as caught:
        way.run(nested(failing(), 70))
    assert any("failing" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(("tier", "policies"), [("interpret", True), ("compile", False)])
def test_the_error_comes_out_of_sub_flows_by_the_thousand(tier: Any, policies: bool) -> None:
    @cs.task(mode="inline")
    def failing() -> None:
        raise ValueError("down there")

    flow: Any = failing()
    for _ in range(DEEP):
        flow = cs.subflow(flow)
        if policies:
            flow.with_timeout(60).with_retry(1)

    async def run() -> Any:
        async with cs.Engine(tier=tier) as engine:
            return await engine.run(flow)

    with pytest.raises(ValueError, match="down there") as caught:
        asyncio.run(run())
    assert any("in task failing#1 (declared at" in note for note in caught.value.__notes__)


def test_a_timeout_below_sub_flows_by_the_thousand_comes_out() -> None:
    flow: Any = endless().with_timeout(0.01)
    for _ in range(DEEP):
        flow = cs.subflow(flow).with_timeout(60)
    with pytest.raises(TimeoutError, match=r"^endless#1 \(declared at .*\) took longer than its timeout of 0.01 s"):
        cs.run(flow, log_level="SILENT")


@pytest.mark.parametrize("way", ["events", "loops"])
def test_their_nodes_have_ids_of_their_own(way: str) -> None:
    """A sub-flow below a loop, an attempt and another sub-flow is told from its other copies."""

    @cs.task
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 2 else cs.Jump("out", n)

    @cs.task
    def end(n: int, tries: list[int]) -> int:
        tries.append(n)
        if len(tries) < 2:
            raise ValueError(n)
        return n

    start = step(0)
    cs.bind(start, cs.select_jump({"again": start, "out": None}))
    target = end(start if way == "loops" else 2, [])
    flow = nested(nested(nested(target, 2).with_retry(2), 1), DEEP if way == "events" else 2)
    ids: list[str] = []

    async def run() -> Any:
        bus = cs.MessageBus()
        bus.subscribe(TaskExecutionFinished, lambda event: ids.append(event.task_id))
        async with cs.Engine(bus=bus) as engine:
            return await engine.run(flow)

    assert asyncio.run(run()) == 2
    assert [each for each in ids if each.startswith("end")] == ["end#1", "end#1~2"]


@every_way
def test_a_timeout_around_deep_sub_flows_ends_what_runs_there(way: Way) -> None:
    with pytest.raises(TimeoutError, match="longer than its timeout"):
        way.run(nested(endless(), 70).with_timeout(0.01))


@every_way
def test_a_failure_beside_deep_sub_flows_ends_what_runs_there(way: Way) -> None:
    @cs.task
    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError("beside")

    with pytest.raises(ValueError, match="beside"):
        way.run([nested(endless(), 70), failing()])


@every_way
def test_a_cancel_ends_deep_sub_flows(way: Way) -> None:
    async def run() -> None:
        async with way.engine() as engine:
            going = engine.start(nested(endless(), 70))
            for _ in range(20):
                await asyncio.sleep(0)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            assert going.status == "Cancelled"

    asyncio.run(run())
