"""Maps: one call for each item, results in the order of the items."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from types import CoroutineType
from typing import Any

from cascade.runtime.frame import NOTHING, Frame
from cascade.runtime.loops import follow
from cascade.runtime.run import RunState
from cascade.runtime.scope import Scope
from cascade.runtime.signals import is_signal
from cascade.runtime.spot import Spot
from cascade.spec.graph import Gate
from cascade.spec.layout import order_of
from cascade.spec.lazy import MappedResult
from cascade.spec.placement import CallForm
from cascade.spec.signal import Signal
from cascade.spec.task import check_iterable, check_lengths

__all__ = ["run_map"]

LARGEST_BLOCK = 1 << 14


async def run_map(run: RunState, frame: Frame, i: int, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call the task of map `i` for each item; return the list of results.

    Args:
        args: what goes by position to every call (the receiver of a method).
        kwargs: by name, what is the same for every call and what is iterated.
    """
    spot = Spot(frame, i)
    node: MappedResult[Any] = frame.world.blueprint.graph.nodes[spot.number]
    try:
        spent = node.spent
        inputs = [await _read(node, name, kwargs[name], spent) for name in node.each]
        check_lengths(node.task, {name: len(items) for name, items in zip(node.each, inputs, strict=True)})
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and run.is_cancelled():
            raise
        raise run.failure_at(spot, error) from None
    return await _Map(run, frame, i, node, args, kwargs).run_all(inputs)


async def _read(node: MappedResult[Any], name: str, value: Any, spent: bool) -> Any:
    """Return one input of a map as something sized; `spent` says that an earlier run took its iterators."""
    check_iterable(node.task, name, value)
    if (hasattr(value, "__next__") or hasattr(value, "__anext__")) and (node.kwargs or {}).get(name) is value:
        if spent:
            raise ValueError(
                f"map of {node.task.name!r} (declared at {node.declared}): the iterator given as {name}= was spent by "
                "an earlier run; give a list, or declare the map anew for each run"
            )
        node.spent = True
    if hasattr(value, "__aiter__"):
        return [item async for item in value]
    return value if hasattr(value, "__len__") else list(value)


def _results(call: Any, items: Iterator[Any]) -> list[Any]:
    return [call(item) for item in items]


class _Map:
    __slots__ = (
        *("again", "args", "form", "frame", "gate", "i", "is_bare", "lacks", "measured"),
        *("node", "order", "results", "run", "same", "scope"),
    )

    def __init__(
        self, run: RunState, frame: Frame, i: int, node: MappedResult[Any], args: Any, kwargs: dict[str, Any]
    ) -> None:
        self.run = run
        self.frame = frame
        self.i = i
        self.node = node
        self.args = tuple(args)
        self.same = {name: value for name, value in kwargs.items() if name not in node.each}
        names = (*node.each, *self.same)
        placed, named = order_of(node.task, len(self.args), names)
        self.order: tuple[str, ...] = placed
        self.form: CallForm = node.task.form_of(named)
        self.gate: Gate | None = frame.block.gates.get(i)
        if self.gate is not None and self.gate.amounts:
            self.gate = run.settled(Spot(frame, i), self.gate, frame.regs)
        self.scope = Scope()
        self.results: list[Any] = []
        self.again: bool | None = None
        self.lacks = False
        """Some item has nothing to give."""
        self.measured = 0
        """How many items were started on their own, first, to time the function."""
        self.is_bare = node.each == placed and not self.args and not self.same and not named and len(placed) == 1

    async def run_all(self, inputs: list[Any]) -> Any:
        self.results = [NOTHING] * len(inputs[0])
        self.scope.begin(self.run)
        try:
            await self.spread(inputs)
            await self.scope.join()
        except BaseException as error:
            ending = await self.scope.close(error)
            if ending is error:
                raise
            raise ending from None
        return NOTHING if self.lacks else self.results

    async def spread(self, inputs: list[Any]) -> None:
        """Go through the items: in place while calls are short and nothing has to be waited for."""
        run, form = self.run, self.form
        sources = [iter(values) for values in inputs]
        items: Iterator[tuple[int, Any]] = enumerate(zip(*sources, strict=True))
        policy = form.task.needs or (self.gate is not None and (self.gate.is_policy or self.gate.selector is not None))
        in_place = run.inline and not policy
        if in_place and run.direct and form.inline is None and form.task.mode == "auto" and not form.is_async:
            await self.measure(items)
        if in_place and self.is_bare and run.compiles:
            done = self.measured + await self.sweep_blocks(sources[0])
            if done == len(self.results):
                return
            items = enumerate(zip(*sources, strict=True), done)
        if in_place and await self.sweep(items):
            return
        concurrency = self.node.concurrency
        if concurrency is None:
            for index, values in items:
                self.scope.start(self.perform, index, values)
                if run.ticker.due:
                    await run.turn()
        else:
            for _ in range(min(concurrency, len(self.results))):
                self.scope.start(self.work, items)

    async def measure(self, items: Iterator[tuple[int, Any]]) -> None:
        """Start the first item, so that the function's speed is known before the others are placed."""
        for index, values in items:
            self.scope.start(self.perform, index, values)
            self.measured = 1
            if not self.form.profile.measured:
                await self.run.wait_for_measure(self.form.profile)
            return

    async def sweep(self, items: Iterator[tuple[int, Any]]) -> bool:
        """Call in place as long as that is allowed; say whether all items are done."""
        run, form, results = self.run, self.form, self.results
        ticker = run.ticker
        ticker.begin()
        bare, index = self.is_bare, -1
        while form.inline is not None and not run.governs(form):
            call, observed = form.inline, run.observed
            try:
                for index, values in items:
                    if bare and not observed:
                        value = call(values[0])
                    else:
                        args, kwargs = self.arguments(values)
                        if observed:
                            value = run.observe_call(Spot(self.frame, self.i, f"[{index}]"), call, args, kwargs)
                        else:
                            value = call(*args, **kwargs)
                    if value.__class__ is not form.seen:
                        if is_signal(value):
                            self.scope.start(self.perform, index, values, value)
                            continue
                        form.seen = value.__class__
                    results[index] = value
                    if ticker.due:
                        break
                else:
                    return True
            except BaseException as error:
                raise run.failure_at(Spot(self.frame, self.i, f"[{index}]"), error) from None
            ticker.caught(form)
            await run.turn()
            ticker.begin()
        return False

    async def sweep_blocks(self, items: Iterator[Any]) -> int:
        """Call in place, block by block, in one comprehension each; return how many items that took.

        A tick takes away what is left of the block's copy that the comprehension iterates over.
        """
        run, form, ticker = self.run, self.form, self.run.ticker
        size, done = 64, 0
        ticker.begin()
        while form.inline is not None and not run.observed:
            block = list(islice(items, size))
            if not block:
                break
            size = min(size * 4, LARGEST_BLOCK)
            while block:
                done += self.call_block(self.measured + done, block)
                if not ticker.due:
                    continue
                ticker.caught(form)
                await run.turn()
                ticker.begin()
                if form.inline is None or run.observed:  # the rest of this block goes the long way
                    for value in block:
                        self.scope.start(self.perform, self.measured + done, (value,))
                        done += 1
                    break
        return done

    def call_block(self, index: int, block: list[Any]) -> int:
        """Call for the items of a block, until a tick ends it; take them off and return how many they were."""
        form, ticker = self.form, self.run.ticker
        turn = ticker.turn = block.copy()
        waiting: Any = iter(turn)
        try:
            values = _results(form.inline, waiting)
        except BaseException as error:
            spot = Spot(self.frame, self.i, f"[{index + waiting.__reduce__()[2] - 1}]")
            raise self.run.failure_at(spot, error) from None
        finally:
            ticker.turn = None
        for cls in set(map(type, values)):
            if issubclass(cls, (Signal, CoroutineType)):
                for at, value in enumerate(values):
                    if value.__class__ is cls:
                        self.scope.start(self.perform, index + at, (block[at],), value)
                        values[at] = NOTHING
        done = len(values)
        self.results[index : index + done] = values
        del block[:done]
        return done

    def arguments(self, values: tuple[Any, ...]) -> tuple[Any, dict[str, Any]]:
        """Return the arguments of one item, by position where the function allows it."""
        named = dict(zip(self.node.each, values, strict=True))
        named.update(self.same)
        args = (*self.args, *[named.pop(name) for name in self.order])
        return args, named

    async def work(self, items: Iterator[tuple[int, Any]]) -> None:
        """One of as many as may run at once: take the next item until there is none."""
        for index, values in items:
            await self.perform(index, values)

    async def perform(self, index: int, values: tuple[Any, ...], begun: Any = NOTHING) -> None:
        """Carry out one item, with its loop if it is bound."""
        run, form, gate = self.run, self.form, self.gate
        args, kwargs = self.arguments(values)
        suffix = f"[{index}]"
        spot = Spot(self.frame, self.i, suffix)
        copy = spot.copy(run.names)
        if (gate is not None and gate.selector is not None) or copy.items.get(spot.suffix):
            if begun is NOTHING or not run.observed:
                spot.enter(copy)
            else:  # it was counted when it was begun
                spot.enter_more(copy, 0)
                spot.entered = True
        value = begun
        if begun is NOTHING:
            value = await run.invoke(run, spot, form, args, kwargs, gate)
        if is_signal(value):
            value = await follow(run, spot, value, form, args, kwargs, gate, (args, kwargs))
        self.results[index] = value
        self.lacks = self.lacks or value is NOTHING
        if copy.items and not self.runs_again():
            copy.items.pop(spot.suffix, None)

    def runs_again(self) -> bool:
        """Say whether a loop may run this map again, so that entries of its items have to be counted on."""
        if self.again is None:
            blueprint, number = self.frame.world.blueprint, self.frame.block.source(self.i)
            blocks = blueprint.all_states().items()
            jumps = blueprint.graph.jumps.items()
            self.again = (
                self.frame.loop is not None
                or any(at != number and number in (block.local or ()) for at, block in blocks)
                or any(at != number and number in routes.values() for at, routes in jumps)  # a way out of their loops
            )
        return self.again
