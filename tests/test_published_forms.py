"""The imports, names and call forms of the benchmark script that users have: they must always work."""

import asyncio
from typing import Any

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.runtime import Engine, MessageBus
from cascade.spec.blueprint import TailCall


@cs.task
def noop(_dummy: Any = None) -> str:
    return "done"


@cs.task
def heavy_step(n: int, _structure: Any = None) -> cs.Jump:
    if n <= 0:
        return cs.Jump(target_key="exit", data="done")
    return cs.Jump(target_key="loop", data=n - 1)


@cs.task
def vm_countdown(n: int) -> Any:
    if n <= 0:
        return "done"
    return TailCall(kwargs={"n": n - 1})


def heavy_loop(n: int) -> cs.LazyResult[Any]:
    chain = noop()
    for _ in range(20):
        chain = noop(_dummy=chain)
    step = heavy_step(n, _structure=chain)
    selector = cs.select_jump({"loop": step, "exit": None})
    cs.bind(step, selector)
    return step


def test_the_forms_of_the_users_script() -> None:
    async def main() -> list[Any]:
        engine = Engine(solver=NativeSolver(), executor=LocalExecutor(), bus=MessageBus())
        return [
            await engine.run(heavy_loop(200), use_vm=False),
            await engine.run(vm_countdown(n=200), use_vm=True),
        ]

    assert asyncio.run(main()) == ["done", "done"]
