"""Functions whose frames others read: what goes on is found by looking, so that it costs a run nothing.

Whoever asks where a run is looks at the frames of Python, by the names of the local variables there. Such names are a
contract as much as parameters are, and so they stand above the function that has them: a name that it lost fails the
import, and one that was not declared cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, TypeVar

__all__ = ["locals_of", "place_in", "readable"]

F = TypeVar("F", bound=Callable[..., Any])
Place = Callable[[Mapping[str, Any]], Any]

_readable: dict[CodeType, tuple[tuple[str, ...], Place | None]] = {}


def readable(*names: str, place: Place | None = None) -> Callable[[F], F]:
    """Let others read these local variables of a function, while it runs; a call of it costs what it did.

    Args:
        place: tells from them at which call the function is; it may raise KeyError for one that has no value yet.

    Raises:
        NameError: the function has no such variable.
    """

    def declare(function: F) -> F:
        code = function.__code__
        missing = [name for name in names if name not in code.co_varnames + code.co_cellvars]
        if missing:
            raise NameError(f"{function.__qualname__} has no local variable {missing[0]!r}, which others read")
        _readable[code] = names, place
        return function

    return declare


def locals_of(frame: FrameType) -> dict[str, Any]:
    """Return the declared variables of a frame that have a value; nothing of a function that declares none."""
    names, _ = _readable.get(frame.f_code, ((), None))
    known = frame.f_locals if names else {}
    return {name: known[name] for name in names if name in known}


def place_in(frame: FrameType, around: Any) -> Any:
    """Return at which call a frame is; `around`, the place of the frames around it, where its function has no say."""
    _, place = _readable.get(frame.f_code, ((), None))
    if place is None:
        return around
    try:
        return place(locals_of(frame))
    except KeyError:  # it has not come so far
        return None
