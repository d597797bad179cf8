"""Resources: things that a task needs while it runs, set up before and torn down after."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Generic, Literal, overload

from cascade.spec.lazy import R
from cascade.spec.placement import Profile
from cascade.spec.signature import CallShape, declared_at, shape_of

__all__ = ["Inject", "Own", "Resource", "Scope", "described", "inject", "injected", "resource"]

Scope = Literal["run", "task", "engine"]

GENERATOR, ASYNC_GENERATOR = 0x20, 0x200


class Resource(Generic[R]):
    """A generator function that yields the resource once: before it set-up, after it tear-down."""

    __slots__ = ("func", "is_async", "name", "needs", "scope", "setup", "teardown")

    def __init__(self, func: Callable[..., Any], name: str, scope: Scope, is_async: bool) -> None:
        self.func: Callable[..., Any] = func
        self.name: str = name
        self.scope = scope
        self.is_async: bool = is_async
        self.setup: Profile = Profile()
        self.teardown: Profile = Profile()
        """What is known of the speed of its two pieces, where they are sync."""
        shape = shape_of(func)
        self.needs: dict[str, Inject] = injected(shape)
        for parameter in shape.names + shape.keywords if shape is not None else ():
            if parameter not in shape.defaults:  # type: ignore[union-attr]
                raise TypeError(
                    f"resource {name!r} ({self.declared}) has the parameter {parameter!r}, which nobody can give: "
                    f"make its default cs.inject(...) or a value"
                )

        for wanted in self.needs.values():
            if scope == "engine" and isinstance(wanted.target, Resource) and wanted.target.scope == "run":
                raise TypeError(
                    f'resource {name!r} ({self.declared}) of the scope "engine" needs {wanted.name!r} of the scope '
                    f'"run", which ends before it does; give {wanted.name!r} the scope "engine", or "task" for one of '
                    "its own"
                )

    @property
    def is_short(self) -> bool:
        """Whether it is known that it can be set up and torn down in place."""
        return not self.is_async and self.setup.inline and self.teardown.inline

    @property
    def declared(self) -> str:
        """Where its function stands: `file:line`."""
        return declared_at(self.func)

    def __repr__(self) -> str:
        return f"<Resource {self.name!r} of scope {self.scope!r}, declared at {self.declared}>"


class Inject:
    """Stands for a resource in an argument or a default; `cs.inject` makes it."""

    __slots__ = ("target",)

    def __init__(self, target: Resource | str) -> None:
        self.target: Resource[Any] | str = target

    @property
    def name(self) -> str:
        """The name of the resource that is asked for."""
        return self.target if isinstance(self.target, str) else self.target.name

    def __repr__(self) -> str:
        return f"inject({self.name!r})"


class Own:
    """Stands for a resource that each call has for itself, among what is at hand."""

    __slots__ = ("resource",)

    def __init__(self, resource: Resource) -> None:
        self.resource = resource


@overload
def inject(target: Resource[R]) -> R: ...
@overload
def inject(target: str) -> Any: ...
def inject(target: Resource | str) -> Any:
    """Ask for a resource, as the default of a parameter or as an argument.

    Args:
        target: a resource (which needs no registration), or the name of one that is registered
            with the engine or given to the run.
    """
    if not isinstance(target, (Resource, str)):
        raise TypeError(
            f"cs.inject takes a resource or its name, not {described(target)}; declare it with @cs.resource"
        )
    return Inject(target)


def described(value: Any) -> str:
    """Return a value that was taken for a resource, for a message: a function by its name and place."""
    name = getattr(value, "__name__", None)
    return repr(value) if name is None else f"{name!r} ({declared_at(value)})"


def injected(shape: CallShape | None) -> dict[str, Inject]:
    """Return the parameters whose default is an injected resource."""
    if shape is None:
        return {}
    return {name: default for name, default in shape.defaults.items() if isinstance(default, Inject)}


@overload
def resource(func: Callable[..., Iterable[R] | AsyncIterable[R]], /) -> Resource[R]: ...
@overload
def resource(*, name: str | None = None, scope: Scope = "run") -> _Decorator: ...
def resource(func: Any = None, /, *, name: str | None = None, scope: Scope = "run") -> Any:
    """Declare a resource: a generator function, sync or async, that yields once.

    Args:
        name: its name; by default the function's.
        scope: "run": set up once, just before the first call that needs it, torn down when the run
            ends. "task": each call, each attempt, each item has its own. "engine": all runs of an engine share
            it; set up when one of them first needs it, torn down when the engine closes.

    Raises:
        TypeError: the function is no generator function, has parameters that nobody can give, or would outlive
            a resource that it needs.
    """
    if scope not in ("run", "task", "engine"):
        raise ValueError(f'the scope of a resource is "run", "task" or "engine", not {scope!r}')

    def declare(func: Callable[..., Any]) -> Resource:
        flags = getattr(getattr(func, "__code__", None), "co_flags", 0)
        if not flags & (GENERATOR | ASYNC_GENERATOR):
            raise TypeError(
                f"a resource is a generator function that yields once (set up, yield it, tear down), "
                f"which {getattr(func, '__name__', func)!r} ({declared_at(func)}) is not"
            )
        return Resource(func, name or func.__name__, scope, bool(flags & ASYNC_GENERATOR))

    return declare if func is None else declare(func)


class _Decorator:
    """What `@cs.resource(...)` gives, for type checkers."""

    def __call__(self, func: Callable[..., Iterable[R] | AsyncIterable[R]], /) -> Resource[R]:
        raise NotImplementedError
