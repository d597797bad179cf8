"""Sub-flows that stand in each other, as deep as anybody likes."""

import asyncio
from typing import Any

import pytest

import cascade as cs
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


@every_way
@every_body
def test_errors_come_out_of_deep_sub_flows(way: Way, body: Body) -> None:
    @body
    def failing() -> None:
        raise ValueError("down there")

    with pytest.raises(ValueError, match="down there") as caught:
        way.run(nested(failing(), 70))
    assert any("failing" in note for note in caught.value.__notes__)


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
