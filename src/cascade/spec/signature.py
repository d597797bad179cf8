"""What calls a function takes, read from its code object so that no heavy import is needed."""

from __future__ import annotations

from types import CodeType, FunctionType, MethodType
from typing import Any

__all__ = ["CallShape", "declared_at", "shape_of"]

VARARGS, VARKEYWORDS = 0x04, 0x08
EVERY_NUMBER = 1 << 30


class CallShape:
    """The parameters of one callable.

    `names` are those that can be given by position, in order; the first `only` of them by position
    alone. `least` of them have no default. `faithful` says that the function itself takes them so (a
    wrapper that merely claims the signature of what it wraps may want its keywords as keywords).
    """

    __slots__ = (
        "defaults",
        "extra_keywords",
        "extra_positions",
        "faithful",
        "keywords",
        "least",
        "most",
        "names",
        "only",
        "positions",
        "required_keywords",
    )

    def __init__(
        self,
        names: tuple[str, ...],
        only: int,
        keywords: tuple[str, ...],
        defaults: dict[str, Any],
        extra_positions: bool,
        extra_keywords: bool,
        faithful: bool,
    ) -> None:
        self.names: tuple[str, ...] = names
        self.only: int = only
        self.keywords: tuple[str, ...] = keywords
        self.defaults: dict[str, Any] = defaults
        self.extra_positions: bool = extra_positions
        self.extra_keywords: bool = extra_keywords
        self.faithful: bool = faithful
        self.required_keywords: frozenset[str] = frozenset(name for name in keywords if name not in defaults)
        self.least: int = sum(name not in defaults for name in names)
        self.most: int = EVERY_NUMBER if extra_positions else len(names)
        self.positions: dict[str, int] = {name: at for at, name in enumerate(names) if at >= only}

    def takes(self, count: int, given: dict[str, Any]) -> bool:
        """Say whether a call with `count` positional arguments and the `given` keywords fits."""
        if self._takes_plainly(count, given):
            return True
        if count > self.most or not self.required_keywords <= given.keys():
            return False
        for name in given:
            at = self.positions.get(name)
            if at is None:
                if name not in self.keywords and not self.extra_keywords:
                    return False
            elif at < count:
                return False
        names = self.names
        return all(
            name in self.defaults or (at >= self.only and name in given) for at, name in enumerate(names[count:], count)
        )

    def _takes_plainly(self, count: int, given: dict[str, Any]) -> bool:
        """Say whether a call fits that gives by keyword only what could go by position, as most calls do."""
        positions, least = self.positions, self.least
        for name in given:
            if positions.get(name, -1) < count:
                return False
        if self.required_keywords or count > self.most:
            return False
        if count < least:
            for name in self.names[count:least]:
                if name not in given:
                    return False
        return True

    def passes_in_order(self, count: int, given: dict[str, Any]) -> bool:
        """Say whether keywords behind `count` positional arguments can go by position, in the order they are given."""
        return self.faithful and count >= self.only and (*given,) == self.names[count : count + len(given)]

    def accepts(self, name: str) -> bool:
        """Say whether an argument of this name can be given by keyword."""
        return name in self.positions or name in self.keywords or self.extra_keywords


def shape_of(func: Any) -> CallShape | None:
    """Return what `func` can be called with, or None where Python itself does not know (some builtins)."""
    if type(func) is FunctionType and not hasattr(func, "__wrapped__") and not hasattr(func, "__signature__"):
        return _shape_of_function(func)
    import inspect

    try:
        parameters = inspect.signature(func).parameters.values()
    except (ValueError, TypeError):
        return None
    kinds = inspect.Parameter
    placed = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    return CallShape(
        tuple(p.name for p in placed),
        sum(p.kind is kinds.POSITIONAL_ONLY for p in placed),
        tuple(p.name for p in parameters if p.kind is kinds.KEYWORD_ONLY),
        {p.name: p.default for p in parameters if p.default is not kinds.empty},
        any(p.kind is kinds.VAR_POSITIONAL for p in parameters),
        any(p.kind is kinds.VAR_KEYWORD for p in parameters),
        False,
    )


def _shape_of_function(func: FunctionType) -> CallShape:
    code = func.__code__
    names = code.co_varnames[: code.co_argcount]
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    given = func.__defaults__ or ()
    defaults = dict(zip(names[len(names) - len(given) :], given, strict=True))
    defaults.update(func.__kwdefaults__ or {})
    flags = code.co_flags
    return CallShape(
        names,
        code.co_posonlyargcount,
        keywords,
        defaults,
        bool(flags & VARARGS),
        bool(flags & VARKEYWORDS),
        True,
    )


def declared_at(func: Any) -> str:
    """Return `file:line` of a callable's definition, or a word for what has none."""
    while isinstance(func, MethodType):
        func = func.__func__
    func = getattr(func, "func", func) if not hasattr(func, "__code__") else func
    code = getattr(func, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if isinstance(code, CodeType) else "a builtin"
