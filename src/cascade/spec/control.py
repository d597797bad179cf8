"""Control flow as nouns: choosing between routes, and jumping."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import islice
from typing import Any, ClassVar, Literal, TypeVar, overload

from cascade.errors import RouterError
from cascade.spec.keywords import explains_options
from cascade.spec.lazy import Lazy, LazyResult, R_co, place
from cascade.spec.mistakes import check_choice, refuse_code, refuse_uncalled
from cascade.spec.selector import JumpSelector
from cascade.spec.signal import UNSET, Signal, Unset

__all__ = ["Jump", "Router", "TailCall", "Value", "bind", "select_jump"]

K = TypeVar("K")
T = TypeVar("T", bound=LazyResult[Any])
MOST_SHOWN = 8
"""So many keys of a router stand in messages."""


class Value:
    """Wraps a value that must be passed as it is: a task as an argument, a dict or None as a Jump's data."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: Any = value

    def __repr__(self) -> str:
        return f"Value({self.value!r})"


class Jump(Signal):
    """Returned by a task that is bound to a selector: go on at the route of `target_key`.

    Args:
        target_key: a key of the selector's routes.
        data: a dict gives arguments by name, another value the first argument, None nothing;
            `cs.Value(x)` gives any x as the first argument. At an exit (a route to None) it is the
            value of the loop.
    """

    __slots__ = ("data", "target_key")
    _cascade_key: ClassVar[Any]
    """Another name of `target_key`, which no value but a Jump has: emitted loops look at it alone."""

    def __init__(self, target_key: Any, data: Any = None) -> None:
        self.target_key: Any = target_key
        self.data: Any = data

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._cascade_key = UNSET  # it may see to its key in a way of its own, so it is looked at closer

    def __repr__(self) -> str:
        return f"Jump({self.target_key!r}, data={self.data!r})"


Jump._cascade_key = Jump.__dict__["target_key"]


class TailCall(Signal):
    """Returned by a task: call it again with these arguments, in constant memory.

    Args:
        args: positional arguments; those not given keep their value.
        kwargs: arguments by name.
        target_blueprint_id: hand control to the root task of the blueprint registered under this id
            instead; it does not come back, its value is the value.
    """

    __slots__ = ("args", "kwargs", "target_blueprint_id")

    def __init__(
        self,
        args: list[Any] | tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        target_blueprint_id: str | None = None,
    ) -> None:
        self.args: list[Any] | tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = {} if kwargs is None else kwargs
        self.target_blueprint_id: str | None = target_blueprint_id

    def __repr__(self) -> str:
        target = "" if self.target_blueprint_id is None else f", target_blueprint_id={self.target_blueprint_id!r}"
        return f"TailCall(args={self.args!r}, kwargs={self.kwargs!r}{target})"


def _is_key(selector: Any, routes: dict[Any, Any]) -> bool:
    """Say whether a function or a class is itself the key of a route."""
    try:
        return selector in routes
    except TypeError:
        return False


@explains_options("cs.select_jump")
def select_jump(routes: Mapping[Any, Lazy | None]) -> JumpSelector:
    """Return a selector that leads each Jump to the route of its key.

    Args:
        routes: key to lazy result; None marks a way out of the loop.

    Raises:
        TypeError: a route is neither a lazy value nor None.
        ValueError: there are no routes.
    """
    if not isinstance(routes, Mapping):
        raise TypeError(f"cs.select_jump takes a dict of routes, not {routes!r}")
    if not routes:
        raise ValueError('cs.select_jump needs at least one route, for example {"again": step, "exit": None}')
    for key, route in routes.items():
        if route is not None and not isinstance(route, Lazy):
            raise TypeError(
                f"the route {key!r} of cs.select_jump leads to {route!r}; a route is a lazy result "
                "(a task that was called) or None for the way out"
            )
    return JumpSelector(dict(routes))


@explains_options("cs.bind")
def bind(
    result: T,
    selector: JumpSelector,
    *,
    max_iterations: int | None = None,
    history: bool = False,
    checkpoint: Literal["entry", "turn"] | None = None,
) -> T:
    """Let the task of `result` return Jumps, which `selector` leads; returns `result`.

    Args:
        result: a lazy or mapped result. Of a mapped result, each item loops.
        selector: what `cs.select_jump` returned.
        max_iterations: how many entries one loop may have, all its states together.
        history: where the run is recorded, keep all entries of the loop that begins at `result`, not only the last.
        checkpoint: where the run is recorded, write where that loop is at each "entry", or where nothing else is
            recorded of its entries only at each "turn" of the event loop, some 10 ms: then a crash loses the entries
            of one. By default "turn" where what jumps carry are numbers, texts, bytes, bools and None, "entry" else
            and with durability "each".

    Raises:
        TypeError: `result` is no lazy result, `selector` no selector, or `history` no bool.
        ValueError: `max_iterations` is below 1, `checkpoint` another word, or "turn" is given with `history`.
    """
    if not isinstance(result, LazyResult):
        hint = f"; did you mean {result.name}(...)?" if callable(result) and hasattr(result, "name") else ""
        raise TypeError(
            f"cs.bind binds a lazy result (step = task(...); cs.bind(step, selector)), not {result!r}{hint}"
        )
    if not isinstance(selector, JumpSelector):
        raise TypeError(f"cs.bind({result!r}, ...) takes what cs.select_jump returns, not {selector!r}")
    if max_iterations is not None and (not isinstance(max_iterations, int) or max_iterations < 1):
        raise ValueError(f"cs.bind({result!r}): max_iterations is 1 or more, not {max_iterations!r}")
    if not isinstance(history, bool):
        raise TypeError(f"cs.bind({result!r}): history is True or False, not {history!r}")
    if checkpoint not in (None, "entry", "turn"):
        raise ValueError(f'cs.bind({result!r}): checkpoint is "entry" or "turn", not {checkpoint!r}')
    if history and checkpoint == "turn":
        raise ValueError(
            f'cs.bind({result!r}): history=True keeps all entries, and checkpoint="turn" would write one of many; '
            "leave out one of them"
        )
    result._configure(selector=selector, max_iterations=max_iterations)
    if history or checkpoint is not None:
        result._configure(history=history, checkpoint=checkpoint)
    return result


class Router(Lazy[R_co]):
    """One of several values, chosen while running; only the chosen route and what it alone needs runs.

    Args:
        selector: a lazy value or a plain one that gives a key.
        routes: key to lazy value or plain value.
        default: the route for every other key; without it an unknown key is a RouterError.
    """

    __slots__ = ("default", "routes", "selector")

    word = "a router"

    @overload
    def __init__(self, selector: Any, routes: dict[K, Lazy[R_co]], *, default: Lazy[R_co] | Unset = UNSET) -> None: ...
    @overload
    def __init__(self: Router[Any], selector: Any, routes: dict[Any, Any], *, default: Any = UNSET) -> None: ...
    @explains_options("cs.Router")
    def __init__(self, selector: Any, routes: dict[Any, Any], *, default: Any = UNSET) -> None:
        if not isinstance(routes, dict):
            raise TypeError(f"cs.Router takes a dict of routes, not {routes!r}")
        if not routes and default is UNSET:
            raise RouterError("cs.Router needs at least one route")
        if selector.__class__ is not str and not (callable(selector) and _is_key(selector, routes)):
            check_choice(selector, "the selector of a cs.Router", "cs.Router({}, ...)")
        for key, route in (*routes.items(), ("default", default)):
            if route.__class__ is not LazyResult:
                refuse_uncalled(route, f"the route {key!r} of a cs.Router")
                refuse_code(route, f"the route {key!r} of a cs.Router")
        self.selector: Any = selector
        self.routes: dict[Any, Any] = dict(routes)
        self.default: Any = default
        place(self, sys._getframe(2))  # behind `explains_options`

    def __repr__(self) -> str:
        keys = [repr(key) for key in islice(self.routes, MOST_SHOWN)]
        if len(self.routes) > MOST_SHOWN:
            keys.append(f"and {len(self.routes) - MOST_SHOWN} more")
        return f"<Router over {', '.join(keys)}, declared at {self.declared}>"

    def _spelled(self) -> str:
        return "cs.Router(...)"
