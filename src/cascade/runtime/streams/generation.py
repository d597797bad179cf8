"""Generation: one attempt of a generator task, gone through to its end, and closed on every way out.

An async generator is gone through on the event loop, in the asyncio task of its call. A sync one goes on in a worker
thread, for as long as it likes; once its steps were seen to be short it goes on in place, and gives the event loop its
turns between two items (as `Profile` says of any function).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextvars import copy_context
from functools import partial
from types import GeneratorType
from typing import Any

from cascade.adapters.executors.workers import job_here
from cascade.runtime.frames.call import Call
from cascade.runtime.frames.scope import to_the_end
from cascade.runtime.interpreter.results import is_signal
from cascade.runtime.run.state import RunState
from cascade.runtime.streams.output import Output
from cascade.spec.events import TaskYielded
from cascade.spec.placement import CallForm

__all__ = ["Generation", "generated"]


def generated(
    run: RunState,
    call: Call,
    form: CallForm,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    output: Output | None,
    attempt: int,
) -> Coroutine[Any, Any, list[Any]]:
    """Go through a generator task once, where it belongs; what is returned gives the list of its items.

    Args:
        output: where they go, if they are read one by one; then the list is empty if nobody asks for it.
    """
    go_through = partial(_go_through, Generation(run, call, form, output, attempt))
    if run.direct:
        return go_through(*args, **kwargs)
    node = run.call_node(call, form)._replace(func=go_through, is_async=True)
    work: Coroutine[Any, Any, list[Any]] = run.executor.execute(node, tuple(args), kwargs)
    return work


async def _go_through(generation: Generation, /, *args: Any, **kwargs: Any) -> list[Any]:
    form, output = generation.form, generation.output
    if form.is_async:
        await generation.await_all(form.func(*args, **kwargs))
    else:
        await generation.step_through(form.func(*args, **kwargs))
    return generation.items if output is None else output.value()


class Generation:
    """One attempt of a generator task."""

    __slots__ = (
        *("add", "attempt", "call", "count", "form", "has_begun", "is_over", "items", "loop", "output", "run", "seen"),
    )

    def __init__(self, run: RunState, call: Call, form: CallForm, output: Output | None, attempt: int) -> None:
        self.run = run
        self.call = call
        self.form = form
        self.output = output
        self.items: list[Any] = []
        self.add: Callable[[Any], None] = self.items.append
        if output is not None:
            self.add = output.put
        self.attempt = attempt
        self.count = 0
        self.loop = asyncio.get_running_loop() if run.bus.wants(TaskYielded) else None
        """Where events are published, if somebody listens to those of items."""
        self.has_begun = False
        self.is_over = False
        """Whether the generator has ended, or nobody wants more of it."""
        self.seen: type | None = None
        """The class of the last item."""

    async def await_all(self, generator: AsyncGenerator[Any, None]) -> None:
        """Go through an async generator."""
        ticker = self.run.ticker
        ticker.begin()
        try:
            async for item in generator:
                self.put(item)
                if self.output is not None and await self.is_unwanted():
                    break
                if ticker.due:
                    await self.run.turn()
        finally:
            await generator.aclose()

    async def step_through(self, generator: GeneratorType[Any, Any, Any]) -> None:
        """Go through a sync generator, in a thread or in place; it sees one context all the way."""
        run, form, context, reads = self.run, self.form, copy_context(), bool(self.form.task.streams)
        ticker, mode, profile = run.ticker, form.task.mode, form.profile
        advance: Callable[..., None] = partial(context.run, self.advance, generator)  # type: ignore[call-arg]
        try:
            while not self.is_over:
                if self.output is not None and await self.is_unwanted():
                    break
                if mode == "inline" or (mode == "auto" and profile.inline and run.inline and not reads):
                    ticker.begin()
                    advance(lambda: ticker.due or self.is_to_pause(True))
                    if ticker.due:
                        ticker.caught(form)
                        await run.turn()
                elif mode == "auto" and not (self.has_begun or reads):  # the first step tells how long they take
                    await run.in_thread(self.call, "", advance, _at_once, profile=profile)
                else:
                    place = "reading" if reads else "compute" if mode == "compute" else "blocking"
                    await run.in_thread(self.call, "", advance, None, mode=place)
        finally:
            await self.close(generator, partial(context.run, generator.close))

    def advance(self, generator: GeneratorType[Any, Any, Any], pauses: Callable[[], bool] | None) -> None:
        """Take items until the generator ends or it is time to pause; None: until the call is cancelled."""
        if pauses is None:
            job = job_here()
            assert job is not None
            pauses = lambda: job.is_cut or self.is_to_pause()  # noqa: E731
        self.has_begun = True
        for item in generator:
            self.put(item)
            if pauses():
                return
        self.is_over = True

    def is_to_pause(self, is_here: bool = False) -> bool:
        """Say whether the readers have enough for now, want no more, or could not come here to begin."""
        output = self.output
        if output is None:
            return False
        return output.is_unwanted() or not output.has_room() or (is_here and output.is_early())

    async def is_unwanted(self) -> bool:
        """Wait until the readers have room for another item; say whether they want none any more."""
        output = self.output
        assert output is not None
        if not output.has_room():
            await output.wait_for_room()
        elif output.is_early():
            await asyncio.sleep(0)
        return output.is_unwanted()

    async def close(self, generator: GeneratorType[Any, Any, Any], close: Callable[[], None]) -> None:
        """Close a sync generator that has not come to its end, where its steps were made."""
        if generator.gi_frame is None or generator.gi_running:  # it ended; or was left behind, and its thread goes on
            return
        if generator.gi_frame.f_lasti < 0 or self.form.task.mode == "inline" or self.form.profile.inline:
            close()
            return
        _, cancel = await to_the_end(self.run.in_thread(self.call, "", close), self.run.engine.thread_grace)
        if cancel is not None:
            raise cancel

    def put(self, item: Any) -> None:
        """Take an item.

        Raises:
            TypeError: it is none that could be in a list: a jump, a coroutine, a lazy value.
        """
        if item.__class__ is not self.seen:
            if is_signal(item):
                refuse_item(self.form, item)
            self.seen = item.__class__
        self.add(item)
        if self.loop is not None:
            self.tell(self.loop, item)

    def tell(self, loop: asyncio.AbstractEventLoop, item: Any) -> None:
        """Say that there is an item, on the thread of the event loop."""
        about = self.call, self.attempt, self.count, item
        self.count += 1
        if asyncio._get_running_loop() is loop:
            self.run.publish_yield(*about)
        else:
            loop.call_soon_threadsafe(self.run.publish_yield, *about)


def refuse_item(form: CallForm, item: Any) -> None:
    """Raise TypeError for an item that is more than a value."""
    if asyncio.iscoroutine(item):
        item.close()
    task = form.task
    raise TypeError(
        f"task {task.name!r} (declared at {task.declared}) yielded {item!r}; a generator task yields values: it cannot "
        "jump, add to the graph or have something awaited for it (yield what awaiting gives)"
    )


def _at_once() -> bool:
    return True
