"""What the tests of resources share: resources that log what happens to them, and tasks that use them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.spec.resource import Resource

KINDS = ["sync", "short", "async"]
"""A short one is sync, and known to be so short that its pieces run in place."""
every_kind = pytest.mark.parametrize("kind", KINDS)
every_scope = pytest.mark.parametrize("scope", ["run", "task"])


class Log(list[str]):
    """What happened to resources, and a maker of resources that write it down."""

    def resource(
        self,
        name: str,
        kind: str = "sync",
        scope: Any = "run",
        *,
        broken_in: str = "",
        swallows: bool = False,
        needs: Any = None,
    ) -> Resource:
        """Make a resource whose value is its name; `broken_in` is "set-up" or "teardown"."""

        def begin(needed: Any) -> str:
            self.append(f"+{name}")
            if broken_in == "set-up":
                raise OSError(f"{name} cannot begin")
            return name if needed is None else f"{name}({needed})"

        def caught(error: BaseException) -> None:
            self.append(f"!{name} {type(error).__name__}")

        def end() -> None:
            self.append(f"-{name}")
            if broken_in == "teardown":
                raise OSError(f"{name} cannot end")

        def thing(needed: Any = needs) -> Iterator[str]:
            value = begin(needed)
            try:
                yield value
            except BaseException as error:
                caught(error)
                if not swallows:
                    raise
            finally:
                end()

        async def async_thing(needed: Any = needs) -> AsyncIterator[str]:
            value = begin(needed)
            await asyncio.sleep(0)
            try:
                yield value
            except BaseException as error:
                await asyncio.sleep(0)
                caught(error)
                if not swallows:
                    raise
            finally:
                await asyncio.sleep(0)
                end()

        func: Callable[..., Any] = async_thing if kind == "async" else thing
        made = cs.resource(name=name, scope=scope)(func)
        if kind == "short":
            made.setup.learn(0.0)
            made.teardown.learn(0.0)
        return made


@cs.task
def use(*things: Any) -> Any:
    """Gives what it was given: the things themselves."""
    return list(things)


@cs.task
def fail(*things: Any) -> Any:
    raise ValueError("the task's own")
