"""The comprehension that calls a short function for many items: of a whole list, of a block, or in the code of a flow.

    [one for x, y in zip(...) for one in (call(x, y),) if one.__class__ is seen or ...]

`for one in (call(x, y),)` is an assignment (CPython 3.9 made it one), to a variable of the comprehension's own: that of
`:=` belongs to the function around and costs more. Nothing is asked between two calls but whether the class of a result
is the one expected. It is written for the arguments at hand, since a call with `*` and `**` takes longer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from cascade.compiler.code.source import make_function
from cascade.compiler.code.source_writer import is_word

__all__ = ["CallShape", "comprehension", "maker", "shape_of"]

_SOURCE = """\
def make():
    seen = None
    async def work(function, rows, is_plain, turn, put, same):
        {same} = same
        return {comprehension}
    def expect(expected):
        nonlocal seen
        seen = expected
    return work, expect
"""


def comprehension(call: str, rows: str, one: str, looked: str, kept: str = "") -> str:
    """Return the text of a comprehension.

    Args:
        call: it passes on the variables of an item.
        rows: what the items come from, as `for ... in ...`.
        one: the variable of a result.
        looked: what is asked of each result; it is true.
        kept: what is put into the list instead of the result.
    """
    return f"[{kept or one} {rows} for {one} in ({call},) if {looked}]"


class CallShape(NamedTuple):
    """What is passed to each call: for each argument the number of a column, None if it is the same for all."""

    placed: tuple[int | None, ...]
    named: tuple[tuple[str, int | None], ...]


@lru_cache(maxsize=256)
def shape_of(first: int, each: tuple[str, ...], order: tuple[str, ...], names: tuple[str, ...]) -> CallShape:
    """Return what is passed, of maps over `each`: so many arguments first, then `order` and, by keyword, `names`."""
    columns = {name: at for at, name in enumerate(each)}
    placed = (*[None] * first, *map(columns.get, order))
    return CallShape(placed, tuple([(name, columns.get(name)) for name in names]))


@lru_cache(maxsize=256)
def maker(
    shape: CallShape, is_mixed: bool, keeps: bool
) -> Callable[[], tuple[Callable[..., Any], Callable[..., None]]]:
    """Return what makes a coroutine function with a comprehension, and what tells that which results it expects.

    It is given a function, rows, what looks closer at a result that is not expected and says whether to go on at once,
    what is awaited otherwise, where results are put, and the arguments that are the same for all.

    Args:
        is_mixed: results have several classes, which are expected as a set.
        keeps: results are put somewhere one by one, so that they are there if a call raises.
    """
    given = (*shape.placed, *(at for _, at in shape.named))
    items = [f"item_{at}" for at in range(1 + max(at for at in given if at is not None))]
    locals_ = [f"same_{number}" if at is None else items[at] for number, at in enumerate(given)]
    passed = locals_[: len(shape.placed)]
    for (name, _), local in zip(shape.named, locals_[len(passed) :], strict=True):
        passed.append(f"{name}={local}" if is_word(name) else f"**{{{name!r}: {local}}}")
    looked = f"one.__class__ {'in' if is_mixed else 'is'} seen or is_plain(one) or await turn()"
    rows = f"for call in (function,) for {', '.join(items)} in rows"  # so that `call` is a variable of its own, too
    text = comprehension(f"call({', '.join(passed)})", rows, "one", looked, "put(one)" if keeps else "")
    same = [local for local, at in zip(locals_, given, strict=True) if at is None]
    return make_function("make", _SOURCE.format(same=f"[{', '.join(same)}]", comprehension=text), {})
